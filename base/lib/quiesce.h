/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When memory that packets may still be reading can be written again.
 *
 * What is taken out of use gets a stamp; before it is written again, quiesce_need() waits for the packets in flight, unless
 * a wait since then has done so for it. So a change that only adds waits for nothing. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct quiesce {
	void (*wait)(void *context); /* returns once every packet begun before the call is done */
	void *context;
	uint64_t stamp; /* the latest that was given out */
	uint64_t done;  /* all stamps up to this one have been waited for */
};

/* Call after the store that takes something out of use; keep the result with it. */
static inline uint64_t quiesce_retire(struct quiesce *quiesce)
{
	return ++quiesce->stamp;
}

/* Whether packets may still read what got this stamp; stamp 0 was never in use. */
static inline bool quiesce_pending(const struct quiesce *quiesce, uint64_t stamp)
{
	return stamp > quiesce->done;
}

/* Returns when no packet reads what got this stamp. */
static inline void quiesce_need(struct quiesce *quiesce, uint64_t stamp)
{
	if (!quiesce_pending(quiesce, stamp))
		return;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	quiesce->wait(quiesce->context);
	quiesce->done = quiesce->stamp;
}

/* Returns when no packet reads anything that was taken out of use so far. */
static inline void quiesce_all(struct quiesce *quiesce)
{
	quiesce_need(quiesce, quiesce->stamp);
}

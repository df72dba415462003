/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to ask the kernel to resolve or confirm a next hop. Pure: the time and the network are arguments.
 *
 * The packet program forwards past the kernel, so the kernel sees no traffic that would make it resolve, or notice that
 * a neighbour's hardware address changed. An unresolved next hop is probed at once, then after 1, 2, 4, … 30 seconds (the
 * kernel itself asks three times in the three seconds after each); a stale one is confirmed at most each 5 seconds.
 */
#pragma once

#include "ctrl/program/network.h"

#define PROBE_RETRY_FIRST_MS 1000u
#define PROBE_RETRY_MAX_MS 30000u
#define PROBE_CONFIRM_MS 5000u
#define PROBE_NEVER UINT64_MAX

/* One next hop that is kept resolved. */
struct probe_target {
	struct address ip;
	uint32_t ifindex;
	bool probed;       /* at least once */
	uint64_t last_ms;  /* of the last probe */
	uint32_t retry_ms; /* how long to wait before the next while unresolved; 0: it was resolved since */
};

struct probe_schedule {
	struct probe_target *targets;
	size_t count;
};

struct probe {
	struct address ip;
	uint32_t ifindex;
	bool confirm; /* the kernel has a hardware address: confirm that one first */
};

void probe_schedule_done(struct probe_schedule *schedule);

/*
 * Replaces what is wanted by the next hops towards `destinations` in `network`; call it again when either changes.
 * Targets that stay keep their back-off. 0 or -ENOMEM (then nothing changed).
 */
must_check int probe_schedule_want(struct probe_schedule *schedule, const struct network *network,
				   const struct address *destinations, size_t count);

/* The next probe that is due, and counts it as sent. False when there is none. */
bool probe_schedule_next(struct probe_schedule *schedule, const struct network *network, uint64_t now_ms,
			 struct probe *ret_probe);

/* When probe_schedule_next() will have one, provided that the network does not change; PROBE_NEVER. */
uint64_t probe_schedule_due_ms(const struct probe_schedule *schedule, const struct network *network, uint64_t now_ms);

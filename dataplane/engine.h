/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packet program that is handed one packet at a time, without a network: what replay, the golden packets, the differential
 * test and the fuzz target run on. Each engine fills the same struct, so that they can be compared.
 *
 * One thread owns an engine.
 */
#pragma once

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "base/packet/flow.h"
#include "edge/edge_hold.h"
#include "edge/edge_state.h"

#define ENGINE_HEADROOM 256u /* as XDP gives */

/* What became of a packet. */
struct engine_outcome {
	struct decision decision; /* verdict and reason are the host's last word: it may have failed to make room */
	const uint8_t *bytes;     /* for TX and REDIRECT: the packet as it leaves; borrowed until the engine's next call */
	uint32_t length;
};

struct engine {
	const char *name; /* "native" */
	struct edge_tables tables; /* borrowed by whoever writes them with edge_program.h */
	uint32_t counter_sets;
	uint32_t headroom; /* of native and dpdk: bytes that a packet may grow by in front; for tests of too few */
	bool tailroom_none; /* of native: packets cannot grow at their end; for tests */
	uint32_t segments[2]; /* of dpdk: bytes in the first and in each further segment of a frame; 0: as many as fit */
	int (*run)(struct engine *engine, uint32_t ifindex, const void *frame, uint32_t length,
		   struct engine_outcome *ret_outcome, struct error *error);
	int (*time)(struct engine *engine, uint32_t ifindex, const void *frame, uint32_t length, uint32_t repeat,
		    uint64_t *ret_ns, struct error *error);
	void (*free)(struct engine *engine);
};

/* Judges a frame that came in by `ifindex`; `ret_outcome` is written on success. */
static inline must_check int engine_run(struct engine *engine, uint32_t ifindex, const void *frame, uint32_t length,
					struct engine_outcome *ret_outcome, struct error *error)
{
	return engine->run(engine, ifindex, frame, length, ret_outcome, error);
}

#define ENGINE_UNTIMED UINT64_MAX /* this frame cannot be timed */

/*
 * The shortest of `repeat` runs over fresh copies of the frame, in nanoseconds, with the cost of measuring taken off. The
 * runs act on the tables as any packet does: measure a packet after it was run, and it is one of a flow that has begun.
 */
static inline must_check int engine_time(struct engine *engine, uint32_t ifindex, const void *frame, uint32_t length,
					 uint32_t repeat, uint64_t *ret_ns, struct error *error)
{
	struct packet packet = {(uint8_t *)(uintptr_t)frame, (uint8_t *)(uintptr_t)frame + length};
	struct flow flow = {0};

	/* the same fragment again is another matter */
	if (flow_parse(&packet, &flow) == DROP_NONE && flow.flags & FLOW_FRAGMENT) {
		*ret_ns = ENGINE_UNTIMED;
		return 0;
	}
	return engine->time(engine, ifindex, frame, length, repeat, ret_ns, error);
}

/*
 * The next fragment that was held (VERDICT_HOLD) and is not any more, because its first one came or its time is over: after
 * each engine_run(), and after time went on, until false. The engine is one whose time was set.
 */
bool engine_release(struct engine *engine, struct edge_released *ret_released);

/* The time that packets see from now on. */
static inline void engine_set_time(struct engine *engine, uint32_t epoch, uint32_t now_ms)
{
	store_once(engine->tables.config->epoch_override, epoch + 1);
	store_once(engine->tables.config->now_override, now_ms + 1 ? now_ms + 1 : 1);
}

static inline void engine_freep(struct engine **engine)
{
	if (*engine)
		(*engine)->free(*engine);
}

/* The packet program as this process' own code. NULL: no memory. Empty tables: every packet passes. */
struct engine *engine_native_new(void);

/*
 * The packet program as DPDK's workers run it, over mbufs, without a NIC and without privileges. Starts DPDK's environment in
 * this process when it is the first one. Frames have at most 65536 bytes.
 */
must_check int engine_dpdk_new(struct engine **ret_engine, struct error *error);

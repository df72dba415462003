/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragments that were held because they came before their first one: sent on when that one is there, in the order in which
 * they came; given up when it is late. User space, on the tables of a running engine: whoever the engine tells
 * (DECISION_FRAGMENT) calls edge_hold_next() until there is no more. Any number of threads.
 */
#pragma once

#include "edge/edge_state.h"

#define EDGE_HOLD_HEADROOM 128u /* decision.room is a signed byte */

/* One that waits no longer. */
struct edge_released {
	struct decision decision; /* REDIRECT, TX: send it by decision.ifindex. DROP: that was it */
	uint32_t slot;            /* where it was held */
	uint32_t ifindex;         /* where it came in */
	const uint8_t *bytes;     /* as it leaves, within `buffer` */
	uint32_t length;
	uint8_t buffer[EDGE_HOLD_HEADROOM + LB_HOLD_BYTES];
};

/* A worker's place of a fragment that it decided to hold: copies the frame into it. `tables` and `decision` as decided. */
void edge_hold_write(const struct edge_tables *tables, const struct decision *decision, const uint8_t *frame);

/*
 * Takes the next one whose first fragment came, or whose time is over at `now_ms`; judges and rewrites it by the packet
 * program, and counts it in `counters`, which must be the caller's own set. False: there is none now.
 */
bool edge_hold_next(const struct edge_tables *tables, struct edge_counters *counters, uint32_t epoch, uint32_t now_ms,
		    struct edge_released *ret_released);

/* How many are held. */
uint32_t edge_hold_count(const struct edge_tables *tables);

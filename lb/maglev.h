/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maglev's consistent hashing (Eisenbud et al., NSDI 2016, section 3.4): each backend prefers the slots of the ring in an
 * order of its own, and backends take turns in filling it. When one leaves, mostly its own slots change hands.
 *
 * Weights are right: each backend has as many turns as its share of the slots, rounded up or down, evenly spread over the
 * filling; a turn is a slot. (The paper only says that weights alter how often turns come.)
 *
 * Pure; any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"

/* `identity` seeds the backend's order of preference: the same on all nodes, whatever its row. */
struct maglev_backend {
	uint64_t identity;
	uint32_t weight; /* not 0 */
	uint16_t row;    /* what its slots hold */
};

/* Ring sizes, all prime: 1021, 4093, 16381, 65537. */
#define MAGLEV_SIZES 4u
extern const uint32_t maglev_sizes[MAGLEV_SIZES];

/*
 * The smallest size in which a backend with `weight_least` of `weight_total` has `slots_least` slots and which has a slot for
 * each of `count` backends; else the largest.
 */
uint32_t maglev_size(size_t count, uint64_t weight_total, uint32_t weight_least, uint32_t slots_least);

/* Fills `size` slots (a prime, not less than `count`). The order of `backends` does not matter. 0 or -ENOMEM. */
must_check int maglev_build(const struct maglev_backend *backends, size_t count, uint32_t size, uint16_t *ret_slots);

/* How a ring changed, other than by the coming or going of the backend in `row` (0: none did). */
struct maglev_shift {
	uint32_t kept;  /* slots of the others that stayed with them */
	uint32_t moved; /* slots that went from one of the others to another */
};

struct maglev_shift maglev_compare(const uint16_t *before, const uint16_t *after, uint32_t size, uint16_t row);

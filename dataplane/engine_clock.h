/* SPDX-License-Identifier: Apache-2.0 */
/* How engines time a packet. */
#pragma once

#include <stdint.h>
#include <time.h>

static inline uint64_t engine_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* What two readings cost: the least of many, to be taken off. */
static inline uint64_t engine_clock_cost_ns(void)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 1000; i++) {
		uint64_t start = engine_clock_ns(), took = engine_clock_ns() - start;

		least = took < least ? took : least;
	}
	return least;
}

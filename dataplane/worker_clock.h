/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The epoch as BPF programs see it, from the kernel's count of ticks (ebpf/edge_maps.h): that begins five minutes before its
 * 32 bits run over, and goes on with the monotonic clock.
 */
#pragma once

#include <time.h>

#include "dataplane/dpdk.h"

#define TICKS_BEFORE_WRAP_S 300u

static inline uint32_t worker_clock_offset(uint32_t tick_ns)
{
	return (uint32_t)-(TICKS_BEFORE_WRAP_S * (1000000000u / tick_ns));
}

static inline uint64_t worker_clock_ticks(const struct runtime_tables *tables)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return ((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec) / tables->tick_ns + tables->epoch_offset;
}

static inline uint32_t worker_clock_epoch(const struct runtime_tables *tables)
{
	return (uint32_t)(worker_clock_ticks(tables) >> tables->epoch_shift);
}

/* The same steps as in BPF. */
static inline struct edge_clock worker_clock_now(const struct runtime_tables *tables)
{
	uint64_t ticks = worker_clock_ticks(tables), scale = (tables->tick_ns * 1024ull + 500000) / 1000000;

	return (struct edge_clock){(uint32_t)(ticks >> tables->epoch_shift), (uint32_t)(ticks * scale >> 10)};
}

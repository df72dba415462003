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

/* A tick counts as whole milliseconds, as in BPF. */
static inline uint32_t worker_clock_ms(const struct runtime_tables *tables)
{
	uint32_t tick_ms = (tables->tick_ns + 500000) / 1000000;

	return (uint32_t)worker_clock_ticks(tables) * (tick_ms ? tick_ms : 1);
}

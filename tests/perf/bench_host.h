/* SPDX-License-Identifier: Apache-2.0 */
/* The engines that the packet benchmarks run on. Both do the same: save, vary the client, packet program, restore. */
#pragma once

#include "tests/perf/bench_site.h"

enum bench_program {
	BENCH_EMPTY,   /* what the repetition costs */
	BENCH_SWAP,    /* bare floor: MAC and IP addresses exchanged, sent back */
	BENCH_RESTORE, /* what BENCH_EDGE spends around the packet program */
	BENCH_EDGE,
};

struct bench_host {
	const char *name; /* "xdp" */
	struct edge_tables tables;
	uint32_t counter_sets;
	/* Mean nanoseconds of `repeat` runs, and the last one's verdict where the program gives one. */
	int (*time)(struct bench_host *host, enum bench_program program, const struct bench_case *bench, uint32_t repeat,
		    double *ret_ns, enum verdict *ret_verdict, struct error *error);
	void (*free)(struct bench_host *host);
};

must_check int bench_host_xdp(struct bench_host **ret_host, struct error *error);
must_check int bench_host_native(struct bench_host **ret_host, struct error *error);

static inline void bench_host_freep(struct bench_host **host)
{
	if (*host)
		(*host)->free(*host);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Rounds and what is said about them: one line of JSON for each measurement, which tools/bench reads. */
#pragma once

#include <stddef.h>

#define BENCH_ROUNDS 21u

/* The middle one of some values, and the quartiles. */
struct bench_spread {
	double median, low, high;
};

struct bench_spread bench_spread(const double values[static BENCH_ROUNDS]);

/*
 * The line of one case: nanoseconds a packet in each round, beside those of a bare swap. `driver` NULL: there is only one.
 * `aim_percent` of the swap's speed; 0: none was set.
 */
void bench_pair_print(const char *bench, const char *driver, const char *name, const char *text,
		      const double ns[static BENCH_ROUNDS], const double swap_ns[static BENCH_ROUNDS], double aim_percent);

/* This thread on one processor from now on, so that caches and per-processor tables are its own. */
void bench_pin(int processor);

double bench_now_ns(void);

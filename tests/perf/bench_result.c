/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/perf/bench_result.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int value_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct bench_spread bench_spread(const double values[static BENCH_ROUNDS])
{
	double sorted[BENCH_ROUNDS];

	memcpy(sorted, values, sizeof(sorted));
	qsort(sorted, BENCH_ROUNDS, sizeof(*sorted), value_compare);
	return (struct bench_spread){sorted[BENCH_ROUNDS / 2], sorted[BENCH_ROUNDS / 4],
				     sorted[BENCH_ROUNDS - 1 - BENCH_ROUNDS / 4]};
}

void bench_pin(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	(void)sched_setaffinity(0, sizeof(set), &set); /* a machine with one processor needs none of it */
}

double bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/perf/bench_result.h"

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
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

void bench_pair_print(const char *bench, const char *driver, const char *name, const char *text,
		      const double ns[static BENCH_ROUNDS], const double swap_ns[static BENCH_ROUNDS], double aim_percent)
{
	double share[BENCH_ROUNDS], median = bench_spread(ns).median, swap_median = bench_spread(swap_ns).median, percent;

	for (uint32_t round = 0; round < BENCH_ROUNDS; round++)
		share[round] = 100 * swap_ns[round] / ns[round];
	percent = bench_spread(share).median;
	printf("{\"bench\":\"%s\",\"case\":\"%s%s%s\",\"text\":\"%s%s%s\",\"mpps\":%.3f,\"swap_mpps\":%.3f,\"share_percent\":%.1f,"
	       "\"ns\":%.1f,\"swap_ns\":%.1f,\"rounds\":%u",
	       bench, driver ? driver : "", driver ? "/" : "", name, driver ? driver : "", driver ? ": " : "", text, 1000 / median,
	       1000 / swap_median, percent, median, swap_median, BENCH_ROUNDS);
	if (aim_percent)
		printf(",\"aim\":%g,\"met\":%s", aim_percent, percent >= aim_percent ? "true" : "false");
	printf("}\n");
	fflush(stdout);
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

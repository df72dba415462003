/* SPDX-License-Identifier: Apache-2.0 */
/* Quantiles of values, exact: every value is kept, so whoever adds them knows how many there will be. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"

/* All zero is an empty histogram. */
struct histogram {
	uint64_t *values;
	size_t count, capacity;
	bool sorted; /* false: by histogram_add(), or whoever changes a value */
};

void histogram_done(struct histogram *histogram);
must_check int histogram_add(struct histogram *histogram, uint64_t value); /* 0 or -ENOMEM */

/*
 * The smallest value that at least `per_mille` of 1000 values do not exceed (nearest rank): 1000 is the largest. 0 when
 * empty. Sorts the values.
 */
uint64_t histogram_quantile(struct histogram *histogram, uint32_t per_mille);

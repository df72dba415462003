/* SPDX-License-Identifier: Apache-2.0 */
/* Measured values and their quantiles. Beyond a million of them, the kept ones are a random choice. One thread at a time. */
#pragma once

#include "base/lib/histogram.h"

struct media_samples {
	struct histogram kept; /* zero the struct to begin, media_samples_done() to end */
	uint64_t count, sum;
	uint32_t minimum, maximum;
	uint64_t random;
};

/* Out of memory: the values that are kept stay as they are. */
void media_samples_add(struct media_samples *samples, uint32_t value);
/* 0 when there are none. `per_mille` 500 is the median. */
uint32_t media_samples_quantile(struct media_samples *samples, uint32_t per_mille);
void media_samples_done(struct media_samples *samples);

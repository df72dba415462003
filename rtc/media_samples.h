/* SPDX-License-Identifier: Apache-2.0 */
/* Measured values and their quantiles. Beyond a million of them, the kept ones are a random choice. One thread at a time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct media_samples {
	uint32_t *values; /* zero the struct to begin, media_samples_done() to end */
	size_t kept, room;
	uint64_t count, sum;
	uint32_t minimum, maximum;
	uint64_t random;
	int sorted;
};

/* Out of memory: the values that are kept stay as they are. */
void media_samples_add(struct media_samples *samples, uint32_t value);
/* 0 when there are none. `per_mille` 500 is the median. */
uint32_t media_samples_quantile(struct media_samples *samples, uint32_t per_mille);
void media_samples_done(struct media_samples *samples);

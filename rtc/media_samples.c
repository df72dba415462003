/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/media_samples.h"

#include <stdlib.h>

#define KEPT_MAX 1000000u

static void samples_keep(struct media_samples *samples, uint32_t value)
{
	size_t place;

	if (samples->kept == samples->room && samples->room < KEPT_MAX) {
		size_t room = samples->room ? samples->room * 2 : 1024;
		uint32_t *values = realloc(samples->values, (room < KEPT_MAX ? room : KEPT_MAX) * sizeof(*values));

		if (values) {
			samples->values = values;
			samples->room = room < KEPT_MAX ? room : KEPT_MAX;
		}
	}
	if (samples->kept < samples->room) {
		samples->values[samples->kept++] = value;
		return;
	}
	/* Every value has the same chance to be kept (algorithm R). */
	samples->random = samples->random * 6364136223846793005ull + 1442695040888963407ull;
	place = (size_t)((samples->random >> 16) % samples->count);
	if (place < samples->kept)
		samples->values[place] = value;
}

void media_samples_add(struct media_samples *samples, uint32_t value)
{
	if (samples->count == 0 || value < samples->minimum)
		samples->minimum = value;
	if (value > samples->maximum)
		samples->maximum = value;
	samples->count++;
	samples->sum += value;
	samples->sorted = 0;
	samples_keep(samples, value);
}

static int value_compare(const void *a, const void *b)
{
	uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;

	return first < second ? -1 : first > second;
}

uint32_t media_samples_quantile(struct media_samples *samples, uint32_t per_mille)
{
	size_t place;

	if (samples->kept == 0)
		return 0;
	if (!samples->sorted)
		qsort(samples->values, samples->kept, sizeof(*samples->values), value_compare);
	samples->sorted = 1;
	/* The smallest value that so many are not above. */
	place = (samples->kept * (uint64_t)per_mille + 999) / 1000;
	return samples->values[place ? place - 1 : 0];
}

void media_samples_done(struct media_samples *samples)
{
	free(samples->values);
	*samples = (struct media_samples){0};
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/media_samples.h"

#define KEPT_MAX 1000000u

static void samples_keep(struct media_samples *samples, uint32_t value)
{
	size_t place;

	if (samples->kept.count < KEPT_MAX && histogram_add(&samples->kept, value) == 0)
		return;
	/* Every value has the same chance to be kept (algorithm R). */
	samples->random = samples->random * 6364136223846793005ull + 1442695040888963407ull;
	place = (size_t)((samples->random >> 16) % samples->count);
	if (place < samples->kept.count) {
		samples->kept.values[place] = value;
		samples->kept.sorted = false;
	}
}

void media_samples_add(struct media_samples *samples, uint32_t value)
{
	if (samples->count == 0 || value < samples->minimum)
		samples->minimum = value;
	if (value > samples->maximum)
		samples->maximum = value;
	samples->count++;
	samples->sum += value;
	samples_keep(samples, value);
}

uint32_t media_samples_quantile(struct media_samples *samples, uint32_t per_mille)
{
	return (uint32_t)histogram_quantile(&samples->kept, per_mille);
}

void media_samples_done(struct media_samples *samples)
{
	histogram_done(&samples->kept);
	*samples = (struct media_samples){0};
}

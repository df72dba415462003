/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/mos.h"

#define RATING_BEST 93.2
#define DELAY_KNEE_MS 177.3
#define LOSS_ROBUSTNESS 25.1 /* Bpl, percent */
#define FIXED_DELAY_MS 30.0

double rtc_mos_of_rating(double rating)
{
	double score;

	if (rating <= 0)
		return RTC_MOS_MIN;
	if (rating >= 100)
		return RTC_MOS_MAX;
	score = 1 + 0.035 * rating + 7e-6 * rating * (rating - 60) * (100 - rating);
	return score < RTC_MOS_MIN ? RTC_MOS_MIN : score; /* the formula dips below 1 under 6.5 */
}

static double delay_impairment(double delay_ms)
{
	return 0.024 * delay_ms + (delay_ms > DELAY_KNEE_MS ? 0.11 * (delay_ms - DELAY_KNEE_MS) : 0);
}

static double loss_impairment(double loss_percent)
{
	return 95 * loss_percent / (loss_percent + LOSS_ROBUSTNESS);
}

double rtc_mos(const struct rtc_mos_input *input)
{
	double delay_ms = input->round_trip_ms / 2 + 2 * input->jitter_ms + FIXED_DELAY_MS;

	return rtc_mos_of_rating(RATING_BEST - delay_impairment(delay_ms) - loss_impairment(100 * input->loss_ratio));
}

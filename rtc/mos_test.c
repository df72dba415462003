/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/mos.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/lib/cleanup.h"

/* ITU-T G.107 (06/2015), table B.1 and the default R; the table has 4.03 where its formula gives 4.024. */
static void ratings_give_the_published_scores(void **state)
{
	static const struct {
		double rating, score;
	} rows[] = {{93.2, 4.41}, {90, 4.34}, {80, 4.03}, {70, 3.60}, {60, 3.10}, {50, 2.58}, {0, 1.0}, {100, 4.5}, {-5, 1.0}, {120, 4.5}};

	for (size_t i = 0; i < array_length(rows); i++)
		assert_float_equal(rtc_mos_of_rating(rows[i].rating), rows[i].score, 0.0065);
	for (double rating = 0; rating < 10; rating += 0.1)
		assert_true(rtc_mos_of_rating(rating) >= 1.0);
}

/* By hand: d = 25 + 10 + 30 = 65, Id = 1.56; P = 1, Ie = 95 / 26.1 = 3.640; R = 88.00. */
static void a_call_is_rated(void **state)
{
	const struct rtc_mos_input input = {.loss_ratio = 0.01, .jitter_ms = 5, .round_trip_ms = 50};

	assert_float_equal(rtc_mos(&input), 1 + 0.035 * 88.0 + 7e-6 * 88.0 * 28.0 * 12.0, 0.002);
	/* d = 400 + 30 = 430, Id = 10.32 + 27.797; R = 55.083 */
	assert_float_equal(rtc_mos(&(struct rtc_mos_input){.round_trip_ms = 800}),
			   1 + 0.035 * 55.083 + 7e-6 * 55.083 * (55.083 - 60) * (100 - 55.083), 0.002);
}

static void worse_is_never_better(void **state)
{
	double last = 5;

	for (int percent = 0; percent <= 100; percent++) {
		double score = rtc_mos(&(struct rtc_mos_input){.loss_ratio = percent / 100.0, .round_trip_ms = 40});

		assert_true(score <= last && score >= RTC_MOS_MIN && score <= RTC_MOS_MAX);
		last = score;
	}
	last = 5;
	for (int ms = 0; ms < 4000; ms += 10) {
		double score = rtc_mos(&(struct rtc_mos_input){.jitter_ms = ms / 8.0, .round_trip_ms = ms});

		assert_true(score <= last && score >= RTC_MOS_MIN);
		last = score;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ratings_give_the_published_scores),
		cmocka_unit_test(a_call_is_rated),
		cmocka_unit_test(worse_is_never_better),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/media_samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void quantiles_are_values(void **state)
{
	struct media_samples samples = {0};

	assert_int_equal(media_samples_quantile(&samples, 500), 0);
	/* 1 to 1000, in another order (7 and 1000 have no common divisor). */
	for (uint32_t i = 0; i < 1000; i++)
		media_samples_add(&samples, i * 7 % 1000 + 1);
	assert_int_equal(samples.count, 1000);
	assert_int_equal(samples.minimum, 1);
	assert_int_equal(samples.maximum, 1000);
	assert_int_equal(samples.sum, 500500);
	assert_int_equal(media_samples_quantile(&samples, 0), 1);
	assert_int_equal(media_samples_quantile(&samples, 500), 500);
	assert_int_equal(media_samples_quantile(&samples, 990), 990);
	assert_int_equal(media_samples_quantile(&samples, 1000), 1000);
	/* What comes after a look counts as well. */
	media_samples_add(&samples, 5000);
	assert_int_equal(media_samples_quantile(&samples, 1000), 5000);
	media_samples_done(&samples);
	assert_int_equal(samples.count, 0);
}

/* Three million values in ascending order: those that are kept are of all of them, not of the first. */
static void many_values_are_chosen_from(void **state)
{
	struct media_samples samples = {0};

	for (uint32_t i = 0; i < 3000000; i++)
		media_samples_add(&samples, i);
	assert_int_equal(samples.count, 3000000);
	assert_int_equal(samples.maximum, 2999999);
	assert_true(samples.kept.count <= 1000000);
	assert_in_range(media_samples_quantile(&samples, 500), 1490000, 1510000);
	assert_in_range(media_samples_quantile(&samples, 990), 2960000, 2980000);
	media_samples_done(&samples);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quantiles_are_values),
		cmocka_unit_test(many_values_are_chosen_from),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

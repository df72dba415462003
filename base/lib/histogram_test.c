/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lib/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void empty_is_zero(void **state)
{
	struct histogram histogram = {0};

	assert_int_equal(histogram_quantile(&histogram, 500), 0);
	histogram_done(&histogram);
}

static void one_value_is_every_quantile(void **state)
{
	struct histogram histogram = {0};

	assert_int_equal(histogram_add(&histogram, 7), 0);
	assert_int_equal(histogram_quantile(&histogram, 0), 7);
	assert_int_equal(histogram_quantile(&histogram, 500), 7);
	assert_int_equal(histogram_quantile(&histogram, 1000), 7);
	histogram_done(&histogram);
}

static void quantiles_are_nearest_ranks(void **state)
{
	struct histogram histogram = {0};

	for (uint64_t value = 10000; value > 0; value--)
		assert_int_equal(histogram_add(&histogram, value), 0);
	assert_int_equal(histogram_quantile(&histogram, 500), 5000);
	assert_int_equal(histogram_quantile(&histogram, 900), 9000);
	assert_int_equal(histogram_quantile(&histogram, 999), 9990);
	assert_int_equal(histogram_quantile(&histogram, 1000), 10000);
	assert_int_equal(histogram_add(&histogram, 20000), 0); /* adding after asking */
	assert_int_equal(histogram_quantile(&histogram, 1000), 20000);
	histogram_done(&histogram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_is_zero),
		cmocka_unit_test(one_value_is_every_quantile),
		cmocka_unit_test(quantiles_are_nearest_ranks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

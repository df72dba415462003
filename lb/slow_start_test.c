/* SPDX-License-Identifier: Apache-2.0 */
#include "lb/slow_start.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void it_climbs_in_steps_to_the_whole(void **state)
{
	uint64_t now = 1000, next = 0;
	uint16_t last = 0;
	unsigned steps = 0;

	for (;;) {
		uint16_t weight = slow_start_weight(100, 1000, 30000, now, &next);

		assert_int_equal(weight, last + 10);
		last = weight;
		steps++;
		if (next == 0)
			break;
		assert_int_equal(slow_start_weight(100, 1000, 30000, next - 1, &(uint64_t){0}), weight);
		now = next;
	}
	assert_int_equal(last, 100);
	assert_int_equal(steps, SLOW_START_STEPS);
	assert_int_equal(now, 1000 + 27000);
}

static void ends_are_right(void **state)
{
	uint64_t next = 1;

	assert_int_equal(slow_start_weight(0, 0, 1000, 0, &next), 0);
	assert_int_equal(next, 0);
	assert_int_equal(slow_start_weight(7, 500, 0, 500, &next), 7);
	assert_int_equal(next, 0);
	assert_int_equal(slow_start_weight(1, 500, 1000, 500, &next), 1);
	assert_int_equal(slow_start_weight(100, 500, 1000, 400, &next), 10); /* a clock that went back */
	assert_true(next > 500);
	assert_int_equal(slow_start_weight(65535, 0, 10, 9, &next), 65535);
	assert_int_equal(slow_start_weight(100, 0, 3, 2, &next), 70); /* shorter than its steps */
	assert_int_equal(next, 3);
	assert_int_equal(slow_start_weight(100, 0, UINT64_MAX, 1000, &next), 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_climbs_in_steps_to_the_whole),
		cmocka_unit_test(ends_are_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers: as texts, and in network order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/lib/bytes.h"
#include "base/lib/cleanup.h"
#include "base/lib/number.h"

static void numbers_within_bounds_are_read(void **state)
{
	static const struct {
		const char *text;
		uint32_t minimum, maximum, number;
	} cases[] = {
		{"0", 0, 0, 0}, {"7", 7, 7, 7}, {"10", 1, 100, 10}, {"0010", 10, 10, 10}, {"4294967295", 0, UINT32_MAX, UINT32_MAX},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		uint32_t number = 99;

		assert_true(number_read(cases[i].text, cases[i].minimum, cases[i].maximum, &number));
		assert_int_equal(number, cases[i].number);
	}
}

static void all_else_is_refused_and_writes_nothing(void **state)
{
	/* The last is 2^64 + 5. */
	static const char *const texts[] = {"", " 5", "5 ", "+5", "-5", "5x", "0x5", "five", "5.0", "3", "8", "4294967301",
					    "18446744073709551621"};

	(void)state;
	for (size_t i = 0; i < array_length(texts); i++) {
		uint32_t number = 99;

		assert_false(number_read(texts[i], 4, 7, &number));
		assert_int_equal(number, 99);
	}
}

static void bytes_are_in_network_order(void **state)
{
	static const uint8_t wanted[15] = {0, 0x80, 0x02, 0x83, 0x84, 0x05, 0x06, 0x87, 0x08, 0x89, 0x0a, 0x8b, 0x0c, 0x8d, 0};
	uint8_t bytes[15] = {0};

	(void)state;
	bytes_put16(bytes + 1, 0x8002);
	bytes_put32(bytes + 3, 0x83840506u);
	bytes_put64(bytes + 7, 0x8708890a8b0c8d00u);
	assert_memory_equal(bytes, wanted, sizeof(wanted));
	assert_int_equal(bytes_get16(bytes + 1), 0x8002);
	assert_int_equal(bytes_get32(bytes + 3), 0x83840506u);
	assert_true(bytes_get64(bytes + 7) == 0x8708890a8b0c8d00u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_within_bounds_are_read),
		cmocka_unit_test(all_else_is_refused_and_writes_nothing),
		cmocka_unit_test(bytes_are_in_network_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

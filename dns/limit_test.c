/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/lib/address_text.h"
#include "dns/limit.h"

#define SECOND_US 1000000ull

static const struct rate rate = {.per_minute = 600, .burst = 20}; /* 10/s burst 20 */
static const struct client_bits bits = {24, 56};

static bool take(struct limit *limit, const char *client, uint64_t now_us)
{
	struct address address;

	assert_int_equal(address_parse(client, &address), 0);
	return limit_take(limit, &address, now_us);
}

static unsigned int take_all(struct limit *limit, const char *client, uint64_t now_us)
{
	unsigned int count = 0;

	while (count < 1000 && take(limit, client, now_us))
		count++;
	return count;
}

static void a_client_has_its_burst_and_its_rate(void **state)
{
	struct limit *limit = limit_new(&rate, &bits);
	uint64_t now_us = 5 * SECOND_US;

	assert_int_equal(take_all(limit, "192.0.2.1", now_us), 20);
	assert_false(take(limit, "192.0.2.1", now_us + 99999));
	assert_true(take(limit, "192.0.2.1", now_us + 100000));
	assert_false(take(limit, "192.0.2.1", now_us + 100000));
	assert_int_equal(take_all(limit, "192.0.2.1", now_us + SECOND_US + 100000), 10);
	/* a long time, and no more than the burst */
	assert_int_equal(take_all(limit, "192.0.2.1", now_us + 3600 * SECOND_US), 20);
	limit_free(limit);
}

static void a_client_is_a_prefix(void **state)
{
	struct limit *limit = limit_new(&rate, &bits);

	assert_int_equal(take_all(limit, "192.0.2.1", 1), 20);
	assert_int_equal(take_all(limit, "192.0.2.255", 1), 0);
	assert_int_equal(take_all(limit, "192.0.3.1", 1), 20);
	assert_int_equal(take_all(limit, "2001:db8:0:1::1", 1), 20);
	assert_int_equal(take_all(limit, "2001:db8:0:1ff::1", 1), 20);
	assert_int_equal(take_all(limit, "2001:db8:0:f::2", 1), 0);
	limit_free(limit);
}

/* Crowds of small clients do not make room for a large one. */
static void who_asks_most_is_remembered(void **state)
{
	struct limit *limit = limit_new(&rate, &bits);
	struct address crowd = address_from_ipv4(0);

	assert_int_equal(take_all(limit, "192.0.2.1", 1), 20);
	for (uint32_t i = 0; i < 100000; i++) {
		crowd = address_from_ipv4(__builtin_bswap32(0x0a000000 + (i << 8)));
		assert_true(limit_take(limit, &crowd, 1));
	}
	assert_int_equal(take_all(limit, "192.0.2.1", 1), 0);
	limit_free(limit);
}

static void no_limit_takes_all(void **state)
{
	static const struct rate none = {0};

	assert_null(limit_new(&none, &bits));
	assert_int_equal(take_all(NULL, "192.0.2.1", 1), 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_client_has_its_burst_and_its_rate),
		cmocka_unit_test(a_client_is_a_prefix),
		cmocka_unit_test(who_asks_most_is_remembered),
		cmocka_unit_test(no_limit_takes_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

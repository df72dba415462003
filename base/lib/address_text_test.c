/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lib/address_text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void addresses_survive_a_round_trip(void **state)
{
	static const char *const texts[] = {"192.0.2.1", "0.0.0.0", "2001:db8::1", "::", "fe80::1"};
	char buffer[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < array_length(texts); i++) {
		struct address address;

		assert_int_equal(address_parse(texts[i], &address), 0);
		assert_string_equal(address_format(&address, buffer), texts[i]);
	}
}

static void bad_addresses_are_refused(void **state)
{
	static const char *const texts[] = {"", "1.2.3", "1.2.3.256", "1.2.3.4 ", "::g", "1.2.3.4/8", ":::"};
	struct address address;

	for (size_t i = 0; i < array_length(texts); i++)
		assert_int_equal(address_parse(texts[i], &address), -EINVAL);
}

static void a_prefix_contains_its_bounds_and_nothing_more(void **state)
{
	struct prefix prefix;
	struct address address;

	assert_int_equal(prefix_parse("192.0.2.16/28", &prefix), 0);
	assert_int_equal(address_parse("192.0.2.16", &address), 0);
	assert_true(prefix_contains(&prefix, &address));
	assert_int_equal(address_parse("192.0.2.31", &address), 0);
	assert_true(prefix_contains(&prefix, &address));
	assert_int_equal(address_parse("192.0.2.32", &address), 0);
	assert_false(prefix_contains(&prefix, &address));
	assert_int_equal(prefix_parse("::/0", &prefix), 0);
	assert_false(prefix_contains(&prefix, &address));
	assert_int_equal(prefix_parse("10.0.0.0/33", &prefix), -EINVAL);
	assert_int_equal(prefix_parse("10.0.0.0/", &prefix), -EINVAL);
}

static void endpoints_and_macs_survive_a_round_trip(void **state)
{
	char buffer[ENDPOINT_TEXT_SIZE], mac_buffer[MAC_TEXT_SIZE];
	struct address address;
	uint8_t mac[6];
	uint16_t port;

	assert_int_equal(endpoint_parse("[2001:db8::1]:443", &address, &port), 0);
	assert_string_equal(endpoint_format(&address, port, buffer), "[2001:db8::1]:443");
	assert_int_equal(endpoint_parse("10.0.0.1:65535", &address, &port), 0);
	assert_string_equal(endpoint_format(&address, port, buffer), "10.0.0.1:65535");
	assert_int_equal(endpoint_parse("10.0.0.1:65536", &address, &port), -EINVAL);
	assert_int_equal(endpoint_parse("10.0.0.1", &address, &port), -EINVAL);
	assert_int_equal(mac_parse("02:00:00:00:0a:ff", mac), 0);
	assert_string_equal(mac_format(mac, mac_buffer), "02:00:00:00:0a:ff");
	assert_int_equal(mac_parse("02:00:00:00:0a:f", mac), -EINVAL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_survive_a_round_trip),
		cmocka_unit_test(bad_addresses_are_refused),
		cmocka_unit_test(a_prefix_contains_its_bounds_and_nothing_more),
		cmocka_unit_test(endpoints_and_macs_survive_a_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

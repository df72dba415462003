/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/ufrag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/lib/address_text.h"

static const struct rtc_ufrag_secret secrets[2] = {
	{{{0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull}}, 1},
	{{{0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull}}, 0},
};

static struct rtc_ufrag_target target_of(const char *endpoint)
{
	struct rtc_ufrag_target target = {0};
	uint16_t port;

	assert_int_equal(endpoint_parse(endpoint, &target.address, &port), 0);
	target.port = be16_from(port);
	return target;
}

/*
 * Made by docs/wire/ufrag.md alone, with Python's base64 and OpenSSL's SipHash: secret 00 01 .. 0f of each number, service
 * "default/media".
 */
static const struct {
	const char *text, *endpoint;
	uint64_t random;
	uint32_t number;
} made_elsewhere[] = {
	{"IAAAAAAA+qJNO/OR7IXMudaE", "10.0.0.21:7000", 0, 0},
	{"J///////AejetAOSypcKtLH3", "192.0.2.255:65535", 0x3ffffffffff, 1},
	{"OSNFZ4mrWc7dXA01c8YsbtUrl7OOH3eKDNlqJEV0", "[2001:db8::21]:5004", 0x123456789ab, 2},
	{"PqqqqqqqwbDxF8RjIrQN3j3K1x9+NYRHCWKJuitF", "[fe80::1:2:3:4]:1", 0x2aaaaaaaaaa, 3},
};

static void fragments_made_elsewhere_are_ours(void **state)
{
	for (size_t i = 0; i < array_length(made_elsewhere); i++) {
		struct rtc_ufrag_secret secret = {secrets[0].key, made_elsewhere[i].number};
		struct rtc_ufrag_keys keys = rtc_ufrag_service_keys(&secret, 1, "default/media");
		struct rtc_ufrag_target wanted = target_of(made_elsewhere[i].endpoint), got = {0};
		char text[RTC_UFRAG_IPV6_CHARS + 1];

		rtc_ufrag_encode(&keys.key[secret.number & 1], secret.number, &wanted, made_elsewhere[i].random, text);
		assert_string_equal(text, made_elsewhere[i].text);
		assert_true(rtc_ufrag_read(made_elsewhere[i].text, &keys, &got));
		assert_memory_equal(&got, &wanted, sizeof(got));
	}
}

static void keys_of_services_come_from_the_secret(void **state)
{
	struct siphash_key key = rtc_ufrag_service_key(&secrets[0].key, "default/media");
	char long_name[301];

	assert_memory_equal(&key, "\xf1\x3d\x9c\xe9\x07\x25\xb8\x7b\x05\x10\xbe\x70\x26\xf5\x90\x45", 16);
	key = rtc_ufrag_service_key(&secrets[0].key, "");
	assert_memory_equal(&key, "\x01\xe5\x11\xb6\xc2\x8c\x8f\x37\x57\xce\x32\xbb\x20\x5a\x4e\x00", 16);
	memset(long_name, 'x', 300);
	long_name[300] = '\0';
	key = rtc_ufrag_service_key(&secrets[0].key, long_name);
	assert_memory_equal(&key, "\x12\x5e\x18\x2f\xd4\xd3\x2a\x85\x17\x5a\x5c\x2d\xbe\x49\x7a\x5d", 16);
}

static void no_changed_character_is_taken(void **state)
{
	for (size_t i = 0; i < array_length(made_elsewhere); i++) {
		struct rtc_ufrag_secret both[2] = {{secrets[0].key, made_elsewhere[i].number},
						   {{{1, 2}}, made_elsewhere[i].number ^ 1}};
		struct rtc_ufrag_keys keys = rtc_ufrag_service_keys(both, 2, "default/media");
		struct rtc_ufrag_target got;
		char text[RTC_UFRAG_IPV6_CHARS + 2];
		size_t length = strlen(made_elsewhere[i].text);

		for (size_t at = 0; at < length; at++) {
			strcpy(text, made_elsewhere[i].text);
			for (int c = 1; c < 256; c++) {
				text[at] = (char)c;
				assert_int_equal(rtc_ufrag_read(text, &keys, &got),
						 c == made_elsewhere[i].text[at]);
			}
			strcpy(text, made_elsewhere[i].text);
			text[at] = '\0'; /* shorter ones */
			assert_false(rtc_ufrag_read(text, &keys, &got));
		}
		strcpy(text, made_elsewhere[i].text);
		text[length] = 'A'; /* a longer one */
		text[length + 1] = '\0';
		assert_false(rtc_ufrag_read(text, &keys, &got));
	}
}

static void each_character_stands_for_its_place(void **state)
{
	const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (unsigned at = 0; at < 8; at++) {
		for (int c = 0; c < 256; c++) {
			char text[9] = "AAAAAAAA";
			const char *found = c ? strchr(alphabet, c) : NULL;
			uint64_t word;

			text[at] = (char)c;
			memcpy(&word, text, sizeof(word));
			if (found)
				assert_int_equal(rtc_ufrag_group(word), (uint64_t)(found - alphabet) << (42 - 6 * at));
			else
				assert_true(rtc_ufrag_group(word) > RTC_UFRAG_GROUP_MASK);
		}
	}
}

static void two_keys_live_while_they_rotate(void **state)
{
	struct rtc_ufrag_target wanted = target_of("10.0.0.21:7000"), got;
	char text[4][RTC_UFRAG_IPV6_CHARS + 1];
	struct rtc_ufrag_secret ring[6];

	for (uint32_t i = 0; i < 6; i++)
		ring[i] = (struct rtc_ufrag_secret){{{100 + i, 200 + i}}, i % RTC_UFRAG_KEY_NUMBERS};
	for (uint32_t i = 0; i < 4; i++) {
		struct siphash_key key = rtc_ufrag_service_key(&ring[i].key, "default/media");

		rtc_ufrag_encode(&key, ring[i].number, &wanted, 7, text[i]);
	}
	for (uint32_t now = 1; now < 6; now++) {
		struct rtc_ufrag_secret live[2] = {ring[now], ring[now - 1]};
		struct rtc_ufrag_keys keys = rtc_ufrag_service_keys(live, 2, "default/media");

		for (uint32_t i = 0; i < 4; i++)
			assert_int_equal(rtc_ufrag_read(text[i], &keys, &got), i == now || i == now - 1);
	}
}

static void a_fragment_is_of_one_service(void **state)
{
	struct rtc_ufrag_keys mine = rtc_ufrag_service_keys(secrets, 2, "default/media");
	struct rtc_ufrag_keys other = rtc_ufrag_service_keys(secrets, 2, "default/medib");
	struct rtc_ufrag_keys none = rtc_ufrag_service_keys(secrets, 0, "default/media");
	struct rtc_ufrag_target wanted = target_of("10.0.0.21:7000"), got;
	char text[RTC_UFRAG_IPV6_CHARS + 1];

	rtc_ufrag_encode(&mine.key[1], 1, &wanted, 99, text);
	assert_true(rtc_ufrag_read(text, &mine, &got));
	assert_false(rtc_ufrag_read(text, &other, &got));
	assert_false(rtc_ufrag_read(text, &none, &got));
	/* where there is no key, none of zeros is one */
	rtc_ufrag_encode(&none.key[1], 1, &wanted, 99, text);
	assert_false(rtc_ufrag_read(text, &none, &got));
}

static void addresses_do_not_show(void **state)
{
	struct rtc_ufrag_keys keys = rtc_ufrag_service_keys(secrets, 2, "default/media");
	struct rtc_ufrag_target wanted = target_of("10.0.0.21:7000");
	char one[RTC_UFRAG_IPV6_CHARS + 1], two[RTC_UFRAG_IPV6_CHARS + 1];

	rtc_ufrag_encode(&keys.key[1], 1, &wanted, 1, one);
	rtc_ufrag_encode(&keys.key[1], 1, &wanted, 2, two);
	assert_memory_not_equal(one + 8, two + 8, 8);
	assert_memory_not_equal(one + 16, two + 16, 8);
}

static void validation_says_what_is_wrong(void **state)
{
	char longest[258];
	struct error error;

	memset(longest, 'a', sizeof(longest));
	assert_int_equal(rtc_ufrag_validate("ab+/", 4, &error), 0);
	assert_int_equal(rtc_ufrag_validate(longest, 256, &error), 0);
	assert_int_equal(rtc_ufrag_validate(longest, 257, &error), -EINVAL);
	assert_string_equal(error.text, "user fragment: 257 characters; it has 4 to 256");
	assert_int_equal(rtc_ufrag_validate("abc", 3, &error), -EINVAL);
	assert_int_equal(rtc_ufrag_validate("abc:e", 5, &error), -EINVAL);
	assert_string_equal(error.text, "user fragment: character 4 is none of A-Z, a-z, 0-9, + and /");
	assert_int_equal(rtc_ufrag_validate("abc\0e", 5, &error), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fragments_made_elsewhere_are_ours),
		cmocka_unit_test(keys_of_services_come_from_the_secret),
		cmocka_unit_test(no_changed_character_is_taken),
		cmocka_unit_test(each_character_stands_for_its_place),
		cmocka_unit_test(two_keys_live_while_they_rotate),
		cmocka_unit_test(a_fragment_is_of_one_service),
		cmocka_unit_test(addresses_do_not_show),
		cmocka_unit_test(validation_says_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

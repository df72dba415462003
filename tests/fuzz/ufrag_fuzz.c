/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: a user fragment as a client sends it. What decodes is, character for character, what encoding its target gives;
 * since the fuzzer cannot guess a check, the bytes are also taken as a target and must come back.
 */
#include <assert.h>
#include <string.h>

#include "base/lib/cleanup.h"
#include "rtc/ufrag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct rtc_ufrag_secret secrets[2] = {{{{3, 4}}, 3}, {{{1, 2}}, 2}};

/* The target's own form: addresses of IPv4 have one. */
static void check_round_trip(const struct rtc_ufrag_keys *keys, const uint8_t *data, size_t size)
{
	char text[RTC_UFRAG_IPV6_CHARS + 1];
	struct rtc_ufrag_target target = {0}, got;
	uint64_t random = 0;

	memcpy(&random, data, size < 8 ? size : 8);
	memcpy(&target.address, data, size < 16 ? size : 16);
	if (size & 1)
		target.address = address_from_ipv4((uint32_t)target.address.word[0]);
	target.port = be16_from((uint16_t)(size * 257));
	rtc_ufrag_encode(&keys->key[random & 1], 2 + (random & 1), &target, random, text);
	assert(rtc_ufrag_validate(text, strlen(text), NULL) == 0);
	assert(rtc_ufrag_read(text, keys, &got));
	assert(memcmp(&got, &target, sizeof(got)) == 0);
	text[size % strlen(text)] ^= 1;
	assert(!rtc_ufrag_read(text, keys, &got));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct rtc_ufrag_keys keys = rtc_ufrag_service_keys(secrets, 2, "default/media");
	_cleanup_(freep) char *text = strndup((const char *)data, size);
	struct rtc_ufrag_target target;

	if (rtc_ufrag_read(text, &keys, &target)) {
		uint64_t head;
		char again[RTC_UFRAG_IPV6_CHARS + 1];

		memcpy(&head, text, sizeof(head));
		head = rtc_ufrag_group(head);
		rtc_ufrag_encode(&keys.key[head >> RTC_UFRAG_RANDOM_BITS & 1], head >> RTC_UFRAG_RANDOM_BITS & 3, &target, head,
				 again);
		assert(strcmp(again, text) == 0);
	}
	check_round_trip(&keys, data, size);
	return 0;
}

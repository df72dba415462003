/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/ufrag.h"

#include <errno.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* `what` of so many characters of ICE (RFC 8839 section 5.4). */
static int characters_validate(const char *what, const char *text, size_t length, size_t least, size_t most, struct error *error)
{
	if (length < least || length > most)
		return error_set(error, EINVAL, "%s: %zu characters; it has %zu to %zu", what, length, least, most);
	for (size_t i = 0; i < length; i++)
		if (!text[i] || !strchr(alphabet, text[i]))
			return error_set(error, EINVAL, "%s: character %zu is none of A-Z, a-z, 0-9, + and /", what, i + 1);
	return 0;
}

int rtc_ufrag_validate(const char *text, size_t length, struct error *error)
{
	return characters_validate("user fragment", text, length, RTC_UFRAG_CHARS_MIN, RTC_UFRAG_CHARS_MAX, error);
}

int rtc_password_validate(const char *text, size_t length, struct error *error)
{
	return characters_validate("password", text, length, RTC_PASSWORD_CHARS_MIN, RTC_PASSWORD_CHARS_MAX, error);
}

/* The message is [number 1]["selvage ufrag 1" 15][service]: no two services or halves share one. */
static uint64_t derive(const struct siphash_key *secret, uint8_t number, const char *service)
{
	char head[16] = "\0selvage ufrag 1"; /* the end of the text has no place and needs none */
	struct siphash hash = siphash_begin(secret);
	size_t length = strlen(service), at = 0;
	uint64_t word;

	head[0] = (char)number;
	for (; at < sizeof(head); at += sizeof(word)) {
		memcpy(&word, head + at, sizeof(word));
		siphash_word(&hash, word);
	}
	for (at = 0; length - at >= sizeof(word); at += sizeof(word)) {
		memcpy(&word, service + at, sizeof(word));
		siphash_word(&hash, word);
	}
	word = 0;
	memcpy(&word, service + at, length - at);
	return siphash_end(&hash, (sizeof(head) + length) & 0xff, word);
}

struct siphash_key rtc_ufrag_service_key(const struct siphash_key *secret, const char *service)
{
	return (struct siphash_key){{derive(secret, 1, service), derive(secret, 2, service)}};
}

struct rtc_ufrag_keys rtc_ufrag_service_keys(const struct rtc_ufrag_secret *secrets, size_t count, const char *service)
{
	struct rtc_ufrag_keys keys = {0};

	for (size_t i = 0; i < count; i++) {
		uint32_t slot = secrets[i].number & (RTC_UFRAG_KEY_SLOTS - 1);

		if (keys.number[slot])
			continue;
		keys.key[slot] = rtc_ufrag_service_key(&secrets[i].key, service);
		keys.number[slot] = secrets[i].number + 1;
	}
	return keys;
}

/* Eight characters of 48 bits. */
static char *write_group(char *at, uint64_t group)
{
	for (int shift = 42; shift >= 0; shift -= 6)
		*at++ = alphabet[group >> shift & 63];
	return at;
}

void rtc_ufrag_encode(const struct siphash_key *service_key, uint32_t number, const struct rtc_ufrag_target *target,
		      uint64_t random, char ret_text[RTC_UFRAG_IPV6_CHARS + 1])
{
	uint32_t ipv6 = !address_is_ipv4(&target->address);
	uint64_t head = (uint64_t)(RTC_UFRAG_VERSION << 1 | ipv6) << (RTC_UFRAG_GROUP_BITS - 4) |
			(uint64_t)(number & (RTC_UFRAG_KEY_NUMBERS - 1)) << RTC_UFRAG_RANDOM_BITS |
			(random & ((1ull << RTC_UFRAG_RANDOM_BITS) - 1));
	uint8_t bytes[18] = {0};
	uint32_t groups = ipv6 ? 3 : 1;
	char *at = write_group(ret_text, head);

	/* The address as the wire has it, and the port behind it. */
	if (ipv6) {
		memcpy(bytes, &target->address, 16);
		memcpy(bytes + 16, &target->port, 2);
	} else {
		memcpy(bytes, &(uint32_t){address_ipv4(&target->address)}, 4);
		memcpy(bytes + 4, &target->port, 2);
	}
	for (uint32_t i = 0; i < groups; i++) {
		uint64_t group = 0;

		for (int k = 0; k < 6; k++)
			group = group << 8 | bytes[i * 6 + (uint32_t)k];
		at = write_group(at, group ^ rtc_ufrag_mask(service_key, head, i + 1));
	}
	at = write_group(at, rtc_ufrag_check(service_key, head, target));
	*at = '\0';
}

bool rtc_ufrag_read(const char *text, const struct rtc_ufrag_keys *keys, struct rtc_ufrag_target *ret_target)
{
	struct rtc_ufrag_target target;
	struct rtc_ufrag_text words = {0};
	size_t length = strnlen(text, RTC_UFRAG_IPV6_CHARS + 1);
	uint32_t groups = rtc_ufrag_groups((uint32_t)length);

	if (!groups)
		return false;
	memcpy(&words, text, length);
	if (!rtc_ufrag_decode(&words, groups, keys, &target))
		return false;
	*ret_target = target;
	return true;
}

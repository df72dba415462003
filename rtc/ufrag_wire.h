/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * ICE user fragments that say where their session goes: docs/wire/ufrag.md, bit by bit. Base64 without padding, whose alphabet is
 * ICE's (RFC 8445 section 5.3); eight characters are a group of 48 bits, the first character's bits on top.
 *
 *     group 0      [version 3][IPv6 1][key 2][random 42]         in clear
 *     groups 1 ..  the backend's address, then its port          masked; one group for IPv4, three for IPv6
 *     last group   check                                         of all of the above, under the service's key
 *
 * Masked, so that clients do not learn agents' addresses; checked, so that nobody aims packets without the key. A fragment is
 * bound to its service by the key, which is derived from the service's name. That the address is a backend of the
 * service now is for the caller to look up.
 */
#pragma once

#include "base/packet/address.h"
#include "base/packet/byteorder.h"
#include "base/packet/siphash.h"

#define RTC_UFRAG_VERSION 1u
#define RTC_UFRAG_GROUP_CHARS 8u
#define RTC_UFRAG_IPV4_GROUPS 3u
#define RTC_UFRAG_IPV6_GROUPS 5u
#define RTC_UFRAG_IPV4_CHARS (RTC_UFRAG_IPV4_GROUPS * RTC_UFRAG_GROUP_CHARS)
#define RTC_UFRAG_IPV6_CHARS (RTC_UFRAG_IPV6_GROUPS * RTC_UFRAG_GROUP_CHARS)

#define RTC_UFRAG_GROUP_BITS 48u
#define RTC_UFRAG_GROUP_MASK ((1ull << RTC_UFRAG_GROUP_BITS) - 1)
#define RTC_UFRAG_RANDOM_BITS 42u
#define RTC_UFRAG_KEY_NUMBERS 4u

/*
 * A service's keys: the present one and the one before or after it, whose numbers differ in their last bit, which is their place
 * here. writer: ctrl (number 0, key, number), readers: workers. A fragment read amid a change fails its check once.
 */
#define RTC_UFRAG_KEY_SLOTS 2u

struct rtc_ufrag_keys {
	struct siphash_key key[RTC_UFRAG_KEY_SLOTS];
	uint32_t number[RTC_UFRAG_KEY_SLOTS]; /* 1 + the key's number; 0: no key */
	uint64_t unused;
};
_Static_assert(sizeof(struct rtc_ufrag_keys) == 48, "no padding");

/* A fragment's characters, as loaded; only the first `groups` words are read. */
struct rtc_ufrag_text {
	uint64_t group[RTC_UFRAG_IPV6_GROUPS];
};

/* Where a fragment leads. */
struct rtc_ufrag_target {
	struct address address;
	struct be16 port;
	uint16_t unused[3];
};
_Static_assert(sizeof(struct rtc_ufrag_target) == 24, "no padding");

/* How many groups a fragment of `length` characters has, 0 when it is not of this form. */
PACKET_INLINE uint32_t rtc_ufrag_groups(uint32_t length)
{
	if (length == RTC_UFRAG_IPV4_CHARS)
		return RTC_UFRAG_IPV4_GROUPS;
	return length == RTC_UFRAG_IPV6_CHARS ? RTC_UFRAG_IPV6_GROUPS : 0;
}

#define RTC_UFRAG_BYTES(value) ((value) * 0x0101010101010101ull)

/* 0x01 in every byte of `chars`, all below 0x80, that is at least `first` and at most `last`. */
PACKET_INLINE uint64_t rtc_ufrag_between(uint64_t chars, uint32_t first, uint32_t last)
{
	uint64_t from = chars + RTC_UFRAG_BYTES(0x80ull - first), beyond = chars + RTC_UFRAG_BYTES(0x7full - last);

	return (from & ~beyond) >> 7 & RTC_UFRAG_BYTES(1ull);
}

/* What `group_chars` of eight characters of the alphabet stand for; above RTC_UFRAG_GROUP_MASK when one is of no alphabet. */
PACKET_FUNCTION uint64_t rtc_ufrag_group(uint64_t group_chars)
{
	uint64_t chars = __builtin_bswap64(group_chars), upper, lower, digit, plus, slash, bits;

	if (chars & RTC_UFRAG_BYTES(0x80ull))
		return UINT64_MAX;
	upper = rtc_ufrag_between(chars, 'A', 'Z');
	lower = rtc_ufrag_between(chars, 'a', 'z');
	digit = rtc_ufrag_between(chars, '0', '9');
	plus = rtc_ufrag_between(chars, '+', '+');
	slash = rtc_ufrag_between(chars, '/', '/');
	if ((upper | lower | digit | plus | slash) != RTC_UFRAG_BYTES(1ull))
		return UINT64_MAX;
	/* No byte borrows from its neighbour: each is at least what is taken away. */
	bits = (chars & upper * 0xff) - upper * 'A' + (chars & lower * 0xff) - lower * ('a' - 26) +
	       (chars & digit * 0xff) + digit * (52 - '0') + plus * 62 + slash * 63;
	bits = (bits & 0x003f003f003f003full) | (bits >> 2 & 0x0fc00fc00fc00fc0ull);
	bits = (bits & 0x00000fff00000fffull) | (bits >> 4 & 0x00fff00000fff000ull);
	return (bits & 0xffffffull) | (bits >> 8 & 0xffffff000000ull);
}

/*
 * 48 bits of SipHash of 32 bytes: a fragment's first group, `number`, 16 bytes of an address and 8 of a port. With address and port
 * 0, what group `number` is masked with, from 1; with `number` 0, the check of address and port.
 */
PACKET_FUNCTION uint64_t rtc_ufrag_hash(const struct siphash_key *key, uint64_t head_number, uint64_t address_first,
					uint64_t address_last, uint64_t port)
{
	struct siphash hash;

	if (!key)
		return UINT64_MAX;
	hash = siphash_begin(key);
	siphash_word(&hash, __builtin_bswap64(head_number));
	siphash_word(&hash, address_first);
	siphash_word(&hash, address_last);
	siphash_word(&hash, port);
	return __builtin_bswap64(siphash_end(&hash, 32, 0)) >> 16;
}

PACKET_INLINE uint64_t rtc_ufrag_mask(const struct siphash_key *key, uint64_t head, uint32_t number)
{
	return rtc_ufrag_hash(key, head << 16 | number, 0, 0, 0);
}

PACKET_INLINE uint64_t rtc_ufrag_check(const struct siphash_key *key, uint64_t head, const struct rtc_ufrag_target *target)
{
	return rtc_ufrag_hash(key, head << 16, target->address.word[0], target->address.word[1], target->port.raw);
}

PACKET_INLINE struct rtc_ufrag_target rtc_ufrag_target_ipv4(uint64_t group)
{
	return (struct rtc_ufrag_target){.address = address_from_ipv4(__builtin_bswap32((uint32_t)(group >> 16))),
					 .port = be16_from((uint16_t)group)};
}

PACKET_INLINE struct rtc_ufrag_target rtc_ufrag_target_ipv6(uint64_t first, uint64_t second, uint64_t third)
{
	return (struct rtc_ufrag_target){.address = {{__builtin_bswap64(first << 16 | second >> 32),
						      __builtin_bswap64(second << 32 | third >> 16)}},
					 .port = be16_from((uint16_t)third)};
}

/*
 * Where a fragment of `groups` groups (rtc_ufrag_groups()) leads; false: it is not of this form, or not under a key of these,
 * and then the target is of no meaning.
 */
PACKET_FUNCTION bool rtc_ufrag_decode(const struct rtc_ufrag_text *text, uint32_t groups, const struct rtc_ufrag_keys *keys,
				      struct rtc_ufrag_target *ret_target)
{
	uint64_t head, first, second, third, check;
	const struct siphash_key *key;
	uint32_t number, ipv6;

	if (!text || !keys || !ret_target)
		return false;
	ipv6 = groups == RTC_UFRAG_IPV6_GROUPS;
	if (!ipv6 && groups != RTC_UFRAG_IPV4_GROUPS)
		return false;
	head = rtc_ufrag_group(text->group[0]);
	if (head >> (RTC_UFRAG_GROUP_BITS - 4) != (RTC_UFRAG_VERSION << 1 | ipv6))
		return false; /* and so is what is above the mask */
	number = (uint32_t)(head >> RTC_UFRAG_RANDOM_BITS) & (RTC_UFRAG_KEY_NUMBERS - 1);
	if (load_once(keys->number[number & (RTC_UFRAG_KEY_SLOTS - 1)]) != number + 1)
		return false;
	key = &keys->key[number & (RTC_UFRAG_KEY_SLOTS - 1)];
	first = rtc_ufrag_group(text->group[1]);
	check = rtc_ufrag_group(text->group[RTC_UFRAG_IPV4_GROUPS - 1]);
	if (!ipv6) {
		if ((first | check) > RTC_UFRAG_GROUP_MASK)
			return false;
		*ret_target = rtc_ufrag_target_ipv4(first ^ rtc_ufrag_mask(key, head, 1));
		return rtc_ufrag_check(key, head, ret_target) == check;
	}
	second = check;
	third = rtc_ufrag_group(text->group[RTC_UFRAG_IPV6_GROUPS - 2]);
	check = rtc_ufrag_group(text->group[RTC_UFRAG_IPV6_GROUPS - 1]);
	if ((first | second | third | check) > RTC_UFRAG_GROUP_MASK)
		return false;
	first ^= rtc_ufrag_mask(key, head, 1);
	second ^= rtc_ufrag_mask(key, head, 2);
	third ^= rtc_ufrag_mask(key, head, 3);
	*ret_target = rtc_ufrag_target_ipv6(first, second, third);
	return rtc_ufrag_check(key, head, ret_target) == check;
}

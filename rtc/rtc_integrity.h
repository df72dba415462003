/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * MESSAGE-INTEGRITY (RFC 8489 section 14.5) of a client's check, where the agent's password was registered: HMAC-SHA1 (RFC 2104)
 * over the message up to the attribute. Of the password only the two states behind its pads are kept.
 */
#pragma once

#include "base/packet/sha1.h"
#include "rtc/rtc_state.h"

/* verifier: no branches, whose ways would multiply */
PACKET_INLINE uint32_t rtc_mask_below(uint32_t number, uint32_t limit)
{
	return (uint32_t)(((int64_t)number - (int64_t)limit) >> 63);
}

PACKET_INLINE uint32_t rtc_mask_equal(uint32_t number, uint32_t other)
{
	return (uint32_t)(((int64_t)(number ^ other) - 1) >> 63);
}

/*
 * Block `number` of the message's first `words` words, as it was when its sender signed it: its length counts up to the attribute
 * and no further. Behind them stands what SHA-1 puts there, for a message with a pad's block in front. `place`: number << 32 | words.
 */
PACKET_FUNCTION uint32_t rtc_integrity_block(const struct stun_message *message, struct sha1 *sha1, uint64_t place)
{
	uint32_t first = (uint32_t)(place >> 32) * SHA1_BLOCK_WORDS, words = (uint32_t)place;
	uint32_t last = (words + 2) / SHA1_BLOCK_WORDS * SHA1_BLOCK_WORDS + SHA1_BLOCK_WORDS - 1;

	if (!message || !sha1)
		return 0;
	PACKET_UNROLL
	for (uint32_t i = 0; i < SHA1_BLOCK_WORDS; i++) {
		uint32_t at = first + i, word, signed_length, head;

		value_opaque(at); /* one behind the other, else BPF's compiler has them all on a stack that has no room */
		word = __builtin_bswap32(stun_word(message, 4 * at));
		signed_length = (word & 0xffff0000) | (4 * words + STUN_INTEGRITY_BYTES - STUN_HEADER_BYTES);
		head = rtc_mask_equal(at, 0);
		word = (word & ~head) | (signed_length & head);
		word = (word & rtc_mask_below(at, words)) | (0x80000000u & rtc_mask_equal(at, words)) |
		       ((SHA1_BLOCK_BYTES * 8 + 32 * words) & rtc_mask_equal(at, last));
		store_once(sha1->block[i], word);
	}
	return sha1_block(sha1);
}

/* Whether the signature is that of the secret's password. `at` is a multiple of four. */
PACKET_FUNCTION uint32_t rtc_integrity_holds(const struct rtc_secret *secret, struct rtc_scratch *scratch, uint32_t at)
{
	uint32_t words = at / 4, differ = 0;
	struct sha1 *sha1;

	if (!secret || !scratch)
		return 0;
	sha1 = &scratch->sha1;
	PACKET_UNROLL
	for (uint32_t i = 0; i < SHA1_WORDS; i++)
		sha1->state[i] = secret->inner[i];
	PACKET_UNROLL
	for (uint32_t i = 0; i < STUN_BYTES_MAX / SHA1_BLOCK_BYTES + 1; i++) {
		if (i * SHA1_BLOCK_WORDS > words + 2)
			break;
		rtc_integrity_block(&scratch->message, sha1, (uint64_t)i << 32 | words);
	}
	sha1_end(sha1, secret->outer);
	PACKET_UNROLL
	for (uint32_t i = 0; i < SHA1_WORDS; i++)
		differ |= sha1->state[i] ^ __builtin_bswap32(stun_word(&scratch->message, at + 4 + 4 * i));
	return differ == 0;
}

/*
 * Whether a check by the fragment `fragment` is refused: a password is known for it, and the check is not signed with it. A secret
 * that is being written is none.
 */
PACKET_INLINE bool rtc_integrity_refuses(const struct rtc_tables *rtc, struct rtc_scratch *scratch, uint32_t row, uint64_t fragment)
{
	const struct rtc_secret *secret = rtc->secrets[row & (RTC_SESSION_ROWS - 1)];

	if (load_once(secret->fragment) != fragment)
		secret++;
	if (load_once(secret->fragment) != fragment)
		return false;
	return !scratch->stun.integrity_at || !rtc_integrity_holds(secret, scratch, scratch->stun.integrity_at);
}

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * SRTP's tag (RFC 3711 section 4.2) as evidence that media from elsewhere are the client's, where the agent told the key. Only what
 * comes by another path than the one in use is verified. See docs/adr/0042-the-srtp-tag-is-evidence.md.
 *
 * The tag is HMAC-SHA1 (RFC 2104) over the packet and the rollover counter, which is not in the packet: it is the cycles of the
 * stream's sequence number since the key is used. Tags with an MKI in front, which WebRTC's endpoints
 * do not negotiate (RFC 5764 section 4.1.3), are wrong.
 */
#pragma once

#include "base/packet/sha1.h"
#include "rtc/rtc_state.h"
#include "rtc/rtp_wire.h"

#define RTC_SRTP_GUESSES 4u /* of a rollover counter that is not known */

/* Of one session so many wrong tags are looked at in 128 ms, and of more packets none: a flood costs less than a hundredth of a worker. */
#define RTC_SRTP_WRONG_MAX 32u
#define RTC_SRTP_WINDOW_SHIFT 7

#define RTC_SRTP_BLOCKS (STUN_COPY_MAX / SHA1_BLOCK_BYTES) /* before the one that the rollover counter begins in */

/* Bytes of a profile's tag. */
PACKET_INLINE uint32_t rtc_srtp_tag_bytes(uint32_t profile)
{
	return profile == RTC_SRTP_AES128_CM_SHA1_32 ? 4 : 10;
}

/* Which stream a rollover counter is of: another one, or one that jumped, has another mark. Not 0. */
PACKET_INLINE uint32_t rtc_srtp_mark(uint32_t ssrc, uint32_t base)
{
	return (ssrc ^ base * 0x9e3779b1u) | 1;
}

/* Takes block `number` of what the host copied. */
PACKET_FUNCTION uint32_t rtc_srtp_block(const struct stun_message *message, struct sha1 *sha1, uint32_t number)
{
	if (!message || !sha1)
		return 0;
	PACKET_UNROLL
	for (uint32_t i = 0; i < SHA1_BLOCK_WORDS; i++) {
		uint32_t at = number * SHA1_BLOCK_BYTES + 4 * i;

		value_opaque(at); /* one behind the other, else BPF's compiler has them all on a stack that has no room */
		store_once(sha1->block[i], __builtin_bswap32(stun_word(message, at)));
	}
	return sha1_block(sha1);
}

/*
 * The part of the work that does not depend on the rollover counter: of a packet of `scratch->srtp.end` bytes without its tag. The tag is put
 * aside; in its place stand four bytes for the counter, and what SHA-1 puts behind a message with a pad's block in front.
 */
PACKET_FUNCTION uint32_t rtc_srtp_begin(const struct rtc_srtp *key, struct rtc_scratch *scratch)
{
	struct stun_message *message;
	uint32_t end, last;

	if (!key || !scratch)
		return 0;
	message = &scratch->message;
	end = scratch->srtp.end;
	last = (end + 4 + 8) / SHA1_BLOCK_BYTES * SHA1_BLOCK_BYTES + SHA1_BLOCK_BYTES - 4;
	PACKET_UNROLL
	for (uint32_t i = 0; i < 3; i++)
		scratch->srtp.tag[i] = __builtin_bswap32(stun_word(message, end + 4 * i));
	PACKET_UNROLL
	for (uint32_t i = 1; i < SHA1_BLOCK_WORDS + 3; i++)
		unaligned(uint32_t, message->bytes + STUN_PLACE(end + 4 * i)) = i == 1 ? 0x80 : 0;
	unaligned(uint32_t, message->bytes + STUN_PLACE(last)) = __builtin_bswap32((SHA1_BLOCK_BYTES + end + 4) * 8);
	PACKET_UNROLL
	for (uint32_t i = 0; i < SHA1_WORDS; i++)
		scratch->sha1.state[i] = key->inner[i];
	PACKET_UNROLL
	for (uint32_t i = 0; i < RTC_SRTP_BLOCKS; i++) {
		if ((i + 1) * SHA1_BLOCK_BYTES > end)
			break;
		rtc_srtp_block(message, &scratch->sha1, i);
	}
	PACKET_UNROLL
	for (uint32_t i = 0; i < SHA1_WORDS; i++)
		scratch->srtp.middle[i] = scratch->sha1.state[i];
	return 1;
}

/* Whether the packet has the tag of this rollover counter. After rtc_srtp_begin(). */
PACKET_FUNCTION uint32_t rtc_srtp_holds(const struct rtc_srtp *key, struct rtc_scratch *scratch, uint32_t counter)
{
	uint32_t differ, end, first;
	struct sha1 *sha1;

	if (!key || !scratch)
		return 0;
	sha1 = &scratch->sha1;
	end = scratch->srtp.end;
	first = end / SHA1_BLOCK_BYTES;
	unaligned(uint32_t, scratch->message.bytes + STUN_PLACE(end)) = __builtin_bswap32(counter);
	PACKET_UNROLL
	for (uint32_t i = 0; i < SHA1_WORDS; i++)
		sha1->state[i] = scratch->srtp.middle[i];
	rtc_srtp_block(&scratch->message, sha1, first);
	if ((end + 4 + 8) / SHA1_BLOCK_BYTES != first)
		rtc_srtp_block(&scratch->message, sha1, first + 1);
	sha1_end(sha1, key->outer);
	differ = sha1->state[0] ^ scratch->srtp.tag[0];
	if (key->profile != RTC_SRTP_AES128_CM_SHA1_32)
		differ |= (sha1->state[1] ^ scratch->srtp.tag[1]) | (sha1->state[2] ^ scratch->srtp.tag[2]) >> 16;
	return differ == 0;
}

enum rtc_srtp_verdict {
	RTC_SRTP_WRONG,   /* somebody else's, or one of too many such */
	RTC_SRTP_OLD,     /* the client made it, and it is not newer than all that came: maybe a copy of one that did */
	RTC_SRTP_NEWER,   /* the client made it, and nothing of its stream that is newer was seen */
	RTC_SRTP_UNKNOWN, /* it may be true: the rollover counter is not known */
};

/*
 * What is to be looked for in a packet that fits the session's stream (rtc_stream_fits()): that of scratch->query, which the host copied.
 * Returns how many rollover counters may be its own; 0: none is to be tried.
 */
PACKET_FUNCTION uint32_t rtc_srtp_plan(struct rtc_sessions *sessions, const struct rtc_srtp *key, struct rtc_scratch *scratch, uint32_t row)
{
	const struct rtc_stream *stream;
	uint32_t length, cycles, wrong;
	struct rtc_srtp_work *work;
	uint64_t known;

	if (!sessions || !key || !scratch)
		return 0;
	stream = &sessions->rows[row & (RTC_SESSION_ROWS - 1)].up;
	work = &scratch->srtp;
	/* RFC 3711 section 3.3.1: of the indexes with this sequence number, the one that is closest to the newest. */
	work->ahead = (int16_t)(scratch->query.sequence - (uint16_t)stream->highest);
	cycles = (stream->highest + (uint32_t)work->ahead) >> 16;
	work->cycles = cycles;
	work->mark = rtc_srtp_mark(stream->ssrc, stream->base);
	work->counter = cycles - 1; /* streams begin with a cycle of 1, and counters with 0 */
	work->guesses = 1;
	known = load_once(key->known);
	if ((uint32_t)known == work->mark)
		work->counter = cycles + (uint32_t)(known >> 32);
	else if (!(key->flags & RTC_SRTP_FIRST) || stream->expected_before)
		work->guesses = RTC_SRTP_GUESSES;
	work->wrong = scratch->query.now_ms >> RTC_SRTP_WINDOW_SHIFT << 8;
	wrong = load_once(key->wrong);
	if (((wrong ^ work->wrong) & ~0xffu) == 0)
		work->wrong = wrong;
	length = scratch->message.length;
	work->end = length - rtc_srtp_tag_bytes(key->profile);
	if ((work->wrong & 0xff) >= RTC_SRTP_WRONG_MAX || length > STUN_COPY_MAX || work->end < sizeof(struct rtp_header) ||
	    work->end > length)
		return 0;
	return work->guesses;
}

/* Tries them; which one it was, or RTC_SRTP_GUESSES. */
PACKET_FUNCTION uint32_t rtc_srtp_try(const struct rtc_srtp *key, struct rtc_scratch *scratch, uint32_t guesses)
{
	uint32_t found = RTC_SRTP_GUESSES;

	if (!key || !scratch)
		return RTC_SRTP_GUESSES;
	rtc_srtp_begin(key, scratch);
	PACKET_UNROLL
	for (uint32_t i = 0; i < RTC_SRTP_GUESSES; i++)
		if (i < guesses && found == RTC_SRTP_GUESSES && rtc_srtp_holds(key, scratch, scratch->srtp.counter + i))
			found = i;
	return found;
}

/*
 * Whether a packet that fits the session's stream is the client's. Where the rollover counter is not known, the first ones that the
 * stream may have are tried, and if none is it nothing is said against it.
 */
PACKET_INLINE enum rtc_srtp_verdict rtc_srtp_judge(struct rtc_sessions *sessions, struct rtc_srtp *key, struct rtc_scratch *scratch,
						   uint32_t row)
{
	struct rtc_srtp_work *work = &scratch->srtp;
	uint32_t guesses, found = RTC_SRTP_GUESSES;

	if (load_once(key->fragment) == 0)
		return RTC_SRTP_UNKNOWN;
	guesses = rtc_srtp_plan(sessions, key, scratch, row);
	if (guesses) {
		found = rtc_srtp_try(key, scratch, guesses);
		if (found == RTC_SRTP_GUESSES)
			store_once(key->wrong, work->wrong + 1);
	}
	if (found == RTC_SRTP_GUESSES)
		return work->guesses > 1 ? RTC_SRTP_UNKNOWN : RTC_SRTP_WRONG;
	store_once(key->known, (uint64_t)(work->counter + found - work->cycles) << 32 | work->mark);
	return work->ahead > 0 ? RTC_SRTP_NEWER : RTC_SRTP_OLD;
}

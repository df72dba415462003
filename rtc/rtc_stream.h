/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What is measured of one direction with each packet: RFC 3550 appendix A.1 (sequence numbers), A.3 (loss), A.8 (jitter).
 *
 * Arrivals are told in the kernel's tick. A difference of two arrivals is as often too long as too short by that, so the mean that
 * A.8 makes of them is right; a single one is not. Senders do not say how fast a timestamp's clock runs: it is found from
 * the first second.
 */
#pragma once

#include "rtc/rtc_state.h"
#include "rtc/rtp_wire.h"

#define RTC_STREAM_SILENT_MS 2000u /* then another SSRC is measured */
#define RTC_STREAM_CLOCK_MS 1000u
#define RTC_SEQUENCE_DROPOUT 3000u /* RFC 3550 A.1: MAX_DROPOUT */
#define RTC_SEQUENCE_MISORDER 100u /* MAX_MISORDER */

/* The next in order of the clocks that codecs have. */
PACKET_INLINE uint8_t rtc_clock_khz(uint32_t ticks, uint32_t elapsed_ms)
{
	if (ticks < elapsed_ms * 12)
		return 8;
	if (ticks < elapsed_ms * 24)
		return 16;
	if (ticks < elapsed_ms * 40)
		return 32;
	return ticks < elapsed_ms * 69 ? 48 : 90;
}

/* A stream begins: another SSRC, or one that jumped. */
PACKET_INLINE void rtc_stream_begin(struct rtc_stream *stream, const struct rtc_head *head, uint32_t now_ms)
{
	if (stream->received) {
		uint32_t expected = stream->highest - stream->base + 1;

		stream->expected_before += expected;
		stream->lost_before += expected > stream->received ? expected - stream->received : 0;
	}
	stream->ssrc = head->ssrc;
	stream->payload_type = head->payload_type;
	stream->highest = stream->base = 0x10000u + head->sequence; /* one cycle more, so that late ones are not below zero */
	stream->received = 1;
	stream->rtp_ms = now_ms;
	stream->khz = 0;
	stream->bad = 0;
	stream->transit = head->timestamp;
	stream->jitter = now_ms;
}

PACKET_INLINE void rtc_jitter_count(struct rtc_stream *stream, const struct rtc_head *head, uint32_t now_ms)
{
	uint32_t transit, apart;

	if (unlikely(stream->khz == 0)) {
		uint32_t elapsed = now_ms - stream->jitter;

		if (elapsed < RTC_STREAM_CLOCK_MS)
			return;
		/* A clock that ran backwards or far too fast was set anew: once more from here. */
		if (elapsed < 4 * RTC_STREAM_CLOCK_MS && head->timestamp - stream->transit < elapsed * 130) {
			stream->khz = rtc_clock_khz(head->timestamp - stream->transit, elapsed);
			stream->transit = now_ms * stream->khz - head->timestamp;
			stream->jitter = 0;
		} else {
			stream->transit = head->timestamp;
			stream->jitter = now_ms;
		}
		return;
	}
	transit = now_ms * stream->khz - head->timestamp;
	apart = transit - stream->transit;
	if (apart >> 31)
		apart = -apart;
	stream->transit = transit;
	if (likely(apart < (uint32_t)stream->khz << 12)) /* four seconds: the sender's clock was set */
		stream->jitter += apart - ((stream->jitter + 8) >> 4);
}

/* Counts a packet of `bytes`. True: its SSRC is the one that is measured from now on. */
PACKET_INLINE bool rtc_stream_count(struct rtc_stream *stream, const struct rtc_head *head, uint32_t bytes, uint32_t now_ms)
{
	uint32_t pause = now_ms - stream->last_ms;
	uint16_t ahead;

	if (unlikely(pause > stream->pause_ms) && stream->packets)
		stream->pause_ms = pause > 0xffff ? 0xffff : (uint16_t)pause;
	stream->packets++;
	stream->bytes += bytes;
	stream->last_ms = now_ms;
	if (head->kind != RTC_KIND_RTP)
		return false;
	if (unlikely(head->ssrc != stream->ssrc || stream->received == 0)) {
		if (stream->received && now_ms - stream->rtp_ms < RTC_STREAM_SILENT_MS)
			return false;
		rtc_stream_begin(stream, head, now_ms);
		return true;
	}
	ahead = (uint16_t)(head->sequence - (uint16_t)stream->highest);
	if (likely(ahead < RTC_SEQUENCE_DROPOUT)) {
		stream->gaps += ahead > 1;
		stream->highest += ahead;
	} else if (ahead <= (uint16_t)(0x10000u - RTC_SEQUENCE_MISORDER)) {
		/* Two packets in a row behind a jump: the sender began anew. */
		if (stream->bad != (uint16_t)(head->sequence + 1)) {
			stream->bad = (uint16_t)(head->sequence + 2);
			return false;
		}
		rtc_stream_begin(stream, head, now_ms);
		return false;
	}
	stream->received++;
	stream->rtp_ms = now_ms;
	rtc_jitter_count(stream, head, now_ms);
	return false;
}

/*
 * Whether a packet from elsewhere may be the stream's next: its SSRC, a sequence number from a little late to RTC_FIT_AHEAD
 * ahead, of a stream that was alive a moment ago.
 */
#define RTC_FIT_AHEAD 1000u
#define RTC_FIT_LATE 32u
#define RTC_FIT_MS 5000u

PACKET_INLINE bool rtc_stream_fits(const struct rtc_stream *stream, uint32_t ssrc, uint16_t sequence, uint32_t now_ms)
{
	uint16_t ahead = (uint16_t)(sequence - (uint16_t)stream->highest + RTC_FIT_LATE);

	return stream->received && stream->ssrc == ssrc && ahead <= RTC_FIT_AHEAD + RTC_FIT_LATE &&
	       now_ms - stream->rtp_ms < RTC_FIT_MS;
}

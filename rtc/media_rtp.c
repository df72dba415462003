/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/media_rtp.h"

#include <errno.h>
#include <string.h>

#include "base/lib/bytes.h"

#define RTCP_SENDER_REPORT 200
#define RTCP_RECEIVER_REPORT 201
#define RTCP_SDES 202
#define RTCP_BYE 203
#define REPORT_BLOCK_SIZE 24
#define CNAME "selvage"

/* --- packets ------------------------------------------------------------------------------------------------------------ */

bool media_rtp_is(const uint8_t *bytes, size_t length)
{
	return length >= 8 && bytes[0] >> 6 == 2;
}

bool media_rtcp_is(const uint8_t *bytes, size_t length)
{
	return media_rtp_is(bytes, length) && bytes[1] >= 192 && bytes[1] <= 223;
}

int media_rtp_parse(const uint8_t *bytes, size_t length, struct media_rtp *ret_rtp)
{
	size_t header = MEDIA_RTP_HEADER_SIZE, padding = 0;

	if (length < header || !media_rtp_is(bytes, length))
		return -EBADMSG;
	header += 4u * (bytes[0] & 15);
	if (bytes[0] & 0x10) {
		if (length < header + 4)
			return -EBADMSG;
		header += 4 + 4u * bytes_get16(bytes + header + 2);
	}
	if (length < header)
		return -EBADMSG;
	if (bytes[0] & 0x20) {
		padding = bytes[length - 1];
		if (padding == 0 || padding > length - header)
			return -EBADMSG;
	}
	*ret_rtp = (struct media_rtp){
		.payload_type = bytes[1] & 127,
		.marker = bytes[1] >> 7,
		.sequence = bytes_get16(bytes + 2),
		.timestamp = bytes_get32(bytes + 4),
		.ssrc = bytes_get32(bytes + 8),
		.payload = bytes + header,
		.payload_length = length - header - padding,
	};
	return 0;
}

void media_rtp_write(const struct media_rtp *rtp, uint8_t header[static MEDIA_RTP_HEADER_SIZE])
{
	header[0] = 2 << 6;
	header[1] = (uint8_t)(rtp->marker << 7 | rtp->payload_type);
	bytes_put16(header + 2, rtp->sequence);
	bytes_put32(header + 4, rtp->timestamp);
	bytes_put32(header + 8, rtp->ssrc);
}

/* --- a stream ----------------------------------------------------------------------------------------------------------- */

/* 64 bits would hold 500 thousand hours at 10 MHz; the multiplication is made in two steps for that. */
static uint32_t arrival_units(const struct media_receiver *receiver, uint64_t now_us)
{
	return (uint32_t)(now_us / 1000000 * receiver->clock_rate + now_us % 1000000 * receiver->clock_rate / 1000000);
}

static void receiver_start(struct media_receiver *receiver, const struct media_rtp *rtp, uint64_t now_us)
{
	if (receiver->started) {
		receiver->earlier_expected += receiver->highest - receiver->base + 1;
		receiver->earlier_received += receiver->received;
	} else {
		receiver->first_us = receiver->last_us = now_us;
	}
	receiver->started = true;
	receiver->ssrc = rtp->ssrc;
	/* A round above zero, so that what comes late from before the start does not go below it. */
	receiver->base = receiver->highest = 65536u + rtp->sequence;
	receiver->received = 0;
	receiver->expected_prior = receiver->received_prior = 0;
	receiver->jitter = 0;
	receiver->transit = arrival_units(receiver, now_us) - rtp->timestamp;
	receiver->sender_report = 0;
}

static void sequence_take(struct media_receiver *receiver, uint16_t sequence)
{
	int16_t step = (int16_t)(sequence - (uint16_t)receiver->highest);

	if (step > 0) {
		receiver->highest += (uint32_t)step;
		return;
	}
	if (step < 0)
		receiver->reordered++;
	/* Sent before the first that came: counts as expected too. */
	if ((int32_t)(receiver->highest + (uint32_t)step - receiver->base) < 0)
		receiver->base = receiver->highest + (uint32_t)step;
}

/* RFC 3550 A.8: J += (|D| - J) / 16. */
static void jitter_take(struct media_receiver *receiver, const struct media_rtp *rtp, uint64_t now_us)
{
	uint32_t transit = arrival_units(receiver, now_us) - rtp->timestamp;
	int32_t difference = (int32_t)(transit - receiver->transit);

	receiver->transit = transit;
	receiver->jitter += ((difference < 0 ? -(double)difference : (double)difference) - receiver->jitter) / 16;
}

void media_receiver_take(struct media_receiver *receiver, const struct media_rtp *rtp, uint64_t now_us)
{
	if (!receiver->started || receiver->ssrc != rtp->ssrc) {
		receiver_start(receiver, rtp, now_us);
	} else {
		sequence_take(receiver, rtp->sequence);
		jitter_take(receiver, rtp, now_us);
	}
	receiver->received++;
	if (now_us - receiver->last_us > receiver->longest_gap_us)
		receiver->longest_gap_us = now_us - receiver->last_us;
	receiver->last_us = now_us;
}

static uint32_t expected_now(const struct media_receiver *receiver)
{
	return receiver->started ? receiver->highest - receiver->base + 1 : 0;
}

uint64_t media_receiver_expected(const struct media_receiver *receiver)
{
	return receiver->earlier_expected + expected_now(receiver);
}

uint64_t media_receiver_received(const struct media_receiver *receiver)
{
	return receiver->earlier_received + receiver->received;
}

uint64_t media_receiver_lost(const struct media_receiver *receiver)
{
	uint64_t expected = media_receiver_expected(receiver), received = media_receiver_received(receiver);

	return expected > received ? expected - received : 0;
}

double media_receiver_jitter_ms(const struct media_receiver *receiver)
{
	return receiver->clock_rate ? receiver->jitter * 1000 / receiver->clock_rate : 0;
}

/* --- reports ------------------------------------------------------------------------------------------------------------ */

uint64_t media_ntp(uint64_t now_us)
{
	return now_us / 1000000 << 32 | ((now_us % 1000000 << 32) / 1000000);
}

static uint8_t fraction_lost(struct media_receiver *receiver)
{
	uint32_t expected = expected_now(receiver) - receiver->expected_prior;
	uint32_t received = (uint32_t)receiver->received - receiver->received_prior;

	receiver->expected_prior = expected_now(receiver);
	receiver->received_prior = (uint32_t)receiver->received;
	return expected > received ? (uint8_t)((uint64_t)(expected - received) * 255 / expected) : 0;
}

static size_t block_write(struct media_receiver *receiver, uint64_t now_us, uint8_t *block)
{
	uint32_t lost = expected_now(receiver) > receiver->received ? expected_now(receiver) - (uint32_t)receiver->received : 0;
	uint64_t delay_us = now_us - receiver->sender_report_us;

	bytes_put32(block, receiver->ssrc);
	bytes_put32(block + 4, lost & 0x7fffff);
	block[4] = fraction_lost(receiver);
	bytes_put32(block + 8, receiver->highest);
	bytes_put32(block + 12, (uint32_t)receiver->jitter);
	bytes_put32(block + 16, receiver->sender_report);
	bytes_put32(block + 20, receiver->sender_report ? (uint32_t)(delay_us * 65536 / 1000000) : 0);
	return REPORT_BLOCK_SIZE;
}

static size_t header_write(uint8_t *packet, uint8_t count, uint8_t type, size_t length)
{
	packet[0] = (uint8_t)(2 << 6 | count);
	packet[1] = type;
	bytes_put16(packet + 2, (uint16_t)(length / 4 - 1));
	return length;
}

/* Section 6.5: one chunk, CNAME, ended by zeros up to four bytes. */
static size_t sdes_write(uint32_t ssrc, uint8_t *packet)
{
	size_t item = 2 + strlen(CNAME), chunk = 4 + ((item + 1 + 3) & ~(size_t)3);

	memset(packet, 0, 4 + chunk);
	bytes_put32(packet + 4, ssrc);
	packet[8] = 1;
	packet[9] = (uint8_t)strlen(CNAME);
	memcpy(packet + 10, CNAME, strlen(CNAME));
	return header_write(packet, 1, RTCP_SDES, 4 + chunk);
}

size_t media_rtcp_write(const struct media_sender *sender, struct media_receiver *receiver, uint64_t now_us,
			uint8_t buffer[static MEDIA_RTCP_SIZE])
{
	uint64_t ntp = media_ntp(now_us);
	size_t length = 8;

	bytes_put32(buffer + 4, sender->ssrc);
	if (sender->packets) {
		bytes_put64(buffer + 8, ntp);
		bytes_put32(buffer + 16, sender->timestamp);
		bytes_put32(buffer + 20, sender->packets);
		bytes_put32(buffer + 24, sender->bytes);
		length = 28;
	}
	if (receiver->started)
		length += block_write(receiver, now_us, buffer + length);
	header_write(buffer, receiver->started, sender->packets ? RTCP_SENDER_REPORT : RTCP_RECEIVER_REPORT, length);
	return length + sdes_write(sender->ssrc, buffer + length);
}

size_t media_rtcp_write_bye(const struct media_sender *sender, uint8_t buffer[static MEDIA_RTCP_SIZE])
{
	size_t length = header_write(buffer, 0, RTCP_RECEIVER_REPORT, 8);

	bytes_put32(buffer + 4, sender->ssrc);
	length += sdes_write(sender->ssrc, buffer + length);
	bytes_put32(buffer + length + 4, sender->ssrc);
	return length + header_write(buffer + length, 1, RTCP_BYE, 8);
}

/* Section 6.4.1: now − LSR − DLSR. */
static void block_take(const uint8_t *block, uint64_t now_us, struct media_rtcp_report *report)
{
	uint32_t last = bytes_get32(block + 16), delay = bytes_get32(block + 20);
	uint32_t now = (uint32_t)(media_ntp(now_us) >> 16), round_trip = now - last - delay;
	uint32_t lost = bytes_get32(block + 4) & 0xffffff;

	report->about_us = true;
	report->fraction_lost = block[4];
	report->lost = (int32_t)(lost ^ 0x800000) - 0x800000;
	report->jitter = bytes_get32(block + 12);
	/* What would be negative, or longer than a minute, comes from clocks that do not go alike. */
	if (last && round_trip < 60u << 16)
		report->round_trip_us = (uint32_t)((uint64_t)round_trip * 1000000 >> 16);
}

static void reports_take(const uint8_t *packet, size_t length, uint32_t ssrc, struct media_receiver *receiver, uint64_t now_us,
			 struct media_rtcp_report *report)
{
	size_t offset = 8;

	if (packet[1] == RTCP_SENDER_REPORT) {
		offset = 28;
		if (length < offset)
			return;
		if (receiver->started && bytes_get32(packet + 4) == receiver->ssrc) {
			receiver->sender_report = (uint32_t)(bytes_get64(packet + 8) >> 16);
			receiver->sender_report_us = now_us;
		}
	}
	for (int i = 0; i < (packet[0] & 31) && offset + REPORT_BLOCK_SIZE <= length; i++, offset += REPORT_BLOCK_SIZE)
		if (bytes_get32(packet + offset) == ssrc)
			block_take(packet + offset, now_us, report);
}

int media_rtcp_take(const uint8_t *bytes, size_t length, uint32_t ssrc, struct media_receiver *receiver, uint64_t now_us,
		    struct media_rtcp_report *ret_report)
{
	struct media_rtcp_report report = {0};

	for (size_t offset = 0; offset < length;) {
		const uint8_t *packet = bytes + offset;
		size_t size;

		if (length - offset < 4 || packet[0] >> 6 != 2)
			return -EBADMSG;
		size = 4u * (bytes_get16(packet + 2) + 1u);
		if (size > length - offset)
			return -EBADMSG;
		if ((packet[1] == RTCP_SENDER_REPORT || packet[1] == RTCP_RECEIVER_REPORT) && size >= 8)
			reports_take(packet, size, ssrc, receiver, now_us, &report);
		report.bye |= packet[1] == RTCP_BYE;
		offset += size;
	}
	*ret_report = report;
	return 0;
}

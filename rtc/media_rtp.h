/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RTP and RTCP in clear (RFC 3550): headers, what a receiver knows of a stream (section 6.4.1, A.1, A.3, A.8), and reports from which
 * the round trip is known. Foreign bytes are read here. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"

#define MEDIA_RTP_HEADER_SIZE 12
#define MEDIA_RTCP_SIZE 128 /* enough for what media_rtcp_write() makes */

struct media_rtp {
	uint8_t payload_type;
	bool marker;
	uint16_t sequence;
	uint32_t timestamp, ssrc;
	const uint8_t *payload; /* into the bytes that were read */
	size_t payload_length;  /* without padding */
};

/* Whether a packet that is no STUN and no DTLS is RTP or RTCP (RFC 7983), and which (RFC 5761 section 4). */
bool media_rtp_is(const uint8_t *bytes, size_t length);
bool media_rtcp_is(const uint8_t *bytes, size_t length);

/* -EBADMSG: not a whole RTP packet. */
must_check int media_rtp_parse(const uint8_t *bytes, size_t length, struct media_rtp *ret_rtp);

/* Writes the header alone; the payload follows it. */
void media_rtp_write(const struct media_rtp *rtp, uint8_t header[static MEDIA_RTP_HEADER_SIZE]);

/* One stream as its receiver sees it. Set `clock_rate`, zero the rest. A new SSRC begins anew, but the gap goes on. */
struct media_receiver {
	uint32_t clock_rate; /* of timestamps, in Hz */
	bool started;
	uint32_t ssrc;
	uint32_t base, highest; /* extended sequence numbers, RFC 3550 A.1 */
	uint64_t received, reordered;
	uint64_t earlier_expected, earlier_received; /* of streams before this one */
	uint32_t expected_prior, received_prior; /* at the last report */
	double jitter; /* in timestamp units, A.8 */
	uint32_t transit;
	uint64_t first_us, last_us;
	uint64_t longest_gap_us; /* between packets in the order that they came */
	uint32_t sender_report;  /* middle of its NTP time, 0: none came */
	uint64_t sender_report_us;
};

void media_receiver_take(struct media_receiver *receiver, const struct media_rtp *rtp, uint64_t now_us);

uint64_t media_receiver_expected(const struct media_receiver *receiver);
uint64_t media_receiver_received(const struct media_receiver *receiver);
/* Packets that did not come; duplicates do not make up for them, since SRTP refuses those. */
uint64_t media_receiver_lost(const struct media_receiver *receiver);
double media_receiver_jitter_ms(const struct media_receiver *receiver);

/* What a sender says in its reports. */
struct media_sender {
	uint32_t ssrc;
	uint32_t packets, bytes;
	uint32_t timestamp; /* of the last packet */
};

/* Time as RTCP has it: 32 bits of seconds, 32 of fraction; any epoch will do for the round trip. */
uint64_t media_ntp(uint64_t now_us);

/*
 * A sender report (a receiver report, while nothing was sent) about `receiver`, with SDES. What was received since the last
 * one is noted in it. Returns the length.
 */
size_t media_rtcp_write(const struct media_sender *sender, struct media_receiver *receiver, uint64_t now_us,
			uint8_t buffer[static MEDIA_RTCP_SIZE]);
/* RR without blocks, SDES, BYE. */
size_t media_rtcp_write_bye(const struct media_sender *sender, uint8_t buffer[static MEDIA_RTCP_SIZE]);

struct media_rtcp_report {
	bool about_us;
	uint32_t round_trip_us; /* 0: the report does not tell */
	uint32_t jitter;        /* in timestamp units */
	int32_t lost;
	uint8_t fraction_lost; /* of 256 */
	bool bye;
};

/* -EBADMSG: not a compound packet. Notes sender reports in `receiver`, returns what is said about `ssrc`. */
must_check int media_rtcp_take(const uint8_t *bytes, size_t length, uint32_t ssrc, struct media_receiver *receiver,
			       uint64_t now_us, struct media_rtcp_report *ret_report);

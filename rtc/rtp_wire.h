/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What shares one UDP port with STUN, told apart by its first bytes (RFC 7983, RFC 9443, RFC 5761), and RTP's header (RFC 3550). */
#pragma once

#include "base/packet/packet.h"
#include "base/packet/byteorder.h"

struct rtp_header {
	uint8_t version_flags; /* version 2, padding 1, extension 1, sources 4 */
	uint8_t type;          /* marker 1, payload type 7 */
	struct be16 sequence;
	struct be32 timestamp;
	struct be32 ssrc;
} PACKET_WIRE;
_Static_assert(sizeof(struct rtp_header) == 12, "wire");

#define RTCP_BYTES_MIN 8u
#define DTLS_RECORD_BYTES 13u /* RFC 6347 section 4.1; those of DTLS 1.3 (RFC 9147 section 4) are shorter, but begin with other bits */
#define DTLS13_RECORD_BYTES 5u

enum rtc_kind {
	RTC_KIND_NONE, /* of nothing that WebRTC sends, or cut off */
	RTC_KIND_STUN,
	RTC_KIND_DTLS,
	RTC_KIND_RTP,
	RTC_KIND_RTCP,
};

/* A datagram's first bytes. */
struct rtc_head {
	uint32_t ssrc;      /* RTP: host order */
	uint32_t timestamp;
	uint16_t sequence;
	uint8_t payload_type;
	uint8_t kind; /* enum rtc_kind */
};

/* Of the `length` bytes at `offset`. */
PACKET_INLINE struct rtc_head rtc_head_read(const struct packet *packet, uint32_t offset, uint32_t length)
{
	const struct rtp_header *rtp = packet_header(packet, offset, sizeof(*rtp));
	struct rtc_head head = {0};
	const uint8_t *first;

	if (likely(rtp && length >= sizeof(*rtp) && rtp->version_flags >> 6 == 2)) {
		/* RFC 5761 section 4: payload types 64 to 95 are RTCP's 192 to 223 */
		if (unlikely((rtp->type & 0x60) == 0x40)) {
			head.kind = RTC_KIND_RTCP;
			return head;
		}
		head.kind = RTC_KIND_RTP;
		head.payload_type = rtp->type & 0x7f;
		head.sequence = be16_get(rtp->sequence);
		head.timestamp = be32_get(rtp->timestamp);
		head.ssrc = be32_get(rtp->ssrc);
		return head;
	}
	first = packet_header(packet, offset, 2);
	if (!first || length < 2)
		return head;
	if (first[0] < 4) {
		head.kind = RTC_KIND_STUN;
	} else if (first[0] >= 20 && first[0] < 64) {
		if (length >= (first[0] >= 32 ? DTLS13_RECORD_BYTES : DTLS_RECORD_BYTES))
			head.kind = RTC_KIND_DTLS;
	} else if (first[0] >> 6 == 2 && (first[1] & 0x60) == 0x40 && length >= RTCP_BYTES_MIN) {
		head.kind = RTC_KIND_RTCP;
	}
	return head;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/packet/media_frames.h"

#include <stdio.h>
#include <string.h>

#include "base/lib/bytes.h"
#include "base/packet/wire.h"
#include "rtc/rtc_index.h"
#include "rtc/rtc_srtp.h"

#define CALL_PORT 3478
#define AGENT_PORT 7000

struct rtc_ufrag_secret media_frame_secret(void)
{
	struct rtc_ufrag_secret secret = {.number = 0};

	for (uint8_t i = 0; i < sizeof(secret.key); i++)
		((uint8_t *)&secret.key)[i] = i;
	return secret;
}

/* States of HMAC with some key; which one does not matter. */
static struct rtc_srtp media_key(uint32_t row)
{
	return (struct rtc_srtp){.fragment = 1, .inner = {1, 2, 3, 4, 5}, .outer = {6, 7, 8, 9, 10}, .flags = row & 1 ? RTC_SRTP_FIRST : 0,
				 .profile = RTC_SRTP_AES128_CM_SHA1_80};
}

void media_key_tell(struct rtc_tables *tables, struct rtc_sessions *sessions, uint32_t row)
{
	struct rtc_session *session = rtc_session_at(sessions, row);

	if (row == 0 || session->state != RTC_SESSION_LIVE || session->flags & RTC_SESSION_KEYED)
		return;
	tables->srtp[row] = media_key(row);
	session->flags |= RTC_SESSION_KEYED;
}

/* Puts the tag behind `length` bytes of media; returns how many there are then. */
static uint32_t tag_write(uint8_t *data, uint32_t length, uint32_t counter)
{
	static struct rtc_scratch scratch;
	struct rtc_srtp key = media_key(0);

	memcpy(scratch.message.bytes, data, length);
	scratch.srtp.end = length;
	rtc_srtp_begin(&key, &scratch);
	rtc_srtp_holds(&key, &scratch, counter);
	bytes_put32(data + length, scratch.sha1.state[0]);
	bytes_put32(data + length + 4, scratch.sha1.state[1]);
	bytes_put16(data + length + 8, (uint16_t)(scratch.sha1.state[2] >> 16));
	return length + 10;
}

static struct address v4(uint8_t c, uint8_t d)
{
	return address_from_ipv4((uint32_t)192 | 0u << 8 | (uint32_t)c << 16 | (uint32_t)d << 24);
}

static struct address v6(uint8_t last)
{
	static const uint8_t network[8] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1};
	uint8_t bytes[16] = {0};
	struct address address;

	memcpy(bytes, network, sizeof(network));
	bytes[14] = last < 0x40 ? 0 : 1;
	bytes[15] = last;
	if (last >= 0x50)
		bytes[14] = 0;
	memcpy(&address, bytes, sizeof(address));
	return address;
}

/* Places 12 and above are IPv6. */
static bool place_is_ipv6(uint32_t place)
{
	return place % MEDIA_PLACES >= 12;
}

static struct address place_agent(uint32_t place)
{
	return place_is_ipv6(place) ? v6(0x21) : v4(2, (uint8_t)(21 + (place >> 1 & 1)));
}

static struct address place_vip(uint32_t place)
{
	struct address vip = v6(0);

	if (!place_is_ipv6(place))
		return v4(2, (uint8_t)(100 + (place & 3)));
	((uint8_t *)&vip)[14] = 1; /* 2001:db8:0:1::100 */
	return vip;
}

static struct address place_client(uint32_t place)
{
	return place_is_ipv6(place) ? v6(0x50) : v4(2, (uint8_t)(50 + (place >> 2 & 1)));
}

uint32_t media_frame(uint32_t place, bool down, const uint8_t *data, uint32_t length, uint8_t frame[static FRAMES_LENGTH_MAX])
{
	static const uint8_t node[6] = {2, 0, 0, 0, 0, 1}, other[6] = {2, 0, 0, 0, 0, 0x50};
	struct address source = down ? place_agent(place) : place_client(place);
	struct address destination = down ? place_client(place) : place_vip(place);
	struct be16 client_port = be16_from((uint16_t)(5000 + place % 5));
	struct udp_header *udp;
	uint32_t at = 14;

	memset(frame, 0, 64);
	memcpy(frame, node, 6);
	memcpy(frame + 6, other, 6);
	if (place_is_ipv6(place)) {
		struct ipv6_header *ipv6 = (void *)(frame + at);

		memcpy(frame + 12, (uint8_t[]){0x86, 0xdd}, 2);
		ipv6->version_class_label = be32_from(0x60000000);
		ipv6->payload_length = be16_from((uint16_t)(8 + length));
		ipv6->next_header = PROTOCOL_UDP;
		ipv6->hop_limit = 64;
		memcpy(ipv6->source, &source, 16);
		memcpy(ipv6->destination, &destination, 16);
		at += sizeof(*ipv6);
	} else {
		struct ipv4_header *ipv4 = (void *)(frame + at);

		memcpy(frame + 12, (uint8_t[]){8, 0}, 2);
		ipv4->version_ihl = 0x45;
		ipv4->total_length = be16_from((uint16_t)(28 + length));
		ipv4->ttl = 64;
		ipv4->protocol = PROTOCOL_UDP;
		ipv4->source.raw = address_ipv4(&source);
		ipv4->destination.raw = address_ipv4(&destination);
		at += sizeof(*ipv4);
	}
	udp = (void *)(frame + at);
	*udp = (struct udp_header){down ? be16_from(AGENT_PORT) : client_port, down ? client_port : be16_from(CALL_PORT),
				   be16_from((uint16_t)(8 + length)), 0x1234};
	at += sizeof(*udp);
	if (length)
		memcpy(frame + at, data, length);
	return at + length;
}

/* --- random ones -------------------------------------------------------------------------------------------------------- */

static uint32_t attribute(uint8_t *data, uint32_t at, uint32_t type, const void *value, uint32_t length)
{
	bytes_put16(data + at, type);
	bytes_put16(data + at + 2, length);
	memset(data + at + 4, 0, (length + 3) & ~3u);
	if (length)
		memcpy(data + at + 4, value, length);
	return at + 4 + ((length + 3) & ~3u);
}

/* A fragment that leads to the place's agent, from a few for each, now and then with a wrong character. */
static void fragment(struct frames *frames, uint32_t place, char text[RTC_UFRAG_IPV6_CHARS + 1])
{
	static const char *const services[] = {"default/call", "default/marked", "default/limited", "default/any"};
	const struct rtc_ufrag_secret secret = media_frame_secret();
	const char *service = services[place_is_ipv6(place) ? 0 : place & 3];
	struct siphash_key key = rtc_ufrag_service_key(&secret.key, service);
	struct rtc_ufrag_target target = {.address = place_agent(place), .port = be16_from(AGENT_PORT)};

	rtc_ufrag_encode(&key, 0, &target, frames_random(frames, 4), text);
	if (frames_random(frames, 16) == 0)
		text[frames_random(frames, (uint32_t)strlen(text))] = (char)frames_random(frames, 256);
}

static uint32_t random_stun(struct frames *frames, uint32_t place, bool down, uint8_t *data)
{
	static const uint16_t types[] = {STUN_BINDING_REQUEST, STUN_BINDING_REQUEST, STUN_BINDING_REQUEST, STUN_BINDING_SUCCESS,
					 STUN_BINDING_SUCCESS, STUN_BINDING_SUCCESS, STUN_BINDING_ERROR,   STUN_BINDING_INDICATION, 3};
	static const uint8_t integrity[20] = {1};
	uint32_t type = types[frames_random(frames, sizeof(types) / sizeof(types[0]))], at = 20;
	char text[RTC_UFRAG_IPV6_CHARS + 1], username[2 * sizeof(text)];
	struct stun_message message;
	uint32_t crc;

	bytes_put16(data, type);
	bytes_put16(data + 4, STUN_MAGIC >> 16);
	bytes_put16(data + 6, STUN_MAGIC & 0xffff);
	memset(data + 8, 0, 12);
	data[19] = (uint8_t)(frames_random(frames, 6) | (place & 3) << 4);
	if (type == STUN_BINDING_REQUEST && frames_random(frames, 10)) {
		fragment(frames, place, text);
		snprintf(username, sizeof(username), down ? "cl:%s" : "%s:cl", text);
		at = attribute(data, at, STUN_USERNAME, username, (uint32_t)strlen(username));
	}
	if (frames_random(frames, 3) == 0)
		at = attribute(data, at, 0x8022, "noise noise noise noise noise", frames_random(frames, 30));
	if (frames_random(frames, 3) == 0)
		at = attribute(data, at, STUN_USE_CANDIDATE, NULL, 0);
	for (uint32_t more = frames_random(frames, 4) ? 0 : frames_random(frames, 7); more; more--)
		at = attribute(data, at, frames_random(frames, 2) ? frames_random(frames, 64) : frames_random(frames, 0x10000), "more", 4);
	at = attribute(data, at, STUN_INTEGRITY, integrity, sizeof(integrity));
	bytes_put16(data + 2, at + 8 - 20);
	message.length = at;
	memcpy(message.bytes, data, at);
	crc = __builtin_bswap32(stun_crc(&message, at) ^ STUN_FINGERPRINT_XOR);
	return frames_random(frames, 8) ? attribute(data, at, STUN_FINGERPRINT, &crc, 4) : at;
}

/* The clients' streams go on, mostly; their numbers are the frames' own. */
static uint32_t random_rtp(struct frames *frames, uint32_t place, bool down, uint8_t *data)
{
	uint32_t sequence = (uint32_t)(frames->state >> 3 & 7) + frames->media_sequence, ssrc = (down ? 100 : 0) + place % 6;

	frames->media_sequence += frames_random(frames, 4) == 0;
	if (frames_random(frames, 30) == 0)
		sequence += frames_random(frames, 65536);
	memset(data, 0, MEDIA_DATA_MAX);
	data[0] = 0x80;
	data[1] = (uint8_t)(frames_random(frames, 20) ? 111 : frames_random(frames, 256));
	bytes_put16(data + 2, sequence);
	bytes_put16(data + 4, sequence * 960 >> 16);
	bytes_put16(data + 6, sequence * 960);
	data[11] = (uint8_t)ssrc;
	return tag_write(data, 12 + frames_random(frames, frames_random(frames, 8) ? 28 : MEDIA_DATA_MAX - 24), frames_random(frames, 8) == 0);
}

uint32_t media_frame_next(struct frames *frames, uint8_t frame[static FRAMES_LENGTH_MAX])
{
	uint32_t place = frames_random(frames, MEDIA_PLACES), kind = frames_random(frames, 16), length;
	bool down = frames_random(frames, 5) < 2;
	uint8_t data[MEDIA_DATA_MAX];

	if (kind < 6) {
		length = random_stun(frames, place, down, data);
	} else if (kind < 13) {
		length = random_rtp(frames, place, down, data);
	} else {
		length = 1 + frames_random(frames, 60);
		for (uint32_t i = 0; i < length; i++)
			data[i] = (uint8_t)frames_random(frames, 256);
		if (kind == 13)
			memcpy(data, (uint8_t[]){22, 254, 253}, length < 3 ? length : 3);
	}
	/* a byte off, a byte short */
	if (frames_random(frames, 40) == 0)
		data[frames_random(frames, length)] ^= (uint8_t)(1u << frames_random(frames, 8));
	if (frames_random(frames, 60) == 0)
		length = frames_random(frames, length);
	return media_frame(place, down, data, length, frame);
}

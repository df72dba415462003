/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/packet/frames.h"

#include <string.h>

#include "base/packet/checksum.h"
#include "base/packet/flow.h"
#include "base/packet/wire.h"

/* A frame that is being written. */
struct writer {
	struct frames *frames;
	uint8_t *bytes;
	uint32_t length;
};

/* splitmix64 (public domain, S. Vigna). */
uint32_t frames_random(struct frames *frames, uint32_t below)
{
	uint64_t value = frames->state += 0x9e3779b97f4a7c15ull;

	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ull;
	value = (value ^ value >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)((value ^ value >> 31) >> 32) % below;
}

static bool one_in(struct writer *writer, uint32_t odds)
{
	return frames_random(writer->frames, odds) == 0;
}

#define CHOOSE(writer, pool) ((pool)[frames_random((writer)->frames, (uint32_t)(sizeof(pool) / sizeof((pool)[0])))])

static uint8_t *room(struct writer *writer, uint32_t length)
{
	uint8_t *place = writer->bytes + writer->length;

	memset(place, 0, length);
	writer->length += length;
	return place;
}

static void noise(struct writer *writer, uint32_t length)
{
	uint8_t *place = room(writer, length);

	for (uint32_t i = 0; i < length; i++)
		place[i] = (uint8_t)frames_random(writer->frames, 256);
}

static void write16(uint8_t *place, uint32_t value)
{
	place[0] = (uint8_t)(value >> 8);
	place[1] = (uint8_t)value;
}

/* --- pools -------------------------------------------------------------------------------------------------------------- */

static const uint8_t macs[][6] = {
	{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 1},
	{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 0, 2},
	{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0x33, 0x33, 0xff, 0, 1, 0}, {2, 0, 0, 0, 0, 0x99},
};

static void address4(struct writer *writer, uint8_t *place, bool source)
{
	static const uint8_t clients[][3] = {{192, 0, 2}, {192, 0, 2}, {198, 51, 100}, {203, 0, 113}};
	static const uint8_t backends[][4] = {
		{10, 0, 0, 21}, {10, 0, 0, 22}, {10, 0, 0, 23}, {192, 0, 2, 21}, {192, 0, 2, 22}, {198, 51, 100, 21}};
	static const uint8_t odd[][4] = {{127, 0, 0, 1}, {0, 0, 0, 0}, {224, 0, 0, 1}, {255, 255, 255, 255}, {192, 0, 2, 2}, {192, 0, 2, 200}};

	switch (frames_random(writer->frames, source ? 8 : 40)) {
	case 0:
		memcpy(place, CHOOSE(writer, odd), 4);
		break;
	case 1:
	case 2:
	case 3:
		if (source) {
			memcpy(place, CHOOSE(writer, backends), 4);
			break;
		} /* fall through */
	case 4:
		memcpy(place, CHOOSE(writer, clients), 3);
		place[3] = (uint8_t)(50 + frames_random(writer->frames, 16));
		break;
	default:
		if (source) {
			memcpy(place, CHOOSE(writer, clients), 3);
			place[3] = (uint8_t)(50 + frames_random(writer->frames, 16));
		} else {
			memcpy(place, (uint8_t[]){192, 0, 2, (uint8_t)(100 + frames_random(writer->frames, one_in(writer, 2) ? 15 : 1))}, 4);
		}
	}
}

static void address6(struct writer *writer, uint8_t *place, bool source)
{
	static const uint8_t network[8] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1};
	static const uint8_t vip_ends[][2] = {{1, 0}, {1, 0}, {1, 2}, {2, 0}, {1, 1}, {1, 8}, {1, 9}, {1, 0x10}, {1, 0x11}, {1, 0x14}};

	memset(place, 0, 16);
	memcpy(place, network, sizeof(network));
	switch (frames_random(writer->frames, source ? 8 : 24)) {
	case 0: /* unspecified, loopback, a group */
		memset(place, 0, 16);
		place[15] = (uint8_t)frames_random(writer->frames, 2);
		if (one_in(writer, 2))
			memcpy(place, (uint8_t[]){0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 1, 0}, 16);
		break;
	case 1: /* an IPv4 address in disguise */
		memset(place, 0, 10);
		place[10] = place[11] = 0xff;
		address4(writer, place + 12, source);
		break;
	case 2:
	case 3:
		place[7] = source ? 2 : 1;
		place[15] = source ? 0x21 : (uint8_t)(0x50 + frames_random(writer->frames, 8));
		break;
	default:
		if (source) {
			place[7] = (uint8_t)(one_in(writer, 4) ? 7 : 1);
			place[15] = (uint8_t)(0x50 + frames_random(writer->frames, 8));
		} else {
			memcpy(place + 14, CHOOSE(writer, vip_ends), 2);
		}
	}
}

static uint32_t port(struct writer *writer)
{
	static const uint16_t served[] = {53, 53, 53, 80, 80, 80, 80, 90, 91, 5353, 8080, 10000, 10500, 11000};

	return one_in(writer, 4) ? 1000 + frames_random(writer->frames, 16) : CHOOSE(writer, served);
}

/* --- transport ---------------------------------------------------------------------------------------------------------- */

static void payload(struct writer *writer)
{
	noise(writer, one_in(writer, 40) ? frames_random(writer->frames, 1600) : frames_random(writer->frames, 40));
}

/* As a QUIC server's connection ids begin that the scenario "lan" names, or nearly. */
static void quic(struct writer *writer)
{
	static const uint8_t servers[] = {0x21, 0x22, 0x23, 0x24};
	bool long_header = one_in(writer, 2);
	uint8_t *header = room(writer, long_header ? 6 : 1), *id;

	header[0] = (uint8_t)(long_header ? 0xc0 : 0x40);
	if (long_header)
		header[5] = (uint8_t)(one_in(writer, 4) ? frames_random(writer->frames, 30) : 8);
	id = room(writer, 3);
	id[0] = (uint8_t)((one_in(writer, 6) ? frames_random(writer->frames, 8) : 2) << 5);
	id[1] = 0xc0;
	id[2] = CHOOSE(writer, servers);
	payload(writer);
}

static void udp(struct writer *writer)
{
	uint32_t start = writer->length;
	uint8_t *header = room(writer, 8);

	write16(header, port(writer));
	write16(header + 2, port(writer));
	if (!one_in(writer, 4))
		write16(header + 6, frames_random(writer->frames, 0x10000));
	if (one_in(writer, 4)) {
		write16(header + 2, 443);
		quic(writer);
	} else {
		payload(writer);
	}
	write16(header + 4, writer->length - start + (one_in(writer, 30) ? frames_random(writer->frames, 20) - 10 : 0));
}

static void tcp(struct writer *writer)
{
	static const uint8_t flags[] = {TCP_SYN, TCP_ACK, TCP_ACK, TCP_ACK, TCP_SYN | TCP_ACK, TCP_FIN | TCP_ACK, TCP_RST, 0, 0xff};
	uint32_t options = one_in(writer, 3) ? 4 * frames_random(writer->frames, 11) : 0;
	uint8_t *header = room(writer, 20);

	write16(header, port(writer));
	write16(header + 2, port(writer));
	header[12] = (uint8_t)((one_in(writer, 30) ? frames_random(writer->frames, 16) : 5 + options / 4) << 4);
	header[13] = CHOOSE(writer, flags);
	write16(header + 16, frames_random(writer->frames, 0x10000));
	noise(writer, options);
	payload(writer);
}

static void icmp(struct writer *writer, bool ipv6)
{
	static const uint8_t types4[] = {8, 8, 8, 0, 3, 11, 12, 13}, types6[] = {128, 128, 128, 129, 1, 2, 3, 4, 133};
	uint8_t *header = room(writer, 8);

	header[0] = ipv6 ? CHOOSE(writer, types6) : CHOOSE(writer, types4);
	write16(header + 2, frames_random(writer->frames, 0x10000));
	payload(writer);
}

static uint8_t transport_choose(struct writer *writer, bool ipv6)
{
	static const uint8_t others[] = {47, 50, 59, 132, 1, 58};
	uint32_t choice = frames_random(writer->frames, 12);

	if (choice == 0)
		return CHOOSE(writer, others);
	if (choice < 3)
		return ipv6 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP;
	return choice < 8 ? PROTOCOL_UDP : PROTOCOL_TCP;
}

static void transport(struct writer *writer, uint8_t protocol)
{
	if (protocol == PROTOCOL_UDP)
		udp(writer);
	else if (protocol == PROTOCOL_TCP)
		tcp(writer);
	else if (protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMPV6)
		icmp(writer, protocol == PROTOCOL_ICMPV6);
	else
		payload(writer);
}

/* --- network ------------------------------------------------------------------------------------------------------------ */

static uint8_t hop_limit(struct writer *writer)
{
	static const uint8_t limits[] = {64, 64, 64, 64, 255, 128, 1, 0, 2};

	return CHOOSE(writer, limits);
}

static void ipv4(struct writer *writer)
{
	uint32_t start = writer->length, options = one_in(writer, 8) ? 4 * frames_random(writer->frames, 11) : 0;
	uint8_t *header = room(writer, 20), protocol = transport_choose(writer, false);
	uint64_t sum = 0;

	header[0] = (uint8_t)(0x45 + options / 4);
	if (one_in(writer, 60))
		header[0] = (uint8_t)frames_random(writer->frames, 256);
	header[8] = hop_limit(writer);
	header[9] = protocol;
	if (one_in(writer, 12))
		write16(header + 6, one_in(writer, 2) ? 0x2000 : frames_random(writer->frames, 0x10000));
	else if (one_in(writer, 2))
		write16(header + 6, 0x4000);
	address4(writer, header + 12, true);
	address4(writer, header + 16, false);
	noise(writer, options);
	transport(writer, protocol);
	write16(header + 2, writer->length - start + (one_in(writer, 40) ? frames_random(writer->frames, 20) - 10 : 0));
	for (uint32_t i = 0; i < 20 + options; i += 2)
		sum += (uint32_t)(header[i] | header[i + 1] << 8);
	sum = (uint16_t)~checksum_fold(sum);
	memcpy(header + 10, &sum, 2);
}

static void extensions(struct writer *writer, uint8_t *next, uint8_t protocol)
{
	static const uint8_t kinds[] = {PROTOCOL_HOP_BY_HOP, PROTOCOL_DESTINATION_OPTIONS, PROTOCOL_ROUTING, PROTOCOL_FRAGMENT,
					PROTOCOL_AUTHENTICATION};
	uint32_t count = one_in(writer, 4) ? frames_random(writer->frames, 8) : 0;

	while (count--) {
		uint8_t kind = CHOOSE(writer, kinds), length = (uint8_t)(one_in(writer, 20) ? frames_random(writer->frames, 256) :
											     frames_random(writer->frames, 3));
		uint8_t *header = room(writer, 8);

		*next = kind;
		next = header;
		header[1] = length;
		if (kind == PROTOCOL_FRAGMENT)
			write16(header + 2, one_in(writer, 2) ? 0 : frames_random(writer->frames, 0x10000));
		else if (kind == PROTOCOL_AUTHENTICATION && length < 8)
			noise(writer, length * 4u);
		else if (length < 8)
			noise(writer, length * 8u);
	}
	*next = protocol;
}

static void ipv6(struct writer *writer)
{
	uint8_t *header = room(writer, 40), protocol = transport_choose(writer, true);
	uint32_t start = writer->length;

	header[0] = (uint8_t)(one_in(writer, 60) ? frames_random(writer->frames, 256) : 0x60);
	header[7] = hop_limit(writer);
	address6(writer, header + 8, true);
	address6(writer, header + 24, false);
	extensions(writer, header + 6, protocol);
	transport(writer, protocol);
	write16(header + 4, writer->length - start + (one_in(writer, 40) ? frames_random(writer->frames, 20) - 10 : 0));
}

static void neighbour_discovery(struct writer *writer)
{
	uint8_t *header = room(writer, 40);
	uint32_t start = writer->length, options = frames_random(writer->frames, one_in(writer, 8) ? 12 : 3), length;
	uint8_t *message = room(writer, 24);
	uint64_t sum = BE16(PROTOCOL_ICMPV6);

	header[0] = 0x60;
	header[6] = PROTOCOL_ICMPV6;
	header[7] = one_in(writer, 12) ? 254 : 255;
	address6(writer, header + 8, true);
	address6(writer, header + 24, false);
	message[0] = one_in(writer, 8) ? ICMPV6_NEIGHBOUR_ADVERTISEMENT : ICMPV6_NEIGHBOUR_SOLICITATION;
	message[1] = one_in(writer, 30);
	address6(writer, message + 8, false);
	if (one_in(writer, 2)) { /* to its group */
		memcpy(header + 24, (uint8_t[]){0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff}, 13);
		memcpy(header + 37, message + 21, 3);
	}
	while (options--) {
		uint8_t *option = room(writer, 8);

		option[0] = (uint8_t)(one_in(writer, 2) ? ND_OPTION_SOURCE_LINK_ADDRESS : frames_random(writer->frames, 16));
		option[1] = (uint8_t)(one_in(writer, 12) ? frames_random(writer->frames, 4) : 1);
	}
	noise(writer, one_in(writer, 20) ? frames_random(writer->frames, 9) : 0);
	length = writer->length - start;
	write16(header + 4, length);
	for (uint32_t i = 8; i < 40; i += 2)
		sum += (uint32_t)(header[i] | header[i + 1] << 8);
	for (uint32_t i = 0; i < length; i++)
		sum += (uint64_t)message[i] << (i & 1 ? 8 : 0);
	sum += __builtin_bswap16((uint16_t)length);
	sum = one_in(writer, 12) ? 0x1234 : (uint16_t)~checksum_fold(sum);
	memcpy(message + 2, &sum, 2);
}

static void arp(struct writer *writer)
{
	uint8_t *packet = room(writer, 28);

	memcpy(packet, (uint8_t[]){0, 1, 8, 0, 6, 4, 0, 1}, 8);
	if (one_in(writer, 20))
		packet[frames_random(writer->frames, 8)] = (uint8_t)frames_random(writer->frames, 9);
	memcpy(packet + 8, one_in(writer, 12) ? (const uint8_t[]){1, 0, 0x5e, 0, 0, 1} : (const uint8_t[]){2, 0, 0, 0, 0, 0x50}, 6);
	address4(writer, packet + 14, !one_in(writer, 8));
	address4(writer, packet + 24, false);
}

/* --- fragments ---------------------------------------------------------------------------------------------------------- */

/* The headers that every fragment of a datagram has. */
struct train_head {
	uint8_t bytes[128];
	uint32_t l3, length;
	bool ipv6;
};

static void link(struct writer *writer, uint32_t ethertype);

static struct train_head train_head(struct frames *frames, uint8_t protocol, bool ipv6)
{
	struct train_head head = {.ipv6 = ipv6};
	struct writer writer = {.frames = frames, .bytes = head.bytes};
	uint8_t *header;

	link(&writer, ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
	head.l3 = writer.length;
	if (!ipv6) {
		uint32_t options = one_in(&writer, 8) ? 4 * frames_random(frames, 4) : 0;

		header = room(&writer, 20);
		header[0] = (uint8_t)(0x45 + options / 4);
		write16(header + 4, frames_random(frames, 16));
		header[8] = hop_limit(&writer);
		header[9] = protocol;
		address4(&writer, header + 12, true);
		address4(&writer, header + 16, false);
		noise(&writer, options);
	} else {
		bool options = one_in(&writer, 6);

		header = room(&writer, 40);
		header[0] = 0x60;
		header[6] = options ? PROTOCOL_HOP_BY_HOP : PROTOCOL_FRAGMENT;
		header[7] = hop_limit(&writer);
		address6(&writer, header + 8, true);
		address6(&writer, header + 24, false);
		if (options)
			room(&writer, 8)[0] = PROTOCOL_FRAGMENT;
		header = room(&writer, 8);
		header[0] = protocol;
		header[7] = (uint8_t)frames_random(frames, 16);
	}
	head.length = writer.length;
	return head;
}

static void train_add(struct frames *frames, const struct train_head *head, const uint8_t *data, uint32_t offset, uint32_t length,
		      bool more)
{
	uint8_t *bytes, *l3;
	uint64_t sum = 0;

	if (frames->train_length == FRAMES_TRAIN_MAX)
		return;
	bytes = frames->train[frames->train_length].bytes;
	frames->train[frames->train_length++].length = head->length + length;
	memcpy(bytes, head->bytes, head->length);
	memcpy(bytes + head->length, data, length);
	l3 = bytes + head->l3;
	if (head->ipv6) {
		write16(l3 + 4, head->length - head->l3 - 40 + length);
		write16(bytes + head->length - 6, offset | more);
		return;
	}
	write16(l3 + 2, head->length - head->l3 + length);
	write16(l3 + 6, (more ? 0x2000u : 0) | offset / 8);
	for (uint32_t i = 0; i < head->length - head->l3; i += 2)
		sum += (uint32_t)(l3[i] | l3[i + 1] << 8);
	sum = (uint16_t)~checksum_fold(sum);
	memcpy(l3 + 10, &sum, 2);
}

static void train_swap(struct frames *frames, uint32_t a, uint32_t b)
{
	__typeof__(frames->train[0]) kept = frames->train[a];

	frames->train[a] = frames->train[b];
	frames->train[b] = kept;
}

/* A datagram in fragments, often out of order, sometimes with one that is missing, doubled, or lies. */
static void train_make(struct frames *frames)
{
	static const uint8_t protocols[] = {PROTOCOL_UDP, PROTOCOL_UDP, PROTOCOL_UDP, PROTOCOL_TCP, PROTOCOL_ICMP};
	uint8_t data[FRAMES_LENGTH_MAX + 64];
	struct writer writer = {.frames = frames, .bytes = data};
	uint8_t protocol = CHOOSE(&writer, protocols);
	struct train_head head = train_head(frames, protocol, one_in(&writer, 2));
	uint32_t size = 8 * (1 + frames_random(frames, one_in(&writer, 2) ? 4 : 12));

	transport(&writer, protocol);
	noise(&writer, frames_random(frames, 200));
	for (uint32_t offset = 0; offset < writer.length; offset += size) {
		uint32_t length = writer.length - offset < size ? writer.length - offset : size, moved = offset;
		bool more = offset + length < writer.length;

		if (one_in(&writer, 12))
			continue;
		if (one_in(&writer, 20))
			moved += 8 * frames_random(frames, 5);
		if (one_in(&writer, 30) && length > 3)
			length -= frames_random(frames, 4);
		if (one_in(&writer, 30))
			more = !more;
		for (uint32_t copies = one_in(&writer, 10) ? 2 : 1; copies > 0; copies--)
			train_add(frames, &head, data + offset, moved, length, more);
	}
	if (one_in(&writer, 3)) /* it is taken from the end: mostly the last of these comes first */
		return;
	for (uint32_t i = 0; i + 1 < frames->train_length; i++) {
		uint32_t other = one_in(&writer, 4) ? frames_random(frames, frames->train_length) : frames->train_length - 1 - i;

		if (other > i)
			train_swap(frames, i, other);
	}
}

/* --- the frame ---------------------------------------------------------------------------------------------------------- */

static void link(struct writer *writer, uint32_t ethertype)
{
	static const uint16_t vlans[] = {0, 7, 7, 7, 7, 7, 5, 99};
	uint32_t tags = one_in(writer, 4) ? frames_random(writer->frames, 4) : 0;
	uint8_t *header = room(writer, 14);

	memcpy(header, CHOOSE(writer, macs), 6);
	memcpy(header + 6, (uint8_t[]){2, 0, 0, 0, 0, (uint8_t)(0x50 + frames_random(writer->frames, 4))}, 6);
	if (one_in(writer, 100))
		header[6] |= 1;
	for (uint32_t i = 0; i < tags; i++) {
		write16(writer->bytes + writer->length - 2, one_in(writer, 2) ? ETHERTYPE_VLAN : ETHERTYPE_QINQ);
		write16(room(writer, 4), CHOOSE(writer, vlans) | frames_random(writer->frames, 8) << 13);
	}
	write16(writer->bytes + writer->length - 2, ethertype);
}

/* Damage: bytes changed, the end cut off, or something behind it. */
static void damage(struct writer *writer)
{
	uint32_t changes = 1 + frames_random(writer->frames, 3);

	switch (frames_random(writer->frames, 4)) {
	case 0:
		writer->length = frames_random(writer->frames, writer->length + 1);
		break;
	case 1:
		noise(writer, frames_random(writer->frames, 60));
		break;
	default:
		while (changes--) {
			uint32_t reach = writer->length < 96 ? writer->length : 96;

			writer->bytes[frames_random(writer->frames, reach)] = (uint8_t)frames_random(writer->frames, 256);
		}
	}
}

uint32_t frames_interface(struct frames *frames, const uint8_t *frame, uint32_t length)
{
	uint32_t likely_one = length >= 6 && frame[5] == 2 ? 2 : 1;

	return frames_random(frames, 12) ? likely_one : 3 - likely_one;
}

uint32_t frames_next(struct frames *frames, uint8_t frame[static FRAMES_LENGTH_MAX])
{
	struct writer writer = {.frames = frames, .bytes = frame};
	uint32_t kind = frames_random(frames, 20);

	if (frames->train_length == 0 && one_in(&writer, 40))
		train_make(frames);
	if (frames->train_length && !one_in(&writer, 3)) {
		uint32_t last = --frames->train_length;

		memcpy(frame, frames->train[last].bytes, frames->train[last].length);
		return frames->train[last].length;
	}
	if (kind < 2) {
		link(&writer, ETHERTYPE_ARP);
		arp(&writer);
	} else if (kind < 4) {
		link(&writer, ETHERTYPE_IPV6);
		neighbour_discovery(&writer);
	} else if (kind < 13) {
		link(&writer, ETHERTYPE_IPV4);
		ipv4(&writer);
	} else if (kind < 19) {
		link(&writer, ETHERTYPE_IPV6);
		ipv6(&writer);
	} else {
		link(&writer, frames_random(frames, 0x10000));
		payload(&writer);
	}
	if (one_in(&writer, 4) && writer.length < 60)
		room(&writer, 60 - writer.length);
	if (one_in(&writer, 8))
		damage(&writer);
	return writer.length;
}

static void swap(uint8_t *a, uint8_t *b, uint32_t length)
{
	uint8_t kept[16];

	memcpy(kept, a, length);
	memcpy(a, b, length);
	memcpy(b, kept, length);
}

/* GUE's private data (docs/wire/gue.md). */
static void second_hop(struct writer *writer, bool ipv6)
{
	static const uint8_t hops4[][4] = {{203, 0, 113, 77}, {192, 0, 2, 32}, {192, 0, 2, 32}, {192, 0, 2, 39}, {10, 0, 0, 34}};
	static const uint8_t hops6[][16] = {{0x20, 1, 0x0d, 0xb8, 0, 0, 0, 2, [15] = 0x36}, {0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1, [15] = 0x34}};

	memcpy(room(writer, 4), (uint8_t[]){'S', 'V', ipv6 ? 0x12 : 0x11, 0}, 4);
	memcpy(room(writer, ipv6 ? 16 : 4), ipv6 ? CHOOSE(writer, hops6) : CHOOSE(writer, hops4), ipv6 ? 16 : 4);
}

uint32_t frames_wrap(struct frames *frames, const uint8_t *packet, uint32_t length, uint8_t frame[static FRAMES_LENGTH_MAX])
{
	/* Of the scenario lan, and of hops. */
	static const uint8_t node4[][8] = {{10, 0, 0, 34, 10, 0, 0, 1}, {192, 0, 2, 31, 192, 0, 2, 2}};
	static const uint8_t node6[][32] = {{0x20, 1, 0x0d, 0xb8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0x36,
					     0x20, 1, 0x0d, 0xb8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1},
					    {0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x33,
					     0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2}};
	struct writer writer = {.frames = frames, .bytes = frame};
	struct packet view = {(uint8_t *)packet, (uint8_t *)packet + length};
	struct flow flow = {0};
	bool gue = one_in(&writer, 3) == 0, ipv6 = one_in(&writer, 2), hop;
	uint8_t *header, *udp = NULL, carried;
	uint32_t options, start, where = one_in(&writer, 2);

	if (length > FRAMES_LENGTH_MAX - 256 || flow_parse(&view, &flow) ||
	    (flow.network != FLOW_IPV4 && flow.network != FLOW_IPV6))
		return 0;
	carried = flow.network == FLOW_IPV4 ? PROTOCOL_IPV4 : PROTOCOL_IPV6;
	memcpy(room(&writer, 12), (uint8_t[]){2, 0, 0, 0, 0, where ? 1 : 2, 2, 0, 0, 0, 2, 0x34}, 12);
	write16(room(&writer, 2), ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
	header = room(&writer, ipv6 ? 40 : 20);
	start = writer.length;
	memcpy(header + (ipv6 ? 8 : 12), ipv6 ? node6[where] : node4[where], ipv6 ? 32 : 8);
	header[0] = ipv6 ? 0x60 : 0x45;
	header[ipv6 ? 6 : 9] = gue ? PROTOCOL_UDP : carried;
	header[ipv6 ? 7 : 8] = hop_limit(&writer);
	if (gue) {
		udp = room(&writer, 12);
		write16(udp + 2, GUE_PORT);
		hop = one_in(&writer, 2);
		options = hop ? (ipv6 ? 5 : 2) : one_in(&writer, 4) ? frames_random(frames, 12) : 0;
		udp[8] = (uint8_t)(options | (one_in(&writer, 20) ? 0x40 : 0));
		udp[9] = one_in(&writer, 20) ? 17 : carried;
		if (hop)
			second_hop(&writer, ipv6);
		else
			noise(&writer, 4 * options);
	}
	memcpy(room(&writer, length - flow.l3_offset), packet + flow.l3_offset, length - flow.l3_offset);
	if (udp)
		write16(udp + 4, writer.length - start);
	write16(header + (ipv6 ? 4 : 2), writer.length - start + (ipv6 ? 0 : 20));
	if (one_in(&writer, 10))
		damage(&writer);
	return writer.length;
}

/* Sums of errors are random: nobody on the way asks for them. */
uint32_t frames_error(struct frames *frames, const uint8_t *packet, uint32_t length, uint8_t frame[static FRAMES_LENGTH_MAX])
{
	static const uint8_t types4[] = {3, 3, 3, 11, 12}, types6[] = {1, 2, 3, 4};
	struct writer writer = {.frames = frames, .bytes = frame};
	struct packet view = {(uint8_t *)packet, (uint8_t *)packet + length};
	struct flow flow = {0};
	uint8_t *header, *icmp;
	uint32_t quoted;
	bool ipv6;

	if (length > FRAMES_LENGTH_MAX - 128 || flow_parse(&view, &flow) || (flow.network != FLOW_IPV4 && flow.network != FLOW_IPV6))
		return 0;
	ipv6 = flow.network == FLOW_IPV6;
	quoted = length - flow.l3_offset;
	if (one_in(&writer, 3))
		quoted = frames_random(frames, quoted + 1);
	memcpy(room(&writer, flow.l3_offset), packet, flow.l3_offset);
	swap(frame, frame + 6, 6);
	header = room(&writer, ipv6 ? 40 : 20);
	icmp = room(&writer, 8);
	memcpy(room(&writer, quoted), packet + flow.l3_offset, quoted);
	icmp[0] = ipv6 ? CHOOSE(&writer, types6) : CHOOSE(&writer, types4);
	write16(icmp + 2, frames_random(frames, 0x10000));
	header[0] = ipv6 ? 0x60 : 0x45;
	header[ipv6 ? 7 : 8] = hop_limit(&writer);
	header[ipv6 ? 6 : 9] = ipv6 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP;
	write16(header + (ipv6 ? 4 : 2), writer.length - flow.l3_offset - (ipv6 ? 40 : 0));
	/* To who sent the packet; from who got it, or somebody on the way. */
	memcpy(header + (ipv6 ? 24 : 16), packet + flow.l3_offset + (ipv6 ? 8 : 12), ipv6 ? 16 : 4);
	memcpy(header + (ipv6 ? 8 : 12), packet + flow.l3_offset + (ipv6 ? 24 : 16), ipv6 ? 16 : 4);
	if (one_in(&writer, 3))
		header[ipv6 ? 15 : 13] ^= 0x55;
	if (one_in(&writer, 8))
		damage(&writer);
	return writer.length;
}

uint32_t frames_answer(struct frames *frames, const uint8_t *packet, uint32_t length, uint8_t frame[static FRAMES_LENGTH_MAX])
{
	static const uint8_t flags[] = {TCP_SYN | TCP_ACK, TCP_ACK, TCP_ACK, TCP_FIN | TCP_ACK, TCP_RST};
	struct writer writer = {.frames = frames, .bytes = frame, .length = length};
	struct packet view = {frame, frame + length};
	struct flow flow = {0};
	uint8_t *l3, *l4;

	if (length > FRAMES_LENGTH_MAX - 64)
		return 0;
	memcpy(frame, packet, length);
	if (flow_parse(&view, &flow) || flow.l4_reason || (flow.flags & FLOW_NO_PORTS && !(flow.flags & FLOW_FRAGMENT)))
		return 0;
	l3 = frame + flow.l3_offset;
	l4 = frame + flow.l4_offset;
	swap(frame, frame + 6, 6);
	if (flow.network == FLOW_IPV4)
		swap(l3 + 12, l3 + 16, 4);
	else
		swap(l3 + 8, l3 + 24, 16);
	if (!(flow.flags & FLOW_NO_PORTS))
		swap(l4, l4 + 2, 2);
	if (flow.protocol == PROTOCOL_TCP && !(flow.flags & FLOW_NO_PORTS))
		l4[13] = CHOOSE(&writer, flags);
	if (one_in(&writer, 10))
		damage(&writer);
	return writer.length;
}

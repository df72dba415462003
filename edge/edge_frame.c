/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/edge_frame.h"

#include <string.h>

#include "base/packet/checksum.h"
#include "base/packet/wire.h"

#define PAYLOAD_BYTES 16u /* even: see sum_add() */
#define HOPS 64

/* 16-bit words in the order they lie in memory; `length` is even. */
static uint64_t sum_add(uint64_t sum, const void *bytes, size_t length)
{
	uint16_t word;

	for (size_t i = 0; i < length; i += sizeof(word)) {
		memcpy(&word, (const uint8_t *)bytes + i, sizeof(word));
		sum += word;
	}
	return sum;
}

static size_t link_write(const struct edge_frame *frame, uint8_t *bytes)
{
	const uint16_t ethertype = frame->ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4;
	struct ethernet_header ethernet = {.ethertype = be16_from(frame->vlan ? ETHERTYPE_VLAN : ethertype)};
	struct vlan_tag tag = {.control = be16_from(frame->vlan), .ethertype = be16_from(ethertype)};

	mac_store(ethernet.destination, frame->destination_mac);
	mac_store(ethernet.source, frame->source_mac);
	memcpy(bytes, &ethernet, sizeof(ethernet));
	if (!frame->vlan)
		return sizeof(ethernet);
	memcpy(bytes + sizeof(ethernet), &tag, sizeof(tag));
	return sizeof(ethernet) + sizeof(tag);
}

/* Returns the pseudo header's part of the checksum (RFC 9293 section 3.1, RFC 8200 section 8.1) in `ret_sum`. */
static size_t network_write(const struct edge_frame *frame, uint16_t payload, uint8_t *bytes, uint64_t *ret_sum)
{
	uint64_t sum = (uint64_t)be16_from(payload).raw + be16_from(frame->protocol).raw;

	if (frame->ipv6) {
		struct ipv6_header ipv6 = {.payload_length = be16_from(payload), .next_header = frame->protocol, .hop_limit = HOPS};

		ipv6.version_class_label.raw = __builtin_bswap32(6u << 28);
		address_to_wire6(ipv6.source, &frame->source);
		address_to_wire6(ipv6.destination, &frame->destination);
		memcpy(bytes, &ipv6, sizeof(ipv6));
		*ret_sum = sum_add(sum, bytes + offsetof(struct ipv6_header, source), 32);
		return sizeof(ipv6);
	}
	struct ipv4_header ipv4 = {.version_ihl = 0x45, .total_length = be16_from((uint16_t)(sizeof(ipv4) + payload)), .ttl = HOPS,
				   .protocol = frame->protocol};

	ipv4.source.raw = address_ipv4(&frame->source);
	ipv4.destination.raw = address_ipv4(&frame->destination);
	ipv4.checksum = (uint16_t)~checksum_fold(sum_add(0, &ipv4, sizeof(ipv4)));
	memcpy(bytes, &ipv4, sizeof(ipv4));
	*ret_sum = sum_add(sum, bytes + offsetof(struct ipv4_header, source), 8);
	return sizeof(ipv4);
}

/* Header and payload; the checksum's field is zero. Returns where it is. */
static size_t transport_write(const struct edge_frame *frame, uint8_t *bytes, size_t *ret_checksum)
{
	struct be16 source = be16_from(frame->source_port), destination = be16_from(frame->destination_port);

	if (frame->protocol == PROTOCOL_TCP) {
		struct tcp_header tcp = {.source_port = source, .destination_port = destination, .data_offset = 5 << 4,
					 .flags = frame->established ? TCP_ACK : TCP_SYN, .window = be16_from(65535)};

		memcpy(bytes, &tcp, sizeof(tcp));
		*ret_checksum = offsetof(struct tcp_header, checksum);
		return sizeof(tcp);
	}
	if (frame->protocol == PROTOCOL_UDP) {
		struct udp_header udp = {.source_port = source, .destination_port = destination,
					 .length = be16_from(sizeof(udp) + PAYLOAD_BYTES)};

		memcpy(bytes, &udp, sizeof(udp));
		memset(bytes + sizeof(udp), 0, PAYLOAD_BYTES);
		bytes[sizeof(udp)] = 22; /* a handshake record of DTLS (RFC 9147 section 4): among calls' packets one like another */
		*ret_checksum = offsetof(struct udp_header, checksum);
		return sizeof(udp) + PAYLOAD_BYTES;
	}
	struct icmp_header icmp = {.type = frame->ipv6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO_REQUEST, .sequence = be16_from(1)};

	memcpy(bytes, &icmp, sizeof(icmp));
	memset(bytes + sizeof(icmp), 0, PAYLOAD_BYTES);
	*ret_checksum = offsetof(struct icmp_header, checksum);
	return sizeof(icmp) + PAYLOAD_BYTES;
}

size_t edge_frame_write(const struct edge_frame *frame, uint8_t ret_bytes[static EDGE_FRAME_SIZE])
{
	uint8_t transport[sizeof(struct tcp_header) + PAYLOAD_BYTES];
	size_t place, length = transport_write(frame, transport, &place), offset = link_write(frame, ret_bytes);
	uint16_t checksum;
	uint64_t sum;

	offset += network_write(frame, (uint16_t)length, ret_bytes + offset, &sum);
	/* ICMP over IPv4 has no pseudo header (RFC 792) */
	if (frame->protocol == PROTOCOL_ICMP)
		sum = 0;
	checksum = (uint16_t)~checksum_fold(sum_add(sum, transport, length));
	if (checksum == 0 && frame->protocol == PROTOCOL_UDP)
		checksum = 0xffff;
	memcpy(transport + place, &checksum, sizeof(checksum));
	memcpy(ret_bytes + offset, transport, length);
	return offset + length;
}

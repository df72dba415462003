/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What every function needs to know of a packet, read once: link, network and transport header.
 *
 * A lie in a link or network header is a drop for everybody. One in a transport header is remembered in `l4_reason`, and is
 * a drop only for packets that the product handles: what passes to the host is the host's to judge.
 */
#pragma once

#include "base/packet/packet.h"
#include "base/packet/verdict.h"
#include "base/packet/wire.h"

enum flow_network { FLOW_OTHER, FLOW_ARP, FLOW_IPV4, FLOW_IPV6 };

#define FLOW_FRAGMENT 0x01     /* any fragment, the first one too */
#define FLOW_TO_GROUP_MAC 0x02 /* the frame's destination is broadcast or multicast */
#define FLOW_UNWRAPPED 0x80    /* what lay in a tunnel; l3_offset is behind the outer headers, the link is the tunnel's */
#define FLOW_NO_PORTS 0x04     /* a later fragment, or a protocol without ports */

struct flow {
	struct address source;
	struct address destination;
	uint64_t tags;                /* the VLAN tags as they came: the l3_offset - 14 bytes from offset 12 */
	struct be16 source_port;      /* TCP and UDP */
	struct be16 destination_port;
	uint16_t vlan;      /* identifier of the outer tag, 0 for none */
	uint16_t l3_offset; /* from the start of the frame */
	uint16_t l4_offset;
	uint16_t l4_length; /* by the network header's account; padding is not in it */
	uint8_t network;    /* enum flow_network */
	uint8_t protocol;   /* of the transport header; IPv6: behind the extension headers */
	uint8_t tcp_flags;
	uint8_t hop_limit;
	uint8_t icmp_type;
	uint8_t flags;     /* FLOW_* */
	uint8_t l4_reason; /* enum drop_reason */
	union {
		uint8_t quote_words;    /* ICMP errors of flows: 4-byte words of the network headers in the quoted packet */
		uint8_t fragment_words; /* IPv6 fragments: from the network header to the fragment header, in 4 bytes */
	};
};
_Static_assert(sizeof(struct flow) == 64, "on the stack of every packet");

#define FLOW_VLAN_TAGS 2u            /* 802.1ad outside, 802.1Q inside; a third tag is not looked behind */
#define FLOW_IPV6_EXTENSIONS 6u      /* constant bound: verifier, and RFC 8504 section 5.3 allows a limit */

/* Link header: fills vlan, l3_offset, flags; returns the ethertype in `ret_ethertype`. */
PACKET_INLINE enum drop_reason flow_parse_link(const struct packet *packet, struct flow *flow, uint16_t *ret_ethertype)
{
	const struct ethernet_header *ethernet = packet_header(packet, 0, sizeof(*ethernet));
	uint32_t offset = sizeof(*ethernet);
	uint16_t ethertype;

	if (!ethernet)
		return DROP_ethernet_short;
	if (mac_is_group(ethernet->destination))
		flow->flags |= FLOW_TO_GROUP_MAC;
	ethertype = ethernet->ethertype.raw;
#pragma GCC unroll 2
	for (uint32_t tag = 0; tag < FLOW_VLAN_TAGS; tag++) {
		const struct vlan_tag *vlan;

		if (likely(ethertype != BE16(ETHERTYPE_VLAN) && ethertype != BE16(ETHERTYPE_QINQ)))
			break;
		vlan = packet_header(packet, offset, sizeof(*vlan));
		if (!vlan)
			return DROP_vlan_short;
		flow->tags |= (uint64_t)(ethertype | (uint32_t)vlan->control.raw << 16) << 32 * tag;
		if (tag == 0)
			flow->vlan = be16_get(vlan->control) & 0xfff;
		ethertype = vlan->ethertype.raw;
		offset += sizeof(*vlan);
	}
	flow->l3_offset = (uint16_t)offset;
	*ret_ethertype = ethertype;
	return DROP_NONE;
}

PACKET_INLINE enum drop_reason flow_parse_ipv4(const struct packet *packet, struct flow *flow)
{
	const struct ipv4_header *ipv4 = packet_header(packet, flow->l3_offset, sizeof(*ipv4));
	uint32_t header_length, total_length;
	uint16_t fragment;

	if (!ipv4)
		return DROP_ipv4_header_short;
	header_length = (ipv4->version_ihl & 0xf) * 4u;
	if (ipv4->version_ihl >> 4 != 4 || header_length < sizeof(*ipv4))
		return DROP_ipv4_header_invalid;
	total_length = be16_get(ipv4->total_length);
	if (total_length < header_length ||
	    flow->l3_offset + total_length > packet_length(packet))
		return DROP_ipv4_length_lies;
	flow->network = FLOW_IPV4;
	flow->source = address_from_ipv4(ipv4->source.raw);
	flow->destination = address_from_ipv4(ipv4->destination.raw);
	flow->protocol = ipv4->protocol;
	flow->hop_limit = ipv4->ttl;
	flow->l4_offset = (uint16_t)(flow->l3_offset + header_length);
	flow->l4_length = (uint16_t)(total_length - header_length);
	fragment = be16_get(ipv4->fragment);
	if (fragment & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK)) {
		flow->flags |= FLOW_FRAGMENT;
		if (fragment & IPV4_OFFSET_MASK)
			flow->flags |= FLOW_NO_PORTS;
	}
	return DROP_NONE;
}

/*
 * Walks the extension headers (RFC 8200 section 4). Errors go to l4_reason: the addresses are known, so whether the packet
 * is the product's to drop is known too.
 */
PACKET_INLINE enum drop_reason flow_parse_ipv6_extensions(const struct packet *packet, struct flow *flow,
							  uint32_t end)
{
	uint32_t offset = flow->l4_offset;
	uint8_t next = flow->protocol;

	PACKET_UNROLL
	for (uint32_t i = 0; i <= FLOW_IPV6_EXTENSIONS; i++) {
		const struct ipv6_extension *extension;
		uint32_t length;

		flow->protocol = next;
		flow->l4_offset = (uint16_t)offset;
		flow->l4_length = (uint16_t)(end - offset);
		if (likely(next != PROTOCOL_HOP_BY_HOP && next != PROTOCOL_ROUTING && next != PROTOCOL_FRAGMENT &&
			   next != PROTOCOL_DESTINATION_OPTIONS && next != PROTOCOL_AUTHENTICATION))
			return DROP_NONE;
		if (flow->flags & FLOW_NO_PORTS)
			return DROP_NONE; /* behind a later fragment's header lies data */
		extension = packet_header(packet, offset, 8);
		if (!extension || offset + 8 > end)
			return DROP_ipv6_extension_short;
		if (next == PROTOCOL_FRAGMENT) {
			const struct ipv6_fragment *fragment = (const void *)extension;
			uint16_t offset_more = be16_get(fragment->offset_more);

			length = 8;
			/* Taken apart twice, it would have two identifications to be known by. */
			if (flow->flags & FLOW_FRAGMENT)
				return DROP_fragment_nested;
			/* An "atomic" fragment (RFC 6946) is a whole packet. */
			if (offset_more & 0xfff9) {
				flow->flags |= FLOW_FRAGMENT;
				flow->fragment_words = (uint8_t)((offset - flow->l3_offset) / 4);
			}
			if (offset_more & 0xfff8)
				flow->flags |= FLOW_NO_PORTS;
		} else if (next == PROTOCOL_AUTHENTICATION) {
			length = (extension->length + 2u) * 4;
		} else {
			length = (extension->length + 1u) * 8;
			/* Its checksum counts on a destination further on, and nobody routes by it here (RFC 8200 section 4.4). */
			if (next == PROTOCOL_ROUTING && ((const struct ipv6_routing *)extension)->segments_left)
				return DROP_ipv6_routing_header;
		}
		next = extension->next_header;
		offset += length;
		if (offset > end)
			return DROP_ipv6_extension_short;
	}
	return DROP_ipv6_extension_limit;
}

PACKET_INLINE enum drop_reason flow_parse_ipv6(const struct packet *packet, struct flow *flow)
{
	const struct ipv6_header *ipv6 = packet_header(packet, flow->l3_offset, sizeof(*ipv6));
	uint32_t end;

	if (!ipv6)
		return DROP_ipv6_header_short;
	if (be32_get(ipv6->version_class_label) >> 28 != 6)
		return DROP_ipv6_header_invalid;
	end = flow->l3_offset + (uint32_t)sizeof(*ipv6) + be16_get(ipv6->payload_length);
	if (end > packet_length(packet))
		return DROP_ipv6_length_lies;
	flow->network = FLOW_IPV6;
	flow->source = address_from_wire6(ipv6->source);
	flow->destination = address_from_wire6(ipv6->destination);
	flow->protocol = ipv6->next_header;
	flow->hop_limit = ipv6->hop_limit;
	flow->l4_offset = (uint16_t)(flow->l3_offset + sizeof(*ipv6));
	flow->l4_reason = flow_parse_ipv6_extensions(packet, flow, end);
	return DROP_NONE;
}

/* Transport header: ports, TCP flags, ICMP type. */
PACKET_INLINE enum drop_reason flow_parse_transport(const struct packet *packet, struct flow *flow)
{
	if (flow->flags & FLOW_NO_PORTS)
		return DROP_NONE;
	if (flow->protocol == PROTOCOL_UDP) {
		const struct udp_header *udp = packet_header(packet, flow->l4_offset, sizeof(*udp));
		uint32_t length;

		if (!udp || flow->l4_length < sizeof(*udp))
			return DROP_udp_header_short;
		length = be16_get(udp->length);
		if (length < sizeof(*udp) || (length > flow->l4_length && !(flow->flags & FLOW_FRAGMENT)))
			return DROP_udp_length_lies;
		flow->source_port = udp->source_port;
		flow->destination_port = udp->destination_port;
	} else if (flow->protocol == PROTOCOL_TCP) {
		const struct tcp_header *tcp = packet_header(packet, flow->l4_offset, sizeof(*tcp));
		uint32_t length;

		if (!tcp || flow->l4_length < sizeof(*tcp))
			return DROP_tcp_header_short;
		length = (tcp->data_offset >> 4) * 4u;
		if (length < sizeof(*tcp) || length > flow->l4_length)
			return DROP_tcp_offset_lies;
		flow->source_port = tcp->source_port;
		flow->destination_port = tcp->destination_port;
		flow->tcp_flags = tcp->flags;
	} else if (flow->protocol == PROTOCOL_ICMP || flow->protocol == PROTOCOL_ICMPV6) {
		const struct icmp_header *icmp = packet_header(packet, flow->l4_offset, sizeof(*icmp));

		if (!icmp || flow->l4_length < sizeof(*icmp))
			return DROP_icmp_header_short;
		flow->icmp_type = icmp->type;
		flow->flags |= FLOW_NO_PORTS;
	} else {
		flow->flags |= FLOW_NO_PORTS;
	}
	return DROP_NONE;
}

/*
 * Writes a link header of `length` bytes (14, 18, 22) at the packet's start; `tags` as in struct flow. NULL when it is not
 * there, which a host that made room rules out.
 */
PACKET_INLINE struct ethernet_header *flow_link_write(const struct packet *packet, const struct egress *egress,
						      uint64_t tags, uint32_t length, uint16_t ethertype)
{
	struct ethernet_header *ethernet = packet_header(packet, 0, sizeof(*ethernet));
	struct vlan_tag *tag;

	if (!ethernet)
		return NULL;
	mac_store(ethernet->destination, egress->destination_mac);
	mac_store(ethernet->source, egress->source_mac);
	ethernet->ethertype.raw = ethertype;
	if (likely(length == sizeof(*ethernet)))
		return ethernet;
	tag = packet_header(packet, sizeof(*ethernet), sizeof(*tag));
	if (!tag)
		return NULL;
	ethernet->ethertype.raw = (uint16_t)tags;
	tag->control.raw = (uint16_t)(tags >> 16);
	tag->ethertype.raw = ethertype;
	if (length == sizeof(*ethernet) + sizeof(*tag))
		return ethernet;
	tag->ethertype.raw = (uint16_t)(tags >> 32);
	tag = packet_header(packet, sizeof(*ethernet) + sizeof(*tag), sizeof(*tag));
	if (!tag)
		return NULL;
	tag->control.raw = (uint16_t)(tags >> 48);
	tag->ethertype.raw = ethertype;
	return ethernet;
}

/* One 802.1Q tag in the form of flow.tags: priority 0. */
PACKET_INLINE uint64_t flow_tag(uint16_t vlan)
{
	return BE16(ETHERTYPE_VLAN) | (uint64_t)__builtin_bswap16(vlan) << 16;
}

/* `flow` must be zero. Returns why the packet is malformed for everybody, or DROP_NONE. */
PACKET_INLINE enum drop_reason flow_parse(const struct packet *packet, struct flow *flow)
{
	enum drop_reason reason;
	uint16_t ethertype = 0;

	reason = flow_parse_link(packet, flow, &ethertype);
	if (reason)
		return reason;
	if (ethertype == BE16(ETHERTYPE_IPV4)) {
		reason = flow_parse_ipv4(packet, flow);
	} else if (ethertype == BE16(ETHERTYPE_IPV6)) {
		reason = flow_parse_ipv6(packet, flow);
	} else {
		flow->network = ethertype == BE16(ETHERTYPE_ARP) ? FLOW_ARP : FLOW_OTHER;
		return DROP_NONE;
	}
	if (!reason && !flow->l4_reason)
		flow->l4_reason = flow_parse_transport(packet, flow);
	return reason;
}

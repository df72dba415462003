/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Packets to backends elsewhere, wrapped whole: IP in IP (RFC 2003, RFC 2473, RFC 4213) or GUE (draft-ietf-intarea-gue, variant 0
 * without options), either family in either. The backend, or its node, unwraps them and answers the client itself.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---+-+---------+---------------+-------------------------------+
 *     | 0 |0|   0     | 4 or 41       |               0               |   GUE, behind UDP to port 6080
 *     +---+-+---------+---------------+-------------------------------+
 *
 * The UDP source port is the flow's (49152 to 65535), so that what spreads flows on the way spreads these; IP in IP over IPv6
 * has it in the flow label (RFC 6438). The outer UDP checksum is zero, over IPv6 as well: RFC 6935 allows it for tunnels, and
 * what RFC 6936 section 5 asks of them holds, since everything inside has a checksum of its own that covers its addresses.
 * DSCP and ECN are copied (RFC 2983, RFC 6040 section 4.1).
 */
#pragma once

#include "lb/lb_fast.h"

#define LB_TUNNEL_HOP_LIMIT 64
#define LB_TUNNEL_HEADERS_MAX 120u /* that are taken off at once: the room's number holds no more */

/* Whether this packet may be a tunnel's, by its protocol and port. */
PACKET_INLINE bool lb_tunnel_likely(const struct flow *flow, bool ports)
{
	if (likely(ports))
		return unlikely(flow->destination_port.raw == BE16(GUE_PORT)) && flow->protocol == PROTOCOL_UDP;
	return (flow->protocol == PROTOCOL_IPV4 || flow->protocol == PROTOCOL_IPV6) && !(flow->flags & FLOW_FRAGMENT) &&
	       !flow->l4_reason;
}

/* Whether it goes from another node to an address of this one. Whatever else looks like a tunnel is the host's. */
PACKET_FUNCTION bool lb_tunnel_ours(const struct lb_tables *lb, const struct flow *flow)
{
	struct directory_key key;
	uint32_t source, destination;

	if (!lb || !flow)
		return false;
	key = lb_peer_key(&flow->source);
	source = DIRECTORY_FIND(&lb->peers.directory, LB_PEER_DIRECTORY_BITS, &key);
	key = lb_peer_key(&flow->destination);
	destination = DIRECTORY_FIND(&lb->peers.directory, LB_PEER_DIRECTORY_BITS, &key);
	return lb->peers.rows[source & (LB_PEER_ROWS - 1)].flags & LB_PEER_NODE &&
	       lb->peers.rows[destination & (LB_PEER_ROWS - 1)].flags & LB_PEER_SELF;
}

/* Where the packet inside starts, and of which protocol it is; 0: the headers before it are not understood. */
PACKET_INLINE uint32_t lb_tunnel_start(const struct packet *packet, const struct flow *flow, uint8_t *ret_protocol)
{
	const struct gue_header *header;
	uint32_t length;

	*ret_protocol = flow->protocol;
	if (flow->protocol != PROTOCOL_UDP)
		return flow->l4_offset;
	header = packet_header(packet, flow->l4_offset + (uint32_t)sizeof(struct udp_header), sizeof(*header));
	/* Variant 0, and data: control messages are nothing of ours. What options say is not needed. */
	if (!header || header->version_length & 0xe0)
		return 0;
	length = (uint32_t)sizeof(struct udp_header) + (uint32_t)sizeof(*header) + (header->version_length & 0x1f) * 4u;
	if (length > flow->l4_length)
		return 0;
	*ret_protocol = header->protocol;
	return flow->l4_offset + length;
}

/* The flow of the packet inside; `ret_inner` must be zero. */
PACKET_INLINE enum drop_reason lb_unwrap(const struct packet *packet, const struct flow *flow, struct flow *ret_inner)
{
	uint32_t end = (uint32_t)flow->l4_offset + flow->l4_length;
	uint8_t protocol;
	uint32_t start = lb_tunnel_start(packet, flow, &protocol);
	enum drop_reason reason;

	if (start == 0 || start > sizeof(struct ethernet_header) + LB_TUNNEL_HEADERS_MAX)
		return DROP_tunnel_malformed;
	ret_inner->tags = flow->tags;
	ret_inner->vlan = flow->vlan;
	ret_inner->flags = FLOW_UNWRAPPED;
	ret_inner->l3_offset = (uint16_t)start;
	if (protocol == PROTOCOL_IPV4)
		reason = flow_parse_ipv4(packet, ret_inner);
	else if (protocol == PROTOCOL_IPV6)
		reason = flow_parse_ipv6(packet, ret_inner);
	else
		return DROP_tunnel_malformed;
	if (reason || (uint32_t)ret_inner->l4_offset + ret_inner->l4_length > end)
		return DROP_tunnel_malformed;
	if (!ret_inner->l4_reason)
		ret_inner->l4_reason = (uint8_t)flow_parse_transport(packet, ret_inner);
	return DROP_NONE;
}

/* Takes one hop off the packet inside. Returns its traffic class. */
PACKET_INLINE uint8_t lb_tunnel_inner(const struct packet *packet, const struct flow *flow, uint32_t inner)
{
	if (flow->network == FLOW_IPV4) {
		struct ipv4_header *ipv4 = packet_header(packet, inner, sizeof(*ipv4));

		if (!ipv4)
			return 0;
		ipv4->checksum = checksum_update(ipv4->checksum, checksum_exchange16(ipv4->ttl, (uint16_t)(ipv4->ttl - 1)));
		ipv4->ttl--;
		return ipv4->tos;
	} else {
		struct ipv6_header *ipv6 = packet_header(packet, inner, sizeof(*ipv6));

		if (!ipv6)
			return 0;
		ipv6->hop_limit--;
		return (uint8_t)(be32_get(ipv6->version_class_label) >> 20);
	}
}

/* `length`: of all that the outer header carries. Never fragmented, so it needs no identification (RFC 6864 section 4.1). */
PACKET_INLINE void lb_tunnel_write_ipv4(struct ipv4_header *outer, uint32_t source, uint32_t destination, uint8_t class,
					uint8_t protocol, uint32_t length)
{
	uint64_t sum;

	length += (uint32_t)sizeof(*outer);
	outer->version_ihl = 0x45;
	outer->tos = class;
	outer->total_length = be16_from((uint16_t)length);
	outer->identification.raw = 0;
	outer->fragment.raw = BE16(IPV4_DONT_FRAGMENT);
	outer->ttl = LB_TUNNEL_HOP_LIMIT;
	outer->protocol = protocol;
	outer->source.raw = source;
	outer->destination.raw = destination;
	sum = 0x45u + ((uint32_t)class << 8) + outer->total_length.raw + BE16(IPV4_DONT_FRAGMENT) + LB_TUNNEL_HOP_LIMIT +
	      ((uint32_t)protocol << 8) + (uint64_t)source + destination;
	outer->checksum = (uint16_t)~checksum_fold(sum);
}

PACKET_INLINE void lb_tunnel_write_ipv6(struct ipv6_header *outer, const struct address *source, const struct address *destination,
					uint8_t class, uint8_t protocol, uint32_t length, uint32_t label)
{
	outer->version_class_label = be32_from(6u << 28 | (uint32_t)class << 20 | label);
	outer->payload_length = be16_from((uint16_t)length);
	outer->next_header = protocol;
	outer->hop_limit = LB_TUNNEL_HOP_LIMIT;
	address_to_wire6(outer->source, source);
	address_to_wire6(outer->destination, destination);
}

/* GUE's two headers; `length`: from the UDP header on, `more`: bytes of private data behind them. */
PACKET_INLINE void lb_tunnel_write_gue(struct udp_header *udp, struct be16 entropy, uint32_t length, uint8_t carried, uint32_t more)
{
	struct gue_header *header = (struct gue_header *)(udp + 1);

	udp->source_port = entropy;
	udp->destination_port.raw = BE16(GUE_PORT);
	udp->length = be16_from((uint16_t)length);
	udp->checksum = 0;
	header->version_length = (uint8_t)(more / 4);
	header->protocol = carried;
	header->flags.raw = 0;
}

/* Writes the private data that names a second hop. */
PACKET_INLINE void lb_hop_write(const struct packet *packet, uint32_t offset, const struct address *hop)
{
	struct gue_hop *head = packet_header(packet, offset, sizeof(*head) + 4);
	struct be32 *address;

	if (!head)
		return;
	head->magic.raw = BE16(GUE_HOP_MAGIC);
	head->version_kind = address_is_ipv4(hop) ? GUE_HOP_IPV4 : GUE_HOP_IPV6;
	head->reserved = 0;
	if (address_is_ipv4(hop)) {
		((struct be32 *)(head + 1))->raw = address_ipv4(hop);
		return;
	}
	address = packet_header(packet, offset + (uint32_t)sizeof(*head), 16);
	if (address)
		address_to_wire6(address, hop);
}

/* Writes what goes in front: link header, outer header, and GUE's two. */
PACKET_INLINE void lb_tunnel_write(const struct packet *packet, const struct flow *flow, const struct decision *decision,
				   const struct lb_backend *backend)
{
	bool gue = backend->tunnel == LB_TUNNEL_GUE, outer_ipv4 = address_is_ipv4(&backend->tunnel_destination);
	uint32_t hop = decision->action == ACTION_ENCAPSULATE_HOP ? lb_hop_bytes(&decision->address) : 0;
	uint32_t inner = (uint32_t)((int32_t)flow->l3_offset + decision->room), l3 = inner - backend->growth - hop;
	uint32_t length = lb_length(flow) + hop + (gue ? (uint32_t)(sizeof(struct udp_header) + sizeof(struct gue_header)) : 0);
	uint8_t carried = flow->network == FLOW_IPV4 ? PROTOCOL_IPV4 : PROTOCOL_IPV6, class;
	uint8_t protocol = gue ? PROTOCOL_UDP : carried;
	struct ipv4_header *ipv4 = packet_header(packet, l3, sizeof(*ipv4));
	struct ipv6_header *ipv6 = packet_header(packet, l3, sizeof(*ipv6));
	struct udp_header *udp;

	if (!flow_link_write(packet, &decision->egress, flow_tag(decision->egress.vlan), l3,
			     outer_ipv4 ? BE16(ETHERTYPE_IPV4) : BE16(ETHERTYPE_IPV6)))
		return;
	class = lb_tunnel_inner(packet, flow, inner);
	if (outer_ipv4 && ipv4)
		lb_tunnel_write_ipv4(ipv4, address_ipv4(&backend->tunnel_source), address_ipv4(&backend->tunnel_destination), class,
				     protocol, length);
	else if (ipv6)
		lb_tunnel_write_ipv6(ipv6, &backend->tunnel_source, &backend->tunnel_destination, class, protocol, length,
				     gue ? 0 : be16_get(decision->port));
	if (!gue)
		return;
	udp = packet_header(packet, l3 + (outer_ipv4 ? (uint32_t)sizeof(*ipv4) : (uint32_t)sizeof(*ipv6)),
			    sizeof(*udp) + sizeof(struct gue_header));
	if (!udp)
		return;
	lb_tunnel_write_gue(udp, decision->port, length, carried, hop);
	if (hop)
		lb_hop_write(packet, inner - hop, &decision->address);
}

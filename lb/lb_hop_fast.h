/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A second hop in GUE's private data (docs/wire/gue.md). Where a slot of the ring has changed hands, a flow that began before may
 * be with the backend that had it then. The node that owns the virtual IP and knows nothing of the flow, because it took the
 * address over or lost its records, sends the packet to the present backend's node and names the other's there; a node that has
 * no record of the flow itself passes it on, without the private data, and that is the end of it: nobody passes anything on twice.
 *
 * Packets with SYN begin flows, and stay where the ring says. Only TCP tells.
 */
#pragma once

#include "lb/lb_tunnel_fast.h"

/* The second hop that is named in front of the packet at `start`, in what lb_tunnel_start() looked at. False: none. */
PACKET_INLINE bool lb_hop_read(const struct packet *packet, const struct flow *flow, uint32_t start, struct address *ret_hop)
{
	uint32_t offset = flow->l4_offset + (uint32_t)sizeof(struct udp_header);
	const struct gue_header *header = packet_header(packet, offset, sizeof(*header) + sizeof(struct gue_hop));
	const struct gue_hop *head;
	const struct be32 *address;

	/* With flags there are fields in front of private data, whose lengths this node does not know. */
	if (flow->protocol != PROTOCOL_UDP || !header || header->flags.raw)
		return false;
	head = (const struct gue_hop *)(header + 1);
	offset += (uint32_t)(sizeof(*header) + sizeof(*head));
	if (head->magic.raw != BE16(GUE_HOP_MAGIC) || head->reserved)
		return false;
	if (head->version_kind == GUE_HOP_IPV4 && start == offset + 4) {
		address = packet_header(packet, offset, 4);
		if (!address || !address->raw)
			return false;
		*ret_hop = address_from_ipv4(address->raw);
		return true;
	}
	if (head->version_kind != GUE_HOP_IPV6 || start != offset + 16)
		return false;
	address = packet_header(packet, offset, 16);
	if (!address)
		return false;
	*ret_hop = address_from_wire6(address);
	return true;
}

/*
 * Whether the flow that lies in a tunnel is recorded here with a backend of this node. verifier: with `epoch` it has its own
 * look into the bucket, apart for the stack.
 */
PACKET_FUNCTION uint32_t lb_hop_knows(const struct lb_tables *lb, struct lb_flows *flows, const struct flow *inner, uint32_t epoch)
{
	const struct lb_backend *backend;
	struct lb_flow_place found;

	if (!lb || !flows || !inner)
		return 1;
	found = lb_flow_find(flows,
			     lb_flow_hash(lb->hash_seed, &inner->source, inner->source_port, &inner->destination,
					  inner->destination_port, inner->protocol, inner->network == FLOW_IPV6),
			     0, epoch);
	backend = &lb->backends[lb_flow_backend(found.word) & (LB_BACKEND_ROWS - 1)];
	return found.found && backend->tunnel == LB_TUNNEL_NONE &&
	       lb_flow_stays(lb, backend->service, found.word, false, epoch);
}

/*
 * Whether a packet that came for this node, `inner` in `flow`, goes on to the second hop that it names; then that is decided. It
 * leaves as it came but for the outer headers, from the address that it came to.
 */
PACKET_INLINE bool lb_hop_pass(const struct lb_view *view, const struct packet *packet, const struct flow *flow,
			       const struct flow *inner, uint32_t ifindex, struct decision *decision)
{
	struct directory_key key;
	struct address hop;
	uint32_t bytes, row;

	if (inner->protocol != PROTOCOL_TCP || inner->flags & (FLOW_FRAGMENT | FLOW_NO_PORTS) || inner->l4_reason ||
	    inner->tcp_flags & TCP_SYN || !lb_hop_read(packet, flow, inner->l3_offset, &hop))
		return false;
	key = lb_peer_key(&hop);
	row = DIRECTORY_FIND(&view->lb->peers.directory, LB_PEER_DIRECTORY_BITS, &key);
	if (!(view->lb->peers.rows[row & (LB_PEER_ROWS - 1)].flags & LB_PEER_NODE) ||
	    address_is_ipv4(&hop) != (flow->network == FLOW_IPV4) || lb_hop_knows(view->lb, view->flows, inner, view->epoch))
		return false;
	bytes = lb_hop_bytes(&hop);
	if (lb_length(flow) - bytes > lb_route_send(view, flow, &hop, ifindex, ACTION_PASS_ON, decision)) {
		decision->action = ACTION_NONE;
		lb_drop(decision, DROP_mtu_exceeded); /* the node that wrapped it minds the client's packets, not this one */
	}
	if (decision->verdict == VERDICT_DROP)
		return true;
	decision->address = hop;
	decision->port = flow->source_port;
	/* What an outer header has beyond the plainest one goes too. */
	decision->room = (int8_t)(decision->room + (int32_t)flow->l3_offset - (int32_t)flow->l4_offset - (int32_t)bytes +
				  (flow->network == FLOW_IPV4 ? (int32_t)sizeof(struct ipv4_header) : (int32_t)sizeof(struct ipv6_header)));
	return true;
}

/* Writes the outer headers anew: link, network, UDP, GUE. */
PACKET_INLINE void lb_pass_write(const struct packet *packet, const struct flow *flow, const struct decision *decision)
{
	bool ipv4 = flow->network == FLOW_IPV4;
	uint32_t bytes = lb_hop_bytes(&decision->address), length = flow->l4_length - bytes;
	uint32_t l4 = (uint32_t)((int32_t)flow->l4_offset + decision->room) + bytes;
	uint32_t l3 = l4 - (ipv4 ? (uint32_t)sizeof(struct ipv4_header) : (uint32_t)sizeof(struct ipv6_header));
	struct udp_header *udp = packet_header(packet, l4, sizeof(*udp) + sizeof(struct gue_header) + 2);
	const uint8_t *inner;
	bool inner_ipv4;
	uint8_t class;

	if (!udp ||
	    !flow_link_write(packet, &decision->egress, flow_tag(decision->egress.vlan), l3,
			     ipv4 ? BE16(ETHERTYPE_IPV4) : BE16(ETHERTYPE_IPV6)))
		return;
	inner = (const uint8_t *)(udp + 1) + sizeof(struct gue_header);
	inner_ipv4 = inner[0] >> 4 == 4;
	class = inner_ipv4 ? inner[1] : (uint8_t)(inner[0] << 4 | inner[1] >> 4);
	if (ipv4) {
		struct ipv4_header *outer = packet_header(packet, l3, sizeof(*outer));

		if (outer)
			lb_tunnel_write_ipv4(outer, address_ipv4(&flow->destination), address_ipv4(&decision->address), class,
					     PROTOCOL_UDP, length);
	} else {
		struct ipv6_header *outer = packet_header(packet, l3, sizeof(*outer));

		if (outer)
			lb_tunnel_write_ipv6(outer, &flow->destination, &decision->address, class, PROTOCOL_UDP, length, 0);
	}
	lb_tunnel_write_gue(udp, decision->port, length, inner_ipv4 ? PROTOCOL_IPV4 : PROTOCOL_IPV6, 0);
}

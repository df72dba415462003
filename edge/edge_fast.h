/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The packet program: which function is asked, in which order. A host calls
 *
 *     edge_decide()   judges the packet; changes nothing in it
 *     (host)          takes away what is behind edge_keep() bytes, makes decision.room bytes of room in front, takes a new view
 *     edge_rewrite()  rewrites the packet
 *     edge_count()    in every case
 *
 * and then does what decision.verdict says. Nothing here differs between hosts. Those in the kernel call the steps of deciding
 * and rewriting by themselves, each in a function of its own: edge_decide_parsed(), edge_decide_fragment(),
 * edge_decide_unwrap() and edge_decide_rare(), edge_write() and edge_write_more().
 */
#pragma once

#include "edge/edge_state.h"
#include "lb/lb_fast.h"
#include "lb/lb_fragment_fast.h"
#include "lb/lb_hop_fast.h"
#include "lb/lb_icmp_fast.h"
#include "lb/lb_mtu_fast.h"
#include "lb/lb_tunnel_fast.h"
#include "rtc/rtc_fast.h"
#include "rtc/rtc_shortcut_fast.h"
#include "rtc/rtc_stun_fast.h"
#include "vip/vip_fast.h"

/* A host's coarse clock. The milliseconds may come in steps of up to ten, and wrap. */
struct edge_clock {
	uint32_t epoch;
	uint32_t now_ms;
};

/* Where a packet came in, and when. */
struct edge_ingress {
	uint32_t ifindex;
	uint32_t epoch;   /* the host's clock in epochs */
	uint32_t segment; /* of a large segment that the host cuts when it sends: bytes of data in each part; 0: none */
	uint32_t now_ms; /* the host's coarse clock in milliseconds */
};

/* `clock`: the host's, which the configuration may override. */
PACKET_INLINE struct edge_ingress edge_ingress(const struct edge_config *config, uint32_t ifindex, struct edge_clock clock)
{
	return (struct edge_ingress){
		.ifindex = config->ingress_override ? config->ingress_override : ifindex,
		.epoch = config->epoch_override ? config->epoch_override - 1 : clock.epoch,
		.now_ms = config->now_override ? config->now_override - 1 : clock.now_ms,
	};
}

PACKET_INLINE struct lb_view edge_view(const struct edge_tables *tables, const struct edge_ingress *ingress)
{
	return (struct lb_view){
		.lb = tables->lb,
		.rings = tables->rings,
		.flows = tables->flows,
		.filter = tables->filter,
		.guards = tables->guards,
		.limiter = tables->limiter,
		.routes = tables->routes,
		.neighbours = tables->neighbours,
		.epoch = ingress->epoch,
		.now_ms = ingress->now_ms,
	};
}

PACKET_INLINE struct rtc_view edge_media_view(const struct edge_tables *tables, const struct edge_ingress *ingress)
{
	return (struct rtc_view){
		.lb = edge_view(tables, ingress),
		.rtc = tables->rtc,
		.sessions = tables->sessions,
		.index = tables->index,
		.calls = load_once(tables->config->calls),
	};
}

/* No client has it: "this network", loopback, multicast, broadcast; an IPv4 address dressed as IPv6 on the wire. */
PACKET_INLINE bool edge_source_invalid(const struct flow *flow)
{
	if (address_equal(&flow->source, &flow->destination))
		return true;
	if (flow->network == FLOW_IPV4) {
		uint8_t first = (uint8_t)address_ipv4(&flow->source);

		return first == 0 || first == 127 || first >= 224;
	}
	return (flow->source.word[0] & 0xff) == 0xff ||
	       (flow->source.word[0] == 0 && (flow->source.word[1] == 0 || flow->source.word[1] == 1ull << 56 ||
					      (uint32_t)flow->source.word[1] == 0xffff0000u));
}

/* What can go wrong with any packet to a virtual IP, before it matters which service it is for. */
PACKET_INLINE enum drop_reason edge_vip_refuses(const struct flow *flow)
{
	if (flow->flags & FLOW_TO_GROUP_MAC)
		return DROP_link_group_address;
	if (edge_source_invalid(flow))
		return DROP_source_invalid;
	return (enum drop_reason)flow->l4_reason;
}

/* RFC 5508 section 4; source quench and redirect are no errors for a host any more (RFC 6633, RFC 1122 section 3.2.2.2). */
PACKET_INLINE bool edge_is_icmp_error(const struct flow *flow)
{
	if (flow->l4_reason || flow->flags & FLOW_FRAGMENT)
		return false;
	if (flow->network == FLOW_IPV4)
		return flow->protocol == PROTOCOL_ICMP &&
		       (flow->icmp_type == ICMP_UNREACHABLE || flow->icmp_type == ICMP_TIME_EXCEEDED ||
			flow->icmp_type == ICMP_PARAMETER_PROBLEM);
	return flow->protocol == PROTOCOL_ICMPV6 && flow->icmp_type >= ICMPV6_UNREACHABLE &&
	       flow->icmp_type <= ICMPV6_PARAMETER_PROBLEM;
}

/* What an ICMP error is about, or what a tunnel holds, takes a look at the packet inside: edge_decide_more(). */
PACKET_INLINE void edge_look_inside(struct decision *decision, enum action action)
{
	decision->action = (uint8_t)action;
	decision->flags |= DECISION_MORE;
}

/* Whether the client sends more packets than a service that is not the balancer's allows. */
PACKET_INLINE bool edge_client_refused(const struct lb_view *view, const struct flow *flow, uint32_t service_row)
{
	return view->lb->services[service_row & (LB_SERVICE_ROWS - 1)].flags & LB_SERVICE_LIMIT_PACKETS &&
	       lb_limit_refuses(view->limiter, view->guards, (uint64_t)LB_LIMIT_CLIENT_PACKETS << 32 | service_row, &flow->source,
				view->now_ms);
}

/* A packet to a service of media: edge_decide_media(). */
PACKET_INLINE void edge_media_begin(const struct lb_view *view, const struct flow *flow, uint32_t service, struct decision *decision)
{
	decision->service = (uint16_t)service;
	if (flow->flags & FLOW_FRAGMENT)
		rtc_drop(decision, DROP_rtc_fragment);
	else if (edge_client_refused(view, flow, service))
		rtc_drop(decision, DROP_limit_packets);
	else
		edge_look_inside(decision, ACTION_MEDIA_UP);
}

/* A packet to a virtual IP that no service took by its exact port. */
PACKET_INLINE void edge_vip_decide(const struct flow *flow, const struct vip_row *vip, const struct link_row *link,
				   struct decision *decision)
{
	bool ipv4 = flow->network == FLOW_IPV4;

	if (flow->flags & FLOW_NO_PORTS && lb_fragment_concerns(flow))
		lb_drop(decision, DROP_fragment_without_first); /* edge_decide_fragment() looks further */
	else if (flow->flags & FLOW_FRAGMENT && flow->flags & FLOW_NO_PORTS && flow->protocol != PROTOCOL_ICMP &&
		 flow->protocol != PROTOCOL_ICMPV6)
		vip_drop(decision, DROP_fragment_unsupported);
	else if (flow->protocol == PROTOCOL_TCP || flow->protocol == PROTOCOL_UDP)
		vip_drop(decision, DROP_vip_port_closed);
	else if (flow->protocol != (ipv4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6))
		vip_drop(decision, DROP_vip_protocol_unsupported);
	else if (flow->flags & FLOW_UNWRAPPED && !edge_is_icmp_error(flow))
		vip_drop(decision, DROP_vip_protocol_unsupported); /* whoever wrapped it answers for the rest */
	else if (flow->flags & FLOW_FRAGMENT || flow->icmp_type == (ipv4 ? ICMP_ECHO_REQUEST : ICMPV6_ECHO_REQUEST))
		vip_echo_decide(flow, vip, link, decision);
	else if (edge_is_icmp_error(flow))
		edge_look_inside(decision, ACTION_ICMP_FORWARD);
	else
		vip_drop(decision, DROP_vip_protocol_unsupported);
}

/*
 * A packet to a DNS address of this node: where DNS is served, UDP goes to the cache, which the host asks; other packets, and what
 * the cache leaves, pass to the resolver process.
 */
PACKET_INLINE void edge_dns_choose(const struct lb_view *view, const struct flow *flow, uint32_t service_row,
				   const struct link_row *link, struct decision *decision)
{
	uint32_t flags = view->lb->services[service_row & (LB_SERVICE_ROWS - 1)].flags;
	enum drop_reason reason = DROP_NONE;

	decision->service = (uint16_t)service_row;
	if (!(link->flags & LINK_DNS))
		reason = DROP_dns_interface;
	else if (flags & LB_SERVICE_SOURCES && lb_source_refuses(view->guards, service_row, &flow->source))
		reason = DROP_source_not_allowed;
	else if (edge_client_refused(view, flow, service_row))
		reason = DROP_limit_packets;
	if (reason)
		lb_drop(decision, reason);
	else if (flow->protocol == PROTOCOL_UDP && !(flow->flags & (FLOW_FRAGMENT | FLOW_UNWRAPPED)))
		edge_look_inside(decision, ACTION_DNS);
	decision->function = FUNCTION_DNS;
}

PACKET_INLINE uint32_t edge_service_flags(const struct edge_tables *tables, uint32_t service_row)
{
	return tables->lb->services[service_row & (LB_SERVICE_ROWS - 1)].flags;
}

/* A packet of a service that is another function's than lb's. */
PACKET_INLINE void edge_function_begin(const struct lb_view *view, const struct flow *flow, uint32_t service_row,
				       const struct link_row *link, struct decision *decision)
{
	if (view->lb->services[service_row & (LB_SERVICE_ROWS - 1)].flags & LB_SERVICE_MEDIA)
		edge_media_begin(view, flow, service_row, decision);
	else
		edge_dns_choose(view, flow, service_row, link, decision);
}

PACKET_INLINE void edge_decide_ip(const struct edge_tables *tables, const struct packet *packet, struct flow *flow,
				  const struct edge_ingress *ingress, const struct link_row *link,
				  struct decision *decision)
{
	const struct ethernet_header *ethernet = packet_header(packet, 0, sizeof(*ethernet));
	struct lb_view view = edge_view(tables, ingress);
	bool ports = (flow->protocol == PROTOCOL_TCP || flow->protocol == PROTOCOL_UDP) &&
		     !(flow->flags & FLOW_NO_PORTS) && !flow->l4_reason;
	const struct vip_row *vip = NULL;
	enum drop_reason reason;
	uint32_t service = 0;

	if (!ethernet)
		return;
	if (flow->network == FLOW_IPV6 && flow->protocol == PROTOCOL_ICMPV6 && !flow->l4_reason &&
	    !(flow->flags & (FLOW_FRAGMENT | FLOW_UNWRAPPED)) &&
	    (flow->icmp_type == ICMPV6_NEIGHBOUR_SOLICITATION || flow->icmp_type == ICMPV6_NEIGHBOUR_ADVERTISEMENT)) {
		vip_nd_decide(packet, flow, tables->vips, link, decision);
		return;
	}
	/* A frame for another machine that was flooded to us is that machine's. */
	if (!(flow->flags & FLOW_TO_GROUP_MAC) && mac_word(ethernet->destination) != link->mac)
		return;
	if (ports)
		service = lb_service_find(tables->lb, flow);
	if (!service) {
		vip = vip_find(tables->vips, &flow->destination, flow->network == FLOW_IPV6);
		if (!vip) {
			if (flow->flags & (FLOW_TO_GROUP_MAC | FLOW_UNWRAPPED))
				return; /* what lay in a tunnel and is for no virtual IP passes as it came */
			/* No node sends tunnels out of a workload. */
			if (unlikely(lb_tunnel_likely(flow, ports)) && !(link->flags & LINK_WORKLOAD) &&
			    lb_tunnel_ours(tables->lb, flow))
				edge_look_inside(decision, ACTION_UNWRAP);
			else if (ports)
				lb_reverse_decide(&view, flow, ingress->ifindex, decision);
			else if (edge_is_icmp_error(flow))
				edge_look_inside(decision, ACTION_ICMP_REVERSE);
			return;
		}
		if (ports)
			service = lb_service_find_range(tables->lb, flow);
	}
	reason = edge_vip_refuses(flow);
	if (reason)
		vip_drop(decision, reason);
	else if (service && unlikely(edge_service_flags(tables, service) & (LB_SERVICE_MEDIA | LB_SERVICE_DNS)))
		edge_function_begin(&view, flow, service, link, decision);
	else if (service)
		lb_forward_decide(&view, packet, flow, (uint16_t)service, ingress->ifindex, decision);
	else if (vip) /* it is; verifier: Linux 6.1 does not see that it was looked up where there is no service */
		edge_vip_decide(flow, vip, link, decision);
}

/* What is decided about a packet that flow_parse() gave `reason` for. `decision` must be zero: "parse passes it". */
PACKET_INLINE void edge_decide_parsed(const struct edge_tables *tables, const struct packet *packet,
				      const struct edge_ingress *ingress, struct flow *flow, enum drop_reason reason,
				      struct decision *decision)
{
	const struct link_row *link;

	if (reason) {
		decision->verdict = VERDICT_DROP;
		decision->reason = (uint8_t)reason;
		return;
	}
	if (flow->network == FLOW_OTHER)
		return;
	link = link_find(tables->links, ingress->ifindex, flow->vlan);
	if (!link)
		return;
	if (flow->network == FLOW_ARP)
		vip_arp_decide(packet, flow, tables->vips, link, decision);
	else
		edge_decide_ip(tables, packet, flow, ingress, link, decision);
}

/* Whether the packet may be a known call's: edge_decide_call() says it. `reason`: flow_parse()'s. */
PACKET_INLINE bool edge_is_call(const struct edge_config *config, const struct packet *packet, const struct flow *flow,
				enum drop_reason reason)
{
	const uint8_t *first;

	if (load_once(config->calls) == 0 || flow->protocol != PROTOCOL_UDP || flow->flags || (reason | flow->l4_reason))
		return false;
	first = packet_header(packet, flow->l4_offset + (uint32_t)sizeof(struct udp_header), 1);
	return first && *first >> 6 == 2; /* RFC 7983: RTP and RTCP */
}

/* True: decided (rtc_shortcut_fast.h). Else edge_decide_parsed() is to be asked, with `decision` zero as it was. */
PACKET_INLINE bool edge_decide_call(const struct edge_tables *tables, const struct packet *packet,
				    const struct edge_ingress *ingress, const struct flow *flow, struct decision *decision)
{
	const struct ethernet_header *ethernet = packet_header(packet, 0, sizeof(*ethernet));
	struct rtc_view view = edge_media_view(tables, ingress);
	uint32_t word = rtc_shortcut_look(view.index, rtc_shortcut_hash(view.lb.lb->hash_seed, view.calls, flow));
	const struct link_row *link;

	if (word == 0 || !ethernet)
		return false;
	link = link_find(tables->links, ingress->ifindex, flow->vlan);
	if (!link || mac_word(ethernet->destination) != link->mac)
		return false;
	return rtc_shortcut_decide(&view, packet, flow, word, ingress->ifindex, decision);
}

/* --- fragments ---------------------------------------------------------------------------------------------------------- */

PACKET_INLINE void edge_fragment_drop(struct decision *decision, enum drop_reason reason)
{
	decision->action = ACTION_NONE;
	decision->flags = 0;
	decision->backend = 0;
	lb_drop(decision, reason);
}

/* The first fragment of a datagram, decided like a whole packet: the others will fare like it. */
PACKET_INLINE void edge_fragment_first(const struct edge_tables *tables, const struct flow *flow,
				       const struct lb_piece *piece, struct decision *decision)
{
	uint32_t value, reason;

	if (decision->verdict == VERDICT_PASS)
		return;
	/* RFC 1858 section 3, RFC 7112 section 5: all headers up to the transport's are in the first fragment */
	if (decision->verdict == VERDICT_DROP && flow->l4_reason &&
	    (flow->l4_reason == DROP_udp_header_short || flow->l4_reason == DROP_tcp_header_short ||
	     flow->l4_reason == DROP_tcp_offset_lies || flow->l4_reason == DROP_ipv6_extension_short))
		decision->reason = DROP_fragment_tiny;
	else if (decision->verdict != VERDICT_DROP && piece->reason)
		edge_fragment_drop(decision, (enum drop_reason)piece->reason);
	if (decision->verdict == VERDICT_DROP)
		value = (uint32_t)LB_FRAGMENT_DROP << 16 | decision->reason;
	else
		value = (uint32_t)(decision->action == ACTION_NAT_REVERSE ? LB_FRAGMENT_REVERSE : LB_FRAGMENT_FORWARD) << 16 |
			decision->backend;
	reason = lb_fragment_begin(tables->fragments, flow, piece, value);
	if (reason)
		edge_fragment_drop(decision, (enum drop_reason)reason);
	if (!(decision->flags & DECISION_EVENT) && lb_hold_any(tables->holding, piece))
		decision->flags |= DECISION_EVENT | DECISION_FRAGMENT;
}

/* One that came before its first: the host writes it into the slot and tells user space, which sends it on later. */
PACKET_INLINE void edge_fragment_hold(const struct edge_tables *tables, const struct packet *packet, uint32_t ifindex,
				      const struct lb_piece *piece, struct decision *decision)
{
	uint32_t slot;

	if (!tables->holding) /* held already, and asked once more */
		return;
	slot = lb_hold_claim(tables->holding, piece, ifindex, (uint32_t)packet_length(packet));
	if (slot == 0) {
		decision->reason = DROP_fragment_hold_full;
		return;
	}
	decision->verdict = VERDICT_HOLD;
	decision->reason = DROP_NONE;
	decision->flags = DECISION_EVENT | DECISION_FRAGMENT;
	decision->address.word[0] = slot - 1;
}

PACKET_INLINE bool edge_frame_is_ours(const struct edge_tables *tables, const struct packet *packet,
				      const struct edge_ingress *ingress, const struct flow *flow)
{
	const struct link_row *link = link_find(tables->links, ingress->ifindex, flow->vlan);
	const struct ethernet_header *ethernet = packet_header(packet, 0, sizeof(*ethernet));

	return link && ethernet && !(flow->flags & FLOW_TO_GROUP_MAC) && mac_word(ethernet->destination) == link->mac;
}

/* A later fragment: rewritten as its first one's record says, without ports. */
PACKET_INLINE void edge_fragment_later(const struct edge_tables *tables, const struct packet *packet,
				       const struct edge_ingress *ingress, const struct flow *flow,
				       const struct lb_piece *piece, struct decision *decision)
{
	struct lb_view view = edge_view(tables, ingress);
	bool for_vip = decision->verdict == VERDICT_DROP && decision->reason == DROP_fragment_without_first;
	const struct lb_backend *backend;
	const struct lb_service *service;
	uint32_t found, value;

	if (!for_vip && (decision->verdict != VERDICT_PASS || !edge_frame_is_ours(tables, packet, ingress, flow)))
		return;
	if (piece->reason) {
		if (for_vip)
			decision->reason = piece->reason;
		return;
	}
	found = lb_fragment_follow(tables->fragments, flow, piece);
	value = found & 0xffff;
	if (found >> 16 == LB_FRAGMENT_NONE) {
		if (for_vip)
			edge_fragment_hold(tables, packet, ingress->ifindex, piece, decision);
		return;
	}
	if (found >> 16 == LB_FRAGMENT_DROP) {
		edge_fragment_drop(decision, (enum drop_reason)value);
		return;
	}
	backend = &tables->lb->backends[value & (LB_BACKEND_ROWS - 1)];
	service = &tables->lb->services[backend->service & (LB_SERVICE_ROWS - 1)];
	decision->reason = DROP_NONE;
	decision->service = backend->service;
	decision->backend = (uint16_t)value;
	if (load_once(backend->state) == LB_BACKEND_FREE) {
		lb_drop(decision, DROP_service_no_backend);
	} else if (found >> 16 == LB_FRAGMENT_REVERSE) {
		decision->address = service->address;
		decision->port = service->port_first;
		lb_answer_send(&view, flow, ingress->ifindex, ACTION_NAT_REVERSE, decision);
	} else if (!lb_backend_refuses(backend, flow, decision)) {
		lb_backend_send(backend, service, flow, piece->hash, ingress->ifindex, decision);
	}
}

/* What edge_decide_parsed() leaves to say of a packet with FLOW_FRAGMENT. Wants ingress->now_ms. */
PACKET_INLINE void edge_decide_fragment(const struct edge_tables *tables, const struct packet *packet,
					const struct edge_ingress *ingress, const struct flow *flow,
					struct decision *decision)
{
	struct lb_piece piece = {0};

	if (!lb_fragment_concerns(flow) ||
	    !lb_fragment_read(packet, flow, tables->lb->hash_seed, ingress->now_ms, &piece))
		return;
	if (flow->flags & FLOW_NO_PORTS)
		edge_fragment_later(tables, packet, ingress, flow, &piece, decision);
	else
		edge_fragment_first(tables, flow, &piece, decision);
}

/*
 * ACTION_UNWRAP: the flow becomes what lies in the tunnel; DECISION_AGAIN when it is to be decided about. Or the tunnel's packet goes
 * on to its second hop.
 */
PACKET_INLINE void edge_decide_unwrap(const struct edge_tables *tables, const struct packet *packet,
				      const struct edge_ingress *ingress, struct flow *flow, struct decision *decision)
{
	struct lb_view view = edge_view(tables, ingress);
	struct flow inner = {0};
	enum drop_reason reason = lb_unwrap(packet, flow, &inner);

	*decision = (struct decision){0};
	if (reason) {
		lb_drop(decision, reason);
	} else if (!lb_hop_pass(&view, packet, flow, &inner, ingress->ifindex, decision)) {
		*flow = inner;
		decision->flags = DECISION_AGAIN;
	}
}

/* With DECISION_MORE: what goes on by edge_decide_media(). */
PACKET_INLINE bool edge_is_media(const struct decision *decision)
{
	return decision->function != FUNCTION_RTC &&
	       (decision->action == ACTION_MEDIA_UP || decision->action == ACTION_MEDIA_DOWN);
}

/* ACTION_MEDIA_UP, ACTION_MEDIA_DOWN; what is left open then (edge_is_open()) is for edge_decide_learn(). */
PACKET_INLINE void edge_decide_media(const struct edge_tables *tables, const struct packet *packet,
				     const struct edge_ingress *ingress, const struct flow *flow, struct decision *decision)
{
	struct rtc_view view = edge_media_view(tables, ingress);

	rtc_media_decide(&view, packet, flow, ingress->ifindex, decision);
}

/* Where a datagram's data begins, and how much there is to copy of it: 0 when it is too long or lies outside. */
PACKET_INLINE uint32_t edge_copy_length(const struct packet *packet, const struct flow *flow, uint32_t *ret_offset)
{
	const struct udp_header *udp = packet_header(packet, flow->l4_offset, sizeof(*udp));
	uint32_t length;

	if (!udp)
		return 0;
	*ret_offset = flow->l4_offset + (uint32_t)sizeof(*udp);
	length = be16_get(udp->length) - (uint32_t)sizeof(*udp);
	return length <= STUN_COPY_MAX ? length : 0;
}

PACKET_INLINE bool edge_is_open(const struct decision *decision)
{
	return decision->action == ACTION_STUN_UP || decision->action == ACTION_STUN_DOWN || decision->action == ACTION_MEDIA_HEAL;
}

/*
 * ACTION_STUN_UP, ACTION_STUN_DOWN, with the message that the host has copied; ACTION_MEDIA_HEAL. Then, with edge_is_media() again,
 * edge_decide_media() is to be asked once more.
 */
PACKET_INLINE void edge_decide_learn(const struct edge_tables *tables, const struct packet *packet,
				     const struct edge_ingress *ingress, const struct flow *flow, struct decision *decision,
				     struct rtc_scratch *scratch)
{
	struct rtc_view view = edge_media_view(tables, ingress);

	rtc_learn_decide(&view, packet, scratch, flow, ingress->ifindex, decision);
}

/* Every other one with DECISION_MORE. */
PACKET_INLINE void edge_decide_rare(const struct edge_tables *tables, const struct packet *packet,
				    const struct edge_ingress *ingress, struct flow *flow, struct decision *decision)
{
	struct lb_view view = edge_view(tables, ingress);

	if (decision->action == ACTION_ICMP_FORWARD || decision->action == ACTION_ICMP_REVERSE) {
		lb_icmp_decide(&view, packet, flow, ingress->ifindex, decision);
	} else {
		const struct link_row *link = link_find(tables->links, ingress->ifindex, flow->vlan);
		const struct lb_backend *backend = &tables->lb->backends[decision->backend & (LB_BACKEND_ROWS - 1)];
		const struct route_row *route;
		uint32_t mtu = load_once(backend->mtu);

		if (decision->action == ACTION_ENCAPSULATE_HOP)
			mtu -= lb_hop_bytes(&decision->address);

		if (decision->action == ACTION_NAT_REVERSE || decision->action == ACTION_MEDIA_DOWN) {
			route = route_find(tables->routes, &flow->destination);
			mtu = route ? route->mtu : LB_MTU_ANY;
		}
		lb_too_big_decide(packet, flow, mtu, ingress->segment, ingress->ifindex, link ? link->mac : 0, decision);
	}
}

/* As a host in the kernel does by a helper. */
static inline void edge_decide_copied(const struct edge_tables *tables, const struct packet *packet,
				      const struct edge_ingress *ingress, const struct flow *flow, struct decision *decision)
{
	struct stun_message *message = &tables->counters->scratch.message;
	uint32_t offset = 0, length = edge_copy_length(packet, flow, &offset);

	message->length = packet->data + offset + length <= packet->end ? length : 0;
	__builtin_memcpy(message->bytes, packet->data + offset, message->length);
	edge_decide_learn(tables, packet, ingress, flow, decision, &tables->counters->scratch);
}

/*
 * Goes on with a decision that has DECISION_MORE: what few packets need, and a host keeps out of the others' way. DECISION_AGAIN then:
 * with a decision of zero, edge_decide_parsed() is to be asked once more about the flow as it is now.
 */
PACKET_INLINE void edge_decide_more(const struct edge_tables *tables, const struct packet *packet,
				    const struct edge_ingress *ingress, struct flow *flow, struct decision *decision)
{
	if (decision->action == ACTION_UNWRAP) {
		edge_decide_unwrap(tables, packet, ingress, flow, decision);
		return;
	}
	if (decision->action == ACTION_DNS) {
		decision->flags = 0; /* the host's */
		return;
	}
	if (edge_is_media(decision)) {
		edge_decide_media(tables, packet, ingress, flow, decision);
		if (unlikely(edge_is_open(decision))) {
			edge_decide_copied(tables, packet, ingress, flow, decision);
			if (decision->flags & DECISION_MORE && edge_is_media(decision))
				edge_decide_media(tables, packet, ingress, flow, decision);
		}
		if (likely(!(decision->flags & DECISION_MORE)))
			return;
	}
	edge_decide_rare(tables, packet, ingress, flow, decision);
}

/* Of a decision to send: the bytes of the frame that the host keeps before it makes room; 0: all. */
PACKET_INLINE uint32_t edge_keep(const struct flow *flow, const struct decision *decision)
{
	if (decision->action == ACTION_STUN_ANSWER)
		return rtc_answer_keep(flow, decision);
	return decision->action == ACTION_TOO_BIG ? lb_too_big_keep(flow) : 0;
}

/* What edge_decide_parsed() leaves open. */
PACKET_INLINE void edge_decide_rest(const struct edge_tables *tables, const struct packet *packet,
				    const struct edge_ingress *ingress, struct flow *flow, struct decision *decision)
{
	if (unlikely(flow->flags & FLOW_FRAGMENT))
		edge_decide_fragment(tables, packet, ingress, flow, decision);
	if (unlikely(decision->flags & DECISION_MORE))
		edge_decide_more(tables, packet, ingress, flow, decision);
}

/* The whole of it. `flow` and `decision` must be zero. */
PACKET_INLINE void edge_decide(const struct edge_tables *tables, const struct packet *packet,
			       const struct edge_ingress *ingress, struct flow *flow, struct decision *decision)
{
	enum drop_reason reason = flow_parse(packet, flow);

	if (edge_is_call(tables->config, packet, flow, reason) && edge_decide_call(tables, packet, ingress, flow, decision))
		return;
	edge_decide_parsed(tables, packet, ingress, flow, reason, decision);
	edge_decide_rest(tables, packet, ingress, flow, decision);
	if (likely(!(decision->flags & DECISION_AGAIN)))
		return;
	*decision = (struct decision){0};
	edge_decide_parsed(tables, packet, ingress, flow, DROP_NONE, decision);
	edge_decide_rest(tables, packet, ingress, flow, decision);
}

/*
 * Rewrites the packet as decided, behind the room that the host made. Returns the transport checksum's share that the host
 * applies: lb_write_checksum(), or a helper where checksums are partial.
 */
PACKET_INLINE struct lb_exchange edge_write(const struct packet *packet, const struct flow *flow,
					    const struct decision *decision)
{
	struct lb_exchange exchange = {0};

	switch (decision->action) {
	case ACTION_ARP_REPLY:
		vip_arp_write(packet, flow, decision);
		break;
	case ACTION_ND_ADVERTISE:
		vip_nd_write(packet, flow, decision);
		break;
	case ACTION_ECHO_REPLY:
		vip_echo_write(packet, flow, decision);
		break;
	case ACTION_NAT_FORWARD:
	case ACTION_NAT_REVERSE:
		exchange = lb_write_network(packet, flow, decision);
		lb_write_transport(packet, flow, decision, &exchange);
		break;
	case ACTION_L2_FORWARD:
		exchange = lb_write_network(packet, flow, decision);
		break;
	default:
		break;
	}
	return exchange;
}

/*
 * The same for actions from ACTION_FIRST_MORE on, checksums and all; but for media it returns the transport checksum's share, as
 * edge_write() does.
 */
PACKET_INLINE struct lb_exchange edge_write_more(const struct edge_tables *tables, const struct packet *packet,
						 const struct flow *flow, const struct decision *decision)
{
	const struct lb_service *service = &tables->lb->services[decision->service & (LB_SERVICE_ROWS - 1)];
	struct lb_exchange none = {0};

	if (decision->action == ACTION_MEDIA_UP || decision->action == ACTION_MEDIA_DOWN)
		return rtc_media_write(packet, flow, decision, tables->sessions, service);
	if (decision->action == ACTION_STUN_ANSWER) {
		rtc_answer_write(packet, flow, decision);
		return none;
	}
	if (decision->action == ACTION_ENCAPSULATE || decision->action == ACTION_ENCAPSULATE_HOP)
		lb_tunnel_write(packet, flow, decision, &tables->lb->backends[decision->backend & (LB_BACKEND_ROWS - 1)]);
	else if (decision->action == ACTION_PASS_ON)
		lb_pass_write(packet, flow, decision);
	else if (decision->action == ACTION_TOO_BIG)
		lb_too_big_write(packet, flow, decision);
	else
		lb_icmp_write(packet, flow, decision, service->protocol == PROTOCOL_TCP);
	return none;
}

/* The whole of it, for hosts without a helper for partial checksums. */
PACKET_INLINE void edge_rewrite(const struct edge_tables *tables, const struct packet *packet, const struct flow *flow,
				const struct decision *decision)
{
	struct lb_exchange exchange;

	if (unlikely(decision->action >= ACTION_FIRST_MORE)) {
		exchange = edge_write_more(tables, packet, flow, decision);
		lb_write_checksum(packet, &exchange);
		return;
	}
	exchange = edge_write(packet, flow, decision);
	lb_write_checksum(packet, &exchange);
}

/* Drops, beginnings of flows, and what tells of an error: ICMP errors and resets that a function decided. */
PACKET_INLINE bool edge_is_interesting(const struct flow *flow, const struct decision *decision)
{
	if (decision->verdict == VERDICT_DROP || decision->flags & DECISION_NEW_FLOW)
		return true;
	if (decision->verdict == VERDICT_PASS)
		return false;
	if (flow->protocol == PROTOCOL_TCP)
		return flow->tcp_flags & TCP_RST;
	return (flow->protocol == PROTOCOL_ICMP || flow->protocol == PROTOCOL_ICMPV6) && edge_is_icmp_error(flow);
}

/* Whether the operator asked to see this packet. */
PACKET_INLINE bool edge_trace_wanted(const struct edge_config *config, const struct flow *flow,
				     const struct decision *decision)
{
	if (likely(!(config->trace & EDGE_TRACE_ON)))
		return false;
	if (config->trace & EDGE_TRACE_DROPS && decision->verdict != VERDICT_DROP)
		return false;
	if (config->trace & EDGE_TRACE_DECISIONS && decision->verdict == VERDICT_PASS)
		return false;
	if (config->trace & EDGE_TRACE_INTERESTING && !edge_is_interesting(flow, decision))
		return false;
	if (config->trace_protocol && config->trace_protocol != flow->protocol)
		return false;
	if (config->trace_port && config->trace_port != be16_get(flow->source_port) &&
	    config->trace_port != be16_get(flow->destination_port))
		return false;
	return address_is_zero(&config->trace_address) || address_equal(&config->trace_address, &flow->source) ||
	       address_equal(&config->trace_address, &flow->destination);
}

/*
 * Whether one more packet may be reported in this eighth of a second; else it is counted as hidden, so that a flood of drops
 * that somebody watches costs each of them a few instructions.
 */
PACKET_INLINE bool edge_trace_admit(const struct edge_config *config, struct edge_counters *counters, uint32_t now_ms)
{
	uint32_t tick = now_ms / EDGE_TRACE_TICK_MS;

	if (!config->trace_limit)
		return true;
	if (counters->trace_tick != tick) {
		counters->trace_tick = tick;
		counters->trace_count = 0;
	}
	if (counters->trace_count >= config->trace_limit) {
		counters->trace_hidden++;
		return false;
	}
	counters->trace_count++;
	return true;
}

/*
 * Whether user space is told of a wanted neighbour (DECISION_EVENT): of each once in an eighth of a second, and of so many in all.
 * Packets go on to want those that are left out. Held fragments are bounded by themselves.
 */
PACKET_INLINE bool edge_wanted_admit(struct edge_counters *counters, const struct decision *decision, uint32_t now_ms)
{
	uint32_t tick = now_ms / EDGE_TRACE_TICK_MS, mark;
	uint64_t hash;

	if (decision->flags & DECISION_FRAGMENT)
		return true;
	hash = hash_finish(hash_word(hash_word(hash_word(decision->ifindex, decision->egress.vlan), decision->address.word[0]),
				     decision->address.word[1]));
	mark = (uint32_t)(hash >> 32) ^ tick;
	if (counters->wanted_asked[hash & (EDGE_WANTED_PLACES - 1)] == mark)
		return false;
	if (counters->wanted_tick != tick) {
		counters->wanted_tick = tick;
		counters->wanted_count = 0;
	}
	if (counters->wanted_count >= EDGE_WANTED_IN_TICK) {
		counters->wanted_hidden++;
		return false;
	}
	counters->wanted_count++;
	counters->wanted_asked[hash & (EDGE_WANTED_PLACES - 1)] = mark;
	return true;
}

/* `length`: the frame's as it came. */
PACKET_INLINE void edge_count(struct edge_counters *counters, const struct decision *decision, uint32_t length)
{
	counters->verdicts[decision->function < FUNCTION_COUNT ? decision->function : 0]
			  [decision->verdict & (VERDICT_PLACES - 1)]++;
	counters->bytes_in += length;
	if (decision->verdict == VERDICT_DROP) {
		if (decision->reason < DROP_COUNT)
			counters->drops[decision->reason]++;
		return;
	}
	if (decision->backend) {
		struct edge_backend_count *count = &counters->backends[decision->backend & (LB_BACKEND_ROWS - 1)];

		if (decision->action == ACTION_NAT_REVERSE || unlikely(decision->action == ACTION_MEDIA_DOWN)) {
			count->answers++;
			count->answer_bytes += length;
		} else if (likely(decision->action != ACTION_ICMP_REVERSE)) { /* an error is no answer */
			count->packets++;
			count->bytes += length;
			if (decision->flags & DECISION_NEW_FLOW)
				count->flows++;
		}
	}
}

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Balancing a packet: which backend, and what is rewritten.
 *
 * Hash first: the ring answers for every packet. A flow's record is asked only when the ring's slot has changed hands
 * (LB_SLOT_MOVED), at a flow's start and end, and once an epoch. See lb/README.md.
 */
#pragma once

#include "base/packet/checksum.h"
#include "base/packet/flow.h"
#include "base/packet/neighbour.h"
#include "base/packet/route.h"
#include "lb/lb_flow.h"
#include "lb/lb_held.h"
#include "lb/lb_limit.h"
#include "lb/lb_quic.h"
#include "lb/lb_source.h"

/* The tables that balancing reads, and the time. */
struct lb_view {
	struct lb_tables *lb;
	struct lb_rings *rings;
	struct lb_flows *flows;
	struct lb_filter *filter;
	const struct lb_guards *guards;
	struct lb_limiter *limiter;
	const struct route_table *routes;
	struct neighbour_table *neighbours;
	uint32_t epoch;
	uint32_t now_ms;
};

PACKET_INLINE void lb_drop(struct decision *decision, enum drop_reason reason)
{
	decision->function = FUNCTION_LB;
	decision->verdict = VERDICT_DROP;
	decision->reason = (uint8_t)reason;
}

/* The service of an exact address, protocol and port; 0 for none. */
PACKET_INLINE uint32_t lb_service_find(const struct lb_tables *lb, const struct flow *flow)
{
	struct directory_key key = lb_key(LB_KEY_SERVICE, &flow->destination, flow->network == FLOW_IPV6, flow->protocol,
					  flow->destination_port);

	return DIRECTORY_FIND(&lb->services_by_address, LB_SERVICE_DIRECTORY_BITS, &key);
}

/* The service whose port range holds the destination port; 0 for none. */
PACKET_FUNCTION uint32_t lb_service_find_range(const struct lb_tables *lb, const struct flow *flow)
{
	struct directory_key key;
	uint16_t port;
	uint32_t row;

	if (!lb || !flow)
		return 0;
	key = lb_key(LB_KEY_RANGE, &flow->destination, flow->network == FLOW_IPV6, flow->protocol, (struct be16){0});
	row = DIRECTORY_FIND(&lb->services_by_address, LB_SERVICE_DIRECTORY_BITS, &key);
	port = be16_get(flow->destination_port);
#pragma GCC unroll 8
	for (uint32_t i = 0; i < LB_RANGES_PER_ADDRESS && row; i++) {
		const struct lb_range *range = &lb->ranges[row & (LB_RANGE_ROWS - 1)];

		if (port >= range->first && port <= range->last)
			return range->service;
		row = range->next;
	}
	return 0;
}

/* The ring's answer for a hash: a slot's content, LB_SLOT_MOVED for a ring without slots. */
PACKET_INLINE uint16_t lb_ring_ask(const struct lb_rings *rings, const struct lb_service *service, uint64_t hash)
{
	uint64_t ring = load_once(service->ring);
	uint32_t slots = (uint32_t)ring;
	uint32_t slot = (uint32_t)(ring >> 32) + lb_ring_slot(hash, slots);

	value_opaque(slot);
	if (slots == 0)
		return LB_SLOT_MOVED;
	return load_once(rings->slots[slot & (LB_RING_SLOTS - 1)]);
}

/* Whether a recorded flow stays with its backend. `begins`: this packet would begin a flow. */
PACKET_INLINE bool lb_flow_stays(const struct lb_tables *lb, uint16_t service_row, uint64_t word, bool begins,
				 uint32_t epoch)
{
	const struct lb_service *service = &lb->services[service_row & (LB_SERVICE_ROWS - 1)];
	const struct lb_backend *backend = &lb->backends[lb_flow_backend(word) & (LB_BACKEND_ROWS - 1)];
	uint8_t state = load_once(backend->state);

	if (backend->service != service_row || state == LB_BACKEND_FREE)
		return false;
	if (begins && word & LB_FLOW_CLOSING)
		return false;
	if (service->protocol == PROTOCOL_TCP)
		return state != LB_BACKEND_DOWN || !begins;
	return state != LB_BACKEND_DOWN && lb_flow_age_epochs(word, epoch) <= service->udp_idle_epochs;
}

/* A packet whose flow's record must be looked at, and what is known of it. */
struct lb_question {
	uint64_t hash;        /* lb_flow_hash() */
	uint64_t client_hash; /* lb_client_hash() in services with affinity, otherwise 0 */
	uint32_t epoch;
	uint16_t service;
	uint16_t ring_slot; /* lb_ring_ask() */
	uint8_t tcp;
	uint8_t tcp_flags;
	uint8_t new_flow; /* answered: this packet began a flow */
	uint8_t fresh;    /* answered: the flow is not established yet */
	uint8_t client;   /* answered: lb_client_settle() is to be asked, LB_CLIENT_* */
	uint8_t zero[3];
};

#define LB_CLIENT_CHOOSES 1    /* for the backend of a flow that begins: then the flow is settled anew, without client_hash */
#define LB_CLIENT_ESTABLISHED 2 /* because the client has shown that it is there */

/* An affine client's backend where the ring's answer has changed: its record's while that one takes new flows. */
PACKET_FUNCTION uint32_t lb_client_settle(const struct lb_tables *lb, struct lb_flows *flows,
					  const struct lb_question *question)
{
	const struct lb_service *service;
	const struct lb_backend *backend;
	struct lb_flow_place found;
	uint8_t flags = LB_FLOW_CLIENT;
	uint16_t row, chosen;
	uint64_t word;

	if (!lb || !flows || !question)
		return 0;
	service = &lb->services[question->service & (LB_SERVICE_ROWS - 1)];
	found = lb_flow_find(flows, question->client_hash, LB_FLOW_CLIENT, question->epoch);
	row = lb_flow_backend(found.word);
	chosen = question->ring_slot & LB_SLOT_BACKEND;
	backend = &lb->backends[row & (LB_BACKEND_ROWS - 1)];
	if (found.found && backend->service == question->service && load_once(backend->state) == LB_BACKEND_UP &&
	    lb_flow_age_epochs(found.word, question->epoch) <= service->affinity_epochs)
		chosen = row;
	if (chosen == 0)
		return 0;
	if (question->fresh && (!found.found || found.word & LB_FLOW_FRESH)) {
		flags |= LB_FLOW_FRESH;
		if (lb_flow_occupied(&found, question->epoch))
			return chosen;
	}
	word = lb_flow_word(question->client_hash, chosen, question->epoch, flags);
	lb_flow_put(&found, word);
	return chosen;
}

/* Whether this packet of a fresh flow shows that its client is there. */
PACKET_INLINE bool lb_flow_shown(const struct lb_service *service, const struct lb_question *question, uint64_t word)
{
	if (!question->tcp)
		return true;
	return !(question->tcp_flags & TCP_SYN) && (word & LB_FLOW_ANSWERED || service->flags & LB_SERVICE_DIRECT);
}

/* Finds or makes the flow's record. Returns the row of its backend, 0 when there is none to be had. */
PACKET_FUNCTION uint32_t lb_flow_settle(const struct lb_tables *lb, struct lb_flows *flows,
					struct lb_question *question)
{
	bool begins, stays;
	struct lb_flow_place found;
	uint32_t backend;
	uint8_t flags;
	uint64_t word;

	if (!lb || !flows || !question)
		return 0;
	begins = question->tcp && (question->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	backend = question->ring_slot & LB_SLOT_BACKEND;
	flags = question->tcp ? LB_FLOW_TCP : 0;
	found = lb_flow_find(flows, question->hash, 0, question->epoch);
	stays = found.found && lb_flow_stays(lb, question->service, found.word, begins, question->epoch);
	if (stays) {
		backend = lb_flow_backend(found.word);
		flags |= found.word & LB_FLOW_CLOSING;
		if (found.word & LB_FLOW_FRESH) {
			if (lb_flow_shown(&lb->services[question->service & (LB_SERVICE_ROWS - 1)], question, found.word)) {
				question->client = question->client_hash ? LB_CLIENT_ESTABLISHED : 0;
			} else {
				flags |= found.word & (LB_FLOW_FRESH | LB_FLOW_ANSWERED);
				question->fresh = 1;
			}
		}
	} else {
		flags |= LB_FLOW_FRESH;
		question->fresh = 1;
		if (question->client_hash) {
			question->client = LB_CLIENT_CHOOSES;
			return 0;
		}
		if (backend == 0)
			return 0;
		question->new_flow = 1;
	}
	if (question->tcp && question->tcp_flags & (TCP_FIN | TCP_RST))
		flags |= LB_FLOW_CLOSING;
	if (question->fresh && lb_flow_occupied(&found, question->epoch)) {
		question->fresh = 0; /* no record: it is vouched for by the filter, as its answers are */
		return backend;
	}
	word = lb_flow_word(question->hash, (uint16_t)backend, question->epoch, flags);
	lb_flow_put(&found, word);
	return backend;
}

/* What is to be told of a recorded flow: once that it ends, else once an epoch that it is there. LB_HELD_* << 16 | age, 0 for nothing. */
PACKET_INLINE uint32_t lb_held_told(uint64_t word, uint32_t epoch, bool ends)
{
	uint32_t age = lb_flow_age_epochs(word, epoch);

	if (word & LB_FLOW_CLOSING)
		return 0;
	if (ends)
		return LB_HELD_ENDS << 16 | age;
	return age ? LB_HELD_SEEN << 16 | age : 0;
}

/*
 * What the packet is for limits: LB_HELD_* << 16 | age of the flow's record in epochs, or 0 for nothing that they count. A TCP flow begins with
 * SYN: one that was lost here is no new one.
 */
PACKET_FUNCTION uint32_t lb_flow_event(const struct lb_tables *lb, struct lb_flows *flows,
					const struct lb_question *question)
{
	struct lb_flow_place found;
	bool syn;

	if (!lb || !flows || !question)
		return 0;
	syn = question->tcp && (question->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	found = lb_flow_find(flows, question->hash, 0, question->epoch);
	if (!found.found || !lb_flow_stays(lb, question->service, found.word, syn, question->epoch))
		return question->tcp && !syn ? 0 : LB_HELD_BEGINS << 16;
	return lb_held_told(found.word, question->epoch, question->tcp && question->tcp_flags & (TCP_FIN | TCP_RST));
}

/* Whom the ring remembers for a hash: the row that had its slot before the present one, 0 for none. */
PACKET_INLINE uint16_t lb_ring_before(const struct lb_rings *rings, const struct lb_service *service, uint64_t hash)
{
	uint64_t ring = load_once(service->ring);
	uint32_t slot = (uint32_t)(ring >> 32) + lb_ring_slot(hash, (uint32_t)ring);

	value_opaque(slot);
	return load_once(rings->before[slot & (LB_RING_SLOTS - 1)]) & (LB_BACKEND_ROWS - 1);
}

/*
 * For a packet of a TCP flow that nothing is known of here, in a service with LB_SERVICE_HOPS: the backend that it goes to, and
 * in the upper half the one that is its second hop. 0: the ring's answer is all there is. A backend of this node would be known
 * here, so where the ring says one, the packet goes straight to the one before.
 */
PACKET_FUNCTION uint32_t lb_hop_find(const struct lb_tables *lb, const struct lb_rings *rings, struct lb_flows *flows,
				     const struct lb_question *question)
{
	const struct lb_backend *first, *second;
	uint16_t row, before;
	struct lb_flow_place found;

	if (!lb || !rings || !flows || !question || !question->tcp || question->tcp_flags & TCP_SYN)
		return 0;
	row = question->ring_slot & (LB_BACKEND_ROWS - 1);
	before = lb_ring_before(rings, &lb->services[question->service & (LB_SERVICE_ROWS - 1)],
				question->client_hash ? question->client_hash : question->hash);
	first = &lb->backends[row];
	second = &lb->backends[before];
	if (row == 0 || before == 0 || second->service != question->service || second->tunnel != LB_TUNNEL_GUE ||
	    load_once(second->state) == LB_BACKEND_FREE)
		return 0;
	found = lb_flow_find(flows, question->hash, 0, question->epoch);
	if (found.found && lb_flow_stays(lb, question->service, found.word, false, question->epoch))
		return 0;
	if (question->client_hash && lb_flow_find(flows, question->client_hash, LB_FLOW_CLIENT, question->epoch).found)
		return 0;
	if (first->tunnel == LB_TUNNEL_NONE)
		return before;
	if (!(first->flags & second->flags & LB_BACKEND_NODE) || first->tunnel != LB_TUNNEL_GUE ||
	    address_is_ipv4(&first->tunnel_destination) != address_is_ipv4(&second->tunnel_destination))
		return 0;
	return (uint32_t)before << 16 | row;
}

/*
 * Why a flow that a client begins is not let through by the limits of the service: enum drop_reason. verifier: `epoch_ms` is
 * epoch << 32 | milliseconds, for there are only five arguments.
 */
PACKET_FUNCTION uint32_t lb_limits_refuse(struct lb_limiter *limiter, const struct lb_guards *guards, uint32_t row,
					  const struct address *client, uint64_t epoch_ms)
{
	if (!limiter || !guards || !client)
		return DROP_NONE;
	if (lb_limit_is_full(limiter, guards, row, (uint32_t)(epoch_ms >> 32)))
		return DROP_limit_flows;
	for (uint32_t kind = LB_LIMIT_CLIENT_FLOWS; kind <= LB_LIMIT_ALL_FLOWS; kind++) {
		if (lb_limit_refuses(limiter, guards, (uint64_t)kind << 32 | row, client, (uint32_t)epoch_ms))
			return DROP_limit_new_flows;
	}
	__sync_fetch_and_add(&limiter->flows[row & (LB_SERVICE_ROWS - 1)], 1);
	return DROP_NONE;
}

/* Why a packet that may begin a flow is not let through by a service with guards. */
PACKET_INLINE enum drop_reason lb_guards_refuse(const struct lb_view *view, const struct flow *flow, uint32_t flags,
						const struct lb_question *question)
{
	if (flags & LB_SERVICE_SOURCES && lb_source_refuses(view->guards, question->service, &flow->source))
		return DROP_source_not_allowed;
	if (flags & LB_SERVICE_LIMIT_FLOWS) {
		uint32_t event = lb_flow_event(view->lb, view->flows, question);

		if (event >> 16 == LB_HELD_BEGINS) {
			enum drop_reason reason = (enum drop_reason)lb_limits_refuse(view->limiter, view->guards, question->service,
										     &flow->source,
										     (uint64_t)view->epoch << 32 | view->now_ms);

			if (reason)
				return reason;
		}
		/* verifier: not in lb_limits_refuse(), upon whose stack it would be put */
		if (event && lb_held_note(view->limiter, view->guards,
					  lb_held_event(event >> 16, event & 0xffff, question->service), &flow->source,
					  view->now_ms)) {
			__sync_fetch_and_add(&view->limiter->flows[question->service & (LB_SERVICE_ROWS - 1)], (uint64_t)-1);
			return DROP_limit_flows_per_client;
		}
	}
	return DROP_NONE;
}

/* What is settled with the flow's client. verifier: not in lb_flow_settle(), whose stack it would be put upon. */
PACKET_INLINE uint32_t lb_flow_settle_client(const struct lb_view *view, struct lb_question *question, uint32_t backend_row)
{
	bool chooses = question->client == LB_CLIENT_CHOOSES;
	uint32_t chosen = lb_client_settle(view->lb, view->flows, question);

	if (!chooses)
		return backend_row;
	question->ring_slot = (uint16_t)chosen;
	question->client_hash = 0;
	return lb_flow_settle(view->lb, view->flows, question);
}

/* Makes the record of a flow whose backend is known otherwise, or sets it right. `flags`: of one that there is none of yet. */
PACKET_FUNCTION uint32_t lb_flow_record(struct lb_flows *flows, uint64_t hash, uint32_t row, uint32_t epoch, uint32_t flags)
{
	struct lb_flow_place found;

	if (!flows)
		return 0;
	found = lb_flow_find(flows, hash, 0, epoch);
	if (found.found)
		flags = (uint8_t)found.word;
	lb_flow_put(&found, lb_flow_word(hash, (uint16_t)row, epoch, (uint8_t)flags));
	return row;
}

/* The backend that the packet's connection id names, whatever its addresses are; 0 for none. */
PACKET_INLINE uint32_t lb_quic_route(const struct lb_view *view, const struct packet *packet, const struct flow *flow,
				     uint32_t service_row)
{
	uint32_t length = view->guards->limits[service_row & (LB_SERVICE_ROWS - 1)].quic_server_length;
	struct lb_quic_id id = lb_quic_read(packet, flow->l4_offset, length);

	return id.present ? lb_quic_find(view->lb, view->guards, id.server, service_row, id.config) : 0;
}

/* A client on one of our links that begins a flow is a neighbour from then on: its answer needs no question first. */
PACKET_INLINE void lb_client_learn(const struct lb_view *view, const struct packet *packet, const struct flow *flow,
				   uint32_t ifindex)
{
	const struct ethernet_header *ethernet = packet_header(packet, 0, sizeof(*ethernet));
	const struct route_row *route = route_find(view->routes, &flow->source);

	/* What lay in a tunnel came from the node that wrapped it. */
	if (!ethernet || flow->flags & FLOW_UNWRAPPED || !route || !(route->egress.flags & EGRESS_ON_LINK) || route->egress.ifindex != ifindex ||
	    route->egress.vlan != flow->vlan || mac_is_group(ethernet->source))
		return;
	neighbour_learn(view->neighbours, &flow->source, neighbour_link(ifindex, flow->vlan),
			mac_word(ethernet->source) | (uint64_t)view->epoch << NEIGHBOUR_SEEN_SHIFT);
}

/* Fills the decision for a packet that leaves by `egress`, rewritten as `action` says. */
PACKET_INLINE void lb_send(struct decision *decision, const struct flow *flow, const struct egress *egress,
			   enum action action, uint32_t ifindex)
{
	uint32_t link_length = sizeof(struct ethernet_header) + (egress->vlan ? sizeof(struct vlan_tag) : 0);

	decision->function = FUNCTION_LB;
	decision->action = (uint8_t)action;
	decision->egress = *egress;
	decision->ifindex = egress->ifindex;
	decision->verdict = egress->ifindex == ifindex ? VERDICT_TX : VERDICT_REDIRECT;
	decision->room = (int8_t)((int32_t)link_length - (int32_t)flow->l3_offset);
}

/* What is different for a backend behind a tunnel (lb_tunnel_fast.h). `hash`: the flow's. */
PACKET_INLINE void lb_encapsulate(struct decision *decision, const struct flow *flow, const struct lb_backend *backend,
				  uint64_t hash, uint32_t ifindex)
{
	decision->address = backend->tunnel_destination;
	decision->port = be16_from((uint16_t)(0xc000 | (hash >> 20 & 0x3fff)));
	lb_send(decision, flow, &backend->egress, ACTION_ENCAPSULATE, ifindex);
	decision->room = (int8_t)(decision->room + backend->growth);
}

/* The IP packet's length. */
PACKET_INLINE uint32_t lb_length(const struct flow *flow)
{
	return (uint32_t)flow->l4_offset + flow->l4_length - flow->l3_offset;
}

/* Drops what cannot go to this backend. */
PACKET_INLINE bool lb_backend_refuses(const struct lb_backend *backend, const struct flow *flow, struct decision *decision)
{
	if (!(backend->egress.flags & EGRESS_RESOLVED)) {
		lb_drop(decision, DROP_backend_unresolved);
		return true;
	}
	if (flow->hop_limit <= 1) {
		lb_drop(decision, DROP_hop_limit_exceeded);
		return true;
	}
	return false;
}

/* Sends a client's packet to the backend. `hash`: the flow's, or another that spreads them. */
PACKET_INLINE void lb_backend_send(const struct lb_backend *backend, const struct lb_service *service, const struct flow *flow,
				   uint64_t hash, uint32_t ifindex, struct decision *decision)
{
	if (unlikely(backend->tunnel)) {
		if (flow->flags & FLOW_UNWRAPPED) { /* once is enough: nodes that disagree must not play with it */
			lb_drop(decision, DROP_tunnel_no_local_backend);
			return;
		}
		lb_encapsulate(decision, flow, backend, hash, ifindex);
	} else {
		decision->address = backend->address;
		decision->port = backend->port.raw ? backend->port : flow->destination_port;
		lb_send(decision, flow, &backend->egress,
			service->flags & LB_SERVICE_DIRECT ? ACTION_L2_FORWARD : ACTION_NAT_FORWARD, ifindex);
	}
	if (unlikely(lb_length(flow) > backend->mtu))
		decision->flags |= DECISION_MORE; /* lb_too_big_decide() */
}

/* Bytes of GUE's private data that name a second hop. */
PACKET_INLINE uint32_t lb_hop_bytes(const struct address *hop)
{
	return (uint32_t)sizeof(struct gue_hop) + (address_is_ipv4(hop) ? 4u : 16u);
}

/* A packet of a flow that is unknown here, where another node may know it (lb_hop_fast.h). False: it is decided like any. */
PACKET_INLINE bool lb_hop_decide(const struct lb_view *view, const struct flow *flow, const struct lb_service *service,
				 const struct lb_question *question, uint32_t ifindex, struct decision *decision)
{
	uint32_t rows = flow->flags & (FLOW_UNWRAPPED | FLOW_FRAGMENT) ? 0 : lb_hop_find(view->lb, view->rings, view->flows, question);
	const struct lb_backend *backend = &view->lb->backends[rows & (LB_BACKEND_ROWS - 1)];
	const struct lb_backend *second = &view->lb->backends[rows >> 16 & (LB_BACKEND_ROWS - 1)];

	if (rows == 0)
		return false;
	decision->backend = (uint16_t)rows;
	if (lb_backend_refuses(backend, flow, decision))
		return true;
	lb_backend_send(backend, service, flow, question->hash, ifindex, decision);
	if (rows >> 16) {
		uint32_t bytes = lb_hop_bytes(&second->tunnel_destination);

		decision->action = ACTION_ENCAPSULATE_HOP;
		decision->address = second->tunnel_destination;
		decision->room = (int8_t)(decision->room + (int32_t)bytes);
		if (lb_length(flow) + bytes > backend->mtu)
			decision->flags |= DECISION_MORE;
	}
	return true;
}

/* A packet of a client to a service of this node. `ifindex`: where it came in. */
PACKET_INLINE void lb_forward_decide(const struct lb_view *view, const struct packet *packet, const struct flow *flow,
				     uint16_t service_row, uint32_t ifindex, struct decision *decision)
{
	const struct lb_service *service = &view->lb->services[service_row & (LB_SERVICE_ROWS - 1)];
	uint64_t seed = view->lb->hash_seed;
	uint64_t hash = lb_flow_hash(seed, &flow->source, flow->source_port, &flow->destination, flow->destination_port,
				     flow->protocol, flow->network == FLOW_IPV6);
	bool affine = service->flags & LB_SERVICE_AFFINITY;
	uint64_t client_hash = affine ? lb_client_hash(seed, &flow->source, service) : 0;
	uint16_t slot = lb_ring_ask(view->rings, service, affine ? client_hash : hash);
	uint32_t backend_row = slot & LB_SLOT_BACKEND;
	const struct lb_backend *backend;

	decision->service = service_row;
	if (unlikely(service->flags & LB_SERVICE_LIMIT_PACKETS) &&
	    lb_limit_refuses(view->limiter, view->guards, (uint64_t)LB_LIMIT_CLIENT_PACKETS << 32 | service_row, &flow->source,
			     view->now_ms)) {
		lb_drop(decision, DROP_limit_packets);
		return;
	}
	if (slot & LB_SLOT_MOVED || flow->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST) ||
	    !lb_filter_test(view->filter, hash, view->epoch)) {
		struct lb_question question = {
			.hash = hash,
			.client_hash = client_hash,
			.epoch = view->epoch,
			.service = service_row,
			.ring_slot = slot,
			.tcp = flow->protocol == PROTOCOL_TCP,
			.tcp_flags = flow->tcp_flags,
		};

		if (unlikely(service->flags & (LB_SERVICE_SOURCES | LB_SERVICE_LIMIT_FLOWS))) {
			enum drop_reason reason = lb_guards_refuse(view, flow, service->flags, &question);

			if (reason) {
				lb_drop(decision, reason);
				return;
			}
		}
		if (unlikely(service->flags & LB_SERVICE_HOPS) && lb_hop_decide(view, flow, service, &question, ifindex, decision))
			return;
		backend_row = lb_flow_settle(view->lb, view->flows, &question);
		if (unlikely(question.client))
			backend_row = lb_flow_settle_client(view, &question, backend_row);
		if (backend_row && !question.fresh)
			lb_filter_mark(view->filter, hash, view->epoch);
		if (question.new_flow)
			decision->flags |= DECISION_NEW_FLOW;
	}
	if (unlikely(service->flags & LB_SERVICE_QUIC)) {
		uint32_t named = lb_quic_route(view, packet, flow, service_row);

		/* Its answers are known by the record. */
		if (named && named != backend_row)
			backend_row = lb_flow_record(view->flows, hash, named, view->epoch, LB_FLOW_FRESH);
	}
	decision->backend = (uint16_t)backend_row;
	if (backend_row == 0) {
		lb_drop(decision, DROP_service_no_backend);
		return;
	}
	backend = &view->lb->backends[backend_row & (LB_BACKEND_ROWS - 1)];
	if (lb_backend_refuses(backend, flow, decision))
		return;
	if (decision->flags & DECISION_NEW_FLOW)
		lb_client_learn(view, packet, flow, ifindex);
	lb_backend_send(backend, service, flow, hash, ifindex, decision);
}

enum lb_answer {
	LB_ANSWER_NONE,    /* of no flow to this backend */
	LB_ANSWER_OURS,    /* and the flow's record is refreshed */
	LB_ANSWER_UNKNOWN, /* the flow's bucket had to let words go, which proves nothing */
	LB_ANSWER_ASK,     /* of one, if the service still takes the client, of whom nobody asked in this epoch */
	LB_ANSWER_COUNTS,  /* as OURS, in the low four bits; above them what lb_held_told() says of the flow */
};

#define LB_ANSWER_ASKED (1ull << 63) /* beside row << 32 | epoch: the service takes the client */

/*
 * Whether the backend of `row` answers a flow of its service in this packet. verifier: `row_epoch` is row << 32 | epoch, for
 * there are only five arguments; and nobody is called, for Linux 6.1 rounds each stack frame up to 32 bytes, and the chain would
 * have more than 512.
 */
PACKET_FUNCTION uint32_t lb_answer_find(const struct lb_tables *lb, struct lb_flows *flows, const struct flow *flow,
					uint64_t row_epoch)
{
	uint32_t row = (uint16_t)(row_epoch >> 32), epoch = (uint32_t)row_epoch;
	const struct lb_backend *backend;
	const struct lb_service *service;
	struct lb_flow_place found;
	struct be16 vip_port;
	uint64_t hash, word;
	uint32_t told = 0;
	bool ends;

	if (!lb || !flows || !flow)
		return LB_ANSWER_NONE;
	backend = &lb->backends[row & (LB_BACKEND_ROWS - 1)];
	service = &lb->services[backend->service & (LB_SERVICE_ROWS - 1)];
	vip_port = service->flags & LB_SERVICE_RANGE ? flow->source_port : service->port_first;
	hash = lb_flow_hash(lb->hash_seed, &flow->destination, flow->destination_port, &service->address, vip_port,
			    flow->protocol, flow->network == FLOW_IPV6);
	found = lb_flow_find(flows, hash, 0, epoch);
	if (!found.found || lb_flow_backend(found.word) != row)
		return found.bucket_full ? LB_ANSWER_UNKNOWN : LB_ANSWER_NONE;
	ends = flow->tcp_flags & (TCP_FIN | TCP_RST);
	if (unlikely(service->flags & (LB_SERVICE_SOURCES | LB_SERVICE_LIMIT_FLOWS))) {
		if (service->flags & LB_SERVICE_SOURCES && !(row_epoch & LB_ANSWER_ASKED) && lb_flow_age_epochs(found.word, epoch))
			return LB_ANSWER_ASK;
		told = service->flags & LB_SERVICE_LIMIT_FLOWS ? lb_held_told(found.word, epoch, ends) : 0;
	}
	word = lb_flow_word(hash, (uint16_t)row, epoch, (uint8_t)found.word | (ends ? LB_FLOW_CLOSING : 0) |
				(found.word & LB_FLOW_FRESH ? LB_FLOW_ANSWERED : 0));
	lb_flow_put(&found, word);
	return told ? told << 4 | LB_ANSWER_COUNTS : LB_ANSWER_OURS;
}

/* The first row of the backends with the endpoint that this packet comes from, 0 for none. */
PACKET_INLINE uint32_t lb_endpoint_find(const struct lb_tables *lb, const struct flow *flow)
{
	bool ipv6 = flow->network == FLOW_IPV6;
	struct directory_key key = lb_key(LB_KEY_BACKEND, &flow->source, ipv6, flow->protocol, flow->source_port);
	uint32_t row;

	row = DIRECTORY_FIND(&lb->backends_by_endpoint, LB_REVERSE_DIRECTORY_BITS, &key);
	if (row)
		return row;
	key = lb_key(LB_KEY_BACKEND, &flow->source, ipv6, flow->protocol, (struct be16){0});
	return DIRECTORY_FIND(&lb->backends_by_endpoint, LB_REVERSE_DIRECTORY_BITS, &key);
}

/*
 * Whether the ring and the filter speak for an answer whose flow has no record: the request was taken for one recorded
 * already (lb_filter's odds), or the record had to give way. Returns the flow's hash, 0 for no. verifier: `row_epoch` is row
 * << 32 | epoch, for there are only five arguments.
 */
PACKET_FUNCTION uint64_t lb_answer_presume(const struct lb_tables *lb, const struct lb_rings *rings,
					   const struct lb_filter *filter, const struct flow *flow, uint64_t row_epoch)
{
	uint32_t row = (uint32_t)(row_epoch >> 32), epoch = (uint32_t)row_epoch;
	const struct lb_service *service;
	struct be16 vip_port;
	uint64_t hash, ring_hash;

	if (!lb || !rings || !filter || !flow)
		return 0;
	service = &lb->services[lb->backends[row & (LB_BACKEND_ROWS - 1)].service & (LB_SERVICE_ROWS - 1)];
	vip_port = service->flags & LB_SERVICE_RANGE ? flow->source_port : service->port_first;
	hash = lb_flow_hash(lb->hash_seed, &flow->destination, flow->destination_port, &service->address, vip_port,
			    flow->protocol, flow->network == FLOW_IPV6);
	if (!lb_filter_test(filter, hash, epoch) && !lb_filter_test(filter, hash, epoch - 1))
		return 0;
	ring_hash = service->flags & LB_SERVICE_AFFINITY ? lb_client_hash(lb->hash_seed, &flow->destination, service) : hash;
	return lb_ring_ask(rings, service, ring_hash) == row ? hash : 0;
}

#define LB_REVERSE_REFUSED 0x80000000u /* beside a row: its service does not take the client any more */
#define LB_REVERSE_MEDIA 0x40000000u   /* its service is one of media */

/* The row, and whether its service takes the client that the answer goes to: asked where no record vouches for it. */
PACKET_INLINE uint32_t lb_reverse_judge(const struct lb_view *view, const struct flow *flow, uint32_t row)
{
	uint16_t service_row = view->lb->backends[row & (LB_BACKEND_ROWS - 1)].service;

	if (unlikely(view->lb->services[service_row & (LB_SERVICE_ROWS - 1)].flags & LB_SERVICE_SOURCES) &&
	    lb_source_refuses(view->guards, service_row, &flow->destination))
		return row | LB_REVERSE_REFUSED;
	return row;
}

/*
 * Whose answer this is: the row of the backend that sends it, with the flow's record refreshed; 0 when it answers no flow of
 * ours. Where absence proves nothing, a backend of one service alone is believed.
 */
PACKET_INLINE uint32_t lb_reverse_find(const struct lb_view *view, const struct flow *flow)
{
	uint32_t first = lb_endpoint_find(view->lb, flow), row = first;

	for (uint32_t i = 0; i < LB_SERVICES_PER_ENDPOINT && row; i++) {
		uint32_t next = view->lb->backends[row & (LB_BACKEND_ROWS - 1)].next, answer;

		if (unlikely(view->lb->backends[row & (LB_BACKEND_ROWS - 1)].flags & LB_BACKEND_MEDIA))
			return row | LB_REVERSE_MEDIA;
		answer = lb_answer_find(view->lb, view->flows, flow, (uint64_t)row << 32 | view->epoch);
		if (likely(answer == LB_ANSWER_OURS))
			return row;
		if (unlikely(answer == LB_ANSWER_ASK)) {
			if (lb_reverse_judge(view, flow, row) != row)
				return row | LB_REVERSE_REFUSED;
			answer = lb_answer_find(view->lb, view->flows, flow, LB_ANSWER_ASKED | (uint64_t)row << 32 | view->epoch);
			if (answer == LB_ANSWER_OURS)
				return row;
		}
		if (unlikely((answer & 0xf) == LB_ANSWER_COUNTS)) {
			uint16_t service_row = view->lb->backends[row & (LB_BACKEND_ROWS - 1)].service;

			lb_held_note(view->limiter, view->guards, lb_held_event(answer >> 20, answer >> 4 & 0xffff, service_row),
				     &flow->destination, view->now_ms);
			return row;
		}
		if (answer == LB_ANSWER_UNKNOWN && row == first && next == 0)
			return lb_reverse_judge(view, flow, row);
		row = next;
	}
	row = first;
	for (uint32_t i = 0; i < LB_SERVICES_PER_ENDPOINT && row; i++) {
		uint64_t hash = lb_answer_presume(view->lb, view->rings, view->filter, flow,
						  (uint64_t)row << 32 | view->epoch);

		if (hash) {
			uint32_t judged = lb_reverse_judge(view, flow, row);

			if (judged == row)
				lb_flow_record(view->flows, hash, row, view->epoch,
						 flow->protocol == PROTOCOL_TCP ? LB_FLOW_TCP : 0);
			return judged;
		}
		row = view->lb->backends[row & (LB_BACKEND_ROWS - 1)].next;
	}
	return 0;
}

/* Sends a packet to `address`, rewritten as `action` says; or drops it. Returns the longest packet that fits. */
PACKET_INLINE uint32_t lb_route_send(const struct lb_view *view, const struct flow *flow, const struct address *address,
				     uint32_t ifindex, enum action action, struct decision *decision)
{
	const struct route_row *route;
	struct egress egress;

	if (flow->hop_limit <= 1) {
		lb_drop(decision, DROP_hop_limit_exceeded);
		return LB_MTU_ANY;
	}
	route = route_find(view->routes, address);
	if (!route || route->egress.ifindex == 0) { /* an unreachable route hides the wider one behind it */
		lb_drop(decision, DROP_route_none);
		return LB_MTU_ANY;
	}
	egress = route->egress;
	if (egress.flags & EGRESS_ON_LINK) {
		egress.destination_mac = neighbour_find(view->neighbours, address, neighbour_link(egress.ifindex, egress.vlan));
		if (egress.destination_mac)
			egress.flags |= EGRESS_RESOLVED;
	}
	if (!(egress.flags & EGRESS_RESOLVED)) {
		lb_drop(decision, DROP_neighbour_unresolved);
		decision->flags |= DECISION_EVENT;
		decision->address = *address;
		decision->ifindex = egress.ifindex;
		return LB_MTU_ANY;
	}
	lb_send(decision, flow, &egress, action, ifindex);
	return route->mtu;
}

/* Sends a packet to a client, rewritten as `action` says; or drops it. */
PACKET_INLINE void lb_answer_send_to(const struct lb_view *view, const struct flow *flow, const struct address *client,
				     uint32_t ifindex, enum action action, struct decision *decision)
{
	if (unlikely(lb_length(flow) > lb_route_send(view, flow, client, ifindex, action, decision)))
		decision->flags |= DECISION_MORE; /* lb_too_big_decide() */
}

/* To the client that is its destination. */
PACKET_INLINE void lb_answer_send(const struct lb_view *view, const struct flow *flow, uint32_t ifindex, enum action action,
				  struct decision *decision)
{
	lb_answer_send_to(view, flow, &flow->destination, ifindex, action, decision);
}

/* A packet that may be a backend's answer. Leaves the decision as it is (pass) when it is none. */
PACKET_INLINE void lb_reverse_decide(const struct lb_view *view, const struct flow *flow, uint32_t ifindex,
				     struct decision *decision)
{
	uint32_t backend_row = lb_reverse_find(view, flow);
	uint16_t service_row = view->lb->backends[backend_row & (LB_BACKEND_ROWS - 1)].service;
	const struct lb_service *service = &view->lb->services[service_row & (LB_SERVICE_ROWS - 1)];

	if (backend_row == 0 || service->flags & LB_SERVICE_DIRECT)
		return;
	decision->service = service_row;
	decision->backend = (uint16_t)backend_row;
	if (unlikely(backend_row & LB_REVERSE_MEDIA)) {
		decision->action = ACTION_MEDIA_DOWN;
		decision->flags |= DECISION_MORE;
		return;
	}
	if (unlikely(backend_row & LB_REVERSE_REFUSED)) {
		lb_drop(decision, DROP_source_not_allowed);
		return;
	}
	decision->address = service->address;
	decision->port = service->flags & LB_SERVICE_RANGE ? flow->source_port : service->port_first;
	lb_answer_send(view, flow, ifindex, ACTION_NAT_REVERSE, decision);
}

/*
 * What a rewrite adds to the transport checksum's sum: the addresses, which are in the pseudo header, and the port, which is
 * not. Engines that let hardware or a helper finish checksums must tell them apart.
 */
struct lb_exchange {
	uint64_t pseudo;
	uint64_t direct;
	uint16_t offset; /* of the checksum field in the packet, 0: none to update */
	bool udp;        /* a result of zero is sent as 0xffff */
};

/* Writes link and network header. Returns what the transport header's checksum still needs. */
PACKET_INLINE struct lb_exchange lb_write_network(const struct packet *packet, const struct flow *flow,
						  const struct decision *decision)
{
	uint32_t l3 = (uint32_t)((int32_t)flow->l3_offset + decision->room);
	bool forward = decision->action != ACTION_NAT_REVERSE, nat = decision->action != ACTION_L2_FORWARD;
	uint64_t tags = flow_tag(decision->egress.vlan);
	struct lb_exchange exchange = {0};

	if (flow->network == FLOW_IPV4) {
		struct ipv4_header *ipv4 = packet_header(packet, l3, sizeof(*ipv4));
		uint32_t address = address_ipv4(&decision->address);
		uint64_t header;

		if (!ipv4 || !flow_link_write(packet, &decision->egress, tags, l3, BE16(ETHERTYPE_IPV4)))
			return exchange;
		/* ttl is the low byte of its 16-bit word */
		header = checksum_exchange16(ipv4->ttl, (uint16_t)(ipv4->ttl - 1));
		ipv4->ttl--;
		if (nat) {
			uint32_t old = forward ? ipv4->destination.raw : ipv4->source.raw;

			exchange.pseudo = (uint64_t)(uint32_t)~old + address;
			header += exchange.pseudo;
			if (forward)
				ipv4->destination.raw = address;
			else
				ipv4->source.raw = address;
		}
		ipv4->checksum = checksum_update(ipv4->checksum, header);
	} else {
		struct ipv6_header *ipv6 = packet_header(packet, l3, sizeof(*ipv6));

		if (!ipv6 || !flow_link_write(packet, &decision->egress, tags, l3, BE16(ETHERTYPE_IPV6)))
			return exchange;
		ipv6->hop_limit--;
		if (nat) {
			exchange.pseudo = checksum_exchange_address(forward ? &flow->destination : &flow->source,
								    &decision->address);
			if (forward)
				address_to_wire6(ipv6->destination, &decision->address);
			else
				address_to_wire6(ipv6->source, &decision->address);
		}
	}
	return exchange;
}

/*
 * Writes the port; completes `exchange`. A UDP checksum of zero over IPv4 stays zero: there is none (RFC 768). A later
 * fragment has neither: the checksum of the whole datagram, addresses and all, is in the first one.
 */
PACKET_INLINE void lb_write_transport(const struct packet *packet, const struct flow *flow,
				      const struct decision *decision, struct lb_exchange *exchange)
{
	uint32_t l4 = (uint32_t)((int32_t)flow->l4_offset + decision->room);
	struct be16 *ports = packet_header(packet, l4, 4);
	struct be16 *port;

	if (!ports || unlikely(flow->flags & FLOW_NO_PORTS))
		return;
	port = decision->action == ACTION_NAT_FORWARD ? &ports[1] : &ports[0];
	exchange->direct = checksum_exchange16(port->raw, decision->port.raw);
	*port = decision->port;
	if (flow->protocol == PROTOCOL_UDP) {
		struct udp_header *udp = packet_header(packet, l4, sizeof(*udp));

		if (udp && udp->checksum != 0) {
			exchange->offset = (uint16_t)(l4 + offsetof(struct udp_header, checksum));
			exchange->udp = true;
		}
	} else {
		exchange->offset = (uint16_t)(l4 + offsetof(struct tcp_header, checksum));
	}
}

/* Applies the exchange to the checksum in the packet; engines with a helper for partial checksums do this by it. */
PACKET_INLINE void lb_write_checksum(const struct packet *packet, const struct lb_exchange *exchange)
{
	uint16_t *checksum = packet_header(packet, exchange->offset, sizeof(*checksum));

	if (exchange->offset == 0 || !checksum)
		return;
	*checksum = checksum_update(*checksum, exchange->pseudo + exchange->direct);
	if (*checksum == 0 && exchange->udp)
		*checksum = 0xffff; /* RFC 768: zero would mean "none" */
}

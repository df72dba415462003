/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * ICMP errors (RFC 792, RFC 4443 section 3) about packets of flows, as RFC 5508 section 4 wants them of a translator.
 *
 *     to a virtual IP      something on the way refused an answer: the error goes to the backend whose answer it was, and
 *                          quotes the answer as that backend sent it
 *     from the backends'   something behind this node refused a request: the error goes on to the client, and quotes the
 *     side                 request as the client sent it
 *
 * An error makes no flow and keeps none alive. Its own checksum is updated by what changes, so one that came in wrong goes
 * out wrong, and the receiver drops it.
 */
#pragma once

#include "lb/lb_fast.h"

/*
 * The packet that an error quotes, turned round: as a packet of the other direction of its flow. RFC 792 promises its header and
 * 8 bytes, so the ports are there; nothing behind them is asked for.
 */
PACKET_INLINE enum drop_reason lb_icmp_quote_parse(const struct packet *packet, const struct flow *flow, struct flow *quote)
{
	uint32_t start = flow->l4_offset + (uint32_t)sizeof(struct icmp_header), end = (uint32_t)flow->l4_offset + flow->l4_length;
	const struct udp_header *ports;

	quote->network = flow->network;
	quote->l3_offset = (uint16_t)start;
	if (flow->network == FLOW_IPV4) {
		const struct ipv4_header *ipv4 = packet_header(packet, start, sizeof(*ipv4));
		uint32_t header_length;

		if (!ipv4 || start + sizeof(*ipv4) > end)
			return DROP_icmp_error_malformed;
		header_length = (ipv4->version_ihl & 0xf) * 4u;
		if (ipv4->version_ihl >> 4 != 4 || header_length < sizeof(*ipv4))
			return DROP_icmp_error_malformed;
		if (be16_get(ipv4->fragment) & IPV4_OFFSET_MASK)
			return DROP_icmp_error_unsupported;
		quote->source = address_from_ipv4(ipv4->destination.raw);
		quote->destination = address_from_ipv4(ipv4->source.raw);
		quote->protocol = ipv4->protocol;
		quote->l4_offset = (uint16_t)(start + header_length);
	} else {
		const struct ipv6_header *ipv6 = packet_header(packet, start, sizeof(*ipv6));

		if (!ipv6 || start + sizeof(*ipv6) > end || be32_get(ipv6->version_class_label) >> 28 != 6)
			return DROP_icmp_error_malformed;
		quote->source = address_from_wire6(ipv6->destination);
		quote->destination = address_from_wire6(ipv6->source);
		quote->protocol = ipv6->next_header;
		quote->l4_offset = (uint16_t)(start + sizeof(*ipv6));
		if (flow_parse_ipv6_extensions(packet, quote, end))
			return DROP_icmp_error_malformed;
		if (quote->flags & FLOW_NO_PORTS)
			return DROP_icmp_error_unsupported;
	}
	if (quote->protocol != PROTOCOL_TCP && quote->protocol != PROTOCOL_UDP)
		return DROP_icmp_error_unsupported;
	ports = packet_header(packet, quote->l4_offset, sizeof(*ports));
	if (!ports || quote->l4_offset + sizeof(*ports) > end)
		return DROP_icmp_error_malformed;
	quote->source_port = ports->destination_port;
	quote->destination_port = ports->source_port;
	return DROP_NONE;
}

/* The backend that the record of a client's flow names, 0 for none. Changes nothing. */
PACKET_FUNCTION uint32_t lb_icmp_recorded(const struct lb_tables *lb, struct lb_flows *flows, const struct flow *flow,
					  uint64_t service_epoch)
{
	uint32_t service = (uint32_t)(service_epoch >> 32), row;
	const struct lb_backend *backend;
	struct lb_flow_place found;
	uint64_t hash;

	if (!lb || !flows || !flow)
		return 0;
	hash = lb_flow_hash(lb->hash_seed, &flow->source, flow->source_port, &flow->destination, flow->destination_port,
			    flow->protocol, flow->network == FLOW_IPV6);
	found = lb_flow_find(flows, hash, 0, (uint32_t)service_epoch);
	if (!found.found)
		return 0;
	row = lb_flow_backend(found.word);
	backend = &lb->backends[row & (LB_BACKEND_ROWS - 1)];
	return backend->service == service && load_once(backend->state) != LB_BACKEND_FREE ? row : 0;
}

/* The same of a flow without a record, for which ring and filter speak (see lb_answer_presume()). */
PACKET_FUNCTION uint32_t lb_icmp_presumed(const struct lb_tables *lb, const struct lb_rings *rings,
					  const struct lb_filter *filter, const struct flow *flow, uint64_t service_epoch)
{
	uint32_t epoch = (uint32_t)service_epoch;
	const struct lb_service *service;
	uint64_t hash, ring_hash;
	uint16_t slot;

	if (!lb || !rings || !filter || !flow)
		return 0;
	service = &lb->services[(uint32_t)(service_epoch >> 32) & (LB_SERVICE_ROWS - 1)];
	hash = lb_flow_hash(lb->hash_seed, &flow->source, flow->source_port, &flow->destination, flow->destination_port,
			    flow->protocol, flow->network == FLOW_IPV6);
	if (!lb_filter_test(filter, hash, epoch) && !lb_filter_test(filter, hash, epoch - 1))
		return 0;
	ring_hash = service->flags & LB_SERVICE_AFFINITY ? lb_client_hash(lb->hash_seed, &flow->source, service) : hash;
	slot = lb_ring_ask(rings, service, ring_hash);
	return slot & LB_SLOT_MOVED ? 0 : slot;
}

PACKET_FUNCTION uint32_t lb_icmp_service(const struct lb_tables *lb, const struct flow *flow)
{
	uint32_t row;

	if (!lb || !flow)
		return 0;
	row = lb_service_find(lb, flow);
	return row ? row : lb_service_find_range(lb, flow);
}

PACKET_FUNCTION uint32_t lb_icmp_endpoint(const struct lb_tables *lb, const struct flow *flow)
{
	return lb && flow ? lb_endpoint_find(lb, flow) : 0;
}

/* Whether the backend of `row` has the flow that this answer of it is of. Changes nothing. */
PACKET_FUNCTION bool lb_icmp_answers(const struct lb_tables *lb, struct lb_flows *flows, const struct flow *flow, uint32_t row,
				     uint32_t epoch)
{
	const struct lb_service *service;
	struct lb_flow_place found;
	struct be16 vip_port;
	uint64_t hash;

	if (!lb || !flows || !flow)
		return false;
	service = &lb->services[lb->backends[row & (LB_BACKEND_ROWS - 1)].service & (LB_SERVICE_ROWS - 1)];
	vip_port = service->flags & LB_SERVICE_RANGE ? flow->source_port : service->port_first;
	hash = lb_flow_hash(lb->hash_seed, &flow->destination, flow->destination_port, &service->address, vip_port,
			    flow->protocol, flow->network == FLOW_IPV6);
	found = lb_flow_find(flows, hash, 0, epoch);
	return found.found && lb_flow_backend(found.word) == row;
}

PACKET_FUNCTION uint64_t lb_icmp_hash(const struct lb_tables *lb, const struct flow *flow)
{
	if (!lb || !flow)
		return 0;
	return lb_flow_hash(lb->hash_seed, &flow->source, flow->source_port, &flow->destination, flow->destination_port,
			    flow->protocol, flow->network == FLOW_IPV6);
}

/* An error to a virtual IP. `ifindex`: where it came in. */
PACKET_INLINE void lb_icmp_forward_decide(const struct lb_view *view, const struct packet *packet, struct flow *flow,
					  uint32_t ifindex, struct decision *decision)
{
	const struct lb_service *service;
	const struct lb_backend *backend;
	struct flow quote = {0};
	enum drop_reason reason = lb_icmp_quote_parse(packet, flow, &quote);
	enum action action = ACTION_ICMP_FORWARD;
	uint32_t service_row, row;

	/* RFC 5508 section 4.2 speaks of what the quoted packet's source sent: it is the one that the error goes to. */
	if (!reason && !address_equal(&quote.destination, &flow->destination))
		reason = DROP_icmp_error_malformed;
	if (reason) {
		lb_drop(decision, reason);
		return;
	}
	service_row = lb_icmp_service(view->lb, &quote);
	row = service_row ? lb_icmp_recorded(view->lb, view->flows, &quote, (uint64_t)service_row << 32 | view->epoch) : 0;
	if (service_row && row == 0)
		row = lb_icmp_presumed(view->lb, view->rings, view->filter, &quote, (uint64_t)service_row << 32 | view->epoch);
	decision->service = (uint16_t)service_row;
	decision->backend = (uint16_t)row;
	service = &view->lb->services[service_row & (LB_SERVICE_ROWS - 1)];
	backend = &view->lb->backends[row & (LB_BACKEND_ROWS - 1)];
	if (row == 0)
		reason = DROP_icmp_error_flow_unknown;
	else if (!(backend->egress.flags & EGRESS_RESOLVED))
		reason = DROP_backend_unresolved;
	else if (flow->hop_limit <= 1)
		reason = DROP_hop_limit_exceeded;
	if (reason) {
		lb_drop(decision, reason);
		return;
	}
	flow->quote_words = (uint8_t)((uint16_t)(quote.l4_offset - quote.l3_offset) / 4);
	decision->address = backend->address;
	decision->port = backend->port.raw ? backend->port : quote.destination_port;
	if (backend->tunnel && flow->flags & FLOW_UNWRAPPED) {
		lb_drop(decision, DROP_tunnel_no_local_backend);
		return;
	}
	if (backend->tunnel) { /* as it is: whoever unwraps it holds the virtual IP, or does as this node does */
		lb_encapsulate(decision, flow, backend, lb_icmp_hash(view->lb, &quote), ifindex);
		return;
	}
	if (service->flags & LB_SERVICE_DIRECT)
		action = ACTION_L2_FORWARD;
	lb_send(decision, flow, &backend->egress, action, ifindex);
}

/* An error to somebody else, which may be a client of ours. Whose it is not passes. */
PACKET_INLINE void lb_icmp_reverse_decide(const struct lb_view *view, const struct packet *packet, struct flow *flow,
					  uint32_t ifindex, struct decision *decision)
{
	struct flow quote = {0};
	const struct lb_service *service;
	uint32_t row = 0;

	if (lb_icmp_quote_parse(packet, flow, &quote) == DROP_NONE && address_equal(&quote.destination, &flow->destination))
		row = lb_icmp_endpoint(view->lb, &quote);
	for (uint32_t i = 0; i < LB_SERVICES_PER_ENDPOINT && row; i++) {
		if (lb_icmp_answers(view->lb, view->flows, &quote, row, view->epoch))
			break;
		row = view->lb->backends[row & (LB_BACKEND_ROWS - 1)].next;
		if (i == LB_SERVICES_PER_ENDPOINT - 1)
			row = 0;
	}
	decision->service = view->lb->backends[row & (LB_BACKEND_ROWS - 1)].service;
	decision->backend = (uint16_t)row;
	service = &view->lb->services[decision->service & (LB_SERVICE_ROWS - 1)];
	if (row == 0 || service->flags & LB_SERVICE_DIRECT) {
		*decision = (struct decision){0};
		return;
	}
	flow->quote_words = (uint8_t)((uint16_t)(quote.l4_offset - quote.l3_offset) / 4);
	decision->address = service->address;
	decision->port = service->flags & LB_SERVICE_RANGE ? quote.source_port : service->port_first;
	lb_answer_send(view, flow, ifindex, ACTION_ICMP_REVERSE, decision);
	decision->flags &= (uint8_t)~DECISION_MORE; /* no errors about errors (RFC 1122 section 3.2.2) */
}

/* The rest of the decision about an ICMP error; `decision->action` says which way it goes. */
PACKET_INLINE void lb_icmp_decide(const struct lb_view *view, const struct packet *packet, struct flow *flow, uint32_t ifindex,
				  struct decision *decision)
{
	bool forward = decision->action == ACTION_ICMP_FORWARD;

	*decision = (struct decision){0};
	if (forward)
		lb_icmp_forward_decide(view, packet, flow, ifindex, decision);
	else
		lb_icmp_reverse_decide(view, packet, flow, ifindex, decision);
}

/* Each puts a value in the place of another, and returns what that adds to a sum over it. */
PACKET_INLINE uint64_t lb_icmp_put16(uint16_t *place, uint16_t value)
{
	uint64_t exchange = checksum_exchange16(*place, value);

	*place = value;
	return exchange;
}

PACKET_INLINE uint64_t lb_icmp_put_ipv4(struct be32 *place, uint32_t address)
{
	uint64_t exchange = (uint64_t)(uint32_t)~place->raw + address;

	place->raw = address;
	return exchange;
}

PACKET_INLINE uint64_t lb_icmp_put_ipv6(struct be32 place[4], const struct address *address)
{
	struct address before = address_from_wire6(place);

	address_to_wire6(place, address);
	return checksum_exchange_address(&before, address);
}

/*
 * Link header, network header, and the network header of the quoted packet, in which the same address takes the other's
 * place. `ret_pseudo`: what the quoted addresses' change adds to a sum. Returns what the message's sum gains.
 */
PACKET_INLINE uint64_t lb_icmp_write_network(const struct packet *packet, const struct flow *flow,
					     const struct decision *decision, uint32_t l3, uint32_t quoted, uint64_t *ret_pseudo)
{
	bool forward = decision->action == ACTION_ICMP_FORWARD;
	uint64_t tags = flow_tag(decision->egress.vlan), outer = 0;

	*ret_pseudo = 0;
	if (flow->network == FLOW_IPV4) {
		struct ipv4_header *ipv4 = packet_header(packet, l3, sizeof(*ipv4));
		struct ipv4_header *quote = packet_header(packet, quoted, sizeof(*quote));
		uint32_t address = address_ipv4(&decision->address);

		if (!ipv4 || !quote || !flow_link_write(packet, &decision->egress, tags, l3, BE16(ETHERTYPE_IPV4)))
			return 0;
		outer = checksum_exchange16(ipv4->ttl, (uint16_t)(ipv4->ttl - 1));
		ipv4->ttl--;
		if (forward)
			outer += lb_icmp_put_ipv4(&ipv4->destination, address);
		else if (ipv4->source.raw == quote->destination.raw)
			outer += lb_icmp_put_ipv4(&ipv4->source, address);
		ipv4->checksum = checksum_update(ipv4->checksum, outer);
		*ret_pseudo = lb_icmp_put_ipv4(forward ? &quote->source : &quote->destination, address);
		return *ret_pseudo + lb_icmp_put16(&quote->checksum, checksum_update(quote->checksum, *ret_pseudo));
	} else {
		struct ipv6_header *ipv6 = packet_header(packet, l3, sizeof(*ipv6));
		struct ipv6_header *quote = packet_header(packet, quoted, sizeof(*quote));
		struct address refused;

		if (!ipv6 || !quote || !flow_link_write(packet, &decision->egress, tags, l3, BE16(ETHERTYPE_IPV6)))
			return 0;
		refused = address_from_wire6(quote->destination);
		ipv6->hop_limit--;
		if (forward)
			outer = lb_icmp_put_ipv6(ipv6->destination, &decision->address);
		else if (address_equal(&flow->source, &refused)) /* by the backend itself */
			outer = lb_icmp_put_ipv6(ipv6->source, &decision->address);
		*ret_pseudo = lb_icmp_put_ipv6(forward ? quote->source : quote->destination, &decision->address);
		return outer + *ret_pseudo; /* ICMPv6 sums a pseudo header too (RFC 4443 section 2.3) */
	}
}

/* Writes an ICMP error as decided. `tcp`: what the quoted packet is, otherwise UDP. */
PACKET_INLINE void lb_icmp_write(const struct packet *packet, const struct flow *flow, const struct decision *decision, bool tcp)
{
	uint32_t l3 = (uint32_t)((int32_t)flow->l3_offset + decision->room);
	uint32_t l4 = (uint32_t)((int32_t)flow->l4_offset + decision->room);
	uint32_t quoted = l4 + (uint32_t)sizeof(struct icmp_header), ports = quoted + 4u * flow->quote_words;
	struct icmp_header *icmp = packet_header(packet, l4, sizeof(*icmp));
	struct udp_header *udp = packet_header(packet, ports, sizeof(*udp));
	uint64_t message, pseudo, direct;

	if (!icmp || !udp)
		return;
	message = lb_icmp_write_network(packet, flow, decision, l3, quoted, &pseudo);
	direct = lb_icmp_put16(decision->action == ACTION_ICMP_FORWARD ? &udp->source_port.raw : &udp->destination_port.raw,
			       decision->port.raw);
	message += direct;
	if (tcp) {
		uint16_t *checksum = packet_header(packet, ports + (uint32_t)offsetof(struct tcp_header, checksum), 2);

		/* With 8 bytes of it, as RFC 792 says, a quoted TCP header has no checksum. */
		if (checksum && ports + offsetof(struct tcp_header, checksum) + 2 <= l4 + flow->l4_length)
			message += lb_icmp_put16(checksum, checksum_update(*checksum, pseudo + direct));
	} else if (udp->checksum != 0) {
		uint16_t checksum = checksum_update(udp->checksum, pseudo + direct);

		message += lb_icmp_put16(&udp->checksum, checksum ? checksum : 0xffff);
	}
	icmp->checksum = checksum_update(icmp->checksum, message);
}

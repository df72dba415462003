/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/edge_explain.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/lib/address_text.h"
#include "base/lib/verdict_text.h"
#include "edge/edge_fast.h"

#define ROOM_MAX 128u /* more than any decision asks for */

/* What is being explained. */
struct story {
	const struct edge_tables *tables;
	const struct edge_names *names;
	struct edge_explanation *explanation;
	const struct flow *flow;
	const struct packet *packet;
	uint32_t ifindex;
	uint32_t epoch;
};

static void step(struct story *story, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void step(struct story *story, const char *format, ...)
{
	struct edge_explanation *explanation = story->explanation;
	va_list arguments;
	char text[512];

	if (explanation->step_count == EDGE_EXPLAIN_STEPS)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	explanation->steps[explanation->step_count++] = strdup(text);
}

static const char *name_or(const char *name, const char *otherwise)
{
	return name ? name : otherwise;
}

static const char *interface_name(const struct story *story, uint32_t ifindex)
{
	return name_or(story->names->interface ? story->names->interface(story->names->context, ifindex) : NULL,
		       "an interface that is gone");
}

static const char *service_name(const struct story *story, uint16_t row)
{
	return name_or(story->names->service ? story->names->service(story->names->context, row) : NULL,
		       "a service that is gone");
}

static const char *backend_name(const struct story *story, uint16_t row)
{
	return name_or(story->names->backend ? story->names->backend(story->names->context, row) : NULL,
		       "a backend that is gone");
}

static const char *protocol_text(uint8_t protocol)
{
	switch (protocol) {
	case PROTOCOL_TCP:
		return "TCP";
	case PROTOCOL_UDP:
		return "UDP";
	case PROTOCOL_ICMP:
		return "ICMP";
	case PROTOCOL_ICMPV6:
		return "ICMPv6";
	default:
		return "other";
	}
}

static void tell_packet(struct story *story, size_t length, size_t wire_length)
{
	const struct flow *flow = story->flow;
	char source[ADDRESS_TEXT_SIZE], destination[ADDRESS_TEXT_SIZE];
	bool ports = flow->protocol == PROTOCOL_TCP || flow->protocol == PROTOCOL_UDP;

	if (wire_length > length)
		step(story, "A frame of %zu bytes, of which the first %zu are known, came in on %s.", wire_length, length,
		     interface_name(story, story->ifindex));
	else
		step(story, "A frame of %zu bytes came in on %s.", length, interface_name(story, story->ifindex));
	if (flow->vlan)
		step(story, "It carries the VLAN tag %u.", flow->vlan);
	if (flow->network == FLOW_ARP) {
		step(story, "It is an ARP packet.");
		return;
	}
	if (flow->network != FLOW_IPV4 && flow->network != FLOW_IPV6)
		return;
	if (flow->flags & FLOW_UNWRAPPED)
		step(story, "Another node wrapped it for this one; what follows is about the packet inside.");
	address_format(&flow->source, source);
	address_format(&flow->destination, destination);
	if (ports && !(flow->flags & FLOW_NO_PORTS))
		step(story, "It is %s over %s from %s port %u to %s port %u%s.", protocol_text(flow->protocol),
		     flow->network == FLOW_IPV4 ? "IPv4" : "IPv6", source, be16_get(flow->source_port), destination,
		     be16_get(flow->destination_port), flow->flags & FLOW_FRAGMENT ? ", the first fragment" : "");
	else
		step(story, "It is %s (protocol %u) over %s from %s to %s%s.", protocol_text(flow->protocol), flow->protocol,
		     flow->network == FLOW_IPV4 ? "IPv4" : "IPv6", source, destination,
		     flow->flags & FLOW_FRAGMENT ? ", a fragment" : "");
}

static void tell_link(struct story *story, const struct packet *packet)
{
	const struct link_row *link = link_find(story->tables->links, story->ifindex, story->flow->vlan);
	const struct ethernet_header *ethernet = packet_header(packet, 0, sizeof(*ethernet));

	if (!link)
		step(story, "The packet program does not serve this interface%s: the frame passes to the host.",
		     story->flow->vlan ? " with this VLAN" : "");
	else if (ethernet && !mac_is_group(ethernet->destination) && mac_word(ethernet->destination) != link->mac)
		step(story, "Its destination hardware address is another machine's.");
}

static const char *backend_state_text(uint16_t row, const struct lb_tables *lb)
{
	switch (lb->backends[row & (LB_BACKEND_ROWS - 1)].state) {
	case LB_BACKEND_UP:
		return "takes new flows";
	case LB_BACKEND_DRAINING:
		return "is draining: it keeps its flows and gets no new ones";
	case LB_BACKEND_DOWN:
		return "is down";
	default:
		return "is gone";
	}
}

static unsigned int seconds_of(uint32_t epochs)
{
	return epochs * EDGE_EPOCH_MS / 1000;
}

/* Why a record's backend is not the flow's any more: the rules of lb_flow_stays(), in words. */
static void tell_record_void(struct story *story, const struct lb_service *service, uint64_t word, bool begins)
{
	const struct lb_backend *backend = &story->tables->lb->backends[lb_flow_backend(word) & (LB_BACKEND_ROWS - 1)];
	const char *why;

	if (backend->state == LB_BACKEND_FREE || &story->tables->lb->services[backend->service & (LB_SERVICE_ROWS - 1)] != service)
		why = "its backend is gone";
	else if (begins && word & LB_FLOW_CLOSING)
		why = "that connection was closed, and this packet begins another";
	else if (backend->state == LB_BACKEND_DOWN)
		why = "its backend is down";
	else
		why = "it was silent for longer than the service's idle time";
	step(story, "The record does not hold any more, because %s: the flow begins anew.", why);
}

/* A flow that begins, of a client that may have a backend already. */
static void tell_client(struct story *story, const struct lb_service *service, uint64_t client_hash)
{
	struct lb_flow_place found = lb_flow_find(story->tables->flows, client_hash, LB_FLOW_CLIENT, story->epoch);
	uint16_t row = lb_flow_backend(found.word);

	if (!found.found)
		return;
	step(story, "By session affinity the client has the backend %s, which %s; last used about %u seconds ago, kept for %u.",
	     backend_name(story, row), backend_state_text(row, story->tables->lb),
	     seconds_of(lb_flow_age_epochs(found.word, story->epoch)), seconds_of(service->affinity_epochs));
}

/* What is recorded of the flow, and whether it counts. `asked`: this packet has its record looked up. */
static void tell_record(struct story *story, uint16_t service_row, uint64_t hash, uint64_t client_hash, bool asked)
{
	const struct lb_service *service = &story->tables->lb->services[service_row & (LB_SERVICE_ROWS - 1)];
	const struct lb_flow_place found = lb_flow_find(story->tables->flows, hash, 0, story->epoch);
	const struct flow *flow = story->flow;
	bool begins = flow->protocol == PROTOCOL_TCP && (flow->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	uint16_t row = lb_flow_backend(found.word);

	if (found.found) {
		step(story, "The flow is recorded with the backend %s, last confirmed about %u seconds ago%s.", backend_name(story, row),
		     seconds_of(lb_flow_age_epochs(found.word, story->epoch)),
		     found.word & LB_FLOW_FRESH ? "; its client has not shown more than its beginning" : "");
		if (!asked)
			step(story, "The record need not be looked at: the ring's slot has had no other backend.");
		else if (lb_flow_stays(story->tables->lb, service_row, found.word, begins, story->epoch))
			step(story, "The record decides: a flow stays with its backend, which %s.",
			     backend_state_text(row, story->tables->lb));
		else
			tell_record_void(story, service, found.word, begins);
	} else if (asked && service->flags & LB_SERVICE_HOPS && flow->protocol == PROTOCOL_TCP && !(flow->tcp_flags & TCP_SYN)) {
		uint16_t before = lb_ring_before(story->tables->rings, service, client_hash ? client_hash : hash);

		step(story, "No record of this flow exists here, and it does not begin with this packet.");
		if (before)
			step(story, "The ring's slot had the backend %s before, which may have it.", backend_name(story, before));
	} else if (asked) {
		step(story, "No record of this flow exists: it begins now.");
	} else {
		step(story, "The flow counts as recorded already, though its record has given way to others: the ring decides.");
	}
	if (client_hash && asked &&
	    !(found.found && lb_flow_stays(story->tables->lb, service_row, found.word, begins, story->epoch)))
		tell_client(story, service, client_hash);
}

static void tell_flow(struct story *story, uint16_t service_row)
{
	const struct lb_tables *lb = story->tables->lb;
	const struct lb_service *service = &lb->services[service_row & (LB_SERVICE_ROWS - 1)];
	const struct flow *flow = story->flow;
	uint16_t chosen = story->explanation->decision.backend;
	uint64_t hash = lb_flow_hash(lb->hash_seed, &flow->source, flow->source_port, &flow->destination,
				     flow->destination_port, flow->protocol, flow->network == FLOW_IPV6);
	uint64_t client_hash = service->flags & LB_SERVICE_AFFINITY ? lb_client_hash(lb->hash_seed, &flow->source, service) : 0;
	uint64_t ring_hash = client_hash ? client_hash : hash;
	uint32_t slots = (uint32_t)service->ring;
	uint16_t slot = lb_ring_ask(story->tables->rings, service, ring_hash);
	bool asked = slot & LB_SLOT_MOVED || flow->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST) ||
		     !lb_filter_test(story->tables->filter, hash, story->epoch);

	if (slots == 0)
		step(story, "The service has no backend that takes new flows.");
	else
		step(story, "By %s it has slot %u of its ring (%u slots), which names the backend %s%s.",
		     client_hash ? "the client's address" : "the flow's addresses and ports", lb_ring_slot(ring_hash, slots), slots,
		     backend_name(story, slot & LB_SLOT_BACKEND),
		     slot & LB_SLOT_MOVED ? "; the slot had another backend before, so the flow's record is asked" : "");
	tell_record(story, service_row, hash, client_hash, asked);
	if (chosen)
		step(story, "So it goes to the backend %s, which %s.", backend_name(story, chosen), backend_state_text(chosen, lb));
}

/* How an answer's client is reached. */
static void tell_route(struct story *story)
{
	const struct route_row *route = route_find(story->tables->routes, &story->flow->destination);
	char client[ADDRESS_TEXT_SIZE];

	if (!route || !route->egress.ifindex)
		return;
	step(story, "The client %s is reached by %s, %s.", address_format(&story->flow->destination, client),
	     interface_name(story, route->egress.ifindex), route->egress.flags & EGRESS_ON_LINK ? "on its link" : "through a router");
}

/* Why nobody took a packet. */
static void tell_pass(struct story *story)
{
	const struct flow *flow = story->flow;
	char destination[ADDRESS_TEXT_SIZE], source[ENDPOINT_TEXT_SIZE];

	if ((flow->network == FLOW_IPV4 || flow->network == FLOW_IPV6) &&
	    !vip_find(story->tables->vips, &flow->destination, flow->network == FLOW_IPV6)) {
		step(story, "%s is no virtual IP of this node.", address_format(&flow->destination, destination));
		if ((flow->protocol == PROTOCOL_TCP || flow->protocol == PROTOCOL_UDP) && !(flow->flags & FLOW_NO_PORTS))
			step(story, "Nor is it an answer: %s is no backend with a flow to this address and port.",
			     endpoint_format(&flow->source, be16_get(flow->source_port), source));
	}
	step(story, "No function takes it: it passes to the host's network stack unchanged.");
}

static void tell_limit(struct story *story, const struct lb_rate *rate, const char *what)
{
	double each_second = rate->cost ? 1000.0 * rate->gain / rate->cost : 0;

	if (rate->cost)
		step(story, "The service allows %s %.4g a second and %u at once; whether this packet would be within that depends on what came before.",
		     what, each_second, rate->full / rate->cost);
}

static void tell_guards(struct story *story, uint16_t service_row)
{
	const struct lb_service *service = &story->tables->lb->services[service_row & (LB_SERVICE_ROWS - 1)];
	const struct lb_limit *limit = &story->tables->guards->limits[service_row & (LB_SERVICE_ROWS - 1)];
	char source[ADDRESS_TEXT_SIZE];

	if (service->flags & LB_SERVICE_LIMIT_PACKETS)
		tell_limit(story, &limit->rates[LB_LIMIT_CLIENT_PACKETS], "each client packets:");
	if (service->flags & LB_SERVICE_SOURCES)
		step(story, "By its lists of sources the service %s %s.",
		     lb_source_refuses(story->tables->guards, service_row, &story->flow->source) ? "does not take" : "takes",
		     address_format(&story->flow->source, source));
	if (service->flags & LB_SERVICE_LIMIT_FLOWS) {
		tell_limit(story, &limit->rates[LB_LIMIT_CLIENT_FLOWS], "each client new flows:");
		tell_limit(story, &limit->rates[LB_LIMIT_ALL_FLOWS], "all clients together new flows:");
		if (limit->flows_max)
			step(story, "The service allows %u recorded flows and has about %llu.", limit->flows_max,
			     (unsigned long long)story->tables->limiter->flows[service_row & (LB_SERVICE_ROWS - 1)]);
		if (limit->client_flows_max)
			step(story, "The service allows each client %u recorded flows; one that is silent counts less and less.",
			     limit->client_flows_max);
	}
}

static void tell_quic(struct story *story, uint16_t service_row)
{
	const struct lb_service *service = &story->tables->lb->services[service_row & (LB_SERVICE_ROWS - 1)];
	uint32_t length = story->tables->guards->limits[service_row & (LB_SERVICE_ROWS - 1)].quic_server_length, backend;
	struct lb_quic_id id;

	if (!(service->flags & LB_SERVICE_QUIC))
		return;
	id = lb_quic_read(story->packet, story->flow->l4_offset, length);
	backend = id.present ? lb_quic_find(story->tables->lb, story->tables->guards, id.server, service_row, id.config) : 0;
	if (backend)
		step(story, "Its QUIC connection id names the backend %s, which counts for more than that.",
		     backend_name(story, (uint16_t)backend));
	else
		step(story, "%s", id.present ? "Its QUIC connection id names no live backend." : "It has no QUIC connection id that could name a backend.");
}

static void tell_egress(struct story *story)
{
	const struct decision *decision = &story->explanation->decision;
	char mac_text[MAC_TEXT_SIZE];
	uint8_t mac[6];

	mac_store(mac, decision->egress.destination_mac);
	step(story, "It leaves by %s to the hardware address %s%s.", interface_name(story, decision->ifindex),
	     mac_format(mac, mac_text),
	     decision->egress.flags & EGRESS_VIA_STACK ? ", by way of the kernel's redirect to a local workload" : "");
}

/* Of an ICMP error it is the quoted packet's flow that counts. */
static void tell_error(struct story *story)
{
	const struct decision *decision = &story->explanation->decision;

	if (decision->backend == 0)
		step(story, "It is an ICMP error about an answer of the service %s, of no flow that is known.",
		     service_name(story, decision->service));
	else
		step(story, "It is an ICMP error about a packet between a client and the backend %s of the service %s.",
		     backend_name(story, decision->backend), service_name(story, decision->service));
}

/* An answer that cannot go on has no action that would tell it from a request. */
static bool is_dropped_answer(const struct story *story, const struct decision *decision)
{
	const struct lb_tables *lb = story->tables->lb;

	return decision->verdict == VERDICT_DROP && decision->backend &&
	       address_equal(&lb->backends[decision->backend & (LB_BACKEND_ROWS - 1)].address, &story->flow->source) &&
	       !address_equal(&lb->services[decision->service & (LB_SERVICE_ROWS - 1)].address, &story->flow->destination);
}

static uint32_t service_flags(const struct story *story)
{
	return edge_service_flags(story->tables, story->explanation->decision.service);
}

/* A call's packet: it goes by its session, neither by a ring nor by a flow's record. */
static void tell_media(struct story *story)
{
	const struct decision *decision = &story->explanation->decision;
	const struct lb_service *service = &story->tables->lb->services[decision->service & (LB_SERVICE_ROWS - 1)];
	bool up = address_equal(&service->address, &story->flow->destination);

	if (up) {
		step(story, "It is for the service %s, which carries calls.", service_name(story, decision->service));
		tell_guards(story, decision->service);
	} else if (decision->session) {
		step(story, "It comes from the backend %s of the service %s, which carries calls.",
		     backend_name(story, decision->backend), service_name(story, decision->service));
	} else {
		step(story, "It comes from a backend of the service %s, which carries calls, to nobody who has one there.",
		     service_name(story, decision->service));
		return;
	}
	if (decision->action == ACTION_STUN_ANSWER && decision->address.word[0])
		step(story, "It is a STUN Binding request of nobody's, with attributes that must be understood and are not: an error says which (420).");
	else if (decision->action == ACTION_STUN_ANSWER)
		step(story, "It is a STUN Binding request of nobody's: it is answered with the address that it came from.");
	else if (decision->session)
		step(story, "It belongs to the session @%u, whose agent is the backend %s, which %s; `selvage session show @%u` tells more.",
		     decision->session, backend_name(story, decision->backend), backend_state_text(decision->backend, story->tables->lb),
		     decision->session);
	else
		step(story, "It belongs to no session that is known; one begins with a STUN check whose user fragment is registered or names its backend.");
	if (decision->session && (decision->verdict == VERDICT_TX || decision->verdict == VERDICT_REDIRECT) && !up)
		tell_route(story);
}

/* What the cache holds changes too fast to be told of here. */
static void tell_dns(struct story *story)
{
	const struct decision *decision = &story->explanation->decision;
	const struct lb_service *service = &story->tables->lb->services[decision->service & (LB_SERVICE_ROWS - 1)];
	char address[ENDPOINT_TEXT_SIZE];

	step(story, "It is for the DNS address %s.", endpoint_format(&service->address, be16_get(service->port_first), address));
	tell_guards(story, decision->service);
	if (decision->verdict != VERDICT_PASS)
		return;
	if (decision->action == ACTION_DNS)
		step(story, "What the cache can answer exactly is answered at once; other queries pass to the resolver process. `selvage dns lookup` shows what it has of a name.");
	else
		step(story, "Only whole queries over UDP are the cache's: it passes to the resolver process.");
}

/* A packet of a service of lb's. */
static void tell_balanced(struct story *story)
{
	const struct decision *decision = &story->explanation->decision;

	step(story, "It is for the service %s.", service_name(story, decision->service));
	if (story->flow->flags & FLOW_NO_PORTS) {
		step(story, "It has no ports: it follows its datagram's first fragment to the backend %s.",
		     backend_name(story, decision->backend));
		return;
	}
	tell_guards(story, decision->service);
	tell_flow(story, decision->service);
	tell_quic(story, decision->service);
}

static void tell_decision(struct story *story)
{
	const struct decision *decision = &story->explanation->decision;
	char address[ENDPOINT_TEXT_SIZE];

	if (decision->service && edge_is_icmp_error(story->flow)) {
		tell_error(story);
	} else if (decision->service && service_flags(story) & LB_SERVICE_MEDIA) {
		tell_media(story);
	} else if (decision->service && service_flags(story) & LB_SERVICE_DNS) {
		tell_dns(story);
	} else if (decision->service && is_dropped_answer(story, decision)) {
		step(story, "It is an answer of the backend %s of %s.", backend_name(story, decision->backend),
		     service_name(story, decision->service));
		tell_route(story);
	} else if (decision->service && decision->action != ACTION_NAT_REVERSE) {
		tell_balanced(story);
	}
	endpoint_format(&decision->address, be16_get(decision->port), address);
	/* What is dropped may have the action yet that was to come. */
	switch (decision->verdict == VERDICT_DROP ? ACTION_NONE : decision->action) {
	case ACTION_ARP_REPLY:
		step(story, "It asks for a virtual IP of this node, and is answered with the interface's hardware address.");
		return;
	case ACTION_ND_ADVERTISE:
		step(story, "It solicits a virtual IP of this node, and is answered by an advertisement.");
		return;
	case ACTION_ECHO_REPLY:
		step(story, "It is an echo request to a virtual IP of this node, and is answered.");
		return;
	case ACTION_NAT_FORWARD:
		step(story, "Its destination becomes %s; the client's address is kept.", address);
		tell_egress(story);
		return;
	case ACTION_MEDIA_UP:
		step(story, "Its destination becomes %s; its source becomes the one that the agent knows the client by.", address);
		tell_egress(story);
		return;
	case ACTION_MEDIA_DOWN:
		step(story, "It goes to the client where it is now, %s; its source becomes the service's address and port.", address);
		tell_egress(story);
		return;
	case ACTION_STUN_ANSWER:
	case ACTION_DNS:
		return;
	case ACTION_NAT_REVERSE:
		if (decision->session) {
			step(story, "Its source becomes %s.", address);
			tell_egress(story);
			return;
		}
		step(story, "It is an answer of the backend %s of %s: its source becomes %s.",
		     backend_name(story, decision->backend), service_name(story, decision->service), address);
		tell_route(story);
		tell_egress(story);
		return;
	case ACTION_L2_FORWARD:
		step(story, "It goes to the backend %s unchanged but for the hardware addresses; the backend answers the client itself.",
		     backend_name(story, decision->backend));
		tell_egress(story);
		return;
	case ACTION_ICMP_FORWARD:
		step(story, "It goes to the backend, and the packet that it quotes becomes what the backend sent: from %s.", address);
		tell_egress(story);
		return;
	case ACTION_ICMP_REVERSE:
		step(story, "It goes on to the client, and the packet that it quotes becomes what the client sent: to %s.", address);
		tell_egress(story);
		return;
	case ACTION_ENCAPSULATE:
		address_format(&decision->address, address);
		step(story, "It goes to the backend %s wrapped in another packet, to %s; who unwraps it answers the client itself.",
		     backend_name(story, decision->backend), address);
		tell_egress(story);
		return;
	case ACTION_ENCAPSULATE_HOP:
		address_format(&decision->address, address);
		step(story, "Nothing is known of its flow here, and the ring has changed: it goes to the node of the backend %s in GUE, and "
			    "names %s for the case that the flow is not known there either.",
		     backend_name(story, decision->backend), address);
		tell_egress(story);
		return;
	case ACTION_PASS_ON:
		address_format(&decision->address, address);
		step(story, "It lies in GUE of another node, and its flow is not known here: it is passed on to the second hop that it names, %s.",
		     address);
		tell_egress(story);
		return;
	case ACTION_TOO_BIG:
		step(story, "It is longer than the link that it would leave by takes: its sender is told that %u bytes pass.",
		     be16_get(decision->port));
		return;
	default:
		break;
	}
	if (decision->verdict == VERDICT_DROP) {
		step(story, "It is dropped (%s): %s", drop_name(decision->reason), drop_sentence(decision->reason));
		step(story, "What to do: %s", drop_advice(decision->reason));
	} else if (decision->verdict == VERDICT_HOLD) {
		step(story, "It came before its datagram's first fragment, which has the ports: it is kept until that one comes, "
			    "for a second at most.");
	} else if (decision->verdict == VERDICT_PASS && decision->service) {
		step(story, "It passes to the host's network stack unchanged.");
	} else if (decision->verdict == VERDICT_PASS) {
		tell_pass(story);
	}
}

/* Rewrites a copy of the frame as decided. */
static int frame_write(const struct edge_tables *tables, struct edge_explanation *explanation, const struct flow *flow,
		       const uint8_t *frame, size_t length)
{
	uint32_t keep = edge_keep(flow, &explanation->decision);
	int room = explanation->decision.room;
	_cleanup_(freep) uint8_t *buffer = calloc(1, length + 2 * ROOM_MAX);
	struct packet packet;

	if (!buffer)
		return -ENOMEM;
	memcpy(buffer + ROOM_MAX, frame, length);
	if (keep && keep < length)
		length = keep;
	packet = (struct packet){.data = buffer + ROOM_MAX - room, .end = buffer + ROOM_MAX + length};
	edge_rewrite(tables, &packet, flow, &explanation->decision);
	explanation->out_length = (size_t)(packet.end - packet.data);
	explanation->out = malloc(explanation->out_length);
	if (!explanation->out)
		return -ENOMEM;
	memcpy(explanation->out, packet.data, explanation->out_length);
	return 0;
}

/* Large and mostly zero, as what media sessions live in is: memory is taken for what is not. */
static void *sparse_copy(const void *memory, size_t size)
{
	static const uint8_t zero[4096];
	uint8_t *copy = calloc(1, size);
	const uint8_t *bytes = memory;

	for (size_t at = 0; copy && at < size; at += sizeof(zero)) {
		size_t part = size - at < sizeof(zero) ? size - at : sizeof(zero);

		if (memcmp(bytes + at, zero, part) != 0)
			memcpy(copy + at, bytes + at, part);
	}
	return copy;
}

/* Copies of what the packet program writes, so that a question changes nothing. */
static int tables_shadow(const struct edge_tables *tables, struct edge_tables *ret_shadow)
{
	*ret_shadow = *tables;
	ret_shadow->flows = malloc(sizeof(*tables->flows));
	ret_shadow->filter = malloc(sizeof(*tables->filter));
	ret_shadow->neighbours = malloc(sizeof(*tables->neighbours));
	ret_shadow->fragments = malloc(sizeof(*tables->fragments));
	ret_shadow->holding = malloc(sizeof(*tables->holding));
	/* Full buckets: a limit is about packets that come, and this one does not. */
	ret_shadow->limiter = calloc(1, sizeof(*tables->limiter));
	ret_shadow->rtc = sparse_copy(tables->rtc, sizeof(*tables->rtc));
	ret_shadow->sessions = sparse_copy(tables->sessions, sizeof(*tables->sessions));
	ret_shadow->index = sparse_copy(tables->index, sizeof(*tables->index));
	ret_shadow->counters = calloc(1, sizeof(*tables->counters));
	if (!ret_shadow->flows || !ret_shadow->filter || !ret_shadow->neighbours || !ret_shadow->fragments || !ret_shadow->holding ||
	    !ret_shadow->limiter || !ret_shadow->rtc || !ret_shadow->sessions || !ret_shadow->index || !ret_shadow->counters)
		return -ENOMEM;
	memcpy(ret_shadow->fragments, tables->fragments, sizeof(*tables->fragments));
	memcpy(ret_shadow->holding, tables->holding, sizeof(*tables->holding));
	memcpy(ret_shadow->flows, tables->flows, sizeof(*tables->flows));
	memcpy(ret_shadow->filter, tables->filter, sizeof(*tables->filter));
	memcpy(ret_shadow->neighbours, tables->neighbours, sizeof(*tables->neighbours));
	return 0;
}

static void tables_shadow_done(struct edge_tables *shadow)
{
	free(shadow->flows);
	free(shadow->filter);
	free(shadow->neighbours);
	free(shadow->fragments);
	free(shadow->holding);
	free(shadow->limiter);
	free(shadow->rtc);
	free(shadow->sessions);
	free(shadow->index);
	free(shadow->counters);
}

int edge_explain(const struct edge_tables *tables, uint32_t ifindex, uint32_t epoch, uint32_t now_ms, const uint8_t *frame,
		 size_t length, size_t wire_length, const struct edge_names *names, struct edge_explanation *ret_explanation,
		 struct error *error)
{
	struct edge_ingress ingress = {.ifindex = ifindex, .epoch = epoch, .now_ms = now_ms};
	struct edge_explanation explanation = {0};
	struct edge_tables shadow;
	struct flow flow = {0};
	struct packet packet;
	struct story story;
	int result;

	if (length == 0 || length > EDGE_EXPLAIN_FRAME_MAX)
		return error_set(error, EINVAL, "a frame has 1 to %u bytes, this one %zu", EDGE_EXPLAIN_FRAME_MAX, length);
	result = tables_shadow(tables, &shadow);
	if (result == 0) {
		packet = (struct packet){.data = (uint8_t *)frame, .end = (uint8_t *)frame + length};
		if (wire_length > length)
			packet.beyond = (uint32_t)(wire_length - length);
		story = (struct story){tables, names, &explanation, &flow, &packet, ifindex, epoch};
		edge_decide(&shadow, &packet, &ingress, &flow, &explanation.decision);
		tell_packet(&story, length, wire_length);
		tell_link(&story, &packet);
		tell_decision(&story);
		if (explanation.decision.verdict == VERDICT_TX || explanation.decision.verdict == VERDICT_REDIRECT)
			result = frame_write(&shadow, &explanation, &flow, frame, length);
	}
	tables_shadow_done(&shadow);
	if (result < 0) {
		edge_explanation_done(&explanation);
		return error_set(error, -result, "no memory to try the packet on");
	}
	*ret_explanation = explanation;
	return 0;
}

void edge_explanation_done(struct edge_explanation *explanation)
{
	free(explanation->out);
	for (size_t i = 0; i < explanation->step_count; i++)
		free(explanation->steps[i]);
	*explanation = (struct edge_explanation){0};
}

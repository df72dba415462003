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

static void tell_packet(struct story *story, size_t length)
{
	const struct flow *flow = story->flow;
	char source[ADDRESS_TEXT_SIZE], destination[ADDRESS_TEXT_SIZE];
	bool ports = flow->protocol == PROTOCOL_TCP || flow->protocol == PROTOCOL_UDP;

	step(story, "A frame of %zu bytes came in on %s.", length, interface_name(story, story->ifindex));
	if (flow->vlan)
		step(story, "It carries the VLAN tag %u.", flow->vlan);
	if (flow->network == FLOW_ARP) {
		step(story, "It is an ARP packet.");
		return;
	}
	if (flow->network != FLOW_IPV4 && flow->network != FLOW_IPV6)
		return;
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

static void tell_flow(struct story *story, uint16_t service_row)
{
	const struct lb_service *service = &story->tables->lb->services[service_row & (LB_SERVICE_ROWS - 1)];
	const struct flow *flow = story->flow;
	bool affine = service->flags & LB_SERVICE_AFFINITY;
	uint64_t hash = lb_flow_hash(story->tables->lb->hash_seed, &flow->source, flow->source_port, &flow->destination,
				     flow->destination_port, flow->protocol, flow->network == FLOW_IPV6);
	uint64_t ring_hash =
		affine ? lb_client_hash(story->tables->lb->hash_seed, &flow->source, service) : hash;
	uint16_t slot = lb_ring_ask(story->tables->rings, service, ring_hash);
	struct lb_flow_place found = lb_flow_find(story->tables->flows, hash, 0, story->epoch);

	if ((uint32_t)service->ring == 0)
		step(story, "The service has no backend that takes new flows.");
	else
		step(story, "By %s its ring (%u slots) names the backend %s%s.",
		     affine ? "the client's address" : "the flow's addresses and ports", (uint32_t)service->ring,
		     backend_name(story, slot & LB_SLOT_BACKEND),
		     slot & LB_SLOT_MOVED ? "; the slot had another backend before, so the flow's record is asked" : "");
	if (found.found)
		step(story, "The flow is recorded with the backend %s, last confirmed about %u seconds ago.",
		     backend_name(story, lb_flow_backend(found.word)),
		     lb_flow_age_epochs(found.word, story->epoch) * EDGE_EPOCH_MS / 1000);
	else
		step(story, "No record of this flow exists: it begins now.");
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

static void tell_decision(struct story *story)
{
	const struct decision *decision = &story->explanation->decision;
	char address[ENDPOINT_TEXT_SIZE];

	if (decision->service && edge_is_icmp_error(story->flow)) {
		tell_error(story);
	} else if (decision->service && decision->action != ACTION_NAT_REVERSE) {
		step(story, "It is for the service %s.", service_name(story, decision->service));
		if (story->flow->flags & FLOW_NO_PORTS)
			step(story, "It has no ports: it follows its datagram's first fragment to the backend %s.",
			     backend_name(story, decision->backend));
		else
			tell_flow(story, decision->service);
	}
	endpoint_format(&decision->address, be16_get(decision->port), address);
	switch (decision->action) {
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
	case ACTION_NAT_REVERSE:
		step(story, "It is an answer of the backend %s of %s: its source becomes %s.",
		     backend_name(story, decision->backend), service_name(story, decision->service), address);
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
	case ACTION_TOO_BIG:
		step(story, "It is longer than the link that it would leave by takes: its sender is told that %u bytes pass.",
		     be16_get(decision->port));
		return;
	default:
		break;
	}
	if (decision->verdict == VERDICT_DROP)
		step(story, "It is dropped (%s): %s", drop_name(decision->reason), drop_sentence(decision->reason));
	else if (decision->verdict == VERDICT_HOLD)
		step(story, "It came before its datagram's first fragment, which has the ports: it is kept until that one comes, "
			    "for a second at most.");
	else if (decision->verdict == VERDICT_PASS)
		step(story, "No function takes it: it passes to the host's network stack unchanged.");
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

/* Copies of what the packet program writes, so that a question changes nothing. */
static int tables_shadow(const struct edge_tables *tables, struct edge_tables *ret_shadow)
{
	*ret_shadow = *tables;
	ret_shadow->flows = malloc(sizeof(*tables->flows));
	ret_shadow->filter = malloc(sizeof(*tables->filter));
	ret_shadow->neighbours = malloc(sizeof(*tables->neighbours));
	ret_shadow->fragments = malloc(sizeof(*tables->fragments));
	ret_shadow->holding = malloc(sizeof(*tables->holding));
	if (!ret_shadow->flows || !ret_shadow->filter || !ret_shadow->neighbours || !ret_shadow->fragments ||
	    !ret_shadow->holding)
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
}

int edge_explain(const struct edge_tables *tables, uint32_t ifindex, uint32_t epoch, uint32_t tick_ms,
		 const uint8_t *frame, size_t length, const struct edge_names *names, struct edge_explanation *ret_explanation, struct error *error)
{
	struct edge_ingress ingress = {.ifindex = ifindex, .epoch = epoch, .tick_ms = tick_ms};
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
		story = (struct story){tables, names, &explanation, &flow, ifindex, epoch};
		edge_decide(&shadow, &packet, &ingress, &flow, &explanation.decision);
		tell_packet(&story, length);
		tell_link(&story, &packet);
		tell_decision(&story);
		if (explanation.decision.verdict == VERDICT_TX || explanation.decision.verdict == VERDICT_REDIRECT)
			result = frame_write(tables, &explanation, &flow, frame, length);
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/api/trace_packet.h"

#include <ctype.h>
#include <string.h>

#include "base/lib/address_text.h"
#include "base/lib/verdict_text.h"
#include "edge/edge_fast.h"

/* Reads the headers of a frame of which only the beginning was kept. */
static enum drop_reason frame_parse(const struct edge_event *event, struct flow *flow)
{
	uint8_t *bytes = (uint8_t *)edge_event_data(event); /* parsing writes nothing */
	struct packet packet = {.data = bytes, .end = bytes + event->captured};

	if (event->length > event->captured)
		packet.beyond = event->length - event->captured;
	return flow_parse(&packet, flow);
}

void trace_packet_read(const struct api_trace_packet *reported, struct trace_packet *ret_packet)
{
	struct flow flow = {0};

	*ret_packet = (struct trace_packet){.reported = reported};
	if (frame_parse(reported->event, &flow) != DROP_NONE)
		return;
	ret_packet->network = flow.network;
	ret_packet->vlan = flow.vlan;
	if (flow.network != FLOW_IPV4 && flow.network != FLOW_IPV6)
		return;
	ret_packet->protocol = flow.protocol;
	ret_packet->icmp_type = flow.icmp_type;
	ret_packet->tcp_flags = flow.tcp_flags;
	ret_packet->source = flow.source;
	ret_packet->destination = flow.destination;
	ret_packet->has_addresses = true;
	if (flow.l4_reason || flow.flags & FLOW_NO_PORTS)
		return;
	ret_packet->has_ports = true;
	ret_packet->source_port = be16_get(flow.source_port);
	ret_packet->destination_port = be16_get(flow.destination_port);
}

const char *trace_packet_protocol(const struct trace_packet *packet, char buffer[static TRACE_TEXT_SIZE])
{
	if (packet->network == FLOW_ARP)
		return "arp";
	if (packet->network == FLOW_OTHER)
		return "other";
	switch (packet->protocol) {
	case PROTOCOL_TCP:
		return "tcp";
	case PROTOCOL_UDP:
		return "udp";
	case PROTOCOL_ICMP:
		return "icmp";
	case PROTOCOL_ICMPV6:
		return "icmp6";
	default:
		snprintf(buffer, TRACE_TEXT_SIZE, "%u", packet->protocol);
		return buffer;
	}
}

char *hex_format(const uint8_t *bytes, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	char *text = malloc(2 * length + 1);

	if (!text)
		abort();
	for (size_t i = 0; i < length; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 0xf];
	}
	text[2 * length] = '\0';
	return text;
}

static int digit_value(int c)
{
	return isdigit(c) ? c - '0' : tolower(c) - 'a' + 10;
}

int hex_parse(const char *text, uint8_t *bytes, size_t size, size_t *ret_length)
{
	size_t length = 0;

	while (*text) {
		if (isspace((unsigned char)*text) || *text == ':') {
			text++;
			continue;
		}
		if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]))
			return -EINVAL;
		if (length == size)
			return -E2BIG;
		bytes[length++] = (uint8_t)(digit_value(text[0]) << 4 | digit_value(text[1]));
		text += 2;
	}
	*ret_length = length;
	return 0;
}

static void text_set(json_t *json, const char *key, const char *text)
{
	if (text)
		json_object_set_new(json, key, json_string(text));
}

static void addresses_set(json_t *json, const struct trace_packet *packet)
{
	char text[ADDRESS_TEXT_SIZE];

	if (!packet->has_addresses)
		return;
	text_set(json, "source", address_format(&packet->source, text));
	text_set(json, "destination", address_format(&packet->destination, text));
	if (packet->has_ports) {
		json_object_set_new(json, "sourcePort", json_integer(packet->source_port));
		json_object_set_new(json, "destinationPort", json_integer(packet->destination_port));
	}
	if (packet->protocol == PROTOCOL_TCP)
		json_object_set_new(json, "tcpFlags", json_integer(packet->tcp_flags));
	if (packet->protocol == PROTOCOL_ICMP || packet->protocol == PROTOCOL_ICMPV6)
		json_object_set_new(json, "icmpType", json_integer(packet->icmp_type));
}

bool trace_packet_interesting(const struct trace_packet *packet)
{
	struct flow flow = {.network = packet->network, .protocol = packet->protocol, .icmp_type = packet->icmp_type,
			    .tcp_flags = packet->tcp_flags};

	return edge_is_interesting(&flow, &packet->reported->event->decision);
}

json_t *trace_packet_json(const struct trace_packet *packet, uint32_t snaplen)
{
	const struct edge_event *event = packet->reported->event;
	size_t captured = event->captured < snaplen ? event->captured : snaplen;
	_cleanup_(freep) char *hex = hex_format(edge_event_data(event), captured);
	char number[TRACE_TEXT_SIZE];
	json_t *json = json_pack("{s:I, s:I, s:s, s:s, s:s}", "timeNs", (json_int_t)packet->reported->time_unix_ns, "length",
				 (json_int_t)event->length, "verdict", verdict_name(event->decision.verdict), "function",
				 function_name(event->decision.function), "protocol", trace_packet_protocol(packet, number));

	text_set(json, "interface", packet->reported->interface);
	if (event->decision.verdict == VERDICT_DROP) {
		text_set(json, "reason", drop_name(event->decision.reason));
		text_set(json, "sentence", drop_sentence(event->decision.reason));
	}
	if (packet->vlan)
		json_object_set_new(json, "vlan", json_integer(packet->vlan));
	addresses_set(json, packet);
	text_set(json, "service", packet->reported->service);
	text_set(json, "backend", packet->reported->backend);
	if (event->decision.flags & DECISION_NEW_FLOW)
		json_object_set_new(json, "newFlow", json_true());
	text_set(json, "bytes", hex);
	return json;
}

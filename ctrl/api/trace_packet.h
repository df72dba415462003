/* SPDX-License-Identifier: Apache-2.0 */
/* A reported packet, read so that a filter and a person can ask about it. Pure. */
#pragma once

#include <jansson.h>

#include "ctrl/api/api.h"

#define TRACE_TEXT_SIZE 16

struct trace_packet {
	const struct api_trace_packet *reported;
	uint8_t network;  /* enum flow_network */
	uint8_t protocol; /* IP protocol; 0 for ARP and others */
	uint8_t icmp_type;
	uint8_t tcp_flags;
	bool has_addresses, has_ports;
	struct address source, destination;
	uint16_t source_port, destination_port, vlan;
};

void trace_packet_read(const struct api_trace_packet *reported, struct trace_packet *ret_packet);
/* "tcp", "udp", "icmp", "icmp6", "arp", or the number. */
const char *trace_packet_protocol(const struct trace_packet *packet, char buffer[static TRACE_TEXT_SIZE]);
/* One line of the stream, with at most `snaplen` bytes of the packet; docs/api.md lists its keys. */
json_t *trace_packet_json(const struct trace_packet *packet, uint32_t snaplen);
/* What edge_is_interesting() says of a packet while it is being decided. */
bool trace_packet_interesting(const struct trace_packet *packet);
/* Two digits a byte; to be freed by the caller. */
char *hex_format(const uint8_t *bytes, size_t length);
/* Spaces and colons are skipped; -EINVAL if it is not pairs of digits, -E2BIG beyond `size`. */
int hex_parse(const char *text, uint8_t *bytes, size_t size, size_t *ret_length);

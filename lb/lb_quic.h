/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * QUIC by connection id: RFC 9000 section 17 for where it lies, draft-ietf-quic-load-balancers' plaintext form for what it says.
 *
 *     short header: [flags 1][connection id …
 *     long header:  [flags 1][version 4][length 1][connection id …
 *     connection id: [config 3 bits, length or random 5 bits][server id][nonce …
 *
 * An id that names no live server is unroutable, and its packet goes by its addresses and ports: that of a client's first packets
 * is random, and names one by chance at worst. The fixed bit is not looked at (RFC 9287 greases it).
 */
#pragma once

#include "base/packet/packet.h"
#include "base/packet/wire.h"
#include "lb/lb_guard_state.h"

#define QUIC_LONG_HEADER 0x80
#define QUIC_CONNECTION_ID_MAX 20u /* RFC 9000 section 17.2 */

/* What a packet's connection id says. */
struct lb_quic_id {
	uint64_t server;  /* the bytes behind the first, in memory as on the wire; more than the id may have */
	uint32_t config;  /* the first three bits */
	uint32_t present; /* not 0: there is one, of at least `server_length` bytes behind the first */
};

/* Reads the connection id of a UDP packet. `server_length`: 1 to LB_QUIC_SERVER_ID_MAX. */
PACKET_INLINE struct lb_quic_id lb_quic_read(const struct packet *packet, uint32_t l4_offset, uint32_t server_length)
{
	const uint32_t udp_bytes = sizeof(struct udp_header);
	const uint8_t *head = packet_header(packet, l4_offset, sizeof(struct udp_header) + 7);
	uint32_t at = udp_bytes + 1, end;
	const uint8_t *id;

	if (!head)
		return (struct lb_quic_id){0};
	end = be16_get(((const struct udp_header *)(const void *)head)->length);
	if (head[udp_bytes] & QUIC_LONG_HEADER) {
		uint32_t length = head[udp_bytes + 5];

		if (length < 1 + server_length || length > QUIC_CONNECTION_ID_MAX)
			return (struct lb_quic_id){0};
		at = udp_bytes + 6;
	}
	/* A QUIC packet has so many bytes behind the place where a connection id begins (RFC 9001 section 5.4.2). */
	id = packet_header(packet, l4_offset + at, 1 + sizeof(uint64_t));
	if (!id || at + 1 + sizeof(uint64_t) > end)
		return (struct lb_quic_id){0};
	return (struct lb_quic_id){unaligned(uint64_t, id + 1), id[0] >> 5, 1};
}

/* The row of the live backend that the id names, 0 for none. */
PACKET_FUNCTION uint32_t lb_quic_find(const struct lb_tables *lb, const struct lb_guards *guards, uint64_t server,
				      uint32_t service_row, uint32_t config)
{
	const struct lb_backend *backend;
	struct directory_key key;
	uint32_t row, length;
	uint8_t state;

	if (!lb || !guards)
		return 0;
	length = guards->limits[service_row & (LB_SERVICE_ROWS - 1)].quic_server_length;
	key = lb_quic_key(server, length, config, service_row);
	row = DIRECTORY_FIND(&guards->quic_servers, LB_QUIC_DIRECTORY_BITS, &key);
	backend = &lb->backends[row & (LB_BACKEND_ROWS - 1)];
	state = load_once(backend->state);
	if (row == 0 || backend->service != service_row || (state != LB_BACKEND_UP && state != LB_BACKEND_DRAINING))
		return 0;
	return row;
}

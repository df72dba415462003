/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What edge_bench.bpf.c and its driver share. */
#pragma once

#include <stdint.h>

#include "base/packet/packet.h"
#include "base/packet/wire.h"

/* Every frame of the benchmark has at least so many bytes; none of its cases rewrites more. */
#define BENCH_FRAME_BYTES 94u

/* Value 0 of the map `bench_config`. writer: the driver, before a run; reader: the programs */
struct bench_config {
	uint32_t flows;       /* how many clients of IPv4 take turns, in an order that no cache foresees; 0: the frame as it is */
	uint32_t sequential;  /* nonzero: one after the other, so that with many flows every packet begins one */
	uint32_t source_base; /* first client's address, host order; the others follow */
	uint32_t new_epochs;  /* nonzero: time goes on by one epoch with each packet */
	uint32_t length;
	uint32_t downward;    /* nonzero: the clients are the frames' destinations */
	uint8_t frame[BENCH_FRAME_BYTES + 2] __attribute__((aligned(8)));
};

#define BENCH_SOURCE_OFFSET 26u /* IPv4 without options or tags */
#define BENCH_PORT_OFFSET 34u
#define BENCH_DOWN_ADDRESS 4u /* from a source's place to its destination's */
#define BENCH_DOWN_PORT 2u

/*
 * Writes the frame's first bytes as they were. By moves of eight bytes, and so that no header field lies across two of them: a
 * load of bytes from two stores waits for both, and so does what follows a string instruction.
 */
PACKET_INLINE void bench_frame_put(uint8_t *frame, const struct bench_config *config)
{
	unaligned(uint64_t, frame) = unaligned(uint64_t, config->frame);
#pragma GCC unroll 11
	for (uint32_t at = 6; at < BENCH_FRAME_BYTES; at += 8)
		unaligned(uint64_t, frame + at) = unaligned(uint64_t, config->frame + at);
}

/* The source port of one of many clients, as it lies on the wire. */
PACKET_INLINE uint16_t bench_client_port(uint32_t client)
{
	return (uint16_t)(0x0400 | client * 0x9e5u);
}

/* Which client is next. A linear congruential generator of full period (Numerical Recipes) chooses, or a plain counter. */
PACKET_INLINE uint32_t bench_client_next(const struct bench_config *config, uint32_t *turn, uint32_t *random)
{
	*random = *random * 1664525u + 1013904223u;
	return (config->sequential ? (*turn)++ : *random >> 8) % config->flows;
}

/* The floor beside which everything is timed: MAC and IP addresses change places. False: the packet is too short. */
PACKET_INLINE bool bench_swap_addresses(const struct packet *packet)
{
	struct ethernet_header *ethernet = packet_header(packet, 0, sizeof(*ethernet) + sizeof(struct ipv4_header));
	struct ipv4_header *ipv4;
	struct be32 address;
	uint64_t mac;

	if (!ethernet)
		return false;
	ipv4 = (struct ipv4_header *)(ethernet + 1);
	mac = mac_word(ethernet->destination);
	mac_store(ethernet->destination, mac_word(ethernet->source));
	mac_store(ethernet->source, mac);
	address = ipv4->source;
	ipv4->source = ipv4->destination;
	ipv4->destination = address;
	return true;
}

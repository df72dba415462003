/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What edge_bench.bpf.c and its driver share. */
#pragma once

#include <stdint.h>

#include "base/packet/target.h"

#define BENCH_SAVED_BYTES 128u

/* Value 0 of the map `bench_config`. writer: the driver, before a run; reader: the programs */
struct bench_config {
	uint32_t flows;         /* how many clients take turns, in an order that no cache foresees; 0: the packet as it is */
	uint32_t sequential;    /* nonzero: one after the other, so that with many flows every packet begins one */
	uint32_t source_offset; /* of the last four bytes of the source address: 26 in IPv4, 34 in IPv6 without VLAN tags */
	uint32_t port_offset;   /* of the source port: 34 in IPv4 without options, 54 in IPv6 */
	uint32_t source_base;   /* first client's four bytes, host order; the others follow */
	uint32_t new_epochs;    /* nonzero: time goes on by one epoch with each packet */
	uint32_t unused[2];
};

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

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What edge_bench.bpf.c and its driver share. */
#pragma once

#include <stdint.h>

#define BENCH_SAVED_BYTES 128u

/* Value 0 of the map `bench_config`. writer: the driver, before a run; reader: the programs */
struct bench_config {
	uint32_t flows;         /* how many clients take turns, in an order that no cache foresees; 0: the packet as it is */
	uint32_t sequential;    /* nonzero: one after the other, so that with many flows every packet begins one */
	uint32_t source_offset; /* of the last four bytes of the source address: 26 in IPv4, 34 in IPv6 without VLAN tags */
	uint32_t port_offset;   /* of the source port: 34 in IPv4 without options, 54 in IPv6 */
	uint32_t source_base;   /* first client's four bytes, host order; the others follow */
	uint32_t unused[3];
};

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What dns_bench.bpf.c and its driver share. */
#pragma once

#include <stdint.h>

#define DNS_BENCH_HEAD 54u   /* Ethernet, IPv4, UDP and DNS headers: what an answer rewrites */
#define DNS_BENCH_DIGITS 55u /* behind the first label's length: eight letters that number the name */

/* Value 0 of the map `bench_dns_config`. writer: the driver, before a run; reader: the programs */
struct dns_bench_config {
	uint32_t names;  /* asked for in an order that no cache foresees */
	uint32_t length; /* of the query's frame */
	uint32_t growth; /* bytes that the answer is longer by */
	uint32_t blocks; /* of the table that bench_dns_touch looks into */
	uint8_t frame[56] __attribute__((aligned(8)));
};

struct dns_bench_block {
	uint64_t zero;
	uint8_t unused[248];
};

/* The number as eight letters from 'a' to 'p', as they lie on the wire. */
static inline __attribute__((always_inline)) uint64_t dns_bench_letters(uint32_t number)
{
	uint64_t word = number;

	word = (word | word << 16) & 0x0000ffff0000ffffull;
	word = (word | word << 8) & 0x00ff00ff00ff00ffull;
	return ((word | word << 4) & 0x0f0f0f0f0f0f0f0full) + 0x6161616161616161ull;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Limits as operators write them, the same in manifests and in the configuration. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RATE_PROBLEM_SIZE 192

/* So many in a minute, and so many at once; a burst of 0: no limit. */
struct rate {
	uint32_t per_minute, burst;
};

/* Bits that make a client, in each family. */
struct client_bits {
	uint8_t ipv4, ipv6;
};

/* Digits alone, at most 18 of them, up to `maximum`. */
bool decimal_parse(const char *text, size_t length, uint64_t maximum, uint64_t *ret_value);
/* "100/s", "30/m", "100/s burst 200". False: `ret_problem` goes on where "KEY: " or "KEY " ends. */
bool rate_parse(const char *text, struct rate *ret_rate, char ret_problem[static RATE_PROBLEM_SIZE]);
/* "24,56": IPv4, IPv6. */
bool client_bits_parse(const char *text, struct client_bits *ret_bits, char ret_problem[static RATE_PROBLEM_SIZE]);

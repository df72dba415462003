/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, prefixes, MAC addresses and endpoints to and from text. Pure; any thread. */
#pragma once

#include "base/lib/cleanup.h"
#include "base/packet/address.h"

#define ADDRESS_TEXT_SIZE 48  /* an address with its terminating zero */
#define ENDPOINT_TEXT_SIZE 56 /* "[address]:port" */
#define MAC_TEXT_SIZE 18

struct prefix {
	struct address address; /* host bits are kept as written */
	uint8_t length;         /* 0–128; an IPv4 /24 is 24, not 120 */
};

/* 0, or -EINVAL. `text` must be nothing but the address. */
must_check int address_parse(const char *text, struct address *ret_address);
const char *address_format(const struct address *address, char buffer[static ADDRESS_TEXT_SIZE]);

/* "10.0.0.0/8", "2001:db8::/32", or a bare address as a host prefix. */
must_check int prefix_parse(const char *text, struct prefix *ret_prefix);
bool prefix_contains(const struct prefix *prefix, const struct address *address);
bool prefix_family_ipv4(const struct prefix *prefix);
/* First and last address of the prefix. */
void prefix_bounds(const struct prefix *prefix, struct address *ret_first, struct address *ret_last);

/* As numbers: negative, 0, positive like memcmp. */
int address_compare(const struct address *a, const struct address *b);

/* "10.0.0.1:80", "[2001:db8::1]:80"; `port` in host order. */
must_check int endpoint_parse(const char *text, struct address *ret_address, uint16_t *ret_port);
const char *endpoint_format(const struct address *address, uint16_t port, char buffer[static ENDPOINT_TEXT_SIZE]);

must_check int mac_parse(const char *text, uint8_t ret_mac[static 6]);
const char *mac_format(const uint8_t mac[static 6], char buffer[static MAC_TEXT_SIZE]);

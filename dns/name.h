/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domain names as the wire has them (RFC 1035 section 3.1): labels with their lengths, ending in the root's zero byte, never
 * compressed. Names that are looked up are in lower case (RFC 4343). Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"

#define DNS_NAME_MAX 255
#define DNS_LABEL_MAX 63
#define DNS_NAME_TEXT_SIZE 1025 /* every byte as \DDD, and the end */

struct dns_name {
	uint8_t length; /* with the root's zero byte; 1: the root */
	uint8_t bytes[DNS_NAME_MAX];
};

/*
 * The name at `*offset` of a message, decompressed, its case kept; `*offset` moves behind it. Pointers must lead backwards.
 * 0 or -EBADMSG.
 */
must_check int dns_name_read(const uint8_t *message, size_t length, size_t *offset, struct dns_name *ret_name);
/* "example.com", with or without the last dot, "." for the root, \. and \DDD as in zone files; lower case. 0 or -EINVAL. */
must_check int dns_name_parse(const char *text, struct dns_name *ret_name);
/* Without the last dot; "." for the root; bytes that are no letters, digits, '-', '_' as zone files have them. */
const char *dns_name_format(const struct dns_name *name, char buffer[static DNS_NAME_TEXT_SIZE]);

void dns_name_lower(struct dns_name *name);
bool dns_name_equal(const struct dns_name *a, const struct dns_name *b); /* bytes; both in lower case */
/* Whether `name` is `zone` or below it. */
bool dns_name_within(const struct dns_name *name, const struct dns_name *zone);
unsigned int dns_name_labels(const struct dns_name *name); /* the root: 0 */
/* Without its first `labels` labels, of which there are that many. */
struct dns_name dns_name_parent(const struct dns_name *name, unsigned int labels);
/* The first `labels` labels of `name` before `suffix`. -EINVAL: too long. */
must_check int dns_name_join(const struct dns_name *name, unsigned int labels, const struct dns_name *suffix,
			     struct dns_name *ret_name);
uint64_t dns_name_hash(const struct dns_name *name, uint64_t seed);
/* The PTR name of an address, or of what is left of one: true and the address when it is a whole one. */
struct address;
void dns_name_of_address(const struct address *address, struct dns_name *ret_name);
bool dns_name_to_address(const struct dns_name *name, struct address *ret_address);

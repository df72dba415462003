/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/name.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/packet/address.h"

static uint8_t byte_lower(uint8_t byte)
{
	return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
}

int dns_name_read(const uint8_t *message, size_t length, size_t *offset, struct dns_name *ret_name)
{
	size_t at = *offset, end = 0, lowest = *offset;
	struct dns_name name = {.length = 0};

	for (;;) {
		uint8_t label;

		if (at >= length)
			return -EBADMSG;
		label = message[at];
		if ((label & 0xc0) == 0xc0) {
			size_t target;

			if (at + 1 >= length)
				return -EBADMSG;
			target = (size_t)(label & 0x3f) << 8 | message[at + 1];
			if (!end)
				end = at + 2;
			/* strictly backwards: no loops, and no more jumps than bytes */
			if (target >= lowest)
				return -EBADMSG;
			at = lowest = target;
			continue;
		}
		if (label & 0xc0 || at + 1 + label > length || (size_t)name.length + 1 + label > DNS_NAME_MAX)
			return -EBADMSG;
		memcpy(name.bytes + name.length, message + at, 1u + label);
		name.length = (uint8_t)(name.length + 1 + label);
		at += 1u + label;
		if (!label)
			break;
		if (name.length == DNS_NAME_MAX)
			return -EBADMSG;
	}
	*offset = end ? end : at;
	*ret_name = name;
	return 0;
}

/* One byte of a label at `*text`; -1: none that may stand there. */
static int text_byte(const char **text)
{
	const char *at = *text;

	if (*at != '\\') {
		*text = at + 1;
		return (uint8_t)*at;
	}
	if (isdigit((unsigned char)at[1]) && isdigit((unsigned char)at[2]) && isdigit((unsigned char)at[3])) {
		int value = (at[1] - '0') * 100 + (at[2] - '0') * 10 + (at[3] - '0');

		*text = at + 4;
		return value <= 255 ? value : -1;
	}
	if (!at[1])
		return -1;
	*text = at + 2;
	return (uint8_t)at[1];
}

int dns_name_parse(const char *text, struct dns_name *ret_name)
{
	struct dns_name name = {.length = 0};

	if (!*text)
		return -EINVAL;
	if (text[0] == '.' && !text[1])
		text++;
	while (*text) {
		size_t start = name.length;
		size_t used = 1;

		while (*text && *text != '.') {
			int byte = text_byte(&text);

			if (byte < 0 || used > DNS_LABEL_MAX || start + used + 1 >= DNS_NAME_MAX)
				return -EINVAL;
			name.bytes[start + used++] = byte_lower((uint8_t)byte);
		}
		if (used == 1)
			return -EINVAL;
		name.bytes[start] = (uint8_t)(used - 1);
		name.length = (uint8_t)(start + used);
		if (*text == '.')
			text++;
	}
	name.bytes[name.length++] = 0;
	*ret_name = name;
	return 0;
}

const char *dns_name_format(const struct dns_name *name, char buffer[static DNS_NAME_TEXT_SIZE])
{
	char *out = buffer;

	for (size_t at = 0; name->bytes[at]; at += 1u + name->bytes[at]) {
		if (at)
			*out++ = '.';
		for (size_t i = 1; i <= name->bytes[at]; i++) {
			uint8_t byte = name->bytes[at + i];

			if (isalnum(byte) || byte == '-' || byte == '_')
				*out++ = (char)byte;
			else
				out += sprintf(out, "\\%03u", byte);
		}
	}
	if (out == buffer)
		*out++ = '.';
	*out = '\0';
	return buffer;
}

void dns_name_lower(struct dns_name *name)
{
	/* lengths are below 'A' */
	for (size_t i = 0; i < name->length; i++)
		name->bytes[i] = byte_lower(name->bytes[i]);
}

bool dns_name_equal(const struct dns_name *a, const struct dns_name *b)
{
	return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

bool dns_name_within(const struct dns_name *name, const struct dns_name *zone)
{
	size_t at = 0;

	while (name->length - at > zone->length)
		at += 1u + name->bytes[at];
	return name->length - at == zone->length && memcmp(name->bytes + at, zone->bytes, zone->length) == 0;
}

unsigned int dns_name_labels(const struct dns_name *name)
{
	unsigned int count = 0;

	for (size_t at = 0; name->bytes[at]; at += 1u + name->bytes[at])
		count++;
	return count;
}

struct dns_name dns_name_parent(const struct dns_name *name, unsigned int labels)
{
	struct dns_name parent = {.length = 0};
	size_t at = 0;

	while (labels--)
		at += 1u + name->bytes[at];
	parent.length = (uint8_t)(name->length - at);
	memcpy(parent.bytes, name->bytes + at, parent.length);
	return parent;
}

int dns_name_join(const struct dns_name *name, unsigned int labels, const struct dns_name *suffix, struct dns_name *ret_name)
{
	struct dns_name joined = {.length = 0};
	size_t at = 0;

	while (labels--)
		at += 1u + name->bytes[at];
	if (at + suffix->length > DNS_NAME_MAX)
		return -EINVAL;
	memcpy(joined.bytes, name->bytes, at);
	memcpy(joined.bytes + at, suffix->bytes, suffix->length);
	joined.length = (uint8_t)(at + suffix->length);
	*ret_name = joined;
	return 0;
}

uint64_t dns_name_hash(const struct dns_name *name, uint64_t seed)
{
	uint64_t hash = seed ^ 0xcbf29ce484222325ull;

	for (size_t i = 0; i < name->length; i++)
		hash = (hash ^ name->bytes[i]) * 0x100000001b3ull;
	hash ^= hash >> 32;
	hash *= 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 29;
}

/* --- addresses (RFC 1035 section 3.5, RFC 3596 section 2.5) -------------------------------------------------------------- */

static const struct dns_name zone_ipv4 = {14, "\7in-addr\4arpa"};
static const struct dns_name zone_ipv6 = {10, "\3ip6\4arpa"};

void dns_name_of_address(const struct address *address, struct dns_name *ret_name)
{
	uint8_t bytes[16];
	char text[128];
	size_t used = 0;

	memcpy(bytes, address, sizeof(bytes));
	if (address_is_ipv4(address)) {
		snprintf(text, sizeof(text), "%u.%u.%u.%u.in-addr.arpa", bytes[15], bytes[14], bytes[13], bytes[12]);
	} else {
		for (int i = 15; i >= 0; i--)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%x.%x.", bytes[i] & 15, bytes[i] >> 4);
		snprintf(text + used, sizeof(text) - used, "ip6.arpa");
	}
	if (dns_name_parse(text, ret_name) < 0)
		abort();
}

static bool label_number(const uint8_t *label, unsigned int *ret_number)
{
	unsigned int number = 0;

	if (!label[0] || label[0] > 3 || (label[0] > 1 && label[1] == '0'))
		return false;
	for (size_t i = 1; i <= label[0]; i++) {
		if (!isdigit(label[i]))
			return false;
		number = number * 10 + (unsigned int)(label[i] - '0');
	}
	*ret_number = number;
	return number <= 255;
}

bool dns_name_to_address(const struct dns_name *name, struct address *ret_address)
{
	uint8_t bytes[16] = {[10] = 0xff, [11] = 0xff};
	size_t at = 0;

	if (dns_name_within(name, &zone_ipv4) && dns_name_labels(name) == 6) {
		for (size_t i = 0; i < 4; i++, at += 1u + name->bytes[at]) {
			unsigned int number;

			if (!label_number(name->bytes + at, &number))
				return false;
			bytes[15 - i] = (uint8_t)number;
		}
	} else if (dns_name_within(name, &zone_ipv6) && dns_name_labels(name) == 34) {
		memset(bytes, 0, sizeof(bytes));
		for (size_t i = 0; i < 32; i++, at += 2) {
			uint8_t digit = name->bytes[at + 1];

			if (name->bytes[at] != 1 || !isxdigit(digit))
				return false;
			digit = (uint8_t)(isdigit(digit) ? digit - '0' : (digit | 0x20) - 'a' + 10);
			bytes[15 - i / 2] |= (uint8_t)(i & 1 ? digit << 4 : digit);
		}
	} else {
		return false;
	}
	memcpy(ret_address, bytes, sizeof(bytes));
	return true;
}

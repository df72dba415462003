/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lib/address_text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

int address_parse(const char *text, struct address *ret_address)
{
	struct in6_addr ipv6;
	struct in_addr ipv4;

	if (inet_pton(AF_INET, text, &ipv4) == 1) {
		*ret_address = address_from_ipv4(ipv4.s_addr);
		return 0;
	}
	if (inet_pton(AF_INET6, text, &ipv6) == 1) {
		memcpy(ret_address, &ipv6, sizeof(*ret_address));
		return 0;
	}
	return -EINVAL;
}

const char *address_format(const struct address *address, char buffer[static ADDRESS_TEXT_SIZE])
{
	uint32_t ipv4 = address_ipv4(address);

	if (address_is_ipv4(address))
		inet_ntop(AF_INET, &ipv4, buffer, ADDRESS_TEXT_SIZE);
	else
		inet_ntop(AF_INET6, address, buffer, ADDRESS_TEXT_SIZE);
	return buffer;
}

static int decimal_parse(const char *text, unsigned long limit, unsigned long *ret_value)
{
	unsigned long value = 0;

	if (!*text || strlen(text) > 9)
		return -EINVAL;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return -EINVAL;
		value = value * 10 + (unsigned long)(*text - '0');
	}
	if (value > limit)
		return -EINVAL;
	*ret_value = value;
	return 0;
}

int prefix_parse(const char *text, struct prefix *ret_prefix)
{
	char copy[ADDRESS_TEXT_SIZE + 4];
	struct address address;
	unsigned long length;
	char *slash;

	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	strcpy(copy, text);
	slash = strchr(copy, '/');
	if (slash)
		*slash = '\0';
	if (address_parse(copy, &address) < 0)
		return -EINVAL;
	length = address_is_ipv4(&address) ? 32 : 128;
	if (slash && decimal_parse(slash + 1, length, &length) < 0)
		return -EINVAL;
	*ret_prefix = (struct prefix){.address = address, .length = (uint8_t)length};
	return 0;
}

bool prefix_family_ipv4(const struct prefix *prefix)
{
	return address_is_ipv4(&prefix->address);
}

void prefix_bounds(const struct prefix *prefix, struct address *ret_first, struct address *ret_last)
{
	unsigned int bits = prefix->length + (prefix_family_ipv4(prefix) ? 96u : 0u);
	uint8_t *first = (uint8_t *)ret_first, *last = (uint8_t *)ret_last;

	*ret_first = prefix->address;
	*ret_last = prefix->address;
	for (unsigned int bit = bits; bit < 128; bit++) {
		first[bit / 8] &= (uint8_t)~(0x80u >> bit % 8);
		last[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
	}
}

int address_compare(const struct address *a, const struct address *b)
{
	return memcmp(a, b, sizeof(*a));
}

bool prefix_contains(const struct prefix *prefix, const struct address *address)
{
	struct address first, last;

	if (prefix_family_ipv4(prefix) != address_is_ipv4(address))
		return false;
	prefix_bounds(prefix, &first, &last);
	return address_compare(&first, address) <= 0 && address_compare(address, &last) <= 0;
}

int endpoint_parse(const char *text, struct address *ret_address, uint16_t *ret_port)
{
	char copy[ENDPOINT_TEXT_SIZE], *host = copy, *colon;
	struct address address;
	unsigned long port;

	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	strcpy(copy, text);
	colon = strrchr(copy, ':');
	if (!colon || decimal_parse(colon + 1, UINT16_MAX, &port) < 0)
		return -EINVAL;
	*colon = '\0';
	if (*host == '[') {
		if (colon[-1] != ']')
			return -EINVAL;
		colon[-1] = '\0';
		host++;
		if (address_parse(host, &address) < 0 || address_is_ipv4(&address))
			return -EINVAL;
	} else if (address_parse(host, &address) < 0 || !address_is_ipv4(&address)) {
		return -EINVAL;
	}
	*ret_address = address;
	*ret_port = (uint16_t)port;
	return 0;
}

const char *endpoint_format(const struct address *address, uint16_t port, char buffer[static ENDPOINT_TEXT_SIZE])
{
	char text[ADDRESS_TEXT_SIZE];

	snprintf(buffer, ENDPOINT_TEXT_SIZE, address_is_ipv4(address) ? "%s:%u" : "[%s]:%u",
		 address_format(address, text), port);
	return buffer;
}

int mac_parse(const char *text, uint8_t ret_mac[static 6])
{
	uint8_t mac[6];

	if (strlen(text) != 17)
		return -EINVAL;
	for (int i = 0; i < 6; i++) {
		char digits[3] = {text[3 * i], text[3 * i + 1], '\0'};

		if (!isxdigit((unsigned char)digits[0]) || !isxdigit((unsigned char)digits[1]))
			return -EINVAL;
		if (i < 5 && text[3 * i + 2] != ':')
			return -EINVAL;
		mac[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	memcpy(ret_mac, mac, sizeof(mac));
	return 0;
}

const char *mac_format(const uint8_t mac[static 6], char buffer[static MAC_TEXT_SIZE])
{
	snprintf(buffer, MAC_TEXT_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return buffer;
}

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* One address type for both families: 16 bytes in network order, IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2). */
#pragma once

#include "base/packet/target.h"

struct address {
	uint64_t word[2]; /* network order, as loaded from the wire */
};
_Static_assert(sizeof(struct address) == 16, "a table key");

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "address_ipv4() and byteorder.h assume little endian"
#endif

/* `ipv4` in network order, as on the wire. */
PACKET_INLINE struct address address_from_ipv4(uint32_t ipv4)
{
	return (struct address){{0, (uint64_t)ipv4 << 32 | 0xffff0000u}};
}

PACKET_INLINE bool address_is_ipv4(const struct address *address)
{
	return address->word[0] == 0 && (uint32_t)address->word[1] == 0xffff0000u;
}

/* Network order, as on the wire. */
PACKET_INLINE uint32_t address_ipv4(const struct address *address)
{
	return (uint32_t)(address->word[1] >> 32);
}

PACKET_INLINE bool address_equal(const struct address *a, const struct address *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1];
}

PACKET_INLINE bool address_is_zero(const struct address *address)
{
	return (address->word[0] | address->word[1]) == 0;
}

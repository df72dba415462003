/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Wire integers as struct types, so that network and host order cannot mix unnoticed. */
#pragma once

#include "base/packet/target.h"

struct be16 {
	uint16_t raw;
} __attribute__((may_alias));

struct be32 {
	uint32_t raw;
} PACKET_WIRE;

PACKET_INLINE uint16_t be16_get(struct be16 value)
{
	return __builtin_bswap16(value.raw);
}

PACKET_INLINE struct be16 be16_from(uint16_t value)
{
	return (struct be16){__builtin_bswap16(value)};
}

PACKET_INLINE uint32_t be32_get(struct be32 value)
{
	return __builtin_bswap32(value.raw);
}

PACKET_INLINE struct be32 be32_from(uint32_t value)
{
	return (struct be32){__builtin_bswap32(value)};
}

/* A constant in network order, for comparisons against `.raw` without a swap. */
#define BE16(constant) ((uint16_t)(((constant) & 0xff) << 8 | ((constant) >> 8 & 0xff)))

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Internet checksums (RFC 1071) and their incremental update (RFC 1624). Sums are kept unfolded in 64 bits. */
#pragma once

#include "base/packet/address.h"

/* Folds an unfolded sum to 16 bits, without complementing it. */
PACKET_INLINE uint16_t checksum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

PACKET_INLINE uint64_t checksum_address(const struct address *address)
{
	return (address->word[0] & 0xffffffff) + (address->word[0] >> 32) + (address->word[1] & 0xffffffff) +
	       (address->word[1] >> 32);
}

/* What an exchange of 16-bit words adds to the sum: ~m + m' (RFC 1624 section 3). */
PACKET_INLINE uint64_t checksum_exchange16(uint16_t from, uint16_t to)
{
	return (uint64_t)(uint16_t)~from + to;
}

/*
 * What an exchange of addresses of one family adds to the sum. The parts of the mapped form that IPv4 does not send are
 * the same on both sides, and ~m + m is zero.
 */
PACKET_INLINE uint64_t checksum_exchange_address(const struct address *from, const struct address *to)
{
	struct address inverse = {{~from->word[0], ~from->word[1]}};

	return checksum_address(&inverse) + checksum_address(to);
}

/* HC' = ~(~HC + ~m + m') (RFC 1624 equation 3). */
PACKET_INLINE uint16_t checksum_update(uint16_t checksum, uint64_t exchange)
{
	return (uint16_t)~checksum_fold((uint64_t)(uint16_t)~checksum + exchange);
}

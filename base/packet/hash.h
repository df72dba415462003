/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Mixing for table lookups and flow hashes: a multiply and a fold per 64-bit word, finished as MurmurHash3's fmix64
 * (public domain, A. Appleby). The seed keeps collisions from being prepared in advance by someone who does not know it;
 * it is not a cryptographic keyed hash.
 */
#pragma once

#include "base/packet/target.h"

PACKET_INLINE uint64_t hash_word(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 32;
}

/*
 * Three words at once: three products that wait for nothing but their word, folded and multiplied once more. For
 * dictionaries whose keys nobody outside chooses. The upper half is the better one.
 *
 * An IPv6 network's number and a host's lie in the last bytes of their words, which are the top ones here, where a product
 * moves them nowhere: all networks times all hosts would share the few values of a byte. So words are folded first.
 */
PACKET_INLINE uint64_t hash_three(uint64_t seed, const uint64_t word[3])
{
	uint64_t first = word[0] ^ seed, second = word[1], hash;

	first = (first ^ first >> 32) * 0x9e3779b97f4a7c15ull;
	second = (second ^ second >> 32) * 0xff51afd7ed558ccdull;
	hash = first ^ second ^ word[2] * 0xc4ceb9fe1a85ec53ull;
	return (hash ^ hash >> 32) * 0x9e3779b97f4a7c15ull;
}

PACKET_INLINE uint64_t hash_finish(uint64_t hash)
{
	hash *= 0xff51afd7ed558ccdull;
	hash ^= hash >> 33;
	hash *= 0xc4ceb9fe1a85ec53ull;
	return hash ^ hash >> 33;
}

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * SipHash-2-4 (J.-P. Aumasson and D. J. Bernstein, "SipHash: a fast short-input PRF", 2012): a keyed hash of 64 bits whose values
 * nobody can foretell, or tell from chance, without the key. For messages of whole words; other lengths through
 * siphash_end(). Words are little endian, as loaded.
 */
#pragma once

#include "base/packet/target.h"

struct siphash_key {
	uint64_t word[2];
};
_Static_assert(sizeof(struct siphash_key) == 16, "128 bits");

struct siphash {
	uint64_t v0, v1, v2, v3;
};

PACKET_INLINE uint64_t siphash_rotate(uint64_t value, uint32_t bits)
{
	return value << bits | value >> (64 - bits);
}

PACKET_INLINE void siphash_round(struct siphash *hash)
{
	hash->v0 += hash->v1;
	hash->v2 += hash->v3;
	hash->v1 = siphash_rotate(hash->v1, 13) ^ hash->v0;
	hash->v3 = siphash_rotate(hash->v3, 16) ^ hash->v2;
	hash->v0 = siphash_rotate(hash->v0, 32);
	hash->v2 += hash->v1;
	hash->v0 += hash->v3;
	hash->v1 = siphash_rotate(hash->v1, 17) ^ hash->v2;
	hash->v3 = siphash_rotate(hash->v3, 21) ^ hash->v0;
	hash->v2 = siphash_rotate(hash->v2, 32);
}

PACKET_INLINE struct siphash siphash_begin(const struct siphash_key *key)
{
	return (struct siphash){key->word[0] ^ 0x736f6d6570736575ull, key->word[1] ^ 0x646f72616e646f6dull,
				key->word[0] ^ 0x6c7967656e657261ull, key->word[1] ^ 0x7465646279746573ull};
}

PACKET_INLINE void siphash_word(struct siphash *hash, uint64_t word)
{
	hash->v3 ^= word;
	siphash_round(hash);
	siphash_round(hash);
	hash->v0 ^= word;
}

/* `length_bytes` of the whole message; `rest`: its last bytes that are no whole word, the first one lowest, 0 for none. */
PACKET_INLINE uint64_t siphash_end(struct siphash *hash, uint64_t length_bytes, uint64_t rest)
{
	siphash_word(hash, length_bytes << 56 | rest);
	hash->v2 ^= 0xff;
	siphash_round(hash);
	siphash_round(hash);
	siphash_round(hash);
	siphash_round(hash);
	return hash->v0 ^ hash->v1 ^ hash->v2 ^ hash->v3;
}

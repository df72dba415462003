/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * SHA-1 (FIPS 180-4 section 6.1.2), a block at a time: for the keyed check of STUN messages (RFC 8489 section 14.5), where what
 * is wrong with it as a hash does not matter. Words are numbers, the first byte on top.
 */
#pragma once

#include "base/packet/target.h"

#define SHA1_WORDS 5u
#define SHA1_BLOCK_WORDS 16u
#define SHA1_BLOCK_BYTES 64u

struct sha1 {
	uint32_t state[SHA1_WORDS];
	uint32_t zero;
	uint32_t block[SHA1_BLOCK_WORDS]; /* of the message; used up by sha1_block() */
};

PACKET_INLINE void sha1_begin(struct sha1 *sha1)
{
	sha1->state[0] = 0x67452301;
	sha1->state[1] = 0xefcdab89;
	sha1->state[2] = 0x98badcfe;
	sha1->state[3] = 0x10325476;
	sha1->state[4] = 0xc3d2e1f0;
}

PACKET_INLINE uint32_t sha1_rotate(uint32_t value, uint32_t bits)
{
	return value << bits | value >> (32 - bits);
}

/* The function and constant of a twenty of rounds (FIPS 180-4 sections 4.1.1 and 4.2.1). */
PACKET_INLINE uint32_t sha1_mix(uint32_t twenty, uint32_t b, uint32_t c, uint32_t d)
{
	if (twenty == 0)
		return (d ^ (b & (c ^ d))) + 0x5a827999;
	if (twenty == 2)
		return ((b & c) | (d & (b | c))) + 0x8f1bbcdc;
	return (b ^ c ^ d) + (twenty == 1 ? 0x6ed9eba1 : 0xca62c1d6);
}

/* Takes one block of the message into the state. Returns 0; verifier: a function returns a number. */
PACKET_FUNCTION uint32_t sha1_block(struct sha1 *sha1)
{
	uint32_t a, b, c, d, e;

	if (!sha1)
		return 0;
	a = sha1->state[0];
	b = sha1->state[1];
	c = sha1->state[2];
	d = sha1->state[3];
	e = sha1->state[4];
	PACKET_UNROLL
	for (uint32_t round = 0; round < 80; round++) {
		/* once, and to memory: else BPF's compiler keeps all of them on a stack that has no room */
		uint32_t word = load_once(sha1->block[round % SHA1_BLOCK_WORDS]), next;

		if (round >= SHA1_BLOCK_WORDS) {
			word = sha1_rotate(word ^ load_once(sha1->block[(round + 2) % SHA1_BLOCK_WORDS]) ^
						   load_once(sha1->block[(round + 8) % SHA1_BLOCK_WORDS]) ^
						   load_once(sha1->block[(round + 13) % SHA1_BLOCK_WORDS]),
					   1);
			store_once(sha1->block[round % SHA1_BLOCK_WORDS], word);
		}
		next = sha1_rotate(a, 5) + sha1_mix(round / 20, b, c, d) + e + word;
		value_opaque(next); /* rounds one behind the other, for the same reason */
		e = d;
		d = c;
		c = sha1_rotate(b, 30);
		b = a;
		a = next;
	}
	sha1->state[0] += a;
	sha1->state[1] += b;
	sha1->state[2] += c;
	sha1->state[3] += d;
	sha1->state[4] += e;
	return 0;
}

/* HMAC's end (RFC 2104 section 2): the state becomes the digest. `outer`: the state behind the outer pad. */
PACKET_INLINE void sha1_end(struct sha1 *sha1, const uint32_t outer[SHA1_WORDS])
{
	PACKET_UNROLL
	for (uint32_t i = SHA1_WORDS; i < SHA1_BLOCK_WORDS; i++)
		sha1->block[i] = 0;
	PACKET_UNROLL
	for (uint32_t i = 0; i < SHA1_WORDS; i++) {
		sha1->block[i] = sha1->state[i];
		sha1->state[i] = outer[i];
	}
	sha1->block[SHA1_WORDS] = 0x80000000u;
	sha1->block[SHA1_BLOCK_WORDS - 1] = (SHA1_BLOCK_BYTES + 4 * SHA1_WORDS) * 8;
	sha1_block(sha1);
}

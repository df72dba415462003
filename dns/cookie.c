/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/cookie.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static uint64_t rotate(uint64_t value, unsigned int bits)
{
	return value << bits | value >> (64 - bits);
}

static void siphash_rounds(uint64_t v[static 4], unsigned int rounds)
{
	while (rounds--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

uint64_t siphash24(const uint8_t key[static 16], const uint8_t *data, size_t length)
{
	uint64_t k[2], word, v[4];
	size_t at = 0;

	memcpy(k, key, sizeof(k));
	v[0] = k[0] ^ 0x736f6d6570736575ull;
	v[1] = k[1] ^ 0x646f72616e646f6dull;
	v[2] = k[0] ^ 0x6c7967656e657261ull;
	v[3] = k[1] ^ 0x7465646279746573ull;
	for (; at + 8 <= length; at += 8) {
		memcpy(&word, data + at, 8);
		v[3] ^= word;
		siphash_rounds(v, 2);
		v[0] ^= word;
	}
	word = (uint64_t)length << 56;
	for (size_t i = 0; at + i < length; i++)
		word |= (uint64_t)data[at + i] << 8 * i;
	v[3] ^= word;
	siphash_rounds(v, 2);
	v[0] ^= word;
	v[2] ^= 0xff;
	siphash_rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void cookie_secret_init(struct cookie_secret *ret_secret)
{
	if (getrandom(ret_secret->bytes, sizeof(ret_secret->bytes), 0) != sizeof(ret_secret->bytes))
		abort();
}

void cookie_make(const struct cookie_secret *secret, const uint8_t client[static 8], const struct address *address, uint32_t now_s,
		 uint8_t ret_cookie[static 24])
{
	size_t address_length = address_is_ipv4(address) ? 4 : 16;
	uint8_t hashed[32];
	uint64_t hash;

	memcpy(ret_cookie, client, 8);
	ret_cookie[8] = 1;
	memset(ret_cookie + 9, 0, 3);
	for (size_t i = 0; i < 4; i++)
		ret_cookie[12 + i] = (uint8_t)(now_s >> (24 - 8 * i));
	memcpy(hashed, ret_cookie, 16);
	memcpy(hashed + 16, (const uint8_t *)address + 16 - address_length, address_length);
	hash = siphash24(secret->bytes, hashed, 16 + address_length);
	memcpy(ret_cookie + 16, &hash, 8);
}

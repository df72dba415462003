/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/rtc_secret.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/lib/bytes.h"
#include "base/lib/memory.h"

/* The state behind a pad: the key, filled up with zeros to a block, combined with it (RFC 2104 section 2). */
static void pad_take(const uint8_t key[static SHA1_BLOCK_BYTES], uint8_t pad, uint32_t ret_state[static SHA1_WORDS])
{
	struct sha1 sha1 = {0};

	sha1_begin(&sha1);
	for (uint32_t i = 0; i < SHA1_BLOCK_WORDS; i++)
		sha1.block[i] = bytes_get32(key + 4 * i) ^ 0x01010101u * pad;
	sha1_block(&sha1);
	memcpy(ret_state, sha1.state, sizeof(sha1.state));
}

/* A key longer than a block counts by its hash. */
static void key_shorten(const char *password, size_t length, uint8_t key[static SHA1_BLOCK_BYTES])
{
	struct sha1 sha1 = {0};

	sha1_begin(&sha1);
	for (size_t first = 0; first < length + 9; first += SHA1_BLOCK_BYTES) {
		uint8_t block[SHA1_BLOCK_BYTES] = {0};

		if (first < length)
			memcpy(block, password + first, length - first < sizeof(block) ? length - first : sizeof(block));
		if (length - first < sizeof(block))
			block[length - first] = 0x80;
		if (first + sizeof(block) >= length + 9)
			bytes_put64(block + sizeof(block) - 8, 8 * length);
		for (uint32_t i = 0; i < SHA1_BLOCK_WORDS; i++)
			sha1.block[i] = bytes_get32(block + 4 * i);
		sha1_block(&sha1);
	}
	for (uint32_t i = 0; i < SHA1_WORDS; i++)
		bytes_put32(key + 4 * i, sha1.state[i]);
}

struct rtc_secret rtc_secret_of(uint64_t fragment, const char *password)
{
	uint8_t key[SHA1_BLOCK_BYTES] = {0};
	struct rtc_secret secret = {.fragment = fragment};
	size_t length = strlen(password);

	if (length > sizeof(key))
		key_shorten(password, length, key);
	else
		memcpy(key, password, length);
	pad_take(key, 0x36, secret.inner);
	pad_take(key, 0x5c, secret.outer);
	return secret;
}

#define LABEL_AUTHENTICATION 0x01 /* of RTP; RFC 3711 section 4.3.1 */
#define AUTHENTICATION_BYTES 20   /* RFC 3711 section 8.2 */

/* RFC 3711 sections 4.3.1 and 4.3.3 with a derivation rate of 0: AES in counter mode, which begins with the salt and the label. */
static void authentication_derive(const struct srtp_key *key, uint8_t ret_derived[static AUTHENTICATION_BYTES])
{
	EVP_CIPHER_CTX *cipher = memory_or_end(EVP_CIPHER_CTX_new());
	static const uint8_t zeros[AUTHENTICATION_BYTES];
	uint8_t start[16] = {0};
	int length;

	memcpy(start, key->salt, sizeof(key->salt));
	start[7] ^= LABEL_AUTHENTICATION;
	if (EVP_EncryptInit_ex(cipher, EVP_aes_128_ctr(), NULL, key->key, start) != 1 ||
	    EVP_EncryptUpdate(cipher, ret_derived, &length, zeros, sizeof(zeros)) != 1)
		abort(); /* the library has no AES */
	EVP_CIPHER_CTX_free(cipher);
}

struct rtc_srtp rtc_srtp_of(uint64_t fragment, const struct srtp_key *key)
{
	struct rtc_srtp srtp = {.fragment = fragment, .profile = (uint8_t)key->profile};
	uint8_t padded[SHA1_BLOCK_BYTES] = {0};

	authentication_derive(key, padded);
	pad_take(padded, 0x36, srtp.inner);
	pad_take(padded, 0x5c, srtp.outer);
	OPENSSL_cleanse(padded, sizeof(padded));
	return srtp;
}

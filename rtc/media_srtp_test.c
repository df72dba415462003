/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libsrtp does the work; here it is compared with the RFCs. It takes master keys only, and some vectors give session keys: so a
 * derivation and a cipher made of OpenSSL are checked against the vectors first, and libsrtp then against them.
 */
#include "rtc/media_srtp.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <cmocka.h>

#include "base/lib/bytes.h"
#include "rtc/media_vectors_fixture.h"

#define MASTER_KEY "e1f97a0d3e018be0d64fa32c06de4139"
#define MASTER_SALT "0ec675ad498afeebb6960b3aabe6"

static struct media_srtp *srtp_new(enum media_profile profile, const char *ours, const char *theirs)
{
	struct media_srtp_keys keys = {.profile = profile};
	struct media_srtp *srtp = NULL;

	vector_hex(ours, keys.ours, sizeof(keys.ours));
	vector_hex(theirs, keys.theirs, sizeof(keys.theirs));
	assert_int_equal(media_srtp_new(&keys, &srtp, NULL), 0);
	return srtp;
}

/* --- a second opinion ------------------------------------------------------------------------------------------------------ */

static void aes_ctr(const uint8_t *key, const uint8_t counter[static 16], const uint8_t *in, size_t length, uint8_t *out)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int written;

	assert_int_equal(EVP_EncryptInit_ex(context, EVP_aes_128_ctr(), NULL, key, counter), 1);
	assert_int_equal(EVP_EncryptUpdate(context, out, &written, in, (int)length), 1);
	EVP_CIPHER_CTX_free(context);
}

/* RFC 3711 section 4.3.1, with a key derivation rate of 0. A shorter salt ends in zeros (RFC 7714 section 11). */
static void derive(const char *key_hex, const char *salt_hex, uint8_t label, uint8_t *out, size_t length)
{
	uint8_t key[16], counter[16] = {0}, zeros[32] = {0};

	vector_hex(key_hex, key, sizeof(key));
	vector_hex(salt_hex, counter, 14);
	counter[7] ^= label;
	aes_ctr(key, counter, zeros, length, out);
}

/* RFC 7714 section 8.1: the IV of SRTP; section 9.1 of SRTCP. */
static void gcm_iv(const uint8_t salt[static 12], uint32_t ssrc, uint64_t index, uint8_t iv[static 12])
{
	memset(iv, 0, 12);
	bytes_put32(iv + 2, ssrc);
	bytes_put16(iv + 6, (uint16_t)(index >> 32));
	bytes_put32(iv + 8, (uint32_t)index);
	for (int i = 0; i < 12; i++)
		iv[i] ^= salt[i];
}

static void gcm_seal(const uint8_t *key, const uint8_t *iv, const uint8_t *head, size_t head_length, const uint8_t *in,
		     size_t length, uint8_t *out)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int written;

	assert_int_equal(EVP_EncryptInit_ex(context, EVP_aes_128_gcm(), NULL, key, iv), 1);
	assert_int_equal(EVP_EncryptUpdate(context, NULL, &written, head, (int)head_length), 1);
	assert_int_equal(EVP_EncryptUpdate(context, out, &written, in, (int)length), 1);
	assert_int_equal(EVP_EncryptFinal_ex(context, out + length, &written), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, 16, out + length), 1);
	EVP_CIPHER_CTX_free(context);
}

/* RFC 3711 B.2: the counter is salt, SSRC 0 and index 0. */
static void keystream_is_the_rfcs(void **state)
{
	uint8_t key[16], counter[16] = {0}, zeros[48] = {0}, stream[48], wanted[48];

	vector_hex("2b7e151628aed2a6abf7158809cf4f3c", key, 16);
	vector_hex("f0f1f2f3f4f5f6f7f8f9fafbfcfd", counter, 14);
	aes_ctr(key, counter, zeros, sizeof(zeros), stream);
	assert_int_equal(vector_read("rfc3711_B.2_aes_cm_keystream", wanted, sizeof(wanted)), 48);
	assert_memory_equal(stream, wanted, 48);
}

static void derivation_is_the_rfcs(void **state)
{
	uint8_t wanted[50], made[50];

	assert_int_equal(vector_read("rfc3711_B.3_key_derivation", wanted, sizeof(wanted)), 50);
	derive(MASTER_KEY, MASTER_SALT, 0, made, 16);
	derive(MASTER_KEY, MASTER_SALT, 2, made + 16, 14);
	derive(MASTER_KEY, MASTER_SALT, 1, made + 30, 20);
	assert_memory_equal(made, wanted, 50);
}

/* RFC 7714 section 16: the second opinion seals as the RFC does. */
static void gcm_is_the_rfcs(void **state)
{
	uint8_t wanted[128], made[128], key[16], salt[12], iv[12], plain[64];
	size_t length = vector_read("rfc7714_16_aes128_gcm_srtp", wanted, sizeof(wanted));
	size_t plain_length = vector_hex("8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e69732064697669736120696e207061"
					 "727465732074726573", plain, sizeof(plain));

	vector_hex("000102030405060708090a0b0c0d0e0f", key, 16);
	vector_hex("517569642070726f2071756f", salt, 12);
	gcm_iv(salt, bytes_get32(plain + 8), 0xf17b, iv);
	memcpy(made, plain, 12);
	gcm_seal(key, iv, plain, 12, plain + 12, plain_length - 12, made + 12);
	assert_int_equal(length, plain_length + 16);
	assert_memory_equal(made, wanted, length);
}

/* --- libsrtp --------------------------------------------------------------------------------------------------------------- */

static void published_packet(const char *name, const char *plain_hex, bool control)
{
	struct media_srtp *srtp = srtp_new(MEDIA_PROFILE_AES128_CM_SHA1_80, MASTER_KEY MASTER_SALT, MASTER_KEY MASTER_SALT);
	uint8_t packet[128], plain[64], wanted[64];
	size_t length = vector_hex(plain_hex, packet, 64), plain_length = length;
	size_t wanted_length = vector_read(name, wanted, sizeof(wanted));

	memcpy(plain, packet, length);
	assert_int_equal(control ? media_srtcp_protect(srtp, packet, &length) : media_srtp_protect(srtp, packet, &length), 0);
	assert_int_equal(length, wanted_length);
	assert_memory_equal(packet, wanted, length);
	assert_int_equal(control ? media_srtcp_unprotect(srtp, packet, &length) : media_srtp_unprotect(srtp, packet, &length), 0);
	assert_int_equal(length, plain_length);
	assert_memory_equal(packet, plain, length);
	/* The same again: it came before. */
	assert_int_equal(control ? media_srtcp_unprotect(srtp, wanted, &wanted_length)
				 : media_srtp_unprotect(srtp, wanted, &wanted_length), -EBADMSG);
	media_srtp_free(srtp);
}

static void published_packets(void **state)
{
	published_packet("srtp_aes128cm_sha1_80_packet", "800f1234decafbadcafebabeabababababababababababababababab", false);
	published_packet("srtcp_aes128cm_sha1_80_packet", "81c8000bcafebabeabababababababababababababababab", true);
}

static void gcm_is_sealed_as_by_the_second_opinion(void **state)
{
	struct media_srtp *srtp = srtp_new(MEDIA_PROFILE_AEAD_AES_128_GCM, MASTER_KEY "0ec675ad498afeebb6960b3a", MASTER_KEY);
	uint8_t key[16], salt[16], iv[12], packet[128], made[128];
	size_t length = vector_hex("800f1234decafbadcafebabeabababababababababababababababab", packet, 64), plain = length;

	derive(MASTER_KEY, "0ec675ad498afeebb6960b3a", 0, key, 16);
	derive(MASTER_KEY, "0ec675ad498afeebb6960b3a", 2, salt, 12);
	gcm_iv(salt, 0xcafebabe, 0x1234, iv);
	memcpy(made, packet, 12);
	gcm_seal(key, iv, packet, 12, packet + 12, plain - 12, made + 12);
	assert_int_equal(media_srtp_protect(srtp, packet, &length), 0);
	assert_int_equal(length, plain + 16);
	assert_memory_equal(packet, made, length);
	media_srtp_free(srtp);
}

static void keys_are_split_as_the_rfc_says(void **state)
{
	uint8_t material[2 * MEDIA_SRTP_KEY_MAX];
	struct media_srtp_keys client, server;

	for (size_t i = 0; i < sizeof(material); i++)
		material[i] = (uint8_t)i;
	client = media_srtp_keys_split(MEDIA_PROFILE_AES128_CM_SHA1_80, material, true);
	assert_memory_equal(client.ours, material, 16);
	assert_memory_equal(client.theirs, material + 16, 16);
	assert_memory_equal(client.ours + 16, material + 32, 14);
	assert_memory_equal(client.theirs + 16, material + 46, 14);
	server = media_srtp_keys_split(MEDIA_PROFILE_AEAD_AES_128_GCM, material, false);
	assert_memory_equal(server.theirs + 16, material + 32, 12);
	assert_memory_equal(server.ours + 16, material + 44, 12);
}

static void changed_packets_are_refused(void **state)
{
	static const enum media_profile profiles[] = {MEDIA_PROFILE_AEAD_AES_128_GCM, MEDIA_PROFILE_AES128_CM_SHA1_80};

	for (size_t i = 0; i < array_length(profiles); i++) {
		struct media_srtp *srtp = srtp_new(profiles[i], MASTER_KEY MASTER_SALT, MASTER_KEY MASTER_SALT);
		uint8_t packet[128], changed[128];
		size_t length = vector_hex("800f1234decafbadcafebabeabababababababababababababababab", packet, 64), again;

		assert_int_equal(media_srtp_protect(srtp, packet, &length), 0);
		for (size_t at = 1; at < length; at++) {
			memcpy(changed, packet, length);
			changed[at] ^= 1;
			again = length;
			assert_true(media_srtp_unprotect(srtp, changed, &again) < 0);
		}
		assert_int_equal(media_srtp_unprotect(srtp, packet, &length), 0);
		media_srtp_free(srtp);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keystream_is_the_rfcs),
		cmocka_unit_test(derivation_is_the_rfcs),
		cmocka_unit_test(gcm_is_the_rfcs),
		cmocka_unit_test(published_packets),
		cmocka_unit_test(gcm_is_sealed_as_by_the_second_opinion),
		cmocka_unit_test(keys_are_split_as_the_rfc_says),
		cmocka_unit_test(changed_packets_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

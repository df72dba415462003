/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures of STUN messages: published ones, and those of another implementation for every length. */
#include "rtc/rtc_integrity.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/hmac.h>

#include "rtc/media_vectors_fixture.h"
#include "rtc/rtc_secret.h"

#define FRAGMENT 77u

static struct rtc_scratch scratch;

/* FIPS 180-4's examples, as NIST publishes them: one block, and two. */
static void blocks_are_hashed(void **state)
{
	static const uint32_t abc[] = {0xa9993e36, 0x4706816a, 0xba3e2571, 0x7850c26c, 0x9cd0d89d};
	static const uint32_t two[] = {0x84983e44, 0x1c3bd26e, 0xbaae4aa1, 0xf95129e5, 0xe54670f1};
	struct sha1 sha1 = {.block = {0x61626380, [15] = 24}};

	(void)state;
	sha1_begin(&sha1);
	sha1_block(&sha1);
	assert_memory_equal(sha1.state, abc, sizeof(abc));
	sha1_begin(&sha1);
	for (uint32_t i = 0; i < 14; i++)
		sha1.block[i] = 0x61626364 + 0x01010101 * i; /* "abcdbcdecdef...nopq" */
	sha1.block[14] = 0x80000000;
	sha1.block[15] = 0;
	sha1_block(&sha1);
	memset(sha1.block, 0, sizeof(sha1.block));
	sha1.block[15] = 448;
	sha1_block(&sha1);
	assert_memory_equal(sha1.state, two, sizeof(two));
}

static bool holds(const char *password)
{
	struct rtc_secret secret = rtc_secret_of(FRAGMENT, password);

	return scratch.stun.integrity_at && rtc_integrity_holds(&secret, &scratch, scratch.stun.integrity_at);
}

static void message_take(const uint8_t *bytes, size_t length)
{
	memset(&scratch, 0, sizeof(scratch));
	memcpy(scratch.message.bytes, bytes, length);
	memset(scratch.message.bytes + length, 0xee, 64); /* what is left of others counts for nothing */
	scratch.message.length = (uint32_t)length;
	stun_read(&scratch.message, &scratch.stun);
	assert_int_equal(scratch.stun.fault, STUN_FINE);
}

/* RFC 5769 sections 2.1 to 2.3: the password is the same. */
static void published_messages_hold(void **state)
{
	static const char *const names[] = {"rfc5769_2.1_request", "rfc5769_2.2_response_ipv4", "rfc5769_2.3_response_ipv6"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		uint8_t bytes[512];
		size_t length = vector_read(names[i], bytes, sizeof(bytes));

		message_take(bytes, length);
		assert_true(holds("VOkJxbRl1RmTxUk/WvJxBt"));
		assert_false(holds("VOkJxbRl1RmTxUk/WvJxBu"));
		scratch.message.bytes[24] ^= 1;
		assert_false(holds("VOkJxbRl1RmTxUk/WvJxBt"));
	}
}

/* A request with so many bytes in front of its signature, signed by OpenSSL. */
static size_t request_write(uint8_t *bytes, uint32_t before, const char *password, bool fingerprint)
{
	unsigned int digest_length = 20;
	size_t length = before;

	memset(bytes, 0, before);
	bytes[1] = 1;
	bytes[4] = 0x21;
	bytes[5] = 0x12;
	bytes[6] = 0xa4;
	bytes[7] = 0x42;
	for (uint32_t i = 8; i < 20; i++)
		bytes[i] = (uint8_t)(i * 29);
	if (before > 20) {
		bytes[20] = 0x80;
		bytes[21] = 0x22;
		bytes[22] = (uint8_t)((before - 24) >> 8);
		bytes[23] = (uint8_t)(before - 24);
		for (uint32_t i = 24; i < before; i++)
			bytes[i] = (uint8_t)(i * 31);
	}
	bytes[2] = (uint8_t)((before + 24 - 20) >> 8);
	bytes[3] = (uint8_t)(before + 24 - 20);
	bytes[before] = 0;
	bytes[before + 1] = 8;
	bytes[before + 2] = 0;
	bytes[before + 3] = 20;
	assert_non_null(HMAC(EVP_sha1(), password, (int)strlen(password), bytes, before, bytes + before + 4, &digest_length));
	length += 24;
	if (fingerprint) {
		struct stun_message message;
		uint32_t crc;

		bytes[2] = (uint8_t)((length + 8 - 20) >> 8);
		bytes[3] = (uint8_t)(length + 8 - 20);
		memcpy(message.bytes, bytes, length);
		crc = stun_crc(&message, (uint32_t)length) ^ STUN_FINGERPRINT_XOR;
		bytes[length] = 0x80;
		bytes[length + 1] = 0x28;
		bytes[length + 2] = 0;
		bytes[length + 3] = 4;
		for (uint32_t i = 0; i < 4; i++)
			bytes[length + 4 + i] = (uint8_t)(crc >> (24 - 8 * i));
		length += 8;
	}
	return length;
}

static void every_length_holds(void **state)
{
	char password[257];

	(void)state;
	for (uint32_t before = 20; before + 32 <= STUN_BYTES_MAX; before += 4) {
		uint32_t length = 22 + before % 235; /* of the password: RFC 8445 section 5.3 has 22 to 256 */
		uint8_t bytes[STUN_BYTES_MAX];

		for (uint32_t i = 0; i < length; i++)
			password[i] = (char)('0' + (i + before) % 70);
		password[length] = '\0';
		for (uint32_t fingerprint = 0; fingerprint < 2; fingerprint++) {
			size_t size = request_write(bytes, before, password, fingerprint);

			message_take(bytes, size);
			assert_int_equal(scratch.stun.integrity_at, before);
			assert_true(holds(password));
			password[length - 1] ^= 1;
			assert_false(holds(password));
			password[length - 1] ^= 1;
			scratch.message.bytes[before + 23] ^= 0x80;
			assert_false(holds(password));
		}
	}
}

/* Only the first signature counts, and only one of 20 bytes. */
static void other_signatures_are_none(void **state)
{
	uint8_t bytes[128];
	size_t length = request_write(bytes, 40, "passwordpasswordpassword", false);

	(void)state;
	bytes[41] = 0x1c; /* MESSAGE-INTEGRITY-SHA256 */
	message_take(bytes, length);
	assert_int_equal(scratch.stun.integrity_at, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_are_hashed),
		cmocka_unit_test(published_messages_hold),
		cmocka_unit_test(every_length_holds),
		cmocka_unit_test(other_signatures_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

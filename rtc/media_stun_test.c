/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/media_stun.h"

#include <errno.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/lib/address_text.h"
#include "base/lib/bytes.h"
#include "rtc/media_vectors_fixture.h"

#define PASSWORD "VOkJxbRl1RmTxUk/WvJxBt"

static void rfc5769_request(void **state)
{
	uint8_t bytes[256];
	size_t length = vector_read("rfc5769_2.1_request", bytes, sizeof(bytes));
	struct media_stun message;

	assert_int_equal(length, 108);
	assert_int_equal(media_stun_parse(bytes, length, &message), 0);
	assert_int_equal(message.type, MEDIA_STUN_REQUEST);
	assert_int_equal(message.username_length, 9);
	assert_memory_equal(message.username, "evtj:h6vY", 9);
	assert_int_equal(message.priority, 0x6e0001ff);
	assert_int_equal(message.role, MEDIA_STUN_CONTROLLED);
	assert_int_equal(message.tie_breaker, 0x932ff9b151263b36);
	assert_int_equal(message.unknown_count, 0);
	assert_true(message.has_fingerprint);
	assert_true(media_stun_verify(&message, PASSWORD));
	assert_false(media_stun_verify(&message, "VOkJxbRl1RmTxUk/WvJxBu"));
}

static void response_check(const char *name, const char *mapped)
{
	uint8_t bytes[256];
	size_t length = vector_read(name, bytes, sizeof(bytes));
	struct media_stun message;
	char text[ENDPOINT_TEXT_SIZE];

	assert_int_equal(media_stun_parse(bytes, length, &message), 0);
	assert_int_equal(message.type, MEDIA_STUN_SUCCESS);
	assert_true(message.has_mapped && message.has_fingerprint);
	assert_string_equal(endpoint_format(&message.mapped.address, message.mapped.port, text), mapped);
	assert_true(media_stun_verify(&message, PASSWORD));
}

static void rfc5769_responses(void **state)
{
	response_check("rfc5769_2.2_response_ipv4", "192.0.2.1:32853");
	response_check("rfc5769_2.3_response_ipv6", "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
}

static void rfc5769_long_term(void **state)
{
	static const char key_text[] = "\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3\x82\xb9:example.org:TheMatrIX";
	uint8_t bytes[256], key[16];
	size_t length = vector_read("rfc5769_2.4_request_longterm", bytes, sizeof(bytes));
	struct media_stun message;

	assert_int_equal(EVP_Digest(key_text, sizeof(key_text) - 1, key, NULL, EVP_md5(), NULL), 1);
	assert_int_equal(media_stun_parse(bytes, length, &message), 0);
	assert_int_equal(message.username_length, 18);
	assert_false(message.has_fingerprint);
	assert_true(media_stun_verify_key(&message, key, sizeof(key)));
	/* REALM and NONCE must be understood (below 0x8000), and are not: an answer would be 420. */
	assert_int_equal(message.unknown_count, 2);
	assert_int_equal(message.unknown[0], 0x0015);
}

static void rfc8489_as_printed_is_refused(void **state)
{
	uint8_t bytes[256];
	struct media_stun message;

	assert_int_equal(media_stun_parse(bytes, vector_read("rfc8489_B.1_as_printed", bytes, sizeof(bytes)), &message), -EBADMSG);
	assert_int_equal(media_stun_parse(bytes, vector_read("rfc8489_B.1_request_longterm_sha256", bytes, sizeof(bytes)), &message), 0);
	/* It has MESSAGE-INTEGRITY-SHA256 only. */
	assert_false(media_stun_verify(&message, "TheMatrIX"));
}

/* Each byte of a message is under its FINGERPRINT: none can change. */
static void changes_are_noticed(void **state)
{
	uint8_t bytes[256], changed[256];
	size_t length = vector_read("rfc5769_2.1_request", bytes, sizeof(bytes));
	struct media_stun message;

	for (size_t at = 0; at < length; at++) {
		memcpy(changed, bytes, length);
		changed[at] ^= 0x10;
		/* But its own type: then it is none, and MESSAGE-INTEGRITY has the word. */
		if (at == length - 8 || at == length - 7)
			assert_true(media_stun_parse(changed, length, &message) == 0 && !message.has_fingerprint);
		else
			assert_int_equal(media_stun_parse(changed, length, &message), -EBADMSG);
	}
	for (size_t cut = 0; cut < length; cut++) /* a length that is not the header's */
		assert_int_equal(media_stun_parse(bytes, cut, &message), -EBADMSG);
}

/* What comes after MESSAGE-INTEGRITY is not protected: USE-CANDIDATE there is none. */
static void unprotected_attributes_are_ignored(void **state)
{
	struct media_stun request = {.type = MEDIA_STUN_REQUEST, .username = "a:b", .username_length = 3}, message;
	uint8_t bytes[256];
	size_t length = media_stun_write(&request, PASSWORD, bytes, sizeof(bytes)) - 8;

	bytes_put16(bytes + length, 0x0025);
	bytes_put16(bytes + length + 2, 0);
	bytes_put16(bytes + 2, (uint16_t)(length + 4 - 20));
	assert_int_equal(media_stun_parse(bytes, length + 4, &message), 0);
	assert_true(media_stun_verify(&message, PASSWORD));
	assert_false(message.use_candidate);
}

static void what_is_written_is_read(void **state)
{
	struct media_stun written = {
		.type = MEDIA_STUN_ERROR,
		.transaction = "abcdefghijkl",
		.username = "left:right",
		.username_length = 10,
		.use_candidate = true,
		.has_mapped = true,
		.role = MEDIA_STUN_CONTROLLING,
		.tie_breaker = 0x0123456789abcdef,
		.priority = 77,
		.mapped.port = 4242,
		.error_code = 487,
		.unknown = {0x7001, 0x7002, 0x7003},
		.unknown_count = 3,
	};
	struct media_stun read;
	uint8_t bytes[MEDIA_STUN_SIZE];
	size_t length;

	assert_int_equal(address_parse("2001:db8::9", &written.mapped.address), 0);
	length = media_stun_write(&written, PASSWORD, bytes, sizeof(bytes));
	assert_int_equal(media_stun_parse(bytes, length, &read), 0);
	assert_memory_equal(read.transaction, written.transaction, sizeof(read.transaction));
	assert_memory_equal(read.username, "left:right", 10);
	assert_true(read.use_candidate && read.has_mapped && read.role == MEDIA_STUN_CONTROLLING);
	assert_int_equal(read.tie_breaker, written.tie_breaker);
	assert_int_equal(read.priority, 77);
	assert_int_equal(read.error_code, 487);
	assert_true(media_endpoint_equal(&read.mapped, &written.mapped));
	assert_true(media_stun_verify(&read, PASSWORD));
	for (size_t size = 0; size < length; size++)
		assert_int_equal(media_stun_write(&written, PASSWORD, bytes, size), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc5769_request),
		cmocka_unit_test(rfc5769_responses),
		cmocka_unit_test(rfc5769_long_term),
		cmocka_unit_test(rfc8489_as_printed_is_refused),
		cmocka_unit_test(changes_are_noticed),
		cmocka_unit_test(unprotected_attributes_are_ignored),
		cmocka_unit_test(what_is_written_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

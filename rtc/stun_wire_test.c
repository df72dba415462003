/* SPDX-License-Identifier: Apache-2.0 */
/* The packet program's reader of STUN by published messages (RFC 5769, RFC 8489 appendix B.1), which nobody here wrote. */
#include "rtc/stun_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "rtc/media_vectors_fixture.h"

static void message_load(const char *name, struct stun_message *message)
{
	*message = (struct stun_message){0};
	message->length = (uint32_t)vector_read(name, message->bytes, sizeof(message->bytes));
}

static struct stun stun_of(const struct stun_message *message)
{
	struct stun stun = {0};

	stun_read(message, &stun);
	return stun;
}

/* RFC 5769 section 2.1. Its USERNAME is padded with spaces, which count for FINGERPRINT and for nothing else. */
static void request_is_read(void **state)
{
	struct stun_message message;
	struct stun stun;
	uint32_t colon;

	(void)state;
	message_load("rfc5769_2.1_request", &message);
	stun = stun_of(&message);
	assert_int_equal(stun.fault, STUN_FINE);
	assert_int_equal(stun.type, STUN_BINDING_REQUEST);
	assert_int_equal(stun.flags, STUN_HAS_USERNAME | STUN_HAS_INTEGRITY | STUN_HAS_FINGERPRINT);
	assert_int_equal(stun.username_at, 64);
	assert_int_equal(stun.username_length, 9);
	colon = stun_username_colon(&message, stun.username_at, stun.username_length);
	assert_int_equal(colon, 68);
	assert_memory_equal(message.bytes + stun.username_at, "evtj:h6vY", 9);
}

/* Sections 2.2 and 2.3: their transaction is the request's. */
static void responses_are_read(void **state)
{
	static const char *const names[] = {"rfc5769_2.2_response_ipv4", "rfc5769_2.3_response_ipv6"};
	struct stun_message request, message;

	(void)state;
	message_load("rfc5769_2.1_request", &request);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct stun stun;

		message_load(names[i], &message);
		stun = stun_of(&message);
		assert_int_equal(stun.fault, STUN_FINE);
		assert_int_equal(stun.type, STUN_BINDING_SUCCESS);
		assert_int_equal(stun.flags, STUN_HAS_INTEGRITY | STUN_HAS_FINGERPRINT);
		assert_int_equal(stun.id, stun_of(&request).id);
	}
}

/* Section 2.4 and RFC 8489 appendix B.1: long-term credentials, which no call has. */
static void long_term_requests_name_no_fragment(void **state)
{
	struct stun_message message;
	struct stun stun;

	(void)state;
	message_load("rfc5769_2.4_request_longterm", &message);
	stun = stun_of(&message);
	assert_int_equal(stun.fault, STUN_FINE);
	assert_int_equal(stun.flags, STUN_HAS_USERNAME | STUN_HAS_INTEGRITY);
	assert_int_equal(stun.username_length, 18);
	assert_int_equal(stun_username_colon(&message, stun.username_at, stun.username_length), 0);
	message_load("rfc8489_B.1_request_longterm_sha256", &message);
	stun = stun_of(&message);
	assert_int_equal(stun.fault, STUN_FINE);
	assert_int_equal(stun.flags, STUN_HAS_INTEGRITY);
	message_load("rfc8489_B.1_as_printed", &message); /* its length is wrong */
	assert_int_equal(stun_of(&message).fault, STUN_MALFORMED);
}

/* Whatever bit is another, FINGERPRINT or a length tells; but for those that turn FINGERPRINT into a part of something else. */
static void every_changed_bit_is_noticed(void **state)
{
	static const char *const names[] = {"rfc5769_2.1_request", "rfc5769_2.2_response_ipv4", "rfc5769_2.3_response_ipv6"};
	struct stun_message message;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		uint32_t unnoticed = 0;

		message_load(names[i], &message);
		for (uint32_t bit = 0; bit < 8 * message.length; bit++) {
			struct stun stun;

			message.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			stun = stun_of(&message);
			assert_false(stun.fault == STUN_FINE && stun.flags & STUN_HAS_FINGERPRINT);
			unnoticed += stun.fault == STUN_FINE;
			message.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		assert_true(unnoticed <= 16 + 3); /* its type; a bit in the length of one of those before it that makes it reach to the end */
	}
}

static void no_prefix_is_a_message(void **state)
{
	struct stun_message message;
	uint32_t whole;

	(void)state;
	message_load("rfc5769_2.1_request", &message);
	whole = message.length;
	for (message.length = 0; message.length < whole; message.length++)
		assert_int_equal(stun_of(&message).fault, STUN_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_is_read),
		cmocka_unit_test(responses_are_read),
		cmocka_unit_test(long_term_requests_name_no_fragment),
		cmocka_unit_test(every_changed_bit_is_noticed),
		cmocka_unit_test(no_prefix_is_a_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and tags of SRTP: published ones, those of another implementation (libsrtp2) for every length, and what is known of rollover counters. */
#include "rtc/rtc_srtp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/hmac.h>
#include <srtp2/srtp.h>

#include "base/lib/bytes.h"
#include "rtc/media_vectors_fixture.h"
#include "rtc/rtc_secret.h"

#define FRAGMENT 77u
#define SSRC 0xcafebabeu

/* RFC 3711 appendix B.3's master key and salt */
static const char published_key[] = "4fl6DT4Bi+DWT6MsBt5BOQ7Gda1Jiv7rtpYLOqvm";

static struct rtc_scratch scratch;
static struct rtc_sessions *sessions;

static struct srtp_key key_of(const char *profile)
{
	struct srtp_key key;
	struct error error;

	assert_int_equal(srtp_key_parse(profile, published_key, &key, &error), 0);
	return key;
}

static struct rtc_srtp srtp_of(const char *profile)
{
	struct srtp_key key = key_of(profile);

	return rtc_srtp_of(FRAGMENT, &key);
}

/* HMAC with the derived key, as its two states would have it, by OpenSSL. */
static void published_key_is_derived(void **state)
{
	struct rtc_srtp srtp = srtp_of("SRTP_AES128_CM_HMAC_SHA1_80");
	uint8_t vector[64], digest[20], wanted[20];
	unsigned int digest_length = sizeof(wanted);

	(void)state;
	assert_int_equal(vector_read("rfc3711_B.3_key_derivation", vector, sizeof(vector)), 50);
	assert_non_null(HMAC(EVP_sha1(), vector + 30, 20, (const uint8_t *)"", 0, wanted, &digest_length));
	memset(&scratch, 0, sizeof(scratch));
	memcpy(scratch.sha1.state, srtp.inner, sizeof(srtp.inner));
	scratch.sha1.block[0] = 0x80000000u;
	scratch.sha1.block[15] = 8 * SHA1_BLOCK_BYTES;
	sha1_block(&scratch.sha1);
	sha1_end(&scratch.sha1, srtp.outer);
	for (uint32_t i = 0; i < SHA1_WORDS; i++)
		bytes_put32(digest + 4 * i, scratch.sha1.state[i]);
	assert_memory_equal(digest, wanted, sizeof(wanted));
}

static void packet_take(const uint8_t *bytes, size_t length)
{
	memset(&scratch, 0, sizeof(scratch));
	memcpy(scratch.message.bytes, bytes, length);
	memset(scratch.message.bytes + length, 0xee, 64); /* what is left of others counts for nothing */
	scratch.message.length = (uint32_t)length;
	scratch.query.sequence = bytes_get16(bytes + 2);
	scratch.query.now_ms = 1000;
}

/* The session's stream as if its newest packet had this extended number, and its first one `base`. */
static void stream_set(uint32_t highest, uint32_t base)
{
	memset(&sessions->rows[1], 0, sizeof(sessions->rows[1]));
	sessions->rows[1].up = (struct rtc_stream){.ssrc = SSRC, .received = 1, .highest = highest, .base = base};
}

static enum rtc_srtp_verdict judge(struct rtc_srtp *srtp, const uint8_t *bytes, size_t length)
{
	packet_take(bytes, length);
	return rtc_srtp_judge(sessions, srtp, &scratch, 1);
}

/* libsrtp's own vector */
static void published_packet_holds(void **state)
{
	struct rtc_srtp srtp = srtp_of("SRTP_AES128_CM_HMAC_SHA1_80");
	uint8_t bytes[128];
	size_t length = vector_read("srtp_aes128cm_sha1_80_packet", bytes, sizeof(bytes));

	(void)state;
	srtp.flags = RTC_SRTP_FIRST;
	stream_set(0x11233, 0x11200);
	assert_int_equal(judge(&srtp, bytes, length), RTC_SRTP_NEWER);
	stream_set(0x11234, 0x11200);
	assert_int_equal(judge(&srtp, bytes, length), RTC_SRTP_OLD);
	for (size_t i = 0; i < length; i++) {
		if (i == 2 || i == 3)
			continue; /* another sequence number is another question */
		bytes[i] ^= 0x10;
		assert_int_equal(judge(&srtp, bytes, length), RTC_SRTP_WRONG);
		srtp.wrong = 0;
		bytes[i] ^= 0x10;
	}
	assert_int_equal(judge(&srtp, bytes, length - 1), RTC_SRTP_WRONG);
}

static void lengths_hold(const char *name, void (*policy_set)(srtp_crypto_policy_t *policy))
{
	struct srtp_key key = key_of(name);
	struct rtc_srtp srtp = rtc_srtp_of(FRAGMENT, &key);
	srtp_policy_t policy = {.ssrc.type = ssrc_any_outbound, .window_size = 1024};
	uint8_t master[64] = {0};
	srtp_t session;

	memcpy(master, key.key, 16);
	memcpy(master + 16, key.salt, 14);
	policy.key = master;
	policy_set(&policy.rtp);
	policy_set(&policy.rtcp);
	assert_int_equal(srtp_create(&session, &policy), srtp_err_status_ok);
	srtp.flags = RTC_SRTP_FIRST;
	for (uint32_t length = 12, number = 0x1fe00; length <= STUN_COPY_MAX - 10; length++, number++) {
		uint8_t bytes[STUN_COPY_MAX + 64];
		int size = (int)length;

		for (uint32_t i = 12; i < length; i++)
			bytes[i] = (uint8_t)(i * 31 + length);
		bytes[0] = 0x80;
		bytes[1] = 111;
		bytes_put16(bytes + 2, (uint16_t)number);
		bytes_put32(bytes + 4, 960 * number);
		bytes_put32(bytes + 8, SSRC);
		assert_int_equal(srtp_protect(session, bytes, &size), srtp_err_status_ok);
		/* numbers begin anew on the way; once the packet is tried as the next one, once as one that is late */
		stream_set(number - 1, 0x1fd00);
		assert_int_equal(judge(&srtp, bytes, (size_t)size), RTC_SRTP_NEWER);
		stream_set(number + 20, 0x1fd00);
		assert_int_equal(judge(&srtp, bytes, (size_t)size), RTC_SRTP_OLD);
		bytes[size - 1] ^= 1;
		assert_int_equal(judge(&srtp, bytes, (size_t)size), RTC_SRTP_WRONG);
		srtp.wrong = 0;
	}
	srtp_dealloc(session);
}

static void every_length_holds(void **state)
{
	(void)state;
	assert_int_equal(srtp_init(), srtp_err_status_ok);
	lengths_hold("SRTP_AES128_CM_HMAC_SHA1_80", srtp_crypto_policy_set_rtp_default);
	lengths_hold("SRTP_AES128_CM_HMAC_SHA1_32", srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32);
}

/* A packet of the sequence number, signed with a counter by OpenSSL. */
static size_t packet_write(uint8_t bytes[static 64], uint16_t sequence, uint32_t counter)
{
	uint8_t vector[64], digest[20], message[64] = {0x80, 111};
	unsigned int digest_length = sizeof(digest);

	vector_read("rfc3711_B.3_key_derivation", vector, sizeof(vector));
	bytes_put16(message + 2, sequence);
	bytes_put32(message + 8, SSRC);
	bytes_put32(message + 32, counter);
	assert_non_null(HMAC(EVP_sha1(), vector + 30, 20, message, 36, digest, &digest_length));
	memcpy(bytes, message, 32);
	memcpy(bytes + 32, digest, 10);
	return 42;
}

static enum rtc_srtp_verdict judge_counter(struct rtc_srtp *srtp, uint16_t sequence, uint32_t counter)
{
	uint8_t bytes[64];

	return judge(srtp, bytes, packet_write(bytes, sequence, counter));
}

static void counters_are_found_and_kept(void **state)
{
	struct rtc_srtp srtp = srtp_of("SRTP_AES128_CM_HMAC_SHA1_80");

	(void)state;
	/* nothing is known: what the stream may have, and three more */
	stream_set(0x3fff0, 0x10000);
	assert_int_equal(judge_counter(&srtp, 0xfff1, 1), RTC_SRTP_UNKNOWN);
	assert_int_equal(judge_counter(&srtp, 0xfff1, 6), RTC_SRTP_UNKNOWN);
	assert_int_equal(judge_counter(&srtp, 0xfff1, 5), RTC_SRTP_NEWER);
	/* from now on it is, for this stream alone */
	assert_int_equal(judge_counter(&srtp, 0xfff2, 4), RTC_SRTP_WRONG);
	assert_int_equal(judge_counter(&srtp, 3, 6), RTC_SRTP_NEWER);
	assert_int_equal(judge_counter(&srtp, 3, 5), RTC_SRTP_WRONG);
	stream_set(0x1fff0, 0x1fff0);
	assert_int_equal(judge_counter(&srtp, 0xfff1, 5), RTC_SRTP_UNKNOWN);
	/* of a session that was there when the key was told, the first stream only */
	srtp = srtp_of("SRTP_AES128_CM_HMAC_SHA1_80");
	srtp.flags = RTC_SRTP_FIRST;
	stream_set(0x20010, 0x1fff0);
	assert_int_equal(judge_counter(&srtp, 0x11, 0), RTC_SRTP_WRONG);
	assert_int_equal(judge_counter(&srtp, 0x11, 1), RTC_SRTP_NEWER);
	srtp.known = 0;
	sessions->rows[1].up.expected_before = 7;
	assert_int_equal(judge_counter(&srtp, 0x11, 3), RTC_SRTP_NEWER);
}

/* What is looked at in vain is limited by time, and comes back. */
static void wrong_tags_are_limited(void **state)
{
	struct rtc_srtp srtp = srtp_of("SRTP_AES128_CM_HMAC_SHA1_80");
	uint8_t bytes[64];
	size_t length = packet_write(bytes, 0x11, 0);

	(void)state;
	srtp.flags = RTC_SRTP_FIRST;
	stream_set(0x10010, 0x10000);
	for (uint32_t i = 0; i < RTC_SRTP_WRONG_MAX; i++)
		assert_int_equal(judge_counter(&srtp, 0x11, 1), RTC_SRTP_WRONG);
	assert_int_equal(judge(&srtp, bytes, length), RTC_SRTP_WRONG);
	packet_take(bytes, length);
	scratch.query.now_ms = 1000 + (1u << RTC_SRTP_WINDOW_SHIFT);
	assert_int_equal(rtc_srtp_judge(sessions, &srtp, &scratch, 1), RTC_SRTP_NEWER);
	/* without a counter nothing is said against them, as before */
	srtp.flags = 0;
	srtp.known = 0;
	for (uint32_t i = 0; i < 2 * RTC_SRTP_WRONG_MAX; i++)
		assert_int_equal(judge_counter(&srtp, 0x11, 9), RTC_SRTP_UNKNOWN);
	/* a key that is being written is none */
	srtp.fragment = 0;
	assert_int_equal(judge_counter(&srtp, 0x11, 9), RTC_SRTP_UNKNOWN);
}

static void what_is_no_key_is_said(void **state)
{
	static const struct {
		const char *profile, *key, *why;
	} wrong[] = {
		{"AES_CM_128_HMAC_SHA1_80", published_key,
		 "profile \"AES_CM_128_HMAC_SHA1_80\" is not known; it is SRTP_AES128_CM_HMAC_SHA1_80 or SRTP_AES128_CM_HMAC_SHA1_32"},
		{"", published_key, "profile \"\" is not known; it is SRTP_AES128_CM_HMAC_SHA1_80 or SRTP_AES128_CM_HMAC_SHA1_32"},
		{"SRTP_AES128_CM_HMAC_SHA1_80", "4fl6DT4Bi+DWT6MsBt5BOQ7Gda1Jiv7rtpYLOqv_", "the key is not base64 of a master key of 16 bytes and a salt of 14"},
		{"SRTP_AES128_CM_HMAC_SHA1_80", "4fl6DT4Bi+DWT6MsBt5BOQ7Gda1Jiv7rtpYLOqs=", "the key is not base64 of a master key of 16 bytes and a salt of 14"},
		{"SRTP_AES128_CM_HMAC_SHA1_32", "", "the key has 0 characters; SRTP_AES128_CM_HMAC_SHA1_32 has 40 of base64: a master key of 16 bytes and a salt of 14"},
		{"SRTP_AES128_CM_HMAC_SHA1_80", "4fl6DT4Bi+DWT6MsBt5BOQ7Gda1Jiv7rtpYLOqvmAAAA",
		 "the key has 44 characters; SRTP_AES128_CM_HMAC_SHA1_80 has 40 of base64: a master key of 16 bytes and a salt of 14"},
	};
	struct srtp_key key = key_of("SRTP_AES128_CM_HMAC_SHA1_32");
	char text[SRTP_KEY_TEXT_SIZE];
	struct error error;

	(void)state;
	assert_string_equal(srtp_key_format(&key, text), published_key);
	assert_string_equal(srtp_profile_name(key.profile), "SRTP_AES128_CM_HMAC_SHA1_32");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(srtp_key_parse(wrong[i].profile, wrong[i].key, &key, &error), -EINVAL);
		assert_string_equal(error.text, wrong[i].why);
	}
}

static int sessions_make(void **state)
{
	sessions = aligned_alloc(64, sizeof(*sessions));
	return sessions ? 0 : -1;
}

static int sessions_free(void **state)
{
	free(sessions);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_key_is_derived),
		cmocka_unit_test(published_packet_holds),
		cmocka_unit_test(every_length_holds),
		cmocka_unit_test(counters_are_found_and_kept),
		cmocka_unit_test(wrong_tags_are_limited),
		cmocka_unit_test(what_is_no_key_is_said),
	};

	return cmocka_run_group_tests(tests, sessions_make, sessions_free);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What two whole peers cannot show (media_peer_test.c): roles that collide, and what messages of a stranger do. */
#include "rtc/media_ice.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/lib/bytes.h"

struct box {
	uint8_t bytes[8][MEDIA_STUN_SIZE];
	size_t length[8], count;
};

static void box_take(void *context, const struct media_endpoint *to, const uint8_t *bytes, size_t length)
{
	struct box *box = context;

	assert_true(box->count < 8 && length <= MEDIA_STUN_SIZE);
	memcpy(box->bytes[box->count], bytes, length);
	box->length[box->count++] = length;
}

struct pair {
	struct media_ice ice[2];
	struct box box[2];
	struct media_endpoint at[2];
	uint64_t now_us;
};

static void pair_init(struct pair *pair, bool first_controls, bool second_controls)
{
	memset(pair, 0, sizeof(*pair));
	pair->now_us = 1000;
	for (int i = 0; i < 2; i++) {
		struct media_ice_config config = {
			.controlling = i ? second_controls : first_controls, .send = box_take, .context = &pair->box[i]};

		pair->at[i] = (struct media_endpoint){.address = address_from_ipv4(0x01020304), .port = (uint16_t)(100 + i)};
		media_ice_init(&pair->ice[i], &config);
		media_ice_set_local(&pair->ice[i], i ? "bbbb" : "aaaa", i ? "bbbbbbbbbbbbbbbbbbbbbbbb" : "aaaaaaaaaaaaaaaaaaaaaaaa");
	}
	for (int i = 0; i < 2; i++) {
		media_ice_set_remote(&pair->ice[i], pair->ice[!i].local.ufrag, pair->ice[!i].local.password);
		media_ice_add_candidate(&pair->ice[i], &pair->at[!i], 1);
	}
}

static void pair_run(struct pair *pair, uint64_t until_us)
{
	for (; pair->now_us < until_us; pair->now_us += 1000) {
		for (int i = 0; i < 2; i++) {
			struct box box = pair->box[i];

			pair->box[i].count = 0;
			for (size_t at = 0; at < box.count; at++)
				media_ice_receive(&pair->ice[!i], pair->now_us, &pair->at[i], box.bytes[at], box.length[at]);
			(void)media_ice_advance(&pair->ice[!i], pair->now_us);
		}
	}
}

static void colliding_roles_are_settled(void **state)
{
	for (int roles = 0; roles < 4; roles++) {
		struct pair pair;

		pair_init(&pair, roles & 1, roles & 2);
		pair_run(&pair, 3000000);
		assert_int_equal(pair.ice[0].state, MEDIA_ICE_CONNECTED);
		assert_int_equal(pair.ice[1].state, MEDIA_ICE_CONNECTED);
		assert_int_not_equal(pair.ice[0].config.controlling, pair.ice[1].config.controlling);
		/* RFC 8445 section 7.3.1.1: the greater tie-breaker controls. */
		if (roles == 0 || roles == 3)
			assert_int_equal(pair.ice[0].config.controlling, pair.ice[0].tie_breaker >= pair.ice[1].tie_breaker);
	}
}

/* An answer counts only for a question, from where that went, with the password. */
static void answers_are_believed_only_when_asked_for(void **state)
{
	struct media_endpoint elsewhere = {.address = address_from_ipv4(0x05060708), .port = 1};
	struct media_stun answer = {.type = MEDIA_STUN_SUCCESS, .has_mapped = true}, request;
	uint8_t bytes[MEDIA_STUN_SIZE];
	struct pair pair;
	size_t length;

	pair_init(&pair, true, false);
	(void)media_ice_advance(&pair.ice[0], pair.now_us);
	assert_int_equal(pair.box[0].count, 1);
	assert_int_equal(media_stun_parse(pair.box[0].bytes[0], pair.box[0].length[0], &request), 0);
	length = media_stun_write(&answer, "bbbbbbbbbbbbbbbbbbbbbbbb", bytes, sizeof(bytes));
	media_ice_receive(&pair.ice[0], pair.now_us, &pair.at[1], bytes, length);
	memcpy(answer.transaction, request.transaction, sizeof(answer.transaction));
	length = media_stun_write(&answer, "cccccccccccccccccccccccc", bytes, sizeof(bytes));
	media_ice_receive(&pair.ice[0], pair.now_us, &pair.at[1], bytes, length);
	length = media_stun_write(&answer, "bbbbbbbbbbbbbbbbbbbbbbbb", bytes, sizeof(bytes));
	media_ice_receive(&pair.ice[0], pair.now_us, &elsewhere, bytes, length);
	assert_int_equal(pair.ice[0].refused, 3);
	assert_null(media_ice_path(&pair.ice[0]));
	media_ice_receive(&pair.ice[0], pair.now_us, &pair.at[1], bytes, length);
	assert_non_null(media_ice_path(&pair.ice[0]));
}

/* RFC 8489 section 6.3.1: what must be understood and is not is named in a 420. */
static void unknown_attributes_are_named(void **state)
{
	static const char password[] = "bbbbbbbbbbbbbbbbbbbbbbbb";
	struct media_stun request = {.type = MEDIA_STUN_REQUEST, .username = "bbbb:aaaa", .username_length = 9}, answer;
	uint8_t bytes[MEDIA_STUN_SIZE];
	struct pair pair;
	size_t length;

	pair_init(&pair, true, false);
	/* In the place of FINGERPRINT an attribute of no name, then the integrity over both. */
	length = media_stun_write(&request, NULL, bytes, sizeof(bytes)) - 4;
	bytes_put32(bytes + length - 4, 0x7fff0000);
	bytes_put16(bytes + 2, (uint16_t)(length + 24 - 20));
	bytes_put32(bytes + length, 0x00080014);
	assert_non_null(HMAC(EVP_sha1(), password, (int)strlen(password), bytes, length, bytes + length + 4, NULL));
	media_ice_receive(&pair.ice[1], pair.now_us, &pair.at[0], bytes, length + 24);
	assert_int_equal(pair.box[1].count, 1);
	assert_int_equal(media_stun_parse(pair.box[1].bytes[0], pair.box[1].length[0], &answer), 0);
	assert_int_equal(answer.type, MEDIA_STUN_ERROR);
	assert_int_equal(answer.error_code, 420);
	assert_true(media_stun_verify(&answer, password));
	assert_false(media_ice_knows(&pair.ice[1], &pair.at[0]));
}

/* A peer that shows to know the password may move as often as it likes; the pair that carries media is kept. */
static void many_addresses_do_not_push_out_the_path(void **state)
{
	struct media_stun request = {
		.type = MEDIA_STUN_REQUEST, .username = "bbbb:aaaa", .username_length = 9, .role = MEDIA_STUN_CONTROLLING};
	uint8_t bytes[MEDIA_STUN_SIZE];
	struct pair pair;
	bool kept = false;

	pair_init(&pair, true, false);
	pair_run(&pair, 1000000);
	assert_int_equal(pair.ice[1].state, MEDIA_ICE_CONNECTED);
	for (uint16_t port = 1; port < 100; port++) {
		struct media_endpoint from = {.address = address_from_ipv4(0x05060708), .port = port};

		request.transaction[0] = (uint8_t)port;
		media_ice_receive(&pair.ice[1], pair.now_us, &from, bytes,
				  media_stun_write(&request, "bbbbbbbbbbbbbbbbbbbbbbbb", bytes, sizeof(bytes)));
		pair.box[1].count = 0;
	}
	assert_int_equal(pair.ice[1].pair_count, MEDIA_ICE_PAIRS);
	assert_true(media_endpoint_equal(media_ice_path(&pair.ice[1]), &pair.at[0]));
	for (size_t i = 0; i < MEDIA_ICE_PAIRS; i++)
		kept |= media_endpoint_equal(&pair.ice[1].pairs[i].remote, &pair.at[0]);
	assert_true(kept);
	pair_run(&pair, 61000000);
	assert_int_equal(pair.ice[1].state, MEDIA_ICE_CONNECTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(colliding_roles_are_settled),
		cmocka_unit_test(answers_are_believed_only_when_asked_for),
		cmocka_unit_test(unknown_attributes_are_named),
		cmocka_unit_test(many_addresses_do_not_push_out_the_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

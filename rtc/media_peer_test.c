/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/media_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "rtc/media_network_fixture.h"

uint64_t network_clock_us;

/* OpenSSL's clock: see media_network_fixture.h. */
int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	now->tv_sec = (time_t)(network_clock_us / 1000000);
	now->tv_usec = (suseconds_t)(network_clock_us % 1000000);
	return 0;
}

static struct media_identity *identities[2];

struct call {
	struct network network;
	struct media_config offerer, answerer;
};

static void call_init(struct call *call, uint64_t seed)
{
	static struct sdp_candidate candidates[2];

	network_init(&call->network, seed);
	for (int i = 0; i < 2; i++) {
		struct media_config *config = i ? &call->answerer : &call->offerer;

		candidates[i] = (struct sdp_candidate){
			.foundation = "1", .type = "host", .priority = 2130706431, .endpoint = call->network.peers[i].endpoint};
		*config = (struct media_config){
			.identity = identities[i],
			.offerer = i == 0,
			.candidates = &candidates[i],
			.candidate_count = 1,
			.handlers = network_handlers(&call->network.peers[i]),
		};
	}
}

static struct media_peer *peer_of(struct call *call, int which)
{
	return call->network.peers[which].peer;
}

static enum media_state state_of(struct call *call, int which)
{
	return media_peer_statistics(peer_of(call, which)).state;
}

/* Offer and answer, as they are or with a text replaced by one as long. */
static void call_describe(struct call *call, const char *from, const char *to)
{
	_cleanup_(freep) char *offer = NULL, *answer = NULL;
	struct error error = {0};
	char *place;

	assert_int_equal(media_peer_new(&call->offerer, &call->network.peers[0].peer, &error), 0);
	assert_int_equal(media_peer_new(&call->answerer, &call->network.peers[1].peer, &error), 0);
	assert_int_equal(media_peer_offer(peer_of(call, 0), &offer, &error), 0);
	if (media_peer_answer(peer_of(call, 1), offer, strlen(offer), &answer, &error) < 0)
		fail_msg("%s", error.text);
	if (from && (place = strstr(answer, from)))
		memcpy(place, to, strlen(to));
	if (media_peer_accept(peer_of(call, 0), answer, strlen(answer), &error) < 0)
		fail_msg("%s", error.text);
}

static void call_run(struct call *call, uint32_t milliseconds)
{
	network_run(&call->network, call->network.now_us + milliseconds * 1000ull);
}

/* A frame every 20 ms. */
static void call_talk(struct call *call, uint32_t frames)
{
	static uint32_t number;
	uint8_t payload[160] = {0};

	for (uint32_t i = 0; i < frames; i++) {
		number++;
		memcpy(payload, &number, 4);
		assert_int_equal(media_peer_send(peer_of(call, 0), call->network.now_us, number * 960, i == 0, payload,
						 sizeof(payload)), 0);
		call_run(call, 20);
	}
}

static void call_done(struct call *call)
{
	network_done(&call->network);
}

/* --- calls -------------------------------------------------------------------------------------------------------------- */

static void talk_and_check(struct call *call, enum media_profile profile)
{
	struct media_statistics ours, theirs;

	call_describe(call, NULL, NULL);
	call_run(call, 300);
	assert_int_equal(state_of(call, 0), MEDIA_CONNECTED);
	assert_int_equal(state_of(call, 1), MEDIA_CONNECTED);
	call_talk(call, 200);
	call_run(call, 200);
	ours = media_peer_statistics(peer_of(call, 0));
	theirs = media_peer_statistics(peer_of(call, 1));
	assert_int_equal(call->network.peers[1].frames, 200);
	assert_int_equal(call->network.peers[0].frames, 200);
	assert_int_equal(ours.profile, profile);
	assert_int_equal(theirs.profile, profile);
	assert_int_equal(ours.received, 200);
	assert_int_equal(ours.lost + theirs.lost + ours.remote_lost + ours.refused + theirs.refused, 0);
	assert_true(ours.jitter_ms < 0.1);
	assert_int_equal(ours.longest_gap_us, 20000);
	assert_int_equal(ours.ice_round_trip_us, 20000);
	assert_in_range(ours.rtcp_round_trip_us, 19900, 20100);
	assert_int_equal(theirs.sent, 200);
}

static void both_profiles_and_agents(void **state)
{
	static const enum media_profile profiles[] = {MEDIA_PROFILE_AEAD_AES_128_GCM, MEDIA_PROFILE_AES128_CM_SHA1_80};

	for (int i = 0; i < 8; i++) {
		struct call call;

		call_init(&call, 1);
		call.network.peers[1].echoes = true;
		call.answerer.only = i & 1 ? profiles[1] : MEDIA_PROFILE_NONE;
		call.answerer.ice_lite = i & 2;
		call.answerer.dtls_active = i & 4;
		talk_and_check(&call, profiles[i & 1]);
		call_done(&call);
	}
}

static void no_profile_in_common(void **state)
{
	struct call call;

	call_init(&call, 1);
	call.offerer.only = MEDIA_PROFILE_AEAD_AES_128_GCM;
	call.answerer.only = MEDIA_PROFILE_AES128_CM_SHA1_80;
	call_describe(&call, NULL, NULL);
	call_run(&call, 3000);
	assert_int_not_equal(state_of(&call, 0), MEDIA_CONNECTED);
	assert_int_not_equal(state_of(&call, 1), MEDIA_CONNECTED);
	call_done(&call);
}

/* Losses in both directions while the call is set up: it still comes about. */
static void set_up_survives_losses(void **state)
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct call call;

		call_init(&call, seed);
		call.network.lose_percent = 20;
		call.network.repeat_percent = 10;
		call.network.reorder_percent = 10;
		call.answerer.ice_lite = seed & 1;
		call.answerer.dtls_active = seed & 2;
		call_describe(&call, NULL, NULL);
		call_run(&call, 12000);
		if (state_of(&call, 0) != MEDIA_CONNECTED || state_of(&call, 1) != MEDIA_CONNECTED)
			fail_msg("seed %u: %s, %s", (unsigned int)seed, media_state_name(state_of(&call, 0)),
				 media_state_name(state_of(&call, 1)));
		call_done(&call);
	}
}

static void losses_are_counted(void **state)
{
	struct media_statistics ours, theirs;
	struct call call;

	call_init(&call, 7);
	call.network.peers[1].echoes = true;
	call.answerer.ice_lite = true;
	call_describe(&call, NULL, NULL);
	call_run(&call, 300);
	call.network.lose_percent = 10;
	call.network.repeat_percent = 10;
	call.network.reorder_percent = 10;
	call_talk(&call, 1000);
	call.network.lose_percent = 0;
	call_talk(&call, 100);
	call_run(&call, 2000);
	ours = media_peer_statistics(peer_of(&call, 0));
	theirs = media_peer_statistics(peer_of(&call, 1));
	/* What came is what was not lost, and nothing came twice. */
	assert_int_equal(theirs.received + theirs.lost, 1100);
	assert_int_equal(theirs.received, call.network.peers[1].frames);
	assert_in_range(theirs.lost, 60, 140);
	assert_int_equal(ours.remote_lost, theirs.lost);
	/* Numbers keep their distances on the way back: losses there and back are one after the other. */
	assert_int_equal(ours.received + ours.lost, 1100);
	assert_in_range(ours.lost, theirs.lost + 50, theirs.lost + 140);
	assert_true(ours.reordered > 50 && theirs.reordered > 50);
	assert_true(theirs.jitter_ms > 1);
	/* Repeated datagrams are refused by their number. */
	assert_true(theirs.refused > 50);
	call_done(&call);
}

/* --- who may not ---------------------------------------------------------------------------------------------------------- */

static void wrong_fingerprint_is_refused(void **state)
{
	for (int active = 0; active < 2; active++) {
		struct call call;

		call_init(&call, 1);
		call.answerer.dtls_active = active;
		call_describe(&call, "a=fingerprint:sha-256 ", "a=fingerprint:sha-256 00:00:00:00");
		call_run(&call, 2000);
		assert_int_equal(state_of(&call, 0), MEDIA_FAILED);
		assert_string_equal(media_peer_statistics(peer_of(&call, 0)).reason,
				    "DTLS: the certificate's fingerprint is not the one in the SDP");
		assert_int_equal(media_peer_send(peer_of(&call, 0), call.network.now_us, 0, false, (const uint8_t *)"x", 1), -ENOTCONN);
		assert_int_equal(call.network.peers[0].states & 1u << MEDIA_CONNECTED, 0);
		call_done(&call);
	}
}

static void wrong_password_finds_no_way(void **state)
{
	struct call call;

	call_init(&call, 1);
	call.answerer.ice_lite = true;
	call_describe(&call, "a=ice-pwd:", "a=ice-pwd:0000000000");
	call_run(&call, 29000);
	assert_int_equal(state_of(&call, 0), MEDIA_CHECKING);
	assert_int_equal(state_of(&call, 1), MEDIA_CHECKING);
	/* Nothing was answered, let alone reflected. */
	assert_true(media_peer_statistics(peer_of(&call, 1)).refused > 5);
	assert_int_equal(call.network.sent, media_peer_statistics(peer_of(&call, 1)).refused);
	call_run(&call, 2000);
	assert_int_equal(state_of(&call, 0), MEDIA_FAILED);
	assert_int_equal(state_of(&call, 1), MEDIA_FAILED);
	call_done(&call);
}

/* Every kind of datagram, changed on its way: a call goes on, and nothing that was changed counts. */
static bool meddle_media(struct network *network, struct network_datagram *datagram)
{
	if (network_random(network, 4) == 0)
		datagram->bytes[network_random(network, (uint32_t)datagram->length)] ^= (uint8_t)(1u << network_random(network, 8));
	return true;
}

static void changed_datagrams_do_not_count(void **state)
{
	struct media_statistics theirs;
	struct call call;

	call_init(&call, 3);
	call_describe(&call, NULL, NULL);
	call_run(&call, 300);
	call.network.meddle = meddle_media;
	call_talk(&call, 400);
	call.network.meddle = NULL;
	call_talk(&call, 10);
	theirs = media_peer_statistics(peer_of(&call, 1));
	assert_int_equal(theirs.state, MEDIA_CONNECTED);
	assert_in_range(theirs.lost, 60, 140);
	assert_int_equal(theirs.received + theirs.lost, 410);
	assert_true(theirs.refused + theirs.ignored >= theirs.lost);
	call_done(&call);
}

/* A handshake from where nobody has shown the password is not begun. */
static void strangers_get_no_handshake(void **state)
{
	uint8_t hello[] = {22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1};
	struct media_endpoint stranger = {.port = 1};
	struct call call;

	call_init(&call, 1);
	call.answerer.ice_lite = true;
	call_describe(&call, NULL, NULL);
	media_peer_receive(peer_of(&call, 1), call.network.now_us, &stranger, hello, sizeof(hello));
	assert_int_equal(call.network.sent, 0);
	assert_int_equal(media_peer_statistics(peer_of(&call, 1)).ignored, 1);
	call_done(&call);
}

/* --- changes of the way --------------------------------------------------------------------------------------------------- */

static void restart(struct call *call, int which)
{
	_cleanup_(freep) char *question = NULL, *answer = NULL;
	struct error error = {0};

	assert_int_equal(media_peer_restart_offer(peer_of(call, which), NULL, &question, &error), 0);
	if (media_peer_restart_answer(peer_of(call, !which), question, strlen(question), "chosenfragment", &answer, &error) < 0)
		fail_msg("%s", error.text);
	assert_int_equal(media_peer_restart_accept(peer_of(call, which), answer, strlen(answer), &error), 0);
}

static void restart_keeps_the_call(void **state)
{
	for (int lite = 0; lite < 2; lite++) {
		struct media_statistics theirs;
		struct call call;
		char before[SDP_UFRAG_SIZE];

		call_init(&call, 1);
		call.answerer.ice_lite = lite;
		call.network.peers[1].echoes = true;
		call_describe(&call, NULL, NULL);
		call_run(&call, 300);
		call_talk(&call, 50);
		strcpy(before, media_peer_ufrag(peer_of(&call, 0)));
		restart(&call, 0);
		assert_string_not_equal(media_peer_ufrag(peer_of(&call, 0)), before);
		assert_string_equal(media_peer_ufrag(peer_of(&call, 1)), "chosenfragment");
		call_talk(&call, 50);
		/* And from another address, which only the new generation knows. */
		restart(&call, 0);
		call.network.peers[0].endpoint.port = 9999;
		call_talk(&call, 100);
		call_run(&call, 100);
		theirs = media_peer_statistics(peer_of(&call, 1));
		assert_int_equal(theirs.state, MEDIA_CONNECTED);
		assert_int_equal(theirs.path.port, 9999);
		assert_int_equal(call.network.peers[1].frames, 200);
		/* On the way down nothing is lost but what was sent to the old address. */
		assert_in_range(call.network.peers[0].frames, 195, 200);
		call_done(&call);
	}
}

/* The client's address changes: its next check (within 6 s) says so to a lite agent, with the nomination in it. */
static void a_moved_client_is_found(void **state)
{
	struct call call;

	call_init(&call, 1);
	call.answerer.ice_lite = true;
	call.network.peers[1].echoes = true;
	call_describe(&call, NULL, NULL);
	call_run(&call, 300);
	call_talk(&call, 10);
	call.network.peers[0].endpoint.port = 9999;
	call_talk(&call, 310);
	assert_int_equal(media_peer_statistics(peer_of(&call, 1)).path.port, 9999);
	assert_int_equal(call.network.peers[1].frames, 320);
	assert_true(call.network.peers[0].frames > 10);
	call_done(&call);
}

static void consent_ends(void **state)
{
	for (int lite = 0; lite < 2; lite++) {
		struct call call;

		call_init(&call, 1);
		call.answerer.ice_lite = lite;
		call_describe(&call, NULL, NULL);
		call_run(&call, 60000);
		assert_int_equal(state_of(&call, 0), MEDIA_CONNECTED);
		assert_int_equal(state_of(&call, 1), MEDIA_CONNECTED);
		call.network.peers[0].deaf = call.network.peers[1].deaf = true;
		call_run(&call, 23000);
		assert_int_equal(state_of(&call, 0), MEDIA_CONNECTED);
		call_run(&call, 8000);
		assert_int_equal(state_of(&call, 0), MEDIA_FAILED);
		assert_int_equal(state_of(&call, 1), MEDIA_FAILED);
		assert_string_equal(media_peer_statistics(peer_of(&call, 0)).reason, "ICE: the peer does not consent any more");
		assert_int_equal(media_peer_deadline(peer_of(&call, 0)), UINT64_MAX);
		call_done(&call);
	}
}

static void goodbye_is_heard(void **state)
{
	struct call call;

	call_init(&call, 1);
	call_describe(&call, NULL, NULL);
	call_run(&call, 300);
	media_peer_close(peer_of(&call, 0), call.network.now_us);
	call_run(&call, 100);
	assert_int_equal(state_of(&call, 1), MEDIA_CLOSED);
	assert_string_equal(media_peer_statistics(peer_of(&call, 1)).reason, "closed by the peer");
	call_done(&call);
}

/* --- descriptions --------------------------------------------------------------------------------------------------------- */

static void answer_refused(struct call *call, const char *offer, const char *why)
{
	_cleanup_(freep) char *answer = NULL;
	struct error error = {0};

	assert_int_equal(media_peer_answer(peer_of(call, 1), offer, strlen(offer), &answer, &error), -EINVAL);
	assert_string_equal(error.text, why);
	assert_int_equal(state_of(call, 1), MEDIA_NEW);
}

static char *replaced(const char *text, const char *from, const char *to)
{
	const char *place = strstr(text, from);
	char *result = malloc(strlen(text) + strlen(to) + 1);

	assert_non_null(place);
	sprintf(result, "%.*s%s%s", (int)(place - text), text, to, place + strlen(from));
	return result;
}

static void descriptions_that_do_not_fit(void **state)
{
	static const char *const changes[][3] = {
		{"a=rtcp-mux\r\n", "", "RTCP wants a port of its own (a=rtcp-mux is missing)"},
		{"a=ice-pwd", "a=x", "the SDP has no ICE credentials"},
		{"a=fingerprint:sha-256", "a=fingerprint:md5", "the SDP has no fingerprint of sha-256, sha-384 or sha-512"},
		{"m=audio 9", "m=audio 0", "the SDP has no section of audio with a codec"},
		{"UDP/TLS/RTP/SAVPF", "RTP/AVP", "audio is not DTLS-SRTP, but RTP/AVP"},
	};
	_cleanup_(freep) char *offer = NULL, *answer = NULL;
	struct error error = {0};
	struct call call;

	call_init(&call, 1);
	assert_int_equal(media_peer_new(&call.offerer, &call.network.peers[0].peer, &error), 0);
	assert_int_equal(media_peer_new(&call.answerer, &call.network.peers[1].peer, &error), 0);
	assert_int_equal(media_peer_offer(peer_of(&call, 0), &offer, &error), 0);
	for (size_t i = 0; i < array_length(changes); i++) {
		_cleanup_(freep) char *changed = replaced(offer, changes[i][0], changes[i][1]);

		answer_refused(&call, changed, changes[i][2]);
	}
	assert_int_equal(media_peer_answer(peer_of(&call, 1), offer, strlen(offer), &answer, &error), 0);
	assert_int_equal(media_peer_accept(peer_of(&call, 0), offer, strlen(offer), &error), -EINVAL);
	assert_int_equal(media_peer_trickle(peer_of(&call, 1), "a=ice-ufrag:other\r\n", 19, &error), -ESTALE);
	call_done(&call);
}

static int identities_make(void **state)
{
	return media_identity_new(&identities[0], NULL) < 0 || media_identity_new(&identities[1], NULL) < 0;
}

static int identities_free(void **state)
{
	media_identity_free(identities[0]);
	media_identity_free(identities[1]);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_profiles_and_agents),
		cmocka_unit_test(no_profile_in_common),
		cmocka_unit_test(set_up_survives_losses),
		cmocka_unit_test(losses_are_counted),
		cmocka_unit_test(wrong_fingerprint_is_refused),
		cmocka_unit_test(wrong_password_finds_no_way),
		cmocka_unit_test(changed_datagrams_do_not_count),
		cmocka_unit_test(strangers_get_no_handshake),
		cmocka_unit_test(restart_keeps_the_call),
		cmocka_unit_test(a_moved_client_is_found),
		cmocka_unit_test(consent_ends),
		cmocka_unit_test(goodbye_is_heard),
		cmocka_unit_test(descriptions_that_do_not_fit),
	};

	network_clock_us = NETWORK_START_US;
	return cmocka_run_group_tests(tests, identities_make, identities_free);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/sdp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/lib/address_text.h"

#define DIGEST "AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99"
#define HEAD "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"

/* As browsers write it: two sections in a bundle, addresses hidden behind names. */
static const char browser[] =
	HEAD
	"a=group:BUNDLE 0 1\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n"
	"m=audio 9 UDP/TLS/RTP/SAVPF 63 111 0 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n"
	"a=candidate:1 1 udp 2113937151 c0ffee00-1111-2222-3333-444455556666.local 50000 typ host generation 0\r\n"
	"a=candidate:2 1 udp 1677729535 192.0.2.7 50000 typ srflx raddr 0.0.0.0 rport 0\r\n"
	"a=candidate:3 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active\r\n"
	"a=candidate:4 2 udp 2113937150 192.0.2.7 50001 typ host\r\n"
	"a=candidate:5 1 UDP 2113937151 2001:db8::7 50000 typ host\r\n"
	"a=ice-ufrag:6lgM\r\na=ice-pwd:jhbYd9JMTh7PqTbX1XqFxcsf\r\na=ice-options:trickle\r\n"
	"a=fingerprint:sha-1 AA:BB\r\na=fingerprint:sha-256 " DIGEST "\r\na=setup:actpass\r\na=mid:0\r\na=sendonly\r\n"
	"a=rtcp-mux\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:0 PCMU/8000\r\n"
	"a=rtpmap:126 telephone-event/8000\r\na=ssrc:4242 cname:x\r\n"
	"m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=ice-ufrag:6lgM\r\n"
	"a=ice-pwd:jhbYd9JMTh7PqTbX1XqFxcsf\r\na=rtpmap:96 VP8/90000\r\na=rtcp-mux\r\na=recvonly\r\n";

static void browsers_are_understood(void **state)
{
	struct sdp sdp;
	const struct sdp_media *audio;
	char text[ENDPOINT_TEXT_SIZE];

	assert_int_equal(sdp_parse(browser, strlen(browser), &sdp, NULL), 0);
	assert_string_equal(sdp.ufrag, "6lgM");
	assert_string_equal(sdp.password, "jhbYd9JMTh7PqTbX1XqFxcsf");
	assert_int_equal(sdp.setup, SDP_SETUP_ACTPASS);
	assert_int_equal(sdp.fingerprint_count, 1);
	assert_string_equal(sdp.fingerprints[0].hash, "SHA256");
	assert_int_equal(sdp.fingerprints[0].digest[31], 0x99);
	assert_int_equal(sdp.candidate_count, 2);
	assert_string_equal(endpoint_format(&sdp.candidates[0].endpoint.address, sdp.candidates[0].endpoint.port, text),
			    "192.0.2.7:50000");
	assert_string_equal(endpoint_format(&sdp.candidates[1].endpoint.address, sdp.candidates[1].endpoint.port, text),
			    "[2001:db8::7]:50000");
	assert_int_equal(sdp.media_count, 2);
	audio = sdp_audio(&sdp);
	assert_ptr_equal(audio, &sdp.media[0]);
	assert_int_equal(audio->codec_count, 4);
	assert_int_equal(audio->direction, SDP_SENDONLY);
	assert_int_equal(audio->ssrc, 4242);
	assert_true(audio->rtcp_mux);
	assert_int_equal(sdp_codec_find(audio, "OPUS")->payload_type, 111);
	assert_int_equal(sdp_codec_find(audio, "opus")->channels, 2);
	assert_null(sdp_codec_find(audio, "G722"));
	assert_false(sdp.ice_lite);
}

static void refused(const char *text, const char *why)
{
	struct error error = {0};
	struct sdp sdp;

	assert_int_equal(sdp_parse(text, strlen(text), &sdp, &error), -EINVAL);
	assert_string_equal(error.text, why);
}

static void what_cannot_be_used_is_refused(void **state)
{
	char long_text[400];

	refused("", "this is not SDP: it does not begin with v=0");
	refused("v=01\r\n", "this is not SDP: it does not begin with v=0");
	refused(HEAD "nonsense\r\n", "SDP line 5: a line of SDP begins with a letter and =");
	refused(HEAD "m=audio x UDP/TLS/RTP/SAVPF 0\r\n", "SDP line 5: the port of m= is no port");
	refused(HEAD "m=audio 9\r\n", "SDP line 5: m= wants a protocol");
	refused(HEAD "a=ice-ufrag:abc\r\n", "SDP line 5: a=ice-ufrag wants 4 to 256 letters, digits, + or /");
	refused(HEAD "a=ice-ufrag:ab cd\r\n", "SDP line 5: a=ice-ufrag wants 4 to 256 letters, digits, + or /");
	refused(HEAD "a=ice-pwd:short\r\n", "SDP line 5: a=ice-pwd wants 22 to 256 letters, digits, + or /");
	refused(HEAD "a=fingerprint:sha-256 AA:BB\r\n", "SDP line 5: the fingerprint is not what its hash makes");
	refused(HEAD "a=setup:holdconn\r\n", "SDP line 5: a=setup must be actpass, active or passive");
	refused(HEAD "a=candidate:1 1 udp x 192.0.2.1 9 typ host\r\n", "SDP line 5: the candidate's priority is no number");
	refused(HEAD "a=candidate:1 1 udp 1 192.0.2.1 65536 typ host\r\n", "SDP line 5: the candidate's port is no port");
	refused(HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=rtpmap:128 x/1\r\n",
		"SDP line 6: the payload type of a=rtpmap is not 0 to 127");
	refused(HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=rtpmap:1 x/0\r\n", "SDP line 6: a=rtpmap wants NAME/RATE");
	memset(long_text, 'a', sizeof(long_text));
	memcpy(long_text, HEAD "a=ice-ufrag:", strlen(HEAD "a=ice-ufrag:"));
	long_text[sizeof(long_text) - 1] = '\0';
	refused(long_text, "SDP line 5: a=ice-ufrag wants 4 to 256 letters, digits, + or /");
}

static void too_much_is_refused_or_left_out(void **state)
{
	_cleanup_(freep) char *text = calloc(1, SDP_SIZE_MAX + 100);
	_cleanup_(freep) struct sdp *sdp = malloc(sizeof(*sdp));
	size_t head = strlen(HEAD);

	strcpy(text, HEAD);
	for (int i = 0; i < 100; i++)
		sprintf(text + strlen(text), "a=candidate:%d 1 udp 1 192.0.2.1 %d typ host\r\n", i, i + 1);
	assert_int_equal(sdp_parse(text, strlen(text), sdp, NULL), 0);
	assert_int_equal(sdp->candidate_count, SDP_CANDIDATES_MAX);
	strcpy(text + head, "");
	for (int i = 0; i < 17; i++)
		strcat(text, "m=audio 9 UDP/TLS/RTP/SAVPF 0\n");
	assert_int_equal(sdp_parse(text, strlen(text), sdp, NULL), -EINVAL);
	memset(text + head, '\n', SDP_SIZE_MAX);
	assert_int_equal(sdp_parse(text, SDP_SIZE_MAX, sdp, NULL), 0);
	assert_int_equal(sdp_parse(text, SDP_SIZE_MAX + 1, sdp, NULL), -EINVAL);
}

static struct sdp_local local_example(const struct sdp_fingerprint *fingerprint, struct sdp_candidate *candidate)
{
	*candidate = (struct sdp_candidate){.foundation = "1", .type = "host", .priority = 2130706431, .endpoint.port = 7000};
	assert_int_equal(address_parse("192.0.2.9", &candidate->endpoint.address), 0);
	return (struct sdp_local){
		.session_id = 1, .version = 1, .ufrag = "ours", .password = "passwordpasswordpassword",
		.fingerprint = fingerprint, .candidates = candidate, .candidate_count = 1, .ice_lite = true,
		.setup = SDP_SETUP_PASSIVE, .direction = SDP_RECVONLY, .ssrc = 77,
	};
}

/* RFC 3264 section 6: as many sections as were offered, in their order; RFC 8843: those refused are in no bundle. */
static void answers_match_their_offers(void **state)
{
	struct sdp_fingerprint fingerprint = {.hash = "SHA256", .length = 32, .digest = {1, 2, 3}};
	struct sdp_candidate candidate;
	struct sdp_local local = local_example(&fingerprint, &candidate);
	_cleanup_(freep) char *text = NULL;
	struct sdp offer, answer;

	assert_int_equal(sdp_parse(browser, strlen(browser), &offer, NULL), 0);
	text = sdp_answer_write(&local, &offer, &offer.media[0], sdp_codec_find(&offer.media[0], "opus"));
	assert_non_null(strstr(text, "a=group:BUNDLE 0\r\n"));
	assert_non_null(strstr(text, "m=video 0 UDP/TLS/RTP/SAVPF 96\r\n"));
	assert_int_equal(sdp_parse(text, strlen(text), &answer, NULL), 0);
	assert_int_equal(answer.media_count, 2);
	assert_string_equal(answer.media[0].formats, "111");
	assert_string_equal(answer.media[1].mid, "1");
	assert_int_equal(answer.media[1].port, 0);
	assert_int_equal(answer.media[1].direction, SDP_INACTIVE);
	assert_string_equal(answer.ufrag, "ours");
	assert_true(answer.ice_lite && answer.end_of_candidates);
	assert_int_equal(answer.setup, SDP_SETUP_PASSIVE);
	assert_memory_equal(&answer.fingerprints[0], &fingerprint, sizeof(fingerprint));
	assert_memory_equal(&answer.candidates[0], &candidate, sizeof(candidate));
	/* Who only receives has no stream. */
	assert_null(strstr(text, "a=ssrc"));
}

static void fragments_are_read(void **state)
{
	static const char fragment[] = "a=ice-ufrag:evtj\r\na=ice-pwd:VOkJxbRl1RmTxUk/WvJxBt\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"
				       "a=mid:0\r\na=candidate:1 1 udp 2 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n";
	struct sdp sdp;

	assert_int_equal(sdp_fragment_parse(fragment, strlen(fragment), &sdp, NULL), 0);
	assert_string_equal(sdp.ufrag, "evtj");
	assert_int_equal(sdp.candidate_count, 1);
	assert_true(sdp.end_of_candidates);
	assert_int_equal(sdp_parse(fragment, strlen(fragment), &sdp, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(browsers_are_understood),
		cmocka_unit_test(what_cannot_be_used_is_refused),
		cmocka_unit_test(too_much_is_refused_or_left_out),
		cmocka_unit_test(answers_match_their_offers),
		cmocka_unit_test(fragments_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

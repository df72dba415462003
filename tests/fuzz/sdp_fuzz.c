/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: any bytes as SDP and as a fragment of it. They are read whole or refused with a sentence; what was read can be
 * answered, and the answer is read again.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "rtc/sdp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void texts_check(const struct sdp *sdp)
{
	assert(strlen(sdp->ufrag) < SDP_UFRAG_SIZE && strlen(sdp->password) < SDP_PASSWORD_SIZE);
	assert(sdp->candidate_count <= SDP_CANDIDATES_MAX && sdp->media_count <= SDP_MEDIA_MAX);
	assert(sdp->fingerprint_count <= SDP_FINGERPRINTS_MAX);
	for (size_t i = 0; i < sdp->candidate_count; i++)
		assert(sdp->candidates[i].endpoint.port && sdp->candidates[i].type[0]);
	for (size_t i = 0; i < sdp->media_count; i++)
		for (size_t at = 0; at < sdp->media[i].codec_count; at++)
			assert(sdp->media[i].codecs[at].clock_rate && sdp->media[i].codecs[at].payload_type < 128);
}

static void answer_check(const struct sdp *offer)
{
	static const struct sdp_fingerprint fingerprint = {.hash = "SHA256", .length = 32};
	struct sdp_local local = {
		.session_id = 1, .version = 1, .ufrag = "ours", .password = "passwordpasswordpassword", .fingerprint = &fingerprint,
		.candidates = offer->candidates, .candidate_count = offer->candidate_count, .setup = SDP_SETUP_PASSIVE, .ssrc = 7,
	};
	const struct sdp_media *audio = sdp_audio(offer);
	_cleanup_(freep) char *text = audio ? sdp_answer_write(&local, offer, audio, &audio->codecs[0]) : NULL;
	struct error error = {0};
	struct sdp answer;
	int result;

	if (!text)
		return;
	result = sdp_parse(text, strlen(text), &answer, &error);
	assert(result == 0 && answer.media_count == offer->media_count && strcmp(answer.ufrag, "ours") == 0);
	assert(answer.candidate_count == offer->candidate_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error error = {0};
	struct sdp sdp;

	if (sdp_parse((const char *)data, size, &sdp, &error) == 0) {
		texts_check(&sdp);
		answer_check(&sdp);
	} else {
		assert(error.text[0] && !strpbrk(error.text, "\r\n"));
	}
	if (sdp_fragment_parse((const char *)data, size, &sdp, NULL) == 0)
		texts_check(&sdp);
	return 0;
}

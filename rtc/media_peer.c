/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/media_peer.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "rtc/media_ice.h"

#define UFRAG_LENGTH 8
#define PASSWORD_LENGTH 24
#define REPORT_INTERVAL_US 1000000u
#define SEQUENCE_JUMP 3000 /* RFC 3550 A.1, MAX_DROPOUT: more is another stream */

struct media_peer {
	struct media_config config;
	struct sdp_candidate candidates[SDP_CANDIDATES_MAX];
	struct media_ice ice;
	struct media_dtls *dtls;
	struct media_srtp *srtp;
	enum media_profile profile;
	uint8_t remote_key[MEDIA_SRTP_KEY_MAX];
	enum media_state state;
	char reason[160];
	uint64_t session_id;
	char mid[SDP_TOKEN_SIZE];
	struct sdp_codec codec;
	enum sdp_direction direction;
	struct sdp_fingerprint fingerprints[SDP_FINGERPRINTS_MAX];
	size_t fingerprint_count;
	bool active; /* in DTLS */

	struct media_sender sender;
	struct media_receiver receiver;
	uint16_t sequence; /* of the next frame */
	struct {
		bool started;
		uint32_t ssrc;
		uint16_t last, offset;
	} back; /* the stream that is sent back */
	uint64_t started_us, path_us, connected_us;
	uint64_t ice_due_us, dtls_due_us, report_due_us;
	uint64_t sent, sent_bytes, refused, ignored;
	uint32_t rtcp_round_trip_us, remote_jitter;
	uint64_t remote_lost;
	struct media_endpoint replying; /* where the message that is being taken came from */
	bool replies;
};

const char *media_state_name(enum media_state state)
{
	static const char *const names[] = {
		[MEDIA_NEW] = "new",		 [MEDIA_CHECKING] = "checking", [MEDIA_SECURING] = "securing",
		[MEDIA_CONNECTED] = "connected", [MEDIA_CLOSED] = "closed",	[MEDIA_FAILED] = "failed",
	};

	return names[state];
}

void media_random_text(char *buffer, size_t length)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	if (RAND_bytes((unsigned char *)buffer, (int)length) != 1)
		abort();
	for (size_t i = 0; i < length; i++)
		buffer[i] = alphabet[(unsigned char)buffer[i] % 64];
	buffer[length] = '\0';
}

static uint32_t random32(void)
{
	uint32_t number;

	if (RAND_bytes((unsigned char *)&number, sizeof(number)) != 1)
		abort();
	return number;
}

/* --- states ------------------------------------------------------------------------------------------------------------- */

static void state_set(struct media_peer *peer, enum media_state state, const char *why)
{
	if (peer->state == state || peer->state == MEDIA_FAILED || peer->state == MEDIA_CLOSED)
		return;
	peer->state = state;
	snprintf(peer->reason, sizeof(peer->reason), "%s", why);
	if (peer->config.handlers.state)
		peer->config.handlers.state(peer->config.handlers.context, state, peer->reason);
}

static bool peer_is_over(const struct media_peer *peer)
{
	return peer->state == MEDIA_CLOSED || peer->state == MEDIA_FAILED;
}

static void ice_send(void *context, const struct media_endpoint *to, const uint8_t *bytes, size_t length)
{
	struct media_peer *peer = context;

	peer->config.handlers.send(peer->config.handlers.context, to, bytes, length);
}

/* An answer in the handshake goes where the question came from, while no pair is nominated. */
static void dtls_send(void *context, const uint8_t *bytes, size_t length)
{
	struct media_peer *peer = context;
	const struct media_endpoint *path = media_ice_path(&peer->ice);

	if (peer->replies && !peer->ice.has_path)
		path = &peer->replying;
	if (path)
		peer->config.handlers.send(peer->config.handlers.context, path, bytes, length);
}

static void credentials_new(struct media_peer *peer, const char *ufrag)
{
	char text[UFRAG_LENGTH + 1], password[PASSWORD_LENGTH + 1];

	media_random_text(text, UFRAG_LENGTH);
	media_random_text(password, PASSWORD_LENGTH);
	media_ice_set_local(&peer->ice, ufrag ? ufrag : text, password);
}

int media_peer_new(const struct media_config *config, struct media_peer **ret_peer, struct error *error)
{
	struct media_peer *peer = calloc(1, sizeof(*peer));
	struct media_ice_config ice = {
		.controlling = config->offerer && !config->ice_lite, .lite = config->ice_lite, .send = ice_send, .context = peer};

	if (!peer)
		return error_set(error, ENOMEM, "no memory");
	peer->config = *config;
	if (peer->config.candidate_count > SDP_CANDIDATES_MAX)
		peer->config.candidate_count = SDP_CANDIDATES_MAX;
	for (size_t i = 0; i < peer->config.candidate_count; i++)
		peer->candidates[i] = config->candidates[i];
	peer->config.candidates = peer->candidates;
	media_ice_init(&peer->ice, &ice);
	credentials_new(peer, config->ufrag);
	peer->config.ufrag = NULL;
	peer->session_id = (uint64_t)random32() << 16;
	peer->sender.ssrc = random32() | 1;
	peer->sequence = (uint16_t)(random32() & 0x7fff); /* RFC 3711 section 3.3.1: far from its first wrap */
	peer->ice_due_us = peer->dtls_due_us = peer->report_due_us = UINT64_MAX;
	*ret_peer = peer;
	return 0;
}

void media_peer_free(struct media_peer *peer)
{
	if (!peer)
		return;
	media_dtls_free(peer->dtls);
	media_srtp_free(peer->srtp);
	free(peer);
}

/* --- descriptions ------------------------------------------------------------------------------------------------------- */

static struct sdp_local local_of(const struct media_peer *peer, enum sdp_setup setup)
{
	return (struct sdp_local){
		.session_id = peer->session_id,
		.version = 1,
		.ufrag = peer->ice.local.ufrag,
		.password = peer->ice.local.password,
		.fingerprint = media_identity_fingerprint(peer->config.identity),
		.candidates = peer->candidates,
		.candidate_count = peer->config.candidate_count,
		.ice_lite = peer->config.ice_lite,
		.setup = setup,
		.direction = peer->direction,
		.ssrc = peer->sender.ssrc,
	};
}

static int text_return(char *text, char **ret_text, struct error *error)
{
	if (!text)
		return error_set(error, ENOMEM, "no memory");
	*ret_text = text;
	return 0;
}

int media_peer_offer(struct media_peer *peer, char **ret_sdp, struct error *error)
{
	struct sdp_local local = local_of(peer, SDP_SETUP_ACTPASS);

	return text_return(sdp_offer_write(&local), ret_sdp, error);
}

/* What every description must say to us. */
static int description_check(const struct sdp *sdp, struct error *error)
{
	const struct sdp_media *audio = sdp_audio(sdp);

	if (!audio)
		return error_set(error, EINVAL, "the SDP has no section of audio with a codec");
	if (!strstr(audio->protocol, "TLS/RTP/SAVP"))
		return error_set(error, EINVAL, "audio is not DTLS-SRTP, but %s", audio->protocol);
	if (!audio->rtcp_mux)
		return error_set(error, EINVAL, "RTCP wants a port of its own (a=rtcp-mux is missing)");
	if (!sdp->ufrag[0] || !sdp->password[0])
		return error_set(error, EINVAL, "the SDP has no ICE credentials");
	if (sdp->fingerprint_count == 0)
		return error_set(error, EINVAL, "the SDP has no fingerprint of sha-256, sha-384 or sha-512");
	return 0;
}

static void candidates_take(struct media_peer *peer, const struct sdp *sdp)
{
	for (size_t i = 0; i < sdp->candidate_count && !peer->config.candidates_ignored; i++)
		media_ice_add_candidate(&peer->ice, &sdp->candidates[i].endpoint, sdp->candidates[i].priority);
	peer->ice_due_us = 0;
}

/* The description is good: from here on it counts. */
static int description_take(struct media_peer *peer, const struct sdp *sdp, const struct sdp_codec *codec, struct error *error)
{
	struct media_dtls_config dtls = {
		.identity = peer->config.identity,
		.active = peer->active,
		.only = peer->config.only,
		.fingerprints = sdp->fingerprints,
		.fingerprint_count = sdp->fingerprint_count,
		.send = dtls_send,
		.context = peer,
	};
	int result = media_dtls_new(&dtls, &peer->dtls, error);

	if (result < 0)
		return result;
	peer->codec = *codec;
	peer->receiver.clock_rate = codec->clock_rate;
	/* RFC 8445 section 6.1.1: a full agent controls a lite one. */
	if (sdp->ice_lite && !peer->config.ice_lite)
		peer->ice.config.controlling = true;
	media_ice_set_remote(&peer->ice, sdp->ufrag, sdp->password);
	candidates_take(peer, sdp);
	state_set(peer, MEDIA_CHECKING, "");
	return 0;
}

/* The one that is said first in m=, among those that are audio. */
static const struct sdp_codec *codec_choose(const struct sdp_media *audio)
{
	unsigned int first;

	if (sscanf(audio->formats, "%3u", &first) == 1)
		for (size_t i = 0; i < audio->codec_count; i++)
			if (audio->codecs[i].payload_type == first)
				return &audio->codecs[i];
	return &audio->codecs[0];
}

static enum sdp_direction direction_answer(enum sdp_direction offered)
{
	switch (offered) {
	case SDP_SENDONLY:
		return SDP_RECVONLY;
	case SDP_RECVONLY:
		return SDP_SENDONLY;
	default:
		return offered;
	}
}

int media_peer_answer(struct media_peer *peer, const char *offer, size_t length, char **ret_sdp, struct error *error)
{
	_cleanup_(freep) struct sdp *sdp = malloc(sizeof(*sdp));
	const struct sdp_media *audio;
	struct sdp_local local;
	int result;

	if (!sdp)
		return error_set(error, ENOMEM, "no memory");
	if (peer->state != MEDIA_NEW)
		return error_set(error, EALREADY, "there is a description already");
	result = sdp_parse(offer, length, sdp, error);
	if (result == 0)
		result = description_check(sdp, error);
	if (result < 0)
		return result;
	audio = sdp_audio(sdp);
	/* RFC 5763 section 5: the answerer decides where it may. */
	peer->active = sdp->setup == SDP_SETUP_PASSIVE || (sdp->setup != SDP_SETUP_ACTIVE && peer->config.dtls_active);
	peer->direction = direction_answer(audio->direction);
	snprintf(peer->mid, sizeof(peer->mid), "%s", audio->mid);
	result = description_take(peer, sdp, codec_choose(audio), error);
	if (result < 0)
		return result;
	local = local_of(peer, peer->active ? SDP_SETUP_ACTIVE : SDP_SETUP_PASSIVE);
	return text_return(sdp_answer_write(&local, sdp, audio, &peer->codec), ret_sdp, error);
}

int media_peer_accept(struct media_peer *peer, const char *answer, size_t length, struct error *error)
{
	_cleanup_(freep) struct sdp *sdp = malloc(sizeof(*sdp));
	int result;

	if (!sdp)
		return error_set(error, ENOMEM, "no memory");
	if (peer->state != MEDIA_NEW)
		return error_set(error, EALREADY, "there is a description already");
	result = sdp_parse(answer, length, sdp, error);
	if (result == 0)
		result = description_check(sdp, error);
	if (result < 0)
		return result;
	if (sdp->setup != SDP_SETUP_ACTIVE && sdp->setup != SDP_SETUP_PASSIVE)
		return error_set(error, EINVAL, "the answer's a=setup must be active or passive");
	peer->active = sdp->setup == SDP_SETUP_PASSIVE;
	strcpy(peer->mid, "0");
	return description_take(peer, sdp, codec_choose(sdp_audio(sdp)), error);
}

/* --- fragments ---------------------------------------------------------------------------------------------------------- */

static int fragment_read(const char *fragment, size_t length, struct sdp **ret_sdp, struct error *error)
{
	struct sdp *sdp = malloc(sizeof(*sdp));
	int result;

	if (!sdp)
		return error_set(error, ENOMEM, "no memory");
	result = sdp_fragment_parse(fragment, length, sdp, error);
	if (result < 0) {
		free(sdp);
		return result;
	}
	*ret_sdp = sdp;
	return 0;
}

int media_peer_trickle(struct media_peer *peer, const char *fragment, size_t length, struct error *error)
{
	_cleanup_(freep) struct sdp *sdp = NULL;
	int result = fragment_read(fragment, length, &sdp, error);

	if (result < 0)
		return result;
	if (sdp->ufrag[0] && strcmp(sdp->ufrag, peer->ice.remote.ufrag) != 0)
		return error_set(error, ESTALE, "the fragment is of another ICE session");
	candidates_take(peer, sdp);
	return 0;
}

static int restart_check(const struct media_peer *peer, const struct sdp *sdp, struct error *error)
{
	if (peer->state == MEDIA_NEW || peer_is_over(peer))
		return error_set(error, ENOTCONN, "there is nothing to restart");
	if (sdp && (!sdp->ufrag[0] || !sdp->password[0]))
		return error_set(error, EINVAL, "the fragment has no ICE credentials");
	return 0;
}

int media_peer_restart_offer(struct media_peer *peer, const char *ufrag, char **ret_fragment, struct error *error)
{
	int result = restart_check(peer, NULL, error);
	struct sdp_local local;

	if (result < 0)
		return result;
	credentials_new(peer, ufrag);
	local = local_of(peer, SDP_SETUP_NONE);
	return text_return(sdp_fragment_write(&local, peer->mid), ret_fragment, error);
}

int media_peer_restart_answer(struct media_peer *peer, const char *fragment, size_t length, const char *ufrag,
			      char **ret_fragment, struct error *error)
{
	_cleanup_(freep) struct sdp *sdp = NULL;
	struct sdp_local local;
	int result = fragment_read(fragment, length, &sdp, error);

	if (result == 0)
		result = restart_check(peer, sdp, error);
	if (result < 0)
		return result;
	credentials_new(peer, ufrag);
	media_ice_set_remote(&peer->ice, sdp->ufrag, sdp->password);
	candidates_take(peer, sdp);
	local = local_of(peer, SDP_SETUP_NONE);
	return text_return(sdp_fragment_write(&local, peer->mid), ret_fragment, error);
}

int media_peer_restart_accept(struct media_peer *peer, const char *fragment, size_t length, struct error *error)
{
	_cleanup_(freep) struct sdp *sdp = NULL;
	int result = fragment_read(fragment, length, &sdp, error);

	if (result == 0)
		result = restart_check(peer, sdp, error);
	if (result < 0)
		return result;
	media_ice_set_remote(&peer->ice, sdp->ufrag, sdp->password);
	candidates_take(peer, sdp);
	return 0;
}

void media_peer_add_remote(struct media_peer *peer, const struct media_endpoint *remote)
{
	media_ice_add_candidate(&peer->ice, remote, 1);
	peer->ice_due_us = 0;
}

/* --- from ICE to keys ----------------------------------------------------------------------------------------------------- */

static void keys_take(struct media_peer *peer, uint64_t now_us)
{
	struct media_srtp_keys keys;
	struct error error;

	if (media_dtls_keys(peer->dtls, &keys, &error) < 0 || media_srtp_new(&keys, &peer->srtp, &error) < 0) {
		state_set(peer, MEDIA_FAILED, error.text);
		return;
	}
	peer->profile = keys.profile;
	memcpy(peer->remote_key, keys.theirs, sizeof(peer->remote_key));
	peer->connected_us = now_us;
	peer->report_due_us = now_us + REPORT_INTERVAL_US / 2 + random32() % (REPORT_INTERVAL_US / 2);
	state_set(peer, MEDIA_CONNECTED, "");
}

static void dtls_judge(struct media_peer *peer, uint64_t now_us)
{
	switch (media_dtls_state(peer->dtls)) {
	case MEDIA_DTLS_CONNECTED:
		if (!peer->srtp)
			keys_take(peer, now_us);
		break;
	case MEDIA_DTLS_CLOSED:
		state_set(peer, MEDIA_CLOSED, "closed by the peer");
		break;
	case MEDIA_DTLS_FAILED:
		state_set(peer, MEDIA_FAILED, media_dtls_reason(peer->dtls));
		break;
	default:
		break;
	}
}

static void dtls_advance(struct media_peer *peer, uint64_t now_us)
{
	uint64_t wait_us = media_dtls_advance(peer->dtls);

	/* OpenSSL takes a timer within 15 ms of its end for expired: not at once again. */
	peer->dtls_due_us = wait_us == UINT64_MAX ? UINT64_MAX : now_us + (wait_us > 1000 ? wait_us : 1000);
	dtls_judge(peer, now_us);
}

static void ice_judge(struct media_peer *peer, uint64_t now_us)
{
	if (peer->ice.state == MEDIA_ICE_FAILED) {
		state_set(peer, MEDIA_FAILED,
			  peer->path_us ? "ICE: the peer does not consent any more" : "ICE: no way to the peer was found");
		return;
	}
	if (peer->state != MEDIA_CHECKING || !media_ice_path(&peer->ice))
		return;
	peer->path_us = now_us;
	state_set(peer, MEDIA_SECURING, "");
	if (peer->active)
		media_dtls_start(peer->dtls);
	dtls_advance(peer, now_us);
}

/* --- datagrams ---------------------------------------------------------------------------------------------------------- */

static void dtls_take(struct media_peer *peer, uint64_t now_us, const struct media_endpoint *from, const uint8_t *bytes,
		      size_t length)
{
	/* Before somebody there has shown to know the password, a handshake is only work for us. */
	if (!peer->dtls || !media_ice_knows(&peer->ice, from)) {
		peer->ignored++;
		return;
	}
	peer->replying = *from;
	peer->replies = true;
	media_dtls_receive(peer->dtls, bytes, length);
	peer->replies = false;
	dtls_advance(peer, now_us);
}

static void rtcp_take(struct media_peer *peer, uint64_t now_us, uint8_t *bytes, size_t length)
{
	struct media_rtcp_report report;

	if (media_srtcp_unprotect(peer->srtp, bytes, &length) < 0) {
		peer->refused++;
		return;
	}
	if (media_rtcp_take(bytes, length, peer->sender.ssrc, &peer->receiver, now_us, &report) < 0) {
		peer->ignored++;
		return;
	}
	if (report.round_trip_us)
		peer->rtcp_round_trip_us = report.round_trip_us;
	if (report.about_us) {
		peer->remote_lost = report.lost > 0 ? (uint64_t)report.lost : 0;
		peer->remote_jitter = report.jitter;
	}
}

static void rtp_take(struct media_peer *peer, uint64_t now_us, uint8_t *bytes, size_t length)
{
	struct media_rtp rtp;
	struct media_frame frame;

	if (media_srtp_unprotect(peer->srtp, bytes, &length) < 0) {
		peer->refused++;
		return;
	}
	/* Telephone events and comfort noise come under the same SSRC: they count, but are no audio of the codec. */
	if (media_rtp_parse(bytes, length, &rtp) < 0) {
		peer->ignored++;
		return;
	}
	media_receiver_take(&peer->receiver, &rtp, now_us);
	frame = (struct media_frame){
		.payload_type = rtp.payload_type,
		.marker = rtp.marker,
		.sequence = rtp.sequence,
		.timestamp = rtp.timestamp,
		.ssrc = rtp.ssrc,
		.payload = rtp.payload,
		.payload_length = rtp.payload_length,
	};
	if (rtp.payload_type == peer->codec.payload_type && peer->config.handlers.frame)
		peer->config.handlers.frame(peer->config.handlers.context, &frame, now_us);
}

void media_peer_receive(struct media_peer *peer, uint64_t now_us, const struct media_endpoint *from, uint8_t *bytes,
			size_t length)
{
	if (peer_is_over(peer))
		return;
	if (media_stun_is(bytes, length)) {
		media_ice_receive(&peer->ice, now_us, from, bytes, length);
		peer->ice_due_us = media_ice_advance(&peer->ice, now_us);
		ice_judge(peer, now_us);
	} else if (media_dtls_is(bytes, length)) {
		dtls_take(peer, now_us, from, bytes, length);
	} else if (!peer->srtp || !media_rtp_is(bytes, length)) {
		peer->ignored++;
	} else if (media_rtcp_is(bytes, length)) {
		rtcp_take(peer, now_us, bytes, length);
	} else {
		rtp_take(peer, now_us, bytes, length);
	}
}

/* --- sending ------------------------------------------------------------------------------------------------------------ */

static void packet_send(struct media_peer *peer, const uint8_t *packet, size_t length)
{
	const struct media_endpoint *path = media_ice_path(&peer->ice);

	if (path)
		peer->config.handlers.send(peer->config.handlers.context, path, packet, length);
}

static int rtp_send(struct media_peer *peer, uint16_t sequence, uint32_t timestamp, bool marker, const uint8_t *payload,
		    size_t length)
{
	uint8_t packet[MEDIA_RTP_HEADER_SIZE + MEDIA_PAYLOAD_MAX + MEDIA_SRTP_ROOM];
	struct media_rtp rtp = {
		.payload_type = peer->codec.payload_type,
		.marker = marker,
		.sequence = sequence,
		.timestamp = timestamp,
		.ssrc = peer->sender.ssrc,
	};
	size_t size = MEDIA_RTP_HEADER_SIZE + length;
	int result;

	if (peer->state != MEDIA_CONNECTED)
		return -ENOTCONN;
	if (length > MEDIA_PAYLOAD_MAX)
		return -EMSGSIZE;
	media_rtp_write(&rtp, packet);
	memcpy(packet + MEDIA_RTP_HEADER_SIZE, payload, length);
	result = media_srtp_protect(peer->srtp, packet, &size);
	if (result < 0)
		return result;
	peer->sender.packets++;
	peer->sender.bytes += (uint32_t)length;
	peer->sender.timestamp = timestamp;
	peer->sent++;
	peer->sent_bytes += length;
	packet_send(peer, packet, size);
	return 0;
}

int media_peer_send(struct media_peer *peer, uint64_t now_us, uint32_t timestamp, bool marker, const uint8_t *payload,
		    size_t length)
{
	int result = rtp_send(peer, peer->sequence, timestamp, marker, payload, length);

	if (result == 0)
		peer->sequence++;
	return result;
}

int media_peer_send_back(struct media_peer *peer, uint64_t now_us, const struct media_frame *frame, const uint8_t *payload,
			 size_t length)
{
	int16_t step = (int16_t)(frame->sequence - peer->back.last);
	uint16_t sequence;

	if (!peer->back.started || peer->back.ssrc != frame->ssrc || step > SEQUENCE_JUMP || step < -SEQUENCE_JUMP) {
		/* Above all that was sent, so that libsrtp need not refuse a number of before. */
		peer->back.started = true;
		peer->back.ssrc = frame->ssrc;
		peer->back.offset = (uint16_t)(peer->sequence - frame->sequence);
		peer->back.last = frame->sequence;
	} else if (step > 0) {
		peer->back.last = frame->sequence;
	}
	sequence = (uint16_t)(frame->sequence + peer->back.offset);
	if ((int16_t)(sequence - peer->sequence) >= 0)
		peer->sequence = (uint16_t)(sequence + 1);
	return rtp_send(peer, sequence, frame->timestamp, frame->marker, payload, length);
}

static void rtcp_send(struct media_peer *peer, uint8_t *packet, size_t length)
{
	if (media_srtcp_protect(peer->srtp, packet, &length) == 0)
		packet_send(peer, packet, length);
}

static void report_advance(struct media_peer *peer, uint64_t now_us)
{
	uint8_t packet[MEDIA_RTCP_SIZE + MEDIA_SRTP_ROOM];

	if (peer->state != MEDIA_CONNECTED || now_us < peer->report_due_us)
		return;
	rtcp_send(peer, packet, media_rtcp_write(&peer->sender, &peer->receiver, now_us, packet));
	/* RFC 3550 section 6.3.1: at random, so that many peers do not speak at once. */
	peer->report_due_us = now_us + REPORT_INTERVAL_US / 2 + random32() % REPORT_INTERVAL_US;
}

uint64_t media_peer_deadline(const struct media_peer *peer)
{
	uint64_t due_us = peer->ice_due_us;

	if (peer_is_over(peer))
		return UINT64_MAX;
	if (peer->dtls_due_us < due_us)
		due_us = peer->dtls_due_us;
	return peer->report_due_us < due_us ? peer->report_due_us : due_us;
}

uint64_t media_peer_advance(struct media_peer *peer, uint64_t now_us)
{
	if (peer_is_over(peer))
		return UINT64_MAX;
	if (peer->state != MEDIA_NEW && !peer->started_us)
		peer->started_us = now_us;
	if (now_us >= peer->ice_due_us) {
		peer->ice_due_us = media_ice_advance(&peer->ice, now_us);
		ice_judge(peer, now_us);
	}
	if (now_us >= peer->dtls_due_us)
		dtls_advance(peer, now_us);
	report_advance(peer, now_us);
	return media_peer_deadline(peer);
}

void media_peer_close(struct media_peer *peer, uint64_t now_us)
{
	uint8_t packet[MEDIA_RTCP_SIZE + MEDIA_SRTP_ROOM];

	if (peer->state == MEDIA_CONNECTED)
		rtcp_send(peer, packet, media_rtcp_write_bye(&peer->sender, packet));
	if (peer->dtls)
		media_dtls_close(peer->dtls);
	state_set(peer, MEDIA_CLOSED, "closed");
}

/* --- what it knows ------------------------------------------------------------------------------------------------------ */

struct media_statistics media_peer_statistics(const struct media_peer *peer)
{
	const struct media_receiver *receiver = &peer->receiver;
	struct media_statistics statistics = {
		.state = peer->state,
		.profile = peer->profile,
		.has_path = peer->ice.has_path,
		.path = peer->ice.path,
		.started_us = peer->started_us,
		.path_us = peer->path_us,
		.connected_us = peer->connected_us,
		.sent = peer->sent,
		.sent_bytes = peer->sent_bytes,
		.received = media_receiver_received(receiver),
		.expected = media_receiver_expected(receiver),
		.lost = media_receiver_lost(receiver),
		.reordered = receiver->reordered,
		.jitter_ms = media_receiver_jitter_ms(receiver),
		.longest_gap_us = receiver->longest_gap_us,
		.last_received_us = receiver->last_us,
		.ice_round_trip_us = peer->ice.round_trip_us,
		.rtcp_round_trip_us = peer->rtcp_round_trip_us,
		.remote_lost = peer->remote_lost,
		.remote_jitter_ms = peer->codec.clock_rate ? peer->remote_jitter * 1000.0 / peer->codec.clock_rate : 0,
		.refused = peer->refused + peer->ice.refused,
		.ignored = peer->ignored,
	};

	memcpy(statistics.reason, peer->reason, sizeof(statistics.reason));
	return statistics;
}

bool media_peer_knows(const struct media_peer *peer, const struct media_endpoint *remote)
{
	return media_ice_knows(&peer->ice, remote);
}

struct sdp_codec media_peer_codec(const struct media_peer *peer)
{
	return peer->codec;
}

const char *media_peer_ufrag(const struct media_peer *peer)
{
	return peer->ice.local.ufrag;
}

const char *media_peer_previous_ufrag(const struct media_peer *peer)
{
	return peer->ice.previous.ufrag;
}

const char *media_peer_password(const struct media_peer *peer)
{
	return peer->ice.local.password;
}

const uint8_t *media_peer_remote_key(const struct media_peer *peer, enum media_profile *ret_profile)
{
	*ret_profile = peer->profile;
	return peer->remote_key;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of SDP (RFC 8866) as a WebRTC session of audio needs: offers, answers, and the fragments that trickle candidates and
 * ask for an ICE restart (RFC 8840). Reading is lenient towards what it does not know, and strict about what it
 * uses. Foreign bytes are read here. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "rtc/media_endpoint.h"

#define SDP_SIZE_MAX 65536 /* bytes that are read */
#define SDP_UFRAG_SIZE 257 /* RFC 8839 section 5.4: 4 to 256 characters */
#define SDP_PASSWORD_SIZE 257 /* 22 to 256 */
#define SDP_MEDIA_MAX 16
#define SDP_CODECS_MAX 32
#define SDP_CANDIDATES_MAX 32
#define SDP_FINGERPRINTS_MAX 4
#define SDP_TOKEN_SIZE 33
#define SDP_DIGEST_MAX 64

enum sdp_setup { SDP_SETUP_NONE, SDP_SETUP_ACTPASS, SDP_SETUP_ACTIVE, SDP_SETUP_PASSIVE };
enum sdp_direction { SDP_SENDRECV, SDP_SENDONLY, SDP_RECVONLY, SDP_INACTIVE };

struct sdp_fingerprint {
	char hash[SDP_TOKEN_SIZE]; /* as OpenSSL calls it: "SHA256" */
	uint8_t length;
	uint8_t digest[SDP_DIGEST_MAX];
};

struct sdp_codec {
	uint8_t payload_type;
	char name[SDP_TOKEN_SIZE];
	uint32_t clock_rate;
	uint8_t channels; /* 1 when nothing is said */
};

struct sdp_media {
	char kind[SDP_TOKEN_SIZE];     /* "audio", "video", "application" */
	char protocol[SDP_TOKEN_SIZE]; /* "UDP/TLS/RTP/SAVPF" */
	char mid[SDP_TOKEN_SIZE];      /* "": none */
	char formats[192];             /* as they stand in the line, cut at a word */
	uint16_t port;                 /* 0: refused, or only within a bundle */
	enum sdp_direction direction;
	bool rtcp_mux;
	uint32_t ssrc; /* the first; 0: not said */
	struct sdp_codec codecs[SDP_CODECS_MAX];
	size_t codec_count;
};

struct sdp_candidate {
	char foundation[SDP_TOKEN_SIZE];
	char type[SDP_TOKEN_SIZE]; /* "host", "srflx", "prflx", "relay" */
	uint32_t priority;
	struct media_endpoint endpoint;
};

/* Transport is that of the bundle: of the session, or of the first section that says it. */
struct sdp {
	char ufrag[SDP_UFRAG_SIZE]; /* "": not said */
	char password[SDP_PASSWORD_SIZE];
	bool ice_lite;
	bool end_of_candidates;
	enum sdp_setup setup;
	struct sdp_fingerprint fingerprints[SDP_FINGERPRINTS_MAX];
	size_t fingerprint_count;
	struct sdp_candidate candidates[SDP_CANDIDATES_MAX]; /* UDP, component 1, with an address; further ones are left out */
	size_t candidate_count;
	struct sdp_media media[SDP_MEDIA_MAX];
	size_t media_count;
};

/* A whole description: begins with v=0. -EINVAL and a sentence with the line's number if it cannot be used. */
must_check int sdp_parse(const char *text, size_t length, struct sdp *ret_sdp, struct error *error);

/* A fragment (application/trickle-ice-sdpfrag): as above, but need not begin with anything. */
must_check int sdp_fragment_parse(const char *text, size_t length, struct sdp *ret_sdp, struct error *error);

/* The section of audio that carries media, or NULL. */
const struct sdp_media *sdp_audio(const struct sdp *sdp);
/* The codec of that name (in any case) in the section, or NULL. */
const struct sdp_codec *sdp_codec_find(const struct sdp_media *media, const char *name);

/* What we say about ourselves. */
struct sdp_local {
	uint64_t session_id, version;
	const char *ufrag, *password;
	const struct sdp_fingerprint *fingerprint;
	const struct sdp_candidate *candidates;
	size_t candidate_count;
	bool ice_lite;
	enum sdp_setup setup;
	enum sdp_direction direction;
	uint32_t ssrc;
};

/* An offer of one section of audio: Opus, then PCMU. The caller frees it; NULL: out of memory. */
char *sdp_offer_write(const struct sdp_local *local);
/* The answer to an offer: takes its first section of audio with that codec, refuses the others. The same. */
char *sdp_answer_write(const struct sdp_local *local, const struct sdp *offer, const struct sdp_media *audio,
		       const struct sdp_codec *codec);
/* The fragment that answers an ICE restart (RFC 9725 section 4.3.2). The same. */
char *sdp_fragment_write(const struct sdp_local *local, const char *mid);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of a WebRTC call of audio: SDP, ICE, DTLS-SRTP, SRTP, RTP and RTCP, as one object that opens no socket and asks no clock.
 * Bytes and time come in as arguments; bytes, frames and changes of state leave by the handlers; the deadline says when to
 * call again. selvage-echo, the media check and the health check `media` stand on it; media_loop.h gives it sockets.
 *
 * One thread at a time for each object. Handlers are called from within the functions below and must not free the peer. Times are microseconds
 * of CLOCK_MONOTONIC, or of any clock that only goes forward.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "rtc/media_dtls.h"
#include "rtc/media_endpoint.h"
#include "rtc/media_rtp.h"
#include "rtc/media_srtp.h"
#include "rtc/sdp.h"

#define MEDIA_DATAGRAM_MAX 1500 /* longer ones are not read */
#define MEDIA_PAYLOAD_MAX 1200  /* of a frame that is sent */

enum media_state {
	MEDIA_NEW,       /* the other description is missing */
	MEDIA_CHECKING,  /* ICE looks for a way */
	MEDIA_SECURING,  /* a way was found: DTLS */
	MEDIA_CONNECTED, /* media may be sent */
	MEDIA_CLOSED,    /* by either end */
	MEDIA_FAILED,
};

const char *media_state_name(enum media_state state);

/* A frame of audio that came; borrowed for the call. */
struct media_frame {
	uint8_t payload_type;
	bool marker;
	uint16_t sequence;
	uint32_t timestamp, ssrc;
	const uint8_t *payload;
	size_t payload_length;
};

struct media_peer;

struct media_handlers {
	void (*send)(void *context, const struct media_endpoint *to, const uint8_t *bytes, size_t length);
	void (*state)(void *context, enum media_state state, const char *why); /* `why`: "" unless it failed or was closed */
	void (*frame)(void *context, const struct media_frame *frame, uint64_t now_us);
	void *context;
};

struct media_config {
	const struct media_identity *identity;   /* borrowed, outlives the peer */
	bool offerer;                            /* controls ICE, unless the other is lite and we are not */
	bool ice_lite;                           /* answers checks and asks none */
	bool dtls_active;                        /* answerer: begins the handshake itself; else waits for it */
	enum media_profile only;                 /* MEDIA_PROFILE_NONE: both */
	const char *ufrag;                       /* copied; NULL: at random */
	const struct sdp_candidate *candidates;  /* what is announced; copied, at most SDP_CANDIDATES_MAX */
	size_t candidate_count;
	bool candidates_ignored;                 /* those of the other description: media_peer_add_remote() says where to look */
	struct media_handlers handlers;
};

must_check int media_peer_new(const struct media_config *config, struct media_peer **ret_peer, struct error *error);
void media_peer_free(struct media_peer *peer); /* NULL is fine; tells nobody */

/* Descriptions. The texts are the caller's to free. Refusals leave the peer as it was. */
must_check int media_peer_offer(struct media_peer *peer, char **ret_sdp, struct error *error);
must_check int media_peer_answer(struct media_peer *peer, const char *offer, size_t length, char **ret_sdp, struct error *error);
must_check int media_peer_accept(struct media_peer *peer, const char *answer, size_t length, struct error *error);

/* A fragment that trickles candidates (RFC 8840). -ESTALE: it is of another ICE generation. */
must_check int media_peer_trickle(struct media_peer *peer, const char *fragment, size_t length, struct error *error);
/*
 * ICE restart by fragments (RFC 9725 section 4.3.2): the one who wants it writes one with new credentials and takes the
 * other's answer; the other answers. `ufrag`: NULL for one at random. Media go on until the new way is found.
 */
must_check int media_peer_restart_offer(struct media_peer *peer, const char *ufrag, char **ret_fragment, struct error *error);
must_check int media_peer_restart_answer(struct media_peer *peer, const char *fragment, size_t length, const char *ufrag,
					 char **ret_fragment, struct error *error);
must_check int media_peer_restart_accept(struct media_peer *peer, const char *fragment, size_t length, struct error *error);

/* A datagram that came; any bytes. `bytes` is scratch afterwards. */
void media_peer_receive(struct media_peer *peer, uint64_t now_us, const struct media_endpoint *from, uint8_t *bytes,
			size_t length);
/* Does what is due; returns when it wants to be called again, UINT64_MAX: never. */
uint64_t media_peer_advance(struct media_peer *peer, uint64_t now_us);
/* The same without doing anything: what the last calls have left to do. */
uint64_t media_peer_deadline(const struct media_peer *peer);

/* A frame of the negotiated codec. -ENOTCONN: not connected; -EMSGSIZE. */
must_check int media_peer_send(struct media_peer *peer, uint64_t now_us, uint32_t timestamp, bool marker, const uint8_t *payload,
			       size_t length);
/*
 * Sends a frame that came back, so that what was lost or reordered on its way stays so: sequence numbers keep their distances (a
 * number is never used twice under one key: RFC 7714 section 8.2). `payload` replaces the frame's.
 */
must_check int media_peer_send_back(struct media_peer *peer, uint64_t now_us, const struct media_frame *frame,
				    const uint8_t *payload, size_t length);
/* Says goodbye (RTCP BYE, DTLS close_notify). */
void media_peer_close(struct media_peer *peer, uint64_t now_us);

/* --- what it knows ------------------------------------------------------------------------------------------------------ */

struct media_statistics {
	enum media_state state;
	char reason[160]; /* why it failed or was closed */
	enum media_profile profile;
	bool has_path;
	struct media_endpoint path;
	uint64_t started_us, path_us, connected_us; /* when both descriptions were there, ICE had a way, keys were there; 0: not yet */
	uint64_t sent, sent_bytes;                  /* frames and their payload */
	uint64_t received, expected, lost, reordered;
	double jitter_ms;
	uint64_t longest_gap_us;
	uint64_t last_received_us;
	uint32_t ice_round_trip_us, rtcp_round_trip_us; /* the last measured; 0: none */
	uint64_t remote_lost;                           /* of what we sent, as the peer reports */
	double remote_jitter_ms;
	uint64_t refused; /* datagrams with a wrong tag, wrong integrity, or repeated */
	uint64_t ignored; /* datagrams that are nothing known, or came too early */
};

struct media_statistics media_peer_statistics(const struct media_peer *peer);
/* The negotiated codec; payload type 0 and rate 0 before. */
struct sdp_codec media_peer_codec(const struct media_peer *peer);
const char *media_peer_ufrag(const struct media_peer *peer);
/* The fragment before an ICE restart; "": there was none. Messages may still carry it. */
const char *media_peer_previous_ufrag(const struct media_peer *peer);
const char *media_peer_password(const struct media_peer *peer);
/* Once connected: what the peer encrypts with, MEDIA_SRTP_KEY_MAX bytes of master key and salt, and by which profile. */
const uint8_t *media_peer_remote_key(const struct media_peer *peer, enum media_profile *ret_profile);
/* Whether the peer proved to be at this address. */
bool media_peer_knows(const struct media_peer *peer, const struct media_endpoint *remote);
/* Further ends to check (an address that the other description did not say). */
void media_peer_add_remote(struct media_peer *peer, const struct media_endpoint *remote);

/* Writes `length` characters of the ICE alphabet and a zero: 64 possibilities each. */
void media_random_text(char *buffer, size_t length);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files behind echo.h share: echo.c has sessions and their media, echo_whip.c speaks HTTP, echo_fragments.c knows where fragments come
 * from.
 */
#pragma once

#include <jansson.h>
#include <sys/queue.h>

#include "rtc/echo.h"
#include "rtc/media_dtls.h"
#include "rtc/media_loop.h"
#include "rtc/media_peer.h"
#include "rtc/srtp_key.h"

#define ECHO_BUCKETS 4096
#define ECHO_ID_LENGTH 22
#define ECHO_PLACES 8 /* remote ends that one session is known by */

struct evhttp;
struct evhttp_bound_socket;
struct echo_fragments;

/* A remote end, or a fragment, in its table. */
struct echo_place {
	LIST_ENTRY(echo_place) link;
	struct echo_session *session; /* NULL: free */
	struct media_endpoint remote;
};
struct echo_name {
	LIST_ENTRY(echo_name) link;
	struct echo_session *session;
	char ufrag[SDP_UFRAG_SIZE];
};
LIST_HEAD(echo_place_list, echo_place);
LIST_HEAD(echo_name_list, echo_name);

struct echo_session {
	TAILQ_ENTRY(echo_session) link;
	struct echo *echo;
	char id[ECHO_ID_LENGTH + 1];
	uint32_t generation; /* of ICE: the ETag */
	struct media_peer *peer;
	struct media_timer timer;
	uint64_t begun_us;
	bool over; /* to be freed when nothing of it is running */
	struct echo_place places[ECHO_PLACES];
	size_t place_next;
	struct echo_name names[2]; /* of this generation of ICE and the one before */
};
TAILQ_HEAD(echo_session_list, echo_session);

struct echo {
	struct echo_config config;
	struct media_identity *identity;
	struct media_socket *socket;
	struct evhttp *http;
	struct evhttp_bound_socket *http_socket;
	struct echo_fragments *fragments;
	struct echo_session_list sessions;
	struct echo_place_list places[ECHO_BUCKETS];
	struct echo_name_list names[ECHO_BUCKETS];
	uint64_t clock;
	struct echo_counters counters;
};

/* --- echo.c --- */

/* A session from an offer, with its answer (the caller's to free). -EBUSY: there are enough; -EAGAIN: no fragment is there. */
must_check int echo_session_new(struct echo *echo, const char *offer, size_t length, struct echo_session **ret_session,
				char **ret_answer, struct error *error);
/* A new fragment for a session that restarts ICE. */
must_check int echo_session_restart(struct echo_session *session, const char *fragment, size_t length, char **ret_answer,
				    struct error *error);
must_check int echo_session_trickle(struct echo_session *session, const char *fragment, size_t length, struct error *error);
/* Tells who must know of the session's fragment: before that is done, its client should not have the answer. */
void echo_session_announce(struct echo_session *session, void (*registered)(void *context, bool good), void *context);
struct echo_session *echo_session_find(struct echo *echo, const char *id); /* NULL: there is none */
void echo_session_end(struct echo_session *session);                       /* by its client's wish: says goodbye, frees */

/* --- echo_whip.c --- */

must_check int echo_whip_start(struct echo *echo, struct error *error);
void echo_whip_stop(struct echo *echo);

/* --- echo_fragments.c --- */

must_check int echo_fragments_new(const struct echo_config *config, struct echo_fragments **ret_fragments, struct error *error);
void echo_fragments_free(struct echo_fragments *fragments);
/* Whether the sessions choose their fragments themselves. */
bool echo_fragments_random(const struct echo_fragments *fragments);
/* The next one. -EAGAIN: none is there yet. */
must_check int echo_fragments_take(struct echo_fragments *fragments, char ret_ufrag[static SDP_UFRAG_SIZE], struct error *error);
/* What became of a registration; exactly once, perhaps from within the call that asks for it. */
typedef void (*echo_registered_callback)(void *context, bool good);
/* What selvaged is told of a session. */
struct echo_registration {
	const char *ufrag, *password;
	const char *previous;        /* another fragment of the same session; "": none */
	const struct srtp_key *srtp; /* its client's; NULL: not known */
};
/* A fragment is in use, or more is known of its session; the session ends that has it. */
void echo_fragments_begin(struct echo_fragments *fragments, const struct echo_registration *registration,
			  echo_registered_callback registered, void *context);
void echo_fragments_end(struct echo_fragments *fragments, const char *ufrag);

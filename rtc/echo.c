/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/echo.h"

#include <string.h>

#include "base/lib/log.h"
#include "rtc/echo_internal.h"
#include "rtc/media_stamp.h"
#include "rtc/media_stun.h"

#define SOCKET_BUFFER_BYTES (4u << 20)

/* --- who a datagram is for ---------------------------------------------------------------------------------------------- */

static uint32_t hash_of(const void *bytes, size_t length)
{
	const uint8_t *at = bytes;
	uint32_t hash = 0x811c9dc5u;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ at[i]) * 0x01000193u;
	return (hash ^ hash >> 16) % ECHO_BUCKETS;
}

static uint32_t place_bucket(const struct media_endpoint *remote)
{
	return (hash_of(&remote->address, sizeof(remote->address)) + remote->port * 2654435761u) % ECHO_BUCKETS;
}

static struct echo_place *place_find(struct echo *echo, const struct media_endpoint *remote)
{
	struct echo_place *place;

	LIST_FOREACH(place, &echo->places[place_bucket(remote)], link)
		if (media_endpoint_equal(&place->remote, remote))
			return place;
	return NULL;
}

static void place_remove(struct echo_place *place)
{
	if (!place->session)
		return;
	LIST_REMOVE(place, link);
	place->session = NULL;
}

/* The latest session that proved to be there has a remote end; the oldest end of a session that has many is forgotten. */
static void place_take(struct echo_session *session, const struct media_endpoint *remote)
{
	struct echo_place *place = place_find(session->echo, remote);

	if (place && place->session == session)
		return;
	if (place)
		place_remove(place);
	place = &session->places[session->place_next++ % ECHO_PLACES];
	place_remove(place);
	*place = (struct echo_place){.session = session, .remote = *remote};
	LIST_INSERT_HEAD(&session->echo->places[place_bucket(remote)], place, link);
}

static struct echo_session *name_find(struct echo *echo, const char *ufrag, size_t length)
{
	struct echo_name *name;

	LIST_FOREACH(name, &echo->names[hash_of(ufrag, length)], link)
		if (strlen(name->ufrag) == length && memcmp(name->ufrag, ufrag, length) == 0)
			return name->session;
	return NULL;
}

static void name_remove(struct echo_name *name)
{
	if (!name->session)
		return;
	LIST_REMOVE(name, link);
	name->session = NULL;
}

/* The fragment that the peer has now; the one before stays until the next. */
static void name_take(struct echo_session *session)
{
	struct echo_name *name = &session->names[session->generation % 2];

	name_remove(name);
	name->session = session;
	strcpy(name->ufrag, media_peer_ufrag(session->peer));
	LIST_INSERT_HEAD(&session->echo->names[hash_of(name->ufrag, strlen(name->ufrag))], name, link);
}

/* The session that a STUN request names: "ours:theirs". */
static struct echo_session *request_session(struct echo *echo, const uint8_t *bytes, size_t length)
{
	struct media_stun request;
	const char *colon;

	if (media_stun_parse(bytes, length, &request) < 0 || request.type != MEDIA_STUN_REQUEST || !request.username)
		return NULL;
	colon = memchr(request.username, ':', request.username_length);
	return colon ? name_find(echo, request.username, (size_t)(colon - request.username)) : NULL;
}

/* --- sessions ----------------------------------------------------------------------------------------------------------- */

static void session_free(struct echo_session *session)
{
	struct echo *echo = session->echo;

	for (size_t i = 0; i < ECHO_PLACES; i++)
		place_remove(&session->places[i]);
	/* The fragment before this one leads to the same call, and goes with it. */
	if (session->names[session->generation % 2].session)
		echo_fragments_end(echo->fragments, session->names[session->generation % 2].ufrag);
	for (size_t i = 0; i < array_length(session->names); i++)
		name_remove(&session->names[i]);
	TAILQ_REMOVE(&echo->sessions, session, link);
	echo->counters.sessions--;
	if (session->peer && media_peer_statistics(session->peer).connected_us)
		echo->counters.connected--;
	media_timer_done(&session->timer);
	media_peer_free(session->peer);
	free(session);
}

static void session_settle(struct echo_session *session)
{
	if (session->over)
		session_free(session);
	else
		media_timer_set(&session->timer, media_peer_deadline(session->peer));
}

static void session_on_timer(void *context)
{
	struct echo_session *session = context;
	struct media_socket *socket = session->echo->socket;

	(void)media_peer_advance(session->peer, media_now_us());
	session_settle(session);
	media_socket_flush(socket);
}

static void session_on_send(void *context, const struct media_endpoint *to, const uint8_t *bytes, size_t length)
{
	struct echo_session *session = context;

	/* Its answers to our checks carry no fragment: known by where they come from. */
	if (session->echo->config.full_ice && media_stun_is(bytes, length) && !place_find(session->echo, to))
		place_take(session, to);
	media_socket_send(session->echo->socket, to, bytes, length);
}

/* What its client encrypts with, once that is known, of a profile that the fast path knows. */
static bool session_key(const struct echo_session *session, struct srtp_key *ret_key)
{
	enum media_profile profile;
	const uint8_t *bytes = media_peer_remote_key(session->peer, &profile);

	if (profile != MEDIA_PROFILE_AES128_CM_SHA1_80)
		return false;
	*ret_key = (struct srtp_key){.profile = RTC_SRTP_AES128_CM_SHA1_80};
	memcpy(ret_key->key, bytes, sizeof(ret_key->key));
	memcpy(ret_key->salt, bytes + sizeof(ret_key->key), sizeof(ret_key->salt));
	return true;
}

void echo_session_announce(struct echo_session *session, void (*registered)(void *context, bool good), void *context)
{
	struct srtp_key key;

	echo_fragments_begin(session->echo->fragments,
			     &(struct echo_registration){
				     .ufrag = media_peer_ufrag(session->peer),
				     .password = media_peer_password(session->peer),
				     .previous = media_peer_previous_ufrag(session->peer),
				     .srtp = session_key(session, &key) ? &key : NULL,
			     },
			     registered, context);
}

static void nobody_registered(void *context, bool good)
{
}

static void session_on_state(void *context, enum media_state state, const char *why)
{
	struct echo_session *session = context;
	struct echo_counters *counters = &session->echo->counters;
	struct srtp_key key;

	if (state == MEDIA_CONNECTED) {
		counters->connected++;
		counters->connected_total++;
		/* Once more, with the key; until that is there its client's media are taken for what they fit. */
		if (session_key(session, &key))
			echo_session_announce(session, nobody_registered, NULL);
	}
	if (state == MEDIA_FAILED) {
		counters->failed_total++;
		log_info("session %s: %s", session->id, why);
	}
	session->over = state == MEDIA_FAILED || state == MEDIA_CLOSED;
}

/* Back as it came; into the media check's frames goes the time, so that it knows both ways apart. */
static void session_on_frame(void *context, const struct media_frame *frame, uint64_t now_us)
{
	struct echo_session *session = context;
	const uint8_t *payload = frame->payload;
	uint8_t stamped[MEDIA_PAYLOAD_MAX];
	struct media_stamp stamp;

	if (frame->payload_length <= sizeof(stamped) && media_stamp_is(payload, frame->payload_length)) {
		stamp = media_stamp_read(payload);
		stamp.agent_clock = session->echo->clock;
		stamp.agent_us = now_us;
		memcpy(stamped, payload, frame->payload_length);
		media_stamp_write(stamped, &stamp);
		payload = stamped;
	}
	if (media_peer_send_back(session->peer, now_us, frame, payload, frame->payload_length) == 0)
		session->echo->counters.frames_total++;
}

static void on_datagram(void *context, uint64_t now_us, const struct media_endpoint *from, uint8_t *bytes, size_t length)
{
	struct echo *echo = context;
	struct echo_place *place;
	struct echo_session *session = NULL;

	/* A fragment says more than where it comes from. */
	if (media_stun_is(bytes, length))
		session = request_session(echo, bytes, length);
	place = session ? NULL : place_find(echo, from);
	if (place)
		session = place->session;
	if (!session) {
		echo->counters.strays_total++;
		return;
	}
	media_peer_receive(session->peer, now_us, from, bytes, length);
	if (!place && media_peer_knows(session->peer, from))
		place_take(session, from);
	session_settle(session);
}

/* --- candidates --------------------------------------------------------------------------------------------------------- */

static size_t candidates_fill(const struct echo *echo, struct sdp_candidate candidates[static ECHO_ANNOUNCED_MAX])
{
	const struct echo_config *config = &echo->config;
	size_t count = config->announced_count ? config->announced_count : 1;

	for (size_t i = 0; i < count; i++) {
		candidates[i] = (struct sdp_candidate){
			.type = "host",
			/* RFC 8445 section 5.1.2: host candidates, in the order that they were given. */
			.priority = 126u << 24 | (65535u - (uint32_t)i) << 8 | 255u,
			.endpoint = config->announced_count ? config->announced[i] : media_socket_local(echo->socket),
		};
		candidates[i].foundation[0] = (char)('1' + i);
	}
	return count;
}

static int session_describe(struct echo_session *session, const char *offer, size_t length, char **ret_answer, struct error *error)
{
	struct echo *echo = session->echo;
	struct sdp_candidate candidates[ECHO_ANNOUNCED_MAX];
	char ufrag[SDP_UFRAG_SIZE];
	struct media_config config = {
		.identity = echo->identity,
		.ice_lite = !echo->config.full_ice,
		.dtls_active = echo->config.dtls_active,
		.only = echo->config.only,
		.candidates = candidates,
		.candidate_count = candidates_fill(echo, candidates),
		.handlers = {
			.send = session_on_send, .state = session_on_state, .frame = session_on_frame, .context = session},
	};
	int result;

	if (!echo_fragments_random(echo->fragments)) {
		result = echo_fragments_take(echo->fragments, ufrag, error);
		if (result < 0)
			return result;
		config.ufrag = ufrag;
	}
	result = media_peer_new(&config, &session->peer, error);
	if (result == 0)
		result = media_peer_answer(session->peer, offer, length, ret_answer, error);
	return result;
}

int echo_session_new(struct echo *echo, const char *offer, size_t length, struct echo_session **ret_session, char **ret_answer,
		     struct error *error)
{
	struct echo_session *session;
	int result;

	if (echo->counters.sessions >= echo->config.sessions_max)
		return error_set(error, EBUSY, "there are %u sessions already", echo->config.sessions_max);
	session = calloc(1, sizeof(*session));
	if (!session)
		return error_set(error, ENOMEM, "no memory");
	session->echo = echo;
	session->begun_us = media_now_us();
	media_random_text(session->id, ECHO_ID_LENGTH);
	/* The alphabet of ICE less what a path would take for something else. */
	for (char *at = session->id; *at; at++)
		*at = *at == '/' ? '-' : *at == '+' ? '_' : *at;
	TAILQ_INSERT_TAIL(&echo->sessions, session, link);
	echo->counters.sessions++;
	result = media_timer_init(&session->timer, echo->config.base, session_on_timer, session);
	if (result == 0)
		result = session_describe(session, offer, length, ret_answer, error);
	if (result < 0) {
		session_free(session);
		return result;
	}
	name_take(session);
	echo->counters.sessions_total++;
	media_timer_set(&session->timer, 0);
	*ret_session = session;
	return 0;
}

int echo_session_restart(struct echo_session *session, const char *fragment, size_t length, char **ret_answer, struct error *error)
{
	struct echo_fragments *fragments = session->echo->fragments;
	char ufrag[SDP_UFRAG_SIZE];
	bool random = echo_fragments_random(fragments);
	int result = random ? 0 : echo_fragments_take(fragments, ufrag, error);

	if (result == 0)
		result = media_peer_restart_answer(session->peer, fragment, length, random ? NULL : ufrag, ret_answer, error);
	if (result < 0)
		return result;
	session->generation++;
	name_take(session);
	media_timer_set(&session->timer, 0);
	return 0;
}

int echo_session_trickle(struct echo_session *session, const char *fragment, size_t length, struct error *error)
{
	int result = media_peer_trickle(session->peer, fragment, length, error);

	media_timer_set(&session->timer, 0);
	return result;
}

struct echo_session *echo_session_find(struct echo *echo, const char *id)
{
	struct echo_session *session;

	/* Asked a few times in a session's life. */
	TAILQ_FOREACH(session, &echo->sessions, link)
		if (strcmp(session->id, id) == 0)
			return session;
	return NULL;
}

void echo_session_end(struct echo_session *session)
{
	struct media_socket *socket = session->echo->socket;

	media_peer_close(session->peer, media_now_us());
	session_free(session);
	media_socket_flush(socket);
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

int echo_new(const struct echo_config *config, struct echo **ret_echo, struct error *error)
{
	struct media_socket_config socket = {
		.base = config->base, .local = config->media, .buffer_bytes = SOCKET_BUFFER_BYTES, .receive = on_datagram};
	struct echo *echo = calloc(1, sizeof(*echo));
	int result;

	if (!echo)
		return error_set(error, ENOMEM, "no memory");
	echo->config = *config;
	echo->clock = media_stamp_clock();
	TAILQ_INIT(&echo->sessions);
	socket.context = echo;
	result = media_identity_new(&echo->identity, error);
	if (result == 0)
		result = media_socket_new(&socket, &echo->socket, error);
	if (result == 0)
		result = echo_fragments_new(&echo->config, &echo->fragments, error);
	if (result == 0)
		result = echo_whip_start(echo, error);
	if (result < 0) {
		echo_free(echo);
		return result;
	}
	*ret_echo = echo;
	return 0;
}

void echo_free(struct echo *echo)
{
	struct echo_session *session;

	if (!echo)
		return;
	while ((session = TAILQ_FIRST(&echo->sessions)))
		echo_session_end(session);
	echo_whip_stop(echo);
	echo_fragments_free(echo->fragments);
	media_socket_free(echo->socket);
	media_identity_free(echo->identity);
	free(echo);
}

struct media_endpoint echo_media(const struct echo *echo)
{
	return media_socket_local(echo->socket);
}

struct echo_counters echo_counters(const struct echo *echo)
{
	struct echo_counters counters = echo->counters;

	counters.unsent_total = media_socket_unsent(echo->socket);
	counters.overflows_total = media_socket_overflows(echo->socket);
	return counters;
}

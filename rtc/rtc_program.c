/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/rtc_program.h"

#include <stdlib.h>
#include <string.h>

#include "base/lib/table_put.h"
#include "lb/lb_program.h"
#include "rtc/rtc_index.h"
#include "rtc/rtc_secret.h"
#include "rtc/rtc_srtp.h"

#define INDEX_BUCKETS (1u << RTC_INDEX_BUCKET_BITS)

/* Passes of the sweep that begin after a session ended, until nothing leads to its row: one is under way, the next is whole. */
#define PASSES_TO_FREE 2u

/* What passes found of a backend's sessions that live. */
struct agent_book {
	uint32_t counting;  /* in this pass, */
	bool in_pass;       /* all of which it was there for, */
	bool leaving;       /* and took no new ones */
	struct rtc_agent_calls calls; /* of the last one */
};

struct rtc_program {
	struct rtc_program_options options;
	rtc_ended *ended;
	void *ended_context;
	uint32_t step; /* of the sweep, the next one */
	uint32_t pass; /* which one; from 1 */
	struct rtc_sweep_stats stats; /* of this pass */
	uint32_t ending;    /* rows that ended_pass has */
	uint32_t commanded; /* ends since the last step that were commands */
	uint32_t ended_pass[RTC_SESSION_ROWS]; /* by row: the pass that found it ended, 0: none */
	struct agent_book agents[LB_BACKEND_ROWS];
};

static struct rtc_session *session_of(const struct rtc_program *program, uint32_t row)
{
	return &program->options.sessions->rows[row & (RTC_SESSION_ROWS - 1)];
}

static enum rtc_session_state session_state(const struct rtc_session *session)
{
	return load_once(session->state);
}

static bool session_is_there(const struct rtc_session *session)
{
	enum rtc_session_state state = session_state(session);

	return state == RTC_SESSION_WAITING || state == RTC_SESSION_LIVE;
}

/*
 * Bookkeeping
 */

static void row_give(struct rtc_program *program, uint32_t row)
{
	struct rtc_free *free_rows = &program->options.tables->free;

	free_rows->rows[free_rows->tail & (RTC_SESSION_ROWS - 1)] = row;
	table_publish();
	store_once(free_rows->tail, free_rows->tail + 1);
}

/* As workers do. 0: there is none. */
static uint32_t row_take(struct rtc_program *program)
{
	struct rtc_free *free_rows = &program->options.tables->free;

	for (;;) {
		uint32_t head = load_once(free_rows->head), row;

		if (head == free_rows->tail)
			return 0;
		row = free_rows->rows[head & (RTC_SESSION_ROWS - 1)];
		if (__sync_bool_compare_and_swap(&free_rows->head, head, head + 1))
			return row;
	}
}

void rtc_program_adopt(struct rtc_program *program)
{
	struct rtc_tables *tables = program->options.tables;

	memset(program->ended_pass, 0, sizeof(program->ended_pass));
	program->step = 0;
	program->ending = 0;
	program->pass = 1;
	program->stats = (struct rtc_sweep_stats){0};
	if (tables->began)
		return;
	for (uint32_t row = 1; row < RTC_SESSION_ROWS; row++)
		tables->free.rows[row - 1] = row;
	table_publish();
	store_once(tables->free.tail, RTC_SESSION_ROWS - 1);
	store_once(tables->began, (uint64_t)1);
}

struct rtc_program *rtc_program_new(const struct rtc_program_options *options)
{
	struct rtc_program *program = calloc(1, sizeof(*program));

	if (!program)
		return NULL;
	program->options = *options;
	rtc_program_adopt(program);
	return program;
}

void rtc_program_free(struct rtc_program *program)
{
	free(program);
}

void rtc_program_on_end(struct rtc_program *program, rtc_ended *ended, void *context)
{
	program->ended = ended;
	program->ended_context = context;
}

struct rtc_usage rtc_program_usage(const struct rtc_program *program)
{
	const struct rtc_free *free_rows = &program->options.tables->free;

	return (struct rtc_usage){
		.used = RTC_SESSION_ROWS - 1 - (load_once(free_rows->tail) - load_once(free_rows->head)),
		.limit = RTC_SESSION_ROWS - 1,
	};
}

/*
 * Services
 */

/* More than browsers behind one address ask for when a meeting begins. */
static const struct lb_rate_wanted answers_default = {.per_minute = 6000, .burst = 200};
/* More than a site's clients ask for, and 2.7 Mbit/s of answers. */
static const struct lb_rate_wanted answers_all_default = {.per_minute = 300000, .burst = 10000};

static bool dscp_valid(uint8_t dscp)
{
	return dscp < 64 || dscp == 255;
}

int rtc_service_check(const struct lb_service_wanted *service, struct error *error)
{
	const struct lb_media_wanted *media = &service->media_wanted;
	int result;

	if (!service->media)
		return 0;
	if (!dscp_valid(media->dscp_up) || !dscp_valid(media->dscp_down))
		return error_set(error, EINVAL, "service %s: DSCP code points are 0 to 63", service->name);
	result = lb_rate_check(service, &media->session_packets, error);
	if (result == 0)
		result = lb_rate_check(service, &media->stun_answers, error);
	return result < 0 ? result : lb_rate_check(service, &media->stun_answers_all, error);
}

/* Packets may see one rate's parts of two moments, once. */
static void rate_write(struct lb_rate *rate, struct lb_rate now, uint32_t *changes)
{
	table_put(rate->full, now.full, changes);
	table_put(rate->gain, now.gain, changes);
	table_put(rate->cost, now.cost, changes);
}

static void keys_write(struct rtc_ufrag_keys *keys, const struct rtc_ufrag_keys *wanted, uint32_t *changes)
{
	for (uint32_t slot = 0; slot < RTC_UFRAG_KEY_SLOTS; slot++) {
		if (memcmp(&keys->key[slot], &wanted->key[slot], sizeof(keys->key[slot])) != 0) {
			store_once(keys->number[slot], 0u);
			table_publish();
			table_put(keys->key[slot].word[0], wanted->key[slot].word[0], changes);
			table_put(keys->key[slot].word[1], wanted->key[slot].word[1], changes);
			table_publish();
		}
		table_put(keys->number[slot], wanted->number[slot], changes);
	}
}

static uint8_t dscp_written(uint8_t dscp)
{
	return dscp == 255 ? RTC_DSCP_KEEP : (uint8_t)(dscp + 1);
}

void rtc_program_service_write(struct rtc_program *program, uint16_t service_row, const struct lb_service_wanted *service,
			       uint32_t *ret_changes)
{
	static const struct rtc_ufrag_keys none;
	struct rtc_service *row = &program->options.tables->services[service_row & (LB_SERVICE_ROWS - 1)];
	const struct lb_media_wanted *media = &service->media_wanted;

	if (!service->media)
		return;
	keys_write(&row->keys, media->keys ? media->keys : &none, ret_changes);
	rate_write(&row->packets, lb_rate_of(&media->session_packets), ret_changes);
	rate_write(&row->answers, lb_rate_of(media->stun_answers.burst ? &media->stun_answers : &answers_default), ret_changes);
	rate_write(&row->answers_all, lb_rate_of(media->stun_answers_all.burst ? &media->stun_answers_all : &answers_all_default),
		   ret_changes);
	table_put(row->dscp_up, dscp_written(media->dscp_up), ret_changes);
	table_put(row->dscp_down, dscp_written(media->dscp_down), ret_changes);
}

void rtc_program_services_clean(struct rtc_program *program, uint32_t *ret_changes)
{
	static const struct rtc_service none;

	for (uint32_t row = 1; row < LB_SERVICE_ROWS; row++) {
		struct rtc_service *service = &program->options.tables->services[row];

		if (program->options.lb->services[row].flags & LB_SERVICE_MEDIA || memcmp(service, &none, sizeof(none)) == 0)
			continue;
		*service = none;
		*ret_changes += sizeof(none) / sizeof(uint64_t);
	}
}

/*
 * Sessions
 */

uint64_t rtc_program_fragment(const struct rtc_program *program, uint16_t service_row, const char *ufrag)
{
	struct stun_message message = {0};
	size_t length = strnlen(ufrag, STUN_FRAGMENT_MAX);

	memcpy(message.bytes, ufrag, length);
	return rtc_fragment_hash(program->options.lb->hash_seed, service_row, &message, (uint64_t)length << 32);
}

static uint32_t fragment_find(const struct rtc_program *program, uint16_t service_row, uint64_t fragment)
{
	uint32_t row = rtc_index_row(rtc_index_look(program->options.index, fragment, RTC_INDEX_FRAGMENT));
	const struct rtc_session *session = session_of(program, row);

	if (row == 0 || !session_is_there(session) || session->service != service_row ||
	    (session->fragments[0] != fragment && session->fragments[1] != fragment))
		return 0;
	return row;
}

uint32_t rtc_program_find(const struct rtc_program *program, uint16_t service_row, const char *ufrag)
{
	return fragment_find(program, service_row, rtc_program_fragment(program, service_row, ufrag));
}

/* Ends what is there; false: it ended by itself meanwhile. */
static bool session_end(struct rtc_program *program, uint32_t row, uint32_t now_ms, enum rtc_end why)
{
	struct rtc_session *session = session_of(program, row);
	struct rtc_session_info info;
	uint32_t control;

	if (program->ended && rtc_program_read(program, row, now_ms, &info))
		program->ended(program->ended_context, &info, why);
	do {
		control = load_once(*rtc_session_control(session));
		if ((control & RTC_CONTROL_STATE) != RTC_SESSION_WAITING && (control & RTC_CONTROL_STATE) != RTC_SESSION_LIVE)
			return false;
	} while (!__sync_bool_compare_and_swap(rtc_session_control(session), control,
					       (control & ~RTC_CONTROL_STATE) | RTC_SESSION_ENDED));
	return true;
}

bool rtc_program_end(struct rtc_program *program, uint32_t row, uint32_t now_ms)
{
	if (row == 0 || row >= RTC_SESSION_ROWS || !session_end(program, row, now_ms, RTC_END_COMMAND))
		return false;
	program->commanded++;
	return true;
}

/* A registered session that waits for its client. 0: no room. */
static uint32_t session_make(struct rtc_program *program, uint16_t service_row, uint16_t backend_row, struct be16 agent_port,
			     const uint64_t fragments[static RTC_FRAGMENTS], uint32_t now_ms)
{
	uint32_t row = row_take(program);
	struct rtc_session *session = session_of(program, row);

	if (row == 0)
		return 0;
	session->service = service_row;
	session->backend = backend_row;
	session->agent_port = agent_port;
	memcpy(session->fragments, fragments, sizeof(session->fragments));
	session->rtt_agent_ms = session->rtt_client_ms = UINT16_MAX;
	session->begun_ms = session->consent_ms = now_ms;
	__atomic_store_n(rtc_session_control(session),
			 RTC_SESSION_WAITING | (uint32_t)RTC_SESSION_REGISTERED << RTC_CONTROL_FLAGS_SHIFT, __ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < RTC_FRAGMENTS; i++) {
		if (fragments[i] &&
		    !rtc_index_put(program->options.index, fragments[i], rtc_index_low(RTC_INDEX_FRAGMENT, 0, row))) {
			store_once(session->state, (uint8_t)RTC_SESSION_ENDED);
			return 0;
		}
	}
	return row;
}

static int registration_check(const struct rtc_program *program, uint16_t service_row, const char *ufrag, uint16_t backend_row,
			      uint16_t agent_port, struct error *error)
{
	const struct lb_service *service = &program->options.lb->services[service_row & (LB_SERVICE_ROWS - 1)];
	const struct lb_backend *backend = &program->options.lb->backends[backend_row & (LB_BACKEND_ROWS - 1)];
	int result = rtc_ufrag_validate(ufrag, strlen(ufrag), error);

	if (result < 0)
		return result;
	if (service_row == 0 || service_row >= LB_SERVICE_ROWS || !(service->flags & LB_SERVICE_MEDIA))
		return error_set(error, EINVAL, "no service of WebRTC");
	if (backend_row == 0 || backend_row >= LB_BACKEND_ROWS || backend->service != service_row ||
	    backend->state == LB_BACKEND_FREE)
		return error_set(error, EINVAL, "no backend of the service");
	if (agent_port == 0 && be16_get(backend->port) == 0)
		return error_set(error, EINVAL, "the service's backends have any port: say which");
	if (agent_port && be16_get(backend->port) && agent_port != be16_get(backend->port))
		return error_set(error, EINVAL, "the backend's port is %u, not %u", be16_get(backend->port), agent_port);
	return 0;
}

int rtc_program_add(struct rtc_program *program, uint16_t service_row, const char *ufrag, uint16_t backend_row,
		    uint16_t agent_port, uint32_t now_ms, uint32_t *ret_row, struct error *error)
{
	int result = registration_check(program, service_row, ufrag, backend_row, agent_port, error);
	uint64_t fragments[RTC_FRAGMENTS] = {0};
	struct be16 port;
	uint32_t row;

	if (result < 0)
		return result;
	port = agent_port ? be16_from(agent_port) : program->options.lb->backends[backend_row].port;
	fragments[0] = rtc_program_fragment(program, service_row, ufrag);
	row = fragment_find(program, service_row, fragments[0]);
	if (row) {
		struct rtc_session *session = session_of(program, row);

		if (session->backend == backend_row && session->agent_port.raw == port.raw) {
			__sync_fetch_and_or(rtc_session_control(session),
					    (uint32_t)RTC_SESSION_REGISTERED << RTC_CONTROL_FLAGS_SHIFT);
			*ret_row = row;
			return 0;
		}
		if (session_end(program, row, now_ms, RTC_END_COMMAND))
			program->commanded++;
	}
	row = session_make(program, service_row, backend_row, port, fragments, now_ms);
	if (row == 0)
		return error_set(error, ENOSPC, "no room for one more media session (%u are in use)", rtc_program_usage(program).used);
	*ret_row = row;
	return 0;
}

int rtc_program_restart(struct rtc_program *program, uint32_t row, const char *ufrag, struct error *error)
{
	struct rtc_session *session = session_of(program, row);
	int result = rtc_ufrag_validate(ufrag, strlen(ufrag), error);
	uint64_t fragment;

	if (result < 0)
		return result;
	if (row == 0 || row >= RTC_SESSION_ROWS || !session_is_there(session))
		return error_set(error, ENOENT, "no such session");
	fragment = rtc_program_fragment(program, session->service, ufrag);
	if (session->fragments[0] == fragment || session->fragments[1] == fragment)
		return 0;
	store_once(session->fragments[1], session->fragments[0]);
	store_once(session->fragments[0], fragment);
	if (!rtc_index_put(program->options.index, fragment, rtc_index_low(RTC_INDEX_FRAGMENT, 0, row)))
		return error_set(error, ENOSPC, "no room for one more fragment");
	return 0;
}

/* The fragment's place; else one that is of no fragment of the session. */
static struct rtc_secret *secret_place(const struct rtc_program *program, uint32_t row, uint64_t fragment)
{
	struct rtc_secret *secrets = program->options.tables->secrets[row], *idle = NULL;
	const struct rtc_session *session = session_of(program, row);

	for (uint32_t i = 0; i < RTC_FRAGMENTS; i++) {
		if (secrets[i].fragment == fragment)
			return &secrets[i];
		if (secrets[i].fragment == 0 ||
		    (secrets[i].fragment != session->fragments[0] && secrets[i].fragment != session->fragments[1]))
			idle = &secrets[i];
	}
	return idle;
}

int rtc_program_password(struct rtc_program *program, uint32_t row, const char *ufrag, const char *password)
{
	struct rtc_session *session = session_of(program, row);
	struct rtc_secret *place, secret;
	uint64_t fragment;

	if (row == 0 || row >= RTC_SESSION_ROWS || !session_is_there(session))
		return -ENOENT;
	fragment = rtc_program_fragment(program, session->service, ufrag);
	if (session->fragments[0] != fragment && session->fragments[1] != fragment)
		return -ENOENT;
	place = secret_place(program, row, fragment);
	if (!password) {
		if (place->fragment == fragment)
			store_once(place->fragment, 0ull);
		return 0;
	}
	secret = rtc_secret_of(fragment, password);
	if (memcmp(place, &secret, sizeof(secret)) != 0) {
		store_once(place->fragment, 0ull);
		table_publish();
		memcpy(place->inner, secret.inner, sizeof(secret.inner));
		memcpy(place->outer, secret.outer, sizeof(secret.outer));
		table_publish();
		store_once(place->fragment, fragment);
		table_publish();
	}
	__sync_fetch_and_or(rtc_session_control(session), (uint32_t)RTC_SESSION_SECRET << RTC_CONTROL_FLAGS_SHIFT);
	return 0;
}

/* A stream that is no longer than this began where we saw it, and not in its middle. */
#define STREAM_FRESH_PACKETS 16384u

/*
 * What is known of the rollover counter of a stream that the client sends, now that its key is told. `again`: it had another one
 * before, so the counter is zero now; else its streams began with the key.
 */
static void counter_know(const struct rtc_session *session, bool again, struct rtc_srtp *srtp)
{
	const struct rtc_stream *stream = &session->up;

	if (session_state(session) != RTC_SESSION_LIVE)
		return; /* it was told elsewhere, or long ago: its client comes from another node, or from before ours began */
	if (stream->received == 0 || (!again && stream->expected_before == 0 && stream->highest - stream->base < STREAM_FRESH_PACKETS))
		srtp->flags = RTC_SRTP_FIRST;
	else if (again)
		srtp->known = (uint64_t)(0u - (stream->highest >> 16)) << 32 | rtc_srtp_mark(stream->ssrc, stream->base);
}

int rtc_program_srtp(struct rtc_program *program, uint32_t row, const char *ufrag, const struct srtp_key *key)
{
	struct rtc_session *session = session_of(program, row);
	struct rtc_srtp *place, srtp;
	uint64_t fragment;
	bool again;

	if (row == 0 || row >= RTC_SESSION_ROWS || !session_is_there(session))
		return -ENOENT;
	fragment = rtc_program_fragment(program, session->service, ufrag);
	if (session->fragments[0] != fragment && session->fragments[1] != fragment)
		return -ENOENT;
	place = &program->options.tables->srtp[row];
	again = session->flags & RTC_SESSION_KEYED && place->fragment;
	if (!key) {
		if (again && place->fragment == fragment) {
			__sync_fetch_and_and(rtc_session_control(session), ~((uint32_t)RTC_SESSION_KEYED << RTC_CONTROL_FLAGS_SHIFT));
			store_once(place->fragment, 0ull);
		}
		return 0;
	}
	/* what was told before an ICE restart, and is read from the store once more */
	if (again && place->fragment != fragment && place->fragment == session->fragments[0])
		return 0;
	srtp = rtc_srtp_of(fragment, key);
	if (again && place->profile == srtp.profile && memcmp(place->inner, srtp.inner, sizeof(srtp.inner)) == 0 &&
	    memcmp(place->outer, srtp.outer, sizeof(srtp.outer)) == 0) {
		store_once(place->fragment, fragment);
		return 0;
	}
	counter_know(session, again, &srtp);
	store_once(place->fragment, 0ull);
	table_publish();
	memcpy((uint8_t *)place + sizeof(fragment), (const uint8_t *)&srtp + sizeof(fragment), sizeof(srtp) - sizeof(fragment));
	table_publish();
	store_once(place->fragment, fragment);
	table_publish();
	__sync_fetch_and_or(rtc_session_control(session), (uint32_t)RTC_SESSION_KEYED << RTC_CONTROL_FLAGS_SHIFT);
	return 0;
}

/*
 * Reading
 */

static uint32_t age_of(uint32_t then_ms, uint32_t now_ms)
{
	uint32_t age = now_ms - then_ms;

	return age >> 31 ? 0 : age; /* a worker's clock may be ahead of ours */
}

static struct rtc_stream_info stream_read(const struct rtc_stream *stream, uint32_t now_ms)
{
	uint32_t received = load_once(stream->received), expected = received ? stream->highest - stream->base + 1 : 0;
	struct rtc_stream_info info = {
		.packets = stream->packets,
		.bytes = stream->bytes,
		.silent_ms = stream->packets ? age_of(stream->last_ms, now_ms) : UINT32_MAX,
		.ssrc = stream->ssrc,
		.expected = (uint64_t)stream->expected_before + expected,
		.lost = (uint64_t)stream->lost_before + (expected > received ? expected - received : 0),
		.clock_khz = stream->khz,
		.payload_type = stream->payload_type,
		.gaps = stream->gaps,
		.pause_ms = stream->pause_ms,
	};

	if (info.clock_khz)
		info.jitter_us = (uint32_t)((uint64_t)stream->jitter * 1000 / 16 / info.clock_khz);
	return info;
}

static void paths_read(struct rtc_session *session, uint32_t now_ms, struct rtc_session_info *info)
{
	for (uint32_t number = 0; number < RTC_PATHS; number++) {
		const struct rtc_path *path = rtc_session_path(session, number);
		uint32_t version = load_once(path->version);
		bool current = session->current == number && session_state(session) == RTC_SESSION_LIVE;

		if (version == 0 || version & 1)
			continue;
		info->paths[info->path_count++] = (struct rtc_path_info){
			.address = path->address,
			.port = be16_get(path->port),
			.flags = path->flags,
			.silent_ms = age_of(current && session->up.packets ? session->up.last_ms : path->seen_ms, now_ms),
			.current = current,
		};
	}
}

/* A session begins with the time of its first check as that of its consent: what is later, or came with an answer, is one. */
static uint32_t consent_age(const struct rtc_session *session, const struct rtc_session_info *info, uint32_t now_ms)
{
	bool given = session->consent_ms != session->begun_ms || session->rtt_agent_ms != UINT16_MAX;

	for (uint32_t i = 0; i < info->path_count; i++)
		given |= info->paths[i].flags & RTC_PATH_PROVEN;
	return given ? age_of(session->consent_ms, now_ms) : UINT32_MAX;
}

bool rtc_program_read(const struct rtc_program *program, uint32_t row, uint32_t now_ms, struct rtc_session_info *ret_info)
{
	struct rtc_session *session = session_of(program, row);
	struct rtc_session_info info;

	if (row == 0 || row >= RTC_SESSION_ROWS || !session_is_there(session))
		return false;
	info = (struct rtc_session_info){
		.row = row,
		.state = session_state(session),
		.flags = session->flags & (RTC_SESSION_REGISTERED | RTC_SESSION_BOUND | RTC_SESSION_MOVED),
		.service = session->service,
		.backend = session->backend,
		.agent = program->options.lb->backends[session->backend & (LB_BACKEND_ROWS - 1)].address,
		.agent_port = be16_get(session->agent_port),
		.fragments = {session->fragments[0], session->fragments[1]},
		.age_ms = age_of(session->begun_ms, now_ms),
		.rtt_client_ms = session->rtt_client_ms,
		.rtt_agent_ms = session->rtt_agent_ms,
		.moves = session->moves,
		.healed = session->healed,
		.up = stream_read(&session->up, now_ms),
		.down = stream_read(&session->down, now_ms),
	};
	if (info.flags & RTC_SESSION_BOUND) {
		info.upstream = session->upstream;
		info.upstream_port = be16_get(session->upstream_port);
	}
	paths_read(session, now_ms, &info);
	info.consent_ms = consent_age(session, &info, now_ms);
	*ret_info = info;
	return true;
}

uint32_t rtc_program_next(const struct rtc_program *program, uint32_t row)
{
	for (row++; row < RTC_SESSION_ROWS; row++) {
		if (session_is_there(session_of(program, row)))
			return row;
	}
	return 0;
}

/*
 * The sweep
 */

/* Whether the word is one of this hash, in this bucket. */
static bool word_is(uint64_t word, uint64_t hash, uint32_t bucket)
{
	return (word ^ hash) >> RTC_INDEX_SIGNATURE_SHIFT == 0 && (hash & (INDEX_BUCKETS - 1)) == bucket;
}

/* Whether what the word says is so. */
static bool word_holds(const struct rtc_program *program, uint64_t word, uint32_t bucket)
{
	struct rtc_session *session = session_of(program, rtc_index_row((uint32_t)word));
	const struct lb_tables *lb = program->options.lb;
	const struct lb_service *service = &lb->services[session->service & (LB_SERVICE_ROWS - 1)];
	const struct lb_backend *backend = &lb->backends[session->backend & (LB_BACKEND_ROWS - 1)];
	uint32_t number = rtc_index_path((uint32_t)word);
	const struct rtc_path *path = rtc_session_path(session, number);
	bool upstream = number == RTC_PATHS;

	if (!session_is_there(session))
		return false;
	switch (rtc_index_kind((uint32_t)word)) {
	case RTC_INDEX_PATH:
		return number < RTC_PATHS && path->version &&
		       word_is(word, rtc_path_hash(lb->hash_seed, &path->address, path->port, service), bucket);
	case RTC_INDEX_UPSTREAM:
		return word_is(word,
			       rtc_upstream_hash(lb->hash_seed, upstream ? &session->upstream : &path->address,
						 upstream ? session->upstream_port : path->port, &backend->address,
						 session->agent_port, service->ipv6),
			       bucket);
	case RTC_INDEX_FRAGMENT:
		return word_is(word, session->fragments[0], bucket) || word_is(word, session->fragments[1], bucket);
	case RTC_INDEX_SSRC:
		return word_is(word, rtc_ssrc_hash(lb->hash_seed, session->service, session->up.ssrc), bucket);
	default:
		return false;
	}
}

static void index_sweep(struct rtc_program *program, uint32_t step)
{
	uint32_t part = INDEX_BUCKETS / RTC_SWEEP_STEPS;

	for (uint32_t bucket = step * part; bucket < (step + 1) * part; bucket++) {
		for (uint32_t way = 0; way < RTC_INDEX_WAYS; way++) {
			uint64_t *place = &program->options.index->words[bucket][way], word = load_once(*place);

			/* of two that meet, a worker's word stays */
			if (word && !word_holds(program, word, bucket))
				(void)__sync_bool_compare_and_swap(place, word, 0);
		}
	}
}

/* Why a session is over, RTC_ENDS: it is not. */
static enum rtc_end session_over(const struct rtc_program *program, const struct rtc_session *session, uint32_t now_ms)
{
	const struct lb_service *service = &program->options.lb->services[session->service & (LB_SERVICE_ROWS - 1)];
	const struct lb_backend *backend = &program->options.lb->backends[session->backend & (LB_BACKEND_ROWS - 1)];

	if (!(service->flags & LB_SERVICE_MEDIA))
		return RTC_END_SERVICE;
	if (backend->service != session->service || backend->state == LB_BACKEND_FREE)
		return RTC_END_BACKEND;
	if (session_state(session) == RTC_SESSION_LIVE && age_of(session->consent_ms, now_ms) > RTC_CONSENT_MS)
		return RTC_END_CONSENT;
	return RTC_ENDS;
}

static void session_sweep(struct rtc_program *program, uint32_t row, uint32_t now_ms)
{
	struct rtc_session *session = session_of(program, row);
	enum rtc_end why = session_over(program, session, now_ms);
	uint64_t fragments[RTC_FRAGMENTS];
	bool registered = session->flags & RTC_SESSION_REGISTERED;

	if (why == RTC_ENDS) {
		*(session_state(session) == RTC_SESSION_LIVE ? &program->stats.live : &program->stats.waiting) += 1;
		program->agents[session->backend & (LB_BACKEND_ROWS - 1)].counting += session_state(session) == RTC_SESSION_LIVE;
		return;
	}
	memcpy(fragments, session->fragments, sizeof(fragments));
	if (!session_end(program, row, now_ms, why))
		return;
	program->stats.ended[why]++;
	/* Its fragment is still registered: whoever comes by it is welcome. Without room it is no more. */
	if (why == RTC_END_CONSENT && registered)
		(void)session_make(program, session->service, session->backend, session->agent_port, fragments, now_ms);
}

static void row_sweep(struct rtc_program *program, uint32_t row, uint32_t now_ms)
{
	struct rtc_session *session = session_of(program, row);

	switch (session_state(session)) {
	case RTC_SESSION_FREE:
		break;
	case RTC_SESSION_WAITING:
	case RTC_SESSION_LIVE:
		session_sweep(program, row, now_ms);
		break;
	case RTC_SESSION_ENDED:
		if (program->ended_pass[row] == 0) {
			program->ended_pass[row] = program->pass;
			program->ending++;
		} else if (program->pass - program->ended_pass[row] >= PASSES_TO_FREE) {
			memset(session, 0, sizeof(*session));
			program->options.tables->buckets.up[row] = 0;
			program->options.tables->buckets.down[row] = 0;
			program->ended_pass[row] = 0;
			program->ending--;
			row_give(program, row);
		}
		break;
	}
}

static void agents_begin(struct rtc_program *program)
{
	for (uint32_t row = 1; row < LB_BACKEND_ROWS; row++) {
		const struct lb_backend *backend = &program->options.lb->backends[row];
		struct agent_book *agent = &program->agents[row];

		agent->counting = 0;
		agent->in_pass = backend->state != LB_BACKEND_FREE && backend->flags & LB_BACKEND_MEDIA;
		agent->leaving = agent->in_pass && backend->state != LB_BACKEND_UP;
	}
}

static void agents_end(struct rtc_program *program)
{
	for (uint32_t row = 1; row < LB_BACKEND_ROWS; row++) {
		const struct agent_book *agent = &program->agents[row];

		program->agents[row].calls = (struct rtc_agent_calls){
			.live = agent->in_pass ? agent->counting : 0,
			.known = agent->in_pass,
			.drained = agent->leaving && agent->counting == 0,
		};
	}
}

struct rtc_agent_calls rtc_program_agent_calls(const struct rtc_program *program, uint16_t backend_row)
{
	const struct lb_backend *backend = &program->options.lb->backends[backend_row & (LB_BACKEND_ROWS - 1)];
	struct rtc_agent_calls calls = program->agents[backend_row & (LB_BACKEND_ROWS - 1)].calls;

	calls.drained = calls.drained && backend->state != LB_BACKEND_UP;
	return calls;
}

void rtc_program_sweep(struct rtc_program *program, uint32_t now_ms, struct rtc_sweep_stats *ret_stats)
{
	uint32_t part = RTC_SESSION_ROWS / RTC_SWEEP_STEPS, first = program->step * part;
	struct rtc_sweep_stats before;

	/* What a worker found before the words went, it is done with when the next pass begins. */
	if (program->step == 0 && program->ending)
		quiesce_need(program->options.quiesce, quiesce_retire(program->options.quiesce));
	if (program->step == 0)
		agents_begin(program);
	before = program->stats;
	for (uint32_t row = first ? first : 1; row < first + part; row++)
		row_sweep(program, row, now_ms);
	index_sweep(program, program->step);
	program->stats.ended[RTC_END_COMMAND] += program->commanded;
	program->commanded = 0;
	program->step = (program->step + 1) % RTC_SWEEP_STEPS;
	*ret_stats = (struct rtc_sweep_stats){.live = program->stats.live - before.live,
					      .waiting = program->stats.waiting - before.waiting};
	for (int why = 0; why < RTC_ENDS; why++)
		ret_stats->ended[why] = program->stats.ended[why] - before.ended[why];
	if (program->step == 0) {
		agents_end(program);
		ret_stats->complete = true;
		ret_stats->live = program->stats.live;
		ret_stats->waiting = program->stats.waiting;
		program->stats = (struct rtc_sweep_stats){0};
		program->pass++;
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/media_ice.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#define PACE_US 5000u
#define RETRY_US 100000u
#define RETRY_LONGEST_US 1600000u
#define ATTEMPTS_MAX 12 /* 11 s with the intervals above */
#define CONSENT_INTERVAL_US 5000000u
#define PRIORITY_PEER_REFLEXIVE ((110u << 24) | (65535u << 8) | 255u) /* RFC 8445 section 5.1.2 */

void media_ice_init(struct media_ice *ice, const struct media_ice_config *config)
{
	memset(ice, 0, sizeof(*ice));
	ice->config = *config;
	/* Only for want of randomness; then nothing is safe. */
	if (RAND_bytes((unsigned char *)&ice->tie_breaker, sizeof(ice->tie_breaker)) != 1)
		abort();
}

/* --- pairs -------------------------------------------------------------------------------------------------------------- */

static struct media_ice_pair *pair_find(struct media_ice *ice, const struct media_endpoint *remote)
{
	for (size_t i = 0; i < ice->pair_count; i++)
		if (media_endpoint_equal(&ice->pairs[i].remote, remote))
			return &ice->pairs[i];
	return NULL;
}

static bool pair_is_path(const struct media_ice *ice, const struct media_ice_pair *pair)
{
	return ice->has_path && media_endpoint_equal(&pair->remote, &ice->path);
}

/* A peer that moves often fills the list: the oldest that does not carry media makes room. */
static struct media_ice_pair *pair_make_room(struct media_ice *ice)
{
	size_t victim = 0;

	if (ice->pair_count < MEDIA_ICE_PAIRS)
		return &ice->pairs[ice->pair_count++];
	if (pair_is_path(ice, &ice->pairs[0]))
		victim = 1;
	memmove(&ice->pairs[victim], &ice->pairs[victim + 1], (MEDIA_ICE_PAIRS - 1 - victim) * sizeof(ice->pairs[0]));
	return &ice->pairs[MEDIA_ICE_PAIRS - 1];
}

static void pair_reset(struct media_ice_pair *pair)
{
	struct media_endpoint remote = pair->remote;
	uint32_t priority = pair->priority;

	*pair = (struct media_ice_pair){.remote = remote, .priority = priority};
}

void media_ice_set_local(struct media_ice *ice, const char *ufrag, const char *password)
{
	if (ice->local.ufrag[0]) {
		ice->previous = ice->local;
		ice->remote = (struct media_ice_credentials){0};
		ice->selected = false;
		ice->started_us = 0;
		for (size_t i = 0; i < ice->pair_count; i++)
			pair_reset(&ice->pairs[i]);
	}
	snprintf(ice->local.ufrag, sizeof(ice->local.ufrag), "%s", ufrag);
	snprintf(ice->local.password, sizeof(ice->local.password), "%s", password);
}

void media_ice_set_remote(struct media_ice *ice, const char *ufrag, const char *password)
{
	snprintf(ice->remote.ufrag, sizeof(ice->remote.ufrag), "%s", ufrag);
	snprintf(ice->remote.password, sizeof(ice->remote.password), "%s", password);
	if (ice->state == MEDIA_ICE_NEW)
		ice->state = MEDIA_ICE_CHECKING;
}

void media_ice_add_candidate(struct media_ice *ice, const struct media_endpoint *remote, uint32_t priority)
{
	if (ice->config.lite || ice->pair_count == MEDIA_ICE_PAIRS || pair_find(ice, remote))
		return;
	ice->pairs[ice->pair_count++] = (struct media_ice_pair){.remote = *remote, .priority = priority};
}

const struct media_endpoint *media_ice_path(const struct media_ice *ice)
{
	if (ice->has_path)
		return &ice->path;
	for (size_t i = 0; i < ice->pair_count; i++)
		if (ice->pairs[i].state == MEDIA_ICE_PAIR_VALID)
			return &ice->pairs[i].remote;
	return NULL;
}

bool media_ice_knows(const struct media_ice *ice, const struct media_endpoint *remote)
{
	if (ice->has_path && media_endpoint_equal(&ice->path, remote))
		return true;
	for (size_t i = 0; i < ice->pair_count; i++)
		if (media_endpoint_equal(&ice->pairs[i].remote, remote))
			return ice->pairs[i].heard || ice->pairs[i].state == MEDIA_ICE_PAIR_VALID;
	return false;
}

static void pair_select(struct media_ice *ice, const struct media_ice_pair *pair, uint64_t now_us)
{
	if (!ice->selected) {
		ice->consent_us = now_us;
		ice->consent_next_us = now_us + CONSENT_INTERVAL_US;
	}
	ice->selected = true;
	ice->has_path = true;
	ice->path = pair->remote;
	ice->state = MEDIA_ICE_CONNECTED;
}

/* --- asking ------------------------------------------------------------------------------------------------------------- */

static void check_send(struct media_ice *ice, struct media_ice_pair *pair, uint64_t now_us, bool nominating)
{
	struct media_ice_transaction *transaction = &pair->transactions[pair->transaction_next++ % MEDIA_ICE_TRANSACTIONS];
	char username[2 * SDP_UFRAG_SIZE];
	struct media_stun request = {
		.type = MEDIA_STUN_REQUEST,
		.username = username,
		.priority = PRIORITY_PEER_REFLEXIVE,
		.role = ice->config.controlling ? MEDIA_STUN_CONTROLLING : MEDIA_STUN_CONTROLLED,
		.tie_breaker = ice->tie_breaker,
		.use_candidate = nominating,
	};
	uint8_t bytes[MEDIA_STUN_SIZE];
	size_t length;

	request.username_length =
		(uint16_t)snprintf(username, sizeof(username), "%s:%s", ice->remote.ufrag, ice->local.ufrag);
	if (RAND_bytes(transaction->id, sizeof(transaction->id)) != 1)
		abort();
	transaction->sent_us = now_us;
	transaction->nominating = nominating;
	memcpy(request.transaction, transaction->id, sizeof(request.transaction));
	length = media_stun_write(&request, ice->remote.password, bytes, sizeof(bytes));
	ice->config.send(ice->config.context, &pair->remote, bytes, length);
}

/* The pair whose check is due first, or NULL. */
static struct media_ice_pair *pair_next(struct media_ice *ice)
{
	struct media_ice_pair *first = NULL;

	if (ice->config.lite || ice->selected || !ice->remote.ufrag[0])
		return NULL;
	for (size_t i = 0; i < ice->pair_count; i++) {
		struct media_ice_pair *pair = &ice->pairs[i];
		/* A valid pair is asked again only to nominate it. */
		bool asks = pair->state == MEDIA_ICE_PAIR_WAITING ||
			    (pair->state == MEDIA_ICE_PAIR_VALID && ice->config.controlling && pair->wanted);

		if (asks && (!first || pair->next_us < first->next_us ||
			     (pair->next_us == first->next_us && pair->priority > first->priority)))
			first = pair;
	}
	return first;
}

/* One pair is nominated at a time; when it dies, another that works. */
static void pair_nominate(struct media_ice *ice, uint64_t now_us)
{
	struct media_ice_pair *best = NULL;

	for (size_t i = 0; i < ice->pair_count; i++) {
		struct media_ice_pair *pair = &ice->pairs[i];

		if (pair->state != MEDIA_ICE_PAIR_VALID)
			continue;
		if (pair->wanted)
			return;
		if (!best || pair->priority > best->priority)
			best = pair;
	}
	if (!best)
		return;
	best->wanted = true;
	best->attempts = 0;
	best->next_us = now_us;
}

static void pair_check(struct media_ice *ice, struct media_ice_pair *pair, uint64_t now_us)
{
	uint32_t wait_us = RETRY_US << (pair->attempts < 4 ? pair->attempts : 4);

	if (pair->attempts++ >= ATTEMPTS_MAX) {
		pair->state = MEDIA_ICE_PAIR_DEAD;
		pair->wanted = false;
		if (ice->config.controlling)
			pair_nominate(ice, now_us);
		return;
	}
	check_send(ice, pair, now_us, ice->config.controlling && pair->wanted);
	pair->next_us = now_us + (wait_us < RETRY_LONGEST_US ? wait_us : RETRY_LONGEST_US);
	ice->paced_us = now_us + PACE_US;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void checks_advance(struct media_ice *ice, uint64_t now_us)
{
	struct media_ice_pair *pair;

	if (!ice->started_us && ice->remote.ufrag[0])
		ice->started_us = now_us;
	while ((pair = pair_next(ice)) && later(pair->next_us, ice->paced_us) <= now_us)
		pair_check(ice, pair, now_us);
	/* Candidates may still be trickled in, and the peer may find us: nothing is over before the time is. */
	if (!ice->selected && ice->started_us && now_us - ice->started_us >= MEDIA_ICE_CONSENT_US)
		ice->state = MEDIA_ICE_FAILED;
}

/* RFC 7675 section 5.1: every 5 s, at random between 4 and 6. */
static void consent_advance(struct media_ice *ice, uint64_t now_us)
{
	struct media_ice_pair *pair;
	uint32_t random;

	if (!ice->selected)
		return;
	if (now_us - ice->consent_us >= MEDIA_ICE_CONSENT_US) {
		ice->state = MEDIA_ICE_FAILED;
		return;
	}
	if (ice->config.lite || now_us < ice->consent_next_us)
		return;
	if (RAND_bytes((unsigned char *)&random, sizeof(random)) != 1)
		abort();
	ice->consent_next_us = now_us + CONSENT_INTERVAL_US * 4ull / 5 + random % (CONSENT_INTERVAL_US * 2 / 5);
	pair = pair_find(ice, &ice->path);
	if (pair)
		check_send(ice, pair, now_us, ice->config.controlling);
}

uint64_t media_ice_advance(struct media_ice *ice, uint64_t now_us)
{
	struct media_ice_pair *pair;
	uint64_t next_us = UINT64_MAX;

	if (ice->state == MEDIA_ICE_NEW || ice->state == MEDIA_ICE_FAILED)
		return UINT64_MAX;
	checks_advance(ice, now_us);
	consent_advance(ice, now_us);
	if (ice->state == MEDIA_ICE_FAILED)
		return UINT64_MAX;
	if (ice->selected) {
		next_us = ice->consent_us + MEDIA_ICE_CONSENT_US;
		return ice->config.lite || next_us < ice->consent_next_us ? next_us : ice->consent_next_us;
	}
	if (ice->started_us)
		next_us = ice->started_us + MEDIA_ICE_CONSENT_US;
	pair = pair_next(ice);
	if (pair && later(pair->next_us, ice->paced_us) < next_us)
		next_us = later(pair->next_us, ice->paced_us);
	return next_us;
}

/* --- being asked -------------------------------------------------------------------------------------------------------- */

/* USERNAME is ours:theirs (RFC 8445 section 7.2.2). */
static bool username_is(const struct media_stun *message, const char *ufrag)
{
	size_t length = strlen(ufrag);

	return length && message->username && message->username_length > length && message->username[length] == ':' &&
	       memcmp(message->username, ufrag, length) == 0;
}

static void answer_send(struct media_ice *ice, const struct media_stun *request, const struct media_endpoint *to,
			const char *password, uint16_t error_code)
{
	struct media_stun answer = {
		.type = error_code ? MEDIA_STUN_ERROR : MEDIA_STUN_SUCCESS,
		.error_code = error_code,
		.has_mapped = !error_code,
		.mapped = *to,
	};
	uint8_t bytes[MEDIA_STUN_SIZE];

	memcpy(answer.transaction, request->transaction, sizeof(answer.transaction));
	if (error_code == 420) {
		memcpy(answer.unknown, request->unknown, sizeof(answer.unknown));
		answer.unknown_count = request->unknown_count;
	}
	ice->config.send(ice->config.context, to, bytes, media_stun_write(&answer, password, bytes, sizeof(bytes)));
}

/* RFC 8445 section 7.3.1.1; true: the request is refused. */
static bool role_conflicts(struct media_ice *ice, const struct media_stun *request)
{
	enum media_stun_role ours = ice->config.controlling ? MEDIA_STUN_CONTROLLING : MEDIA_STUN_CONTROLLED;

	if (ice->config.lite || request->role != ours)
		return false;
	if (ice->config.controlling == (ice->tie_breaker >= request->tie_breaker))
		return true;
	ice->config.controlling = !ice->config.controlling;
	return false;
}

static void request_nominates(struct media_ice *ice, struct media_ice_pair *pair, uint64_t now_us)
{
	pair->wanted = true;
	if (ice->config.lite || pair->state == MEDIA_ICE_PAIR_VALID)
		pair_select(ice, pair, now_us);
}

static void request_learn(struct media_ice *ice, const struct media_stun *request, const struct media_endpoint *from,
			  uint64_t now_us)
{
	struct media_ice_pair *pair = pair_find(ice, from);

	if (!pair) {
		pair = pair_make_room(ice);
		*pair = (struct media_ice_pair){.remote = *from, .priority = request->priority};
	}
	pair->heard = true;
	if (ice->config.lite) {
		pair->state = MEDIA_ICE_PAIR_VALID;
		ice->consent_us = now_us;
	} else if (pair->state != MEDIA_ICE_PAIR_VALID) {
		/* RFC 8445 section 7.3.1.4: a triggered check, unless one is under way. */
		if (pair->state == MEDIA_ICE_PAIR_DEAD || pair->next_us > now_us + RETRY_US) {
			pair->state = MEDIA_ICE_PAIR_WAITING;
			pair->attempts = 0;
			pair->next_us = now_us;
		}
	}
	if (request->use_candidate && !ice->config.controlling)
		request_nominates(ice, pair, now_us);
}

static void request_take(struct media_ice *ice, const struct media_stun *request, const struct media_endpoint *from,
			 uint64_t now_us)
{
	bool current = username_is(request, ice->local.ufrag);
	const char *password = current ? ice->local.password : ice->previous.password;

	if ((!current && !username_is(request, ice->previous.ufrag)) || !media_stun_verify(request, password)) {
		ice->refused++;
		return;
	}
	if (request->unknown_count) {
		answer_send(ice, request, from, password, 420);
		return;
	}
	if (role_conflicts(ice, request)) {
		answer_send(ice, request, from, password, 487);
		return;
	}
	answer_send(ice, request, from, password, 0);
	if (current)
		request_learn(ice, request, from, now_us);
	else if (ice->config.lite && media_ice_knows(ice, from))
		ice->consent_us = now_us;
}

/* --- being answered ----------------------------------------------------------------------------------------------------- */

static struct media_ice_transaction *transaction_find(struct media_ice_pair *pair, const uint8_t *id)
{
	for (int i = 0; i < MEDIA_ICE_TRANSACTIONS; i++)
		if (pair->transactions[i].sent_us && memcmp(pair->transactions[i].id, id, MEDIA_STUN_TRANSACTION_SIZE) == 0)
			return &pair->transactions[i];
	return NULL;
}

static void pair_succeeded(struct media_ice *ice, struct media_ice_pair *pair, bool nominated, uint64_t now_us)
{
	pair->state = MEDIA_ICE_PAIR_VALID;
	if (pair_is_path(ice, pair))
		ice->consent_us = now_us;
	if (ice->selected)
		return;
	if (!ice->config.controlling) {
		if (pair->wanted)
			pair_select(ice, pair, now_us);
	} else if (nominated) {
		pair_select(ice, pair, now_us);
	} else {
		pair_nominate(ice, now_us);
	}
}

static void answer_take(struct media_ice *ice, const struct media_stun *answer, const struct media_endpoint *from,
			uint64_t now_us)
{
	/* RFC 8445 section 7.2.5.2.1: an answer comes from where the request went. */
	struct media_ice_pair *pair = pair_find(ice, from);
	struct media_ice_transaction *transaction = pair ? transaction_find(pair, answer->transaction) : NULL;
	struct media_ice_transaction taken;

	if (!transaction || !media_stun_verify(answer, ice->remote.password)) {
		ice->refused++;
		return;
	}
	taken = *transaction;
	transaction->sent_us = 0;
	if (answer->type == MEDIA_STUN_ERROR) {
		/* RFC 8445 section 7.2.5.1: the other role, and again. */
		if (answer->error_code == 487 && !ice->config.lite) {
			ice->config.controlling = !ice->config.controlling;
			pair->next_us = now_us;
		}
		return;
	}
	ice->round_trip_us = now_us > taken.sent_us ? (uint32_t)(now_us - taken.sent_us) : 1;
	ice->round_trips++;
	ice->round_trips_sum_us += ice->round_trip_us;
	pair_succeeded(ice, pair, taken.nominating, now_us);
}

void media_ice_receive(struct media_ice *ice, uint64_t now_us, const struct media_endpoint *from, const uint8_t *bytes,
		       size_t length)
{
	struct media_stun message;

	if (media_stun_parse(bytes, length, &message) < 0)
		return;
	switch (message.type) {
	case MEDIA_STUN_REQUEST:
		request_take(ice, &message, from, now_us);
		break;
	case MEDIA_STUN_SUCCESS:
	case MEDIA_STUN_ERROR:
		answer_take(ice, &message, from, now_us);
		break;
	default:
		break;
	}
}

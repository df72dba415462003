/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/upstream.h"

#include <arpa/inet.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <string.h>

#include "base/lib/bytes.h"
#include "base/lib/log.h"
#include "base/lib/memory.h"
#include "dns/message.h"
#include "dns/upstream_internal.h"

#define DEADLINE_US 4000000u	 /* of a query; clients give up after 5 s */
#define ATTEMPTS_MAX 8u
#define PENDING_MAX 4096u	 /* further queries are refused at once */
#define HEDGE_BURST 20u		 /* hedges that may have been saved up */
#define PROBE_DOWN_US 1000000u	 /* how often a server that is down gets a copy of a query */
#define PROBE_UP_US 10000000u	 /* and one that is not the best, so that its latency is known */
#define FAILED_KEPT_US 1000000u	 /* the same query is not tried again for so long (RFC 9520 section 3.2) */

/* --- queries ---------------------------------------------------------------------------------------------------------------- */

static void pending_free(struct pending *pending)
{
	struct attempt *attempt;

	while ((attempt = TAILQ_FIRST(&pending->attempts)))
		attempt_free(attempt);
	LIST_REMOVE(pending, of_bucket);
	if (pending->failed)
		TAILQ_REMOVE(&pending->upstreams->failed_list, pending, of_failed);
	pending->upstreams->pending_count--;
	event_free(pending->timer);
	free(pending->bytes);
	free(pending->failure);
	free(pending->requesters);
	free(pending);
}

static void requester_send(struct upstreams *upstreams, const struct requester *requester, const struct pending *pending,
			   const uint8_t *answer, size_t length)
{
	static uint8_t copy[DNS_MESSAGE_MAX];
	size_t question = 0;

	memcpy(copy, answer, length);
	bytes_put16(copy, requester->id);
	/* the asker's own case */
	if (bytes_get16(answer + 4) == 1 && dns_question_matches(pending->bytes, pending->length, answer, length)) {
		while (pending->bytes[DNS_HEADER_SIZE + question])
			question += 1u + pending->bytes[DNS_HEADER_SIZE + question];
		memcpy(copy + DNS_HEADER_SIZE, pending->bytes + DNS_HEADER_SIZE, question);
	}
	if (sendto(upstreams->fd, copy, length, MSG_NOSIGNAL, (const struct sockaddr *)&requester->address,
		   sizeof(requester->address)) < 0)
		log_debug("an answer of %zu bytes could not be handed on: %s", length, strerror(errno));
}

void pending_answer(struct pending *pending, const uint8_t *answer, size_t length, bool failed)
{
	struct upstreams *upstreams = pending->upstreams;
	struct attempt *attempt;
	struct timeval kept = {.tv_usec = FAILED_KEPT_US % 1000000, .tv_sec = FAILED_KEPT_US / 1000000};

	for (size_t i = 0; i < pending->requester_count; i++)
		requester_send(upstreams, &pending->requesters[i], pending, answer, length);
	pending->requester_count = 0;
	upstreams->failures += failed;
	/* servers that were overtaken are slower than what passed since; without this a silent one would stay the best */
	TAILQ_FOREACH(attempt, &pending->attempts, of_pending) {
		uint64_t passed_us = clock_us() - attempt->started_us;

		if (!attempt->given_up && passed_us > attempt->server->latency_us)
			attempt->server->latency_us = (3 * attempt->server->latency_us + passed_us) / 4;
	}
	if (!failed) {
		pending_free(pending);
		return;
	}
	while ((attempt = TAILQ_FIRST(&pending->attempts)))
		attempt_free(attempt);
	if (!pending->failure) {
		pending->failure = memory_or_end(malloc(length));
		memcpy(pending->failure, answer, length);
		pending->failure_length = length;
	}
	pending->failed = true;
	TAILQ_INSERT_TAIL(&upstreams->failed_list, pending, of_failed);
	evtimer_add(pending->timer, &kept);
}

/* Nobody said anything of use. */
static void pending_fail(struct pending *pending)
{
	uint8_t answer[DNS_HEADER_SIZE + DNS_NAME_MAX + 4];
	size_t end = DNS_HEADER_SIZE;

	if (pending->failure) {
		pending_answer(pending, pending->failure, pending->failure_length, true);
		return;
	}
	while (pending->bytes[end])
		end += 1u + pending->bytes[end];
	end += 5;
	memcpy(answer, pending->bytes, end);
	bytes_put16(answer + 2, (uint16_t)(DNS_FLAG_QR | DNS_FLAG_RA | (bytes_get16(answer + 2) & DNS_FLAG_RD) | DNS_SERVFAIL));
	memset(answer + 6, 0, 6);
	pending_answer(pending, answer, end, true);
}

static void timer_set(struct pending *pending, uint64_t wait_us)
{
	struct timeval wait = {.tv_sec = (time_t)(wait_us / 1000000), .tv_usec = (suseconds_t)(wait_us % 1000000)};

	evtimer_add(pending->timer, &wait);
}

static bool hedge_affordable(const struct upstreams *upstreams)
{
	return upstreams->server_count > 1 && upstreams->hedge_tokens >= 1;
}

/* Sets the timer for what comes next after an attempt at `server`: a hedge, or giving it up. */
static void pending_wait(struct pending *pending, const struct server *server)
{
	uint64_t patience = server_patience(server), hedge = server_hedge_delay(server);

	pending->hedge_next = hedge < patience && pending->attempt_count < pending->upstreams->server_count &&
			      hedge_affordable(pending->upstreams);
	timer_set(pending, pending->hedge_next ? hedge : patience);
}

/* Asks the next server; `hedge`: although the last one may still answer. */
static void pending_ask(struct pending *pending, bool hedge)
{
	struct upstreams *upstreams = pending->upstreams;

	while (pending->attempt_count < ATTEMPTS_MAX) {
		struct server *server = server_choose(upstreams, &pending->asked);

		pending->asked_last = server;
		if (attempt_start(pending, server, hedge)) {
			if (!pending->failed)
				pending_wait(pending, server);
			return;
		}
	}
	if (TAILQ_EMPTY(&pending->attempts))
		pending_fail(pending);
}

void pending_step(struct pending *pending)
{
	if (pending->failed)
		return;
	if (pending->attempt_count >= ATTEMPTS_MAX || clock_us() - pending->started_us >= DEADLINE_US) {
		if (TAILQ_EMPTY(&pending->attempts) || clock_us() - pending->started_us >= DEADLINE_US)
			pending_fail(pending);
		return;
	}
	pending_ask(pending, false);
}

/* A connection on which nothing comes although it should is as good as none. */
static void streams_check(struct pending *pending)
{
	struct attempt *attempt;

	TAILQ_FOREACH(attempt, &pending->attempts, of_pending) {
		struct stream *stream = &attempt->server->stream;

		if (attempt->given_up && attempt->fd < 0 && stream->open && stream->heard_us < attempt->started_us) {
			stream_close(stream, "nothing comes over the connection");
			return; /* the list may have changed */
		}
	}
}

static void pending_timer(evutil_socket_t fd, short what, void *context)
{
	struct pending *pending = context;
	struct attempt *attempt;
	uint64_t now = clock_us();

	if (pending->failed) {
		pending_free(pending);
		return;
	}
	if (pending->hedge_next && hedge_affordable(pending->upstreams)) {
		pending->upstreams->hedge_tokens -= 1;
		pending_ask(pending, true);
		return;
	}
	pending->hedge_next = false;
	TAILQ_FOREACH(attempt, &pending->attempts, of_pending) {
		if (now - attempt->started_us + 1000 >= attempt->patience_us)
			attempt_silent(attempt, "no answer in time");
	}
	if (now - pending->started_us >= DEADLINE_US || pending->attempt_count >= ATTEMPTS_MAX) {
		if (now - pending->started_us >= DEADLINE_US)
			pending_fail(pending);
		else
			timer_set(pending, DEADLINE_US - (now - pending->started_us));
		return;
	}
	pending_ask(pending, false);
	streams_check(pending);
}

/* Copies of queries keep what is known of the others current: whether they are back, how quick they are. */
static void servers_probe(struct pending *pending)
{
	struct upstreams *upstreams = pending->upstreams;
	uint64_t now = clock_us();

	for (size_t i = 0; i < upstreams->server_count; i++) {
		struct server *server = &upstreams->servers[i];

		if (pending->asked & 1ull << i || now - server->probed_us < (server->down ? PROBE_DOWN_US : PROBE_UP_US))
			continue;
		server->probed_us = now;
		pending->asked |= 1ull << i;
		(void)attempt_start(pending, server, false);
		return;
	}
}

static void pending_begin(struct upstreams *upstreams, const uint8_t *bytes, size_t length, uint64_t hash,
			  const struct requester *requester)
{
	struct pending *pending = memory_or_end(calloc(1, sizeof(*pending)));
	double earned = upstreams->options.hedge_percent / 100.0;
	struct dns_record record;
	struct dns_walk walk;

	pending->upstreams = upstreams;
	pending->hash = hash;
	pending->bytes = memory_or_end(malloc(length));
	memcpy(pending->bytes, bytes, length);
	pending->length = length;
	pending->requesters = memory_array(NULL, 1, sizeof(*requester));
	pending->requesters[0] = *requester;
	pending->requester_count = 1;
	pending->started_us = clock_us();
	TAILQ_INIT(&pending->attempts);
	pending->timer = evtimer_new(upstreams->base, pending_timer, pending);
	if (dns_walk_start(&walk, bytes, length) == 0)
		while (dns_walk_next(&walk, &record) > 0)
			if (record.type == DNS_OPT)
				pending->size_offset = record.ttl_offset - 2;
	LIST_INSERT_HEAD(&upstreams->buckets[hash % BUCKETS], pending, of_bucket);
	upstreams->pending_count++;
	upstreams->queries++;
	upstreams->hedge_tokens += earned;
	if (upstreams->hedge_tokens > HEDGE_BURST)
		upstreams->hedge_tokens = HEDGE_BURST;
	/* the copy first: the query may be over before the call that asks returns */
	if (upstreams->server_count > 1) {
		uint64_t asked = 0;
		struct server *best = server_choose(upstreams, &asked);

		pending->asked = asked;
		servers_probe(pending);
		pending->attempt_count = 0;
		pending->asked &= ~(1ull << (best - upstreams->servers));
	}
	pending_ask(pending, false);
}

static uint64_t query_hash(const uint8_t *bytes, size_t length)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	for (size_t i = 2; i < length; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3ull;
	return hash ^ hash >> 31;
}

static struct pending *pending_find(struct upstreams *upstreams, const uint8_t *bytes, size_t length, uint64_t hash)
{
	struct pending *pending;

	LIST_FOREACH(pending, &upstreams->buckets[hash % BUCKETS], of_bucket) {
		if (pending->hash == hash && pending->length == length && memcmp(pending->bytes + 2, bytes + 2, length - 2) == 0)
			return pending;
	}
	return NULL;
}

static void query_take(struct upstreams *upstreams, const uint8_t *bytes, size_t length, const struct sockaddr_in *from)
{
	struct requester requester = {.address = *from, .id = bytes_get16(bytes)};
	uint64_t hash = query_hash(bytes, length);
	struct pending *pending = pending_find(upstreams, bytes, length, hash);

	if (!pending) {
		if (upstreams->pending_count < PENDING_MAX)
			pending_begin(upstreams, bytes, length, hash, &requester);
		return;
	}
	upstreams->joined++;
	if (pending->failed) {
		requester_send(upstreams, &requester, pending, pending->failure, pending->failure_length);
		return;
	}
	if (pending->requester_count >= 64)
		return;
	pending->requesters = memory_array(pending->requesters, pending->requester_count + 1, sizeof(requester));
	pending->requesters[pending->requester_count++] = requester;
}

static void queries_readable(evutil_socket_t fd, short what, void *context)
{
	struct upstreams *upstreams = context;
	static uint8_t bytes[DNS_MESSAGE_MAX];

	for (int i = 0; i < 64; i++) {
		struct sockaddr_in from;
		socklen_t from_length = sizeof(from);
		ssize_t length = recvfrom(fd, bytes, sizeof(bytes), MSG_DONTWAIT, (struct sockaddr *)&from, &from_length);
		struct dns_walk walk;

		if (length < 0)
			return;
		if (length > DNS_HEADER_SIZE && length < 4096 && dns_walk_start(&walk, bytes, (size_t)length) == 0)
			query_take(upstreams, bytes, (size_t)length, &from);
	}
}

/* --- life -------------------------------------------------------------------------------------------------------------------- */

static int tls_make(struct upstreams *upstreams, struct error *error)
{
	const char *authorities = upstreams->options.authorities;

	upstreams->tls = SSL_CTX_new(TLS_client_method());
	if (!upstreams->tls)
		return error_set(error, ENOMEM, "no memory for TLS");
	SSL_CTX_set_min_proto_version(upstreams->tls, TLS1_2_VERSION);
	SSL_CTX_set_session_cache_mode(upstreams->tls, SSL_SESS_CACHE_CLIENT);
	if (authorities ? SSL_CTX_load_verify_locations(upstreams->tls, authorities, NULL) != 1 :
			  SSL_CTX_set_default_verify_paths(upstreams->tls) != 1)
		return error_set(error, EINVAL, "reading the certificate authorities in %s failed",
				 authorities ? authorities : "the system's store");
	return 0;
}

static int loopback_open(struct upstreams *upstreams, struct error *error)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int size = 4 << 20;

	upstreams->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (upstreams->fd < 0 || bind(upstreams->fd, (struct sockaddr *)&address, length) < 0 ||
	    getsockname(upstreams->fd, (struct sockaddr *)&address, &length) < 0)
		return error_set(error, errno, "opening a port on 127.0.0.1: %s", strerror(errno));
	setsockopt(upstreams->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(upstreams->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	upstreams->port = ntohs(address.sin_port);
	upstreams->event = event_new(upstreams->base, upstreams->fd, EV_READ | EV_PERSIST, queries_readable, upstreams);
	event_add(upstreams->event, NULL);
	return 0;
}

int upstreams_new(struct event_base *base, const struct dns_forward *forward, const struct upstream_options *options,
		  struct upstreams **ret_upstreams, struct error *error)
{
	struct upstreams *upstreams = memory_or_end(calloc(1, sizeof(*upstreams)));
	bool tls = false;
	int status;

	upstreams->base = base;
	upstreams->forward = forward;
	upstreams->options = *options;
	upstreams->fd = -1;
	upstreams->hedge_tokens = HEDGE_BURST;
	TAILQ_INIT(&upstreams->failed_list);
	upstreams->server_count = forward->upstream_count < 64 ? forward->upstream_count : 64;
	upstreams->servers = memory_or_end(calloc(upstreams->server_count + 1, sizeof(*upstreams->servers)));
	for (size_t i = 0; i < upstreams->server_count; i++) {
		server_init(upstreams, &upstreams->servers[i], &forward->upstreams[i]);
		upstreams->servers[i].probed_us = clock_us();
		tls |= forward->upstreams[i].protocol == DNS_PROTOCOL_TLS;
	}
	status = tls ? tls_make(upstreams, error) : 0;
	if (status == 0)
		status = loopback_open(upstreams, error);
	if (status < 0) {
		upstreams_free(upstreams);
		return status;
	}
	*ret_upstreams = upstreams;
	return 0;
}

void upstreams_free(struct upstreams *upstreams)
{
	if (!upstreams)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (!LIST_EMPTY(&upstreams->buckets[i]))
			pending_free(LIST_FIRST(&upstreams->buckets[i]));
	for (size_t i = 0; i < upstreams->server_count; i++)
		if (upstreams->servers[i].stream.events)
			bufferevent_free(upstreams->servers[i].stream.events);
	if (upstreams->event)
		event_free(upstreams->event);
	if (upstreams->fd >= 0)
		close(upstreams->fd);
	SSL_CTX_free(upstreams->tls);
	free(upstreams->servers);
	free(upstreams);
}

uint16_t upstreams_port(const struct upstreams *upstreams)
{
	return upstreams->port;
}

json_t *upstreams_json(const struct upstreams *upstreams)
{
	json_t *servers = json_array();

	for (size_t i = 0; i < upstreams->server_count; i++)
		json_array_append_new(servers, server_json(&upstreams->servers[i]));
	return json_pack("{s:s, s:I, s:I, s:I, s:o}", "zone", upstreams->forward->zone, "queries", (json_int_t)upstreams->queries,
			 "joined", (json_int_t)upstreams->joined, "failed", (json_int_t)upstreams->failures, "servers", servers);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files behind upstream.h share: a query that waits for its answer (`pending`) makes attempts at servers, over UDP or a
 * server's stream.
 */
#pragma once

#include <openssl/ssl.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/lib/address_text.h"
#include "base/lib/clock.h"
#include "dns/upstream.h"

#define BUCKETS 4096u

struct pending;
struct server;

/* A connection, over which queries are pipelined (RFC 7766). */
struct stream {
	struct server *server;
	struct bufferevent *events; /* NULL: none */
	bool open, tls;
	uint64_t started_us, heard_us;
	uint32_t waiting;
};

/* One query to one server. */
struct attempt {
	TAILQ_ENTRY(attempt) of_pending, of_server;
	struct pending *pending;
	struct server *server;
	struct event *event; /* UDP */
	int fd;		     /* UDP; -1 over a stream */
	uint16_t id;
	bool hedge, sent, given_up;
	uint64_t started_us, patience_us;
};

TAILQ_HEAD(attempts, attempt);

struct server {
	struct upstreams *upstreams;
	const struct dns_upstream *config;
	char name[ENDPOINT_TEXT_SIZE + 8];
	struct sockaddr_storage socket;
	socklen_t socket_length;
	struct stream stream;
	struct attempts streaming; /* attempts over the stream */
	uint64_t latency_us, deviation_us; /* as RFC 6298 smooths them */
	bool measured, down;
	uint32_t silent; /* failures in a row */
	uint64_t probed_us, tcp_failed_us;
	uint64_t queries, answers, failures, timeouts, hedges, hedges_won, over_tcp, strange;
};

struct requester {
	struct sockaddr_in address;
	uint16_t id;
};

struct pending {
	LIST_ENTRY(pending) of_bucket;
	TAILQ_ENTRY(pending) of_failed;
	struct upstreams *upstreams;
	uint64_t hash;
	uint8_t *bytes; /* the query */
	size_t length;
	size_t size_offset; /* of the OPT record's size; 0: none */
	struct requester *requesters;
	size_t requester_count;
	struct attempts attempts;
	unsigned int attempt_count;
	struct event *timer;
	uint64_t started_us;
	struct server *asked_last;
	uint64_t asked; /* bit n: servers[n] was asked in this round */
	bool hedge_next; /* what the timer is for */
	uint8_t *failure; /* the best of bad answers */
	size_t failure_length;
	bool failed; /* over: kept to answer repetitions */
};

LIST_HEAD(bucket, pending);

struct upstreams {
	struct event_base *base;
	const struct dns_forward *forward;
	struct upstream_options options;
	SSL_CTX *tls;
	int fd;
	uint16_t port;
	struct event *event;
	struct server *servers;
	size_t server_count;
	struct bucket buckets[BUCKETS];
	size_t pending_count;
	TAILQ_HEAD(, pending) failed_list; /* oldest first */
	double hedge_tokens;
	uint64_t random;
	uint64_t queries, joined, failures;
};

/* --- what is known of servers: upstream_server.c --- */

void server_init(struct upstreams *upstreams, struct server *server, const struct dns_upstream *config);
void server_heard(struct server *server, uint64_t took_us);
void server_failed(struct server *server, const char *why);
/* How long an answer takes at most, usually. */
uint64_t server_patience(const struct server *server);
uint64_t server_hedge_delay(const struct server *server);
/* The best that was not asked in this round; all were: a new round. */
struct server *server_choose(struct upstreams *upstreams, uint64_t *asked);
json_t *server_json(const struct server *server);

/* --- one query to one server: upstream_attempt.c --- */

uint16_t random_id(void);
/* False: it could not even begin. */
bool attempt_start(struct pending *pending, struct server *server, bool hedge);
/* Whether this is the answer to what was asked, by its id and question (RFC 5452 section 9.1). */
bool answer_belongs(const struct attempt *attempt, const uint8_t *answer, size_t length);
/* An answer that belongs to the attempt. The attempt is gone afterwards. */
void attempt_answered(struct attempt *attempt, const uint8_t *answer, size_t length);
void attempt_silent(struct attempt *attempt, const char *why);
void attempt_free(struct attempt *attempt);

/* --- connections: upstream_stream.c --- */

/* What was under way is asked elsewhere; a connection that was open and idle may have been closed at its other end just now. */
void stream_close(struct stream *stream, const char *why);
void stream_send(struct attempt *attempt);

/* --- queries: upstream.c --- */

/* Tells all who asked; `failed`: of what is no use, and is kept for a moment. */
void pending_answer(struct pending *pending, const uint8_t *answer, size_t length, bool failed);
/* The present attempts led nowhere. */
void pending_step(struct pending *pending);

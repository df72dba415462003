/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/upstream.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#include "base/lib/address_text.h"
#include "base/lib/bytes.h"
#include "base/lib/log.h"
#include "base/lib/memory.h"
#include "dns/message.h"

#define DEADLINE_US 4000000u	 /* of a query; clients give up after 5 s */
#define ATTEMPTS_MAX 8u
#define PENDING_MAX 4096u	 /* further queries are refused at once */
#define BUCKETS 4096u
#define LATENCY_FIRST_US 50000u	 /* of a server not yet measured */
#define PATIENCE_MIN_US 300000u	 /* before an answer is given up, and another server asked whatever that costs */
#define PATIENCE_MAX_US 1500000u
#define HEDGE_MIN_US 10000u
#define HEDGE_MAX_US 400000u
#define HEDGE_BURST 20u		 /* hedges that may have been saved up */
#define DOWN_AFTER 3u		 /* silent or failing answers in a row */
#define PROBE_DOWN_US 1000000u	 /* how often a server that is down gets a copy of a query */
#define PROBE_UP_US 10000000u	 /* and one that is not the best, so that its latency is known */
#define TCP_AVOID_US 30000000u	 /* UDP is used so long after TCP could not connect */
#define STREAM_IDLE_S 10
#define STREAM_QUERIES_MAX 512u	 /* in flight on one connection */
#define FAILED_KEPT_US 1000000u	 /* the same query is not tried again for so long (RFC 9520 section 3.2) */

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

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint16_t random_id(void)
{
	uint16_t id;

	/* what a liar must guess: from the kernel, not from a generator of ours */
	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		abort();
	return id;
}

/* --- servers -------------------------------------------------------------------------------------------------------------- */

static void server_heard(struct server *server, uint64_t took_us)
{
	if (!server->measured) {
		server->measured = true;
		server->latency_us = took_us;
		server->deviation_us = took_us / 2;
	} else {
		uint64_t differs = took_us > server->latency_us ? took_us - server->latency_us : server->latency_us - took_us;

		server->deviation_us = (3 * server->deviation_us + differs) / 4;
		server->latency_us = (7 * server->latency_us + took_us) / 8;
	}
	if (server->down)
		log_info("the DNS server %s answers again", server->name);
	server->silent = 0;
	server->down = false;
}

static void server_failed(struct server *server, const char *why)
{
	if (++server->silent == DOWN_AFTER && !server->down) {
		server->down = true;
		log_warning("the DNS server %s is not used while it fails: %s", server->name, why);
	}
}

static uint64_t bounded(uint64_t value, uint64_t low, uint64_t high)
{
	return value < low ? low : value > high ? high : value;
}

/* How long an answer takes at most, usually. */
static uint64_t server_patience(const struct server *server)
{
	return bounded(server->measured ? 2 * (server->latency_us + 4 * server->deviation_us) : PATIENCE_MAX_US / 2, PATIENCE_MIN_US,
		       PATIENCE_MAX_US);
}

static uint64_t server_hedge_delay(const struct server *server)
{
	const struct upstreams *upstreams = server->upstreams;

	if (upstreams->options.hedge_delay_ms)
		return upstreams->options.hedge_delay_ms * 1000ull;
	return bounded(server->measured ? server->latency_us + 3 * server->deviation_us : 2 * LATENCY_FIRST_US, HEDGE_MIN_US,
		       HEDGE_MAX_US);
}

static uint64_t server_score(const struct server *server)
{
	uint64_t score = server->measured ? server->latency_us + server->deviation_us : LATENCY_FIRST_US;

	/* one that is silent of late goes behind those that are not; one that is down behind all */
	return score + server->silent * 200000ull + (server->down ? 1000000000ull : 0);
}

/* The best that was not asked in this round; all were: a new round. */
static struct server *server_choose(struct upstreams *upstreams, uint64_t *asked)
{
	struct server *best = NULL;

	for (int round = 0; round < 2 && !best; round++) {
		for (size_t i = 0; i < upstreams->server_count; i++) {
			struct server *server = &upstreams->servers[i];

			if (!(*asked & 1ull << i) && (!best || server_score(server) < server_score(best)))
				best = server;
		}
		if (!best)
			*asked = 0;
	}
	*asked |= 1ull << (best - upstreams->servers);
	return best;
}

/* --- attempts -------------------------------------------------------------------------------------------------------------- */

static void pending_answer(struct pending *pending, const uint8_t *answer, size_t length, bool failed);
static void pending_step(struct pending *pending);
static void stream_close(struct stream *stream, const char *why);
static void stream_send(struct attempt *attempt);

static void attempt_free(struct attempt *attempt)
{
	TAILQ_REMOVE(&attempt->pending->attempts, attempt, of_pending);
	if (attempt->fd < 0) {
		TAILQ_REMOVE(&attempt->server->streaming, attempt, of_server);
		attempt->server->stream.waiting -= attempt->sent;
	}
	if (attempt->event)
		event_free(attempt->event);
	if (attempt->fd >= 0)
		close(attempt->fd);
	free(attempt);
}

static bool rcode_is_answer(unsigned int rcode)
{
	return rcode == DNS_NOERROR || rcode == DNS_NXDOMAIN;
}

static void attempt_over_tcp(struct pending *pending, struct server *server);

/* An answer that belongs to the attempt. The attempt is gone afterwards. */
static void attempt_answered(struct attempt *attempt, const uint8_t *answer, size_t length)
{
	struct pending *pending = attempt->pending;
	struct server *server = attempt->server;
	unsigned int rcode = bytes_get16(answer + 2) & DNS_CODE_MASK;
	bool udp = attempt->fd >= 0;

	server->answers++;
	server_heard(server, now_us() - attempt->started_us);
	if (udp && bytes_get16(answer + 2) & DNS_FLAG_TC) {
		attempt_free(attempt);
		server->over_tcp++;
		attempt_over_tcp(pending, server);
		return;
	}
	if (rcode_is_answer(rcode)) {
		server->hedges_won += attempt->hedge;
		attempt_free(attempt);
		pending_answer(pending, answer, length, false);
		return;
	}
	/* somebody else may know better; what this one says is kept in case that nobody does */
	server->failures++;
	if (!pending->failure) {
		pending->failure = memory_or_end(malloc(length));
		memcpy(pending->failure, answer, length);
		pending->failure_length = length;
	}
	attempt_free(attempt);
	if (pending->attempt_count >= pending->upstreams->server_count && TAILQ_EMPTY(&pending->attempts))
		pending_answer(pending, pending->failure, pending->failure_length, true);
	else if (TAILQ_EMPTY(&pending->attempts) || pending->attempt_count < pending->upstreams->server_count)
		pending_step(pending);
}

/* Whether this is the answer to what was asked, by its id and question (RFC 5452 section 9.1). */
static bool answer_belongs(const struct attempt *attempt, const uint8_t *answer, size_t length)
{
	const struct pending *pending = attempt->pending;

	if (length < DNS_HEADER_SIZE || bytes_get16(answer) != attempt->id || !(answer[2] & 0x80))
		return false;
	/* servers that do not understand a query may leave the question away */
	if (bytes_get16(answer + 4) == 0)
		return length == DNS_HEADER_SIZE && !rcode_is_answer(answer[3] & DNS_CODE_MASK);
	return dns_question_matches(pending->bytes, pending->length, answer, length);
}

static void attempt_silent(struct attempt *attempt, const char *why)
{
	if (attempt->given_up)
		return;
	attempt->given_up = true;
	attempt->server->timeouts++;
	server_failed(attempt->server, why);
}

static void attempt_readable(evutil_socket_t fd, short what, void *context)
{
	struct attempt *attempt = context;
	static uint8_t bytes[DNS_MESSAGE_MAX];

	for (;;) {
		ssize_t length = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (length < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (length < 0) {
			/* nobody listens there, or no way leads there */
			struct pending *pending = attempt->pending;

			attempt_silent(attempt, strerror(errno));
			attempt_free(attempt);
			if (TAILQ_EMPTY(&pending->attempts))
				pending_step(pending);
			return;
		}
		if (answer_belongs(attempt, bytes, (size_t)length)) {
			attempt_answered(attempt, bytes, (size_t)length);
			return;
		}
		attempt->server->strange++;
	}
}

static struct attempt *attempt_new(struct pending *pending, struct server *server, bool hedge)
{
	struct attempt *attempt = memory_or_end(calloc(1, sizeof(*attempt)));

	attempt->pending = pending;
	attempt->server = server;
	attempt->fd = -1;
	attempt->id = random_id();
	attempt->hedge = hedge;
	attempt->started_us = now_us();
	attempt->patience_us = server_patience(server);
	TAILQ_INSERT_TAIL(&pending->attempts, attempt, of_pending);
	server->queries++;
	return attempt;
}

/* Each query from a port of its own: the kernel's choice, which is as random as the id. */
static bool attempt_udp(struct pending *pending, struct server *server, bool hedge)
{
	uint8_t copy[DNS_MESSAGE_MAX];
	int fd = socket(server->socket.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct attempt *attempt;

	if (fd < 0)
		return false;
	memcpy(copy, pending->bytes, pending->length);
	if (pending->size_offset)
		bytes_put16(copy + pending->size_offset, DNS_UDP_SAFE);
	attempt = attempt_new(pending, server, hedge);
	attempt->fd = fd;
	bytes_put16(copy, attempt->id);
	if (connect(fd, (struct sockaddr *)&server->socket, server->socket_length) < 0 ||
	    send(fd, copy, pending->length, MSG_NOSIGNAL) < 0) {
		attempt_silent(attempt, strerror(errno));
		attempt_free(attempt);
		return false;
	}
	attempt->event = event_new(pending->upstreams->base, fd, EV_READ | EV_PERSIST, attempt_readable, attempt);
	event_add(attempt->event, NULL);
	return true;
}

static bool attempt_stream(struct pending *pending, struct server *server, bool hedge)
{
	struct attempt *attempt = attempt_new(pending, server, hedge);

	TAILQ_INSERT_TAIL(&server->streaming, attempt, of_server);
	stream_send(attempt);
	return true;
}

static void attempt_over_tcp(struct pending *pending, struct server *server)
{
	attempt_stream(pending, server, false);
}

static bool attempt_start(struct pending *pending, struct server *server, bool hedge)
{
	bool tcp_fails = server->tcp_failed_us && now_us() - server->tcp_failed_us < TCP_AVOID_US;

	pending->attempt_count++;
	server->hedges += hedge;
	if (server->config->protocol == DNS_PROTOCOL_UDP || (server->config->protocol == DNS_PROTOCOL_TCP && tcp_fails))
		return attempt_udp(pending, server, hedge);
	return attempt_stream(pending, server, hedge);
}

/* --- streams ---------------------------------------------------------------------------------------------------------------- */

/* What was under way is asked elsewhere; a connection that was open and idle may have been closed at its other end just now. */
static void stream_close(struct stream *stream, const char *why)
{
	struct server *server = stream->server;
	bool was_open = stream->open;
	struct attempts lost;
	struct attempt *attempt;

	if (stream->events)
		bufferevent_free(stream->events);
	stream->events = NULL;
	stream->open = false;
	TAILQ_INIT(&lost);
	TAILQ_CONCAT(&lost, &server->streaming, of_server);
	if (!TAILQ_EMPTY(&lost) && !was_open) {
		server_failed(server, why);
		if (server->config->protocol == DNS_PROTOCOL_TCP)
			server->tcp_failed_us = now_us();
	}
	while ((attempt = TAILQ_FIRST(&lost))) {
		struct pending *pending = attempt->pending;

		/* back to the list it came from, so that it can leave it */
		TAILQ_REMOVE(&lost, attempt, of_server);
		TAILQ_INSERT_TAIL(&server->streaming, attempt, of_server);
		attempt_free(attempt);
		if (TAILQ_EMPTY(&pending->attempts)) {
			if (was_open)
				pending->asked &= ~(1ull << (server - server->upstreams->servers));
			pending_step(pending);
		}
	}
}

static struct attempt *stream_attempt(struct server *server, uint16_t id)
{
	struct attempt *attempt;

	TAILQ_FOREACH(attempt, &server->streaming, of_server) {
		if (attempt->sent && attempt->id == id)
			return attempt;
	}
	return NULL;
}

static void stream_read(struct bufferevent *events, void *context)
{
	struct stream *stream = context;
	struct server *server = stream->server;
	struct evbuffer *input = bufferevent_get_input(events);

	stream->heard_us = now_us();
	for (;;) {
		uint8_t head[2];
		struct attempt *attempt;
		size_t length;
		uint8_t *bytes;

		if (evbuffer_copyout(input, head, 2) != 2)
			return;
		length = bytes_get16(head);
		if (evbuffer_get_length(input) < 2 + length)
			return;
		bytes = memory_or_end(malloc(length + 1));
		evbuffer_drain(input, 2);
		evbuffer_remove(input, bytes, length);
		attempt = length >= DNS_HEADER_SIZE ? stream_attempt(server, bytes_get16(bytes)) : NULL;
		if (attempt && answer_belongs(attempt, bytes, length))
			attempt_answered(attempt, bytes, length);
		else
			server->strange++;
		free(bytes);
		if (stream->events != events)
			return;
	}
}

static void stream_event(struct bufferevent *events, short what, void *context)
{
	struct stream *stream = context;

	if (what & BEV_EVENT_CONNECTED) {
		struct timeval idle = {.tv_sec = STREAM_IDLE_S};

		stream->open = true;
		stream->heard_us = now_us();
		stream->server->tcp_failed_us = 0;
		bufferevent_set_timeouts(events, &idle, &idle);
		return;
	}
	if (what & BEV_EVENT_TIMEOUT)
		stream_close(stream, stream->open ? "the connection is idle" : "the connection could not be made in time");
	else
		stream_close(stream, stream->open ? "the connection was closed" : "the connection could not be made");
}

static struct bufferevent *stream_events_new(struct server *server, bool tls)
{
	struct upstreams *upstreams = server->upstreams;
	const struct dns_upstream *config = server->config;
	SSL *ssl;

	if (!tls)
		return bufferevent_socket_new(upstreams->base, -1, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	ssl = SSL_new(upstreams->tls);
	if (!ssl)
		return NULL;
	if (config->name) {
		SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
		SSL_set1_host(ssl, config->name);
		SSL_set_tlsext_host_name(ssl, config->name);
	}
	return bufferevent_openssl_socket_new(upstreams->base, -1, ssl, BUFFEREVENT_SSL_CONNECTING,
					      BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
}

static void stream_open(struct stream *stream)
{
	struct server *server = stream->server;
	struct timeval patience = {.tv_sec = 1, .tv_usec = 500000};
	int one = 1, fd;

	stream->tls = server->config->protocol == DNS_PROTOCOL_TLS;
	stream->events = stream_events_new(server, stream->tls);
	if (!stream->events)
		abort();
	stream->started_us = stream->heard_us = now_us();
	if (stream->tls)
		bufferevent_openssl_set_allow_dirty_shutdown(stream->events, 1);
	bufferevent_setcb(stream->events, stream_read, NULL, stream_event, stream);
	bufferevent_enable(stream->events, EV_READ | EV_WRITE);
	bufferevent_set_timeouts(stream->events, &patience, &patience);
	if (bufferevent_socket_connect(stream->events, (struct sockaddr *)&server->socket, (int)server->socket_length) < 0)
		return; /* the event follows */
	fd = bufferevent_getfd(stream->events);
	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void stream_send(struct attempt *attempt)
{
	struct server *server = attempt->server;
	struct pending *pending = attempt->pending;
	uint8_t head[4];

	if (!server->stream.events)
		stream_open(&server->stream);
	while (stream_attempt(server, attempt->id))
		attempt->id = random_id();
	bytes_put16(head, (uint16_t)pending->length);
	bytes_put16(head + 2, attempt->id);
	bufferevent_write(server->stream.events, head, 4);
	bufferevent_write(server->stream.events, pending->bytes + 2, pending->length - 2);
	attempt->sent = true;
	server->stream.waiting++;
}

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

static void pending_answer(struct pending *pending, const uint8_t *answer, size_t length, bool failed)
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
		uint64_t passed_us = now_us() - attempt->started_us;

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

/* The present attempts led nowhere. */
static void pending_step(struct pending *pending)
{
	if (pending->failed)
		return;
	if (pending->attempt_count >= ATTEMPTS_MAX || now_us() - pending->started_us >= DEADLINE_US) {
		if (TAILQ_EMPTY(&pending->attempts) || now_us() - pending->started_us >= DEADLINE_US)
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
	uint64_t now = now_us();

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
	uint64_t now = now_us();

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
	pending->started_us = now_us();
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

static void server_init(struct upstreams *upstreams, struct server *server, const struct dns_upstream *config)
{
	static const char *const schemes[] = {"udp", "tcp", "tls"};
	char endpoint[ENDPOINT_TEXT_SIZE];

	server->upstreams = upstreams;
	server->config = config;
	server->stream.server = server;
	TAILQ_INIT(&server->streaming);
	endpoint_format(&config->endpoint.address, config->endpoint.port, endpoint);
	snprintf(server->name, sizeof(server->name), "%s://%s", schemes[config->protocol], endpoint);
	if (address_is_ipv4(&config->endpoint.address)) {
		struct sockaddr_in *socket_address = (struct sockaddr_in *)&server->socket;

		socket_address->sin_family = AF_INET;
		socket_address->sin_addr.s_addr = address_ipv4(&config->endpoint.address);
		socket_address->sin_port = htons(config->endpoint.port);
		server->socket_length = sizeof(*socket_address);
	} else {
		struct sockaddr_in6 *socket_address = (struct sockaddr_in6 *)&server->socket;

		socket_address->sin6_family = AF_INET6;
		memcpy(&socket_address->sin6_addr, &config->endpoint.address, 16);
		socket_address->sin6_port = htons(config->endpoint.port);
		server->socket_length = sizeof(*socket_address);
	}
}

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
		upstreams->servers[i].probed_us = now_us();
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

static json_t *server_json(const struct server *server)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "server", server->name, "state",
			 server->down ? "down" : "up", "latencyUs", (json_int_t)(server->measured ? server->latency_us : 0),
			 "queries", (json_int_t)server->queries, "answers", (json_int_t)server->answers, "failures",
			 (json_int_t)server->failures, "timeouts", (json_int_t)server->timeouts, "hedges",
			 (json_int_t)server->hedges, "hedgesWon", (json_int_t)server->hedges_won, "overTcp",
			 (json_int_t)server->over_tcp, "strange", (json_int_t)server->strange);
}

json_t *upstreams_json(const struct upstreams *upstreams)
{
	json_t *servers = json_array();

	for (size_t i = 0; i < upstreams->server_count; i++)
		json_array_append_new(servers, server_json(&upstreams->servers[i]));
	return json_pack("{s:s, s:I, s:I, s:I, s:o}", "zone", upstreams->forward->zone, "queries", (json_int_t)upstreams->queries,
			 "joined", (json_int_t)upstreams->joined, "failed", (json_int_t)upstreams->failures, "servers", servers);
}

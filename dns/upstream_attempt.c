/* SPDX-License-Identifier: Apache-2.0 */
/* One query to one server: over UDP, from a port of its own, or over the server's stream. */
#include <event2/event.h>
#include <string.h>
#include <sys/random.h>

#include "base/lib/bytes.h"
#include "base/lib/memory.h"
#include "dns/message.h"
#include "dns/upstream_internal.h"

#define TCP_AVOID_US 30000000u	 /* UDP is used so long after TCP could not connect */

uint16_t random_id(void)
{
	uint16_t id;

	/* what a liar must guess: from the kernel, not from a generator of ours */
	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		abort();
	return id;
}

static struct attempt *attempt_new(struct pending *pending, struct server *server, bool hedge)
{
	struct attempt *attempt = memory_or_end(calloc(1, sizeof(*attempt)));

	attempt->pending = pending;
	attempt->server = server;
	attempt->fd = -1;
	attempt->id = random_id();
	attempt->hedge = hedge;
	attempt->started_us = clock_us();
	attempt->patience_us = server_patience(server);
	TAILQ_INSERT_TAIL(&pending->attempts, attempt, of_pending);
	server->queries++;
	return attempt;
}

void attempt_free(struct attempt *attempt)
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

static bool attempt_stream(struct pending *pending, struct server *server, bool hedge)
{
	struct attempt *attempt = attempt_new(pending, server, hedge);

	TAILQ_INSERT_TAIL(&server->streaming, attempt, of_server);
	stream_send(attempt);
	return true;
}

static bool rcode_is_answer(unsigned int rcode)
{
	return rcode == DNS_NOERROR || rcode == DNS_NXDOMAIN;
}

void attempt_answered(struct attempt *attempt, const uint8_t *answer, size_t length)
{
	struct pending *pending = attempt->pending;
	struct server *server = attempt->server;
	unsigned int rcode = bytes_get16(answer + 2) & DNS_CODE_MASK;
	bool udp = attempt->fd >= 0;

	server->answers++;
	server_heard(server, clock_us() - attempt->started_us);
	if (udp && bytes_get16(answer + 2) & DNS_FLAG_TC) {
		attempt_free(attempt);
		server->over_tcp++;
		attempt_stream(pending, server, false);
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

bool answer_belongs(const struct attempt *attempt, const uint8_t *answer, size_t length)
{
	const struct pending *pending = attempt->pending;

	if (length < DNS_HEADER_SIZE || bytes_get16(answer) != attempt->id || !(answer[2] & 0x80))
		return false;
	/* servers that do not understand a query may leave the question away */
	if (bytes_get16(answer + 4) == 0)
		return length == DNS_HEADER_SIZE && !rcode_is_answer(answer[3] & DNS_CODE_MASK);
	return dns_question_matches(pending->bytes, pending->length, answer, length);
}

void attempt_silent(struct attempt *attempt, const char *why)
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

bool attempt_start(struct pending *pending, struct server *server, bool hedge)
{
	bool tcp_fails = server->tcp_failed_us && clock_us() - server->tcp_failed_us < TCP_AVOID_US;

	pending->attempt_count++;
	server->hedges += hedge;
	if (server->config->protocol == DNS_PROTOCOL_UDP || (server->config->protocol == DNS_PROTOCOL_TCP && tcp_fails))
		return attempt_udp(pending, server, hedge);
	return attempt_stream(pending, server, hedge);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to servers, by TCP or TLS, over which queries are pipelined. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <netinet/tcp.h>

#include "base/lib/bytes.h"
#include "base/lib/memory.h"
#include "dns/message.h"
#include "dns/upstream_internal.h"

#define STREAM_IDLE_S 10

static struct attempt *stream_attempt(struct server *server, uint16_t id)
{
	struct attempt *attempt;

	TAILQ_FOREACH(attempt, &server->streaming, of_server) {
		if (attempt->sent && attempt->id == id)
			return attempt;
	}
	return NULL;
}

void stream_close(struct stream *stream, const char *why)
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
			server->tcp_failed_us = clock_us();
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

static void stream_read(struct bufferevent *events, void *context)
{
	struct stream *stream = context;
	struct server *server = stream->server;
	struct evbuffer *input = bufferevent_get_input(events);

	stream->heard_us = clock_us();
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
		stream->heard_us = clock_us();
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
	stream->started_us = stream->heard_us = clock_us();
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

void stream_send(struct attempt *attempt)
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

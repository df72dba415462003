/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/1.1 server on libevent's listeners and buffers, for a control socket that anybody on the machine may try to break:
 * bounded head, body, output and number of connections; a deadline for each part of a request; requests of one
 * connection one after the other; a client that closes its sending half still gets its answer.
 *
 * Why not evhttp: see docs/adr/0011-own-http-server.md.
 *
 * One thread, the event loop's.
 */
#pragma once

#include <stdarg.h>

#include "ctrl/api/http_message.h"

struct event_base;
struct evbuffer;
struct evconnlistener;
struct http_server;
struct http_exchange;

struct http_server_options {
	size_t head_length_max, body_length_max;
	/* Connections that access() gives 0 are counted apart, so that they cannot keep the others out. */
	size_t connections_max, connections_max_refused;
	uint32_t idle_ms;  /* between requests */
	uint32_t head_ms;  /* from the first byte to the end of the head */
	uint32_t body_ms;  /* from there to the end of the body */
	uint32_t write_ms; /* without the client taking a byte */
	/* What a new connection may do; the handler reads it as http_exchange_access(). NULL: 1. */
	unsigned int (*access)(void *context, int fd);
	/* Each exchange is to be answered once, now or later: http_reply…() or http_stream_begin() … http_stream_end(). */
	void (*handle)(void *context, struct http_exchange *exchange);
	/* The body of an answer that the server gives by itself. */
	void (*refuse)(void *context, int status, const char *sentence, struct evbuffer *body, const char **ret_content_type);
	void *context;
};

extern const struct http_server_options http_server_defaults;

/*
 * Takes the listening socket over. NULL: it could not be listened on. `options` is copied. SIGPIPE is ignored from now on, unless
 * the process handles it.
 */
struct http_server *http_server_new(struct event_base *base, int fd, const struct http_server_options *options);
/* Closes all connections. Exchanges that are not answered yet must still be, which then reaches nobody. NULL is allowed. */
void http_server_free(struct http_server *server);
size_t http_server_connections(const struct http_server *server);

/* Borrowed until the exchange is answered. */
const struct http_request *http_exchange_request(const struct http_exchange *exchange);

/* Puts `segment`, which lives as long as the program, in front of the request's path: for a path that has a shorter form. */
void http_exchange_path_extend(struct http_exchange *exchange, const char *segment);

unsigned int http_exchange_access(const struct http_exchange *exchange);

/*
 * Called once when the client is gone before the exchange was answered; the exchange is still to be answered (the callback may
 * do that), which frees it.
 */
void http_exchange_on_gone(struct http_exchange *exchange, void (*gone)(void *context), void *context);

/* A header of the answer to come; without line ends in it. */
void http_exchange_header(struct http_exchange *exchange, const char *name, const char *value);

/* Both end the exchange. */
void http_reply(struct http_exchange *exchange, int status, const char *content_type, const char *body, size_t length);
void http_reply_buffer(struct http_exchange *exchange, int status, const char *content_type, struct evbuffer *body);

/* An answer in pieces, sent at once; the connection ends with it. write returns how many bytes the client has not taken yet. */
void http_stream_begin(struct http_exchange *exchange, int status, const char *content_type);
size_t http_stream_write(struct http_exchange *exchange, const char *data, size_t length);
size_t http_stream_unsent(const struct http_exchange *exchange);
/* `broken`: the client is to see that the end is missing. Ends the exchange. */
void http_stream_end(struct http_exchange *exchange, bool broken);

/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/api/http_server.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <signal.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/lib/log.h"

#define LINGER_MS 2000
#define LINGER_BYTES_MAX (1u << 20)
#define ACCEPT_PAUSE_MS 500

const struct http_server_options http_server_defaults = {
	.head_length_max = 16384,
	.body_length_max = (size_t)16 << 20,
	.connections_max = 256,
	.connections_max_refused = 16,
	.idle_ms = 120000,
	.head_ms = 10000,
	.body_ms = 30000,
	.write_ms = 30000,
};

enum phase {
	PHASE_HEAD,
	PHASE_BODY,
	PHASE_ANSWER, /* the handler has it */
	PHASE_STREAM, /* the handler has it and has begun to answer in pieces; what still comes is thrown away */
	PHASE_FLUSH,  /* the last bytes are on their way */
	PHASE_LINGER, /* our half is closed; what still comes is thrown away, so that the client reads the answer first */
};

struct connection {
	LIST_ENTRY(connection) link;
	struct http_server *server;
	struct bufferevent *buffer;
	struct event *deadline;
	enum phase phase;
	unsigned int access;
	bool read_closed;
	bool close_after;
	size_t scanned;   /* bytes of the head that were searched for its end */
	size_t discarded; /* while lingering */
	struct http_request *request;   /* whose body is awaited */
	struct http_exchange *exchange; /* unanswered */
};

struct http_exchange {
	struct connection *connection; /* NULL: gone */
	struct http_request *request;
	unsigned int access;
	bool chunked;
	void (*gone)(void *context);
	void *gone_context;
	struct evbuffer *headers;
};

struct http_server {
	struct event_base *base;
	struct http_server_options options;
	struct evconnlistener *listener;
	struct event *accept_again;
	LIST_HEAD(, connection) connections;
	size_t count, count_refused;
};

static void connection_read(struct bufferevent *buffer, void *context);

/* --- connections ------------------------------------------------------------------------------------------------------- */

static void deadline_set(struct connection *connection, uint32_t ms)
{
	struct timeval time = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	if (ms)
		evtimer_add(connection->deadline, &time);
	else
		evtimer_del(connection->deadline);
}

static void connection_free(struct connection *connection)
{
	struct http_exchange *exchange = connection->exchange;

	LIST_REMOVE(connection, link);
	connection->server->count--;
	if (!connection->access)
		connection->server->count_refused--;
	http_request_free(connection->request);
	event_free(connection->deadline);
	bufferevent_free(connection->buffer);
	free(connection);
	if (!exchange)
		return;
	exchange->connection = NULL;
	if (exchange->gone)
		exchange->gone(exchange->gone_context);
}

static void phase_enter(struct connection *connection, enum phase phase)
{
	const struct http_server_options *options = &connection->server->options;

	connection->phase = phase;
	if (phase == PHASE_HEAD) {
		connection->scanned = 0;
		deadline_set(connection, options->idle_ms);
		bufferevent_setwatermark(connection->buffer, EV_READ, 0, options->head_length_max);
	} else if (phase == PHASE_BODY) {
		deadline_set(connection, options->body_ms);
		/* The buffer stops reading at the mark: nobody sends more than was announced. */
		bufferevent_setwatermark(connection->buffer, EV_READ, 0, connection->request->content_length);
	} else if (phase == PHASE_LINGER) {
		deadline_set(connection, LINGER_MS);
		bufferevent_setwatermark(connection->buffer, EV_READ, 0, options->head_length_max);
	} else if (phase == PHASE_STREAM) {
		/* Nothing may stop the reading: its end is how a client that went away is noticed. */
		deadline_set(connection, 0);
		evbuffer_drain(bufferevent_get_input(connection->buffer), SIZE_MAX);
		bufferevent_setwatermark(connection->buffer, EV_READ, 0, 0);
	} else {
		deadline_set(connection, 0);
	}
}

static void connection_linger(struct connection *connection)
{
	if (connection->read_closed || shutdown(bufferevent_getfd(connection->buffer), SHUT_WR) < 0) {
		connection_free(connection);
		return;
	}
	phase_enter(connection, PHASE_LINGER);
	evbuffer_drain(bufferevent_get_input(connection->buffer), SIZE_MAX);
	bufferevent_enable(connection->buffer, EV_READ);
}

/* What follows an answer that is wholly in the output buffer. */
static void connection_answered(struct connection *connection)
{
	connection->exchange = NULL;
	if (connection->close_after || connection->read_closed) {
		phase_enter(connection, PHASE_FLUSH);
		return;
	}
	phase_enter(connection, PHASE_HEAD);
	/* The next request may be here already; not from inside the handler of this one. */
	bufferevent_trigger(connection->buffer, EV_READ, BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

static void head_write(struct evbuffer *output, int status, const char *content_type, struct evbuffer *headers, bool closing)
{
	evbuffer_add_printf(output, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n", status, http_status_text(status), content_type);
	evbuffer_add_printf(output, "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n");
	if (closing)
		evbuffer_add_printf(output, "Connection: close\r\n");
	if (headers)
		evbuffer_add_buffer(output, headers);
}

/* An answer of the server's own, before there is an exchange; the connection ends with it. */
static void connection_refuse(struct connection *connection, int status, const char *sentence)
{
	const struct http_server_options *options = &connection->server->options;
	struct evbuffer *output = bufferevent_get_output(connection->buffer), *body = evbuffer_new();
	const char *content_type = "text/plain";

	if (!body)
		abort();
	if (options->refuse)
		options->refuse(options->context, status, sentence, body, &content_type);
	else
		evbuffer_add_printf(body, "%s\n", sentence);
	head_write(output, status, content_type, NULL, true);
	evbuffer_add_printf(output, "Content-Length: %zu\r\n\r\n", evbuffer_get_length(body));
	evbuffer_add_buffer(output, body);
	evbuffer_free(body);
	connection->close_after = true;
	connection_answered(connection);
}

static void connection_handle(struct connection *connection)
{
	struct http_server *server = connection->server;
	struct http_exchange *exchange = calloc(1, sizeof(*exchange));

	if (!exchange)
		abort();
	exchange->connection = connection;
	exchange->request = steal(connection->request);
	exchange->access = connection->access;
	connection->exchange = exchange;
	connection->close_after = !exchange->request->keep_alive || !connection->access;
	phase_enter(connection, PHASE_ANSWER);
	server->options.handle(server->options.context, exchange);
}

/* The head's length with its empty line, or 0. */
static size_t head_length(struct connection *connection, struct evbuffer *input)
{
	size_t have = evbuffer_get_length(input), from = connection->scanned > 3 ? connection->scanned - 3 : 0;
	struct evbuffer_ptr start;
	const struct {
		const char *text;
		size_t length;
	} ends[] = {{"\n\r\n", 3}, {"\n\n", 2}};
	size_t best = 0;

	for (size_t i = 0; i < array_length(ends); i++) {
		struct evbuffer_ptr found;

		if (from >= have || evbuffer_ptr_set(input, &start, from, EVBUFFER_PTR_SET) < 0)
			break;
		found = evbuffer_search(input, ends[i].text, ends[i].length, &start);
		if (found.pos >= 0 && (!best || (size_t)found.pos + ends[i].length < best))
			best = (size_t)found.pos + ends[i].length;
	}
	connection->scanned = have;
	return best;
}

static void connection_read_head(struct connection *connection, struct evbuffer *input)
{
	const struct http_server_options *options = &connection->server->options;
	struct error error = {0};
	size_t length;
	int status;

	/* RFC 9112 section 2.2: empty lines before a request are skipped. */
	while (connection->scanned == 0 && evbuffer_get_length(input) &&
	       strchr("\r\n", *(char *)evbuffer_pullup(input, 1)))
		evbuffer_drain(input, 1);
	if (!evbuffer_get_length(input))
		return;
	if (!connection->scanned)
		deadline_set(connection, options->head_ms);
	length = head_length(connection, input);
	if (!length && evbuffer_get_length(input) >= options->head_length_max) {
		connection_refuse(connection, 431, "the request's head is too long");
		return;
	}
	if (!length)
		return;
	status = http_request_parse((char *)evbuffer_pullup(input, (ssize_t)length), length, options->body_length_max,
				    &connection->request, &error);
	evbuffer_drain(input, length);
	if (status) {
		connection_refuse(connection, status, error.text);
		return;
	}
	/* Whoever is refused needs not send a body first. */
	if (!connection->request->content_length || !connection->access) {
		connection_handle(connection);
		return;
	}
	if (connection->request->expect_continue)
		evbuffer_add_printf(bufferevent_get_output(connection->buffer), "HTTP/1.1 100 Continue\r\n\r\n");
	phase_enter(connection, PHASE_BODY);
}

static void connection_read_body(struct connection *connection, struct evbuffer *input)
{
	struct http_request *request = connection->request;

	if (evbuffer_get_length(input) < request->content_length)
		return;
	request->body_memory = malloc(request->content_length + 1);
	if (!request->body_memory)
		abort();
	evbuffer_remove(input, request->body_memory, request->content_length);
	request->body_memory[request->content_length] = '\0';
	request->body = request->body_memory;
	connection_handle(connection);
}

static void connection_read(struct bufferevent *buffer, void *context)
{
	struct connection *connection = context;
	struct evbuffer *input = bufferevent_get_input(buffer);

	if (connection->phase == PHASE_HEAD)
		connection_read_head(connection, input);
	if (connection->phase == PHASE_BODY)
		connection_read_body(connection, input);
	if (connection->phase == PHASE_STREAM)
		evbuffer_drain(input, SIZE_MAX);
	if (connection->phase == PHASE_LINGER) {
		connection->discarded += evbuffer_get_length(input);
		evbuffer_drain(input, SIZE_MAX);
		if (connection->discarded > LINGER_BYTES_MAX)
			connection_free(connection);
	}
}

static void connection_written(struct bufferevent *buffer, void *context)
{
	struct connection *connection = context;

	(void)buffer;
	if (connection->phase == PHASE_FLUSH)
		connection_linger(connection);
}

static void connection_end_of_input(struct connection *connection)
{
	size_t waiting = evbuffer_get_length(bufferevent_get_input(connection->buffer));
	size_t unsent = evbuffer_get_length(bufferevent_get_output(connection->buffer));

	connection->read_closed = true;
	if (connection->phase == PHASE_BODY || (connection->phase == PHASE_HEAD && waiting))
		connection_refuse(connection, 400, "the request ends in the middle");
	else if (connection->phase == PHASE_HEAD && unsent)
		phase_enter(connection, PHASE_FLUSH);
	else if (connection->phase != PHASE_ANSWER && connection->phase != PHASE_FLUSH)
		connection_free(connection);
}

static void connection_event(struct bufferevent *buffer, short what, void *context)
{
	struct connection *connection = context;

	(void)buffer;
	if (what & BEV_EVENT_EOF && what & BEV_EVENT_READING)
		connection_end_of_input(connection);
	else
		connection_free(connection); /* an error, or the client takes nothing */
}

static void connection_late(evutil_socket_t fd, short what, void *context)
{
	struct connection *connection = context;

	(void)fd, (void)what;
	if (connection->phase == PHASE_BODY || (connection->phase == PHASE_HEAD && connection->scanned))
		connection_refuse(connection, 408, "the request took too long to come");
	else
		connection_free(connection);
}

/* --- the listener ------------------------------------------------------------------------------------------------------ */

static void server_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int length,
			  void *context)
{
	struct http_server *server = context;
	const struct http_server_options *options = &server->options;
	unsigned int access = options->access ? options->access(options->context, fd) : 1;
	struct timeval write_time = {.tv_sec = options->write_ms / 1000, .tv_usec = options->write_ms % 1000 * 1000};
	size_t allowed = server->count - server->count_refused;
	struct connection *connection;

	(void)listener, (void)address, (void)length;
	if (access ? allowed >= options->connections_max : server->count_refused >= options->connections_max_refused) {
		close(fd);
		return;
	}
	connection = calloc(1, sizeof(*connection));
	if (!connection)
		abort();
	connection->server = server;
	connection->access = access;
	connection->buffer = bufferevent_socket_new(server->base, fd, BEV_OPT_CLOSE_ON_FREE);
	connection->deadline = evtimer_new(server->base, connection_late, connection);
	if (!connection->buffer || !connection->deadline)
		abort();
	LIST_INSERT_HEAD(&server->connections, connection, link);
	server->count++;
	server->count_refused += !access;
	bufferevent_setcb(connection->buffer, connection_read, connection_written, connection_event, connection);
	bufferevent_set_timeouts(connection->buffer, NULL, &write_time);
	phase_enter(connection, PHASE_HEAD);
	bufferevent_enable(connection->buffer, EV_READ | EV_WRITE);
}

/* Out of descriptors, say: the listener would report it again at once, for ever. */
static void server_accept_failed(struct evconnlistener *listener, void *context)
{
	struct http_server *server = context;
	struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000};

	log_warning("accept a connection: %s", strerror(errno));
	evconnlistener_disable(listener);
	evtimer_add(server->accept_again, &pause);
}

static void server_accept_again(evutil_socket_t fd, short what, void *context)
{
	struct http_server *server = context;

	(void)fd, (void)what;
	evconnlistener_enable(server->listener);
}

/* libevent writes with writev(2), so a client that goes away would end the process. */
static void broken_pipes_ignore(void)
{
	struct sigaction action;

	if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
}

struct http_server *http_server_new(struct event_base *base, int fd, const struct http_server_options *options)
{
	struct http_server *server = calloc(1, sizeof(*server));

	if (!server)
		abort();
	broken_pipes_ignore();
	server->base = base;
	server->options = *options;
	LIST_INIT(&server->connections);
	server->accept_again = evtimer_new(base, server_accept_again, server);
	evutil_make_socket_nonblocking(fd);
	server->listener = evconnlistener_new(base, server_accept, server,
					      LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 128, fd);
	if (!server->listener || !server->accept_again) {
		http_server_free(server);
		return NULL;
	}
	evconnlistener_set_error_cb(server->listener, server_accept_failed);
	return server;
}

void http_server_free(struct http_server *server)
{
	if (!server)
		return;
	while (!LIST_EMPTY(&server->connections))
		connection_free(LIST_FIRST(&server->connections));
	if (server->listener)
		evconnlistener_free(server->listener);
	if (server->accept_again)
		event_free(server->accept_again);
	free(server);
}

size_t http_server_connections(const struct http_server *server)
{
	return server->count;
}

/* --- exchanges --------------------------------------------------------------------------------------------------------- */

const struct http_request *http_exchange_request(const struct http_exchange *exchange)
{
	return exchange->request;
}

void http_exchange_path_extend(struct http_exchange *exchange, const char *segment)
{
	struct http_request *request = exchange->request;

	if (request->segment_count == HTTP_SEGMENTS_MAX)
		return;
	memmove(request->segments + 1, request->segments, request->segment_count++ * sizeof(*request->segments));
	request->segments[0] = segment;
}

unsigned int http_exchange_access(const struct http_exchange *exchange)
{
	return exchange->access;
}

void http_exchange_on_gone(struct http_exchange *exchange, void (*gone)(void *context), void *context)
{
	exchange->gone = gone;
	exchange->gone_context = context;
}

void http_exchange_header(struct http_exchange *exchange, const char *name, const char *value)
{
	if (!exchange->headers)
		exchange->headers = evbuffer_new();
	if (!exchange->headers)
		abort();
	evbuffer_add_printf(exchange->headers, "%s: ", name);
	for (; *value; value++)
		evbuffer_add(exchange->headers, (unsigned char)*value < ' ' ? " " : value, 1);
	evbuffer_add_printf(exchange->headers, "\r\n");
}

static void exchange_free(struct http_exchange *exchange)
{
	if (exchange->headers)
		evbuffer_free(exchange->headers);
	http_request_free(exchange->request);
	free(exchange);
}

void http_reply_buffer(struct http_exchange *exchange, int status, const char *content_type, struct evbuffer *body)
{
	struct connection *connection = exchange->connection;

	if (connection) {
		struct evbuffer *output = bufferevent_get_output(connection->buffer);

		connection->close_after |= connection->read_closed;
		head_write(output, status, content_type, exchange->headers, connection->close_after);
		evbuffer_add_printf(output, "Content-Length: %zu\r\n\r\n", evbuffer_get_length(body));
		if (strcmp(exchange->request->method, "HEAD") != 0)
			evbuffer_add_buffer(output, body);
		connection_answered(connection);
	}
	exchange_free(exchange);
}

void http_reply(struct http_exchange *exchange, int status, const char *content_type, const char *body, size_t length)
{
	struct evbuffer *buffer = evbuffer_new();

	if (!buffer)
		abort();
	evbuffer_add(buffer, body, length);
	http_reply_buffer(exchange, status, content_type, buffer);
	evbuffer_free(buffer);
}

void http_stream_begin(struct http_exchange *exchange, int status, const char *content_type)
{
	struct connection *connection = exchange->connection;
	struct evbuffer *output;

	if (!connection)
		return;
	output = bufferevent_get_output(connection->buffer);
	exchange->chunked = !exchange->request->old;
	connection->close_after = true;
	head_write(output, status, content_type, exchange->headers, connection->close_after);
	evbuffer_add_printf(output, "%s\r\n", exchange->chunked ? "Transfer-Encoding: chunked\r\n" : "");
	phase_enter(connection, PHASE_STREAM);
}

size_t http_stream_write(struct http_exchange *exchange, const char *data, size_t length)
{
	struct evbuffer *output;

	if (!exchange->connection || !length)
		return 0;
	output = bufferevent_get_output(exchange->connection->buffer);
	if (exchange->chunked)
		evbuffer_add_printf(output, "%zx\r\n", length);
	evbuffer_add(output, data, length);
	if (exchange->chunked)
		evbuffer_add(output, "\r\n", 2);
	return evbuffer_get_length(output);
}

size_t http_stream_unsent(const struct http_exchange *exchange)
{
	return exchange->connection ? evbuffer_get_length(bufferevent_get_output(exchange->connection->buffer)) : 0;
}

void http_stream_end(struct http_exchange *exchange, bool broken)
{
	struct connection *connection = exchange->connection;

	if (connection && broken) {
		/* From the loop: this may be the connection's own reading that calls. */
		connection->exchange = NULL;
		phase_enter(connection, PHASE_LINGER);
		deadline_set(connection, 1);
	} else if (connection) {
		if (exchange->chunked)
			evbuffer_add_printf(bufferevent_get_output(connection->buffer), "0\r\n\r\n");
		connection_answered(connection);
	}
	exchange_free(exchange);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET with libevent's client on a fresh connection. Without a wanted text the answer is judged by its status as soon as the
 * headers are there; with one, when the text has arrived or HEALTH_BODY_LIMIT bytes have not had it.
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <string.h>
#include <strings.h>

#include "base/lib/address_text.h"
#include "ctrl/health/checks/probe.h"

#define HEADERS_LIMIT 16384

struct http_probe {
	struct probe probe;
	struct evhttp_connection *connection;
	struct evbuffer *body;  /* of the answer, when a text is wanted */
	struct event *finished; /* reports the result outside of evhttp's calls, where the connection may be freed */
	struct probe_result result;
	bool decided;
	bool answered;   /* headers were seen */
	bool connecting; /* within the call that connects: errno is its */
	int connect_error;
	bufferevent_event_cb on_connection; /* evhttp's own, behind ours */
	void *on_connection_context;
};

static void http_stop(struct probe *probe)
{
	struct http_probe *http = (struct http_probe *)probe;

	event_del(http->finished);
	if (http->connection)
		evhttp_connection_free(steal(http->connection));
	if (http->body)
		evbuffer_free(steal(http->body));
}

/* The first verdict counts: evhttp may call more than once on its way out. */
static void http_decide(struct http_probe *http, struct probe_result result)
{
	if (http->decided)
		return;
	http->decided = true;
	http->result = result;
	event_active(http->finished, EV_TIMEOUT, 0);
}

static void http_on_finished(evutil_socket_t fd, short events, void *context)
{
	struct http_probe *http = context;

	probe_done(&http->probe, &http->result);
}

static bool status_is_wanted(const struct health_parameters *parameters, int status)
{
	for (int i = 0; i < HEALTH_STATUS_RANGES && parameters->status[i].first; i++)
		if (status >= parameters->status[i].first && status <= parameters->status[i].last)
			return true;
	return false;
}

static int http_on_headers(struct evhttp_request *request, void *context)
{
	struct http_probe *http = context;
	const struct health_parameters *parameters = http->probe.target.parameters;
	int status = evhttp_request_get_response_code(request);
	bool wanted = status_is_wanted(parameters, status);
	const char *encoding;

	if (status / 100 == 1)
		return 0;
	http->answered = true;
	if (!wanted || !parameters->body[0]) {
		http_decide(http, probe_result(wanted, "http: status %d", status));
		return -1;
	}
	/* evhttp collects a whole chunk before it shows any of it: bound that. Other bodies come in pieces. */
	encoding = evhttp_find_header(evhttp_request_get_input_headers(request), "Transfer-Encoding");
	if (encoding && strcasecmp(encoding, "chunked") == 0)
		evhttp_connection_set_max_body_size(http->connection, HEALTH_BODY_LIMIT);
	return 0;
}

/* What is beyond the limit is not looked at, however the pieces fall. */
static bool body_has_text(struct http_probe *http)
{
	const char *text = http->probe.target.parameters->body;
	size_t length = evbuffer_get_length(http->body);
	struct evbuffer_ptr end, found;

	if (length > HEALTH_BODY_LIMIT)
		length = HEALTH_BODY_LIMIT;
	evbuffer_ptr_set(http->body, &end, length, EVBUFFER_PTR_SET);
	found = evbuffer_search_range(http->body, text, strlen(text), NULL, &end);
	return found.pos >= 0;
}

static void http_on_body(struct evhttp_request *request, void *context)
{
	struct http_probe *http = context;

	if (http->decided)
		return;
	evbuffer_add_buffer(http->body, evhttp_request_get_input_buffer(request));
	if (body_has_text(http))
		http_decide(http, probe_result(true, "http: status %d, text found",
					       evhttp_request_get_response_code(request)));
	else if (evbuffer_get_length(http->body) >= HEALTH_BODY_LIMIT)
		http_decide(http, probe_result(false, "http: the text is not in the first %d bytes", HEALTH_BODY_LIMIT));
}

/* errno is the connection's while the call that connects has not returned. */
static void http_decide_connect(struct http_probe *http)
{
	int error = http->connect_error ? http->connect_error : http->connecting ? errno : 0;

	http_decide(http, probe_result(false, "http connect: %s", error ? strerror(error) : "failed"));
}

static void http_on_error(enum evhttp_request_error error, void *context)
{
	struct http_probe *http = context;

	switch (error) {
	case EVREQ_HTTP_INVALID_HEADER:
		http_decide(http, probe_result(false, "http: the answer is not HTTP, or its headers exceed %d bytes",
					       HEADERS_LIMIT));
		break;
	case EVREQ_HTTP_DATA_TOO_LONG:
		http_decide(http, probe_result(false, "http: the text is not in the first %d bytes", HEALTH_BODY_LIMIT));
		break;
	default:
		if (http->connecting || http->connect_error)
			http_decide_connect(http);
		http_decide(http, probe_result(false, "http: connection closed before the end of the answer"));
	}
}

/* Last of all, with or without an answer. */
static void http_on_end(struct evhttp_request *request, void *context)
{
	struct http_probe *http = context;

	if (http->answered)
		http_decide(http, probe_result(false, "http: status %d, but the text is not in the answer",
					       request ? evhttp_request_get_response_code(request) : 0));
	else
		http_decide_connect(http);
}

/* evhttp does not pass on why a connection failed: looks before it does. */
static void http_on_connection(struct bufferevent *stream, short events, void *context)
{
	struct http_probe *http = context;

	if (events & BEV_EVENT_ERROR)
		http->connect_error = EVUTIL_SOCKET_ERROR();
	http->on_connection(stream, events, http->on_connection_context);
}

static void http_watch_connection(struct http_probe *http)
{
	struct bufferevent *stream = evhttp_connection_get_bufferevent(http->connection);
	bufferevent_data_cb on_read, on_write;
	int fd = bufferevent_getfd(stream);

	if (fd >= 0)
		probe_reset_on_close(fd);
	bufferevent_getcb(stream, &on_read, &on_write, &http->on_connection, &http->on_connection_context);
	if (http->on_connection)
		bufferevent_setcb(stream, NULL, NULL, http_on_connection, http);
}

static void host_write(const struct probe_target *target, char host[static HEALTH_HOST_SIZE])
{
	const struct health_parameters *parameters = target->parameters;

	if (parameters->host[0])
		strcpy(host, parameters->host);
	else
		endpoint_format(&target->address, parameters->port, host);
}

static int http_connection_open(struct http_probe *http)
{
	const struct probe_target *target = &http->probe.target;
	/* The engine's timeout comes first; this only moves libevent's own out of the way. */
	struct timeval later = {.tv_sec = target->parameters->timing.timeout_ms / 1000 + 60};
	char address[ADDRESS_TEXT_SIZE];

	http->connection = evhttp_connection_base_new(target->base, NULL, address_format(&target->address, address),
						      target->parameters->port);
	if (!http->connection)
		return ENOMEM;
	evhttp_connection_set_family(http->connection, address_is_ipv4(&target->address) ? AF_INET : AF_INET6);
	evhttp_connection_set_max_headers_size(http->connection, HEADERS_LIMIT);
	evhttp_connection_set_timeout_tv(http->connection, &later);
	return 0;
}

static struct evhttp_request *http_request_new(struct http_probe *http)
{
	struct evhttp_request *request = evhttp_request_new(http_on_end, http);
	char host[HEALTH_HOST_SIZE];
	struct evkeyvalq *headers;

	if (!request)
		return NULL;
	host_write(&http->probe.target, host);
	headers = evhttp_request_get_output_headers(request);
	if (evhttp_add_header(headers, "Host", host) < 0 || evhttp_add_header(headers, "Connection", "close") < 0 ||
	    evhttp_add_header(headers, "User-Agent", "selvage-health") < 0) {
		evhttp_request_free(request);
		return NULL;
	}
	evhttp_request_set_header_cb(request, http_on_headers);
	evhttp_request_set_error_cb(request, http_on_error);
	if (http->probe.target.parameters->body[0])
		evhttp_request_set_chunked_cb(request, http_on_body);
	return request;
}

static int http_send(struct http_probe *http)
{
	struct evhttp_request *request;
	int error = http_connection_open(http);

	if (error)
		return error;
	http->body = evbuffer_new();
	request = http->body ? http_request_new(http) : NULL;
	if (!request)
		return ENOMEM;
	errno = 0;
	http->connecting = true;
	if (evhttp_make_request(http->connection, request, EVHTTP_REQ_GET, http->probe.target.parameters->path) < 0)
		return errno ? errno : EIO;
	http->connecting = false;
	if (!http->decided)
		http_watch_connection(http);
	return 0;
}

static void http_start(struct probe *probe)
{
	struct http_probe *http = (struct http_probe *)probe;
	int error;

	http->decided = false;
	http->answered = false;
	http->connect_error = 0;
	error = http_send(http);
	if (error)
		http_decide(http, probe_result(false, "http connect: %s", strerror(error)));
}

static void http_expire(struct probe *probe, struct probe_result *ret_result)
{
	http_stop(probe);
	*ret_result = probe_timeout(probe);
}

static struct probe *http_create(const struct probe_target *target)
{
	struct http_probe *http = calloc(1, sizeof(*http));

	if (!http)
		return NULL;
	http->probe = (struct probe){.kind = &probe_http, .target = *target};
	http->finished = evtimer_new(target->base, http_on_finished, http);
	if (!http->finished) {
		free(http);
		return NULL;
	}
	return &http->probe;
}

static void http_destroy(struct probe *probe)
{
	event_free(((struct http_probe *)probe)->finished);
	free(probe);
}

const struct probe_kind probe_http = {
	.create = http_create,
	.start = http_start,
	.expire = http_expire,
	.stop = http_stop,
	.destroy = http_destroy,
};

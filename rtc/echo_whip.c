/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WHIP (RFC 9725) on libevent's server:
 *
 *     POST   /whip       an offer: 201, the answer, Location and ETag of the session
 *     PATCH  /whip/ID    candidates: 204; with If-Match: *, an ICE restart: 200
 *     DELETE /whip/ID    200
 *     OPTIONS            what a browser's page of another origin asks first
 *     GET    /           a page that makes a call
 *     GET    /sessions   what is going on, as JSON
 */
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/lib/address_text.h"
#include "base/lib/log.h"
#include "rtc/echo_internal.h"
#include "rtc/echo_page.h"

#define ENDPOINT "/whip"
#define BODY_MAX SDP_SIZE_MAX
#define HEADERS_MAX 16384
#define IDLE_SECONDS 10
#define TYPE_SDP "application/sdp"
#define TYPE_FRAGMENT "application/trickle-ice-sdpfrag"

/* --- answers ------------------------------------------------------------------------------------------------------------ */

static void header_add(struct evhttp_request *request, const char *name, const char *value)
{
	(void)evhttp_add_header(evhttp_request_get_output_headers(request), name, value);
}

/* A page of any origin may speak to us: whoever reaches this address may make a call. */
static void reply(struct evhttp_request *request, int status, const char *reason, const char *type, const char *body)
{
	struct evbuffer *buffer = evbuffer_new();

	header_add(request, "Access-Control-Allow-Origin", "*");
	header_add(request, "Access-Control-Expose-Headers", "Location, ETag, Link, Retry-After");
	if (type)
		header_add(request, "Content-Type", type);
	if (buffer && body)
		evbuffer_add(buffer, body, strlen(body));
	evhttp_send_reply(request, status, reason, buffer);
	if (buffer)
		evbuffer_free(buffer);
}

static void refuse(struct echo *echo, struct evhttp_request *request, int status, const char *reason, const char *why)
{
	char text[600];

	echo->counters.refused_total++;
	snprintf(text, sizeof(text), "%s\n", why);
	reply(request, status, reason, "text/plain; charset=utf-8", text);
}

static void refuse_error(struct echo *echo, struct evhttp_request *request, int result, const struct error *error)
{
	switch (result) {
	case -EBUSY:
	case -EAGAIN:
		header_add(request, "Retry-After", "1");
		refuse(echo, request, 503, "Service Unavailable", error->text);
		break;
	case -EINVAL:
		refuse(echo, request, 400, "Bad Request", error->text);
		break;
	case -ESTALE:
		refuse(echo, request, 412, "Precondition Failed", error->text);
		break;
	default:
		refuse(echo, request, 500, "Internal Server Error", error->text);
	}
}

static void etag_write(const struct echo_session *session, char tag[static 16])
{
	snprintf(tag, 16, "\"%u\"", session->generation);
}

/* --- requests ----------------------------------------------------------------------------------------------------------- */

static const char *header_of(struct evhttp_request *request, const char *name)
{
	return evhttp_find_header(evhttp_request_get_input_headers(request), name);
}

/* "application/sdp; charset=utf-8" is application/sdp. */
static bool type_is(struct evhttp_request *request, const char *type)
{
	const char *given = header_of(request, "Content-Type");
	size_t length = strlen(type);

	return given && strncasecmp(given, type, length) == 0 && strchr(" \t;", given[length]);
}

struct body {
	const char *text;
	size_t length;
};

static struct body body_of(struct evhttp_request *request)
{
	struct evbuffer *buffer = evhttp_request_get_input_buffer(request);
	size_t length = evbuffer_get_length(buffer);
	const unsigned char *text = length ? evbuffer_pullup(buffer, -1) : NULL;

	return text ? (struct body){(const char *)text, length} : (struct body){"", 0};
}

static void session_post(struct echo *echo, struct evhttp_request *request)
{
	struct body offer = body_of(request);
	_cleanup_(freep) char *answer = NULL;
	struct echo_session *session;
	struct error error = {0};
	char location[64], tag[16];
	int result;

	if (!type_is(request, TYPE_SDP)) {
		header_add(request, "Accept-Post", TYPE_SDP);
		refuse(echo, request, 415, "Unsupported Media Type", "an offer is " TYPE_SDP);
		return;
	}
	result = echo_session_new(echo, offer.text, offer.length, &session, &answer, &error);
	if (result < 0) {
		refuse_error(echo, request, result, &error);
		return;
	}
	snprintf(location, sizeof(location), ENDPOINT "/%s", session->id);
	etag_write(session, tag);
	header_add(request, "Location", location);
	header_add(request, "ETag", tag);
	reply(request, 201, "Created", TYPE_SDP, answer);
}

/* RFC 9725 section 4.3.2: If-Match: * asks for a restart. */
static void session_restart(struct echo_session *session, struct evhttp_request *request)
{
	struct body fragment = body_of(request);
	_cleanup_(freep) char *answer = NULL;
	struct error error = {0};
	char tag[16];
	int result = echo_session_restart(session, fragment.text, fragment.length, &answer, &error);

	if (result < 0) {
		refuse_error(session->echo, request, result, &error);
		return;
	}
	etag_write(session, tag);
	header_add(request, "ETag", tag);
	reply(request, 200, "OK", TYPE_FRAGMENT, answer);
}

static void session_patch(struct echo_session *session, struct evhttp_request *request)
{
	struct echo *echo = session->echo;
	const char *match = header_of(request, "If-Match");
	struct body fragment = body_of(request);
	struct error error = {0};
	char tag[16];
	int result;

	etag_write(session, tag);
	if (!type_is(request, TYPE_FRAGMENT)) {
		header_add(request, "Accept-Patch", TYPE_FRAGMENT);
		refuse(echo, request, 415, "Unsupported Media Type", "a fragment is " TYPE_FRAGMENT);
	} else if (!match) {
		refuse(echo, request, 428, "Precondition Required", "If-Match is missing");
	} else if (strcmp(match, "*") == 0) {
		session_restart(session, request);
	} else if (strcmp(match, tag) != 0) {
		refuse(echo, request, 412, "Precondition Failed", "ICE was restarted since");
	} else if ((result = echo_session_trickle(session, fragment.text, fragment.length, &error)) < 0) {
		refuse_error(echo, request, result, &error);
	} else {
		reply(request, 204, "No Content", NULL, NULL);
	}
}

static void session_delete(struct echo_session *session, struct evhttp_request *request)
{
	echo_session_end(session);
	reply(request, 200, "OK", NULL, NULL);
}

static void options_reply(struct evhttp_request *request)
{
	header_add(request, "Access-Control-Allow-Methods", "POST, PATCH, DELETE, GET, OPTIONS");
	header_add(request, "Access-Control-Allow-Headers", "Content-Type, If-Match, Authorization");
	header_add(request, "Access-Control-Max-Age", "600");
	header_add(request, "Accept-Post", TYPE_SDP);
	header_add(request, "Accept-Patch", TYPE_FRAGMENT);
	reply(request, 204, "No Content", NULL, NULL);
}

static void method_refuse(struct echo *echo, struct evhttp_request *request, const char *allowed)
{
	header_add(request, "Allow", allowed);
	refuse(echo, request, 405, "Method Not Allowed", "this is not a method of this place");
}

static void session_request(struct echo *echo, struct evhttp_request *request, const char *id)
{
	struct echo_session *session = echo_session_find(echo, id);

	if (!session)
		refuse(echo, request, 404, "Not Found", "there is no such session (any more)");
	else if (evhttp_request_get_command(request) == EVHTTP_REQ_PATCH)
		session_patch(session, request);
	else if (evhttp_request_get_command(request) == EVHTTP_REQ_DELETE)
		session_delete(session, request);
	else
		method_refuse(echo, request, "PATCH, DELETE, OPTIONS");
}

/* --- what is going on --------------------------------------------------------------------------------------------------- */

static json_t *session_json(const struct echo_session *session)
{
	struct media_statistics statistics = media_peer_statistics(session->peer);
	uint64_t now_us = media_now_us();
	char path[ENDPOINT_TEXT_SIZE] = "";

	if (statistics.has_path)
		endpoint_format(&statistics.path.address, statistics.path.port, path);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:f, s:I, s:I, s:I, s:f, s:f, s:f, s:I}", "id", session->id, "ufrag",
			 media_peer_ufrag(session->peer), "state", media_state_name(statistics.state), "remote", path, "profile",
			 media_profile_name(statistics.profile), "ageSeconds", (double)(now_us - session->begun_us) / 1e6, "received",
			 (json_int_t)statistics.received, "lost", (json_int_t)statistics.lost, "sent", (json_int_t)statistics.sent,
			 "jitterMs", statistics.jitter_ms, "longestGapMs", (double)statistics.longest_gap_us / 1000, "roundTripMs",
			 statistics.rtcp_round_trip_us / 1000.0, "refused", (json_int_t)statistics.refused);
}

static void sessions_reply(struct echo *echo, struct evhttp_request *request)
{
	struct echo_counters counters = echo_counters(echo);
	json_t *list = json_array();
	_cleanup_(freep) char *text = NULL;
	struct echo_session *session;
	json_t *all;

	TAILQ_FOREACH(session, &echo->sessions, link)
		json_array_append_new(list, session_json(session));
	all = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "sessions", (json_int_t)counters.sessions,
			"connected", (json_int_t)counters.connected, "sessionsTotal", (json_int_t)counters.sessions_total,
			"connectedTotal", (json_int_t)counters.connected_total, "failedTotal", (json_int_t)counters.failed_total,
			"refusedTotal", (json_int_t)counters.refused_total, "framesTotal", (json_int_t)counters.frames_total,
			"straysTotal", (json_int_t)counters.strays_total, "unsentTotal", (json_int_t)counters.unsent_total,
			"overflowsTotal", (json_int_t)counters.overflows_total, "list", list);
	text = all ? json_dumps(all, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
	json_decref(all);
	reply(request, text ? 200 : 500, text ? "OK" : "Internal Server Error", "application/json", text);
}

static void on_request(struct evhttp_request *request, void *context)
{
	struct echo *echo = context;
	enum evhttp_cmd_type method = evhttp_request_get_command(request);
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));

	if (!path)
		path = "";
	if (method == EVHTTP_REQ_OPTIONS)
		options_reply(request);
	else if (strcmp(path, ENDPOINT) == 0 && method == EVHTTP_REQ_POST)
		session_post(echo, request);
	else if (strcmp(path, ENDPOINT) == 0)
		method_refuse(echo, request, "POST, OPTIONS");
	else if (strncmp(path, ENDPOINT "/", strlen(ENDPOINT "/")) == 0)
		session_request(echo, request, path + strlen(ENDPOINT "/"));
	else if (strcmp(path, "/") == 0 && method == EVHTTP_REQ_GET)
		reply(request, 200, "OK", "text/html; charset=utf-8", echo_page);
	else if (strcmp(path, "/sessions") == 0 && method == EVHTTP_REQ_GET)
		sessions_reply(echo, request);
	else
		refuse(echo, request, 404, "Not Found", "calls are made at " ENDPOINT);
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

int echo_whip_start(struct echo *echo, struct error *error)
{
	const struct media_endpoint *http = &echo->config.http;
	char address[ADDRESS_TEXT_SIZE];

	echo->http = evhttp_new(echo->config.base);
	if (!echo->http)
		return error_set(error, ENOMEM, "no memory");
	evhttp_set_max_body_size(echo->http, BODY_MAX);
	evhttp_set_max_headers_size(echo->http, HEADERS_MAX);
	evhttp_set_timeout(echo->http, IDLE_SECONDS);
	evhttp_set_allowed_methods(echo->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
						       EVHTTP_REQ_PATCH | EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS);
	evhttp_set_gencb(echo->http, on_request, echo);
	errno = 0;
	echo->http_socket = evhttp_bind_socket_with_handle(echo->http, address_format(&http->address, address), http->port);
	if (!echo->http_socket)
		return error_set(error, errno ? errno : EADDRNOTAVAIL, "HTTP on %s port %u: %s", address, http->port,
				 errno ? strerror(errno) : "cannot be bound");
	return 0;
}

void echo_whip_stop(struct echo *echo)
{
	if (echo->http)
		evhttp_free(steal(echo->http));
}

struct media_endpoint echo_http(const struct echo *echo)
{
	struct media_endpoint http = echo->config.http;
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof(address);

	if (getsockname(evhttp_bound_socket_get_fd(echo->http_socket), (struct sockaddr *)&address, &length) == 0)
		http.port = be16toh(((struct sockaddr_in *)&address)->sin_port);
	return http;
}

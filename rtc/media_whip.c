/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/media_whip.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/lib/address_text.h"
#include "rtc/sdp.h"

#define HEADERS_MAX 16384

struct media_whip {
	struct media_whip_config config;
	struct evhttp_connection *connection;
	struct event *finished; /* reports outside of evhttp's calls, where the connection may be freed */
	int wanted;             /* status */
	char place[MEDIA_WHIP_PATH_SIZE]; /* of the session; "": there is none */
	char *body;
	size_t body_length;
	char error[256];
	bool decided;
};

/* --- what comes of it ----------------------------------------------------------------------------------------------------- */

static void decide(struct media_whip *whip, const char *error)
{
	if (whip->decided)
		return;
	whip->decided = true;
	snprintf(whip->error, sizeof(whip->error), "%s", error);
	event_active(whip->finished, EV_TIMEOUT, 0);
}

static void connection_drop(struct media_whip *whip)
{
	if (whip->connection)
		evhttp_connection_free(steal(whip->connection));
}

static void on_finished(evutil_socket_t fd, short events, void *context)
{
	struct media_whip *whip = context;

	connection_drop(whip);
	whip->config.answered(whip->config.context, whip->error[0] ? NULL : whip->body ? whip->body : "", whip->body_length,
			      whip->error[0] ? whip->error : NULL);
}

/* RFC 9725 section 4.2: Location may be a path, or a whole URL; redirects to another host are not followed. */
static bool place_take(struct media_whip *whip, const char *location)
{
	struct evhttp_uri *uri = location ? evhttp_uri_parse(location) : NULL;
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
	bool good = path && path[0] == '/' && strlen(path) < sizeof(whip->place);

	if (good)
		strcpy(whip->place, path);
	if (uri)
		evhttp_uri_free(uri);
	return good;
}

static void body_take(struct media_whip *whip, struct evhttp_request *request)
{
	struct evbuffer *buffer = evhttp_request_get_input_buffer(request);
	size_t length = evbuffer_get_length(buffer);

	free(whip->body);
	whip->body = calloc(1, length + 1);
	whip->body_length = whip->body ? length : 0;
	if (whip->body)
		evbuffer_copyout(buffer, whip->body, length);
}

static void on_answer(struct evhttp_request *request, void *context)
{
	struct media_whip *whip = context;
	int status = request ? evhttp_request_get_response_code(request) : 0;
	char text[128];

	if (status == 0) {
		decide(whip, "HTTP connection refused, or closed before the answer");
		return;
	}
	body_take(whip, request);
	if (status != whip->wanted) {
		snprintf(text, sizeof(text), "HTTP status %d, %.80s", status, whip->body && whip->body[0] ? whip->body : "no reason given");
		text[strcspn(text, "\r\n")] = '\0';
		decide(whip, text);
	} else if (status == 201 &&
		   !place_take(whip, evhttp_find_header(evhttp_request_get_input_headers(request), "Location"))) {
		decide(whip, "the answer does not say where the session is (Location)");
	} else {
		decide(whip, "");
	}
}

static void on_error(enum evhttp_request_error error, void *context)
{
	decide(context, error == EVREQ_HTTP_TIMEOUT	    ? "no answer to the HTTP request in time"
			: error == EVREQ_HTTP_INVALID_HEADER ? "the answer is not HTTP"
			: error == EVREQ_HTTP_DATA_TOO_LONG  ? "the answer is too long"
							     : "HTTP connection refused, or closed before the answer");
}

/* --- asking ----------------------------------------------------------------------------------------------------------------- */

static bool headers_add(struct media_whip *whip, struct evhttp_request *request, const char *type, const char *body)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
	const struct media_endpoint *endpoint = &whip->config.endpoint;
	char host[ENDPOINT_TEXT_SIZE], bearer[1024], length[24];
	bool named = whip->config.host && whip->config.host[0];
	int result = evhttp_add_header(headers, "Host", named ? whip->config.host
							      : endpoint_format(&endpoint->address, endpoint->port, host));

	result |= evhttp_add_header(headers, "User-Agent", "selvage-media-check");
	result |= evhttp_add_header(headers, "Connection", "close");
	if (type)
		result |= evhttp_add_header(headers, "Content-Type", type);
	/* Which ETag a session has does not matter to who restarts it: RFC 9725 section 4.3.2. */
	if (whip->wanted == 200 && type)
		result |= evhttp_add_header(headers, "If-Match", "*");
	/* libevent adds it to POST and PUT alone. */
	snprintf(length, sizeof(length), "%zu", body ? strlen(body) : 0);
	result |= evhttp_add_header(headers, "Content-Length", length);
	if (whip->config.token) {
		snprintf(bearer, sizeof(bearer), "Bearer %s", whip->config.token);
		result |= evhttp_add_header(headers, "Authorization", bearer);
	}
	return result == 0;
}

static struct evhttp_connection *connection_new(const struct media_whip *whip)
{
	const struct media_endpoint *endpoint = &whip->config.endpoint;
	struct timeval patience = {.tv_sec = whip->config.timeout_ms / 1000, .tv_usec = whip->config.timeout_ms % 1000 * 1000};
	char address[ADDRESS_TEXT_SIZE];
	struct evhttp_connection *connection = evhttp_connection_base_new(
		whip->config.base, NULL, address_format(&endpoint->address, address), endpoint->port);

	if (!connection)
		return NULL;
	evhttp_connection_set_family(connection, address_is_ipv4(&endpoint->address) ? AF_INET : AF_INET6);
	evhttp_connection_set_max_headers_size(connection, HEADERS_MAX);
	evhttp_connection_set_max_body_size(connection, SDP_SIZE_MAX);
	evhttp_connection_set_timeout_tv(connection, &patience);
	return connection;
}

static void request_send(struct media_whip *whip, enum evhttp_cmd_type method, const char *path, const char *type, const char *body,
			 int wanted)
{
	struct evhttp_request *request = evhttp_request_new(on_answer, whip);

	whip->decided = false;
	whip->wanted = wanted;
	connection_drop(whip);
	whip->connection = connection_new(whip);
	if (!request || !whip->connection || !headers_add(whip, request, type, body)) {
		if (request)
			evhttp_request_free(request);
		decide(whip, "no memory");
		return;
	}
	evhttp_request_set_error_cb(request, on_error);
	if (body)
		evbuffer_add(evhttp_request_get_output_buffer(request), body, strlen(body));
	if (evhttp_make_request(whip->connection, request, method, path) < 0)
		decide(whip, "HTTP connection failed");
}

void media_whip_post(struct media_whip *whip, const char *offer)
{
	request_send(whip, EVHTTP_REQ_POST, whip->config.path, "application/sdp", offer, 201);
}

void media_whip_restart(struct media_whip *whip, const char *fragment)
{
	request_send(whip, EVHTTP_REQ_PATCH, whip->place, "application/trickle-ice-sdpfrag", fragment, 200);
}

void media_whip_delete(struct media_whip *whip)
{
	char place[MEDIA_WHIP_PATH_SIZE];

	if (!whip->place[0]) {
		whip->decided = false;
		decide(whip, "");
		return;
	}
	strcpy(place, whip->place);
	whip->place[0] = '\0';
	request_send(whip, EVHTTP_REQ_DELETE, place, NULL, NULL, 200);
}

/* --- life ------------------------------------------------------------------------------------------------------------------- */

struct media_whip *media_whip_new(const struct media_whip_config *config)
{
	struct media_whip *whip = calloc(1, sizeof(*whip));

	if (!whip)
		return NULL;
	whip->config = *config;
	whip->finished = evtimer_new(config->base, on_finished, whip);
	if (!whip->finished) {
		free(whip);
		return NULL;
	}
	return whip;
}

void media_whip_free(struct media_whip *whip)
{
	if (!whip)
		return;
	/* evhttp tells of the end while it is freed: nothing of that counts. */
	whip->decided = true;
	connection_drop(whip);
	event_free(whip->finished);
	free(whip->body);
	free(whip);
}

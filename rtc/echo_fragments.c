/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where fragments come from that a virtual IP understands (docs/wire/ufrag.md): a file, or selvaged's control socket, which makes
 * encoded ones or is told those that we made. Nothing waits: a fragment that is to be registered is used at once, since the client
 * repeats its first check until the way is there.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/lib/log.h"
#include "rtc/echo_internal.h"

#define STOCK_MAX 200        /* encoded fragments in advance */
#define STOCK_LOW 100
#define STOCK_AGE_SECONDS 300 /* keys rotate: older ones are thrown away */
#define CALLS_MAX 16         /* to selvaged at once; others wait */
#define WAITING_MAX 10000
#define CALL_SECONDS 5
#define ANSWER_MAX (1u << 20)
#define EXPIRY_SECONDS 60 /* so long a registration waits for its client */

/* A question to selvaged, waiting or under way. */
struct call {
	TAILQ_ENTRY(call) link;
	struct echo_fragments *fragments;
	struct bufferevent *stream; /* NULL: it waits */
	bool stocks; /* its answer is a stock; else only whether it went well matters */
	char what[SDP_UFRAG_SIZE + 32];
	char *request;
	bool good; /* it was taken */
	echo_registered_callback registered; /* NULL: nobody wants to know */
	void *context;
};
TAILQ_HEAD(call_list, call);

struct echo_fragments {
	const struct echo_config *config;
	FILE *file;
	char stock[STOCK_MAX][SDP_UFRAG_SIZE];
	size_t stock_count;
	uint64_t stocked_us;
	bool stocking;
	struct event *timer; /* looks after the stock */
	struct call_list calls, waiting;
	size_t call_count, waiting_count;
	bool advancing; /* what a failure tells may ask anew: not deeper and deeper */
};

static void calls_advance(struct echo_fragments *fragments);

/* --- asking selvaged ------------------------------------------------------------------------------------------------------ */

static void call_free(struct call *call)
{
	struct echo_fragments *fragments = call->fragments;

	if (call->stream) {
		TAILQ_REMOVE(&fragments->calls, call, link);
		fragments->call_count--;
		bufferevent_free(call->stream);
	} else {
		TAILQ_REMOVE(&fragments->waiting, call, link);
		fragments->waiting_count--;
	}
	if (call->stocks)
		fragments->stocking = false;
	if (call->registered)
		call->registered(call->context, call->good);
	free(call->request);
	free(call);
}

static void call_end(struct call *call)
{
	struct echo_fragments *fragments = call->fragments;

	call_free(call);
	calls_advance(fragments);
}

static void stock_take(struct echo_fragments *fragments, const json_t *ufrags)
{
	size_t index;
	json_t *each;

	fragments->stock_count = 0;
	fragments->stocked_us = media_now_us();
	json_array_foreach(ufrags, index, each) {
		const char *text = json_string_value(each);

		if (text && strlen(text) >= 4 && strlen(text) < SDP_UFRAG_SIZE && fragments->stock_count < STOCK_MAX)
			strcpy(fragments->stock[fragments->stock_count++], text);
	}
}

/* "HTTP/1.1 200 OK", headers, an empty line, the body up to the end. */
static void answer_take(struct call *call)
{
	struct evbuffer *input = bufferevent_get_input(call->stream);
	size_t length = evbuffer_get_length(input);
	const char *text, *body;
	unsigned int status = 0;
	json_t *json;

	evbuffer_add(input, "", 1);
	text = (const char *)evbuffer_pullup(input, -1);
	body = text ? strstr(text, "\r\n\r\n") : NULL;
	if (!body || sscanf(text, "HTTP/1.%*1u %3u", &status) != 1) {
		log_error("%s: selvaged's answer is no HTTP", call->what);
		return;
	}
	json = json_loadb(body + 4, length - (size_t)(body + 4 - text), 0, NULL);
	if (status / 100 != 2) {
		const char *message = json_string_value(json_object_get(json, "message"));

		log_error("%s: selvaged says %u %s", call->what, status, message ? message : "");
		json_decref(json);
		return;
	}
	call->good = true;
	if (call->stocks) {
		stock_take(call->fragments, json_object_get(json, "ufrags"));
		if (call->fragments->stock_count == 0)
			log_error("%s: selvaged gave none", call->what);
	}
	json_decref(json);
}

static void call_on_read(struct bufferevent *stream, void *context)
{
	struct call *call = context;

	if (evbuffer_get_length(bufferevent_get_input(stream)) > ANSWER_MAX) {
		log_error("%s: selvaged's answer is too long", call->what);
		call_end(call);
	}
}

static void call_on_event(struct bufferevent *stream, short events, void *context)
{
	struct call *call = context;

	if (events & BEV_EVENT_EOF)
		answer_take(call);
	else
		log_error("%s: selvaged at %s: %s", call->what, call->fragments->config->selvaged_socket,
			  events & BEV_EVENT_TIMEOUT ? "no answer" : strerror(EVUTIL_SOCKET_ERROR()));
	call_end(call);
}

/* A unix socket is connected at once, or not. */
static int selvaged_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static bool call_start(struct call *call)
{
	static const struct timeval patience = {.tv_sec = CALL_SECONDS};
	struct echo_fragments *fragments = call->fragments;
	int fd = selvaged_connect(fragments->config->selvaged_socket);
	struct bufferevent *stream;

	if (fd < 0) {
		log_error("%s: selvaged at %s: %s", call->what, fragments->config->selvaged_socket, strerror(errno));
		return false;
	}
	stream = bufferevent_socket_new(fragments->config->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!stream) {
		close(fd);
		return false;
	}
	TAILQ_REMOVE(&fragments->waiting, call, link);
	fragments->waiting_count--;
	call->stream = stream;
	TAILQ_INSERT_TAIL(&fragments->calls, call, link);
	fragments->call_count++;
	bufferevent_setcb(stream, call_on_read, NULL, call_on_event, call);
	bufferevent_set_timeouts(stream, &patience, &patience);
	evbuffer_add(bufferevent_get_output(stream), call->request, strlen(call->request));
	bufferevent_enable(stream, EV_READ | EV_WRITE);
	return true;
}

static void calls_advance(struct echo_fragments *fragments)
{
	struct call *call;

	if (fragments->advancing)
		return;
	fragments->advancing = true;
	while (fragments->call_count < CALLS_MAX && (call = TAILQ_FIRST(&fragments->waiting)))
		if (!call_start(call))
			call_free(call);
	fragments->advancing = false;
}

/* Asks as soon as it may, in order; what comes of it is logged, stocked, or told. */
static void call_begin(struct echo_fragments *fragments, const char *method, const char *path, const char *body, const char *what,
		       echo_registered_callback registered, void *context)
{
	struct call *call = fragments->waiting_count < WAITING_MAX ? calloc(1, sizeof(*call)) : NULL;

	if (!call || asprintf(&call->request,
			      "%s %s HTTP/1.1\r\nHost: selvaged\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
			      "Connection: close\r\n\r\n%s", method, path, strlen(body), body) < 0) {
		log_error("%s: too many questions to selvaged are open", what);
		free(call);
		if (registered)
			registered(context, false);
		return;
	}
	call->fragments = fragments;
	call->registered = registered;
	call->context = context;
	call->stocks = strcmp(method, "POST") == 0;
	fragments->stocking |= call->stocks;
	snprintf(call->what, sizeof(call->what), "%s", what);
	TAILQ_INSERT_TAIL(&fragments->waiting, call, link);
	fragments->waiting_count++;
	calls_advance(fragments);
}

/* --- encoded ones --------------------------------------------------------------------------------------------------------- */

static void fragments_stock(struct echo_fragments *fragments)
{
	const struct echo_config *config = fragments->config;
	const char *slash = strchr(config->service, '/');
	char body[1024];

	if (fragments->stocking)
		return;
	snprintf(body, sizeof(body), "{\"backend\":\"%s\",\"namespace\":\"%.*s\",\"service\":\"%s\",\"count\":%d}", config->backend,
		 slash ? (int)(slash - config->service) : (int)strlen("default"), slash ? config->service : "default",
		 slash ? slash + 1 : config->service, STOCK_MAX);
	call_begin(fragments, "POST", "/selvage/v1/sessions/ufrag", body, "asking for user fragments", NULL, NULL);
}

static void on_stock_timer(evutil_socket_t fd, short events, void *context)
{
	struct echo_fragments *fragments = context;

	if (fragments->stock_count < STOCK_LOW || media_now_us() - fragments->stocked_us > STOCK_AGE_SECONDS * 1000000ull)
		fragments_stock(fragments);
}

static int stock_use(struct echo_fragments *fragments, char ret_ufrag[static SDP_UFRAG_SIZE], struct error *error)
{
	if (fragments->stock_count <= STOCK_LOW)
		fragments_stock(fragments);
	if (fragments->stock_count == 0)
		return error_set(error, EAGAIN, "selvaged has given no user fragments yet");
	strcpy(ret_ufrag, fragments->stock[--fragments->stock_count]);
	return 0;
}

/* --- registered ones ------------------------------------------------------------------------------------------------------ */

static void registration_send(struct echo_fragments *fragments, const char *method, const char *ufrag, const char *body,
			      echo_registered_callback registered, void *context)
{
	char path[SDP_UFRAG_SIZE + 600], what[SDP_UFRAG_SIZE + 32];

	snprintf(path, sizeof(path), "/selvage/v1/services/%.512s/sessions/%s", fragments->config->service, ufrag);
	/* What a path would take for something else is written otherwise there. */
	for (char *at = path + strlen(path) - strlen(ufrag); *at; at++)
		*at = *at == '/' ? '_' : *at == '+' ? '-' : *at;
	snprintf(what, sizeof(what), "%s %s", strcmp(method, "PUT") == 0 ? "registering" : "taking back", ufrag);
	call_begin(fragments, method, path, body, what, registered, context);
}

void echo_fragments_begin(struct echo_fragments *fragments, const struct echo_registration *registration,
			  echo_registered_callback registered, void *context)
{
	const struct srtp_key *srtp = registration->srtp;
	char text[SRTP_KEY_TEXT_SIZE];
	json_t *json;
	char *body;

	if (!fragments->config->fragments_registered) {
		registered(context, true);
		return;
	}
	json = json_pack("{s:s, s:i, s:s}", "backend", fragments->config->backend, "expiresInSeconds", EXPIRY_SECONDS, "password",
			 registration->password);
	if (registration->previous[0])
		json_object_set_new(json, "restarts", json_string(registration->previous));
	if (srtp)
		json_object_set_new(json, "srtp", json_pack("{s:s, s:s}", "profile", srtp_profile_name(srtp->profile), "key",
							    srtp_key_format(srtp, text)));
	body = json_dumps(json, JSON_COMPACT);
	registration_send(fragments, "PUT", registration->ufrag, body ? body : "", registered, context);
	free(body);
	json_decref(json);
}

void echo_fragments_end(struct echo_fragments *fragments, const char *ufrag)
{
	if (fragments->config->fragments_registered)
		registration_send(fragments, "DELETE", ufrag, "", NULL, NULL);
}

/* --- those of a file ------------------------------------------------------------------------------------------------------ */

static int file_use(struct echo_fragments *fragments, char ret_ufrag[static SDP_UFRAG_SIZE], struct error *error)
{
	char line[SDP_UFRAG_SIZE + 2];

	/* Twice at most: at its end it is read again from the beginning, so that it can be written anew meanwhile. */
	for (int round = 0; round < 2; round++) {
		while (fragments->file && fgets(line, sizeof(line), fragments->file)) {
			line[strcspn(line, "\r\n")] = '\0';
			if (strlen(line) >= 4 && strlen(line) < SDP_UFRAG_SIZE) {
				strcpy(ret_ufrag, line);
				return 0;
			}
		}
		fclosep(&fragments->file);
		fragments->file = fopen(fragments->config->fragment_file, "re");
	}
	return error_set(error, EAGAIN, "no user fragment in %s", fragments->config->fragment_file);
}

/* --- all ------------------------------------------------------------------------------------------------------------------ */

bool echo_fragments_random(const struct echo_fragments *fragments)
{
	return !fragments->config->fragment_file && !fragments->config->fragments_encoded;
}

int echo_fragments_take(struct echo_fragments *fragments, char ret_ufrag[static SDP_UFRAG_SIZE], struct error *error)
{
	return fragments->config->fragment_file ? file_use(fragments, ret_ufrag, error) : stock_use(fragments, ret_ufrag, error);
}

int echo_fragments_new(const struct echo_config *config, struct echo_fragments **ret_fragments, struct error *error)
{
	static const struct timeval second = {.tv_sec = 1};
	struct echo_fragments *fragments;

	if ((config->fragments_encoded || config->fragments_registered) &&
	    strlen(config->selvaged_socket) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return error_set(error, EINVAL, "the path of selvaged's socket is too long");
	if (config->fragment_file && access(config->fragment_file, R_OK) < 0)
		return error_set(error, errno, "reading user fragments from %s: %s", config->fragment_file, strerror(errno));
	fragments = calloc(1, sizeof(*fragments));
	if (!fragments)
		return error_set(error, ENOMEM, "no memory");
	fragments->config = config;
	TAILQ_INIT(&fragments->calls);
	TAILQ_INIT(&fragments->waiting);
	*ret_fragments = fragments;
	if (!config->fragments_encoded)
		return 0;
	fragments->timer = event_new(config->base, -1, EV_PERSIST, on_stock_timer, fragments);
	if (!fragments->timer || event_add(fragments->timer, &second) < 0)
		return error_set(error, ENOMEM, "no memory");
	fragments_stock(fragments);
	return 0;
}

void echo_fragments_free(struct echo_fragments *fragments)
{
	struct call *call;

	if (!fragments)
		return;
	fragments->advancing = true;
	while ((call = TAILQ_FIRST(&fragments->waiting)) || (call = TAILQ_FIRST(&fragments->calls)))
		call_free(call);
	if (fragments->timer)
		event_free(fragments->timer);
	fclosep(&fragments->file);
	free(fragments);
}

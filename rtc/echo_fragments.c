/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where fragments come from that a virtual IP understands (docs/wire/ufrag.md): a file, or selvaged's control socket, which makes
 * encoded ones or is told those that we made. Nothing waits: a fragment that is to be registered is used at once, since the client
 * repeats its first check until the way is there.
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/lib/log.h"
#include "rtc/echo_internal.h"

#define STOCK_MAX 200        /* encoded fragments in advance */
#define STOCK_LOW 100
#define STOCK_AGE_SECONDS 300 /* keys rotate: older ones are thrown away */
#define CALLS_MAX 64         /* to selvaged at once */
#define CALL_SECONDS 5
#define ANSWER_MAX (1u << 20)
#define EXPIRY_SECONDS 60 /* of a registration that nobody renews */
#define RENEW_SECONDS 20

struct call {
	LIST_ENTRY(call) link;
	struct echo_fragments *fragments;
	struct bufferevent *stream;
	bool stocks; /* its answer is a stock; else only whether it went well matters */
	char what[SDP_UFRAG_SIZE + 32];
};

struct name {
	LIST_ENTRY(name) link;
	char ufrag[SDP_UFRAG_SIZE];
};

struct echo_fragments {
	const struct echo_config *config;
	FILE *file;
	char stock[STOCK_MAX][SDP_UFRAG_SIZE];
	size_t stock_count;
	uint64_t stocked_us;
	bool stocking;
	struct event *timer; /* looks after the stock, or renews what is registered */
	LIST_HEAD(, call) calls;
	size_t call_count;
	LIST_HEAD(, name) registered;
};

/* --- asking selvaged ------------------------------------------------------------------------------------------------------ */

static void call_end(struct call *call)
{
	struct echo_fragments *fragments = call->fragments;

	LIST_REMOVE(call, link);
	fragments->call_count--;
	if (call->stocks)
		fragments->stocking = false;
	bufferevent_free(call->stream);
	free(call);
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
	} else if (call->stocks) {
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

/* Sends a request, with or without a body; what comes of it is logged, or stocked. */
static void call_begin(struct echo_fragments *fragments, const char *method, const char *path, const char *body, const char *what)
{
	static const struct timeval patience = {.tv_sec = CALL_SECONDS};
	struct call *call;
	int fd;

	if (fragments->call_count >= CALLS_MAX) {
		log_error("%s: too many questions to selvaged are open", what);
		return;
	}
	fd = selvaged_connect(fragments->config->selvaged_socket);
	if (fd < 0) {
		log_error("%s: selvaged at %s: %s", what, fragments->config->selvaged_socket, strerror(errno));
		return;
	}
	call = calloc(1, sizeof(*call));
	if (!call || !(call->stream = bufferevent_socket_new(fragments->config->base, fd, BEV_OPT_CLOSE_ON_FREE))) {
		close(fd);
		free(call);
		return;
	}
	call->fragments = fragments;
	call->stocks = strcmp(method, "POST") == 0;
	fragments->stocking |= call->stocks;
	snprintf(call->what, sizeof(call->what), "%s", what);
	LIST_INSERT_HEAD(&fragments->calls, call, link);
	fragments->call_count++;
	bufferevent_setcb(call->stream, call_on_read, NULL, call_on_event, call);
	bufferevent_set_timeouts(call->stream, &patience, &patience);
	evbuffer_add_printf(bufferevent_get_output(call->stream),
			    "%s %s HTTP/1.1\r\nHost: selvaged\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
			    "Connection: close\r\n\r\n%s", method, path, strlen(body), body);
	bufferevent_enable(call->stream, EV_READ | EV_WRITE);
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
	call_begin(fragments, "POST", "/selvage/v1/sessions/ufrag", body, "asking for user fragments");
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

static void registration_send(struct echo_fragments *fragments, const char *method, const char *ufrag)
{
	char path[SDP_UFRAG_SIZE * 3 + 640], escaped[SDP_UFRAG_SIZE * 3], body[256], what[SDP_UFRAG_SIZE + 32];
	size_t length = 0;

	/* Of ICE's alphabet, + and / mean something else in a path. */
	for (const char *at = ufrag; *at; at++)
		length += (size_t)sprintf(escaped + length, *at == '+' ? "%%2B" : *at == '/' ? "%%2F" : "%c", *at);
	snprintf(path, sizeof(path), "/selvage/v1/services/%.512s/sessions/%s", fragments->config->service, escaped);
	snprintf(body, sizeof(body), "{\"backend\":\"%s\",\"expiresInSeconds\":%d}", fragments->config->backend, EXPIRY_SECONDS);
	snprintf(what, sizeof(what), "registering %s", ufrag);
	call_begin(fragments, method, path, strcmp(method, "PUT") == 0 ? body : "", what);
}

static void on_renew_timer(evutil_socket_t fd, short events, void *context)
{
	struct echo_fragments *fragments = context;
	struct name *name;

	LIST_FOREACH(name, &fragments->registered, link)
		registration_send(fragments, "PUT", name->ufrag);
}

void echo_fragments_begin(struct echo_fragments *fragments, const char *ufrag)
{
	struct name *name = fragments->config->fragments_registered ? calloc(1, sizeof(*name)) : NULL;

	if (!name)
		return;
	snprintf(name->ufrag, sizeof(name->ufrag), "%s", ufrag);
	LIST_INSERT_HEAD(&fragments->registered, name, link);
	registration_send(fragments, "PUT", ufrag);
}

void echo_fragments_end(struct echo_fragments *fragments, const char *ufrag)
{
	struct name *name;

	LIST_FOREACH(name, &fragments->registered, link) {
		if (strcmp(name->ufrag, ufrag) != 0)
			continue;
		LIST_REMOVE(name, link);
		free(name);
		registration_send(fragments, "DELETE", ufrag);
		return;
	}
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
	static const struct timeval second = {.tv_sec = 1}, renewal = {.tv_sec = RENEW_SECONDS};
	struct echo_fragments *fragments = calloc(1, sizeof(*fragments));

	if (!fragments)
		return error_set(error, ENOMEM, "no memory");
	fragments->config = config;
	LIST_INIT(&fragments->calls);
	LIST_INIT(&fragments->registered);
	*ret_fragments = fragments;
	if (!config->fragments_encoded && !config->fragments_registered)
		return 0;
	if (strlen(config->selvaged_socket) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		*ret_fragments = NULL;
		free(fragments);
		return error_set(error, EINVAL, "the path of selvaged's socket is too long");
	}
	fragments->timer = event_new(config->base, -1, EV_PERSIST, config->fragments_encoded ? on_stock_timer : on_renew_timer, fragments);
	if (fragments->timer)
		event_add(fragments->timer, config->fragments_encoded ? &second : &renewal);
	if (config->fragments_encoded)
		fragments_stock(fragments);
	return 0;
}

void echo_fragments_free(struct echo_fragments *fragments)
{
	struct call *call;
	struct name *name;

	if (!fragments)
		return;
	while ((call = LIST_FIRST(&fragments->calls)))
		call_end(call);
	while ((name = LIST_FIRST(&fragments->registered))) {
		LIST_REMOVE(name, link);
		free(name);
	}
	if (fragments->timer)
		event_free(fragments->timer);
	fclosep(&fragments->file);
	free(fragments);
}

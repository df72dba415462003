/* SPDX-License-Identifier: Apache-2.0 */
/* /selvage/v1/sessions and /selvage/v1/services/[NAMESPACE/]NAME/sessions: calls, and what media servers say of them. */
#include <string.h>

#include "ctrl/api/api_internal.h"
#include "edge/edge_state.h"

#define SESSIONS_SHOWN 1000u /* in one answer, unless more are asked for */
#define SESSIONS_SHOWN_MAX 10000u
#define UFRAGS_MAX 20000
#define STREAMS_MAX 16
#define STREAM_UNSENT_MAX ((size_t)1 << 20)

/* What the path says: /selvage/v1/sessions/…, /selvage/v1/services/NAME/sessions/… or /selvage/v1/services/NAMESPACE/NAME/sessions/… */
struct place {
	const char *namespace_name, *service; /* NULL: any */
	const char *name;                     /* NULL: all of the service */
};

static struct place place_of(const struct http_exchange *exchange)
{
	const struct http_request *request = http_exchange_request(exchange);
	const char *const *part = request->segments;
	/* "services/NAME/sessions/X" has as many parts as "services/NAMESPACE/NAME/sessions" */
	bool named = request->segment_count >= 6 && strcmp(part[request->segment_count - 2], "sessions") == 0;
	bool spaced = request->segment_count - named == 6;

	if (strcmp(part[2], "sessions") == 0)
		return (struct place){.name = part[3]};
	return (struct place){
		.namespace_name = spaced ? part[3] : "default",
		.service = spaced ? part[4] : part[3],
		.name = named ? part[request->segment_count - 1] : NULL,
	};
}

/* False after an answer. */
static bool known(struct http_exchange *exchange, bool known_here)
{
	if (!known_here)
		reply_failure(exchange, 404, NULL, "this daemon forwards no sessions");
	return known_here;
}

/* Takes over `json`; NULL: what the error says. */
static void reply_view(struct http_exchange *exchange, json_t *json, const struct error *error)
{
	if (json)
		reply_json(exchange, 200, json);
	else
		reply_failure(exchange, 404, NULL, "%s", error->text);
}

static bool limit_read(const struct http_request *request, uint32_t *ret_limit)
{
	const char *text = http_request_query(request, "limit");

	*ret_limit = SESSIONS_SHOWN;
	if (!text)
		return true;
	if (!*text || strlen(text) > 5 || strspn(text, "0123456789") != strlen(text))
		return false;
	*ret_limit = (uint32_t)strtoul(text, NULL, 10);
	return *ret_limit > 0 && *ret_limit <= SESSIONS_SHOWN_MAX;
}

/* "@17", as `next` and `id` say it. */
static bool is_session_id(const char *text)
{
	size_t digits = *text == '@' ? strspn(text + 1, "0123456789") : 0;

	return digits > 0 && digits < 8 && !text[1 + digits] && strtoul(text + 1, NULL, 10) < RTC_SESSION_ROWS;
}

static void list(struct api *api, struct http_exchange *exchange, const char *namespace_name, const char *service)
{
	const struct http_request *request = http_exchange_request(exchange);
	struct api_session_query query = {.namespace_name = namespace_name, .service = service,
					  .after = http_request_query(request, "after")};
	struct error error = {0};

	if (!known(exchange, api->backend.sessions != NULL))
		return;
	if (!limit_read(request, &query.limit))
		reply_failure(exchange, 400, NULL, "limit must be a number from 1 to %u", SESSIONS_SHOWN_MAX);
	else if (query.after && !is_session_id(query.after))
		reply_failure(exchange, 400, NULL, "after must be a session's number, as \"next\" says it: @17, not \"%.40s\"", query.after);
	else
		reply_view(exchange, api->backend.sessions(api->backend.context, &query, &error), &error);
}

void sessions_list_handle(struct api *api, struct http_exchange *exchange)
{
	list(api, exchange, NULL, NULL);
}

void service_sessions_handle(struct api *api, struct http_exchange *exchange)
{
	struct place place = place_of(exchange);

	list(api, exchange, place.namespace_name, place.service);
}

void session_get_handle(struct api *api, struct http_exchange *exchange)
{
	struct place place = place_of(exchange);
	struct error error = {0};

	if (known(exchange, api->backend.session != NULL))
		reply_view(exchange, api->backend.session(api->backend.context, place.namespace_name, place.service, place.name, &error),
			   &error);
}

static json_t *body_read(const struct http_exchange *exchange)
{
	const struct http_request *request = http_exchange_request(exchange);

	return json_loadb(request->body ? request->body : "", request->content_length, JSON_REJECT_DUPLICATES, NULL);
}

void session_put_handle(struct api *api, struct http_exchange *exchange)
{
	struct place place = place_of(exchange);
	json_t *body;

	if (!known(exchange, api->backend.session_put != NULL))
		return;
	body = body_read(exchange);
	if (body)
		api->backend.session_put(api->backend.context, place.namespace_name, place.service, place.name, body,
					 api_action_new(api, exchange));
	else
		reply_failure(exchange, 400, NULL, "the body must be JSON: {\"backend\": \"ADDRESS:PORT\"}");
	json_decref(body);
}

void session_delete_handle(struct api *api, struct http_exchange *exchange)
{
	struct place place = place_of(exchange);

	if (known(exchange, api->backend.session_remove != NULL))
		api->backend.session_remove(api->backend.context, place.namespace_name, place.service, place.name,
					    api_action_new(api, exchange));
}

void sessions_rotate_handle(struct api *api, struct http_exchange *exchange)
{
	if (known(exchange, api->backend.session_rotate != NULL))
		api->backend.session_rotate(api->backend.context, api_action_new(api, exchange));
}

/* {"backend": "10.0.0.21:7000", "service": NAME, "namespace": NAME, "count": 1}; the last three may be left out. */
void session_ufrags_handle(struct api *api, struct http_exchange *exchange)
{
	json_t *body = body_read(exchange);
	const char *backend = json_string_value(json_object_get(body, "backend"));
	const char *service = json_string_value(json_object_get(body, "service"));
	const char *space = json_string_value(json_object_get(body, "namespace"));
	const json_t *count = json_object_get(body, "count");
	json_int_t number = count ? json_integer_value(count) : 1;
	struct error error = {0};

	if (!known(exchange, api->backend.session_ufrags != NULL))
		;
	else if (!backend || number < 1 || number > UFRAGS_MAX)
		reply_failure(exchange, 422, NULL, "the body must be {\"backend\": \"ADDRESS:PORT\"}, with \"service\", \"namespace\" and \"count\" (1 to %d) if need be",
			      UFRAGS_MAX);
	else
		reply_view(exchange,
			   api->backend.session_ufrags(api->backend.context, space ? space : "default", service, backend, (uint32_t)number,
						       &error),
			   &error);
	json_decref(body);
}

/* --- events ------------------------------------------------------------------------------------------------------------ */

struct event_stream {
	LIST_ENTRY(event_stream) link;
	struct http_exchange *exchange;
	uint64_t lost;
};

static void stream_gone(void *context)
{
	struct event_stream *stream = context;

	LIST_REMOVE(stream, link);
	http_stream_end(stream->exchange, false);
	free(stream);
}

static void line_send(struct event_stream *stream, const json_t *json)
{
	_cleanup_(freep) char *text = json_dumps(json, JSON_COMPACT), *line = NULL;
	int length = asprintf(&line, "%s\n", text ? text : "{}");

	if (length >= 0)
		http_stream_write(stream->exchange, line, (size_t)length);
}

void sessions_events_handle(struct api *api, struct http_exchange *exchange)
{
	struct event_stream *stream;
	json_t *started;
	size_t count = 0;

	LIST_FOREACH(stream, &api->events, link)
		count++;
	if (count >= STREAMS_MAX) {
		reply_failure(exchange, 503, NULL, "%d clients follow sessions already", STREAMS_MAX);
		return;
	}
	stream = calloc(1, sizeof(*stream));
	if (!stream)
		abort();
	stream->exchange = exchange;
	LIST_INSERT_HEAD(&api->events, stream, link);
	http_stream_begin(exchange, 200, "application/jsonl");
	http_exchange_on_gone(exchange, stream_gone, stream);
	/* So that the client knows that from here on nothing is missed. */
	started = json_pack("{s:b}", "started", 1);
	line_send(stream, started);
	json_decref(started);
}

bool api_session_event_wanted(const struct api *api)
{
	return !LIST_EMPTY(&api->events);
}

void api_session_event(struct api *api, json_t *json)
{
	struct event_stream *stream;

	LIST_FOREACH(stream, &api->events, link) {
		if (http_stream_unsent(stream->exchange) > STREAM_UNSENT_MAX) {
			stream->lost++;
			continue;
		}
		if (stream->lost) {
			json_t *lost = json_pack("{s:I}", "lost", (json_int_t)stream->lost);

			line_send(stream, lost);
			json_decref(lost);
			stream->lost = 0;
		}
		line_send(stream, json);
	}
	json_decref(json);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ?watch=1: changes as JSON lines, one event each. From a resourceVersion on, or first all that is there and then what changes.
 * A selector makes its own additions and deletions: an object that no longer matches is gone for the client.
 */
#include <event2/event.h>
#include <inttypes.h>
#include <string.h>

#include "ctrl/api/api_internal.h"
#include "ctrl/api/label_query.h"

/* A client that is this far behind is cut off; it lists again when it comes back. */
#define WATCH_UNSENT_MAX ((size_t)16 << 20)
#define WATCH_SECONDS_MAX 86400

struct watch {
	struct api *api;
	struct http_exchange *exchange; /* NULL: ended */
	struct store_watch *changes;
	bool listing; /* store_list() will still call */
	struct event *timer;
	char prefix[REGISTRY_KEY_SIZE];
	struct label_query *labels, *fields;
};

static void watch_free_if_done(struct watch *watch)
{
	if (watch->exchange || watch->listing)
		return;
	label_query_free(watch->labels);
	label_query_free(watch->fields);
	api_put(watch->api);
	free(watch);
}

/* Everything but the memory ends here; that goes when the store calls no more. */
static void watch_end(struct watch *watch, bool broken)
{
	store_watch_free(watch->changes);
	watch->changes = NULL;
	if (watch->timer)
		event_free(watch->timer);
	watch->timer = NULL;
	http_stream_end(watch->exchange, broken);
	watch->exchange = NULL;
	watch_free_if_done(watch);
}

static void watch_gone(void *context)
{
	watch_end(context, false);
}

static void watch_time_is_up(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	watch_end(context, false);
}

/* Takes over `object`. False when the client is too slow. */
static bool event_send(struct watch *watch, const char *type, json_t *object)
{
	json_t *event = json_pack("{s:s, s:o}", "type", type, "object", object);
	_cleanup_(freep) char *text = json_dumps(event, JSON_COMPACT | OBJECT_JSON_REALS);
	_cleanup_(freep) char *line = NULL;
	int length = asprintf(&line, "%s\n", text ? text : "{}");

	json_decref(event);
	return length < 0 || http_stream_write(watch->exchange, line, (size_t)length) <= WATCH_UNSENT_MAX;
}

static bool watch_wants(const struct watch *watch, const json_t *object)
{
	return object && label_query_matches(watch->labels, object) && label_query_matches(watch->fields, object);
}

static bool change_send(struct watch *watch, const struct store_event *event)
{
	json_t *now = event->kind == STORE_EVENT_PUT ? registry_record_json(&event->record) : NULL;
	json_t *before = event->previous ? registry_record_json(event->previous) : NULL;
	bool wanted = watch_wants(watch, now), was_wanted = watch_wants(watch, before), fast = true;
	char number[24];

	snprintf(number, sizeof(number), "%" PRIu64, event->record.mod_revision);
	if (wanted) {
		fast = event_send(watch, was_wanted ? "MODIFIED" : "ADDED", json_incref(now));
	} else if (was_wanted) {
		json_object_set_new(json_object_get(before, "metadata"), "resourceVersion", json_string(number));
		fast = event_send(watch, "DELETED", json_incref(before));
	}
	json_decref(now);
	json_decref(before);
	return fast;
}

static void watch_events(void *context, const struct store_event *events, size_t count, uint64_t revision)
{
	struct watch *watch = context;

	(void)revision;
	for (size_t i = 0; i < count; i++) {
		if (!change_send(watch, &events[i])) {
			watch_end(watch, true);
			return;
		}
	}
}

static void watch_failed(void *context, int status, const struct error *error)
{
	struct watch *watch = context;
	int code = status == -ESTALE ? 410 : status_of_errno(status);
	const char *text = error && *error->text ? error->text : strerror(-status);

	(void)event_send(watch, "ERROR", status_failure(code, NULL, text));
	watch_end(watch, false);
}

static void watch_follow(struct watch *watch, uint64_t from)
{
	static const struct store_watch_handler handler = {.events = watch_events, .failed = watch_failed};

	watch->changes = store_watch_new(watch->api->backend.store, watch->prefix, from, &handler, watch);
}

static void watch_listed(void *context, int status, const struct store_result *result, const struct error *error)
{
	struct watch *watch = context;

	watch->listing = false;
	if (!watch->exchange) {
		watch_free_if_done(watch);
		return;
	}
	if (status < 0) {
		watch_failed(watch, status, error);
		return;
	}
	for (size_t i = 0; i < result->steps[0].record_count; i++) {
		const struct store_event event = {.kind = STORE_EVENT_PUT, .record = result->steps[0].records[i]};

		if (!change_send(watch, &event)) {
			watch_end(watch, true);
			return;
		}
	}
	watch_follow(watch, result->revision + 1);
}

static bool number_parse(const char *text, uint64_t *ret_number)
{
	char *end;

	if (!text || !*text || strspn(text, "0123456789") != strlen(text))
		return false;
	errno = 0;
	*ret_number = strtoull(text, &end, 10);
	return errno == 0;
}

/* The options of the request; false after an answer. */
static bool watch_options_read(struct watch *watch, const struct object_path *path, uint64_t *ret_revision, uint64_t *ret_seconds)
{
	const struct http_request *request = http_exchange_request(watch->exchange);
	const char *revision = http_request_query(request, "resourceVersion");
	const char *seconds = http_request_query(request, "timeoutSeconds");
	struct error error = {0};

	*ret_revision = *ret_seconds = 0;
	if (label_query_parse(http_request_query(request, "labelSelector"), &watch->labels, &error) < 0 ||
	    field_query_parse(http_request_query(request, "fieldSelector"), &watch->fields, &error) < 0)
		;
	else if (registry_prefix(path->info, path->namespace_name, watch->prefix) < 0)
		error_set(&error, EINVAL, "the namespace's name is too long");
	else if (revision && *revision && !number_parse(revision, ret_revision))
		error_set(&error, EINVAL, "resourceVersion must be a number");
	else if (seconds && (!number_parse(seconds, ret_seconds) || *ret_seconds > WATCH_SECONDS_MAX))
		error_set(&error, EINVAL, "timeoutSeconds must be a number up to %d", WATCH_SECONDS_MAX);
	else
		return true;
	reply_failure(watch->exchange, 400, NULL, "%s", error.text);
	watch->exchange = NULL;
	return false;
}

void objects_watch(struct api *api, struct http_exchange *exchange, const struct object_path *path)
{
	struct watch *watch = calloc(1, sizeof(*watch));
	uint64_t revision, seconds;

	if (!watch)
		abort();
	watch->api = api_get(api);
	watch->exchange = exchange;
	if (!watch_options_read(watch, path, &revision, &seconds)) {
		watch_free_if_done(watch);
		return;
	}
	http_stream_begin(exchange, 200, CONTENT_JSON);
	http_exchange_on_gone(exchange, watch_gone, watch);
	if (seconds) {
		struct timeval time = {.tv_sec = (time_t)seconds};

		watch->timer = evtimer_new(api->base, watch_time_is_up, watch);
		evtimer_add(watch->timer, &time);
	}
	if (revision) {
		watch_follow(watch, revision + 1);
	} else {
		watch->listing = true;
		store_list(api->backend.store, watch->prefix, watch_listed, watch);
	}
}

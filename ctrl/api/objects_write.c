/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing objects: read what is there, decide (object_change.h), ask the daemon, store all or nothing, answer after the
 * commit. One write at a time, in the order of arrival, so that the daemon's check sees what came before; the transaction
 * compares revisions all the same, since others write to the store too.
 */
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/lib/log.h"
#include "ctrl/api/api_internal.h"
#include "ctrl/api/object_change.h"

#define WRITE_ATTEMPTS_MAX 5
#define WRITES_WAITING_MAX 256

enum outcome { OUTCOME_UNCHANGED, OUTCOME_CREATED, OUTCOME_CONFIGURED, OUTCOME_DELETED };

struct write_item {
	struct change_request request;
	char *namespace_name, *name;
	json_t *body;
	char key[REGISTRY_KEY_SIZE];
	json_t *live;
	uint64_t live_revision; /* 0: not there */
	json_t *wanted;
	struct object *object; /* of `wanted`, or of `live` for a deletion */
	char *value;
	enum outcome outcome;
};

struct write_job {
	TAILQ_ENTRY(write_job) link;
	struct api *api;
	struct http_exchange *exchange;
	struct write_item *items;
	size_t count;
	bool bulk; /* answered as /selvage/v1/apply does */
	bool dry_run;
	unsigned int attempts;
	uint64_t revision;
	struct diagnostics diagnostics;
};

/* --- life -------------------------------------------------------------------------------------------------------------- */

static void item_forget(struct write_item *item)
{
	json_decref(item->live);
	json_decref(item->wanted);
	object_free(item->object);
	free(item->value);
	item->live = item->wanted = NULL;
	item->object = NULL;
	item->value = NULL;
}

static void job_free(struct write_job *job)
{
	for (size_t i = 0; i < job->count; i++) {
		item_forget(&job->items[i]);
		json_decref(job->items[i].body);
		free(job->items[i].namespace_name);
		free(job->items[i].name);
	}
	free(job->items);
	diagnostics_done(&job->diagnostics);
	api_put(job->api);
	free(job);
}

static struct write_job *job_new(struct api *api, struct http_exchange *exchange, size_t count)
{
	struct write_job *job = calloc(1, sizeof(*job));

	if (!job || !(job->items = calloc(count + 1, sizeof(*job->items))))
		abort();
	job->api = api_get(api);
	job->exchange = exchange;
	job->count = count;
	job->dry_run = http_request_query(http_exchange_request(exchange), "dryRun") != NULL;
	diagnostics_init(&job->diagnostics);
	return job;
}

/* Takes over `body`. */
static int item_init(struct write_item *item, enum change_mode mode, const struct object_kind_info *info,
		     const char *namespace_name, const char *name, json_t *body)
{
	item->namespace_name = strdup(info->namespaced && namespace_name ? namespace_name : "");
	item->name = strdup(name);
	item->body = body;
	if (!item->namespace_name || !item->name)
		abort();
	item->request = (struct change_request){.mode = mode, .info = info, .namespace_name = item->namespace_name,
						.name = item->name, .body = body};
	return registry_key(info, item->namespace_name, item->name, item->key);
}

static void job_start(struct write_job *job);

/* After the answer: makes way for the next one. */
static void job_end(struct write_job *job)
{
	struct api *api = job->api;
	bool was_first = TAILQ_FIRST(&api->writes) == job;

	TAILQ_REMOVE(&api->writes, job, link);
	if (was_first && !api->closed && !TAILQ_EMPTY(&api->writes))
		job_start(TAILQ_FIRST(&api->writes));
	job_free(job);
}

void writes_cancel(struct api *api)
{
	struct write_job *job, *first = TAILQ_FIRST(&api->writes);

	while (first && (job = TAILQ_NEXT(first, link))) {
		reply_error(job->exchange, -ECANCELED, NULL);
		job_end(job);
	}
}

static void job_submit(struct write_job *job)
{
	struct api *api = job->api;
	struct write_job *waiting;
	size_t count = 0;

	TAILQ_FOREACH(waiting, &api->writes, link)
		count++;
	if (count >= WRITES_WAITING_MAX) {
		reply_failure(job->exchange, 503, NULL, "%zu writes are waiting already", count);
		job_free(job);
		return;
	}
	TAILQ_INSERT_TAIL(&api->writes, job, link);
	if (count == 0)
		job_start(job);
}

/* --- the answer -------------------------------------------------------------------------------------------------------- */

static json_t *item_json(const struct write_item *item, uint64_t revision)
{
	json_t *json = json_deep_copy(item->wanted ? item->wanted : item->live);
	char number[24];

	snprintf(number, sizeof(number), "%" PRIu64, item->outcome == OUTCOME_UNCHANGED ? item->live_revision : revision);
	json_object_set_new(json_object_get(json, "metadata"), "resourceVersion", json_string(number));
	return json;
}

static json_t *deleted_json(const struct write_item *item)
{
	return json_pack("{s:s, s:s, s:{}, s:s, s:{s:s, s:s, s:s, s:O?}}", "kind", "Status", "apiVersion", "v1", "metadata",
			 "status", "Success", "details", "name", item->name, "group", item->request.info->group, "kind",
			 item->request.info->plural, "uid", json_object_get(json_object_get(item->live, "metadata"), "uid"));
}

static json_t *bulk_json(const struct write_job *job)
{
	static const char *const outcomes[] = {"unchanged", "created", "configured", "deleted"};
	json_t *items = json_array();

	for (size_t i = 0; i < job->count; i++) {
		const struct write_item *item = &job->items[i];
		json_t *entry = json_pack("{s:s, s:s, s:s, s:s, s:s}", "apiVersion", item->request.info->api_version, "kind",
					  item->request.info->name, "namespace", item->namespace_name, "name", item->name,
					  "result", outcomes[item->outcome]);

		if (job->dry_run) {
			json_object_set_new(entry, "object", item_json(item, item->live_revision));
			json_object_set(entry, "live", item->live ? item->live : json_null());
		}
		json_array_append_new(items, entry);
	}
	return json_pack("{s:o, s:o, s:b, s:I}", "items", items, "warnings", diagnostics_to_json(&job->diagnostics), "dryRun",
			 job->dry_run, "revision", (json_int_t)job->revision);
}

static void job_succeed(struct write_job *job)
{
	const struct write_item *item = &job->items[0];

	if (!job->bulk)
		reply_warnings_add(job->exchange, &job->diagnostics);
	if (job->bulk)
		reply_json(job->exchange, 200, bulk_json(job));
	else if (item->outcome == OUTCOME_DELETED)
		reply_json(job->exchange, 200, deleted_json(item));
	else
		reply_json(job->exchange, item->outcome == OUTCOME_CREATED ? 201 : 200, item_json(item, job->revision));
	job_end(job);
}

/* --- deciding ---------------------------------------------------------------------------------------------------------- */

/* RFC 9562 version 4. */
static void uid_make(char uid[static 37])
{
	uint8_t b[16];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		abort();
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	snprintf(uid, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4],
		 b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static void time_make(char text[static 24])
{
	time_t now = time(NULL);
	struct tm utc;

	strftime(text, 24, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
}

/* False after an answer. */
static bool item_decide(struct write_job *job, struct write_item *item)
{
	char uid[37], now[24], where[OBJECT_REFERENCE_SIZE] = "";
	const struct change_stamp stamp = {.uid = uid, .time = now};
	struct change_refusal refusal;

	uid_make(uid);
	time_make(now);
	if (change_compute(&item->request, item->live, &stamp, &item->wanted, &refusal) < 0) {
		if (job->bulk)
			snprintf(where, sizeof(where), "%s %s/%s: ", item->request.info->name, item->namespace_name, item->name);
		reply_failure(job->exchange, refusal.status, refusal.reason, "%s%s", where, refusal.text);
		return false;
	}
	if (item->request.mode == CHANGE_DELETE) {
		item->outcome = OUTCOME_DELETED;
		/* What is damaged can still be deleted. */
		_cleanup_(diagnostics_done) struct diagnostics ignored;

		diagnostics_init(&ignored);
		if (object_from_json(item->live, &item->object, &ignored) < 0)
			item->object = NULL;
		return true;
	}
	if (object_from_json(item->wanted, &item->object, &job->diagnostics) < 0) {
		reply_diagnostics(job->exchange, &job->diagnostics);
		return false;
	}
	if (item->object->kind != item->request.info->kind) {
		reply_failure(job->exchange, 400, NULL, "the body is a %s of %s, but the request is for %s",
			      object_kind_info(item->object->kind)->name, object_kind_info(item->object->kind)->api_version,
			      item->request.info->plural);
		return false;
	}
	item->outcome = !item->live				    ? OUTCOME_CREATED
			: change_is_none(item->live, item->wanted) ? OUTCOME_UNCHANGED
								    : OUTCOME_CONFIGURED;
	return true;
}

/* Asks the daemon about what would change. */
static int job_check(struct write_job *job, struct error *error)
{
	const struct api_backend *backend = &job->api->backend;
	_cleanup_(freep) struct api_change *changes = calloc(job->count + 1, sizeof(*changes));
	size_t count = 0;

	if (!changes)
		abort();
	for (size_t i = 0; i < job->count; i++) {
		const struct write_item *item = &job->items[i];

		if (item->outcome != OUTCOME_UNCHANGED && item->object)
			changes[count++] = (struct api_change){item->object, item->outcome == OUTCOME_DELETED};
	}
	return count && backend->check ? backend->check(backend->context, changes, count, error) : 0;
}

/* --- storing ----------------------------------------------------------------------------------------------------------- */

static void write_done(void *context, int status, const struct store_result *result, const struct error *error)
{
	struct write_job *job = context;

	if (status < 0) {
		reply_error(job->exchange, status, error);
		job_end(job);
		return;
	}
	if (result->succeeded) {
		job->revision = result->revision;
		job->api->writes_total++;
		job_succeed(job);
		return;
	}
	if (++job->attempts < WRITE_ATTEMPTS_MAX && !job->api->closed) {
		job_start(job);
		return;
	}
	reply_failure(job->exchange, 409, NULL, "somebody else keeps changing the same objects; try again");
	job_end(job);
}

static void job_store(struct write_job *job)
{
	_cleanup_(freep) struct store_compare *compares = calloc(job->count + 1, sizeof(*compares));
	_cleanup_(freep) struct store_step *steps = calloc(job->count + 1, sizeof(*steps));
	struct store_transaction transaction = {.compares = compares, .then_steps = steps};

	if (!compares || !steps)
		abort();
	for (size_t i = 0; i < job->count; i++) {
		struct write_item *item = &job->items[i];
		struct store_step *step = &steps[transaction.then_count];

		if (item->outcome == OUTCOME_UNCHANGED)
			continue;
		compares[transaction.compare_count++] = (struct store_compare){
			.kind = STORE_COMPARE_MOD_REVISION, .key = item->key, .number = item->live_revision};
		step->kind = item->outcome == OUTCOME_DELETED ? STORE_DELETE : STORE_PUT;
		step->key = item->key;
		if (step->kind == STORE_PUT) {
			item->value = registry_value(item->wanted);
			step->value = store_text(item->value);
		}
		transaction.then_count++;
	}
	if (transaction.then_count && !job->dry_run)
		store_transact(job->api->backend.store, &transaction, write_done, job);
	else
		job_succeed(job);
}

static void read_done(void *context, int status, const struct store_result *result, const struct error *error)
{
	struct write_job *job = context;
	struct error refusal = {0};

	if (status == 0 && job->api->closed)
		status = -ECANCELED;
	if (status < 0) {
		reply_error(job->exchange, status, error);
		job_end(job);
		return;
	}
	job->revision = result->revision;
	for (size_t i = 0; i < job->count; i++) {
		struct write_item *item = &job->items[i];

		item_forget(item);
		if (result->steps[i].record_count) {
			item->live_revision = result->steps[i].records[0].mod_revision;
			item->live = registry_record_json(&result->steps[i].records[0]);
		} else {
			item->live_revision = 0;
		}
		if (!item_decide(job, item)) {
			job_end(job);
			return;
		}
	}
	status = job_check(job, &refusal);
	if (status < 0) {
		reply_error(job->exchange, status, &refusal);
		job_end(job);
		return;
	}
	job_store(job);
}

static void job_start(struct write_job *job)
{
	_cleanup_(freep) struct store_step *steps = calloc(job->count + 1, sizeof(*steps));
	const struct store_transaction transaction = {.then_steps = steps, .then_count = job->count};

	if (!steps)
		abort();
	for (size_t i = 0; i < job->count; i++)
		steps[i] = (struct store_step){.kind = STORE_GET, .key = job->items[i].key};
	diagnostics_done(&job->diagnostics);
	diagnostics_init(&job->diagnostics);
	store_transact(job->api->backend.store, &transaction, read_done, job);
}

/* --- requests ---------------------------------------------------------------------------------------------------------- */

/* The object in a YAML body; NULL after an answer. */
static json_t *yaml_body(struct http_exchange *exchange)
{
	const struct http_request *request = http_exchange_request(exchange);
	_cleanup_(diagnostics_done) struct diagnostics diagnostics;
	struct object_list list = {0};
	json_t *json = NULL;

	diagnostics_init(&diagnostics);
	if (manifest_load(request->body ? request->body : "", request->content_length, "request", &list, &diagnostics) < 0)
		reply_diagnostics(exchange, &diagnostics);
	else if (list.count != 1)
		reply_failure(exchange, 400, NULL, "the body must hold one object, not %zu", list.count);
	else
		json = object_to_json(list.items[0]);
	object_list_done(&list);
	return json;
}

static json_t *json_body(struct http_exchange *exchange)
{
	const struct http_request *request = http_exchange_request(exchange);
	json_error_t problem;
	json_t *json;

	/* Other types are read as JSON all the same: what curl calls a form may well be an object. */
	if (http_request_content_is(request, "application/vnd.kubernetes.protobuf") ||
	    http_request_content_is(request, "application/cbor")) {
		reply_failure(exchange, 415, NULL, "the body must be application/json or application/yaml");
		return NULL;
	}
	json = json_loadb(request->body ? request->body : "", request->content_length, JSON_REJECT_DUPLICATES, &problem);
	if (json_is_object(json))
		return json;
	if (json)
		reply_failure(exchange, 400, NULL, "the body must be a JSON object");
	else
		reply_failure(exchange, 400, NULL, "the body is not JSON: line %d, column %d: %s", problem.line, problem.column,
			      problem.text);
	json_decref(json);
	return NULL;
}

void objects_refuse(struct http_exchange *exchange, const struct object_path *path)
{
	if (path->info->namespaced && !path->namespace_name)
		reply_not_allowed(exchange, "GET, HEAD"); /* what all namespaces have */
	else
		reply_not_allowed(exchange, path->name ? "GET, HEAD, PUT, PATCH, DELETE" : "GET, HEAD, POST");
}

/* Which change a request is; false after an answer. */
static bool mode_of_request(struct http_exchange *exchange, const struct object_path *path, enum change_mode *ret_mode)
{
	const struct http_request *request = http_exchange_request(exchange);
	bool post = strcmp(request->method, "POST") == 0;

	if (post == (path->name != NULL)) {
		objects_refuse(exchange, path);
		return false;
	}
	if (post)
		*ret_mode = CHANGE_CREATE;
	else if (strcmp(request->method, "PUT") == 0)
		*ret_mode = CHANGE_REPLACE;
	else if (strcmp(request->method, "DELETE") == 0)
		*ret_mode = CHANGE_DELETE;
	else if (http_request_content_is(request, "application/merge-patch+json"))
		*ret_mode = CHANGE_MERGE;
	else if (http_request_content_is(request, "application/strategic-merge-patch+json"))
		*ret_mode = CHANGE_STRATEGIC;
	else if (http_request_content_is(request, "application/apply-patch+yaml"))
		*ret_mode = CHANGE_APPLY;
	else {
		reply_failure(exchange, 415, NULL, "a patch must be application/merge-patch+json, "
			      "application/strategic-merge-patch+json or application/apply-patch+yaml");
		return false;
	}
	return true;
}

void objects_write(struct api *api, struct http_exchange *exchange, const struct object_path *path)
{
	const struct http_request *request = http_exchange_request(exchange);
	struct write_job *job;
	enum change_mode mode;
	json_t *body = NULL;
	const char *name;

	if (path->info->namespaced && !path->namespace_name) {
		objects_refuse(exchange, path);
		return;
	}
	if (!mode_of_request(exchange, path, &mode))
		return;
	if (mode != CHANGE_DELETE || request->content_length) {
		bool yaml = mode == CHANGE_APPLY || http_request_content_is(request, "application/yaml");

		body = yaml ? yaml_body(exchange) : json_body(exchange);
		if (!body)
			return;
	}
	name = path->name ? path->name : json_string_value(json_object_get(json_object_get(body, "metadata"), "name"));
	if (!name || !*name || strchr(name, '/')) {
		reply_failure(exchange, 422, NULL, "metadata.name is missing or is not a name");
		json_decref(body);
		return;
	}
	job = job_new(api, exchange, 1);
	if (item_init(&job->items[0], mode, path->info, path->namespace_name, name, body) < 0) {
		reply_failure(exchange, 422, NULL, "the name is too long");
		job_free(job);
		return;
	}
	job_submit(job);
}

/* Fills the job from the objects; false after an answer. */
static bool apply_items_init(struct write_job *job, const struct object_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct object *object = list->items[i];

		if (item_init(&job->items[i], CHANGE_APPLY, object_kind_info(object->kind), object->meta.namespace_name,
			      object->meta.name, object_to_json(object)) < 0) {
			reply_failure(job->exchange, 422, NULL, "the name \"%.100s…\" is too long", object->meta.name);
			return false;
		}
	}
	return true;
}

void objects_apply(struct api *api, struct http_exchange *exchange)
{
	const struct http_request *request = http_exchange_request(exchange);
	_cleanup_(diagnostics_done) struct diagnostics diagnostics;
	struct object_list list = {0};
	struct write_job *job;

	diagnostics_init(&diagnostics);
	if (manifest_load(request->body ? request->body : "", request->content_length, "request", &list, &diagnostics) < 0) {
		reply_diagnostics(exchange, &diagnostics);
	} else if (list.count == 0 || list.count > STORE_TRANSACTION_STEPS_MAX) {
		reply_failure(exchange, 422, NULL, list.count ? "more than %d objects in one apply" : "there is no object in it",
			      STORE_TRANSACTION_STEPS_MAX);
	} else {
		job = job_new(api, exchange, list.count);
		job->bulk = true;
		if (apply_items_init(job, &list))
			job_submit(job);
		else
			job_free(job);
	}
	object_list_done(&list);
}

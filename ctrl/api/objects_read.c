/* SPDX-License-Identifier: Apache-2.0 */
/* GET of one object and of lists. */
#include <inttypes.h>
#include <string.h>

#include "ctrl/api/api_internal.h"
#include "ctrl/api/label_query.h"

struct read_job {
	struct api *api;
	struct http_exchange *exchange;
	const struct object_kind_info *info;
	char name[256];
	struct label_query *labels, *fields;
};

static void read_job_free(struct read_job *job)
{
	label_query_free(job->labels);
	label_query_free(job->fields);
	api_put(job->api);
	free(job);
}

static struct read_job *read_job_new(struct api *api, struct http_exchange *exchange, const struct object_path *path)
{
	struct read_job *job = calloc(1, sizeof(*job));

	if (!job)
		abort();
	job->api = api_get(api);
	job->exchange = exchange;
	job->info = path->info;
	snprintf(job->name, sizeof(job->name), "%s", path->name ? path->name : "");
	return job;
}

static void get_done(void *context, int status, const struct store_result *result, const struct error *error)
{
	struct read_job *job = context;
	json_t *json;

	if (status < 0) {
		reply_error(job->exchange, status, error);
	} else if (!result->steps[0].record_count) {
		reply_failure(job->exchange, 404, NULL, "%s \"%s\" not found", job->info->plural, job->name);
	} else {
		json = registry_record_json(&result->steps[0].records[0]);
		if (json)
			reply_json(job->exchange, 200, json);
		else
			reply_failure(job->exchange, 500, NULL, "the stored value of %s \"%s\" is damaged", job->info->singular,
				      job->name);
	}
	read_job_free(job);
}

void objects_get(struct api *api, struct http_exchange *exchange, const struct object_path *path)
{
	char key[REGISTRY_KEY_SIZE];

	if (registry_key(path->info, path->namespace_name, path->name, key) < 0)
		reply_failure(exchange, 404, NULL, "%s \"%.100s…\" not found", path->info->plural, path->name);
	else
		store_get(api->backend.store, key, get_done, read_job_new(api, exchange, path));
}

static json_t *list_new(const struct object_kind_info *info, uint64_t revision)
{
	char kind[64], number[24];

	snprintf(kind, sizeof(kind), "%sList", info->name);
	snprintf(number, sizeof(number), "%" PRIu64, revision);
	return json_pack("{s:s, s:s, s:{s:s}, s:[]}", "kind", kind, "apiVersion", info->api_version, "metadata",
			 "resourceVersion", number, "items");
}

static void list_done(void *context, int status, const struct store_result *result, const struct error *error)
{
	struct read_job *job = context;
	json_t *list, *items;

	if (status < 0) {
		reply_error(job->exchange, status, error);
		read_job_free(job);
		return;
	}
	list = list_new(job->info, result->revision);
	items = json_object_get(list, "items");
	for (size_t i = 0; i < result->steps[0].record_count; i++) {
		json_t *json = registry_record_json(&result->steps[0].records[i]);

		if (json && label_query_matches(job->labels, json) && label_query_matches(job->fields, json))
			json_array_append_new(items, json);
		else
			json_decref(json);
	}
	reply_json(job->exchange, 200, list);
	read_job_free(job);
}

void objects_list(struct api *api, struct http_exchange *exchange, const struct object_path *path)
{
	const struct http_request *request = http_exchange_request(exchange);
	struct read_job *job = read_job_new(api, exchange, path);
	char prefix[REGISTRY_KEY_SIZE];
	struct error error = {0};

	if (label_query_parse(http_request_query(request, "labelSelector"), &job->labels, &error) < 0 ||
	    field_query_parse(http_request_query(request, "fieldSelector"), &job->fields, &error) < 0) {
		reply_failure(exchange, 400, NULL, "%s", error.text);
		read_job_free(job);
	} else if (registry_prefix(path->info, path->namespace_name, prefix) < 0) {
		reply_json(exchange, 200, list_new(path->info, 0));
		read_job_free(job);
	} else {
		store_list(api->backend.store, prefix, list_done, job);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/api/object_change.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "ctrl/api/patch.h"
#include "ctrl/api/registry.h"

static int refuse(struct change_refusal *refusal, int status, const char *reason, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static int refuse(struct change_refusal *refusal, int status, const char *reason, const char *format, ...)
{
	va_list arguments;

	refusal->status = status;
	refusal->reason = reason;
	va_start(arguments, format);
	vsnprintf(refusal->text, sizeof(refusal->text), format, arguments);
	va_end(arguments);
	return -EINVAL;
}

static const char *text_at(const json_t *object, const char *outer, const char *key)
{
	return json_string_value(json_object_get(json_object_get(object, outer), key));
}

/* Both may be absent from what is asked for; then nothing is demanded. */
static int preconditions_check(const struct change_request *request, const json_t *demands, const json_t *live,
			       struct change_refusal *refusal)
{
	static const char *const names[] = {"resourceVersion", "uid"};

	for (size_t i = 0; i < array_length(names); i++) {
		const char *wanted = json_string_value(json_object_get(demands, names[i]));
		const char *present = text_at(live, "metadata", names[i]);

		if (wanted && *wanted && (!present || strcmp(wanted, present) != 0))
			return refuse(refusal, 409, "Conflict",
				      "%s \"%s\": the object has been modified: its %s is %s, not %.64s; read it again and "
				      "apply your changes to that",
				      request->info->plural, request->name, names[i], present ? present : "none", wanted);
	}
	return 0;
}

static int presence_check(const struct change_request *request, const json_t *live, struct change_refusal *refusal)
{
	if (request->mode == CHANGE_CREATE && live)
		return refuse(refusal, 409, "AlreadyExists", "%s \"%s\" already exists", request->info->plural, request->name);
	if (request->mode != CHANGE_CREATE && request->mode != CHANGE_APPLY && !live)
		return refuse(refusal, 404, "NotFound", "%s \"%s\" not found", request->info->plural, request->name);
	return 0;
}

/* What the path says and what the object says must agree; what the object leaves out is filled in. */
static int identity_check(const struct change_request *request, json_t *wanted, struct change_refusal *refusal)
{
	const struct {
		const char *key, *value;
	} parts[] = {{"name", request->name}, {"namespace", request->namespace_name}};
	json_t *metadata = json_object_get(wanted, "metadata");

	for (size_t i = 0; i < array_length(parts); i++) {
		json_t *given = json_object_get(metadata, parts[i].key);

		if (!*parts[i].value)
			continue;
		if (!given)
			json_object_set_new(metadata, parts[i].key, json_string(parts[i].value));
		else if (!json_is_string(given) || strcmp(json_string_value(given), parts[i].value) != 0)
			return refuse(refusal, 400, "BadRequest", "metadata.%s of the object is \"%.100s\", but the request is for "
				      "\"%s\"", parts[i].key, json_is_string(given) ? json_string_value(given) : "not a text",
				      parts[i].value);
	}
	return 0;
}

/* Everything but metadata and status: what `generation` counts changes of. */
static bool content_equal(const json_t *a, const json_t *b)
{
	json_t *left = json_copy((json_t *)a), *right = json_copy((json_t *)b);
	bool equal;

	json_object_del(left, "metadata");
	json_object_del(left, "status");
	json_object_del(right, "metadata");
	json_object_del(right, "status");
	equal = json_equal(left, right);
	json_decref(left);
	json_decref(right);
	return equal;
}

static void server_fields_set(json_t *wanted, const json_t *live, const struct change_stamp *stamp)
{
	json_t *metadata = json_object_get(wanted, "metadata"), *before = json_object_get(live, "metadata");
	json_int_t generation = json_integer_value(json_object_get(before, "generation"));
	const char *uid = text_at(live, "metadata", "uid"), *time = text_at(live, "metadata", "creationTimestamp");

	json_object_del(metadata, "resourceVersion");
	json_object_del(metadata, "managedFields");
	json_object_del(metadata, "selfLink");
	json_object_set_new(metadata, "uid", json_string(uid ? uid : stamp->uid));
	json_object_set_new(metadata, "creationTimestamp", json_string(time ? time : stamp->time));
	if (!live || !content_equal(live, wanted))
		generation++;
	json_object_set_new(metadata, "generation", json_integer(generation));
}

/* A service's status says which addresses it was given: that is the daemon's to write. */
static void status_keep(const struct change_request *request, json_t *wanted, const json_t *live)
{
	json_t *status = json_object_get(live, "status");

	if (request->info->kind == OBJECT_SERVICE)
		json_object_del(wanted, "status");
	if (status && !json_object_get(wanted, "status"))
		json_object_set(wanted, "status", status);
}

static json_t *wanted_new(const struct change_request *request, const json_t *live)
{
	switch (request->mode) {
	case CHANGE_MERGE:
		return patch_merge(live, request->body);
	case CHANGE_STRATEGIC:
		return patch_strategic(live, request->body);
	default:
		return json_deep_copy(request->body);
	}
}

int change_compute(const struct change_request *request, const json_t *live, const struct change_stamp *stamp,
		   json_t **ret_wanted, struct change_refusal *ret_refusal)
{
	const char *demands = request->mode == CHANGE_DELETE ? "preconditions" : "metadata";
	json_t *wanted;
	int status = presence_check(request, live, ret_refusal);

	if (!status && live)
		status = preconditions_check(request, json_object_get(request->body, demands), live, ret_refusal);
	if (status < 0)
		return status;
	if (request->mode == CHANGE_DELETE) {
		*ret_wanted = NULL;
		return 0;
	}
	wanted = wanted_new(request, live);
	if (!json_is_object(json_object_get(wanted, "metadata"))) {
		json_decref(wanted);
		return refuse(ret_refusal, 400, "BadRequest", "the body must be an object with metadata");
	}
	status = identity_check(request, wanted, ret_refusal);
	if (status < 0) {
		json_decref(wanted);
		return status;
	}
	status_keep(request, wanted, live);
	registry_defaults(wanted);
	server_fields_set(wanted, live, stamp);
	*ret_wanted = wanted;
	return 0;
}

bool change_is_none(const json_t *live, const json_t *wanted)
{
	json_t *before, *metadata;
	bool equal;

	if (!live || !wanted)
		return false;
	before = json_copy((json_t *)live);
	metadata = json_copy(json_object_get(live, "metadata"));
	json_object_del(metadata, "resourceVersion");
	json_object_set_new(before, "metadata", metadata);
	equal = json_equal(before, wanted);
	json_decref(before);
	return equal;
}

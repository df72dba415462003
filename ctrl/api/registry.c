/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/api/registry.h"

#include <inttypes.h>
#include <string.h>

int registry_prefix(const struct object_kind_info *info, const char *namespace_name, char ret_key[static REGISTRY_KEY_SIZE])
{
	bool one = info->namespaced && namespace_name && *namespace_name;
	int length = snprintf(ret_key, REGISTRY_KEY_SIZE, REGISTRY_PREFIX "%s%s%s/%s%s", info->group, *info->group ? "/" : "",
			      info->plural, one ? namespace_name : "", one ? "/" : "");

	return length < REGISTRY_KEY_SIZE ? 0 : -ENAMETOOLONG;
}

int registry_key(const struct object_kind_info *info, const char *namespace_name, const char *name,
		 char ret_key[static REGISTRY_KEY_SIZE])
{
	int status = registry_prefix(info, namespace_name, ret_key);
	size_t used = status ? 0 : strlen(ret_key);

	if (status || used + strlen(name) >= REGISTRY_KEY_SIZE)
		return -ENAMETOOLONG;
	strcpy(ret_key + used, name);
	return 0;
}

/* The text behind `prefix`, or NULL. */
static const char *behind(const char *text, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

static bool name_copy(char name[static 256], const char *text, size_t length)
{
	if (!length || length > 255)
		return false;
	memcpy(name, text, length);
	name[length] = '\0';
	return true;
}

const struct object_kind_info *registry_key_parse(const char *key, char ret_namespace[static 256], char ret_name[static 256])
{
	for (size_t i = 0; i < OBJECT_KIND_COUNT; i++) {
		const struct object_kind_info *info = object_kind_info((enum object_kind)i);
		char prefix[REGISTRY_KEY_SIZE];
		const char *rest, *slash;

		if (registry_prefix(info, NULL, prefix) < 0 || !(rest = behind(key, prefix)))
			continue;
		slash = strchr(rest, '/');
		*ret_namespace = '\0';
		if (info->namespaced) {
			if (!slash || !name_copy(ret_namespace, rest, (size_t)(slash - rest)))
				return NULL;
			rest = slash + 1;
			slash = strchr(rest, '/');
		}
		return !slash && name_copy(ret_name, rest, strlen(rest)) ? info : NULL;
	}
	return NULL;
}

static void default_set(json_t *object, const char *key, const char *text)
{
	if (json_is_object(object) && (!json_object_get(object, key) || json_is_null(json_object_get(object, key))))
		json_object_set_new(object, key, json_string(text));
}

void registry_defaults(json_t *json)
{
	const char *kind = json_string_value(json_object_get(json, "kind"));
	json_t *port;
	size_t i;

	if (!kind || strcmp(kind, "EndpointSlice") != 0)
		return;
	json_array_foreach(json_object_get(json, "ports"), i, port) {
		default_set(port, "name", "");
		default_set(port, "protocol", "TCP");
	}
}

json_t *registry_record_json(const struct store_record *record)
{
	json_t *json = json_loadb(record->value.data, record->value.length, JSON_REJECT_DUPLICATES, NULL);
	json_t *metadata = json_object_get(json, "metadata");
	char revision[24];

	if (!json_is_object(metadata)) {
		json_decref(json);
		return NULL;
	}
	snprintf(revision, sizeof(revision), "%" PRIu64, record->mod_revision);
	json_object_set_new(metadata, "resourceVersion", json_string(revision));
	registry_defaults(json);
	return json;
}

int registry_record_object(const struct store_record *record, struct object **ret_object, struct diagnostics *diagnostics)
{
	json_t *json = registry_record_json(record);
	int status;

	if (!json) {
		diagnostics_add(diagnostics, DIAGNOSTIC_ERROR, NULL, 0, 0, "%s: the stored value is not an object", record->key);
		return -EINVAL;
	}
	status = object_from_json(json, ret_object, diagnostics);
	json_decref(json);
	return status;
}

char *registry_value(const json_t *json)
{
	json_t *copy = json_copy((json_t *)json), *metadata = json_copy(json_object_get(json, "metadata"));
	char *text;

	json_object_del(metadata, "resourceVersion");
	json_object_set_new(copy, "metadata", metadata);
	text = json_dumps(copy, JSON_COMPACT | JSON_ENCODE_ANY);
	json_decref(copy);
	if (!text)
		abort();
	return text;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/api/patch.h"

#include <string.h>

json_t *patch_merge(const json_t *target, const json_t *patch)
{
	json_t *result, *value;
	const char *key;

	if (!json_is_object(patch))
		return json_deep_copy(patch);
	result = json_is_object(target) ? json_deep_copy(target) : json_object();
	json_object_foreach((json_t *)patch, key, value) {
		if (json_is_null(value))
			json_object_del(result, key);
		else
			json_object_set_new(result, key, patch_merge(json_object_get(result, key), value));
	}
	return result;
}

/* The field by which items of a list are the same; NULL: the list is replaced as a whole. */
static const char *merge_key(const char *field)
{
	return strcmp(field, "ports") == 0 ? "port" : NULL;
}

static bool is_directive(const char *key)
{
	return key[0] == '$';
}

static const char *directive(const json_t *patch)
{
	const char *text = json_string_value(json_object_get(patch, "$patch"));

	return text ? text : "";
}

static size_t list_find(const json_t *list, const char *key, const json_t *value)
{
	size_t i = 0;

	while (i < json_array_size(list) && !json_equal(json_object_get(json_array_get(list, i), key), value))
		i++;
	return i;
}

static json_t *list_merge(const json_t *target, const json_t *patch, const char *key)
{
	json_t *result = json_is_array(target) ? json_deep_copy(target) : json_array(), *item;
	size_t i;

	json_array_foreach(patch, i, item) {
		size_t place = list_find(result, key, json_object_get(item, key));

		if (strcmp(directive(item), "replace") == 0)
			json_array_clear(result);
		else if (strcmp(directive(item), "delete") == 0)
			json_array_remove(result, place);
		else if (place < json_array_size(result))
			json_array_set_new(result, place, patch_strategic(json_array_get(result, place), item));
		else
			json_array_append_new(result, patch_strategic(NULL, item));
	}
	return result;
}

static void keys_retain(json_t *object, const json_t *names)
{
	void *next;

	for (void *i = json_object_iter(object); i; i = next) {
		bool keep = false;

		next = json_object_iter_next(object, i);
		for (size_t n = 0; n < json_array_size(names); n++) {
			const char *name = json_string_value(json_array_get(names, n));

			keep |= name && strcmp(name, json_object_iter_key(i)) == 0;
		}
		if (!keep)
			json_object_del(object, json_object_iter_key(i));
	}
}

json_t *patch_strategic(const json_t *target, const json_t *patch)
{
	json_t *result, *value;
	const char *key;

	if (!json_is_object(patch))
		return json_deep_copy(patch);
	if (!json_is_object(target) || strcmp(directive(patch), "replace") == 0)
		result = json_object();
	else
		result = json_deep_copy(target);
	if (json_is_array(json_object_get(patch, "$retainKeys")))
		keys_retain(result, json_object_get(patch, "$retainKeys"));
	json_object_foreach((json_t *)patch, key, value) {
		const json_t *old = json_object_get(result, key);

		if (is_directive(key))
			continue;
		if (json_is_null(value) || (json_is_object(value) && strcmp(directive(value), "delete") == 0))
			json_object_del(result, key);
		else if (json_is_array(value) && merge_key(key))
			json_object_set_new(result, key, list_merge(old, value, merge_key(key)));
		else
			json_object_set_new(result, key, patch_strategic(old, value));
	}
	return result;
}

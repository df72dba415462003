/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/manifest/tree.h"

#include <string.h>

#include "base/lib/utf8.h"

#define TREE_DEPTH_MAX 64

static struct yaml_node *node_new(struct decoder *decoder, enum yaml_kind kind)
{
	struct yaml_node *node = arena_take(decoder->arena, sizeof(*node));

	node->kind = kind;
	node->text = "";
	return node;
}

static struct yaml_node *node_of_text(struct decoder *decoder, const char *text, size_t length, bool plain)
{
	struct yaml_node *node = node_new(decoder, YAML_SCALAR);

	if (strlen(text) != length) {
		decoder_error(decoder, node, "text must not hold a zero byte");
		return NULL;
	}
	node->text = text;
	node->length = length;
	node->plain = plain;
	return node;
}

static struct yaml_node *node_of_number(struct decoder *decoder, const json_t *json)
{
	_cleanup_(freep) char *text = json_dumps(json, JSON_ENCODE_ANY);

	if (!text)
		abort();
	return node_of_text(decoder, arena_copy(decoder->arena, text, strlen(text)), strlen(text), true);
}

static struct yaml_node *node_of_json(struct decoder *decoder, const json_t *json, unsigned int depth);

static struct yaml_node *node_of_array(struct decoder *decoder, const json_t *json, unsigned int depth)
{
	struct yaml_node *node = node_new(decoder, YAML_SEQUENCE);

	node->count = json_array_size(json);
	node->items = arena_array(decoder->arena, node->count, sizeof(*node->items));
	for (size_t i = 0; i < node->count; i++) {
		size_t path = decoder_enter_item(decoder, i);

		node->items[i] = node_of_json(decoder, json_array_get(json, i), depth + 1);
		decoder_leave(decoder, path);
		if (!node->items[i])
			return NULL;
	}
	return node;
}

static struct yaml_node *node_of_object(struct decoder *decoder, const json_t *json, unsigned int depth)
{
	struct yaml_node *node = node_new(decoder, YAML_MAPPING);
	size_t count = json_object_size(json);
	const char *key;
	json_t *value;

	node->items = arena_array(decoder->arena, count, sizeof(*node->items));
	node->keys = arena_array(decoder->arena, count, sizeof(*node->keys));
	json_object_foreach((json_t *)json, key, value) {
		size_t path = decoder_enter_key(decoder, key);
		struct yaml_node *key_node = node_of_text(decoder, key, strlen(key), false);
		struct yaml_node *value_node = node_of_json(decoder, value, depth + 1);

		decoder_leave(decoder, path);
		if (!key_node || !value_node)
			return NULL;
		node->keys[node->count] = key_node;
		node->items[node->count++] = value_node;
	}
	return node;
}

static struct yaml_node *node_of_json(struct decoder *decoder, const json_t *json, unsigned int depth)
{
	if (depth > TREE_DEPTH_MAX) {
		decoder_error(decoder, node_new(decoder, YAML_NULL), "is nested too deeply: more than %d levels",
			      TREE_DEPTH_MAX);
		return NULL;
	}
	switch (json_typeof(json)) {
	case JSON_OBJECT:
		return node_of_object(decoder, json, depth);
	case JSON_ARRAY:
		return node_of_array(decoder, json, depth);
	case JSON_STRING:
		return node_of_text(decoder, json_string_value(json), json_string_length(json), false);
	case JSON_INTEGER:
	case JSON_REAL:
		return node_of_number(decoder, json);
	case JSON_TRUE:
		return node_of_text(decoder, "true", 4, true);
	case JSON_FALSE:
		return node_of_text(decoder, "false", 5, true);
	case JSON_NULL:
		break;
	}
	return node_new(decoder, YAML_NULL);
}

const struct yaml_node *tree_from_json(struct decoder *decoder, const json_t *json)
{
	return node_of_json(decoder, json, 1);
}

static json_t *json_of_scalar(const struct yaml_node *node)
{
	int64_t integer;

	switch (scalar_type(node)) {
	case SCALAR_BOOL:
		return json_boolean(scalar_bool(node));
	case SCALAR_INTEGER:
		if (scalar_integer(node, &integer))
			return json_integer(integer);
		return json_real(strtod(node->text, NULL)) ?: json_string(node->text);
	case SCALAR_REAL:
		return json_real(strtod(node->text, NULL));
	case SCALAR_TEXT:
		break;
	}
	return json_stringn(node->text, node->length);
}

json_t *tree_to_json(const struct yaml_node *node)
{
	json_t *json;

	if (node->kind == YAML_NULL)
		return json_null();
	if (node->kind == YAML_SCALAR)
		return json_of_scalar(node);
	json = node->kind == YAML_MAPPING ? json_object() : json_array();
	for (size_t i = 0; i < node->count; i++) {
		json_t *item = tree_to_json(node->items[i]);

		if (node->kind == YAML_MAPPING)
			json_object_set_new(json, node->keys[i]->text, item);
		else
			json_array_append_new(json, item);
	}
	return json;
}

bool tree_check_utf8(struct diagnostics *diagnostics, const char *file, const char *text, size_t length)
{
	uint32_t line = 1, column = 1;

	for (size_t at = 0; at < length;) {
		size_t sequence = utf8_length(text + at, length - at);

		if (sequence == 0 || text[at] == '\0') {
			diagnostics_add(diagnostics, DIAGNOSTIC_ERROR, file, line, column,
					"the byte 0x%02x is not text; a manifest is YAML in UTF-8", (unsigned char)text[at]);
			return false;
		}
		column++;
		if (text[at] == '\n') {
			line++;
			column = 1;
		}
		at += sequence;
	}
	return true;
}

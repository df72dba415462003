/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/manifest/decoder.h"

#include <stdarg.h>
#include <string.h>

static void decoder_say(struct decoder *decoder, enum diagnostic_severity severity, const struct yaml_node *node,
			const char *format, va_list arguments)
{
	const char *path = decoder->path_length ? decoder->path : "";
	char text[512];

	vsnprintf(text, sizeof(text), format, arguments);
	diagnostics_add(decoder->diagnostics, severity, decoder->file, node->line, node->column, "%s%s%s", path,
			*path ? ": " : "", text);
}

void decoder_error(struct decoder *decoder, const struct yaml_node *node, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	decoder_say(decoder, DIAGNOSTIC_ERROR, node, format, arguments);
	va_end(arguments);
}

void decoder_warning(struct decoder *decoder, const struct yaml_node *node, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	decoder_say(decoder, DIAGNOSTIC_WARNING, node, format, arguments);
	va_end(arguments);
}

static size_t decoder_enter(struct decoder *decoder, const char *format, ...) __attribute__((format(printf, 2, 3)));
static size_t decoder_enter(struct decoder *decoder, const char *format, ...)
{
	size_t before = decoder->path_length;
	va_list arguments;
	int written;

	va_start(arguments, format);
	written = vsnprintf(decoder->path + before, sizeof(decoder->path) - before, format, arguments);
	va_end(arguments);
	if (written > 0)
		decoder->path_length += (size_t)written;
	if (decoder->path_length >= sizeof(decoder->path))
		decoder->path_length = sizeof(decoder->path) - 1;
	return before;
}

size_t decoder_enter_key(struct decoder *decoder, const char *key)
{
	/* keys with dots of their own (labels, annotations) would read as a path */
	if (strchr(key, '.'))
		return decoder_enter(decoder, "[%s]", key);
	return decoder_enter(decoder, "%s%s", decoder->path_length ? "." : "", key);
}

size_t decoder_enter_item(struct decoder *decoder, size_t index)
{
	return decoder_enter(decoder, "[%zu]", index);
}

void decoder_leave(struct decoder *decoder, size_t path_length)
{
	decoder->path_length = path_length;
	decoder->path[path_length] = '\0';
}

/* --- tables ------------------------------------------------------------------------------------------------------------ */

static const struct field *field_lookup(const struct field *fields, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(fields[i].name, name) == 0)
			return &fields[i];
	return NULL;
}

/* Whether one insertion, removal, replacement or change of case makes `a` of `b`. */
static bool name_is_near(const char *a, const char *b)
{
	size_t a_length = strlen(a), b_length = strlen(b), head = 0, tail = 0;
	size_t longer = a_length > b_length ? a_length : b_length;
	size_t shorter = a_length < b_length ? a_length : b_length;

	if (strcasecmp(a, b) == 0)
		return true;
	while (head < shorter && a[head] == b[head])
		head++;
	while (tail < shorter - head && a[a_length - 1 - tail] == b[b_length - 1 - tail])
		tail++;
	/* two neighbours changed places: what is left of both is two characters long */
	if (a_length == b_length && longer - head - tail == 2)
		return a[head] == b[head + 1] && a[head + 1] == b[head];
	return longer >= 3 && longer - head - tail <= 1;
}

static void field_unknown(struct decoder *decoder, const struct yaml_node *key, const struct field *fields, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (name_is_near(fields[i].name, key->text)) {
			decoder_error(decoder, key, "there is no field \"%.80s\" here; did you mean \"%s\"?", key->text,
				      fields[i].name);
			return;
		}
	}
	decoder_error(decoder, key, "there is no field \"%.80s\" here; remove it", key->text);
}

static void fields_require(struct decoder *decoder, const struct yaml_node *node, const struct field *fields, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct yaml_node *value = fields[i].required ? yaml_lookup(node, fields[i].name) : NULL;

		if (fields[i].required && (!value || value->kind == YAML_NULL))
			decoder_error(decoder, node, "the field \"%s\" is missing", fields[i].name);
	}
}

void fields_read(struct decoder *decoder, const struct yaml_node *node, const struct field *fields, size_t count, void *target)
{
	if (node->kind != YAML_MAPPING) {
		decoder_error(decoder, node, "must be a mapping (field: value), not %s", yaml_kind_words(node));
		return;
	}
	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_node *key = node->keys[i], *value = node->items[i];
		const struct field *field = field_lookup(fields, count, key->text);
		size_t path;

		if (!field) {
			field_unknown(decoder, key, fields, count);
			continue;
		}
		if (value->kind == YAML_NULL)
			continue;
		path = decoder_enter_key(decoder, key->text);
		if (field->read)
			field->read(decoder, value, target ? (char *)target + field->offset : NULL);
		else
			decoder_warning(decoder, key, "is kept but has no effect: Selvage does not honour this field");
		decoder_leave(decoder, path);
	}
	fields_require(decoder, node, fields, count);
}

void list_read(struct decoder *decoder, const struct yaml_node *node, size_t item_size, field_reader *read, void *ret_items,
	       size_t *ret_count)
{
	bool whole = true;
	char *items;

	if (!node_is_list(decoder, node))
		return;
	items = arena_array(decoder->arena, node->count, item_size);
	for (size_t i = 0; i < node->count; i++) {
		size_t path = decoder_enter_item(decoder, i);

		whole &= node->items[i]->kind != YAML_NULL;
		if (node->items[i]->kind == YAML_NULL)
			decoder_error(decoder, node->items[i], "is empty; remove the item or give it a value");
		else
			read(decoder, node->items[i], items + i * item_size);
		decoder_leave(decoder, path);
	}
	/* an item that no reader has filled is not fit to be looked at */
	if (!whole)
		return;
	*(void **)ret_items = items;
	*ret_count = node->count;
}

/* --- values ------------------------------------------------------------------------------------------------------------ */

bool node_is_list(struct decoder *decoder, const struct yaml_node *node)
{
	if (node->kind == YAML_SEQUENCE)
		return true;
	decoder_error(decoder, node, "must be a list (lines that begin with \"- \"), not %s", yaml_kind_words(node));
	return false;
}

bool node_text(struct decoder *decoder, const struct yaml_node *node, const char **ret_text)
{
	if (node->kind != YAML_SCALAR) {
		decoder_error(decoder, node, "must be text, not %s", yaml_kind_words(node));
		return false;
	}
	if (scalar_type(node) != SCALAR_TEXT) {
		decoder_error(decoder, node, "must be text, and %.80s without quotes is %s; write \"%.80s\"", node->text,
			      scalar_type(node) == SCALAR_BOOL ? "true or false in YAML" : "a number", node->text);
		return false;
	}
	*ret_text = node->text;
	return true;
}

bool node_integer(struct decoder *decoder, const struct yaml_node *node, int64_t minimum, int64_t maximum, int64_t *ret_value)
{
	int64_t value;

	if (node->kind != YAML_SCALAR) {
		decoder_error(decoder, node, "must be a number, not %s", yaml_kind_words(node));
		return false;
	}
	if (scalar_type(node) != SCALAR_INTEGER) {
		struct yaml_node unquoted = *node;

		unquoted.plain = true;
		if (!node->plain && scalar_type(&unquoted) == SCALAR_INTEGER)
			decoder_error(decoder, node, "must be a number; write %.40s without quotes", node->text);
		else
			decoder_error(decoder, node, "must be a whole number from %lld to %lld, not \"%.80s\"",
				      (long long)minimum, (long long)maximum, node->text);
		return false;
	}
	if (!scalar_integer(node, &value) || value < minimum || value > maximum) {
		decoder_error(decoder, node, "%.40s is out of range; write a number from %lld to %lld", node->text,
			      (long long)minimum, (long long)maximum);
		return false;
	}
	*ret_value = value;
	return true;
}

bool node_choice(struct decoder *decoder, const struct yaml_node *node, const char *const *words, size_t count,
		 size_t *ret_index)
{
	char list[256] = "";
	const char *text;

	if (!node_text(decoder, node, &text))
		return false;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(words[i], text) == 0) {
			*ret_index = i;
			return true;
		}
	}
	for (size_t i = 0, used = 0; i < count && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
					 i == 0 ? "" : (i + 1 == count ? " or " : ", "), words[i]);
	decoder_error(decoder, node, "must be %s, not \"%.80s\"", list, text);
	return false;
}

void field_keep(struct decoder *decoder, const struct yaml_node *node, void *target)
{
}

void field_text(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	const char *text;

	if (node_text(decoder, node, &text))
		*(const char **)target = arena_copy(decoder->arena, text, node->length);
}

void field_bool(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	if (node->kind != YAML_SCALAR || scalar_type(node) != SCALAR_BOOL)
		decoder_error(decoder, node, "must be true or false%s, not %s",
			      node->kind == YAML_SCALAR ? " without quotes" : "", yaml_kind_words(node));
	else
		*(bool *)target = scalar_bool(node);
}

void field_address(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	const char *text;

	if (node_text(decoder, node, &text) && address_parse(text, target) < 0)
		decoder_error(decoder, node, "\"%.80s\" is not an IP address; write one such as 192.0.2.10 or 2001:db8::10",
			      text);
}

void field_prefix(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	const char *text;

	if (node_text(decoder, node, &text) && prefix_parse(text, target) < 0)
		decoder_error(decoder, node, "\"%.80s\" is not a network; write one such as 192.0.2.0/24 or 2001:db8::/64",
			      text);
}

void field_port_number(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	int64_t value;

	if (node_integer(decoder, node, 1, UINT16_MAX, &value))
		*(uint16_t *)target = (uint16_t)value;
}

void field_protocol(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	static const char *const words[] = {"TCP", "UDP"};
	size_t index;

	if (node_choice(decoder, node, words, array_length(words), &index))
		*(enum protocol_name *)target = index ? PROTOCOL_UDP : PROTOCOL_TCP;
}

static void field_text_not_empty(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	*(const char **)target = "";
	field_text(decoder, node, target);
	if (node->kind == YAML_SCALAR && node->length == 0)
		decoder_error(decoder, node, "is empty; remove the item or give it a value");
}

void field_text_list(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct string_list *list = target;

	list_read(decoder, node, sizeof(*list->items), field_text_not_empty, &list->items, &list->count);
}

void field_text_map(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct key_values *values = target;
	struct key_value *items;

	if (node->kind != YAML_MAPPING) {
		decoder_error(decoder, node, "must be a mapping (key: \"text\"), not %s", yaml_kind_words(node));
		return;
	}
	items = arena_array(decoder->arena, node->count, sizeof(*items));
	for (size_t i = 0; i < node->count; i++) {
		size_t path = decoder_enter_key(decoder, node->keys[i]->text);

		items[i].key = arena_copy(decoder->arena, node->keys[i]->text, node->keys[i]->length);
		items[i].value = "";
		if (node->items[i]->kind != YAML_NULL)
			field_text(decoder, node->items[i], &items[i].value);
		decoder_leave(decoder, path);
	}
	*values = (struct key_values){.items = items, .count = node->count};
}

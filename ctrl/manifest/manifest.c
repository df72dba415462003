/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/manifest/manifest.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "ctrl/manifest/manifest_kinds.h"
#include "ctrl/manifest/reflow.h"
#include "ctrl/manifest/tree.h"

/* A slice of a hundred thousand endpoints has some megabytes; what is larger than this was not meant as a manifest. */
#define MANIFEST_BYTES_MAX ((size_t)64 << 20)
#define MANIFEST_VALUES_MAX ((size_t)4000000)
#define MANIFEST_ALIASED_MAX ((size_t)100000)
#define MANIFEST_DEPTH_MAX 48
#define MANIFEST_LINE_MAX (1 << 20)
#define FILES_MAX 10000

/* A value takes a byte of text at least: what is beyond the length can only come from aliases. */
static struct yaml_limits manifest_limits(size_t length)
{
	size_t values = length + MANIFEST_ALIASED_MAX;

	return (struct yaml_limits){
		.bytes = 2 * MANIFEST_BYTES_MAX, /* the text was measured before; reflown JSON may be twice as long */
		.nodes = values < MANIFEST_VALUES_MAX ? values : MANIFEST_VALUES_MAX,
		.depth = MANIFEST_DEPTH_MAX,
	};
}

void object_list_done(struct object_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		object_free(list->items[i]);
	free(list->items);
	*list = (struct object_list){0};
}

/* --- one object -------------------------------------------------------------------------------------------------------- */

static void (*const readers[OBJECT_KIND_COUNT])(struct decoder *, const struct yaml_node *, struct object *) = {
	[OBJECT_NAMESPACE] = namespace_read,
	[OBJECT_NODE] = node_read,
	[OBJECT_SERVICE] = service_read,
	[OBJECT_ENDPOINTS] = endpoints_read,
	[OBJECT_ENDPOINT_SLICE] = endpoint_slice_read,
	[OBJECT_ADDRESS_POOL] = address_pool_read,
	[OBJECT_L2_ADVERTISEMENT] = l2_advertisement_read,
	[OBJECT_REPLAY_NODE] = replay_node_read,
	[OBJECT_STEERING_POLICY] = steering_policy_read,
};

static void kind_unknown(struct decoder *decoder, const struct yaml_node *node, const char *api_version, const char *kind)
{
	const struct yaml_node *kind_node = yaml_lookup(node, "kind"), *version_node = yaml_lookup(node, "apiVersion");
	char known[1024] = "";
	size_t used = 0;

	for (size_t i = 0; i < OBJECT_KIND_COUNT; i++) {
		const struct object_kind_info *info = object_kind_info((enum object_kind)i);

		if (strcasecmp(info->name, kind) == 0) {
			decoder_error(decoder, strcmp(info->name, kind) == 0 ? version_node : kind_node,
				      "%.80s of %.80s is not known; write apiVersion: %s and kind: %s", kind, api_version,
				      info->api_version, info->name);
			return;
		}
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s of %s", used ? ", " : "", info->name,
					 info->api_version);
	}
	decoder_error(decoder, kind_node, "the kind %.80s of %.80s is not known; known are %s", kind, api_version, known);
}

static const struct object_kind_info *kind_read(struct decoder *decoder, const struct yaml_node *node)
{
	const char *text[2] = {NULL, NULL};
	static const char *const names[] = {"apiVersion", "kind"};
	const struct object_kind_info *info;

	if (node->kind != YAML_MAPPING) {
		decoder_error(decoder, node, "an object must be a mapping with apiVersion, kind and metadata, not %s",
			      yaml_kind_words(node));
		return NULL;
	}
	for (size_t i = 0; i < array_length(names); i++) {
		const struct yaml_node *value = yaml_lookup(node, names[i]);
		size_t path = decoder_enter_key(decoder, names[i]);

		if (value && value->kind != YAML_NULL)
			node_text(decoder, value, &text[i]);
		decoder_leave(decoder, path);
		if (!value || value->kind == YAML_NULL)
			decoder_error(decoder, node, "the field \"%s\" is missing", names[i]);
	}
	if (!text[0] || !text[1])
		return NULL;
	info = object_kind_of_type(text[0], text[1]);
	if (!info)
		kind_unknown(decoder, node, text[0], text[1]);
	return info;
}

/* NULL after an error; `raw` is taken over. */
static struct object *object_read(struct diagnostics *diagnostics, const char *file, const struct yaml_node *node, json_t *raw)
{
	struct object *object = calloc(1, sizeof(*object));
	size_t errors_before = diagnostics->error_count;
	const struct object_kind_info *info;
	struct decoder decoder;

	if (!object)
		abort();
	object->arena = arena_new();
	object->raw = raw;
	object->file = arena_copy(object->arena, file, strlen(file));
	object->line = node->line;
	decoder = (struct decoder){.diagnostics = diagnostics, .arena = object->arena, .file = file};
	info = kind_read(&decoder, node);
	if (info) {
		object->kind = info->kind;
		metadata_read(&decoder, node, object);
		readers[info->kind](&decoder, node, object);
	}
	if (diagnostics->error_count == errors_before)
		return object;
	object_free(object);
	return NULL;
}

int object_from_json(json_t *json, struct object **ret_object, struct diagnostics *diagnostics)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new();
	struct decoder decoder = {.diagnostics = diagnostics, .arena = arena, .file = ""};
	const struct yaml_node *node = tree_from_json(&decoder, json);
	struct object *object = node ? object_read(diagnostics, "", node, json_incref(json)) : NULL;

	if (!object)
		return -EINVAL;
	*ret_object = object;
	return 0;
}

/* --- streams ----------------------------------------------------------------------------------------------------------- */

struct loader {
	struct diagnostics *diagnostics;
	struct object_list list;
	size_t capacity;
	const char *file;
};

static void loader_append(struct loader *loader, struct object *object)
{
	if (loader->list.count == loader->capacity) {
		loader->capacity = loader->capacity ? 2 * loader->capacity : 16;
		loader->list.items = reallocarray(loader->list.items, loader->capacity, sizeof(*loader->list.items));
		if (!loader->list.items)
			abort();
	}
	loader->list.items[loader->list.count++] = object;
}

static bool node_is_list_kind(const struct yaml_node *node)
{
	const struct yaml_node *kind = yaml_lookup(node, "kind"), *version = yaml_lookup(node, "apiVersion");

	return kind && version && kind->kind == YAML_SCALAR && version->kind == YAML_SCALAR &&
	       strcmp(kind->text, "List") == 0 && strcmp(version->text, "v1") == 0;
}

static const struct field list_fields[] = {
	FIELDS_OF_EVERY_KIND,
	{.name = "items", .read = field_keep, .required = true},
};

static void loader_read_one(struct loader *loader, const struct yaml_node *node)
{
	struct object *object;

	if (loader->list.count >= MANIFEST_OBJECTS_MAX) {
		if (loader->list.count == MANIFEST_OBJECTS_MAX && !loader->diagnostics->error_count)
			diagnostics_add(loader->diagnostics, DIAGNOSTIC_ERROR, loader->file, node->line, node->column,
					"too much: more than %d objects; split the stream", MANIFEST_OBJECTS_MAX);
		return;
	}
	object = object_read(loader->diagnostics, loader->file, node, tree_to_json(node));
	if (object)
		loader_append(loader, object);
}

static void loader_read(struct loader *loader, const struct yaml_node *node)
{
	struct decoder decoder = {.diagnostics = loader->diagnostics, .file = loader->file};
	const struct yaml_node *items;

	if (!node_is_list_kind(node)) {
		loader_read_one(loader, node);
		return;
	}
	fields_read(&decoder, node, list_fields, array_length(list_fields), NULL);
	items = yaml_lookup(node, "items");
	if (!items || items->kind == YAML_NULL || !node_is_list(&decoder, items))
		return;
	for (size_t i = 0; i < items->count; i++)
		loader_read_one(loader, items->items[i]);
}

static void problems_to_diagnostics(const struct yaml_problems *problems, const char *file, struct diagnostics *diagnostics)
{
	for (size_t i = 0; i < problems->count; i++)
		diagnostics_add(diagnostics, DIAGNOSTIC_ERROR, file, problems->items[i].line, problems->items[i].column, "%s",
				problems->items[i].text);
	diagnostics->error_count += problems->total - problems->count;
}

/* The first line that is too long for the parser (reflow.h says why), or 0. */
static uint32_t long_line(const char *text, size_t length)
{
	uint32_t line = 1;

	for (const char *at = text, *end = text + length; at < end; line++) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *line_end = newline ? newline : end;

		if (line_end - at > MANIFEST_LINE_MAX)
			return line;
		at = line_end + 1;
	}
	return 0;
}

static void loader_parse(struct loader *loader, const char *text, size_t length, size_t values, const struct reflow *reflow)
{
	struct yaml_limits limits = manifest_limits(values);
	struct yaml_problems problems;
	struct yaml_stream stream;

	yaml_problems_init(&problems, loader->file);
	if (yaml_parse(text, length, &limits, &problems, &stream) < 0) {
		for (size_t i = 0; reflow && i < problems.count; i++)
			reflow_place(reflow, &problems.items[i].line, &problems.items[i].column);
		problems_to_diagnostics(&problems, loader->file, loader->diagnostics);
		return;
	}
	for (size_t i = 0; i < stream.count; i++) {
		if (reflow)
			reflow_tree(reflow, stream.documents[i]);
		loader_read(loader, stream.documents[i]);
	}
	yaml_stream_done(&stream);
}

static void loader_load(struct loader *loader, const char *text, size_t length)
{
	struct reflow reflow;
	uint32_t line;

	if (length > MANIFEST_BYTES_MAX) {
		diagnostics_add(loader->diagnostics, DIAGNOSTIC_ERROR, loader->file, 0, 0, "too large: more than %zu bytes",
				MANIFEST_BYTES_MAX);
		return;
	}
	if (!tree_check_utf8(loader->diagnostics, loader->file, text, length))
		return;
	line = long_line(text, length);
	if (line && reflow_json(text, length, MANIFEST_VALUES_MAX, &reflow)) {
		loader_parse(loader, reflow.text, reflow.length, length, &reflow);
		reflow_done(&reflow);
	} else if (line) {
		diagnostics_add(loader->diagnostics, DIAGNOSTIC_ERROR, loader->file, line, 1,
				"the line is longer than %d bytes; break it up", MANIFEST_LINE_MAX);
	} else {
		loader_parse(loader, text, length, length, NULL);
	}
}

/* --- what only all objects together can show --------------------------------------------------------------------------- */

static int object_place_compare(const void *left, const void *right)
{
	const struct object *a = *(struct object *const *)left, *b = *(struct object *const *)right;
	int order = object_compare(a, b);

	if (order)
		return order;
	return (a->line > b->line) - (a->line < b->line);
}

static void duplicates_check(const struct object_list *list, struct diagnostics *diagnostics)
{
	_cleanup_(freep) struct object **sorted = calloc(list->count + 1, sizeof(*sorted));

	if (!sorted)
		abort();
	if (list->count)
		memcpy(sorted, list->items, list->count * sizeof(*sorted));
	qsort(sorted, list->count, sizeof(*sorted), object_place_compare);
	for (size_t i = 1; i < list->count; i++) {
		char reference[OBJECT_REFERENCE_SIZE];

		if (object_compare(sorted[i - 1], sorted[i]) == 0)
			diagnostics_add(diagnostics, DIAGNOSTIC_ERROR, sorted[i]->file, sorted[i]->line, 1,
					"%s is given twice: it is at %s:%u already; remove one or rename it",
					object_reference(sorted[i], reference), sorted[i - 1]->file, sorted[i - 1]->line);
	}
}

struct pool_range {
	struct address_range range;
	const struct object *pool;
};

static int pool_range_compare(const void *a, const void *b)
{
	return address_compare(&((const struct pool_range *)a)->range.first, &((const struct pool_range *)b)->range.first);
}

/* An address of two pools would belong to either by luck, so that MetalLB refuses it, and so do we. */
static void pools_check(const struct object_list *list, struct diagnostics *diagnostics)
{
	_cleanup_(freep) struct pool_range *ranges = NULL;
	size_t count = 0, reach = 0;

	for (size_t i = 0; i < list->count; i++)
		if (list->items[i]->kind == OBJECT_ADDRESS_POOL)
			count += list->items[i]->address_pool.range_count;
	ranges = calloc(count + 1, sizeof(*ranges));
	if (!ranges)
		abort();
	count = 0;
	for (size_t i = 0; i < list->count; i++)
		for (size_t j = 0; list->items[i]->kind == OBJECT_ADDRESS_POOL && j < list->items[i]->address_pool.range_count;
		     j++)
			ranges[count++] = (struct pool_range){list->items[i]->address_pool.ranges[j], list->items[i]};
	qsort(ranges, count, sizeof(*ranges), pool_range_compare);
	for (size_t i = 1; i < count; i++) {
		const struct pool_range *before = &ranges[reach], *range = &ranges[i];
		char text[ADDRESS_TEXT_SIZE];

		if (before->pool != range->pool && address_compare(&range->range.first, &before->range.last) <= 0)
			diagnostics_add(diagnostics, DIAGNOSTIC_ERROR, range->pool->file, range->pool->line, 1,
					"the IPAddressPools \"%s\" and \"%s\" overlap: both hold %s", before->pool->meta.name,
					range->pool->meta.name, address_format(&range->range.first, text));
		if (address_compare(&range->range.last, &before->range.last) > 0)
			reach = i;
	}
}

static int loader_finish(struct loader *loader, size_t errors_before, struct object_list *ret_objects)
{
	if (loader->diagnostics->error_count == errors_before) {
		duplicates_check(&loader->list, loader->diagnostics);
		pools_check(&loader->list, loader->diagnostics);
	}
	if (loader->diagnostics->error_count != errors_before) {
		object_list_done(&loader->list);
		return -EINVAL;
	}
	*ret_objects = loader->list;
	return 0;
}

int manifest_load(const char *text, size_t length, const char *file, struct object_list *ret_objects,
		  struct diagnostics *diagnostics)
{
	struct loader loader = {.diagnostics = diagnostics, .file = file};
	size_t errors_before = diagnostics->error_count;

	loader_load(&loader, text, length);
	return loader_finish(&loader, errors_before, ret_objects);
}

/* --- files ------------------------------------------------------------------------------------------------------------- */

static void loader_load_file(struct loader *loader, const char *path)
{
	bool standard_input = strcmp(path, "-") == 0;
	_cleanup_(freep) char *text = NULL;
	struct yaml_problems problems;
	size_t length;

	loader->file = standard_input ? "standard input" : path;
	yaml_problems_init(&problems, loader->file);
	if (yaml_file_read(standard_input ? "/dev/stdin" : path, MANIFEST_BYTES_MAX, &problems, &text, &length) < 0)
		problems_to_diagnostics(&problems, loader->file, loader->diagnostics);
	else
		loader_load(loader, text, length);
}

static int name_is_manifest(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return entry->d_name[0] != '.' && dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml") || !strcmp(dot, ".json"));
}

static void loader_load_directory(struct loader *loader, const char *path)
{
	struct dirent **names = NULL;
	int count = scandir(path, &names, name_is_manifest, alphasort);

	if (count < 0)
		diagnostics_add(loader->diagnostics, DIAGNOSTIC_ERROR, path, 0, 0, "cannot be read: %s", strerror(errno));
	else if (count == 0)
		diagnostics_add(loader->diagnostics, DIAGNOSTIC_ERROR, path, 0, 0,
				"holds no *.yaml, *.yml or *.json file");
	else if (count > FILES_MAX)
		diagnostics_add(loader->diagnostics, DIAGNOSTIC_ERROR, path, 0, 0, "holds more than %d files", FILES_MAX);
	for (int i = 0; i < count; i++) {
		_cleanup_(freep) char *file = NULL;

		if (asprintf(&file, "%s/%s", path, names[i]->d_name) < 0)
			abort();
		if (count <= FILES_MAX)
			loader_load_file(loader, file);
		free(names[i]);
	}
	free(names);
}

int manifest_load_paths(const char *const *paths, size_t count, struct object_list *ret_objects,
			struct diagnostics *diagnostics)
{
	struct loader loader = {.diagnostics = diagnostics};
	size_t errors_before = diagnostics->error_count;

	for (size_t i = 0; i < count; i++) {
		struct stat status;

		if (strcmp(paths[i], "-") != 0 && stat(paths[i], &status) == 0 && S_ISDIR(status.st_mode))
			loader_load_directory(&loader, paths[i]);
		else
			loader_load_file(&loader, paths[i]);
	}
	return loader_finish(&loader, errors_before, ret_objects);
}

int manifest_load_file(const char *path, struct object_list *ret_objects, struct diagnostics *diagnostics)
{
	return manifest_load_paths(&path, 1, ret_objects, diagnostics);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/yaml_tree.h"

#include <libfyaml.h>
#include <string.h>

#include "base/lib/arena.h"
#include "base/lib/memory.h"

#define ANCHORS_MAX 256 /* in one document: they are searched one by one */

/* ---- Events to a tree ---- */

struct tree_node {
	struct yaml_node node; /* first: the tree is made of these */
	size_t expanded;       /* nodes in it, itself included, aliases counted as what they stand for */
	unsigned int height;   /* of the levels in it; a scalar has 1 */
};

struct anchor {
	const char *name;
	struct tree_node *node;
	bool open; /* its end has not been seen */
};

/* A container whose end has not been seen. */
struct level {
	struct tree_node *container;
	struct tree_node *key; /* of a mapping, waiting for its value */
	size_t capacity;
	size_t nodes_before;
	struct anchor *anchor;
};

struct builder {
	const struct yaml_limits *limits;
	struct yaml_problems *problems;
	struct arena arena;
	struct level *levels; /* limits->depth of them */
	unsigned int depth;
	size_t nodes;
	struct anchor anchors[ANCHORS_MAX];
	size_t anchor_count;
	struct yaml_node **documents;
	size_t document_count, document_capacity;
};

struct place {
	unsigned int line, column;
};

/* The parser's place of an alias is behind its "*", that of a quoted text behind its quote. */
static unsigned int event_mark_offset(struct fy_event *event)
{
	enum fy_scalar_style style;

	if (event->type == FYET_ALIAS)
		return 1;
	if (event->type != FYET_SCALAR || !event->scalar.value)
		return 0;
	style = fy_token_scalar_style(event->scalar.value);
	return style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;
}

static struct place event_place(struct fy_event *event)
{
	const struct fy_mark *mark = fy_event_start_mark(event);
	struct place place = {1, 1};

	if (mark) {
		place.line = (unsigned int)mark->line + 1;
		place.column = (unsigned int)mark->column + 1;
		if (place.column > event_mark_offset(event))
			place.column -= event_mark_offset(event);
	}
	return place;
}

/* Zero-terminated in the arena. */
static const char *token_copy(struct builder *builder, struct fy_token *token, size_t *ret_length)
{
	size_t length = 0;
	const char *text = token ? fy_token_get_text(token, &length) : NULL;

	*ret_length = text ? length : 0;
	return arena_copy(&builder->arena, text, *ret_length);
}

static void **pointers_grow(struct arena *arena, void *old, size_t count, size_t capacity)
{
	void **grown = arena_take(arena, capacity * sizeof(*grown));

	if (count)
		memcpy(grown, old, count * sizeof(*grown));
	return grown;
}

static void container_append(struct builder *builder, struct level *level, struct tree_node *child)
{
	struct yaml_node *node = &level->container->node;

	if (node->count == level->capacity) {
		level->capacity = level->capacity ? 2 * level->capacity : 4;
		node->items = (struct yaml_node **)pointers_grow(&builder->arena, node->items, node->count, level->capacity);
		if (node->kind == YAML_MAPPING)
			node->keys = (struct yaml_node **)pointers_grow(&builder->arena, node->keys, node->count,
									 level->capacity);
	}
	if (node->kind == YAML_MAPPING)
		node->keys[node->count] = &level->key->node;
	node->items[node->count++] = &child->node;
	level->key = NULL;
	if (child->height + 1 > level->container->height)
		level->container->height = child->height + 1;
}

static int key_check(struct builder *builder, const struct tree_node *key, struct place place)
{
	if (key->node.kind == YAML_SCALAR)
		return 0;
	yaml_problem_add(builder->problems, place.line, place.column, "a key must be a plain text, not %s",
			 yaml_kind_words(&key->node));
	return -EINVAL;
}

/* The parser puts a block mapping at the colon of its first key; people look at the key. */
static void place_from_first_key(struct yaml_node *mapping, struct place key)
{
	if (mapping->count || key.line > mapping->line || (key.line == mapping->line && key.column > mapping->column))
		return;
	mapping->line = key.line;
	mapping->column = key.column;
}

static void document_append(struct builder *builder, struct tree_node *root)
{
	if (root->node.kind == YAML_NULL)
		return;
	if (builder->document_count == builder->document_capacity) {
		builder->document_capacity = builder->document_capacity ? 2 * builder->document_capacity : 4;
		builder->documents = (struct yaml_node **)pointers_grow(&builder->arena, builder->documents,
									 builder->document_count,
									 builder->document_capacity);
	}
	builder->documents[builder->document_count++] = &root->node;
}

/* A finished (or just opened) node goes where it belongs. */
static int node_attach(struct builder *builder, struct tree_node *node, struct place place)
{
	struct level *level = builder->depth ? &builder->levels[builder->depth - 1] : NULL;

	if (!level) {
		document_append(builder, node);
		return 0;
	}
	if (level->container->node.kind == YAML_MAPPING && !level->key) {
		level->key = node;
		place_from_first_key(&level->container->node, place);
		return key_check(builder, node, place);
	}
	container_append(builder, level, node);
	return 0;
}

static int nodes_count(struct builder *builder, size_t count, struct place place)
{
	if (count > builder->limits->nodes - builder->nodes) {
		yaml_problem_add(builder->problems, place.line, place.column,
				 "too much: more than %zu values (aliases count as what they stand for)",
				 builder->limits->nodes);
		return -E2BIG;
	}
	builder->nodes += count;
	return 0;
}

static int depth_check(struct builder *builder, unsigned int height, struct place place)
{
	if (builder->depth + height <= builder->limits->depth)
		return 0;
	yaml_problem_add(builder->problems, place.line, place.column, "nested too deeply: more than %u levels",
			 builder->limits->depth);
	return -E2BIG;
}

static int anchor_add(struct builder *builder, struct fy_token *token, struct tree_node *node, struct place place,
		      struct anchor **ret_anchor)
{
	struct anchor *anchor;
	size_t length;

	*ret_anchor = NULL;
	if (!token)
		return 0;
	if (builder->anchor_count == ANCHORS_MAX) {
		yaml_problem_add(builder->problems, place.line, place.column, "more than %d anchors in one document",
				 ANCHORS_MAX);
		return -E2BIG;
	}
	anchor = &builder->anchors[builder->anchor_count++];
	*anchor = (struct anchor){.name = token_copy(builder, token, &length), .node = node};
	*ret_anchor = anchor;
	return 0;
}

/* Only the tags of YAML's core schema are known; "!!str" and "!" make a text of what looks like a number. */
static void tag_apply(struct builder *builder, struct fy_token *token, struct yaml_node *node)
{
	static const char *const core[] = {"int", "float", "bool", "null", "map", "seq"};
	const char *handle = token ? fy_tag_token_handle0(token) : NULL, *suffix = token ? fy_tag_token_suffix0(token) : NULL;
	bool is_core = handle && suffix && !strcmp(handle, "!!");

	if (!token)
		return;
	if ((is_core && !strcmp(suffix, "str")) || (handle && !strcmp(handle, "!") && (!suffix || !*suffix))) {
		node->plain = false;
		if (node->kind == YAML_NULL)
			node->kind = YAML_SCALAR;
		return;
	}
	for (size_t i = 0; is_core && i < array_length(core); i++)
		if (!strcmp(suffix, core[i]))
			return;
	yaml_problem_add(builder->problems, node->line, node->column, "the tag \"%.16s%.64s\" is not allowed here",
			 handle ?: "", suffix ?: "");
}

static bool text_is_null(const char *text)
{
	return !*text || !strcmp(text, "~") || !strcmp(text, "null") || !strcmp(text, "Null") || !strcmp(text, "NULL");
}

static struct tree_node *node_take(struct builder *builder, enum yaml_kind kind, struct place place)
{
	struct tree_node *node = arena_take(&builder->arena, sizeof(*node));

	node->node = (struct yaml_node){.kind = kind, .line = place.line, .column = place.column, .text = ""};
	node->expanded = 1;
	node->height = 1;
	return node;
}

/* What is not there has no place of its own: that of its key, or of its list. */
static void place_of_nothing(const struct builder *builder, struct yaml_node *node)
{
	const struct level *level = builder->depth ? &builder->levels[builder->depth - 1] : NULL;
	const struct yaml_node *near = !level ? NULL : level->key ? &level->key->node : &level->container->node;

	if (!near)
		return;
	node->line = near->line;
	node->column = near->column;
}

static int scalar_build(struct builder *builder, struct fy_event *event, struct place place)
{
	struct tree_node *node = node_take(builder, YAML_SCALAR, place);
	struct yaml_node *scalar = &node->node;
	struct anchor *anchor;
	int status;

	status = nodes_count(builder, 1, place);
	if (status < 0)
		return status;
	scalar->text = token_copy(builder, event->scalar.value, &scalar->length);
	scalar->plain = !event->scalar.value || fy_token_scalar_style(event->scalar.value) == FYSS_PLAIN;
	if (strlen(scalar->text) != scalar->length) {
		yaml_problem_add(builder->problems, place.line, place.column, "a zero byte is not allowed in a text");
		return -EINVAL;
	}
	if (scalar->plain && text_is_null(scalar->text))
		scalar->kind = YAML_NULL;
	tag_apply(builder, event->scalar.tag, scalar);
	if (scalar->kind == YAML_NULL) {
		if (!scalar->length)
			place_of_nothing(builder, scalar);
		scalar->plain = false;
		scalar->text = "";
		scalar->length = 0;
	}
	status = anchor_add(builder, event->scalar.anchor, node, place, &anchor);
	return status < 0 ? status : node_attach(builder, node, place);
}

static int container_open(struct builder *builder, struct fy_event *event, struct place place)
{
	bool mapping = event->type == FYET_MAPPING_START;
	struct tree_node *node = node_take(builder, mapping ? YAML_MAPPING : YAML_SEQUENCE, place);
	struct level level = {.container = node, .nodes_before = builder->nodes};
	int status;

	status = nodes_count(builder, 1, place);
	if (status == 0)
		status = depth_check(builder, 1, place);
	if (status == 0)
		status = anchor_add(builder, mapping ? event->mapping_start.anchor : event->sequence_start.anchor, node, place,
				    &level.anchor);
	if (status == 0)
		status = node_attach(builder, node, place);
	if (status < 0)
		return status;
	tag_apply(builder, mapping ? event->mapping_start.tag : event->sequence_start.tag, &node->node);
	if (level.anchor)
		level.anchor->open = true;
	builder->levels[builder->depth++] = level;
	return 0;
}

static int key_compare(const void *left, const void *right)
{
	const struct yaml_node *a = *(const struct yaml_node *const *)left, *b = *(const struct yaml_node *const *)right;
	int order = strcmp(a->text, b->text);

	if (order)
		return order;
	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	return (a->column > b->column) - (a->column < b->column);
}

static void duplicates_find(struct builder *builder, const struct yaml_node *mapping)
{
	_cleanup_(freep) const struct yaml_node **sorted = NULL;

	if (mapping->count < 2)
		return;
	sorted = memory_or_end(malloc(mapping->count * sizeof(*sorted)));
	memcpy(sorted, mapping->keys, mapping->count * sizeof(*sorted));
	qsort(sorted, mapping->count, sizeof(*sorted), key_compare);
	for (size_t i = 1; i < mapping->count; i++)
		if (!strcmp(sorted[i - 1]->text, sorted[i]->text))
			yaml_problem_add(builder->problems, sorted[i]->line, sorted[i]->column,
					 "the key \"%.64s\" is given twice; it is at line %u already", sorted[i]->text,
					 sorted[i - 1]->line);
}

static void container_close(struct builder *builder)
{
	struct level *level = &builder->levels[--builder->depth];
	struct tree_node *node = level->container;

	node->expanded = builder->nodes - level->nodes_before;
	if (level->anchor)
		level->anchor->open = false;
	if (node->node.kind == YAML_MAPPING)
		duplicates_find(builder, &node->node);
	/* The parent took this node's height when it was opened. */
	if (builder->depth && node->height + 1 > level[-1].container->height)
		level[-1].container->height = node->height + 1;
}

static struct anchor *anchor_lookup(struct builder *builder, const char *name)
{
	for (size_t i = builder->anchor_count; i > 0; i--)
		if (!strcmp(builder->anchors[i - 1].name, name))
			return &builder->anchors[i - 1];
	return NULL;
}

static int alias_build(struct builder *builder, struct fy_event *event, struct place place)
{
	size_t length;
	const char *name = token_copy(builder, event->alias.anchor, &length);
	struct anchor *anchor = anchor_lookup(builder, name);
	int status;

	if (!anchor || anchor->open) {
		yaml_problem_add(builder->problems, place.line, place.column,
				 anchor ? "the alias \"*%.64s\" contains itself" : "there is no anchor \"&%.64s\" before this alias",
				 name);
		return -EINVAL;
	}
	status = nodes_count(builder, anchor->node->expanded, place);
	if (status == 0)
		status = depth_check(builder, anchor->node->height - 1, place);
	return status < 0 ? status : node_attach(builder, anchor->node, place);
}

static int event_build(struct builder *builder, struct fy_event *event)
{
	struct place place = event_place(event);

	switch (event->type) {
	case FYET_DOCUMENT_START:
		builder->anchor_count = 0;
		return 0;
	case FYET_SCALAR:
		return scalar_build(builder, event, place);
	case FYET_ALIAS:
		return alias_build(builder, event, place);
	case FYET_MAPPING_START:
	case FYET_SEQUENCE_START:
		return container_open(builder, event, place);
	case FYET_MAPPING_END:
	case FYET_SEQUENCE_END:
		container_close(builder);
		return 0;
	default:
		return 0;
	}
}

/* ---- The parser ---- */

static void diagnostics_ignore(struct fy_diag *diagnostics, void *user, const char *text, size_t length)
{
	(void)diagnostics;
	(void)user;
	(void)text;
	(void)length;
}

static void syntax_problem_add(struct yaml_problems *problems, struct fy_diag *diagnostics)
{
	struct fy_diag_error *first;
	void *iterator = NULL;

	/* The first is the cause; what follows it are its consequences. */
	first = fy_diag_errors_iterate(diagnostics, &iterator);
	if (first && first->msg)
		yaml_problem_add(problems, first->line >= 0 ? (unsigned int)first->line : 0,
				 first->column >= 0 ? (unsigned int)first->column : 0, "not valid YAML: %s", first->msg);
	else
		yaml_problem_add(problems, 0, 0, "not valid YAML");
}

static int events_build(struct builder *builder, struct fy_parser *parser, struct fy_diag *diagnostics)
{
	for (;;) {
		struct fy_event *event = fy_parser_parse(parser);
		bool last = event && event->type == FYET_STREAM_END;
		int status;

		if (!event) {
			syntax_problem_add(builder->problems, diagnostics);
			return -EINVAL;
		}
		status = event_build(builder, event);
		fy_parser_event_free(parser, event);
		if (status < 0 || last)
			return status;
	}
}

static int builder_run(struct builder *builder, const char *text, size_t length)
{
	struct fy_diag_cfg diagnostics_config;
	struct fy_parse_cfg config = {.flags = FYPCF_QUIET};
	struct fy_parser *parser;
	int status;

	fy_diag_cfg_default(&diagnostics_config);
	diagnostics_config.fp = NULL;
	diagnostics_config.output_fn = diagnostics_ignore;
	diagnostics_config.colorize = false;
	config.diag = memory_or_end(fy_diag_create(&diagnostics_config));
	fy_diag_set_collect_errors(config.diag, true);
	parser = memory_or_end(fy_parser_create(&config));
	if (fy_parser_set_string(parser, text, length))
		abort();
	builder->levels = memory_or_end(calloc(builder->limits->depth, sizeof(*builder->levels)));
	status = events_build(builder, parser, config.diag);
	free(builder->levels);
	fy_parser_destroy(parser);
	fy_diag_destroy(config.diag);
	return status;
}

int yaml_tree_build(const char *text, size_t length, const struct yaml_limits *limits, struct yaml_problems *problems,
		    struct yaml_stream *ret_stream)
{
	struct builder builder = {.limits = limits, .problems = problems};
	size_t problems_before = problems->total;

	if (builder_run(&builder, text, length) < 0 && problems->total == problems_before)
		yaml_problem_add(problems, 0, 0, "not valid YAML");
	if (problems->total != problems_before) {
		arena_done(&builder.arena);
		return -EINVAL;
	}
	*ret_stream = (struct yaml_stream){
		.documents = builder.documents, .count = builder.document_count, .arena = builder.arena.blocks};
	return 0;
}

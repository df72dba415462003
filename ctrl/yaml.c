/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/yaml.h"

#include <ctype.h>
#include <fcntl.h>
#include <libfyaml.h>
#include <string.h>
#include <strings.h>

#include "base/lib/arena.h"
#include "base/lib/memory.h"

#define ANCHORS_MAX 256 /* in one document: they are searched one by one */

const struct yaml_limits yaml_limits_default = {.bytes = 1024 * 1024, .nodes = 20000, .depth = 24};

/* ---- Problems ---- */

void yaml_problems_init(struct yaml_problems *problems, const char *name)
{
	*problems = (struct yaml_problems){.name = name};
}

/* What came from the file may hold anything; it goes to terminals and logs as one line. */
static void text_make_printable(char *text)
{
	for (; *text; text++)
		if (iscntrl((unsigned char)*text))
			*text = '?';
}

static void problem_add_list(struct yaml_problems *problems, unsigned int line, unsigned int column, const char *format,
			     va_list arguments)
{
	struct yaml_problem *problem;

	problems->total++;
	if (problems->count == YAML_PROBLEMS_MAX)
		return;
	problem = &problems->items[problems->count++];
	problem->line = line;
	problem->column = column;
	vsnprintf(problem->text, sizeof(problem->text), format, arguments);
	text_make_printable(problem->text);
}

void yaml_problem_add(struct yaml_problems *problems, unsigned int line, unsigned int column, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	problem_add_list(problems, line, column, format, arguments);
	va_end(arguments);
}

void yaml_problem_at(struct yaml_reader *reader, const struct yaml_node *node, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	problem_add_list(reader->problems, node->line, node->column, format, arguments);
	va_end(arguments);
}

const char *yaml_problem_format(const struct yaml_problems *problems, size_t index, char *buffer, size_t size)
{
	const struct yaml_problem *problem = &problems->items[index];

	if (problem->line)
		snprintf(buffer, size, "%s:%u:%u: %s", problems->name, problem->line, problem->column, problem->text);
	else
		snprintf(buffer, size, "%s: %s", problems->name, problem->text);
	return buffer;
}

char *yaml_problems_text(const struct yaml_problems *problems)
{
	char *text = NULL, line[1024];
	size_t size;
	FILE *out = memory_or_end(open_memstream(&text, &size));

	for (size_t i = 0; i < problems->count; i++)
		fprintf(out, "%s\n", yaml_problem_format(problems, i, line, sizeof(line)));
	if (problems->total > problems->count)
		fprintf(out, "%s: and %zu more\n", problems->name, problems->total - problems->count);
	fclose(out);
	return memory_or_end(text);
}

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

/* Bytes of the well-formed UTF-8 character (RFC 3629) at the start of `text`; 0: it is none. */
static size_t utf8_length(const unsigned char *text, size_t length)
{
	size_t count = text[0] < 0x80 ? 1 : text[0] < 0xc2 ? 0 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : text[0] < 0xf5 ? 4 : 0;

	if (count > length)
		return 0;
	for (size_t i = 1; i < count; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, past the last code point. */
	if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
	    (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
		return 0;
	return count;
}

static bool control_character(unsigned char byte)
{
	return (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7f;
}

/* YAML 1.2 section 5.1: printable characters only. The parser takes some of the others for the end. */
static int characters_check(const char *text, size_t length, struct yaml_problems *problems)
{
	unsigned int line = 1, column = 1;

	for (size_t at = 0, step; at < length; at += step, column++) {
		unsigned char byte = (unsigned char)text[at];

		step = utf8_length((const unsigned char *)text + at, length - at);
		if (!step || control_character(byte)) {
			yaml_problem_add(problems, line, column, step ? "the control character 0x%02x is not allowed" :
							 "the byte 0x%02x is not UTF-8", byte);
			return -EINVAL;
		}
		if (byte == '\n') {
			line++;
			column = 0;
		}
	}
	return 0;
}

static bool blank_or_end(const char *text, size_t length, size_t at)
{
	return at >= length || strchr(" \t\r\n", text[at]);
}

/* A "?" that may begin a key written at length. */
static bool has_explicit_key(const char *text, size_t length)
{
	for (size_t at = 0; at < length; at++)
		if (text[at] == '?' && blank_or_end(text, length, at + 1) && (at == 0 || strchr(" \t\r\n{[,", text[at - 1])))
			return true;
	return false;
}

/*
 * libfyaml 0.7.12 frees memory twice when tabs separate certain tokens under a key written at length ("? key"). Nobody needs
 * both: a text that has them is refused before it gets there. Tabs elsewhere, as in the scripts of literal blocks, are no
 * concern.
 */
static int tabs_check(const char *text, size_t length, struct yaml_problems *problems)
{
	const char *tab = memchr(text, '\t', length);
	unsigned int line = 1, column = 1;

	if (!tab || !has_explicit_key(text, length))
		return 0;
	for (const char *at = text; at < tab; at++, column++) {
		if (*at == '\n') {
			line++;
			column = 0;
		}
	}
	yaml_problem_add(problems, line, column, "a tab is not allowed in a file with \"? \" keys; use spaces");
	return -EINVAL;
}

int yaml_parse(const char *text, size_t length, const struct yaml_limits *limits, struct yaml_problems *problems,
	       struct yaml_stream *ret_stream)
{
	struct builder builder = {.limits = limits, .problems = problems};
	size_t problems_before = problems->total;

	if (length > limits->bytes) {
		yaml_problem_add(problems, 0, 0, "too large: more than %zu bytes", limits->bytes);
		return -EINVAL;
	}
	if (characters_check(text, length, problems) < 0 || tabs_check(text, length, problems) < 0)
		return -EINVAL;
	/* The parser takes a length of 0 for "until the zero byte". */
	if (length && builder_run(&builder, text, length) < 0 && problems->total == problems_before)
		yaml_problem_add(problems, 0, 0, "not valid YAML");
	if (problems->total != problems_before) {
		arena_done(&builder.arena);
		return -EINVAL;
	}
	*ret_stream = (struct yaml_stream){
		.documents = builder.documents, .count = builder.document_count, .arena = builder.arena.blocks};
	return 0;
}

void yaml_stream_done(struct yaml_stream *stream)
{
	struct arena arena = {stream->arena};

	arena_done(&arena);
	*stream = (struct yaml_stream){};
}

static int file_read(int fd, size_t limit_bytes, char **ret_text, size_t *ret_length)
{
	size_t size = 0, length = 0;
	char *text = NULL;

	for (;;) {
		ssize_t got;

		if (size - length < 2) {
			size = size ? 2 * size : 8192;
			text = memory_or_end(realloc(text, size));
		}
		got = read(fd, text + length, size - length - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			int code = got < 0 ? errno : 0;

			if (code) {
				free(text);
				return -code;
			}
			text[length] = '\0';
			*ret_text = text;
			*ret_length = length;
			return 0;
		}
		length += (size_t)got;
		if (length > limit_bytes) {
			free(text);
			return -EFBIG;
		}
	}
}

int yaml_file_read(const char *path, size_t limit_bytes, struct yaml_problems *problems, char **ret_text,
		   size_t *ret_length)
{
	/* Opening /dev/stdin again would ask for rights that whoever handed it over need not have given. */
	_cleanup_(closep) int fd = strcmp(path, "/dev/stdin") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) :
								     open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int status = fd < 0 ? -errno : file_read(fd, limit_bytes, ret_text, ret_length);

	if (status == -EFBIG)
		yaml_problem_add(problems, 0, 0, "too large: more than %zu bytes", limit_bytes);
	else if (status < 0)
		yaml_problem_add(problems, 0, 0, "cannot be read: %s", strerror(-status));
	return status;
}

const struct yaml_node *yaml_lookup(const struct yaml_node *mapping, const char *key)
{
	if (mapping->kind != YAML_MAPPING)
		return NULL;
	for (size_t i = 0; i < mapping->count; i++)
		if (!strcmp(mapping->keys[i]->text, key))
			return mapping->items[i];
	return NULL;
}

/* ---- Typed values ---- */

static bool text_is_bool(const char *text)
{
	return !strcasecmp(text, "true") || !strcasecmp(text, "false");
}

static bool text_is_number(const char *text)
{
	char *end;

	if (!isdigit((unsigned char)text[strspn(text, "+-.")]))
		return false;
	strtod(text, &end);
	return !*end;
}

const char *yaml_kind_words(const struct yaml_node *node)
{
	switch (node->kind) {
	case YAML_NULL:
		return "nothing";
	case YAML_SEQUENCE:
		return "a list";
	case YAML_MAPPING:
		return "a mapping";
	case YAML_SCALAR:
		break;
	}
	if (node->plain && text_is_bool(node->text))
		return "true or false";
	if (node->plain && text_is_number(node->text))
		return "a number";
	return "a text";
}

bool yaml_get_text(struct yaml_reader *reader, const struct yaml_node *node, const char *key, const char **ret_text)
{
	if (node->kind != YAML_SCALAR || !node->length) {
		yaml_problem_at(reader, node, "%s must be a text, not %s", key,
				node->kind == YAML_SCALAR ? "an empty one" : yaml_kind_words(node));
		return false;
	}
	if (node->plain && text_is_bool(node->text)) {
		yaml_problem_at(reader, node, "%s must be a text: put %.64s in quotes if it is meant as one", key,
				node->text);
		return false;
	}
	*ret_text = node->text;
	return true;
}

bool yaml_get_bool(struct yaml_reader *reader, const struct yaml_node *node, const char *key, bool *ret_value)
{
	if (node->kind != YAML_SCALAR || !node->plain || !text_is_bool(node->text)) {
		yaml_problem_at(reader, node, "%s must be true or false%s", key,
				node->kind == YAML_SCALAR && !node->plain ? " (without quotes)" : "");
		return false;
	}
	*ret_value = tolower((unsigned char)node->text[0]) == 't';
	return true;
}

/* Decimal, without leading zeros (which would be octal to some readers), and at most 18 digits. */
static bool integer_parse(const char *text, int64_t *ret_value)
{
	const char *digits = text + (*text == '-');
	size_t count = strspn(digits, "0123456789");

	if (!count || count > 18 || digits[count] || (digits[0] == '0' && count > 1))
		return false;
	*ret_value = strtoll(text, NULL, 10);
	return true;
}

bool yaml_get_integer(struct yaml_reader *reader, const struct yaml_node *node, const char *key, int64_t minimum,
		      int64_t maximum, int64_t *ret_value)
{
	int64_t value;

	if (node->kind != YAML_SCALAR || !node->plain || !integer_parse(node->text, &value) || value < minimum ||
	    value > maximum) {
		yaml_problem_at(reader, node, "%s must be a whole number from %lld to %lld%s", key, (long long)minimum,
				(long long)maximum, node->kind == YAML_SCALAR && !node->plain ? " (without quotes)" : "");
		return false;
	}
	*ret_value = value;
	return true;
}

/* One "1.5s" of a duration; moves `text` behind it. Thousandths are as fine as it gets. */
static bool duration_part_parse(const char **text, uint64_t *ret_ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
	size_t digits = strspn(*text, "0123456789"), fraction_digits = 0;
	uint64_t thousandths = 0;
	const char *at = *text;

	if (!digits || digits > 9)
		return false;
	for (; digits; digits--)
		thousandths = thousandths * 10 + (uint64_t)(*at++ - '0');
	if (*at == '.') {
		at++;
		fraction_digits = strspn(at, "0123456789");
		if (!fraction_digits || fraction_digits > 3)
			return false;
	}
	for (size_t i = 0; i < 3; i++)
		thousandths = thousandths * 10 + (i < fraction_digits ? (uint64_t)(*at++ - '0') : 0);
	digits = strcspn(at, "0123456789");
	for (size_t i = 0; i < array_length(units); i++) {
		if (digits == strlen(units[i].name) && !strncmp(at, units[i].name, digits)) {
			*text = at + digits;
			*ret_ms = thousandths * units[i].ms / 1000;
			return true;
		}
	}
	return false;
}

static bool duration_parse(const char *text, uint64_t *ret_ms)
{
	uint64_t total = 0, part;

	if (!*text || strlen(text) > 32)
		return false;
	if (!strcmp(text, "0")) {
		*ret_ms = 0;
		return true;
	}
	while (*text) {
		if (!duration_part_parse(&text, &part))
			return false;
		total += part;
	}
	*ret_ms = total;
	return true;
}

static const char *duration_format(uint32_t ms, char *buffer, size_t size)
{
	if (ms && ms % 3600000 == 0)
		snprintf(buffer, size, "%uh", ms / 3600000);
	else if (ms && ms % 60000 == 0)
		snprintf(buffer, size, "%um", ms / 60000);
	else if (ms % 1000 == 0)
		snprintf(buffer, size, "%us", ms / 1000);
	else
		snprintf(buffer, size, "%ums", ms);
	return buffer;
}

bool yaml_get_duration_ms(struct yaml_reader *reader, const struct yaml_node *node, const char *key, uint32_t minimum_ms,
			  uint32_t maximum_ms, uint32_t *ret_ms)
{
	char minimum[24], maximum[24];
	uint64_t ms;

	if (node->kind != YAML_SCALAR || !duration_parse(node->text, &ms) || ms < minimum_ms || ms > maximum_ms) {
		yaml_problem_at(reader, node, "%s must be a duration such as 500ms or 2s, from %s to %s", key,
				duration_format(minimum_ms, minimum, sizeof(minimum)),
				duration_format(maximum_ms, maximum, sizeof(maximum)));
		return false;
	}
	*ret_ms = (uint32_t)ms;
	return true;
}

static void names_join(char *buffer, size_t size, const char *const *names, size_t count)
{
	size_t used = 0;

	buffer[0] = '\0';
	for (size_t i = 0; i < count && used < size; i++)
		used += (size_t)snprintf(buffer + used, size - used, "%s%s",
					 i == 0 ? "" : i + 1 == count ? " or " : ", ", names[i]);
}

bool yaml_get_choice(struct yaml_reader *reader, const struct yaml_node *node, const char *key, const char *const *names,
		     size_t name_count, size_t *ret_index)
{
	char all[160];

	for (size_t i = 0; node->kind == YAML_SCALAR && i < name_count; i++) {
		if (!strcmp(node->text, names[i])) {
			*ret_index = i;
			return true;
		}
	}
	names_join(all, sizeof(all), names, name_count);
	yaml_problem_at(reader, node, "%s must be %s", key, all);
	return false;
}

bool yaml_is_sequence(struct yaml_reader *reader, const struct yaml_node *node, const char *key)
{
	if (node->kind == YAML_SEQUENCE)
		return true;
	yaml_problem_at(reader, node, "%s must be a list, not %s", key, yaml_kind_words(node));
	return false;
}

/* ---- Mappings by table ---- */

/* Letters to change, add or drop to get from one to the other; for short texts only. */
static unsigned int spelling_distance(const char *a, const char *b)
{
	unsigned int row[33], length_b = (unsigned int)strlen(b);

	if (strlen(a) > 32 || length_b > 32)
		return UINT32_MAX;
	for (unsigned int j = 0; j <= length_b; j++)
		row[j] = j;
	for (unsigned int i = 1; a[i - 1]; i++) {
		unsigned int diagonal = row[0];

		row[0] = i;
		for (unsigned int j = 1; j <= length_b; j++) {
			unsigned int best = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[length_b];
}

static void unknown_key_report(struct yaml_reader *reader, const struct yaml_node *key, const char *what,
			       const struct yaml_field *fields, size_t field_count)
{
	char known[160] = "";
	size_t used = 0;

	for (size_t i = 0; i < field_count; i++) {
		if (spelling_distance(key->text, fields[i].key) <= 2) {
			yaml_problem_at(reader, key, "unknown key \"%.48s\" in %s; is %s meant?", key->text, what,
					fields[i].key);
			return;
		}
	}
	for (size_t i = 0; i < field_count && used < sizeof(known); i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "", fields[i].key);
	yaml_problem_at(reader, key, "unknown key \"%.48s\" in %s; known are: %s", key->text, what, known);
}

static const struct yaml_field *field_lookup(const struct yaml_field *fields, size_t field_count, const char *key)
{
	for (size_t i = 0; i < field_count; i++)
		if (!strcmp(fields[i].key, key))
			return &fields[i];
	return NULL;
}

void yaml_read_mapping(struct yaml_reader *reader, const struct yaml_node *node, const char *what,
		       const struct yaml_field *fields, size_t field_count, void *target)
{
	if (node->kind != YAML_MAPPING) {
		yaml_problem_at(reader, node, "%s must be a mapping (key: value), not %s", what, yaml_kind_words(node));
		return;
	}
	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_field *field = field_lookup(fields, field_count, node->keys[i]->text);

		if (field)
			field->read(reader, node->items[i], field->key, target);
		else
			unknown_key_report(reader, node->keys[i], what, fields, field_count);
	}
	for (size_t i = 0; i < field_count; i++)
		if (fields[i].required && !yaml_lookup(node, fields[i].key))
			yaml_problem_at(reader, node, "%s needs a %s", what, fields[i].key);
}

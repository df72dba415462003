/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML as a configuration wants it: read strictly, bounded against hostile input, and every node knows its place.
 *
 * Text becomes a tree of nodes, one root for each document. Duplicate keys, keys that are not plain text, unknown tags and
 * everything over a limit are problems with line and column; aliases work but what they expand to is counted.
 * A tree without problems is small enough to be walked by recursion.
 *
 * Reading is by tables: yaml_read_mapping() calls one reader for each known key and makes a problem of every other.
 *
 * Any thread; no global state. A process that runs out of memory here ends.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"

#define YAML_PROBLEMS_MAX 20

/* What is wrong, for the operator: all of it, not only the first, but at most YAML_PROBLEMS_MAX. */
struct yaml_problem {
	unsigned int line, column; /* from 1; 0: about the whole file */
	char text[256];
};

struct yaml_problems {
	const char *name; /* of the file; borrowed */
	struct yaml_problem items[YAML_PROBLEMS_MAX];
	size_t count; /* of the items */
	size_t total; /* of all that were found */
};

void yaml_problems_init(struct yaml_problems *problems, const char *name);
void yaml_problem_add(struct yaml_problems *problems, unsigned int line, unsigned int column, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* "FILE:LINE:COLUMN: text", without a newline, cut to fit; returns `buffer`. */
const char *yaml_problem_format(const struct yaml_problems *problems, size_t index, char *buffer, size_t size);
/* All of them, one a line, and how many more there are; the caller frees it. */
char *yaml_problems_text(const struct yaml_problems *problems);

enum yaml_kind { YAML_NULL, YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };

/* Owned by its stream. Sequences and mappings keep their order. */
struct yaml_node {
	enum yaml_kind kind; /* YAML_NULL: nothing, "~" or "null" was written, without quotes */
	bool plain;	     /* a scalar without quotes: may be a number or a bool */
	unsigned int line, column;
	const char *text; /* scalars: zero-terminated, no zero byte inside; others: "" */
	size_t length;
	size_t count;		 /* of the items or pairs */
	struct yaml_node **keys; /* mappings: scalars, no two equal */
	struct yaml_node **items; /* values of mappings, items of sequences; a node may be shared by aliases */
};

struct yaml_limits {
	size_t bytes;
	size_t nodes; /* with aliases expanded */
	unsigned int depth;
};

/* Good for a file that a person writes: 1 MiB, 20 000 nodes, 24 deep. */
extern const struct yaml_limits yaml_limits_default;

struct yaml_stream {
	struct yaml_node **documents; /* empty documents are left out */
	size_t count;
	void *arena;
};

/*
 * 0, or -EINVAL with at least one problem added (nothing is returned then). `text` need not end in a zero and is not needed
 * afterwards. Syntax errors and limits end the reading at once; duplicates and the like are gathered.
 */
must_check int yaml_parse(const char *text, size_t length, const struct yaml_limits *limits,
			  struct yaml_problems *problems, struct yaml_stream *ret_stream);
/* The whole file (or pipe), if it is within the limit: 0 and the text (caller frees), or -errno with a problem added. */
must_check int yaml_file_read(const char *path, size_t limit_bytes, struct yaml_problems *problems, char **ret_text,
			      size_t *ret_length);
void yaml_stream_done(struct yaml_stream *stream);

/* The value of a key, or NULL. */
const struct yaml_node *yaml_lookup(const struct yaml_node *mapping, const char *key);

/* "a mapping", "a list", "nothing", "a text", "a number" …: for sentences. */
const char *yaml_kind_words(const struct yaml_node *node);

/* ---- Reading into structs ---- */

/* What the readers share; callers who need more begin their own struct with it. */
struct yaml_reader {
	struct yaml_problems *problems;
};

struct yaml_field {
	const char *key;
	/* Adds a problem, or stores the value in `target`. */
	void (*read)(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target);
	bool required;
};

/* Everything that is wrong with the node itself is said here, with `what` ("interfaces[]") as its name. */
void yaml_read_mapping(struct yaml_reader *reader, const struct yaml_node *node, const char *what,
		       const struct yaml_field *fields, size_t field_count, void *target);

/* A problem at the node. */
void yaml_problem_at(struct yaml_reader *reader, const struct yaml_node *node, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Typed values: true and the value, or false and a problem that says what `key` may be. A text must not be empty; a number
 * without quotes is also a text (as people write them), a quoted number is not a number.
 */
must_check bool yaml_get_text(struct yaml_reader *reader, const struct yaml_node *node, const char *key,
			      const char **ret_text);
must_check bool yaml_get_bool(struct yaml_reader *reader, const struct yaml_node *node, const char *key, bool *ret_value);
must_check bool yaml_get_integer(struct yaml_reader *reader, const struct yaml_node *node, const char *key, int64_t minimum,
				 int64_t maximum, int64_t *ret_value);
/* "250ms", "2s", "1m30s": Go's form, as Kubernetes has it; bounds in milliseconds. */
must_check bool yaml_get_duration_ms(struct yaml_reader *reader, const struct yaml_node *node, const char *key,
				     uint32_t minimum_ms, uint32_t maximum_ms, uint32_t *ret_ms);
/* One of `names`; `ret_index` is its place. */
must_check bool yaml_get_choice(struct yaml_reader *reader, const struct yaml_node *node, const char *key,
				const char *const *names, size_t name_count, size_t *ret_index);
must_check bool yaml_is_sequence(struct yaml_reader *reader, const struct yaml_node *node, const char *key);

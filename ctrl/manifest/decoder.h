/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a tree of YAML nodes to structs, by tables: one row for each field of an upstream schema, with its reader, or without one
 * when we do not honour the field. What is read lives in the decoder's arena. Inside ctrl/manifest only.
 *
 * Readers say what is wrong at the node's place and go on; whether anything failed is asked once, at the end.
 */
#pragma once

#include "base/lib/arena.h"
#include "base/lib/rate_text.h"
#include "ctrl/manifest/diagnostics.h"
#include "ctrl/manifest/objects.h"
#include "ctrl/yaml.h"

struct decoder {
	struct diagnostics *diagnostics; /* borrowed */
	struct arena *arena;             /* borrowed; of the object that is being read */
	const char *file;                /* borrowed; "" for JSON from the API, whose nodes have line 0 */
	size_t path_length;
	char path[512]; /* "spec.ports[0].port"; cut when it would not fit */
};

void decoder_error(struct decoder *decoder, const struct yaml_node *node, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void decoder_warning(struct decoder *decoder, const struct yaml_node *node, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Appends to the path; returns what decoder_leave() needs to go back. */
size_t decoder_enter_key(struct decoder *decoder, const char *key);
size_t decoder_enter_item(struct decoder *decoder, size_t index);
void decoder_leave(struct decoder *decoder, size_t path_length);

typedef void field_reader(struct decoder *decoder, const struct yaml_node *node, void *target);

struct field {
	const char *name;
	field_reader *read; /* NULL: in the schema, not honoured: a warning */
	size_t offset;      /* of the target in the caller's struct */
	bool required;
};

#define FIELD(name_, read_, struct_, member_) {.name = name_, .read = read_, .offset = offsetof(struct_, member_)}
#define FIELD_REQUIRED(name_, read_, struct_, member_)                                                             \
	{.name = name_, .read = read_, .offset = offsetof(struct_, member_), .required = true}
/* The reader gets the whole struct. */
#define FIELD_WHOLE(name_, read_) {.name = name_, .read = read_}
#define FIELD_NOT_HONOURED(name_) {.name = name_}

/* `target` is the struct that the offsets are of. A null value counts as not given, as in Kubernetes. */
void fields_read(struct decoder *decoder, const struct yaml_node *node, const struct field *fields, size_t count, void *target);

/* Bookkeeping of Kubernetes that is kept in the object and needs no warning. */
field_reader field_keep;

/* One kind of value each; the target's type is in the comment. */
field_reader field_text;        /* const char * */
field_reader field_bool;        /* bool */
field_reader field_address;     /* struct address */
field_reader field_prefix;      /* struct prefix */
field_reader field_port_number; /* uint16_t, 1 to 65535 */
field_reader field_protocol;    /* enum protocol_name */
field_reader field_text_list;   /* struct string_list; no item empty */
field_reader field_text_map;    /* struct key_values; text to text */

/* False when something was wrong and has been said. */
bool node_integer(struct decoder *decoder, const struct yaml_node *node, int64_t minimum, int64_t maximum, int64_t *ret_value);
bool node_text(struct decoder *decoder, const struct yaml_node *node, const char **ret_text);
bool node_is_list(struct decoder *decoder, const struct yaml_node *node);
/* One of `words`; gives its index. */
bool node_choice(struct decoder *decoder, const struct yaml_node *node, const char *const *words, size_t count,
		 size_t *ret_index);

/*
 * Reads each item of a list into an array of `item_size` each, in the arena; `ret_items` is the address of a pointer.
 * A node that is not a list gives none, and neither does a list with an empty item: both are errors.
 */
void list_read(struct decoder *decoder, const struct yaml_node *node, size_t item_size, field_reader *read, void *ret_items,
	       size_t *ret_count);

/* --- checks of text; each returns NULL or what is wrong, as "must …" --- */

const char *name_check_label(const char *text);     /* RFC 1123 label */
const char *name_check_subdomain(const char *text); /* RFC 1123 subdomain */
const char *name_check_host(const char *text);      /* one that DNS can hold, too: labels of at most 63 characters (RFC 1035 section 2.3.4) */
const char *label_check_key(const char *key);
const char *label_check_value(const char *value);

/* --- scalars --- */

enum scalar_type { SCALAR_TEXT, SCALAR_BOOL, SCALAR_INTEGER, SCALAR_REAL };

/* What a scalar is in JSON: YAML 1.1 as kubectl reads it (yes, no, on and off are booleans), numbers without leading zeros. */
enum scalar_type scalar_type(const struct yaml_node *node);
bool scalar_bool(const struct yaml_node *node);
bool scalar_integer(const struct yaml_node *node, int64_t *ret_value);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From YAML or JSON to typed objects, validated whole: one error, and the caller gets no object at all.
 *
 * A field that we honour is parsed and checked. One that is in the upstream schema but not honoured is kept in `raw` and
 * reported as a warning. One that is in no schema is an error, as are wrong types, duplicate keys and duplicate objects.
 *
 * Hostile text ends quickly and with a reason: the limits below bound size, depth, nodes and what aliases expand to.
 * Any thread, on separate arguments.
 */
#pragma once

#include "ctrl/manifest/diagnostics.h"
#include "ctrl/manifest/objects.h"

#define MANIFEST_OBJECTS_MAX 100000 /* in one stream */

struct object_list {
	struct object **items;
	size_t count;
};

/* Frees the objects too. */
void object_list_done(struct object_list *list);

/*
 * Reads a stream: several YAML documents, JSON, and `kind: List` (whose items are unpacked). `file` names it in diagnostics.
 * 0, or -EINVAL with at least one error among the diagnostics; warnings may come with either. `diagnostics` is the caller's,
 * initialised, and added to. An empty stream gives no objects and no error.
 */
must_check int manifest_load(const char *text, size_t length, const char *file, struct object_list *ret_objects,
			     struct diagnostics *diagnostics);

/* The same for a file or directory (see below); "-" is standard input. What cannot be read is an error as well. */
must_check int manifest_load_file(const char *path, struct object_list *ret_objects, struct diagnostics *diagnostics);

/*
 * The same for several files as one stream, and for directories (their *.yaml, *.yml and *.json files in order of name). An
 * object may not be defined twice.
 */
must_check int manifest_load_paths(const char *const *paths, size_t count, struct object_list *ret_objects,
				   struct diagnostics *diagnostics);

/*
 * One object from the API or the store; places are JSON paths ("spec.ports[0].port"). `json` is borrowed; the object holds its
 * own reference, so the caller must not change it afterwards.
 */
must_check int object_from_json(json_t *json, struct object **ret_object, struct diagnostics *diagnostics);

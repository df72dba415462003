/* SPDX-License-Identifier: Apache-2.0 */
/* Trees of YAML nodes to JSON and back, so that manifests and the API share one decoder. Inside ctrl/manifest only. */
#pragma once

#include "ctrl/manifest/decoder.h"

/* Nodes without a place, in the decoder's arena. NULL when the JSON is too deep or holds a zero byte: an error was added. */
const struct yaml_node *tree_from_json(struct decoder *decoder, const json_t *json);

/* A new reference; `node` comes from a parser that bounds depth and size. */
json_t *tree_to_json(const struct yaml_node *node);

/* Adds an error and returns false when the text is not UTF-8; the parser would take such a value for an empty one. */
bool tree_check_utf8(struct diagnostics *diagnostics, const char *file, const char *text, size_t length);

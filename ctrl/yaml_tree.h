/* SPDX-License-Identifier: Apache-2.0 */
/* From libfyaml's events to a tree, within limits. For yaml.c only: it refuses the texts that the parser cannot bear. */
#pragma once

#include "ctrl/yaml.h"

/* As yaml_parse(). The parser would take a length of 0 for "until the zero byte": it must not be 0. */
must_check int yaml_tree_build(const char *text, size_t length, const struct yaml_limits *limits,
			       struct yaml_problems *problems, struct yaml_stream *ret_stream);

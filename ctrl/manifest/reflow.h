/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON as the YAML parser can take it. The parser holds back everything on a line that begins with a bracket, in case a ":" at its
 * end makes a key of it all (libfyaml 0.7.12: 400 bytes for each value; a line of 60 MB took 12 GB). So each comma or opening
 * bracket outside a string ends its line; places are turned back afterwards. Inside ctrl/manifest only.
 */
#pragma once

#include "ctrl/yaml.h"

struct reflow_line {
	uint32_t line, column; /* where this line began in the original */
};

struct reflow {
	char *text;
	size_t length;
	struct reflow_line *lines;
	size_t line_count;
};

/*
 * True and the new text when it looks like JSON: its first character is a bracket, and outside of strings there is nothing that
 * JSON does not know. More lines than `lines_max` are none that could be parsed within the limits: false as well.
 */
bool reflow_json(const char *text, size_t length, size_t lines_max, struct reflow *ret_reflow);
void reflow_done(struct reflow *reflow);

/* From a place in the new text to the one in the original. */
void reflow_place(const struct reflow *reflow, unsigned int *line, unsigned int *column);
/* The same for all nodes of a tree in which none is shared: JSON has no aliases. */
void reflow_tree(const struct reflow *reflow, struct yaml_node *node);

/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/manifest/reflow.h"

#include <string.h>

struct scanner {
	struct reflow *reflow;
	size_t lines_capacity, lines_max;
	uint32_t line, column; /* of the next character, in the original */
};

static bool line_begin(struct scanner *scanner)
{
	struct reflow *reflow = scanner->reflow;

	if (reflow->line_count == scanner->lines_max)
		return false;
	if (reflow->line_count == scanner->lines_capacity) {
		scanner->lines_capacity = scanner->lines_capacity ? 2 * scanner->lines_capacity : 1024;
		reflow->lines = reallocarray(reflow->lines, scanner->lines_capacity, sizeof(*reflow->lines));
		if (!reflow->lines)
			abort();
	}
	reflow->lines[reflow->line_count++] = (struct reflow_line){scanner->line, scanner->column};
	return true;
}

/* Columns count characters: bytes that continue one do not. */
static void scanner_advance(struct scanner *scanner, char c)
{
	if (c == '\n') {
		scanner->line++;
		scanner->column = 1;
	} else if (((unsigned char)c & 0xc0) != 0x80) {
		scanner->column++;
	}
}

/* The length of a string with its quotes; up to the end when it is not closed. */
static size_t string_length(const char *text, size_t length)
{
	size_t at = 1;

	while (at < length && text[at] != '"')
		at += text[at] == '\\' ? 2 : 1;
	return at < length ? at + 1 : length;
}

static bool scanner_emit(struct scanner *scanner, char c)
{
	scanner->reflow->text[scanner->reflow->length++] = c;
	scanner_advance(scanner, c);
	return c != '\n' || line_begin(scanner);
}

static bool scanner_run(struct scanner *scanner, const char *text, size_t length)
{
	char before = '[';

	if (!line_begin(scanner))
		return false;
	for (size_t at = 0; at < length;) {
		size_t string = text[at] == '"' ? string_length(text + at, length - at) : 0;

		/* YAML may have a quote inside of a plain text, which would put us out of step */
		if (string && !strchr(",:[{", before))
			return false;
		/* numbers, true, false and null; the rest is not JSON and not touched */
		if (!string && !strchr("{}[],: \t\r\n+-.0123456789Eaeflnrstu", text[at]))
			return false;
		for (size_t end = at + string; at < end; at++)
			if (!scanner_emit(scanner, text[at]))
				return false;
		if (string) {
			before = '"';
			continue;
		}
		if (!strchr(" \t\r\n", text[at]))
			before = text[at];
		if (!scanner_emit(scanner, text[at]))
			return false;
		if (strchr(",[{", text[at++])) {
			scanner->reflow->text[scanner->reflow->length++] = '\n';
			if (!line_begin(scanner))
				return false;
		}
	}
	return true;
}

bool reflow_json(const char *text, size_t length, size_t lines_max, struct reflow *ret_reflow)
{
	struct reflow reflow = {0};
	struct scanner scanner = {.reflow = &reflow, .lines_max = lines_max, .line = 1, .column = 1};

	if (!length || (text[0] != '{' && text[0] != '['))
		return false;
	reflow.text = malloc(2 * length + 1);
	if (!reflow.text)
		abort();
	if (scanner_run(&scanner, text, length)) {
		*ret_reflow = reflow;
		return true;
	}
	reflow_done(&reflow);
	return false;
}

void reflow_done(struct reflow *reflow)
{
	free(reflow->text);
	free(reflow->lines);
	*reflow = (struct reflow){0};
}

void reflow_place(const struct reflow *reflow, unsigned int *line, unsigned int *column)
{
	const struct reflow_line *start;

	if (*line == 0 || *line > reflow->line_count)
		return;
	start = &reflow->lines[*line - 1];
	*column += start->column - 1;
	*line = start->line;
}

void reflow_tree(const struct reflow *reflow, struct yaml_node *node)
{
	reflow_place(reflow, &node->line, &node->column);
	for (size_t i = 0; i < node->count; i++) {
		if (node->kind == YAML_MAPPING)
			reflow_tree(reflow, node->keys[i]);
		reflow_tree(reflow, node->items[i]);
	}
}

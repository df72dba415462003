/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/manifest/diagnostics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIAGNOSTIC_TEXT_SIZE 768

void diagnostics_init(struct diagnostics *diagnostics)
{
	*diagnostics = (struct diagnostics){0};
}

void diagnostics_done(struct diagnostics *diagnostics)
{
	for (size_t i = 0; i < diagnostics->count; i++) {
		free((char *)diagnostics->items[i].file);
		free((char *)diagnostics->items[i].text);
	}
	free(diagnostics->items);
	diagnostics_init(diagnostics);
}

/* What is quoted from the text may hold control characters: they must not reach a terminal. */
static void text_make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

void diagnostics_add(struct diagnostics *diagnostics, enum diagnostic_severity severity, const char *file, uint32_t line,
		     uint32_t column, const char *format, ...)
{
	bool error = severity == DIAGNOSTIC_ERROR;
	size_t *found = error ? &diagnostics->error_count : &diagnostics->warning_count;
	char text[DIAGNOSTIC_TEXT_SIZE];
	struct diagnostic *items;
	va_list arguments;

	if ((*found)++ >= (error ? DIAGNOSTIC_ERRORS_MAX : DIAGNOSTIC_WARNINGS_MAX))
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	text_make_printable(text);

	items = reallocarray(diagnostics->items, diagnostics->count + 1, sizeof(*items));
	if (!items)
		abort();
	diagnostics->items = items;
	items[diagnostics->count++] = (struct diagnostic){
		.severity = severity,
		.file = strdup(file ? file : ""),
		.line = line,
		.column = column,
		.text = strdup(text),
	};
}

char *diagnostic_format(const struct diagnostic *diagnostic)
{
	const char *severity = diagnostic->severity == DIAGNOSTIC_WARNING ? "warning: " : "";
	char place[64] = "";
	char *line = NULL;

	if (diagnostic->line)
		snprintf(place, sizeof(place), "%u:%u: ", diagnostic->line, diagnostic->column);
	if (asprintf(&line, "%s%s%s%s%s", diagnostic->file, *diagnostic->file ? (diagnostic->line ? ":" : ": ") : "",
		     place, severity, diagnostic->text) < 0)
		abort();
	return line;
}

int diagnostics_error(const struct diagnostics *diagnostics, struct error *error)
{
	for (size_t i = 0; i < diagnostics->count; i++) {
		_cleanup_(freep) char *line = NULL;
		size_t more = diagnostics->error_count - 1;

		if (diagnostics->items[i].severity != DIAGNOSTIC_ERROR)
			continue;
		line = diagnostic_format(&diagnostics->items[i]);
		if (more)
			return error_set(error, EINVAL, "%s (and %zu more error%s)", line, more, more == 1 ? "" : "s");
		return error_set(error, EINVAL, "%s", line);
	}
	return 0;
}

json_t *diagnostics_to_json(const struct diagnostics *diagnostics)
{
	json_t *list = json_array();

	for (size_t i = 0; i < diagnostics->count; i++) {
		const struct diagnostic *item = &diagnostics->items[i];
		const char *severity = item->severity == DIAGNOSTIC_ERROR ? "error" : "warning";

		/* a file's name need not be UTF-8: then it is left out rather than the whole list */
		json_array_append_new(list, json_pack("{s:s, s:o*, s:I, s:I, s:s*}", "severity", severity, "file",
						      json_string(item->file), "line", (json_int_t)item->line, "column",
						      (json_int_t)item->column, "text", item->text));
	}
	return list;
}

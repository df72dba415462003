/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with a text that an operator wrote, and where. Loaders go on after an error, so that a reader sees several at
 * once. Lists are bounded: what does not fit is counted. Not thread-safe.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"

#define DIAGNOSTIC_ERRORS_MAX 20
#define DIAGNOSTIC_WARNINGS_MAX 100

enum diagnostic_severity { DIAGNOSTIC_ERROR, DIAGNOSTIC_WARNING };

struct diagnostic {
	enum diagnostic_severity severity;
	const char *file;      /* "" when there is none */
	uint32_t line, column; /* from 1; 0 when there is no place in a text */
	const char *text;      /* begins with the field's path when there is one: "spec.ports[0].port: …" */
};

struct diagnostics {
	struct diagnostic *items; /* in the order they were found */
	size_t count;
	size_t error_count, warning_count; /* all that were found, whether listed or not */
};

void diagnostics_init(struct diagnostics *diagnostics);
void diagnostics_done(struct diagnostics *diagnostics);

/* `file` may be NULL. */
void diagnostics_add(struct diagnostics *diagnostics, enum diagnostic_severity severity, const char *file, uint32_t line,
		     uint32_t column, const char *format, ...) __attribute__((format(printf, 6, 7)));

/* "file:line:column: text", with "warning: " before the text of a warning; to be freed by the caller. */
char *diagnostic_format(const struct diagnostic *diagnostic);

/* The first error's line and how many more there are, for `struct error`; returns -EINVAL, or 0 without errors. */
int diagnostics_error(const struct diagnostics *diagnostics, struct error *error);

/* A new array of {"severity","file","line","column","text"}, for the API. */
json_t *diagnostics_to_json(const struct diagnostics *diagnostics);

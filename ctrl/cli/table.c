/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/cli/table.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 24

struct row {
	char *cells[COLUMNS_MAX];
	size_t count;
};

struct table {
	struct row *rows; /* the first holds the headings */
	size_t count;
};

void table_row_begin(struct table *table)
{
	table->rows = reallocarray(table->rows, table->count + 1, sizeof(*table->rows));
	if (!table->rows)
		abort();
	table->rows[table->count++] = (struct row){0};
}

static void cell_add(struct table *table, const char *text)
{
	struct row *row = &table->rows[table->count - 1];

	if (row->count < COLUMNS_MAX && !(row->cells[row->count++] = strdup(text)))
		abort();
}

void table_cell(struct table *table, const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		abort();
	va_end(arguments);
	cell_add(table, text);
	free(text);
}

static void cells_add(struct table *table, const char *cell, va_list more)
{
	table_row_begin(table);
	for (; cell; cell = va_arg(more, const char *))
		cell_add(table, cell);
}

struct table *table_new(const char *heading, ...)
{
	struct table *table = calloc(1, sizeof(*table));
	va_list more;

	if (!table)
		abort();
	va_start(more, heading);
	cells_add(table, heading, more);
	va_end(more);
	return table;
}

void table_row(struct table *table, const char *cell, ...)
{
	va_list more;

	va_start(more, cell);
	cells_add(table, cell, more);
	va_end(more);
}

/* Characters, not bytes: those that continue one in UTF-8 take no place. */
static size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += (*text & 0xc0) != 0x80;
	return width;
}

static void row_print(const struct row *row, const size_t *widths, FILE *file, const char *indent)
{
	size_t last = row->count;

	while (last && !*row->cells[last - 1])
		last--;
	fputs(indent, file);
	for (size_t i = 0; i < last; i++) {
		fputs(row->cells[i], file);
		if (i + 1 < last)
			fprintf(file, "%*s", (int)(widths[i] - text_width(row->cells[i]) + 3), "");
	}
	fputc('\n', file);
}

void table_print(struct table *table, FILE *file, const char *indent)
{
	size_t widths[COLUMNS_MAX] = {0};

	for (size_t r = 0; r < table->count; r++)
		for (size_t i = 0; i < table->rows[r].count; i++)
			if (text_width(table->rows[r].cells[i]) > widths[i])
				widths[i] = text_width(table->rows[r].cells[i]);
	for (size_t r = 0; r < table->count; r++) {
		if (table->count > 1)
			row_print(&table->rows[r], widths, file, indent);
		for (size_t i = 0; i < table->rows[r].count; i++)
			free(table->rows[r].cells[i]);
	}
	free(table->rows);
	free(table);
}

void flows_cell(struct table *table, const json_t *row)
{
	const json_t *flows = json_object_get(row, "flows");

	if (flows)
		table_cell(table, "%" JSON_INTEGER_FORMAT, json_integer_value(flows));
	else
		table_cell(table, "-");
}

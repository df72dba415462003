/* SPDX-License-Identifier: Apache-2.0 */
/* Columns of text, as wide as their widest cell, three spaces between. */
#pragma once

#include <jansson.h>
#include <stdio.h>

struct table;

/* Headings up to NULL. */
struct table *table_new(const char *heading, ...) __attribute__((sentinel));
/* One row: cells up to NULL, copied; those that are missing are empty. "" is shown as it is. */
void table_row(struct table *table, const char *cell, ...) __attribute__((sentinel));
/* A cell at the end of the last row. */
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_row_begin(struct table *table);
/* Prints, with the headings if there is a row, and frees. */
void table_print(struct table *table, FILE *file, const char *indent);

/* The row's "flows", "-" until they have been counted. */
void flows_cell(struct table *table, const json_t *row);

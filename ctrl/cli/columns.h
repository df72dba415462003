/* SPDX-License-Identifier: Apache-2.0 */
/* What `get` shows of each kind. */
#pragma once

#include "ctrl/cli/cli.h"
#include "ctrl/cli/table.h"

/* A table with the headings of a kind; `namespaces`: with a column for them. */
struct table *columns_new(enum object_kind kind, bool namespaces, bool wide);
void columns_row(struct table *table, enum object_kind kind, bool namespaces, bool wide, const json_t *object);

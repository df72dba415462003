/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of edge_state.h as pieces of memory, one by one, for hosts that map them: in the order of struct edge_tables.
 * Any thread.
 */
#pragma once

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "edge/edge_state.h"

#define TABLE_COUNT (sizeof(struct edge_tables) / sizeof(void *))

/* Maps table number `index` from fds[index], or zeroed memory of this process' own when `fds` is NULL. All or none. */
must_check int tables_map(const int *fds, uint32_t counter_sets, struct edge_tables *ret_tables, struct error *error);
/* Tables of tables_map(); NULLs are skipped. */
void tables_unmap(const struct edge_tables *tables, uint32_t counter_sets);

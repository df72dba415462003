/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lib/row_table.h"

#include <errno.h>
#include <string.h>

#include "base/lib/table_put.h"

static void *row_at(const struct row_table *table, uint32_t row)
{
	return (uint8_t *)table->rows + row * table->row_bytes;
}

static int dictionary_switch(struct row_table *table, const struct directory_pair *pairs, size_t count,
			     uint32_t *directory_changes)
{
	uint64_t next;
	int result;

	if (directory_holds(table->entries, table->bits, *table->control, pairs, count))
		return 0;
	quiesce_need(table->quiesce, table->stamp);
	result = directory_build(table->entries, table->bits, *table->control, pairs, count, &next);
	if (result < 0)
		return -ENOSPC;
	table_publish();
	store_once(*table->control, next);
	table->stamp = quiesce_retire(table->quiesce);
	*directory_changes += (uint32_t)count + 1;
	return 0;
}

/* Marks the rows that the dictionary leads to. */
static void used_mark(const struct row_table *table, bool *used)
{
	const struct directory_entry *buffer = table->entries + ((*table->control & 1) << table->bits);

	for (size_t i = 0; i < (size_t)1 << table->bits; i++) {
		if (buffer[i].row && buffer[i].row < table->row_count)
			used[buffer[i].row] = true;
	}
}

/* Pairs for keys that have a row; returns how many. `used` loses the rows that stay. */
static size_t pairs_keep(const struct row_table *table, const struct directory_key *keys, size_t count,
			 struct directory_pair *pairs, bool *leaves)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		uint32_t row = directory_find(table->entries, table->bits, *table->control, &keys[i]);

		if (row == 0 || row >= table->row_count)
			continue;
		pairs[kept++] = (struct directory_pair){keys[i], row};
		leaves[row] = false;
	}
	return kept;
}

static void rows_clear(struct row_table *table, const bool *leaves, uint32_t *row_changes)
{
	for (uint32_t row = 1; row < table->row_count; row++) {
		if (!leaves[row])
			continue;
		quiesce_need(table->quiesce, table->stamp);
		memset(row_at(table, row), 0, table->row_bytes);
		(*row_changes)++;
	}
}

/* Gives each key its row and fills it; pairs are in the order of keys. */
static void rows_fill(struct row_table *table, const struct directory_key *keys, size_t count,
		      const struct row_filler *filler, bool *used, struct directory_pair *pairs, uint32_t *row_changes)
{
	uint32_t next = 1;

	for (size_t i = 0; i < count; i++) {
		uint32_t row = directory_find(table->entries, table->bits, *table->control, &keys[i]);

		if (row == 0 || row >= table->row_count) {
			while (used[next])
				next++;
			row = next;
			used[row] = true;
			quiesce_need(table->quiesce, table->stamp);
		}
		pairs[i] = (struct directory_pair){keys[i], row};
		filler->fill(filler, i, row_at(table, row), row_changes);
	}
}

int row_table_apply(struct row_table *table, const struct directory_key *keys, size_t count,
		    const struct row_filler *filler, uint32_t *row_changes, uint32_t *directory_changes)
{
	_cleanup_(freep) struct directory_pair *pairs = calloc(count + 1, sizeof(*pairs));
	_cleanup_(freep) bool *used = calloc(table->row_count, sizeof(*used));
	_cleanup_(freep) bool *leaves = calloc(table->row_count, sizeof(*leaves));
	size_t kept, used_count = 0;
	int result;

	if (!pairs || !used || !leaves)
		return -ENOMEM;
	used_mark(table, used);
	memcpy(leaves, used, table->row_count * sizeof(*leaves));
	kept = pairs_keep(table, keys, count, pairs, leaves);
	for (uint32_t row = 1; row < table->row_count; row++)
		used_count += used[row];
	if (used_count + (count - kept) > table->row_count - 1) {
		/* Not room for old and new at once: the old ones leave first. */
		result = dictionary_switch(table, pairs, kept, directory_changes);
		if (result < 0)
			return result;
		rows_clear(table, leaves, row_changes);
		memset(leaves, 0, table->row_count * sizeof(*leaves));
		memset(used, 0, table->row_count * sizeof(*used));
		used_mark(table, used);
	}
	rows_fill(table, keys, count, filler, used, pairs, row_changes);
	result = dictionary_switch(table, pairs, count, directory_changes);
	if (result == 0)
		rows_clear(table, leaves, row_changes);
	return result;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of rows with its dictionary (base/packet/directory.h), made equal to a list of keys: rows that stay keep their
 * numbers, rows that go are cleared once no packet reads them. Which rows are in use is what the dictionary says, so
 * nothing has to be remembered over a restart. One thread.
 */
#pragma once

#include "base/lib/directory_build.h"
#include "base/lib/quiesce.h"

struct row_table {
	struct directory_entry *entries; /* both buffers */
	uint64_t *control;
	uint32_t bits;
	void *rows; /* row 0 is never used */
	size_t row_bytes;
	uint32_t row_count;
	struct quiesce *quiesce;
	uint64_t stamp; /* of the spare buffer and of cleared rows; start with a quiesce_retire() */
};

/* What rows hold: stores what differs in `row` for the key at `place`, and counts the stores. */
struct row_filler {
	void (*fill)(const struct row_filler *filler, size_t place, void *row, uint32_t *changes);
};

/*
 * Rows are filled before the dictionary leads to them. No key may be twice among `keys`, nor more of them than rows.
 * Adds to `row_changes` and `directory_changes`. 0, -ENOMEM (nothing written), -ENOSPC (no dictionary found).
 */
must_check int row_table_apply(struct row_table *table, const struct directory_key *keys, size_t count,
			       const struct row_filler *filler, uint32_t *row_changes, uint32_t *directory_changes);

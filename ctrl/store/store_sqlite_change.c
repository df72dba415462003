/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions, and the compaction of what they leave behind. */
#include <string.h>

#include "base/lib/log.h"
#include "base/lib/memory.h"
#include "ctrl/store/store_sqlite_internal.h"

/* ---- Changes ---- */

/* The next row of the revision; an error if a revision would hold more than its rows can number. */
static int change_row_take(struct change *change, uint64_t *ret_row, struct error *error)
{
	if (change->places == PLACES_MAX)
		return error_set(error, ENOSPC, "one transaction changes at most %u keys", PLACES_MAX);
	*ret_row = revision_first_row(change->revision) + change->places++;
	return 0;
}

static int history_insert(struct sqlite_store *sqlite, const struct row *row, struct error *error)
{
	sqlite3_stmt *statement = statement_get(sqlite, STATEMENT_HISTORY_INSERT);
	const struct store_record *record = &row->record;

	statement_bind_number(statement, 1, row->row);
	statement_bind_bytes(statement, 2, record->key, strlen(record->key));
	if (!row->deleted)
		statement_bind_bytes(statement, 3, record->value.data, record->value.length);
	statement_bind_number(statement, 4, row->previous);
	statement_bind_number(statement, 5, record->create_revision);
	statement_bind_number(statement, 6, record->version);
	statement_bind_number(statement, 7, record->lease);
	statement_bind_number(statement, 8, row_checksum(row));
	return statement_run(sqlite, STATEMENT_HISTORY_INSERT, error, "writing");
}

static int change_put(struct change *change, const struct store_step *step, struct arena *arena, struct error *error)
{
	struct sqlite_store *sqlite = change->sqlite;
	sqlite3_stmt *statement = statement_get(sqlite, STATEMENT_CURRENT_SET);
	struct row old = {}, row = {};
	int status;

	if (step->lease && !lease_lookup(sqlite, step->lease))
		return lease_unknown_error(error, step->lease);
	status = key_query(sqlite, step->key, arena, &old, error);
	if (status >= 0)
		status = change_row_take(change, &row.row, error);
	if (status < 0)
		return status;
	row.previous = old.row;
	row.record = (struct store_record){
		.key = step->key,
		.value = step->value,
		.create_revision = old.row ? old.record.create_revision : change->revision,
		.version = old.record.version + 1,
		.lease = step->lease,
	};
	status = history_insert(sqlite, &row, error);
	if (status < 0)
		return status;
	statement_bind_bytes(statement, 1, step->key, strlen(step->key));
	statement_bind_number(statement, 2, row.row);
	statement_bind_number(statement, 3, step->lease);
	return statement_run(sqlite, STATEMENT_CURRENT_SET, error, "writing");
}

static int change_delete_row(struct change *change, const struct row *old, struct error *error)
{
	struct sqlite_store *sqlite = change->sqlite;
	struct row row = {.previous = old->row, .deleted = true, .record.key = old->record.key};
	int status = change_row_take(change, &row.row, error);

	if (status == 0)
		status = history_insert(sqlite, &row, error);
	if (status < 0)
		return status;
	statement_bind_bytes(statement_get(sqlite, STATEMENT_CURRENT_DELETE), 1, old->record.key, strlen(old->record.key));
	return statement_run(sqlite, STATEMENT_CURRENT_DELETE, error, "writing");
}

int change_delete(struct change *change, const struct store_step *step, struct arena *arena, size_t *ret_count,
		  struct error *error)
{
	struct row *rows = NULL, one;
	size_t count = 0;
	int status;

	if (step->kind == STORE_DELETE_PREFIX) {
		status = prefix_query(change->sqlite, step->key, arena, &rows, &count, error);
	} else {
		status = key_query(change->sqlite, step->key, arena, &one, error);
		rows = &one;
		count = status > 0;
	}
	for (size_t i = 0; status >= 0 && i < count; i++)
		status = change_delete_row(change, &rows[i], error);
	*ret_count = count;
	return status < 0 ? status : 0;
}

static int change_get(struct change *change, const struct store_step *step, struct arena *arena,
		      struct store_step_result *result, struct error *error)
{
	struct store_record *records;
	struct row *rows = NULL, one;
	size_t count = 0;
	int status;

	if (step->kind == STORE_GET_PREFIX) {
		status = prefix_query(change->sqlite, step->key, arena, &rows, &count, error);
	} else {
		status = key_query(change->sqlite, step->key, arena, &one, error);
		rows = &one;
		count = status > 0;
	}
	if (status < 0)
		return status;
	records = arena_take(arena, (count + 1) * sizeof(*records));
	for (size_t i = 0; i < count; i++)
		records[i] = rows[i].record;
	result->records = records;
	result->record_count = count;
	return 0;
}

/* 1: it holds. */
static int change_compare(struct change *change, const struct store_compare *compare, struct arena *arena,
			  struct error *error)
{
	struct row row = {};
	int found = key_query(change->sqlite, compare->key, arena, &row, error);

	if (found < 0)
		return found;
	switch (compare->kind) {
	case STORE_COMPARE_EXISTS:
		return found;
	case STORE_COMPARE_ABSENT:
		return !found;
	case STORE_COMPARE_MOD_REVISION:
		return row.record.mod_revision == compare->number;
	case STORE_COMPARE_VERSION:
		return row.record.version == compare->number;
	case STORE_COMPARE_VALUE:
		return found && row.record.value.length == compare->value.length &&
		       (!compare->value.length ||
			!memcmp(row.record.value.data, compare->value.data, compare->value.length));
	}
	return 0;
}

static int change_compare_all(struct change *change, const struct store_transaction *transaction, struct error *error)
{
	struct arena arena = {};
	int holds = 1;

	for (size_t i = 0; holds == 1 && i < transaction->compare_count; i++)
		holds = change_compare(change, &transaction->compares[i], &arena, error);
	arena_done(&arena);
	return holds;
}

static int change_steps(struct change *change, const struct store_step *steps, size_t count,
			struct completion *completion)
{
	struct store_step_result *results = arena_take(&completion->arena, (count + 1) * sizeof(*results));
	struct arena scratch = {};
	int status = 0;

	for (size_t i = 0; status == 0 && i < count; i++) {
		if (steps[i].kind == STORE_PUT)
			status = change_put(change, &steps[i], &scratch, &completion->error);
		else if (steps[i].kind == STORE_DELETE || steps[i].kind == STORE_DELETE_PREFIX)
			status = change_delete(change, &steps[i], &scratch, &results[i].deleted_count, &completion->error);
		else
			status = change_get(change, &steps[i], &completion->arena, &results[i], &completion->error);
	}
	arena_done(&scratch);
	completion->result.steps = results;
	completion->result.step_count = count;
	return status;
}

int change_begin(struct sqlite_store *sqlite, struct change *change, struct error *error)
{
	*change = (struct change){.sqlite = sqlite, .revision = sqlite->revision + 1};
	return statement_run(sqlite, STATEMENT_BEGIN, error, "beginning a transaction");
}

static void change_abandon(struct change *change)
{
	/* SQLite has rolled back by itself after some errors (a full disk). */
	if (!sqlite3_get_autocommit(change->sqlite->database))
		(void)!statement_run(change->sqlite, STATEMENT_ROLLBACK, NULL, "rolling back");
}

int change_end(struct change *change, int status, struct error *error)
{
	if (status == 0)
		status = statement_run(change->sqlite, STATEMENT_COMMIT, error, "writing");
	if (status < 0)
		change_abandon(change);
	else if (change->places)
		change->sqlite->revision = change->revision;
	return status;
}

/* ---- Compaction ---- */

static int compaction_run(struct sqlite_store *sqlite, uint64_t up_to)
{
	static const enum statement deletes[] = {STATEMENT_COMPACT_REPLACED, STATEMENT_COMPACT_DELETED};
	struct error error = {};
	struct change change;
	int status = change_begin(sqlite, &change, &error);

	for (size_t i = 0; status == 0 && i < array_length(deletes); i++) {
		sqlite3_stmt *statement = statement_get(sqlite, deletes[i]);

		statement_bind_number(statement, 1, revision_first_row(sqlite->compacted + 1));
		statement_bind_number(statement, 2, revision_first_row(up_to + 1));
		status = statement_run(sqlite, deletes[i], &error, "compacting");
	}
	if (status == 0) {
		statement_bind_number(statement_get(sqlite, STATEMENT_COMPACT_NOTE), 1, up_to);
		status = statement_run(sqlite, STATEMENT_COMPACT_NOTE, &error, "compacting");
	}
	status = change_end(&change, status, &error);
	if (status < 0)
		log_warning("the store's history stays longer than it should: %s", error.text);
	return status;
}

/* In strides, so that few puts pay for it. The newest revision always stays: the next number follows from it. */
static void compaction_consider(struct sqlite_store *sqlite)
{
	uint64_t keep = sqlite->history_revisions, stride = keep / 8 + 1;

	if (sqlite->revision < keep + stride || sqlite->revision - keep - sqlite->compacted < stride)
		return;
	if (compaction_run(sqlite, sqlite->revision - keep) == 0)
		sqlite->compacted = sqlite->revision - keep;
}

/* ---- The call ---- */

void sqlite_transact(struct store *store, const struct store_transaction *transaction, store_done done, void *context)
{
	struct sqlite_store *sqlite = sqlite_of(store);
	struct completion *completion = completion_new(done, context);
	struct change change;
	int status = change_begin(sqlite, &change, &completion->error);

	if (status == 0) {
		int holds = change_compare_all(&change, transaction, &completion->error);

		completion->result.succeeded = holds == 1;
		if (holds < 0)
			status = holds;
		else if (holds)
			status = change_steps(&change, transaction->then_steps, transaction->then_count, completion);
		else
			status = change_steps(&change, transaction->else_steps, transaction->else_count, completion);
		status = change_end(&change, status, &completion->error);
	}
	completion_queue(sqlite, completion, status);
	if (status == 0 && change.places)
		compaction_consider(sqlite);
}

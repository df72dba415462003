/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The history is one table of changes, its row number being revision and place in the revision; `current` names the newest
 * change of each key. Each change knows the one it replaced, so compaction walks every row once: what a compacted change
 * replaced goes, and so do compacted deletions. A change that is current is never removed.
 *
 * A transaction is executed and committed inside the call; only its completion waits for the dispatch.
 */
#include "ctrl/store/store_sqlite.h"

#include <event2/event.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/lib/log.h"
#include "base/lib/arena.h"
#include "base/lib/memory.h"

#define SCHEMA_VERSION 1
#define APPLICATION_ID 0x53656c76 /* "Selv" */
#define LOCK_FILE "store.lock"
#define WAL_BYTES_KEPT 4194304 /* the log's file is cut to this when it has been written back */
#define WATCH_BATCH_EVENTS 512
#define LEASE_RETRY_MS 1000 /* when the keys of an ended lease cannot be deleted */

/* Row number of a change: its revision, and its place among the changes of that revision. */
#define PLACE_BITS 20
#define PLACES_MAX (1u << PLACE_BITS)

static uint64_t row_revision(uint64_t row)
{
	return row >> PLACE_BITS;
}

static uint64_t revision_first_row(uint64_t revision)
{
	return revision << PLACE_BITS;
}

static const char schema_sql[] =
	"CREATE TABLE history (row INTEGER PRIMARY KEY, key BLOB NOT NULL, value BLOB," /* NULL: deleted */
	" previous INTEGER NOT NULL, created INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL,"
	" checksum INTEGER NOT NULL);"
	"CREATE TABLE current (key BLOB PRIMARY KEY, row INTEGER NOT NULL, lease INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE INDEX current_lease ON current (lease) WHERE lease <> 0;"
	"CREATE TABLE lease (id INTEGER PRIMARY KEY AUTOINCREMENT, ttl_s INTEGER NOT NULL);"
	"CREATE TABLE compaction (revision INTEGER NOT NULL);"
	"INSERT INTO compaction VALUES (0);";

enum statement {
	STATEMENT_BEGIN,
	STATEMENT_COMMIT,
	STATEMENT_ROLLBACK,
	STATEMENT_GET,
	STATEMENT_LIST,
	STATEMENT_ROW_GET,
	STATEMENT_HISTORY_INSERT,
	STATEMENT_CURRENT_SET,
	STATEMENT_CURRENT_DELETE,
	STATEMENT_LEASE_KEYS,
	STATEMENT_LEASE_INSERT,
	STATEMENT_LEASE_DELETE,
	STATEMENT_WATCH,
	STATEMENT_COMPACT_REPLACED,
	STATEMENT_COMPACT_DELETED,
	STATEMENT_COMPACT_NOTE,
	STATEMENT_COUNT,
};

#define ROW_COLUMNS "h.row, h.key, h.value, h.previous, h.created, h.version, h.lease, h.checksum"

static const char *const statement_sql[STATEMENT_COUNT] = {
	[STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
	[STATEMENT_COMMIT] = "COMMIT",
	[STATEMENT_ROLLBACK] = "ROLLBACK",
	[STATEMENT_GET] = "SELECT " ROW_COLUMNS " FROM current c JOIN history h ON h.row = c.row WHERE c.key = ?1",
	[STATEMENT_LIST] = "SELECT " ROW_COLUMNS " FROM current c JOIN history h ON h.row = c.row"
			   " WHERE c.key >= ?1 AND c.key < ?2 ORDER BY c.key",
	[STATEMENT_ROW_GET] = "SELECT " ROW_COLUMNS " FROM history h WHERE h.row = ?1",
	[STATEMENT_HISTORY_INSERT] = "INSERT INTO history VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
	[STATEMENT_CURRENT_SET] = "INSERT INTO current VALUES (?1, ?2, ?3)"
				  " ON CONFLICT (key) DO UPDATE SET row = excluded.row, lease = excluded.lease",
	[STATEMENT_CURRENT_DELETE] = "DELETE FROM current WHERE key = ?1",
	[STATEMENT_LEASE_KEYS] = "SELECT key FROM current WHERE lease = ?1 AND lease <> 0 ORDER BY key",
	[STATEMENT_LEASE_INSERT] = "INSERT INTO lease (ttl_s) VALUES (?1)",
	[STATEMENT_LEASE_DELETE] = "DELETE FROM lease WHERE id = ?1",
	[STATEMENT_WATCH] = "SELECT " ROW_COLUMNS " FROM history h WHERE h.row >= ?1 AND h.key >= ?2 AND h.key < ?3"
			    " ORDER BY h.row",
	[STATEMENT_COMPACT_REPLACED] = "DELETE FROM history WHERE row IN"
				       " (SELECT previous FROM history WHERE row >= ?1 AND row < ?2 AND previous <> 0)",
	[STATEMENT_COMPACT_DELETED] = "DELETE FROM history WHERE row >= ?1 AND row < ?2 AND value IS NULL",
	[STATEMENT_COMPACT_NOTE] = "UPDATE compaction SET revision = ?1",
};

/* A completion that waits for the dispatch. */
struct completion {
	struct completion *next;
	struct arena arena; /* of the result, and of this */
	store_done done;
	void *context;
	int status;
	struct error error;
	struct store_result result;
};

struct sqlite_watch {
	struct store_watch watch; /* first */
	struct sqlite_watch *next;
	char *prefix;
	const struct store_watch_handler *handler;
	void *context;
	uint64_t next_revision; /* everything before it was delivered */
	int refused;		/* to be told in the dispatch */
	struct error error;
	bool ended; /* failed() was called */
	bool freed; /* by its owner; unlinked when no dispatch runs */
};

struct lease {
	uint64_t id;
	uint32_t ttl_s;
	uint64_t expires_ms;
};

struct sqlite_store {
	struct store store; /* first */
	char *path;	    /* of the database */
	int lock_fd;
	sqlite3 *database;
	sqlite3_stmt *statements[STATEMENT_COUNT];
	const struct clock *clock;
	struct event *wake; /* NULL without an event base */
	uint64_t history_revisions;
	uint64_t revision;
	uint64_t compacted; /* changes up to here may be missing */
	struct completion *completions, **completions_end;
	struct sqlite_watch *watches;
	struct lease *leases;
	size_t lease_count, lease_capacity;
	bool dispatching;
};

/* A transaction being executed. */
struct change {
	struct sqlite_store *sqlite;
	uint64_t revision; /* that it takes if it changes something */
	uint32_t places;   /* changes so far */
};

static struct sqlite_store *sqlite_of(struct store *store)
{
	return (struct sqlite_store *)store;
}

/* ---- SQLite's errors in the store's words ---- */

static int database_error(struct sqlite_store *sqlite, struct error *error, const char *what)
{
	int code = sqlite3_errcode(sqlite->database) & 0xff;
	const char *text = sqlite3_errmsg(sqlite->database);

	switch (code) {
	case SQLITE_FULL:
		return error_set(error, ENOSPC, "%s: the disk of %s is full", what, sqlite->path);
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_ERROR: /* our statements are right: a table is missing */
		return error_set(error, EUCLEAN,
				 "%s: the store %s is damaged (%s); stop selvaged, copy %s back from a backup or move it and its "
				 "-wal file away, start again and apply the manifests again",
				 what, sqlite->path, text, sqlite->path);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return error_set(error, EBUSY, "%s: another process has %s open; end it first", what, sqlite->path);
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
	case SQLITE_READONLY:
		return error_set(error, EACCES, "%s: %s cannot be opened for writing: %s", what, sqlite->path, text);
	default:
		return error_set(error, EIO, "%s: %s: %s (%d)", what, sqlite->path, text,
				 sqlite3_extended_errcode(sqlite->database));
	}
}

static int damaged_error(struct sqlite_store *sqlite, struct error *error, const char *what)
{
	return error_set(error, EUCLEAN,
			 "the store %s is damaged (%s); stop selvaged, copy %s back from a backup or move it and its -wal file "
			 "away, start again and apply the manifests again",
			 sqlite->path, what, sqlite->path);
}

/* ---- Statements ---- */

static sqlite3_stmt *statement_get(struct sqlite_store *sqlite, enum statement which)
{
	return sqlite->statements[which];
}

static void statement_bind_number(sqlite3_stmt *statement, int index, uint64_t number)
{
	sqlite3_bind_int64(statement, index, (sqlite3_int64)number);
}

/* An empty value is not SQL's NULL. The data is borrowed until the statement is reset. */
static void statement_bind_bytes(sqlite3_stmt *statement, int index, const void *data, size_t length)
{
	if (length)
		sqlite3_bind_blob64(statement, index, data, length, SQLITE_STATIC);
	else
		sqlite3_bind_zeroblob(statement, index, 0);
}

/* Runs a statement that answers nothing. */
static int statement_run(struct sqlite_store *sqlite, enum statement which, struct error *error, const char *what)
{
	sqlite3_stmt *statement = statement_get(sqlite, which);
	int code = sqlite3_step(statement), status = 0;

	if (code != SQLITE_DONE)
		status = database_error(sqlite, error, what);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return status;
}

/* ---- Rows ---- */

struct row {
	uint64_t row, previous;
	bool deleted;
	struct store_record record;
};

/* FNV-1a. SQLite checks the shape of its pages, not the bytes of a value; flash and memory forget single bits. */
static uint64_t checksum_add(uint64_t sum, const void *data, size_t length)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < length; i++)
		sum = (sum ^ bytes[i]) * 0x100000001b3;
	return sum;
}

static uint64_t row_checksum(const struct row *row)
{
	const struct store_record *record = &row->record;
	const uint64_t numbers[] = {row->row, row->previous, row->deleted, record->create_revision, record->version,
				    record->lease, strlen(record->key)};
	uint64_t sum = checksum_add(0xcbf29ce484222325, numbers, sizeof(numbers));

	sum = checksum_add(sum, record->key, strlen(record->key));
	return checksum_add(sum, record->value.data, record->value.length);
}

/* The statement stands on a row with ROW_COLUMNS. Copies it into the arena. */
static int row_read(struct sqlite_store *sqlite, sqlite3_stmt *statement, struct arena *arena, struct row *ret_row,
		    struct error *error)
{
	struct row row = {
		.row = (uint64_t)sqlite3_column_int64(statement, 0),
		.deleted = sqlite3_column_type(statement, 2) == SQLITE_NULL,
		.previous = (uint64_t)sqlite3_column_int64(statement, 3),
		.record.create_revision = (uint64_t)sqlite3_column_int64(statement, 4),
		.record.version = (uint64_t)sqlite3_column_int64(statement, 5),
		.record.lease = (uint64_t)sqlite3_column_int64(statement, 6),
	};
	const void *key = sqlite3_column_blob(statement, 1), *value = sqlite3_column_blob(statement, 2);

	row.record.key = arena_copy(arena, key, (size_t)sqlite3_column_bytes(statement, 1));
	row.record.value.length = (size_t)sqlite3_column_bytes(statement, 2);
	row.record.value.data = arena_copy(arena, value, row.record.value.length);
	row.record.mod_revision = row_revision(row.row);
	if (row_checksum(&row) != (uint64_t)sqlite3_column_int64(statement, 7))
		return damaged_error(sqlite, error, "a record's checksum is wrong");
	*ret_row = row;
	return 0;
}

/* One row or none: 1, 0, or an error. The statement is bound; it is reset here. */
static int row_query(struct sqlite_store *sqlite, sqlite3_stmt *statement, struct arena *arena, struct row *ret_row,
		     struct error *error)
{
	int code = sqlite3_step(statement), status = 0;

	if (code == SQLITE_ROW)
		status = row_read(sqlite, statement, arena, ret_row, error);
	else if (code != SQLITE_DONE)
		status = database_error(sqlite, error, "reading");
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return status < 0 ? status : code == SQLITE_ROW;
}

static int key_query(struct sqlite_store *sqlite, const char *key, struct arena *arena, struct row *ret_row,
		     struct error *error)
{
	sqlite3_stmt *statement = statement_get(sqlite, STATEMENT_GET);

	statement_bind_bytes(statement, 1, key, strlen(key));
	return row_query(sqlite, statement, arena, ret_row, error);
}

/* The first key behind all that begin with the prefix, which begins with "/": its last byte counted up. */
static void prefix_bind(sqlite3_stmt *statement, int index, const char *prefix)
{
	char end[STORE_KEY_LENGTH_MAX + 1];
	size_t length = strlen(prefix);

	memcpy(end, prefix, length + 1);
	sqlite3_bind_blob(statement, index, prefix, (int)length, SQLITE_TRANSIENT);
	while ((unsigned char)end[length - 1] == 0xff)
		length--;
	end[length - 1]++;
	sqlite3_bind_blob(statement, index + 1, end, (int)length, SQLITE_TRANSIENT);
}

/* Rows of a bound statement, which is reset here. */
static int rows_query(struct sqlite_store *sqlite, sqlite3_stmt *statement, struct arena *arena, struct row **ret_rows,
		      size_t *ret_count, struct error *error)
{
	size_t capacity = 0, count = 0;
	struct row *rows = NULL;
	int code, status = 0;

	while (status == 0 && (code = sqlite3_step(statement)) == SQLITE_ROW) {
		if (count == capacity) {
			struct row *grown = arena_take(arena, (capacity ? 2 * capacity : 8) * sizeof(*rows));

			if (count)
				memcpy(grown, rows, count * sizeof(*rows));
			rows = grown;
			capacity = capacity ? 2 * capacity : 8;
		}
		status = row_read(sqlite, statement, arena, &rows[count++], error);
	}
	if (status == 0 && code != SQLITE_DONE)
		status = database_error(sqlite, error, "reading");
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	*ret_rows = rows;
	*ret_count = count;
	return status;
}

static int prefix_query(struct sqlite_store *sqlite, const char *prefix, struct arena *arena, struct row **ret_rows,
			size_t *ret_count, struct error *error)
{
	sqlite3_stmt *statement = statement_get(sqlite, STATEMENT_LIST);

	prefix_bind(statement, 1, prefix);
	return rows_query(sqlite, statement, arena, ret_rows, ret_count, error);
}

/* ---- The wake-up ---- */

static void wake_set(struct sqlite_store *sqlite, int timeout_ms)
{
	struct timeval timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000};

	if (!sqlite->wake)
		return;
	if (timeout_ms < 0)
		evtimer_del(sqlite->wake);
	else
		evtimer_add(sqlite->wake, &timeout);
}

/* Something is due. Inside a dispatch its end asks what is next. */
static void wake_now(struct sqlite_store *sqlite)
{
	if (!sqlite->dispatching)
		wake_set(sqlite, 0);
}

/* ---- Completions ---- */

static struct completion *completion_new(store_done done, void *context)
{
	struct arena arena = {};
	struct completion *completion = arena_take(&arena, sizeof(*completion));

	completion->arena = arena;
	completion->done = done;
	completion->context = context;
	return completion;
}

static void completion_free(struct completion *completion)
{
	struct arena arena = completion->arena; /* it holds the completion too */

	arena_done(&arena);
}

static void completion_queue(struct sqlite_store *sqlite, struct completion *completion, int status)
{
	completion->status = status;
	completion->result.revision = sqlite->revision;
	*sqlite->completions_end = completion;
	sqlite->completions_end = &completion->next;
	wake_now(sqlite);
}

static void completion_call(struct completion *completion)
{
	bool good = completion->status == 0;

	if (completion->done)
		completion->done(completion->context, completion->status, good ? &completion->result : NULL,
				 good ? NULL : &completion->error);
	else if (!good)
		log_warning("a change of the store failed: %s", completion->error.text);
}

static void sqlite_refuse(struct store *store, int status, const struct error *error, store_done done, void *context)
{
	struct completion *completion = completion_new(done, context);

	completion->error = *error;
	completion_queue(sqlite_of(store), completion, status);
}

/* ---- Leases in memory ---- */

static struct lease *lease_lookup(struct sqlite_store *sqlite, uint64_t id)
{
	for (size_t i = 0; i < sqlite->lease_count; i++)
		if (sqlite->leases[i].id == id)
			return &sqlite->leases[i];
	return NULL;
}

static void lease_restart(struct sqlite_store *sqlite, struct lease *lease)
{
	lease->expires_ms = clock_now_ms(sqlite->clock) + (uint64_t)lease->ttl_s * 1000;
}

static void lease_add(struct sqlite_store *sqlite, uint64_t id, uint32_t ttl_s)
{
	struct lease *lease;

	if (sqlite->lease_count == sqlite->lease_capacity) {
		sqlite->lease_capacity = sqlite->lease_capacity ? 2 * sqlite->lease_capacity : 8;
		sqlite->leases = memory_or_end(realloc(sqlite->leases, sqlite->lease_capacity * sizeof(*sqlite->leases)));
	}
	lease = &sqlite->leases[sqlite->lease_count++];
	*lease = (struct lease){.id = id, .ttl_s = ttl_s};
	lease_restart(sqlite, lease);
}

static void lease_remove(struct sqlite_store *sqlite, struct lease *lease)
{
	*lease = sqlite->leases[--sqlite->lease_count];
}

static int lease_unknown_error(struct error *error, uint64_t id)
{
	return error_set(error, ENOENT, "there is no lease %llu (any more)", (unsigned long long)id);
}

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

static int change_delete(struct change *change, const struct store_step *step, struct arena *arena, size_t *ret_count,
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

static int change_begin(struct sqlite_store *sqlite, struct change *change, struct error *error)
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

/* Ends it as `status` says: written to the disk, or as if it had never been. */
static int change_end(struct change *change, int status, struct error *error)
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

/* ---- The calls ---- */

static void sqlite_transact(struct store *store, const struct store_transaction *transaction, store_done done,
			    void *context)
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

static void sqlite_lease_grant(struct store *store, uint32_t ttl_s, store_done done, void *context)
{
	struct sqlite_store *sqlite = sqlite_of(store);
	struct completion *completion = completion_new(done, context);
	int status;

	statement_bind_number(statement_get(sqlite, STATEMENT_LEASE_INSERT), 1, ttl_s);
	status = statement_run(sqlite, STATEMENT_LEASE_INSERT, &completion->error, "granting a lease");
	if (status == 0) {
		completion->result.succeeded = true;
		completion->result.lease = (uint64_t)sqlite3_last_insert_rowid(sqlite->database);
		completion->result.ttl_s = ttl_s;
		lease_add(sqlite, completion->result.lease, ttl_s);
	}
	completion_queue(sqlite, completion, status);
}

static bool lease_expired(const struct sqlite_store *sqlite, const struct lease *lease)
{
	return clock_now_ms(sqlite->clock) >= lease->expires_ms;
}

static void sqlite_lease_keepalive(struct store *store, uint64_t id, store_done done, void *context)
{
	struct sqlite_store *sqlite = sqlite_of(store);
	struct completion *completion = completion_new(done, context);
	struct lease *lease = lease_lookup(sqlite, id);
	int status = 0;

	if (lease && !lease_expired(sqlite, lease)) {
		lease_restart(sqlite, lease);
		completion->result.succeeded = true;
		completion->result.lease = id;
		completion->result.ttl_s = lease->ttl_s;
	} else {
		status = lease_unknown_error(&completion->error, id);
	}
	completion_queue(sqlite, completion, status);
}

static int lease_keys_delete(struct change *change, uint64_t id, struct error *error)
{
	sqlite3_stmt *keys = statement_get(change->sqlite, STATEMENT_LEASE_KEYS);
	struct arena arena = {};
	const char *key, **all = NULL;
	size_t count = 0, capacity = 0;
	int code, status = 0;

	/* The keys first: deleting changes what is being read. */
	statement_bind_number(keys, 1, id);
	while ((code = sqlite3_step(keys)) == SQLITE_ROW) {
		key = arena_copy(&arena, sqlite3_column_blob(keys, 0), (size_t)sqlite3_column_bytes(keys, 0));
		if (count == capacity) {
			capacity = capacity ? 2 * capacity : 8;
			all = memory_or_end(realloc(all, capacity * sizeof(*all)));
		}
		all[count++] = key;
	}
	if (code != SQLITE_DONE)
		status = database_error(change->sqlite, error, "ending a lease");
	sqlite3_reset(keys);
	for (size_t i = 0; status == 0 && i < count; i++) {
		const struct store_step step = {.kind = STORE_DELETE, .key = all[i]};
		size_t deleted;

		status = change_delete(change, &step, &arena, &deleted, error);
	}
	free(all);
	arena_done(&arena);
	return status;
}

static int lease_end(struct sqlite_store *sqlite, struct lease *lease, struct error *error)
{
	struct change change;
	int status = change_begin(sqlite, &change, error);

	if (status < 0)
		return status;
	status = lease_keys_delete(&change, lease->id, error);
	if (status == 0) {
		statement_bind_number(statement_get(sqlite, STATEMENT_LEASE_DELETE), 1, lease->id);
		status = statement_run(sqlite, STATEMENT_LEASE_DELETE, error, "ending a lease");
	}
	status = change_end(&change, status, error);
	if (status == 0)
		lease_remove(sqlite, lease);
	return status;
}

static void sqlite_lease_revoke(struct store *store, uint64_t id, store_done done, void *context)
{
	struct sqlite_store *sqlite = sqlite_of(store);
	struct completion *completion = completion_new(done, context);
	struct lease *lease = lease_lookup(sqlite, id);
	int status = lease ? lease_end(sqlite, lease, &completion->error) : lease_unknown_error(&completion->error, id);

	completion->result.succeeded = true;
	completion->result.lease = id;
	completion_queue(sqlite, completion, status);
}

/* ---- Watches ---- */

static struct store_watch *sqlite_watch_new(struct store *store, const char *prefix, uint64_t from_revision,
					    const struct store_watch_handler *handler, void *context)
{
	struct sqlite_store *sqlite = sqlite_of(store);
	struct sqlite_watch *watch = memory_or_end(calloc(1, sizeof(*watch))), **end = &sqlite->watches;

	watch->watch.store = store;
	watch->refused = store_key_check(prefix, &watch->error);
	watch->prefix = memory_or_end(strdup(prefix ? prefix : ""));
	watch->handler = handler;
	watch->context = context;
	watch->next_revision = from_revision ? from_revision : sqlite->revision + 1;
	while (*end)
		end = &(*end)->next;
	*end = watch;
	wake_now(sqlite);
	return &watch->watch;
}

static void watches_reap(struct sqlite_store *sqlite)
{
	struct sqlite_watch **link = &sqlite->watches;

	while (*link) {
		struct sqlite_watch *watch = *link;

		if (!watch->freed) {
			link = &watch->next;
			continue;
		}
		*link = watch->next;
		free(watch->prefix);
		free(watch);
	}
}

static void sqlite_watch_free(struct store_watch *base)
{
	struct sqlite_watch *watch = (struct sqlite_watch *)base;
	struct sqlite_store *sqlite = sqlite_of(base->store);

	watch->freed = true;
	if (!sqlite->dispatching)
		watches_reap(sqlite);
}

static bool watch_due(const struct sqlite_store *sqlite, const struct sqlite_watch *watch)
{
	return !watch->freed && !watch->ended && (watch->refused || watch->next_revision <= sqlite->revision);
}

static void watch_fail(struct sqlite_watch *watch, int status, const struct error *error)
{
	watch->ended = true;
	watch->handler->failed(watch->context, status, error);
}

/* The record that a change replaced. */
static int event_previous_read(struct sqlite_store *sqlite, const struct row *row, struct arena *arena,
			       struct store_event *event, struct error *error)
{
	sqlite3_stmt *statement = statement_get(sqlite, STATEMENT_ROW_GET);
	struct row *previous;
	int found;

	if (!row->previous)
		return 0;
	previous = arena_take(arena, sizeof(*previous));
	statement_bind_number(statement, 1, row->previous);
	found = row_query(sqlite, statement, arena, previous, error);
	if (found == 0)
		return damaged_error(sqlite, error, "a record that history needs is missing");
	event->previous = &previous->record;
	return found < 0 ? found : 0;
}

struct event_batch {
	struct arena arena;
	struct store_event *events;
	size_t count, capacity;
	uint64_t through; /* every revision up to it is in here, or has nothing for this watch */
};

static int event_batch_add(struct sqlite_store *sqlite, struct event_batch *batch, const struct row *row,
			   struct error *error)
{
	struct store_event *event;

	if (batch->count == batch->capacity) {
		struct store_event *grown;

		batch->capacity = batch->capacity ? 2 * batch->capacity : 8;
		grown = arena_take(&batch->arena, batch->capacity * sizeof(*grown));
		if (batch->count)
			memcpy(grown, batch->events, batch->count * sizeof(*grown));
		batch->events = grown;
	}
	event = &batch->events[batch->count++];
	*event = (struct store_event){.kind = row->deleted ? STORE_EVENT_DELETE : STORE_EVENT_PUT, .record = row->record};
	return event_previous_read(sqlite, row, &batch->arena, event, error);
}

/* Whole revisions until there are enough events. */
static int event_batch_read(struct sqlite_store *sqlite, const struct sqlite_watch *watch, struct event_batch *batch,
			    struct error *error)
{
	sqlite3_stmt *statement = statement_get(sqlite, STATEMENT_WATCH);
	int code, status = 0;

	batch->through = sqlite->revision;
	statement_bind_number(statement, 1, revision_first_row(watch->next_revision));
	prefix_bind(statement, 2, watch->prefix);
	while (status == 0 && (code = sqlite3_step(statement)) == SQLITE_ROW) {
		struct row row;

		status = row_read(sqlite, statement, &batch->arena, &row, error);
		if (status < 0)
			break;
		if (batch->count >= WATCH_BATCH_EVENTS &&
		    row.record.mod_revision != batch->events[batch->count - 1].record.mod_revision) {
			batch->through = row.record.mod_revision - 1;
			code = SQLITE_DONE;
			break;
		}
		status = event_batch_add(sqlite, batch, &row, error);
	}
	if (status == 0 && code != SQLITE_DONE)
		status = database_error(sqlite, error, "reading the history");
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return status;
}

static void watch_deliver(struct sqlite_store *sqlite, struct sqlite_watch *watch)
{
	struct event_batch batch = {};
	struct error error = {};
	int status;

	if (watch->refused) {
		watch_fail(watch, watch->refused, &watch->error);
		return;
	}
	if (watch->next_revision <= sqlite->compacted) {
		status = error_set(&error, ESTALE, "changes from revision %llu on are compacted; list again",
				   (unsigned long long)watch->next_revision);
		watch_fail(watch, status, &error);
		return;
	}
	status = event_batch_read(sqlite, watch, &batch, &error);
	if (status < 0) {
		watch_fail(watch, status, &error);
	} else {
		watch->next_revision = batch.through + 1;
		if (batch.count)
			watch->handler->events(watch->context, batch.events, batch.count, batch.through);
	}
	arena_done(&batch.arena);
}

/* ---- The dispatch ---- */

static void leases_expire(struct sqlite_store *sqlite)
{
	size_t i = 0;

	while (i < sqlite->lease_count) {
		struct lease *lease = &sqlite->leases[i];
		struct error error = {};

		if (!lease_expired(sqlite, lease)) {
			i++;
		} else if (lease_end(sqlite, lease, &error) < 0) {
			log_warning("the keys of an expired lease stay for now: %s", error.text);
			lease->expires_ms = clock_now_ms(sqlite->clock) + LEASE_RETRY_MS;
			i++;
		}
	}
}

/* Those that are there now; what they start comes in the next round, after what else the loop has to do. */
static void completions_deliver(struct sqlite_store *sqlite)
{
	struct completion *completion = sqlite->completions;

	sqlite->completions = NULL;
	sqlite->completions_end = &sqlite->completions;
	while (completion) {
		struct completion *next = completion->next;

		completion_call(completion);
		completion_free(completion);
		completion = next;
	}
}

static int dispatch_timeout_ms(const struct sqlite_store *sqlite)
{
	uint64_t now_ms = clock_now_ms(sqlite->clock), next_ms = UINT64_MAX;

	if (sqlite->completions)
		return 0;
	for (const struct sqlite_watch *watch = sqlite->watches; watch; watch = watch->next)
		if (watch_due(sqlite, watch))
			return 0;
	for (size_t i = 0; i < sqlite->lease_count; i++)
		if (sqlite->leases[i].expires_ms < next_ms)
			next_ms = sqlite->leases[i].expires_ms;
	if (next_ms == UINT64_MAX)
		return -1;
	return next_ms <= now_ms ? 0 : (int)(next_ms - now_ms);
}

static int sqlite_dispatch(struct store *store)
{
	struct sqlite_store *sqlite = sqlite_of(store);
	int timeout_ms;

	sqlite->dispatching = true;
	leases_expire(sqlite);
	completions_deliver(sqlite);
	for (struct sqlite_watch *watch = sqlite->watches; watch; watch = watch->next)
		if (watch_due(sqlite, watch))
			watch_deliver(sqlite, watch);
	sqlite->dispatching = false;
	watches_reap(sqlite);
	timeout_ms = dispatch_timeout_ms(sqlite);
	wake_set(sqlite, timeout_ms);
	return timeout_ms;
}

static void wake_called(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	sqlite_dispatch(context);
}

/* ---- Opening and closing ---- */

static void sqlite_release(struct sqlite_store *sqlite)
{
	if (sqlite->wake)
		event_free(sqlite->wake);
	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		sqlite3_finalize(sqlite->statements[i]);
	sqlite3_close(sqlite->database);
	if (sqlite->lock_fd >= 0)
		close(sqlite->lock_fd);
	free(sqlite->leases);
	free(sqlite->path);
	free(sqlite);
}

static void sqlite_free(struct store *store)
{
	struct sqlite_store *sqlite = sqlite_of(store);

	sqlite->dispatching = true; /* what a callback starts now is not dispatched any more */
	while (sqlite->completions) {
		struct completion *completion = sqlite->completions;

		sqlite->completions = completion->next;
		if (!sqlite->completions)
			sqlite->completions_end = &sqlite->completions;
		completion->status = error_set(&completion->error, ECANCELED, "the store is being closed");
		completion_call(completion);
		completion_free(completion);
	}
	while (sqlite->watches) {
		sqlite->watches->freed = true;
		watches_reap(sqlite);
	}
	sqlite_release(sqlite);
}

static const struct store_operations sqlite_operations = {
	.transact = sqlite_transact,
	.watch_new = sqlite_watch_new,
	.watch_free = sqlite_watch_free,
	.lease_grant = sqlite_lease_grant,
	.lease_keepalive = sqlite_lease_keepalive,
	.lease_revoke = sqlite_lease_revoke,
	.refuse = sqlite_refuse,
	.dispatch = sqlite_dispatch,
	.free = sqlite_free,
};

/* A name is on the disk only when its directory is. */
static int directory_sync(const char *directory, struct error *error)
{
	_cleanup_(closep) int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return error_set(error, errno, "cannot sync the directory %s: %s", directory, strerror(errno));
	return 0;
}

static int directory_make(const char *directory, struct error *error)
{
	_cleanup_(freep) char *parent = NULL;
	char *slash;

	if (mkdir(directory, 0700) < 0) {
		if (errno == EEXIST)
			return 0;
		return error_set(error, errno, "cannot make the state directory %s: %s", directory, strerror(errno));
	}
	parent = memory_or_end(strdup(directory));
	slash = strrchr(parent, '/');
	if (!slash)
		return directory_sync(".", error);
	*slash = '\0';
	return directory_sync(slash == parent ? "/" : parent, error);
}

/*
 * A file of its own: SQLite's locks on the database are POSIX ones, and closing any other descriptor of that file would drop
 * them. It stays when the store is closed; only the lock on it means something.
 */
static int lock_take(struct sqlite_store *sqlite, const char *directory, struct error *error)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/" LOCK_FILE, directory);
	sqlite->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (sqlite->lock_fd < 0)
		return error_set(error, errno, "cannot open %s: %s", path, strerror(errno));
	if (flock(sqlite->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return error_set(error, errno, "cannot lock %s: %s", path, strerror(errno));
	return error_set(error, EBUSY, "another selvaged uses the state directory %s; stop it, or give this one its own "
			 "(stateDirectory)", directory);
}

/* Made here rather than by SQLite, for its mode; the log file gets the same. */
static int file_prepare(struct sqlite_store *sqlite, struct error *error)
{
	_cleanup_(closep) int fd = open(sqlite->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat stat;

	if (fd < 0 || fstat(fd, &stat) < 0)
		return error_set(error, errno, "cannot open %s: %s", sqlite->path, strerror(errno));
	if (!S_ISREG(stat.st_mode))
		return error_set(error, EINVAL, "%s is not a regular file", sqlite->path);
	if ((stat.st_mode & 07777) != 0600 && fchmod(fd, 0600) < 0)
		return error_set(error, errno, "cannot set the mode of %s: %s", sqlite->path, strerror(errno));
	return 0;
}

static int sql_run(struct sqlite_store *sqlite, const char *sql, struct error *error)
{
	if (sqlite3_exec(sqlite->database, sql, NULL, NULL, NULL) != SQLITE_OK)
		return database_error(sqlite, error, "opening the store");
	return 0;
}

/* The first number that a query answers; 0 if it answers nothing. */
static int sql_number(struct sqlite_store *sqlite, const char *sql, uint64_t *ret_number, struct error *error)
{
	sqlite3_stmt *statement = NULL;
	int code = sqlite3_prepare_v2(sqlite->database, sql, -1, &statement, NULL), status = 0;

	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	if (code == SQLITE_ROW)
		*ret_number = (uint64_t)sqlite3_column_int64(statement, 0);
	else if (code == SQLITE_DONE)
		*ret_number = 0;
	else
		status = database_error(sqlite, error, "opening the store");
	sqlite3_finalize(statement);
	return status;
}

static int database_connect(struct sqlite_store *sqlite, const char *vfs, struct error *error)
{
	/* EXCLUSIVE also keeps the log's index in memory instead of in a file. */
	static const char settings[] = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
				       "PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;";
	char limit[64];
	int status;

	if (sqlite3_open_v2(sqlite->path, &sqlite->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, vfs) != SQLITE_OK)
		return database_error(sqlite, error, "opening the store");
	sqlite3_extended_result_codes(sqlite->database, 1);
	status = sql_run(sqlite, settings, error);
	if (status < 0)
		return status;
	snprintf(limit, sizeof(limit), "PRAGMA journal_size_limit = %d", WAL_BYTES_KEPT);
	return sql_run(sqlite, limit, error);
}

static int schema_make(struct sqlite_store *sqlite, struct error *error)
{
	char marks[128];
	int status = sql_run(sqlite, "BEGIN IMMEDIATE", error);

	snprintf(marks, sizeof(marks), "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", APPLICATION_ID,
		 SCHEMA_VERSION);
	if (status == 0)
		status = sql_run(sqlite, schema_sql, error);
	return status < 0 ? status : sql_run(sqlite, marks, error);
}

static int schema_check(struct sqlite_store *sqlite, struct error *error)
{
	uint64_t tables = 0, application = 0, version = 0;
	int status = sql_number(sqlite, "SELECT count(*) FROM sqlite_schema", &tables, error);

	if (status == 0)
		status = sql_number(sqlite, "PRAGMA application_id", &application, error);
	if (status == 0)
		status = sql_number(sqlite, "PRAGMA user_version", &version, error);
	if (status < 0)
		return status;
	if (!tables && !application && !version)
		return schema_make(sqlite, error);
	if (application != APPLICATION_ID)
		return error_set(error, EUCLEAN, "%s is not a store of Selvage but another program's database; move it away",
				 sqlite->path);
	if (version > SCHEMA_VERSION)
		return error_set(error, EPROTONOSUPPORT,
				 "%s was written by a newer version of Selvage (format %llu, this one knows %d); install that "
				 "version again, or move the file away to begin with an empty store",
				 sqlite->path, (unsigned long long)version, SCHEMA_VERSION);
	if (version != SCHEMA_VERSION || !tables)
		return damaged_error(sqlite, error, "its format is unknown");
	return 0;
}

static int structure_check(struct sqlite_store *sqlite, struct error *error)
{
	sqlite3_stmt *statement = NULL;
	int code = sqlite3_prepare_v2(sqlite->database, "PRAGMA integrity_check(1)", -1, &statement, NULL), status = 0;

	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	if (code != SQLITE_ROW)
		status = database_error(sqlite, error, "checking the store");
	else if (strcmp((const char *)sqlite3_column_text(statement, 0), "ok"))
		status = damaged_error(sqlite, error, (const char *)sqlite3_column_text(statement, 0));
	sqlite3_finalize(statement);
	return status;
}

/* Every record's checksum, and that `current` and the history belong together. */
static int records_check(struct sqlite_store *sqlite, struct error *error)
{
	static const char strays_sql[] = "SELECT count(*) FROM current c LEFT JOIN history h ON h.row = c.row"
					 " WHERE h.row IS NULL OR h.key <> c.key OR h.lease <> c.lease OR h.value IS NULL";
	sqlite3_stmt *statement = NULL;
	uint64_t strays = 0;
	int status = sql_number(sqlite, strays_sql, &strays, error), code;

	if (status < 0)
		return status;
	if (strays)
		return damaged_error(sqlite, error, "its index does not match its records");
	code = sqlite3_prepare_v2(sqlite->database, "SELECT " ROW_COLUMNS " FROM history h", -1, &statement, NULL);
	while (code == SQLITE_OK || code == SQLITE_ROW) {
		struct arena arena = {};
		struct row row;

		code = sqlite3_step(statement);
		if (code == SQLITE_ROW)
			status = row_read(sqlite, statement, &arena, &row, error);
		arena_done(&arena);
		if (status < 0)
			break;
	}
	if (status == 0 && code != SQLITE_DONE)
		status = database_error(sqlite, error, "checking the store");
	sqlite3_finalize(statement);
	return status;
}

static int statements_prepare(struct sqlite_store *sqlite, struct error *error)
{
	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		if (sqlite3_prepare_v3(sqlite->database, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &sqlite->statements[i], NULL) != SQLITE_OK)
			return database_error(sqlite, error, "opening the store");
	return 0;
}

static int leases_load(struct sqlite_store *sqlite, struct error *error)
{
	sqlite3_stmt *statement = NULL;
	int code = sqlite3_prepare_v2(sqlite->database, "SELECT id, ttl_s FROM lease", -1, &statement, NULL), status = 0;

	while (code == SQLITE_OK || code == SQLITE_ROW) {
		code = sqlite3_step(statement);
		if (code == SQLITE_ROW)
			lease_add(sqlite, (uint64_t)sqlite3_column_int64(statement, 0),
				  (uint32_t)sqlite3_column_int64(statement, 1));
	}
	if (code != SQLITE_DONE)
		status = database_error(sqlite, error, "reading the leases");
	sqlite3_finalize(statement);
	return status;
}

static int numbers_load(struct sqlite_store *sqlite, struct error *error)
{
	uint64_t last_row = 0;
	int status = sql_number(sqlite, "SELECT max(row) FROM history", &last_row, error);

	if (status == 0)
		status = sql_number(sqlite, "SELECT revision FROM compaction", &sqlite->compacted, error);
	sqlite->revision = row_revision(last_row);
	return status;
}

static int sqlite_open(struct sqlite_store *sqlite, const struct store_sqlite_options *options, struct error *error)
{
	int status = directory_make(options->directory, error);

	if (status == 0)
		status = lock_take(sqlite, options->directory, error);
	if (status == 0)
		status = file_prepare(sqlite, error);
	if (status == 0)
		status = database_connect(sqlite, options->vfs, error);
	if (status == 0)
		status = schema_check(sqlite, error);
	if (status == 0)
		status = structure_check(sqlite, error);
	if (status == 0)
		status = records_check(sqlite, error);
	if (status == 0)
		status = statements_prepare(sqlite, error);
	if (status == 0)
		status = numbers_load(sqlite, error);
	if (status == 0)
		status = leases_load(sqlite, error);
	return status < 0 ? status : directory_sync(options->directory, error);
}

int store_sqlite_open(const struct store_sqlite_options *options, struct store **ret_store, struct error *error)
{
	struct sqlite_store *sqlite = memory_or_end(calloc(1, sizeof(*sqlite)));
	int status;

	sqlite->store.operations = &sqlite_operations;
	sqlite->lock_fd = -1;
	sqlite->clock = options->clock;
	sqlite->history_revisions = options->history_revisions ? options->history_revisions : STORE_HISTORY_REVISIONS;
	sqlite->completions_end = &sqlite->completions;
	if (asprintf(&sqlite->path, "%s/" STORE_SQLITE_FILE, options->directory) < 0)
		abort();
	if (options->base)
		sqlite->wake = memory_or_end(evtimer_new(options->base, wake_called, sqlite));
	status = sqlite_open(sqlite, options, error);
	if (status < 0) {
		sqlite_release(sqlite);
		return status;
	}
	wake_set(sqlite, dispatch_timeout_ms(sqlite));
	*ret_store = &sqlite->store;
	return 0;
}

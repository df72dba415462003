/* SPDX-License-Identifier: Apache-2.0 */
/* Between SQLite and the rest: errors in words, prepared statements, rows of the history. */
#include <string.h>

#include "base/lib/memory.h"
#include "ctrl/store/store_sqlite_internal.h"

/* ---- SQLite's errors in the store's words ---- */

int database_error(struct sqlite_store *sqlite, struct error *error, const char *what)
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

int damaged_error(struct sqlite_store *sqlite, struct error *error, const char *what)
{
	return error_set(error, EUCLEAN,
			 "the store %s is damaged (%s); stop selvaged, copy %s back from a backup or move it and its -wal file "
			 "away, start again and apply the manifests again",
			 sqlite->path, what, sqlite->path);
}

/* ---- Statements ---- */

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

int statements_prepare(struct sqlite_store *sqlite, struct error *error)
{
	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		if (sqlite3_prepare_v3(sqlite->database, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &sqlite->statements[i], NULL) != SQLITE_OK)
			return database_error(sqlite, error, "opening the store");
	return 0;
}

sqlite3_stmt *statement_get(struct sqlite_store *sqlite, enum statement which)
{
	return sqlite->statements[which];
}

void statement_bind_number(sqlite3_stmt *statement, int index, uint64_t number)
{
	sqlite3_bind_int64(statement, index, (sqlite3_int64)number);
}

void statement_bind_bytes(sqlite3_stmt *statement, int index, const void *data, size_t length)
{
	if (length)
		sqlite3_bind_blob64(statement, index, data, length, SQLITE_STATIC);
	else
		sqlite3_bind_zeroblob(statement, index, 0);
}

int statement_run(struct sqlite_store *sqlite, enum statement which, struct error *error, const char *what)
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

/* FNV-1a. SQLite checks the shape of its pages, not the bytes of a value; flash and memory forget single bits. */
static uint64_t checksum_add(uint64_t sum, const void *data, size_t length)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < length; i++)
		sum = (sum ^ bytes[i]) * 0x100000001b3;
	return sum;
}

uint64_t row_checksum(const struct row *row)
{
	const struct store_record *record = &row->record;
	const uint64_t numbers[] = {row->row, row->previous, row->deleted, record->create_revision, record->version,
				    record->lease, strlen(record->key)};
	uint64_t sum = checksum_add(0xcbf29ce484222325, numbers, sizeof(numbers));

	sum = checksum_add(sum, record->key, strlen(record->key));
	return checksum_add(sum, record->value.data, record->value.length);
}

int row_read(struct sqlite_store *sqlite, sqlite3_stmt *statement, struct arena *arena, struct row *ret_row,
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

int row_query(struct sqlite_store *sqlite, sqlite3_stmt *statement, struct arena *arena, struct row *ret_row,
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

int key_query(struct sqlite_store *sqlite, const char *key, struct arena *arena, struct row *ret_row,
	      struct error *error)
{
	sqlite3_stmt *statement = statement_get(sqlite, STATEMENT_GET);

	statement_bind_bytes(statement, 1, key, strlen(key));
	return row_query(sqlite, statement, arena, ret_row, error);
}

/* The first key behind all that begin with the prefix, which begins with "/": its last byte counted up. */
void prefix_bind(sqlite3_stmt *statement, int index, const char *prefix)
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

int prefix_query(struct sqlite_store *sqlite, const char *prefix, struct arena *arena, struct row **ret_rows,
		 size_t *ret_count, struct error *error)
{
	sqlite3_stmt *statement = statement_get(sqlite, STATEMENT_LIST);

	prefix_bind(statement, 1, prefix);
	return rows_query(sqlite, statement, arena, ret_rows, ret_count, error);
}

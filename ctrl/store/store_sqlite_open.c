/* SPDX-License-Identifier: Apache-2.0 */
/* From a directory to a store that was checked: lock, file, schema, every record. */
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/lib/memory.h"
#include "ctrl/store/store_sqlite_internal.h"

#define SCHEMA_VERSION 1
#define APPLICATION_ID 0x53656c76 /* "Selv" */
#define LOCK_FILE "store.lock"
#define WAL_BYTES_KEPT 4194304 /* the log's file is cut to this when it has been written back */

static const char schema_sql[] =
	"CREATE TABLE history (row INTEGER PRIMARY KEY, key BLOB NOT NULL, value BLOB," /* NULL: deleted */
	" previous INTEGER NOT NULL, created INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL,"
	" checksum INTEGER NOT NULL);"
	"CREATE TABLE current (key BLOB PRIMARY KEY, row INTEGER NOT NULL, lease INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE INDEX current_lease ON current (lease) WHERE lease <> 0;"
	"CREATE TABLE lease (id INTEGER PRIMARY KEY AUTOINCREMENT, ttl_s INTEGER NOT NULL);"
	"CREATE TABLE compaction (revision INTEGER NOT NULL);"
	"INSERT INTO compaction VALUES (0);";

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

int database_open(struct sqlite_store *sqlite, const struct store_sqlite_options *options, struct error *error)
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

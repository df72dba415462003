/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files behind store_sqlite.h share.
 *
 * The history is one table of changes, its row number being revision and place in the revision; `current` names the newest
 * change of each key. Each change knows the one it replaced, so compaction walks every row once: what a compacted change
 * replaced goes, and so do compacted deletions. A change that is current is never removed.
 *
 * A transaction is executed and committed inside the call; only its completion waits for the dispatch.
 */
#pragma once

#include <sqlite3.h>

#include "base/lib/arena.h"
#include "ctrl/store/store_sqlite.h"

/* Row number of a change: its revision, and its place among the changes of that revision. */
#define PLACE_BITS 20
#define PLACES_MAX (1u << PLACE_BITS)

static inline uint64_t row_revision(uint64_t row)
{
	return row >> PLACE_BITS;
}

static inline uint64_t revision_first_row(uint64_t revision)
{
	return revision << PLACE_BITS;
}

/* A change, as the history has it; of a deletion the record has only the key. */
struct row {
	uint64_t row, previous;
	bool deleted;
	struct store_record record;
};

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

static inline struct sqlite_store *sqlite_of(struct store *store)
{
	return (struct sqlite_store *)store;
}

/* ---- store_sqlite_rows.c ---- */

/* SQLite's last error in the store's words, with what was being attempted; returns -errno. */
int database_error(struct sqlite_store *sqlite, struct error *error, const char *what);
/* What SQLite finds in order and we do not. */
int damaged_error(struct sqlite_store *sqlite, struct error *error, const char *what);

must_check int statements_prepare(struct sqlite_store *sqlite, struct error *error);
sqlite3_stmt *statement_get(struct sqlite_store *sqlite, enum statement which);
void statement_bind_number(sqlite3_stmt *statement, int index, uint64_t number);
/* An empty value is not SQL's NULL. The data is borrowed until the statement is reset. */
void statement_bind_bytes(sqlite3_stmt *statement, int index, const void *data, size_t length);
/* Binds `index` to the prefix and the next one to the first key behind all that begin with it. */
void prefix_bind(sqlite3_stmt *statement, int index, const char *prefix);
/* Runs a bound statement that answers nothing, and resets it. */
must_check int statement_run(struct sqlite_store *sqlite, enum statement which, struct error *error, const char *what);

uint64_t row_checksum(const struct row *row);
/* The statement stands on a row with ROW_COLUMNS. Copies it into the arena. */
must_check int row_read(struct sqlite_store *sqlite, sqlite3_stmt *statement, struct arena *arena, struct row *ret_row,
			struct error *error);
/* One row or none: 1, 0, or an error. The statement is bound; it is reset here. */
must_check int row_query(struct sqlite_store *sqlite, sqlite3_stmt *statement, struct arena *arena, struct row *ret_row,
			 struct error *error);
/* The same for the newest row of a key. */
must_check int key_query(struct sqlite_store *sqlite, const char *key, struct arena *arena, struct row *ret_row,
			 struct error *error);
/* The newest rows of all keys with the prefix, in the arena too. */
must_check int prefix_query(struct sqlite_store *sqlite, const char *prefix, struct arena *arena, struct row **ret_rows,
			    size_t *ret_count, struct error *error);

/* ---- store_sqlite_open.c ---- */

/* Everything between the directory and a store that may be asked; what it leaves on failure is the caller's to release. */
must_check int database_open(struct sqlite_store *sqlite, const struct store_sqlite_options *options,
			     struct error *error);

/* ---- store_sqlite_change.c ---- */

must_check int change_begin(struct sqlite_store *sqlite, struct change *change, struct error *error);
/* `arena`: for what is read on the way. */
must_check int change_delete(struct change *change, const struct store_step *step, struct arena *arena,
			     size_t *ret_count, struct error *error);
/* Ends it as `status` says: written to the disk, or as if it had never been. */
must_check int change_end(struct change *change, int status, struct error *error);
void sqlite_transact(struct store *store, const struct store_transaction *transaction, store_done done, void *context);

/* ---- store_sqlite_lease.c ---- */

/* NULL: there is no such lease (any more). */
struct lease *lease_lookup(struct sqlite_store *sqlite, uint64_t id);
int lease_unknown_error(struct error *error, uint64_t id);
/* One that is in the database; its time starts. */
void lease_add(struct sqlite_store *sqlite, uint64_t id, uint32_t ttl_s);
void leases_expire(struct sqlite_store *sqlite);
void sqlite_lease_grant(struct store *store, uint32_t ttl_s, store_done done, void *context);
void sqlite_lease_keepalive(struct store *store, uint64_t id, store_done done, void *context);
void sqlite_lease_revoke(struct store *store, uint64_t id, store_done done, void *context);

/* ---- store_sqlite_watch.c ---- */

bool watch_due(const struct sqlite_store *sqlite, const struct sqlite_watch *watch);
void watch_deliver(struct sqlite_store *sqlite, struct sqlite_watch *watch);
/* Frees those that their owners have freed; not while the list is walked. */
void watches_reap(struct sqlite_store *sqlite);
struct store_watch *sqlite_watch_new(struct store *store, const char *prefix, uint64_t from_revision,
				     const struct store_watch_handler *handler, void *context);
void sqlite_watch_free(struct store_watch *base);

/* ---- store_sqlite.c ---- */

/* Something is due. Inside a dispatch its end asks what is next. */
void wake_now(struct sqlite_store *sqlite);
struct completion *completion_new(store_done done, void *context);
/* The dispatch calls it and frees it. */
void completion_queue(struct sqlite_store *sqlite, struct completion *completion, int status);

/* SPDX-License-Identifier: Apache-2.0 */
/* Leases: their times are in memory, their keys in the database. */
#include "base/lib/log.h"
#include "base/lib/memory.h"
#include "ctrl/store/store_sqlite_internal.h"

#define LEASE_RETRY_MS 1000 /* when the keys of an ended lease cannot be deleted */

/* ---- Leases in memory ---- */

struct lease *lease_lookup(struct sqlite_store *sqlite, uint64_t id)
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

void lease_add(struct sqlite_store *sqlite, uint64_t id, uint32_t ttl_s)
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

int lease_unknown_error(struct error *error, uint64_t id)
{
	return error_set(error, ENOENT, "there is no lease %llu (any more)", (unsigned long long)id);
}

/* ---- The calls ---- */

void sqlite_lease_grant(struct store *store, uint32_t ttl_s, store_done done, void *context)
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

void sqlite_lease_keepalive(struct store *store, uint64_t id, store_done done, void *context)
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

void sqlite_lease_revoke(struct store *store, uint64_t id, store_done done, void *context)
{
	struct sqlite_store *sqlite = sqlite_of(store);
	struct completion *completion = completion_new(done, context);
	struct lease *lease = lease_lookup(sqlite, id);
	int status = lease ? lease_end(sqlite, lease, &completion->error) : lease_unknown_error(&completion->error, id);

	completion->result.succeeded = true;
	completion->result.lease = id;
	completion_queue(sqlite, completion, status);
}

/* ---- In the dispatch ---- */

void leases_expire(struct sqlite_store *sqlite)
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

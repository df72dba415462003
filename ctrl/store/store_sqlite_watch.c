/* SPDX-License-Identifier: Apache-2.0 */
/* Watches: the history from a revision on, in batches of whole revisions. */
#include <string.h>

#include "base/lib/memory.h"
#include "ctrl/store/store_sqlite_internal.h"

#define WATCH_BATCH_EVENTS 512

struct store_watch *sqlite_watch_new(struct store *store, const char *prefix, uint64_t from_revision,
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

void watches_reap(struct sqlite_store *sqlite)
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

void sqlite_watch_free(struct store_watch *base)
{
	struct sqlite_watch *watch = (struct sqlite_watch *)base;
	struct sqlite_store *sqlite = sqlite_of(base->store);

	watch->freed = true;
	if (!sqlite->dispatching)
		watches_reap(sqlite);
}

bool watch_due(const struct sqlite_store *sqlite, const struct sqlite_watch *watch)
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

void watch_deliver(struct sqlite_store *sqlite, struct sqlite_watch *watch)
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

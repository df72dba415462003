/* SPDX-License-Identifier: Apache-2.0 */
/* The loop's side of the store: completions, the dispatch, opening and closing. */
#include "ctrl/store/store_sqlite.h"

#include <event2/event.h>

#include "base/lib/log.h"
#include "base/lib/memory.h"
#include "ctrl/store/store_sqlite_internal.h"

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

void wake_now(struct sqlite_store *sqlite)
{
	if (!sqlite->dispatching)
		wake_set(sqlite, 0);
}

/* ---- Completions ---- */

struct completion *completion_new(store_done done, void *context)
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

void completion_queue(struct sqlite_store *sqlite, struct completion *completion, int status)
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

/* ---- The dispatch ---- */

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
	status = database_open(sqlite, options, error);
	if (status < 0) {
		sqlite_release(sqlite);
		return status;
	}
	wake_set(sqlite, dispatch_timeout_ms(sqlite));
	*ret_store = &sqlite->store;
	return 0;
}

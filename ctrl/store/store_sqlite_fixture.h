/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: a store in a directory of its own, with a clock that stands still, and calls that wait for their answer. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ctrl/store/store_sqlite.h"

static struct clock test_clock;

/* ---- A directory of its own for each test ---- */

struct place {
	char directory[64];
	struct store *store;
	const char *vfs;
	uint64_t history_revisions;
};

static inline void directory_make(char directory[static 64])
{
	snprintf(directory, 64, "/tmp/selvage-store-XXXXXX");
	assert_non_null(mkdtemp(directory));
}

static inline void directory_remove(const char *directory)
{
	static const char *const names[] = {"store.db", "store.db-wal", "store.db-journal", "store.db-shm", "store.lock"};
	char path[512];

	for (size_t i = 0; i < array_length(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(directory), 0);
}

static inline int place_try(struct place *place, struct error *error)
{
	const struct store_sqlite_options options = {.directory = place->directory,
						     .clock = &test_clock,
						     .vfs = place->vfs,
						     .history_revisions = place->history_revisions};

	return store_sqlite_open(&options, &place->store, error);
}

static inline void place_open(struct place *place)
{
	struct error error = {};

	if (place_try(place, &error) < 0)
		fail_msg("%s", error.text);
}

static inline void place_reopen(struct place *place)
{
	store_free(place->store);
	place_open(place);
}

static inline int setup(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	test_clock = clock_fake(1000);
	directory_make(place->directory);
	place_open(place);
	*state = place;
	return 0;
}

static inline int teardown(void **state)
{
	struct place *place = *state;

	store_free(place->store);
	directory_remove(place->directory);
	free(place);
	return 0;
}

/* ---- Calls that wait ---- */

/* What a completion brought, copied as far as tests look at it. */
struct answer {
	int calls, status;
	uint64_t revision, lease;
	bool succeeded;
	size_t step_count, record_count, deleted_count; /* of the first step */
	char keys[8][64], values[8][64];
	uint64_t create_revision, mod_revision, version, record_lease; /* of the first record */
	char error[512];
};

static inline void answer_take(void *context, int status, const struct store_result *result, const struct error *error)
{
	struct answer *answer = context;

	answer->calls++;
	answer->status = status;
	assert_int_equal(!result, status < 0);
	assert_int_equal(!error, status == 0);
	if (error)
		snprintf(answer->error, sizeof(answer->error), "%s", error->text);
	if (!result)
		return;
	answer->revision = result->revision;
	answer->lease = result->lease;
	answer->succeeded = result->succeeded;
	answer->step_count = result->step_count;
	if (!result->step_count)
		return;
	answer->record_count = result->steps[0].record_count;
	answer->deleted_count = result->steps[0].deleted_count;
	for (size_t i = 0; i < answer->record_count && i < 8; i++) {
		snprintf(answer->keys[i], 64, "%s", result->steps[0].records[i].key);
		snprintf(answer->values[i], 64, "%s", (const char *)result->steps[0].records[i].value.data);
	}
	if (answer->record_count) {
		answer->create_revision = result->steps[0].records[0].create_revision;
		answer->mod_revision = result->steps[0].records[0].mod_revision;
		answer->version = result->steps[0].records[0].version;
		answer->record_lease = result->steps[0].records[0].lease;
	}
}

static inline void dispatch_all(struct store *store)
{
	while (store_dispatch(store) == 0)
		;
}

static inline struct answer answer_wait(struct store *store, struct answer *answer)
{
	assert_int_equal(answer->calls, 0);
	dispatch_all(store);
	assert_int_equal(answer->calls, 1);
	return *answer;
}

static inline struct answer put(struct store *store, const char *key, const char *value)
{
	struct answer answer = {};

	store_put(store, key, store_text(value), 0, answer_take, &answer);
	return answer_wait(store, &answer);
}

static inline struct answer put_leased(struct store *store, const char *key, uint64_t lease)
{
	struct answer answer = {};

	store_put(store, key, store_text("x"), lease, answer_take, &answer);
	return answer_wait(store, &answer);
}

static inline struct answer get(struct store *store, const char *key)
{
	struct answer answer = {};

	store_get(store, key, answer_take, &answer);
	return answer_wait(store, &answer);
}

static inline struct answer list(struct store *store, const char *prefix)
{
	struct answer answer = {};

	store_list(store, prefix, answer_take, &answer);
	return answer_wait(store, &answer);
}

static inline struct answer delete(struct store *store, const char *key)
{
	struct answer answer = {};

	store_delete(store, key, answer_take, &answer);
	return answer_wait(store, &answer);
}

static inline struct answer transact(struct store *store, const struct store_transaction *transaction)
{
	struct answer answer = {};

	store_transact(store, transaction, answer_take, &answer);
	return answer_wait(store, &answer);
}

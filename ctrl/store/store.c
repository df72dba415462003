/* SPDX-License-Identifier: Apache-2.0 */
/* What all stores have in common: the rules for requests, and the calls of one step. */
#include "ctrl/store/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/lib/arena.h"
#include "base/lib/memory.h"

int store_key_check(const char *key, struct error *error)
{
	if (!key || key[0] != '/')
		return error_set(error, EINVAL, "a key of the store begins with /");
	if (strnlen(key, STORE_KEY_LENGTH_MAX + 1) > STORE_KEY_LENGTH_MAX)
		return error_set(error, EINVAL, "a key of the store has at most %d bytes", STORE_KEY_LENGTH_MAX);
	return 0;
}

static int text_compare(const void *left, const void *right)
{
	return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Whether one of the sorted `keys` is `key`, or begins with it. */
static bool keys_contain(const char *const *keys, size_t count, const char *key, bool as_prefix)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(keys[middle], key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == count)
		return false;
	return as_prefix ? !strncmp(keys[low], key, strlen(key)) : !strcmp(keys[low], key);
}

/* etcd refuses a transaction that changes a key twice; so do all, or callers would come to rely on it. */
static int steps_disjoint_check(const struct store_step *steps, size_t count, struct error *error)
{
	_cleanup_(freep) const char **puts = memory_or_end(malloc((count + 1) * sizeof(*puts)));
	size_t put_count = 0;

	for (size_t i = 0; i < count; i++)
		if (steps[i].kind == STORE_PUT)
			puts[put_count++] = steps[i].key;
	qsort(puts, put_count, sizeof(*puts), text_compare);
	for (size_t i = 1; i < put_count; i++)
		if (!strcmp(puts[i - 1], puts[i]))
			return error_set(error, EINVAL, "the key %s is put twice in one transaction", puts[i]);
	for (size_t i = 0; i < count; i++)
		if ((steps[i].kind == STORE_DELETE || steps[i].kind == STORE_DELETE_PREFIX) &&
		    keys_contain(puts, put_count, steps[i].key, steps[i].kind == STORE_DELETE_PREFIX))
			return error_set(error, EINVAL, "a key under %s is put and deleted in one transaction", steps[i].key);
	return 0;
}

static int steps_check(const struct store_step *steps, size_t count, size_t *bytes, struct error *error)
{
	if (count > STORE_TRANSACTION_STEPS_MAX)
		return error_set(error, EINVAL, "a transaction has at most %d steps", STORE_TRANSACTION_STEPS_MAX);
	for (size_t i = 0; i < count; i++) {
		int status = store_key_check(steps[i].key, error);

		if (status < 0)
			return status;
		if (steps[i].kind > STORE_GET_PREFIX)
			return error_set(error, EINVAL, "a transaction has a step of an unknown kind");
		if (steps[i].kind != STORE_PUT)
			continue;
		if (steps[i].value.length > STORE_VALUE_LENGTH_MAX)
			return error_set(error, EINVAL, "the value of %s is larger than %d bytes", steps[i].key,
					 STORE_VALUE_LENGTH_MAX);
		*bytes += strlen(steps[i].key) + steps[i].value.length;
	}
	if (*bytes > STORE_TRANSACTION_BYTES_MAX)
		return error_set(error, EINVAL, "a transaction writes at most %d bytes", STORE_TRANSACTION_BYTES_MAX);
	return steps_disjoint_check(steps, count, error);
}

static int transaction_check(const struct store_transaction *transaction, struct error *error)
{
	size_t bytes = 0;
	int status;

	if (transaction->compare_count > STORE_TRANSACTION_STEPS_MAX)
		return error_set(error, EINVAL, "a transaction has at most %d compares", STORE_TRANSACTION_STEPS_MAX);
	for (size_t i = 0; i < transaction->compare_count; i++) {
		status = store_key_check(transaction->compares[i].key, error);
		if (status < 0)
			return status;
		if (transaction->compares[i].kind > STORE_COMPARE_VALUE)
			return error_set(error, EINVAL, "a transaction has a compare of an unknown kind");
	}
	status = steps_check(transaction->then_steps, transaction->then_count, &bytes, error);
	return status < 0 ? status : steps_check(transaction->else_steps, transaction->else_count, &bytes, error);
}

void store_transact(struct store *store, const struct store_transaction *transaction, store_done done, void *context)
{
	struct error error = {};
	int status = transaction_check(transaction, &error);

	if (status < 0)
		store->operations->refuse(store, status, &error, done, context);
	else
		store->operations->transact(store, transaction, done, context);
}

static void step_transact(struct store *store, const struct store_step *step, store_done done, void *context)
{
	const struct store_transaction transaction = {.then_steps = step, .then_count = 1};

	store_transact(store, &transaction, done, context);
}

void store_get(struct store *store, const char *key, store_done done, void *context)
{
	step_transact(store, &(struct store_step){.kind = STORE_GET, .key = key}, done, context);
}

void store_list(struct store *store, const char *prefix, store_done done, void *context)
{
	step_transact(store, &(struct store_step){.kind = STORE_GET_PREFIX, .key = prefix}, done, context);
}

void store_put(struct store *store, const char *key, struct store_value value, uint64_t lease, store_done done,
	       void *context)
{
	step_transact(store, &(struct store_step){.kind = STORE_PUT, .key = key, .value = value, .lease = lease}, done,
		      context);
}

void store_delete(struct store *store, const char *key, store_done done, void *context)
{
	step_transact(store, &(struct store_step){.kind = STORE_DELETE, .key = key}, done, context);
}

struct store_watch *store_watch_new(struct store *store, const char *prefix, uint64_t from_revision,
				    const struct store_watch_handler *handler, void *context)
{
	return store->operations->watch_new(store, prefix, from_revision, handler, context);
}

void store_watch_free(struct store_watch *watch)
{
	if (watch)
		watch->store->operations->watch_free(watch);
}

void store_lease_grant(struct store *store, uint32_t ttl_s, store_done done, void *context)
{
	struct error error = {};
	int status;

	if (ttl_s >= 1 && ttl_s <= STORE_LEASE_TTL_MAX_S) {
		store->operations->lease_grant(store, ttl_s, done, context);
		return;
	}
	status = error_set(&error, EINVAL, "a lease has 1 to %d seconds, not %u", STORE_LEASE_TTL_MAX_S, ttl_s);
	store->operations->refuse(store, status, &error, done, context);
}

void store_lease_keepalive(struct store *store, uint64_t lease, store_done done, void *context)
{
	store->operations->lease_keepalive(store, lease, done, context);
}

void store_lease_revoke(struct store *store, uint64_t lease, store_done done, void *context)
{
	store->operations->lease_revoke(store, lease, done, context);
}

int store_dispatch(struct store *store)
{
	return store->operations->dispatch(store);
}

void store_free(struct store *store)
{
	if (store)
		store->operations->free(store);
}

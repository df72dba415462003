/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: what the nodes of a site have agreed on, as keys and values with one history.
 *
 * The model is etcd's (version 3), so that SQLite on one node and etcd on several stand behind the same calls:
 *
 *   - A key is a path such as "/registry/services/default/web"; a value is any bytes.
 *   - Every transaction that changes something takes the next *revision*, one number for the whole store. A record knows
 *     the revision that created it, the one that last changed it, and its version (1 at creation, then counted up).
 *   - A transaction compares, then runs one of two lists of steps, whole or not at all. When its completion reports 0 the
 *     change survives a kill and a power cut; when it reports an error nothing has changed. (Two errors leave it open:
 *     -EIO, a disk that failed in the middle, and with etcd -ETIMEDOUT. Then the caller must look.)
 *   - A watch delivers each change under a prefix, in order and without gaps, from a revision on. History is compacted: a
 *     watch that asks for what is gone is told so (-ESTALE) and its owner lists again.
 *   - Keys attached to a lease vanish when nobody has kept it alive for its time.
 *
 * To follow a prefix: list it, note `result->revision`, watch from that revision + 1.
 *
 * Threads: one, the event loop's. No call waits for the network; SQLite's wait for the disk, as long as an fsync takes.
 *
 * Callbacks: never from inside a call of this header other than store_dispatch(), which the event loop runs for a store
 * opened on an event base. So a callback may call anything here (except store_free() and store_dispatch()), and a caller
 * may finish setting up after its call. Completions come in the order of the calls, each exactly once. Completions and
 * watch events have no order between each other: the watch may show a change before its writer's completion comes.
 *
 * Memory: what is passed in is borrowed until the call returns; what a callback gets, until the callback returns.
 * A process that runs out of memory here ends: the fast path goes on without it and the next start reads what was stored.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"

#define STORE_KEY_LENGTH_MAX 1024
#define STORE_VALUE_LENGTH_MAX (1024 * 1024)
#define STORE_TRANSACTION_STEPS_MAX 10000              /* etcd needs --max-txn-ops for it */
#define STORE_TRANSACTION_BYTES_MAX (8 * 1024 * 1024) /* etcd needs --max-request-bytes for it */
#define STORE_LEASE_TTL_MAX_S 86400

struct store; /* one of the implementations */

struct store_value {
	const void *data;
	size_t length;
};

struct store_record {
	const char *key;
	struct store_value value; /* a zero byte, not counted, follows the data: text may be read as a string */
	uint64_t create_revision;
	uint64_t mod_revision;
	uint64_t version;
	uint64_t lease; /* 0: none */
};

/* ---- Transactions ---- */

enum store_compare_kind {
	STORE_COMPARE_EXISTS,
	STORE_COMPARE_ABSENT,
	STORE_COMPARE_MOD_REVISION, /* equals `number`; an absent key has 0 */
	STORE_COMPARE_VERSION,	    /* equals `number`; an absent key has 0 */
	STORE_COMPARE_VALUE,	    /* equals `value`; an absent key never does */
};

struct store_compare {
	enum store_compare_kind kind;
	const char *key;
	uint64_t number;
	struct store_value value;
};

enum store_step_kind {
	STORE_PUT,
	STORE_DELETE,
	STORE_DELETE_PREFIX,
	STORE_GET,
	STORE_GET_PREFIX, /* records in the order of their keys, as bytes */
};

struct store_step {
	enum store_step_kind kind;
	const char *key;	  /* or the prefix; "" is not one, "/" is everything */
	struct store_value value; /* STORE_PUT only */
	uint64_t lease;		  /* STORE_PUT only: the lease it is attached to from now on; 0: none */
};

/*
 * If all compares hold, the then-steps, else the else-steps. Steps run in order, a get sees the puts before it.
 * As in etcd, a list may not put a key twice, nor put a key that another of its steps deletes (-EINVAL).
 */
struct store_transaction {
	const struct store_compare *compares;
	size_t compare_count;
	const struct store_step *then_steps;
	size_t then_count;
	const struct store_step *else_steps;
	size_t else_count;
};

struct store_step_result {
	const struct store_record *records; /* of a get */
	size_t record_count;
	size_t deleted_count; /* of a delete */
};

struct store_result {
	uint64_t revision; /* the store's, after the transaction: its own if it changed something */
	bool succeeded;	   /* all compares held */
	const struct store_step_result *steps; /* of the list that ran, one for each step */
	size_t step_count;
	uint64_t lease; /* of the lease calls */
	uint32_t ttl_s;
};

/*
 * `status` is 0, with a result and no error; or negative, without a result:
 *   -EINVAL     the request breaks a rule of this page
 *   -ENOENT     no such lease
 *   -ENOSPC     the disk is full, or a limit is reached
 *   -EIO        the disk failed while writing: whether the change is there is known after the next start
 *   -EUCLEAN    what was read is damaged
 *   -EAGAIN     not now (etcd: no leader, not connected)
 *   -ETIMEDOUT  outcome unknown (etcd only)
 *   -ECANCELED  the store is being closed
 */
typedef void (*store_done)(void *context, int status, const struct store_result *result, const struct error *error);

void store_transact(struct store *store, const struct store_transaction *transaction, store_done done, void *context);

/* One step without compares: its result is result->steps[0]. `done` may be NULL for those who do not wait. */
void store_get(struct store *store, const char *key, store_done done, void *context);
void store_list(struct store *store, const char *prefix, store_done done, void *context);
void store_put(struct store *store, const char *key, struct store_value value, uint64_t lease, store_done done,
	       void *context);
void store_delete(struct store *store, const char *key, store_done done, void *context);

/* ---- Watches ---- */

enum store_event_kind { STORE_EVENT_PUT, STORE_EVENT_DELETE };

struct store_event {
	enum store_event_kind kind;
	/* As it is from this revision on. Of a deletion: the key, the revision in mod_revision, no value, zeros. */
	struct store_record record;
	/* As it was before; NULL if the key was absent. */
	const struct store_record *previous;
};

struct store_watch_handler {
	/*
	 * One or more events, oldest first (within a revision in the order of the steps); all events of one revision are in one call. `revision`: everything up to it
	 * has been delivered.
	 */
	void (*events)(void *context, const struct store_event *events, size_t event_count, uint64_t revision);
	/*
	 * The watch has ended and calls no more; its owner still frees it. -ESTALE: changes from the wanted revision on are
	 * compacted; list again and watch from there. Others as for store_done.
	 */
	void (*failed)(void *context, int status, const struct error *error);
};

struct store_watch;

/*
 * Changes under `prefix` from `from_revision` on, which may lie ahead (0: from the next change on).
 * `handler` is borrowed until store_watch_free().
 */
struct store_watch *store_watch_new(struct store *store, const char *prefix, uint64_t from_revision,
				    const struct store_watch_handler *handler, void *context);
/* Calls no more from here on; allowed in the watch's own callbacks. NULL is allowed. */
void store_watch_free(struct store_watch *watch);

/* ---- Leases ---- */

/*
 * A lease of `ttl_s` seconds (1 to STORE_LEASE_TTL_MAX_S); its number comes in result->lease, never 0, never used again. The time runs on
 * the store's clock and starts afresh when the store is opened again: leases never end early, but may end late.
 */
void store_lease_grant(struct store *store, uint32_t ttl_s, store_done done, void *context);
/* Starts its time afresh; -ENOENT: too late, the keys are gone. Writes nothing to the disk. */
void store_lease_keepalive(struct store *store, uint64_t lease, store_done done, void *context);
/* Ends it now: its keys are deleted in one revision. */
void store_lease_revoke(struct store *store, uint64_t lease, store_done done, void *context);

/* ---- The loop's side ---- */

/*
 * Does what is due (leases that ran out by the clock, completions, watch events) and returns how long nothing more will be
 * due, in milliseconds; -1: until the next call. Only for a store opened without an event base; the loop does it otherwise.
 */
int store_dispatch(struct store *store);

/*
 * Pending completions are called with -ECANCELED (whatever was committed stays); they must not call the store any more. All
 * watches must have been freed. NULL is allowed.
 */
void store_free(struct store *store);

static inline void store_freep(struct store **store)
{
	store_free(*store);
}

static inline struct store_value store_text(const char *text)
{
	return (struct store_value){.data = text, .length = __builtin_strlen(text)};
}

/* ---- For those who implement a store ---- */

struct store_operations {
	/* Rules of this page about keys, sizes and steps were checked by the caller (store.c). */
	void (*transact)(struct store *store, const struct store_transaction *transaction, store_done done, void *context);
	struct store_watch *(*watch_new)(struct store *store, const char *prefix, uint64_t from_revision,
					 const struct store_watch_handler *handler, void *context);
	void (*watch_free)(struct store_watch *watch);
	void (*lease_grant)(struct store *store, uint32_t ttl_s, store_done done, void *context);
	void (*lease_keepalive)(struct store *store, uint64_t lease, store_done done, void *context);
	void (*lease_revoke)(struct store *store, uint64_t lease, store_done done, void *context);
	/* A completion that fails with the given status, in its turn among the others. */
	void (*refuse)(struct store *store, int status, const struct error *error, store_done done, void *context);
	int (*dispatch)(struct store *store);
	void (*free)(struct store *store);
};

/* 0 if it may be a key or a prefix. */
must_check int store_key_check(const char *key, struct error *error);

/* First member of each implementation. */
struct store {
	const struct store_operations *operations;
};

struct store_watch {
	struct store *store;
};

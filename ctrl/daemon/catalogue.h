/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that the store holds but sessions, in memory and up to date: the operator's objects as typed objects, and Selvage's own few records
 * (drains, pins, the hash seed) as text.
 *
 * One thread, the event loop's.
 */
#pragma once

#include "ctrl/manifest/objects.h"
#include "ctrl/store/store.h"

#define CATALOGUE_DRAINS "/selvage/drains/" /* + NAMESPACE/SERVICE/ADDRESS/PORT; port 0: all */
#define CATALOGUE_PINS "/selvage/pins/"     /* + ADDRESS: the node that shall own it */
#define CATALOGUE_HASH_SEED "/selvage/hash-seed"
#define CATALOGUE_NOT_SESSIONS "/selvage/sessions/" /* not here: ctrl/session/record.h */

struct catalogue;

/* Something differs since the last call; never called from inside catalogue_new(). */
typedef void (*catalogue_changed)(void *context);

/* Reads the store in the background; `changed` is called when it is there for the first time, and with each change. */
struct catalogue *catalogue_new(struct store *store, catalogue_changed changed, void *context);
void catalogue_free(struct catalogue *catalogue);

/* False until everything has been read once. */
bool catalogue_ready(const struct catalogue *catalogue);
uint64_t catalogue_revision(const struct catalogue *catalogue);

/* All objects, ordered by their keys. Borrowed: good until catalogue_release() after they were changed. */
const struct object *const *catalogue_objects(const struct catalogue *catalogue, size_t *ret_count);

/* Text records under a prefix, one call for each; `name` is what follows the prefix. */
void catalogue_each(const struct catalogue *catalogue, const char *prefix,
		    void (*visit)(void *context, const char *name, const char *value), void *context);
/* NULL when absent. */
const char *catalogue_text(const struct catalogue *catalogue, const char *key);

/* Nobody borrows objects from before the last change any more: frees them. */
void catalogue_release(struct catalogue *catalogue);

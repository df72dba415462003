/* SPDX-License-Identifier: Apache-2.0 */
/* The store of a site with one node: one SQLite file, `store.db` in the state directory. Calls: "ctrl/store/store.h". */
#pragma once

#include "base/lib/clock.h"
#include "ctrl/store/store.h"

#define STORE_SQLITE_FILE "store.db"
#define STORE_HISTORY_REVISIONS 10000

struct event_base;

struct store_sqlite_options {
	const char *directory;	   /* made with mode 0700 if it is not there (its parent must be) */
	const struct clock *clock; /* borrowed until store_free(); times the leases */
	struct event_base *base;   /* borrowed until store_free(); NULL: the owner calls store_dispatch() */
	/* Watches may start at most this many revisions back; older ones are compacted. 0: STORE_HISTORY_REVISIONS. */
	uint64_t history_revisions;
	const char *vfs; /* name of the SQLite VFS, NULL: the default one. For tests. */
};

/*
 * Opens the store, or makes an empty one. Refused, with a sentence that says what to do: a damaged file (-EUCLEAN), one that
 * a newer version wrote (-EPROTONOSUPPORT), one that another process has open (-EBUSY), a place that cannot be written.
 * The file has mode 0600 and is locked until store_free().
 */
must_check int store_sqlite_open(const struct store_sqlite_options *options, struct store **ret_store,
				 struct error *error);

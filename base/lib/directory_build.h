/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writing side of base/packet/directory.h. The new dictionary is built whole in the buffer that packets do not read;
 * the caller then stores the new control word. Who calls makes sure that no packet still reads that buffer from before the
 * last change (quiesce.h).
 */
#pragma once

#include <stddef.h>

#include "base/lib/cleanup.h"
#include "base/packet/directory.h"

/* A key and the row that it leads to; `row` is not 0. */
struct directory_pair {
	struct directory_key key;
	uint32_t row;
};

/* How many keys a dictionary holds: an eighth of its places. */
#define DIRECTORY_CAPACITY(bits) ((1u << (bits)) / 8)

/*
 * From one seed that is tried to the next, modulo 2^32: other in every bit. A seed meets a key's first word, and 256 seeds
 * that differ in one byte alone would all do the same for keys that have every value there.
 */
#define DIRECTORY_SEED_STEP 0x9e3779b9ull

/* Order by key, then row; equal keys become neighbours. */
void directory_pairs_sort(struct directory_pair *pairs, size_t count);
/* The row of a key among sorted pairs, 0 for none; of equal keys any. */
uint32_t directory_pairs_find(const struct directory_pair *pairs, size_t count, const struct directory_key *key);

/* Whether the dictionary that packets read holds exactly these pairs; no key may be twice among them. */
bool directory_holds(const struct directory_entry *entries, uint32_t bits, uint64_t control,
		     const struct directory_pair *pairs, size_t count);

/*
 * Builds the buffer that `control` does not name. The same pairs in the same order and the same control word give the same
 * bytes. 0; -E2BIG: more than DIRECTORY_CAPACITY; -EEXIST: a key twice; -ENOSPC: no seed found, which takes keys made for
 * it. On errors the buffer is spoilt, which nobody reads.
 */
must_check int directory_build(struct directory_entry *entries, uint32_t bits, uint64_t control,
			       const struct directory_pair *pairs, size_t count, uint64_t *ret_control);

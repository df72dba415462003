/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lib/directory_build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* At an eighth full, almost every seed does; the odds that a thousand in a row fail are nil for keys not made for it. */
#define DIRECTORY_SEEDS 1024u

static int key_compare(const struct directory_key *a, const struct directory_key *b)
{
	for (size_t i = 0; i < 3; i++) {
		if (a->word[i] != b->word[i])
			return a->word[i] < b->word[i] ? -1 : 1;
	}
	return 0;
}

static int pair_compare(const void *left, const void *right)
{
	const struct directory_pair *a = left, *b = right;
	int order = key_compare(&a->key, &b->key);

	return order ? order : (a->row > b->row) - (a->row < b->row);
}

void directory_pairs_sort(struct directory_pair *pairs, size_t count)
{
	if (count > 1)
		qsort(pairs, count, sizeof(*pairs), pair_compare);
}

uint32_t directory_pairs_find(const struct directory_pair *pairs, size_t count, const struct directory_key *key)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = key_compare(&pairs[middle].key, key);

		if (order == 0)
			return pairs[middle].row;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return 0;
}

bool directory_holds(const struct directory_entry *entries, uint32_t bits, uint64_t control,
		     const struct directory_pair *pairs, size_t count)
{
	const struct directory_entry *buffer = entries + ((control & 1) << bits);
	size_t used = 0;

	for (size_t i = 0; i < (size_t)1 << bits; i++)
		used += buffer[i].row != 0;
	if (used != count)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (directory_find(entries, bits, control, &pairs[i].key) != pairs[i].row)
			return false;
	}
	return true;
}

/* 0, -EEXIST, or -EAGAIN when the key's run is longer than a packet looks. */
static int entry_insert(struct directory_entry *buffer, uint32_t bits, uint64_t control,
			const struct directory_pair *pair)
{
	uint32_t mask = (1u << bits) - 1;
	uint32_t home = directory_hash(&pair->key, control);

	for (uint32_t probe = 0; probe < DIRECTORY_PROBES; probe++) {
		struct directory_entry *entry = &buffer[(home + probe) & mask];

		if (entry->row == 0) {
			entry->key = pair->key;
			entry->row = pair->row;
			return 0;
		}
		if (key_compare(&entry->key, &pair->key) == 0)
			return -EEXIST;
	}
	return -EAGAIN;
}

static int buffer_fill(struct directory_entry *buffer, uint32_t bits, uint64_t control,
		       const struct directory_pair *pairs, size_t count)
{
	memset(buffer, 0, sizeof(*buffer) << bits);
	for (size_t i = 0; i < count; i++) {
		int result = entry_insert(buffer, bits, control, &pairs[i]);

		if (result < 0)
			return result;
	}
	return 0;
}

int directory_build(struct directory_entry *entries, uint32_t bits, uint64_t control,
		    const struct directory_pair *pairs, size_t count, uint64_t *ret_control)
{
	uint64_t spare = ~control & 1;

	if (count > DIRECTORY_CAPACITY(bits))
		return -E2BIG;
	for (uint64_t seed = 1; seed <= DIRECTORY_SEEDS; seed++) {
		uint64_t candidate = ((control >> 32) + seed * DIRECTORY_SEED_STEP) << 32 | spare;
		int result = buffer_fill(entries + (spare << bits), bits, candidate, pairs, count);

		if (result == -EAGAIN)
			continue;
		if (result == 0)
			*ret_control = candidate;
		return result;
	}
	return -ENOSPC;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "lb/maglev.h"

#include <errno.h>
#include <string.h>

#include "base/packet/hash.h"

const uint32_t maglev_sizes[MAGLEV_SIZES] = {1021, 4093, 16381, 65537};

/* A backend's turns are evenly spread over this time. */
#define TURN_SCALE (1ull << 48)

struct turn {
	uint64_t due;
	uint64_t apart;
	uint64_t identity; /* breaks ties, so that the order of input does not matter */
	uint32_t place;    /* next slot in the order of preference */
	uint32_t skip;
	uint32_t turns; /* that are left */
	uint16_t row;
	uint64_t remainder;
};

uint32_t maglev_size(size_t count, uint64_t weight_total, uint32_t weight_least, uint32_t slots_least)
{
	for (size_t i = 0; i < MAGLEV_SIZES - 1; i++) {
		if (maglev_sizes[i] >= count &&
		    (uint64_t)maglev_sizes[i] * weight_least >= (uint64_t)slots_least * weight_total)
			return maglev_sizes[i];
	}
	return maglev_sizes[MAGLEV_SIZES - 1];
}

static bool turn_before(const struct turn *a, const struct turn *b)
{
	return a->due != b->due ? a->due < b->due : a->identity < b->identity;
}

/* Restores the heap below `top`, whose turn may have become a later one. */
static void turns_sift(struct turn *turns, size_t count, size_t top)
{
	struct turn sinking = turns[top];

	for (;;) {
		size_t child = 2 * top + 1;

		if (child >= count)
			break;
		if (child + 1 < count && turn_before(&turns[child + 1], &turns[child]))
			child++;
		if (!turn_before(&turns[child], &sinking))
			break;
		turns[top] = turns[child];
		top = child;
	}
	turns[top] = sinking;
}

static int quota_compare(const void *left, const void *right)
{
	const struct turn *a = left, *b = right;

	if (a->remainder != b->remainder)
		return a->remainder > b->remainder ? -1 : 1;
	return (a->identity > b->identity) - (a->identity < b->identity);
}

/* How many turns each has: its share of the slots, rounded so that all together have `size` (largest remainders). */
static void turns_share(struct turn *turns, const struct maglev_backend *backends, size_t count, uint32_t size)
{
	uint64_t total = 0, given = 0;

	for (size_t i = 0; i < count; i++)
		total += backends[i].weight;
	for (size_t i = 0; i < count; i++) {
		uint64_t share = (uint64_t)size * backends[i].weight;

		turns[i].identity = backends[i].identity;
		turns[i].row = backends[i].row;
		turns[i].turns = (uint32_t)(share / total);
		turns[i].remainder = share % total;
		given += turns[i].turns;
	}
	qsort(turns, count, sizeof(*turns), quota_compare);
	for (size_t i = 0; given < size; i++, given++)
		turns[i].turns++;
}

static void turns_init(struct turn *turns, const struct maglev_backend *backends, size_t count, uint32_t size)
{
	turns_share(turns, backends, count, size);
	for (size_t i = 0; i < count; i++) {
		turns[i].apart = turns[i].turns ? TURN_SCALE / turns[i].turns : 0;
		turns[i].due = turns[i].turns ? turns[i].apart / 2 : UINT64_MAX;
		turns[i].place = (uint32_t)(hash_finish(hash_word(1, turns[i].identity)) % size);
		turns[i].skip = (uint32_t)(hash_finish(hash_word(2, turns[i].identity)) % (size - 1)) + 1;
	}
	for (size_t i = count / 2; i-- > 0;)
		turns_sift(turns, count, i);
}

int maglev_build(const struct maglev_backend *backends, size_t count, uint32_t size, uint16_t *ret_slots)
{
	_cleanup_(freep) struct turn *turns = calloc(count ? count : 1, sizeof(*turns));

	if (!turns)
		return -ENOMEM;
	memset(ret_slots, 0, size * sizeof(*ret_slots)); /* row 0: not taken yet */
	if (count == 0)
		return 0;
	turns_init(turns, backends, count, size);
	for (uint32_t filled = 0; filled < size; filled++) {
		struct turn *turn = &turns[0];

		while (ret_slots[turn->place]) {
			turn->place += turn->skip;
			if (turn->place >= size)
				turn->place -= size;
		}
		ret_slots[turn->place] = turn->row;
		turn->due = --turn->turns ? turn->due + turn->apart : UINT64_MAX;
		turns_sift(turns, count, 0);
	}
	return 0;
}

struct maglev_shift maglev_compare(const uint16_t *before, const uint16_t *after, uint32_t size, uint16_t row)
{
	struct maglev_shift shift = {0};

	for (uint32_t i = 0; i < size; i++) {
		if (before[i] == after[i])
			shift.kept++;
		else if (before[i] != row && after[i] != row)
			shift.moved++;
	}
	return shift;
}

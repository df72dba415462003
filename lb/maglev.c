/* SPDX-License-Identifier: Apache-2.0 */
#include "lb/maglev.h"

#include <errno.h>
#include <string.h>

#include "base/packet/hash.h"

const uint32_t maglev_sizes[MAGLEV_SIZES] = {1021, 4093, 16381, 65537};

/* A weight's turns are 2^40 / weight apart: a share is then exact to a millionth even for the largest weights. */
#define TURN_SCALE (1ull << 40)

struct turn {
	uint64_t due;
	uint64_t apart;
	uint64_t identity; /* breaks ties, so that the order of input does not matter */
	uint32_t place;    /* next slot in the order of preference */
	uint32_t skip;
	uint16_t row;
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

static void turns_init(struct turn *turns, const struct maglev_backend *backends, size_t count, uint32_t size)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t apart = TURN_SCALE / backends[i].weight;
		uint64_t offset_hash = hash_finish(hash_word(1, backends[i].identity));
		uint64_t skip_hash = hash_finish(hash_word(2, backends[i].identity));

		turns[i] = (struct turn){
			.due = apart / 2, /* so that shares are rounded, not cut */
			.apart = apart,
			.identity = backends[i].identity,
			.place = (uint32_t)(offset_hash % size),
			.skip = (uint32_t)(skip_hash % (size - 1)) + 1,
			.row = backends[i].row,
		};
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
		turn->due += turn->apart;
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

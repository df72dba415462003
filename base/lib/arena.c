/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lib/arena.h"

#include <stdint.h>
#include <string.h>

#include "base/lib/memory.h"

#define ARENA_FIRST_BLOCK 1024u
#define ARENA_LARGEST_BLOCK (1024u * 1024)
#define ARENA_ALIGNMENT _Alignof(max_align_t)

struct arena_block {
	struct arena_block *next;
	size_t size, used;
	_Alignas(max_align_t) unsigned char bytes[];
};

void arena_done(struct arena *arena)
{
	while (arena->blocks) {
		struct arena_block *next = arena->blocks->next;

		free(arena->blocks);
		arena->blocks = next;
	}
	arena->next_size = 0;
}

struct arena *arena_new(void)
{
	return memory_or_end(calloc(1, sizeof(struct arena)));
}

void arena_free(struct arena *arena)
{
	if (!arena)
		return;
	arena_done(arena);
	free(arena);
}

void arena_freep(struct arena **arena)
{
	arena_free(*arena);
}

/* Each block twice the last, so that a big tree is not thousands of them. */
static struct arena_block *arena_block_new(struct arena *arena, size_t needed)
{
	size_t size = arena->next_size ? arena->next_size : ARENA_FIRST_BLOCK;
	struct arena_block *block;

	if (size < ARENA_LARGEST_BLOCK)
		arena->next_size = 2 * size;
	if (size < needed)
		size = needed;
	block = memory_or_end(calloc(1, sizeof(*block) + size));
	block->size = size;
	block->next = arena->blocks;
	arena->blocks = block;
	return block;
}

void *arena_take(struct arena *arena, size_t size)
{
	struct arena_block *block = arena->blocks;
	void *memory;

	if (size > SIZE_MAX / 2)
		abort();
	size = (size + ARENA_ALIGNMENT - 1) & ~(ARENA_ALIGNMENT - 1);
	if (!block || block->size - block->used < size)
		block = arena_block_new(arena, size);
	memory = block->bytes + block->used;
	block->used += size;
	return memory;
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		abort();
	return arena_take(arena, bytes);
}

void *arena_copy(struct arena *arena, const void *data, size_t size)
{
	void *copy = arena_take(arena, size + 1);

	if (size)
		memcpy(copy, data, size);
	return copy;
}

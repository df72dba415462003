/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/manifest/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/lib/cleanup.h"

#define ARENA_FIRST_BLOCK 1024
#define ARENA_LARGEST_BLOCK (256 * 1024)
#define ARENA_ALIGNMENT _Alignof(max_align_t)

struct arena_block {
	struct arena_block *next;
	size_t size, used;
	_Alignas(max_align_t) unsigned char bytes[];
};

struct arena {
	struct arena_block *blocks;
	size_t next_size;
};

static void *memory_or_abort(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

struct arena *arena_new(void)
{
	struct arena *arena = memory_or_abort(calloc(1, sizeof(*arena)));

	arena->next_size = ARENA_FIRST_BLOCK;
	return arena;
}

void arena_free(struct arena *arena)
{
	if (!arena)
		return;
	while (arena->blocks) {
		struct arena_block *next = arena->blocks->next;

		free(arena->blocks);
		arena->blocks = next;
	}
	free(arena);
}

void arena_freep(struct arena **arena)
{
	arena_free(*arena);
}

static struct arena_block *arena_block_new(struct arena *arena, size_t needed)
{
	size_t size = needed > arena->next_size ? needed : arena->next_size;
	struct arena_block *block = memory_or_abort(calloc(1, sizeof(*block) + size));

	block->size = size;
	block->next = arena->blocks;
	arena->blocks = block;
	if (arena->next_size < ARENA_LARGEST_BLOCK)
		arena->next_size *= 2;
	return block;
}

void *arena_allocate(struct arena *arena, size_t size)
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
	return arena_allocate(arena, bytes);
}

char *arena_text(struct arena *arena, const char *text, size_t length)
{
	char *copy = arena_allocate(arena, length + 1);

	memcpy(copy, text, length);
	return copy;
}

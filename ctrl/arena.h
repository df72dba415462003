/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is taken in pieces and freed at once. Not for several threads. A process that runs out of memory ends. */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK_BYTES 4096

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	_Alignas(16) char bytes[];
};

/* Starts as {}. */
struct arena {
	struct arena_block *blocks;
};

/* The result of an allocation that has no way to fail. */
static inline void *memory_or_end(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

/* Zeroed and aligned for anything. */
static inline void *arena_take(struct arena *arena, size_t size)
{
	struct arena_block *block = arena->blocks;
	void *memory;

	size = (size + 15) & ~(size_t)15;
	if (!block || block->size - block->used < size) {
		/* Each block twice the last, so that a big tree is not thousands of them. */
		size_t block_size = block ? 2 * block->size : ARENA_BLOCK_BYTES;

		if (block_size > 1024 * 1024)
			block_size = 1024 * 1024;
		if (block_size < size)
			block_size = size;
		block = memory_or_end(malloc(sizeof(*block) + block_size));
		*block = (struct arena_block){.next = arena->blocks, .size = block_size};
		arena->blocks = block;
	}
	memory = block->bytes + block->used;
	block->used += size;
	return memset(memory, 0, size);
}

/* With a zero byte behind it that is not counted. */
static inline void *arena_copy(struct arena *arena, const void *data, size_t size)
{
	void *copy = arena_take(arena, size + 1);

	if (size)
		memcpy(copy, data, size);
	return copy;
}

static inline void arena_done(struct arena *arena)
{
	while (arena->blocks) {
		struct arena_block *next = arena->blocks->next;

		free(arena->blocks);
		arena->blocks = next;
	}
}

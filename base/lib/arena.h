/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is taken in pieces and freed at once. Never returns NULL: a process that runs out of memory ends; loaders bound
 * what they ask for. Not for several threads.
 */
#pragma once

#include <stddef.h>

struct arena_block;

/* All zero is an empty one. */
struct arena {
	struct arena_block *blocks;
	size_t next_size;
};

/* In the caller's memory: frees everything taken and leaves it empty. */
void arena_done(struct arena *arena);

/* On the heap. */
struct arena *arena_new(void);
void arena_free(struct arena *arena); /* NULL is allowed */
void arena_freep(struct arena **arena);

/* Zeroed and aligned for any type. */
void *arena_take(struct arena *arena, size_t size) __attribute__((malloc, returns_nonnull));
/* `count` items of `size`; ends the process when the product overflows. */
void *arena_array(struct arena *arena, size_t count, size_t size) __attribute__((malloc, returns_nonnull));
/* A copy with a zero byte behind it that is not counted. */
void *arena_copy(struct arena *arena, const void *data, size_t size) __attribute__((malloc, returns_nonnull));

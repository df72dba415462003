/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is freed together. Allocation never returns NULL: a machine without memory for a manifest aborts, as the
 * loaders bound what they ask for. Not thread-safe.
 */
#pragma once

#include <stddef.h>

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *arena); /* NULL is allowed */
void arena_freep(struct arena **arena);

/* Zeroed and aligned for any type. */
void *arena_allocate(struct arena *arena, size_t size) __attribute__((malloc, returns_nonnull));
/* `count` items of `size`; aborts when the product overflows. */
void *arena_array(struct arena *arena, size_t count, size_t size) __attribute__((malloc, returns_nonnull));
/* A copy with a terminating zero. */
char *arena_text(struct arena *arena, const char *text, size_t length) __attribute__((malloc, returns_nonnull));

/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation at configuration time: a process without memory ends, and the next start goes on from what was stored. */
#pragma once

#include <stddef.h>
#include <stdlib.h>

/* The result of an allocation that has no way to fail. */
static inline void *memory_or_end(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

/* Room for `count` items of `size`, at least; the new ones are not zeroed. */
static inline void *memory_array(void *items, size_t count, size_t size)
{
	return memory_or_end(reallocarray(items, count ? count : 1, size));
}

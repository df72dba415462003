/* SPDX-License-Identifier: Apache-2.0 */
/* Scope-bound release of locals: `_cleanup_(freep) char *name = NULL;` */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(function) __attribute__((cleanup(function)))
#define must_check __attribute__((warn_unused_result))

/* For `_cleanup_(freep)`: frees what the local points to. */
static inline void freep(void *pointer)
{
	free(*(void **)pointer);
}

/* For `_cleanup_(closep) int fd = -1;` */
static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* For `_cleanup_(fclosep) FILE *file = NULL;` */
static inline void fclosep(FILE **file)
{
	if (*file)
		fclose(*file);
}

/* Hands a pointer on: returns it and leaves NULL behind. */
#define steal(pointer)                                 \
	({                                             \
		__typeof__(pointer) stolen = (pointer); \
		(pointer) = NULL;                      \
		stolen;                                \
	})

#define array_length(array) (sizeof(array) / sizeof((array)[0]))

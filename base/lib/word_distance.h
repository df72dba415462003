/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean …": which known word somebody probably wanted to write. Pure; any thread. */
#pragma once

#include <stddef.h>

#define WORD_DISTANCE_FAR 99u /* of words that are too long to be compared */

/* Levenshtein's distance: how many letters are to be put in, taken out or changed. */
unsigned int word_distance(const char *a, const char *b);

/* The nearest word of an array that ends with NULL, if one is near enough to be a likely slip; else NULL. Borrowed from it. */
const char *word_nearest(const char *word, const char *const *known);

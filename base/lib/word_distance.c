/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lib/word_distance.h"

#include <string.h>

#define WORD_MAX 32u

unsigned int word_distance(const char *a, const char *b)
{
	unsigned int row[WORD_MAX];
	size_t length = strlen(b);

	if (length >= WORD_MAX || strlen(a) >= WORD_MAX)
		return WORD_DISTANCE_FAR;
	for (unsigned int j = 0; j <= length; j++)
		row[j] = j;
	for (unsigned int i = 1; a[i - 1]; i++) {
		unsigned int diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= length; j++) {
			unsigned int substitute = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
			if (substitute < row[j])
				row[j] = substitute;
		}
	}
	return row[length];
}

const char *word_nearest(const char *word, const char *const *known)
{
	unsigned int length = (unsigned int)strlen(word), best = length < 3 ? 2 : length < 9 ? 3 : 5;
	const char *nearest = NULL;

	for (; *known; known++) {
		unsigned int distance = word_distance(word, *known);

		if (distance < best && distance < length) {
			best = distance;
			nearest = *known;
		}
	}
	return nearest;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lib/histogram.h"

#include <errno.h>

void histogram_done(struct histogram *histogram)
{
	free(histogram->values);
	*histogram = (struct histogram){0};
}

int histogram_add(struct histogram *histogram, uint64_t value)
{
	if (histogram->count == histogram->capacity) {
		size_t capacity = histogram->capacity ? 2 * histogram->capacity : 1024;
		uint64_t *values = reallocarray(histogram->values, capacity, sizeof(*values));

		if (!values)
			return -ENOMEM;
		histogram->values = values;
		histogram->capacity = capacity;
	}
	histogram->values[histogram->count++] = value;
	histogram->sorted = false;
	return 0;
}

static int value_compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

uint64_t histogram_quantile(struct histogram *histogram, uint32_t per_mille)
{
	size_t rank;

	if (histogram->count == 0)
		return 0;
	if (!histogram->sorted)
		qsort(histogram->values, histogram->count, sizeof(*histogram->values), value_compare);
	histogram->sorted = true;
	rank = (histogram->count * per_mille + 999) / 1000;
	return histogram->values[rank ? rank - 1 : 0];
}

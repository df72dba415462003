/* SPDX-License-Identifier: Apache-2.0 */
/* Published vectors (tests/vectors/stun-srtp): NAME.hex into bytes. For tests. */
#pragma once

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline size_t vector_hex(const char *text, uint8_t *bytes, size_t size)
{
	size_t length = 0;
	unsigned int value;

	while (*text && length < size) {
		if (isspace((unsigned char)*text)) {
			text++;
			continue;
		}
		if (sscanf(text, "%2x", &value) != 1)
			abort();
		bytes[length++] = (uint8_t)value;
		text += 2;
	}
	return length;
}

static inline size_t vector_read(const char *name, uint8_t *bytes, size_t size)
{
	char path[512], text[4096] = "";
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.hex", MEDIA_VECTORS, name);
	file = fopen(path, "r");
	if (!file || fread(text, 1, sizeof(text) - 1, file) == 0)
		abort();
	fclose(file);
	return vector_hex(text, bytes, size);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the runners of golden packets share: how cases.json writes bytes, and which engines a case is for. */
#pragma once

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/engine.h"

/* Returns how many bytes there were, at most `most`; NULL has none. */
static inline uint32_t hex_read(const char *text, uint8_t *bytes, uint32_t most)
{
	uint32_t length = 0;
	unsigned int byte;

	while (text && length < most && sscanf(text + 2 * length, "%2x", &byte) == 1)
		bytes[length++] = (uint8_t)byte;
	return length;
}

static inline void hex_print(const char *what, const uint8_t *bytes, uint32_t length)
{
	fprintf(stderr, "  %s ", what);
	for (uint32_t i = 0; i < length; i++)
		fprintf(stderr, "%02x", bytes[i]);
	fputc('\n', stderr);
}

static inline bool outcome_is(const struct engine_outcome *outcome, const uint8_t *wanted, uint32_t length)
{
	return length == outcome->length && memcmp(wanted, outcome->bytes, length) == 0;
}

static inline void outcome_print(const struct engine_outcome *outcome, const uint8_t *wanted, uint32_t length)
{
	hex_print("wanted", wanted, length);
	hex_print("leaves", outcome->bytes, outcome->length);
}

/* Whether a case is for this engine: all are when it names none. Says so if not. */
static inline bool case_is_for(json_t *item, const struct engine *engine)
{
	json_t *engines = json_object_get(item, "engines"), *name;
	size_t i;

	json_array_foreach(engines, i, name) {
		if (strcmp(json_string_value(name), engine->name) == 0)
			return true;
	}
	if (engines)
		printf("%s: skipped \"%s\": this engine cannot be brought to it\n", engine->name,
		       json_string_value(json_object_get(item, "name")));
	return !engines;
}

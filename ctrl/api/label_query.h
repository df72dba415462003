/* SPDX-License-Identifier: Apache-2.0 */
/* The text forms of selectors in a list's query: "app=web,tier in (a, b),!canary" and "metadata.name=web". Pure. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/lib/error.h"

struct label_query;

/* -EINVAL with a sentence. An empty or NULL text selects everything. */
int label_query_parse(const char *text, struct label_query **ret_query, struct error *error);
/* Only metadata.name and metadata.namespace, by = == and !=. */
int field_query_parse(const char *text, struct label_query **ret_query, struct error *error);
void label_query_free(struct label_query *query);
void label_query_freep(struct label_query **query);

/* Against the metadata of an object; NULL matches everything. */
bool label_query_matches(const struct label_query *query, const json_t *object);

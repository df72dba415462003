/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/api/label_query.h"

#include <ctype.h>
#include <string.h>

#include "base/lib/cleanup.h"

#define TERMS_MAX 32
#define VALUES_MAX 64

enum term_kind { TERM_IN, TERM_NOT_IN, TERM_EXISTS, TERM_ABSENT };

struct term {
	enum term_kind kind;
	const char *key;
	const char *values[VALUES_MAX];
	size_t value_count;
};

struct label_query {
	char *memory;
	bool fields; /* keys are paths in the object, not labels */
	size_t count;
	struct term terms[TERMS_MAX];
};

void label_query_free(struct label_query *query)
{
	if (!query)
		return;
	free(query->memory);
	free(query);
}

void label_query_freep(struct label_query **query)
{
	label_query_free(*query);
}

static char *trim(char *text)
{
	char *end;

	text += strspn(text, " \t");
	end = text + strlen(text);
	while (end > text && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return text;
}

/* Cuts at the first comma that is not inside parentheses. */
static char *next_term(char **rest)
{
	char *start = *rest;
	int depth = 0;

	if (!start)
		return NULL;
	for (char *c = start; *c; c++) {
		depth += *c == '(' ? 1 : *c == ')' ? -1 : 0;
		if (*c == ',' && depth <= 0) {
			*c = '\0';
			*rest = c + 1;
			return trim(start);
		}
	}
	*rest = NULL;
	return trim(start);
}

static bool is_name(const char *text)
{
	if (!*text)
		return false;
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr("-_./", *text))
			return false;
	return true;
}

static int values_parse(struct term *term, char *list, struct error *error)
{
	char *end = strrchr(list, ')'), *value;

	if (!end || end[1])
		return error_set(error, EINVAL, "\"%.60s\" needs its values in parentheses", term->key);
	*end = '\0';
	while ((value = strsep(&list, ","))) {
		if (term->value_count == VALUES_MAX)
			return error_set(error, EINVAL, "more than %d values for \"%.60s\"", VALUES_MAX, term->key);
		term->values[term->value_count++] = trim(value);
	}
	return 0;
}

/* "KEY in (A, B)" and "KEY notin (A, B)" */
static int set_parse(struct term *term, char *text, struct error *error)
{
	char *list = strchr(text, '('), *word;

	*list++ = '\0';
	text = trim(text);
	word = text + strcspn(text, " \t");
	if (*word)
		*word++ = '\0';
	word = trim(word);
	term->key = text;
	if (strcmp(word, "in") == 0)
		term->kind = TERM_IN;
	else if (strcmp(word, "notin") == 0)
		term->kind = TERM_NOT_IN;
	else
		return error_set(error, EINVAL, "\"%.60s\" is not one of in, notin", word);
	return values_parse(term, list, error);
}

static void equality_parse(struct term *term, char *text, char *sign)
{
	bool negative = sign > text && sign[-1] == '!';

	term->kind = negative ? TERM_NOT_IN : TERM_IN;
	sign[negative ? -1 : 0] = '\0';
	sign += sign[1] == '=' ? 2 : 1;
	term->key = trim(text);
	term->values[0] = trim(sign);
	term->value_count = 1;
}

static int term_parse(struct term *term, char *text, struct error *error)
{
	char *sign = strchr(text, '=');
	int status = 0;

	if (strchr(text, '(')) {
		status = set_parse(term, text, error);
	} else if (sign) {
		equality_parse(term, text, sign);
	} else {
		term->kind = *text == '!' ? TERM_ABSENT : TERM_EXISTS;
		term->key = trim(text + (*text == '!'));
	}
	if (!status && !is_name(term->key))
		return error_set(error, EINVAL, "\"%.60s\" is not a label", term->key);
	for (size_t i = 0; i < term->value_count && !status; i++)
		if (*term->values[i] && !is_name(term->values[i]))
			return error_set(error, EINVAL, "\"%.60s\" is not a label's value", term->values[i]);
	return status;
}

static int query_parse(const char *text, bool fields, struct label_query **ret_query, struct error *error)
{
	_cleanup_(label_query_freep) struct label_query *query = calloc(1, sizeof(*query));
	char *rest, *item;

	if (!query || !(query->memory = strdup(text ? text : "")))
		abort();
	query->fields = fields;
	rest = *query->memory ? query->memory : NULL;
	while ((item = next_term(&rest))) {
		int status;

		if (query->count == TERMS_MAX)
			return error_set(error, EINVAL, "more than %d terms in a selector", TERMS_MAX);
		status = term_parse(&query->terms[query->count++], item, error);
		if (status < 0)
			return status;
	}
	*ret_query = steal(query);
	return 0;
}

int label_query_parse(const char *text, struct label_query **ret_query, struct error *error)
{
	int status = query_parse(text, false, ret_query, error);

	return status < 0 ? error_prefix(error, EINVAL, "label selector") : 0;
}

int field_query_parse(const char *text, struct label_query **ret_query, struct error *error)
{
	_cleanup_(label_query_freep) struct label_query *query = NULL;

	if (query_parse(text, true, &query, error) < 0)
		return error_prefix(error, EINVAL, "field selector");
	for (size_t i = 0; i < query->count; i++) {
		const char *key = query->terms[i].key;

		if (strcmp(key, "metadata.name") != 0 && strcmp(key, "metadata.namespace") != 0)
			return error_set(error, EINVAL, "field selector: \"%.60s\" is not one of metadata.name, "
					 "metadata.namespace", key);
	}
	*ret_query = steal(query);
	return 0;
}

static bool term_matches(const struct term *term, const char *value)
{
	bool among = false;

	for (size_t i = 0; i < term->value_count && value; i++)
		among |= strcmp(term->values[i], value) == 0;
	switch (term->kind) {
	case TERM_IN:
		return among;
	case TERM_NOT_IN:
		return !among;
	case TERM_EXISTS:
		return value != NULL;
	case TERM_ABSENT:
		return value == NULL;
	}
	return false;
}

bool label_query_matches(const struct label_query *query, const json_t *object)
{
	const json_t *metadata = json_object_get(object, "metadata"), *labels = json_object_get(metadata, "labels");

	for (size_t i = 0; query && i < query->count; i++) {
		const struct term *term = &query->terms[i];
		const json_t *value = query->fields ? json_object_get(metadata, term->key + strlen("metadata."))
						    : json_object_get(labels, term->key);

		if (!term_matches(term, json_string_value(value)))
			return false;
	}
	return true;
}

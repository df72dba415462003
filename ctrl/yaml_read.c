/* SPDX-License-Identifier: Apache-2.0 */
/* What readers do with a tree: typed values, and mappings by table. */
#include "ctrl/yaml.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const struct yaml_node *yaml_lookup(const struct yaml_node *mapping, const char *key)
{
	if (mapping->kind != YAML_MAPPING)
		return NULL;
	for (size_t i = 0; i < mapping->count; i++)
		if (!strcmp(mapping->keys[i]->text, key))
			return mapping->items[i];
	return NULL;
}

/* ---- Typed values ---- */

static bool text_is_bool(const char *text)
{
	return !strcasecmp(text, "true") || !strcasecmp(text, "false");
}

static bool text_is_number(const char *text)
{
	char *end;

	if (!isdigit((unsigned char)text[strspn(text, "+-.")]))
		return false;
	strtod(text, &end);
	return !*end;
}

const char *yaml_kind_words(const struct yaml_node *node)
{
	switch (node->kind) {
	case YAML_NULL:
		return "nothing";
	case YAML_SEQUENCE:
		return "a list";
	case YAML_MAPPING:
		return "a mapping";
	case YAML_SCALAR:
		break;
	}
	if (node->plain && text_is_bool(node->text))
		return "true or false";
	if (node->plain && text_is_number(node->text))
		return "a number";
	return "a text";
}

bool yaml_get_text(struct yaml_reader *reader, const struct yaml_node *node, const char *key, const char **ret_text)
{
	if (node->kind != YAML_SCALAR || !node->length) {
		yaml_problem_at(reader, node, "%s must be a text, not %s", key,
				node->kind == YAML_SCALAR ? "an empty one" : yaml_kind_words(node));
		return false;
	}
	if (node->plain && text_is_bool(node->text)) {
		yaml_problem_at(reader, node, "%s must be a text: put %.64s in quotes if it is meant as one", key,
				node->text);
		return false;
	}
	*ret_text = node->text;
	return true;
}

bool yaml_get_bool(struct yaml_reader *reader, const struct yaml_node *node, const char *key, bool *ret_value)
{
	if (node->kind != YAML_SCALAR || !node->plain || !text_is_bool(node->text)) {
		yaml_problem_at(reader, node, "%s must be true or false%s", key,
				node->kind == YAML_SCALAR && !node->plain ? " (without quotes)" : "");
		return false;
	}
	*ret_value = tolower((unsigned char)node->text[0]) == 't';
	return true;
}

/* Decimal, without leading zeros (which would be octal to some readers), and at most 18 digits. */
static bool integer_parse(const char *text, int64_t *ret_value)
{
	const char *digits = text + (*text == '-');
	size_t count = strspn(digits, "0123456789");

	if (!count || count > 18 || digits[count] || (digits[0] == '0' && count > 1))
		return false;
	*ret_value = strtoll(text, NULL, 10);
	return true;
}

bool yaml_get_integer(struct yaml_reader *reader, const struct yaml_node *node, const char *key, int64_t minimum,
		      int64_t maximum, int64_t *ret_value)
{
	int64_t value;

	if (node->kind != YAML_SCALAR || !node->plain || !integer_parse(node->text, &value) || value < minimum ||
	    value > maximum) {
		yaml_problem_at(reader, node, "%s must be a whole number from %lld to %lld%s", key, (long long)minimum,
				(long long)maximum, node->kind == YAML_SCALAR && !node->plain ? " (without quotes)" : "");
		return false;
	}
	*ret_value = value;
	return true;
}

/* One "1.5s" of a duration; moves `text` behind it. Thousandths are as fine as it gets. */
static bool duration_part_parse(const char **text, uint64_t *ret_ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
	size_t digits = strspn(*text, "0123456789"), fraction_digits = 0;
	uint64_t thousandths = 0;
	const char *at = *text;

	if (!digits || digits > 9)
		return false;
	for (; digits; digits--)
		thousandths = thousandths * 10 + (uint64_t)(*at++ - '0');
	if (*at == '.') {
		at++;
		fraction_digits = strspn(at, "0123456789");
		if (!fraction_digits || fraction_digits > 3)
			return false;
	}
	for (size_t i = 0; i < 3; i++)
		thousandths = thousandths * 10 + (i < fraction_digits ? (uint64_t)(*at++ - '0') : 0);
	digits = strcspn(at, "0123456789");
	for (size_t i = 0; i < array_length(units); i++) {
		if (digits == strlen(units[i].name) && !strncmp(at, units[i].name, digits)) {
			*text = at + digits;
			*ret_ms = thousandths * units[i].ms / 1000;
			return true;
		}
	}
	return false;
}

static bool duration_parse(const char *text, uint64_t *ret_ms)
{
	uint64_t total = 0, part;

	if (!*text || strlen(text) > 32)
		return false;
	if (!strcmp(text, "0")) {
		*ret_ms = 0;
		return true;
	}
	while (*text) {
		if (!duration_part_parse(&text, &part))
			return false;
		total += part;
	}
	*ret_ms = total;
	return true;
}

static const char *duration_format(uint32_t ms, char *buffer, size_t size)
{
	if (ms && ms % 3600000 == 0)
		snprintf(buffer, size, "%uh", ms / 3600000);
	else if (ms && ms % 60000 == 0)
		snprintf(buffer, size, "%um", ms / 60000);
	else if (ms % 1000 == 0)
		snprintf(buffer, size, "%us", ms / 1000);
	else
		snprintf(buffer, size, "%ums", ms);
	return buffer;
}

bool yaml_get_duration_ms(struct yaml_reader *reader, const struct yaml_node *node, const char *key, uint32_t minimum_ms,
			  uint32_t maximum_ms, uint32_t *ret_ms)
{
	char minimum[24], maximum[24];
	uint64_t ms;

	if (node->kind != YAML_SCALAR || !duration_parse(node->text, &ms) || ms < minimum_ms || ms > maximum_ms) {
		yaml_problem_at(reader, node, "%s must be a duration such as 500ms or 2s, from %s to %s", key,
				duration_format(minimum_ms, minimum, sizeof(minimum)),
				duration_format(maximum_ms, maximum, sizeof(maximum)));
		return false;
	}
	*ret_ms = (uint32_t)ms;
	return true;
}

static void names_join(char *buffer, size_t size, const char *const *names, size_t count)
{
	size_t used = 0;

	buffer[0] = '\0';
	for (size_t i = 0; i < count && used < size; i++)
		used += (size_t)snprintf(buffer + used, size - used, "%s%s",
					 i == 0 ? "" : i + 1 == count ? " or " : ", ", names[i]);
}

bool yaml_get_choice(struct yaml_reader *reader, const struct yaml_node *node, const char *key, const char *const *names,
		     size_t name_count, size_t *ret_index)
{
	char all[160];

	for (size_t i = 0; node->kind == YAML_SCALAR && i < name_count; i++) {
		if (!strcmp(node->text, names[i])) {
			*ret_index = i;
			return true;
		}
	}
	names_join(all, sizeof(all), names, name_count);
	yaml_problem_at(reader, node, "%s must be %s", key, all);
	return false;
}

bool yaml_is_sequence(struct yaml_reader *reader, const struct yaml_node *node, const char *key)
{
	if (node->kind == YAML_SEQUENCE)
		return true;
	yaml_problem_at(reader, node, "%s must be a list, not %s", key, yaml_kind_words(node));
	return false;
}

/* ---- Mappings by table ---- */

/* Letters to change, add or drop to get from one to the other; for short texts only. */
static unsigned int spelling_distance(const char *a, const char *b)
{
	unsigned int row[33], length_b = (unsigned int)strlen(b);

	if (strlen(a) > 32 || length_b > 32)
		return UINT32_MAX;
	for (unsigned int j = 0; j <= length_b; j++)
		row[j] = j;
	for (unsigned int i = 1; a[i - 1]; i++) {
		unsigned int diagonal = row[0];

		row[0] = i;
		for (unsigned int j = 1; j <= length_b; j++) {
			unsigned int best = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[length_b];
}

static void unknown_key_report(struct yaml_reader *reader, const struct yaml_node *key, const char *what,
			       const struct yaml_field *fields, size_t field_count)
{
	char known[160] = "";
	size_t used = 0;

	for (size_t i = 0; i < field_count; i++) {
		if (spelling_distance(key->text, fields[i].key) <= 2) {
			yaml_problem_at(reader, key, "unknown key \"%.48s\" in %s; is %s meant?", key->text, what,
					fields[i].key);
			return;
		}
	}
	for (size_t i = 0; i < field_count && used < sizeof(known); i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "", fields[i].key);
	yaml_problem_at(reader, key, "unknown key \"%.48s\" in %s; known are: %s", key->text, what, known);
}

static const struct yaml_field *field_lookup(const struct yaml_field *fields, size_t field_count, const char *key)
{
	for (size_t i = 0; i < field_count; i++)
		if (!strcmp(fields[i].key, key))
			return &fields[i];
	return NULL;
}

void yaml_read_mapping(struct yaml_reader *reader, const struct yaml_node *node, const char *what,
		       const struct yaml_field *fields, size_t field_count, void *target)
{
	if (node->kind != YAML_MAPPING) {
		yaml_problem_at(reader, node, "%s must be a mapping (key: value), not %s", what, yaml_kind_words(node));
		return;
	}
	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_field *field = field_lookup(fields, field_count, node->keys[i]->text);

		if (field)
			field->read(reader, node->items[i], field->key, target);
		else
			unknown_key_report(reader, node->keys[i], what, fields, field_count);
	}
	for (size_t i = 0; i < field_count; i++)
		if (fields[i].required && !yaml_lookup(node, fields[i].key))
			yaml_problem_at(reader, node, "%s needs a %s", what, fields[i].key);
}

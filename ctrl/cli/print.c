/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "ctrl/cli/cli.h"

int cli_fail(const char *format, ...)
{
	va_list arguments;

	fflush(stdout);
	fprintf(stderr, "selvage: ");
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return EXIT_FAILURE;
}

int cli_misuse(const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "selvage: ");
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, " (see `selvage --help`)\n");
	return EXIT_USAGE;
}

/* --- JSON -------------------------------------------------------------------------------------------------------------- */

const char *json_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

int64_t json_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

const json_t *json_path(const json_t *object, ...)
{
	va_list names;
	const char *name;

	va_start(names, object);
	while (object && (name = va_arg(names, const char *)))
		object = json_object_get(object, name);
	va_end(names);
	return object;
}

char *json_join(const json_t *list)
{
	char *text = NULL;
	size_t size, i;
	json_t *item;
	FILE *stream = open_memstream(&text, &size);

	if (!stream)
		abort();
	if (!json_array_size(list))
		fputs("<none>", stream);
	json_array_foreach(list, i, item)
		fprintf(stream, "%s%s", i ? "," : "", json_is_string(item) ? json_string_value(item) : "?");
	fclose(stream);
	return text;
}

void print_json(const json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(4) | OBJECT_JSON_REALS | JSON_ENCODE_ANY);
	putchar('\n');
}

/* --- YAML -------------------------------------------------------------------------------------------------------------- */

/* Whether YAML 1.1 or 1.2 would read the plain text as something else than this text. */
static bool text_needs_quotes(const char *text)
{
	static const char *const words[] = {"null", "~", "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf"};
	size_t length = strlen(text);

	if (!length || isspace((unsigned char)text[0]) || isspace((unsigned char)text[length - 1]))
		return true;
	if (strchr("-?:,[]{}#&*!|>'\"%@`+.~=<", text[0]) || isdigit((unsigned char)text[0]))
		return true;
	if (strstr(text, ": ") || strstr(text, " #") || text[length - 1] == ':')
		return true;
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return true;
	for (size_t i = 0; i < array_length(words); i++)
		if (strcasecmp(text, words[i]) == 0)
			return true;
	return false;
}

static void scalar_write(FILE *file, const json_t *json)
{
	if (json_is_string(json) && !text_needs_quotes(json_string_value(json)))
		fputs(json_string_value(json), file);
	else /* JSON's form of a scalar is YAML's too */
		json_dumpf(json, file, JSON_ENCODE_ANY | JSON_COMPACT | OBJECT_JSON_REALS);
}

static bool is_leaf(const json_t *json)
{
	return !((json_is_object(json) && json_object_size(json)) || (json_is_array(json) && json_array_size(json)));
}

/* `inline_first`: the first line continues one that is begun ("- "). */
static void node_write(FILE *file, const json_t *json, int indent, bool inline_first)
{
	const char *key;
	json_t *value;
	size_t i;

	if (is_leaf(json)) {
		scalar_write(file, json);
		fputc('\n', file);
	} else if (json_is_array(json)) {
		json_array_foreach(json, i, value) {
			fprintf(file, "%*s- ", inline_first && !i ? 0 : indent, "");
			node_write(file, value, indent + 2, true);
		}
	} else {
		json_object_foreach((json_t *)json, key, value) {
			json_t *name = json_string(key);

			fprintf(file, "%*s", inline_first ? 0 : indent, "");
			inline_first = false;
			scalar_write(file, name);
			json_decref(name);
			fputs(is_leaf(value) ? ": " : ":\n", file);
			node_write(file, value, json_is_array(value) ? indent : indent + 2, false);
		}
	}
}

char *yaml_format(const json_t *json)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	if (!file)
		abort();
	node_write(file, json, 0, false);
	fclose(file);
	return text;
}

void print_yaml(const json_t *json)
{
	_cleanup_(freep) char *text = yaml_format(json);

	fputs(text, stdout);
}

bool print_raw(const struct cli *cli, const json_t *json)
{
	if (cli->output == OUTPUT_JSON)
		print_json(json);
	else if (cli->output == OUTPUT_YAML)
		print_yaml(json);
	else
		return false;
	return true;
}

/* --- times ------------------------------------------------------------------------------------------------------------- */

const char *duration_format(int64_t seconds, char buffer[static DURATION_TEXT_SIZE])
{
	if (seconds < 0)
		snprintf(buffer, DURATION_TEXT_SIZE, "<unknown>");
	else if (seconds < 120)
		snprintf(buffer, DURATION_TEXT_SIZE, "%" PRId64 "s", seconds);
	else if (seconds < 7200)
		snprintf(buffer, DURATION_TEXT_SIZE, "%" PRId64 "m", seconds / 60);
	else if (seconds < 172800)
		snprintf(buffer, DURATION_TEXT_SIZE, "%" PRId64 "h", seconds / 3600);
	else
		snprintf(buffer, DURATION_TEXT_SIZE, "%" PRId64 "d", seconds / 86400);
	return buffer;
}

int64_t age_seconds(const char *rfc3339)
{
	struct tm utc = {0};
	int64_t age;

	if (!strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &utc))
		return -1;
	age = time(NULL) - timegm(&utc);
	return age < 0 ? 0 : age;
}

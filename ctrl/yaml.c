/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/yaml.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>

#include "base/lib/arena.h"
#include "base/lib/memory.h"
#include "base/lib/utf8.h"
#include "ctrl/yaml_tree.h"

const struct yaml_limits yaml_limits_default = {.bytes = 1024 * 1024, .nodes = 20000, .depth = 24};

/* ---- Problems ---- */

void yaml_problems_init(struct yaml_problems *problems, const char *name)
{
	*problems = (struct yaml_problems){.name = name};
}

/* What came from the file may hold anything; it goes to terminals and logs as one line. */
static void text_make_printable(char *text)
{
	for (; *text; text++)
		if (iscntrl((unsigned char)*text))
			*text = '?';
}

static void problem_add_list(struct yaml_problems *problems, unsigned int line, unsigned int column, const char *format,
			     va_list arguments)
{
	struct yaml_problem *problem;

	problems->total++;
	if (problems->count == YAML_PROBLEMS_MAX)
		return;
	problem = &problems->items[problems->count++];
	problem->line = line;
	problem->column = column;
	vsnprintf(problem->text, sizeof(problem->text), format, arguments);
	text_make_printable(problem->text);
}

void yaml_problem_add(struct yaml_problems *problems, unsigned int line, unsigned int column, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	problem_add_list(problems, line, column, format, arguments);
	va_end(arguments);
}

void yaml_problem_at(struct yaml_reader *reader, const struct yaml_node *node, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	problem_add_list(reader->problems, node->line, node->column, format, arguments);
	va_end(arguments);
}

const char *yaml_problem_format(const struct yaml_problems *problems, size_t index, char *buffer, size_t size)
{
	const struct yaml_problem *problem = &problems->items[index];

	if (problem->line)
		snprintf(buffer, size, "%s:%u:%u: %s", problems->name, problem->line, problem->column, problem->text);
	else
		snprintf(buffer, size, "%s: %s", problems->name, problem->text);
	return buffer;
}

char *yaml_problems_text(const struct yaml_problems *problems)
{
	char *text = NULL, line[1024];
	size_t size;
	FILE *out = memory_or_end(open_memstream(&text, &size));

	for (size_t i = 0; i < problems->count; i++)
		fprintf(out, "%s\n", yaml_problem_format(problems, i, line, sizeof(line)));
	if (problems->total > problems->count)
		fprintf(out, "%s: and %zu more\n", problems->name, problems->total - problems->count);
	fclose(out);
	return memory_or_end(text);
}

/* ---- Texts ---- */

static bool control_character(unsigned char byte)
{
	return (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7f;
}

/* YAML 1.2 section 5.1: printable characters only. The parser takes some of the others for the end. */
static int characters_check(const char *text, size_t length, struct yaml_problems *problems)
{
	unsigned int line = 1, column = 1;

	for (size_t at = 0, step; at < length; at += step, column++) {
		unsigned char byte = (unsigned char)text[at];

		step = utf8_length(text + at, length - at);
		if (!step || control_character(byte)) {
			yaml_problem_add(problems, line, column, step ? "the control character 0x%02x is not allowed" :
							 "the byte 0x%02x is not UTF-8", byte);
			return -EINVAL;
		}
		if (byte == '\n') {
			line++;
			column = 0;
		}
	}
	return 0;
}

static bool blank_or_end(const char *text, size_t length, size_t at)
{
	return at >= length || strchr(" \t\r\n", text[at]);
}

/* A "?" that may begin a key written at length. */
static bool has_explicit_key(const char *text, size_t length)
{
	for (size_t at = 0; at < length; at++)
		if (text[at] == '?' && blank_or_end(text, length, at + 1) && (at == 0 || strchr(" \t\r\n{[,", text[at - 1])))
			return true;
	return false;
}

/*
 * libfyaml 0.7.12 frees memory twice when tabs separate certain tokens under a key written at length ("? key"). Nobody needs
 * both: a text that has them is refused before it gets there. Tabs elsewhere, as in the scripts of literal blocks, are no
 * concern.
 */
static int tabs_check(const char *text, size_t length, struct yaml_problems *problems)
{
	const char *tab = memchr(text, '\t', length);
	unsigned int line = 1, column = 1;

	if (!tab || !has_explicit_key(text, length))
		return 0;
	for (const char *at = text; at < tab; at++, column++) {
		if (*at == '\n') {
			line++;
			column = 0;
		}
	}
	yaml_problem_add(problems, line, column, "a tab is not allowed in a file with \"? \" keys; use spaces");
	return -EINVAL;
}

int yaml_parse(const char *text, size_t length, const struct yaml_limits *limits, struct yaml_problems *problems,
	       struct yaml_stream *ret_stream)
{
	if (length > limits->bytes) {
		yaml_problem_add(problems, 0, 0, "too large: more than %zu bytes", limits->bytes);
		return -EINVAL;
	}
	if (characters_check(text, length, problems) < 0 || tabs_check(text, length, problems) < 0)
		return -EINVAL;
	if (length)
		return yaml_tree_build(text, length, limits, problems, ret_stream);
	*ret_stream = (struct yaml_stream){};
	return 0;
}

void yaml_stream_done(struct yaml_stream *stream)
{
	struct arena arena = {stream->arena};

	arena_done(&arena);
	*stream = (struct yaml_stream){};
}

/* ---- Files ---- */

static int file_read(int fd, size_t limit_bytes, char **ret_text, size_t *ret_length)
{
	size_t size = 0, length = 0;
	char *text = NULL;

	for (;;) {
		ssize_t got;

		if (size - length < 2) {
			size = size ? 2 * size : 8192;
			text = memory_or_end(realloc(text, size));
		}
		got = read(fd, text + length, size - length - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			int code = got < 0 ? errno : 0;

			if (code) {
				free(text);
				return -code;
			}
			text[length] = '\0';
			*ret_text = text;
			*ret_length = length;
			return 0;
		}
		length += (size_t)got;
		if (length > limit_bytes) {
			free(text);
			return -EFBIG;
		}
	}
}

int yaml_file_read(const char *path, size_t limit_bytes, struct yaml_problems *problems, char **ret_text,
		   size_t *ret_length)
{
	/* Opening /dev/stdin again would ask for rights that whoever handed it over need not have given. */
	_cleanup_(closep) int fd = strcmp(path, "/dev/stdin") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) :
								     open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int status = fd < 0 ? -errno : file_read(fd, limit_bytes, ret_text, ret_length);

	if (status == -EFBIG)
		yaml_problem_add(problems, 0, 0, "too large: more than %zu bytes", limit_bytes);
	else if (status < 0)
		yaml_problem_add(problems, 0, 0, "cannot be read: %s", strerror(-status));
	return status;
}

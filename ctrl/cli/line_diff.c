/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/cli/line_diff.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/lib/cleanup.h"

#define CONTEXT 3
/* Above this the middle is shown as replaced: a table of so many lengths has 64 MB. */
#define CELLS_MAX ((size_t)16 << 20)

struct lines {
	const char **items; /* each up to its newline */
	size_t count;
};

struct edit {
	char sign; /* ' ', '-' or '+' */
	const char *line;
};

struct edits {
	struct edit *items;
	size_t count;
};

static size_t line_length(const char *line)
{
	return strcspn(line, "\n");
}

static bool line_equal(const char *a, const char *b)
{
	size_t length = line_length(a);

	return length == line_length(b) && memcmp(a, b, length) == 0;
}

static struct lines lines_split(const char *text)
{
	struct lines lines = {0};

	while (*text) {
		lines.items = reallocarray(lines.items, lines.count + 1, sizeof(*lines.items));
		if (!lines.items)
			abort();
		lines.items[lines.count++] = text;
		text += line_length(text);
		text += *text == '\n';
	}
	return lines;
}

static void edit_add(struct edits *edits, char sign, const char *line)
{
	edits->items[edits->count++] = (struct edit){sign, line};
}

/* The longest common subsequence of what lies between the common beginning and end. */
static void middle_add(struct edits *edits, const char **a, size_t m, const char **b, size_t n)
{
	size_t width = n + 1, i = 0, j = 0;
	_cleanup_(freep) uint32_t *length = NULL;

	if ((m + 1) <= CELLS_MAX / width)
		length = calloc((m + 1) * width, sizeof(*length));
	for (i = m; length && i-- > 0;) {
		for (j = n; j-- > 0;) {
			uint32_t down = length[(i + 1) * width + j], right = length[i * width + j + 1];

			length[i * width + j] = line_equal(a[i], b[j]) ? length[(i + 1) * width + j + 1] + 1
						: down > right	       ? down
								       : right;
		}
	}
	for (i = j = 0; i < m || j < n;) {
		bool same = length && i < m && j < n && line_equal(a[i], b[j]);

		if (same) {
			edit_add(edits, ' ', a[i++]);
			j++;
		} else if (i < m && (j == n || !length || length[(i + 1) * width + j] >= length[i * width + j + 1])) {
			edit_add(edits, '-', a[i++]);
		} else {
			edit_add(edits, '+', b[j++]);
		}
	}
}

static struct edits edits_make(const struct lines *a, const struct lines *b)
{
	struct edits edits = {.items = calloc(a->count + b->count + 1, sizeof(struct edit))};
	size_t begin = 0, end = 0;

	if (!edits.items)
		abort();
	while (begin < a->count && begin < b->count && line_equal(a->items[begin], b->items[begin]))
		edit_add(&edits, ' ', a->items[begin++]);
	while (end < a->count - begin && end < b->count - begin &&
	       line_equal(a->items[a->count - 1 - end], b->items[b->count - 1 - end]))
		end++;
	middle_add(&edits, a->items + begin, a->count - begin - end, b->items + begin, b->count - begin - end);
	for (size_t i = a->count - end; i < a->count; i++)
		edit_add(&edits, ' ', a->items[i]);
	return edits;
}

/* A hunk's range: where it begins and how many lines, as the format wants it for empty ones. */
static void range_print(FILE *file, char sign, size_t before, size_t count)
{
	fprintf(file, " %c%zu", sign, count ? before + 1 : before);
	if (count != 1)
		fprintf(file, ",%zu", count);
}

static void hunk_print(FILE *file, const struct edits *edits, size_t from, size_t to, size_t old_before, size_t new_before)
{
	size_t old_count = 0, new_count = 0;

	for (size_t i = from; i < to; i++) {
		old_count += edits->items[i].sign != '+';
		new_count += edits->items[i].sign != '-';
	}
	fputs("@@", file);
	range_print(file, '-', old_before, old_count);
	range_print(file, '+', new_before, new_count);
	fputs(" @@\n", file);
	for (size_t i = from; i < to; i++)
		fprintf(file, "%c%.*s\n", edits->items[i].sign, (int)line_length(edits->items[i].line), edits->items[i].line);
}

/* One past the last edit of the hunk that begins with the change at `at`. */
static size_t hunk_end(const struct edits *edits, size_t at)
{
	size_t last = at;

	for (size_t i = at; i < edits->count && i <= last + 2 * CONTEXT + 1; i++)
		if (edits->items[i].sign != ' ')
			last = i;
	return last + 1 + CONTEXT < edits->count ? last + 1 + CONTEXT : edits->count;
}

bool line_diff_print(FILE *file, const char *old_name, const char *old_text, const char *new_name, const char *new_text)
{
	struct lines a = lines_split(old_text), b = lines_split(new_text);
	struct edits edits = edits_make(&a, &b);
	size_t old_line = 0, new_line = 0, done = 0;
	bool differs = false;

	for (size_t i = 0; i < edits.count; i++) {
		size_t from, to;

		if (edits.items[i].sign == ' ')
			continue;
		if (!differs)
			fprintf(file, "--- %s\n+++ %s\n", old_name, new_name);
		differs = true;
		from = i > done + CONTEXT ? i - CONTEXT : done;
		to = hunk_end(&edits, i);
		for (; done < from; done++) {
			old_line++;
			new_line++;
		}
		hunk_print(file, &edits, from, to, old_line, new_line);
		for (; done < to; done++) {
			old_line += edits.items[done].sign != '+';
			new_line += edits.items[done].sign != '-';
		}
		i = to - 1;
	}
	free(edits.items);
	free(a.items);
	free(b.items);
	return differs;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* drops */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctrl/cli/cli.h"
#include "ctrl/cli/rates.h"
#include "ctrl/cli/screen.h"
#include "ctrl/cli/table.h"

#define WATCH_INTERVAL_MS 2000

/* --- the last look ----------------------------------------------------------------------------------------------------- */

/* Where a user's last look at this daemon is kept; NULL: nowhere. To be freed by the caller. */
static char *look_path(const struct cli *cli)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	_cleanup_(freep) char *directory = NULL, *parent = NULL, *name = cli_escape(cli->socket);
	char *path = NULL;

	if (cache && *cache == '/')
		parent = strdup(cache);
	else if (!home || *home != '/' || asprintf(&parent, "%s/.cache", home) < 0)
		return NULL;
	if (asprintf(&directory, "%s/selvage", parent) < 0)
		abort();
	mkdir(parent, 0700);
	mkdir(directory, 0700);
	if (strlen(name) > 200 || asprintf(&path, "%s/drops-%s.json", directory, name) < 0)
		return NULL;
	return path;
}

/* The counters at the last look; a start of the machine since then makes them another machine's. NULL: none. */
static json_t *look_load(const char *path, const char *boot)
{
	json_t *look = path ? json_load_file(path, 0, NULL) : NULL;

	if (look && strcmp(json_text(look, "boot"), boot) == 0 && json_is_object(json_object_get(look, "counters")))
		return look;
	json_decref(look);
	return NULL;
}

/* Not being able to remember is no failure: the next look has nothing to compare with. */
static void look_store(const char *path, const char *boot, json_t *counters)
{
	_cleanup_(freep) char *fresh = NULL;
	json_t *look = json_pack("{s:s, s:O}", "boot", boot, "counters", counters);

	if (path && asprintf(&fresh, "%s.%d", path, (int)getpid()) > 0 &&
	    (json_dump_file(look, fresh, JSON_COMPACT) < 0 || rename(fresh, path) < 0))
		unlink(fresh);
	json_decref(look);
}

static const char *boot_id(char buffer[static 64])
{
	_cleanup_(fclosep) FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!file || !fgets(buffer, 64, file))
		strcpy(buffer, "unknown");
	buffer[strcspn(buffer, "\n")] = '\0';
	return buffer;
}

/* --- what is shown ----------------------------------------------------------------------------------------------------- */

/* All reasons, or those that ever happened, with what is new of them. A new reference. */
static json_t *rows_make(const json_t *counters, const json_t *rates, bool all)
{
	json_t *items = json_array(), *row, *grown;
	json_t *answer = json_pack("{s:o}", "items", items);
	size_t i, k;

	json_array_foreach(json_object_get(counters, "drops"), i, row) {
		json_t *item = json_copy(row);

		if (rates)
			json_object_update_new(item, json_pack("{s:i, s:f}", "new", 0, "perSecond", 0.0));
		json_array_foreach(json_object_get(rates, "drops"), k, grown)
			if (strcmp(json_text(grown, "reason"), json_text(row, "reason")) == 0)
				json_object_update(item, grown);
		if (all || json_number(row, "count"))
			json_array_append(items, item);
		json_decref(item);
	}
	if (rates)
		json_object_set(answer, "sinceSeconds", json_object_get(rates, "seconds"));
	return answer;
}

static void table_fill(struct table *table, const json_t *row, bool compared)
{
	char rate[RATE_TEXT_SIZE];

	table_row_begin(table);
	table_cell(table, "%" PRId64, json_number(row, "count"));
	if (compared && json_number(row, "new"))
		table_cell(table, "%" PRId64 " (%s/s)", json_number(row, "new"),
			   rate_format(json_real_value(json_object_get(row, "perSecond")), rate));
	else if (compared)
		table_cell(table, "-");
	table_cell(table, "%s", json_text(row, "reason"));
	table_cell(table, "%s", json_text(row, "sentence"));
}

static void drops_print(FILE *file, const json_t *rows)
{
	const json_t *items = json_object_get(rows, "items"), *since = json_object_get(rows, "sinceSeconds");
	struct table *table = since ? table_new("DROPPED", "NEW", "REASON", "WHAT IT MEANS", NULL) :
				      table_new("DROPPED", "REASON", "WHAT IT MEANS", NULL);
	char duration[DURATION_TEXT_SIZE];
	bool any = false;
	json_t *row;
	size_t i;

	if (!json_array_size(items))
		fputs("No packet was dropped.\n", file);
	json_array_foreach(items, i, row)
		table_fill(table, row, since != NULL);
	table_print(table, file, "");
	json_array_foreach(items, i, row) {
		if (!json_number(row, since ? "new" : "count"))
			continue;
		fprintf(file, "%s%s: %s\n", any ? "" : "\nWhat to do:\n", json_text(row, "reason"), json_text(row, "advice"));
		any = true;
	}
	if (since)
		fprintf(file, "\nNEW is since the last look, %s ago.\n",
			duration_format((int64_t)(json_real_value(since) + 0.5), duration));
}

static void rows_show(const struct cli *cli, struct screen *screen, const json_t *rows)
{
	_cleanup_(freep) char *text = NULL;
	size_t size;
	FILE *file;

	if (cli->watch && cli->output == OUTPUT_JSON) {
		text = json_dumps(rows, JSON_COMPACT);
		puts(text);
		fflush(stdout);
		return;
	}
	if (print_raw(cli, rows))
		return;
	file = open_memstream(&text, &size);
	if (!file)
		abort();
	drops_print(file, rows);
	if (cli->watch && !screen->in_place)
		fputc('\n', file);
	fclose(file);
	screen_show(screen, text);
}

/* --- looking ----------------------------------------------------------------------------------------------------------- */

static int drops_look(const struct cli *cli, struct screen *screen, struct rates *rates, json_t **ret_counters)
{
	json_t *counters = cli_get(cli, "drops", "/selvage/v1/counters"), *grown, *rows;

	if (!counters)
		return EXIT_FAILURE;
	grown = rates_look(rates, counters);
	rows = rows_make(counters, grown, cli->all);
	rows_show(cli, screen, rows);
	json_decref(rows);
	json_decref(grown);
	*ret_counters = counters;
	return EXIT_SUCCESS;
}

int verb_drops(const struct cli *cli, int argument_count, char **arguments)
{
	_cleanup_(rates_freep) struct rates *rates = rates_new();
	uint64_t interval_ms = cli->interval_ms ? cli->interval_ms : WATCH_INTERVAL_MS, shown = 0;
	_cleanup_(freep) char *path = look_path(cli);
	json_t *before, *counters;
	struct screen screen;
	char boot[64];
	int status;

	if (argument_count)
		return cli_misuse("drops: \"%s\" is not expected", arguments[0]);
	if (!cli->watch && (cli->times || cli->interval_ms))
		return cli_misuse("drops: -n and --interval go with --watch");
	before = look_load(path, boot_id(boot));
	if (before)
		json_decref(rates_look(rates, json_object_get(before, "counters")));
	json_decref(before);
	screen_init(&screen, !cli->watch || cli->times != 0 || cli->output == OUTPUT_JSON);
	do {
		status = drops_look(cli, &screen, rates, &counters);
		if (status != EXIT_SUCCESS)
			return status;
		look_store(path, boot, counters);
		json_decref(counters);
		shown++;
	} while (cli->watch && (!cli->times || shown < cli->times) && !ferror(stdout) && screen_wait(interval_ms));
	return status;
}

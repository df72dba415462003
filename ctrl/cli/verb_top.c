/* SPDX-License-Identifier: Apache-2.0 */
/* top */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "ctrl/cli/cli.h"
#include "ctrl/cli/rates.h"
#include "ctrl/cli/screen.h"
#include "ctrl/cli/table.h"

#define INTERVAL_MS 1000

static void rates_cells(struct table *table, const json_t *row)
{
	static const char *const keys[] = {"packetsPerSecond", "bitsPerSecond", "answersPerSecond", "answerBitsPerSecond",
					   "newFlowsPerSecond"};
	char text[RATE_TEXT_SIZE];

	for (size_t i = 0; i < array_length(keys); i++)
		table_cell(table, "%s", rate_format(json_real_value(json_object_get(row, keys[i])), text));
}

static void services_print(FILE *file, const json_t *services)
{
	struct table *table = table_new("SERVICE, BACKEND", "PACKETS/S", "BITS/S", "ANSWERS/S", "BITS/S", "NEW FLOWS/S", NULL);
	json_t *service, *backend;
	size_t i, k;

	json_array_foreach(services, i, service) {
		table_row_begin(table);
		table_cell(table, "%s", json_text(service, "service"));
		rates_cells(table, service);
		json_array_foreach(json_object_get(service, "backends"), k, backend) {
			table_row_begin(table);
			table_cell(table, "  %s at %s", json_text(backend, "backend"), json_text(backend, "vip"));
			rates_cells(table, backend);
		}
	}
	if (!json_array_size(services))
		fputs("No services.\n", file);
	table_print(table, file, "");
}

static void drops_print(FILE *file, const json_t *drops)
{
	struct table *table = table_new("DROPPED/S", "REASON", "WHAT IT MEANS", NULL);
	json_t *drop;
	size_t i;

	json_array_foreach(drops, i, drop) {
		char text[RATE_TEXT_SIZE];

		table_row_begin(table);
		table_cell(table, "%s", rate_format(json_real_value(json_object_get(drop, "perSecond")), text));
		table_cell(table, "%s", json_text(drop, "reason"));
		table_cell(table, "%s", json_text(drop, "sentence"));
	}
	if (json_array_size(drops))
		fputc('\n', file);
	table_print(table, file, "");
}

/* A picture of one interval. */
static void picture_print(FILE *file, const char *node, const json_t *rates)
{
	static const struct {
		const char *key, *unit;
	} totals[] = {{"packetsPerSecond", "packets/s"}, {"bitsPerSecond", "bit/s"}, {"newFlowsPerSecond", "new flows/s"},
		      {"passedPerSecond", "passed/s"}, {"droppedPerSecond", "dropped/s"}};
	time_t now = time(NULL);
	char clock[16], text[RATE_TEXT_SIZE];
	struct tm local;

	strftime(clock, sizeof(clock), "%H:%M:%S", localtime_r(&now, &local));
	fprintf(file, "%s  %s, the last %.1f s:", clock, node, json_real_value(json_object_get(rates, "seconds")));
	for (size_t i = 0; i < array_length(totals); i++)
		fprintf(file, "  %s %s", rate_format(json_real_value(json_object_get(rates, totals[i].key)), text), totals[i].unit);
	fputs("\n\n", file);
	services_print(file, json_object_get(rates, "services"));
	drops_print(file, json_object_get(rates, "drops"));
}

static void rates_show(const struct cli *cli, struct screen *screen, const json_t *counters, const json_t *rates)
{
	_cleanup_(freep) char *text = NULL;
	size_t size;
	FILE *file;

	if (cli->output == OUTPUT_JSON) {
		text = json_dumps(rates, JSON_COMPACT | JSON_REAL_PRECISION(9));
		puts(text);
		fflush(stdout);
		return;
	}
	file = open_memstream(&text, &size);
	if (!file)
		abort();
	picture_print(file, json_text(counters, "node"), rates);
	if (!screen->in_place)
		fputc('\n', file);
	fclose(file);
	screen_show(screen, text);
}

/* One look; 1 when it made a picture, 0 when it did not, -errno when the daemon does not answer. */
static int look(const struct cli *cli, struct screen *screen, struct rates *rates, struct error *error)
{
	json_t *counters = NULL, *answer;
	int status = cli_try(cli, "/selvage/v1/counters", &counters, error);

	if (status < 0)
		return status;
	answer = rates_look(rates, counters);
	if (answer)
		rates_show(cli, screen, counters, answer);
	json_decref(counters);
	status = answer != NULL;
	json_decref(answer);
	return status;
}

int verb_top(const struct cli *cli, int argument_count, char **arguments)
{
	_cleanup_(rates_freep) struct rates *rates = rates_new();
	uint64_t interval_ms = cli->interval_ms ? cli->interval_ms : INTERVAL_MS, shown = 0;
	bool answered = false, away = false;
	struct error error = {0};
	struct screen screen;

	if (argument_count)
		return cli_misuse("top: \"%s\" is not expected", arguments[0]);
	screen_init(&screen, cli->times != 0 || cli->output == OUTPUT_JSON);
	do {
		int status = look(cli, &screen, rates, &error);

		if (status < 0 && !answered)
			return cli_fail("top: %s", error.text);
		/* a daemon that is being started anew: the counters are the packet program's, and go on */
		if (status < 0 && !away)
			cli_fail("top: %s; waiting for it", error.text);
		away = status < 0;
		answered = true;
		shown += status > 0;
	} while ((!cli->times || shown < cli->times) && !ferror(stdout) && screen_wait(interval_ms));
	return EXIT_SUCCESS;
}

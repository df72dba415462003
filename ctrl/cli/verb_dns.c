/* SPDX-License-Identifier: Apache-2.0 */
/* dns stats, dns lookup, dns dump, dns flush, dns explain, dns tap */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "ctrl/cli/cli.h"
#include "ctrl/cli/table.h"

/* NULL after a message. */
#define DUMP_MAX 1000 /* answers that are given at a time */

static json_t *dns_ask(const struct cli *cli, const char *operation, json_t *message)
{
	char what[32], path[64];
	json_t *answer;

	snprintf(what, sizeof(what), "dns %s", operation);
	snprintf(path, sizeof(path), "/selvage/v1/dns/%s", operation);
	answer = message ? cli_request(cli, what, "POST", path, message) : cli_get(cli, what, path);
	json_decref(message);
	return answer;
}

static void records_print(const json_t *records)
{
	json_t *record;
	size_t i;

	json_array_foreach(records, i, record) {
		printf("%s %" PRId64 " %s %s\n", json_text(record, "name"), json_number(record, "ttl"), json_text(record, "type"),
		       json_text(record, "data"));
	}
}

/* --- stats -------------------------------------------------------------------------------------------------------------- */

static void upstreams_print(const json_t *upstreams)
{
	struct table *table = table_new("ZONE", "SERVER", "STATE", "LATENCY", "QUERIES", "TIMEOUTS", "FAILURES", "HEDGES", "WON", NULL);
	json_t *zone, *server;
	size_t i, k;

	json_array_foreach(upstreams, i, zone) {
		json_array_foreach(json_object_get(zone, "servers"), k, server) {
			table_row_begin(table);
			table_cell(table, "%s", json_text(zone, "zone"));
			table_cell(table, "%s", json_text(server, "server"));
			table_cell(table, "%s", json_text(server, "state"));
			table_cell(table, "%.1f ms", (double)json_number(server, "latencyUs") / 1000);
			table_cell(table, "%" PRId64, json_number(server, "queries"));
			table_cell(table, "%" PRId64, json_number(server, "timeouts"));
			table_cell(table, "%" PRId64, json_number(server, "failures"));
			table_cell(table, "%" PRId64, json_number(server, "hedges"));
			table_cell(table, "%" PRId64, json_number(server, "hedgesWon"));
		}
	}
	table_print(table, stdout, "");
}

static void fast_path_print(const json_t *fast_path)
{
	if (json_is_true(json_object_get(fast_path, "connected")))
		printf("\nPackets' cache: %" PRId64 " entries, %" PRId64 " of %" PRId64 " blocks in use; %" PRId64 " gave way to others, %" PRId64
		       " came back\n",
		       json_number(fast_path, "entries"), json_number(fast_path, "blocksUsed"), json_number(fast_path, "blocks"),
		       json_number(fast_path, "evicted"), json_number(fast_path, "again"));
	else
		printf("\nPackets' cache: none; every query is answered by selvage-dns\n");
}

/* Results that are answers: the others of packets' cache left the query to selvage-dns, which counts it. */
static int64_t fast_path_answers(const json_t *results)
{
	return json_number(results, "answer") + json_number(results, "negative") + json_number(results, "no_name") +
	       json_number(results, "stale") + json_number(results, "truncated");
}

static void stats_print(const json_t *stats)
{
	struct table *table = table_new("ANSWERS FROM", "QUERIES", NULL);
	const char *key;
	json_t *value;

	table_row_begin(table);
	table_cell(table, "packets' cache");
	table_cell(table, "%" PRId64, fast_path_answers(json_object_get(json_object_get(stats, "fastPath"), "results")));
	json_object_foreach(json_object_get(stats, "results"), key, value) {
		table_row_begin(table);
		table_cell(table, "%s", key);
		table_cell(table, "%" PRId64, (int64_t)json_integer_value(value));
	}
	table_print(table, stdout, "");
	putchar('\n');
	upstreams_print(json_object_get(stats, "upstreams"));
	fast_path_print(json_object_get(stats, "fastPath"));
	printf("Kept: %" PRId64 " answers, %" PRId64 " KiB; renewed %" PRId64 "; own names: %" PRId64 " records; "
	       "queries saved by autopath: %" PRId64 "\n",
	       json_number(json_object_get(stats, "cache"), "answers"), json_number(json_object_get(stats, "cache"), "bytes") / 1024,
	       json_number(stats, "renewals"), json_number(stats, "ownRecords"), json_number(stats, "autopathSaved"));
}

int verb_dns_stats(const struct cli *cli, int argument_count, char **arguments)
{
	json_t *stats;

	if (argument_count)
		return cli_misuse("dns stats: \"%s\" is not expected", arguments[0]);
	stats = dns_ask(cli, "stats", NULL);
	if (!stats)
		return EXIT_FAILURE;
	if (!print_raw(cli, stats))
		stats_print(stats);
	json_decref(stats);
	return EXIT_SUCCESS;
}

/* --- lookup, dump, flush --------------------------------------------------------------------------------------------------- */

int verb_dns_lookup(const struct cli *cli, int argument_count, char **arguments)
{
	json_t *answer;

	if (argument_count < 1 || argument_count > 2)
		return cli_misuse("dns lookup: NAME and perhaps a TYPE are expected");
	answer = dns_ask(cli, "lookup", json_pack("{s:s, s:s*, s:s*}", "name", arguments[0], "type",
						  argument_count > 1 ? arguments[1] : NULL, "from", cli->from));
	if (!answer)
		return EXIT_FAILURE;
	if (!print_raw(cli, answer)) {
		printf("%s%s%s, %.1f ms\n", json_text(answer, "code"), json_is_true(json_object_get(answer, "authoritative")) ? ", of this node's own" : "",
		       json_is_true(json_object_get(answer, "secure")) ? ", validated" : "", (double)json_number(answer, "tookUs") / 1000);
		records_print(json_object_get(answer, "records"));
	}
	json_decref(answer);
	return EXIT_SUCCESS;
}

static void dump_print(const json_t *items)
{
	json_t *item;
	size_t i;

	json_array_foreach(items, i, item) {
		int64_t left_ms = json_number(item, "leftMs");

		printf("; %s %s: %s%s, %s%.1f s, asked for %" PRId64 " times\n", json_text(item, "name"), json_text(item, "type"),
		       json_text(item, "code"), json_is_true(json_object_get(item, "secure")) ? ", validated" : "",
		       left_ms < 0 ? "ended before " : "good for ", (double)(left_ms < 0 ? -left_ms : left_ms) / 1000, json_number(item, "hits"));
		records_print(json_object_get(item, "records"));
	}
}

/* The next part of all answers into `items`; the number of the one after it, 0: none, below 0: it failed. */
static int64_t dump_part(const struct cli *cli, const char *name, int64_t part, json_t *items)
{
	json_t *answer = dns_ask(cli, "dump", json_pack("{s:s*, s:I}", "name", name, "part", (json_int_t)part));
	int64_t next = answer ? json_number(answer, "next") : -1;

	if (answer)
		json_array_extend(items, json_object_get(answer, "items"));
	json_decref(answer);
	return next;
}

/* selvage-dns gives some at a time, for it answers nobody else meanwhile. Few are the ones that were asked for last. */
static json_t *dump_all(const struct cli *cli, const char *name)
{
	size_t wanted = cli->count ? cli->count : SIZE_MAX;
	json_t *items;
	int64_t part = 0;

	if (wanted <= DUMP_MAX)
		return dns_ask(cli, "dump", json_pack("{s:s*, s:I}", "name", name, "limit", (json_int_t)wanted));
	items = json_array();
	do
		part = dump_part(cli, name, part, items);
	while (part > 0 && json_array_size(items) < wanted);
	if (part < 0) {
		json_decref(items);
		return NULL;
	}
	while (json_array_size(items) > wanted)
		json_array_remove(items, json_array_size(items) - 1);
	return json_pack("{s:o}", "items", items);
}

int verb_dns_dump(const struct cli *cli, int argument_count, char **arguments)
{
	json_t *answer;

	if (argument_count > 1)
		return cli_misuse("dns dump: \"%s\" is not expected", arguments[1]);
	answer = dump_all(cli, argument_count ? arguments[0] : NULL);
	if (!answer)
		return EXIT_FAILURE;
	if (!print_raw(cli, answer))
		dump_print(json_object_get(answer, "items"));
	json_decref(answer);
	return EXIT_SUCCESS;
}

int verb_dns_flush(const struct cli *cli, int argument_count, char **arguments)
{
	json_t *answer;

	if (argument_count != 1)
		return cli_misuse("dns flush: NAME is expected; \".\" is everything");
	answer = dns_ask(cli, "flush", json_pack("{s:s}", "name", arguments[0]));
	if (!answer)
		return EXIT_FAILURE;
	if (!print_raw(cli, answer))
		printf("%" PRId64 " answers forgotten\n", json_number(answer, "removed"));
	json_decref(answer);
	return EXIT_SUCCESS;
}

/* --- explain, tap ------------------------------------------------------------------------------------------------------------- */

/* Where the client's place is known from. */
static void place_print(const json_t *client, const json_t *database)
{
	time_t built = (time_t)json_number(database, "built");
	char date[32];
	struct tm tm;

	strftime(date, sizeof(date), "%Y-%m-%d", gmtime_r(&built, &tm));
	if (json_number(client, "network"))
		printf("told by %s (%s of %s) of the network of %" PRId64 " bits that it is in\n", json_text(database, "file"),
		       json_text(database, "type"), date, json_number(client, "network"));
	else
		printf("%s (%s of %s) does not know it\n", json_text(database, "file"), json_text(database, "type"), date);
}

static void explain_print(const json_t *answer)
{
	const json_t *client = json_object_get(answer, "client"), *database = json_object_get(client, "database");
	json_t *family, *step;
	size_t i, k;

	printf("%s by SteeringPolicy %s, for a client at %s (continent %s, country %s)\n", json_text(answer, "host"),
	       json_text(answer, "policy"), json_text(client, "address"), *json_text(client, "continent") ? json_text(client, "continent") : "not known",
	       *json_text(client, "country") ? json_text(client, "country") : "not known");
	if (database)
		place_print(client, database);
	json_array_foreach(json_object_get(answer, "answers"), i, family) {
		_cleanup_(freep) char *addresses = json_join(json_object_get(family, "addresses"));

		printf("\n%s: site %s, %s\n", json_text(family, "type"), *json_text(family, "site") ? json_text(family, "site") : "none", addresses);
		json_array_foreach(json_object_get(family, "steps"), k, step) {
			printf("  %s\n", json_string_value(step));
		}
	}
}

int verb_dns_explain(const struct cli *cli, int argument_count, char **arguments)
{
	json_t *answer;

	if (argument_count != 1 || !cli->from)
		return cli_misuse("dns explain: NAME and --from ADDRESS are expected");
	answer = dns_ask(cli, "explain", json_pack("{s:s, s:s}", "name", arguments[0], "from", cli->from));
	if (!answer)
		return EXIT_FAILURE;
	if (!print_raw(cli, answer))
		explain_print(answer);
	json_decref(answer);
	return EXIT_SUCCESS;
}

int verb_dns_tap(const struct cli *cli, int argument_count, char **arguments)
{
	json_t *answer;

	if (argument_count != 1)
		return cli_misuse("dns tap: PATH, or off, is expected");
	answer = dns_ask(cli, "tap", strcmp(arguments[0], "off") == 0 ? json_object() : json_pack("{s:s}", "path", arguments[0]));
	if (!answer)
		return EXIT_FAILURE;
	if (!print_raw(cli, answer))
		printf(*json_text(answer, "path") ? "queries are logged to %s\n" : "queries are not logged%s\n", json_text(answer, "path"));
	json_decref(answer);
	return EXIT_SUCCESS;
}

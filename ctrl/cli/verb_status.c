/* SPDX-License-Identifier: Apache-2.0 */
/* status, metrics, version */
#include <inttypes.h>
#include <string.h>

#include "ctrl/cli/cli.h"
#include "ctrl/cli/client.h"
#include "ctrl/cli/table.h"

static int no_arguments(const char *verb, int argument_count, char **arguments)
{
	return argument_count ? cli_misuse("%s: \"%s\" is not expected", verb, arguments[0]) : 0;
}

/* --- status ------------------------------------------------------------------------------------------------------------ */

static void interfaces_print(const json_t *interfaces)
{
	struct table *table = table_new("INTERFACE", "ENGINE", "LINK", "MAC", "ADDRESSES", "NOTE", NULL);
	json_t *row;
	size_t i;

	json_array_foreach(interfaces, i, row) {
		_cleanup_(freep) char *addresses = json_join(json_object_get(row, "addresses"));

		table_row(table, json_text(row, "name"), json_text(row, "engine"),
			  json_is_true(json_object_get(row, "up")) ? "up" : "down", json_text(row, "mac"), addresses,
			  json_text(row, "message"), NULL);
	}
	table_print(table, stdout, "");
}

static void vips_print(const json_t *vips, const char *node)
{
	struct table *table = table_new("VIRTUAL IP", "OWNER", "INTERFACES", "SERVICES", "NOTE", NULL);
	json_t *row;
	size_t i;

	json_array_foreach(vips, i, row) {
		_cleanup_(freep) char *interfaces = json_join(json_object_get(row, "interfaces"));
		_cleanup_(freep) char *services = json_join(json_object_get(row, "services"));
		const char *owner = json_text(row, "owner");
		char text[300];

		snprintf(text, sizeof(text), "%s%s", *owner ? owner : "<none>", *owner && strcmp(owner, node) == 0 ? " (here)" : "");
		table_row(table, json_text(row, "address"), text, interfaces, services, json_text(row, "message"), NULL);
	}
	table_print(table, stdout, "");
}

static void services_print(const json_t *services)
{
	struct table *table = table_new("SERVICE", "ADDRESSES", "HEALTHY", "FLOWS", "NOTE", NULL);
	json_t *row;
	size_t i;

	json_array_foreach(services, i, row) {
		const json_t *backends = json_object_get(row, "backends");
		_cleanup_(freep) char *addresses = json_join(json_object_get(row, "addresses"));

		table_row_begin(table);
		table_cell(table, "%s/%s", json_text(row, "namespace"), json_text(row, "name"));
		table_cell(table, "%s", addresses);
		table_cell(table, "%" PRId64 "/%" PRId64, json_number(backends, "healthy"), json_number(backends, "total"));
		flows_cell(table, row);
		table_cell(table, "%s", json_text(row, "message"));
	}
	table_print(table, stdout, "");
}

/* Those above 0. */
static void drops_print(const json_t *drops)
{
	struct table *table = table_new("DROPPED", "REASON", "WHAT IT MEANS", NULL);
	json_t *row;
	size_t i;

	json_array_foreach(drops, i, row) {
		table_row_begin(table);
		table_cell(table, "%" PRId64, json_number(row, "count"));
		table_cell(table, "%s", json_text(row, "reason"));
		table_cell(table, "%s", json_text(row, "sentence"));
	}
	table_print(table, stdout, "");
	if (!json_array_size(drops))
		puts("No packet was dropped.");
}

static void alarms_print(const json_t *alarms)
{
	json_t *row;
	size_t i;

	json_array_foreach(alarms, i, row)
		printf("%s: %s\n", json_text(row, "severity"), json_text(row, "text"));
	if (json_array_size(alarms))
		putchar('\n');
}

/* Only where there are any. */
static void sessions_print(const json_t *sessions)
{
	if (json_number(sessions, "used") + json_number(sessions, "registered") == 0)
		return;
	printf("Sessions: %" PRId64 " live, %" PRId64 " silent one way, %" PRId64 " waiting; %" PRId64 " of %" PRId64 " places in use\n\n",
	       json_number(sessions, "live"), json_number(sessions, "oneWay"), json_number(sessions, "waiting"),
	       json_number(sessions, "used"), json_number(sessions, "limit"));
}

/* Packets' counts go on over a restart of selvage-dns, whose own begin anew: the one is no share of the other. */
static void dns_print(const json_t *dns)
{
	int64_t fast_path = json_number(dns, "fastPath"), all = fast_path + json_number(dns, "missed");

	if (!dns)
		return;
	printf("DNS: %" PRId64 " queries, %.1f %% answered by packets' cache; ", all, all ? 100.0 * (double)fast_path / (double)all : 0.0);
	if (json_is_true(json_object_get(dns, "connected")))
		printf("%" PRId64 " by selvage-dns since its start\n\n", json_number(dns, "process"));
	else
		printf("selvage-dns is NOT RUNNING\n\n");
}

static void status_print(const json_t *status)
{
	char uptime[DURATION_TEXT_SIZE];
	const json_t *vips = json_object_get(status, "vips"), *services = json_object_get(status, "services");

	printf("Node %s, selvage %s, up for %s, revision %" PRId64 "%s\n\n", json_text(status, "node"), json_text(status, "version"),
	       duration_format(json_number(status, "uptimeSeconds"), uptime), json_number(status, "revision"),
	       json_is_false(json_object_get(status, "ready")) ? ", NOT READY" : "");
	alarms_print(json_object_get(status, "alarms"));
	interfaces_print(json_object_get(status, "interfaces"));
	putchar('\n');
	vips_print(vips, json_text(status, "node"));
	puts(json_array_size(vips) ? "" : "No virtual IPs.");
	services_print(services);
	puts(json_array_size(services) ? "" : "No services.");
	sessions_print(json_object_get(status, "sessions"));
	dns_print(json_object_get(status, "dns"));
	drops_print(json_object_get(status, "drops"));
}

int verb_status(const struct cli *cli, int argument_count, char **arguments)
{
	json_t *status;

	if (no_arguments("status", argument_count, arguments))
		return EXIT_USAGE;
	status = cli_get(cli, "status", "/selvage/v1/status");
	if (!status)
		return EXIT_FAILURE;
	if (!print_raw(cli, status))
		status_print(status);
	json_decref(status);
	return EXIT_SUCCESS;
}

/* --- metrics, version -------------------------------------------------------------------------------------------------- */

int verb_metrics(const struct cli *cli, int argument_count, char **arguments)
{
	const struct client_request request = {.method = "GET", .path = "/selvage/v1/metrics"};
	_cleanup_(client_freep) struct client *client = NULL;
	_cleanup_(freep) char *text = NULL;
	struct error error = {0};
	size_t length;

	if (no_arguments("metrics", argument_count, arguments))
		return EXIT_USAGE;
	if (client_open(cli->socket, &request, &client, &error) < 0 || client_read_all(client, &text, &length, &error) < 0)
		return cli_fail("metrics: %s", error.text);
	if (client_status(client) != 200)
		return cli_fail("metrics: the daemon answered with status %d", client_status(client));
	fwrite(text, 1, length, stdout);
	return EXIT_SUCCESS;
}

int verb_version(const struct cli *cli, int argument_count, char **arguments)
{
	json_t *answer, *versions;
	const char *daemon;

	if (no_arguments("version", argument_count, arguments))
		return EXIT_USAGE;
	answer = cli_get(cli, "version", "/version");
	daemon = json_text(answer, "selvageVersion");
	versions = json_pack("{s:s, s:s?}", "client", SELVAGE_VERSION, "daemon", answer ? daemon : NULL);
	if (!print_raw(cli, versions)) {
		printf("selvage   %s\n", SELVAGE_VERSION);
		if (answer)
			printf("selvaged  %s\n", daemon);
	}
	json_decref(versions);
	json_decref(answer);
	return answer ? EXIT_SUCCESS : EXIT_FAILURE;
}

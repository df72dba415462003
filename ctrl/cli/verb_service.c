/* SPDX-License-Identifier: Apache-2.0 */
/* service list|backends, backend drain|undrain, vip list|move */
#include <inttypes.h>
#include <string.h>

#include "ctrl/cli/cli.h"
#include "ctrl/cli/table.h"

/* Prints the items in the formats that are the same for all views; false when a table is wanted. */
static bool items_print(const struct cli *cli, json_t *items, const char *kind, const char *name_key)
{
	json_t *list = json_pack("{s:O}", "items", items), *item;
	bool printed = print_raw(cli, list);
	size_t i;

	json_decref(list);
	if (cli->output != OUTPUT_NAME)
		return printed;
	json_array_foreach(items, i, item)
		printf("%s/%s\n", kind, json_text(item, name_key));
	return true;
}

/* --- service ----------------------------------------------------------------------------------------------------------- */

/* "80/TCP,5000-5100/UDP" */
static char *ports_text(const json_t *ports)
{
	json_t *texts = json_array(), *port;
	char *joined;
	size_t i;

	json_array_foreach(ports, i, port) {
		int first = (int)json_number(port, "port"), last = (int)json_number(port, "portLast");

		if (last > first)
			json_array_append_new(texts, json_sprintf("%d-%d/%s", first, last, json_text(port, "protocol")));
		else
			json_array_append_new(texts, json_sprintf("%d/%s", first, json_text(port, "protocol")));
	}
	joined = json_join(texts);
	json_decref(texts);
	return joined;
}

static void services_print(const struct cli *cli, const json_t *items)
{
	struct table *table = table_new("NAMESPACE", "NAME", "ADDRESSES", "PORT(S)", "FORWARDING", "HEALTHY", "DRAINING", "FLOWS",
					cli->output == OUTPUT_WIDE ? "PACKETS" : "NOTE", NULL);
	json_t *row;
	size_t i;

	json_array_foreach(items, i, row) {
		_cleanup_(freep) char *addresses = json_join(json_object_get(row, "addresses"));
		_cleanup_(freep) char *ports = ports_text(json_object_get(row, "ports"));
		const json_t *backends = json_object_get(row, "backends");

		table_row(table, json_text(row, "namespace"), json_text(row, "name"), addresses, ports,
			  json_text(row, "forwarding"), NULL);
		table_cell(table, "%" PRId64 "/%" PRId64, json_number(backends, "healthy"), json_number(backends, "total"));
		table_cell(table, "%" PRId64, json_number(backends, "draining"));
		flows_cell(table, row);
		if (cli->output == OUTPUT_WIDE)
			table_cell(table, "%" PRId64, json_number(row, "packets"));
		else
			table_cell(table, "%s", json_text(row, "message"));
	}
	table_print(table, stdout, "");
	if (!json_array_size(items))
		fprintf(stderr, "No services.\n");
}

int verb_service_list(const struct cli *cli, int argument_count, char **arguments)
{
	struct cli all = *cli;
	json_t *items;

	if (argument_count)
		return cli_misuse("service list: \"%s\" is not expected", arguments[0]);
	if (cli->all_namespaces)
		all.namespace_name = NULL;
	items = cli_items(&all, "service list", "/selvage/v1/services");
	if (!items)
		return EXIT_FAILURE;
	if (!items_print(cli, items, "service", "name"))
		services_print(cli, items);
	json_decref(items);
	return EXIT_SUCCESS;
}

static void backends_print(const json_t *items)
{
	struct table *table = table_new("SERVICE", "PORT", "BACKEND", "STATE", "WEIGHT", "SHARE", "FLOWS", "SINCE", "CHECK", "WHY", NULL);
	json_t *row;
	size_t i;

	json_array_foreach(items, i, row) {
		const char *address = json_text(row, "address"), *state = json_text(row, "state");
		bool drained = json_is_true(json_object_get(row, "drained"));
		const json_t *share = json_object_get(row, "share");
		char since[DURATION_TEXT_SIZE];

		table_row_begin(table);
		table_cell(table, "%s/%s", json_text(row, "namespace"), json_text(row, "service"));
		table_cell(table, "%s", json_text(row, "servicePort"));
		table_cell(table, strchr(address, ':') ? "[%s]:%d" : "%s:%d", address, (int)json_number(row, "port"));
		table_cell(table, "%s%s", state, drained ? " (drained)" : "");
		table_cell(table, "%" PRId64, json_number(row, "weight"));
		table_cell(table, "%.1f%%", 100 * json_number_value(share));
		flows_cell(table, row);
		table_cell(table, "%s", json_object_get(row, "sinceSeconds")
					? duration_format(json_number(row, "sinceSeconds"), since) : "-");
		table_cell(table, "%s", json_text(row, "check"));
		table_cell(table, "%s", json_text(row, "reason"));
	}
	table_print(table, stdout, "");
	if (!json_array_size(items))
		fprintf(stderr, "No backends.\n");
}

/* "NAME" in the namespace of -n, or "NAMESPACE/NAME". To be freed by the caller. */
static char *service_path(const struct cli *cli, const char *service, const char *rest)
{
	const char *slash = strchr(service, '/');
	_cleanup_(freep) char *space = slash ? strndup(service, (size_t)(slash - service)) : strdup(cli_namespace(cli));
	_cleanup_(freep) char *space_part = cli_escape(space), *name_part = cli_escape(slash ? slash + 1 : service);
	char *path;

	if (asprintf(&path, "/selvage/v1/services/%s/%s/backends%s", space_part, name_part, rest) < 0)
		abort();
	return path;
}

int verb_service_backends(const struct cli *cli, int argument_count, char **arguments)
{
	_cleanup_(freep) char *path = NULL;
	struct cli all = *cli;
	json_t *items;

	if (argument_count > 1)
		return cli_misuse("service backends: \"%s\" is not expected", arguments[1]);
	path = argument_count ? service_path(cli, arguments[0], "") : strdup("/selvage/v1/backends");
	if (argument_count || cli->all_namespaces)
		all.namespace_name = NULL;
	items = cli_items(&all, "service backends", path);
	if (!items)
		return EXIT_FAILURE;
	if (!items_print(cli, items, "backend", "address"))
		backends_print(items);
	json_decref(items);
	return EXIT_SUCCESS;
}

/* --- backend ----------------------------------------------------------------------------------------------------------- */

static int backend_set(const struct cli *cli, const char *verb, int argument_count, char **arguments)
{
	_cleanup_(freep) char *backend = NULL, *rest = NULL, *path = NULL;
	char what[40];
	json_t *answer;

	if (argument_count != 2)
		return cli_misuse("backend %s: say which: SERVICE ADDRESS[:PORT]", verb);
	backend = cli_escape(arguments[1]);
	if (asprintf(&rest, "/%s/%s", backend, verb) < 0)
		abort();
	path = service_path(cli, arguments[0], rest);
	snprintf(what, sizeof(what), "backend %s", verb);
	answer = cli_request(cli, what, "POST", path, NULL);
	if (!answer)
		return EXIT_FAILURE;
	printf("backend %s of %s %sed\n", arguments[1], arguments[0], verb);
	json_decref(answer);
	return EXIT_SUCCESS;
}

int verb_backend_drain(const struct cli *cli, int argument_count, char **arguments)
{
	return backend_set(cli, "drain", argument_count, arguments);
}

int verb_backend_undrain(const struct cli *cli, int argument_count, char **arguments)
{
	return backend_set(cli, "undrain", argument_count, arguments);
}

/* --- vip --------------------------------------------------------------------------------------------------------------- */

static void vips_print(const json_t *items)
{
	struct table *table = table_new("ADDRESS", "OWNER", "INTERFACES", "POOL", "SERVICES", "SINCE", "NOTE", NULL);
	json_t *row;
	size_t i;

	json_array_foreach(items, i, row) {
		_cleanup_(freep) char *interfaces = json_join(json_object_get(row, "interfaces"));
		_cleanup_(freep) char *services = json_join(json_object_get(row, "services"));
		const char *owner = json_text(row, "owner");
		char since[DURATION_TEXT_SIZE];

		table_row(table, json_text(row, "address"), *owner ? owner : "<none>", interfaces, json_text(row, "pool"), services,
			  json_object_get(row, "sinceSeconds") ? duration_format(json_number(row, "sinceSeconds"), since) : "-",
			  json_text(row, "message"), NULL);
	}
	table_print(table, stdout, "");
	if (!json_array_size(items))
		fprintf(stderr, "No virtual IPs.\n");
}

int verb_vip_list(const struct cli *cli, int argument_count, char **arguments)
{
	json_t *items;

	if (argument_count)
		return cli_misuse("vip list: \"%s\" is not expected", arguments[0]);
	items = cli_items(cli, "vip list", "/selvage/v1/vips");
	if (!items)
		return EXIT_FAILURE;
	if (!items_print(cli, items, "vip", "address"))
		vips_print(items);
	json_decref(items);
	return EXIT_SUCCESS;
}

int verb_vip_move(const struct cli *cli, int argument_count, char **arguments)
{
	_cleanup_(freep) char *vip = NULL, *path = NULL;
	json_t *body, *answer;

	if (argument_count != 1)
		return cli_misuse("vip move: say which: ADDRESS [--node NAME]");
	vip = cli_escape(arguments[0]);
	if (asprintf(&path, "/selvage/v1/vips/%s/move", vip) < 0)
		abort();
	body = cli->node ? json_pack("{s:s}", "node", cli->node) : NULL;
	answer = cli_request(cli, "vip move", "POST", path, body);
	json_decref(body);
	if (!answer)
		return EXIT_FAILURE;
	printf("vip %s moved%s%s\n", arguments[0], cli->node ? " to " : "", cli->node ? cli->node : "");
	json_decref(answer);
	return EXIT_SUCCESS;
}

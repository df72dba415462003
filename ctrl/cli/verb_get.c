/* SPDX-License-Identifier: Apache-2.0 */
/* get, describe, delete */
#include <string.h>

#include "ctrl/cli/cli.h"
#include "ctrl/cli/columns.h"

/* "KIND" or "KIND/NAME"; NULL after a message. The name is part of the argument. */
static const struct object_kind_info *kind_parse(char *argument, const char **ret_name)
{
	const struct object_kind_info *info;
	char *slash = strchr(argument, '/');

	*ret_name = NULL;
	if (slash) {
		*slash = '\0';
		*ret_name = slash + 1;
	}
	info = object_kind_of_word(argument);
	if (!info) {
		char known[300] = "";

		for (size_t i = 0; i < OBJECT_KIND_COUNT; i++) {
			const struct object_kind_info *kind = object_kind_info((enum object_kind)i);
			size_t used = strlen(known);

			snprintf(known + used, sizeof(known) - used, "%s%s%s", used ? ", " : "", kind->plural,
				 kind->kind == OBJECT_REPLAY_NODE ? ".selvage.io" : "");
		}
		cli_misuse("\"%s\" is not a kind; there are %s", argument, known);
	}
	return info;
}

/* --- reading ----------------------------------------------------------------------------------------------------------- */

static json_t *list_get(const struct cli *cli, const char *what, const struct object_kind_info *info)
{
	_cleanup_(freep) char *path = cli_object_path(cli, info, NULL), *selector = cli_escape(cli->selector ? cli->selector : "");
	_cleanup_(freep) char *with_selector = NULL;
	json_t *list, *items;

	if (asprintf(&with_selector, "%s?labelSelector=%s", path, selector) < 0)
		abort();
	list = cli_get(cli, what, with_selector);
	items = list ? json_incref(json_object_get(list, "items")) : NULL;
	json_decref(list);
	return items;
}

/* An array of objects of one kind; NULL after messages. `ret_failed`: some of the named ones could not be had. */
static json_t *objects_get_by_name(const struct cli *cli, const char *what, const struct object_kind_info *info, const char *first,
				   int name_count, char **names, bool *ret_failed)
{
	json_t *objects;

	*ret_failed = false;
	if (!first && !name_count)
		return list_get(cli, what, info);
	objects = json_array();
	for (int i = first ? -1 : 0; i < name_count; i++) {
		_cleanup_(freep) char *path = cli_object_path(cli, info, i < 0 ? first : names[i]);
		json_t *object = cli_get(cli, what, path);

		*ret_failed |= object == NULL;
		if (object)
			json_array_append_new(objects, object);
	}
	return objects;
}

static void names_print(const struct object_kind_info *info, const json_t *objects)
{
	json_t *object;
	size_t i;

	json_array_foreach(objects, i, object)
		printf("%s%s%s/%s\n", info->singular, *info->group && strchr(info->group, '.') ? "." : "", info->group,
		       json_text(json_object_get(object, "metadata"), "name"));
}

static void objects_table_print(const struct cli *cli, const struct object_kind_info *info, const json_t *objects)
{
	bool namespaces = cli->all_namespaces && info->namespaced, wide = cli->output == OUTPUT_WIDE;
	struct table *table = columns_new(info->kind, namespaces, wide);
	json_t *object;
	size_t i;

	json_array_foreach(objects, i, object)
		columns_row(table, info->kind, namespaces, wide, object);
	table_print(table, stdout, "");
	if (json_array_size(objects))
		return;
	if (info->namespaced && !cli->all_namespaces)
		fprintf(stderr, "No resources found in %s namespace.\n", cli_namespace(cli));
	else
		fprintf(stderr, "No resources found.\n");
}

/* One object by name as itself, everything else as a List. */
static void objects_print(const struct cli *cli, const struct object_kind_info *info, json_t *objects, bool single)
{
	json_t *list;

	if (cli->output == OUTPUT_NAME) {
		names_print(info, objects);
		return;
	}
	if (cli->output != OUTPUT_JSON && cli->output != OUTPUT_YAML) {
		objects_table_print(cli, info, objects);
		return;
	}
	list = json_pack("{s:s, s:s, s:O, s:{}}", "apiVersion", "v1", "kind", "List", "items", objects, "metadata");
	print_raw(cli, single && json_array_size(objects) == 1 ? json_array_get(objects, 0) : list);
	json_decref(list);
}

int verb_get(const struct cli *cli, int argument_count, char **arguments)
{
	char *rest = argument_count ? arguments[0] : NULL, *word;
	bool failed = false, several = rest && strchr(rest, ',');
	json_auto_t *all = several && (cli->output == OUTPUT_JSON || cli->output == OUTPUT_YAML) ? json_array() : NULL;

	if (!rest)
		return cli_misuse("get: say of which kind: services, endpointslices, ipaddresspools, …");
	if (cli->all_namespaces && argument_count > 1)
		return cli_misuse("get: an object cannot be named across all namespaces");
	while ((word = strsep(&rest, ","))) {
		const char *name;
		const struct object_kind_info *info = kind_parse(word, &name);
		bool missing;
		json_t *objects;

		if (!info)
			return EXIT_USAGE;
		if (several && (name || argument_count > 1))
			return cli_misuse("get: names cannot go with several kinds");
		objects = objects_get_by_name(cli, "get", info, name, argument_count - 1, arguments + 1, &missing);
		failed |= !objects || missing;
		if (all && objects)
			json_array_extend(all, objects);
		else if (objects && (json_array_size(objects) || !missing))
			objects_print(cli, info, objects, (name != NULL) + argument_count - 1 == 1);
		if (several && rest && objects && (cli->output == OUTPUT_TABLE || cli->output == OUTPUT_WIDE))
			putchar('\n');
		json_decref(objects);
	}
	if (all) /* one document, so that apply can read it */
		objects_print(cli, NULL, all, false);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* --- describe ---------------------------------------------------------------------------------------------------------- */

static void pairs_describe(const char *title, const json_t *pairs)
{
	const char *key;
	json_t *value;
	bool first = true;

	if (!json_object_size(pairs)) {
		printf("%-14s<none>\n", title);
		return;
	}
	json_object_foreach((json_t *)pairs, key, value) {
		printf("%-14s%s=%s\n", first ? title : "", key, json_is_string(value) ? json_string_value(value) : "?");
		first = false;
	}
}

static void indented_print(const json_t *json)
{
	_cleanup_(freep) char *text = yaml_format(json);

	for (char *line = text, *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		printf("  %.*s\n", (int)(end - line), line);
	}
}

/* Everything behind metadata, a section for each field. */
static void content_describe(const json_t *object)
{
	static const char *const known[] = {"apiVersion", "kind", "metadata"};
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value) {
		bool skip = false;

		for (size_t i = 0; i < array_length(known); i++)
			skip |= strcmp(known[i], key) == 0;
		if (skip)
			continue;
		printf("%c%s:\n", key[0] >= 'a' && key[0] <= 'z' ? key[0] - 'a' + 'A' : key[0], key + 1);
		indented_print(value);
	}
}

static void backends_describe(const struct cli *cli, const json_t *metadata)
{
	_cleanup_(freep) char *space = cli_escape(json_text(metadata, "namespace")), *name = cli_escape(json_text(metadata, "name"));
	_cleanup_(freep) char *path = NULL;
	json_t *answer, *backend;
	struct table *table;
	size_t i;

	if (asprintf(&path, "/selvage/v1/services/%s/%s/backends", space, name) < 0)
		abort();
	answer = cli_get(cli, "describe", path);
	if (!answer)
		return;
	printf("Backends:%s\n", json_array_size(json_object_get(answer, "items")) ? "" : "     <none>");
	table = table_new("PORT", "ADDRESS", "STATE", "WHY", NULL);
	json_array_foreach(json_object_get(answer, "items"), i, backend) {
		table_row_begin(table);
		table_cell(table, "%s", json_text(backend, "servicePort"));
		table_cell(table, strchr(json_text(backend, "address"), ':') ? "[%s]:%d" : "%s:%d", json_text(backend, "address"),
			   (int)json_number(backend, "port"));
		table_cell(table, "%s", json_text(backend, "state"));
		table_cell(table, "%s", json_text(backend, "reason"));
	}
	table_print(table, stdout, "  ");
	json_decref(answer);
}

static void object_describe(const struct cli *cli, const struct object_kind_info *info, const json_t *object)
{
	const json_t *metadata = json_object_get(object, "metadata");

	printf("%-14s%s\n", "Name:", json_text(metadata, "name"));
	if (info->namespaced)
		printf("%-14s%s\n", "Namespace:", json_text(metadata, "namespace"));
	printf("%-14s%s of %s\n", "Kind:", info->name, info->api_version);
	pairs_describe("Labels:", json_object_get(metadata, "labels"));
	pairs_describe("Annotations:", json_object_get(metadata, "annotations"));
	printf("%-14s%s (version %s, generation %d)\n", "Created:", json_text(metadata, "creationTimestamp"),
	       json_text(metadata, "resourceVersion"), (int)json_number(metadata, "generation"));
	content_describe(object);
	if (info->kind == OBJECT_SERVICE)
		backends_describe(cli, metadata);
}

int verb_describe(const struct cli *cli, int argument_count, char **arguments)
{
	const struct object_kind_info *info;
	const char *name;
	bool missing;
	json_t *objects, *object;
	size_t i;

	if (!argument_count)
		return cli_misuse("describe: say of which kind: service, endpointslice, ipaddresspool, …");
	info = kind_parse(arguments[0], &name);
	if (!info)
		return EXIT_USAGE;
	objects = objects_get_by_name(cli, "describe", info, name, argument_count - 1, arguments + 1, &missing);
	json_array_foreach(objects, i, object) {
		printf("%s", i ? "\n\n" : "");
		object_describe(cli, info, object);
	}
	if (objects && !json_array_size(objects) && !missing)
		fprintf(stderr, "No resources found.\n");
	missing |= objects == NULL;
	json_decref(objects);
	return missing ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* --- delete ------------------------------------------------------------------------------------------------------------ */

static int object_delete(const struct cli *cli, const struct object_kind_info *info, const char *name)
{
	_cleanup_(freep) char *path = cli_object_path(cli, info, name);
	json_t *answer = cli_request(cli, "delete", "DELETE", path, NULL);

	if (!answer)
		return EXIT_FAILURE;
	if (!json_is_null(answer))
		printf("%s \"%s\" deleted\n", info->singular, name);
	json_decref(answer);
	return EXIT_SUCCESS;
}

static int files_delete(const struct cli *cli)
{
	struct object_list objects = {0};
	int exit_status = cli_manifests_load(cli, &objects);

	for (size_t i = 0; i < objects.count; i++) {
		struct cli there = *cli;

		if (!cli->namespace_name)
			there.namespace_name = objects.items[i]->meta.namespace_name;
		exit_status |= object_delete(&there, object_kind_info(objects.items[i]->kind), objects.items[i]->meta.name);
	}
	object_list_done(&objects);
	return exit_status;
}

int verb_delete(const struct cli *cli, int argument_count, char **arguments)
{
	const struct object_kind_info *info;
	int exit_status = EXIT_SUCCESS;
	const char *name;

	if (cli->file_count && argument_count)
		return cli_misuse("delete: either -f, or a kind and names");
	if (cli->file_count)
		return files_delete(cli);
	if (!argument_count)
		return cli_misuse("delete: say what: KIND NAME…, or -f FILE");
	info = kind_parse(arguments[0], &name);
	if (!info)
		return EXIT_USAGE;
	if (!name && argument_count < 2)
		return cli_misuse("delete: say which %s", info->plural);
	if (name)
		exit_status |= object_delete(cli, info, name);
	for (int i = 1; i < argument_count; i++)
		exit_status |= object_delete(cli, info, arguments[i]);
	return exit_status;
}

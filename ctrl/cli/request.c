/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <ftw.h>
#include <string.h>

#include "ctrl/cli/cli.h"
#include "ctrl/cli/client.h"

const char *cli_namespace(const struct cli *cli)
{
	return cli->namespace_name ? cli->namespace_name : "default";
}

char *cli_escape(const char *text)
{
	char *escaped = malloc(3 * strlen(text) + 1), *out = escaped;

	if (!escaped)
		abort();
	for (; *text; text++) {
		if (isalnum((unsigned char)*text) || strchr("-._~", *text))
			*out++ = *text;
		else
			out += sprintf(out, "%%%02X", (unsigned char)*text);
	}
	*out = '\0';
	return escaped;
}

char *cli_object_path(const struct cli *cli, const struct object_kind_info *info, const char *name)
{
	_cleanup_(freep) char *namespace_name = cli_escape(cli_namespace(cli)), *escaped = cli_escape(name ? name : "");
	bool one = info->namespaced && !(cli->all_namespaces && !name);
	char *path;

	if (asprintf(&path, "/%s%s%s/%s%s%s/%s%s%s", *info->group ? "apis" : "api", *info->group ? "/" : "", info->group,
		     info->version, one ? "/namespaces/" : "", one ? namespace_name : "", info->plural, name ? "/" : "",
		     escaped) < 0)
		abort();
	return path;
}

/* What a Status object, or whatever else came, says about a failure. */
static void failure_print(const char *what, int status, const char *body)
{
	json_t *json = json_loads(body, 0, NULL), *problems, *problem;
	const char *message = json_text(json, "message");
	size_t i;

	problems = json_object_get(json_object_get(json, "details"), "diagnostics");
	if (json_array_size(problems) > 1) {
		json_array_foreach(problems, i, problem)
			if (strcmp(json_text(problem, "severity"), "error") == 0)
				cli_fail("%s: %s", what, json_text(problem, "text"));
	} else if (*message) {
		cli_fail("%s: %s", what, message);
	} else {
		cli_fail("%s: the daemon answered with status %d", what, status);
	}
	json_decref(json);
}

json_t *cli_request(const struct cli *cli, const char *what, const char *method, const char *path, const json_t *body)
{
	_cleanup_(freep) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL, *answer = NULL;
	_cleanup_(client_freep) struct client *client = NULL;
	const struct client_request request = {.method = method, .path = path, .content_type = "application/json", .body = text,
					       .body_length = text ? strlen(text) : 0};
	struct error error = {0};
	json_t *json;
	size_t length;

	if (client_open(cli->socket, &request, &client, &error) < 0 ||
	    client_read_all(client, &answer, &length, &error) < 0) {
		cli_fail("%s: %s", what, error.text);
		return NULL;
	}
	if (client_status(client) == 404 && cli->ignore_not_found)
		return json_null();
	if (client_status(client) >= 300) {
		failure_print(what, client_status(client), answer);
		return NULL;
	}
	json = json_loadb(answer, length, 0, NULL);
	if (!json)
		cli_fail("%s: the daemon's answer is not JSON", what);
	return json;
}

json_t *cli_get(const struct cli *cli, const char *what, const char *path)
{
	return cli_request(cli, what, "GET", path, NULL);
}

int cli_try(const struct cli *cli, const char *path, json_t **ret_json, struct error *error)
{
	const struct client_request request = {.method = "GET", .path = path};
	_cleanup_(client_freep) struct client *client = NULL;
	_cleanup_(freep) char *answer = NULL;
	int status = client_open(cli->socket, &request, &client, error);
	json_t *json;
	size_t length;

	if (status == 0)
		status = client_read_all(client, &answer, &length, error);
	if (status < 0)
		return status;
	if (client_status(client) != 200)
		return error_set(error, EPROTO, "the daemon answered with status %d", client_status(client));
	json = json_loadb(answer, length, 0, NULL);
	if (!json)
		return error_set(error, EPROTO, "the daemon's answer is not JSON");
	*ret_json = json;
	return 0;
}

json_t *cli_items(const struct cli *cli, const char *what, const char *path)
{
	json_t *answer = cli_get(cli, what, path), *items, *item, *kept;
	size_t i;

	if (!answer)
		return NULL;
	items = json_object_get(answer, "items");
	kept = json_array();
	json_array_foreach(items, i, item) {
		const json_t *space = json_object_get(item, "namespace");

		if (!cli->namespace_name || !space || strcmp(json_string_value(space), cli->namespace_name) == 0)
			json_array_append(kept, item);
	}
	json_decref(answer);
	return kept;
}

/* --- manifests --------------------------------------------------------------------------------------------------------- */

/* nftw() has no context; the program has one thread. */
static struct {
	char **paths;
	size_t count;
} found;

static bool is_manifest(const char *path)
{
	static const char *const endings[] = {".yaml", ".yml", ".json"};
	size_t length = strlen(path);

	for (size_t i = 0; i < array_length(endings); i++)
		if (length > strlen(endings[i]) && strcmp(path + length - strlen(endings[i]), endings[i]) == 0)
			return true;
	return false;
}

static int found_add(const char *path, const struct stat *info, int type, struct FTW *where)
{
	(void)info, (void)where;
	if (type != FTW_F || !is_manifest(path))
		return 0;
	found.paths = reallocarray(found.paths, found.count + 1, sizeof(*found.paths));
	if (!found.paths || !(found.paths[found.count++] = strdup(path)))
		abort();
	return 0;
}

static int text_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int recursive_load(const struct cli *cli, struct object_list *ret_objects, struct diagnostics *diagnostics)
{
	int status;

	for (size_t i = 0; i < cli->file_count; i++) {
		size_t before = found.count;

		if (nftw(cli->files[i], found_add, 32, FTW_PHYS) < 0)
			diagnostics_add(diagnostics, DIAGNOSTIC_ERROR, cli->files[i], 0, 0, "%s", strerror(errno));
		if (found.count > before)
			qsort(found.paths + before, found.count - before, sizeof(*found.paths), text_compare);
	}
	status = diagnostics->error_count ? -EINVAL
					  : manifest_load_paths((const char *const *)found.paths, found.count, ret_objects, diagnostics);
	for (size_t i = 0; i < found.count; i++)
		free(found.paths[i]);
	free(found.paths);
	found.paths = NULL;
	found.count = 0;
	return status;
}

int cli_manifests_load(const struct cli *cli, struct object_list *ret_objects)
{
	_cleanup_(diagnostics_done) struct diagnostics diagnostics;
	int status;

	if (!cli->file_count)
		return cli_misuse("say which manifests: -f FILE, -f DIRECTORY or -f - for standard input");
	diagnostics_init(&diagnostics);
	status = cli->recursive ? recursive_load(cli, ret_objects, &diagnostics)
				: manifest_load_paths(cli->files, cli->file_count, ret_objects, &diagnostics);
	for (size_t i = 0; i < diagnostics.count; i++) {
		_cleanup_(freep) char *line = diagnostic_format(&diagnostics.items[i]);

		fprintf(stderr, "selvage: %s\n", line);
	}
	if (diagnostics.error_count + diagnostics.warning_count > diagnostics.count)
		fprintf(stderr, "selvage: and %zu more\n",
			diagnostics.error_count + diagnostics.warning_count - diagnostics.count);
	if (status < 0)
		return EXIT_FAILURE;
	if (!ret_objects->count)
		return cli_fail("read manifests: there is no object in %s", cli->files[0]);
	return 0;
}

/* What -n means for an object from a file. False after a message. */
static bool namespace_fill(const struct cli *cli, const struct object *object, json_t *json)
{
	json_t *metadata = json_object_get(json, "metadata");
	const char *given = json_text(metadata, "namespace");
	char name[OBJECT_REFERENCE_SIZE];

	if (!object_kind_info(object->kind)->namespaced || !cli->namespace_name)
		return true;
	if (*given && strcmp(given, cli->namespace_name) != 0) {
		cli_fail("%s:%u: %s says another namespace than -n %s", object->file, object->line,
			 object_reference(object, name), cli->namespace_name);
		return false;
	}
	json_object_set_new(metadata, "namespace", json_string(cli->namespace_name));
	return true;
}

json_t *cli_manifests_json(const struct cli *cli, int *ret_exit_status)
{
	struct object_list objects = {0};
	json_t *items = NULL;

	*ret_exit_status = cli_manifests_load(cli, &objects);
	if (*ret_exit_status == 0)
		items = json_array();
	for (size_t i = 0; items && i < objects.count; i++) {
		json_t *json = json_deep_copy(objects.items[i]->raw);

		if (!namespace_fill(cli, objects.items[i], json)) {
			*ret_exit_status = EXIT_FAILURE;
			json_decref(items);
			items = NULL;
		} else {
			json_array_append(items, json);
		}
		json_decref(json);
	}
	object_list_done(&objects);
	return items ? json_pack("{s:s, s:s, s:o}", "kind", "List", "apiVersion", "v1", "items", items) : NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* apply, diff */
#include <string.h>

#include "ctrl/cli/cli.h"
#include "ctrl/cli/line_diff.h"

static const char *result_kind(const json_t *item)
{
	const struct object_kind_info *info = object_kind_of_type(json_text(item, "apiVersion"), json_text(item, "kind"));

	return info ? info->singular : json_text(item, "kind");
}

/* Sends the manifests; NULL after messages with the exit status. */
static json_t *manifests_send(const struct cli *cli, bool dry_run, int *ret_exit_status)
{
	json_t *list = cli_manifests_json(cli, ret_exit_status), *answer;

	if (!list)
		return NULL;
	answer = cli_request(cli, "apply", "POST", dry_run ? "/selvage/v1/apply?dryRun=All" : "/selvage/v1/apply", list);
	json_decref(list);
	*ret_exit_status = answer ? EXIT_SUCCESS : EXIT_FAILURE;
	return answer;
}

int verb_apply(const struct cli *cli, int argument_count, char **arguments)
{
	json_t *answer, *item;
	int exit_status;
	size_t i;

	if (argument_count)
		return cli_misuse("apply: \"%s\" is not expected; files are named by -f", arguments[0]);
	answer = manifests_send(cli, cli->dry_run, &exit_status);
	if (answer && !print_raw(cli, answer)) {
		json_array_foreach(json_object_get(answer, "items"), i, item)
			printf("%s/%s %s%s\n", result_kind(item), json_text(item, "name"), json_text(item, "result"),
			       cli->dry_run ? " (dry run)" : "");
	}
	json_decref(answer);
	return exit_status;
}

/* What the operator wrote, without what the daemon adds. */
static char *comparable(const json_t *object)
{
	static const char *const added[] = {"resourceVersion", "uid", "creationTimestamp", "generation", "managedFields"};
	json_t *copy = json_deep_copy(object);
	char *text;

	for (size_t i = 0; i < array_length(added); i++)
		json_object_del(json_object_get(copy, "metadata"), added[i]);
	json_object_del(copy, "status");
	text = json_is_object(copy) ? yaml_format(copy) : strdup("");
	json_decref(copy);
	if (!text)
		abort();
	return text;
}

int verb_diff(const struct cli *cli, int argument_count, char **arguments)
{
	bool differs = false;
	json_t *answer, *item;
	int exit_status;
	size_t i;

	if (argument_count)
		return cli_misuse("diff: \"%s\" is not expected; files are named by -f", arguments[0]);
	answer = manifests_send(cli, true, &exit_status);
	/* As with diff(1) and kubectl: 1 says that they differ, more that it could not be told. */
	if (!answer)
		return exit_status + (exit_status == EXIT_FAILURE);
	json_array_foreach(json_object_get(answer, "items"), i, item) {
		_cleanup_(freep) char *live = comparable(json_object_get(item, "live"));
		_cleanup_(freep) char *wanted = comparable(json_object_get(item, "object"));
		char names[2][700];
		static const char *const sides[] = {"live", "file"};

		for (size_t side = 0; side < 2; side++)
			snprintf(names[side], sizeof(names[side]), "%s/%s%s%s/%s", sides[side], json_text(item, "namespace"),
				 *json_text(item, "namespace") ? "/" : "", result_kind(item), json_text(item, "name"));
		differs |= line_diff_print(stdout, names[0], live, names[1], wanted);
	}
	json_decref(answer);
	return differs ? EXIT_FAILURE : EXIT_SUCCESS;
}

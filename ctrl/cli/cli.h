/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the verbs of `selvage` share. A verb is a function that gets its options read and its other arguments, prints to
 * standard output, and returns the exit status: 0, 1 when it failed (said on standard error), 2 when it was called wrongly.
 */
#pragma once

#include <jansson.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "ctrl/manifest/manifest.h"

#define EXIT_USAGE 2
#define CLI_FILES_MAX 64

enum cli_output { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_JSON, OUTPUT_YAML, OUTPUT_NAME };

struct cli {
	const char *socket;
	const char *namespace_name; /* NULL: not given */
	bool all_namespaces;
	enum cli_output output;
	const char *selector;
	const char *files[CLI_FILES_MAX];
	size_t file_count;
	bool recursive, all, dry_run, ignore_not_found;
	const char *service, *ufrag, *backend, *restarts, *expiry, *password_file, *srtp_key_file;
	const char *filter, *write_file, *packet, *in_file, *interface, *node, *from;
	bool interesting, watch, established;
	uint64_t count;   /* 0: not given, as of the others below */
	uint64_t snaplen; /* bytes */
	uint64_t rate;    /* packets a second */
	uint64_t times;
	uint64_t interval_ms;
};

struct cli_verb {
	const char *name; /* one or two words: "service list" */
	const char *arguments;
	const char *summary; /* one line */
	const char *example;
	const char *options; /* letters of those that it takes, besides --socket and --help */
	int (*run)(const struct cli *cli, int argument_count, char **arguments);
};

/* "selvage: " and the text, on standard error. The first returns 1, the second 2. */
int cli_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int cli_misuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The namespace that is meant: "default" when none was given. */
const char *cli_namespace(const struct cli *cli);

/* --- asking the daemon (request.c) ------------------------------------------------------------------------------------- */

/* `body` may be NULL. A new reference, or NULL after a message that begins with `what` (or after a 404 that is to be ignored). */
json_t *cli_request(const struct cli *cli, const char *what, const char *method, const char *path, const json_t *body);
json_t *cli_get(const struct cli *cli, const char *what, const char *path);
/* Quietly: 0 with a new reference in `ret_json`, or -errno with a sentence. */
must_check int cli_try(const struct cli *cli, const char *path, json_t **ret_json, struct error *error);
/* The `items` of a view, or NULL after a message; with -n only those of the namespace. */
json_t *cli_items(const struct cli *cli, const char *what, const char *path);
/* The API's path of a kind's collection, or of one object; to be freed by the caller. */
char *cli_object_path(const struct cli *cli, const struct object_kind_info *info, const char *name);
/* A part of a path or query; to be freed by the caller. */
char *cli_escape(const char *text);

/* The manifests named by -f; 0, or an exit status after messages. */
int cli_manifests_load(const struct cli *cli, struct object_list *ret_objects);
/* The same, with the namespace filled in, as what /selvage/v1/apply takes; NULL after messages with the exit status. */
json_t *cli_manifests_json(const struct cli *cli, int *ret_exit_status);

/* --- printing (print.c) ------------------------------------------------------------------------------------------------ */

void print_json(const json_t *json);
void print_yaml(const json_t *json);
/* The YAML text; to be freed by the caller. */
char *yaml_format(const json_t *json);
/* In the output formats json and yaml; false when another one is wanted. */
bool print_raw(const struct cli *cli, const json_t *json);

/* "12s", "5m", "3h", "2d"; -1 is "<unknown>". */
#define DURATION_TEXT_SIZE 24
const char *duration_format(int64_t seconds, char buffer[static DURATION_TEXT_SIZE]);
/* Since an RFC 3339 time; -1 if it is none. */
int64_t age_seconds(const char *rfc3339);

/* "" when it is not there. */
const char *json_text(const json_t *object, const char *key);
int64_t json_number(const json_t *object, const char *key);
/* Texts of a list with commas between; to be freed by the caller. "<none>" when empty. */
char *json_join(const json_t *list);
/* Walks objects by names, until NULL. */
const json_t *json_path(const json_t *object, ...) __attribute__((sentinel));

/* --- verbs ------------------------------------------------------------------------------------------------------------- */

typedef int cli_run(const struct cli *cli, int argument_count, char **arguments);

cli_run verb_apply, verb_diff, verb_get, verb_describe, verb_delete, verb_status, verb_drops, verb_metrics, verb_version,
	verb_service_list, verb_service_backends, verb_vip_list, verb_vip_move, verb_backend_drain, verb_backend_undrain,
	verb_trace, verb_explain, verb_top, verb_session_list, verb_session_show, verb_session_add, verb_session_remove,
	verb_session_ufrag, verb_session_rotate, verb_session_watch, verb_dns_dump, verb_dns_flush,
	verb_dns_lookup, verb_dns_stats, verb_dns_explain, verb_dns_tap;

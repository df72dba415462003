/* SPDX-License-Identifier: Apache-2.0 */
/* session list|show|add|remove|ufrag|rotate|watch */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "ctrl/cli/cli.h"
#include "ctrl/cli/client.h"
#include "ctrl/cli/table.h"

#define PAGE 1000
#define UFRAG_COLUMN 40 /* characters of a fragment in the table, which may have 256; as many as encoded ones have */
#define UFRAGS_MAX 20000u /* docs/api.md */
#define EXPIRY_MAX_S (30 * 86400)

/* --- where ------------------------------------------------------------------------------------------------------------- */

/* A fragment as it stands in a path: "/" and "+" have meanings there. To be freed by the caller. */
static char *name_part(const char *name)
{
	_cleanup_(freep) char *copy = strdup(name);

	if (!copy)
		abort();
	for (char *c = copy; *c; c++)
		*c = *c == '/' ? '_' : *c == '+' ? '-' : *c;
	return cli_escape(copy);
}

/* RFC 8839 section 5.4: ice-ufrag = 4*256ice-char; in paths, "_" and "-" stand for "/" and "+". 0, or an exit status after a message. */
static int ufrag_check(const char *verb, const char *option, const char *text)
{
	size_t length = strlen(text);

	if (length >= 4 && length <= 256 && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_") == length)
		return 0;
	return cli_misuse("%s: %s\"%.80s\" is no user fragment: 4 to 256 of A-Z a-z 0-9 + /", verb, option, text);
}

/* Without a name a path would be that of the list. What no session can be called is not found. */
static int name_check(const char *verb, const char *text)
{
	return *text ? 0 : cli_misuse("%s: \"\" is no user fragment, nor an @ID", verb);
}

static int service_check(const char *verb, const char *service)
{
	const char *slash = service ? strchr(service, '/') : NULL;

	if (!service || (*service && slash != service && (!slash || (slash[1] && !strchr(slash + 1, '/')))))
		return 0;
	return cli_misuse("%s: \"%.80s\" is no service: write NAME or NAMESPACE/NAME", verb, service);
}

/* ".../sessions" of a service as "NAME" or "NAMESPACE/NAME", or of all; with `name` of one. To be freed by the caller. */
static char *sessions_path(const struct cli *cli, const char *service, const char *name)
{
	const char *slash = service ? strchr(service, '/') : NULL;
	_cleanup_(freep) char *space = slash ? strndup(service, (size_t)(slash - service)) : strdup(cli_namespace(cli));
	_cleanup_(freep) char *space_part = cli_escape(space), *service_part = cli_escape(!service ? "" : slash ? slash + 1 : service);
	_cleanup_(freep) char *part = name_part(name ? name : "");
	char *path;
	int length;

	if (service)
		length = asprintf(&path, "/selvage/v1/services/%s/%s/sessions%s%s", space_part, service_part, name ? "/" : "", part);
	else
		length = asprintf(&path, "/selvage/v1/sessions%s%s", name ? "/" : "", part);
	if (length < 0)
		abort();
	return path;
}

/* --- list -------------------------------------------------------------------------------------------------------------- */

static void number_cell(struct table *table, const json_t *object, const char *key, const char *format)
{
	const json_t *value = json_object_get(object, key);

	if (value)
		table_cell(table, format, json_number_value(value));
	else
		table_cell(table, "-");
}

static void percent_cell(struct table *table, const json_t *stream)
{
	const json_t *value = json_object_get(stream, "lossRatio");

	if (value)
		table_cell(table, "%.2f%%", 100 * json_number_value(value));
	else
		table_cell(table, "-");
}

static const char *text_or_dash(const json_t *row, const char *key)
{
	const char *text = json_text(row, key);

	return *text ? text : "-";
}

/* The agent of a session, or the first that a registration names. */
static const char *agent_text(const json_t *row)
{
	const char *agent = json_text(row, "agent");
	const char *named = json_string_value(json_array_get(json_object_get(row, "backends"), 0));

	return *agent ? agent : named ? named : "-";
}

static void ufrag_cell(struct table *table, const char *ufrag, bool wide)
{
	if (wide || strlen(ufrag) <= UFRAG_COLUMN)
		table_cell(table, "%s", ufrag);
	else
		table_cell(table, "%.*s…", UFRAG_COLUMN - 1, ufrag);
}

static void sessions_print(const struct cli *cli, const json_t *items)
{
	bool wide = cli->output == OUTPUT_WIDE;
	struct table *table = table_new("ID", "SERVICE", "UFRAG", "STATE", "CLIENT", "AGENT", "AGE", "UP", "DOWN", "LOSS UP", "LOSS DOWN",
					"RTT", "MOS UP", "MOS DOWN", wide ? "JITTER UP" : NULL, "JITTER DOWN", "VIP", "MOVES", NULL);
	json_t *row;
	size_t i;

	json_array_foreach(items, i, row) {
		const json_t *up = json_object_get(row, "up"), *down = json_object_get(row, "down");
		const char *silent = json_text(row, "silent");
		char age[DURATION_TEXT_SIZE];

		table_row_begin(table);
		table_cell(table, "%s", text_or_dash(row, "id"));
		table_cell(table, "%s/%s", json_text(row, "namespace"), json_text(row, "service"));
		ufrag_cell(table, text_or_dash(row, "ufrag"), wide);
		table_cell(table, *silent ? "%s (%s silent)" : "%s", json_text(row, "state"), silent);
		table_cell(table, "%s", text_or_dash(row, "client"));
		table_cell(table, "%s", agent_text(row));
		table_cell(table, "%s", json_object_get(row, "ageSeconds") ? duration_format(json_number(row, "ageSeconds"), age) : "-");
		number_cell(table, up, "packets", "%.0f");
		number_cell(table, down, "packets", "%.0f");
		percent_cell(table, up);
		percent_cell(table, down);
		number_cell(table, row, "roundTripMs", "%.0fms");
		number_cell(table, up, "mos", "%.2f");
		number_cell(table, down, "mos", "%.2f");
		if (!wide)
			continue;
		number_cell(table, up, "jitterMs", "%.1fms");
		number_cell(table, down, "jitterMs", "%.1fms");
		table_cell(table, "%s", text_or_dash(row, "vip"));
		number_cell(table, row, "moves", "%.0f");
	}
	table_print(table, stdout, "");
	if (!json_array_size(items))
		fprintf(stderr, "No sessions.\n");
}

/* A page after the other, until the last; NULL after a message. */
static json_t *sessions_get(const struct cli *cli, const char *path)
{
	json_t *items = json_array();
	char after[32] = "";

	for (;;) {
		_cleanup_(freep) char *page = NULL;
		json_t *answer;

		if (asprintf(&page, "%s?limit=%d%s%s", path, PAGE, *after ? "&after=" : "", after) < 0)
			abort();
		answer = cli_get(cli, "session list", page);
		if (!answer) {
			json_decref(items);
			return NULL;
		}
		json_array_extend(items, json_object_get(answer, "items"));
		snprintf(after, sizeof(after), "%s", json_text(answer, "next"));
		if (json_number(answer, "notShown"))
			fprintf(stderr, "(and %" PRId64 " registrations without an agent)\n", json_number(answer, "notShown"));
		json_decref(answer);
		if (!*after)
			return items;
	}
}

int verb_session_list(const struct cli *cli, int argument_count, char **arguments)
{
	_cleanup_(freep) char *path = NULL;
	json_t *items, *list, *item;
	size_t i;

	if (argument_count > 1)
		return cli_misuse("session list: \"%s\" is not expected", arguments[1]);
	if (argument_count && service_check("session list", arguments[0]))
		return EXIT_USAGE;
	path = sessions_path(cli, argument_count ? arguments[0] : NULL, NULL);
	items = sessions_get(cli, path);
	if (!items)
		return EXIT_FAILURE;
	for (i = 0; !argument_count && cli->namespace_name && i < json_array_size(items);) {
		if (strcmp(json_text(json_array_get(items, i), "namespace"), cli->namespace_name) == 0)
			i++;
		else
			json_array_remove(items, i);
	}
	list = json_pack("{s:O}", "items", items);
	if (cli->output == OUTPUT_NAME)
		json_array_foreach(items, i, item)
			printf("session/%s\n", json_object_get(item, "id") ? json_text(item, "id") : json_text(item, "ufrag"));
	else if (!print_raw(cli, list))
		sessions_print(cli, items);
	json_decref(list);
	json_decref(items);
	return EXIT_SUCCESS;
}

/* --- show -------------------------------------------------------------------------------------------------------------- */

static void line(const char *name, const json_t *object, const char *key, const char *unit)
{
	const json_t *value = json_object_get(object, key);

	if (json_is_string(value))
		printf("  %-22s%s\n", name, json_string_value(value));
	else if (json_is_integer(value))
		printf("  %-22s%" JSON_INTEGER_FORMAT "%s\n", name, json_integer_value(value), unit);
	else if (json_is_real(value))
		printf("  %-22s%.2f%s\n", name, json_real_value(value), unit);
	else if (json_is_boolean(value))
		printf("  %-22s%s\n", name, json_is_true(value) ? "yes" : "no");
}

static void stream_print(const char *title, const json_t *stream)
{
	const json_t *loss = json_object_get(stream, "lossRatio");

	if (!stream)
		return;
	printf("%s\n", title);
	line("packets", stream, "packets", "");
	line("bytes", stream, "bytes", "");
	line("silent for", stream, "silentMs", " ms");
	line("longest pause", stream, "longestPauseMs", " ms");
	line("SSRC", stream, "ssrc", "");
	line("payload type", stream, "payloadType", "");
	if (loss)
		printf("  %-22s%" PRId64 " of %" PRId64 " (%.2f %%), %" PRId64 " gaps\n", "lost", json_number(stream, "lost"),
		       json_number(stream, "expected"), 100 * json_number_value(loss), json_number(stream, "gaps"));
	line("jitter", stream, "jitterMs", " ms");
	line("MOS (estimate)", stream, "mos", "");
}

static void paths_print(const json_t *paths)
{
	json_t *path;
	size_t i;

	if (json_array_size(paths))
		puts("client's addresses");
	json_array_foreach(paths, i, path)
		printf("  %s%s%s%s%s, last packet %" PRId64 " ms ago\n", json_text(path, "address"),
		       json_is_true(json_object_get(path, "current")) ? ", in use" : "",
		       json_is_true(json_object_get(path, "nominated")) ? ", nominated" :
		       json_is_true(json_object_get(path, "proven"))	? ", proven" :
									  ", not proven",
		       json_is_true(json_object_get(path, "healing")) ? ", by media that fits" : "",
		       "", json_number(path, "silentMs"));
}

static void session_print(const json_t *session)
{
	_cleanup_(freep) char *backends = json_join(json_object_get(session, "backends"));

	printf("session %s\n", json_object_get(session, "id") ? json_text(session, "id") : json_text(session, "ufrag"));
	printf("  %-22s%s/%s\n", "service", json_text(session, "namespace"), json_text(session, "service"));
	line("state", session, "state", "");
	line("silent direction", session, "silent", "");
	line("user fragment", session, "ufrag", "");
	if (json_object_get(session, "backends"))
		printf("  %-22s%s\n", "registered for", backends);
	line("registration ends in", session, "expiresInSeconds", " s");
	line("virtual IP", session, "vip", "");
	line("agent", session, "agent", "");
	line("agent's state", session, "backendState", "");
	line("client", session, "client", "");
	line("agent knows it as", session, "upstream", "");
	line("age", session, "ageSeconds", " s");
	if (json_object_get(session, "moves") && !json_object_get(session, "consentMs"))
		printf("  %-22s%s\n", "last consent", "never: no check was answered yet");
	line("last consent", session, "consentMs", " ms ago");
	line("round trip", session, "roundTripMs", " ms");
	line("  to the client", session, "roundTripClientMs", " ms");
	line("  to the agent", session, "roundTripAgentMs", " ms");
	line("address changes", session, "moves", "");
	line("packets healed", session, "healedPackets", "");
	paths_print(json_object_get(session, "paths"));
	stream_print("from the client", json_object_get(session, "up"));
	stream_print("to the client", json_object_get(session, "down"));
}

int verb_session_show(const struct cli *cli, int argument_count, char **arguments)
{
	_cleanup_(freep) char *path = NULL;
	json_t *answer, *session;
	size_t i;

	if (argument_count != 1)
		return cli_misuse("session show: say which: UFRAG, or @ID as the list has it");
	if (name_check("session show", arguments[0]) || service_check("session show", cli->service))
		return EXIT_USAGE;
	path = sessions_path(cli, cli->service, arguments[0]);
	answer = cli_get(cli, "session show", path);
	if (!answer)
		return EXIT_FAILURE;
	if (!print_raw(cli, answer))
		json_array_foreach(json_object_get(answer, "items"), i, session) {
			if (i)
				putchar('\n');
			session_print(session);
		}
	json_decref(answer);
	return EXIT_SUCCESS;
}

/* --- add, remove ------------------------------------------------------------------------------------------------------- */

/* "90s", "30m", "12h", "7d", "never"; -1: none of them. */
static int64_t expiry_seconds(const char *text)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	size_t digits = strspn(text, "0123456789");

	if (strcmp(text, "never") == 0)
		return 0;
	if (!digits || digits > 8)
		return -1;
	if (!text[digits])
		return strtoll(text, NULL, 10) ? strtoll(text, NULL, 10) : -1;
	for (size_t i = 0; i < array_length(units); i++)
		if (text[digits] == units[i].unit && !text[digits + 1] && strtoll(text, NULL, 10))
			return strtoll(text, NULL, 10) * units[i].seconds;
	return -1;
}

static json_t *backends_json(const char *text)
{
	_cleanup_(freep) char *copy = strdup(text);
	json_t *list = json_array();
	char *rest = copy, *part;

	while ((part = strsep(&rest, ",")))
		json_array_append_new(list, json_string(part + strspn(part, " ")));
	return list;
}

/* The file's first line; NULL: the error is told. */
static char *secret_read(const char *what, const char *path)
{
	char line[1024] = "";
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");

	if (!file || (!fgets(line, sizeof(line), file) && ferror(file))) {
		cli_fail("session add: reading the %s from %s: %s", what, path, strerror(errno));
		if (file && file != stdin)
			fclose(file);
		return NULL;
	}
	if (file != stdin)
		fclose(file);
	line[strcspn(line, "\r\n")] = '\0';
	return strdup(line);
}

/* "PROFILE BASE64", as it is to be sent. */
static json_t *srtp_json(char *line)
{
	char *key = strchr(line, ' ');

	*key++ = '\0';
	return json_pack("{s:s, s:s}", "profile", line, "key", key + strspn(key, " "));
}

int verb_session_add(const struct cli *cli, int argument_count, char **arguments)
{
	_cleanup_(freep) char *path = NULL, *password = NULL, *key = NULL;
	int64_t seconds = cli->expiry ? expiry_seconds(cli->expiry) : -1;
	json_t *body, *answer;

	if (argument_count)
		return cli_misuse("session add: \"%s\" is not expected", arguments[0]);
	if (!cli->service || !cli->ufrag || !cli->backend)
		return cli_misuse("session add: say --service NAME, --ufrag UFRAG and --backend IP:PORT");
	if (cli->expiry && seconds < 0)
		return cli_misuse("session add: --expiry takes 90s, 30m, 12h, 7d or never, not \"%s\"", cli->expiry);
	if (seconds > EXPIRY_MAX_S)
		return cli_misuse("session add: --expiry %s: 30d is the longest; \"never\" is without an end", cli->expiry);
	if (ufrag_check("session add", "--ufrag ", cli->ufrag) || service_check("session add", cli->service) ||
	    (cli->restarts && ufrag_check("session add", "--restarts ", cli->restarts)))
		return EXIT_USAGE;
	if (cli->password_file && !(password = secret_read("password", cli->password_file)))
		return EXIT_FAILURE;
	if (cli->srtp_key_file && !(key = secret_read("SRTP key", cli->srtp_key_file)))
		return EXIT_FAILURE;
	if (key && (!strchr(key, ' ') || strchr(key, ' ') == key))
		return cli_fail("session add: %s must have a line \"PROFILE BASE64\", like SRTP_AES128_CM_HMAC_SHA1_80 and 40 characters", cli->srtp_key_file);
	path = sessions_path(cli, cli->service, cli->ufrag);
	body = json_pack("{s:o}", "backends", backends_json(cli->backend));
	if (seconds >= 0)
		json_object_set_new(body, "expiresInSeconds", json_integer(seconds));
	if (cli->restarts)
		json_object_set_new(body, "restarts", json_string(cli->restarts));
	if (password)
		json_object_set_new(body, "password", json_string(password));
	if (key)
		json_object_set_new(body, "srtp", srtp_json(key));
	answer = cli_request(cli, "session add", "PUT", path, body);
	json_decref(body);
	if (!answer)
		return EXIT_FAILURE;
	printf("session %s of %s goes to %s\n", cli->ufrag, cli->service, cli->backend);
	json_decref(answer);
	return EXIT_SUCCESS;
}

int verb_session_remove(const struct cli *cli, int argument_count, char **arguments)
{
	_cleanup_(freep) char *path = NULL;
	const char *name = argument_count ? arguments[0] : cli->ufrag;
	json_t *answer;

	if (!name || argument_count + (cli->ufrag != NULL) != 1)
		return cli_misuse("session remove: say which: UFRAG, or @ID as the list has it");
	if (name_check("session remove", name) || service_check("session remove", cli->service))
		return EXIT_USAGE;
	path = sessions_path(cli, cli->service, name);
	answer = cli_request(cli, "session remove", "DELETE", path, NULL);
	if (!answer)
		return EXIT_FAILURE;
	if (!json_is_null(answer))
		printf("session %s removed\n", name);
	json_decref(answer);
	return EXIT_SUCCESS;
}

/* --- ufrag, rotate ----------------------------------------------------------------------------------------------------- */

int verb_session_ufrag(const struct cli *cli, int argument_count, char **arguments)
{
	const char *slash = cli->service ? strchr(cli->service, '/') : NULL;
	_cleanup_(freep) char *space = slash ? strndup(cli->service, (size_t)(slash - cli->service)) : strdup(cli_namespace(cli));
	json_t *body, *answer, *ufrag;
	size_t i;

	if (argument_count)
		return cli_misuse("session ufrag: \"%s\" is not expected", arguments[0]);
	if (!cli->backend)
		return cli_misuse("session ufrag: say --backend IP:PORT");
	if (cli->count > UFRAGS_MAX)
		return cli_misuse("session ufrag: -c %" PRIu64 ": %u at a time are the most", cli->count, UFRAGS_MAX);
	if (service_check("session ufrag", cli->service))
		return EXIT_USAGE;
	body = json_pack("{s:s, s:s, s:I}", "backend", cli->backend, "namespace", space, "count", (json_int_t)(cli->count ? cli->count : 1));
	if (cli->service)
		json_object_set_new(body, "service", json_string(slash ? slash + 1 : cli->service));
	answer = cli_request(cli, "session ufrag", "POST", "/selvage/v1/sessions/ufrag", body);
	json_decref(body);
	if (!answer)
		return EXIT_FAILURE;
	if (!print_raw(cli, answer))
		json_array_foreach(json_object_get(answer, "ufrags"), i, ufrag)
			puts(json_string_value(ufrag));
	json_decref(answer);
	return EXIT_SUCCESS;
}

int verb_session_rotate(const struct cli *cli, int argument_count, char **arguments)
{
	json_t *answer;

	if (argument_count)
		return cli_misuse("session rotate: \"%s\" is not expected", arguments[0]);
	answer = cli_request(cli, "session rotate", "POST", "/selvage/v1/sessions/rotate", NULL);
	if (!answer)
		return EXIT_FAILURE;
	puts("user fragments have a new key; those made with the one before go on until the next time");
	json_decref(answer);
	return EXIT_SUCCESS;
}

/* --- watch ------------------------------------------------------------------------------------------------------------- */

/* {"time":"…","type":"Silent","message":"…", …} */
static void event_print(const struct cli *cli, const char *text)
{
	json_t *event = json_loads(text, 0, NULL);

	if (cli->output == OUTPUT_JSON)
		puts(text);
	else if (json_object_get(event, "lost"))
		printf("(%" PRId64 " events were lost)\n", json_number(event, "lost"));
	else
		printf("%s  %-8s  %s\n", json_text(event, "time"), json_text(event, "type"), json_text(event, "message"));
	fflush(stdout);
	json_decref(event);
}

static int watched_fd = -1;

static void interrupt(int number)
{
	(void)number;
	shutdown(watched_fd, SHUT_RDWR);
}

int verb_session_watch(const struct cli *cli, int argument_count, char **arguments)
{
	const struct client_request request = {.method = "GET", .path = "/selvage/v1/sessions/events"};
	_cleanup_(client_freep) struct client *client = NULL;
	struct error error = {0};
	uint64_t shown = 0;
	char *text;

	if (argument_count)
		return cli_misuse("session watch: \"%s\" is not expected", arguments[0]);
	if (client_open(cli->socket, &request, &client, &error) < 0)
		return cli_fail("session watch: %s", error.text);
	if (client_status(client) != 200)
		return cli_fail("session watch: the daemon answered with status %d", client_status(client));
	watched_fd = client_fd(client);
	signal(SIGINT, interrupt);
	signal(SIGTERM, interrupt);
	while (client_read_line(client, &text, &error) == 0 && text) {
		if (strstr(text, "\"started\"") == text + 1)
			continue;
		event_print(cli, text);
		if (++shown == cli->count)
			break;
	}
	return EXIT_SUCCESS;
}

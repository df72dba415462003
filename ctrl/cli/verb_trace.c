/* SPDX-License-Identifier: Apache-2.0 */
/* trace */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ctrl/api/trace_filter.h"
#include "ctrl/cli/cli.h"
#include "ctrl/cli/client.h"
#include "ctrl/cli/pcapng.h"

#define FRAME_BYTES_MAX 65535
#define SNAPLEN_WHOLE 65535    /* for captures */
#define SNAPLEN_LINE 256       /* enough for a line */
#define RATE_INTERESTING 100   /* packets a second and processor, unless --rate says otherwise */

/* Ends the stream, and so the reading, wherever that is: what was written is complete. */
static volatile sig_atomic_t interrupted;
static volatile sig_atomic_t stream_fd = -1;

static void interrupt(int signal)
{
	int code = errno;

	(void)signal;
	interrupted = 1;
	if (stream_fd >= 0)
		shutdown(stream_fd, SHUT_RDWR);
	errno = code;
}

static void time_print(FILE *file, uint64_t time_ns)
{
	time_t seconds = (time_t)(time_ns / 1000000000);
	char text[16];
	struct tm local;

	strftime(text, sizeof(text), "%H:%M:%S", localtime_r(&seconds, &local));
	fprintf(file, "%s.%06" PRIu64, text, time_ns / 1000 % 1000000);
}

static void side_print(FILE *file, const json_t *packet, const char *address_key, const char *port_key)
{
	const char *address = json_text(packet, address_key);
	const json_t *port = json_object_get(packet, port_key);

	if (!port)
		fputs(address, file);
	else
		fprintf(file, strchr(address, ':') ? "[%s]:%d" : "%s:%d", address, (int)json_integer_value(port));
}

static void decision_print(FILE *file, const json_t *packet)
{
	const char *reason = json_text(packet, "reason"), *backend = json_text(packet, "backend");
	const char *service = json_text(packet, "service"), *function = json_text(packet, "function");

	fprintf(file, "%s", json_text(packet, "verdict"));
	if (*reason)
		fprintf(file, " %s", reason);
	fprintf(file, " (%s)", function);
	if (*service)
		fprintf(file, " service %s", service);
	if (*backend)
		fprintf(file, " backend %s", backend);
	if (json_object_get(packet, "newFlow"))
		fprintf(file, " new flow");
}

/* 12:00:00.000000 eth0 udp 10.0.0.1:5000 > 192.0.2.10:7000 length 142: redirect (lb) service default/web backend … */
static void line_print(const json_t *packet)
{
	time_print(stdout, (uint64_t)json_number(packet, "timeNs"));
	printf(" %s %s ", json_text(packet, "interface"), json_text(packet, "protocol"));
	if (json_object_get(packet, "source")) {
		side_print(stdout, packet, "source", "sourcePort");
		printf(" > ");
		side_print(stdout, packet, "destination", "destinationPort");
		putchar(' ');
	}
	printf("length %" PRId64 ": ", json_number(packet, "length"));
	decision_print(stdout, packet);
	if (*json_text(packet, "sentence"))
		printf(": %s", json_text(packet, "sentence"));
	putchar('\n');
	fflush(stdout);
}

static char *comment_make(const json_t *packet)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	if (!file)
		abort();
	decision_print(file, packet);
	if (*json_text(packet, "sentence"))
		fprintf(file, ": %s", json_text(packet, "sentence"));
	fclose(file);
	return text;
}

static int capture_add(struct pcapng *pcapng, const json_t *packet, struct error *error)
{
	_cleanup_(freep) char *comment = comment_make(packet);
	uint8_t bytes[FRAME_BYTES_MAX];
	struct pcapng_packet record = {
		.interface = json_text(packet, "interface"),
		.time_ns = (uint64_t)json_number(packet, "timeNs"),
		.bytes = bytes,
		.length = (size_t)json_number(packet, "length"),
		.comment = comment,
	};

	if (hex_parse(json_text(packet, "bytes"), bytes, sizeof(bytes), &record.captured) < 0)
		return error_set(error, EPROTO, "the daemon sent a packet that is not hexadecimal");
	return pcapng_write(pcapng, &record, error);
}

/* What is said between packets; on standard output only for a reader of JSON, who sees each line. */
static void said_print(const struct cli *cli, const json_t *said, const char *line)
{
	if (json_object_get(said, "lost"))
		cli_fail("trace: %" PRId64 " packets were lost: more came than were read", json_number(said, "lost"));
	if (!json_object_get(said, "notShown"))
		return;
	if (cli->output == OUTPUT_JSON)
		puts(line);
	else
		fprintf(stderr, "(%" PRId64 " more not shown)\n", json_number(said, "notShown"));
	fflush(stdout);
}

static int packets_follow(const struct cli *cli, struct client *client, struct pcapng *pcapng, struct error *error)
{
	uint64_t count = 0;
	char *line;
	int status = 0;

	while (!interrupted && (status = client_read_line(client, &line, error)) == 0 && line) {
		json_t *packet = json_loads(line, 0, NULL);

		said_print(cli, packet, line);
		if (json_object_get(packet, "verdict")) {
			count++;
			if (pcapng)
				status = capture_add(pcapng, packet, error);
			else if (cli->output == OUTPUT_JSON)
				puts(line);
			else
				line_print(packet);
			fflush(stdout);
		}
		json_decref(packet);
		if (status < 0 || ferror(stdout))
			break;
	}
	if (pcapng)
		fprintf(stderr, "%" PRIu64 " packet%s written to %s\n", count, count == 1 ? "" : "s",
			strcmp(cli->write_file, "-") == 0 ? "standard output" : cli->write_file);
	return interrupted ? 0 : status;
}

static int trace_run(const struct cli *cli, const char *path, FILE *file)
{
	const struct client_request request = {.method = "GET", .path = path};
	_cleanup_(client_freep) struct client *client = NULL;
	struct pcapng *pcapng = NULL;
	struct error error = {0};
	int status = client_open(cli->socket, &request, &client, &error);

	if (status == 0)
		stream_fd = client_fd(client);
	if (status == 0 && client_status(client) != 200) {
		_cleanup_(freep) char *body = NULL;
		json_t *json;
		size_t length;

		if (client_read_all(client, &body, &length, NULL) < 0)
			return cli_fail("trace: the daemon answered with status %d", client_status(client));
		json = json_loads(body, 0, NULL);
		cli_fail("trace: %s", json_text(json, "message"));
		json_decref(json);
		return EXIT_FAILURE;
	}
	if (status == 0 && file)
		status = pcapng_new(file, &pcapng, &error);
	if (status == 0)
		status = packets_follow(cli, client, pcapng, &error);
	stream_fd = -1;
	pcapng_free(pcapng);
	return status < 0 ? cli_fail("trace: %s", error.text) : EXIT_SUCCESS;
}

/* NULL after a message. A stream that somebody else reads while it is written must be written packet by packet. */
static FILE *capture_open(const struct cli *cli)
{
	FILE *file;

	if (strcmp(cli->write_file, "-") == 0) {
		if (isatty(STDOUT_FILENO)) {
			cli_fail("trace: -w -: standard output is a terminal; send it to a program: … -w - | wireshark -k -i -");
			return NULL;
		}
		file = fdopen(dup(STDOUT_FILENO), "w");
	} else {
		file = fopen(cli->write_file, "we");
	}
	if (!file)
		cli_fail("trace: open %s: %s", cli->write_file, strerror(errno));
	return file;
}

/* The path with the question; to be freed by the caller. */
static char *path_make(const struct cli *cli)
{
	_cleanup_(freep) char *expression = NULL, *filter = NULL;
	uint64_t snaplen = cli->snaplen ? cli->snaplen : cli->write_file ? SNAPLEN_WHOLE : SNAPLEN_LINE;
	uint64_t rate = cli->rate ? cli->rate : cli->interesting ? RATE_INTERESTING : 0;
	char count[32] = "", limit[32] = "", *path = NULL;
	bool any = cli->filter && cli->filter[strspn(cli->filter, " \t\n")];

	if (asprintf(&expression, cli->interesting && any ? "interesting and (%s)" : "%s",
		     any ? cli->filter : cli->interesting ? "interesting" : "") < 0)
		abort();
	filter = cli_escape(expression);
	if (cli->count)
		snprintf(count, sizeof(count), "&count=%" PRIu64, cli->count);
	if (rate)
		snprintf(limit, sizeof(limit), "&rate=%" PRIu64, rate);
	if (asprintf(&path, "/selvage/v1/trace?filter=%s&snaplen=%" PRIu64 "%s%s", filter, snaplen, count, limit) < 0)
		abort();
	return path;
}

int verb_trace(const struct cli *cli, int argument_count, char **arguments)
{
	const struct sigaction action = {.sa_handler = interrupt};
	_cleanup_(freep) char *path = NULL;
	_cleanup_(fclosep) FILE *file = NULL;
	struct trace_filter *parsed;
	struct error error = {0};

	if (argument_count)
		return cli_misuse("trace: \"%s\" is not expected; packets are chosen by --filter", arguments[0]);
	if (cli->write_file && cli->output == OUTPUT_JSON)
		return cli_misuse("trace: -w writes a capture and -o json writes lines; take one of them");
	if (trace_filter_parse(cli->filter, &parsed, &error) < 0)
		return cli_misuse("%s", error.text);
	trace_filter_free(parsed);
	if (cli->write_file && !(file = capture_open(cli)))
		return EXIT_FAILURE;
	path = path_make(cli);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	return trace_run(cli, path, file);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* selvage-replay: a capture through the packet program, without a network. */
#include <getopt.h>
#include <string.h>

#include "base/lib/number.h"
#include "ctrl/replay/engine_open.h"
#include "ctrl/replay/replay.h"
#include "ctrl/replay/secret_file.h"

#define PROGRAM "selvage-replay"
#define MANIFESTS_MAX 256
#define REPEAT_MAX 1000000

static const char usage_text[] =
	"usage: " PROGRAM " --engine native|xdp|dpdk --manifest FILE... --node NAME --in IN.pcap\n"
	"                      [--interface IF] [--out OUT.pcap] [--repeat N] [--json] [--results]\n"
	"                      [--ufrag-secrets FILE]\n"
	"\n"
	"Runs each packet of IN through the packet program of node NAME, as the manifests configure it, without a network.\n"
	"\n"
	"  --engine ENGINE    native (no privileges needed), xdp (the program in the kernel) or dpdk\n"
	"  --manifest FILE    a manifest or a directory of them; may be repeated, or followed by more files\n"
	"  --node NAME        the Node manifest (selvage.io/v1alpha1) that describes interfaces, neighbours and routes\n"
	"  --in FILE          the capture, pcap or pcapng of Ethernet frames; - is standard input\n"
	"  --interface IF     where the packets come in; the node's first interface when not given\n"
	"  --out FILE         a pcap of the packets that leave, in order, with the times that they came in at\n"
	"  --repeat N         time the fastest of N runs of each packet; 1 when not given, 0 measures nothing\n"
	"  --json             report as JSON\n"
	"  --results          report each packet too\n"
	"  --ufrag-secrets FILE\n"
	"                     secrets of encoded user fragments, as a node has them, so that its calls find their agents\n"
	"  --help, --version\n";

struct options {
	const char *engine, *node, *input, *output, *interface, *secrets;
	const char *manifests[MANIFESTS_MAX];
	size_t manifest_count;
	uint32_t repeat;
	bool json, results;
};

static int wrong(const char *format, const char *value)
{
	fprintf(stderr, PROGRAM ": reading the command line: ");
	fprintf(stderr, format, value);
	fprintf(stderr, "; see " PROGRAM " --help\n");
	return 2;
}

static int manifest_push(struct options *options, const char *path)
{
	if (options->manifest_count == MANIFESTS_MAX)
		return wrong("too many manifests at %s: name their directory instead", path);
	options->manifests[options->manifest_count++] = path;
	return 0;
}

static int repeat_read(const char *text, uint32_t *ret_repeat)
{
	if (!number_read(text, 0, REPEAT_MAX, ret_repeat))
		return wrong("--repeat wants a number from 0 to 1000000, not \"%s\"", text);
	return 0;
}

enum option_code { OPTION_ENGINE = 256, OPTION_MANIFEST, OPTION_NODE, OPTION_IN, OPTION_OUT, OPTION_INTERFACE, OPTION_REPEAT,
		   OPTION_JSON, OPTION_RESULTS, OPTION_SECRETS, OPTION_HELP, OPTION_VERSION };

static const struct option long_options[] = {
	{"engine", required_argument, NULL, OPTION_ENGINE},       {"manifest", required_argument, NULL, OPTION_MANIFEST},
	{"node", required_argument, NULL, OPTION_NODE},           {"in", required_argument, NULL, OPTION_IN},
	{"out", required_argument, NULL, OPTION_OUT},             {"interface", required_argument, NULL, OPTION_INTERFACE},
	{"repeat", required_argument, NULL, OPTION_REPEAT},       {"json", no_argument, NULL, OPTION_JSON},
	{"results", no_argument, NULL, OPTION_RESULTS},           {"help", no_argument, NULL, OPTION_HELP},
	{"version", no_argument, NULL, OPTION_VERSION},           {"ufrag-secrets", required_argument, NULL, OPTION_SECRETS},
	{NULL, 0, NULL, 0},
};

static int option_take(struct options *options, int code, const char *value)
{
	switch (code) {
	case OPTION_ENGINE:
		options->engine = value;
		return 0;
	case OPTION_MANIFEST:
		return manifest_push(options, value);
	case OPTION_NODE:
		options->node = value;
		return 0;
	case OPTION_IN:
		options->input = value;
		return 0;
	case OPTION_OUT:
		options->output = value;
		return 0;
	case OPTION_INTERFACE:
		options->interface = value;
		return 0;
	case OPTION_REPEAT:
		return repeat_read(value, &options->repeat);
	case OPTION_JSON:
		options->json = true;
		return 0;
	case OPTION_SECRETS:
		options->secrets = value;
		return 0;
	default:
		options->results = true;
		return 0;
	}
}

/* 0: go on; 1: done, successfully; 2: called wrongly. */
static int options_read(struct options *options, int argc, char **argv)
{
	int code, result;

	opterr = 0;
	while ((code = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		if (code == ':')
			return wrong("%s wants a value", argv[optind - 1]);
		if (code == '?')
			return wrong("there is no option %s", argv[optind - 1]);
		if (code == OPTION_HELP || code == OPTION_VERSION) {
			fputs(code == OPTION_HELP ? usage_text : PROGRAM " " SELVAGE_VERSION "\n", stdout);
			return 1;
		}
		result = option_take(options, code, optarg);
		if (result)
			return result;
	}
	for (; optind < argc; optind++) {
		if (options->manifest_count == 0)
			return wrong("\"%s\" belongs to no option", argv[optind]);
		result = manifest_push(options, argv[optind]);
		if (result)
			return result;
	}
	if (!options->engine)
		return wrong("%s is missing", "--engine");
	if (options->manifest_count == 0)
		return wrong("%s is missing", "--manifest");
	if (!options->node)
		return wrong("%s is missing", "--node");
	if (!options->input)
		return wrong("%s is missing", "--in");
	return 0;
}

static int failed(const char *attempt, const struct error *error)
{
	fprintf(stderr, PROGRAM ": %s: %s\n", attempt, error->text);
	return 1;
}

static void diagnostics_print(const struct diagnostics *diagnostics)
{
	for (size_t i = 0; i < diagnostics->count; i++) {
		_cleanup_(freep) char *line = diagnostic_format(&diagnostics->items[i]);

		fprintf(stderr, PROGRAM ": reading the manifests: %s\n", line);
	}
}

/* Loads the manifests; says on standard error what is wrong with them, and what works otherwise than they may expect. */
static struct site *site_open(const struct options *options)
{
	struct diagnostics diagnostics;
	struct error error = {0};
	struct site *site = NULL;
	const char *subject, *text;
	int result;

	diagnostics_init(&diagnostics);
	result = site_load(options->manifests, options->manifest_count, options->node, &site, &diagnostics, &error);
	diagnostics_print(&diagnostics);
	if (result < 0 && diagnostics.error_count == 0)
		failed("reading the manifests", &error);
	diagnostics_done(&diagnostics);
	if (result < 0)
		return NULL;
	for (size_t i = 0; i < site_alarm_count(site); i++) {
		site_alarm(site, i, &subject, &text);
		fprintf(stderr, PROGRAM ": warning: %s: %s\n", subject, text);
	}
	return site;
}

static int secrets_give(struct site *site, const char *path, struct error *error)
{
	struct rtc_ufrag_secret secrets[SITE_SECRETS];
	size_t count;
	int result = secret_file_read(path, secrets, SITE_SECRETS, &count, error);

	if (result == 0)
		site_set_secrets(site, secrets, count);
	return result;
}

static int report(struct replay *replay, const struct options *options, const char *results)
{
	if (options->json)
		replay_report_json(replay, results, stdout);
	else
		replay_report_text(replay, stdout);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, PROGRAM ": writing the report: %s\n", strerror(errno));
		return 1;
	}
	return 0;
}

static int packets_run(struct replay *replay, const struct options *options)
{
	_cleanup_(capture_closep) struct capture_reader *input = NULL;
	_cleanup_(freep) char *results = NULL;
	size_t results_size = 0;
	struct error error = {0};
	int result;

	if (capture_open(options->input, &input, &error) < 0)
		return failed("reading the capture", &error);
	if (options->output && capture_create(options->output, capture_is_fine(input), &replay->output, &error) < 0)
		return failed("writing the output", &error);
	if (options->results) {
		replay->results_as_text = !options->json;
		replay->results = options->json ? open_memstream(&results, &results_size) : stdout;
	}
	result = options->results && !replay->results ? error_set(&error, ENOMEM, "no memory") :
							 replay_run(replay, input, &error);
	if (replay->results && replay->results != stdout)
		fclose(replay->results);
	if (result < 0) {
		capture_discard(replay->output);
		return failed("replaying", &error);
	}
	if (replay->output && capture_commit(replay->output, &error) < 0)
		return failed("writing the output", &error);
	return report(replay, options, results);
}

int main(int argc, char **argv)
{
	_cleanup_(engine_freep) struct engine *engine = NULL;
	_cleanup_(site_freep) struct site *site = NULL; /* freed before its engine */
	struct options options = {.repeat = 1};
	struct error error = {0};
	struct replay replay;
	int result = options_read(&options, argc, argv);

	if (result)
		return result == 1 ? 0 : result;
	result = engine_open(options.engine, &engine, &error);
	if (result == -EINVAL)
		return wrong("%s", error.text);
	if (result < 0)
		return failed("opening the engine", &error);
	site = site_open(&options);
	if (!site)
		return 1;
	replay = (struct replay){
		.engine = engine, .site = site, .ifindex = site_ingress(site, options.interface), .repeat = options.repeat};
	if (replay.ifindex == 0) {
		fprintf(stderr, PROGRAM ": choosing the interface: node %s has no interface %s\n", options.node,
			options.interface);
		return 1;
	}
	if (options.secrets && secrets_give(site, options.secrets, &error) < 0)
		return failed("reading the secrets", &error);
	if (site_program(site, engine, &error) < 0)
		return failed("writing the tables", &error);
	result = packets_run(&replay, &options);
	histogram_done(&replay.latencies_ns);
	return result;
}

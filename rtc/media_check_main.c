/* SPDX-License-Identifier: Apache-2.0 */
/* selvage-media-check(1): whole calls, many at once, and what became of them. */
#include <event2/event.h>
#include <event2/http.h>
#include <getopt.h>
#include <jansson.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/lib/address_text.h"
#include "base/lib/number.h"
#include "rtc/media_call.h"
#include "rtc/media_loop.h"
#include "rtc/media_options.h"
#include "rtc/media_samples.h"
#include "rtc/media_stamp.h"
#include "rtc/media_whip.h"

#define PROGRAM "selvage-media-check"
#define CALLS_MAX 10000
#define DRAIN_US 500000u /* for what is still under way when a call stops sending */
#define GOODBYE_US 3000000u
#define REASONS_MAX 10

struct options {
	const char *url;
	struct media_endpoint whip, media;
	char host[MEDIA_WHIP_HOST_SIZE];
	char path[MEDIA_WHIP_PATH_SIZE];
	char token[512];
	unsigned int calls, seconds, ramp_ms, timeout_ms;
	unsigned int restart_ms, rebind_ms; /* 0: never */
	long loss_max, gap_max_ms;          /* -1: any */
	enum media_profile only;
	bool json, verbose;
};

enum phase { PHASE_WAITING, PHASE_CALLING, PHASE_TALKING, PHASE_DRAINING, PHASE_LEAVING, PHASE_OVER };

struct check;

struct one_call {
	struct check *check;
	struct media_call *call;
	struct media_timer timer;
	enum phase phase;
	uint64_t talking_us;
	bool restarted, rebound;
	bool failed;
	char reason[320];
	struct media_call_result result;
};

struct check {
	struct options options;
	struct event_base *base;
	struct media_identity *identity;
	uint64_t clock;
	struct one_call *calls;
	unsigned int over;
	uint64_t started_us, ended_us;
	struct media_samples round_trip, there, back;
};

/* --- one call --------------------------------------------------------------------------------------------------------------- */

static void call_leave(struct one_call *one, uint64_t now_us)
{
	one->phase = PHASE_LEAVING;
	one->result = media_call_result(one->call);
	media_timer_set(&one->timer, now_us + GOODBYE_US);
	media_call_hang_up(one->call);
}

static void call_fail(struct one_call *one, const char *why)
{
	if (one->failed)
		return;
	one->failed = true;
	snprintf(one->reason, sizeof(one->reason), "%s", why);
	if (one->check->options.verbose)
		fprintf(stderr, "%s: call %u: %s\n", PROGRAM, (unsigned int)(one - one->check->calls), why);
	/* From here on by the timer, outside of the call's own functions. */
	if (one->phase < PHASE_LEAVING)
		media_timer_set(&one->timer, 0);
}

static void call_over(struct one_call *one)
{
	one->phase = PHASE_OVER;
	media_call_free(steal(one->call));
	if (++one->check->over == one->check->options.calls)
		event_base_loopbreak(one->check->base);
}

static void on_frame(void *context, uint32_t round_trip_us, bool one_way, uint32_t there_us, uint32_t back_us)
{
	struct check *check = ((struct one_call *)context)->check;

	media_samples_add(&check->round_trip, round_trip_us);
	if (one_way) {
		media_samples_add(&check->there, there_us);
		media_samples_add(&check->back, back_us);
	}
}

static uint64_t talking_next(const struct one_call *one)
{
	const struct options *options = &one->check->options;
	uint64_t next_us = one->talking_us + options->seconds * 1000000ull;

	if (options->restart_ms && !one->restarted && one->talking_us + options->restart_ms * 1000ull < next_us)
		next_us = one->talking_us + options->restart_ms * 1000ull;
	if (options->rebind_ms && !one->rebound && one->talking_us + options->rebind_ms * 1000ull < next_us)
		next_us = one->talking_us + options->rebind_ms * 1000ull;
	return next_us;
}

static void on_state(void *context, enum media_state state, const char *why)
{
	struct one_call *one = context;

	if (state == MEDIA_CONNECTED) {
		one->phase = PHASE_TALKING;
		one->talking_us = media_now_us();
		media_timer_set(&one->timer, talking_next(one));
	} else if (state == MEDIA_FAILED || state == MEDIA_CLOSED) {
		call_fail(one, why);
	}
}

static void on_ended(void *context)
{
	struct one_call *one = context;

	/* Freed by the timer: not from within. */
	one->phase = PHASE_LEAVING;
	media_timer_set(&one->timer, 0);
}

static void call_begin(struct one_call *one, uint64_t now_us)
{
	const struct options *options = &one->check->options;
	struct media_call_config config = {
		.base = one->check->base,
		.identity = one->check->identity,
		.whip = options->whip,
		.whip_host = options->host,
		.whip_path = options->path,
		.whip_token = options->token[0] ? options->token : NULL,
		.media = options->media,
		.only = options->only,
		.timeout_ms = options->timeout_ms,
		.clock = one->check->clock,
		.frame = on_frame,
		.state = on_state,
		.ended = on_ended,
		.context = one,
	};
	struct error error = {0};

	one->phase = PHASE_CALLING;
	media_timer_set(&one->timer, now_us + options->timeout_ms * 1000ull);
	if (media_call_new(&config, &one->call, &error) < 0) {
		one->failed = true;
		snprintf(one->reason, sizeof(one->reason), "%.300s", error.text);
		call_over(one);
	}
}

static void call_change(struct one_call *one, uint64_t now_us)
{
	const struct options *options = &one->check->options;
	struct error error = {0};
	int result = 0;

	if (options->restart_ms && !one->restarted && now_us >= one->talking_us + options->restart_ms * 1000ull) {
		one->restarted = true;
		result = media_call_restart_ice(one->call, &error);
	} else if (options->rebind_ms && !one->rebound && now_us >= one->talking_us + options->rebind_ms * 1000ull) {
		one->rebound = true;
		result = media_call_rebind(one->call, &error);
	}
	if (result < 0)
		call_fail(one, error.text);
	else
		media_timer_set(&one->timer, talking_next(one));
}

static void on_timer(void *context)
{
	struct one_call *one = context;
	uint64_t now_us = media_now_us();

	if (one->phase == PHASE_WAITING) {
		call_begin(one, now_us);
	} else if (one->phase == PHASE_LEAVING) {
		call_over(one);
	} else if (one->failed) {
		call_leave(one, now_us);
	} else if (one->phase == PHASE_CALLING) {
		call_fail(one, "not connected in time");
		call_leave(one, now_us);
	} else if (one->phase == PHASE_TALKING && now_us < one->talking_us + one->check->options.seconds * 1000000ull) {
		call_change(one, now_us);
	} else if (one->phase == PHASE_TALKING) {
		one->phase = PHASE_DRAINING;
		media_call_stop_sending(one->call);
		media_timer_set(&one->timer, now_us + DRAIN_US);
	} else {
		call_leave(one, now_us);
	}
}

/* --- the report ------------------------------------------------------------------------------------------------------------- */

struct report {
	unsigned int connected, failed;
	uint64_t sent, returned, lost_there, unsent, reordered, refused;
	struct media_samples connect, first, whip, gap, jitter;
	unsigned int silent; /* connected, but nothing came back */
	unsigned int profiles[2];
};

static void report_add(struct report *report, const struct one_call *one)
{
	const struct media_call_result *result = &one->result;

	report->failed += one->failed;
	if (!result->connect_us)
		return;
	report->connected++;
	report->silent += result->returned == 0;
	report->sent += result->sent;
	report->returned += result->returned;
	report->lost_there += result->peer.remote_lost;
	report->unsent += result->unsent;
	report->reordered += result->peer.reordered;
	report->refused += result->peer.refused;
	report->profiles[result->peer.profile == MEDIA_PROFILE_AEAD_AES_128_GCM ? 0 : 1]++;
	media_samples_add(&report->connect, result->connect_us);
	media_samples_add(&report->whip, result->whip_us);
	if (result->returned) {
		media_samples_add(&report->first, result->first_us);
		media_samples_add(&report->gap, (uint32_t)result->longest_gap_us);
		media_samples_add(&report->jitter, (uint32_t)(result->peer.jitter_ms * 1000));
	}
}

static void report_done(struct report *report)
{
	media_samples_done(&report->connect);
	media_samples_done(&report->first);
	media_samples_done(&report->whip);
	media_samples_done(&report->gap);
	media_samples_done(&report->jitter);
}

static double loss_percent(const struct report *report)
{
	return report->sent ? 100.0 * (double)(report->sent - report->returned) / (double)report->sent : 0;
}

static json_t *samples_json(struct media_samples *samples)
{
	if (samples->count == 0)
		return json_null();
	return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f}", "count", (json_int_t)samples->count, "minMs", samples->minimum / 1000.0,
			 "p50Ms", media_samples_quantile(samples, 500) / 1000.0, "p99Ms", media_samples_quantile(samples, 990) / 1000.0,
			 "p999Ms", media_samples_quantile(samples, 999) / 1000.0, "maxMs", samples->maximum / 1000.0);
}

static json_t *failures_json(const struct check *check)
{
	json_t *failures = json_array();

	for (unsigned int i = 0; i < check->options.calls && json_array_size(failures) < REASONS_MAX; i++)
		if (check->calls[i].failed)
			json_array_append_new(failures, json_pack("{s:i, s:s}", "call", (int)i, "reason", check->calls[i].reason));
	return failures;
}

static void report_json(struct check *check, struct report *report)
{
	json_t *json = json_pack("{s:s, s:i, s:i, s:i, s:i, s:f, s:I, s:I, s:f, s:I, s:I, s:I, s:I}", "url", check->options.url, "calls",
				 (int)check->options.calls, "connected", (int)report->connected, "failed", (int)report->failed, "silent",
				 (int)report->silent, "seconds", (double)(check->ended_us - check->started_us) / 1e6, "sent",
				 (json_int_t)report->sent, "returned", (json_int_t)report->returned, "lossPercent", loss_percent(report),
				 "lostThere", (json_int_t)report->lost_there, "unsent", (json_int_t)report->unsent, "reordered",
				 (json_int_t)report->reordered, "refused", (json_int_t)report->refused);

	json_object_set_new(json, "gcm", json_integer(report->profiles[0]));
	json_object_set_new(json, "whip", samples_json(&report->whip));
	json_object_set_new(json, "connect", samples_json(&report->connect));
	json_object_set_new(json, "firstFrame", samples_json(&report->first));
	json_object_set_new(json, "roundTrip", samples_json(&check->round_trip));
	json_object_set_new(json, "there", samples_json(&check->there));
	json_object_set_new(json, "back", samples_json(&check->back));
	json_object_set_new(json, "jitter", samples_json(&report->jitter));
	json_object_set_new(json, "longestGap", samples_json(&report->gap));
	json_object_set_new(json, "failures", failures_json(check));
	json_dumpf(json, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
	putchar('\n');
	json_decref(json);
}

static void samples_print(const char *name, struct media_samples *samples)
{
	if (samples->count)
		printf("  %-12s %9.2f %9.2f %9.2f %9.2f ms\n", name, samples->minimum / 1000.0,
		       media_samples_quantile(samples, 500) / 1000.0, media_samples_quantile(samples, 990) / 1000.0,
		       samples->maximum / 1000.0);
}

static void report_text(struct check *check, struct report *report)
{
	printf("%u calls to %s: %u connected, %u failed", check->options.calls, check->options.url, report->connected, report->failed);
	printf(report->silent ? ", %u silent\n" : "\n", report->silent);
	printf("  %-12s %9s %9s %9s %9s\n", "", "min", "p50", "p99", "max");
	samples_print("connect", &report->connect);
	samples_print("first frame", &report->first);
	samples_print("round trip", &check->round_trip);
	samples_print("there", &check->there);
	samples_print("back", &check->back);
	samples_print("jitter", &report->jitter);
	samples_print("longest gap", &report->gap);
	printf("  %llu frames sent, %llu came back: %.3f %% lost, %llu of them on the way there\n", (unsigned long long)report->sent,
	       (unsigned long long)report->returned, loss_percent(report), (unsigned long long)report->lost_there);
	for (unsigned int i = 0, shown = 0; i < check->options.calls && shown < REASONS_MAX; i++) {
		if (!check->calls[i].failed)
			continue;
		printf("  call %u: %s\n", i, check->calls[i].reason);
		shown++;
	}
}

/* Whether all is as it was wanted. */
static bool report_good(const struct check *check, const struct report *report)
{
	const struct options *options = &check->options;

	return report->failed == 0 && report->silent == 0 && report->connected == options->calls &&
	       (options->loss_max < 0 || loss_percent(report) <= (double)options->loss_max) &&
	       (options->gap_max_ms < 0 || report->gap.maximum <= (uint64_t)options->gap_max_ms * 1000);
}

/* --- all calls -------------------------------------------------------------------------------------------------------------- */

static void on_signal(evutil_socket_t number, short events, void *context)
{
	struct check *check = context;

	for (unsigned int i = 0; i < check->options.calls; i++) {
		struct one_call *one = &check->calls[i];

		if (one->phase == PHASE_WAITING) {
			media_timer_set(&one->timer, UINT64_MAX);
			one->failed = true;
			snprintf(one->reason, sizeof(one->reason), "interrupted");
			call_over(one);
		} else {
			call_fail(one, "interrupted");
		}
	}
}

/* Two descriptors a call, and some more. */
static void descriptors_raise(unsigned int calls)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= calls * 2 + 64)
		return;
	limit.rlim_cur = calls * 2 + 64 < limit.rlim_max ? calls * 2 + 64 : limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int calls_run(struct check *check, struct error *error)
{
	struct event *interrupted = evsignal_new(check->base, SIGINT, on_signal, check);
	struct event *terminated = evsignal_new(check->base, SIGTERM, on_signal, check);

	if (!interrupted || !terminated)
		return error_set(error, ENOMEM, "no memory");
	evsignal_add(interrupted, NULL);
	evsignal_add(terminated, NULL);
	check->started_us = media_now_us();
	for (unsigned int i = 0; i < check->options.calls; i++) {
		struct one_call *one = &check->calls[i];

		one->check = check;
		if (media_timer_init(&one->timer, check->base, on_timer, one) < 0)
			return error_set(error, ENOMEM, "no memory");
		media_timer_set(&one->timer, check->started_us + (uint64_t)i * check->options.ramp_ms * 1000);
	}
	event_base_dispatch(check->base);
	check->ended_us = media_now_us();
	for (unsigned int i = 0; i < check->options.calls; i++)
		media_timer_done(&check->calls[i].timer);
	event_free(interrupted);
	event_free(terminated);
	return 0;
}

static int check_run(struct check *check, bool *ret_good, struct error *error)
{
	struct report report = {0};
	int result;

	descriptors_raise(check->options.calls);
	check->clock = media_stamp_clock();
	check->base = event_base_new();
	check->calls = calloc(check->options.calls, sizeof(*check->calls));
	if (!check->base || !check->calls)
		return error_set(error, ENOMEM, "no memory");
	result = media_identity_new(&check->identity, error);
	if (result == 0)
		result = calls_run(check, error);
	if (result < 0)
		return result;
	for (unsigned int i = 0; i < check->options.calls; i++)
		report_add(&report, &check->calls[i]);
	if (check->options.json)
		report_json(check, &report);
	else
		report_text(check, &report);
	*ret_good = report_good(check, &report);
	report_done(&report);
	return 0;
}

static void check_done(struct check *check)
{
	media_samples_done(&check->round_trip);
	media_samples_done(&check->there);
	media_samples_done(&check->back);
	media_identity_free(check->identity);
	free(check->calls);
	if (check->base)
		event_base_free(check->base);
}

/* --- options ---------------------------------------------------------------------------------------------------------------- */

static void usage(FILE *out)
{
	fputs("usage: " PROGRAM " [OPTION]... http://HOST[:PORT]/PATH\n"
	      "Makes whole calls by WHIP to an agent that sends audio back, and reports how they went.\n\n"
	      "  -c, --calls N           so many at once (1)\n"
	      "  -t, --seconds N         each talks so long (5)\n"
	      "      --ramp MS           from the start of one call to that of the next (0)\n"
	      "      --timeout MS        until a call must be connected (10000)\n"
	      "      --media IP:PORT     where media go, whatever the answer says\n"
	      "      --profile NAME      gcm or sha1 (what the agent prefers)\n"
	      "      --restart-ice MS    restart ICE so long after the beginning\n"
	      "      --rebind MS         go on from another port so long after the beginning\n"
	      "      --max-loss PERCENT  more is a failure\n"
	      "      --max-gap MS        longer without received media is a failure\n"
	      "      --token-file FILE   bearer token for WHIP\n"
	      "  -o, --output FORMAT     text or json\n"
	      "  -v, --verbose           tell of each failed call at once\n"
	      "  -h, --help\n"
	      "      --version\n", out);
}

static bool token_read(const char *path, struct options *options)
{
	_cleanup_(fclosep) FILE *file = fopen(path, "re");

	if (!file || !fgets(options->token, sizeof(options->token), file))
		return false;
	options->token[strcspn(options->token, "\r\n")] = '\0';
	return true;
}

/* A name is looked up once, before anything is measured. */
static bool host_resolve(const char *host, int port, struct media_endpoint *ret_endpoint)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
	struct address address;
	char text[ADDRESS_TEXT_SIZE];
	bool good;

	if (getaddrinfo(host, NULL, &hints, &found) != 0)
		return false;
	good = getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) == 0 &&
	       address_parse(text, &address) == 0;
	freeaddrinfo(found);
	if (good)
		*ret_endpoint = (struct media_endpoint){.address = address, .port = (uint16_t)port};
	return good;
}

static int url_read(const char *url, struct options *options)
{
	struct evhttp_uri *uri = evhttp_uri_parse(url);
	const char *scheme = uri ? evhttp_uri_get_scheme(uri) : NULL, *host = uri ? evhttp_uri_get_host(uri) : NULL;
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
	int port = uri ? evhttp_uri_get_port(uri) : -1, result = 0;
	char name[256];
	size_t length;

	options->url = url;
	if (!scheme || strcmp(scheme, "http") != 0 || !host || !*host || !path)
		result = option_wrong("not a URL of HTTP", url);
	if (result == 0) {
		/* [2001:db8::1] */
		snprintf(name, sizeof(name), "%s", host[0] == '[' ? host + 1 : host);
		length = strlen(name);
		if (length && name[length - 1] == ']')
			name[length - 1] = '\0';
		snprintf(options->host, sizeof(options->host), port > 0 ? "%.200s:%d" : "%.200s", host, port);
		snprintf(options->path, sizeof(options->path), "%s", *path ? path : "/whip");
		if (!host_resolve(name, port > 0 ? port : 80, &options->whip))
			result = option_failed("there is no such host", name);
	}
	if (uri)
		evhttp_uri_free(uri);
	return result;
}

enum { OPTION_RAMP = 256, OPTION_TIMEOUT, OPTION_MEDIA, OPTION_PROFILE, OPTION_RESTART, OPTION_REBIND, OPTION_LOSS, OPTION_GAP,
       OPTION_TOKEN, OPTION_VERSION };

/* 0: taken, 2: wrong, 1: failed, -1: done. */
static int option_take(int option, struct options *options)
{
	unsigned int number = 0;

	switch (option) {
	case 'c':
		return number_read(optarg, 1, CALLS_MAX, &options->calls) ? 0 : option_wrong("calls are 1 to 10000, not", optarg);
	case 't':
		return number_read(optarg, 1, 86400, &options->seconds) ? 0 : option_wrong("seconds are 1 to 86400, not", optarg);
	case OPTION_RAMP:
		return number_read(optarg, 0, 60000, &options->ramp_ms) ? 0 : option_wrong("not milliseconds up to 60000", optarg);
	case OPTION_TIMEOUT:
		return number_read(optarg, 1, 600000, &options->timeout_ms) ? 0 : option_wrong("not milliseconds up to 600000", optarg);
	case OPTION_RESTART:
		return number_read(optarg, 1, 86400000, &options->restart_ms) ? 0 : option_wrong("not milliseconds", optarg);
	case OPTION_REBIND:
		return number_read(optarg, 1, 86400000, &options->rebind_ms) ? 0 : option_wrong("not milliseconds", optarg);
	case OPTION_MEDIA:
		return option_endpoint(optarg, &options->media);
	case OPTION_PROFILE:
		return option_profile(optarg, &options->only);
	case OPTION_LOSS:
		if (!number_read(optarg, 0, 100, &number))
			return option_wrong("not a percentage", optarg);
		options->loss_max = number;
		return 0;
	case OPTION_GAP:
		if (!number_read(optarg, 0, 86400000, &number))
			return option_wrong("not milliseconds", optarg);
		options->gap_max_ms = number;
		return 0;
	case OPTION_TOKEN:
		return token_read(optarg, options) ? 0 : option_failed("no token in", optarg);
	case 'o':
		if (strcmp(optarg, "json") != 0 && strcmp(optarg, "text") != 0)
			return option_wrong("formats are text and json, not", optarg);
		options->json = optarg[0] == 'j';
		return 0;
	case 'v':
		options->verbose = true;
		return 0;
	case 'h':
		usage(stdout);
		return -1;
	case OPTION_VERSION:
		printf(PROGRAM " %s\n", SELVAGE_VERSION);
		return -1;
	default:
		return option_unknown();
	}
}

static int options_read(int argc, char **argv, struct options *options)
{
	static const struct option list[] = {
		{"calls", required_argument, NULL, 'c'},
		{"seconds", required_argument, NULL, 't'},
		{"ramp", required_argument, NULL, OPTION_RAMP},
		{"timeout", required_argument, NULL, OPTION_TIMEOUT},
		{"media", required_argument, NULL, OPTION_MEDIA},
		{"profile", required_argument, NULL, OPTION_PROFILE},
		{"restart-ice", required_argument, NULL, OPTION_RESTART},
		{"rebind", required_argument, NULL, OPTION_REBIND},
		{"max-loss", required_argument, NULL, OPTION_LOSS},
		{"max-gap", required_argument, NULL, OPTION_GAP},
		{"token-file", required_argument, NULL, OPTION_TOKEN},
		{"output", required_argument, NULL, 'o'},
		{"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, OPTION_VERSION},
		{0},
	};
	int option, result;

	argv[0] = PROGRAM; /* what getopt calls us in its errors, whatever the path */
	while ((option = getopt_long(argc, argv, "c:t:o:vh", list, NULL)) >= 0) {
		result = option_take(option, options);
		if (result)
			return result;
	}
	if (optind + 1 != argc)
		return option_wrong("wanted is one URL", optind < argc ? argv[optind + 1] : "there is none");
	return url_read(argv[optind], options);
}

int main(int argc, char **argv)
{
	struct check check = {
		.options = {.calls = 1, .seconds = 5, .timeout_ms = 10000, .loss_max = -1, .gap_max_ms = -1}};
	struct error error = {0};
	bool good = false;
	int result = options_read(argc, argv, &check.options);

	if (result)
		return result < 0 ? 0 : result;
	signal(SIGPIPE, SIG_IGN);
	result = check_run(&check, &good, &error);
	if (result < 0)
		fprintf(stderr, PROGRAM ": %s\n", error.text);
	check_done(&check);
	return result == 0 && good ? 0 : 1;
}

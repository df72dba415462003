/* SPDX-License-Identifier: Apache-2.0 */
/* selvage-echo(8): options and signals around the agent. */
#include <event2/event.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/lib/address_text.h"
#include "base/lib/log.h"
#include "base/lib/number.h"
#include "rtc/echo.h"
#include "rtc/media_options.h"

#define PROGRAM "selvage-echo"

static void usage(FILE *out)
{
	fputs("usage: " PROGRAM " [OPTION]...\n"
	      "Takes calls by WHIP and sends their audio back.\n\n"
	      "      --http IP:PORT        where WHIP is spoken, at /whip (127.0.0.1:8080)\n"
	      "      --media IP:PORT       the UDP port of all calls (127.0.0.1:7000)\n"
	      "      --announce IP:PORT    candidate of the answers: a virtual IP; up to 8 times\n"
	      "      --sessions N          at most so many at once (2000)\n"
	      "      --full-ice            check the clients, instead of only answering (ICE lite)\n"
	      "      --dtls-active         begin the handshake where the client lets us choose\n"
	      "      --profile NAME        gcm or sha1 (both)\n"
	      "      --ufrag-file FILE     take user fragments from its lines\n"
	      "      --ufrag-encoded       ask selvaged for user fragments that lead to --backend\n"
	      "      --ufrag-registered    tell selvaged of user fragments\n"
	      "      --selvaged SOCKET     (/run/selvage/selvage.sock)\n"
	      "      --service NAME        the service, NAME or NAMESPACE/NAME\n"
	      "      --backend IP:PORT     this agent, as the service knows it (--media)\n"
	      "  -h, --help\n"
	      "      --version\n", out);
}

static int announce_take(struct echo_config *config)
{
	if (config->announced_count == ECHO_ANNOUNCED_MAX)
		return option_wrong("too many candidates", optarg);
	return option_endpoint(optarg, &config->announced[config->announced_count++]);
}

enum { OPTION_HTTP = 256, OPTION_MEDIA, OPTION_ANNOUNCE, OPTION_SESSIONS, OPTION_FULL, OPTION_ACTIVE, OPTION_PROFILE, OPTION_FILE,
       OPTION_ENCODED, OPTION_REGISTERED, OPTION_SELVAGED, OPTION_SERVICE, OPTION_BACKEND, OPTION_VERSION };

/* 0: taken, 2: wrong, -1: done. */
static int option_take(int option, struct echo_config *config)
{
	switch (option) {
	case OPTION_HTTP:
		return option_endpoint(optarg, &config->http);
	case OPTION_MEDIA:
		return option_endpoint(optarg, &config->media);
	case OPTION_ANNOUNCE:
		return announce_take(config);
	case OPTION_SESSIONS:
		return number_read(optarg, 1, 100000, &config->sessions_max) ? 0 : option_wrong("sessions are 1 to 100000, not", optarg);
	case OPTION_PROFILE:
		return option_profile(optarg, &config->only);
	case OPTION_FULL:
		config->full_ice = true;
		return 0;
	case OPTION_ACTIVE:
		config->dtls_active = true;
		return 0;
	case OPTION_FILE:
		config->fragment_file = optarg;
		return 0;
	case OPTION_ENCODED:
		config->fragments_encoded = true;
		return 0;
	case OPTION_REGISTERED:
		config->fragments_registered = true;
		return 0;
	case OPTION_SELVAGED:
		config->selvaged_socket = optarg;
		return 0;
	case OPTION_SERVICE:
		config->service = optarg;
		return 0;
	case OPTION_BACKEND:
		config->backend = optarg;
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

/* Texts that go into requests to selvaged: nothing that would end a string, or a path. */
static bool name_is_plain(const char *text)
{
	return *text && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-./:[]") == strlen(text);
}

static int options_check(struct echo_config *config)
{
	struct address address;
	uint16_t port;

	if ((config->fragment_file != NULL) + config->fragments_encoded + config->fragments_registered > 1)
		return option_wrong("only one of them is possible", "--ufrag-file, --ufrag-encoded, --ufrag-registered");
	if (!config->announced_count && (address_is_zero(&config->media.address) ||
					 address_equal(&config->media.address, &(struct address){{0, 0xffff0000u}})))
		return option_wrong("no address that clients could be told", "--announce is missing");
	if (!config->fragments_encoded && !config->fragments_registered)
		return 0;
	if (!config->service || !name_is_plain(config->service))
		return option_wrong("user fragments are a service's", "--service is missing");
	if (!config->backend || endpoint_parse(config->backend, &address, &port) < 0)
		return option_wrong("not ADDRESS:PORT", config->backend ? config->backend : "--backend");
	return 0;
}

static int options_read(int argc, char **argv, struct echo_config *config, char *backend)
{
	static const struct option list[] = {
		{"http", required_argument, NULL, OPTION_HTTP},
		{"media", required_argument, NULL, OPTION_MEDIA},
		{"announce", required_argument, NULL, OPTION_ANNOUNCE},
		{"sessions", required_argument, NULL, OPTION_SESSIONS},
		{"full-ice", no_argument, NULL, OPTION_FULL},
		{"dtls-active", no_argument, NULL, OPTION_ACTIVE},
		{"profile", required_argument, NULL, OPTION_PROFILE},
		{"ufrag-file", required_argument, NULL, OPTION_FILE},
		{"ufrag-encoded", no_argument, NULL, OPTION_ENCODED},
		{"ufrag-registered", no_argument, NULL, OPTION_REGISTERED},
		{"selvaged", required_argument, NULL, OPTION_SELVAGED},
		{"service", required_argument, NULL, OPTION_SERVICE},
		{"backend", required_argument, NULL, OPTION_BACKEND},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, OPTION_VERSION},
		{0},
	};
	int option, result;

	argv[0] = PROGRAM; /* what getopt calls us in its errors, whatever the path */
	while ((option = getopt_long(argc, argv, "h", list, NULL)) >= 0) {
		result = option_take(option, config);
		if (result)
			return result;
	}
	if (optind < argc)
		return option_wrong("nothing else is expected, such as", argv[optind]);
	if (!config->backend)
		config->backend = endpoint_format(&config->media.address, config->media.port, backend);
	return options_check(config);
}

static void on_signal(evutil_socket_t number, short events, void *base)
{
	event_base_loopbreak(base);
}

static int serve(struct echo_config *config)
{
	struct event_base *base = event_base_new();
	struct event *interrupted = evsignal_new(base, SIGINT, on_signal, base);
	struct event *terminated = evsignal_new(base, SIGTERM, on_signal, base);
	struct error error = {0};
	struct echo *echo = NULL;
	char http[ENDPOINT_TEXT_SIZE], media[ENDPOINT_TEXT_SIZE];
	int result;

	config->base = base;
	result = echo_new(config, &echo, &error);
	if (result < 0) {
		log_error("%s", error.text);
	} else {
		struct media_endpoint at_http = echo_http(echo), at_media = echo_media(echo);

		log_info("calls at http://%s/whip, media at %s", endpoint_format(&at_http.address, at_http.port, http),
			 endpoint_format(&at_media.address, at_media.port, media));
		evsignal_add(interrupted, NULL);
		evsignal_add(terminated, NULL);
		event_base_dispatch(base);
	}
	echo_free(echo);
	event_free(interrupted);
	event_free(terminated);
	event_base_free(base);
	return result < 0;
}

int main(int argc, char **argv)
{
	struct echo_config config = {.sessions_max = 2000, .selvaged_socket = "/run/selvage/selvage.sock"};
	char backend[ENDPOINT_TEXT_SIZE];
	struct rlimit limit;
	int result;

	log_init(PROGRAM, LOG_LEVEL_INFO);
	if (endpoint_parse("127.0.0.1:8080", &config.http.address, &config.http.port) < 0 ||
	    endpoint_parse("127.0.0.1:7000", &config.media.address, &config.media.port) < 0)
		return 1;
	result = options_read(argc, argv, &config, backend);
	if (result)
		return result < 0 ? 0 : result;
	signal(SIGPIPE, SIG_IGN);
	/* Many clients may come over HTTP at once. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	return serve(&config);
}

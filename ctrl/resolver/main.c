/* SPDX-License-Identifier: Apache-2.0 */
/* selvage-dns: reads the configuration, joins the parts, keeps over a restart what is worth keeping. */
#include <event2/event.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "base/lib/log.h"
#include "base/lib/memory.h"
#include "ctrl/config.h"
#include "dns/control.h"

#define EXIT_USAGE 2
#define LOCK_FILE "dns.lock"
#define SAVE_INTERVAL_S 300 /* so that a process that is killed has lost little */

struct program {
	struct config config;
	struct event_base *base;
	struct zone_set *zones;
	struct steering *steering;
	struct feed *feed;
	struct resolver *resolver;
	struct listeners *listeners;
	struct tap *tap;
	struct control *control;
	struct event *signals[3], *save_event;
	char *answers_file, *names_file;
	int locks[2]; /* as long as this process lives */
};

static uint64_t clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void answers_keep(struct program *program)
{
	struct error error = {0};
	size_t count;

	if (answers_save(resolver_answers(program->resolver), program->answers_file, clock_ms(CLOCK_MONOTONIC),
			 clock_ms(CLOCK_REALTIME), &count, &error) < 0)
		log_warning("keeping the answers: %s", error.text);
	else
		log_debug("%zu answers kept in %s", count, program->answers_file);
}

static void answers_restore(struct program *program)
{
	struct error error = {0};
	size_t count;

	if (answers_load(resolver_answers(program->resolver), program->answers_file, clock_ms(CLOCK_MONOTONIC),
			 clock_ms(CLOCK_REALTIME), &count, &error) < 0)
		log_warning("reading the answers that were kept: %s", error.text);
	else if (count)
		log_info("%zu answers from %s", count, program->answers_file);
}

static void terminate(evutil_socket_t number, short what, void *context)
{
	struct program *program = context;

	log_info("ending");
	event_base_loopbreak(program->base);
}

static void save_due(evutil_socket_t fd, short what, void *context)
{
	answers_keep(context);
}

static void events_make(struct program *program)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
	struct timeval interval = {.tv_sec = SAVE_INTERVAL_S};

	for (size_t i = 0; i < array_length(numbers); i++) {
		program->signals[i] = evsignal_new(program->base, numbers[i], terminate, program);
		event_add(program->signals[i], NULL);
	}
	program->save_event = event_new(program->base, -1, EV_PERSIST, save_due, program);
	event_add(program->save_event, &interval);
}

/*
 * One process to a state directory, whose files two would write in turn, and one to a run directory, for packets' cache has one
 * writer. selvaged locks the latter itself, so this is about a file in it.
 */
static int directory_lock(const char *directory, const char *key, int *ret_fd, struct error *error)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/" LOCK_FILE, directory);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set(error, errno, "opening %s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		return error_set(error, EBUSY, "another selvage-dns uses the directory %s; stop it, or give this one its own (%s)", directory,
				 key);
	}
	*ret_fd = fd;
	return 0;
}

static int directories_lock(struct program *program, struct error *error)
{
	int status = directory_lock(program->config.state_directory, "stateDirectory", &program->locks[0], error);

	return status < 0 ? status : directory_lock(program->config.run_directory, "runDirectory", &program->locks[1], error);
}

static int program_start(struct program *program, struct error *error)
{
	const struct config *config = &program->config;
	struct control_parts parts;
	int status;

	if (asprintf(&program->answers_file, "%s/dns-answers", config->state_directory) < 0 ||
	    asprintf(&program->names_file, "%s/dns-names.json", config->state_directory) < 0)
		abort();
	if ((mkdir(config->run_directory, 0755) < 0 && errno != EEXIST) || (mkdir(config->state_directory, 0700) < 0 && errno != EEXIST))
		return error_set(error, errno, "making the directories %s and %s: %s", config->run_directory, config->state_directory,
				 strerror(errno));
	status = directories_lock(program, error);
	if (status < 0)
		return status;
	program->zones = zone_set_new();
	program->steering = steering_new(config->dns.geo_database, config->dns.name_server);
	/* what autopath would answer may not be denied before it is asked */
	program->feed = feed_new(program->base, config->bpffs_directory, program->zones, !config->dns.autopath);
	program->tap = tap_new(config->node_name);
	status = resolver_new(program->base, &config->dns, program->zones, program->steering, program->feed, &program->resolver, error);
	if (status < 0)
		return status;
	answers_restore(program);
	status = listeners_new(program->base, &config->dns, program->resolver, &program->listeners, error);
	if (status < 0)
		return status;
	parts = (struct control_parts){program->base,	   program->zones, program->steering,	  program->resolver,  program->feed,
				       program->listeners, program->tap,   config->run_directory, program->names_file,
				       program->answers_file};
	status = control_new(&parts, &program->control, error);
	/* now that all is known that packets may say */
	if (status == 0)
		feed_open(program->feed);
	return status;
}

static void program_end(struct program *program)
{
	if (program->listeners)
		listeners_stop(program->listeners);
	if (program->control)
		answers_keep(program);
	control_free(program->control);
	resolver_free(program->resolver);
	listeners_free(program->listeners);
	tap_free(program->tap);
	feed_free(program->feed);
	steering_free(program->steering);
	zone_set_free(program->zones);
	for (size_t i = 0; i < array_length(program->locks); i++)
		if (program->locks[i] >= 0)
			close(program->locks[i]);
	for (size_t i = 0; i < array_length(program->signals); i++)
		if (program->signals[i])
			event_free(program->signals[i]);
	if (program->save_event)
		event_free(program->save_event);
	event_base_free(program->base);
	free(program->answers_file);
	free(program->names_file);
}

/* Each query upstream has a socket of its own. */
static void files_allow(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max < 65536 ? files.rlim_max : 65536;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

static int program_run(struct program *program)
{
	struct error error = {0};
	uint64_t started_ms = clock_ms(CLOCK_MONOTONIC);
	int status;

	signal(SIGPIPE, SIG_IGN);
	files_allow();
	program->base = memory_or_end(event_base_new());
	status = program_start(program, &error);
	if (status == 0) {
		events_make(program);
		log_info("answering on %zu addresses, %u ms after the start", program->config.dns.listen_count,
			 (unsigned int)(clock_ms(CLOCK_MONOTONIC) - started_ms));
		event_base_dispatch(program->base);
	} else {
		log_error("starting: %s", error.text);
	}
	program_end(program);
	return status < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void help_print(void)
{
	printf("selvage-dns: answers DNS queries that packets' cache does not.\n\n"
	       "Usage: selvage-dns [--config FILE] [--check]\n\n"
	       "  -c, --config FILE   instead of " CONFIG_PATH_DEFAULT "\n"
	       "      --check         read the configuration, say what is wrong with it, and end\n"
	       "  -h, --help\n"
	       "      --version\n");
}

static int config_read(const char *path, struct config *config)
{
	struct yaml_problems problems;
	char *text;

	yaml_problems_init(&problems, path);
	if (config_load(path, config, &problems) == 0)
		return 0;
	text = yaml_problems_text(&problems);
	fprintf(stderr, "selvage-dns: reading the configuration:\n%s\n", text);
	free(text);
	return -EINVAL;
}

int main(int argument_count, char **arguments)
{
	enum { OPTION_VERSION = 256, OPTION_CHECK };
	static const struct option options[] = {{"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, OPTION_CHECK},
						{"help", no_argument, NULL, 'h'},	  {"version", no_argument, NULL, OPTION_VERSION},
						{0}};
	const char *path = CONFIG_PATH_DEFAULT;
	struct program program = {.locks = {-1, -1}};
	bool check = false;
	int letter, result;

	arguments[0] = "selvage-dns"; /* what getopt calls us in its errors, whatever the path */
	while ((letter = getopt_long(argument_count, arguments, "c:h", options, NULL)) != -1) {
		switch (letter) {
		case 'c':
			path = optarg;
			break;
		case OPTION_CHECK:
			check = true;
			break;
		case 'h':
			help_print();
			return 0;
		case OPTION_VERSION:
			printf("selvage-dns %s\n", SELVAGE_VERSION);
			return 0;
		default:
			fputs("selvage-dns: reading the command line: see `selvage-dns --help`\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argument_count) {
		fprintf(stderr, "selvage-dns: \"%s\" is not expected\n", arguments[optind]);
		return EXIT_USAGE;
	}
	if (config_read(path, &program.config) < 0)
		return EXIT_FAILURE;
	log_init("selvage-dns", program.config.log_level);
	if (!program.config.dns.enabled) {
		fprintf(stderr, "selvage-dns: the configuration %s has no key \"dns\": there is nothing to answer\n", path);
		result = EXIT_FAILURE;
	} else {
		result = check ? EXIT_SUCCESS : program_run(&program);
	}
	config_done(&program.config);
	return result;
}

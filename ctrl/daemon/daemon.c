/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/lib/log.h"
#include "ctrl/daemon/daemon.h"
#include "ctrl/daemon/run.h"
#include "ctrl/daemon/sessions.h"
#include "ctrl/store/store_sqlite.h"

#define SWEEP_INTERVAL_MS 500
#define INSPECT_INTERVAL_S 5
#define PROBES_MAX 8192u
#define FILES_RESERVED 1024u /* descriptors that are not probes': connections, maps */

/* --- what happens ------------------------------------------------------------------------------------------------------ */

static void changed(void *context)
{
	daemon_reconcile_soon(context);
}

static void health_changed(const struct health_transition *transition, void *context)
{
	char text[ENDPOINT_TEXT_SIZE];

	/* a port range has no port of its own */
	if (transition->port)
		endpoint_format(&transition->address, transition->port, text);
	else
		address_format(&transition->address, text);
	log_info("%s: backend %s is %s: %s", transition->service, text, health_state_name(transition->new_state),
		 transition->reason);
	daemon_reconcile_soon(context);
}

static void fastpath_event(const struct edge_event *event, void *context)
{
	struct daemon *daemon = context;
	struct api_trace_packet packet = {.event = event};
	struct timespec monotonic, real;

	if (event->kind == EDGE_EVENT_NEIGHBOUR) {
		if (network_follow_probe(daemon->follow, &event->decision.address, event->decision.ifindex, false) < 0)
			log_debug("a neighbour could not be probed");
		return;
	}
	if (event->kind == EDGE_EVENT_FRAGMENT) {
		daemon_fragments_release(daemon);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &monotonic);
	clock_gettime(CLOCK_REALTIME, &real);
	packet.time_unix_ns = (uint64_t)real.tv_sec * 1000000000 + (uint64_t)real.tv_nsec -
			      ((uint64_t)monotonic.tv_sec * 1000000000 + (uint64_t)monotonic.tv_nsec) + event->time_ns;
	packet.interface = daemon_interface_name(daemon, event->ifindex);
	packet.service = daemon_service_name(daemon, event->decision.service);
	packet.backend = daemon_backend_name(daemon, event->decision.backend);
	api_trace_publish(daemon->api, &packet);
}

static void fastpath_readable(evutil_socket_t fd, short what, void *context)
{
	struct daemon *daemon = context;

	if (programmer_events_consume(daemon->programmer, fastpath_event, daemon) < 0)
		log_warning("reading the fast path's events failed");
}

static void sweep(evutil_socket_t fd, short what, void *context)
{
	struct daemon *daemon = context;
	struct edge_sweep_stats stats;

	api_trace_hidden(daemon->api, edge_program_trace_hidden(programmer_program(daemon->programmer)));
	daemon_sessions_sweep(daemon->sessions);
	programmer_sweep_step(daemon->programmer, &stats);
	if (!stats.complete)
		return;
	daemon->flows = stats.flows;
	daemon->flows_known = true;
	if (stats.rows_released && daemon->apply_failed)
		daemon_reconcile_soon(daemon);
}

static void terminate(evutil_socket_t signal_number, short what, void *context)
{
	struct daemon *daemon = context;

	log_info("ending; packets go on as they are");
	event_base_loopbreak(daemon->base);
}

/* --- the hash seed ----------------------------------------------------------------------------------------------------- */

static void hash_seed_stored(void *context, int status, const struct store_result *result, const struct error *error)
{
	struct daemon *daemon = context;
	const struct store_step_result *read;

	if (status == -ECANCELED)
		return;
	if (status < 0) {
		log_error("the hash seed could not be stored: %s", error->text);
		daemon->failed = true;
		event_base_loopbreak(daemon->base);
		return;
	}
	read = &result->steps[result->step_count - 1];
	daemon->hash_seed = strtoull(read->records[0].value.data, NULL, 16);
	daemon->hash_seed_known = true;
	daemon_reconcile_soon(daemon);
}

/* The one that is there, or a new one: backends are chosen by it, so it stays for the life of the site. */
static void hash_seed_obtain(struct daemon *daemon)
{
	uint64_t fresh = 0;
	char text[17];
	struct store_compare absent = {.kind = STORE_COMPARE_ABSENT, .key = CATALOGUE_HASH_SEED};
	struct store_step read = {.kind = STORE_GET, .key = CATALOGUE_HASH_SEED};
	struct store_step create[] = {{.kind = STORE_PUT, .key = CATALOGUE_HASH_SEED}, read};
	struct store_transaction transaction = {&absent, 1, create, 2, &read, 1};

	if (getrandom(&fresh, sizeof(fresh), 0) != sizeof(fresh))
		fresh = clock_now_ms(&clock_system);
	snprintf(text, sizeof(text), "%016llx", (unsigned long long)fresh);
	create[0].value = store_text(text);
	store_transact(daemon->store, &transaction, hash_seed_stored, daemon);
}

/* --- start and end ----------------------------------------------------------------------------------------------------- */

static int directory_make(const char *path, mode_t mode, struct error *error)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return error_set(error, errno, "making the directory %s: %s", path, strerror(errno));
	return 0;
}

/*
 * One daemon to a run directory: a second one would put its program in place of the first one's before it found the
 * control socket taken. The lock ends with the process.
 */
static int run_directory_lock(struct daemon *daemon, struct error *error)
{
	const char *path = daemon->config->run_directory;

	daemon->run_directory_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (daemon->run_directory_fd < 0)
		return error_set(error, errno, "opening the directory %s: %s", path, strerror(errno));
	if (flock(daemon->run_directory_fd, LOCK_EX | LOCK_NB) < 0)
		return error_set(error, EBUSY,
				 "another selvaged uses the run directory %s; stop it, or give this one its own (runDirectory)",
				 path);
	return 0;
}

/* A probe that waits for its turn is detected late, and each one in flight needs a descriptor. */
static uint32_t probes_max(void)
{
	struct rlimit files = {0};
	rlim_t wanted = PROBES_MAX + FILES_RESERVED;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return 0;
	if (files.rlim_cur < wanted) {
		files.rlim_cur = files.rlim_max < wanted ? files.rlim_max : wanted;
		if (setrlimit(RLIMIT_NOFILE, &files) < 0)
			return 0;
	}
	if (files.rlim_cur >= wanted)
		return PROBES_MAX;
	return files.rlim_cur > FILES_RESERVED ? (uint32_t)(files.rlim_cur - FILES_RESERVED) : 0;
}

static void dns_ask(void *context, const json_t *message, struct api_action *action)
{
	struct daemon *daemon = context;
	struct edge_totals totals;

	edge_program_totals(programmer_program(daemon->programmer), &totals);
	dns_link_ask(daemon->dns, message, totals.dns, action);
}

static int api_start(struct daemon *daemon, struct error *error)
{
	const struct config *config = daemon->config;
	struct api_options options = {
		.socket_path = config->api_socket,
		.socket_mode = config->api_socket_mode,
		.allowed_uids = config->api_allowed_uids,
		.allowed_uid_count = config->api_allowed_uid_count,
		.allowed_gids = config->api_allowed_gids,
		.allowed_gid_count = config->api_allowed_gid_count,
		.metrics_enabled = config->metrics_enabled,
		.metrics_address = config->metrics_address,
		.metrics_port = config->metrics_port,
	};
	struct api_backend backend = {
		.context = daemon,
		.store = daemon->store,
		.check = daemon_check,
		.status = daemon_view_status,
		.vips = daemon_view_vips,
		.services = daemon_view_services,
		.backends = daemon_view_backends,
		.drops = daemon_view_drops,
		.counters = daemon_view_counters,
		.metrics = daemon_metrics,
		.ready = daemon_ready,
		.explain = daemon_explain,
		.trace_set = daemon_trace_set,
		.backend_drain = daemon_backend_drain,
		.vip_move = daemon_vip_move,
		.sessions = daemon_view_sessions,
		.session = daemon_view_session,
		.session_put = daemon_session_put,
		.session_remove = daemon_session_remove,
		.session_ufrags = daemon_session_ufrags,
		.session_rotate = daemon_session_rotate,
		.dns = dns_ask,
	};

	return api_new(daemon->base, &options, &backend, &daemon->api, error);
}

static void events_make(struct daemon *daemon)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
	struct timeval interval = {.tv_usec = SWEEP_INTERVAL_MS * 1000};
	struct timeval inspect = {.tv_sec = INSPECT_INTERVAL_S};

	daemon->reconcile_event = event_new(daemon->base, -1, 0, daemon_reconcile, daemon);
	daemon->timer_event = evtimer_new(daemon->base, daemon_reconcile, daemon);
	daemon->sweep_event = event_new(daemon->base, -1, EV_PERSIST, sweep, daemon);
	for (size_t i = 0; i < array_length(signals); i++) {
		daemon->signal_events[i] = evsignal_new(daemon->base, signals[i], terminate, daemon);
		event_add(daemon->signal_events[i], NULL);
	}
	event_add(daemon->sweep_event, &interval);
	daemon->inspect_event = event_new(daemon->base, -1, EV_PERSIST, daemon_inspect, daemon);
	event_add(daemon->inspect_event, &inspect);
}

static void fastpath_listen(struct daemon *daemon)
{
	struct edge_config *config = programmer_tables(daemon->programmer)->config;
	int fd = programmer_events_fd(daemon->programmer);

	/* whoever traced through a former daemon is gone with it */
	store_once(config->trace, 0);
	if (fd < 0)
		return;
	daemon->fastpath_event = event_new(daemon->base, fd, EV_READ | EV_PERSIST, fastpath_readable, daemon);
	event_add(daemon->fastpath_event, NULL);
}

/* By which clock selvage-dns writes the ages of what packets read. */
static void dns_clock_set(struct daemon *daemon)
{
	struct dns_tables *dns = programmer_tables(daemon->programmer)->dns;

	if (dns)
		store_once(dns->clock_offset_ms, programmer_now_ms(daemon->programmer) - (uint32_t)clock_now_ms(&clock_system));
}

static const char *found_text(enum programmer_found found)
{
	switch (found) {
	case PROGRAMMER_ADOPTED:
		return "adopted the tables that packets see";
	case PROGRAMMER_REPLACED:
		return "the running tables are of another format and are replaced; recorded flows are lost";
	default:
		return "started with empty tables";
	}
}

static int parts_start(struct daemon *daemon, struct error *error)
{
	const struct config *config = daemon->config;
	struct store_sqlite_options store_options = {
		.directory = config->state_directory, .clock = &clock_system, .base = daemon->base};
	struct health_options health_options = {.probes_max = probes_max()};
	int result;

	if ((result = directory_make(config->run_directory, 0755, error)) < 0 ||
	    (result = run_directory_lock(daemon, error)) < 0 ||
	    (result = store_sqlite_open(&store_options, &daemon->store, error)) < 0)
		return result;
	programmer_dns_names(config->dns.packet_names);
	result = config_wants_dpdk(config) ?
			 programmer_dpdk(config->bpffs_directory, config->run_directory, &daemon->programmer, error) :
			 programmer_xdp(config->bpffs_directory, &daemon->programmer, error);
	if (result < 0)
		return error_prefix(error, -result, "starting the packet program");
	log_info("%s", found_text(programmer_found(daemon->programmer)));
	dns_clock_set(daemon);
	result = network_follow_new(daemon->base, &clock_system, changed, daemon, &daemon->follow, error);
	if (result < 0)
		return error_prefix(error, -result, "following the network");
	if ((result = health_new(daemon->base, &health_options, health_changed, daemon, &daemon->health, error)) < 0 ||
	    (result = announce_new(daemon->base, &clock_system, 0, &daemon->announce, error)) < 0)
		return result;
	result = daemon_fragments_start(daemon, error);
	if (result < 0)
		return result;
	daemon->dns = dns_link_new(daemon->base, config);
	daemon->catalogue = catalogue_new(daemon->store, changed, daemon);
	daemon->sessions = daemon_sessions_new(daemon);
	fastpath_listen(daemon);
	hash_seed_obtain(daemon);
	return api_start(daemon, error);
}

static void event_freep(struct event **event)
{
	if (*event)
		event_free(*event);
	*event = NULL;
}

static void parts_stop(struct daemon *daemon)
{
	dns_link_free(daemon->dns); /* completes what it was asked */
	api_free(daemon->api);
	catalogue_free(daemon->catalogue);
	daemon_sessions_store_stop(daemon->sessions);
	store_free(daemon->store);
	announce_free(daemon->announce);
	health_free(daemon->health);
	network_follow_free(daemon->follow);
	event_freep(&daemon->fastpath_event);
	daemon_fragments_stop(daemon);
	daemon_sessions_free(daemon->sessions);
	programmer_close(daemon->programmer);
	reconcile_result_done(&daemon->result);
	for (size_t i = 0; i < daemon->alarm_count; i++)
		free(daemon->alarms[i].text);
	free(daemon->alarms);
	daemon_ownerships_free(daemon);
	event_freep(&daemon->reconcile_event);
	event_freep(&daemon->timer_event);
	event_freep(&daemon->sweep_event);
	event_freep(&daemon->inspect_event);
	if (daemon->run_directory_fd >= 0)
		close(daemon->run_directory_fd);
	for (size_t i = 0; i < array_length(daemon->signal_events); i++)
		event_freep(&daemon->signal_events[i]);
}

int daemon_run(const struct config *config, struct error *error)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	int result;

	if (!daemon)
		return error_set(error, ENOMEM, "no memory");
	daemon->config = config;
	daemon->run_directory_fd = -1;
	daemon->fragment_fd = -1;
	daemon->started_ms = clock_now_ms(&clock_system);
	daemon->base = event_base_new();
	if (!daemon->base) {
		free(daemon);
		return error_set(error, ENOMEM, "no event loop can be had");
	}
	signal(SIGPIPE, SIG_IGN);
	events_make(daemon);
	result = parts_start(daemon, error);
	if (result == 0) {
		log_info("node %s is running; control socket %s", config->node_name, config->api_socket);
		event_base_dispatch(daemon->base);
		if (daemon->failed)
			result = error_set(error, EIO, "the store cannot be written");
	}
	parts_stop(daemon);
	event_base_free(daemon->base);
	free(daemon);
	return result;
}

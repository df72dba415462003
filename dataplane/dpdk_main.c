/* SPDX-License-Identifier: Apache-2.0 */
/* selvage-dpdk: NICs of its own, the packet program over them, and the way to the host's stack beside it. */
#include <getopt.h>
#include <net/if.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/lib/log.h"
#include "base/lib/number.h"
#include "dataplane/dpdk.h"
#include "dataplane/host_check.h"
#include "dataplane/worker_clock.h"

#define PROGRAM "selvage-dpdk"
#define MEMORY_MB_DEFAULT 128u
#define BUFFERS_DEFAULT 16383u
#define IDLE_US_DEFAULT 1000u
#define LINKS_LOOK_MS 200
#define EVENTS_BUFFER (1 << 20)
#define ARGUMENTS_MAX 64

static const char help_text[] =
	"usage: " PROGRAM " --port NAME=DEVICE... [options] [-- DPDK options]\n"
	"\n"
	"Runs the packet program on NICs of its own, with tables from selvaged, until it is told to end. Packets that the\n"
	"program leaves alone go to the kernel's interface NAME, a TAP, and what the host sends there leaves by the NIC.\n"
	"\n"
	"  -p, --port NAME=DEVICE  a NIC: a PCI address (0000:01:00.0) or a virtual device (net_af_xdp,iface=nic0), and the\n"
	"                          name of the kernel's interface that stands for it; may be repeated\n"
	"  -r, --run-directory DIR where selvaged finds it (default /run/selvage)\n"
	"  -w, --workers N         threads that handle packets (default 1)\n"
	"      --cpus LIST         processors for them, as in 2,3 (default: the last ones)\n"
	"      --no-huge           ordinary memory instead of huge pages: slower, and not for every NIC\n"
	"      --memory MB         memory for packets (default 128)\n"
	"      --buffers N         packet buffers in it (default 16383)\n"
	"      --idle-sleep US     longest nap while nothing comes (default 1000); 0: none, at the cost of a whole processor\n"
	"      --take-over         take ports and tables over from the " PROGRAM " that runs in the same run directory\n"
	"  -h, --help              this text\n"
	"  -V, --version           the version\n"
	"\n"
	"See selvage-dpdk(8), selvaged(8), selvage.yaml(5).\n";

struct options {
	const char *run_directory;
	uint32_t workers, memory_mb, buffers, idle_us;
	int cpus[DPDK_WORKERS_MAX];
	uint32_t cpu_count;
	bool no_huge, take_over;
	int eal_count; /* the user's own options for DPDK */
	char **eal;
};

/* --- command line -------------------------------------------------------------------------------------------------------- */

enum { OPTION_CPUS = 256, OPTION_NO_HUGE, OPTION_MEMORY, OPTION_BUFFERS, OPTION_IDLE, OPTION_TAKE_OVER };

static bool option_number(const char *name, const char *text, uint32_t least, uint32_t most, uint32_t *ret_value)
{
	if (number_read(text, least, most, ret_value))
		return true;
	fprintf(stderr, PROGRAM ": --%s wants a number from %u to %u, not '%s'\n", name, least, most, text);
	return false;
}

static bool cpus_read(const char *text, struct options *options)
{
	const char *place = text;

	while (options->cpu_count < DPDK_WORKERS_MAX) {
		char *end;
		long cpu = strtol(place, &end, 10);

		if (end == place || cpu < 0 || cpu >= CPU_SETSIZE || (*end && *end != ','))
			break;
		options->cpus[options->cpu_count++] = (int)cpu;
		if (!*end)
			return true;
		place = end + 1;
	}
	fprintf(stderr, PROGRAM ": --cpus wants at most %u processors, as in 2,3, not '%s'\n", DPDK_WORKERS_MAX, text);
	return false;
}

static bool port_read(const char *text, struct runtime *runtime)
{
	struct port *port = &runtime->ports[runtime->port_count];
	struct error error = {0};

	if (runtime->port_count == CHANNEL_PORTS_MAX) {
		fprintf(stderr, PROGRAM ": more than %u ports\n", CHANNEL_PORTS_MAX);
		return false;
	}
	if (port_parse(text, port, &error) < 0) {
		fprintf(stderr, PROGRAM ": --port: %s\n", error.text);
		return false;
	}
	for (uint32_t i = 0; i < runtime->port_count; i++) {
		if (strcmp(runtime->ports[i].name, port->name) == 0 || strcmp(runtime->ports[i].device, port->device) == 0) {
			fprintf(stderr, PROGRAM ": --port %s: this name or device is another port's already\n", text);
			return false;
		}
	}
	runtime->port_count++;
	return true;
}

/* -1: go on; else the exit status. */
static int options_read(int argc, char **argv, struct options *options, struct runtime *runtime)
{
	static const struct option known[] = {
		{"port", required_argument, NULL, 'p'},	      {"run-directory", required_argument, NULL, 'r'},
		{"workers", required_argument, NULL, 'w'},    {"cpus", required_argument, NULL, OPTION_CPUS},
		{"no-huge", no_argument, NULL, OPTION_NO_HUGE}, {"memory", required_argument, NULL, OPTION_MEMORY},
		{"buffers", required_argument, NULL, OPTION_BUFFERS}, {"idle-sleep", required_argument, NULL, OPTION_IDLE},
		{"take-over", no_argument, NULL, OPTION_TAKE_OVER}, {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},	      {0},
	};
	bool good = true;
	int option;

	*options = (struct options){.run_directory = "/run/selvage", .workers = 1, .memory_mb = MEMORY_MB_DEFAULT,
				    .buffers = BUFFERS_DEFAULT, .idle_us = IDLE_US_DEFAULT};
	while (good && (option = getopt_long(argc, argv, "p:r:w:hV", known, NULL)) != -1) {
		switch (option) {
		case 'p':
			good = port_read(optarg, runtime);
			break;
		case 'r':
			options->run_directory = optarg;
			break;
		case 'w':
			good = option_number("workers", optarg, 1, DPDK_WORKERS_MAX, &options->workers);
			break;
		case OPTION_CPUS:
			good = cpus_read(optarg, options);
			break;
		case OPTION_NO_HUGE:
			options->no_huge = true;
			break;
		case OPTION_MEMORY:
			good = option_number("memory", optarg, 32, 1 << 20, &options->memory_mb);
			break;
		case OPTION_BUFFERS:
			good = option_number("buffers", optarg, 1023, 1 << 24, &options->buffers);
			break;
		case OPTION_IDLE:
			good = option_number("idle-sleep", optarg, 0, 100000, &options->idle_us);
			break;
		case OPTION_TAKE_OVER:
			options->take_over = true;
			break;
		case 'h':
			fputs(help_text, stdout);
			return 0;
		case 'V':
			puts(PROGRAM " " SELVAGE_VERSION);
			return 0;
		default:
			good = false;
			break;
		}
	}
	if (good && runtime->port_count == 0) {
		fputs(PROGRAM ": no port: --port NAME=DEVICE\n", stderr);
		good = false;
	}
	if (!good) {
		fputs(PROGRAM ": reading the command line: see `" PROGRAM " --help`\n", stderr);
		return 2;
	}
	options->eal = argv + optind;
	options->eal_count = argc - optind;
	return -1;
}

/* --- DPDK's environment -------------------------------------------------------------------------------------------------- */

/* The control thread runs where it may, each worker on a processor of its own as far as there are. */
static int lcores_write(struct options *options, char *text, size_t size, struct error *error)
{
	cpu_set_t allowed;
	size_t length;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return error_set(error, errno, "asking for this process' processors: %s", strerror(errno));
	for (int cpu = CPU_SETSIZE - 1; cpu >= 0 && options->cpu_count == 0; cpu--) {
		for (int each = cpu; each >= 0 && options->cpu_count < options->workers; each--) {
			if (CPU_ISSET(each, &allowed))
				options->cpus[options->cpu_count++] = each;
		}
	}
	for (uint32_t i = 0; i < options->cpu_count; i++) {
		if (!CPU_ISSET(options->cpus[i], &allowed))
			return error_set(error, EINVAL, "--cpus: processor %d is not this process' to use", options->cpus[i]);
	}
	length = (size_t)snprintf(text, size, "--lcores=0@(");
	for (int cpu = 0; cpu < CPU_SETSIZE && length < size; cpu++) {
		if (CPU_ISSET(cpu, &allowed))
			length += (size_t)snprintf(text + length, size - length, "%s%d", text[length - 1] == '(' ? "" : ",", cpu);
	}
	length += (size_t)snprintf(text + length, size - length, ")");
	for (uint32_t i = 0; i < options->workers && length < size; i++)
		length += (size_t)snprintf(text + length, size - length, ",%u@%d", i + 1,
					   options->cpus[i % options->cpu_count]);
	return length < size ? 0 : error_set(error, E2BIG, "too many processors for a list of them");
}

static int host_check(const struct options *options, const struct runtime *runtime, struct error *error)
{
	if (!options->no_huge && host_check_huge_pages("", options->memory_mb, error) < 0)
		return -ENOMEM;
	for (uint32_t i = 0; i < runtime->port_count; i++) {
		const char *device = runtime->ports[i].device;
		char address[sizeof(runtime->ports[i].device)];
		int code;

		if (!port_is_pci(device))
			continue;
		snprintf(address, sizeof(address), "%.*s", (int)strcspn(device, ","), device);
		code = host_check_pci("", address, error);
		if (code)
			return code;
	}
	return 0;
}

static int environment_start(struct options *options, const struct runtime *runtime, struct error *error)
{
	static char lcores[8192], memory[16], prefix[48];
	char *arguments[ARGUMENTS_MAX] = {PROGRAM, lcores, prefix, "--no-telemetry", "--log-level=warning", "-m", memory};
	int count = 7, code = lcores_write(options, lcores, sizeof(lcores), error);
	bool pci = false;

	if (code)
		return code;
	snprintf(memory, sizeof(memory), "%u", options->memory_mb);
	snprintf(prefix, sizeof(prefix), "--file-prefix=selvage-%d", (int)getpid());
	arguments[count++] = options->no_huge ? "--no-huge" : "--in-memory";
	if (options->no_huge)
		arguments[count++] = "--no-shconf";
	for (uint32_t i = 0; i < runtime->port_count; i++)
		pci |= port_is_pci(runtime->ports[i].device);
	/* PCI devices are opened by name later; nothing that merely lies there is touched. */
	arguments[count++] = pci ? "--allow=ffff:ff:1f.7" : "--no-pci";
	for (int i = 0; i < options->eal_count && count < ARGUMENTS_MAX - 1; i++)
		arguments[count++] = options->eal[i];
	if (rte_eal_init(count, arguments) < 0)
		return error_set(error, rte_errno ? rte_errno : EIO, "starting DPDK's environment: %s; its lines above say more",
				 rte_strerror(rte_errno));
	return 0;
}

static int runtime_start(struct runtime *runtime, const struct options *options, struct error *error)
{
	int size = EVENTS_BUFFER;

	runtime->workers = options->workers;
	runtime->idle_us_max = options->idle_us;
	runtime->pool = rte_pktmbuf_pool_create("packets", options->buffers, 256, 0, RTE_PKTMBUF_HEADROOM + DPDK_DATA_ROOM, SOCKET_ID_ANY);
	if (!runtime->pool)
		return error_set(error, ENOMEM, "no memory for %u packet buffers: %s; give more (--memory) or ask for fewer (--buffers)",
				 options->buffers, rte_strerror(rte_errno));
	runtime->rcu = rte_zmalloc("rcu", rte_rcu_qsbr_get_memsize(DPDK_WORKERS_MAX), RTE_CACHE_LINE_SIZE);
	if (!runtime->rcu || rte_rcu_qsbr_init(runtime->rcu, DPDK_WORKERS_MAX) != 0)
		return error_set(error, ENOMEM, "no memory");
	runtime->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (runtime->wake_fd < 0)
		return error_set(error, errno, "making a descriptor to wake workers by: %s", strerror(errno));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, runtime->events) < 0 ||
	    setsockopt(runtime->events[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0)
		return error_set(error, errno, "making a socket for events: %s", strerror(errno));
	return 0;
}

/* --- ports, of our own or from the process before ------------------------------------------------------------------------ */

struct inheritance {
	struct channel_message message;
	int fds[CHANNEL_FDS_MAX];
	size_t fd_count, tables;
	bool taken;
};

/* The TAP of this name that was handed over; -1: none. */
static int tap_inherit(const struct inheritance *from, const char *name, bool *ret_attached)
{
	for (uint32_t i = 0; from->taken && i < from->message.port_count; i++) {
		char text[IF_NAMESIZE];

		if (!if_indextoname(from->message.ports[i] & ~CHANNEL_PORT_ATTACHED, text) || strcmp(text, name) != 0)
			continue;
		*ret_attached = (from->message.ports[i] & CHANNEL_PORT_ATTACHED) != 0;
		return dup(from->fds[from->tables + i]);
	}
	return -1;
}

static int take_over(const struct options *options, struct inheritance *ret_from, struct error *error)
{
	size_t wanted;
	int code = channel_take_over(options->run_directory, &ret_from->message, ret_from->fds, &ret_from->fd_count, error);

	if (code == -ENOENT || code == -ECONNREFUSED) {
		log_info("nobody to take over from");
		return 0;
	}
	if (code)
		return code;
	ret_from->tables = ret_from->message.counter_sets ? CHANNEL_TABLES_MAX : 0;
	wanted = ret_from->tables + ret_from->message.port_count;
	if (ret_from->message.port_count > CHANNEL_PORTS_MAX || ret_from->fd_count != wanted)
		return error_set(error, EPROTO, "taking over: %zu descriptors came, not %zu", ret_from->fd_count, wanted);
	ret_from->taken = true;
	return 0;
}

static int ports_open(struct runtime *runtime, const struct inheritance *from, struct error *error)
{
	for (uint32_t i = 0; i < runtime->port_count; i++) {
		struct port *port = &runtime->ports[i];
		bool attached = false;
		int code = port_open(runtime, port, i, error);

		if (code == 0)
			code = punt_open(port, tap_inherit(from, port->name, &attached), error);
		if (code)
			return code;
		port->attached = attached;
	}
	if (from->taken && from->tables && runtime_tables_use(runtime, &from->message, from->fds, error) < 0)
		log_warning("the tables of the process before: %s; selvaged will hand over others", error->text);
	return 0;
}

static int workers_start(struct runtime *runtime, struct error *error)
{
	static struct worker_argument arguments[DPDK_WORKERS_MAX];

	for (uint32_t i = 0; i < runtime->workers; i++) {
		arguments[i] = (struct worker_argument){runtime, i};
		if (rte_eal_remote_launch(worker_run, &arguments[i], i + 1) < 0)
			return error_set(error, EIO, "starting worker %u failed", i);
	}
	return 0;
}

/* --- the control thread -------------------------------------------------------------------------------------------------- */

static void links_look(struct runtime *runtime)
{
	for (uint32_t i = 0; i < runtime->port_count; i++)
		punt_carrier_set(&runtime->ports[i], port_has_link(&runtime->ports[i]));
}

static bool event_handle(struct runtime *runtime, struct control_server *server, void *data)
{
	struct port *port = data;

	if (!data)
		return false; /* a signal */
	if (port >= runtime->ports && port < runtime->ports + CHANNEL_PORTS_MAX)
		punt_receive(runtime, port); /* what is left is told again */
	else
		control_server_event(server, data);
	return !control_server_taken_over(server);
}

static void control_run(struct runtime *runtime, struct control_server *server, int epoll_fd)
{
	struct epoll_event events[32];
	uint64_t looked = 0;

	while (true) {
		int count = epoll_wait(epoll_fd, events, (int)array_length(events), LINKS_LOOK_MS);
		struct timespec now;
		uint64_t turn;

		for (int i = 0; i < count; i++) {
			if (!event_handle(runtime, server, events[i].data.ptr))
				return;
		}
		clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
		turn = ((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000) / LINKS_LOOK_MS;
		if (turn != looked)
			links_look(runtime);
		looked = turn;
	}
}

static int watch(int epoll_fd, int fd, void *data, struct error *error)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = data};

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ?
		       error_set(error, errno, "watching a descriptor: %s", strerror(errno)) :
		       0;
}

/* Blocked before any thread is there, so that they come here. */
static int signals_open(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int serve(struct runtime *runtime, const struct options *options, int signal_fd, struct error *error)
{
	_cleanup_(closep) int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct inheritance from = {0};
	struct control_server *server = NULL;
	int code = options->take_over ? take_over(options, &from, error) : 0;

	if (code == 0)
		code = control_server_new(runtime, options->run_directory, epoll_fd, &server, error);
	if (code == 0)
		code = ports_open(runtime, &from, error);
	for (uint32_t i = 0; code == 0 && i < runtime->port_count; i++)
		code = watch(epoll_fd, runtime->ports[i].tap, &runtime->ports[i], error);
	if (code == 0)
		code = watch(epoll_fd, signal_fd, NULL, error);
	if (code == 0)
		code = workers_start(runtime, error);
	if (code == 0) {
		log_info("running with %u workers; control channel in %s", runtime->workers, options->run_directory);
		control_run(runtime, server, epoll_fd);
		log_info("ending");
		runtime_stop(runtime);
		for (uint32_t i = 0; i < runtime->port_count && !control_server_taken_over(server); i++)
			port_close(&runtime->ports[i]);
	}
	control_server_free(server);
	return code;
}

int main(int argc, char **argv)
{
	static struct runtime runtime;
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	struct error error = {0};
	struct options options;
	int status, signal_fd, code;

	argv[0] = PROGRAM; /* what getopt calls us in its errors, whatever the path */
	status = options_read(argc, argv, &options, &runtime);
	if (status >= 0)
		return status;
	log_init(PROGRAM, LOG_LEVEL_INFO);
	signal_fd = signals_open();
	/* The driver net_af_xdp's program is alone on its NIC: libxdp need not try to share it, and complain that it cannot. */
	setenv("LIBXDP_SKIP_DISPATCHER", "1", 0);
	setrlimit(RLIMIT_MEMLOCK, &unlimited); /* AF_XDP's memory is locked; if not permitted, it says so itself */
	if (mkdir(options.run_directory, 0755) < 0 && errno != EEXIST)
		code = error_set(&error, errno, "making the directory %s: %s", options.run_directory, strerror(errno));
	else
		code = host_check(&options, &runtime, &error);
	if (code == 0)
		code = environment_start(&options, &runtime, &error);
	if (code == 0)
		code = runtime_start(&runtime, &options, &error);
	if (code == 0)
		code = serve(&runtime, &options, signal_fd, &error);
	if (code < 0)
		fprintf(stderr, PROGRAM ": starting: %s\n", error.text);
	return code < 0 ? 1 : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one worker of selvage-dpdk does a second on a NIC that has a price: tools/bench dpdk-wire. A virtual device of DPDK over one
 * end of a veth, and a sender on the other that keeps its queue full; beside it, in alternating slices of time, a worker that only
 * exchanges MAC and IP addresses. Only bursts that are full are counted, from before they are fetched until they are sent, so
 * that a sender that is too slow does not make either worker seem slower than it is. Then round trips of single packets.
 *
 *     dpdk_wire_bench DEVICE PEER     (net_af_packet,iface=bench0 bench1)
 *
 * Lines of JSON on standard output.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <string.h>
#include <sys/socket.h>

#include "base/lib/clock.h"
#include "dataplane/pipeline.h"
#include "dataplane/table_list.h"
#include "tests/perf/bench_result.h"
#include "tests/perf/bench_site.h"

#define BURST 32u
#define BURSTS 800u      /* full ones, of a slice */
#define FILL_US 100u     /* what the sender gets to fill the queue again */
#define FRAMES 64u       /* sent with one system call */
#define SLICE_MS 4000u   /* no slice takes longer */
#define PINGS 20000u
#define PING_MS 200
#define AIM_PERCENT 70.0

enum worker_kind { WORKER_SWAP, WORKER_EDGE };

struct bench {
	struct edge_tables tables;
	struct bench_case cases[BENCH_WAYS];
	struct rte_mempool *pool;
	const char *device, *peer;
	uint16_t port;
	/* The sender's. */
	pthread_t sender;
	int socket;
	const struct bench_case *way; /* NULL: it rests */
	uint32_t turn, random;
	struct pipeline_ahead ahead;
	bool end;
};

/* --- the sender --------------------------------------------------------------------------------------------------------- */

static void frames_fill(struct bench *bench, const struct bench_case *way, uint8_t frames[FRAMES][128])
{
	for (uint32_t i = 0; i < FRAMES; i++) {
		bench_frame_next(way, &bench->turn, &bench->random, frames[i]);
	}
}

static void *sender_run(void *argument)
{
	struct bench *bench = argument;
	static uint8_t frames[FRAMES][128];
	static struct iovec parts[FRAMES];
	static struct mmsghdr messages[FRAMES];

	while (!load_once(bench->end)) {
		const struct bench_case *way = load_once(bench->way);

		if (!way) {
			usleep(100);
			continue;
		}
		frames_fill(bench, way, frames);
		for (uint32_t i = 0; i < FRAMES; i++) {
			parts[i] = (struct iovec){frames[i], way->length};
			messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
		}
		sendmmsg(bench->socket, messages, FRAMES, 0);
	}
	return NULL;
}

/* --- the workers -------------------------------------------------------------------------------------------------------- */

/* The same steps as worker.c's. Where a packet goes makes no difference here: all leave by the port that they came by. */
static void burst_edge(struct bench *bench, const struct bench_case *way, struct rte_mbuf **packets, uint16_t count)
{
	struct edge_ingress ingress = edge_ingress(bench->tables.config, way->link, (struct edge_clock){0, 0});

	for (uint16_t i = 0; i < count; i++) {
		struct decision decision = {0};

		pipeline_prefetch(&bench->ahead, &bench->tables, packets, count, i);
		pipeline_run(&bench->tables, &ingress, packets[i], NULL, NULL, &decision);
		pipeline_note(&bench->ahead, &decision);
	}
	pipeline_expect(&bench->ahead, count);
}

static void burst_swap(struct rte_mbuf **packets, uint16_t count)
{
	for (uint16_t i = 0; i < count; i++) {
		struct packet packet;

		pipeline_prefetch_frames(packets, count, i);
		packet = pipeline_view(packets[i]);
		(void)bench_swap_addresses(&packet);
	}
}

static uint16_t burst(struct bench *bench, const struct bench_case *way, enum worker_kind kind)
{
	struct rte_mbuf *packets[BURST];
	uint16_t count = rte_eth_rx_burst(bench->port, 0, packets, BURST), sent = 0;

	if (count == 0)
		return 0;
	if (kind == WORKER_EDGE)
		burst_edge(bench, way, packets, count);
	else
		burst_swap(packets, count);
	for (int attempt = 0; attempt < 2 && sent < count; attempt++)
		sent = (uint16_t)(sent + rte_eth_tx_burst(bench->port, 0, packets + sent, (uint16_t)(count - sent)));
	if (sent < count)
		rte_pktmbuf_free_bulk(packets + sent, (unsigned int)(count - sent));
	return count;
}

/* Nanoseconds a packet of full bursts; negative: there were not enough of them. */
static double slice_time(struct bench *bench, const struct bench_case *way, enum worker_kind kind)
{
	uint64_t cycles = 0, until = clock_us() / 1000 + SLICE_MS;
	uint32_t full = 0;

	while (full < BURSTS && clock_us() / 1000 < until) {
		uint64_t start = rte_rdtsc_precise();

		if (burst(bench, way, kind) == BURST) {
			cycles += rte_rdtsc_precise() - start;
			full++;
		} else {
			rte_delay_us_sleep(FILL_US);
		}
	}
	return full < BURSTS / 4 ? -1 : (double)cycles * 1e9 / (double)rte_get_tsc_hz() / full / BURST;
}

/* Takes what is on its way. */
static void settle(struct bench *bench)
{
	store_once(bench->way, NULL);
	for (uint64_t until = clock_us() / 1000 + 20; clock_us() / 1000 < until;)
		burst(bench, &bench->cases[BENCH_UDP_HIT], WORKER_SWAP);
}

/* A record for what is known. */
static void flow_begin(struct bench *bench, const struct bench_case *way)
{
	for (int packet = 0; packet < 3; packet++) {
		struct edge_ingress ingress = edge_ingress(bench->tables.config, way->link, (struct edge_clock){0, 0});
		struct rte_mbuf *mbuf = rte_pktmbuf_alloc(bench->pool);
		struct decision decision = {0};

		if (!mbuf)
			return;
		memcpy(rte_pktmbuf_append(mbuf, (uint16_t)way->length), way->frame, way->length);
		pipeline_run(&bench->tables, &ingress, mbuf, NULL, NULL, &decision);
		rte_pktmbuf_free(mbuf);
	}
}

static const char *driver(const struct bench *bench, char *text, size_t size)
{
	snprintf(text, size, "%.*s", (int)strcspn(bench->device, ","), bench->device);
	return text;
}

static int case_time(struct bench *bench, const struct bench_case *way)
{
	double edge[BENCH_ROUNDS], bare[BENCH_ROUNDS];
	char name[32];

	settle(bench);
	bench_flows_clear(&bench->tables);
	flow_begin(bench, &bench->cases[BENCH_UDP_HIT]);
	flow_begin(bench, way);
	store_once(bench->way, way);
	for (uint32_t round = 0; round < BENCH_ROUNDS; round++) {
		bare[round] = slice_time(bench, way, WORKER_SWAP);
		edge[round] = slice_time(bench, way, WORKER_EDGE);
		if (bare[round] < 0 || edge[round] < 0)
			return -1;
	}
	bench_pair_print("dpdk-wire", driver(bench, name, sizeof(name)), way->name, way->text, edge, bare,
			 way - bench->cases == BENCH_UDP_HIT || way - bench->cases == BENCH_UDP_GUE ? AIM_PERCENT : 0);
	return 0;
}

/* --- round trips -------------------------------------------------------------------------------------------------------- */

/* Who asks, on a processor of its own. */
struct pinger {
	const struct bench *bench;
	int socket;
	double *us;
	uint32_t count;
	bool done;
};

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

/* Sends a packet and waits for it, so many times. Fewer than all: some were lost. */
static uint32_t pings_time(const struct bench *bench, int socket, double *ret_us)
{
	const struct bench_case *way = &bench->cases[BENCH_UDP_HIT];
	uint8_t buffer[2048];
	uint32_t count = 0;

	for (uint32_t i = 0; i < PINGS; i++) {
		struct pollfd poll_fd = {.fd = socket, .events = POLLIN};
		uint64_t start = rte_rdtsc_precise();

		if (send(socket, way->frame, way->length, 0) < 0 || poll(&poll_fd, 1, PING_MS) <= 0 ||
		    recv(socket, buffer, sizeof(buffer), MSG_DONTWAIT) < 0)
			continue;
		ret_us[count++] = (double)(rte_rdtsc_precise() - start) * 1e6 / (double)rte_get_tsc_hz();
	}
	qsort(ret_us, count, sizeof(*ret_us), compare);
	return count;
}

static int socket_open(const char *interface, uint16_t protocol)
{
	struct sockaddr_ll place = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(interface), .sll_protocol = htons(protocol)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(protocol)), one = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&place, sizeof(place)) < 0)
		return -errno;
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one));
	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	return fd;
}

static void *pinger_run(void *argument)
{
	struct pinger *pinger = argument;

	pings_time(pinger->bench, pinger->socket, pinger->us); /* to warm up */
	pinger->count = pings_time(pinger->bench, pinger->socket, pinger->us);
	store_once(pinger->done, true);
	return NULL;
}

/* Not on the worker's processor. */
static int thread_start(pthread_t *thread, void *(*run)(void *), void *argument)
{
	pthread_attr_t attributes;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	pthread_attr_init(&attributes);
	pthread_attr_setaffinity_np(&attributes, sizeof(cpus), &cpus);
	return pthread_create(thread, &attributes, run, argument);
}

static int trips_time(struct bench *bench)
{
	static double us[PINGS];
	char name[32];
	int fd = socket_open(bench->peer, 0x0800);

	settle(bench);
	bench_flows_clear(&bench->tables);
	flow_begin(bench, &bench->cases[BENCH_UDP_HIT]);
	for (int kind = WORKER_SWAP; fd >= 0 && kind <= WORKER_EDGE; kind++) {
		struct pinger pinger = {.bench = bench, .socket = fd, .us = us};
		pthread_t thread;

		if (thread_start(&thread, pinger_run, &pinger))
			return -1;
		while (!load_once(pinger.done))
			burst(bench, &bench->cases[BENCH_UDP_HIT], (enum worker_kind)kind);
		pthread_join(thread, NULL);
		if (pinger.count < PINGS * 99 / 100)
			return -1;
		printf("{\"bench\":\"dpdk-trips\",\"case\":\"%s/%s\",\"text\":\"%s: %s\",\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"rounds\":1}\n",
		       driver(bench, name, sizeof(name)), kind == WORKER_EDGE ? "selvage" : "swap", name,
		       kind == WORKER_EDGE ? "UDP, known flow" : "bare swap", us[pinger.count / 2],
		       us[pinger.count - 1 - pinger.count / 100], us[pinger.count - 1 - pinger.count / 1000]);
		fflush(stdout);
	}
	return fd < 0 ? -1 : 0;
}

/* --- setting up --------------------------------------------------------------------------------------------------------- */

static int bench_open(struct bench *bench, struct error *error)
{
	static char *arguments[] = {"dpdk_wire_bench", "--no-huge", "-m", "128", "--no-pci", "--no-telemetry", "--no-shconf",
				    "--lcores=0@1", "--log-level=error"};
	struct rte_eth_conf configuration = {0};
	uint16_t rx = 1024, tx = 1024;
	char name[64];
	const char *more = strchr(bench->device, ',');
	int code;

	if (rte_eal_init((int)array_length(arguments), arguments) < 0)
		return error_set(error, EIO, "starting DPDK's environment failed");
	bench->pool = rte_pktmbuf_pool_create("packets", 16383, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!bench->pool)
		return error_set(error, ENOMEM, "no memory");
	snprintf(name, sizeof(name), "%.*s0", (int)strcspn(bench->device, ","), bench->device);
	if (rte_eal_hotplug_add("vdev", name, more ? more + 1 : "") < 0 || rte_eth_dev_get_port_by_name(name, &bench->port) < 0)
		return error_set(error, ENODEV, "opening %s failed", bench->device);
	code = rte_eth_dev_configure(bench->port, 1, 1, &configuration);
	if (code == 0)
		code = rte_eth_dev_adjust_nb_rx_tx_desc(bench->port, &rx, &tx);
	if (code == 0)
		code = rte_eth_rx_queue_setup(bench->port, 0, rx, 0, NULL, bench->pool);
	if (code == 0)
		code = rte_eth_tx_queue_setup(bench->port, 0, tx, 0, NULL);
	if (code == 0)
		code = rte_eth_dev_start(bench->port);
	if (code < 0)
		return error_set(error, -code, "starting %s failed", bench->device);
	rte_eth_promiscuous_enable(bench->port);
	bench->socket = socket_open(bench->peer, 0);
	if (bench->socket < 0)
		return error_set(error, -bench->socket, "a packet socket on %s: %s", bench->peer, strerror(-bench->socket));
	return tables_map(NULL, 1, &bench->tables, error);
}

int main(int argc, char **argv)
{
	static const enum bench_way ways[] = {BENCH_UDP_HIT, BENCH_TCP_HIT, BENCH_UDP6_HIT, BENCH_UDP_GUE, BENCH_UDP_IPIP6,
					      BENCH_REVERSE, BENCH_ARP, BENCH_NS, BENCH_UDP_NEW, BENCH_TCP_SYN, BENCH_NOT_OURS};
	static struct bench bench;
	struct error error = {0};
	int code;

	if (argc != 3)
		return fprintf(stderr, "usage: dpdk_wire_bench DEVICE PEER\n"), 2;
	bench.device = argv[1];
	bench.peer = argv[2];
	code = bench_open(&bench, &error);
	if (code == 0)
		code = bench_site_apply(&bench.tables, 1, &error);
	if (code < 0)
		return fprintf(stderr, "dpdk_wire_bench: %s\n", error.text), 1;
	bench_cases_init(&bench.tables, bench.cases);
	if (thread_start(&bench.sender, sender_run, &bench))
		return fprintf(stderr, "dpdk_wire_bench: no thread for the sender\n"), 1;
	for (size_t i = 0; i < array_length(ways); i++) {
		if (case_time(&bench, &bench.cases[ways[i]]) < 0)
			return fprintf(stderr, "dpdk_wire_bench: %s: too few full bursts\n", bench.cases[ways[i]].name), 1;
	}
	store_once(bench.end, true);
	pthread_join(bench.sender, NULL);
	if (trips_time(&bench) < 0)
		return fprintf(stderr, "dpdk_wire_bench: packets did not come back\n"), 1;
	return 0;
}

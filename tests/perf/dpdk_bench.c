/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one worker of selvage-dpdk does a second: tools/bench dpdk, and with the argument `sessions` among how many calls. Bursts of 32 come out of a virtual NIC made of two rings
 * (net_ring), are handled, and go back in; beside it a worker that only exchanges MAC and IP addresses does the same, in the
 * same rounds. Filling the packets anew lies outside of what is timed. Lines of JSON on standard output.
 */
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/pipeline.h"
#include "dataplane/table_list.h"
#include "tests/perf/bench_result.h"
#include "tests/perf/bench_site.h"

#define BURST 32u
#define BURSTS 1000u
#define BURSTS_NEW 12500u
#define FLOWS_MOST (1u << 20)
#define AIM_PERCENT 70.0

struct bench {
	struct edge_tables tables;
	struct bench_case cases[BENCH_WAYS];
	struct rte_ring *rx, *tx;
	struct rte_mbuf *packets[BURST];
	uint16_t port;
	uint32_t turn, random;
	struct pipeline_ahead ahead;
};

/* The same steps as worker.c's burst_handle(); where a packet goes makes no difference to this NIC. */
static __attribute__((noinline)) bool burst_edge(struct bench *bench, const struct bench_case *way)
{
	struct edge_ingress ingress = edge_ingress(bench->tables.config, way->link, (struct edge_clock){0, 0});
	struct rte_mbuf *packets[BURST];
	uint16_t count = rte_eth_rx_burst(bench->port, 0, packets, BURST);
	bool right = count == BURST;

	for (uint16_t i = 0; i < count; i++) {
		struct decision decision = {0};

		pipeline_prefetch(&bench->ahead, &bench->tables, packets, count, i);
		pipeline_run(&bench->tables, &ingress, packets[i], NULL, NULL, &decision);
		pipeline_note(&bench->ahead, &decision);
		right &= decision.verdict == way->verdict;
	}
	pipeline_expect(&bench->ahead, count);
	return rte_eth_tx_burst(bench->port, 0, packets, count) == count && right;
}

static __attribute__((noinline)) bool burst_swap(struct bench *bench)
{
	struct rte_mbuf *packets[BURST];
	uint16_t count = rte_eth_rx_burst(bench->port, 0, packets, BURST);
	bool right = count == BURST;
	struct packet packet;

	for (uint16_t i = 0; i < count; i++) {
		pipeline_prefetch_frames(packets, count, i);
		packet = pipeline_view(packets[i]);
		right &= bench_swap_addresses(&packet);
	}
	return rte_eth_tx_burst(bench->port, 0, packets, count) == count && right;
}

static void packets_fill(struct bench *bench, const struct bench_case *way)
{
	for (uint32_t i = 0; i < BURST; i++) {
		struct rte_mbuf *mbuf = bench->packets[i];
		uint8_t *frame;

		mbuf->data_off = RTE_PKTMBUF_HEADROOM;
		mbuf->data_len = (uint16_t)way->length;
		mbuf->pkt_len = way->length;
		frame = rte_pktmbuf_mtod(mbuf, uint8_t *);
		bench_frame_next(way, &bench->turn, &bench->random, frame);
		bench->tables.config->epoch_override += way->vary.new_epochs;
	}
}

static int cycles_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The mean of bursts, without those that something else on this processor lay in: they took ten times the usual time. */
static double cycles_mean(uint32_t *cycles, uint32_t bursts)
{
	uint64_t sum = 0;
	uint32_t count;

	qsort(cycles, bursts, sizeof(*cycles), cycles_compare);
	for (count = 0; count < bursts && cycles[count] < 10 * cycles[bursts / 2]; count++)
		sum += cycles[count];
	return (double)sum / count;
}

/* Nanoseconds a packet of so many bursts; negative: something else came out. */
static double bursts_time(struct bench *bench, const struct bench_case *way, uint32_t bursts, bool edge)
{
	static uint32_t cycles[FLOWS_MOST / BURST];

	for (uint32_t i = 0; i < bursts; i++) {
		void *back[BURST];
		uint64_t start;
		bool right;

		packets_fill(bench, way);
		if (rte_ring_enqueue_bulk(bench->rx, (void **)bench->packets, BURST, NULL) != BURST)
			return -1;
		start = rte_rdtsc_precise();
		right = edge ? burst_edge(bench, way) : burst_swap(bench);
		cycles[i] = (uint32_t)(rte_rdtsc_precise() - start);
		if (rte_ring_dequeue_bulk(bench->tx, back, BURST, NULL) != BURST || !right)
			return -1;
	}
	return cycles_mean(cycles, bursts) * 1e9 / (double)rte_get_tsc_hz() / BURST;
}

static int case_time(struct bench *bench, const struct bench_case *way)
{
	double edge[BENCH_ROUNDS], bare[BENCH_ROUNDS];

	for (uint32_t round = 0; round < BENCH_ROUNDS; round++) {
		uint32_t bursts = way->new_flows ? BURSTS_NEW : BURSTS;

		if (way->new_flows)
			bench_flows_clear(&bench->tables);
		else if (bursts_time(bench, &bench->cases[BENCH_UDP_HIT], 1, true) < 0 || bursts_time(bench, way, 30, true) < 0)
			return -1;
		bare[round] = bursts_time(bench, way, bursts, false);
		edge[round] = bursts_time(bench, way, bursts, true);
		store_once(bench->tables.config->epoch_override, BENCH_EPOCH + 1);
		if (bare[round] < 0 || edge[round] < 0)
			return -1;
	}
	bench_pair_print("dpdk", NULL, way->name, way->text, edge, bare, way == &bench->cases[BENCH_UDP_HIT] ? AIM_PERCENT : 0);
	return 0;
}

/* A UDP hit among so many flows, in an order that no cache foresees. */
static int flows_time(struct bench *bench, uint32_t flows, const char *name, const char *text)
{
	struct bench_case way = bench->cases[BENCH_UDP_HIT];

	way.name = name;
	way.text = text;
	way.vary.flows = flows;
	way.vary.sequential = 1;
	bench_flows_clear(&bench->tables);
	bench->turn = 0;
	for (int pass = 0; pass < 3; pass++) { /* they begin, are established, and are marked */
		if (bursts_time(bench, &way, (flows + BURST - 1) / BURST, true) < 0)
			return -1;
		bench_flows_establish(&bench->tables);
	}
	way.vary.sequential = 0;
	return case_time(bench, &way);
}

#define SESSIONS_AIM 1.5

/* RTP of many calls in an order that no cache foresees, in one direction; in the same rounds of one call, and a flow of the balancer. */
static int sessions_measure(struct bench *bench, enum bench_way direction, uint32_t sessions)
{
	double ns[BENCH_ROUNDS], over[BENCH_ROUNDS], ratio[BENCH_ROUNDS], hit[BENCH_ROUNDS], swap[BENCH_ROUNDS];
	const struct bench_case *udp = &bench->cases[BENCH_UDP_HIT];
	struct bench_case one = bench->cases[direction], many = one;
	double single, median;

	one.vary.flows = 1;
	many.vary.flows = sessions;
	many.vary.sequential = 0;
	for (uint32_t round = 0; round < BENCH_ROUNDS; round++) {
		if (bursts_time(bench, udp, 30, true) < 0 || bursts_time(bench, &many, BURSTS_NEW, true) < 0)
			return -1;
		swap[round] = bursts_time(bench, &one, BURSTS, false);
		hit[round] = bursts_time(bench, udp, BURSTS, true);
		single = bursts_time(bench, &one, BURSTS, true);
		ns[round] = bursts_time(bench, &many, BURSTS_NEW, true);
		if (swap[round] < 0 || hit[round] < 0 || single < 0 || ns[round] < 0)
			return -1;
		ratio[round] = ns[round] / single;
		over[round] = ns[round] - swap[round];
	}
	median = bench_spread(ratio).median;
	printf("{\"bench\":\"sessions-dpdk\",\"case\":\"%s_%u\",\"text\":\"%s, %u call%s\",\"ns\":%.1f,\"swap_ns\":%.1f,"
	       "\"over_swap_ns\":%.1f,\"udp_hit_ns\":%.1f,\"ratio_to_one\":%.2f,\"rounds\":%u",
	       many.name, sessions, many.text, sessions, sessions == 1 ? "" : "s", bench_spread(ns).median, bench_spread(swap).median,
	       bench_spread(over).median, bench_spread(hit).median, median, BENCH_ROUNDS);
	if (sessions == BENCH_SESSIONS_MAX)
		printf(",\"aim\":%g,\"met\":%s", SESSIONS_AIM, median <= SESSIONS_AIM ? "true" : "false");
	printf("}\n");
	fflush(stdout);
	return 0;
}

static int sessions_time(struct bench *bench, struct error *error)
{
	static const uint32_t counts[] = {1, 1000, 10000, BENCH_SESSIONS_MAX};

	for (size_t i = 0; i < array_length(counts); i++) {
		if (bench_sessions_make(&bench->tables, counts[i], error) < 0)
			return -1;
		if (sessions_measure(bench, BENCH_MEDIA_UP, counts[i]) < 0 || sessions_measure(bench, BENCH_MEDIA_DOWN, counts[i]) < 0)
			return error_set(error, EINVAL, "among %u calls: another verdict, or a lost packet", counts[i]);
	}
	return 0;
}

static int ways_time(struct bench *bench, struct error *error)
{
	int code = bench_sessions_make(&bench->tables, 1, error);

	if (code < 0)
		return code;
	for (uint32_t i = 0; i < BENCH_WAYS; i++) {
		if (case_time(bench, &bench->cases[i]) < 0)
			return error_set(error, EINVAL, "%s: another verdict, or a lost packet", bench->cases[i].name);
	}
	if (flows_time(bench, 1 << 16, "udp_hit_65536", "UDP, known flow, one of 65536") < 0 ||
	    flows_time(bench, FLOWS_MOST, "udp_hit_1048576", "UDP, known flow, one of a million") < 0)
		return error_set(error, EINVAL, "among many flows: another verdict, or a lost packet");
	return 0;
}

static int bench_open(struct bench *bench, struct error *error)
{
	static char *arguments[] = {"dpdk_bench", "--no-huge", "-m", "64", "--no-pci", "--no-telemetry", "--no-shconf",
				    "--lcores=0@1", "--log-level=error"};
	struct rte_eth_conf configuration = {0};
	struct rte_mempool *pool;
	int port;

	if (rte_eal_init((int)array_length(arguments), arguments) < 0)
		return error_set(error, EIO, "starting DPDK's environment failed");
	pool = rte_pktmbuf_pool_create("packets", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	bench->rx = rte_ring_create("rx", 64, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	bench->tx = rte_ring_create("tx", 64, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	if (!pool || !bench->rx || !bench->tx || rte_pktmbuf_alloc_bulk(pool, bench->packets, BURST) < 0)
		return error_set(error, ENOMEM, "no memory");
	port = rte_eth_from_rings("bench", &bench->rx, 1, &bench->tx, 1, 0);
	if (port < 0)
		return error_set(error, EIO, "making a NIC of rings failed");
	bench->port = (uint16_t)port;
	if (rte_eth_dev_configure(bench->port, 1, 1, &configuration) < 0 ||
	    rte_eth_rx_queue_setup(bench->port, 0, 64, 0, NULL, pool) < 0 ||
	    rte_eth_tx_queue_setup(bench->port, 0, 64, 0, NULL) < 0 || rte_eth_dev_start(bench->port) < 0)
		return error_set(error, EIO, "starting a NIC of rings failed");
	return tables_map(NULL, 1, &bench->tables, error);
}

int main(int count, char **arguments)
{
	static struct bench bench;
	struct error error = {0};
	int code = bench_open(&bench, &error);

	if (code == 0)
		code = bench_site_apply(&bench.tables, 1, &error);
	if (code == 0) {
		bench_cases_init(&bench.tables, bench.cases);
		code = count > 1 && strcmp(arguments[1], "sessions") == 0 ? sessions_time(&bench, &error) : ways_time(&bench, &error);
	}
	if (code < 0)
		return fprintf(stderr, "dpdk_bench: %s\n", error.text), 1;
	return 0;
}

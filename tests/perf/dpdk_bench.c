/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one worker of selvage-dpdk does a second: tools/bench dpdk. Bursts of 32 come out of a virtual NIC made of two rings
 * (net_ring), are handled, and go back in; beside it a worker that only exchanges MAC and IP addresses does the same, in the
 * same rounds. Filling the packets anew lies outside of what is timed. Lines of JSON on standard output.
 */
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <string.h>

#include "dataplane/pipeline.h"
#include "dataplane/table_list.h"
#include "tests/perf/bench_result.h"
#include "tests/perf/bench_site.h"

#define BURST 32u
#define BURSTS 1000u
#define BURSTS_NEW 12500u
#define AIM_PERCENT 70.0

struct bench {
	struct edge_tables tables;
	struct bench_case cases[BENCH_WAYS];
	struct rte_ring *rx, *tx;
	struct rte_mbuf *packets[BURST];
	uint16_t port;
	uint32_t turn, random;
	bool floods;
};

/* The same steps as worker.c's burst_handle(); where a packet goes makes no difference to this NIC. */
static __attribute__((noinline)) bool burst_edge(struct bench *bench, const struct bench_case *way)
{
	struct edge_ingress ingress = edge_ingress(bench->tables.config, way->link, (struct edge_clock){0, 0});
	const struct edge_tables *ahead = bench->floods ? &bench->tables : NULL;
	struct rte_mbuf *packets[BURST];
	uint32_t new_flows = 0;
	uint16_t count = rte_eth_rx_burst(bench->port, 0, packets, BURST);
	bool right = count == BURST;

	for (uint16_t i = 0; i < count; i++) {
		struct decision decision = {0};

		pipeline_prefetch(ahead, packets, count, i);
		pipeline_run(&bench->tables, &ingress, packets[i], NULL, NULL, &decision);
		new_flows += decision.flags & DECISION_NEW_FLOW;
		right &= decision.verdict == way->verdict;
	}
	bench->floods = pipeline_floods(new_flows / DECISION_NEW_FLOW, count);
	return rte_eth_tx_burst(bench->port, 0, packets, count) == count && right;
}

static __attribute__((noinline)) bool burst_swap(struct bench *bench)
{
	struct rte_mbuf *packets[BURST];
	uint16_t count = rte_eth_rx_burst(bench->port, 0, packets, BURST);
	bool right = count == BURST;
	struct packet packet;

	for (uint16_t i = 0; i < count; i++) {
		pipeline_prefetch(NULL, packets, count, i);
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

/* Nanoseconds a packet of so many bursts; negative: something else came out. */
static double bursts_time(struct bench *bench, const struct bench_case *way, uint32_t bursts, bool edge)
{
	uint64_t cycles = 0;

	for (uint32_t i = 0; i < bursts; i++) {
		void *back[BURST];
		uint64_t start;
		bool right;

		packets_fill(bench, way);
		if (rte_ring_enqueue_bulk(bench->rx, (void **)bench->packets, BURST, NULL) != BURST)
			return -1;
		start = rte_rdtsc_precise();
		right = edge ? burst_edge(bench, way) : burst_swap(bench);
		cycles += rte_rdtsc_precise() - start;
		if (rte_ring_dequeue_bulk(bench->tx, back, BURST, NULL) != BURST || !right)
			return -1;
	}
	return (double)cycles * 1e9 / (double)rte_get_tsc_hz() / bursts / BURST;
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

int main(void)
{
	static struct bench bench;
	struct error error = {0};
	int code = bench_open(&bench, &error);

	if (code == 0)
		code = bench_site_apply(&bench.tables, 1, &error);
	if (code < 0)
		return fprintf(stderr, "dpdk_bench: %s\n", error.text), 1;
	bench_cases_init(&bench.tables, bench.cases);
	for (uint32_t i = 0; i < BENCH_WAYS; i++) {
		if (case_time(&bench, &bench.cases[i]) < 0)
			return fprintf(stderr, "dpdk_bench: %s: another verdict, or a lost packet\n", bench.cases[i].name), 1;
	}
	if (flows_time(&bench, 1 << 16, "udp_hit_65536", "UDP, known flow, one of 65536") < 0 ||
	    flows_time(&bench, 1 << 20, "udp_hit_1048576", "UDP, known flow, one of a million") < 0)
		return fprintf(stderr, "dpdk_bench: among many flows: another verdict, or a lost packet\n"), 1;
	return 0;
}

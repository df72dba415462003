/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nanoseconds per packet of the packet program: tools/bench xdp, native and flows. Lines of JSON on standard output.
 *
 * Each round times every case beside the bare header swap, so that what disturbs the machine disturbs both; the result is
 * the median of the rounds' differences.
 */
#include <bpf/libbpf.h>
#include <string.h>

#include "tests/perf/bench_host.h"
#include "tests/perf/bench_result.h"

#define REPEAT 20000u /* two milliseconds: short enough to lie between other processes' turns */
/*
 * Where packets touch many lines of memory. The kernel lets other work onto the processor before a test run (it changes its
 * XDP dispatcher, and waits for that), so a run begins with caches cold, and a short one is mostly that.
 */
#define REPEAT_NEW 400000u
#define REPEAT_MANY 2000000u

/* What one case cost in each round. */
struct rounds {
	double packet[BENCH_ROUNDS]; /* the packet program alone */
	double over[BENCH_ROUNDS];   /* that, less what the bare swap costs */
	double swap[BENCH_ROUNDS];
};

struct bench {
	struct bench_host *host;
	struct bench_case cases[BENCH_WAYS];
	struct error *error;
};

static int time_one(const struct bench *bench, enum bench_program program, const struct bench_case *way, uint32_t repeat,
		    double *ret_ns)
{
	enum verdict verdict = VERDICT_COUNT;
	int code = bench->host->time(bench->host, program, way, repeat, ret_ns, &verdict, bench->error);

	if (code == 0 && program == BENCH_EDGE && verdict != way->verdict)
		return error_set(bench->error, EINVAL, "%s: the verdict is %u, not %u", way->name, verdict, way->verdict);
	return code;
}

static int time_round(const struct bench *bench, const struct bench_case *way, uint32_t repeat, uint32_t round,
		      struct rounds *rounds)
{
	double empty, swap, restore, edge;
	int code = time_one(bench, BENCH_EMPTY, way, repeat, &empty);

	if (code == 0)
		code = time_one(bench, BENCH_SWAP, way, repeat, &swap);
	if (code == 0)
		code = time_one(bench, BENCH_RESTORE, way, repeat, &restore);
	if (code == 0)
		code = time_one(bench, BENCH_EDGE, way, repeat, &edge);
	if (code)
		return code;
	rounds->swap[round] = swap - empty;
	rounds->packet[round] = edge - restore;
	rounds->over[round] = edge - restore - (swap - empty);
	return 0;
}

static uint64_t flows_begun(const struct edge_tables *tables, uint32_t counter_sets)
{
	uint64_t flows = 0;

	for (uint32_t set = 0; set < counter_sets; set++) {
		for (uint32_t row = 0; row < LB_BACKEND_ROWS; row++)
			flows += tables->counters[set].backends[row].flows;
	}
	return flows;
}

/* Begins a line; the caller ends it. */
static void result_print(const char *name, const char *way, const char *text, const struct rounds *rounds)
{
	struct bench_spread packet = bench_spread(rounds->packet), over = bench_spread(rounds->over);
	struct bench_spread swap = bench_spread(rounds->swap);

	printf("{\"bench\":\"%s\",\"case\":\"%s\",\"text\":\"%s\",\"ns\":%.1f,\"swap_ns\":%.1f,\"over_swap_ns\":%.1f,"
	       "\"over_swap_low_ns\":%.1f,\"over_swap_high_ns\":%.1f,\"rounds\":%u",
	       name, way, text, packet.median, swap.median, over.median, over.low, over.high, BENCH_ROUNDS);
}

static void aim_print(double aim, double value)
{
	printf(",\"aim\":%g,\"met\":%s", aim, value <= aim ? "true" : "false");
}

/* Every case: the flow that is to be known begins first. */
static int cases_time(struct bench *bench)
{
	static struct rounds rounds[BENCH_WAYS];

	for (uint32_t round = 0; round < BENCH_ROUNDS; round++) {
		for (uint32_t i = 0; i < BENCH_WAYS; i++) {
			struct bench_case *way = &bench->cases[i];
			uint64_t before = flows_begun(&bench->host->tables, bench->host->counter_sets), begun;
			uint32_t repeat = way->new_flows ? REPEAT_NEW : REPEAT;
			double warm;
			int code = 0;

			if (way->new_flows)
				bench_flows_clear(&bench->host->tables);
			else
				code = time_one(bench, BENCH_EDGE, &bench->cases[BENCH_UDP_HIT], 1, &warm);
			if (code == 0 && !way->new_flows)
				code = time_one(bench, BENCH_EDGE, way, 1000, &warm);
			if (!way->new_flows)
				bench_flows_establish(&bench->host->tables);
			if (code == 0)
				code = time_round(bench, way, repeat, round, &rounds[i]);
			store_once(bench->host->tables.config->epoch_override, BENCH_EPOCH + 1);
			if (code)
				return code;
			begun = flows_begun(&bench->host->tables, bench->host->counter_sets) - before;
			if (way->new_flows && begun < repeat - repeat / 50)
				return error_set(bench->error, EINVAL, "%s: of %u packets only %llu began a flow", way->name,
						 repeat, (unsigned long long)begun);
		}
	}
	for (uint32_t i = 0; i < BENCH_WAYS; i++) {
		const struct bench_case *way = &bench->cases[i];

		result_print(bench->host->name, way->name, way->text, &rounds[i]);
		if (way->aim_ns)
			aim_print(way->aim_ns, bench_spread(rounds[i].over).median);
		printf("}\n");
	}
	return 0;
}

/* What many flows cost, and in the same rounds one flow. */
struct flows_rounds {
	struct rounds many, one;
	double ratios[BENCH_ROUNDS];
	uint32_t unmarked; /* flows that look into the flow table with each packet */
};

static const uint32_t session_counts[] = {1, 1000, 10000, BENCH_SESSIONS_MAX};
#define SESSIONS_AIM 1.5

/* RTP of many calls in an order that no cache foresees, in one direction; and in the same rounds of one call. */
static int sessions_measure(struct bench *bench, enum bench_way way, uint32_t sessions)
{
	struct bench_case *many = &bench->cases[way], one = *many;
	struct flows_rounds rounds = {0};
	char name[32], text[64], label[32];
	double ratio, warm;
	int code = bench_sessions_make(&bench->host->tables, sessions, bench->error);

	one.vary.flows = 1;
	many->vary.flows = sessions;
	many->vary.sequential = 0;
	for (uint32_t round = 0; round < BENCH_ROUNDS && code == 0; round++) {
		code = time_one(bench, BENCH_EDGE, many, REPEAT_NEW, &warm);
		if (code == 0)
			code = time_round(bench, &one, REPEAT_MANY, round, &rounds.one);
		if (code == 0)
			code = time_round(bench, many, REPEAT_MANY, round, &rounds.many);
		rounds.ratios[round] = rounds.many.packet[round] / rounds.one.packet[round];
	}
	many->vary.flows = 0;
	if (code)
		return code;
	ratio = bench_spread(rounds.ratios).median;
	snprintf(name, sizeof(name), "sessions-%s", bench->host->name);
	snprintf(label, sizeof(label), "%s_%u", bench->cases[way].name, sessions);
	snprintf(text, sizeof(text), "%s, %u calls", bench->cases[way].text, sessions);
	result_print(name, label, text, &rounds.many);
	printf(",\"ratio_to_one\":%.2f", ratio);
	if (sessions == BENCH_SESSIONS_MAX)
		aim_print(SESSIONS_AIM, ratio);
	printf("}\n");
	return 0;
}

static int sessions_time(struct bench *bench)
{
	for (size_t i = 0; i < array_length(session_counts); i++) {
		int code = sessions_measure(bench, BENCH_MEDIA_UP, session_counts[i]);

		if (code == 0)
			code = sessions_measure(bench, BENCH_MEDIA_DOWN, session_counts[i]);
		if (code)
			return code;
	}
	return 0;
}

static const uint32_t flow_counts[] = {1, 1000, 100000, 1000000};
#define FLOWS_AIM 1.3

/* UDP of `flows` known flows, whose packets come in an order that no cache foresees. */
static int flows_measure(struct bench *bench, uint32_t flows, struct flows_rounds *ret_rounds)
{
	struct bench_case *many = &bench->cases[BENCH_UDP_HIT], one = *many;
	double ignored;
	int code;

	one.vary.flows = 1;
	many->vary.flows = flows;
	many->vary.sequential = 1;
	bench_flows_clear(&bench->host->tables);
	code = time_one(bench, BENCH_EDGE, many, flows, &ignored); /* each flow begins */
	if (code == 0)
		code = time_one(bench, BENCH_EDGE, many, flows, &ignored); /* and is established */
	ret_rounds->unmarked = bench_flows_unmarked(&bench->host->tables, many, flows);
	many->vary.sequential = 0;
	for (uint32_t round = 0; round < BENCH_ROUNDS && code == 0; round++) {
		code = time_round(bench, &one, REPEAT_MANY, round, &ret_rounds->one);
		if (code == 0)
			code = time_round(bench, many, REPEAT_MANY, round, &ret_rounds->many);
		ret_rounds->ratios[round] = ret_rounds->many.packet[round] / ret_rounds->one.packet[round];
	}
	many->vary.flows = 0;
	return code;
}

static int flows_time(struct bench *bench)
{
	for (size_t i = 0; i < array_length(flow_counts); i++) {
		struct flows_rounds rounds = {0};
		char name[32], way[32], text[64];
		double ratio;
		int code = flows_measure(bench, flow_counts[i], &rounds);

		if (code)
			return code;
		ratio = bench_spread(rounds.ratios).median;
		snprintf(name, sizeof(name), "flows-%s", bench->host->name);
		snprintf(way, sizeof(way), "flows_%u", flow_counts[i]);
		snprintf(text, sizeof(text), "UDP, %u known flow%s", flow_counts[i], i ? "s" : "");
		result_print(name, way, text, &rounds.many);
		printf(",\"ratio_to_one\":%.2f,\"looked_up_share\":%.4f", ratio, (double)rounds.unmarked / flow_counts[i]);
		if (i == array_length(flow_counts) - 1)
			aim_print(FLOWS_AIM, ratio);
		printf("}\n");
	}
	return 0;
}

#define FLOOD_FLOWS 20000u   /* established */
#define FLOOD_PACKETS 20000u /* of theirs between two bursts of the flood */
#define FLOOD_BURST 100000u
#define FLOOD_BURSTS 21u     /* two million beginnings: what the flow table holds */
#define FLOOD_AIM 1.2

/* Packets of established flows alone, then the same between bursts of flows that begin and never go on. */
static int flood_measure(struct bench *bench, struct bench_case *flood, double *ret_alone, double *ret_beside)
{
	struct bench_case *known = &bench->cases[BENCH_UDP_HIT];
	double ns, alone[FLOOD_BURSTS], beside[FLOOD_BURSTS];
	int code;

	bench_flows_clear(&bench->host->tables);
	known->vary.flows = FLOOD_FLOWS;
	code = time_one(bench, BENCH_EDGE, known, 2 * FLOOD_FLOWS, &ns);
	for (uint32_t i = 0; i < FLOOD_BURSTS && code == 0; i++)
		code = time_one(bench, BENCH_EDGE, known, FLOOD_PACKETS, &alone[i]);
	for (uint32_t i = 0; i < FLOOD_BURSTS && code == 0; i++) {
		flood->vary.source_base += FLOOD_BURST;
		code = time_one(bench, BENCH_EDGE, flood, FLOOD_BURST, &ns);
		if (code == 0)
			code = time_one(bench, BENCH_EDGE, known, FLOOD_PACKETS, &beside[i]);
	}
	if (code)
		return code;
	*ret_alone = *ret_beside = 0;
	for (uint32_t i = 0; i < FLOOD_BURSTS; i++) {
		*ret_alone += alone[i] / FLOOD_BURSTS;
		*ret_beside += beside[i] / FLOOD_BURSTS;
	}
	return 0;
}

static int flood_time(struct bench *bench)
{
	struct bench_case flood = bench->cases[BENCH_UDP_NEW];
	double alone[BENCH_ROUNDS], beside[BENCH_ROUNDS], ratios[BENCH_ROUNDS], ratio;
	uint32_t unmarked;

	flood.vary.flows = FLOOD_BURST;
	flood.vary.sequential = 1;
	flood.vary.source_base += 1u << 24; /* nobody of the established */
	for (uint32_t round = 0; round < BENCH_ROUNDS; round++) {
		int code = flood_measure(bench, &flood, &alone[round], &beside[round]);

		if (code)
			return code;
		ratios[round] = beside[round] / alone[round];
	}
	unmarked = bench_flows_unmarked(&bench->host->tables, &bench->cases[BENCH_UDP_HIT], FLOOD_FLOWS);
	ratio = bench_spread(ratios).median;
	printf("{\"bench\":\"flood-%s\",\"case\":\"flood\",\"text\":\"UDP, %u established flows beside a flood\",\"ns\":%.1f,"
	       "\"ns_alone\":%.1f,\"ratio\":%.2f,\"looked_up_share\":%.4f,\"rounds\":%u",
	       bench->host->name, FLOOD_FLOWS, bench_spread(beside).median, bench_spread(alone).median, ratio,
	       (double)unmarked / FLOOD_FLOWS, BENCH_ROUNDS);
	aim_print(FLOOD_AIM, ratio);
	printf("}\n");
	return 0;
}

static const struct {
	const char *name;
	int (*open)(struct bench_host **ret_host, struct error *error);
	int (*run)(struct bench *bench);
} benchmarks[] = {
	{"xdp", bench_host_xdp, cases_time},
	{"native", bench_host_native, cases_time},
	{"sessions", bench_host_xdp, sessions_time},
	{"sessions", bench_host_native, sessions_time},
	{"flows", bench_host_xdp, flows_time},
	{"flows", bench_host_native, flows_time},
	{"flood", bench_host_xdp, flood_time},
	{"flood", bench_host_native, flood_time},
};

static int benchmark_run(size_t i, struct error *error)
{
	_cleanup_(bench_host_freep) struct bench_host *host = NULL;
	struct bench bench = {.error = error};
	int code = benchmarks[i].open(&host, error);

	if (code == 0)
		code = bench_site_apply(&host->tables, host->counter_sets, error);
	if (code)
		return code;
	bench.host = host;
	bench_cases_init(&host->tables, bench.cases);
	code = bench_sessions_make(&host->tables, 1, error);
	if (code)
		return code;
	return benchmarks[i].run(&bench);
}

int main(int count, char **arguments)
{
	struct error error = {0};
	int ran = 0;

	bench_pin(1);
	for (int argument = 1; argument < count; argument++) {
		for (size_t i = 0; i < array_length(benchmarks); i++) {
			if (strcmp(benchmarks[i].name, arguments[argument]) != 0)
				continue;
			ran++;
			if (benchmark_run(i, &error) < 0)
				return fprintf(stderr, "packet_bench: %s: %s\n", arguments[argument], error.text), 1;
		}
	}
	if (ran == 0)
		return fprintf(stderr, "packet_bench: name some of xdp, native, sessions, flows and flood\n"), 2;
	return 0;
}

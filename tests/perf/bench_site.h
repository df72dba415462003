/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the packet benchmarks run on: one node with two interfaces, ten backends behind one UDP and one TCP service of each
 * family, clients behind a gateway and on the link, and one frame for each way through the packet program.
 */
#pragma once

#include "base/lib/error.h"
#include "edge/edge_program.h"
#include "tests/perf/edge_bench.h"

#define BENCH_CLIENT_LINK 7u
#define BENCH_BACKEND_LINK 8u
#define BENCH_EPOCH 1000u
#define BENCH_BACKENDS 10u

enum bench_way {
	BENCH_ARP,
	BENCH_NS,
	BENCH_UDP_HIT,
	BENCH_UDP_NEW,
	BENCH_UDP_NEW_ON_LINK,
	BENCH_UDP_EPOCH,
	BENCH_TCP_SYN,
	BENCH_TCP_HIT,
	BENCH_UDP6_HIT,
	BENCH_UDP_GUE,
	BENCH_UDP_IPIP6,
	BENCH_REVERSE,
	BENCH_NOT_OURS,
	BENCH_MEDIA_UP,
	BENCH_MEDIA_DOWN,
	BENCH_MEDIA_MOVED,
	BENCH_CHECK,
	BENCH_WAYS
};

/* One way through the packet program. */
struct bench_case {
	const char *name; /* "udp_hit" */
	const char *text; /* "UDP, known flow" */
	enum verdict verdict;
	uint32_t link; /* where it comes in */
	uint32_t aim_ns; /* over the bare swap; 0: none was set */
	bool new_flows;   /* every packet begins one */
	uint32_t length;
	uint8_t frame[128];
	struct bench_config vary; /* how clients take turns */
};

/* Writes the site into an engine's tables. */
must_check int bench_site_apply(const struct edge_tables *tables, uint32_t counter_sets, struct error *error);

/* Fills `ret_cases[BENCH_WAYS]`. `tables` hold the site: they tell which backend answers. */
void bench_cases_init(const struct edge_tables *tables, struct bench_case *ret_cases);

/* The way's frame, from whose turn it is among its clients (edge_bench.h). */
void bench_frame_next(const struct bench_case *way, uint32_t *turn, uint32_t *random, uint8_t ret_frame[static 128]);

/* Makes sessions of the first `count` clients, after forgetting those there were. */
must_check int bench_sessions_make(const struct edge_tables *tables, uint32_t count, struct error *error);
#define BENCH_SESSIONS_MAX 100000u

/* Forgets every flow. */
void bench_flows_clear(const struct edge_tables *tables);

/* Every flow that has begun is established: TCP's clients answer what no backend sends here. */
void bench_flows_establish(const struct edge_tables *tables);

/* Of the first `flows` clients of a UDP hit, those that the filter does not vouch for: they look into the flow table. */
uint32_t bench_flows_unmarked(const struct edge_tables *tables, const struct bench_case *udp_hit, uint32_t flows);

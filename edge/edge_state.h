/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * All that a running packet program reads and writes: one struct for each table, each a BPF map of one value (shared with
 * user space by mmap), or a piece of a process' own memory (DPDK, replay, tests).
 */
#pragma once

#include "base/packet/link.h"
#include "base/packet/neighbour.h"
#include "base/packet/route.h"
#include "base/packet/verdict.h"
#include "dns/dns_state.h"
#include "lb/lb_fragment_state.h"
#include "lb/lb_guard_state.h"
#include "lb/lb_state.h"
#include "rtc/rtc_state.h"
#include "vip/vip_state.h"

/* Changes whenever the meaning of a byte below does: a daemon adopts tables of its own number only. */
#define EDGE_ABI 7u

/* Flow and neighbour ages are counted in epochs of about eight seconds. */
#define EDGE_EPOCH_MS 8192u

/* Programs in the kernel that the packet program goes on in: places in edge_tails_xdp and edge_tails_tc. */
#define EDGE_TAIL_DNS 0u
#define EDGE_TAIL_COUNT 1u

#define EDGE_TRACE_ON 0x01         /* report packets to user space */
#define EDGE_TRACE_DROPS 0x02      /* only dropped ones */
#define EDGE_TRACE_DECISIONS 0x04  /* only those that a function decided: nothing that merely passes */
#define EDGE_TRACE_INTERESTING 0x08 /* only drops, beginnings of flows, and decided packets that tell of an error */

/* A limit on reported packets is counted over this part of an epoch: an eighth of a second. */
#define EDGE_TRACE_TICK_BITS 6u
#define EDGE_TRACE_TICK_MS (EDGE_EPOCH_MS >> EDGE_TRACE_TICK_BITS)

/* Wanted neighbours are told of once in such a part, and of so many of them by each worker: a flood to hosts that are not there is not user space's. */
#define EDGE_WANTED_IN_TICK 32u
#define EDGE_WANTED_PLACES 64u

/* writer: ctrl, readers: workers */
struct edge_config {
	uint32_t abi;
	uint32_t epoch_override; /* 1 + the epoch to use instead of the clock's, for replay; 0: the clock */
	uint32_t trace;          /* EDGE_TRACE_* */
	uint32_t trace_protocol; /* 0: any */
	struct address trace_address; /* source or destination; all zero: any */
	uint32_t trace_port;          /* source or destination, host order; 0: any */
	uint32_t ingress_override;    /* the interface to use instead of the packet's own, for replay; 0: its own */
	uint32_t trace_snaplen;       /* bytes of a packet that are reported; 0: EDGE_EVENT_BYTES */
	uint32_t trace_limit;         /* packets that a worker reports in a tick; 0: no limit */
	uint32_t now_override;        /* 1 + the milliseconds to use instead of the clock's, for replay; 0: the clock */
	uint32_t calls;               /* 0: there is no service of media; else a number that changes with the tables (rtc_shortcut_fast.h) */
	uint32_t unused[2];
};
_Static_assert(sizeof(struct edge_config) == 64, "one cache line");

struct edge_backend_count {
	uint64_t packets;
	uint64_t bytes;
	uint64_t flows;   /* new flows */
	uint64_t answers; /* packets translated back */
	uint64_t answer_bytes;
	uint64_t unused[3];
};
_Static_assert(sizeof(struct edge_backend_count) == 64, "one cache line");

/* One for each CPU or worker: plain additions, no atomics. writer: its worker, reader: ctrl */
struct edge_counters {
	uint64_t verdicts[FUNCTION_COUNT][VERDICT_PLACES];
	uint64_t drops[DROP_COUNT];
	uint64_t bytes_in;
	uint64_t trace_hidden; /* packets that a trace asked for and did not get: above its limit, or the ring was full */
	uint32_t trace_tick;   /* the one that trace_count is of */
	uint32_t trace_count;  /* reported in it */
	uint32_t wanted_tick;  /* the one that wanted_count is of */
	uint32_t wanted_count; /* neighbours asked for in it */
	uint64_t wanted_hidden; /* that were not asked for: above the limit */
	uint32_t wanted_asked[EDGE_WANTED_PLACES]; /* whom, in which tick */
	struct dns_scratch dns __attribute__((aligned(64)));
	struct edge_backend_count backends[LB_BACKEND_ROWS] __attribute__((aligned(64)));
	struct rtc_scratch scratch; /* no count */
};

/* Pointers to the tables: a packet's context, and user space's hold on an engine. */
struct edge_tables {
	struct edge_config *config;
	struct link_table *links;
	struct route_table *routes;
	struct neighbour_table *neighbours;
	struct vip_tables *vips;
	struct lb_tables *lb;
	struct lb_rings *rings;
	struct lb_flows *flows;
	struct lb_filter *filter;
	struct lb_fragments *fragments;
	struct lb_holding *holding;
	struct lb_guards *guards;
	struct lb_limiter *limiter;
	struct rtc_tables *rtc;
	struct rtc_sessions *sessions;
	struct rtc_index *index;
	struct dns_tables *dns;         /* says how many of the next two there are */
	struct dns_bucket *dns_buckets; /* not for packets in the kernel, which look them up */
	struct dns_block *dns_blocks;
	struct edge_counters *counters; /* the worker's own; in user space the first of `counter_sets` */
};

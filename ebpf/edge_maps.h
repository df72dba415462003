/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The tables as BPF maps: arrays of one value, mapped into user space's memory. Names are the pins' file names in
 * RUN/bpf/. `edge_counters` has one value for each CPU; its size is set when loaded.
 */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "edge/edge_event.h"
#include "edge/edge_fast.h"
#include "edge/edge_state.h"

#define EDGE_TABLE(name, struct_type)              \
	struct {                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);  \
		__uint(max_entries, 1);            \
		__uint(map_flags, BPF_F_MMAPABLE); \
		__type(key, uint32_t);             \
		__type(value, struct_type);        \
	} name SEC(".maps")

EDGE_TABLE(edge_config, struct edge_config);
EDGE_TABLE(edge_links, struct link_table);
EDGE_TABLE(edge_routes, struct route_table);
EDGE_TABLE(edge_neighbours, struct neighbour_table);
EDGE_TABLE(edge_vips, struct vip_tables);
EDGE_TABLE(edge_lb, struct lb_tables);
EDGE_TABLE(edge_rings, struct lb_rings);
EDGE_TABLE(edge_flows, struct lb_flows);
EDGE_TABLE(edge_filter, struct lb_filter);
EDGE_TABLE(edge_fragments, struct lb_fragments);
EDGE_TABLE(edge_holding, struct lb_holding);
EDGE_TABLE(edge_guards, struct lb_guards);
EDGE_TABLE(edge_limiter, struct lb_limiter);
EDGE_TABLE(edge_rtc, struct rtc_tables);
EDGE_TABLE(edge_sessions, struct rtc_sessions);
EDGE_TABLE(edge_index, struct rtc_index);
EDGE_TABLE(edge_dns, struct dns_tables);
EDGE_TABLE(edge_counters, struct edge_counters);

/* The DNS cache: as many as the loader says. */
#define EDGE_ROWS(name, struct_type)               \
	struct {                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);  \
		__uint(max_entries, 64);           \
		__uint(map_flags, BPF_F_MMAPABLE); \
		__type(key, uint32_t);             \
		__type(value, struct_type);        \
	} name SEC(".maps")

EDGE_ROWS(edge_dns_buckets, struct dns_bucket);
EDGE_ROWS(edge_dns_blocks, struct dns_block);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} edge_events SEC(".maps");

/* log2 of the kernel's ticks in an epoch: set by the loader, which measures the tick. */
const volatile uint32_t edge_epoch_shift = 11;

/* The kernel's tick in parts of a millisecond, 1024 to one: set by the loader too. */
const volatile uint32_t edge_tick_scale = 4u << 10;

/*
 * A table's memory: the loader puts its address where the program names the map (loader_address.c). The compiler knows the
 * map's declaration only, which is as large as any single access.
 */
#define edge_table(map) ((void *)&(map))

/* This processor's; NULL never happens, but the verifier wants to hear it. */
PACKET_INLINE struct edge_counters *edge_counters_get(void)
{
	uint32_t cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&edge_counters, &cpu);
}

/* All tables but the counters. */
PACKET_INLINE struct edge_tables edge_tables_get(void)
{
	return (struct edge_tables){
		.config = edge_table(edge_config),
		.links = edge_table(edge_links),
		.routes = edge_table(edge_routes),
		.neighbours = edge_table(edge_neighbours),
		.vips = edge_table(edge_vips),
		.lb = edge_table(edge_lb),
		.rings = edge_table(edge_rings),
		.flows = edge_table(edge_flows),
		.filter = edge_table(edge_filter),
		.fragments = edge_table(edge_fragments),
		.holding = edge_table(edge_holding),
		.guards = edge_table(edge_guards),
		.limiter = edge_table(edge_limiter),
		.rtc = edge_table(edge_rtc),
		.sessions = edge_table(edge_sessions),
		.index = edge_table(edge_index),
		.dns = edge_table(edge_dns),
	};
}

/* bpf_jiffies64() is one load; a clock helper would cost more than the lookup it dates. */
PACKET_INLINE struct edge_clock edge_clock_now(void)
{
	uint64_t ticks = bpf_jiffies64();

	return (struct edge_clock){(uint32_t)(ticks >> edge_epoch_shift), (uint32_t)(ticks * edge_tick_scale >> 10)};
}

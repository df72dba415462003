/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: the tables of an engine in plain memory, and a host that counts its waits. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "base/packet/wire.h"
#include "edge/edge_program.h"

struct edge_memory {
	struct edge_config config;
	struct link_table links;
	struct route_table routes;
	struct neighbour_table neighbours;
	struct vip_tables vips;
	struct lb_tables lb;
	struct lb_rings rings;
	struct lb_flows flows;
	struct lb_filter filter;
	struct lb_fragments fragments;
	struct lb_holding holding;
	struct lb_guards guards;
	struct lb_limiter limiter;
	struct rtc_tables rtc;
	struct rtc_index index;
	struct rtc_sessions sessions;
	struct edge_counters counters[2];
};

struct edge_fixture {
	struct edge_host host; /* first */
	struct edge_memory *memory;
	struct edge_program *program;
	uint32_t epoch;
	uint32_t now_ms;
	uint32_t waits;
	void (*on_wait)(struct edge_fixture *fixture);
	void *context;
};

static inline void fixture_quiesce(const struct edge_host *host)
{
	struct edge_fixture *fixture = (struct edge_fixture *)(uintptr_t)host;

	fixture->waits++;
	if (fixture->on_wait)
		fixture->on_wait(fixture);
}

static inline uint32_t fixture_epoch(const struct edge_host *host)
{
	return ((const struct edge_fixture *)(const void *)host)->epoch;
}

static inline uint32_t fixture_now_ms(const struct edge_host *host)
{
	return ((const struct edge_fixture *)(const void *)host)->now_ms;
}

static inline struct edge_tables memory_tables(struct edge_memory *memory)
{
	return (struct edge_tables){
		.config = &memory->config,
		.links = &memory->links,
		.routes = &memory->routes,
		.neighbours = &memory->neighbours,
		.vips = &memory->vips,
		.lb = &memory->lb,
		.rings = &memory->rings,
		.flows = &memory->flows,
		.filter = &memory->filter,
		.fragments = &memory->fragments,
		.holding = &memory->holding,
		.guards = &memory->guards,
		.limiter = &memory->limiter,
		.rtc = &memory->rtc,
		.sessions = &memory->sessions,
		.index = &memory->index,
		.counters = memory->counters,
	};
}

static inline struct edge_memory *memory_new(void)
{
	struct edge_memory *memory = aligned_alloc(64, (sizeof(*memory) + 63) / 64 * 64);

	if (memory)
		memset(memory, 0, sizeof(*memory));
	return memory;
}

static inline struct edge_fixture *edge_fixture_new(void)
{
	struct edge_fixture *fixture = calloc(1, sizeof(*fixture));
	struct edge_tables tables;

	if (!fixture)
		return NULL;
	fixture->host = (struct edge_host){fixture_quiesce, fixture_epoch, fixture_now_ms};
	fixture->epoch = 100;
	fixture->memory = memory_new();
	if (!fixture->memory)
		abort();
	tables = memory_tables(fixture->memory);
	fixture->program = edge_program_new(&tables, 2, &fixture->host);
	if (!fixture->program)
		abort();
	return fixture;
}

static inline void edge_fixture_free(struct edge_fixture *fixture)
{
	edge_program_free(fixture->program);
	free(fixture->memory);
	free(fixture);
}

static inline struct address ipv4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return address_from_ipv4((uint32_t)a | (uint32_t)b << 8 | (uint32_t)c << 16 | (uint32_t)d << 24);
}

/* A next hop all of whose parts say which one it is. */
static inline struct egress egress_number(uint32_t number)
{
	return (struct egress){.destination_mac = 0x020000000000ull + number,
			       .source_mac = 0x060000000000ull + number,
			       .ifindex = number,
			       .vlan = (uint16_t)(number & 0xfff),
			       .flags = EGRESS_RESOLVED};
}

static inline bool egress_whole(const struct egress *egress)
{
	struct egress whole = egress_number(egress->ifindex);

	return !(egress->flags & EGRESS_RESOLVED) ||
	       (egress->destination_mac == whole.destination_mac && egress->source_mac == whole.source_mac &&
		egress->vlan == whole.vlan);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What loader*.c share. */
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "ebpf/loader.h"

struct edge_xdp;
struct edge_tc;
struct ring_buffer;

#define LOADER_TABLES (sizeof(struct edge_tables) / sizeof(void *))

struct loader {
	char directory[LOADER_PATH_SIZE]; /* empty: nothing is pinned */
	enum loader_found found;
	struct edge_xdp *xdp;
	struct edge_tc *tc;
	bool dns_replaced; /* the DNS cache there is of another size */
	int program_xdp, program_tc, program_deliver, program_clock, program_tick; /* owned by the two objects */
	uint32_t config_id;                                          /* kernel's number of edge_config */
	uint32_t counter_sets;
	struct edge_tables tables;
	size_t sizes[LOADER_TABLES]; /* of the mappings in `tables`, in its order */
	int table_fds[LOADER_TABLES]; /* owned by the objects */
	struct ring_buffer *ring;
	loader_event_handler *handler; /* during loader_events_consume() */
	void *handler_context;
};

/* Programs that this process loads from now on have the addresses of tables in them. Any thread. */
void loader_address_tables(void);

/* Puts why a bpf() call failed into words. */
int loader_fail(struct error *error, int code, const char *what);

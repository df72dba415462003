/* SPDX-License-Identifier: Apache-2.0 */
/* The work that the parts of reconcile share: what they collect, in the result's arena. Private to reconcile. */
#pragma once

#include <string.h>

#include "base/lib/arena.h"
#include "ctrl/program/reconcile.h"

#define LIST(type)                      \
	struct {                        \
		type *items;            \
		size_t count, capacity; \
	}

/* A new zeroed item at the end of a LIST; pointers to earlier items become void. */
#define list_push(arena, list)                                                                                   \
	({                                                                                                       \
		if ((list)->count == (list)->capacity) {                                                         \
			size_t wanted_capacity = (list)->capacity ? 2 * (list)->capacity : 16;                   \
			void *moved = arena_array(arena, wanted_capacity, sizeof(*(list)->items));               \
                                                                                                                 \
			if ((list)->count)                                                                       \
				memcpy(moved, (list)->items, (list)->count * sizeof(*(list)->items));            \
			(list)->items = moved;                                                                   \
			(list)->capacity = wanted_capacity;                                                      \
		}                                                                                                \
		&(list)->items[(list)->count++];                                                                 \
	})

/* How often an endpoint, or an address with port and protocol 0, was counted. Open addressing, at most half full. */
struct reconcile_tally_entry {
	struct address address;
	uint32_t port_protocol; /* port | protocol << 16 */
	uint32_t count;         /* 0: empty */
};

struct reconcile_tally {
	struct reconcile_tally_entry *entries;
	size_t used, size;
};

struct reconcile_work {
	const struct reconcile_input *input;
	struct arena *arena;
	struct ipam_result assignments;
	uint64_t next_ms;
	LIST(struct link_wanted) links;
	LIST(struct route_wanted) routes;
	LIST(struct neighbour_wanted) neighbours;
	LIST(struct peer_wanted) peers;
	LIST(struct vip_wanted) vip_rows;
	LIST(struct reconcile_vip) vips;
	LIST(struct lb_service_wanted) service_rows;
	LIST(struct reconcile_service) services;
	LIST(struct health_check) checks;
	LIST(struct reconcile_announcement) announcements;
	LIST(struct address) destinations;
	struct reconcile_tally destinations_seen;
	struct reconcile_tally endpoint_uses; /* services that have it as a backend */
	LIST(struct reconcile_alarm) alarms;
};

const char *work_text(struct reconcile_work *work, const char *format, ...) __attribute__((format(printf, 2, 3)));
void work_alarm(struct reconcile_work *work, const char *subject, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Counts one more and returns how many there are now. */
uint32_t tally_add(struct reconcile_work *work, struct reconcile_tally *tally, const struct address *address,
		   uint16_t port, uint8_t protocol);

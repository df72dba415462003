/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind edge_program.h share: the tables that belong to no function. */
#pragma once

#include "base/lib/row_table.h"
#include "edge/edge_program.h"

/* Whether they can be put into the table: 0, -EINVAL, -E2BIG, -ENOMEM. */
must_check int links_check(const struct link_wanted *links, size_t count, struct error *error);
void links_init(struct row_table *table, struct link_table *links, struct quiesce *quiesce);
must_check int links_apply(struct row_table *table, const struct link_wanted *links, size_t count,
			   struct edge_changes *changes, struct error *error);

/* The same for addresses of tunnels. */
must_check int peers_check(const struct peer_wanted *peers, size_t count, struct error *error);
void peers_init(struct row_table *table, struct lb_peers *peers, struct quiesce *quiesce);
must_check int peers_apply(struct row_table *table, const struct peer_wanted *peers, size_t count,
			   struct edge_changes *changes, struct error *error);

/* Rows as they shall be: longest prefix first, superfluous ones left out. 0, -E2BIG, -ENOMEM. */
struct route_plan {
	struct route_row rows[ROUTE_ROWS];
	uint32_t count;
};

must_check int routes_plan(const struct route_wanted *routes, size_t count, struct route_plan *ret_plan,
			   struct error *error);
/* `stamp`: of the buffer that is not in use. */
void routes_apply(struct route_table *table, const struct route_plan *plan, struct quiesce *quiesce, uint64_t *stamp,
		  struct edge_changes *changes);

/* The neighbours that the kernel knows, as the last apply named them; the table holds others that workers learned. */
struct neighbour_book {
	struct neighbour_table *table;
	struct directory_pair *wanted; /* sorted by address and link; `row` is 1 + the place in `macs` */
	uint64_t *macs;
	size_t count;
};

void neighbours_done(struct neighbour_book *book);
must_check int neighbours_apply(struct neighbour_book *book, const struct neighbour_wanted *neighbours, size_t count,
				uint32_t now_epoch, struct edge_changes *changes, struct error *error);
/* Keeps wanted ones fresh, removes what nobody confirmed for ten minutes. Returns how many it removed. */
uint32_t neighbours_age(struct neighbour_book *book, uint32_t now_epoch);

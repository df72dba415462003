/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The way back to clients. User space writes the routes that matter, longest prefix first, into the buffer not in use
 * and switches by one store. Routes that a covering one makes superfluous are left out there, so a table learned by BGP
 * from one router is one row.
 */
#pragma once

#include "base/packet/address.h"
#include "base/packet/verdict.h"

#define ROUTE_ROWS 64u

/* writer: ctrl, readers: workers */
struct route_row {
	struct address network;
	struct address mask;
	struct egress egress; /* EGRESS_ON_LINK: destination_mac is the neighbour table's to tell */
	uint64_t unused;
};
_Static_assert(sizeof(struct route_row) == 64, "one cache line");

struct route_table {
	uint64_t control; /* buffer << 32 | rows in use */
	uint64_t unused[7];
	struct route_row rows[2][ROUTE_ROWS];
};

/* NULL: no route. */
PACKET_INLINE const struct route_row *route_find(const struct route_table *table, const struct address *address)
{
	uint64_t control = load_once(table->control);
	const struct route_row *rows = table->rows[control >> 32 & 1];
	uint32_t count = (uint32_t)control;

	for (uint32_t i = 0; i < ROUTE_ROWS; i++) {
		const struct route_row *row = &rows[i];

		if (i >= count)
			break;
		if ((address->word[0] & row->mask.word[0]) == row->network.word[0] &&
		    (address->word[1] & row->mask.word[1]) == row->network.word[1])
			return row;
	}
	return NULL;
}

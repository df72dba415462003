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
	uint16_t mtu; /* the longest IP packet that the link takes */
	uint16_t unused[3];
};
_Static_assert(sizeof(struct route_row) == 64, "one cache line");

struct route_table {
	uint64_t control; /* buffer << 32 | rows in use */
	uint64_t unused[7];
	struct route_row rows[2][ROUTE_ROWS];
};

/* 1 + the place of the longest matching prefix in `rows[0]` and `rows[1]` seen as one array, 0 for no route. */
PACKET_INLINE uint32_t route_place_find(const struct route_table *table, const struct address *address)
{
	const struct route_row *rows;
	uint32_t count, buffer;
	uint64_t control;

	control = load_once(table->control);
	buffer = control >> 32 & 1;
	rows = table->rows[buffer];
	count = (uint32_t)control;
	for (uint32_t i = 0; i < ROUTE_ROWS; i++) {
		const struct route_row *row = &rows[i];

		if (i >= count)
			break;
		if ((address->word[0] & row->mask.word[0]) == row->network.word[0] &&
		    (address->word[1] & row->mask.word[1]) == row->network.word[1])
			return buffer * ROUTE_ROWS + i + 1;
	}
	return 0;
}

/* The route to an address, NULL when there is none. */
PACKET_INLINE const struct route_row *route_find(const struct route_table *table, const struct address *address)
{
	uint32_t place = route_place_find(table, address);

	return place ? &(&table->rows[0][0])[(place - 1) & (2 * ROUTE_ROWS - 1)] : NULL;
}

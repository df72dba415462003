/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The interfaces that packets come in by, by interface index and VLAN. */
#pragma once

#include "base/packet/directory.h"

#define LINK_ROWS 512u
#define LINK_DIRECTORY_BITS 12u

#define LINK_WORKLOAD 0x01 /* a local workload's veth: no virtual IP is announced there */
#define LINK_DNS 0x02      /* DNS addresses of this node are served here */

/* writer: ctrl, readers: workers */
struct link_row {
	uint64_t mac;      /* mac_word() */
	uint64_t announce; /* one bit of vip_row.links; 0 where nothing is announced */
	uint32_t ifindex;
	uint16_t vlan;
	uint16_t flags; /* LINK_* */
	uint64_t unused;
};
_Static_assert(sizeof(struct link_row) == 32, "table row");

struct link_table {
	DIRECTORY(LINK_DIRECTORY_BITS) directory;
	struct link_row rows[LINK_ROWS];
};

PACKET_INLINE struct directory_key link_key(uint32_t ifindex, uint16_t vlan)
{
	return (struct directory_key){{ifindex, vlan, 0}};
}

/* The row number of an interface, 0 when it is not one of ours. */
PACKET_INLINE uint32_t link_row_find(const struct link_table *table, uint32_t ifindex, uint32_t vlan)
{
	struct directory_key key = link_key(ifindex, (uint16_t)vlan);

	return DIRECTORY_FIND(&table->directory, LINK_DIRECTORY_BITS, &key);
}

/* The row of an interface, NULL when it is not one of ours. */
PACKET_INLINE const struct link_row *link_find(const struct link_table *table, uint32_t ifindex, uint16_t vlan)
{
	uint32_t row = link_row_find(table, ifindex, vlan);

	return row ? &table->rows[row & (LINK_ROWS - 1)] : NULL;
}

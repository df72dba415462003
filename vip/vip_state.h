/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The virtual IPs, as packets see them. */
#pragma once

#include "base/packet/address.h"
#include "base/packet/directory.h"

#define VIP_ROWS 1024u
#define VIP_DIRECTORY_BITS 13u

#define VIP_OWNED 0x01 /* this node answers for it; without it, it stays silent */

/* writer: ctrl, readers: workers */
struct vip_row {
	struct address address;
	uint64_t links; /* link_row.announce bits of the links on which this node answers ARP and ND for it */
	uint32_t flags; /* VIP_* */
	uint32_t unused;
};
_Static_assert(sizeof(struct vip_row) == 32, "table row");

struct vip_tables {
	DIRECTORY(VIP_DIRECTORY_BITS) directory;
	struct vip_row rows[VIP_ROWS];
};

/* `ipv6`: as it came on the wire, so that ::ffff:a.b.c.d in an IPv6 header never meets an IPv4 row. */
PACKET_INLINE struct directory_key vip_key(const struct address *address, bool ipv6)
{
	return (struct directory_key){{address->word[0], address->word[1], ipv6}};
}

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Handed by the XDP program to the tc program on the same interface, in front of the packet: this one goes to a local
 * workload. A veth takes XDP redirects only when its peer, inside the workload's namespace, is prepared for them; the
 * stack's redirect always works.
 */
#pragma once

#include "base/packet/verdict.h"

#define EDGE_DELIVER_MAGIC 0x5e17a9e0u

struct edge_deliver {
	uint32_t magic; /* EDGE_DELIVER_MAGIC | EGRESS_PEER_APART */
	uint32_t ifindex;
};
_Static_assert((EDGE_DELIVER_MAGIC & EGRESS_PEER_APART) == 0, "the flag has a place of its own");

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that packets shall see on one node: the result of reconcile, a pure function, and the input of edge_program.h.
 * Plain values; whoever fills it owns what it points to.
 */
#pragma once

#include "base/lib/address_text.h"
#include "edge/edge_state.h"
#include "lb/lb_wanted.h"
#include "vip/vip_wanted.h"

/* An interface that packets come in by. */
struct link_wanted {
	uint32_t ifindex;
	uint16_t vlan;     /* 0: untagged */
	bool workload;     /* a local workload's veth: nothing is announced there */
	bool dns;          /* DNS addresses (lb_service_wanted.dns) are served here */
	uint64_t mac;      /* mac_word() */
	uint64_t announce; /* a bit that vip_wanted.links names; links with the same virtual IPs may share it; 0: none there */
};

/* A way back to clients. Of routes to the same prefix the first one counts. */
struct route_wanted {
	struct prefix prefix; /* host bits do not matter */
	struct egress egress; /* EGRESS_ON_LINK: the destination is the neighbour; else the gateway's addresses */
	uint16_t mtu;         /* of the link; 0: not known, all packets fit */
};

/* A client's hardware address, as the kernel knows it. */
struct neighbour_wanted {
	struct address address;
	uint64_t mac; /* mac_word() */
	uint32_t ifindex; /* the device that frames leave by, with their tag, as in struct egress */
	uint16_t vlan;
};

/* An address whose tunnels matter: of another node, which wraps packets for us, or our own, to which it sends them. */
struct peer_wanted {
	struct address address;
	bool own;
};

struct edge_wanted {
	uint64_t hash_seed; /* the same on all nodes of a cluster; a new one moves every flow */
	const struct link_wanted *links;
	size_t link_count;
	const struct route_wanted *routes; /* as many as there are; what a covering route makes superfluous is left out of the table */
	size_t route_count;
	const struct neighbour_wanted *neighbours;
	size_t neighbour_count;
	const struct peer_wanted *peers; /* no address twice */
	size_t peer_count;
	const struct vip_wanted *vips;
	size_t vip_count;
	const struct lb_service_wanted *services;
	size_t service_count;
};

/* A time as table epochs: at least 1, at most LB_EPOCHS_MAX (8.6 hours), rounded up. */
static inline uint16_t edge_epochs_from_ms(uint64_t time_ms)
{
	uint64_t epochs = time_ms / EDGE_EPOCH_MS + (time_ms % EDGE_EPOCH_MS != 0);

	return (uint16_t)(epochs == 0 ? 1 : epochs > LB_EPOCHS_MAX ? LB_EPOCHS_MAX : epochs);
}

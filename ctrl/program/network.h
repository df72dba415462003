/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this node knows of its network: links, routes, neighbours. A snapshot in memory, without netlink in it.
 *
 * network_follow.h keeps one equal to the kernel's; tests and replay (a Node manifest) fill one by hand. Everything below
 * is pure: any thread may read a snapshot that nobody writes.
 *
 * Not handled: policy routing (`ip rule`, tables other than main), TOS and source-specific routes, IPv6 router preference,
 * per-flow choice among the next hops of a multipath route (the first live one carries all), two or more VLAN tags.
 */
#pragma once

#include "base/lib/address_text.h"
#include "base/lib/cleanup.h"

enum network_link_kind {
	NETWORK_LINK_OTHER, /* a physical NIC, or anything not named below */
	NETWORK_LINK_VETH,
	NETWORK_LINK_VLAN,
	NETWORK_LINK_BRIDGE,
	NETWORK_LINK_BOND,
	NETWORK_LINK_LOOPBACK,
};

struct network_link {
	uint32_t ifindex;
	char name[16];
	uint8_t mac[6];
	bool up;      /* set up by the operator */
	bool carrier; /* and able to send */
	uint32_t mtu;
	enum network_link_kind kind;
	uint32_t parent_ifindex;      /* VLAN: the link below; veth: its peer; 0 if none, or if it is in another namespace */
	bool peer_in_other_namespace; /* the link that parent_ifindex would name */
	uint16_t vlan_id;             /* VLAN links */
	uint16_t vlan_protocol;       /* VLAN links: 0x8100 or 0x88a8 */
	uint32_t master_ifindex;      /* the bridge or bond it is a port of; 0 if none */
	struct prefix *addresses;     /* own addresses with their prefix length */
	size_t address_count;
};

struct network_route {
	struct prefix to;
	struct address gateway; /* zero: `to` is on the link */
	uint32_t ifindex;       /* multipath: of the first next hop that is not dead */
	uint32_t metric;
	bool unreachable; /* a blackhole, unreachable or prohibit route: gateway and ifindex mean nothing */
};

struct network_neighbour {
	struct address ip;
	uint32_t ifindex;
	uint8_t mac[6]; /* zero unless usable */
	bool usable;    /* the kernel sends to `mac` (REACHABLE, STALE, DELAY, PROBE, PERMANENT, NOARP) */
	bool stale;     /* usable, but unconfirmed for a while */
	bool failed;    /* asked, and nobody answered */
};

struct network {
	struct network_link *links;
	size_t link_count;
	struct network_route *routes;
	size_t route_count;
	struct network_neighbour *neighbours; /* sorted by interface and address */
	size_t neighbour_count;
	size_t link_capacity, route_capacity, neighbour_capacity; /* allocated */
};

/* An empty network is all zero: `struct network network = {0};` is enough. */
void network_init(struct network *network);
/* Frees the contents and leaves it empty. */
void network_done(struct network *network);

/*
 * Each copies its argument, a link with its addresses. A link or neighbour that is there already (same ifindex; same
 * address and ifindex) is replaced. Routes to the prefixes of a link's addresses are not implied: add them. 0 or -ENOMEM.
 */
must_check int network_add_link(struct network *network, const struct network_link *link);
must_check int network_add_route(struct network *network, const struct network_route *route);
must_check int network_add_neighbour(struct network *network, const struct network_neighbour *neighbour);
void network_remove_neighbour(struct network *network, const struct address *ip, uint32_t ifindex);

/* NULL if there is none. What is returned is borrowed until the network changes. */
const struct network_link *network_link_find(const struct network *network, uint32_t ifindex);
const struct network_link *network_link_find_name(const struct network *network, const char *name);
const struct network_neighbour *network_neighbour_find(const struct network *network, const struct address *ip,
						       uint32_t ifindex);
/* The longest prefix that holds the address; of equally long ones the lowest metric, of equals the first added. */
const struct network_route *network_route_find(const struct network *network, const struct address *address);
/* Is it an address of one of this node's links? */
bool network_is_local(const struct network *network, const struct address *address);

enum network_next_hop_state {
	NETWORK_NEXT_HOP_RESOLVED,    /* all fields are set */
	NETWORK_NEXT_HOP_UNRESOLVED,  /* all but dmac: the neighbour has not answered (yet) */
	NETWORK_NEXT_HOP_LINK_DOWN,   /* the link or the one below it cannot send; all but dmac */
	NETWORK_NEXT_HOP_NO_ROUTE,    /* no route, an unreachable one, or one over a link that is not there */
	NETWORK_NEXT_HOP_LOCAL,       /* the address is this node's own */
	NETWORK_NEXT_HOP_UNSUPPORTED, /* over a second VLAN tag, an 802.1ad one, or a VLAN whose parent is elsewhere */
};

/* How a frame for some address leaves this node. */
struct network_next_hop {
	enum network_next_hop_state state;
	uint32_t ifindex;        /* the link that the route names: a VLAN link, a bridge, … */
	uint32_t device_ifindex; /* the link that the frame is sent on: the parent of a VLAN link, else `ifindex` */
	struct address via;      /* the neighbour: the gateway, or the address itself */
	uint8_t smac[6], dmac[6];
	uint16_t vlan_id; /* 802.1Q tag to put on; 0 for none */
	uint32_t mtu;
	bool failed; /* UNRESOLVED: asked, and nobody answered */
};

/* The state is also returned; what it does not promise is zero. */
enum network_next_hop_state network_next_hop(const struct network *network, const struct address *address,
					     struct network_next_hop *ret_next_hop);
/* A few words for the operator: "neighbour unresolved". */
const char *network_next_hop_state_text(enum network_next_hop_state state);

/* Equal in everything that tables are made from; `stale` is not. Order of links and routes counts. */
bool network_equal(const struct network *a, const struct network *b);

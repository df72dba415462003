/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/program/netlink_read.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/vlan.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <string.h>

#define NEIGHBOUR_USABLE (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)

/* False for other families. An IPv4 or IPv6 address without bytes is the default route's: all zero. */
static bool address_read(const struct nl_addr *nl_address, int family, struct address *ret_address)
{
	unsigned int length = nl_address ? nl_addr_get_len(nl_address) : 0;
	uint32_t ipv4 = 0;

	if (family == AF_INET && (length == 0 || length == sizeof(ipv4))) {
		memcpy(&ipv4, length ? nl_addr_get_binary_addr(nl_address) : &ipv4, sizeof(ipv4));
		*ret_address = address_from_ipv4(ipv4);
		return true;
	}
	if (family == AF_INET6 && (length == 0 || length == sizeof(*ret_address))) {
		*ret_address = (struct address){0};
		if (length)
			memcpy(ret_address, nl_addr_get_binary_addr(nl_address), sizeof(*ret_address));
		return true;
	}
	return false;
}

static void mac_read(const struct nl_addr *nl_address, uint8_t mac[6])
{
	if (nl_address && nl_addr_get_len(nl_address) == 6)
		memcpy(mac, nl_addr_get_binary_addr(nl_address), 6);
}

static enum network_link_kind link_kind(struct rtnl_link *nl_link)
{
	static const struct {
		const char *type;
		enum network_link_kind kind;
	} kinds[] = {{"veth", NETWORK_LINK_VETH},
		     {"vlan", NETWORK_LINK_VLAN},
		     {"bridge", NETWORK_LINK_BRIDGE},
		     {"bond", NETWORK_LINK_BOND}};
	const char *type = rtnl_link_get_type(nl_link);

	if (rtnl_link_get_flags(nl_link) & IFF_LOOPBACK)
		return NETWORK_LINK_LOOPBACK;
	for (size_t i = 0; type && i < array_length(kinds); i++)
		if (strcmp(type, kinds[i].type) == 0)
			return kinds[i].kind;
	return NETWORK_LINK_OTHER;
}

static int link_read(struct network *network, struct rtnl_link *nl_link)
{
	unsigned int flags = rtnl_link_get_flags(nl_link);
	struct network_link link = {
		.ifindex = (uint32_t)rtnl_link_get_ifindex(nl_link),
		.up = flags & IFF_UP,
		/* IFF_RUNNING is the operational state (RFC 2863), with carrier and dormancy in it */
		.carrier = flags & IFF_RUNNING,
		.mtu = rtnl_link_get_mtu(nl_link),
		.kind = link_kind(nl_link),
		.master_ifindex = (uint32_t)rtnl_link_get_master(nl_link),
	};
	int namespace;

	strncpy(link.name, rtnl_link_get_name(nl_link) ? rtnl_link_get_name(nl_link) : "", sizeof(link.name) - 1);
	mac_read(rtnl_link_get_addr(nl_link), link.mac);
	link.peer_in_other_namespace = rtnl_link_get_link_netnsid(nl_link, &namespace) == 0;
	if (!link.peer_in_other_namespace)
		link.parent_ifindex = (uint32_t)rtnl_link_get_link(nl_link);
	if (link.kind == NETWORK_LINK_VLAN) {
		link.vlan_id = (uint16_t)rtnl_link_vlan_get_id(nl_link);
		link.vlan_protocol = ntohs((uint16_t)rtnl_link_vlan_get_protocol(nl_link));
	}
	return network_add_link(network, &link);
}

static int own_address_read(struct network *network, struct rtnl_addr *nl_own)
{
	const struct network_link *link = network_link_find(network, (uint32_t)rtnl_addr_get_ifindex(nl_own));
	struct nl_addr *local = rtnl_addr_get_local(nl_own);
	struct prefix own = {.length = (uint8_t)rtnl_addr_get_prefixlen(nl_own)};
	_cleanup_(freep) struct prefix *addresses = NULL;
	struct network_link grown;

	if (!link || !local || !address_read(local, rtnl_addr_get_family(nl_own), &own.address))
		return 0;
	addresses = calloc(link->address_count + 1, sizeof(*addresses));
	if (!addresses)
		return -ENOMEM;
	if (link->address_count)
		memcpy(addresses, link->addresses, link->address_count * sizeof(*addresses));
	addresses[link->address_count] = own;
	grown = *link;
	grown.addresses = addresses;
	grown.address_count++;
	return network_add_link(network, &grown);
}

/* The first next hop that is not dead. */
static struct rtnl_nexthop *next_hop_live(struct rtnl_route *nl_route)
{
	for (int i = 0; i < rtnl_route_get_nnexthops(nl_route); i++) {
		struct rtnl_nexthop *hop = rtnl_route_nexthop_n(nl_route, i);

		if (!(rtnl_route_nh_get_flags(hop) & RTNH_F_DEAD))
			return hop;
	}
	return NULL;
}

static void gateway_read(struct rtnl_nexthop *hop, struct address *gateway)
{
	struct nl_addr *nl_gateway = rtnl_route_nh_get_gateway(hop);

	/* RTA_VIA: an IPv4 route through an IPv6 gateway (RFC 5549). */
	if (!nl_gateway)
		nl_gateway = rtnl_route_nh_get_via(hop);
	if (nl_gateway && nl_addr_get_len(nl_gateway))
		(void)address_read(nl_gateway, nl_addr_get_family(nl_gateway), gateway);
}

static int route_read(struct network *network, struct rtnl_route *nl_route)
{
	struct nl_addr *to = rtnl_route_get_dst(nl_route), *from = rtnl_route_get_src(nl_route);
	uint8_t type = rtnl_route_get_type(nl_route);
	struct network_route route = {.metric = rtnl_route_get_priority(nl_route)};
	struct rtnl_nexthop *hop;

	if (rtnl_route_get_table(nl_route) != RT_TABLE_MAIN || rtnl_route_get_flags(nl_route) & RTM_F_CLONED ||
	    rtnl_route_get_tos(nl_route) || (from && nl_addr_get_prefixlen(from)))
		return 0;
	if (!address_read(to, rtnl_route_get_family(nl_route), &route.to.address))
		return 0;
	route.to.length = to ? (uint8_t)nl_addr_get_prefixlen(to) : 0;
	route.unreachable = type == RTN_BLACKHOLE || type == RTN_UNREACHABLE || type == RTN_PROHIBIT;
	if (route.unreachable)
		return network_add_route(network, &route);
	hop = next_hop_live(nl_route);
	if (type != RTN_UNICAST || !hop)
		return 0;
	route.ifindex = (uint32_t)rtnl_route_nh_get_ifindex(hop);
	gateway_read(hop, &route.gateway);
	return network_add_route(network, &route);
}

static bool address_is_multicast(const struct address *address)
{
	const uint8_t *bytes = (const uint8_t *)address;

	return address_is_ipv4(address) ? (bytes[12] & 0xf0) == 0xe0 : bytes[0] == 0xff;
}

static bool neighbour_key_read(struct rtnl_neigh *nl_neighbour, struct network_neighbour *neighbour)
{
	*neighbour = (struct network_neighbour){.ifindex = (uint32_t)rtnl_neigh_get_ifindex(nl_neighbour)};
	return rtnl_neigh_get_dst(nl_neighbour) &&
	       address_read(rtnl_neigh_get_dst(nl_neighbour), rtnl_neigh_get_family(nl_neighbour), &neighbour->ip);
}

static int neighbour_read(struct network *network, struct rtnl_neigh *nl_neighbour)
{
	int state = rtnl_neigh_get_state(nl_neighbour);
	struct network_neighbour neighbour;

	if (!neighbour_key_read(nl_neighbour, &neighbour) || address_is_multicast(&neighbour.ip))
		return 0;
	state = state < 0 ? NUD_NONE : state;
	neighbour.usable = state & NEIGHBOUR_USABLE;
	neighbour.stale = state & NUD_STALE;
	neighbour.failed = state & NUD_FAILED;
	if (neighbour.usable)
		mac_read(rtnl_neigh_get_lladdr(nl_neighbour), neighbour.mac);
	return network_add_neighbour(network, &neighbour);
}

int netlink_read_object(struct network *network, struct nl_object *object)
{
	const char *type = nl_object_get_type(object);

	if (strcmp(type, "route/link") == 0)
		return link_read(network, (struct rtnl_link *)object);
	if (strcmp(type, "route/addr") == 0)
		return own_address_read(network, (struct rtnl_addr *)object);
	if (strcmp(type, "route/route") == 0)
		return route_read(network, (struct rtnl_route *)object);
	if (strcmp(type, "route/neigh") == 0)
		return neighbour_read(network, (struct rtnl_neigh *)object);
	return 0;
}

void netlink_forget_neighbour(struct network *network, struct nl_object *object)
{
	struct network_neighbour neighbour;

	if (strcmp(nl_object_get_type(object), "route/neigh") == 0 &&
	    neighbour_key_read((struct rtnl_neigh *)object, &neighbour))
		network_remove_neighbour(network, &neighbour.ip, neighbour.ifindex);
}

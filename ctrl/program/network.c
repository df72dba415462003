/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/program/network.h"

#include <errno.h>
#include <string.h>

#define VLAN_PROTOCOL_8021Q 0x8100
#define MIN_CAPACITY 16u

void network_init(struct network *network)
{
	*network = (struct network){0};
}

void network_done(struct network *network)
{
	for (size_t i = 0; i < network->link_count; i++)
		free(network->links[i].addresses);
	free(network->links);
	free(network->routes);
	free(network->neighbours);
	network_init(network);
}

/* Makes room for one element more. Returns the array's place, which may have moved, or NULL. */
static void *array_grow(void *array, size_t count, size_t *capacity, size_t element_size)
{
	size_t wanted = *capacity ? *capacity * 2 : MIN_CAPACITY;
	void *grown;

	if (count < *capacity)
		return array;
	grown = reallocarray(array, wanted, element_size);
	if (grown)
		*capacity = wanted;
	return grown;
}

static struct network_link *link_slot(struct network *network, uint32_t ifindex)
{
	struct network_link *links;

	for (size_t i = 0; i < network->link_count; i++)
		if (network->links[i].ifindex == ifindex)
			return &network->links[i];
	links = array_grow(network->links, network->link_count, &network->link_capacity, sizeof(*links));
	if (!links)
		return NULL;
	network->links = links;
	links[network->link_count] = (struct network_link){0};
	return &links[network->link_count++];
}

int network_add_link(struct network *network, const struct network_link *link)
{
	struct prefix *addresses = NULL;
	struct network_link *slot;

	if (link->address_count) {
		addresses = reallocarray(NULL, link->address_count, sizeof(*addresses));
		if (!addresses)
			return -ENOMEM;
		memcpy(addresses, link->addresses, link->address_count * sizeof(*addresses));
	}
	slot = link_slot(network, link->ifindex);
	if (!slot) {
		free(addresses);
		return -ENOMEM;
	}
	free(slot->addresses);
	*slot = *link;
	slot->addresses = addresses;
	return 0;
}

int network_add_route(struct network *network, const struct network_route *route)
{
	struct network_route *routes =
		array_grow(network->routes, network->route_count, &network->route_capacity, sizeof(*routes));

	if (!routes)
		return -ENOMEM;
	network->routes = routes;
	routes[network->route_count++] = *route;
	return 0;
}

static int neighbour_compare(const struct network_neighbour *neighbour, const struct address *ip, uint32_t ifindex)
{
	if (neighbour->ifindex != ifindex)
		return neighbour->ifindex < ifindex ? -1 : 1;
	return address_compare(&neighbour->ip, ip);
}

/* Where the neighbour is, or where it would be put. */
static size_t neighbour_position(const struct network *network, const struct address *ip, uint32_t ifindex)
{
	size_t low = 0, high = network->neighbour_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (neighbour_compare(&network->neighbours[middle], ip, ifindex) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool neighbour_is_at(const struct network *network, size_t position, const struct address *ip, uint32_t ifindex)
{
	return position < network->neighbour_count &&
	       neighbour_compare(&network->neighbours[position], ip, ifindex) == 0;
}

int network_add_neighbour(struct network *network, const struct network_neighbour *neighbour)
{
	size_t position = neighbour_position(network, &neighbour->ip, neighbour->ifindex);
	struct network_neighbour *neighbours;

	if (neighbour_is_at(network, position, &neighbour->ip, neighbour->ifindex)) {
		network->neighbours[position] = *neighbour;
		return 0;
	}
	neighbours = array_grow(network->neighbours, network->neighbour_count, &network->neighbour_capacity,
				sizeof(*neighbours));
	if (!neighbours)
		return -ENOMEM;
	network->neighbours = neighbours;
	memmove(&neighbours[position + 1], &neighbours[position],
		(network->neighbour_count - position) * sizeof(*neighbours));
	neighbours[position] = *neighbour;
	network->neighbour_count++;
	return 0;
}

void network_remove_neighbour(struct network *network, const struct address *ip, uint32_t ifindex)
{
	size_t position = neighbour_position(network, ip, ifindex);

	if (!neighbour_is_at(network, position, ip, ifindex))
		return;
	network->neighbour_count--;
	memmove(&network->neighbours[position], &network->neighbours[position + 1],
		(network->neighbour_count - position) * sizeof(*network->neighbours));
}

const struct network_link *network_link_find(const struct network *network, uint32_t ifindex)
{
	for (size_t i = 0; i < network->link_count; i++)
		if (network->links[i].ifindex == ifindex)
			return &network->links[i];
	return NULL;
}

const struct network_link *network_link_find_name(const struct network *network, const char *name)
{
	for (size_t i = 0; i < network->link_count; i++)
		if (strcmp(network->links[i].name, name) == 0)
			return &network->links[i];
	return NULL;
}

const struct network_neighbour *network_neighbour_find(const struct network *network, const struct address *ip,
						       uint32_t ifindex)
{
	size_t position = neighbour_position(network, ip, ifindex);

	return neighbour_is_at(network, position, ip, ifindex) ? &network->neighbours[position] : NULL;
}

static bool route_is_better(const struct network_route *route, const struct network_route *best)
{
	if (!best)
		return true;
	if (route->to.length != best->to.length)
		return route->to.length > best->to.length;
	return route->metric < best->metric;
}

const struct network_route *network_route_find(const struct network *network, const struct address *address)
{
	const struct network_route *best = NULL;

	for (size_t i = 0; i < network->route_count; i++) {
		const struct network_route *route = &network->routes[i];

		/* The cheap question first: prefix_contains() walks bits. */
		if (route_is_better(route, best) && prefix_contains(&route->to, address))
			best = route;
	}
	return best;
}

bool network_is_local(const struct network *network, const struct address *address)
{
	for (size_t i = 0; i < network->link_count; i++) {
		const struct network_link *link = &network->links[i];

		for (size_t j = 0; j < link->address_count; j++)
			if (address_equal(&link->addresses[j].address, address))
				return true;
	}
	return false;
}

/* Fills in the link that frames leave by and the tag that they carry. NULL if one tag is not enough, or the parent is away. */
static const struct network_link *device_find(const struct network *network, const struct network_link *link,
					      struct network_next_hop *next_hop)
{
	const struct network_link *device = link;

	if (link->kind == NETWORK_LINK_VLAN) {
		device = link->peer_in_other_namespace ? NULL : network_link_find(network, link->parent_ifindex);
		if (!device || device->kind == NETWORK_LINK_VLAN || link->vlan_protocol != VLAN_PROTOCOL_8021Q)
			return NULL;
		next_hop->vlan_id = link->vlan_id;
	}
	next_hop->device_ifindex = device->ifindex;
	return device;
}

static enum network_next_hop_state neighbour_resolve(const struct network *network, struct network_next_hop *next_hop)
{
	const struct network_neighbour *neighbour =
		network_neighbour_find(network, &next_hop->via, next_hop->ifindex);

	if (!neighbour || !neighbour->usable) {
		next_hop->failed = neighbour && neighbour->failed;
		return NETWORK_NEXT_HOP_UNRESOLVED;
	}
	memcpy(next_hop->dmac, neighbour->mac, sizeof(next_hop->dmac));
	return NETWORK_NEXT_HOP_RESOLVED;
}

static enum network_next_hop_state next_hop_find(const struct network *network, const struct address *address,
						 struct network_next_hop *next_hop)
{
	const struct network_route *route = network_route_find(network, address);
	const struct network_link *link, *device;

	if (network_is_local(network, address))
		return NETWORK_NEXT_HOP_LOCAL;
	link = route && !route->unreachable ? network_link_find(network, route->ifindex) : NULL;
	if (!link)
		return NETWORK_NEXT_HOP_NO_ROUTE;
	next_hop->ifindex = link->ifindex;
	next_hop->via = address_is_zero(&route->gateway) ? *address : route->gateway;
	next_hop->mtu = link->mtu;
	memcpy(next_hop->smac, link->mac, sizeof(next_hop->smac));
	device = device_find(network, link, next_hop);
	if (!device)
		return NETWORK_NEXT_HOP_UNSUPPORTED;
	if (!link->up || !link->carrier || !device->up || !device->carrier)
		return NETWORK_NEXT_HOP_LINK_DOWN;
	return neighbour_resolve(network, next_hop);
}

enum network_next_hop_state network_next_hop(const struct network *network, const struct address *address,
					     struct network_next_hop *ret_next_hop)
{
	struct network_next_hop next_hop = {0};

	next_hop.state = next_hop_find(network, address, &next_hop);
	*ret_next_hop = next_hop;
	return next_hop.state;
}

const char *network_next_hop_state_text(enum network_next_hop_state state)
{
	switch (state) {
	case NETWORK_NEXT_HOP_RESOLVED:
		return "resolved";
	case NETWORK_NEXT_HOP_UNRESOLVED:
		return "neighbour unresolved";
	case NETWORK_NEXT_HOP_LINK_DOWN:
		return "link down";
	case NETWORK_NEXT_HOP_NO_ROUTE:
		return "no route";
	case NETWORK_NEXT_HOP_LOCAL:
		return "an address of this node";
	case NETWORK_NEXT_HOP_UNSUPPORTED:
		return "needs more than one 802.1Q tag";
	}
	return "unknown";
}

static bool link_equal(const struct network_link *a, const struct network_link *b)
{
	if (a->ifindex != b->ifindex || strcmp(a->name, b->name) != 0 || memcmp(a->mac, b->mac, sizeof(a->mac)) != 0 ||
	    a->up != b->up || a->carrier != b->carrier || a->mtu != b->mtu || a->kind != b->kind ||
	    a->parent_ifindex != b->parent_ifindex || a->peer_in_other_namespace != b->peer_in_other_namespace ||
	    a->vlan_id != b->vlan_id || a->vlan_protocol != b->vlan_protocol ||
	    a->master_ifindex != b->master_ifindex || a->address_count != b->address_count)
		return false;
	for (size_t i = 0; i < a->address_count; i++)
		if (a->addresses[i].length != b->addresses[i].length ||
		    !address_equal(&a->addresses[i].address, &b->addresses[i].address))
			return false;
	return true;
}

static bool route_equal(const struct network_route *a, const struct network_route *b)
{
	return a->to.length == b->to.length && address_equal(&a->to.address, &b->to.address) &&
	       address_equal(&a->gateway, &b->gateway) && a->ifindex == b->ifindex && a->metric == b->metric &&
	       a->unreachable == b->unreachable;
}

static bool neighbour_equal(const struct network_neighbour *a, const struct network_neighbour *b)
{
	return neighbour_compare(a, &b->ip, b->ifindex) == 0 && memcmp(a->mac, b->mac, sizeof(a->mac)) == 0 &&
	       a->usable == b->usable && a->failed == b->failed;
}

bool network_equal(const struct network *a, const struct network *b)
{
	if (a->link_count != b->link_count || a->route_count != b->route_count ||
	    a->neighbour_count != b->neighbour_count)
		return false;
	for (size_t i = 0; i < a->link_count; i++)
		if (!link_equal(&a->links[i], &b->links[i]))
			return false;
	for (size_t i = 0; i < a->route_count; i++)
		if (!route_equal(&a->routes[i], &b->routes[i]))
			return false;
	for (size_t i = 0; i < a->neighbour_count; i++)
		if (!neighbour_equal(&a->neighbours[i], &b->neighbours[i]))
			return false;
	return true;
}

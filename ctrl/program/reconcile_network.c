/* SPDX-License-Identifier: Apache-2.0 */
/* Links, routes and neighbours of the tables, from the network's snapshot. */
#include "base/packet/wire.h"

#include "ctrl/program/reconcile_parts.h"

static const struct reconcile_interface *interface_find(const struct reconcile_work *work, uint32_t ifindex)
{
	for (size_t i = 0; i < work->input->interface_count; i++) {
		if (work->input->interfaces[i].ifindex == ifindex)
			return &work->input->interfaces[i];
	}
	return NULL;
}

uint64_t reconcile_announce_bit(const struct reconcile_work *work, uint32_t ifindex)
{
	unsigned int bit = 0;

	for (size_t i = 0; i < work->input->interface_count; i++) {
		if (work->input->interfaces[i].workload)
			continue;
		if (work->input->interfaces[i].ifindex == ifindex)
			return bit < 64 ? 1ull << bit : 0;
		bit++;
	}
	return 0;
}

/* A port of a bridge receives frames for the bridge's address before the bridge does. */
uint64_t reconcile_receiving_mac(const struct reconcile_work *work, const struct network_link *link)
{
	const struct network_link *master = network_link_find(work->input->network, link->master_ifindex);

	return mac_word(master && master->kind == NETWORK_LINK_BRIDGE ? master->mac : link->mac);
}

static void link_add(struct reconcile_work *work, const struct reconcile_interface *interface,
		     const struct network_link *link, uint16_t vlan)
{
	*list_push(work->arena, &work->links) = (struct link_wanted){
		.ifindex = interface->ifindex,
		.vlan = vlan,
		.workload = interface->workload,
		.mac = reconcile_receiving_mac(work, link),
		.announce = interface->workload ? 0 : reconcile_announce_bit(work, interface->ifindex),
	};
}

/* An interface, untagged and with each VLAN that has a link of its own on it. */
static void interface_links(struct reconcile_work *work, const struct reconcile_interface *interface)
{
	const struct network *network = work->input->network;
	const struct network_link *link = network_link_find(network, interface->ifindex);

	if (!link)
		return;
	link_add(work, interface, link, 0);
	for (size_t i = 0; i < network->link_count; i++) {
		const struct network_link *vlan = &network->links[i];

		if (vlan->kind == NETWORK_LINK_VLAN && vlan->parent_ifindex == interface->ifindex && vlan->vlan_id)
			link_add(work, interface, vlan, vlan->vlan_id);
	}
}

/*
 * A NIC of ours takes XDP redirects. Everything else (veths, bridges, tunnels) is reached through the stack's redirect,
 * which always works.
 */
static uint16_t egress_flags(const struct reconcile_work *work, uint32_t device_ifindex)
{
	const struct reconcile_interface *interface = interface_find(work, device_ifindex);
	const struct network_link *link = network_link_find(work->input->network, device_ifindex);

	if (interface && !interface->workload)
		return 0;
	return EGRESS_VIA_STACK | (link && link->peer_in_other_namespace ? EGRESS_PEER_APART : 0);
}

static void destination_want(struct reconcile_work *work, const struct address *destination)
{
	if (tally_add(work, &work->destinations_seen, destination, 0, 0) == 1)
		*list_push(work->arena, &work->destinations) = *destination;
}

static struct egress egress_from(const struct reconcile_work *work, const struct network_next_hop *hop)
{
	return (struct egress){
		.destination_mac = mac_word(hop->dmac),
		.source_mac = mac_word(hop->smac),
		.ifindex = hop->device_ifindex,
		.vlan = hop->vlan_id,
		.flags = (uint16_t)(egress_flags(work, hop->device_ifindex) |
				    (hop->state == NETWORK_NEXT_HOP_RESOLVED ? EGRESS_RESOLVED : 0)),
	};
}

/* Longer than an IP packet can be is as good as unknown. */
static uint16_t mtu_from(uint32_t mtu)
{
	return mtu < LB_MTU_ANY ? (uint16_t)mtu : 0;
}

enum network_next_hop_state reconcile_egress(struct reconcile_work *work, const struct address *address,
					     struct egress *ret_egress, uint16_t *ret_mtu, bool *ret_failed)
{
	struct network_next_hop hop;

	*ret_egress = (struct egress){0};
	*ret_mtu = 0;
	*ret_failed = false;
	if (network_next_hop(work->input->network, address, &hop) > NETWORK_NEXT_HOP_LINK_DOWN)
		return hop.state;
	*ret_egress = egress_from(work, &hop);
	*ret_mtu = mtu_from(hop.mtu);
	*ret_failed = hop.failed;
	destination_want(work, address);
	return hop.state;
}

/* Link-local addresses say nothing beyond their link. */
static bool source_usable(const struct address *address, bool ipv4)
{
	return address_is_ipv4(address) == ipv4 && (ipv4 || (address->word[0] & 0xc0ff) != 0x80fe);
}

bool reconcile_source(const struct reconcile_work *work, const struct address *destination, struct address *ret_source)
{
	const struct network *network = work->input->network;
	bool ipv4 = address_is_ipv4(destination), found = false;
	struct network_next_hop hop;

	network_next_hop(network, destination, &hop);
	for (size_t i = 0; i < network->link_count; i++) {
		const struct network_link *link = &network->links[i];

		for (size_t j = 0; j < link->address_count && link->kind != NETWORK_LINK_LOOPBACK; j++) {
			const struct prefix *own = &link->addresses[j];

			if (!source_usable(&own->address, ipv4) || (found && link->ifindex != hop.ifindex))
				continue;
			*ret_source = own->address;
			found = true;
			if (link->ifindex == hop.ifindex && prefix_contains(own, &hop.via))
				return true;
		}
	}
	return found;
}

/* An on-link route: every destination is its own neighbour. */
static bool on_link_egress(const struct reconcile_work *work, const struct network_route *route,
			   struct egress *ret_egress)
{
	const struct network *network = work->input->network;
	const struct network_link *link = network_link_find(network, route->ifindex);
	uint32_t device;

	if (!link || link->kind == NETWORK_LINK_LOOPBACK || !link->up)
		return false;
	device = link->kind == NETWORK_LINK_VLAN ? link->parent_ifindex : link->ifindex;
	*ret_egress = (struct egress){
		.source_mac = mac_word(link->mac),
		.ifindex = device,
		.vlan = link->kind == NETWORK_LINK_VLAN ? link->vlan_id : 0,
		.flags = (uint16_t)(egress_flags(work, device) | EGRESS_ON_LINK),
	};
	return device != 0;
}

static void route_add(struct reconcile_work *work, const struct network_route *route)
{
	const struct network_link *link = network_link_find(work->input->network, route->ifindex);
	uint16_t mtu = mtu_from(link ? link->mtu : 0), ignored;
	struct egress egress = {0};
	bool failed;

	/* An unreachable route stays in the table, with no way out: it must hide the wider one behind it. */
	if (!route->unreachable && address_is_zero(&route->gateway)) {
		if (!on_link_egress(work, route, &egress))
			return;
	} else if (!route->unreachable) {
		reconcile_egress(work, &route->gateway, &egress, &ignored, &failed);
	}
	*list_push(work->arena, &work->routes) = (struct route_wanted){.prefix = route->to, .egress = egress, .mtu = mtu};
}

static void peer_add(struct reconcile_work *work, const struct address *address, bool own)
{
	for (size_t i = 0; i < work->peers.count; i++) {
		if (address_equal(&work->peers.items[i].address, address))
			return;
	}
	if (work->peers.count < LB_PEER_ROWS - 1)
		*list_push(work->arena, &work->peers) = (struct peer_wanted){*address, own};
	else
		work_alarm(work, "nodes", "There are more than %u addresses of nodes: what the rest of them wrap is not unwrapped here.",
			   LB_PEER_ROWS - 1);
}

/* This node's own addresses, and those of the others; none at all while it is alone. */
static void peers_collect(struct reconcile_work *work)
{
	const struct network *network = work->input->network;
	bool others = false;

	for (size_t i = 0; i < work->input->object_count; i++) {
		const struct object *object = work->input->objects[i];

		others = others || (object->kind == OBJECT_NODE && object->node.internal_ips.count &&
				    strcmp(object->meta.name, work->input->node_name) != 0);
	}
	for (size_t i = 0; others && i < network->link_count; i++) {
		const struct network_link *link = &network->links[i];

		for (size_t j = 0; j < link->address_count && link->kind != NETWORK_LINK_LOOPBACK; j++)
			peer_add(work, &link->addresses[j].address, true);
	}
	for (size_t i = 0; i < work->input->object_count; i++) {
		const struct object *object = work->input->objects[i];

		if (object->kind != OBJECT_NODE || strcmp(object->meta.name, work->input->node_name) == 0)
			continue;
		for (size_t j = 0; j < object->node.internal_ips.count; j++)
			peer_add(work, &object->node.internal_ips.items[j], false);
	}
}

static int route_by_metric(const void *a, const void *b)
{
	const struct network_route *left = *(const struct network_route *const *)a;
	const struct network_route *right = *(const struct network_route *const *)b;

	if (left->metric != right->metric)
		return left->metric < right->metric ? -1 : 1;
	return left < right ? -1 : left > right; /* the first added */
}

void reconcile_network(struct reconcile_work *work)
{
	const struct network *network = work->input->network;
	const struct network_route **routes =
		arena_array(work->arena, network->route_count + 1, sizeof(struct network_route *));

	peers_collect(work);
	for (size_t i = 0; i < work->input->interface_count; i++)
		interface_links(work, &work->input->interfaces[i]);
	for (size_t i = 0; i < network->route_count; i++)
		routes[i] = &network->routes[i];
	qsort(routes, network->route_count, sizeof(*routes), route_by_metric);
	for (size_t i = 0; i < network->route_count; i++)
		route_add(work, routes[i]);
	for (size_t i = 0; i < network->neighbour_count; i++) {
		const struct network_neighbour *neighbour = &network->neighbours[i];
		const struct network_link *link = network_link_find(network, neighbour->ifindex);
		bool vlan = link && link->kind == NETWORK_LINK_VLAN;

		if (!link || !neighbour->usable || link->kind == NETWORK_LINK_LOOPBACK)
			continue;
		*list_push(work->arena, &work->neighbours) = (struct neighbour_wanted){
			.address = neighbour->ip,
			.mac = mac_word(neighbour->mac),
			.ifindex = vlan ? link->parent_ifindex : link->ifindex,
			.vlan = vlan ? link->vlan_id : 0,
		};
	}
}

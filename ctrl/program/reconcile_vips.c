/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual IPs: which node answers for each, on which of its links. */
#include <stdio.h>

#include "base/packet/wire.h"
#include "ctrl/manifest/selector.h"
#include "ctrl/program/reconcile_parts.h"
#include "vip/rank.h"

static bool advertisement_covers_pool(const struct l2_advertisement *advertisement, const struct object *pool)
{
	if (advertisement->pools.count == 0 && advertisement->pool_selectors.count == 0)
		return true;
	return string_list_contains(&advertisement->pools, pool->meta.name) ||
	       label_selectors_match(&advertisement->pool_selectors, &pool->meta.labels);
}

static bool advertisement_covers_node(const struct l2_advertisement *advertisement, const struct reconcile_node *node)
{
	return advertisement->node_selectors.count == 0 ||
	       label_selectors_match(&advertisement->node_selectors, &node->labels);
}

/* Walks the advertisements of a pool: on from `place`, NULL at the end. */
static const struct l2_advertisement *advertisement_next(const struct reconcile_work *work, const struct object *pool,
							 size_t *place)
{
	while (*place < work->input->object_count) {
		const struct object *object = work->input->objects[(*place)++];

		if (object->kind == OBJECT_L2_ADVERTISEMENT &&
		    advertisement_covers_pool(&object->l2_advertisement, pool))
			return &object->l2_advertisement;
	}
	return NULL;
}

static bool node_eligible(const struct reconcile_work *work, const struct object *pool,
			  const struct reconcile_node *node)
{
	const struct l2_advertisement *advertisement;
	size_t place = 0;

	while ((advertisement = advertisement_next(work, pool, &place))) {
		if (advertisement_covers_node(advertisement, node))
			return true;
	}
	return false;
}

static const struct reconcile_node *owner_choose(struct reconcile_work *work, const struct object *pool,
						 const struct address *vip)
{
	const struct reconcile_input *input = work->input;
	struct vip_candidate *candidates = arena_array(work->arena, input->node_count + 1, sizeof(*candidates));
	struct vip_rank_policy policy = {0};
	int chosen;

	for (size_t i = 0; i < input->pin_count; i++) {
		if (address_equal(&input->pins[i].vip, vip))
			policy.pinned = input->pins[i].node;
	}
	for (size_t i = 0; i < input->node_count; i++) {
		candidates[i] = (struct vip_candidate){
			.node = input->nodes[i].name,
			.eligible = node_eligible(work, pool, &input->nodes[i]),
			.live = input->nodes[i].live,
		};
	}
	chosen = vip_rank(candidates, input->node_count, vip, &policy, input->now_ms);
	return chosen < 0 ? NULL : &input->nodes[chosen];
}

/* Whether this node announces the pool's addresses on a NIC. */
static bool interface_announces(const struct reconcile_work *work, const struct object *pool,
				const struct reconcile_node *self, const char *name)
{
	const struct l2_advertisement *advertisement;
	size_t place = 0;

	while ((advertisement = advertisement_next(work, pool, &place))) {
		if (advertisement_covers_node(advertisement, self) &&
		    (advertisement->interfaces.count == 0 || string_list_contains(&advertisement->interfaces, name)))
			return true;
	}
	return false;
}

/* A link that is down is announced on when it comes back. */
static void announcement_add(struct reconcile_work *work, const struct address *vip, const struct network_link *link)
{
	struct reconcile_announcement *announcement;

	if (!link->up || !link->carrier)
		return;
	announcement = list_push(work->arena, &work->announcements);
	*announcement = (struct reconcile_announcement){.vip = *vip, .ifindex = link->ifindex};
	mac_store(announcement->mac, reconcile_receiving_mac(work, link));
}

/* On the NIC and on its VLANs, as packets are answered there. */
static void announcements_add(struct reconcile_work *work, const struct object *pool,
			      const struct reconcile_node *self, struct vip_wanted *row, struct reconcile_vip *view)
{
	const struct network *network = work->input->network;

	for (size_t i = 0; i < work->input->interface_count; i++) {
		const struct reconcile_interface *interface = &work->input->interfaces[i];
		const struct network_link *link = network_link_find(network, interface->ifindex);

		if (interface->workload || !link || !interface_announces(work, pool, self, link->name))
			continue;
		row->links |= reconcile_announce_bit(work, interface->ifindex);
		view->interfaces = *view->interfaces ? work_text(work, "%s, %s", view->interfaces, link->name) :
						       work_text(work, "%s", link->name);
		announcement_add(work, &row->address, link);
		for (size_t l = 0; l < network->link_count; l++) {
			if (network->links[l].kind == NETWORK_LINK_VLAN &&
			    network->links[l].parent_ifindex == interface->ifindex && network->links[l].vlan_id)
				announcement_add(work, &row->address, &network->links[l]);
		}
	}
}

static void vip_own(struct reconcile_work *work, const struct object *pool, struct vip_wanted *row,
		    struct reconcile_vip *view)
{
	const struct reconcile_node *owner = owner_choose(work, pool, &row->address);
	char text[ADDRESS_TEXT_SIZE];

	view->pool = pool->meta.name;
	view->announced = owner != NULL;
	if (!owner) {
		work_alarm(work, work_text(work, "Virtual IP %s", address_format(&row->address, text)),
			   "No L2Advertisement covers the pool %s on a live node, so nobody answers for the address; add one, or correct its ipAddressPools and nodeSelectors.",
			   pool->meta.name);
		return;
	}
	view->owner = owner->name;
	row->owned = strcmp(owner->name, work->input->node_name) == 0;
	if (row->owned)
		announcements_add(work, pool, owner, row, view);
	if (row->owned && row->links == 0)
		work_alarm(work, work_text(work, "Virtual IP %s", address_format(&row->address, text)),
			   "This node owns the address but announces it on no interface; see the L2Advertisement's interfaces and the daemon's configuration.");
}

static void vip_add(struct reconcile_work *work, const struct object *object, const struct address *address,
		    bool cluster_ip, const struct object *pool)
{
	const char *name = work_text(work, "%s/%s", object->meta.namespace_name, object->meta.name);
	struct reconcile_vip *view;
	struct vip_wanted *row;

	for (size_t i = 0; i < work->vips.count; i++) {
		view = &work->vips.items[i];
		if (address_equal(&view->address, address)) {
			view->services = work_text(work, "%s, %s", view->services, name);
			return;
		}
	}
	if (network_is_local(work->input->network, address)) {
		char text[ADDRESS_TEXT_SIZE];

		work_alarm(work, work_text(work, "Virtual IP %s", address_format(address, text)),
			   "The address is this node's own as well: the services' ports are taken from the host, and all else is left to it; port ranges do not work there.");
		return;
	}
	row = list_push(work->arena, &work->vip_rows);
	*row = (struct vip_wanted){.address = *address};
	view = list_push(work->arena, &work->vips);
	*view = (struct reconcile_vip){
		.address = *address,
		.owner = "",
		.services = name,
		.pool = "",
		.cluster_ip = cluster_ip,
		.interfaces = "",
	};
	if (pool)
		vip_own(work, pool, row, view);
}

void reconcile_vips(struct reconcile_work *work)
{
	for (size_t i = 0; i < work->input->object_count; i++) {
		const struct object *object = work->input->objects[i];
		const struct ipam_assignment *assignment;
		struct address addresses[4];
		bool cluster[4];
		size_t count;

		if (object->kind != OBJECT_SERVICE)
			continue;
		assignment = ipam_result_lookup(&work->assignments, object->meta.namespace_name, object->meta.name);
		count = reconcile_service_addresses(work, object, addresses, cluster);
		for (size_t a = 0; a < count; a++)
			vip_add(work, object, &addresses[a], cluster[a], cluster[a] ? NULL : assignment->pools[a]);
	}
}

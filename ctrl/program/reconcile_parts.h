/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of reconcile, in the order in which reconcile.c calls them. Private to reconcile. */
#pragma once

#include "ctrl/program/reconcile_work.h"

/* Links, routes, neighbours. */
void reconcile_network(struct reconcile_work *work);
/*
 * How frames for an address leave, and asks for its next hop to be kept resolved. On anything but RESOLVED the egress is
 * not resolved. `ret_mtu`: what the link takes, 0 when not known.
 */
enum network_next_hop_state reconcile_egress(struct reconcile_work *work, const struct address *address,
					     struct egress *ret_egress, uint16_t *ret_mtu, bool *ret_failed);
/* This node's address for packets to `destination`: of the link that they leave by, else of any. False: none of the family. */
bool reconcile_source(const struct reconcile_work *work, const struct address *destination, struct address *ret_source);
/* The hardware address by which frames that come in on a link reach this node, as mac_word(). */
uint64_t reconcile_receiving_mac(const struct reconcile_work *work, const struct network_link *link);
/* The announce bit of the NIC with this interface index, 0 for none. */
uint64_t reconcile_announce_bit(const struct reconcile_work *work, uint32_t ifindex);

/* Virtual IPs: owners and announcements. */
void reconcile_vips(struct reconcile_work *work);

/* DNS addresses and the checks of steered sites; after all services. */
void reconcile_dns(struct reconcile_work *work);

/* Services and their backends. `addresses` are the virtual IPs of `object`. */
void reconcile_services(struct reconcile_work *work);
/* The addresses at which a service is served: assigned ones and cluster addresses. */
size_t reconcile_service_addresses(const struct reconcile_work *work, const struct object *object,
				   struct address ret_addresses[static 4], bool ret_cluster[static 4]);

/* SPDX-License-Identifier: Apache-2.0 */
/* For the unit tests of this folder: manifests, and a network as one would write it down. Included by tests only, behind cmocka. */
#pragma once

#include "base/lib/address_fixture.h"
#include "ctrl/manifest/manifest.h"
#include "ctrl/program/network.h"

/* A manifest that nothing is wrong with. */
static inline void objects_load(const char *text, struct object_list *ret_objects)
{
	struct diagnostics diagnostics;
	int result;

	diagnostics_init(&diagnostics);
	result = manifest_load(text, strlen(text), "test.yaml", ret_objects, &diagnostics);
	if (result < 0)
		fprintf(stderr, "%s\n", diagnostics.items[0].text);
	diagnostics_done(&diagnostics);
	assert_int_equal(result, 0);
}

/* Up, with the hardware address 02:00:00:00:00:INDEX and one address. */
static inline void link_add(struct network *network, uint32_t ifindex, const char *name, const char *own)
{
	struct prefix own_prefix = prefix_of(own);
	struct network_link link = {.ifindex = ifindex,
				    .mac = {2, 0, 0, 0, 0, (uint8_t)ifindex},
				    .up = true,
				    .carrier = true,
				    .mtu = 1500,
				    .addresses = &own_prefix,
				    .address_count = 1};

	strcpy(link.name, name);
	assert_int_equal(network_add_link(network, &link), 0);
}

/* `gateway` NULL: on the link. */
static inline void route_add(struct network *network, const char *to, const char *gateway, uint32_t ifindex, uint32_t metric)
{
	struct network_route route = {.to = prefix_of(to), .ifindex = ifindex, .metric = metric};

	if (gateway)
		route.gateway = address_of(gateway);
	assert_int_equal(network_add_route(network, &route), 0);
}

/* Usable, at 02:00:00:00:01:LAST. */
static inline void neighbour_add(struct network *network, const char *ip, uint32_t ifindex, uint8_t last_byte)
{
	struct network_neighbour neighbour = {
		.ip = address_of(ip), .ifindex = ifindex, .usable = true, .mac = {2, 0, 0, 0, 1, last_byte}};

	assert_int_equal(network_add_neighbour(network, &neighbour), 0);
}

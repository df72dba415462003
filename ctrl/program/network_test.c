/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/program/network.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "ctrl/program/test_support.h"

#define NIC 2
#define VETH 3
#define VLAN 4

static void assert_address_equal(struct address actual, const char *expected)
{
	char text[ADDRESS_TEXT_SIZE];

	assert_string_equal(address_format(&actual, text), expected);
}

/* A node with a NIC to the site's LAN, a veth to a local backend, and a VLAN link on the NIC. */
static int site_make(void **state)
{
	struct network *network = calloc(1, sizeof(*network));
	struct network_link *vlan;

	link_add(network, NIC, "eth0", "10.0.0.1/24");
	link_add(network, VETH, "veth0", "fd00:3::1/64");
	link_add(network, VLAN, "eth0.7", "10.7.0.1/24");
	vlan = (struct network_link *)network_link_find(network, VLAN);
	vlan->kind = NETWORK_LINK_VLAN;
	vlan->parent_ifindex = NIC;
	vlan->vlan_id = 7;
	vlan->vlan_protocol = 0x8100;
	route_add(network, "0.0.0.0/0", "10.0.0.254", NIC, 0);
	route_add(network, "10.0.0.0/24", NULL, NIC, 0);
	route_add(network, "10.7.0.0/24", NULL, VLAN, 0);
	route_add(network, "fd00:3::/64", NULL, VETH, 256);
	neighbour_add(network, "10.0.0.254", NIC, 254);
	neighbour_add(network, "fd00:3::2", VETH, 2);
	neighbour_add(network, "10.7.0.2", VLAN, 72);
	*state = network;
	return 0;
}

static int site_free(void **state)
{
	network_done(*state);
	free(*state);
	return 0;
}

static struct network_next_hop next_hop(const struct network *network, const char *to)
{
	struct address target = address_of(to);
	struct network_next_hop found;
	enum network_next_hop_state state = network_next_hop(network, &target, &found);

	assert_int_equal(state, found.state);
	return found;
}

static void the_longest_prefix_wins_then_the_lowest_metric(void **state)
{
	struct network *network = *state;
	struct address target = address_of("10.0.0.9");

	route_add(network, "10.0.0.8/30", "10.0.0.3", NIC, 50);
	route_add(network, "10.0.0.8/30", "10.0.0.4", NIC, 20);
	route_add(network, "10.0.0.8/30", "10.0.0.5", NIC, 20);
	route_add(network, "10.0.0.8/31", "10.0.0.6", NIC, 9000);
	assert_int_equal(network_route_find(network, &target)->metric, 9000);
	target = address_of("10.0.0.10");
	assert_address_equal(network_route_find(network, &target)->gateway, "10.0.0.4");
}

static void families_do_not_mix(void **state)
{
	struct network *network = *state;
	struct address target = address_of("2001:db8::1");

	/* 0.0.0.0/0 is ::ffff:0:0/96 inside, which must not hold other IPv6 addresses, nor ::/0 the IPv4 ones */
	assert_null(network_route_find(network, &target));
	route_add(network, "::/0", "fe80::1", NIC, 0);
	assert_non_null(network_route_find(network, &target));
	target = address_of("198.51.100.1");
	assert_true(prefix_family_ipv4(&network_route_find(network, &target)->to));
}

static void next_hops_are_the_gateway_or_the_address_itself(void **state)
{
	struct network_next_hop hop = next_hop(*state, "198.51.100.1");

	assert_int_equal(hop.state, NETWORK_NEXT_HOP_RESOLVED);
	assert_int_equal(hop.ifindex, NIC);
	assert_int_equal(hop.device_ifindex, NIC);
	assert_int_equal(hop.mtu, 1500);
	assert_int_equal(hop.vlan_id, 0);
	assert_memory_equal(hop.dmac, ((uint8_t[]){2, 0, 0, 0, 1, 254}), 6);
	assert_memory_equal(hop.smac, ((uint8_t[]){2, 0, 0, 0, 0, NIC}), 6);

	hop = next_hop(*state, "fd00:3::2");
	assert_int_equal(hop.state, NETWORK_NEXT_HOP_RESOLVED);
	assert_int_equal(hop.ifindex, VETH);
	assert_memory_equal(hop.dmac, ((uint8_t[]){2, 0, 0, 0, 1, 2}), 6);
}

static void a_vlan_link_sends_on_its_parent(void **state)
{
	struct network *network = *state;
	struct network_next_hop hop = next_hop(network, "10.7.0.2");
	struct network_link *vlan = (struct network_link *)network_link_find_name(network, "eth0.7");

	assert_int_equal(hop.state, NETWORK_NEXT_HOP_RESOLVED);
	assert_int_equal(hop.ifindex, VLAN);
	assert_int_equal(hop.device_ifindex, NIC);
	assert_int_equal(hop.vlan_id, 7);

	vlan->vlan_protocol = 0x88a8;
	assert_int_equal(next_hop(network, "10.7.0.2").state, NETWORK_NEXT_HOP_UNSUPPORTED);
	vlan->vlan_protocol = 0x8100;
	vlan->parent_ifindex = 99;
	assert_int_equal(next_hop(network, "10.7.0.2").state, NETWORK_NEXT_HOP_UNSUPPORTED);
	vlan->parent_ifindex = NIC;
	((struct network_link *)network_link_find(network, NIC))->carrier = false;
	assert_int_equal(next_hop(network, "10.7.0.2").state, NETWORK_NEXT_HOP_LINK_DOWN);
}

static void what_cannot_be_sent_says_why(void **state)
{
	struct network *network = *state;
	struct network_route hole = {.to = prefix_of("192.0.2.0/24"), .unreachable = true};
	struct network_neighbour silent = {.ip = address_of("10.0.0.8"), .ifindex = NIC, .failed = true};
	struct network_next_hop hop;

	assert_int_equal(network_add_route(network, &hole), 0);
	assert_int_equal(network_add_neighbour(network, &silent), 0);
	assert_int_equal(next_hop(network, "192.0.2.1").state, NETWORK_NEXT_HOP_NO_ROUTE);
	assert_int_equal(next_hop(network, "2001:db8::1").state, NETWORK_NEXT_HOP_NO_ROUTE);
	assert_int_equal(next_hop(network, "10.0.0.1").state, NETWORK_NEXT_HOP_LOCAL);
	assert_int_equal(next_hop(network, "fd00:3::1").state, NETWORK_NEXT_HOP_LOCAL);
	hop = next_hop(network, "10.0.0.7");
	assert_int_equal(hop.state, NETWORK_NEXT_HOP_UNRESOLVED);
	assert_false(hop.failed);
	assert_address_equal(hop.via, "10.0.0.7");
	assert_true(next_hop(network, "10.0.0.8").failed);
	((struct network_link *)network_link_find(network, NIC))->up = false;
	assert_int_equal(next_hop(network, "10.0.0.254").state, NETWORK_NEXT_HOP_LINK_DOWN);
	route_add(network, "203.0.113.0/24", NULL, 99, 0);
	assert_int_equal(next_hop(network, "203.0.113.1").state, NETWORK_NEXT_HOP_NO_ROUTE);
}

static void neighbours_are_replaced_and_removed_by_address_and_link(void **state)
{
	struct network *network = *state;
	size_t before = network->neighbour_count;
	struct address ip = address_of("10.0.0.254");

	neighbour_add(network, "10.0.0.254", NIC, 9);
	assert_int_equal(network->neighbour_count, before);
	assert_int_equal(network_neighbour_find(network, &ip, NIC)->mac[5], 9);
	assert_null(network_neighbour_find(network, &ip, VETH));
	network_remove_neighbour(network, &ip, VETH);
	assert_int_equal(network->neighbour_count, before);
	network_remove_neighbour(network, &ip, NIC);
	assert_null(network_neighbour_find(network, &ip, NIC));
	assert_int_equal(next_hop(network, "198.51.100.1").state, NETWORK_NEXT_HOP_UNRESOLVED);
}

static void many_neighbours_are_all_found(void **state)
{
	struct network network = {0};
	char text[ADDRESS_TEXT_SIZE];

	for (unsigned int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "10.9.%u.%u", i * 7 % 1000 / 250, i * 7 % 250);
		neighbour_add(&network, text, 1 + i % 3, (uint8_t)i);
	}
	for (unsigned int i = 0; i < 1000; i++) {
		struct address ip;

		snprintf(text, sizeof(text), "10.9.%u.%u", i * 7 % 1000 / 250, i * 7 % 250);
		ip = address_of(text);
		assert_non_null(network_neighbour_find(&network, &ip, 1 + i % 3));
	}
	for (size_t i = 1; i < network.neighbour_count; i++)
		assert_true(network.neighbours[i - 1].ifindex <= network.neighbours[i].ifindex);
	network_done(&network);
	assert_int_equal(network.neighbour_count, 0);
}

static void links_are_copied_and_replaced(void **state)
{
	struct network *network = *state;
	struct address former = address_of("10.0.0.1");

	link_add(network, NIC, "eth9", "10.0.0.3/24");
	assert_int_equal(network->link_count, 3);
	assert_false(network_is_local(network, &former));
	assert_null(network_link_find_name(network, "eth0"));
	assert_int_equal(network_link_find_name(network, "eth9")->ifindex, NIC);
}

static void only_what_tables_are_made_from_counts_as_a_change(void **state)
{
	struct network *a = *state, *b;
	void *other;

	site_make(&other);
	b = other;
	assert_true(network_equal(a, b));
	b->neighbours[0].stale = true;
	assert_true(network_equal(a, b));
	b->neighbours[0].mac[5] ^= 1;
	assert_false(network_equal(a, b));
	b->neighbours[0].mac[5] ^= 1;
	b->links[1].carrier = false;
	assert_false(network_equal(a, b));
	b->links[1].carrier = true;
	b->links[1].addresses[0].length = 63;
	assert_false(network_equal(a, b));
	b->links[1].addresses[0].length = 64;
	b->routes[0].gateway.word[1] ^= 1;
	assert_false(network_equal(a, b));
	b->routes[0].gateway.word[1] ^= 1;
	assert_true(network_equal(a, b));
	site_free(&other);
}

#define site_test(function) cmocka_unit_test_setup_teardown(function, site_make, site_free)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		site_test(the_longest_prefix_wins_then_the_lowest_metric),
		site_test(families_do_not_mix),
		site_test(next_hops_are_the_gateway_or_the_address_itself),
		site_test(a_vlan_link_sends_on_its_parent),
		site_test(what_cannot_be_sent_says_why),
		site_test(neighbours_are_replaced_and_removed_by_address_and_link),
		cmocka_unit_test(many_neighbours_are_all_found),
		site_test(links_are_copied_and_replaced),
		site_test(only_what_tables_are_made_from_counts_as_a_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Ways out: next hops and tunnels of backends, other nodes, routes, neighbours. */
#include "edge/edge_small_fixture.h"

static void next_hops_whole(struct edge_fixture *fixture)
{
	for (uint32_t row = 1; row < 64; row++)
		assert_true(egress_whole(&fixture->memory->lb.backends[row].egress));
}

static void a_next_hop_is_never_half_new(void **state)
{
	struct edge_fixture *fixture = *state;
	struct small small;
	uint32_t waits;

	small_init(&small, 8, PROTOCOL_TCP);
	small.backends[3].egress.flags = 0;
	apply(fixture, &small.wanted);
	fixture->on_wait = next_hops_whole;
	waits = fixture->waits;
	for (uint32_t i = 0; i < 8; i++)
		small.backends[i].egress = egress_number(100 + i);
	apply(fixture, &small.wanted);
	assert_true(fixture->waits >= waits + 2);
	next_hops_whole(fixture);
	assert_int_equal(fixture->memory->lb.backends[backend_row(fixture, &small, 5)].egress.ifindex, 105);
	fixture->on_wait = NULL;
	/* A new hardware address alone waits for nothing. */
	waits = fixture->waits;
	small.backends[5].egress.destination_mac = 0x42;
	apply(fixture, &small.wanted);
	assert_int_equal(fixture->waits, waits);
	assert_int_equal(fixture->memory->lb.backends[backend_row(fixture, &small, 5)].egress.destination_mac, 0x42);
}

/* What packets see of row `row` is one of the ways to it that were wanted, or not resolved. */
static void tunnels_whole(struct edge_fixture *fixture)
{
	for (uint32_t row = 1; row < 64; row++) {
		const struct lb_backend *backend = &fixture->memory->lb.backends[row];
		struct address far = ipv4(198, 51, 100, (uint8_t)backend->egress.ifindex);

		if (!(backend->egress.flags & EGRESS_RESOLVED) || backend->tunnel == LB_TUNNEL_NONE)
			continue;
		assert_int_equal(backend->growth, backend->tunnel == LB_TUNNEL_GUE ? 32 : 20);
		assert_memory_equal(&backend->tunnel_destination, &far, sizeof(far));
	}
}

static void a_tunnel_is_never_half_new(void **state)
{
	static const enum lb_tunnel ways[] = {LB_TUNNEL_GUE, LB_TUNNEL_IPIP, LB_TUNNEL_NONE, LB_TUNNEL_GUE};
	struct edge_fixture *fixture = *state;
	const struct lb_backend *backend;
	struct small small;

	small_init(&small, 8, PROTOCOL_UDP);
	apply(fixture, &small.wanted);
	fixture->on_wait = tunnels_whole;
	for (uint32_t round = 0; round < 2 * array_length(ways); round++) {
		uint32_t waits = fixture->waits;

		for (uint32_t i = 0; i < 8; i++) {
			uint32_t number = round < array_length(ways) ? i + 1 : 50 + round; /* the next hop changes as well, later on */

			small.backends[i].egress = egress_number(number);
			small.backends[i].mtu = 1500;
			small.backends[i].tunnel = ways[round % array_length(ways)];
			small.backends[i].tunnel_source = ipv4(198, 51, 100, 200);
			small.backends[i].tunnel_destination = ipv4(198, 51, 100, (uint8_t)number);
		}
		apply(fixture, &small.wanted);
		tunnels_whole(fixture);
		assert_true(fixture->waits > waits);
		backend = &fixture->memory->lb.backends[backend_row(fixture, &small, 5)];
		assert_int_equal(backend->tunnel, ways[round % array_length(ways)]);
		assert_int_equal(backend->mtu, 1500 - backend->growth);
		assert_true(backend->egress.flags & EGRESS_RESOLVED);
	}
	fixture->on_wait = NULL;
}

static uint64_t peer_flags(const struct edge_fixture *fixture, struct address address)
{
	const struct lb_peers *peers = &fixture->memory->lb.peers;
	struct directory_key key = lb_peer_key(&address);
	uint32_t row = directory_find(&peers->directory.entries[0][0], LB_PEER_DIRECTORY_BITS, peers->directory.control, &key);

	return row ? peers->rows[row].flags : 0;
}

static void peers_come_and_go(void **state)
{
	struct edge_fixture *fixture = *state;
	struct peer_wanted peers[] = {{ipv4(192, 0, 2, 2), true}, {ipv4(192, 0, 2, 3), false}, {ipv4(192, 0, 2, 4), false}};
	struct edge_wanted wanted = {.peers = peers, .peer_count = 3};
	struct edge_changes changes;
	struct error error = {0};

	apply(fixture, &wanted);
	assert_int_equal(peer_flags(fixture, peers[0].address), LB_PEER_SELF);
	assert_int_equal(peer_flags(fixture, peers[2].address), LB_PEER_NODE);
	edge_program_adopt(fixture->program);
	assert_int_equal(edge_program_apply(fixture->program, &wanted, &changes, &error), 0);
	assert_false(edge_changes_any(&changes));
	wanted.peer_count = 2;
	apply(fixture, &wanted);
	assert_int_equal(peer_flags(fixture, peers[1].address), LB_PEER_NODE);
	assert_int_equal(peer_flags(fixture, peers[2].address), 0);
	peers[1] = peers[0];
	refused(fixture, &wanted, EINVAL, "192.0.2.2 is there twice");
}

static void route_add(struct route_wanted *routes, size_t *count, const char *prefix, uint32_t egress)
{
	assert_int_equal(prefix_parse(prefix, &routes[*count].prefix), 0);
	routes[(*count)++].egress = egress_number(egress);
}

static uint32_t route_to(struct edge_fixture *fixture, const char *text)
{
	const struct route_row *row;
	struct address address;

	assert_int_equal(address_parse(text, &address), 0);
	row = route_find(&fixture->memory->routes, &address);
	return row ? row->egress.ifindex : 0;
}

static void routes_are_pruned_and_sorted(void **state)
{
	struct edge_fixture *fixture = *state;
	static struct route_wanted routes[1000];
	struct edge_wanted wanted = {.routes = routes};
	size_t count = 0;

	route_add(routes, &count, "10.1.0.0/16", 1);
	route_add(routes, &count, "10.0.0.0/8", 1);
	route_add(routes, &count, "10.1.2.0/24", 2);
	route_add(routes, &count, "10.1.2.128/25", 1);
	route_add(routes, &count, "10.1.2.128/25", 9); /* the first counts */
	route_add(routes, &count, "::/0", 3);
	route_add(routes, &count, "2001:db8::/32", 3);
	route_add(routes, &count, "2001:db8:1::/48", 4);
	wanted.route_count = count;
	apply(fixture, &wanted);
	assert_int_equal((uint32_t)fixture->memory->routes.control, 6); /* with the stop for IPv4 */
	assert_int_equal(route_to(fixture, "10.1.9.9"), 1);
	assert_int_equal(route_to(fixture, "10.1.2.3"), 2);
	assert_int_equal(route_to(fixture, "10.1.2.200"), 1);
	assert_int_equal(route_to(fixture, "192.0.2.1"), 0);
	assert_int_equal(route_to(fixture, "2001:db8::1"), 3);
	assert_int_equal(route_to(fixture, "2001:db8:1::1"), 4);
	route_add(routes, &count, "0.0.0.0/0", 3);
	for (uint32_t i = 0; i < 900; i++) {
		char text[32];

		snprintf(text, sizeof(text), "100.%u.%u.0/24", i / 256, i % 256);
		route_add(routes, &count, text, 3);
	}
	wanted.route_count = count;
	apply(fixture, &wanted);
	assert_int_equal((uint32_t)fixture->memory->routes.control, 6);
	assert_int_equal(route_to(fixture, "192.0.2.1"), 3);
	for (uint32_t i = 0; i < 59; i++)
		routes[count - 1 - i].egress = egress_number(77);
	refused(fixture, &wanted, E2BIG, "of 909 routes 65 matter");
}

static void neighbours_come_go_and_age(void **state)
{
	struct edge_fixture *fixture = *state;
	struct neighbour_table *table = &fixture->memory->neighbours;
	struct neighbour_wanted neighbours[2] = {{ipv4(10, 0, 0, 1), 0xaa, 3, 0}, {ipv4(10, 0, 0, 2), 0xbb, 3, 5}};
	struct edge_wanted wanted = {.neighbours = neighbours, .neighbour_count = 2};
	struct address learned = ipv4(10, 0, 0, 9);
	struct edge_sweep_stats stats;

	apply(fixture, &wanted);
	assert_true(neighbour_find(table, &neighbours[0].address, 3) == 0xaa);
	assert_true(neighbour_find(table, &neighbours[1].address, neighbour_link(3, 5)) == 0xbb);
	assert_true(neighbour_find(table, &neighbours[1].address, 3) == 0);
	neighbours[0].mac = 0xcc;
	apply(fixture, &wanted);
	assert_true(neighbour_find(table, &neighbours[0].address, 3) == 0xcc);
	assert_true(neighbour_learn(table, &learned, 3, 0xdd | (uint64_t)fixture->epoch << NEIGHBOUR_SEEN_SHIFT));
	/* one that the kernel has forgotten ages like a learned one, unless it says that the address is another machine's now */
	wanted.neighbour_count = 1;
	apply(fixture, &wanted);
	assert_true(neighbour_find(table, &neighbours[1].address, neighbour_link(3, 5)) == 0xbb);
	neighbours[1].mac = 0xee;
	wanted.neighbour_count = 2;
	apply(fixture, &wanted);
	assert_true(neighbour_find(table, &neighbours[1].address, neighbour_link(3, 5)) == 0xee);
	wanted.neighbour_count = 1;
	apply(fixture, &wanted);
	fixture->epoch += 73;
	stats = sweep_pass(fixture);
	assert_int_equal(stats.neighbours_removed, 0);
	assert_true(neighbour_find(table, &learned, 3) == 0xdd);
	assert_true(neighbour_find(table, &neighbours[1].address, neighbour_link(3, 5)) == 0xee);
	fixture->epoch++;
	stats = sweep_pass(fixture);
	assert_int_equal(stats.neighbours_removed, 2);
	assert_true(neighbour_find(table, &learned, 3) == 0);
	assert_true(neighbour_find(table, &neighbours[1].address, neighbour_link(3, 5)) == 0);
	assert_true(neighbour_find(table, &neighbours[0].address, 3) == 0xcc);
	apply(fixture, &wanted);
}

static void a_full_bucket_of_neighbours_is_not_churned(void **state)
{
	struct edge_fixture *fixture = *state;
	struct neighbour_wanted neighbours[6];
	struct edge_wanted wanted = {.neighbours = neighbours, .neighbour_count = 6};
	struct address first = ipv4(10, 0, 0, 0), address;
	size_t count = 0;

	for (uint32_t i = 0; count < 6; i++) {
		address = ipv4(10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i);
		if (neighbour_bucket(&address, 3) == neighbour_bucket(&first, 3))
			neighbours[count++] = (struct neighbour_wanted){address, i + 1, 3, 0};
	}
	assert_int_equal(apply(fixture, &wanted).neighbours, NEIGHBOUR_WAYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_fixture(a_next_hop_is_never_half_new),
		with_fixture(a_tunnel_is_never_half_new),
		with_fixture(peers_come_and_go),
		with_fixture(routes_are_pruned_and_sorted),
		with_fixture(neighbours_come_go_and_age),
		with_fixture(a_full_bucket_of_neighbours_is_not_churned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

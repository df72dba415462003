/* SPDX-License-Identifier: Apache-2.0 */
#include "vip/rank.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NODES_MAX 100
#define VIPS 10000

static char names[NODES_MAX][16];
static struct vip_candidate nodes[NODES_MAX];
static const struct vip_rank_policy no_hold = {0};

/* All usable for a long time, none an owner. */
static int setup(void **state)
{
	for (size_t i = 0; i < NODES_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "node-%zu", i + 1);
		nodes[i] = (struct vip_candidate){.node = names[i], .live = true, .eligible = true};
	}
	return 0;
}

/* Neighbouring addresses, as pools have them. */
static struct address vip_of(uint32_t number)
{
	return address_from_ipv4(htonl(0xc6120000u + number));
}

static int owner_of(size_t count, uint32_t number)
{
	struct address vip = vip_of(number);

	return vip_rank(nodes, count, &vip, &no_hold, 1000000);
}

static void vips_spread_evenly(void **state)
{
	static const size_t counts[] = {2, 3, 10, 100};

	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		double expected = (double)VIPS / (double)counts[c], chi_squared = 0, degrees = (double)counts[c] - 1;
		size_t owned[NODES_MAX] = {0};

		for (uint32_t vip = 0; vip < VIPS; vip++)
			owned[owner_of(counts[c], vip)]++;
		for (size_t i = 0; i < counts[c]; i++)
			chi_squared += ((double)owned[i] - expected) * ((double)owned[i] - expected) / expected;
		print_message("%zu nodes: chi squared %.1f for %.0f degrees of freedom\n", counts[c], chi_squared, degrees);
		/* Mean and variance of chi squared are d and 2d: four deviations, squared to spare a root. */
		if (chi_squared > degrees)
			assert_true((chi_squared - degrees) * (chi_squared - degrees) < 16 * 2 * degrees);
	}
}

static void a_lost_node_moves_only_its_own_vips_to_all_others(void **state)
{
	size_t before[VIPS], inherited[10] = {0}, lost = 0;

	for (uint32_t vip = 0; vip < VIPS; vip++)
		before[vip] = (size_t)owner_of(10, vip);
	nodes[3].live = false;
	for (uint32_t vip = 0; vip < VIPS; vip++) {
		size_t after = (size_t)owner_of(10, vip);

		assert_int_not_equal(after, 3);
		if (before[vip] != 3)
			assert_int_equal(after, before[vip]);
		else
			inherited[after]++, lost++;
	}
	for (size_t i = 0; i < 10; i++)
		if (i != 3)
			assert_in_range(inherited[i], lost / 9 / 2, lost / 9 * 2);
}

static void the_order_of_candidates_does_not_matter(void **state)
{
	struct vip_candidate reversed[7];

	for (size_t i = 0; i < 7; i++)
		reversed[i] = nodes[6 - i];
	for (uint32_t number = 0; number < 1000; number++) {
		struct address vip = vip_of(number);
		int a = vip_rank(nodes, 7, &vip, &no_hold, 0), b = vip_rank(reversed, 7, &vip, &no_hold, 0);

		assert_string_equal(nodes[a].node, reversed[b].node);
	}
}

/* Nodes of different versions decide together: these answers are for ever. */
static void scores_never_change(void **state)
{
	static const char owners[] = "1321321122113233";
	char now[sizeof(owners)] = "";

	for (uint32_t vip = 0; vip < sizeof(owners) - 1; vip++)
		now[vip] = (char)('1' + owner_of(3, vip));
	assert_string_equal(now, owners);
}

static void nobody_usable_means_nobody(void **state)
{
	struct address vip = vip_of(1);

	assert_int_equal(vip_rank(nodes, 0, &vip, &no_hold, 0), -1);
	nodes[0].live = false;
	nodes[0].owner = true;
	nodes[1].eligible = false;
	assert_int_equal(vip_rank(nodes, 2, &vip, &no_hold, 0), -1);
}

static void the_order_is_who_is_next(void **state)
{
	struct address vip = vip_of(7);
	size_t order[NODES_MAX];

	vip_rank_order(nodes, NODES_MAX, &vip, order);
	for (size_t i = 0; i < NODES_MAX; i++) {
		assert_int_equal(vip_rank(nodes, NODES_MAX, &vip, &no_hold, 0), order[i]);
		nodes[order[i]].live = false;
	}
	assert_int_equal(vip_rank(nodes, NODES_MAX, &vip, &no_hold, 0), -1);
}

/* Best, second and third of three for one VIP. */
static void best_three(struct address *vip, size_t order[3])
{
	*vip = vip_of(42);
	vip_rank_order(nodes, 3, vip, order);
}

static void a_better_node_that_returns_waits_for_the_hold_down_time(void **state)
{
	const struct vip_rank_policy policy = {.hold_down_ms = 5000};
	struct address vip;
	size_t order[3];

	best_three(&vip, order);
	nodes[order[1]].owner = true;
	nodes[order[0]].usable_since_ms = 100000;
	assert_int_equal(vip_rank(nodes, 3, &vip, &policy, 100000), order[1]);
	assert_int_equal(vip_rank(nodes, 3, &vip, &policy, 104999), order[1]);
	assert_int_equal(vip_rank(nodes, 3, &vip, &policy, 105000), order[0]);
	assert_int_equal(vip_rank(nodes, 3, &vip, &policy, 99000), order[1]); /* the clock went back */
}

static void an_owner_may_keep_for_ever(void **state)
{
	const struct vip_rank_policy policy = {.hold_down_ms = VIP_HOLD_FOREVER};
	struct address vip;
	size_t order[3];

	best_three(&vip, order);
	nodes[order[2]].owner = true;
	assert_int_equal(vip_rank(nodes, 3, &vip, &policy, UINT64_MAX), order[2]);
	nodes[order[2]].live = false;
	assert_int_equal(vip_rank(nodes, 3, &vip, &policy, UINT64_MAX), order[0]);
}

static void the_loss_of_the_owner_waits_for_nothing(void **state)
{
	const struct vip_rank_policy policy = {.hold_down_ms = 5000};
	struct address vip;
	size_t order[3];

	best_three(&vip, order);
	for (size_t i = 0; i < 3; i++)
		nodes[i].usable_since_ms = 100000;
	nodes[order[0]].owner = true;
	nodes[order[0]].eligible = false;
	assert_int_equal(vip_rank(nodes, 3, &vip, &policy, 100001), order[1]);
}

static void two_owners_become_the_better_one(void **state)
{
	const struct vip_rank_policy policy = {.hold_down_ms = VIP_HOLD_FOREVER};
	struct address vip;
	size_t order[3];

	best_three(&vip, order);
	nodes[order[1]].owner = true;
	nodes[order[2]].owner = true;
	assert_int_equal(vip_rank(nodes, 3, &vip, &policy, 0), order[1]);
}

static void a_pin_overrides_while_its_node_is_usable(void **state)
{
	struct vip_rank_policy policy = {.hold_down_ms = 5000};
	struct address vip;
	size_t order[3];

	best_three(&vip, order);
	policy.pinned = nodes[order[2]].node;
	nodes[order[0]].owner = true;
	nodes[order[2]].usable_since_ms = 100000;
	assert_int_equal(vip_rank(nodes, 3, &vip, &policy, 100000), order[2]);
	nodes[order[2]].eligible = false;
	assert_int_equal(vip_rank(nodes, 3, &vip, &policy, 100000), order[0]);
	policy.pinned = "no-such-node";
	assert_int_equal(vip_rank(nodes, 3, &vip, &policy, 100000), order[0]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(vips_spread_evenly, setup),
		cmocka_unit_test_setup(a_lost_node_moves_only_its_own_vips_to_all_others, setup),
		cmocka_unit_test_setup(the_order_of_candidates_does_not_matter, setup),
		cmocka_unit_test_setup(scores_never_change, setup),
		cmocka_unit_test_setup(nobody_usable_means_nobody, setup),
		cmocka_unit_test_setup(the_order_is_who_is_next, setup),
		cmocka_unit_test_setup(a_better_node_that_returns_waits_for_the_hold_down_time, setup),
		cmocka_unit_test_setup(an_owner_may_keep_for_ever, setup),
		cmocka_unit_test_setup(the_loss_of_the_owner_waits_for_nothing, setup),
		cmocka_unit_test_setup(two_owners_become_the_better_one, setup),
		cmocka_unit_test_setup(a_pin_overrides_while_its_node_is_usable, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

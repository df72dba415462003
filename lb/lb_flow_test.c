/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lb/lb_flow.h"

#define CELLS 8u   /* in a set */
#define TAGS 2048u /* flows of one set that the filter tells apart */

struct fixture {
	struct lb_filter filter;
	struct lb_flows flows;
};

static int fixture_new(void **state)
{
	*state = aligned_alloc(64, sizeof(struct fixture));
	if (!*state)
		return -1;
	*(struct fixture *)*state = (struct fixture){0};
	return 0;
}

static int fixture_free(void **state)
{
	free(*state);
	return 0;
}

/* The hash of a flow of set 5; which cells it prefers is in the upper half. */
static uint64_t flow_of_set(uint32_t tag)
{
	return hash_finish(tag + 1) >> 32 << 32 | 5u << 12 | tag;
}

/* How many of the set's flows the filter vouches for. */
static uint32_t vouched(const struct lb_filter *filter, uint32_t epoch)
{
	uint32_t count = 0;

	for (uint32_t tag = 0; tag < TAGS; tag++)
		count += lb_filter_test(filter, flow_of_set(tag), epoch);
	return count;
}

static void a_set_vouches_for_eight_flows_in_every_epoch(void **state)
{
	struct fixture *fixture = *state;

	for (uint32_t epoch = 0; epoch < 40; epoch++) {
		fixture->filter = (struct lb_filter){0};
		assert_int_equal(vouched(&fixture->filter, epoch), 0);
		for (uint32_t i = 0; i < CELLS; i++) {
			lb_filter_mark(&fixture->filter, flow_of_set(200 * i + epoch), epoch);
			assert_int_equal(vouched(&fixture->filter, epoch), i + 1);
		}
		for (uint32_t i = 0; i < CELLS; i++)
			assert_true(lb_filter_test(&fixture->filter, flow_of_set(200 * i + epoch), epoch));
		assert_int_equal(vouched(&fixture->filter, epoch + 1), 0);
		assert_int_equal(vouched(&fixture->filter, epoch + 16), CELLS); /* four bits of epoch: the sweep's matter */
	}
}

static void a_past_epochs_marks_give_way_first(void **state)
{
	struct fixture *fixture = *state;

	for (uint32_t epoch = 0; epoch < 40; epoch++) {
		for (uint32_t i = 0; i < CELLS; i++) {
			lb_filter_mark(&fixture->filter, flow_of_set(100 * i + epoch), epoch);
			assert_int_equal(vouched(&fixture->filter, epoch), i + 1);
			if (epoch)
				assert_int_equal(vouched(&fixture->filter, epoch - 1), CELLS - 1 - i);
		}
	}
}

static void a_ninth_flow_takes_one_cell(void **state)
{
	struct fixture *fixture = *state;

	for (uint32_t tag = 0; tag < 100; tag++) {
		lb_filter_mark(&fixture->filter, flow_of_set(tag), 3);
		assert_true(lb_filter_test(&fixture->filter, flow_of_set(tag), 3));
		assert_int_equal(vouched(&fixture->filter, 3), tag < CELLS ? tag + 1 : CELLS);
	}
	for (uint32_t set = 0; set < 1u << LB_FILTER_SET_BITS; set++) {
		if (set != 5)
			assert_true((fixture->filter.sets[set][0] | fixture->filter.sets[set][1]) == 0);
	}
}

/* A new flow's word is stored whatever was there; a change of one that was found gives way to another worker's. */
static void a_change_gives_way_and_a_new_flow_does_not(void **state)
{
	struct fixture *fixture = *state;
	uint64_t one = 0x1230000000000007, other = 0x4560000000000007;
	struct lb_flow_place late = lb_flow_find(&fixture->flows, one, 0, 9), place = lb_flow_find(&fixture->flows, other, 0, 9);

	assert_ptr_equal(late.place, place.place);
	assert_false(late.found || place.found);
	lb_flow_put(&place, lb_flow_word(other, 2, 9, 0));
	lb_flow_put(&late, lb_flow_word(one, 1, 9, 0));
	place = lb_flow_find(&fixture->flows, one, 0, 9);
	assert_true(place.found);
	assert_int_equal(lb_flow_backend(place.word), 1);
	assert_false(lb_flow_find(&fixture->flows, other, 0, 9).found);
	late = place;
	lb_flow_put(&place, lb_flow_word(one, 1, 9, LB_FLOW_CLOSING));
	lb_flow_put(&late, lb_flow_word(one, 1, 10, 0));
	place = lb_flow_find(&fixture->flows, one, 0, 10);
	assert_true(place.word == lb_flow_word(one, 1, 9, LB_FLOW_CLOSING));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_set_vouches_for_eight_flows_in_every_epoch, fixture_new, fixture_free),
		cmocka_unit_test_setup_teardown(a_past_epochs_marks_give_way_first, fixture_new, fixture_free),
		cmocka_unit_test_setup_teardown(a_ninth_flow_takes_one_cell, fixture_new, fixture_free),
		cmocka_unit_test_setup_teardown(a_change_gives_way_and_a_new_flow_does_not, fixture_new, fixture_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

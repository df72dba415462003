/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ctrl/program/programmer.h"

static int setup(void **state)
{
	struct error error = {0};

	return programmer_fake((struct programmer **)state, &error);
}

static int teardown(void **state)
{
	programmer_close(*state);
	return 0;
}

static void programmer_applies_to_fake_tables(void **state)
{
	struct programmer *programmer = *state;
	const struct link_wanted links[] = {{.ifindex = 7, .mac = 0x665544332202ull, .announce = 1}};
	const struct edge_wanted wanted = {.hash_seed = 42, .links = links, .link_count = 1};
	struct edge_changes changes;
	struct error error = {0};

	assert_int_equal(programmer_found(programmer), PROGRAMMER_FRESH);
	assert_int_equal(programmer_apply(programmer, &wanted, &changes, &error), 0);
	assert_true(changes.links > 0);
	assert_int_equal(link_row_find(programmer_tables(programmer)->links, 7, 0) != 0, 1);
	assert_int_equal(programmer_apply(programmer, &wanted, &changes, &error), 0);
	assert_false(edge_changes_any(&changes));
}

static void programmer_names_attachments(void **state)
{
	const struct programmer_interface interfaces[] = {{3, PROGRAMMER_XDP_NATIVE}, {9, PROGRAMMER_WORKLOAD}};
	struct programmer_attachment attachments[2];

	assert_int_equal(programmer_attach(*state, interfaces, 2, attachments, NULL), 0);
	assert_int_equal(attachments[0].ifindex, 3);
	assert_int_equal(attachments[1].ifindex, 9);
	assert_string_equal(attachments[1].mode, "fake");
	assert_int_equal(attachments[1].code, 0);
}

static void programmer_sweeps_at_its_epoch(void **state)
{
	struct edge_sweep_stats stats;
	uint32_t steps = 0;

	programmer_fake_epoch_set(*state, 77);
	assert_int_equal(programmer_epoch(*state), 77);
	do {
		programmer_sweep_step(*state, &stats);
		steps++;
	} while (!stats.complete && steps <= 2 * EDGE_SWEEP_STEPS);
	assert_int_equal(steps, EDGE_SWEEP_STEPS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(programmer_applies_to_fake_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(programmer_names_attachments, setup, teardown),
		cmocka_unit_test_setup_teardown(programmer_sweeps_at_its_epoch, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vip/vip_program.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
	struct vip_tables tables;
	struct quiesce quiesce;
	struct vip_program program;
	uint32_t waits;
};

static void count_wait(void *context)
{
	((struct fixture *)context)->waits++;
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	if (!fixture)
		return -1;
	fixture->quiesce = (struct quiesce){.wait = count_wait, .context = fixture};
	vip_program_init(&fixture->program, &fixture->tables, &fixture->quiesce);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static struct vip_wanted vip(uint32_t number, bool owned)
{
	return (struct vip_wanted){address_from_ipv4(0x000200c0u | number << 24), owned, 1ull << number % 64};
}

static uint32_t row_of(struct fixture *fixture, const struct vip_wanted *wanted)
{
	struct directory_key key = vip_key(&wanted->address, false);

	return DIRECTORY_FIND(&fixture->tables.directory, VIP_DIRECTORY_BITS, &key);
}

static struct vip_changes apply(struct fixture *fixture, const struct vip_wanted *vips, size_t count)
{
	struct vip_changes changes = {0}, again = {0};

	assert_int_equal(vip_program_check(vips, count, NULL), 0);
	assert_int_equal(vip_program_apply(&fixture->program, vips, count, &changes, NULL), 0);
	assert_int_equal(vip_program_apply(&fixture->program, vips, count, &again, NULL), 0);
	assert_int_equal(again.vips + again.directories, 0);
	return changes;
}

static void rows_follow_what_is_wanted(void **state)
{
	struct fixture *fixture = *state;
	struct vip_wanted vips[3] = {vip(1, true), vip(2, false), vip(3, true)};
	struct vip_changes changes;
	uint32_t third;

	apply(fixture, vips, 3);
	third = row_of(fixture, &vips[2]);
	assert_int_equal(fixture->tables.rows[third].flags, VIP_OWNED);
	assert_true(fixture->tables.rows[third].links == 8);
	assert_true(fixture->tables.rows[row_of(fixture, &vips[1])].links == 0);
	assert_int_equal(fixture->tables.rows[row_of(fixture, &vips[1])].flags, 0);

	/* An owner changes by two stores, and no dictionary. */
	vips[2].owned = false;
	changes = apply(fixture, vips, 3);
	assert_int_equal(changes.vips, 2);
	assert_int_equal(changes.directories, 0);

	/* One that leaves is cleared, the others keep their rows. */
	vips[0] = vips[2];
	apply(fixture, vips, 2);
	assert_int_equal(row_of(fixture, &vips[0]), third);
	assert_int_equal(row_of(fixture, &(struct vip_wanted){vip(1, true).address}), 0);
	for (uint32_t row = 1; row < VIP_ROWS; row++)
		assert_int_equal(address_is_zero(&fixture->tables.rows[row].address),
				 row != third && row != row_of(fixture, &vips[1]));
}

static void a_new_program_adopts_the_tables(void **state)
{
	struct fixture *fixture = *state;
	struct vip_wanted vips[2] = {vip(1, true), vip(2, true)};
	struct vip_changes changes = {0};

	apply(fixture, vips, 2);
	vip_program_init(&fixture->program, &fixture->tables, &fixture->quiesce);
	assert_int_equal(vip_program_apply(&fixture->program, vips, 2, &changes, NULL), 0);
	assert_int_equal(changes.vips + changes.directories, 0);
}

static void nonsense_is_refused(void **state)
{
	static struct vip_wanted many[VIP_ROWS];
	struct vip_wanted vips[2] = {vip(1, true), vip(1, false)};
	struct error error;

	assert_int_equal(vip_program_check(vips, 2, &error), -EINVAL);
	assert_string_equal(error.text, "virtual IP 192.0.2.1 is there twice");
	vips[0].address = (struct address){{0, 0}};
	assert_int_equal(vip_program_check(vips, 1, &error), -EINVAL);
	assert_int_equal(vip_program_check(many, VIP_ROWS, &error), -E2BIG);
	assert_string_equal(error.text, "1024 virtual IPs: a node holds 1023");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(rows_follow_what_is_wanted, setup, teardown),
		cmocka_unit_test_setup_teardown(a_new_program_adopts_the_tables, setup, teardown),
		cmocka_unit_test(nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

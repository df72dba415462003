/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lib/directory_build.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BITS 14u
#define PLACES (1u << BITS)

struct fixture {
	struct directory_entry entries[2 * PLACES];
	struct directory_pair pairs[PLACES];
	uint64_t control;
};

static int fixture_new(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	return *state ? 0 : -1;
}

static int fixture_free(void **state)
{
	free(*state);
	return 0;
}

static void pairs_make(struct fixture *fixture, size_t count, uint64_t salt)
{
	for (size_t i = 0; i < count; i++)
		fixture->pairs[i] = (struct directory_pair){{{i, salt, i >> 3}}, (uint32_t)i + 1};
}

static void every_key_is_found_when_full(void **state)
{
	struct fixture *fixture = *state;
	const struct directory_key stranger = {{PLACES, 7, 0}};

	for (uint64_t salt = 0; salt < 50; salt++) {
		size_t count = DIRECTORY_CAPACITY(BITS);
		uint64_t before = fixture->control;

		pairs_make(fixture, count, salt);
		assert_int_equal(directory_build(fixture->entries, BITS, fixture->control, fixture->pairs, count,
						 &fixture->control),
				 0);
		assert_int_not_equal(before & 1, fixture->control & 1);
		for (size_t i = 0; i < count; i++)
			assert_int_equal(directory_find(fixture->entries, BITS, fixture->control, &fixture->pairs[i].key),
					 i + 1);
		assert_int_equal(directory_find(fixture->entries, BITS, fixture->control, &stranger), 0);
		assert_true(directory_holds(fixture->entries, BITS, fixture->control, fixture->pairs, count));
		assert_false(directory_holds(fixture->entries, BITS, fixture->control, fixture->pairs, count - 1));
		fixture->pairs[5].row = 9999;
		assert_false(directory_holds(fixture->entries, BITS, fixture->control, fixture->pairs, count));
	}
}

/* As many keys as fit, of which one byte counts to `count` and another goes on. Returns how many seeds were tried. */
static uint64_t seeds_of_plane(struct fixture *fixture, const uint32_t byte[2], uint32_t count)
{
	uint64_t control = 0, seeds = 1;

	for (uint32_t i = 0; i < DIRECTORY_CAPACITY(BITS); i++) {
		struct directory_key key = {{0xfd, 0, 1ull << 32}};

		key.word[byte[0] / 8] ^= (uint64_t)(i % count) << byte[0] % 8 * 8;
		key.word[byte[1] / 8] ^= (uint64_t)(i / count) << byte[1] % 8 * 8;
		fixture->pairs[i] = (struct directory_pair){key, i + 1};
	}
	if (directory_build(fixture->entries, BITS, 0, fixture->pairs, DIRECTORY_CAPACITY(BITS), &control) < 0)
		return UINT64_MAX;
	while ((uint32_t)(seeds * DIRECTORY_SEED_STEP) != control >> 32)
		seeds++;
	return seeds;
}

/*
 * Networks times hosts, addresses times ports: keys that differ in two bytes only, wherever they lie (IPv6's 16 and the
 * port's two).
 */
static void keys_that_differ_in_two_bytes_find_a_seed(void **state)
{
	struct fixture *fixture = *state;
	uint32_t byte[2];

	for (byte[0] = 0; byte[0] < 18; byte[0]++) {
		for (byte[1] = 0; byte[1] < 18; byte[1]++) {
			for (uint32_t count = 8; count <= 256 && byte[0] != byte[1]; count *= 2)
				assert_in_range(seeds_of_plane(fixture, byte, count), 1, 4);
		}
	}
}

static void the_buffer_in_use_is_left_alone(void **state)
{
	struct fixture *fixture = *state;
	static struct directory_entry before[PLACES];
	uint64_t control;

	pairs_make(fixture, 100, 1);
	assert_int_equal(directory_build(fixture->entries, BITS, 0, fixture->pairs, 100, &control), 0);
	assert_int_equal(control & 1, 1);
	memcpy(before, fixture->entries + PLACES, sizeof(before));
	pairs_make(fixture, 200, 2);
	assert_int_equal(directory_build(fixture->entries, BITS, control, fixture->pairs, 200, &control), 0);
	assert_memory_equal(before, fixture->entries + PLACES, sizeof(before));
}

static void the_same_input_gives_the_same_bytes(void **state)
{
	struct fixture *fixture = *state;
	static struct directory_entry again[2 * PLACES];
	uint64_t control, control_again;

	memset(again, 0, sizeof(again));
	pairs_make(fixture, 300, 3);
	assert_int_equal(directory_build(fixture->entries, BITS, 0, fixture->pairs, 300, &control), 0);
	assert_int_equal(directory_build(again, BITS, 0, fixture->pairs, 300, &control_again), 0);
	assert_true(control == control_again);
	assert_memory_equal(again, fixture->entries, sizeof(again));
}

static void too_many_and_doubled_keys_are_refused(void **state)
{
	struct fixture *fixture = *state;
	uint64_t control = 42;

	pairs_make(fixture, DIRECTORY_CAPACITY(BITS) + 1, 4);
	assert_int_equal(directory_build(fixture->entries, BITS, 0, fixture->pairs, DIRECTORY_CAPACITY(BITS) + 1, &control),
			 -E2BIG);
	fixture->pairs[9] = fixture->pairs[3];
	assert_int_equal(directory_build(fixture->entries, BITS, 0, fixture->pairs, 20, &control), -EEXIST);
	assert_int_equal(control, 42);
}

static void sorted_pairs_are_searched(void **state)
{
	struct fixture *fixture = *state;
	const struct directory_key stranger = {{1, 2, 3}};

	pairs_make(fixture, 77, 5);
	for (size_t i = 0; i < 38; i++) {
		struct directory_pair swapped = fixture->pairs[i];

		fixture->pairs[i] = fixture->pairs[76 - i];
		fixture->pairs[76 - i] = swapped;
	}
	directory_pairs_sort(fixture->pairs, 77);
	for (size_t i = 0; i < 77; i++)
		assert_int_equal(directory_pairs_find(fixture->pairs, 77, &fixture->pairs[i].key), fixture->pairs[i].row);
	assert_int_equal(directory_pairs_find(fixture->pairs, 77, &stranger), 0);
	assert_int_equal(directory_pairs_find(fixture->pairs, 0, &stranger), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_key_is_found_when_full, fixture_new, fixture_free),
		cmocka_unit_test_setup_teardown(keys_that_differ_in_two_bytes_find_a_seed, fixture_new, fixture_free),
		cmocka_unit_test_setup_teardown(the_buffer_in_use_is_left_alone, fixture_new, fixture_free),
		cmocka_unit_test_setup_teardown(the_same_input_gives_the_same_bytes, fixture_new, fixture_free),
		cmocka_unit_test_setup_teardown(too_many_and_doubled_keys_are_refused, fixture_new, fixture_free),
		cmocka_unit_test_setup_teardown(sorted_pairs_are_searched, fixture_new, fixture_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/program/probe_schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/lib/address_fixture.h"

#define NIC 2

struct site {
	struct network network;
	struct probe_schedule schedule;
};

static void neighbour_set(struct site *site, const char *ip, bool usable, bool stale, bool failed)
{
	struct network_neighbour neighbour = {
		.ip = address_of(ip), .ifindex = NIC, .usable = usable, .stale = stale, .failed = failed};

	assert_int_equal(network_add_neighbour(&site->network, &neighbour), 0);
}

static void want(struct site *site, const char *a, const char *b)
{
	struct address destinations[2] = {address_of(a), address_of(b)};

	assert_int_equal(probe_schedule_want(&site->schedule, &site->network, destinations, 2), 0);
}

static int site_make(void **state)
{
	struct site *site = calloc(1, sizeof(*site));
	struct network_link nic = {.ifindex = NIC, .name = "eth0", .up = true, .carrier = true, .mtu = 1500};
	struct network_route lan = {.ifindex = NIC}, beyond = {.ifindex = NIC};

	assert_int_equal(prefix_parse("10.0.0.0/24", &lan.to), 0);
	assert_int_equal(prefix_parse("0.0.0.0/0", &beyond.to), 0);
	beyond.gateway = address_of("10.0.0.254");
	assert_int_equal(network_add_link(&site->network, &nic), 0);
	assert_int_equal(network_add_route(&site->network, &lan), 0);
	assert_int_equal(network_add_route(&site->network, &beyond), 0);
	*state = site;
	return 0;
}

static int site_free(void **state)
{
	struct site *site = *state;

	network_done(&site->network);
	probe_schedule_done(&site->schedule);
	free(site);
	return 0;
}

static bool next(struct site *site, uint64_t now_ms, struct probe *probe)
{
	return probe_schedule_next(&site->schedule, &site->network, now_ms, probe);
}

static void destinations_behind_one_gateway_are_one_target(void **state)
{
	struct site *site = *state;
	struct probe probe;

	want(site, "192.0.2.1", "198.51.100.1");
	assert_int_equal(site->schedule.count, 1);
	assert_true(next(site, 0, &probe));
	assert_true(memcmp(&probe.ip, &(struct address[]){address_of("10.0.0.254")}, sizeof(probe.ip)) == 0);
	assert_int_equal(probe.ifindex, NIC);
	assert_false(probe.confirm);
	assert_false(next(site, 0, &probe));
}

static void unresolved_ones_are_asked_at_once_and_then_ever_less_often(void **state)
{
	static const uint32_t waits_ms[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
	struct site *site = *state;
	uint64_t now_ms = 5000;
	struct probe probe;

	want(site, "10.0.0.2", "10.0.0.2");
	assert_int_equal(probe_schedule_due_ms(&site->schedule, &site->network, now_ms), now_ms);
	assert_true(next(site, now_ms, &probe));
	for (size_t i = 0; i < array_length(waits_ms); i++) {
		want(site, "10.0.0.2", "10.0.0.3"); /* wanting again does not start over */
		neighbour_set(site, "10.0.0.2", false, false, i % 2);
		neighbour_set(site, "10.0.0.3", true, false, false);
		assert_int_equal(probe_schedule_due_ms(&site->schedule, &site->network, now_ms), now_ms + waits_ms[i]);
		assert_false(next(site, now_ms + waits_ms[i] - 1, &probe));
		now_ms += waits_ms[i];
		assert_true(next(site, now_ms, &probe));
	}
}

static void resolved_ones_rest_and_stale_ones_are_confirmed(void **state)
{
	struct site *site = *state;
	struct probe probe;

	want(site, "10.0.0.2", "10.0.0.2");
	assert_true(next(site, 0, &probe));
	neighbour_set(site, "10.0.0.2", true, false, false);
	assert_false(next(site, 60000, &probe));
	assert_int_equal(probe_schedule_due_ms(&site->schedule, &site->network, 60000), PROBE_NEVER);
	neighbour_set(site, "10.0.0.2", true, true, false);
	assert_true(next(site, 60000, &probe));
	assert_true(probe.confirm);
	assert_false(next(site, 60000 + PROBE_CONFIRM_MS - 1, &probe));
	assert_true(next(site, 60000 + PROBE_CONFIRM_MS, &probe));
}

static void the_back_off_starts_over_after_it_was_resolved(void **state)
{
	struct site *site = *state;
	struct probe probe;

	want(site, "10.0.0.2", "10.0.0.2");
	for (uint64_t now_ms = 0; now_ms < 100000; now_ms += 1000)
		(void)next(site, now_ms, &probe);
	neighbour_set(site, "10.0.0.2", true, false, false);
	assert_false(next(site, 100000, &probe));
	neighbour_set(site, "10.0.0.2", false, false, true);
	assert_true(next(site, 100001, &probe));
	assert_false(next(site, 100002, &probe));
	assert_true(next(site, 101001, &probe));
}

static void nothing_is_asked_over_a_link_that_is_down(void **state)
{
	struct site *site = *state;
	struct probe probe;

	want(site, "10.0.0.2", "10.0.0.2");
	site->network.links[0].carrier = false;
	assert_false(next(site, 0, &probe));
	site->network.links[0].carrier = true;
	assert_true(next(site, 1, &probe));
}

#define site_test(function) cmocka_unit_test_setup_teardown(function, site_make, site_free)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		site_test(destinations_behind_one_gateway_are_one_target),
		site_test(unresolved_ones_are_asked_at_once_and_then_ever_less_often),
		site_test(resolved_ones_rest_and_stale_ones_are_confirmed),
		site_test(the_back_off_starts_over_after_it_was_resolved),
		site_test(nothing_is_asked_over_a_link_that_is_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which site a client is sent to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/lib/address_fixture.h"
#include "dns/steer.h"

static struct steer_client client_at(const char *text)
{
	struct steer_client client = {.address = address_of(text)};

	client.length = address_is_ipv4(&client.address) ? 32 : 128;
	return client;
}

static struct steer_address own[4];

/* Four sites with one IPv4 address each, all healthy, weight 1. */
static struct steer_policy policy_make(struct steer_site sites[static 4])
{
	static const char *const names[] = {"a", "b", "c", "d"};
	static const char *const texts[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"};

	for (size_t i = 0; i < 4; i++) {
		own[i] = (struct steer_address){address_of(texts[i]), STEER_UP};
		sites[i] = (struct steer_site){.name = names[i], .addresses = &own[i], .address_count = 1, .weight = 1, .load = -1};
	}
	return (struct steer_policy){.name = "default/x", .sites = sites, .site_count = 4, .ttl = 20};
}

static const char *choose(const struct steer_policy *policy, const char *client)
{
	struct steer_client at = client_at(client);
	struct steer_choice choice;

	steer_choose(policy, &at, false, false, &choice);
	return choice.site ? choice.site->name : "";
}

static void weights_are_kept_and_clients_stay(void **state)
{
	struct steer_site sites[4];
	struct steer_policy policy = policy_make(sites);
	unsigned int counts[4] = {0}, moved = 0;

	sites[0].weight = 3;
	sites[3].weight = 0;
	for (unsigned int i = 0; i < 5000; i++) {
		char client[32], before;

		snprintf(client, sizeof(client), "10.%u.%u.1", i / 250, i % 250);
		before = *choose(&policy, client);
		counts[before - 'a']++;
		/* another of the same prefix goes where it goes */
		snprintf(client, sizeof(client), "10.%u.%u.77", i / 250, i % 250);
		assert_int_equal(*choose(&policy, client), before);
		own[1].health = STEER_DOWN;
		moved += *choose(&policy, client) != before && before != 'b';
		own[1].health = STEER_UP;
	}
	assert_true(counts[0] > 2850 && counts[0] < 3150); /* of 5000, 3 in 5 */
	assert_true(counts[1] > 850 && counts[1] < 1150);
	assert_int_equal(counts[3], 0);
	assert_int_equal(moved, 0); /* when a site goes, only its own clients move */
}

static void health_and_last_resort(void **state)
{
	struct steer_site sites[4];
	struct steer_policy policy = policy_make(sites);
	struct steer_client client = client_at("10.0.0.1");
	struct steer_choice choice;

	own[0].health = own[1].health = own[2].health = STEER_DOWN;
	assert_string_equal(choose(&policy, "10.0.0.1"), "d");
	own[3].health = STEER_DOWN;
	steer_choose(&policy, &client, false, false, &choice);
	assert_non_null(choice.site);
	assert_true(choice.last_resort);
	/* one in four is healthy, half is wanted: whoever checks is to be doubted */
	own[3].health = STEER_UP;
	policy.healthy_percent = 50;
	steer_choose(&policy, &client, false, false, &choice);
	assert_true(choice.last_resort);
	own[2].health = STEER_UP;
	steer_choose(&policy, &client, false, false, &choice);
	assert_false(choice.last_resort);
}

static void order_comes_after_geography(void **state)
{
	static const char *const europe[] = {"EU"}, *const germany[] = {"DE"}, *const bavaria[] = {"DE-BY"};
	struct prefix office = prefix_of("10.0.0.0/8"), lab = prefix_of("10.1.0.0/16");
	struct steer_site sites[4];
	struct steer_policy policy = policy_make(sites);
	struct steer_client client = client_at("203.0.113.1");
	struct steer_choice choice;

	sites[0].order = 1;
	sites[1].order = 2;
	sites[2].order = sites[3].order = 3;
	assert_string_equal(choose(&policy, "203.0.113.1"), "a");
	own[0].health = STEER_DOWN;
	assert_string_equal(choose(&policy, "203.0.113.1"), "b");
	own[0].health = STEER_UP;
	sites[1].places = europe;
	sites[1].place_count = 1;
	sites[2].places = germany;
	sites[2].place_count = 1;
	sites[3].places = bavaria;
	sites[3].place_count = 1;
	assert_string_equal(choose(&policy, "203.0.113.1"), "a"); /* nobody's place: the one for everybody */
	strcpy(client.place.continent, "EU");
	steer_choose(&policy, &client, false, false, &choice);
	assert_string_equal(choice.site->name, "b");
	strcpy(client.place.country, "DE");
	steer_choose(&policy, &client, false, false, &choice);
	assert_string_equal(choice.site->name, "c");
	strcpy(client.place.subdivision, "DE-BY");
	steer_choose(&policy, &client, false, false, &choice);
	assert_string_equal(choice.site->name, "d");
	own[3].health = STEER_DOWN;
	steer_choose(&policy, &client, false, false, &choice);
	assert_string_equal(choice.site->name, "c");
	own[3].health = STEER_UP;
	/* prefixes before places, the longest of them first */
	sites[0].prefixes = &office;
	sites[1].prefixes = &lab;
	sites[0].prefix_count = sites[1].prefix_count = 1;
	assert_string_equal(choose(&policy, "10.2.0.1"), "a");
	client = client_at("10.1.0.1");
	steer_choose(&policy, &client, false, false, &choice);
	assert_string_equal(choice.site->name, "b");
	assert_int_equal(choice.scope, 16);
	/* a client that is known by 8 bits alone is not known to be in the lab */
	client.length = 8;
	steer_choose(&policy, &client, false, false, &choice);
	assert_string_equal(choice.site->name, "a");
}

static void busy_sites_let_clients_go_gradually(void **state)
{
	struct steer_site sites[4];
	struct steer_policy policy = policy_make(sites);
	unsigned int kept = 0;

	sites[1].order = 1;
	policy.site_count = 2;
	sites[0].load_low = 0.5;
	sites[0].load_high = 1;
	sites[0].load = 0.75;
	for (unsigned int i = 0; i < 2000; i++) {
		char client[32];

		snprintf(client, sizeof(client), "10.%u.%u.1", i / 250, i % 250);
		kept += *choose(&policy, client) == 'a';
	}
	assert_true(kept > 900 && kept < 1100);
	sites[0].load = 0.4;
	assert_string_equal(choose(&policy, "10.0.0.1"), "a");
	sites[0].load = 2;
	assert_string_equal(choose(&policy, "10.0.0.1"), "b");
	/* nobody else is left: load is left aside */
	own[1].health = STEER_DOWN;
	assert_string_equal(choose(&policy, "10.0.0.1"), "a");
}

static void families_are_apart(void **state)
{
	struct steer_site sites[4];
	struct steer_policy policy = policy_make(sites);
	struct steer_client client = client_at("10.0.0.1");
	struct steer_choice choice;

	steer_choose(&policy, &client, true, true, &choice);
	assert_null(choice.site);
	assert_true(json_array_size(choice.steps) >= 4);
	for (size_t i = 0; i < json_array_size(choice.steps); i++) /* none is too busy when none is left */
		assert_null(strstr(json_string_value(json_array_get(choice.steps, i)), "too busy"));
	json_decref(choice.steps);
	own[2].address = address_of("2001:db8::3");
	steer_choose(&policy, &client, true, false, &choice);
	assert_string_equal(choice.site->name, "c");
}

static void policies_are_read_whole_or_not_at_all(void **state)
{
	struct steering *steering = steering_new(NULL, NULL);
	json_t *good = json_pack("[{s:s, s:s, s:[{s:s, s:[{s:s, s:s}]}]}]", "name", "default/x", "host", "www.example.com", "sites", "name",
				 "a", "addresses", "address", "192.0.2.1", "health", "up");
	json_t *bad = json_pack("[{s:s, s:s, s:[{s:s, s:[{s:s}]}]}]", "name", "default/x", "host", "www.example.com", "sites", "name", "a",
				"addresses", "address", "nowhere");
	struct dns_name name, below, other;
	struct error error;

	assert_int_equal(dns_name_parse("www.example.com", &name), 0);
	assert_int_equal(dns_name_parse("x.www.example.com", &below), 0);
	assert_int_equal(dns_name_parse("xwww.example.com", &other), 0);
	assert_int_equal(steering_set(steering, good, &error), 0);
	assert_int_equal(steering_set(steering, bad, &error), -EINVAL);
	assert_true(steering_knows(steering, &name) && steering_knows(steering, &below) && !steering_knows(steering, &other));
	json_decref(good);
	json_decref(bad);
	steering_free(steering);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(weights_are_kept_and_clients_stay),
		cmocka_unit_test(health_and_last_resort),
		cmocka_unit_test(order_comes_after_geography),
		cmocka_unit_test(busy_sites_let_clients_go_gradually),
		cmocka_unit_test(families_are_apart),
		cmocka_unit_test(policies_are_read_whole_or_not_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

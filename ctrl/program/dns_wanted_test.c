/* SPDX-License-Identifier: Apache-2.0 */
/* From manifests and health to what selvage-dns is told, and to rows and checks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/lib/arena.h"
#include "ctrl/program/dns_wanted.h"
#include "ctrl/program/test_support.h"

static const char services_text[] =
	"apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
	"spec: {clusterIP: 10.96.0.10, ports: [{name: http, port: 80}]}\n---\n"
	"apiVersion: v1\nkind: Service\nmetadata: {name: db, namespace: prod}\n"
	"spec: {clusterIP: None, ports: [{name: sql, port: 5432}]}\n---\n"
	"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
	"metadata: {name: db-1, namespace: prod, labels: {kubernetes.io/service-name: db}}\naddressType: IPv4\n"
	"endpoints:\n- {addresses: [10.1.0.1], hostname: db-0}\n- {addresses: [10.1.0.2]}\n"
	"- {addresses: [10.1.0.3], conditions: {ready: false}}\nports: [{name: sql, port: 5432}]\n---\n"
	"apiVersion: v1\nkind: Service\nmetadata: {name: public}\nspec: {type: LoadBalancer, ports: [{port: 443}]}\n---\n"
	"apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: lan, namespace: metallb-system}\n"
	"spec: {addresses: [192.0.2.10-192.0.2.20]}\n---\n"
	"apiVersion: v1\nkind: Service\nmetadata: {name: away}\nspec: {type: ExternalName, externalName: www.example.com}\n";

static const char policy_text[] =
	"apiVersion: selvage.io/v1alpha1\nkind: SteeringPolicy\nmetadata: {name: www}\nspec:\n  host: www.example.com\n  ttl: 30\n"
	"  healthCheck: {type: tcp, port: 443}\n  sites:\n"
	"  - {name: fra, addresses: [192.0.2.1], geography: {continents: [EU]}, load: {low: 0.5, high: 0.9}}\n"
	"  - {name: nyc, addresses: [192.0.2.2, 192.0.2.3], prefixes: [10.0.0.0/8], order: 1, weight: 7}\n"
	"status: {sites: [{name: fra, load: 0.25}]}\n";

struct world {
	struct object_list objects;
	struct ipam_result assignments;
	struct dns_wanted_input input;
};

static void world_make(struct world *world, const char *text)
{
	*world = (struct world){0};
	objects_load(text, &world->objects);
	world->input.objects = (const struct object *const *)world->objects.items;
	world->input.object_count = world->objects.count;
	world->input.zone = "cluster.local";
	ipam_assign(world->input.objects, world->input.object_count, &world->assignments);
	world->input.assignments = &world->assignments;
}

static void world_done(struct world *world)
{
	ipam_result_done(&world->assignments);
	object_list_done(&world->objects);
}

static size_t count_of(const struct names_result *names, const char *owner, uint16_t type)
{
	struct dns_name name;
	size_t count = 0;

	assert_int_equal(dns_name_parse(owner, &name), 0);
	for (size_t i = 0; i < names->count; i++)
		count += names->records[i].type == type && dns_name_equal(&names->records[i].owner, &name);
	return count;
}

static void a_shared_zone_without_services_is_empty(void **state)
{
	struct names_result names;
	struct world world;

	world_make(&world, policy_text);
	world.input.zone_shared = true;
	dns_names_wanted(&world.input, &names);
	assert_int_equal(names.count, 0);
	names_result_done(&names);
	world_done(&world);
}

static void services_become_names(void **state)
{
	struct health_report down = {.service = "prod/db:sql", .address = address_of("10.1.0.2"), .port = 5432, .state = HEALTH_DOWN};
	struct names_result names;
	struct world world;

	world_make(&world, services_text);
	dns_names_wanted(&world.input, &names);
	assert_int_equal(count_of(&names, "web.default.svc.cluster.local", DNS_A), 1);
	assert_int_equal(count_of(&names, "_http._tcp.web.default.svc.cluster.local", DNS_SRV), 1);
	assert_int_equal(count_of(&names, "10.0.96.10.in-addr.arpa", DNS_PTR), 1);
	assert_int_equal(count_of(&names, "db.prod.svc.cluster.local", DNS_A), 2); /* those that are ready */
	assert_int_equal(count_of(&names, "db-0.db.prod.svc.cluster.local", DNS_A), 1);
	assert_int_equal(count_of(&names, "public.default.svc.cluster.local", DNS_A), 1); /* its virtual IP */
	assert_int_equal(count_of(&names, "away.default.svc.cluster.local", DNS_CNAME), 1);
	names_result_done(&names);
	/* and healthy */
	world.input.health = &down;
	world.input.health_count = 1;
	dns_names_wanted(&world.input, &names);
	assert_int_equal(count_of(&names, "db.prod.svc.cluster.local", DNS_A), 1);
	names_result_done(&names);
	world_done(&world);
}

static const char *health_of(const json_t *policies, size_t site, size_t address)
{
	const json_t *sites = json_object_get(json_array_get(policies, 0), "sites");

	return json_string_value(json_object_get(
		json_array_get(json_object_get(json_array_get(sites, site), "addresses"), address), "health"));
}

static void policies_know_the_health_of_their_sites(void **state)
{
	struct health_report reports[] = {
		{.service = "steering/default/www", .address = address_of("192.0.2.1"), .state = HEALTH_DOWN},
		{.service = "steering/default/www", .address = address_of("192.0.2.2"), .state = HEALTH_UP},
	};
	struct world world;
	json_t *policies, *site;

	world_make(&world, policy_text);
	world.input.health = reports;
	world.input.health_count = 2;
	policies = dns_policies_wanted(&world.input);
	assert_string_equal(health_of(policies, 0, 0), "down");
	assert_string_equal(health_of(policies, 1, 0), "up");
	assert_null(health_of(policies, 1, 1));
	site = json_array_get(json_object_get(json_array_get(policies, 0), "sites"), 0);
	assert_true(json_real_value(json_object_get(site, "load")) == 0.25 && json_real_value(json_object_get(site, "loadHigh")) == 0.9);
	json_decref(policies);
	world_done(&world);
}

static void of_policies_of_one_host_one_counts(void **state)
{
	struct network network = {0};
	struct reconcile_input input = {.network = &network, .node_name = "n"};
	struct reconcile_result result;
	char text[4096], second[2048];
	struct world world;

	snprintf(second, sizeof(second), "%s", policy_text);
	memcpy(strstr(second, "name: www"), "name: zzz", strlen("name: zzz"));
	snprintf(text, sizeof(text), "%s---\n%s", policy_text, second);
	world_make(&world, text);
	network_init(&network);
	input.objects = world.input.objects;
	input.object_count = world.input.object_count;
	reconcile(&input, &result);
	assert_int_equal(result.alarm_count, 1);
	assert_string_equal(result.alarms[0].subject, "steering/default/zzz");
	assert_string_equal(result.alarms[0].text, "www.example.com is steered by the SteeringPolicy default/www already, so this one is "
						      "not used: delete one of them.");
	reconcile_result_done(&result);
	network_done(&network);
	world_done(&world);
}

static void names_of_services_are_not_steered(void **state)
{
	struct network network = {0};
	struct reconcile_input input = {.network = &network, .node_name = "n", .dns_zone = "default.svc"};
	struct reconcile_result result;
	struct world world;
	json_t *policies;

	assert_true(dns_host_is_steerable("cluster.local", "www.example.com"));
	assert_true(dns_host_is_steerable("cluster.local", "cluster.local.example.com"));
	assert_true(dns_host_is_steerable("cluster.local", "xcluster.local"));
	assert_false(dns_host_is_steerable("cluster.local", "cluster.local"));
	assert_false(dns_host_is_steerable("cluster.local", "Web.default.svc.Cluster.local"));
	assert_false(dns_host_is_steerable("cluster.local", "local"));
	world_make(&world, policy_text);
	network_init(&network);
	input.objects = world.input.objects;
	input.object_count = world.input.object_count;
	reconcile(&input, &result);
	assert_int_equal(result.alarm_count, 0);
	reconcile_result_done(&result);
	input.dns_zone = world.input.zone = "example.com";
	reconcile(&input, &result);
	assert_int_equal(result.alarm_count, 1);
	assert_string_equal(result.alarms[0].subject, "steering/default/www");
	assert_string_equal(result.alarms[0].text, "www.example.com is not steered: the names of Services are in example.com, and a steered name takes "
						   "all names below it along. Give it another host.");
	reconcile_result_done(&result);
	policies = dns_policies_wanted(&world.input);
	assert_int_equal(json_array_size(policies), 0);
	json_decref(policies);
	network_done(&network);
	world_done(&world);
}

static void reconcile_checks_sites_and_serves_addresses(void **state)
{
	const struct reconcile_dns dns[] = {{address_of("169.254.20.10"), 53, {6000, 200}, {24, 56}},
					   {address_of("0.0.0.0"), 53, {6000, 200}, {24, 56}}};
	struct network network = {0};
	struct reconcile_input input = {.network = &network, .node_name = "n", .dns = dns, .dns_count = 2};
	struct reconcile_result result;
	struct world world;

	world_make(&world, policy_text);
	network_init(&network);
	input.objects = world.input.objects;
	input.object_count = world.input.object_count;
	reconcile(&input, &result);
	assert_int_equal(result.check_count, 3);
	assert_string_equal(result.checks[0].service, "steering/default/www");
	assert_int_equal(result.checks[0].port, 443);
	assert_int_equal(result.wanted.service_count, 1); /* where everybody is answered, no packet's row is */
	assert_true(result.wanted.services[0].dns);
	assert_int_equal(result.wanted.services[0].protocol, PROTOCOL_UDP);
	assert_int_equal(result.wanted.services[0].client_packets.per_minute, 6000);
	assert_int_equal(result.wanted.services[0].client_packets.burst, 200);
	assert_int_equal(result.wanted.services[0].limit_prefix, 24);
	assert_int_equal(result.service_count, 0);
	reconcile_result_done(&result);
	network_done(&network);
	world_done(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(services_become_names),
		cmocka_unit_test(a_shared_zone_without_services_is_empty),
		cmocka_unit_test(policies_know_the_health_of_their_sites),
		cmocka_unit_test(of_policies_of_one_host_one_counts),
		cmocka_unit_test(names_of_services_are_not_steered),
		cmocka_unit_test(reconcile_checks_sites_and_serves_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

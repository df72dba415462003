/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/manifest/ipam.h"
#include "ctrl/manifest/test_support.h"

#define POOL(name_, spec_)                                                                                          \
	"---\n{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: " name_                         \
	", namespace: metallb-system}, spec: {" spec_ "}}\n"
#define SERVICE_META(meta_, spec_)                                                                                  \
	"---\n{apiVersion: v1, kind: Service, metadata: {" meta_ "}, spec: {type: LoadBalancer, " spec_ "}}\n"
#define PORTS "ports: [{port: 80}]"
#define SERVICE(name_, spec_) SERVICE_META("name: " name_, PORTS ", " spec_)
#define SERVICE_WITH(name_, addresses_)                                                                             \
	"---\n{apiVersion: v1, kind: Service, metadata: {name: " name_ "}, spec: {type: LoadBalancer, " PORTS          \
	"}, status: {loadBalancer: {ingress: [" addresses_ "]}}}\n"

struct given {
	struct loaded loaded;
	struct ipam_result result;
};

static void given_done(struct given *given)
{
	ipam_result_done(&given->result);
	loaded_done(&given->loaded);
}

static struct given given(const char *text)
{
	struct given given = {.loaded = load(text)};

	if (given.loaded.status) {
		loaded_print(&given.loaded);
		fail();
	}
	ipam_assign((const struct object *const *)given.loaded.objects.items, given.loaded.objects.count, &given.result);
	return given;
}

/* "10.0.0.1 2001:db8::1", or the refusal. */
static const char *answer(const struct given *given, const char *name)
{
	const struct ipam_assignment *assignment = ipam_result_lookup(&given->result, "default", name);
	static char text[512];
	size_t used = 0;

	if (!assignment)
		return "not a LoadBalancer";
	text[0] = '\0';
	for (size_t i = 0; i < assignment->count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? " " : "",
					 address_show(&assignment->addresses[i]));
	if (assignment->refusal)
		snprintf(text + used, sizeof(text) - used, "%s%s", used ? "; " : "", assignment->refusal);
	return text;
}

static void first_come_by_age_then_name(void **state)
{
	_cleanup_(given_done) struct given all = given(
		POOL("p", "addresses: [10.0.0.1-10.0.0.9]") SERVICE("b", "") SERVICE("a", "")
			SERVICE_META("name: c, creationTimestamp: \"2026-01-02T00:00:00Z\"", PORTS)
				SERVICE_META("name: d, creationTimestamp: \"2026-01-01T00:00:00Z\"", PORTS));

	assert_string_equal(answer(&all, "d"), "10.0.0.1");
	assert_string_equal(answer(&all, "c"), "10.0.0.2");
	assert_string_equal(answer(&all, "a"), "10.0.0.3");
	assert_string_equal(answer(&all, "b"), "10.0.0.4");
	assert_string_equal(answer(&all, "e"), "not a LoadBalancer");
	assert_string_equal(ipam_result_lookup(&all.result, "default", "a")->pools[0]->meta.name, "p");
}

static void what_a_service_has_it_keeps(void **state)
{
	_cleanup_(given_done) struct given all = given(POOL("p", "addresses: [10.0.0.1-10.0.0.9]") SERVICE("a", "")
							       SERVICE("b", "loadBalancerIP: 10.0.0.5")
								       SERVICE_WITH("z", "{ip: 10.0.0.1}")
									       SERVICE_WITH("y", "{ip: 10.9.9.9}"));

	assert_string_equal(answer(&all, "z"), "10.0.0.1");
	assert_string_equal(answer(&all, "a"), "10.0.0.2");
	assert_string_equal(answer(&all, "b"), "10.0.0.5");
	assert_string_equal(answer(&all, "y"), "10.0.0.3"); /* what it had is in no pool any more */
}

static void a_manual_pool_keeps_but_does_not_give(void **state)
{
	_cleanup_(given_done) struct given all = given(
		POOL("p", "addresses: [10.0.0.1-10.0.0.9], autoAssign: false") SERVICE("a", "")
			SERVICE("b", "loadBalancerIP: 10.0.0.5") SERVICE_WITH("c", "{ip: 10.0.0.7}") SERVICE_META(
				"name: d, annotations: {metallb.io/address-pool: p}", PORTS));

	assert_string_equal(answer(&all, "a"), "no IPAddressPool gives addresses to this service by itself (autoAssign, "
					       "serviceAllocation); ask for an address or name a pool");
	assert_string_equal(answer(&all, "b"), "10.0.0.5");
	assert_string_equal(answer(&all, "c"), "10.0.0.7");
	assert_string_equal(answer(&all, "d"), "10.0.0.1");
}

static void conflicts_name_the_other_service(void **state)
{
	_cleanup_(given_done) struct given all = given(POOL("p", "addresses: [10.0.0.1-10.0.0.9]")
							       SERVICE("a", "loadBalancerIP: 10.0.0.5")
								       SERVICE("b", "loadBalancerIP: 10.0.0.5")
									       SERVICE("c", "loadBalancerIP: 10.1.0.5"));

	assert_string_equal(answer(&all, "a"), "10.0.0.5");
	assert_string_equal(answer(&all, "b"),
			    "10.0.0.5 is used by Service default/a; ask for another address, or give both services the same "
			    "metallb.io/allow-shared-ip and different ports");
	assert_string_equal(answer(&all, "c"),
			    "10.1.0.5 is in no IPAddressPool; add it to one, or ask for another address");
}

static void two_that_have_the_same_address(void **state)
{
	_cleanup_(given_done) struct given all = given(POOL("p", "addresses: [10.0.0.1-10.0.0.9]")
							       SERVICE_WITH("b", "{ip: 10.0.0.4}")
								       SERVICE_WITH("a", "{ip: 10.0.0.4}"));

	assert_string_equal(answer(&all, "a"), "10.0.0.4");
	assert_string_equal(answer(&all, "b"), "10.0.0.1");
}

#define SHARED(name_, port_)                                                                                        \
	SERVICE_META("name: " name_ ", annotations: {metallb.io/allow-shared-ip: k}", "ports: [" port_ "]")

static void sharing_needs_the_same_key_and_other_ports(void **state)
{
	_cleanup_(given_done) struct given all = given(
		POOL("p", "addresses: [10.0.0.1-10.0.0.9]") SHARED("a", "{port: 80}") SHARED("b", "{port: 443}")
			SHARED("c", "{port: 80, protocol: UDP}") SHARED("d", "{port: 80}") SERVICE("e", ""));

	assert_string_equal(answer(&all, "a"), "10.0.0.1");
	assert_string_equal(answer(&all, "b"), "10.0.0.1");
	assert_string_equal(answer(&all, "c"), "10.0.0.1");
	assert_string_equal(answer(&all, "d"), "10.0.0.2"); /* its port is taken on .1 */
	assert_string_equal(answer(&all, "e"), "10.0.0.3"); /* it has no key */
}

static void sharing_is_refused_by_port(void **state)
{
	_cleanup_(given_done) struct given all = given(
		POOL("p", "addresses: [10.0.0.1-10.0.0.9]") SHARED("a", "{port: 80}") SERVICE_META(
			"name: b, annotations: {metallb.io/allow-shared-ip: k, metallb.io/loadBalancerIPs: 10.0.0.1, "
			"selvage.io/port-range: 70-90}",
			"ports: [{port: 70}]") SERVICE_META("name: a0, annotations: {metallb.io/allow-shared-ip: k, "
							    "metallb.io/loadBalancerIPs: 10.0.0.1}",
							    "ports: [{port: 80}]"));

	assert_string_equal(answer(&all, "a0"), "10.0.0.1");
	assert_string_equal(answer(&all, "b"), "10.0.0.1 is shared with Service default/a0, and both use the port 70/TCP");
	assert_string_equal(answer(&all, "a"), "10.0.0.2");
}

static void buggy_addresses_are_avoided(void **state)
{
	_cleanup_(given_done) struct given all = given(POOL("p", "addresses: [10.0.0.255-10.0.1.1], avoidBuggyIPs: true")
							       SERVICE("a", "") SERVICE("b", "")
								       SERVICE("c", "loadBalancerIP: 10.0.1.0"));

	assert_string_equal(answer(&all, "a"), "10.0.1.1");
	assert_string_equal(answer(&all, "b"), "no IPAddressPool with autoAssign has a free address left for this service");
	assert_string_equal(answer(&all, "c"),
			    "10.0.1.0 ends in .0, and the IPAddressPool \"p\" avoids such addresses (avoidBuggyIPs)");
}

static void buggy_addresses_are_used_otherwise(void **state)
{
	_cleanup_(given_done) struct given all = given(POOL("p", "addresses: [10.0.1.0/24]") SERVICE("a", ""));

	assert_string_equal(answer(&all, "a"), "10.0.1.0");
}

static void allocation_by_priority_and_selectors(void **state)
{
	_cleanup_(given_done) struct given all = given(
		POOL("a-open", "addresses: [10.0.0.1-10.0.0.9]")
		POOL("b-low", "addresses: [10.1.0.1/32], serviceAllocation: {priority: 20}")
		POOL("c-high", "addresses: [10.2.0.1/32], serviceAllocation: {priority: 10, serviceSelectors: "
			       "[{matchLabels: {tier: gold}}]}")
		POOL("d-none", "addresses: [10.3.0.1/32], serviceAllocation: {namespaces: [other]}")
		"---\n{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {env: test}}}\n"
		POOL("e-env", "addresses: [10.4.0.1/32], serviceAllocation: {priority: 15, namespaceSelectors: "
			      "[{matchLabels: {env: test}}], serviceSelectors: [{matchLabels: {tier: silver}}]}")
		SERVICE_META("name: s1, labels: {tier: gold}", PORTS) SERVICE_META("name: s2, labels: {tier: silver}", PORTS)
		SERVICE("s3", "") SERVICE("s4", "")
		SERVICE_META("name: s5, annotations: {metallb.io/address-pool: d-none}", PORTS)
		SERVICE_META("name: s6, annotations: {metallb.io/address-pool: nope}", PORTS)
		SERVICE_META("name: s7", "loadBalancerIP: 10.3.0.1, " PORTS)
		SERVICE_META("name: s8, annotations: {metallb.io/address-pool: b-low}", "loadBalancerIP: 10.0.0.9, " PORTS));

	assert_string_equal(answer(&all, "s1"), "10.2.0.1");
	assert_string_equal(answer(&all, "s2"), "10.4.0.1");
	assert_string_equal(answer(&all, "s3"), "10.1.0.1");
	assert_string_equal(answer(&all, "s4"), "10.0.0.1");
	assert_string_equal(answer(&all, "s5"), "the serviceAllocation of the IPAddressPool \"d-none\" excludes this service");
	assert_string_equal(answer(&all, "s6"),
			    "there is no IPAddressPool \"nope\", which metallb.io/address-pool asks for");
	assert_string_equal(answer(&all, "s7"),
			    "10.3.0.1 belongs to the IPAddressPool \"d-none\", whose serviceAllocation excludes this service");
	assert_string_equal(answer(&all, "s8"), "10.0.0.9 belongs to the IPAddressPool \"a-open\", and "
						"metallb.io/address-pool asks for \"b-low\"");
}

static void without_priority_comes_after_those_with_one(void **state)
{
	_cleanup_(given_done) struct given all = given(
		POOL("a", "addresses: [10.0.0.1/32], serviceAllocation: {namespaces: [default]}")
			POOL("b", "addresses: [10.1.0.1/32], serviceAllocation: {priority: 7}") SERVICE("s", "")
				SERVICE("t", ""));

	assert_string_equal(answer(&all, "s"), "10.1.0.1");
	assert_string_equal(answer(&all, "t"), "10.0.0.1");
}

#define DUAL POOL("p", "addresses: [10.0.0.1-10.0.0.9, \"2001:db8::1-2001:db8::9\"]")

static void families(void **state)
{
	_cleanup_(given_done) struct given all = given(
		DUAL SERVICE("a", "") SERVICE("b", "ipFamilyPolicy: RequireDualStack")
			SERVICE("c", "ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv6]")
				SERVICE("d", "ipFamilies: [IPv6]") SERVICE("e", "loadBalancerIP: \"2001:db8::8\"")
					SERVICE("f", "ipFamilies: [IPv6, IPv4]")
						SERVICE_WITH("g", "{ip: \"2001:db8::7\"}") SERVICE_META(
							"name: h, annotations: {metallb.io/loadBalancerIPs: "
							"\"10.0.0.9,2001:db8::9\"}",
							PORTS));

	assert_string_equal(answer(&all, "a"), "10.0.0.1");
	assert_string_equal(answer(&all, "b"), "10.0.0.2 2001:db8::1");
	assert_string_equal(answer(&all, "c"), "2001:db8::2 10.0.0.3");
	assert_string_equal(answer(&all, "d"), "2001:db8::3");
	assert_string_equal(answer(&all, "e"), "2001:db8::8");
	assert_string_equal(answer(&all, "f"), "2001:db8::4 10.0.0.4");
	assert_string_equal(answer(&all, "g"), "2001:db8::7");
	assert_string_equal(answer(&all, "h"), "10.0.0.9 2001:db8::9");
}

static void families_that_are_not_there(void **state)
{
	_cleanup_(given_done) struct given all = given(
		POOL("p", "addresses: [\"2001:db8::/64\"]") SERVICE("a", "") SERVICE("b", "ipFamilyPolicy: RequireDualStack")
			SERVICE("c", "ipFamilyPolicy: PreferDualStack") SERVICE("d", "ipFamilies: [IPv4]"));

	assert_string_equal(answer(&all, "a"), "2001:db8::");
	assert_string_equal(answer(&all, "b"), "2001:db8::1; no IPAddressPool with autoAssign has a free IPv4 address left "
					       "for this service");
	assert_string_equal(answer(&all, "c"), "2001:db8::2");
	assert_string_equal(answer(&all, "d"),
			    "no IPAddressPool with autoAssign has a free IPv4 address left for this service");
}

static void without_pools_and_with_foreign_classes(void **state)
{
	_cleanup_(given_done) struct given all = given(SERVICE("a", "") SERVICE("b", "loadBalancerClass: example.com/other")
							       "---\n{apiVersion: v1, kind: Service, metadata: {name: c}, "
							       "spec: {ports: [{port: 1}]}}\n");

	assert_string_equal(answer(&all, "a"), "there is no IPAddressPool; apply one with addresses for services");
	assert_string_equal(answer(&all, "b"), "the loadBalancerClass \"example.com/other\" belongs to another load balancer");
	assert_string_equal(answer(&all, "c"), "not a LoadBalancer");
}

/* The order of the objects must not matter, and what was given once is given again when the status shows it. */
static void the_order_of_objects_does_not_matter(void **state)
{
	_cleanup_(given_done) struct given all = given(
		DUAL SERVICE("a", "") SHARED("b", "{port: 1}") SHARED("c", "{port: 2}")
			SERVICE("d", "ipFamilyPolicy: RequireDualStack") SERVICE("e", "loadBalancerIP: 10.0.0.1"));
	size_t count = all.loaded.objects.count;
	const struct object *turned[16];
	struct ipam_result again;

	for (size_t i = 0; i < count; i++)
		turned[i] = all.loaded.objects.items[count - 1 - i];
	ipam_assign(turned, count, &again);
	assert_int_equal(again.count, all.result.count);
	for (size_t i = 0; i < again.count; i++) {
		assert_ptr_equal(again.items[i].service, all.result.items[i].service);
		assert_int_equal(again.items[i].count, all.result.items[i].count);
		assert_memory_equal(again.items[i].addresses, all.result.items[i].addresses, sizeof(again.items[i].addresses));
	}
	ipam_result_done(&again);
}

static void the_last_address_of_everything(void **state)
{
	_cleanup_(given_done) struct given all = given(POOL("p", "addresses: [223.255.255.255/32]") SERVICE("a", "")
							       SERVICE("b", ""));

	assert_string_equal(answer(&all, "a"), "223.255.255.255");
	assert_string_equal(answer(&all, "b"), "no IPAddressPool with autoAssign has a free address left for this service");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_come_by_age_then_name),
		cmocka_unit_test(what_a_service_has_it_keeps),
		cmocka_unit_test(a_manual_pool_keeps_but_does_not_give),
		cmocka_unit_test(conflicts_name_the_other_service),
		cmocka_unit_test(two_that_have_the_same_address),
		cmocka_unit_test(sharing_needs_the_same_key_and_other_ports),
		cmocka_unit_test(sharing_is_refused_by_port),
		cmocka_unit_test(buggy_addresses_are_avoided),
		cmocka_unit_test(buggy_addresses_are_used_otherwise),
		cmocka_unit_test(allocation_by_priority_and_selectors),
		cmocka_unit_test(without_priority_comes_after_those_with_one),
		cmocka_unit_test(families),
		cmocka_unit_test(families_that_are_not_there),
		cmocka_unit_test(without_pools_and_with_foreign_classes),
		cmocka_unit_test(the_order_of_objects_does_not_matter),
		cmocka_unit_test(the_last_address_of_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

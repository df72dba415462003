/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/program/reconcile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/packet/wire.h"
#include "ctrl/program/test_support.h"

#define POOL "apiVersion: metallb.io/v1beta1\n" \
	     "kind: IPAddressPool\n" \
	     "metadata: {name: lan, namespace: metallb-system}\n" \
	     "spec: {addresses: [192.0.2.10-192.0.2.20]}\n" \
	     "---\n" \
	     "apiVersion: metallb.io/v1beta1\n" \
	     "kind: L2Advertisement\n" \
	     "metadata: {name: lan, namespace: metallb-system}\n"

static const char pool_text[] = POOL "spec: {ipAddressPools: [lan]}\n---\n";
static const char unannounced_pool_text[] = POOL "spec: {ipAddressPools: [wan]}\n---\n";

static const char service_text[] = "apiVersion: v1\n"
				   "kind: Service\n"
				   "metadata: {name: echo}\n"
				   "spec: {type: LoadBalancer, ports: [{port: 7, protocol: UDP, targetPort: 7000}]}\n"
				   "---\n";

static const char slice_text[] = "apiVersion: discovery.k8s.io/v1\n"
				 "kind: EndpointSlice\n"
				 "metadata: {name: echo-1, labels: {kubernetes.io/service-name: echo}}\n"
				 "addressType: IPv4\n"
				 "endpoints:\n"
				 "- addresses: [10.0.0.21]\n"
				 "- addresses: [10.0.0.22]\n"
				 "  conditions: {ready: false, serving: true, terminating: true}\n"
				 "ports: [{port: 7000, protocol: UDP}]\n"
				 "---\n";

struct world {
	struct object_list objects;
	struct network network;
	struct reconcile_interface interfaces[2];
	struct reconcile_node nodes[2];
	struct reconcile_input input;
	struct reconcile_result result;
};

static void world_objects(struct world *world, const char *text)
{
	objects_load(text, &world->objects);
	world->input.objects = (const struct object *const *)world->objects.items;
	world->input.object_count = world->objects.count;
}

/* eth0 (NIC, 192.0.2.0/24, default route by 192.0.2.1) and veth1 (workloads, 10.0.0.0/24). */
static void world_network(struct world *world)
{
	struct network *network = &world->network;
	struct network_link *veth1;

	link_add(network, 2, "eth0", "192.0.2.2/24");
	link_add(network, 3, "veth1", "10.0.0.1/24");
	veth1 = (struct network_link *)network_link_find(network, 3);
	((struct network_link *)network_link_find(network, 2))->mtu = 1500;
	veth1->mtu = 65536;
	veth1->kind = NETWORK_LINK_VETH;
	veth1->peer_in_other_namespace = true;
	route_add(network, "192.0.2.0/24", NULL, 2, 0);
	route_add(network, "10.0.0.0/24", NULL, 3, 0);
	route_add(network, "0.0.0.0/0", "192.0.2.1", 2, 0);
	neighbour_add(network, "10.0.0.21", 3, 0x21);
	neighbour_add(network, "10.0.0.22", 3, 0x22);
	neighbour_add(network, "192.0.2.1", 2, 1);
}

static void world_init(struct world *world, const char *text)
{
	*world = (struct world){
		.interfaces = {{.ifindex = 2}, {.ifindex = 3, .workload = true}},
		.nodes = {{.name = "edge1", .live = true}, {.name = "edge2", .live = true}},
	};
	world_objects(world, text);
	world_network(world);
	world->input.network = &world->network;
	world->input.interfaces = world->interfaces;
	world->input.interface_count = 2;
	world->input.node_name = "edge1";
	world->input.nodes = world->nodes;
	world->input.node_count = 1;
	world->input.health_assumed = true;
	world->input.now_ms = 1000000;
}

static void world_run(struct world *world)
{
	reconcile(&world->input, &world->result);
}

static void world_done(struct world *world)
{
	reconcile_result_done(&world->result);
	object_list_done(&world->objects);
	network_done(&world->network);
}

static char *joined(const char *a, const char *b, const char *c)
{
	char *whole = NULL;
	int length = asprintf(&whole, "%s%s%s", a, b, c);

	assert_true(length > 0);
	return whole;
}

static void a_service_becomes_a_row_with_its_backends(void **state)
{
	_cleanup_(freep) char *text = joined(pool_text, service_text, slice_text);
	const struct lb_service_wanted *service;
	struct address vip = address_of("192.0.2.10");
	struct world world;

	world_init(&world, text);
	world_run(&world);
	assert_int_equal(world.result.wanted.service_count, 1);
	service = &world.result.wanted.services[0];
	assert_true(address_equal(&service->address, &vip));
	assert_int_equal(service->port_first, 7);
	assert_int_equal(service->protocol, PROTOCOL_UDP);
	assert_int_equal(service->backend_count, 2);
	assert_int_equal(service->backends[0].port, 7000);
	assert_int_equal(service->backends[0].state, LB_BACKEND_UP);
	assert_int_equal(service->backends[0].egress.ifindex, 3);
	assert_int_equal(service->backends[0].mtu, 0); /* 65536: every packet fits */
	assert_int_equal(service->backends[0].egress.flags, EGRESS_RESOLVED | EGRESS_VIA_STACK | EGRESS_PEER_APART);
	assert_int_equal(service->backends[1].state, LB_BACKEND_DRAINING);
	assert_string_equal(world.result.services[0].backends[1].reason, "terminating");
	assert_int_equal(world.result.alarm_count, 0);
	world_done(&world);
}

static void the_owner_announces_on_its_nics_and_nobody_else_does(void **state)
{
	_cleanup_(freep) char *text = joined(pool_text, service_text, slice_text);
	struct world world;
	bool first_owned;

	world_init(&world, text);
	world.input.node_count = 2;
	world_run(&world);
	assert_int_equal(world.result.wanted.vip_count, 1);
	first_owned = world.result.wanted.vips[0].owned;
	assert_int_equal(world.result.announcement_count, first_owned ? 1 : 0);
	reconcile_result_done(&world.result);
	world.input.node_name = "edge2"; /* the same question, asked on the other node */
	world_run(&world);
	assert_int_equal(world.result.wanted.vips[0].owned, !first_owned);
	world_done(&world);
}

/* eth0 is a port of br0 and carries the VLAN 7. */
static void vlans_are_announced_on_and_a_bridges_address_is_named(void **state)
{
	_cleanup_(freep) char *text = joined(pool_text, service_text, slice_text);
	struct network_link bridge = {.ifindex = 8, .name = "br0", .mac = {2, 0, 0, 0, 0, 8}, .up = true, .carrier = true,
				      .kind = NETWORK_LINK_BRIDGE};
	struct network_link vlan = {.ifindex = 9, .name = "eth0.7", .mac = {2, 0, 0, 0, 0, 9}, .up = true, .carrier = true,
				    .kind = NETWORK_LINK_VLAN, .parent_ifindex = 2, .vlan_id = 7};
	const struct reconcile_announcement *announcements;
	struct world world;

	world_init(&world, text);
	assert_int_equal(network_add_link(&world.network, &bridge), 0);
	assert_int_equal(network_add_link(&world.network, &vlan), 0);
	for (size_t i = 0; i < world.network.link_count; i++) {
		if (world.network.links[i].ifindex == 2)
			world.network.links[i].master_ifindex = 8;
	}
	world_run(&world);
	assert_int_equal(world.result.announcement_count, 2);
	announcements = world.result.announcements;
	assert_int_equal(announcements[0].ifindex, 2);
	assert_memory_equal(announcements[0].mac, bridge.mac, 6);
	assert_int_equal(announcements[1].ifindex, 9);
	assert_memory_equal(announcements[1].mac, vlan.mac, 6);
	for (size_t i = 0; i < world.result.wanted.link_count; i++) {
		const struct link_wanted *link = &world.result.wanted.links[i];

		if (!link->workload) /* what is announced is what answers */
			assert_int_equal(link->mac, mac_word(announcements[link->vlan ? 1 : 0].mac));
	}
	world_done(&world);
}

/* Of two backends one is terminating; without the other nobody takes new flows. */
static void a_service_that_nobody_serves_is_an_alarm(void **state)
{
	_cleanup_(freep) char *text = joined(pool_text, service_text, slice_text);
	struct health_report report = {.service = "default/echo:7", .address = address_of("10.0.0.21"), .port = 7000,
				       .state = HEALTH_UP};
	struct world world;

	world_init(&world, text);
	world.input.health_assumed = false;
	world.input.health = &report;
	world.input.health_count = 1;
	world_run(&world);
	assert_int_equal(world.result.alarm_count, 0);
	reconcile_result_done(&world.result);
	report.state = HEALTH_UNKNOWN; /* what is not known yet alarms nobody */
	world_run(&world);
	assert_int_equal(world.result.alarm_count, 0);
	reconcile_result_done(&world.result);
	report.state = HEALTH_DOWN;
	world_run(&world);
	assert_int_equal(world.result.alarm_count, 1);
	assert_string_equal(world.result.alarms[0].subject, "default/echo:7");
	assert_string_equal(world.result.alarms[0].text, "No backend of 192.0.2.10 takes new flows: they are dropped; see "
							 "`selvage service backends`.");
	world_done(&world);
}

static void a_pool_without_advertisement_is_an_alarm(void **state)
{
	_cleanup_(freep) char *text = joined(unannounced_pool_text, service_text, "");
	struct world world;

	world_init(&world, text);
	world_run(&world);
	assert_int_equal(world.result.wanted.vip_count, 1);
	assert_false(world.result.wanted.vips[0].owned);
	assert_int_equal(world.result.alarm_count, 1);
	assert_non_null(strstr(world.result.alarms[0].text, "L2Advertisement"));
	world_done(&world);
}

static void health_and_drains_decide_a_backends_state(void **state)
{
	_cleanup_(freep) char *text = joined(pool_text, service_text, slice_text);
	struct health_report report = {.service = "default/echo:7", .address = address_of("10.0.0.21"), .port = 7000,
				       .state = HEALTH_DOWN, .state_reason = "udp: ICMP port unreachable"};
	struct reconcile_drain drain = {.service = "default/echo", .address = address_of("10.0.0.21")};
	struct world world;

	world_init(&world, text);
	world.input.health_assumed = false;
	world.input.health = &report;
	world.input.health_count = 1;
	world_run(&world);
	assert_int_equal(world.result.check_count, 2);
	assert_string_equal(world.result.checks[0].service, "default/echo:7");
	assert_int_equal(world.result.checks[0].parameters.type, HEALTH_CHECK_UDP);
	assert_int_equal(world.result.wanted.services[0].backends[0].state, LB_BACKEND_DOWN);
	assert_string_equal(world.result.services[0].backends[0].reason, "udp: ICMP port unreachable");
	reconcile_result_done(&world.result);

	report.state = HEALTH_UP;
	world_run(&world);
	assert_int_equal(world.result.wanted.services[0].backends[0].state, LB_BACKEND_UP);
	reconcile_result_done(&world.result);

	world.input.drains = &drain;
	world.input.drain_count = 1;
	world_run(&world);
	assert_int_equal(world.result.wanted.services[0].backends[0].state, LB_BACKEND_DRAINING);
	world_done(&world);
}

static void a_backend_that_cannot_be_reached_is_not_up(void **state)
{
	_cleanup_(freep) char *text = joined(pool_text, service_text, slice_text);
	struct address backend = address_of("10.0.0.21");
	struct network_neighbour failed = {.ip = backend, .ifindex = 3, .failed = true};
	struct world world;

	world_init(&world, text);
	network_remove_neighbour(&world.network, &backend, 3);
	world_run(&world);
	assert_int_equal(world.result.wanted.services[0].backends[0].state, LB_BACKEND_DRAINING); /* being asked for */
	assert_int_equal(world.result.destination_count, 3); /* two backends and the gateway are kept resolved */
	reconcile_result_done(&world.result);
	assert_int_equal(network_add_neighbour(&world.network, &failed), 0);
	world_run(&world);
	assert_int_equal(world.result.wanted.services[0].backends[0].state, LB_BACKEND_DOWN);
	world_done(&world);
}

static void routes_lead_back_by_gateway_and_on_link(void **state)
{
	_cleanup_(freep) char *text = joined(pool_text, service_text, slice_text);
	struct network_route blackhole = {.to = prefix_of("198.51.100.0/24"), .unreachable = true};
	bool default_seen = false, link_seen = false, blackhole_seen = false;
	struct world world;

	world_init(&world, text);
	assert_int_equal(network_add_route(&world.network, &blackhole), 0);
	world_run(&world);
	for (size_t i = 0; i < world.result.wanted.route_count; i++) {
		const struct route_wanted *route = &world.result.wanted.routes[i];

		if (route->prefix.length == 0) {
			default_seen = true;
			assert_int_equal(route->egress.flags, EGRESS_RESOLVED);
			assert_int_equal(route->egress.ifindex, 2);
			assert_int_equal(route->mtu, 1500);
		} else if (address_equal(&route->prefix.address, &blackhole.to.address)) {
			blackhole_seen = true;
			assert_int_equal(route->egress.ifindex, 0);
		} else if (route->egress.ifindex == 2) {
			link_seen = true;
			assert_int_equal(route->egress.flags, EGRESS_ON_LINK);
			assert_int_equal(route->mtu, 1500);
		}
	}
	assert_true(default_seen && link_seen && blackhole_seen);
	world_done(&world);
}

static void local_traffic_policy_concerns_external_addresses(void **state)
{
	static const char service[] = "apiVersion: v1\n"
				      "kind: Service\n"
				      "metadata: {name: echo}\n"
				      "spec: {type: LoadBalancer, clusterIP: 10.96.0.1, externalTrafficPolicy: Local, "
				      "ports: [{port: 7, protocol: UDP, targetPort: 7000}]}\n"
				      "---\n";
	_cleanup_(freep) char *text = joined(pool_text, service, slice_text);
	const struct edge_wanted *wanted;
	struct world world;

	world_init(&world, text);
	world_run(&world);
	wanted = &world.result.wanted;
	assert_int_equal(wanted->service_count, 2);
	for (size_t i = 0; i < 2; i++) {
		struct address cluster_ip = address_of("10.96.0.1");

		assert_int_equal(wanted->services[i].backend_count,
				 address_equal(&wanted->services[i].address, &cluster_ip) ? 2 : 0);
	}
	assert_true(world.result.alarm_count > 0);
	assert_non_null(strstr(world.result.alarms[0].text, "externalTrafficPolicy"));
	world_done(&world);
}

static void an_address_of_the_host_stays_the_hosts(void **state)
{
	static const char text[] = "apiVersion: v1\n"
				   "kind: Service\n"
				   "metadata: {name: one}\n"
				   "spec: {clusterIP: 192.0.2.2, ports: [{port: 80}]}\n";
	struct world world;

	world_init(&world, text);
	world_run(&world);
	assert_int_equal(world.result.wanted.service_count, 1);
	assert_int_equal(world.result.wanted.vip_count, 0);
	assert_int_equal(world.result.alarm_count, 1);
	world_done(&world);
}

static void a_clash_leaves_the_others_at_work(void **state)
{
	static const char clash[] = "apiVersion: v1\n"
				    "kind: Service\n"
				    "metadata: {name: one}\n"
				    "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n"
				    "---\n"
				    "apiVersion: v1\n"
				    "kind: Service\n"
				    "metadata: {name: two}\n"
				    "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n"
				    "---\n";
	_cleanup_(freep) char *text = joined(pool_text, service_text, clash);
	struct world world;

	world_init(&world, text);
	world_run(&world);
	assert_int_equal(world.result.wanted.service_count, 2); /* echo and the first of the two */
	assert_int_equal(world.result.alarm_count, 1);
	assert_non_null(strstr(world.result.alarms[0].text, "default/one"));
	world_done(&world);
}

static const char tunnels_text[] =
	"apiVersion: v1\n"
	"kind: Node\n"
	"metadata: {name: edge1}\n"
	"status: {addresses: [{type: InternalIP, address: 192.0.2.2}]}\n"
	"---\n"
	"apiVersion: v1\n"
	"kind: Node\n"
	"metadata: {name: edge2}\n"
	"status: {addresses: [{type: InternalIP, address: \"2001:db8::3\"}, {type: InternalIP, address: 192.0.2.3}]}\n"
	"---\n"
	"apiVersion: v1\n"
	"kind: Node\n"
	"metadata: {name: edge3}\n"
	"status: {addresses: [{type: InternalIP, address: \"2001:db8::4\"}]}\n"
	"---\n"
	"apiVersion: v1\n"
	"kind: Service\n"
	"metadata: {name: spread, annotations: {selvage.io/forwarding: gue}}\n"
	"spec: {type: LoadBalancer, ports: [{port: 9, protocol: UDP, targetPort: 9000}]}\n"
	"---\n"
	"apiVersion: discovery.k8s.io/v1\n"
	"kind: EndpointSlice\n"
	"metadata: {name: spread-1, labels: {kubernetes.io/service-name: spread}}\n"
	"addressType: IPv4\n"
	"endpoints:\n"
	"- {addresses: [10.0.0.21], nodeName: edge1}\n"
	"- {addresses: [172.16.0.2], nodeName: edge2}\n"
	"- {addresses: [172.16.0.3], nodeName: edge3}\n"
	"- {addresses: [192.0.2.1]}\n"
	"ports: [{port: 9000, protocol: UDP}]\n"
	"---\n";

static const struct lb_backend_wanted *backend_named(const struct world *world, const char *name)
{
	const struct lb_service_wanted *service = &world->result.wanted.services[0];

	for (size_t i = 0; i < service->backend_count; i++) {
		if (strcmp(service->backends[i].name, name) == 0)
			return &service->backends[i];
	}
	fail_msg("there is no backend %s", name);
	return NULL;
}

static void an_agents_port_is_for_calls_alone(void **state)
{
	static const char services_text[] =
		"apiVersion: v1\nkind: Service\nmetadata: {name: calls}\nspec: {type: LoadBalancer, ports: [{name: a, port: 3478, "
		"protocol: UDP, appProtocol: selvage.io/webrtc}]}\n---\n"
		"apiVersion: v1\nkind: Service\nmetadata: {name: game}\nspec: {type: LoadBalancer, ports: [{name: a, port: 9, protocol: "
		"UDP}, {name: b, port: 10, protocol: UDP}]}\n---\n";
	static const char ports_text[] =
		"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
		"metadata: {name: calls-1, labels: {kubernetes.io/service-name: calls}}\naddressType: IPv4\n"
		"endpoints: [{addresses: [10.0.0.21]}]\nports: [{name: a, port: 7000, protocol: UDP}]\n---\n"
		"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
		"metadata: {name: game-1, labels: {kubernetes.io/service-name: game}}\naddressType: IPv4\n"
		"endpoints: [{addresses: [10.0.0.20]}, {addresses: [10.0.0.21]}]\n"
		"ports: [{name: a, port: 7000, protocol: UDP}, {name: b, port: 7001, protocol: UDP}]\n---\n";
	char *text = joined(pool_text, services_text, ports_text);
	struct world world;
	size_t told = 0;

	(void)state;
	world_init(&world, text);
	world_run(&world);
	for (size_t i = 0; i < world.result.alarm_count; i++) {
		if (!strstr(world.result.alarms[i].text, "carries calls"))
			continue;
		told++;
		assert_string_equal(world.result.alarms[i].subject, "default/game:a");
		assert_string_equal(world.result.alarms[i].text,
				    "Backend 10.0.0.21:7000 carries calls of default/calls:a at the same port, so its answers to clients of this "
				    "service do not come from the virtual IP; give this service a port of its own on it.");
	}
	assert_int_equal(told, 1);
	world_done(&world);
	free(text);
}

static void a_port_of_calls_is_media(void **state)
{
	static const char calls_text[] = "apiVersion: v1\nkind: Service\n"
					 "metadata: {name: echo, annotations: {selvage.io/dscp: ef, selvage.io/limit-sessions: \"50\", "
					 "selvage.io/limit-session-packets: 500/s, selvage.io/limit-stun: 5/s, selvage.io/limit-stun-total: 6/s}}\n"
					 "spec: {type: LoadBalancer, ports: [{name: a, port: 3478, protocol: UDP, appProtocol: "
					 "selvage.io/webrtc}, {name: b, port: 9, protocol: UDP}]}\n---\n";
	static const char ports_text[] = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
					 "metadata: {name: echo-1, labels: {kubernetes.io/service-name: echo}}\naddressType: IPv4\n"
					 "endpoints: [{addresses: [10.0.0.21]}]\n"
					 "ports: [{name: a, protocol: UDP}, {name: b, protocol: UDP}]\n---\n";
	const struct rtc_ufrag_secret secrets[2] = {{{{3, 4}}, 1}, {{{1, 2}}, 0}};
	struct rtc_ufrag_keys keys = rtc_ufrag_service_keys(secrets, 2, "default/echo");
	char *text = joined(pool_text, calls_text, ports_text);
	const struct lb_service_wanted *calls, *plain;
	struct world world;

	(void)state;
	world_init(&world, text);
	world_run(&world);
	calls = &world.result.wanted.services[0];
	plain = &world.result.wanted.services[1];
	assert_true(calls->media);
	assert_null(calls->media_wanted.keys); /* there are no secrets yet */
	assert_int_equal(calls->media_wanted.dscp_up, 46);
	assert_int_equal(calls->media_wanted.dscp_down, 46);
	assert_int_equal(calls->media_wanted.session_packets.per_minute, 30000);
	assert_int_equal(calls->media_wanted.stun_answers.burst, 5);
	assert_int_equal(calls->media_wanted.stun_answers_all.burst, 6);
	assert_int_equal(calls->flows_max, 50);
	assert_int_equal(calls->backends[0].port, 0); /* any: a registered session names the agent's */
	assert_false(plain->media);
	assert_int_equal(plain->flows_max, 0);
	assert_int_equal(plain->backends[0].port, 9);
	reconcile_result_done(&world.result);
	world.input.ufrag_secrets = secrets;
	world.input.ufrag_secret_count = 2;
	world_run(&world);
	assert_memory_equal(world.result.wanted.services[0].media_wanted.keys, &keys, sizeof(keys));
	world_done(&world);
	free(text);
}

static void tunnels_lead_to_the_nodes_of_backends(void **state)
{
	_cleanup_(freep) char *text = joined(pool_text, tunnels_text, "");
	struct network_neighbour edge2 = {.ip = address_of("192.0.2.3"), .ifindex = 2, .mac = {2, 0, 0, 0, 0, 9}, .usable = true};
	struct address own = address_of("192.0.2.2"), far = address_of("192.0.2.3"), gateway = address_of("192.0.2.1");
	const struct lb_backend_wanted *backend;
	size_t selves = 0, others = 0;
	struct world world;

	world_init(&world, text);
	assert_int_equal(network_add_neighbour(&world.network, &edge2), 0);
	world_run(&world);
	/* Its own is reached as ever. */
	assert_int_equal(backend_named(&world, "10.0.0.21:9000")->tunnel, LB_TUNNEL_NONE);
	/* Of a node's addresses the one of the service's family. */
	backend = backend_named(&world, "172.16.0.2:9000");
	assert_int_equal(backend->tunnel, LB_TUNNEL_GUE);
	assert_true(address_equal(&backend->tunnel_destination, &far));
	assert_true(address_equal(&backend->tunnel_source, &own));
	assert_int_equal(backend->mtu, 1500);
	assert_int_equal(backend->egress.ifindex, 2);
	assert_int_equal(backend->state, LB_BACKEND_UP);
	/* There is no way to edge3. */
	assert_int_equal(backend_named(&world, "172.16.0.3:9000")->state, LB_BACKEND_DOWN);
	/* Without a node the endpoint unwraps for itself, and no port is changed. */
	backend = backend_named(&world, "192.0.2.1:9000");
	assert_true(address_equal(&backend->tunnel_destination, &gateway));
	assert_int_equal(world.result.alarm_count, 1);
	assert_non_null(strstr(world.result.alarms[0].text, "must listen on 9"));
	for (size_t i = 0; i < world.result.wanted.peer_count; i++) {
		const struct peer_wanted *peer = &world.result.wanted.peers[i];

		selves += peer->own;
		others += !peer->own;
		assert_int_equal(peer->own, network_is_local(&world.network, &peer->address));
	}
	assert_int_equal(selves, 2); /* 192.0.2.2 and 10.0.0.1 */
	assert_int_equal(others, 3);
	world_done(&world);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_service_becomes_a_row_with_its_backends),
		cmocka_unit_test(the_owner_announces_on_its_nics_and_nobody_else_does),
		cmocka_unit_test(vlans_are_announced_on_and_a_bridges_address_is_named),
		cmocka_unit_test(a_service_that_nobody_serves_is_an_alarm),
		cmocka_unit_test(a_pool_without_advertisement_is_an_alarm),
		cmocka_unit_test(health_and_drains_decide_a_backends_state),
		cmocka_unit_test(a_backend_that_cannot_be_reached_is_not_up),
		cmocka_unit_test(routes_lead_back_by_gateway_and_on_link),
		cmocka_unit_test(local_traffic_policy_concerns_external_addresses),
		cmocka_unit_test(an_address_of_the_host_stays_the_hosts),
		cmocka_unit_test(a_clash_leaves_the_others_at_work),
		cmocka_unit_test(tunnels_lead_to_the_nodes_of_backends),
		cmocka_unit_test(a_port_of_calls_is_media),
		cmocka_unit_test(an_agents_port_is_for_calls_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

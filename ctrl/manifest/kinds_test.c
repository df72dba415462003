/* SPDX-License-Identifier: Apache-2.0 */
/* What each kind holds, its defaults, and what is refused. */
#include "ctrl/manifest/test_support.h"

/* --- Service ----------------------------------------------------------------------------------------------------------- */

#define SERVICE "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n"
#define ANNOTATED(annotations_) SERVICE "  annotations:\n" annotations_
#define SPEC "spec:\n  ports:\n  - port: 80\n"

static void service_defaults(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load_clean(SERVICE SPEC);
	const struct service *service = &loaded.objects.items[0]->service;

	assert_int_equal(service->type, SERVICE_CLUSTER_IP);
	assert_int_equal(service->port_count, 1);
	assert_string_equal(service->ports[0].name, "");
	assert_int_equal(service->ports[0].protocol, PROTOCOL_TCP);
	assert_int_equal(service->ports[0].port_last, 80);
	assert_int_equal(service->ports[0].target_port, 80);
	assert_string_equal(service->ports[0].target_port_name, "");
	assert_int_equal(service->affinity_timeout_seconds, 0);
	assert_int_equal(service->udp_idle_seconds, 120);
	assert_int_equal(service->forwarding, SERVICE_FORWARDING_NAT);
	assert_int_equal(service->no_healthy, SERVICE_NO_HEALTHY_DROP);
	assert_int_equal(service->health.check, SERVICE_CHECK_BY_PROTOCOL);
	assert_int_equal(service->health.interval_ms, 1000);
	assert_int_equal(service->health.timeout_ms, 500);
	assert_int_equal(service->health.rise, 2);
	assert_int_equal(service->health.fall, 3);
	assert_false(service->health.rise_given);
	assert_int_equal(service->ip_family_policy, IP_FAMILY_SINGLE_STACK);
}

static void service_in_full(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load_clean(ANNOTATED(
		"    metallb.universe.tf/loadBalancerIPs: 192.0.2.10, 2001:db8::10\n"
		"    metallb.io/address-pool: lan\n"
		"    metallb.universe.tf/allow-shared-ip: key\n"
		"    example.com/other: kept\n"
		"    selvage.io/port-range: media=10000-20000\n"
		"    selvage.io/forwarding: l2-dsr\n"
		"    selvage.io/no-healthy-backends: all\n"
		"    selvage.io/slow-start-seconds: \"30\"\n"
		"    selvage.io/udp-idle-seconds: \"60\"\n"
		"    selvage.io/health-check: http\n"
		"    selvage.io/health-port: \"8081\"\n"
		"    selvage.io/health-interval-ms: \"200\"\n"
		"    selvage.io/health-rise: \"1\"\n"
		"    selvage.io/health-path: /live?x=1\n"
		"    selvage.io/health-host: example.com\n"
		"    selvage.io/health-expect-status: 200-299\n")
		"spec:\n  type: LoadBalancer\n  clusterIP: 10.96.0.7\n  clusterIPs: [10.96.0.7]\n  loadBalancerIP: 192.0.2.10\n"
		"  selector: {app: web}\n  sessionAffinity: ClientIP\n"
		"  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}\n"
		"  ipFamilies: [IPv4, IPv6]\n  ipFamilyPolicy: RequireDualStack\n  externalTrafficPolicy: Local\n"
		"  ports:\n"
		"  - {name: https, port: 443, targetPort: https, appProtocol: tls}\n"
		"  - {name: media, port: 10000, protocol: UDP}\n"
		"status:\n  loadBalancer:\n    ingress:\n    - ip: 192.0.2.10\n    - {ip: \"2001:db8::10\", ipMode: VIP}\n");
	const struct service *service = &loaded.objects.items[0]->service;

	assert_int_equal(service->type, SERVICE_LOAD_BALANCER);
	assert_int_equal(service->cluster_ips.count, 1);
	assert_int_equal(service->requested.count, 2);
	assert_string_equal(address_show(&service->requested.items[0]), "192.0.2.10");
	assert_string_equal(address_show(&service->requested.items[1]), "2001:db8::10");
	assert_int_equal(service->ingress.count, 2);
	assert_string_equal(service->address_pool, "lan");
	assert_string_equal(service->allow_shared_ip, "key");
	assert_int_equal(service->affinity_timeout_seconds, 60);
	assert_int_equal(service->ip_family_count, 2);
	assert_int_equal(service->ip_families[1], IP_FAMILY_IPV6);
	assert_int_equal(service->ip_family_policy, IP_FAMILY_REQUIRE_DUAL_STACK);
	assert_int_equal(service->external_traffic_policy, TRAFFIC_POLICY_LOCAL);
	assert_string_equal(service->ports[0].target_port_name, "https");
	assert_int_equal(service->ports[0].target_port, 0);
	assert_string_equal(service->ports[0].app_protocol, "tls");
	assert_int_equal(service->ports[1].port, 10000);
	assert_int_equal(service->ports[1].port_last, 20000);
	assert_int_equal(service->forwarding, SERVICE_FORWARDING_L2_DSR);
	assert_int_equal(service->no_healthy, SERVICE_NO_HEALTHY_ALL);
	assert_int_equal(service->slow_start_seconds, 30);
	assert_int_equal(service->udp_idle_seconds, 60);
	assert_int_equal(service->health.check, SERVICE_CHECK_HTTP);
	assert_int_equal(service->health.port, 8081);
	assert_int_equal(service->health.interval_ms, 200);
	assert_int_equal(service->health.timeout_ms, 200);
	assert_int_equal(service->health.rise, 1);
	assert_true(service->health.rise_given);
	assert_int_equal(service->health.fall, 3);
	assert_string_equal(service->health.path, "/live?x=1");
	assert_int_equal(service->health.expect_status_first, 200);
	assert_int_equal(service->health.expect_status_last, 299);
}

static void service_types(void **state)
{
	_cleanup_(loaded_done) struct loaded headless = load_clean(SERVICE "spec:\n  clusterIP: None\n");
	_cleanup_(loaded_done) struct loaded node_port = load(SERVICE "spec:\n  type: NodePort\n  ports: [{port: 1}]\n");
	_cleanup_(loaded_done) struct loaded external = load_clean(SERVICE "spec:\n  type: ExternalName\n  externalName: a.b.\n");
	_cleanup_(loaded_done) struct loaded nowhere = load(SERVICE "spec:\n  type: ExternalName\n");
	_cleanup_(loaded_done) struct loaded unused = load(SERVICE "spec:\n  externalName: a.b\n  ports: [{port: 1}]\n");

	assert_true(headless.objects.items[0]->service.headless);
	assert_int_equal(headless.objects.items[0]->service.cluster_ips.count, 0);
	assert_int_equal(node_port.status, 0);
	assert_true(loaded_says(&node_port, "t.yaml:6:9: warning: spec.type: NodePort is handled as ClusterIP: no node port is "
					    "opened; write LoadBalancer for an address from a pool"));
	assert_int_equal(external.objects.items[0]->service.type, SERVICE_EXTERNAL_NAME);
	assert_int_equal(nowhere.status, 0);
	assert_true(loaded_says(&nowhere, "t.yaml:6:3: warning: spec.externalName is missing; without it the service has no name to lead "
					  "to"));
	assert_int_equal(unused.status, 0);
	assert_true(loaded_says(&unused, "t.yaml:6:17: warning: spec.externalName has no effect: spec.type is not ExternalName"));
	assert_refused(SERVICE "spec:\n  type: ExternalName\n  externalName: a..b\n",
		       "t.yaml:7:17: spec.externalName: \"a..b\" must be 1 to 253 of a-z, 0-9, \"-\" and \".\", and begin and end with a letter or digit");
}

static void service_ports_refused(void **state)
{
	assert_refused(SERVICE "spec: {}\n", "t.yaml:5:7: spec.ports is missing; a service needs at least one port");
	assert_refused(SERVICE, "t.yaml:1:1: the field \"spec\" is missing");
	assert_refused(SERVICE "spec:\n  ports: 80\n",
		       "t.yaml:6:10: spec.ports: must be a list (lines that begin with \"- \"), not a number");
	assert_refused(SERVICE "spec:\n  ports: [null, {name: a, port: 80}]\n",
		       "t.yaml:6:11: spec.ports[0]: is empty; remove the item or give it a value");
	assert_refused(SERVICE "spec:\n  ports:\n  - 80\n",
		       "t.yaml:7:5: spec.ports[0]: must be a mapping (field: value), not a number");
	assert_refused(SERVICE "spec:\n  ports:\n  - port: 65536\n",
		       "t.yaml:7:11: spec.ports[0].port: 65536 is out of range; write a number from 1 to 65535");
	assert_refused(SERVICE "spec:\n  ports:\n  - port: 99999999999999999999\n",
		       "t.yaml:7:11: spec.ports[0].port: 99999999999999999999 is out of range; write a number from 1 to 65535");
	assert_refused(SERVICE "spec:\n  ports:\n  - port: 010\n",
		       "t.yaml:7:11: spec.ports[0].port: must be a whole number from 1 to 65535, not \"010\"");
	assert_refused(SERVICE "spec:\n  ports:\n  - name: a\n", "t.yaml:7:5: spec.ports[0]: the field \"port\" is missing");
	assert_refused(SERVICE "spec:\n  ports:\n  - port: 80\n    protocol: SCTP\n",
		       "t.yaml:8:15: spec.ports[0].protocol: must be TCP or UDP, not \"SCTP\"");
	assert_refused(SERVICE "spec:\n  ports:\n  - port: 80\n  - port: 81\n    name: b\n",
		       "t.yaml:7:5: spec.ports[0]: needs a name: with more than one port, each has one (write \"name: …\")");
	assert_refused(SERVICE "spec:\n  ports:\n  - {name: a, port: 80}\n  - {name: b, port: 80}\n",
		       "t.yaml:8:21: spec.ports[1]: the port 80/TCP is in ports[0] already");
	assert_refused(SERVICE "spec:\n  ports:\n  - {name: a, port: 80}\n  - {name: a, port: 81}\n",
		       "t.yaml:8:12: spec.ports[1]: the name \"a\" is in ports[0] already");
	assert_refused(SERVICE "spec:\n  ports:\n  - {name: A_b, port: 80}\n",
		       "t.yaml:7:12: spec.ports[0].name: \"A_b\" must be 1 to 63 of a-z, 0-9 and \"-\", and begin and end with a "
		       "letter or digit");
	assert_refused(SERVICE "spec:\n  ports:\n  - {port: 80, targetPort: \"8080\"}\n",
		       "t.yaml:7:28: spec.ports[0].targetPort: must be a number without quotes, or a port's name: up to 15 of a-z, "
		       "0-9 and \"-\", with a letter; not \"8080\"");
}

static void udp_and_tcp_may_have_the_same_number(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load_clean(
		SERVICE "spec:\n  ports:\n  - {name: a, port: 53}\n  - {name: b, port: 53, protocol: UDP, targetPort: 5353}\n");

	assert_int_equal(loaded.objects.items[0]->service.ports[1].protocol, PROTOCOL_UDP);
	assert_int_equal(loaded.objects.items[0]->service.ports[1].target_port, 5353);
}

static void service_addresses_refused(void **state)
{
	assert_refused(SERVICE SPEC "  loadBalancerIP: 300.0.0.1\n",
		       "t.yaml:8:19: spec.loadBalancerIP: \"300.0.0.1\" is not an IP address; write one such as 192.0.2.10 or "
		       "2001:db8::10");
	assert_refused(ANNOTATED("    metallb.io/loadBalancerIPs: 192.0.2.1,x\n") SPEC,
		       "t.yaml:6:33: metadata.annotations[metallb.io/loadBalancerIPs]: \"x\" is not an IP address; write addresses "
		       "with commas between them");
	assert_refused(ANNOTATED("    metallb.io/loadBalancerIPs: 192.0.2.1,192.0.2.2\n") SPEC,
		       "t.yaml:6:33: metadata.annotations[metallb.io/loadBalancerIPs]: asks for 192.0.2.2, and 192.0.2.1 is asked "
		       "for already; ask for one IPv4 address");
	assert_refused(ANNOTATED("    metallb.io/loadBalancerIPs: 192.0.2.1\n") SPEC "  loadBalancerIP: 192.0.2.2\n",
		       "t.yaml:6:33: metadata.annotations[metallb.io/loadBalancerIPs]: asks for 192.0.2.1, and 192.0.2.2 is asked "
		       "for already; ask for one IPv4 address");
	assert_refused(SERVICE SPEC "  ipFamilies: [IPv4]\n  loadBalancerIP: 2001:db8::1\n",
		       "t.yaml:9:19: spec.ipFamilies does not allow 2001:db8::1; add IPv6 there or ask for another address");
	assert_refused(SERVICE SPEC "  ipFamilies: [IPv4, IPv4]\n",
		       "t.yaml:8:15: spec.ipFamilies: may hold IPv4 and IPv6, each once");
	assert_refused(SERVICE SPEC "  ipFamilies: [IPv4, IPv6]\n  ipFamilyPolicy: SingleStack\n",
		       "t.yaml:8:15: spec.ipFamilies names two families and spec.ipFamilyPolicy is SingleStack; write "
		       "PreferDualStack or RequireDualStack");
	assert_refused(ANNOTATED("    metallb.io/address-pool: a\n    metallb.universe.tf/address-pool: b\n") SPEC,
		       "t.yaml:7:39: metadata.annotations[metallb.universe.tf/address-pool]: contradicts \"a\" of the same "
		       "annotation under metallb's other prefix");
	assert_refused(SERVICE SPEC "  loadBalancerSourceRanges: [10.0.0.0/33]\n",
		       "t.yaml:8:30: spec.loadBalancerSourceRanges[0]: \"10.0.0.0/33\" is not a network; write one such as "
		       "192.0.2.0/24 or 2001:db8::/64");
	assert_refused(ANNOTATED("    selvage.io/deny-source-ranges: 10.0.0.0/8,\n") SPEC,
		       "t.yaml:6:36: metadata.annotations[selvage.io/deny-source-ranges]: \"\" is not a network; write networks "
		       "such as 192.0.2.0/24 with commas between them");
}

#define LIMIT_PLACE "t.yaml:6:33: metadata.annotations[selvage.io/limit-new-flows]: "

static void limits(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load_clean(
		ANNOTATED("    selvage.io/limit-new-flows: 100/s burst 200\n    selvage.io/limit-packets: 10000000/s burst 100000\n"
			  "    selvage.io/limit-new-flows-total: 30/m\n    selvage.io/limit-prefix: \"24, 56\"\n"
			  "    selvage.io/limit-flows-per-client: \"200\"\n") SPEC);
	const struct service *service = &loaded.objects.items[0]->service;
	static const char *const wrong[] = {"100", "/s", "0/s", "1/h", "1/s burst", "1/s burst -1", "1/s  burst 1", "10000001/s", "1.5/s", "1/sec"};

	assert_int_equal(service->limit_new_flows.per_minute, 6000);
	assert_int_equal(service->limit_new_flows.burst, 200);
	assert_int_equal(service->limit_packets.per_minute, 600000000);
	assert_int_equal(service->limit_packets.burst, 100000);
	assert_int_equal(service->limit_new_flows_total.per_minute, 30);
	assert_int_equal(service->limit_new_flows_total.burst, 30);
	assert_int_equal(service->limit_flows_per_client, 200);
	assert_int_equal(service->limit_prefix_ipv4, 24);
	assert_int_equal(service->limit_prefix_ipv6, 56);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char text[512], message[256];

		snprintf(text, sizeof(text), ANNOTATED("    selvage.io/limit-new-flows: \"%s\"\n") SPEC, wrong[i]);
		snprintf(message, sizeof(message), LIMIT_PLACE "must be as 100/s, 30/m or 100/s burst 200, up to 10000000/s, not \"%s\"",
			 wrong[i]);
		assert_refused(text, message);
	}
	assert_refused(ANNOTATED("    selvage.io/limit-flows-per-client: \"1000001\"\n") SPEC,
		       "t.yaml:6:40: metadata.annotations[selvage.io/limit-flows-per-client]: "
		       "must be a whole number from 1 to 1000000, not \"1000001\"");
	assert_refused(ANNOTATED("    selvage.io/limit-new-flows: 1000/s burst 9\n") SPEC,
		       LIMIT_PLACE "the burst of this rate must be from 10 (what comes in 10 ms) to 600000 (in 10 minutes), not 9");
	assert_refused(ANNOTATED("    selvage.io/limit-new-flows: 1/m burst 11\n") SPEC,
		       LIMIT_PLACE "the burst of this rate must be from 1 (what comes in 10 ms) to 10 (in 10 minutes), not 11");
	assert_refused(ANNOTATED("    selvage.io/limit-prefix: 24,129\n") SPEC,
		       "t.yaml:6:30: metadata.annotations[selvage.io/limit-prefix]: must be two lengths, of IPv4 (1 to 32) and IPv6 "
		       "(1 to 128), as in 24,56, not \"24,129\"");
}

#define QUIC_PLACE "t.yaml:6:25: metadata.annotations[selvage.io/quic-lb]: "

static void quic_servers(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load_clean(
		ANNOTATED("    selvage.io/quic-lb: config=3, 10.0.0.21=C0de01, 10.0.0.22=beef02,2001:db8::1=c0de01\n") SPEC);
	const struct service *service = &loaded.objects.items[0]->service;

	assert_int_equal(service->quic_config, 3);
	assert_int_equal(service->quic_server_length, 3);
	assert_int_equal(service->quic_server_count, 3);
	assert_int_equal(service->quic_servers[0].id, 0x01dec0);
	assert_refused(ANNOTATED("    selvage.io/quic-lb: 10.0.0.21=c0de,10.0.0.22=c0\n") SPEC,
		       QUIC_PLACE "the server ids must have one length; that of 10.0.0.22 has 1 bytes, others 2");
	assert_refused(ANNOTATED("    selvage.io/quic-lb: 10.0.0.21=c0de,10.0.0.22=c0de\n") SPEC,
		       QUIC_PLACE "10.0.0.22 and another backend share an id, or it has two");
	assert_refused(ANNOTATED("    selvage.io/quic-lb: config=7\n") SPEC,
		       QUIC_PLACE "must be as config=0, 10.0.0.21=c0de, 10.0.0.22=beef: a configuration from 0 to 6, and for each "
				  "backend its server id in 1 to 8 bytes; \"config\" is not");
	assert_refused(ANNOTATED("    selvage.io/quic-lb: 10.0.0.21=c0d\n") SPEC,
		       QUIC_PLACE "must be as config=0, 10.0.0.21=c0de, 10.0.0.22=beef: a configuration from 0 to 6, and for each "
				  "backend its server id in 1 to 8 bytes; \"10.0.0.21\" is not");
}

#define CALLS "spec:\n  ports:\n  - {port: 3478, protocol: UDP, appProtocol: selvage.io/webrtc}\n"

static void calls(void **state)
{
	static const struct {
		const char *text;
		uint8_t dscp;
	} marks[] = {{"0", 0}, {"63", 63}, {"ef", 46}, {"va", 44}, {"le", 1}, {"cs0", 0}, {"cs7", 56}, {"af11", 10}, {"af43", 38}};
	static const char *const wrong[] = {"64", "-1", "cs8", "af14", "af51", "af1", "eff", "e", "xy", "", "EF", "csx"};
	static const char *const only[] = {"dscp: ef", "limit-sessions: \"9\"", "limit-session-packets: 9/s", "limit-stun: 9/s",
					 "limit-stun-total: 9/s"};
	_cleanup_(loaded_done) struct loaded loaded = load_clean(
		ANNOTATED("    selvage.io/limit-sessions: \"500\"\n    selvage.io/limit-stun: 5/s\n"
			  "    selvage.io/limit-stun-total: 7/s burst 70\n"
			  "    selvage.io/limit-session-packets: 500/s\n    selvage.io/forwarding: nat\n") CALLS);
	const struct service *service = &loaded.objects.items[0]->service;

	assert_true(service_port_is_webrtc(&service->ports[0]));
	assert_int_equal(service->limit_sessions, 500);
	assert_int_equal(service->limit_stun.per_minute, 300);
	assert_int_equal(service->limit_stun_total.per_minute, 420);
	assert_int_equal(service->limit_stun_total.burst, 70);
	assert_int_equal(service->limit_session_packets.burst, 500);
	assert_false(service->dscp_given);
	{
		_cleanup_(loaded_done) struct loaded idle =
			load(ANNOTATED("    selvage.io/limit-flows-per-client: \"5\"\n    selvage.io/udp-idle-seconds: \"9\"\n"
				       "    selvage.io/limit-flows: \"7\"\n") CALLS /* which bounds calls, too */
			     "  sessionAffinity: ClientIP\n");
		_cleanup_(loaded_done) struct loaded mixed =
			load_clean(ANNOTATED("    selvage.io/limit-flows-per-client: \"5\"\n") "spec:\n  ports:\n  - {name: t, port: 80}\n"
				   "  - {name: c, port: 3478, protocol: UDP, appProtocol: selvage.io/webrtc}\n");

		assert_int_equal(idle.status, 0);
		assert_int_equal(idle.diagnostics.count, 3);
		assert_true(loaded_says(&idle, "t.yaml:6:40: warning: selvage.io/limit-flows-per-client has no effect on calls: "
					       "selvage.io/limit-new-flows bounds those that a client begins"));
		assert_int_equal(mixed.objects.items[0]->service.limit_flows_per_client, 5);
	}
	for (size_t i = 0; i < array_length(marks); i++) {
		char text[512];

		snprintf(text, sizeof(text), ANNOTATED("    selvage.io/dscp: \"%s\"\n") CALLS, marks[i].text);
		{
			_cleanup_(loaded_done) struct loaded marked = load_clean(text);

			assert_true(marked.objects.items[0]->service.dscp_given);
			assert_int_equal(marked.objects.items[0]->service.dscp, marks[i].dscp);
		}
	}
	for (size_t i = 0; i < array_length(wrong); i++) {
		char text[512], message[256];

		snprintf(text, sizeof(text), ANNOTATED("    selvage.io/dscp: \"%s\"\n") CALLS, wrong[i]);
		snprintf(message, sizeof(message), "t.yaml:6:22: metadata.annotations[selvage.io/dscp]: must be a number from 0 to "
						   "63, or one of ef, va, le, cs0 to cs7 and af11 to af43, not \"%s\"", wrong[i]);
		assert_refused(text, message);
	}
	for (size_t i = 0; i < array_length(only); i++) {
		char text[512], message[256];
		int name = (int)strcspn(only[i], ":");

		snprintf(text, sizeof(text), ANNOTATED("    selvage.io/%s\n") SPEC, only[i]);
		snprintf(message, sizeof(message), "t.yaml:6:%d: selvage.io/%.*s needs a port with appProtocol: "
						   "selvage.io/webrtc", 18 + name, name, only[i]);
		assert_refused(text, message);
	}
	assert_refused(SERVICE "spec:\n  ports:\n  - {port: 1, appProtocol: selvage.io/webrtc}\n",
		       "t.yaml:7:28: spec.ports[0]: selvage.io/webrtc needs protocol: UDP");
	assert_refused(SERVICE "spec:\n  ports:\n  - {port: 1, appProtocol: selvage.io/webrtx}\n",
		       "t.yaml:7:28: spec.ports[0].appProtocol: \"selvage.io/webrtx\" is not known; the one with this prefix is "
		       "selvage.io/webrtc");
	assert_refused(ANNOTATED("    selvage.io/forwarding: gue\n") CALLS,
		       "t.yaml:6:28: gue does not go with appProtocol: selvage.io/webrtc: an agent's packets "
		       "must come back this way");
	assert_refused(ANNOTATED("    selvage.io/port-range: 3000-4000\n") CALLS,
		       "t.yaml:6:28: selvage.io/port-range does not go with appProtocol: selvage.io/webrtc: "
		       "calls come to one port");
	assert_refused(ANNOTATED("    selvage.io/quic-lb: 10.0.0.21=c0de\n") CALLS,
		       "t.yaml:6:25: selvage.io/quic-lb does not go with appProtocol: selvage.io/webrtc: "
		       "calls are routed by their user fragments");
}

static void source_ranges(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded =
		load_clean(ANNOTATED("    selvage.io/deny-source-ranges: \"10.1.0.0/16, 2001:db8::/32,192.0.2.7\"\n") SPEC
			   "  loadBalancerSourceRanges: [10.0.0.0/8, \"2001:db8::1\"]\n");
	const struct service *service = &loaded.objects.items[0]->service;

	assert_int_equal(service->source_range_count, 2);
	assert_int_equal(service->source_ranges[0].length, 8);
	assert_int_equal(service->source_ranges[1].length, 128);
	assert_int_equal(service->deny_range_count, 3);
	assert_int_equal(service->deny_ranges[0].length, 16);
	assert_false(prefix_family_ipv4(&service->deny_ranges[1]));
	assert_int_equal(service->deny_ranges[2].length, 32);
}

static void port_ranges(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded =
		load_clean(ANNOTATED("    selvage.io/port-range: 10000-20000\n") "spec: {ports: [{port: 10000, protocol: UDP}]}\n");
	const struct service_port *port = &loaded.objects.items[0]->service.ports[0];

	assert_int_equal(port->port, 10000);
	assert_int_equal(port->port_last, 20000);
#define RANGE(range_) ANNOTATED("    selvage.io/port-range: " range_ "\n") SPEC
#define RANGE_PLACE "t.yaml:6:28: metadata.annotations[selvage.io/port-range]: "
	assert_refused(RANGE("90-70"), RANGE_PLACE "the range 90-70 is inverted; write 70-90");
	assert_refused(RANGE("90-100"),
		       RANGE_PLACE "the range 90-100 does not hold the port 80 itself; write 80-100 or change spec.ports");
	assert_refused(RANGE("80-70000"), RANGE_PLACE "must be as 10000-20000 or NAME=10000-20000, not \"80-70000\"");
	assert_refused(RANGE("x=80-90"), RANGE_PLACE "spec.ports has no port named \"x\"");
	assert_refused(RANGE("80-90,80-91"), RANGE_PLACE "gives the port \"\" two ranges");
	assert_refused(ANNOTATED("    selvage.io/port-range: 80-90\n") "spec: {ports: [{name: a, port: 80}, {name: b, port: 91}]}\n",
		       RANGE_PLACE "must name its port, as in NAME=10000-20000: the service has 2 ports");
	assert_refused(ANNOTATED("    selvage.io/port-range: a=80-95\n")
			       "spec: {ports: [{name: a, port: 80}, {name: b, port: 91}]}\n",
		       RANGE_PLACE "the ports \"a\" and \"b\" overlap");
}

static void service_annotations_refused(void **state)
{
	assert_refused(ANNOTATED("    selvage.io/forwarding: dsr\n") SPEC,
		       "t.yaml:6:28: metadata.annotations[selvage.io/forwarding]: must be nat, l2-dsr, ipip or gue, not \"dsr\"");
	assert_refused(ANNOTATED("    selvage.io/slow-start-seconds: 30\n") SPEC,
		       "t.yaml:6:36: metadata.annotations[selvage.io/slow-start-seconds]: must be text, and 30 without quotes is a "
		       "number; write \"30\"");
	assert_refused(ANNOTATED("    selvage.io/slow-start-seconds: \"3601\"\n") SPEC,
		       "t.yaml:6:36: metadata.annotations[selvage.io/slow-start-seconds]: must be a whole number from 0 to 3600, "
		       "not \"3601\"");
	assert_refused(ANNOTATED("    selvage.io/health-check: ping\n") SPEC,
		       "t.yaml:6:30: metadata.annotations[selvage.io/health-check]: must be none, tcp, http, udp or media, not \"ping\"");
	assert_refused(ANNOTATED("    selvage.io/health-path: /x\n") SPEC,
		       "t.yaml:6:29: selvage.io/health-path needs the annotation selvage.io/health-check: http (or media)");
	assert_refused(ANNOTATED("    selvage.io/health-check: media\n    selvage.io/health-expect-status: \"200\"\n") SPEC,
		       "t.yaml:7:38: selvage.io/health-expect-status needs the annotation selvage.io/health-check: http");
	assert_refused(ANNOTATED("    selvage.io/health-check: http\n    selvage.io/health-path: \"/x\\r\\nHost: y\"\n") SPEC,
		       "t.yaml:7:29: metadata.annotations[selvage.io/health-path]: must begin with \"/\" and hold no spaces, not "
		       "\"/x??Host: y\"");
	assert_refused(ANNOTATED("    selvage.io/health-check: http\n    selvage.io/health-expect-status: 300-200\n") SPEC,
		       "t.yaml:7:38: metadata.annotations[selvage.io/health-expect-status]: must be a status such as 200, or a "
		       "range such as 200-399, not \"300-200\"");
	assert_refused(ANNOTATED("    selvage.io/health-timeout-ms: \"2000\"\n") SPEC,
		       "t.yaml:6:35: selvage.io/health-timeout-ms (2000) must not exceed the interval (1000 ms)");
	assert_refused(ANNOTATED("    selvage.io/forwarding: l2-dsr\n") "spec: {ports: [{port: 80, targetPort: 8080}]}\n",
		       "t.yaml:6:28: l2-dsr cannot change ports: spec.ports[0].targetPort must be 80 (or be left out)");
}

static void a_misspelt_metallb_annotation_is_warned_of(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded =
		load(ANNOTATED("    metallb.io/loadBalancerIP: 10.0.0.1\n    metallb.io/ip-allocated-from-pool: lan\n") SPEC);

	assert_int_equal(loaded.status, 0);
	assert_int_equal(loaded.diagnostics.warning_count, 1);
	assert_true(loaded_says(&loaded, "t.yaml:6:5: warning: metadata.annotations: the annotation "
					 "\"metallb.io/loadBalancerIP\" is kept but has no effect"));
}

/* --- backends ---------------------------------------------------------------------------------------------------------- */

#define SLICE_WITH(annotations_, rest_)                                                                             \
	"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: web-1\n"                           \
	"  labels: {kubernetes.io/service-name: web}\n  annotations: {" annotations_ "}\n" rest_
#define SLICE(rest_) SLICE_WITH("", rest_)

static void slices(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load_clean(
		SLICE_WITH("selvage.io/weights: \"10.0.0.21=3, 10.0.0.22=0\"",
			   "addressType: IPv4\nports:\n- {name: http, port: 8080}\n- {name: media, protocol: UDP}\n"
			   "endpoints:\n- addresses: [10.0.0.21]\n  nodeName: n1\n  zone: z1\n  hostname: h\n"
			   "  targetRef: {kind: Pod, name: web-0, namespace: default}\n"
			   "- addresses: [10.0.0.22]\n  conditions: {ready: false}\n"
			   "- addresses: [10.0.0.23]\n  conditions: {ready: false, serving: true, terminating: true}\n"));
	const struct endpoint_slice *slice = &loaded.objects.items[0]->endpoint_slice;

	assert_string_equal(slice->service_name, "web");
	assert_int_equal(slice->family, IP_FAMILY_IPV4);
	assert_int_equal(slice->port_count, 2);
	assert_int_equal(slice->ports[1].port, 0);
	assert_int_equal(slice->ports[1].protocol, PROTOCOL_UDP);
	assert_int_equal(slice->endpoint_count, 3);
	assert_string_equal(address_show(&slice->endpoints[0].addresses.items[0]), "10.0.0.21");
	assert_true(slice->endpoints[0].ready && slice->endpoints[0].serving && !slice->endpoints[0].terminating);
	assert_false(slice->endpoints[1].ready || slice->endpoints[1].serving);
	assert_true(!slice->endpoints[2].ready && slice->endpoints[2].serving && slice->endpoints[2].terminating);
	assert_int_equal(slice->endpoints[0].weight, 3);
	assert_int_equal(slice->endpoints[1].weight, 0);
	assert_int_equal(slice->endpoints[2].weight, 1);
	assert_string_equal(slice->endpoints[0].node_name, "n1");
	assert_string_equal(slice->endpoints[0].zone, "z1");
	assert_string_equal(slice->endpoints[0].target_name, "web-0");
	assert_string_equal(slice->endpoints[1].target_name, "");
}

/* Other controllers write them, and one of them in a file must not refuse the rest. */
static void slices_of_names_are_left_out(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded =
		load(SLICE_WITH("selvage.io/weights: \"10.0.0.1=1\"", "addressType: FQDN\nports: [{port: 80}]\nendpoints:\n- addresses: "
								      "[web.example]\n"));

	assert_int_equal(loaded.status, 0);
	assert_true(loaded_says(&loaded, "t.yaml:7:14: warning: addressType: is FQDN, which is not honoured: backends are IP addresses, so "
					 "the endpoints of this slice are left out"));
	assert_int_equal(loaded.objects.items[0]->endpoint_slice.endpoint_count, 0);
	assert_int_equal(loaded.objects.items[0]->endpoint_slice.port_count, 1);
}

static void slices_refused(void **state)
{
	assert_refused(SLICE("endpoints: []\n"), "t.yaml:1:1: the field \"addressType\" is missing");
	assert_refused(SLICE("addressType: IPv4\nendpoints:\n- addresses: [2001:db8::1]\n"),
		       "t.yaml:9:15: endpoints[0]: 2001:db8::1 is IPv6, and the addressType of this slice is IPv4; put it into a "
		       "slice of its own");
	assert_refused(SLICE("addressType: IPv4\nendpoints:\n- {}\n"),
		       "t.yaml:9:3: endpoints[0]: the field \"addresses\" is missing");
	assert_refused(SLICE("addressType: IPv4\nendpoints:\n- addresses: [127.0.0.1]\n"),
		       "t.yaml:9:15: endpoints[0].addresses[0]: 127.0.0.1 cannot be a backend: it is unspecified, loopback, "
		       "link-local or multicast");
	assert_refused(SLICE("addressType: IPv4\nendpoints:\n- addresses: []\n"),
		       "t.yaml:9:14: endpoints[0].addresses: must hold 1 to 100 addresses, not 0");
	assert_refused(SLICE("addressType: IPv4\nendpoints:\n- ~\n"),
		       "t.yaml:9:3: endpoints[0]: is empty; remove the item or give it a value");
	assert_refused(SLICE("addressType: IPv4\nendpoints: []\nports: [{port: 1}, {port: 2}]\n"),
		       "t.yaml:9:20: ports: the name \"\" is in ports[0] already; give each port a name of its own");
#define WEIGHTS(weights_)                                                                                           \
	SLICE_WITH("selvage.io/weights: \"" weights_ "\"", "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1]}]\n")
#define WEIGHTS_PLACE "t.yaml:6:37: metadata.annotations[selvage.io/weights]: "
	assert_refused(WEIGHTS("10.0.0.1=1001"), WEIGHTS_PLACE "must be as 10.0.0.21=3,10.0.0.22=1 with weights from 0 to 1000, "
							       "not \"10.0.0.1=1001\"");
	assert_refused(WEIGHTS("10.0.0.2=1"),
		       "t.yaml:6:37: selvage.io/weights gives 10.0.0.2 a weight, and there is no such endpoint here");
	assert_refused(WEIGHTS("10.0.0.1=1,10.0.0.1=2"), WEIGHTS_PLACE "gives 10.0.0.1 two weights");
}

static void a_slice_without_service_is_warned_of(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded =
		load("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: IPv6\n"
		     "endpoints: [{addresses: [\"2001:db8::1\"]}]\n");

	assert_int_equal(loaded.status, 0);
	assert_int_equal(loaded.diagnostics.warning_count, 1);
	assert_string_equal(loaded.objects.items[0]->endpoint_slice.service_name, "");
}

#define ENDPOINTS "apiVersion: v1\nkind: Endpoints\nmetadata:\n  name: web\n"

static void endpoints(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load_clean(
		ENDPOINTS "  annotations: {selvage.io/weights: \"10.0.0.2=5\"}\n"
			  "subsets:\n- addresses: [{ip: 10.0.0.1, nodeName: n}]\n  notReadyAddresses: [{ip: 10.0.0.2}]\n"
			  "  ports: [{port: 80}]\n- addresses: [{ip: 10.0.0.3}]\n");
	const struct endpoints *object = &loaded.objects.items[0]->endpoints;

	assert_int_equal(object->subset_count, 2);
	assert_int_equal(object->subsets[0].endpoint_count, 2);
	assert_true(object->subsets[0].endpoints[0].ready);
	assert_false(object->subsets[0].endpoints[1].ready);
	assert_int_equal(object->subsets[0].endpoints[1].weight, 5);
	assert_string_equal(address_show(&object->subsets[0].endpoints[1].addresses.items[0]), "10.0.0.2");
	assert_int_equal(object->subsets[0].ports[0].port, 80);
	assert_int_equal(object->subsets[1].port_count, 0);
	assert_refused(ENDPOINTS "subsets:\n- addresses: [{ip: x}]\n",
		       "t.yaml:6:20: subsets[0].addresses[0].ip: \"x\" is not an IP address; write one such as 192.0.2.10 or "
		       "2001:db8::10");
	assert_refused(ENDPOINTS "subsets:\n- ports: [{name: a}]\n", "t.yaml:6:11: subsets[0].ports: the field \"port\" is missing");
}

/* --- pools ------------------------------------------------------------------------------------------------------------- */

#define POOL(name_, rest_)                                                                                          \
	"apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: " name_ ", namespace: metallb-system}\n" rest_

static void pools(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load_clean(
		POOL("a", "spec:\n  addresses: [192.0.2.0/28, 198.51.100.3 - 198.51.100.7, \"2001:db8::/120\"]\n")
		"---\n" POOL("b", "spec:\n  addresses: [10.0.0.1/32]\n  autoAssign: false\n  avoidBuggyIPs: true\n"
				  "  serviceAllocation:\n    priority: 5\n    namespaces: [x]\n"
				  "    namespaceSelectors: [{matchLabels: {a: b}}]\n    serviceSelectors: [{}]\n"));
	const struct address_pool *a = &loaded.objects.items[0]->address_pool, *b = &loaded.objects.items[1]->address_pool;

	assert_int_equal(a->range_count, 3);
	assert_string_equal(address_show(&a->ranges[0].first), "192.0.2.0");
	assert_string_equal(address_show(&a->ranges[0].last), "192.0.2.15");
	assert_string_equal(address_show(&a->ranges[1].last), "198.51.100.7");
	assert_string_equal(address_show(&a->ranges[2].last), "2001:db8::ff");
	assert_true(a->auto_assign && !a->avoid_buggy_ips && !a->allocation_restricted);
	assert_string_equal(loaded.objects.items[0]->meta.namespace_name, "metallb-system");
	assert_true(!b->auto_assign && b->avoid_buggy_ips && b->allocation_restricted);
	assert_int_equal(b->priority, 5);
	assert_true(string_list_contains(&b->namespaces, "x"));
	assert_int_equal(b->namespace_selectors.count, 1);
	assert_int_equal(b->service_selectors.count, 1);
}

#define POOL_OF(range_) POOL("a", "spec:\n  addresses:\n  - " range_ "\n")
#define POOL_PLACE "t.yaml:6:5: spec.addresses[0]: "

static void pools_refused(void **state)
{
	assert_refused(POOL("a", "spec: {}\n"), "t.yaml:4:7: spec: the field \"addresses\" is missing");
	assert_refused(POOL_OF("10.0.0.9-10.0.0.1"), POOL_PLACE "\"10.0.0.9-10.0.0.1\" is inverted: its first address comes after "
								"its last; swap them");
	assert_refused(POOL_OF("10.0.0.9-2001:db8::1"),
		       POOL_PLACE "\"10.0.0.9-2001:db8::1\" mixes IPv4 and IPv6; write a range for each");
	assert_refused(POOL_OF("10.0.0.1-"), POOL_PLACE "\"10.0.0.1-\" is not a range; write it as 192.0.2.10-192.0.2.20");
	assert_refused(POOL_OF("\"-\""), POOL_PLACE "\"-\" is not a range; write it as 192.0.2.10-192.0.2.20");
	assert_refused(POOL_OF("10.0.0.1"), POOL_PLACE "\"10.0.0.1\" is neither a network such as 192.0.2.0/24 nor a range such as "
						       "192.0.2.10-192.0.2.20; a single address is 192.0.2.10/32");
	assert_refused(POOL_OF("224.0.0.0/8"), POOL_PLACE "\"224.0.0.0/8\" holds addresses that no host can have (unspecified, "
							  "loopback, link-local or multicast)");
	assert_refused(POOL_OF("0.0.0.0/0"), POOL_PLACE "\"0.0.0.0/0\" holds addresses that no host can have (unspecified, "
							"loopback, link-local or multicast)");
	assert_refused(POOL_OF("10.0.0.0/24\n  - 10.0.0.255-10.0.1.0"),
		       "t.yaml:7:5: spec.addresses: \"10.0.0.255-10.0.1.0\" overlaps with \"10.0.0.0/24\" of the same pool");
	assert_refused(POOL("a", "spec: {addresses: [10.0.0.0/24]}\n") "---\n" POOL("b", "spec: {addresses: [10.0.0.9/32]}\n"),
		       "t.yaml:6:1: the IPAddressPools \"a\" and \"b\" overlap: both hold 10.0.0.9");
	assert_refused(POOL("a", "spec:\n  addresses: [10.0.0.1/32]\n  autoAssign: \"no\"\n"),
		       "t.yaml:6:15: spec.autoAssign: must be true or false without quotes, not a text");
}

static void l2_advertisements(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load_clean(
		"apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: a}\nspec:\n  ipAddressPools: [lan]\n"
		"  ipAddressPoolSelectors: [{matchLabels: {a: b}}]\n  interfaces: [eth0, eth1]\n"
		"  nodeSelectors:\n  - matchExpressions:\n    - {key: rack, operator: In, values: [a, b]}\n---\n"
		"apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: all}\n");
	const struct l2_advertisement *l2 = &loaded.objects.items[0]->l2_advertisement;

	assert_true(string_list_contains(&l2->pools, "lan"));
	assert_int_equal(l2->interfaces.count, 2);
	assert_int_equal(l2->pool_selectors.items[0].match_labels.count, 1);
	assert_int_equal(l2->node_selectors.items[0].expressions[0].values.count, 2);
	assert_int_equal(loaded.objects.items[1]->l2_advertisement.pools.count, 0);
#define L2(expression_)                                                                                             \
	"apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: a}\nspec:\n  nodeSelectors:\n"        \
	"  - matchExpressions:\n    - " expression_ "\n"
#define L2_PLACE "t.yaml:7:7: spec.nodeSelectors[0].matchExpressions[0]: "
	assert_refused(L2("{key: a, operator: In}"), L2_PLACE "the operator In needs values");
	assert_refused(L2("{key: a, operator: Exists, values: [b]}"), L2_PLACE "the operator Exists takes no values");
	assert_refused(L2("{key: a, operator: Is, values: [b]}"),
		       "t.yaml:7:26: spec.nodeSelectors[0].matchExpressions[0].operator: must be In, NotIn, Exists or "
		       "DoesNotExist, not \"Is\"");
}

/* --- nodes ------------------------------------------------------------------------------------------------------------- */

static void nodes(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load(
		"apiVersion: v1\nkind: Node\nmetadata: {name: edge-1.example.com}\nspec:\n  unschedulable: true\n  podCIDR: 10.1.0.0/24\n"
		"status:\n  addresses: [{type: InternalIP, address: 10.0.0.1}, {type: Hostname, address: edge-1}]\n");
	const struct node *node = &loaded.objects.items[0]->node;

	assert_int_equal(loaded.status, 0);
	assert_int_equal(loaded.diagnostics.warning_count, 1);
	assert_true(node->unschedulable);
	assert_int_equal(node->internal_ips.count, 1);
	assert_string_equal(address_show(&node->internal_ips.items[0]), "10.0.0.1");
}

#define REPLAY "apiVersion: selvage.io/v1alpha1\nkind: Node\nmetadata: {name: n}\n"

static void replay_nodes(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load_clean(
		REPLAY "spec:\n  interfaces:\n  - name: eth0\n    mac: 02:00:00:00:00:01\n    vlan: 7\n    engine: xdp-native\n"
		       "    addresses: [10.0.0.1/24, \"2001:db8::1/64\"]\n"
		       "    neighbours: [{ip: 10.0.0.21, mac: 02:00:00:00:00:15}]\n  - {name: eth1, mac: 02:00:00:00:00:02}\n"
		       "  routes:\n  - {to: default, via: 10.0.0.254}\n  - {to: \"2001:db8:1::/48\", via: \"2001:db8::2\", interface: eth0}\n");
	_cleanup_(loaded_done) struct loaded flat = load_clean(REPLAY "interfaces: [{mac: 02:00:00:00:00:01}]\n");
	const struct replay_node *node = &loaded.objects.items[0]->replay_node;

	assert_int_equal(node->interface_count, 2);
	assert_string_equal(node->interfaces[0].name, "eth0");
	assert_int_equal(node->interfaces[0].vlan, 7);
	assert_int_equal(node->interfaces[0].mac[5], 1);
	assert_string_equal(node->interfaces[0].engine, "xdp-native");
	assert_int_equal(node->interfaces[0].addresses[0].length, 24);
	assert_string_equal(address_show(&node->interfaces[0].addresses[0].address), "10.0.0.1");
	assert_int_equal(node->interfaces[0].neighbours[0].mac[5], 0x15);
	assert_int_equal(node->route_count, 2);
	assert_int_equal(node->routes[0].to.length, 0);
	assert_true(prefix_family_ipv4(&node->routes[0].to));
	assert_true(node->routes[0].has_via);
	assert_string_equal(node->routes[0].interface, "");
	assert_string_equal(node->routes[1].interface, "eth0");
	assert_string_equal(flat.objects.items[0]->replay_node.interfaces[0].name, "eth0");
}

#define REPLAY_WITH(rest_) REPLAY "spec:\n  interfaces:\n  - mac: 02:00:00:00:00:01\n" rest_

static void replay_nodes_refused(void **state)
{
	assert_refused(REPLAY, "t.yaml:1:1: the field \"spec\" is missing");
	assert_refused(REPLAY "spec: {interfaces: []}\n", "t.yaml:4:20: spec.interfaces: must hold 1 to 64 interfaces, not 0");
	assert_refused(REPLAY "spec: {interfaces: [{mac: 2:0:0:0:0:1}]}\n",
		       "t.yaml:4:27: spec.interfaces[0].mac: \"2:0:0:0:0:1\" is not a MAC address; write one such as "
		       "02:00:00:00:00:01");
	assert_refused(REPLAY_WITH("  - mac: 02:00:00:00:00:02\n"),
		       "t.yaml:6:5: spec.interfaces: needs a name: with more than one interface, each has one");
	assert_refused(REPLAY_WITH("    vlan: 4095\n"),
		       "t.yaml:7:11: spec.interfaces[0].vlan: 4095 is out of range; write a number from 0 to 4094");
	assert_refused(REPLAY_WITH("  routes: [{to: 10.0.0.0/8}]\n"),
		       "t.yaml:7:12: spec.routes[0]: needs \"via\" (a gateway's address) or \"interface\"");
	assert_refused(REPLAY_WITH("  routes: [{to: 10.0.0.0/8, via: \"2001:db8::1\"}]\n"),
		       "t.yaml:7:12: spec.routes[0]: \"to\" and \"via\" are of different families");
	assert_refused(REPLAY_WITH("  routes: [{to: 10.0.0.0/8, interface: eth9}]\n"),
		       "t.yaml:1:1: routes[0]: there is no interface \"eth9\" in this node");
	assert_refused(REPLAY_WITH("    neighbours: [{ip: 10.0.0.2, mac: 02:00:00:00:00:03}, {ip: 10.0.0.2, mac: 02:00:00:00:00:04}]\n"),
		       "t.yaml:7:17: spec.interfaces[0].neighbours: has two entries for 10.0.0.2");
}

#define STEERING "apiVersion: selvage.io/v1alpha1\nkind: SteeringPolicy\nmetadata: {name: www}\nspec:\n  host: www.example.com\n"

static void steering_policies(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load_clean(
		STEERING "  ttl: 30\n  minHealthyPercent: 40\n  nameServers: [ns1.example.com]\n  contact: ops.example.com\n"
			 "  healthCheck: {type: http, port: 80, path: /up, intervalSeconds: 5, timeoutSeconds: 2}\n  sites:\n"
			 "  - {name: fra, addresses: [192.0.2.1, \"2001:db8::1\"], weight: 3, order: 1, geography: {continents: [EU, \"*\"], countries: [DE]}}\n"
			 "  - {name: lab, addresses: [192.0.2.2], prefixes: [10.0.0.0/8], load: {low: 0.5, high: 1}}\n"
			 "status: {sites: [{name: fra, healthy: false, load: 0.7}]}\n");
	const struct steering_policy *policy = &loaded.objects.items[0]->steering_policy;

	assert_string_equal(policy->host, "www.example.com");
	assert_int_equal(policy->ttl, 30);
	assert_int_equal(policy->healthy_percent, 40);
	assert_int_equal(policy->health.check, SERVICE_CHECK_HTTP);
	assert_int_equal(policy->health.interval_ms, 5000);
	assert_string_equal(policy->health.path, "/up");
	assert_int_equal(policy->site_count, 2);
	assert_int_equal(policy->sites[0].addresses.count, 2);
	assert_int_equal(policy->sites[0].weight, 3);
	assert_true(string_list_contains(&policy->sites[0].continents, "EU"));
	assert_int_equal(policy->sites[1].weight, 1);
	assert_int_equal(policy->sites[1].prefixes[0].length, 8);
	assert_true(policy->sites[1].load_low == 0.5 && policy->sites[1].load_high == 1);
	assert_true(policy->reports[0].healthy_given && !policy->reports[0].healthy && policy->reports[0].load == 0.7);
}

#define LABEL63 "sixty-three-characters-are-what-one-part-of-a-name-can-hold-678"

static void steering_policies_warned_of(void **state)
{
	static const char *const warnings[] = {
		"t.yaml:7:26: warning: spec.sites[0].addresses: is empty: nobody is sent to this site",
		"t.yaml:7:55: warning: spec.sites[0].geography.continents: no client is in \"XX\": continents are AF, AN, AS, EU, NA, OC and SA",
		"t.yaml:7:72: warning: spec.sites[0].geography.countries: no client is in \"DEU\": countries are two letters (ISO 3166-1), such "
		"as DE",
		"t.yaml:7:93: warning: spec.sites[0].geography.subdivisions: no client is in \"Bavaria\": subdivisions are those of ISO 3166-2, "
		"such as DE-BY",
		"t.yaml:8:18: warning: status.sites[0] has no effect: there is no site \"b\"",
	};
	_cleanup_(loaded_done) struct loaded odd =
		load(STEERING "  sites:\n  - {name: a, addresses: [], geography: {continents: [XX], countries: [DEU], subdivisions: [Bavaria]}}\n"
			      "status: {sites: [{name: b}]}\n");
	_cleanup_(loaded_done) struct loaded right =
		load_clean(STEERING "  sites: [{name: a, addresses: [::1], geography: {continents: [SA, eu], countries: [de], subdivisions: [GB-ENG]}}]\n");

	assert_int_equal(right.objects.count, 1);
	assert_int_equal(odd.status, 0);
	for (size_t i = 0; i < array_length(warnings); i++)
		assert_true(loaded_says(&odd, warnings[i]));
}

static void steering_policies_refused(void **state)
{
	_cleanup_(loaded_done) struct loaded taken =
		load_clean(STEERING "  sites: [{name: a, addresses: [::1]}]\n  contact: " LABEL63 ".example.com\n");

	assert_int_equal(taken.objects.count, 1);
	assert_refused(STEERING, "t.yaml:5:3: spec: the field \"sites\" is missing");
	assert_refused(STEERING "  sites: []\n", "t.yaml:6:10: spec.sites: must hold 1 to 64 sites, not 0");
	assert_refused(STEERING "  sites: [{name: a, addresses: [here]}]\n",
		       "t.yaml:6:33: spec.sites[0].addresses[0]: \"here\" is not an IP address; write one such as 192.0.2.10 or 2001:db8::10");
	assert_refused(STEERING "  sites: [{name: a, addresses: [::1]}, {name: a, addresses: [::2]}]\n",
		       "t.yaml:6:10: spec.sites: the name \"a\" is in sites[0] already");
	assert_refused(STEERING "  sites: [{name: a, addresses: [::1]}]\n  contact: " LABEL63 "a.example.com\n",
		       "t.yaml:7:12: spec.contact: \"" LABEL63 "a.example.com\" has a part of more than 63 characters, which DNS does not know");
	assert_refused(STEERING "  sites: [{name: a, addresses: [::1]}]\n  nameServers: [ns1.example.com, a..b]\n",
		       "t.yaml:7:34: spec.nameServers[1]: \"a..b\" must be 1 to 253 of a-z, 0-9, \"-\" and \".\", and begin and end with a letter or digit");
	assert_refused(STEERING "  sites: [{name: a, addresses: [::1], load: {low: 1, high: 0.5}}]\n",
		       "t.yaml:6:45: spec.sites[0].load: \"high\" must be above \"low\", and \"low\" not below 0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(service_defaults),
		cmocka_unit_test(service_in_full),
		cmocka_unit_test(service_types),
		cmocka_unit_test(service_ports_refused),
		cmocka_unit_test(udp_and_tcp_may_have_the_same_number),
		cmocka_unit_test(service_addresses_refused),
		cmocka_unit_test(port_ranges),
		cmocka_unit_test(source_ranges),
		cmocka_unit_test(limits),
		cmocka_unit_test(quic_servers),
		cmocka_unit_test(calls),
		cmocka_unit_test(service_annotations_refused),
		cmocka_unit_test(a_misspelt_metallb_annotation_is_warned_of),
		cmocka_unit_test(slices),
		cmocka_unit_test(slices_of_names_are_left_out), cmocka_unit_test(slices_refused),
		cmocka_unit_test(a_slice_without_service_is_warned_of),
		cmocka_unit_test(endpoints),
		cmocka_unit_test(pools),
		cmocka_unit_test(pools_refused),
		cmocka_unit_test(l2_advertisements),
		cmocka_unit_test(nodes),
		cmocka_unit_test(replay_nodes),
		cmocka_unit_test(replay_nodes_refused),
		cmocka_unit_test(steering_policies),
		cmocka_unit_test(steering_policies_warned_of),
		cmocka_unit_test(steering_policies_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts: requests' heads, patches, selectors, keys, changes, and the language of filters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/lib/cleanup.h"
#include "ctrl/api/http_message.h"
#include "ctrl/api/label_query.h"
#include "ctrl/api/object_change.h"
#include "ctrl/api/patch.h"
#include "ctrl/api/registry.h"
#include "ctrl/api/trace_filter.h"
#include "edge/edge_state.h"

static json_t *json(const char *text)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(value);
	return value;
}

/* --- HTTP -------------------------------------------------------------------------------------------------------------- */

static int head_status(const char *text, struct http_request **ret_request)
{
	struct error error;

	return http_request_parse(text, strlen(text), 1000, ret_request, &error);
}

static void test_request_head(void **state)
{
	struct http_request *request;

	(void)state;
	assert_int_equal(head_status("PUT /a%20b/c/?x=1%26&y&z=a+b HTTP/1.1\r\nHost: h\r\ncontent-LENGTH: 7 \r\n"
				     "Content-Type: application/json; charset=utf-8\r\n\r\n", &request), 0);
	assert_string_equal(request->method, "PUT");
	assert_int_equal(request->segment_count, 2);
	assert_string_equal(request->segments[0], "a b");
	assert_string_equal(request->segments[1], "c");
	assert_string_equal(http_request_query(request, "x"), "1&");
	assert_string_equal(http_request_query(request, "z"), "a b");
	assert_true(http_request_flag(request, "y"));
	assert_int_equal(request->content_length, 7);
	assert_true(http_request_content_is(request, "application/json"));
	assert_true(request->keep_alive);
	http_request_free(request);
	assert_int_equal(head_status("GET / HTTP/1.0\n\n", &request), 0);
	assert_false(request->keep_alive);
	assert_int_equal(request->segment_count, 0);
	http_request_free(request);
}

static void test_bad_heads(void **state)
{
	static const struct {
		const char *text;
		int status;
	} cases[] = {
		{"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400}, {"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400}, {"GET /a//b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"GET /%2e%2e/b HTTP/1.1\r\nHost: h\r\n\r\n", 400}, {"GET /a?b=%0a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"GET /1/2/3/4/5/6/7/8/9/10/11/12/13 HTTP/1.1\r\nHost: h\r\n\r\n", 414},
		{"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", 413},
		{"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", 400}, {"GET / HTTP/1.1\r\nHost: h\r\nbroken\r\n\r\n", 400},
	};
	struct http_request *request;

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++)
		if (head_status(cases[i].text, &request) != cases[i].status)
			fail_msg("%s", cases[i].text);
}

/* --- patches ----------------------------------------------------------------------------------------------------------- */

static void patch_expect(json_t *(*patch)(const json_t *, const json_t *), const char *target, const char *change,
			 const char *result)
{
	json_t *before = json(target), *with = json(change), *expected = json(result), *after = patch(before, with), *again = json(target);

	if (!json_equal(after, expected))
		fail_msg("%s with %s gives %s", target, change, json_dumps(after, JSON_ENCODE_ANY));
	assert_true(json_equal(before, again)); /* untouched */
	json_decref(before);
	json_decref(with);
	json_decref(expected);
	json_decref(after);
	json_decref(again);
}

static void test_patches(void **state)
{
	(void)state;
	/* RFC 7396 appendix A */
	patch_expect(patch_merge, "{\"a\":\"b\"}", "{\"a\":null}", "{}");
	patch_expect(patch_merge, "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}");
	patch_expect(patch_merge, "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}");
	patch_expect(patch_merge, "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}");
	patch_expect(patch_merge, "[\"a\"]", "{\"a\":1}", "{\"a\":1}");
	patch_expect(patch_strategic, "{\"ports\":[{\"port\":1,\"name\":\"a\"},{\"port\":2}]}",
		     "{\"$setElementOrder/ports\":[],\"ports\":[{\"port\":1,\"name\":\"b\"},{\"port\":2,\"$patch\":\"delete\"},"
		     "{\"port\":3}]}",
		     "{\"ports\":[{\"port\":1,\"name\":\"b\"},{\"port\":3}]}");
	patch_expect(patch_strategic, "{\"a\":1,\"b\":2}", "{\"$retainKeys\":[\"b\"],\"b\":3}", "{\"b\":3}");
	patch_expect(patch_strategic, "{\"x\":{\"a\":1}}", "{\"x\":{\"$patch\":\"replace\",\"b\":2}}", "{\"x\":{\"b\":2}}");
}

/* --- selectors --------------------------------------------------------------------------------------------------------- */

static bool selected(const char *text)
{
	json_t *object = json("{\"metadata\":{\"name\":\"web\",\"labels\":{\"app\":\"web\",\"tier\":\"\"}}}");
	struct label_query *query = NULL;
	struct error error;
	bool matches = label_query_parse(text, &query, &error) == 0 && label_query_matches(query, object);

	label_query_free(query);
	json_decref(object);
	return matches;
}

static void test_selectors(void **state)
{
	struct label_query *query;
	struct error error;

	(void)state;
	assert_true(selected(""));
	assert_true(selected("app=web"));
	assert_true(selected("app==web,tier"));
	assert_true(selected("app in (db, web),!gone"));
	assert_true(selected("gone notin (x)"));
	assert_true(selected("gone!=x"));
	assert_false(selected("app!=web"));
	assert_false(selected("gone"));
	assert_false(selected("app notin (web)"));
	assert_int_equal(label_query_parse("app of (x)", &query, &error), -EINVAL);
	assert_int_equal(label_query_parse("a b", &query, &error), -EINVAL);
	assert_int_equal(label_query_parse("app in (x", &query, &error), -EINVAL);
	assert_int_equal(label_query_parse(",", &query, &error), -EINVAL);
	assert_int_equal(field_query_parse("spec.x=1", &query, &error), -EINVAL);
}

/* --- keys and changes -------------------------------------------------------------------------------------------------- */

static void test_keys(void **state)
{
	char key[REGISTRY_KEY_SIZE], space[256], name[256];

	(void)state;
	for (size_t i = 0; i < OBJECT_KIND_COUNT; i++) {
		const struct object_kind_info *info = object_kind_info((enum object_kind)i);

		assert_int_equal(registry_key(info, "space", "name", key), 0);
		assert_ptr_equal(registry_key_parse(key, space, name), info);
		assert_string_equal(name, "name");
		assert_string_equal(space, info->namespaced ? "space" : "");
	}
	assert_null(registry_key_parse("/registry/services/web", space, name));
	assert_null(registry_key_parse("/registry/services/a/b/c", space, name));
	assert_null(registry_key_parse("/registry/things/a/b", space, name));
}

static void test_changes(void **state)
{
	const struct change_stamp stamp = {.uid = "u", .time = "t"};
	json_t *body = json("{\"metadata\":{\"name\":\"web\",\"resourceVersion\":\"5\",\"uid\":\"mine\"},\"spec\":{},\"status\":{\"a\":1}}");
	json_t *live = json("{\"metadata\":{\"name\":\"web\",\"namespace\":\"default\",\"uid\":\"mine\",\"creationTimestamp\":\"old\","
			    "\"generation\":3,\"resourceVersion\":\"5\"},\"spec\":{},\"status\":{\"b\":2}}");
	struct change_request request = {.mode = CHANGE_REPLACE, .info = object_kind_info(OBJECT_SERVICE),
					 .namespace_name = "default", .name = "web", .body = body};
	struct change_refusal refusal;
	json_t *wanted;

	(void)state;
	assert_int_equal(change_compute(&request, live, &stamp, &wanted, &refusal), 0);
	assert_true(change_is_none(live, wanted)); /* the status is the daemon's, the rest is as it was */
	json_decref(wanted);
	request.name = "other";
	assert_int_equal(change_compute(&request, live, &stamp, &wanted, &refusal), -EINVAL);
	assert_int_equal(refusal.status, 400);
	request.name = "web";
	json_object_set_new(json_object_get(live, "metadata"), "resourceVersion", json_string("6"));
	assert_int_equal(change_compute(&request, live, &stamp, &wanted, &refusal), -EINVAL);
	assert_int_equal(refusal.status, 409);
	json_decref(body);
	json_decref(live);
}

/* kubectl takes the name and protocol of a slice's ports for granted. */
static void test_slice_defaults(void **state)
{
	static const char value[] = "{\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":\"a\"},\"ports\":[{\"port\":80},"
				    "{\"name\":\"x\",\"protocol\":\"UDP\",\"port\":81},{\"name\":null}]}";
	const struct store_record record = {.key = "k", .value = store_text(value), .mod_revision = 7};
	json_t *json = registry_record_json(&record), *port = json_array_get(json_object_get(json, "ports"), 0);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(port, "name")), "");
	assert_string_equal(json_string_value(json_object_get(port, "protocol")), "TCP");
	port = json_array_get(json_object_get(json, "ports"), 1);
	assert_string_equal(json_string_value(json_object_get(port, "name")), "x");
	assert_string_equal(json_string_value(json_object_get(port, "protocol")), "UDP");
	port = json_array_get(json_object_get(json, "ports"), 2);
	assert_string_equal(json_string_value(json_object_get(port, "name")), "");
	json_decref(json);
}

/* --- the filter language ----------------------------------------------------------------------------------------------- */

/* UDP 10.0.0.1:5000 > 192.0.2.10:7000, dropped by lb. */
static bool filtered(const char *text)
{
	struct edge_event event = {.length = 42, .captured = 42, .decision = {.verdict = VERDICT_DROP, .function = FUNCTION_LB,
									      .reason = DROP_service_no_backend}};
	static const uint8_t frame[42] = {[12] = 8, [14] = 0x45, [17] = 28, [22] = 64, 17, 0, 0, 10, 0, 0, 1, 192, 0, 2, 10, 0x13,
					  0x88, 0x1b, 0x58, 0, 8};
	const struct api_trace_packet reported = {.event = &event, .interface = "eth0", .service = "default/web:http",
						  .backend = "10.0.0.21:7000"};
	struct trace_packet packet;
	struct trace_filter *filter;
	struct error error;
	bool matches;

	memcpy(event.bytes, frame, sizeof(frame));
	trace_packet_read(&reported, &packet);
	if (trace_filter_parse(text, &filter, &error) < 0)
		fail_msg("%s: %s", text, error.text);
	matches = trace_filter_matches(filter, &packet);
	trace_filter_free(filter);
	return matches;
}

static void test_filter(void **state)
{
	static const char *const yes[] = {
		"", "udp", "ip", "host 10.0.0.1", "src host 10.0.0.1", "dst 192.0.2.10", "net 10.0.0.0/8", "port 7000",
		"src port 5000", "port 6000-8000", "portrange 6000-8000", "drops", "drop", "verdict drop", "decisions", "function lb",
		"reason service_no_backend", "interface eth0", "interface eth*", "service default/web", "service web",
		"service default/web:http", "service web:http", "backend 10.0.0.21:7000", "backend 10.0.0.21", "not tcp", "!tcp",
		"tcp or udp", "tcp||udp", "udp&&not(tcp or arp)", "udp and not (tcp or arp)", "tcp and arp or udp", "proto 17",
		"proto udp", "!(tcp)", "udp port 7000", "udp dst port 7000 and drops", "ip host 10.0.0.1", "not tcp port 7000",
		"interesting", "ip and (udp src port 5000)", "new or interesting", "net 10.0.0.1"};
	static const char *const no[] = {
		"tcp", "ip6", "arp", "src port 7000", "dst host 10.0.0.1", "net 10.1.0.0/16", "new", "pass", "verdict tx",
		"reason route_none", "vlan 7", "backend 10.0.0.1:1", "backend 10.0.0.21:7001", "backend 10.0.0.22", "udp and tcp",
		"not udp", "port 1", "udp port 1", "service default/we", "service other/web", "service webs", "service web:https",
		"interface veth*", "not interesting", "proto tcp", "src net 192.0.2.0/24", "portrange 7001-8000"};
	static const char *const bad[] = {
		"(", ")", "()", "udp tcp", "port", "port x", "port 70000", "port 9-8", "port 1-", "host", "host 1.2.3", "net", "not",
		"udp and", "and udp", "reason nope", "reason", "function x", "src", "udp)", "frob", "host 10.0.0.0/8", "udp & tcp",
		"backend x", "verdict maybe", "interface", "interface )", "service", "proto xyz", "proto 256", "vlan 4096", "udp port"};
	struct trace_filter *filter;
	struct error error;

	(void)state;
	for (size_t i = 0; i < array_length(yes); i++)
		if (!filtered(yes[i]))
			fail_msg("%s", yes[i]);
	for (size_t i = 0; i < array_length(no); i++)
		if (filtered(no[i]))
			fail_msg("%s", no[i]);
	for (size_t i = 0; i < array_length(bad); i++)
		if (trace_filter_parse(bad[i], &filter, &error) != -EINVAL)
			fail_msg("%s", bad[i]);
}

/* An error names the place, and what would be right there. */
static void test_filter_errors(void **state)
{
	static const struct {
		const char *text, *place, *advice;
	} cases[] = {
		{"udp and prt 80", "column 9, at \"prt 80\"", "did you mean \"port\"?"},
		{"10.0.0.1", "column 1", "write \"host 10.0.0.1\""},
		{"tcp and 10.0.0.0/8", "column 9", "write \"net 10.0.0.0/8\""},
		{"host 10.0.0.0/8", "column 6", "\"net\""},
		{"80", "column 1", "\"port 80\""},
		{"reason service_no_backends", "column 8", "did you mean \"service_no_backend\"?"},
		{"reason nope", "column 8", "selvage drops --all"},
		{"function lbb", "column 10", "parse vip lb"},
		{"verdict dropped", "column 9", "pass, tx, redirect or drop"},
		{"udp and", "at the end", "something is missing"},
		{"(udp or tcp", "at the end", "a closing parenthesis is missing"},
		{"(udp tcp)", "column 6", "\"and\" or \"or\""},
		{"udp tcp", "column 5", "\"and\" or \"or\""},
		{"port 70000", "column 6", "from 0 to 65535"},
	};
	struct trace_filter *filter;

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct error error = {0};

		assert_int_equal(trace_filter_parse(cases[i].text, &filter, &error), -EINVAL);
		if (!strstr(error.text, cases[i].place) || !strstr(error.text, cases[i].advice))
			fail_msg("\"%s\" gives \"%s\"", cases[i].text, error.text);
	}
}

/* A packet of a flow that goes on is not interesting, one that begins or resets it is. */
static void test_interesting(void **state)
{
	static const uint8_t head[54] = {[12] = 8, [14] = 0x45, [17] = 40, [22] = 64, 6, 0, 0, 10, 0, 0, 1, 192, 0, 2, 10, 0x13,
					 0x88, 0x1b, 0x58, [46] = 0x50, 0x10};
	struct edge_event event = {.length = 54, .captured = 54, .decision = {.verdict = VERDICT_TX, .function = FUNCTION_LB}};
	const struct api_trace_packet reported = {.event = &event};
	struct trace_packet packet;

	(void)state;
	memcpy(event.bytes, head, sizeof(head));
	trace_packet_read(&reported, &packet);
	assert_false(trace_packet_interesting(&packet));
	event.decision.flags = DECISION_NEW_FLOW;
	assert_true(trace_packet_interesting(&packet));
	event.decision.flags = 0;
	event.bytes[47] = 0x04;
	trace_packet_read(&reported, &packet);
	assert_true(trace_packet_interesting(&packet));
	event.decision.verdict = VERDICT_PASS;
	assert_false(trace_packet_interesting(&packet));
}

/* More of a packet than the struct itself holds. */
static void test_long_event(void **state)
{
	const uint32_t length = 1500;
	_cleanup_(freep) struct edge_event *event = calloc(1, edge_event_size(length));
	const struct api_trace_packet reported = {.event = event};
	uint8_t *bytes = (uint8_t *)event + offsetof(struct edge_event, bytes);
	struct trace_packet packet;
	json_t *json;

	(void)state;
	event->length = event->captured = length;
	memset(bytes, 0xab, length);
	trace_packet_read(&reported, &packet);
	json = trace_packet_json(&packet, EDGE_EVENT_BYTES_MAX);
	assert_int_equal(strlen(json_string_value(json_object_get(json, "bytes"))), 2 * length);
	json_decref(json);
	json = trace_packet_json(&packet, 64);
	assert_int_equal(strlen(json_string_value(json_object_get(json, "bytes"))), 2 * 64);
	json_decref(json);
}

static void test_filter_depth(void **state)
{
	char deep[3000] = "";
	struct trace_filter *filter;
	struct error error;

	(void)state;
	for (int i = 0; i < 1000; i++)
		strcat(deep, "(");
	assert_int_equal(trace_filter_parse(deep, &filter, &error), -EINVAL);
	*deep = '\0';
	for (int i = 0; i < 300; i++)
		strcat(deep, "udp or ");
	strcat(deep, "udp");
	assert_int_equal(trace_filter_parse(deep, &filter, &error), -EINVAL);
}

/* What the packet program is asked for must hold for each packet that matches. */
static void test_coarse_filter(void **state)
{
	struct trace_filter *filter;
	struct api_trace_filter coarse;

	(void)state;
	assert_int_equal(trace_filter_parse("udp and (drops and port 7000) and host 10.0.0.1", &filter, NULL), 0);
	coarse = trace_filter_coarse(filter);
	assert_int_equal(coarse.flags, EDGE_TRACE_ON | EDGE_TRACE_DROPS | EDGE_TRACE_INTERESTING | EDGE_TRACE_DECISIONS);
	assert_int_equal(coarse.protocol, 17);
	assert_int_equal(coarse.port, 7000);
	assert_false(address_is_zero(&coarse.address));
	trace_filter_free(filter);
	assert_int_equal(trace_filter_parse("udp or drops and not port 7000 and port 1-2", &filter, NULL), 0);
	coarse = trace_filter_coarse(filter);
	assert_int_equal(coarse.flags, EDGE_TRACE_ON);
	assert_int_equal(coarse.protocol, 0);
	assert_int_equal(coarse.port, 0);
	trace_filter_free(filter);
	/* what both sides of an "or" have in common */
	assert_int_equal(trace_filter_parse("new or drops", &filter, NULL), 0);
	coarse = trace_filter_coarse(filter);
	assert_int_equal(coarse.flags, EDGE_TRACE_ON | EDGE_TRACE_INTERESTING | EDGE_TRACE_DECISIONS);
	trace_filter_free(filter);
	assert_int_equal(trace_filter_parse("tx or pass", &filter, NULL), 0);
	assert_int_equal(trace_filter_coarse(filter).flags, EDGE_TRACE_ON);
	trace_filter_free(filter);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_head), cmocka_unit_test(test_bad_heads), cmocka_unit_test(test_patches),
		cmocka_unit_test(test_selectors), cmocka_unit_test(test_keys), cmocka_unit_test(test_changes),
		cmocka_unit_test(test_slice_defaults),
		cmocka_unit_test(test_filter), cmocka_unit_test(test_filter_errors), cmocka_unit_test(test_interesting),
		cmocka_unit_test(test_long_event), cmocka_unit_test(test_filter_depth), cmocka_unit_test(test_coarse_filter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

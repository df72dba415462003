/* SPDX-License-Identifier: Apache-2.0 */
/* /selvage/v1: what Selvage knows beyond objects, and what it can be told to do. */
#include <event2/buffer.h>
#include <string.h>

#include "base/lib/address_text.h"
#include "ctrl/api/api_internal.h"
#include "ctrl/api/trace_packet.h"
#include "base/packet/wire.h"

#define EXPLAIN_PACKETS_MAX 1000
#define FRAME_BYTES_MAX 65535

struct api_action {
	struct api *api;
	struct http_exchange *exchange;
};

void api_action_done(struct api_action *action, int status, const struct error *error)
{
	if (status < 0)
		reply_error(action->exchange, status, error);
	else
		reply_json(action->exchange, 200, json_pack("{s:s, s:s, s:{}, s:s}", "kind", "Status", "apiVersion", "v1",
							    "metadata", "status", "Success"));
	api_put(action->api);
	free(action);
}

void api_action_reply(struct api_action *action, json_t *json)
{
	reply_json(action->exchange, 200, json);
	api_put(action->api);
	free(action);
}

struct api_action *api_action_new(struct api *api, struct http_exchange *exchange)
{
	struct api_action *action = calloc(1, sizeof(*action));

	if (!action)
		abort();
	action->api = api_get(api);
	action->exchange = exchange;
	return action;
}

/* --- views ------------------------------------------------------------------------------------------------------------- */

static void reply_items(struct http_exchange *exchange, json_t *items)
{
	reply_json(exchange, 200, json_pack("{s:o}", "items", items));
}

static void status_handle(struct api *api, struct http_exchange *exchange)
{
	reply_json(exchange, 200, api->backend.status(api->backend.context));
}

static void vips_handle(struct api *api, struct http_exchange *exchange)
{
	reply_items(exchange, api->backend.vips(api->backend.context));
}

static void services_handle(struct api *api, struct http_exchange *exchange)
{
	reply_items(exchange, api->backend.services(api->backend.context));
}

static void drops_handle(struct api *api, struct http_exchange *exchange)
{
	reply_items(exchange, api->backend.drops(api->backend.context));
}

static void counters_handle(struct api *api, struct http_exchange *exchange)
{
	reply_json(exchange, 200, api->backend.counters(api->backend.context));
}

static void all_backends_handle(struct api *api, struct http_exchange *exchange)
{
	json_t *items = api->backend.backends(api->backend.context, NULL, NULL);

	reply_items(exchange, items ? items : json_array());
}

static void metrics_verb_handle(struct api *api, struct http_exchange *exchange)
{
	struct evbuffer *text = metrics_text(api);

	http_reply_buffer(exchange, 200, CONTENT_OPENMETRICS, text);
	evbuffer_free(text);
}

/* --- explain ----------------------------------------------------------------------------------------------------------- */

/* "10.0.0.5:4000"; an address alone for protocols without ports. */
static int explain_side(const json_t *packet, const char *key, bool ports, struct address *ret_address, uint16_t *ret_port,
			struct error *error)
{
	const char *text = json_string_value(json_object_get(packet, key));

	if (ports && text && endpoint_parse(text, ret_address, ret_port) == 0)
		return 0;
	if (!ports && text && address_parse(text, ret_address) == 0)
		return 0;
	return error_set(error, EINVAL, "\"%s\" must be %s, not \"%.60s\"", key,
			 ports ? "ADDRESS:PORT or [IPV6]:PORT" : "an address without a port", text ? text : "");
}

static int explain_flow_read(const json_t *packet, struct api_explain_flow *ret_flow, struct error *error)
{
	static const struct {
		const char *name;
		uint8_t protocol;
	} protocols[] = {{"tcp", PROTOCOL_TCP}, {"udp", PROTOCOL_UDP}, {"icmp", PROTOCOL_ICMP}};
	const char *name = json_string_value(json_object_get(packet, "protocol"));
	struct api_explain_flow flow = {.established = json_is_true(json_object_get(packet, "established"))};
	struct prefix source;
	bool ipv4;

	for (size_t i = 0; name && i < array_length(protocols); i++)
		if (strcmp(name, protocols[i].name) == 0)
			flow.protocol = protocols[i].protocol;
	if (!flow.protocol)
		return error_set(error, EINVAL, "\"protocol\" must be tcp, udp or icmp");
	if (explain_side(packet, "source", flow.protocol != PROTOCOL_ICMP, &flow.source, &flow.source_port, error) < 0 ||
	    explain_side(packet, "destination", flow.protocol != PROTOCOL_ICMP, &flow.destination, &flow.destination_port, error) < 0)
		return -EINVAL;
	source = (struct prefix){.address = flow.source};
	ipv4 = prefix_family_ipv4(&source);
	source.address = flow.destination;
	if (ipv4 != prefix_family_ipv4(&source))
		return error_set(error, EINVAL, "source and destination must be of one family, IPv4 or IPv6");
	if (flow.protocol == PROTOCOL_ICMP && !ipv4)
		flow.protocol = PROTOCOL_ICMPV6;
	*ret_flow = flow;
	return 0;
}

static int explain_bytes_read(const json_t *packet, uint8_t *bytes, struct api_explain_question *question, struct error *error)
{
	const char *hex = json_string_value(json_object_get(packet, "bytes"));
	const json_t *whole = json_object_get(packet, "length");

	if (!hex || hex_parse(hex, bytes, FRAME_BYTES_MAX, &question->length) < 0)
		return error_set(error, EINVAL, "\"bytes\" must be the frame in hexadecimal digits, at most %d bytes", FRAME_BYTES_MAX);
	question->wire_length = question->length;
	if (!whole)
		return 0;
	if (!json_is_integer(whole) || json_integer_value(whole) < (json_int_t)question->length ||
	    json_integer_value(whole) > FRAME_BYTES_MAX)
		return error_set(error, EINVAL, "\"length\" must be that of the whole frame, of which \"bytes\" is the beginning");
	question->wire_length = (size_t)json_integer_value(whole);
	return 0;
}

static json_t *explain_one(struct api *api, const json_t *packet, struct error *error)
{
	uint8_t bytes[FRAME_BYTES_MAX];
	struct api_explain_flow flow;
	struct api_explain_question question = {.interface = json_string_value(json_object_get(packet, "interface")), .bytes = bytes};
	int status;

	if (json_object_get(packet, "protocol")) {
		question.flow = &flow;
		status = explain_flow_read(packet, &flow, error);
	} else {
		status = explain_bytes_read(packet, bytes, &question, error);
	}
	return status < 0 ? NULL : api->backend.explain(api->backend.context, &question, error);
}

static void explain_handle(struct api *api, struct http_exchange *exchange)
{
	const struct http_request *request = http_exchange_request(exchange);
	json_t *body = json_loadb(request->body ? request->body : "", request->content_length, JSON_REJECT_DUPLICATES, NULL);
	json_t *packets = json_object_get(body, "packets"), *results = json_array(), *packet;
	struct error error = {0};
	size_t i;

	if (!json_is_array(packets) || json_array_size(packets) > EXPLAIN_PACKETS_MAX)
		error_set(&error, EINVAL, "the body must be {\"packets\": [{\"bytes\": HEX, \"interface\": NAME}]} with at most %d, or a protocol, source and destination instead of bytes",
			  EXPLAIN_PACKETS_MAX);
	json_array_foreach(packets, i, packet) {
		json_t *result = *error.text ? NULL : explain_one(api, packet, &error);

		if (!result) {
			error_prefix(&error, EINVAL, "packet %zu", i + 1);
			break;
		}
		json_array_append_new(results, result);
	}
	if (*error.text) {
		json_decref(results);
		reply_failure(exchange, 422, NULL, "%s", error.text);
	} else {
		reply_json(exchange, 200, json_pack("{s:o}", "results", results));
	}
	json_decref(body);
}

/* --- paths with names in them ------------------------------------------------------------------------------------------ */

/* /selvage/v1/services/NAMESPACE/NAME/backends */
static void service_backends_handle(struct api *api, struct http_exchange *exchange)
{
	const char *const *part = http_exchange_request(exchange)->segments;
	json_t *items = api->backend.backends(api->backend.context, part[3], part[4]);

	if (items)
		reply_items(exchange, items);
	else
		reply_failure(exchange, 404, NULL, "services \"%s\" not found in the namespace \"%s\"", part[4], part[3]);
}

/* /selvage/v1/services/NAMESPACE/NAME/backends/ADDRESS[:PORT]/drain */
static void backend_drain_handle(struct api *api, struct http_exchange *exchange)
{
	const char *const *part = http_exchange_request(exchange)->segments;
	struct api_backend_reference backend = {.namespace_name = part[3], .service = part[4]};

	if (endpoint_parse(part[6], &backend.address, &backend.port) < 0 && address_parse(part[6], &backend.address) < 0) {
		reply_failure(exchange, 422, NULL, "\"%.100s\" is not a backend: write ADDRESS:PORT, [IPV6]:PORT or ADDRESS", part[6]);
		return;
	}
	api->backend.backend_drain(api->backend.context, &backend, strcmp(part[7], "drain") == 0, api_action_new(api, exchange));
}

/* /selvage/v1/vips/ADDRESS/move with {"node": NAME}, or without a body */
static void vip_move_handle(struct api *api, struct http_exchange *exchange)
{
	const struct http_request *request = http_exchange_request(exchange);
	json_t *body = request->body ? json_loadb(request->body, request->content_length, 0, NULL) : NULL;
	const json_t *node = json_object_get(body, "node");
	struct address vip;

	if (address_parse(request->segments[3], &vip) < 0)
		reply_failure(exchange, 422, NULL, "\"%.100s\" is not an address", request->segments[3]);
	else if (request->body && (!json_is_object(body) || (node && !json_is_string(node))))
		reply_failure(exchange, 422, NULL, "the body must be {\"node\": NAME}");
	else
		api->backend.vip_move(api->backend.context, &vip, json_string_value(node), api_action_new(api, exchange));
	json_decref(body);
}

/* /selvage/v1/dns/OPERATION with its arguments as an object, or without a body */
static void dns_handle(struct api *api, struct http_exchange *exchange)
{
	const struct http_request *request = http_exchange_request(exchange);
	json_t *message = request->content_length ? json_loadb(request->body, request->content_length, 0, NULL) : json_object();

	if (!json_is_object(message)) {
		reply_failure(exchange, 422, NULL, "the body must be an object with the operation's arguments");
	} else if (!api->backend.dns) {
		reply_failure(exchange, 404, NULL, "this node answers no DNS");
	} else {
		json_object_set_new(message, "op", json_string(request->segments[3]));
		api->backend.dns(api->backend.context, message, api_action_new(api, exchange));
	}
	json_decref(message);
}

/* --- routing ----------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *method;
	const char *path; /* below /selvage/v1; "*" is any name */
	void (*handle)(struct api *api, struct http_exchange *exchange);
	bool writes;
} verbs[] = {
	{"GET", "status", status_handle, false},
	{"GET", "vips", vips_handle, false},
	{"GET", "services", services_handle, false},
	{"GET", "backends", all_backends_handle, false},
	{"GET", "drops", drops_handle, false},
	{"GET", "counters", counters_handle, false},
	{"GET", "metrics", metrics_verb_handle, false},
	/* Packets are other people's traffic: seeing them is a right of those who may write. */
	{"GET", "trace", trace_handle, true},
	{"POST", "explain", explain_handle, false},
	{"POST", "apply", objects_apply, true},
	{"GET", "services/*/*/backends", service_backends_handle, false},
	{"POST", "services/*/*/backends/*/drain", backend_drain_handle, true},
	{"POST", "services/*/*/backends/*/undrain", backend_drain_handle, true},
	{"POST", "vips/*/move", vip_move_handle, true},
	/* Without a namespace, "default" is meant. */
	{"GET", "sessions", sessions_list_handle, false},
	{"GET", "sessions/events", sessions_events_handle, false},
	{"POST", "sessions/rotate", sessions_rotate_handle, true},
	{"POST", "sessions/ufrag", session_ufrags_handle, true},
	{"GET", "sessions/*", session_get_handle, false},
	{"DELETE", "sessions/*", session_delete_handle, true},
	{"GET", "services/*/sessions", service_sessions_handle, false},
	{"GET", "services/*/*/sessions", service_sessions_handle, false},
	{"PUT", "services/*/sessions/*", session_put_handle, true},
	{"DELETE", "services/*/sessions/*", session_delete_handle, true},
	{"GET", "services/*/sessions/*", session_get_handle, false},
	{"PUT", "services/*/*/sessions/*", session_put_handle, true},
	{"DELETE", "services/*/*/sessions/*", session_delete_handle, true},
	{"GET", "services/*/*/sessions/*", session_get_handle, false},
	{"GET", "dns/stats", dns_handle, false},
	{"POST", "dns/dump", dns_handle, false},
	{"POST", "dns/lookup", dns_handle, false},
	{"POST", "dns/explain", dns_handle, false},
	{"POST", "dns/flush", dns_handle, true},
	/* queries are other people's, as packets are */
	{"POST", "dns/tap", dns_handle, true},
};

/* Whether the request's segments from `first` on are those of the path. */
static bool path_matches(const struct http_request *request, size_t first, const char *path)
{
	size_t i = first;

	for (; i < request->segment_count && path; i++) {
		size_t length = strcspn(path, "/");
		const char *segment = request->segments[i];

		if (*path != '*' && (strlen(segment) != length || strncmp(segment, path, length) != 0))
			return false;
		path = path[length] ? path + length + 1 : NULL;
	}
	return i == request->segment_count && !path;
}

static bool method_fits(const char *method, const char *of_verb)
{
	return strcmp(method, of_verb) == 0 || (strcmp(method, "HEAD") == 0 && strcmp(of_verb, "GET") == 0);
}

/* Each method once: a path may be read in two ways (services/NAME/sessions/X, services/NAMESPACE/NAME/sessions). */
static void allowed_add(char *allowed, size_t size, const char *method)
{
	size_t used = strlen(allowed);

	if (!strstr(allowed, method))
		snprintf(allowed + used, size - used, "%s%s%s", used ? ", " : "", method, strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

void verbs_handle(struct api *api, struct http_exchange *exchange)
{
	const struct http_request *request = http_exchange_request(exchange);
	char allowed[64] = "";

	for (size_t i = 0; i < array_length(verbs); i++) {
		if (!path_matches(request, 2, verbs[i].path))
			continue;
		if (!method_fits(request->method, verbs[i].method)) {
			allowed_add(allowed, sizeof(allowed), verbs[i].method);
			continue;
		}
		if (verbs[i].writes && http_exchange_access(exchange) < ACCESS_WRITE)
			reply_failure(exchange, 403, NULL, "this user may read only");
		else
			verbs[i].handle(api, exchange);
		return;
	}
	if (*allowed)
		reply_not_allowed(exchange, allowed);
	else
		reply_failure(exchange, 404, NULL, "there is nothing at \"%.200s\"; docs/api.md lists what there is", request->path);
}

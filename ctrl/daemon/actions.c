/* SPDX-License-Identifier: Apache-2.0 */
/* What the API asks of the daemon: checks before writes, drains, moves, traces, explanations. */
#include <stdio.h>
#include <string.h>

#include "base/lib/log.h"
#include "base/lib/memory.h"
#include "base/lib/verdict_text.h"
#include "ctrl/api/registry.h"
#include "ctrl/daemon/daemon.h"
#include "edge/edge_explain.h"
#include "edge/edge_frame.h"

/* --- may it be stored ------------------------------------------------------------------------------------------------- */

/* The objects as they would be after the changes. */
static const struct object **objects_after(const struct daemon *daemon, const struct api_change *changes, size_t count,
					   size_t *ret_count)
{
	size_t present_count, kept = 0;
	const struct object *const *present = catalogue_objects(daemon->catalogue, &present_count);
	const struct object **after = memory_or_end(calloc(present_count + count + 1, sizeof(*after)));

	for (size_t i = 0; i < present_count; i++) {
		bool touched = false;

		for (size_t c = 0; c < count && !touched; c++)
			touched = object_compare(present[i], changes[c].object) == 0;
		if (!touched)
			after[kept++] = present[i];
	}
	for (size_t c = 0; c < count; c++) {
		if (!changes[c].deleted)
			after[kept++] = changes[c].object;
	}
	*ret_count = kept;
	return after;
}

static bool is_changed(const struct object *object, const struct api_change *changes, size_t count)
{
	for (size_t c = 0; c < count; c++) {
		if (changes[c].object == object)
			return true;
	}
	return false;
}

/* A service that asks for an address and cannot have it is refused; one that merely finds the pools empty waits. */
int daemon_check(void *context, const struct api_change *changes, size_t count, struct error *error)
{
	const struct daemon *daemon = context;
	struct ipam_result assignments;
	size_t after_count;
	const struct object **after = objects_after(daemon, changes, count, &after_count);
	int result = 0;

	ipam_assign(after, after_count, &assignments);
	for (size_t i = 0; i < assignments.count && result == 0; i++) {
		const struct ipam_assignment *assignment = &assignments.items[i];
		char reference[OBJECT_REFERENCE_SIZE];

		if (assignment->refusal && assignment->service->service.requested.count &&
		    is_changed(assignment->service, changes, count))
			result = error_set(error, EEXIST, "%s: %s", object_reference(assignment->service, reference),
					   assignment->refusal);
	}
	ipam_result_done(&assignments);
	free(after);
	return result;
}

int daemon_ready(void *context, struct error *error)
{
	const struct daemon *daemon = context;

	if (!daemon->reconciled)
		return error_set(error, EAGAIN, "the store has not been read yet");
	if (daemon->apply_failed)
		return error_set(error, EAGAIN, "the tables could not be written: %s", daemon->apply_error);
	return 0;
}

/* --- records in the store ---------------------------------------------------------------------------------------------- */

/* An action that is done when the store has it. */
static void action_stored(void *context, int status, const struct store_result *result, const struct error *error)
{
	api_action_done(context, status, error);
}

static bool backend_matches(const struct reconcile_service *service, const struct api_backend_reference *reference)
{
	if (strcmp(service->object->meta.name, reference->service) != 0 ||
	    strcmp(service->object->meta.namespace_name, reference->namespace_name) != 0)
		return false;
	for (size_t b = 0; b < service->backend_count; b++) {
		if (address_equal(&service->backends[b].address, &reference->address) &&
		    (reference->port == 0 || reference->port == service->backends[b].port))
			return true;
	}
	return false;
}

static bool backend_exists(const struct daemon *daemon, const struct api_backend_reference *reference)
{
	for (size_t i = 0; i < daemon->result.service_count; i++) {
		if (backend_matches(&daemon->result.services[i], reference))
			return true;
	}
	return false;
}

static void drain_count(void *context, const char *name, const char *value)
{
	(*(size_t *)context)++;
}

static bool drained_whole(const struct daemon *daemon, const struct api_backend_reference *reference, const char *address)
{
	char key[STORE_KEY_LENGTH_MAX];

	snprintf(key, sizeof(key), CATALOGUE_DRAINS "%s/%s/%s/0", reference->namespace_name, reference->service, address);
	return catalogue_text(daemon->catalogue, key) != NULL;
}

/* Without a port, whatever was drained of the address, by port or whole. */
static void undrain(struct daemon *daemon, const struct api_backend_reference *reference, const char *key,
		    const char *address, struct api_action *action)
{
	struct store_step step = {.kind = reference->port ? STORE_DELETE : STORE_DELETE_PREFIX, .key = key};
	struct error error = {0};
	size_t count = 0;

	if (reference->port)
		count = catalogue_text(daemon->catalogue, key) != NULL;
	else
		catalogue_each(daemon->catalogue, key, drain_count, &count);
	if (count == 0 && reference->port && drained_whole(daemon, reference, address))
		api_action_done(action,
				error_set(&error, ENOENT, "%s was drained with all its ports; undrain it without a port", address),
				&error);
	else if (count == 0)
		api_action_done(action,
				error_set(&error, ENOENT, "the backend %s of %s/%s is not drained", address,
					  reference->namespace_name, reference->service),
				&error);
	else
		store_transact(daemon->store, &(struct store_transaction){.then_steps = &step, .then_count = 1}, action_stored,
			       action);
}

void daemon_backend_drain(void *context, const struct api_backend_reference *reference, bool drain,
			  struct api_action *action)
{
	struct daemon *daemon = context;
	char key[STORE_KEY_LENGTH_MAX], address[ADDRESS_TEXT_SIZE];
	struct error error = {0};

	address_format(&reference->address, address);
	if (!drain && reference->port == 0) {
		snprintf(key, sizeof(key), CATALOGUE_DRAINS "%s/%s/%s/", reference->namespace_name, reference->service, address);
		undrain(daemon, reference, key, address, action);
		return;
	}
	snprintf(key, sizeof(key), CATALOGUE_DRAINS "%s/%s/%s/%u", reference->namespace_name, reference->service, address,
		 reference->port);
	if (!drain) {
		undrain(daemon, reference, key, address, action);
		return;
	}
	if (!backend_exists(daemon, reference)) {
		api_action_done(action,
				error_set(&error, ENOENT, "the service %s/%s has no backend %s; `selvage service backends` lists them",
					  reference->namespace_name, reference->service, address),
				&error);
		return;
	}
	store_put(daemon->store, key, store_text("drain"), 0, action_stored, action);
}

static const struct reconcile_vip *vip_lookup(const struct daemon *daemon, const struct address *vip)
{
	for (size_t i = 0; i < daemon->result.vip_count; i++) {
		if (address_equal(&daemon->result.vips[i].address, vip))
			return &daemon->result.vips[i];
	}
	return NULL;
}

void daemon_vip_move(void *context, const struct address *vip, const char *node, struct api_action *action)
{
	struct daemon *daemon = context;
	char key[128], address[ADDRESS_TEXT_SIZE];
	struct error error = {0};
	int status = 0;

	address_format(vip, address);
	if (!vip_lookup(daemon, vip))
		status = error_set(&error, ENOENT, "%s is no virtual IP; `selvage vip list` shows them", address);
	else if (!node)
		status = error_set(&error, EBUSY, "no other node may own %s: %s is alone", address, daemon->config->node_name);
	else if (strcmp(node, daemon->config->node_name) != 0)
		status = error_set(&error, ENOENT, "there is no node %s; the only one is %s", node, daemon->config->node_name);
	if (status < 0) {
		api_action_done(action, status, &error);
		return;
	}
	snprintf(key, sizeof(key), CATALOGUE_PINS "%s", address);
	store_put(daemon->store, key, store_text(node), 0, action_stored, action);
}

/* --- addresses into status --------------------------------------------------------------------------------------------- */

static bool ingress_equal(const struct service *service, const struct ipam_assignment *assignment)
{
	if (service->ingress.count != assignment->count)
		return false;
	for (size_t i = 0; i < assignment->count; i++) {
		if (!address_list_contains(&service->ingress, &assignment->addresses[i]))
			return false;
	}
	return true;
}

static void status_stored(void *context, int status, const struct store_result *result, const struct error *error)
{
	/* a writer was quicker: the watch tells what it wrote, and the next reconcile tries again */
	if (status < 0 && status != -ECANCELED)
		log_error("writing a service's addresses: %s", error->text);
}

static void ingress_store(struct daemon *daemon, const struct ipam_assignment *assignment)
{
	const struct object *object = assignment->service;
	json_t *json = json_deep_copy(object->raw), *status, *ingress = json_array();
	char key[REGISTRY_KEY_SIZE], address[ADDRESS_TEXT_SIZE];
	_cleanup_(freep) char *value = NULL;
	struct store_transaction transaction;
	struct store_compare compare;
	struct store_step step;

	for (size_t i = 0; i < assignment->count; i++)
		json_array_append_new(ingress, json_pack("{s:s, s:s}", "ip", address_format(&assignment->addresses[i], address),
							 "ipMode", "VIP"));
	status = json_object_get(json, "status");
	if (!json_is_object(status)) {
		status = json_object();
		json_object_set_new(json, "status", status);
	}
	json_object_set_new(status, "loadBalancer", json_pack("{s:o}", "ingress", ingress));
	value = registry_value(json);
	json_decref(json);
	if (!value || registry_key(object_kind_info(object->kind), object->meta.namespace_name, object->meta.name, key) < 0)
		return;
	compare = (struct store_compare){.kind = STORE_COMPARE_MOD_REVISION, .key = key, .number = object->meta.resource_version};
	step = (struct store_step){.kind = STORE_PUT, .key = key, .value = store_text(value)};
	transaction = (struct store_transaction){.compares = &compare, .compare_count = 1, .then_steps = &step, .then_count = 1};
	store_transact(daemon->store, &transaction, status_stored, daemon);
}

void daemon_assignments_store(struct daemon *daemon)
{
	const struct ipam_result *assignments = &daemon->result.assignments;

	for (size_t i = 0; i < assignments->count; i++) {
		if (!ingress_equal(&assignments->items[i].service->service, &assignments->items[i]))
			ingress_store(daemon, &assignments->items[i]);
	}
}

/* --- explain and trace ------------------------------------------------------------------------------------------------- */

static json_t *explanation_json(struct daemon *daemon, uint32_t ifindex, const struct edge_explanation *explanation)
{
	const struct decision *decision = &explanation->decision;
	const char *service = daemon_service_name(daemon, decision->service);
	const char *backend = daemon_backend_name(daemon, decision->backend);
	const char *out_interface = decision->ifindex ? daemon_interface_name(daemon, decision->ifindex) : NULL;
	json_t *steps = json_array(), *json;
	char *hex = memory_or_end(calloc(1, 2 * explanation->out_length + 1));

	for (size_t i = 0; i < explanation->out_length; i++)
		sprintf(hex + 2 * i, "%02x", explanation->out[i]);
	for (size_t i = 0; i < explanation->step_count; i++)
		json_array_append_new(steps, json_string(explanation->steps[i]));
	json = json_pack("{s:s, s:s, s:o, s:o, s:s, s:o}", "verdict", verdict_name(decision->verdict), "function",
			 function_name(decision->function), "reason",
			 decision->reason ? json_string(drop_name(decision->reason)) : json_null(), "sentence",
			 decision->reason ? json_string(drop_sentence(decision->reason)) : json_null(), "interface",
			 daemon_interface_name(daemon, ifindex), "steps", steps);
	if (decision->verdict == VERDICT_DROP)
		json_object_set_new(json, "advice", json_string(drop_advice(decision->reason)));
	if (service)
		json_object_set_new(json, "service", json_string(service));
	if (backend)
		json_object_set_new(json, "backend", json_string(backend));
	if (out_interface)
		json_object_set_new(json, "outInterface", json_string(out_interface));
	if (explanation->out_length)
		json_object_set_new(json, "out", json_string(hex));
	free(hex);
	return json;
}

static const struct daemon_interface *interface_choose(const struct daemon *daemon, const char *name)
{
	for (size_t i = 0; i < daemon->interface_count; i++) {
		if (daemon->interfaces[i].ifindex && (!name || strcmp(daemon->interfaces[i].name, name) == 0))
			return &daemon->interfaces[i];
	}
	return NULL;
}

/* The one that packets from the address come in by, as far as routes tell; NULL when it is none of ours. */
static const struct daemon_interface *interface_towards(const struct daemon *daemon, const struct address *source)
{
	const struct route_row *route = route_find(programmer_tables(daemon->programmer)->routes, source);

	for (size_t i = 0; route && i < daemon->interface_count; i++) {
		if (daemon->interfaces[i].ifindex && daemon->interfaces[i].ifindex == route->egress.ifindex)
			return &daemon->interfaces[i];
	}
	return NULL;
}

/* A packet of the flow as it would come in: to the interface's hardware address, from a neighbour's if it is known. */
static size_t flow_frame(const struct daemon *daemon, const struct daemon_interface *interface, const struct api_explain_flow *flow,
			 uint8_t ret_bytes[static EDGE_FRAME_SIZE])
{
	const struct edge_tables *tables = programmer_tables(daemon->programmer);
	const struct route_row *route = route_find(tables->routes, &flow->source);
	uint16_t vlan = route && route->egress.ifindex == interface->ifindex ? route->egress.vlan : 0;
	const struct link_row *link = link_find(tables->links, interface->ifindex, vlan);
	const struct prefix source = {.address = flow->source};
	struct edge_frame frame = {
		.source_mac = neighbour_find(tables->neighbours, &flow->source, neighbour_link(interface->ifindex, vlan)),
		.destination_mac = link ? link->mac : 0,
		.vlan = vlan,
		.protocol = flow->protocol,
		.ipv6 = !prefix_family_ipv4(&source),
		.established = flow->established,
		.source = flow->source,
		.destination = flow->destination,
		.source_port = flow->source_port,
		.destination_port = flow->destination_port,
	};

	if (!frame.source_mac)
		frame.source_mac = mac_word((const uint8_t[6]){2, 0, 0, 0, 0, 1});
	return edge_frame_write(&frame, ret_bytes);
}

json_t *daemon_explain(void *context, const struct api_explain_question *question, struct error *error)
{
	struct daemon *daemon = context;
	const struct daemon_interface *interface =
		question->flow && !question->interface ? interface_towards(daemon, &question->flow->source) : NULL;
	struct edge_names names = {daemon, daemon_interface_name, daemon_service_name, daemon_backend_name};
	struct edge_explanation explanation;
	uint8_t bytes[EDGE_FRAME_SIZE];
	const uint8_t *frame = question->bytes;
	size_t length = question->length, wire_length = question->wire_length;
	json_t *json;

	if (!interface)
		interface = interface_choose(daemon, question->interface);
	if (!interface) {
		error_set(error, ENOENT, question->interface ? "%s is no interface of the packet program; `selvage status` lists them" :
							       "the packet program runs on no interface%s",
			  question->interface ? question->interface : "");
		return NULL;
	}
	if (question->flow) {
		frame = bytes;
		length = wire_length = flow_frame(daemon, interface, question->flow, bytes);
	}
	if (edge_explain(programmer_tables(daemon->programmer), interface->ifindex, programmer_epoch(daemon->programmer),
			 programmer_now_ms(daemon->programmer), frame, length, wire_length, &names, &explanation, error) < 0)
		return NULL;
	json = explanation_json(daemon, interface->ifindex, &explanation);
	edge_explanation_done(&explanation);
	return json;
}

/* A rate of packets a second as the packet program counts them. */
static uint32_t trace_limit(uint32_t rate)
{
	uint64_t limit = ((uint64_t)rate * EDGE_TRACE_TICK_MS + 999) / 1000;

	return rate && !limit ? 1 : (uint32_t)limit;
}

int daemon_trace_set(void *context, const struct api_trace_filter *filter, struct error *error)
{
	struct daemon *daemon = context;
	struct edge_config *config = programmer_tables(daemon->programmer)->config;

	/* off while the filter is half written */
	store_once(config->trace, 0);
	config->trace_protocol = filter->protocol;
	config->trace_port = filter->port;
	config->trace_address = filter->address;
	config->trace_snaplen = filter->snaplen;
	config->trace_limit = trace_limit(filter->rate);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	store_once(config->trace, filter->flags);
	return 0;
}

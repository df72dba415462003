/* SPDX-License-Identifier: Apache-2.0 */
/* What the API shows of the daemon; the shapes are api.h's. */
#include <stdio.h>
#include <string.h>

#include "ctrl/daemon/sessions.h"

static json_t *text_list(const char *joined)
{
	json_t *list = json_array();
	const char *place = joined;

	while (*place) {
		size_t length = strcspn(place, ",");

		json_array_append_new(list, json_stringn(place, length));
		place += length;
		place += strspn(place, ", ");
	}
	return list;
}

static json_t *vip_json(const struct daemon *daemon, const struct reconcile_vip *vip)
{
	bool local = strcmp(vip->owner, daemon->config->node_name) == 0;
	const char *message = "";
	char text[ADDRESS_TEXT_SIZE];

	if (vip->cluster_ip)
		message = "for local workloads; not announced";
	else if (!vip->announced)
		message = "no L2Advertisement covers its pool";
	else if (local && !*vip->interfaces)
		message = "no interface of this node may announce it";
	return json_pack("{s:s, s:o, s:b, s:o, s:s, s:o, s:s}", "address", address_format(&vip->address, text), "owner",
			 *vip->owner ? json_string(vip->owner) : json_null(), "local", local, "interfaces",
			 text_list(vip->interfaces), "pool", vip->pool, "services", text_list(vip->services), "message", message);
}

json_t *daemon_view_vips(void *context)
{
	const struct daemon *daemon = context;
	uint64_t now_ms = clock_now_ms(&clock_system);
	json_t *list = json_array();

	for (size_t i = 0; i < daemon->result.vip_count; i++) {
		json_t *vip = vip_json(daemon, &daemon->result.vips[i]);

		if (i < daemon->ownership_count && *daemon->ownerships[i].owner)
			json_object_set_new(vip, "sinceSeconds",
					    json_integer((json_int_t)((now_ms - daemon->ownerships[i].since_ms) / 1000)));
		json_array_append_new(list, vip);
	}
	return list;
}

static const char *service_type_name(enum service_type type)
{
	static const char *const names[] = {[SERVICE_CLUSTER_IP] = "ClusterIP",
					    [SERVICE_LOAD_BALANCER] = "LoadBalancer",
					    [SERVICE_NODE_PORT] = "NodePort",
					    [SERVICE_EXTERNAL_NAME] = "ExternalName"};

	return names[type];
}

static json_t *ports_json(const struct service *service)
{
	json_t *list = json_array();

	for (size_t i = 0; i < service->port_count; i++) {
		const struct service_port *port = &service->ports[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:i}", "name", port->name, "protocol",
						      protocol_name_text(port->protocol), "port", port->port, "portLast",
						      port->port_last));
	}
	return list;
}

/* Sums over the rows of an object: one for each port and address. */
struct service_sums {
	json_t *addresses;
	uint64_t flows, packets, bytes;
	size_t total, healthy, draining;
};

static void address_add(json_t *addresses, const char *text)
{
	size_t i;
	json_t *item;

	json_array_foreach(addresses, i, item) {
		if (strcmp(json_string_value(item), text) == 0)
			return;
	}
	json_array_append_new(addresses, json_string(text));
}

static void service_sum(const struct daemon *daemon, const struct object *object, struct service_sums *sums)
{
	const struct reconcile_result *result = &daemon->result;
	const struct service_port *counted_port = NULL;

	for (size_t i = 0; i < result->service_count; i++) {
		const struct reconcile_service *service = &result->services[i];
		const struct lb_service_wanted *wanted = &result->wanted.services[service->wanted];
		struct edge_service_status status;
		char text[ADDRESS_TEXT_SIZE];

		if (service->object != object)
			continue;
		address_add(sums->addresses, address_format(&wanted->address, text));
		if (edge_program_service_status(programmer_program(daemon->programmer), wanted, &status)) {
			sums->flows += status.flows;
			sums->packets += status.count.packets + status.count.answers;
			sums->bytes += status.count.bytes;
		}
		/* every port has the same endpoints: those of the first one are counted, of each family */
		if (!counted_port)
			counted_port = service->port;
		if (service->port != counted_port)
			continue;
		for (size_t b = 0; b < service->backend_count; b++) {
			sums->total++;
			sums->healthy += service->backends[b].state == LB_BACKEND_UP;
			sums->draining += service->backends[b].state == LB_BACKEND_DRAINING;
		}
	}
}

static json_t *service_json(const struct daemon *daemon, const struct object *object)
{
	const struct ipam_assignment *assignment = ipam_result_lookup(&daemon->result.assignments,
								      object->meta.namespace_name, object->meta.name);
	struct service_sums sums = {.addresses = json_array()};
	json_t *json;

	service_sum(daemon, object, &sums);
	json = json_pack("{s:s, s:s, s:s, s:o, s:o, s:s, s:{s:i, s:i, s:i}, s:I, s:I, s:s}", "namespace",
			 object->meta.namespace_name, "name", object->meta.name, "type",
			 service_type_name(object->service.type), "addresses", sums.addresses, "ports",
			 ports_json(&object->service), "forwarding",
			 service_forwarding_name(object->service.forwarding), "backends", "total",
			 (int)sums.total, "healthy", (int)sums.healthy, "draining", (int)sums.draining, "packets", (json_int_t)sums.packets, "bytes", (json_int_t)sums.bytes,
			 "message", assignment && assignment->refusal ? assignment->refusal : "");
	if (daemon->flows_known)
		json_object_set_new(json, "flows", json_integer((json_int_t)sums.flows));
	return json;
}

json_t *daemon_view_services(void *context)
{
	const struct daemon *daemon = context;
	json_t *list = json_array();
	size_t count;
	const struct object *const *objects = catalogue_objects(daemon->catalogue, &count);

	for (size_t i = 0; i < count; i++) {
		if (objects[i]->kind == OBJECT_SERVICE)
			json_array_append_new(list, service_json(daemon, objects[i]));
	}
	return list;
}

/* One whose next hop is being asked for is treated like a draining one, which is not what the operator would call it. */
static const char *state_name(const struct reconcile_backend *backend)
{
	static const char *const names[] = {[LB_BACKEND_FREE] = "unknown",
					    [LB_BACKEND_UP] = "up",
					    [LB_BACKEND_DRAINING] = "draining",
					    [LB_BACKEND_DOWN] = "down"};

	if (backend->state == LB_BACKEND_DRAINING && backend->next_hop == NETWORK_NEXT_HOP_UNRESOLVED)
		return "unknown";
	return names[backend->state];
}

static const struct health_report *report_find(const struct health_report *reports, size_t count,
					       const struct reconcile_backend *backend)
{
	for (size_t i = 0; i < count; i++) {
		if (reports[i].port == backend->port && address_equal(&reports[i].address, &backend->address) &&
		    strcmp(reports[i].service, backend->service) == 0)
			return &reports[i];
	}
	return NULL;
}

static json_t *backend_json(const struct daemon *daemon, const struct reconcile_service *service,
			    const struct reconcile_backend *backend, const struct lb_backend_wanted *row,
			    const struct health_report *report)
{
	const struct lb_service_wanted *wanted = &daemon->result.wanted.services[service->wanted];
	struct edge_backend_status status = {0};
	struct edge_service_status totals = {0};
	char address[ADDRESS_TEXT_SIZE], vip[ADDRESS_TEXT_SIZE], port[32];
	json_t *json;

	(void)edge_program_backend_status(programmer_program(daemon->programmer), wanted, row, &status);
	(void)edge_program_service_status(programmer_program(daemon->programmer), wanted, &totals);
	snprintf(port, sizeof(port), "%u/%s", service->port->port, protocol_name_text(service->port->protocol));
	json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:b, s:i, s:f, s:I, s:I, s:s}", "namespace",
			 service->object->meta.namespace_name, "service", service->object->meta.name, "servicePort", port,
			 "vip", address_format(&wanted->address, vip), "address", address_format(&backend->address, address),
			 "port", backend->port, "state", state_name(backend), "drained",
			 status.drained && status.state == LB_BACKEND_DRAINING, "weight", backend->weight, "share",
			 totals.ring_slots ? (double)status.slots / totals.ring_slots : 0.0, "packets", (json_int_t)status.count.packets, "bytes",
			 (json_int_t)status.count.bytes, "nextHop", network_next_hop_state_text(backend->next_hop));
	if (status.flows_known)
		json_object_set_new(json, "flows", json_integer((json_int_t)status.flows));
	json_object_set_new(json, "reason",
			    json_string(*backend->reason ? backend->reason : report ? report->last_reason : ""));
	if (!report)
		return json;
	json_object_set_new(json, "check", json_string(health_check_type_name(report->type)));
	json_object_set_new(json, "sinceSeconds", json_integer((json_int_t)(report->state_age_ms / 1000)));
	json_object_set_new(json, "latencyUs", json_integer(report->last_latency_us));
	json_object_set_new(json, "detectMs", json_integer((json_int_t)report->detect_ms));
	return json;
}

json_t *daemon_view_backends(void *context, const char *namespace_name, const char *service_name)
{
	const struct daemon *daemon = context;
	const struct reconcile_result *result = &daemon->result;
	struct health_report *reports = NULL;
	size_t report_count = 0, object_count;
	const struct object *const *objects = catalogue_objects(daemon->catalogue, &object_count);
	json_t *list = json_array();
	bool found = service_name == NULL;

	for (size_t i = 0; service_name && i < object_count; i++)
		found |= objects[i]->kind == OBJECT_SERVICE && strcmp(objects[i]->meta.name, service_name) == 0 &&
			 strcmp(objects[i]->meta.namespace_name, namespace_name) == 0;
	if (!found) {
		json_decref(list);
		return NULL;
	}
	if (health_snapshot(daemon->health, &reports, &report_count, NULL) < 0)
		report_count = 0;
	for (size_t i = 0; i < result->service_count; i++) {
		const struct reconcile_service *service = &result->services[i];
		const struct lb_service_wanted *wanted = &result->wanted.services[service->wanted];

		if (service_name && (strcmp(service->object->meta.name, service_name) != 0 ||
				     strcmp(service->object->meta.namespace_name, namespace_name) != 0))
			continue;
		for (size_t b = 0; b < service->backend_count; b++)
			json_array_append_new(list, backend_json(daemon, service, &service->backends[b],
								 &wanted->backends[b],
								 report_find(reports, report_count, &service->backends[b])));
	}
	free(reports);
	return list;
}

static json_t *drops_json(const struct daemon *daemon, bool all)
{
	json_t *list = json_array();
	struct edge_totals totals;

	edge_program_totals(programmer_program(daemon->programmer), &totals);
	for (int reason = DROP_NONE + 1; reason < DROP_COUNT; reason++) {
		if (all || totals.drops[reason])
			json_array_append_new(list, daemon_drop_json((enum drop_reason)reason, totals.drops[reason]));
	}
	return list;
}

json_t *daemon_view_drops(void *context)
{
	return drops_json(context, true);
}

static json_t *interface_json(const struct daemon *daemon, const struct daemon_interface *interface)
{
	const struct network_link *link = network_link_find(network_follow_get(daemon->follow), interface->ifindex);
	json_t *addresses = json_array();
	char text[ADDRESS_TEXT_SIZE], mac[MAC_TEXT_SIZE];

	for (size_t i = 0; link && i < link->address_count; i++)
		json_array_append_new(addresses, json_sprintf("%s/%u", address_format(&link->addresses[i].address, text),
							      link->addresses[i].length));
	return json_pack("{s:s, s:s, s:s, s:b, s:s, s:o, s:b, s:s}", "name", interface->name, "engine", interface->engine,
			 "wanted", interface->wanted, "up", link && link->up && link->carrier, "mac",
			 link ? mac_format(link->mac, mac) : "", "addresses", addresses, "workload", interface->workload,
			 "message", interface->message);
}

json_t *daemon_view_status(void *context)
{
	struct daemon *daemon = context;
	uint64_t now_ms = clock_now_ms(&clock_system);
	json_t *interfaces = json_array(), *alarms = json_array(), *status;

	for (size_t i = 0; i < daemon->interface_count; i++)
		json_array_append_new(interfaces, interface_json(daemon, &daemon->interfaces[i]));
	for (size_t i = 0; i < daemon->alarm_count; i++)
		json_array_append_new(alarms,
				      json_pack("{s:s, s:s, s:I}", "severity", "warning", "text", daemon->alarms[i].text,
						"sinceSeconds", (json_int_t)((now_ms - daemon->alarms[i].since_ms) / 1000)));
	status = json_pack("{s:s, s:s, s:I, s:I, s:b, s:I, s:o, s:o, s:o, s:o, s:o}", "node", daemon->config->node_name,
			   "version", SELVAGE_VERSION, "uptimeSeconds", (json_int_t)((now_ms - daemon->started_ms) / 1000),
			   "revision", (json_int_t)catalogue_revision(daemon->catalogue), "ready",
			   daemon->reconciled && !daemon->apply_failed, "tableChanges", (json_int_t)daemon->applies_total,
			   "interfaces", interfaces, "vips", daemon_view_vips(daemon), "services",
			   daemon_view_services(daemon), "drops", drops_json(daemon, false), "alarms", alarms);
	json_object_set_new(status, "sessions", daemon_sessions_status(daemon->sessions));
	if (daemon->dns) {
		struct edge_totals totals;

		edge_program_totals(programmer_program(daemon->programmer), &totals);
		json_object_set_new(status, "dns", dns_link_status(daemon->dns, totals.dns));
	}
	if (daemon->flows_known)
		json_object_set_new(status, "flows", json_integer((json_int_t)daemon->flows));
	return status;
}

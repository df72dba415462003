/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/program/dns_wanted.h"

#include <string.h>

#include "base/lib/arena.h"
#include "base/lib/memory.h"
#include "ctrl/program/reconcile_work.h"

struct collector {
	const struct dns_wanted_input *input;
	struct arena *arena;
	LIST(struct names_service) services;
	LIST(const char *) namespaces;
};

typedef LIST(struct names_endpoint) endpoint_list;

/* --- names of services ----------------------------------------------------------------------------------------------------- */

/* Down by any check of the service, whatever its port. */
static bool address_is_down(const struct dns_wanted_input *input, const struct object *service, const struct address *address)
{
	char key[520];
	size_t length;

	snprintf(key, sizeof(key), "%s/%s:", service->meta.namespace_name, service->meta.name);
	length = strlen(key);
	for (size_t i = 0; i < input->health_count; i++)
		if (input->health[i].state == HEALTH_DOWN && strncmp(input->health[i].service, key, length) == 0 &&
		    address_equal(&input->health[i].address, address))
			return true;
	return false;
}

static const struct names_port *ports_make(struct collector *collector, const struct endpoint_port *ports, size_t count)
{
	struct names_port *own = arena_array(collector->arena, count + 1, sizeof(*own));

	for (size_t i = 0; i < count; i++)
		own[i] = (struct names_port){ports[i].name, ports[i].protocol == PROTOCOL_NAME_UDP ? "udp" : "tcp", ports[i].port};
	return own;
}

static void endpoints_add(struct collector *collector, const struct object *service, const struct endpoint *endpoints, size_t count,
			  const struct endpoint_port *ports, size_t port_count, endpoint_list *list)
{
	const struct names_port *own = ports_make(collector, ports, port_count);

	for (size_t i = 0; i < count; i++) {
		const struct endpoint *endpoint = &endpoints[i];

		if (!endpoint->addresses.count || (!endpoint->ready && !service->service.publish_not_ready_addresses) ||
		    address_is_down(collector->input, service, &endpoint->addresses.items[0]))
			continue;
		*list_push(collector->arena, list) =
			(struct names_endpoint){endpoint->addresses.items[0], endpoint->hostname, own, port_count};
	}
}

static void headless_fill(struct collector *collector, const struct object *object, struct names_service *service)
{
	endpoint_list list = {0};

	for (size_t i = 0; i < collector->input->object_count; i++) {
		const struct object *other = collector->input->objects[i];

		if (strcmp(other->meta.namespace_name, object->meta.namespace_name) != 0)
			continue;
		if (other->kind == OBJECT_ENDPOINT_SLICE && strcmp(other->endpoint_slice.service_name, object->meta.name) == 0 &&
		    !other->endpoint_slice.of_names)
			endpoints_add(collector, object, other->endpoint_slice.endpoints, other->endpoint_slice.endpoint_count,
				      other->endpoint_slice.ports, other->endpoint_slice.port_count, &list);
		for (size_t k = 0; other->kind == OBJECT_ENDPOINTS && strcmp(other->meta.name, object->meta.name) == 0 &&
				   k < other->endpoints.subset_count;
		     k++) {
			const struct endpoint_subset *subset = &other->endpoints.subsets[k];

			endpoints_add(collector, object, subset->endpoints, subset->endpoint_count, subset->ports,
				      subset->port_count, &list);
		}
	}
	service->headless = true;
	service->endpoints = list.items;
	service->endpoint_count = list.count;
}

/* Its cluster addresses; without any, the virtual IPs that it has. */
static void addresses_fill(struct collector *collector, const struct object *object, struct names_service *service)
{
	const struct service *own = &object->service;
	const struct ipam_assignment *assignment = collector->input->assignments ?
		ipam_result_lookup(collector->input->assignments, object->meta.namespace_name, object->meta.name) : NULL;
	struct names_port *ports = arena_array(collector->arena, own->port_count + 1, sizeof(*ports));

	for (size_t i = 0; i < own->port_count; i++)
		ports[i] = (struct names_port){own->ports[i].name, own->ports[i].protocol == PROTOCOL_NAME_UDP ? "udp" : "tcp",
					       own->ports[i].port};
	service->ports = ports;
	service->port_count = own->port_count;
	service->addresses = own->cluster_ips.items;
	service->address_count = own->cluster_ips.count;
	/* an address that is shared is no one's */
	service->reverse = service->address_count || !*own->allow_shared_ip;
	if (!service->address_count && assignment) {
		service->addresses = arena_copy(collector->arena, assignment->addresses, assignment->count * sizeof(struct address));
		service->address_count = assignment->count;
	}
}

static void service_collect(struct collector *collector, const struct object *object)
{
	struct names_service *service = list_push(collector->arena, &collector->services);
	const char *external = json_string_value(json_object_get(json_object_get(object->raw, "spec"), "externalName"));

	service->name = object->meta.name;
	service->namespace_name = object->meta.namespace_name;
	service->external_name = object->service.type == SERVICE_EXTERNAL_NAME && external ? external : "";
	if (object->service.headless)
		headless_fill(collector, object, service);
	else
		addresses_fill(collector, object, service);
}

void dns_names_wanted(const struct dns_wanted_input *input, struct names_result *ret_names)
{
	struct arena *arena = arena_new();
	struct collector collector = {.input = input, .arena = arena};
	struct names_input names = {.zone = input->zone, .servers = input->servers, .server_count = input->server_count};

	for (size_t i = 0; i < input->object_count; i++) {
		if (input->objects[i]->kind == OBJECT_SERVICE)
			service_collect(&collector, input->objects[i]);
		else if (input->objects[i]->kind == OBJECT_NAMESPACE)
			*list_push(arena, &collector.namespaces) = input->objects[i]->meta.name;
	}
	names.services = collector.services.items;
	names.service_count = collector.services.count;
	names.namespaces = collector.namespaces.items;
	names.namespace_count = collector.namespaces.count;
	names_make(&names, ret_names);
	arena_free(arena);
}

/* --- policies ---------------------------------------------------------------------------------------------------------------- */

static const struct steering_report *report_of(const struct steering_policy *policy, const char *site)
{
	for (size_t i = 0; i < policy->report_count; i++)
		if (strcmp(policy->reports[i].name, site) == 0)
			return &policy->reports[i];
	return NULL;
}

/* What this node's own check says; without one, or as long as it has not ended, what others report. */
static const char *address_health(const struct dns_wanted_input *input, const struct object *object,
				  const struct steering_report *report, const struct address *address)
{
	char key[560];

	snprintf(key, sizeof(key), RECONCILE_STEERING_KEY "%s/%s", object->meta.namespace_name, object->meta.name);
	/* somebody who knows that a site is to be left is believed, whatever is seen from here */
	if (report && report->healthy_given && !report->healthy)
		return "down";
	for (size_t i = 0; i < input->health_count; i++) {
		const struct health_report *health = &input->health[i];

		if (strcmp(health->service, key) == 0 && address_equal(&health->address, address) && health->state != HEALTH_UNKNOWN)
			return health->state == HEALTH_DOWN ? "down" : "up";
	}
	return report && report->healthy_given ? "up" : NULL;
}

static void texts_append(json_t *list, const struct string_list *texts)
{
	for (size_t i = 0; i < texts->count; i++)
		json_array_append_new(list, json_string(texts->items[i]));
}

static json_t *site_json(const struct dns_wanted_input *input, const struct object *object, const struct steering_site *site)
{
	const struct steering_report *report = report_of(&object->steering_policy, site->name);
	json_t *addresses = json_array(), *places = json_array(), *prefixes = json_array(), *json;

	for (size_t i = 0; i < site->addresses.count; i++) {
		char text[ADDRESS_TEXT_SIZE];

		json_array_append_new(addresses,
				      json_pack("{s:s, s:s*}", "address", address_format(&site->addresses.items[i], text), "health",
						address_health(input, object, report, &site->addresses.items[i])));
	}
	texts_append(places, &site->continents);
	texts_append(places, &site->countries);
	texts_append(places, &site->subdivisions);
	for (size_t i = 0; i < site->prefix_count; i++) {
		char text[ADDRESS_TEXT_SIZE], whole[ADDRESS_TEXT_SIZE + 8];

		snprintf(whole, sizeof(whole), "%s/%u", address_format(&site->prefixes[i].address, text), site->prefixes[i].length);
		json_array_append_new(prefixes, json_string(whole));
	}
	json = json_pack("{s:s, s:i, s:i, s:o, s:o, s:o, s:f, s:f}", "name", site->name, "weight", (int)site->weight, "order",
			 (int)site->order, "addresses", addresses, "places", places, "prefixes", prefixes, "loadLow", site->load_low,
			 "loadHigh", site->load_high);
	if (report && report->load >= 0)
		json_object_set_new(json, "load", json_real(report->load));
	return json;
}

static json_t *policy_json(const struct dns_wanted_input *input, const struct object *object)
{
	const struct steering_policy *policy = &object->steering_policy;
	json_t *sites = json_array(), *servers = json_array(), *json;
	char name[520];

	for (size_t i = 0; i < policy->site_count; i++)
		json_array_append_new(sites, site_json(input, object, &policy->sites[i]));
	texts_append(servers, &policy->name_servers);
	snprintf(name, sizeof(name), "%s/%s", object->meta.namespace_name, object->meta.name);
	json = json_pack("{s:s, s:s, s:i, s:i, s:o, s:o}", "name", name, "host", policy->host, "ttl", (int)policy->ttl,
			 "minHealthyPercent", (int)policy->healthy_percent, "nameServers", servers, "sites", sites);
	if (*policy->contact)
		json_object_set_new(json, "contact", json_string(policy->contact));
	return json;
}

bool dns_host_is_steerable(const char *zone, const char *host)
{
	struct dns_name zone_name, host_name;

	return dns_name_parse(zone, &zone_name) < 0 || dns_name_parse(host, &host_name) < 0 ||
	       (!dns_name_within(&host_name, &zone_name) && !dns_name_within(&zone_name, &host_name));
}

json_t *dns_policies_wanted(const struct dns_wanted_input *input)
{
	json_t *policies = json_array();

	for (size_t i = 0; i < input->object_count; i++)
		if (input->objects[i]->kind == OBJECT_STEERING_POLICY &&
		    dns_host_is_steerable(input->zone, input->objects[i]->steering_policy.host))
			json_array_append_new(policies, policy_json(input, input->objects[i]));
	return policies;
}

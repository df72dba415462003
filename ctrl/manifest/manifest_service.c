/* SPDX-License-Identifier: Apache-2.0 */
/* v1 Service. */
#include <string.h>

#include "ctrl/manifest/manifest_kinds.h"

#define SERVICE_PORTS_MAX 1000
#define AFFINITY_SECONDS_DEFAULT 10800 /* Kubernetes' own */

/* --- ports ------------------------------------------------------------------------------------------------------------- */

static void port_name_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	const char **name = target;

	field_text(decoder, node, name);
	if (**name && name_check_label(*name))
		decoder_error(decoder, node, "\"%.80s\" %s", *name, name_check_label(*name));
}

static void target_port_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct service_port *port = target;
	bool text = node->kind == YAML_SCALAR && scalar_type(node) == SCALAR_TEXT;

	if (!text) {
		field_port_number(decoder, node, &port->target_port);
		return;
	}
	field_text(decoder, node, &port->target_port_name);
	if (strlen(port->target_port_name) > 15 || name_check_label(port->target_port_name) ||
	    !strpbrk(port->target_port_name, "abcdefghijklmnopqrstuvwxyz"))
		decoder_error(decoder, node,
			      "must be a number without quotes, or a port's name: up to 15 of a-z, 0-9 and \"-\", "
			      "with a letter; not \"%.80s\"",
			      port->target_port_name);
}

static void node_port_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	int64_t value;

	if (!node_integer(decoder, node, 0, UINT16_MAX, &value))
		return;
	*(uint16_t *)target = (uint16_t)value;
	if (value)
		decoder_warning(decoder, node, "is kept but has no effect: no node port is opened");
}

/* Names with our prefix are ours; all others are kept and mean nothing here, as in Kubernetes. */
static void app_protocol_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	const char **name = target;

	field_text(decoder, node, name);
	if (strncmp(*name, "selvage.io/", 11) == 0 && strcmp(*name, APP_PROTOCOL_WEBRTC) != 0)
		decoder_error(decoder, node, "\"%.80s\" is not known; the one with this prefix is " APP_PROTOCOL_WEBRTC, *name);
}

static const struct field port_fields[] = {
	FIELD("name", port_name_read, struct service_port, name),
	FIELD("protocol", field_protocol, struct service_port, protocol),
	FIELD_REQUIRED("port", field_port_number, struct service_port, port),
	FIELD_WHOLE("targetPort", target_port_read),
	FIELD("nodePort", node_port_read, struct service_port, node_port),
	FIELD("appProtocol", app_protocol_read, struct service_port, app_protocol),
};

static void port_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct service_port *port = target;

	*port = (struct service_port){.name = "", .protocol = PROTOCOL_TCP, .target_port_name = "", .app_protocol = ""};
	fields_read(decoder, node, port_fields, array_length(port_fields), port);
	port->port_last = port->port;
	if (!port->target_port && !*port->target_port_name)
		port->target_port = port->port;
	if (service_port_is_webrtc(port) && port->protocol != PROTOCOL_NAME_UDP)
		decoder_error(decoder, yaml_lookup(node, "appProtocol"), APP_PROTOCOL_WEBRTC " needs protocol: UDP");
}

static void port_pair_check(struct decoder *decoder, const struct yaml_node *node, const struct service_port *port,
			    const struct service_port *other, size_t other_index)
{
	const struct yaml_node *name = yaml_lookup(node, "name"), *number = yaml_lookup(node, "port");

	if (port->port && port->port == other->port && port->protocol == other->protocol)
		decoder_error(decoder, number ? number : node, "the port %u/%s is in ports[%zu] already", port->port,
			      protocol_name_text(port->protocol), other_index);
	if (*port->name && strcmp(port->name, other->name) == 0)
		decoder_error(decoder, name ? name : node, "the name \"%s\" is in ports[%zu] already", port->name,
			      other_index);
}

static void ports_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct service *service = target;

	if (node->kind == YAML_SEQUENCE && node->count > SERVICE_PORTS_MAX) {
		decoder_error(decoder, node, "has %zu ports and may have %d; use selvage.io/port-range for a range",
			      node->count, SERVICE_PORTS_MAX);
		return;
	}
	list_read(decoder, node, sizeof(*service->ports), port_read, &service->ports, &service->port_count);
	for (size_t i = 0; i < service->port_count; i++) {
		size_t path = decoder_enter_item(decoder, i);

		if (service->port_count > 1 && !*service->ports[i].name && node->items[i]->kind == YAML_MAPPING)
			decoder_error(decoder, node->items[i],
				      "needs a name: with more than one port, each has one (write \"name: …\")");
		for (size_t j = 0; j < i; j++)
			port_pair_check(decoder, node->items[i], &service->ports[i], &service->ports[j], j);
		decoder_leave(decoder, path);
	}
}

/* --- the other fields of spec ------------------------------------------------------------------------------------------ */

static void type_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	static const char *const words[] = {
		[SERVICE_CLUSTER_IP] = "ClusterIP",
		[SERVICE_LOAD_BALANCER] = "LoadBalancer",
		[SERVICE_NODE_PORT] = "NodePort",
		[SERVICE_EXTERNAL_NAME] = "ExternalName",
	};
	size_t index;

	if (!node_choice(decoder, node, words, array_length(words), &index))
		return;
	*(enum service_type *)target = (enum service_type)index;
	if (index == SERVICE_NODE_PORT)
		decoder_warning(decoder, node,
				"NodePort is handled as ClusterIP: no node port is opened; write LoadBalancer for an "
				"address from a pool");
}

/* The names of services are made from it (dns_wanted.h), which read the manifest; here it is checked alone. */
static void external_name_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	char name[256];
	const char *text, *wrong;
	size_t length;

	if (node->kind == YAML_NULL || !node_text(decoder, node, &text) || !*text)
		return;
	length = strlen(text);
	/* the root's dot may stand there, as in DNS */
	if (length > 1 && text[length - 1] == '.')
		length--;
	snprintf(name, sizeof(name), "%.*s", (int)length, text);
	wrong = name_check_host(name);
	if (wrong)
		decoder_error(decoder, node, "\"%.80s\" %s", text, wrong);
}

static void external_name_check(struct decoder *decoder, const struct yaml_node *spec, const struct service *service)
{
	const struct yaml_node *name = yaml_lookup(spec, "externalName");
	bool given = name && name->kind == YAML_SCALAR && name->length;

	if (service->type == SERVICE_EXTERNAL_NAME && !given)
		decoder_warning(decoder, spec, "spec.externalName is missing; without it the service has no name to lead to");
	if (service->type != SERVICE_EXTERNAL_NAME && given)
		decoder_warning(decoder, name, "spec.externalName has no effect: spec.type is not ExternalName");
}

static void cluster_ips_add(struct decoder *decoder, const struct yaml_node *node, struct service *service)
{
	struct address *items = arena_array(decoder->arena, service->cluster_ips.count + 1, sizeof(*items));
	struct address address = {0};

	if (node->kind == YAML_SCALAR && strcmp(node->text, "None") == 0) {
		service->headless = true;
		return;
	}
	if (node->kind == YAML_SCALAR && !node->length)
		return;
	field_address(decoder, node, &address);
	if (address_is_zero(&address) || address_list_contains(&service->cluster_ips, &address))
		return;
	if (service->cluster_ips.count)
		memcpy(items, service->cluster_ips.items, service->cluster_ips.count * sizeof(*items));
	items[service->cluster_ips.count] = address;
	service->cluster_ips = (struct address_list){.items = items, .count = service->cluster_ips.count + 1};
}

static void cluster_ip_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	cluster_ips_add(decoder, node, target);
}

static void cluster_ips_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	if (!node_is_list(decoder, node))
		return;
	if (node->count > 2) {
		decoder_error(decoder, node, "has %zu addresses; give one for each family", node->count);
		return;
	}
	for (size_t i = 0; i < node->count; i++) {
		size_t path = decoder_enter_item(decoder, i);

		cluster_ips_add(decoder, node->items[i], target);
		decoder_leave(decoder, path);
	}
}

static void load_balancer_ip_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct address address = {0};

	if (node->kind == YAML_SCALAR && !node->length)
		return;
	field_address(decoder, node, &address);
	if (!address_is_zero(&address))
		service_requested_add(decoder, node, target, &(struct address_list){.items = &address, .count = 1});
}

static void source_ranges_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct service *service = target;

	if (node->kind == YAML_SEQUENCE && node->count > SOURCE_RANGES_MAX) {
		decoder_error(decoder, node, "has %zu networks and may have %d", node->count, SOURCE_RANGES_MAX);
		return;
	}
	list_read(decoder, node, sizeof(*service->source_ranges), field_prefix, &service->source_ranges,
		  &service->source_range_count);
}

static void session_affinity_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	static const char *const words[] = {"None", "ClientIP"};
	uint32_t *timeout_seconds = target;
	size_t index;

	if (node_choice(decoder, node, words, array_length(words), &index))
		*timeout_seconds = index ? AFFINITY_SECONDS_DEFAULT : 0;
}

static void affinity_timeout_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	int64_t value;

	if (node_integer(decoder, node, 1, 86400, &value))
		*(uint32_t *)target = (uint32_t)value;
}

static const struct field client_ip_fields[] = {{.name = "timeoutSeconds", .read = affinity_timeout_read}};

static void client_ip_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	fields_read(decoder, node, client_ip_fields, array_length(client_ip_fields), target);
}

static const struct field affinity_fields[] = {{.name = "clientIP", .read = client_ip_read}};

/* Read after the other fields, because it counts only with sessionAffinity: ClientIP, which may stand behind it. */
static void affinity_config_read(struct decoder *decoder, const struct yaml_node *spec, struct service *service)
{
	const struct yaml_node *node = yaml_lookup(spec, "sessionAffinityConfig");
	uint32_t timeout_seconds = AFFINITY_SECONDS_DEFAULT;
	size_t path;

	if (!node || node->kind == YAML_NULL)
		return;
	path = decoder_enter_key(decoder, "sessionAffinityConfig");
	fields_read(decoder, node, affinity_fields, array_length(affinity_fields), &timeout_seconds);
	if (service->affinity_timeout_seconds)
		service->affinity_timeout_seconds = timeout_seconds;
	else
		decoder_warning(decoder, node, "has no effect without sessionAffinity: ClientIP");
	decoder_leave(decoder, path);
}

static void ip_family_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	static const char *const words[] = {"IPv4", "IPv6"};
	size_t index;

	if (node_choice(decoder, node, words, array_length(words), &index))
		*(enum ip_family *)target = index ? IP_FAMILY_IPV6 : IP_FAMILY_IPV4;
}

static void ip_families_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	enum ip_family *families = NULL;
	size_t count = 0;

	list_read(decoder, node, sizeof(*families), ip_family_read, &families, &count);
	if (count > 2 || (count == 2 && families[0] == families[1])) {
		decoder_error(decoder, node, "may hold IPv4 and IPv6, each once");
		return;
	}
	for (size_t i = 0; i < count; i++)
		service->ip_families[i] = families[i];
	service->ip_family_count = count;
}

static void ip_family_policy_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	static const char *const words[] = {
		[IP_FAMILY_SINGLE_STACK] = "SingleStack",
		[IP_FAMILY_PREFER_DUAL_STACK] = "PreferDualStack",
		[IP_FAMILY_REQUIRE_DUAL_STACK] = "RequireDualStack",
	};
	size_t index;

	if (node_choice(decoder, node, words, array_length(words), &index))
		*(enum ip_family_policy *)target = (enum ip_family_policy)index;
}

static void traffic_policy_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	static const char *const words[] = {[TRAFFIC_POLICY_CLUSTER] = "Cluster", [TRAFFIC_POLICY_LOCAL] = "Local"};
	size_t index;

	if (node_choice(decoder, node, words, array_length(words), &index))
		*(enum traffic_policy *)target = (enum traffic_policy)index;
}

static void selector_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct key_values *selector = target;

	field_text_map(decoder, node, selector);
	for (size_t i = 0; i < selector->count; i++)
		if (label_check_key(selector->items[i].key))
			decoder_error(decoder, node->keys[i], "the label's key \"%.80s\" %s", selector->items[i].key,
				      label_check_key(selector->items[i].key));
}

static const struct field spec_fields[] = {
	FIELD("type", type_read, struct service, type),
	FIELD_WHOLE("clusterIP", cluster_ip_read),
	FIELD_WHOLE("clusterIPs", cluster_ips_read),
	FIELD_WHOLE("loadBalancerIP", load_balancer_ip_read),
	FIELD("loadBalancerClass", field_text, struct service, load_balancer_class),
	FIELD_WHOLE("loadBalancerSourceRanges", source_ranges_read),
	FIELD_WHOLE("ports", ports_read),
	FIELD("selector", selector_read, struct service, selector),
	FIELD("sessionAffinity", session_affinity_read, struct service, affinity_timeout_seconds),
	FIELD_WHOLE("sessionAffinityConfig", field_keep), /* affinity_config_read() */
	FIELD_WHOLE("ipFamilies", ip_families_read),
	FIELD("ipFamilyPolicy", ip_family_policy_read, struct service, ip_family_policy),
	FIELD("externalTrafficPolicy", traffic_policy_read, struct service, external_traffic_policy),
	FIELD_WHOLE("externalName", external_name_read),
	FIELD("publishNotReadyAddresses", field_bool, struct service, publish_not_ready_addresses),
	FIELD_NOT_HONOURED("allocateLoadBalancerNodePorts"),
	FIELD_NOT_HONOURED("externalIPs"),
	FIELD_NOT_HONOURED("healthCheckNodePort"),
	FIELD_NOT_HONOURED("internalTrafficPolicy"),
	FIELD_NOT_HONOURED("trafficDistribution"),
};

static void spec_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	fields_read(decoder, node, spec_fields, array_length(spec_fields), target);
	if (node->kind == YAML_MAPPING)
		affinity_config_read(decoder, node, target);
}

/* --- status ------------------------------------------------------------------------------------------------------------ */

static const struct field ingress_fields[] = {
	{.name = "ip", .read = field_address},
	FIELD_WHOLE("ipMode", field_keep),
	FIELD_WHOLE("ports", field_keep),
	FIELD_NOT_HONOURED("hostname"),
};

static void ingress_item_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	fields_read(decoder, node, ingress_fields, array_length(ingress_fields), target);
}

static void ingress_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct address_list *ingress = target;
	struct address *items = NULL;
	size_t count = 0, used = 0;

	list_read(decoder, node, sizeof(*items), ingress_item_read, &items, &count);
	for (size_t i = 0; i < count; i++) /* those with a name only have no address */
		if (!address_is_zero(&items[i]))
			items[used++] = items[i];
	*ingress = (struct address_list){.items = items, .count = used};
}

static const struct field load_balancer_fields[] = {{.name = "ingress", .read = ingress_read}};

static void load_balancer_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	fields_read(decoder, node, load_balancer_fields, array_length(load_balancer_fields), target);
}

static const struct field status_fields[] = {
	FIELD("loadBalancer", load_balancer_read, struct service, ingress),
	FIELD_WHOLE("conditions", field_keep),
};

static void status_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	fields_read(decoder, node, status_fields, array_length(status_fields), target);
}

/* --- the whole --------------------------------------------------------------------------------------------------------- */

static const struct field service_fields[] = {
	FIELDS_OF_EVERY_KIND,
	{.name = "spec", .read = spec_read, .required = true},
	{.name = "status", .read = status_read},
};

static bool family_allowed(const struct service *service, const struct address *address)
{
	enum ip_family family = address_is_ipv4(address) ? IP_FAMILY_IPV4 : IP_FAMILY_IPV6;

	for (size_t i = 0; i < service->ip_family_count; i++)
		if (service->ip_families[i] == family)
			return true;
	/* what is not listed is open to dual stack, which adds the second family by itself */
	return service->ip_family_count == 0 ||
	       (service->ip_family_count == 1 && service->ip_family_policy != IP_FAMILY_SINGLE_STACK);
}

static void families_check(struct decoder *decoder, const struct yaml_node *spec, const char *field,
			   const struct service *service, const struct address_list *addresses)
{
	const struct yaml_node *place = yaml_lookup(spec, field);
	char text[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < addresses->count; i++)
		if (!family_allowed(service, &addresses->items[i]))
			decoder_error(decoder, place ? place : spec,
				      "spec.ipFamilies does not allow %s; add %s there or ask for another address",
				      address_format(&addresses->items[i], text),
				      address_is_ipv4(&addresses->items[i]) ? "IPv4" : "IPv6");
}

static void dual_stack_check(struct decoder *decoder, const struct yaml_node *spec, const struct service *service)
{
	const struct yaml_node *families = yaml_lookup(spec, "ipFamilies");
	const struct yaml_node *policy = yaml_lookup(spec, "ipFamilyPolicy");

	if (service->ip_family_count == 2 && policy && service->ip_family_policy == IP_FAMILY_SINGLE_STACK)
		decoder_error(decoder, families,
			      "spec.ipFamilies names two families and spec.ipFamilyPolicy is SingleStack; write "
			      "PreferDualStack or RequireDualStack");
}

static void ports_check(struct decoder *decoder, const struct yaml_node *spec, const struct service *service)
{
	if (!service->port_count && !service->headless && service->type != SERVICE_EXTERNAL_NAME &&
	    (!yaml_lookup(spec, "ports") || yaml_lookup(spec, "ports")->kind == YAML_NULL ||
	     (yaml_lookup(spec, "ports")->kind == YAML_SEQUENCE && yaml_lookup(spec, "ports")->count == 0)))
		decoder_error(decoder, spec, "spec.ports is missing; a service needs at least one port");
	if (service->headless && service->type == SERVICE_LOAD_BALANCER)
		decoder_error(decoder, spec, "spec.clusterIP: None and spec.type: LoadBalancer exclude each other");
}

void service_read(struct decoder *decoder, const struct yaml_node *node, struct object *object)
{
	struct service *service = &object->service;
	const struct yaml_node *spec = yaml_lookup(node, "spec");

	*service = (struct service){
		.load_balancer_class = "",
		.address_pool = "",
		.allow_shared_ip = "",
		.udp_idle_seconds = 120,
		.limit_prefix_ipv4 = 32,
		.limit_prefix_ipv6 = 64,
		.health = {.check = SERVICE_CHECK_BY_PROTOCOL, .interval_ms = 1000, .timeout_ms = 500, .rise = 2,
			   .fall = 3, .path = "", .host = "", .expect_status_first = 200, .expect_status_last = 399,
			   .send = "", .expect = ""},
	};
	fields_read(decoder, node, service_fields, array_length(service_fields), service);
	if (!spec || spec->kind != YAML_MAPPING)
		return;
	/* a second family without a policy: whoever lists both wants both, as Kubernetes has it */
	if (service->ip_family_count == 2 && !yaml_lookup(spec, "ipFamilyPolicy"))
		service->ip_family_policy = IP_FAMILY_REQUIRE_DUAL_STACK;
	service_annotations_read(decoder, node, object);
	ports_check(decoder, spec, service);
	external_name_check(decoder, spec, service);
	dual_stack_check(decoder, spec, service);
	families_check(decoder, spec, "clusterIP", service, &service->cluster_ips);
	families_check(decoder, spec, "loadBalancerIP", service, &service->requested);
}

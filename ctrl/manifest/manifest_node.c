/* SPDX-License-Identifier: Apache-2.0 */
/* v1 Namespace and Node, and the selvage.io Node that describes a node for replay. */
#include <string.h>

#include "ctrl/manifest/manifest_kinds.h"

/* --- Namespace --------------------------------------------------------------------------------------------------------- */

static const struct field namespace_fields[] = {
	FIELDS_OF_EVERY_KIND,
	FIELD_WHOLE("spec", field_keep),
	FIELD_WHOLE("status", field_keep),
};

void namespace_read(struct decoder *decoder, const struct yaml_node *node, struct object *object)
{
	fields_read(decoder, node, namespace_fields, array_length(namespace_fields), NULL);
	annotations_read(decoder, node, NULL, 0, NULL);
}

/* --- v1 Node ----------------------------------------------------------------------------------------------------------- */

static const struct field node_spec_fields[] = {
	FIELD("unschedulable", field_bool, struct node, unschedulable),
	FIELD_NOT_HONOURED("configSource"),
	FIELD_NOT_HONOURED("externalID"),
	FIELD_NOT_HONOURED("podCIDR"),
	FIELD_NOT_HONOURED("podCIDRs"),
	FIELD_NOT_HONOURED("providerID"),
	FIELD_NOT_HONOURED("taints"),
};

static void node_spec_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	fields_read(decoder, node, node_spec_fields, array_length(node_spec_fields), target);
}

struct node_address {
	const char *type, *address;
};

static const struct field node_address_fields[] = {
	FIELD_REQUIRED("type", field_text, struct node_address, type),
	FIELD_REQUIRED("address", field_text, struct node_address, address),
};

static void node_address_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct node_address *address = target;

	*address = (struct node_address){.type = "", .address = ""};
	fields_read(decoder, node, node_address_fields, array_length(node_address_fields), address);
}

static void node_addresses_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct address_list *list = target;
	struct node_address *given = NULL;
	struct address *items;
	size_t count = 0, used = 0;

	list_read(decoder, node, sizeof(*given), node_address_read, &given, &count);
	items = arena_array(decoder->arena, count, sizeof(*items));
	for (size_t i = 0; i < count; i++) {
		if (strcmp(given[i].type, "InternalIP") != 0)
			continue;
		if (address_parse(given[i].address, &items[used]) < 0)
			decoder_error(decoder, node->items[i], "\"%.80s\" is not an IP address", given[i].address);
		else
			used++;
	}
	*list = (struct address_list){.items = items, .count = used};
}

/* A node reports these of itself; they come with `kubectl get -o yaml`. */
static const struct field node_status_fields[] = {
	FIELD("addresses", node_addresses_read, struct node, internal_ips),
	FIELD_WHOLE("allocatable", field_keep),
	FIELD_WHOLE("capacity", field_keep),
	FIELD_WHOLE("conditions", field_keep),
	FIELD_WHOLE("config", field_keep),
	FIELD_WHOLE("daemonEndpoints", field_keep),
	FIELD_WHOLE("features", field_keep),
	FIELD_WHOLE("images", field_keep),
	FIELD_WHOLE("nodeInfo", field_keep),
	FIELD_WHOLE("phase", field_keep),
	FIELD_WHOLE("runtimeHandlers", field_keep),
	FIELD_WHOLE("volumesAttached", field_keep),
	FIELD_WHOLE("volumesInUse", field_keep),
};

static void node_status_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	fields_read(decoder, node, node_status_fields, array_length(node_status_fields), target);
}

static const struct field node_fields[] = {
	FIELDS_OF_EVERY_KIND,
	{.name = "spec", .read = node_spec_read},
	{.name = "status", .read = node_status_read},
};

void node_read(struct decoder *decoder, const struct yaml_node *node, struct object *object)
{
	fields_read(decoder, node, node_fields, array_length(node_fields), &object->node);
	annotations_read(decoder, node, NULL, 0, NULL);
}

/* --- selvage.io Node --------------------------------------------------------------------------------------------------- */

static void mac_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	const char *text;

	if (!node_text(decoder, node, &text))
		return;
	if (mac_parse(text, target) < 0)
		decoder_error(decoder, node, "\"%.80s\" is not a MAC address; write one such as 02:00:00:00:00:01", text);
	else if (((uint8_t *)target)[0] & 1)
		decoder_error(decoder, node, "%s is a multicast MAC address; no host has one", text);
}

static void interface_name_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	const char **name = target;

	field_text(decoder, node, name);
	/* Linux: IFNAMSIZ with its zero, no slash, no white space */
	if (node->kind == YAML_SCALAR && (!node->length || node->length > 15 || strpbrk(*name, "/ \t\n:")))
		decoder_error(decoder, node, "must be an interface's name of 1 to 15 characters, not \"%.80s\"", node->text);
}

static void vlan_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	int64_t value;

	if (node_integer(decoder, node, 0, 4094, &value))
		*(uint16_t *)target = (uint16_t)value;
}

static void mtu_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	int64_t value;

	if (node_integer(decoder, node, 68, 65535, &value))
		*(uint16_t *)target = (uint16_t)value;
}

static void engine_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	static const char *const words[] = {"xdp-native", "xdp-generic", "dpdk", "tc"};
	size_t index;

	if (node_choice(decoder, node, words, array_length(words), &index))
		*(const char **)target = words[index];
}

static const struct field neighbour_fields[] = {
	FIELD_REQUIRED("ip", field_address, struct replay_neighbour, ip),
	FIELD_REQUIRED("mac", mac_read, struct replay_neighbour, mac),
};

static void neighbour_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	fields_read(decoder, node, neighbour_fields, array_length(neighbour_fields), target);
}

static int neighbour_compare(const void *a, const void *b)
{
	return address_compare(&((const struct replay_neighbour *)a)->ip, &((const struct replay_neighbour *)b)->ip);
}

static void neighbours_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct replay_interface *interface = target;
	struct replay_neighbour *items = NULL;
	char text[ADDRESS_TEXT_SIZE];

	list_read(decoder, node, sizeof(*items), neighbour_read, &items, &interface->neighbour_count);
	interface->neighbours = items;
	if (interface->neighbour_count > 1)
		qsort(items, interface->neighbour_count, sizeof(*items), neighbour_compare);
	for (size_t i = 1; i < interface->neighbour_count; i++)
		if (!address_is_zero(&items[i].ip) && neighbour_compare(&items[i - 1], &items[i]) == 0)
			decoder_error(decoder, node, "has two entries for %s", address_format(&items[i].ip, text));
}

static void interface_addresses_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct replay_interface *interface = target;

	list_read(decoder, node, sizeof(*interface->addresses), field_prefix, &interface->addresses,
		  &interface->address_count);
}

static const struct field interface_fields[] = {
	FIELD("name", interface_name_read, struct replay_interface, name),
	FIELD_REQUIRED("mac", mac_read, struct replay_interface, mac),
	FIELD("engine", engine_read, struct replay_interface, engine),
	FIELD("vlan", vlan_read, struct replay_interface, vlan),
	FIELD("mtu", mtu_read, struct replay_interface, mtu),
	FIELD_WHOLE("addresses", interface_addresses_read),
	FIELD_WHOLE("neighbours", neighbours_read),
};

static void interface_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct replay_interface *interface = target;

	*interface = (struct replay_interface){.name = "", .engine = "", .mtu = 1500};
	fields_read(decoder, node, interface_fields, array_length(interface_fields), interface);
}

static void interfaces_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct replay_node *replay = target;
	struct replay_interface *items = NULL;
	size_t count = 0;

	list_read(decoder, node, sizeof(*items), interface_read, &items, &count);
	if (node->kind == YAML_SEQUENCE && (count == 0 || count > 64)) {
		decoder_error(decoder, node, "must hold 1 to 64 interfaces, not %zu", count);
		return;
	}
	if (count == 1 && !*items[0].name)
		items[0].name = "eth0";
	for (size_t i = 0; i < count; i++) {
		if (!*items[i].name)
			decoder_error(decoder, node->items[i], "needs a name: with more than one interface, each has one");
		for (size_t j = 0; j < i; j++)
			if (*items[i].name && strcmp(items[i].name, items[j].name) == 0)
				decoder_error(decoder, node->items[i], "the name \"%s\" is in interfaces[%zu] already",
					      items[i].name, j);
	}
	replay->interfaces = items;
	replay->interface_count = count;
}

struct route_parts {
	struct replay_route *route;
	bool to_default, to_given;
};

static void route_to_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct route_parts *parts = target;

	parts->to_given = true;
	parts->to_default = node->kind == YAML_SCALAR && strcmp(node->text, "default") == 0;
	if (!parts->to_default)
		field_prefix(decoder, node, &parts->route->to);
}

static void route_via_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct route_parts *parts = target;

	field_address(decoder, node, &parts->route->via);
	parts->route->has_via = true;
}

static void route_interface_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct route_parts *parts = target;

	interface_name_read(decoder, node, &parts->route->interface);
}

static const struct field route_fields[] = {
	{.name = "to", .read = route_to_read, .required = true},
	{.name = "via", .read = route_via_read},
	{.name = "interface", .read = route_interface_read},
};

static void route_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct replay_route *route = target;
	struct route_parts parts = {.route = route};
	bool via_ipv4;

	*route = (struct replay_route){.interface = ""};
	fields_read(decoder, node, route_fields, array_length(route_fields), &parts);
	via_ipv4 = route->has_via ? address_is_ipv4(&route->via) : true;
	if (parts.to_default)
		route->to = (struct prefix){.address = via_ipv4 ? address_from_ipv4(0) : (struct address){{0, 0}}};
	if (parts.to_given && !parts.to_default && route->has_via && prefix_family_ipv4(&route->to) != via_ipv4)
		decoder_error(decoder, node, "\"to\" and \"via\" are of different families");
	if (!route->has_via && !*route->interface)
		decoder_error(decoder, node, "needs \"via\" (a gateway's address) or \"interface\"");
}

static void routes_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct replay_node *replay = target;

	list_read(decoder, node, sizeof(*replay->routes), route_read, &replay->routes, &replay->route_count);
}

static const struct field replay_spec_fields[] = {
	{.name = "interfaces", .read = interfaces_read, .required = true},
	{.name = "routes", .read = routes_read},
};

static void replay_spec_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	fields_read(decoder, node, replay_spec_fields, array_length(replay_spec_fields), target);
}

static const struct field replay_fields[] = {
	FIELDS_OF_EVERY_KIND,
	{.name = "spec", .read = replay_spec_read, .required = true},
};

/* Without `spec`, its fields may stand at the top: there is nothing else in this kind. */
static const struct field replay_flat_fields[] = {
	FIELDS_OF_EVERY_KIND,
	{.name = "interfaces", .read = interfaces_read},
	{.name = "routes", .read = routes_read},
};

static bool replay_interface_known(const struct replay_node *replay, const char *name)
{
	for (size_t i = 0; i < replay->interface_count; i++)
		if (strcmp(replay->interfaces[i].name, name) == 0)
			return true;
	return false;
}

void replay_node_read(struct decoder *decoder, const struct yaml_node *node, struct object *object)
{
	struct replay_node *replay = &object->replay_node;

	if (yaml_lookup(node, "interfaces") && !yaml_lookup(node, "spec"))
		fields_read(decoder, node, replay_flat_fields, array_length(replay_flat_fields), replay);
	else
		fields_read(decoder, node, replay_fields, array_length(replay_fields), replay);
	for (size_t i = 0; i < replay->route_count; i++)
		if (*replay->routes[i].interface && !replay_interface_known(replay, replay->routes[i].interface))
			decoder_error(decoder, node, "routes[%zu]: there is no interface \"%s\" in this node", i,
				      replay->routes[i].interface);
	annotations_read(decoder, node, NULL, 0, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* v1 Endpoints and discovery.k8s.io/v1 EndpointSlice: the backends. */
#include <string.h>

#include "ctrl/manifest/manifest_kinds.h"

#define WEIGHT_MAX 1000

/* --- shared by both ---------------------------------------------------------------------------------------------------- */

static const struct field target_reference_fields[] = {
	{.name = "name", .read = field_text},
	FIELD_WHOLE("apiVersion", field_keep),
	FIELD_WHOLE("fieldPath", field_keep),
	FIELD_WHOLE("kind", field_keep),
	FIELD_WHOLE("namespace", field_keep),
	FIELD_WHOLE("resourceVersion", field_keep),
	FIELD_WHOLE("uid", field_keep),
};

static void target_reference_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	fields_read(decoder, node, target_reference_fields, array_length(target_reference_fields), target);
}

static const struct field port_fields[] = {
	FIELD("name", field_text, struct endpoint_port, name),
	FIELD("protocol", field_protocol, struct endpoint_port, protocol),
	FIELD("port", field_port_number, struct endpoint_port, port),
	FIELD("appProtocol", field_text, struct endpoint_port, app_protocol),
};

static void port_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct endpoint_port *port = target;

	*port = (struct endpoint_port){.name = "", .protocol = PROTOCOL_TCP, .app_protocol = ""};
	fields_read(decoder, node, port_fields, array_length(port_fields), port);
	if (*port->name && name_check_label(port->name) && yaml_lookup(node, "name"))
		decoder_error(decoder, yaml_lookup(node, "name"), "\"%.80s\" %s", port->name, name_check_label(port->name));
}

/* Names tell which service port is meant: two of the same would make it a matter of luck. */
static void ports_check(struct decoder *decoder, const struct yaml_node *list, const struct endpoint_port *ports, size_t count)
{
	for (size_t i = 0; i < count && count <= 100; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(ports[i].name, ports[j].name) == 0)
				decoder_error(decoder, list->items[i],
					      "the name \"%s\" is in ports[%zu] already; give each port a name of its own",
					      ports[i].name, j);
	if (count > 100)
		decoder_error(decoder, list, "has %zu ports and may have 100", count);
}

/* An address that the world could not answer from, or that is a group, is a mistake. */
static void backend_address_check(struct decoder *decoder, const struct yaml_node *node, const struct address *address)
{
	const uint8_t *bytes = (const uint8_t *)address;
	bool ipv4 = address_is_ipv4(address);
	char text[ADDRESS_TEXT_SIZE];

	if (address_is_zero(address)) /* could not be read: an error of its own, or "::" */
		return;
	if (ipv4 ? (bytes[12] == 0 || bytes[12] == 127 || bytes[12] >= 224)
		 : (bytes[0] == 0xff || (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80) ||
		    (address->word[0] == 0 && bytes[15] == 1 && (address->word[1] << 8) == 0)))
		decoder_error(decoder, node, "%s cannot be a backend: it is unspecified, loopback, link-local or multicast",
			      address_format(address, text));
}

static void backend_address_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct address address = {0};

	field_address(decoder, node, &address);
	backend_address_check(decoder, node, &address);
	if (node->kind == YAML_SCALAR && strcmp(node->text, "::") == 0)
		decoder_error(decoder, node, "\"::\" is no backend's address");
	*(struct address *)target = address;
}

/* --- weights ----------------------------------------------------------------------------------------------------------- */

/* All endpoints of an object, so that selvage.io/weights can be applied to either kind. */
struct endpoint_span {
	struct endpoint *items;
	size_t count;
};

struct weight {
	struct address address;
	uint16_t weight;
	bool used;
};

struct weights {
	struct weight *items;
	size_t count;
};

static int weight_compare(const void *a, const void *b)
{
	return address_compare(&((const struct weight *)a)->address, &((const struct weight *)b)->address);
}

/* One "address=weight"; `text` is changed. */
static bool weight_read(struct decoder *decoder, const struct yaml_node *node, char *text, struct weight *ret_weight)
{
	char *equals = strchr(text, '=');
	uint64_t weight;

	if (!equals || !decimal_parse(equals + 1, strlen(equals + 1), WEIGHT_MAX, &weight)) {
		decoder_error(decoder, node, "must be as 10.0.0.21=3,10.0.0.22=1 with weights from 0 to %d, not \"%.80s\"",
			      WEIGHT_MAX, text);
		return false;
	}
	*equals = '\0';
	if (address_parse(text, &ret_weight->address) < 0) {
		decoder_error(decoder, node, "\"%.80s\" is not an IP address", text);
		return false;
	}
	ret_weight->weight = (uint16_t)weight;
	return true;
}

static void weights_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	_cleanup_(freep) char *copy = strdup(node->text);
	char *rest = copy, *part, text[ADDRESS_TEXT_SIZE];
	struct weights *weights = target;

	/* the shortest is "::1=1," */
	weights->items = arena_array(decoder->arena, node->length / 5 + 1, sizeof(*weights->items));
	while ((part = strsep(&rest, ","))) {
		part += strspn(part, " ");
		part[strcspn(part, " ")] = '\0';
		if (!weight_read(decoder, node, part, &weights->items[weights->count]))
			return;
		weights->count++;
	}
	qsort(weights->items, weights->count, sizeof(*weights->items), weight_compare);
	for (size_t i = 1; i < weights->count; i++)
		if (weight_compare(&weights->items[i - 1], &weights->items[i]) == 0)
			decoder_error(decoder, node, "gives %s two weights",
				      address_format(&weights->items[i].address, text));
}

static void weights_give(const struct weights *weights, struct endpoint *endpoint)
{
	for (size_t i = 0; i < endpoint->addresses.count; i++) {
		struct weight wanted = {.address = endpoint->addresses.items[i]};
		struct weight *weight = bsearch(&wanted, weights->items, weights->count, sizeof(wanted), weight_compare);

		if (!weight)
			continue;
		endpoint->weight = weight->weight;
		weight->used = true;
	}
}

static const struct field backend_annotations[] = {{.name = "selvage.io/weights", .read = weights_read}};

static void weights_apply(struct decoder *decoder, const struct yaml_node *node, const struct endpoint_span *spans, size_t count)
{
	struct weights weights = {0};
	char text[ADDRESS_TEXT_SIZE];

	annotations_read(decoder, node, backend_annotations, array_length(backend_annotations), &weights);
	if (!weights.count)
		return;
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < spans[i].count; j++)
			weights_give(&weights, &spans[i].items[j]);
	for (size_t i = 0; i < weights.count; i++)
		if (!weights.items[i].used)
			decoder_error(decoder, annotation_lookup(node, "selvage.io/weights"),
				      "selvage.io/weights gives %s a weight, and there is no such endpoint here",
				      address_format(&weights.items[i].address, text));
}

/* --- EndpointSlice ----------------------------------------------------------------------------------------------------- */

struct conditions {
	bool ready, serving, terminating;
	bool serving_given;
};

static void serving_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct conditions *conditions = target;

	field_bool(decoder, node, &conditions->serving);
	conditions->serving_given = true;
}

static const struct field condition_fields[] = {
	FIELD("ready", field_bool, struct conditions, ready),
	FIELD_WHOLE("serving", serving_read),
	FIELD("terminating", field_bool, struct conditions, terminating),
};

static void conditions_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct endpoint *endpoint = target;
	struct conditions conditions = {.ready = true};

	fields_read(decoder, node, condition_fields, array_length(condition_fields), &conditions);
	endpoint->ready = conditions.ready;
	endpoint->serving = conditions.serving_given ? conditions.serving : conditions.ready;
	endpoint->terminating = conditions.terminating;
}

static void slice_addresses_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct address_list *list = target;

	list_read(decoder, node, sizeof(*list->items), backend_address_read, &list->items, &list->count);
	if (node->kind == YAML_SEQUENCE && (node->count == 0 || node->count > 100))
		decoder_error(decoder, node, "must hold 1 to 100 addresses, not %zu", node->count);
}

static const struct field slice_endpoint_fields[] = {
	FIELD_REQUIRED("addresses", slice_addresses_read, struct endpoint, addresses),
	FIELD_WHOLE("conditions", conditions_read),
	FIELD("hostname", field_text, struct endpoint, hostname),
	FIELD("nodeName", field_text, struct endpoint, node_name),
	FIELD("targetRef", target_reference_read, struct endpoint, target_name),
	FIELD("zone", field_text, struct endpoint, zone),
	FIELD_NOT_HONOURED("deprecatedTopology"),
	FIELD_NOT_HONOURED("hints"),
};

static void endpoint_default(struct endpoint *endpoint)
{
	*endpoint = (struct endpoint){.ready = true, .serving = true, .weight = 1, .node_name = "", .zone = "",
				      .hostname = "", .target_name = ""};
}

static void slice_endpoint_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	endpoint_default(target);
	fields_read(decoder, node, slice_endpoint_fields, array_length(slice_endpoint_fields), target);
}

static void slice_endpoints_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct endpoint_slice *slice = target;

	if (!slice->of_names)
		list_read(decoder, node, sizeof(*slice->endpoints), slice_endpoint_read, &slice->endpoints, &slice->endpoint_count);
}

static void slice_ports_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct endpoint_slice *slice = target;

	list_read(decoder, node, sizeof(*slice->ports), port_read, &slice->ports, &slice->port_count);
	ports_check(decoder, node, slice->ports, slice->port_count);
}

static void address_type_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	static const char *const words[] = {"IPv4", "IPv6"};
	size_t index;

	if (node->kind == YAML_SCALAR && strcmp(node->text, "FQDN") == 0)
		decoder_warning(decoder, node, "is FQDN, which is not honoured: backends are IP addresses, so the endpoints of this slice are left out");
	else if (node_choice(decoder, node, words, array_length(words), &index))
		*(enum ip_family *)target = index ? IP_FAMILY_IPV6 : IP_FAMILY_IPV4;
}

static const struct field slice_fields[] = {
	FIELDS_OF_EVERY_KIND,
	FIELD_REQUIRED("addressType", address_type_read, struct endpoint_slice, family),
	{.name = "endpoints", .read = slice_endpoints_read},
	{.name = "ports", .read = slice_ports_read},
};

static void slice_families_check(struct decoder *decoder, const struct yaml_node *node, const struct endpoint_slice *slice)
{
	const struct yaml_node *list = yaml_lookup(node, "endpoints");
	size_t path;

	if (!slice->family || !list)
		return;
	path = decoder_enter_key(decoder, "endpoints");
	for (size_t i = 0; i < slice->endpoint_count; i++) {
		const struct address_list *addresses = &slice->endpoints[i].addresses;

		for (size_t j = 0; j < addresses->count; j++) {
			bool ipv4 = address_is_ipv4(&addresses->items[j]);
			char text[ADDRESS_TEXT_SIZE];
			size_t item;

			if (address_is_zero(&addresses->items[j]) || ipv4 == (slice->family == IP_FAMILY_IPV4))
				continue;
			item = decoder_enter_item(decoder, i);
			decoder_error(decoder, yaml_lookup(list->items[i], "addresses")->items[j],
				      "%s is %s, and the addressType of this slice is %s; put it into a slice of its own",
				      address_format(&addresses->items[j], text), ipv4 ? "IPv4" : "IPv6",
				      ipv4 ? "IPv6" : "IPv4");
			decoder_leave(decoder, item);
		}
	}
	decoder_leave(decoder, path);
}

void endpoint_slice_read(struct decoder *decoder, const struct yaml_node *node, struct object *object)
{
	struct endpoint_slice *slice = &object->endpoint_slice;
	const struct yaml_node *type = yaml_lookup(node, "addressType");
	struct endpoint_span span;

	slice->of_names = type && type->kind == YAML_SCALAR && strcmp(type->text, "FQDN") == 0;
	fields_read(decoder, node, slice_fields, array_length(slice_fields), slice);
	slice->service_name = key_values_get(&object->meta.labels, "kubernetes.io/service-name");
	if (!slice->service_name) {
		slice->service_name = "";
		decoder_warning(decoder, node,
				"metadata.labels: without the label kubernetes.io/service-name: NAME this slice belongs to "
				"no service");
	}
	if (slice->of_names)
		return;
	slice_families_check(decoder, node, slice);
	span = (struct endpoint_span){.items = (struct endpoint *)slice->endpoints, .count = slice->endpoint_count};
	weights_apply(decoder, node, &span, 1);
}

/* --- Endpoints --------------------------------------------------------------------------------------------------------- */

struct endpoints_address {
	struct endpoint endpoint;
	struct address ip;
};

static const struct field endpoints_address_fields[] = {
	FIELD_REQUIRED("ip", backend_address_read, struct endpoints_address, ip),
	FIELD("hostname", field_text, struct endpoints_address, endpoint.hostname),
	FIELD("nodeName", field_text, struct endpoints_address, endpoint.node_name),
	FIELD("targetRef", target_reference_read, struct endpoints_address, endpoint.target_name),
};

static void endpoints_address_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct endpoints_address *address = target;

	endpoint_default(&address->endpoint);
	fields_read(decoder, node, endpoints_address_fields, array_length(endpoints_address_fields), address);
	address->endpoint.addresses = (struct address_list){.items = &address->ip, .count = 1};
}

struct subset_parts {
	struct endpoints_address *ready, *not_ready;
	size_t ready_count, not_ready_count;
	struct endpoint_port *ports;
	size_t port_count;
};

static void subset_ready_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct subset_parts *parts = target;

	list_read(decoder, node, sizeof(*parts->ready), endpoints_address_read, &parts->ready, &parts->ready_count);
}

static void subset_not_ready_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct subset_parts *parts = target;

	list_read(decoder, node, sizeof(*parts->not_ready), endpoints_address_read, &parts->not_ready,
		  &parts->not_ready_count);
}

static void subset_ports_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct subset_parts *parts = target;

	list_read(decoder, node, sizeof(*parts->ports), port_read, &parts->ports, &parts->port_count);
	ports_check(decoder, node, parts->ports, parts->port_count);
	for (size_t i = 0; i < parts->port_count; i++)
		if (!parts->ports[i].port && !yaml_lookup(node->items[i], "port"))
			decoder_error(decoder, node->items[i], "the field \"port\" is missing");
}

static const struct field subset_fields[] = {
	FIELD_WHOLE("addresses", subset_ready_read),
	FIELD_WHOLE("notReadyAddresses", subset_not_ready_read),
	FIELD_WHOLE("ports", subset_ports_read),
};

static void subset_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct subset_parts parts = {0};
	struct endpoint_subset *subset = target;
	struct endpoint *all;

	fields_read(decoder, node, subset_fields, array_length(subset_fields), &parts);
	all = arena_array(decoder->arena, parts.ready_count + parts.not_ready_count, sizeof(*all));
	for (size_t i = 0; i < parts.ready_count; i++)
		all[i] = parts.ready[i].endpoint;
	for (size_t i = 0; i < parts.not_ready_count; i++) {
		all[parts.ready_count + i] = parts.not_ready[i].endpoint;
		all[parts.ready_count + i].ready = false;
		all[parts.ready_count + i].serving = false;
	}
	*subset = (struct endpoint_subset){
		.endpoints = all,
		.endpoint_count = parts.ready_count + parts.not_ready_count,
		.ports = parts.ports,
		.port_count = parts.port_count,
	};
}

static void subsets_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct endpoints *endpoints = target;

	list_read(decoder, node, sizeof(*endpoints->subsets), subset_read, &endpoints->subsets, &endpoints->subset_count);
}

static const struct field endpoints_fields[] = {
	FIELDS_OF_EVERY_KIND,
	{.name = "subsets", .read = subsets_read},
};

void endpoints_read(struct decoder *decoder, const struct yaml_node *node, struct object *object)
{
	struct endpoints *endpoints = &object->endpoints;
	struct endpoint_span *spans;

	fields_read(decoder, node, endpoints_fields, array_length(endpoints_fields), endpoints);
	spans = arena_array(decoder->arena, endpoints->subset_count, sizeof(*spans));
	for (size_t i = 0; i < endpoints->subset_count; i++)
		spans[i] = (struct endpoint_span){.items = (struct endpoint *)endpoints->subsets[i].endpoints,
						  .count = endpoints->subsets[i].endpoint_count};
	weights_apply(decoder, node, spans, endpoints->subset_count);
}

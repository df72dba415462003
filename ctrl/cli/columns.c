/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/cli/columns.h"

#include <inttypes.h>
#include <string.h>

struct column {
	const char *heading;
	bool wide; /* only with -o wide */
	char *(*value)(const json_t *object); /* to be freed */
};

static char *copy(const char *text)
{
	char *new = strdup(*text ? text : "<none>");

	if (!new)
		abort();
	return new;
}

static char *name_value(const json_t *object)
{
	return copy(json_text(json_object_get(object, "metadata"), "name"));
}

static char *age_value(const json_t *object)
{
	const char *created = json_text(json_object_get(object, "metadata"), "creationTimestamp");
	char text[DURATION_TEXT_SIZE];

	return copy(duration_format(age_seconds(created), text));
}

static char *pairs_value(const json_t *pairs)
{
	json_t *texts = json_array(), *value;
	const char *key;
	char *joined;

	json_object_foreach((json_t *)pairs, key, value)
		json_array_append_new(texts, json_sprintf("%s=%s", key, json_is_string(value) ? json_string_value(value) : "?"));
	joined = json_join(texts);
	json_decref(texts);
	return joined;
}

static char *labels_value(const json_t *object)
{
	return pairs_value(json_path(object, "metadata", "labels", NULL));
}

/* --- Service ----------------------------------------------------------------------------------------------------------- */

static char *type_value(const json_t *object)
{
	const char *type = json_text(json_object_get(object, "spec"), "type");

	return copy(*type ? type : "ClusterIP");
}

static char *cluster_ip_value(const json_t *object)
{
	return copy(json_text(json_object_get(object, "spec"), "clusterIP"));
}

static char *external_ip_value(const json_t *object)
{
	const json_t *ingress = json_path(object, "status", "loadBalancer", "ingress", NULL);
	json_t *addresses = json_array(), *item;
	char *joined;
	size_t i;

	json_array_foreach(ingress, i, item)
		json_array_append(addresses, json_object_get(item, "ip"));
	if (!json_array_size(addresses) && strcmp(json_text(json_object_get(object, "spec"), "type"), "LoadBalancer") == 0)
		joined = copy("<pending>");
	else
		joined = json_join(addresses);
	json_decref(addresses);
	return joined;
}

/* "80/TCP,443/TCP" of any list of ports. */
static char *ports_text(const json_t *ports)
{
	json_t *texts = json_array(), *port;
	char *joined;
	size_t i;

	json_array_foreach(ports, i, port) {
		const char *protocol = json_text(port, "protocol");

		json_array_append_new(texts, json_sprintf("%" PRId64 "/%s", json_number(port, "port"), *protocol ? protocol : "TCP"));
	}
	joined = json_join(texts);
	json_decref(texts);
	return joined;
}

static char *service_ports_value(const json_t *object)
{
	return ports_text(json_path(object, "spec", "ports", NULL));
}

static char *selector_value(const json_t *object)
{
	return pairs_value(json_path(object, "spec", "selector", NULL));
}

/* --- backends ---------------------------------------------------------------------------------------------------------- */

static char *address_type_value(const json_t *object)
{
	return copy(json_text(object, "addressType"));
}

static char *slice_ports_value(const json_t *object)
{
	return ports_text(json_object_get(object, "ports"));
}

static char *slice_endpoints_value(const json_t *object)
{
	json_t *addresses = json_array(), *endpoint, *address;
	char *joined;
	size_t i, j;

	json_array_foreach(json_object_get(object, "endpoints"), i, endpoint)
		json_array_foreach(json_object_get(endpoint, "addresses"), j, address)
			json_array_append(addresses, address);
	joined = json_join(addresses);
	json_decref(addresses);
	return joined;
}

static char *endpoints_value(const json_t *object)
{
	json_t *addresses = json_array(), *subset, *address;
	char *joined;
	size_t i, j;

	json_array_foreach(json_object_get(object, "subsets"), i, subset)
		json_array_foreach(json_object_get(subset, "addresses"), j, address)
			json_array_append(addresses, json_object_get(address, "ip"));
	joined = json_join(addresses);
	json_decref(addresses);
	return joined;
}

/* --- nodes and addresses ----------------------------------------------------------------------------------------------- */

static char *internal_ip_value(const json_t *object)
{
	json_t *addresses = json_array(), *item;
	char *joined;
	size_t i;

	json_array_foreach(json_path(object, "status", "addresses", NULL), i, item)
		if (strcmp(json_text(item, "type"), "InternalIP") == 0)
			json_array_append(addresses, json_object_get(item, "address"));
	joined = json_join(addresses);
	json_decref(addresses);
	return joined;
}

static char *pool_addresses_value(const json_t *object)
{
	return json_join(json_path(object, "spec", "addresses", NULL));
}

static char *auto_assign_value(const json_t *object)
{
	return copy(json_is_false(json_path(object, "spec", "autoAssign", NULL)) ? "false" : "true");
}

static char *avoid_buggy_value(const json_t *object)
{
	return copy(json_is_true(json_path(object, "spec", "avoidBuggyIPs", NULL)) ? "true" : "false");
}

static char *pools_value(const json_t *object)
{
	return json_join(json_path(object, "spec", "ipAddressPools", NULL));
}

static char *advertised_interfaces_value(const json_t *object)
{
	return json_join(json_path(object, "spec", "interfaces", NULL));
}

static char *interfaces_value(const json_t *object)
{
	json_t *names = json_array(), *item;
	char *joined;
	size_t i;

	json_array_foreach(json_path(object, "spec", "interfaces", NULL), i, item)
		json_array_append(names, json_object_get(item, "name"));
	joined = json_join(names);
	json_decref(names);
	return joined;
}

static char *steering_host_value(const json_t *object)
{
	return strdup(json_text(json_object_get(object, "spec"), "host"));
}

static char *steering_sites_value(const json_t *object)
{
	json_t *names = json_array(), *item;
	char *joined;
	size_t i;

	json_array_foreach(json_path(object, "spec", "sites", NULL), i, item)
		json_array_append(names, json_object_get(item, "name"));
	joined = json_join(names);
	json_decref(names);
	return joined;
}

#define COLUMNS_MAX 8

static const struct column columns[OBJECT_KIND_COUNT][COLUMNS_MAX] = {
	[OBJECT_NAMESPACE] = {{"AGE", false, age_value}, {"LABELS", true, labels_value}},
	[OBJECT_NODE] = {{"INTERNAL-IP", false, internal_ip_value}, {"AGE", false, age_value}, {"LABELS", true, labels_value}},
	[OBJECT_SERVICE] = {{"TYPE", false, type_value}, {"CLUSTER-IP", false, cluster_ip_value},
			    {"EXTERNAL-IP", false, external_ip_value}, {"PORT(S)", false, service_ports_value},
			    {"AGE", false, age_value}, {"SELECTOR", true, selector_value}, {"LABELS", true, labels_value}},
	[OBJECT_ENDPOINTS] = {{"ENDPOINTS", false, endpoints_value}, {"AGE", false, age_value}},
	[OBJECT_ENDPOINT_SLICE] = {{"ADDRESSTYPE", false, address_type_value}, {"PORTS", false, slice_ports_value},
				   {"ENDPOINTS", false, slice_endpoints_value}, {"AGE", false, age_value},
				   {"LABELS", true, labels_value}},
	[OBJECT_ADDRESS_POOL] = {{"AUTO ASSIGN", false, auto_assign_value}, {"AVOID BUGGY IPS", false, avoid_buggy_value},
				 {"ADDRESSES", false, pool_addresses_value}, {"AGE", true, age_value}},
	[OBJECT_L2_ADVERTISEMENT] = {{"IPADDRESSPOOLS", false, pools_value}, {"INTERFACES", false, advertised_interfaces_value},
				     {"AGE", false, age_value}},
	[OBJECT_REPLAY_NODE] = {{"INTERFACES", false, interfaces_value}, {"AGE", false, age_value}},
	[OBJECT_STEERING_POLICY] = {{"HOST", false, steering_host_value}, {"SITES", false, steering_sites_value}, {"AGE", false, age_value}},
};

struct table *columns_new(enum object_kind kind, bool namespaces, bool wide)
{
	struct table *table = namespaces ? table_new("NAMESPACE", "NAME", NULL) : table_new("NAME", NULL);

	for (size_t i = 0; i < COLUMNS_MAX && columns[kind][i].heading; i++)
		if (wide || !columns[kind][i].wide)
			table_cell(table, "%s", columns[kind][i].heading);
	return table;
}

void columns_row(struct table *table, enum object_kind kind, bool namespaces, bool wide, const json_t *object)
{
	_cleanup_(freep) char *name = name_value(object);

	table_row_begin(table);
	if (namespaces)
		table_cell(table, "%s", json_text(json_object_get(object, "metadata"), "namespace"));
	table_cell(table, "%s", name);
	for (size_t i = 0; i < COLUMNS_MAX && columns[kind][i].heading; i++) {
		_cleanup_(freep) char *text = NULL;

		if (columns[kind][i].wide && !wide)
			continue;
		text = columns[kind][i].value(object);
		table_cell(table, "%s", text);
	}
}

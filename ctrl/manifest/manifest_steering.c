/* SPDX-License-Identifier: Apache-2.0 */
/* selvage.io SteeringPolicy: which of a name's sites a client is sent to. */
#include <ctype.h>
#include <string.h>

#include "ctrl/manifest/manifest_kinds.h"

#define SITES_MAX 64
#define TTL_MAX 86400
#define INTERVAL_MIN_MS 100
#define INTERVAL_MAX_MS 3600000

static void number_read(struct decoder *decoder, const struct yaml_node *node, int64_t minimum, int64_t maximum, uint32_t *target)
{
	int64_t number;

	if (node_integer(decoder, node, minimum, maximum, &number))
		*target = (uint32_t)number;
}

static void ttl_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	number_read(decoder, node, 1, TTL_MAX, target);
}

static void percent_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	number_read(decoder, node, 0, 100, target);
}

static void weight_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	number_read(decoder, node, 0, 65535, target);
}

/* A part of one: 0 to 1; loads may be above. */
static void ratio_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	enum scalar_type type = node->kind == YAML_SCALAR ? scalar_type(node) : SCALAR_TEXT;

	if (type != SCALAR_INTEGER && type != SCALAR_REAL)
		decoder_error(decoder, node, "must be a number, such as 0.8");
	else
		*(double *)target = strtod(node->text, NULL);
}

static void host_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	const char *text, *wrong;

	if (!node_text(decoder, node, &text))
		return;
	wrong = name_check_host(text);
	if (wrong)
		decoder_error(decoder, node, "\"%.80s\" %s", text, wrong);
	else
		*(const char **)target = arena_copy(decoder->arena, text, strlen(text));
}

static void hosts_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct string_list *list = target;

	list_read(decoder, node, sizeof(*list->items), host_read, &list->items, &list->count);
}

static void seconds_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	uint32_t seconds;
	int64_t number;

	if (!node_integer(decoder, node, 1, INTERVAL_MAX_MS / 1000, &number))
		return;
	seconds = (uint32_t)number;
	*(uint32_t *)target = seconds * 1000;
}

static void check_type_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	static const char *const words[] = {[SERVICE_CHECK_NONE] = "none", [SERVICE_CHECK_TCP] = "tcp", [SERVICE_CHECK_HTTP] = "http",
					    [SERVICE_CHECK_UDP] = "udp"};
	size_t index;

	if (node_choice(decoder, node, words, array_length(words), &index))
		*(enum service_check *)target = (enum service_check)index;
}

static void check_interval_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct service_health *health = target;

	seconds_read(decoder, node, &health->interval_ms);
	health->interval_given = true;
}

static void check_timeout_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct service_health *health = target;

	seconds_read(decoder, node, &health->timeout_ms);
	health->timeout_given = true;
}

static const struct field check_fields[] = {
	FIELD_REQUIRED("type", check_type_read, struct service_health, check),
	FIELD_REQUIRED("port", field_port_number, struct service_health, port),
	FIELD("path", field_text, struct service_health, path),
	FIELD("host", field_text, struct service_health, host),
	FIELD_WHOLE("intervalSeconds", check_interval_read),
	FIELD_WHOLE("timeoutSeconds", check_timeout_read),
};

static void check_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	fields_read(decoder, node, check_fields, array_length(check_fields), target);
}

/* What is in no database of places matches no client. */
static bool continent_is_one(const char *text)
{
	static const char *const words[] = {"AF", "AN", "AS", "EU", "NA", "OC", "SA"};

	for (size_t i = 0; i < array_length(words); i++)
		if (strcasecmp(text, words[i]) == 0)
			return true;
	return false;
}

static bool country_is_one(const char *text, size_t length)
{
	return length == 2 && isalpha((unsigned char)text[0]) && isalpha((unsigned char)text[1]);
}

static void continents_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	const struct string_list *list = target;

	field_text_list(decoder, node, target);
	for (size_t i = 0; i < list->count; i++)
		if (!continent_is_one(list->items[i]))
			decoder_warning(decoder, node->items[i], "no client is in \"%.80s\": continents are AF, AN, AS, EU, NA, OC and SA",
					list->items[i]);
}

static void countries_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	const struct string_list *list = target;

	field_text_list(decoder, node, target);
	for (size_t i = 0; i < list->count; i++)
		if (!country_is_one(list->items[i], strlen(list->items[i])))
			decoder_warning(decoder, node->items[i], "no client is in \"%.80s\": countries are two letters (ISO 3166-1), such as DE",
					list->items[i]);
}

static void subdivisions_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	const struct string_list *list = target;

	field_text_list(decoder, node, target);
	for (size_t i = 0; i < list->count; i++) {
		size_t length = strcspn(list->items[i], "-"), rest = strlen(list->items[i]) - length;

		if (!country_is_one(list->items[i], length) || rest < 2 || rest > 4)
			decoder_warning(decoder, node->items[i], "no client is in \"%.80s\": subdivisions are those of ISO 3166-2, such as DE-BY",
					list->items[i]);
	}
}

static const struct field geography_fields[] = {
	FIELD("continents", continents_read, struct steering_site, continents),
	FIELD("countries", countries_read, struct steering_site, countries),
	FIELD("subdivisions", subdivisions_read, struct steering_site, subdivisions),
};

static void geography_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	fields_read(decoder, node, geography_fields, array_length(geography_fields), target);
}

static const struct field load_fields[] = {
	FIELD("low", ratio_read, struct steering_site, load_low),
	FIELD("high", ratio_read, struct steering_site, load_high),
};

static void load_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct steering_site *site = target;

	fields_read(decoder, node, load_fields, array_length(load_fields), site);
	if (site->load_low < 0 || site->load_high <= site->load_low)
		decoder_error(decoder, node, "\"high\" must be above \"low\", and \"low\" not below 0");
}

static void site_addresses_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct steering_site *site = target;

	list_read(decoder, node, sizeof(*site->addresses.items), field_address, &site->addresses.items, &site->addresses.count);
	if (node->kind == YAML_SEQUENCE && !node->count)
		decoder_warning(decoder, node, "is empty: nobody is sent to this site");
}

static void site_prefixes_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct steering_site *site = target;

	list_read(decoder, node, sizeof(*site->prefixes), field_prefix, &site->prefixes, &site->prefix_count);
}

static const struct field site_fields[] = {
	FIELD_REQUIRED("name", field_text, struct steering_site, name),
	{.name = "addresses", .read = site_addresses_read, .required = true},
	FIELD("weight", weight_read, struct steering_site, weight),
	FIELD("order", weight_read, struct steering_site, order),
	FIELD_WHOLE("geography", geography_read),
	FIELD_WHOLE("prefixes", site_prefixes_read),
	FIELD_WHOLE("load", load_read),
};

static void site_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct steering_site *site = target;

	*site = (struct steering_site){.name = "", .weight = 1};
	fields_read(decoder, node, site_fields, array_length(site_fields), site);
}

static void sites_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct steering_policy *policy = target;

	list_read(decoder, node, sizeof(*policy->sites), site_read, &policy->sites, &policy->site_count);
	if (node->kind == YAML_SEQUENCE && (!policy->site_count || policy->site_count > SITES_MAX))
		decoder_error(decoder, node, "must hold 1 to %d sites, not %zu", SITES_MAX, policy->site_count);
	for (size_t i = 0; i < policy->site_count; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(policy->sites[i].name, policy->sites[k].name) == 0)
				decoder_error(decoder, node, "the name \"%.80s\" is in sites[%zu] already", policy->sites[i].name, k);
}

static const struct field spec_fields[] = {
	FIELD_REQUIRED("host", host_read, struct steering_policy, host),
	FIELD("ttl", ttl_read, struct steering_policy, ttl),
	FIELD("minHealthyPercent", percent_read, struct steering_policy, healthy_percent),
	FIELD("nameServers", hosts_read, struct steering_policy, name_servers),
	FIELD("contact", host_read, struct steering_policy, contact),
	FIELD("healthCheck", check_read, struct steering_policy, health),
	{.name = "sites", .read = sites_read, .required = true},
};

static void spec_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	fields_read(decoder, node, spec_fields, array_length(spec_fields), target);
}

/* --- status: what other nodes, or the sites themselves, report ----------------------------------------------------------- */

static void report_healthy_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct steering_report *report = target;

	field_bool(decoder, node, &report->healthy);
	report->healthy_given = true;
}

static const struct field report_fields[] = {
	FIELD_REQUIRED("name", field_text, struct steering_report, name),
	FIELD_WHOLE("healthy", report_healthy_read),
	FIELD("load", ratio_read, struct steering_report, load),
};

static void report_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct steering_report *report = target;

	*report = (struct steering_report){.name = "", .load = -1};
	fields_read(decoder, node, report_fields, array_length(report_fields), report);
}

static void reports_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct steering_policy *policy = target;

	list_read(decoder, node, sizeof(*policy->reports), report_read, &policy->reports, &policy->report_count);
}

static const struct field status_fields[] = {
	{.name = "sites", .read = reports_read},
};

static void status_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	fields_read(decoder, node, status_fields, array_length(status_fields), target);
}

static const struct field policy_fields[] = {
	FIELDS_OF_EVERY_KIND,
	{.name = "spec", .read = spec_read, .required = true},
	{.name = "status", .read = status_read},
};

static void reports_check(struct decoder *decoder, const struct yaml_node *node, const struct steering_policy *policy)
{
	for (size_t i = 0; i < policy->report_count; i++) {
		const char *name = policy->reports[i].name;
		bool found = false;

		for (size_t k = 0; k < policy->site_count; k++)
			found |= strcmp(name, policy->sites[k].name) == 0;
		if (!found)
			decoder_warning(decoder, yaml_lookup(yaml_lookup(node, "status"), "sites")->items[i],
					"status.sites[%zu] has no effect: there is no site \"%.80s\"", i, name);
	}
}

void steering_policy_read(struct decoder *decoder, const struct yaml_node *node, struct object *object)
{
	struct steering_policy *policy = &object->steering_policy;

	*policy = (struct steering_policy){
		.host = "",
		.contact = "",
		.ttl = 20,
		.health = {.check = SERVICE_CHECK_NONE, .path = "/", .host = "", .send = "", .expect = "", .expect_status_first = 200,
			   .expect_status_last = 399},
	};
	fields_read(decoder, node, policy_fields, array_length(policy_fields), policy);
	reports_check(decoder, node, policy);
	annotations_read(decoder, node, NULL, 0, NULL);
}

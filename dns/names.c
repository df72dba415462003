/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/names.h"

#include <stdarg.h>
#include <string.h>

#include "base/lib/address_text.h"
#include "base/lib/arena.h"
#include "base/lib/bytes.h"
#include "base/lib/memory.h"

#define SRV_WEIGHT 100 /* as Kubernetes' servers have it */

struct maker {
	struct names_result *result;
	size_t capacity;
	const char *zone;
};

int zone_record_compare(const struct zone_record *a, const struct zone_record *b)
{
	size_t name = a->owner.length < b->owner.length ? a->owner.length : b->owner.length;
	size_t data = a->data_length < b->data_length ? a->data_length : b->data_length;
	int order = memcmp(a->owner.bytes, b->owner.bytes, name);

	if (!order)
		order = a->owner.length - b->owner.length;
	if (!order)
		order = a->type - b->type;
	if (!order)
		order = memcmp(a->data, b->data, data);
	return order ? order : a->data_length - b->data_length;
}

static int record_order(const void *a, const void *b)
{
	return zone_record_compare(a, b);
}

static void record_add(struct maker *maker, const struct dns_name *owner, uint16_t type, const void *data, size_t length)
{
	struct names_result *result = maker->result;

	if (result->count == maker->capacity) {
		maker->capacity = maker->capacity ? 2 * maker->capacity : 256;
		result->records = memory_array(result->records, maker->capacity, sizeof(*result->records));
	}
	result->records[result->count++] = (struct zone_record){.owner = *owner,
								.type = type,
								.ttl = NAMES_TTL,
								.data_length = (uint16_t)length,
								.data = arena_copy(result->arena, data, length)};
}

static bool name_make(struct dns_name *ret_name, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool name_make(struct dns_name *ret_name, const char *format, ...)
{
	char text[DNS_NAME_TEXT_SIZE];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return length > 0 && (size_t)length < sizeof(text) && dns_name_parse(text, ret_name) == 0;
}

/* A label that may stand in a name: no dots, no bytes that mean something there. */
static bool is_label(const char *text)
{
	size_t length = strlen(text);

	return length >= 1 && length <= DNS_LABEL_MAX &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == length;
}

static void address_add(struct maker *maker, const struct dns_name *owner, const struct address *address)
{
	bool ipv4 = address_is_ipv4(address);

	record_add(maker, owner, ipv4 ? DNS_A : DNS_AAAA, (const uint8_t *)address + (ipv4 ? 12 : 0), ipv4 ? 4 : 16);
}

static void reverse_add(struct maker *maker, const struct address *address, const struct dns_name *name)
{
	struct dns_name reverse;

	dns_name_of_address(address, &reverse);
	record_add(maker, &reverse, DNS_PTR, name->bytes, name->length);
}

static void srv_add(struct maker *maker, const struct names_port *port, const struct dns_name *service,
		    const struct dns_name *target)
{
	char text[2 * DNS_LABEL_MAX + 8];
	struct dns_name prefix, owner;
	uint8_t data[6 + DNS_NAME_MAX];

	if (!is_label(port->name))
		return;
	snprintf(text, sizeof(text), "_%.62s._%.62s", port->name, port->protocol);
	if (dns_name_parse(text, &prefix) < 0 || dns_name_join(&prefix, 2, service, &owner) < 0)
		return;
	bytes_put16(data, 0);
	bytes_put16(data + 2, SRV_WEIGHT);
	bytes_put16(data + 4, port->port);
	memcpy(data + 6, target->bytes, target->length);
	record_add(maker, &owner, DNS_SRV, data, 6u + target->length);
}

/* "10-0-0-1"; of IPv6 addresses with dashes for colons. */
static void endpoint_label(const struct names_endpoint *endpoint, char ret_text[static ADDRESS_TEXT_SIZE + 2])
{
	char text[ADDRESS_TEXT_SIZE];

	address_format(&endpoint->address, text);
	for (char *c = text; *c; c++)
		if (*c == '.' || *c == ':')
			*c = '-';
	/* "::1" begins with what no label begins with */
	snprintf(ret_text, ADDRESS_TEXT_SIZE + 2, "%s%s%s", text[0] == '-' ? "0" : "", text, text[strlen(text) - 1] == '-' ? "0" : "");
}

static void endpoint_add(struct maker *maker, const struct names_endpoint *endpoint, const struct dns_name *service)
{
	char label[ADDRESS_TEXT_SIZE + 2];
	struct dns_name prefix, name;

	endpoint_label(endpoint, label);
	if (dns_name_parse(is_label(endpoint->hostname) ? endpoint->hostname : label, &prefix) < 0 ||
	    dns_name_join(&prefix, 1, service, &name) < 0)
		return;
	address_add(maker, service, &endpoint->address);
	address_add(maker, &name, &endpoint->address);
	reverse_add(maker, &endpoint->address, &name);
	for (size_t i = 0; i < endpoint->port_count; i++)
		srv_add(maker, &endpoint->ports[i], service, &name);
}

static void service_add(struct maker *maker, const struct names_service *service)
{
	struct dns_name name, target;

	if (!is_label(service->name) || !is_label(service->namespace_name) ||
	    !name_make(&name, "%s.%s.svc.%s", service->name, service->namespace_name, maker->zone))
		return;
	if (*service->external_name) {
		if (dns_name_parse(service->external_name, &target) == 0)
			record_add(maker, &name, DNS_CNAME, target.bytes, target.length);
		return;
	}
	if (service->headless) {
		/* it is there, though nothing of it may be ready: a record of no type that can be asked for */
		if (!service->endpoint_count)
			record_add(maker, &name, 0, "", 0);
		for (size_t i = 0; i < service->endpoint_count; i++)
			endpoint_add(maker, &service->endpoints[i], &name);
		return;
	}
	for (size_t i = 0; i < service->address_count; i++) {
		address_add(maker, &name, &service->addresses[i]);
		if (service->reverse)
			reverse_add(maker, &service->addresses[i], &name);
	}
	for (size_t i = 0; service->address_count && i < service->port_count; i++)
		srv_add(maker, &service->ports[i], &name, &name);
}

static void zone_add(struct maker *maker, const char *name, bool partial)
{
	struct zone_config *zone = &maker->result->zones[maker->result->zone_count];

	*zone = (struct zone_config){.partial = partial, .pods = !partial, .negative_ttl = NAMES_TTL};
	if (dns_name_parse(name, &zone->name) == 0)
		maker->result->zone_count++;
}

static void apex_add(struct maker *maker, const struct names_input *input)
{
	struct dns_name zone, name;

	if (dns_name_parse(input->zone, &zone) < 0)
		return;
	if (name_make(&name, "dns-version.%s", input->zone))
		record_add(maker, &name, DNS_TXT, "\0051.1.0", 6);
	if (!name_make(&name, "ns.dns.%s", input->zone))
		return;
	record_add(maker, &zone, DNS_NS, name.bytes, name.length);
	for (size_t i = 0; i < input->server_count; i++)
		address_add(maker, &name, &input->servers[i]);
}

/* A namespace is a name between others; one without services has nothing below it that would make it one. */
static void namespace_add(struct maker *maker, const char *name)
{
	struct dns_name owner;

	if (is_label(name) && name_make(&owner, "%s.svc.%s", name, maker->zone))
		record_add(maker, &owner, 0, "", 0);
}

void names_make(const struct names_input *input, struct names_result *ret_result)
{
	struct names_result *result = ret_result;
	struct maker maker = {.result = result, .zone = input->zone};
	size_t kept = 0;

	*result = (struct names_result){.arena = arena_new()};
	zone_add(&maker, input->zone, input->shared);
	zone_add(&maker, "in-addr.arpa", true);
	zone_add(&maker, "ip6.arpa", true);
	if (!input->shared)
		apex_add(&maker, input);
	for (size_t i = 0; !input->shared && i < input->namespace_count; i++)
		namespace_add(&maker, input->namespaces[i]);
	for (size_t i = 0; i < input->service_count; i++)
		service_add(&maker, &input->services[i]);
	if (result->count) /* a shared zone has none of its own */
		qsort(result->records, result->count, sizeof(*result->records), record_order);
	for (size_t i = 0; i < result->count; i++)
		if (!kept || zone_record_compare(&result->records[kept - 1], &result->records[i]) != 0)
			result->records[kept++] = result->records[i];
	result->count = kept;
}

void names_result_done(struct names_result *result)
{
	free(result->records);
	arena_free(result->arena);
	*result = (struct names_result){0};
}

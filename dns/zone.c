/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/zone.h"

#include <string.h>

#include "base/lib/address_text.h"
#include "base/lib/bytes.h"
#include "base/lib/memory.h"

#define ALIASES_MAX 8 /* of a chain within these zones */
/* The same always, on all nodes and in packets' cache, whose answers outlive changes of other names: these zones are not transferred. */
#define SOA_SERIAL 1
#define SOA_REFRESH 7200
#define SOA_RETRY 1800
#define SOA_EXPIRE 86400

struct datum {
	uint16_t type;
	uint16_t length;
	uint32_t ttl;
	uint8_t *data;
};

/* A name with records, or one between others that has none (an empty non-terminal). */
struct node {
	struct node *next;
	uint64_t hash;
	struct dns_name name;
	struct datum *data;
	size_t count;
	size_t below; /* nodes one label longer */
};

struct zone_set {
	struct node **buckets;
	size_t bucket_count, node_count, record_count;
	struct zone_config *zones;
	size_t zone_count;
};

struct zone_set *zone_set_new(void)
{
	struct zone_set *set = memory_or_end(calloc(1, sizeof(*set)));

	set->bucket_count = 256;
	set->buckets = memory_or_end(calloc(set->bucket_count, sizeof(*set->buckets)));
	return set;
}

static void node_free(struct node *node)
{
	for (size_t i = 0; i < node->count; i++)
		free(node->data[i].data);
	free(node->data);
	free(node);
}

void zone_set_clear(struct zone_set *set)
{
	for (size_t i = 0; i < set->bucket_count; i++) {
		while (set->buckets[i]) {
			struct node *node = set->buckets[i];

			set->buckets[i] = node->next;
			node_free(node);
		}
	}
	set->node_count = set->record_count = 0;
}

void zone_set_free(struct zone_set *set)
{
	if (!set)
		return;
	zone_set_clear(set);
	free(set->buckets);
	free(set->zones);
	free(set);
}

void zone_set_zones(struct zone_set *set, const struct zone_config *zones, size_t count)
{
	free(set->zones);
	set->zones = memory_array(NULL, count, sizeof(*zones));
	if (count)
		memcpy(set->zones, zones, count * sizeof(*zones));
	set->zone_count = count;
}

size_t zone_set_count(const struct zone_set *set)
{
	return set->record_count;
}

/* --- nodes ------------------------------------------------------------------------------------------------------------------ */

static struct node *node_find(const struct zone_set *set, const struct dns_name *name)
{
	uint64_t hash = dns_name_hash(name, 0);
	struct node *node = set->buckets[hash & (set->bucket_count - 1)];

	while (node && (node->hash != hash || !dns_name_equal(&node->name, name)))
		node = node->next;
	return node;
}

static void buckets_grow(struct zone_set *set)
{
	size_t count = 2 * set->bucket_count;
	struct node **buckets = memory_or_end(calloc(count, sizeof(*buckets)));

	for (size_t i = 0; i < set->bucket_count; i++) {
		while (set->buckets[i]) {
			struct node *node = set->buckets[i];

			set->buckets[i] = node->next;
			node->next = buckets[node->hash & (count - 1)];
			buckets[node->hash & (count - 1)] = node;
		}
	}
	free(set->buckets);
	set->buckets = buckets;
	set->bucket_count = count;
}

/* With the names above it, up to the root. */
static struct node *node_get(struct zone_set *set, const struct dns_name *name)
{
	struct node *node = node_find(set, name);

	if (node)
		return node;
	if (set->node_count >= set->bucket_count)
		buckets_grow(set);
	node = memory_or_end(calloc(1, sizeof(*node)));
	node->hash = dns_name_hash(name, 0);
	node->name = *name;
	node->next = set->buckets[node->hash & (set->bucket_count - 1)];
	set->buckets[node->hash & (set->bucket_count - 1)] = node;
	set->node_count++;
	if (name->length > 1) {
		struct dns_name parent = dns_name_parent(name, 1);

		node_get(set, &parent)->below++;
	}
	return node;
}

static void node_drop(struct zone_set *set, struct node *node)
{
	struct node **at = &set->buckets[node->hash & (set->bucket_count - 1)];
	struct dns_name name = node->name;

	if (node->count || node->below)
		return;
	while (*at != node)
		at = &(*at)->next;
	*at = node->next;
	node_free(node);
	set->node_count--;
	if (name.length > 1) {
		struct dns_name parent = dns_name_parent(&name, 1);
		struct node *above = node_find(set, &parent);

		above->below--;
		node_drop(set, above);
	}
}

static struct datum *datum_find(struct node *node, const struct zone_record *record)
{
	for (size_t i = 0; node && i < node->count; i++) {
		struct datum *datum = &node->data[i];

		if (datum->type == record->type && datum->length == record->data_length &&
		    memcmp(datum->data, record->data, datum->length) == 0)
			return datum;
	}
	return NULL;
}

bool zone_set_add(struct zone_set *set, const struct zone_record *record, bool *ret_new_name)
{
	struct node *node = node_get(set, &record->owner);
	struct datum *datum = datum_find(node, record);

	*ret_new_name = node->count == 0;
	if (datum) {
		bool changed = datum->ttl != record->ttl;

		datum->ttl = record->ttl;
		return changed;
	}
	node->data = memory_array(node->data, node->count + 1, sizeof(*node->data));
	datum = &node->data[node->count++];
	*datum = (struct datum){.type = record->type, .ttl = record->ttl, .length = record->data_length};
	datum->data = memory_or_end(malloc(record->data_length + 1u));
	memcpy(datum->data, record->data, record->data_length);
	set->record_count++;
	return true;
}

bool zone_set_remove(struct zone_set *set, const struct zone_record *record, bool *ret_name_gone)
{
	struct node *node = node_find(set, &record->owner);
	struct datum *datum = datum_find(node, record);

	*ret_name_gone = false;
	if (!datum)
		return false;
	free(datum->data);
	*datum = node->data[--node->count];
	set->record_count--;
	*ret_name_gone = node->count == 0;
	node_drop(set, node);
	return true;
}

void zone_set_each(const struct zone_set *set, zone_visitor *visitor, void *context)
{
	for (size_t i = 0; i < set->bucket_count; i++) {
		for (const struct node *node = set->buckets[i]; node; node = node->next) {
			for (size_t k = 0; k < node->count; k++) {
				struct zone_record record = {.owner = node->name, .type = node->data[k].type, .ttl = node->data[k].ttl,
							     .data_length = node->data[k].length, .data = node->data[k].data};

				visitor(&record, context);
			}
		}
	}
}

/* --- answers ------------------------------------------------------------------------------------------------------------------ */

const struct zone_config *zone_set_zone(const struct zone_set *set, const struct dns_name *name)
{
	const struct zone_config *best = NULL;

	for (size_t i = 0; i < set->zone_count; i++)
		if (dns_name_within(name, &set->zones[i].name) && (!best || set->zones[i].name.length > best->name.length))
			best = &set->zones[i];
	return best;
}

size_t zone_soa(const struct zone_config *zone, uint8_t ret_data[static 2 * DNS_NAME_MAX + 20])
{
	static const struct dns_name server = {8, "\2ns\3dns"}, contact = {12, "\12" "hostmaster"};
	uint32_t numbers[5] = {SOA_SERIAL, SOA_REFRESH, SOA_RETRY, SOA_EXPIRE, zone->negative_ttl};
	struct dns_name name;
	size_t used = 0;

	/* a zone whose name leaves no room for these is its own server and contact */
	if (dns_name_join(&server, 2, &zone->name, &name) < 0)
		name = zone->name;
	memcpy(ret_data, name.bytes, name.length);
	used += name.length;
	if (dns_name_join(&contact, 1, &zone->name, &name) < 0)
		name = zone->name;
	memcpy(ret_data + used, name.bytes, name.length);
	used += name.length;
	for (size_t i = 0; i < 5; i++, used += 4)
		bytes_put32(ret_data + used, numbers[i]);
	return used;
}

static void soa_add(const struct zone_config *zone, enum dns_section section, struct dns_writer *writer)
{
	uint8_t data[2 * DNS_NAME_MAX + 20];
	size_t length = zone_soa(zone, data);

	dns_writer_add(writer, section, &zone->name, DNS_SOA, DNS_IN, zone->negative_ttl, data, length);
}

/* "10-0-0-1" or "2001-db8--1": what comes before NAMESPACE.pod.ZONE. */
static bool pod_address(const uint8_t *label, struct address *ret_address)
{
	static const char separators[] = {'.', ':'};
	char text[64];

	for (size_t k = 0; k < sizeof(separators); k++) {
		for (size_t i = 0; i < label[0]; i++) {
			text[i] = (char)label[1 + i];
			if (text[i] == '.' || text[i] == ':' || !text[i])
				return false;
			if (text[i] == '-')
				text[i] = separators[k];
		}
		text[label[0]] = '\0';
		if (address_parse(text, ret_address) == 0)
			return true;
	}
	return false;
}

/* A pod's name; the name above it is one between others, if its namespace is there. */
static enum zone_result pod_answer(const struct zone_set *set, const struct zone_config *zone, const struct dns_name *name,
				   uint16_t type, struct dns_writer *writer)
{
	static const struct dns_name pod = {5, "\3pod"}, svc = {5, "\3svc"};
	unsigned int labels = dns_name_labels(name) - dns_name_labels(&zone->name);
	struct dns_name suffix, services, space;
	struct address address;
	uint16_t own;

	if (!zone->pods || labels > 3 || labels < 1 || dns_name_join(&pod, 1, &zone->name, &suffix) < 0 ||
	    !dns_name_within(name, &suffix))
		return ZONE_NO_NAME;
	if (labels == 1)
		return ZONE_NO_DATA;
	space = dns_name_parent(name, labels - 2);
	if (dns_name_join(&svc, 1, &zone->name, &services) < 0 || dns_name_join(&space, 1, &services, &services) < 0 ||
	    !node_find(set, &services))
		return ZONE_NO_NAME;
	if (labels == 2)
		return ZONE_NO_DATA;
	if (!pod_address(name->bytes, &address))
		return ZONE_NO_NAME;
	own = address_is_ipv4(&address) ? DNS_A : DNS_AAAA;
	if (type != own)
		return ZONE_NO_DATA;
	if (writer)
		dns_writer_add(writer, DNS_ANSWER, name, own, DNS_IN, zone->negative_ttl,
			       (const uint8_t *)&address + (own == DNS_A ? 12 : 0), own == DNS_A ? 4 : 16);
	return ZONE_FOUND;
}

static bool node_answer(const struct node *node, uint16_t type, struct dns_writer *writer)
{
	bool any = false;

	for (size_t i = 0; i < node->count; i++) {
		const struct datum *datum = &node->data[i];

		if (datum->type != type)
			continue;
		any = true;
		if (writer)
			dns_writer_add(writer, DNS_ANSWER, &node->name, type, DNS_IN, datum->ttl, datum->data, datum->length);
	}
	return any;
}

static const struct datum *node_alias(const struct node *node)
{
	for (size_t i = 0; i < node->count; i++)
		if (node->data[i].type == DNS_CNAME)
			return &node->data[i];
	return NULL;
}

/* Targets of SRV records go along, with their addresses. */
static void targets_add(const struct zone_set *set, const struct node *node, struct dns_writer *writer)
{
	for (size_t i = 0; i < node->count; i++) {
		size_t offset = 6;
		struct dns_name target;
		const struct node *other;

		if (node->data[i].type != DNS_SRV ||
		    dns_name_read(node->data[i].data, node->data[i].length, &offset, &target) < 0)
			continue;
		other = node_find(set, &target);
		for (size_t k = 0; other && k < other->count; k++)
			if (other->data[k].type == DNS_A || other->data[k].type == DNS_AAAA)
				dns_writer_add(writer, DNS_ADDITIONAL, &other->name, other->data[k].type, DNS_IN, other->data[k].ttl,
					       other->data[k].data, other->data[k].length);
	}
}

static enum zone_result answer(const struct zone_set *set, const struct dns_name *asked, uint16_t type,
			       struct dns_writer *writer, struct dns_name *ret_alias)
{
	struct dns_name name = *asked;
	const struct zone_config *zone;

	for (unsigned int step = 0; step < ALIASES_MAX; step++) {
		const struct node *node = node_find(set, &name);
		const struct datum *alias;
		enum zone_result result;
		size_t offset = 0;

		zone = zone_set_zone(set, &name);
		if (!zone || (zone->partial && !(node && node->count))) {
			*ret_alias = name;
			return step ? ZONE_ALIAS : ZONE_ELSEWHERE;
		}
		if (!node && name.length != zone->name.length) {
			result = pod_answer(set, zone, &name, type, writer);
			if (writer && result != ZONE_FOUND)
				soa_add(zone, DNS_AUTHORITY, writer);
			return result;
		}
		alias = node ? node_alias(node) : NULL;
		if (alias && type != DNS_CNAME) {
			if (writer)
				dns_writer_add(writer, DNS_ANSWER, &name, DNS_CNAME, DNS_IN, alias->ttl, alias->data, alias->length);
			if (dns_name_read(alias->data, alias->length, &offset, &name) < 0)
				return ZONE_LOOP;
			dns_name_lower(&name);
			continue;
		}
		if (type == DNS_SOA && name.length == zone->name.length) {
			if (writer)
				soa_add(zone, DNS_ANSWER, writer);
			return ZONE_FOUND;
		}
		if (!node || !node_answer(node, type, writer)) {
			if (writer)
				soa_add(zone, DNS_AUTHORITY, writer);
			return ZONE_NO_DATA;
		}
		if (writer && type == DNS_SRV)
			targets_add(set, node, writer);
		return ZONE_FOUND;
	}
	return ZONE_LOOP;
}

enum zone_result zone_set_answer(const struct zone_set *set, const struct dns_name *name, uint16_t type,
				 struct dns_writer *writer, struct dns_name *ret_alias)
{
	return answer(set, name, type, writer, ret_alias);
}

enum zone_result zone_set_look(const struct zone_set *set, const struct dns_name *name, uint16_t type)
{
	struct dns_name alias;

	return answer(set, name, type, NULL, &alias);
}

bool zone_set_contains(const struct zone_set *set, const struct zone_record *record)
{
	return datum_find(node_find(set, &record->owner), record);
}

bool zone_set_has_name(const struct zone_set *set, const struct dns_name *name)
{
	const struct node *node = node_find(set, name);

	return node && node->count;
}

void zone_set_each_zone(const struct zone_set *set, void (*visit)(const struct zone_config *zone, void *context), void *context)
{
	for (size_t i = 0; i < set->zone_count; i++)
		visit(&set->zones[i], context);
}

void zone_set_each_name(const struct zone_set *set, void (*visit)(const struct dns_name *name, void *context), void *context)
{
	for (size_t i = 0; i < set->bucket_count; i++)
		for (const struct node *node = set->buckets[i]; node; node = node->next)
			visit(&node->name, context);
}

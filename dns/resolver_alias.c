/* SPDX-License-Identifier: Apache-2.0 */
/* Autopath, and CNAME records that lead from own names to others', or back. */
#include "dns/resolver_internal.h"

#include <string.h>

#include "base/lib/bytes.h"

#define TURNS_MAX 8u	/* from own names to others' and back */
#define ALIASES_MAX 16u /* of an answer */

/*
 * A client with ndots:5 asks for example.com.NAMESPACE.svc.ZONE, example.com.svc.ZONE, example.com.ZONE, those in the host's own
 * search domains, and last for example.com, each for A and AAAA. The first of them is answered with a CNAME to the one that exists.
 */
unsigned int autopath_labels(const struct resolver *resolver, const struct dns_name *name)
{
	unsigned int labels;

	if (!resolver->autopath || !dns_name_within(name, &resolver->services))
		return 0;
	labels = dns_name_labels(name) - dns_name_labels(&resolver->services);
	if (labels < 3 || name->bytes[1] == '_')
		return 0;
	return labels - 1;
}

/* The nth name that the client would ask for next; false: there is none. */
static bool autopath_candidate(const struct resolver *resolver, const struct dns_request *request, unsigned int number,
			       struct dns_name *ret_name)
{
	static const struct dns_name root = {.length = 1};
	unsigned int labels = autopath_labels(resolver, &request->query.name);
	const struct dns_name *suffix;

	if (number == 1)
		suffix = &resolver->services;
	else if (number == 2)
		suffix = &resolver->cluster;
	else if (number - 3 < resolver->search_count)
		suffix = &resolver->search[number - 3];
	else if (number - 3 == resolver->search_count)
		suffix = &root;
	else
		return false;
	/* a name too long for this domain is not there, but perhaps in the next */
	if (dns_name_join(&request->query.name, labels, suffix, ret_name) < 0)
		*ret_name = request->query.name;
	return true;
}

/* What led to the name that was looked up last is forgotten. */
static void prefix_clear(struct dns_request *request)
{
	request->prefix_length = 0;
	request->prefix_foreign = false;
	request->turns = 0;
}

bool autopath_next(struct resolver *resolver, struct dns_request *request)
{
	prefix_clear(request);
	while (request->candidate <= CANDIDATES_MAX) {
		enum zone_result known;

		if (!autopath_candidate(resolver, request, request->candidate + 1, &request->asked))
			return false;
		request->candidate++;
		known = zone_set_look(resolver->zones, &request->asked, request->query.type);
		if (known == ZONE_NO_NAME)
			continue;
		request_resolve(resolver, request);
		return true;
	}
	return false;
}

void autopath_fail(struct resolver *resolver, struct dns_request *request)
{
	request->asked = request->query.name;
	request->candidate = CANDIDATES_MAX + 1;
	prefix_clear(request);
	own_finish(resolver, request, RESULT_CLUSTER);
}

/* --- answers that begin with CNAME records of our own ------------------------------------------------------------------------------ */

/* Which records of a message are copied, and how their TTLs are changed. */
struct copying {
	const struct dns_name *owners; /* CNAME records of these alone, and what made them (RFC 6672); NULL: all */
	size_t owner_count;
	uint32_t age, ttl_max;
};

static bool record_wanted(const struct copying *how, const uint8_t *message, const struct dns_record *record)
{
	uint16_t type = record->type;
	struct dns_name owner = record->owner;

	if (!how->owners)
		return true;
	if (type == DNS_RRSIG && record->data_length >= 2)
		type = bytes_get16(message + record->data_offset);
	if (record->section != DNS_ANSWER || (type != DNS_CNAME && type != DNS_DNAME))
		return false;
	dns_name_lower(&owner);
	for (size_t i = 0; i < how->owner_count; i++)
		if (type == DNS_DNAME ? dns_name_within(&how->owners[i], &owner) : dns_name_equal(&how->owners[i], &owner))
			return true;
	return false;
}

static void records_copy(const uint8_t *message, size_t length, const struct copying *how, struct dns_writer *writer)
{
	static uint8_t data[DNS_MESSAGE_MAX];
	struct dns_record record;
	struct dns_walk walk;
	size_t data_length;

	if (dns_walk_start(&walk, message, length) < 0)
		return;
	while (dns_walk_next(&walk, &record) > 0) {
		uint32_t ttl = record.ttl > how->age ? record.ttl - how->age : 0;

		if (!record_wanted(how, message, &record))
			continue;
		if (dns_data_expand(message, length, &record, data, sizeof(data), &data_length) < 0)
			return;
		dns_writer_add(writer, record.section, &record.owner, record.type, record.class,
			       ttl < how->ttl_max ? ttl : how->ttl_max, data, data_length);
	}
}

/* The query's name, and what led from there to `asked`. The alias of a search list lasts `alias_ttl`. */
static void prefix_write(const struct dns_request *request, uint32_t alias_ttl, struct dns_writer *writer)
{
	static const struct copying whole = {.ttl_max = UINT32_MAX};
	const struct dns_query *query = &request->query;

	dns_writer_start(writer, writer->bytes, writer->size, 0, 0, &query->name, query->type, query->class);
	if (request->prefix_length)
		records_copy(request->prefix, request->prefix_length, &whole, writer);
	else if (request->candidate && request->candidate <= CANDIDATES_MAX)
		dns_writer_add(writer, DNS_ANSWER, &query->name, DNS_CNAME, DNS_IN, alias_ttl, request->asked.bytes,
			       request->asked.length);
}

size_t message_compose(const struct dns_request *request, const uint8_t *message, size_t length, uint32_t age, uint8_t *bytes,
		       size_t size)
{
	const struct copying aged = {.age = age, .ttl_max = UINT32_MAX};
	uint32_t ttl = message ? dns_answer_ttl(message, length) : 0;
	struct dns_writer writer = {.bytes = bytes, .size = size};

	/* the alias lasts as long as what it leads to */
	prefix_write(request, ttl > age ? ttl - age : 0, &writer);
	if (message)
		records_copy(message, length, &aged, &writer);
	return dns_writer_end(&writer);
}

static void prefix_extend(struct resolver *resolver, struct dns_request *request, const uint8_t *message, size_t length,
			  const struct copying *how, const struct dns_name *target)
{
	uint8_t bytes[sizeof(request->prefix)];
	struct dns_writer writer = {.bytes = bytes, .size = sizeof(bytes)};
	uint32_t ttl = dns_answer_ttl(message, length);

	ttl = ttl > how->age ? ttl - how->age : 0;
	prefix_write(request, ttl < how->ttl_max ? ttl : how->ttl_max, &writer);
	records_copy(message, length, how, &writer);
	if (writer.full || ++request->turns > TURNS_MAX) {
		request_fail(resolver, request, DNS_EDE_OTHER, "too many aliases");
		return;
	}
	request->prefix_length = dns_writer_end(&writer);
	memcpy(request->prefix, bytes, request->prefix_length);
	request->asked = *target;
	request_resolve(resolver, request);
}

void request_lead(struct resolver *resolver, struct dns_request *request, const uint8_t *message, size_t length,
		  const struct dns_name *target)
{
	static const struct copying whole = {.ttl_max = UINT32_MAX};

	prefix_extend(resolver, request, message, length, &whole, target);
}

/* --- answers of others that lead to names of ours ------------------------------------------------------------------------------------ */

static bool name_is_here(const struct resolver *resolver, const struct dns_name *name, uint16_t type)
{
	return steering_knows(resolver->steering, name) || zone_set_look(resolver->zones, name, type) != ZONE_ELSEWHERE;
}

/* The target of the name's CNAME record in the message's answer. */
static bool alias_find(const uint8_t *message, size_t length, const struct dns_name *name, struct dns_name *ret_target)
{
	struct dns_record record;
	struct dns_walk walk;

	if (dns_walk_start(&walk, message, length) < 0)
		return false;
	while (dns_walk_next(&walk, &record) > 0 && record.section == DNS_ANSWER) {
		size_t offset = record.data_offset;

		if (record.type != DNS_CNAME)
			continue;
		dns_name_lower(&record.owner);
		if (!dns_name_equal(&record.owner, name) || dns_name_read(message, length, &offset, ret_target) < 0)
			continue;
		dns_name_lower(ret_target);
		return true;
	}
	return false;
}

/* The names from `asked` to the one that is answered here, the last of them left out; 0: they lead to none. */
static size_t aliases_follow(const struct resolver *resolver, const struct dns_name *asked, uint16_t type, const uint8_t *message,
			     size_t length, struct dns_name ret_owners[static ALIASES_MAX], struct dns_name *ret_target)
{
	ret_owners[0] = *asked;
	for (size_t count = 1; type != DNS_CNAME && alias_find(message, length, &ret_owners[count - 1], ret_target); count++) {
		if (name_is_here(resolver, ret_target, type))
			return count;
		if (count == ALIASES_MAX)
			break;
		ret_owners[count] = *ret_target;
	}
	return 0;
}

bool answer_leads_here(const struct resolver *resolver, const struct answer *answer)
{
	struct dns_name owners[ALIASES_MAX], target;

	return aliases_follow(resolver, &answer->key.name, answer->key.type, answer->plain, answer->plain_length, owners, &target) != 0;
}

bool request_lead_here(struct resolver *resolver, struct dns_request *request, const uint8_t *message, size_t length, uint32_t age,
		       uint32_t ttl_max)
{
	struct dns_name owners[ALIASES_MAX], target;
	struct copying how = {.owners = owners, .age = age, .ttl_max = ttl_max};

	how.owner_count = aliases_follow(resolver, &request->asked, request->query.type, message, length, owners, &target);
	if (!how.owner_count)
		return false;
	request->prefix_foreign = true;
	prefix_extend(resolver, request, message, length, &how, &target);
	return true;
}

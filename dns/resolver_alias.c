/* SPDX-License-Identifier: Apache-2.0 */
/* Autopath, and answers that begin with CNAME records of our own. */
#include "dns/resolver_internal.h"

#include <string.h>

#include "base/lib/bytes.h"

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

bool autopath_next(struct resolver *resolver, struct dns_request *request)
{
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
	request->prefix_length = 0;
	/* of a zone that others know, too, their denial is kept */
	if (zone_set_look(resolver->zones, &request->asked, request->query.type) == ZONE_ELSEWHERE)
		request_resolve_elsewhere(resolver, request);
	else
		own_finish(resolver, request, RESULT_CLUSTER);
}

/* --- answers that begin with CNAME records of our own ------------------------------------------------------------------------------ */

static void records_copy(const uint8_t *message, size_t length, struct dns_writer *writer, uint32_t *ttl)
{
	static uint8_t data[DNS_MESSAGE_MAX];
	struct dns_record record;
	struct dns_walk walk;
	size_t data_length;

	if (dns_walk_start(&walk, message, length) < 0)
		return;
	while (dns_walk_next(&walk, &record) > 0) {
		if (dns_data_expand(message, length, &record, data, sizeof(data), &data_length) < 0)
			return;
		if (record.ttl < *ttl)
			*ttl = record.ttl;
		dns_writer_add(writer, record.section, &record.owner, record.type, record.class, record.ttl, data, data_length);
	}
}

size_t message_compose(const struct dns_request *request, const uint8_t *message, size_t length, uint8_t *bytes,
			      size_t size)
{
	const struct dns_query *query = &request->query;
	uint32_t ttl = UINT32_MAX;
	struct dns_writer writer;

	dns_writer_start(&writer, bytes, size, 0, 0, &query->name, query->type, query->class);
	if (request->prefix_length)
		records_copy(request->prefix, request->prefix_length, &writer, &ttl);
	/* the alias lasts as long as what it leads to */
	if (request->candidate && request->candidate <= CANDIDATES_MAX && !request->prefix_length)
		dns_writer_add(&writer, DNS_ANSWER, &query->name, DNS_CNAME, DNS_IN, message ? dns_answer_ttl(message, length) : 0,
			       request->asked.bytes, request->asked.length);
	if (message)
		records_copy(message, length, &writer, &ttl);
	return dns_writer_end(&writer);
}

void led_feed(struct resolver *resolver, const struct dns_request *request, const uint8_t *message, size_t length,
		     uint32_t age)
{
	static uint8_t copy[DNS_MESSAGE_MAX];
	struct dns_record record;
	struct dns_walk walk;

	/* names that came meanwhile may be what the list leads to now: what packets said was forgotten when they came */
	if (request->names_seen != zone_set_changes(resolver->zones))
		return;
	memcpy(copy, message, length);
	if (dns_walk_start(&walk, copy, length) < 0)
		return;
	while (dns_walk_next(&walk, &record) > 0)
		bytes_put32(copy + record.ttl_offset, record.ttl > age ? record.ttl - age : 0);
	feed_led(resolver->feed, copy, length, request->query.dnssec_ok);
}

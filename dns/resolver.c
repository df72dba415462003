/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/resolver.h"

#include <string.h>
#include <time.h>

#include "base/lib/bytes.h"
#include "base/lib/memory.h"
#include "dns/resolver_internal.h"

#define ANY_TTL_S 3789		/* RFC 8482 section 4.2 */
#define KEEPALIVE_100MS 100
#define PADDING 468		/* RFC 8467 section 4.1 */

const char *resolver_result_name(enum resolver_result result)
{
	static const char *const names[] = {"cluster",	"steered", "autopath", "cached", "stale",
					    "resolved", "failed",  "refused",  "dropped"};

	return names[result];
}

/* --- the end of a query ------------------------------------------------------------------------------------------------------- */

static void latency_note(struct resolver *resolver, uint64_t took_us)
{
	unsigned int bucket = 0;

	while (bucket + 1 < LATENCY_BUCKETS && took_us >= 1ull << bucket)
		bucket++;
	resolver->latency[bucket]++;
	resolver->latency_sum_us += took_us;
}

static size_t reply_limit(const struct dns_request *request)
{
	if (request->transport != DNS_OVER_UDP)
		return DNS_MESSAGE_MAX;
	if (!request->query.edns)
		return DNS_UDP_PLAIN;
	return request->query.udp_size < DNS_UDP_SAFE ? request->query.udp_size : DNS_UDP_SAFE;
}

void request_finish(struct resolver *resolver, struct dns_request *request, const struct outcome *outcome)
{
	static uint8_t bytes[DNS_MESSAGE_MAX + 2048];
	const struct dns_query *query = &request->query;
	uint8_t cookie[24];
	struct dns_reply reply = {
		.flags = (uint16_t)(outcome->flags | DNS_FLAG_RA | (query->flags & (DNS_FLAG_RD | DNS_FLAG_CD | 0x7800))),
		.rcode = outcome->rcode,
		.limit = reply_limit(request),
		.question = request->question,
		.ede = (enum dns_ede)outcome->ede,
		.ede_text = outcome->ede_text,
		.keepalive_100ms = -1,
		.subnet = outcome->subnet,
		.subnet_scope = outcome->scope,
		.rotate = resolver->rotation++,
		.age = outcome->age,
		.stale_ttl = outcome->stale_ttl,
	};
	size_t length;

	if (query->cookie_length) {
		cookie_make(&resolver->cookie_secret, query->cookie, &request->client, (uint32_t)time(NULL), cookie);
		reply.cookie = cookie;
		reply.cookie_length = sizeof(cookie);
	}
	if (request->transport != DNS_OVER_UDP && query->keepalive)
		reply.keepalive_100ms = KEEPALIVE_100MS;
	if (request->transport == DNS_OVER_TLS)
		reply.padding = PADDING;
	length = dns_reply_write(query, &reply, outcome->message, outcome->length, bytes);
	resolver->results[outcome->result]++;
	resolver->transports[request->transport]++;
	latency_note(resolver, clock_us() - request->received_us);
	if (resolver->observer.seen)
		resolver->observer.seen(resolver->observer.context, request, bytes, length);
	free(request->wire);
	request->wire = NULL;
	request->done(request, bytes, length);
}

void request_drop(struct resolver *resolver, struct dns_request *request)
{
	resolver->results[RESULT_DROPPED]++;
	free(request->wire);
	request->wire = NULL;
	request->done(request, NULL, 0);
}

void request_fail(struct resolver *resolver, struct dns_request *request, int ede, const char *why)
{
	struct outcome outcome = {.result = RESULT_FAILED, .rcode = DNS_SERVFAIL, .ede = ede, .ede_text = why};

	request_finish(resolver, request, &outcome);
}

/* --- own names ------------------------------------------------------------------------------------------------------------------- */

/*
 * How long packets may give an answer for `asked`. One that depends on this name's own records alone, whose changes are told, lasts
 * until one. What an alias leads to changes without that: such an answer is for nobody but who asked. 0: not at all.
 */
static uint32_t own_life(const struct resolver *resolver, const struct dns_request *request, enum zone_result found, uint32_t ttl)
{
	uint16_t type = request->query.type;
	bool with_others = type == DNS_SRV || type == DNS_NS; /* addresses of their targets go along */

	if (zone_set_look(resolver->zones, &request->asked, DNS_CNAME) == ZONE_FOUND && type != DNS_CNAME)
		return 0;
	if ((found == ZONE_FOUND || found == ZONE_NO_DATA) && !with_others && zone_set_has_name(resolver->zones, &request->asked))
		return UINT32_MAX;
	return ttl;
}

void own_finish(struct resolver *resolver, struct dns_request *request, enum resolver_result result)
{
	static uint8_t bytes[DNS_MESSAGE_MAX], composed[DNS_MESSAGE_MAX];
	const struct dns_query *query = &request->query;
	struct outcome outcome = {.result = result, .flags = DNS_FLAG_AA, .ede = DNS_EDE_NONE, .message = bytes};
	struct dns_writer writer;
	struct dns_name alias;
	enum zone_result found;

	dns_writer_start(&writer, bytes, sizeof(bytes), 0, DNS_FLAG_AA | DNS_FLAG_RA, &request->asked, query->type, DNS_IN);
	found = zone_set_answer(resolver->zones, &request->asked, query->type, &writer, &alias);
	outcome.length = dns_writer_end(&writer);
	if (found == ZONE_NO_NAME) {
		outcome.rcode = DNS_NXDOMAIN;
		bytes_put16(bytes + 2, (uint16_t)(DNS_FLAG_QR | DNS_FLAG_AA | DNS_FLAG_RA | DNS_NXDOMAIN));
		if (!request->candidate && !request->prefix_length && autopath_labels(resolver, &query->name) &&
		    autopath_next(resolver, request))
			return;
		/* a candidate that others' aliases led here is not there, as if they had said so; or there is none */
		if (request_is_candidate(request)) {
			if (!autopath_next(resolver, request))
				autopath_fail(resolver, request);
			return;
		}
	}
	if (found == ZONE_ALIAS) {
		/* a service with an external name: its CNAME, and what that leads to */
		request_lead(resolver, request, bytes, outcome.length, &alias);
		return;
	}
	if (found == ZONE_LOOP) {
		request_fail(resolver, request, DNS_EDE_OTHER, "aliases that lead in a circle");
		return;
	}
	if (request_is_candidate(request) || request->prefix_length) {
		outcome.length = message_compose(request, bytes, outcome.length, 0, composed, sizeof(composed));
		outcome.message = composed;
		outcome.flags = request->candidate || request->prefix_foreign ? 0 : DNS_FLAG_AA;
		if (request_is_candidate(request)) {
			outcome.result = RESULT_AUTOPATH;
			resolver->autopath_saved += request->candidate;
		}
	} else if (!request->prefix_length && result == RESULT_CLUSTER) {
		struct answer_key key = {.name = request->asked, .type = query->type};

		bytes_put16(bytes + 2, (uint16_t)(bytes_get16(bytes + 2) | DNS_FLAG_QR));
		feed_own(resolver->feed, &key, bytes, outcome.length,
			 own_life(resolver, request, found, dns_answer_ttl(bytes, outcome.length)));
	}
	request_finish(resolver, request, &outcome);
}

static void steered_finish(struct resolver *resolver, struct dns_request *request)
{
	static uint8_t bytes[4096];
	struct outcome outcome = {.result = RESULT_STEERED, .ede = DNS_EDE_NONE, .message = bytes, .subnet = true};
	struct dns_query query = request->query;
	struct dns_writer writer;

	query.name = request->asked;
	dns_writer_start(&writer, bytes, sizeof(bytes), 0, 0, &query.name, query.type, DNS_IN);
	outcome.rcode = steering_answer(resolver->steering, &query, &request->client, &writer, &outcome.scope);
	outcome.length = dns_writer_end(&writer);
	if (request_is_candidate(request) || request->prefix_length) {
		static uint8_t composed[8192];

		outcome.length = message_compose(request, bytes, outcome.length, 0, composed, sizeof(composed));
		outcome.message = composed;
	}
	/* not of what others said, too */
	outcome.flags = request->prefix_foreign ? 0 : DNS_FLAG_AA;
	request_finish(resolver, request, &outcome);
}

bool name_is_awaited(const struct resolver *resolver, const struct dns_name *name)
{
	return !resolver->cluster_forwarded && dns_name_within(name, &resolver->cluster) && !zone_set_zone(resolver->zones, name);
}

void request_resolve(struct resolver *resolver, struct dns_request *request)
{
	if (name_is_awaited(resolver, &request->asked))
		request_fail(resolver, request, DNS_EDE_NOT_READY, "the cluster's names are not known yet");
	else if (steering_knows(resolver->steering, &request->asked))
		steered_finish(resolver, request);
	else if (zone_set_look(resolver->zones, &request->asked, request->query.type) != ZONE_ELSEWHERE)
		own_finish(resolver, request, RESULT_CLUSTER);
	else
		request_resolve_elsewhere(resolver, request);
}

/* --- queries that are no questions for the above -------------------------------------------------------------------------------------- */

/* version.bind and its kin: refused, as everything else that is not of the Internet. */
static bool class_refused(struct resolver *resolver, struct dns_request *request)
{
	struct outcome outcome = {.result = RESULT_REFUSED, .rcode = DNS_REFUSED, .ede = DNS_EDE_NONE};

	if (request->query.class == DNS_IN)
		return false;
	request_finish(resolver, request, &outcome);
	return true;
}

/* ANY gets one small record (RFC 8482 section 4.2), if the name can be told to exist at all without asking. */
static void any_finish(struct resolver *resolver, struct dns_request *request)
{
	static const uint8_t data[] = "\7RFC8482";
	uint8_t bytes[1024];
	struct outcome outcome = {.result = RESULT_REFUSED, .ede = DNS_EDE_NONE, .message = bytes};
	struct dns_writer writer;

	if (zone_set_look(resolver->zones, &request->asked, DNS_ANY) == ZONE_NO_NAME) {
		own_finish(resolver, request, RESULT_CLUSTER);
		return;
	}
	dns_writer_start(&writer, bytes, sizeof(bytes), 0, 0, &request->asked, DNS_ANY, DNS_IN);
	dns_writer_add(&writer, DNS_ANSWER, &request->asked, DNS_HINFO, DNS_IN, ANY_TTL_S, data, sizeof(data));
	outcome.length = dns_writer_end(&writer);
	request_finish(resolver, request, &outcome);
}

void resolver_take(struct resolver *resolver, struct dns_request *request, enum dns_query_verdict verdict, uint16_t rcode)
{
	request->asked = request->query.name;
	request->candidate = 0;
	request->prefix_length = 0;
	request->turns = 0;
	request->prefix_foreign = false;
	request->names_seen = zone_set_changes(resolver->zones);
	request->wire = NULL;
	if (resolver->observer.seen && request->bytes) {
		request->wire = memcpy(memory_or_end(malloc(request->length + 1)), request->bytes, request->length);
		request->wire_length = request->length;
	}
	if (verdict == DNS_QUERY_DROP) {
		request_drop(resolver, request);
	} else if (verdict == DNS_QUERY_REFUSE) {
		struct outcome outcome = {.result = RESULT_REFUSED, .rcode = rcode, .ede = DNS_EDE_NONE};

		request_finish(resolver, request, &outcome);
	} else if (class_refused(resolver, request)) {
		return;
	} else if (request->query.type == DNS_ANY) {
		any_finish(resolver, request);
	} else {
		request_resolve(resolver, request);
	}
}

/* --- control ---------------------------------------------------------------------------------------------------------------------------- */

struct answers *resolver_answers(struct resolver *resolver)
{
	return resolver->answers;
}

void resolver_observe(struct resolver *resolver, const struct resolver_observer *observer)
{
	resolver->observer = observer ? *observer : (struct resolver_observer){0};
}

size_t resolver_flush(struct resolver *resolver, const struct dns_name *below)
{
	feed_flush(resolver->feed, below);
	memories_forget(resolver);
	return answers_flush(resolver->answers, below);
}

static json_t *latencies_json(const struct resolver *resolver)
{
	json_t *buckets = json_array();

	for (unsigned int i = 0; i < LATENCY_BUCKETS; i++)
		json_array_append_new(buckets, json_pack("{s:I, s:I}", "leUs", (json_int_t)(1ll << i), "count",
							 (json_int_t)resolver->latency[i]));
	return buckets;
}

json_t *resolver_json(const struct resolver *resolver)
{
	static const char *const transports[] = {"udp", "tcp", "tls"};
	struct answers_statistics kept = answers_measure(resolver->answers);
	json_t *results = json_object(), *over = json_object(), *upstreams = json_array();

	for (size_t i = 0; i < RESULT_COUNT; i++)
		json_object_set_new(results, resolver_result_name((enum resolver_result)i), json_integer((json_int_t)resolver->results[i]));
	for (size_t i = 0; i < DNS_OVER_COUNT; i++)
		json_object_set_new(over, transports[i], json_integer((json_int_t)resolver->transports[i]));
	for (size_t i = 0; i < resolver->upstream_count; i++)
		json_array_append_new(upstreams, upstreams_json(resolver->upstreams[i]));
	return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:{s:I, s:I, s:I}, s:o, s:o}", "results", results, "transports", over,
			 "autopathSaved", (json_int_t)resolver->autopath_saved, "renewals", (json_int_t)resolver->renewals, "running",
			 (json_int_t)resolver->job_count, "latencySumUs", (json_int_t)resolver->latency_sum_us, "latencyUs", latencies_json(resolver), "cache", "answers",
			 (json_int_t)kept.count, "bytes", (json_int_t)kept.bytes, "evicted", (json_int_t)kept.evicted, "upstreams",
			 upstreams, "fastPath", feed_json(resolver->feed));
}

/* --- life -------------------------------------------------------------------------------------------------------------------------------- */

static int upstreams_make(struct resolver *resolver, struct error *error)
{
	const struct dns_config *config = resolver->config;
	struct upstream_options options = {
		.hedge_delay_ms = config->hedge_delay_ms, .hedge_percent = config->hedge_percent, .authorities = config->authorities};

	resolver->upstreams = memory_or_end(calloc(config->forward_count + 1, sizeof(*resolver->upstreams)));
	for (size_t i = 0; i < config->forward_count; i++) {
		int status = upstreams_new(resolver->base, &config->forwards[i], &options, &resolver->upstreams[i], error);

		if (status < 0)
			return error_prefix(error, -status, "zone %s", config->forwards[i].zone);
		resolver->upstream_count++;
	}
	return 0;
}

static void names_make(struct resolver *resolver)
{
	static const struct dns_name svc = {5, "\3svc"};
	const struct dns_config *config = resolver->config;

	if (dns_name_parse(config->cluster_domain, &resolver->cluster) < 0 ||
	    dns_name_join(&svc, 1, &resolver->cluster, &resolver->services) < 0)
		return;
	resolver->autopath = config->autopath;
	for (size_t i = 0; i < config->forward_count; i++)
		resolver->cluster_forwarded |= strcmp(config->forwards[i].zone, config->cluster_domain) == 0;
	resolver->search = memory_or_end(calloc(config->search_count + 1, sizeof(*resolver->search)));
	for (size_t i = 0; i < config->search_count; i++)
		if (dns_name_parse(config->search[i], &resolver->search[resolver->search_count]) == 0)
			resolver->search_count++;
}

/* What is answered here is not others' to say, though it may still be kept from when it was. */
static bool answer_is_others(void *context, const struct answer *answer)
{
	const struct resolver *resolver = context;

	return !steering_knows(resolver->steering, &answer->key.name) &&
	       zone_set_look(resolver->zones, &answer->key.name, answer->key.type) == ZONE_ELSEWHERE && !answer_leads_here(resolver, answer);
}

/* The fast path has found its tables: what is known goes there, what was asked for last before all. */
static bool kept_feed(const struct answer *answer, void *context)
{
	struct resolver *resolver = context;
	uint64_t now = now_ms();

	if (now < answer->expires_ms && answer->rcode != DNS_SERVFAIL)
		answer_feed(resolver, answer, now, false);
	return feed_has_room(resolver->feed);
}

static void feed_filled(void *context)
{
	struct resolver *resolver = context;

	feed_zones(resolver->feed);
	answers_each(resolver->answers, kept_feed, resolver);
}

static bool leading_remove(const struct answer *answer, void *context)
{
	struct resolver *resolver = context;

	if (answer_leads_here(resolver, answer))
		feed_remove(resolver->feed, &answer->key);
	return true;
}

void resolver_names_came(struct resolver *resolver)
{
	answers_each(resolver->answers, leading_remove, resolver);
}

static void renew_due(void *context, const struct answer_key *key)
{
	struct resolver *resolver = context;

	if (zone_set_look(resolver->zones, &key->name, key->type) == ZONE_ELSEWHERE)
		resolver_renew(resolver, key);
}

int resolver_new(struct event_base *base, const struct dns_config *config, struct zone_set *zones, struct steering *steering,
		 struct feed *feed, struct resolver **ret_resolver, struct error *error)
{
	struct resolver *resolver = memory_or_end(calloc(1, sizeof(*resolver)));
	int status;

	resolver->base = base;
	resolver->config = config;
	resolver->zones = zones;
	resolver->steering = steering;
	resolver->feed = feed;
	resolver->answers = answers_new(config->cache_bytes);
	cookie_secret_init(&resolver->cookie_secret);
	names_make(resolver);
	status = upstreams_make(resolver, error);
	if (status == 0)
		status = memories_make(resolver, error);
	if (status < 0) {
		resolver_free(resolver);
		return status;
	}
	feed_on_renew(feed, renew_due, resolver);
	feed_on_ready(feed, feed_filled, resolver);
	feed_on_answer(feed, answer_is_others, resolver);
	*ret_resolver = resolver;
	return 0;
}

void resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return;
	memories_free(resolver);
	jobs_free(resolver);
	for (size_t i = 0; i < resolver->upstream_count; i++)
		upstreams_free(resolver->upstreams[i]);
	free(resolver->upstreams);
	answers_free(resolver->answers);
	free(resolver->search);
	free(resolver);
}

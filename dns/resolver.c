/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/resolver.h"

#include <event2/event.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <time.h>
#include <unbound-event.h>
#include <unbound.h>

#include "base/lib/address_text.h"
#include "base/lib/bytes.h"
#include "base/lib/log.h"
#include "base/lib/memory.h"
#include "dns/cookie.h"
#include "dns/upstream.h"

#define JOBS_MAX 8192u
#define STALE_TTL_S 30		/* RFC 8767 section 4 */
#define STALE_RECHECK_MS 30000u /* "failure recheck timer": no waiting for those who failed of late */
#define FAILURE_TTL_S 1		/* RFC 9520 section 3.2 */
#define RENEW_TTL_MIN_S 4	/* shorter ones are not worth the query */
#define ANY_TTL_S 3789		/* RFC 8482 section 4.2 */
#define KEEPALIVE_100MS 100
#define PADDING 468		/* RFC 8467 section 4.1 */
#define LATENCY_BUCKETS 24u	/* up to 2^n microseconds */
#define CANDIDATES_MAX 16u

/* A question that is being asked. */
struct job {
	LIST_ENTRY(job) jobs;
	struct resolver *resolver;
	struct answer_key key;
	uint64_t hash;
	struct dns_request *waiting;
	struct event *stale_timer; /* NULL: nothing stale to be had */
	struct event *late;	   /* to start it, or to end it, outside of the caller's turn */
	int result_rcode;
};

LIST_HEAD(job_list, job);
#define JOB_BUCKETS 1024u

struct resolver {
	struct event_base *base;
	const struct dns_config *config;
	struct zone_set *zones;
	struct steering *steering;
	struct feed *feed;
	struct answers *answers;
	struct ub_ctx *context;	  /* validates, if that is wanted */
	struct ub_ctx *unchecked; /* for CD; NULL: the same */
	struct upstreams **upstreams;
	size_t upstream_count;
	struct job_list jobs[JOB_BUCKETS];
	size_t job_count;
	struct resolver_observer observer;
	struct cookie_secret cookie_secret;
	struct dns_name cluster, services; /* "cluster.local", "svc.cluster.local" */
	bool autopath;
	struct dns_name *search;
	size_t search_count;
	uint32_t rotation;
	uint64_t results[RESULT_COUNT], transports[DNS_OVER_COUNT];
	uint64_t autopath_saved, renewals, cookies_bad;
	uint64_t latency[LATENCY_BUCKETS], latency_sum_us;
};

const char *resolver_result_name(enum resolver_result result)
{
	static const char *const names[] = {"cluster",	"steered", "autopath", "cached", "stale",
					    "resolved", "failed",  "refused",  "dropped"};

	return names[result];
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t now_ms(void)
{
	return now_us() / 1000;
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

/* What is to be said; the message may be NULL: code and question alone. */
struct outcome {
	enum resolver_result result;
	uint16_t flags; /* AA, AD */
	uint16_t rcode;
	const uint8_t *message;
	size_t length;
	uint32_t age, stale_ttl;
	int ede;
	const char *ede_text;
	bool subnet;
	uint8_t scope;
};

static size_t reply_limit(const struct dns_request *request)
{
	if (request->transport != DNS_OVER_UDP)
		return DNS_MESSAGE_MAX;
	if (!request->query.edns)
		return DNS_UDP_PLAIN;
	return request->query.udp_size < DNS_UDP_SAFE ? request->query.udp_size : DNS_UDP_SAFE;
}

static void request_finish(struct resolver *resolver, struct dns_request *request, const struct outcome *outcome)
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
	latency_note(resolver, now_us() - request->received_us);
	if (resolver->observer.seen)
		resolver->observer.seen(resolver->observer.context, request, bytes, length);
	free(request->wire);
	request->wire = NULL;
	request->done(request, bytes, length);
}

static void request_drop(struct resolver *resolver, struct dns_request *request)
{
	resolver->results[RESULT_DROPPED]++;
	free(request->wire);
	request->wire = NULL;
	request->done(request, NULL, 0);
}

static void request_fail(struct resolver *resolver, struct dns_request *request, int ede, const char *why)
{
	struct outcome outcome = {.result = RESULT_FAILED, .rcode = DNS_SERVFAIL, .ede = ede, .ede_text = why};

	request_finish(resolver, request, &outcome);
}

/* AD where the client can read it and the answer was validated (RFC 6840 section 5.8). */
static uint16_t authentic_flag(const struct dns_query *query, bool secure)
{
	return secure && !(query->flags & DNS_FLAG_CD) && (query->dnssec_ok || query->flags & DNS_FLAG_AD) ? DNS_FLAG_AD : 0;
}

/* --- autopath ------------------------------------------------------------------------------------------------------------------ */

/*
 * A client with ndots:5 asks for example.com.NAMESPACE.svc.ZONE, example.com.svc.ZONE, example.com.ZONE, those in the host's own
 * search domains, and last for example.com, each for A and AAAA. The first of them is answered with a CNAME to the one that exists.
 *
 * How many labels stand before NAMESPACE.svc.ZONE; 0: the name is none that a search list makes. Only names with a dot of their
 * own are: one without may be a service that is not there yet, and somebody may rely on its not being there.
 */
static unsigned int autopath_labels(const struct resolver *resolver, const struct dns_name *name)
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

static void request_resolve(struct resolver *resolver, struct dns_request *request);
static void own_finish(struct resolver *resolver, struct dns_request *request, enum resolver_result result);

/* The name asked for does not exist; tries the next. False: there is none, or this is no search list's. */
static bool autopath_next(struct resolver *resolver, struct dns_request *request)
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

/* The search list led nowhere: what the client asked for first is not there. */
static void autopath_fail(struct resolver *resolver, struct dns_request *request)
{
	request->asked = request->query.name;
	request->candidate = CANDIDATES_MAX + 1;
	request->prefix_length = 0;
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

/* The query's name, what the prefix says, and the message, as one. Returns the length. */
static size_t message_compose(const struct dns_request *request, const uint8_t *message, size_t length, uint8_t *bytes,
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

/* Packets' cache knows its age by the moment that it is put. */
static void led_feed(struct resolver *resolver, const struct dns_request *request, const uint8_t *message, size_t length,
		     uint32_t age)
{
	static uint8_t copy[DNS_MESSAGE_MAX];
	struct dns_record record;
	struct dns_walk walk;

	memcpy(copy, message, length);
	if (dns_walk_start(&walk, copy, length) < 0)
		return;
	while (dns_walk_next(&walk, &record) > 0)
		bytes_put32(copy + record.ttl_offset, record.ttl > age ? record.ttl - age : 0);
	feed_led(resolver->feed, copy, length, request->query.dnssec_ok);
}

/* Ends a request with a kept or new answer for `asked`. */
static void request_finish_answer(struct resolver *resolver, struct dns_request *request, const struct answer *answer,
				  enum resolver_result result, bool stale)
{
	static uint8_t composed[DNS_MESSAGE_MAX];
	const struct dns_query *query = &request->query;
	bool dnssec = query->dnssec_ok && answer->dnssec;
	uint64_t now = now_ms();
	struct outcome outcome = {
		.result = stale ? RESULT_STALE : result,
		.flags = authentic_flag(query, answer->secure && !stale),
		.rcode = answer->rcode,
		.message = dnssec ? answer->dnssec : answer->plain,
		.length = dnssec ? answer->dnssec_length : answer->plain_length,
		.age = stale || now < answer->stored_ms ? 0 : (uint32_t)((now - answer->stored_ms) / 1000),
		.stale_ttl = stale ? STALE_TTL_S : 0,
		.ede = stale ? (answer->rcode == DNS_NXDOMAIN ? DNS_EDE_STALE_NXDOMAIN : DNS_EDE_STALE) : answer->ede,
	};

	if (request->candidate && request->candidate <= CANDIDATES_MAX && answer->rcode == DNS_NXDOMAIN) {
		if (!autopath_next(resolver, request))
			autopath_fail(resolver, request);
		return;
	}
	if ((request->candidate && request->candidate <= CANDIDATES_MAX) || request->prefix_length) {
		outcome.length = message_compose(request, outcome.message, outcome.length, composed, sizeof(composed));
		outcome.message = composed;
		outcome.flags = 0;
		if (request->candidate) {
			resolver->autopath_saved += request->candidate;
			outcome.result = stale ? RESULT_STALE : RESULT_AUTOPATH;
			bytes_put16(composed + 2, (uint16_t)(DNS_FLAG_QR | DNS_FLAG_RA | answer->rcode));
			if (!stale && !(query->flags & DNS_FLAG_CD) && answer->rcode != DNS_SERVFAIL)
				led_feed(resolver, request, composed, outcome.length, outcome.age);
		}
	}
	request_finish(resolver, request, &outcome);
}

/* --- asking libunbound ------------------------------------------------------------------------------------------------------------- */

static uint64_t key_hash(const struct answer_key *key)
{
	return dns_name_hash(&key->name, (uint64_t)key->type << 1 | key->checking_disabled);
}

static struct job *job_find(struct resolver *resolver, const struct answer_key *key, uint64_t hash)
{
	struct job *job;

	LIST_FOREACH(job, &resolver->jobs[hash % JOB_BUCKETS], jobs) {
		if (job->hash == hash && job->key.type == key->type && job->key.checking_disabled == key->checking_disabled &&
		    dns_name_equal(&job->key.name, &key->name))
			return job;
	}
	return NULL;
}

static struct dns_request *job_take_waiting(struct job *job)
{
	struct dns_request *first = NULL, *request = job->waiting;

	job->waiting = NULL;
	/* in the order that they came */
	while (request) {
		struct dns_request *next = request->next;

		request->next = first;
		first = request;
		request = next;
	}
	return first;
}

static void job_free(struct job *job)
{
	LIST_REMOVE(job, jobs);
	job->resolver->job_count--;
	if (job->stale_timer)
		event_free(job->stale_timer);
	if (job->late)
		event_free(job->late);
	free(job);
}

/* What happens while it is told may put out or replace what is kept. */
static struct answer answer_copy(const struct answer *answer)
{
	struct answer copy = *answer;

	copy.plain = memcpy(memory_or_end(malloc(answer->plain_length + 1u)), answer->plain, answer->plain_length);
	if (answer->dnssec)
		copy.dnssec = memcpy(memory_or_end(malloc(answer->dnssec_length + 1u)), answer->dnssec, answer->dnssec_length);
	return copy;
}

static void answer_done(struct answer *answer)
{
	free(answer->plain);
	free(answer->dnssec);
}

static void requests_finish(struct resolver *resolver, struct dns_request *request, const struct answer *answer,
			    enum resolver_result result, bool stale)
{
	struct answer copy;

	if (!request)
		return;
	copy = answer_copy(answer);
	while (request) {
		struct dns_request *next = request->next;

		request_finish_answer(resolver, request, &copy, result, stale);
		request = next;
	}
	answer_done(&copy);
}

/* That nobody could say is kept for a moment, too. */
static void failure_keep(struct resolver *resolver, const struct answer_key *key, int ede, uint64_t now)
{
	uint8_t bytes[DNS_HEADER_SIZE + DNS_NAME_MAX + 4];
	struct dns_writer writer;
	struct answer failure = {.key = *key, .rcode = DNS_SERVFAIL, .ede = ede, .ttl = FAILURE_TTL_S, .plain = bytes,
				 .stored_ms = now, .expires_ms = now + FAILURE_TTL_S * 1000};

	dns_writer_start(&writer, bytes, sizeof(bytes), 0, 0, &key->name, key->type, DNS_IN);
	failure.plain_length = (uint16_t)dns_writer_end(&writer);
	answers_put(resolver->answers, &failure);
}

/* The job is over without an answer. */
static void job_fail(struct job *job, int ede, const char *why)
{
	struct resolver *resolver = job->resolver;
	struct dns_request *request = job_take_waiting(job);
	struct answer_key key = job->key;
	uint64_t now = now_ms();
	struct answer *kept = answers_find(resolver->answers, &key, now);

	job_free(job);
	if (kept && kept->rcode != DNS_SERVFAIL) {
		kept->renewing = false;
		kept->failed_ms = now;
		if (now >= kept->expires_ms)
			feed_answer(resolver->feed, kept, now, true);
		requests_finish(resolver, request, kept, RESULT_STALE, now >= kept->expires_ms);
		return;
	}
	failure_keep(resolver, &key, ede, now);
	while (request) {
		struct dns_request *next = request->next;

		request_fail(resolver, request, ede, why);
		request = next;
	}
}

/* What libunbound said, in both forms; false: nothing that could be kept or given. */
static bool answer_make(const struct resolver *resolver, const struct answer_key *key, const uint8_t *packet, size_t length,
			bool secure, struct answer *ret_answer)
{
	static uint8_t plain[DNS_MESSAGE_MAX], dnssec[DNS_MESSAGE_MAX];
	const struct dns_config *config = resolver->config;
	unsigned int rcode = bytes_get16(packet + 2) & DNS_CODE_MASK;
	uint64_t now = now_ms();
	uint32_t most = rcode == DNS_NXDOMAIN || !bytes_get16(packet + 6) ? config->negative_ttl_max_seconds : config->ttl_max_seconds;
	bool had_dnssec;
	int plain_length, dnssec_length;

	if (rcode != DNS_NOERROR && rcode != DNS_NXDOMAIN)
		return false;
	plain_length = dns_answer_rewrite(packet, length, false, most, plain, sizeof(plain), &had_dnssec);
	if (plain_length < 0)
		return false;
	*ret_answer = (struct answer){
		.key = *key,
		.plain = plain,
		.plain_length = (uint16_t)plain_length,
		.rcode = (uint16_t)rcode,
		.secure = secure,
		.ede = DNS_EDE_NONE,
		.stored_ms = now,
	};
	if (had_dnssec) {
		dnssec_length = dns_answer_rewrite(packet, length, true, most, dnssec, sizeof(dnssec), &had_dnssec);
		if (dnssec_length < 0)
			return false;
		ret_answer->dnssec = dnssec;
		ret_answer->dnssec_length = (uint16_t)dnssec_length;
	}
	ret_answer->ttl = dns_answer_ttl(plain, (size_t)plain_length);
	ret_answer->expires_ms = now + ret_answer->ttl * 1000ull;
	ret_answer->stale_until_ms = ret_answer->ttl ? ret_answer->expires_ms + config->stale_seconds * 1000ull : 0;
	return true;
}

static void job_done(struct job *job, int rcode, const uint8_t *packet, size_t length, int security, const char *why)
{
	struct resolver *resolver = job->resolver;
	struct dns_request *request;
	struct answer answer;

	if (security == 1) {
		job_fail(job, DNS_EDE_BOGUS, why);
		return;
	}
	if (!packet || length < DNS_HEADER_SIZE || (rcode != 0 && rcode != DNS_NXDOMAIN) ||
	    !answer_make(resolver, &job->key, packet, length, security == 2, &answer)) {
		job_fail(job, rcode == DNS_SERVFAIL || !packet ? DNS_EDE_NO_AUTHORITY : DNS_EDE_OTHER, NULL);
		return;
	}
	if (answer.ttl) {
		/* a copy: what requests do next may put it out again */
		answers_put(resolver->answers, &answer);
		feed_answer(resolver->feed, &answer, answer.stored_ms, false);
	} else {
		answers_remove(resolver->answers, &job->key);
		feed_remove(resolver->feed, &job->key);
	}
	request = job_take_waiting(job);
	job_free(job);
	requests_finish(resolver, request, &answer, RESULT_RESOLVED, false);
}

static void unbound_done(void *context, int rcode, void *packet, int length, int security, char *why, int limited)
{
	job_done(context, rcode, packet, length > 0 ? (size_t)length : 0, security, why);
}

/* The client has waited long enough for something new (RFC 8767 section 5: "client response timer"). */
static void stale_timer(evutil_socket_t fd, short what, void *context)
{
	struct job *job = context;
	struct resolver *resolver = job->resolver;
	struct dns_request *request = job_take_waiting(job);
	uint64_t now = now_ms();
	struct answer *kept = answers_find(resolver->answers, &job->key, now);

	if (kept) {
		/* nobody else waits until the job is over */
		kept->failed_ms = now;
		feed_answer(resolver->feed, kept, now, true);
		requests_finish(resolver, request, kept, RESULT_STALE, now >= kept->expires_ms);
		return;
	}
	while (request) {
		struct dns_request *next = request->next;

		request_fail(resolver, request, DNS_EDE_NO_AUTHORITY, NULL);
		request = next;
	}
}

static void job_ask(evutil_socket_t fd, short what, void *context)
{
	struct job *job = context;
	struct resolver *resolver = job->resolver;
	struct ub_ctx *unbound = job->key.checking_disabled && resolver->unchecked ? resolver->unchecked : resolver->context;
	char name[DNS_NAME_TEXT_SIZE];
	int id, status;

	dns_name_format(&job->key.name, name);
	/* the job may be over before this returns */
	status = ub_resolve_event(unbound, name, job->key.type, DNS_IN, job, unbound_done, &id);
	if (status != 0) {
		log_debug("asking for %s: %s", name, ub_strerror(status));
		job_fail(job, DNS_EDE_OTHER, ub_strerror(status));
	}
}

/* Starts a job, or finds the one that runs. NULL: too many. */
static struct job *job_get(struct resolver *resolver, const struct answer_key *key, bool *ret_new)
{
	uint64_t hash = key_hash(key);
	struct job *job = job_find(resolver, key, hash);

	*ret_new = !job;
	if (job || resolver->job_count >= JOBS_MAX)
		return job;
	job = memory_or_end(calloc(1, sizeof(*job)));
	job->resolver = resolver;
	job->key = *key;
	job->hash = hash;
	LIST_INSERT_HEAD(&resolver->jobs[hash % JOB_BUCKETS], job, jobs);
	resolver->job_count++;
	return job;
}

static void renew(struct resolver *resolver, const struct answer_key *key)
{
	struct timeval at_once = {0};
	bool fresh;
	struct job *job = job_get(resolver, key, &fresh);

	if (!job || !fresh)
		return;
	resolver->renewals++;
	/* from the loop: whoever calls may hold the answer that this replaces */
	job->late = evtimer_new(resolver->base, job_ask, job);
	evtimer_add(job->late, &at_once);
}

void resolver_renew(struct resolver *resolver, const struct answer_key *key)
{
	renew(resolver, key);
}

static void request_wait(struct resolver *resolver, struct dns_request *request, const struct answer_key *key, bool stale)
{
	bool fresh;
	struct job *job = job_get(resolver, key, &fresh);

	if (!job) {
		request_fail(resolver, request, DNS_EDE_OTHER, "too many questions at once");
		return;
	}
	request->next = job->waiting;
	job->waiting = request;
	if (stale && !job->stale_timer) {
		uint32_t wait_ms = resolver->config->stale_wait_ms;
		struct timeval wait = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};

		job->stale_timer = evtimer_new(resolver->base, stale_timer, job);
		evtimer_add(job->stale_timer, &wait);
	}
	if (fresh)
		job_ask(-1, 0, job);
}

/* In use and in the last tenth of its life: asked for again before it ends. */
static bool answer_to_be_renewed(const struct answer *answer, uint64_t now)
{
	uint64_t last = answer->ttl * 100ull;

	if (last < 1000)
		last = 1000;
	return answer->ttl >= RENEW_TTL_MIN_S && !answer->renewing && now + last >= answer->expires_ms;
}

/* `asked` is looked up in what is kept, or asked for. */
static void request_resolve_elsewhere(struct resolver *resolver, struct dns_request *request)
{
	struct answer_key key = {
		.name = request->asked, .type = request->query.type, .checking_disabled = request->query.flags & DNS_FLAG_CD};
	uint64_t now = now_ms();
	struct answer *answer;

	if (!resolver->unchecked)
		key.checking_disabled = false;
	answer = answers_find(resolver->answers, &key, now);
	if (answer)
		answer->hits++;
	if (answer && now < answer->expires_ms) {
		if (answer_to_be_renewed(answer, now)) {
			answer->renewing = true;
			renew(resolver, &key);
		}
		request_finish_answer(resolver, request, answer, RESULT_CACHED, false);
		return;
	}
	/* what was asked without RD is answered from what is here (RFC 1034 section 4.3.1) */
	if (!(request->query.flags & DNS_FLAG_RD)) {
		struct outcome outcome = {.result = RESULT_REFUSED, .rcode = DNS_REFUSED, .ede = DNS_EDE_NONE};

		request_finish(resolver, request, &outcome);
		return;
	}
	if (answer && answer->failed_ms && now - answer->failed_ms < STALE_RECHECK_MS) {
		/* nobody answered a moment ago: no waiting, but another try beside */
		renew(resolver, &key);
		request_finish_answer(resolver, request, answer, RESULT_STALE, true);
		return;
	}
	request_wait(resolver, request, &key, answer != NULL);
}

/* --- own names ------------------------------------------------------------------------------------------------------------------- */

/* Whether the answer depends on this name's own records alone, whose changes are told: then it lasts until one. */
static bool own_lasts(const struct resolver *resolver, const struct dns_request *request, enum zone_result found)
{
	return (found == ZONE_FOUND || found == ZONE_NO_DATA) && request->query.type != DNS_SRV &&
	       zone_set_has_name(resolver->zones, &request->asked) &&
	       zone_set_look(resolver->zones, &request->asked, DNS_CNAME) != ZONE_FOUND;
}

/* Ends a request for `asked`, which zones know, or leads it on to another name. */
static void own_finish(struct resolver *resolver, struct dns_request *request, enum resolver_result result)
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
		if (!request->candidate && autopath_labels(resolver, &query->name) && autopath_next(resolver, request))
			return;
	}
	if (found == ZONE_ALIAS) {
		/* a service with an external name: its CNAME, and what that leads to */
		if (request->prefix_length || outcome.length > sizeof(request->prefix)) {
			request_fail(resolver, request, DNS_EDE_OTHER, "too many aliases");
			return;
		}
		memcpy(request->prefix, bytes, outcome.length);
		request->prefix_length = outcome.length;
		request->asked = alias;
		request_resolve(resolver, request);
		return;
	}
	if (request->candidate && request->candidate <= CANDIDATES_MAX) {
		outcome.length = message_compose(request, bytes, outcome.length, composed, sizeof(composed));
		outcome.message = composed;
		outcome.result = RESULT_AUTOPATH;
		outcome.flags = 0;
		resolver->autopath_saved += request->candidate;
	} else if (!request->prefix_length && result == RESULT_CLUSTER) {
		struct answer_key key = {.name = request->asked, .type = query->type};

		bytes_put16(bytes + 2, (uint16_t)(bytes_get16(bytes + 2) | DNS_FLAG_QR));
		feed_own(resolver->feed, &key, bytes, outcome.length,
			 own_lasts(resolver, request, found) ? UINT32_MAX : dns_answer_ttl(bytes, outcome.length));
	}
	request_finish(resolver, request, &outcome);
}

static void steered_finish(struct resolver *resolver, struct dns_request *request)
{
	static uint8_t bytes[4096];
	struct outcome outcome = {.result = RESULT_STEERED, .flags = DNS_FLAG_AA, .ede = DNS_EDE_NONE, .message = bytes, .subnet = true};
	struct dns_query query = request->query;
	struct dns_writer writer;

	query.name = request->asked;
	dns_writer_start(&writer, bytes, sizeof(bytes), 0, 0, &query.name, query.type, DNS_IN);
	outcome.rcode = steering_answer(resolver->steering, &query, &request->client, &writer, &outcome.scope);
	outcome.length = dns_writer_end(&writer);
	if (request->candidate || request->prefix_length) {
		static uint8_t composed[8192];

		outcome.length = message_compose(request, bytes, outcome.length, composed, sizeof(composed));
		outcome.message = composed;
	}
	request_finish(resolver, request, &outcome);
}

static void request_resolve(struct resolver *resolver, struct dns_request *request)
{
	if (steering_knows(resolver->steering, &request->asked))
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

static void zone_print(FILE *text, const struct dns_config *config, const struct dns_forward *forward, uint16_t port)
{
	fprintf(text, "forward-zone:\n  name: \"%s\"\n  forward-addr: 127.0.0.1@%u\n  forward-no-cache: yes\n", forward->zone, port);
}

/* libunbound reads its settings from a file. */
static int context_configure(struct resolver *resolver, struct ub_ctx *context, bool validate, struct error *error)
{
	const struct dns_config *config = resolver->config;
	_cleanup_(closep) int fd = memfd_create("unbound", MFD_CLOEXEC);
	_cleanup_(fclosep) FILE *text = NULL;
	bool recursion = true;
	char path[64];
	int status;

	text = fd < 0 ? NULL : fdopen(dup(fd), "w");
	if (!text)
		return error_set(error, errno, "making libunbound's settings: %s", strerror(errno));
	for (size_t i = 0; i < config->forward_count; i++)
		recursion &= strcmp(config->forwards[i].zone, ".") != 0;
	fprintf(text,
		"server:\n"
		"  chroot: \"\"\n  username: \"\"\n  use-syslog: no\n  logfile: \"\"\n"
		"  module-config: \"%s\"\n"
		"  do-not-query-localhost: no\n  edns-buffer-size: %u\n"
		"  unblock-lan-zones: yes\n  insecure-lan-zones: yes\n"
		"  outgoing-range: 2048\n  num-queries-per-thread: 2048\n  outbound-msg-retry: 3\n"
		"  msg-cache-size: %s\n  rrset-cache-size: %s\n"
		"  prefetch: no\n  serve-expired: no\n  minimal-responses: yes\n",
		validate ? "validator iterator" : "iterator", DNS_UDP_SAFE, recursion ? "32m" : "1m", recursion ? "64m" : "2m");
	if (validate)
		fprintf(text, "  trust-anchor-file: \"%s\"\n  val-clean-additional: yes\n  trust-anchor-signaling: no\n", config->trust_anchor);
	for (size_t i = 0; i < config->forward_count; i++)
		if (validate && !config->forwards[i].validate)
			fprintf(text, "  domain-insecure: \"%s\"\n", config->forwards[i].zone);
	/* a zone that is forwarded is none of those that libunbound would answer itself (RFC 6761, RFC 6303) */
	for (size_t i = 0; i < config->forward_count; i++)
		if (strcmp(config->forwards[i].zone, ".") != 0)
			fprintf(text, "  local-zone: \"%s\" nodefault\n", config->forwards[i].zone);
	for (size_t i = 0; i < config->forward_count; i++)
		if (config->forwards[i].upstream_count)
			zone_print(text, config, &config->forwards[i], upstreams_port(resolver->upstreams[i]));
	fflush(text);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	lseek(fd, 0, SEEK_SET);
	status = ub_ctx_config(context, path);
	if (status != 0)
		return error_set(error, EINVAL, "libunbound does not take its settings: %s", ub_strerror(status));
	return 0;
}

static int context_make(struct resolver *resolver, bool validate, struct ub_ctx **ret_context, struct error *error)
{
	*ret_context = ub_ctx_create_event(resolver->base);
	if (!*ret_context)
		return error_set(error, ENOMEM, "libunbound cannot be started on this event loop");
	return context_configure(resolver, *ret_context, validate, error);
}

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
	resolver->search = memory_or_end(calloc(config->search_count + 1, sizeof(*resolver->search)));
	for (size_t i = 0; i < config->search_count; i++)
		if (dns_name_parse(config->search[i], &resolver->search[resolver->search_count]) == 0)
			resolver->search_count++;
}

/* The fast path has found its tables: what is kept goes there. */
static bool kept_feed(const struct answer *answer, void *context)
{
	struct resolver *resolver = context;
	uint64_t now = now_ms();

	if (now < answer->expires_ms && answer->rcode != DNS_SERVFAIL)
		feed_answer(resolver->feed, answer, now, false);
	return true;
}

static void feed_filled(void *context)
{
	struct resolver *resolver = context;

	answers_each(resolver->answers, kept_feed, resolver);
}

static void renew_due(void *context, const struct answer_key *key)
{
	struct resolver *resolver = context;

	if (zone_set_look(resolver->zones, &key->name, key->type) == ZONE_ELSEWHERE)
		renew(resolver, key);
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
		status = context_make(resolver, config->validate, &resolver->context, error);
	if (status == 0 && config->validate)
		status = context_make(resolver, false, &resolver->unchecked, error);
	if (status < 0) {
		resolver_free(resolver);
		return status;
	}
	feed_on_renew(feed, renew_due, resolver);
	feed_on_ready(feed, feed_filled, resolver);
	*ret_resolver = resolver;
	return 0;
}

void resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return;
	/* libunbound calls nobody back after this */
	if (resolver->context)
		ub_ctx_delete(resolver->context);
	if (resolver->unchecked)
		ub_ctx_delete(resolver->unchecked);
	for (size_t i = 0; i < JOB_BUCKETS; i++) {
		while (!LIST_EMPTY(&resolver->jobs[i])) {
			struct job *job = LIST_FIRST(&resolver->jobs[i]);
			struct dns_request *request = job_take_waiting(job);

			while (request) {
				struct dns_request *next = request->next;

				request_drop(resolver, request);
				request = next;
			}
			job_free(job);
		}
	}
	for (size_t i = 0; i < resolver->upstream_count; i++)
		upstreams_free(resolver->upstreams[i]);
	free(resolver->upstreams);
	answers_free(resolver->answers);
	free(resolver->search);
	free(resolver);
}

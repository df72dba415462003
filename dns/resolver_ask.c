/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that are kept, and questions to libunbound: each is asked once, whoever waits for it. */
#include <event2/event.h>
#include <string.h>
#include <unbound-event.h>
#include <unbound.h>

#include "base/lib/bytes.h"
#include "base/lib/log.h"
#include "base/lib/memory.h"
#include "dns/resolver_internal.h"

#define JOBS_MAX 8192u
#define STALE_TTL_S 30		/* RFC 8767 section 4 */
#define STALE_RECHECK_MS 30000u /* "failure recheck timer": no waiting for those who failed of late */
#define FAILURE_TTL_S 1		/* RFC 9520 section 3.2 */
#define RENEW_TTL_MIN_S 4	/* shorter ones are not worth the query */
#define MEMORY_SLACK_MS 1000u	/* libunbound counts whole seconds */

struct job {
	LIST_ENTRY(job) jobs;
	struct resolver *resolver;
	struct answer_key key;
	uint64_t hash;
	struct dns_request *waiting;
	struct unbound *unbound; /* which is asked; NULL: not yet */
	uint8_t memory;		 /* its number */
	uint64_t other_ends_ms;	 /* until when the other one has an older answer */
	struct event *stale_timer; /* NULL: nothing stale to be had */
	struct event *late;	   /* to start it, or to end it, outside of the caller's turn */
	int result_rcode;
};

/* --- what is kept ------------------------------------------------------------------------------------------------------------------ */

/* AD where the client can read it and the answer was validated (RFC 6840 section 5.8). */
static uint16_t authentic_flag(const struct dns_query *query, bool secure)
{
	return secure && !(query->flags & DNS_FLAG_CD) && (query->dnssec_ok || query->flags & DNS_FLAG_AD) ? DNS_FLAG_AD : 0;
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

	if (request_lead_here(resolver, request, outcome.message, outcome.length, outcome.age, stale ? STALE_TTL_S : UINT32_MAX))
		return;
	if (request->candidate && request->candidate <= CANDIDATES_MAX && answer->rcode == DNS_NXDOMAIN) {
		if (!autopath_next(resolver, request))
			autopath_fail(resolver, request);
		return;
	}
	if ((request->candidate && request->candidate <= CANDIDATES_MAX) || request->prefix_length) {
		outcome.length = message_compose(request, outcome.message, outcome.length, outcome.age, composed, sizeof(composed));
		outcome.message = composed;
		outcome.age = 0;
		outcome.flags = 0;
		if (request->candidate) {
			resolver->autopath_saved += request->candidate;
			outcome.result = stale ? RESULT_STALE : RESULT_AUTOPATH;
			bytes_put16(composed + 2, (uint16_t)(DNS_FLAG_QR | DNS_FLAG_RA | answer->rcode));
			if (!stale && !(query->flags & DNS_FLAG_CD) && answer->rcode != DNS_SERVFAIL)
				feed_led(resolver->feed, composed, outcome.length, query->dnssec_ok);
		}
	}
	request_finish(resolver, request, &outcome);
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
static void failure_keep(struct job *job, int ede, uint64_t now)
{
	uint8_t bytes[DNS_HEADER_SIZE + DNS_NAME_MAX + 4];
	struct dns_writer writer;
	struct answer failure = {.key = job->key, .rcode = DNS_SERVFAIL, .ede = ede, .ttl = FAILURE_TTL_S, .plain = bytes,
				 .stored_ms = now, .expires_ms = now + FAILURE_TTL_S * 1000,
				 .memory = job->memory, .other_ends_ms = job->other_ends_ms};

	dns_writer_start(&writer, bytes, sizeof(bytes), 0, 0, &job->key.name, job->key.type, DNS_IN);
	failure.plain_length = (uint16_t)dns_writer_end(&writer);
	answers_put(job->resolver->answers, &failure);
}

/* --- questions under way ----------------------------------------------------------------------------------------------------------- */

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
	if (job->unbound)
		memory_put(job->resolver, job->unbound);
	if (job->stale_timer)
		event_free(job->stale_timer);
	if (job->late)
		event_free(job->late);
	free(job);
}

/* The job is over without an answer. */
static void job_fail(struct job *job, int ede, const char *why)
{
	struct resolver *resolver = job->resolver;
	struct dns_request *request = job_take_waiting(job);
	uint64_t now = now_ms();
	struct answer *kept = answers_find(resolver->answers, &job->key, now);

	if (kept && kept->rcode == DNS_SERVFAIL)
		kept = NULL;
	if (!kept)
		failure_keep(job, ede, now);
	job_free(job);
	if (kept) {
		kept->renewing = false;
		kept->failed_ms = now;
		if (now >= kept->expires_ms)
			feed_answer(resolver->feed, kept, now, true);
		requests_finish(resolver, request, kept, RESULT_STALE, now >= kept->expires_ms);
		return;
	}
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
	answer.memory = job->memory;
	answer.other_ends_ms = job->other_ends_ms;
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

/*
 * Which memory is asked: the one that this answer is not from, when what that one had has ended; or else, after this answer's end, its
 * own. Returns from when on that brings something new.
 */
static uint64_t memory_choose(const struct answer *kept, uint64_t now, uint8_t *ret_memory)
{
	uint64_t other_ended = kept->other_ends_ms ? kept->other_ends_ms + MEMORY_SLACK_MS : 0;

	*ret_memory = kept->memory ^ 1;
	if (now < other_ended && now >= kept->expires_ms)
		*ret_memory = kept->memory;
	else if (now < other_ended)
		return other_ended;
	return now;
}

static void job_choose(struct job *job)
{
	struct resolver *resolver = job->resolver;
	uint64_t now = now_ms();
	const struct answer *kept = memories_keep(resolver, &job->key.name) ? answers_find(resolver->answers, &job->key, now) : NULL;

	if (kept) {
		memory_choose(kept, now, &job->memory);
		job->other_ends_ms = job->memory == kept->memory ? kept->other_ends_ms : kept->expires_ms;
	}
	job->unbound = memory_take(resolver, job->memory);
}

static void job_ask(evutil_socket_t fd, short what, void *context)
{
	struct job *job = context;
	struct ub_ctx *unbound;
	char name[DNS_NAME_TEXT_SIZE];
	int id, status;

	job_choose(job);
	unbound = job->key.checking_disabled && job->unbound->unchecked ? job->unbound->unchecked : job->unbound->validating;
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

void resolver_renew(struct resolver *resolver, const struct answer_key *key)
{
	uint64_t now = now_ms(), at = now;
	const struct answer *kept = memories_keep(resolver, &key->name) ? answers_find(resolver->answers, key, now) : NULL;
	struct timeval delay;
	uint8_t memory;
	struct job *job;
	bool fresh;

	if (kept)
		at = memory_choose(kept, now, &memory);
	if (kept && at > now && at >= kept->expires_ms)
		return;
	job = job_get(resolver, key, &fresh);
	if (!job || !fresh)
		return;
	resolver->renewals++;
	/* from the loop: whoever calls may hold the answer that this replaces */
	delay = (struct timeval){.tv_sec = (time_t)((at - now) / 1000), .tv_usec = (suseconds_t)((at - now) % 1000 * 1000)};
	job->late = evtimer_new(resolver->base, job_ask, job);
	evtimer_add(job->late, &delay);
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
static bool answer_to_be_renewed(const struct resolver *resolver, const struct answer *answer, uint64_t now)
{
	uint64_t last = answer->ttl * 100ull;

	if (last < 1000)
		last = answer->ttl > 1 ? 1000 : 500;
	/* one that libunbound remembered may be the end of a longer life */
	return (answer->ttl >= RENEW_TTL_MIN_S || memories_keep(resolver, &answer->key.name)) && !answer->renewing &&
	       now + last >= answer->expires_ms;
}

void request_resolve_elsewhere(struct resolver *resolver, struct dns_request *request)
{
	struct answer_key key = {
		.name = request->asked, .type = request->query.type, .checking_disabled = request->query.flags & DNS_FLAG_CD};
	uint64_t now = now_ms();
	struct answer *answer;

	if (!resolver->memories[0]->unchecked)
		key.checking_disabled = false;
	answer = answers_find(resolver->answers, &key, now);
	if (answer)
		answer->hits++;
	if (answer && now < answer->expires_ms) {
		if (answer_to_be_renewed(resolver, answer, now)) {
			answer->renewing = true;
			resolver_renew(resolver, &key);
		}
		if (request->transport == DNS_OVER_UDP)
			feed_again(resolver->feed, answer, request->query.dnssec_ok, now);
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
		resolver_renew(resolver, &key);
		request_finish_answer(resolver, request, answer, RESULT_STALE, true);
		return;
	}
	request_wait(resolver, request, &key, answer != NULL);
}

void jobs_free(struct resolver *resolver)
{
	for (size_t i = 0; i < JOB_BUCKETS; i++) {
		while (!LIST_EMPTY(&resolver->jobs[i])) {
			struct job *job = LIST_FIRST(&resolver->jobs[i]);
			struct dns_request *request = job_take_waiting(job);

			while (request) {
				struct dns_request *next = request->next;

				request_drop(resolver, request);
				request = next;
			}
			job->unbound = NULL; /* gone */
			job_free(job);
		}
	}
}

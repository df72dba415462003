/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind resolver.h share. */
#pragma once

#include <sys/queue.h>

#include "base/lib/clock.h"
#include "dns/cookie.h"
#include "dns/resolver.h"
#include "dns/upstream.h"

struct ub_ctx;

/*
 * libunbound, and what it remembers. What it remembers it does not ask for again, however soon that ends. So there are two where it
 * resolves by itself: an answer is renewed by the one that does not have it any more (ADR 0044).
 */
struct unbound {
	struct ub_ctx *validating; /* if that is wanted */
	struct ub_ctx *unchecked;  /* for CD; NULL: the same */
	size_t jobs;
	bool left; /* after a flush: goes with its last job */
	LIST_ENTRY(unbound) others;
};
LIST_HEAD(unbound_list, unbound);
#define MEMORIES 2u

/* A question that is being asked: resolver_ask.c. */
struct job;
LIST_HEAD(job_list, job);
#define JOB_BUCKETS 1024u
#define LATENCY_BUCKETS 24u	/* up to 2^n microseconds */
#define CANDIDATES_MAX 16u

struct resolver {
	struct event_base *base;
	const struct dns_config *config;
	struct zone_set *zones;
	struct steering *steering;
	struct feed *feed;
	struct answers *answers;
	struct unbound *memories[MEMORIES]; /* the same twice, when everything is forwarded */
	struct unbound_list left_memories;
	struct event *left_event; /* to be rid of those, outside of their own turn */
	struct dns_name *forwards; /* the zones' names, as in the configuration */
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

static inline uint64_t now_ms(void)
{
	return clock_us() / 1000;
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

void request_finish(struct resolver *resolver, struct dns_request *request, const struct outcome *outcome);
void request_drop(struct resolver *resolver, struct dns_request *request);
void request_fail(struct resolver *resolver, struct dns_request *request, int ede, const char *why);

/* Looks up what the request asks for now: steered, own, or elsewhere. */
void request_resolve(struct resolver *resolver, struct dns_request *request);
/* Ends a request for `asked`, which zones know, or leads it on to another name. */
void own_finish(struct resolver *resolver, struct dns_request *request, enum resolver_result result);

/* --- names that search lists make, and other aliases: resolver_alias.c --- */

/*
 * How many labels stand before NAMESPACE.svc.ZONE; 0: the name is none that a search list makes. Only names with a dot of their
 * own are: one without may be a service that is not there yet, and somebody may rely on its not being there.
 */
unsigned int autopath_labels(const struct resolver *resolver, const struct dns_name *name);
/* The name asked for does not exist; tries the next. False: there is none, or this is no search list's. */
bool autopath_next(struct resolver *resolver, struct dns_request *request);
/* The search list led nowhere: what the client asked for first is not there. */
void autopath_fail(struct resolver *resolver, struct dns_request *request);
/* The query's name, what the prefix says, and the message, which is `age` seconds old, as one. Returns the length. */
size_t message_compose(const struct dns_request *request, const uint8_t *message, size_t length, uint32_t age, uint8_t *bytes,
		       size_t size);
/* `request` goes on with `target`, to which the CNAME records of the message led. It may have ended when this returns. */
void request_lead(struct resolver *resolver, struct dns_request *request, const uint8_t *message, size_t length,
		  const struct dns_name *target);
/*
 * Whether CNAME records of an answer of others lead to a name that is answered here, own or steered: what comes after them is not
 * for others to say.
 */
bool answer_leads_here(const struct resolver *resolver, const struct answer *answer);
/*
 * The same of a message for `asked`, `age` seconds old. True: the request goes on with that name and the records that lead there,
 * which last `ttl_max` at most. It may have ended then.
 */
bool request_lead_here(struct resolver *resolver, struct dns_request *request, const uint8_t *message, size_t length, uint32_t age,
		       uint32_t ttl_max);

/* --- what is kept, and asked for: resolver_ask.c --- */

/* `asked` is looked up in what is kept, or asked for. */
void request_resolve_elsewhere(struct resolver *resolver, struct dns_request *request);
/* Drops all that waits. After libunbound is gone, which calls nobody back then. */
void jobs_free(struct resolver *resolver);

/* --- libunbound's settings: resolver_unbound.c --- */

must_check int memories_make(struct resolver *resolver, struct error *error);
void memories_free(struct resolver *resolver);
/* Forgets everything, where libunbound remembers answers. */
void memories_forget(struct resolver *resolver);
/* Whether libunbound remembers what this name's answer was: it is not forwarded. */
bool memories_keep(const struct resolver *resolver, const struct dns_name *name);
/* A question begins, and is over. */
struct unbound *memory_take(struct resolver *resolver, uint8_t number);
void memory_put(struct resolver *resolver, struct unbound *memory);

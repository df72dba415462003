/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a question to its answer: own names, steered names, what is kept, and libunbound for the rest, which asks upstream.h's
 * servers or resolves by itself.
 *
 * One question that many ask is asked once. What is about to end and in use is renewed before it does; while nobody answers,
 * old answers are given (RFC 8767), with the error that says so (RFC 8914).
 *
 * One thread, the event loop's.
 */
#pragma once

#include <jansson.h>

#include "dns/answers.h"
#include "dns/dns_config.h"
#include "dns/feed.h"
#include "dns/steer.h"
#include "dns/zone.h"

struct event_base;
struct resolver;

enum dns_transport { DNS_OVER_UDP, DNS_OVER_TCP, DNS_OVER_TLS, DNS_OVER_COUNT };

/* Where an answer came from: what selvage_dns_queries_total counts. */
enum resolver_result {
	RESULT_CLUSTER,	 /* a name of this cluster */
	RESULT_STEERED,
	RESULT_AUTOPATH, /* a name that the search list led astray */
	RESULT_CACHED,
	RESULT_STALE,
	RESULT_RESOLVED, /* asked for now */
	RESULT_FAILED,
	RESULT_REFUSED,	 /* not a question that is answered */
	RESULT_DROPPED,
	RESULT_COUNT
};

const char *resolver_result_name(enum resolver_result result);

/*
 * A query on its way. Made by a listener, which fills the first part and keeps it until `done` was called: exactly once, from
 * within resolver_take() or later. A length of 0: nothing is to be sent.
 */
struct dns_request {
	struct dns_query query;
	uint8_t question[DNS_NAME_MAX + 4]; /* as the client wrote it */
	enum dns_transport transport;
	struct address client, server;
	uint16_t client_port, server_port;
	uint64_t received_us; /* CLOCK_MONOTONIC */
	const uint8_t *bytes; /* the whole query, for the query log; valid within resolver_take() */
	size_t length;
	void (*done)(struct dns_request *request, const uint8_t *answer, size_t length);

	/* the resolver's */
	struct dns_name asked;	/* what is being looked up, perhaps not what was asked for */
	unsigned int candidate; /* of autopath; 0: none */
	uint8_t prefix[1200];	/* CNAME records that led to `asked`: a message as dns_writer makes it */
	size_t prefix_length;
	unsigned int turns;	/* how often they led from own names to others', or back */
	bool prefix_foreign;	/* others' are among them */
	uint8_t *wire;		/* the query's copy for the query log */
	size_t wire_length;
	struct dns_request *next;
};

/* A query and its answer, for a query log. */
struct resolver_observer {
	void *context;
	void (*seen)(void *context, const struct dns_request *request, const uint8_t *answer, size_t length);
};

/* `config`, `base`, `zones`, `steering`, `feed` are borrowed. */
must_check int resolver_new(struct event_base *base, const struct dns_config *config, struct zone_set *zones,
			    struct steering *steering, struct feed *feed, struct resolver **ret_resolver, struct error *error);
void resolver_free(struct resolver *resolver);

/* The message in `bytes` was read by dns_query_read() with this outcome. */
void resolver_take(struct resolver *resolver, struct dns_request *request, enum dns_query_verdict verdict, uint16_t rcode);

struct answers *resolver_answers(struct resolver *resolver);
/* Forgets answers at and below a name; how many. */
size_t resolver_flush(struct resolver *resolver, const struct dns_name *below);
/* Names are answered here from now on that others were asked for before: packets forget what led to them. */
void resolver_names_came(struct resolver *resolver);
/* Renews what the fast path's clients ask for and is about to end. A few times a second. */
void resolver_renew(struct resolver *resolver, const struct answer_key *key);
void resolver_observe(struct resolver *resolver, const struct resolver_observer *observer); /* NULL: nobody any more */

/*
 * {"results":{"cluster":…},"transports":{"udp":…},"autopathSaved":…,"renewals":…,"running":…,"latencySumUs":…,
 *  "latencyUs":[{"leUs":…,"count":…}],"cache":{"answers":…,"bytes":…,"evicted":…},"upstreams":[…],"fastPath":{…}}
 */
json_t *resolver_json(const struct resolver *resolver);

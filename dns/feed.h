/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hands answers to the cache that packets are answered from (dns/cache.h), where there is one: selvage-dns is its only
 * writer. Without one, everything here does nothing.
 *
 * One thread, the event loop's.
 */
#pragma once

#include <jansson.h>

#include "dns/answers.h"
#include "dns/zone.h"

struct event_base;
struct feed;

/*
 * `directory`: the pins of the tables (selvaged's bpffsDirectory). From feed_open() on they are looked for, once a second until they
 * are there, so the order in which processes start does not matter. `absent_names_known`: names of own zones that are not there may be denied
 * without asking this process.
 */
struct feed *feed_new(struct event_base *base, const char *directory, struct zone_set *zones, bool absent_names_known);
void feed_free(struct feed *feed);
/* When everything is there that feed_on_ready()'s function puts. */
void feed_open(struct feed *feed);

/* What is asked for before its end is handed to `renew`. Set once. */
typedef void feed_renew(void *context, const struct answer_key *key);
void feed_on_renew(struct feed *feed, feed_renew *renew, void *context);
/* When tables have been found: own zones and what is kept are to be put. */
typedef void feed_ready(void *context);
void feed_on_ready(struct feed *feed, feed_ready *ready, void *context);
/* Whether an answer of others is one that packets may give: false also takes out what they have. */
typedef bool feed_judge(void *context, const struct answer *answer);
void feed_on_answer(struct feed *feed, feed_judge *judge, void *context);

/* An answer as it is now; `stale`: for want of a better one, in both forms. */
void feed_answer(struct feed *feed, const struct answer *answer, uint64_t now_ms, bool stale);
/*
 * A client was told this answer by the process: if it is not in packets' cache any more, it is put there again. Each such answer at most
 * once in a second, then two, and so on up to a minute: where many names fight for few places, none of them costs much.
 */
void feed_again(struct feed *feed, struct answer *answer, bool dnssec_ok, uint64_t now_ms);
/* Whether more answers are taken at this moment: many at once fill it, until what they put aside is free again. */
bool feed_has_room(const struct feed *feed);
/* An answer of an own zone, for queries with and without DO; good until the name changes. */
void feed_own(struct feed *feed, const struct answer_key *key, const uint8_t *message, size_t length, uint32_t life_s);
/* What a search list was led to, for queries with or without DO; forgotten when a name of the cluster appears. */
void feed_led(struct feed *feed, const uint8_t *message, size_t length, bool dnssec_ok);
void feed_remove(struct feed *feed, const struct answer_key *key);
void feed_flush(struct feed *feed, const struct dns_name *below);
/*
 * An own name's records have changed; `fresh`: it was not there before. What was said about it is forgotten at once, and what search
 * lists were led to instead of it.
 */
void feed_name(struct feed *feed, const struct dns_name *name, bool fresh);
/* After a snapshot: everything of the own zones anew. */
void feed_zones(struct feed *feed);

/* {"connected":true,"entries":…,"blocksUsed":…,"blocks":…,"evicted":…,"taken":…,"refused":…,"again":…}; {"connected":false} */
json_t *feed_json(const struct feed *feed);

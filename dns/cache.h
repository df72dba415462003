/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills the DNS cache that packets are answered from (dns_state.h): takes answers as they came off the wire, decides whether
 * one can be an entry, notes where its TTLs are and writes it so that no packet ever sees half of it.
 *
 * One thread of one process uses a cache, and no two processes write to the same tables. All that it needs to know it finds
 * in the tables: who is killed is followed by one that adopts what is there.
 *
 * Names are in wire form, without compression, in any case, at most DNS_NAME_BYTES with the root's label.
 */
#pragma once

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "dns/dns_state.h"

/* The tables' memory; borrowed. */
struct dns_memory {
	struct dns_tables *tables;
	struct dns_bucket *buckets; /* bucket_mask + 1 */
	struct dns_block *blocks;   /* block_count */
};

/*
 * Maps the tables that lie pinned in a directory of a bpf file system (edge_dns, edge_dns_buckets, edge_dns_blocks) for reading
 * and writing. dns_memory_close() takes the mappings away.
 */
must_check int dns_memory_open(const char *directory, struct dns_memory *ret_memory, struct error *error);
void dns_memory_close(struct dns_memory *memory);

struct dns_cache;

/* Adopts what the tables hold. NULL: no memory. The tables' sizes have been set. */
struct dns_cache *dns_cache_new(const struct dns_memory *memory);
void dns_cache_free(struct dns_cache *cache);
void dns_cache_freep(struct dns_cache **cache); /* for _cleanup_ */

/* What packets call now, from CLOCK_MONOTONIC and dns_tables.clock_offset_ms: what every `now_ms` below wants. */
uint32_t dns_cache_now_ms(const struct dns_cache *cache);

/* What an entry answers. */
struct dns_key {
	uint8_t name[DNS_NAME_BYTES];
	uint8_t name_length;
	uint16_t type;          /* host order; class IN */
	bool dnssec_ok;         /* DO: with signatures */
	bool checking_disabled; /* CD */
};

struct dns_put {
	bool dnssec_ok;         /* the answer is for queries with DO */
	bool checking_disabled; /* for those with CD */
	bool authentic;         /* validated: AD for those who ask for it */
	bool authoritative;     /* an own zone's: AA, answered without RD too, RA as in the answer's header */
	bool stale;             /* served for want of a better one (RFC 8767): TTLs are `stale_ttl`, and so is its life */
	uint32_t stale_ttl;     /* seconds; 30 are recommended */
	int extended_error;     /* code of RFC 8914 that goes with it; -1: none (a stale one gets 3 or 19 by itself) */
	bool fixed;             /* TTLs do not age */
	uint32_t life_s;        /* how long the entry lasts: 0: the least TTL in it; DNS_FOREVER: until removed */
	uint32_t ttl_max_s;     /* TTLs above are lowered to it; 0: a week */
};

/* Why an answer is none for packets: all are served by the process. */
enum dns_refusal {
	DNS_TAKEN,
	DNS_REFUSED_MALFORMED,   /* not a whole answer to one question */
	DNS_REFUSED_QUESTION,    /* of another class, a meta type, or a name or type that packets do not ask for so */
	DNS_REFUSED_CODE,        /* a code other than no error, no such name, and failure */
	DNS_REFUSED_TRUNCATED,   /* TC */
	DNS_REFUSED_LENGTH,      /* longer than DNS_SIZE_MAX, more than 32 records, or no block free */
	DNS_REFUSED_LIFE,        /* a TTL of zero, or a negative answer without SOA (RFC 2308 section 5) */
	DNS_REFUSED_REFERRAL,    /* neither records nor SOA, but NS */
};

/*
 * Takes an answer: header, its one question, all sections; an OPT record is left out. An entry with the same key is
 * replaced by one store. "No such name" without a CNAME in front is kept once for all types of the name, and gives way
 * to the first positive answer for it; other entries of the name stay.
 *
 * Negative answers last as RFC 2308 section 5 says (the SOA's TTL or minimum, the lesser), failures at most five minutes (RFC
 * 9520 section 3.2; their TTL is `life_s`, or five seconds).
 */
enum dns_refusal dns_cache_put(struct dns_cache *cache, const uint8_t *answer, size_t length, const struct dns_put *how,
			       uint32_t now_ms);
/* Looks at the answer alone; `ret_key` is what it would be kept under. For tests, fuzzing and `selvage dns lookup`. */
enum dns_refusal dns_answer_judge(const uint8_t *answer, size_t length, const struct dns_put *how, struct dns_key *ret_key);

/* Takes entries away: of one question (its "no such name" too); of all types of a name; at and below a name. How many. */
uint32_t dns_cache_remove(struct dns_cache *cache, const struct dns_key *key, uint32_t now_ms);
uint32_t dns_cache_remove_name(struct dns_cache *cache, const uint8_t *name, size_t length, uint32_t now_ms);
uint32_t dns_cache_flush(struct dns_cache *cache, const uint8_t *below, size_t length, uint32_t now_ms);

/* An entry, for people. `wire` is valid during the call: header, question, records with their TTLs as they are now. */
struct dns_view {
	struct dns_key key; /* type 0: no such name */
	const uint8_t *wire;
	size_t wire_length;
	uint32_t age_ms, life_ms;
	uint32_t hits;
	uint8_t flags; /* DNS_ENTRY_* */
	int extended_error; /* -1: none */
};

/* False ends the walk. The cache may be changed by the visitor for this entry alone. */
typedef bool dns_visitor(const struct dns_view *view, void *context);
void dns_cache_list(struct dns_cache *cache, uint32_t now_ms, dns_visitor *visitor, void *context);
/* Whether there is an entry for a question that would be answered now. */
bool dns_cache_has(const struct dns_cache *cache, const struct dns_key *key, uint32_t now_ms);
/* The entry for a question; false: none that would be answered now. */
bool dns_cache_find(struct dns_cache *cache, const struct dns_key *key, uint32_t now_ms, dns_visitor *visitor, void *context);

/*
 * Calls `visitor` for entries that were asked for near their end since the last call: in the last tenth of their life, and stale ones
 * in all but the first. Ask upstream and dns_cache_put(). Cheap when there are none: call it a few times a second.
 */
uint32_t dns_cache_due(struct dns_cache *cache, uint32_t now_ms, dns_visitor *visitor, void *context);

/*
 * Removes what has expired, a sixteenth of the cache at a time: call it about once a second. Expired entries are answered
 * by nobody; this only makes their room free before it is needed.
 */
uint32_t dns_cache_sweep(struct dns_cache *cache, uint32_t now_ms);

struct dns_cache_size {
	uint32_t entries;
	uint32_t blocks_used, blocks; /* of 256 bytes */
	uint64_t evicted;             /* entries that lived and gave way to others, since dns_cache_new() */
};

void dns_cache_measure(const struct dns_cache *cache, struct dns_cache_size *ret_size);

/*
 * Zones all of whose names are known: first all names (dns_zone_name_add), then the zone, so that no name is missing when packets
 * look. Names between others ("svc.cluster.local") and the zone itself are names too. A zone put again is replaced.
 */
struct dns_denial {
	const uint8_t *soa; /* the record's data in wire form without compression */
	size_t soa_length;
	uint32_t ttl;        /* that answers carry it with (RFC 2308 section 3) */
	size_t owner_length; /* of the record's owner, which the zone's name ends with: the zone it is a part of; 0: its own name */
};

must_check int dns_zone_put(struct dns_cache *cache, const uint8_t *zone, size_t length, const struct dns_denial *denial,
			    struct error *error);
bool dns_zone_remove(struct dns_cache *cache, const uint8_t *zone, size_t length);
/*
 * A name appears, or goes. Adding also takes negative entries of the name out of the cache. -ENOSPC: no place for it; the
 * zone must not be put, or be removed, for the name would be denied. Adding twice is adding once.
 */
must_check int dns_zone_name_add(struct dns_cache *cache, const uint8_t *name, size_t length, uint32_t now_ms);
bool dns_zone_name_remove(struct dns_cache *cache, const uint8_t *name, size_t length, uint32_t now_ms);

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The DNS cache as packets see it: plain memory, written by one process of user space (dns/cache.h), read by every engine.
 *
 *     dns_buckets: by the name's hash, eight words each ──► dns_blocks: the answer, 256 bytes and more of them if it is long
 *     hints:       a byte for each bucket: where in dns_blocks its answers most likely are; they are the first blocks
 *     dns_tables:  seed, sizes, zones all of whose names are known, those names, what is to be refreshed
 *
 * All entries of one name lie in one bucket, which alone says what the cache holds. Hints are small enough for the
 * processor's caches, so that an answer costs one access to memory and not two: a block that a hint leads to says by its `key` and
 * its name what it is, and if it is another one, the bucket is looked at.
 *
 * A word is switched by one store; a block that an answer gave back changes its `version` before anything else and lies idle
 * for DNS_IDLE_MS, so that a reader that still copies it notices. What readers write themselves, `due` and `hits`, has a place
 * of its own in every kind of block: a late one cannot hit bytes of another answer. So has `key`, which is 0 in all blocks that
 * are no answer's first: bytes of an answer cannot pass for an entry.
 */
#pragma once

#include "base/packet/hash.h"
#include "dns/dns_wire.h"

#define DNS_IDLE_MS 100u /* from the end of an entry to another use of its blocks */

/*
 * A bucket's word: 0 is empty.
 *
 *     63             24 23          0
 *     [ signature 40  ][ block 24   ]   block 0 is no answer's
 *
 * Buckets are chosen by the name, signatures by name, type and what else makes an answer another one. writer: dns/cache.c
 */
#define DNS_WAYS 8u
#define DNS_BLOCK_BITS 24u

struct dns_bucket {
	uint64_t words[DNS_WAYS];
};
_Static_assert(sizeof(struct dns_bucket) == 64, "one cache line");

#define DNS_ENTRY_DNSSEC 0x01      /* for queries with DO */
#define DNS_ENTRY_UNCHECKED 0x02   /* for queries with CD */
#define DNS_ENTRY_AUTHENTIC 0x04   /* validated: AD for those who ask for it (RFC 6840 section 5.8) */
#define DNS_ENTRY_FIXED 0x08       /* TTLs stay as they are: own zones, stale answers */
#define DNS_ENTRY_STALE 0x10       /* counted apart (RFC 8767) */
#define DNS_ENTRY_UNASKED 0x20     /* for queries without RD, too: own zones */
#define DNS_ENTRY_SET 0x40         /* addresses of the name, no more: struct dns_entry.set is what is sent */

#define DNS_FOREVER UINT32_MAX /* of life_ms and due_ms */

#define DNS_TTLS_HEAD 8u   /* TTLs whose places are in the first block */
#define DNS_TTLS_MORE 24u  /* further ones, in the block `more` */
#define DNS_WORDS_NEAR 6u  /* of a name's last words, behind the first block's fields */
#define DNS_WORDS_HEAD 22u /* of them, in the first block */
#define DNS_WORDS 32u      /* of the longest name */
#define DNS_BYTES_HEAD 128u
#define DNS_BYTES_NEXT 236u
#define DNS_SET_MAX 4u       /* A records of a set; or one AAAA record */
#define DNS_ROTATE_MAX 16u   /* records of a set that rotates; constant bound: verifier */
#define DNS_BLOCKS_NEXT 6u /* further blocks that an answer may have; constant bound: verifier */

/*
 * An answer: what is sent behind the question, with the name that it is for. The name's words are counted from the root backwards,
 * so that their places do not depend on its length: six in `name`, in the block's first two lines, further ones from the
 * block's end on. Lower case; the word that holds its beginning has zeros in front. What the name leaves of `bytes` is the
 * beginning of the tail.
 *
 * DNS_ENTRY_SET: the tail is one to four A records of the name in question, or one AAAA record, with one TTL: `set` and `set_ttl` are all
 * that is needed of it, so that what most names have is answered from the first two lines. The tail lies in `bytes` all the same.
 *
 * writer: dns/cache.c, but for `due`, `hits` (packets)
 */
struct dns_entry {
	uint32_t version;
	uint32_t due;     /* asked for at the age due_ms or later, once */
	uint32_t hits;    /* exact to 64, then a sixteenth of them counts sixteen */
	uint32_t next;    /* struct dns_next, 0: none */
	uint32_t key;     /* dns_key_word() */
	uint32_t made_ms; /* packets' clock */
	uint32_t life_ms; /* older ones are no answer any more; DNS_FOREVER */
	uint32_t due_ms;  /* asked for at this age or later, it is to be refreshed; DNS_FOREVER */
	uint32_t more;    /* struct dns_more, 0: none */
	uint16_t type;    /* 0: all, which only "no such name" is (RFC 2308 section 5) */
	uint8_t name_length;
	uint8_t flags;         /* DNS_ENTRY_* */
	uint16_t header_flags; /* of the answer: response, authoritative, recursion available, code */
	uint16_t tail_length;
	uint16_t tail_sum; /* its share of the UDP checksum, at its place behind the question */
	uint16_t answers, authorities, additionals; /* OPT not counted */
	uint8_t ttls;
	uint8_t ttls_odd; /* of those, at odd places of the packet's UDP payload */
	uint16_t extended_error; /* 1 + the code of RFC 8914 that goes with it; 0: none */
	union {
		struct {
			uint16_t rotate_at;     /* in the tail: the first address of a set of A or AAAA records, as `type` says */
			uint16_t rotate_length; /* from one to the next; even */
		};
		uint32_t set_ttl; /* of all its records */
	};
	uint8_t rotate_count; /* 0: nothing to rotate */
	uint8_t zero[3];
	union {
		uint16_t ttl_at[DNS_TTLS_HEAD]; /* in the tail */
		uint32_t set[DNS_SET_MAX];      /* the addresses, as on the wire */
	};
	uint64_t name[DNS_WORDS_NEAR];
	uint8_t bytes[DNS_BYTES_HEAD];
};
_Static_assert(sizeof(struct dns_entry) == 256 && offsetof(struct dns_entry, set) == 64 &&
		       offsetof(struct dns_entry, bytes) == 128,
	       "a block, whose first line are the fields, its second places and name");

/* Bytes of the tail that lie in the entry's first block: what the name leaves. */
PACKET_INLINE uint32_t dns_head_room(uint32_t name_length)
{
	uint32_t name = (name_length + 7u) & ~7u;

	if (name <= 8 * DNS_WORDS_NEAR)
		return DNS_BYTES_HEAD;
	return name < 8 * DNS_WORDS_HEAD ? 8 * DNS_WORDS_HEAD - name : 0;
}

/* From the beginning of one record of a set to the next: a pointer to the question's name in front. */
PACKET_INLINE uint32_t dns_set_stride(uint32_t type)
{
	return type == DNS_TYPE_A ? DNS_RECORD_BYTES + 2 + 4 : DNS_RECORD_BYTES + 2 + 16;
}

/* The tail's next part. */
struct dns_next {
	uint32_t version;
	uint32_t unused_due;
	uint32_t unused_hits;
	uint32_t next;
	uint32_t key; /* 0 */
	uint8_t bytes[DNS_BYTES_NEXT];
};
_Static_assert(sizeof(struct dns_next) == 256, "a block");

/* What few entries have: many records, or a name of more than 176 bytes, whose beginning is at the end here. */
struct dns_more {
	uint32_t version;
	uint32_t unused_due;
	uint32_t unused_hits;
	uint32_t zero;
	uint32_t key; /* 0 */
	uint16_t ttl_at[DNS_TTLS_MORE];
	uint8_t unused[108];
	uint64_t words[DNS_WORDS - DNS_WORDS_HEAD];
};
_Static_assert(sizeof(struct dns_more) == 256 && offsetof(struct dns_more, words) == 176, "a block");

struct dns_block {
	union {
		uint32_t version;
		struct dns_entry entry;
		struct dns_next next;
		struct dns_more more;
		uint8_t hints[256];
	};
};
_Static_assert(sizeof(struct dns_block) == 256, "four cache lines");
_Static_assert(offsetof(struct dns_entry, due) == offsetof(struct dns_next, unused_due) &&
		       offsetof(struct dns_entry, hits) == offsetof(struct dns_next, unused_hits) &&
		       offsetof(struct dns_entry, due) == offsetof(struct dns_more, unused_due) &&
		       offsetof(struct dns_entry, hits) == offsetof(struct dns_more, unused_hits) &&
		       offsetof(struct dns_entry, key) == offsetof(struct dns_next, key) &&
		       offsetof(struct dns_entry, key) == offsetof(struct dns_more, key),
	       "packets' own places, and what says that a block is an entry");

/*
 * Hints: a byte for each bucket. 0: there is none. Else the bucket's entries are at dns_hint_place(), all those for which the
 * builder found a hint that suits them. The first blocks hold them. writer: dns/cache_blocks.c
 */
#define DNS_HINT_ROW_BITS 8u /* of how many buckets' hints a block holds */

/* The first block that may be an answer's. */
PACKET_INLINE uint32_t dns_blocks_first(uint32_t bucket_mask)
{
	return (bucket_mask >> DNS_HINT_ROW_BITS) + 1;
}

/*
 * A zone that this node knows whole: a name below it that is not in dns_names does not exist, and `tail` (the SOA record
 * from its type on; its owner is the zone or one above it) says so. Also known by its length. writer: dns/cache.c
 */
#define DNS_ZONES 64u
#define DNS_ZONE_LABELS 24u /* names of more labels are not looked into; constant bound: verifier */
#define DNS_ZONE_CHAIN 4u   /* zones of one length */
#define DNS_ZONE_TAIL 512u  /* longest SOA record: two names, five numbers */

struct dns_zone {
	uint32_t version; /* odd: being written; 0: never was */
	uint16_t owner_at; /* how many bytes of the name stand before the SOA record's owner */
	uint16_t unused_owner;
	uint8_t name_length;
	uint8_t next; /* zone of the same length, 0: none */
	uint16_t header_flags;
	uint16_t tail_length;
	uint16_t tail_sum; /* as if at an even place */
	uint64_t words[DNS_WORDS]; /* the name's, the root's first, as in an entry */
	uint8_t tail[DNS_ZONE_TAIL];
	uint8_t zero[48];
};
_Static_assert(sizeof(struct dns_zone) == 832, "table row");

/*
 * Names that exist in such zones, empty ones between others too: their whole hashes, each in one of two buckets, so that nearly all
 * places can be filled. writer: dns/cache.c
 */
#define DNS_NAME_BUCKET_BITS 14u

struct dns_names {
	uint64_t words[1u << DNS_NAME_BUCKET_BITS][DNS_WAYS] __attribute__((aligned(64)));
};

/* Entries whose time has come, a ring of their blocks: what is overwritten before it was read is lost. */
#define DNS_DUE_PLACES 1024u

#define DNS_NAMES_DEFAULT 32768u
#define DNS_NAMES_LEAST 64u
#define DNS_NAMES_MAX 4000000u

struct dns_tables {
	uint64_t seed;         /* of names' hashes; not 0 once the cache is in use. writer: dns/cache.c */
	uint32_t bucket_mask;  /* buckets - 1, a power of two less one. writer: who made the tables */
	uint32_t block_count;  /* the first ones are hints */
	uint32_t clock_offset_ms; /* packets' clock less CLOCK_MONOTONIC in milliseconds. writer: selvaged */
	uint32_t unused[11];
	uint64_t due_count; /* ever. writer: packets */
	uint64_t unused_due[7];
	uint32_t due[DNS_DUE_PLACES];
	uint8_t zone_by_length[256]; /* the first of dns_zone rows; 0: none */
	struct dns_zone zones[DNS_ZONES];
	struct dns_names names;
};

/* What became of queries that reached the cache. One for each CPU or worker: plain additions. */
enum dns_result {
	DNS_RESULT_ANSWER,      /* with records */
	DNS_RESULT_NEGATIVE,    /* no such name, or no record of the type (RFC 2308); a cached failure, too */
	DNS_RESULT_NO_NAME,     /* no such name in a zone that is known whole */
	DNS_RESULT_STALE,       /* an old answer, for upstream is away */
	DNS_RESULT_TRUNCATED,   /* too long for the client: TC */
	/* from here on: left to the resolver process */
	DNS_RESULT_MISS,
	DNS_RESULT_EXPIRED,
	DNS_RESULT_UNUSUAL,     /* a query that is not answered here: options, opcodes, classes, lengths, TCP */
	DNS_RESULT_NO_ROOM,     /* the packet could not grow */
	DNS_RESULT_TORN,        /* the entry changed meanwhile */
	DNS_RESULT_COUNT
};

#define DNS_RESULT_PLACES 16u /* a power of two that has room for all of them */

/* The query at hand, each worker's own. */
struct dns_scratch {
	uint64_t results[DNS_RESULT_PLACES]; /* enum dns_result */
	uint64_t words[DNS_WORDS]; /* the name in lower case, from the root backwards */
	uint16_t l3_offset;
	uint16_t l4_offset;
	uint16_t name_offset;
	uint16_t name_length;
	uint16_t query_flags;
	uint16_t payload_length;
	uint16_t size;     /* the longest answer that the client takes */
	uint16_t type;
	uint8_t ipv6;
	uint8_t edns;      /* it has an OPT record */
	uint8_t opt_flags; /* DNS_OPT_DO */
	uint8_t result;    /* enum dns_result */
	uint32_t now_ms;
	uint16_t client_size; /* as its OPT record has it */
	uint16_t zone_length;
	uint16_t service; /* row of the DNS address, for the host */
	uint16_t id;      /* of the query, as it came */
	uint32_t block;   /* of the entry */
	uint32_t turns;   /* answers ever: what is done by turns goes by it */
	uint32_t unused[6];
};
_Static_assert(DNS_RESULT_COUNT <= DNS_RESULT_PLACES && sizeof(struct dns_scratch) == 448, "whole cache lines");

/* The name's hash goes over its words from the root backwards. */
PACKET_INLINE uint64_t dns_signature(uint64_t name_hash, uint32_t type, uint32_t flags)
{
	return hash_finish(name_hash ^ ((uint64_t)type << 32 | (flags & (DNS_ENTRY_DNSSEC | DNS_ENTRY_UNCHECKED)) << 8 | 1)) >>
	       DNS_BLOCK_BITS;
}

/* What an entry's first block has of its signature; not 0. */
PACKET_INLINE uint32_t dns_key_word(uint64_t signature)
{
	return (uint32_t)signature | 1;
}

/* The block that a hint, which is not 0, leads to: for each signature another one. */
PACKET_INLINE uint32_t dns_hint_place(const struct dns_tables *tables, uint64_t signature, uint32_t hint)
{
	uint32_t first = dns_blocks_first(tables->bucket_mask), count = tables->block_count - first;

	return first + (uint32_t)((uint64_t)((uint32_t)signature ^ hint * 0x9e3779b1u) * count >> 32);
}

PACKET_INLINE uint32_t dns_name_bucket(uint64_t name_hash)
{
	return (uint32_t)(hash_finish(name_hash) >> 32);
}

/* The packets' clock is coarse: an entry may have been made some ticks after what they call now. */
#define DNS_CLOCK_APART_MS 60000u

PACKET_INLINE uint32_t dns_age_ms(uint32_t now_ms, uint32_t made_ms)
{
	uint32_t age_ms = now_ms - made_ms;

	return age_ms >= -DNS_CLOCK_APART_MS ? 0 : age_ms;
}

PACKET_INLINE uint32_t dns_names_bucket(uint64_t name_hash, uint32_t choice)
{
	return (uint32_t)(hash_finish(name_hash) >> (choice ? 40 : 16)) & ((1u << DNS_NAME_BUCKET_BITS) - 1);
}

/* Not 0, which is an empty place. */
PACKET_INLINE uint64_t dns_name_word(uint64_t name_hash)
{
	return hash_finish(name_hash) | 1;
}

#define LOWER_ONES 0x0101010101010101ull

/* Whether a byte may be a capital: 0x40 to 0x5f, or no ASCII. */
PACKET_INLINE bool dns_needs_lower(uint64_t word)
{
	return word & ~(word << 1) & 0x40 * LOWER_ONES;
}

/* Eight bytes in lower case: ASCII letters only, as RFC 4343 section 3 has it. Lengths of labels are below 'A'. */
PACKET_INLINE uint64_t dns_lower(uint64_t word)
{
	uint64_t low = word & 0x7f * LOWER_ONES;
	uint64_t above_z = low + (0x7f - 'Z') * LOWER_ONES, from_a = low + (0x80 - 'A') * LOWER_ONES;

	return word | ((~word & (from_a ^ above_z)) & 0x80 * LOWER_ONES) >> 2;
}

/*
 * Sizes for so many names with small answers: a block of 256 bytes for each and a quarter more for long ones, and a bucket, 64
 * bytes and its hint, for one to two of them: then one in five thousand finds its bucket full at worst.
 */
PACKET_INLINE void dns_sizes(uint32_t names, uint32_t *ret_buckets, uint32_t *ret_blocks)
{
	uint32_t buckets = DNS_NAMES_LEAST / 2;

	if (names < DNS_NAMES_LEAST)
		names = DNS_NAMES_LEAST;
	if (names > DNS_NAMES_MAX)
		names = DNS_NAMES_MAX;
	while (buckets * 2 < names)
		buckets *= 2;
	*ret_buckets = buckets;
	*ret_blocks = names + names / 4 + dns_blocks_first(buckets - 1);
}

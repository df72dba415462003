/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind cache.h share. */
#pragma once

#include "dns/cache.h"

#define DNS_TTLS_MAX (DNS_TTLS_HEAD + DNS_TTLS_MORE)
#define DNS_TTL_WEEK 604800u   /* RFC 8767 section 4 */
#define DNS_LIFE_FAILURE 5u    /* seconds */
#define DNS_LIFE_FAILURE_MAX 300u /* RFC 9520 section 3.2 */

/* A name as packets compare it: lower case, in words from the root backwards. */
struct name_words {
	uint64_t words[DNS_WORDS];
	uint8_t length;
};

/* False: no name in wire form, not `length` bytes long, or compressed. */
bool name_words_from(const uint8_t *name, size_t length, struct name_words *ret_words);
void name_words_to(const struct name_words *words, uint8_t name[static DNS_NAME_BYTES]);
uint64_t name_words_hash(const struct name_words *words, uint64_t seed);
static inline uint32_t name_words_count(uint32_t length)
{
	return (length + 7) / 8;
}

/* The share of bytes of a checksum, as the packet's words are loaded; `odd`: they begin at an odd place. */
uint16_t bytes_sum(const uint8_t *bytes, size_t length, bool odd);

/* An answer as it would be kept. */
struct parsed_answer {
	struct dns_key key; /* the name in lower case; type 0: for all */
	struct name_words name;
	uint8_t tail[DNS_SIZE_MAX];
	struct dns_entry head; /* all but versions, times, blocks and bytes */
	uint16_t ttl_at[DNS_TTLS_MAX];
	uint32_t life_s; /* or DNS_FOREVER */
	uint32_t rcode;
};

enum dns_refusal answer_parse(const uint8_t *answer, size_t length, const struct dns_put *how, struct parsed_answer *ret_parsed);

struct dns_cache {
	struct dns_memory memory;
	uint64_t *free_blocks; /* a bit for each */
	uint32_t free_first;   /* none before this word of them */
	uint32_t free_count;
	struct { uint32_t block, since_ms; } *idle; /* a ring: given back, not to be used yet */
	uint32_t idle_first, idle_count;
	uint32_t *hits_seen; /* by block: when the hand passed last */
	uint32_t hand;       /* a bucket: the next to be looked at when room is needed */
	uint32_t sweep;      /* the next sixteenth */
	uint32_t entries;
	uint64_t evicted;
	uint64_t due_seen;
};

/* --- blocks ------------------------------------------------------------------------------------------------------------- */

#define WORD_BLOCK(word) ((uint32_t)(word) & ((1u << DNS_BLOCK_BITS) - 1))

/* NULL: there is none with this number that may be an answer's. */
struct dns_block *block_at(const struct dns_cache *cache, uint32_t place);
/* From now on whoever still reads it knows that it is no answer any more. */
void block_void(struct dns_block *block);
/* Around writing what nobody reads yet; it is all zero in between, but for the version. */
void block_begin(struct dns_block *block);
void block_end(struct dns_block *block);
void block_give_back(struct dns_cache *cache, uint32_t place, uint32_t now_ms);
void block_free(struct dns_cache *cache, uint32_t place);
/* Given back ones are free after a while. */
void blocks_settle(struct dns_cache *cache, uint32_t now_ms);
/* The first free one; there is one. */
uint32_t block_take(struct dns_cache *cache);

/*
 * Takes a free block for an entry's beginning where a hint can lead to it, and to those who share it as far as can be; 0: there is none.
 * hint_put(), when the entry is in its bucket, moves those who must, and sets the hint.
 */
uint32_t hint_choose(struct dns_cache *cache, uint32_t bucket, uint64_t signature, uint32_t *ret_place);
void hint_put(struct dns_cache *cache, uint32_t bucket, uint32_t hint, uint32_t now_ms);

/* Takes away the entries of a name that `wanted` says yes to; how many. */
typedef bool entry_test(const struct dns_entry *entry, const void *context);
uint32_t cache_remove_where(struct dns_cache *cache, const struct name_words *name, entry_test *wanted, const void *context,
			    uint32_t now_ms);
bool entry_is_negative(const struct dns_entry *entry, const void *context);

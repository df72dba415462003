/* SPDX-License-Identifier: Apache-2.0 */
/* The cache's blocks: free ones, given back ones, and which of them a name's hint leads to. */
#include <string.h>

#include "dns/cache_internal.h"

#define HINTS 256u
#define HINTS_LOOKED_AT 64u /* and more while none suits all of the bucket's entries */
#define COST_LOST (1ull << 2 * DNS_BLOCK_BITS)

struct dns_block *block_at(const struct dns_cache *cache, uint32_t place)
{
	const struct dns_tables *tables = cache->memory.tables;

	return place >= dns_blocks_first(tables->bucket_mask) && place < tables->block_count ? &cache->memory.blocks[place] : NULL;
}

void block_void(struct dns_block *block)
{
	__atomic_store_n(&block->version, block->version | 1, __ATOMIC_SEQ_CST);
}

static bool block_is_free(const struct dns_cache *cache, uint32_t place)
{
	return cache->free_blocks[place / 64] >> place % 64 & 1;
}

void block_free(struct dns_cache *cache, uint32_t place)
{
	cache->free_blocks[place / 64] |= 1ull << place % 64;
	cache->free_count++;
	if (place / 64 < cache->free_first)
		cache->free_first = place / 64;
}

static void free_take(struct dns_cache *cache, uint32_t place)
{
	cache->free_blocks[place / 64] &= ~(1ull << place % 64);
	cache->free_count--;
}

void block_give_back(struct dns_cache *cache, uint32_t place, uint32_t now_ms)
{
	uint32_t count = cache->memory.tables->block_count, last = (cache->idle_first + cache->idle_count) % count;

	cache->idle[last].block = place;
	cache->idle[last].since_ms = now_ms;
	cache->idle_count++;
}

void blocks_settle(struct dns_cache *cache, uint32_t now_ms)
{
	while (cache->idle_count && now_ms - cache->idle[cache->idle_first].since_ms >= DNS_IDLE_MS) {
		block_free(cache, cache->idle[cache->idle_first].block);
		cache->idle_first = (cache->idle_first + 1) % cache->memory.tables->block_count;
		cache->idle_count--;
	}
}

void block_begin(struct dns_block *block)
{
	uint32_t version = (block->version | 1) + 2;

	__atomic_store_n(&block->version, version, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* nothing of what follows is seen before it */
	memset((uint8_t *)block + sizeof(block->version), 0, sizeof(*block) - sizeof(block->version));
}

void block_end(struct dns_block *block)
{
	__atomic_store_n(&block->version, block->version + 1, __ATOMIC_SEQ_CST);
}

uint32_t block_take(struct dns_cache *cache)
{
	uint32_t place;

	while (!cache->free_blocks[cache->free_first])
		cache->free_first++;
	place = cache->free_first * 64 + (uint32_t)__builtin_ctzll(cache->free_blocks[cache->free_first]);
	free_take(cache, place);
	return place;
}

/* --- hints -------------------------------------------------------------------------------------------------------------- */

/*
 * How badly a hint suits a bucket, into which an entry with this signature comes, to `place`. Entries that it would not lead to weigh
 * most, then those that must move, then high places: for what lies close together is in fewer pages.
 */
static uint64_t hint_cost(const struct dns_cache *cache, uint32_t bucket, uint64_t signature, uint32_t hint, uint32_t place)
{
	uint64_t cost = place;

	for (uint32_t way = 0; way < DNS_WAYS; way++) {
		uint64_t word = cache->memory.buckets[bucket].words[way];
		uint32_t home;

		if (!word || word >> DNS_BLOCK_BITS == signature)
			continue;
		home = dns_hint_place(cache->memory.tables, word >> DNS_BLOCK_BITS, hint);
		if (home == WORD_BLOCK(word))
			continue;
		if (home == place || !block_is_free(cache, home))
			cost += COST_LOST;
		else
			cost += home + cache->memory.tables->block_count / 4;
	}
	return cost;
}

uint32_t hint_choose(struct dns_cache *cache, uint32_t bucket, uint64_t signature, uint32_t *ret_place)
{
	uint64_t least = UINT64_MAX;
	uint32_t best = 0;

	for (uint32_t hint = 1; hint < HINTS && (hint <= HINTS_LOOKED_AT || least >= COST_LOST); hint++) {
		uint32_t place = dns_hint_place(cache->memory.tables, signature, hint);
		uint64_t cost = block_is_free(cache, place) ? hint_cost(cache, bucket, signature, hint, place) : UINT64_MAX;

		if (cost >= least)
			continue;
		least = cost;
		best = hint;
		*ret_place = place;
	}
	if (best)
		free_take(cache, *ret_place);
	return best;
}

/* The entry's first block goes elsewhere. What readers wrote last may be lost; near its end it is asked for once more. */
static void entry_move(struct dns_cache *cache, uint64_t *word, uint32_t place, uint32_t now_ms)
{
	uint32_t before = WORD_BLOCK(*word);
	struct dns_block *from = &cache->memory.blocks[before], *to = &cache->memory.blocks[place];

	free_take(cache, place);
	block_begin(to);
	memcpy((uint8_t *)to + sizeof(to->version), (const uint8_t *)from + sizeof(from->version),
	       sizeof(*to) - sizeof(to->version));
	to->entry.due = 0;
	block_end(to);
	cache->hits_seen[place] = cache->hits_seen[before];
	__atomic_store_n(word, *word - before + place, __ATOMIC_SEQ_CST);
	block_void(from);
	block_give_back(cache, before, now_ms);
}

void hint_put(struct dns_cache *cache, uint32_t bucket, uint32_t hint, uint32_t now_ms)
{
	for (uint32_t way = 0; way < DNS_WAYS; way++) {
		uint64_t *word = &cache->memory.buckets[bucket].words[way];
		uint32_t home = dns_hint_place(cache->memory.tables, *word >> DNS_BLOCK_BITS, hint);

		if (block_at(cache, WORD_BLOCK(*word)) && block_is_free(cache, home))
			entry_move(cache, word, home, now_ms);
	}
	__atomic_store_n(&cache->memory.blocks[bucket >> DNS_HINT_ROW_BITS].hints[bucket & 255], (uint8_t)hint, __ATOMIC_RELEASE);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Entries: what they are written into, their places in buckets, and who gives way to whom. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "dns/cache_internal.h"

#define RESERVE_SHIFT 5 /* a thirty-second of the blocks is kept free, for given back ones are not free at once */

static uint32_t bucket_of(const struct dns_cache *cache, uint64_t hash)
{
	return dns_name_bucket(hash) & cache->memory.tables->bucket_mask;
}

static uint32_t entry_age_ms(const struct dns_entry *entry, uint32_t now_ms)
{
	return dns_age_ms(now_ms, entry->made_ms);
}

static bool entry_is_over(const struct dns_entry *entry, uint32_t now_ms)
{
	return entry->life_ms != DNS_FOREVER && entry_age_ms(entry, now_ms) >= entry->life_ms;
}

/* --- entries' blocks ---------------------------------------------------------------------------------------------------- */

/* Every block of an entry, the first one too; at most `size`. */
static uint32_t entry_blocks(const struct dns_cache *cache, uint32_t place, uint32_t *ret_places, uint32_t size)
{
	const struct dns_block *block = block_at(cache, place);
	uint32_t count = 0, next;

	if (!block)
		return 0;
	ret_places[count++] = place;
	if (block_at(cache, block->entry.more))
		ret_places[count++] = block->entry.more;
	for (next = block->entry.next; block_at(cache, next) && count < size; next = cache->memory.blocks[next].next.next)
		ret_places[count++] = next;
	return count;
}

#define ENTRY_BLOCKS (2 + DNS_BLOCKS_NEXT)

static void entry_drop(struct dns_cache *cache, uint64_t *word, uint32_t now_ms)
{
	uint32_t places[ENTRY_BLOCKS], count = entry_blocks(cache, WORD_BLOCK(*word), places, ENTRY_BLOCKS);

	__atomic_store_n(word, 0, __ATOMIC_SEQ_CST);
	if (count)
		block_void(&cache->memory.blocks[places[0]]);
	for (uint32_t i = 0; i < count; i++)
		block_give_back(cache, places[i], now_ms);
	cache->entries--;
}

/* The entry behind a bucket's word; NULL: none. */
static struct dns_entry *word_entry(const struct dns_cache *cache, uint64_t word)
{
	struct dns_block *block = word ? block_at(cache, WORD_BLOCK(word)) : NULL;

	return block ? &block->entry : NULL;
}

/* Whether it was asked for since it was looked at last. */
static bool entry_is_wanted(struct dns_cache *cache, uint64_t word, const struct dns_entry *entry)
{
	uint32_t *seen = &cache->hits_seen[WORD_BLOCK(word)], hits = load_once(entry->hits);
	bool wanted = hits != *seen;

	*seen = hits;
	return wanted;
}

/* Makes room: what is over, or was not asked for since the hand came by last. */
static void room_make(struct dns_cache *cache, uint32_t wanted, uint32_t now_ms)
{
	uint32_t buckets = cache->memory.tables->bucket_mask + 1, given = 0;

	for (uint32_t i = 0; i < 2 * buckets && given < wanted; i++) {
		struct dns_bucket *bucket = &cache->memory.buckets[cache->hand];

		cache->hand = (cache->hand + 1) & cache->memory.tables->bucket_mask;
		for (uint32_t way = 0; way < DNS_WAYS; way++) {
			uint64_t *word = &bucket->words[way];
			const struct dns_entry *entry = word_entry(cache, *word);
			uint32_t before = cache->idle_count;
			bool over;

			if (!entry)
				continue;
			over = entry_is_over(entry, now_ms);
			if (!over && entry_is_wanted(cache, *word, entry))
				continue;
			entry_drop(cache, word, now_ms);
			cache->evicted += !over;
			given += cache->idle_count - before;
		}
	}
}

/* Whether so many are free now. */
static bool blocks_have(struct dns_cache *cache, uint32_t count, uint32_t now_ms)
{
	uint32_t reserve = (cache->memory.tables->block_count >> RESERVE_SHIFT) + ENTRY_BLOCKS;

	blocks_settle(cache, now_ms);
	if (cache->free_count + cache->idle_count < reserve)
		room_make(cache, reserve - cache->free_count - cache->idle_count, now_ms);
	return cache->free_count >= count;
}

/* --- the whole ---------------------------------------------------------------------------------------------------------- */

/*
 * What no bucket leads to is free, and no answer any more: a hint may lead to one whose builder ended before it took it back. Words
 * that lead nowhere are taken away.
 */
static void cache_adopt(struct dns_cache *cache)
{
	uint32_t blocks = cache->memory.tables->block_count, buckets = cache->memory.tables->bucket_mask + 1;
	_cleanup_(freep) uint8_t *used = calloc(blocks, 1);

	if (!used)
		return;
	for (uint32_t i = 0; i < buckets; i++) {
		for (uint32_t way = 0; way < DNS_WAYS; way++) {
			uint64_t *word = &cache->memory.buckets[i].words[way];
			uint32_t places[ENTRY_BLOCKS], count = entry_blocks(cache, WORD_BLOCK(*word), places, ENTRY_BLOCKS);
			bool sound = count && !(cache->memory.blocks[places[0]].version & 1);

			if (!*word)
				continue;
			for (uint32_t k = 0; k < count; k++)
				sound = sound && !used[places[k]];
			if (!sound) {
				__atomic_store_n(word, 0, __ATOMIC_SEQ_CST);
				continue;
			}
			for (uint32_t k = 0; k < count; k++)
				used[places[k]] = 1;
			cache->entries++;
		}
	}
	for (uint32_t place = dns_blocks_first(buckets - 1); place < blocks; place++) {
		if (used[place])
			continue;
		if (cache->memory.blocks[place].version)
			block_void(&cache->memory.blocks[place]);
		block_free(cache, place);
	}
}

struct dns_cache *dns_cache_new(const struct dns_memory *memory)
{
	struct dns_cache *cache = calloc(1, sizeof(*cache));
	uint32_t blocks = memory->tables->block_count;

	if (!cache)
		return NULL;
	cache->memory = *memory;
	cache->free_blocks = calloc(blocks / 64 + 1, sizeof(*cache->free_blocks));
	cache->idle = calloc(blocks, sizeof(*cache->idle));
	cache->hits_seen = calloc(blocks, sizeof(*cache->hits_seen));
	if (!cache->free_blocks || !cache->idle || !cache->hits_seen) {
		dns_cache_free(cache);
		return NULL;
	}
	while (memory->tables->seed == 0) {
		uint64_t seed = 0;

		if (getrandom(&seed, sizeof(seed), 0) == sizeof(seed))
			memory->tables->seed = seed;
	}
	cache_adopt(cache);
	cache->due_seen = load_once(memory->tables->due_count);
	return cache;
}

void dns_cache_free(struct dns_cache *cache)
{
	if (!cache)
		return;
	free(cache->free_blocks);
	free(cache->idle);
	free(cache->hits_seen);
	free(cache);
}

void dns_cache_freep(struct dns_cache **cache)
{
	dns_cache_free(*cache);
}

uint32_t dns_cache_now_ms(const struct dns_cache *cache)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint32_t)((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000) +
	       load_once(cache->memory.tables->clock_offset_ms);
}

/* --- finding ------------------------------------------------------------------------------------------------------------ */

static uint64_t more_word(const struct dns_cache *cache, const struct dns_entry *entry, uint32_t place)
{
	const struct dns_block *more = block_at(cache, entry->more);

	return more ? more->more.words[DNS_WORDS - 1 - place] : 0;
}

/* The place'th of the name's words. */
static uint64_t entry_word(const struct dns_cache *cache, const struct dns_entry *entry, uint32_t place)
{
	uint64_t word;

	if (place < DNS_WORDS_NEAR)
		return entry->name[place];
	if (place >= DNS_WORDS_HEAD)
		return more_word(cache, entry, place);
	memcpy(&word, (const uint8_t *)(entry + 1) - 8 * (place - DNS_WORDS_NEAR + 1), sizeof(word));
	return word;
}

static void entry_name(const struct dns_cache *cache, const struct dns_entry *entry, struct name_words *ret_words)
{
	memset(ret_words, 0, sizeof(*ret_words));
	ret_words->length = entry->name_length;
	for (uint32_t i = 0; i < name_words_count(entry->name_length); i++)
		ret_words->words[i] = entry_word(cache, entry, i);
}

static bool entry_has_name(const struct dns_cache *cache, const struct dns_entry *entry, const struct name_words *name)
{
	if (entry->name_length != name->length)
		return false;
	for (uint32_t i = 0; i < name_words_count(name->length); i++) {
		if (entry_word(cache, entry, i) != name->words[i])
			return false;
	}
	return true;
}

static struct dns_bucket *name_bucket(const struct dns_cache *cache, const struct name_words *name, uint64_t *ret_hash)
{
	*ret_hash = name_words_hash(name, cache->memory.tables->seed);
	return &cache->memory.buckets[bucket_of(cache, *ret_hash)];
}

static uint32_t key_flags(const struct dns_key *key)
{
	return (key->dnssec_ok ? DNS_ENTRY_DNSSEC : 0) | (key->checking_disabled ? DNS_ENTRY_UNCHECKED : 0);
}

/* The bucket's word with the key's signature; NULL: none. */
static uint64_t *word_find(struct dns_bucket *bucket, uint64_t hash, uint16_t type, uint32_t flags)
{
	uint64_t signature = dns_signature(hash, type, flags);

	for (uint32_t way = 0; way < DNS_WAYS; way++) {
		if (bucket->words[way] && bucket->words[way] >> DNS_BLOCK_BITS == signature)
			return &bucket->words[way];
	}
	return NULL;
}

uint32_t cache_remove_where(struct dns_cache *cache, const struct name_words *name, entry_test *wanted, const void *context,
			    uint32_t now_ms)
{
	uint32_t removed = 0;
	uint64_t hash;
	struct dns_bucket *bucket = name_bucket(cache, name, &hash);

	for (uint32_t way = 0; way < DNS_WAYS; way++) {
		const struct dns_entry *entry = word_entry(cache, bucket->words[way]);

		if (!entry || !entry_has_name(cache, entry, name) || !wanted(entry, context))
			continue;
		entry_drop(cache, &bucket->words[way], now_ms);
		removed++;
	}
	return removed;
}

/* --- putting ------------------------------------------------------------------------------------------------------------ */

bool entry_is_negative(const struct dns_entry *entry, const void *context)
{
	return entry->answers == 0;
}

static bool entry_is_no_name(const struct dns_entry *entry, const void *context)
{
	return entry->type == 0;
}

/* What the entry needs beside its first block. */
static uint32_t blocks_wanted(const struct parsed_answer *parsed, uint32_t *ret_next)
{
	uint32_t room = dns_head_room(parsed->name.length), tail = parsed->head.tail_length;
	bool more = parsed->head.ttls > DNS_TTLS_HEAD || parsed->name.length > 8 * DNS_WORDS_HEAD;

	*ret_next = tail > room ? (tail - room + DNS_BYTES_NEXT - 1) / DNS_BYTES_NEXT : 0;
	return 1 + more + *ret_next;
}

static void name_put(struct dns_block *head, struct dns_block *more, const struct name_words *name)
{
	for (uint32_t i = 0; i < name_words_count(name->length); i++) {
		if (i < DNS_WORDS_NEAR)
			head->entry.name[i] = name->words[i];
		else if (i < DNS_WORDS_HEAD)
			memcpy((uint8_t *)(head + 1) - 8 * (i - DNS_WORDS_NEAR + 1), &name->words[i], 8);
		else
			memcpy((uint8_t *)(more + 1) - 8 * (i - DNS_WORDS_HEAD + 1), &name->words[i], 8);
	}
}

static void tail_put(const struct dns_cache *cache, struct dns_block *head, const struct parsed_answer *parsed,
		     const uint32_t *places, uint32_t count)
{
	uint32_t room = dns_head_room(parsed->name.length), left = parsed->head.tail_length;
	uint32_t length = left < room ? left : room;
	const uint8_t *from = parsed->tail;

	memcpy(head->entry.bytes, from, length);
	for (uint32_t i = 0; i < count; i++) {
		struct dns_block *block = &cache->memory.blocks[places[i]];

		from += length;
		left -= length;
		length = left < DNS_BYTES_NEXT ? left : DNS_BYTES_NEXT;
		block_begin(block);
		memcpy(block->next.bytes, from, length);
		block->next.next = i + 1 < count ? places[i + 1] : 0;
		block_end(block);
	}
}

static void times_put(struct dns_entry *entry, const struct parsed_answer *parsed, uint32_t now_ms)
{
	entry->made_ms = now_ms;
	entry->life_ms = parsed->life_s == DNS_FOREVER ? DNS_FOREVER : parsed->life_s * 1000;
	entry->due_ms = entry->life_ms - entry->life_ms / 10;
	if (parsed->life_s == DNS_FOREVER)
		entry->due_ms = DNS_FOREVER;
	else if (entry->flags & DNS_ENTRY_STALE)
		entry->due_ms = entry->life_ms / 10; /* it was asked for in vain: again soon, for the better one may be there by now */
}

/* The tail's records are addresses of the name in question, as packets make them themselves. */
static bool tail_is_set(const struct parsed_answer *parsed)
{
	const struct dns_entry *head = &parsed->head;
	uint32_t stride = dns_set_stride(head->type), most = head->type == DNS_TYPE_A ? DNS_SET_MAX : 1;
	const uint8_t begin[6] = {0xc0, sizeof(struct dns_header), 0, (uint8_t)head->type, 0, DNS_CLASS_IN};

	if ((head->type != DNS_TYPE_A && head->type != DNS_TYPE_AAAA) || head->answers == 0 || head->answers > most ||
	    head->tail_length != head->answers * stride || (head->answers > 1 && head->rotate_count != head->answers))
		return false;
	for (const uint8_t *record = parsed->tail; record < parsed->tail + head->tail_length; record += stride) {
		if (memcmp(record, begin, sizeof(begin)) != 0 || memcmp(record + 6, parsed->tail + 6, 4) != 0 || record[10] != 0 ||
		    record[11] != stride - 12)
			return false;
	}
	return true;
}

static void set_put(struct dns_entry *entry, const uint8_t *tail)
{
	uint32_t stride = dns_set_stride(entry->type);

	memcpy(&entry->set_ttl, tail + 6, sizeof(entry->set_ttl));
	entry->set_ttl = __builtin_bswap32(entry->set_ttl);
	for (uint32_t i = 0; i < entry->answers; i++)
		memcpy((uint8_t *)entry->set + i * (stride - 12), tail + i * stride + 12, stride - 12);
	entry->flags |= DNS_ENTRY_SET;
}

/* Writes the entry into blocks that nobody reads. */
static void entry_write(const struct dns_cache *cache, const struct parsed_answer *parsed, uint64_t signature,
			const uint32_t *places, uint32_t count, uint32_t next_count, uint32_t now_ms)
{
	struct dns_block *head = &cache->memory.blocks[places[0]];
	struct dns_block *more = count > 1 + next_count ? &cache->memory.blocks[places[1]] : NULL;
	const uint32_t *next = places + count - next_count;
	bool set = tail_is_set(parsed);

	block_begin(head);
	/* the version stays: not even for a moment is it another one */
	memcpy((uint8_t *)head + sizeof(head->version), (const uint8_t *)&parsed->head + sizeof(head->version),
	       sizeof(*head) - sizeof(head->version));
	head->entry.next = next_count ? next[0] : 0;
	head->entry.more = more ? places[1] : 0;
	head->entry.key = dns_key_word(signature);
	times_put(&head->entry, parsed, now_ms);
	if (more)
		block_begin(more);
	for (uint32_t i = 0; i < parsed->head.ttls && !set; i++) {
		if (i < DNS_TTLS_HEAD)
			head->entry.ttl_at[i] = parsed->ttl_at[i];
		else
			more->more.ttl_at[i - DNS_TTLS_HEAD] = parsed->ttl_at[i];
	}
	if (set)
		set_put(&head->entry, parsed->tail);
	tail_put(cache, head, parsed, next, next_count);
	name_put(head, more, &parsed->name);
	if (more)
		block_end(more);
	block_end(head);
}

/* A place in the bucket: its own before, a free one, or that of an entry which is over or was asked for least. */
static uint64_t *place_find(struct dns_cache *cache, struct dns_bucket *bucket, uint64_t hash, const struct parsed_answer *parsed,
			    uint32_t now_ms)
{
	uint64_t *place = word_find(bucket, hash, parsed->key.type, key_flags(&parsed->key)), *least = NULL;
	uint32_t least_hits = UINT32_MAX;

	if (place)
		return place;
	for (uint32_t way = 0; way < DNS_WAYS; way++) {
		const struct dns_entry *entry = word_entry(cache, bucket->words[way]);
		uint32_t hits = !entry || entry_is_over(entry, now_ms) ? 0 : 1 + entry->hits / 2;

		if (!entry)
			return &bucket->words[way];
		if (hits < least_hits) {
			least_hits = hits;
			least = &bucket->words[way];
		}
	}
	cache->evicted += least_hits != 0;
	return least;
}

enum dns_refusal dns_cache_put(struct dns_cache *cache, const uint8_t *answer, size_t length, const struct dns_put *how,
			       uint32_t now_ms)
{
	struct parsed_answer parsed;
	enum dns_refusal refusal = answer_parse(answer, length, how, &parsed);
	uint32_t places[ENTRY_BLOCKS], next_count, count;
	struct dns_bucket *bucket;
	uint64_t hash, signature, *place, word, old;
	uint32_t hint;

	if (refusal)
		return refusal;
	count = blocks_wanted(&parsed, &next_count);
	if (next_count > DNS_BLOCKS_NEXT || !blocks_have(cache, count, now_ms))
		return DNS_REFUSED_LENGTH;
	bucket = name_bucket(cache, &parsed.name, &hash);
	signature = dns_signature(hash, parsed.key.type, key_flags(&parsed.key));
	hint = hint_choose(cache, bucket_of(cache, hash), signature, &places[0]);
	for (uint32_t i = hint ? 1 : 0; i < count; i++)
		places[i] = block_take(cache);
	entry_write(cache, &parsed, signature, places, count, next_count, now_ms);
	/* The name is there: what says that it is not must not be said any more. */
	if (parsed.rcode == DNS_RCODE_NOERROR)
		cache_remove_where(cache, &parsed.name, entry_is_no_name, NULL, now_ms);
	place = place_find(cache, bucket, hash, &parsed, now_ms);
	word = signature << DNS_BLOCK_BITS | places[0];
	old = *place;
	cache->hits_seen[places[0]] = UINT32_MAX; /* new ones are not the first to go */
	__atomic_store_n(place, word, __ATOMIC_SEQ_CST);
	cache->entries++;
	if (old)
		entry_drop(cache, &old, now_ms);
	if (hint)
		hint_put(cache, bucket_of(cache, hash), hint, now_ms);
	return DNS_TAKEN;
}

/* --- removing ----------------------------------------------------------------------------------------------------------- */

static bool entry_answers_key(const struct dns_entry *entry, const void *context)
{
	const struct dns_key *key = context;

	return (entry->type == key->type || entry->type == 0) &&
	       (entry->flags & (DNS_ENTRY_DNSSEC | DNS_ENTRY_UNCHECKED)) == key_flags(key);
}

static bool entry_any(const struct dns_entry *entry, const void *context)
{
	return true;
}

uint32_t dns_cache_remove(struct dns_cache *cache, const struct dns_key *key, uint32_t now_ms)
{
	struct name_words name;

	return name_words_from(key->name, key->name_length, &name) ?
		       cache_remove_where(cache, &name, entry_answers_key, key, now_ms) :
		       0;
}

uint32_t dns_cache_remove_name(struct dns_cache *cache, const uint8_t *name, size_t length, uint32_t now_ms)
{
	struct name_words words;

	return name_words_from(name, length, &words) ? cache_remove_where(cache, &words, entry_any, NULL, now_ms) : 0;
}

/* Whether `name` is `below` or ends with it, label by label. */
static bool name_is_below(const struct name_words *name, const uint8_t *below, size_t length)
{
	uint8_t bytes[DNS_NAME_BYTES];
	size_t at = 0;

	name_words_to(name, bytes);
	while (name->length - at > length)
		at += bytes[at] + 1u;
	return name->length - at == length && memcmp(bytes + at, below, length) == 0;
}

uint32_t dns_cache_flush(struct dns_cache *cache, const uint8_t *below, size_t length, uint32_t now_ms)
{
	uint8_t bytes[DNS_NAME_BYTES];
	struct name_words suffix, name;
	uint32_t removed = 0;

	if (!name_words_from(below, length, &suffix))
		return 0;
	name_words_to(&suffix, bytes);
	for (uint32_t i = 0; i <= cache->memory.tables->bucket_mask; i++) {
		for (uint32_t way = 0; way < DNS_WAYS; way++) {
			uint64_t *word = &cache->memory.buckets[i].words[way];
			const struct dns_entry *entry = word_entry(cache, *word);

			if (!entry)
				continue;
			entry_name(cache, entry, &name);
			if (!name_is_below(&name, bytes, length))
				continue;
			entry_drop(cache, word, now_ms);
			removed++;
		}
	}
	return removed;
}

uint32_t dns_cache_sweep(struct dns_cache *cache, uint32_t now_ms)
{
	uint32_t buckets = cache->memory.tables->bucket_mask + 1, step = buckets / 16, first = cache->sweep * step, removed = 0;

	cache->sweep = (cache->sweep + 1) & 15;
	for (uint32_t i = first; i < first + step; i++) {
		for (uint32_t way = 0; way < DNS_WAYS; way++) {
			uint64_t *word = &cache->memory.buckets[i].words[way];
			const struct dns_entry *entry = word_entry(cache, *word);

			if (!entry || !entry_is_over(entry, now_ms))
				continue;
			entry_drop(cache, word, now_ms);
			removed++;
		}
	}
	blocks_settle(cache, now_ms);
	return removed;
}

/* --- showing ------------------------------------------------------------------------------------------------------------ */

static void write16(uint8_t *bytes, uint32_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

static void ttl_age(uint8_t *place, uint32_t age_s)
{
	uint32_t ttl = (uint32_t)place[0] << 24 | (uint32_t)place[1] << 16 | (uint32_t)place[2] << 8 | place[3];

	ttl = ttl > age_s ? ttl - age_s : 0;
	write16(place, ttl >> 16);
	write16(place + 2, ttl);
}

/* In the tail. */
static uint32_t entry_ttl_at(const struct dns_cache *cache, const struct dns_entry *entry, uint32_t place)
{
	const struct dns_block *more = block_at(cache, entry->more);

	if (entry->flags & DNS_ENTRY_SET)
		return place * dns_set_stride(entry->type) + 6;
	if (place < DNS_TTLS_HEAD)
		return entry->ttl_at[place];
	return more ? more->more.ttl_at[place - DNS_TTLS_HEAD] : 0;
}

/* The message as it would be sent now; returns its length. */
static size_t entry_message(const struct dns_cache *cache, const struct dns_entry *entry, const struct dns_key *key,
			    uint32_t now_ms, uint8_t wire[static DNS_SIZE_MAX + 512])
{
	uint32_t age_s = entry->flags & DNS_ENTRY_FIXED ? 0 : entry_age_ms(entry, now_ms) / 1000;
	uint32_t room = dns_head_room(entry->name_length), left = entry->tail_length, length = left < room ? left : room;
	const struct dns_block *next = block_at(cache, entry->next);
	uint8_t *tail = wire + sizeof(struct dns_header) + key->name_length + DNS_QUESTION_BYTES, *at = tail;

	memset(wire, 0, sizeof(struct dns_header));
	write16(wire + 2, entry->header_flags);
	write16(wire + 4, 1);
	write16(wire + 6, entry->answers);
	write16(wire + 8, entry->authorities);
	write16(wire + 10, entry->additionals);
	memcpy(wire + sizeof(struct dns_header), key->name, key->name_length);
	write16(tail - 4, key->type);
	write16(tail - 2, DNS_CLASS_IN);
	memcpy(at, entry->bytes, length);
	for (at += length, left -= length; left && next; at += length, left -= length) {
		length = left < DNS_BYTES_NEXT ? left : DNS_BYTES_NEXT;
		memcpy(at, next->next.bytes, length);
		next = block_at(cache, next->next.next);
	}
	for (uint32_t i = 0; i < entry->ttls; i++)
		ttl_age(tail + entry_ttl_at(cache, entry, i), age_s);
	return (size_t)(at - wire);
}

static bool entry_show(const struct dns_cache *cache, const struct dns_entry *entry, uint32_t now_ms, dns_visitor *visitor,
		       void *context)
{
	uint8_t wire[DNS_SIZE_MAX + 512];
	struct name_words name;
	struct dns_view view = {
		.key = {.name_length = entry->name_length, .type = entry->type,
			.dnssec_ok = entry->flags & DNS_ENTRY_DNSSEC, .checking_disabled = entry->flags & DNS_ENTRY_UNCHECKED},
		.wire = wire,
		.age_ms = entry_age_ms(entry, now_ms),
		.life_ms = entry->life_ms,
		.hits = load_once(entry->hits),
		.flags = entry->flags,
		.extended_error = (int)entry->extended_error - 1,
	};

	entry_name(cache, entry, &name);
	name_words_to(&name, view.key.name);
	view.wire_length = entry_message(cache, entry, &view.key, now_ms, wire);
	return visitor(&view, context);
}

void dns_cache_list(struct dns_cache *cache, uint32_t now_ms, dns_visitor *visitor, void *context)
{
	for (uint32_t i = 0; i <= cache->memory.tables->bucket_mask; i++) {
		for (uint32_t way = 0; way < DNS_WAYS; way++) {
			const struct dns_entry *entry = word_entry(cache, cache->memory.buckets[i].words[way]);

			if (entry && !entry_is_over(entry, now_ms) && !entry_show(cache, entry, now_ms, visitor, context))
				return;
		}
	}
}

static const struct dns_entry *entry_find(const struct dns_cache *cache, const struct dns_key *key, uint32_t now_ms)
{
	const struct dns_entry *entry;
	struct name_words name;
	struct dns_bucket *bucket;
	uint64_t hash, *word;

	if (!name_words_from(key->name, key->name_length, &name))
		return NULL;
	bucket = name_bucket(cache, &name, &hash);
	word = word_find(bucket, hash, key->type, key_flags(key));
	if (!word)
		word = word_find(bucket, hash, 0, key_flags(key));
	entry = word ? word_entry(cache, *word) : NULL;
	return entry && !entry_is_over(entry, now_ms) && entry_has_name(cache, entry, &name) ? entry : NULL;
}

bool dns_cache_has(const struct dns_cache *cache, const struct dns_key *key, uint32_t now_ms)
{
	return entry_find(cache, key, now_ms) != NULL;
}

bool dns_cache_find(struct dns_cache *cache, const struct dns_key *key, uint32_t now_ms, dns_visitor *visitor, void *context)
{
	const struct dns_entry *entry = entry_find(cache, key, now_ms);

	if (entry)
		entry_show(cache, entry, now_ms, visitor, context);
	return entry != NULL;
}

uint32_t dns_cache_due(struct dns_cache *cache, uint32_t now_ms, dns_visitor *visitor, void *context)
{
	uint64_t count = load_once(cache->memory.tables->due_count);
	uint32_t shown = 0;

	if (count - cache->due_seen > DNS_DUE_PLACES)
		cache->due_seen = count - DNS_DUE_PLACES;
	for (; cache->due_seen != count; cache->due_seen++) {
		uint32_t place = load_once(cache->memory.tables->due[cache->due_seen & (DNS_DUE_PLACES - 1)]);
		const struct dns_block *block = block_at(cache, place);
		struct dns_bucket *bucket;
		struct name_words name;
		uint64_t hash, *word;

		/* it may be another's by now */
		if (!block || block->version & 1 || !block->entry.due || block->entry.name_length == 0)
			continue;
		entry_name(cache, &block->entry, &name);
		bucket = name_bucket(cache, &name, &hash);
		word = word_find(bucket, hash, block->entry.type, block->entry.flags);
		if (!word || WORD_BLOCK(*word) != place || entry_is_over(&block->entry, now_ms))
			continue;
		shown++;
		if (!entry_show(cache, &block->entry, now_ms, visitor, context))
			cache->due_seen = count - 1;
	}
	return shown;
}

void dns_cache_measure(const struct dns_cache *cache, struct dns_cache_size *ret_size)
{
	uint32_t blocks = cache->memory.tables->block_count - dns_blocks_first(cache->memory.tables->bucket_mask);

	*ret_size = (struct dns_cache_size){
		.entries = cache->entries,
		.blocks_used = blocks - cache->free_count - cache->idle_count,
		.blocks = blocks,
		.evicted = cache->evicted,
	};
}

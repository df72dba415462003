/* SPDX-License-Identifier: Apache-2.0 */
/* Zones all of whose names this node knows, and those names. */
#include <string.h>

#include "dns/cache_internal.h"

static struct dns_zone *zone_find(const struct dns_cache *cache, const struct name_words *name)
{
	struct dns_tables *tables = cache->memory.tables;
	uint8_t row = tables->zone_by_length[name->length];

	while (row) {
		struct dns_zone *zone = &tables->zones[row & (DNS_ZONES - 1)];

		if (memcmp(zone->words, name->words, sizeof(zone->words)) == 0)
			return zone;
		row = zone->next;
	}
	return NULL;
}

static uint32_t chain_length(const struct dns_tables *tables, uint8_t length)
{
	uint32_t count = 0;

	for (uint8_t row = tables->zone_by_length[length]; row; row = tables->zones[row & (DNS_ZONES - 1)].next)
		count++;
	return count;
}

/* The SOA record behind its owner. */
static void tail_write(struct dns_zone *zone, const struct dns_denial *denial)
{
	uint32_t ttl = denial->ttl;
	size_t length = denial->soa_length;
	const uint8_t head[DNS_RECORD_BYTES] = {0, DNS_TYPE_SOA, 0, DNS_CLASS_IN, (uint8_t)(ttl >> 24), (uint8_t)(ttl >> 16),
						(uint8_t)(ttl >> 8), (uint8_t)ttl, (uint8_t)(length >> 8), (uint8_t)length};

	memcpy(zone->tail, head, sizeof(head));
	memcpy(zone->tail + sizeof(head), denial->soa, length);
	zone->tail_length = (uint16_t)(sizeof(head) + length);
	zone->tail_sum = bytes_sum(zone->tail, zone->tail_length, false);
}

static void zone_write(struct dns_zone *zone, const struct name_words *name, const struct dns_denial *denial)
{
	uint32_t version = zone->version | 1;

	__atomic_store_n(&zone->version, version, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* nothing of what follows is seen before it */
	zone->name_length = name->length;
	memcpy(zone->words, name->words, sizeof(zone->words));
	zone->header_flags = DNS_FLAG_RESPONSE | DNS_FLAG_AUTHORITATIVE | DNS_FLAG_RECURSION_AVAILABLE | DNS_RCODE_NXDOMAIN;
	zone->owner_at = (uint16_t)(denial->owner_length ? name->length - denial->owner_length : 0);
	tail_write(zone, denial);
	__atomic_store_n(&zone->version, version + 1, __ATOMIC_SEQ_CST);
}

/* Whether the last `length` bytes of a name are a name: whole labels. */
static bool name_ends_with(const uint8_t *name, size_t name_length, size_t length)
{
	size_t at = 0;

	while (at < name_length && name_length - at > length)
		at += name[at] + 1u;
	return name_length - at == length;
}

int dns_zone_put(struct dns_cache *cache, const uint8_t *zone, size_t length, const struct dns_denial *denial, struct error *error)
{
	struct dns_tables *tables = cache->memory.tables;
	struct dns_zone *row;
	struct name_words name;
	uint8_t place = 1;

	if (!name_words_from(zone, length, &name) || name.length < 2)
		return error_set(error, EINVAL, "a zone's name that is none, or the root");
	if (denial->soa_length < 22 || denial->soa_length > DNS_ZONE_TAIL - DNS_RECORD_BYTES)
		return error_set(error, EINVAL, "a SOA record of %zu bytes", denial->soa_length);
	if (denial->owner_length && !name_ends_with(zone, length, denial->owner_length))
		return error_set(error, EINVAL, "a SOA record whose owner is not above the zone");
	row = zone_find(cache, &name);
	if (row) {
		zone_write(row, &name, denial);
		return 0;
	}
	while (place < DNS_ZONES && tables->zones[place].name_length)
		place++;
	if (place == DNS_ZONES)
		return error_set(error, E2BIG, "more than %u zones", DNS_ZONES - 1);
	if (chain_length(tables, name.length) == DNS_ZONE_CHAIN)
		return error_set(error, E2BIG, "more than %u zones with names of one length", DNS_ZONE_CHAIN);
	row = &tables->zones[place];
	row->next = tables->zone_by_length[name.length];
	zone_write(row, &name, denial);
	__atomic_store_n(&tables->zone_by_length[name.length], place, __ATOMIC_SEQ_CST);
	return 0;
}

bool dns_zone_remove(struct dns_cache *cache, const uint8_t *zone, size_t length)
{
	struct dns_tables *tables = cache->memory.tables;
	struct dns_zone *row;
	struct name_words name;
	uint8_t *link;

	if (!name_words_from(zone, length, &name))
		return false;
	row = zone_find(cache, &name);
	if (!row)
		return false;
	/* Nobody is told any more, then out of the chain. */
	__atomic_store_n(&row->version, row->version | 1, __ATOMIC_SEQ_CST);
	link = &tables->zone_by_length[name.length];
	while (&tables->zones[*link & (DNS_ZONES - 1)] != row)
		link = &tables->zones[*link & (DNS_ZONES - 1)].next;
	__atomic_store_n(link, row->next, __ATOMIC_SEQ_CST);
	row->name_length = 0;
	memset(row->words, 0, sizeof(row->words));
	return true;
}

static uint64_t *names_bucket(const struct dns_cache *cache, uint64_t hash, uint32_t choice)
{
	return cache->memory.tables->names.words[dns_names_bucket(hash, choice)];
}

static uint64_t *word_place(uint64_t *bucket, uint64_t word)
{
	for (uint32_t way = 0; way < DNS_WAYS; way++) {
		if (bucket[way] == word)
			return &bucket[way];
	}
	return NULL;
}

static uint64_t *name_place(const struct dns_cache *cache, uint64_t hash)
{
	uint64_t *place = word_place(names_bucket(cache, hash, 0), dns_name_word(hash));

	return place ? place : word_place(names_bucket(cache, hash, 1), dns_name_word(hash));
}

/* An empty place for it, in the bucket that has more of them; NULL: none. */
static uint64_t *name_room(const struct dns_cache *cache, uint64_t hash)
{
	uint32_t empty[2] = {0};

	for (uint32_t choice = 0; choice < 2; choice++) {
		const uint64_t *bucket = names_bucket(cache, hash, choice);

		for (uint32_t way = 0; way < DNS_WAYS; way++)
			empty[choice] += bucket[way] == 0;
	}
	return word_place(names_bucket(cache, hash, empty[1] > empty[0]), 0);
}

int dns_zone_name_add(struct dns_cache *cache, const uint8_t *name, size_t length, uint32_t now_ms)
{
	struct name_words words;
	uint64_t hash, *place;

	if (!name_words_from(name, length, &words))
		return -EINVAL;
	hash = name_words_hash(&words, cache->memory.tables->seed);
	place = name_place(cache, hash);
	if (!place)
		place = name_room(cache, hash);
	if (!place)
		return -ENOSPC;
	__atomic_store_n(place, dns_name_word(hash), __ATOMIC_SEQ_CST);
	cache_remove_where(cache, &words, entry_is_negative, NULL, now_ms);
	return 0;
}

bool dns_zone_name_remove(struct dns_cache *cache, const uint8_t *name, size_t length, uint32_t now_ms)
{
	struct name_words words;
	uint64_t hash, *place;

	if (!name_words_from(name, length, &words))
		return false;
	hash = name_words_hash(&words, cache->memory.tables->seed);
	place = name_place(cache, hash);
	if (!place)
		return false;
	dns_cache_remove_name(cache, name, length, now_ms);
	__atomic_store_n(place, 0, __ATOMIC_SEQ_CST);
	return true;
}

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Token buckets: how fast one client, or all of them together, may begin flows with a service or send to it. */
#pragma once

#include "base/packet/hash.h"
#include "lb/lb_guard_state.h"

PACKET_INLINE uint32_t lb_bucket_age_ms(uint64_t word, uint32_t now_ms)
{
	return (now_ms - (uint32_t)(word >> LB_BUCKET_TIME_SHIFT)) & LB_BUCKET_TIME_MASK;
}

PACKET_INLINE uint64_t lb_bucket_word(uint64_t tag, uint32_t now_ms, uint64_t credit)
{
	return tag << LB_BUCKET_TAG_SHIFT | (uint64_t)(now_ms & LB_BUCKET_TIME_MASK) << LB_BUCKET_TIME_SHIFT | credit;
}

/* The bucket's word after one event, 0 when there is no credit for it. */
PACKET_INLINE uint64_t lb_bucket_take(uint64_t word, const struct lb_rate *rate, uint32_t now_ms)
{
	uint64_t credit = (word & LB_BUCKET_CREDIT_MASK) + (uint64_t)lb_bucket_age_ms(word, now_ms) * rate->gain;

	if (credit > rate->full)
		credit = rate->full;
	if (credit < rate->cost)
		return 0;
	return lb_bucket_word(word >> LB_BUCKET_TAG_SHIFT, now_ms, credit - rate->cost);
}

/* The place of the bucket with this tag in a set, or the one to give way: the one that was longest not used. */
PACKET_INLINE uint64_t *lb_bucket_find(uint64_t *set, uint64_t tag, uint32_t now_ms)
{
	uint32_t oldest = 0, victim = 0;

#pragma GCC unroll 8
	for (uint32_t way = 0; way < LB_LIMITER_WAYS; way++) {
		uint64_t word = load_once(set[way]);
		uint32_t age = word ? lb_bucket_age_ms(word, now_ms) : LB_BUCKET_TIME_MASK + 1;

		if (word && word >> LB_BUCKET_TAG_SHIFT == tag)
			return &set[way];
		if (age > oldest) {
			oldest = age;
			victim = way;
		}
	}
	return &set[victim & (LB_LIMITER_WAYS - 1)];
}

/* Which bucket is a client's: of what it counts (`hash`), and the two words of the client's prefix. */
PACKET_INLINE uint64_t lb_bucket_hash(uint64_t hash, uint64_t first, uint64_t second)
{
	return hash_finish(hash_word(hash_word(hash, first), second));
}

PACKET_INLINE uint64_t *lb_bucket_place(struct lb_limiter *limiter, uint64_t hash, uint32_t now_ms)
{
	return lb_bucket_find(limiter->sets[hash & ((1u << LB_LIMITER_SET_BITS) - 1)], hash >> LB_BUCKET_TAG_SHIFT, now_ms);
}

#define LB_BUCKET_TAKEN 0u
#define LB_BUCKET_EMPTY 1u
#define LB_BUCKET_LATE 2u /* another worker was quicker: nothing is taken */

/* Takes one event from the bucket with this tag, or puts a full one in its place. */
PACKET_INLINE uint32_t lb_bucket_charge(uint64_t *place, uint64_t tag, const struct lb_rate *rate, uint32_t now_ms)
{
	uint64_t word = load_once(*place), next;

	if (word == 0 || word >> LB_BUCKET_TAG_SHIFT != tag) {
		store_once(*place, lb_bucket_word(tag, now_ms, rate->full - rate->cost));
		return LB_BUCKET_TAKEN;
	}
	next = lb_bucket_take(word, rate, now_ms);
	if (next == 0)
		return LB_BUCKET_EMPTY;
	return __sync_val_compare_and_swap(place, word, next) == word ? LB_BUCKET_TAKEN : LB_BUCKET_LATE;
}

/*
 * Whether the service has as many recorded flows as it may: what the last pass of the sweep found, and those begun since. Not
 * known, so not limited, while nobody sweeps.
 */
PACKET_INLINE bool lb_limit_is_full(const struct lb_limiter *limiter, const struct lb_guards *guards, uint32_t service_row,
				    uint32_t epoch)
{
	uint32_t row = service_row & (LB_SERVICE_ROWS - 1), most = guards->limits[row].flows_max;

	return most && load_once(limiter->flows[row]) >= most &&
	       epoch - load_once(limiter->swept_epoch) <= LB_LIMITER_SWEPT_EPOCHS;
}

/*
 * Takes one event of `kind` (LB_LIMIT_*) from the client's or the service's bucket: 1 when it is empty, otherwise 0.
 * verifier: `kind_row` is kind << 32 | the service's row, for there are only five arguments.
 *
 * Where several workers take from one bucket at once and this one comes late each time, its packet goes free.
 */
PACKET_FUNCTION uint32_t lb_limit_refuses(struct lb_limiter *limiter, const struct lb_guards *guards, uint64_t kind_row,
					  const struct address *client, uint32_t now_ms)
{
	uint32_t row = (uint32_t)kind_row & (LB_SERVICE_ROWS - 1), kind = (uint32_t)(kind_row >> 32);
	const struct lb_limit *limit;
	const struct lb_rate *rate;
	uint64_t hash, tag, *place;

	if (!limiter || !guards || !client || kind >= LB_LIMITS)
		return 0;
	limit = &guards->limits[row];
	rate = &limit->rates[kind];
	if (rate->cost == 0)
		return 0;
	/* The cost is in the key: another limit begins with another bucket. */
	hash = hash_word(hash_word(guards->seed, kind_row), rate->cost);
	if (kind == LB_LIMIT_ALL_FLOWS) {
		place = &limiter->all[row];
		tag = hash_finish(hash) >> LB_BUCKET_TAG_SHIFT;
	} else {
		hash = lb_bucket_hash(hash, client->word[0] & limit->mask.word[0], client->word[1] & limit->mask.word[1]);
		tag = hash >> LB_BUCKET_TAG_SHIFT;
		place = lb_bucket_place(limiter, hash, now_ms);
	}
	for (uint32_t attempt = 0; attempt < 3; attempt++) {
		uint32_t outcome = lb_bucket_charge(place, tag, rate, now_ms);

		if (outcome != LB_BUCKET_LATE)
			return outcome == LB_BUCKET_EMPTY;
	}
	return 0;
}

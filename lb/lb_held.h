/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * How many recorded flows a client's prefix has. A flow's word has no room for its client, and only the client's packets and their
 * answers say who it is; so each client has a count that its flows keep up:
 *
 *     a flow begins                     one more
 *     nothing is heard of it            its one becomes 15/16 each eight seconds: a half after a minute and a half
 *     it is heard of, once an epoch     what it had lost meanwhile, which the age of its record tells
 *     it ends (FIN, RST, either side)   what it had
 *
 * So flows in use count as one each, idle ones less and less. Counts lie among the limiter's buckets and have their form, with
 * the count in the place of the credit, in parts of 256.
 */
#pragma once

#include "lb/lb_limit.h"

#define LB_HELD_ONE 256u
#define LB_HELD_STEP_SHIFT 13 /* of milliseconds: a step is 8.2 s, about an epoch */
#define LB_HELD_MAX 1000000u  /* flows; a count has 28 bits */

/* What is told of a flow; with its record's age in epochs. */
#define LB_HELD_BEGINS 1u
#define LB_HELD_SEEN 2u /* for the first time in this epoch */
#define LB_HELD_ENDS 3u

/* (15/16)^steps, times 2^16. verifier: without branches, whose paths would multiply */
PACKET_INLINE uint64_t lb_held_decay(uint32_t steps)
{
	uint64_t value = 1u << 16;

	if (steps > 127)
		return 0;
#define LB_HELD_FACTOR(bit, factor) value = value * (65536u - (steps >> (bit) & 1) * (65536u - (factor))) >> 16
	LB_HELD_FACTOR(0, 61440u);
	LB_HELD_FACTOR(1, 57600u);
	LB_HELD_FACTOR(2, 50625u);
	LB_HELD_FACTOR(3, 39107u);
	LB_HELD_FACTOR(4, 23336u);
	LB_HELD_FACTOR(5, 8310u);
	LB_HELD_FACTOR(6, 1054u);
#undef LB_HELD_FACTOR
	return value;
}

PACKET_INLINE uint64_t lb_held_event(uint32_t what, uint32_t age_epochs, uint32_t service_row)
{
	return (uint64_t)what << 48 | (uint64_t)age_epochs << 32 | service_row;
}

/*
 * Takes note of an event of the client's (lb_held_event()): 1 when a flow that begins is one too many, otherwise 0. A count that
 * gave way to others' begins anew. Where several workers count for one client at once, this one may come late each time: then it
 * is not counted.
 */
PACKET_FUNCTION uint32_t lb_held_note(struct lb_limiter *limiter, const struct lb_guards *guards, uint64_t event,
				      const struct address *client, uint32_t now_ms)
{
	uint32_t row = (uint32_t)event & (LB_SERVICE_ROWS - 1), what = (uint32_t)(event >> 48);
	const struct lb_limit *limit;
	uint64_t hash, tag, *place, part;

	if (!limiter || !guards || !client)
		return 0;
	limit = &guards->limits[row];
	if (limit->client_flows_max == 0)
		return 0;
	hash = hash_word(guards->seed, (uint64_t)LB_LIMIT_CLIENT_HELD << 32 | row);
	hash = lb_bucket_hash(hash, client->word[0] & limit->mask.word[0], client->word[1] & limit->mask.word[1]);
	tag = hash >> LB_BUCKET_TAG_SHIFT;
	place = lb_bucket_place(limiter, hash, now_ms);
	part = LB_HELD_ONE * lb_held_decay((uint32_t)(event >> 32) & 0xffff) >> 16; /* what is left of this flow's */
	for (uint32_t attempt = 0; attempt < 3; attempt++) {
		uint64_t word = load_once(*place), held = 0;
		uint32_t then = now_ms;

		if (word && word >> LB_BUCKET_TAG_SHIFT == tag) {
			uint32_t steps = lb_bucket_age_ms(word, now_ms) >> LB_HELD_STEP_SHIFT;

			held = (word & LB_BUCKET_CREDIT_MASK) * lb_held_decay(steps) >> 16;
			then = (uint32_t)(word >> LB_BUCKET_TIME_SHIFT) + (steps << LB_HELD_STEP_SHIFT);
		} else if (what != LB_HELD_BEGINS) {
			part = 0; /* its flows' count is lost: those that are seen again count anew */
		}
		if (what == LB_HELD_BEGINS) {
			if (held + LB_HELD_ONE > (uint64_t)limit->client_flows_max * LB_HELD_ONE)
				return 1;
			held += LB_HELD_ONE;
		} else if (what == LB_HELD_SEEN) {
			held += LB_HELD_ONE - part;
		} else {
			held -= held < part ? held : part;
		}
		if (held > LB_BUCKET_CREDIT_MASK)
			held = LB_BUCKET_CREDIT_MASK;
		if (__sync_val_compare_and_swap(place, word, lb_bucket_word(tag, then, held)) == word)
			return 0;
	}
	return 0;
}

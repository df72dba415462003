/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Fragments: the first one is decided like a whole packet and leaves a record; the others follow it. See
 * docs/adr/0019-fragments-follow-their-first.md.
 */
#pragma once

#include "base/packet/flow.h"
#include "base/packet/hash.h"
#include "lb/lb_fragment_state.h"

#define LB_FRAGMENT_SLACK_MS 1000u

/* One fragment. */
struct lb_piece {
	uint64_t hash; /* of the datagram */
	uint32_t pair; /* hash of source and destination alone */
	uint32_t identification;
	uint32_t now_ms;
	uint16_t start; /* bytes of what was taken apart */
	uint16_t end;
	uint8_t last;
	uint8_t protocol; /* IPv6: 0 */
	uint8_t reason;   /* enum drop_reason: what is wrong with it, for whomever it is */
	uint8_t zero[5];
};
_Static_assert(sizeof(struct lb_piece) == 32, "on the stack of every fragment");

/* A fragment of what may be for a service: of IPv6 the later ones, and a first one that is cut short, need not tell the protocol. */
PACKET_INLINE bool lb_fragment_concerns(const struct flow *flow)
{
	if (!(flow->flags & FLOW_FRAGMENT))
		return false;
	if (flow->protocol == PROTOCOL_UDP || flow->protocol == PROTOCOL_TCP)
		return true;
	return flow->network == FLOW_IPV6 &&
	       (flow->l4_reason == DROP_ipv6_extension_short || flow->protocol == PROTOCOL_DESTINATION_OPTIONS || flow->protocol == PROTOCOL_ROUTING ||
		flow->protocol == PROTOCOL_HOP_BY_HOP || flow->protocol == PROTOCOL_AUTHENTICATION);
}

PACKET_INLINE bool lb_fragment_is_later(const struct flow *flow)
{
	return flow->flags & FLOW_NO_PORTS;
}

PACKET_INLINE enum drop_reason lb_fragment_check(const struct flow *flow, uint32_t start, uint32_t end, bool last)
{
	/* RFC 8200 section 4.5: such a fragment must be discarded; RFC 791 section 3.2: offsets count 8 bytes */
	if (start == end || (!last && (end - start) % 8 != 0) || end > 65535)
		return DROP_fragment_length_lies;
	/* RFC 1858 section 3.2.2: within the header, whose flags it could write anew */
	if (start != 0 && start < sizeof(struct tcp_header) && flow->protocol == PROTOCOL_TCP)
		return DROP_fragment_tiny;
	return DROP_NONE;
}

/* Reads the fragment's place. False when the header is not there. `seed`: lb_tables.hash_seed. */
PACKET_INLINE bool lb_fragment_read(const struct packet *packet, const struct flow *flow, uint64_t seed, uint32_t now_ms,
				    struct lb_piece *ret_piece)
{
	uint32_t l3 = flow->l3_offset, start, end = (uint32_t)flow->l4_offset + flow->l4_length;
	uint64_t hash;
	bool last;

	if (flow->network == FLOW_IPV4) {
		const struct ipv4_header *ipv4 = packet_header(packet, l3, sizeof(*ipv4));
		uint16_t fragment;

		if (!ipv4)
			return false;
		fragment = be16_get(ipv4->fragment);
		start = (fragment & IPV4_OFFSET_MASK) * 8u;
		last = !(fragment & IPV4_MORE_FRAGMENTS);
		ret_piece->identification = ipv4->identification.raw;
		ret_piece->protocol = flow->protocol;
		end -= flow->l4_offset;
	} else {
		uint32_t header = l3 + flow->fragment_words * 4u;
		const struct ipv6_fragment *fragment = packet_header(packet, header, sizeof(*fragment));
		uint16_t offset_more;

		if (!fragment)
			return false;
		offset_more = be16_get(fragment->offset_more);
		start = offset_more & 0xfff8;
		last = !(offset_more & 1);
		ret_piece->identification = fragment->identification.raw;
		ret_piece->protocol = 0;
		end -= header + (uint32_t)sizeof(*fragment);
	}
	end += start;
	ret_piece->start = (uint16_t)start;
	ret_piece->end = (uint16_t)end;
	ret_piece->last = last;
	ret_piece->reason = (uint8_t)lb_fragment_check(flow, start, end, last);
	ret_piece->now_ms = now_ms;
	hash = hash_word(hash_word(seed, flow->source.word[0]), flow->source.word[1]);
	hash = hash_word(hash_word(hash, flow->destination.word[0]), flow->destination.word[1]);
	ret_piece->pair = (uint32_t)(hash_finish(hash) >> 32);
	hash = hash_word(hash, (uint64_t)ret_piece->identification << 8 | ret_piece->protocol);
	ret_piece->hash = hash_finish(hash);
	return true;
}

/* --- records ------------------------------------------------------------------------------------------------------------ */

PACKET_INLINE struct lb_fragment_record *lb_fragment_bucket(struct lb_fragments *fragments, uint64_t hash)
{
	return fragments->records[hash & ((1u << LB_FRAGMENT_BUCKET_BITS) - 1)];
}

/* Another worker's clock may be a little ahead of ours. */
PACKET_INLINE bool lb_fragment_is_alive(const struct lb_fragment_record *record, uint32_t now_ms)
{
	return now_ms - record->first_ms + LB_FRAGMENT_SLACK_MS <= LB_FRAGMENT_MS + LB_FRAGMENT_SLACK_MS;
}

PACKET_INLINE bool lb_fragment_is(const struct lb_fragment_record *record, const struct flow *flow,
				  const struct lb_piece *piece)
{
	return record->identification == piece->identification && record->protocol == piece->protocol &&
	       address_equal(&record->source, &flow->source) && address_equal(&record->destination, &flow->destination) &&
	       lb_fragment_is_alive(record, piece->now_ms);
}

PACKET_INLINE bool lb_fragment_is_complete(const struct lb_fragment_record *record)
{
	return record->end && record->reach == record->end;
}

/* Whether the record of this (even) version is the caller's to write. */
PACKET_INLINE bool lb_fragment_lock(struct lb_fragment_record *record, uint32_t version)
{
	return !(version & 1) && __sync_val_compare_and_swap(&record->version, version, version + 1) == version;
}

PACKET_INLINE void lb_fragment_unlock(struct lb_fragment_record *record)
{
	__sync_fetch_and_add(&record->version, 1); /* a full barrier on every target */
}

/*
 * Its datagram is given up. RFC 5722 section 4: "the entire datagram (and any constituent fragments, including those not yet
 * received) MUST be silently discarded".
 */
PACKET_INLINE enum drop_reason lb_fragment_give_up(struct lb_fragment_record *record, enum drop_reason reason)
{
	record->kind = LB_FRAGMENT_DROP;
	record->backend = (uint16_t)reason;
	return reason;
}

/*
 * Puts the fragment among what was seen, as long as it neither touches anything of it nor contradicts what is known of the
 * datagram's end. One that lies wholly within what was seen is taken for a duplicate: its bytes reach nobody.
 */
PACKET_INLINE enum drop_reason lb_fragment_add(struct lb_fragment_record *record, uint32_t start, uint32_t end, bool last)
{
	uint32_t low = start, high = end, spare = LB_FRAGMENT_ISLANDS;

	if (record->end && (end > record->end || (last && end != record->end)))
		return DROP_fragment_overlap;
	if (start < record->reach)
		return end > record->reach || (last && !record->end) ? DROP_fragment_overlap : DROP_fragment_duplicate;
#pragma GCC unroll 3
	for (uint32_t i = 0; i < LB_FRAGMENT_ISLANDS; i++) {
		uint32_t from = record->islands[i] >> 16, to = record->islands[i] & 0xffff;

		if (to == 0)
			continue;
		if (last && to > end)
			return DROP_fragment_overlap;
		if (start < to && end > from)
			return start < from || end > to || (last && !record->end) ? DROP_fragment_overlap :
										 DROP_fragment_duplicate;
	}
#pragma GCC unroll 3
	for (uint32_t i = 0; i < LB_FRAGMENT_ISLANDS; i++) {
		uint32_t from = record->islands[i] >> 16, to = record->islands[i] & 0xffff;

		if (to == 0) {
			spare = i;
			continue;
		}
		if (to != low && from != high)
			continue;
		if (to == low)
			low = from;
		else
			high = to;
		record->islands[i] = 0;
		spare = i;
	}
	if (last)
		record->end = (uint16_t)end;
	if (low == record->reach)
		record->reach = (uint16_t)high;
	else if (spare < LB_FRAGMENT_ISLANDS)
		record->islands[spare] = low << 16 | high;
	else
		return DROP_fragment_gaps;
	return DROP_NONE;
}

/*
 * A later fragment: what its first one's record says, as enum lb_fragment_kind << 16 | (backend row or drop reason). A
 * record that another worker writes at this moment is not found: whoever holds the fragment for it asks again.
 */
PACKET_FUNCTION uint32_t lb_fragment_follow(struct lb_fragments *fragments, const struct flow *flow,
					    const struct lb_piece *piece)
{
	struct lb_fragment_record *bucket, *record = NULL;
	enum drop_reason reason;
	uint32_t version = 0, answer;

	if (!fragments || !flow || !piece)
		return LB_FRAGMENT_NONE;
	bucket = lb_fragment_bucket(fragments, piece->hash);
#pragma GCC unroll 4
	for (uint32_t way = 0; way < LB_FRAGMENT_WAYS; way++) {
		uint32_t found = load_once(bucket[way].version);

		if (found == 0 || found & 1 || !lb_fragment_is(&bucket[way], flow, piece))
			continue;
		record = &bucket[way];
		version = found;
	}
	if (!record || !lb_fragment_lock(record, version))
		return LB_FRAGMENT_NONE;
	reason = record->kind == LB_FRAGMENT_DROP ? (enum drop_reason)record->backend :
						    lb_fragment_add(record, piece->start, piece->end, piece->last);
	if (reason == DROP_fragment_overlap || reason == DROP_fragment_gaps)
		lb_fragment_give_up(record, reason);
	answer = reason ? (uint32_t)LB_FRAGMENT_DROP << 16 | reason : (uint32_t)record->kind << 16 | record->backend;
	lb_fragment_unlock(record);
	return answer;
}

/*
 * Records what became of a first fragment: `kind_value` as lb_fragment_follow() gives it. Returns why the fragment is to be
 * dropped after all, DROP_NONE otherwise. A full bucket gives up the record that is least needed: expired, complete, oldest.
 */
PACKET_FUNCTION uint32_t lb_fragment_begin(struct lb_fragments *fragments, const struct flow *flow,
					   const struct lb_piece *piece, uint32_t kind_value)
{
	struct lb_fragment_record *bucket, *record;
	uint32_t victim = 0, score = 0, version;
	bool present = false;

	if (!fragments || !flow || !piece)
		return DROP_NONE;
	bucket = lb_fragment_bucket(fragments, piece->hash);
#pragma GCC unroll 4
	for (uint32_t way = 0; way < LB_FRAGMENT_WAYS; way++) {
		uint32_t needless;

		version = load_once(bucket[way].version);
		if (version & 1)
			continue;
		if (version == 0)
			needless = 0xfffffffe;
		else if (lb_fragment_is(&bucket[way], flow, piece))
			needless = 0xffffffff;
		else if (!lb_fragment_is_alive(&bucket[way], piece->now_ms))
			needless = 0xfffffffd;
		else
			needless = piece->now_ms - bucket[way].first_ms + LB_FRAGMENT_SLACK_MS + 1 +
				   (lb_fragment_is_complete(&bucket[way]) ? 2 * LB_FRAGMENT_MS : 0);
		if (needless > score) {
			score = needless;
			victim = way;
			present = needless == 0xffffffff;
		}
	}
	record = &bucket[victim & (LB_FRAGMENT_WAYS - 1)];
	version = load_once(record->version);
	/* All of the bucket is being written: this datagram's other fragments will find no record. */
	if (score == 0 || !lb_fragment_lock(record, version))
		return DROP_NONE;
	if (present && record->kind == LB_FRAGMENT_DROP &&
	    (record->backend == DROP_fragment_overlap || record->backend == DROP_fragment_gaps)) {
		lb_fragment_unlock(record);
		return record->backend;
	}
	if (present && record->kind != LB_FRAGMENT_DROP && !lb_fragment_is_complete(record)) {
		uint32_t reason = piece->end <= record->reach ? DROP_fragment_duplicate :
								lb_fragment_give_up(record, DROP_fragment_overlap);

		lb_fragment_unlock(record);
		return reason;
	}
	record->source = flow->source;
	record->destination = flow->destination;
	record->identification = piece->identification;
	record->protocol = piece->protocol;
	record->first_ms = piece->now_ms;
	record->kind = (uint8_t)(kind_value >> 16);
	record->backend = (uint16_t)kind_value;
	record->islands[0] = record->islands[1] = record->islands[2] = 0;
	record->reach = piece->end;
	record->end = 0;
	lb_fragment_unlock(record);
	return DROP_NONE;
}

/* --- holding ------------------------------------------------------------------------------------------------------------ */

PACKET_INLINE struct lb_held *lb_hold_slot(struct lb_holding *holding, uint64_t slot)
{
	return &holding->slots[slot & (LB_HOLD_SLOTS - 1)];
}

/* A slot for a frame of `length` bytes that came in by `ifindex`, for the host to write: 1 + its number, 0 for none. */
PACKET_FUNCTION uint32_t lb_hold_claim(struct lb_holding *holding, const struct lb_piece *piece, uint32_t ifindex,
				       uint32_t length)
{
	uint32_t first, number = 0;
	struct lb_held *held;

	if (!holding || !piece || length == 0 || length > LB_HOLD_BYTES)
		return 0;
	first = (piece->pair & ((1u << LB_HOLD_SET_BITS) - 1)) * LB_HOLD_WAYS;
	for (uint32_t way = 0; way < LB_HOLD_WAYS && number == 0; way++) {
		held = lb_hold_slot(holding, first + way);
		if (load_once(held->state) == LB_HOLD_FREE &&
		    __sync_val_compare_and_swap(&held->state, LB_HOLD_FREE, LB_HOLD_WRITING) == LB_HOLD_FREE)
			number = 1 + first + way;
	}
	if (number == 0)
		return 0;
	held = lb_hold_slot(holding, number - 1);
	held->sequence = __sync_fetch_and_add(&holding->sequence, 1);
	held->held_ms = piece->now_ms;
	held->ifindex = ifindex;
	held->hash = piece->hash;
	held->identification = piece->identification;
	held->length = length;
	return number;
}

/* The host has written the bytes (`ready`), or could not. */
PACKET_INLINE void lb_hold_done(struct lb_held *held, bool ready)
{
	/* a full barrier on every target */
	(void)__sync_val_compare_and_swap(&held->state, LB_HOLD_WRITING, ready ? LB_HOLD_READY : LB_HOLD_FREE);
}

/* Whether fragments of this datagram are held. */
PACKET_FUNCTION uint32_t lb_hold_any(struct lb_holding *holding, const struct lb_piece *piece)
{
	uint32_t first, found = 0;

	if (!holding || !piece)
		return 0;
	first = (piece->pair & ((1u << LB_HOLD_SET_BITS) - 1)) * LB_HOLD_WAYS;
	for (uint32_t way = 0; way < LB_HOLD_WAYS; way++) {
		const struct lb_held *held = lb_hold_slot(holding, first + way);

		if (load_once(held->state) != LB_HOLD_FREE && held->hash == piece->hash)
			found = 1;
	}
	return found;
}

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Finding sessions, at packet time and from user space: hashes, and the words of rtc_index. */
#pragma once

#include "base/packet/flow.h"
#include "lb/lb_flow.h"
#include "rtc/rtc_state.h"
#include "rtc/stun_wire.h"
#include "base/packet/wire.h"

/* `address` and `port`: the client's, of a path of the service. */
PACKET_INLINE uint64_t rtc_path_hash(uint64_t seed, const struct address *address, struct be16 port,
				     const struct lb_service *service)
{
	return lb_flow_hash(seed + RTC_INDEX_PATH, address, port, &service->address, service->port_first, PROTOCOL_UDP,
			    service->ipv6);
}

/* `address` and `port`: the client's, as the agent knows it. */
PACKET_INLINE uint64_t rtc_upstream_hash(uint64_t seed, const struct address *address, struct be16 port,
					 const struct address *agent, struct be16 agent_port, bool ipv6)
{
	return lb_flow_hash(seed + RTC_INDEX_UPSTREAM, address, port, agent, agent_port, PROTOCOL_UDP, ipv6);
}

PACKET_INLINE uint64_t rtc_ssrc_hash(uint64_t seed, uint32_t service_row, uint32_t ssrc)
{
	return hash_finish(hash_word(seed + RTC_INDEX_SSRC, (uint64_t)service_row << 32 | ssrc));
}

/*
 * Of the `length` characters at `at` of the message (a place behind STUN_PLACE()): a keyed hash of 64 bits, never 0, that
 * stands for the fragment from then on. verifier: `place` is length << 32 | at, for there are only five arguments.
 */
PACKET_FUNCTION uint64_t rtc_fragment_hash(uint64_t seed, uint32_t service_row, const struct stun_message *message, uint64_t place)
{
	struct siphash_key key = {{seed, 0x72746320756672ull}};
	uint32_t at = (uint32_t)place, length = (uint32_t)(place >> 32);
	struct siphash hash = siphash_begin(&key);
	uint64_t rest, result;

	if (!message)
		return 1;
	siphash_word(&hash, service_row);
	for (uint32_t i = 0; i < STUN_FRAGMENT_MAX / 8; i++) {
		if (length < 8)
			break;
		siphash_word(&hash, stun_words(message, at));
		at += 8;
		length -= 8;
	}
	rest = length & 7 ? stun_words(message, at) & ((1ull << 8 * (length & 7)) - 1) : 0;
	result = siphash_end(&hash, 8 + (place >> 32), rest);
	return result ? result : 1;
}

PACKET_INLINE uint32_t rtc_index_low(uint32_t kind, uint32_t path, uint32_t row)
{
	return kind << RTC_INDEX_KIND_SHIFT | path << RTC_INDEX_PATH_SHIFT | row;
}

PACKET_INLINE uint32_t rtc_index_kind(uint32_t low)
{
	return low >> RTC_INDEX_KIND_SHIFT;
}

PACKET_INLINE uint32_t rtc_index_path(uint32_t low)
{
	return low >> RTC_INDEX_PATH_SHIFT & 3;
}

PACKET_INLINE uint32_t rtc_index_row(uint32_t low)
{
	return low & RTC_INDEX_ROW_MASK;
}

PACKET_INLINE uint64_t *rtc_index_bucket(struct rtc_index *index, uint64_t hash)
{
	return index->words[hash & ((1u << RTC_INDEX_BUCKET_BITS) - 1)];
}

/* The low half of the word, 0: none. Whether the session is the one meant is for the caller to see. */
PACKET_INLINE uint32_t rtc_index_look(struct rtc_index *index, uint64_t hash, uint32_t kind)
{
	const uint64_t *bucket = rtc_index_bucket(index, hash);
	uint64_t wanted = hash >> RTC_INDEX_SIGNATURE_SHIFT << (32 - RTC_INDEX_KIND_SHIFT) | kind;

#pragma GCC unroll 8
	for (uint32_t way = 0; way < RTC_INDEX_WAYS; way++) {
		uint64_t word = load_once(bucket[way]);

		if (word >> RTC_INDEX_KIND_SHIFT == wanted)
			return (uint32_t)word;
	}
	return 0;
}

/*
 * Makes a word lead to a session: in the place of the one with its key, in an empty place, or in that of an SSRC. Of SSRCs each
 * session has its own. 1, or 0: there is no place; 1 | row << 1: the word with its key led to that session.
 */
PACKET_FUNCTION uint32_t rtc_index_put(struct rtc_index *index, uint64_t hash, uint32_t low)
{
	uint64_t word = hash >> RTC_INDEX_SIGNATURE_SHIFT << RTC_INDEX_SIGNATURE_SHIFT | low, *bucket;
	uint32_t kind = rtc_index_kind(low);

	if (!index)
		return 0;
	bucket = rtc_index_bucket(index, hash);
	for (uint32_t way = 0; way < RTC_INDEX_WAYS; way++) {
		uint64_t found = load_once(bucket[way]);

		if ((found ^ word) >> RTC_INDEX_KIND_SHIFT || (kind == RTC_INDEX_SSRC && rtc_index_row((uint32_t)(found ^ word))))
			continue;
		if (found == word)
			return 1;
		if (__sync_val_compare_and_swap(&bucket[way], found, word) == found)
			return rtc_index_row((uint32_t)(found ^ word)) ? 1 | rtc_index_row((uint32_t)found) << 1 : 1;
	}
	for (uint32_t way = 0; way < RTC_INDEX_WAYS; way++) {
		if (load_once(bucket[way]) == 0 && __sync_val_compare_and_swap(&bucket[way], 0, word) == 0)
			return 1;
	}
	for (uint32_t way = 0; way < RTC_INDEX_WAYS; way++) {
		uint64_t found = load_once(bucket[way]);

		if (rtc_index_kind((uint32_t)found) == RTC_INDEX_SSRC && kind != RTC_INDEX_SSRC &&
		    __sync_val_compare_and_swap(&bucket[way], found, word) == found)
			return 1;
	}
	return 0;
}

/* verifier: a path of a session by its number, without an array that goes over two lines. */
PACKET_INLINE struct rtc_path *rtc_session_path(struct rtc_session *session, uint32_t path)
{
	return path == 0 ? &session->path : path == 1 ? &session->others[0] : &session->others[1];
}

PACKET_INLINE struct rtc_session *rtc_session_at(struct rtc_sessions *sessions, uint32_t row)
{
	return &sessions->rows[row & (RTC_SESSION_ROWS - 1)];
}

/* state, current and flags, which change together by compare-and-swap. */
PACKET_INLINE uint32_t *rtc_session_control(struct rtc_session *session)
{
	_Static_assert(offsetof(struct rtc_session, state) % 4 == 0 &&
			       offsetof(struct rtc_session, flags) == offsetof(struct rtc_session, state) + 2,
		       "one aligned word");
	return (uint32_t *)(void *)&session->state;
}

#define RTC_CONTROL_STATE 0xffu
#define RTC_CONTROL_CURRENT_SHIFT 8
#define RTC_CONTROL_CURRENT 0xff00u
#define RTC_CONTROL_FLAGS_SHIFT 16

PACKET_INLINE bool rtc_path_is(const struct rtc_path *path, const struct address *address, struct be16 port)
{
	return path->port.raw == port.raw && address_equal(&path->address, address) && path->version;
}

/*
 * --- shortcuts ---
 *
 * A memory of what was found (rtc_shortcut_fast.h). Nobody takes a word out: a session says itself whether it is the one meant.
 */

#define RTC_SHORTCUT_TAG (~0u << RTC_SHORTCUT_TAG_SHIFT)

/* `calls`: edge_config.calls. What comes of a prepared collision is a word that gives way: the usual way is open to its packets. */
PACKET_INLINE uint32_t rtc_shortcut_hash(uint64_t seed, uint32_t calls, const struct flow *flow)
{
	uint64_t ports = (uint64_t)flow->source_port.raw | (uint64_t)flow->destination_port.raw << 16 | (uint64_t)calls << 32;
	uint64_t word[3] = {address_ipv4(&flow->source), address_ipv4(&flow->destination), ports};

	if (flow->network == FLOW_IPV6) {
		word[0] = flow->source.word[1] ^ flow->source.word[0] * 0x9e3779b97f4a7c15ull;
		word[1] = flow->destination.word[1] ^ flow->destination.word[0] * 0x9e3779b97f4a7c15ull;
	}
	return (uint32_t)(hash_three(seed, word) >> 32);
}

PACKET_INLINE uint32_t *rtc_shortcut_set(struct rtc_index *index, uint32_t hash)
{
	return index->shortcuts[hash & ((1u << RTC_SHORTCUT_SET_BITS) - 1)];
}

/* The word, 0: none. */
PACKET_INLINE uint32_t rtc_shortcut_look(struct rtc_index *index, uint32_t hash)
{
	const uint32_t *set = rtc_shortcut_set(index, hash);

#pragma GCC unroll 4
	for (uint32_t way = 0; way < RTC_SHORTCUT_WAYS; way++) {
		uint32_t word = load_once(set[way]);

		if (((word ^ hash) & RTC_SHORTCUT_TAG) == 0 && word & RTC_INDEX_ROW_MASK)
			return word;
	}
	return 0;
}

/* What leads there from now on. */
PACKET_FUNCTION uint32_t rtc_shortcut_put(struct rtc_index *index, uint32_t hash, uint32_t path, uint32_t row, uint32_t now_ms)
{
	uint32_t word = (hash & RTC_SHORTCUT_TAG) | path << RTC_SHORTCUT_PATH_SHIFT | row, *set, way;
	bool known = false;

	if (!index)
		return 0;
	set = rtc_shortcut_set(index, hash);
	way = (now_ms ^ row) & (RTC_SHORTCUT_WAYS - 1);

#pragma GCC unroll 4
	for (uint32_t i = 0; i < RTC_SHORTCUT_WAYS; i++) {
		uint32_t found = load_once(set[i]);

		if (found && ((found ^ hash) & RTC_SHORTCUT_TAG) == 0) {
			way = i;
			known = true;
		} else if (found == 0 && !known) {
			way = i;
		}
	}
	store_once(set[way], word);
	return 1;
}

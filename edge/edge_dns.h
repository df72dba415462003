/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answering from the DNS cache, for hosts in user space: after edge_decide(), when the decision's action is ACTION_DNS,
 *
 *     edge_dns_decide()   whether the packet is answered; the decision says so
 *     (host)              gives the frame answer.frame_length bytes; where it cannot, edge_dns_pass()
 *     edge_dns_write()    writes the answer
 *
 * and edge_count() in every case.
 */
#pragma once

#include <string.h>

#include "dns/dns_fast.h"
#include "edge/edge_fast.h"

struct dns_access {
	const struct edge_tables *tables;
};

PACKET_INLINE struct dns_bucket *dns_bucket_at(const struct dns_access *access, uint32_t index)
{
	return &access->tables->dns_buckets[index];
}

PACKET_INLINE struct dns_block *dns_block_at(const struct dns_access *access, uint32_t index)
{
	return index < access->tables->dns->block_count ? &access->tables->dns_blocks[index] : NULL;
}

static inline struct dns_scratch *edge_dns_scratch(const struct edge_tables *tables)
{
	return &tables->counters->dns;
}

/* The packet is the resolver process', for this reason. */
static inline void edge_dns_pass(const struct edge_tables *tables, enum dns_result result, struct decision *decision)
{
	edge_dns_scratch(tables)->results[result]++;
	decision->verdict = VERDICT_PASS;
	decision->action = ACTION_NONE;
	decision->ifindex = 0;
}

/* `ret_answer` is of use when the decision is VERDICT_TX afterwards. */
static inline void edge_dns_decide(const struct edge_tables *tables, const struct packet *packet,
				   const struct edge_ingress *ingress, const struct flow *flow, struct dns_answer *ret_answer,
				   struct decision *decision)
{
	struct dns_scratch *scratch = edge_dns_scratch(tables);
	struct dns_access access = {tables};

	*ret_answer = (struct dns_answer){0};
	dns_begin(scratch, flow, ingress->now_ms);
	if (!dns_decide(&access, tables->dns, packet, scratch, ret_answer)) {
		edge_dns_pass(tables, scratch->result, decision);
		return;
	}
	decision->verdict = VERDICT_TX;
	decision->ifindex = ingress->ifindex;
}

/* `left`: bytes that the frame has room for, which the entry need not keep to: it may be another one by now. */
static inline void edge_dns_copy_long(const struct dns_access *access, const struct packet *packet,
				      const struct dns_entry *entry, uint32_t at, uint32_t left)
{
	uint32_t length = dns_head_room(entry->name_length);
	const struct dns_block *next = dns_block_at(access, entry->next);

	length = length < left ? length : left;
	memcpy(packet->data + at, entry->bytes, length);
	for (uint32_t i = 0; i < DNS_BLOCKS_NEXT && next; i++) {
		at += length;
		left -= length;
		length = left < DNS_BYTES_NEXT ? left : DNS_BYTES_NEXT;
		memcpy(packet->data + at, next->next.bytes, length);
		next = dns_block_at(access, next->next.next);
	}
}

static inline void edge_dns_tail(const struct dns_access *access, const struct packet *packet, const struct dns_answer *answer)
{
	const struct dns_entry *entry = answer->entry;

	if (answer->tail_length == 0)
		return;
	if (!entry) {
		unaligned(uint16_t, packet->data + answer->tail_at) = __builtin_bswap16(answer->owner);
		memcpy(packet->data + answer->tail_at + 2, answer->zone->tail, answer->tail_length - 2);
	} else if (entry->flags & DNS_ENTRY_SET) {
		dns_set_write(packet, entry, answer->tail_at, answer->age_s, answer->turn);
	} else if (dns_entry_is_plain(entry)) {
		dns_plain_write(packet, entry, answer->tail_at, answer->age_s, answer->turn);
	} else {
		edge_dns_copy_long(access, packet, entry, answer->tail_at, answer->tail_length);
		dns_long_write(access, packet, entry, answer->tail_at, answer->age_s);
		dns_turn(packet, entry, answer->tail_at, answer->turn);
	}
}

/* False: the entry changed meanwhile, and the frame, whose length was `length`, is to have it again and passes. */
static inline bool edge_dns_write(const struct edge_tables *tables, const struct packet *packet, const struct dns_answer *answer)
{
	struct dns_scratch *scratch = edge_dns_scratch(tables);
	struct dns_access access = {tables};
	struct dns_exchange exchange;

	edge_dns_tail(&access, packet, answer);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (!dns_answer_whole(answer))
		return false;
	exchange = dns_write(packet, scratch, answer);
	dns_checksum_write(packet, scratch, &exchange);
	scratch->results[scratch->result]++;
	return true;
}

/* After edge_dns_write() said no, when the frame has its old length again. */
static inline void edge_dns_undo(const struct edge_tables *tables, const struct packet *packet, struct decision *decision)
{
	dns_undo(packet, edge_dns_scratch(tables));
	edge_dns_pass(tables, DNS_RESULT_TORN, decision);
}

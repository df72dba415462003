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

static inline void edge_dns_copy(const struct dns_access *access, const struct packet *packet, const struct dns_answer *answer)
{
	uint32_t left = answer->tail_length, at = answer->tail_at, place = 0, length;
	const struct dns_block *next;

	if (answer->zone && left) {
		unaligned(uint16_t, packet->data + at) = __builtin_bswap16(answer->owner);
		memcpy(packet->data + at + 2, answer->zone->tail, left - 2);
		return;
	}
	for (uint32_t i = 0; left && i <= DNS_BLOCKS_NEXT; i++) {
		if (i == 0) {
			length = dns_head_room(answer->entry->name_length);
			place = answer->entry->next;
			length = length < left ? length : left;
			memcpy(packet->data + at, answer->entry->bytes, length);
		} else {
			next = dns_block_at(access, place);
			if (!next)
				return;
			length = left < DNS_BYTES_NEXT ? left : DNS_BYTES_NEXT;
			memcpy(packet->data + at, next->next.bytes, length);
			place = next->next.next;
		}
		at += length;
		left -= length;
	}
}

/* False: the entry changed meanwhile, and the frame, whose length was `length`, is to have it again and passes. */
static inline bool edge_dns_write(const struct edge_tables *tables, const struct packet *packet, const struct dns_answer *answer)
{
	struct dns_scratch *scratch = edge_dns_scratch(tables);
	struct dns_access access = {tables};
	struct dns_exchange exchange;

	edge_dns_copy(&access, packet, answer);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (!dns_answer_whole(answer))
		return false;
	exchange = dns_write(&access, packet, scratch, answer);
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

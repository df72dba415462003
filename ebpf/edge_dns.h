/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the DNS programs for XDP and tc share: the way to the cache, copying the answer, counting. */
#pragma once

#include "ebpf/edge_maps.h"
#include "edge/edge_fast.h"
#include "dns/dns_fast.h"

struct dns_access {
	uint32_t none; /* the maps are the program's own */
};

PACKET_INLINE struct dns_bucket *dns_bucket_at(const struct dns_access *access, uint32_t index)
{
	return bpf_map_lookup_elem(&edge_dns_buckets, &index);
}

PACKET_INLINE struct dns_block *dns_block_at(const struct dns_access *access, uint32_t index)
{
	return bpf_map_lookup_elem(&edge_dns_blocks, &index);
}

/* Writes bytes into the packet. The kernel has one helper for each kind of context. */
typedef long edge_dns_store(void *context, uint32_t offset, const void *bytes, uint32_t length);

/* verifier: from 1 to `most`, in a form that Linux 6.1 keeps; `most` is at most 256 */
PACKET_INLINE bool edge_dns_part(void *context, edge_dns_store *store, uint32_t at, const uint8_t *bytes, uint32_t length,
				 const uint32_t most)
{
	length--;
	value_opaque(length);
	length &= 0xff;
	if (length >= most)
		return false;
	return store(context, at, bytes, length + 1) == 0;
}

PACKET_INLINE bool edge_dns_copy_zone(void *context, edge_dns_store *store, const struct dns_answer *answer)
{
	uint16_t owner = __builtin_bswap16(answer->owner);
	uint32_t length = answer->tail_length - 2, at = answer->tail_at, first = length > 256 ? 256 : length;

	if (store(context, at, &owner, sizeof(owner)) < 0 ||
	    !edge_dns_part(context, store, at + 2, answer->zone->tail, first, 256))
		return false;
	return length == first || edge_dns_part(context, store, at + 2 + 256, answer->zone->tail + 256, length - first, 256);
}

PACKET_INLINE bool edge_dns_copy_entry(void *context, edge_dns_store *store, const struct dns_access *access,
				       const struct dns_answer *answer)
{
	uint32_t left = answer->tail_length, at = answer->tail_at, length = dns_head_room(answer->entry->name_length);
	uint32_t next = answer->entry->next;

	if (length > left)
		length = left;
	if (length && !edge_dns_part(context, store, at, answer->entry->bytes, length, DNS_BYTES_HEAD))
		return false;
	PACKET_UNROLL
	for (uint32_t i = 0; i < DNS_BLOCKS_NEXT; i++) {
		const struct dns_block *block;

		at += length;
		left -= length;
		if (left == 0)
			return true;
		block = dns_block_at(access, next);
		if (!block)
			return false;
		length = left < DNS_BYTES_NEXT ? left : DNS_BYTES_NEXT;
		if (!edge_dns_part(context, store, at, block->next.bytes, length, DNS_BYTES_NEXT))
			return false;
		next = block->next.next;
	}
	return left == length;
}

/* Puts the tail behind the question. */
PACKET_INLINE bool edge_dns_copy(void *context, edge_dns_store *store, const struct dns_access *access,
				 const struct dns_answer *answer)
{
	if (answer->tail_length == 0)
		return true;
	if (answer->entry)
		return edge_dns_copy_entry(context, store, access, answer);
	return edge_dns_copy_zone(context, store, answer);
}

/* As hosts in user space have it in the end. */
PACKET_INLINE void edge_dns_decided(const struct dns_scratch *scratch, uint32_t ifindex, bool answers, struct decision *decision)
{
	decision->function = FUNCTION_DNS;
	decision->service = scratch->service;
	decision->verdict = answers ? VERDICT_TX : VERDICT_PASS;
	decision->action = answers ? ACTION_DNS : ACTION_NONE;
	decision->ifindex = answers ? ifindex : 0;
}

PACKET_INLINE void edge_dns_count(struct edge_counters *counters, struct dns_scratch *scratch, bool answers, uint32_t length)
{
	scratch->results[scratch->result & (DNS_RESULT_PLACES - 1)]++;
	counters->verdicts[FUNCTION_DNS][answers ? VERDICT_TX : VERDICT_PASS]++;
	counters->bytes_in += length;
}

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The XDP program goes on here with packets for the DNS cache (edge_tails.h). */
#pragma once

#include "ebpf/edge_dns.h"
#include "ebpf/edge_xdp.h"

#define DNS_MOVE_MAX 256
#define DNS_MOVE_PIECE 64u
#define DNS_MOVE_PIECES 6u /* the longest query with its headers is shorter */

PACKET_INLINE long edge_xdp_store(void *xdp, uint32_t offset, const void *bytes, uint32_t length)
{
	return bpf_xdp_store_bytes(xdp, offset, (void *)bytes, length);
}

/* verifier: apart, for the stack */
__attribute__((noinline)) int edge_xdp_dns_trace(struct xdp_md *xdp, const struct dns_scratch *scratch, uint32_t answers,
						 uint32_t length)
{
	struct packet packet = edge_xdp_view(xdp);
	struct decision decision = {0};
	struct flow flow = {0};

	if (!scratch || flow_parse(&packet, &flow))
		return -1;
	edge_dns_decided(scratch, edge_ingress(edge_table(edge_config), xdp->ingress_ifindex, edge_clock_now()).ifindex, answers,
			 &decision);
	return edge_xdp_trace(xdp, &flow, &decision, length);
}

/* verifier: the tails of entries are written in functions of their own, whose ways do not multiply with what follows. 0: written */
__attribute__((noinline)) int edge_xdp_dns_plain(struct xdp_md *xdp, const struct dns_entry *entry, uint32_t tail_at,
						 uint32_t age_s, uint32_t turn)
{
	struct packet packet = edge_xdp_view(xdp);

	return entry && dns_plain_write(&packet, entry, tail_at, age_s, turn) ? 0 : -1;
}

__attribute__((noinline)) int edge_xdp_dns_long(struct xdp_md *xdp, const struct dns_entry *entry, uint32_t tail_at,
						uint32_t age_s, uint32_t turn)
{
	struct dns_access access = {0};
	struct packet packet;

	if (!entry || !edge_dns_copy_long(xdp, edge_xdp_store, &access, entry, tail_at))
		return -1;
	packet = edge_xdp_view(xdp);
	dns_long_write(&access, &packet, entry, tail_at, age_s);
	dns_turn(&packet, entry, tail_at, turn);
	return 0;
}

PACKET_INLINE int edge_xdp_dns_tail(struct xdp_md *xdp, const struct dns_answer *answer)
{
	struct packet packet;

	if (answer->tail_length == 0)
		return 0;
	if (!answer->entry)
		return edge_dns_copy_zone(xdp, edge_xdp_store, answer) ? 0 : -1;
	if (likely(answer->entry->flags & DNS_ENTRY_SET)) {
		packet = edge_xdp_view(xdp);
		return dns_set_write(&packet, answer->entry, answer->tail_at, answer->age_s, answer->turn) ? 0 : -1;
	}
	if (dns_entry_is_plain(answer->entry))
		return edge_xdp_dns_plain(xdp, answer->entry, answer->tail_at, answer->age_s, answer->turn);
	return edge_xdp_dns_long(xdp, answer->entry, answer->tail_at, answer->age_s, answer->turn);
}

/*
 * Linux copies a veth's packets into memory that they fill, but for the 256 bytes in front that XDP may ask for (veth_convert_skb_to_xdp_buff;
 * 6.1 gave a page): what finds no room at the end grows there, and the query, of `length` bytes, moves by as many. `growth` below 0: moves
 * it back. 0: done. verifier: apart, for the stack; in pieces that fit it
 */
__attribute__((noinline)) int edge_xdp_dns_move(struct xdp_md *xdp, uint32_t length, int growth)
{
	uint8_t piece[DNS_MOVE_PIECE];
	uint32_t from = growth > 0 ? (uint32_t)growth : 0, to = growth > 0 ? 0 : (uint32_t)-growth;

	if (growth > DNS_MOVE_MAX || growth < -DNS_MOVE_MAX || (growth > 0 && bpf_xdp_adjust_head(xdp, -growth) < 0))
		return -1;
	PACKET_UNROLL
	for (uint32_t i = 0; i < DNS_MOVE_PIECES; i++) {
		/* forth: from the front; back: from the end, so that nothing is written over before it was read */
		uint32_t at = (growth > 0 ? i : DNS_MOVE_PIECES - 1 - i) * sizeof(piece), size = sizeof(piece);

		if (at >= length)
			continue;
		if (length - at < size)
			size = length - at;
		value_opaque(size);
		if (size < 1 || size > sizeof(piece) || bpf_xdp_load_bytes(xdp, from + at, piece, size) < 0 ||
		    bpf_xdp_store_bytes(xdp, to + at, piece, size) < 0)
			return -1;
	}
	return growth < 0 ? bpf_xdp_adjust_head(xdp, -growth) : 0;
}

PACKET_INLINE bool edge_xdp_dns_answer(struct xdp_md *xdp, struct dns_scratch *scratch, const struct dns_answer *answer,
				       uint32_t length)
{
	int growth = (int)(answer->frame_length - length);
	bool moved = growth && bpf_xdp_adjust_tail(xdp, growth) < 0;
	struct dns_exchange exchange;
	struct packet packet;

	if (moved && (growth < 0 || length > DNS_MOVE_PIECES * DNS_MOVE_PIECE || edge_xdp_dns_move(xdp, length, growth) < 0)) {
		scratch->result = DNS_RESULT_NO_ROOM;
		return false;
	}
	if (edge_xdp_dns_tail(xdp, answer) < 0 || !dns_answer_whole(answer)) {
		scratch->result = DNS_RESULT_TORN;
		if (moved)
			edge_xdp_dns_move(xdp, length, -growth);
		else
			bpf_xdp_adjust_tail(xdp, -growth);
		packet = edge_xdp_view(xdp);
		dns_undo(&packet, scratch);
		return false;
	}
	packet = edge_xdp_view(xdp);
	exchange = dns_write(&packet, scratch, answer);
	dns_checksum_write(&packet, scratch, &exchange);
	return true;
}

PACKET_INLINE int edge_xdp_dns_run(struct xdp_md *xdp)
{
	struct edge_counters *counters = edge_counters_get();
	struct edge_tables tables = edge_tables_get();
	uint32_t length = edge_xdp_length(xdp);
	struct packet packet = edge_xdp_view(xdp);
	struct dns_answer answer; /* written when there is one */
	struct dns_access access = {0};
	struct dns_scratch *scratch;

	if (!counters)
		return XDP_ABORTED;
	scratch = &counters->dns;
	if (!dns_decide(&access, tables.dns, &packet, scratch, &answer)) {
		if (unlikely(tables.config->trace))
			edge_xdp_dns_trace(xdp, scratch, 0, length);
		edge_dns_count(counters, scratch, false, length);
		return XDP_PASS;
	}
	if (unlikely(tables.config->trace))
		edge_xdp_dns_trace(xdp, scratch, 1, length);
	if (!edge_xdp_dns_answer(xdp, scratch, &answer, length)) {
		edge_dns_count(counters, scratch, false, length);
		return XDP_PASS;
	}
	edge_dns_count(counters, scratch, true, length);
	return XDP_TX;
}

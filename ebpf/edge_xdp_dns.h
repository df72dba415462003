/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The XDP program goes on here with packets for the DNS cache (edge_tails.h). */
#pragma once

#include "ebpf/edge_dns.h"
#include "ebpf/edge_xdp.h"

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

PACKET_INLINE bool edge_xdp_dns_answer(struct xdp_md *xdp, struct dns_scratch *scratch, const struct dns_answer *answer,
				       uint32_t length)
{
	int growth = (int)(answer->frame_length - length);
	struct dns_exchange exchange;
	struct packet packet;

	if (growth && bpf_xdp_adjust_tail(xdp, growth) < 0) {
		scratch->result = DNS_RESULT_NO_ROOM;
		return false;
	}
	if (edge_xdp_dns_tail(xdp, answer) < 0 || !dns_answer_whole(answer)) {
		scratch->result = DNS_RESULT_TORN;
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

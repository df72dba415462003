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

PACKET_INLINE bool edge_xdp_dns_answer(struct xdp_md *xdp, const struct dns_access *access, struct dns_scratch *scratch,
				       const struct dns_answer *answer, uint32_t length)
{
	int growth = (int)(answer->frame_length - length);
	struct dns_exchange exchange;
	struct packet packet;

	if (growth && bpf_xdp_adjust_tail(xdp, growth) < 0) {
		scratch->result = DNS_RESULT_NO_ROOM;
		return false;
	}
	if (!edge_dns_copy(xdp, edge_xdp_store, access, answer) || !dns_answer_whole(answer)) {
		scratch->result = DNS_RESULT_TORN;
		bpf_xdp_adjust_tail(xdp, -growth);
		packet = edge_xdp_view(xdp);
		dns_undo(&packet, scratch);
		return false;
	}
	packet = edge_xdp_view(xdp);
	exchange = dns_write(access, &packet, scratch, answer);
	dns_checksum_write(&packet, scratch, &exchange);
	return true;
}

PACKET_INLINE int edge_xdp_dns_run(struct xdp_md *xdp)
{
	struct edge_counters *counters = edge_counters_get();
	struct edge_tables tables = edge_tables_get();
	uint32_t length = edge_xdp_length(xdp);
	struct packet packet = edge_xdp_view(xdp);
	struct dns_answer answer = {0};
	struct dns_access access = {0};
	struct dns_scratch *scratch;
	bool answers;

	if (!counters)
		return XDP_ABORTED;
	scratch = &counters->dns;
	answers = dns_decide(&access, tables.dns, &packet, scratch, &answer);
	if (unlikely(tables.config->trace))
		edge_xdp_dns_trace(xdp, scratch, answers, length);
	if (answers)
		answers = edge_xdp_dns_answer(xdp, &access, scratch, &answer, length);
	edge_dns_count(counters, scratch, answers, length);
	return answers ? XDP_TX : XDP_PASS;
}

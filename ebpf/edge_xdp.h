/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The XDP host of the packet program: fetch, make room, send. A header, so that the benchmark's program can run the very
 * same between saving and restoring the packet.
 */
#pragma once

#include "ebpf/edge_deliver.h"
#include "ebpf/edge_hold.h"
#include "ebpf/edge_tails.h"
#include "ebpf/edge_maps.h"
#include "ebpf/edge_report.h"
#include "edge/edge_fast.h"

PACKET_INLINE long edge_xdp_load(void *xdp, void *bytes, uint32_t length)
{
	return bpf_xdp_load_bytes(xdp, 0, bytes, length);
}

/* verifier: what is done for no ordinary packet is a function of its own, so that it costs the others one branch. */
__attribute__((noinline)) int edge_xdp_trace(struct xdp_md *xdp, const struct flow *flow, const struct decision *decision,
					     uint32_t length)
{
	if (!flow || !decision)
		return -1;
	edge_report_trace(xdp, edge_xdp_load, xdp->ingress_ifindex, flow,
			  (struct edge_report){.length = length, .decision = decision});
	return 0;
}

PACKET_INLINE struct packet edge_xdp_view(struct xdp_md *xdp)
{
	return (struct packet){.data = (void *)(long)xdp->data, .end = (void *)(long)xdp->data_end};
}

PACKET_INLINE uint32_t edge_xdp_length(struct xdp_md *xdp)
{
	struct packet packet = edge_xdp_view(xdp);

	/* verifier: as pointers, not as the 32-bit fields that they are read from */
	value_opaque(packet.data);
	value_opaque(packet.end);
	return (uint32_t)(packet.end - packet.data);
}

PACKET_INLINE int edge_xdp_send(struct xdp_md *xdp, const struct decision *decision)
{
	struct edge_deliver *deliver;

	if (decision->verdict == VERDICT_TX)
		return XDP_TX;
	if (!(decision->egress.flags & EGRESS_VIA_STACK))
		return (int)bpf_redirect(decision->ifindex, 0);
	if (bpf_xdp_adjust_meta(xdp, -(int)sizeof(*deliver)) < 0)
		return XDP_DROP;
	deliver = (void *)(long)xdp->data_meta;
	if ((void *)(deliver + 1) > (void *)(long)xdp->data)
		return XDP_DROP;
	deliver->magic = EDGE_DELIVER_MAGIC | (decision->egress.flags & EGRESS_PEER_APART);
	deliver->ifindex = decision->ifindex;
	return XDP_PASS;
}

/*
 * verifier: deciding is a function checked by itself: in one with the rest its paths would multiply with theirs. Where the
 * kernel guards returns (SRSO) a call costs seven nanoseconds, so it is the only one of a known flow's packet.
 */
__attribute__((noinline)) int edge_xdp_decide(struct xdp_md *xdp, struct flow *flow, uint32_t reason,
					      struct decision *decision)
{
	struct packet packet = edge_xdp_view(xdp);
	struct edge_ingress ingress;
	struct edge_tables tables = edge_tables_get();

	if (!flow || !decision)
		return -1;
	ingress = edge_ingress(tables.config, xdp->ingress_ifindex, edge_clock_now());
	edge_decide_parsed(&tables, &packet, &ingress, flow, (enum drop_reason)reason, decision);
	return 0;
}

/* The same for a known call's packet, which needs less. 1: decided; 0: nothing happened. */
__attribute__((noinline)) int edge_xdp_decide_call(struct xdp_md *xdp, const struct flow *flow, struct decision *decision)
{
	struct packet packet = edge_xdp_view(xdp);
	struct edge_tables tables = edge_tables_get();
	struct edge_ingress ingress;

	if (!flow || !decision)
		return 0;
	ingress = edge_ingress(tables.config, xdp->ingress_ifindex, edge_clock_now());
	return edge_decide_call(&tables, &packet, &ingress, flow, decision);
}

/* What few packets need, in functions of their own: their paths are checked apart, and the others' stay short. */
__attribute__((noinline)) int edge_xdp_decide_fragment(struct xdp_md *xdp, const struct flow *flow, struct decision *decision)
{
	struct packet packet = edge_xdp_view(xdp);
	struct edge_ingress ingress;
	struct edge_tables tables = edge_tables_get();

	if (!flow || !decision)
		return -1;
	ingress = edge_ingress(tables.config, xdp->ingress_ifindex, edge_clock_now());
	edge_decide_fragment(&tables, &packet, &ingress, flow, decision);
	edge_hold(xdp, edge_xdp_load, tables.holding, decision);
	return 0;
}

__attribute__((noinline)) int edge_xdp_decide_unwrap(struct xdp_md *xdp, struct flow *flow, struct decision *decision)
{
	struct packet packet = edge_xdp_view(xdp);
	struct edge_ingress ingress;
	struct edge_tables tables = edge_tables_get();

	if (!flow || !decision)
		return -1;
	ingress = edge_ingress(tables.config, xdp->ingress_ifindex, edge_clock_now());
	edge_decide_unwrap(&tables, &packet, &ingress, flow, decision);
	return 0;
}

__attribute__((noinline)) int edge_xdp_decide_rare(struct xdp_md *xdp, struct flow *flow, struct decision *decision)
{
	struct packet packet = edge_xdp_view(xdp);
	struct edge_ingress ingress;
	struct edge_tables tables = edge_tables_get();

	if (!flow || !decision)
		return -1;
	ingress = edge_ingress(tables.config, xdp->ingress_ifindex, edge_clock_now());
	edge_decide_rare(&tables, &packet, &ingress, flow, decision);
	return 0;
}

__attribute__((noinline)) int edge_xdp_decide_media(struct xdp_md *xdp, const struct flow *flow, struct decision *decision)
{
	struct packet packet = edge_xdp_view(xdp);
	struct edge_ingress ingress;
	struct edge_tables tables = edge_tables_get();

	if (!flow || !decision)
		return -1;
	ingress = edge_ingress(tables.config, xdp->ingress_ifindex, edge_clock_now());
	edge_decide_media(&tables, &packet, &ingress, flow, decision);
	return 0;
}

__attribute__((noinline)) int edge_xdp_decide_learn(struct xdp_md *xdp, const struct flow *flow, struct decision *decision)
{
	struct edge_counters *counters = edge_counters_get();
	struct packet packet = edge_xdp_view(xdp);
	struct edge_ingress ingress;
	struct edge_tables tables = edge_tables_get();
	uint32_t offset = 0;
	uint64_t least;

	if (!flow || !decision || !counters)
		return -1;
	ingress = edge_ingress(tables.config, xdp->ingress_ifindex, edge_clock_now());
	counters->scratch.message.length = edge_copy_length(&packet, flow, &offset);
	/* verifier: from 1 to the most, in a form that Linux 6.1 keeps */
	least = counters->scratch.message.length - 1u;
	value_opaque(least);
	if (least >= STUN_COPY_MAX ||
	    bpf_xdp_load_bytes(xdp, offset, counters->scratch.message.bytes, (uint32_t)(least + 1)) < 0)
		counters->scratch.message.length = 0;
	edge_decide_learn(&tables, &packet, &ingress, flow, decision, &counters->scratch);
	return 0;
}

__attribute__((noinline)) int edge_xdp_write_more(struct xdp_md *xdp, const struct flow *flow, const struct decision *decision)
{
	struct edge_tables tables = edge_tables_get();
	struct lb_exchange exchange;
	struct packet packet;
	int keep;

	if (!flow || !decision)
		return -1;
	keep = (int)edge_keep(flow, decision);
	if (keep && keep < (int)edge_xdp_length(xdp) && bpf_xdp_adjust_tail(xdp, keep - (int)edge_xdp_length(xdp)) < 0)
		return -1;
	if (decision->room != 0 && bpf_xdp_adjust_head(xdp, -decision->room) < 0)
		return -1;
	packet = edge_xdp_view(xdp);
	exchange = edge_write_more(&tables, &packet, flow, decision);
	lb_write_checksum(&packet, &exchange);
	return 0;
}

/* Makes room and rewrites; negative when there is no room. */
PACKET_INLINE int edge_xdp_write(struct xdp_md *xdp, const struct flow *flow, const struct decision *decision)
{
	struct lb_exchange exchange;
	struct packet packet;

	if (unlikely(decision->action >= ACTION_FIRST_MORE))
		return edge_xdp_write_more(xdp, flow, decision);
	if (unlikely(decision->room != 0) && bpf_xdp_adjust_head(xdp, -decision->room) < 0)
		return -1;
	packet = edge_xdp_view(xdp);
	exchange = edge_write(&packet, flow, decision);
	lb_write_checksum(&packet, &exchange);
	return 0;
}

/* verifier: apart, for the stack */
__attribute__((noinline)) int edge_xdp_wanted(struct xdp_md *xdp, const struct decision *decision)
{
	if (decision)
		edge_report_wanted(xdp, edge_xdp_load, xdp->ingress_ifindex, decision);
	return 0;
}

/* edge_decide_rest() */
PACKET_INLINE int edge_xdp_decide_rest(struct xdp_md *xdp, struct flow *flow, struct decision *decision)
{
	if (flow->flags & FLOW_FRAGMENT && edge_xdp_decide_fragment(xdp, flow, decision) < 0)
		return -1;
	if (!(decision->flags & DECISION_MORE))
		return 0;
	if (decision->action == ACTION_UNWRAP)
		return edge_xdp_decide_unwrap(xdp, flow, decision);
	if (edge_is_media(decision)) {
		if (edge_xdp_decide_media(xdp, flow, decision) < 0)
			return -1;
		if (unlikely(edge_is_open(decision)) &&
		    (edge_xdp_decide_learn(xdp, flow, decision) < 0 ||
		     (decision->flags & DECISION_MORE && edge_is_media(decision) && edge_xdp_decide_media(xdp, flow, decision) < 0)))
			return -1;
		if (likely(!(decision->flags & DECISION_MORE)))
			return 0;
	}
	return edge_xdp_decide_rare(xdp, flow, decision);
}

/* After edge_xdp_decide(), for packets that are not done with that: the rest of edge_decide(), and what is to be told. */
PACKET_INLINE int edge_xdp_go_on(struct xdp_md *xdp, struct flow *flow, struct decision *decision, uint32_t length)
{
	if (decision->action == ACTION_DNS) {
		edge_tail_dns(xdp, &edge_tails_xdp, flow, decision);
		decision->flags = 0; /* no program there: the resolver process' */
	}
	if (edge_xdp_decide_rest(xdp, flow, decision) < 0)
		return -1;
	if (decision->flags & DECISION_AGAIN) {
		*decision = (struct decision){0};
		if (edge_xdp_decide(xdp, flow, DROP_NONE, decision) < 0 || edge_xdp_decide_rest(xdp, flow, decision) < 0)
			return -1;
	}
	if (((const struct edge_config *)edge_table(edge_config))->trace)
		edge_xdp_trace(xdp, flow, decision, length);
	if (decision->flags & DECISION_EVENT)
		edge_xdp_wanted(xdp, decision);
	return 0;
}

PACKET_INLINE int edge_xdp_run(struct xdp_md *xdp)
{
	const struct edge_config *config = edge_table(edge_config);
	struct edge_counters *counters = edge_counters_get();
	uint32_t length = edge_xdp_length(xdp);
	struct packet packet = edge_xdp_view(xdp);
	struct decision decision = {0};
	struct flow flow = {0};
	enum drop_reason reason;

	if (!counters)
		return XDP_ABORTED;
	reason = flow_parse(&packet, &flow);
	if ((!edge_is_call(config, &packet, &flow, reason) || !edge_xdp_decide_call(xdp, &flow, &decision)) &&
	    edge_xdp_decide(xdp, &flow, (uint32_t)reason, &decision) < 0)
		return XDP_ABORTED;
	/* one branch for all that few packets need */
	if (unlikely((flow.flags & FLOW_FRAGMENT) | (decision.flags & (DECISION_MORE | DECISION_EVENT)) | config->trace) &&
	    edge_xdp_go_on(xdp, &flow, &decision, length) < 0)
		return XDP_ABORTED;
	if ((decision.verdict == VERDICT_TX || decision.verdict == VERDICT_REDIRECT) &&
	    edge_xdp_write(xdp, &flow, &decision) < 0) {
		decision.verdict = VERDICT_DROP;
		decision.reason = DROP_room_failed;
		if (unlikely(config->trace))
			edge_xdp_trace(xdp, &flow, &decision, length);
	}
	edge_count(counters, &decision, length);
	if (decision.verdict == VERDICT_PASS)
		return XDP_PASS;
	if (decision.verdict >= VERDICT_DROP) /* or held */
		return XDP_DROP;
	return edge_xdp_send(xdp, &decision);
}

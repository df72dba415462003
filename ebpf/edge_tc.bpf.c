// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * tc ingress, twice: the packet program on the veths of local workloads (large segments and partial checksums stay as they
 * are), and delivery to those veths of what the XDP program on a NIC handed on.
 */
#include <linux/pkt_cls.h>

#include "ebpf/edge_xdp.h"

#define PACKET_TYPE_HOST 0

PACKET_INLINE struct packet edge_tc_view(struct __sk_buff *skb)
{
	return (struct packet){(void *)(long)skb->data, (void *)(long)skb->data_end};
}

PACKET_INLINE void edge_tc_event(struct __sk_buff *skb, enum edge_event_kind kind, uint32_t length,
				 const struct decision *decision)
{
	struct edge_event *event = bpf_ringbuf_reserve(&edge_events, sizeof(*event), 0);
	uint32_t captured = length;

	if (!event)
		return;
	event->time_ns = bpf_ktime_get_ns();
	event->kind = kind;
	event->ifindex = skb->ifindex;
	event->length = length;
	event->decision = *decision;
	value_opaque(captured);
	if (captured > EDGE_EVENT_BYTES)
		captured = EDGE_EVENT_BYTES;
	if (captured == 0 || bpf_skb_load_bytes(skb, 0, event->bytes, captured) < 0)
		captured = 0;
	event->captured = captured;
	bpf_ringbuf_submit(event, 0);
}

/* The checksum may be partial (only the pseudo header's sum is in the field): the helper knows which. */
PACKET_INLINE void edge_tc_checksum(struct __sk_buff *skb, const struct lb_exchange *exchange)
{
	uint64_t mangled = exchange->udp ? BPF_F_MARK_MANGLED_0 : 0;

	if (exchange->offset == 0)
		return;
	bpf_l4_csum_replace(skb, exchange->offset, 0, checksum_fold(exchange->pseudo), BPF_F_PSEUDO_HDR | mangled);
	bpf_l4_csum_replace(skb, exchange->offset, 0, checksum_fold(exchange->direct), mangled);
}

PACKET_INLINE int edge_tc_send(const struct decision *decision)
{
	if (decision->egress.flags & EGRESS_VIA_STACK && decision->egress.flags & EGRESS_PEER_APART)
		return (int)bpf_redirect_peer(decision->ifindex, 0);
	return (int)bpf_redirect(decision->ifindex, 0);
}

SEC("tc")
int edge_tc(struct __sk_buff *skb)
{
	struct packet packet = edge_tc_view(skb);
	struct edge_ingress ingress = {.ifindex = skb->ifindex};
	struct decision decision = {0};
	struct edge_tables tables;
	struct lb_exchange exchange;
	struct flow flow = {0};

	/* Headers may lie outside the linear part; 256 bytes hold all that is looked at of a forwarded packet. */
	if (packet.end - packet.data < 256 && (uint32_t)(packet.end - packet.data) < skb->len) {
		if (bpf_skb_pull_data(skb, skb->len < 256 ? skb->len : 256) < 0)
			return TC_ACT_SHOT;
	}
	packet = edge_tc_view(skb);
	if (!edge_tables_get(&tables))
		return TC_ACT_SHOT;
	ingress.epoch = edge_epoch(tables.config, edge_clock_epoch());
	edge_decide(&tables, &packet, &ingress, &flow, &decision);
	if (unlikely(edge_trace_wanted(tables.config, &flow, &decision)))
		edge_tc_event(skb, EDGE_EVENT_TRACE, skb->len, &decision);
	if (unlikely(decision.flags & DECISION_EVENT))
		edge_tc_event(skb, EDGE_EVENT_NEIGHBOUR, 0, &decision);
	if (decision.verdict == VERDICT_TX || decision.verdict == VERDICT_REDIRECT) {
		if (decision.room > 0 ? bpf_skb_change_head(skb, (uint32_t)decision.room, 0) < 0 : decision.room < 0) {
			decision.verdict = VERDICT_DROP;
			decision.reason = DROP_room_failed;
		} else {
			packet = edge_tc_view(skb);
			exchange = edge_write(&packet, &flow, &decision);
			edge_tc_checksum(skb, &exchange);
		}
	}
	edge_count(tables.counters, &decision, skb->len);
	if (decision.verdict == VERDICT_PASS)
		return TC_ACT_OK;
	if (decision.verdict == VERDICT_DROP)
		return TC_ACT_SHOT;
	return edge_tc_send(&decision);
}

/* On a NIC with the XDP program: what that one addressed to a local workload goes there. */
SEC("tc")
int edge_tc_deliver(struct __sk_buff *skb)
{
	struct edge_deliver *deliver = (void *)(long)skb->data_meta;
	uint32_t magic, ifindex;

	if ((void *)(deliver + 1) > (void *)(long)skb->data)
		return TC_ACT_OK;
	magic = deliver->magic;
	ifindex = deliver->ifindex;
	if ((magic & ~EGRESS_PEER_APART) != EDGE_DELIVER_MAGIC)
		return TC_ACT_OK;
	if (!(magic & EGRESS_PEER_APART))
		return (int)bpf_redirect(ifindex, 0);
	/* The stack took it for another machine's when it saw the workload's hardware address. */
	bpf_skb_change_type(skb, PACKET_TYPE_HOST);
	return (int)bpf_redirect_peer(ifindex, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * tc ingress, twice: the packet program on the veths of local workloads (large segments and partial checksums stay as they
 * are), and delivery to those veths of what the XDP program on a NIC handed on.
 */
#include <linux/pkt_cls.h>

#include "ebpf/edge_dns.h"
#include "ebpf/edge_xdp.h"

EDGE_TAILS(edge_tails_tc);

#define PACKET_TYPE_HOST 0
#define EDGE_TC_LINEAR 256u

PACKET_INLINE struct packet edge_tc_view(struct __sk_buff *skb)
{
	struct packet packet = {.data = (void *)(long)skb->data, .end = (void *)(long)skb->data_end};

	/* verifier: as pointers, not as the 32-bit fields that they are read from */
	value_opaque(packet.data);
	value_opaque(packet.end);
	packet.beyond = skb->len - (uint32_t)(packet.end - packet.data);
	return packet;
}

PACKET_INLINE long edge_tc_load(void *skb, void *bytes, uint32_t length)
{
	return bpf_skb_load_bytes(skb, 0, bytes, length);
}

__attribute__((noinline)) int edge_tc_trace(struct __sk_buff *skb, const struct flow *flow, const struct decision *decision)
{
	if (!flow || !decision)
		return -1;
	edge_report_trace(skb, edge_tc_load, skb->ifindex, flow, (struct edge_report){.length = skb->len, .decision = decision});
	return 0;
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

/* verifier: steps as in edge_xdp.h. Headers may lie outside the linear part: 256 bytes hold all that is looked at. */
__attribute__((noinline)) int edge_tc_parse(struct __sk_buff *skb, struct flow *flow)
{
	struct packet packet = edge_tc_view(skb);

	if (packet.end - packet.data < EDGE_TC_LINEAR && packet.beyond) {
		if (bpf_skb_pull_data(skb, skb->len < EDGE_TC_LINEAR ? skb->len : EDGE_TC_LINEAR) < 0)
			return -1;
	}
	packet = edge_tc_view(skb);
	return flow ? (int)flow_parse(&packet, flow) : -1;
}

__attribute__((noinline)) int edge_tc_decide(struct __sk_buff *skb, struct flow *flow, uint32_t reason,
					     struct decision *decision)
{
	struct edge_ingress ingress;
	struct packet packet = edge_tc_view(skb);
	struct edge_tables tables = edge_tables_get();

	if (!flow || !decision)
		return -1;
	ingress = edge_ingress(tables.config, skb->ifindex, edge_clock_now());
	edge_decide_parsed(&tables, &packet, &ingress, flow, (enum drop_reason)reason, decision);
	return 0;
}

__attribute__((noinline)) int edge_tc_decide_call(struct __sk_buff *skb, const struct flow *flow, struct decision *decision)
{
	struct packet packet = edge_tc_view(skb);
	struct edge_tables tables = edge_tables_get();
	struct edge_ingress ingress;

	if (!flow || !decision)
		return 0;
	ingress = edge_ingress(tables.config, skb->ifindex, edge_clock_now());
	return edge_decide_call(&tables, &packet, &ingress, flow, decision);
}

__attribute__((noinline)) int edge_tc_decide_fragment(struct __sk_buff *skb, const struct flow *flow, struct decision *decision)
{
	struct packet packet = edge_tc_view(skb);
	struct edge_ingress ingress;
	struct edge_tables tables = edge_tables_get();

	if (!flow || !decision)
		return -1;
	ingress = edge_ingress(tables.config, skb->ifindex, edge_clock_now());
	edge_decide_fragment(&tables, &packet, &ingress, flow, decision);
	edge_hold(skb, edge_tc_load, tables.holding, decision);
	return 0;
}

__attribute__((noinline)) int edge_tc_decide_rare(struct __sk_buff *skb, struct flow *flow, struct decision *decision)
{
	struct edge_ingress ingress;
	struct packet packet = edge_tc_view(skb);
	struct edge_tables tables = edge_tables_get();

	if (!flow || !decision)
		return -1;
	ingress = edge_ingress(tables.config, skb->ifindex, edge_clock_now());
	ingress.segment = skb->gso_size;
	edge_decide_rare(&tables, &packet, &ingress, flow, decision);
	return 0;
}

__attribute__((noinline)) int edge_tc_decide_media(struct __sk_buff *skb, const struct flow *flow, struct decision *decision)
{
	struct packet packet = edge_tc_view(skb);
	struct edge_ingress ingress;
	struct edge_tables tables = edge_tables_get();

	if (!flow || !decision)
		return -1;
	ingress = edge_ingress(tables.config, skb->ifindex, edge_clock_now());
	edge_decide_media(&tables, &packet, &ingress, flow, decision);
	return 0;
}

__attribute__((noinline)) int edge_tc_decide_learn(struct __sk_buff *skb, const struct flow *flow, struct decision *decision)
{
	struct edge_counters *counters = edge_counters_get();
	struct packet packet = edge_tc_view(skb);
	struct edge_ingress ingress;
	struct edge_tables tables = edge_tables_get();
	uint32_t offset = 0;
	uint64_t least;

	if (!flow || !decision || !counters)
		return -1;
	ingress = edge_ingress(tables.config, skb->ifindex, edge_clock_now());
	counters->scratch.message.length = edge_copy_length(&packet, flow, &offset);
	/* verifier: from 1 to the most, in a form that Linux 6.1 keeps */
	least = counters->scratch.message.length - 1u;
	value_opaque(least);
	if (least >= STUN_COPY_MAX ||
	    bpf_skb_load_bytes(skb, offset, counters->scratch.message.bytes, (uint32_t)(least + 1)) < 0)
		counters->scratch.message.length = 0;
	edge_decide_learn(&tables, &packet, &ingress, flow, decision, &counters->scratch);
	return 0;
}

/* ACTION_MEDIA_UP, ACTION_MEDIA_DOWN on the way: all steps that are left. */
PACKET_INLINE int edge_tc_decide_session(struct __sk_buff *skb, const struct flow *flow, struct decision *decision)
{
	if (edge_tc_decide_media(skb, flow, decision) < 0)
		return -1;
	if (likely(!edge_is_open(decision)))
		return 0;
	if (edge_tc_decide_learn(skb, flow, decision) < 0)
		return -1;
	return decision->flags & DECISION_MORE && edge_is_media(decision) ? edge_tc_decide_media(skb, flow, decision) : 0;
}

__attribute__((noinline)) int edge_tc_write_more(struct __sk_buff *skb, const struct flow *flow, const struct decision *decision)
{
	struct edge_tables tables = edge_tables_get();
	struct lb_exchange exchange;
	struct packet packet;
	uint32_t keep;

	if (!flow || !decision || decision->room < 0)
		return -1;
	if ((decision->action == ACTION_ENCAPSULATE || decision->action == ACTION_ENCAPSULATE_HOP) && skb->gso_size)
		return -1; /* the stack would cut it with the outer header of the whole */
	keep = edge_keep(flow, decision);
	if (keep && keep < skb->len && (bpf_skb_change_tail(skb, keep, 0) < 0 || bpf_skb_pull_data(skb, keep) < 0))
		return -1;
	if (decision->room > 0 && bpf_skb_change_head(skb, (uint32_t)decision->room, 0) < 0)
		return -1;
	packet = edge_tc_view(skb);
	exchange = edge_write_more(&tables, &packet, flow, decision);
	edge_tc_checksum(skb, &exchange);
	return 0;
}

/* Makes room and rewrites; negative when there is no room. */
__attribute__((noinline)) int edge_tc_write(struct __sk_buff *skb, const struct flow *flow,
					    const struct decision *decision)
{
	struct lb_exchange exchange;
	struct packet packet;

	if (!flow || !decision || decision->room < 0)
		return -1;
	if (decision->room > 0 && bpf_skb_change_head(skb, (uint32_t)decision->room, 0) < 0)
		return -1;
	packet = edge_tc_view(skb);
	exchange = edge_write(&packet, flow, decision);
	edge_tc_checksum(skb, &exchange);
	return 0;
}

SEC("tc")
int edge_tc(struct __sk_buff *skb)
{
	const struct edge_config *config = edge_table(edge_config);
	struct edge_counters *counters = edge_counters_get();
	struct decision decision = {0};
	uint32_t length = skb->len;
	struct flow flow = {0};
	struct packet packet;
	int reason;

	if (!counters)
		return TC_ACT_SHOT;
	reason = edge_tc_parse(skb, &flow);
	packet = edge_tc_view(skb);
	if (reason < 0 || ((!edge_is_call(config, &packet, &flow, (enum drop_reason)reason) || !edge_tc_decide_call(skb, &flow, &decision)) &&
			   edge_tc_decide(skb, &flow, (uint32_t)reason, &decision) < 0))
		return TC_ACT_SHOT;
	if (unlikely(flow.flags & FLOW_FRAGMENT) && edge_tc_decide_fragment(skb, &flow, &decision) < 0)
		return TC_ACT_SHOT;
	if (unlikely(decision.action == ACTION_DNS)) {
		edge_tail_dns(skb, &edge_tails_tc, &flow, &decision);
		decision.flags = 0; /* no program there: the resolver process' */
	}
	if (unlikely(decision.flags & DECISION_MORE) && edge_is_media(&decision) && edge_tc_decide_session(skb, &flow, &decision) < 0)
		return TC_ACT_SHOT;
	/* no ACTION_UNWRAP here: these are workloads' links */
	if (unlikely(decision.flags & DECISION_MORE) && edge_tc_decide_rare(skb, &flow, &decision) < 0)
		return TC_ACT_SHOT;
	if (unlikely(config->trace))
		edge_tc_trace(skb, &flow, &decision);
	if (unlikely(decision.flags & DECISION_EVENT))
		edge_report_wanted(skb, edge_tc_load, skb->ifindex, &decision);
	if ((decision.verdict == VERDICT_TX || decision.verdict == VERDICT_REDIRECT) &&
	    (decision.action >= ACTION_FIRST_MORE ? edge_tc_write_more(skb, &flow, &decision) :
						    edge_tc_write(skb, &flow, &decision)) < 0) {
		decision.verdict = VERDICT_DROP;
		decision.reason = DROP_room_failed;
		if (unlikely(config->trace))
			edge_tc_trace(skb, &flow, &decision);
	}
	edge_count(counters, &decision, length);
	if (decision.verdict == VERDICT_PASS)
		return TC_ACT_OK;
	if (decision.verdict >= VERDICT_DROP) /* or held */
		return TC_ACT_SHOT;
	return edge_tc_send(&decision);
}

/* --- the DNS cache -------------------------------------------------------------------------------------------------------- */

/* verifier: apart, for the stack */
__attribute__((noinline)) int edge_tc_dns_trace(struct __sk_buff *skb, const struct dns_scratch *scratch, uint32_t answers)
{
	struct packet packet = edge_tc_view(skb);
	struct decision decision = {0};
	struct flow flow = {0};

	if (!scratch || flow_parse(&packet, &flow))
		return -1;
	edge_dns_decided(scratch, edge_ingress(edge_table(edge_config), skb->ifindex, edge_clock_now()).ifindex, answers, &decision);
	return edge_tc_trace(skb, &flow, &decision);
}

PACKET_INLINE long edge_tc_store(void *skb, uint32_t offset, const void *bytes, uint32_t length)
{
	return bpf_skb_store_bytes(skb, offset, bytes, length, 0);
}

PACKET_INLINE int edge_tc_dns_length(struct __sk_buff *skb, uint32_t length)
{
	/* what was behind is in the linear part then: the answer is read and written in place */
	if (skb->len != length && bpf_skb_change_tail(skb, length, 0) < 0)
		return -1;
	return (int)bpf_skb_pull_data(skb, length);
}

/* As in edge_xdp_dns.h. */
__attribute__((noinline)) int edge_tc_dns_plain(struct __sk_buff *skb, const struct dns_entry *entry, uint32_t tail_at,
						uint32_t age_s, uint32_t turn)
{
	struct packet packet = edge_tc_view(skb);

	return entry && dns_plain_write(&packet, entry, tail_at, age_s, turn) ? 0 : -1;
}

__attribute__((noinline)) int edge_tc_dns_long(struct __sk_buff *skb, const struct dns_entry *entry, uint32_t tail_at,
					       uint32_t age_s, uint32_t turn)
{
	struct dns_access access = {0};
	struct packet packet;

	if (!entry || !edge_dns_copy_long(skb, edge_tc_store, &access, entry, tail_at))
		return -1;
	packet = edge_tc_view(skb);
	dns_long_write(&access, &packet, entry, tail_at, age_s);
	dns_turn(&packet, entry, tail_at, turn);
	return 0;
}

PACKET_INLINE int edge_tc_dns_tail(struct __sk_buff *skb, const struct dns_answer *answer)
{
	struct packet packet;

	if (answer->tail_length == 0)
		return 0;
	if (!answer->entry)
		return edge_dns_copy_zone(skb, edge_tc_store, answer) ? 0 : -1;
	if (likely(answer->entry->flags & DNS_ENTRY_SET)) {
		packet = edge_tc_view(skb);
		return dns_set_write(&packet, answer->entry, answer->tail_at, answer->age_s, answer->turn) ? 0 : -1;
	}
	if (dns_entry_is_plain(answer->entry))
		return edge_tc_dns_plain(skb, answer->entry, answer->tail_at, answer->age_s, answer->turn);
	return edge_tc_dns_long(skb, answer->entry, answer->tail_at, answer->age_s, answer->turn);
}

PACKET_INLINE bool edge_tc_dns_answer(struct __sk_buff *skb, struct dns_scratch *scratch, const struct dns_answer *answer,
				      uint32_t length)
{
	uint32_t checksum = scratch->l4_offset + (uint32_t)offsetof(struct udp_header, checksum);
	struct dns_exchange exchange;
	struct packet packet;

	if (edge_tc_dns_length(skb, answer->frame_length) < 0) {
		scratch->result = DNS_RESULT_NO_ROOM;
		return false;
	}
	if (edge_tc_dns_tail(skb, answer) < 0 || !dns_answer_whole(answer)) {
		scratch->result = DNS_RESULT_TORN;
		edge_tc_dns_length(skb, length);
		packet = edge_tc_view(skb);
		dns_undo(&packet, scratch);
		return false;
	}
	packet = edge_tc_view(skb);
	exchange = dns_write(&packet, scratch, answer);
	bpf_l4_csum_replace(skb, checksum, 0, checksum_fold(exchange.pseudo), BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
	bpf_l4_csum_replace(skb, checksum, 0, checksum_fold(exchange.direct), BPF_F_MARK_MANGLED_0);
	return true;
}

/* edge_tc goes on here (edge_tails.h). */
SEC("tc")
int edge_tc_dns(struct __sk_buff *skb)
{
	struct edge_counters *counters = edge_counters_get();
	struct edge_tables tables = edge_tables_get();
	uint32_t length = skb->len;
	struct dns_answer answer; /* written when there is one */
	struct dns_scratch *scratch;
	struct dns_access access = {0};
	struct packet packet = edge_tc_view(skb);

	if (!counters)
		return TC_ACT_SHOT;
	scratch = &counters->dns;
	if (!dns_decide(&access, tables.dns, &packet, scratch, &answer)) {
		if (unlikely(tables.config->trace))
			edge_tc_dns_trace(skb, scratch, 0);
		edge_dns_count(counters, scratch, false, length);
		return TC_ACT_OK;
	}
	if (unlikely(tables.config->trace))
		edge_tc_dns_trace(skb, scratch, 1);
	if (!edge_tc_dns_answer(skb, scratch, &answer, length)) {
		edge_dns_count(counters, scratch, false, length);
		return TC_ACT_OK;
	}
	edge_dns_count(counters, scratch, true, length);
	return (int)bpf_redirect(skb->ifindex, 0);
}

/* --- delivery, clocks --------------------------------------------------------------------------------------------------- */

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

/* Not attached: run by user space, which must date what it writes by the programs' own clock. */
SEC("tc")
int edge_clock(struct __sk_buff *skb)
{
	return (int)edge_clock_now().epoch;
}

SEC("tc")
int edge_clock_tick(struct __sk_buff *skb)
{
	return (int)edge_clock_now().now_ms;
}

char _license[] SEC("license") = "GPL";

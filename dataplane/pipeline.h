/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packet program over an mbuf: what a worker of selvage-dpdk and the DPDK engine of replay both run. Fetch, make room,
 * count; sending is the caller's. One thread for each set of counters.
 */
#pragma once

#include <rte_mbuf.h>

#include "edge/edge_event.h"
#include "edge/edge_dns.h"
#include "edge/edge_hold.h"

/*
 * So much of a packet lies in its first segment before it is looked at: all that packet_header() reaches and what is copied of a
 * datagram (edge_copy_length()) behind headers of usual length, so that a packet in several segments fares as one in a single one does.
 * What lies behind is packet.beyond.
 */
#define PIPELINE_LINEAR (STUN_COPY_MAX + 256u)
_Static_assert(PIPELINE_LINEAR >= PACKET_OFFSET_MAX + 1u + 64u, "what packet_header() reaches");

/* Brings bytes of later segments into the first one until it holds `wanted` or all; false when it has no room for them. */
static inline bool pipeline_gather(struct rte_mbuf *mbuf, uint32_t wanted)
{
	while (mbuf->data_len < wanted && mbuf->next) {
		struct rte_mbuf *next = mbuf->next;
		uint16_t take = (uint16_t)RTE_MIN(wanted - mbuf->data_len, (uint32_t)next->data_len);

		if (rte_pktmbuf_tailroom(mbuf) < take)
			return false;
		rte_memcpy(rte_pktmbuf_mtod_offset(mbuf, uint8_t *, mbuf->data_len), rte_pktmbuf_mtod(next, uint8_t *), take);
		mbuf->data_len = (uint16_t)(mbuf->data_len + take);
		next->data_off = (uint16_t)(next->data_off + take);
		next->data_len = (uint16_t)(next->data_len - take);
		if (next->data_len == 0) {
			mbuf->next = next->next;
			mbuf->nb_segs--;
			rte_pktmbuf_free_seg(next);
		}
	}
	return true;
}

static inline struct packet pipeline_view(const struct rte_mbuf *mbuf)
{
	uint8_t *data = rte_pktmbuf_mtod(mbuf, uint8_t *);

	return (struct packet){data, data + mbuf->data_len, mbuf->pkt_len - mbuf->data_len};
}

/* Takes away what is behind the first `keep` bytes; false when the first segment has no room for them. */
static inline bool pipeline_cut(struct rte_mbuf *mbuf, uint32_t keep)
{
	if (!pipeline_gather(mbuf, keep))
		return false;
	rte_pktmbuf_free(mbuf->next);
	mbuf->next = NULL;
	mbuf->nb_segs = 1;
	mbuf->data_len = (uint16_t)keep;
	mbuf->pkt_len = keep;
	return true;
}

/* Moves the packet's start; false when there is no place for it. */
static inline bool pipeline_make_room(struct rte_mbuf *mbuf, int32_t room)
{
	if (room >= 0)
		return rte_pktmbuf_prepend(mbuf, (uint16_t)room) != NULL;
	return -room < mbuf->data_len && rte_pktmbuf_adj(mbuf, (uint16_t)-room) != NULL;
}

/* Puts a fragment aside until its first one comes; no longer than a slot, or it would not have been told to wait. */
static __rte_noinline void pipeline_hold(const struct edge_tables *tables, const struct rte_mbuf *mbuf,
					 const struct decision *decision)
{
	uint8_t buffer[LB_HOLD_BYTES];
	const uint8_t *bytes = rte_pktmbuf_read(mbuf, 0, mbuf->pkt_len, buffer);

	if (bytes)
		edge_hold_write(tables, decision, bytes);
}

/* Tells user space of a packet, as it came, and of what was decided. */
typedef void pipeline_report(void *context, enum edge_event_kind kind, uint32_t ifindex, const struct rte_mbuf *mbuf,
			     const struct decision *decision);

/* Gives a packet in one segment another length at its end; false when there is no room. */
static inline bool pipeline_resize(struct rte_mbuf *mbuf, uint32_t length)
{
	if (mbuf->next)
		return false;
	if (length > mbuf->data_len)
		return rte_pktmbuf_append(mbuf, (uint16_t)(length - mbuf->data_len)) != NULL;
	return rte_pktmbuf_trim(mbuf, (uint16_t)(mbuf->data_len - length)) == 0;
}

static __rte_noinline void pipeline_dns_decide(const struct edge_tables *tables, const struct edge_ingress *ingress,
					       const struct rte_mbuf *mbuf, const struct flow *flow,
					       struct dns_answer *ret_answer, struct decision *decision)
{
	struct packet packet = pipeline_view(mbuf);

	edge_dns_decide(tables, &packet, ingress, flow, ret_answer, decision);
}

/* The answer in the query's place; what cannot be so passes. */
static __rte_noinline void pipeline_dns_write(const struct edge_tables *tables, struct rte_mbuf *mbuf,
					      const struct dns_answer *answer, struct decision *decision)
{
	uint32_t length = mbuf->pkt_len;
	struct packet packet;

	if (!pipeline_resize(mbuf, answer->frame_length)) {
		edge_dns_pass(tables, DNS_RESULT_NO_ROOM, decision);
		return;
	}
	packet = pipeline_view(mbuf);
	if (edge_dns_write(tables, &packet, answer))
		return;
	pipeline_resize(mbuf, length); /* it had so many bytes before */
	packet = pipeline_view(mbuf);
	edge_dns_undo(tables, &packet, decision);
}

/*
 * Judges the packet, rewrites it when it leaves, and counts it. `report` NULL: nobody wants to hear. The verdict in
 * `decision`, which must be zero, is the host's last word.
 */
static __rte_always_inline void pipeline_run(const struct edge_tables *tables, const struct edge_ingress *ingress,
					     struct rte_mbuf *mbuf, pipeline_report *report, void *context,
					     struct decision *decision)
{
	uint32_t length = mbuf->pkt_len;
	struct dns_answer answer; /* only with ACTION_DNS */
	struct flow flow = {0};
	struct packet packet;

	if (unlikely(mbuf->next) && !pipeline_gather(mbuf, PIPELINE_LINEAR)) {
		decision->verdict = VERDICT_DROP;
		decision->reason = DROP_room_failed;
		edge_count(tables->counters, decision, length);
		return;
	}
	packet = pipeline_view(mbuf);
	edge_decide(tables, &packet, ingress, &flow, decision);
	if (unlikely(decision->action == ACTION_DNS))
		pipeline_dns_decide(tables, ingress, mbuf, &flow, &answer, decision);
	if (report && unlikely(edge_trace_wanted(tables->config, &flow, decision)))
		report(context, EDGE_EVENT_TRACE, ingress->ifindex, mbuf, decision);
	if (unlikely(decision->verdict == VERDICT_HOLD))
		pipeline_hold(tables, mbuf, decision);
	if (report && unlikely(decision->flags & DECISION_EVENT))
		report(context, decision->flags & DECISION_FRAGMENT ? EDGE_EVENT_FRAGMENT : EDGE_EVENT_NEIGHBOUR, ingress->ifindex,
		       mbuf, decision);
	if (unlikely(decision->action == ACTION_DNS)) {
		pipeline_dns_write(tables, mbuf, &answer, decision);
	} else if (decision->verdict == VERDICT_TX || decision->verdict == VERDICT_REDIRECT) {
		uint32_t keep = edge_keep(&flow, decision);

		if ((unlikely(keep && keep < length) && !pipeline_cut(mbuf, keep)) ||
		    (unlikely(decision->room != 0) && !pipeline_make_room(mbuf, decision->room))) {
			decision->verdict = VERDICT_DROP;
			decision->reason = DROP_room_failed;
			if (report && unlikely(edge_trace_wanted(tables->config, &flow, decision)))
				report(context, EDGE_EVENT_TRACE, ingress->ifindex, mbuf, decision);
		} else {
			packet = pipeline_view(mbuf);
			edge_rewrite(tables, &packet, &flow, decision);
		}
	}
	edge_count(tables->counters, decision, length);
}

/* --- looking ahead ------------------------------------------------------------------------------------------------------- */

/*
 * How many packets before a packet's turn something is asked for on its behalf: its first line, its places in the tables of flows;
 * and of a call's, the set of its shortcut, and when that is here, the lines of the session that it leads to.
 */
#define PIPELINE_AHEAD 4u
#define PIPELINE_AHEAD_FLOWS 2u
#define PIPELINE_AHEAD_SETS 12u
#define PIPELINE_AHEAD_SESSIONS 6u
#define PIPELINE_HASHES 16u /* a power of two */
_Static_assert(PIPELINE_HASHES > PIPELINE_AHEAD_SETS, "a hash is there until it is asked for the session");

/*
 * What a worker expects of its next burst, from what the last one was like, and remembers while it goes through one. Zero to begin
 * with.
 */
struct pipeline_ahead {
	bool floods; /* packets that begin flows: these go to random places of two tables that no cache holds */
	bool calls;  /* packets of calls: these go to a session, which is one of very many perhaps */
	uint16_t new_flows; /* of this burst so far */
	uint16_t call_packets;
	uint32_t hashes[PIPELINE_HASHES]; /* rtc_shortcut_hash() of the packets to come, by their number in the burst; 0: of none */
};

/* Notes what became of a packet. */
static __rte_always_inline void pipeline_note(struct pipeline_ahead *ahead, const struct decision *decision)
{
	ahead->new_flows += (decision->flags & DECISION_NEW_FLOW) != 0;
	ahead->call_packets += decision->function == FUNCTION_RTC;
}

/* A burst of `count` is over: the next one is worth a look into tables if every fourth packet of this one was. */
static __rte_always_inline void pipeline_expect(struct pipeline_ahead *ahead, uint16_t count)
{
	ahead->floods = ahead->new_flows * 4 > count;
	ahead->calls = ahead->call_packets * 4 > count;
	ahead->new_flows = ahead->call_packets = 0;
}

/*
 * What a plain packet's headers say of where its places in the tables are; false: it is none. This is a guess: whether they are as
 * they should be is looked at in the packet's turn.
 */
static __rte_always_inline bool pipeline_peek(const struct rte_mbuf *mbuf, struct flow *ret_flow)
{
	const struct ethernet_header *ethernet = rte_pktmbuf_mtod(mbuf, const struct ethernet_header *);
	const struct ipv4_header *ipv4 = (const struct ipv4_header *)(ethernet + 1);
	const struct ipv6_header *ipv6 = (const struct ipv6_header *)(ethernet + 1);
	const struct be16 *ports;

	if (unlikely(mbuf->data_len <= sizeof(*ethernet) + sizeof(*ipv6) + sizeof(struct udp_header)))
		return false; /* IPv4 with next to no data, too: it can wait */
	if (ethernet->ethertype.raw == BE16(ETHERTYPE_IPV6)) {
		ret_flow->network = FLOW_IPV6;
		ret_flow->protocol = ipv6->next_header;
		ret_flow->source = address_from_wire6(ipv6->source);
		ret_flow->destination = address_from_wire6(ipv6->destination);
		ports = (const struct be16 *)(ipv6 + 1);
	} else {
		if (ethernet->ethertype.raw != BE16(ETHERTYPE_IPV4) || ipv4->version_ihl != 0x45)
			return false;
		ret_flow->network = FLOW_IPV4;
		ret_flow->protocol = ipv4->protocol;
		ret_flow->source = address_from_ipv4(ipv4->source.raw);
		ret_flow->destination = address_from_ipv4(ipv4->destination.raw);
		ports = (const struct be16 *)(ipv4 + 1);
	}
	ret_flow->source_port = ports[0];
	ret_flow->destination_port = ports[1];
	ret_flow->l4_offset = (uint16_t)((const uint8_t *)ports - (const uint8_t *)ethernet);
	return true;
}

/* Asks for the lines of the filter and of the flow table that a client's packet will need. */
static __rte_always_inline void pipeline_prefetch_flow(const struct edge_tables *tables, const struct rte_mbuf *mbuf)
{
	struct flow flow;
	uint64_t hash;

	if (!pipeline_peek(mbuf, &flow) || (flow.protocol != PROTOCOL_UDP && flow.protocol != PROTOCOL_TCP))
		return;
	hash = lb_flow_hash(tables->lb->hash_seed, &flow.source, flow.source_port, &flow.destination, flow.destination_port,
			    flow.protocol, flow.network == FLOW_IPV6);
	rte_prefetch0(tables->filter->sets[lb_filter_set(hash)]);
	rte_prefetch0(lb_flow_bucket(tables->flows, hash));
}

/* Asks for the set of shortcuts of what looks like a call's packet. Its hash, 0: it does not. */
static __rte_always_inline uint32_t pipeline_prefetch_set(const struct edge_tables *tables, const struct rte_mbuf *mbuf,
							  uint32_t calls)
{
	struct flow flow;
	uint32_t hash;

	if (!pipeline_peek(mbuf, &flow) || flow.protocol != PROTOCOL_UDP ||
	    *rte_pktmbuf_mtod_offset(mbuf, const uint8_t *, flow.l4_offset + sizeof(struct udp_header)) >> 6 != 2)
		return 0;
	hash = rtc_shortcut_hash(tables->lb->hash_seed, calls, &flow);
	rte_prefetch0(rtc_shortcut_set(tables->index, hash));
	return hash;
}

/* Asks for the lines of the session that a shortcut leads to: its own, and its direction's. */
static __rte_always_inline void pipeline_prefetch_session(const struct edge_tables *tables, uint32_t hash)
{
	uint32_t word = hash ? rtc_shortcut_look(tables->index, hash) : 0;
	const struct rtc_session *session = rtc_session_at(tables->sessions, word & RTC_INDEX_ROW_MASK);

	if (word == 0)
		return;
	rte_prefetch0(session);
	rte_prefetch0((word >> RTC_SHORTCUT_PATH_SHIFT & 3) == RTC_PATHS ? &session->down : &session->up);
}

/* Which packets of a burst are so many ahead of `next` for the first time: all up to there before the first one. */
#define PIPELINE_EACH_AHEAD(i, next, ahead, count) \
	for (uint32_t i = (next) ? (next) + (ahead) : 0; i <= (next) + (ahead) && i < (count); i++)

/* Asks for the first lines of the packets of a burst that come next, before packet `next` is handled. */
static __rte_always_inline void pipeline_prefetch_frames(struct rte_mbuf **packets, uint16_t count, uint16_t next)
{
	PIPELINE_EACH_AHEAD(i, next, PIPELINE_AHEAD, count)
		rte_prefetch0(rte_pktmbuf_mtod(packets[i], void *));
}

/* The same, and for what they will need of the tables, as far as that is expected to be worth it. */
static __rte_always_inline void pipeline_prefetch(struct pipeline_ahead *ahead, const struct edge_tables *tables,
						  struct rte_mbuf **packets, uint16_t count, uint16_t next)
{
	uint32_t calls;

	if (likely(!ahead->calls)) {
		pipeline_prefetch_frames(packets, count, next);
	} else {
		calls = load_once(tables->config->calls);
		PIPELINE_EACH_AHEAD(i, next, PIPELINE_AHEAD_SETS + PIPELINE_AHEAD, count)
			rte_prefetch0(rte_pktmbuf_mtod(packets[i], void *));
		PIPELINE_EACH_AHEAD(i, next, PIPELINE_AHEAD_SETS, count)
			ahead->hashes[i & (PIPELINE_HASHES - 1)] = pipeline_prefetch_set(tables, packets[i], calls);
		PIPELINE_EACH_AHEAD(i, next, PIPELINE_AHEAD_SESSIONS, count)
			pipeline_prefetch_session(tables, ahead->hashes[i & (PIPELINE_HASHES - 1)]);
	}
	if (unlikely(ahead->floods)) {
		PIPELINE_EACH_AHEAD(i, next, PIPELINE_AHEAD_FLOWS, count)
			pipeline_prefetch_flow(tables, packets[i]);
	}
}

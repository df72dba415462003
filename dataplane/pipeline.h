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

#define PIPELINE_AHEAD 4u /* packets whose first line is asked for while another is handled */

#define PIPELINE_TABLES_AHEAD 2u /* packets whose places in the tables are */

/*
 * Asks for the lines of the filter and of the flow table that a packet will need, if it is a client's and a plain one; what it
 * guesses wrongly costs two lines. Packets that begin flows go to random places of two tables that no cache holds, and where those
 * are is known from their headers alone; for others it would be a waste (pipeline_floods()).
 */
static __rte_always_inline void pipeline_prefetch_flow(const struct edge_tables *tables, const struct rte_mbuf *mbuf)
{
	const struct ethernet_header *ethernet = rte_pktmbuf_mtod(mbuf, const struct ethernet_header *);
	const struct ipv4_header *ipv4 = (const struct ipv4_header *)(ethernet + 1);
	const struct ipv6_header *ipv6 = (const struct ipv6_header *)(ethernet + 1);
	struct address source, destination;
	const struct be16 *ports;
	uint8_t protocol;
	uint64_t hash;
	bool is_ipv6;

	if (unlikely(mbuf->data_len < sizeof(*ethernet) + sizeof(*ipv6) + 4))
		return; /* IPv4 without data, too: it can wait */
	is_ipv6 = ethernet->ethertype.raw == BE16(ETHERTYPE_IPV6);
	if (is_ipv6) {
		protocol = ipv6->next_header;
		source = address_from_wire6(ipv6->source);
		destination = address_from_wire6(ipv6->destination);
		ports = (const struct be16 *)(ipv6 + 1);
	} else {
		if (ethernet->ethertype.raw != BE16(ETHERTYPE_IPV4) || ipv4->version_ihl != 0x45)
			return;
		protocol = ipv4->protocol;
		source = address_from_ipv4(ipv4->source.raw);
		destination = address_from_ipv4(ipv4->destination.raw);
		ports = (const struct be16 *)(ipv4 + 1);
	}
	if (protocol != PROTOCOL_UDP && protocol != PROTOCOL_TCP)
		return;
	hash = lb_flow_hash(tables->lb->hash_seed, &source, ports[0], &destination, ports[1], protocol, is_ipv6);
	rte_prefetch0(tables->filter->sets[lb_filter_set(hash)]);
	rte_prefetch0(lb_flow_bucket(tables->flows, hash));
}

/* Whether so many of a burst began flows that the next one is worth a look ahead into the tables. */
static __rte_always_inline bool pipeline_floods(uint32_t new_flows, uint16_t count)
{
	return new_flows * 4 > count;
}

/*
 * Asks for what the packets of a burst that come next will need, before packet `next` is handled: their first bytes, and when
 * those are here, their places in the tables (`tables` NULL: not these).
 */
static __rte_always_inline void pipeline_prefetch(const struct edge_tables *tables, struct rte_mbuf **packets, uint16_t count,
						  uint16_t next)
{
	for (uint32_t i = next ? next + PIPELINE_AHEAD : 0; i <= next + PIPELINE_AHEAD && i < count; i++)
		rte_prefetch0(rte_pktmbuf_mtod(packets[i], void *));
	for (uint32_t i = next ? next + PIPELINE_TABLES_AHEAD : 0; tables && i <= next + PIPELINE_TABLES_AHEAD && i < count; i++)
		pipeline_prefetch_flow(tables, packets[i]);
}

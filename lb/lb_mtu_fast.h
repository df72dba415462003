/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A packet that is longer than the link that it would leave by takes. Who forbids fragments (IPv4 with DF, IPv6) is told how
 * long it may be, from the virtual IP's address: fragmentation needed (RFC 1191), packet too big (RFC 4443 section 3.2). Others'
 * packets are dropped and counted: this node makes no fragments.
 *
 * The answer quotes the packet as it came. It is as long as every host must take: 576 bytes (RFC 1812 section 4.3.2.3) or
 * 1280. Links are taken to be no narrower (LB_MTU_LEAST_IPV4, LB_MTU_LEAST_IPV6), so what does not fit is long enough to
 * quote from, and lengths are constant.
 */
#pragma once

#include "lb/lb_fast.h"

#define LB_QUOTE_IPV4 548u  /* 576 less headers */
#define LB_QUOTE_IPV6 1232u /* 1280 less headers */
#define LB_TOO_BIG_HOP_LIMIT 64
#define LB_TOS_CONTROL 0xc0 /* internetwork control (RFC 1812 section 4.3.2.5) */

/*
 * Goes on from a decision to send. `segment`: bytes of data in each of the segments that a large one from a local workload is
 * cut into before it leaves, 0 for packets that are whole. `link_mac`: of the link that it came by, `ifindex`.
 */
PACKET_INLINE void lb_too_big_decide(const struct packet *packet, const struct flow *flow, uint32_t mtu, uint32_t segment,
				     uint32_t ifindex, uint64_t link_mac, struct decision *decision)
{
	const struct ethernet_header *ethernet = packet_header(packet, 0, sizeof(*ethernet));
	uint32_t headers = (uint32_t)(flow->l4_offset - flow->l3_offset) + (uint32_t)sizeof(struct udp_header);

	decision->flags &= (uint8_t)~DECISION_MORE;
	if (!ethernet)
		return;
	if (flow->protocol == PROTOCOL_TCP) {
		const struct tcp_header *tcp = packet_header(packet, flow->l4_offset, sizeof(*tcp));

		headers = (uint32_t)(flow->l4_offset - flow->l3_offset) + (tcp ? tcp->data_offset >> 4 : 15u) * 4;
	}
	if (segment && headers + segment <= mtu)
		return;
	if (flow->flags & FLOW_UNWRAPPED) { /* the way back to the client is not the one that it came by */
		decision->action = ACTION_NONE;
		lb_drop(decision, DROP_mtu_exceeded);
		return;
	}
	if (flow->network == FLOW_IPV4) {
		const struct ipv4_header *ipv4 = packet_header(packet, flow->l3_offset, sizeof(*ipv4));

		if (!ipv4 || !(be16_get(ipv4->fragment) & IPV4_DONT_FRAGMENT)) {
			decision->action = ACTION_NONE;
			lb_drop(decision, DROP_mtu_exceeded);
			return;
		}
	}
	/* The virtual IP: what the client sent to, or what the answer would have come from. */
	if (decision->action != ACTION_NAT_REVERSE)
		decision->address = flow->destination;
	decision->verdict = VERDICT_TX;
	decision->action = ACTION_TOO_BIG;
	decision->backend = 0; /* nothing goes there */
	decision->ifindex = ifindex;
	decision->port = be16_from((uint16_t)mtu);
	decision->room = (int8_t)((flow->network == FLOW_IPV4 ? sizeof(struct ipv4_header) : sizeof(struct ipv6_header)) +
				  sizeof(struct icmp_header));
	decision->egress = (struct egress){.destination_mac = mac_word(ethernet->source), .source_mac = link_mac};
}

/* How many of the frame's bytes stay for the answer; the host takes the rest away before it makes room. */
PACKET_INLINE uint32_t lb_too_big_keep(const struct flow *flow)
{
	return flow->l3_offset + (flow->network == FLOW_IPV4 ? LB_QUOTE_IPV4 : LB_QUOTE_IPV6);
}

/* Sums 4-byte words. verifier: `bytes` were checked as a whole */
PACKET_INLINE uint64_t lb_quote_sum(const uint8_t *bytes, uint32_t length)
{
	uint64_t sum = 0;

	for (uint32_t at = 0; at < length; at += 4)
		sum += unaligned(uint32_t, bytes + at);
	return sum;
}

PACKET_INLINE void lb_too_big_write_ipv4(const struct packet *packet, const struct flow *flow, const struct decision *decision)
{
	static const uint32_t length = sizeof(struct ipv4_header) + sizeof(struct icmp_header) + LB_QUOTE_IPV4;
	struct ipv4_header *ipv4 = packet_header(packet, flow->l3_offset, length);
	struct icmp_header *icmp;

	if (!ipv4 || !flow_link_write(packet, &decision->egress, flow->tags, flow->l3_offset, BE16(ETHERTYPE_IPV4)))
		return;
	ipv4->version_ihl = 0x45;
	ipv4->tos = LB_TOS_CONTROL;
	ipv4->total_length.raw = BE16(length);
	ipv4->identification.raw = 0; /* never a fragment (RFC 6864 section 4.1) */
	ipv4->fragment.raw = BE16(IPV4_DONT_FRAGMENT);
	ipv4->ttl = LB_TOO_BIG_HOP_LIMIT;
	ipv4->protocol = PROTOCOL_ICMP;
	ipv4->checksum = 0;
	ipv4->source.raw = address_ipv4(&decision->address);
	ipv4->destination.raw = address_ipv4(&flow->source);
	ipv4->checksum = (uint16_t)~checksum_fold(lb_quote_sum((uint8_t *)ipv4, sizeof(*ipv4)));
	icmp = (struct icmp_header *)(ipv4 + 1);
	icmp->type = ICMP_UNREACHABLE;
	icmp->code = ICMP_FRAGMENTATION_NEEDED;
	icmp->checksum = 0;
	icmp->identifier.raw = 0;
	icmp->sequence = decision->port; /* RFC 1191 section 4: the next hop's MTU */
	icmp->checksum = (uint16_t)~checksum_fold(lb_quote_sum((uint8_t *)icmp, sizeof(*icmp) + LB_QUOTE_IPV4));
}

PACKET_INLINE void lb_too_big_write_ipv6(const struct packet *packet, const struct flow *flow, const struct decision *decision)
{
	static const uint32_t payload = sizeof(struct icmp_header) + LB_QUOTE_IPV6;
	struct ipv6_header *ipv6 = packet_header(packet, flow->l3_offset, sizeof(*ipv6) + payload);
	struct icmp_header *icmp;
	uint64_t sum;

	if (!ipv6 || !flow_link_write(packet, &decision->egress, flow->tags, flow->l3_offset, BE16(ETHERTYPE_IPV6)))
		return;
	ipv6->version_class_label = be32_from(6u << 28 | LB_TOS_CONTROL << 20);
	ipv6->payload_length.raw = BE16(payload);
	ipv6->next_header = PROTOCOL_ICMPV6;
	ipv6->hop_limit = LB_TOO_BIG_HOP_LIMIT;
	address_to_wire6(ipv6->source, &decision->address);
	address_to_wire6(ipv6->destination, &flow->source);
	icmp = (struct icmp_header *)(ipv6 + 1);
	icmp->type = ICMPV6_PACKET_TOO_BIG;
	icmp->code = 0;
	icmp->checksum = 0;
	icmp->identifier.raw = 0;
	icmp->sequence = decision->port; /* the low half of the 32-bit MTU */
	sum = lb_quote_sum((uint8_t *)icmp, payload) + checksum_address(&decision->address) + checksum_address(&flow->source) +
	      BE16(payload) + BE16(PROTOCOL_ICMPV6);
	icmp->checksum = (uint16_t)~checksum_fold(sum);
}

PACKET_INLINE void lb_too_big_write(const struct packet *packet, const struct flow *flow, const struct decision *decision)
{
	if (flow->network == FLOW_IPV4)
		lb_too_big_write_ipv4(packet, flow, decision);
	else
		lb_too_big_write_ipv6(packet, flow, decision);
}

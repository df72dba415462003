/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A virtual IP answers for itself: ARP (RFC 826, RFC 5227), neighbour discovery (RFC 4861), echo (RFC 1122 section 3.2.2.6,
 * RFC 4443 section 4.2). vip_*_decide() judge, vip_*_write() write the answer after the host made room.
 */
#pragma once

#include "base/packet/checksum.h"
#include "base/packet/flow.h"
#include "base/packet/link.h"
#include "vip/vip_state.h"

#define VIP_ECHO_HOP_LIMIT 64
#define VIP_ND_MESSAGE_MAX 88u /* message and 64 bytes of options; verifier: a bound for the checksum loop */

PACKET_INLINE uint32_t vip_row_find(const struct vip_tables *tables, const struct address *address, uint32_t ipv6)
{
	struct directory_key key = vip_key(address, ipv6);

	return DIRECTORY_FIND(&tables->directory, VIP_DIRECTORY_BITS, &key);
}

/* The row of a virtual IP, NULL when the address is none. */
PACKET_INLINE const struct vip_row *vip_find(const struct vip_tables *tables, const struct address *address, bool ipv6)
{
	uint32_t row = vip_row_find(tables, address, ipv6);

	return row ? &tables->rows[row & (VIP_ROWS - 1)] : NULL;
}

PACKET_INLINE void vip_drop(struct decision *decision, enum drop_reason reason)
{
	decision->function = FUNCTION_VIP;
	decision->verdict = VERDICT_DROP;
	decision->reason = (uint8_t)reason;
}

PACKET_INLINE void vip_answer(struct decision *decision, enum action action, const struct link_row *link)
{
	decision->function = FUNCTION_VIP;
	decision->verdict = VERDICT_TX;
	decision->action = (uint8_t)action;
	decision->ifindex = link->ifindex;
	decision->egress.source_mac = link->mac;
}

/*
 * Whether this node answers for the virtual IP on the link. On a NIC, one that it does not answer for stays silent; on a
 * workload's veth, where nothing is announced, the host may know better (a bridge to the LAN): pass.
 */
PACKET_INLINE bool vip_answers(const struct vip_row *vip, const struct link_row *link, struct decision *decision)
{
	if (vip->links & link->announce)
		return true;
	if (!(link->flags & LINK_WORKLOAD))
		vip_drop(decision, DROP_vip_not_owned);
	return false;
}

/* Packets that are not about a virtual IP keep the decision as it is: pass. */
PACKET_INLINE void vip_arp_decide(const struct packet *packet, const struct flow *flow, const struct vip_tables *tables,
				  const struct link_row *link, struct decision *decision)
{
	const struct arp_packet *arp = packet_header(packet, flow->l3_offset, sizeof(*arp));
	struct address sender, target;
	const struct vip_row *vip;

	if (!arp) {
		vip_drop(decision, DROP_arp_short);
		return;
	}
	if (arp->hardware_type.raw != BE16(1) || arp->protocol_type.raw != BE16(ETHERTYPE_IPV4) ||
	    arp->hardware_length != 6 || arp->protocol_length != 4)
		return;
	sender = address_from_ipv4(arp->sender_ip.raw);
	target = address_from_ipv4(arp->target_ip.raw);
	/* RFC 5227 section 2.4: a sender address that is ours, with a foreign hardware address, is a conflict. */
	vip = vip_find(tables, &sender, false);
	if (vip && vip->links & link->announce && mac_word(arp->sender_mac) != link->mac) {
		vip_drop(decision, DROP_arp_conflict);
		return;
	}
	vip = vip_find(tables, &target, false);
	if (!vip || arp->operation.raw != BE16(ARP_REQUEST))
		return;
	if (!vip_answers(vip, link, decision))
		return;
	if (mac_is_group(arp->sender_mac))
		vip_drop(decision, DROP_arp_sender_invalid);
	else
		vip_answer(decision, ACTION_ARP_REPLY, link);
}

PACKET_INLINE void vip_arp_write(const struct packet *packet, const struct flow *flow, const struct decision *decision)
{
	struct ethernet_header *ethernet = packet_header(packet, 0, sizeof(*ethernet));
	struct arp_packet *arp = packet_header(packet, flow->l3_offset, sizeof(*arp));
	struct be32 virtual_ip;

	if (!ethernet || !arp)
		return;
	/* To the sender that the packet names, whoever carried it here (RFC 826, "Packet Reception"). */
	mac_store(ethernet->destination, mac_word(arp->sender_mac));
	mac_store(ethernet->source, decision->egress.source_mac);
	virtual_ip = arp->target_ip;
	arp->operation = (struct be16){BE16(ARP_REPLY)};
	mac_store(arp->target_mac, mac_word(arp->sender_mac));
	arp->target_ip = arp->sender_ip;
	mac_store(arp->sender_mac, decision->egress.source_mac);
	arp->sender_ip = virtual_ip;
}

/* ff02::1:ff00:0/104 with the address' last 24 bits (RFC 4291 section 2.7.1). */
PACKET_INLINE struct address vip_solicited_node(const struct address *address)
{
	return (struct address){{0x00000000000002ffull, (address->word[1] & 0xffffff0000000000ull) | 0xff01000000ull}};
}

/* Sums `length` bytes of the message; false when they are not all there or too many. */
PACKET_INLINE bool vip_nd_sum(const struct packet *packet, uint32_t offset, uint32_t length, uint64_t *sum)
{
	if (length > VIP_ND_MESSAGE_MAX || length & 1)
		return false;
	for (uint32_t i = 0; i < VIP_ND_MESSAGE_MAX; i += 2) {
		const uint16_t *word;

		if (i >= length)
			break;
		word = packet_header(packet, offset + i, 2);
		if (!word)
			return false;
		*sum += *word;
	}
	return true;
}

#define VIP_ND_OPTION_FOUND (1ull << 48)

/*
 * Walks the options; VIP_ND_OPTION_FOUND | mac_word() of a source link-layer address among them, 0 for none. `ret_valid` is
 * false for an option of length zero or one behind the end (RFC 4861 section 4.6).
 */
PACKET_INLINE uint64_t vip_nd_source_option(const struct packet *packet, uint32_t offset, uint32_t length, bool *ret_valid)
{
	uint64_t found = 0;

	*ret_valid = true;
	for (uint32_t i = 0; i < (VIP_ND_MESSAGE_MAX - sizeof(struct nd_message)) / 8; i++) {
		const struct nd_link_option *option;

		if (length == 0)
			return found;
		option = packet_header(packet, offset, sizeof(*option));
		if (!option || option->length == 0 || option->length * 8u > length) {
			*ret_valid = false;
			return found;
		}
		if (option->type == ND_OPTION_SOURCE_LINK_ADDRESS)
			found = VIP_ND_OPTION_FOUND | mac_word(option->mac);
		offset += option->length * 8u;
		length -= option->length * 8u;
	}
	return found;
}

/* RFC 4861 section 7.1.1, in its order. `ret_source` is vip_nd_source_option()'s. */
PACKET_INLINE enum drop_reason vip_nd_check(const struct packet *packet, const struct flow *flow,
					    const struct nd_message *message, const struct address *target,
					    uint64_t *ret_source)
{
	struct address group = vip_solicited_node(target);
	uint64_t sum = checksum_address(&flow->source) + checksum_address(&flow->destination) +
		       __builtin_bswap16(flow->l4_length) + BE16(PROTOCOL_ICMPV6);
	uint32_t options = flow->l4_length - (uint32_t)sizeof(*message);
	uint64_t source_option;
	bool valid;

	if (flow->hop_limit != 255)
		return DROP_nd_hop_limit;
	if (flow->l4_length > VIP_ND_MESSAGE_MAX)
		return DROP_nd_option_limit;
	if (message->code != 0 || flow->l4_length & 7)
		return DROP_nd_malformed;
	if (!vip_nd_sum(packet, flow->l4_offset, flow->l4_length, &sum) || checksum_fold(sum) != 0xffff)
		return DROP_nd_checksum;
	source_option = vip_nd_source_option(packet, flow->l4_offset + (uint32_t)sizeof(*message), options, &valid);
	if (!valid)
		return DROP_nd_malformed;
	if (address_is_zero(&flow->source) && (source_option || !address_equal(&flow->destination, &group)))
		return DROP_nd_source;
	*ret_source = source_option;
	return DROP_NONE;
}

PACKET_INLINE void vip_nd_decide(const struct packet *packet, const struct flow *flow, const struct vip_tables *tables,
				 const struct link_row *link, struct decision *decision)
{
	const struct ethernet_header *ethernet = packet_header(packet, 0, sizeof(*ethernet));
	const struct nd_message *message = packet_header(packet, flow->l4_offset, sizeof(*message));
	const struct vip_row *vip;
	struct address target;
	enum drop_reason reason;
	uint32_t frame, answer;
	uint64_t source = 0;

	if (!ethernet || !message || flow->l4_length < sizeof(*message))
		return; /* too short to name a target: the host's to judge */
	target = address_from_wire6(message->target);
	vip = vip_find(tables, &target, true);
	if (!vip)
		return;
	if (!vip_answers(vip, link, decision))
		return;
	if (message->type == ICMPV6_NEIGHBOUR_ADVERTISEMENT) {
		vip_drop(decision, DROP_nd_conflict);
		return;
	}
	reason = vip_nd_check(packet, flow, message, &target, &source);
	if (reason) {
		vip_drop(decision, reason);
		return;
	}
	vip_answer(decision, ACTION_ND_ADVERTISE, link);
	/* To the address that the asker names (RFC 4861 section 7.2.3), whoever carried the question; it cannot be a group's. */
	decision->egress.destination_mac = source && !(source & 1) ? source & MAC_WORD_MASK : mac_word(ethernet->source);
	decision->address = target;
	frame = (uint32_t)packet_length(packet);
	answer = flow->l3_offset + (uint32_t)(sizeof(struct ipv6_header) + sizeof(*message) + sizeof(struct nd_link_option));
	if (frame > answer + 120) { /* trailing bytes behind the message, more than the room's number holds */
		vip_drop(decision, DROP_nd_option_limit);
		return;
	}
	/* Even, so that headers stay aligned: behind an odd number of trailing bytes one of them stays, as padding. */
	decision->room = (int8_t)(((int32_t)answer - (int32_t)frame + 1) & ~1);
}

/*
 * Writes the advertisement anew behind the room that was made: RFC 4861 section 7.2.4: solicited and unicast to a known
 * source; to all nodes and not solicited when an address is being probed for duplicates. Override is set: nobody else may
 * answer for an address of this node.
 */
PACKET_INLINE void vip_nd_write(const struct packet *packet, const struct flow *flow, const struct decision *decision)
{
	static const uint32_t length = sizeof(struct nd_message) + sizeof(struct nd_link_option);
	const struct address all_nodes = {{0x02ff, 0x0100000000000000ull}};
	bool probe = address_is_zero(&flow->source);
	struct address destination = probe ? all_nodes : flow->source;
	struct egress egress = decision->egress;
	struct nd_link_option *option;
	struct nd_message *message;
	struct ipv6_header *ipv6;
	uint64_t sum;

	if (probe)
		egress.destination_mac = 0x010000003333ull; /* 33:33:00:00:00:01 (RFC 2464 section 7) */
	ipv6 = packet_header(packet, flow->l3_offset, sizeof(*ipv6) + length);
	if (!flow_link_write(packet, &egress, flow->tags, flow->l3_offset, BE16(ETHERTYPE_IPV6)) || !ipv6)
		return;
	ipv6->version_class_label = be32_from(0x60000000u);
	ipv6->payload_length = be16_from(length);
	ipv6->next_header = PROTOCOL_ICMPV6;
	ipv6->hop_limit = 255;
	address_to_wire6(ipv6->source, &decision->address);
	address_to_wire6(ipv6->destination, &destination);
	message = (struct nd_message *)(ipv6 + 1);
	message->type = ICMPV6_NEIGHBOUR_ADVERTISEMENT;
	message->code = 0;
	message->flags = be32_from(ND_FLAG_OVERRIDE | (probe ? 0 : ND_FLAG_SOLICITED));
	address_to_wire6(message->target, &decision->address);
	option = (struct nd_link_option *)(message + 1);
	option->type = ND_OPTION_TARGET_LINK_ADDRESS;
	option->length = 1;
	mac_store(option->mac, egress.source_mac);
	sum = 2 * checksum_address(&decision->address) + checksum_address(&destination) + BE16(length) +
	      BE16(PROTOCOL_ICMPV6) + BE16(ICMPV6_NEIGHBOUR_ADVERTISEMENT << 8) + message->flags.raw +
	      BE16(ND_OPTION_TARGET_LINK_ADDRESS << 8 | 1) + (egress.source_mac & 0xffffffff) +
	      (egress.source_mac >> 32);
	message->checksum = (uint16_t)~checksum_fold(sum);
}

/* Echo for a virtual IP of this node; `vip` is the destination's row. */
PACKET_INLINE void vip_echo_decide(const struct flow *flow, const struct vip_row *vip, const struct link_row *link,
				   struct decision *decision)
{
	if (!(vip->flags & VIP_OWNED))
		vip_drop(decision, DROP_vip_not_owned);
	else if (flow->flags & FLOW_FRAGMENT)
		vip_drop(decision, DROP_echo_fragment);
	else
		vip_answer(decision, ACTION_ECHO_REPLY, link);
}

PACKET_INLINE void vip_echo_write(const struct packet *packet, const struct flow *flow, const struct decision *decision)
{
	struct ethernet_header *ethernet = packet_header(packet, 0, sizeof(*ethernet));
	struct icmp_header *icmp = packet_header(packet, flow->l4_offset, sizeof(*icmp));
	uint16_t type_code, reply;

	if (!ethernet || !icmp)
		return;
	mac_store(ethernet->destination, mac_word(ethernet->source));
	mac_store(ethernet->source, decision->egress.source_mac);
	if (flow->network == FLOW_IPV4) {
		struct ipv4_header *ipv4 = packet_header(packet, flow->l3_offset, sizeof(*ipv4));
		struct be32 source;

		if (!ipv4)
			return;
		source = ipv4->source;
		ipv4->source = ipv4->destination;
		ipv4->destination = source;
		ipv4->checksum = checksum_update(ipv4->checksum, checksum_exchange16(ipv4->ttl, VIP_ECHO_HOP_LIMIT));
		ipv4->ttl = VIP_ECHO_HOP_LIMIT;
	} else {
		struct ipv6_header *ipv6 = packet_header(packet, flow->l3_offset, sizeof(*ipv6));

		if (!ipv6)
			return;
		address_to_wire6(ipv6->source, &flow->destination);
		address_to_wire6(ipv6->destination, &flow->source);
		ipv6->hop_limit = VIP_ECHO_HOP_LIMIT;
	}
	reply = flow->network == FLOW_IPV4 ? ICMP_ECHO_REPLY : ICMPV6_ECHO_REPLY;
	type_code = (uint16_t)(icmp->type | icmp->code << 8);
	icmp->type = (uint8_t)reply;
	icmp->checksum = checksum_update(icmp->checksum,
					 checksum_exchange16(type_code, (uint16_t)(reply | icmp->code << 8)));
}

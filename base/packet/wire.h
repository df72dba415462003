/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Headers as they lie on the wire: Ethernet, VLAN tags (802.1Q, 802.1ad), ARP (RFC 826), IPv4 (RFC 791), IPv6 (RFC 8200),
 * TCP (RFC 9293), UDP (RFC 768), GUE (draft-ietf-intarea-gue), ICMP (RFC 792), ICMPv6 (RFC 4443), neighbour discovery (RFC 4861).
 */
#pragma once

#include "base/packet/address.h"
#include "base/packet/byteorder.h"

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_QINQ 0x88a8

struct ethernet_header {
	uint8_t destination[6];
	uint8_t source[6];
	struct be16 ethertype;
} PACKET_WIRE;
_Static_assert(sizeof(struct ethernet_header) == 14, "wire");

struct vlan_tag {
	struct be16 control; /* priority 3, drop eligible 1, identifier 12 */
	struct be16 ethertype;
} PACKET_WIRE;

#define ARP_REQUEST 1
#define ARP_REPLY 2

struct arp_packet {
	struct be16 hardware_type;
	struct be16 protocol_type;
	uint8_t hardware_length;
	uint8_t protocol_length;
	struct be16 operation;
	uint8_t sender_mac[6];
	struct be32 sender_ip;
	uint8_t target_mac[6];
	struct be32 target_ip;
} __attribute__((packed, aligned(2))); /* its own layout is not aligned */
_Static_assert(sizeof(struct arp_packet) == 28, "wire");

#define IPV4_DONT_FRAGMENT 0x4000
#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_OFFSET_MASK 0x1fff

struct ipv4_header {
	uint8_t version_ihl;
	uint8_t tos;
	struct be16 total_length;
	struct be16 identification;
	struct be16 fragment;
	uint8_t ttl;
	uint8_t protocol;
	uint16_t checksum;
	struct be32 source;
	struct be32 destination;
} PACKET_WIRE;
_Static_assert(sizeof(struct ipv4_header) == 20, "wire");

struct ipv6_header {
	struct be32 version_class_label;
	struct be16 payload_length;
	uint8_t next_header;
	uint8_t hop_limit;
	struct be32 source[4];
	struct be32 destination[4];
} PACKET_WIRE;
_Static_assert(sizeof(struct ipv6_header) == 40, "wire");

/* Hop-by-hop, routing, destination options: length in 8 octets, the first not counted. */
struct ipv6_extension {
	uint8_t next_header;
	uint8_t length;
} PACKET_WIRE;

struct ipv6_routing {
	uint8_t next_header;
	uint8_t length;
	uint8_t type;
	uint8_t segments_left;
} PACKET_WIRE;

struct ipv6_fragment {
	uint8_t next_header;
	uint8_t reserved;
	struct be16 offset_more; /* offset 13, reserved 2, more 1 */
	struct be32 identification;
} PACKET_WIRE;

#define PROTOCOL_HOP_BY_HOP 0
#define PROTOCOL_ICMP 1
#define PROTOCOL_IPV4 4 /* IPv4 inside (RFC 2003) */
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_IPV6 41 /* IPv6 inside (RFC 4213) */
#define PROTOCOL_ROUTING 43
#define PROTOCOL_FRAGMENT 44
#define PROTOCOL_AUTHENTICATION 51
#define PROTOCOL_ICMPV6 58
#define PROTOCOL_NONE 59
#define PROTOCOL_DESTINATION_OPTIONS 60

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

struct tcp_header {
	struct be16 source_port;
	struct be16 destination_port;
	struct be32 sequence;
	struct be32 acknowledgement;
	uint8_t data_offset;
	uint8_t flags;
	struct be16 window;
	uint16_t checksum;
	struct be16 urgent;
} PACKET_WIRE;
_Static_assert(sizeof(struct tcp_header) == 20, "wire");

struct udp_header {
	struct be16 source_port;
	struct be16 destination_port;
	struct be16 length;
	uint16_t checksum;
} PACKET_WIRE;
_Static_assert(sizeof(struct udp_header) == 8, "wire");

#define GUE_PORT 6080

struct gue_header {
	uint8_t version_length; /* version 2, control 1, length of what follows in words 5 */
	uint8_t protocol;
	struct be16 flags;
} PACKET_WIRE;
_Static_assert(sizeof(struct gue_header) == 4, "wire");

/* In GUE's private data: the second hop's address comes behind this, 4 or 16 bytes (docs/wire/gue.md). */
#define GUE_HOP_MAGIC 0x5356
#define GUE_HOP_IPV4 0x11 /* version 1 */
#define GUE_HOP_IPV6 0x12

struct gue_hop {
	struct be16 magic;
	uint8_t version_kind; /* GUE_HOP_* */
	uint8_t reserved;     /* 0 */
} PACKET_WIRE;
_Static_assert(sizeof(struct gue_hop) == 4, "wire");

#define ICMP_ECHO_REPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_FRAGMENTATION_NEEDED 4 /* a code of unreachable */
#define ICMP_ECHO_REQUEST 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12
#define ICMPV6_UNREACHABLE 1
#define ICMPV6_PACKET_TOO_BIG 2
#define ICMPV6_PARAMETER_PROBLEM 4 /* 1 to 4 are errors */
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129
#define ICMPV6_NEIGHBOUR_SOLICITATION 135
#define ICMPV6_NEIGHBOUR_ADVERTISEMENT 136

struct icmp_header {
	uint8_t type;
	uint8_t code;
	uint16_t checksum;
	struct be16 identifier;
	struct be16 sequence;
} PACKET_WIRE;
_Static_assert(sizeof(struct icmp_header) == 8, "wire");

/* Neighbour solicitation and advertisement have one shape. */
struct nd_message {
	uint8_t type;
	uint8_t code;
	uint16_t checksum;
	struct be32 flags; /* advertisement: router, solicited, override */
	struct be32 target[4];
} PACKET_WIRE;
_Static_assert(sizeof(struct nd_message) == 24, "wire");

#define ND_FLAG_SOLICITED 0x40000000u
#define ND_FLAG_OVERRIDE 0x20000000u
#define ND_OPTION_SOURCE_LINK_ADDRESS 1
#define ND_OPTION_TARGET_LINK_ADDRESS 2

struct nd_link_option {
	uint8_t type;
	uint8_t length; /* in 8 octets */
	uint8_t mac[6];
} PACKET_WIRE;

/* Any IPv6 address on the wire. */
PACKET_INLINE struct address address_from_wire6(const struct be32 wire[4])
{
	return (struct address){{unaligned(uint64_t, wire), unaligned(uint64_t, wire + 2)}};
}

PACKET_INLINE void address_to_wire6(struct be32 wire[4], const struct address *address)
{
	unaligned(uint64_t, wire) = address->word[0];
	unaligned(uint64_t, wire + 2) = address->word[1];
}

/* A MAC address as one word: the low 48 bits, in memory order. */
PACKET_INLINE uint64_t mac_word(const uint8_t mac[6])
{
	return unaligned(uint32_t, mac) | (uint64_t)unaligned(uint16_t, mac + 4) << 32;
}

PACKET_INLINE void mac_store(uint8_t mac[6], uint64_t word)
{
	unaligned(uint32_t, mac) = (uint32_t)word;
	unaligned(uint16_t, mac + 4) = (uint16_t)(word >> 32);
}

#define MAC_WORD_MASK 0xffffffffffffull

PACKET_INLINE bool mac_is_group(const uint8_t mac[6])
{
	return mac[0] & 1;
}

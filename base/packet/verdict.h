/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What happens to a packet, decided before anything of it is changed. */
#pragma once

#include "base/packet/address.h"
#include "base/packet/byteorder.h"

enum verdict {
	VERDICT_PASS,     /* to the host's network stack, unchanged */
	VERDICT_TX,       /* out of the interface that it came from */
	VERDICT_REDIRECT, /* out of decision.ifindex */
	VERDICT_DROP,     /* counted under decision.reason */
	VERDICT_HOLD,     /* kept by the host in the holding slot `address.word[0]`: a fragment that came before its first one */
	VERDICT_COUNT
};

#define VERDICT_PLACES 8u /* a power of two that has room for all of them */

/* Who decided. */
enum function {
	FUNCTION_PARSE,
	FUNCTION_VIP,
	FUNCTION_LB,
	FUNCTION_RTC,
	FUNCTION_DNS,
	FUNCTION_COUNT
};

enum drop_reason {
	DROP_NONE,
#define DROP(name, sentence) DROP_##name,
#include "base/packet/drops.def"
#undef DROP
	DROP_COUNT
};

/* How the packet is rewritten. */
enum action {
	ACTION_NONE,
	ACTION_ARP_REPLY,     /* in place */
	ACTION_ND_ADVERTISE,  /* written anew after making room in front */
	ACTION_ECHO_REPLY,    /* in place */
	ACTION_NAT_FORWARD,   /* destination becomes address:port */
	ACTION_NAT_REVERSE,   /* source becomes address:port */
	ACTION_L2_FORWARD,    /* new hardware addresses only (direct return) */
	ACTION_ICMP_FORWARD,  /* an ICMP error about an answer: outer destination and quoted source become address:port */
	ACTION_ICMP_REVERSE,  /* an ICMP error about a request: quoted destination, and the backend as source, become address:port */
	ACTION_ENCAPSULATE,   /* wrapped to `address`; `port`: the flow's entropy */
	ACTION_UNWRAP,        /* on the way to a decision: what lies inside is to be decided about */
	ACTION_TOO_BIG,       /* answered from `address`: no packet longer than `port` (a number here) passes */
	ACTION_ENCAPSULATE_HOP, /* wrapped to the backend's node, which passes it on to `address` if it does not know the flow */
	ACTION_PASS_ON,       /* another node's tunnel packet goes on to `address`, as it is but for the outer headers */
	ACTION_DNS,           /* to pass, or to be answered from the cache: the host asks dns_decide() */
	ACTION_MEDIA_UP,      /* a session's, to its agent: destination becomes address:port, source the session's */
	ACTION_MEDIA_DOWN,    /* a session's, to its client: destination becomes address:port, source the service's */
	ACTION_STUN_UP,       /* on the way to a decision: a STUN message of a client, which is to be read */
	ACTION_STUN_DOWN,     /* or of an agent */
	ACTION_MEDIA_HEAL,    /* likewise: media of no path that is known */
	ACTION_STUN_ANSWER,   /* answered in its place: the address that it came from */
};

/* Actions from this one on are rare: they are written by edge_write_more(). */
#define ACTION_FIRST_MORE ACTION_ICMP_FORWARD

#define DECISION_EVENT 0x01     /* tell user space: the neighbour `address` on `ifindex` is wanted */
#define DECISION_NEW_FLOW 0x02  /* this packet began a flow */
#define DECISION_FRAGMENT 0x04  /* with DECISION_EVENT, instead: look at the held fragments */
#define DECISION_AGAIN 0x40     /* the flow is another now (what lay in a tunnel): it is to be decided about from the start */
#define DECISION_MORE 0x80      /* not the last word: edge_decide_more() goes on from `action`, and takes this away */

/* Where a packet leaves: addresses are mac_word()s, vlan 0 is untagged. */
struct egress {
	uint64_t destination_mac;
	uint64_t source_mac;
	uint32_t ifindex;
	uint16_t vlan;
	uint16_t flags; /* EGRESS_* */
};
_Static_assert(sizeof(struct egress) == 24, "part of table rows");

#define EGRESS_RESOLVED 0x01  /* destination_mac is known */
#define EGRESS_VIA_STACK 0x02 /* a veth of a local workload: XDP hands the packet to the stack's redirect */
#define EGRESS_ON_LINK 0x04   /* route: the destination itself is the neighbour */
#define EGRESS_PEER_APART 0x08 /* with VIA_STACK: the veth's peer is in another namespace, so a packet may go straight there */

struct decision {
	uint8_t verdict;  /* enum verdict */
	uint8_t function; /* enum function */
	uint8_t reason;   /* enum drop_reason */
	uint8_t action;   /* enum action */
	uint8_t flags;    /* DECISION_* */
	int8_t room;      /* bytes the packet grows (or shrinks) by in front of it */
	uint16_t service; /* row, 0 for none */
	uint16_t backend; /* row, 0 for none */
	struct be16 port; /* NAT: the new port */
	uint32_t ifindex; /* where it leaves, for TX and REDIRECT */
	struct address address; /* NAT: the new address; DECISION_EVENT: the neighbour; HOLD: word[0] is the slot */
	struct egress egress;
	uint32_t session; /* media: row, 0 for none */
	uint8_t dscp;     /* media: 1 + the code point to be marked with; 0: as it is */
	uint8_t as_seen;  /* ACTION_MEDIA_UP: the source stays */
	uint8_t heard;    /* ACTION_MEDIA_HEAL and afterwards: RTC_HEARD_* */
	uint8_t unused;
};
_Static_assert(DROP_COUNT < 256 && VERDICT_COUNT <= VERDICT_PLACES, "one byte each; a place for each");
_Static_assert(sizeof(struct decision) == 64, "on the stack of every packet");

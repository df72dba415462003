/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The balancer's tables, as packets see them: plain memory, written by user space (and flows by workers), read by every
 * engine through the same code. Row 0 of every table means "none".
 *
 *     service directory ──► lb_service ──ring──► lb_ring slots ──► lb_backend
 *     (address, port, protocol)                                       ▲
 *     reverse directory (backend's address, port, protocol) ──────────┘
 *     lb_flows: one word for each flow; asked only where the ring's answer may differ from the flow's backend
 *     lb_filter: which flows are recorded already, one cache line a packet
 */
#pragma once

#include "base/packet/address.h"
#include "base/packet/byteorder.h"
#include "base/packet/directory.h"
#include "base/packet/verdict.h"

#define LB_SERVICE_ROWS 2048u
#define LB_SERVICE_DIRECTORY_BITS 14u
#define LB_BACKEND_ROWS 8192u
#define LB_REVERSE_DIRECTORY_BITS 16u
#define LB_RANGE_ROWS 256u
#define LB_RING_SLOTS (1u << 21)
#define LB_RANGES_PER_ADDRESS 8u    /* constant bound: verifier */
#define LB_SERVICES_PER_ENDPOINT 4u /* services that may share a backend's address and port; constant bound: verifier */

#define LB_MTU_ANY 0xffffu      /* not known: all fit */
#define LB_MTU_LEAST_IPV4 576u  /* see lb_mtu_fast.h */
#define LB_MTU_LEAST_IPV6 1280u /* RFC 8200 section 5 */

#define LB_SERVICE_AFFINITY 0x01 /* ClientIP: the ring is asked by client address alone */
#define LB_SERVICE_DIRECT 0x02   /* layer-2 direct return: only hardware addresses change */
#define LB_SERVICE_RANGE 0x04    /* a port range: the backend's port is the client's */
#define LB_SERVICE_SOURCES 0x0100 /* not every client is served: lb_guard_state.h */
#define LB_SERVICE_LIMIT_FLOWS 0x0200   /* new flows are limited, of a client or of all */
#define LB_SERVICE_LIMIT_PACKETS 0x0400 /* packets of a client are */

#define LB_SERVICE_QUIC 0x0800          /* UDP: a connection id that names a backend goes there */
#define LB_SERVICE_MEDIA 0x1000         /* WebRTC: its packets go by sessions (rtc/), not by the ring */
#define LB_SERVICE_DNS 0x2000           /* no balanced service: packets are the DNS cache's, or the host's */
#define LB_SERVICE_HOPS 0x4000          /* some slots of its ring remember a backend elsewhere: lb_rings.before */

/* writer: ctrl, readers: workers */
struct lb_service {
	uint64_t ring;          /* first slot << 32 | slots (a prime); 0 slots: no backend. One store swaps rings. */
	struct address address; /* the virtual IP */
	struct be16 port_first;
	struct be16 port_last;
	uint8_t protocol;
	uint8_t ipv6;
	uint16_t flags;           /* LB_SERVICE_* */
	uint16_t udp_idle_epochs; /* a UDP flow silent for longer is a new flow */
	uint16_t affinity_epochs;
	uint32_t unused[7];
};
_Static_assert(sizeof(struct lb_service) == 64, "one cache line");

/* Port ranges of one (address, protocol); chained by `next`. writer: ctrl, readers: workers */
struct lb_range {
	uint16_t first; /* host order */
	uint16_t last;
	uint16_t service;
	uint16_t next;
};

enum lb_backend_state {
	LB_BACKEND_FREE,     /* no such backend (any more): its flows move */
	LB_BACKEND_UP,       /* in the ring */
	LB_BACKEND_DRAINING, /* not in the ring; its flows stay */
	LB_BACKEND_DOWN,     /* not in the ring; UDP flows move at once, TCP flows stay until they begin anew */
};

/* How packets get to a backend that is elsewhere. */
enum lb_tunnel {
	LB_TUNNEL_NONE,
	LB_TUNNEL_IPIP, /* RFC 2003, RFC 2473 */
	LB_TUNNEL_GUE,  /* in UDP */
};

#define LB_BACKEND_NODE 0x01  /* its tunnel ends at another node of ours, which can pass a packet on (lb_hop_fast.h) */
#define LB_BACKEND_MEDIA 0x02 /* its service is one of media: what it sends is asked of rtc/ */

/* One backend of one service. writer: ctrl, readers: workers */
struct lb_backend {
	struct address address;
	struct egress egress; /* EGRESS_RESOLVED unset: next hop not known yet */
	struct be16 port;     /* 0 in services with a port range */
	uint16_t service;
	uint8_t state;  /* enum lb_backend_state */
	uint8_t tunnel; /* enum lb_tunnel */
	uint16_t next;  /* reverse: the next backend row with this endpoint */
	uint16_t mtu;   /* the longest IP packet of a client that gets there whole */
	uint8_t growth; /* bytes that the tunnel puts in front of it */
	uint8_t flags;  /* LB_BACKEND_* */
	uint8_t unused[12];
	/* The second line: for tunnels only. */
	struct address tunnel_source;
	struct address tunnel_destination;
	uint32_t tunnel_unused[8];
};
_Static_assert(sizeof(struct lb_backend) == 128 && offsetof(struct lb_backend, tunnel_source) == 64, "two cache lines");

/* An address whose tunnels matter here. writer: ctrl, readers: workers */
#define LB_PEER_ROWS 512u
#define LB_PEER_DIRECTORY_BITS 12u
#define LB_PEER_NODE 0x01 /* another node's: what it wraps for us is unwrapped */
#define LB_PEER_SELF 0x02 /* this node's own */

struct lb_peer {
	uint64_t flags; /* LB_PEER_* */
};

struct lb_peers {
	DIRECTORY(LB_PEER_DIRECTORY_BITS) directory;
	struct lb_peer rows[LB_PEER_ROWS];
};

struct lb_tables {
	uint64_t hash_seed; /* the same on all nodes of a cluster, so that they agree on backends */
	uint64_t unused[7];
	DIRECTORY(LB_SERVICE_DIRECTORY_BITS) services_by_address;
	DIRECTORY(LB_REVERSE_DIRECTORY_BITS) backends_by_endpoint;
	struct lb_service services[LB_SERVICE_ROWS];
	struct lb_range ranges[LB_RANGE_ROWS];
	struct lb_backend backends[LB_BACKEND_ROWS];
	struct lb_peers peers;
};

/*
 * Ring slots of all services. A slot holds a backend row; LB_SLOT_MOVED says that the slot had another backend before and
 * may still have flows there, so flows of this slot are looked up. writer: ctrl (only slots no ring in use covers)
 */
#define LB_SLOT_MOVED 0x8000u
#define LB_SLOT_BACKEND 0x7fffu
_Static_assert(LB_BACKEND_ROWS <= LB_SLOT_BACKEND + 1, "a slot names every backend");

/* How long a ring remembers who had a slot before, if that one still takes new flows: an hour. One that drains: until it leaves. */
#define LB_HOP_EPOCHS 450u

struct lb_rings {
	uint16_t slots[LB_RING_SLOTS];
	/*
	 * For each slot the backend that had it before, if that one is behind GUE; 0: none, or too long ago. With LB_SERVICE_HOPS only.
	 * Such a slot stays moved, so that what of its flows is known here is known for sure.
	 */
	uint16_t before[LB_RING_SLOTS];
};

/*
 * Flows: buckets of eight words, one cache line. A word is written by one store or compare-and-swap.
 *
 *     63            36 35        20 19      8 7      0
 *     [ signature 28 ][ backend 16 ][seen 12 ][flags 8]
 *
 * The signature is the top of the flow's hash and chooses the ring slot too, the bucket is its bottom; together 46 bits.
 * A false match within a bucket has odds of 8 in 2^28.
 */
#define LB_FLOW_BUCKET_BITS 18u
#define LB_FLOW_WAYS 8u
#define LB_FLOW_SIGNATURE_SHIFT 36
#define LB_FLOW_SIGNATURE_BITS 28
#define LB_FLOW_BACKEND_SHIFT 20
#define LB_FLOW_SEEN_SHIFT 8
#define LB_FLOW_SEEN_MASK 0xfffu

#define LB_FLOW_VALID 0x01   /* set in every word in use */
#define LB_FLOW_CLOSING 0x02 /* TCP: FIN or RST seen; a SYN begins anew */
#define LB_FLOW_CLIENT 0x04  /* not a flow: the backend of an affine client */
#define LB_FLOW_TCP 0x08
#define LB_FLOW_FRESH 0x10    /* the client has shown no more than its beginning: gives way to others first */
#define LB_FLOW_ANSWERED 0x20 /* with FRESH: the backend has answered */

/* A fresh flow takes the place of an established one only when that was silent for two minutes. */
#define LB_FLOW_SILENT_EPOCHS 16u

/* writers: workers, ctrl (removes the expired); readers: workers, ctrl */
struct lb_flows {
	uint64_t words[1u << LB_FLOW_BUCKET_BITS][LB_FLOW_WAYS] __attribute__((aligned(64)));
};

/*
 * Which flows were recorded in this epoch: sets of eight 16-bit cells in two words, [epoch 4][1][tag 11]. A stale or missing
 * cell costs the flow one look into lb_flows, which also refreshes `seen`: once an epoch, not once a packet.
 * Odds that a new flow is taken for a recorded one: 8 in 2^11 when every cell is live, 2 in 10^6 at a thousand flows.
 */
#define LB_FILTER_SET_BITS 18u
#define LB_FILTER_SET_WORDS 2u

/* writers, readers: workers */
struct lb_filter {
	uint64_t sets[1u << LB_FILTER_SET_BITS][LB_FILTER_SET_WORDS] __attribute__((aligned(64)));
};

#define LB_KEY_SERVICE 1u
#define LB_KEY_RANGE 2u /* port 0: the first lb_range row */
#define LB_KEY_BACKEND 3u

/* `port` 0 stands for any port (ranges). */
PACKET_INLINE struct directory_key lb_key(uint32_t kind, const struct address *address, bool ipv6, uint8_t protocol,
					  struct be16 port)
{
	return (struct directory_key){
		{address->word[0], address->word[1],
		 (uint64_t)port.raw | (uint64_t)protocol << 16 | (uint64_t)ipv6 << 24 | (uint64_t)kind << 32}};
}

PACKET_INLINE struct directory_key lb_peer_key(const struct address *address)
{
	return (struct directory_key){{address->word[0], address->word[1], 0}};
}

PACKET_INLINE uint64_t lb_flow_word(uint64_t hash, uint16_t backend, uint32_t epoch, uint8_t flags)
{
	return hash >> LB_FLOW_SIGNATURE_SHIFT << LB_FLOW_SIGNATURE_SHIFT |
	       (uint64_t)backend << LB_FLOW_BACKEND_SHIFT |
	       (uint64_t)(epoch & LB_FLOW_SEEN_MASK) << LB_FLOW_SEEN_SHIFT | flags | LB_FLOW_VALID;
}

PACKET_INLINE uint16_t lb_flow_backend(uint64_t word)
{
	return (uint16_t)(word >> LB_FLOW_BACKEND_SHIFT);
}

PACKET_INLINE uint32_t lb_flow_age_epochs(uint64_t word, uint32_t now_epoch)
{
	return (now_epoch - (uint32_t)(word >> LB_FLOW_SEEN_SHIFT)) & LB_FLOW_SEEN_MASK;
}

/* The ring slot of a flow, from its hash or from a recorded word. `slots` is the ring's size. */
PACKET_INLINE uint32_t lb_ring_slot(uint64_t hash, uint32_t slots)
{
	return (uint32_t)((hash >> LB_FLOW_SIGNATURE_SHIFT) * slots >> LB_FLOW_SIGNATURE_BITS);
}

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What is kept of datagrams that come in fragments: only the first one has the ports, so what became of it is recorded for
 * the others; and those that come before it are held until it does. Bounded in memory (0.5 MB and 1 MB) and in time.
 */
#pragma once

#include "base/packet/address.h"

/* A record's life. Fragments of a datagram are sent one behind the other; those who put them together wait for 30 s or more. */
#define LB_FRAGMENT_MS 2000u
/* A fragment that is held longer than this will not find its first one. */
#define LB_HOLD_MS 1000u

#define LB_FRAGMENT_BUCKET_BITS 11u
#define LB_FRAGMENT_WAYS 4u
#define LB_FRAGMENT_ISLANDS 3u

/* What becomes of the fragments behind the first one. */
enum lb_fragment_kind {
	LB_FRAGMENT_NONE,    /* no record */
	LB_FRAGMENT_FORWARD, /* to the backend */
	LB_FRAGMENT_REVERSE, /* from the backend, to the client */
	LB_FRAGMENT_DROP,    /* for the reason that stands as the backend */
};

/*
 * One datagram; known by (source, destination, protocol, identification) in IPv4 (RFC 791 section 3.2), by the same without
 * the protocol in IPv6 (RFC 8200 section 4.5). Positions are bytes of what was taken apart. writers, readers: workers; who
 * writes makes `version` odd first, by compare-and-swap.
 */
struct lb_fragment_record {
	struct address source;
	struct address destination;
	uint32_t identification; /* as on the wire */
	uint32_t version;        /* 0: empty; odd: being written */
	uint32_t first_ms;       /* when the first one came */
	uint16_t backend;        /* row, or enum drop_reason */
	uint8_t protocol;        /* IPv6: 0 */
	uint8_t kind;            /* enum lb_fragment_kind */
	uint32_t islands[LB_FRAGMENT_ISLANDS]; /* seen beyond a gap: first byte << 16 | the byte behind the last; 0: none */
	uint16_t reach;          /* everything before this byte was seen */
	uint16_t end;            /* the byte behind the datagram, 0: not known yet */
};
_Static_assert(sizeof(struct lb_fragment_record) == 64, "one cache line");

struct lb_fragments {
	struct lb_fragment_record records[1u << LB_FRAGMENT_BUCKET_BITS][LB_FRAGMENT_WAYS] __attribute__((aligned(64)));
};

#define LB_HOLD_SET_BITS 6u
#define LB_HOLD_WAYS 8u
#define LB_HOLD_SLOTS (LB_HOLD_WAYS << LB_HOLD_SET_BITS)
#define LB_HOLD_BYTES 1984u

enum lb_hold_state {
	LB_HOLD_FREE,
	LB_HOLD_WRITING, /* a worker's */
	LB_HOLD_READY,
	LB_HOLD_TAKEN,   /* who sends it on takes it out */
};

/* A frame that waits. `state` is changed by compare-and-swap; it says whose the rest is. */
struct lb_held {
	uint32_t state;    /* enum lb_hold_state */
	uint32_t sequence; /* order of arrival */
	uint32_t held_ms;  /* when it came */
	uint32_t ifindex;  /* where it came in */
	uint64_t hash;     /* of its datagram */
	uint32_t length;
	uint32_t identification;
	uint32_t unused[8];
	uint8_t bytes[LB_HOLD_BYTES];
};
_Static_assert(sizeof(struct lb_held) == 2048, "two to a page");

/* Sets by source and destination, so that one sender's fragments leave the others' slots alone. writers, readers: workers */
struct lb_holding {
	uint32_t sequence;
	uint32_t unused[15];
	struct lb_held slots[LB_HOLD_SLOTS] __attribute__((aligned(64)));
};

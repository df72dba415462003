/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What a running packet program tells user space, one record at a time. The byte layout is shared with running programs. */
#pragma once

#include "base/packet/verdict.h"

#define EDGE_EVENT_BYTES 256u /* a power of two: verifier */
/* As far as a trace asks for them, a packet's bytes go on behind the struct: edge_event_data(). */
#define EDGE_EVENT_BYTES_MAX 65536u

enum edge_event_kind {
	EDGE_EVENT_TRACE,     /* a packet, as it came, and what was decided */
	EDGE_EVENT_NEIGHBOUR, /* the neighbour `decision.address` on `decision.ifindex` is wanted */
	EDGE_EVENT_FRAGMENT,  /* a fragment was held, or the first one of held fragments came: edge_hold_next() */
};

struct edge_event {
	uint64_t time_ns;  /* CLOCK_MONOTONIC */
	uint32_t kind;     /* enum edge_event_kind */
	uint32_t ifindex;  /* where the packet came in */
	uint32_t length;   /* of the frame */
	uint32_t captured; /* bytes of it below and beyond */
	struct decision decision;
	uint8_t bytes[EDGE_EVENT_BYTES];
};
_Static_assert(sizeof(struct edge_event) == 24 + 64 + EDGE_EVENT_BYTES, "no padding");

/* The packet's first bytes, event->captured of them. */
PACKET_INLINE const uint8_t *edge_event_data(const struct edge_event *event)
{
	return (const uint8_t *)event + offsetof(struct edge_event, bytes);
}

/* What an event takes that holds `captured` bytes. */
PACKET_INLINE size_t edge_event_size(uint32_t captured)
{
	return sizeof(struct edge_event) + (captured > EDGE_EVENT_BYTES ? captured - EDGE_EVENT_BYTES : 0);
}

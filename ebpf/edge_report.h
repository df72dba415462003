/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the programs tell user space of single packets, through the ring `edge_events`. */
#pragma once

#include "ebpf/edge_maps.h"

/* Copies the packet's first bytes; negative when it cannot. The kernel has one helper for each kind of context. */
typedef long edge_report_load(void *context, void *bytes, uint32_t length);

/* `length` bytes of the packet are reported, as far as an event holds them. A full ring loses the event. */
PACKET_INLINE void edge_report(void *context, edge_report_load *load, uint32_t ifindex, enum edge_event_kind kind,
			       uint32_t length, const struct decision *decision)
{
	struct edge_event *event = bpf_ringbuf_reserve(&edge_events, sizeof(*event), 0);
	uint32_t captured = length;

	if (!event)
		return;
	event->time_ns = bpf_ktime_get_ns();
	event->kind = kind;
	event->ifindex = ifindex;
	event->length = length;
	event->decision = *decision;
	if (captured > EDGE_EVENT_BYTES)
		captured = EDGE_EVENT_BYTES;
	if (captured) {
		/* verifier: from 1 to the most, in a form that Linux 6.1 keeps */
		captured--;
		value_opaque(captured);
		captured = (captured & (EDGE_EVENT_BYTES - 1)) + 1;
		if (load(context, event->bytes, captured) < 0)
			captured = 0;
	}
	event->captured = captured;
	bpf_ringbuf_submit(event, 0);
}

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the programs tell user space of single packets, through the ring `edge_events`. */
#pragma once

#include "ebpf/edge_maps.h"
#include "edge/edge_fast.h"

/* Copies the packet's first bytes; negative when it cannot. The kernel has one helper for each kind of context. */
typedef long edge_report_load(void *context, void *bytes, uint32_t length);

/* What is reported of a packet. */
struct edge_report {
	uint32_t ifindex;
	uint32_t kind;     /* enum edge_event_kind */
	uint32_t length;   /* the frame's */
	uint32_t captured; /* of it, at most */
	const struct decision *decision;
};

/* In an event with room for `room` bytes, a constant: the ring knows no other. False: the ring is full. */
PACKET_INLINE bool edge_report_sized(void *context, edge_report_load *load, const struct edge_report *report, const uint32_t room)
{
	struct edge_event *event = bpf_ringbuf_reserve(&edge_events, sizeof(*event) - EDGE_EVENT_BYTES + room, 0);
	uint32_t captured = report->captured;

	if (!event)
		return false;
	event->time_ns = bpf_ktime_get_ns();
	event->kind = report->kind;
	event->ifindex = report->ifindex;
	event->length = report->length;
	event->decision = *report->decision;
	if (captured > room)
		captured = room;
	if (captured) {
		/* verifier: from 1 to the most, in a form that Linux 6.1 keeps; `room` is a power of two */
		captured--;
		value_opaque(captured);
		captured = (captured & (room - 1)) + 1;
		if (load(context, event->bytes, captured) < 0)
			captured = 0;
	}
	event->captured = captured;
	bpf_ringbuf_submit(event, 0);
	return true;
}

/* False: the ring is full and the event is lost. */
PACKET_INLINE bool edge_report(void *context, edge_report_load *load, const struct edge_report *report)
{
	if (report->captured <= EDGE_EVENT_BYTES)
		return edge_report_sized(context, load, report, EDGE_EVENT_BYTES);
	if (report->captured <= 2048)
		return edge_report_sized(context, load, report, 2048);
	if (report->captured <= 16384)
		return edge_report_sized(context, load, report, 16384);
	return edge_report_sized(context, load, report, EDGE_EVENT_BYTES_MAX);
}

/* User space is wanted: for the neighbour that the decision names, or for held fragments. */
PACKET_INLINE void edge_report_wanted(void *context, edge_report_load *load, uint32_t ifindex, const struct decision *decision)
{
	struct edge_report report = {.ifindex = ifindex, .kind = EDGE_EVENT_NEIGHBOUR, .decision = decision};
	struct edge_counters *counters = edge_counters_get();

	if (!counters || !edge_wanted_admit(counters, decision, edge_clock_now().now_ms))
		return;
	if (decision->flags & DECISION_FRAGMENT)
		report.kind = EDGE_EVENT_FRAGMENT;
	(void)edge_report_sized(context, load, &report, EDGE_EVENT_BYTES);
}

/* A packet of a trace, if it is one and the limit allows it. */
PACKET_INLINE void edge_report_trace(void *context, edge_report_load *load, uint32_t ifindex, const struct flow *flow,
				     struct edge_report report)
{
	const struct edge_config *config = edge_table(edge_config);
	struct edge_counters *counters = edge_counters_get();
	uint32_t snaplen = config->trace_snaplen ? config->trace_snaplen : EDGE_EVENT_BYTES;

	report.ifindex = ifindex;
	report.kind = EDGE_EVENT_TRACE;
	report.captured = report.length < snaplen ? report.length : snaplen;
	if (!counters || !edge_trace_wanted(config, flow, report.decision) ||
	    !edge_trace_admit(config, counters, edge_clock_now().now_ms))
		return;
	if (!edge_report(context, load, &report))
		counters->trace_hidden++;
}

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Most packets of a call need little of what decides about packets: their session is known, its client did not move, nothing is
 * limited or marked. They are asked of here first, before anybody knows what service they are for. What is decided is what
 * rtc_up_decide() and rtc_down_decide() would decide; whatever is doubtful is left to them, who note what comes by the same way
 * next time (rtc_shortcut_note()). See docs/adr/0039-known-calls-go-first.md.
 */
#pragma once

#include "rtc/rtc_fast.h"

/* What makes a packet of a live session one that needs no more, in both directions. */
PACKET_INLINE bool rtc_shortcut_session_fits(const struct rtc_view *view, const struct rtc_session *session, uint32_t control,
					     const struct flow *flow)
{
	const struct lb_backend *backend = &view->lb.lb->backends[session->backend & (LB_BACKEND_ROWS - 1)];
	const struct lb_service *service = &view->lb.lb->services[session->service & (LB_SERVICE_ROWS - 1)];
	const struct rtc_service *media = &view->rtc->services[session->service & (LB_SERVICE_ROWS - 1)];
	uint32_t flags = control >> RTC_CONTROL_FLAGS_SHIFT;

	return (control & RTC_CONTROL_STATE) == RTC_SESSION_LIVE &&
	       (flags & (RTC_SESSION_BOUND | RTC_SESSION_MOVED | RTC_SESSION_ROBBED)) == RTC_SESSION_BOUND &&
	       !rtc_consent_lost(session, view->lb.now_ms) && rtc_service_is_plain(service, media) &&
	       service->ipv6 == (flow->network == FLOW_IPV6) && backend->service == session->service &&
	       load_once(backend->state) != LB_BACKEND_FREE;
}

/* Another stream's beginning is rtc_up_decide()'s. */
PACKET_INLINE bool rtc_shortcut_stream_fits(const struct rtc_stream *stream, const struct rtc_head *head, uint32_t now_ms)
{
	return head->kind != RTC_KIND_RTP ||
	       (stream->received && (likely(head->ssrc == stream->ssrc) || now_ms - stream->rtp_ms < RTC_STREAM_SILENT_MS));
}

/* From a client: to the agent, from the address that the agent knows the client by. */
PACKET_INLINE bool rtc_shortcut_up(const struct rtc_view *view, const struct flow *flow, struct rtc_session *session,
				   uint32_t number, uint32_t ifindex, struct decision *decision)
{
	const struct lb_backend *backend = &view->lb.lb->backends[session->backend & (LB_BACKEND_ROWS - 1)];
	const struct lb_service *service = &view->lb.lb->services[session->service & (LB_SERVICE_ROWS - 1)];

	if (!rtc_path_is(rtc_session_path(session, number), &flow->source, flow->source_port) ||
	    session->upstream_port.raw != flow->source_port.raw || !address_equal(&session->upstream, &flow->source) ||
	    service->port_first.raw != flow->destination_port.raw || !address_equal(&service->address, &flow->destination) ||
	    backend->tunnel || !(backend->egress.flags & EGRESS_RESOLVED) || flow->hop_limit <= 1 || lb_length(flow) > backend->mtu)
		return false;
	decision->address = backend->address;
	decision->port = session->agent_port;
	lb_send(decision, flow, &backend->egress, ACTION_NAT_FORWARD, ifindex);
	return true;
}

/* From the agent: to the client, by the path in use, which leads where the agent's packet goes. */
PACKET_INLINE bool rtc_shortcut_down(const struct rtc_view *view, const struct flow *flow, struct rtc_session *session,
				     uint32_t current, uint32_t ifindex, struct decision *decision)
{
	const struct lb_backend *backend = &view->lb.lb->backends[session->backend & (LB_BACKEND_ROWS - 1)];
	const struct lb_service *service = &view->lb.lb->services[session->service & (LB_SERVICE_ROWS - 1)];

	if (session->agent_port.raw != flow->source_port.raw || !address_equal(&backend->address, &flow->source) ||
	    session->upstream_port.raw != flow->destination_port.raw || !address_equal(&session->upstream, &flow->destination) ||
	    !rtc_path_is(rtc_session_path(session, current), &flow->destination, flow->destination_port) ||
	    rtc_session_path(session, current)->version & 1)
		return false;
	decision->address = service->address;
	decision->port = service->port_first;
	lb_answer_send_to(&view->lb, flow, &flow->destination, ifindex, ACTION_NAT_REVERSE, decision);
	if (likely(decision->verdict != VERDICT_DROP && decision->flags == 0))
		return true;
	*decision = (struct decision){0};
	return false;
}

/*
 * A packet of UDP in one piece, from a link of ours to us, if it is a known call's: decided and counted. False: nothing happened,
 * and `decision` is zero as it was.
 */
PACKET_INLINE bool rtc_shortcut_decide(const struct rtc_view *view, const struct packet *packet, const struct flow *flow,
				       uint32_t word, uint32_t ifindex, struct decision *decision)
{
	uint32_t row = word & RTC_INDEX_ROW_MASK, number = word >> RTC_SHORTCUT_PATH_SHIFT & 3, control;
	const struct udp_header *udp = packet_header(packet, flow->l4_offset, sizeof(*udp));
	struct rtc_session *session = rtc_session_at(view->sessions, row);
	bool up = number != RTC_PATHS;
	struct rtc_stream *stream = up ? &session->up : &session->down;
	struct rtc_head head;

	if (!udp)
		return false;
	(void)load_once(stream->last_ms); /* its line is on its way while the session's is waited for */
	head = rtc_head_read(packet, flow->l4_offset + (uint32_t)sizeof(*udp), be16_get(udp->length) - (uint32_t)sizeof(*udp));
	control = load_once(*rtc_session_control(session));
	if ((head.kind != RTC_KIND_RTP && head.kind != RTC_KIND_RTCP) || !rtc_shortcut_session_fits(view, session, control, flow) ||
	    !rtc_shortcut_stream_fits(stream, &head, view->lb.now_ms))
		return false;
	control = (control & RTC_CONTROL_CURRENT) >> RTC_CONTROL_CURRENT_SHIFT;
	if (up ? control != number || !rtc_shortcut_up(view, flow, session, number, ifindex, decision) :
		 !rtc_shortcut_down(view, flow, session, control & 3, ifindex, decision))
		return false;
	decision->function = FUNCTION_RTC;
	decision->service = session->service;
	decision->backend = session->backend;
	decision->session = row;
	rtc_stream_count(stream, &head, lb_length(flow), view->lb.now_ms);
	return true;
}

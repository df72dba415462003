/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: a trace's filter, up to a zero byte, and behind it a packet. What is understood answers for any packet, and lets
 * through no packet that the packet program was not asked for; what is not understood is refused with a sentence.
 */
#include <assert.h>
#include <string.h>

#include "ctrl/api/trace_filter.h"
#include "edge/edge_fast.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the packet program would have found in a frame. */
static bool program_reports(const struct api_trace_filter *coarse, const struct edge_event *event)
{
	const struct edge_config config = {.trace = coarse->flags, .trace_protocol = coarse->protocol, .trace_port = coarse->port,
					   .trace_address = coarse->address};
	uint8_t *bytes = (uint8_t *)event->bytes;
	struct packet packet = {.data = bytes, .end = bytes + event->captured};
	struct flow flow = {0};

	(void)flow_parse(&packet, &flow);
	return edge_trace_wanted(&config, &flow, &event->decision);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t length = strnlen((const char *)data, size);
	const uint8_t *frame = length < size ? data + length + 1 : data + size;
	size_t frame_length = (size_t)(data + size - frame);
	struct edge_event event = {.decision = {.function = FUNCTION_LB, .verdict = VERDICT_DROP, .reason = DROP_route_none}};
	const struct api_trace_packet reported = {.event = &event, .interface = "eth0", .service = "default/web:80",
						  .backend = "10.0.0.21:7000"};
	_cleanup_(freep) char *text = strndup((const char *)data, length);
	struct trace_packet packet;
	struct trace_filter *filter;
	struct error error = {0};

	event.captured = frame_length < EDGE_EVENT_BYTES ? (uint32_t)frame_length : EDGE_EVENT_BYTES;
	event.length = event.captured;
	memcpy(event.bytes, frame, event.captured);
	if (frame_length && frame[0] & 1)
		event.decision = (struct decision){.verdict = frame[0] >> 1 & (VERDICT_PLACES - 1)};
	/* what passes begins no flow */
	if (frame_length && frame[0] & 8 && event.decision.verdict != VERDICT_PASS)
		event.decision.flags = DECISION_NEW_FLOW;
	if (trace_filter_parse(text, &filter, &error) < 0) {
		assert(strncmp(error.text, "filter: ", 8) == 0);
		return 0;
	}
	trace_packet_read(&reported, &packet);
	if (trace_filter_matches(filter, &packet)) {
		struct api_trace_filter coarse = trace_filter_coarse(filter);

		assert(program_reports(&coarse, &event));
	}
	trace_filter_free(filter);
	return 0;
}

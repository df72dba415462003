/* SPDX-License-Identifier: Apache-2.0 */
/* Packets through the loaded program without a network: BPF_PROG_TEST_RUN. */
#include <string.h>

#include "ebpf/edge_deliver.h"
#include "ebpf/loader_internal.h"

#define FRAME_MIN 14u

static void event_keep(const struct edge_event *event, void *context)
{
	struct loader_run *run = context;

	if (event->kind != EDGE_EVENT_TRACE)
		return;
	run->event = *event;
	run->event_known = true;
	run->ifindex = event->decision.ifindex;
}

/*
 * What left lies behind what was put in front of it for delivery to a workload. Those bytes are not the packet's, and say
 * that it was redirected, not passed.
 */
static int run_read(struct loader_run *run, uint32_t retval, uint32_t length, const struct xdp_md *context)
{
	static const enum verdict verdicts[] = {
		[XDP_DROP] = VERDICT_DROP, [XDP_PASS] = VERDICT_PASS, [XDP_TX] = VERDICT_TX, [XDP_REDIRECT] = VERDICT_REDIRECT};
	uint32_t front = context->data - context->data_meta;
	struct edge_deliver deliver;

	if (retval == XDP_ABORTED || retval >= array_length(verdicts) || front > length)
		return -EIO;
	run->verdict = verdicts[retval];
	if (front == sizeof(deliver)) {
		memcpy(&deliver, run->bytes, sizeof(deliver));
		run->verdict = VERDICT_REDIRECT;
		run->ifindex = deliver.ifindex;
	}
	memmove(run->bytes, run->bytes + front, length - front);
	run->length = length - front;
	return 0;
}

static int run_once(const struct loader *loader, const uint8_t *frame, uint32_t length, struct loader_run *run)
{
	struct xdp_md before = {.data_end = length}, after = {0};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = length, .data_out = run->bytes,
		    .data_size_out = sizeof(run->bytes), .ctx_in = &before, .ctx_size_in = sizeof(before),
		    .ctx_out = &after, .ctx_size_out = sizeof(after));
	int code = bpf_prog_test_run_opts(loader->program_xdp, &options);

	if (code < 0)
		return code;
	run->duration_ns = options.duration;
	return run_read(run, options.retval, options.data_size_out, &after);
}

int loader_test_run(struct loader *loader, const uint8_t *frame, uint32_t length, uint32_t ingress_ifindex,
		    bool record, struct loader_run *ret_run, struct error *error)
{
	struct edge_config *config = loader->tables.config;
	uint32_t trace = config->trace;
	int code;

	if (loader->directory[0])
		return error_set(error, EINVAL, "packets cannot be run on tables in use");
	if (length < FRAME_MIN)
		return error_set(error, EINVAL, "the kernel runs no frame of less than %u bytes; this one has %u", FRAME_MIN,
				 length);
	if (length > LOADER_FRAME_MAX)
		return error_set(error, EMSGSIZE, "the kernel runs no frame of more than %u bytes here; this one has %u",
				 LOADER_FRAME_MAX, length);
	memset(ret_run, 0, offsetof(struct loader_run, bytes));
	config->ingress_override = ingress_ifindex;
	config->trace = record ? EDGE_TRACE_ON : 0;
	code = run_once(loader, frame, length, ret_run);
	config->trace = trace;
	config->ingress_override = 0;
	if (code == 0)
		code = loader_events_consume(loader, event_keep, ret_run);
	if (code < 0)
		return loader_fail(error, code, "running a frame through the XDP program");
	if (record && !ret_run->event_known)
		return error_set(error, EIO, "the XDP program left no record of the frame");
	ret_run->event.ifindex = ingress_ifindex; /* the record names the loopback device */
	return 0;
}

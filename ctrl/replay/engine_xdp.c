/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/replay/engine_xdp.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <string.h>

#include "base/packet/flow.h"
#include "ebpf/loader.h"

struct engine_xdp {
	struct engine engine; /* first: engines are cast to it */
	struct loader *loader;
	uint32_t empty_ns; /* what the kernel says a program takes that does nothing */
	struct loader_run run;
};

/*
 * The kernel's test run takes no frame without an Ethernet header, nor does a driver hand one to XDP. So that the engines
 * agree, the same parser says natively why it is dropped.
 */
static void short_frame_judge(const void *frame, uint32_t length, struct engine_outcome *ret_outcome)
{
	struct packet packet = {(uint8_t *)frame, (uint8_t *)frame + length};
	struct flow flow = {0};

	*ret_outcome = (struct engine_outcome){
		.decision = {.verdict = VERDICT_DROP, .reason = (uint8_t)flow_parse(&packet, &flow)}};
}

static int xdp_run(struct engine *engine, uint32_t ifindex, const void *frame, uint32_t length,
		   struct engine_outcome *ret_outcome, struct error *error)
{
	struct engine_xdp *xdp = (struct engine_xdp *)engine;
	struct decision *decision = &xdp->run.event.decision;
	int result;

	if (length < sizeof(struct ethernet_header)) {
		short_frame_judge(frame, length, ret_outcome);
		return 0;
	}
	result = loader_test_run(xdp->loader, frame, length, ifindex, true, &xdp->run, error);
	if (result < 0)
		return result;
	/* The record was made before the host made room; the verdict tells whether it could. */
	if (decision->verdict != VERDICT_HOLD) {
		if (decision->verdict != VERDICT_DROP && xdp->run.verdict == VERDICT_DROP)
			decision->reason = DROP_room_failed;
		decision->verdict = (uint8_t)xdp->run.verdict;
	}
	*ret_outcome = (struct engine_outcome){.decision = *decision, .bytes = xdp->run.bytes, .length = xdp->run.length};
	return 0;
}

static int xdp_time(struct engine *engine, uint32_t ifindex, const void *frame, uint32_t length, uint32_t repeat,
		    uint64_t *ret_ns, struct error *error)
{
	struct engine_xdp *xdp = (struct engine_xdp *)engine;
	uint32_t least = UINT32_MAX;

	if (length < sizeof(struct ethernet_header)) {
		*ret_ns = ENGINE_UNTIMED;
		return 0;
	}
	/* Each run is a test run of its own: within one, the packet would stay rewritten between repeats. */
	for (uint32_t i = 0; i < repeat; i++) {
		int result = loader_test_run(xdp->loader, frame, length, ifindex, false, &xdp->run, error);

		if (result < 0)
			return result;
		least = xdp->run.duration_ns < least ? xdp->run.duration_ns : least;
	}
	*ret_ns = least > xdp->empty_ns ? least - xdp->empty_ns : 0;
	return 0;
}

static int empty_time(uint32_t *ret_ns, struct error *error)
{
	static const struct bpf_insn pass[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};
	_cleanup_(closep) int program = bpf_prog_load(BPF_PROG_TYPE_XDP, "replay_empty", "GPL", pass, array_length(pass), NULL);
	uint8_t frame[64] = {0};
	uint32_t least = UINT32_MAX;

	if (program < 0)
		return error_set(error, errno, "loading an empty XDP program: %s", strerror(errno));
	for (int i = 0; i < 1000; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof(frame));
		int code = bpf_prog_test_run_opts(program, &options);

		if (code < 0)
			return error_set(error, -code, "running an empty XDP program: %s", strerror(-code));
		least = options.duration < least ? options.duration : least;
	}
	*ret_ns = least;
	return 0;
}

static void xdp_free(struct engine *engine)
{
	struct engine_xdp *xdp = (struct engine_xdp *)engine;

	loader_close(xdp->loader);
	free(xdp);
}

int engine_xdp_new(struct engine **ret_engine, struct error *error)
{
	struct engine_xdp *xdp = calloc(1, sizeof(*xdp));
	int result;

	if (!xdp)
		return error_set(error, ENOMEM, "no memory");
	result = loader_open(NULL, &xdp->loader, error);
	if (result < 0) {
		free(xdp);
		return result;
	}
	xdp->engine = (struct engine){
		.name = "xdp",
		.tables = *loader_tables(xdp->loader),
		.counter_sets = loader_counter_sets(xdp->loader),
		.run = xdp_run,
		.time = xdp_time,
		.free = xdp_free,
	};
	result = empty_time(&xdp->empty_ns, error);
	if (result < 0)
		xdp_free(&xdp->engine);
	else
		*ret_engine = &xdp->engine;
	return result;
}

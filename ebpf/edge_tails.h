/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where the packet programs go on in another one, with its own stack and its own share of the verifier's patience. The maps of
 * programs are pinned like tables: without a pin the kernel would empty them when the daemon ends.
 */
#pragma once

#include "ebpf/edge_dns.h"


/* Programs of one kind: XDP, tc. */
#define EDGE_TAILS(name)                                \
	struct {                                        \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY);  \
		__uint(max_entries, EDGE_TAIL_COUNT);   \
		__type(key, uint32_t);                  \
		__type(value, uint32_t);                \
	} name SEC(".maps")

EDGE_TAILS(edge_tails_xdp);

/* To the DNS program, for ACTION_DNS. Returns when there is none. What was read of the packet goes along in the processor's own memory. */
PACKET_INLINE void edge_tail_dns(void *context, void *tails, const struct flow *flow, const struct decision *decision)
{
	const struct edge_config *config = edge_table(edge_config);
	struct edge_counters *counters = edge_counters_get();

	if (!counters)
		return;
	dns_begin(&counters->dns, flow, edge_ingress(config, 0, edge_clock_now()).now_ms);
	counters->dns.service = decision->service;
	bpf_tail_call(context, tails, EDGE_TAIL_DNS);
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Queries to time under BPF_PROG_TEST_RUN with `repeat`. An answer lies in the query's place afterwards, so each round begins by
 * putting another query there.
 *
 *     bench_dns_swap   that, then MAC and IP addresses exchanged, XDP_TX    the bare floor
 *     bench_dns_grow   the same, and the frame grows as the answer does     so that the next round must shrink it
 *     bench_dns_edge   that, then the packet program, which goes on in its own DNS program
 *     bench_dns_touch  as bench_dns_swap, then one load at random from a table as large as the cache: what a miss costs
 *
 * The packet program is the loader's: the driver puts it into `bench_dns_programs`.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "tests/perf/dns_bench.h"
#include "tests/perf/edge_bench.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE); /* a table, for the loader */
	__type(key, uint32_t);
	__type(value, struct dns_bench_config);
} bench_dns_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, uint32_t);
} bench_dns_turn SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, uint32_t);
} bench_dns_programs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* the driver's */
	__uint(map_flags, BPF_F_MMAPABLE); /* memory of the same kind */
	__type(key, uint32_t);
	__type(value, struct dns_bench_block);
} bench_dns_blocks SEC(".maps");

/* Makes the packet the next query. By moves of eight bytes, as bench_frame_put() says. */
PACKET_INLINE bool bench_dns_begin(struct xdp_md *xdp)
{
	const struct dns_bench_config *config = (void *)&bench_dns_config;
	uint32_t zero = 0, length, *turn = bpf_map_lookup_elem(&bench_dns_turn, &zero);
	uint8_t *frame = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;

	value_opaque(frame);
	value_opaque(end);
	length = (uint32_t)(end - frame);
	if (!turn || (length != config->length && bpf_xdp_adjust_tail(xdp, (int)(config->length - length)) < 0))
		return false;
	frame = (void *)(long)xdp->data;
	if (frame + DNS_BENCH_DIGITS + 8 > (uint8_t *)(long)xdp->data_end)
		return false;
	*turn = *turn * 1664525u + 1013904223u;
	unaligned(uint64_t, frame) = unaligned(uint64_t, config->frame);
#pragma GCC unroll 6
	for (uint32_t at = 6; at < DNS_BENCH_HEAD; at += 8)
		unaligned(uint64_t, frame + at) = unaligned(uint64_t, config->frame + at);
	unaligned(uint64_t, frame + DNS_BENCH_DIGITS) = dns_bench_letters((uint32_t)((uint64_t)*turn * config->names >> 32));
	return true;
}

PACKET_INLINE int bench_dns_floor(struct xdp_md *xdp)
{
	struct packet packet;

	if (!bench_dns_begin(xdp))
		return XDP_ABORTED;
	packet = (struct packet){.data = (void *)(long)xdp->data, .end = (void *)(long)xdp->data_end};
	return bench_swap_addresses(&packet) ? XDP_TX : XDP_ABORTED;
}

SEC("xdp")
int bench_dns_swap(struct xdp_md *xdp)
{
	return bench_dns_floor(xdp);
}

SEC("xdp")
int bench_dns_grow(struct xdp_md *xdp)
{
	const struct dns_bench_config *config = (void *)&bench_dns_config;
	int verdict = bench_dns_floor(xdp);

	return bpf_xdp_adjust_tail(xdp, (int)config->growth) < 0 ? XDP_ABORTED : verdict;
}

/* Which load is next depends on what came of the last one. */
SEC("xdp")
int bench_dns_touch(struct xdp_md *xdp)
{
	const struct dns_bench_config *config = (void *)&bench_dns_config;
	uint32_t zero = 0, index, *turn = bpf_map_lookup_elem(&bench_dns_turn, &zero);
	struct dns_bench_block *block;
	int verdict = bench_dns_floor(xdp);

	if (!turn)
		return XDP_ABORTED;
	index = (uint32_t)((uint64_t)*turn * config->blocks >> 32);
	block = bpf_map_lookup_elem(&bench_dns_blocks, &index);
	if (!block)
		return XDP_ABORTED;
	*turn += load_once(block->zero);
	return verdict;
}

SEC("xdp")
int bench_dns_edge(struct xdp_md *xdp)
{
	if (bench_dns_begin(xdp))
		bpf_tail_call(xdp, &bench_dns_programs, 0);
	return XDP_ABORTED;
}

char _license[] SEC("license") = "GPL";

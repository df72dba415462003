// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Programs to time under BPF_PROG_TEST_RUN with `repeat`: the kernel leaves the packet as the program made it, so each
 * round puts back what was rewritten, or the second round would time something else. The driver checks that the packet comes back as it
 * was.
 *
 *     bench_empty    returns                               what the repetition itself costs
 *     bench_swap     swaps MAC and IP addresses, XDP_TX    the bare floor: swapped twice is restored
 *     bench_restore  varies the client, restores           what bench_edge spends around the packet program
 *     bench_edge     the same, with the packet program between
 *
 * The packet program's cost is bench_edge - bench_restore. Maps of ebpf/edge_maps.h are in this object too: give it the
 * loader's (loader_share_maps()), which hold the tables.
 */
#include "ebpf/edge_xdp.h"
#include "tests/perf/edge_bench.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE); /* a table, for the loader */
	__type(key, uint32_t);
	__type(value, struct bench_config);
} bench_config SEC(".maps");

struct bench_turn {
	uint32_t turn;
	uint32_t random;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct bench_turn);
} bench_turn SEC(".maps");

/* Makes the packet the next client's. */
PACKET_INLINE void bench_begin(struct xdp_md *xdp, const struct bench_config *config)
{
	struct edge_config *clock = edge_table(edge_config);
	uint32_t client, address, zero = 0;
	struct bench_turn *turn = bpf_map_lookup_elem(&bench_turn, &zero);
	struct packet packet = edge_xdp_view(xdp);
	uint8_t *frame;
	uint16_t port;

	if (!turn)
		return;
	if (config->new_epochs)
		clock->epoch_override++;
	if (config->flows == 0)
		return;
	client = bench_client_next(config, &turn->turn, &turn->random);
	address = __builtin_bswap32(config->source_base + client);
	port = bench_client_port(client);
	frame = packet_header(&packet, 0, BENCH_FRAME_BYTES);
	if (!frame)
		return;
	if (config->downward) {
		unaligned(uint32_t, frame + BENCH_SOURCE_OFFSET + BENCH_DOWN_ADDRESS) = address;
		unaligned(uint16_t, frame + BENCH_PORT_OFFSET + BENCH_DOWN_PORT) = port;
		return;
	}
	unaligned(uint32_t, frame + BENCH_SOURCE_OFFSET) = address;
	unaligned(uint16_t, frame + BENCH_PORT_OFFSET) = port;
}

/* Undoes the room that was made, takes away what was put in front, and puts the frame back. */
PACKET_INLINE void bench_end(struct xdp_md *xdp, const struct bench_config *config)
{
	struct packet packet = edge_xdp_view(xdp);
	uint8_t *meta = (void *)(long)xdp->data_meta, *frame;

	value_opaque(meta); /* verifier: the compiler must not learn that it is equal to the data's place */
	if (meta != packet.data)
		bpf_xdp_adjust_meta(xdp, sizeof(struct edge_deliver));
	if (edge_xdp_length(xdp) != config->length)
		bpf_xdp_adjust_head(xdp, (int)(edge_xdp_length(xdp) - config->length));
	packet = edge_xdp_view(xdp);
	frame = packet_header(&packet, 0, BENCH_FRAME_BYTES);
	if (frame)
		bench_frame_put(frame, config);
}

SEC("xdp")
int bench_empty(struct xdp_md *xdp)
{
	return XDP_PASS;
}

SEC("xdp")
int bench_swap(struct xdp_md *xdp)
{
	struct packet packet = edge_xdp_view(xdp);

	return bench_swap_addresses(&packet) ? XDP_TX : XDP_ABORTED;
}

SEC("xdp")
int bench_restore(struct xdp_md *xdp)
{
	struct bench_config *config = edge_table(bench_config);

	bench_begin(xdp, config);
	bench_end(xdp, config);
	return XDP_PASS;
}

SEC("xdp")
int bench_edge(struct xdp_md *xdp)
{
	int verdict;

	bench_begin(xdp, edge_table(bench_config));
	verdict = edge_xdp_run(xdp);
	bench_end(xdp, edge_table(bench_config));
	return verdict;
}

char _license[] SEC("license") = "GPL";

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Programs to time under BPF_PROG_TEST_RUN with `repeat`: the kernel leaves the packet as the program made it, so each
 * round puts back what was rewritten, or the second round would time something else.
 *
 *     bench_empty    returns                               what the repetition itself costs
 *     bench_swap     swaps MAC and IP addresses, XDP_TX    the bare floor: swapped twice is restored
 *     bench_restore  saves, varies the client, restores    what bench_edge spends around the packet program
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
	__type(key, uint32_t);
	__type(value, struct bench_config);
} bench_config SEC(".maps");

struct bench_scratch {
	uint8_t bytes[BENCH_SAVED_BYTES];
	uint32_t turn;
	uint32_t random;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct bench_scratch);
} bench_scratch SEC(".maps");

PACKET_INLINE void bench_client_vary(struct xdp_md *xdp, const struct bench_config *config,
				     struct bench_scratch *scratch)
{
	uint32_t client, address;
	uint16_t port;

	if (config->flows == 0)
		return;
	client = bench_client_next(config, &scratch->turn, &scratch->random);
	address = __builtin_bswap32(config->source_base + client);
	port = bench_client_port(client);
	bpf_xdp_store_bytes(xdp, config->source_offset & 127, &address, sizeof(address));
	bpf_xdp_store_bytes(xdp, config->port_offset & 127, &port, sizeof(port));
}

/* Undoes the room that was made, and takes away what was put in front. */
PACKET_INLINE void bench_room_undo(struct xdp_md *xdp, uint32_t length)
{
	if (xdp->data_meta != xdp->data)
		bpf_xdp_adjust_meta(xdp, sizeof(struct edge_deliver));
	if (edge_xdp_length(xdp) != length)
		bpf_xdp_adjust_head(xdp, (int)(edge_xdp_length(xdp) - length));
}

PACKET_INLINE int bench_run(struct xdp_md *xdp, bool edge)
{
	struct bench_config *config = edge_table(&bench_config);
	struct bench_scratch *scratch = edge_table(&bench_scratch);
	struct edge_config *clock = edge_table(&edge_config);
	uint32_t length = edge_xdp_length(xdp), saved = length;
	int verdict = XDP_ABORTED;

	value_opaque(saved);
	if (saved > BENCH_SAVED_BYTES)
		saved = BENCH_SAVED_BYTES;
	if (saved == 0 || !config || !scratch || bpf_xdp_load_bytes(xdp, 0, scratch->bytes, saved) < 0)
		return XDP_ABORTED;
	bench_client_vary(xdp, config, scratch);
	if (config->new_epochs && clock)
		clock->epoch_override++;
	if (edge) {
		verdict = edge_xdp_run(xdp);
		bench_room_undo(xdp, length);
	}
	bpf_xdp_store_bytes(xdp, 0, scratch->bytes, saved);
	return verdict;
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
	struct ethernet_header *ethernet = packet_header(&packet, 0, sizeof(*ethernet) + sizeof(struct ipv4_header));
	struct ipv4_header *ipv4;
	struct be32 address;
	uint64_t mac;

	if (!ethernet)
		return XDP_ABORTED;
	ipv4 = (struct ipv4_header *)(ethernet + 1);
	mac = mac_word(ethernet->destination);
	mac_store(ethernet->destination, mac_word(ethernet->source));
	mac_store(ethernet->source, mac);
	address = ipv4->source;
	ipv4->source = ipv4->destination;
	ipv4->destination = address;
	return XDP_TX;
}

SEC("xdp")
int bench_restore(struct xdp_md *xdp)
{
	return bench_run(xdp, false);
}

SEC("xdp")
int bench_edge(struct xdp_md *xdp)
{
	return bench_run(xdp, true);
}

char _license[] SEC("license") = "GPL";

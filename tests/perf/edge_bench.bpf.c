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
	uint32_t length; /* verifier: here and not on the stack, which the packet program fills */
	uint32_t address;
	uint16_t port;
	uint16_t zero;
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
	uint32_t client;

	if (config->flows == 0)
		return;
	client = bench_client_next(config, &scratch->turn, &scratch->random);
	scratch->address = __builtin_bswap32(config->source_base + client);
	scratch->port = bench_client_port(client);
	bpf_xdp_store_bytes(xdp, config->source_offset & 127, &scratch->address, sizeof(scratch->address));
	bpf_xdp_store_bytes(xdp, config->port_offset & 127, &scratch->port, sizeof(scratch->port));
}

/* Undoes the room that was made, and takes away what was put in front. */
PACKET_INLINE void bench_room_undo(struct xdp_md *xdp, uint32_t length)
{
	if (xdp->data_meta != xdp->data)
		bpf_xdp_adjust_meta(xdp, sizeof(struct edge_deliver));
	if (edge_xdp_length(xdp) != length)
		bpf_xdp_adjust_head(xdp, (int)(edge_xdp_length(xdp) - length));
}

/* Saves the packet and makes it the next client's; how many bytes were saved, 0 when that cannot be. */
PACKET_INLINE uint32_t bench_begin(struct xdp_md *xdp)
{
	struct bench_config *config = edge_table(&bench_config);
	struct bench_scratch *scratch = edge_table(&bench_scratch);
	struct edge_config *clock = edge_table(&edge_config);
	uint64_t saved = edge_xdp_length(xdp);

	value_opaque(saved);
	if (saved > BENCH_SAVED_BYTES)
		saved = BENCH_SAVED_BYTES;
	if (saved == 0 || !config || !scratch || !clock || bpf_xdp_load_bytes(xdp, 0, scratch->bytes, (uint32_t)saved) < 0)
		return 0;
	scratch->length = edge_xdp_length(xdp);
	bench_client_vary(xdp, config, scratch);
	if (config->new_epochs)
		clock->epoch_override++;
	return (uint32_t)saved;
}

/* Puts it back as it was. */
PACKET_INLINE void bench_end(struct xdp_md *xdp, bool edge)
{
	struct bench_scratch *scratch = edge_table(&bench_scratch);
	uint64_t saved; /* verifier: bounds of 32 bits are not carried to 64 */

	if (!scratch)
		return;
	if (edge)
		bench_room_undo(xdp, scratch->length);
	saved = scratch->length;
	value_opaque(saved);
	if (saved > BENCH_SAVED_BYTES)
		saved = BENCH_SAVED_BYTES;
	if (saved)
		bpf_xdp_store_bytes(xdp, 0, scratch->bytes, (uint32_t)saved);
}

PACKET_INLINE int bench_run(struct xdp_md *xdp, bool edge)
{
	int verdict = XDP_PASS;

	if (bench_begin(xdp) == 0)
		return XDP_ABORTED;
	if (edge)
		verdict = edge_xdp_run(xdp);
	bench_end(xdp, edge);
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

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The packet program on a NIC. */
#include "ebpf/edge_xdp.h"
#include "ebpf/edge_xdp_dns.h"

SEC("xdp")
int edge_xdp(struct xdp_md *xdp)
{
	return edge_xdp_run(xdp);
}

/* Reached from there alone. */
SEC("xdp")
int edge_xdp_dns(struct xdp_md *xdp)
{
	return edge_xdp_dns_run(xdp);
}

char _license[] SEC("license") = "GPL";

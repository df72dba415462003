// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * For the switch's end of a veth whose other end runs the packet program: the veth driver wakes a receiver of XDP_TX and
 * redirected frames only when that has a program of its own. Real NICs need nothing of the kind.
 *
 *     ip link set dev IF xdp object xdp_pass.bpf.o section xdp.frags
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp.frags")
int xdp_pass(struct xdp_md *xdp)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";

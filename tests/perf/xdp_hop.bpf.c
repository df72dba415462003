/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The least that a node of XDP can do: what comes in at one interface leaves by another, for one neighbour. The floor of tools/bench
 * rtc, which gives the interfaces these numbers and the agent this address.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define TOWARDS_AGENT 20

static const __u8 agent[6] = {0x02, 0, 0, 0, 0, 0x0b};

SEC("xdp.frags")
int hop(struct xdp_md *packet)
{
	__u8 *bytes = (void *)(long)packet->data;

	if (bytes + 14 > (__u8 *)(long)packet->data_end || bytes[12] != 0x08 || bytes[13] != 0x00)
		return XDP_PASS;
	__builtin_memcpy(bytes, agent, 6);
	return (int)bpf_redirect(TOWARDS_AGENT, 0);
}

char _license[] SEC("license") = "GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The least that can answer: UDP to port 53 goes back to whoever sent it, with MAC and IP addresses and ports exchanged, which leaves
 * checksums as they were. The floor of tools/bench dns.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stddef.h>
#include <bpf/bpf_helpers.h>

struct frame {
	__u8 to[6], from[6];
	__u8 type[2];
	__u8 version_ihl, tos;
	__u8 between[7];
	__u8 protocol;
	__u8 checksum[2];
	__u8 source[4], destination[4];
	__u8 source_port[2], destination_port[2];
};

static __always_inline void exchange(__u8 *a, __u8 *b, __u32 length)
{
#pragma unroll
	for (__u32 i = 0; i < length; i++) {
		__u8 byte = a[i];

		a[i] = b[i];
		b[i] = byte;
	}
}

static __always_inline int turn_round(void *begin, void *end)
{
	struct frame *frame = begin;

	if ((void *)(frame + 1) > end || frame->type[0] != 0x08 || frame->type[1] != 0x00 || frame->version_ihl != 0x45 ||
	    frame->protocol != 17 || frame->destination_port[0] != 0 || frame->destination_port[1] != 53)
		return 0;
	exchange(frame->to, frame->from, 6);
	exchange(frame->source, frame->destination, 4);
	exchange(frame->source_port, frame->destination_port, 2);
	return 1;
}

SEC("xdp.frags")
int echo_xdp(struct xdp_md *packet)
{
	return turn_round((void *)(long)packet->data, (void *)(long)packet->data_end) ? XDP_TX : XDP_PASS;
}

SEC("tc")
int echo_tc(struct __sk_buff *packet)
{
	if (!turn_round((void *)(long)packet->data, (void *)(long)packet->data_end))
		return TC_ACT_OK;
	return (int)bpf_redirect(packet->ifindex, 0);
}

char _license[] SEC("license") = "GPL";

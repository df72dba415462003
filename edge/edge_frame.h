/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame that a client might send, made from addresses and ports, so that one can ask what would happen to it. Of UDP it is one that
 * a call may have. Pure.
 */
#pragma once

#include "base/lib/cleanup.h"
#include "base/packet/address.h"

#define EDGE_FRAME_SIZE 96u

/* Addresses of one family; ports in host order, 0 where the protocol has none. */
struct edge_frame {
	uint64_t source_mac, destination_mac; /* mac_word()s */
	uint16_t vlan;                        /* 0: untagged */
	uint8_t protocol;                     /* TCP, UDP, or the family's ICMP: an echo request */
	bool ipv6;
	bool established; /* TCP: a packet in the middle, not the first SYN */
	struct address source, destination;
	uint16_t source_port, destination_port;
};

/* Writes the whole frame, with right lengths and checksums; returns how long it is. */
size_t edge_frame_write(const struct edge_frame *frame, uint8_t ret_bytes[static EDGE_FRAME_SIZE]);

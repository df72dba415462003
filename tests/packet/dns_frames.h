/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random queries in frames, and answers that a cache may have to them: mostly as resolvers send them, sometimes a neighbour of
 * that, cut off, or with a bit of noise. The same seed gives the same.
 */
#pragma once

#include "tests/packet/frames.h"

#define DNS_FRAMES_ANSWER_MAX 2048u

/* Where queries go: these addresses of the node, port 53, and this hardware address. */
#define DNS_FRAMES_IPV4 0x141ea9fe /* 169.254.20.10, as loaded */
#define DNS_FRAMES_MAC 0x0100000000feull

/* A query by an interface's frame; returns how long it is. */
uint32_t dns_frame_query(struct frames *frames, uint8_t frame[static FRAMES_LENGTH_MAX]);
/* A whole answer to one of those queries, from the DNS header on; returns how long it is. */
uint32_t dns_frame_answer(struct frames *frames, uint8_t answer[static DNS_FRAMES_ANSWER_MAX]);
/* One of their names in wire form; returns how long it is. */
uint32_t dns_frame_name(struct frames *frames, uint8_t name[static 255]);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random frames that look like real ones: for every place where the packet program looks, mostly what it hopes for, sometimes
 * a neighbour of it, sometimes noise. Addresses and ports are those of tests/vectors, from small pools, so that flows are
 * begun, continued and answered. The same seed gives the same frames.
 */
#pragma once

#include <stdint.h>

#define FRAMES_LENGTH_MAX 2048u

#define FRAMES_TRAIN_MAX 10u

struct frames {
	uint64_t state; /* the seed, at first */
	struct {
		uint8_t bytes[FRAMES_LENGTH_MAX];
		uint32_t length;
	} train[FRAMES_TRAIN_MAX]; /* fragments of one datagram that are still to come */
	uint32_t train_length;
	uint32_t media_sequence; /* of media_frame_next()'s streams */
};

uint32_t frames_random(struct frames *frames, uint32_t below);

/* Writes a frame and returns its length. */
uint32_t frames_next(struct frames *frames, uint8_t frame[static FRAMES_LENGTH_MAX]);
/* Where it comes in: the index of the scenarios' eth0 or eth1, mostly the one that it is addressed to. */
uint32_t frames_interface(struct frames *frames, const uint8_t *frame, uint32_t length);
/* The packet of a frame as another node of the scenarios "lan" or "hops" wraps it for this one, at most 112 bytes longer; 0: it holds none. */
uint32_t frames_wrap(struct frames *frames, const uint8_t *packet, uint32_t length, uint8_t frame[static FRAMES_LENGTH_MAX]);
/* An ICMP error about a packet that went out, at most 48 bytes longer; 0 when there can be none. */
uint32_t frames_error(struct frames *frames, const uint8_t *packet, uint32_t length, uint8_t frame[static FRAMES_LENGTH_MAX]);
/* An answer to a packet with ports, or to a fragment, as its receiver would send it, at most 64 bytes longer; 0 when there can be none. */
uint32_t frames_answer(struct frames *frames, const uint8_t *packet, uint32_t length, uint8_t frame[static FRAMES_LENGTH_MAX]);

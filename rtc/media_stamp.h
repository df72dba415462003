/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the media check writes into its frames, and selvage-echo beside it: when a frame was sent, and when it was sent back. An agent that
 * knows nothing of it sends the frame back as it is, and only the round trip is known.
 *
 *      0       TOC byte of Opus: one frame of 20 ms, full band, mono (RFC 6716 section 3.1)
 *      1..7    "SLVGTIM"
 *      8..15   when it was sent, in us of the sender's clock
 *     16..19   number of the frame, from 0
 *     20..23   0
 *     24..31   the agent's clock: 0 while no agent has written
 *     32..39   when the agent took it, in us of its clock
 *
 * All in network order. Two clocks are one when their numbers are the same: that of CLOCK_MONOTONIC on one boot of one machine.
 * Pure but for media_stamp_clock(); any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/lib/bytes.h"

#define MEDIA_STAMP_SIZE 40

struct media_stamp {
	uint64_t sent_us;
	uint32_t number;
	uint64_t agent_clock; /* 0: the agent wrote nothing */
	uint64_t agent_us;
};

static const uint8_t media_stamp_magic[8] = {0x78, 'S', 'L', 'V', 'G', 'T', 'I', 'M'};

static inline bool media_stamp_is(const uint8_t *payload, size_t length)
{
	return length >= MEDIA_STAMP_SIZE && memcmp(payload, media_stamp_magic, sizeof(media_stamp_magic)) == 0;
}

static inline void media_stamp_write(uint8_t payload[static MEDIA_STAMP_SIZE], const struct media_stamp *stamp)
{
	memcpy(payload, media_stamp_magic, sizeof(media_stamp_magic));
	bytes_put64(payload + 8, stamp->sent_us);
	bytes_put32(payload + 16, stamp->number);
	bytes_put32(payload + 20, 0);
	bytes_put64(payload + 24, stamp->agent_clock);
	bytes_put64(payload + 32, stamp->agent_us);
}

/* Only where media_stamp_is(). */
static inline struct media_stamp media_stamp_read(const uint8_t payload[static MEDIA_STAMP_SIZE])
{
	return (struct media_stamp){
		.sent_us = bytes_get64(payload + 8),
		.number = bytes_get32(payload + 16),
		.agent_clock = bytes_get64(payload + 24),
		.agent_us = bytes_get64(payload + 32),
	};
}

/* The number of this machine's clock; never 0. */
uint64_t media_stamp_clock(void);

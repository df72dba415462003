/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of calls, for the scenario tests/vectors/media: one around given data, and random ones. */
#pragma once

#include "rtc/rtc_state.h"
#include "rtc/ufrag.h"
#include "tests/packet/frames.h"

/* The secret of docs/wire/ufrag.md's examples, which the scenario's encoded fragments are made with. */
struct rtc_ufrag_secret media_frame_secret(void);

/* Makes the session in this row, if it lives, one whose client's key is known: that of the frames. Of every second one its first stream's counter is known. */
void media_key_tell(struct rtc_tables *tables, struct rtc_sessions *sessions, uint32_t row);

/* Who sends to whom: an index below MEDIA_PLACES chooses the client; and the agent, on the way down. */
#define MEDIA_PLACES 16u
#define MEDIA_DATA_MAX 1400u

/* Writes a frame with a call's datagram in it, up from a client or down from an agent; returns its length. */
uint32_t media_frame(uint32_t place, bool down, const uint8_t *data, uint32_t length, uint8_t frame[static FRAMES_LENGTH_MAX]);

/* What a call's clients and agents send, mostly: checks, answers, media in sequence from addresses that change. */
uint32_t media_frame_next(struct frames *frames, uint8_t frame[static FRAMES_LENGTH_MAX]);

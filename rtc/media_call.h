/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One whole call as a client: an offer by WHIP, a way by ICE, keys by DTLS, a frame of audio every 20 ms that the agent sends back, goodbye. What
 * the media check and the health check `media` run. Nothing blocks. One thread: the one that runs the event base.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "rtc/media_peer.h"

struct event_base;
struct media_call;

#define MEDIA_CALL_PAYLOAD 160

struct media_call_config {
	struct event_base *base;
	const struct media_identity *identity; /* borrowed, outlives the call */
	struct media_endpoint whip;            /* TCP */
	const char *whip_host, *whip_path, *whip_token; /* as in media_whip.h; borrowed */
	/* Where media go, whatever candidates the answer has; port 0: to those. */
	struct media_endpoint media;
	enum media_profile only; /* MEDIA_PROFILE_NONE: what the agent likes */
	uint32_t timeout_ms;     /* of each HTTP request */
	uint64_t clock;          /* media_stamp_clock() */
	/*
	 * For each frame that came back: the round trip, and if the agent's clock is ours (`one_way`) the ways there and back. NULL is
	 * fine. The call must not be freed from within.
	 */
	void (*frame)(void *context, uint32_t round_trip_us, bool one_way, uint32_t there_us, uint32_t back_us);
	/* The state of the peer changed, or HTTP failed (MEDIA_FAILED). The same. */
	void (*state)(void *context, enum media_state state, const char *why);
	/* After media_call_hang_up(): all is said; now it may be freed, but not from within. */
	void (*ended)(void *context);
	void *context;
};

/* Begins at once. -errno when not even a socket can be had. */
must_check int media_call_new(const struct media_call_config *config, struct media_call **ret_call, struct error *error);
/* At once: a goodbye on the way of media, none by WHIP. NULL is fine. */
void media_call_free(struct media_call *call);
/* Says goodbye, ends the session by WHIP, then `ended`. Frames are not sent any more. */
void media_call_hang_up(struct media_call *call);
/* Stops sending; what is under way may still come back. */
void media_call_stop_sending(struct media_call *call);
/* Goes on from a new socket, with another port, as when a NAT forgot the old one. */
must_check int media_call_rebind(struct media_call *call, struct error *error);
/* An ICE restart by WHIP. */
must_check int media_call_restart_ice(struct media_call *call, struct error *error);

struct media_call_result {
	struct media_statistics peer;
	uint32_t whip_us;    /* from the start to the answer; 0: none came */
	uint32_t path_us;    /* from the start until ICE had a way */
	uint32_t connect_us; /* from the start until media could be sent */
	uint32_t first_us;   /* from the start until the first frame was back */
	uint64_t sent, returned;
	/* Of frames that came back, in the order of their coming. */
	uint64_t longest_gap_us;
	uint64_t round_trips, round_trips_sum_us;
	uint32_t round_trip_min_us, round_trip_max_us;
	uint64_t unsent; /* frames that the kernel did not take, or that were due before the call had a way */
};
struct media_call_result media_call_result(const struct media_call *call);

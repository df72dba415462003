/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent behind selvage-echo: calls come by WHIP (RFC 9725) over HTTP, their media to one UDP port for all, and every frame of audio goes back
 * to where it came from. One thread: the one that runs the event base.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "rtc/media_endpoint.h"
#include "rtc/media_srtp.h"

struct event_base;
struct echo;

#define ECHO_ANNOUNCED_MAX 8

struct echo_config {
	struct event_base *base;
	struct media_endpoint http;  /* where WHIP is spoken; port 0: any */
	struct media_endpoint media; /* where media come; port 0: any */
	/* Candidates of the answers: a virtual IP and its port. None: `media`, which then must be an address. */
	struct media_endpoint announced[ECHO_ANNOUNCED_MAX];
	size_t announced_count;
	uint32_t sessions_max;
	bool full_ice;           /* checks the clients itself, instead of only answering (ICE lite) */
	bool dtls_active;        /* begins the handshake where the client lets it choose */
	enum media_profile only; /* MEDIA_PROFILE_NONE: both */

	/* Fragments that a virtual IP understands; at most one of the three. None: at random. */
	const char *fragment_file; /* one in each line, taken in their order; read again at its end */
	bool fragments_encoded;    /* asked of selvaged, some in advance */
	bool fragments_registered; /* at random, and told to selvaged */
	/* For the last two. */
	const char *selvaged_socket;
	const char *service; /* NAME or NAMESPACE/NAME */
	const char *backend; /* ADDRESS:PORT of this agent as the service knows it */
};

/* All strings are borrowed and outlive the agent. */
must_check int echo_new(const struct echo_config *config, struct echo **ret_echo, struct error *error);
void echo_free(struct echo *echo); /* NULL is fine; says goodbye to who is there */

/* Where it listens, with the ports that the kernel gave. */
struct media_endpoint echo_http(const struct echo *echo);
struct media_endpoint echo_media(const struct echo *echo);

struct echo_counters {
	uint64_t sessions;         /* now */
	uint64_t connected;        /* of them */
	uint64_t sessions_total;   /* begun */
	uint64_t connected_total;
	uint64_t failed_total;     /* ended without goodbye: no way found, no handshake, no consent */
	uint64_t refused_total;    /* WHIP requests that were not accepted */
	uint64_t frames_total;     /* sent back */
	uint64_t strays_total;     /* datagrams of no session */
	uint64_t unsent_total;     /* the kernel had no room */
	uint64_t overflows_total;  /* the same on the way in */
};
struct echo_counters echo_counters(const struct echo *echo);

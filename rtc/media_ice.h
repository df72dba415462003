/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ICE agent (RFC 8445) for one component on one socket: full, controlling or controlled, or lite; with consent (RFC 7675). Bytes and
 * time come in, bytes leave by a call. One socket means that a pair of candidates is known by its remote end.
 *
 * What differs from the RFCs: checks are repeated after 100 ms first (not 500) and every repetition is a transaction of its
 * own, so that each answer tells a round trip; the controlling agent nominates the first pair that works. Of several
 * nominations the latest counts, so a peer that moves may say so.
 *
 * One thread at a time. Times are microseconds of any clock that only goes forward.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rtc/media_endpoint.h"
#include "rtc/media_stun.h"
#include "rtc/sdp.h"

#define MEDIA_ICE_PAIRS 32
#define MEDIA_ICE_TRANSACTIONS 4
#define MEDIA_ICE_CONSENT_US 30000000ull /* RFC 7675 section 5.1 */

enum media_ice_state { MEDIA_ICE_NEW, MEDIA_ICE_CHECKING, MEDIA_ICE_CONNECTED, MEDIA_ICE_FAILED };

struct media_ice_config {
	bool controlling, lite; /* lite is never controlling */
	void (*send)(void *context, const struct media_endpoint *to, const uint8_t *bytes, size_t length);
	void *context;
};

struct media_ice_credentials {
	char ufrag[SDP_UFRAG_SIZE]; /* "": none yet */
	char password[SDP_PASSWORD_SIZE];
};

struct media_ice_transaction {
	uint8_t id[MEDIA_STUN_TRANSACTION_SIZE];
	uint64_t sent_us; /* 0: free */
	bool nominating;
};

enum media_ice_pair_state { MEDIA_ICE_PAIR_WAITING, MEDIA_ICE_PAIR_VALID, MEDIA_ICE_PAIR_DEAD };

struct media_ice_pair {
	struct media_endpoint remote;
	uint32_t priority; /* of the remote candidate */
	enum media_ice_pair_state state;
	bool wanted;   /* the controlling side nominated it: selected as soon as it is valid */
	bool heard;    /* an authenticated request came from it */
	uint32_t attempts;
	uint64_t next_us; /* of its check */
	struct media_ice_transaction transactions[MEDIA_ICE_TRANSACTIONS];
	uint32_t transaction_next;
};

/* Read freely; written by the functions below. */
struct media_ice {
	struct media_ice_config config;
	struct media_ice_credentials local, remote, previous; /* previous: before a restart, still answered */
	uint64_t tie_breaker;
	enum media_ice_state state;
	struct media_ice_pair pairs[MEDIA_ICE_PAIRS];
	size_t pair_count;
	bool selected; /* in this generation of credentials */
	bool has_path;
	struct media_endpoint path; /* where media go: outlives a restart until the next nomination */
	uint64_t started_us;        /* of checks; 0: not yet */
	uint64_t paced_us;          /* no check before */
	uint64_t consent_us;        /* when the peer last agreed */
	uint64_t consent_next_us;   /* of our asking */
	uint32_t round_trip_us;     /* of the last answered check; 0: none yet */
	uint64_t round_trips, round_trips_sum_us;
	uint64_t refused; /* messages with wrong integrity or unknown fragment */
};

void media_ice_init(struct media_ice *ice, const struct media_ice_config *config);

/* New credentials of ours; the second time it is a restart (RFC 8445 section 9): what works goes on until it is replaced. */
void media_ice_set_local(struct media_ice *ice, const char *ufrag, const char *password);
void media_ice_set_remote(struct media_ice *ice, const char *ufrag, const char *password);
/* Those beyond MEDIA_ICE_PAIRS are left out. */
void media_ice_add_candidate(struct media_ice *ice, const struct media_endpoint *remote, uint32_t priority);

/* A datagram that media_stun_is() names. */
void media_ice_receive(struct media_ice *ice, uint64_t now_us, const struct media_endpoint *from, const uint8_t *bytes,
		       size_t length);
/* Sends what is due; returns when it wants to be called again, UINT64_MAX: never. */
uint64_t media_ice_advance(struct media_ice *ice, uint64_t now_us);

/* Where to send: the nominated pair, before that one that works. NULL: nowhere. */
const struct media_endpoint *media_ice_path(const struct media_ice *ice);
/* Whether the peer proved to be at this address. */
bool media_ice_knows(const struct media_ice *ice, const struct media_endpoint *remote);

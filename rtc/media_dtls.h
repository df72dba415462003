/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DTLS-SRTP (RFC 5763, RFC 5764): a handshake over datagrams that come as arguments and leave by a call, which ends with keys
 * for SRTP. The peer is who its certificate says, and that is what the SDP said: nothing else is trusted. OpenSSL 3.
 *
 * OpenSSL reads the time of retransmissions from the system's clock itself; everything else here is a pure function. One thread at a time for
 * each object; an identity may be used by several.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "rtc/media_srtp.h"
#include "rtc/sdp.h"

/* A self-signed certificate with its ECDSA key (P-256), made when it is needed and never written anywhere. */
struct media_identity;

must_check int media_identity_new(struct media_identity **ret_identity, struct error *error);
void media_identity_free(struct media_identity *identity); /* NULL is fine */
const struct sdp_fingerprint *media_identity_fingerprint(const struct media_identity *identity);

struct media_dtls;

enum media_dtls_state { MEDIA_DTLS_HANDSHAKE, MEDIA_DTLS_CONNECTED, MEDIA_DTLS_CLOSED, MEDIA_DTLS_FAILED };

struct media_dtls_config {
	const struct media_identity *identity; /* borrowed, outlives the object */
	bool active;                           /* sends the first message */
	enum media_profile only;               /* MEDIA_PROFILE_NONE: both, GCM first */
	const struct sdp_fingerprint *fingerprints; /* the peer's, copied */
	size_t fingerprint_count;                   /* at most SDP_FINGERPRINTS_MAX */
	/* From within the calls below. */
	void (*send)(void *context, const uint8_t *bytes, size_t length);
	void *context;
};

must_check int media_dtls_new(const struct media_dtls_config *config, struct media_dtls **ret_dtls, struct error *error);
void media_dtls_free(struct media_dtls *dtls); /* NULL is fine */

/* Whether this is a DTLS record, among what comes to a port of media (RFC 7983). */
bool media_dtls_is(const uint8_t *bytes, size_t length);

/* The active side's first message. */
void media_dtls_start(struct media_dtls *dtls);
void media_dtls_receive(struct media_dtls *dtls, const uint8_t *bytes, size_t length);
/* Retransmits what is due; returns the microseconds until it wants to be called again, UINT64_MAX: never. */
uint64_t media_dtls_advance(struct media_dtls *dtls);
/* Tells the peer that this is the end. */
void media_dtls_close(struct media_dtls *dtls);

enum media_dtls_state media_dtls_state(const struct media_dtls *dtls);
/* Why it failed; "" before. */
const char *media_dtls_reason(const struct media_dtls *dtls);
/* Once connected. */
must_check int media_dtls_keys(const struct media_dtls *dtls, struct media_srtp_keys *ret_keys, struct error *error);

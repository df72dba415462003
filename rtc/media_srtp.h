/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SRTP and SRTCP (RFC 3711, RFC 7714) for one session, both directions, with the keys of a DTLS handshake. libsrtp2 does the
 * work. One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"

/* In the order of preference; numbers are those of RFC 5764 section 4.1.2 and RFC 7714 section 14.2. */
enum media_profile {
	MEDIA_PROFILE_NONE = 0,
	MEDIA_PROFILE_AES128_CM_SHA1_80 = 0x0001,
	MEDIA_PROFILE_AEAD_AES_128_GCM = 0x0007,
};

#define MEDIA_SRTP_KEY_MAX 30 /* master key and salt: 16 + 14, or 16 + 12 */
#define MEDIA_SRTP_ROOM 64    /* by which a packet may grow: tag, index */

struct media_srtp_keys {
	enum media_profile profile;
	uint8_t ours[MEDIA_SRTP_KEY_MAX], theirs[MEDIA_SRTP_KEY_MAX]; /* key, then salt */
};

struct media_srtp;

/* 16 bytes of key and so many of salt. */
size_t media_profile_salt_size(enum media_profile profile);
const char *media_profile_name(enum media_profile profile);

/* What DTLS exports (RFC 5764 section 4.2), as the client in its handshake (the active one) or the server has it. */
struct media_srtp_keys media_srtp_keys_split(enum media_profile profile, const uint8_t material[static 2 * MEDIA_SRTP_KEY_MAX],
					     bool client);

must_check int media_srtp_new(const struct media_srtp_keys *keys, struct media_srtp **ret_srtp, struct error *error);
void media_srtp_free(struct media_srtp *srtp);

/*
 * In place. Protecting wants MEDIA_SRTP_ROOM bytes behind the packet. -EBADMSG: the tag is wrong, or it came before (RFC 3711
 * section 3.3.2); -EIO: libsrtp refuses otherwise. `*length` is the packet's before and after.
 */
must_check int media_srtp_protect(struct media_srtp *srtp, uint8_t *packet, size_t *length);
must_check int media_srtp_unprotect(struct media_srtp *srtp, uint8_t *packet, size_t *length);
must_check int media_srtcp_protect(struct media_srtp *srtp, uint8_t *packet, size_t *length);
must_check int media_srtcp_unprotect(struct media_srtp *srtp, uint8_t *packet, size_t *length);

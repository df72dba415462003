/* SPDX-License-Identifier: Apache-2.0 */
/* The SRTP key of one direction, as signalling and DTLS know it: a profile's name, its master key and salt. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "rtc/rtc_state.h"

#define SRTP_KEY_BYTES 16u
#define SRTP_SALT_BYTES 14u

struct srtp_key {
	enum rtc_srtp_profile profile;
	uint8_t key[SRTP_KEY_BYTES];
	uint8_t salt[SRTP_SALT_BYTES];
	uint8_t zero[2]; /* no padding: compared as bytes */
};

/* "SRTP_AES128_CM_HMAC_SHA1_80" (RFC 5764 section 4.1.2); NULL: none of those known here. */
const char *srtp_profile_name(enum rtc_srtp_profile profile);

/*
 * `text`: master key and salt one behind the other, in base64 (RFC 4648 section 4), as SDP has them (RFC 4568 section 6.1). -EINVAL with
 * what is wrong, which does not repeat the key.
 */
must_check int srtp_key_parse(const char *profile, const char *text, struct srtp_key *ret_key, struct error *error);

#define SRTP_KEY_TEXT_SIZE 41 /* with its zero */

/* The same text again. Returns `text`. */
const char *srtp_key_format(const struct srtp_key *key, char text[static SRTP_KEY_TEXT_SIZE]);

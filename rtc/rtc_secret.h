/* SPDX-License-Identifier: Apache-2.0 */
/* An ICE password and an SRTP key as packets are checked with them (rtc/rtc_integrity.h, rtc/rtc_srtp.h). Pure. */
#pragma once

#include "rtc/rtc_state.h"
#include "rtc/srtp_key.h"

/* `fragment`: rtc_fragment_hash() of the user fragment that the password is for. */
struct rtc_secret rtc_secret_of(uint64_t fragment, const char *password);

/* Likewise of the key of a client's SRTP, that was told for a fragment: the session's authentication key is derived of it (RFC 3711 section 4.3). */
struct rtc_srtp rtc_srtp_of(uint64_t fragment, const struct srtp_key *key);

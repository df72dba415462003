/* SPDX-License-Identifier: Apache-2.0 */
/* An ICE password as packets are checked with it (rtc/rtc_integrity.h). Pure. */
#pragma once

#include "rtc/rtc_state.h"

/* `fragment`: rtc_fragment_hash() of the user fragment that the password is for. */
struct rtc_secret rtc_secret_of(uint64_t fragment, const char *password);

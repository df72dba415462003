/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options that programs of calls have in common. 0: taken; 2, which such a program ends with: what is wrong with `value` stands on
 * standard error. The thread that reads the command line.
 */
#pragma once

#include "rtc/media_endpoint.h"
#include "rtc/media_srtp.h"

/* Returns 2. */
int option_wrong(const char *what, const char *value);
int option_endpoint(const char *value, struct media_endpoint *ret_endpoint);
/* "gcm" or "sha1" */
int option_profile(const char *value, enum media_profile *ret_profile);

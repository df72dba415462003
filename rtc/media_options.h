/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options that programs of calls have in common. 0: taken; 2, which such a program ends with: what is wrong with `value` stands on
 * standard error. The thread that reads the command line.
 */
#pragma once

#include "rtc/media_endpoint.h"
#include "rtc/media_srtp.h"

/* Returns 1: it is called rightly, and what it names cannot be had. */
int option_failed(const char *what, const char *value);

/* Return 2; the second one after what getopt says. */
int option_unknown(void);
int option_wrong(const char *what, const char *value);
int option_endpoint(const char *value, struct media_endpoint *ret_endpoint);
/* "gcm" or "sha1" */
int option_profile(const char *value, enum media_profile *ret_profile);

/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets of encoded user fragments (docs/wire/ufrag.md) from a file, so that captures of calls can be replayed. */
#pragma once

#include "base/lib/error.h"
#include "rtc/ufrag.h"

/*
 * `NUMBER SECRET` for each, a number from 0 to 3 and 32 hexadecimal digits, the newest first, apart by commas or line ends; a last word of
 * digits is left aside. So a node's store has them. Up to `size` of them, and one at least.
 */
must_check int secret_file_read(const char *path, struct rtc_ufrag_secret *ret_secrets, size_t size, size_t *ret_count, struct error *error);
/* The same, of a text. */
must_check int secrets_parse(const char *text, struct rtc_ufrag_secret *ret_secrets, size_t size, size_t *ret_count, struct error *error);

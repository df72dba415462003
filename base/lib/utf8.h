/* SPDX-License-Identifier: Apache-2.0 */
/* Walking text that is to be UTF-8. Pure; any thread. */
#pragma once

#include <stddef.h>

/* Bytes of the well-formed character (RFC 3629 section 4) at the start of `text`, of which `length` above 0 are left; 0: it is none. */
size_t utf8_length(const char *text, size_t length);

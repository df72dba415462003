/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Whether `text` is a decimal number from `minimum` to `maximum` and nothing else: no sign, no space, nothing behind it. The number is
 * in `ret_number` then. Any thread.
 */
bool number_read(const char *text, uint32_t minimum, uint32_t maximum, uint32_t *ret_number);

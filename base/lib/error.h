/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why something failed, in words for the operator.
 *
 * Functions that can fail return 0 or -errno and take a `struct error *` last; the lowest layer fills it, layers above
 * may put what was being attempted in front, the highest prints it once. A NULL error is allowed everywhere.
 */
#pragma once

#include <errno.h>
#include <stdarg.h>

struct error {
	char text[512]; /* empty when nothing was said */
};

/* Replaces the text and returns -code, so that `return error_set(err, EINVAL, "...")` reads well. */
int error_set(struct error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of the text that is there; returns -code. */
int error_prefix(struct error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

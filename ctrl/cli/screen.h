/* SPDX-License-Identifier: Apache-2.0 */
/* A picture that is shown again and again: in place on a terminal, one below the other elsewhere. One thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct screen {
	bool in_place;
	bool shown; /* something was */
};

/* Catches SIGINT and SIGTERM, which end screen_wait(). `plain`: never in place. */
void screen_init(struct screen *screen, bool plain);
void screen_show(struct screen *screen, const char *text);
/* Until the next one is due; false when the user wants no more. */
bool screen_wait(uint64_t interval_ms);

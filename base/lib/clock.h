/* SPDX-License-Identifier: Apache-2.0 */
/* Time as an argument: deciding code takes `now_ms`; its callers ask a clock, which tests replace by a fake one. */
#pragma once

#include <stdint.h>

struct clock {
	uint64_t (*monotonic_ms)(const struct clock *clock);
	uint64_t fake_ms; /* what a fake clock answers */
};

/* CLOCK_MONOTONIC in milliseconds. */
extern const struct clock clock_system;

/* CLOCK_MONOTONIC in microseconds: for what is measured, not decided. Any thread. */
uint64_t clock_us(void);

/* A clock that stands still until clock_fake_advance(). */
struct clock clock_fake(uint64_t now_ms);
void clock_fake_advance(struct clock *clock, uint64_t delta_ms);

static inline uint64_t clock_now_ms(const struct clock *clock)
{
	return clock->monotonic_ms(clock);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lib/clock.h"

#include <time.h>

uint64_t clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t system_now(const struct clock *clock)
{
	(void)clock;
	return clock_us() / 1000;
}

static uint64_t fake_now(const struct clock *clock)
{
	return clock->fake_ms;
}

const struct clock clock_system = {.monotonic_ms = system_now};

struct clock clock_fake(uint64_t now_ms)
{
	return (struct clock){.monotonic_ms = fake_now, .fake_ms = now_ms};
}

void clock_fake_advance(struct clock *clock, uint64_t delta_ms)
{
	clock->fake_ms += delta_ms;
}

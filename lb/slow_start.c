/* SPDX-License-Identifier: Apache-2.0 */
#include "lb/slow_start.h"

/* When step number `step` begins: at or after its exact share of the duration. */
static uint64_t step_begins_ms(uint64_t step, uint64_t duration_ms)
{
	uint64_t whole = duration_ms / SLOW_START_STEPS, rest = duration_ms % SLOW_START_STEPS;

	return step * whole + (step * rest + SLOW_START_STEPS - 1) / SLOW_START_STEPS;
}

uint16_t slow_start_weight(uint16_t weight, uint64_t up_since_ms, uint64_t duration_ms, uint64_t now_ms,
			   uint64_t *ret_next_ms)
{
	uint64_t elapsed_ms = now_ms > up_since_ms ? now_ms - up_since_ms : 0;
	uint32_t step = 0;
	uint16_t now;

	*ret_next_ms = 0;
	if (weight == 0 || elapsed_ms >= duration_ms)
		return weight;
	while (step + 1 < SLOW_START_STEPS && elapsed_ms >= step_begins_ms(step + 1, duration_ms))
		step++;
	now = (uint16_t)(((uint32_t)weight * (step + 1) + SLOW_START_STEPS - 1) / SLOW_START_STEPS);
	if (now < weight)
		*ret_next_ms = up_since_ms + step_begins_ms(step + 1, duration_ms);
	return now;
}

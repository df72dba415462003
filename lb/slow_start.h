/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend that has just come up takes its share of new flows in steps, so that caches, compilers and pools can warm up.
 * Pure: time comes in, the time of the next step goes out. Few steps, because each one changes the ring.
 */
#pragma once

#include <stdint.h>

#define SLOW_START_STEPS 10u

/*
 * The weight at `now_ms` of a backend that came up at `up_since_ms` and has `weight` when it is warm, `duration_ms` later:
 * a tenth of it at first, never 0 unless `weight` is. `ret_next_ms`: when it will be more, 0 when it is all there already.
 */
uint16_t slow_start_weight(uint16_t weight, uint64_t up_since_ms, uint64_t duration_ms, uint64_t now_ms,
			   uint64_t *ret_next_ms);

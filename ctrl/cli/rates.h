/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened between two looks at the counters of /selvage/v1/counters. Pure but for its memory of what was seen.
 *
 * A counter that is smaller than before began anew (the packet program was replaced, or a backend's row was given to another): all of it
 * is new. One that was never seen is where counting begins: nothing of it is. What is missing from a look (a daemon that has just started
 * lists no backends yet) is remembered as it was.
 */
#pragma once

#include <jansson.h>

struct rates;

struct rates *rates_new(void);
void rates_free(struct rates *rates);
void rates_freep(struct rates **rates); /* for _cleanup_ */

/*
 * Takes a look. NULL when there is nothing to compare it with: the first one, one of a daemon that is not ready, one without time since the
 * last. Otherwise a new reference (per second, as decimal numbers):
 *
 *   {"seconds":1.0,"packetsPerSecond":…,"bitsPerSecond":…,"passedPerSecond":…,"droppedPerSecond":…,"newFlowsPerSecond":…,
 *    "services":[{"service":"default/web:http",RATES,"backends":[{"backend":"10.0.0.21:7000","vip":"192.0.2.10",RATES}…]}…],
 *    "drops":[{"reason":…,"perSecond":…,"new":17,"count":99,"sentence":…,"advice":…}…, those that happened since]}
 *
 * RATES are "packetsPerSecond", "bitsPerSecond", "answersPerSecond", "answerBitsPerSecond", "newFlowsPerSecond". Bits are those of frames,
 * without preamble, checksum and gap.
 */
json_t *rates_look(struct rates *rates, const json_t *counters);

/* "1.23k", "45.6M": three digits and a decimal multiple. */
#define RATE_TEXT_SIZE 24
const char *rate_format(double rate, char buffer[static RATE_TEXT_SIZE]);

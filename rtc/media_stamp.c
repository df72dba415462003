/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/media_stamp.h"

#include <stdio.h>

#include "base/lib/cleanup.h"

/* The kernel's boot id, folded: 36 characters of hexadecimal digits. Where it cannot be read, no two clocks are one. */
uint64_t media_stamp_clock(void)
{
	_cleanup_(fclosep) FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
	uint64_t number = 0xcbf29ce484222325ull;
	char text[64] = "";

	if (!file || !fgets(text, sizeof(text), file))
		snprintf(text, sizeof(text), "%d", (int)getpid());
	for (const char *at = text; *at; at++)
		number = (number ^ (uint8_t)*at) * 0x100000001b3ull;
	return number ? number : 1;
}

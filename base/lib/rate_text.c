/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lib/rate_text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define RATE_MAX 10000000 /* a second */
#define MINUTE_TICKS 6000 /* of the coarsest clock: buckets fill no oftener */

bool decimal_parse(const char *text, size_t length, uint64_t maximum, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (length == 0 || length > 18)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!isdigit((unsigned char)text[i]))
			return false;
		value = value * 10 + (uint64_t)(text[i] - '0');
	}
	if (value > maximum)
		return false;
	*ret_value = value;
	return true;
}

/* The number, the unit's length, what may come at once. */
static bool rate_read(const char *text, uint64_t *ret_per_minute, uint64_t *ret_burst)
{
	size_t digits = strspn(text, "0123456789");
	const char *unit = text + digits, *rest = unit + (*unit ? 2 : 0);
	uint64_t number;

	if (!decimal_parse(text, digits, RATE_MAX, &number) || number == 0)
		return false;
	if (strncmp(unit, "/s", 2) != 0 && strncmp(unit, "/m", 2) != 0)
		return false;
	*ret_per_minute = unit[1] == 's' ? number * 60 : number;
	*ret_burst = number;
	if (*rest == '\0')
		return true;
	return strncmp(rest, " burst ", 7) == 0 && decimal_parse(rest + 7, strlen(rest + 7), UINT32_MAX, ret_burst);
}

bool rate_parse(const char *text, struct rate *ret_rate, char ret_problem[static RATE_PROBLEM_SIZE])
{
	uint64_t per_minute, burst, least, most;

	if (!rate_read(text, &per_minute, &burst)) {
		snprintf(ret_problem, RATE_PROBLEM_SIZE,
			 "must be as 100/s, 30/m or 100/s burst 200, up to %d/s, not \"%.40s\"", RATE_MAX, text);
		return false;
	}
	least = per_minute / MINUTE_TICKS ? per_minute / MINUTE_TICKS : 1;
	most = per_minute < RATE_MAX ? per_minute * 10 : RATE_MAX * 10;
	if (burst < least || burst > most) {
		snprintf(
			ret_problem, RATE_PROBLEM_SIZE,
			"the burst of this rate must be from %llu (what comes in 10 ms) to %llu (in 10 minutes), not %llu",
			(unsigned long long)least, (unsigned long long)most, (unsigned long long)burst);
		return false;
	}
	*ret_rate = (struct rate){(uint32_t)per_minute, (uint32_t)burst};
	return true;
}

bool client_bits_parse(const char *text, struct client_bits *ret_bits, char ret_problem[static RATE_PROBLEM_SIZE])
{
	size_t first_length = strcspn(text, ",");
	const char *second = text + first_length + (text[first_length] ? 1 : 0);
	uint64_t ipv4, ipv6;

	second += strspn(second, " ");
	if (!decimal_parse(text, first_length, 32, &ipv4) || !decimal_parse(second, strlen(second), 128, &ipv6) ||
	    ipv4 == 0 || ipv6 == 0) {
		snprintf(ret_problem, RATE_PROBLEM_SIZE,
			 "must be two lengths, of IPv4 (1 to 32) and IPv6 (1 to 128), as in 24,56, not \"%.40s\"",
			 text);
		return false;
	}
	*ret_bits = (struct client_bits){(uint8_t)ipv4, (uint8_t)ipv6};
	return true;
}

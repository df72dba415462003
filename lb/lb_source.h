/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Which clients a service takes: asked once an epoch for a flow, and when one begins. */
#pragma once

#include "lb/lb_guard_state.h"

/* Whether the bound lies above the address. Addresses lie in memory as on the wire. */
PACKET_INLINE bool lb_source_above(const struct lb_source_bound *bound, uint64_t high, uint64_t low)
{
	return bound->high > high || (bound->high == high && bound->low > low);
}

/* 1 when the service of this row refuses the client, otherwise 0. Only for services with LB_SERVICE_SOURCES. */
PACKET_FUNCTION uint32_t lb_source_refuses(const struct lb_guards *guards, uint32_t service_row,
					   const struct address *client)
{
	uint32_t buffer, first, end, next;
	uint64_t high, low, set;

	if (!guards || !client)
		return 1;
	buffer = (uint32_t)load_once(guards->sources.control) & 1;
	set = load_once(guards->sources.sets[buffer][service_row & (LB_SERVICE_ROWS - 1)]);
	first = (uint32_t)(set >> 32);
	end = first + ((uint32_t)set >> 1);
	next = first;
	high = __builtin_bswap64(client->word[0]);
	low = __builtin_bswap64(client->word[1]);
	/*
	 * To the first bound that lies above the client, by halves. verifier: counted from the set's first bound, which it does
	 * not know, so that ways to one step are all the same to it.
	 */
	for (uint32_t step = LB_SOURCE_BOUNDS; step; step >>= 1) {
		uint32_t place = next + step - 1;

		value_opaque(place);
		if (next + step <= end &&
		    !lb_source_above(&guards->sources.bounds[buffer][place & (LB_SOURCE_BOUNDS - 1)], high, low))
			next += step;
	}
	return (uint32_t)(set ^ (next - first)) & 1;
}

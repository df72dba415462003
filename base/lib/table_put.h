/* SPDX-License-Identifier: Apache-2.0 */
/* Stores into tables that packets read. */
#pragma once

#include "base/packet/target.h"

/* One aligned store of what differs, counted in `*count`. */
#define table_put(place, value, count)                                       \
	do {                                                                 \
		__typeof__(place) put_value = (__typeof__(place))(value); \
		if (load_once(place) != put_value) {                         \
			store_once(place, put_value);                        \
			(*(count))++;                                        \
		}                                                            \
	} while (0)

/* Everything stored before is visible to whoever sees what is stored behind. */
static inline void table_publish(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

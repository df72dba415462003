/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What guards services against clients: who may be one, and how much of a service one client may have. By service row; what
 * a service has here, the flags of its row tell.
 */
#pragma once

#include "lb/lb_state.h"

/*
 * Sources that a service takes: the address space of its family cut at these bounds, sorted; between two of them clients are
 * refused or not, and each bound changes which. User space has worked the longest prefix out, so packets only look for the
 * last bound that is not above their source.
 *
 *     set: 63          32 31         1    0
 *          [ first bound ][ bounds ][refused]   `refused`: below the first bound
 *
 * One store to `control` puts another buffer with its sets in place. writer: ctrl, readers: workers
 */
#define LB_SOURCE_BOUNDS_BITS 14u
#define LB_SOURCE_BOUNDS (1u << LB_SOURCE_BOUNDS_BITS)

struct lb_source_bound {
	uint64_t high; /* an address as a number */
	uint64_t low;
};

struct lb_sources {
	uint64_t control; /* the buffer in use, 0 or 1 */
	uint64_t unused[7];
	uint64_t sets[2][LB_SERVICE_ROWS];
	struct lb_source_bound bounds[2][LB_SOURCE_BOUNDS];
};

/*
 * Limits: token buckets in credit. An event costs some, a millisecond gives some back, and no more than `full` is kept.
 * User space chooses the unit, so that the rate is exact and `full` fits the bucket. writer: ctrl, readers: workers
 */
#define LB_LIMIT_CLIENT_FLOWS 0u   /* flows that a client's prefix begins */
#define LB_LIMIT_ALL_FLOWS 1u      /* flows that all clients together begin */
#define LB_LIMIT_CLIENT_PACKETS 2u /* packets of a client's prefix */
#define LB_LIMITS 3u
#define LB_LIMIT_CLIENT_HELD 3u    /* not a rate: flows that a client's prefix has */

struct lb_rate {
	uint32_t gain; /* credit for a millisecond */
	uint32_t cost; /* of an event; 0: no limit */
	uint32_t full;
};

struct lb_limit {
	struct lb_rate rates[LB_LIMITS];
	uint32_t flows_max; /* recorded ones; 0: no limit */
	uint32_t quic_server_length; /* of server ids in connection ids; only with LB_SERVICE_QUIC */
	uint32_t client_flows_max; /* recorded ones of a client's prefix: lb_held.h; 0: no limit */
	struct address mask; /* of a client's prefix */
};
_Static_assert(sizeof(struct lb_limit) == 64, "one cache line");

/* QUIC: which backend has which server id. */
#define LB_QUIC_DIRECTORY_BITS 14u
#define LB_QUIC_SERVER_ID_MAX 8u
#define LB_QUIC_CONFIG_MAX 6u /* 7 is for ids that route nowhere */

/* `server`: as loaded from the wire; bytes behind `length` (1 to 8) do not count. */
PACKET_INLINE struct directory_key lb_quic_key(uint64_t server, uint32_t length, uint32_t config, uint32_t service_row)
{
	uint64_t mask = ~0ull >> ((64 - 8 * length) & 63);

	return (struct directory_key){{server & mask, (uint64_t)length << 32 | config << 16 | service_row, 0}};
}

/* writer: ctrl, readers: workers */
struct lb_guards {
	uint64_t seed;  /* of the limiter's hashes */
	uint64_t unused[7];
	struct lb_sources sources;
	struct lb_limit limits[LB_SERVICE_ROWS];
	DIRECTORY(LB_QUIC_DIRECTORY_BITS) quic_servers;
};

/*
 * Buckets: one word each, eight to a set, which is one cache line.
 *
 *     63       48 47      28 27       0
 *     [ tag 16  ][ ms 20   ][credit 28]
 *
 * `ms` is when it was last taken from. A bucket that comes again after 17 minutes of silence may be taken for one of a moment
 * ago: it has at worst what it had then. One of a full set gives way when another client comes, the longest unused first,
 * and begins full when it is back.
 */
#define LB_LIMITER_SET_BITS 15u
#define LB_LIMITER_WAYS 8u
#define LB_LIMITER_SWEPT_EPOCHS 4u /* older counts of recorded flows are not believed */
#define LB_BUCKET_TAG_SHIFT 48
#define LB_BUCKET_TIME_SHIFT 28
#define LB_BUCKET_TIME_MASK 0xfffffu
#define LB_BUCKET_CREDIT_MASK 0xfffffffu

/* writers, readers: workers */
struct lb_limiter {
	uint64_t all[LB_SERVICE_ROWS];   /* LB_LIMIT_ALL_FLOWS, by service row */
	uint64_t flows[LB_SERVICE_ROWS]; /* recorded, of services with limits of flows; the sweep sets them right */
	uint32_t swept_epoch;            /* when it last did. writer: ctrl */
	uint32_t unused[15];
	uint64_t sets[1u << LB_LIMITER_SET_BITS][LB_LIMITER_WAYS] __attribute__((aligned(64)));
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts announcements on the wire when their time comes, and keeps this node a member of the solicited-node multicast groups
 * of its IPv6 virtual IPs. Runs on one libevent base, in this process's network namespace; that thread only.
 *
 * Membership: the kernel joins ff02::1:ffXX:XXXX on the interface, so it opens the NIC's filter for 33:33:ff:XX:XX:XX and
 * reports it by MLD, without which a snooping switch keeps neighbour solicitations away. Where the kernel's IPv6 is off on
 * the interface, only the NIC's filter is opened. Each group and interface is joined once, however many virtual IPs share
 * it, takes one file descriptor, and is left when the last of them goes.
 */
#pragma once

#include "base/lib/clock.h"
#include "base/lib/error.h"
#include "vip/announce.h"

struct event_base;
struct announce;

/* For metrics. */
struct announce_counters {
	uint64_t sent;   /* frames */
	uint64_t failed; /* frames that the kernel refused: link down or gone, queue full */
};

/* `refresh_ms`: 0, or how often to announce again what was announced. `base` and `clock` are borrowed. Needs CAP_NET_RAW. */
must_check int announce_new(struct event_base *base, const struct clock *clock, uint32_t refresh_ms,
			    struct announce **ret_announce, struct error *error);
/* Leaves the groups; announces nothing. */
void announce_free(struct announce *announce);
static inline void announce_freep(struct announce **announce)
{
	announce_free(*announce);
}

/*
 * The virtual IPs that are here now, all of them; replaces the former set. The first announcements of new ones are sent
 * before it returns (of more than 64, in the following milliseconds). Link came back: call it without that link's, then
 * with them. A group that cannot be joined is logged. 0 or -ENOMEM.
 */
must_check int announce_set(struct announce *announce, const struct announcement *wanted, size_t count);

const struct announce_counters *announce_count(const struct announce *announce);

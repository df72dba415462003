/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a struct network equal to what the kernel knows in this process's network namespace, and keeps the next hops
 * that are wanted resolved there. Nothing else of the host is changed. Runs on one libevent base; that thread only.
 *
 * Neighbours are followed event by event. Links, addresses and routes are read anew after an event about any of them
 * (IPv4 routes vanish with their link without an event of their own), at most each 10 ms. When events were lost
 * (ENOBUFS), everything is read anew.
 */
#pragma once

#include "base/lib/clock.h"
#include "base/lib/error.h"
#include "ctrl/program/network.h"

struct event_base;
struct network_follow;

/* Something in network_follow_get() differs from the last call: at most once a turn of the loop. */
typedef void (*network_follow_changed)(void *context);

/* For metrics. */
struct network_follow_counters {
	uint64_t changes;  /* calls of `changed` */
	uint64_t reads;    /* times that links, addresses and routes were read */
	uint64_t overruns; /* times that the kernel lost events on the way to us */
	uint64_t probes;   /* next hops that the kernel was asked to resolve or confirm */
};

/*
 * Reads everything before it returns; `changed` is not called for that. `base`, `clock` and `context` are borrowed.
 * 0, or -errno with the reason.
 */
must_check int network_follow_new(struct event_base *base, const struct clock *clock, network_follow_changed changed,
				  void *context, struct network_follow **ret_follow, struct error *error);
void network_follow_free(struct network_follow *follow);
static inline void network_follow_freep(struct network_follow **follow)
{
	network_follow_free(*follow);
}

/* The present state; borrowed, and good until the loop runs on. */
const struct network *network_follow_get(const struct network_follow *follow);
const struct network_follow_counters *network_follow_count(const struct network_follow *follow);

/*
 * The addresses that traffic is sent to, all of them; replaces the former set. Their next hops are resolved, confirmed
 * when they go stale so that a changed hardware address is noticed, and followed when routes change (probe_schedule.h
 * says how often). 0 or -ENOMEM.
 */
must_check int network_follow_want(struct network_follow *follow, const struct address *destinations, size_t count);

/*
 * Makes the kernel resolve a neighbour now, or confirm one that it knows (`confirm`), whatever the schedule says.
 * The answer comes as a change. 0 or -errno.
 */
must_check int network_follow_probe(struct network_follow *follow, const struct address *ip, uint32_t ifindex,
				    bool confirm);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which address each LoadBalancer service gets from the pools. Pure: the same objects give the same answer, whatever their
 * order, and a service keeps what its status shows as long as that is legal.
 *
 * First served are services that keep what they have, then those that ask for an address, then the others; within each,
 * the oldest first (creationTimestamp; without one, last), then by namespace and name.
 *
 * Pools with a matching serviceAllocation come before the others, by priority; then by name. A pool without autoAssign gives
 * only what is asked for by address or by its name; what a service has of it already, it keeps. With avoidBuggyIPs, a pool
 * never gives IPv4 addresses that end in .0 or .255. Two services share an address if both have the same non-empty
 * metallb.io/allow-shared-ip and no port of the same protocol in common.
 *
 * Families: those of spec.ipFamilies and of the addresses that are asked for. PreferDualStack takes what it can get of both,
 * RequireDualStack wants both. Without any of these: one address, of the family it has, or else IPv4 if a pool has one left,
 * or else IPv6.
 */
#pragma once

#include "ctrl/manifest/objects.h"

struct ipam_assignment {
	const struct object *service; /* borrowed */
	size_t count;                 /* of the addresses; 0: refused */
	struct address addresses[2];  /* at most one of each family, the preferred one first */
	const struct object *pools[2]; /* borrowed; where each comes from */
	char *refusal;                /* why there is no address, or no second one where both are required; NULL: all is well */
};

struct ipam_result {
	struct ipam_assignment *items; /* one for each LoadBalancer service, by namespace and name */
	size_t count;
};

/* `objects` of any kinds: pools, namespaces (for their labels) and services are looked at, the others are not. */
void ipam_assign(const struct object *const *objects, size_t count, struct ipam_result *ret_result);
void ipam_result_done(struct ipam_result *result);

/* NULL when the service is not of type LoadBalancer, or not among the objects. */
const struct ipam_assignment *ipam_result_lookup(const struct ipam_result *result, const char *namespace_name,
						 const char *name);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What selvage-dns is to be told: names of services, and policies with the health of their sites. From objects, the addresses that
 * services were given, and health. Pure.
 */
#pragma once

#include "ctrl/program/reconcile.h"
#include "dns/names.h"

struct dns_wanted_input {
	const struct object *const *objects;
	size_t object_count;
	const struct ipam_result *assignments;
	const struct health_report *health; /* as health_snapshot() orders them */
	size_t health_count;
	const char *zone; /* "cluster.local" */
	const struct address *servers;
	size_t server_count;
};

void dns_names_wanted(const struct dns_wanted_input *input, struct names_result *ret_names);
/*
 * Whether a host may be steered: not one in the Services' zone, or above it, for a steered name takes all names below it along, and
 * packets deny what that zone does not have.
 */
bool dns_host_is_steerable(const char *zone, const char *host);
/* Of such hosts, as dns/steer.h's steering_set() takes it; a new reference. */
json_t *dns_policies_wanted(const struct dns_wanted_input *input);

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
	bool zone_shared; /* other names in it are asked for elsewhere */
	const struct address *servers;
	size_t server_count;
};

void dns_names_wanted(const struct dns_wanted_input *input, struct names_result *ret_names);
/* As dns/steer.h's steering_set() takes it; a new reference. */
json_t *dns_policies_wanted(const struct dns_wanted_input *input);

/* SPDX-License-Identifier: Apache-2.0 */
/* How the tables' numbers are called. */
#include "ctrl/daemon/daemon.h"

const char *daemon_interface_name(void *context, uint32_t ifindex)
{
	const struct daemon *daemon = context;
	const struct network_link *link = network_link_find(network_follow_get(daemon->follow), ifindex);

	return link ? link->name : NULL;
}

const char *daemon_service_name(void *context, uint16_t row)
{
	const struct daemon *daemon = context;
	const struct reconcile_result *result = &daemon->result;

	for (size_t i = 0; row && i < result->service_count; i++) {
		const struct lb_service_wanted *wanted = &result->wanted.services[result->services[i].wanted];

		if (edge_program_service_row(programmer_program(daemon->programmer), wanted) == row)
			return result->services[i].key;
	}
	return NULL;
}

const char *daemon_backend_name(void *context, uint16_t row)
{
	const struct daemon *daemon = context;
	const struct reconcile_result *result = &daemon->result;

	for (size_t i = 0; row && i < result->service_count; i++) {
		const struct lb_service_wanted *wanted = &result->wanted.services[result->services[i].wanted];

		for (size_t b = 0; b < wanted->backend_count; b++) {
			if (edge_program_backend_row(programmer_program(daemon->programmer), wanted, &wanted->backends[b]) == row)
				return wanted->backends[b].name;
		}
	}
	return NULL;
}

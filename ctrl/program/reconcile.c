/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/program/reconcile.h"

#include "ctrl/program/reconcile_parts.h"

static void refusals_alarm(struct reconcile_work *work)
{
	char reference[OBJECT_REFERENCE_SIZE];

	for (size_t i = 0; i < work->assignments.count; i++) {
		const struct ipam_assignment *assignment = &work->assignments.items[i];

		if (assignment->refusal)
			work_alarm(work, object_reference(assignment->service, reference), "%s", assignment->refusal);
	}
}

void reconcile(const struct reconcile_input *input, struct reconcile_result *ret_result)
{
	struct reconcile_work work = {.input = input, .arena = arena_new()};

	ipam_assign(input->objects, input->object_count, &work.assignments);
	refusals_alarm(&work);
	reconcile_network(&work);
	reconcile_services(&work);
	reconcile_dns(&work);
	reconcile_vips(&work);
	*ret_result = (struct reconcile_result){
		.wanted = {
			.hash_seed = input->hash_seed,
			.links = work.links.items,
			.link_count = work.links.count,
			.routes = work.routes.items,
			.route_count = work.routes.count,
			.neighbours = work.neighbours.items,
			.neighbour_count = work.neighbours.count,
			.peers = work.peers.items,
			.peer_count = work.peers.count,
			.vips = work.vip_rows.items,
			.vip_count = work.vip_rows.count,
			.services = work.service_rows.items,
			.service_count = work.service_rows.count,
		},
		.checks = work.checks.items,
		.check_count = work.checks.count,
		.services = work.services.items,
		.service_count = work.services.count,
		.vips = work.vips.items,
		.vip_count = work.vips.count,
		.announcements = work.announcements.items,
		.announcement_count = work.announcements.count,
		.destinations = work.destinations.items,
		.destination_count = work.destinations.count,
		.alarms = work.alarms.items,
		.alarm_count = work.alarms.count,
		.assignments = work.assignments,
		.next_ms = work.next_ms,
		.arena = work.arena,
	};
}

void reconcile_result_done(struct reconcile_result *result)
{
	ipam_result_done(&result->assignments);
	arena_free(result->arena);
	*result = (struct reconcile_result){0};
}

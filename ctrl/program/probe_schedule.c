/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/program/probe_schedule.h"

#include <errno.h>

void probe_schedule_done(struct probe_schedule *schedule)
{
	free(schedule->targets);
	*schedule = (struct probe_schedule){0};
}

static const struct probe_target *target_find(const struct probe_target *targets, size_t count,
					      const struct network_next_hop *hop)
{
	for (size_t i = 0; i < count; i++)
		if (targets[i].ifindex == hop->ifindex && address_equal(&targets[i].ip, &hop->via))
			return &targets[i];
	return NULL;
}

int probe_schedule_want(struct probe_schedule *schedule, const struct network *network,
			const struct address *destinations, size_t count)
{
	struct probe_target *targets = calloc(count ? count : 1, sizeof(*targets));
	size_t target_count = 0;

	if (!targets)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const struct probe_target *former;
		struct network_next_hop hop;

		network_next_hop(network, &destinations[i], &hop);
		if (address_is_zero(&hop.via) || target_find(targets, target_count, &hop))
			continue;
		former = target_find(schedule->targets, schedule->count, &hop);
		targets[target_count++] = former ? *former : (struct probe_target){.ip = hop.via, .ifindex = hop.ifindex};
	}
	free(schedule->targets);
	*schedule = (struct probe_schedule){.targets = targets, .count = target_count};
	return 0;
}

static bool link_can_send(const struct network *network, uint32_t ifindex)
{
	const struct network_link *link = network_link_find(network, ifindex);

	return link && link->up && link->carrier;
}

/* When the target is to be probed next, and how. */
static uint64_t target_due_ms(const struct probe_target *target, const struct network *network, uint64_t now_ms,
			      bool *ret_resolved)
{
	const struct network_neighbour *neighbour = network_neighbour_find(network, &target->ip, target->ifindex);
	bool resolved = neighbour && neighbour->usable;

	*ret_resolved = resolved;
	if (!link_can_send(network, target->ifindex) || (resolved && !neighbour->stale))
		return PROBE_NEVER;
	if (!target->probed)
		return now_ms;
	/* retry_ms is 0 after it was resolved: its first loss is answered at once, but not faster than each second. */
	if (resolved)
		return target->last_ms + PROBE_CONFIRM_MS;
	return target->last_ms + (target->retry_ms ? target->retry_ms : PROBE_RETRY_FIRST_MS);
}

static uint32_t retry_grow(uint32_t retry_ms)
{
	if (!retry_ms)
		return PROBE_RETRY_FIRST_MS;
	return retry_ms * 2 < PROBE_RETRY_MAX_MS ? retry_ms * 2 : PROBE_RETRY_MAX_MS;
}

bool probe_schedule_next(struct probe_schedule *schedule, const struct network *network, uint64_t now_ms,
			 struct probe *ret_probe)
{
	for (size_t i = 0; i < schedule->count; i++) {
		struct probe_target *target = &schedule->targets[i];
		bool resolved;
		uint64_t due_ms = target_due_ms(target, network, now_ms, &resolved);

		if (resolved)
			target->retry_ms = 0;
		if (due_ms > now_ms)
			continue;
		target->probed = true;
		target->last_ms = now_ms;
		target->retry_ms = resolved ? 0 : retry_grow(target->retry_ms);
		*ret_probe = (struct probe){.ip = target->ip, .ifindex = target->ifindex, .confirm = resolved};
		return true;
	}
	return false;
}

uint64_t probe_schedule_due_ms(const struct probe_schedule *schedule, const struct network *network, uint64_t now_ms)
{
	uint64_t earliest_ms = PROBE_NEVER;

	for (size_t i = 0; i < schedule->count; i++) {
		bool resolved;
		uint64_t due_ms = target_due_ms(&schedule->targets[i], network, now_ms, &resolved);

		if (due_ms < earliest_ms)
			earliest_ms = due_ms;
	}
	return earliest_ms;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/edge_hold.h"

#include <string.h>

#include "edge/edge_fast.h"

void edge_hold_write(const struct edge_tables *tables, const struct decision *decision, const uint8_t *frame)
{
	struct lb_held *held = lb_hold_slot(tables->holding, decision->address.word[0]);

	memcpy(held->bytes, frame, held->length);
	lb_hold_done(held, true);
}

/* A clock that was read before the slot was filled does not make it old. */
static bool held_is_late(const struct lb_held *held, uint32_t now_ms)
{
	return (int32_t)(now_ms - held->held_ms) > (int32_t)LB_HOLD_MS;
}

/* Whether it is worth asking the packet program: some record may be its first fragment's. */
static bool held_may_go(const struct edge_tables *tables, const struct lb_held *held)
{
	const struct lb_fragment_record *bucket = lb_fragment_bucket(tables->fragments, held->hash);

	for (uint32_t way = 0; way < LB_FRAGMENT_WAYS; way++) {
		if (load_once(bucket[way].version) != 0 && load_once(bucket[way].identification) == held->identification)
			return true;
	}
	return false;
}

/* The oldest one that is ready, and late or likely to go, and not among `skipped`. */
static struct lb_held *held_choose(const struct edge_tables *tables, uint32_t now_ms, const bool *skipped)
{
	struct lb_held *oldest = NULL;

	for (uint32_t slot = 0; slot < LB_HOLD_SLOTS; slot++) {
		struct lb_held *held = &tables->holding->slots[slot];

		if (skipped[slot] || __atomic_load_n(&held->state, __ATOMIC_ACQUIRE) != LB_HOLD_READY)
			continue;
		if (oldest && (int32_t)(held->sequence - oldest->sequence) > 0)
			continue;
		if (held_is_late(held, now_ms) || held_may_go(tables, held))
			oldest = held;
	}
	return oldest;
}

/* Judges a frame whose first fragment may have come. False: it has not, and there is time. */
static bool frame_judge(const struct edge_tables *tables, uint32_t epoch, uint32_t now_ms, bool late,
			struct edge_released *released)
{
	struct edge_ingress ingress = {.ifindex = released->ifindex, .epoch = epoch, .now_ms = now_ms};
	struct edge_tables asked = *tables;
	struct decision *decision = &released->decision;
	struct packet packet;
	struct flow flow = {0};

	asked.holding = NULL; /* it is held once */
	*decision = (struct decision){0};
	packet = (struct packet){.data = released->buffer + EDGE_HOLD_HEADROOM,
				 .end = released->buffer + EDGE_HOLD_HEADROOM + released->length};
	edge_decide(&asked, &packet, &ingress, &flow, decision);
	if (decision->verdict == VERDICT_DROP && decision->reason == DROP_fragment_without_first && !late)
		return false;
	/* What nobody claims any more cannot be put back into the host's stack. */
	if (decision->verdict == VERDICT_PASS)
		edge_fragment_drop(decision, DROP_fragment_without_first);
	if (decision->verdict != VERDICT_DROP) {
		uint32_t keep = edge_keep(&flow, decision);

		if (keep && keep < released->length)
			packet.end = packet.data + keep;
		packet.data -= decision->room;
		edge_rewrite(tables, &packet, &flow, decision);
	}
	released->bytes = packet.data;
	released->length = (uint32_t)(packet.end - packet.data);
	return true;
}

/* Takes it out of its slot when it may go; false when it stays, or another thread was quicker. */
static bool held_take(const struct edge_tables *tables, struct lb_held *held, uint32_t epoch, uint32_t now_ms,
		      struct edge_released *released)
{
	uint32_t state = LB_HOLD_READY;
	bool taken;

	if (!__atomic_compare_exchange_n(&held->state, &state, LB_HOLD_TAKEN, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return false;
	released->slot = (uint32_t)(held - tables->holding->slots);
	released->ifindex = held->ifindex;
	released->length = held->length < LB_HOLD_BYTES ? held->length : LB_HOLD_BYTES;
	memcpy(released->buffer + EDGE_HOLD_HEADROOM, held->bytes, released->length);
	taken = frame_judge(tables, epoch, now_ms, held_is_late(held, now_ms), released);
	__atomic_store_n(&held->state, taken ? LB_HOLD_FREE : LB_HOLD_READY, __ATOMIC_RELEASE);
	return taken;
}

bool edge_hold_next(const struct edge_tables *tables, struct edge_counters *counters, uint32_t epoch, uint32_t now_ms,
		    struct edge_released *ret_released)
{
	bool skipped[LB_HOLD_SLOTS] = {false};
	struct lb_held *held;

	while ((held = held_choose(tables, now_ms, skipped))) {
		if (!held_take(tables, held, epoch, now_ms, ret_released)) {
			skipped[held - tables->holding->slots] = true;
			continue;
		}
		edge_count(counters, &ret_released->decision, ret_released->length);
		counters->bytes_in -= ret_released->length; /* counted when it came */
		return true;
	}
	return false;
}

uint32_t edge_hold_count(const struct edge_tables *tables)
{
	uint32_t count = 0;

	for (uint32_t slot = 0; slot < LB_HOLD_SLOTS; slot++)
		count += load_once(tables->holding->slots[slot].state) != LB_HOLD_FREE;
	return count;
}

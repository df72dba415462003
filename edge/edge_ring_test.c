/* SPDX-License-Identifier: Apache-2.0 */
/* Rings of slots: who has them, who had them before, marks of what moved, sizes. */
#include "edge/edge_small_fixture.h"

static void moved_marks_are_set_and_settled(void **state)
{
	struct edge_fixture *fixture = *state;
	struct edge_sweep_stats stats;
	uint32_t theirs, moved;
	struct small small;
	uint16_t gone, first;
	uint64_t hash;

	small_init(&small, 5, PROTOCOL_TCP);
	apply(fixture, &small.wanted);
	gone = backend_row(fixture, &small, 4);
	first = backend_row(fixture, &small, 0);
	theirs = slots_count(fixture, &small.service, LB_SLOT_BACKEND, gone);
	small.backends[4].state = LB_BACKEND_DRAINING;
	apply(fixture, &small.wanted);
	assert_int_equal(slots_count(fixture, &small.service, LB_SLOT_BACKEND, gone), 0);
	moved = slots_count(fixture, &small.service, LB_SLOT_MOVED, LB_SLOT_MOVED);
	assert_in_range(moved, theirs, theirs + 16381 / 100); /* the survivors' share: below one per cent */

	/* A flow that stayed with the draining backend keeps its slot's mark, and no other. */
	for (hash = 1;; hash += 0x9e3779b97f4a7c15ull) {
		uint16_t slot = lb_ring_ask(&fixture->memory->rings,
					    &fixture->memory->lb.services[service_row(fixture, &small.service)], hash);

		if (slot & LB_SLOT_MOVED && (slot & LB_SLOT_BACKEND) == first)
			break;
	}
	*lb_flow_bucket(&fixture->memory->flows, hash) = lb_flow_word(hash, gone, fixture->epoch, LB_FLOW_TCP);
	stats = sweep_pass(fixture);
	assert_int_equal(stats.flows, 1);
	assert_int_equal(stats.slots_moved, 1);
	assert_int_equal(stats.slots_settled, moved - 1);
	assert_true(lb_ring_ask(&fixture->memory->rings,
				&fixture->memory->lb.services[service_row(fixture, &small.service)], hash) &
		    LB_SLOT_MOVED);
	*lb_flow_bucket(&fixture->memory->flows, hash) = 0;
	stats = sweep_pass(fixture);
	assert_int_equal(stats.slots_moved, 0);
	apply(fixture, &small.wanted);
}

static void a_flip_during_a_pass_is_not_settled_by_it(void **state)
{
	struct edge_fixture *fixture = *state;
	struct edge_sweep_stats stats;
	struct small small;
	uint32_t moved;

	small_init(&small, 5, PROTOCOL_TCP);
	apply(fixture, &small.wanted);
	edge_program_sweep(fixture->program, fixture->epoch, &stats);
	small.backends[4].state = LB_BACKEND_DOWN;
	apply(fixture, &small.wanted);
	moved = slots_count(fixture, &small.service, LB_SLOT_MOVED, LB_SLOT_MOVED);
	assert_true(moved > 0);
	stats = sweep_pass(fixture);
	assert_int_equal(stats.slots_moved, moved);
	stats = sweep_pass(fixture);
	assert_int_equal(stats.slots_moved, 0);
	assert_int_equal(stats.slots_settled, moved);
}

/* All behind GUE, each at a node of its own. */
static void small_tunnels(struct small *small)
{
	for (size_t i = 0; i < small->service.backend_count; i++) {
		small->backends[i].tunnel = LB_TUNNEL_GUE;
		small->backends[i].tunnel_node = true;
		small->backends[i].tunnel_source = ipv4(198, 51, 100, 200);
		small->backends[i].tunnel_destination = ipv4(198, 51, 100, (uint8_t)(i + 1));
	}
}

/* Slots that remember `row`; all of them are moved. */
static uint32_t slots_before(struct edge_fixture *fixture, const struct small *small, uint16_t row)
{
	const struct lb_service *service = &fixture->memory->lb.services[service_row(fixture, &small->service)];
	uint32_t first = (uint32_t)(service->ring >> 32), count = 0;

	for (uint32_t i = first; i < first + (uint32_t)service->ring && service->flags & LB_SERVICE_HOPS; i++) {
		if (fixture->memory->rings.before[i])
			assert_true(fixture->memory->rings.slots[i] & LB_SLOT_MOVED);
		assert_int_not_equal(fixture->memory->rings.before[i], fixture->memory->rings.slots[i] & LB_SLOT_BACKEND);
		count += fixture->memory->rings.before[i] == row;
	}
	return count;
}

static void a_ring_remembers_who_had_its_slots(void **state)
{
	struct edge_fixture *fixture = *state;
	uint16_t first, drained;
	struct small small;
	uint32_t theirs;

	small_init(&small, 4, PROTOCOL_TCP);
	small_tunnels(&small);
	small.backends[3].state = LB_BACKEND_DRAINING;
	apply(fixture, &small.wanted);
	first = backend_row(fixture, &small, 0);
	drained = backend_row(fixture, &small, 1);
	assert_int_equal(slots_before(fixture, &small, first), 0);

	/* One drains: what was its, remembers it, for as long as it is there. */
	theirs = slots_count(fixture, &small.service, LB_SLOT_BACKEND, drained);
	small.backends[1].state = LB_BACKEND_DRAINING;
	apply(fixture, &small.wanted);
	assert_int_equal(slots_before(fixture, &small, drained), theirs);
	assert_true(slots_before(fixture, &small, first) > 0); /* the survivors' share that moved with it */
	sweep_pass(fixture);
	fixture->epoch += LB_HOP_EPOCHS;
	sweep_pass(fixture);
	assert_true(slots_before(fixture, &small, first) > 0);
	fixture->epoch++;
	sweep_pass(fixture);
	assert_int_equal(slots_before(fixture, &small, first), 0); /* the hour is over for one that takes flows */
	assert_int_equal(slots_before(fixture, &small, drained), theirs);

	/* A change that leaves a slot where it is leaves its memory, too; no backend at all for a moment takes none. */
	small.backends[0].state = small.backends[2].state = LB_BACKEND_DRAINING;
	apply(fixture, &small.wanted);
	small.backends[0].state = small.backends[2].state = LB_BACKEND_UP;
	apply(fixture, &small.wanted);
	assert_int_equal(slots_before(fixture, &small, drained), theirs);

	/* Gone: forgotten with its row. */
	small.backends[1] = small.backends[3];
	small.service.backend_count = 3;
	apply(fixture, &small.wanted);
	sweep_pass(fixture);
	assert_int_equal(slots_before(fixture, &small, drained), 0);
	assert_int_equal(fixture->memory->lb.services[service_row(fixture, &small.service)].flags & LB_SERVICE_HOPS, 0);
}

static void a_ring_remembers_nobody_who_cannot_be_asked(void **state)
{
	struct edge_fixture *fixture = *state;

	for (int kind = 0; kind < 3; kind++) {
		struct small small;

		small_init(&small, 4, kind == 0 ? PROTOCOL_UDP : PROTOCOL_TCP);
		small.service.port_first = small.service.port_last = (uint16_t)(80 + kind);
		if (kind < 2)
			small_tunnels(&small);
		for (size_t i = 0; i < 4 && kind == 1; i++)
			small.backends[i].tunnel = LB_TUNNEL_IPIP;
		apply(fixture, &small.wanted);
		small.backends[1].state = LB_BACKEND_DRAINING;
		apply(fixture, &small.wanted);
		assert_int_equal(fixture->memory->lb.services[service_row(fixture, &small.service)].flags & LB_SERVICE_HOPS, 0);
	}
}

static void a_ring_of_another_size_keeps_marks_by_hash(void **state)
{
	struct edge_fixture *fixture = *state;
	static uint16_t before[1 << 16];
	struct lb_service *service;
	struct small small;

	small_init(&small, 9, PROTOCOL_TCP);
	apply(fixture, &small.wanted);
	service = &fixture->memory->lb.services[service_row(fixture, &small.service)];
	for (uint32_t i = 0; i < 1 << 16; i++)
		before[i] = lb_ring_ask(&fixture->memory->rings, service, (uint64_t)i << 48);
	small_init(&small, 13, PROTOCOL_TCP);
	small.backends[12].weight = 1;
	apply(fixture, &small.wanted);
	assert_int_equal((uint32_t)service->ring, 65537);
	for (uint32_t i = 0; i < 1 << 16; i++) {
		uint16_t now = lb_ring_ask(&fixture->memory->rings, service, (uint64_t)i << 48);

		assert_true(now & LB_SLOT_MOVED || now == before[i]);
	}
	/* Some lie wholly within one old slot of the same backend. */
	assert_true(slots_count(fixture, &small.service, LB_SLOT_MOVED, 0) > 0);
}

/* Slots that go to a backend that was there before and did not have them, of 65536, when the backends become `count`. */
static uint32_t slots_disturbed(struct edge_fixture *fixture, size_t count)
{
	static uint16_t before[1 << 16];
	struct lb_service *service;
	struct small small;
	uint32_t disturbed = 0;

	small_init(&small, count - 1, PROTOCOL_UDP);
	apply(fixture, &small.wanted);
	service = &fixture->memory->lb.services[service_row(fixture, &small.service)];
	for (uint32_t i = 0; i < 1 << 16; i++)
		before[i] = lb_ring_ask(&fixture->memory->rings, service, (uint64_t)i << 48) & LB_SLOT_BACKEND;
	small_init(&small, count, PROTOCOL_UDP);
	apply(fixture, &small.wanted);
	for (uint32_t i = 0; i < 1 << 16; i++) {
		uint16_t now = lb_ring_ask(&fixture->memory->rings, service, (uint64_t)i << 48) & LB_SLOT_BACKEND;

		disturbed += now != before[i] && now != backend_row(fixture, &small, count - 1);
	}
	return disturbed;
}

/* No number of backends is a step that resizes the ring, where hardly a flow would stay. */
static void one_more_backend_disturbs_few_slots(void **state)
{
	for (size_t count = 2; count <= BACKENDS; count++)
		assert_in_range(slots_disturbed(*state, count), 0, (1 << 16) / 100);
}

static void slow_start_does_not_resize(void **state)
{
	struct edge_fixture *fixture = *state;
	struct small small;

	small_init(&small, 5, PROTOCOL_TCP);
	small.backends[0].weight_full = 100;
	for (uint16_t weight = 10; weight <= 100; weight += 10) {
		small.backends[0].weight = weight;
		apply(fixture, &small.wanted);
		assert_int_equal((uint32_t)fixture->memory->lb.services[1].ring, 16381);
		assert_in_range(slots_count(fixture, &small.service, LB_SLOT_BACKEND, backend_row(fixture, &small, 0)),
				16381u * weight / (400u + weight) - 1, 16381u * weight / (400u + weight) + 1);
	}
}

static void large_rings_are_switched_and_given_back(void **state)
{
	static struct lb_backend_wanted backends[400];
	struct edge_fixture *fixture = *state;
	struct small small;
	struct error error = {0};
	struct edge_changes changes;
	double start;

	small_init(&small, 1, PROTOCOL_TCP);
	for (uint32_t i = 0; i < 400; i++) {
		backends[i] = small.backends[0];
		backends[i].address = ipv4(10, 1, (uint8_t)(i >> 8), (uint8_t)i);
	}
	small.service.backends = backends;
	small.service.backend_count = 400;
	apply(fixture, &small.wanted);
	assert_int_equal((uint32_t)fixture->memory->lb.services[1].ring, 65537);
	start = now_ms();
	for (uint32_t i = 0; i < 100; i++) {
		backends[i].state = LB_BACKEND_DOWN;
		assert_int_equal(edge_program_apply(fixture->program, &small.wanted, &changes, &error), 0);
		assert_int_equal(changes.ring_slots, 65537);
	}
	print_message("one of 400 backends down: %.1f ms; %u waits in 100 changes\n", (now_ms() - start) / 100,
		      fixture->waits);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_fixture(moved_marks_are_set_and_settled),
		with_fixture(a_flip_during_a_pass_is_not_settled_by_it),
		with_fixture(a_ring_remembers_who_had_its_slots),
		with_fixture(a_ring_remembers_nobody_who_cannot_be_asked),
		with_fixture(a_ring_of_another_size_keeps_marks_by_hash),
		with_fixture(one_more_backend_disturbs_few_slots),
		with_fixture(slow_start_does_not_resize),
		with_fixture(large_rings_are_switched_and_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

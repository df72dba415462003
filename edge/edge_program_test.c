/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/edge_program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#include "edge/edge_fixture.h"
#include "lb/lb_fast.h"
#include "vip/vip_fast.h"

#define BACKENDS 16u

/* One service with some backends, which most tests need. */
struct small {
	struct lb_backend_wanted backends[BACKENDS];
	struct lb_service_wanted service;
	struct vip_wanted vip;
	struct edge_wanted wanted;
};

static void small_init(struct small *small, size_t count, uint8_t protocol)
{
	memset(small, 0, sizeof(*small));
	for (size_t i = 0; i < count; i++)
		small->backends[i] = (struct lb_backend_wanted){
			.address = ipv4(10, 0, 0, (uint8_t)(i + 1)), .port = 8000, .weight = 100,
			.state = LB_BACKEND_UP, .egress = egress_number((uint32_t)i + 1), .name = "backend"};
	small->service = (struct lb_service_wanted){
		.address = ipv4(192, 0, 2, 1), .port_first = 80, .port_last = 80, .protocol = protocol,
		.udp_idle_epochs = 4, .affinity_epochs = 10, .backends = small->backends, .backend_count = count,
		.name = "web"};
	small->vip = (struct vip_wanted){small->service.address, true, 1};
	small->wanted = (struct edge_wanted){.hash_seed = 7, .vips = &small->vip, .vip_count = 1,
					     .services = &small->service, .service_count = 1};
}

static struct edge_changes apply(struct edge_fixture *fixture, const struct edge_wanted *wanted)
{
	struct edge_changes changes, again;
	struct error error = {0};

	if (edge_program_apply(fixture->program, wanted, &changes, &error) < 0)
		fail_msg("%s", error.text);
	assert_int_equal(edge_program_apply(fixture->program, wanted, &again, &error), 0);
	assert_false(edge_changes_any(&again));
	return changes;
}

static struct edge_sweep_stats sweep_pass(struct edge_fixture *fixture)
{
	struct edge_sweep_stats stats;

	do
		edge_program_sweep(fixture->program, fixture->epoch, &stats);
	while (!stats.complete);
	return stats;
}

static uint16_t service_row(struct edge_fixture *fixture, const struct lb_service_wanted *service)
{
	struct directory_key key = lb_key(LB_KEY_SERVICE, &service->address, !address_is_ipv4(&service->address),
					  service->protocol, be16_from(service->port_first));

	return (uint16_t)DIRECTORY_FIND(&fixture->memory->lb.services_by_address, LB_SERVICE_DIRECTORY_BITS, &key);
}

static uint32_t slots_count(struct edge_fixture *fixture, const struct lb_service_wanted *service, uint16_t mask,
			    uint16_t value)
{
	struct edge_service_status status;
	uint64_t ring = fixture->memory->lb.services[service_row(fixture, service)].ring;
	uint32_t first = (uint32_t)(ring >> 32), count = 0;

	for (uint32_t i = first; i < first + (uint32_t)ring; i++)
		count += (fixture->memory->rings.slots[i] & mask) == value;
	/* What is told of a service is counted where slots change. */
	assert_true(edge_program_service_status(fixture->program, service, &status));
	if (mask == LB_SLOT_MOVED && value == LB_SLOT_MOVED)
		assert_int_equal(status.slots_moved, count);
	return count;
}

static uint16_t backend_row(struct edge_fixture *fixture, const struct small *small, size_t backend)
{
	struct edge_backend_status status;

	if (!edge_program_backend_status(fixture->program, &small->service, &small->backends[backend], &status))
		return 0;
	return status.row;
}

static void a_new_service_is_found_whole(void **state)
{
	struct edge_fixture *fixture = *state;
	struct edge_service_status status;
	struct small small;
	uint16_t row;

	small_init(&small, 5, PROTOCOL_TCP);
	apply(fixture, &small.wanted);
	row = service_row(fixture, &small.service);
	assert_int_not_equal(row, 0);
	assert_int_equal((uint32_t)fixture->memory->lb.services[row].ring, 16381);
	assert_int_equal(slots_count(fixture, &small.service, LB_SLOT_MOVED, LB_SLOT_MOVED), 0);
	for (size_t i = 0; i < 5; i++)
		assert_in_range(slots_count(fixture, &small.service, LB_SLOT_BACKEND, backend_row(fixture, &small, i)),
				3276, 3277);
	assert_true(edge_program_service_status(fixture->program, &small.service, &status));
	assert_int_equal(status.ring_slots, 16381);
	assert_non_null(vip_find(&fixture->memory->vips, &small.vip.address, false));
	assert_int_equal(vip_find(&fixture->memory->vips, &small.vip.address, false)->flags, VIP_OWNED);
}

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

static void policies_for_no_backend(void **state)
{
	struct edge_fixture *fixture = *state;
	struct small small;
	uint16_t draining;

	small_init(&small, 3, PROTOCOL_UDP);
	apply(fixture, &small.wanted);
	draining = backend_row(fixture, &small, 2);
	small.backends[0].state = LB_BACKEND_DOWN;
	small.backends[1].state = LB_BACKEND_DOWN;
	small.backends[2].state = LB_BACKEND_DRAINING;
	apply(fixture, &small.wanted);
	assert_true(fixture->memory->lb.services[1].ring == 0);
	small.service.no_backends = LB_NO_BACKENDS_ALL;
	apply(fixture, &small.wanted);
	assert_int_equal((uint32_t)fixture->memory->lb.services[1].ring, 16381);
	assert_int_equal(slots_count(fixture, &small.service, LB_SLOT_BACKEND, draining), 0);
	assert_int_equal(fixture->memory->lb.backends[backend_row(fixture, &small, 0)].state, LB_BACKEND_UP);
	/* Flows may be anywhere after a time without a ring. */
	assert_int_equal(slots_count(fixture, &small.service, LB_SLOT_MOVED, LB_SLOT_MOVED), 16381);
	small.backends[1].state = LB_BACKEND_UP;
	apply(fixture, &small.wanted);
	assert_int_equal(fixture->memory->lb.backends[backend_row(fixture, &small, 0)].state, LB_BACKEND_DOWN);
	assert_int_equal(slots_count(fixture, &small.service, LB_SLOT_BACKEND, backend_row(fixture, &small, 1)), 16381);
}

/* What packets remember of calls is as old as the last change: its number is another one after each, and 0 without calls. */
static void what_is_known_of_calls_is_forgotten_with_each_change(void **state)
{
	struct edge_fixture *fixture = *state;
	struct edge_config *config = &fixture->memory->config;
	uint32_t *shortcut = &fixture->memory->index.shortcuts[5][1], before;
	struct edge_tables tables = memory_tables(fixture->memory);
	struct small small;

	small_init(&small, 1, PROTOCOL_UDP);
	apply(fixture, &small.wanted);
	assert_int_equal(config->calls, 0);
	small.service.media = true;
	small.service.media_wanted = (struct lb_media_wanted){.dscp_up = 255, .dscp_down = 255};
	apply(fixture, &small.wanted);
	before = config->calls;
	assert_int_not_equal(before, 0);
	*shortcut = 1;
	apply(fixture, &small.wanted);
	assert_int_equal(config->calls, before);
	assert_int_equal(*shortcut, 1);
	small.backends[0].egress = egress_number(9);
	apply(fixture, &small.wanted);
	assert_int_not_equal(config->calls, 0);
	assert_int_not_equal(config->calls, before);
	assert_int_equal(*shortcut, 0);
	/* Another process may have been stopped between a change and its number. */
	before = config->calls;
	edge_program_free(fixture->program);
	fixture->program = edge_program_new(&tables, 2, &fixture->host);
	assert_non_null(fixture->program);
	apply(fixture, &small.wanted);
	assert_int_equal(config->calls, before + 1);
	small.service.media = false;
	apply(fixture, &small.wanted);
	assert_int_equal(config->calls, 0);
}

static void a_row_is_reused_only_when_nothing_names_it(void **state)
{
	struct edge_fixture *fixture = *state;
	uint64_t *word = &fixture->memory->flows.words[4711][3];
	struct edge_sweep_stats stats;
	struct small small;
	uint16_t gone;

	small_init(&small, 3, PROTOCOL_TCP);
	apply(fixture, &small.wanted);
	gone = backend_row(fixture, &small, 2);
	fixture->memory->counters[1].backends[gone].packets = 5;
	*word = lb_flow_word(4711, gone, fixture->epoch, LB_FLOW_TCP);
	small.service.backend_count = 2;
	apply(fixture, &small.wanted);
	assert_int_equal(fixture->memory->lb.backends[gone].state, LB_BACKEND_FREE);

	/* Another backend does not get the row, the same one has it back. */
	small.service.backend_count = 3;
	small.backends[2].port = 9000;
	apply(fixture, &small.wanted);
	assert_int_not_equal(backend_row(fixture, &small, 2), gone);
	small.backends[2].port = 8000;
	apply(fixture, &small.wanted);
	assert_int_equal(backend_row(fixture, &small, 2), gone);
	small.backends[2].port = 9000;
	apply(fixture, &small.wanted);
	stats = sweep_pass(fixture);
	assert_int_equal(stats.rows_released, 0); /* the word was seen in this epoch */
	fixture->epoch++;
	stats = sweep_pass(fixture);
	assert_int_equal(stats.removed, 1);
	assert_int_equal(stats.rows_released, 1);
	assert_true(*word == 0);
	assert_int_equal(fixture->memory->counters[1].backends[gone].packets, 0);
	small.backends[3] = small.backends[2];
	small.backends[3].port = 9001;
	small.service.backend_count = 4;
	apply(fixture, &small.wanted);
	assert_int_equal(backend_row(fixture, &small, 3), gone);
}

static void a_service_that_comes_back_does_not_find_its_old_rows(void **state)
{
	struct edge_fixture *fixture = *state;
	struct small small;
	uint16_t row;

	small_init(&small, 1, PROTOCOL_TCP);
	apply(fixture, &small.wanted);
	row = backend_row(fixture, &small, 0);
	small.wanted.service_count = 0;
	apply(fixture, &small.wanted);
	small.wanted.service_count = 1;
	apply(fixture, &small.wanted);
	assert_int_not_equal(backend_row(fixture, &small, 0), row);
	assert_int_equal(fixture->memory->lb.backends[row].service, 0);
}

static void expired_words_go_and_live_ones_stay(void **state)
{
	struct edge_fixture *fixture = *state;
	struct edge_backend_status status;
	struct edge_sweep_stats stats;
	uint16_t up, down, tcp;
	struct small small;
	uint64_t *words = fixture->memory->flows.words[9];

	small_init(&small, 3, PROTOCOL_UDP);
	apply(fixture, &small.wanted);
	up = backend_row(fixture, &small, 0);
	small.backends[1].state = LB_BACKEND_DOWN;
	apply(fixture, &small.wanted);
	down = backend_row(fixture, &small, 1);
	tcp = up;
	fixture->epoch = 5000;
	words[0] = lb_flow_word(1ull << 40, up, 5000 - 4, 0);                            /* idle, not too long */
	words[1] = lb_flow_word(2ull << 40, up, 5000 - 5, 0);                            /* idle too long */
	words[2] = lb_flow_word(3ull << 40, down, 5000 - 1, 0);                          /* UDP, its backend is dead */
	words[3] = lb_flow_word(4ull << 40, tcp, 5000 - 1055, LB_FLOW_TCP);              /* TCP just kept */
	words[4] = lb_flow_word(5ull << 40, tcp, 5000 - 1056, LB_FLOW_TCP);              /* TCP too old */
	words[5] = lb_flow_word(6ull << 40, tcp, 5000 - 9, LB_FLOW_TCP | LB_FLOW_CLOSING);
	words[6] = lb_flow_word(7ull << 40, up, 5000 + 2, 0);                            /* a worker's clock ahead */
	words[7] = lb_flow_word(8ull << 40, 77, 5000, 0);                                /* names no backend */
	stats = sweep_pass(fixture);
	assert_int_equal(stats.removed, 5);
	assert_int_equal(stats.flows, 3);
	assert_true(words[0] && words[3] && words[6]);
	assert_true(edge_program_backend_status(fixture->program, &small.service, &small.backends[0], &status));
	assert_true(status.flows_known && status.flows == 3 && !status.drained);
	assert_true(edge_program_backend_status(fixture->program, &small.service, &small.backends[1], &status));
	assert_true(status.drained);
	small.backends[0].state = LB_BACKEND_DRAINING;
	memset(words, 0, 64);
	apply(fixture, &small.wanted);
	assert_true(edge_program_backend_status(fixture->program, &small.service, &small.backends[0], &status));
	assert_false(status.drained); /* not before a pass of its own */
	sweep_pass(fixture);
	assert_true(edge_program_backend_status(fixture->program, &small.service, &small.backends[0], &status));
	assert_true(status.drained);
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

static void next_hops_whole(struct edge_fixture *fixture)
{
	for (uint32_t row = 1; row < 64; row++)
		assert_true(egress_whole(&fixture->memory->lb.backends[row].egress));
}

static void a_next_hop_is_never_half_new(void **state)
{
	struct edge_fixture *fixture = *state;
	struct small small;
	uint32_t waits;

	small_init(&small, 8, PROTOCOL_TCP);
	small.backends[3].egress.flags = 0;
	apply(fixture, &small.wanted);
	fixture->on_wait = next_hops_whole;
	waits = fixture->waits;
	for (uint32_t i = 0; i < 8; i++)
		small.backends[i].egress = egress_number(100 + i);
	apply(fixture, &small.wanted);
	assert_true(fixture->waits >= waits + 2);
	next_hops_whole(fixture);
	assert_int_equal(fixture->memory->lb.backends[backend_row(fixture, &small, 5)].egress.ifindex, 105);
	fixture->on_wait = NULL;
	/* A new hardware address alone waits for nothing. */
	waits = fixture->waits;
	small.backends[5].egress.destination_mac = 0x42;
	apply(fixture, &small.wanted);
	assert_int_equal(fixture->waits, waits);
	assert_int_equal(fixture->memory->lb.backends[backend_row(fixture, &small, 5)].egress.destination_mac, 0x42);
}

/* What packets see of row `row` is one of the ways to it that were wanted, or not resolved. */
static void tunnels_whole(struct edge_fixture *fixture)
{
	for (uint32_t row = 1; row < 64; row++) {
		const struct lb_backend *backend = &fixture->memory->lb.backends[row];
		struct address far = ipv4(198, 51, 100, (uint8_t)backend->egress.ifindex);

		if (!(backend->egress.flags & EGRESS_RESOLVED) || backend->tunnel == LB_TUNNEL_NONE)
			continue;
		assert_int_equal(backend->growth, backend->tunnel == LB_TUNNEL_GUE ? 32 : 20);
		assert_memory_equal(&backend->tunnel_destination, &far, sizeof(far));
	}
}

static void a_tunnel_is_never_half_new(void **state)
{
	static const enum lb_tunnel ways[] = {LB_TUNNEL_GUE, LB_TUNNEL_IPIP, LB_TUNNEL_NONE, LB_TUNNEL_GUE};
	struct edge_fixture *fixture = *state;
	const struct lb_backend *backend;
	struct small small;

	small_init(&small, 8, PROTOCOL_UDP);
	apply(fixture, &small.wanted);
	fixture->on_wait = tunnels_whole;
	for (uint32_t round = 0; round < 2 * array_length(ways); round++) {
		uint32_t waits = fixture->waits;

		for (uint32_t i = 0; i < 8; i++) {
			uint32_t number = round < array_length(ways) ? i + 1 : 50 + round; /* the next hop changes as well, later on */

			small.backends[i].egress = egress_number(number);
			small.backends[i].mtu = 1500;
			small.backends[i].tunnel = ways[round % array_length(ways)];
			small.backends[i].tunnel_source = ipv4(198, 51, 100, 200);
			small.backends[i].tunnel_destination = ipv4(198, 51, 100, (uint8_t)number);
		}
		apply(fixture, &small.wanted);
		tunnels_whole(fixture);
		assert_true(fixture->waits > waits);
		backend = &fixture->memory->lb.backends[backend_row(fixture, &small, 5)];
		assert_int_equal(backend->tunnel, ways[round % array_length(ways)]);
		assert_int_equal(backend->mtu, 1500 - backend->growth);
		assert_true(backend->egress.flags & EGRESS_RESOLVED);
	}
	fixture->on_wait = NULL;
}

static void refused(struct edge_fixture *fixture, const struct edge_wanted *wanted, int code, const char *words)
{
	struct edge_memory *before = memory_new();
	struct edge_changes changes;
	struct error error = {0};

	assert_non_null(before);
	memcpy(before, fixture->memory, sizeof(*before));
	assert_int_equal(edge_program_apply(fixture->program, wanted, &changes, &error), -code);
	if (!strstr(error.text, words))
		fail_msg("\"%s\" is not in \"%s\"", words, error.text);
	assert_memory_equal(before, fixture->memory, sizeof(*before));
	free(before);
}

static uint64_t peer_flags(const struct edge_fixture *fixture, struct address address)
{
	const struct lb_peers *peers = &fixture->memory->lb.peers;
	struct directory_key key = lb_peer_key(&address);
	uint32_t row = directory_find(&peers->directory.entries[0][0], LB_PEER_DIRECTORY_BITS, peers->directory.control, &key);

	return row ? peers->rows[row].flags : 0;
}

static void peers_come_and_go(void **state)
{
	struct edge_fixture *fixture = *state;
	struct peer_wanted peers[] = {{ipv4(192, 0, 2, 2), true}, {ipv4(192, 0, 2, 3), false}, {ipv4(192, 0, 2, 4), false}};
	struct edge_wanted wanted = {.peers = peers, .peer_count = 3};
	struct edge_changes changes;
	struct error error = {0};

	apply(fixture, &wanted);
	assert_int_equal(peer_flags(fixture, peers[0].address), LB_PEER_SELF);
	assert_int_equal(peer_flags(fixture, peers[2].address), LB_PEER_NODE);
	edge_program_adopt(fixture->program);
	assert_int_equal(edge_program_apply(fixture->program, &wanted, &changes, &error), 0);
	assert_false(edge_changes_any(&changes));
	wanted.peer_count = 2;
	apply(fixture, &wanted);
	assert_int_equal(peer_flags(fixture, peers[1].address), LB_PEER_NODE);
	assert_int_equal(peer_flags(fixture, peers[2].address), 0);
	peers[1] = peers[0];
	refused(fixture, &wanted, EINVAL, "192.0.2.2 is there twice");
}

static void what_cannot_be_is_refused_whole(void **state)
{
	struct edge_fixture *fixture = *state;
	struct lb_service_wanted services[12];
	struct vip_wanted vips[2];
	struct link_wanted links[2] = {{.ifindex = 3}, {.ifindex = 3}};
	struct edge_wanted wanted;
	struct small small;

	small_init(&small, 2, PROTOCOL_TCP);
	apply(fixture, &small.wanted);
	wanted = small.wanted;
	wanted.services = services;
	wanted.service_count = 2;
	services[0] = services[1] = small.service;
	services[1].name = "other";
	refused(fixture, &wanted, EINVAL, "services web and other have the same virtual IP");
	services[0].port_first = 70;
	services[0].port_last = 90;
	services[0].backend_count = 0;
	refused(fixture, &wanted, EINVAL, "port 80");
	services[0].backend_count = 1;
	refused(fixture, &wanted, EINVAL, "has a port, but the service has a range");
	for (uint16_t i = 0; i < 9; i++) {
		services[i] = small.service;
		services[i].port_first = (uint16_t)(100 * i + 100);
		services[i].port_last = (uint16_t)(100 * i + 150);
		services[i].backend_count = 0;
	}
	wanted.service_count = 9;
	refused(fixture, &wanted, E2BIG, "more than 8 port ranges");
	for (uint16_t i = 0; i < 5; i++) {
		services[i] = small.service;
		services[i].port_first = services[i].port_last = (uint16_t)(i + 1);
	}
	wanted.service_count = 5;
	refused(fixture, &wanted, E2BIG, "serves more than 4 services");
	wanted.service_count = 1;
	services[0] = small.service;
	services[0].protocol = 132;
	refused(fixture, &wanted, EINVAL, "neither TCP nor UDP");
	services[0] = small.service;
	small.backends[1] = small.backends[0];
	refused(fixture, &wanted, EINVAL, "10.0.0.1:8000 is there twice");
	small.backends[1].address = (struct address){{1, 2}};
	refused(fixture, &wanted, EINVAL, "address family");
	wanted.service_count = LB_SERVICE_ROWS;
	refused(fixture, &wanted, E2BIG, "2048 services");
	wanted.service_count = 0;
	vips[0] = vips[1] = small.vip;
	wanted.vips = vips;
	wanted.vip_count = 2;
	refused(fixture, &wanted, EINVAL, "virtual IP 192.0.2.1 is there twice");
	wanted.vip_count = 0;
	wanted.links = links;
	wanted.link_count = 2;
	refused(fixture, &wanted, EINVAL, "interface 3 with VLAN 0 is there twice");
}

static void port_ranges_and_shared_endpoints_are_chained(void **state)
{
	struct edge_fixture *fixture = *state;
	struct lb_service_wanted services[12];
	struct lb_backend_wanted backend;
	struct edge_wanted wanted;
	struct small small;
	struct flow flow = {.network = FLOW_IPV4, .protocol = PROTOCOL_UDP};

	small_init(&small, 1, PROTOCOL_UDP);
	backend = small.backends[0];
	backend.port = 0;
	for (uint16_t i = 0; i < 8; i++) {
		services[i] = small.service;
		services[i].port_first = (uint16_t)(100 * i + 100);
		services[i].port_last = (uint16_t)(100 * i + 150);
		services[i].backends = &backend;
		services[i].direct = i >= 4;
	}
	wanted = small.wanted;
	wanted.services = services;
	for (uint32_t mask = 1; mask < 256; mask = mask * 3 % 257 + 1) {
		struct lb_service_wanted some[8];
		size_t count = 0;

		for (uint32_t i = 0; i < 8; i++) {
			if (mask >> i & 1)
				some[count++] = services[i];
		}
		wanted.services = some;
		wanted.service_count = count;
		apply(fixture, &wanted);
		flow.destination = small.service.address;
		for (uint16_t i = 0; i < 8; i++) {
			uint32_t row;

			flow.destination_port = be16_from((uint16_t)(100 * i + 125));
			row = lb_service_find_range(&fixture->memory->lb, &flow);
			assert_int_equal(row != 0, mask >> i & 1);
			if (row)
				assert_int_equal(be16_get(fixture->memory->lb.services[row].port_first), 100 * i + 100);
			flow.destination_port = be16_from((uint16_t)(100 * i + 151));
			assert_int_equal(lb_service_find_range(&fixture->memory->lb, &flow), 0);
		}
		/* The reverse chain has each service without direct return once. */
		{
			struct directory_key key = lb_key(LB_KEY_BACKEND, &backend.address, false, PROTOCOL_UDP,
							  (struct be16){0});
			uint32_t row = DIRECTORY_FIND(&fixture->memory->lb.backends_by_endpoint,
						      LB_REVERSE_DIRECTORY_BITS, &key);
			uint32_t seen = 0;

			for (; row; row = fixture->memory->lb.backends[row].next) {
				uint16_t service = fixture->memory->lb.backends[row].service;

				seen |= 1u << (be16_get(fixture->memory->lb.services[service].port_first) / 100 - 1);
			}
			assert_int_equal(seen, mask & 0xf);
		}
	}
}

static void route_add(struct route_wanted *routes, size_t *count, const char *prefix, uint32_t egress)
{
	assert_int_equal(prefix_parse(prefix, &routes[*count].prefix), 0);
	routes[(*count)++].egress = egress_number(egress);
}

static uint32_t route_to(struct edge_fixture *fixture, const char *text)
{
	const struct route_row *row;
	struct address address;

	assert_int_equal(address_parse(text, &address), 0);
	row = route_find(&fixture->memory->routes, &address);
	return row ? row->egress.ifindex : 0;
}

static void routes_are_pruned_and_sorted(void **state)
{
	struct edge_fixture *fixture = *state;
	static struct route_wanted routes[1000];
	struct edge_wanted wanted = {.routes = routes};
	size_t count = 0;

	route_add(routes, &count, "10.1.0.0/16", 1);
	route_add(routes, &count, "10.0.0.0/8", 1);
	route_add(routes, &count, "10.1.2.0/24", 2);
	route_add(routes, &count, "10.1.2.128/25", 1);
	route_add(routes, &count, "10.1.2.128/25", 9); /* the first counts */
	route_add(routes, &count, "::/0", 3);
	route_add(routes, &count, "2001:db8::/32", 3);
	route_add(routes, &count, "2001:db8:1::/48", 4);
	wanted.route_count = count;
	apply(fixture, &wanted);
	assert_int_equal((uint32_t)fixture->memory->routes.control, 6); /* with the stop for IPv4 */
	assert_int_equal(route_to(fixture, "10.1.9.9"), 1);
	assert_int_equal(route_to(fixture, "10.1.2.3"), 2);
	assert_int_equal(route_to(fixture, "10.1.2.200"), 1);
	assert_int_equal(route_to(fixture, "192.0.2.1"), 0);
	assert_int_equal(route_to(fixture, "2001:db8::1"), 3);
	assert_int_equal(route_to(fixture, "2001:db8:1::1"), 4);
	route_add(routes, &count, "0.0.0.0/0", 3);
	for (uint32_t i = 0; i < 900; i++) {
		char text[32];

		snprintf(text, sizeof(text), "100.%u.%u.0/24", i / 256, i % 256);
		route_add(routes, &count, text, 3);
	}
	wanted.route_count = count;
	apply(fixture, &wanted);
	assert_int_equal((uint32_t)fixture->memory->routes.control, 6);
	assert_int_equal(route_to(fixture, "192.0.2.1"), 3);
	for (uint32_t i = 0; i < 59; i++)
		routes[count - 1 - i].egress = egress_number(77);
	refused(fixture, &wanted, E2BIG, "of 909 routes 65 matter");
}

static void neighbours_come_go_and_age(void **state)
{
	struct edge_fixture *fixture = *state;
	struct neighbour_table *table = &fixture->memory->neighbours;
	struct neighbour_wanted neighbours[2] = {{ipv4(10, 0, 0, 1), 0xaa, 3, 0}, {ipv4(10, 0, 0, 2), 0xbb, 3, 5}};
	struct edge_wanted wanted = {.neighbours = neighbours, .neighbour_count = 2};
	struct address learned = ipv4(10, 0, 0, 9);
	struct edge_sweep_stats stats;

	apply(fixture, &wanted);
	assert_true(neighbour_find(table, &neighbours[0].address, 3) == 0xaa);
	assert_true(neighbour_find(table, &neighbours[1].address, neighbour_link(3, 5)) == 0xbb);
	assert_true(neighbour_find(table, &neighbours[1].address, 3) == 0);
	neighbours[0].mac = 0xcc;
	apply(fixture, &wanted);
	assert_true(neighbour_find(table, &neighbours[0].address, 3) == 0xcc);
	assert_true(neighbour_learn(table, &learned, 3, 0xdd | (uint64_t)fixture->epoch << NEIGHBOUR_SEEN_SHIFT));
	/* one that the kernel has forgotten ages like a learned one, unless it says that the address is another machine's now */
	wanted.neighbour_count = 1;
	apply(fixture, &wanted);
	assert_true(neighbour_find(table, &neighbours[1].address, neighbour_link(3, 5)) == 0xbb);
	neighbours[1].mac = 0xee;
	wanted.neighbour_count = 2;
	apply(fixture, &wanted);
	assert_true(neighbour_find(table, &neighbours[1].address, neighbour_link(3, 5)) == 0xee);
	wanted.neighbour_count = 1;
	apply(fixture, &wanted);
	fixture->epoch += 73;
	stats = sweep_pass(fixture);
	assert_int_equal(stats.neighbours_removed, 0);
	assert_true(neighbour_find(table, &learned, 3) == 0xdd);
	assert_true(neighbour_find(table, &neighbours[1].address, neighbour_link(3, 5)) == 0xee);
	fixture->epoch++;
	stats = sweep_pass(fixture);
	assert_int_equal(stats.neighbours_removed, 2);
	assert_true(neighbour_find(table, &learned, 3) == 0);
	assert_true(neighbour_find(table, &neighbours[1].address, neighbour_link(3, 5)) == 0);
	assert_true(neighbour_find(table, &neighbours[0].address, 3) == 0xcc);
	apply(fixture, &wanted);
}

static void a_full_bucket_of_neighbours_is_not_churned(void **state)
{
	struct edge_fixture *fixture = *state;
	struct neighbour_wanted neighbours[6];
	struct edge_wanted wanted = {.neighbours = neighbours, .neighbour_count = 6};
	struct address first = ipv4(10, 0, 0, 0), address;
	size_t count = 0;

	for (uint32_t i = 0; count < 6; i++) {
		address = ipv4(10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i);
		if (neighbour_bucket(&address, 3) == neighbour_bucket(&first, 3))
			neighbours[count++] = (struct neighbour_wanted){address, i + 1, 3, 0};
	}
	assert_int_equal(apply(fixture, &wanted).neighbours, NEIGHBOUR_WAYS);
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* All rows in use, and then every one of them replaced by another. */
/*
 * The filter takes some new flows for recorded ones, more so the more flows there are; their requests go by the ring, with no
 * record made. Their answers must find the way back all the same, and make the record.
 */
static void an_answer_of_a_flow_without_record_is_translated(void **state)
{
	struct edge_fixture *fixture = *state;
	struct edge_memory *memory = fixture->memory;
	struct lb_view view = {.lb = &memory->lb, .rings = &memory->rings, .flows = &memory->flows, .filter = &memory->filter, .guards = &memory->guards, .limiter = &memory->limiter,
			       .routes = &memory->routes, .neighbours = &memory->neighbours, .epoch = fixture->epoch};
	uint32_t unrecorded = 0, lost = 0, count = 200000;
	struct small small;
	uint16_t service;

	small_init(&small, 3, PROTOCOL_UDP);
	apply(fixture, &small.wanted);
	service = service_row(fixture, &small.service);
	for (uint32_t i = 0; i < count; i++) {
		struct flow flow = {.source = ipv4(10, 1, (uint8_t)(i >> 8), (uint8_t)i), .destination = small.service.address,
				    .source_port = be16_from((uint16_t)(1024 + (i >> 16))), .destination_port = be16_from(80),
				    .network = FLOW_IPV4, .protocol = PROTOCOL_UDP, .hop_limit = 64};
		struct flow answer = flow;
		struct decision decision = {0};
		uint8_t end[64];
		struct packet nothing = {.data = end, .end = end};

		lb_forward_decide(&view, &nothing, &flow, service, 1, &decision);
		assert_int_equal(decision.action, ACTION_NAT_FORWARD);
		if (decision.flags & DECISION_NEW_FLOW) /* its second packet establishes it, and the filter vouches for it */
			lb_forward_decide(&view, &nothing, &flow, service, 1, &(struct decision){0});
		answer.source = decision.address;
		answer.source_port = decision.port;
		answer.destination = flow.source;
		answer.destination_port = flow.source_port;
		if (decision.flags & DECISION_NEW_FLOW)
			continue;
		unrecorded++;
		lost += lb_reverse_find(&view, &answer) != decision.backend;
		assert_int_equal(lb_answer_find(view.lb, view.flows, &answer,
						(uint64_t)decision.backend << 32 | view.epoch), LB_ANSWER_OURS);
		answer.destination_port = be16_from(9); /* nobody asked from here */
		assert_int_equal(lb_reverse_find(&view, &answer), 0);
	}
	assert_in_range(unrecorded, 1, count / 1000);
	assert_int_equal(lost, 0);
}

static void full_tables_can_be_replaced(void **state)
{
	static struct lb_service_wanted services[LB_SERVICE_ROWS];
	static struct lb_backend_wanted backends[LB_BACKEND_ROWS];
	static struct vip_wanted vips[VIP_ROWS];
	static struct link_wanted links[LINK_ROWS];
	struct edge_fixture *fixture = *state;
	struct edge_wanted wanted = {.hash_seed = 1, .services = services, .service_count = LB_SERVICE_ROWS - 1,
				     .vips = vips, .vip_count = VIP_ROWS - 1, .links = links, .link_count = LINK_ROWS - 1};
	struct edge_changes changes;
	struct error error = {0};

	for (uint32_t round = 0; round < 3; round++) {
		double start, built, same, pass;

		for (uint32_t i = 0; i < VIP_ROWS - 1; i++)
			vips[i] = (struct vip_wanted){ipv4(192, (uint8_t)round, (uint8_t)(i >> 8), (uint8_t)i), true, 1};
		for (uint32_t i = 0; i < LINK_ROWS - 1; i++)
			links[i] = (struct link_wanted){.ifindex = 1000 * round + i + 1, .mac = i, .announce = 1};
		for (uint32_t i = 0; i < 4 * (LB_SERVICE_ROWS - 1); i++)
			backends[i] = (struct lb_backend_wanted){
				.address = ipv4(10, (uint8_t)round, (uint8_t)(i >> 8), (uint8_t)i), .port = 80, .weight = 100,
				.state = LB_BACKEND_UP, .egress = egress_number(i)};
		for (uint32_t i = 0; i < LB_SERVICE_ROWS - 1; i++)
			services[i] = (struct lb_service_wanted){
				.address = ipv4(192, (uint8_t)round, (uint8_t)(i >> 8), (uint8_t)i), .port_first = 80,
				.port_last = 80, .protocol = PROTOCOL_TCP, .backends = &backends[4 * i],
				.backend_count = 4, .name = "many"};
		start = now_ms();
		if (edge_program_apply(fixture->program, &wanted, &changes, &error) < 0)
			fail_msg("%s", error.text);
		built = now_ms();
		assert_int_equal(edge_program_apply(fixture->program, &wanted, &changes, &error), 0);
		assert_false(edge_changes_any(&changes));
		same = now_ms();
		sweep_pass(fixture);
		pass = now_ms();
		print_message("2047 services, 8188 backends, 1023 VIPs: written in %.0f ms (%u waits so far), found equal in "
			      "%.1f ms, a sweep of empty flows takes %.1f ms\n",
			      built - start, fixture->waits, same - built, pass - same);
		for (uint32_t i = 0; i < LB_SERVICE_ROWS - 1; i++)
			assert_int_not_equal(service_row(fixture, &services[i]), 0);
		/* One backend more or less in a full arena. */
		backends[9].state = LB_BACKEND_DOWN;
		assert_int_equal(edge_program_apply(fixture->program, &wanted, &changes, &error), 0);
		assert_true(changes.ring_slots == 1021 && changes.directories == 0); /* so many give way */
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

static void adoption_changes_nothing(void **state)
{
	struct edge_fixture *fixture = *state;
	struct edge_memory *copy = memory_new();
	struct edge_tables tables = memory_tables(copy);
	struct edge_changes changes;
	struct edge_program *program;
	struct error error = {0};
	struct small small;

	small_init(&small, 7, PROTOCOL_UDP);
	apply(fixture, &small.wanted);
	small.backends[2].state = LB_BACKEND_DOWN;
	small.service.backend_count = 6; /* one in quarantine */
	apply(fixture, &small.wanted);
	memcpy(copy, fixture->memory, sizeof(*copy));
	program = edge_program_new(&tables, 2, &fixture->host);
	assert_non_null(program);
	assert_int_equal(edge_program_apply(program, &small.wanted, &changes, &error), 0);
	assert_false(edge_changes_any(&changes));
	assert_memory_equal(copy, fixture->memory, sizeof(*copy));
	/* And it goes on: the row in quarantine is released, the rings are not overwritten. */
	for (uint32_t i = 0; i < 2 * EDGE_SWEEP_STEPS; i++) {
		struct edge_sweep_stats stats;

		edge_program_sweep(program, fixture->epoch, &stats);
		if (stats.complete && i < EDGE_SWEEP_STEPS)
			assert_int_equal(stats.rows_released, 1);
	}
	edge_program_free(program);
	free(copy);
}

static int setup(void **state)
{
	*state = edge_fixture_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	edge_fixture_free(*state);
	return 0;
}

#define with_fixture(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_fixture(a_new_service_is_found_whole),
		with_fixture(moved_marks_are_set_and_settled),
		with_fixture(a_flip_during_a_pass_is_not_settled_by_it),
		with_fixture(a_ring_remembers_who_had_its_slots),
		with_fixture(a_ring_remembers_nobody_who_cannot_be_asked),
		with_fixture(a_ring_of_another_size_keeps_marks_by_hash),
		with_fixture(one_more_backend_disturbs_few_slots),
		with_fixture(policies_for_no_backend),
		with_fixture(what_is_known_of_calls_is_forgotten_with_each_change),
		with_fixture(a_row_is_reused_only_when_nothing_names_it),
		with_fixture(a_service_that_comes_back_does_not_find_its_old_rows),
		with_fixture(expired_words_go_and_live_ones_stay),
		with_fixture(slow_start_does_not_resize),
		with_fixture(a_next_hop_is_never_half_new),
		with_fixture(a_tunnel_is_never_half_new),
		with_fixture(peers_come_and_go),
		with_fixture(what_cannot_be_is_refused_whole),
		with_fixture(port_ranges_and_shared_endpoints_are_chained),
		with_fixture(routes_are_pruned_and_sorted),
		with_fixture(neighbours_come_go_and_age),
		with_fixture(a_full_bucket_of_neighbours_is_not_churned),
		with_fixture(an_answer_of_a_flow_without_record_is_translated),
		with_fixture(full_tables_can_be_replaced),
		with_fixture(large_rings_are_switched_and_given_back),
		with_fixture(adoption_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

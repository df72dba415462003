/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: one service with some backends, which most tests of the tables' writer need; and a fixture for each test. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/lib/clock.h"
#include "edge/edge_fixture.h"
#include "lb/lb_fast.h"
#include "vip/vip_fast.h"

#define BACKENDS 16u

struct small {
	struct lb_backend_wanted backends[BACKENDS];
	struct lb_service_wanted service;
	struct vip_wanted vip;
	struct edge_wanted wanted;
};

static inline void small_init(struct small *small, size_t count, uint8_t protocol)
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

static inline struct edge_changes apply(struct edge_fixture *fixture, const struct edge_wanted *wanted)
{
	struct edge_changes changes, again;
	struct error error = {0};

	if (edge_program_apply(fixture->program, wanted, &changes, &error) < 0)
		fail_msg("%s", error.text);
	assert_int_equal(edge_program_apply(fixture->program, wanted, &again, &error), 0);
	assert_false(edge_changes_any(&again));
	return changes;
}

static inline struct edge_sweep_stats sweep_pass(struct edge_fixture *fixture)
{
	struct edge_sweep_stats stats;

	do
		edge_program_sweep(fixture->program, fixture->epoch, &stats);
	while (!stats.complete);
	return stats;
}

static inline uint16_t service_row(struct edge_fixture *fixture, const struct lb_service_wanted *service)
{
	struct directory_key key = lb_key(LB_KEY_SERVICE, &service->address, !address_is_ipv4(&service->address),
					  service->protocol, be16_from(service->port_first));

	return (uint16_t)DIRECTORY_FIND(&fixture->memory->lb.services_by_address, LB_SERVICE_DIRECTORY_BITS, &key);
}

static inline uint32_t slots_count(struct edge_fixture *fixture, const struct lb_service_wanted *service, uint16_t mask,
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

static inline uint16_t backend_row(struct edge_fixture *fixture, const struct small *small, size_t backend)
{
	struct edge_backend_status status;

	if (!edge_program_backend_status(fixture->program, &small->service, &small->backends[backend], &status))
		return 0;
	return status.row;
}

static inline void refused(struct edge_fixture *fixture, const struct edge_wanted *wanted, int code, const char *words)
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

static inline double now_ms(void)
{
	return (double)clock_us() / 1e3;
}

static inline int setup(void **state)
{
	*state = edge_fixture_new();
	return *state ? 0 : -1;
}

static inline int teardown(void **state)
{
	edge_fixture_free(*state);
	return 0;
}

#define with_fixture(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers look things up as packets do while a writer changes the tables: whatever they find must belong to what they asked
 * for, and be whole. Every value says what it belongs to. The host's wait is a real one.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <time.h>

#include <cmocka.h>

#include "base/packet/hash.h"
#include "edge/edge_fixture.h"
#include "lb/lb_fast.h"
#include "vip/vip_fast.h"

#define SERVICES 6u
#define BACKENDS 12u
#define READERS 1u
#define RUN_MS 3000

struct reader {
	pthread_t thread;
	struct edge_memory *memory;
	_Atomic uint64_t passes; /* odd: in the middle of one */
	uint64_t found;
	const char *wrong; /* what the reader saw and must not have seen */
};

static struct reader readers[READERS];
static atomic_bool stop;

/* Waits until every reader has been seen between two passes, or in a later one. */
static void wait_for_readers(struct edge_fixture *fixture)
{
	for (uint32_t i = 0; i < READERS; i++) {
		uint64_t passes = atomic_load(&readers[i].passes);

		while (passes & 1 && atomic_load(&readers[i].passes) == passes)
			sched_yield();
	}
}

static struct address service_address(uint32_t s)
{
	return ipv4(192, 0, 2, (uint8_t)s);
}

static struct address backend_address(uint32_t s, uint32_t b)
{
	return ipv4(10, (uint8_t)(s % 2), 0, (uint8_t)b);
}

static const char *ring_read(const struct edge_memory *memory, uint32_t row, uint32_t s, uint64_t hash)
{
	uint16_t slot = lb_ring_ask(&memory->rings, &memory->lb.services[row], hash);
	const struct lb_backend *backend = &memory->lb.backends[slot & LB_SLOT_BACKEND];
	struct egress egress;

	if ((slot & LB_SLOT_BACKEND) == 0)
		return slot == LB_SLOT_MOVED ? NULL : "a slot without a backend";
	if (backend->service != row)
		return "a backend of another service";
	if ((address_ipv4(&backend->address) >> 8 & 0xff) != s % 2)
		return "a backend that is not one of the service's";
	if (load_once(backend->egress.flags) & EGRESS_RESOLVED) {
		egress = backend->egress;
		if (!egress_whole(&egress))
			return "a half-made next hop";
	}
	return NULL;
}

static const char *service_read(const struct edge_memory *memory, uint32_t s, uint64_t hash, uint64_t *found)
{
	struct flow flow = {.network = FLOW_IPV4, .destination = service_address(s), .protocol = PROTOCOL_UDP,
			    .destination_port = be16_from((uint16_t)(s < 3 ? 80 : 1000 * s + 7))};
	uint32_t row = lb_service_find(&memory->lb, &flow);

	if (s >= 3)
		row = lb_service_find_range(&memory->lb, &flow);
	if (row == 0)
		return NULL;
	(*found)++;
	if (!address_equal(&memory->lb.services[row].address, &flow.destination))
		return "another service";
	return ring_read(memory, row, s, hash);
}

static const char *reverse_read(const struct edge_memory *memory, uint32_t s, uint32_t b)
{
	struct address address = backend_address(s, b);
	struct directory_key key = lb_key(LB_KEY_BACKEND, &address, false, PROTOCOL_UDP, be16_from(s < 3 ? 7000 : 0));
	uint32_t row = DIRECTORY_FIND(&memory->lb.backends_by_endpoint, LB_REVERSE_DIRECTORY_BITS, &key);

	for (uint32_t i = 0; row && i < LB_SERVICES_PER_ENDPOINT; i++) {
		const struct lb_backend *backend = &memory->lb.backends[row];

		if (!address_equal(&backend->address, &address))
			return "an endpoint's chain with another endpoint";
		row = load_once(backend->next);
	}
	return NULL;
}

static const char *rest_read(const struct edge_memory *memory, uint32_t i)
{
	struct address address = service_address(i % SERVICES), client = ipv4((uint8_t)(1 + i % 8), 1, 1, 1);
	const struct vip_row *vip = vip_find(&memory->vips, &address, false);
	const struct link_row *link = link_find(&memory->links, 1 + i % 8, 0);
	uint32_t place = route_place_find(&memory->routes, &client);
	const struct route_row *route = &memory->routes.rows[0][0] + place - 1;

	if (vip && !address_equal(&vip->address, &address))
		return "another virtual IP";
	if (link && (link->ifindex != 1 + i % 8 || link->mac != link->ifindex))
		return "another interface";
	if (place && (!egress_whole(&route->egress) || route->egress.ifindex % 8 != i % 8))
		return "another route";
	return NULL;
}

static void *reader_run(void *argument)
{
	struct reader *reader = argument;
	uint64_t random = (uint64_t)(uintptr_t)argument;

	while (!atomic_load(&stop) && !reader->wrong) {
		atomic_fetch_add(&reader->passes, 1);
		for (uint32_t i = 0; i < 16 && !reader->wrong; i++) {
			uint32_t s;

			random += 0x9e3779b97f4a7c15ull;
			s = (uint32_t)(hash_finish(random) >> 40) % SERVICES;
			reader->wrong = service_read(reader->memory, s, hash_finish(random), &reader->found);
			if (!reader->wrong)
				reader->wrong = reverse_read(reader->memory, s, i % BACKENDS);
			if (!reader->wrong)
				reader->wrong = rest_read(reader->memory, i);
		}
		atomic_fetch_add(&reader->passes, 1);
	}
	return NULL;
}

static uint64_t random_state;

static uint32_t random_below(uint32_t limit)
{
	random_state += 0x9e3779b97f4a7c15ull;
	return (uint32_t)(hash_finish(random_state) >> 32) % limit;
}

static void change(struct edge_fixture *fixture)
{
	static struct lb_service_wanted services[SERVICES];
	static struct lb_backend_wanted backends[SERVICES][BACKENDS];
	static struct vip_wanted vips[SERVICES];
	static struct link_wanted links[8];
	static struct route_wanted routes[8];
	struct edge_wanted wanted = {.hash_seed = 3, .services = services, .vips = vips, .links = links, .routes = routes};
	struct edge_sweep_stats stats;
	struct edge_changes changes;
	struct error error = {0};

	for (uint32_t s = 0; s < SERVICES; s++) {
		size_t count = 0;

		for (uint32_t b = 0; b < BACKENDS; b++) {
			if (random_below(2))
				backends[s][count++] = (struct lb_backend_wanted){
					.address = backend_address(s, b), .port = s < 3 ? 7000 : 0, .weight = 100,
					.state = (enum lb_backend_state)(LB_BACKEND_UP + random_below(3)),
					.egress = egress_number(1 + random_below(4000))};
		}
		if (random_below(4) == 0)
			continue;
		services[wanted.service_count++] = (struct lb_service_wanted){
			.address = service_address(s), .port_first = (uint16_t)(s < 3 ? 80 : 1000 * s),
			.port_last = (uint16_t)(s < 3 ? 80 : 1000 * s + 99), .protocol = PROTOCOL_UDP,
			.udp_idle_epochs = 5, .backends = backends[s], .backend_count = count, .name = "service"};
		vips[wanted.vip_count++] = (struct vip_wanted){service_address(s), random_below(2), 1};
	}
	for (uint32_t i = 0; i < 8; i++) {
		if (random_below(3) == 0)
			continue;
		links[wanted.link_count++] = (struct link_wanted){.ifindex = 1 + i, .mac = 1 + i};
		routes[wanted.route_count++] = (struct route_wanted){
			{ipv4((uint8_t)(1 + i), 0, 0, 0), 8}, egress_number(8 * random_below(100) + 8 + i)};
	}
	if (edge_program_apply(fixture->program, &wanted, &changes, &error) < 0)
		fail_msg("%s", error.text);
	for (uint32_t i = random_below(3); i-- > 0;)
		edge_program_sweep(fixture->program, fixture->epoch, &stats);
	fixture->epoch += random_below(2);
}

static void readers_never_see_a_wrong_row(void **state)
{
	const char *given = getenv("SELVAGE_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL), found = 0;
	struct edge_fixture *fixture = edge_fixture_new();
	struct timespec start, now;
	uint32_t rounds = 0;

	assert_non_null(fixture);
	print_message("SELVAGE_TEST_SEED=%llu\n", (unsigned long long)seed);
	random_state = seed;
	fixture->on_wait = wait_for_readers;
	for (uint32_t i = 0; i < READERS; i++) {
		readers[i].memory = fixture->memory;
		assert_int_equal(pthread_create(&readers[i].thread, NULL, reader_run, &readers[i]), 0);
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		change(fixture);
		rounds++;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < RUN_MS);
	atomic_store(&stop, true);
	for (uint32_t i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		found += readers[i].found;
	}
	for (uint32_t i = 0; i < READERS; i++) {
		if (readers[i].wrong)
			fail_msg("a reader saw %s", readers[i].wrong);
	}
	print_message("%u changes with %u waits, %llu services found meanwhile\n", rounds, fixture->waits,
		      (unsigned long long)found);
	assert_true(rounds > 20 && found > 1000);
	edge_fixture_free(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_never_see_a_wrong_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

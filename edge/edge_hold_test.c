/* SPDX-License-Identifier: Apache-2.0 */
/* Records of fragments against a naive model of the datagram, and what is held: order, time, several threads. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "edge/edge_explain.h"
#include "edge/edge_fast.h"
#include "edge/edge_fixture.h"
#include "edge/edge_hold.h"

#define FORWARD_TO(row) ((uint32_t)LB_FRAGMENT_FORWARD << 16 | (row))

static uint64_t random_state;

static uint32_t random_below(uint32_t limit)
{
	random_state += 0x9e3779b97f4a7c15ull;
	return (uint32_t)(hash_finish(random_state) >> 32) % limit;
}

static void seed(void)
{
	const char *given = getenv("SELVAGE_TEST_SEED");

	random_state = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	print_message("SELVAGE_TEST_SEED=%llu\n", (unsigned long long)random_state);
}

static struct address ipv4_of(uint8_t last)
{
	return ipv4(192, 0, 2, last);
}

static struct flow flow_of(uint8_t client)
{
	return (struct flow){.network = FLOW_IPV4, .protocol = PROTOCOL_UDP, .flags = FLOW_FRAGMENT,
			     .source = ipv4_of(client), .destination = ipv4_of(100)};
}

/* All in one bucket. */
static struct lb_piece piece_of(uint32_t identification, uint32_t start, uint32_t end, bool last, uint32_t now_ms)
{
	return (struct lb_piece){.hash = (uint64_t)identification << 32, .identification = identification, .protocol = PROTOCOL_UDP,
				 .start = (uint16_t)start, .end = (uint16_t)end, .last = last, .now_ms = now_ms};
}

static uint32_t begin(struct lb_fragments *fragments, uint32_t identification, uint32_t end, uint32_t now_ms, uint32_t value)
{
	struct lb_piece piece = piece_of(identification, 0, end, false, now_ms);
	struct flow flow = flow_of(1);

	return lb_fragment_begin(fragments, &flow, &piece, value);
}

static uint32_t follow(struct lb_fragments *fragments, uint32_t identification, uint32_t start, uint32_t end, bool last,
		       uint32_t now_ms)
{
	struct lb_piece piece = piece_of(identification, start, end, last, now_ms);
	struct flow flow = flow_of(1);

	return lb_fragment_follow(fragments, &flow, &piece);
}

static int fragments_new(void **state)
{
	*state = calloc(1, sizeof(struct lb_fragments) + 64);
	return *state ? 0 : -1;
}

static int fragments_free(void **state)
{
	free(*state);
	return 0;
}

static struct lb_fragments *aligned(void *memory)
{
	return (struct lb_fragments *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
}

static void a_full_bucket_gives_up_what_is_least_needed(void **state)
{
	struct lb_fragments *fragments = aligned(*state);

	for (uint32_t i = 1; i <= 4; i++)
		assert_int_equal(begin(fragments, i, 80, 1000 + i, FORWARD_TO(i)), DROP_NONE);
	/* 3 is complete: it goes before 1, which is the oldest */
	assert_int_equal(follow(fragments, 3, 80, 100, true, 1010), FORWARD_TO(3));
	assert_int_equal(begin(fragments, 5, 80, 1011, FORWARD_TO(5)), DROP_NONE);
	assert_int_equal(follow(fragments, 3, 80, 100, true, 1012), LB_FRAGMENT_NONE);
	assert_int_equal(follow(fragments, 1, 80, 88, false, 1012), FORWARD_TO(1));
	/* then the oldest */
	assert_int_equal(begin(fragments, 6, 80, 1013, FORWARD_TO(6)), DROP_NONE);
	assert_int_equal(follow(fragments, 1, 88, 96, false, 1014), LB_FRAGMENT_NONE);
	/* what is expired goes before what is complete */
	assert_int_equal(follow(fragments, 6, 80, 100, true, 1015), FORWARD_TO(6));
	assert_int_equal(begin(fragments, 7, 80, 1002 + LB_FRAGMENT_MS + 1, FORWARD_TO(7)), DROP_NONE);
	assert_int_equal(follow(fragments, 6, 80, 88, false, 1014 + LB_FRAGMENT_MS - 1) >> 16, LB_FRAGMENT_DROP);
	assert_int_equal(follow(fragments, 2, 80, 88, false, 1002 + LB_FRAGMENT_MS), LB_FRAGMENT_NONE);
}

static void a_record_lives_for_two_seconds_whatever_the_clock_says(void **state)
{
	struct lb_fragments *fragments = aligned(*state);
	uint32_t start = UINT32_MAX - 10;

	begin(fragments, 1, 80, start, FORWARD_TO(9));
	/* a worker whose clock is behind */
	assert_int_equal(follow(fragments, 1, 80, 88, false, start - 5), FORWARD_TO(9));
	/* over the wrap */
	assert_int_equal(follow(fragments, 1, 88, 96, false, start + LB_FRAGMENT_MS), FORWARD_TO(9));
	assert_int_equal(follow(fragments, 1, 96, 104, false, start + LB_FRAGMENT_MS + 1), LB_FRAGMENT_NONE);
	assert_int_equal(follow(fragments, 1, 96, 104, false, start + (1u << 31)), LB_FRAGMENT_NONE);
}

static void what_became_of_the_first_becomes_of_all(void **state)
{
	struct lb_fragments *fragments = aligned(*state);
	uint32_t dropped = (uint32_t)LB_FRAGMENT_DROP << 16 | DROP_service_no_backend;

	begin(fragments, 1, 80, 0, dropped);
	assert_int_equal(follow(fragments, 1, 80, 88, false, 1), dropped);
	/* sent once more, when there is a backend */
	assert_int_equal(begin(fragments, 1, 80, 2, FORWARD_TO(7)), DROP_NONE);
	assert_int_equal(follow(fragments, 1, 80, 88, false, 3), FORWARD_TO(7));
}

/* Another client's datagram with the same identification and in the same bucket. */
static void a_record_is_of_one_sender(void **state)
{
	struct lb_fragments *fragments = aligned(*state);
	struct lb_piece piece = piece_of(1, 80, 88, false, 0);
	struct flow other = flow_of(2);

	begin(fragments, 1, 80, 0, FORWARD_TO(7));
	assert_int_equal(lb_fragment_follow(fragments, &other, &piece), LB_FRAGMENT_NONE);
	piece.protocol = PROTOCOL_TCP;
	other = flow_of(1);
	assert_int_equal(lb_fragment_follow(fragments, &other, &piece), LB_FRAGMENT_NONE);
}

#define MODEL_UNITS 40u

struct model {
	uint8_t seen[MODEL_UNITS];
	uint32_t end; /* 0: unknown */
	bool given_up;
};

/* Which parts of the datagram a fragment lies on: bit 0: some that were seen, bit 1: some that were not. */
static uint32_t model_touches(const struct model *model, uint32_t start, uint32_t end)
{
	uint32_t touches = 0;

	for (uint32_t i = start; i < end; i++)
		touches |= model->seen[i] ? 1 : 2;
	return touches;
}

/*
 * Whatever comes: no byte goes on twice; nothing goes on when the datagram was given up; what is new, contradicts nothing and
 * leaves few gaps goes on.
 */
static void fragments_agree_with_a_bitmap(void **state)
{
	struct lb_fragments *fragments = aligned(*state);
	uint32_t given_up = 0, whole = 0;

	seed();
	for (uint32_t datagram = 1; datagram <= 20000; datagram++) {
		uint32_t total = 2 + random_below(MODEL_UNITS - 2), size = 1 + random_below(6), first = 1 + random_below(size);
		struct model model = {0};
		bool honest = random_below(2);

		assert_int_equal(begin(fragments, datagram, 8 * first, datagram, FORWARD_TO(1)), DROP_NONE);
		for (uint32_t i = 0; i < first; i++)
			model.seen[i] = 1;
		for (uint32_t step = 0; step < 60; step++) {
			uint32_t start = first + random_below((MODEL_UNITS - first) / size) * size, end, touches, answer, top = 0;
			bool last;

			if (!honest)
				start = 1 + random_below(MODEL_UNITS - 1);
			if (honest && start >= total)
				continue;
			end = start + (honest ? size : 1 + random_below(6));
			end = end > MODEL_UNITS ? MODEL_UNITS : end;
			last = honest ? end >= total : random_below(10) == 0;
			end = honest && end > total ? total : end;
			touches = model_touches(&model, start, end);
			for (uint32_t i = 0; i < MODEL_UNITS; i++)
				top = model.seen[i] ? i + 1 : top;
			answer = follow(fragments, datagram, 8 * start, 8 * end, last, datagram);
			if (answer == FORWARD_TO(1)) {
				assert_false(model.given_up);
				assert_int_equal(touches, 2);
				assert_true(model.end == 0 || (end <= model.end && (!last || end == model.end)));
				assert_true(!last || top <= end);
				for (uint32_t i = start; i < end; i++)
					model.seen[i] = 1;
				model.end = last ? end : model.end;
				continue;
			}
			assert_int_equal(answer >> 16, LB_FRAGMENT_DROP);
			if (model.given_up)
				continue;
			switch (answer & 0xffff) {
			case DROP_fragment_duplicate:
				assert_int_equal(touches, 1);
				break;
			case DROP_fragment_overlap:
				assert_true(!honest);
				assert_true(touches & 1 || last || (model.end && end > model.end));
				model.given_up = true;
				break;
			default:
				assert_int_equal(answer & 0xffff, DROP_fragment_gaps);
				model.given_up = true;
			}
		}
		given_up += model.given_up;
		whole += model.end && model_touches(&model, 0, model.end) == 1;
	}
	print_message("%u given up, %u whole\n", given_up, whole);
	assert_true(given_up > 1000 && whole > 1000);
}

/* --- holding ------------------------------------------------------------------------------------------------------------ */

/* A UDP fragment over IPv4 from 192.0.2.`client` to 192.0.2.100. */
static uint32_t frame_build(uint8_t *frame, uint8_t client, uint16_t identification, uint16_t fragment)
{
	static const uint8_t head[34] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0x50, 8, 0, 0x45, 0, 0, 44, 0, 0, 0, 0, 64, 17, 0, 0,
					 192, 0, 2, 0, 192, 0, 2, 100};

	memset(frame, 0, 60);
	memcpy(frame, head, sizeof(head));
	frame[18] = (uint8_t)(identification >> 8);
	frame[19] = (uint8_t)identification;
	frame[20] = (uint8_t)(fragment >> 8);
	frame[21] = (uint8_t)fragment;
	frame[29] = client;
	memcpy(frame + 34, (uint8_t[]){0x12, 0x34, 0, 53, 0, 80, 0, 0}, 8);
	return 60;
}

static struct edge_fixture *site_new(void)
{
	struct edge_fixture *fixture = edge_fixture_new();
	struct lb_backend_wanted backend = {.address = ipv4_of(21), .port = 5353, .weight = 100, .state = LB_BACKEND_UP,
					    .egress = egress_number(9)};
	struct lb_service_wanted service = {.address = ipv4_of(100), .port_first = 53, .port_last = 53, .protocol = PROTOCOL_UDP,
					    .udp_idle_epochs = 5, .backends = &backend, .backend_count = 1, .name = "dns"};
	struct vip_wanted vip = {.address = ipv4_of(100), .owned = true, .links = 1};
	struct link_wanted link = {.ifindex = 1, .mac = 0x010000000002};
	struct edge_wanted wanted = {.hash_seed = 3, .services = &service, .service_count = 1, .vips = &vip, .vip_count = 1,
				     .links = &link, .link_count = 1};
	struct edge_changes changes;
	struct error error = {0};

	assert_non_null(fixture);
	if (edge_program_apply(fixture->program, &wanted, &changes, &error) < 0)
		fail_msg("%s", error.text);
	return fixture;
}

static uint8_t verdict_of(struct edge_fixture *fixture, uint8_t client, uint16_t identification, uint16_t fragment, uint32_t now_ms)
{
	struct edge_tables tables = memory_tables(fixture->memory);
	struct edge_ingress ingress = {.ifindex = 1, .epoch = 100, .now_ms = now_ms};
	struct decision decision = {0};
	struct flow flow = {0};
	uint8_t frame[60];
	struct packet packet = {frame, frame + frame_build(frame, client, identification, fragment)};

	edge_decide(&tables, &packet, &ingress, &flow, &decision);
	if (decision.verdict == VERDICT_HOLD)
		edge_hold_write(&tables, &decision, frame);
	return decision.verdict == VERDICT_DROP ? (uint8_t)(0x80 | decision.reason) : decision.verdict;
}

static void held_ones_follow_in_the_order_of_arrival(void **state)
{
	struct edge_fixture *fixture = site_new();
	struct edge_tables tables = memory_tables(fixture->memory);
	static struct edge_released released;
	static const uint16_t order[] = {9, 3, 6, 12};

	fixture->memory->holding.sequence = UINT32_MAX - 1; /* over the wrap */
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(verdict_of(fixture, 50, 7, 0x2000 | order[i], 1000), VERDICT_HOLD);
	assert_int_equal(verdict_of(fixture, 51, 7, 0x2002, 1000), VERDICT_HOLD); /* another sender's */
	assert_int_equal(edge_hold_count(&tables), 5);
	assert_false(edge_hold_next(&tables, tables.counters, 100, 1000, &released));
	assert_int_equal(verdict_of(fixture, 50, 7, 0x2000, 1001), VERDICT_REDIRECT);
	for (size_t i = 0; i < 4; i++) {
		assert_true(edge_hold_next(&tables, tables.counters, 100, 1001, &released));
		assert_int_equal(released.decision.verdict, VERDICT_REDIRECT);
		assert_int_equal(released.bytes[25], order[i]);
		assert_int_equal(released.bytes[37], 21);
	}
	assert_false(edge_hold_next(&tables, tables.counters, 100, 1001, &released));
	assert_int_equal(edge_hold_count(&tables), 1);
	assert_int_equal(tables.counters->verdicts[FUNCTION_LB][VERDICT_REDIRECT], 4);
	assert_int_equal(tables.counters->bytes_in, 0);
	edge_fixture_free(fixture);
}

static void a_held_one_waits_for_a_second_and_no_longer(void **state)
{
	struct edge_fixture *fixture = site_new();
	struct edge_tables tables = memory_tables(fixture->memory);
	uint32_t now_ms = UINT32_MAX - 500; /* over the wrap */
	static struct edge_released released;

	assert_int_equal(verdict_of(fixture, 50, 7, 0x2002, now_ms), VERDICT_HOLD);
	assert_false(edge_hold_next(&tables, tables.counters, 100, now_ms - 10, &released)); /* a clock that was read earlier */
	assert_false(edge_hold_next(&tables, tables.counters, 100, now_ms + LB_HOLD_MS, &released));
	assert_true(edge_hold_next(&tables, tables.counters, 100, now_ms + LB_HOLD_MS + 1, &released));
	assert_int_equal(released.decision.verdict, VERDICT_DROP);
	assert_int_equal(released.decision.reason, DROP_fragment_without_first);
	assert_int_equal(tables.counters->drops[DROP_fragment_without_first], 1);
	assert_int_equal(edge_hold_count(&tables), 0);
	edge_fixture_free(fixture);
}

/* One sender cannot take the others' slots. */
static void a_sender_has_eight_slots(void **state)
{
	struct edge_fixture *fixture = site_new();

	for (uint16_t i = 0; i < 8; i++)
		assert_int_equal(verdict_of(fixture, 50, (uint16_t)(100 + i), 0x2002, 0), VERDICT_HOLD);
	for (uint16_t i = 0; i < 100; i++)
		assert_int_equal(verdict_of(fixture, 50, (uint16_t)(200 + i), 0x2002, 0), 0x80 | DROP_fragment_hold_full);
	/* 200 others: all but those few that share a set with many */
	for (uint32_t i = 0, kept = 0; i < 150; i++) {
		kept += verdict_of(fixture, (uint8_t)(i + 51 == 100 ? 1 : i + 51), 7, 0x2002, 0) == VERDICT_HOLD;
		if (i == 149)
			assert_true(kept > 130);
	}
	edge_fixture_free(fixture);
}

/* What is withdrawn while a fragment waits: it cannot pass to the host any more. */
static void a_held_one_of_a_service_that_left_is_dropped(void **state)
{
	struct edge_fixture *fixture = site_new();
	struct edge_tables tables = memory_tables(fixture->memory);
	struct link_wanted link = {.ifindex = 1, .mac = 0x010000000002};
	struct edge_wanted nothing = {.hash_seed = 3, .links = &link, .link_count = 1};
	static struct edge_released released;
	struct edge_changes changes;
	struct error error = {0};

	assert_int_equal(verdict_of(fixture, 50, 7, 0x2002, 0), VERDICT_HOLD);
	assert_int_equal(edge_program_apply(fixture->program, &nothing, &changes, &error), 0);
	assert_true(edge_hold_next(&tables, tables.counters, 100, LB_HOLD_MS + 1, &released));
	assert_int_equal(released.decision.verdict, VERDICT_DROP);
	edge_fixture_free(fixture);
}

static bool explained(struct edge_fixture *fixture, uint16_t fragment, uint32_t now_ms, const char *words)
{
	static const struct edge_names names;
	struct edge_tables tables = memory_tables(fixture->memory);
	struct edge_explanation explanation;
	struct error error = {0};
	bool found = false;
	uint8_t frame[60];

	frame_build(frame, 50, 7, fragment);
	if (edge_explain(&tables, 1, 100, now_ms, frame, sizeof(frame), sizeof(frame), &names, &explanation, &error) < 0)
		fail_msg("%s", error.text);
	for (size_t i = 0; i < explanation.step_count; i++)
		found |= strstr(explanation.steps[i], words) != NULL;
	edge_explanation_done(&explanation);
	return found;
}

static void a_fragment_is_explained_and_nothing_changes(void **state)
{
	struct edge_fixture *fixture = site_new();
	struct edge_tables tables = memory_tables(fixture->memory);

	assert_true(explained(fixture, 0x2003, 0, "kept until that one comes"));
	assert_int_equal(edge_hold_count(&tables), 0);
	assert_int_equal(verdict_of(fixture, 50, 7, 0x2000, 0), VERDICT_REDIRECT);
	for (int again = 0; again < 2; again++)
		assert_true(explained(fixture, 0x2003, 1, "follows its datagram's first fragment"));
	assert_true(explained(fixture, 0x2002, 1, "fragment_overlap"));
	assert_int_equal(verdict_of(fixture, 50, 7, 0x2003, 1), VERDICT_REDIRECT);
	assert_true(explained(fixture, 0x2006, LB_FRAGMENT_MS + 2, "kept until that one comes"));
	edge_fixture_free(fixture);
}

/* --- several threads ---------------------------------------------------------------------------------------------------- */

#define ROUNDS 20000u
#define SENDERS 60u

struct race {
	struct edge_fixture *fixture;
	atomic_uint_fast32_t stopped;
	atomic_uint_fast32_t round[2];
	atomic_uint_fast32_t held, forwarded, dropped, released, late;
};

/* Each datagram has three fragments, which a second worker meets in another order at about the same time. */
static void *worker_run(void *argument)
{
	static const uint16_t places[2][2] = {{0x2000, 0x0006}, {0x2003, 0}};
	static atomic_uint_fast32_t number;
	struct race *race = argument;
	uint32_t self = (uint32_t)atomic_fetch_add(&number, 1) % 2;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		atomic_store(&race->round[self], i);
		while (atomic_load(&race->round[!self]) < i && atomic_load(&race->stopped) == 0)
			sched_yield();
		for (uint32_t part = 0; part < 2; part++) {
			uint8_t verdict;

			if (places[self][part] == 0)
				continue;
			verdict = verdict_of(race->fixture, (uint8_t)(1 + i % SENDERS), (uint16_t)i, places[self][part], i / 16);
			if (verdict == VERDICT_HOLD)
				atomic_fetch_add(&race->held, 1);
			else if (verdict == VERDICT_REDIRECT)
				atomic_fetch_add(&race->forwarded, 1);
			else
				atomic_fetch_add(&race->dropped, 1);
		}
	}
	atomic_fetch_add(&race->stopped, 1);
	return NULL;
}

static void *releaser_run(void *argument)
{
	struct race *race = argument;
	struct edge_tables tables = memory_tables(race->fixture->memory);
	struct edge_released *released = malloc(sizeof(*released));
	uint32_t stopped;

	do {
		stopped = (uint32_t)atomic_load(&race->stopped);
		while (edge_hold_next(&tables, &tables.counters[1], 100, stopped >= 2 ? 1u << 20 : (uint32_t)race->round[0] / 16, released))
			atomic_fetch_add(released->decision.verdict == VERDICT_DROP ? &race->late : &race->released, 1);
	} while (stopped < 2);
	free(released);
	return NULL;
}

static void workers_and_user_space_lose_none(void **state)
{
	struct race race = {.fixture = site_new()};
	struct edge_tables tables = memory_tables(race.fixture->memory);
	pthread_t threads[3];

	assert_int_equal(pthread_create(&threads[0], NULL, worker_run, &race), 0);
	assert_int_equal(pthread_create(&threads[1], NULL, worker_run, &race), 0);
	assert_int_equal(pthread_create(&threads[2], NULL, releaser_run, &race), 0);
	for (size_t i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	print_message("%u forwarded, %u held, %u released, %u late, %u dropped\n", (uint32_t)race.forwarded, (uint32_t)race.held,
		      (uint32_t)race.released, (uint32_t)race.late, (uint32_t)race.dropped);
	assert_int_equal(race.held, race.released + race.late);
	assert_int_equal(edge_hold_count(&tables), 0);
	assert_true(race.forwarded + race.held + race.dropped == 3 * ROUNDS);
	edge_fixture_free(race.fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_full_bucket_gives_up_what_is_least_needed, fragments_new, fragments_free),
		cmocka_unit_test_setup_teardown(a_record_lives_for_two_seconds_whatever_the_clock_says, fragments_new, fragments_free),
		cmocka_unit_test_setup_teardown(what_became_of_the_first_becomes_of_all, fragments_new, fragments_free),
		cmocka_unit_test_setup_teardown(a_record_is_of_one_sender, fragments_new, fragments_free),
		cmocka_unit_test_setup_teardown(fragments_agree_with_a_bitmap, fragments_new, fragments_free),
		cmocka_unit_test(held_ones_follow_in_the_order_of_arrival),
		cmocka_unit_test(a_held_one_waits_for_a_second_and_no_longer),
		cmocka_unit_test(a_sender_has_eight_slots),
		cmocka_unit_test(a_held_one_of_a_service_that_left_is_dropped),
		cmocka_unit_test(a_fragment_is_explained_and_nothing_changes),
		cmocka_unit_test(workers_and_user_space_lose_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

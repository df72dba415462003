/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/health/fsm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static const struct health_fsm_config undamped = {
	.interval_ms = 1000, .fast_interval_ms = 250, .down_interval_ms = 2000, .timeout_ms = 500, .rise = 2, .fall = 3};

static const struct health_fsm_config damped = {
	.interval_ms = 1000, .fast_interval_ms = 250, .down_interval_ms = 1000, .timeout_ms = 500, .rise = 1, .fall = 1,
	.damping = {.suppress = 3000, .reuse = 1000, .half_life_ms = 10000, .max_hold_ms = 20000}};

/* One letter an event, one letter the state after it, a second apart. */
static const struct {
	const char *name, *events, *states;
	enum health_state adopted;
} sequences[] = {
	{"the first success decides", "+", "U", HEALTH_UNKNOWN},
	{"the first failure decides", "-", "D", HEALTH_UNKNOWN},
	{"fall failures in a row take it down", "+---", "UUUD", HEALTH_UNKNOWN},
	{"a success in between starts the count again", "+--+--+---", "UUUUUUUUUD", HEALTH_UNKNOWN},
	{"rise successes in a row bring it back", "-++", "DDU", HEALTH_UNKNOWN},
	{"a failure in between starts that count again", "-+-+-++", "DDDDDDU", HEALTH_UNKNOWN},
	{"what was up before a restart needs fall failures", "---", "UUD", HEALTH_UP},
	{"what was down before a restart needs rise successes", "++", "DU", HEALTH_DOWN},
	{"forced down while its checks succeed", "+d+++r", "UDDDDU", HEALTH_UNKNOWN},
	{"forced up while its checks fail", "-u---r", "DUUUUD", HEALTH_UNKNOWN},
	{"results are counted under force", "+d---r", "UDDDDD", HEALTH_UNKNOWN},
	{"forced before the first result", "ur", "U?", HEALTH_UNKNOWN},
};

static enum health_event event_of(char letter)
{
	switch (letter) {
	case '+':
		return HEALTH_EVENT_SUCCESS;
	case '-':
		return HEALTH_EVENT_FAILURE;
	case 'u':
		return HEALTH_EVENT_FORCE_UP;
	case 'd':
		return HEALTH_EVENT_FORCE_DOWN;
	default:
		return HEALTH_EVENT_RELEASE;
	}
}

static char letter_of(enum health_state state)
{
	return "?UDH"[state];
}

static void tables_of_events_give_tables_of_states(void **state)
{
	for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++) {
		struct health_fsm fsm = health_fsm_initial(sequences[i].adopted, 0);
		char states[32] = "";

		for (size_t j = 0; sequences[i].events[j]; j++) {
			fsm = health_fsm_step(&fsm, &undamped, event_of(sequences[i].events[j]), (j + 1) * 1000);
			states[j] = letter_of(fsm.state);
		}
		if (strcmp(states, sequences[i].states) != 0)
			fail_msg("%s: %s, not %s", sequences[i].name, states, sequences[i].states);
	}
}

static void since_moves_with_the_state_only(void **state)
{
	struct health_fsm fsm = health_fsm_initial(HEALTH_UNKNOWN, 10);

	fsm = health_fsm_step(&fsm, &undamped, HEALTH_EVENT_SUCCESS, 20);
	assert_int_equal(fsm.since_ms, 20);
	fsm = health_fsm_step(&fsm, &undamped, HEALTH_EVENT_SUCCESS, 30);
	fsm = health_fsm_step(&fsm, &undamped, HEALTH_EVENT_FAILURE, 40);
	assert_int_equal(fsm.since_ms, 20);
}

static void doubt_is_asked_again_soon(void **state)
{
	struct health_fsm fsm = health_fsm_initial(HEALTH_UNKNOWN, 0);

	fsm = health_fsm_step(&fsm, &undamped, HEALTH_EVENT_SUCCESS, 0);
	assert_int_equal(health_fsm_interval_ms(&fsm, &undamped), 1000);
	fsm = health_fsm_step(&fsm, &undamped, HEALTH_EVENT_FAILURE, 0);
	assert_int_equal(health_fsm_interval_ms(&fsm, &undamped), 250);
	fsm = health_fsm_step(&fsm, &undamped, HEALTH_EVENT_FAILURE, 0);
	fsm = health_fsm_step(&fsm, &undamped, HEALTH_EVENT_FAILURE, 0);
	assert_int_equal(fsm.state, HEALTH_DOWN);
	assert_int_equal(health_fsm_interval_ms(&fsm, &undamped), 2000);
	fsm = health_fsm_step(&fsm, &undamped, HEALTH_EVENT_SUCCESS, 0);
	assert_int_equal(health_fsm_interval_ms(&fsm, &undamped), 250);
}

/* Up and down once every `period_ms`, `count` times; ends with a success. */
static struct health_fsm flap(struct health_fsm fsm, uint64_t *now_ms, uint64_t period_ms, int count)
{
	for (int i = 0; i < count; i++) {
		*now_ms += period_ms / 2;
		fsm = health_fsm_step(&fsm, &damped, HEALTH_EVENT_FAILURE, *now_ms);
		assert_int_equal(fsm.state, HEALTH_DOWN);
		*now_ms += period_ms / 2;
		fsm = health_fsm_step(&fsm, &damped, HEALTH_EVENT_SUCCESS, *now_ms);
	}
	return fsm;
}

static void fast_flapping_is_held_and_released(void **state)
{
	struct health_fsm fsm = health_fsm_initial(HEALTH_UP, 0);
	uint64_t now_ms = 0, hold_ms;

	fsm = flap(fsm, &now_ms, 100, 3);
	assert_int_equal(fsm.state, HEALTH_UP); /* a little under 3000: the first two have decayed */
	fsm = flap(fsm, &now_ms, 100, 1);
	assert_int_equal(fsm.state, HEALTH_HELD);
	hold_ms = health_fsm_hold_ms(&fsm, &damped, now_ms);
	assert_in_range(hold_ms, 19500, 20000); /* 4000 to 1000: two half-lives, the maximum too */
	fsm = health_fsm_step(&fsm, &damped, HEALTH_EVENT_SUCCESS, now_ms + hold_ms - 2);
	assert_int_equal(fsm.state, HEALTH_HELD);
	fsm = health_fsm_step(&fsm, &damped, HEALTH_EVENT_SUCCESS, now_ms + hold_ms);
	assert_int_equal(fsm.state, HEALTH_UP);
	assert_int_equal(health_fsm_hold_ms(&fsm, &damped, now_ms + hold_ms), 0);
}

static void slow_flapping_is_not_held(void **state)
{
	struct health_fsm fsm = health_fsm_initial(HEALTH_UP, 0);
	uint64_t now_ms = 0;

	for (int i = 0; i < 100; i++) {
		fsm = flap(fsm, &now_ms, 10000, 1);
		assert_int_equal(fsm.state, HEALTH_UP);
	}
}

static void a_held_backend_that_fails_is_down(void **state)
{
	struct health_fsm fsm = health_fsm_initial(HEALTH_UP, 0);
	uint64_t now_ms = 0;

	fsm = flap(fsm, &now_ms, 100, 5);
	assert_int_equal(fsm.state, HEALTH_HELD);
	fsm = health_fsm_step(&fsm, &damped, HEALTH_EVENT_FAILURE, now_ms);
	assert_int_equal(fsm.state, HEALTH_DOWN);
}

static void a_hold_ends_in_bounded_time_however_long_it_flapped(void **state)
{
	struct health_fsm fsm = health_fsm_initial(HEALTH_UP, 0);
	uint64_t now_ms = 0;

	fsm = flap(fsm, &now_ms, 100, 1000);
	assert_int_equal(fsm.state, HEALTH_HELD);
	assert_in_range(health_fsm_hold_ms(&fsm, &damped, now_ms), 1, damped.damping.max_hold_ms);
	fsm = health_fsm_step(&fsm, &damped, HEALTH_EVENT_SUCCESS, now_ms + damped.damping.max_hold_ms);
	assert_int_equal(fsm.state, HEALTH_UP);
}

static void jitter_is_at_most_a_tenth_and_never_longer(void **state)
{
	uint32_t lowest = UINT32_MAX, highest = 0;

	for (uint64_t seed = 0; seed < 10000; seed++) {
		uint32_t jittered_ms = health_jitter_ms(1000, seed);

		assert_in_range(jittered_ms, 900, 1000);
		assert_int_equal(jittered_ms, health_jitter_ms(1000, seed));
		lowest = jittered_ms < lowest ? jittered_ms : lowest;
		highest = jittered_ms > highest ? jittered_ms : highest;
	}
	assert_int_equal(lowest, 900);
	assert_int_equal(highest, 1000);
	assert_int_equal(health_jitter_ms(1, 7), 1);
	assert_int_equal(health_jitter_ms(0, 7), 1);
}

/* Plays the worst case: death just after an answer, each probe lost, each one started as late as allowed. */
static void detection_takes_what_the_formula_says(void **state)
{
	static const struct health_fsm_config configs[] = {
		{.interval_ms = 1000, .fast_interval_ms = 250, .down_interval_ms = 1, .timeout_ms = 500, .rise = 2, .fall = 3},
		{.interval_ms = 1000, .fast_interval_ms = 1000, .down_interval_ms = 1, .timeout_ms = 500, .rise = 2, .fall = 3},
		{.interval_ms = 100, .fast_interval_ms = 100, .down_interval_ms = 1, .timeout_ms = 700, .rise = 1, .fall = 1},
	};

	for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
		struct health_fsm fsm = health_fsm_initial(HEALTH_UP, 0);
		uint64_t start_ms = 0, end_ms = 0;

		while (fsm.state == HEALTH_UP) {
			uint64_t next_ms = start_ms + health_fsm_interval_ms(&fsm, &configs[i]);

			start_ms = next_ms > end_ms ? next_ms : end_ms;
			end_ms = start_ms + configs[i].timeout_ms;
			fsm = health_fsm_step(&fsm, &configs[i], HEALTH_EVENT_FAILURE, end_ms);
		}
		assert_int_equal(end_ms, health_fsm_detect_ms(&configs[i]));
	}
}

static void check_invariants(const struct health_fsm *before, const struct health_fsm *after,
			     const struct health_fsm_config *config, enum health_event event)
{
	bool result = event == HEALTH_EVENT_SUCCESS || event == HEALTH_EVENT_FAILURE;

	assert_true(after->successes == 0 || after->failures == 0);
	assert_true(after->penalty >= 0);
	assert_true(after->force != HEALTH_FORCE_UP || after->state == HEALTH_UP);
	assert_true(after->force != HEALTH_FORCE_DOWN || after->state == HEALTH_DOWN);
	assert_true(after->state != HEALTH_HELD || (after->held && after->checked == HEALTH_UP));
	assert_true(after->state == before->state || after->since_ms > before->since_ms);
	assert_true(result || after->checked == before->checked);
	if (before->checked == HEALTH_UP && after->checked == HEALTH_DOWN)
		assert_true(after->failures >= config->fall);
	if (before->checked == HEALTH_DOWN && after->checked == HEALTH_UP)
		assert_true(after->successes >= config->rise);
	if (after->checked == HEALTH_UP)
		assert_true(after->failures < config->fall);
	if (result)
		assert_int_not_equal(after->checked, HEALTH_UNKNOWN);
}

static void random_events_keep_the_invariants(void **state)
{
	const char *given = getenv("SELVAGE_TEST_SEED");
	unsigned int seed = given ? (unsigned int)strtoul(given, NULL, 0) : (unsigned int)time(NULL);

	print_message("SELVAGE_TEST_SEED=%u\n", seed);
	srand(seed);
	for (int round = 0; round < 1000; round++) {
		struct health_fsm_config config = round % 2 ? damped : undamped;
		struct health_fsm fsm = health_fsm_initial((enum health_state)(rand() % 4), 0);
		uint64_t now_ms = 0;

		config.rise = 1 + (uint32_t)rand() % 5;
		config.fall = 1 + (uint32_t)rand() % 5;
		for (int i = 0; i < 200; i++) {
			int dice = rand() % 20;
			enum health_event event = dice < 17 ? (enum health_event)(dice % 2)
							    : (enum health_event)(HEALTH_EVENT_FORCE_UP + dice - 17);
			struct health_fsm before = fsm;

			now_ms += 1 + (uint64_t)(rand() % 2000);
			fsm = health_fsm_step(&before, &config, event, now_ms);
			check_invariants(&before, &fsm, &config, event);
			assert_true(health_fsm_hold_ms(&fsm, &config, now_ms) <= config.damping.max_hold_ms);
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_of_events_give_tables_of_states),
		cmocka_unit_test(since_moves_with_the_state_only),
		cmocka_unit_test(doubt_is_asked_again_soon),
		cmocka_unit_test(fast_flapping_is_held_and_released),
		cmocka_unit_test(slow_flapping_is_not_held),
		cmocka_unit_test(a_held_backend_that_fails_is_down),
		cmocka_unit_test(a_hold_ends_in_bounded_time_however_long_it_flapped),
		cmocka_unit_test(jitter_is_at_most_a_tenth_and_never_longer),
		cmocka_unit_test(detection_takes_what_the_formula_says),
		cmocka_unit_test(random_events_keep_the_invariants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

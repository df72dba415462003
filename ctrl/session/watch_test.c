/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/session/watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "ctrl/session/test_program.h"

/* --- a world of a few calls --------------------------------------------------------------------------------------------- */

struct world {
	struct rtc_program *program;
	struct session_watch *watch;
	uint32_t now_ms;
	uint32_t noticed_ms; /* when the last silence was */
	char told[400];
	bool up_stops[64], down_stops[64];
	uint32_t packet_ms;
};

static void tell(struct world *world, const char *text, uint32_t row, enum session_direction direction)
{
	size_t length = strlen(world->told);

	snprintf(world->told + length, sizeof(world->told) - length, "%s %u %s;", text, row, session_direction_name(direction));
}

static void note_silent(void *context, uint32_t row, enum session_direction direction, uint32_t silent_ms)
{
	struct world *world = context;

	assert_true(silent_ms >= SESSION_SILENT_MS && silent_ms <= SESSION_NOTICE_MS);
	world->noticed_ms = world->now_ms;
	tell(world, "silent", row, direction);
}

static void note_resumed(void *context, uint32_t row, enum session_direction direction, uint32_t silent_ms, bool again)
{
	tell(context, again ? "again" : "both", row, direction);
}

static void note_began(void *context, uint32_t row)
{
	struct world *world = context;
	size_t length = strlen(world->told);

	snprintf(world->told + length, sizeof(world->told) - length, "began %u;", row);
}

static void note_measured(void *context, const struct session_interval *interval)
{
	struct world *world = context;
	size_t length = strlen(world->told);

	snprintf(world->told + length, sizeof(world->told) - length, "%u of %u;", interval->lost[SESSION_UP], interval->expected[SESSION_UP]);
}

static void note_waits(void *context, uint32_t row)
{
	(void)context;
	assert_true(row > 0 && row < 64);
}

static const struct session_watch_events *events_of(struct world *world)
{
	static struct session_watch_events events = {NULL, note_silent, note_resumed, note_began, note_measured, note_waits};

	events.context = world;
	return &events;
}

static void world_init(struct world *world)
{
	*world = (struct world){.program = fake_program(), .now_ms = 1000, .packet_ms = 20};
}

static void world_watch(struct world *world)
{
	world->watch = session_watch_new(world->program, &world->program->tables, &world->program->sessions, events_of(world));
}

static void world_done(struct world *world)
{
	session_watch_free(world->watch);
	free(world->program);
}

static uint32_t call_begin(struct world *world)
{
	uint32_t row = fake_take(world->program);

	world->program->sessions.rows[row] = (struct rtc_session){.state = RTC_SESSION_LIVE, .service = 5, .begun_ms = world->now_ms};
	return row;
}

/* With one call, which is watched: its row. */
static uint32_t world_begin(struct world *world)
{
	world_init(world);
	world_watch(world);
	return call_begin(world);
}

static void world_run(struct world *world, uint32_t duration_ms)
{
	uint32_t end = world->now_ms + duration_ms, next = world->now_ms;

	for (; world->now_ms != end; world->now_ms++) {
		for (uint32_t row = 1; world->now_ms % world->packet_ms == 0 && row < 64; row++) {
			struct rtc_session *session = &world->program->sessions.rows[row];

			if (session->state != RTC_SESSION_LIVE)
				continue;
			if (!world->up_stops[row]) {
				session->up.packets++;
				session->up.received++;
				session->up.last_ms = world->now_ms;
			}
			if (!world->down_stops[row]) {
				session->down.packets++;
				session->down.last_ms = world->now_ms;
			}
		}
		if (world->now_ms == next)
			next += session_watch_step(world->watch, world->now_ms);
	}
}

/* --- tests -------------------------------------------------------------------------------------------------------------- */

static void silence_of_one_direction_is_noticed_in_time(void **state)
{
	struct world world;
	uint32_t row, stopped;

	row = world_begin(&world);
	world_run(&world, 1500);
	assert_string_equal(world.told, "began 1;");
	world.up_stops[row] = true;
	stopped = world.program->sessions.rows[row].up.last_ms;
	world_run(&world, 300);
	assert_string_equal(world.told, "began 1;silent 1 up;");
	assert_true(world.noticed_ms - stopped <= 200);
	assert_int_equal(session_watch_silent(world.watch, row), SESSION_UP);
	assert_int_equal(session_watch_counts(world.watch, 5).silent, 1);
	world_run(&world, 3000);
	assert_string_equal(world.told, "began 1;silent 1 up;"); /* once */
	world.up_stops[row] = false;
	world_run(&world, 100);
	assert_string_equal(world.told, "began 1;silent 1 up;again 1 up;");
	assert_int_equal(session_watch_silent(world.watch, row), SESSION_DIRECTIONS);
	world_run(&world, 1500);
	world.down_stops[row] = true;
	world_run(&world, 300);
	assert_string_equal(world.told, "began 1;silent 1 up;again 1 up;silent 1 down;");
	world_done(&world);
}

static void a_call_on_hold_is_no_silence(void **state)
{
	struct world world;
	uint32_t row;

	row = world_begin(&world);
	world_run(&world, 1500);
	world.up_stops[row] = world.down_stops[row] = true;
	world_run(&world, 2000);
	assert_string_equal(world.told, "began 1;");
	/* and one that comes back on one side only was not busy before */
	world.up_stops[row] = false;
	world_run(&world, 2000);
	assert_string_equal(world.told, "began 1;");
	world_done(&world);
}

static void few_packets_are_no_stream(void **state)
{
	struct world world;
	uint32_t row;

	world_init(&world);
	world_watch(&world);
	world.packet_ms = 200; /* comfort noise, checks, reports */
	row = call_begin(&world);
	world.down_stops[row] = true;
	world_run(&world, 3000);
	world.down_stops[row] = false;
	world.up_stops[row] = true;
	world_run(&world, 3000);
	assert_string_equal(world.told, "began 1;");
	world_done(&world);
}

static void both_that_stop_one_after_the_other(void **state)
{
	struct world world;
	uint32_t row;

	row = world_begin(&world);
	world_run(&world, 1500);
	world.up_stops[row] = true;
	world_run(&world, 500);
	world.down_stops[row] = true;
	world_run(&world, 500);
	assert_string_equal(world.told, "began 1;silent 1 up;both 1 up;");
	world_done(&world);
}

static void calls_are_measured_in_intervals(void **state)
{
	struct world world;
	struct rtc_session_info info;
	uint32_t row;

	row = world_begin(&world);
	world.program->sessions.rows[row].up.lost_before = 3;
	world_run(&world, 10100);
	assert_string_equal(world.told, "began 1;3 of 504;"); /* 501 received in ten seconds */
	world.told[0] = '\0';
	world_run(&world, 2000);
	assert_string_equal(world.told, "");
	rtc_program_read(world.program, row, world.now_ms, &info);
	session_watch_ended(world.watch, &info);
	assert_string_equal(world.told, "0 of 104;");
	world_done(&world);
}

static void sessions_are_counted_and_rows_reused(void **state)
{
	struct world world;
	uint32_t row, waiting;

	row = world_begin(&world);
	call_begin(&world);
	waiting = fake_take(world.program);
	world.program->sessions.rows[waiting] = (struct rtc_session){.state = RTC_SESSION_WAITING, .service = 6};
	world_run(&world, 1000);
	assert_int_equal(session_watch_counts(world.watch, 5).live, 2);
	assert_int_equal(session_watch_counts(world.watch, 6).waiting, 1);
	assert_int_equal(session_watch_total(world.watch).live, 2);
	assert_int_equal(session_watch_total(world.watch).waiting, 1);
	world.program->sessions.rows[row].state = RTC_SESSION_ENDED;
	world.program->sessions.rows[waiting].state = RTC_SESSION_LIVE;
	world.program->sessions.rows[waiting].begun_ms = world.now_ms;
	world_run(&world, 1000);
	assert_string_equal(world.told, "began 1;began 2;began 3;");
	assert_int_equal(session_watch_counts(world.watch, 5).live, 1);
	assert_int_equal(session_watch_counts(world.watch, 6).live, 1);
	/* the row is given back and taken by another call */
	world.program->sessions.rows[row] = (struct rtc_session){0};
	world.program->tables.free.rows[world.program->tables.free.tail++ & (RTC_SESSION_ROWS - 1)] = row;
	world_run(&world, 1000);
	world.program->tables.free.head = world.program->tables.free.tail - 1;
	assert_int_equal(call_begin(&world), row);
	world.told[0] = '\0';
	world_run(&world, 1000);
	assert_non_null(strstr(world.told, "began 1;"));
	/* or so soon that nobody saw it free */
	world.told[0] = '\0';
	world.program->sessions.rows[row] = (struct rtc_session){.state = RTC_SESSION_LIVE, .service = 5, .begun_ms = world.now_ms};
	world_run(&world, 1000);
	assert_string_equal(world.told, "began 1;");
	world_done(&world);
}

static void a_daemon_that_begins_finds_what_is_there(void **state)
{
	struct world world;

	world_init(&world);
	call_begin(&world);
	call_begin(&world);
	world_watch(&world);
	world_run(&world, 400);
	assert_string_equal(world.told, "began 1;began 2;");
	assert_int_equal(session_watch_total(world.watch).live, 2);
	world_done(&world);
}

static void without_calls_it_rests(void **state)
{
	struct world world;

	world_init(&world);
	world_watch(&world);
	world_run(&world, 1000);
	assert_int_equal(session_watch_step(world.watch, world.now_ms), 200);
	call_begin(&world);
	world_run(&world, 1000);
	assert_int_equal(session_watch_step(world.watch, world.now_ms), SESSION_LOOK_MS / 5);
	world_done(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(silence_of_one_direction_is_noticed_in_time),
		cmocka_unit_test(a_call_on_hold_is_no_silence),
		cmocka_unit_test(few_packets_are_no_stream),
		cmocka_unit_test(both_that_stop_one_after_the_other),
		cmocka_unit_test(calls_are_measured_in_intervals),
		cmocka_unit_test(sessions_are_counted_and_rows_reused),
		cmocka_unit_test(a_daemon_that_begins_finds_what_is_there),
		cmocka_unit_test(without_calls_it_rests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

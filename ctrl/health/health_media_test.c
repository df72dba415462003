/* SPDX-License-Identifier: Apache-2.0 */
/* The check that makes a call, against the real agent in the same event loop. */
#include <event2/event.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/lib/address_text.h"
#include "base/lib/log.h"
#include "ctrl/health/health.h"
#include "rtc/echo.h"

struct world {
	struct event_base *base;
	struct health_engine *engine;
	struct echo *echo;
	char reason[HEALTH_REASON_SIZE];
	enum health_state state;
	unsigned int transitions;
	struct event *late;
};

static struct world world;

static void on_transition(const struct health_transition *transition, void *context)
{
	snprintf(world.reason, sizeof(world.reason), "%s", transition->reason);
	world.state = transition->new_state;
	world.transitions++;
}

static void on_too_late(evutil_socket_t fd, short events, void *context)
{
	fail_msg("waited too long; last: %s", world.reason);
}

/* Announces an address that leads nowhere: the check must go straight to where the agent is. */
static int setup(void **state)
{
	struct echo_config config = {.sessions_max = 10, .announced_count = 1};
	const struct health_options options = {.seed = 1};
	struct error error = {0};

	world = (struct world){.base = event_base_new()};
	config.base = world.base;
	assert_int_equal(endpoint_parse("127.0.0.1:0", &config.http.address, &config.http.port), 0);
	config.media = config.http;
	assert_int_equal(endpoint_parse("192.0.2.1:9", &config.announced[0].address, &config.announced[0].port), 0);
	if (echo_new(&config, &world.echo, &error) < 0)
		fail_msg("%s", error.text);
	assert_int_equal(health_new(world.base, &options, on_transition, NULL, &world.engine, NULL), 0);
	world.late = evtimer_new(world.base, on_too_late, NULL);
	evtimer_add(world.late, &(struct timeval){.tv_sec = 20});
	return 0;
}

static int teardown(void **state)
{
	health_free(world.engine);
	echo_free(world.echo);
	event_free(world.late);
	event_base_free(world.base);
	return 0;
}

static struct health_check check_of_agent(void)
{
	struct health_check check = {.service = "default/calls:media", .address = echo_media(world.echo).address,
				     .port = echo_media(world.echo).port,
				     .parameters = health_parameters_default(HEALTH_CHECK_MEDIA)};

	check.parameters.port = echo_http(world.echo).port;
	check.parameters.timing.timeout_ms = 1000;
	return check;
}

static void run_first(const struct health_check *check)
{
	unsigned int before = world.transitions;

	assert_int_equal(health_set(world.engine, check, 1, NULL), 0);
	while (world.transitions == before)
		event_base_loop(world.base, EVLOOP_ONCE);
}

static void an_agent_that_sends_back_is_up(void **state)
{
	struct health_check check = check_of_agent();

	run_first(&check);
	assert_int_equal(world.state, HEALTH_UP);
	assert_memory_equal(world.reason, "media: connected in ", 20);
	/* It said goodbye, and what it had is freed. */
	assert_int_equal(echo_counters(world.echo).connected_total, 1);
	assert_int_equal(echo_counters(world.echo).sessions, 0);
	assert_in_range(echo_counters(world.echo).frames_total, HEALTH_MEDIA_FRAMES, HEALTH_MEDIA_FRAMES + 5);
}

static void no_agent_is_down(void **state)
{
	struct health_check check = check_of_agent();

	check.parameters.port = 1;
	run_first(&check);
	assert_int_equal(world.state, HEALTH_DOWN);
	assert_string_equal(world.reason, "media: WHIP: HTTP connection refused, or closed before the answer");
}

static void another_path_is_down(void **state)
{
	struct health_check check = check_of_agent();

	strcpy(check.parameters.path, "/sessions");
	run_first(&check);
	assert_int_equal(world.state, HEALTH_DOWN);
	assert_string_equal(world.reason, "media: WHIP: HTTP status 404, calls are made at /whip");
}

/* HTTP answers, but nobody hears media: what a check of HTTP alone would not see. */
static void deaf_media_are_down(void **state)
{
	struct health_check check = check_of_agent();

	check.parameters.media_port = 9;
	check.parameters.timing.timeout_ms = 300;
	run_first(&check);
	assert_int_equal(world.state, HEALTH_DOWN);
	assert_string_equal(world.reason, "media: timeout after 300 ms: no answer by ICE");
}

static void removal_during_a_call_is_clean(void **state)
{
	struct health_check check = check_of_agent();

	assert_int_equal(health_set(world.engine, &check, 1, NULL), 0);
	while (echo_counters(world.echo).frames_total == 0)
		event_base_loop(world.base, EVLOOP_ONCE);
	assert_int_equal(health_set(world.engine, NULL, 0, NULL), 0);
	/* The goodbye on the way of media ends the session without its DELETE. */
	while (echo_counters(world.echo).sessions)
		event_base_loop(world.base, EVLOOP_ONCE);
	assert_int_equal(world.transitions, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_agent_that_sends_back_is_up, setup, teardown),
		cmocka_unit_test_setup_teardown(no_agent_is_down, setup, teardown),
		cmocka_unit_test_setup_teardown(another_path_is_down, setup, teardown),
		cmocka_unit_test_setup_teardown(deaf_media_are_down, setup, teardown),
		cmocka_unit_test_setup_teardown(removal_during_a_call_is_clean, setup, teardown),
	};

	log_init("health_media_test", LOG_LEVEL_ERROR);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

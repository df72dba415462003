/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/health/parameters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "ctrl/manifest/objects.h"

static void defaults_are_valid(void **state)
{
	for (int type = HEALTH_CHECK_NONE; type <= HEALTH_CHECK_MEDIA; type++) {
		struct health_parameters parameters = health_parameters_default((enum health_check_type)type);

		assert_int_equal(health_parameters_validate(&parameters, NULL), 0);
	}
}

static void refused(const struct health_parameters *parameters, const char *sentence)
{
	struct error error = {0};

	assert_int_equal(health_parameters_validate(parameters, &error), -EINVAL);
	assert_non_null(strstr(error.text, sentence));
}

static void bad_values_are_refused_with_a_sentence(void **state)
{
	const struct health_parameters http = health_parameters_default(HEALTH_CHECK_HTTP);
	struct health_parameters parameters = http;

	parameters.timing.interval_ms = 0;
	refused(&parameters, "the interval is 0 ms");
	parameters = http;
	parameters.timing.rise = 0;
	refused(&parameters, "rise is 0");
	parameters = http;
	strcpy(parameters.path, "/a\r\nX-Evil: 1");
	refused(&parameters, "path");
	strcpy(parameters.path, "relative");
	refused(&parameters, "path");
	parameters = http;
	strcpy(parameters.host, "a b");
	refused(&parameters, "host");
	parameters = http;
	parameters.status[0] = (struct health_status_range){300, 200};
	refused(&parameters, "300-200");
	parameters = http;
	parameters.timing.damping.reuse = parameters.timing.damping.suppress;
	refused(&parameters, "reuse");
	parameters = http;
	parameters.timing.damping.max_hold_ms = 1000;
	refused(&parameters, "hold time is too short");
	parameters = health_parameters_default(HEALTH_CHECK_UDP);
	parameters.send.length = 0;
	refused(&parameters, "nothing to send");
}

static void annotations_become_parameters(void **state)
{
	const struct service_health service = {
		.check = SERVICE_CHECK_HTTP, .port = 8080, .interval_ms = 2000, .timeout_ms = 300, .rise = 1, .fall = 5,
		.path = "/healthz", .host = "agent.example", .expect_status_first = 200, .expect_status_last = 204};
	struct health_parameters parameters;

	assert_int_equal(health_parameters_from_service(&service, &parameters, NULL), 0);
	assert_int_equal(parameters.type, HEALTH_CHECK_HTTP);
	assert_int_equal(parameters.port, 8080);
	assert_int_equal(parameters.timing.interval_ms, 2000);
	assert_int_equal(parameters.timing.fast_interval_ms, 500);
	assert_int_equal(parameters.timing.down_interval_ms, 2000);
	assert_int_equal(parameters.timing.timeout_ms, 300);
	assert_int_equal(parameters.timing.fall, 5);
	assert_string_equal(parameters.path, "/healthz");
	assert_string_equal(parameters.host, "agent.example");
	assert_int_equal(parameters.status[0].last, 204);
}

static void media_are_asked_for_at_whips_place(void **state)
{
	struct service_health service = {.check = SERVICE_CHECK_MEDIA, .port = 8080, .path = "", .host = ""};
	struct health_parameters parameters;

	assert_int_equal(health_parameters_from_service(&service, &parameters, NULL), 0);
	assert_int_equal(parameters.type, HEALTH_CHECK_MEDIA);
	assert_string_equal(parameters.path, "/whip");
	service.path = "/live/whip";
	service.host = "calls.example";
	assert_int_equal(health_parameters_from_service(&service, &parameters, NULL), 0);
	assert_string_equal(parameters.path, "/live/whip");
	assert_string_equal(parameters.host, "calls.example");
	assert_int_equal(parameters.port, 8080);
	strcpy(parameters.path, "live");
	refused(&parameters, "health check: the path must begin with / and have no spaces or control characters");
}

static void what_was_not_annotated_keeps_its_default(void **state)
{
	const struct service_health service = {.check = SERVICE_CHECK_UDP, .expect = "pong"};
	const struct health_parameters expected = health_parameters_default(HEALTH_CHECK_UDP);
	struct health_parameters parameters;

	assert_int_equal(health_parameters_from_service(&service, &parameters, NULL), 0);
	assert_memory_equal(&parameters.timing, &expected.timing, sizeof(expected.timing));
	assert_int_equal(parameters.send.length, expected.send.length);
	assert_int_equal(parameters.expect.length, 4);
}

static void long_texts_are_refused_not_cut(void **state)
{
	char path[HEALTH_PATH_SIZE + 1] = "/";
	const struct service_health service = {.check = SERVICE_CHECK_HTTP, .path = path};
	struct health_parameters parameters;
	struct error error = {0};

	memset(path + 1, 'a', HEALTH_PATH_SIZE - 1);
	assert_int_equal(health_parameters_from_service(&service, &parameters, &error), -EINVAL);
	assert_non_null(strstr(error.text, "longer than 1024 bytes"));
}

static void every_field_makes_a_difference(void **state)
{
	const struct health_parameters base = health_parameters_default(HEALTH_CHECK_UDP);
	struct health_parameters other[9];

	for (size_t i = 0; i < array_length(other); i++)
		other[i] = base;
	assert_int_equal(health_parameters_compare(&base, &other[0]), 0);
	other[0].port = 1;
	other[1].timing.fall = 9;
	strcpy(other[2].path, "/x");
	strcpy(other[3].host, "x");
	strcpy(other[4].body, "x");
	other[5].send.data[0] = 'x';
	other[6].expect.length = 1;
	other[7].answer_required = true;
	other[8].media_port = 1;
	for (size_t i = 0; i < array_length(other); i++) {
		int order = health_parameters_compare(&base, &other[i]);

		assert_int_not_equal(order, 0);
		assert_true((order < 0) == (health_parameters_compare(&other[i], &base) > 0));
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_valid),
		cmocka_unit_test(bad_values_are_refused_with_a_sentence),
		cmocka_unit_test(annotations_become_parameters),
		cmocka_unit_test(media_are_asked_for_at_whips_place),
		cmocka_unit_test(what_was_not_annotated_keeps_its_default),
		cmocka_unit_test(long_texts_are_refused_not_cut),
		cmocka_unit_test(every_field_makes_a_difference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

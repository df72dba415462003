/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/session/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "ctrl/session/figures.h"
#include "ctrl/session/secrets.h"
#include "ctrl/session/test_program.h"
#include "ctrl/session/view.h"

static int parse(const char *ufrag, const char *body, struct session_record *record, struct error *error)
{
	json_t *json = json_loads(body, JSON_DECODE_ANY, NULL);
	int status = session_record_parse("default/media", ufrag, json, 1000000, record, error);

	json_decref(json);
	return status;
}

static void what_is_sent_is_kept(void **state)
{
	struct session_record record, again;
	struct error error = {0};
	char *key, *value;

	assert_int_equal(parse("ab/c+d", "{\"backends\": [\"10.0.0.21:7000\", \"[2001:db8::21]:7001\"], \"expiresInSeconds\": 60, \"restarts\": \"old+\","
				 "\"password\": \"passwordPASSWORD012345\","
				 "\"srtp\": {\"profile\": \"SRTP_AES128_CM_HMAC_SHA1_32\", \"key\": \"4fl6DT4Bi+DWT6MsBt5BOQ7Gda1Jiv7rtpYLOqvm\"}}",
			       &record, &error), 0);
	assert_int_equal(record.agent_count, 2);
	assert_int_equal(record.expires_ms, 1060000);
	key = session_record_key(record.service, record.ufrag);
	assert_string_equal(key, "/selvage/sessions/default/media/ab_c+d");
	value = session_record_value(&record);
	assert_int_equal(session_record_read(key, value, &again, &error), 0);
	assert_string_equal(again.service, "default/media");
	assert_string_equal(again.ufrag, "ab/c+d");
	assert_string_equal(again.restarts, "old+");
	assert_string_equal(again.password, "passwordPASSWORD012345");
	assert_int_equal(again.srtp.profile, RTC_SRTP_AES128_CM_SHA1_32);
	assert_memory_equal(&again.srtp, &record.srtp, sizeof(record.srtp));
	assert_int_equal(again.srtp.key[0], 0xe1); /* RFC 3711 appendix B.3's */
	assert_int_equal(again.srtp.salt[13], 0xe6);
	assert_int_equal(again.agent_count, 2);
	assert_int_equal(again.agents[1].port, 7001);
	assert_memory_equal(&again.agents[0].address, &record.agents[0].address, 16);
	assert_int_equal(again.expires_ms, 1060000);
	free(key);
	free(value);
	session_record_done(&record);
	session_record_done(&again);
	assert_int_equal(parse("abcd", "{\"backend\": \"10.0.0.21:7000\"}", &record, &error), 0);
	assert_int_equal(record.expires_ms, 1000000 + 3600000);
	session_record_done(&record);
	assert_int_equal(parse("abcd", "{\"backend\": \"10.0.0.21:7000\", \"expiresInSeconds\": 0}", &record, &error), 0);
	assert_int_equal(record.expires_ms, 0);
	session_record_done(&record);
}

static void what_is_wrong_is_said(void **state)
{
	static const struct {
		const char *ufrag, *body, *text;
	} cases[] = {
		{"abc", "{\"backend\": \"10.0.0.21:7000\"}", "user fragment: 3 characters; it has 4 to 256"},
		{"abcd", "[]", "the body must be {\"backend\": \"ADDRESS:PORT\"}"},
		{"abcd", "{}", "the body must say \"backend\": \"ADDRESS:PORT\", or \"backends\" with one of each family"},
		{"abcd", "{\"backend\": \"1.2.3.4:5\", \"backends\": []}",
		 "the body must say \"backend\": \"ADDRESS:PORT\", or \"backends\" with one of each family"},
		{"abcd", "{\"backend\": 7}", "\"backend\" must be text"},
		{"abcd", "{\"backends\": []}", "\"backends\" must be a list of \"ADDRESS:PORT\""},
		{"abcd", "{\"backend\": \"10.0.0.21\"}", "\"10.0.0.21\" is not an agent: write ADDRESS:PORT or [IPV6]:PORT"},
		{"abcd", "{\"backend\": \"10.0.0.21:0\"}", "\"10.0.0.21:0\" is not an agent: write ADDRESS:PORT or [IPV6]:PORT"},
		{"abcd", "{\"backends\": [\"10.0.0.21:1\", \"10.0.0.22:1\"]}",
		 "a session has one agent of each family, IPv4 and IPv6; \"10.0.0.22:1\" is a second one"},
		{"abcd", "{\"backend\": \"10.0.0.21:1\", \"expiresInSeconds\": -1}",
		 "\"expiresInSeconds\" must be a number from 1 to 2592000, or 0 for never"},
		{"abcd", "{\"backend\": \"10.0.0.21:1\", \"expiresInSeconds\": 2592001}",
		 "\"expiresInSeconds\" must be a number from 1 to 2592000, or 0 for never"},
		{"abcd", "{\"backend\": \"10.0.0.21:1\", \"restarts\": \"abcd\"}",
		 "\"restarts\" must be another user fragment than the new one"},
		{"abcd", "{\"backend\": \"10.0.0.21:1\", \"restarts\": \"a:cd\"}",
		 "\"restarts\": user fragment: character 2 is none of A-Z, a-z, 0-9, + and /"},
		{"abcd", "{\"backend\": \"10.0.0.21:1\", \"backnd\": 1}",
		 "\"backnd\" is not known; a session has backend, backends, expiresInSeconds, restarts, password and srtp"},
		{"abcd", "{\"backend\": \"10.0.0.21:1\", \"password\": \"short\"}", "\"password\": password: 5 characters; it has 22 to 256"},
		{"abcd", "{\"backend\": \"10.0.0.21:1\", \"password\": 7}",
		 "\"password\" must be the agent's ICE password (ice-pwd) for this fragment"},
		{"abcd", "{\"backend\": \"10.0.0.21:1\", \"srtp\": \"4fl6\"}",
		 "\"srtp\" must be {\"profile\": NAME, \"key\": BASE64}, of what the client sends"},
		{"abcd", "{\"backend\": \"10.0.0.21:1\", \"srtp\": {\"profile\": \"SRTP_NULL_HMAC_SHA1_80\", \"key\": \"4fl6\"}}",
		 "\"srtp\": profile \"SRTP_NULL_HMAC_SHA1_80\" is not known; it is SRTP_AES128_CM_HMAC_SHA1_80 or SRTP_AES128_CM_HMAC_SHA1_32"},
		{"abcd", "{\"backend\": \"10.0.0.21:1\", \"srtp\": {\"profile\": \"SRTP_AES128_CM_HMAC_SHA1_80\", \"key\": \"4fl6\"}}",
		 "\"srtp\": the key has 4 characters; SRTP_AES128_CM_HMAC_SHA1_80 has 40 of base64: a master key of 16 bytes and a salt of 14"},
	};

	for (size_t i = 0; i < array_length(cases); i++) {
		struct session_record record;
		struct error error = {0};

		assert_int_equal(parse(cases[i].ufrag, cases[i].body, &record, &error), -EINVAL);
		assert_string_equal(error.text, cases[i].text);
	}
}

static void damaged_records_are_refused(void **state)
{
	static const char *const keys[] = {"", "/selvage", "/selvage/sessions/default/media", "/selvage/sessions/default/media/abc", "/selvage/drains/a/b/abcd"};
	struct session_record record;
	struct error error = {0};

	for (size_t i = 0; i < array_length(keys); i++)
		assert_int_equal(session_record_read(keys[i], "{\"backends\":[\"10.0.0.21:1\"]}", &record, &error), -EINVAL);
	assert_int_equal(session_record_read("/selvage/sessions/default/media/abcd", "{\"backends\":[", &record, &error), -EINVAL);
	assert_int_equal(session_record_read("/selvage/sessions/default/media/abcd", "{}", &record, &error), -EINVAL);
}

static void secrets_rotate(void **state)
{
	struct session_secrets secrets = {0}, again;
	struct error error = {0};

	for (uint32_t i = 0; i < 6; i++) {
		struct siphash_key key = {{i, 0xfedcba9876543210ull}};
		char *text;

		secrets = session_secrets_rotate(&secrets, &key, 5000 + i);
		assert_int_equal(secrets.items[0].number, i % 4);
		assert_int_equal(secrets.count, i ? 2 : 1);
		text = session_secrets_format(&secrets);
		if (i == 1)
			assert_string_equal(text, "1 01000000000000001032547698badcfe,0 00000000000000001032547698badcfe 5001");
		assert_int_equal(session_secrets_parse(text, &again, &error), 0);
		assert_int_equal(again.count, secrets.count);
		assert_int_equal(again.made_ms, 5000 + i);
		for (size_t k = 0; k < again.count; k++) {
			assert_int_equal(again.items[k].number, secrets.items[k].number);
			assert_memory_equal(&again.items[k].key, &secrets.items[k].key, 16);
		}
		free(text);
	}
}

static void damaged_secrets_are_refused(void **state)
{
	static const char *const damaged[] = {
		"", "0", "0 ", "4 00000000000000001032547698badcfe 1", "0 00000000000000001032547698badcf 1",
		"0 00000000000000001032547698badcfg 1", "0 00000000000000001032547698badcfe", "0 00000000000000001032547698badcfe 1x",
		"0 00000000000000001032547698badcfe,", "a 00000000000000001032547698badcfe 1",
	};
	struct session_secrets secrets;
	struct error error = {0};

	for (size_t i = 0; i < array_length(damaged); i++)
		assert_int_equal(session_secrets_parse(damaged[i], &secrets, &error), -EINVAL);
}

static void names_in_paths(void **state)
{
	char text[] = "a/b+c";

	session_ufrag_to_path(text);
	assert_string_equal(text, "a_b-c");
	session_ufrag_from_path(text);
	assert_string_equal(text, "a/b+c");
	assert_int_equal(session_id_parse("@17"), 17);
	assert_int_equal(session_id_parse("@131071"), 131071);
	assert_int_equal(session_id_parse("@131072"), 0);
	assert_int_equal(session_id_parse("@"), 0);
	assert_int_equal(session_id_parse("17"), 0);
	assert_int_equal(session_id_parse("@1a"), 0);
	assert_int_equal(session_id_parse("@99999999999"), 0);
}

static void figures_fall_into_buckets(void **state)
{
	struct session_figures figures = {0};
	struct rtc_session_info info = {.rtt_client_ms = 30, .rtt_agent_ms = 10, .up = {.jitter_us = 1500, .clock_khz = 48}};
	struct session_interval interval = {.expected = {1000, 0}, .lost = {5, 0}, .info = &info};

	session_figures_observe(&figures, &interval);
	assert_int_equal(figures.histograms[SESSION_LOSS][SESSION_UP].counts[3], 1); /* at most 0.005 */
	assert_int_equal(figures.histograms[SESSION_LOSS][SESSION_UP].count, 1);
	assert_int_equal(figures.histograms[SESSION_LOSS][SESSION_DOWN].count, 0);   /* there was no RTP */
	assert_int_equal(figures.histograms[SESSION_JITTER][SESSION_UP].counts[2], 1); /* at most 2 ms */
	assert_int_equal(figures.histograms[SESSION_ROUND_TRIP][0].counts[4], 1);    /* 40 ms: at most 50 */
	assert_int_equal(figures.histograms[SESSION_MOS][SESSION_UP].counts[10], 1); /* 4.34: above all bounds */
	assert_true(figures.histograms[SESSION_MOS][SESSION_UP].sum > 4.2);
	interval.lost[SESSION_UP] = 1000;
	info.rtt_client_ms = UINT16_MAX;
	info.up.clock_khz = 0;
	session_figures_observe(&figures, &interval);
	assert_int_equal(figures.histograms[SESSION_LOSS][SESSION_UP].counts[11], 1); /* above all bounds */
	assert_int_equal(figures.histograms[SESSION_JITTER][SESSION_UP].count, 1);
	assert_int_equal(figures.histograms[SESSION_ROUND_TRIP][0].count, 1);
	assert_int_equal(figures.histograms[SESSION_MOS][SESSION_UP].counts[0], 1); /* 1.15 */
}

static void what_is_due_is_due(void **state)
{
	struct session_secrets secrets = {.made_ms = 1000};

	assert_false(session_secrets_due(&secrets, 1, UINT64_MAX / 2)); /* there are none */
	secrets.count = 1;
	assert_false(session_secrets_due(&secrets, 2, 1000 + 7199999));
	assert_true(session_secrets_due(&secrets, 2, 1000 + 7200000));
	assert_false(session_secrets_due(&secrets, 0, UINT64_MAX / 2));
	assert_false(session_secrets_due(&secrets, 2, 0));
}

static void an_alarm_comes_before_the_limit(void **state)
{
	assert_false(session_nearly_full(79, 100));
	assert_true(session_nearly_full(80, 100));
	assert_false(session_nearly_full(104856, 131071));
	assert_true(session_nearly_full(104857, 131071));
	assert_true(session_nearly_full(3, 3));
	assert_false(session_nearly_full(2, 3));
	assert_true(session_nearly_full(UINT32_MAX, UINT32_MAX));
	assert_false(session_nearly_full(7, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_sent_is_kept),
		cmocka_unit_test(what_is_wrong_is_said),
		cmocka_unit_test(damaged_records_are_refused),
		cmocka_unit_test(secrets_rotate),
		cmocka_unit_test(damaged_secrets_are_refused),
		cmocka_unit_test(names_in_paths),
		cmocka_unit_test(figures_fall_into_buckets),
		cmocka_unit_test(what_is_due_is_due),
		cmocka_unit_test(an_alarm_comes_before_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/session/book.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "ctrl/session/test_program.h"

static const struct session_place_agent agents_a[] = {{{{0, 0x1500000affff0000ull}}, 7000, 21, 0},
						       {{{0, 0x1600000affff0000ull}}, 0, 22, 0}};
static const struct session_place places[] = {
	{"default/media", 5, agents_a, 2},
	{"default/media", 6, agents_a, 1},
	{"other/media", 7, agents_a, 2},
};

static struct session_record record_of(const char *ufrag, const char *agent, const char *restarts, uint64_t expires_ms)
{
	struct session_record record = {.service = strdup("default/media"), .ufrag = strdup(ufrag), .expires_ms = expires_ms,
					.restarts = restarts ? strdup(restarts) : NULL};
	struct error error;

	assert_int_equal(session_agents_parse(agent, record.agents, &record.agent_count, &error), 0);
	return record;
}

static struct session_entry *put(struct session_book *book, const char *ufrag, const char *agent, const char *restarts, uint64_t expires_ms)
{
	struct session_record record = record_of(ufrag, agent, restarts, expires_ms);

	return session_book_put(book, &record);
}

static void it_is_registered_wherever_its_service_is(void **state)
{
	struct rtc_program *program = fake_program();
	struct session_book *book = session_book_new(program);
	struct session_entry *entry = put(book, "abcd", "10.0.0.21:7000", NULL, 0);

	assert_false(session_book_step(book, 0, 10)); /* no places are known: nothing can be said */
	assert_false(session_book_settled(book));
	session_book_places_set(book, places, 3);
	assert_false(session_book_step(book, 0, 10));
	assert_true(session_book_settled(book));
	assert_int_equal(entry->row_count, 2);
	assert_int_equal(program->sessions.rows[entry->rows[0]].service, 5);
	assert_int_equal(program->sessions.rows[entry->rows[1]].service, 6);
	assert_int_equal(program->sessions.rows[entry->rows[0]].backend, 21);
	assert_int_equal(program->agent_ports[entry->rows[0]], 0); /* the backend's own */
	assert_ptr_equal(session_book_of_row(book, entry->rows[1]), entry);
	/* the same places: nothing is looked at; others: the same rows */
	assert_int_equal(program->adds, 2);
	session_book_places_set(book, places, 3);
	assert_false(session_book_step(book, 0, 10));
	assert_int_equal(program->adds, 2);
	session_book_places_set(book, places, 2);
	assert_false(session_book_settled(book));
	session_book_step(book, 0, 10);
	assert_int_equal(program->adds, 4);
	assert_int_equal(entry->row_count, 2);
	assert_int_equal(program->tables.free.head, 2);
	assert_true(session_book_remove(book, "default/media", "abcd", 0));
	assert_int_equal(program->ends, 2);
	assert_false(session_book_remove(book, "default/media", "abcd", 0));
	assert_null(session_book_of_row(book, 1));
	session_book_free(book);
	free(program);
}

static void passwords_go_with_their_fragments(void **state)
{
	struct rtc_program *program = fake_program();
	struct session_book *book = session_book_new(program);
	struct session_record record = record_of("abcd", "10.0.0.21:7000", NULL, 0);
	struct session_entry *entry;
	struct error error;

	record.password = strdup("passwordPASSWORD012345");
	session_book_places_set(book, places, 3);
	entry = session_book_put(book, &record);
	assert_int_equal(session_book_apply(book, entry, 0, &error), 0);
	assert_string_equal(program->password, "abcd passwordPASSWORD012345");
	record = record_of("efgh", "10.0.0.21:7000", "abcd", 0);
	record.password = strdup("otherPASSWORD012345678");
	assert_int_equal(session_book_apply(book, session_book_put(book, &record), 0, &error), 0);
	assert_string_equal(program->password, "efgh otherPASSWORD012345678");
	record = record_of("abcd", "10.0.0.21:7000", NULL, 0);
	assert_int_equal(session_book_apply(book, session_book_put(book, &record), 0, &error), 0);
	assert_string_equal(program->password, "abcd none");
	session_book_free(book);
	free(program);
}

/* It is told after the call's handshake, on whichever node; the store's watch tells the others. */
static void keys_go_with_their_fragments(void **state)
{
	static const char text[] = "4fl6DT4Bi+DWT6MsBt5BOQ7Gda1Jiv7rtpYLOqvm";
	struct rtc_program *program = fake_program();
	struct session_book *book = session_book_new(program);
	struct session_record record = record_of("abcd", "10.0.0.21:7000", NULL, 0);
	struct error error;

	session_book_places_set(book, places, 3);
	session_book_put(book, &record);
	assert_false(session_book_step(book, 0, 10));
	assert_string_equal(program->srtp, "abcd none");
	record = record_of("abcd", "10.0.0.21:7000", NULL, 0);
	assert_int_equal(srtp_key_parse("SRTP_AES128_CM_HMAC_SHA1_80", text, &record.srtp, &error), 0);
	session_book_put(book, &record);
	assert_false(session_book_settled(book));
	assert_false(session_book_step(book, 0, 10));
	assert_string_equal(program->srtp, "abcd 4fl6DT4Bi+DWT6MsBt5BOQ7Gda1Jiv7rtpYLOqvm");
	/* the same again, as the daemon's own watch says it */
	record = record_of("abcd", "10.0.0.21:7000", NULL, 0);
	assert_int_equal(srtp_key_parse("SRTP_AES128_CM_HMAC_SHA1_80", text, &record.srtp, &error), 0);
	session_book_put(book, &record);
	assert_true(session_book_settled(book));
	record = record_of("abcd", "10.0.0.21:7000", NULL, 0);
	session_book_put(book, &record);
	assert_false(session_book_step(book, 0, 10));
	assert_string_equal(program->srtp, "abcd none");
	session_book_free(book);
	free(program);
}

static void a_backend_of_any_port_takes_the_registered_one(void **state)
{
	struct rtc_program *program = fake_program();
	struct session_book *book = session_book_new(program);
	struct session_entry *entry = put(book, "abcd", "10.0.0.22:40001", NULL, 0);

	session_book_places_set(book, places, 3);
	session_book_step(book, 0, 10);
	assert_int_equal(entry->row_count, 1);
	assert_int_equal(program->agent_ports[entry->rows[0]], 40001);
	session_book_free(book);
	free(program);
}

static void without_an_agent_it_waits_for_one(void **state)
{
	struct rtc_program *program = fake_program();
	struct session_book *book = session_book_new(program);
	struct session_entry *entry = put(book, "abcd", "10.0.0.21:7001", NULL, 0);
	const struct session_place_agent agent = {{{0, 0x1500000affff0000ull}}, 7001, 30, 0};
	const struct session_place place = {"default/media", 5, &agent, 1};
	struct error error = {0};

	session_book_places_set(book, places, 3);
	session_book_step(book, 0, 10);
	assert_true(entry->no_agent);
	assert_int_equal(session_book_apply(book, entry, 0, &error), -ENOENT);
	assert_string_equal(error.text, "no agent of the session is a backend of default/media");
	session_book_places_set(book, &place, 1);
	session_book_step(book, 0, 10);
	assert_false(entry->no_agent);
	assert_int_equal(entry->row_count, 1);
	session_book_free(book);
	free(program);
}

static void full_tables_are_said(void **state)
{
	struct rtc_program *program = fake_program();
	struct session_book *book = session_book_new(program);
	struct session_entry *entry;
	struct error error = {0};

	program->rows = 1;
	session_book_places_set(book, places, 3);
	entry = put(book, "abcd", "10.0.0.21:7000", NULL, 0);
	assert_int_equal(session_book_apply(book, entry, 0, &error), -ENOSPC);
	assert_true(entry->no_room);
	session_book_retry(book);
	assert_false(session_book_settled(book));
	program->rows = 9;
	session_book_step(book, 0, 10);
	assert_false(entry->no_room);
	assert_int_equal(entry->row_count, 2);
	session_book_retry(book);
	assert_true(session_book_settled(book));
	session_book_free(book);
	free(program);
}

static void steps_are_as_long_as_they_may(void **state)
{
	struct rtc_program *program = fake_program();
	struct session_book *book = session_book_new(program);
	const struct session_place place = {"default/media", 5, agents_a, 1};

	for (int i = 0; i < 60; i++) {
		char ufrag[16];

		snprintf(ufrag, sizeof(ufrag), "frag%d", i);
		put(book, ufrag, "10.0.0.21:7000", NULL, 0);
	}
	session_book_places_set(book, &place, 1);
	assert_true(session_book_step(book, 0, 25));
	assert_int_equal(program->adds, 25);
	assert_false(session_book_settled(book));
	assert_true(session_book_step(book, 0, 25));
	assert_false(session_book_step(book, 0, 25));
	assert_int_equal(program->adds, 60);
	assert_non_null(session_book_find(book, "default/media", "frag59"));
	session_book_free(book);
	free(program);
}

static void a_restart_goes_on_with_the_session(void **state)
{
	struct rtc_program *program = fake_program();
	struct session_book *book = session_book_new(program);
	struct session_entry *old, *new;
	struct error error = {0};
	uint32_t row;

	session_book_places_set(book, places, 1);
	old = put(book, "old1", "10.0.0.21:7000", NULL, 0);
	assert_int_equal(session_book_apply(book, old, 0, &error), 0);
	row = old->rows[0];
	program->sessions.rows[row].state = RTC_SESSION_LIVE;
	new = put(book, "new1", "10.0.0.21:7000", "old1", 0);
	assert_int_equal(session_book_apply(book, new, 0, &error), 0);
	assert_int_equal(program->restarts, 1);
	assert_int_equal(new->rows[0], row);
	assert_ptr_equal(session_book_of_row(book, row), new);
	/* the one before goes, and takes nothing with it */
	assert_true(session_book_remove(book, "default/media", "old1", 0));
	assert_int_equal(program->ends, 0);
	assert_int_equal(program->sessions.rows[row].state, RTC_SESSION_LIVE);
	session_book_row_ended(book, row);
	assert_int_equal(new->row_count, 0);
	assert_null(session_book_of_row(book, row));
	session_book_free(book);
	free(program);
}

static void another_agent_is_another_session(void **state)
{
	struct rtc_program *program = fake_program();
	struct session_book *book = session_book_new(program);
	struct session_entry *entry;
	struct error error = {0};
	uint32_t row;

	session_book_places_set(book, places, 1);
	entry = put(book, "abcd", "10.0.0.21:7000", NULL, 5);
	assert_int_equal(session_book_apply(book, entry, 0, &error), 0);
	row = entry->rows[0];
	assert_ptr_equal(put(book, "abcd", "10.0.0.21:7000", NULL, 9), entry); /* only the expiry */
	assert_int_equal(entry->record.expires_ms, 9);
	assert_int_equal(entry->rows[0], row);
	entry = put(book, "abcd", "10.0.0.22:7000", NULL, 9);
	assert_int_equal(session_book_apply(book, entry, 0, &error), 0);
	assert_int_not_equal(entry->rows[0], row);
	assert_int_equal(program->sessions.rows[row].state, RTC_SESSION_ENDED);
	assert_int_equal(session_book_count(book), 1);
	session_book_free(book);
	free(program);
}

static void note_expired(void *context, const struct session_record *record)
{
	strcat(context, record->ufrag);
}

static void they_expire_but_live_ones_go_on(void **state)
{
	struct rtc_program *program = fake_program();
	struct session_book *book = session_book_new(program);
	char expired[100] = "";

	session_book_places_set(book, places, 1);
	put(book, "aaaa", "10.0.0.21:7000", NULL, 100);
	put(book, "bbbb", "10.0.0.21:7000", NULL, 0);
	put(book, "cccc", "10.0.0.21:7000", NULL, 200);
	session_book_step(book, 0, 10);
	session_book_expire(book, 99, 10, note_expired, expired);
	assert_string_equal(expired, "");
	session_book_expire(book, 100, 2, note_expired, expired); /* its budget: two of them */
	session_book_expire(book, 100, 1, note_expired, expired);
	assert_string_equal(expired, "aaaa");
	session_book_expire(book, 1000, 10, note_expired, expired);
	assert_string_equal(expired, "aaaacccc");
	assert_int_equal(session_book_count(book), 1);
	assert_int_equal(program->ends, 0);
	assert_null(session_book_of_row(book, 1)); /* nobody's: whoever finds it waiting may end it */
	session_book_free(book);
	free(program);
}

static void an_ended_row_is_registered_anew(void **state)
{
	struct rtc_program *program = fake_program();
	struct session_book *book = session_book_new(program);
	struct session_entry *entry = put(book, "abcd", "10.0.0.21:7000", NULL, 0);
	uint32_t row;

	session_book_places_set(book, places, 1);
	session_book_step(book, 0, 10);
	row = entry->rows[0];
	program->sessions.rows[row].state = RTC_SESSION_ENDED;
	session_book_row_ended(book, row);
	assert_int_equal(entry->row_count, 0);
	session_book_step(book, 0, 10);
	assert_int_equal(entry->row_count, 1);
	assert_int_not_equal(entry->rows[0], row);
	session_book_free(book);
	free(program);
}

static void many_are_found(void **state)
{
	struct rtc_program *program = fake_program();
	struct session_book *book = session_book_new(program);
	size_t seen = 0;

	for (int i = 0; i < 5000; i++) {
		char ufrag[16];

		snprintf(ufrag, sizeof(ufrag), "frag%d", i);
		put(book, ufrag, "10.0.0.21:7000", NULL, 0);
	}
	for (int i = 0; i < 5000; i++) {
		char ufrag[16];

		snprintf(ufrag, sizeof(ufrag), "frag%d", i);
		assert_non_null(session_book_find(book, "default/media", ufrag));
		assert_null(session_book_find(book, "default/medib", ufrag));
	}
	for (struct session_entry *entry = NULL; (entry = session_book_next(book, entry));)
		seen++;
	assert_int_equal(seen, 5000);
	session_book_free(book);
	free(program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_registered_wherever_its_service_is),
		cmocka_unit_test(passwords_go_with_their_fragments),
		cmocka_unit_test(keys_go_with_their_fragments),
		cmocka_unit_test(a_backend_of_any_port_takes_the_registered_one),
		cmocka_unit_test(without_an_agent_it_waits_for_one),
		cmocka_unit_test(full_tables_are_said),
		cmocka_unit_test(steps_are_as_long_as_they_may),
		cmocka_unit_test(a_restart_goes_on_with_the_session),
		cmocka_unit_test(another_agent_is_another_session),
		cmocka_unit_test(they_expire_but_live_ones_go_on),
		cmocka_unit_test(an_ended_row_is_registered_anew),
		cmocka_unit_test(many_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

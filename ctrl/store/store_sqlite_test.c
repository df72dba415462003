/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/store/store_sqlite.h"

#include <event2/event.h>

#include "ctrl/store/store_sqlite_fixture.h"

/* ---- Records and revisions ---- */

static void a_record_knows_its_revisions(void **state)
{
	struct place *place = *state;
	struct answer answer;

	assert_int_equal(put(place->store, "/a", "one").revision, 1);
	assert_int_equal(put(place->store, "/b", "x").revision, 2);
	assert_int_equal(put(place->store, "/a", "two").revision, 3);
	answer = get(place->store, "/a");
	assert_int_equal(answer.record_count, 1);
	assert_string_equal(answer.values[0], "two");
	assert_int_equal(answer.create_revision, 1);
	assert_int_equal(answer.mod_revision, 3);
	assert_int_equal(answer.version, 2);
	assert_int_equal(answer.revision, 3);

	assert_int_equal(delete(place->store, "/a").deleted_count, 1);
	assert_int_equal(get(place->store, "/a").record_count, 0);
	assert_int_equal(delete(place->store, "/a").deleted_count, 0);
	assert_int_equal(get(place->store, "/b").revision, 4); /* deleting nothing is no revision */
	put(place->store, "/a", "three");
	answer = get(place->store, "/a");
	assert_int_equal(answer.create_revision, 5);
	assert_int_equal(answer.version, 1);
}

static void a_list_is_what_begins_with_the_prefix(void **state)
{
	struct place *place = *state;
	struct answer answer;

	put(place->store, "/p/b", "2");
	put(place->store, "/p/a", "1");
	put(place->store, "/p", "no");
	put(place->store, "/pp", "no");
	put(place->store, "/p0", "no");
	answer = list(place->store, "/p/");
	assert_int_equal(answer.record_count, 2);
	assert_string_equal(answer.keys[0], "/p/a");
	assert_string_equal(answer.keys[1], "/p/b");
	assert_int_equal(list(place->store, "/").record_count, 5);
	put(place->store, "/q/\xff\xff", "end");
	assert_int_equal(list(place->store, "/q/\xff").record_count, 1);
}

static void empty_and_binary_values_are_values(void **state)
{
	struct place *place = *state;
	struct answer answer = {};

	assert_int_equal(put(place->store, "/empty", "").status, 0);
	assert_int_equal(get(place->store, "/empty").record_count, 1);
	store_put(place->store, "/zero", (struct store_value){"a\0b", 3}, 0, answer_take, &answer);
	answer_wait(place->store, &answer);
	{
		const struct store_compare same = {STORE_COMPARE_VALUE, "/zero", 0, {"a\0b", 3}};
		const struct store_compare shorter = {STORE_COMPARE_VALUE, "/zero", 0, {"a\0", 2}};

		assert_true(transact(place->store, &(struct store_transaction){.compares = &same, .compare_count = 1}).succeeded);
		assert_false(
			transact(place->store, &(struct store_transaction){.compares = &shorter, .compare_count = 1}).succeeded);
	}
}

static void what_was_stored_is_there_after_opening_again(void **state)
{
	struct place *place = *state;
	struct answer answer;

	put(place->store, "/a", "one");
	put(place->store, "/a", "two");
	delete(place->store, "/b");
	place_reopen(place);
	answer = get(place->store, "/a");
	assert_string_equal(answer.values[0], "two");
	assert_int_equal(answer.version, 2);
	assert_int_equal(put(place->store, "/c", "x").revision, 3);
}

/* ---- Transactions ---- */

static void compares_choose_the_steps(void **state)
{
	static const struct {
		struct store_compare compare;
		bool holds;
	} cases[] = {
		{{STORE_COMPARE_EXISTS, "/a"}, true},
		{{STORE_COMPARE_EXISTS, "/none"}, false},
		{{STORE_COMPARE_ABSENT, "/a"}, false},
		{{STORE_COMPARE_ABSENT, "/none"}, true},
		{{STORE_COMPARE_MOD_REVISION, "/a", 2}, true},
		{{STORE_COMPARE_MOD_REVISION, "/a", 1}, false},
		{{STORE_COMPARE_MOD_REVISION, "/none", 0}, true},
		{{STORE_COMPARE_VERSION, "/a", 2}, true},
		{{STORE_COMPARE_VERSION, "/a", 3}, false},
		{{STORE_COMPARE_VERSION, "/none", 0}, true},
		{{STORE_COMPARE_VALUE, "/a", 0, {"two", 3}}, true},
		{{STORE_COMPARE_VALUE, "/a", 0, {"one", 3}}, false},
		{{STORE_COMPARE_VALUE, "/none", 0, {"", 0}}, false},
	};
	struct place *place = *state;

	put(place->store, "/a", "one");
	put(place->store, "/a", "two");
	for (size_t i = 0; i < array_length(cases); i++) {
		const struct store_step then_step = {STORE_PUT, "/then", {"x", 1}}, else_step = {STORE_PUT, "/else", {"x", 1}};
		const struct store_transaction transaction = {&cases[i].compare, 1, &then_step, 1, &else_step, 1};

		assert_int_equal(transact(place->store, &transaction).succeeded, cases[i].holds);
		assert_int_equal(delete(place->store, "/then").deleted_count, cases[i].holds);
		assert_int_equal(delete(place->store, "/else").deleted_count, !cases[i].holds);
	}
}

static void a_transaction_is_one_revision_and_sees_itself(void **state)
{
	static const struct store_step steps[] = {
		{STORE_GET_PREFIX, "/p/"},
		{STORE_PUT, "/p/c", {"3", 1}},
		{STORE_DELETE_PREFIX, "/q/"},
		{STORE_GET_PREFIX, "/p/"},
	};
	struct place *place = *state;
	struct answer answer;

	put(place->store, "/p/a", "1");
	put(place->store, "/q/a", "1");
	put(place->store, "/q/b", "1");
	answer = transact(place->store, &(struct store_transaction){.then_steps = steps, .then_count = 4});
	assert_int_equal(answer.revision, 4);
	assert_int_equal(answer.step_count, 4);
	assert_int_equal(answer.record_count, 1);
	assert_int_equal(list(place->store, "/q/").record_count, 0);
	assert_int_equal(get(place->store, "/p/c").mod_revision, 4);
}

static void a_transaction_that_fails_changes_nothing(void **state)
{
	static const struct store_step steps[] = {
		{STORE_PUT, "/a", {"new", 3}},
		{STORE_PUT, "/b", {"new", 3}, .lease = 77}, /* there is no such lease */
	};
	struct place *place = *state;

	put(place->store, "/a", "old");
	assert_int_equal(transact(place->store, &(struct store_transaction){.then_steps = steps, .then_count = 2}).status,
			 -ENOENT);
	assert_string_equal(get(place->store, "/a").values[0], "old");
	assert_int_equal(put(place->store, "/c", "x").revision, 2);
}

static void requests_that_break_the_rules_are_refused(void **state)
{
	static const struct store_step twice[] = {{STORE_PUT, "/a"}, {STORE_PUT, "/b"}, {STORE_PUT, "/a"}};
	static const struct store_step overlap[] = {{STORE_DELETE_PREFIX, "/p/"}, {STORE_PUT, "/p/a"}};
	static const struct store_step same[] = {{STORE_PUT, "/a"}, {STORE_DELETE, "/a"}};
	static const struct store_step fine[] = {{STORE_DELETE, "/a"}, {STORE_PUT, "/ab"}, {STORE_DELETE_PREFIX, "/p/"}};
	static char big[STORE_VALUE_LENGTH_MAX + 1], long_key[STORE_KEY_LENGTH_MAX + 2];
	struct place *place = *state;
	struct store *store = place->store;
	struct answer answer = {};

	assert_int_equal(transact(store, &(struct store_transaction){.then_steps = twice, .then_count = 3}).status, -EINVAL);
	assert_int_equal(transact(store, &(struct store_transaction){.else_steps = overlap, .else_count = 2}).status, -EINVAL);
	assert_int_equal(transact(store, &(struct store_transaction){.then_steps = same, .then_count = 2}).status, -EINVAL);
	assert_int_equal(transact(store, &(struct store_transaction){.then_steps = fine, .then_count = 3}).status, 0);
	assert_int_equal(put(store, "relative", "x").status, -EINVAL);
	assert_int_equal(put(store, "", "x").status, -EINVAL);
	memset(long_key, 'k', sizeof(long_key) - 1);
	long_key[0] = '/';
	assert_int_equal(put(store, long_key, "x").status, -EINVAL);
	long_key[STORE_KEY_LENGTH_MAX] = '\0';
	assert_int_equal(put(store, long_key, "x").status, 0);
	store_put(store, "/big", (struct store_value){big, sizeof(big)}, 0, answer_take, &answer);
	assert_int_equal(answer_wait(store, &answer).status, -EINVAL);
}

/* ---- Callbacks ---- */

static void count_calls(void *context, int status, const struct store_result *result, const struct error *error)
{
	assert_int_equal(status, 0);
	++*(int *)context;
}

static void completions_never_come_from_inside_a_call(void **state)
{
	struct place *place = *state;
	int calls = 0;

	store_put(place->store, "/a", store_text("x"), 0, count_calls, &calls);
	store_put(place->store, "relative", store_text("x"), 0, NULL, NULL); /* nobody waits; it is logged */
	store_get(place->store, "/a", count_calls, &calls);
	assert_int_equal(calls, 0);
	dispatch_all(place->store);
	assert_int_equal(calls, 2);
}

static void closing_cancels_what_is_pending(void **state)
{
	struct place *place = *state;
	struct answer answer = {};

	store_put(place->store, "/a", store_text("x"), 0, answer_take, &answer);
	store_free(place->store);
	assert_int_equal(answer.calls, 1);
	assert_int_equal(answer.status, -ECANCELED);
	place_open(place);
}

/* ---- Watches ---- */

struct seen {
	char log[4096]; /* "put /a=1 (was 0) @3; " for each event */
	int calls, failed;
	uint64_t revision, last_mod;
	size_t events;
	struct store_watch *free_this;
};

static void seen_events(void *context, const struct store_event *events, size_t count, uint64_t revision)
{
	struct seen *seen = context;

	seen->calls++;
	assert_true(count > 0);
	assert_true(revision > seen->revision);
	for (size_t i = 0; i < count; i++) {
		const struct store_event *event = &events[i];
		size_t used = strlen(seen->log);

		assert_true(event->record.mod_revision >= seen->last_mod);
		assert_true(event->record.mod_revision > seen->revision);
		seen->last_mod = event->record.mod_revision;
		if (event->kind == STORE_EVENT_PUT)
			snprintf(seen->log + used, sizeof(seen->log) - used, "put %s=%s", event->record.key,
				 (const char *)event->record.value.data);
		else
			snprintf(seen->log + used, sizeof(seen->log) - used, "delete %s", event->record.key);
		used = strlen(seen->log);
		snprintf(seen->log + used, sizeof(seen->log) - used, " (was %s) @%llu; ",
			 event->previous ? (const char *)event->previous->value.data : "absent",
			 (unsigned long long)event->record.mod_revision);
	}
	seen->events += count;
	seen->revision = revision;
	store_watch_free(seen->free_this);
	seen->free_this = NULL;
}

static void seen_failed(void *context, int status, const struct error *error)
{
	struct seen *seen = context;

	assert_true(strlen(error->text) > 0);
	seen->failed = status;
}

static const struct store_watch_handler seen_handler = {seen_events, seen_failed};

static void a_watch_delivers_every_change_in_order(void **state)
{
	static const struct store_step steps[] = {{STORE_PUT, "/w/c", {"3", 1}}, {STORE_DELETE, "/w/a"}, {STORE_PUT, "/x", {"", 0}}};
	struct place *place = *state;
	struct seen seen = {};
	struct store_watch *watch;

	put(place->store, "/w/a", "1");
	watch = store_watch_new(place->store, "/w/", 1, &seen_handler, &seen);
	assert_int_equal(seen.calls, 0);
	put(place->store, "/other", "x");
	put(place->store, "/w/a", "2");
	transact(place->store, &(struct store_transaction){.then_steps = steps, .then_count = 3});
	dispatch_all(place->store);
	assert_string_equal(seen.log, "put /w/a=1 (was absent) @1; put /w/a=2 (was 1) @3; "
				      "put /w/c=3 (was absent) @4; delete /w/a (was 2) @4; ");
	assert_int_equal(seen.revision, 4);
	store_watch_free(watch);
	put(place->store, "/w/a", "late");
	assert_int_equal(seen.events, 4);
}

static void a_watch_may_start_now_later_or_in_the_past(void **state)
{
	struct place *place = *state;
	struct seen now = {}, later = {}, past = {};
	struct store_watch *watches[3];

	put(place->store, "/a", "1");
	put(place->store, "/a", "2");
	watches[0] = store_watch_new(place->store, "/", 0, &seen_handler, &now);
	watches[1] = store_watch_new(place->store, "/", 4, &seen_handler, &later);
	watches[2] = store_watch_new(place->store, "/", 2, &seen_handler, &past);
	put(place->store, "/a", "3");
	put(place->store, "/a", "4");
	assert_string_equal(now.log, "put /a=3 (was 2) @3; put /a=4 (was 3) @4; ");
	assert_string_equal(later.log, "put /a=4 (was 3) @4; ");
	assert_string_equal(past.log, "put /a=2 (was 1) @2; put /a=3 (was 2) @3; put /a=4 (was 3) @4; ");
	for (int i = 0; i < 3; i++)
		store_watch_free(watches[i]);
}

static void a_watch_freed_in_a_callback_calls_no_more(void **state)
{
	struct place *place = *state;
	struct seen first = {}, second = {};
	struct store_watch *one = store_watch_new(place->store, "/", 1, &seen_handler, &first);
	struct store_watch *two = store_watch_new(place->store, "/", 1, &seen_handler, &second);

	first.free_this = two;
	put(place->store, "/a", "1");
	assert_int_equal(first.events, 1);
	assert_int_equal(second.events, 0);
	first.free_this = one;
	put(place->store, "/a", "2");
	put(place->store, "/a", "3");
	assert_int_equal(first.events, 2);
}

static void a_long_history_comes_in_whole_revisions(void **state)
{
	struct place *place = *state;
	struct store_step steps[100];
	char keys[100][32];
	struct seen seen = {};
	struct store_watch *watch;

	for (size_t i = 0; i < 100; i++) {
		snprintf(keys[i], sizeof(keys[i]), "/k/%zu", i);
		steps[i] = (struct store_step){STORE_PUT, keys[i], {"v", 1}};
	}
	for (int i = 0; i < 30; i++)
		transact(place->store, &(struct store_transaction){.then_steps = steps, .then_count = 100});
	watch = store_watch_new(place->store, "/k/", 1, &seen_handler, &seen);
	dispatch_all(place->store);
	assert_int_equal(seen.events, 3000);
	assert_int_equal(seen.revision, 30);
	assert_true(seen.calls > 1);
	store_watch_free(watch);
}

static void compacted_changes_are_refused_and_kept_ones_are_whole(void **state)
{
	struct place *place = *state;
	struct seen old = {}, kept = {}, bad = {};
	struct store_watch *watches[3];
	char value[16];

	store_free(place->store);
	place->history_revisions = 20;
	place_open(place);
	put(place->store, "/stays", "1");
	put(place->store, "/goes", "1");
	delete(place->store, "/goes");
	for (int i = 0; i < 100; i++) {
		snprintf(value, sizeof(value), "%d", i);
		put(place->store, "/busy", value);
	}
	place_reopen(place); /* the mark survives */
	assert_int_equal(get(place->store, "/stays").record_count, 1);
	watches[0] = store_watch_new(place->store, "/", 3, &seen_handler, &old);
	watches[1] = store_watch_new(place->store, "/", 103 - 20 + 1, &seen_handler, &kept);
	watches[2] = store_watch_new(place->store, "relative", 1, &seen_handler, &bad);
	dispatch_all(place->store);
	assert_int_equal(old.failed, -ESTALE);
	assert_int_equal(old.events, 0);
	assert_int_equal(bad.failed, -EINVAL);
	assert_int_equal(kept.failed, 0);
	assert_int_equal(kept.events, 20);
	assert_null(strstr(kept.log, "was absent"));
	for (int i = 0; i < 3; i++)
		store_watch_free(watches[i]);
}

/* The first watch that is not refused gets every change, with what each replaced: compaction took nothing too much. */
static void history_is_whole_from_the_mark_on(void **state)
{
	struct place *place = *state;
	uint64_t from = 1, revision = 0;
	char value[16];

	store_free(place->store);
	place->history_revisions = 20;
	place_open(place);
	for (int i = 0; i < 100; i++) {
		snprintf(value, sizeof(value), "%d", i);
		revision = i % 7 == 6 ? delete(place->store, "/busy").revision : put(place->store, "/busy", value).revision;
	}
	for (; from <= revision; from++) {
		struct seen seen = {};
		struct store_watch *watch = store_watch_new(place->store, "/", from, &seen_handler, &seen);

		dispatch_all(place->store);
		store_watch_free(watch);
		if (seen.failed == -ESTALE)
			continue;
		assert_int_equal(seen.failed, 0);
		assert_int_equal(seen.events, revision - from + 1);
		break;
	}
	/* At least what was asked for, and not much more. */
	assert_in_range(from, revision - 20 - 20 / 8, revision - 20 + 1);
}

/* ---- Leases ---- */

static uint64_t lease_grant(struct store *store, uint32_t ttl_s)
{
	struct answer answer = {};

	store_lease_grant(store, ttl_s, answer_take, &answer);
	return answer_wait(store, &answer).lease;
}

static int lease_keepalive(struct store *store, uint64_t lease)
{
	struct answer answer = {};

	store_lease_keepalive(store, lease, answer_take, &answer);
	return answer_wait(store, &answer).status;
}

static void keys_vanish_with_their_lease(void **state)
{
	struct place *place = *state;
	uint64_t lease = lease_grant(place->store, 2);
	struct seen seen = {};
	struct store_watch *watch;

	assert_true(lease != 0);
	put_leased(place->store, "/l/a", lease);
	put_leased(place->store, "/l/b", lease);
	put_leased(place->store, "/l/c", lease);
	put(place->store, "/l/c", "free"); /* a put without a lease detaches */
	assert_int_equal(get(place->store, "/l/a").record_lease, lease);
	watch = store_watch_new(place->store, "/l/", 0, &seen_handler, &seen);
	clock_fake_advance(&test_clock, 1999);
	assert_int_equal(store_dispatch(place->store), 1);
	assert_int_equal(list(place->store, "/l/").record_count, 3);
	clock_fake_advance(&test_clock, 1);
	dispatch_all(place->store);
	assert_int_equal(list(place->store, "/l/").record_count, 1);
	assert_string_equal(seen.log, "delete /l/a (was x) @5; delete /l/b (was x) @5; ");
	assert_int_equal(lease_keepalive(place->store, lease), -ENOENT);
	assert_int_equal(put_leased(place->store, "/l/a", lease).status, -ENOENT);
	store_watch_free(watch);
}

static void a_lease_lives_while_it_is_kept_alive(void **state)
{
	struct place *place = *state;
	uint64_t lease = lease_grant(place->store, 2);

	put_leased(place->store, "/a", lease);
	for (int i = 0; i < 5; i++) {
		clock_fake_advance(&test_clock, 1500);
		assert_int_equal(lease_keepalive(place->store, lease), 0);
	}
	assert_int_equal(get(place->store, "/a").record_count, 1);
	clock_fake_advance(&test_clock, 2000);
	assert_int_equal(lease_keepalive(place->store, lease), -ENOENT); /* also before the dispatch saw it */
	assert_int_equal(get(place->store, "/a").record_count, 0);
}

static void leases_survive_opening_again_with_their_whole_time(void **state)
{
	struct place *place = *state;
	uint64_t lease = lease_grant(place->store, 10), other;
	struct answer answer = {};

	put_leased(place->store, "/a", lease);
	clock_fake_advance(&test_clock, 9000);
	place_reopen(place);
	clock_fake_advance(&test_clock, 9000);
	assert_int_equal(get(place->store, "/a").record_count, 1);
	store_lease_revoke(place->store, lease, answer_take, &answer);
	assert_int_equal(answer_wait(place->store, &answer).status, 0);
	assert_int_equal(get(place->store, "/a").record_count, 0);
	place_reopen(place);
	other = lease_grant(place->store, 10);
	assert_true(other > lease); /* numbers are never used again */
	memset(&answer, 0, sizeof(answer));
	store_lease_grant(place->store, 0, answer_take, &answer);
	assert_int_equal(answer_wait(place->store, &answer).status, -EINVAL);
}

/* ---- The event loop ---- */

static void count_and_stop(void *context, int status, const struct store_result *result, const struct error *error)
{
	assert_int_equal(status, 0);
	event_base_loopbreak(context);
}

static void stop_on_events(void *context, const struct store_event *events, size_t count, uint64_t revision)
{
	event_base_loopbreak(context);
}

static void an_event_base_dispatches_by_itself(void **state)
{
	static const struct store_watch_handler handler = {stop_on_events, seen_failed};
	struct place *place = *state;
	struct event_base *base = event_base_new();
	struct store_sqlite_options options = {.directory = place->directory, .clock = &clock_system, .base = base};
	struct store_watch *watch;
	struct error error;

	store_free(place->store);
	assert_int_equal(store_sqlite_open(&options, &place->store, &error), 0);
	store_put(place->store, "/a", store_text("1"), 0, count_and_stop, base);
	event_base_dispatch(base);
	watch = store_watch_new(place->store, "/", 1, &handler, base);
	event_base_dispatch(base);
	store_watch_free(watch);
	/* Nothing is due: the loop finds no event to wait for. */
	assert_int_equal(event_base_loop(base, EVLOOP_NONBLOCK), 1);
	store_free(place->store);
	event_base_free(base);
	place_open(place);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_record_knows_its_revisions, setup, teardown),
		cmocka_unit_test_setup_teardown(a_list_is_what_begins_with_the_prefix, setup, teardown),
		cmocka_unit_test_setup_teardown(empty_and_binary_values_are_values, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_stored_is_there_after_opening_again, setup, teardown),
		cmocka_unit_test_setup_teardown(compares_choose_the_steps, setup, teardown),
		cmocka_unit_test_setup_teardown(a_transaction_is_one_revision_and_sees_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(a_transaction_that_fails_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(requests_that_break_the_rules_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(completions_never_come_from_inside_a_call, setup, teardown),
		cmocka_unit_test_setup_teardown(closing_cancels_what_is_pending, setup, teardown),
		cmocka_unit_test_setup_teardown(a_watch_delivers_every_change_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(a_watch_may_start_now_later_or_in_the_past, setup, teardown),
		cmocka_unit_test_setup_teardown(a_watch_freed_in_a_callback_calls_no_more, setup, teardown),
		cmocka_unit_test_setup_teardown(a_long_history_comes_in_whole_revisions, setup, teardown),
		cmocka_unit_test_setup_teardown(compacted_changes_are_refused_and_kept_ones_are_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(history_is_whole_from_the_mark_on, setup, teardown),
		cmocka_unit_test_setup_teardown(keys_vanish_with_their_lease, setup, teardown),
		cmocka_unit_test_setup_teardown(a_lease_lives_while_it_is_kept_alive, setup, teardown),
		cmocka_unit_test_setup_teardown(leases_survive_opening_again_with_their_whole_time, setup, teardown),
		cmocka_unit_test_setup_teardown(an_event_base_dispatches_by_itself, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

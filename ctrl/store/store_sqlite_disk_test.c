/* SPDX-License-Identifier: Apache-2.0 */
/* What the disk holds: files that are damaged or foreign, writers that are killed, power cuts, full disks. */
#include <limits.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "ctrl/store/power_cut_vfs.h"
#include "ctrl/store/store_sqlite_fixture.h"

#define KILL_ROUNDS 30
#define CUT_ROUNDS 40
#define CUT_PUTS 150

static unsigned int test_seed;

/* ---- The file ---- */

static void path_of(const struct place *place, const char *name, char path[static 512])
{
	snprintf(path, 512, "%s/%s", place->directory, name);
}

static void the_files_are_for_their_owner_only(void **state)
{
	static const char *const names[] = {"store.db", "store.db-wal", "store.lock"};
	struct place *place = *state;
	struct stat stat_buffer;
	char path[512];

	put(place->store, "/a", "x");
	for (size_t i = 0; i < array_length(names); i++) {
		path_of(place, names[i], path);
		assert_int_equal(stat(path, &stat_buffer), 0);
		assert_int_equal(stat_buffer.st_mode & 07777, 0600);
	}
}

static void a_second_daemon_is_refused(void **state)
{
	struct place *place = *state, second = *place;
	struct error error = {};

	assert_int_equal(place_try(&second, &error), -EBUSY);
	assert_non_null(strstr(error.text, "another selvaged"));
	assert_int_equal(put(place->store, "/a", "x").status, 0);
}

/* The store must be refused with the status, and with words that hold the text. */
static void refused(struct place *place, int status, const char *text)
{
	struct error error = {};

	assert_int_equal(place_try(place, &error), status);
	if (!strstr(error.text, text) || !strstr(error.text, place->directory))
		fail_msg("\"%s\" does not say \"%s\"", error.text, text);
}

static void file_write(const char *path, long offset, const char *bytes, size_t length, const char *mode)
{
	FILE *file = fopen(path, mode);

	assert_non_null(file);
	assert_int_equal(fseek(file, offset, SEEK_SET), 0);
	assert_int_equal(fwrite(bytes, 1, length, file), length);
	fclose(file);
}

static void sql_change(const struct place *place, const char *sql)
{
	char path[512];
	sqlite3 *database;

	path_of(place, "store.db", path);
	assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
	assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(database);
}

static void damaged_and_foreign_files_are_refused_with_advice(void **state)
{
	static const char *const damages[] = {
		"UPDATE history SET value = x'00' WHERE key = CAST('/a' AS BLOB)",
		"UPDATE history SET lease = 5 WHERE key = CAST('/a' AS BLOB)",
		"DELETE FROM history",
		"UPDATE current SET row = row + 1",
		"DROP TABLE lease",
		"DROP TABLE history",
		"PRAGMA user_version = 0",
	};
	static const char garbage[4096] = "this is no database";
	char path[512];

	for (size_t i = 0; i < array_length(damages) + 4; i++) {
		struct place *place;

		setup(state);
		place = *state;
		put(place->store, "/a", "one");
		put(place->store, "/b", "two");
		store_free(place->store);
		place->store = NULL;
		path_of(place, "store.db", path);
		if (i < array_length(damages)) {
			sql_change(place, damages[i]);
			refused(place, -EUCLEAN, "move it");
		} else if (i == array_length(damages)) {
			file_write(path, 0, garbage, sizeof(garbage), "w");
			refused(place, -EUCLEAN, "backup");
		} else if (i == array_length(damages) + 1) {
			file_write(path, 4096, garbage, sizeof(garbage), "r+");
			refused(place, -EUCLEAN, "backup");
		} else if (i == array_length(damages) + 2) {
			sql_change(place, "PRAGMA user_version = 2");
			refused(place, -EPROTONOSUPPORT, "newer version");
		} else {
			sql_change(place, "PRAGMA application_id = 7");
			refused(place, -EUCLEAN, "another program");
		}
		teardown(state);
	}
}

static void places_that_cannot_hold_a_store_are_refused(void **state)
{
	struct place place = {.directory = "/tmp/selvage-no-such/deeper"};
	struct error error = {};

	assert_int_equal(place_try(&place, &error), -ENOENT);
	assert_non_null(strstr(error.text, place.directory));
	strcpy(place.directory, "/dev/null");
	assert_int_equal(place_try(&place, &error), -ENOTDIR);
}

/* ---- Kills: the writer is another process, the kill comes at any moment ---- */

/* Each transaction writes two keys, so that half of one shows. */
static void pair_put(struct store *store, unsigned int number, const char *value, size_t length, store_done done,
		     void *context)
{
	char first[32], second[32];
	const struct store_step steps[] = {
		{STORE_PUT, first, {value, length}},
		{STORE_PUT, second, {value, length}},
	};

	snprintf(first, sizeof(first), "/first/%08u", number);
	snprintf(second, sizeof(second), "/second/%08u", number);
	store_transact(store, &(struct store_transaction){.then_steps = steps, .then_count = 2}, done, context);
}

struct numbers {
	unsigned int count;
	bool gapless;
};

static void numbers_take(void *context, int status, const struct store_result *result, const struct error *error)
{
	struct numbers *numbers = context;

	assert_int_equal(status, 0);
	for (size_t i = 0; i < result->steps[0].record_count; i++)
		if (atoi(strrchr(result->steps[0].records[i].key, '/') + 1) != (int)i)
			numbers->gapless = false;
	numbers->count = (unsigned int)result->steps[0].record_count;
}

/* How many pairs the store holds; a gap or half a pair fails. */
static bool pairs_count(struct store *store, unsigned int *ret_count)
{
	struct numbers first = {.gapless = true}, second = {.gapless = true};

	store_list(store, "/first/", numbers_take, &first);
	store_list(store, "/second/", numbers_take, &second);
	dispatch_all(store);
	*ret_count = first.count;
	return first.gapless && second.gapless && first.count == second.count;
}

static void acknowledge(void *context, int status, const struct store_result *result, const struct error *error)
{
	const char byte = 'a';

	if (status < 0 || write(*(int *)context, &byte, 1) != 1)
		_exit(1);
}

/* Until it is killed. */
static void writer_run(struct place *place, unsigned int next, int acknowledgements)
{
	static const char value[3000] = "value";
	struct error error;

	if (place_try(place, &error) < 0)
		_exit(2);
	for (;; next++) {
		pair_put(place->store, next, value, sizeof(value), acknowledge, &acknowledgements);
		dispatch_all(place->store);
	}
}

/* Reads acknowledgements, up to a limit or to the end. */
static unsigned int acknowledgements_read(int fd, unsigned int limit)
{
	unsigned int count = 0;
	char byte;

	while (count < limit && read(fd, &byte, 1) == 1)
		count++;
	return count;
}

static unsigned int kill_round(struct place *place, unsigned int before)
{
	unsigned int acknowledged, spin = (unsigned int)rand() % 20000;
	int pipe_fds[2], wait_status;
	pid_t child;

	assert_int_equal(pipe(pipe_fds), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		writer_run(place, before, pipe_fds[1]);
	close(pipe_fds[1]);
	acknowledged = acknowledgements_read(pipe_fds[0], 1 + (unsigned int)rand() % 40);
	for (volatile unsigned int i = 0; i < spin; i++)
		;
	kill(child, SIGKILL);
	acknowledged += acknowledgements_read(pipe_fds[0], UINT32_MAX);
	close(pipe_fds[0]);
	assert_int_equal(waitpid(child, &wait_status, 0), child);
	assert_true(WIFSIGNALED(wait_status));
	return acknowledged;
}

static void acknowledged_puts_survive_a_kill(void **state)
{
	struct place *place = *state;
	unsigned int expected = 0, found, total = 0;

	store_free(place->store);
	for (int round = 0; round < KILL_ROUNDS; round++) {
		unsigned int acknowledged = kill_round(place, expected);

		place_open(place);
		assert_true(pairs_count(place->store, &found));
		assert_in_range(found, expected + acknowledged, expected + acknowledged + 1);
		store_free(place->store);
		total += acknowledged;
		expected = found;
	}
	printf("          %d kills, %u acknowledged transactions, all there, none half (seed %u)\n", KILL_ROUNDS, total,
	       test_seed);
	place_open(place);
}

/* ---- Power cuts: what was not synced is kept, lost or torn at random ---- */

struct cut_progress {
	unsigned int acknowledged;   /* so far */
	unsigned int at_cut;	     /* when the power went */
	bool cut;
};

static void progress_count(void *context, int status, const struct store_result *result, const struct error *error)
{
	assert_int_equal(status, 0);
	((struct cut_progress *)context)->acknowledged++;
}

static void progress_note(void *context)
{
	struct cut_progress *progress = context;

	progress->at_cut = progress->acknowledged;
	progress->cut = true;
}

/* One life with a cut in it; whether the store that the disk was left with keeps the promise. */
static bool cut_round(const struct power_cut_options *how, unsigned int *ret_acknowledged, unsigned long *ret_operations)
{
	static char value[20000] = "value";
	struct place alive = {.vfs = POWER_CUT_VFS}, left = {};
	struct cut_progress progress = {};
	struct power_cut_options options = *how;
	struct error error = {};
	unsigned int found = 0;
	bool good;

	directory_make(alive.directory);
	directory_make(left.directory);
	options.target_directory = left.directory;
	options.cut = progress_note;
	options.context = &progress;
	power_cut_begin(&options);
	place_open(&alive);
	for (unsigned int i = 0; i < CUT_PUTS && !progress.cut; i++) {
		pair_put(alive.store, i, value, 1 + (size_t)rand() % sizeof(value), progress_count, &progress);
		dispatch_all(alive.store);
	}
	*ret_operations = power_cut_operations();
	store_free(alive.store);
	power_cut_end();

	*ret_acknowledged = progress.at_cut;
	good = place_try(&left, &error) == 0;
	if (good) {
		good = pairs_count(left.store, &found) && found >= progress.at_cut && found <= progress.at_cut + 1;
		store_free(left.store);
	}
	directory_remove(alive.directory);
	directory_remove(left.directory);
	return good;
}

static void acknowledged_puts_survive_a_power_cut(void **state)
{
	unsigned int acknowledged, total = 0;
	unsigned long operations, unused;

	cut_round(&(struct power_cut_options){.cut_after = ULONG_MAX}, &acknowledged, &operations);
	for (int round = 0; round < CUT_ROUNDS; round++) {
		const struct power_cut_options options = {
			/* A third of the cuts fall into the creation of the file. */
			.cut_after = (unsigned long)rand() % (round % 3 ? operations : 40)};

		if (!cut_round(&options, &acknowledged, &unused))
			fail_msg("cut after %lu of %lu operations lost what was acknowledged (seed %u)", options.cut_after,
				 operations, test_seed);
		total += acknowledged;
	}
	printf("          %d cuts among %lu disk operations, %u acknowledged transactions, all there (seed %u)\n", CUT_ROUNDS,
	       operations, total, test_seed);
}

/* The test itself: on a disk that only pretends to sync, the same cuts must be seen to lose something. */
static void a_disk_that_lies_is_noticed_by_this_test(void **state)
{
	unsigned int acknowledged, lost = 0;
	unsigned long operations, unused;

	cut_round(&(struct power_cut_options){.cut_after = ULONG_MAX}, &acknowledged, &operations);
	for (int round = 0; round < 10; round++) {
		const struct power_cut_options options = {.cut_after = operations / 2 + (unsigned long)rand() % (operations / 2),
							  .ignore_sync = true};

		lost += !cut_round(&options, &acknowledged, &unused);
	}
	assert_true(lost > 0);
}

static void a_full_disk_gives_an_error_and_changes_nothing(void **state)
{
	struct place place = {.vfs = POWER_CUT_VFS};
	struct answer answer;

	directory_make(place.directory);
	power_cut_begin(&(struct power_cut_options){.cut_after = ULONG_MAX});
	place_open(&place);
	put(place.store, "/a", "one");
	for (int round = 0; round < 3; round++) {
		power_cut_disk_full(round + 1);
		answer = put(place.store, "/a", "two");
		assert_int_equal(answer.status, -ENOSPC);
		assert_non_null(strstr(answer.error, "full"));
		assert_string_equal(get(place.store, "/a").values[0], "one");
		power_cut_disk_full(0);
	}
	assert_int_equal(put(place.store, "/a", "three").revision, 2);
	place_reopen(&place);
	assert_string_equal(get(place.store, "/a").values[0], "three");
	store_free(place.store);
	power_cut_end();
	directory_remove(place.directory);
}

/* For information: what an acknowledged write costs the flash. */
static void bytes_per_put_are_printed(void **state)
{
	struct place place = {.vfs = POWER_CUT_VFS};
	unsigned long before;
	char key[64], value[1000];

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	directory_make(place.directory);
	power_cut_begin(&(struct power_cut_options){.cut_after = ULONG_MAX});
	place_open(&place);
	before = power_cut_bytes_written();
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "/registry/services/default/web-%d", i % 100);
		put(place.store, key, value);
	}
	printf("          1000 puts of 1 kB to 100 keys: %lu bytes written for each, checkpoints included\n",
	       (power_cut_bytes_written() - before) / 1000);
	before = power_cut_bytes_written();
	for (int i = 0; i < 100; i++)
		get(place.store, "/registry/services/default/web-1");
	assert_int_equal(power_cut_bytes_written(), before); /* reading writes nothing */
	store_free(place.store);
	power_cut_end();
	directory_remove(place.directory);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_files_are_for_their_owner_only, setup, teardown),
		cmocka_unit_test_setup_teardown(a_second_daemon_is_refused, setup, teardown),
		cmocka_unit_test(damaged_and_foreign_files_are_refused_with_advice),
		cmocka_unit_test(places_that_cannot_hold_a_store_are_refused),
		cmocka_unit_test_setup_teardown(acknowledged_puts_survive_a_kill, setup, teardown),
		cmocka_unit_test(acknowledged_puts_survive_a_power_cut),
		cmocka_unit_test(a_disk_that_lies_is_noticed_by_this_test),
		cmocka_unit_test(a_full_disk_gives_an_error_and_changes_nothing),
		cmocka_unit_test(bytes_per_put_are_printed),
	};

	test_seed = argc > 1 ? (unsigned int)atoi(argv[1]) : (unsigned int)time(NULL);
	srand(test_seed);
	test_clock = clock_fake(1000);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that are kept, and kept over restarts. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "dns/answers.h"

static struct answer_key key_of(const char *text)
{
	struct answer_key key = {.type = DNS_A};

	assert_int_equal(dns_name_parse(text, &key.name), 0);
	return key;
}

static struct answer *put(struct answers *answers, const char *name, uint64_t now_ms, uint32_t ttl)
{
	struct answer answer = {.key = key_of(name), .ttl = ttl, .stored_ms = now_ms, .expires_ms = now_ms + ttl * 1000, .ede = DNS_EDE_NONE};
	uint8_t bytes[512];
	struct dns_writer writer;

	dns_writer_start(&writer, bytes, sizeof(bytes), 0, 0x8180, &answer.key.name, DNS_A, DNS_IN);
	dns_writer_add(&writer, DNS_ANSWER, &answer.key.name, DNS_A, DNS_IN, ttl, (const uint8_t[]){192, 0, 2, 1}, 4);
	answer.plain = bytes;
	answer.plain_length = (uint16_t)dns_writer_end(&writer);
	answer.stale_until_ms = answer.expires_ms + 100000;
	return answers_put(answers, &answer);
}

static void found_until_they_are_stale(void **state)
{
	struct answers *answers = answers_new(1 << 20);
	struct answer_key key = key_of("www.example.com"), other = key_of("example.com");
	struct dns_name below;

	put(answers, "www.example.com", 1000, 60);
	assert_non_null(answers_find(answers, &key, 2000));
	assert_null(answers_find(answers, &other, 2000));
	key.checking_disabled = true;
	assert_null(answers_find(answers, &key, 2000));
	key.checking_disabled = false;
	assert_non_null(answers_find(answers, &key, 62000));
	assert_null(answers_find(answers, &key, 161001));
	assert_int_equal(answers_measure(answers).count, 0);
	assert_int_equal(answers_measure(answers).bytes, 0);
	put(answers, "a.example.com", 0, 60);
	put(answers, "b.example.com", 0, 60);
	put(answers, "b.example.net", 0, 60);
	assert_int_equal(dns_name_parse("example.com", &below), 0);
	assert_int_equal(answers_flush(answers, &below), 2);
	assert_int_equal(answers_measure(answers).count, 1);
	answers_free(answers);
}

static void the_least_recently_used_go_first(void **state)
{
	struct answers *answers = answers_new(40000);
	struct answer_key first = key_of("n0.example.com"), second = key_of("n1.example.com");
	char name[64];

	for (unsigned int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "n%u.example.com", i);
		put(answers, name, 0, 60);
		assert_non_null(answers_find(answers, &first, 0)); /* in use */
	}
	assert_null(answers_find(answers, &second, 0));
	assert_true(answers_measure(answers).bytes <= 40000 && answers_measure(answers).evicted > 50);
	answers_free(answers);
}

struct file {
	char path[64];
	uint8_t bytes[65536];
	size_t length;
};

static void file_make(struct file *file, const struct answers *answers, uint64_t now_ms, uint64_t wall_ms)
{
	struct error error;
	size_t count;
	int fd;

	snprintf(file->path, sizeof(file->path), "/tmp/answers_test.%d", (int)getpid());
	assert_int_equal(answers_save(answers, file->path, now_ms, wall_ms, &count, &error), 0);
	fd = open(file->path, O_RDONLY);
	file->length = (size_t)read(fd, file->bytes, sizeof(file->bytes));
	close(fd);
}

static void a_restart_forgets_what_has_ended_meanwhile(void **state)
{
	struct answers *answers = answers_new(1 << 20), *later = answers_new(1 << 20);
	struct answer_key brief = key_of("brief.example.com"), lasting = key_of("lasting.example.com");
	static struct file file;
	struct error error;
	struct answer *found;
	size_t count;

	put(answers, "brief.example.com", 50000, 10);
	put(answers, "lasting.example.com", 50000, 1000);
	file_make(&file, answers, 55000, 1700000000000);
	/* two minutes later, on a machine that started anew */
	assert_int_equal(answers_load(later, file.path, 3000, 1700000120000, &count, &error), 0);
	assert_int_equal(count, 1);
	assert_null(answers_find(later, &brief, 3000));
	found = answers_find(later, &lasting, 3000);
	assert_non_null(found);
	assert_int_equal(found->expires_ms, 3000 + 995000 - 120000);
	answers_free(later);
	/* a clock that was set back makes nothing last longer than it was given */
	later = answers_new(1 << 20);
	assert_int_equal(answers_load(later, file.path, 3000, 1600000000000, &count, &error), 0);
	found = answers_find(later, &lasting, 3000);
	assert_int_equal(found->expires_ms, 3000 + 1000000);
	answers_free(later);
	unlink(file.path);
	answers_free(answers);
}

static void damaged_files_are_read_as_far_as_they_are_whole(void **state)
{
	struct answers *answers = answers_new(1 << 20);
	static struct file file;
	static uint8_t copy[65536];

	for (unsigned int i = 0; i < 5; i++) {
		char name[64];

		snprintf(name, sizeof(name), "n%u.example.com", i);
		put(answers, name, 0, 1000);
	}
	file_make(&file, answers, 0, 1700000000000);
	for (size_t i = 0; i < file.length; i++) {
		struct answers *read = answers_new(1 << 20);

		assert_true(answers_parse(read, file.bytes, i, 0, 1700000000000) < 5);
		answers_free(read);
		read = answers_new(1 << 20);
		memcpy(copy, file.bytes, file.length);
		copy[i] ^= 0x55;
		assert_true(answers_parse(read, copy, file.length, 0, 1700000000000) < 5);
		answers_free(read);
	}
	unlink(file.path);
	answers_free(answers);
}

/* What a process that starts now finds in the file: "ab" for a.example.com and b.example.com. */
static const char *loaded(const struct file *file)
{
	struct answers *answers = answers_new(1 << 20);
	static char found[8];
	struct error error;
	size_t count, used = 0;

	assert_int_equal(answers_load(answers, file->path, 0, 1700000000000, &count, &error), 0);
	for (char letter = 'a'; letter <= 'c'; letter++) {
		char name[] = "?.example.com";
		struct answer_key key;

		name[0] = letter;
		key = key_of(name);
		if (answers_find(answers, &key, 0))
			found[used++] = letter;
	}
	found[used] = '\0';
	assert_int_equal(count, used);
	answers_free(answers);
	return found;
}

static void note(const struct file *file, const char *text)
{
	struct dns_name name;
	struct error error;

	assert_int_equal(dns_name_parse(text, &name), 0);
	assert_int_equal(answers_flush_note(file->path, &name, &error), 0);
}

static void what_was_flushed_stays_so_over_a_crash(void **state)
{
	struct answers *answers = answers_new(1 << 20);
	static struct file file;
	char flushed[80];
	struct stat status;
	int fd;

	put(answers, "a.example.com", 0, 1000);
	put(answers, "b.example.com", 0, 1000);
	put(answers, "c.example.com", 0, 1000);
	file_make(&file, answers, 0, 1700000000000);
	snprintf(flushed, sizeof(flushed), "%s.flushed", file.path);
	assert_string_equal(loaded(&file), "abc");
	note(&file, "b.example.com");
	assert_string_equal(loaded(&file), "ac");
	/* half a record, as a crash leaves it, was not acknowledged; what comes after it is found */
	fd = open(flushed, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "\17\1a\7exam", 9), 9);
	close(fd);
	assert_string_equal(loaded(&file), "ac");
	note(&file, "C.example.com");
	assert_string_equal(loaded(&file), "a");
	note(&file, "ple.com");
	assert_string_equal(loaded(&file), "a");
	/* the file that is written anew has what came later */
	file_make(&file, answers, 0, 1700000000000);
	assert_string_equal(loaded(&file), "abc");
	assert_int_equal(stat(flushed, &status), -1);
	note(&file, ".");
	assert_string_equal(loaded(&file), "");
	unlink(flushed);
	/* nobody knows what is in it */
	assert_int_equal(mkdir(flushed, 0700), 0);
	{
		struct answers *later = answers_new(1 << 20);
		struct error error;
		size_t count;

		assert_true(answers_load(later, file.path, 0, 1700000000000, &count, &error) < 0);
		assert_int_equal(answers_measure(later).count, 0);
		answers_free(later);
	}
	rmdir(flushed);
	unlink(file.path);
	answers_free(answers);
}

struct parts {
	struct answers *answers;
	unsigned int seen[3000], left;
};

static bool part_note(const struct answer *answer, void *context)
{
	struct parts *parts = context;

	parts->seen[atoi((const char *)answer->key.name.bytes + 2)]++;
	return --parts->left > 0;
}

static void parts_are_the_whole(void **state)
{
	static struct parts parts;
	size_t at = 0, count = 0, asked = 0;
	char name[64];

	parts.answers = answers_new(64 << 20);
	for (unsigned int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "n%u.example.com", i);
		put(parts.answers, name, 0, 60);
	}
	do {
		parts.left = 100;
		at = answers_each_part(parts.answers, at, part_note, &parts);
		/* the table grows meanwhile */
		for (unsigned int i = 0; count < 2000 && i < 200; i++, count++) {
			snprintf(name, sizeof(name), "n%zu.example.com", 1000 + count);
			put(parts.answers, name, 0, 60);
		}
		asked++;
	} while (at);
	for (unsigned int i = 0; i < 1000; i++)
		if (!parts.seen[i] || parts.seen[i] > 3)
			fail_msg("n%u was seen %u times", i, parts.seen[i]);
	assert_true(asked >= 10);
	answers_free(parts.answers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(found_until_they_are_stale),
		cmocka_unit_test(the_least_recently_used_go_first),
		cmocka_unit_test(a_restart_forgets_what_has_ended_meanwhile),
		cmocka_unit_test(parts_are_the_whole),
		cmocka_unit_test(what_was_flushed_stays_so_over_a_crash),
		cmocka_unit_test(damaged_files_are_read_as_far_as_they_are_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line prints: tables, YAML, diffs, captures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ctrl/cli/cli.h"
#include "ctrl/cli/line_diff.h"
#include "ctrl/cli/pcapng.h"
#include "ctrl/cli/rates.h"
#include "ctrl/cli/table.h"

struct memory_file {
	FILE *file;
	char *text;
	size_t size;
};

static void memory_open(struct memory_file *memory)
{
	memory->file = open_memstream(&memory->text, &memory->size);
	assert_non_null(memory->file);
}

static void assert_printed(struct memory_file *memory, const char *expected)
{
	fclose(memory->file);
	assert_string_equal(memory->text, expected);
	free(memory->text);
}

static void test_table(void **state)
{
	struct table *table = table_new("NAME", "N", "NOTE", NULL);
	struct memory_file memory;

	(void)state;
	memory_open(&memory);
	table_row(table, "a", "10", "", NULL);
	table_row(table, "zürich", "2", NULL);
	table_cell(table, "%s", "x");
	table_print(table, memory.file, "");
	assert_printed(&memory, "NAME     N    NOTE\na        10\nzürich   2    x\n");
	memory_open(&memory);
	table_print(table_new("NAME", NULL), memory.file, "");
	assert_printed(&memory, "");
}

/* What is printed must be read back as the same, by the reader that apply uses. */
static void test_yaml_is_read_back(void **state)
{
	static const char source[] =
		"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\",\"annotations\":{\"a\":\"yes\",\"b\":\"1.5\","
		"\"c\":\"\",\"d\":\"x: y\",\"e\":\"#no\",\"f\":\"two\\nlines\",\"g\":\" pad\",\"h\":\"- x\",\"i\":\"null\",\"j\":\"ü\","
		"\"k\":\"0x1f\",\"l\":\"a #b\",\"m\":\"@x\",\"n\":\"end:\",\"o\":\"tab\\tin\",\"p\":\"=\",\"q\":\"<<\"}},"
		"\"spec\":{\"selector\":{},\"ports\":[{\"port\":80,\"name\":\"a\"},{\"port\":81,\"name\":\"b\"}],"
		"\"loadBalancerSourceRanges\":[]}}";
	json_t *json = json_loads(source, 0, NULL);
	_cleanup_(freep) char *text = yaml_format(json);
	struct object_list list = {0};
	struct diagnostics diagnostics;

	(void)state;
	diagnostics_init(&diagnostics);
	assert_int_equal(manifest_load(text, strlen(text), "text", &list, &diagnostics), 0);
	assert_int_equal(list.count, 1);
	assert_true(json_equal(list.items[0]->raw, json));
	object_list_done(&list);
	diagnostics_done(&diagnostics);
	json_decref(json);
}

static void test_numbers_are_as_they_were_written(void **state)
{
	json_t *json = json_loads("{\"load\":0.7,\"high\":1e300,\"low\":0.05}", 0, NULL);
	_cleanup_(freep) char *text = yaml_format(json);

	(void)state;
	assert_string_equal(text, "load: 0.7\nhigh: 1e300\nlow: 0.05\n");
	json_decref(json);
}

static void diff_expect(const char *old, const char *new, const char *expected)
{
	struct memory_file memory;

	memory_open(&memory);
	assert_int_equal(line_diff_print(memory.file, "a", old, "b", new), *expected != '\0');
	assert_printed(&memory, expected);
}

static void test_diff(void **state)
{
	(void)state;
	diff_expect("1\n2\n", "1\n2\n", "");
	diff_expect("", "1\n", "--- a\n+++ b\n@@ -0,0 +1 @@\n+1\n");
	diff_expect("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nX\n6\n7\n8\n9\n",
		    "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+X\n 6\n 7\n 8\n");
	diff_expect("1\n2\n3\n4\n5\n6\n7\n8\n9\na\nb\n", "0\n2\n3\n4\n5\n6\n7\n8\n9\na\nB\n",
		    "--- a\n+++ b\n@@ -1,4 +1,4 @@\n-1\n+0\n 2\n 3\n 4\n@@ -8,4 +8,4 @@\n 8\n 9\n a\n-b\n+B\n");
}

static uint32_t word_at(const struct memory_file *memory, size_t offset)
{
	uint32_t word;

	assert_true(offset + 4 <= memory->size);
	memcpy(&word, memory->text + offset, sizeof(word));
	return word;
}

/* The blocks' lengths lead from one to the next, and stand at both ends. */
static void test_pcapng(void **state)
{
	static const uint32_t expected[] = {0x0a0d0d0a, 1, 6, 6};
	const struct pcapng_packet packet = {.interface = "eth0", .time_ns = 1, .bytes = (const uint8_t *)"abc", .captured = 3,
					     .length = 99, .comment = "drop"};
	struct memory_file memory;
	struct pcapng *pcapng;
	size_t offset = 0, blocks = 0;

	(void)state;
	memory_open(&memory);
	assert_int_equal(pcapng_new(memory.file, &pcapng, NULL), 0);
	assert_int_equal(pcapng_write(pcapng, &packet, NULL), 0);
	assert_int_equal(pcapng_write(pcapng, &packet, NULL), 0);
	pcapng_free(pcapng);
	fclose(memory.file);
	for (; offset < memory.size; blocks++) {
		uint32_t length = word_at(&memory, offset + 4);

		assert_true(blocks < array_length(expected));
		assert_int_equal(word_at(&memory, offset), expected[blocks]);
		assert_int_equal(length % 4, 0);
		assert_int_equal(word_at(&memory, offset + length - 4), length);
		if (blocks == 3) {
			assert_int_equal(word_at(&memory, offset + 20), 3);
			assert_int_equal(word_at(&memory, offset + 24), 99);
			assert_int_equal(word_at(&memory, offset + 32), 1 | 4 << 16);
			assert_memory_equal(memory.text + offset + 36, "drop", 4);
		}
		offset += length;
	}
	assert_int_equal(blocks, 4);
	assert_int_equal(offset, memory.size);
	free(memory.text);
}

static void test_durations(void **state)
{
	char text[DURATION_TEXT_SIZE];

	(void)state;
	assert_string_equal(duration_format(119, text), "119s");
	assert_string_equal(duration_format(120, text), "2m");
	assert_string_equal(duration_format(7200, text), "2h");
	assert_string_equal(duration_format(172800, text), "2d");
	assert_string_equal(duration_format(-1, text), "<unknown>");
	assert_int_equal(age_seconds("yesterday"), -1);
	assert_true(age_seconds("2020-01-01T00:00:00Z") > 0);
}

static json_t *counters(int ready, int64_t time_us, int64_t packets, int64_t drops)
{
	return json_pack("{s:b, s:I, s:I, s:{s:I, s:I}, s:[{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I}], s:[{s:s, s:I}, {s:s, s:I}]}",
			 "ready", ready, "timeUs", time_us, "bytes", packets * 100, "verdicts", "tx", packets, "drop", drops,
			 "backends", "service", "default/web:80", "vip", "192.0.2.10", "backend", "10.0.0.21:7000", "packets",
			 packets, "bytes", packets * 100, "answers", packets / 2, "answerBytes", packets * 10, "newFlows",
			 packets / 10, "drops", "reason", "route_none", "count", drops, "reason", "source_invalid", "count",
			 (int64_t)7);
}

/* NULL when there is nothing to compare. */
static json_t *looked(struct rates *rates, json_t *taken)
{
	json_t *answer = rates_look(rates, taken);

	json_decref(taken);
	return answer;
}

static double real_at(const json_t *object, const char *key)
{
	return json_real_value(json_object_get(object, key));
}

static void test_rates(void **state)
{
	_cleanup_(rates_freep) struct rates *rates = rates_new();
	const json_t *service, *drop;
	json_t *answer;

	(void)state;
	assert_null(looked(rates, counters(1, 1000000, 1000, 50)));
	answer = looked(rates, counters(1, 3000000, 1400, 60));
	assert_true(real_at(answer, "seconds") == 2);
	assert_true(real_at(answer, "packetsPerSecond") == 205);
	assert_true(real_at(answer, "droppedPerSecond") == 5);
	assert_true(real_at(answer, "bitsPerSecond") == 160000);
	assert_true(real_at(answer, "newFlowsPerSecond") == 20);
	service = json_array_get(json_object_get(answer, "services"), 0);
	assert_true(real_at(service, "packetsPerSecond") == 200 && real_at(service, "bitsPerSecond") == 160000);
	assert_true(real_at(service, "answersPerSecond") == 100 && real_at(service, "answerBitsPerSecond") == 16000);
	assert_true(real_at(json_array_get(json_object_get(service, "backends"), 0), "packetsPerSecond") == 200);
	assert_int_equal(json_array_size(json_object_get(answer, "drops")), 1); /* the other one did not happen */
	drop = json_array_get(json_object_get(answer, "drops"), 0);
	assert_int_equal(json_number(drop, "new"), 10);
	json_decref(answer);
}

/* A daemon that starts, a packet program that begins anew, a backend that was not seen for a while. */
static void test_rates_over_restarts(void **state)
{
	_cleanup_(rates_freep) struct rates *rates = rates_new();
	json_t *answer, *without = counters(1, 5000000, 1500, 50);

	(void)state;
	assert_null(looked(rates, counters(1, 1000000, 1000, 50)));
	assert_null(looked(rates, counters(0, 2000000, 0, 0)));
	answer = looked(rates, counters(1, 3000000, 1200, 50));
	assert_true(real_at(answer, "seconds") == 2 && real_at(answer, "packetsPerSecond") == 100);
	json_decref(answer);
	json_object_set_new(without, "backends", json_array());
	answer = looked(rates, without);
	assert_int_equal(json_array_size(json_object_get(answer, "services")), 0);
	json_decref(answer);
	answer = looked(rates, counters(1, 6000000, 1600, 50));
	assert_true(real_at(json_array_get(json_object_get(answer, "services"), 0), "packetsPerSecond") == 400);
	json_decref(answer);
	answer = looked(rates, counters(1, 7000000, 30, 4));
	assert_true(real_at(answer, "packetsPerSecond") == 34 && real_at(answer, "droppedPerSecond") == 4);
	json_decref(answer);
	assert_null(looked(rates, counters(1, 500000, 30, 4))); /* the machine's clock began anew */
}

static void test_rate_texts(void **state)
{
	static const struct {
		double rate;
		const char *text;
	} cases[] = {{0, "0"}, {0.25, "0.25"}, {7, "7"}, {12.34, "12.3"}, {999, "999"}, {999.7, "1.00k"}, {12345, "12.3k"},
		     {123456, "123k"}, {9.87e6, "9.87M"}, {2.5e9, "2.50G"}};
	char text[RATE_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++)
		assert_string_equal(rate_format(cases[i].rate, text), cases[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table), cmocka_unit_test(test_yaml_is_read_back), cmocka_unit_test(test_diff),
		cmocka_unit_test(test_numbers_are_as_they_were_written),
		cmocka_unit_test(test_pcapng), cmocka_unit_test(test_durations), cmocka_unit_test(test_rates),
		cmocka_unit_test(test_rates_over_restarts), cmocka_unit_test(test_rate_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

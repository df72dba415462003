/* SPDX-License-Identifier: Apache-2.0 */
/* Texts: UTF-8, likely slips. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/lib/cleanup.h"
#include "base/lib/utf8.h"
#include "base/lib/word_distance.h"

/* RFC 3629 section 4, its first and last characters, and the neighbours of those that are none. */
static void characters_are_measured(void **state)
{
	static const struct {
		const char *text;
		size_t length;
	} cases[] = {
		{"\x01", 1}, {"a", 1}, {"\x7f", 1}, {"\xc2\x80", 2}, {"\xdf\xbf", 2}, {"\xe0\xa0\x80", 3}, {"\xed\x9f\xbf", 3},
		{"\xee\x80\x80", 3}, {"\xef\xbf\xbf", 3}, {"\xf0\x90\x80\x80", 4}, {"\xf4\x8f\xbf\xbf", 4},
		{"\x80", 0}, {"\xc1\xbf", 0}, {"\xc2" "a", 0}, {"\xe0\x9f\xbf", 0}, {"\xed\xa0\x80", 0}, {"\xf0\x8f\xbf\xbf", 0},
		{"\xf4\x90\x80\x80", 0}, {"\xf5\x80\x80\x80", 0}, {"\xff", 0}, {"\xe2\x82" "a", 0},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		size_t length = strlen(cases[i].text);

		assert_int_equal(utf8_length(cases[i].text, length), cases[i].length);
		/* what ends inside a character is none, and nothing behind the end is looked at */
		if (cases[i].length > 1)
			assert_int_equal(utf8_length(cases[i].text, length - 1), 0);
	}
}

static void slips_are_noticed(void **state)
{
	static const char *const known[] = {"port", "proto", "host", "interface", NULL};

	(void)state;
	assert_int_equal(word_distance("port", "port"), 0);
	assert_int_equal(word_distance("prt", "port"), 1);
	assert_int_equal(word_distance("sitting", "kitten"), 3);
	assert_int_equal(word_distance("a-word-that-is-longer-than-any-verb", "b"), WORD_DISTANCE_FAR);
	assert_string_equal(word_nearest("prt", known), "port");
	assert_string_equal(word_nearest("protocol", known) ? word_nearest("protocol", known) : "none", "none");
	assert_string_equal(word_nearest("interfaces", known), "interface");
	assert_null(word_nearest("xyz", known));
	assert_null(word_nearest("", known));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(characters_are_measured), cmocka_unit_test(slips_are_noticed)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/replay/secret_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define ONE "000102030405060708090a0b0c0d0e0f"
#define TWO "FFeeddccbbaa99887766554433221100"

static void secrets_are_read(void **state)
{
	static const char *const one[] = {"0 " ONE, "0 " ONE "\n", " 0\t" ONE "\r\n", "0 " ONE " 1763735000123", "0 " ONE ","};
	static const char *const both[] = {"3 " ONE "\n2 " TWO "\n", "3 " ONE ",2 " TWO " 1763735000123\n"};
	struct rtc_ufrag_secret secrets[2];
	struct error error = {0};
	size_t count;

	(void)state;
	for (size_t i = 0; i < sizeof(one) / sizeof(*one); i++) {
		assert_int_equal(secrets_parse(one[i], secrets, 2, &count, &error), 0);
		assert_int_equal(count, 1);
		assert_int_equal(secrets[0].number, 0);
		for (uint8_t k = 0; k < 16; k++)
			assert_int_equal(((uint8_t *)&secrets[0].key)[k], k);
	}
	for (size_t i = 0; i < sizeof(both) / sizeof(*both); i++) {
		assert_int_equal(secrets_parse(both[i], secrets, 2, &count, &error), 0);
		assert_int_equal(count, 2);
		assert_int_equal(secrets[0].number, 3);
		assert_int_equal(secrets[1].number, 2);
		assert_memory_equal(&secrets[1].key, "\xff\xee\xdd\xcc\xbb\xaa\x99\x88\x77\x66\x55\x44\x33\x22\x11\0", 16);
	}
}

static void anything_else_is_refused(void **state)
{
	static const char *const wrong[] = {"",	   "\n",	  ONE,	     "4 " ONE,	   "-1 " ONE,	 "00 " ONE,		  "0" ONE,
					    "0 12", "0 " ONE "0", "0 g" ONE, "0 " ONE " x", "0 " ONE ",1", "0 " ONE ",1 " TWO ",2 " ONE};
	struct rtc_ufrag_secret secrets[2];
	struct error error = {0};
	size_t count;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		bool last_is_number = strcmp(wrong[i], "0 " ONE ",1") == 0; /* as if it were when it was made */

		assert_int_equal(secrets_parse(wrong[i], secrets, 2, &count, &error), last_is_number ? 0 : -EINVAL);
	}
	assert_int_equal(secret_file_read("/nonexistent/secrets", secrets, 2, &count, &error), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(secrets_are_read),
		cmocka_unit_test(anything_else_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: addresses and prefixes as one writes them. Included behind cmocka. */
#pragma once

#include "base/lib/address_text.h"

static inline struct address address_of(const char *text)
{
	struct address address;

	assert_int_equal(address_parse(text, &address), 0);
	return address;
}

static inline struct prefix prefix_of(const char *text)
{
	struct prefix prefix;

	assert_int_equal(prefix_parse(text, &prefix), 0);
	return prefix;
}

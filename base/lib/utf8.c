/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lib/utf8.h"

size_t utf8_length(const char *text, size_t length)
{
	const unsigned char *byte = (const unsigned char *)text;
	size_t count = byte[0] < 0x80 ? 1 : byte[0] < 0xc2 ? 0 : byte[0] < 0xe0 ? 2 : byte[0] < 0xf0 ? 3 : byte[0] < 0xf5 ? 4 : 0;

	if (count > length)
		return 0;
	for (size_t i = 1; i < count; i++)
		if ((byte[i] & 0xc0) != 0x80)
			return 0;
	/* overlong forms, surrogates, past the last code point */
	if ((byte[0] == 0xe0 && byte[1] < 0xa0) || (byte[0] == 0xed && byte[1] > 0x9f) || (byte[0] == 0xf0 && byte[1] < 0x90) ||
	    (byte[0] == 0xf4 && byte[1] > 0x8f))
		return 0;
	return count;
}

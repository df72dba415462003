/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lib/number.h"

#include <errno.h>
#include <stdlib.h>

bool number_read(const char *text, uint32_t minimum, uint32_t maximum, uint32_t *ret_number)
{
	unsigned long long value;
	char *end;

	/* strtoull() would take spaces and signs. */
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || *end || value < minimum || value > maximum)
		return false;
	*ret_number = (uint32_t)value;
	return true;
}

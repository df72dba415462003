/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lib/error.h"

#include <stdio.h>
#include <string.h>

int error_set(struct error *error, int code, const char *format, ...)
{
	va_list arguments;

	if (error) {
		va_start(arguments, format);
		vsnprintf(error->text, sizeof(error->text), format, arguments);
		va_end(arguments);
	}
	return -code;
}

int error_prefix(struct error *error, int code, const char *format, ...)
{
	va_list arguments;
	char before[sizeof(error->text)];
	size_t length;

	if (!error)
		return -code;
	snprintf(before, sizeof(before), "%s", error->text);
	va_start(arguments, format);
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	length = strlen(error->text);
	snprintf(error->text + length, sizeof(error->text) - length, ": %s", before);
	return -code;
}

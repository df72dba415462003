/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lib/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *program_name = "selvage";
static enum log_level log_threshold = LOG_LEVEL_INFO;

void log_init(const char *program, enum log_level level)
{
	program_name = program;
	log_threshold = level;
}

void log_write(enum log_level level, const char *format, ...)
{
	va_list arguments;
	char line[1024];

	if (level > log_threshold)
		return;
	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (getenv("JOURNAL_STREAM"))
		fprintf(stderr, "<%d>%s: %s\n", level, program_name, line);
	else
		fprintf(stderr, "%s: %s\n", program_name, line);
}

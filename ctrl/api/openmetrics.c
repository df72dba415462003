/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/api/openmetrics.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <stdarg.h>

static void escaped_add(struct evbuffer *text, const char *value)
{
	for (; *value; value++) {
		if (*value == '\n')
			evbuffer_add(text, "\\n", 2);
		else if (*value == '"' || *value == '\\')
			evbuffer_add_printf(text, "\\%c", *value);
		else
			evbuffer_add(text, value, 1);
	}
}

void openmetrics_family(struct evbuffer *text, const char *name, const char *type, const char *help)
{
	evbuffer_add_printf(text, "# HELP %s ", name);
	escaped_add(text, help);
	evbuffer_add_printf(text, "\n# TYPE %s %s\n", name, type);
}

static void labels_add(struct evbuffer *text, const char *name, va_list labels)
{
	const char *label, *separator = "{";

	evbuffer_add_printf(text, "%s", name);
	while ((label = va_arg(labels, const char *))) {
		evbuffer_add_printf(text, "%s%s=\"", separator, label);
		escaped_add(text, va_arg(labels, const char *));
		evbuffer_add(text, "\"", 1);
		separator = ",";
	}
	evbuffer_add_printf(text, *separator == ',' ? "} " : " ");
}

void openmetrics_sample(struct evbuffer *text, const char *name, double value, ...)
{
	va_list labels;

	va_start(labels, value);
	labels_add(text, name, labels);
	va_end(labels);
	evbuffer_add_printf(text, "%.17g\n", value);
}

void openmetrics_sample_count(struct evbuffer *text, const char *name, uint64_t value, ...)
{
	va_list labels;

	va_start(labels, value);
	labels_add(text, name, labels);
	va_end(labels);
	evbuffer_add_printf(text, "%" PRIu64 "\n", value);
}

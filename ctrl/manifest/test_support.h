/* SPDX-License-Identifier: Apache-2.0 */
/* For the unit tests of this folder: manifests as string literals. Included by tests only. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ctrl/manifest/manifest.h"

/* What loading a text gave. */
struct loaded {
	int status;
	struct object_list objects;
	struct diagnostics diagnostics;
};

static inline void loaded_done(struct loaded *loaded)
{
	object_list_done(&loaded->objects);
	diagnostics_done(&loaded->diagnostics);
}

static inline struct loaded load(const char *text)
{
	struct loaded loaded = {0};

	diagnostics_init(&loaded.diagnostics);
	loaded.status = manifest_load(text, strlen(text), "t.yaml", &loaded.objects, &loaded.diagnostics);
	return loaded;
}

/* Whether a diagnostic is exactly this line. */
static inline bool loaded_says(const struct loaded *loaded, const char *line)
{
	for (size_t i = 0; i < loaded->diagnostics.count; i++) {
		_cleanup_(freep) char *text = diagnostic_format(&loaded->diagnostics.items[i]);

		if (strcmp(text, line) == 0)
			return true;
	}
	return false;
}

static inline void loaded_print(const struct loaded *loaded)
{
	for (size_t i = 0; i < loaded->diagnostics.count; i++) {
		_cleanup_(freep) char *text = diagnostic_format(&loaded->diagnostics.items[i]);

		print_error("  %s\n", text);
	}
}

/* The text is refused, and this line says why. */
static inline void assert_refused(const char *text, const char *line)
{
	_cleanup_(loaded_done) struct loaded loaded = load(text);

	if (loaded.status != -EINVAL || loaded.objects.count || !loaded.diagnostics.error_count ||
	    !loaded_says(&loaded, line)) {
		print_error("status %d, %zu objects; wanted: %s\n", loaded.status, loaded.objects.count, line);
		loaded_print(&loaded);
		fail();
	}
}

/* The text is taken, and nothing was said. */
static inline struct loaded load_clean(const char *text)
{
	struct loaded loaded = load(text);

	if (loaded.status || loaded.diagnostics.count) {
		loaded_print(&loaded);
		fail();
	}
	return loaded;
}

static inline const char *address_show(const struct address *address)
{
	static char texts[4][ADDRESS_TEXT_SIZE];
	static unsigned int next;

	return address_format(address, texts[next++ % 4]);
}

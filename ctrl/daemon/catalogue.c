/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/daemon/catalogue.h"

#include <string.h>

#include "base/lib/log.h"
#include "base/lib/memory.h"
#include "ctrl/api/registry.h"

struct entry {
	char *key;
	struct object *object; /* of keys under REGISTRY_PREFIX */
	char *text;            /* of others */
};

struct catalogue {
	struct store *store;
	struct store_watch *watch;
	catalogue_changed changed;
	void *context;
	struct entry *entries; /* sorted by key */
	size_t count, capacity;
	const struct object **objects; /* of the entries, rebuilt after a change */
	size_t object_count;
	struct object **retired; /* replaced, perhaps still borrowed */
	size_t retired_count, retired_capacity;
	uint64_t revision;
	bool ready;
};

static void *grow(void *items, size_t count, size_t *capacity, size_t size)
{
	if (count < *capacity)
		return items;
	*capacity = *capacity ? 2 * *capacity : 64;
	return memory_array(items, *capacity, size);
}

/* The place of a key, or where it belongs. */
static size_t entry_place(const struct catalogue *catalogue, const char *key, bool *ret_found)
{
	size_t low = 0, high = catalogue->count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(catalogue->entries[middle].key, key);

		if (order == 0) {
			*ret_found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_found = false;
	return low;
}

static void entry_clear(struct catalogue *catalogue, struct entry *entry)
{
	if (entry->object) {
		catalogue->retired = grow(catalogue->retired, catalogue->retired_count, &catalogue->retired_capacity,
					  sizeof(*catalogue->retired));
		catalogue->retired[catalogue->retired_count++] = entry->object;
	}
	free(entry->text);
	entry->object = NULL;
	entry->text = NULL;
}

static void entry_remove(struct catalogue *catalogue, const char *key)
{
	bool found;
	size_t place = entry_place(catalogue, key, &found);

	if (!found)
		return;
	entry_clear(catalogue, &catalogue->entries[place]);
	free(catalogue->entries[place].key);
	memmove(&catalogue->entries[place], &catalogue->entries[place + 1],
		(catalogue->count - place - 1) * sizeof(*catalogue->entries));
	catalogue->count--;
}

/* The object of a record; NULL, and a line in the log, when it is damaged. */
static struct object *object_read(const struct store_record *record)
{
	struct diagnostics diagnostics;
	struct object *object = NULL;
	struct error error = {0};

	diagnostics_init(&diagnostics);
	if (registry_record_object(record, &object, &diagnostics) < 0) {
		diagnostics_error(&diagnostics, &error);
		log_error("the object at %s in the store cannot be used: %s", record->key, error.text);
	}
	diagnostics_done(&diagnostics);
	return object;
}

static void entry_put(struct catalogue *catalogue, const struct store_record *record)
{
	struct entry *entry;
	bool found;
	size_t place = entry_place(catalogue, record->key, &found);

	if (!found) {
		catalogue->entries = grow(catalogue->entries, catalogue->count, &catalogue->capacity,
					  sizeof(*catalogue->entries));
		memmove(&catalogue->entries[place + 1], &catalogue->entries[place],
			(catalogue->count - place) * sizeof(*catalogue->entries));
		catalogue->entries[place] = (struct entry){.key = strdup(record->key)};
		catalogue->count++;
	}
	entry = &catalogue->entries[place];
	entry_clear(catalogue, entry);
	if (strncmp(record->key, REGISTRY_PREFIX, strlen(REGISTRY_PREFIX)) == 0)
		entry->object = object_read(record);
	else
		entry->text = strndup(record->value.data, record->value.length);
}

/* Sessions are many, change often, and are no matter of reconcile: ctrl/daemon/sessions.c follows them by itself. */
static bool is_ours(const char *key)
{
	return strncmp(key, CATALOGUE_NOT_SESSIONS, strlen(CATALOGUE_NOT_SESSIONS)) != 0;
}

static void objects_collect(struct catalogue *catalogue)
{
	catalogue->objects = memory_array(catalogue->objects, catalogue->count, sizeof(*catalogue->objects));
	catalogue->object_count = 0;
	for (size_t i = 0; i < catalogue->count; i++) {
		if (catalogue->entries[i].object)
			catalogue->objects[catalogue->object_count++] = catalogue->entries[i].object;
	}
}

static void catalogue_list(struct catalogue *catalogue);

static void watch_events(void *context, const struct store_event *events, size_t event_count, uint64_t revision)
{
	struct catalogue *catalogue = context;
	bool any = false;

	for (size_t i = 0; i < event_count; i++) {
		if (!is_ours(events[i].record.key))
			continue;
		any = true;
		if (events[i].kind == STORE_EVENT_PUT)
			entry_put(catalogue, &events[i].record);
		else
			entry_remove(catalogue, events[i].record.key);
	}
	catalogue->revision = revision;
	if (!any)
		return;
	objects_collect(catalogue);
	catalogue->changed(catalogue->context);
}

static void watch_failed(void *context, int status, const struct error *error)
{
	struct catalogue *catalogue = context;

	if (status != -ESTALE)
		log_warning("following the store: %s; reading it anew", error->text);
	store_watch_free(catalogue->watch);
	catalogue->watch = NULL;
	catalogue_list(catalogue);
}

static const struct store_watch_handler watch_handler = {.events = watch_events, .failed = watch_failed};

static void list_done(void *context, int status, const struct store_result *result, const struct error *error)
{
	struct catalogue *catalogue = context;

	if (status == -ECANCELED)
		return;
	if (status < 0) {
		log_error("reading the store: %s", error->text);
		return;
	}
	for (size_t i = 0; i < catalogue->count; i++) {
		entry_clear(catalogue, &catalogue->entries[i]);
		free(catalogue->entries[i].key);
	}
	catalogue->count = 0;
	for (size_t i = 0; i < result->steps[0].record_count; i++) {
		if (is_ours(result->steps[0].records[i].key))
			entry_put(catalogue, &result->steps[0].records[i]);
	}
	catalogue->revision = result->revision;
	catalogue->watch = store_watch_new(catalogue->store, "/", result->revision + 1, &watch_handler, catalogue);
	catalogue->ready = true;
	objects_collect(catalogue);
	catalogue->changed(catalogue->context);
}

static void catalogue_list(struct catalogue *catalogue)
{
	store_list(catalogue->store, "/", list_done, catalogue);
}

struct catalogue *catalogue_new(struct store *store, catalogue_changed changed, void *context)
{
	struct catalogue *catalogue = memory_or_end(calloc(1, sizeof(*catalogue)));

	*catalogue = (struct catalogue){.store = store, .changed = changed, .context = context};
	catalogue_list(catalogue);
	return catalogue;
}

void catalogue_free(struct catalogue *catalogue)
{
	if (!catalogue)
		return;
	store_watch_free(catalogue->watch);
	for (size_t i = 0; i < catalogue->count; i++) {
		entry_clear(catalogue, &catalogue->entries[i]);
		free(catalogue->entries[i].key);
	}
	catalogue_release(catalogue);
	free(catalogue->entries);
	free(catalogue->objects);
	free(catalogue->retired);
	free(catalogue);
}

bool catalogue_ready(const struct catalogue *catalogue)
{
	return catalogue->ready;
}

uint64_t catalogue_revision(const struct catalogue *catalogue)
{
	return catalogue->revision;
}

const struct object *const *catalogue_objects(const struct catalogue *catalogue, size_t *ret_count)
{
	*ret_count = catalogue->object_count;
	return catalogue->objects;
}

void catalogue_each(const struct catalogue *catalogue, const char *prefix,
		    void (*visit)(void *context, const char *name, const char *value), void *context)
{
	size_t length = strlen(prefix);

	for (size_t i = 0; i < catalogue->count; i++) {
		const struct entry *entry = &catalogue->entries[i];

		if (entry->text && strncmp(entry->key, prefix, length) == 0)
			visit(context, entry->key + length, entry->text);
	}
}

const char *catalogue_text(const struct catalogue *catalogue, const char *key)
{
	bool found;
	size_t place = entry_place(catalogue, key, &found);

	return found ? catalogue->entries[place].text : NULL;
}

void catalogue_release(struct catalogue *catalogue)
{
	for (size_t i = 0; i < catalogue->retired_count; i++)
		object_free(catalogue->retired[i]);
	catalogue->retired_count = 0;
}

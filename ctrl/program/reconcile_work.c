/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>

#include "ctrl/program/reconcile_work.h"

const char *work_text(struct reconcile_work *work, const char *format, ...)
{
	va_list arguments;
	char text[1024];

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return arena_copy(work->arena, text, strlen(text));
}

void work_alarm(struct reconcile_work *work, const char *subject, const char *format, ...)
{
	struct reconcile_alarm alarm = {.subject = work_text(work, "%s", subject)};
	va_list arguments;
	char text[1024];

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	alarm.text = arena_copy(work->arena, text, strlen(text));
	for (size_t i = 0; i < work->alarms.count; i++) {
		if (strcmp(work->alarms.items[i].subject, alarm.subject) == 0 &&
		    strcmp(work->alarms.items[i].text, alarm.text) == 0)
			return;
	}
	*list_push(work->arena, &work->alarms) = alarm;
}

static struct reconcile_tally_entry *tally_place(struct reconcile_tally *tally, const struct address *address,
						 uint32_t port_protocol)
{
	uint64_t hash = hash_finish(hash_word(hash_word(port_protocol, address->word[0]), address->word[1]));
	struct reconcile_tally_entry *entry;

	for (;; hash++) {
		entry = &tally->entries[hash & (tally->size - 1)];
		if (entry->count == 0 ||
		    (entry->port_protocol == port_protocol && address_equal(&entry->address, address)))
			return entry;
	}
}

static void tally_grow(struct reconcile_work *work, struct reconcile_tally *tally)
{
	struct reconcile_tally larger = {.used = tally->used, .size = tally->size ? 2 * tally->size : 64};

	larger.entries = arena_array(work->arena, larger.size, sizeof(*larger.entries));
	for (size_t i = 0; i < tally->size; i++) {
		const struct reconcile_tally_entry *entry = &tally->entries[i];

		if (entry->count)
			*tally_place(&larger, &entry->address, entry->port_protocol) = *entry;
	}
	*tally = larger;
}

uint32_t tally_add(struct reconcile_work *work, struct reconcile_tally *tally, const struct address *address,
		   uint16_t port, uint8_t protocol)
{
	uint32_t port_protocol = port | (uint32_t)protocol << 16;
	struct reconcile_tally_entry *entry;

	if (2 * (tally->used + 1) > tally->size)
		tally_grow(work, tally);
	entry = tally_place(tally, address, port_protocol);
	if (entry->count == 0) {
		entry->address = *address;
		entry->port_protocol = port_protocol;
		tally->used++;
	}
	return ++entry->count;
}

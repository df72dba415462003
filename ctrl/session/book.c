/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/session/book.h"

#include <string.h>
#include <sys/queue.h>

#include "base/lib/memory.h"
#include "base/packet/hash.h"

#define BUCKETS_MIN 256u

/* What others see comes first. */
struct book_entry {
	struct session_entry entry;
	uint64_t hash;
	struct book_entry *next; /* in its bucket */
	TAILQ_ENTRY(book_entry) all;
	TAILQ_ENTRY(book_entry) waiting;
	bool waits;
};

TAILQ_HEAD(book_entries, book_entry);

struct session_book {
	struct rtc_program *program;
	struct session_place *places;
	size_t place_count;
	struct book_entry **buckets;
	size_t bucket_count, count;
	struct book_entries all; /* the next to be asked for its expiry first */
	struct book_entries waiting;
	struct book_entry **of_row; /* RTC_SESSION_ROWS */
	size_t no_room; /* entries whose last try found the tables full */
	bool places_known;
};

static struct book_entry *entry_of(struct session_entry *entry)
{
	return (struct book_entry *)entry;
}

static uint64_t text_hash(const char *service, const char *ufrag)
{
	uint64_t hash = 0;

	for (; *service; service++)
		hash = hash_word(hash, (uint8_t)*service);
	hash = hash_word(hash, 256);
	for (; *ufrag; ufrag++)
		hash = hash_word(hash, (uint8_t)*ufrag);
	return hash_finish(hash);
}

struct session_book *session_book_new(struct rtc_program *program)
{
	struct session_book *book = memory_or_end(calloc(1, sizeof(*book)));

	book->program = program;
	book->bucket_count = BUCKETS_MIN;
	book->buckets = memory_or_end(calloc(book->bucket_count, sizeof(struct book_entry *)));
	book->of_row = memory_or_end(calloc(RTC_SESSION_ROWS, sizeof(struct book_entry *)));
	TAILQ_INIT(&book->all);
	TAILQ_INIT(&book->waiting);
	return book;
}

static void places_free(struct session_book *book)
{
	for (size_t i = 0; i < book->place_count; i++) {
		free((char *)book->places[i].service);
		free((struct session_place_agent *)book->places[i].agents);
	}
	free(book->places);
}

static void entry_free(struct book_entry *entry)
{
	session_record_done(&entry->entry.record);
	free(entry);
}

void session_book_free(struct session_book *book)
{
	if (!book)
		return;
	while (!TAILQ_EMPTY(&book->all)) {
		struct book_entry *entry = TAILQ_FIRST(&book->all);

		TAILQ_REMOVE(&book->all, entry, all);
		entry_free(entry);
	}
	places_free(book);
	free(book->buckets);
	free(book->of_row);
	free(book);
}

/* --- the hash table ---------------------------------------------------------------------------------------------------- */

static void buckets_grow(struct session_book *book)
{
	size_t count = 2 * book->bucket_count;
	struct book_entry **buckets, *entry;

	if (book->count < book->bucket_count)
		return;
	buckets = memory_or_end(calloc(count, sizeof(struct book_entry *)));
	TAILQ_FOREACH(entry, &book->all, all) {
		entry->next = buckets[entry->hash & (count - 1)];
		buckets[entry->hash & (count - 1)] = entry;
	}
	free(book->buckets);
	book->buckets = buckets;
	book->bucket_count = count;
}

struct session_entry *session_book_find(const struct session_book *book, const char *service, const char *ufrag)
{
	uint64_t hash = text_hash(service, ufrag);

	for (struct book_entry *entry = book->buckets[hash & (book->bucket_count - 1)]; entry; entry = entry->next)
		if (entry->hash == hash && strcmp(entry->entry.record.ufrag, ufrag) == 0 &&
		    strcmp(entry->entry.record.service, service) == 0)
			return &entry->entry;
	return NULL;
}

struct session_entry *session_book_of_row(const struct session_book *book, uint32_t row)
{
	struct book_entry *entry = book->of_row[row & (RTC_SESSION_ROWS - 1)];

	return entry ? &entry->entry : NULL;
}

const struct session_place *session_book_places(const struct session_book *book, size_t *ret_count)
{
	*ret_count = book->place_count;
	return book->places;
}

size_t session_book_count(const struct session_book *book)
{
	return book->count;
}

struct session_entry *session_book_next(const struct session_book *book, const struct session_entry *entry)
{
	struct book_entry *next = entry ? TAILQ_NEXT((const struct book_entry *)entry, all) : TAILQ_FIRST(&book->all);

	return next ? &next->entry : NULL;
}

/* --- waiting ----------------------------------------------------------------------------------------------------------- */

static void wait_begin(struct session_book *book, struct book_entry *entry)
{
	if (entry->waits)
		return;
	entry->waits = true;
	TAILQ_INSERT_TAIL(&book->waiting, entry, waiting);
}

static void wait_end(struct session_book *book, struct book_entry *entry)
{
	if (!entry->waits)
		return;
	entry->waits = false;
	TAILQ_REMOVE(&book->waiting, entry, waiting);
}

static bool places_equal(const struct session_book *book, const struct session_place *places, size_t count)
{
	if (!book->places_known || book->place_count != count)
		return false;
	for (size_t i = 0; i < count; i++) {
		const struct session_place *a = &book->places[i], *b = &places[i];

		if (a->row != b->row || a->agent_count != b->agent_count || strcmp(a->service, b->service) != 0 ||
		    (a->agent_count && memcmp(a->agents, b->agents, a->agent_count * sizeof(*a->agents)) != 0))
			return false;
	}
	return true;
}

void session_book_places_set(struct session_book *book, const struct session_place *places, size_t count)
{
	struct book_entry *entry;

	if (places_equal(book, places, count))
		return;
	places_free(book);
	book->places = memory_array(NULL, count, sizeof(*places));
	book->place_count = count;
	for (size_t i = 0; i < count; i++) {
		struct session_place_agent *agents = memory_array(NULL, places[i].agent_count, sizeof(*agents));

		if (places[i].agent_count)
			memcpy(agents, places[i].agents, places[i].agent_count * sizeof(*agents));
		book->places[i] = places[i];
		book->places[i].service = memory_or_end(strdup(places[i].service));
		book->places[i].agents = agents;
	}
	book->places_known = true;
	TAILQ_FOREACH(entry, &book->all, all)
		wait_begin(book, entry);
}

/* --- rows -------------------------------------------------------------------------------------------------------------- */

static void row_forget(struct session_book *book, struct book_entry *entry, uint32_t row)
{
	size_t kept = 0;

	for (size_t i = 0; i < entry->entry.row_count; i++)
		if (entry->entry.rows[i] != row)
			entry->entry.rows[kept++] = entry->entry.rows[i];
	entry->entry.row_count = kept;
	if (book->of_row[row] == entry)
		book->of_row[row] = NULL;
}

static void row_note(struct session_book *book, struct book_entry *entry, uint32_t row)
{
	struct book_entry *before = book->of_row[row];

	if (before == entry)
		return;
	if (entry->entry.row_count == SESSION_ROWS_MAX)
		return;
	/* an ICE restart: the session has another fragment now, and the one before leads to it as long as it is registered */
	if (!before || (entry->entry.record.restarts && strcmp(entry->entry.record.restarts, before->entry.record.ufrag) == 0))
		book->of_row[row] = entry;
	entry->entry.rows[entry->entry.row_count++] = row;
}

void session_book_row_ended(struct session_book *book, uint32_t row)
{
	struct session_entry *session = session_book_of_row(book, row);

	/* the fragment that leads to it, and those that did before an ICE restart */
	for (unsigned int i = 0; session && i < SESSION_ROWS_MAX; i++) {
		row_forget(book, entry_of(session), row);
		wait_begin(book, entry_of(session));
		session = session->record.restarts ? session_book_find(book, session->record.service, session->record.restarts) : NULL;
	}
}

static const struct session_place_agent *place_agent(const struct session_place *place, const struct session_agent *wanted)
{
	for (size_t i = 0; i < place->agent_count; i++) {
		const struct session_place_agent *agent = &place->agents[i];

		if (address_equal(&agent->address, &wanted->address) && (agent->port == 0 || agent->port == wanted->port))
			return agent;
	}
	return NULL;
}

/* What its packets are verified with. */
static int keys_apply(struct session_book *book, const struct session_record *record, uint32_t row)
{
	int status = rtc_program_password(book->program, row, record->ufrag, record->password);

	return status < 0 ? status : rtc_program_srtp(book->program, row, record->ufrag, record->srtp.profile ? &record->srtp : NULL);
}

/* At one place, for the agent that is a backend there. */
static int apply_at(struct session_book *book, struct book_entry *entry, const struct session_place *place,
		    const struct session_agent *wanted, const struct session_place_agent *agent, uint32_t now_ms, struct error *error)
{
	const struct session_record *record = &entry->entry.record;
	uint32_t row = 0, old;
	int status;

	if (record->restarts && !rtc_program_find(book->program, place->row, record->ufrag)) {
		old = rtc_program_find(book->program, place->row, record->restarts);
		if (old) {
			status = rtc_program_restart(book->program, old, record->ufrag, error);
			if (status == 0)
				row_note(book, entry, old);
			return status < 0 ? status : keys_apply(book, record, old);
		}
	}
	status = rtc_program_add(book->program, place->row, record->ufrag, agent->row, agent->port ? 0 : wanted->port, now_ms, &row,
				 error);
	if (status == 0)
		row_note(book, entry, row);
	return status < 0 ? status : keys_apply(book, record, row);
}

int session_book_apply(struct session_book *book, struct session_entry *session, uint32_t now_ms, struct error *error)
{
	struct book_entry *entry = entry_of(session);
	int status = -ENOENT;

	wait_end(book, entry);
	error_set(error, ENOENT, "no agent of the session is a backend of %s", session->record.service);
	for (size_t p = 0; p < book->place_count; p++) {
		const struct session_place *place = &book->places[p];

		if (strcmp(place->service, session->record.service) != 0)
			continue;
		for (size_t a = 0; a < session->record.agent_count; a++) {
			const struct session_place_agent *agent = place_agent(place, &session->record.agents[a]);
			int added = agent ? apply_at(book, entry, place, &session->record.agents[a], agent, now_ms, error) : -ENOENT;

			if (agent && status != -ENOSPC)
				status = added;
		}
	}
	session->no_agent = status == -ENOENT;
	book->no_room -= session->no_room;
	session->no_room = status == -ENOSPC;
	book->no_room += session->no_room;
	return status;
}

void session_book_retry(struct session_book *book)
{
	struct book_entry *entry;

	if (!book->no_room)
		return;
	TAILQ_FOREACH(entry, &book->all, all)
		if (entry->entry.no_room)
			wait_begin(book, entry);
}

static void entry_unregister(struct session_book *book, struct book_entry *entry)
{
	while (entry->entry.row_count)
		row_forget(book, entry, entry->entry.rows[0]);
}

/* But for those that go on with another fragment. */
static void entry_end(struct session_book *book, struct book_entry *entry, uint32_t now_ms)
{
	while (entry->entry.row_count) {
		uint32_t row = entry->entry.rows[0];
		bool own = book->of_row[row] == entry;

		row_forget(book, entry, row);
		if (own)
			rtc_program_end(book->program, row, now_ms);
	}
}

static void entry_remove(struct session_book *book, struct book_entry *entry)
{
	struct book_entry **place = &book->buckets[entry->hash & (book->bucket_count - 1)];

	while (*place != entry)
		place = &(*place)->next;
	*place = entry->next;
	wait_end(book, entry);
	TAILQ_REMOVE(&book->all, entry, all);
	book->no_room -= entry->entry.no_room;
	book->count--;
	entry_free(entry);
}

/* --- what is registered ------------------------------------------------------------------------------------------------ */

static bool agents_equal(const struct session_record *a, const struct session_record *b)
{
	if (a->agent_count != b->agent_count)
		return false;
	for (size_t i = 0; i < a->agent_count; i++)
		if (a->agents[i].port != b->agents[i].port || !address_equal(&a->agents[i].address, &b->agents[i].address))
			return false;
	return true;
}

static bool keys_equal(const struct session_record *a, const struct session_record *b)
{
	return strcmp(a->password ? a->password : "", b->password ? b->password : "") == 0 && memcmp(&a->srtp, &b->srtp, sizeof(a->srtp)) == 0;
}

struct session_entry *session_book_put(struct session_book *book, struct session_record *record)
{
	struct session_entry *present = session_book_find(book, record->service, record->ufrag);
	struct book_entry *entry = present ? entry_of(present) : NULL;

	if (entry && agents_equal(&present->record, record)) {
		if (!keys_equal(&present->record, record))
			wait_begin(book, entry);
		session_record_done(&present->record);
		present->record = *record;
		*record = (struct session_record){0};
		return present;
	}
	if (entry) {
		/* for another agent: rtc_program_add() ends the session that there is */
		entry_unregister(book, entry);
		session_record_done(&entry->entry.record);
	} else {
		entry = memory_or_end(calloc(1, sizeof(*entry)));
		entry->hash = text_hash(record->service, record->ufrag);
		buckets_grow(book);
		entry->next = book->buckets[entry->hash & (book->bucket_count - 1)];
		book->buckets[entry->hash & (book->bucket_count - 1)] = entry;
		TAILQ_INSERT_TAIL(&book->all, entry, all);
		book->count++;
	}
	entry->entry.record = *record;
	*record = (struct session_record){0};
	wait_begin(book, entry);
	return &entry->entry;
}

bool session_book_remove(struct session_book *book, const char *service, const char *ufrag, uint32_t now_ms)
{
	struct session_entry *session = session_book_find(book, service, ufrag);

	if (!session)
		return false;
	entry_end(book, entry_of(session), now_ms);
	entry_remove(book, entry_of(session));
	return true;
}

bool session_book_step(struct session_book *book, uint32_t now_ms, size_t budget)
{
	struct error error;

	if (!book->places_known)
		return false;
	while (budget-- && !TAILQ_EMPTY(&book->waiting)) {
		/* what is wrong with it is kept in the entry, and shown */
		(void)!session_book_apply(book, &TAILQ_FIRST(&book->waiting)->entry, now_ms, &error);
	}
	return !TAILQ_EMPTY(&book->waiting);
}

bool session_book_settled(const struct session_book *book)
{
	return book->places_known && TAILQ_EMPTY(&book->waiting);
}

void session_book_expire(struct session_book *book, uint64_t now_unix_ms, size_t budget,
			 void (*expired)(void *context, const struct session_record *record), void *context)
{
	if (budget > book->count)
		budget = book->count;
	while (budget--) {
		struct book_entry *entry = TAILQ_FIRST(&book->all);

		TAILQ_REMOVE(&book->all, entry, all);
		TAILQ_INSERT_TAIL(&book->all, entry, all);
		if (entry->entry.record.expires_ms == 0 || entry->entry.record.expires_ms > now_unix_ms)
			continue;
		expired(context, &entry->entry.record);
		entry_unregister(book, entry); /* one that waits is nobody's now, and ends as such */
		entry_remove(book, entry);
	}
}

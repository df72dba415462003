/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/answers_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "base/lib/bytes.h"
#include "base/lib/memory.h"

#define FILE_MAGIC "SLVGDNS1"
#define FILE_BYTES_MAX (1ull << 31)
#define RECORD_HEAD 36 /* bytes before the name */

struct entry {
	struct answer answer; /* first */
	uint64_t hash;
	struct entry *next;
	TAILQ_ENTRY(entry) used;
	size_t bytes;
};

TAILQ_HEAD(entries, entry);

struct answers {
	struct entry **buckets;
	size_t bucket_count;
	struct entries used; /* most recently first */
	uint64_t bytes_max;
	struct answers_statistics statistics;
};

struct answers *answers_new(uint64_t bytes_max)
{
	struct answers *answers = memory_or_end(calloc(1, sizeof(*answers)));

	answers->bucket_count = 1024;
	answers->buckets = memory_or_end(calloc(answers->bucket_count, sizeof(*answers->buckets)));
	answers->bytes_max = bytes_max;
	TAILQ_INIT(&answers->used);
	return answers;
}

static uint64_t key_hash(const struct answer_key *key)
{
	return dns_name_hash(&key->name, (uint64_t)key->type << 1 | key->checking_disabled);
}

static bool key_equal(const struct answer_key *a, const struct answer_key *b)
{
	return a->type == b->type && a->checking_disabled == b->checking_disabled && dns_name_equal(&a->name, &b->name);
}

static struct entry **entry_place(struct answers *answers, const struct answer_key *key)
{
	uint64_t hash = key_hash(key);
	struct entry **at = &answers->buckets[hash & (answers->bucket_count - 1)];

	while (*at && ((*at)->hash != hash || !key_equal(&(*at)->answer.key, key)))
		at = &(*at)->next;
	return at;
}

static void entry_remove(struct answers *answers, struct entry **at)
{
	struct entry *entry = *at;

	*at = entry->next;
	TAILQ_REMOVE(&answers->used, entry, used);
	answers->statistics.count--;
	answers->statistics.bytes -= entry->bytes;
	free(entry->answer.plain);
	free(entry->answer.dnssec);
	free(entry);
}

void answers_free(struct answers *answers)
{
	if (!answers)
		return;
	while (!TAILQ_EMPTY(&answers->used))
		entry_remove(answers, entry_place(answers, &TAILQ_FIRST(&answers->used)->answer.key));
	free(answers->buckets);
	free(answers);
}

struct answer *answers_find(struct answers *answers, const struct answer_key *key, uint64_t now_ms)
{
	struct entry **at = entry_place(answers, key), *entry = *at;

	if (!entry)
		return NULL;
	if (now_ms >= entry->answer.expires_ms && now_ms >= entry->answer.stale_until_ms) {
		entry_remove(answers, at);
		return NULL;
	}
	TAILQ_REMOVE(&answers->used, entry, used);
	TAILQ_INSERT_HEAD(&answers->used, entry, used);
	return &entry->answer;
}

static void buckets_grow(struct answers *answers)
{
	size_t count = 2 * answers->bucket_count;
	struct entry **buckets = memory_or_end(calloc(count, sizeof(*buckets)));
	struct entry *entry;

	TAILQ_FOREACH(entry, &answers->used, used) {
		entry->next = buckets[entry->hash & (count - 1)];
		buckets[entry->hash & (count - 1)] = entry;
	}
	free(answers->buckets);
	answers->buckets = buckets;
	answers->bucket_count = count;
}

static uint8_t *bytes_copy(const uint8_t *bytes, size_t length)
{
	uint8_t *copy;

	if (!bytes)
		return NULL;
	copy = memory_or_end(malloc(length + 1));
	memcpy(copy, bytes, length);
	return copy;
}

struct answer *answers_put(struct answers *answers, const struct answer *answer)
{
	struct entry *entry = memory_or_end(calloc(1, sizeof(*entry))), **at;

	entry->answer = *answer;
	entry->answer.plain = bytes_copy(answer->plain, answer->plain_length);
	entry->answer.dnssec = bytes_copy(answer->dnssec, answer->dnssec_length);
	entry->hash = key_hash(&answer->key);
	entry->bytes = sizeof(*entry) + answer->plain_length + (answer->dnssec ? answer->dnssec_length : 0) + 48;
	at = entry_place(answers, &answer->key);
	if (*at)
		entry_remove(answers, at);
	if (answers->statistics.count >= answers->bucket_count)
		buckets_grow(answers);
	at = entry_place(answers, &answer->key);
	*at = entry;
	TAILQ_INSERT_HEAD(&answers->used, entry, used);
	answers->statistics.count++;
	answers->statistics.bytes += entry->bytes;
	while (answers->statistics.bytes > answers->bytes_max && TAILQ_LAST(&answers->used, entries) != entry) {
		entry_remove(answers, entry_place(answers, &TAILQ_LAST(&answers->used, entries)->answer.key));
		answers->statistics.evicted++;
	}
	return &entry->answer;
}

bool answers_remove(struct answers *answers, const struct answer_key *key)
{
	struct entry **at = entry_place(answers, key);

	if (!*at)
		return false;
	entry_remove(answers, at);
	return true;
}

size_t answers_remove_where(struct answers *answers, answers_filter *filter, void *context)
{
	struct entry *entry = TAILQ_FIRST(&answers->used);
	size_t count = 0;

	while (entry) {
		struct entry *next = TAILQ_NEXT(entry, used);

		if (filter(&entry->answer.key.name, context)) {
			entry_remove(answers, entry_place(answers, &entry->answer.key));
			count++;
		}
		entry = next;
	}
	return count;
}

static bool name_is_below(const struct dns_name *name, void *context)
{
	return dns_name_within(name, context);
}

size_t answers_flush(struct answers *answers, const struct dns_name *below)
{
	return answers_remove_where(answers, name_is_below, (void *)below);
}

void answers_each(const struct answers *answers, answers_visitor *visitor, void *context)
{
	struct entry *entry;

	TAILQ_FOREACH(entry, &answers->used, used) {
		if (!visitor(&entry->answer, context))
			return;
	}
}

size_t answers_each_part(const struct answers *answers, size_t from, answers_visitor *visitor, void *context)
{
	bool more = true;

	/* the entries of a bucket stay together, or go on to one behind it when there are more buckets */
	for (; more && from < answers->bucket_count; from++) {
		for (const struct entry *entry = answers->buckets[from]; entry; entry = entry->next)
			more &= visitor(&entry->answer, context);
	}
	return from < answers->bucket_count ? from : 0;
}

struct answers_statistics answers_measure(const struct answers *answers)
{
	return answers->statistics;
}

/* --- over a restart --------------------------------------------------------------------------------------------------------- */

/*
 * After FILE_MAGIC, records, least recently used first; numbers in network order:
 *
 *     0       4        12       20     24     26      28      30         32           34      35     36
 *     [ sum 4 | ends 8 | stale 8 | ttl 4 | type 2 | rcode 2 | EDE 2 | plain's 2 | DNSSEC's 2 | flags 1 | name's 1 ]
 *     name, plain message, message with DNSSEC
 *
 * `ends` and `stale` are CLOCK_REALTIME in milliseconds; the sum is over all that follows it.
 */
#define RECORD_SECURE 1
#define RECORD_CD 2

static uint32_t record_sum(const uint8_t *bytes, size_t length)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3ull;
	return (uint32_t)(hash ^ hash >> 32);
}

static void put64(uint8_t *at, uint64_t value)
{
	bytes_put32(at, (uint32_t)(value >> 32));
	bytes_put32(at + 4, (uint32_t)value);
}

static uint64_t get64(const uint8_t *at)
{
	return (uint64_t)bytes_get32(at) << 32 | bytes_get32(at + 4);
}

static bool record_write(FILE *file, const struct answer *answer, uint64_t now_ms, uint64_t wall_ms)
{
	size_t dnssec = answer->dnssec ? answer->dnssec_length : 0;
	size_t length = RECORD_HEAD + answer->key.name.length + answer->plain_length + dnssec;
	_cleanup_(freep) uint8_t *bytes = memory_or_end(malloc(length));
	uint8_t *at = bytes + RECORD_HEAD;

	put64(bytes + 4, wall_ms - now_ms + answer->expires_ms);
	put64(bytes + 12, wall_ms - now_ms + answer->stale_until_ms);
	bytes_put32(bytes + 20, answer->ttl);
	bytes_put16(bytes + 24, answer->key.type);
	bytes_put16(bytes + 26, answer->rcode);
	bytes_put16(bytes + 28, (uint16_t)answer->ede);
	bytes_put16(bytes + 30, answer->plain_length);
	bytes_put16(bytes + 32, (uint16_t)dnssec);
	bytes[34] = (uint8_t)((answer->secure ? RECORD_SECURE : 0) | (answer->key.checking_disabled ? RECORD_CD : 0));
	bytes[35] = answer->key.name.length;
	memcpy(at, answer->key.name.bytes, answer->key.name.length);
	at += answer->key.name.length;
	memcpy(at, answer->plain, answer->plain_length);
	if (dnssec)
		memcpy(at + answer->plain_length, answer->dnssec, dnssec);
	bytes_put32(bytes, record_sum(bytes + 4, length - 4));
	return fwrite(bytes, length, 1, file) == 1;
}

int answers_save(const struct answers *answers, const char *path, uint64_t now_ms, uint64_t wall_ms, size_t *ret_count,
		 struct error *error)
{
	_cleanup_(freep) char *fresh = NULL;
	_cleanup_(fclosep) FILE *file = NULL;
	/* then the file must be on disk before what is noted beside it goes */
	bool flushed = flushed_is_there(path), written;
	struct entry *entry;
	size_t count = 0;

	if (asprintf(&fresh, "%s.new", path) < 0)
		abort();
	file = fopen(fresh, "we");
	if (!file)
		return error_set(error, errno, "writing %s: %s", fresh, strerror(errno));
	written = fchmod(fileno(file), 0600) == 0 && fwrite(FILE_MAGIC, 8, 1, file) == 1;
	TAILQ_FOREACH_REVERSE(entry, &answers->used, entries, used) {
		/* a failure is no knowledge */
		if (!written || entry->answer.rcode == DNS_SERVFAIL)
			continue;
		written = record_write(file, &entry->answer, now_ms, wall_ms);
		count++;
	}
	if (!written || fflush(file) != 0 || (flushed && fsync(fileno(file)) < 0) || rename(fresh, path) < 0) {
		int code = errno;

		unlink(fresh);
		return error_set(error, code, "writing %s: %s", path, strerror(code));
	}
	if (flushed && directory_sync(path) == 0)
		flushed_forget(path);
	*ret_count = count;
	return 0;
}

/* Whether a message answers the key's question. */
static bool message_answers(const uint8_t *message, size_t length, const struct answer_key *key)
{
	size_t offset = DNS_HEADER_SIZE;
	struct dns_name name;

	if (!dns_message_valid(message, length) || dns_name_read(message, length, &offset, &name) < 0)
		return false;
	dns_name_lower(&name);
	return dns_name_equal(&name, &key->name) && bytes_get16(message + offset) == key->type;
}

/* The length of the record at `at`, 0 when it is damaged beyond telling where the next one begins. */
static size_t record_read(struct answers *answers, const uint8_t *at, size_t left, uint64_t now_ms, uint64_t wall_ms, size_t *count)
{
	struct answer answer = {0};
	size_t length, offset = 0, dnssec;
	const uint8_t *message;
	uint64_t ends_ms, stale_ms;

	if (left < RECORD_HEAD)
		return 0;
	dnssec = bytes_get16(at + 32);
	length = RECORD_HEAD + (size_t)at[35] + bytes_get16(at + 30) + dnssec;
	if (left < length || bytes_get32(at) != record_sum(at + 4, length - 4))
		return 0;
	if (dns_name_read(at + RECORD_HEAD, at[35], &offset, &answer.key.name) < 0 || offset != at[35])
		return length;
	dns_name_lower(&answer.key.name);
	message = at + RECORD_HEAD + at[35];
	answer.key.type = bytes_get16(at + 24);
	answer.key.checking_disabled = at[34] & RECORD_CD;
	answer.secure = at[34] & RECORD_SECURE;
	answer.rcode = bytes_get16(at + 26);
	answer.ede = (int16_t)bytes_get16(at + 28);
	answer.ttl = bytes_get32(at + 20);
	answer.plain_length = bytes_get16(at + 30);
	answer.plain = (uint8_t *)message;
	answer.dnssec = dnssec ? (uint8_t *)message + answer.plain_length : NULL;
	answer.dnssec_length = (uint16_t)dnssec;
	ends_ms = get64(at + 4);
	stale_ms = get64(at + 12);
	/* a clock that was set back must not make an answer last longer than it was given */
	if (ends_ms > wall_ms + answer.ttl * 1000ull)
		ends_ms = wall_ms + answer.ttl * 1000ull;
	if ((ends_ms <= wall_ms && stale_ms <= wall_ms) || !message_answers(answer.plain, answer.plain_length, &answer.key) ||
	    (dnssec && !message_answers(answer.dnssec, dnssec, &answer.key)))
		return length;
	/* the monotonic clock may be younger than the answer: what has ended, ended at its beginning */
	answer.expires_ms = ends_ms > wall_ms ? now_ms + (ends_ms - wall_ms) : now_ms;
	answer.stored_ms = answer.expires_ms > answer.ttl * 1000ull ? answer.expires_ms - answer.ttl * 1000ull : 0;
	answer.stale_until_ms = stale_ms > wall_ms ? now_ms + (stale_ms - wall_ms) : 0;
	answers_put(answers, &answer);
	++*count;
	return length;
}

size_t answers_parse(struct answers *answers, const uint8_t *bytes, size_t length, uint64_t now_ms, uint64_t wall_ms)
{
	size_t at = 8, count = 0, step;

	if (length < 8 || memcmp(bytes, FILE_MAGIC, 8) != 0)
		return 0;
	while (at < length && (step = record_read(answers, bytes + at, length - at, now_ms, wall_ms, &count)))
		at += step;
	return count;
}

int answers_load(struct answers *answers, const char *path, uint64_t now_ms, uint64_t wall_ms, size_t *ret_count,
		 struct error *error)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_(freep) uint8_t *bytes = NULL;
	static const struct dns_name everything = {.length = 1};
	struct stat status;
	size_t used = 0;
	int result;

	*ret_count = 0;
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &status) < 0)
		return error_set(error, errno, "reading %s: %s", path, strerror(errno));
	if (status.st_size < 0 || (uint64_t)status.st_size > FILE_BYTES_MAX)
		return error_set(error, EFBIG, "reading %s: too large", path);
	bytes = memory_or_end(malloc((size_t)status.st_size + 1));
	while (used < (size_t)status.st_size) {
		ssize_t part = read(fd, bytes + used, (size_t)status.st_size - used);

		if (part < 0 && errno == EINTR)
			continue;
		if (part <= 0)
			break;
		used += (size_t)part;
	}
	answers_parse(answers, bytes, used, now_ms, wall_ms);
	result = flushed_apply(answers, path, error);
	if (result < 0)
		answers_flush(answers, &everything);
	*ret_count = answers->statistics.count;
	return result;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other servers answered, kept by selvage-dns for as long as it holds, and longer in case that they are away (RFC 8767).
 *
 * libunbound's own cache can neither be listed nor emptied nor saved, so forwarded answers are kept here alone, and those that it
 * resolved here too. The least recently used go when the bound is reached. One thread.
 */
#pragma once

#include "base/lib/error.h"
#include "dns/message.h"

struct answers;

struct answer_key {
	struct dns_name name; /* lower case */
	uint16_t type;
	bool checking_disabled;
};

/* Messages as dns_answer_rewrite() makes them; times are CLOCK_MONOTONIC in milliseconds. */
struct answer {
	struct answer_key key;
	uint8_t *plain;	 /* without what only validators want */
	uint8_t *dnssec; /* NULL: the same */
	uint16_t plain_length, dnssec_length;
	uint16_t rcode;
	bool secure; /* validated */
	int ede;     /* enum dns_ede */
	uint32_t ttl; /* seconds, of the whole */
	uint64_t stored_ms, expires_ms, stale_until_ms;
	uint64_t failed_ms; /* when it last could not be renewed; 0: never since */
	uint32_t hits;
	bool renewing; /* by whoever set it */
	uint64_t fed_ms; /* not looked for in packets' cache before */
	uint8_t fed;	 /* how often it was put there since it is kept */
	/* where libunbound remembers answers: by which of its memories this is, and until when the other one has an older one */
	uint8_t memory;
	uint64_t other_ends_ms;
};

struct answers_statistics {
	uint64_t count, bytes, evicted;
};

struct answers *answers_new(uint64_t bytes_max);
void answers_free(struct answers *answers);

/* Borrowed until the next call that changes something; expired ones too, until `stale_until_ms`. */
struct answer *answers_find(struct answers *answers, const struct answer_key *key, uint64_t now_ms);
/* Copies; replaces what has the same key. Messages longer than 64 KiB do not exist. Returns the new one. */
struct answer *answers_put(struct answers *answers, const struct answer *answer);
bool answers_remove(struct answers *answers, const struct answer_key *key);
/* At and below a name; how many. */
size_t answers_flush(struct answers *answers, const struct dns_name *below);
typedef bool answers_visitor(const struct answer *answer, void *context); /* false ends the walk */
/* Most recently used first. */
void answers_each(const struct answers *answers, answers_visitor *visitor, void *context);
/*
 * A part of all, in no order: begins with `from` 0, ends some answers after the visitor's first false, and returns where the next part
 * begins; 0: that was the last. What is there all the time is in one of the parts, in two of them perhaps when others come meanwhile.
 */
size_t answers_each_part(const struct answers *answers, size_t from, answers_visitor *visitor, void *context);
struct answers_statistics answers_measure(const struct answers *answers);

/*
 * Over a restart: `wall_ms` is CLOCK_REALTIME. The file is replaced as a whole; damaged records, and what has ended meanwhile, are left
 * out when it is read. 0 or -errno; `ret_count`: answers written or read.
 */
must_check int answers_save(const struct answers *answers, const char *path, uint64_t now_ms, uint64_t wall_ms, size_t *ret_count,
			    struct error *error);
must_check int answers_load(struct answers *answers, const char *path, uint64_t now_ms, uint64_t wall_ms, size_t *ret_count,
			    struct error *error);
/*
 * Answers at and below a name, which are flushed, are not to be had from the file any more, either: 0 when that is on disk, else -errno.
 * Noted beside the file until it is written anew.
 */
must_check int answers_flush_note(const char *path, const struct dns_name *below, struct error *error);
/* The file's bytes: how many answers were taken. For the fuzzer, too. */
size_t answers_parse(struct answers *answers, const uint8_t *bytes, size_t length, uint64_t now_ms, uint64_t wall_ms);

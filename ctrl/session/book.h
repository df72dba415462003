/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All registered user fragments, and the rows of the packet program that they have: each is registered in the tables wherever its
 * service is served and its agent is a backend, now and whenever that changes. A step at a time: with a hundred thousand
 * of them no turn of the loop takes long.
 *
 * One thread, the event loop's.
 */
#pragma once

#include "ctrl/session/record.h"
#include "rtc/rtc_program.h"

/* An agent at a place: a backend's row. */
struct session_place_agent {
	struct address address;
	uint16_t port; /* host order; 0: any, the registration says which */
	uint16_t row;
	uint32_t zero; /* no padding: compared as bytes */
};

/* Where sessions of a service may come in: a row of the packet program, one for each port and virtual IP. */
struct session_place {
	const char *service; /* "namespace/name" */
	uint16_t row;
	const struct session_place_agent *agents;
	size_t agent_count;
};

#define SESSION_ROWS_MAX 8 /* places of one registration that are served; more are left out */

struct session_entry {
	struct session_record record;
	uint32_t rows[SESSION_ROWS_MAX]; /* of the sessions that it has */
	size_t row_count;
	bool no_agent;  /* none of its agents is a backend of its service now */
	bool no_room;   /* the tables were full */
};

struct session_book;

/* `program` is borrowed until session_book_free(). */
struct session_book *session_book_new(struct rtc_program *program);
void session_book_free(struct session_book *book);

/* Copies the places; if they differ from those before, every registration is looked at anew by the next steps. */
void session_book_places_set(struct session_book *book, const struct session_place *places, size_t count);
/* Borrowed until they are set anew. */
const struct session_place *session_book_places(const struct session_book *book, size_t *ret_count);

/* Takes `record` over. A fragment that is registered for the same agents only gets its new expiry, password and key. */
struct session_entry *session_book_put(struct session_book *book, struct session_record *record);
/* Registers it in the tables now. 0, -ENOENT: no agent; -ENOSPC. */
must_check int session_book_apply(struct session_book *book, struct session_entry *entry, uint32_t now_ms, struct error *error);
/* Ends its sessions too. False: it is not registered. */
bool session_book_remove(struct session_book *book, const char *service, const char *ufrag, uint32_t now_ms);

struct session_entry *session_book_find(const struct session_book *book, const char *service, const char *ufrag);
/* Whose session a row is; NULL: nobody registered it, or not any more. */
struct session_entry *session_book_of_row(const struct session_book *book, uint32_t row);
size_t session_book_count(const struct session_book *book);

/* The next one of all; begin with NULL. */
struct session_entry *session_book_next(const struct session_book *book, const struct session_entry *entry);

/* A session ended: if its fragment is still registered, it is registered anew by the next step. */
void session_book_row_ended(struct session_book *book, uint32_t row);

/*
 * Looks at up to `budget` registrations that wait for it. False: none waits any more. While the book is settled, a waiting session that
 * session_book_of_row() does not know is nobody's.
 */
bool session_book_step(struct session_book *book, uint32_t now_ms, size_t budget);
bool session_book_settled(const struct session_book *book);
/* Those that found the tables full wait for the next step again. */
void session_book_retry(struct session_book *book);

/*
 * Looks at `budget` registrations in turn for those that are over at `now_unix_ms`; each is told of once and then is as if
 * removed, but for a session that is live: that one goes on until it ends by itself.
 */
void session_book_expire(struct session_book *book, uint64_t now_unix_ms, size_t budget,
			 void (*expired)(void *context, const struct session_record *record), void *context);

/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions of services of calls, in the daemon. Private to ctrl/daemon/. One thread, the event loop's. */
#pragma once

#include <event2/event.h>

#include "ctrl/api/openmetrics.h"
#include "ctrl/daemon/daemon.h"
#include "ctrl/session/book.h"
#include "ctrl/session/figures.h"
#include "ctrl/session/secrets.h"
#include "ctrl/session/watch.h"

struct daemon_sessions {
	struct daemon *daemon;
	struct rtc_program *program; /* borrowed of the programmer */
	struct session_book *book;
	struct session_watch *watch;
	struct session_watch_events events;
	struct store_watch *store_watch;
	struct event *step_event; /* while registrations wait to be looked at */
	struct event *look_event; /* always: the next look at sessions */
	bool loaded;              /* the store's registrations are in the book */
	struct session_secrets secrets;
	bool secrets_wanted; /* a change of them is under way */
	struct session_figures **figures; /* by service row */
	uint16_t *limited; /* rows of services with a limit of sessions */
	size_t limited_count;
	uint64_t begun, ended[RTC_ENDS], silences[SESSION_DIRECTIONS];
	uint64_t log_second;
	uint32_t log_lines;
};

/* Reads the store in the background; after the programmer and the store, before the API. */
struct daemon_sessions *daemon_sessions_new(struct daemon *daemon);
void daemon_sessions_free(struct daemon_sessions *sessions);
/* Before the store ends. NULL is allowed, as above. */
void daemon_sessions_store_stop(struct daemon_sessions *sessions);
/* From the first reconcile on: begins to look at sessions. */
void daemon_sessions_begin(struct daemon_sessions *sessions);

/* Before a reconcile: the secrets as the store has them, or new ones. */
void daemon_sessions_secrets(struct daemon_sessions *sessions);
/* After the tables were written. */
void daemon_sessions_places(struct daemon_sessions *sessions);
void daemon_sessions_step_soon(struct daemon_sessions *sessions);
/* Right before each step of the programmer's sweep. */
void daemon_sessions_sweep(struct daemon_sessions *sessions);
/* With daemon_inspect(). */
void daemon_sessions_inspect(struct daemon_sessions *sessions);

/* "consent": why a session ended, in a word. */
const char *daemon_session_end_name(enum rtc_end why);
/* Packets' time. */
uint32_t daemon_sessions_now_ms(const struct daemon_sessions *sessions);
/* "default/media" of a service's row, and what reconcile says of it; NULL: none that is known. */
const char *daemon_sessions_service_name(const struct daemon_sessions *sessions, uint16_t row);
const struct reconcile_service *daemon_sessions_service_at(const struct daemon *daemon, uint16_t row);

/* {"live":…,"waiting":…,"oneWay":…,"registered":…,"used":…,"limit":…} */
json_t *daemon_sessions_status(const struct daemon_sessions *sessions);
void daemon_sessions_alarms(const struct daemon_sessions *sessions,
			    void (*alarm)(struct daemon *daemon, const char *subject, const char *text));
void daemon_sessions_metrics(const struct daemon_sessions *sessions, struct evbuffer *text);

/* Callbacks of struct api_backend; the context is the daemon. */
json_t *daemon_view_sessions(void *context, const struct api_session_query *query, struct error *error);
json_t *daemon_view_session(void *context, const char *namespace_name, const char *service, const char *name, struct error *error);
void daemon_session_put(void *context, const char *namespace_name, const char *service, const char *ufrag, const json_t *body,
			struct api_action *action);
void daemon_session_remove(void *context, const char *namespace_name, const char *service, const char *name, struct api_action *action);
json_t *daemon_session_ufrags(void *context, const char *namespace_name, const char *service, const char *backend, uint32_t count,
			      struct error *error);
void daemon_session_rotate(void *context, struct api_action *action);

uint64_t daemon_unix_ms(void);

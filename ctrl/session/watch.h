/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps an eye on the sessions that packets see: notices within SESSION_NOTICE_MS that one direction of a call fell silent while
 * the other goes on, and measures each call in intervals. A few sessions at a turn, each looked at every SESSION_LOOK_MS.
 *
 * One thread, the one that owns the program: session_watch_step() comes before each of its sweeps, so that no row is missed.
 */
#pragma once

#include "rtc/rtc_program.h"

#define SESSION_LOOK_MS 50u
#define SESSION_SILENT_MS 120u    /* six packets of audio: silence, not jitter */
#define SESSION_GOING_MS 100u     /* a direction whose last packet is younger goes on */
#define SESSION_BUSY_PACKETS 5u   /* in SESSION_WINDOW_MS: less is no stream, but checks and reports */
#define SESSION_WINDOW_MS 500u
#define SESSION_INTERVAL_MS 10000u
#define SESSION_NOTICE_MS (SESSION_SILENT_MS + SESSION_LOOK_MS)

enum session_direction { SESSION_UP, SESSION_DOWN, SESSION_DIRECTIONS };

const char *session_direction_name(enum session_direction direction); /* "up": from the client to the agent */

/* What an interval of a session showed. */
struct session_interval {
	uint32_t expected[SESSION_DIRECTIONS]; /* RTP packets */
	uint32_t lost[SESSION_DIRECTIONS];
	const struct rtc_session_info *info; /* as it is now */
};

struct session_watch_events {
	void *context;
	/* A direction that was busy is silent while the other goes on. */
	void (*silent)(void *context, uint32_t row, enum session_direction direction, uint32_t silent_ms);
	/* It is over: packets come again, or the other direction stopped too. `silent_ms`: how long it was. */
	void (*resumed)(void *context, uint32_t row, enum session_direction direction, uint32_t silent_ms, bool again);
	/* A session's client was seen for the first time. */
	void (*began)(void *context, uint32_t row);
	/* Every SESSION_INTERVAL_MS of a live session, and by session_watch_ended() what was left. */
	void (*measured)(void *context, const struct session_interval *interval);
	/* A session waits for its client. */
	void (*waits)(void *context, uint32_t row);
};

struct session_watch;

/* `program`, its tables and the table of callbacks are borrowed until session_watch_free(). */
struct session_watch *session_watch_new(struct rtc_program *program, const struct rtc_tables *tables,
					const struct rtc_sessions *sessions, const struct session_watch_events *events);
void session_watch_free(struct session_watch *watch);

/*
 * Looks at the sessions whose turn it is, as many as SESSION_LOOK_MS asks for after `now_ms` of the call before; returns in how many
 * milliseconds to be called again.
 */
uint32_t session_watch_step(struct session_watch *watch, uint32_t now_ms);

/* A session ends (rtc_program_on_end()): measures what is left of it. */
void session_watch_ended(struct session_watch *watch, const struct rtc_session_info *info);

/* Which direction of a session is silent alone; SESSION_DIRECTIONS: none. */
enum session_direction session_watch_silent(const struct session_watch *watch, uint32_t row);

/* Sessions by service row, as the last whole look found them. */
struct session_counts {
	uint32_t live, waiting, silent;
};

struct session_counts session_watch_counts(const struct session_watch *watch, uint16_t service_row);
struct session_counts session_watch_total(const struct session_watch *watch);

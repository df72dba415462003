/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/session/watch.h"

#include <string.h>

#include "base/lib/memory.h"

#define IDLE_MS 200u /* between two looks for new sessions when there are none */
#define SLICES 5u    /* of all sessions, one a turn */
#define WAITING_TURNS 8u /* those that wait for their client are looked at every so many whole looks */
#define ADOPT_ROWS 8192u /* looked at in a turn when a daemon begins */

/* What is remembered of a session between two looks. */
struct watched {
	uint32_t row;
	uint32_t begun_ms;  /* rtc_session.begun_ms: another one is another session */
	uint32_t window_ms; /* when the window began */
	uint32_t packets[SESSION_DIRECTIONS]; /* at its beginning */
	uint32_t silent_since_ms;
	uint32_t interval_ms; /* when the interval began */
	uint32_t expected[SESSION_DIRECTIONS], lost[SESSION_DIRECTIONS]; /* at its beginning */
	uint16_t service;
	bool busy[SESSION_DIRECTIONS];
	bool live;
	uint8_t silent; /* enum session_direction; SESSION_DIRECTIONS: none */
	bool found;     /* not only taken, but written */
};

struct session_watch {
	struct rtc_program *program;
	const struct rtc_tables *tables;
	const struct rtc_sessions *sessions;
	const struct session_watch_events *events;
	struct watched *items;
	size_t count, capacity;
	size_t cursor;      /* the next to be looked at */
	uint32_t *place_of; /* 1 + a row's place in `items`, 0: none */
	uint32_t turn;      /* whole looks */
	uint32_t head;      /* of rtc_free, up to which rows are known */
	uint32_t adopt;     /* the next row to be looked at once, at the beginning; 0: done */
	struct session_counts *counts, *counting; /* by service row: of the last whole look, and of this one */
	struct session_counts total, total_counting;
};

const char *session_direction_name(enum session_direction direction)
{
	return direction == SESSION_UP ? "up" : "down";
}

struct session_watch *session_watch_new(struct rtc_program *program, const struct rtc_tables *tables,
					const struct rtc_sessions *sessions, const struct session_watch_events *events)
{
	struct session_watch *watch = memory_or_end(calloc(1, sizeof(*watch)));

	*watch = (struct session_watch){.program = program, .tables = tables, .sessions = sessions, .events = events, .adopt = 1};
	watch->head = load_once(tables->free.head);
	watch->place_of = memory_or_end(calloc(RTC_SESSION_ROWS, sizeof(*watch->place_of)));
	watch->counts = memory_or_end(calloc(LB_SERVICE_ROWS, sizeof(*watch->counts)));
	watch->counting = memory_or_end(calloc(LB_SERVICE_ROWS, sizeof(*watch->counting)));
	return watch;
}

void session_watch_free(struct session_watch *watch)
{
	if (!watch)
		return;
	free(watch->items);
	free(watch->place_of);
	free(watch->counts);
	free(watch->counting);
	free(watch);
}

/* --- which sessions there are ------------------------------------------------------------------------------------------ */

static void row_add(struct session_watch *watch, uint32_t row, uint32_t now_ms)
{
	row &= RTC_SESSION_ROWS - 1;
	if (!row || watch->place_of[row])
		return;
	if (watch->count == watch->capacity) {
		watch->capacity = watch->capacity ? 2 * watch->capacity : 256;
		watch->items = memory_array(watch->items, watch->capacity, sizeof(*watch->items));
	}
	watch->items[watch->count] = (struct watched){.row = row, .window_ms = now_ms, .silent = SESSION_DIRECTIONS};
	watch->place_of[row] = (uint32_t)++watch->count;
}

static void place_remove(struct session_watch *watch, size_t place)
{
	watch->place_of[watch->items[place].row] = 0;
	watch->items[place] = watch->items[--watch->count];
	if (place < watch->count)
		watch->place_of[watch->items[place].row] = (uint32_t)place + 1;
}

/* Rows that workers took since the last time; user space has written none of their places in the ring since. */
static void rows_find(struct session_watch *watch, uint32_t now_ms)
{
	uint32_t head = load_once(watch->tables->free.head);

	for (; watch->head != head; watch->head++)
		row_add(watch, load_once(watch->tables->free.rows[watch->head & (RTC_SESSION_ROWS - 1)]), now_ms);
	for (uint32_t i = 0; watch->adopt && i < ADOPT_ROWS; i++) {
		if (load_once(watch->sessions->rows[watch->adopt].state) != RTC_SESSION_FREE)
			row_add(watch, watch->adopt, now_ms);
		watch->adopt = (watch->adopt + 1) & (RTC_SESSION_ROWS - 1);
	}
}

/* --- silence ----------------------------------------------------------------------------------------------------------- */

static const struct rtc_stream *stream_of(const struct rtc_session *session, enum session_direction direction)
{
	return direction == SESSION_UP ? &session->up : &session->down;
}

static uint32_t silent_for(const struct rtc_session *session, enum session_direction direction, uint32_t now_ms)
{
	const struct rtc_stream *stream = stream_of(session, direction);
	uint32_t age = now_ms - load_once(stream->last_ms);

	if (!load_once(stream->packets))
		return UINT32_MAX;
	return age > UINT32_MAX / 2 ? 0 : age; /* a packet that came after `now_ms` was read */
}

static void window_roll(struct watched *item, const struct rtc_session *session, uint32_t now_ms)
{
	if (now_ms - item->window_ms < SESSION_WINDOW_MS)
		return;
	for (int d = 0; d < SESSION_DIRECTIONS; d++) {
		uint32_t packets = (uint32_t)load_once(stream_of(session, (enum session_direction)d)->packets);

		item->busy[d] = packets - item->packets[d] >= SESSION_BUSY_PACKETS;
		item->packets[d] = packets;
	}
	item->window_ms = now_ms;
}

static void silence_look(struct session_watch *watch, struct watched *item, const struct rtc_session *session, uint32_t now_ms)
{
	const struct session_watch_events *events = watch->events;

	if (item->silent != SESSION_DIRECTIONS) {
		enum session_direction direction = (enum session_direction)item->silent;
		uint32_t age = silent_for(session, direction, now_ms);
		uint32_t other = silent_for(session, (enum session_direction)!direction, now_ms);

		if (age > SESSION_SILENT_MS && other <= SESSION_SILENT_MS)
			return;
		item->silent = SESSION_DIRECTIONS;
		events->resumed(events->context, item->row, direction, now_ms - item->silent_since_ms, age <= SESSION_SILENT_MS);
		return;
	}
	for (int d = 0; d < SESSION_DIRECTIONS; d++) {
		enum session_direction direction = (enum session_direction)d;
		uint32_t age = silent_for(session, direction, now_ms);

		if (!item->busy[d] || age < SESSION_SILENT_MS || silent_for(session, (enum session_direction)!d, now_ms) > SESSION_GOING_MS)
			continue;
		item->silent = (uint8_t)d;
		item->silent_since_ms = now_ms - age;
		events->silent(events->context, item->row, direction, age);
		return;
	}
	window_roll(item, session, now_ms);
}

/* --- intervals --------------------------------------------------------------------------------------------------------- */

static void interval_end(struct session_watch *watch, struct watched *item, const struct rtc_session_info *info)
{
	const struct rtc_stream_info *streams[SESSION_DIRECTIONS] = {&info->up, &info->down};
	struct session_interval interval = {.info = info};

	for (int d = 0; d < SESSION_DIRECTIONS; d++) {
		uint32_t expected = (uint32_t)streams[d]->expected, lost = (uint32_t)streams[d]->lost;

		/* a late packet takes a loss of an interval before back */
		interval.expected[d] = expected - item->expected[d] > UINT32_MAX / 2 ? 0 : expected - item->expected[d];
		interval.lost[d] = lost - item->lost[d] > UINT32_MAX / 2 ? 0 : lost - item->lost[d];
		if (interval.lost[d] > interval.expected[d])
			interval.lost[d] = interval.expected[d];
		item->expected[d] = expected;
		item->lost[d] = lost;
	}
	watch->events->measured(watch->events->context, &interval);
}

static void interval_look(struct session_watch *watch, struct watched *item, uint32_t now_ms)
{
	struct rtc_session_info info;

	if (now_ms - item->interval_ms < SESSION_INTERVAL_MS)
		return;
	item->interval_ms = now_ms;
	if (rtc_program_read(watch->program, item->row, now_ms, &info))
		interval_end(watch, item, &info);
}

/* --- a look ------------------------------------------------------------------------------------------------------------ */

static void begin(struct session_watch *watch, struct watched *item, const struct rtc_session *session, uint32_t now_ms)
{
	*item = (struct watched){.row = item->row, .begun_ms = load_once(session->begun_ms), .window_ms = now_ms, .interval_ms = now_ms,
				 .silent = SESSION_DIRECTIONS, .live = true, .found = true};
	for (int d = 0; d < SESSION_DIRECTIONS; d++)
		item->packets[d] = (uint32_t)load_once(stream_of(session, (enum session_direction)d)->packets);
	watch->events->began(watch->events->context, item->row);
}

static void count(struct session_watch *watch, const struct watched *item, bool waiting)
{
	struct session_counts *counts = &watch->counting[item->service & (LB_SERVICE_ROWS - 1)];
	bool silent = item->silent != SESSION_DIRECTIONS;

	counts->live += !waiting;
	counts->waiting += waiting;
	counts->silent += silent;
	watch->total_counting.live += !waiting;
	watch->total_counting.waiting += waiting;
	watch->total_counting.silent += silent;
}

/* False: the row is nobody's any more. */
static bool look(struct session_watch *watch, struct watched *item, uint32_t now_ms)
{
	const struct rtc_session *session = &watch->sessions->rows[item->row];
	uint8_t state;

	if (item->found && !item->live && (item->row ^ watch->turn) % WAITING_TURNS) {
		count(watch, item, true);
		return true;
	}
	state = load_once(session->state);
	if (state == RTC_SESSION_FREE) /* a worker is about to write it, or it was given back */
		return !item->found && now_ms - item->window_ms < 2000;
	if (state == RTC_SESSION_ENDED)
		return false;
	item->service = load_once(session->service);
	if (state == RTC_SESSION_WAITING) {
		item->found = true;
		item->live = false;
		item->silent = SESSION_DIRECTIONS;
		count(watch, item, true);
		watch->events->waits(watch->events->context, item->row);
		return true;
	}
	if (!item->live || item->begun_ms != load_once(session->begun_ms)) {
		begin(watch, item, session, now_ms);
		item->service = load_once(session->service);
	}
	silence_look(watch, item, session, now_ms);
	interval_look(watch, item, now_ms);
	count(watch, item, false);
	return true;
}

static void pass_end(struct session_watch *watch)
{
	struct session_counts *counts = watch->counts;

	watch->cursor = 0;
	watch->turn++;
	watch->counts = watch->counting;
	watch->counting = counts;
	memset(counts, 0, LB_SERVICE_ROWS * sizeof(*counts));
	watch->total = watch->total_counting;
	watch->total_counting = (struct session_counts){0};
}

uint32_t session_watch_step(struct session_watch *watch, uint32_t now_ms)
{
	size_t budget;

	rows_find(watch, now_ms);
	budget = watch->count / SLICES + 1;
	while (budget-- && watch->cursor < watch->count) {
		struct watched *item = &watch->items[watch->cursor];

		if (look(watch, item, now_ms))
			watch->cursor++;
		else
			place_remove(watch, (size_t)(item - watch->items));
	}
	if (watch->cursor >= watch->count)
		pass_end(watch);
	return watch->count || watch->adopt ? SESSION_LOOK_MS / SLICES : IDLE_MS;
}

/* NULL: none, or it is another session's. */
static struct watched *item_find(const struct session_watch *watch, uint32_t row)
{
	uint32_t place = watch->place_of[row & (RTC_SESSION_ROWS - 1)];

	return place ? &watch->items[place - 1] : NULL;
}

void session_watch_ended(struct session_watch *watch, const struct rtc_session_info *info)
{
	struct watched *item = item_find(watch, info->row);

	if (!item || !item->live)
		return;
	interval_end(watch, item, info);
	item->live = false;
	item->silent = SESSION_DIRECTIONS;
}

enum session_direction session_watch_silent(const struct session_watch *watch, uint32_t row)
{
	const struct watched *item = item_find(watch, row);

	return item ? (enum session_direction)item->silent : SESSION_DIRECTIONS;
}

struct session_counts session_watch_counts(const struct session_watch *watch, uint16_t service_row)
{
	return watch->counts[service_row & (LB_SERVICE_ROWS - 1)];
}

struct session_counts session_watch_total(const struct session_watch *watch)
{
	return watch->total;
}

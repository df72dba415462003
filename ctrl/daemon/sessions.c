/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions of services of calls: registrations from the API to the store and from there to the tables; what the watch notices to the
 * log, to whoever follows events, and into metrics; the secrets of encoded fragments.
 */
#include "ctrl/daemon/sessions.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/lib/log.h"
#include "base/lib/memory.h"

#define STEP_ENTRIES 500        /* registrations looked at in a turn */
#define EXPIRE_SHARE 64         /* of all registrations, looked at twice a second */
#define LOG_LINES_A_SECOND 20u  /* of sessions */

uint64_t daemon_unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint32_t daemon_sessions_now_ms(const struct daemon_sessions *sessions)
{
	return programmer_now_ms(sessions->daemon->programmer);
}

const char *daemon_sessions_service_name(const struct daemon_sessions *sessions, uint16_t row)
{
	size_t count;
	const struct session_place *places = session_book_places(sessions->book, &count);

	for (size_t i = 0; i < count; i++)
		if (places[i].row == row)
			return places[i].service;
	return NULL;
}

/* --- the secrets ------------------------------------------------------------------------------------------------------- */

static void secrets_stored(void *context, int status, const struct store_result *result, const struct error *error)
{
	struct daemon_sessions *sessions = context;

	if (status == -ECANCELED)
		return;
	sessions->secrets_wanted = false;
	if (status < 0)
		log_error("the secrets of user fragments could not be stored: %s", error->text);
}

static int secrets_next(const struct session_secrets *secrets, struct session_secrets *ret_next, struct error *error)
{
	struct siphash_key fresh;

	if (getrandom(&fresh, sizeof(fresh), 0) != sizeof(fresh))
		return error_set(error, EIO, "no randomness can be had: %s", strerror(errno));
	*ret_next = session_secrets_rotate(secrets, &fresh, daemon_unix_ms());
	return 0;
}

/* Only if nobody was quicker. `before`: the text that is there; NULL: none is. */
static int secrets_store(struct daemon_sessions *sessions, const char *before, store_done done, void *context, struct error *error)
{
	struct store_compare compare = {.kind = before ? STORE_COMPARE_VALUE : STORE_COMPARE_ABSENT, .key = SESSION_SECRETS};
	struct store_step step = {.kind = STORE_PUT, .key = SESSION_SECRETS};
	struct store_transaction transaction = {.compares = &compare, .compare_count = 1, .then_steps = &step, .then_count = 1};
	_cleanup_(freep) char *text = NULL;
	struct session_secrets next;
	int status = secrets_next(&sessions->secrets, &next, error);

	if (status < 0)
		return status;
	if (before)
		compare.value = store_text(before);
	text = session_secrets_format(&next);
	step.value = store_text(text);
	store_transact(sessions->daemon->store, &transaction, done, context);
	return 0;
}

void daemon_sessions_secrets(struct daemon_sessions *sessions)
{
	const struct daemon *daemon = sessions->daemon;
	const char *text = catalogue_text(daemon->catalogue, SESSION_SECRETS);
	struct error error = {0};

	if (text && session_secrets_parse(text, &sessions->secrets, &error) < 0)
		log_error("%s", error.text);
	if (text || sessions->secrets_wanted)
		return;
	sessions->secrets_wanted = true;
	if (secrets_store(sessions, NULL, secrets_stored, sessions, &error) < 0)
		log_error("%s", error.text);
}

static void secrets_age(struct daemon_sessions *sessions)
{
	const char *text = catalogue_text(sessions->daemon->catalogue, SESSION_SECRETS);
	struct error error = {0};

	if (!text || sessions->secrets_wanted ||
	    !session_secrets_due(&sessions->secrets, sessions->daemon->config->ufrag_key_hours, daemon_unix_ms()))
		return;
	sessions->secrets_wanted = true;
	log_info("user fragments get a new key");
	if (secrets_store(sessions, text, secrets_stored, sessions, &error) < 0)
		log_error("%s", error.text);
}

static void rotate_stored(void *context, int status, const struct store_result *result, const struct error *error)
{
	struct error raced;

	if (status == 0 && !result->succeeded)
		api_action_done(context, error_set(&raced, EBUSY, "another change of the keys was quicker"), &raced);
	else
		api_action_done(context, status, error);
}

void daemon_session_rotate(void *context, struct api_action *action)
{
	struct daemon *daemon = context;
	const char *text = catalogue_text(daemon->catalogue, SESSION_SECRETS);
	struct error error = {0};
	int status = text ? 0 : error_set(&error, EAGAIN, "there are no keys yet; try again");

	if (status == 0)
		status = secrets_store(daemon->sessions, text, rotate_stored, action, &error);
	if (status < 0)
		api_action_done(action, status, &error);
}

/* --- what happens to sessions ------------------------------------------------------------------------------------------ */

/* "session @17 of default/media (aBcD)" */
static void session_name(const struct daemon_sessions *sessions, const struct rtc_session_info *info, char *text, size_t size)
{
	const struct session_entry *entry = session_book_of_row(sessions->book, info->row);
	const char *service = daemon_sessions_service_name(sessions, info->service);

	snprintf(text, size, "session @%u of %s%s%.40s%s", info->row, service ? service : "a service that is gone", entry ? " (" : "",
		 entry ? entry->record.ufrag : "", entry ? ")" : "");
}

static json_t *event_json(const struct daemon_sessions *sessions, const char *type, const struct rtc_session_info *info, const char *message)
{
	const struct session_entry *entry = session_book_of_row(sessions->book, info->row);
	const char *service = daemon_sessions_service_name(sessions, info->service);
	char time[40], text[ENDPOINT_TEXT_SIZE];
	uint64_t unix_ms = daemon_unix_ms();
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm parts;
	json_t *json;

	gmtime_r(&seconds, &parts);
	strftime(time, sizeof(time), "%FT%T", &parts);
	snprintf(time + strlen(time), sizeof(time) - strlen(time), ".%03uZ", (unsigned int)(unix_ms % 1000));
	json = json_pack("{s:s, s:s, s:s, s:o, s:s}", "time", time, "type", type, "service", service ? service : "", "session",
			 json_sprintf("@%u", info->row), "message", message);
	if (entry)
		json_object_set_new(json, "ufrag", json_string(entry->record.ufrag));
	for (uint32_t i = 0; i < info->path_count; i++)
		if (info->paths[i].current)
			json_object_set_new(json, "client", json_string(endpoint_format(&info->paths[i].address, info->paths[i].port, text)));
	if (!address_is_zero(&info->agent))
		json_object_set_new(json, "agent", json_string(endpoint_format(&info->agent, info->agent_port, text)));
	return json;
}

/* Many calls may fail at once, and the log is for people: what is left out of it is counted in the metrics all the same. */
static bool log_allowed(struct daemon_sessions *sessions)
{
	uint64_t second = clock_now_ms(&clock_system) / 1000;

	if (second != sessions->log_second) {
		if (sessions->log_lines > LOG_LINES_A_SECOND)
			log_info("%u more lines about sessions were left out", sessions->log_lines - LOG_LINES_A_SECOND);
		sessions->log_second = second;
		sessions->log_lines = 0;
	}
	return ++sessions->log_lines <= LOG_LINES_A_SECOND;
}

static void note(struct daemon_sessions *sessions, enum log_level level, const char *type, const struct rtc_session_info *info,
		 const char *what, json_t **ret_event)
{
	char name[400], message[600];

	session_name(sessions, info, name, sizeof(name));
	snprintf(message, sizeof(message), "%s: %s", name, what);
	if (level == LOG_LEVEL_DEBUG)
		log_debug("%s", message);
	else if (log_allowed(sessions))
		log_write(level, "%s", message);
	*ret_event = api_session_event_wanted(sessions->daemon->api) ? event_json(sessions, type, info, message) : NULL;
}

static void event_send(struct daemon_sessions *sessions, json_t *event)
{
	if (event)
		api_session_event(sessions->daemon->api, event);
}

static void session_silent(void *context, uint32_t row, enum session_direction direction, uint32_t silent_ms)
{
	struct daemon_sessions *sessions = context;
	struct rtc_session_info info;
	char what[160];
	json_t *event;

	sessions->silences[direction]++;
	if (!rtc_program_read(sessions->program, row, daemon_sessions_now_ms(sessions), &info))
		return;
	snprintf(what, sizeof(what), "nothing from the %s for %u ms while the %s goes on", direction == SESSION_UP ? "client" : "agent",
		 silent_ms, direction == SESSION_UP ? "agent" : "client");
	note(sessions, LOG_LEVEL_WARNING, "Silent", &info, what, &event);
	if (event)
		json_object_set_new(event, "direction", json_string(session_direction_name(direction)));
	if (event)
		json_object_set_new(event, "silentMs", json_integer(silent_ms));
	event_send(sessions, event);
}

static void session_resumed(void *context, uint32_t row, enum session_direction direction, uint32_t silent_ms, bool again)
{
	struct daemon_sessions *sessions = context;
	struct rtc_session_info info;
	char what[160];
	json_t *event;

	if (!rtc_program_read(sessions->program, row, daemon_sessions_now_ms(sessions), &info))
		return;
	if (again)
		snprintf(what, sizeof(what), "packets from the %s again, after %u ms", direction == SESSION_UP ? "client" : "agent", silent_ms);
	else
		snprintf(what, sizeof(what), "silent both ways");
	note(sessions, LOG_LEVEL_INFO, again ? "Resumed" : "Quiet", &info, what, &event);
	if (event)
		json_object_set_new(event, "direction", json_string(session_direction_name(direction)));
	event_send(sessions, event);
}

static void session_began(void *context, uint32_t row)
{
	struct daemon_sessions *sessions = context;
	struct rtc_session_info info;
	json_t *event;

	if (!rtc_program_read(sessions->program, row, daemon_sessions_now_ms(sessions), &info))
		return;
	sessions->begun++;
	note(sessions, LOG_LEVEL_DEBUG, "Begun", &info, "its client is there", &event);
	event_send(sessions, event);
}

static struct session_figures *figures_of(struct daemon_sessions *sessions, uint16_t service_row)
{
	struct session_figures **figures = &sessions->figures[service_row & (LB_SERVICE_ROWS - 1)];

	if (!*figures)
		*figures = memory_or_end(calloc(1, sizeof(**figures)));
	return *figures;
}

static void session_measured(void *context, const struct session_interval *interval)
{
	session_figures_observe(figures_of(context, interval->info->service), interval);
}

/* A fragment that is registered no more, whose client never came or has gone. */
static void session_waits(void *context, uint32_t row)
{
	struct daemon_sessions *sessions = context;

	if (sessions->loaded && session_book_settled(sessions->book) && !session_book_of_row(sessions->book, row))
		rtc_program_end(sessions->program, row, daemon_sessions_now_ms(sessions));
}

const char *daemon_session_end_name(enum rtc_end why)
{
	static const char *const names[RTC_ENDS] = {
		[RTC_END_CONSENT] = "consent",
		[RTC_END_BACKEND] = "backend",
		[RTC_END_SERVICE] = "service",
		[RTC_END_COMMAND] = "command",
	};

	return names[why];
}

static const char *const end_words[RTC_ENDS] = {
	[RTC_END_CONSENT] = "ended: no check of its client was answered for 30 s",
	[RTC_END_BACKEND] = "ended: its agent is no backend any more",
	[RTC_END_SERVICE] = "ended: its service is gone",
	[RTC_END_COMMAND] = "ended by command",
};

static void session_ended(void *context, const struct rtc_session_info *info, enum rtc_end why)
{
	struct daemon_sessions *sessions = context;
	json_t *event;

	sessions->ended[why]++;
	note(sessions, LOG_LEVEL_DEBUG, "Ended", info, end_words[why], &event);
	if (event)
		json_object_set_new(event, "reason", json_string(daemon_session_end_name(why)));
	event_send(sessions, event);
	session_watch_ended(sessions->watch, info);
	session_book_row_ended(sessions->book, info->row);
}

/* --- the store --------------------------------------------------------------------------------------------------------- */

static void record_put(struct daemon_sessions *sessions, const struct store_record *stored)
{
	struct session_record record;
	struct error error = {0};

	if (session_record_read(stored->key, stored->value.data, &record, &error) < 0)
		log_error("the session at %s in the store cannot be used: %s", stored->key, error.text);
	else
		session_book_put(sessions->book, &record);
}

static void record_remove(struct daemon_sessions *sessions, const char *key)
{
	static const char any[] = "{\"backend\":\"0.0.0.0:1\"}";
	struct session_record record;

	/* the key says which */
	if (session_record_read(key, any, &record, NULL) < 0)
		return;
	session_book_remove(sessions->book, record.service, record.ufrag, daemon_sessions_now_ms(sessions));
	session_record_done(&record);
}

static void records_list(struct daemon_sessions *sessions);

static void watch_events(void *context, const struct store_event *events, size_t count, uint64_t revision)
{
	struct daemon_sessions *sessions = context;

	for (size_t i = 0; i < count; i++) {
		if (events[i].kind == STORE_EVENT_PUT)
			record_put(sessions, &events[i].record);
		else
			record_remove(sessions, events[i].record.key);
	}
	daemon_sessions_step_soon(sessions);
}

static void watch_failed(void *context, int status, const struct error *error)
{
	struct daemon_sessions *sessions = context;

	if (status != -ESTALE)
		log_warning("following the sessions in the store: %s; reading them anew", error->text);
	store_watch_free(sessions->store_watch);
	sessions->store_watch = NULL;
	records_list(sessions);
}

static const struct store_watch_handler watch_handler = {.events = watch_events, .failed = watch_failed};

static int key_compare(const void *wanted, const void *record)
{
	return strcmp(wanted, ((const struct store_record *)record)->key);
}

/* What was removed while nobody watched. */
static void gone_remove(struct daemon_sessions *sessions, const struct store_step_result *found)
{
	struct session_entry *entry = NULL, *next;

	for (next = session_book_next(sessions->book, NULL); (entry = next);) {
		_cleanup_(freep) char *key = session_record_key(entry->record.service, entry->record.ufrag);

		next = session_book_next(sessions->book, entry);
		if (!found->record_count || !bsearch(key, found->records, found->record_count, sizeof(*found->records), key_compare))
			session_book_remove(sessions->book, entry->record.service, entry->record.ufrag, daemon_sessions_now_ms(sessions));
	}
}

static void records_listed(void *context, int status, const struct store_result *result, const struct error *error)
{
	struct daemon_sessions *sessions = context;

	if (status == -ECANCELED)
		return;
	if (status < 0) {
		log_error("reading the sessions in the store: %s", error->text);
		return;
	}
	gone_remove(sessions, &result->steps[0]);
	for (size_t i = 0; i < result->steps[0].record_count; i++)
		record_put(sessions, &result->steps[0].records[i]);
	sessions->store_watch = store_watch_new(sessions->daemon->store, SESSION_RECORDS, result->revision + 1, &watch_handler, sessions);
	sessions->loaded = true;
	daemon_sessions_step_soon(sessions);
}

static void records_list(struct daemon_sessions *sessions)
{
	store_list(sessions->daemon->store, SESSION_RECORDS, records_listed, sessions);
}

/* Its time is over: unless somebody has just given it more. */
static void record_expired(void *context, const struct session_record *record)
{
	struct daemon_sessions *sessions = context;
	_cleanup_(freep) char *key = session_record_key(record->service, record->ufrag);
	_cleanup_(freep) char *value = session_record_value(record);
	struct store_compare compare = {.kind = STORE_COMPARE_VALUE, .key = key, .value = store_text(value)};
	struct store_step step = {.kind = STORE_DELETE, .key = key};
	struct store_transaction transaction = {.compares = &compare, .compare_count = 1, .then_steps = &step, .then_count = 1};

	store_transact(sessions->daemon->store, &transaction, NULL, NULL);
}

/* --- turns ------------------------------------------------------------------------------------------------------------- */

static void step(evutil_socket_t fd, short what, void *context)
{
	struct daemon_sessions *sessions = context;

	if (session_book_step(sessions->book, daemon_sessions_now_ms(sessions), STEP_ENTRIES))
		daemon_sessions_step_soon(sessions);
}

void daemon_sessions_step_soon(struct daemon_sessions *sessions)
{
	/* a turn of the loop for others lies between two steps */
	evtimer_add(sessions->step_event, &(struct timeval){0});
}

/*
 * Sessions of services with a limit, where packets look for recorded flows (lb_limit_is_full()): of these services none are recorded. A
 * few more may begin between two looks.
 */
static void limits_write(const struct daemon_sessions *sessions)
{
	struct lb_limiter *limiter = programmer_tables(sessions->daemon->programmer)->limiter;

	for (size_t i = 0; i < sessions->limited_count; i++)
		store_once(limiter->flows[sessions->limited[i]], (uint64_t)session_watch_counts(sessions->watch, sessions->limited[i]).live);
}

static void look(evutil_socket_t fd, short what, void *context)
{
	struct daemon_sessions *sessions = context;
	uint32_t wait_ms = session_watch_step(sessions->watch, daemon_sessions_now_ms(sessions));

	limits_write(sessions);
	evtimer_add(sessions->look_event, &(struct timeval){.tv_usec = (suseconds_t)(1000 * wait_ms)});
}

void daemon_sessions_sweep(struct daemon_sessions *sessions)
{
	/* rows that are given back are known before */
	session_watch_step(sessions->watch, daemon_sessions_now_ms(sessions));
	if (sessions->loaded)
		session_book_expire(sessions->book, daemon_unix_ms(), session_book_count(sessions->book) / EXPIRE_SHARE + 16, record_expired,
				    sessions);
}

static void agents_fill(const struct daemon *daemon, const struct lb_service_wanted *wanted, struct session_place_agent *agents,
			size_t *ret_count)
{
	size_t count = 0;

	for (size_t i = 0; i < wanted->backend_count; i++) {
		uint16_t row = edge_program_backend_row(programmer_program(daemon->programmer), wanted, &wanted->backends[i]);

		if (row)
			agents[count++] = (struct session_place_agent){wanted->backends[i].address, wanted->backends[i].port, row, 0};
	}
	*ret_count = count;
}

static void limited_find(struct daemon_sessions *sessions)
{
	const struct reconcile_result *result = &sessions->daemon->result;

	sessions->limited = memory_array(sessions->limited, result->service_count, sizeof(*sessions->limited));
	sessions->limited_count = 0;
	for (size_t i = 0; i < result->service_count; i++) {
		const struct lb_service_wanted *wanted = &result->wanted.services[i];
		uint16_t row = wanted->media && wanted->flows_max
				       ? edge_program_service_row(programmer_program(sessions->daemon->programmer), wanted)
				       : 0;

		if (row)
			sessions->limited[sessions->limited_count++] = row;
	}
}

void daemon_sessions_places(struct daemon_sessions *sessions)
{
	const struct daemon *daemon = sessions->daemon;
	const struct reconcile_result *result = &daemon->result;
	struct session_place *places = memory_array(NULL, result->service_count, sizeof(*places));
	size_t count = 0;

	for (size_t i = 0; i < result->service_count; i++) {
		const struct reconcile_service *service = &result->services[i];
		const struct lb_service_wanted *wanted = &result->wanted.services[service->wanted];
		uint16_t row = wanted->media ? edge_program_service_row(programmer_program(daemon->programmer), wanted) : 0;
		struct session_place_agent *agents;
		struct session_place *place;
		char *name;

		if (!row)
			continue;
		if (asprintf(&name, "%s/%s", service->object->meta.namespace_name, service->object->meta.name) < 0)
			abort();
		place = &places[count++];
		agents = memory_array(NULL, wanted->backend_count, sizeof(*agents));
		*place = (struct session_place){.service = name, .row = row, .agents = agents};
		agents_fill(daemon, wanted, agents, &place->agent_count);
	}
	session_book_places_set(sessions->book, places, count);
	limited_find(sessions);
	for (size_t i = 0; i < count; i++) {
		free((char *)places[i].service);
		free((struct session_place_agent *)places[i].agents);
	}
	free(places);
	daemon_sessions_step_soon(sessions);
}

void daemon_sessions_inspect(struct daemon_sessions *sessions)
{
	secrets_age(sessions);
	session_book_retry(sessions->book);
	daemon_sessions_step_soon(sessions);
}

/* --- start and end ----------------------------------------------------------------------------------------------------- */

struct daemon_sessions *daemon_sessions_new(struct daemon *daemon)
{
	static const struct session_watch_events events = {NULL, session_silent, session_resumed, session_began, session_measured, session_waits};
	struct daemon_sessions *sessions = memory_or_end(calloc(1, sizeof(*sessions)));
	const struct edge_tables *tables = programmer_tables(daemon->programmer);

	sessions->daemon = daemon;
	sessions->program = edge_program_rtc(programmer_program(daemon->programmer));
	sessions->events = events;
	sessions->events.context = sessions;
	sessions->book = session_book_new(sessions->program);
	sessions->watch = session_watch_new(sessions->program, tables->rtc, tables->sessions, &sessions->events);
	sessions->figures = memory_or_end(calloc(LB_SERVICE_ROWS, sizeof(struct session_figures *)));
	rtc_program_on_end(sessions->program, session_ended, sessions);
	sessions->step_event = evtimer_new(daemon->base, step, sessions);
	sessions->look_event = evtimer_new(daemon->base, look, sessions);
	records_list(sessions);
	return sessions;
}

void daemon_sessions_begin(struct daemon_sessions *sessions)
{
	if (!evtimer_pending(sessions->look_event, NULL))
		look(-1, 0, sessions);
}

void daemon_sessions_store_stop(struct daemon_sessions *sessions)
{
	if (!sessions)
		return;
	store_watch_free(sessions->store_watch);
	sessions->store_watch = NULL;
}

void daemon_sessions_free(struct daemon_sessions *sessions)
{
	if (!sessions)
		return;
	rtc_program_on_end(sessions->program, NULL, NULL);
	event_free(sessions->step_event);
	event_free(sessions->look_event);
	session_watch_free(sessions->watch);
	session_book_free(sessions->book);
	for (size_t i = 0; i < LB_SERVICE_ROWS; i++)
		free(sessions->figures[i]);
	free(sessions->figures);
	free(sessions->limited);
	free(sessions);
}

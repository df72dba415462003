/* SPDX-License-Identifier: Apache-2.0 */
/* What the API shows of sessions, and what it asks for: registrations, ends, encoded fragments. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/lib/memory.h"
#include "ctrl/daemon/sessions.h"
#include "ctrl/session/view.h"

/* --- what is known of them ---------------------------------------------------------------------------------------------- */

const struct reconcile_service *daemon_sessions_service_at(const struct daemon *daemon, uint16_t row)
{
	for (size_t i = 0; i < daemon->result.service_count; i++) {
		const struct reconcile_service *service = &daemon->result.services[i];
		const struct lb_service_wanted *wanted = &daemon->result.wanted.services[service->wanted];

		if (wanted->media && edge_program_service_row(programmer_program(daemon->programmer), wanted) == row)
			return service;
	}
	return NULL;
}

static const char *backend_state(const struct reconcile_service *service, const struct rtc_session_info *info)
{
	static const char *const names[] = {
		[LB_BACKEND_FREE] = "gone", [LB_BACKEND_UP] = "up", [LB_BACKEND_DRAINING] = "draining", [LB_BACKEND_DOWN] = "down"};

	for (size_t i = 0; i < service->backend_count; i++) {
		const struct reconcile_backend *backend = &service->backends[i];

		if (address_equal(&backend->address, &info->agent) && (backend->port == 0 || backend->port == info->agent_port))
			return names[backend->state];
	}
	return NULL;
}

static json_t *row_json(const struct daemon_sessions *sessions, uint32_t row)
{
	const struct daemon *daemon = sessions->daemon;
	struct session_view view = {.entry = session_book_of_row(sessions->book, row), .silent = session_watch_silent(sessions->watch, row),
				    .now_unix_ms = daemon_unix_ms()};
	const struct reconcile_service *service;
	struct rtc_session_info info;
	char vip[ENDPOINT_TEXT_SIZE];

	if (!rtc_program_read(sessions->program, row, daemon_sessions_now_ms(sessions), &info))
		return NULL;
	service = daemon_sessions_service_at(daemon, info.service);
	if (!service)
		return NULL;
	view.info = &info;
	view.namespace_name = service->object->meta.namespace_name;
	view.service = service->object->meta.name;
	view.vip = endpoint_format(&daemon->result.wanted.services[service->wanted].address, service->port->port, vip);
	view.backend_state = backend_state(service, &info);
	return session_view_json(&view);
}

static json_t *entry_json(const struct session_entry *entry)
{
	const char *slash = strchr(entry->record.service, '/');
	_cleanup_(freep) char *space = strndup(entry->record.service, (size_t)(slash - entry->record.service));
	const struct session_view view = {.entry = entry, .namespace_name = space, .service = slash + 1, .silent = SESSION_DIRECTIONS,
					  .now_unix_ms = daemon_unix_ms()};

	return session_view_json(&view);
}

static const struct object *service_object(const struct daemon *daemon, const char *namespace_name, const char *name)
{
	size_t count;
	const struct object *const *objects = catalogue_objects(daemon->catalogue, &count);

	for (size_t i = 0; i < count; i++)
		if (objects[i]->kind == OBJECT_SERVICE && strcmp(objects[i]->meta.name, name) == 0 &&
		    strcmp(objects[i]->meta.namespace_name, namespace_name) == 0)
			return objects[i];
	return NULL;
}

static int service_check(const struct daemon *daemon, const char *namespace_name, const char *name, struct error *error)
{
	const struct object *object = service_object(daemon, namespace_name, name);

	if (!object)
		return error_set(error, ENOENT, "services \"%s\" not found in the namespace \"%s\"", name, namespace_name);
	for (size_t i = 0; i < object->service.port_count; i++)
		if (service_port_is_webrtc(&object->service.ports[i]))
			return 0;
	return error_set(error, EINVAL, "the service %s/%s carries no calls: none of its ports has appProtocol: " APP_PROTOCOL_WEBRTC,
			 namespace_name, name);
}

/* Those that are in no table, on the last page: they have no number to go on from. Returns how many there was no room for. */
static size_t entries_append(const struct daemon_sessions *sessions, const char *service, size_t limit, json_t *items)
{
	size_t left = 0, added = 0;

	for (struct session_entry *entry = NULL; (entry = session_book_next(sessions->book, entry));) {
		if (entry->row_count || (service && strcmp(entry->record.service, service) != 0))
			continue;
		if (added++ < limit)
			json_array_append_new(items, entry_json(entry));
		else
			left++;
	}
	return left;
}

json_t *daemon_view_sessions(void *context, const struct api_session_query *query, struct error *error)
{
	struct daemon *daemon = context;
	const struct daemon_sessions *sessions = daemon->sessions;
	uint32_t row = query->after ? session_id_parse(query->after) : 0, last = 0;
	_cleanup_(freep) char *service = NULL;
	json_t *items, *answer;
	size_t left;

	if (query->service) {
		if (service_check(daemon, query->namespace_name, query->service, error) < 0)
			return NULL;
		if (asprintf(&service, "%s/%s", query->namespace_name, query->service) < 0)
			abort();
	}
	items = json_array();
	while ((row = rtc_program_next(sessions->program, row)) && json_array_size(items) < query->limit) {
		const char *name = daemon_sessions_service_name(sessions, load_once(programmer_tables(daemon->programmer)->sessions->rows[row].service));
		json_t *json = !service || (name && strcmp(name, service) == 0) ? row_json(sessions, row) : NULL;

		if (json)
			json_array_append_new(items, json);
		last = row;
	}
	answer = json_pack("{s:o}", "items", items);
	if (row) {
		json_object_set_new(answer, "next", json_sprintf("@%u", last));
		return answer;
	}
	left = entries_append(sessions, service, query->limit, items);
	if (left)
		json_object_set_new(answer, "notShown", json_integer((json_int_t)left));
	return answer;
}

/* Calls `visit` for each row that a name stands for in a service, or in all. */
static size_t rows_of_name(const struct daemon_sessions *sessions, const char *service, const char *name, uint32_t *ret_rows, size_t max)
{
	uint32_t row = session_id_parse(name);
	size_t count, found = 0;
	const struct session_place *places = session_book_places(sessions->book, &count);
	struct rtc_session_info info;

	for (size_t i = 0; i < count && found < max; i++) {
		if (service && strcmp(places[i].service, service) != 0)
			continue;
		if (row && rtc_program_read(sessions->program, row, daemon_sessions_now_ms(sessions), &info) && info.service == places[i].row)
			ret_rows[found++] = row;
		else if (!row && (ret_rows[found] = rtc_program_find(sessions->program, places[i].row, name)))
			found++;
	}
	return found;
}

static char *service_text(const char *namespace_name, const char *service)
{
	char *text = NULL;

	if (service && asprintf(&text, "%s/%s", namespace_name, service) < 0)
		abort();
	return text;
}

/* The registration of a fragment, in a service or in any; with `ret_count` of them. */
static struct session_entry *entry_of_name(const struct daemon_sessions *sessions, const char *service, const char *name, size_t *ret_count)
{
	struct session_entry *entry = NULL, *found = NULL;

	*ret_count = 0;
	if (service) {
		found = session_book_find(sessions->book, service, name);
		*ret_count = found != NULL;
		return found;
	}
	while ((entry = session_book_next(sessions->book, entry))) {
		if (strcmp(entry->record.ufrag, name) != 0)
			continue;
		found = entry;
		(*ret_count)++;
	}
	return found;
}

static int not_found(const char *service, const char *name, struct error *error)
{
	return error_set(error, ENOENT, "no session \"%.80s\"%s%s; `selvage session list` shows them", name, service ? " of " : "",
			 service ? service : "");
}

json_t *daemon_view_session(void *context, const char *namespace_name, const char *service_name, const char *path_name, struct error *error)
{
	struct daemon *daemon = context;
	const struct daemon_sessions *sessions = daemon->sessions;
	_cleanup_(freep) char *service = service_text(namespace_name, service_name), *name = memory_or_end(strdup(path_name));
	json_t *items = json_array();
	const struct session_entry *entry;
	uint32_t rows[64];
	size_t count, entries;

	session_ufrag_from_path(name);
	count = rows_of_name(sessions, service, name, rows, array_length(rows));
	for (size_t i = 0; i < count; i++) {
		json_t *json = row_json(sessions, rows[i]);

		if (json)
			json_array_append_new(items, json);
	}
	entry = entry_of_name(sessions, service, name, &entries);
	if (entry && !count)
		json_array_append_new(items, entry_json(entry));
	if (json_array_size(items))
		return json_pack("{s:o}", "items", items);
	json_decref(items);
	not_found(service, name, error);
	return NULL;
}

/* --- commands ---------------------------------------------------------------------------------------------------------- */

struct put_job {
	struct daemon_sessions *sessions;
	struct session_record record;
	struct api_action *action;
};

static void put_stored(void *context, int status, const struct store_result *result, const struct error *error)
{
	struct put_job *job = context;
	struct error failed = {0};

	/* Right away, so that whoever gets the answer may send its client. The watch will find it done. */
	if (status == 0) {
		struct session_entry *entry = session_book_put(job->sessions->book, &job->record);

		status = session_book_apply(job->sessions->book, entry, daemon_sessions_now_ms(job->sessions), &failed);
		error = &failed;
	}
	api_action_done(job->action, status, error);
	session_record_done(&job->record);
	free(job);
}

/* The backend that an agent is, at any of the service's places; NULL: none. */
static const struct reconcile_backend *agent_backend(const struct daemon *daemon, const char *namespace_name, const char *name,
						     const struct session_agent *agent)
{
	for (size_t i = 0; i < daemon->result.service_count; i++) {
		const struct reconcile_service *service = &daemon->result.services[i];

		if (!service_port_is_webrtc(service->port) || strcmp(service->object->meta.name, name) != 0 ||
		    strcmp(service->object->meta.namespace_name, namespace_name) != 0)
			continue;
		for (size_t b = 0; b < service->backend_count; b++) {
			const struct reconcile_backend *backend = &service->backends[b];

			if (address_equal(&backend->address, &agent->address) && (backend->port == 0 || backend->port == agent->port))
				return backend;
		}
	}
	return NULL;
}

/* Whether there is such a session, registered or live. */
static bool name_known(const struct daemon_sessions *sessions, const char *service, const char *ufrag)
{
	uint32_t row;

	return ufrag && (session_book_find(sessions->book, service, ufrag) || rows_of_name(sessions, service, ufrag, &row, 1));
}

/* New sessions do not go to an agent that is drained; one that is known there goes on, with a new fragment too. */
static int agents_check(const struct daemon *daemon, const char *namespace_name, const char *name, const struct session_record *record,
			struct error *error)
{
	const struct daemon_sessions *sessions = daemon->sessions;
	bool known = name_known(sessions, record->service, record->ufrag) || name_known(sessions, record->service, record->restarts);
	char text[ENDPOINT_TEXT_SIZE];

	for (size_t i = 0; i < record->agent_count; i++) {
		const struct session_agent *agent = &record->agents[i];
		const struct reconcile_backend *backend = agent_backend(daemon, namespace_name, name, agent);

		endpoint_format(&agent->address, agent->port, text);
		if (!backend)
			return error_set(error, EINVAL, "the service %s has no backend %s; `selvage service backends` lists them",
					 record->service, text);
		if (!known && strcmp(backend->reason, "drained by the operator") == 0)
			return error_set(error, EBUSY, "the backend %s of %s is drained: it takes no new sessions", text, record->service);
	}
	return 0;
}

static int room_check(const struct daemon_sessions *sessions, const struct session_record *record, struct error *error)
{
	struct rtc_usage usage = rtc_program_usage(sessions->program);

	if (usage.used < usage.limit || session_book_find(sessions->book, record->service, record->ufrag))
		return 0;
	return error_set(error, ENOSPC, "all of the %u sessions that there is room for are in use", usage.limit);
}

void daemon_session_put(void *context, const char *namespace_name, const char *service_name, const char *path_ufrag, const json_t *body,
			struct api_action *action)
{
	struct daemon *daemon = context;
	_cleanup_(freep) char *service = service_text(namespace_name, service_name), *ufrag = memory_or_end(strdup(path_ufrag));
	_cleanup_(session_record_done) struct session_record record = {0};
	_cleanup_(freep) char *key = NULL, *value = NULL;
	struct put_job *job;
	struct error error = {0};
	int status;

	session_ufrag_from_path(ufrag);
	if ((status = service_check(daemon, namespace_name, service_name, &error)) < 0 ||
	    (status = session_record_parse(service, ufrag, body, daemon_unix_ms(), &record, &error)) < 0 ||
	    (status = agents_check(daemon, namespace_name, service_name, &record, &error)) < 0 ||
	    (status = room_check(daemon->sessions, &record, &error)) < 0) {
		api_action_done(action, status, &error);
		return;
	}
	key = session_record_key(service, ufrag);
	value = session_record_value(&record);
	job = memory_or_end(calloc(1, sizeof(*job)));
	*job = (struct put_job){daemon->sessions, record, action};
	record = (struct session_record){0};
	store_put(daemon->store, key, store_text(value), 0, put_stored, job);
}

struct remove_job {
	struct daemon_sessions *sessions;
	char *service, *ufrag;
	struct api_action *action;
};

static void remove_stored(void *context, int status, const struct store_result *result, const struct error *error)
{
	struct remove_job *job = context;

	if (status == 0)
		session_book_remove(job->sessions->book, job->service, job->ufrag, daemon_sessions_now_ms(job->sessions));
	api_action_done(job->action, status, error);
	free(job->service);
	free(job->ufrag);
	free(job);
}

static void entry_delete(struct daemon_sessions *sessions, const struct session_entry *entry, struct api_action *action)
{
	_cleanup_(freep) char *key = session_record_key(entry->record.service, entry->record.ufrag);
	struct remove_job *job = memory_or_end(calloc(1, sizeof(*job)));

	*job = (struct remove_job){sessions, memory_or_end(strdup(entry->record.service)), memory_or_end(strdup(entry->record.ufrag)), action};
	store_delete(sessions->daemon->store, key, remove_stored, job);
}

void daemon_session_remove(void *context, const char *namespace_name, const char *service_name, const char *path_name,
			   struct api_action *action)
{
	struct daemon *daemon = context;
	struct daemon_sessions *sessions = daemon->sessions;
	_cleanup_(freep) char *service = service_text(namespace_name, service_name), *name = memory_or_end(strdup(path_name));
	const struct session_entry *entry;
	struct error error = {0};
	uint32_t rows[64];
	size_t count, entries;

	session_ufrag_from_path(name);
	count = rows_of_name(sessions, service, name, rows, array_length(rows));
	entry = entry_of_name(sessions, service, name, &entries);
	if (!entry && count)
		entry = session_book_of_row(sessions->book, rows[0]);
	if (entries > 1) {
		api_action_done(action, error_set(&error, EINVAL, "%zu services have a session \"%.80s\"; say which one", entries, name), &error);
		return;
	}
	if (!entry && !count) {
		api_action_done(action, not_found(service, name, &error), &error);
		return;
	}
	for (size_t i = 0; i < count; i++)
		rtc_program_end(sessions->program, rows[i], daemon_sessions_now_ms(sessions));
	if (entry)
		entry_delete(sessions, entry, action);
	else
		api_action_done(action, 0, NULL);
}

/* --- encoded fragments ------------------------------------------------------------------------------------------------- */

/* The service of calls that has the backend; NULL with an error: none, or several. */
static const struct object *ufrag_service(const struct daemon *daemon, const char *namespace_name, const char *service,
					  const struct session_agent *agent, const char *text, struct error *error)
{
	const struct object *found = NULL;

	for (size_t i = 0; i < daemon->result.service_count; i++) {
		const struct object *object = daemon->result.services[i].object;

		if (object == found || (service && (strcmp(object->meta.name, service) != 0 || strcmp(object->meta.namespace_name, namespace_name) != 0)) ||
		    !agent_backend(daemon, object->meta.namespace_name, object->meta.name, agent))
			continue;
		if (found) {
			error_set(error, EINVAL, "%s is a backend of %s/%s and of %s/%s: say for which service", text,
				  found->meta.namespace_name, found->meta.name, object->meta.namespace_name, object->meta.name);
			return NULL;
		}
		found = object;
	}
	if (!found)
		error_set(error, ENOENT, "%s is no backend of %s; `selvage service backends` lists them", text,
			  service ? service : "a service of calls");
	return found;
}

json_t *daemon_session_ufrags(void *context, const char *namespace_name, const char *service_name, const char *backend, uint32_t count,
			      struct error *error)
{
	struct daemon *daemon = context;
	const struct session_secrets *secrets = &daemon->sessions->secrets;
	struct session_agent agent = {0};
	struct rtc_ufrag_target target = {0};
	_cleanup_(freep) char *service = NULL;
	const struct reconcile_backend *found;
	const struct object *object;
	struct siphash_key key;
	json_t *list;

	if (endpoint_parse(backend, &agent.address, &agent.port) < 0 || !agent.port) {
		error_set(error, EINVAL, "\"%.80s\" is not a backend: write ADDRESS:PORT or [IPV6]:PORT", backend);
		return NULL;
	}
	if (service_name && service_check(daemon, namespace_name, service_name, error) < 0)
		return NULL;
	object = ufrag_service(daemon, namespace_name, service_name, &agent, backend, error);
	if (!object)
		return NULL;
	found = agent_backend(daemon, object->meta.namespace_name, object->meta.name, &agent);
	if (strcmp(found->reason, "drained by the operator") == 0) {
		error_set(error, EBUSY, "the backend %s is drained: it takes no new sessions", backend);
		return NULL;
	}
	if (!secrets->count) {
		error_set(error, EAGAIN, "there are no keys yet; try again");
		return NULL;
	}
	service = service_text(object->meta.namespace_name, object->meta.name);
	key = rtc_ufrag_service_key(&secrets->items[0].key, service);
	target = (struct rtc_ufrag_target){.address = agent.address, .port = be16_from(agent.port)};
	list = json_array();
	for (uint32_t i = 0; i < count; i++) {
		char text[RTC_UFRAG_IPV6_CHARS + 1];
		uint64_t random;

		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			abort();
		rtc_ufrag_encode(&key, secrets->items[0].number, &target, random, text);
		json_array_append_new(list, json_string(text));
	}
	return json_pack("{s:o, s:s, s:i}", "ufrags", list, "service", service, "keyNumber", (int)secrets->items[0].number);
}

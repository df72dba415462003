/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/daemon/dns.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/lib/log.h"
#include "base/lib/memory.h"
#include "ctrl/api/openmetrics.h"
#include "dns/dns_state.h"

#define CONTROL_SOCKET "dns.sock" /* dns/control.h */
#define RETRY_MS 250
#define STATISTICS_S 2
#define ANSWER_BYTES_MAX (128u << 20)
#define STATISTICS_ID 0 /* of questions that are our own */

struct question {
	LIST_ENTRY(question) all;
	json_int_t id;
	struct api_action *action;
	json_t *fast_path; /* of "stats": what packets' cache did, which selvage-dns does not see; else NULL */
};

/* Results of packets' cache as people read them. */
static const char *const places[] = {
	[DNS_RESULT_ANSWER] = "answer",	  [DNS_RESULT_NEGATIVE] = "negative",	[DNS_RESULT_NO_NAME] = "no_name",
	[DNS_RESULT_STALE] = "stale",	  [DNS_RESULT_TRUNCATED] = "truncated", [DNS_RESULT_MISS] = "miss",
	[DNS_RESULT_EXPIRED] = "expired", [DNS_RESULT_UNUSUAL] = "unusual",	[DNS_RESULT_NO_ROOM] = "no_room",
	[DNS_RESULT_TORN] = "torn",
};

struct dns_link {
	struct event_base *base;
	const struct config *config;
	struct bufferevent *events; /* NULL: not connected */
	struct event *retry, *statistics_event;
	struct names_result names; /* as they were told last, or are to be */
	bool names_known;
	json_int_t version;
	json_t *policies, *statistics;
	LIST_HEAD(, question) questions;
	json_int_t last_id;
	bool told_missing;
};

/* --- messages ------------------------------------------------------------------------------------------------------------------ */

static void message_send(struct dns_link *link, json_t *message)
{
	char *text = json_dumps(message, JSON_COMPACT);

	json_decref(message);
	bufferevent_write(link->events, text, strlen(text));
	bufferevent_write(link->events, "\n", 1);
	free(text);
}

static json_t *record_json(const struct zone_record *record)
{
	char name[DNS_NAME_TEXT_SIZE], type[16], *hex = memory_or_end(calloc(1, 2u * record->data_length + 1));
	json_t *json;

	for (size_t i = 0; i < record->data_length; i++)
		sprintf(hex + 2 * i, "%02x", record->data[i]);
	json = json_pack("[s, s, i, s]", dns_name_format(&record->owner, name), dns_type_format(record->type, type),
			 (int)record->ttl, hex);
	free(hex);
	return json;
}

static void snapshot_send(struct dns_link *link)
{
	json_t *records = json_array(), *zones = json_array();
	char name[DNS_NAME_TEXT_SIZE];

	for (size_t i = 0; i < link->names.count; i++)
		json_array_append_new(records, record_json(&link->names.records[i]));
	for (size_t i = 0; i < link->names.zone_count; i++) {
		const struct zone_config *zone = &link->names.zones[i];

		json_array_append_new(zones, json_pack("{s:s, s:b, s:b, s:i}", "name", dns_name_format(&zone->name, name),
						       "partial", zone->partial, "pods", zone->pods, "negativeTtl",
						       (int)zone->negative_ttl));
	}
	message_send(link, json_pack("{s:s, s:b, s:I, s:o, s:o}", "op", "names", "snapshot", 1, "version", ++link->version, "zones",
				     zones, "records", records));
}

static void policies_send(struct dns_link *link)
{
	message_send(link, json_pack("{s:s, s:O}", "op", "steering", "policies", link->policies));
}

/* Both are sorted: what is only in one of them. */
static void changes_send(struct dns_link *link, const struct names_result *fresh)
{
	json_t *add = json_array(), *removed = json_array();
	size_t i = 0, k = 0;

	while (i < link->names.count || k < fresh->count) {
		int order = i == link->names.count ? 1 : k == fresh->count ? -1 :
			zone_record_compare(&link->names.records[i], &fresh->records[k]);

		if (order < 0)
			json_array_append_new(removed, record_json(&link->names.records[i]));
		else if (order > 0)
			json_array_append_new(add, record_json(&fresh->records[k]));
		i += order <= 0;
		k += order >= 0;
	}
	if (json_array_size(add) + json_array_size(removed) && link->events) {
		message_send(link, json_pack("{s:s, s:I, s:I, s:o, s:o}", "op", "names", "from", link->version, "version",
					     link->version + 1, "add", add, "remove", removed));
		link->version++;
		return;
	}
	json_decref(add);
	json_decref(removed);
}

/* --- answers -------------------------------------------------------------------------------------------------------------------- */

static void question_end(struct question *question, const json_t *answer)
{
	json_t *result = json_object_get(answer, "result");
	const char *why = json_string_value(json_object_get(answer, "error"));
	struct error error;

	LIST_REMOVE(question, all);
	if (result) {
		if (question->fast_path)
			json_object_set(json_object_get(result, "fastPath"), "results", question->fast_path);
		api_action_reply(question->action, json_incref(result));
	} else {
		int status = error_set(&error, why ? EINVAL : EAGAIN, "%s", why ? why : "selvage-dns ended before it answered");

		api_action_done(question->action, status, &error);
	}
	json_decref(question->fast_path);
	free(question);
}

static void answer_take(struct dns_link *link, const json_t *answer)
{
	const json_t *id = json_object_get(answer, "id");
	struct question *question;

	if (json_is_true(json_object_get(answer, "resync"))) {
		snapshot_send(link);
		return;
	}
	if (!json_is_integer(id))
		return;
	if (json_integer_value(id) == STATISTICS_ID) {
		json_decref(link->statistics);
		link->statistics = json_incref(json_object_get(answer, "result"));
		return;
	}
	LIST_FOREACH(question, &link->questions, all) {
		if (question->id == json_integer_value(id)) {
			question_end(question, answer);
			return;
		}
	}
}

/* --- the connection ---------------------------------------------------------------------------------------------------------------- */

static void link_close(struct dns_link *link)
{
	if (link->events)
		bufferevent_free(link->events);
	link->events = NULL;
	json_decref(link->statistics);
	link->statistics = NULL;
	while (!LIST_EMPTY(&link->questions))
		question_end(LIST_FIRST(&link->questions), NULL);
}

static void retry_soon(struct dns_link *link)
{
	struct timeval wait = {.tv_usec = RETRY_MS * 1000};

	evtimer_add(link->retry, &wait);
}

static void link_read(struct bufferevent *events, void *context)
{
	struct dns_link *link = context;
	struct evbuffer *input = bufferevent_get_input(events);
	size_t length;
	char *line;

	while ((line = evbuffer_readln(input, &length, EVBUFFER_EOL_LF))) {
		json_t *answer = json_loadb(line, length, 0, NULL);

		free(line);
		if (answer)
			answer_take(link, answer);
		json_decref(answer);
	}
	if (evbuffer_get_length(input) > ANSWER_BYTES_MAX) {
		link_close(link);
		retry_soon(link);
	}
}

static void link_event(struct bufferevent *events, short what, void *context)
{
	struct dns_link *link = context;

	if (what & BEV_EVENT_CONNECTED)
		return;
	log_warning("selvage-dns is gone; what packets' cache holds is answered, other queries are not");
	link_close(link);
	retry_soon(link);
}

static void link_connect(evutil_socket_t unused, short what, void *context)
{
	struct dns_link *link = context;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/" CONTROL_SOCKET, link->config->run_directory);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		if (fd >= 0)
			close(fd);
		if (!link->told_missing)
			log_info("selvage-dns is not there yet (%s/" CONTROL_SOCKET ")", link->config->run_directory);
		link->told_missing = true;
		retry_soon(link);
		return;
	}
	log_info("selvage-dns is there");
	link->told_missing = false;
	link->events = bufferevent_socket_new(link->base, fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	bufferevent_setcb(link->events, link_read, NULL, link_event, link);
	bufferevent_enable(link->events, EV_READ | EV_WRITE);
	if (link->names_known) {
		snapshot_send(link);
		policies_send(link);
	}
}

static void statistics_ask(evutil_socket_t fd, short what, void *context)
{
	struct dns_link *link = context;

	if (link->events)
		message_send(link, json_pack("{s:i, s:s}", "id", STATISTICS_ID, "op", "stats"));
}

struct dns_link *dns_link_new(struct event_base *base, const struct config *config)
{
	struct timeval interval = {.tv_sec = STATISTICS_S}, at_once = {0};
	struct dns_link *link;

	if (!config->dns.enabled)
		return NULL;
	link = memory_or_end(calloc(1, sizeof(*link)));
	link->base = base;
	link->config = config;
	LIST_INIT(&link->questions);
	link->retry = evtimer_new(base, link_connect, link);
	evtimer_add(link->retry, &at_once);
	link->statistics_event = event_new(base, -1, EV_PERSIST, statistics_ask, link);
	event_add(link->statistics_event, &interval);
	return link;
}

void dns_link_free(struct dns_link *link)
{
	if (!link)
		return;
	link_close(link);
	event_free(link->retry);
	event_free(link->statistics_event);
	names_result_done(&link->names);
	json_decref(link->policies);
	free(link);
}

bool dns_link_connected(const struct dns_link *link)
{
	return !link || link->events;
}

/* --- what is told ------------------------------------------------------------------------------------------------------------------- */

size_t dns_link_addresses(const struct config *config, struct reconcile_dns *ret_addresses, size_t size)
{
	size_t count = 0;

	for (size_t i = 0; config->dns.enabled && i < config->dns.listen_count && count < size; i++)
		ret_addresses[count++] = (struct reconcile_dns){config->dns.listen[i].address, config->dns.listen[i].port, config->dns.limit,
								config->dns.limit_bits};
	return count;
}

void dns_link_set(struct dns_link *link, const struct dns_wanted_input *input)
{
	struct dns_wanted_input own = *input;
	struct address servers[16];
	struct names_result fresh;
	json_t *policies;

	if (!link)
		return;
	own.zone = link->config->dns.cluster_domain;
	own.servers = servers;
	for (size_t i = 0; i < link->config->dns.listen_count && own.server_count < array_length(servers); i++)
		servers[own.server_count++] = link->config->dns.listen[i].address;
	dns_names_wanted(&own, &fresh);
	policies = dns_policies_wanted(&own);
	if (link->names_known)
		changes_send(link, &fresh);
	names_result_done(&link->names);
	link->names = fresh;
	if (!link->names_known && link->events)
		snapshot_send(link);
	if (!link->policies || !json_equal(link->policies, policies)) {
		json_decref(link->policies);
		link->policies = json_incref(policies);
		if (link->events)
			policies_send(link);
	}
	json_decref(policies);
	link->names_known = true;
}

static json_t *fast_path_json(const uint64_t *fast_path)
{
	json_t *results = json_object();

	for (size_t i = 0; i < array_length(places); i++)
		if (places[i])
			json_object_set_new(results, places[i], json_integer((json_int_t)fast_path[i]));
	return results;
}

void dns_link_ask(struct dns_link *link, const json_t *message, const uint64_t *fast_path, struct api_action *action)
{
	const char *operation = json_string_value(json_object_get(message, "op"));
	struct question *question;
	struct error error;
	json_t *own;

	if (!link || !link->events) {
		int status = error_set(&error, link ? EAGAIN : ENOENT,
				       link ? "selvage-dns is not running; `systemctl status selvage-dns` tells why" :
					      "this node answers no DNS: its configuration has no key dns");

		api_action_done(action, status, &error);
		return;
	}
	question = memory_or_end(calloc(1, sizeof(*question)));
	question->id = ++link->last_id;
	question->action = action;
	if (operation && strcmp(operation, "stats") == 0)
		question->fast_path = fast_path_json(fast_path);
	LIST_INSERT_HEAD(&link->questions, question, all);
	own = json_copy((json_t *)message);
	json_object_set_new(own, "id", json_integer(question->id));
	message_send(link, own);
}

/* --- metrics -------------------------------------------------------------------------------------------------------------------------- */

static uint64_t number(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

static void results_metrics(const json_t *results, const uint64_t *fast_path, struct evbuffer *text)
{
	const char *key;
	json_t *value;

	openmetrics_family(text, "selvage_dns_queries", "counter",
			   "Queries by where they were: packets' cache (what it could not answer is the process' then), the process.");
	for (size_t i = 0; i < array_length(places); i++)
		if (places[i])
			openmetrics_sample_count(text, "selvage_dns_queries_total", fast_path[i], "place", "fastpath", "result",
						 places[i], NULL);
	json_object_foreach((json_t *)results, key, value) {
		openmetrics_sample_count(text, "selvage_dns_queries_total", (uint64_t)json_integer_value(value), "place", "process",
					 "result", key, NULL);
	}
}

static void latency_metrics(const json_t *buckets, uint64_t sum_us, struct evbuffer *text)
{
	uint64_t sum = 0;
	json_t *bucket;
	char bound[32];
	size_t i;

	openmetrics_family(text, "selvage_dns_latency_seconds", "histogram", "From a query to its answer within selvage-dns.");
	json_array_foreach(buckets, i, bucket) {
		sum += number(bucket, "count");
		snprintf(bound, sizeof(bound), "%g", (double)number(bucket, "leUs") / 1e6);
		openmetrics_sample_count(text, "selvage_dns_latency_seconds_bucket", sum, "le",
					 i + 1 < json_array_size(buckets) ? bound : "+Inf", NULL);
	}
	openmetrics_sample_count(text, "selvage_dns_latency_seconds_count", sum, NULL);
	openmetrics_sample(text, "selvage_dns_latency_seconds_sum", (double)sum_us / 1e6, NULL);
}

static void upstream_family(const json_t *upstreams, struct evbuffer *text, const char *name, const char *key)
{
	json_t *zone, *server;
	size_t i, k;

	json_array_foreach(upstreams, i, zone) {
		json_array_foreach(json_object_get(zone, "servers"), k, server) {
			const char *server_name = json_string_value(json_object_get(server, "server"));
			const char *zone_name = json_string_value(json_object_get(zone, "zone"));
			const char *state = json_string_value(json_object_get(server, "state"));

			if (server_name && zone_name && state)
				openmetrics_sample_count(text, name, key ? number(server, key) : strcmp(state, "up") == 0, "zone",
							 zone_name, "server", server_name, NULL);
		}
	}
}

static void upstreams_metrics(const json_t *upstreams, struct evbuffer *text)
{
	static const struct {
		const char *name, *key, *help;
	} families[] = {
		{"selvage_dns_upstream_queries", "queries", "Queries sent to a server."},
		{"selvage_dns_upstream_timeouts", "timeouts", "Queries that a server did not answer in time."},
		{"selvage_dns_upstream_failures", "failures", "Answers of a server that say that it failed."},
		{"selvage_dns_upstream_hedges", "hedges", "Queries sent to a server because another one took long."},
		{"selvage_dns_upstream_strange", "strange", "Messages that were no answers to what was asked."},
	};

	openmetrics_family(text, "selvage_dns_upstream_health", "gauge", "1 for a server that answers.");
	upstream_family(upstreams, text, "selvage_dns_upstream_health", NULL);
	for (size_t i = 0; i < array_length(families); i++) {
		char total[64];

		snprintf(total, sizeof(total), "%s_total", families[i].name);
		openmetrics_family(text, families[i].name, "counter", families[i].help);
		upstream_family(upstreams, text, total, families[i].key);
	}
}

void dns_link_metrics(const struct dns_link *link, const uint64_t *fast_path, struct evbuffer *text)
{
	const json_t *statistics = link ? link->statistics : NULL;

	if (!link)
		return;
	openmetrics_family(text, "selvage_dns_connected", "gauge", "1 while selvage-dns runs.");
	openmetrics_sample_count(text, "selvage_dns_connected", link->events != NULL, NULL);
	results_metrics(json_object_get(statistics, "results"), fast_path, text);
	if (!statistics)
		return;
	latency_metrics(json_object_get(statistics, "latencyUs"), number(statistics, "latencySumUs"), text);
	upstreams_metrics(json_object_get(statistics, "upstreams"), text);
	openmetrics_family(text, "selvage_dns_autopath_saved", "counter", "Queries that clients did not have to send.");
	openmetrics_sample_count(text, "selvage_dns_autopath_saved_total", number(statistics, "autopathSaved"), NULL);
	openmetrics_family(text, "selvage_dns_renewals", "counter", "Answers asked for again before their end.");
	openmetrics_sample_count(text, "selvage_dns_renewals_total", number(statistics, "renewals"), NULL);
	openmetrics_family(text, "selvage_dns_answers_kept", "gauge", "Answers in selvage-dns' cache.");
	openmetrics_sample_count(text, "selvage_dns_answers_kept", number(json_object_get(statistics, "cache"), "answers"), NULL);
}

json_t *dns_link_status(const struct dns_link *link, const uint64_t *fast_path)
{
	uint64_t answered = 0, missed = 0, process = 0;
	const char *key;
	json_t *value;

	for (size_t i = 0; i < DNS_RESULT_MISS; i++)
		answered += fast_path[i];
	for (size_t i = DNS_RESULT_MISS; i < DNS_RESULT_COUNT; i++)
		missed += fast_path[i];
	json_object_foreach(json_object_get(link->statistics, "results"), key, value) {
		process += strcmp(key, "limited") == 0 ? 0 : (uint64_t)json_integer_value(value);
	}
	return json_pack("{s:b, s:I, s:I, s:I}", "connected", link->events != NULL, "fastPath", (json_int_t)answered, "missed",
			 (json_int_t)missed, "process", (json_int_t)process);
}

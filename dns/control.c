/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/control.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "base/lib/address_text.h"
#include "base/lib/bytes.h"
#include "base/lib/clock.h"
#include "base/lib/log.h"
#include "base/lib/memory.h"

#define LINE_MAX_BYTES (256u << 20)
#define PEERS_MAX 32u
#define DUMP_MAX 1000 /* answers at a time: nobody else is answered meanwhile */
#define DUMP_PART 200 /* where there are many such times */
#define SAVE_DELAY_S 1

struct peer {
	LIST_ENTRY(peer) all;
	struct control *control;
	struct bufferevent *events;
	uint32_t waiting; /* lookups under way */
};

struct control {
	struct control_parts parts;
	struct evconnlistener *listener;
	char *path;
	LIST_HEAD(, peer) peers;
	size_t peer_count;
	json_int_t version; /* of the names, as the last snapshot's sender counts */
	uint64_t changes;
	json_t *policies;
	struct event *save_event;
	bool names_there;
};

/* --- records in JSON ---------------------------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `data` has room for DNS_MESSAGE_MAX. */
static bool record_read(const json_t *json, struct zone_record *ret_record, uint8_t *data)
{
	const char *name = json_string_value(json_array_get(json, 0)), *type = json_string_value(json_array_get(json, 1));
	const char *hex = json_string_value(json_array_get(json, 3));
	const json_t *ttl = json_array_get(json, 2);
	uint8_t scratch[DNS_NAME_MAX * 2 + 32], message[DNS_MESSAGE_MAX];
	struct dns_record check;
	size_t length = 0, expanded;

	if (!name || !type || !hex || !json_is_integer(ttl) || json_integer_value(ttl) < 0 || json_integer_value(ttl) > INT32_MAX ||
	    dns_name_parse(name, &ret_record->owner) < 0 || dns_type_parse(type, &ret_record->type) < 0)
		return false;
	for (; hex[0] && length < 4096; hex += 2, length++) {
		if (hex_digit(hex[0]) < 0 || hex_digit(hex[1]) < 0)
			return false;
		data[length] = (uint8_t)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
	}
	ret_record->ttl = (uint32_t)json_integer_value(ttl);
	ret_record->data = data;
	ret_record->data_length = (uint16_t)length;
	/* data with names are written to answers by their form, so it must be right; names in it cannot point anywhere */
	memset(message, 0, DNS_HEADER_SIZE);
	memcpy(message + DNS_HEADER_SIZE, data, length);
	check = (struct dns_record){.type = ret_record->type, .data_offset = DNS_HEADER_SIZE, .data_length = (uint16_t)length};
	if (*hex || length > sizeof(scratch))
		return false;
	return dns_data_expand(message, DNS_HEADER_SIZE + length, &check, scratch, sizeof(scratch), &expanded) == 0 &&
	       expanded == length;
}

static void record_add(struct zone_set *zones, struct feed *feed, const struct zone_record *record)
{
	bool new_name;

	if (zone_set_add(zones, record, &new_name) && feed)
		feed_name(feed, &record->owner, new_name);
}

static void record_remove(struct zone_set *zones, struct feed *feed, const struct zone_record *record)
{
	bool gone;

	if (zone_set_remove(zones, record, &gone) && feed)
		feed_name(feed, &record->owner, gone);
}

static int records_read(struct zone_set *zones, struct feed *feed, const json_t *list,
			void (*apply)(struct zone_set *, struct feed *, const struct zone_record *), struct error *error)
{
	static uint8_t data[DNS_MESSAGE_MAX];
	struct zone_record record;
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		if (!record_read(item, &record, data))
			return error_set(error, EINVAL, "record %zu cannot be read", i);
		apply(zones, feed, &record);
	}
	return 0;
}

static int zones_read(struct zone_set *zones, const json_t *list, struct error *error)
{
	struct zone_config *configs = memory_or_end(calloc(json_array_size(list) + 1, sizeof(*configs)));
	size_t count = json_array_size(list);

	for (size_t i = 0; i < count; i++) {
		const json_t *zone = json_array_get(list, i);
		const char *name = json_string_value(json_object_get(zone, "name"));

		if (!name || dns_name_parse(name, &configs[i].name) < 0) {
			free(configs);
			return error_set(error, EINVAL, "zone %zu cannot be read", i);
		}
		configs[i].partial = json_is_true(json_object_get(zone, "partial"));
		configs[i].pods = json_is_true(json_object_get(zone, "pods"));
		configs[i].negative_ttl = (uint32_t)json_integer_value(json_object_get(zone, "negativeTtl"));
	}
	zone_set_zones(zones, configs, count);
	free(configs);
	return 0;
}

struct difference {
	const struct zone_set *other;
	struct zone_record *records; /* data are copies */
	size_t count;
};

static void difference_note(const struct zone_record *record, void *context)
{
	struct difference *difference = context;
	struct zone_record *copy;

	if (zone_set_contains(difference->other, record))
		return;
	difference->records = memory_array(difference->records, difference->count + 1, sizeof(*copy));
	copy = &difference->records[difference->count++];
	*copy = *record;
	copy->data = memcpy(memory_or_end(malloc(record->data_length + 1u)), record->data, record->data_length);
}

static void difference_done(struct difference *difference)
{
	for (size_t i = 0; i < difference->count; i++)
		free((void *)difference->records[i].data);
	free(difference->records);
}

/* Only what differs is touched, so that nothing that stays is missing for a moment. */
static void snapshot_take(struct zone_set *zones, struct feed *feed, const struct zone_set *fresh)
{
	struct difference gone = {.other = fresh}, come = {.other = zones};

	zone_set_each(fresh, difference_note, &come);
	zone_set_each(zones, difference_note, &gone);
	for (size_t i = 0; i < come.count; i++)
		record_add(zones, feed, &come.records[i]);
	for (size_t i = 0; i < gone.count; i++)
		record_remove(zones, feed, &gone.records[i]);
	difference_done(&gone);
	difference_done(&come);
}

int control_names_read(struct zone_set *zones, struct feed *feed, const json_t *message, struct error *error)
{
	struct zone_set *fresh;
	int status;

	if (!json_is_true(json_object_get(message, "snapshot"))) {
		/* first what comes: a name whose records are exchanged is there all the time */
		status = records_read(zones, feed, json_object_get(message, "add"), record_add, error);
		return status < 0 ? status : records_read(zones, feed, json_object_get(message, "remove"), record_remove, error);
	}
	fresh = zone_set_new();
	status = records_read(fresh, NULL, json_object_get(message, "records"), record_add, error);
	if (status == 0)
		status = zones_read(zones, json_object_get(message, "zones"), error);
	if (status == 0) {
		snapshot_take(zones, feed, fresh);
		if (feed)
			feed_zones(feed);
	}
	zone_set_free(fresh);
	return status;
}

/* --- kept names ------------------------------------------------------------------------------------------------------------------ */

static void record_write(const struct zone_record *record, void *context)
{
	char name[DNS_NAME_TEXT_SIZE], type[16], *hex = memory_or_end(calloc(1, 2u * record->data_length + 1));

	for (size_t i = 0; i < record->data_length; i++)
		sprintf(hex + 2 * i, "%02x", record->data[i]);
	json_array_append_new(context, json_pack("[s, s, i, s]", dns_name_format(&record->owner, name),
						 dns_type_format(record->type, type), (int)record->ttl, hex));
	free(hex);
}

static void zone_write(const struct zone_config *zone, void *context)
{
	char name[DNS_NAME_TEXT_SIZE];

	json_array_append_new(context, json_pack("{s:s, s:b, s:b, s:i}", "name", dns_name_format(&zone->name, name), "partial",
						 zone->partial, "pods", zone->pods, "negativeTtl", (int)zone->negative_ttl));
}

static json_t *names_json(const struct control *control)
{
	json_t *records = json_array(), *zones = json_array();

	zone_set_each(control->parts.zones, record_write, records);
	zone_set_each_zone(control->parts.zones, zone_write, zones);
	return json_pack("{s:s, s:b, s:o, s:o, s:O?}", "op", "names", "snapshot", 1, "zones", zones, "records", records, "policies",
			 control->policies);
}

static void names_save(struct control *control)
{
	const char *path = control->parts.names_file;
	_cleanup_(freep) char *fresh = NULL;
	json_t *json;

	if (!path || !control->names_there)
		return;
	if (asprintf(&fresh, "%s.new", path) < 0)
		abort();
	json = names_json(control);
	if (json_dump_file(json, fresh, JSON_COMPACT) < 0 || chmod(fresh, 0600) < 0 || rename(fresh, path) < 0) {
		log_warning("keeping the names in %s: %s", path, strerror(errno));
		unlink(fresh);
	}
	json_decref(json);
}

static void save_due(evutil_socket_t fd, short what, void *context)
{
	names_save(context);
}

static void names_load(struct control *control)
{
	struct error error = {0};
	json_error_t problem;
	json_t *json = control->parts.names_file ? json_load_file(control->parts.names_file, 0, &problem) : NULL;

	if (!json)
		return;
	if (control_names_read(control->parts.zones, control->parts.feed, json, &error) < 0)
		log_warning("the names in %s cannot be used: %s", control->parts.names_file, error.text);
	else
		log_info("%zu records of own names from %s", zone_set_count(control->parts.zones), control->parts.names_file);
	control->policies = json_incref(json_object_get(json, "policies"));
	if (control->policies && steering_set(control->parts.steering, control->policies, &error) < 0)
		log_warning("the policies in %s cannot be used: %s", control->parts.names_file, error.text);
	json_decref(json);
}

static void changed(struct control *control)
{
	struct timeval delay = {.tv_sec = SAVE_DELAY_S};

	control->changes++;
	control->names_there = true;
	if (!evtimer_pending(control->save_event, NULL))
		evtimer_add(control->save_event, &delay);
}

/* --- what is asked ------------------------------------------------------------------------------------------------------------------ */

static uint64_t now_ms(void)
{
	return clock_us() / 1000;
}

struct dump {
	json_t *items;
	const struct dns_name *below;
	json_int_t left;
	uint64_t now_ms;
};

/* RFC 1035 section 3.3.13: two names, five numbers; false when it is none. */
static bool soa_format(const uint8_t *data, size_t length, char *text, size_t size)
{
	char server[DNS_NAME_TEXT_SIZE], contact[DNS_NAME_TEXT_SIZE];
	struct dns_name name;
	size_t at = 0;

	if (dns_name_read(data, length, &at, &name) < 0)
		return false;
	dns_name_format(&name, server);
	if (dns_name_read(data, length, &at, &name) < 0 || length - at != 20)
		return false;
	dns_name_format(&name, contact);
	snprintf(text, size, "%s %s %u %u %u %u %u", server, contact, bytes_get32(data + at), bytes_get32(data + at + 4),
		 bytes_get32(data + at + 8), bytes_get32(data + at + 12), bytes_get32(data + at + 16));
	return true;
}

/* Strings in quotes (RFC 1035 section 5.1); false when it is none, or there is no room. */
static bool strings_format(const uint8_t *data, size_t length, char *text, size_t size)
{
	size_t used = 0;

	*text = '\0';
	for (size_t at = 0; at < length; at += 1 + (size_t)data[at]) {
		if (data[at] >= length - at || used + 4 * (size_t)data[at] + 4 > size)
			return false;
		used += (size_t)sprintf(text + used, "%s\"", used ? " " : "");
		for (size_t i = 1; i <= data[at]; i++) {
			uint8_t byte = data[at + i];
			bool plain = byte >= ' ' && byte < 0x7f;

			used += (size_t)sprintf(text + used, !plain ? "\\%03u" : byte == '"' || byte == '\\' ? "\\%c" : "%c", byte);
		}
		used += (size_t)sprintf(text + used, "\"");
	}
	return length > 0;
}

/* The records of an answer as text: addresses, names, numbers, strings, or digits. */
static json_t *data_json(uint16_t type, const uint8_t *data, size_t length)
{
	char text[2 * DNS_NAME_TEXT_SIZE + 64], name[DNS_NAME_TEXT_SIZE];
	struct dns_name target;
	struct address address = address_from_ipv4(0);
	size_t offset = type == DNS_SRV ? 6 : type == DNS_MX ? 2 : 0;

	if ((type == DNS_A && length == 4) || (type == DNS_AAAA && length == 16)) {
		memcpy((uint8_t *)&address + 16 - length, data, length);
		return json_string(address_format(&address, text));
	}
	if ((type == DNS_CNAME || type == DNS_PTR || type == DNS_NS || type == DNS_DNAME || type == DNS_SRV || type == DNS_MX) &&
	    dns_name_read(data, length, &offset, &target) == 0) {
		dns_name_format(&target, name);
		if (type == DNS_SRV)
			snprintf(text, sizeof(text), "%u %u %u %s", bytes_get16(data), bytes_get16(data + 2), bytes_get16(data + 4), name);
		else if (type == DNS_MX)
			snprintf(text, sizeof(text), "%u %s", bytes_get16(data), name);
		else
			snprintf(text, sizeof(text), "%s", name);
		return json_string(text);
	}
	if (type == DNS_SOA && soa_format(data, length, text, sizeof(text)))
		return json_string(text);
	if ((type == DNS_TXT || type == DNS_HINFO) && strings_format(data, length, text, sizeof(text)))
		return json_string(text);
	/* RFC 3597 section 5 */
	offset = (size_t)snprintf(text, sizeof(text), "\\# %zu ", length);
	for (size_t i = 0; i < length && offset + 3 < sizeof(text); i++)
		offset += (size_t)sprintf(text + offset, "%02x", data[i]);
	return json_string(text);
}

static json_t *records_json(const uint8_t *message, size_t length)
{
	static uint8_t data[DNS_MESSAGE_MAX];
	static const char *const sections[] = {"answer", "authority", "additional"};
	json_t *records = json_array();
	struct dns_record record;
	struct dns_walk walk;
	size_t data_length;

	if (dns_walk_start(&walk, message, length) < 0)
		return records;
	while (dns_walk_next(&walk, &record) > 0) {
		char name[DNS_NAME_TEXT_SIZE], type[16];

		if (record.type == DNS_OPT || dns_data_expand(message, length, &record, data, sizeof(data), &data_length) < 0)
			continue;
		json_array_append_new(records, json_pack("{s:s, s:s, s:s, s:i, s:o}", "section", sections[record.section], "name",
							 dns_name_format(&record.owner, name), "type",
							 dns_type_format(record.type, type), "ttl", (int)record.ttl, "data",
							 data_json(record.type, data, data_length)));
	}
	return records;
}

static bool dump_answer(const struct answer *answer, void *context)
{
	struct dump *dump = context;
	char name[DNS_NAME_TEXT_SIZE], type[16];
	json_int_t left_ms = (json_int_t)(answer->expires_ms - dump->now_ms);

	if (dump->below && !dns_name_within(&answer->key.name, dump->below))
		return true;
	json_array_append_new(dump->items,
			      json_pack("{s:s, s:s, s:b, s:s, s:b, s:I, s:i, s:i, s:o}", "name", dns_name_format(&answer->key.name, name),
					"type", dns_type_format(answer->key.type, type), "checkingDisabled", answer->key.checking_disabled,
					"code", dns_rcode_name(answer->rcode), "secure", answer->secure, "leftMs", left_ms, "ttl",
					(int)answer->ttl, "hits", (int)answer->hits, "records",
					records_json(answer->plain, answer->plain_length)));
	return --dump->left > 0;
}

static bool name_get(const json_t *message, const char *key, struct dns_name *ret_name)
{
	const char *text = json_string_value(json_object_get(message, key));

	return text && dns_name_parse(text, ret_name) == 0;
}

static json_t *error_json(const char *text)
{
	return json_pack("{s:s}", "error", text);
}

/* A count from `least` up, if it is there. */
static bool number_get(const json_t *message, const char *key, json_int_t least, json_int_t *ret_number)
{
	const json_t *value = json_object_get(message, key);

	if (!value)
		return true;
	*ret_number = json_integer_value(value);
	return json_is_integer(value) && *ret_number >= least;
}

static json_t *dump_handle(struct control *control, const json_t *message)
{
	struct dump dump = {.left = DUMP_MAX, .now_ms = now_ms()};
	json_int_t part = 0, next = 0, most;
	struct dns_name below;
	json_t *result;

	if (json_object_get(message, "name")) {
		if (!name_get(message, "name", &below))
			return error_json("this is no name; without one all answers are listed");
		dump.below = &below;
	}
	if (!number_get(message, "limit", 1, &dump.left) || !number_get(message, "part", 0, &part))
		return error_json("\"limit\" must be a number from 1 up, \"part\" what the last one gave as \"next\", 0 at first");
	most = json_object_get(message, "part") ? DUMP_PART : DUMP_MAX;
	if (dump.left > most)
		dump.left = most;
	dump.items = json_array();
	if (json_object_get(message, "part"))
		next = (json_int_t)answers_each_part(resolver_answers(control->parts.resolver), (size_t)part, dump_answer, &dump);
	else
		answers_each(resolver_answers(control->parts.resolver), dump_answer, &dump);
	result = json_pack("{s:o}", "items", dump.items);
	if (next)
		json_object_set_new(result, "next", json_integer(next));
	return json_pack("{s:o}", "result", result);
}

static json_t *stats_handle(struct control *control)
{
	struct listener_statistics connections = listeners_measure(control->parts.listeners);
	json_t *stats = resolver_json(control->parts.resolver);

	json_object_set_new(json_object_get(stats, "results"), "limited", json_integer((json_int_t)connections.limited));
	json_object_set_new(stats, "connections", json_integer((json_int_t)connections.connections));
	json_object_set_new(stats, "connectionsRefused", json_integer((json_int_t)connections.connections_refused));
	json_object_set_new(stats, "ownRecords", json_integer((json_int_t)zone_set_count(control->parts.zones)));
	json_object_set_new(stats, "ownChanges", json_integer((json_int_t)control->changes));
	json_object_set_new(stats, "steeredNames", json_integer((json_int_t)steering_count(control->parts.steering)));
	json_object_set_new(stats, "tap", tap_json(control->parts.tap));
	return stats;
}

static json_t *explain_handle(struct control *control, const json_t *message)
{
	const char *from_text = json_string_value(json_object_get(message, "from"));
	struct address from = address_from_ipv4(0);
	struct dns_name name;
	json_t *result;

	if (!name_get(message, "name", &name))
		return error_json("a name is missing, or is none");
	if (from_text && address_parse(from_text, &from) < 0)
		return error_json("\"from\" must be an address");
	result = steering_explain(control->parts.steering, &name, &from);
	return result ? json_pack("{s:o}", "result", result) : error_json("this name is not steered by any SteeringPolicy");
}

static json_t *tap_handle(struct control *control, const json_t *message)
{
	const char *path = json_string_value(json_object_get(message, "path"));
	struct error error = {0};

	if (!path) {
		resolver_observe(control->parts.resolver, NULL);
		tap_close(control->parts.tap);
	} else {
		struct resolver_observer observer = {control->parts.tap, tap_seen};

		if (tap_open(control->parts.tap, path, &error) < 0)
			return error_json(error.text);
		resolver_observe(control->parts.resolver, &observer);
	}
	return json_pack("{s:o}", "result", tap_json(control->parts.tap));
}

/* What is acknowledged holds after a crash, too. */
static json_t *flush_handle(struct control *control, const json_t *message)
{
	const char *file = control->parts.answers_file;
	struct error error = {0};
	char text[sizeof(error.text) + 128];
	struct dns_name below;
	size_t removed;

	if (!name_get(message, "name", &below))
		return error_json("a name is missing, or is none; \".\" is everything");
	removed = resolver_flush(control->parts.resolver, &below);
	if (file && answers_flush_note(file, &below, &error) < 0) {
		snprintf(text, sizeof(text), "%zu answers forgotten, but after a crash they may be there again: %s", removed, error.text);
		return error_json(text);
	}
	return json_pack("{s:{s:I}}", "result", "removed", (json_int_t)removed);
}

static json_t *names_handle(struct control *control, const json_t *message)
{
	bool snapshot = json_is_true(json_object_get(message, "snapshot"));
	struct error error = {0};

	if (!snapshot && (!control->version || json_integer_value(json_object_get(message, "from")) != control->version))
		return json_pack("{s:s, s:b}", "op", "names", "resync", 1);
	if (control_names_read(control->parts.zones, control->parts.feed, message, &error) < 0) {
		log_error("names that were sent cannot be used: %s", error.text);
		control->version = 0;
		return json_pack("{s:s, s:s}", "op", "names", "error", error.text);
	}
	control->version = json_integer_value(json_object_get(message, "version"));
	if (snapshot)
		resolver_names_came(control->parts.resolver);
	changed(control);
	return json_pack("{s:s, s:I}", "op", "names", "version", control->version);
}

/* What other servers said about names that are steered now. */
static void hosts_flush(struct control *control)
{
	struct dns_name host;
	json_t *policy;
	size_t i;

	json_array_foreach(control->policies, i, policy) {
		if (name_get(policy, "host", &host))
			resolver_flush(control->parts.resolver, &host);
	}
}

/* Whether a host among the policies is not steered yet. */
static bool hosts_come(const struct control *control, const json_t *policies)
{
	struct dns_name host;
	json_t *policy;
	size_t i;

	json_array_foreach(policies, i, policy) {
		if (name_get(policy, "host", &host) && !steering_knows(control->parts.steering, &host))
			return true;
	}
	return false;
}

static json_t *steering_handle(struct control *control, const json_t *message)
{
	json_t *policies = json_object_get(message, "policies");
	bool come = hosts_come(control, policies);
	struct error error = {0};

	if (!json_is_array(policies) || steering_set(control->parts.steering, policies, &error) < 0) {
		log_error("policies that were sent cannot be used: %s", error.text);
		return json_pack("{s:s, s:s}", "op", "steering", "error", error.text);
	}
	json_decref(control->policies);
	control->policies = json_incref(policies);
	hosts_flush(control);
	if (come)
		resolver_names_came(control->parts.resolver);
	changed(control);
	return NULL;
}

json_t *control_handle(struct control *control, const json_t *message)
{
	const char *op = json_string_value(json_object_get(message, "op"));

	if (!op)
		return error_json("\"op\" is missing");
	if (strcmp(op, "names") == 0)
		return names_handle(control, message);
	if (strcmp(op, "steering") == 0)
		return steering_handle(control, message);
	if (strcmp(op, "stats") == 0)
		return json_pack("{s:o}", "result", stats_handle(control));
	if (strcmp(op, "dump") == 0)
		return dump_handle(control, message);
	if (strcmp(op, "flush") == 0)
		return flush_handle(control, message);
	if (strcmp(op, "explain") == 0)
		return explain_handle(control, message);
	if (strcmp(op, "tap") == 0)
		return tap_handle(control, message);
	return error_json("this operation is not known");
}

/* --- peers -------------------------------------------------------------------------------------------------------------------------- */

static void peer_close(struct peer *peer)
{
	if (peer->events) {
		bufferevent_free(peer->events);
		peer->events = NULL;
		LIST_REMOVE(peer, all);
		peer->control->peer_count--;
	}
	if (!peer->waiting)
		free(peer);
}

static void peer_send(struct peer *peer, json_t *reply, const json_t *message)
{
	json_t *id = json_object_get(message, "id");
	char *text;

	if (!reply)
		return;
	if (id)
		json_object_set(reply, "id", id);
	text = json_dumps(reply, JSON_COMPACT);
	json_decref(reply);
	if (text && peer->events) {
		bufferevent_write(peer->events, text, strlen(text));
		bufferevent_write(peer->events, "\n", 1);
	}
	free(text);
}

/* A lookup as a client's would be: through everything. */
struct lookup {
	struct dns_request request; /* first */
	struct peer *peer;
	json_t *message;
};

static void lookup_done(struct dns_request *request, const uint8_t *answer, size_t length)
{
	struct lookup *lookup = (struct lookup *)request;
	struct peer *peer = lookup->peer;
	json_t *result = NULL;

	if (length >= DNS_HEADER_SIZE)
		result = json_pack("{s:s, s:b, s:b, s:I, s:o}", "code", dns_rcode_name(answer[3] & 15u), "authoritative",
				   !!(answer[2] & 4), "secure", !!(answer[3] & 0x20), "tookUs",
				   (json_int_t)(clock_us() - request->received_us),
				   "records", records_json(answer, length));
	peer_send(peer, result ? json_pack("{s:o}", "result", result) : error_json("no answer"), lookup->message);
	json_decref(lookup->message);
	free(lookup);
	peer->waiting--;
	if (!peer->events && !peer->waiting)
		free(peer);
}

static void lookup_start(struct peer *peer, json_t *message)
{
	const char *type_text = json_string_value(json_object_get(message, "type"));
	const char *from = json_string_value(json_object_get(message, "from"));
	struct lookup *lookup = memory_or_end(calloc(1, sizeof(*lookup)));
	struct dns_request *request = &lookup->request;

	request->query = (struct dns_query){.flags = DNS_FLAG_RD | DNS_FLAG_AD, .class = DNS_IN, .type = DNS_A, .udp_size = 512};
	request->client = address_from_ipv4(0x0100007f);
	if (!name_get(message, "name", &request->query.name) ||
	    (type_text && dns_type_parse(type_text, &request->query.type) < 0) || (from && address_parse(from, &request->client) < 0)) {
		free(lookup);
		peer_send(peer, error_json("a name is wanted, and perhaps a type and an address"), message);
		return;
	}
	request->query.question_length = (uint16_t)(request->query.name.length + 4);
	memcpy(request->question, request->query.name.bytes, request->query.name.length);
	bytes_put16(request->question + request->query.name.length, request->query.type);
	bytes_put16(request->question + request->query.name.length + 2, DNS_IN);
	request->transport = DNS_OVER_TCP;
	request->received_us = clock_us();
	request->done = lookup_done;
	lookup->peer = peer;
	lookup->message = json_incref(message);
	peer->waiting++;
	resolver_take(peer->control->parts.resolver, request, DNS_QUERY_TAKE, 0);
}

static void line_take(struct peer *peer, const char *line, size_t length)
{
	json_error_t problem;
	json_t *message = json_loadb(line, length, JSON_REJECT_DUPLICATES, &problem);
	const char *op = json_string_value(json_object_get(message, "op"));

	if (!json_is_object(message))
		peer_send(peer, error_json("a JSON object is wanted on each line"), NULL);
	else if (op && strcmp(op, "lookup") == 0)
		lookup_start(peer, message);
	else
		peer_send(peer, control_handle(peer->control, message), message);
	json_decref(message);
}

static void peer_read(struct bufferevent *events, void *context)
{
	struct peer *peer = context;
	struct evbuffer *input = bufferevent_get_input(events);
	size_t length;
	char *line;

	peer->waiting++;
	while (peer->events && (line = evbuffer_readln(input, &length, EVBUFFER_EOL_LF))) {
		line_take(peer, line, length);
		free(line);
	}
	peer->waiting--;
	if (!peer->events) {
		if (!peer->waiting)
			free(peer);
	} else if (evbuffer_get_length(input) > LINE_MAX_BYTES) {
		peer_close(peer);
	}
}

static void peer_event(struct bufferevent *events, short what, void *context)
{
	peer_close(context);
}

static void peer_accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int from_length, void *context)
{
	struct control *control = context;
	struct peer *peer;

	if (control->peer_count >= PEERS_MAX) {
		close(fd);
		return;
	}
	peer = memory_or_end(calloc(1, sizeof(*peer)));
	peer->control = control;
	peer->events = bufferevent_socket_new(control->parts.base, fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	LIST_INSERT_HEAD(&control->peers, peer, all);
	control->peer_count++;
	bufferevent_setcb(peer->events, peer_read, NULL, peer_event, peer);
	bufferevent_enable(peer->events, EV_READ | EV_WRITE);
}

/* --- life --------------------------------------------------------------------------------------------------------------------------- */

static int socket_open(struct control *control, struct error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t mask;
	int fd, bound;

	if (asprintf(&control->path, "%s/" DNS_CONTROL_SOCKET, control->parts.run_directory) < 0)
		abort();
	if (strlen(control->path) >= sizeof(address.sun_path))
		return error_set(error, ENAMETOOLONG, "the socket's path %s is too long", control->path);
	strcpy(address.sun_path, control->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set(error, errno, "opening a socket: %s", strerror(errno));
	/* whoever comes later is the one: the old process ends, or was killed */
	unlink(control->path);
	mask = umask(0177);
	bound = bind(fd, (struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (bound < 0) {
		int code = errno;

		close(fd);
		return error_set(error, code, "listening on %s: %s", control->path, strerror(code));
	}
	control->listener = evconnlistener_new(control->parts.base, peer_accepted, control,
					       LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 16, fd);
	return control->listener ? 0 : error_set(error, EIO, "listening on %s failed", control->path);
}

int control_new(const struct control_parts *parts, struct control **ret_control, struct error *error)
{
	struct control *control = memory_or_end(calloc(1, sizeof(*control)));
	int status;

	control->parts = *parts;
	LIST_INIT(&control->peers);
	control->save_event = evtimer_new(parts->base, save_due, control);
	names_load(control);
	status = socket_open(control, error);
	if (status < 0) {
		control_free(control);
		return status;
	}
	*ret_control = control;
	return 0;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	if (evtimer_pending(control->save_event, NULL))
		names_save(control);
	if (control->listener)
		evconnlistener_free(control->listener);
	while (!LIST_EMPTY(&control->peers)) {
		struct peer *peer = LIST_FIRST(&control->peers);

		peer->waiting = 0;
		peer_close(peer);
	}
	event_free(control->save_event);
	json_decref(control->policies);
	free(control->path);
	free(control);
}

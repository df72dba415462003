/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/feed.h"

#include <event2/event.h>
#include <string.h>
#include <sys/stat.h>

#include "base/lib/bytes.h"
#include "base/lib/log.h"
#include "base/lib/memory.h"
#include "dns/cache.h"

#define TICK_MS 200
#define TICKS_LOOK 5 /* of looking for tables, and of sweeping */
#define STALE_TTL_S 30
#define AGAIN_MS 1000u /* the first time; doubled up to 64 times */
#define AGAIN_DOUBLED 6
#define REFUSED_ROW_MAX 32 /* so many one after the other, and there is no room: long answers do not come in rows */

struct feed {
	struct event_base *base;
	struct zone_set *zones;
	char *directory;
	bool absent_names_known;
	struct dns_memory memory;
	struct dns_cache *cache; /* NULL: no tables */
	ino_t pin;		 /* of the tables' file: another one is another table */
	struct event *tick;
	unsigned int ticks;
	bool zones_known;
	bool own_cleared; /* since the tables were found, own zones' entries were taken out once */
	feed_renew *renew;
	void *renew_context;
	feed_ready *ready;
	void *ready_context;
	feed_judge *judge;
	void *judge_context;
	uint64_t taken, refused, again;
	uint32_t refused_row; /* since one was taken */
};

static uint32_t cache_now(const struct feed *feed)
{
	return dns_cache_now_ms(feed->cache);
}

/* --- finding the tables -------------------------------------------------------------------------------------------------------- */

static void feed_disconnect(struct feed *feed)
{
	if (!feed->cache)
		return;
	dns_cache_free(feed->cache);
	dns_memory_close(&feed->memory);
	feed->cache = NULL;
}

static ino_t pin_number(const struct feed *feed)
{
	char path[1024];
	struct stat status;

	snprintf(path, sizeof(path), "%s/edge_dns", feed->directory);
	return stat(path, &status) == 0 ? status.st_ino : 0;
}

static void feed_connect(struct feed *feed)
{
	ino_t pin = pin_number(feed);
	struct error error = {0};

	if (feed->cache && pin == feed->pin)
		return;
	feed_disconnect(feed);
	if (!pin || dns_memory_open(feed->directory, &feed->memory, &error) < 0) {
		if (*error.text)
			log_debug("the packets' cache: %s", error.text);
		return;
	}
	feed->cache = dns_cache_new(&feed->memory);
	if (!feed->cache) {
		dns_memory_close(&feed->memory);
		return;
	}
	feed->pin = pin;
	feed->own_cleared = false;
	feed->refused_row = 0;
	log_info("answers go to the packets' cache in %s", feed->directory);
	if (feed->ready)
		feed->ready(feed->ready_context);
}

static void key_of(const struct dns_key *key, struct answer_key *ret_key)
{
	*ret_key = (struct answer_key){.type = key->type, .checking_disabled = key->checking_disabled};
	ret_key->name.length = key->name_length;
	memcpy(ret_key->name.bytes, key->name, key->name_length);
}

static bool due_visit(const struct dns_view *view, void *context)
{
	struct feed *feed = context;
	struct answer_key key;

	key_of(&view->key, &key);
	/* of "no such name", which is for all types, any is asked */
	if (!key.type)
		key.type = DNS_A;
	if (feed->renew)
		feed->renew(feed->renew_context, &key);
	return true;
}

static void tick(evutil_socket_t fd, short what, void *context)
{
	struct feed *feed = context;

	if (feed->ticks++ % TICKS_LOOK == 0) {
		feed_connect(feed);
		if (feed->cache)
			dns_cache_sweep(feed->cache, cache_now(feed));
	}
	if (feed->cache)
		dns_cache_due(feed->cache, cache_now(feed), due_visit, feed);
}

struct feed *feed_new(struct event_base *base, const char *directory, struct zone_set *zones, bool absent_names_known)
{
	struct feed *feed = memory_or_end(calloc(1, sizeof(*feed)));

	feed->base = base;
	feed->zones = zones;
	feed->directory = memory_or_end(strdup(directory));
	feed->absent_names_known = absent_names_known;
	return feed;
}

void feed_open(struct feed *feed)
{
	struct timeval interval = {.tv_usec = TICK_MS * 1000};

	feed_connect(feed);
	feed->tick = event_new(feed->base, -1, EV_PERSIST, tick, feed);
	event_add(feed->tick, &interval);
}

void feed_free(struct feed *feed)
{
	if (!feed)
		return;
	if (feed->tick)
		event_free(feed->tick);
	feed_disconnect(feed);
	free(feed->directory);
	free(feed);
}

void feed_on_renew(struct feed *feed, feed_renew *renew, void *context)
{
	feed->renew = renew;
	feed->renew_context = context;
}

void feed_on_ready(struct feed *feed, feed_ready *ready, void *context)
{
	feed->ready = ready;
	feed->ready_context = context;
}

void feed_on_answer(struct feed *feed, feed_judge *judge, void *context)
{
	feed->judge = judge;
	feed->judge_context = context;
}

/* --- answers --------------------------------------------------------------------------------------------------------------------- */

static void message_put(struct feed *feed, const uint8_t *message, size_t length, const struct dns_put *how)
{
	if (dns_cache_put(feed->cache, message, length, how, cache_now(feed)) == DNS_TAKEN) {
		feed->taken++;
		feed->refused_row = 0;
	} else {
		feed->refused++;
		feed->refused_row++;
	}
}

/* The message with TTLs as they are now, and the flags of an answer. */
static void answer_put(struct feed *feed, const struct answer *answer, const uint8_t *message, size_t length, uint32_t age_s,
		       struct dns_put how)
{
	uint8_t copy[DNS_SIZE_MAX + DNS_SIZE_MAX];
	struct dns_record record;
	struct dns_walk walk;

	if (length > sizeof(copy)) {
		feed->refused++;
		return;
	}
	memcpy(copy, message, length);
	bytes_put16(copy + 2, (uint16_t)(DNS_FLAG_QR | DNS_FLAG_RA | answer->rcode));
	if (dns_walk_start(&walk, copy, length) < 0)
		return;
	while (dns_walk_next(&walk, &record) > 0)
		bytes_put32(copy + record.ttl_offset, record.ttl > age_s ? record.ttl - age_s : 0);
	message_put(feed, copy, length, &how);
}

void feed_answer(struct feed *feed, const struct answer *answer, uint64_t now_ms, bool stale)
{
	uint32_t age_s = stale || now_ms < answer->stored_ms ? 0 : (uint32_t)((now_ms - answer->stored_ms) / 1000);
	struct dns_put how = {
		.checking_disabled = answer->key.checking_disabled,
		.authentic = answer->secure && !stale,
		.stale = stale,
		.stale_ttl = STALE_TTL_S,
		.extended_error = -1,
	};

	if (!feed->cache || answer->rcode == DNS_SERVFAIL)
		return;
	if (feed->judge && !feed->judge(feed->judge_context, answer)) {
		feed_remove(feed, &answer->key);
		return;
	}
	answer_put(feed, answer, answer->plain, answer->plain_length, age_s, how);
	how.dnssec_ok = true;
	answer_put(feed, answer, answer->dnssec ? answer->dnssec : answer->plain,
		   answer->dnssec ? answer->dnssec_length : answer->plain_length, age_s, how);
}

static void key_make(const struct answer_key *key, bool dnssec_ok, struct dns_key *ret_key)
{
	*ret_key = (struct dns_key){.name_length = key->name.length, .type = key->type, .dnssec_ok = dnssec_ok,
				    .checking_disabled = key->checking_disabled};
	memcpy(ret_key->name, key->name.bytes, key->name.length);
}

void feed_again(struct feed *feed, struct answer *answer, bool dnssec_ok, uint64_t now_ms)
{
	struct dns_put how = {.dnssec_ok = dnssec_ok, .checking_disabled = answer->key.checking_disabled, .authentic = answer->secure,
			      .extended_error = -1};
	bool other = dnssec_ok && answer->dnssec;
	struct dns_key key;

	if (!feed->cache || answer->rcode == DNS_SERVFAIL || now_ms < answer->fed_ms)
		return;
	answer->fed_ms = now_ms + AGAIN_MS;
	key_make(&answer->key, dnssec_ok, &key);
	if (dns_cache_has(feed->cache, &key, cache_now(feed)) || (feed->judge && !feed->judge(feed->judge_context, answer)))
		return;
	answer->fed_ms = now_ms + (AGAIN_MS << answer->fed);
	answer->fed = answer->fed < AGAIN_DOUBLED ? answer->fed + 1 : AGAIN_DOUBLED;
	feed->again++;
	answer_put(feed, answer, other ? answer->dnssec : answer->plain, other ? answer->dnssec_length : answer->plain_length,
		   (uint32_t)((now_ms - answer->stored_ms) / 1000), how);
}

bool feed_has_room(const struct feed *feed)
{
	return feed->refused_row < REFUSED_ROW_MAX;
}

void feed_own(struct feed *feed, const struct answer_key *key, const uint8_t *message, size_t length, uint32_t life_s)
{
	struct dns_put how = {.authoritative = true, .fixed = true, .life_s = life_s, .extended_error = -1};

	if (!feed->cache || !life_s)
		return;
	message_put(feed, message, length, &how);
	how.dnssec_ok = true;
	message_put(feed, message, length, &how);
}

void feed_led(struct feed *feed, const uint8_t *message, size_t length, bool dnssec_ok)
{
	struct dns_put how = {.dnssec_ok = dnssec_ok, .extended_error = -1};

	if (feed->cache)
		message_put(feed, message, length, &how);
}

void feed_remove(struct feed *feed, const struct answer_key *key)
{
	struct dns_key own;

	if (!feed->cache)
		return;
	key_make(key, false, &own);
	dns_cache_remove(feed->cache, &own, cache_now(feed));
	own.dnssec_ok = true;
	dns_cache_remove(feed->cache, &own, cache_now(feed));
}

void feed_flush(struct feed *feed, const struct dns_name *below)
{
	if (feed->cache)
		dns_cache_flush(feed->cache, below->bytes, below->length, cache_now(feed));
}

/* --- own names ------------------------------------------------------------------------------------------------------------------- */

/* "svc." before the zone: what is whole. What is below "pod." is made up as it is asked for. */
static bool services_of(const struct zone_config *zone, struct dns_name *ret_services)
{
	static const struct dns_name svc = {5, "\3svc"};

	return !zone->partial && dns_name_join(&svc, 1, &zone->name, ret_services) == 0;
}

/* The name and those above it, as far as they are the zone's: there or not, as the zone knows them now. */
static void name_set(struct feed *feed, const struct dns_name *name, const struct dns_name *services)
{
	unsigned int above = dns_name_labels(name) - dns_name_labels(services);

	for (unsigned int i = 0; i <= above; i++) {
		struct dns_name each = dns_name_parent(name, i);

		if (zone_set_look(feed->zones, &each, DNS_A) == ZONE_NO_NAME)
			dns_zone_name_remove(feed->cache, each.bytes, each.length, cache_now(feed));
		else if (dns_zone_name_add(feed->cache, each.bytes, each.length, cache_now(feed)) < 0) {
			/* a name that cannot be noted would be denied */
			dns_zone_remove(feed->cache, services->bytes, services->length);
			log_warning("the packets' cache has no room for the names of the cluster: they are asked for here");
			feed->absent_names_known = false;
			return;
		}
	}
}

void feed_name(struct feed *feed, const struct dns_name *name, bool fresh)
{
	const struct zone_config *zone = zone_set_zone(feed->zones, name);
	struct dns_name services;

	if (!feed->cache)
		return;
	dns_cache_remove_name(feed->cache, name->bytes, name->length, cache_now(feed));
	if (!zone || !services_of(zone, &services) || !dns_name_within(name, &services))
		return;
	/* what a search list was led to may be another name from now on */
	if (fresh)
		dns_cache_flush(feed->cache, services.bytes, services.length, cache_now(feed));
	if (feed->absent_names_known)
		name_set(feed, name, &services);
}

struct zones_walk {
	struct feed *feed;
	const struct dns_name *services;
};

static void name_note(const struct dns_name *name, void *context)
{
	struct zones_walk *walk = context;

	if (walk->feed->absent_names_known && dns_name_within(name, walk->services))
		name_set(walk->feed, name, walk->services);
}

static void zone_note(const struct zone_config *zone, void *context)
{
	struct feed *feed = context;
	uint8_t soa[2 * DNS_NAME_MAX + 20];
	struct error error = {0};
	struct dns_name services;
	struct dns_denial denial = {.soa = soa, .ttl = zone->negative_ttl, .owner_length = zone->name.length};
	struct zones_walk walk = {feed, &services};

	feed->zones_known = true;
	if (!feed->own_cleared)
		dns_cache_flush(feed->cache, zone->name.bytes, zone->name.length, cache_now(feed));
	if (!services_of(zone, &services))
		return;
	if (!feed->absent_names_known) {
		dns_zone_remove(feed->cache, services.bytes, services.length);
		return;
	}
	zone_set_each_name(feed->zones, name_note, &walk);
	denial.soa_length = zone_soa(zone, soa);
	if (feed->absent_names_known && dns_zone_put(feed->cache, services.bytes, services.length, &denial, &error) < 0)
		log_warning("the packets' cache does not take the zone: %s", error.text);
}

void feed_zones(struct feed *feed)
{
	if (!feed->cache)
		return;
	zone_set_each_zone(feed->zones, zone_note, feed);
	feed->own_cleared = feed->zones_known;
}

json_t *feed_json(const struct feed *feed)
{
	struct dns_cache_size size;

	if (!feed->cache)
		return json_pack("{s:b}", "connected", 0);
	dns_cache_measure(feed->cache, &size);
	return json_pack("{s:b, s:i, s:i, s:i, s:I, s:I, s:I, s:I}", "connected", 1, "entries", (int)size.entries, "blocksUsed",
			 (int)size.blocks_used, "blocks", (int)size.blocks, "evicted", (json_int_t)size.evicted, "taken",
			 (json_int_t)feed->taken, "refused", (json_int_t)feed->refused, "again", (json_int_t)feed->again);
}

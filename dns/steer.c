/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/steer.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/lib/arena.h"
#include "base/lib/bytes.h"
#include "base/lib/log.h"
#include "base/lib/memory.h"
#include "base/packet/hash.h"
#include "dns/places.h"

#define STICKY_IPV4 24 /* clients of one such prefix stay together */
#define STICKY_IPV6 56
#define SOA_REFRESH 7200
#define SOA_RETRY 900
#define SOA_EXPIRE 1209600

/* --- choosing --------------------------------------------------------------------------------------------------------------- */

/* How well a site fits to where a client is; higher is better. */
enum fit { FIT_ELSEWHERE, FIT_ANYWHERE, FIT_CONTINENT, FIT_COUNTRY, FIT_SUBDIVISION, FIT_PREFIX };

struct candidate {
	const struct steer_site *site;
	enum fit fit;
	uint8_t prefix_length; /* FIT_PREFIX: bits */
	bool healthy, shed;
	bool out;
};

static void step_add(json_t *steps, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void step_add(json_t *steps, const char *format, ...)
{
	char text[512];
	va_list arguments;

	if (!steps)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	json_array_append_new(steps, json_string(text));
}

static bool site_has(const struct steer_site *site, bool ipv6, bool alive)
{
	for (size_t i = 0; i < site->address_count; i++) {
		const struct steer_address *address = &site->addresses[i];

		if (address_is_ipv4(&address->address) != ipv6 && (!alive || address->health != STEER_DOWN))
			return true;
	}
	return false;
}

static uint64_t client_hash(const struct steer_client *client, const char *site, uint64_t salt)
{
	bool ipv4 = address_is_ipv4(&client->address);
	uint8_t bytes[16], keep = ipv4 ? 96 + STICKY_IPV4 : STICKY_IPV6;
	uint64_t hash = salt ^ 0xcbf29ce484222325ull;

	memcpy(bytes, &client->address, sizeof(bytes));
	for (size_t i = keep / 8; i < 16; i++)
		bytes[i] = 0;
	for (size_t i = 0; i < sizeof(bytes); i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3ull;
	for (; *site; site++)
		hash = (hash ^ (uint8_t)*site) * 0x100000001b3ull;
	return hash_finish(hash);
}

/* A number from above 0 to 1, always the same for a client and a site. */
static double client_draw(const struct steer_client *client, const char *site, uint64_t salt)
{
	return ((double)(client_hash(client, site, salt) >> 11) + 1) / 9007199254740993.0;
}

static enum fit site_fit(const struct steer_site *site, const struct steer_client *client, uint8_t *ret_length)
{
	enum fit best = site->place_count || site->prefix_count ? FIT_ELSEWHERE : FIT_ANYWHERE;

	*ret_length = 0;
	for (size_t i = 0; i < site->prefix_count; i++) {
		/* of a client that is a prefix itself, all of it must lie within */
		if (prefix_contains(&site->prefixes[i], &client->address) && site->prefixes[i].length <= client->length) {
			best = FIT_PREFIX;
			if (site->prefixes[i].length > *ret_length)
				*ret_length = site->prefixes[i].length;
		}
	}
	if (best == FIT_PREFIX)
		return best;
	for (size_t i = 0; i < site->place_count; i++) {
		const char *place = site->places[i];

		if (strcmp(place, "*") == 0 && best < FIT_ANYWHERE)
			best = FIT_ANYWHERE;
		if (*client->place.subdivision && strcasecmp(place, client->place.subdivision) == 0)
			best = FIT_SUBDIVISION;
		else if (best < FIT_COUNTRY && *client->place.country && strcasecmp(place, client->place.country) == 0)
			best = FIT_COUNTRY;
		else if (best < FIT_CONTINENT && *client->place.continent && strcasecmp(place, client->place.continent) == 0)
			best = FIT_CONTINENT;
	}
	return best;
}

/* Which part of its clients a site sends elsewhere. */
static double site_sheds(const struct steer_site *site)
{
	if (site->load < 0 || site->load_high <= 0 || site->load <= site->load_low)
		return 0;
	if (site->load >= site->load_high || site->load_high <= site->load_low)
		return 1;
	return (site->load - site->load_low) / (site->load_high - site->load_low);
}

static bool health_decide(const struct steer_policy *policy, struct candidate *candidates, bool ipv6, json_t *steps)
{
	size_t healthy = 0, able = 0;
	bool last_resort;

	for (size_t i = 0; i < policy->site_count; i++) {
		struct candidate *candidate = &candidates[i];

		if (candidate->out)
			continue;
		able++;
		candidate->healthy = site_has(candidate->site, ipv6, true);
		healthy += candidate->healthy;
		if (!candidate->healthy)
			step_add(steps, "Site %s is down.", candidate->site->name);
	}
	last_resort = able && (!healthy || healthy * 100 < able * policy->healthy_percent);
	if (last_resort)
		step_add(steps, "Only %zu of %zu sites are healthy; fewer than %u %% are not believed, so health is left aside.", healthy,
			 able, policy->healthy_percent ? policy->healthy_percent : 1);
	for (size_t i = 0; i < policy->site_count; i++)
		if (!last_resort && !candidates[i].healthy)
			candidates[i].out = true;
	return last_resort;
}

static const char *fit_words(enum fit fit)
{
	static const char *const words[] = {"no site is for its place, so all are taken",
					    "sites for everybody",
					    "its continent",
					    "its country",
					    "its region",
					    "its prefix"};

	return words[fit];
}

/* Leaves those that fit the client best. */
static void geography_decide(const struct steer_policy *policy, const struct steer_client *client, struct candidate *candidates,
			     struct steer_choice *choice, json_t *steps)
{
	enum fit best = FIT_ELSEWHERE;
	bool placed = false;
	uint8_t longest = 0;

	for (size_t i = 0; i < policy->site_count; i++) {
		struct candidate *candidate = &candidates[i];

		/* sites that are out shape the scope, too: they may come back, and answers are cached by it */
		candidate->fit = site_fit(candidate->site, client, &candidate->prefix_length);
		placed |= candidate->site->place_count || candidate->site->prefix_count;
		if (candidate->out)
			continue;
		if (candidate->fit > best)
			best = candidate->fit;
		if (candidate->prefix_length > longest)
			longest = candidate->prefix_length;
	}
	if (!placed)
		return;
	choice->scope = best == FIT_PREFIX ? longest : client->length;
	for (size_t i = 0; i < policy->site_count; i++)
		if (candidates[i].fit != best || (best == FIT_PREFIX && candidates[i].prefix_length != longest))
			candidates[i].out = true;
	step_add(steps, "By geography: %s.", fit_words(best));
}

/* Sites that are too busy let some of their clients go, as long as there is another site for them. */
static void load_decide(const struct steer_policy *policy, const struct steer_client *client, struct candidate *candidates,
			json_t *steps)
{
	size_t left = 0, asked = 0;

	for (size_t i = 0; i < policy->site_count; i++) {
		struct candidate *candidate = &candidates[i];
		double sheds = site_sheds(candidate->site);

		if (candidate->out)
			continue;
		candidate->shed = sheds > 0 && client_draw(client, candidate->site->name, 1) <= sheds;
		left += !candidate->shed;
		asked++;
		if (sheds > 0)
			step_add(steps, "Site %s has a load of %.2f and lets %.0f %% of its clients go: %s.", candidate->site->name,
				 candidate->site->load, sheds * 100, candidate->shed ? "this one, too" : "not this one");
	}
	if (asked && !left)
		step_add(steps, "All sites that are left are too busy for this client, so load is left aside.");
	for (size_t i = 0; i < policy->site_count; i++)
		if (left && candidates[i].shed)
			candidates[i].out = true;
}

static void order_decide(const struct steer_policy *policy, struct candidate *candidates, json_t *steps)
{
	uint32_t lowest = UINT32_MAX;
	bool differ = false;

	for (size_t i = 0; i < policy->site_count; i++) {
		if (candidates[i].out)
			continue;
		differ |= lowest != UINT32_MAX && candidates[i].site->order != lowest;
		if (candidates[i].site->order < lowest)
			lowest = candidates[i].site->order;
	}
	for (size_t i = 0; i < policy->site_count; i++)
		if (candidates[i].site->order != lowest)
			candidates[i].out = true;
	if (differ)
		step_add(steps, "Of those, the ones that come first in the order of failover: %u.", lowest);
}

/* Weighted rendezvous: when a site goes, only its own clients move. */
static const struct steer_site *weight_decide(const struct steer_policy *policy, const struct steer_client *client,
					      const struct candidate *candidates, struct steer_choice *choice, json_t *steps)
{
	const struct steer_site *best = NULL;
	double best_score = 0;
	size_t left = 0;
	bool any_weight = false;

	for (size_t i = 0; i < policy->site_count; i++)
		any_weight |= !candidates[i].out && candidates[i].site->weight;
	for (size_t i = 0; i < policy->site_count; i++) {
		const struct steer_site *site = candidates[i].site;
		double score;

		if (candidates[i].out || (any_weight && !site->weight))
			continue;
		score = (any_weight ? site->weight : 1) / -log(client_draw(client, site->name, 0) * 0.9999999999999999);
		left++;
		if (!best || score > best_score) {
			best = site;
			best_score = score;
		}
	}
	if (left > 1) {
		uint8_t sticky = address_is_ipv4(&client->address) ? STICKY_IPV4 : STICKY_IPV6;

		if (choice->scope < sticky)
			choice->scope = sticky;
		step_add(steps, "Of %zu sites, by weight and the client's prefix: %s.", left, best->name);
	} else if (best) {
		step_add(steps, "One site is left: %s.", best->name);
	}
	return best;
}

void steer_choose(const struct steer_policy *policy, const struct steer_client *client, bool ipv6, bool explain,
		  struct steer_choice *ret_choice)
{
	struct candidate *candidates = memory_or_end(calloc(policy->site_count + 1, sizeof(*candidates)));
	json_t *steps = explain ? json_array() : NULL;

	*ret_choice = (struct steer_choice){.steps = steps};
	for (size_t i = 0; i < policy->site_count; i++) {
		candidates[i].site = &policy->sites[i];
		candidates[i].out = !site_has(&policy->sites[i], ipv6, false);
		if (candidates[i].out)
			step_add(steps, "Site %s has no %s address.", policy->sites[i].name, ipv6 ? "IPv6" : "IPv4");
	}
	ret_choice->last_resort = health_decide(policy, candidates, ipv6, steps);
	geography_decide(policy, client, candidates, ret_choice, steps);
	load_decide(policy, client, candidates, steps);
	order_decide(policy, candidates, steps);
	ret_choice->site = weight_decide(policy, client, candidates, ret_choice, steps);
	if (!ret_choice->site)
		step_add(steps, "No site is left: the answer has no address.");
	free(candidates);
}

/* --- the set ------------------------------------------------------------------------------------------------------------------ */

struct steering {
	char *name_server;
	struct places *places;
	struct arena *arena;
	struct steer_policy *policies;
	size_t count;
};

struct steering *steering_new(const char *database, const char *name_server)
{
	struct steering *steering = memory_or_end(calloc(1, sizeof(*steering)));

	steering->places = places_new(database);
	steering->name_server = name_server ? memory_or_end(strdup(name_server)) : NULL;
	return steering;
}

void steering_free(struct steering *steering)
{
	if (!steering)
		return;
	places_free(steering->places);
	arena_free(steering->arena);
	free(steering->name_server);
	free(steering);
}

size_t steering_count(const struct steering *steering)
{
	return steering->count;
}

static const char *text_of(struct arena *arena, const json_t *json, const char *key)
{
	const char *text = json_string_value(json_object_get(json, key));

	return text ? arena_copy(arena, text, strlen(text)) : NULL;
}

static const char *const *texts_of(struct arena *arena, const json_t *list, size_t *ret_count)
{
	const char **texts = arena_array(arena, json_array_size(list) + 1, sizeof(*texts));

	*ret_count = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (text)
			texts[(*ret_count)++] = arena_copy(arena, text, strlen(text));
	}
	return texts;
}

static double number_of(const json_t *json, const char *key, double otherwise)
{
	const json_t *value = json_object_get(json, key);

	return json_is_number(value) ? json_number_value(value) : otherwise;
}

static int site_read(struct arena *arena, const json_t *json, struct steer_site *site, struct error *error)
{
	const json_t *addresses = json_object_get(json, "addresses"), *prefixes = json_object_get(json, "prefixes");
	struct steer_address *own = arena_array(arena, json_array_size(addresses) + 1, sizeof(*own));
	struct prefix *clients = arena_array(arena, json_array_size(prefixes) + 1, sizeof(*clients));

	site->name = text_of(arena, json, "name");
	if (!site->name)
		return error_set(error, EINVAL, "a site has no name");
	for (size_t i = 0; i < json_array_size(addresses); i++) {
		const json_t *item = json_array_get(addresses, i);
		const char *text = json_string_value(json_object_get(item, "address"));
		const char *health = json_string_value(json_object_get(item, "health"));

		if (!text || address_parse(text, &own[i].address) < 0)
			return error_set(error, EINVAL, "site %s: not an address", site->name);
		own[i].health = !health ? STEER_UNKNOWN : strcmp(health, "down") == 0 ? STEER_DOWN : STEER_UP;
	}
	for (size_t i = 0; i < json_array_size(prefixes); i++) {
		const char *text = json_string_value(json_array_get(prefixes, i));

		if (!text || prefix_parse(text, &clients[i]) < 0)
			return error_set(error, EINVAL, "site %s: not a prefix", site->name);
	}
	site->addresses = own;
	site->address_count = json_array_size(addresses);
	site->prefixes = clients;
	site->prefix_count = json_array_size(prefixes);
	site->places = texts_of(arena, json_object_get(json, "places"), &site->place_count);
	site->weight = (uint32_t)number_of(json, "weight", 1);
	site->order = (uint32_t)number_of(json, "order", 0);
	site->load = number_of(json, "load", -1);
	site->load_low = number_of(json, "loadLow", 0);
	site->load_high = number_of(json, "loadHigh", 0);
	return 0;
}

static int policy_read(struct arena *arena, const json_t *json, struct steer_policy *policy, struct error *error)
{
	const json_t *sites = json_object_get(json, "sites");
	struct steer_site *own = arena_array(arena, json_array_size(sites) + 1, sizeof(*own));
	const char *host = json_string_value(json_object_get(json, "host"));

	policy->name = text_of(arena, json, "name");
	if (!policy->name || !host || dns_name_parse(host, &policy->host) < 0)
		return error_set(error, EINVAL, "a policy needs a name and a host");
	for (size_t i = 0; i < json_array_size(sites); i++) {
		int status = site_read(arena, json_array_get(sites, i), &own[i], error);

		if (status < 0)
			return error_prefix(error, -status, "%s", policy->name);
	}
	policy->sites = own;
	policy->site_count = json_array_size(sites);
	policy->ttl = (uint32_t)number_of(json, "ttl", 20);
	policy->healthy_percent = (uint32_t)number_of(json, "minHealthyPercent", 0);
	policy->name_servers = texts_of(arena, json_object_get(json, "nameServers"), &policy->name_server_count);
	policy->contact = text_of(arena, json, "contact");
	return 0;
}

int steering_set(struct steering *steering, const json_t *policies, struct error *error)
{
	struct arena *arena = arena_new();
	struct steer_policy *own = arena_array(arena, json_array_size(policies) + 1, sizeof(*own));

	for (size_t i = 0; i < json_array_size(policies); i++) {
		int status = policy_read(arena, json_array_get(policies, i), &own[i], error);

		if (status < 0) {
			arena_free(arena);
			return status;
		}
	}
	arena_free(steering->arena);
	steering->arena = arena;
	steering->policies = own;
	steering->count = json_array_size(policies);
	return 0;
}

/* --- answers -------------------------------------------------------------------------------------------------------------------- */

static const struct steer_policy *policy_of(const struct steering *steering, const struct dns_name *name)
{
	const struct steer_policy *best = NULL;

	for (size_t i = 0; i < steering->count; i++)
		if (dns_name_within(name, &steering->policies[i].host) &&
		    (!best || steering->policies[i].host.length > best->host.length))
			best = &steering->policies[i];
	return best;
}

bool steering_knows(const struct steering *steering, const struct dns_name *name)
{
	return steering->count && policy_of(steering, name);
}

/* The nth server's name; without any, "ns." before the host. */
static struct dns_name server_name(const struct steering *steering, const struct steer_policy *policy, size_t number)
{
	static const struct dns_name ns = {4, "\2ns"};
	struct dns_name name;

	if (number < policy->name_server_count && dns_name_parse(policy->name_servers[number], &name) == 0)
		return name;
	if (steering->name_server && dns_name_parse(steering->name_server, &name) == 0)
		return name;
	return dns_name_join(&ns, 1, &policy->host, &name) < 0 ? policy->host : name;
}

static void soa_add(const struct steering *steering, const struct steer_policy *policy, enum dns_section section,
		    struct dns_writer *writer)
{
	static const struct dns_name hostmaster = {12, "\12" "hostmaster"};
	struct dns_name server = server_name(steering, policy, 0), contact;
	uint32_t numbers[5] = {1, SOA_REFRESH, SOA_RETRY, SOA_EXPIRE, policy->ttl};
	uint8_t data[2 * DNS_NAME_MAX + 20];
	size_t used = server.length;

	if (!policy->contact || dns_name_parse(policy->contact, &contact) < 0)
		if (dns_name_join(&hostmaster, 1, &policy->host, &contact) < 0)
			contact = policy->host;
	memcpy(data, server.bytes, server.length);
	memcpy(data + used, contact.bytes, contact.length);
	used += contact.length;
	for (size_t i = 0; i < 5; i++, used += 4)
		bytes_put32(data + used, numbers[i]);
	dns_writer_add(writer, section, &policy->host, DNS_SOA, DNS_IN, policy->ttl, data, used);
}

static void addresses_add(const struct steer_policy *policy, const struct steer_choice *choice, bool ipv6, struct dns_writer *writer)
{
	for (size_t i = 0; choice->site && i < choice->site->address_count; i++) {
		const struct steer_address *address = &choice->site->addresses[i];

		if (address_is_ipv4(&address->address) == ipv6 || (address->health == STEER_DOWN && !choice->last_resort))
			continue;
		dns_writer_add(writer, DNS_ANSWER, &policy->host, ipv6 ? DNS_AAAA : DNS_A, DNS_IN, policy->ttl,
			       (const uint8_t *)&address->address + (ipv6 ? 0 : 12), ipv6 ? 16 : 4);
	}
}

static struct steer_client client_of(const struct steering *steering, const struct dns_query *query, const struct address *from)
{
	struct steer_client client = {.address = *from, .length = address_is_ipv4(from) ? 32 : 128};

	/* a subnet of no bits says that the client does not want to be known (RFC 7871 section 7.1.2) */
	if (query && query->subnet_given && query->subnet_length) {
		client.address = query->subnet;
		client.length = query->subnet_length;
		client.subnet = true;
	}
	places_find(steering->places, &client.address, &client.place);
	return client;
}

enum dns_rcode steering_answer(const struct steering *steering, const struct dns_query *query, const struct address *from,
			       struct dns_writer *writer, uint8_t *ret_scope)
{
	const struct steer_policy *policy = policy_of(steering, &query->name);
	bool ipv6 = query->type == DNS_AAAA;

	*ret_scope = 0;
	if (!dns_name_equal(&policy->host, &query->name)) {
		soa_add(steering, policy, DNS_AUTHORITY, writer);
		return DNS_NXDOMAIN;
	}
	if (query->type == DNS_A || ipv6) {
		struct steer_client client = client_of(steering, query, from);
		struct steer_choice choice;

		steer_choose(policy, &client, ipv6, false, &choice);
		*ret_scope = choice.scope;
		addresses_add(policy, &choice, ipv6, writer);
	} else if (query->type == DNS_SOA) {
		soa_add(steering, policy, DNS_ANSWER, writer);
	} else if (query->type == DNS_NS) {
		for (size_t i = 0; i < policy->name_server_count || i == 0; i++) {
			struct dns_name server = server_name(steering, policy, i);

			dns_writer_add(writer, DNS_ANSWER, &policy->host, DNS_NS, DNS_IN, policy->ttl, server.bytes, server.length);
		}
	}
	if (!writer->counts[DNS_ANSWER])
		soa_add(steering, policy, DNS_AUTHORITY, writer);
	return DNS_NOERROR;
}

static json_t *family_explain(const struct steer_policy *policy, const struct steer_client *client, bool ipv6)
{
	struct steer_choice choice;
	json_t *addresses = json_array();

	steer_choose(policy, client, ipv6, true, &choice);
	for (size_t i = 0; choice.site && i < choice.site->address_count; i++) {
		const struct steer_address *address = &choice.site->addresses[i];
		char text[ADDRESS_TEXT_SIZE];

		if (address_is_ipv4(&address->address) != ipv6 && (address->health != STEER_DOWN || choice.last_resort))
			json_array_append_new(addresses, json_string(address_format(&address->address, text)));
	}
	return json_pack("{s:s, s:s?, s:o, s:i, s:b, s:o}", "type", ipv6 ? "AAAA" : "A", "site",
			 choice.site ? choice.site->name : NULL, "addresses", addresses, "scope", choice.scope, "lastResort",
			 choice.last_resort, "steps", choice.steps);
}

json_t *steering_explain(const struct steering *steering, const struct dns_name *name, const struct address *from)
{
	const struct steer_policy *policy = policy_of(steering, name);
	struct steer_client client;
	json_t *database;
	char host[DNS_NAME_TEXT_SIZE], text[ADDRESS_TEXT_SIZE];

	if (!policy)
		return NULL;
	client = client_of(steering, NULL, from);
	database = places_json(steering->places);
	return json_pack("{s:s, s:s, s:i, s:{s:s, s:s, s:s, s:s, s:i, s:o*}, s:[o, o]}", "policy", policy->name, "host",
			 dns_name_format(&policy->host, host), "ttl", (int)policy->ttl, "client", "address",
			 address_format(from, text), "continent", client.place.continent, "country", client.place.country, "subdivision",
			 client.place.subdivision, "network", client.place.network, "database", database, "answers",
			 family_explain(policy, &client, false), family_explain(policy, &client, true));
}

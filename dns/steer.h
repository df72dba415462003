/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steered names: which of a name's sites a client is sent to. By health, geography, load and weight, and by the order of
 * failover; pure but for the database of places, which is read.
 *
 *     sites that are healthy (all of them, if too few are: a last resort)
 *       └► of those, the ones that the client's region, country or continent, or prefix is for; else those for everybody
 *            └► of those, the lowest order
 *                 └► of those, by weight and load, the same for one client as long as nothing changes (rendezvous hashing)
 *
 * Where a client is: its subnet as its resolver tells it (RFC 7871), else the resolver's own address.
 */
#pragma once

#include <jansson.h>

#include "base/lib/address_text.h"
#include "base/lib/error.h"
#include "dns/message.h"
#include "dns/places.h"

struct steering;

enum steer_health { STEER_UP, STEER_DOWN, STEER_UNKNOWN };

struct steer_address {
	struct address address;
	enum steer_health health;
};

struct steer_site {
	const char *name;
	const struct steer_address *addresses;
	size_t address_count;
	uint32_t weight;	/* 0: only when no other is left */
	uint32_t order;		/* lower first */
	const char *const *places; /* "EU", "DE", "DE-BY": continents, countries, subdivisions */
	size_t place_count;
	const struct prefix *prefixes; /* of clients */
	size_t prefix_count;
	double load;		/* 0 to 1, and above; below 0: not known */
	double load_low, load_high; /* between them clients are gradually sent elsewhere; 0: no limit */
};

struct steer_policy {
	const char *name; /* of the policy: "default/www" */
	struct dns_name host;
	uint32_t ttl;
	uint32_t healthy_percent; /* fewer healthy sites than this: health is not believed any more */
	const char *const *name_servers; /* texts; none: the daemon's own */
	size_t name_server_count;
	const char *contact;
	const struct steer_site *sites;
	size_t site_count;
};

/* What a client is known by. */
struct steer_client {
	struct address address;
	uint8_t length; /* of the prefix that stands for it: bits, of an IPv4 address at most 32 */
	bool subnet;	/* as its resolver told it */
	struct place place;
};

struct steer_choice {
	const struct steer_site *site; /* NULL: no site has an address of the family */
	uint8_t scope;		       /* bits of the client's prefix that the choice was made by */
	bool last_resort;	       /* too few sites are healthy */
	json_t *steps;		       /* sentences; only when wanted */
};

/* Pure. `ipv6`: addresses of which family are wanted. */
void steer_choose(const struct steer_policy *policy, const struct steer_client *client, bool ipv6, bool explain,
		  struct steer_choice *ret_choice);

/* --- a set of policies, as selvaged sends them --------------------------------------------------------------------------------- */

/* `database`: places.h's file; NULL: none. It is read anew when it is replaced. A file that cannot be read is no error but a warning. */
struct steering *steering_new(const char *database, const char *name_server);
void steering_free(struct steering *steering);
/*
 * [{"name":"default/www","host":"www.example.com","ttl":20,"minHealthyPercent":0,"nameServers":[…],"contact":"…",
 *   "sites":[{"name":"fra","weight":1,"order":0,"places":["EU"],"prefixes":["10.0.0.0/8"],"load":0.3,"loadLow":0.7,
 *             "loadHigh":0.9,"addresses":[{"address":"192.0.2.1","health":"up"}]}]}]
 * Replaces all. 0 or -EINVAL: nothing has changed.
 */
must_check int steering_set(struct steering *steering, const json_t *policies, struct error *error);
size_t steering_count(const struct steering *steering);

/* Whether the name is steered, or below one that is. */
bool steering_knows(const struct steering *steering, const struct dns_name *name);
/* Writes the sections of the answer; the rcode. `ret_scope`: for the client's subnet. */
enum dns_rcode steering_answer(const struct steering *steering, const struct dns_query *query, const struct address *from,
			       struct dns_writer *writer, uint8_t *ret_scope);
/* For people; NULL: not a steered name. */
json_t *steering_explain(const struct steering *steering, const struct dns_name *name, const struct address *from);

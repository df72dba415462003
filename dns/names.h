/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Service discovery as Kubernetes has it (its "DNS-Based Service Discovery", version 1.1.0): from services and their backends to
 * records. Pure: the same input gives the same records in the same order.
 *
 *     NAME.NAMESPACE.svc.ZONE           A, AAAA: the service's addresses; headless: its ready endpoints'
 *     _PORT._PROTOCOL.NAME.….svc.ZONE   SRV: to the name above; headless: one for each endpoint, to the name below
 *     HOST.NAME.NAMESPACE.svc.ZONE      A, AAAA: an endpoint of a headless service; HOST is its hostname, or its address with
 *                                       dashes (10-0-0-1)
 *     reverse names                     PTR to the names that addresses stand under
 *     dns-version.ZONE                  TXT "1.1.0"
 *
 * Names of pods by their addresses are made as they are asked for (zone.h).
 */
#pragma once

#include "dns/zone.h"

struct arena;

#define NAMES_TTL 5 /* seconds; of negative answers, too */

struct names_port {
	const char *name;     /* "": the port is in no SRV record */
	const char *protocol; /* "tcp", "udp" */
	uint16_t port;	      /* of the service; of headless services the endpoint's */
};

struct names_endpoint {
	struct address address;
	const char *hostname; /* "": none */
	const struct names_port *ports;
	size_t port_count;
};

struct names_service {
	const char *name, *namespace_name;
	bool headless;
	const char *external_name; /* "": none; else a CNAME and nothing more */
	const struct address *addresses; /* of services that are not headless */
	size_t address_count;
	bool reverse;		       /* its addresses are its own: PTR records */
	const struct names_port *ports; /* of services that are not headless */
	size_t port_count;
	const struct names_endpoint *endpoints; /* of headless ones: those that are ready and healthy */
	size_t endpoint_count;
};

struct names_input {
	const char *zone; /* "cluster.local" */
	bool shared;	  /* its other names are known elsewhere: those that are not made here are not denied */
	const struct names_service *services;
	size_t service_count;
	const char *const *namespaces; /* exist without services, too */
	size_t namespace_count;
	const struct address *servers; /* addresses of ns.dns.ZONE */
	size_t server_count;
};

struct names_result {
	struct zone_record *records; /* sorted by owner, type, data; none twice */
	size_t count;
	struct zone_config zones[3]; /* the zone, in-addr.arpa, ip6.arpa */
	size_t zone_count;
	struct arena *arena;
};

/* What cannot be a name (a service called by what is no label) is left out. */
void names_make(const struct names_input *input, struct names_result *ret_result);
void names_result_done(struct names_result *result);

/* By owner, type, data; TTLs aside. */
int zone_record_compare(const struct zone_record *a, const struct zone_record *b);

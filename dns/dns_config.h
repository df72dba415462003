/* SPDX-License-Identifier: Apache-2.0 */
/* The key `dns` of the configuration, as selvage-dns and selvaged use it. Strings belong to it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lib/rate_text.h"
#include "base/packet/address.h"

enum dns_protocol {
	DNS_PROTOCOL_UDP, /* TCP where an answer is truncated */
	DNS_PROTOCOL_TCP, /* preferred: UDP only while TCP cannot connect */
	DNS_PROTOCOL_TLS, /* never anything else (RFC 7858) */
};

struct dns_endpoint {
	struct address address;
	uint16_t port; /* host order */
};

struct dns_upstream {
	struct dns_endpoint endpoint;
	enum dns_protocol protocol;
	char *name; /* TLS: what its certificate must name; NULL: any certificate */
};

/* Where the names of a zone are asked for. */
struct dns_forward {
	char *zone; /* "." for all that have no other */
	struct dns_upstream *upstreams;
	size_t upstream_count;
	bool validate; /* its answers have to be signed as their parents say */
};

struct dns_config {
	bool enabled; /* the key is there */
	struct dns_endpoint *listen, *tls_listen;
	size_t listen_count, tls_listen_count;
	char *tls_certificate, *tls_key; /* PEM files */
	char *cluster_domain;		 /* "cluster.local" */
	struct dns_forward *forwards;	 /* without one for ".": recursion */
	size_t forward_count;
	bool validate;
	char *trust_anchor; /* file in the form of zone files */
	char *authorities;  /* of upstreams' TLS certificates; NULL: the system's */
	uint64_t cache_bytes;
	uint32_t packet_names; /* that packets' cache has room for; the packet program's, so selvaged's */
	uint32_t ttl_max_seconds, negative_ttl_max_seconds;
	uint32_t stale_seconds;	    /* how long after its end an answer may be given; 0: never */
	uint32_t stale_wait_ms;	    /* how long a client waits before it gets one */
	uint32_t hedge_delay_ms;    /* 0: as measured */
	uint32_t hedge_percent;	    /* of queries that may be asked twice */
	struct rate limit;	    /* of each client's queries; a burst of 0: none */
	struct client_bits limit_bits;
	bool autopath;
	char **search; /* domains behind the cluster's in clients' search lists */
	size_t search_count;
	char *geo_database; /* MaxMind; NULL: none */
	char *name_server;  /* of steered zones, in NS and SOA records; NULL: "ns." before the zone */
};

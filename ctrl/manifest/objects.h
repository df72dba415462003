/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the operator wants, as typed objects. Shapes, names and defaults are those of Kubernetes and MetalLB; what is ours has
 * the prefix `selvage.io/`.
 *
 * An object is made by manifest.h (from YAML or JSON), is never changed afterwards, and is freed whole by object_free(): all its
 * strings and arrays live in its arena. Strings are never NULL unless said so; absent text is "". Arrays with a count of 0 may
 * be NULL. Any thread may read an object.
 */
#pragma once

#include <jansson.h>

#include "base/lib/address_text.h"
#include "base/packet/wire.h"

struct arena;

/* --- kinds ------------------------------------------------------------------------------------------------------------- */

enum object_kind {
	OBJECT_NAMESPACE,
	OBJECT_NODE,             /* v1: labels and addresses of a cluster node */
	OBJECT_SERVICE,
	OBJECT_ENDPOINTS,
	OBJECT_ENDPOINT_SLICE,
	OBJECT_ADDRESS_POOL,     /* metallb.io IPAddressPool */
	OBJECT_L2_ADVERTISEMENT, /* metallb.io L2Advertisement */
	OBJECT_REPLAY_NODE,      /* selvage.io Node: interfaces, neighbours and routes without a network */
	OBJECT_STEERING_POLICY,  /* selvage.io SteeringPolicy: sites of a name */
	OBJECT_KIND_COUNT,
};

struct object_kind_info {
	enum object_kind kind;
	const char *name;        /* "EndpointSlice" */
	const char *api_version; /* "discovery.k8s.io/v1" */
	const char *group;       /* "discovery.k8s.io"; "" for the core group */
	const char *version;     /* "v1" */
	const char *plural;      /* "endpointslices", as in API paths */
	const char *singular;    /* "endpointslice" */
	const char *short_name;  /* "epslice", or NULL */
	bool namespaced;
};

const struct object_kind_info *object_kind_info(enum object_kind kind);
/* NULL when there is none. */
const struct object_kind_info *object_kind_of_type(const char *api_version, const char *name);
const struct object_kind_info *object_kind_of_path(const char *group, const char *version, const char *plural);
/*
 * As typed on the command line, in any case: plural, singular, short name or kind, with ".group" behind it where two kinds share
 * a name ("nodes" is v1's; "nodes.selvage.io" is the replay node).
 */
const struct object_kind_info *object_kind_of_word(const char *word);

/* --- parts ------------------------------------------------------------------------------------------------------------- */

struct key_value {
	const char *key, *value;
};

struct key_values {
	const struct key_value *items;
	size_t count;
};

/* NULL when the key is absent. */
const char *key_values_get(const struct key_values *values, const char *key);

struct string_list {
	const char **items;
	size_t count;
};

bool string_list_contains(const struct string_list *list, const char *text);

struct address_list {
	const struct address *items;
	size_t count;
};

bool address_list_contains(const struct address_list *list, const struct address *address);

enum selector_operator { SELECTOR_IN, SELECTOR_NOT_IN, SELECTOR_EXISTS, SELECTOR_DOES_NOT_EXIST };

struct selector_expression {
	const char *key;
	enum selector_operator operator;
	struct string_list values;
};

/* Everything given must hold (selector.h matches it); an empty selector selects everything. */
struct label_selector {
	struct key_values match_labels;
	const struct selector_expression *expressions;
	size_t expression_count;
};

struct label_selectors {
	const struct label_selector *items;
	size_t count;
};

struct object_meta {
	const char *name;
	const char *namespace_name; /* "default" when not given; "" for kinds without namespace */
	const char *uid;            /* given by the store; "" before */
	const char *creation_timestamp; /* RFC 3339, given by the store; "" before */
	uint64_t resource_version;  /* given by the store; 0 before */
	int64_t generation;
	struct key_values labels, annotations;
};

/* Values are IP protocol numbers: PROTOCOL_TCP and PROTOCOL_UDP of wire.h are these. */
enum protocol_name { PROTOCOL_NAME_TCP = PROTOCOL_TCP, PROTOCOL_NAME_UDP = PROTOCOL_UDP };

const char *protocol_name_text(enum protocol_name protocol); /* "TCP" */

/* --- Service ----------------------------------------------------------------------------------------------------------- */

enum service_type { SERVICE_CLUSTER_IP, SERVICE_LOAD_BALANCER, SERVICE_NODE_PORT, SERVICE_EXTERNAL_NAME };
enum service_forwarding { SERVICE_FORWARDING_NAT, SERVICE_FORWARDING_L2_DSR, SERVICE_FORWARDING_IPIP, SERVICE_FORWARDING_GUE };

/* The annotation's word. */
static inline const char *service_forwarding_name(enum service_forwarding forwarding)
{
	static const char *const names[] = {"nat", "l2-dsr", "ipip", "gue"};

	return names[forwarding];
}

enum service_no_healthy { SERVICE_NO_HEALTHY_DROP, SERVICE_NO_HEALTHY_ALL };
/* BY_PROTOCOL: not given; TCP ports are then connected to, UDP ports sent a datagram. */
enum service_check {
	SERVICE_CHECK_NONE,
	SERVICE_CHECK_TCP,
	SERVICE_CHECK_HTTP,
	SERVICE_CHECK_UDP,
	SERVICE_CHECK_MEDIA,
	SERVICE_CHECK_BY_PROTOCOL,
};
enum ip_family_policy { IP_FAMILY_SINGLE_STACK, IP_FAMILY_PREFER_DUAL_STACK, IP_FAMILY_REQUIRE_DUAL_STACK };
enum ip_family { IP_FAMILY_IPV4 = 4, IP_FAMILY_IPV6 = 6 };
enum traffic_policy { TRAFFIC_POLICY_CLUSTER, TRAFFIC_POLICY_LOCAL };

struct service_port {
	const char *name; /* may be "" when it is the only port */
	enum protocol_name protocol;
	uint16_t port;
	uint16_t port_last;           /* = port, or the last of selvage.io/port-range */
	uint16_t target_port;         /* 0: as named by target_port_name; a range keeps the client's port and ignores it */
	const char *target_port_name; /* "" when a number */
	uint16_t node_port;           /* 0: none */
	const char *app_protocol;
};

#define APP_PROTOCOL_WEBRTC "selvage.io/webrtc" /* calls, forwarded by session */

static inline bool service_port_is_webrtc(const struct service_port *port)
{
	return __builtin_strcmp(port->app_protocol, APP_PROTOCOL_WEBRTC) == 0;
}

/* selvage.io/health-check and its companions. */
struct service_health {
	enum service_check check;
	uint16_t port; /* 0: the backend's own */
	uint32_t interval_ms, timeout_ms;
	uint32_t rise, fall;
	/* else a default of ours, which a configuration may replace */
	bool interval_given, timeout_given, rise_given, fall_given;
	const char *path;                          /* HTTP: "/"; MEDIA: "/whip", by WHIP. "": that */
	const char *host;                          /* both: Host header; "": the backend's address */
	uint16_t expect_status_first, expect_status_last; /* HTTP: 200 to 399 */
	const char *send;   /* UDP: what to send */
	const char *expect; /* UDP: what the answer must begin with; "": any answer */
};

/* selvage.io/limit-…: so many in a minute, and so many at once; a burst of 0: no limit. */
struct service_rate {
	uint32_t per_minute;
	uint32_t burst;
};

/* selvage.io/quic-lb: a backend's server id, the first byte lowest. */
struct service_quic_server {
	struct address address;
	uint64_t id;
};

struct service {
	enum service_type type;
	struct address_list cluster_ips; /* clusterIP(s) without "None" */
	bool headless;                   /* clusterIP: None */
	struct key_values selector;
	const struct service_port *ports;
	size_t port_count;
	uint32_t affinity_timeout_seconds; /* 0: no session affinity */
	enum ip_family ip_families[2];
	size_t ip_family_count; /* 0: not given */
	enum ip_family_policy ip_family_policy;
	enum traffic_policy external_traffic_policy;
	bool publish_not_ready_addresses;
	const char *load_balancer_class;
	const struct prefix *source_ranges; /* loadBalancerSourceRanges */
	size_t source_range_count;
	const struct prefix *deny_ranges; /* selvage.io/deny-source-ranges */
	size_t deny_range_count;
	struct address_list ingress; /* status.loadBalancer.ingress: the addresses it has */

	/* metallb.io/…; `requested` is loadBalancerIP or loadBalancerIPs, at most one address per family */
	struct address_list requested;
	const char *address_pool;
	const char *allow_shared_ip; /* the sharing key */

	/* selvage.io/… */
	enum service_forwarding forwarding;
	enum service_no_healthy no_healthy;
	uint32_t slow_start_seconds; /* 0: off */
	uint32_t udp_idle_seconds;
	struct service_rate limit_new_flows, limit_packets; /* of each client's prefix */
	struct service_rate limit_new_flows_total;          /* of all clients together */
	uint32_t limit_flows;                               /* recorded ones; 0: no limit */
	uint32_t limit_flows_per_client;                    /* of each client's prefix */
	uint8_t limit_prefix_ipv4, limit_prefix_ipv6;       /* bits that make a client */
	const struct service_quic_server *quic_servers; /* 0: not routed by connection id */
	size_t quic_server_count;
	uint8_t quic_server_length; /* bytes of every id, 1 to 8 */
	uint8_t quic_config;        /* 0 to 6 */
	/* Of ports with APP_PROTOCOL_WEBRTC: */
	bool dscp_given;
	uint8_t dscp;              /* that their packets leave with; else what they came with */
	uint32_t limit_sessions;   /* 0: as many as there is room for */
	struct service_rate limit_session_packets; /* of each session, in either direction */
	struct service_rate limit_stun; /* of each client's prefix: STUN requests that are answered here; a burst of 0: the default */
	struct service_rate limit_stun_total; /* and of all clients together */
	struct service_health health;
};

/* --- backends ---------------------------------------------------------------------------------------------------------- */

struct endpoint_port {
	const char *name;
	enum protocol_name protocol;
	uint16_t port; /* 0: any port (a slice may leave it out) */
	const char *app_protocol;
};

struct endpoint {
	struct address_list addresses; /* consumers use the first, as Kubernetes' do */
	bool ready, serving, terminating;
	uint16_t weight; /* selvage.io/weights; 1 when not given, 0: no new flows */
	const char *node_name, *zone, *hostname, *target_name; /* "" when not given */
};

struct endpoint_slice {
	const char *service_name; /* label kubernetes.io/service-name; "" belongs to no service */
	bool of_names; /* addressType FQDN: its endpoints are left out */
	enum ip_family family;
	const struct endpoint *endpoints;
	size_t endpoint_count;
	const struct endpoint_port *ports;
	size_t port_count;
};

/* A service's backends by its own name; addresses that are not ready have `ready` false. */
struct endpoint_subset {
	const struct endpoint *endpoints;
	size_t endpoint_count;
	const struct endpoint_port *ports;
	size_t port_count;
};

struct endpoints {
	const struct endpoint_subset *subsets;
	size_t subset_count;
};

/* --- nodes and addresses ----------------------------------------------------------------------------------------------- */

struct node {
	bool unschedulable;
	struct address_list internal_ips; /* status.addresses of type InternalIP */
};

struct address_range {
	struct address first, last; /* of one family */
};

struct address_pool {
	const struct address_range *ranges;
	size_t range_count;
	bool auto_assign;
	bool avoid_buggy_ips;
	bool allocation_restricted; /* serviceAllocation is given */
	uint32_t priority;          /* lower first; 0: after all that have one */
	struct string_list namespaces;
	struct label_selectors namespace_selectors, service_selectors;
};

struct l2_advertisement {
	struct string_list pools; /* with no pools and no pool selectors: all pools */
	struct label_selectors pool_selectors;
	struct label_selectors node_selectors; /* none: all nodes */
	struct string_list interfaces;         /* none: all */
};

struct replay_neighbour {
	struct address ip;
	uint8_t mac[6];
};

struct replay_interface {
	const char *name;   /* "eth0" when the only one is not named */
	const char *engine; /* "" when not given */
	uint16_t vlan;      /* 0: untagged */
	uint16_t mtu;       /* 1500 when not given */
	uint8_t mac[6];
	const struct prefix *addresses; /* host bits kept: the interface's own address and its network */
	size_t address_count;
	const struct replay_neighbour *neighbours;
	size_t neighbour_count;
};

struct replay_route {
	struct prefix to; /* "default" is 0.0.0.0/0 or ::/0, by the family of `via` */
	bool has_via;
	struct address via;
	const char *interface; /* "" when `via` tells */
};

struct replay_node {
	const struct replay_interface *interfaces;
	size_t interface_count;
	const struct replay_route *routes;
	size_t route_count;
};

/* --- steering ---------------------------------------------------------------------------------------------------------- */

struct steering_site {
	const char *name;
	struct address_list addresses;
	uint32_t weight, order;
	struct string_list continents, countries, subdivisions; /* "EU", "DE", "DE-BY" */
	const struct prefix *prefixes;				/* of clients */
	size_t prefix_count;
	double load_low, load_high; /* 0: no limit */
};

/* What was written into the status about a site, by whoever knows. */
struct steering_report {
	const char *name;
	bool healthy, healthy_given;
	double load; /* below 0: not given */
};

struct steering_policy {
	const char *host;
	uint32_t ttl; /* seconds */
	uint32_t healthy_percent;
	struct string_list name_servers;
	const char *contact;
	struct service_health health; /* of every site's addresses */
	const struct steering_site *sites;
	size_t site_count;
	const struct steering_report *reports;
	size_t report_count;
};

/* --- the object -------------------------------------------------------------------------------------------------------- */

struct object {
	enum object_kind kind;
	struct object_meta meta;
	const char *file; /* where it was read; "" when it came over the API */
	uint32_t line;    /* 0 when it came over the API */
	union {
		struct service service;
		struct endpoints endpoints;
		struct endpoint_slice endpoint_slice;
		struct node node;
		struct address_pool address_pool;
		struct l2_advertisement l2_advertisement;
		struct replay_node replay_node;
		struct steering_policy steering_policy;
	};
	json_t *raw; /* the whole object as given, fields that are not honoured included; borrowed by readers */
	struct arena *arena;
};

/* NULL is allowed. */
void object_free(struct object *object);
void object_freep(struct object **object);

/* For jansson's writers, where people read it: 0.7 as 0.7, not 0.69999999999999996. What is stored keeps all 17 digits. */
#define OBJECT_JSON_REALS JSON_REAL_PRECISION(15)

/* A new reference to `raw`; the caller must not change it (json_deep_copy() first). */
json_t *object_to_json(const struct object *object);

/* Order by kind, namespace, name; 0 for the same object. */
int object_compare(const struct object *a, const struct object *b);

#define OBJECT_REFERENCE_SIZE 512
/* "Service default/web", "IPAddressPool metallb-system/lan", "Node edge1": how messages name an object. */
const char *object_reference(const struct object *object, char buffer[static OBJECT_REFERENCE_SIZE]);

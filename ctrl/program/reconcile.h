/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what the operator wants (objects), what the world does (network, health) to what packets shall see (tables). The one
 * place that sees all three. Pure: the same input gives the same result; time comes in.
 *
 * It cannot fail: what cannot be honoured is left out and said in `alarms`, and everything else works on.
 */
#pragma once

#include "base/lib/rate_text.h"
#include "ctrl/health/health.h"
#include "ctrl/manifest/ipam.h"
#include "ctrl/manifest/objects.h"
#include "ctrl/program/network.h"
#include "edge/edge_wanted.h"
#include "rtc/ufrag.h"

/* An interface that the packet program runs on. */
struct reconcile_interface {
	uint32_t ifindex;
	bool workload; /* a veth of local backends; otherwise a NIC, on which virtual IPs are announced */
};

/* A node that may own virtual IPs. */
struct reconcile_node {
	const char *name;
	struct key_values labels;
	bool live;
};

/* A backend that the operator drains: no new flows, those it has stay. */
struct reconcile_drain {
	const char *service; /* "namespace/name", or "" for every service */
	struct address address;
	uint16_t port; /* 0: every port */
};

/* Timing of health checks whose services do not say. */
struct reconcile_check_defaults {
	uint32_t interval_ms, timeout_ms, rise, fall;
};

/* A virtual IP that the operator moved to a node. */
struct reconcile_pin {
	struct address vip;
	const char *node;
};

/* Where DNS is answered. */
struct reconcile_dns {
	struct address address;
	uint16_t port; /* host order */
	struct rate limit; /* of each client's packets */
	struct client_bits limit_bits;
};

#define RECONCILE_STEERING_KEY "steering/" /* before "namespace/name" of a SteeringPolicy, in the keys of its checks */

struct reconcile_input {
	const struct object *const *objects;
	size_t object_count;
	const struct network *network;
	const struct reconcile_interface *interfaces;
	size_t interface_count;
	const char *node_name; /* this node */
	const struct reconcile_node *nodes; /* this one among them */
	size_t node_count;
	const struct health_report *health; /* as health_snapshot() orders them */
	size_t health_count;
	bool health_assumed; /* replay: nothing is checked, every ready backend is up */
	const struct reconcile_check_defaults *check_defaults; /* for services that say nothing; NULL: ours */
	const struct reconcile_drain *drains;
	size_t drain_count;
	const struct reconcile_pin *pins;
	size_t pin_count;
	const struct rtc_ufrag_secret *ufrag_secrets; /* the newest first; none: encoded fragments lead nowhere */
	size_t ufrag_secret_count;
	const struct reconcile_dns *dns;
	size_t dns_count;
	const char *dns_zone; /* of the Services' names; NULL: no DNS */
	uint64_t hash_seed;
	uint64_t now_ms;
	uint64_t warm_before_ms; /* backends that were up by then have had their slow start */
};

/* One backend of one port of a service at one virtual IP, for status. */
struct reconcile_backend {
	const char *name;  /* "10.0.0.21:7000" */
	const char *service; /* the health check's and drain's service key */
	struct address address;
	uint16_t port;
	uint16_t weight; /* the operator's */
	enum lb_backend_state state;
	enum network_next_hop_state next_hop;
	const char *reason; /* why it is not up: "drained by the operator"; "" when it is */
	const char *node_name; /* where it runs, "" when not known */
};

struct reconcile_service {
	const struct object *object; /* borrowed from the input */
	const struct service_port *port;
	const char *key; /* "namespace/name:port", as in health checks */
	size_t wanted;   /* its place in wanted.services */
	const struct reconcile_backend *backends; /* in the order of wanted.services[].backends */
	size_t backend_count;
};

struct reconcile_vip {
	struct address address;
	const char *owner;     /* node name, "" when nobody may own it */
	const char *services;  /* "default/web, default/turn" */
	const char *pool;      /* "" for addresses that come from no pool (clusterIP) */
	bool announced;        /* an L2Advertisement covers it on some node */
	bool cluster_ip;       /* for local workloads only */
	const char *interfaces; /* where this node announces it: "eth0, eth1" */
};

/* ARP and ND that this node has to announce: a virtual IP on a link. */
struct reconcile_announcement {
	struct address vip;
	uint32_t ifindex; /* the link that frames are sent on, with `vlan` */
	uint16_t vlan;
	uint8_t mac[6];
};

struct reconcile_alarm {
	const char *subject; /* "Service default/web" */
	const char *text;    /* a sentence */
};

struct reconcile_result {
	struct edge_wanted wanted;
	const struct health_check *checks;
	size_t check_count;
	const struct reconcile_service *services; /* in the order of wanted.services */
	size_t service_count;
	const struct reconcile_vip *vips; /* in the order of wanted.vips */
	size_t vip_count;
	const struct reconcile_announcement *announcements;
	size_t announcement_count;
	const struct address *destinations; /* whose next hops are to be kept resolved: backends and gateways */
	size_t destination_count;
	const struct reconcile_alarm *alarms;
	size_t alarm_count;
	struct ipam_result assignments;
	uint64_t next_ms; /* when the result would differ by time alone (slow start); 0: never */
	struct arena *arena;
};

/* The result borrows objects from the input, which must outlive it. */
void reconcile(const struct reconcile_input *input, struct reconcile_result *ret_result);
void reconcile_result_done(struct reconcile_result *result);

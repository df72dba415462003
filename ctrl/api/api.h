/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control API: HTTP/1.1 on a unix socket in the shape of the Kubernetes API, Selvage's own verbs under /selvage/v1, and
 * metrics and the status page on a TCP address. docs/api.md is its page for users.
 *
 * The API owns the objects in the store (registry.h says where they lie): it checks, numbers and writes them. Everything else it
 * shows comes from the daemon, which hands in a table of callbacks, struct api_backend.
 *
 * One thread, the event loop's. No call blocks; callbacks must not either.
 */
#pragma once

#include <jansson.h>
#include <sys/types.h>

#include "base/lib/error.h"
#include "base/packet/address.h"
#include "ctrl/manifest/manifest.h"
#include "ctrl/store/store.h"
#include "edge/edge_event.h"

struct api;
struct evbuffer;
struct event_base;

#define API_SOCKET_DEFAULT "/run/selvage/selvage.sock"

struct api_options {
	const char *socket_path; /* what lies there is replaced if it is a socket nobody listens on */
	mode_t socket_mode;
	/* Peers that may read and write, besides root. The first group owns the socket. */
	const uid_t *allowed_uids;
	size_t allowed_uid_count;
	const gid_t *allowed_gids;
	size_t allowed_gid_count;
	bool others_may_read; /* else all that other users get is 403 */

	bool metrics_enabled;
	struct address metrics_address;
	uint16_t metrics_port; /* host order; 0: any free one, see api_metrics_port() */
};

/* --- what the daemon answers ------------------------------------------------------------------------------------------ */

/* A write that is being considered: `object` as it would be stored, or as it was when `deleted`. */
struct api_change {
	const struct object *object;
	bool deleted;
};

/* An action under way. api_action_done() is called for each exactly once, from inside the callback or later. */
struct api_action;
/* `status` is 0 or -errno: -ENOENT 404, -EEXIST and -EBUSY 409, -EINVAL 422, -EPERM 403, -EAGAIN 503, others 500. */
void api_action_done(struct api_action *action, int status, const struct error *error);

struct api_backend_reference {
	const char *namespace_name;
	const char *service;
	struct address address;
	uint16_t port; /* host order; 0: every port of the address in this service */
};

/* Which sessions a view is of. */
struct api_session_query {
	const char *namespace_name, *service; /* both NULL: of all services */
	const char *after; /* "@17": those behind it; NULL: from the first one */
	uint32_t limit;    /* items at most */
};

/* Which packets a trace is about, as far as the packet program can tell: fields of struct edge_config. */
struct api_trace_filter {
	uint32_t flags;         /* EDGE_TRACE_*; 0: nobody is tracing any more */
	uint32_t protocol;      /* 0: any */
	uint32_t port;          /* host order; 0: any */
	struct address address; /* all zero: any */
	uint32_t snaplen;       /* bytes of each packet; 0: as many as its headers need */
	uint32_t rate;          /* packets a second that each worker reports at most; 0: no limit */
};

/* A packet as a client might send it. */
struct api_explain_flow {
	uint8_t protocol; /* TCP, UDP, ICMP or ICMPv6: an echo request */
	bool established; /* TCP: not the first packet */
	struct address source, destination;
	uint16_t source_port, destination_port; /* host order */
};

struct api_explain_question {
	const char *interface; /* NULL: of a flow, the one that its source is reached by, if it takes part; else the first that does */
	const struct api_explain_flow *flow; /* NULL: the frame below */
	const uint8_t *bytes;  /* the frame, from its Ethernet header on */
	size_t length;
	size_t wire_length;    /* of the whole frame, if not all of it was kept */
};

/*
 * Callbacks that return JSON give a new reference. NULL is not allowed except where said. Keys that do not apply are left out;
 * a client shows what it knows. Times are RFC 3339 in UTC, "…Seconds", "…Ms" are numbers.
 *
 *   VIP      {"address":"192.0.2.10","owner":"edge1" or null,"local":true,"interfaces":["eth0"],"pool":"lan",
 *             "services":["default/web"],"sinceSeconds":12,"message":"why it is not announced, or empty"}
 *   SERVICE  {"namespace":"default","name":"web","type":"LoadBalancer","addresses":["192.0.2.10"],
 *             "ports":[{"name":"http","protocol":"TCP","port":80,"portLast":80}],"forwarding":"nat",
 *             "backends":{"total":3,"healthy":2,"draining":0},"flows":17,"packets":1000,"bytes":64000,
 *             "message":"why it has no address, or empty"}
 *   BACKEND  {"namespace":"default","service":"web","servicePort":"80/TCP","address":"10.0.0.21","port":7000,
 *             "state":"up"|"down"|"draining"|"unknown","drained":false,"weight":1,"share":0.33,
 *             "check":"http","reason":"http: status 200","sinceSeconds":12,"latencyUs":300,
 *             "flows":17,"packets":1000,"bytes":64000,"nextHop":"resolved"}
 *   DROP     {"reason":"vip_not_owned","count":17,"sentence":"what it means","advice":"what to do next"}
 *   COUNTERS {"node":"edge1","ready":true,"timeUs":…(CLOCK_MONOTONIC of the moment),"bytes":…,
 *             "verdicts":{"pass":…,"tx":…,"redirect":…,"drop":…},"drops":[DROP…, all],
 *             "backends":[{"service":"default/web:http","vip":"192.0.2.10","protocol":"TCP","backend":"10.0.0.21:7000",
 *                          "packets":…,"bytes":…,"answers":…,"answerBytes":…,"newFlows":…}]}
 *   STATUS   {"node":"edge1","version":"0.1.0","uptimeSeconds":12,"revision":17,"ready":true,"hashSeed":…,
 *             "interfaces":[{"name":"eth0","engine":"xdp-generic","wanted":"xdp-native","up":true,"mac":"…",
 *                            "addresses":["10.0.0.1/24"],"workload":false,"message":"why not as wanted, or empty"}],
 *             "vips":[VIP…],"services":[SERVICE…],"drops":[DROP…, those above 0],"flows":17,
 *             "sessions":{"live":3,"waiting":1,"oneWay":0,"registered":2,"used":4,"limit":131071},
 *             "alarms":[{"severity":"error"|"warning","text":"a sentence","sinceSeconds":12}]}
 *   SESSION  {"namespace":"default","service":"media","state":"live"|"one-way"|"waiting"|"no-agent"|"no-room","registered":true,
 *             "ufrag":"abcd","backends":["10.0.0.21:7000"],"expiresInSeconds":600,"id":"@17","vip":"192.0.2.10:3478",
 *             "agent":"10.0.0.21:7000","backendState":"up","client":"198.51.100.7:50000","upstream":"198.51.100.7:50000",
 *             "ageSeconds":12,"consentMs":900,"roundTripMs":31.0,"roundTripClientMs":30,"roundTripAgentMs":1,"moves":0,
 *             "healedPackets":0,"silent":"up"|"down","paths":[{"address":"…","current":true,"proven":true,"nominated":true,
 *             "healing":false,"silentMs":12}],"up":STREAM,"down":STREAM}
 *   STREAM   {"packets":…,"bytes":…,"silentMs":12,"longestPauseMs":40,"ssrc":"0000abcd","payloadType":111,"expected":…,"lost":…,
 *             "lossRatio":0.01,"gaps":3,"jitterMs":1.5,"clockHz":48000,"mos":4.3}
 *   EXPLAIN  {"verdict":"tx","function":"lb","reason":null or "vip_not_owned","sentence":null or "…",
 *             "advice":"what to do about a drop",
 *             "service":"default/web","backend":"10.0.0.21:7000","interface":"eth0","outInterface":"eth1",
 *             "out":"hex of the frame that leaves","steps":["The frame came in on eth0.","…"]}
 */
struct api_backend {
	void *context;
	struct store *store; /* borrowed until api_free() */

	/*
	 * May the changes be stored together? Called before each write, one write at a time. The objects are valid by themselves;
	 * what is asked is whether they fit with each other and the rest (an address that another service holds). Not to be
	 * changed, nor kept. 0, or -EEXIST (a conflict), -EINVAL or another error with a sentence for the operator.
	 * NULL: all may be stored.
	 */
	int (*check)(void *context, const struct api_change *changes, size_t count, struct error *error);

	json_t *(*status)(void *context);   /* STATUS */
	json_t *(*vips)(void *context);     /* [VIP…] */
	json_t *(*services)(void *context); /* [SERVICE…] */
	/* [BACKEND…] of a service, or of all with both NULL. NULL when there is no such service. */
	json_t *(*backends)(void *context, const char *namespace_name, const char *service);
	json_t *(*drops)(void *context); /* [DROP…], all reasons, in the order of drops.def */
	json_t *(*counters)(void *context); /* COUNTERS: they only grow, but for an engine that begins anew */

	/* Appends OpenMetrics text (openmetrics.h helps), without "# EOF". */
	void (*metrics)(void *context, struct evbuffer *text);
	/* 0, or an error that says what is missing: /readyz. */
	int (*ready)(void *context, struct error *error);

	/* NULL with an error on failure. */
	json_t *(*explain)(void *context, const struct api_explain_question *question, struct error *error);

	/* What all subscribers together need; called when that changes. A failure ends the subscription that asked. */
	int (*trace_set)(void *context, const struct api_trace_filter *filter, struct error *error);

	/* drain: no new flows from now on; else as if it had never been drained. */
	void (*backend_drain)(void *context, const struct api_backend_reference *backend, bool drain,
			      struct api_action *action);
	/* --- sessions of services of calls; NULL: this node has none --- */

	/*
	 * {"items":[SESSION…],"next":"@17" if there are more behind}, on the last page followed by registrations that are in no table, up to
	 * `limit`, and the number of others as "notShown"; NULL with an error when there is no such service.
	 */
	json_t *(*sessions)(void *context, const struct api_session_query *query, struct error *error);
	/* {"items":[SESSION…]}: those that a fragment ("_" and "-" for "/" and "+") or "@17" names, of any service if that is NULL;
	 * NULL with a sentence when there is none. */
	json_t *(*session)(void *context, const char *namespace_name, const char *service, const char *name, struct error *error);
	/* Registers a fragment; `body` as ctrl/session/record.h has it, borrowed for the call. */
	void (*session_put)(void *context, const char *namespace_name, const char *service, const char *ufrag, const json_t *body,
			    struct api_action *action);
	/* Ends what `name` names, and forgets it if it was registered; `service` may be NULL when one service alone has it. */
	void (*session_remove)(void *context, const char *namespace_name, const char *service, const char *name,
			       struct api_action *action);
	/* {"ufrags":["…"],"keyNumber":1,"service":"default/media"}: fragments that lead to a backend; `service` NULL: of the one that has it. */
	json_t *(*session_ufrags)(void *context, const char *namespace_name, const char *service, const char *backend, uint32_t count,
				  struct error *error);
	/* A new secret for fragments; the one before goes on for a while. */
	void (*session_rotate)(void *context, struct api_action *action);

	/* `node` NULL: to any other that may own it. */
	void (*vip_move)(void *context, const struct address *vip, const char *node, struct api_action *action);
};

/* --- life ------------------------------------------------------------------------------------------------------------- */

/*
 * Opens both listeners. `base`, `backend.store` and the backend's context are borrowed until api_free(); `options` and the
 * table of callbacks are copied. 0 or -errno with a sentence.
 */
must_check int api_new(struct event_base *base, const struct api_options *options, const struct api_backend *backend,
		       struct api **ret_api, struct error *error);
/*
 * Closes all connections and removes the socket. Call it before store_free(), which completes what is under way; that is
 * allowed and reaches nobody. Actions that are not done yet must still be done. NULL is allowed.
 */
void api_free(struct api *api);

uint16_t api_metrics_port(const struct api *api); /* 0 without a metrics listener */

/* --- events ----------------------------------------------------------------------------------------------------------- */

/* Tells every subscriber of /selvage/v1/sessions/events. Takes over `json`. Never waits. */
void api_session_event(struct api *api, json_t *json);
bool api_session_event_wanted(const struct api *api);

/* --- trace ------------------------------------------------------------------------------------------------------------ */

/* A packet that the packet program reported. Names are borrowed for the call; NULL: not known or none. */
struct api_trace_packet {
	const struct edge_event *event;
	const char *interface;
	const char *service; /* "default/web" */
	const char *backend; /* "10.0.0.21:7000" */
	uint64_t time_unix_ns;
};

/* Hands it to every subscriber whose filter holds. Never waits: a subscriber that reads too slowly loses records, and is told. */
void api_trace_publish(struct api *api, const struct api_trace_packet *packet);
/* How many packets the packet program has chosen and not reported, since ever; subscribers are told of what is new. */
void api_trace_hidden(struct api *api, uint64_t total);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * selvaged: joins the store, the network, the health checks and the packet program. It decides nothing itself: reconcile
 * does, and the daemon carries the result out. It may be killed at any moment; packets go on.
 *
 * Private to ctrl/daemon/. One thread, the event loop's.
 */
#pragma once

#include <event2/event.h>

#include "base/lib/clock.h"
#include "ctrl/api/api.h"
#include "ctrl/config.h"
#include "ctrl/daemon/catalogue.h"
#include "ctrl/health/health.h"
#include "ctrl/program/network_follow.h"
#include "ctrl/program/programmer.h"
#include "ctrl/program/reconcile.h"
#include "vip/announce_send.h"

#define DAEMON_INTERFACES_MAX 512

struct daemon_sessions; /* sessions.h */

/* An interface that the packet program runs on, or should. */
struct daemon_interface {
	char name[16];
	uint32_t ifindex; /* 0: not there */
	bool workload;
	enum programmer_mode mode;
	bool attached;
	char engine[16];   /* what it runs as: "xdp-native" */
	char wanted[16];
	char message[256]; /* why it is not as wanted; empty when it is */
};

/* What ails, since when; kept over reconciles so that "since" means something. */
struct daemon_alarm {
	char *text;
	uint64_t since_ms;
	bool present;
};

/* Since when a virtual IP has its owner. */
struct daemon_ownership {
	struct address vip;
	char *owner;
	uint64_t since_ms;
};

struct daemon {
	const struct config *config;
	int run_directory_fd; /* holds the lock on it; -1: not open */
	struct event_base *base;
	uint64_t started_ms;
	uint64_t warm_before_ms; /* backends up since before then were adopted: no slow start */

	struct store *store;
	struct catalogue *catalogue;
	struct network_follow *follow;
	struct health_engine *health;
	struct programmer *programmer;
	struct announce *announce;
	struct api *api;
	struct daemon_sessions *sessions;

	struct event *reconcile_event; /* once a turn, after changes */
	struct event *sweep_event;
	struct event *inspect_event;
	struct event *timer_event; /* when time alone changes the result */
	struct event *fastpath_event;
	struct event *fragment_event; /* while fragments are held */
	int fragment_fd;              /* a packet socket to send them by; -1: not open */
	struct event *signal_events[3];

	uint64_t hash_seed;
	bool hash_seed_known;
	bool failed; /* the loop was left because the daemon cannot go on */
	struct daemon_interface interfaces[DAEMON_INTERFACES_MAX];
	size_t interface_count;
	bool interfaces_changed; /* since they were last attached */
	struct reconcile_result result; /* of the last reconcile; zero before the first */
	bool reconciled;
	uint64_t probes_delayed; /* at the last inspection */
	bool probes_late;
	bool apply_failed;
	char apply_error[512];
	struct daemon_alarm *alarms;
	size_t alarm_count;
	struct daemon_ownership *ownerships; /* in the order of result.vips */
	size_t ownership_count;
	uint64_t reconciles_total;
	uint64_t applies_total; /* that changed a table */
	uint64_t fragments_sent, fragments_failed; /* that were held */
	uint64_t flows;         /* at the last whole sweep */
	bool flows_known;
};

/* tables.c: asks for a reconcile soon; any number of calls in a turn of the loop are one. */
void daemon_reconcile_soon(struct daemon *daemon);
void daemon_reconcile(evutil_socket_t fd, short what, void *context); /* event callback */
void daemon_interfaces_find(struct daemon *daemon);
void daemon_ownerships_free(struct daemon *daemon);
void daemon_inspect(evutil_socket_t fd, short what, void *context); /* event callback */

/* views.c: what the API shows. */
json_t *daemon_view_status(void *context);
json_t *daemon_view_vips(void *context);
json_t *daemon_view_services(void *context);
json_t *daemon_view_backends(void *context, const char *namespace_name, const char *service);
json_t *daemon_view_drops(void *context);
/* counters.c */
json_t *daemon_view_counters(void *context);
json_t *daemon_drop_json(enum drop_reason reason, uint64_t count);
/* names.c: how tables' numbers are called; NULL: nothing of that number is known. */
const char *daemon_interface_name(void *context, uint32_t ifindex);
const char *daemon_service_name(void *context, uint16_t row);
const char *daemon_backend_name(void *context, uint16_t row);

/* fragments.c: what the packet program holds; release() when it says so (EDGE_EVENT_FRAGMENT). */
must_check int daemon_fragments_start(struct daemon *daemon, struct error *error);
void daemon_fragments_release(struct daemon *daemon);
void daemon_fragments_stop(struct daemon *daemon);

/* metrics.c */
void daemon_metrics(void *context, struct evbuffer *text);

/* actions.c */
int daemon_check(void *context, const struct api_change *changes, size_t count, struct error *error);
int daemon_ready(void *context, struct error *error);
json_t *daemon_explain(void *context, const struct api_explain_question *question, struct error *error);
int daemon_trace_set(void *context, const struct api_trace_filter *filter, struct error *error);
void daemon_backend_drain(void *context, const struct api_backend_reference *backend, bool drain,
			  struct api_action *action);
void daemon_vip_move(void *context, const struct address *vip, const char *node, struct api_action *action);
/* Writes the addresses that services were given into their status. */
void daemon_assignments_store(struct daemon *daemon);

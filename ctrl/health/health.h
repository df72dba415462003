/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Active health checks: asks backends whether they are alive, and says so when the answer changes.
 *
 * The caller declares the whole wanted set; the engine keeps the state of what stays, starts what is new and stops what
 * is gone. Checks of several services with the same backend and the same parameters share one probe. Probes go
 * from this node (its network namespace) straight to the backend's address, never through a virtual IP.
 *
 * One thread: the one that runs the event base. The engine never blocks.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "base/packet/address.h"
#include "ctrl/health/fsm.h"
#include "ctrl/health/parameters.h"

struct event_base;
struct health_engine;

#define HEALTH_REASON_SIZE 160

/* The backend of a service that is checked; (service, address, port) is its identity. */
struct health_check {
	const char *service; /* any text, "namespace/name:port" by custom; copied by health_set() */
	struct address address;
	uint16_t port; /* of the backend, host order */
	struct health_parameters parameters;
};

/* A backend that came up, went down, or is held. Borrowed by the callback for the call. */
struct health_transition {
	const char *service;
	struct address address;
	uint16_t port;
	enum health_state old_state, new_state;
	const char *reason; /* "tcp connect: Connection refused", "http: status 503", "udp: timeout after 500 ms", … */
};

/*
 * Called from the event loop, never from inside a call to the engine, once for each change of state. It may call
 * the engine (health_set() too), but not health_free().
 */
typedef void (*health_callback)(const struct health_transition *transition, void *context);

struct health_options {
	uint32_t probes_max; /* in flight at once; further ones wait for their turn; 0: 256 */
	uint64_t seed;       /* of jitter; a fixed one makes tests repeatable */
};

/* `base` is borrowed and outlives the engine; `options` may be NULL. */
must_check int health_new(struct event_base *base, const struct health_options *options, health_callback callback,
			  void *context, struct health_engine **ret_engine, struct error *error);
/* Probes in flight are dropped without a callback. NULL is fine. */
void health_free(struct health_engine *engine);

/* The state of a backend as the tables of a former process have it. */
struct health_restored {
	const char *service;
	struct address address;
	uint16_t port;
	enum health_state state; /* HEALTH_UP or HEALTH_DOWN; others are ignored */
};

/*
 * Before the first health_set(): checks named here start in this state instead of HEALTH_UNKNOWN, so a restart changes
 * no table: it takes `fall` failures or `rise` successes as ever. What the next health_set() does not want is forgotten.
 */
must_check int health_restore(struct health_engine *engine, const struct health_restored *restored, size_t count,
			      struct error *error);

/*
 * The whole wanted set. A backend whose check has new parameters keeps its state until the new probes say otherwise.
 * All or nothing: -EINVAL (bad parameters, or one identity twice with different ones) and -ENOMEM change nothing.
 * New checks of type none are up at once (seen by health_lookup() on return; the callback follows from the loop).
 */
must_check int health_set(struct health_engine *engine, const struct health_check *checks, size_t count,
			  struct error *error);

/* The operator overrides the checks of one backend until HEALTH_FORCE_NONE. -ENOENT if it is not in the set. */
must_check int health_force(struct health_engine *engine, const char *service, const struct address *address,
			    uint16_t port, enum health_force force);

/* What status, metrics and reconcile read. */
struct health_report {
	const char *service; /* borrowed until the next health_set() */
	struct address address;
	uint16_t port;
	enum health_check_type type;
	uint16_t check_port; /* where probes go */
	enum health_state state;
	enum health_force force;
	uint64_t state_age_ms; /* how long it has been in this state */
	uint64_t hold_ms;      /* until a held backend is released */
	bool checked;          /* at least one probe has ended; the four below are 0 before */
	bool last_success;
	uint32_t consecutive;     /* results like the last one in a row */
	uint32_t last_latency_us; /* of the last probe, from its start to its result */
	uint64_t last_age_ms;     /* since it ended */
	uint64_t probes_total, failures_total, transitions_total;
	uint64_t detect_ms;                     /* health_fsm_detect_ms() */
	char last_reason[HEALTH_REASON_SIZE];   /* of the last result: "tcp connected", "http: status 200", … */
	char state_reason[HEALTH_REASON_SIZE];  /* of the last change of state */
};

/* HEALTH_UNKNOWN if the backend is not in the set. */
enum health_state health_lookup(const struct health_engine *engine, const char *service,
				const struct address *address, uint16_t port);

/* All checks, ordered by service, address, port; `ret_reports` is the caller's to free(). */
must_check int health_snapshot(const struct health_engine *engine, struct health_report **ret_reports,
			       size_t *ret_count, struct error *error);

struct health_counters {
	uint64_t checks;        /* in the set */
	uint64_t probe_targets; /* probes shared by them */
	uint64_t probes_in_flight;
	uint64_t probes_waiting;       /* due, but probes_max are in flight */
	uint64_t probes_delayed_total; /* had to wait: detection takes longer than health_fsm_detect_ms() says */
	uint64_t probes_total;
	uint64_t transitions_total;
};
struct health_counters health_counters(const struct health_engine *engine);

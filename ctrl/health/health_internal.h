/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files behind health.h share.
 *
 * Two levels. A `subject` is what the caller declared: a backend of a service, with a state machine. A `target` is what
 * is asked: address, port and parameters, with a probe, shared by all subjects that want the same. Results go
 * from targets to subjects; changes of state go from subjects to the caller, from an event of their own, so that
 * the callback may do as it likes with the set.
 */
#pragma once

#include <event2/event.h>
#include <sys/queue.h>

#include "base/lib/clock.h"
#include "ctrl/health/checks/probe.h"
#include "ctrl/health/health.h"

enum target_phase { TARGET_RESTING, TARGET_WAITING, TARGET_PROBING };

TAILQ_HEAD(subject_list, subject);
TAILQ_HEAD(target_list, target);

struct target {
	struct health_engine *engine;
	struct address address;
	struct health_parameters parameters; /* with the port that is asked */
	struct subject_list subjects;
	size_t references; /* subjects, and plans while a set is prepared */
	struct probe *probe;
	struct event *timer; /* resting: the next probe; probing: its timeout */
	enum target_phase phase;
	TAILQ_ENTRY(target) waiting;
	uint64_t started_us;
	uint64_t ended_ms;
	uint64_t probes_total, failures_total;
	uint32_t consecutive;
	uint32_t latency_us;
	struct probe_result last; /* empty reason: none yet */
};

struct subject {
	char *service;
	struct address address;
	uint16_t port;
	struct target *target;
	TAILQ_ENTRY(subject) siblings;
	struct health_fsm fsm;
	enum health_state announced; /* the state that the caller knows */
	bool changed;                /* in engine->changed */
	TAILQ_ENTRY(subject) changes;
	uint64_t transitions_total;
	char reason[HEALTH_REASON_SIZE];
};

struct health_engine {
	struct event_base *base;
	uint32_t probes_max;
	uint64_t seed;
	health_callback callback;
	void *context;
	struct subject **subjects; /* ordered by service, address, port */
	size_t subject_count;
	void *targets; /* tsearch(3) tree */
	size_t target_count;
	struct target_list waiting;
	struct subject_list changed;
	struct event *dispatch; /* starts waiting probes */
	struct event *announce; /* tells the caller of changes */
	struct subject *announcing; /* its callback runs; NULL when that took it out of the set */
	struct subject **restored;
	size_t restored_count;
	uint64_t probes_in_flight, probes_waiting, probes_delayed_total, probes_total, transitions_total;
};

static inline uint64_t now_ms(void)
{
	return clock_now_ms(&clock_system);
}

/* --- health_subject.c --- */

/* The order of subjects. */
int identity_compare(const char *service_a, const struct address *address_a, uint16_t port_a,
		     const char *service_b, const struct address *address_b, uint16_t port_b);
/* Among `count` ordered ones; NULL: it is not there. */
struct subject *subject_find(struct subject *const *subjects, size_t count, const char *service,
			     const struct address *address, uint16_t port);
/* Without a target yet; NULL: out of memory. */
struct subject *subject_new(const char *service, const struct address *address, uint16_t port,
			    enum health_state state);
/* Of one without a target. NULL is fine. */
void subject_free(struct subject *subject);
/*
 * Takes over the reference to the target. A backend whose parameters change keeps its state; results of the old probe do
 * not count towards the new one's.
 */
void subject_attach(struct health_engine *engine, struct subject *subject, struct target *target);
/* Out of the set: detaches and frees it. */
void subject_remove(struct health_engine *engine, struct subject *subject);
void subject_step(struct subject *subject, enum health_event event, const char *reason);
struct health_report subject_report(const struct subject *subject, uint64_t at_ms);
/* The event `announce`. */
void engine_on_announce(evutil_socket_t fd, short events, void *context);

/* --- health_target.c --- */

/* The target for a check, which may be there already; NULL when out of memory. */
struct target *target_get(struct health_engine *engine, const struct health_check *check);
void target_put(struct target *target);
/* Schedules the first probe; from then on the target goes by itself. */
void target_begin(struct target *target, uint64_t delay_us);
/* The event `dispatch`. */
void engine_on_dispatch(evutil_socket_t fd, short events, void *context);

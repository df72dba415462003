/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two levels. A `subject` is what the caller declared: a backend of a service, with a state machine. A `target` is what
 * is asked: address, port and parameters, with a probe, shared by all subjects that want the same. Results go
 * from targets to subjects; changes of state go from subjects to the caller, from an event of their own, so that
 * the callback may do as it likes with the set.
 */
#include "ctrl/health/health.h"

#include <event2/event.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "base/lib/address_text.h"
#include "base/lib/clock.h"
#include "ctrl/health/checks/probe.h"

#define PROBES_MAX_DEFAULT 256
#define START_STEP_US 1000 /* between the first probes of new targets */

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

static uint64_t now_ms(void)
{
	return clock_now_ms(&clock_system);
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void timer_start(struct event *timer, uint64_t delay_us)
{
	struct timeval delay = {.tv_sec = (time_t)(delay_us / 1000000), .tv_usec = (suseconds_t)(delay_us % 1000000)};

	/* Only for want of memory; a check that silently never runs again would be worse than a restart. */
	if (evtimer_add(timer, &delay) < 0)
		abort();
}

/* --- changes of state, towards the caller ----------------------------------------------------------------------------- */

static void subject_free(struct subject *subject)
{
	if (!subject)
		return;
	free(subject->service);
	free(subject);
}

static void subject_forget_change(struct health_engine *engine, struct subject *subject)
{
	if (subject->changed)
		TAILQ_REMOVE(&engine->changed, subject, changes);
	subject->changed = false;
}

static void subject_adopt(struct health_engine *engine, struct subject *subject, const struct health_fsm *next,
			  const char *reason)
{
	bool transition = next->state != subject->fsm.state;

	subject->fsm = *next;
	if (!transition)
		return;
	snprintf(subject->reason, sizeof(subject->reason), "%s", reason);
	subject->transitions_total++;
	engine->transitions_total++;
	subject_forget_change(engine, subject);
	if (next->state == subject->announced)
		return;
	subject->changed = true;
	TAILQ_INSERT_TAIL(&engine->changed, subject, changes);
	event_active(engine->announce, EV_TIMEOUT, 0);
}

/* The callback may change the set, so the list is looked at afresh after each. */
static void engine_on_announce(evutil_socket_t fd, short events, void *context)
{
	struct health_engine *engine = context;
	struct subject *subject;

	while ((subject = TAILQ_FIRST(&engine->changed))) {
		char reason[HEALTH_REASON_SIZE];
		struct health_transition transition = {
			.service = subject->service,
			.address = subject->address,
			.port = subject->port,
			.old_state = subject->announced,
			.new_state = subject->fsm.state,
			.reason = strcpy(reason, subject->reason),
		};

		subject_forget_change(engine, subject);
		subject->announced = subject->fsm.state;
		engine->announcing = subject;
		engine->callback(&transition, engine->context);
		if (!engine->announcing)
			subject_free(subject);
		engine->announcing = NULL;
	}
}

static void subject_step(struct subject *subject, enum health_event event, const char *reason)
{
	const struct health_fsm_config *timing = &subject->target->parameters.timing;
	struct health_fsm next = health_fsm_step(&subject->fsm, timing, event, now_ms());
	char held[HEALTH_REASON_SIZE];

	if (next.state == HEALTH_HELD && subject->fsm.state != HEALTH_HELD) {
		snprintf(held, sizeof(held), "falls too often: held for %llu s",
			 (unsigned long long)(health_fsm_hold_ms(&next, timing, now_ms()) + 999) / 1000);
		reason = held;
	}
	subject_adopt(subject->target->engine, subject, &next, reason);
}

/* --- targets: when to ask ------------------------------------------------------------------------------------------------ */

/* The most impatient subject says when; those of one target differ only in when they joined, or were forced. */
static uint32_t target_interval_ms(const struct target *target)
{
	uint32_t interval_ms = UINT32_MAX;
	struct subject *subject;

	TAILQ_FOREACH(subject, &target->subjects, siblings) {
		uint32_t wanted_ms = health_fsm_interval_ms(&subject->fsm, &target->parameters.timing);

		if (wanted_ms < interval_ms)
			interval_ms = wanted_ms;
	}
	return interval_ms;
}

/* From start to start; at once if the probe itself took longer. */
static void target_rest(struct target *target)
{
	uint64_t seed = target->engine->seed + target->address.word[0] + target->address.word[1] +
			target->parameters.port + (target->probes_total << 32);
	uint64_t interval_us = (uint64_t)health_jitter_ms(target_interval_ms(target), seed) * 1000;
	uint64_t elapsed_us = now_us() - target->started_us;

	target->phase = TARGET_RESTING;
	timer_start(target->timer, elapsed_us < interval_us ? interval_us - elapsed_us : 0);
}

static void target_finish(struct target *target, const struct probe_result *result)
{
	struct health_engine *engine = target->engine;
	struct subject *subject;
	bool repeated = target->last.reason[0] && target->last.success == result->success;

	target->probe->kind->stop(target->probe);
	target->latency_us = (uint32_t)(now_us() - target->started_us);
	target->ended_ms = now_ms();
	target->consecutive = repeated ? target->consecutive + 1 : 1;
	target->last = *result;
	target->probes_total++;
	target->failures_total += !result->success;
	engine->probes_total++;
	engine->probes_in_flight--;
	if (engine->probes_waiting)
		event_active(engine->dispatch, EV_TIMEOUT, 0);
	TAILQ_FOREACH(subject, &target->subjects, siblings)
		subject_step(subject, result->success ? HEALTH_EVENT_SUCCESS : HEALTH_EVENT_FAILURE, result->reason);
	target_rest(target);
}

static void target_on_result(const struct probe_result *result, void *context)
{
	target_finish(context, result);
}

static void target_probe(struct target *target)
{
	target->engine->probes_in_flight++;
	target->phase = TARGET_PROBING;
	target->started_us = now_us();
	timer_start(target->timer, (uint64_t)target->parameters.timing.timeout_ms * 1000);
	target->probe->kind->start(target->probe);
}

static void target_wait(struct target *target)
{
	struct health_engine *engine = target->engine;

	target->phase = TARGET_WAITING;
	TAILQ_INSERT_TAIL(&engine->waiting, target, waiting);
	engine->probes_waiting++;
	engine->probes_delayed_total++;
}

static void target_wait_end(struct target *target)
{
	TAILQ_REMOVE(&target->engine->waiting, target, waiting);
	target->engine->probes_waiting--;
}

static void engine_on_dispatch(evutil_socket_t fd, short events, void *context)
{
	struct health_engine *engine = context;
	struct target *target;

	while (engine->probes_in_flight < engine->probes_max && (target = TAILQ_FIRST(&engine->waiting))) {
		target_wait_end(target);
		target_probe(target);
	}
}

static void target_on_timer(evutil_socket_t fd, short events, void *context)
{
	struct target *target = context;
	struct health_engine *engine = target->engine;

	if (target->phase == TARGET_PROBING) {
		struct probe_result result;

		target->probe->kind->expire(target->probe, &result);
		target_finish(target, &result);
	} else if (engine->probes_waiting || engine->probes_in_flight >= engine->probes_max) {
		target_wait(target);
	} else {
		target_probe(target);
	}
}

/* --- targets: life ------------------------------------------------------------------------------------------------------- */

static int target_compare(const void *a, const void *b)
{
	const struct target *first = a, *second = b;
	int order = address_compare(&first->address, &second->address);

	return order ? order : health_parameters_compare(&first->parameters, &second->parameters);
}

static const struct probe_kind *probe_kind_of(enum health_check_type type)
{
	switch (type) {
	case HEALTH_CHECK_TCP:
		return &probe_tcp;
	case HEALTH_CHECK_HTTP:
		return &probe_http;
	case HEALTH_CHECK_UDP:
		return &probe_udp;
	default:
		return NULL;
	}
}

static void target_free(struct target *target)
{
	if (target->phase == TARGET_WAITING)
		target_wait_end(target);
	if (target->phase == TARGET_PROBING) {
		target->engine->probes_in_flight--;
		event_active(target->engine->dispatch, EV_TIMEOUT, 0);
	}
	if (target->probe) {
		target->probe->kind->stop(target->probe);
		target->probe->kind->destroy(target->probe);
	}
	if (target->timer)
		event_free(target->timer);
	free(target);
}

static void target_put(struct target *target)
{
	struct health_engine *engine = target->engine;

	if (--target->references > 0)
		return;
	tdelete(target, &engine->targets, target_compare);
	engine->target_count--;
	target_free(target);
}

static bool target_prepare(struct target *target)
{
	const struct probe_kind *kind = probe_kind_of(target->parameters.type);
	struct probe_target probe = {
		.base = target->engine->base,
		.address = target->address,
		.parameters = &target->parameters,
		.done = target_on_result,
		.context = target,
	};

	if (!kind)
		return true;
	target->timer = evtimer_new(target->engine->base, target_on_timer, target);
	target->probe = target->timer ? kind->create(&probe) : NULL;
	return target->probe != NULL;
}

/* The target for a check, which may be there already; NULL when out of memory. */
static struct target *target_get(struct health_engine *engine, const struct health_check *check)
{
	struct target *target = calloc(1, sizeof(*target));
	struct target **place;

	if (!target)
		return NULL;
	target->engine = engine;
	target->address = check->address;
	target->parameters = check->parameters;
	if (target->parameters.port == 0)
		target->parameters.port = check->port;
	TAILQ_INIT(&target->subjects);
	place = tsearch(target, &engine->targets, target_compare);
	if (!place) {
		free(target);
		return NULL;
	}
	if (*place != target) {
		free(target);
		(*place)->references++;
		return *place;
	}
	target->references = 1;
	engine->target_count++;
	if (!target_prepare(target)) {
		target_put(target);
		return NULL;
	}
	return target;
}

/* --- subjects ------------------------------------------------------------------------------------------------------------ */

static int identity_compare(const char *service_a, const struct address *address_a, uint16_t port_a,
			    const char *service_b, const struct address *address_b, uint16_t port_b)
{
	int order = strcmp(service_a, service_b);

	if (!order)
		order = address_compare(address_a, address_b);
	return order ? order : (int)port_a - (int)port_b;
}

static struct subject *subject_find(struct subject *const *subjects, size_t count, const char *service,
				    const struct address *address, uint16_t port)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct subject *subject = subjects[middle];
		int order = identity_compare(service, address, port, subject->service, &subject->address, subject->port);

		if (order == 0)
			return subject;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static struct subject *subject_new(const char *service, const struct address *address, uint16_t port,
				   enum health_state state)
{
	struct subject *subject = calloc(1, sizeof(*subject));

	if (!subject)
		return NULL;
	subject->service = strdup(service);
	if (!subject->service) {
		free(subject);
		return NULL;
	}
	subject->address = *address;
	subject->port = port;
	subject->fsm = health_fsm_initial(state, now_ms());
	subject->announced = state;
	if (state != HEALTH_UNKNOWN)
		strcpy(subject->reason, "as before the restart");
	return subject;
}

static void subject_detach(struct subject *subject)
{
	TAILQ_REMOVE(&subject->target->subjects, subject, siblings);
	target_put(subject->target);
	subject->target = NULL;
}

static void subject_remove(struct health_engine *engine, struct subject *subject)
{
	subject_forget_change(engine, subject);
	subject_detach(subject);
	if (engine->announcing == subject)
		engine->announcing = NULL; /* the callback reads its name: freed when it returns */
	else
		subject_free(subject);
}

/* A backend whose parameters change keeps its state; results of the old probe do not count towards the new one's. */
static void subject_attach(struct health_engine *engine, struct subject *subject, struct target *target)
{
	struct subject *sibling = TAILQ_FIRST(&target->subjects);
	struct health_fsm next = subject->fsm;

	if (subject->target)
		subject_detach(subject);
	subject->target = target;
	TAILQ_INSERT_TAIL(&target->subjects, subject, siblings);
	next.successes = 0;
	next.failures = 0;
	if (target->parameters.type == HEALTH_CHECK_NONE) {
		next = health_fsm_initial(HEALTH_UP, now_ms());
		next.force = subject->fsm.force;
		if (subject->fsm.state == HEALTH_UP)
			next.since_ms = subject->fsm.since_ms;
	} else if (sibling && subject->fsm.checked == HEALTH_UNKNOWN) {
		next = sibling->fsm;
		next.force = subject->fsm.force;
	}
	/* Any of the force events works out the state anew. */
	next = health_fsm_step(&next, &target->parameters.timing,
			       next.force == HEALTH_FORCE_UP	 ? HEALTH_EVENT_FORCE_UP
			       : next.force == HEALTH_FORCE_DOWN ? HEALTH_EVENT_FORCE_DOWN
								 : HEALTH_EVENT_RELEASE,
			       now_ms());
	subject_adopt(engine, subject, &next, target->probe ? target->last.reason : "not checked");
}

/* --- the wanted set ------------------------------------------------------------------------------------------------------ */

/* What health_set() is about to do for one check; everything that can fail is done before the first change. */
struct plan {
	const struct health_check *check;
	struct subject *subject;
	struct target *target; /* referenced */
	bool fresh;            /* `subject` is new */
};

static int plan_compare(const void *a, const void *b)
{
	const struct health_check *first = ((const struct plan *)a)->check, *second = ((const struct plan *)b)->check;

	return identity_compare(first->service, &first->address, first->port, second->service, &second->address,
				second->port);
}

static int check_validate(const struct health_check *check, struct error *error)
{
	char text[ENDPOINT_TEXT_SIZE];
	int result = health_parameters_validate(&check->parameters, error);

	if (result < 0)
		return error_prefix(error, EINVAL, "service %s, backend %s", check->service,
				    endpoint_format(&check->address, check->port, text));
	if (check->parameters.type != HEALTH_CHECK_NONE && check->port == 0 && check->parameters.port == 0)
		return error_set(error, EINVAL, "service %s, backend %s: health check: no port to ask", check->service,
				 endpoint_format(&check->address, check->port, text));
	return 0;
}

/* Orders the plans by identity and takes doubles out; `count` becomes what is left. */
static int plans_order(struct plan *plans, size_t *count, struct error *error)
{
	char text[ENDPOINT_TEXT_SIZE];
	size_t kept = 0;

	qsort(plans, *count, sizeof(*plans), plan_compare);
	for (size_t i = 0; i < *count; i++) {
		const struct health_check *check = plans[i].check;

		if (kept == 0 || plan_compare(&plans[kept - 1], &plans[i]) != 0)
			plans[kept++] = plans[i];
		else if (health_parameters_compare(&plans[kept - 1].check->parameters, &check->parameters) != 0)
			return error_set(error, EINVAL, "service %s, backend %s: two different health checks",
					 check->service, endpoint_format(&check->address, check->port, text));
	}
	*count = kept;
	return 0;
}

static bool plan_prepare(struct health_engine *engine, struct plan *plan)
{
	const struct health_check *check = plan->check;
	struct subject *restored;

	plan->subject = subject_find(engine->subjects, engine->subject_count, check->service, &check->address, check->port);
	if (!plan->subject) {
		restored = subject_find(engine->restored, engine->restored_count, check->service, &check->address,
					check->port);
		plan->fresh = true;
		plan->subject = subject_new(check->service, &check->address, check->port,
					    restored ? restored->fsm.state : HEALTH_UNKNOWN);
	}
	plan->target = plan->subject ? target_get(engine, check) : NULL;
	return plan->target != NULL;
}

static void plan_undo(struct plan *plan)
{
	if (plan->target)
		target_put(plan->target);
	if (plan->fresh)
		subject_free(plan->subject);
}

/*
 * First probes: one after the other, so that a single new backend is asked at once and a thousand do not come in one
 * burst; those whose state is known (from before a restart) are in no hurry and spread over their interval.
 */
static void targets_begin(struct plan *plans, size_t count)
{
	uint64_t delay_us = 0;

	for (size_t i = 0; i < count; i++) {
		struct target *target = plans[i].target;
		uint64_t interval_us = (uint64_t)target->parameters.timing.interval_ms * 1000;

		if (!target->probe || target->phase != TARGET_RESTING || evtimer_pending(target->timer, NULL))
			continue;
		if (plans[i].fresh && plans[i].subject->fsm.checked != HEALTH_UNKNOWN) {
			timer_start(target->timer, interval_us * i / count);
			continue;
		}
		timer_start(target->timer, delay_us % interval_us);
		delay_us += START_STEP_US;
	}
}

static void plan_apply(struct health_engine *engine, struct plan *plan)
{
	if (plan->subject->target == plan->target)
		target_put(plan->target); /* the subject has its own reference */
	else
		subject_attach(engine, plan->subject, plan->target);
}

static void restored_forget(struct health_engine *engine)
{
	for (size_t i = 0; i < engine->restored_count; i++)
		subject_free(engine->restored[i]);
	free(steal(engine->restored));
	engine->restored_count = 0;
}

/* From here on nothing fails. */
static void plans_apply(struct health_engine *engine, struct plan *plans, size_t count, struct subject **subjects)
{
	struct subject **old = engine->subjects;
	size_t old_count = engine->subject_count;

	for (size_t i = 0; i < count; i++) {
		plan_apply(engine, &plans[i]);
		subjects[i] = plans[i].subject;
	}
	engine->subjects = subjects;
	engine->subject_count = count;
	for (size_t i = 0; i < old_count; i++)
		if (subject_find(subjects, count, old[i]->service, &old[i]->address, old[i]->port) != old[i])
			subject_remove(engine, old[i]);
	free(old);
	restored_forget(engine);
	targets_begin(plans, count);
}

int health_set(struct health_engine *engine, const struct health_check *checks, size_t count, struct error *error)
{
	_cleanup_(freep) struct plan *plans = calloc(count ? count : 1, sizeof(*plans));
	_cleanup_(freep) struct subject **subjects = calloc(count ? count : 1, sizeof(*subjects));
	int result;

	if (!plans || !subjects)
		return error_set(error, ENOMEM, "health checks: out of memory");
	for (size_t i = 0; i < count; i++) {
		result = check_validate(&checks[i], error);
		if (result < 0)
			return result;
		plans[i].check = &checks[i];
	}
	result = plans_order(plans, &count, error);
	if (result < 0)
		return result;
	for (size_t i = 0; i < count; i++) {
		if (plan_prepare(engine, &plans[i]))
			continue;
		for (size_t j = 0; j <= i; j++)
			plan_undo(&plans[j]);
		return error_set(error, ENOMEM, "health checks: out of memory");
	}
	plans_apply(engine, plans, count, steal(subjects));
	return 0;
}

/* --- the engine ---------------------------------------------------------------------------------------------------------- */

static int subject_order(const void *a, const void *b)
{
	const struct subject *first = *(struct subject *const *)a, *second = *(struct subject *const *)b;

	return identity_compare(first->service, &first->address, first->port, second->service, &second->address,
				second->port);
}

int health_restore(struct health_engine *engine, const struct health_restored *restored, size_t count,
		   struct error *error)
{
	restored_forget(engine);
	engine->restored = calloc(count ? count : 1, sizeof(struct subject *));
	if (!engine->restored)
		return error_set(error, ENOMEM, "health checks: out of memory");
	for (size_t i = 0; i < count; i++) {
		struct subject *subject;

		if (restored[i].state != HEALTH_UP && restored[i].state != HEALTH_DOWN)
			continue;
		subject = subject_new(restored[i].service, &restored[i].address, restored[i].port, restored[i].state);
		if (!subject) {
			restored_forget(engine);
			return error_set(error, ENOMEM, "health checks: out of memory");
		}
		engine->restored[engine->restored_count++] = subject;
	}
	qsort(engine->restored, engine->restored_count, sizeof(struct subject *), subject_order);
	return 0;
}

int health_force(struct health_engine *engine, const char *service, const struct address *address, uint16_t port,
		 enum health_force force)
{
	struct subject *subject = subject_find(engine->subjects, engine->subject_count, service, address, port);

	if (!subject)
		return -ENOENT;
	if (force == HEALTH_FORCE_UP)
		subject_step(subject, HEALTH_EVENT_FORCE_UP, "forced up by the operator");
	else if (force == HEALTH_FORCE_DOWN)
		subject_step(subject, HEALTH_EVENT_FORCE_DOWN, "forced down by the operator");
	else
		subject_step(subject, HEALTH_EVENT_RELEASE, "no longer forced");
	return 0;
}

enum health_state health_lookup(const struct health_engine *engine, const char *service, const struct address *address,
				uint16_t port)
{
	const struct subject *subject = subject_find(engine->subjects, engine->subject_count, service, address, port);

	return subject ? subject->fsm.state : HEALTH_UNKNOWN;
}

static struct health_report subject_report(const struct subject *subject, uint64_t at_ms)
{
	const struct target *target = subject->target;
	bool checked = target->last.reason[0] != '\0';
	struct health_report report = {
		.service = subject->service,
		.address = subject->address,
		.port = subject->port,
		.type = target->parameters.type,
		.check_port = target->parameters.port,
		.state = subject->fsm.state,
		.force = subject->fsm.force,
		.state_age_ms = at_ms - subject->fsm.since_ms,
		.hold_ms = health_fsm_hold_ms(&subject->fsm, &target->parameters.timing, at_ms),
		.checked = checked,
		.last_success = target->last.success,
		.consecutive = target->consecutive,
		.last_latency_us = target->latency_us,
		.last_age_ms = checked ? at_ms - target->ended_ms : 0,
		.probes_total = target->probes_total,
		.failures_total = target->failures_total,
		.transitions_total = subject->transitions_total,
		.detect_ms = target->probe ? health_fsm_detect_ms(&target->parameters.timing) : 0,
	};

	strcpy(report.last_reason, target->last.reason);
	strcpy(report.state_reason, subject->reason);
	return report;
}

int health_snapshot(const struct health_engine *engine, struct health_report **ret_reports, size_t *ret_count,
		    struct error *error)
{
	struct health_report *reports = calloc(engine->subject_count ? engine->subject_count : 1, sizeof(*reports));
	uint64_t at_ms = now_ms();

	if (!reports)
		return error_set(error, ENOMEM, "health checks: out of memory");
	for (size_t i = 0; i < engine->subject_count; i++)
		reports[i] = subject_report(engine->subjects[i], at_ms);
	*ret_reports = reports;
	*ret_count = engine->subject_count;
	return 0;
}

struct health_counters health_counters(const struct health_engine *engine)
{
	return (struct health_counters){
		.checks = engine->subject_count,
		.probe_targets = engine->target_count,
		.probes_in_flight = engine->probes_in_flight,
		.probes_waiting = engine->probes_waiting,
		.probes_delayed_total = engine->probes_delayed_total,
		.probes_total = engine->probes_total,
		.transitions_total = engine->transitions_total,
	};
}

int health_new(struct event_base *base, const struct health_options *options, health_callback callback, void *context,
	       struct health_engine **ret_engine, struct error *error)
{
	struct health_engine *engine = calloc(1, sizeof(*engine));

	if (!engine)
		return error_set(error, ENOMEM, "health checks: out of memory");
	engine->base = base;
	engine->probes_max = options && options->probes_max ? options->probes_max : PROBES_MAX_DEFAULT;
	engine->seed = options ? options->seed : 0;
	engine->callback = callback;
	engine->context = context;
	TAILQ_INIT(&engine->waiting);
	TAILQ_INIT(&engine->changed);
	engine->dispatch = evtimer_new(base, engine_on_dispatch, engine);
	engine->announce = evtimer_new(base, engine_on_announce, engine);
	if (!engine->dispatch || !engine->announce) {
		health_free(engine);
		return error_set(error, ENOMEM, "health checks: out of memory");
	}
	*ret_engine = engine;
	return 0;
}

void health_free(struct health_engine *engine)
{
	if (!engine)
		return;
	for (size_t i = 0; i < engine->subject_count; i++)
		subject_remove(engine, engine->subjects[i]);
	free(engine->subjects);
	restored_forget(engine);
	if (engine->dispatch)
		event_free(engine->dispatch);
	if (engine->announce)
		event_free(engine->announce);
	free(engine);
}

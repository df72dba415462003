/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/health/health.h"

#include <string.h>

#include "base/lib/address_text.h"
#include "ctrl/health/health_internal.h"

#define PROBES_MAX_DEFAULT 256
#define START_STEP_US 1000 /* between the first probes of new targets */

/* --- what a former process knew ----------------------------------------------------------------------------------------- */

static void restored_forget(struct health_engine *engine)
{
	for (size_t i = 0; i < engine->restored_count; i++)
		subject_free(engine->restored[i]);
	free(steal(engine->restored));
	engine->restored_count = 0;
}

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
			target_begin(target, interval_us * i / count);
			continue;
		}
		target_begin(target, delay_us % interval_us);
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

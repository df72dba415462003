/* SPDX-License-Identifier: Apache-2.0 */
/* The state of what the caller declared, and telling the caller of its changes. */
#include <stdio.h>
#include <string.h>

#include "base/lib/address_text.h"
#include "ctrl/health/health_internal.h"

int identity_compare(const char *service_a, const struct address *address_a, uint16_t port_a, const char *service_b,
		     const struct address *address_b, uint16_t port_b)
{
	int order = strcmp(service_a, service_b);

	if (!order)
		order = address_compare(address_a, address_b);
	return order ? order : (int)port_a - (int)port_b;
}

struct subject *subject_find(struct subject *const *subjects, size_t count, const char *service,
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

struct subject *subject_new(const char *service, const struct address *address, uint16_t port, enum health_state state)
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

void subject_free(struct subject *subject)
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

void subject_step(struct subject *subject, enum health_event event, const char *reason)
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

static void subject_detach(struct subject *subject)
{
	TAILQ_REMOVE(&subject->target->subjects, subject, siblings);
	target_put(subject->target);
	subject->target = NULL;
}

void subject_remove(struct health_engine *engine, struct subject *subject)
{
	subject_forget_change(engine, subject);
	subject_detach(subject);
	if (engine->announcing == subject)
		engine->announcing = NULL; /* the callback reads its name: freed when it returns */
	else
		subject_free(subject);
}

void subject_attach(struct health_engine *engine, struct subject *subject, struct target *target)
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

/* --- towards the caller ------------------------------------------------------------------------------------------------- */

/* The callback may change the set, so the list is looked at afresh after each. */
void engine_on_announce(evutil_socket_t fd, short events, void *context)
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

struct health_report subject_report(const struct subject *subject, uint64_t at_ms)
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

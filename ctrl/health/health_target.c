/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked, and when: schedule, timeouts, the bound on probes in flight; and who shares it. */
#include <search.h>

#include "base/lib/address_text.h"
#include "base/lib/clock.h"
#include "ctrl/health/health_internal.h"

/* --- when to ask -------------------------------------------------------------------------------------------------------- */

static void timer_start(struct event *timer, uint64_t delay_us)
{
	struct timeval delay = {.tv_sec = (time_t)(delay_us / 1000000), .tv_usec = (suseconds_t)(delay_us % 1000000)};

	/* Only for want of memory; a check that silently never runs again would be worse than a restart. */
	if (evtimer_add(timer, &delay) < 0)
		abort();
}

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
	uint64_t elapsed_us = clock_us() - target->started_us;

	target->phase = TARGET_RESTING;
	timer_start(target->timer, elapsed_us < interval_us ? interval_us - elapsed_us : 0);
}

void target_begin(struct target *target, uint64_t delay_us)
{
	timer_start(target->timer, delay_us);
}

static void target_finish(struct target *target, const struct probe_result *result)
{
	struct health_engine *engine = target->engine;
	struct subject *subject;
	bool repeated = target->last.reason[0] && target->last.success == result->success;

	target->probe->kind->stop(target->probe);
	target->latency_us = (uint32_t)(clock_us() - target->started_us);
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
	target->started_us = clock_us();
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

void engine_on_dispatch(evutil_socket_t fd, short events, void *context)
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

/* --- life --------------------------------------------------------------------------------------------------------------- */

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
	case HEALTH_CHECK_MEDIA:
		return &probe_media;
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

void target_put(struct target *target)
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

struct target *target_get(struct health_engine *engine, const struct health_check *check)
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
	if (target->parameters.type == HEALTH_CHECK_MEDIA && target->parameters.media_port == 0)
		target->parameters.media_port = check->port;
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

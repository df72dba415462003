/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/health/fsm.h"

#include <math.h>

struct health_fsm health_fsm_initial(enum health_state adopted, uint64_t now_ms)
{
	if (adopted == HEALTH_HELD)
		adopted = HEALTH_DOWN;
	return (struct health_fsm){
		.state = adopted,
		.checked = adopted,
		.since_ms = now_ms,
		.penalty_ms = now_ms,
	};
}

/* RFC 2439 section 4.8.1: the figure of merit decays exponentially with time. */
static double penalty_at(const struct health_fsm *fsm, const struct health_damping *damping, uint64_t now_ms)
{
	if (fsm->penalty == 0 || now_ms <= fsm->penalty_ms)
		return fsm->penalty;
	return fsm->penalty * exp2(-(double)(now_ms - fsm->penalty_ms) / damping->half_life_ms);
}

/* RFC 2439 section 4.2: no penalty may be so high that it takes longer than the maximum hold time to decay. */
static double penalty_ceiling(const struct health_damping *damping)
{
	return damping->reuse * exp2((double)damping->max_hold_ms / damping->half_life_ms);
}

static void damping_decay(struct health_fsm *fsm, const struct health_damping *damping, uint64_t now_ms)
{
	if (damping->suppress == 0) {
		fsm->penalty = 0;
		fsm->held = false;
	} else {
		fsm->penalty = penalty_at(fsm, damping, now_ms);
		if (fsm->penalty <= damping->reuse)
			fsm->held = false;
	}
	fsm->penalty_ms = now_ms;
}

static void damping_fall(struct health_fsm *fsm, const struct health_damping *damping)
{
	if (damping->suppress == 0)
		return;
	fsm->penalty = fmin(fsm->penalty + HEALTH_FALL_PENALTY, penalty_ceiling(damping));
	if (fsm->penalty >= damping->suppress)
		fsm->held = true;
}

static void result_count(struct health_fsm *fsm, const struct health_fsm_config *config, bool success)
{
	uint32_t *same = success ? &fsm->successes : &fsm->failures;
	uint32_t needed = success ? config->rise : config->fall;
	enum health_state wanted = success ? HEALTH_UP : HEALTH_DOWN;

	*(success ? &fsm->failures : &fsm->successes) = 0;
	if (*same < UINT32_MAX)
		++*same;
	if (fsm->checked == wanted)
		return;
	if (fsm->checked != HEALTH_UNKNOWN && *same < needed)
		return;
	if (fsm->checked == HEALTH_UP)
		damping_fall(fsm, &config->damping);
	fsm->checked = wanted;
}

static enum health_state state_of(const struct health_fsm *fsm)
{
	if (fsm->force != HEALTH_FORCE_NONE)
		return fsm->force == HEALTH_FORCE_UP ? HEALTH_UP : HEALTH_DOWN;
	if (fsm->checked == HEALTH_UP && fsm->held)
		return HEALTH_HELD;
	return fsm->checked;
}

struct health_fsm health_fsm_step(const struct health_fsm *fsm, const struct health_fsm_config *config,
				  enum health_event event, uint64_t now_ms)
{
	struct health_fsm next = *fsm;

	damping_decay(&next, &config->damping, now_ms);
	switch (event) {
	case HEALTH_EVENT_SUCCESS:
	case HEALTH_EVENT_FAILURE:
		result_count(&next, config, event == HEALTH_EVENT_SUCCESS);
		break;
	case HEALTH_EVENT_FORCE_UP:
		next.force = HEALTH_FORCE_UP;
		break;
	case HEALTH_EVENT_FORCE_DOWN:
		next.force = HEALTH_FORCE_DOWN;
		break;
	case HEALTH_EVENT_RELEASE:
		next.force = HEALTH_FORCE_NONE;
		break;
	}
	next.state = state_of(&next);
	if (next.state != fsm->state)
		next.since_ms = now_ms;
	return next;
}

bool health_fsm_in_doubt(const struct health_fsm *fsm)
{
	switch (fsm->checked) {
	case HEALTH_UP:
		return fsm->failures > 0;
	case HEALTH_DOWN:
		return fsm->successes > 0;
	default:
		return true;
	}
}

uint32_t health_fsm_interval_ms(const struct health_fsm *fsm, const struct health_fsm_config *config)
{
	if (health_fsm_in_doubt(fsm))
		return config->fast_interval_ms;
	return fsm->checked == HEALTH_UP ? config->interval_ms : config->down_interval_ms;
}

uint64_t health_fsm_hold_ms(const struct health_fsm *fsm, const struct health_fsm_config *config, uint64_t now_ms)
{
	double penalty = penalty_at(fsm, &config->damping, now_ms);

	if (!fsm->held || config->damping.suppress == 0 || penalty <= config->damping.reuse)
		return 0;
	return (uint64_t)ceil(config->damping.half_life_ms * log2(penalty / config->damping.reuse));
}

uint64_t health_fsm_detect_ms(const struct health_fsm_config *config)
{
	/* The backend dies just after it answered; a probe that times out may last longer than the interval. */
	uint32_t fast_ms = config->fast_interval_ms > config->timeout_ms ? config->fast_interval_ms : config->timeout_ms;

	return (uint64_t)config->interval_ms + (uint64_t)(config->fall - 1) * fast_ms + config->timeout_ms;
}

/* The finalizer of splitmix64: every bit of the seed moves every bit of the result. */
static uint64_t mix(uint64_t value)
{
	value += 0x9e3779b97f4a7c15u;
	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
	value = (value ^ value >> 27) * 0x94d049bb133111ebu;
	return value ^ value >> 31;
}

uint32_t health_jitter_ms(uint32_t interval_ms, uint64_t seed)
{
	uint32_t jittered_ms = interval_ms - (uint32_t)(mix(seed) % (interval_ms / 10 + 1));

	return jittered_ms ? jittered_ms : 1;
}

const char *health_state_name(enum health_state state)
{
	static const char *const names[] = {
		[HEALTH_UNKNOWN] = "unknown",
		[HEALTH_UP] = "up",
		[HEALTH_DOWN] = "down",
		[HEALTH_HELD] = "held",
	};

	return names[state];
}

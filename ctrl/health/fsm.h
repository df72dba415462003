/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a backend up? The deciding half of a health check, as a pure function: results and time come in as arguments.
 *
 * The first result decides at once, in either direction, so that a start is quick. From then on `fall` failures in a row
 * take a backend down and `rise` successes in a row bring it back. While the two sides disagree (one failure seen of an
 * up backend) the backend is in doubt and is asked again after the fast interval.
 *
 * Flapping is damped as RFC 2439 damps routes: each fall adds a penalty that halves every half-life. At `suppress` the
 * backend is held: its checks may succeed, yet it gets no new flows until the penalty has decayed to `reuse`. The
 * penalty is capped so that this takes at most `max_hold_ms` after the last fall.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum health_state {
	HEALTH_UNKNOWN, /* not checked yet; gets no flows */
	HEALTH_UP,
	HEALTH_DOWN,
	HEALTH_HELD, /* checks succeed, but it flapped: not used until the penalty decays */
};

struct health_damping {
	uint32_t suppress; /* hold at this penalty; 0: no damping */
	uint32_t reuse;    /* release at this penalty; below `suppress` */
	uint32_t half_life_ms;
	uint32_t max_hold_ms;
};

/* What one fall adds: `suppress` = 5000 means about five falls close together. */
#define HEALTH_FALL_PENALTY 1000

struct health_fsm_config {
	uint32_t interval_ms;
	uint32_t fast_interval_ms; /* in doubt */
	uint32_t down_interval_ms; /* settled down */
	uint32_t timeout_ms;       /* of one probe */
	uint32_t rise, fall;       /* at least 1 */
	struct health_damping damping;
};

enum health_event {
	HEALTH_EVENT_SUCCESS,
	HEALTH_EVENT_FAILURE,
	HEALTH_EVENT_FORCE_UP,   /* the operator says so; results are still counted underneath */
	HEALTH_EVENT_FORCE_DOWN,
	HEALTH_EVENT_RELEASE,    /* back to what the results say */
};

enum health_force { HEALTH_FORCE_NONE, HEALTH_FORCE_UP, HEALTH_FORCE_DOWN };

/* Start with health_fsm_initial(). Read `state`; the rest is the machine's own. */
struct health_fsm {
	enum health_state state;   /* what counts: forced and held included */
	enum health_state checked; /* what the results alone say: unknown, up, down */
	enum health_force force;
	uint64_t since_ms;         /* of `state` */
	uint32_t successes, failures; /* in a row; one of them is 0 */
	double penalty;            /* as of penalty_ms */
	uint64_t penalty_ms;
	bool held;
};

/* `adopted` is HEALTH_UNKNOWN for a new backend, or what is known of it from before a restart. */
struct health_fsm health_fsm_initial(enum health_state adopted, uint64_t now_ms);

/* The machine after `event`; a transition happened if the states differ. */
struct health_fsm health_fsm_step(const struct health_fsm *fsm, const struct health_fsm_config *config,
				  enum health_event event, uint64_t now_ms);

/* Whether one more result may change `checked`, or nothing is known yet. */
bool health_fsm_in_doubt(const struct health_fsm *fsm);

/* From the start of one probe to the start of the next, before jitter. */
uint32_t health_fsm_interval_ms(const struct health_fsm *fsm, const struct health_fsm_config *config);

/* Milliseconds until a held backend would be released; 0 if it is not held. */
uint64_t health_fsm_hold_ms(const struct health_fsm *fsm, const struct health_fsm_config *config, uint64_t now_ms);

/* The longest time from a backend's death to its HEALTH_DOWN, when no probe has to wait for its turn. */
uint64_t health_fsm_detect_ms(const struct health_fsm_config *config);

/* `interval_ms` shortened by 0–10 %, so that probes that started together drift apart; never longer, never 0. */
uint32_t health_jitter_ms(uint32_t interval_ms, uint64_t seed);

/* "unknown", "up", "down", "held". */
const char *health_state_name(enum health_state state);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the calls of a service are, as histograms over intervals of sessions (watch.h). Pure; one thread.
 */
#pragma once

#include "ctrl/session/watch.h"

#define FIGURE_BOUNDS_MAX 12

enum session_figure { SESSION_LOSS, SESSION_JITTER, SESSION_ROUND_TRIP, SESSION_MOS, SESSION_FIGURES };

struct session_figure_info {
	const char *metric; /* "selvage_rtc_session_loss_ratio" */
	const char *help;
	bool by_direction;
	double bounds[FIGURE_BOUNDS_MAX]; /* upper ones, rising */
	size_t bound_count;
};

const struct session_figure_info *session_figure_info(enum session_figure figure);

struct session_histogram {
	uint64_t counts[FIGURE_BOUNDS_MAX + 1]; /* of each bucket alone, the last one without bound */
	uint64_t count;
	double sum;
};

void session_histogram_observe(struct session_histogram *histogram, enum session_figure figure, double value);

struct session_figures {
	struct session_histogram histograms[SESSION_FIGURES][SESSION_DIRECTIONS]; /* without directions the first one */
};

/* What is known of the interval: loss and jitter of a direction that carries RTP, the round trip if both sides were measured. */
void session_figures_observe(struct session_figures *figures, const struct session_interval *interval);

/* So many places are in use that somebody should know before there are none: from SESSION_ALARM_PERCENT on. No limit: never. */
#define SESSION_ALARM_PERCENT 80u
bool session_nearly_full(uint32_t used, uint32_t limit);

/* Between client and agent in milliseconds, from the checks of both sides; negative: not known. */
double session_round_trip_ms(const struct rtc_session_info *info);

/* An estimate for a direction (rtc/mos.h); 0: no RTP was measured. */
double session_mos(const struct rtc_session_info *info, enum session_direction direction, uint64_t expected, uint64_t lost);

/* SPDX-License-Identifier: Apache-2.0 */
/* A capture through an engine: what became of each packet, counted and timed. */
#pragma once

#include "ctrl/replay/capture.h"
#include "ctrl/replay/site.h"
#include "base/lib/histogram.h"

struct replay {
	struct engine *engine;
	struct site *site;
	uint32_t ifindex;              /* where packets come in */
	uint32_t repeat;               /* timed runs of each packet; 0: none */
	struct capture_writer *output; /* what leaves; may be NULL */
	FILE *results;                 /* one JSON object for each packet, separated by commas; may be NULL */
	bool results_as_text;          /* lines for people instead */

	/* What was seen so far. */
	uint64_t packets;
	uint64_t result_count;
	uint64_t held[LB_HOLD_SLOTS]; /* which packet waits in a slot */
	uint64_t verdicts[VERDICT_PLACES]; /* one that was held counts again when it leaves or is dropped */
	uint64_t drops[DROP_COUNT];
	struct histogram latencies_ns;
};

/* Runs every packet of `input`. What was counted until an error stays. */
must_check int replay_run(struct replay *replay, struct capture_reader *input, struct error *error);

/* The report: one JSON object, with `results` (may be NULL) as its list; or text for people. */
void replay_report_json(struct replay *replay, const char *results, FILE *output);
void replay_report_text(struct replay *replay, FILE *output);

/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/replay/replay.h"

#include "base/lib/verdict_text.h"

/* `released`: the second word about a packet that was held. */
static void result_write(struct replay *replay, uint64_t packet, const struct decision *decision, bool released)
{
	const char *verdict = verdict_name(decision->verdict);
	const char *function = function_name(decision->function);
	const char *reason = decision->verdict == VERDICT_DROP ? drop_name(decision->reason) : NULL;
	char text[ENDPOINT_TEXT_SIZE];
	const char *backend = site_backend(replay->engine, decision, text);
	unsigned long long index = packet;

	/* None of these words holds a character that JSON would want escaped. */
	if (replay->results_as_text)
		fprintf(replay->results, "%llu %s %s%s%s%s%s%s\n", index, verdict, function, reason ? " " : "",
			reason ? reason : "", backend ? " " : "", backend ? backend : "", released ? " released" : "");
	else
		fprintf(replay->results, "%s{\"index\":%llu,\"verdict\":\"%s\",\"function\":\"%s\",\"reason\":%s%s%s,\"backend\":%s%s%s%s}",
			replay->result_count ? ",\n  " : "", index, verdict, function, reason ? "\"" : "", reason ? reason : "null",
			reason ? "\"" : "", backend ? "\"" : "", backend ? backend : "null", backend ? "\"" : "",
			released ? ",\"released\":true" : "");
	replay->result_count++;
}

static void outcome_take(struct replay *replay, const struct decision *decision, const struct capture_frame *leaving)
{
	replay->verdicts[decision->verdict & (VERDICT_PLACES - 1)]++;
	if (decision->verdict == VERDICT_DROP)
		replay->drops[decision->reason < DROP_COUNT ? decision->reason : 0]++;
	if (replay->output && (decision->verdict == VERDICT_TX || decision->verdict == VERDICT_REDIRECT))
		capture_write(replay->output, leaving);
}

/* Fragments that were held, and wait no longer. */
static void released_take(struct replay *replay, uint64_t time_ns)
{
	struct edge_released released;

	while (engine_release(replay->engine, &released)) {
		struct capture_frame leaving = {released.bytes, released.length, time_ns};

		if (replay->results)
			result_write(replay, replay->held[released.slot % LB_HOLD_SLOTS], &released.decision, true);
		outcome_take(replay, &released.decision, &leaving);
	}
}

static int packet_run(struct replay *replay, const struct capture_frame *frame, struct error *error)
{
	struct capture_frame leaving;
	struct engine_outcome outcome;
	uint64_t latency_ns;
	int result = engine_run(replay->engine, replay->ifindex, frame->bytes, frame->length, &outcome, error);

	if (result < 0)
		return result;
	if (replay->results)
		result_write(replay, replay->packets, &outcome.decision, false);
	if (outcome.decision.verdict == VERDICT_HOLD)
		replay->held[outcome.decision.address.word[0] % LB_HOLD_SLOTS] = replay->packets;
	replay->packets++;
	leaving = (struct capture_frame){outcome.bytes, outcome.length, frame->time_ns};
	outcome_take(replay, &outcome.decision, &leaving);
	released_take(replay, frame->time_ns);
	if (replay->repeat == 0)
		return 0;
	result = engine_time(replay->engine, replay->ifindex, frame->bytes, frame->length, replay->repeat, &latency_ns, error);
	if (result == 0 && latency_ns != ENGINE_UNTIMED && histogram_add(&replay->latencies_ns, latency_ns) < 0)
		result = error_set(error, ENOMEM, "no memory");
	return result;
}

int replay_run(struct replay *replay, struct capture_reader *input, struct error *error)
{
	struct capture_frame frame;
	uint64_t end_ns = 0;
	int result;

	while ((result = capture_read(input, &frame, error)) == 1) {
		site_set_time_ms(replay->site, replay->engine, frame.time_ns / 1000000);
		released_take(replay, frame.time_ns);
		end_ns = frame.time_ns > end_ns ? frame.time_ns : end_ns;
		result = packet_run(replay, &frame, error);
		if (result < 0)
			return error_prefix(error, -result, "packet %llu", (unsigned long long)replay->packets + 1);
	}
	end_ns += (LB_HOLD_MS + 1) * 1000000ull;
	site_set_time_ms(replay->site, replay->engine, end_ns / 1000000);
	released_take(replay, end_ns);
	return result;
}

/* --- the report --------------------------------------------------------------------------------------------------------- */

static const enum verdict verdict_order[] = {VERDICT_TX, VERDICT_REDIRECT, VERDICT_PASS, VERDICT_DROP, VERDICT_HOLD};

static const struct {
	const char *name;
	uint32_t per_mille;
} quantiles[] = {{"p50", 500}, {"p90", 900}, {"p99", 990}, {"p999", 999}, {"max", 1000}};

void replay_report_json(struct replay *replay, const char *results, FILE *output)
{
	const char *separator = "";

	fprintf(output, "{\"engine\":\"%s\",\"packets\":%llu,\n \"verdicts\":{", replay->engine->name,
		(unsigned long long)replay->packets);
	for (size_t i = 0; i < array_length(verdict_order); i++)
		fprintf(output, "%s\"%s\":%llu", i ? "," : "", verdict_name(verdict_order[i]),
			(unsigned long long)replay->verdicts[verdict_order[i]]);
	fprintf(output, "},\n \"drops\":{");
	for (int reason = DROP_NONE + 1; reason < DROP_COUNT; reason++) {
		if (replay->drops[reason] == 0)
			continue;
		fprintf(output, "%s\"%s\":%llu", separator, drop_name(reason), (unsigned long long)replay->drops[reason]);
		separator = ",";
	}
	fprintf(output, "},\n \"latency_ns\":");
	if (replay->latencies_ns.count == 0) {
		fprintf(output, "null");
	} else {
		for (size_t i = 0; i < array_length(quantiles); i++)
			fprintf(output, "%s\"%s\":%llu", i ? "," : "{", quantiles[i].name,
				(unsigned long long)histogram_quantile(&replay->latencies_ns, quantiles[i].per_mille));
		fprintf(output, "}");
	}
	if (results)
		fprintf(output, ",\n \"results\":[\n  %s]", results);
	fprintf(output, "}\n");
}

void replay_report_text(struct replay *replay, FILE *output)
{
	fprintf(output, "engine %s, %llu packets:", replay->engine->name, (unsigned long long)replay->packets);
	for (size_t i = 0; i < array_length(verdict_order); i++)
		fprintf(output, "%s %llu %s", i ? "," : "", (unsigned long long)replay->verdicts[verdict_order[i]],
			verdict_name(verdict_order[i]));
	fprintf(output, "\n");
	for (int reason = DROP_NONE + 1; reason < DROP_COUNT; reason++) {
		if (replay->drops[reason])
			fprintf(output, "  %llu dropped, %s: %s\n", (unsigned long long)replay->drops[reason], drop_name(reason),
				drop_sentence(reason));
	}
	if (replay->latencies_ns.count == 0)
		return;
	fprintf(output, "latency in ns:");
	for (size_t i = 0; i < array_length(quantiles); i++)
		fprintf(output, "%s %s %llu", i ? "," : "", quantiles[i].name,
			(unsigned long long)histogram_quantile(&replay->latencies_ns, quantiles[i].per_mille));
	fprintf(output, "\n");
}

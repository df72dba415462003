/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The golden packets through an engine: `vectors_run ENGINE[:FIRST,MORE] DIRECTORY...`, for DPDK with so many bytes in the
 * first and in each further segment. Each case begins on the tables as the scenario's
 * manifests say; what earlier cases left behind (flows, neighbours) is theirs, and the oracle sees to it that they differ.
 *
 * Fails when a packet fares otherwise than its cases.json says, or when a drop reason has no golden packet in all of the
 * directories.
 */
#include <stdio.h>
#include <string.h>

#include "base/lib/verdict_text.h"
#include "ctrl/replay/engine_open.h"
#include "ctrl/replay/site.h"
#include "rtc/rtc_program.h"
#include "tests/vectors/cases.h"

#define FRAME_MAX 2048u
#define MANIFESTS_MAX 8
#define STEPS_MAX 128

struct run {
	struct engine *engine;
	char engine_name[16];
	uint32_t segments[2]; /* of DPDK's packets */
	struct site *site;
	const char *directory;
	const char *case_name;
	json_t *manifests;    /* the scenario's */
	bool changed;         /* the case has put others in their place */
	uint64_t case_ms;     /* when the case began */
	uint64_t now_ms;
	uint32_t step;
	char backends[STEPS_MAX][ENDPOINT_TEXT_SIZE]; /* by step of this case; empty for none */
	uint16_t entropies[STEPS_MAX];
	uint32_t failures, cases, packets;
	bool reasons[DROP_COUNT];
};

static void fail(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fail(struct run *run, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s: %s: \"%s\", packet %u: ", run->engine->name, run->directory, run->case_name, run->step);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	run->failures++;
}

static int manifests_load(struct run *run, json_t *names, bool first)
{
	char paths[MANIFESTS_MAX][512];
	const char *pointers[MANIFESTS_MAX];
	struct diagnostics diagnostics;
	size_t count = json_array_size(names);
	struct error error = {0};
	int result;

	for (size_t i = 0; i < count && i < MANIFESTS_MAX; i++) {
		snprintf(paths[i], sizeof(paths[i]), "%s/%s", run->directory, json_string_value(json_array_get(names, i)));
		pointers[i] = paths[i];
	}
	diagnostics_init(&diagnostics);
	result = first ? site_load(pointers, count, "edge", &run->site, &diagnostics, &error) :
			 site_reload(run->site, pointers, count, &diagnostics, &error);
	diagnostics_done(&diagnostics);
	if (result == 0 && first) {
		struct rtc_ufrag_secret secret = {.number = 0}; /* docs/wire/ufrag.md's */

		for (uint8_t i = 0; i < sizeof(secret.key); i++)
			((uint8_t *)&secret.key)[i] = i;
		site_set_secrets(run->site, &secret, 1);
	}
	if (result == 0)
		result = site_program(run->site, run->engine, &error);
	if (result < 0)
		fail(run, "the manifests: %s", error.text);
	return result;
}

/* --- one packet --------------------------------------------------------------------------------------------------------- */

static bool text_is(json_t *wanted, const char *text)
{
	return json_is_string(wanted) ? text && strcmp(json_string_value(wanted), text) == 0 : !text;
}

static const char *shown(const char *text)
{
	return text ? text : "null";
}

static const char *wanted_shown(json_t *wanted)
{
	return json_is_string(wanted) ? json_string_value(wanted) : "null";
}

/*
 * A tunnel's entropy is for the node to choose, but always the same for a flow, and of a flow's ports one that nobody serves.
 * What leaves is taken for wanted then.
 */
static void entropy_check(struct run *run, json_t *expect, const struct engine_outcome *outcome, uint8_t *wanted)
{
	json_t *at = json_object_get(expect, "entropy"), *as = json_object_get(expect, "entropy_as");
	size_t offset = (size_t)json_integer_value(at);
	uint16_t entropy;

	if (!at || offset + 2 > outcome->length)
		return;
	entropy = (uint16_t)(outcome->bytes[offset] << 8 | outcome->bytes[offset + 1]);
	run->entropies[run->step] = entropy;
	if (entropy < 49152)
		fail(run, "the entropy is %u", entropy);
	if (as && entropy != run->entropies[json_integer_value(as)])
		fail(run, "the entropy is %u, not %u as packet %lld", entropy, run->entropies[json_integer_value(as)],
		     (long long)json_integer_value(as));
	memcpy(wanted + offset, outcome->bytes + offset, 2);
}

static void output_check(struct run *run, json_t *expect, const char *backend, const struct engine_outcome *outcome)
{
	json_t *by_backend = json_object_get(expect, "out_by_backend");
	json_t *out = by_backend ? json_object_get(by_backend, backend ? backend : "") : json_object_get(expect, "out");
	uint8_t wanted[FRAME_MAX];
	uint32_t length;

	if (!out) {
		if (by_backend)
			fail(run, "the backend is %s, which is none of the service's", shown(backend));
		return;
	}
	length = hex_read(json_string_value(out), wanted, sizeof(wanted));
	entropy_check(run, expect, outcome, wanted);
	if (outcome_is(outcome, wanted, length))
		return;
	fail(run, "another packet leaves");
	outcome_print(outcome, wanted, length);
}

static void outcome_check(struct run *run, json_t *expect, const struct engine_outcome *outcome)
{
	const struct decision *decision = &outcome->decision;
	const char *verdict = verdict_name(decision->verdict), *function = function_name(decision->function);
	const char *reason = decision->verdict == VERDICT_DROP ? drop_name(decision->reason) : NULL;
	json_t *same = json_object_get(expect, "same_backend_as"), *interface = json_object_get(expect, "interface");
	char text[ENDPOINT_TEXT_SIZE];
	const char *backend = site_backend(run->engine, decision, text);

	if (!text_is(json_object_get(expect, "verdict"), verdict) || !text_is(json_object_get(expect, "reason"), reason) ||
	    !text_is(json_object_get(expect, "function"), function)) {
		fail(run, "%s by %s (%s), not %s by %s (%s)", verdict, function, shown(reason),
		     wanted_shown(json_object_get(expect, "verdict")), wanted_shown(json_object_get(expect, "function")),
		     wanted_shown(json_object_get(expect, "reason")));
		return;
	}
	snprintf(run->backends[run->step], sizeof(text), "%s", backend ? backend : "");
	if (json_object_get(expect, "backend") && !text_is(json_object_get(expect, "backend"), backend))
		fail(run, "backend %s, not %s", shown(backend), wanted_shown(json_object_get(expect, "backend")));
	if (same && strcmp(run->backends[run->step], run->backends[json_integer_value(same)]) != 0)
		fail(run, "backend %s, not %s as packet %lld", shown(backend), run->backends[json_integer_value(same)],
		     (long long)json_integer_value(same));
	if (interface && decision->ifindex != site_ingress(run->site, json_string_value(interface)))
		fail(run, "leaves by interface %u, not %s", decision->ifindex, json_string_value(interface));
	if (decision->verdict == VERDICT_TX || decision->verdict == VERDICT_REDIRECT)
		output_check(run, expect, backend, outcome);
}

/* Fragments that were held and wait no longer, beside those of `expected`, in order; `ret_place` is the next of those. */
static void released_check(struct run *run, json_t *expected, size_t *ret_place)
{
	static struct edge_released released;
	char kept[ENDPOINT_TEXT_SIZE];

	memcpy(kept, run->backends[run->step], sizeof(kept));
	while (engine_release(run->engine, &released)) {
		struct engine_outcome outcome = {released.decision, released.bytes, released.length};
		json_t *expect = json_array_get(expected, (*ret_place)++);

		if (expect)
			outcome_check(run, expect, &outcome);
		else
			fail(run, "a held fragment is released: %s", verdict_name(outcome.decision.verdict));
	}
	memcpy(run->backends[run->step], kept, sizeof(kept));
}

/* --- media sessions: what somebody tells user space, "register", "restart", "end" and "rows_left" of a step -------------------- */

static uint16_t service_row(const struct run *run, const char *text)
{
	const struct lb_tables *lb = run->engine->tables.lb;
	char found[ENDPOINT_TEXT_SIZE];

	for (uint16_t row = 1; row < LB_SERVICE_ROWS; row++) {
		endpoint_format(&lb->services[row].address, be16_get(lb->services[row].port_first), found);
		if (lb->services[row].protocol && strcmp(found, text) == 0)
			return row;
	}
	return 0;
}

static uint16_t backend_row(const struct run *run, uint16_t service, const char *text)
{
	const struct lb_tables *lb = run->engine->tables.lb;
	char found[ENDPOINT_TEXT_SIZE];

	for (uint16_t row = 1; row < LB_BACKEND_ROWS; row++) {
		endpoint_format(&lb->backends[row].address, be16_get(lb->backends[row].port), found);
		if (lb->backends[row].service == service && lb->backends[row].state != LB_BACKEND_FREE && strcmp(found, text) == 0)
			return row;
	}
	return 0;
}

static int srtp_told(struct rtc_program *media, uint32_t row, const char *ufrag, json_t *told, struct error *error)
{
	struct srtp_key key;
	int result = 0;

	if (told)
		result = srtp_key_parse(json_string_value(json_object_get(told, "profile")), json_string_value(json_object_get(told, "key")), &key,
					error);
	return result < 0 ? result : rtc_program_srtp(media, row, ufrag, told ? &key : NULL);
}

static void session_told(struct run *run, const char *what, json_t *told)
{
	const char *ufrag = json_string_value(json_object_get(told, "ufrag"));
	uint16_t service = service_row(run, json_string_value(json_object_get(told, "service")));
	struct rtc_program *media = site_media(run->site);
	uint32_t row = rtc_program_find(media, service, ufrag);
	struct error error = {0};
	int result = 0;

	if (strcmp(what, "register") == 0)
		result = rtc_program_add(media, service, ufrag,
					 backend_row(run, service, json_string_value(json_object_get(told, "backend"))),
					 (uint16_t)json_integer_value(json_object_get(told, "port")), site_now(run->site), &row, &error);
	else if (strcmp(what, "restart") == 0)
		result = rtc_program_restart(media, row, json_string_value(json_object_get(told, "new")), &error);
	else if (!rtc_program_end(media, row, site_now(run->site)))
		result = error_set(&error, ENOENT, "no such session");
	if (result >= 0 && strcmp(what, "end") != 0) {
		const char *of = strcmp(what, "restart") == 0 ? json_string_value(json_object_get(told, "new")) : ufrag;

		result = rtc_program_password(media, row, of, json_string_value(json_object_get(told, "password")));
		if (result >= 0)
			result = srtp_told(media, row, of, json_object_get(told, "srtp"), &error);
	}
	if (result < 0)
		fail(run, "%s %s: %s", what, ufrag, error.text);
}

static void sessions_told(struct run *run, json_t *step)
{
	static const char *const actions[] = {"register", "restart", "end"};
	struct rtc_free *free_rows = &run->engine->tables.rtc->free;
	json_t *left = json_object_get(step, "rows_left"), *told;
	size_t i;

	for (size_t action = 0; action < array_length(actions); action++) {
		json_array_foreach(json_object_get(step, actions[action]), i, told)
			session_told(run, actions[action], told);
	}
	/* as if others had taken them; given back by a step that says so */
	if (left)
		free_rows->head = free_rows->tail - (uint32_t)json_integer_value(left);
}

static void step_run(struct run *run, json_t *step)
{
	json_t *released = json_object_get(step, "released"), *each;
	size_t released_count = 0, place;

	json_t *expect = json_object_get(step, "expect"), *headroom = json_object_get(step, "headroom");
	json_t *manifests = json_object_get(step, "manifests");
	const char *reason = json_string_value(json_object_get(expect, "reason"));
	struct engine_outcome outcome;
	uint8_t frame[FRAME_MAX];
	struct error error = {0};
	uint32_t length = hex_read(json_string_value(json_object_get(step, "in")), frame, sizeof(frame));
	uint64_t at_ms = run->case_ms + (uint64_t)json_integer_value(json_object_get(step, "at_ms"));

	for (int i = 1; i < DROP_COUNT && reason; i++)
		run->reasons[i] |= strcmp(drop_name(i), reason) == 0;
	json_array_foreach(released, place, each) {
		reason = json_string_value(json_object_get(each, "reason"));
		for (int i = 1; i < DROP_COUNT && reason; i++)
			run->reasons[i] |= strcmp(drop_name(i), reason) == 0;
	}
	if (manifests) {
		run->changed = true;
		if (manifests_load(run, manifests, false) < 0)
			return;
	}
	run->now_ms = at_ms > run->now_ms ? at_ms : run->now_ms;
	site_set_time_ms(run->site, run->engine, run->now_ms);
	released_check(run, released, &released_count);
	sessions_told(run, step);
	if (headroom)
		run->engine->headroom = (uint32_t)json_integer_value(headroom);
	run->packets++;
	if (engine_run(run->engine, site_ingress(run->site, json_string_value(json_object_get(step, "interface"))), frame, length,
		       &outcome, &error) < 0)
		fail(run, "%s", error.text);
	else
		outcome_check(run, expect, &outcome);
	if (headroom)
		run->engine->headroom = ENGINE_HEADROOM;
	released_check(run, released, &released_count);
	if (released_count < json_array_size(released))
		fail(run, "%zu held fragments are released, not %zu", released_count, json_array_size(released));
}

/* No prefix of the frame may leave, and each is judged: dropped for a reason or passed. */
static void prefixes_run(struct run *run, const char *hex)
{
	uint8_t frame[FRAME_MAX];
	uint32_t length = hex_read(hex, frame, sizeof(frame));

	for (uint32_t cut = 0; cut < length; cut++) {
		struct engine_outcome outcome;
		struct error error = {0};

		run->step = cut;
		run->packets++;
		if (engine_run(run->engine, site_ingress(run->site, NULL), frame, cut, &outcome, &error) < 0)
			fail(run, "%s", error.text);
		else if (outcome.decision.verdict == VERDICT_TX || outcome.decision.verdict == VERDICT_REDIRECT)
			fail(run, "a frame cut off at this byte leaves");
		else if (outcome.decision.verdict == VERDICT_DROP &&
			 (outcome.decision.reason == DROP_NONE || outcome.decision.reason >= DROP_COUNT))
			fail(run, "a drop without a reason");
	}
}

/* --- cases and scenarios ------------------------------------------------------------------------------------------------ */

static void case_run(struct run *run, json_t *item)
{
	json_t *prefixes = json_object_get(item, "prefixes_of"), *steps = json_object_get(item, "steps"), *step;
	size_t i;

	run->case_name = json_string_value(json_object_get(item, "name"));
	run->step = 0;
	if (!case_is_for(item, run->engine)) {
		json_array_foreach(steps, i, step) {
			const char *reason = json_string_value(json_object_get(json_object_get(step, "expect"), "reason"));

			for (int drop = 1; drop < DROP_COUNT && reason; drop++)
				run->reasons[drop] |= strcmp(drop_name(drop), reason) == 0;
		}
		return;
	}
	run->cases++;
	run->case_ms = run->now_ms;
	if (prefixes)
		prefixes_run(run, json_string_value(prefixes));
	json_array_foreach(steps, i, step) {
		run->step = (uint32_t)i;
		if (i < STEPS_MAX)
			step_run(run, step);
		else
			fail(run, "too many steps");
	}
	if (run->changed) {
		run->changed = false;
		if (manifests_load(run, run->manifests, false) < 0)
			return;
	}
}

static void scenario_run(struct run *run)
{
	char path[512];
	json_t *scenario, *item;
	struct error error = {0};
	json_error_t where;
	size_t i;

	snprintf(path, sizeof(path), "%s/cases.json", run->directory);
	scenario = json_load_file(path, 0, &where);
	if (!scenario || engine_open(run->engine_name, &run->engine, &error) < 0) {
		fprintf(stderr, "%s: %s\n", path, scenario ? error.text : where.text);
		run->failures++;
		json_decref(scenario);
		return;
	}
	memcpy(run->engine->segments, run->segments, sizeof(run->segments));
	run->manifests = json_object_get(scenario, "manifests");
	run->case_name = "the manifests";
	run->step = 0;
	run->now_ms = 0;
	if (manifests_load(run, run->manifests, true) == 0) {
		json_array_foreach(json_object_get(scenario, "cases"), i, item)
			case_run(run, item);
	}
	site_free(run->site);
	run->site = NULL;
	engine_freep(&run->engine);
	run->engine = NULL;
	json_decref(scenario);
}

int main(int argc, char **argv)
{
	static struct run run;
	struct error error = {0};

	if (argc < 3) {
		fprintf(stderr, "usage: vectors_run native|xdp|dpdk[:FIRST,MORE] DIRECTORY...\n");
		return 2;
	}
	if (sscanf(argv[1], "%15[a-z]:%u,%u", run.engine_name, &run.segments[0], &run.segments[1]) < 1)
		return 2;
	if (engine_open(run.engine_name, &run.engine, &error) == -EPERM) {
		printf("SKIP: %s\n", error.text);
		return 77;
	}
	engine_freep(&run.engine);
	run.engine = NULL;
	for (int i = 2; i < argc; i++) {
		run.directory = argv[i];
		scenario_run(&run);
	}
	for (int reason = 1; reason < DROP_COUNT; reason++) {
		if (!run.reasons[reason] && strncmp(drop_name(reason), "dns_", 4) != 0) { /* those are dns_run's */
			fprintf(stderr, "no golden packet is dropped as %s\n", drop_name(reason));
			run.failures++;
		}
	}
	printf("%s: %u cases, %u packets, %u failures\n", argv[1], run.cases, run.packets, run.failures);
	return run.failures ? 1 : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random frames through all engines, which must agree in everything: the decision whole, the bytes that leave, and in the end
 * the tables that packets write. DPDK gets them in random segments. `engines_diff VECTORS FRAMES [SEED]`.
 *
 * It sees what the targets make of one source, and nothing that is wrong in the source: that is what tests/vectors is for.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/lib/verdict_text.h"
#include "ctrl/replay/engine_open.h"
#include "ctrl/replay/site.h"
#include "rtc/rtc_state.h"
#include "tests/packet/media_frames.h"

#define FRAMES_BETWEEN_KEYS 500
#define KEYED_ROWS 64u
#define FRAMES_BETWEEN_TICKS 400u
#define FRAMES_BETWEEN_CHANGES 20000u

struct side {
	struct engine *engine;
	struct site *site;
	struct engine_outcome outcome;
};

struct diff {
	const char *vectors;
	struct side native, xdp, dpdk;
	struct side plain; /* native too, with no call known: what shortcuts decide must be what all others would */
	struct frames frames;
	uint64_t seed, now_ms;
	bool media;
	uint64_t count, calls, verified, answers, errors, released, wrapped, unwrapped, hops, passed_on;
	uint64_t verdicts[VERDICT_PLACES];
	uint64_t drops[DROP_COUNT];
};

static int complain(const char *what, const struct error *error)
{
	fprintf(stderr, "engines_diff: %s: %s\n", what, error->text);
	return -1;
}

/* What the tables are made from: files of tests/vectors. */
struct scene {
	const char *files[3];
};

static const struct scene lan = {{"lan/manifest.yaml"}};

/* Calls: what is sent then is media_frame_next()'s. */
static const struct scene calls[] = {
	{{"media/node.yaml", "media/services.yaml", "media/agents.yaml"}},
	{{"media/node.yaml", "media/services.yaml", "media/draining.yaml"}},
	{{"media/node.yaml", "media/services.yaml", "media/gone.yaml"}},
};

static const struct scene scenes[] = {
	{{"changes/node.yaml", "changes/services.yaml", "changes/first.yaml"}},
	{{"changes/node.yaml", "changes/services.yaml", "changes/both.yaml"}},
	{{"hops/node.yaml", "hops/services.yaml", "hops/first.yaml"}},
	{{"hops/node.yaml", "hops/services.yaml", "hops/draining.yaml"}},
	{{"guard/node.yaml", "guard/sources.yaml"}},
	{{"guard/node.yaml", "guard/busy.yaml"}},
	{{"changes/node.yaml", "changes/services.yaml", "changes/draining.yaml"}},
	{{"changes/node.yaml", "changes/services.yaml", "changes/dead.yaml"}},
	{{"guard/node.yaml", "guard/narrow.yaml"}},
	{{"changes/node.yaml", "changes/services.yaml", "changes/both.yaml"}},
	{{"changes/node.yaml", "changes/services.yaml", "changes/second.yaml"}},
	{{"changes/node.yaml", "changes/services.yaml", "changes/all-dead.yaml"}},
};

static int site_use(const struct diff *diff, struct side *side, const struct scene *scene)
{
	char paths[array_length(scene->files)][512];
	const char *pointers[array_length(scene->files)];
	struct diagnostics diagnostics;
	struct error error = {0};
	size_t count = 0;
	int result;

	for (; count < array_length(scene->files) && scene->files[count]; count++) {
		snprintf(paths[count], sizeof(paths[count]), "%s/%s", diff->vectors, scene->files[count]);
		pointers[count] = paths[count];
	}
	diagnostics_init(&diagnostics);
	result = side->site ? site_reload(side->site, pointers, count, &diagnostics, &error) :
			      site_load(pointers, count, "edge", &side->site, &diagnostics, &error);
	diagnostics_done(&diagnostics);
	if (result == 0) {
		struct rtc_ufrag_secret secret = media_frame_secret();

		site_set_secrets(side->site, &secret, 1);
	}
	if (result == 0)
		result = site_program(side->site, side->engine, &error);
	return result < 0 ? complain("the manifests", &error) : 0;
}

static int sites_use(struct diff *diff, const struct scene *scene)
{
	if (site_use(diff, &diff->native, scene) < 0 || site_use(diff, &diff->xdp, scene) < 0)
		return -1;
	if (site_use(diff, &diff->dpdk, scene) < 0 || site_use(diff, &diff->plain, scene) < 0)
		return -1;
	store_once(diff->plain.engine->tables.config->calls, 0u);
	return 0;
}

static void hex_print(const char *what, const uint8_t *bytes, uint32_t length)
{
	fprintf(stderr, "%s ", what);
	for (uint32_t i = 0; i < length; i++)
		fprintf(stderr, "%02x", bytes[i]);
	fputc('\n', stderr);
}

static bool outcomes_equal(const struct engine_outcome *a, const struct engine_outcome *b)
{
	bool leaves = a->decision.verdict == VERDICT_TX || a->decision.verdict == VERDICT_REDIRECT;

	if (memcmp(&a->decision, &b->decision, sizeof(a->decision)) != 0)
		return false;
	return !leaves || (a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0);
}

static void outcome_show(const struct side *side)
{
	const struct decision *decision = &side->outcome.decision;
	const char *reason = drop_name(decision->reason);

	fprintf(stderr, "%s: %s by %s, reason %s, service %u, backend %u, interface %u\n", side->engine->name,
		verdict_name(decision->verdict), function_name(decision->function), reason ? reason : "none", decision->service,
		decision->backend, decision->ifindex);
	hex_print("  decision", (const uint8_t *)decision, sizeof(*decision));
	if (decision->verdict == VERDICT_TX || decision->verdict == VERDICT_REDIRECT)
		hex_print("  leaves", side->outcome.bytes, side->outcome.length);
}

/* In one segment, or cut anywhere, the rest in pieces of at least a few bytes. */
static void segments_choose(struct diff *diff, uint32_t length)
{
	uint32_t *segments = diff->dpdk.engine->segments;

	segments[0] = length && frames_random(&diff->frames, 4) ? 1 + frames_random(&diff->frames, length) : 0;
	segments[1] = frames_random(&diff->frames, 2) ? 4 + frames_random(&diff->frames, 200) : 0;
}

static int engine_agrees(struct diff *diff, struct side *side, const uint8_t *frame, uint32_t length, uint32_t ifindex)
{
	struct error error = {0};

	if (engine_run(side->engine, ifindex, frame, length, &side->outcome, &error) < 0)
		return complain("running a frame", &error);
	if (outcomes_equal(&diff->native.outcome, &side->outcome))
		return 0;
	fprintf(stderr, "engines_diff: frame %llu of seed %llu, by interface %u, segments of %u and %u bytes:\n",
		(unsigned long long)diff->count, (unsigned long long)diff->seed, ifindex, side->engine->segments[0],
		side->engine->segments[1]);
	hex_print("  frame", frame, length);
	outcome_show(&diff->native);
	outcome_show(side);
	return -1;
}

static int frame_compare(struct diff *diff, const uint8_t *frame, uint32_t length, uint32_t ifindex)
{
	const struct decision *decision = &diff->native.outcome.decision;
	struct error error = {0};

	if (engine_run(diff->native.engine, ifindex, frame, length, &diff->native.outcome, &error) < 0)
		return complain("running a frame", &error);
	diff->count++;
	diff->verdicts[decision->verdict & (VERDICT_PLACES - 1)]++;
	diff->drops[decision->reason < DROP_COUNT ? decision->reason : 0]++;
	diff->verified += decision->heard & RTC_HEARD_VERIFIED ? 1 : 0;
	diff->calls += decision->function == FUNCTION_RTC && decision->verdict != VERDICT_DROP;
	diff->wrapped += decision->action == ACTION_ENCAPSULATE;
	diff->hops += decision->action == ACTION_ENCAPSULATE_HOP;
	diff->passed_on += decision->action == ACTION_PASS_ON;
	diff->unwrapped += decision->room < -14 && decision->action == ACTION_NAT_FORWARD;
	diff->answers += decision->action == ACTION_NAT_REVERSE && decision->verdict != VERDICT_DROP;
	segments_choose(diff, length);
	if (engine_agrees(diff, &diff->xdp, frame, length, ifindex) < 0 || engine_agrees(diff, &diff->plain, frame, length, ifindex) < 0)
		return -1;
	return engine_agrees(diff, &diff->dpdk, frame, length, ifindex);
}

/* Sometimes an ICMP error about what went out last. */
static int error_compare(struct diff *diff)
{
	const struct engine_outcome *outcome = &diff->native.outcome;
	uint32_t ifindex = outcome->decision.ifindex, length;
	uint8_t frame[FRAMES_LENGTH_MAX];

	if ((outcome->decision.verdict != VERDICT_TX && outcome->decision.verdict != VERDICT_REDIRECT) ||
	    frames_random(&diff->frames, 4))
		return 0;
	length = frames_error(&diff->frames, outcome->bytes, outcome->length, frame);
	if (length == 0)
		return 0;
	if (frame_compare(diff, frame, length, ifindex) < 0)
		return -1;
	diff->errors += outcome->decision.action == ACTION_ICMP_FORWARD || outcome->decision.action == ACTION_ICMP_REVERSE;
	return 0;
}

static bool released_equal(const struct edge_released *a, const struct edge_released *b)
{
	struct engine_outcome one = {a->decision, a->bytes, a->length}, other = {b->decision, b->bytes, b->length};

	return a->slot == b->slot && outcomes_equal(&one, &other);
}

/* Fragments that were held and wait no longer: the same ones on every side, with the same end. */
static int released_compare(struct diff *diff)
{
	static struct edge_released native, xdp, dpdk, plain;

	while (engine_release(diff->plain.engine, &plain)) {}
	for (;;) {
		bool one = engine_release(diff->native.engine, &native), two = engine_release(diff->xdp.engine, &xdp);
		bool three = engine_release(diff->dpdk.engine, &dpdk);

		if (!one && !two && !three)
			return 0;
		if (!one || !two || !three || !released_equal(&native, &xdp) || !released_equal(&native, &dpdk)) {
			fprintf(stderr, "engines_diff: after frame %llu of seed %llu: the engines release other fragments\n",
				(unsigned long long)diff->count, (unsigned long long)diff->seed);
			return -1;
		}
		diff->released += native.decision.verdict != VERDICT_DROP;
		diff->drops[native.decision.reason < DROP_COUNT ? native.decision.reason : 0]++;
	}
}

/* A random frame, and often, when it went to a backend, that one's answer. */
static int exchange_compare(struct diff *diff)
{
	const struct engine_outcome *outcome = &diff->native.outcome;
	uint8_t frame[FRAMES_LENGTH_MAX], answer[FRAMES_LENGTH_MAX];
	uint32_t length, ifindex;

	if (diff->media) {
		length = media_frame_next(&diff->frames, frame);
		return frame_compare(diff, frame, length, 1);
	}
	length = frames_next(&diff->frames, frame);
	ifindex = frames_interface(&diff->frames, frame, length);
	if (frames_random(&diff->frames, 8) == 0) {
		uint32_t wrapped = frames_wrap(&diff->frames, frame, length, answer);

		if (wrapped) {
			memcpy(frame, answer, wrapped);
			length = wrapped;
			ifindex = frame[5] == 1 ? 1 : 2; /* the hardware addresses of its interfaces end in that */
		}
	}
	if (frame_compare(diff, frame, length, ifindex) < 0 || released_compare(diff) < 0)
		return -1;
	if (outcome->decision.verdict == VERDICT_DROP || outcome->decision.action != ACTION_NAT_FORWARD ||
	    frames_random(&diff->frames, 3) == 0)
		return error_compare(diff);
	ifindex = outcome->decision.ifindex;
	length = frames_answer(&diff->frames, outcome->bytes, outcome->length, answer);
	if (error_compare(diff) < 0)
		return -1;
	return length && (frame_compare(diff, answer, length, ifindex) < 0 || error_compare(diff) < 0) ? -1 : 0;
}

/* What packets wrote into the tables. */
static int tables_compare(const struct diff *diff, const struct side *side)
{
	const struct edge_tables *native = &diff->native.engine->tables, *other = &side->engine->tables;
	const char *different = NULL;

	if (memcmp(native->flows, other->flows, sizeof(*native->flows)) != 0)
		different = "flows";
	else if (memcmp(native->filter, other->filter, sizeof(*native->filter)) != 0)
		different = "filter";
	else if (memcmp(native->limiter, other->limiter, sizeof(*native->limiter)) != 0)
		different = "buckets";
	else if (memcmp(native->neighbours, other->neighbours, sizeof(*native->neighbours)) != 0)
		different = "neighbours";
	else if (memcmp(native->fragments, other->fragments, sizeof(*native->fragments)) != 0)
		different = "fragments";
	else if (memcmp(native->sessions, other->sessions, sizeof(*native->sessions)) != 0)
		different = "sessions";
	else if (memcmp(native->index->words, other->index->words, sizeof(native->index->words)) != 0)
		different = "the index of sessions";
	else if (side != &diff->plain && memcmp(native->index->shortcuts, other->index->shortcuts, sizeof(native->index->shortcuts)) != 0)
		different = "shortcuts of calls";
	else if (memcmp(native->rtc, other->rtc, sizeof(*native->rtc)) != 0)
		different = "media services";
	else if (memcmp(native->holding, other->holding, sizeof(*native->holding)) != 0)
		different = "held fragments";
	if (different)
		fprintf(stderr, "engines_diff: seed %llu: the tables of %s differ between native and %s\n",
			(unsigned long long)diff->seed, different, side->engine->name);
	return different ? -1 : 0;
}

/* The same on all sides. */
static void keys_tell(struct diff *diff)
{
	struct side *sides[] = {&diff->native, &diff->xdp, &diff->dpdk, &diff->plain};

	for (size_t i = 0; i < array_length(sides); i++)
		for (uint32_t row = 1; row < KEYED_ROWS; row++)
			media_key_tell(sides[i]->engine->tables.rtc, sides[i]->engine->tables.sessions, row);
}

static int run(struct diff *diff, uint64_t count)
{
	uint64_t change_at = count / 2;
	uint32_t change = 0;

	if (sites_use(diff, &lan) < 0)
		return -1;
	for (uint64_t i = 0; diff->count < count; i++) {
		/* The first half on one scenario; in the second, backends and guards come and go, and in its last third there are calls. */
		if (diff->count >= change_at) {
			change_at = diff->count + FRAMES_BETWEEN_CHANGES;
			diff->media = diff->count >= count / 6 * 5;
			if (sites_use(diff, diff->media ? &calls[change++ % array_length(calls)] : &scenes[change++ % array_length(scenes)]) < 0)
				return -1;
		}
		if (diff->media && i % FRAMES_BETWEEN_KEYS == 0)
			keys_tell(diff);
		if (i % FRAMES_BETWEEN_TICKS == 0) {
			diff->now_ms += frames_random(&diff->frames, diff->media ? EDGE_EPOCH_MS / 8 : EDGE_EPOCH_MS);
			site_set_time_ms(diff->native.site, diff->native.engine, diff->now_ms);
			site_set_time_ms(diff->xdp.site, diff->xdp.engine, diff->now_ms);
			site_set_time_ms(diff->dpdk.site, diff->dpdk.engine, diff->now_ms);
			site_set_time_ms(diff->plain.site, diff->plain.engine, diff->now_ms);
		}
		if (exchange_compare(diff) < 0)
			return -1;
	}
	if (tables_compare(diff, &diff->xdp) < 0 || tables_compare(diff, &diff->plain) < 0)
		return -1;
	return tables_compare(diff, &diff->dpdk);
}

static void report(const struct diff *diff, double seconds)
{
	uint32_t reasons = 0;

	for (int reason = 1; reason < DROP_COUNT; reason++)
		reasons += diff->drops[reason] != 0;
	printf("engines_diff: %llu frames, seed %llu, equal: %llu tx, %llu redirect (%llu answers, %llu ICMP errors, %llu wrapped, %llu unwrapped, %llu with a second hop, %llu passed on), %llu pass, %llu of calls (%llu verified), %llu drop for %u reasons, %llu held and %llu of them released; %.0f s\n",
	       (unsigned long long)diff->count, (unsigned long long)diff->seed, (unsigned long long)diff->verdicts[VERDICT_TX],
	       (unsigned long long)diff->verdicts[VERDICT_REDIRECT], (unsigned long long)diff->answers, (unsigned long long)diff->errors, (unsigned long long)diff->wrapped, (unsigned long long)diff->unwrapped,
	       (unsigned long long)diff->hops, (unsigned long long)diff->passed_on,
	       (unsigned long long)diff->verdicts[VERDICT_PASS], (unsigned long long)diff->calls, (unsigned long long)diff->verified,
	       (unsigned long long)diff->verdicts[VERDICT_DROP], reasons,
	       (unsigned long long)diff->verdicts[VERDICT_HOLD], (unsigned long long)diff->released, seconds);
	for (int reason = 1; getenv("SELVAGE_TEST_VERBOSE") && reason < DROP_COUNT; reason++)
		printf("  %s %llu\n", drop_name(reason), (unsigned long long)diff->drops[reason]);
}

int main(int argc, char **argv)
{
	static struct diff diff;
	struct error error = {0};
	time_t start = time(NULL);
	uint64_t count;
	int result;

	if (argc < 3) {
		fprintf(stderr, "usage: engines_diff VECTORS FRAMES [SEED]\n");
		return 2;
	}
	diff.vectors = argv[1];
	count = strtoull(argv[2], NULL, 10);
	diff.seed = argc > 3 ? strtoull(argv[3], NULL, 10) : (uint64_t)start;
	diff.frames.state = diff.seed;
	printf("engines_diff: seed %llu\n", (unsigned long long)diff.seed);
	fflush(stdout);
	result = engine_open("native", &diff.native.engine, &error);
	if (result == 0)
		result = engine_open("native", &diff.plain.engine, &error);
	if (result == 0)
		result = engine_open("xdp", &diff.xdp.engine, &error);
	if (result == 0)
		result = engine_open("dpdk", &diff.dpdk.engine, &error);
	if (result < 0) {
		engine_freep(&diff.native.engine);
		engine_freep(&diff.plain.engine);
		engine_freep(&diff.xdp.engine);
		printf("%s: %s\n", result == -EPERM ? "SKIP" : "engines_diff", error.text);
		return result == -EPERM ? 77 : 1;
	}
	result = run(&diff, count);
	if (result == 0)
		report(&diff, difftime(time(NULL), start));
	site_free(diff.native.site);
	site_free(diff.xdp.site);
	site_free(diff.dpdk.site);
	site_free(diff.plain.site);
	engine_freep(&diff.native.engine);
	engine_freep(&diff.plain.engine);
	engine_freep(&diff.xdp.engine);
	engine_freep(&diff.dpdk.engine);
	return result < 0 ? 1 : 0;
}

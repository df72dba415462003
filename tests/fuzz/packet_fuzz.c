/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of any kind through the packet program, natively. An input is a sequence of frames: two bytes of length (big endian,
 * the low 11 bits), whose top bits choose the interface and let time pass, then the frame. Tables are those of the scenario
 * tests/vectors/lan and live on from input to input, flows and all, as they do on a node.
 *
 * The sanitizers see what reads beside the packet or the tables; what is asserted here is that every packet leaves by a door
 * that is counted, and that none grows beyond what the engine gives.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "ctrl/replay/site.h"

static struct engine *engine;
static struct site *site;
static uint32_t epoch = 64, now_ms = 100000;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *manifest = PACKET_FUZZ_MANIFEST;
	struct diagnostics diagnostics;
	struct error error = {0};

	engine = engine_native_new();
	diagnostics_init(&diagnostics);
	if (!engine || site_load(&manifest, 1, "edge", &site, &diagnostics, &error) < 0 ||
	    site_program(site, engine, &error) < 0) {
		fprintf(stderr, "packet_fuzz: %s: %s\n", manifest, error.text);
		abort();
	}
	diagnostics_done(&diagnostics);
	engine_set_time(engine, epoch, now_ms);
	return 0;
}

static uint64_t counted(void)
{
	const struct edge_counters *counters = engine->tables.counters;
	uint64_t sum = 0;

	for (int function = 0; function < FUNCTION_COUNT; function++) {
		for (int verdict = 0; verdict < VERDICT_COUNT; verdict++)
			sum += counters->verdicts[function][verdict];
	}
	return sum;
}

static void frame_run(const uint8_t *frame, uint32_t length, uint32_t ifindex)
{
	struct engine_outcome outcome;
	uint64_t before = counted(), dropped = 0;

	if (engine_run(engine, ifindex, frame, length, &outcome, NULL) < 0)
		return;
	assert(counted() == before + 1);
	if (outcome.decision.verdict == VERDICT_DROP) {
		assert(outcome.decision.reason > DROP_NONE && outcome.decision.reason < DROP_COUNT);
		dropped = engine->tables.counters->drops[outcome.decision.reason];
		assert(dropped > 0);
		return;
	}
	assert(outcome.decision.reason == DROP_NONE);
	if (outcome.decision.verdict == VERDICT_HOLD)
		assert(outcome.decision.address.word[0] < LB_HOLD_SLOTS && outcome.decision.flags & DECISION_FRAGMENT);
	else if (outcome.decision.verdict == VERDICT_PASS)
		assert(outcome.length == length && memcmp(outcome.bytes, frame, length) == 0);
	else
		assert(outcome.length >= 14 && outcome.length <= length + 56 && /* a tag and GUE over IPv6 */ outcome.decision.ifindex != 0);
}

/* What was held leaves by a counted door too, and no later than its time. */
static void released_run(void)
{
	static struct edge_released released;
	uint64_t before = counted();

	while (engine_release(engine, &released)) {
		assert(counted() == ++before);
		if (released.decision.verdict == VERDICT_DROP)
			assert(released.decision.reason > DROP_NONE && released.decision.reason < DROP_COUNT);
		else
			assert(released.decision.reason == DROP_NONE && released.decision.ifindex != 0 &&
			       released.bytes >= released.buffer && released.length <= LB_HOLD_BYTES + EDGE_HOLD_HEADROOM);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	while (size >= 2) {
		uint32_t head = (uint32_t)(data[0] << 8 | data[1]), length = head & 0x7ff;

		data += 2;
		size -= 2;
		if (length > size)
			length = (uint32_t)size;
		if (head & 0x4000) {
			epoch++;
			now_ms += 700;
			engine_set_time(engine, epoch, now_ms);
			released_run();
		}
		frame_run(data, length, head & 0x8000 ? 2 : 1);
		released_run();
		data += length;
		size -= length;
	}
	return 0;
}

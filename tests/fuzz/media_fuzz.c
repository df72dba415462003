/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a call's client or agent sends, to STUN's parser alone and through the packet program, natively, on the tables of the
 * scenario tests/vectors/media. An input is a sequence of datagrams: a byte that chooses who sends (the low four bits), its
 * direction (0x80), and lets time pass (0x40, with 0x20 much of it: what ends calls looks at all the tables each 8 s), two bytes of
 * length (big endian, the low 11 bits; with 0x8000 the key of the calls that there are is told), then the data. Sessions live on from
 * input to input. Encoded fragments of the corpus lead to agents, so that what lies behind is reached.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "ctrl/replay/site.h"
#include "rtc/rtc_integrity.h"
#include "rtc/rtc_program.h"
#include "rtc/rtc_srtp.h"
#include "tests/packet/media_frames.h"

#define KEYED_ROWS 32u

static struct engine *engine;
static struct site *site;
static uint64_t now_ms;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *manifests[] = {MEDIA_FUZZ_VECTORS "/node.yaml", MEDIA_FUZZ_VECTORS "/services.yaml", MEDIA_FUZZ_VECTORS "/agents.yaml"};
	struct rtc_ufrag_secret secret = media_frame_secret();
	struct diagnostics diagnostics;
	struct error error = {0};

	engine = engine_native_new();
	diagnostics_init(&diagnostics);
	if (!engine || site_load(manifests, array_length(manifests), "edge", &site, &diagnostics, &error) < 0) {
		fprintf(stderr, "media_fuzz: %s\n", error.text);
		abort();
	}
	diagnostics_done(&diagnostics);
	site_set_secrets(site, &secret, 1);
	if (site_program(site, engine, &error) < 0)
		abort();
	site_set_time_ms(site, engine, now_ms);
	return 0;
}

/* What was read lies within the message. */
static void parse(const uint8_t *data, uint32_t length)
{
	static const struct rtc_secret secret = {.inner = {1, 2, 3, 4, 5}, .outer = {6, 7, 8, 9, 10}};
	static const struct rtc_srtp srtp = {.inner = {1, 2, 3, 4, 5}, .outer = {6, 7, 8, 9, 10}};
	static struct rtc_scratch scratch;
	struct stun_message *message = &scratch.message;
	struct stun stun = {0};

	message->length = length;
	memcpy(message->bytes, data, length);
	if (length >= sizeof(struct rtp_header) && length <= STUN_COPY_MAX) {
		scratch.srtp.end = length;
		rtc_srtp_begin(&srtp, &scratch);
		rtc_srtp_holds(&srtp, &scratch, length);
	}
	if (length > STUN_BYTES_MAX)
		return;
	memcpy(message->bytes, data, length);
	stun_read(message, &stun);
	if (stun.fault)
		return;
	assert(stun.id != 0 && length >= STUN_HEADER_BYTES);
	if (stun.flags & STUN_HAS_USERNAME) {
		uint32_t colon = stun_username_colon(message, stun.username_at, stun.username_length);

		assert(stun.username_at + stun.username_length <= length);
		assert(colon == 0 || (colon >= stun.username_at && colon < (uint32_t)stun.username_at + stun.username_length));
	}
	if (stun.integrity_at) {
		assert(stun.integrity_at + STUN_INTEGRITY_BYTES <= length);
		rtc_integrity_holds(&secret, &scratch, stun.integrity_at);
	}
}

static void send(uint32_t place, bool down, const uint8_t *data, uint32_t length)
{
	uint8_t frame[FRAMES_LENGTH_MAX];
	struct engine_outcome outcome;
	uint32_t size = media_frame(place, down, data, length, frame);

	if (engine_run(engine, 1, frame, size, &outcome, NULL) < 0)
		return;
	if (outcome.decision.verdict == VERDICT_DROP)
		assert(outcome.decision.reason > DROP_NONE && outcome.decision.reason < DROP_COUNT);
	else if (outcome.decision.verdict == VERDICT_PASS)
		assert(down && outcome.length == size && memcmp(outcome.bytes, frame, size) == 0);
	else
		assert(outcome.decision.verdict == VERDICT_TX && outcome.length >= 42 && outcome.length <= size + 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	while (size >= 3) {
		uint32_t who = data[0], length = (uint32_t)(data[1] << 8 | data[2]) & 0x7ff;
		bool keys = data[1] & 0x80;

		data += 3;
		size -= 3;
		if (length > size)
			length = (uint32_t)size;
		if (length > MEDIA_DATA_MAX)
			length = MEDIA_DATA_MAX;
		if (who & 0x40)
			site_set_time_ms(site, engine, now_ms += who & 0x20 ? 7000 : 70);
		parse(data, length);
		send(who & 15, who & 0x80, data, length);
		for (uint32_t row = 1; row < KEYED_ROWS && keys; row++)
			media_key_tell(engine->tables.rtc, engine->tables.sessions, row);
		data += length;
		size -= length;
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Looking ahead: what it asks for is what the packet's turn needs, in time, and only where it is worth it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "dataplane/pipeline.h"
#include "edge/edge_fixture.h"

#define CALLS 7u
#define SEED 0x5e17a9e
#define FRAME_BYTES 128u

static struct edge_memory *memory;
static struct edge_tables tables;

static int tables_begin(void **state)
{
	memory = mmap(NULL, sizeof(*memory), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return -1;
	tables = memory_tables(memory);
	tables.lb->hash_seed = SEED;
	tables.config->calls = CALLS;
	return 0;
}

static int tables_end(void **state)
{
	return munmap(memory, sizeof(*memory));
}

/* A datagram whose data begins with `first`; `bytes` of it lie in the mbuf. */
static struct rte_mbuf frame_make(uint8_t frame[static FRAME_BYTES], bool ipv6, uint8_t protocol, uint8_t first, uint16_t bytes)
{
	uint8_t *ip = frame + 14, *udp = ip + (ipv6 ? 40 : 20);

	for (uint32_t i = 0; i < FRAME_BYTES; i++)
		frame[i] = (uint8_t)(i * 7 + 1);
	frame[0] = 2;
	memcpy(frame + 12, ipv6 ? "\x86\xdd" : "\x08\x00", 2);
	if (ipv6) {
		memcpy(ip, (uint8_t[]){0x60, 0, 0, 0, 0, 40, protocol, 64}, 8);
	} else {
		memcpy(ip, (uint8_t[]){0x45, 0, 0, 60, 0, 0, 0, 0, 64, protocol}, 10);
	}
	memcpy(udp + 4, (uint8_t[]){0, 40, 0x12, 0x34, first}, 5);
	return (struct rte_mbuf){.buf_addr = frame, .data_len = bytes, .pkt_len = bytes, .nb_segs = 1};
}

static uint32_t hash_of_turn(const struct rte_mbuf *mbuf)
{
	struct packet packet = pipeline_view(mbuf);
	struct flow flow = {0};

	assert_int_equal(flow_parse(&packet, &flow), DROP_NONE);
	assert_true(edge_is_call(tables.config, &packet, &flow, DROP_NONE));
	return rtc_shortcut_hash(SEED, CALLS, &flow);
}

static void a_call_is_asked_for_by_the_hash_of_its_turn(void **state)
{
	uint8_t frame[FRAME_BYTES];

	for (int ipv6 = 0; ipv6 < 2; ipv6++) {
		struct rte_mbuf mbuf = frame_make(frame, ipv6, PROTOCOL_UDP, 0x80, FRAME_BYTES);
		uint32_t hash = pipeline_prefetch_set(&tables, &mbuf, CALLS);

		assert_int_not_equal(hash, 0);
		assert_int_equal(hash, hash_of_turn(&mbuf));
		assert_int_not_equal(hash, pipeline_prefetch_set(&tables, &mbuf, CALLS + 1));
	}
}

static void nothing_else_is_asked_for(void **state)
{
	uint8_t frame[FRAME_BYTES];
	struct rte_mbuf mbuf = frame_make(frame, false, PROTOCOL_UDP, 0x00, FRAME_BYTES); /* STUN */

	assert_int_equal(pipeline_prefetch_set(&tables, &mbuf, CALLS), 0);
	mbuf = frame_make(frame, false, PROTOCOL_UDP, 22, FRAME_BYTES); /* DTLS */
	assert_int_equal(pipeline_prefetch_set(&tables, &mbuf, CALLS), 0);
	mbuf = frame_make(frame, false, PROTOCOL_TCP, 0x80, FRAME_BYTES);
	assert_int_equal(pipeline_prefetch_set(&tables, &mbuf, CALLS), 0);
	mbuf = frame_make(frame, false, PROTOCOL_UDP, 0x80, FRAME_BYTES);
	frame[14] = 0x46; /* options */
	assert_int_equal(pipeline_prefetch_set(&tables, &mbuf, CALLS), 0);
	mbuf = frame_make(frame, false, PROTOCOL_UDP, 0x80, FRAME_BYTES);
	frame[12] = 0x81; /* a tag */
	frame[13] = 0;
	assert_int_equal(pipeline_prefetch_set(&tables, &mbuf, CALLS), 0);
	/* the first byte of IPv6's data is the last that must be there */
	mbuf = frame_make(frame, true, PROTOCOL_UDP, 0x80, 62);
	assert_int_equal(pipeline_prefetch_set(&tables, &mbuf, CALLS), 0);
	mbuf = frame_make(frame, true, PROTOCOL_UDP, 0x80, 63);
	assert_int_not_equal(pipeline_prefetch_set(&tables, &mbuf, CALLS), 0);
}

/* Each packet once, in order, and before its turn; a burst is as long as it is. */
static void every_packet_is_looked_at_once(void **state)
{
	for (uint16_t count = 1; count <= 40; count++) {
		uint32_t seen = 0;

		for (uint16_t next = 0; next < count; next++) {
			PIPELINE_EACH_AHEAD(i, next, PIPELINE_AHEAD_SETS, count)
				assert_int_equal(i, seen++);
			assert_true(seen > next);
		}
		assert_int_equal(seen, count);
	}
}

/* Of a burst longer than the memory of hashes, each session is asked for by its own packet's. */
static void hashes_last_until_their_packets(void **state)
{
	enum { COUNT = 3 * PIPELINE_HASHES + 5 };
	static uint8_t frames[COUNT][FRAME_BYTES];
	static struct rte_mbuf mbufs[COUNT];
	struct pipeline_ahead ahead = {.calls = true};
	struct rte_mbuf *packets[COUNT];

	for (uint32_t i = 0; i < COUNT; i++) {
		mbufs[i] = frame_make(frames[i], false, PROTOCOL_UDP, 0x80, FRAME_BYTES);
		frames[i][29] = (uint8_t)i; /* the client's address */
		packets[i] = &mbufs[i];
	}
	for (uint16_t next = 0; next < COUNT; next++) {
		uint32_t soon = next + PIPELINE_AHEAD_SESSIONS;

		pipeline_prefetch(&ahead, &tables, packets, COUNT, next);
		if (soon < COUNT)
			assert_int_equal(ahead.hashes[soon & (PIPELINE_HASHES - 1)], hash_of_turn(packets[soon]));
	}
}

static void bursts_say_what_the_next_is_like(void **state)
{
	struct decision call = {.function = FUNCTION_RTC}, begins = {.function = FUNCTION_LB, .flags = DECISION_NEW_FLOW}, other = {0};
	struct pipeline_ahead ahead = {0};

	for (uint32_t i = 0; i < 8; i++)
		pipeline_note(&ahead, &call);
	pipeline_expect(&ahead, 32);
	assert_false(ahead.calls); /* a fourth is not more than a fourth */
	for (uint32_t i = 0; i < 9; i++)
		pipeline_note(&ahead, &call);
	for (uint32_t i = 0; i < 23; i++)
		pipeline_note(&ahead, &other);
	pipeline_expect(&ahead, 32);
	assert_true(ahead.calls);
	assert_false(ahead.floods);
	for (uint32_t i = 0; i < 9; i++)
		pipeline_note(&ahead, &begins);
	pipeline_expect(&ahead, 32);
	assert_true(ahead.floods);
	assert_false(ahead.calls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_is_asked_for_by_the_hash_of_its_turn),
		cmocka_unit_test(nothing_else_is_asked_for),
		cmocka_unit_test(every_packet_is_looked_at_once),
		cmocka_unit_test(hashes_last_until_their_packets),
		cmocka_unit_test(bursts_say_what_the_next_is_like),
	};

	return cmocka_run_group_tests(tests, tables_begin, tables_end);
}

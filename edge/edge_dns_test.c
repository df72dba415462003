/* SPDX-License-Identifier: Apache-2.0 */
/* The DNS cache from both sides: answers put by its builder, queries answered by the packet code, at the same time too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns/cache.h"
#include "edge/edge_dns.h"

#define NAMES 256u
#define FRAME_MAX 2048u

struct fixture {
	struct edge_tables tables;
	struct edge_config config;
	struct edge_counters *counters; /* one for each reader */
	struct dns_cache *cache;
	uint32_t now_ms;
};

static void *zeroes(size_t size)
{
	void *memory = aligned_alloc(64, (size + 63) / 64 * 64);

	assert_non_null(memory);
	memset(memory, 0, size);
	return memory;
}

#define READERS 2u

static struct dns_memory memory_of(const struct fixture *fixture)
{
	return (struct dns_memory){fixture->tables.dns, fixture->tables.dns_buckets, fixture->tables.dns_blocks};
}

static int setup(void **state)
{
	struct fixture *fixture = zeroes(sizeof(*fixture));
	struct dns_tables *dns = zeroes(sizeof(*dns));
	struct dns_memory memory;
	uint32_t buckets;

	dns_sizes(NAMES, &buckets, &dns->block_count);
	dns->bucket_mask = buckets - 1;
	fixture->counters = zeroes((READERS + 1) * sizeof(*fixture->counters));
	fixture->tables = (struct edge_tables){.config = &fixture->config, .dns = dns,
					       .dns_buckets = zeroes(buckets * sizeof(struct dns_bucket)),
					       .dns_blocks = zeroes(dns->block_count * sizeof(struct dns_block)),
					       .counters = fixture->counters};
	memory = memory_of(fixture);
	fixture->cache = dns_cache_new(&memory);
	assert_non_null(fixture->cache);
	fixture->now_ms = 5000;
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	dns_cache_free(fixture->cache);
	free(fixture->tables.dns_blocks);
	free(fixture->tables.dns_buckets);
	free(fixture->tables.dns);
	free(fixture->counters);
	free(fixture);
	return 0;
}

/* --- messages ------------------------------------------------------------------------------------------------------------ */

static void write16(uint8_t *place, uint32_t value)
{
	place[0] = (uint8_t)(value >> 8);
	place[1] = (uint8_t)value;
}

/* "nNNNN.test" on the wire. */
#define NAME_LENGTH 12u

static void name_write(uint8_t *place, uint32_t number)
{
	char text[16];

	snprintf(text, sizeof(text), "%cn%04u%ctest", 5, number % 10000, 4);
	memcpy(place, text, NAME_LENGTH);
}

/* One TXT record of `length` bytes, each of which is `fill`. */
static size_t answer_write(uint8_t *answer, uint32_t number, uint32_t length, uint8_t fill, uint32_t ttl)
{
	static const uint8_t head[12] = {0, 1, 0x81, 0x80, 0, 1, 0, 1};
	uint8_t *at = answer + sizeof(head) + NAME_LENGTH;

	memcpy(answer, head, sizeof(head));
	name_write(answer + sizeof(head), number);
	write16(at, 16);
	write16(at + 2, DNS_CLASS_IN);
	write16(at + 4, 0xc00c);
	write16(at + 6, 16);
	write16(at + 8, DNS_CLASS_IN);
	write16(at + 10, ttl >> 16);
	write16(at + 12, ttl);
	write16(at + 14, length);
	memset(at + 16, fill, length);
	return (size_t)(at + 16 - answer) + length;
}

static enum dns_refusal put(struct fixture *fixture, uint32_t number, uint32_t length, uint8_t fill, uint32_t ttl)
{
	const struct dns_put how = {.extended_error = -1};
	uint8_t answer[FRAME_MAX];

	return dns_cache_put(fixture->cache, answer, answer_write(answer, number, length, fill, ttl), &how, fixture->now_ms);
}

/* A query in a frame over IPv4, with EDNS. */
static uint32_t query_write(uint8_t *frame, uint32_t number)
{
	static const uint8_t opt[11] = {0, 0, DNS_TYPE_OPT, 0x10};
	uint32_t length = 14 + 20 + 8 + 12 + NAME_LENGTH + 4 + sizeof(opt);
	uint8_t *dns = frame + 42;

	memset(frame, 0, length);
	frame[12] = 8;
	frame[14] = 0x45;
	write16(frame + 16, length - 14);
	frame[22] = 64;
	frame[23] = PROTOCOL_UDP;
	write16(frame + 38, length - 34);
	dns[2] = 1; /* RD */
	dns[5] = 1;
	dns[11] = 1;
	name_write(dns + 12, number);
	write16(dns + 12 + NAME_LENGTH, 16);
	write16(dns + 14 + NAME_LENGTH, DNS_CLASS_IN);
	memcpy(dns + 16 + NAME_LENGTH, opt, sizeof(opt));
	return length;
}

/* Whether the packet is answered; the frame is the answer then, of `ret_length` bytes. */
static bool ask(const struct fixture *fixture, uint32_t reader, uint32_t number, uint8_t *frame, uint32_t *ret_length)
{
	struct edge_tables tables = fixture->tables;
	struct edge_ingress ingress = {.ifindex = 1, .now_ms = fixture->now_ms};
	uint32_t length = query_write(frame, number);
	struct packet packet = {frame, frame + length, 0};
	struct decision decision = {0};
	struct dns_answer answer;
	struct flow flow = {0};

	tables.counters = &fixture->counters[reader];
	assert_int_equal(flow_parse(&packet, &flow), DROP_NONE);
	edge_dns_decide(&tables, &packet, &ingress, &flow, &answer, &decision);
	if (decision.verdict != VERDICT_TX)
		return false;
	assert_true(answer.frame_length <= FRAME_MAX);
	packet.end = frame + answer.frame_length;
	if (!edge_dns_write(&tables, &packet, &answer)) {
		uint8_t query[FRAME_MAX];

		packet.end = frame + length;
		edge_dns_undo(&tables, &packet, &decision);
		assert_int_equal(query_write(query, number), length);
		assert_memory_equal(frame, query, length); /* as it came */
		return false;
	}
	*ret_length = answer.frame_length;
	return true;
}

static bool is_cached(const struct fixture *fixture, uint32_t number)
{
	uint8_t frame[FRAME_MAX];
	uint32_t length;

	return ask(fixture, READERS, number, frame, &length);
}

static uint64_t torn_count(const struct fixture *fixture)
{
	uint64_t torn = 0;

	for (uint32_t i = 0; i < READERS; i++)
		torn += fixture->counters[i].dns.results[DNS_RESULT_TORN];
	return torn;
}

/* --- readers and a writer at the same time --------------------------------------------------------------------------------- */

struct race {
	struct fixture *fixture;
	bool stop;
	uint32_t reader;
	uint64_t answered;
	const char *wrong;
};

/* Lengths from one block to six, each with a byte of its own. */
static uint32_t race_length(uint8_t fill)
{
	return 20 + (uint32_t)fill * 9 % 1100;
}

static void *race_read(void *argument)
{
	struct race *race = argument;

	while (!__atomic_load_n(&race->stop, __ATOMIC_RELAXED) && !race->wrong) {
		uint8_t frame[FRAME_MAX], *data = frame + 42 + 12 + NAME_LENGTH + 4 + 12;
		uint32_t length, text;

		if (!ask(race->fixture, race->reader, 1, frame, &length))
			continue;
		race->answered++;
		text = (uint32_t)(data[-2] << 8 | data[-1]);
		if (text != race_length(data[0]) || length != (uint32_t)(data - frame) + text + 11)
			race->wrong = "a length of another answer";
		for (uint32_t i = 0; i < text && !race->wrong; i++) {
			if (data[i] != data[0])
				race->wrong = "halves of two answers";
		}
	}
	return NULL;
}

/*
 * Time flies in the builder's eyes, so that blocks are used again at once: only versions keep readers from halves. Where there is
 * one processor the threads take turns, and it shows less.
 */
static void answers_are_never_torn(void **state)
{
	struct race races[READERS];
	struct fixture *fixture = *state;
	pthread_t threads[READERS];

	assert_int_equal(put(fixture, 1, race_length(1), 1, 100000), DNS_TAKEN);
	for (uint32_t i = 0; i < READERS; i++) {
		races[i] = (struct race){.fixture = fixture, .reader = i};
		assert_int_equal(pthread_create(&threads[i], NULL, race_read, &races[i]), 0);
	}
	for (uint32_t i = 0; i < 300000; i++) {
		const struct dns_put how = {.extended_error = -1};
		uint8_t fill = (uint8_t)(i % 251 + 1), answer[FRAME_MAX];
		size_t length = answer_write(answer, 1, race_length(fill), fill, 100000);

		__atomic_fetch_add(&fixture->now_ms, DNS_IDLE_MS, __ATOMIC_RELAXED);
		assert_int_equal(dns_cache_put(fixture->cache, answer, length, &how, fixture->now_ms), DNS_TAKEN);
	}
	for (uint32_t i = 0; i < READERS; i++) {
		__atomic_store_n(&races[i].stop, true, __ATOMIC_RELAXED);
		pthread_join(threads[i], NULL);
		if (races[i].wrong)
			fail_msg("%s", races[i].wrong);
		assert_true(races[i].answered > 0);
	}
	print_message("%llu answers, %llu passed because their entry changed\n",
		      (unsigned long long)(races[0].answered + races[1].answered), (unsigned long long)torn_count(fixture));
}

/* What the race may or may not meet: the entry changes between the decision and the copy. */
static void changed_entry_passes_as_it_came(void **state)
{
	struct fixture *fixture = *state;
	struct edge_ingress ingress = {.ifindex = 1, .now_ms = fixture->now_ms};
	uint8_t frame[FRAME_MAX], query[FRAME_MAX];
	uint32_t length = query_write(frame, 7);
	struct packet packet = {frame, frame + length, 0};
	struct decision decision = {0};
	struct dns_answer answer;
	struct flow flow = {0};

	assert_int_equal(put(fixture, 7, 600, 'a', 100), DNS_TAKEN);
	assert_int_equal(flow_parse(&packet, &flow), DROP_NONE);
	edge_dns_decide(&fixture->tables, &packet, &ingress, &flow, &answer, &decision);
	assert_int_equal(decision.verdict, VERDICT_TX);
	assert_int_equal(put(fixture, 7, 30, 'b', 100), DNS_TAKEN);
	packet.end = frame + answer.frame_length;
	assert_false(edge_dns_write(&fixture->tables, &packet, &answer));
	packet.end = frame + length;
	edge_dns_undo(&fixture->tables, &packet, &decision);
	query_write(query, 7);
	assert_memory_equal(frame, query, length);
	assert_int_equal(decision.verdict, VERDICT_PASS);
	assert_int_equal(fixture->counters[0].dns.results[DNS_RESULT_TORN], 1);
}

/* What a reader writes late, into a block that is another answer's middle by now. */
static void late_reader_touches_no_answer(void **state)
{
	struct fixture *fixture = *state;
	struct edge_tables *tables = &fixture->tables;
	uint8_t frame[FRAME_MAX], before[FRAME_MAX];
	uint32_t length, length_before;

	assert_int_equal(put(fixture, 7, 1100, 'a', 100), DNS_TAKEN);
	assert_true(ask(fixture, 0, 7, before, &length_before));
	for (uint32_t i = dns_blocks_first(tables->dns->bucket_mask); i < tables->dns->block_count; i++)
		dns_entry_mark(tables->dns, &tables->dns_blocks[i].entry, UINT32_MAX, 0, i);
	assert_true(ask(fixture, 0, 7, frame, &length));
	assert_int_equal(length, length_before);
	assert_memory_equal(frame, before, length);
}

/* --- hints -------------------------------------------------------------------------------------------------------------- */

/* The entry for a name of the tests; where the bucket's hint leads for it, if there is one. */
static struct dns_entry *entry_of(const struct fixture *fixture, uint32_t number, uint32_t *ret_bucket, uint32_t *ret_home)
{
	const struct edge_tables *tables = &fixture->tables;
	struct dns_scratch *scratch = &fixture->counters[READERS].dns;
	uint32_t version, length = 0, hint;
	struct dns_access access = {tables};
	uint8_t frame[FRAME_MAX];
	struct packet packet;
	uint64_t hash;

	*ret_bucket = *ret_home = 0;
	if (!ask(fixture, READERS, number, frame, &length))
		return NULL;
	length = query_write(frame, number);
	packet = (struct packet){frame, frame + length, 0};
	assert_true(dns_query_read(&packet, scratch));
	hash = dns_name_read(&packet, scratch, tables->dns->seed);
	*ret_bucket = dns_name_bucket(hash) & tables->dns->bucket_mask;
	hint = tables->dns_blocks[*ret_bucket >> DNS_HINT_ROW_BITS].hints[*ret_bucket & 255];
	if (hint)
		*ret_home = dns_hint_place(tables->dns, dns_signature(hash, scratch->type, 0), hint);
	return dns_entry_find(&access, tables->dns, scratch, hash, &version);
}

/* As many names as the cache is made for, put again and again: an answer is where its bucket's hint says. */
static void hints_lead_to_nearly_all_answers(void **state)
{
	struct fixture *fixture = *state;
	uint32_t bucket, home, entries = 0, led = 0;

	for (uint32_t i = 0; i < 10 * NAMES; i++) {
		fixture->now_ms += 10;
		assert_int_equal(put(fixture, i % (NAMES * 3 / 4), 20, 'a', 100000), DNS_TAKEN);
	}
	for (uint32_t i = 0; i < NAMES * 3 / 4; i++) {
		const struct dns_entry *entry = entry_of(fixture, i, &bucket, &home);

		entries += entry != NULL;
		led += entry && home && &fixture->tables.dns_blocks[home].entry == entry;
	}
	assert_true(entries >= NAMES * 3 / 4 - 2); /* a bucket may be full */
	assert_true(led * 100 >= entries * 90);
}

/* Hints may lead anywhere: to nothing, to another name's entry, to the middle of an answer. */
static void wrong_hints_change_no_answer(void **state)
{
	struct fixture *fixture = *state;
	uint8_t frame[FRAME_MAX], before[FRAME_MAX];
	uint32_t length, length_before, bucket, home;

	for (uint32_t i = 0; i < 40; i++)
		assert_int_equal(put(fixture, i, 20 + i * 25, (uint8_t)('a' + i), 100), DNS_TAKEN);
	for (uint32_t i = 0; i < 40; i++) {
		uint8_t *hint;

		assert_true(ask(fixture, 0, i, before, &length_before));
		assert_non_null(entry_of(fixture, i, &bucket, &home));
		hint = &fixture->tables.dns_blocks[bucket >> DNS_HINT_ROW_BITS].hints[bucket & 255];
		for (uint32_t wrong = 0; wrong < 256; wrong++) {
			*hint = (uint8_t)wrong;
			assert_true(ask(fixture, 0, i, frame, &length));
			assert_int_equal(length, length_before);
			assert_memory_equal(frame, before, length);
		}
	}
}

/* A builder that was killed between an entry's end and its block's: the next one sees to it that no hint finds it any more. */
static void forgotten_entry_is_no_answer(void **state)
{
	struct fixture *fixture = *state;
	struct dns_memory memory = memory_of(fixture);
	uint32_t bucket, home;

	assert_int_equal(put(fixture, 1, 20, 'a', 1000), DNS_TAKEN);
	assert_non_null(entry_of(fixture, 1, &bucket, &home));
	assert_true(home != 0);
	memset(&fixture->tables.dns_buckets[bucket], 0, sizeof(fixture->tables.dns_buckets[bucket]));
	assert_true(is_cached(fixture, 1));
	dns_cache_free(fixture->cache);
	fixture->cache = dns_cache_new(&memory);
	assert_false(is_cached(fixture, 1));
}

/* --- the builder ---------------------------------------------------------------------------------------------------------- */

static bool view_count(const struct dns_view *view, void *context)
{
	++*(uint32_t *)context;
	return true;
}

static bool view_keep(const struct dns_view *view, void *context)
{
	*(struct dns_view *)context = *view;
	return true;
}

static void key_of(uint32_t number, struct dns_key *ret_key)
{
	*ret_key = (struct dns_key){.name_length = NAME_LENGTH, .type = 16};
	name_write(ret_key->name, number);
}

static void entries_asked_for_near_their_end_are_due_once(void **state)
{
	struct fixture *fixture = *state;
	uint32_t count = 0;

	assert_int_equal(put(fixture, 1, 20, 'a', 100), DNS_TAKEN);
	assert_int_equal(put(fixture, 2, 20, 'a', 100), DNS_TAKEN);
	fixture->now_ms += 89999;
	assert_true(is_cached(fixture, 1));
	assert_int_equal(dns_cache_due(fixture->cache, fixture->now_ms, view_count, &count), 0);
	fixture->now_ms += 1;
	assert_true(is_cached(fixture, 1));
	assert_true(is_cached(fixture, 1));
	assert_int_equal(dns_cache_due(fixture->cache, fixture->now_ms, view_count, &count), 1);
	assert_int_equal(count, 1);
	assert_int_equal(dns_cache_due(fixture->cache, fixture->now_ms, view_count, &count), 0);
	/* refreshed, it may be due again */
	assert_int_equal(put(fixture, 1, 20, 'b', 100), DNS_TAKEN);
	fixture->now_ms += 95000;
	assert_true(is_cached(fixture, 1));
	assert_int_equal(dns_cache_due(fixture->cache, fixture->now_ms, view_count, &count), 1);
	/* one that went meanwhile is nobody's */
	assert_int_equal(put(fixture, 3, 20, 'b', 100), DNS_TAKEN);
	fixture->now_ms += 95000;
	assert_true(is_cached(fixture, 3));
	dns_cache_flush(fixture->cache, (const uint8_t *)"", 1, fixture->now_ms);
	assert_int_equal(dns_cache_due(fixture->cache, fixture->now_ms, view_count, &count), 0);
}

/* What was asked for in vain is asked for again soon: 30 seconds are long when the better answer is there. */
static void stale_entries_are_due_soon(void **state)
{
	const struct dns_put how = {.stale = true, .stale_ttl = 30, .extended_error = -1};
	struct fixture *fixture = *state;
	uint8_t answer[FRAME_MAX];
	uint32_t count = 0;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(dns_cache_put(fixture->cache, answer, answer_write(answer, 1, 20, 'a', 100), &how, fixture->now_ms), DNS_TAKEN);
		fixture->now_ms += 2999;
		assert_true(is_cached(fixture, 1));
		assert_int_equal(dns_cache_due(fixture->cache, fixture->now_ms, view_count, &count), 0);
		fixture->now_ms += 1;
		assert_true(is_cached(fixture, 1));
		assert_true(is_cached(fixture, 1));
		assert_int_equal(dns_cache_due(fixture->cache, fixture->now_ms, view_count, &count), 1);
	}
}

static void hits_are_counted_and_shown(void **state)
{
	struct fixture *fixture = *state;
	struct dns_view view = {0};
	struct dns_key key;

	assert_int_equal(put(fixture, 1, 20, 'a', 100), DNS_TAKEN);
	for (uint32_t i = 0; i < 50; i++)
		assert_true(is_cached(fixture, 1));
	fixture->now_ms += 10500;
	key_of(1, &key);
	assert_true(dns_cache_find(fixture->cache, &key, fixture->now_ms, view_keep, &view));
	assert_int_equal(view.hits, 50);
	assert_int_equal(view.age_ms, 10500);
	assert_int_equal(view.life_ms, 100000);
	key_of(2, &key);
	assert_false(dns_cache_find(fixture->cache, &key, fixture->now_ms, view_keep, &view));
}

/* Far more names than there is room for: all are taken, those that are asked for stay. */
static void names_that_nobody_asks_for_give_way(void **state)
{
	struct fixture *fixture = *state;
	struct dns_cache_size size;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(put(fixture, i, 20, 'a', 100000), DNS_TAKEN);
	for (uint32_t i = 100; i < 5000; i++) {
		fixture->now_ms += 50;
		assert_int_equal(put(fixture, i, 20, 'a', 100000), DNS_TAKEN);
		for (uint32_t k = 0; k < 20; k++)
			is_cached(fixture, k);
	}
	for (uint32_t i = 0; i < 20; i++)
		kept += is_cached(fixture, i);
	assert_in_range(kept, 14, 20); /* a bucket may be full */
	dns_cache_measure(fixture->cache, &size);
	assert_true(size.evicted > 4000);
	assert_in_range(size.entries, NAMES / 2, size.blocks);
}

static void blocks_come_back(void **state)
{
	struct fixture *fixture = *state;
	struct dns_cache_size size;

	for (uint32_t round = 0; round < 200; round++) {
		for (uint32_t i = 0; i < 20; i++)
			assert_int_equal(put(fixture, i, 50 + i * 50, (uint8_t)round, 10), DNS_TAKEN);
		fixture->now_ms += 10000;
		for (uint32_t i = 0; i < 16; i++)
			dns_cache_sweep(fixture->cache, fixture->now_ms);
		dns_cache_measure(fixture->cache, &size);
		assert_int_equal(size.entries, 0);
		assert_int_equal(size.blocks_used, 0);
	}
}

static void next_builder_adopts_what_is_there(void **state)
{
	struct fixture *fixture = *state;
	struct dns_memory memory = memory_of(fixture);
	struct dns_cache_size before, after;

	for (uint32_t i = 0; i < 50; i++)
		assert_int_equal(put(fixture, i, 20 + i * 20, (uint8_t)i, 1000), DNS_TAKEN);
	dns_cache_measure(fixture->cache, &before);
	dns_cache_free(fixture->cache);
	/* a word that leads nowhere, as a torn table might have */
	fixture->tables.dns_buckets[0].words[7] = ~0ull;
	fixture->cache = dns_cache_new(&memory);
	dns_cache_measure(fixture->cache, &after);
	assert_int_equal(after.entries, before.entries);
	assert_int_equal(after.blocks_used, before.blocks_used);
	for (uint32_t i = 0; i < 50; i++)
		assert_true(is_cached(fixture, i));
	for (uint32_t i = 0; i < 50; i++)
		assert_int_equal(put(fixture, i, 20, 'x', 1000), DNS_TAKEN);
	dns_cache_measure(fixture->cache, &after);
	assert_int_equal(after.entries, before.entries);
}

static void entries_are_removed_by_name_and_below_a_name(void **state)
{
	static const uint8_t test[] = "\4TEST", other[] = "\4text", inner[] = "\3est";
	struct fixture *fixture = *state;
	uint8_t name[NAME_LENGTH];
	struct dns_key key;

	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(put(fixture, i, 20, 'a', 1000), DNS_TAKEN);
	name_write(name, 3);
	name[1] = 'N';
	assert_int_equal(dns_cache_remove_name(fixture->cache, name, sizeof(name), fixture->now_ms), 1);
	assert_int_equal(dns_cache_remove_name(fixture->cache, name, sizeof(name), fixture->now_ms), 0);
	assert_false(is_cached(fixture, 3));
	key_of(4, &key);
	key.dnssec_ok = true;
	assert_int_equal(dns_cache_remove(fixture->cache, &key, fixture->now_ms), 0);
	key.dnssec_ok = false;
	assert_int_equal(dns_cache_remove(fixture->cache, &key, fixture->now_ms), 1);
	assert_int_equal(dns_cache_flush(fixture->cache, other, sizeof(other), fixture->now_ms), 0);
	assert_int_equal(dns_cache_flush(fixture->cache, inner, sizeof(inner), fixture->now_ms), 0);
	assert_int_equal(dns_cache_flush(fixture->cache, test, sizeof(test), fixture->now_ms), 8);
	for (uint32_t i = 0; i < 10; i++)
		assert_false(is_cached(fixture, i));
}

static void names_fill_up_and_say_so(void **state)
{
	struct fixture *fixture = *state;
	uint32_t taken = 0;
	int result = 0;

	for (uint32_t i = 0; i < 400000 && result == 0; i++) {
		uint8_t name[] = "\6......\4test";

		for (uint32_t digit = 0, rest = i; digit < 6; digit++, rest /= 10)
			name[1 + digit] = (uint8_t)('0' + rest % 10);
		result = dns_zone_name_add(fixture->cache, name, sizeof(name), fixture->now_ms);
		taken += result == 0;
	}
	assert_int_equal(result, -ENOSPC);
	assert_true(taken > (DNS_WAYS << DNS_NAME_BUCKET_BITS) / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(answers_are_never_torn, setup, teardown),
		cmocka_unit_test_setup_teardown(changed_entry_passes_as_it_came, setup, teardown),
		cmocka_unit_test_setup_teardown(late_reader_touches_no_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(hints_lead_to_nearly_all_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_hints_change_no_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(forgotten_entry_is_no_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(entries_asked_for_near_their_end_are_due_once, setup, teardown),
		cmocka_unit_test_setup_teardown(stale_entries_are_due_soon, setup, teardown),
		cmocka_unit_test_setup_teardown(hits_are_counted_and_shown, setup, teardown),
		cmocka_unit_test_setup_teardown(names_that_nobody_asks_for_give_way, setup, teardown),
		cmocka_unit_test_setup_teardown(blocks_come_back, setup, teardown),
		cmocka_unit_test_setup_teardown(next_builder_adopts_what_is_there, setup, teardown),
		cmocka_unit_test_setup_teardown(entries_are_removed_by_name_and_below_a_name, setup, teardown),
		cmocka_unit_test_setup_teardown(names_fill_up_and_say_so, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

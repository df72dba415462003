/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random queries through all engines, whose caches are filled alike and change while time goes by: they must agree in what
 * becomes of each packet, in the bytes that leave, and in what they count. DPDK gets them in random segments.
 * `dns_diff FRAMES [SEED]`.
 *
 * It sees what the targets make of one source; what is right is said by tests/vectors/dns.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/lib/verdict_text.h"
#include "ctrl/replay/engine_open.h"
#include "dns/cache.h"
#include "edge/edge_program.h"
#include "tests/packet/dns_frames.h"

#define EPOCH 64u
#define SIDES 3u
#define ANSWERS_FIRST 1000u

struct side {
	struct engine *engine;
	struct edge_program *program;
	struct dns_cache *cache;
	struct engine_outcome outcome;
};

struct diff {
	struct side sides[SIDES];
	struct frames frames;
	uint64_t seed, count, answered, taken;
	uint32_t now_ms;
};

static void quiesce(const struct edge_host *host)
{
}

static uint32_t epoch(const struct edge_host *host)
{
	return EPOCH;
}

static const struct edge_host host = {quiesce, epoch};

static int side_open(struct side *side, const char *name, struct error *error)
{
	struct link_wanted link = {.ifindex = 1, .mac = DNS_FRAMES_MAC, .dns = true};
	struct lb_service_wanted services[] = {
		{.port_first = 53, .port_last = 53, .protocol = PROTOCOL_UDP, .dns = true, .udp_idle_epochs = 1, .name = "IPv4"},
		{.port_first = 53, .port_last = 53, .protocol = PROTOCOL_UDP, .dns = true, .udp_idle_epochs = 1, .name = "IPv6"},
	};
	struct edge_wanted wanted = {.hash_seed = 1, .links = &link, .link_count = 1, .services = services, .service_count = 2};
	struct edge_changes changes;
	struct dns_memory memory;
	int result = engine_open(name, &side->engine, error);

	if (result < 0)
		return result;
	if (address_parse("169.254.20.10", &services[0].address) < 0 || address_parse("fd00::a", &services[1].address) < 0)
		return error_set(error, EINVAL, "the addresses");
	side->program = edge_program_new(&side->engine->tables, side->engine->counter_sets, &host);
	if (!side->program)
		return error_set(error, ENOMEM, "no memory");
	result = edge_program_apply(side->program, &wanted, &changes, error);
	if (result < 0)
		return result;
	side->engine->tables.dns->seed = 77; /* the same: which entry gives way to another goes by it */
	memory = (struct dns_memory){side->engine->tables.dns, side->engine->tables.dns_buckets, side->engine->tables.dns_blocks};
	side->cache = dns_cache_new(&memory);
	return side->cache ? 0 : error_set(error, ENOMEM, "no memory");
}

static void side_close(struct side *side)
{
	dns_cache_free(side->cache);
	edge_program_free(side->program);
	engine_freep(&side->engine);
}

/* The same answer into every cache. */
static int answer_put(struct diff *diff)
{
	uint8_t answer[DNS_FRAMES_ANSWER_MAX];
	uint32_t length = dns_frame_answer(&diff->frames, answer);
	struct dns_put how = {
		.dnssec_ok = frames_random(&diff->frames, 3) == 0,
		.checking_disabled = frames_random(&diff->frames, 8) == 0,
		.authentic = frames_random(&diff->frames, 4) == 0,
		.authoritative = frames_random(&diff->frames, 6) == 0,
		.stale = frames_random(&diff->frames, 10) == 0,
		.stale_ttl = 30,
		.extended_error = frames_random(&diff->frames, 6) ? -1 : (int)frames_random(&diff->frames, 25),
		.fixed = frames_random(&diff->frames, 6) == 0,
	};
	enum dns_refusal first = DNS_TAKEN;

	for (uint32_t i = 0; i < SIDES; i++) {
		enum dns_refusal refusal = dns_cache_put(diff->sides[i].cache, answer, length, &how, diff->now_ms);

		if (i == 0)
			first = refusal;
		if (refusal != first) {
			fprintf(stderr, "dns_diff: seed %llu: one cache takes an answer, another does not\n", (unsigned long long)diff->seed);
			return -1;
		}
	}
	diff->taken += first == DNS_TAKEN;
	return 0;
}

static bool outcomes_equal(const struct engine_outcome *a, const struct engine_outcome *b)
{
	if (a->decision.verdict != b->decision.verdict || a->decision.reason != b->decision.reason ||
	    a->decision.function != b->decision.function || a->decision.service != b->decision.service ||
	    a->decision.ifindex != b->decision.ifindex)
		return false;
	return a->decision.verdict != VERDICT_TX || (a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0);
}

static void hex_show(const char *what, const uint8_t *bytes, uint32_t length)
{
	fprintf(stderr, "  %s ", what);
	for (uint32_t i = 0; i < length; i++)
		fprintf(stderr, "%02x", bytes[i]);
	fputc('\n', stderr);
}

static int query_compare(struct diff *diff)
{
	uint8_t frame[FRAMES_LENGTH_MAX];
	uint32_t length = dns_frame_query(&diff->frames, frame), *segments = diff->sides[SIDES - 1].engine->segments;
	struct error error = {0};

	segments[0] = length && frames_random(&diff->frames, 4) ? 1 + frames_random(&diff->frames, length) : 0;
	segments[1] = frames_random(&diff->frames, 2) ? 4 + frames_random(&diff->frames, 200) : 0;
	diff->count++;
	for (uint32_t i = 0; i < SIDES; i++) {
		struct side *side = &diff->sides[i];

		if (engine_run(side->engine, 1, frame, length, &side->outcome, &error) < 0) {
			fprintf(stderr, "dns_diff: running a frame: %s\n", error.text);
			return -1;
		}
		if (outcomes_equal(&diff->sides[0].outcome, &side->outcome))
			continue;
		fprintf(stderr, "dns_diff: frame %llu of seed %llu, segments of %u and %u bytes:\n", (unsigned long long)diff->count,
			(unsigned long long)diff->seed, segments[0], segments[1]);
		hex_show("frame", frame, length);
		for (uint32_t k = 0; k <= i; k += i) {
			const struct engine_outcome *outcome = &diff->sides[k].outcome;

			fprintf(stderr, "%s: %s, reason %u\n", diff->sides[k].engine->name, verdict_name(outcome->decision.verdict),
				outcome->decision.reason);
			if (outcome->decision.verdict == VERDICT_TX)
				hex_show("leaves", outcome->bytes, outcome->length);
		}
		return -1;
	}
	diff->answered += diff->sides[0].outcome.decision.verdict == VERDICT_TX;
	return 0;
}

static uint64_t result_count(const struct side *side, uint32_t result)
{
	uint64_t count = 0;

	for (uint32_t set = 0; set < side->engine->counter_sets; set++)
		count += side->engine->tables.counters[set].dns.results[result];
	return count;
}

static int results_compare(const struct diff *diff)
{
	for (uint32_t result = 0; result < DNS_RESULT_COUNT; result++) {
		for (uint32_t i = 1; i < SIDES; i++) {
			if (result_count(&diff->sides[i], result) == result_count(&diff->sides[0], result))
				continue;
			fprintf(stderr, "dns_diff: seed %llu: %s counts %llu queries of result %u, native %llu\n", (unsigned long long)diff->seed,
				diff->sides[i].engine->name, (unsigned long long)result_count(&diff->sides[i], result), result,
				(unsigned long long)result_count(&diff->sides[0], result));
			return -1;
		}
	}
	return 0;
}

static int zone_add(struct diff *diff)
{
	static const uint8_t zone[] = "\4test", soa[22] = {0};
	const struct dns_denial denial = {.soa = soa, .soa_length = sizeof(soa), .ttl = 5, .owner_length = diff->seed & 1};
	uint8_t name[255];
	uint64_t state = diff->frames.state;
	struct error error = {0};

	for (uint32_t i = 0; i < SIDES; i++) {
		diff->frames.state = state;
		for (uint32_t k = 0; k < 100; k++) {
			uint32_t length = dns_frame_name(&diff->frames, name);

			if (dns_zone_name_add(diff->sides[i].cache, name, length, diff->now_ms) < 0)
				return -1;
		}
		if (dns_zone_put(diff->sides[i].cache, zone, sizeof(zone), &denial, &error) < 0) {
			fprintf(stderr, "dns_diff: %s\n", error.text);
			return -1;
		}
	}
	return 0;
}

static int run(struct diff *diff, uint64_t count)
{
	for (uint32_t i = 0; i < ANSWERS_FIRST; i++) {
		if (answer_put(diff) < 0)
			return -1;
	}
	while (diff->count < count) {
		/* In the second half the zone is known whole, so that names which are not cached are denied. */
		if (diff->count == count / 2 && zone_add(diff) < 0)
			return -1;
		if (frames_random(&diff->frames, 8) == 0 && answer_put(diff) < 0)
			return -1;
		if (frames_random(&diff->frames, 50) == 0) {
			diff->now_ms += frames_random(&diff->frames, 500);
			for (uint32_t i = 0; i < SIDES; i++)
				engine_set_time(diff->sides[i].engine, EPOCH, diff->now_ms);
		}
		if (query_compare(diff) < 0)
			return -1;
	}
	return results_compare(diff);
}

int main(int argc, char **argv)
{
	static const char *const names[SIDES] = {"native", "xdp", "dpdk"};
	static struct diff diff;
	struct error error = {0};
	int result = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: dns_diff FRAMES [SEED]\n");
		return 2;
	}
	diff.seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL);
	diff.frames.state = diff.seed;
	diff.now_ms = 100000;
	printf("dns_diff: seed %llu\n", (unsigned long long)diff.seed);
	fflush(stdout);
	for (uint32_t i = 0; i < SIDES && result == 0; i++) {
		result = side_open(&diff.sides[i], names[i], &error);
		if (result == 0)
			engine_set_time(diff.sides[i].engine, EPOCH, diff.now_ms);
	}
	if (result < 0) {
		printf("%s: %s\n", result == -EPERM ? "SKIP" : "dns_diff", error.text);
		return result == -EPERM ? 77 : 1;
	}
	result = run(&diff, strtoull(argv[1], NULL, 10));
	if (result == 0) {
		printf("dns_diff: %llu queries equal, %llu of them answered from caches with %llu answers:", (unsigned long long)diff.count,
		       (unsigned long long)diff.answered, (unsigned long long)diff.taken);
		for (uint32_t i = 0; i < DNS_RESULT_COUNT; i++)
			printf(" %llu", (unsigned long long)result_count(&diff.sides[0], i));
		putchar('\n');
	}
	for (uint32_t i = 0; i < SIDES; i++)
		side_close(&diff.sides[i]);
	return result < 0 ? 1 : 0;
}

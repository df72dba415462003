/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The golden packets of the DNS cache through an engine: `dns_run ENGINE[:FIRST,MORE] CASES`. Each case begins with an empty cache,
 * fills it with answers as they came off the wire, and sends queries; what must come back was built by others (dns_make.py).
 *
 * Fails when a packet fares otherwise than the file says, or when a drop reason or a result of the cache has no golden packet.
 */
#include <stdio.h>
#include <string.h>

#include "base/lib/verdict_text.h"
#include "base/packet/wire.h"
#include "ctrl/replay/engine_open.h"
#include "dns/cache.h"
#include "edge/edge_program.h"
#include "tests/vectors/cases.h"

#define FRAME_MAX 4096u
#define START_MS 100000u
#define TURNS_MAX 32

static const char *const result_names[DNS_RESULT_COUNT] = {
	[DNS_RESULT_ANSWER] = "answer",   [DNS_RESULT_NEGATIVE] = "negative",   [DNS_RESULT_NO_NAME] = "no_name",
	[DNS_RESULT_STALE] = "stale",     [DNS_RESULT_TRUNCATED] = "truncated", [DNS_RESULT_MISS] = "miss",
	[DNS_RESULT_EXPIRED] = "expired", [DNS_RESULT_UNUSUAL] = "unusual",     [DNS_RESULT_NO_ROOM] = "no_room",
	[DNS_RESULT_TORN] = "torn",
};

struct run {
	struct engine *engine;
	struct dns_cache *cache;
	struct edge_host host;
	struct edge_program *program;
	const char *case_name;
	uint32_t step, failures, cases, packets, now_ms;
	bool results[DNS_RESULT_COUNT], dropped[DROP_COUNT];
};

static void fail(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fail(struct run *run, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s: \"%s\", packet %u: ", run->engine->name, run->case_name, run->step);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	run->failures++;
}

static const char *text_of(json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* --- the node ------------------------------------------------------------------------------------------------------------ */

static void quiesce(const struct edge_host *host)
{
}

static uint32_t epoch(const struct edge_host *host)
{
	return 64;
}

/* What the file says about the node: links with their hardware addresses, DNS addresses. */
static int node_program(struct run *run, json_t *node)
{
	static struct link_wanted links[8];
	static struct lb_service_wanted services[16];
	static char names[16][64];
	struct edge_wanted wanted = {.hash_seed = 1, .links = links, .services = services};
	struct edge_changes changes;
	struct error error = {0};
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(node, "links"), i, item) {
		json_t *ifindex = json_object_get(item, "ifindex");
		uint8_t mac[6];

		hex_read(text_of(item, "mac"), mac, sizeof(mac));
		links[wanted.link_count++] = (struct link_wanted){.ifindex = ifindex ? (uint32_t)json_integer_value(ifindex) : (uint32_t)i + 1,
								  .vlan = (uint16_t)json_integer_value(json_object_get(item, "vlan")),
								  .mac = mac_word(mac),
								  .dns = json_is_true(json_object_get(item, "dns")),
								  .workload = json_is_true(json_object_get(item, "workload"))};
	}
	json_array_foreach(json_object_get(node, "addresses"), i, item) {
		struct lb_service_wanted *service = &services[wanted.service_count];

		snprintf(names[wanted.service_count], sizeof(names[0]), "%s", text_of(item, "address"));
		*service = (struct lb_service_wanted){.port_first = 53, .port_last = 53, .protocol = PROTOCOL_UDP, .dns = true,
						      .udp_idle_epochs = 1, .name = names[wanted.service_count]};
		if (strcmp(text_of(item, "protocol"), "tcp") == 0)
			service->protocol = PROTOCOL_TCP;
		service->client_packets.burst = (uint32_t)json_integer_value(json_object_get(item, "burst"));
		service->client_packets.per_minute = service->client_packets.burst ? 60 : 0;
		service->limit_prefix = 24;
		if (address_parse(text_of(item, "address"), &service->address) < 0)
			return error_set(&error, EINVAL, "address");
		wanted.service_count++;
	}
	run->host = (struct edge_host){quiesce, epoch};
	run->program = edge_program_new(&run->engine->tables, run->engine->counter_sets, &run->host);
	if (!run->program)
		return -ENOMEM;
	if (edge_program_apply(run->program, &wanted, &changes, &error) < 0) {
		fprintf(stderr, "dns_run: %s\n", error.text);
		return -EINVAL;
	}
	return 0;
}

/* --- the cache ---------------------------------------------------------------------------------------------------------- */

static void time_set(struct run *run, uint32_t now_ms)
{
	run->now_ms = now_ms;
	engine_set_time(run->engine, 64, now_ms);
}

static void answer_put(struct run *run, json_t *item)
{
	static const char *const refusals[] = {"taken", "malformed", "question", "code", "truncated", "length", "life", "referral"};
	uint8_t answer[FRAME_MAX];
	uint32_t length = hex_read(text_of(item, "answer"), answer, sizeof(answer));
	json_t *error = json_object_get(item, "extended_error");
	const char *refused = text_of(item, "refused");
	struct dns_put how = {
		.dnssec_ok = json_is_true(json_object_get(item, "do")),
		.checking_disabled = json_is_true(json_object_get(item, "cd")),
		.authentic = json_is_true(json_object_get(item, "authentic")),
		.authoritative = json_is_true(json_object_get(item, "authoritative")),
		.stale = json_is_true(json_object_get(item, "stale")),
		.stale_ttl = 30,
		.extended_error = error ? (int)json_integer_value(error) : -1,
		.fixed = json_is_true(json_object_get(item, "fixed")),
		.life_s = (uint32_t)json_integer_value(json_object_get(item, "life_s")),
	};
	enum dns_refusal refusal = dns_cache_put(run->cache, answer, length, &how, run->now_ms);

	if (strcmp(refusals[refusal], refused ? refused : "taken") != 0)
		fail(run, "the answer is %s, not %s", refusals[refusal], refused ? refused : "taken");
}

static void zone_put(struct run *run, json_t *item)
{
	uint8_t zone[256], soa[512];
	uint32_t zone_length = hex_read(text_of(item, "zone"), zone, sizeof(zone));
	uint32_t soa_length = hex_read(text_of(item, "soa"), soa, sizeof(soa));
	struct dns_denial denial = {
		.soa = soa,
		.soa_length = soa_length,
		.ttl = (uint32_t)json_integer_value(json_object_get(item, "ttl")),
		.owner_length = (size_t)json_integer_value(json_object_get(item, "owner_length")),
	};
	struct error error = {0};
	json_t *name;
	size_t i;

	json_array_foreach(json_object_get(item, "names"), i, name) {
		uint8_t wire[256];
		uint32_t length = hex_read(json_string_value(name), wire, sizeof(wire));

		if (dns_zone_name_add(run->cache, wire, length, run->now_ms) < 0)
			fail(run, "a name has no place");
	}
	if (dns_zone_put(run->cache, zone, zone_length, &denial, &error) < 0)
		fail(run, "%s", error.text);
}

static void zones_clear(struct run *run, json_t *zones)
{
	json_t *item, *name;
	size_t i, k;

	json_array_foreach(zones, i, item) {
		uint8_t wire[256];

		dns_zone_remove(run->cache, wire, hex_read(text_of(item, "zone"), wire, sizeof(wire)));
		json_array_foreach(json_object_get(item, "names"), k, name)
			dns_zone_name_remove(run->cache, wire, hex_read(json_string_value(name), wire, sizeof(wire)), run->now_ms);
	}
}

static void changes_make(struct run *run, json_t *step)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(step, "put"), i, item)
		answer_put(run, item);
	json_array_foreach(json_object_get(step, "zones"), i, item)
		zone_put(run, item);
	json_array_foreach(json_object_get(step, "add_names"), i, item) {
		uint8_t wire[256];

		if (dns_zone_name_add(run->cache, wire, hex_read(json_string_value(item), wire, sizeof(wire)), run->now_ms) < 0)
			fail(run, "a name has no place");
	}
}

/* --- packets ------------------------------------------------------------------------------------------------------------ */

static uint64_t result_count(const struct run *run, uint32_t result)
{
	uint64_t count = 0;

	for (uint32_t set = 0; set < run->engine->counter_sets; set++)
		count += run->engine->tables.counters[set].dns.results[result];
	return count;
}

/* Which of the frames that may leave it is; -1: none. */
static int output_find(struct run *run, json_t *expect, const struct engine_outcome *outcome)
{
	json_t *outs = json_object_get(expect, "out"), *out;
	uint8_t wanted[FRAME_MAX];
	uint32_t length = 0;
	size_t i;

	json_array_foreach(outs, i, out) {
		length = hex_read(json_string_value(out), wanted, sizeof(wanted));
		if (outcome_is(outcome, wanted, length))
			return (int)i;
	}
	fail(run, "another packet leaves");
	outcome_print(outcome, wanted, length);
	return -1;
}

static int outcome_check(struct run *run, json_t *expect, uint32_t ifindex, const struct engine_outcome *outcome)
{
	const struct decision *decision = &outcome->decision;
	const char *verdict = text_of(expect, "verdict"), *reason = text_of(expect, "reason");
	const char *function = text_of(expect, "function");

	if (strcmp(verdict_name(decision->verdict), verdict) != 0 || strcmp(function_name(decision->function), function) != 0 ||
	    (reason && strcmp(drop_name(decision->reason), reason) != 0)) {
		fail(run, "%s by %s (%s), not %s by %s (%s)", verdict_name(decision->verdict), function_name(decision->function),
		     decision->reason ? drop_name(decision->reason) : "", verdict, function, reason ? reason : "");
		return -1;
	}
	run->dropped[decision->reason] = true;
	if (decision->verdict == VERDICT_TX && decision->ifindex != ifindex)
		fail(run, "leaves by interface %u", decision->ifindex);
	return decision->verdict == VERDICT_TX ? output_find(run, expect, outcome) : -1;
}

static void results_check(struct run *run, const uint64_t *before, const char *wanted)
{
	for (uint32_t i = 0; i < DNS_RESULT_COUNT; i++) {
		bool is_it = wanted && strcmp(wanted, result_names[i]) == 0;

		run->results[i] |= is_it;
		if (result_count(run, i) - before[i] != is_it)
			fail(run, "%s is counted%s", result_names[i], is_it ? " no more than before" : "");
	}
}

static void step_run(struct run *run, json_t *step)
{
	json_t *expect = json_object_get(step, "expect");
	uint32_t ifindex = (uint32_t)json_integer_value(json_object_get(step, "link"));
	uint32_t turns = (uint32_t)json_integer_value(json_object_get(step, "turns")), seen = 0;
	uint8_t frame[FRAME_MAX];
	uint32_t length = hex_read(text_of(step, "in"), frame, sizeof(frame));

	time_set(run, START_MS + (uint32_t)json_integer_value(json_object_get(step, "at_ms")));
	changes_make(run, step);
	if (length == 0)
		return;
	run->engine->tailroom_none = json_is_true(json_object_get(step, "tailroom_none"));
	for (uint32_t turn = 0; turn < (turns ? turns : 1); turn++) {
		uint64_t before[DNS_RESULT_COUNT];
		struct engine_outcome outcome;
		struct error error = {0};
		int found;

		for (uint32_t i = 0; i < DNS_RESULT_COUNT; i++)
			before[i] = result_count(run, i);
		run->packets++;
		if (engine_run(run->engine, ifindex, frame, length, &outcome, &error) < 0) {
			fail(run, "%s", error.text);
			break;
		}
		found = outcome_check(run, expect, ifindex, &outcome);
		if (found >= 0 && found < TURNS_MAX)
			seen |= 1u << found;
		results_check(run, before, text_of(expect, "result"));
	}
	run->engine->tailroom_none = false;
	if (turns && seen != (1u << json_array_size(json_object_get(expect, "out"))) - 1)
		fail(run, "not every order is seen: %#x", seen);
}

/* Every beginning of the frame is judged; none leaves. */
static void prefixes_run(struct run *run, json_t *item)
{
	uint8_t frame[FRAME_MAX];
	uint32_t length = hex_read(text_of(item, "prefixes_of"), frame, sizeof(frame));

	for (uint32_t cut = 0; cut < length; cut++) {
		struct engine_outcome outcome;
		struct error error = {0};

		run->step = cut;
		run->packets++;
		if (engine_run(run->engine, 1, frame, cut, &outcome, &error) < 0)
			fail(run, "%s", error.text);
		else if (outcome.decision.verdict == VERDICT_TX)
			fail(run, "a frame cut off at this byte is answered");
	}
}

static void case_run(struct run *run, json_t *item)
{
	static const uint8_t root[1];
	json_t *step;
	size_t i;

	run->case_name = text_of(item, "name");
	run->step = 0;
	if (!case_is_for(item, run->engine)) {
		json_array_foreach(json_object_get(item, "steps"), i, step) {
			const char *result = text_of(json_object_get(step, "expect"), "result");

			for (uint32_t k = 0; k < DNS_RESULT_COUNT && result; k++)
				run->results[k] |= strcmp(result, result_names[k]) == 0;
		}
		return;
	}
	run->cases++;
	time_set(run, START_MS);
	changes_make(run, item);
	if (json_object_get(item, "prefixes_of"))
		prefixes_run(run, item);
	json_array_foreach(json_object_get(item, "steps"), i, step) {
		run->step = (uint32_t)i;
		step_run(run, step);
	}
	dns_cache_flush(run->cache, root, sizeof(root), run->now_ms);
	zones_clear(run, json_object_get(item, "zones"));
}

static void coverage_check(struct run *run)
{
	for (uint32_t i = 0; i < DNS_RESULT_COUNT; i++) {
		if (!run->results[i] && i != DNS_RESULT_TORN) { /* which takes two threads: edge_dns_test */
			fprintf(stderr, "no golden packet is counted as %s\n", result_names[i]);
			run->failures++;
		}
	}
	for (uint32_t i = 1; i < DROP_COUNT; i++) {
		if (strncmp(drop_name(i), "dns_", 4) == 0 && !run->dropped[i]) {
			fprintf(stderr, "no golden packet is dropped as %s\n", drop_name(i));
			run->failures++;
		}
	}
}

int main(int argc, char **argv)
{
	static struct run run;
	struct error error = {0};
	struct dns_memory memory;
	char engine[16] = "";
	uint32_t segments[2] = {0};
	json_t *file, *item;
	json_error_t where;
	size_t i;

	if (argc != 3 || sscanf(argv[1], "%15[a-z]:%u,%u", engine, &segments[0], &segments[1]) < 1) {
		fprintf(stderr, "usage: dns_run native|xdp|dpdk[:FIRST,MORE] CASES\n");
		return 2;
	}
	file = json_load_file(argv[2], 0, &where);
	if (!file) {
		fprintf(stderr, "%s: %s\n", argv[2], where.text);
		return 1;
	}
	if (engine_open(engine, &run.engine, &error) < 0) {
		printf("SKIP: %s\n", error.text);
		return 77;
	}
	memcpy(run.engine->segments, segments, sizeof(segments));
	if (node_program(&run, json_object_get(file, "node")) < 0)
		return 1;
	memory = (struct dns_memory){run.engine->tables.dns, run.engine->tables.dns_buckets, run.engine->tables.dns_blocks};
	run.cache = dns_cache_new(&memory);
	if (!run.cache)
		return 1;
	json_array_foreach(json_object_get(file, "cases"), i, item)
		case_run(&run, item);
	coverage_check(&run);
	printf("%s: %u cases, %u packets, %u failures\n", argv[1], run.cases, run.packets, run.failures);
	dns_cache_free(run.cache);
	edge_program_free(run.program);
	engine_freep(&run.engine);
	json_decref(file);
	return run.failures ? 1 : 0;
}

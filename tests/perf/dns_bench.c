/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nanoseconds for a query that the cache answers, in XDP: tools/bench dns. Lines of JSON on standard output.
 *
 * Each round times the packet program beside a bare exchange of addresses on the same frames. What it takes to shrink the frame
 * for the next query is no part of an answer, and is taken off: half of what growing and shrinking cost the bare exchange.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <string.h>

#include "base/packet/wire.h"
#include "dns/cache.h"
#include "dns_bench.skel.h"
#include "ebpf/loader_internal.h"
#include "edge/edge_program.h"
#include "tests/perf/bench_result.h"
#include "tests/perf/dns_bench.h"

#define LINK 1u
#define REPEAT 20000u
#define REPEAT_MANY 200000u
#define FRAME_MAX 512u
#define NAME_LEAST 24u

struct way {
	const char *name, *text;
	uint32_t names;
	uint32_t name_length; /* on the wire, with the root's label */
	uint32_t addresses;   /* A records; 0: one TXT record of text_length */
	uint32_t text_length;
	enum dns_result result;
	double aim_ns;
};

struct bench {
	struct loader *loader;
	struct edge_program *program;
	struct dns_cache *cache;
	struct dns_bench *programs;
	struct edge_host host;
	struct error error;
	uint32_t names; /* that the tables were made for */
	uint8_t frame[FRAME_MAX];
	uint32_t length;
};

static void host_quiesce(const struct edge_host *host)
{
}

static uint32_t host_epoch(const struct edge_host *host)
{
	return 64;
}

static void fail(const struct bench *bench, const char *what)
{
	fprintf(stderr, "dns_bench: %s: %s\n", what, bench->error.text[0] ? bench->error.text : strerror(errno));
	exit(1);
}

static void write16(uint8_t *place, uint32_t value)
{
	place[0] = (uint8_t)(value >> 8);
	place[1] = (uint8_t)value;
}

/* The number'th name: a label of eight letters, and others until it is long enough. */
static void name_write(uint8_t *place, const struct way *way, uint32_t number)
{
	uint64_t letters = dns_bench_letters(number);
	uint32_t left = way->name_length - 10, take;

	*place++ = 8;
	memcpy(place, &letters, 8);
	for (place += 8; left; left -= take + 1, place += take + 1) {
		take = left > 64 ? (left == 65 ? 62 : 63) : left - 1;
		place[0] = (uint8_t)take;
		memset(place + 1, 'x', take);
	}
	*place = 0;
}

static uint32_t answer_write(uint8_t *answer, const struct way *way, uint32_t number)
{
	static const uint8_t head[12] = {0, 1, 0x81, 0x80, 0, 1};
	uint8_t *at = answer + 12;
	uint16_t type = way->addresses ? DNS_TYPE_A : 16;

	memcpy(answer, head, sizeof(head));
	write16(answer + 6, way->addresses ? way->addresses : 1);
	name_write(at, way, number);
	at += way->name_length;
	write16(at, type);
	write16(at + 2, DNS_CLASS_IN);
	at += 4;
	for (uint32_t i = 0; i < (way->addresses ? way->addresses : 1); i++) {
		uint32_t length = way->addresses ? 4 : way->text_length;

		write16(at, 0xc00c);
		write16(at + 2, type);
		write16(at + 4, DNS_CLASS_IN);
		write16(at + 6, 1);
		write16(at + 8, 0); /* 65536 s */
		write16(at + 10, length);
		memset(at + 12, (int)(0x0a + i), length);
		at += 12 + length;
	}
	return (uint32_t)(at - answer);
}

/* A query for the first name; the programs number it. */
static void query_write(struct bench *bench, const struct way *way)
{
	static const uint8_t head[DNS_BENCH_HEAD] = {
		2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 9,
		169, 254, 20, 10, 0x9c, 0x40, 0, 53, 0, 0, 0x12, 0x34, 0x12, 0x34, 1, 0, 0, 1};
	uint32_t length = DNS_BENCH_HEAD + way->name_length + 4;

	memcpy(bench->frame, head, sizeof(head));
	write16(bench->frame + 16, length - 14);
	write16(bench->frame + 38, length - 34);
	if (way->result == DNS_RESULT_UNUSUAL)
		bench->frame[44] |= 0x08; /* an opcode */
	name_write(bench->frame + DNS_BENCH_HEAD, way, 0);
	write16(bench->frame + length - 4, way->addresses ? DNS_TYPE_A : 16);
	write16(bench->frame + length - 2, DNS_CLASS_IN);
	bench->length = length;
}

static void node_program(struct bench *bench)
{
	const struct link_wanted link = {.ifindex = LINK, .mac = 0x010000000002ull, .dns = true};
	struct lb_service_wanted service = {.port_first = 53, .port_last = 53, .protocol = PROTOCOL_UDP, .dns = true,
					    .udp_idle_epochs = 1, .name = "dns"};
	struct edge_wanted wanted = {.hash_seed = 1, .links = &link, .link_count = 1, .services = &service, .service_count = 1};
	struct edge_changes changes;

	bench->host = (struct edge_host){host_quiesce, host_epoch};
	bench->program = edge_program_new(loader_tables(bench->loader), loader_counter_sets(bench->loader), &bench->host);
	if (address_parse("169.254.20.10", &service.address) < 0 || !bench->program ||
	    edge_program_apply(bench->program, &wanted, &changes, &bench->error) < 0)
		fail(bench, "programming the node");
}

static void cache_fill(struct bench *bench, const struct way *way)
{
	const struct dns_put how = {.extended_error = -1};
	uint32_t now_ms = loader_now_ms(bench->loader), put = 0;
	uint8_t answer[2048];

	for (uint32_t i = 0; i < way->names && way->result == DNS_RESULT_ANSWER; i++)
		put += dns_cache_put(bench->cache, answer, answer_write(answer, way, i), &how, now_ms) == DNS_TAKEN;
	if (way->result == DNS_RESULT_ANSWER && put != way->names)
		fail(bench, "filling the cache");
	if (way->result == DNS_RESULT_NO_NAME) {
		uint8_t name[256], soa[22] = {0};
		const struct dns_denial denial = {.soa = soa, .soa_length = sizeof(soa), .ttl = 5};

		name_write(name, way, 0);
		if (dns_zone_put(bench->cache, name + 9, way->name_length - 9, &denial, &bench->error) < 0)
			fail(bench, "making the zone");
	}
}

static double time_one(struct bench *bench, struct bpf_program *program, uint32_t repeat, int verdict)
{
	uint8_t out[2048];
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = bench->frame, .data_size_in = bench->length, .data_out = out,
		    .data_size_out = sizeof(out), .repeat = (int)repeat);

	if (bpf_prog_test_run_opts(bpf_program__fd(program), &options) < 0)
		fail(bench, "running queries");
	if (verdict >= 0 && (int)options.retval != verdict) {
		fprintf(stderr, "dns_bench: the verdict is %u, not %d\n", options.retval, verdict);
		exit(1);
	}
	return options.duration;
}

static uint64_t results_of(const struct bench *bench, enum dns_result result)
{
	const struct edge_tables *tables = loader_tables(bench->loader);
	uint64_t count = 0;

	for (uint32_t set = 0; set < loader_counter_sets(bench->loader); set++)
		count += tables->counters[set].dns.results[result];
	return count;
}

static void bench_open(struct bench *bench, uint32_t names)
{
	struct dns_memory memory;
	const struct edge_tables *tables;

	bench->names = names;
	loader_dns_names(names + names / 3 + 1000);
	if (loader_open(NULL, &bench->loader, &bench->error) < 0)
		fail(bench, "loading the packet program");
	tables = loader_tables(bench->loader);
	tables->config->ingress_override = LINK;
	memory = (struct dns_memory){tables->dns, tables->dns_buckets, tables->dns_blocks};
	bench->cache = dns_cache_new(&memory);
	bench->programs = dns_bench__open();
	if (!bench->cache || !bench->programs || bpf_map__set_max_entries(bench->programs->maps.bench_dns_blocks, tables->dns->block_count) < 0 ||
	    dns_bench__load(bench->programs) < 0)
		fail(bench, "loading the benchmark's programs");
	node_program(bench);
}

static void bench_close(struct bench *bench)
{
	dns_bench__destroy(bench->programs);
	dns_cache_free(bench->cache);
	edge_program_free(bench->program);
	loader_close(bench->loader);
	*bench = (struct bench){0};
}

static void programs_join(struct bench *bench, const struct way *way)
{
	struct dns_bench_config config = {.names = way->names, .length = bench->length, .blocks = loader_tables(bench->loader)->dns->block_count};
	uint32_t zero = 0;

	config.growth = way->result >= DNS_RESULT_MISS ? 0 : way->addresses ? 16 * way->addresses : 12 + way->text_length;
	memcpy(config.frame, bench->frame, DNS_BENCH_HEAD);
	if (bpf_map_update_elem(bpf_map__fd(bench->programs->maps.bench_dns_config), &zero, &config, BPF_ANY) < 0 ||
	    bpf_map_update_elem(bpf_map__fd(bench->programs->maps.bench_dns_programs), &zero, &bench->loader->program_xdp, BPF_ANY) < 0)
		fail(bench, "joining the programs");
}

struct rounds {
	double over[BENCH_ROUNDS], swap[BENCH_ROUNDS];
	double touch[BENCH_ROUNDS]; /* over the swap: one load from a table as large as the cache */
	double least_swap, least_grow, least_edge, least_touch; /* each program's best round: what nobody disturbed */
};

/* 0: none yet */
static double lesser(double least, double value)
{
	return least == 0 || value < least ? value : least;
}

static void rounds_time(struct bench *bench, const struct way *way, struct rounds *ret_rounds)
{
	uint32_t repeat = way->names > 1000 ? REPEAT_MANY : REPEAT;
	int verdict = way->result >= DNS_RESULT_MISS ? XDP_PASS : XDP_TX;

	time_one(bench, bench->programs->progs.bench_dns_edge, repeat, -1);
	for (uint32_t round = 0; round < BENCH_ROUNDS; round++) {
		double swap = time_one(bench, bench->programs->progs.bench_dns_swap, repeat, XDP_TX);
		double grow = way->result >= DNS_RESULT_MISS ? swap : time_one(bench, bench->programs->progs.bench_dns_grow, repeat, XDP_TX);
		uint64_t before = results_of(bench, way->result);
		double edge = time_one(bench, bench->programs->progs.bench_dns_edge, repeat, way->names > 1000 ? -1 : verdict);

		/* where buckets are full, a name in some thousands is not there */
		if (results_of(bench, way->result) - before < repeat - repeat / 500)
			fail(bench, "queries without an answer");
		ret_rounds->swap[round] = swap;
		ret_rounds->over[round] = edge - swap - (grow - swap) / 2;
		ret_rounds->touch[round] = time_one(bench, bench->programs->progs.bench_dns_touch, repeat, XDP_TX) - swap;
		ret_rounds->least_swap = lesser(ret_rounds->least_swap, swap);
		ret_rounds->least_grow = lesser(ret_rounds->least_grow, grow);
		ret_rounds->least_edge = lesser(ret_rounds->least_edge, edge);
		ret_rounds->least_touch = lesser(ret_rounds->least_touch, ret_rounds->touch[round] + swap);
	}
}

/* The programs, with an empty cache for so many names: loading them takes longer than a case does. */
static void bench_ready(struct bench *bench, const struct way *way)
{
	static const uint8_t root = 0;
	uint8_t name[256];

	if (bench->loader && bench->names != way->names)
		bench_close(bench);
	if (!bench->loader)
		bench_open(bench, way->names);
	dns_cache_flush(bench->cache, &root, sizeof(root), loader_now_ms(bench->loader));
	name_write(name, way, 0);
	dns_zone_remove(bench->cache, name + 9, way->name_length - 9);
}

static double way_time(struct bench *bench, const struct way *way, double to)
{
	struct bench_spread over, swap, touch;
	struct dns_cache_size size;
	struct rounds rounds = {0};
	double memory, least;

	bench_ready(bench, way);
	query_write(bench, way);
	cache_fill(bench, way);
	programs_join(bench, way);
	rounds_time(bench, way, &rounds);
	dns_cache_measure(bench->cache, &size);
	/* blocks in use, the words and hints that lead there, and the share of buckets that stays empty */
	memory = size.entries ? (256.0 * size.blocks_used + 65.0 * (loader_tables(bench->loader)->dns->bucket_mask + 1.0)) / size.entries : 0;
	over = bench_spread(rounds.over);
	swap = bench_spread(rounds.swap);
	touch = bench_spread(rounds.touch);
	least = rounds.least_edge - rounds.least_swap - (rounds.least_grow - rounds.least_swap) / 2;
	printf("{\"bench\":\"dns\",\"case\":\"%s\",\"text\":\"%s\",\"over_swap_ns\":%.1f,\"over_swap_low_ns\":%.1f,"
	       "\"over_swap_high_ns\":%.1f,\"least_over_swap_ns\":%.1f,\"least_access_ns\":%.1f,\"swap_ns\":%.1f,\"access_ns\":%.1f,\"to_thousand\":%.2f,\"bytes_a_name\":%.0f,\"rounds\":%u",
	       way->name, way->text, over.median, over.low, over.high, least, rounds.least_touch - rounds.least_swap, swap.median, touch.median, to > 0 ? over.median / to : 0, memory, BENCH_ROUNDS);
	if (way->aim_ns)
		printf(",\"aim\":%g,\"met\":%s", way->aim_ns, over.median <= way->aim_ns ? "true" : "false");
	printf("}\n");
	fflush(stdout);
	return over.median;
}

/* Whether the case is among those that were named; all are when none was. */
static bool is_wanted(const struct way *way, char **names)
{
	for (char **name = names; *name; name++) {
		if (strcmp(*name, way->name) == 0)
			return true;
	}
	return !*names;
}

int main(int argc, char **argv)
{
	static const struct way ways[] = {
		{"name_12", "1 name of 12 bytes, 1 address", 1, 12, 1, 0, DNS_RESULT_ANSWER, 0},
		{"name_24", "1 name of 24 bytes, 1 address", 1, 24, 1, 0, DNS_RESULT_ANSWER, 0},
		{"name_64", "1 name of 64 bytes, 1 address", 1, 64, 1, 0, DNS_RESULT_ANSWER, 0},
		{"name_128", "1 name of 128 bytes, 1 address", 1, 128, 1, 0, DNS_RESULT_ANSWER, 0},
		{"name_255", "1 name of 255 bytes, 1 address", 1, 255, 1, 0, DNS_RESULT_ANSWER, 0},
		{"answer_4", "1 name of 24 bytes, 4 addresses", 1, 24, 4, 0, DNS_RESULT_ANSWER, 0},
		{"answer_200", "1 name of 24 bytes, 212 bytes of text", 1, 24, 0, 200, DNS_RESULT_ANSWER, 0},
		{"answer_500", "1 name of 24 bytes, 512 bytes of text", 1, 24, 0, 440, DNS_RESULT_ANSWER, 0},
		{"no_name", "no such name in a zone known whole", 1000, 24, 1, 0, DNS_RESULT_NO_NAME, 0},
		{"unusual", "not a plain query", 1000, 24, 1, 0, DNS_RESULT_UNUSUAL, 0},
		{"miss", "not in the cache", 1000, 24, 1, 0, DNS_RESULT_MISS, 0},
		{"names_1000", "1 000 names of 24 bytes, 4 addresses", 1000, 24, 4, 0, DNS_RESULT_ANSWER, 0},
		{"names_10000", "10 000 names", 10000, 24, 4, 0, DNS_RESULT_ANSWER, 200},
		{"names_100000", "100 000 names", 100000, 24, 4, 0, DNS_RESULT_ANSWER, 0},
		{"names_1000000", "1 000 000 names", 1000000, 24, 4, 0, DNS_RESULT_ANSWER, 0}, /* aim: twice a thousand's */
	};
	static struct bench bench;
	double thousand = 0;

	bench_pin(0);
	libbpf_set_print(NULL);
	loader_address_tables();
	for (size_t i = 0; i < array_length(ways); i++) {
		double over;

		if (!is_wanted(&ways[i], argv + 1))
			continue;
		over = way_time(&bench, &ways[i], thousand);
		if (strcmp(ways[i].name, "names_1000") == 0)
			thousand = over;
	}
	if (bench.loader)
		bench_close(&bench);
	return 0;
}

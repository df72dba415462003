/* SPDX-License-Identifier: Apache-2.0 */
/* The resolver with its zones, kept answers and packets' cache, on ordinary memory; nobody is asked. */
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/lib/address_text.h"
#include "base/lib/bytes.h"
#include "base/lib/clock.h"
#include "base/lib/memory.h"
#include "dns/cache.h"
#include "dns/control.h"

#define NAMES 256

/* --- tables that a file in a directory stands for ------------------------------------------------------------------------- */

static struct dns_memory tables;

int dns_memory_open(const char *directory, struct dns_memory *ret_memory, struct error *error)
{
	*ret_memory = tables;
	return 0;
}

void dns_memory_close(struct dns_memory *memory)
{
	*memory = (struct dns_memory){0};
}

static void tables_make(void)
{
	uint32_t buckets, blocks;

	dns_sizes(NAMES, &buckets, &blocks);
	tables.tables = memory_or_end(calloc(1, sizeof(*tables.tables)));
	tables.tables->bucket_mask = buckets - 1;
	tables.tables->block_count = blocks;
	tables.buckets = memory_or_end(aligned_alloc(64, buckets * sizeof(*tables.buckets)));
	tables.blocks = memory_or_end(aligned_alloc(64, blocks * sizeof(*tables.blocks)));
	memset(tables.buckets, 0, buckets * sizeof(*tables.buckets));
	memset(tables.blocks, 0, blocks * sizeof(*tables.blocks));
}

static void tables_free(void)
{
	free(tables.tables);
	free(tables.buckets);
	free(tables.blocks);
}

/* --- a process ------------------------------------------------------------------------------------------------------------- */

struct process {
	char directory[64], pin[80];
	struct dns_config config;
	struct event_base *base;
	struct zone_set *zones;
	struct steering *steering;
	struct feed *feed;
	struct resolver *resolver;
	struct control *control;
};

#define NAMES_TOLD                                                                                                             \
	"{\"op\":\"names\",\"version\":1,\"snapshot\":true,"                                                                    \
	"\"zones\":[{\"name\":\"cluster.local\",\"partial\":false,\"pods\":true,\"negativeTtl\":5}],\"records\":["              \
	"[\"web.default.svc.cluster.local\",\"A\",5,\"0a60000a\"],"                                                             \
	"[\"inside.default.svc.cluster.local\",\"CNAME\",5,\"037765620764656661756c740373766307636c7573746572056c6f63616c00\"]," \
	"[\"self.default.svc.cluster.local\",\"CNAME\",5,\"0473656c660764656661756c740373766307636c7573746572056c6f63616c00\"],"  \
	"[\"away.default.svc.cluster.local\",\"CNAME\",5,\"0377777703636f6d00\"],"                                              \
	"[\"round.default.svc.cluster.local\",\"CNAME\",5,\"05726f756e6403636f6d00\"]]}"

static void told(struct process *process, const char *text)
{
	json_t *message = json_loads(text, 0, NULL), *reply;

	assert_non_null(message);
	reply = control_handle(process->control, message);
	assert_null(json_object_get(reply, "error"));
	json_decref(reply);
	json_decref(message);
}

static void process_start(struct process *process)
{
	struct control_parts parts;
	struct error error = {0};
	FILE *pin;

	*process = (struct process){.directory = "/tmp/resolver_test.XXXXXX",
				    .config = {.cluster_domain = (char *)"cluster.local", .cache_bytes = 64 << 20, .autopath = true}};
	assert_non_null(mkdtemp(process->directory));
	snprintf(process->pin, sizeof(process->pin), "%s/edge_dns", process->directory);
	pin = fopen(process->pin, "w");
	assert_non_null(pin);
	fclose(pin);
	tables_make();
	process->base = event_base_new();
	process->zones = zone_set_new();
	process->steering = steering_new(NULL, NULL);
	process->feed = feed_new(process->base, process->directory, process->zones, false);
	assert_int_equal(resolver_new(process->base, &process->config, process->zones, process->steering, process->feed,
				      &process->resolver, &error), 0);
	parts = (struct control_parts){.base = process->base, .zones = process->zones, .steering = process->steering,
				       .resolver = process->resolver, .feed = process->feed, .run_directory = process->directory};
	assert_int_equal(control_new(&parts, &process->control, &error), 0);
}

static void process_end(struct process *process)
{
	control_free(process->control);
	resolver_free(process->resolver);
	feed_free(process->feed);
	steering_free(process->steering);
	zone_set_free(process->zones);
	event_base_free(process->base);
	tables_free();
	unlink(process->pin);
	snprintf(process->pin, sizeof(process->pin), "%s/" DNS_CONTROL_SOCKET, process->directory);
	unlink(process->pin);
	assert_int_equal(rmdir(process->directory), 0);
}

static struct dns_name name_of(const char *text)
{
	struct dns_name name;

	assert_int_equal(dns_name_parse(text, &name), 0);
	return name;
}

/*
 * What others answered for `name` a while ago: CNAME records from each name to the next, and an address of the last, or, when
 * `exists` is false, that it is not there.
 */
static void kept(struct process *process, uint32_t age_s, bool exists, const char *const *chain)
{
	uint64_t now = clock_us() / 1000;
	struct answer answer = {.key = {.name = name_of(chain[0]), .type = DNS_A}, .rcode = exists ? DNS_NOERROR : DNS_NXDOMAIN,
				.ttl = 60, .ede = DNS_EDE_NONE, .stored_ms = now - age_s * 1000, .expires_ms = now + (60 - age_s) * 1000};
	uint8_t bytes[1024];
	struct dns_writer writer;
	struct dns_name name = answer.key.name, next;

	dns_writer_start(&writer, bytes, sizeof(bytes), 0, (uint16_t)(0x8180 | answer.rcode), &name, DNS_A, DNS_IN);
	for (; *++chain; name = next) {
		next = name_of(*chain);
		dns_writer_add(&writer, DNS_ANSWER, &name, DNS_CNAME, DNS_IN, 60, next.bytes, next.length);
	}
	if (exists)
		dns_writer_add(&writer, DNS_ANSWER, &name, DNS_A, DNS_IN, 60, (const uint8_t[]){192, 0, 2, 66}, 4);
	else
		dns_writer_add(&writer, DNS_AUTHORITY, &(struct dns_name){.length = 1}, DNS_SOA, DNS_IN, 60,
			       (const uint8_t[22]){[20] = 0, [21] = 60}, 22);
	answer.plain = bytes;
	answer.plain_length = (uint16_t)dns_writer_end(&writer);
	answers_put(resolver_answers(process->resolver), &answer);
}

#define KEPT(process, age, exists, ...) kept(process, age, exists, (const char *const[]){__VA_ARGS__, NULL})

/* --- questions --------------------------------------------------------------------------------------------------------------- */

/* "NOERROR aa; www.com CNAME 50 web.…; web.… A 5 10.96.0.10": what of an answer these tests are about. */
static char said[2048];

static void answer_note(struct dns_request *request, const uint8_t *answer, size_t length)
{
	struct dns_record record;
	struct dns_walk walk;
	size_t used;

	used = (size_t)snprintf(said, sizeof(said), "%s%s", dns_rcode_name(answer[3] & 15u), answer[2] & 4 ? " aa" : "");
	assert_int_equal(dns_walk_start(&walk, answer, length), 0);
	while (dns_walk_next(&walk, &record) > 0) {
		char owner[DNS_NAME_TEXT_SIZE], type[16], data[DNS_NAME_TEXT_SIZE] = "";
		size_t offset = record.data_offset;
		struct dns_name target;

		if (record.section != DNS_ANSWER)
			continue;
		if (record.type == DNS_CNAME && dns_name_read(answer, length, &offset, &target) == 0)
			dns_name_format(&target, data);
		else if (record.type == DNS_A)
			snprintf(data, sizeof(data), "%u.%u.%u.%u", answer[offset], answer[offset + 1], answer[offset + 2], answer[offset + 3]);
		used += (size_t)snprintf(said + used, sizeof(said) - used, "; %s %s %u %s", dns_name_format(&record.owner, owner),
					 dns_type_format(record.type, type), record.ttl, data);
	}
}

static const char *ask(struct process *process, const char *name, uint16_t type)
{
	struct dns_request request = {.transport = DNS_OVER_TCP, .done = answer_note, .received_us = clock_us()};

	request.query = (struct dns_query){.flags = DNS_FLAG_RD, .class = DNS_IN, .type = type, .udp_size = 512, .name = name_of(name)};
	request.query.question_length = (uint16_t)(request.query.name.length + 4);
	memcpy(request.question, request.query.name.bytes, request.query.name.length);
	bytes_put16(request.question + request.query.name.length, type);
	bytes_put16(request.question + request.query.name.length + 2, DNS_IN);
	*said = '\0';
	resolver_take(process->resolver, &request, DNS_QUERY_TAKE, 0);
	return said;
}

static bool key_visit(const struct dns_view *view, void *context)
{
	return true;
}

/* Whether packets would be answered. */
static bool packets_know(const char *text)
{
	struct dns_cache *cache = dns_cache_new(&tables);
	struct dns_name name = name_of(text);
	struct dns_key key = {.name_length = name.length, .type = DNS_A};
	bool known;

	memcpy(key.name, name.bytes, name.length);
	known = dns_cache_find(cache, &key, dns_cache_now_ms(cache), key_visit, NULL);
	dns_cache_free(cache);
	return known;
}

/* --- tests ------------------------------------------------------------------------------------------------------------------- */

static void what_is_kept_goes_to_packets_at_the_start(void **state)
{
	struct process process;

	process_start(&process);
	told(&process, NAMES_TOLD);
	KEPT(&process, 10, true, "www.com");
	KEPT(&process, 10, true, "old.svc.cluster.local"); /* from when it was not ours */
	KEPT(&process, 10, false, "shop.com", "web.default.svc.cluster.local");
	assert_false(packets_know("www.com"));
	feed_open(process.feed);
	assert_true(packets_know("www.com"));
	assert_false(packets_know("old.svc.cluster.local"));
	assert_false(packets_know("shop.com"));
	process_end(&process);
}

static void what_is_kept_fills_packets_cache_and_no_more(void **state)
{
	struct process process;
	char name[32];
	json_t *size;

	process_start(&process);
	for (int i = 0; i < 4 * NAMES; i++) {
		snprintf(name, sizeof(name), "n%d.com", i);
		KEPT(&process, 10, true, name);
	}
	feed_open(process.feed);
	size = feed_json(process.feed);
	assert_true(json_integer_value(json_object_get(size, "refused")) < 100);
	assert_true(json_integer_value(json_object_get(size, "entries")) > NAMES / 2);
	json_decref(size);
	/* what was asked for last */
	assert_true(packets_know(name));
	assert_false(packets_know("n0.com"));
	process_end(&process);
}

#define POLICY "{\"op\":\"steering\",\"policies\":[{\"name\":\"default/app\",\"host\":\"app.com\",\"ttl\":20,\"minHealthyPercent\":0,"     \
	"\"nameServers\":[],\"contact\":\"\",\"sites\":[{\"name\":\"a\",\"weight\":1,\"order\":0,\"places\":[],\"prefixes\":[],"           \
	"\"load\":-1,\"loadLow\":0,\"loadHigh\":0,\"addresses\":[{\"address\":\"192.0.2.7\",\"health\":\"up\"}]}]}]}"

static void aliases_of_others_lead_here(void **state)
{
	struct process process;

	process_start(&process);
	told(&process, NAMES_TOLD);
	feed_open(process.feed);
	KEPT(&process, 10, false, "shop.com", "cdn.com", "web.default.svc.cluster.local");
	assert_string_equal(ask(&process, "shop.com", DNS_A),
			    "NOERROR; shop.com CNAME 50 cdn.com; cdn.com CNAME 50 web.default.svc.cluster.local; "
			    "web.default.svc.cluster.local A 5 10.96.0.10");
	/* the alias itself is what others say of it */
	KEPT(&process, 10, false, "gone.com", "none.default.svc.cluster.local");
	assert_string_equal(ask(&process, "gone.com", DNS_A), "NXDOMAIN; gone.com CNAME 50 none.default.svc.cluster.local");
	/* what others say of our names is not heard */
	KEPT(&process, 10, true, "liar.com", "web.default.svc.cluster.local");
	assert_string_equal(ask(&process, "liar.com", DNS_A),
			    "NOERROR; liar.com CNAME 50 web.default.svc.cluster.local; web.default.svc.cluster.local A 5 10.96.0.10");
	/* from here to others, and back */
	KEPT(&process, 10, false, "www.com", "web.default.svc.cluster.local");
	assert_string_equal(ask(&process, "away.default.svc.cluster.local", DNS_A),
			    "NOERROR; away.default.svc.cluster.local CNAME 5 www.com; www.com CNAME 50 web.default.svc.cluster.local; "
			    "web.default.svc.cluster.local A 5 10.96.0.10");
	/* as a search list has it */
	assert_string_equal(ask(&process, "shop.com.default.svc.cluster.local", DNS_A),
			    "NOERROR; shop.com.default.svc.cluster.local CNAME 50 shop.com; shop.com CNAME 50 cdn.com; "
			    "cdn.com CNAME 50 web.default.svc.cluster.local; web.default.svc.cluster.local A 5 10.96.0.10");
	assert_string_equal(ask(&process, "away.default.default.svc.cluster.local", DNS_A),
			    "NOERROR; away.default.default.svc.cluster.local CNAME 5 away.default.svc.cluster.local; "
			    "away.default.svc.cluster.local CNAME 5 www.com; www.com CNAME 50 web.default.svc.cluster.local; "
			    "web.default.svc.cluster.local A 5 10.96.0.10");
	/* packets are told nothing of it: our names change without notice to those that lead to them */
	assert_false(packets_know("shop.com") || packets_know("away.default.svc.cluster.local") ||
		     packets_know("shop.com.default.svc.cluster.local"));
	process_end(&process);
}

static void aliases_of_others_lead_to_steered_names(void **state)
{
	struct process process;

	process_start(&process);
	KEPT(&process, 10, true, "www.com", "app.com");
	KEPT(&process, 10, true, "else.com", "thing.com");
	feed_open(process.feed);
	assert_string_equal(ask(&process, "www.com", DNS_A), "NOERROR; www.com CNAME 50 app.com; app.com A 50 192.0.2.66");
	assert_true(packets_know("www.com") && packets_know("else.com"));
	told(&process, POLICY);
	assert_string_equal(ask(&process, "www.com", DNS_A), "NOERROR; www.com CNAME 50 app.com; app.com A 20 192.0.2.7");
	assert_false(packets_know("www.com"));
	assert_true(packets_know("else.com"));
	process_end(&process);
}

static void circles_are_errors(void **state)
{
	struct process process;

	process_start(&process);
	told(&process, NAMES_TOLD);
	feed_open(process.feed);
	assert_string_equal(ask(&process, "self.default.svc.cluster.local", DNS_A), "SERVFAIL");
	assert_string_equal(ask(&process, "self.default.svc.cluster.local", DNS_CNAME),
			    "NOERROR aa; self.default.svc.cluster.local CNAME 5 self.default.svc.cluster.local");
	KEPT(&process, 10, false, "round.com", "round.default.svc.cluster.local");
	assert_string_equal(ask(&process, "round.com", DNS_A), "SERVFAIL");
	assert_string_equal(ask(&process, "round.default.svc.cluster.local", DNS_A), "SERVFAIL");
	assert_false(packets_know("round.com") || packets_know("self.default.svc.cluster.local"));
	process_end(&process);
}

static void packets_are_not_told_what_own_aliases_lead_to(void **state)
{
	struct process process;

	process_start(&process);
	told(&process, NAMES_TOLD);
	feed_open(process.feed);
	assert_string_equal(ask(&process, "inside.default.svc.cluster.local", DNS_A),
			    "NOERROR aa; inside.default.svc.cluster.local CNAME 5 web.default.svc.cluster.local; "
			    "web.default.svc.cluster.local A 5 10.96.0.10");
	ask(&process, "web.default.svc.cluster.local", DNS_A);
	assert_true(packets_know("web.default.svc.cluster.local"));
	assert_false(packets_know("inside.default.svc.cluster.local"));
	process_end(&process);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_kept_goes_to_packets_at_the_start),
		cmocka_unit_test(what_is_kept_fills_packets_cache_and_no_more),
		cmocka_unit_test(aliases_of_others_lead_here),
		cmocka_unit_test(aliases_of_others_lead_to_steered_names),
		cmocka_unit_test(circles_are_errors),
		cmocka_unit_test(packets_are_not_told_what_own_aliases_lead_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DNS cache against both of its sides. The first byte's low bit chooses:
 *
 *     0  an answer from upstream: judged, kept, and asked for. What was taken must come back whole, record by record as it was put
 *     1  a query's UDP payload: judged by the packet code, over a cache with some names and a zone
 *
 * Its other bits are flags of the answer, or of the frame. The sanitizers see what reads or writes beside packets and tables.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns/cache.h"
#include "edge/edge_dns.h"

static struct edge_tables tables;
static struct edge_config config;
static struct dns_cache *cache;
static uint32_t now_ms = 1000;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const uint8_t zone[] = "\4zone\4test", soa[22];
	const struct dns_denial denial = {.soa = soa, .soa_length = sizeof(soa), .ttl = 5, .owner_length = 6};
	uint32_t buckets;
	struct dns_memory memory;

	tables.config = &config;
	tables.dns = calloc(1, sizeof(*tables.dns));
	tables.counters = calloc(1, sizeof(*tables.counters));
	if (!tables.dns || !tables.counters)
		abort();
	dns_sizes(64, &buckets, &tables.dns->block_count);
	tables.dns->bucket_mask = buckets - 1;
	tables.dns_buckets = calloc(buckets, sizeof(struct dns_bucket));
	tables.dns_blocks = aligned_alloc(64, tables.dns->block_count * sizeof(struct dns_block));
	if (!tables.dns_buckets || !tables.dns_blocks)
		abort();
	memset(tables.dns_blocks, 0, tables.dns->block_count * sizeof(struct dns_block));
	tables.dns->seed = 1; /* the same each time */
	memory = (struct dns_memory){tables.dns, tables.dns_buckets, tables.dns_blocks};
	cache = dns_cache_new(&memory);
	if (!cache || dns_zone_put(cache, zone, sizeof(zone), &denial, NULL) < 0)
		abort();
	return 0;
}

/* A frame of just its bytes, so that a read beside it is seen. */
static uint8_t *frame_of(const uint8_t *payload, size_t size, bool ipv6, uint32_t *ret_length)
{
	uint32_t l3 = ipv6 ? 40 : 20, length = (uint32_t)(14 + l3 + 8 + size);
	uint8_t *frame = malloc(length), *udp = frame + 14 + l3;

	if (!frame)
		abort();
	memset(frame, 0, 14 + l3 + 8);
	frame[12] = ipv6 ? 0x86 : 8;
	frame[13] = ipv6 ? 0xdd : 0;
	frame[14] = ipv6 ? 0x60 : 0x45;
	if (ipv6) {
		frame[18] = (uint8_t)((8 + size) >> 8);
		frame[19] = (uint8_t)(8 + size);
		frame[20] = PROTOCOL_UDP;
		udp[6] = 1;
	} else {
		frame[16] = (uint8_t)((28 + size) >> 8);
		frame[17] = (uint8_t)(28 + size);
		frame[23] = PROTOCOL_UDP;
	}
	udp[4] = (uint8_t)((8 + size) >> 8);
	udp[5] = (uint8_t)(8 + size);
	memcpy(udp + 8, payload, size);
	*ret_length = length;
	return frame;
}

/* Whether the payload is answered, and the answer's length if so. */
static uint32_t ask(const uint8_t *payload, size_t size, bool ipv6, uint8_t **ret_frame)
{
	struct edge_ingress ingress = {.ifindex = 1, .now_ms = now_ms};
	struct decision decision = {0};
	struct dns_answer answer;
	struct flow flow = {0};
	uint32_t length;
	uint8_t *frame = frame_of(payload, size, ipv6, &length);
	struct packet packet = {frame, frame + length, 0};

	*ret_frame = frame;
	assert(flow_parse(&packet, &flow) == DROP_NONE);
	if (flow.l4_reason)
		return 0;
	edge_dns_decide(&tables, &packet, &ingress, &flow, &answer, &decision);
	if (decision.verdict != VERDICT_TX)
		return 0;
	assert(answer.frame_length <= 14 + 40 + 8 + DNS_SIZE_MAX);
	*ret_frame = frame = realloc(frame, answer.frame_length);
	if (!frame)
		abort();
	packet = (struct packet){frame, frame + answer.frame_length, 0};
	assert(edge_dns_write(&tables, &packet, &answer));
	return answer.frame_length;
}

static void query_run(const uint8_t *data, size_t size, uint8_t flags)
{
	uint8_t *frame;
	uint32_t length = ask(data, size > 1400 ? 1400 : size, flags & 2, &frame);

	if (length) {
		const uint8_t *dns = frame + 14 + (flags & 2 ? 40 : 20) + 8;

		assert(dns[0] == data[0] && dns[1] == data[1] && dns[2] & 0x80 && dns[4] == 0 && dns[5] == 1);
	}
	free(frame);
}

static bool view_ask(const struct dns_view *view, void *context)
{
	uint8_t query[DNS_SIZE_PLAIN] = {0, 1, view->flags & DNS_ENTRY_UNASKED ? 0 : 1, 0, 0, 1, 0, 0, 0, 0, 0, 1}, *frame, *end;
	size_t name = view->key.name_length, question = 12 + name + 4;
	uint16_t type = view->key.type ? view->key.type : 65280;
	uint32_t length;

	query[3] = view->key.checking_disabled ? 0x10 : 0;
	memcpy(query + 12, view->key.name, name);
	query[12 + name] = (uint8_t)(type >> 8);
	query[13 + name] = (uint8_t)type;
	query[15 + name] = DNS_CLASS_IN;
	end = query + question;
	end[2] = DNS_TYPE_OPT;
	end[3] = 0xff;
	end[7] = view->key.dnssec_ok ? 0x80 : 0;
	length = ask(query, question + 11, false, &frame);
	assert(length);
	/* All that is behind the question as it was put, unless it was turned or is too long for the OPT record's company. */
	if (!(frame[42 + 2] & 2)) {
		assert(view->wire_length - question == length - 42 - question - 11 - (view->extended_error >= 0 ? 6 : 0));
		if (view->key.type != DNS_TYPE_A && view->key.type != DNS_TYPE_AAAA)
			assert(memcmp(view->wire + question, frame + 42 + question, view->wire_length - question) == 0);
	}
	free(frame);
	++*(uint32_t *)context;
	return true;
}

static void answer_run(const uint8_t *data, size_t size, uint8_t flags)
{
	const struct dns_put how = {
		.dnssec_ok = flags & 2, .checking_disabled = flags & 4, .authentic = flags & 8, .authoritative = flags & 16,
		.stale = flags & 32, .stale_ttl = 30, .fixed = flags & 64, .life_s = flags & 64 ? 60 : 0,
		.extended_error = flags & 128 ? 6 : -1,
	};
	uint32_t shown = 0;
	struct dns_key key;

	if (dns_answer_judge(data, size, &how, &key) != DNS_TAKEN)
		return;
	assert(dns_cache_put(cache, data, size, &how, now_ms) == DNS_TAKEN);
	assert(dns_cache_find(cache, &key, now_ms, view_ask, &shown) && shown == 1);
	/* now and then time goes on, for blocks to come back */
	now_ms += DNS_IDLE_MS;
	assert(dns_cache_remove(cache, &key, now_ms) >= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] & 1)
		query_run(data + 1, size - 1, data[0]);
	else
		answer_run(data + 1, size - 1, data[0]);
	return 0;
}

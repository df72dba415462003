/* SPDX-License-Identifier: Apache-2.0 */
/* The native host of the packet program: fetch, make room, count. */
#include "dataplane/engine.h"
#include "dataplane/engine_clock.h"

#include <string.h>
#include <sys/mman.h>

#include "edge/edge_dns.h"
#include "edge/edge_hold.h"

#if defined(__SANITIZE_ADDRESS__)
#define NATIVE_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NATIVE_POISON 1
#endif
#endif
#ifdef NATIVE_POISON
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

/* All tables in one piece of zeroed memory. */
struct native_tables {
	struct edge_config config __attribute__((aligned(64)));
	struct link_table links __attribute__((aligned(64)));
	struct route_table routes __attribute__((aligned(64)));
	struct neighbour_table neighbours __attribute__((aligned(64)));
	struct vip_tables vips __attribute__((aligned(64)));
	struct lb_tables lb __attribute__((aligned(64)));
	struct lb_rings rings __attribute__((aligned(64)));
	struct lb_flows flows __attribute__((aligned(64)));
	struct lb_filter filter __attribute__((aligned(64)));
	struct lb_fragments fragments __attribute__((aligned(64)));
	struct lb_holding holding __attribute__((aligned(64)));
	struct lb_guards guards __attribute__((aligned(64)));
	struct lb_limiter limiter __attribute__((aligned(64)));
	struct dns_tables dns __attribute__((aligned(64)));
	struct rtc_tables rtc __attribute__((aligned(64)));
	struct rtc_sessions sessions __attribute__((aligned(64)));
	struct rtc_index index __attribute__((aligned(64)));
	struct edge_counters counters __attribute__((aligned(64)));
};

struct native {
	struct engine engine; /* first: engines are cast to it */
	struct native_tables *tables;
	uint8_t *buffer; /* head room and the last packet, to its last byte and no further: a read over the end is seen */
	uint64_t clock_ns; /* what two readings of the clock cost */
};

static int buffer_fill(struct native *native, const void *frame, uint32_t length, struct packet *ret_packet)
{
	uint32_t headroom = native->engine.headroom;

	free(native->buffer);
	native->buffer = malloc(headroom + length);
	if (!native->buffer)
		return -ENOMEM;
	if (length)
		memcpy(native->buffer + headroom, frame, length);
	ASAN_POISON_MEMORY_REGION(native->buffer, headroom);
	*ret_packet = (struct packet){native->buffer + headroom, native->buffer + headroom + length};
	return 0;
}

/* Moves the start of the packet; false when there is no place for it. */
static bool make_room(const struct native *native, struct packet *packet, int32_t room)
{
	ptrdiff_t head = packet->data - native->buffer, length = packet->end - packet->data;

	if (room > head || room <= -length)
		return false;
	packet->data -= room;
	if (room > 0)
		ASAN_UNPOISON_MEMORY_REGION(packet->data, (size_t)room);
	else
		ASAN_POISON_MEMORY_REGION(packet->data + room, (size_t)-room);
	return true;
}

/* Gives the packet another length at its end; false without memory. */
static bool resize(struct native *native, struct packet *packet, uint32_t length)
{
	uint32_t headroom = native->engine.headroom;
	uint8_t *buffer;

	ASAN_UNPOISON_MEMORY_REGION(native->buffer, headroom);
	buffer = realloc(native->buffer, headroom + length);
	if (!buffer)
		return false;
	native->buffer = buffer;
	ASAN_POISON_MEMORY_REGION(buffer, headroom);
	*packet = (struct packet){buffer + headroom, buffer + headroom + length, 0};
	return true;
}

static void dns_handle(struct native *native, const struct edge_ingress *ingress, const struct flow *flow, struct packet *packet,
		       struct decision *decision)
{
	const struct edge_tables *tables = &native->engine.tables;
	uint32_t length = (uint32_t)(packet->end - packet->data);
	struct dns_answer answer;

	edge_dns_decide(tables, packet, ingress, flow, &answer, decision);
	if (decision->verdict != VERDICT_TX)
		return;
	if (!native->engine.tailroom_none && resize(native, packet, answer.frame_length)) {
		if (edge_dns_write(tables, packet, &answer))
			return;
		if (resize(native, packet, length)) {
			edge_dns_undo(tables, packet, decision);
			return;
		}
	}
	edge_dns_pass(tables, DNS_RESULT_NO_ROOM, decision);
}

/* Kept apart, so that a measurement times the packet program and nothing else. */
static __attribute__((noinline)) void packet_handle(struct native *native, uint32_t ifindex, struct packet *packet,
						    struct decision *decision)
{
	const struct edge_tables *tables = &native->engine.tables;
	struct edge_ingress ingress = edge_ingress(tables->config, ifindex, (struct edge_clock){0});
	uint32_t length = (uint32_t)(packet->end - packet->data);
	struct flow flow = {0};

	*decision = (struct decision){0};
	edge_decide(tables, packet, &ingress, &flow, decision);
	if (unlikely(decision->action == ACTION_DNS))
		dns_handle(native, &ingress, &flow, packet, decision);
	else if (decision->verdict == VERDICT_TX || decision->verdict == VERDICT_REDIRECT) {
		uint32_t keep = edge_keep(&flow, decision);

		if (keep && keep < length) {
			ASAN_POISON_MEMORY_REGION(packet->data + keep, length - keep);
			packet->end = packet->data + keep;
		}
		if (decision->room != 0 && !make_room(native, packet, decision->room)) {
			decision->verdict = VERDICT_DROP;
			decision->reason = DROP_room_failed;
		} else {
			edge_rewrite(tables, packet, &flow, decision);
		}
	}
	if (unlikely(decision->verdict == VERDICT_HOLD))
		edge_hold_write(tables, decision, packet->data);
	edge_count(tables->counters, decision, length);
}

static int native_run(struct engine *engine, uint32_t ifindex, const void *frame, uint32_t length,
		      struct engine_outcome *ret_outcome, struct error *error)
{
	struct native *native = (struct native *)engine;
	struct packet packet;

	if (buffer_fill(native, frame, length, &packet) < 0)
		return error_set(error, ENOMEM, "no memory");
	packet_handle(native, ifindex, &packet, &ret_outcome->decision);
	ret_outcome->bytes = packet.data;
	ret_outcome->length = (uint32_t)(packet.end - packet.data);
	return 0;
}

static int native_time(struct engine *engine, uint32_t ifindex, const void *frame, uint32_t length, uint32_t repeat,
		       uint64_t *ret_ns, struct error *error)
{
	struct native *native = (struct native *)engine;
	uint64_t least = UINT64_MAX;

	for (uint32_t i = 0; i < repeat; i++) {
		struct decision decision;
		struct packet packet;
		uint64_t start, took;

		if (buffer_fill(native, frame, length, &packet) < 0)
			return error_set(error, ENOMEM, "no memory");
		start = engine_clock_ns();
		packet_handle(native, ifindex, &packet, &decision);
		took = engine_clock_ns() - start;
		least = took < least ? took : least;
	}
	*ret_ns = least > native->clock_ns ? least - native->clock_ns : 0;
	return 0;
}

static void *zeroes_map(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static void dns_unmap(const struct edge_tables *tables)
{
	if (tables->dns_buckets)
		munmap(tables->dns_buckets, (tables->dns->bucket_mask + 1) * sizeof(struct dns_bucket));
	if (tables->dns_blocks)
		munmap(tables->dns_blocks, tables->dns->block_count * sizeof(struct dns_block));
}

/* An empty cache, which takes no memory while nobody fills it. */
static bool dns_map(struct edge_tables *tables)
{
	uint32_t buckets;

	dns_sizes(DNS_NAMES_DEFAULT, &buckets, &tables->dns->block_count);
	tables->dns->bucket_mask = buckets - 1;
	tables->dns_buckets = zeroes_map(buckets * sizeof(struct dns_bucket));
	tables->dns_blocks = zeroes_map(tables->dns->block_count * sizeof(struct dns_block));
	return tables->dns_buckets && tables->dns_blocks;
}

static void native_free(struct engine *engine)
{
	struct native *native = (struct native *)engine;

	dns_unmap(&native->engine.tables);
	if (native->tables)
		munmap(native->tables, sizeof(*native->tables));
	free(native->buffer);
	free(native);
}

struct engine *engine_native_new(void)
{
	struct native *native = calloc(1, sizeof(*native));
	struct native_tables *tables =
		mmap(NULL, sizeof(*tables), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (!native || tables == MAP_FAILED) {
		if (tables != MAP_FAILED)
			munmap(tables, sizeof(*tables));
		free(native);
		return NULL;
	}
	tables->config.abi = EDGE_ABI;
	native->tables = tables;
	native->clock_ns = engine_clock_cost_ns();
	native->engine = (struct engine){
		.name = "native",
		.tables = {&tables->config, &tables->links, &tables->routes, &tables->neighbours, &tables->vips,
			   &tables->lb, &tables->rings, &tables->flows, &tables->filter, &tables->fragments,
			   &tables->holding, &tables->guards, &tables->limiter, &tables->rtc, &tables->sessions, &tables->index,
			   &tables->dns, NULL, NULL, &tables->counters},
		.counter_sets = 1,
		.headroom = ENGINE_HEADROOM,
		.run = native_run,
		.time = native_time,
		.free = native_free,
	};
	if (!dns_map(&native->engine.tables)) {
		native_free(&native->engine);
		return NULL;
	}
	return &native->engine;
}

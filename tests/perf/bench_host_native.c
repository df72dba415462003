/* SPDX-License-Identifier: Apache-2.0 */
/* The packet program as a function of this process, around it what edge_bench.bpf.c does. */
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "edge/edge_fast.h"
#include "edge/edge_fixture.h"
#include "tests/perf/bench_host.h"

#define HEADROOM 256u

struct host_native {
	struct bench_host host; /* first */
	struct edge_memory *memory;
	uint8_t buffer[HEADROOM + sizeof((struct bench_case){}.frame)] __attribute__((aligned(64)));
	struct bench_config config;
	uint32_t turn;
	uint32_t random;
};

/* Kept apart, as a host calls it for a packet that it fetched. */
static __attribute__((noinline)) enum verdict edge_handle(const struct edge_tables *tables, uint32_t ifindex,
							 struct packet *packet)
{
	struct edge_ingress ingress = edge_ingress(tables->config, ifindex, (struct edge_clock){0});
	uint32_t length = (uint32_t)(packet->end - packet->data);
	struct decision decision = {0};
	struct flow flow = {0};

	edge_decide(tables, packet, &ingress, &flow, &decision);
	if (decision.verdict == VERDICT_TX || decision.verdict == VERDICT_REDIRECT) {
		packet->data -= decision.room; /* there is room for every frame of the benchmark */
		edge_rewrite(tables, packet, &flow, &decision);
	}
	edge_count(tables->counters, &decision, length);
	return (enum verdict)decision.verdict;
}

static __attribute__((noinline)) enum verdict swap_handle(struct packet *packet)
{
	return bench_swap_addresses(packet) ? VERDICT_TX : VERDICT_DROP;
}

static __attribute__((noinline)) enum verdict empty_handle(struct packet *packet)
{
	__asm__ volatile("" : : "r"(packet) : "memory");
	return VERDICT_PASS;
}

static void client_vary(struct host_native *self, uint8_t *frame)
{
	uint32_t client, address;
	uint16_t port;

	if (self->config.flows == 0)
		return;
	client = bench_client_next(&self->config, &self->turn, &self->random);
	address = __builtin_bswap32(self->config.source_base + client);
	port = bench_client_port(client);
	memcpy(frame + BENCH_SOURCE_OFFSET + (self->config.downward ? BENCH_DOWN_ADDRESS : 0), &address, sizeof(address));
	memcpy(frame + BENCH_PORT_OFFSET + (self->config.downward ? BENCH_DOWN_PORT : 0), &port, sizeof(port));
}

static enum verdict run_once(struct host_native *self, enum bench_program program, const struct bench_case *bench)
{
	uint8_t *frame = self->buffer + HEADROOM;
	struct packet packet = {frame, frame + bench->length};
	enum verdict verdict = VERDICT_PASS;

	if (program == BENCH_EMPTY)
		return empty_handle(&packet);
	if (program == BENCH_SWAP)
		return swap_handle(&packet);
	client_vary(self, frame);
	self->memory->config.epoch_override += self->config.new_epochs;
	if (program == BENCH_EDGE)
		verdict = edge_handle(&self->host.tables, bench->link, &packet);
	__asm__ volatile("" : : : "memory"); /* without it the compiler would take the variation away */
	bench_frame_put(frame, &self->config);
	return verdict;
}

/* Of this thread: others that run in between do not count. */
static double thread_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int native_time(struct bench_host *host, enum bench_program program, const struct bench_case *bench,
		       uint32_t repeat, double *ret_ns, enum verdict *ret_verdict, struct error *error)
{
	struct host_native *self = (struct host_native *)host;
	double start;

	self->config = bench->vary;
	memcpy(self->config.frame, bench->frame, BENCH_FRAME_BYTES);
	memcpy(self->buffer + HEADROOM, bench->frame, sizeof(bench->frame));
	start = thread_ns();
	for (uint32_t i = 0; i < repeat; i++)
		*ret_verdict = run_once(self, program, bench);
	*ret_ns = (thread_ns() - start) / repeat;
	if (program != BENCH_SWAP && memcmp(self->buffer + HEADROOM, bench->frame, bench->length) != 0)
		return error_set(error, EINVAL, "%s: the packet is not as it was before", bench->name);
	return 0;
}

static void native_free(struct bench_host *host)
{
	struct host_native *self = (struct host_native *)host;

	munmap(self->memory, sizeof(*self->memory));
	free(self);
}

int bench_host_native(struct bench_host **ret_host, struct error *error)
{
	struct host_native *self = aligned_alloc(64, (sizeof(*self) + 63) / 64 * 64);
	struct edge_memory *memory =
		mmap(NULL, sizeof(*memory), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (!self || memory == MAP_FAILED) {
		if (memory != MAP_FAILED)
			munmap(memory, sizeof(*memory));
		free(self);
		return error_set(error, ENOMEM, "no memory");
	}
	memset(self, 0, sizeof(*self));
	self->memory = memory;
	self->host = (struct bench_host){.name = "native", .tables = memory_tables(memory), .counter_sets = 2,
					 .time = native_time, .free = native_free};
	*ret_host = &self->host;
	return 0;
}

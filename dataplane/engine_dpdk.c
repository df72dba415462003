/* SPDX-License-Identifier: Apache-2.0 */
/* The DPDK host as an engine: frames in mbufs of one or more segments, through the workers' own pipeline. No NIC, no privileges. */
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mempool.h>
#include <sched.h>
#include <string.h>

#include "dataplane/engine.h"
#include "dataplane/engine_clock.h"
#include "dataplane/pipeline.h"
#include "dataplane/table_list.h"

#define ENGINE_MBUFS 2047u
#define ENGINE_DATA_ROOM 2048u
#define ENGINE_LENGTH_MAX 65536u

struct engine_dpdk {
	struct engine engine; /* first: engines are cast to it */
	struct rte_mempool *pool;
	uint64_t clock_ns; /* what two readings of the clock cost */
	uint8_t bytes[ENGINE_LENGTH_MAX + ENGINE_HEADROOM]; /* the packet as it leaves */
};

/* The environment is there once in a process and stays; it binds the thread that makes it to a processor, which is undone. */
static int environment_start(struct error *error)
{
	static bool started;
	char cores[32];
	char *arguments[] = {"selvage", "--no-huge", "-m", "64", "--no-pci", "--no-telemetry", "--no-shconf",
			     "--log-level=error", cores};
	cpu_set_t before;
	int first = 0;

	if (started)
		return 0;
	if (sched_getaffinity(0, sizeof(before), &before) < 0)
		return error_set(error, errno, "asking for this process' processors: %s", strerror(errno));
	while (first < CPU_SETSIZE - 1 && !CPU_ISSET(first, &before))
		first++;
	snprintf(cores, sizeof(cores), "--lcores=0@%d", first);
	if (rte_eal_init((int)array_length(arguments), arguments) < 0)
		return error_set(error, rte_errno, "starting DPDK's environment: %s", rte_strerror(rte_errno));
	started = true;
	if (sched_setaffinity(0, sizeof(before), &before) < 0)
		return error_set(error, errno, "setting this process' processors: %s", strerror(errno));
	return 0;
}

/* An empty mbuf at the end of `packet`, which may be NULL. */
static struct rte_mbuf *segment_add(struct engine_dpdk *dpdk, struct rte_mbuf *packet)
{
	struct rte_mbuf *segment = rte_pktmbuf_alloc(dpdk->pool);

	if (segment && packet && rte_pktmbuf_chain(packet, segment) < 0) {
		rte_pktmbuf_free(segment);
		return NULL;
	}
	if (segment && !packet)
		segment->data_off = (uint16_t)dpdk->engine.headroom;
	return segment;
}

static struct rte_mbuf *frame_load(struct engine_dpdk *dpdk, const uint8_t *frame, uint32_t length)
{
	uint32_t wanted = dpdk->engine.segments[0] ? dpdk->engine.segments[0] : UINT32_MAX;
	struct rte_mbuf *packet = segment_add(dpdk, NULL), *segment = packet;

	while (segment) {
		uint32_t room = rte_pktmbuf_tailroom(segment), fits = RTE_MIN(wanted, room), take = RTE_MIN(length, fits);

		memcpy(rte_pktmbuf_mtod(segment, uint8_t *), frame, take);
		segment->data_len = (uint16_t)take;
		packet->pkt_len += take;
		frame += take;
		length -= take;
		if (length == 0)
			return packet;
		wanted = dpdk->engine.segments[1] ? dpdk->engine.segments[1] : UINT32_MAX;
		segment = segment_add(dpdk, packet);
	}
	rte_pktmbuf_free(packet);
	return NULL;
}

/* Kept apart, so that a measurement times the packet program and nothing else. */
static __attribute__((noinline)) void packet_handle(const struct engine *engine, uint32_t ifindex, struct rte_mbuf *mbuf,
						    struct decision *decision)
{
	struct edge_ingress ingress = edge_ingress(engine->tables.config, ifindex, (struct edge_clock){0});

	*decision = (struct decision){0};
	pipeline_run(&engine->tables, &ingress, mbuf, NULL, NULL, decision);
}

static int dpdk_run(struct engine *engine, uint32_t ifindex, const void *frame, uint32_t length,
		    struct engine_outcome *ret_outcome, struct error *error)
{
	struct engine_dpdk *dpdk = (struct engine_dpdk *)engine;
	struct rte_mbuf *mbuf;
	const void *bytes;

	if (length > ENGINE_LENGTH_MAX)
		return error_set(error, EMSGSIZE, "a frame of %u bytes; the DPDK engine takes %u", length, ENGINE_LENGTH_MAX);
	mbuf = frame_load(dpdk, frame, length);
	if (!mbuf)
		return error_set(error, ENOMEM, "no packet buffers");
	packet_handle(engine, ifindex, mbuf, &ret_outcome->decision);
	bytes = rte_pktmbuf_read(mbuf, 0, mbuf->pkt_len, dpdk->bytes);
	if (bytes && bytes != dpdk->bytes)
		memcpy(dpdk->bytes, bytes, mbuf->pkt_len);
	ret_outcome->bytes = dpdk->bytes;
	ret_outcome->length = mbuf->pkt_len;
	rte_pktmbuf_free(mbuf);
	return 0;
}

static int dpdk_time(struct engine *engine, uint32_t ifindex, const void *frame, uint32_t length, uint32_t repeat,
		     uint64_t *ret_ns, struct error *error)
{
	struct engine_dpdk *dpdk = (struct engine_dpdk *)engine;
	uint64_t least = UINT64_MAX;

	for (uint32_t i = 0; i < repeat; i++) {
		struct rte_mbuf *mbuf = length <= ENGINE_LENGTH_MAX ? frame_load(dpdk, frame, length) : NULL;
		struct decision decision;
		uint64_t start, took;

		if (!mbuf)
			return error_set(error, ENOMEM, "no packet buffers for a frame of %u bytes", length);
		start = engine_clock_ns();
		packet_handle(engine, ifindex, mbuf, &decision);
		took = engine_clock_ns() - start;
		least = took < least ? took : least;
		rte_pktmbuf_free(mbuf);
	}
	*ret_ns = least > dpdk->clock_ns ? least - dpdk->clock_ns : 0;
	return 0;
}

static void dpdk_free(struct engine *engine)
{
	struct engine_dpdk *dpdk = (struct engine_dpdk *)engine;

	rte_mempool_free(dpdk->pool);
	tables_unmap(&engine->tables, engine->counter_sets);
	free(dpdk);
}

int engine_dpdk_new(struct engine **ret_engine, struct error *error)
{
	static unsigned int number;
	struct engine_dpdk *dpdk;
	char name[32];
	int result = environment_start(error);

	if (result < 0)
		return result;
	dpdk = calloc(1, sizeof(*dpdk));
	if (!dpdk)
		return error_set(error, ENOMEM, "no memory");
	dpdk->engine = (struct engine){
		.name = "dpdk",
		.counter_sets = 1,
		.headroom = ENGINE_HEADROOM,
		.run = dpdk_run,
		.time = dpdk_time,
		.free = dpdk_free,
	};
	dpdk->clock_ns = engine_clock_cost_ns();
	snprintf(name, sizeof(name), "engine%u", number++);
	dpdk->pool = rte_pktmbuf_pool_create(name, ENGINE_MBUFS, 0, 0, ENGINE_HEADROOM + ENGINE_DATA_ROOM, SOCKET_ID_ANY);
	if (!dpdk->pool)
		result = error_set(error, rte_errno ? rte_errno : ENOMEM, "making packet buffers: %s", rte_strerror(rte_errno));
	if (result == 0)
		result = tables_map(NULL, 1, &dpdk->engine.tables, error);
	if (result < 0) {
		dpdk_free(&dpdk->engine);
		return result;
	}
	dpdk->engine.tables.config->abi = EDGE_ABI;
	*ret_engine = &dpdk->engine;
	return 0;
}

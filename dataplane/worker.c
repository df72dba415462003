/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: fetches bursts from its queue of every port, runs the packet program over them, and sends each packet to where
 * the program decided, before it fetches the next.
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <rte_malloc.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/lib/log.h"
#include "dataplane/dpdk.h"
#include "dataplane/worker_clock.h"

#define IDLE_SPINS 64u         /* empty rounds before the first nap: traffic that pauses is not idle */
#define IDLE_FIRST_US 8u
#define IDLE_PER_NAP 2u        /* rounds between two naps of one length */
#define IDLE_WAIT_STEP 4u      /* from naps of this length on (8, 16, 32, 64 us) it waits for packets instead, if it can */
#define IDLE_WAIT_MS 10000
#define WORKLOAD_SEGMENTS 16u
#define EVENT_SEGMENTS 64u

struct worker {
	struct runtime *runtime;
	uint32_t number;
	struct edge_clock clock; /* of this round */
	const struct runtime_tables *held; /* of this round */
	uint32_t serial; /* its */
	struct edge_tables tables; /* with this worker's counters */
	int stack; /* a packet socket, for interfaces that are no ports */
	struct rte_mbuf *out[CHANNEL_PORTS_MAX][DPDK_BURST];
	uint16_t out_count[CHANNEL_PORTS_MAX];
	struct rte_mbuf *workload[DPDK_BURST];
	uint32_t workload_ifindex[DPDK_BURST];
	unsigned int workload_count;
	struct pipeline_ahead ahead;
	int wait_fd; /* an epoll of all queues of this worker; -1: not every driver has something to wait on */
	bool woken;  /* and no packet came since: what woke it goes on doing so */
};

/* --- telling selvaged ---------------------------------------------------------------------------------------------------- */

/* A packet's bytes as they lie; returns how many parts. */
static size_t event_parts(const struct rte_mbuf *mbuf, uint32_t length, struct iovec *parts)
{
	size_t count = 0;

	for (; mbuf && length && count < EVENT_SEGMENTS; mbuf = mbuf->next) {
		uint32_t part = RTE_MIN(length, (uint32_t)mbuf->data_len);

		parts[count++] = (struct iovec){rte_pktmbuf_mtod(mbuf, void *), part};
		length -= part;
	}
	return count;
}

/* What the reader is too slow for is lost, as from the ring buffer of XDP. */
static void report_send(void *context, enum edge_event_kind kind, uint32_t ifindex, const struct rte_mbuf *mbuf,
			const struct decision *decision)
{
	static uint8_t none[EDGE_EVENT_BYTES];
	struct worker *worker = context;
	struct edge_counters *counters = worker->tables.counters;
	struct edge_event event = {.kind = kind, .ifindex = ifindex, .decision = *decision};
	struct iovec parts[EVENT_SEGMENTS + 2] = {{&event, offsetof(struct edge_event, bytes)}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 1};
	struct timespec now;

	if (kind == EDGE_EVENT_TRACE ? !edge_trace_admit(worker->tables.config, counters, worker->clock.now_ms) :
				       !edge_wanted_admit(counters, decision, worker->clock.now_ms))
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	event.time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	if (kind == EDGE_EVENT_TRACE) {
		uint32_t snaplen = worker->tables.config->trace_snaplen;
		uint32_t most = snaplen ? RTE_MIN(snaplen, EDGE_EVENT_BYTES_MAX) : EDGE_EVENT_BYTES;

		event.length = mbuf->pkt_len;
		event.captured = mbuf->nb_segs > EVENT_SEGMENTS ? mbuf->data_len : mbuf->pkt_len;
		event.captured = RTE_MIN(event.captured, most);
		message.msg_iovlen += event_parts(mbuf, event.captured, parts + 1);
	}
	if (event.captured < EDGE_EVENT_BYTES)
		parts[message.msg_iovlen++] = (struct iovec){none, EDGE_EVENT_BYTES - event.captured};
	if (sendmsg(worker->runtime->events[1], &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && kind == EDGE_EVENT_TRACE)
		counters->trace_hidden++;
}

/* --- sending ------------------------------------------------------------------------------------------------------------- */

/* Interfaces of the kernel: veths of local workloads, NICs that are XDP's. */
static void workloads_send(struct worker *worker, struct port *from)
{
	struct port_counts *counts = &from->counts[worker->number];
	struct iovec parts[DPDK_BURST][WORKLOAD_SEGMENTS];
	struct sockaddr_ll to[DPDK_BURST];
	struct mmsghdr messages[DPDK_BURST];
	unsigned int count = worker->workload_count, done = 0;

	for (unsigned int i = 0; i < count; i++) {
		size_t part_count = 0;

		for (struct rte_mbuf *part = worker->workload[i]; part && part_count < WORKLOAD_SEGMENTS; part = part->next)
			parts[i][part_count++] = (struct iovec){rte_pktmbuf_mtod(part, void *), part->data_len};
		to[i] = (struct sockaddr_ll){.sll_family = AF_PACKET, .sll_ifindex = (int)worker->workload_ifindex[i],
					     .sll_halen = RTE_ETHER_ADDR_LEN};
		messages[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &to[i], .msg_namelen = sizeof(to[i]),
							   .msg_iov = parts[i], .msg_iovlen = part_count}};
	}
	while (done < count) {
		int sent = sendmmsg(worker->stack, messages + done, count - done, MSG_DONTWAIT);

		if (sent > 0)
			counts->to_workloads += (uint64_t)sent;
		else
			counts->to_workloads_failed++; /* the first of them; the others get their try */
		done += sent > 0 ? (unsigned int)sent : 1;
	}
	rte_pktmbuf_free_bulk(worker->workload, count);
	worker->workload_count = 0;
}

static struct port *port_by_ifindex(struct runtime *runtime, uint32_t ifindex, uint32_t *ret_place)
{
	for (uint32_t i = 0; i < runtime->port_count; i++) {
		if (runtime->ports[i].ifindex == ifindex) {
			*ret_place = i;
			return &runtime->ports[i];
		}
	}
	return NULL;
}

static void packet_out(struct worker *worker, uint32_t place, struct rte_mbuf *mbuf)
{
	worker->out[place][worker->out_count[place]++] = mbuf;
}

static void packet_send(struct worker *worker, uint32_t from, const struct decision *decision, struct rte_mbuf *mbuf)
{
	uint32_t place;

	switch (decision->verdict) {
	case VERDICT_PASS:
		punt_send(&worker->runtime->ports[from], worker->number, mbuf);
		break;
	case VERDICT_TX:
		packet_out(worker, from, mbuf);
		break;
	case VERDICT_REDIRECT:
		if (decision->ifindex == worker->runtime->ports[from].ifindex) {
			packet_out(worker, from, mbuf);
		} else if (port_by_ifindex(worker->runtime, decision->ifindex, &place)) {
			packet_out(worker, place, mbuf);
		} else {
			worker->workload_ifindex[worker->workload_count] = decision->ifindex;
			worker->workload[worker->workload_count++] = mbuf;
		}
		break;
	default:
		rte_pktmbuf_free(mbuf);
		break;
	}
}

static void burst_send(struct worker *worker, uint32_t from)
{
	for (uint32_t i = 0; i < worker->runtime->port_count; i++) {
		if (worker->out_count[i])
			port_send(&worker->runtime->ports[i], worker->number, worker->out[i], worker->out_count[i]);
		worker->out_count[i] = 0;
	}
	if (worker->workload_count)
		workloads_send(worker, &worker->runtime->ports[from]);
}

/* --- a burst ------------------------------------------------------------------------------------------------------------- */

static void burst_handle(struct worker *worker, uint32_t place, struct rte_mbuf **packets, uint16_t count)
{
	const struct port *port = &worker->runtime->ports[place];
	struct edge_ingress ingress = edge_ingress(worker->tables.config, port->ifindex, worker->clock);

	for (uint16_t i = 0; i < count; i++) {
		struct decision decision = {0};

		pipeline_prefetch(&worker->ahead, &worker->tables, packets, count, i);
		pipeline_run(&worker->tables, &ingress, packets[i], report_send, worker, &decision);
		pipeline_note(&worker->ahead, &decision);
		packet_send(worker, place, &decision, packets[i]);
	}
	pipeline_expect(&worker->ahead, count);
	burst_send(worker, place);
}

/* A port that selvaged has not attached, or no longer: all is the host's. */
static void burst_pass(struct worker *worker, uint32_t place, struct rte_mbuf **packets, uint16_t count)
{
	for (uint16_t i = 0; i < count; i++)
		punt_send(&worker->runtime->ports[place], worker->number, packets[i]);
}

static void worker_clock_read(struct worker *worker)
{
	worker->clock = worker_clock_now(worker->held);
}

/* One turn over all ports; how many packets there were. */
static unsigned int worker_round(struct worker *worker)
{
	struct runtime *runtime = worker->runtime;
	struct rte_mbuf *packets[DPDK_BURST];
	unsigned int total = 0;

	for (uint32_t i = 0; i < runtime->port_count; i++) {
		struct port *port = &runtime->ports[i];
		uint16_t count;

		if (worker->number >= port->rx_queues)
			continue;
		count = rte_eth_rx_burst(port->id, (uint16_t)worker->number, packets, DPDK_BURST);
		if (count == 0)
			continue;
		if (total == 0 && worker->held)
			worker_clock_read(worker);
		if (worker->held && load_once(port->attached))
			burst_handle(worker, i, packets, count);
		else
			burst_pass(worker, i, packets, count);
		total += count;
	}
	return total;
}

static void tables_take(struct worker *worker)
{
	const struct runtime_tables *now = __atomic_load_n(&worker->runtime->tables, __ATOMIC_ACQUIRE);

	/* The address alone does not tell: memory that was given back may come again. */
	if (!now || likely(now->serial == worker->serial))
		return;
	worker->held = now;
	worker->serial = now->serial;
	worker->tables = now->tables;
	worker->tables.counters += now->counter_first + worker->number;
}

/* --- idleness ------------------------------------------------------------------------------------------------------------ */

/* What a worker can wait on: all of its queues and the end, or nothing. */
static int wait_open(const struct worker *worker)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = worker->runtime->wake_fd};
	int fd = epoll_create1(EPOLL_CLOEXEC);
	bool good = fd >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, worker->runtime->wake_fd, &event) == 0;

	for (uint32_t i = 0; good && i < worker->runtime->port_count; i++) {
		const struct port *port = &worker->runtime->ports[i];

		if (worker->number >= port->rx_queues)
			continue;
		event.data.fd = port->wait_fds[worker->number];
		good = event.data.fd >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, event.data.fd, &event) == 0;
	}
	if (!good && fd >= 0)
		close(fd);
	return good ? fd : -1;
}

/* Until a packet comes, or an error of the socket below: that is taken away by asking for it. */
static void worker_wait(struct worker *worker)
{
	struct epoll_event events[CHANNEL_PORTS_MAX];
	int count, value;

	rte_rcu_qsbr_thread_offline(worker->runtime->rcu, worker->number);
	count = epoll_wait(worker->wait_fd, events, CHANNEL_PORTS_MAX, IDLE_WAIT_MS);
	rte_rcu_qsbr_thread_online(worker->runtime->rcu, worker->number);
	for (int i = 0; i < count; i++) {
		socklen_t length = sizeof(value);

		if (events[i].events & (EPOLLERR | EPOLLHUP))
			(void)getsockopt(events[i].data.fd, SOL_SOCKET, SO_ERROR, &value, &length);
	}
	worker->woken = count > 0;
}

/* Naps that double while nothing comes. No reader of tables meanwhile. */
static void worker_nap(struct worker *worker, uint32_t empty_rounds)
{
	uint32_t step = (empty_rounds - IDLE_SPINS) / IDLE_PER_NAP;
	uint64_t us = step < 16 ? (uint64_t)IDLE_FIRST_US << step : UINT32_MAX;
	struct timespec nap;

	if (step >= IDLE_WAIT_STEP && worker->wait_fd >= 0 && !worker->woken) {
		worker_wait(worker);
		return;
	}
	if (us > worker->runtime->idle_us_max)
		us = worker->runtime->idle_us_max;
	nap = (struct timespec){0, (long)us * 1000};
	rte_rcu_qsbr_thread_offline(worker->runtime->rcu, worker->number);
	clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	rte_rcu_qsbr_thread_online(worker->runtime->rcu, worker->number);
}

int worker_run(void *argument)
{
	const struct worker_argument *given = argument;
	struct runtime *runtime = given->runtime;
	struct worker *worker = rte_zmalloc("worker", sizeof(*worker), RTE_CACHE_LINE_SIZE);
	uint32_t empty_rounds = 0;

	if (!worker)
		return -ENOMEM;
	worker->runtime = runtime;
	worker->number = given->number;
	worker->stack = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (worker->stack < 0)
		log_error("opening a packet socket: %s; local workloads get nothing", strerror(errno));
	worker->wait_fd = runtime->idle_us_max ? wait_open(worker) : -1;
	prctl(PR_SET_TIMERSLACK, 1000ul, 0, 0, 0);
	rte_rcu_qsbr_thread_register(runtime->rcu, worker->number);
	rte_rcu_qsbr_thread_online(runtime->rcu, worker->number);
	while (!load_once(runtime->stop)) {
		tables_take(worker);
		if (worker_round(worker)) {
			empty_rounds = 0;
			worker->woken = false;
		} else if (++empty_rounds >= IDLE_SPINS && runtime->idle_us_max)
			worker_nap(worker, empty_rounds);
		rte_rcu_qsbr_quiescent(runtime->rcu, worker->number);
	}
	rte_rcu_qsbr_thread_offline(runtime->rcu, worker->number);
	rte_rcu_qsbr_thread_unregister(runtime->rcu, worker->number);
	/* The packet socket goes with the process: to close it takes the kernel milliseconds, which an upgrade would wait for. */
	rte_free(worker);
	return 0;
}

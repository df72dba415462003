/* SPDX-License-Identifier: Apache-2.0 */
/*
 * selvage-dpdk's parts, private to dataplane/. One control thread (main) and workers: the control thread opens ports before
 * workers run, and changes what they read by one store followed by runtime_quiesce().
 */
#pragma once

#include <rte_ethdev.h>
#include <rte_rcu_qsbr.h>
#include <rte_spinlock.h>

#include "dataplane/control_channel.h"
#include "dataplane/pipeline.h"

#define DPDK_WORKERS_MAX 16u
#define DPDK_BURST 32u
#define DPDK_DATA_ROOM 2048u /* of a packet buffer: what the host sends must fit into one */

/* What one thread did with a port's packets. writer: that thread */
struct port_counts {
	uint64_t sent, send_failed;
	uint64_t to_host, to_host_failed;
	uint64_t from_host, from_host_failed;
	uint64_t to_workloads, to_workloads_failed; /* of packets that came in by this port */
} __rte_cache_aligned;

struct port {
	char name[16];    /* of its TAP, which is the kernel's interface for this NIC */
	char device[128]; /* "0000:01:00.0", "net_af_xdp,iface=eth1" */
	uint16_t id;      /* DPDK's */
	uint32_t ifindex; /* the TAP's */
	int tap;
	bool carrier;
	bool attached; /* writer: control; packets go through the program */
	uint16_t rx_queues, tx_queues;
	int wait_fds[DPDK_WORKERS_MAX]; /* by receive queue: readable when packets wait; -1: this driver has no such */
	bool tx_shared; /* there are fewer queues than threads: a lock goes with each */
	rte_spinlock_t tx_locks[DPDK_WORKERS_MAX + 1];
	struct port_counts counts[DPDK_WORKERS_MAX + 1];
};

/* What packets see. Whole and constant; a change is another one. */
struct runtime_tables {
	uint32_t serial; /* 1, 2, … */
	struct edge_tables tables;
	int fds[CHANNEL_TABLES_MAX];
	uint32_t counter_sets, counter_first;
	uint32_t epoch_shift, tick_ns;
	uint32_t epoch_offset; /* what the kernel's ticks had counted when its clock began */
};

struct runtime {
	struct port ports[CHANNEL_PORTS_MAX];
	uint32_t port_count;
	uint32_t workers;
	struct rte_mempool *pool;
	struct rte_rcu_qsbr *rcu;
	const struct runtime_tables *tables; /* NULL: none yet; writer: control, readers: workers */
	bool stop;    /* by runtime_stop() */
	int wake_fd;  /* readable once `stop` is set */
	int events[2]; /* workers write to the second, selvaged gets a copy of the first */
	uint32_t idle_us_max;
};

/* --- runtime.c: any thread but a worker's ------------------------------------------------------------------------------------ */

/* Returns once every packet begun before is done. */
void runtime_quiesce(struct runtime *runtime);
/* Workers see these tables from now on; the former ones are given back. Takes over `message`'s descriptors on success. */
must_check int runtime_tables_use(struct runtime *runtime, const struct channel_message *message, const int *fds,
				  struct error *error);
/* Ends the workers, and returns when they have ended. */
void runtime_stop(struct runtime *runtime);
/* NULL: no such port. */
struct port *runtime_port_find(struct runtime *runtime, uint32_t ifindex);

/* --- port.c ------------------------------------------------------------------------------------------------------------------ */

/* "NAME=DEVICE" into `port`; pure. */
must_check int port_parse(const char *text, struct port *ret_port, struct error *error);
bool port_is_pci(const char *device);
/* Two processes may have it open: it need not be closed before the next one opens it. */
bool port_is_shared(const char *device);
/* Probes the device and starts it, with a queue for each worker where it has so many. `number`: makes vdevs' names differ. */
must_check int port_open(struct runtime *runtime, struct port *port, uint32_t number, struct error *error);
void port_close(struct port *port);
/* Whether the NIC has a link; where the kernel keeps the NIC below, by its word. */
bool port_has_link(const struct port *port);
void port_statistics(const struct runtime *runtime, const struct port *port, struct channel_statistics *ret_statistics);
/*
 * Sends, on the thread's own queue or behind a lock; takes over the packets. `thread`: a worker's number, or runtime.workers
 * for the control thread.
 */
void port_send(struct port *port, uint32_t thread, struct rte_mbuf **packets, uint16_t count);

/* --- punt.c: between a port and the host's stack ----------------------------------------------------------------------------- */

/* Makes or finds the TAP of this name, gives it the NIC's address and MTU and sets it up. `fd` -1: opens one. */
must_check int punt_open(struct port *port, int fd, struct error *error);
/* The interface knows whether the NIC has a link. */
void punt_carrier_set(struct port *port, bool up);
/* To the host; frees the packet. */
void punt_send(struct port *port, uint32_t thread, struct rte_mbuf *packet);
/* From the host to the NIC, at most a burst: returns how many. Control thread. */
unsigned int punt_receive(struct runtime *runtime, struct port *port);

/* --- worker.c ---------------------------------------------------------------------------------------------------------------- */

struct worker_argument {
	struct runtime *runtime;
	uint32_t number;
};

/* lcore_function_t */
int worker_run(void *argument);

/* --- control_server.c -------------------------------------------------------------------------------------------------------- */

struct control_server;

/* Serves RUN/dpdk.sock on `epoll_fd`; the socket replaces one that nobody serves any more. */
must_check int control_server_new(struct runtime *runtime, const char *run_directory, int epoll_fd,
				  struct control_server **ret_server, struct error *error);
void control_server_free(struct control_server *server);
/* An event of `epoll_fd` with this data pointer: true when it was the server's. */
bool control_server_event(struct control_server *server, void *data);
/* Somebody else has the ports now: end. */
bool control_server_taken_over(const struct control_server *server);

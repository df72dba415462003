/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control channel between selvaged and selvage-dpdk: a unix SEQPACKET socket in the run directory, requests and answers of
 * one fixed size, descriptors beside them. Below, its messages, and selvaged's end of it; selvage-dpdk's is
 * dataplane/control_server.h.
 *
 * selvaged owns the tables (BPF maps, so that tc on workloads' veths sees the same flows) and hands over descriptors to map;
 * selvage-dpdk keeps what it was handed, whatever becomes of selvaged. One client at a time.
 */
#pragma once

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "edge/edge_event.h"
#include "edge/edge_state.h"

#define CHANNEL_SOCKET "dpdk.sock" /* in the run directory */
#define CHANNEL_MAGIC 0x44564c53u  /* "SLVD" */
#define CHANNEL_VERSION 1u
#define CHANNEL_TABLES_MAX (sizeof(struct edge_tables) / sizeof(void *)) /* descriptors of CHANNEL_TABLES: one for each */
#define CHANNEL_PORTS_MAX 8u
#define CHANNEL_FDS_MAX (CHANNEL_TABLES_MAX + CHANNEL_PORTS_MAX)

enum channel_kind {
	CHANNEL_HELLO = 1,  /* first; answer: `workers`, `pid`, and the descriptor that events are read from */
	CHANNEL_TABLES,     /* with all tables' descriptors, `counter_sets`, `counter_first`, `tick_ns`, `epoch_shift`, `epoch` */
	CHANNEL_QUIESCE,    /* answered when every packet begun before is done */
	CHANNEL_ATTACH,     /* packets of the port whose interface is `ifindex` go through the packet program; answer: `device` */
	CHANNEL_DETACH,     /* they go to the host unseen */
	CHANNEL_STATISTICS, /* answer: `statistics` of the port whose interface is `ifindex` */
	CHANNEL_TAKE_OVER,  /* from another selvage-dpdk: stop, answer as CHANNEL_TABLES is asked, with the ports' TAPs after them */
	CHANNEL_KIND_END
};

/* Of one port, since it was opened. */
struct channel_statistics {
	uint64_t received;      /* packets */
	uint64_t received_bytes;
	uint64_t sent;
	uint64_t send_failed;   /* the port took no more */
	uint64_t missed;        /* by the NIC: nobody fetched them in time, or no buffers */
	uint64_t to_host;       /* over the TAP */
	uint64_t to_host_failed;
	uint64_t from_host;
	uint64_t from_host_failed; /* longer than a packet buffer */
	uint64_t to_workloads;  /* over the kernel's interfaces */
	uint64_t to_workloads_failed;
};

/* A request has `status` 0; an answer repeats `kind` and `sequence`, and has 0 or -errno with `text`. Unused fields are zero. */
struct channel_message {
	uint32_t magic;
	uint16_t version;
	uint16_t kind;
	uint32_t sequence;
	int32_t status;
	uint32_t abi; /* EDGE_ABI of the sender; HELLO, TABLES, TAKE_OVER */
	uint32_t ifindex;
	uint32_t counter_sets;  /* in the table of counters */
	uint32_t counter_first; /* of them, the first that is the workers' */
	uint32_t epoch_shift;   /* an epoch is 2^epoch_shift ticks of */
	uint32_t tick_ns;
	uint32_t epoch; /* now */
	uint32_t workers;
	uint32_t pid;
	uint32_t port_count;
	uint32_t ports[CHANNEL_PORTS_MAX]; /* TAKE_OVER: interfaces of the TAPs, attached ones with CHANNEL_PORT_ATTACHED */
	struct channel_statistics statistics;
	char device[128];
	char text[136];
};
_Static_assert(sizeof(struct channel_message) == 440, "both ends agree");
#define CHANNEL_PORT_ATTACHED 0x80000000u

/*
 * Whether `bytes` are a request that can be obeyed, with so many descriptors beside them: of our version, whole, known, with
 * values that make sense. -EPROTO, -EINVAL and a sentence if not. Pure.
 */
must_check int channel_request_check(const void *bytes, size_t length, size_t fd_count, struct error *error);

/*
 * One message with its descriptors over a SEQPACKET socket. Received ones are the caller's to close; -EPIPE: the other end is
 * gone; `ret_length` may differ from the message's size, which channel_request_check() says. Descriptors beyond
 * CHANNEL_FDS_MAX are closed by the kernel.
 */
must_check int channel_send(int fd, const struct channel_message *message, const int *fds, size_t fd_count);
must_check int channel_receive(int fd, struct channel_message *ret_message, size_t *ret_length,
			       int ret_fds[static CHANNEL_FDS_MAX], size_t *ret_fd_count);
void channel_fds_close(const int *fds, size_t fd_count);

/* --- selvaged's end; one thread; each call waits for its answer, at most CHANNEL_PATIENCE_MS -------------------------------- */

#define CHANNEL_PATIENCE_MS 2000

struct channel;

/* Connects and says hello. -ENOENT, -ECONNREFUSED: nobody is there; -EPROTO: of another version or EDGE_ABI. */
must_check int channel_open(const char *run_directory, struct channel **ret_channel, struct error *error);
void channel_close(struct channel *channel);

/* Readable when the other end is gone. Borrowed. */
int channel_fd(const struct channel *channel);
uint32_t channel_workers(const struct channel *channel);
/* Readable when events wait. Borrowed. */
int channel_events_fd(const struct channel *channel);
/* Calls `handler` for each waiting event, at most some hundred; returns how many. */
int channel_events_consume(struct channel *channel, void (*handler)(const struct edge_event *event, void *context),
			   void *context);

struct channel_tables {
	int fds[CHANNEL_TABLES_MAX]; /* in the order of struct edge_tables; borrowed */
	uint32_t counter_sets, counter_first;
	uint32_t epoch_shift, tick_ns, epoch;
};

must_check int channel_tables_hand(struct channel *channel, const struct channel_tables *tables, struct error *error);
must_check int channel_quiesce(struct channel *channel, struct error *error);
/* -ENODEV: selvage-dpdk has no port with this interface. */
must_check int channel_attach(struct channel *channel, uint32_t ifindex, struct error *error);
must_check int channel_detach(struct channel *channel, uint32_t ifindex, struct error *error);
must_check int channel_statistics_get(struct channel *channel, uint32_t ifindex, struct channel_statistics *ret_statistics,
				      struct error *error);
/*
 * By another selvage-dpdk, without channel_open(): the one that serves this directory lets go of ports and TAPs, answers, and
 * ends. `ret_fds` are the caller's: tables when `ret_message->counter_sets`, then the TAPs of `ret_message->ports`.
 */
must_check int channel_take_over(const char *run_directory, struct channel_message *ret_message,
				 int ret_fds[static CHANNEL_FDS_MAX], size_t *ret_fd_count, struct error *error);

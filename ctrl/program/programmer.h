/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one interface through which the control daemon hands wanted tables to an engine. Behind it: XDP (programmer_xdp()),
 * XDP and DPDK on the same tables (programmer_dpdk()), or plain memory for tests (programmer_fake()).
 *
 * A daemon that stops calls programmer_close(), which leaves the engine running as it is; the next one adopts that and
 * programmer_apply() changes only what differs. One thread.
 */
#pragma once

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "edge/edge_event.h"
#include "edge/edge_program.h"

struct programmer;

/* How packets of an interface shall reach the engine. */
enum programmer_mode {
	PROGRAMMER_XDP_NATIVE,  /* the XDP engine in the driver; generic where the driver cannot */
	PROGRAMMER_XDP_GENERIC,
	PROGRAMMER_WORKLOAD,    /* the veth of a local workload: tc ingress */
	PROGRAMMER_DPDK,        /* a NIC of selvage-dpdk, by the TAP that stands for it; programmer_dpdk() only */
};

struct programmer_interface {
	uint32_t ifindex;
	enum programmer_mode mode;
};

/* What became of one wanted interface. */
struct programmer_attachment {
	uint32_t ifindex;
	int code;           /* 0, or -errno: then packets of this interface do not reach the engine, and `text` says why */
	const char *mode;   /* what it is now: "xdp-native", "xdp-generic", "tc", "dpdk", "fake"; a constant */
	bool changed;       /* false: it was that way before */
	char text[256];     /* why it failed, or why the mode is not the wanted one; empty when all is well */
};

/* What an engine's state was when it was opened. */
enum programmer_found {
	PROGRAMMER_FRESH,    /* nothing was there */
	PROGRAMMER_ADOPTED,  /* running, with the tables of the daemon before */
	PROGRAMMER_REPLACED, /* running with tables that this daemon cannot read: apply, then attach; flows and counts are lost */
};

typedef void programmer_event_handler(const struct edge_event *event, void *context);

struct programmer_operations {
	const char *name; /* "xdp" */
	enum programmer_found (*found)(const struct programmer *programmer);
	uint32_t (*epoch)(const struct programmer *programmer);
	uint32_t (*now_ms)(const struct programmer *programmer); /* NULL when own_counters is */
	int (*attach)(struct programmer *programmer, const struct programmer_interface *interfaces, size_t count,
		      struct programmer_attachment *ret_attachments, struct error *error);
	int (*events_fd)(const struct programmer *programmer);
	int (*events_consume)(struct programmer *programmer, programmer_event_handler *handler, void *context);
	int (*remove)(struct programmer *programmer, struct error *error);
	void (*close)(struct programmer *programmer);
};

struct channel_statistics; /* dataplane/control_channel.h */

/* First in each engine's own struct. */
struct programmer {
	const struct programmer_operations *operations;
	struct edge_program *program;
	const struct edge_tables *tables;
	struct edge_counters *own_counters; /* of what the caller sends in the engine's stead; NULL: it sends all itself */
};

/* How many names packets' DNS cache has room for, in engines that are made from now on. Before other threads use them. */
void programmer_dns_names(uint32_t names);

/*
 * The XDP engine. `directory`: where programs and tables are pinned, a bpf file system that is mounted when it is not
 * (`ebpf/loader.h`, loader_mount()).
 */
must_check int programmer_xdp(const char *directory, struct programmer **ret_programmer, struct error *error);

/*
 * The XDP engine with a selvage-dpdk at its side, which is found at its socket in the run directory, now or whenever it comes;
 * until then attaching its interfaces fails and says so.
 */
must_check int programmer_dpdk(const char *bpffs_directory, const char *run_directory, struct programmer **ret_programmer,
			       struct error *error);

/* Tables in this process' memory and nothing behind them. Its epoch stands still until programmer_fake_epoch_set(). */
must_check int programmer_fake(struct programmer **ret_programmer, struct error *error);
void programmer_fake_epoch_set(struct programmer *programmer, uint32_t epoch);

/* Of a NIC of selvage-dpdk. -ENOENT: `programmer` is not programmer_dpdk()'s; -ENOTCONN: nobody is there to ask. */
must_check int programmer_dpdk_statistics(struct programmer *programmer, uint32_t ifindex,
					  struct channel_statistics *ret_statistics);

/* Leaves the engine running. */
static inline void programmer_close(struct programmer *programmer)
{
	if (programmer)
		programmer->operations->close(programmer);
}

/* For _cleanup_ */
static inline void programmer_closep(struct programmer **programmer)
{
	programmer_close(*programmer);
}

static inline enum programmer_found programmer_found(const struct programmer *programmer)
{
	return programmer->operations->found(programmer);
}

/* edge_program_apply(): `ret_changes` is all zero when everything was right already. */
must_check static inline int programmer_apply(struct programmer *programmer, const struct edge_wanted *wanted,
					      struct edge_changes *ret_changes, struct error *error)
{
	return edge_program_apply(programmer->program, wanted, ret_changes, error);
}

/*
 * Attaches to these interfaces and detaches from all others. 0 even when some interface failed: see `ret_attachments`, one
 * for each in the same order. -errno with `error`: one that is not wanted could not be detached.
 */
must_check static inline int programmer_attach(struct programmer *programmer,
					       const struct programmer_interface *interfaces, size_t count,
					       struct programmer_attachment *ret_attachments, struct error *error)
{
	return programmer->operations->attach(programmer, interfaces, count, ret_attachments, error);
}

/* edge_program_sweep() at the engine's present epoch; about twice a second. */
static inline void programmer_sweep_step(struct programmer *programmer, struct edge_sweep_stats *ret_stats)
{
	edge_program_sweep(programmer->program, programmer->operations->epoch(programmer), ret_stats);
}

/* The program, for edge_program_totals() and the status calls. Borrowed. */
static inline const struct edge_program *programmer_program(const struct programmer *programmer)
{
	return programmer->program;
}

/* The tables as packets see them; of edge_config, `trace*` are the caller's to write. Borrowed. */
static inline const struct edge_tables *programmer_tables(const struct programmer *programmer)
{
	return programmer->tables;
}

static inline uint32_t programmer_epoch(const struct programmer *programmer)
{
	return programmer->operations->epoch(programmer);
}

/* The coarse clock that fragments' ages are told by. */
static inline uint32_t programmer_now_ms(const struct programmer *programmer)
{
	return programmer->operations->now_ms ? programmer->operations->now_ms(programmer) : 0;
}

/* Readable when events wait; -1: this engine has none. Borrowed. */
static inline int programmer_events_fd(const struct programmer *programmer)
{
	return programmer->operations->events_fd(programmer);
}

/* Calls `handler` for each waiting event; returns how many, or -errno. */
static inline int programmer_events_consume(struct programmer *programmer, programmer_event_handler *handler,
					    void *context)
{
	return programmer->operations->events_consume(programmer, handler, context);
}

/* Stops the engine: detaches everywhere and leaves nothing behind. Close it then. */
must_check static inline int programmer_remove(struct programmer *programmer, struct error *error)
{
	return programmer->operations->remove(programmer, error);
}

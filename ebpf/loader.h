/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads the packet program into the kernel and attaches it: the user-space half of the XDP and tc hosts.
 *
 * Tables, programs and links are pinned in one directory of a bpf file system for each instance, so that packets are
 * handled while no daemon runs, and the next daemon adopts what it finds:
 *
 *     DIRECTORY/edge_config, edge_lb, ...   tables, by the names of ebpf/edge_maps.h
 *     DIRECTORY/edge_xdp, edge_tc, ...      programs
 *     DIRECTORY/link_xdp_<ifindex>          attachments of edge_xdp; tc filters stay by themselves
 *
 * A daemon with other program bytes and the same EDGE_ABI loads its programs on the tables as they are, and loader_attach()
 * exchanges them in place: no packet meets an interface without a program.
 *
 * One thread uses a loader. All functions need the capabilities BPF, NET_ADMIN and PERFMON, and say so without.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "edge/edge_event.h"
#include "edge/edge_state.h"

struct bpf_object;
struct loader;

#define LOADER_PATH_SIZE 512

/*
 * Makes sure that a bpf file system lies at `directory` (made when missing) which outlives this process. A process with a
 * mount namespace of its own, as under `ip netns exec` and in hardened units, would take its mounts with it when it is
 * killed; then it is mounted in the namespace of the oldest ancestor that has another one. `ret_directory` is what
 * loader_open() wants; it holds for the life of this process (a descriptor may stay open for that).
 */
must_check int loader_mount(const char *directory, char ret_directory[static LOADER_PATH_SIZE], struct error *error);

enum loader_found {
	LOADER_FRESH,    /* nothing was there; the tables are empty */
	LOADER_ADOPTED,  /* the tables are those of the daemon before */
	LOADER_REPLACED, /* the tables there were of another EDGE_ABI: new, empty ones took their place. Attached programs go
			    on with the old ones until loader_attach(): apply first. Recorded flows, learned neighbours
			    and counts are lost */
};

/*
 * How many names the DNS cache of loaders opened from now on has room for, if not DNS_NAMES_DEFAULT (dns_state.h). Where another
 * number lies pinned, the cache begins anew, empty; all other tables stay. Before other threads use loaders.
 */
void loader_dns_names(uint32_t names);

/* `directory` NULL: nothing is pinned and nothing can be attached (replay, benchmarks). */
must_check int loader_open(const char *directory, struct loader **ret_loader, struct error *error);
/* Leaves everything pinned and attached. */
void loader_close(struct loader *loader);
void loader_closep(struct loader **loader); /* for _cleanup_ */

enum loader_found loader_found(const struct loader *loader);

/*
 * The tables, mapped; `counters` is the first of loader_counter_sets() in a row: one for each processor, one for
 * what user space sends in the programs' stead (edge_hold_next()), and those of LOADER_WORKER_SETS. Until loader_close().
 */
const struct edge_tables *loader_tables(const struct loader *loader);
uint32_t loader_counter_sets(const struct loader *loader);
/*
 * Of those, the last LOADER_WORKER_SETS are no processor's but free for the workers of another engine on the same tables; none
 * without a directory.
 */
#define LOADER_WORKER_SETS 16u
/* The descriptor of table number `index` in the order of struct edge_tables, for another process to map. Borrowed. */
int loader_table_fd(const struct loader *loader, size_t index);
/* What an epoch is: 2^shift of the kernel's ticks of so many nanoseconds. */
void loader_epoch_length(uint32_t *ret_shift, uint32_t *ret_tick_ns);

/* The epoch that the programs see now; edge_config.epoch_override not regarded. */
uint32_t loader_epoch(const struct loader *loader);
/* The coarse clock that fragments' ages are told by; edge_config.now_override not regarded. */
uint32_t loader_now_ms(const struct loader *loader);

/*
 * Returns once every packet whose handling had begun before the call is done: the kernel waits so before it returns from a
 * change of a map of maps. For kernels that refuse membarrier(MEMBARRIER_CMD_GLOBAL), which is quicker.
 */
void loader_quiesce(const struct loader *loader);

/* Gives another object's maps of the same name the memory of this loader's. Before that object is loaded. */
must_check int loader_share_maps(const struct loader *loader, struct bpf_object *object, struct error *error);

/* How packets of an interface reach the program. */
enum loader_mode {
	LOADER_XDP_NATIVE,  /* in the driver; where it cannot, LOADER_XDP_GENERIC */
	LOADER_XDP_GENERIC, /* in the stack, before everything else */
	LOADER_TC,          /* tc ingress: the veth of a local workload */
};

struct loader_attachment {
	enum loader_mode mode; /* what it is */
	bool changed;          /* false: it was that way already, with this very program */
	char note[160];        /* why the mode is not the one wanted; empty when it is */
};

const char *loader_mode_name(enum loader_mode mode); /* "xdp-native", "xdp-generic", "tc" */

/*
 * Attaches, or exchanges what an earlier daemon attached. -EBUSY: somebody else's program is there; `error` names it. An
 * interface that went away and came back (with another index) is attached anew.
 */
must_check int loader_attach(struct loader *loader, uint32_t ifindex, enum loader_mode mode,
			     struct loader_attachment *ret_attachment, struct error *error);
/* 0 too when nothing is attached. */
must_check int loader_detach(struct loader *loader, uint32_t ifindex, struct error *error);

/*
 * The interfaces of this network namespace with a program of ours, at most `size`; what is left of interfaces that are
 * gone is cleared away. Returns how many.
 */
size_t loader_attached(struct loader *loader, uint32_t *ret_ifindexes, size_t size);

/* Detaches everywhere and removes every pin: what is left is as before the first loader_open(). Close it then. */
must_check int loader_remove(struct loader *loader, struct error *error);

/* What the programs report. `event` is valid during the call. */
typedef void loader_event_handler(const struct edge_event *event, void *context);

/* Readable when events wait; owned by the loader. */
int loader_events_fd(const struct loader *loader);
/* Calls `handler` for each waiting event; returns how many, or -errno. */
int loader_events_consume(struct loader *loader, loader_event_handler *handler, void *context);

/*
 * Runs the XDP program on a frame, without a network. Tables are loader_tables(); the loader must be one without a
 * directory. Frames have 14 to LOADER_FRAME_MAX bytes, as the kernel wants them here; others are -EINVAL and -EMSGSIZE.
 */
#define LOADER_FRAME_MAX 3400u

struct loader_run {
	enum verdict verdict; /* with LOADER_TC's way of delivery, too */
	uint32_t ifindex;     /* where it leaves, known when `event_known` */
	uint32_t length;      /* of what leaves, in `bytes` */
	uint32_t duration_ns; /* by the kernel's account, one run with whatever the caches held */
	bool event_known;
	struct edge_event event; /* with `record`: the decision */
	uint8_t bytes[LOADER_FRAME_MAX + 256];
};

/* `record`: also fetch the decision, which costs time within duration_ns. */
must_check int loader_test_run(struct loader *loader, const uint8_t *frame, uint32_t length, uint32_t ingress_ifindex,
			       bool record, struct loader_run *ret_run, struct error *error);

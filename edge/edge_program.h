/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the tables of one running engine: compares what is wanted with what packets see now and stores the difference, in
 * an order in which no packet ever meets a half-made change. The tables are the only record: after a restart
 * edge_program_adopt() reads its bookkeeping from them.
 *
 * One thread owns a program; packets are handled meanwhile.
 */
#pragma once

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "edge/edge_state.h"
#include "edge/edge_wanted.h"

/*
 * What the program asks of the engine. Embed it first in a larger struct to carry context.
 *
 * quiesce: returns once every packet whose handling had begun before the call is done. XDP and tc: an RCU grace period
 * (membarrier(MEMBARRIER_CMD_GLOBAL)); DPDK: all workers reported; replay: nothing runs, so nothing to do.
 * epoch: the epoch that packets see now.
 * now_ms: likewise, their milliseconds.
 */
struct edge_host {
	void (*quiesce)(const struct edge_host *host);
	uint32_t (*epoch)(const struct edge_host *host);
	uint32_t (*now_ms)(const struct edge_host *host);
};

/* Words stored, by table; all zero when nothing differed. */
struct edge_changes {
	uint32_t links;
	uint32_t routes;
	uint32_t neighbours;
	uint32_t vips;
	uint32_t services;    /* rows, port ranges, ring words */
	uint32_t backends;
	uint32_t ring_slots;
	uint32_t directories; /* places, of all dictionaries */
};

struct edge_program;
struct rtc_program;

/*
 * `tables->counters` is the first of `counter_sets` in a row. The tables must be all zero or have been written by programs
 * of the same EDGE_ABI; both are borrowed until edge_program_free(). Includes edge_program_adopt(). NULL: no memory.
 */
struct edge_program *edge_program_new(const struct edge_tables *tables, uint32_t counter_sets,
				      const struct edge_host *host);
void edge_program_free(struct edge_program *program);
void edge_program_freep(struct edge_program **program); /* for _cleanup_ */

/* Reads the bookkeeping anew from the tables as found; writes nothing. */
void edge_program_adopt(struct edge_program *program);

/*
 * Makes the tables equal to `wanted`. The whole of it is checked first: on -EINVAL and -E2BIG nothing was written and `error`
 * says what is wrong. -ENOSPC: the rows or ring slots that are being given up did not make enough room yet; -ENOMEM: no
 * memory on the way: what was written then is consistent, and the same call completes it later. May wait for
 * edge_host.quiesce a few times.
 */
must_check int edge_program_apply(struct edge_program *program, const struct edge_wanted *wanted,
				  struct edge_changes *ret_changes, struct error *error);
bool edge_changes_any(const struct edge_changes *changes);

/* Media sessions (rtc/rtc_program.h): to add, end and read them. The program's. */
struct rtc_program *edge_program_rtc(const struct edge_program *program);

/*
 * One sixteenth of a pass over the recorded flows: removes what expired, counts what lives; after a whole pass it takes rows
 * of removed backends and moved marks of rings out of quarantine, and ages neighbours. Call it about twice a second, so that
 * a pass takes an epoch: marks of flows must be swept before their epoch's four bits come round again (131 s).
 */
#define EDGE_SWEEP_STEPS 16u

struct edge_sweep_stats {
	bool complete;           /* this step ended a pass; the rest is about that pass, else about this step */
	uint32_t flows;          /* recorded and alive */
	uint32_t removed;        /* words cleared */
	uint32_t slots_settled;  /* moved marks taken off: their packets need no look into the flow table any more */
	uint32_t slots_moved;    /* marks that remain; only when complete */
	uint32_t rows_released;  /* backend rows that may be used again */
	uint32_t neighbours_removed;
	uint32_t sessions;       /* media sessions, alive or registered; only when complete */
	uint32_t sessions_ended; /* since the last step */
};

void edge_program_sweep(struct edge_program *program, uint32_t now_epoch, struct edge_sweep_stats *ret_stats);

/* Sums over all counter sets. Any thread that outlives no program may read. */
struct edge_totals {
	uint64_t verdicts[FUNCTION_COUNT][VERDICT_COUNT];
	uint64_t drops[DROP_COUNT];
	uint64_t bytes_in;
	uint64_t dns[DNS_RESULT_COUNT]; /* queries to packets' cache by what became of them */
};

void edge_program_totals(const struct edge_program *program, struct edge_totals *ret_totals);

/* Packets that a trace asked for and was not told of, of all counter sets. */
uint64_t edge_program_trace_hidden(const struct edge_program *program);

struct edge_backend_status {
	uint16_t row;
	enum lb_backend_state state; /* as packets see it */
	struct edge_backend_count count; /* since the backend came */
	uint32_t flows;    /* alive at the end of the last pass of edge_program_sweep(); calls, of a media service's backend */
	bool flows_known;  /* a whole pass has counted them since the row came into use or was adopted */
	bool drained;      /* not up, and a whole pass since then found no flow */
	uint32_t slots;    /* of the ring that are its own */
};

struct edge_service_status {
	uint16_t row;
	uint32_t ring_slots;  /* 0: no backend */
	uint32_t slots_moved; /* whose packets look into the flow table */
	uint32_t flows;
	struct edge_backend_count count;
};

/* Identities as in lb_wanted.h; other fields are not read. False: no such row in the tables. */
bool edge_program_service_status(const struct edge_program *program, const struct lb_service_wanted *service,
				 struct edge_service_status *ret_status);
bool edge_program_backend_status(const struct edge_program *program, const struct lb_service_wanted *service,
				 const struct lb_backend_wanted *backend, struct edge_backend_status *ret_status);

/* The rows alone, and a backend's counts alone, which cost no look at the ring; 0 and false: no such row in the tables. */
uint16_t edge_program_service_row(const struct edge_program *program, const struct lb_service_wanted *service);
uint16_t edge_program_backend_row(const struct edge_program *program, const struct lb_service_wanted *service,
				  const struct lb_backend_wanted *backend);
bool edge_program_backend_count(const struct edge_program *program, const struct lb_service_wanted *service,
				const struct lb_backend_wanted *backend, struct edge_backend_count *ret_count);

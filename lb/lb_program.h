/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the balancer's tables: the difference between what is wanted and what packets see, in an order in which no packet
 * meets a half-made change:
 *
 *     rows of new services and backends; backends that come up
 *     rings, each built in slots that no packet reads and switched by one store
 *     chains and dictionaries, each switched by one store
 *     backends that go down, drain or leave
 *     rows of services that left, after the packets in flight
 *
 * A backend's row is its own for life. When it leaves, the row is FREE in the table but names it on, until lb_program_sweep()
 * has removed every recorded flow that names the row: a new backend never inherits flows, and one that comes back in between
 * has its own again. Backends of services with direct return are in no dictionary: their answers do not pass here.
 *
 * The bookkeeping is all read from the tables: lb_program_adopt(). One thread.
 */
#pragma once

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "base/lib/quiesce.h"
#include "lb/lb_guard_state.h"
#include "lb/lb_wanted.h"

/* Words stored; all zero when nothing differed. */
struct lb_changes {
	uint32_t services; /* rows, port ranges, ring words */
	uint32_t backends;
	uint32_t ring_slots;
	uint32_t directories;
};

struct lb_program_options {
	struct lb_tables *tables; /* all borrowed until lb_program_free() */
	struct lb_rings *rings;
	struct lb_flows *flows;
	struct lb_filter *filter;
	struct lb_guards *guards;
	struct lb_limiter *limiter;
	struct quiesce *quiesce;
	void (*row_released)(void *context, uint16_t row); /* a backend row is nobody's now: its counters begin anew */
	void *context;
};

struct lb_program;

/* Adopts too. NULL: no memory. */
struct lb_program *lb_program_new(const struct lb_program_options *options);
void lb_program_free(struct lb_program *program);
void lb_program_freep(struct lb_program **program); /* for _cleanup_ */
void lb_program_adopt(struct lb_program *program);

/* Whether `services` can be put into tables at all. Reads nothing else. 0, -EINVAL, -E2BIG, -ENOMEM. */
must_check int lb_program_check(const struct lb_service_wanted *services, size_t count, struct error *error);

/* After lb_program_check(). 0, -ENOMEM, -ENOSPC: see edge_program_apply(). */
must_check int lb_program_apply(struct lb_program *program, uint64_t hash_seed, const struct lb_service_wanted *services,
				size_t count, uint32_t now_epoch, struct lb_changes *ret_changes, struct error *error);

/* One of LB_SWEEP_STEPS parts of a pass over the recorded flows. */
#define LB_SWEEP_STEPS 16u

struct lb_sweep_stats {
	bool complete; /* the step ended a pass; the numbers are the pass', else the step's */
	uint32_t flows;
	uint32_t removed;
	uint32_t slots_settled;
	uint32_t slots_moved; /* only when complete */
	uint32_t rows_released;
};

void lb_program_sweep(struct lb_program *program, uint32_t now_epoch, struct lb_sweep_stats *ret_stats);

/* Slots of a service's ring that had another backend before. */
uint32_t lb_program_slots_moved(const struct lb_program *program, uint16_t service_row);

/* Rows by identity (see lb_wanted.h), 0 for none. */
uint16_t lb_program_service_row(const struct lb_program *program, const struct lb_service_wanted *service);
uint16_t lb_program_backend_row(const struct lb_program *program, uint16_t service_row,
				const struct lb_backend_wanted *backend);

/* A rate in the units of buckets, and whether it fits them: 0, -EINVAL. For whoever has limits of its own. */
struct lb_rate lb_rate_of(const struct lb_rate_wanted *wanted);
must_check int lb_rate_check(const struct lb_service_wanted *service, const struct lb_rate_wanted *rate, struct error *error);

/* What the last whole pass of the sweep counted. */
struct lb_backend_flows {
	uint32_t flows;
	bool known;   /* a whole pass has counted since the row came into use or was adopted */
	bool drained; /* not up, and a whole pass since then found none */
};

struct lb_backend_flows lb_program_backend_flows(const struct lb_program *program, uint16_t row);

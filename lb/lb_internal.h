/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind lb_program.h share. */
#pragma once

#include "base/lib/directory_build.h"
#include "base/lib/table_put.h"
#include "lb/lb_guard_state.h"
#include "lb/lb_program.h"

/* Ring slots are given out in granules, which the three smaller ring sizes fill almost whole. */
#define RING_GRANULE_SLOTS 1024u
#define RING_GRANULES (LB_RING_SLOTS / RING_GRANULE_SLOTS)

enum row_use {
	ROW_UNUSED,     /* all zero */
	ROW_LIVE,       /* wanted by the last apply, or found */
	ROW_QUARANTINE, /* FREE in the table; recorded flows may name it */
};

struct service_book {
	bool used;
	bool had_ring;         /* flows may have been recorded: a ring after none is all moved */
	uint64_t signature;    /* of what the ring was built from; 0: not known */
	uint64_t ring_at_pass; /* the ring when the present pass of the sweep began; 0: none, or changed since */
	uint16_t range;        /* its lb_range row */
	uint32_t slots_moved;  /* of its ring */
	uint16_t *last;        /* of a service whose ring is empty: its last slots, and what they remembered */
	uint32_t last_size;
	uint32_t hops_since;   /* epoch + 1 of the pass that first saw what its ring remembers; 0: no pass has */
};

struct backend_book {
	enum row_use use;
	bool in_pass;    /* live when the present pass began */
	bool named;      /* the present pass has found a flow of it, or an affine client */
	bool counted;    /* `flows` is of this backend */
	uint64_t stamp;  /* quiesce_retire() when it last ceased to be up, left, or was released */
	uint32_t flows;
	uint32_t flows_counting;
};

struct sweep_state {
	uint32_t step;        /* the next one; 0: a pass begins */
	uint64_t flows_began[LB_SERVICE_ROWS]; /* the limiter's count when the present pass began */
	uint64_t flows_found[LB_SERVICE_ROWS];
	uint64_t pass_stamp;  /* what was quiesced when the present pass began */
	uint64_t counted_stamp; /* and when the last whole one did */
	struct lb_sweep_stats pass;
	uint64_t kept[LB_RING_SLOTS / 64]; /* ring slots that have a flow with another backend */
};

struct lb_program {
	struct lb_program_options options;
	struct service_book services[LB_SERVICE_ROWS];
	struct backend_book backends[LB_BACKEND_ROWS];
	bool range_used[LB_RANGE_ROWS];
	bool granule_used[RING_GRANULES];
	uint64_t granule_stamp[RING_GRANULES];
	uint64_t services_stamp; /* of the dictionaries' buffers that are not in use */
	uint64_t reverse_stamp;
	uint64_t sources_stamp;
	uint64_t quic_stamp;
	struct sweep_state sweep;
	/* Rows by identity, sorted: services in use, and backends that are live or in quarantine. */
	struct directory_pair service_index[LB_SERVICE_ROWS];
	size_t service_index_count;
	struct directory_pair backend_index[LB_BACKEND_ROWS];
	size_t backend_index_count;
};

/* What one apply is about to do: which row each wanted thing has, and which rows stay. */
struct plan {
	const struct lb_service_wanted *services;
	size_t count;
	uint16_t service_rows[LB_SERVICE_ROWS]; /* by the wanted service's place */
	uint32_t backend_first[LB_SERVICE_ROWS]; /* where its backends begin in: */
	uint16_t backend_rows[LB_BACKEND_ROWS];
	uint32_t ring_sizes[LB_SERVICE_ROWS];
	bool service_stays[LB_SERVICE_ROWS]; /* by row */
	bool service_new[LB_SERVICE_ROWS];
	bool backend_stays[LB_BACKEND_ROWS];
	bool backend_new[LB_BACKEND_ROWS]; /* or back from quarantine */
	bool egress_pending[LB_BACKEND_ROWS];
	size_t missing; /* services, backends and ranges for which there was no row */
	struct directory_pair pairs[LB_BACKEND_ROWS]; /* scratch */
	struct lb_changes changes;
};

/* lb_check.c */
struct directory_key service_identity(const struct address *address, uint8_t protocol, uint16_t port_first,
				      uint16_t port_last);
struct directory_key backend_identity(uint16_t service_row, const struct address *address, uint16_t port);
/* The key of the reverse dictionary. */
struct directory_key backend_endpoint(const struct lb_service_wanted *service, const struct lb_backend_wanted *backend);
/* The sizes of all rings, so that they have room; `ret_sizes` has `count` places. False: they have not. */
bool ring_sizes_choose(const struct lb_service_wanted *services, size_t count, uint32_t *ret_sizes);

/* lb_ring.c */
void rings_adopt(struct lb_program *program);
/* Begins a service's book, or ends it. */
void service_book_reset(struct lb_program *program, uint16_t service_row, bool used);
/* Gives back the slots of a service's ring, which no new packet reads. */
void ring_release(struct lb_program *program, uint64_t ring);
/* `rows`: of the service's backends. 0, -ENOMEM, -ENOSPC: the ring stays as it was. */
must_check int ring_apply(struct lb_program *program, uint16_t service_row, const struct lb_service_wanted *wanted,
			  const uint16_t *rows, uint32_t size, struct lb_changes *changes);
/* Counts the moved slots of a service's ring anew. */
void ring_count_moved(struct lb_program *program, uint16_t service_row);
/* Every flow of the service may be elsewhere than the ring says. */
void ring_mark_all(struct lb_program *program, uint16_t service_row, struct lb_changes *changes);
/*
 * Clears what a ring remembers of backends that have left, and with `old` of those that take new flows too. Returns how many
 * slots still remember one.
 */
uint32_t ring_forget(struct lb_program *program, uint16_t service_row, bool old);
/* The state that packets see: with LB_NO_BACKENDS_ALL, backends that are down may have to do. */
bool service_uses_all(const struct lb_service_wanted *service);

/* lb_program.c: after rows came or went. */
void indexes_build(struct lb_program *program);

/* lb_rows.c: in the order of an apply. */
/* Services; new ones are not to be found yet. */
void services_write(struct lb_program *program, struct plan *plan);
/* New backends, next hops, and backends that come up: before any ring names them. */
void backends_write(struct lb_program *program, struct plan *plan);
/* Backends that go down or drain, and those that leave: when no ring names them any more. */
void backends_retire(struct lb_program *program, struct plan *plan);
/* Rows of services that left: nothing leads to them any more; packets on the way are waited for. */
void services_remove(struct lb_program *program, struct plan *plan);

/* lb_sources.c */
/* The source sets of services, by their places in what is wanted, with their bounds. */
struct source_sets {
	uint32_t used;
	uint64_t sets[LB_SERVICE_ROWS];
	struct lb_source_bound bounds[LB_SOURCE_BOUNDS];
};

bool service_has_sources(const struct lb_service_wanted *service);
/* `*ret_sets` is for the caller to free; NULL when no service has any. 0, -E2BIG, -ENOMEM. */
must_check int sources_cut(const struct lb_service_wanted *services, size_t count, struct source_sets **ret_sets,
			   struct error *error);
/* Before services_write(): a service's set is there before its flag asks for it. */
must_check int sources_publish(struct lb_program *program, struct plan *plan, struct error *error);

/* lb_limits.c */
bool service_has_flow_limits(const struct lb_service_wanted *service);
/* 0, -EINVAL. */
must_check int limits_check(const struct lb_service_wanted *service, struct error *error);
/* Before the service's flags ask for them. */
void limits_write(struct lb_program *program, uint16_t row, const struct lb_service_wanted *wanted, struct plan *plan);

/* lb_publish.c */
/* Services, by address and port or by port range. */
must_check int services_publish(struct lb_program *program, struct plan *plan, struct error *error);
/* Backends, by QUIC's server ids; and whether they can be. `pairs`: room for all backends. */
must_check int quic_publish(struct lb_program *program, struct plan *plan, struct error *error);
must_check int quic_check(const struct lb_service_wanted *services, size_t count, struct directory_pair *pairs,
			  struct error *error);
/* Backends, by their endpoints: answers are known by them. */
must_check int backends_publish(struct lb_program *program, struct plan *plan, struct error *error);

/* lb_sweep.c */
/* Ends the present pass without counting it; the next step begins one. */
void sweep_restart(struct lb_program *program);

/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/edge_program.h"

#include <string.h>

#include "base/lib/quiesce.h"
#include "base/lib/table_put.h"
#include "edge/edge_internal.h"
#include "lb/lb_program.h"
#include "rtc/rtc_program.h"
#include "vip/vip_program.h"

_Static_assert(EDGE_SWEEP_STEPS == LB_SWEEP_STEPS && EDGE_SWEEP_STEPS == RTC_SWEEP_STEPS, "one sweep");

struct edge_program {
	struct edge_tables tables;
	uint32_t counter_sets;
	const struct edge_host *host;
	struct quiesce quiesce;
	struct row_table links, peers;
	struct vip_program vips;
	struct lb_program *lb;
	struct rtc_program *rtc;
	struct neighbour_book neighbours;
	uint64_t routes_stamp;
	uint32_t calls;     /* edge_config.calls as it was when there were any */
	bool calls_adopted; /* by another process, which may have ended before it said what it had changed */
};

static void program_quiesce(void *context)
{
	const struct edge_program *program = context;

	program->host->quiesce(program->host);
}

/* Workers add to counters that are theirs; of a row that no packet names they write none. */
static void backend_counters_clear(void *context, uint16_t row)
{
	struct edge_program *program = context;

	for (uint32_t set = 0; set < program->counter_sets; set++)
		program->tables.counters[set].backends[row] = (struct edge_backend_count){0};
}

void edge_program_adopt(struct edge_program *program)
{
	links_init(&program->links, program->tables.links, &program->quiesce);
	peers_init(&program->peers, &program->tables.lb->peers, &program->quiesce);
	vip_program_init(&program->vips, program->tables.vips, &program->quiesce);
	lb_program_adopt(program->lb);
	rtc_program_adopt(program->rtc);
	neighbours_done(&program->neighbours);
	program->routes_stamp = quiesce_retire(&program->quiesce);
	program->calls = load_once(program->tables.config->calls);
	program->calls_adopted = true;
}

struct edge_program *edge_program_new(const struct edge_tables *tables, uint32_t counter_sets,
				      const struct edge_host *host)
{
	struct edge_program *program = calloc(1, sizeof(*program));
	struct lb_program_options options = {
		.tables = tables->lb,
		.rings = tables->rings,
		.flows = tables->flows,
		.filter = tables->filter,
		.guards = tables->guards,
		.limiter = tables->limiter,
		.row_released = backend_counters_clear,
		.context = program,
	};
	struct rtc_program_options media = {
		.tables = tables->rtc,
		.sessions = tables->sessions,
		.index = tables->index,
		.lb = tables->lb,
	};

	if (!program)
		return NULL;
	options.quiesce = &program->quiesce;
	program->tables = *tables;
	program->counter_sets = counter_sets;
	program->host = host;
	program->quiesce = (struct quiesce){.wait = program_quiesce, .context = program};
	program->neighbours.table = tables->neighbours;
	program->lb = lb_program_new(&options);
	media.quiesce = &program->quiesce;
	program->rtc = rtc_program_new(&media);
	if (!program->lb || !program->rtc) {
		edge_program_free(program);
		return NULL;
	}
	edge_program_adopt(program);
	return program;
}

void edge_program_free(struct edge_program *program)
{
	if (!program)
		return;
	lb_program_free(program->lb);
	rtc_program_free(program->rtc);
	neighbours_done(&program->neighbours);
	free(program);
}

void edge_program_freep(struct edge_program **program)
{
	edge_program_free(*program);
}

static int wanted_check(const struct edge_wanted *wanted, struct route_plan *ret_routes, struct error *error)
{
	int result = links_check(wanted->links, wanted->link_count, error);

	if (result == 0)
		result = routes_plan(wanted->routes, wanted->route_count, ret_routes, error);
	if (result == 0)
		result = peers_check(wanted->peers, wanted->peer_count, error);
	if (result == 0)
		result = vip_program_check(wanted->vips, wanted->vip_count, error);
	if (result == 0)
		result = lb_program_check(wanted->services, wanted->service_count, error);
	for (size_t i = 0; i < wanted->service_count && result == 0; i++)
		result = rtc_service_check(&wanted->services[i], error);
	return result;
}

/* What packets need on their way comes first, what they come for next, and last the addresses that draw them here. */
static int wanted_write(struct edge_program *program, const struct edge_wanted *wanted, const struct route_plan *routes,
			struct edge_changes *changes, struct error *error)
{
	uint32_t now_epoch = program->host->epoch(program->host);
	struct vip_changes vip_changes = {0};
	struct lb_changes lb_changes = {0};
	int result;

	result = links_apply(&program->links, wanted->links, wanted->link_count, changes, error);
	if (result < 0)
		return result;
	routes_apply(program->tables.routes, routes, &program->quiesce, &program->routes_stamp, changes);
	result = neighbours_apply(&program->neighbours, wanted->neighbours, wanted->neighbour_count, now_epoch, changes,
				  error);
	if (result == 0)
		result = lb_program_apply(program->lb, wanted->hash_seed, wanted->services, wanted->service_count,
					  now_epoch, &lb_changes, error);
	for (size_t i = 0; i < wanted->service_count && result == 0; i++)
		rtc_program_service_write(program->rtc, lb_program_service_row(program->lb, &wanted->services[i]),
					  &wanted->services[i], &lb_changes.services);
	if (result == 0)
		rtc_program_services_clean(program->rtc, &lb_changes.services);
	if (result == 0)
		result = peers_apply(&program->peers, wanted->peers, wanted->peer_count, changes, error);
	if (result == 0)
		result = vip_program_apply(&program->vips, wanted->vips, wanted->vip_count, &vip_changes, error);
	changes->vips = vip_changes.vips;
	changes->services = lb_changes.services;
	changes->backends = lb_changes.backends;
	changes->ring_slots = lb_changes.ring_slots;
	changes->directories += lb_changes.directories + vip_changes.directories;
	return result;
}

/*
 * What packets remember of calls (rtc_shortcut_fast.h) is as old as the last change: with another number it is forgotten. What a late
 * worker notes by the old one nobody looks for any more.
 */
static void calls_write(struct edge_program *program, const struct edge_wanted *wanted, bool changed)
{
	struct edge_config *config = program->tables.config;
	bool media = false;

	for (size_t i = 0; i < wanted->service_count; i++)
		media |= wanted->services[i].media;
	if (media && config->calls && !changed && !program->calls_adopted)
		return;
	program->calls_adopted = false;
	store_once(config->calls, 0u);
	if (!media)
		return;
	memset(program->tables.index->shortcuts, 0, sizeof(program->tables.index->shortcuts));
	table_publish();
	program->calls += program->calls == UINT32_MAX ? 2 : 1;
	store_once(config->calls, program->calls);
}

int edge_program_apply(struct edge_program *program, const struct edge_wanted *wanted, struct edge_changes *ret_changes,
		       struct error *error)
{
	struct edge_changes changes = {0};
	struct route_plan routes;
	int result = wanted_check(wanted, &routes, error);

	if (result < 0)
		return result;
	result = wanted_write(program, wanted, &routes, &changes, error);
	calls_write(program, wanted, result < 0 || edge_changes_any(&changes));
	if (result == 0)
		*ret_changes = changes;
	return result;
}

bool edge_changes_any(const struct edge_changes *changes)
{
	static const struct edge_changes none;

	return memcmp(changes, &none, sizeof(none)) != 0;
}

struct rtc_program *edge_program_rtc(const struct edge_program *program)
{
	return program->rtc;
}

void edge_program_sweep(struct edge_program *program, uint32_t now_epoch, struct edge_sweep_stats *ret_stats)
{
	struct rtc_sweep_stats media;
	struct lb_sweep_stats stats;

	/* First: a backend's row is free when a whole pass of the balancer's ended, and no session may name it then. */
	rtc_program_sweep(program->rtc, program->host->now_ms(program->host), &media);
	lb_program_sweep(program->lb, now_epoch, &stats);
	*ret_stats = (struct edge_sweep_stats){
		.complete = stats.complete,
		.flows = stats.flows,
		.removed = stats.removed,
		.slots_settled = stats.slots_settled,
		.slots_moved = stats.slots_moved,
		.rows_released = stats.rows_released,
		.sessions = media.complete ? media.live + media.waiting : 0,
	};
	for (int why = 0; why < RTC_ENDS; why++)
		ret_stats->sessions_ended += media.ended[why];
	if (stats.complete)
		ret_stats->neighbours_removed = neighbours_age(&program->neighbours, now_epoch);
}

void edge_program_totals(const struct edge_program *program, struct edge_totals *ret_totals)
{
	struct edge_totals totals = {0};

	for (uint32_t set = 0; set < program->counter_sets; set++) {
		const struct edge_counters *counters = &program->tables.counters[set];

		for (uint32_t function = 0; function < FUNCTION_COUNT; function++) {
			for (uint32_t verdict = 0; verdict < VERDICT_COUNT; verdict++)
				totals.verdicts[function][verdict] += load_once(counters->verdicts[function][verdict]);
		}
		for (uint32_t reason = 0; reason < DROP_COUNT; reason++)
			totals.drops[reason] += load_once(counters->drops[reason]);
		for (uint32_t result = 0; result < DNS_RESULT_COUNT; result++)
			totals.dns[result] += load_once(counters->dns.results[result]);
		totals.bytes_in += load_once(counters->bytes_in);
	}
	*ret_totals = totals;
}

uint64_t edge_program_trace_hidden(const struct edge_program *program)
{
	uint64_t hidden = 0;

	for (uint32_t set = 0; set < program->counter_sets; set++)
		hidden += load_once(program->tables.counters[set].trace_hidden);
	return hidden;
}

static void backend_count_add(const struct edge_program *program, uint16_t row, struct edge_backend_count *count)
{
	for (uint32_t set = 0; set < program->counter_sets; set++) {
		const struct edge_backend_count *part = &program->tables.counters[set].backends[row];

		count->packets += load_once(part->packets);
		count->bytes += load_once(part->bytes);
		count->flows += load_once(part->flows);
		count->answers += load_once(part->answers);
		count->answer_bytes += load_once(part->answer_bytes);
	}
}

uint16_t edge_program_service_row(const struct edge_program *program, const struct lb_service_wanted *service)
{
	return lb_program_service_row(program->lb, service);
}

uint16_t edge_program_backend_row(const struct edge_program *program, const struct lb_service_wanted *service,
				  const struct lb_backend_wanted *backend)
{
	uint16_t service_row = lb_program_service_row(program->lb, service);

	return service_row ? lb_program_backend_row(program->lb, service_row, backend) : 0;
}

bool edge_program_backend_count(const struct edge_program *program, const struct lb_service_wanted *service,
				const struct lb_backend_wanted *backend, struct edge_backend_count *ret_count)
{
	uint16_t row = edge_program_backend_row(program, service, backend);

	*ret_count = (struct edge_backend_count){0};
	if (row)
		backend_count_add(program, row, ret_count);
	return row != 0;
}

/* A backend's flows, or the calls of one of a media service. */
static struct lb_backend_flows backend_flows(const struct edge_program *program, uint16_t row)
{
	struct lb_backend_flows flows = lb_program_backend_flows(program->lb, row);
	struct rtc_agent_calls calls;

	if (!(program->tables.lb->backends[row & (LB_BACKEND_ROWS - 1)].flags & LB_BACKEND_MEDIA))
		return flows;
	calls = rtc_program_agent_calls(program->rtc, row);
	return (struct lb_backend_flows){.flows = calls.live, .known = calls.known, .drained = calls.drained};
}

bool edge_program_service_status(const struct edge_program *program, const struct lb_service_wanted *service,
				 struct edge_service_status *ret_status)
{
	const struct lb_tables *lb = program->tables.lb;
	uint16_t row = lb_program_service_row(program->lb, service);
	struct edge_service_status status = {.row = row};

	if (row == 0)
		return false;
	status.ring_slots = (uint32_t)lb->services[row].ring;
	status.slots_moved = lb_program_slots_moved(program->lb, row);
	for (uint16_t backend = 1; backend < LB_BACKEND_ROWS; backend++) {
		if (lb->backends[backend].service != row)
			continue;
		status.flows += backend_flows(program, backend).flows;
		backend_count_add(program, backend, &status.count);
	}
	*ret_status = status;
	return true;
}

bool edge_program_backend_status(const struct edge_program *program, const struct lb_service_wanted *service,
				 const struct lb_backend_wanted *backend, struct edge_backend_status *ret_status)
{
	uint16_t service_row = lb_program_service_row(program->lb, service);
	uint16_t row = edge_program_backend_row(program, service, backend);
	uint64_t ring = program->tables.lb->services[service_row].ring;
	struct lb_backend_flows flows = backend_flows(program, row);
	struct edge_backend_status status = {
		.row = row,
		.state = program->tables.lb->backends[row].state,
		.flows = flows.flows,
		.flows_known = flows.known,
		.drained = flows.drained,
	};
	uint32_t first = (uint32_t)(ring >> 32);

	if (row == 0)
		return false;
	for (uint32_t slot = first; slot < first + (uint32_t)ring; slot++)
		status.slots += (program->tables.rings->slots[slot] & LB_SLOT_BACKEND) == row;
	backend_count_add(program, row, &status.count);
	*ret_status = status;
	return true;
}

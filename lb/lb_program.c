/* SPDX-License-Identifier: Apache-2.0 */
#include "lb/lb_program.h"

#include <string.h>

#include "lb/lb_internal.h"

/*
 * Bookkeeping
 */

static bool service_row_used(const struct lb_service *service)
{
	return service->protocol != 0;
}

static struct directory_key service_row_identity(const struct lb_service *service)
{
	return service_identity(&service->address, service->protocol, be16_get(service->port_first),
				be16_get(service->port_last));
}

static struct directory_key backend_row_identity(const struct lb_backend *backend)
{
	return backend_identity(backend->service, &backend->address, be16_get(backend->port));
}

void indexes_build(struct lb_program *program)
{
	const struct lb_tables *tables = program->options.tables;
	size_t count = 0;

	for (uint32_t row = 1; row < LB_SERVICE_ROWS; row++) {
		if (program->services[row].used)
			program->service_index[count++] =
				(struct directory_pair){service_row_identity(&tables->services[row]), row};
	}
	directory_pairs_sort(program->service_index, count);
	program->service_index_count = count;
	count = 0;
	for (uint32_t row = 1; row < LB_BACKEND_ROWS; row++) {
		/* A row in quarantine whose service has left is nobody's any more. */
		if (program->backends[row].use != ROW_UNUSED && tables->backends[row].service)
			program->backend_index[count++] =
				(struct directory_pair){backend_row_identity(&tables->backends[row]), row};
	}
	directory_pairs_sort(program->backend_index, count);
	program->backend_index_count = count;
}

static void ranges_adopt(struct lb_program *program)
{
	const struct lb_tables *tables = program->options.tables;

	memset(program->range_used, 0, sizeof(program->range_used));
	for (uint32_t row = 1; row < LB_RANGE_ROWS; row++) {
		const struct lb_range *range = &tables->ranges[row];

		/* A range of a service that is gone was about to be cleared. */
		if (range->service == 0 || range->service >= LB_SERVICE_ROWS || !program->services[range->service].used)
			continue;
		program->range_used[row] = true;
		program->services[range->service].range = (uint16_t)row;
	}
}

void lb_program_adopt(struct lb_program *program)
{
	const struct lb_tables *tables = program->options.tables;
	uint64_t stamp = quiesce_retire(program->options.quiesce);

	for (uint32_t row = 0; row < LB_SERVICE_ROWS; row++)
		service_book_reset(program, (uint16_t)row, false);
	memset(program->backends, 0, sizeof(program->backends));
	for (uint32_t row = 1; row < LB_SERVICE_ROWS; row++) {
		program->services[row].used = service_row_used(&tables->services[row]);
		program->services[row].had_ring = program->services[row].used;
	}
	for (uint32_t row = 1; row < LB_BACKEND_ROWS; row++) {
		const struct lb_backend *backend = &tables->backends[row];

		program->backends[row].stamp = stamp;
		if (!address_is_zero(&backend->address))
			program->backends[row].use = backend->state == LB_BACKEND_FREE ? ROW_QUARANTINE : ROW_LIVE;
	}
	program->services_stamp = stamp;
	program->reverse_stamp = stamp;
	program->sources_stamp = stamp;
	program->quic_stamp = stamp;
	ranges_adopt(program);
	rings_adopt(program);
	indexes_build(program);
	sweep_restart(program);
}

struct lb_program *lb_program_new(const struct lb_program_options *options)
{
	struct lb_program *program = calloc(1, sizeof(*program));

	if (!program)
		return NULL;
	program->options = *options;
	lb_program_adopt(program);
	return program;
}

void lb_program_free(struct lb_program *program)
{
	for (uint32_t row = 0; program && row < LB_SERVICE_ROWS; row++)
		free(program->services[row].last);
	free(program);
}

void lb_program_freep(struct lb_program **program)
{
	lb_program_free(*program);
}

uint16_t lb_program_service_row(const struct lb_program *program, const struct lb_service_wanted *service)
{
	struct directory_key key =
		service_identity(&service->address, service->protocol, service->port_first, service->port_last);

	return (uint16_t)directory_pairs_find(program->service_index, program->service_index_count, &key);
}

uint16_t lb_program_backend_row(const struct lb_program *program, uint16_t service_row,
				const struct lb_backend_wanted *backend)
{
	struct directory_key key = backend_identity(service_row, &backend->address, backend->port);
	uint32_t row = directory_pairs_find(program->backend_index, program->backend_index_count, &key);

	return program->backends[row].use == ROW_LIVE ? (uint16_t)row : 0;
}

/*
 * Planning: rows
 */

static uint16_t service_row_take(const struct lb_program *program, struct plan *plan)
{
	for (uint16_t row = 1; row < LB_SERVICE_ROWS; row++) {
		if (!program->services[row].used && !plan->service_stays[row]) {
			plan->service_new[row] = true;
			return row;
		}
	}
	plan->missing++;
	return 0;
}

static uint16_t backend_row_take(const struct lb_program *program, struct plan *plan, uint32_t *next)
{
	for (; *next < LB_BACKEND_ROWS; (*next)++) {
		if (program->backends[*next].use == ROW_UNUSED && !plan->backend_stays[*next]) {
			plan->backend_new[*next] = true;
			return (uint16_t)*next;
		}
	}
	plan->missing++;
	return 0;
}

static void plan_backends(const struct lb_program *program, struct plan *plan)
{
	uint32_t next = 1, place = 0;

	for (size_t i = 0; i < plan->count; i++) {
		const struct lb_service_wanted *service = &plan->services[i];

		plan->backend_first[i] = place;
		for (size_t j = 0; j < service->backend_count; j++) {
			struct directory_key key = backend_identity(plan->service_rows[i], &service->backends[j].address,
								    service->backends[j].port);
			uint32_t row = directory_pairs_find(program->backend_index, program->backend_index_count, &key);

			if (row == 0)
				row = backend_row_take(program, plan, &next);
			else if (program->backends[row].use == ROW_QUARANTINE)
				plan->backend_new[row] = true;
			plan->backend_stays[row] = true;
			plan->backend_rows[place++] = (uint16_t)row;
		}
	}
}

/* Ranges have a row of their own each. Those of services that leave are not to be had yet. */
static void plan_ranges(const struct lb_program *program, struct plan *plan)
{
	size_t needed = 0, free_rows = 0;

	for (size_t i = 0; i < plan->count; i++) {
		uint16_t row = plan->service_rows[i];

		if (plan->services[i].port_first != plan->services[i].port_last)
			needed += row == 0 || program->services[row].range == 0;
	}
	for (uint32_t row = 1; row < LB_RANGE_ROWS; row++)
		free_rows += !program->range_used[row];
	if (needed > free_rows)
		plan->missing += needed - free_rows;
}

static struct plan *plan_new(const struct lb_program *program, const struct lb_service_wanted *services, size_t count)
{
	struct plan *plan = calloc(1, sizeof(*plan));

	if (!plan)
		return NULL;
	plan->services = services;
	plan->count = count;
	for (size_t i = 0; i < count; i++)
		plan->service_rows[i] = lb_program_service_row(program, &services[i]);
	for (size_t i = 0; i < count; i++)
		plan->service_stays[plan->service_rows[i]] = true;
	for (size_t i = 0; i < count; i++) {
		if (plan->service_rows[i] == 0)
			plan->service_rows[i] = service_row_take(program, plan);
		plan->service_stays[plan->service_rows[i]] = true;
	}
	plan_backends(program, plan);
	plan_ranges(program, plan);
	(void)ring_sizes_choose(services, count, plan->ring_sizes);
	return plan;
}

static void plan_freep(struct plan **plan)
{
	free(*plan);
}

/*
 * Execution
 */

static int rings_write(struct lb_program *program, struct plan *plan, struct error *error)
{
	for (size_t i = 0; i < plan->count; i++) {
		int result = ring_apply(program, plan->service_rows[i], &plan->services[i],
					&plan->backend_rows[plan->backend_first[i]], plan->ring_sizes[i],
					&plan->changes);

		if (result < 0)
			return error_set(error, -result, "service %s: building the ring of %u slots: %s",
					 plan->services[i].name, plan->ring_sizes[i],
					 result == -ENOSPC ? "no room for it among the others" : "no memory");
	}
	return 0;
}

static int plan_execute(struct lb_program *program, struct plan *plan, struct error *error)
{
	int result = sources_publish(program, plan, error);

	if (result < 0)
		return result;
	services_write(program, plan);
	backends_write(program, plan);
	result = rings_write(program, plan, error);
	if (result == 0)
		result = services_publish(program, plan, error);
	if (result == 0)
		result = backends_publish(program, plan, error);
	if (result == 0)
		result = quic_publish(program, plan, error);
	if (result == 0) {
		backends_retire(program, plan);
		services_remove(program, plan);
	}
	indexes_build(program);
	return result;
}

/* Ends the quarantine of every row whose flows have gone or can be removed. */
static void sweep_whole(struct lb_program *program, uint32_t now_epoch)
{
	struct lb_sweep_stats stats;

	sweep_restart(program);
	do
		lb_program_sweep(program, now_epoch, &stats);
	while (!stats.complete);
}

/* What of the wanted is in place already: everything else leaves, to make room. */
static int plan_make_room(struct lb_program *program, const struct plan *full, uint32_t now_epoch,
			  struct lb_changes *changes, struct error *error)
{
	_cleanup_(freep) struct lb_service_wanted *services = calloc(full->count + 1, sizeof(*services));
	_cleanup_(freep) struct lb_backend_wanted *backends = calloc(LB_BACKEND_ROWS, sizeof(*backends));
	_cleanup_(plan_freep) struct plan *plan = NULL;
	size_t count = 0, used = 0;
	int result;

	if (!services || !backends)
		return error_set(error, ENOMEM, "making room in the tables: no memory");
	for (size_t i = 0; i < full->count; i++) {
		uint16_t row = full->service_rows[i];

		if (row == 0 || full->service_new[row])
			continue;
		services[count] = full->services[i];
		services[count].backends = &backends[used];
		services[count].backend_count = 0;
		for (size_t j = 0; j < full->services[i].backend_count; j++) {
			uint16_t backend_row = full->backend_rows[full->backend_first[i] + j];

			if (backend_row == 0 || full->backend_new[backend_row])
				continue;
			backends[used++] = full->services[i].backends[j];
			services[count].backend_count++;
		}
		count++;
	}
	plan = plan_new(program, services, count);
	if (!plan)
		return error_set(error, ENOMEM, "making room in the tables: no memory");
	result = plan_execute(program, plan, error);
	*changes = plan->changes;
	if (result == 0)
		sweep_whole(program, now_epoch);
	return result;
}

static void changes_add(struct lb_changes *sum, const struct lb_changes *changes)
{
	sum->services += changes->services;
	sum->backends += changes->backends;
	sum->ring_slots += changes->ring_slots;
	sum->directories += changes->directories;
}

int lb_program_apply(struct lb_program *program, uint64_t hash_seed, const struct lb_service_wanted *services,
		     size_t count, uint32_t now_epoch, struct lb_changes *ret_changes, struct error *error)
{
	_cleanup_(plan_freep) struct plan *plan = plan_new(program, services, count);
	struct lb_changes before = {0};
	int result;

	if (!plan)
		return error_set(error, ENOMEM, "planning %zu services: no memory", count);
	if (plan->missing) {
		result = plan_make_room(program, plan, now_epoch, &before, error);
		if (result < 0)
			return result;
		free(plan);
		plan = plan_new(program, services, count);
		if (!plan)
			return error_set(error, ENOMEM, "planning %zu services: no memory", count);
		if (plan->missing)
			return error_set(error, ENOSPC, "no table rows for %zu services, backends or port ranges",
					 plan->missing);
	}
	table_put(program->options.tables->hash_seed, hash_seed, &plan->changes.services);
	table_put(program->options.guards->seed, hash_seed, &plan->changes.services);
	result = plan_execute(program, plan, error);
	if (result < 0)
		return result;
	changes_add(&plan->changes, &before);
	*ret_changes = plan->changes;
	return 0;
}

uint32_t lb_program_slots_moved(const struct lb_program *program, uint16_t service_row)
{
	return program->services[service_row & (LB_SERVICE_ROWS - 1)].slots_moved;
}

struct lb_backend_flows lb_program_backend_flows(const struct lb_program *program, uint16_t row)
{
	const struct backend_book *book = &program->backends[row & (LB_BACKEND_ROWS - 1)];
	uint8_t state = program->options.tables->backends[row & (LB_BACKEND_ROWS - 1)].state;

	return (struct lb_backend_flows){
		.flows = book->flows,
		.known = book->counted,
		.drained = book->counted && state != LB_BACKEND_UP && book->flows == 0 &&
			   book->stamp <= program->sweep.counted_stamp,
	};
}

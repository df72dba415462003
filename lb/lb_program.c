/* SPDX-License-Identifier: Apache-2.0 */
#include "lb/lb_program.h"

#include <string.h>

#include "lb/lb_internal.h"

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

	memset(program->services, 0, sizeof(program->services));
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
 * Rows
 */

static uint16_t service_flags(const struct lb_service_wanted *wanted)
{
	return (uint16_t)((wanted->affinity ? LB_SERVICE_AFFINITY : 0) | (wanted->direct ? LB_SERVICE_DIRECT : 0) |
			  (wanted->port_first != wanted->port_last ? LB_SERVICE_RANGE : 0));
}

static void service_write_new(struct lb_program *program, uint16_t row, const struct lb_service_wanted *wanted,
			      struct plan *plan)
{
	program->options.tables->services[row] = (struct lb_service){
		.address = wanted->address,
		.port_first = be16_from(wanted->port_first),
		.port_last = be16_from(wanted->port_last),
		.protocol = wanted->protocol,
		.ipv6 = !address_is_ipv4(&wanted->address),
		.flags = service_flags(wanted),
		.udp_idle_epochs = wanted->udp_idle_epochs,
		.affinity_epochs = wanted->affinity_epochs,
	};
	program->services[row] = (struct service_book){.used = true};
	plan->changes.services += sizeof(struct lb_service) / sizeof(uint64_t);
}

static void services_write(struct lb_program *program, struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct lb_service_wanted *wanted = &plan->services[i];
		uint16_t row = plan->service_rows[i];
		struct lb_service *service = &program->options.tables->services[row];

		if (plan->service_new[row]) {
			service_write_new(program, row, wanted, plan);
			continue;
		}
		/* Asked by another hash, the ring has other answers for the flows that there are. */
		if ((service->flags ^ service_flags(wanted)) & LB_SERVICE_AFFINITY)
			ring_mark_all(program, row, &plan->changes);
		table_put(service->flags, service_flags(wanted), &plan->changes.services);
		table_put(service->udp_idle_epochs, wanted->udp_idle_epochs, &plan->changes.services);
		table_put(service->affinity_epochs, wanted->affinity_epochs, &plan->changes.services);
	}
}

/* The state for packets: where backends that are down have to do, they are up. */
static enum lb_backend_state backend_state(const struct lb_service_wanted *service,
					   const struct lb_backend_wanted *backend)
{
	return backend->state == LB_BACKEND_DOWN && service_uses_all(service) ? LB_BACKEND_UP : backend->state;
}

static void backend_write_new(struct lb_program *program, uint16_t row, uint16_t service_row,
			      const struct lb_service_wanted *service, const struct lb_backend_wanted *wanted,
			      struct plan *plan)
{
	struct lb_backend *backend = &program->options.tables->backends[row];
	struct backend_book *book = &program->backends[row];

	quiesce_need(program->options.quiesce, book->stamp);
	backend->address = wanted->address;
	backend->egress = wanted->egress;
	backend->port = be16_from(wanted->port);
	backend->service = service_row;
	backend->next = 0;
	table_publish();
	store_once(backend->state, (uint8_t)backend_state(service, wanted));
	*book = (struct backend_book){.use = ROW_LIVE, .stamp = quiesce_retire(program->options.quiesce)};
	plan->changes.backends += sizeof(struct lb_backend) / sizeof(uint64_t);
}

/* Interface, VLAN and flags are one word, so that they change together. */
static uint64_t *egress_word(struct egress *egress)
{
	_Static_assert(offsetof(struct lb_backend, egress.ifindex) % 8 == 0, "one aligned word");
	return (uint64_t *)(void *)&egress->ifindex;
}

/*
 * The first half of a new next hop. Where one word differs, it is stored and that was it. Where several do, the present
 * next hop is declared unresolved: its packets are dropped and counted for the length of two waits, rather than sent
 * to one link with the addresses of another.
 */
static void egress_begin(struct lb_program *program, uint16_t row, const struct egress *wanted, struct plan *plan)
{
	struct egress *egress = &program->options.tables->backends[row].egress;
	struct egress unresolved = *egress;
	uint32_t differing = (egress->destination_mac != wanted->destination_mac) +
			     (egress->source_mac != wanted->source_mac) +
			     (*egress_word(egress) != *egress_word((struct egress *)wanted));

	if (differing == 0)
		return;
	if (differing == 1) {
		table_put(egress->destination_mac, wanted->destination_mac, &plan->changes.backends);
		table_put(egress->source_mac, wanted->source_mac, &plan->changes.backends);
		table_put(*egress_word(egress), *egress_word((struct egress *)wanted), &plan->changes.backends);
		return;
	}
	unresolved.flags &= (uint16_t)~EGRESS_RESOLVED;
	if (egress->flags & EGRESS_RESOLVED) {
		table_put(*egress_word(egress), *egress_word(&unresolved), &plan->changes.backends);
		quiesce_retire(program->options.quiesce);
	}
	plan->egress_pending[row] = true;
}

/* The second half, for all backends together: the addresses while nobody reads them, then the word that says so. */
static void egresses_end(struct lb_program *program, struct plan *plan, bool addresses)
{
	bool waited = false;

	for (size_t i = 0; i < plan->count; i++) {
		for (size_t j = 0; j < plan->services[i].backend_count; j++) {
			uint16_t row = plan->backend_rows[plan->backend_first[i] + j];
			const struct egress *wanted = &plan->services[i].backends[j].egress;
			struct egress *egress = &program->options.tables->backends[row].egress;

			if (!plan->egress_pending[row])
				continue;
			if (!waited)
				quiesce_all(program->options.quiesce);
			waited = true;
			if (addresses) {
				table_put(egress->destination_mac, wanted->destination_mac, &plan->changes.backends);
				table_put(egress->source_mac, wanted->source_mac, &plan->changes.backends);
			} else {
				table_put(*egress_word(egress), *egress_word((struct egress *)wanted),
					  &plan->changes.backends);
			}
		}
	}
	if (waited)
		quiesce_retire(program->options.quiesce);
}

/* New backends, next hops, and backends that come up: before any ring names them. */
static void backends_write(struct lb_program *program, struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct lb_service_wanted *service = &plan->services[i];

		for (size_t j = 0; j < service->backend_count; j++) {
			const struct lb_backend_wanted *wanted = &service->backends[j];
			uint16_t row = plan->backend_rows[plan->backend_first[i] + j];
			struct lb_backend *backend = &program->options.tables->backends[row];

			if (plan->backend_new[row]) {
				backend_write_new(program, row, plan->service_rows[i], service, wanted, plan);
				continue;
			}
			egress_begin(program, row, &wanted->egress, plan);
			if (backend_state(service, wanted) == LB_BACKEND_UP)
				table_put(backend->state, LB_BACKEND_UP, &plan->changes.backends);
		}
	}
	egresses_end(program, plan, true);
	egresses_end(program, plan, false);
}

/* Backends that go down or drain, and those that leave: when no ring names them any more. */
static void backends_retire(struct lb_program *program, struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct lb_service_wanted *service = &plan->services[i];

		for (size_t j = 0; j < service->backend_count; j++) {
			uint16_t row = plan->backend_rows[plan->backend_first[i] + j];
			struct lb_backend *backend = &program->options.tables->backends[row];
			enum lb_backend_state state = backend_state(service, &service->backends[j]);

			if (backend->state == state)
				continue;
			table_put(backend->state, state, &plan->changes.backends);
			program->backends[row].stamp = quiesce_retire(program->options.quiesce);
		}
	}
	for (uint32_t row = 1; row < LB_BACKEND_ROWS; row++) {
		if (program->backends[row].use != ROW_LIVE || plan->backend_stays[row])
			continue;
		table_put(program->options.tables->backends[row].state, LB_BACKEND_FREE, &plan->changes.backends);
		program->backends[row] = (struct backend_book){
			.use = ROW_QUARANTINE, .stamp = quiesce_retire(program->options.quiesce)};
	}
}

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

/*
 * Chains: rows with the same key, linked by a 16-bit `next` within each
 */

struct chain {
	uint8_t *next; /* of row 0 */
	size_t stride;
	uint32_t rows;
	uint32_t *changes;
};

static uint16_t *chain_next(const struct chain *chain, uint32_t row)
{
	return (uint16_t *)(void *)(chain->next + row % chain->rows * chain->stride);
}

/*
 * Links `members` (at most `LB_RANGES_PER_ADDRESS`): those that are linked from `head` keep their order, new ones come
 * behind. Stored from the end, so that who walks the chain meanwhile finds all that stay. Returns the head.
 */
static uint32_t chain_settle(const struct chain *chain, uint32_t head, const struct directory_pair *members, size_t count)
{
	uint16_t order[LB_RANGES_PER_ADDRESS];
	bool placed[LB_RANGES_PER_ADDRESS] = {false};
	size_t used = 0;

	for (size_t step = 0; step < LB_RANGES_PER_ADDRESS && head; step++, head = *chain_next(chain, head)) {
		for (size_t i = 0; i < count; i++) {
			if (members[i].row == head && !placed[i]) {
				placed[i] = true;
				order[used++] = (uint16_t)head;
			}
		}
	}
	for (size_t i = 0; i < count; i++) {
		if (!placed[i])
			order[used++] = (uint16_t)members[i].row;
	}
	for (size_t i = used; i-- > 0;) {
		uint16_t next = i + 1 < used ? order[i + 1] : 0;

		table_publish();
		table_put(*chain_next(chain, order[i]), next, chain->changes);
	}
	return order[0];
}

/* Links rows with equal keys among sorted pairs; leaves one pair for each key, with the chain's head. Returns how many. */
static size_t chains_settle(const struct chain *chain, const struct directory_entry *entries, uint32_t bits,
			    uint64_t control, struct directory_pair *pairs, size_t count)
{
	size_t heads = 0;

	for (size_t first = 0, end; first < count; first = end) {
		struct directory_key key = pairs[first].key;
		uint32_t head = directory_find(entries, bits, control, &key);

		for (end = first + 1; end < count && memcmp(&pairs[end].key, &key, sizeof(key)) == 0; end++)
			;
		head = chain_settle(chain, head, &pairs[first], end - first);
		pairs[heads++] = (struct directory_pair){key, head};
	}
	return heads;
}

/* Switches to a dictionary of these pairs, if it differs. */
static int directory_switch(struct lb_program *program, struct directory_entry *entries, uint32_t bits,
			    uint64_t *control, uint64_t *spare_stamp, const struct directory_pair *pairs, size_t count,
			    struct plan *plan, struct error *error)
{
	uint64_t next;
	int result;

	if (directory_holds(entries, bits, *control, pairs, count))
		return 0;
	quiesce_need(program->options.quiesce, *spare_stamp);
	result = directory_build(entries, bits, *control, pairs, count, &next);
	if (result < 0)
		return error_set(error, ENOSPC, "a dictionary of %zu keys cannot be built", count);
	table_publish();
	store_once(*control, next);
	*spare_stamp = quiesce_retire(program->options.quiesce);
	plan->changes.directories += (uint32_t)count + 1;
	return 0;
}

static uint16_t range_row_take(struct lb_program *program, uint16_t service_row,
			       const struct lb_service_wanted *service, struct plan *plan)
{
	for (uint16_t row = 1; row < LB_RANGE_ROWS; row++) {
		if (program->range_used[row])
			continue;
		program->range_used[row] = true;
		program->services[service_row].range = row;
		program->options.tables->ranges[row] =
			(struct lb_range){service->port_first, service->port_last, service_row, 0};
		plan->changes.services++;
		return row;
	}
	return 0;
}

/* Service dictionary: a place for each single port, and one for the port ranges of each address and protocol. */
static int services_publish(struct lb_program *program, struct plan *plan, struct error *error)
{
	struct lb_tables *tables = program->options.tables;
	const struct chain chain = {(uint8_t *)&tables->ranges[0].next, sizeof(struct lb_range), LB_RANGE_ROWS,
				    &plan->changes.services};
	struct directory_entry *entries = &tables->services_by_address.entries[0][0];
	uint64_t *control = &tables->services_by_address.control;
	struct directory_pair *ranges = &plan->pairs[LB_SERVICE_ROWS];
	size_t singles = 0, range_count = 0;

	for (size_t i = 0; i < plan->count; i++) {
		const struct lb_service_wanted *service = &plan->services[i];
		bool ipv6 = !address_is_ipv4(&service->address);
		uint16_t row = plan->service_rows[i], range = program->services[row].range;

		if (service->port_first == service->port_last) {
			plan->pairs[singles++] = (struct directory_pair){
				lb_key(LB_KEY_SERVICE, &service->address, ipv6, service->protocol,
				       be16_from(service->port_first)), row};
			continue;
		}
		if (range == 0)
			range = range_row_take(program, row, service, plan);
		ranges[range_count++] = (struct directory_pair){
			lb_key(LB_KEY_RANGE, &service->address, ipv6, service->protocol, (struct be16){0}), range};
	}
	directory_pairs_sort(ranges, range_count);
	range_count = chains_settle(&chain, entries, LB_SERVICE_DIRECTORY_BITS, *control, ranges, range_count);
	memmove(&plan->pairs[singles], ranges, range_count * sizeof(*ranges));
	return directory_switch(program, entries, LB_SERVICE_DIRECTORY_BITS, control, &program->services_stamp,
				plan->pairs, singles + range_count, plan, error);
}

static int backends_publish(struct lb_program *program, struct plan *plan, struct error *error)
{
	struct lb_tables *tables = program->options.tables;
	const struct chain chain = {(uint8_t *)&tables->backends[0].next, sizeof(struct lb_backend), LB_BACKEND_ROWS,
				    &plan->changes.backends};
	struct directory_entry *entries = &tables->backends_by_endpoint.entries[0][0];
	uint64_t *control = &tables->backends_by_endpoint.control;
	size_t count = 0;

	for (size_t i = 0; i < plan->count; i++) {
		const struct lb_service_wanted *service = &plan->services[i];

		for (size_t j = 0; !service->direct && j < service->backend_count; j++)
			plan->pairs[count++] =
				(struct directory_pair){backend_endpoint(service, &service->backends[j]),
							plan->backend_rows[plan->backend_first[i] + j]};
	}
	directory_pairs_sort(plan->pairs, count);
	count = chains_settle(&chain, entries, LB_REVERSE_DIRECTORY_BITS, *control, plan->pairs, count);
	return directory_switch(program, entries, LB_REVERSE_DIRECTORY_BITS, control, &program->reverse_stamp, plan->pairs,
				count, plan, error);
}

/* Rows of services that left: nothing leads to them any more; packets on the way are waited for. */
static void services_remove(struct lb_program *program, struct plan *plan)
{
	struct lb_tables *tables = program->options.tables;
	bool waited = false;

	for (uint32_t row = 1; row < LB_SERVICE_ROWS; row++) {
		struct service_book *book = &program->services[row];
		uint64_t ring = tables->services[row].ring;

		if (!book->used || plan->service_stays[row])
			continue;
		if (!waited)
			quiesce_need(program->options.quiesce, quiesce_retire(program->options.quiesce));
		waited = true;
		tables->services[row] = (struct lb_service){0};
		if (book->range) {
			tables->ranges[book->range] = (struct lb_range){0};
			program->range_used[book->range] = false;
		}
		*book = (struct service_book){0};
		ring_release(program, ring);
		plan->changes.services += sizeof(struct lb_service) / sizeof(uint64_t);
	}
	for (uint32_t row = 1; waited && row < LB_BACKEND_ROWS; row++) {
		struct lb_backend *backend = &tables->backends[row];

		if (program->backends[row].use == ROW_QUARANTINE && !program->services[backend->service].used)
			table_put(backend->service, 0, &plan->changes.backends);
	}
}

static int plan_execute(struct lb_program *program, struct plan *plan, struct error *error)
{
	int result;

	services_write(program, plan);
	backends_write(program, plan);
	result = rings_write(program, plan, error);
	if (result == 0)
		result = services_publish(program, plan, error);
	if (result == 0)
		result = backends_publish(program, plan, error);
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
	result = plan_execute(program, plan, error);
	if (result < 0)
		return result;
	changes_add(&plan->changes, &before);
	*ret_changes = plan->changes;
	return 0;
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

/* SPDX-License-Identifier: Apache-2.0 */
/* The dictionaries that lead packets to the rows. */
#include <string.h>

#include "lb/lb_internal.h"

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

/*
 * Dictionaries
 */

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
int services_publish(struct lb_program *program, struct plan *plan, struct error *error)
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

/* The server ids of a service's backends. Returns how many. */
static size_t quic_pairs(const struct lb_service_wanted *service, uint32_t service_row, const uint16_t *rows,
			 struct directory_pair *pairs)
{
	size_t count = 0;

	for (size_t i = 0; service->quic_server_length && i < service->backend_count; i++) {
		const struct lb_backend_wanted *backend = &service->backends[i];

		if (backend->quic_named)
			pairs[count++] = (struct directory_pair){lb_quic_key(backend->quic_server, service->quic_server_length,
									     service->quic_config, service_row),
								 rows ? rows[i] : (uint32_t)i + 1};
	}
	return count;
}

int quic_check(const struct lb_service_wanted *services, size_t count, struct directory_pair *pairs, struct error *error)
{
	size_t used = 0;

	for (size_t i = 0; i < count; i++)
		used += quic_pairs(&services[i], (uint32_t)i, NULL, &pairs[used]);
	if (used > DIRECTORY_CAPACITY(LB_QUIC_DIRECTORY_BITS))
		return error_set(error, E2BIG, "%zu QUIC server ids of all services together: a node holds %u", used,
				 DIRECTORY_CAPACITY(LB_QUIC_DIRECTORY_BITS));
	directory_pairs_sort(pairs, used);
	for (size_t i = 1; i < used; i++) {
		if (memcmp(&pairs[i].key, &pairs[i - 1].key, sizeof(pairs[i].key)) == 0)
			return error_set(error, EINVAL, "service %s: two backends have one QUIC server id",
					 services[(uint16_t)pairs[i].key.word[1]].name);
	}
	return 0;
}

int quic_publish(struct lb_program *program, struct plan *plan, struct error *error)
{
	struct lb_guards *guards = program->options.guards;
	size_t count = 0;

	for (size_t i = 0; i < plan->count; i++)
		count += quic_pairs(&plan->services[i], plan->service_rows[i], &plan->backend_rows[plan->backend_first[i]],
				    &plan->pairs[count]);
	directory_pairs_sort(plan->pairs, count);
	return directory_switch(program, &guards->quic_servers.entries[0][0], LB_QUIC_DIRECTORY_BITS,
				&guards->quic_servers.control, &program->quic_stamp, plan->pairs, count, plan, error);
}

int backends_publish(struct lb_program *program, struct plan *plan, struct error *error)
{
	struct lb_tables *tables = program->options.tables;
	const struct chain chain = {(uint8_t *)&tables->backends[0].next, sizeof(struct lb_backend), LB_BACKEND_ROWS,
				    &plan->changes.backends};
	struct directory_entry *entries = &tables->backends_by_endpoint.entries[0][0];
	uint64_t *control = &tables->backends_by_endpoint.control;
	size_t count = 0;

	for (size_t i = 0; i < plan->count; i++) {
		const struct lb_service_wanted *service = &plan->services[i];

		for (size_t j = 0; !service->direct && j < service->backend_count; j++) {
			if (service->backends[j].tunnel) /* who unwraps answers by itself */
				continue;
			plan->pairs[count++] =
				(struct directory_pair){backend_endpoint(service, &service->backends[j]),
							plan->backend_rows[plan->backend_first[i] + j]};
		}
	}
	directory_pairs_sort(plan->pairs, count);
	count = chains_settle(&chain, entries, LB_REVERSE_DIRECTORY_BITS, *control, plan->pairs, count);
	return directory_switch(program, entries, LB_REVERSE_DIRECTORY_BITS, control, &program->reverse_stamp, plan->pairs,
				count, plan, error);
}

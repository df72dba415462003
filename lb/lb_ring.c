/* SPDX-License-Identifier: Apache-2.0 */
/* Rings: where they lie, what is in them, and which of their slots have moved. */
#include <string.h>

#include "base/packet/wire.h"
#include "lb/lb_internal.h"
#include "lb/maglev.h"

static uint32_t ring_first(uint64_t ring)
{
	return (uint32_t)(ring >> 32);
}

static uint32_t ring_granules(uint32_t slots)
{
	return (slots + RING_GRANULE_SLOTS - 1) / RING_GRANULE_SLOTS;
}

static void granules_mark(struct lb_program *program, uint64_t ring, bool used, uint64_t stamp)
{
	uint32_t first = ring_first(ring) / RING_GRANULE_SLOTS, count = ring_granules((uint32_t)ring);

	for (uint32_t i = first; i < first + count && i < RING_GRANULES; i++) {
		program->granule_used[i] = used;
		program->granule_stamp[i] = stamp;
	}
}

void ring_count_moved(struct lb_program *program, uint16_t service_row)
{
	uint64_t ring = program->options.tables->services[service_row].ring;
	uint32_t count = 0;

	for (uint32_t slot = ring_first(ring); slot < ring_first(ring) + (uint32_t)ring; slot++)
		count += (program->options.rings->slots[slot] & LB_SLOT_MOVED) != 0;
	program->services[service_row].slots_moved = count;
}

void rings_adopt(struct lb_program *program)
{
	uint64_t stamp = quiesce_retire(program->options.quiesce);

	for (uint32_t i = 0; i < RING_GRANULES; i++) {
		program->granule_used[i] = false;
		program->granule_stamp[i] = stamp;
	}
	for (uint32_t row = 1; row < LB_SERVICE_ROWS; row++) {
		if (program->services[row].used)
			granules_mark(program, program->options.tables->services[row].ring, true, 0);
		if (program->services[row].used)
			ring_count_moved(program, (uint16_t)row);
	}
}

void service_book_reset(struct lb_program *program, uint16_t service_row, bool used)
{
	free(program->services[service_row].last);
	program->services[service_row] = (struct service_book){.used = used};
}

void ring_release(struct lb_program *program, uint64_t ring)
{
	if ((uint32_t)ring)
		granules_mark(program, ring, false, quiesce_retire(program->options.quiesce));
}

/* The first free run of granules; of `pending` ones only when packets may still be reading them. */
static bool granules_find(const struct lb_program *program, uint32_t count, bool pending, uint32_t *ret_first)
{
	uint32_t run = 0;

	for (uint32_t i = 0; i < RING_GRANULES; i++) {
		bool free = !program->granule_used[i] &&
			    (pending || !quiesce_pending(program->options.quiesce, program->granule_stamp[i]));

		run = free ? run + 1 : 0;
		if (run == count) {
			*ret_first = i + 1 - count;
			return true;
		}
	}
	return false;
}

/* Slots that no packet reads, as the word of a ring; waits only when nothing else is left. */
static bool ring_take(struct lb_program *program, uint32_t slots, uint64_t *ret_ring)
{
	uint32_t count = ring_granules(slots), first;

	if (!granules_find(program, count, false, &first)) {
		if (!granules_find(program, count, true, &first))
			return false;
		quiesce_all(program->options.quiesce);
	}
	*ret_ring = (uint64_t)first * RING_GRANULE_SLOTS << 32 | slots;
	granules_mark(program, *ret_ring, true, 0);
	return true;
}

bool service_uses_all(const struct lb_service_wanted *service)
{
	if (service->no_backends != LB_NO_BACKENDS_ALL)
		return false;
	for (size_t i = 0; i < service->backend_count; i++) {
		if (service->backends[i].state == LB_BACKEND_UP)
			return false;
	}
	return true;
}

/* What the backend's order of preference comes from: the same on all nodes. */
static uint64_t ring_identity(uint64_t hash_seed, const struct lb_service_wanted *service,
			      const struct lb_backend_wanted *backend)
{
	uint64_t hash = hash_word(hash_word(hash_seed, service->address.word[0]), service->address.word[1]);

	hash = hash_word(hash, (uint64_t)service->protocol << 32 | (uint64_t)service->port_first << 16 |
				       service->port_last);
	hash = hash_word(hash_word(hash, backend->address.word[0]), backend->address.word[1]);
	return hash_finish(hash_word(hash, backend->port));
}

/* The backends that take new flows. `ret_members` has room for all. */
static size_t ring_members(uint64_t hash_seed, const struct lb_service_wanted *service, const uint16_t *rows,
			   struct maglev_backend *ret_members)
{
	enum lb_backend_state state = service_uses_all(service) ? LB_BACKEND_DOWN : LB_BACKEND_UP;
	size_t count = 0;

	for (size_t i = 0; i < service->backend_count; i++) {
		const struct lb_backend_wanted *backend = &service->backends[i];

		if (backend->state == state && backend->weight)
			ret_members[count++] = (struct maglev_backend){ring_identity(hash_seed, service, backend),
								       backend->weight, rows[i]};
	}
	return count;
}

/* One word for all that a ring depends on, in whatever order. */
static uint64_t ring_signature(uint64_t hash_seed, const struct maglev_backend *members, size_t count, uint32_t size)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += hash_finish(hash_word(hash_word(members[i].identity, members[i].weight), members[i].row));
	return hash_finish(hash_word(hash_word(hash_seed, sum), size)) | 1;
}

static bool ring_equals(const struct lb_rings *rings, uint64_t ring, const uint16_t *slots, uint32_t size)
{
	const uint16_t *present = &rings->slots[ring_first(ring)];

	if ((uint32_t)ring != size)
		return false;
	for (uint32_t i = 0; i < size; i++) {
		if ((present[i] & LB_SLOT_BACKEND) != slots[i])
			return false;
	}
	return true;
}

/*
 * Marks the slots whose flows may be with another backend: those of which some hash had another backend, or a moved slot, in
 * the ring before. Rings of different sizes are compared by the ranges of hashes that their slots stand for.
 */
static void ring_mark_moved(const struct lb_rings *rings, uint64_t before, uint16_t *slots, uint32_t size)
{
	const uint16_t *old = &rings->slots[ring_first(before)];
	uint64_t hashes = 1ull << LB_FLOW_SIGNATURE_BITS;

	for (uint32_t i = 0; i < size; i++) {
		uint64_t hash_first = ((uint64_t)i * hashes + size - 1) / size;
		uint64_t hash_last = (((uint64_t)i + 1) * hashes + size - 1) / size - 1;
		uint32_t last = lb_ring_slot(hash_last << LB_FLOW_SIGNATURE_SHIFT, (uint32_t)before);
		uint16_t backend = slots[i];

		for (uint32_t j = lb_ring_slot(hash_first << LB_FLOW_SIGNATURE_SHIFT, (uint32_t)before); j <= last; j++) {
			if (old[j] != backend)
				slots[i] = backend | LB_SLOT_MOVED;
		}
	}
}

/* Whether a packet of an unknown flow may be sent on to this backend. */
static bool row_is_hop(const struct lb_tables *tables, uint16_t row, uint16_t service_row)
{
	const struct lb_backend *backend = &tables->backends[row];

	return row && backend->service == service_row && backend->tunnel == LB_TUNNEL_GUE && backend->state != LB_BACKEND_FREE &&
	       tables->services[service_row].protocol == PROTOCOL_TCP; /* where a packet tells whether it begins a flow */
}

/* What an empty ring comes after is kept for the next one. Without memory it is not. */
static void ring_keep(struct lb_program *program, uint16_t service_row)
{
	const struct lb_service *service = &program->options.tables->services[service_row];
	struct service_book *book = &program->services[service_row];
	uint32_t size = (uint32_t)service->ring, first = ring_first(service->ring);

	free(book->last);
	book->last_size = 0;
	book->last = malloc(2 * size * sizeof(*book->last));
	if (!book->last)
		return;
	book->last_size = size;
	memcpy(book->last, &program->options.rings->slots[first], size * sizeof(*book->last));
	if (service->flags & LB_SERVICE_HOPS)
		memcpy(book->last + size, &program->options.rings->before[first], size * sizeof(*book->last));
	else
		memset(book->last + size, 0, size * sizeof(*book->last));
}

/*
 * Who had the new slots before: where the hash in a slot's middle had another backend, that one, otherwise whom the old slot
 * remembered. True when any of them is one that flows may be sent on to.
 */
static bool ring_remember(struct lb_program *program, uint16_t service_row, const uint16_t *slots, uint64_t ring)
{
	const struct lb_tables *tables = program->options.tables;
	const struct lb_service *service = &tables->services[service_row];
	const uint16_t *old = &program->options.rings->slots[ring_first(service->ring)];
	const uint16_t *old_before = &program->options.rings->before[ring_first(service->ring)];
	struct service_book *book = &program->services[service_row];
	uint16_t *before = &program->options.rings->before[ring_first(ring)];
	uint32_t size = (uint32_t)ring, old_size = (uint32_t)service->ring;
	bool any = false, remembers = service->flags & LB_SERVICE_HOPS;

	if (size == 0 && old_size)
		ring_keep(program, service_row);
	if (old_size == 0 && book->last_size) {
		old_size = book->last_size;
		old = book->last;
		old_before = book->last + old_size;
		remembers = true;
	}
	for (uint32_t i = 0; i < size; i++) {
		uint64_t hash = ((2ull * i + 1) << LB_FLOW_SIGNATURE_BITS) / (2ull * size) << LB_FLOW_SIGNATURE_SHIFT;
		uint32_t slot = lb_ring_slot(hash, old_size);
		uint16_t row = 0;

		if (old_size) {
			row = old[slot] & LB_SLOT_BACKEND;
			if (row == slots[i] && remembers)
				row = old_before[slot];
		}
		before[i] = row != slots[i] && row_is_hop(tables, row, service_row) ? row : 0;
		any = any || before[i];
	}
	if (size) {
		free(book->last);
		book->last = NULL;
		book->last_size = 0;
	}
	return any;
}

uint32_t ring_forget(struct lb_program *program, uint16_t service_row, bool old)
{
	struct lb_service *service = &program->options.tables->services[service_row];
	uint16_t *before = &program->options.rings->before[ring_first(service->ring)];
	uint32_t kept = 0;

	if (!(service->flags & LB_SERVICE_HOPS))
		return 0;
	for (uint32_t i = 0; i < (uint32_t)service->ring; i++) {
		bool up = program->options.tables->backends[before[i]].state == LB_BACKEND_UP;

		if (!row_is_hop(program->options.tables, before[i], service_row) || (old && up))
			store_once(before[i], (uint16_t)0);
		kept += before[i] != 0;
	}
	if (kept == 0)
		store_once(service->flags, (uint16_t)(service->flags & ~LB_SERVICE_HOPS));
	return kept;
}

void ring_mark_all(struct lb_program *program, uint16_t service_row, struct lb_changes *changes)
{
	uint64_t ring = program->options.tables->services[service_row].ring;
	uint16_t *slots = &program->options.rings->slots[ring_first(ring)];

	for (uint32_t i = 0; i < (uint32_t)ring; i++)
		table_put(slots[i], slots[i] | LB_SLOT_MOVED, &changes->ring_slots);
	program->services[service_row].ring_at_pass = 0;
	program->services[service_row].slots_moved = (uint32_t)ring;
	table_publish();
}

/* Puts a built ring in the place of the one before. */
static void ring_switch(struct lb_program *program, uint16_t service_row, uint16_t *slots, uint64_t ring,
			struct lb_changes *changes)
{
	struct lb_service *service = &program->options.tables->services[service_row];
	struct service_book *book = &program->services[service_row];
	uint64_t before = service->ring;
	uint32_t size = (uint32_t)ring;
	bool hops = ring_remember(program, service_row, slots, ring);

	if ((uint32_t)before)
		ring_mark_moved(program->options.rings, before, slots, size);
	for (uint32_t i = 0; i < size && book->had_ring && (uint32_t)before == 0; i++)
		slots[i] |= LB_SLOT_MOVED; /* flows from before there was no backend */
	if (size)
		memcpy(&program->options.rings->slots[ring_first(ring)], slots, size * sizeof(*slots));
	for (uint32_t i = 0; i < size && hops; i++) {
		if (program->options.rings->before[ring_first(ring) + i])
			program->options.rings->slots[ring_first(ring) + i] |= LB_SLOT_MOVED;
	}
	changes->ring_slots += size;
	table_publish();
	table_put(service->ring, ring, &changes->services);
	table_publish();
	table_put(service->flags,
		  (uint16_t)(hops ? service->flags | LB_SERVICE_HOPS : service->flags & ~LB_SERVICE_HOPS), &changes->services);
	book->hops_since = 0;
	book->had_ring = book->had_ring || size;
	book->ring_at_pass = 0;
	ring_count_moved(program, service_row);
	ring_release(program, before);
}

/* Builds it in the largest size, up to `size`, that finds room. */
static int ring_build(struct lb_program *program, uint16_t service_row, const struct maglev_backend *members,
		      size_t count, uint32_t size, struct lb_changes *changes)
{
	_cleanup_(freep) uint16_t *slots = malloc(size * sizeof(*slots));
	uint64_t ring;

	if (!slots)
		return -ENOMEM;
	for (size_t i = MAGLEV_SIZES; i-- > 0;) {
		uint32_t smaller = maglev_sizes[i];
		int result;

		if (smaller > size || smaller < count)
			continue;
		result = maglev_build(members, count, smaller, slots);
		if (result < 0)
			return result;
		if (ring_equals(program->options.rings, program->options.tables->services[service_row].ring, slots,
				smaller))
			return 0;
		if (ring_take(program, smaller, &ring)) {
			ring_switch(program, service_row, slots, ring, changes);
			return 0;
		}
	}
	return -ENOSPC;
}

int ring_apply(struct lb_program *program, uint16_t service_row, const struct lb_service_wanted *wanted,
	       const uint16_t *rows, uint32_t size, struct lb_changes *changes)
{
	_cleanup_(freep) struct maglev_backend *members = calloc(wanted->backend_count + 1, sizeof(*members));
	struct service_book *book = &program->services[service_row];
	uint64_t hash_seed = program->options.tables->hash_seed, signature;
	size_t count;
	int result = 0;

	if (!members)
		return -ENOMEM;
	count = ring_members(hash_seed, wanted, rows, members);
	signature = ring_signature(hash_seed, members, count, size);
	if (book->signature == signature)
		return 0;
	if (count == 0) {
		if ((uint32_t)program->options.tables->services[service_row].ring)
			ring_switch(program, service_row, NULL, 0, changes);
	} else {
		result = ring_build(program, service_row, members, count, size, changes);
	}
	if (result == 0)
		book->signature = signature;
	return result;
}

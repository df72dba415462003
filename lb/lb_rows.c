/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of services and backends, as packets may read them meanwhile. */
#include "base/packet/wire.h"
#include "lb/lb_internal.h"

static uint16_t service_flags(const struct lb_service_wanted *wanted)
{
	return (uint16_t)((wanted->affinity ? LB_SERVICE_AFFINITY : 0) | (wanted->direct ? LB_SERVICE_DIRECT : 0) |
			  (wanted->port_first != wanted->port_last ? LB_SERVICE_RANGE : 0) |
			  (service_has_sources(wanted) ? LB_SERVICE_SOURCES : 0) |
			  (service_has_flow_limits(wanted) ? LB_SERVICE_LIMIT_FLOWS : 0) |
			  (wanted->quic_server_length ? LB_SERVICE_QUIC : 0) | (wanted->media ? LB_SERVICE_MEDIA : 0) |
			  (wanted->dns ? LB_SERVICE_DNS : 0) |
			  (wanted->client_packets.burst ? LB_SERVICE_LIMIT_PACKETS : 0));
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
	service_book_reset(program, row, true);
	plan->changes.services += sizeof(struct lb_service) / sizeof(uint64_t);
}

void services_write(struct lb_program *program, struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct lb_service_wanted *wanted = &plan->services[i];
		uint16_t row = plan->service_rows[i];
		struct lb_service *service = &program->options.tables->services[row];
		uint16_t flags = service_flags(wanted);

		limits_write(program, row, wanted, plan);
		if (plan->service_new[row]) {
			service_write_new(program, row, wanted, plan);
			continue;
		}
		/* Asked by another hash, the ring has other answers for the flows that there are. */
		if ((service->flags ^ flags) & LB_SERVICE_AFFINITY)
			ring_mark_all(program, row, &plan->changes);
		else
			flags |= service->flags & LB_SERVICE_HOPS; /* the ring's own */
		table_put(service->flags, flags, &plan->changes.services);
		table_put(service->udp_idle_epochs, wanted->udp_idle_epochs, &plan->changes.services);
		table_put(service->affinity_epochs, wanted->affinity_epochs, &plan->changes.services);
	}
}

void services_remove(struct lb_program *program, struct plan *plan)
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
		service_book_reset(program, (uint16_t)row, false);
		ring_release(program, ring);
		plan->changes.services += sizeof(struct lb_service) / sizeof(uint64_t);
	}
	for (uint32_t row = 1; waited && row < LB_BACKEND_ROWS; row++) {
		struct lb_backend *backend = &tables->backends[row];

		if (program->backends[row].use == ROW_QUARANTINE && !program->services[backend->service].used)
			table_put(backend->service, 0, &plan->changes.backends);
	}
}

/* The state for packets: where backends that are down have to do, they are up. */
static enum lb_backend_state backend_state(const struct lb_service_wanted *service,
					   const struct lb_backend_wanted *backend)
{
	return backend->state == LB_BACKEND_DOWN && service_uses_all(service) ? LB_BACKEND_UP : backend->state;
}

/* Bytes that are put in front of a packet for it. */
static uint8_t backend_growth(const struct lb_backend_wanted *backend)
{
	size_t growth = address_is_ipv4(&backend->tunnel_destination) ? sizeof(struct ipv4_header) : sizeof(struct ipv6_header);

	if (backend->tunnel == LB_TUNNEL_NONE)
		return 0;
	if (backend->tunnel == LB_TUNNEL_GUE)
		growth += sizeof(struct udp_header) + sizeof(struct gue_header);
	return (uint8_t)growth;
}

/* The tunnel's flags; the service's one stays. */
static uint8_t tunnel_flags(const struct lb_backend *backend, const struct lb_backend_wanted *wanted)
{
	return (uint8_t)((backend->flags & LB_BACKEND_MEDIA) | (wanted->tunnel_node ? LB_BACKEND_NODE : 0));
}

static uint8_t media_flags(const struct lb_backend *backend, const struct lb_service_wanted *service)
{
	return (uint8_t)((backend->flags & LB_BACKEND_NODE) | (service->media ? LB_BACKEND_MEDIA : 0));
}

static bool tunnel_differs(const struct lb_backend *backend, const struct lb_backend_wanted *wanted)
{
	return backend->tunnel != wanted->tunnel || backend->growth != backend_growth(wanted) ||
	       backend->flags != tunnel_flags(backend, wanted) ||
	       !address_equal(&backend->tunnel_source, &wanted->tunnel_source) ||
	       !address_equal(&backend->tunnel_destination, &wanted->tunnel_destination);
}

/* While nobody reads it: the row is new, or its next hop not resolved. */
static void tunnel_write(struct lb_backend *backend, const struct lb_backend_wanted *wanted, uint32_t *changes)
{
	table_put(backend->tunnel_source.word[0], wanted->tunnel_source.word[0], changes);
	table_put(backend->tunnel_source.word[1], wanted->tunnel_source.word[1], changes);
	table_put(backend->tunnel_destination.word[0], wanted->tunnel_destination.word[0], changes);
	table_put(backend->tunnel_destination.word[1], wanted->tunnel_destination.word[1], changes);
	table_put(backend->growth, backend_growth(wanted), changes);
	table_put(backend->flags, tunnel_flags(backend, wanted), changes);
	table_put(backend->tunnel, wanted->tunnel, changes);
}

/* The longest packet for it. What a host of the family must take always passes (lb_mtu_fast.h). */
static uint16_t backend_mtu(const struct lb_service_wanted *service, const struct lb_backend_wanted *backend)
{
	uint16_t least = address_is_ipv4(&service->address) ? LB_MTU_LEAST_IPV4 : LB_MTU_LEAST_IPV6;

	if (backend->mtu == 0)
		return LB_MTU_ANY;
	return backend->mtu < least + backend_growth(backend) ? least : (uint16_t)(backend->mtu - backend_growth(backend));
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
	backend->flags = media_flags(backend, service);
	backend->mtu = backend_mtu(service, wanted);
	tunnel_write(backend, wanted, &plan->changes.backends);
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
 * (or the tunnel does) next hop is declared unresolved: its packets are dropped and counted for the length of two waits, rather than sent
 * to one link with the addresses of another.
 */
static void egress_begin(struct lb_program *program, uint16_t row, const struct lb_backend_wanted *backend, struct plan *plan)
{
	struct egress *egress = &program->options.tables->backends[row].egress;
	bool tunnel = tunnel_differs(&program->options.tables->backends[row], backend);
	const struct egress *wanted = &backend->egress;
	struct egress unresolved = *egress;
	uint32_t differing = (egress->destination_mac != wanted->destination_mac) +
			     (egress->source_mac != wanted->source_mac) +
			     (*egress_word(egress) != *egress_word((struct egress *)wanted));

	if (differing == 0 && !tunnel)
		return;
	if (differing == 1 && !tunnel) {
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
				tunnel_write(&program->options.tables->backends[row], &plan->services[i].backends[j],
					     &plan->changes.backends);
			} else {
				table_put(*egress_word(egress), *egress_word((struct egress *)wanted),
					  &plan->changes.backends);
			}
		}
	}
	if (waited)
		quiesce_retire(program->options.quiesce);
}

void backends_write(struct lb_program *program, struct plan *plan)
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
			table_put(backend->mtu, backend_mtu(service, wanted), &plan->changes.backends);
			table_put(backend->flags, media_flags(backend, service), &plan->changes.backends);
			egress_begin(program, row, wanted, plan);
			if (backend_state(service, wanted) == LB_BACKEND_UP)
				table_put(backend->state, LB_BACKEND_UP, &plan->changes.backends);
		}
	}
	egresses_end(program, plan, true);
	egresses_end(program, plan, false);
}

void backends_retire(struct lb_program *program, struct plan *plan)
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

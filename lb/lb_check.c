/* SPDX-License-Identifier: Apache-2.0 */
/* What can be put into tables: the rules, and the limits. */
#include <string.h>

#include "base/lib/address_text.h"
#include "base/packet/wire.h"
#include "lb/lb_internal.h"
#include "lb/maglev.h"

/* Slots that the lightest backend should have, so that shares are right within one per cent. */
#define RING_SLOTS_LEAST 100u
/*
 * Flows without a record all move when a ring is resized, so one more backend must not do that: rings begin with room for as
 * many as few services have. 16381 slots move 0.6 % of the survivors' flows when one of ten backends leaves, 1021 slots 2.7 %.
 */
#define RING_FLOOR 2u /* of maglev_sizes */
/* Of the granules, what rings may take before sizes are lowered: the rest lets rings be replaced without waiting. */
#define RING_GRANULES_EASY (RING_GRANULES / 4 * 3)

struct directory_key service_identity(const struct address *address, uint8_t protocol, uint16_t port_first,
				      uint16_t port_last)
{
	return (struct directory_key){{address->word[0], address->word[1],
				       (uint64_t)protocol << 32 | (uint64_t)port_first << 16 | port_last}};
}

struct directory_key backend_identity(uint16_t service_row, const struct address *address, uint16_t port)
{
	return (struct directory_key){{address->word[0], address->word[1], (uint64_t)service_row << 16 | port}};
}

struct directory_key backend_endpoint(const struct lb_service_wanted *service, const struct lb_backend_wanted *backend)
{
	return lb_key(LB_KEY_BACKEND, &backend->address, !address_is_ipv4(&backend->address), service->protocol,
		      be16_from(backend->port));
}

static bool service_is_range(const struct lb_service_wanted *service)
{
	return service->port_first != service->port_last;
}

static int service_check(const struct lb_service_wanted *service, struct error *error)
{
	if (service->protocol != PROTOCOL_TCP && service->protocol != PROTOCOL_UDP)
		return error_set(error, EINVAL, "service %s: IP protocol %u is neither TCP nor UDP", service->name,
				 service->protocol);
	if (address_is_zero(&service->address))
		return error_set(error, EINVAL, "service %s: no virtual IP", service->name);
	if (service->port_first == 0 || service->port_first > service->port_last)
		return error_set(error, EINVAL, "service %s: ports %u to %u are no range", service->name,
				 service->port_first, service->port_last);
	if (service->protocol == PROTOCOL_UDP &&
	    (service->udp_idle_epochs == 0 || service->udp_idle_epochs > LB_EPOCHS_MAX))
		return error_set(error, EINVAL, "service %s: UDP idle time of %u epochs is not within 1 to %u", service->name,
				 service->udp_idle_epochs, LB_EPOCHS_MAX);
	if (service->affinity && (service->affinity_epochs == 0 || service->affinity_epochs > LB_EPOCHS_MAX))
		return error_set(error, EINVAL, "service %s: affinity of %u epochs is not within 1 to %u", service->name,
				 service->affinity_epochs, LB_EPOCHS_MAX);
	if (service->dns && (service->backend_count || service_is_range(service) || service->direct))
		return error_set(error, EINVAL, "service %s: a DNS address has no backends and one port", service->name);
	if (service->media && (service->protocol != PROTOCOL_UDP || service_is_range(service) || service->direct ||
			       service->affinity || service->quic_server_length))
		return error_set(error, EINVAL, "service %s: WebRTC is UDP on one port, by NAT, without affinity or QUIC", service->name);
	return limits_check(service, error);
}

static int backend_check(const struct lb_service_wanted *service, const struct lb_backend_wanted *backend,
			 struct error *error)
{
	char text[ENDPOINT_TEXT_SIZE];

	endpoint_format(&backend->address, backend->port, text);
	if (address_is_zero(&backend->address))
		return error_set(error, EINVAL, "service %s: a backend without an address", service->name);
	if (!service->direct && address_is_ipv4(&backend->address) != address_is_ipv4(&service->address))
		return error_set(error, EINVAL, "service %s: backend %s is not of the virtual IP's address family",
				 service->name, text);
	/* an agent may have a port for each session, that registered fragments name */
	if (service_is_range(service) != (backend->port == 0) && !service->media)
		return error_set(error, EINVAL, "service %s: backend %s %s", service->name, text,
				 backend->port ? "has a port, but the service has a range of them" : "has no port");
	if (backend->state != LB_BACKEND_UP && backend->state != LB_BACKEND_DRAINING &&
	    backend->state != LB_BACKEND_DOWN)
		return error_set(error, EINVAL, "service %s: backend %s has no state", service->name, text);
	if (backend->weight > LB_WEIGHT_MAX || backend->weight_full > LB_WEIGHT_MAX)
		return error_set(error, EINVAL, "service %s: backend %s has a weight above %u", service->name, text,
				 LB_WEIGHT_MAX / LB_WEIGHT_UNIT);
	return 0;
}

/* Every service and backend for itself. */
static int items_check(const struct lb_service_wanted *services, size_t count, size_t *ret_backends, struct error *error)
{
	*ret_backends = 0;
	if (count > LB_SERVICE_ROWS - 1)
		return error_set(error, E2BIG, "%zu services (each port is one): a node holds %u", count,
				 LB_SERVICE_ROWS - 1);
	for (size_t i = 0; i < count; i++) {
		int result = service_check(&services[i], error);

		for (size_t j = 0; result == 0 && j < services[i].backend_count; j++)
			result = backend_check(&services[i], &services[i].backends[j], error);
		if (result < 0)
			return result;
		*ret_backends += services[i].backend_count;
	}
	if (*ret_backends > LB_BACKEND_ROWS - 1)
		return error_set(error, E2BIG, "%zu backends of all services together: a node holds %u", *ret_backends,
				 LB_BACKEND_ROWS - 1);
	return 0;
}

/* Ports must not overlap. `pairs`: services by identity, sorted; `row` is 1 + the service's place. */
static int ports_check(const struct lb_service_wanted *services, const struct directory_pair *pairs, size_t count,
		       struct error *error)
{
	uint32_t ranges = 0, ranges_here = 0;

	for (size_t i = 0; i < count; i++) {
		const struct lb_service_wanted *now = &services[pairs[i].row - 1];
		const struct lb_service_wanted *last = i ? &services[pairs[i - 1].row - 1] : NULL;
		bool together = last && address_equal(&last->address, &now->address) && last->protocol == now->protocol;

		if (together && now->port_first <= last->port_last)
			return error_set(error, EINVAL, "services %s and %s have the same virtual IP, protocol and port %u",
					 last->name, now->name, now->port_first);
		if (!together)
			ranges_here = 0;
		if (!service_is_range(now))
			continue;
		if (++ranges_here > LB_RANGES_PER_ADDRESS)
			return error_set(error, E2BIG, "service %s: more than %u port ranges on one virtual IP and protocol",
					 now->name, LB_RANGES_PER_ADDRESS);
		if (++ranges > LB_RANGE_ROWS - 1)
			return error_set(error, E2BIG, "service %s: more than %u port ranges", now->name,
					 LB_RANGE_ROWS - 1);
	}
	return 0;
}

/* How often each endpoint occurs. `pairs` has room for all backends; `row` is twice 1 + the service's place, and 1 more behind a tunnel. */
static int endpoints_check(const struct lb_service_wanted *services, size_t count, struct directory_pair *pairs,
			   struct error *error)
{
	size_t used = 0, run = 0;

	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < services[i].backend_count; j++)
			pairs[used++] = (struct directory_pair){
				backend_endpoint(&services[i], &services[i].backends[j]),
				2 * ((uint32_t)i + 1) + (services[i].backends[j].tunnel != LB_TUNNEL_NONE)};
	}
	directory_pairs_sort(pairs, used);
	for (size_t i = 0; i < used; i++) {
		const struct lb_service_wanted *service = &services[pairs[i].row / 2 - 1];
		const struct directory_key *key = &pairs[i].key;
		struct address address = {{key->word[0], key->word[1]}};
		bool again = i && memcmp(key, &pairs[i - 1].key, sizeof(*key)) == 0;
		char text[ENDPOINT_TEXT_SIZE];

		endpoint_format(&address, be16_get((struct be16){(uint16_t)key->word[2]}), text);
		if (again && pairs[i].row / 2 == pairs[i - 1].row / 2)
			return error_set(error, EINVAL, "service %s: backend %s is there twice", service->name, text);
		if (!again)
			run = 0;
		/* Answers under direct return, or from behind tunnels, do not pass here: there such backends count for nothing. */
		run += !service->direct && !(pairs[i].row & 1);
		if (run > LB_SERVICES_PER_ENDPOINT)
			return error_set(error, E2BIG, "service %s: backend %s serves more than %u services", service->name,
					 text, LB_SERVICES_PER_ENDPOINT);
	}
	return 0;
}

/* The size for which `slots_least` is right, by the weights that backends have when nothing ails them. */
static uint32_t ring_size(const struct lb_service_wanted *service, uint32_t size_least, uint32_t slots_least)
{
	uint32_t size;
	uint32_t least = 0;
	uint64_t total = 0;

	for (size_t i = 0; i < service->backend_count; i++) {
		const struct lb_backend_wanted *backend = &service->backends[i];
		uint32_t weight = backend->weight_full ? backend->weight_full : backend->weight;

		total += weight;
		if (weight && (least == 0 || weight < least))
			least = weight;
	}
	size = maglev_size(service->backend_count, total, least, slots_least);
	return size < size_least ? size_least : size;
}

bool ring_sizes_choose(const struct lb_service_wanted *services, size_t count, uint32_t *ret_sizes)
{
	uint32_t slots_least = RING_SLOTS_LEAST, floor = RING_FLOOR, granules;

	/* All services give way alike: the sizes depend on what is wanted alone, so all nodes choose the same. */
	for (;;) {
		granules = 0;
		for (size_t i = 0; i < count; i++) {
			ret_sizes[i] = ring_size(&services[i], maglev_sizes[floor], slots_least);
			granules += (ret_sizes[i] + RING_GRANULE_SLOTS - 1) / RING_GRANULE_SLOTS;
		}
		if (granules <= RING_GRANULES_EASY || slots_least == 0)
			return granules < RING_GRANULES;
		if (floor > 0)
			floor--;
		else
			slots_least /= 4;
	}
}

int lb_program_check(const struct lb_service_wanted *services, size_t count, struct error *error)
{
	_cleanup_(freep) struct directory_pair *pairs = NULL;
	_cleanup_(freep) struct source_sets *sources = NULL;
	_cleanup_(freep) uint32_t *sizes = NULL;
	size_t backends;
	int result;

	result = items_check(services, count, &backends, error);
	if (result < 0)
		return result;
	pairs = calloc(count + backends + 1, sizeof(*pairs));
	sizes = calloc(count + 1, sizeof(*sizes));
	if (!pairs || !sizes)
		return error_set(error, ENOMEM, "checking %zu services: no memory", count);
	for (size_t i = 0; i < count; i++)
		pairs[i] = (struct directory_pair){service_identity(&services[i].address, services[i].protocol,
								    services[i].port_first, services[i].port_last),
						   (uint32_t)i + 1};
	directory_pairs_sort(pairs, count);
	result = ports_check(services, pairs, count, error);
	if (result == 0)
		result = endpoints_check(services, count, pairs, error);
	if (result == 0 && !ring_sizes_choose(services, count, sizes))
		result = error_set(error, E2BIG, "%zu services with %zu backends: their rings do not fit into %u slots",
				   count, backends, LB_RING_SLOTS);
	if (result == 0)
		result = quic_check(services, count, pairs, error);
	if (result == 0)
		result = sources_cut(services, count, &sources, error);
	return result;
}

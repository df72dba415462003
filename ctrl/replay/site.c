/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/replay/site.h"

#include <assert.h>
#include <string.h>

#include "ctrl/program/reconcile.h"
#include "edge/edge_program.h"

#define SITE_FIRST_EPOCH 64u /* so that ages reach back without wrapping */
#define SITE_FIRST_TICK_MS 100000u
#define SITE_INTERFACES_MAX 128u

struct site {
	char *node_name;
	struct object_list objects;
	struct network network;
	struct reconcile_interface interfaces[SITE_INTERFACES_MAX];
	size_t interface_count;
	struct reconcile_node *nodes; /* every Node of the manifests, this one among them */
	size_t node_count;
	struct reconcile_result result;
	const struct replay_node *replay; /* borrowed from objects */
	struct edge_host host;
	struct edge_program *program;
	uint32_t epoch;
	uint64_t first_ms;
	uint64_t now_ms; /* the latest */
	bool started;
	struct rtc_ufrag_secret secrets[SITE_SECRETS];
	size_t secret_count;
};

static void contents_done(struct site *site)
{
	if (site->result.arena)
		reconcile_result_done(&site->result);
	network_done(&site->network);
	object_list_done(&site->objects);
	free(site->nodes);
	site->nodes = NULL;
	site->node_count = 0;
	site->interface_count = 0;
	site->replay = NULL;
}

void site_free(struct site *site)
{
	if (!site)
		return;
	if (site->program)
		edge_program_free(site->program);
	contents_done(site);
	free(site->node_name);
	free(site);
}

void site_freep(struct site **site)
{
	site_free(*site);
}

/* --- the Node manifest as a network ------------------------------------------------------------------------------------- */

/*
 * Interface indexes: a port is 1 + its place among the manifest's interfaces. An interface with a VLAN is a link of its own
 * on top of a port: of the interface "eth0" when it is named "eth0.7" and there is one, of its own port otherwise.
 */
static uint32_t port_of(const struct replay_node *replay, size_t place)
{
	const struct replay_interface *interface = &replay->interfaces[place];
	const char *dot = strrchr(interface->name, '.');

	for (size_t i = 0; interface->vlan && dot && i < replay->interface_count; i++) {
		const struct replay_interface *other = &replay->interfaces[i];
		size_t length = (size_t)(dot - interface->name);

		if (other->vlan == 0 && strlen(other->name) == length && strncmp(other->name, interface->name, length) == 0)
			return (uint32_t)i + 1;
	}
	return (uint32_t)place + 1;
}

static uint32_t link_of(const struct replay_node *replay, size_t place)
{
	return (uint32_t)place + 1 + (replay->interfaces[place].vlan ? SITE_INTERFACES_MAX : 0);
}

static int link_add(struct site *site, size_t place)
{
	const struct replay_interface *interface = &site->replay->interfaces[place];
	uint32_t port = port_of(site->replay, place);
	struct network_link link = {
		.ifindex = link_of(site->replay, place),
		.up = true,
		.carrier = true,
		.mtu = interface->mtu,
		.addresses = (struct prefix *)interface->addresses, /* copied */
		.address_count = interface->address_count,
	};

	snprintf(link.name, sizeof(link.name), "%s", interface->name);
	memcpy(link.mac, interface->mac, sizeof(link.mac));
	if (port == place + 1)
		site->interfaces[site->interface_count++] = (struct reconcile_interface){.ifindex = port};
	if (!interface->vlan)
		return network_add_link(&site->network, &link);
	link.kind = NETWORK_LINK_VLAN;
	link.parent_ifindex = port;
	link.vlan_id = interface->vlan;
	link.vlan_protocol = 0x8100;
	if (network_add_link(&site->network, &link) < 0)
		return -ENOMEM;
	if (port != place + 1)
		return 0;
	link.kind = NETWORK_LINK_OTHER;
	link.ifindex = port;
	link.parent_ifindex = 0;
	link.vlan_id = 0;
	link.address_count = 0;
	return network_add_link(&site->network, &link);
}

/* Someone with a static neighbour outside every network of the interface is on its link all the same. */
static int neighbour_add(struct site *site, const struct replay_interface *interface, uint32_t ifindex,
			 const struct replay_neighbour *given)
{
	struct network_neighbour neighbour = {.ip = given->ip, .ifindex = ifindex, .usable = true};
	struct network_route route = {
		.to = {given->ip, address_is_ipv4(&given->ip) ? 32 : 128},
		.ifindex = ifindex,
	};
	bool covered = false;

	for (size_t i = 0; i < interface->address_count; i++)
		covered = covered || prefix_contains(&interface->addresses[i], &given->ip);
	if (!covered && network_add_route(&site->network, &route) < 0)
		return -ENOMEM;
	memcpy(neighbour.mac, given->mac, sizeof(neighbour.mac));
	return network_add_neighbour(&site->network, &neighbour);
}

static int link_fill(struct site *site, size_t place)
{
	const struct replay_interface *interface = &site->replay->interfaces[place];
	uint32_t ifindex = link_of(site->replay, place);

	for (size_t i = 0; i < interface->address_count; i++) {
		struct network_route route = {.to = interface->addresses[i], .ifindex = ifindex};

		if (network_add_route(&site->network, &route) < 0)
			return -ENOMEM;
	}
	for (size_t i = 0; i < interface->neighbour_count; i++) {
		if (neighbour_add(site, interface, ifindex, &interface->neighbours[i]) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int route_add(struct site *site, const struct replay_route *wanted, struct error *error)
{
	struct network_route route = {.to = wanted->to, .gateway = wanted->via};
	char text[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < site->replay->interface_count; i++) {
		if (*wanted->interface && strcmp(site->replay->interfaces[i].name, wanted->interface) == 0)
			route.ifindex = link_of(site->replay, i);
	}
	if (route.ifindex == 0) {
		const struct network_route *way = network_route_find(&site->network, &wanted->via);

		if (!way)
			return error_set(error, EINVAL,
					 "Node %s: no interface has an address in the network of the gateway %s; give the route its \"interface\"",
					 site->node_name, address_format(&wanted->via, text));
		route.ifindex = way->ifindex;
	}
	return network_add_route(&site->network, &route);
}

/*
 * A Node without routes says nothing of what lies beyond its networks. All of it is taken to be on the link of the first
 * interface, so that a client from anywhere is answered at the hardware address that its packets come from.
 */
static int routes_assume(struct site *site)
{
	struct network_route ipv4 = {.to.address = address_from_ipv4(0), .ifindex = link_of(site->replay, 0)};
	struct network_route ipv6 = {.ifindex = ipv4.ifindex};

	if (site->replay->route_count > 0 || site->replay->interface_count == 0)
		return 0;
	if (network_add_route(&site->network, &ipv4) < 0)
		return -ENOMEM;
	return network_add_route(&site->network, &ipv6);
}

static int network_build(struct site *site, struct error *error)
{
	int result = 0;

	for (size_t i = 0; i < site->replay->interface_count && result == 0; i++)
		result = link_add(site, i);
	for (size_t i = 0; i < site->replay->interface_count && result == 0; i++)
		result = link_fill(site, i);
	for (size_t i = 0; i < site->replay->route_count && result == 0; i++)
		result = route_add(site, &site->replay->routes[i], error);
	if (result == 0)
		result = routes_assume(site);
	return result == -ENOMEM ? error_set(error, ENOMEM, "no memory") : result;
}

/* --- loading ------------------------------------------------------------------------------------------------------------ */

static const struct object *node_find(const struct site *site)
{
	for (size_t i = 0; i < site->objects.count; i++) {
		const struct object *object = site->objects.items[i];

		if (object->kind == OBJECT_REPLAY_NODE && strcmp(object->meta.name, site->node_name) == 0)
			return object;
	}
	return NULL;
}

/* All of them are alive: virtual IPs are spread over them, and this one is silent where another owns one. */
static int nodes_collect(struct site *site)
{
	site->nodes = calloc(site->objects.count, sizeof(*site->nodes));
	if (!site->nodes)
		return -ENOMEM;
	for (size_t i = 0; i < site->objects.count; i++) {
		const struct object *object = site->objects.items[i];

		if (object->kind == OBJECT_REPLAY_NODE)
			site->nodes[site->node_count++] = (struct reconcile_node){
				.name = object->meta.name, .labels = object->meta.labels, .live = true};
	}
	return 0;
}

static void tables_derive(struct site *site)
{
	struct reconcile_input input = {
		.objects = (const struct object *const *)site->objects.items,
		.object_count = site->objects.count,
		.network = &site->network,
		.interfaces = site->interfaces,
		.interface_count = site->interface_count,
		.node_name = site->node_name,
		.nodes = site->nodes,
		.node_count = site->node_count,
		.health_assumed = true,
		.ufrag_secrets = site->secrets,
		.ufrag_secret_count = site->secret_count,
	};

	reconcile(&input, &site->result);
}

static int contents_load(struct site *site, const char *const *paths, size_t count, struct diagnostics *diagnostics,
			 struct error *error)
{
	const struct object *node;
	int result = manifest_load_paths(paths, count, &site->objects, diagnostics);

	if (result < 0) {
		diagnostics_error(diagnostics, error);
		return result;
	}
	node = node_find(site);
	if (!node)
		return error_set(error, EINVAL,
				 "the manifests have no Node %s of apiVersion selvage.io/v1alpha1, which names its interfaces and neighbours",
				 site->node_name);
	site->replay = &node->replay_node;
	if (nodes_collect(site) < 0)
		return error_set(error, ENOMEM, "no memory");
	result = network_build(site, error);
	if (result == 0)
		tables_derive(site);
	return result;
}

int site_load(const char *const *paths, size_t count, const char *node_name, struct site **ret_site,
	      struct diagnostics *diagnostics, struct error *error)
{
	_cleanup_(site_freep) struct site *site = calloc(1, sizeof(*site));
	int result;

	if (!site || !(site->node_name = strdup(node_name)))
		return error_set(error, ENOMEM, "no memory");
	site->epoch = SITE_FIRST_EPOCH;
	result = contents_load(site, paths, count, diagnostics, error);
	if (result == 0)
		*ret_site = steal(site);
	return result;
}

int site_reload(struct site *site, const char *const *paths, size_t count, struct diagnostics *diagnostics,
		struct error *error)
{
	contents_done(site);
	return contents_load(site, paths, count, diagnostics, error);
}

size_t site_alarm_count(const struct site *site)
{
	return site->result.alarm_count;
}

void site_alarm(const struct site *site, size_t place, const char **ret_subject, const char **ret_text)
{
	*ret_subject = site->result.alarms[place].subject;
	*ret_text = site->result.alarms[place].text;
}

uint32_t site_ingress(const struct site *site, const char *interface)
{
	for (size_t i = 0; i < site->replay->interface_count; i++) {
		if (!interface || strcmp(site->replay->interfaces[i].name, interface) == 0)
			return port_of(site->replay, i);
	}
	return 0;
}

/* --- the engine's tables ------------------------------------------------------------------------------------------------ */

static void nothing_runs(const struct edge_host *host)
{
}

static uint32_t site_epoch(const struct edge_host *host)
{
	return ((const struct site *)((const char *)host - offsetof(struct site, host)))->epoch;
}

uint32_t site_now(const struct site *site)
{
	return SITE_FIRST_TICK_MS + (uint32_t)(site->now_ms - site->first_ms);
}

static uint32_t site_now_ms(const struct edge_host *host)
{
	return site_now((const void *)((const char *)host - offsetof(struct site, host)));
}

void site_set_secrets(struct site *site, const struct rtc_ufrag_secret *secrets, size_t count)
{
	assert(count <= SITE_SECRETS);
	memcpy(site->secrets, secrets, count * sizeof(*secrets));
	site->secret_count = count;
	if (site->result.arena)
		reconcile_result_done(&site->result);
	tables_derive(site);
}

struct rtc_program *site_media(const struct site *site)
{
	return edge_program_rtc(site->program);
}

static void site_sweep(struct site *site)
{
	struct edge_sweep_stats stats;

	for (uint32_t step = 0; step < EDGE_SWEEP_STEPS; step++)
		edge_program_sweep(site->program, site->epoch, &stats);
}

int site_program(struct site *site, struct engine *engine, struct error *error)
{
	struct edge_changes changes;

	if (!site->program) {
		site->host = (struct edge_host){.quiesce = nothing_runs, .epoch = site_epoch, .now_ms = site_now_ms};
		site->program = edge_program_new(&engine->tables, engine->counter_sets, &site->host);
		if (!site->program)
			return error_set(error, ENOMEM, "no memory");
		engine_set_time(engine, site->epoch, SITE_FIRST_TICK_MS);
		site_sweep(site); /* limits of what there is at once count from the first look on */
	}
	return edge_program_apply(site->program, &site->result.wanted, &changes, error);
}

void site_set_time_ms(struct site *site, struct engine *engine, uint64_t now_ms)
{
	uint64_t epoch;

	if (!site->started) {
		site->started = true;
		site->first_ms = now_ms;
	}
	if (now_ms < site->first_ms)
		return;
	epoch = SITE_FIRST_EPOCH + (now_ms - site->first_ms) / EDGE_EPOCH_MS;
	if (epoch > UINT32_MAX - 1)
		epoch = UINT32_MAX - 1;
	if (epoch < site->epoch)
		return;
	if (now_ms > site->now_ms)
		site->now_ms = now_ms; /* a capture's packets may be a little out of order */
	engine_set_time(engine, (uint32_t)epoch, SITE_FIRST_TICK_MS + (uint32_t)(site->now_ms - site->first_ms));
	if (epoch == site->epoch)
		return;
	site->epoch = (uint32_t)epoch;
	site_sweep(site);
}

const char *site_backend(const struct engine *engine, const struct decision *decision, char buffer[static ENDPOINT_TEXT_SIZE])
{
	const struct lb_backend *backend = &engine->tables.lb->backends[decision->backend & (LB_BACKEND_ROWS - 1)];
	uint16_t port = be16_get(backend->port.raw ? backend->port : decision->port);

	if (decision->backend == 0)
		return NULL;
	if (decision->session)
		port = be16_get(engine->tables.sessions->rows[decision->session & (RTC_SESSION_ROWS - 1)].agent_port);
	if (port == 0) /* a later fragment to a port range */
		return address_format(&backend->address, buffer);
	return endpoint_format(&backend->address, port, buffer);
}

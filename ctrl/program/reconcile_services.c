/* SPDX-License-Identifier: Apache-2.0 */
/* Services and their backends: who they are, whether they are up, and how packets reach them. */
#include <stdio.h>
#include <string.h>

#include "ctrl/program/reconcile_parts.h"
#include "lb/slow_start.h"

#define REASON_UNCHECKED "not checked yet"

/* One endpoint that serves a port of a service. */
struct candidate {
	const struct endpoint *endpoint;
	struct address address;
	uint16_t port;
};

typedef LIST(struct candidate) candidate_list;

size_t reconcile_service_addresses(const struct reconcile_work *work, const struct object *object,
				   struct address ret_addresses[static 4], bool ret_cluster[static 4])
{
	const struct ipam_assignment *assignment =
		ipam_result_lookup(&work->assignments, object->meta.namespace_name, object->meta.name);
	size_t count = 0;

	for (size_t i = 0; assignment && i < assignment->count && i < 2; i++) {
		ret_addresses[count] = assignment->addresses[i];
		ret_cluster[count++] = false;
	}
	for (size_t i = 0; i < object->service.cluster_ips.count && i < 2; i++) {
		ret_addresses[count] = object->service.cluster_ips.items[i];
		ret_cluster[count++] = true;
	}
	return count;
}

static bool port_matches(const struct endpoint_port *given, const struct service_port *wanted)
{
	return given->protocol == wanted->protocol && strcmp(given->name, wanted->name) == 0;
}

static void candidate_add(struct reconcile_work *work, candidate_list *list, const struct endpoint *endpoint, uint16_t port, bool ipv4, bool local_only)
{
	const struct address *address;

	if (endpoint->addresses.count == 0)
		return;
	address = &endpoint->addresses.items[0];
	if (address_is_ipv4(address) != ipv4)
		return;
	if (local_only && strcmp(endpoint->node_name, work->input->node_name) != 0)
		return;
	/* Endpoints are mirrored into slices, and slices may overlap while they are being moved about. */
	for (size_t i = 0; i < list->count; i++) {
		if (address_equal(&list->items[i].address, address) && list->items[i].port == port)
			return;
	}
	*list_push(work->arena, list) = (struct candidate){endpoint, *address, port};
}

/* A service's port range keeps the client's port, so the backend has none of its own. */
static uint16_t backend_port(const struct endpoint_port *given, const struct service_port *wanted)
{
	if (wanted->port_last != wanted->port)
		return 0;
	if (given->port)
		return given->port;
	/* an agent with a port for each call, which a registered session names */
	if (service_port_is_webrtc(wanted))
		return 0;
	return wanted->target_port ? wanted->target_port : wanted->port;
}

/* `local_only`: those that run on this node (externalTrafficPolicy: Local, which concerns external addresses alone). */
static void candidates_collect(struct reconcile_work *work, const struct object *object,
			       const struct service_port *port, bool ipv4, bool local_only, candidate_list *list)
{
	for (size_t i = 0; i < work->input->object_count; i++) {
		const struct object *other = work->input->objects[i];

		if (strcmp(other->meta.namespace_name, object->meta.namespace_name) != 0)
			continue;
		if (other->kind == OBJECT_ENDPOINT_SLICE) {
			const struct endpoint_slice *slice = &other->endpoint_slice;

			if (strcmp(slice->service_name, object->meta.name) != 0)
				continue;
			for (size_t p = 0; p < slice->port_count; p++) {
				for (size_t e = 0; port_matches(&slice->ports[p], port) && e < slice->endpoint_count; e++)
					candidate_add(work, list, &slice->endpoints[e], backend_port(&slice->ports[p], port),
						      ipv4, local_only);
			}
		} else if (other->kind == OBJECT_ENDPOINTS && strcmp(other->meta.name, object->meta.name) == 0) {
			for (size_t s = 0; s < other->endpoints.subset_count; s++) {
				const struct endpoint_subset *subset = &other->endpoints.subsets[s];

				for (size_t p = 0; p < subset->port_count; p++) {
					for (size_t e = 0; port_matches(&subset->ports[p], port) && e < subset->endpoint_count; e++)
						candidate_add(work, list, &subset->endpoints[e],
							      backend_port(&subset->ports[p], port), ipv4, local_only);
				}
			}
		}
	}
}

static bool drained_by_operator(const struct reconcile_work *work, const struct object *object,
				const struct candidate *candidate)
{
	char name[OBJECT_REFERENCE_SIZE];

	snprintf(name, sizeof(name), "%s/%s", object->meta.namespace_name, object->meta.name);
	for (size_t i = 0; i < work->input->drain_count; i++) {
		const struct reconcile_drain *drain = &work->input->drains[i];

		if (address_equal(&drain->address, &candidate->address) &&
		    (drain->port == 0 || drain->port == candidate->port) &&
		    (*drain->service == '\0' || strcmp(drain->service, name) == 0))
			return true;
	}
	return false;
}

static int report_compare(const void *wanted, const void *item)
{
	const struct health_report *left = wanted, *right = item;
	int order = strcmp(left->service, right->service);

	if (order == 0)
		order = address_compare(&left->address, &right->address);
	return order ? order : left->port - right->port;
}

static const struct health_report *report_find(const struct reconcile_work *work, const char *service,
					       const struct candidate *candidate)
{
	struct health_report wanted = {.service = service, .address = candidate->address, .port = candidate->port};

	return work->input->health_count ? bsearch(&wanted, work->input->health, work->input->health_count,
						    sizeof(wanted), report_compare) :
					   NULL;
}

/* What a backend's health and conditions say. `reason` is set when it is not up. */
static enum lb_backend_state judge_endpoint(const struct reconcile_work *work, const struct object *object,
					    const struct candidate *candidate, const struct health_report *report,
					    const char **reason)
{
	const struct endpoint *endpoint = candidate->endpoint;

	if (drained_by_operator(work, object, candidate)) {
		*reason = "drained by the operator";
		return LB_BACKEND_DRAINING;
	}
	if (endpoint->terminating) {
		*reason = endpoint->serving ? "terminating" : "terminating and not serving";
		return endpoint->serving ? LB_BACKEND_DRAINING : LB_BACKEND_DOWN;
	}
	if (!endpoint->ready && !object->service.publish_not_ready_addresses) {
		*reason = "endpoint not ready";
		return LB_BACKEND_DOWN;
	}
	if (work->input->health_assumed)
		return LB_BACKEND_UP;
	switch (report ? report->state : HEALTH_UNKNOWN) {
	case HEALTH_UP:
		return LB_BACKEND_UP;
	case HEALTH_HELD:
		*reason = "held: its checks flapped";
		return LB_BACKEND_DRAINING;
	case HEALTH_DOWN:
		*reason = report->state_reason;
		return LB_BACKEND_DOWN;
	default:
		*reason = REASON_UNCHECKED;
		return LB_BACKEND_DOWN;
	}
}

/*
 * A backend whose next hop is merely being asked for keeps its flows; one that the network gave up on is down, whatever
 * its checks last said.
 */
static enum lb_backend_state judge_next_hop(enum lb_backend_state state, enum network_next_hop_state hop, bool failed,
					    const char **reason)
{
	if (hop == NETWORK_NEXT_HOP_RESOLVED || state == LB_BACKEND_DOWN)
		return state;
	*reason = network_next_hop_state_text(hop);
	return hop == NETWORK_NEXT_HOP_UNRESOLVED && !failed ? LB_BACKEND_DRAINING : LB_BACKEND_DOWN;
}

static struct service_health health_with_defaults(const struct reconcile_work *work, const struct object *object,
						  const struct service_port *port)
{
	const struct reconcile_check_defaults *defaults = work->input->check_defaults;
	struct service_health health = object->service.health;

	if (health.check == SERVICE_CHECK_BY_PROTOCOL)
		health.check = port->protocol == PROTOCOL_NAME_TCP ? SERVICE_CHECK_TCP : SERVICE_CHECK_UDP;
	if (!defaults)
		return health;
	if (!health.interval_given)
		health.interval_ms = defaults->interval_ms;
	if (!health.timeout_given)
		health.timeout_ms = defaults->timeout_ms < health.interval_ms ? defaults->timeout_ms : health.interval_ms;
	if (!health.rise_given)
		health.rise = defaults->rise;
	if (!health.fall_given)
		health.fall = defaults->fall;
	return health;
}

static void check_add(struct reconcile_work *work, const struct object *object, const struct service_port *port,
		      const char *key, const struct candidate *candidate)
{
	struct service_health wanted = health_with_defaults(work, object, port);
	struct health_check *check;
	struct error error = {0};

	check = list_push(work->arena, &work->checks);
	*check = (struct health_check){.service = key, .address = candidate->address, .port = candidate->port};
	if (health_parameters_from_service(&wanted, &check->parameters, &error) < 0) {
		work_alarm(work, key, "The health check cannot be used: %s.", error.text);
		check->parameters = health_parameters_default(HEALTH_CHECK_NONE);
	}
	/* A port range has no port to ask unless one is named. */
	if (candidate->port == 0 && check->parameters.port == 0)
		check->parameters = health_parameters_default(HEALTH_CHECK_NONE);
}

static uint16_t weight_now(struct reconcile_work *work, const struct object *object,
			   const struct health_report *report, uint16_t weight)
{
	uint64_t duration_ms = object->service.slow_start_seconds * 1000ull, next_ms = 0;
	uint64_t up_since_ms;
	uint16_t now_weight;

	if (!report || duration_ms == 0 || report->state_age_ms > work->input->now_ms)
		return weight;
	up_since_ms = work->input->now_ms - report->state_age_ms;
	if (up_since_ms <= work->input->warm_before_ms)
		return weight;
	now_weight = slow_start_weight(weight, up_since_ms, duration_ms, work->input->now_ms, &next_ms);
	if (next_ms && (work->next_ms == 0 || next_ms < work->next_ms))
		work->next_ms = next_ms;
	return now_weight;
}

/* The object of a node; NULL when there is none. */
static const struct node *node_find(const struct reconcile_work *work, const char *name)
{
	for (size_t i = 0; i < work->input->object_count; i++) {
		const struct object *object = work->input->objects[i];

		if (object->kind == OBJECT_NODE && strcmp(object->meta.name, name) == 0)
			return &object->node;
	}
	return NULL;
}

static bool tunnelled(const struct object *object)
{
	return object->service.forwarding == SERVICE_FORWARDING_IPIP || object->service.forwarding == SERVICE_FORWARDING_GUE;
}

/* Where packets for a backend are wrapped to: its node (`ret_node`), or the backend itself. False: it is on this node. */
static bool tunnel_far_end(const struct reconcile_work *work, const struct candidate *candidate, struct address *ret_address,
			   bool *ret_node)
{
	const char *name = candidate->endpoint->node_name;
	const struct node *node = *name ? node_find(work, name) : NULL;
	bool ipv4 = address_is_ipv4(&candidate->address);

	if (strcmp(name, work->input->node_name) == 0)
		return false;
	*ret_address = candidate->address;
	*ret_node = node && node->internal_ips.count;
	for (size_t i = 0; node && i < node->internal_ips.count; i++) {
		const struct address *address = &node->internal_ips.items[i];

		if (i == 0 || address_is_ipv4(address) == ipv4)
			*ret_address = *address;
		if (address_is_ipv4(address) == ipv4)
			break;
	}
	return true;
}

/* The next hop of a backend, with the tunnel that leads to it if one does. */
static enum network_next_hop_state backend_reach(struct reconcile_work *work, const struct object *object,
						 const struct service_port *port, const char *key,
						 const struct candidate *candidate, struct lb_backend_wanted *row, bool *ret_failed)
{
	char text[ENDPOINT_TEXT_SIZE];
	enum network_next_hop_state hop;
	struct address far;
	bool node;

	if (!tunnelled(object) || !tunnel_far_end(work, candidate, &far, &node))
		return reconcile_egress(work, &candidate->address, &row->egress, &row->mtu, ret_failed);
	hop = reconcile_egress(work, &far, &row->egress, &row->mtu, ret_failed);
	row->tunnel = object->service.forwarding == SERVICE_FORWARDING_IPIP ? LB_TUNNEL_IPIP : LB_TUNNEL_GUE;
	row->tunnel_destination = far;
	row->tunnel_node = node;
	if (row->egress.ifindex && !reconcile_source(work, &far, &row->tunnel_source)) {
		work_alarm(work, key, "Backend %s cannot be reached by %s: this node has no address of the family of %s.", row->name,
			   service_forwarding_name(object->service.forwarding), address_format(&far, text));
		row->egress.flags &= (uint16_t)~EGRESS_RESOLVED;
	}
	if (address_equal(&far, &candidate->address) && candidate->port && candidate->port != port->port)
		work_alarm(work, key, "Backend %s: %s does not change ports, so a backend without a node must listen on %u.", row->name,
			   service_forwarding_name(object->service.forwarding), port->port);
	return hop;
}

static void quic_server_fill(const struct service *service, struct lb_backend_wanted *row)
{
	for (size_t i = 0; i < service->quic_server_count; i++) {
		if (!address_equal(&service->quic_servers[i].address, &row->address))
			continue;
		row->quic_named = true;
		row->quic_server = service->quic_servers[i].id;
	}
}

static void backend_fill(struct reconcile_work *work, const struct object *object, const struct service_port *port,
			 const char *key, const struct candidate *candidate, struct lb_backend_wanted *row,
			 struct reconcile_backend *view)
{
	const struct health_report *report = report_find(work, key, candidate);
	uint32_t weight = candidate->endpoint->weight * LB_WEIGHT_UNIT;
	enum network_next_hop_state hop;
	char text[ENDPOINT_TEXT_SIZE];
	const char *reason = "";
	enum lb_backend_state state;
	bool failed;

	if (weight > LB_WEIGHT_MAX)
		weight = LB_WEIGHT_MAX;
	state = judge_endpoint(work, object, candidate, report, &reason);
	*row = (struct lb_backend_wanted){
		.address = candidate->address,
		.port = candidate->port,
		.weight = (uint16_t)weight,
		.weight_full = (uint16_t)weight,
	};
	quic_server_fill(&object->service, row);
	if (candidate->port)
		row->name = work_text(work, "%s", endpoint_format(&candidate->address, candidate->port, text));
	else
		row->name = work_text(work, "%s", address_format(&candidate->address, text));
	hop = backend_reach(work, object, port, key, candidate, row, &failed);
	row->state = judge_next_hop(state, hop, failed, &reason);
	if (row->state == LB_BACKEND_UP)
		row->weight = weight_now(work, object, report, (uint16_t)weight);
	*view = (struct reconcile_backend){
		.name = row->name,
		.service = key,
		.address = candidate->address,
		.port = candidate->port,
		.weight = candidate->endpoint->weight,
		.state = row->state,
		.next_hop = hop,
		.reason = work_text(work, "%s", reason),
		.node_name = candidate->endpoint->node_name,
	};
	if (hop == NETWORK_NEXT_HOP_LOCAL)
		work_alarm(work, key, "Backend %s is an address of this node itself; it must be in a namespace of its own or on another machine.",
			   row->name);
	if (object->service.forwarding == SERVICE_FORWARDING_L2_DSR && candidate->port && candidate->port != port->port)
		work_alarm(work, key, "Backend %s: direct return does not change ports, so the backend must listen on %u.",
			   row->name, port->port);
}

/* An answer is traced back to its service by the backend's endpoint, and only so many services are looked through. */
static void candidates_limit(struct reconcile_work *work, const struct object *object, const struct service_port *port,
			     const char *key, candidate_list *list)
{
	size_t kept = 0;

	for (size_t i = 0; i < list->count; i++) {
		const struct candidate *candidate = &list->items[i];
		char text[ENDPOINT_TEXT_SIZE];
		struct address far;
		bool node;

		if (tunnelled(object) && tunnel_far_end(work, candidate, &far, &node)) {
			list->items[kept++] = *candidate; /* its answers do not pass here */
			continue;
		}
		if (tally_add(work, &work->endpoint_uses, &candidate->address, candidate->port,
			      (uint8_t)port->protocol) > LB_SERVICES_PER_ENDPOINT)
			work_alarm(work, key, "Backend %s serves %u services at as many virtual IPs already and is left out here; give this service a port of its own on it.",
				   endpoint_format(&candidate->address, candidate->port, text), LB_SERVICES_PER_ENDPOINT);
		else
			list->items[kept++] = *candidate;
	}
	list->count = kept;
}

/* The service that has some of these ports at this address already; NULL for none. */
static const char *port_holder(const struct reconcile_work *work, const struct service_port *port,
			       const struct address *address)
{
	for (size_t i = 0; i < work->service_rows.count; i++) {
		const struct lb_service_wanted *row = &work->service_rows.items[i];

		if (row->protocol == (int)port->protocol && row->port_first <= port->port_last &&
		    port->port <= row->port_last && address_equal(&row->address, address))
			return row->name;
	}
	return NULL;
}

/* Nobody takes new flows, and that is known: no backend is merely unasked, and none's next hop is. */
static void health_alarm(struct reconcile_work *work, const struct reconcile_service *service,
			 const struct lb_service_wanted *row)
{
	char vip[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < service->backend_count; i++) {
		const struct reconcile_backend *backend = &service->backends[i];
		bool asking = backend->state == LB_BACKEND_DRAINING && backend->next_hop == NETWORK_NEXT_HOP_UNRESOLVED;

		if (backend->state == LB_BACKEND_UP || asking || strcmp(backend->reason, REASON_UNCHECKED) == 0)
			return;
	}
	if (service->backend_count)
		work_alarm(work, service->key, "No backend of %s takes new flows: %s; see `selvage service backends`.",
			   address_format(&row->address, vip),
			   row->no_backends == LB_NO_BACKENDS_ALL ? "they go to all of them all the same" : "they are dropped");
}

/* RFC 8837 leaves the marking to the sender; this is for those who cannot. */
#define DSCP_KEEP 255

static struct lb_media_wanted media_wanted(struct reconcile_work *work, const struct object *object)
{
	const struct service *service = &object->service;
	struct lb_media_wanted media = {
		.dscp_up = service->dscp_given ? service->dscp : DSCP_KEEP,
		.dscp_down = service->dscp_given ? service->dscp : DSCP_KEEP,
		.session_packets = {service->limit_session_packets.per_minute, service->limit_session_packets.burst},
		.stun_answers = {service->limit_stun.per_minute, service->limit_stun.burst},
		.stun_answers_all = {service->limit_stun_total.per_minute, service->limit_stun_total.burst},
	};
	struct rtc_ufrag_keys *keys;

	if (!work->input->ufrag_secret_count)
		return media;
	keys = arena_array(work->arena, 1, sizeof(*keys));
	*keys = rtc_ufrag_service_keys(work->input->ufrag_secrets, work->input->ufrag_secret_count,
				       work_text(work, "%s/%s", object->meta.namespace_name, object->meta.name));
	media.keys = keys;
	return media;
}

static void service_add(struct reconcile_work *work, const struct object *object, const struct service_port *port,
			const struct address *address, bool cluster_ip, const char *key)
{
	const char *holder = port_holder(work, port, address);
	char text[ADDRESS_TEXT_SIZE];
	const struct service *service = &object->service;
	size_t place = work->service_rows.count;
	bool local_only = service->external_traffic_policy == TRAFFIC_POLICY_LOCAL && !cluster_ip;
	candidate_list candidates = {0};
	struct reconcile_service *added;
	struct reconcile_backend *views;
	struct lb_backend_wanted *rows;
	struct lb_service_wanted *row;

	if (holder) {
		work_alarm(work, key, "Port %u of %s belongs to %s already; this service is not served there.", port->port,
			   address_format(address, text), holder);
		return;
	}
	candidates_collect(work, object, port, address_is_ipv4(address), local_only, &candidates);
	if (local_only && candidates.count == 0)
		work_alarm(work, key, "externalTrafficPolicy is Local and no endpoint has nodeName %s, so nothing is served here; name the endpoints' nodes, or use Cluster.",
			   work->input->node_name);
	if (service->forwarding != SERVICE_FORWARDING_L2_DSR)
		candidates_limit(work, object, port, key, &candidates);
	rows = arena_array(work->arena, candidates.count + 1, sizeof(*rows));
	views = arena_array(work->arena, candidates.count + 1, sizeof(*views));
	for (size_t i = 0; i < candidates.count; i++)
		backend_fill(work, object, port, key, &candidates.items[i], &rows[i], &views[i]);
	row = list_push(work->arena, &work->service_rows);
	*row = (struct lb_service_wanted){
		.address = *address,
		.port_first = port->port,
		.port_last = port->port_last,
		.protocol = (uint8_t)port->protocol,
		.direct = service->forwarding == SERVICE_FORWARDING_L2_DSR,
		.affinity = service->affinity_timeout_seconds != 0,
		.affinity_epochs = edge_epochs_from_ms(service->affinity_timeout_seconds * 1000ull),
		.udp_idle_epochs = edge_epochs_from_ms(service->udp_idle_seconds * 1000ull),
		.no_backends = service->no_healthy == SERVICE_NO_HEALTHY_ALL ? LB_NO_BACKENDS_ALL : LB_NO_BACKENDS_DROP,
		.allow = cluster_ip ? NULL : service->source_ranges, /* as Kubernetes has it: of the load balancer's addresses */
		.allow_count = cluster_ip ? 0 : service->source_range_count,
		.deny = service->deny_ranges,
		.deny_count = service->deny_range_count,
		.client_flows = {service->limit_new_flows.per_minute, service->limit_new_flows.burst},
		.client_packets = {service->limit_packets.per_minute, service->limit_packets.burst},
		.all_flows = {service->limit_new_flows_total.per_minute, service->limit_new_flows_total.burst},
		.flows_max = service->limit_flows,
		.client_flows_max = service->limit_flows_per_client,
		.quic_server_length = port->protocol == PROTOCOL_NAME_UDP && service->quic_server_count ? service->quic_server_length : 0,
		.quic_config = service->quic_config,
		.limit_prefix = address_is_ipv4(address) ? service->limit_prefix_ipv4 : service->limit_prefix_ipv6,
		.backends = rows,
		.backend_count = candidates.count,
		.name = key,
	};
	if (service_port_is_webrtc(port)) {
		row->media = true;
		row->media_wanted = media_wanted(work, object);
		row->flows_max = service->limit_sessions ? service->limit_sessions : row->flows_max;
	}
	added = list_push(work->arena, &work->services);
	*added = (struct reconcile_service){
		.object = object,
		.port = port,
		.key = key,
		.wanted = place,
		.backends = views,
		.backend_count = candidates.count,
	};
	health_alarm(work, added, row);
}

/* The checks of a port's backends, of both families: the same whatever virtual IPs lead to them. */
static void port_checks(struct reconcile_work *work, const struct object *object, const struct service_port *port,
			const char *key)
{
	candidate_list candidates = {0};

	candidates_collect(work, object, port, true, false, &candidates);
	candidates_collect(work, object, port, false, false, &candidates);
	for (size_t i = 0; i < candidates.count; i++)
		check_add(work, object, port, key, &candidates.items[i]);
}

/* Whether the backend carries calls of the service `row`, too: then what it sends is looked at as calls' (rtc/), and by nobody else. */
static bool backend_has_calls(const struct lb_service_wanted *row, const struct lb_backend_wanted *backend)
{
	for (size_t i = 0; row->media && i < row->backend_count; i++)
		if (row->backends[i].port == backend->port && address_equal(&row->backends[i].address, &backend->address))
			return true;
	return false;
}

static void calls_alarm(struct reconcile_work *work, const struct lb_service_wanted *calls, const struct lb_service_wanted *row)
{
	char text[ENDPOINT_TEXT_SIZE];

	for (size_t i = 0; i < row->backend_count; i++) {
		const struct lb_backend_wanted *backend = &row->backends[i];

		if (row->direct || backend->tunnel || !backend_has_calls(calls, backend))
			continue;
		work_alarm(work, row->name, "Backend %s carries calls of %s at the same port, so its answers to clients of this service do not "
			   "come from the virtual IP; give this service a port of its own on it.",
			   endpoint_format(&backend->address, backend->port, text), calls->name);
		return;
	}
}

/* Of backends that services of both kinds have. */
static void calls_check(struct reconcile_work *work)
{
	const struct lb_service_wanted *rows = work->service_rows.items;

	for (size_t c = 0; c < work->service_rows.count; c++) {
		if (!rows[c].media || (c && rows[c - 1].name == rows[c].name))
			continue; /* at another virtual IP the same agents */
		for (size_t i = 0; i < work->service_rows.count; i++)
			if (rows[i].protocol == PROTOCOL_UDP && !rows[i].media && !(i && rows[i - 1].name == rows[i].name))
				calls_alarm(work, &rows[c], &rows[i]);
	}
}

void reconcile_services(struct reconcile_work *work)
{
	for (size_t i = 0; i < work->input->object_count; i++) {
		const struct object *object = work->input->objects[i];
		struct address addresses[4];
		bool cluster[4];
		size_t count;

		if (object->kind != OBJECT_SERVICE)
			continue;
		count = reconcile_service_addresses(work, object, addresses, cluster);
		for (size_t p = 0; count > 0 && p < object->service.port_count; p++) {
			const struct service_port *port = &object->service.ports[p];
			const char *key = work_text(work, "%s/%s:%s", object->meta.namespace_name, object->meta.name,
						    *port->name ? port->name : work_text(work, "%u", port->port));

			port_checks(work, object, port, key);
			for (size_t a = 0; a < count; a++)
				service_add(work, object, port, &addresses[a], cluster[a], key);
		}
	}
	calls_check(work);
}

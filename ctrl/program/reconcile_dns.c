/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses that DNS is answered at, and the checks of steered names' sites. */
#include "ctrl/program/dns_wanted.h"
#include "ctrl/program/reconcile_parts.h"

#define UDP_IDLE_MS 60000 /* means nothing for DNS: there are no flows, but every row of UDP has one */

static bool address_taken(const struct reconcile_work *work, const struct reconcile_dns *dns)
{
	for (size_t i = 0; i < work->service_rows.count; i++) {
		const struct lb_service_wanted *row = &work->service_rows.items[i];

		if (row->protocol == PROTOCOL_UDP && row->port_first <= dns->port && dns->port <= row->port_last &&
		    address_equal(&row->address, &dns->address))
			return true;
	}
	return false;
}

/* Behind all services' rows: work->services has none for these. */
static void dns_row_add(struct reconcile_work *work, const struct reconcile_dns *dns)
{
	char text[ENDPOINT_TEXT_SIZE];

	endpoint_format(&dns->address, dns->port, text);
	if (address_is_zero(&dns->address) || (address_is_ipv4(&dns->address) && !address_ipv4(&dns->address)))
		return; /* "any": the process alone answers there */
	if (address_taken(work, dns)) {
		work_alarm(work, "DNS", "%s belongs to a service already, so packets' cache does not answer there.", text);
		return;
	}
	*list_push(work->arena, &work->service_rows) = (struct lb_service_wanted){
		.address = dns->address,
		.port_first = dns->port,
		.port_last = dns->port,
		.protocol = PROTOCOL_UDP,
		.dns = true,
		.udp_idle_epochs = edge_epochs_from_ms(UDP_IDLE_MS),
		.client_packets = {dns->limit.per_minute, dns->limit.burst},
		.limit_prefix = address_is_ipv4(&dns->address) ? dns->limit_bits.ipv4 : dns->limit_bits.ipv6,
		.name = work_text(work, "dns/%s", text),
	};
}

static struct service_health health_with_defaults(const struct reconcile_work *work, const struct steering_policy *policy)
{
	const struct reconcile_check_defaults *defaults = work->input->check_defaults;
	struct service_health health = policy->health;

	health.interval_ms = health.interval_given ? health.interval_ms : defaults ? defaults->interval_ms : 2000;
	health.timeout_ms = health.timeout_given ? health.timeout_ms : defaults ? defaults->timeout_ms : 1000;
	health.rise = defaults ? defaults->rise : 2;
	health.fall = defaults ? defaults->fall : 3;
	if (health.timeout_ms > health.interval_ms)
		health.timeout_ms = health.interval_ms;
	return health;
}

static bool check_known(const struct reconcile_work *work, const char *key, const struct address *address)
{
	for (size_t i = work->checks.count; i > 0; i--) {
		const struct health_check *check = &work->checks.items[i - 1];

		if (strcmp(check->service, key) != 0)
			return false;
		if (address_equal(&check->address, address))
			return true;
	}
	return false;
}

static void policy_checks_add(struct reconcile_work *work, const struct object *object)
{
	const struct steering_policy *policy = &object->steering_policy;
	struct service_health health = health_with_defaults(work, policy);
	const char *key = work_text(work, RECONCILE_STEERING_KEY "%s/%s", object->meta.namespace_name, object->meta.name);
	struct health_parameters parameters;
	struct error error = {0};

	if (health.check == SERVICE_CHECK_NONE)
		return;
	if (health_parameters_from_service(&health, &parameters, &error) < 0) {
		work_alarm(work, key, "The health check cannot be used: %s.", error.text);
		return;
	}
	for (size_t i = 0; i < policy->site_count; i++) {
		for (size_t k = 0; k < policy->sites[i].addresses.count; k++) {
			const struct address *address = &policy->sites[i].addresses.items[k];

			if (!check_known(work, key, address))
				*list_push(work->arena, &work->checks) = (struct health_check){
					.service = key, .address = *address, .port = health.port, .parameters = parameters};
		}
	}
}

/* A host of the Services' zone is not steered; of several policies of one host the first one counts (policy_of() of dns/steer.c). */
static void policy_hosts_check(struct reconcile_work *work, size_t number)
{
	const struct object *object = work->input->objects[number];

	if (work->input->dns_zone && !dns_host_is_steerable(work->input->dns_zone, object->steering_policy.host))
		work_alarm(work, work_text(work, RECONCILE_STEERING_KEY "%s/%s", object->meta.namespace_name, object->meta.name),
			   "%s is not steered: the names of Services are in %s, and a steered name takes all names below it along. Give it another host.",
			   object->steering_policy.host, work->input->dns_zone);
	for (size_t i = 0; i < number; i++) {
		const struct object *other = work->input->objects[i];

		if (other->kind != OBJECT_STEERING_POLICY || strcmp(other->steering_policy.host, object->steering_policy.host) != 0)
			continue;
		work_alarm(work, work_text(work, RECONCILE_STEERING_KEY "%s/%s", object->meta.namespace_name, object->meta.name),
			   "%s is steered by the SteeringPolicy %s/%s already, so this one is not used: delete one of them.",
			   object->steering_policy.host, other->meta.namespace_name, other->meta.name);
		return;
	}
}

void reconcile_dns(struct reconcile_work *work)
{
	for (size_t i = 0; i < work->input->dns_count; i++)
		dns_row_add(work, &work->input->dns[i]);
	/* a link that packets of clients or of workloads come in by may ask */
	for (size_t i = 0; work->input->dns_count && i < work->links.count; i++)
		work->links.items[i].dns = true;
	for (size_t i = 0; i < work->input->object_count; i++)
		if (work->input->objects[i]->kind == OBJECT_STEERING_POLICY) {
			policy_checks_add(work, work->input->objects[i]);
			policy_hosts_check(work, i);
		}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* From a change of anything to the tables: collects the input of reconcile, and carries its result out. */
#include <stdio.h>
#include <string.h>

#include "base/lib/log.h"
#include "base/lib/memory.h"
#include "ctrl/daemon/daemon.h"
#include "ctrl/daemon/sessions.h"

/* Text records of the store, parsed for one reconcile. */
struct records {
	struct reconcile_drain *drains;
	char **drain_services;
	size_t drain_count;
	struct reconcile_pin *pins;
	size_t pin_count;
};

/* NAMESPACE/SERVICE/ADDRESS/PORT */
static void drain_read(void *context, const char *name, const char *value)
{
	struct records *records = context;
	_cleanup_(freep) char *text = strdup(name);
	char *port_text = text ? strrchr(text, '/') : NULL, *address_text;
	struct reconcile_drain drain = {0};

	if (!port_text)
		return;
	*port_text++ = '\0';
	address_text = strrchr(text, '/');
	if (!address_text)
		return;
	*address_text++ = '\0';
	if (address_parse(address_text, &drain.address) < 0)
		return;
	drain.port = (uint16_t)strtoul(port_text, NULL, 10);
	records->drains = memory_array(records->drains, records->drain_count + 1, sizeof(*records->drains));
	records->drain_services = memory_array(records->drain_services, records->drain_count + 1, sizeof(char *));
	records->drain_services[records->drain_count] = strdup(text);
	drain.service = records->drain_services[records->drain_count];
	records->drains[records->drain_count++] = drain;
}

static void pin_read(void *context, const char *name, const char *value)
{
	struct records *records = context;
	struct reconcile_pin pin = {.node = value};

	if (address_parse(name, &pin.vip) < 0)
		return;
	records->pins = memory_array(records->pins, records->pin_count + 1, sizeof(*records->pins));
	records->pins[records->pin_count++] = pin;
}

static void records_done(struct records *records)
{
	for (size_t i = 0; i < records->drain_count; i++)
		free(records->drain_services[i]);
	free(records->drain_services);
	free(records->drains);
	free(records->pins);
}

/* --- interfaces -------------------------------------------------------------------------------------------------------- */

static struct daemon_interface *interface_slot(struct daemon *daemon, const char *name, bool workload)
{
	struct daemon_interface *interface;

	for (size_t i = 0; i < daemon->interface_count; i++) {
		if (strcmp(daemon->interfaces[i].name, name) == 0)
			return &daemon->interfaces[i];
	}
	if (daemon->interface_count == DAEMON_INTERFACES_MAX)
		return NULL;
	interface = &daemon->interfaces[daemon->interface_count++];
	*interface = (struct daemon_interface){.workload = workload};
	snprintf(interface->name, sizeof(interface->name), "%s", name);
	return interface;
}

/* An interface that went away and came back has another index; one that is gone has none. */
static void interface_follow(struct daemon *daemon, struct daemon_interface *interface, enum programmer_mode mode)
{
	const struct network_link *link = network_link_find_name(network_follow_get(daemon->follow), interface->name);
	uint32_t ifindex = link ? link->ifindex : 0;

	interface->mode = mode;
	if (interface->ifindex == ifindex && ifindex)
		return;
	daemon->interfaces_changed |= interface->ifindex != ifindex;
	interface->ifindex = ifindex;
	interface->attached = false;
	snprintf(interface->engine, sizeof(interface->engine), "none");
	snprintf(interface->message, sizeof(interface->message), "%s", ifindex ? "" : "no interface of this name exists");
}

static void workloads_find(struct daemon *daemon)
{
	const struct network *network = network_follow_get(daemon->follow);

	for (size_t i = 0; i < network->link_count; i++) {
		const struct network_link *link = &network->links[i];

		if (link->kind == NETWORK_LINK_LOOPBACK || !config_is_workload_interface(daemon->config, link->name))
			continue;
		if (!interface_slot(daemon, link->name, true))
			log_warning("%s: more than %d interfaces; it is left out", link->name, DAEMON_INTERFACES_MAX);
	}
}

void daemon_interfaces_find(struct daemon *daemon)
{
	size_t kept = 0;

	for (size_t i = 0; i < daemon->config->interface_count; i++) {
		const struct config_interface *wanted = &daemon->config->interfaces[i];
		struct daemon_interface *interface = interface_slot(daemon, wanted->name, false);

		if (interface)
			interface_follow(daemon, interface,
					 wanted->engine == CONFIG_ENGINE_DPDK	     ? PROGRAMMER_DPDK :
					 wanted->engine == CONFIG_ENGINE_XDP_GENERIC ? PROGRAMMER_XDP_GENERIC :
										       PROGRAMMER_XDP_NATIVE);
	}
	workloads_find(daemon);
	for (size_t i = 0; i < daemon->interface_count; i++) {
		struct daemon_interface *interface = &daemon->interfaces[i];

		if (interface->workload)
			interface_follow(daemon, interface, PROGRAMMER_WORKLOAD);
		/* a workload's veth goes with the workload */
		if (!interface->workload || interface->ifindex)
			daemon->interfaces[kept++] = *interface;
		else
			daemon->interfaces_changed = true;
	}
	daemon->interface_count = kept;
}

static const char *mode_name(enum programmer_mode mode)
{
	static const char *const names[] = {[PROGRAMMER_XDP_NATIVE] = "xdp-native",
					    [PROGRAMMER_XDP_GENERIC] = "xdp-generic",
					    [PROGRAMMER_WORKLOAD] = "tc",
					    [PROGRAMMER_DPDK] = "dpdk"};

	return names[mode];
}

static void attachment_note(struct daemon_interface *interface, const struct programmer_attachment *attachment)
{
	bool attached = attachment->code == 0;

	if (!attached && strcmp(interface->message, attachment->text) != 0)
		log_error("attaching to %s: %s", interface->name, attachment->text);
	else if (attached && interface->attached && attachment->changed)
		log_warning("%s: the packet program had been taken away; it is back", interface->name);
	else if (attached && !interface->attached)
		log_info("%s: %s%s%s", interface->name, attachment->mode, *attachment->text ? ": " : "", attachment->text);
	interface->attached = attached;
	snprintf(interface->engine, sizeof(interface->engine), "%s", attached ? attachment->mode : "none");
	snprintf(interface->wanted, sizeof(interface->wanted), "%s", mode_name(interface->mode));
	snprintf(interface->message, sizeof(interface->message), "%s", attachment->text);
}

/* After the tables: an engine that starts, or starts anew, finds them filled. */
static void interfaces_attach(struct daemon *daemon)
{
	struct programmer_interface wanted[DAEMON_INTERFACES_MAX];
	struct programmer_attachment *attachments;
	struct error error = {0};
	bool missing = false;
	size_t count = 0;

	for (size_t i = 0; i < daemon->interface_count; i++) {
		const struct daemon_interface *interface = &daemon->interfaces[i];

		if (interface->ifindex)
			wanted[count++] = (struct programmer_interface){interface->ifindex, interface->mode};
		missing |= interface->ifindex && !interface->attached;
	}
	if (!daemon->interfaces_changed && !missing)
		return;
	attachments = memory_or_end(calloc(count + 1, sizeof(*attachments)));
	if (programmer_attach(daemon->programmer, wanted, count, attachments, &error) < 0)
		log_error("detaching: %s", error.text);
	for (size_t i = 0, a = 0; i < daemon->interface_count; i++) {
		if (daemon->interfaces[i].ifindex)
			attachment_note(&daemon->interfaces[i], &attachments[a++]);
	}
	free(attachments);
	daemon->interfaces_changed = false;
}

/* --- reconcile --------------------------------------------------------------------------------------------------------- */

void daemon_reconcile_soon(struct daemon *daemon)
{
	event_active(daemon->reconcile_event, EV_TIMEOUT, 0);
}

static size_t interfaces_collect(const struct daemon *daemon, struct reconcile_interface *ret_interfaces)
{
	size_t count = 0;

	for (size_t i = 0; i < daemon->interface_count; i++) {
		if (daemon->interfaces[i].ifindex)
			ret_interfaces[count++] = (struct reconcile_interface){daemon->interfaces[i].ifindex,
									       daemon->interfaces[i].workload};
	}
	return count;
}

/* The labels of this node: the configuration's, those of its Node object, and its name as Kubernetes has it. */
static struct key_values node_labels(const struct daemon *daemon, const struct object *const *objects, size_t count,
				     struct key_value **ret_items)
{
	const struct key_values *given = NULL;
	size_t filled = 0;

	for (size_t i = 0; i < count; i++) {
		if (objects[i]->kind == OBJECT_NODE && strcmp(objects[i]->meta.name, daemon->config->node_name) == 0)
			given = &objects[i]->meta.labels;
	}
	*ret_items = memory_or_end(calloc(daemon->config->label_count + (given ? given->count : 0) + 1, sizeof(**ret_items)));
	for (size_t i = 0; given && i < given->count; i++)
		(*ret_items)[filled++] = given->items[i];
	for (size_t i = 0; i < daemon->config->label_count; i++) {
		if (!given || !key_values_get(given, daemon->config->labels[i].key))
			(*ret_items)[filled++] =
				(struct key_value){daemon->config->labels[i].key, daemon->config->labels[i].value};
	}
	if (!given || !key_values_get(given, "kubernetes.io/hostname"))
		(*ret_items)[filled++] = (struct key_value){"kubernetes.io/hostname", daemon->config->node_name};
	return (struct key_values){*ret_items, filled};
}

/* One pass of the pure function over everything as it is now. */
static void reconcile_now(struct daemon *daemon, struct reconcile_result *ret_result)
{
	struct reconcile_interface *interfaces =
		memory_or_end(calloc(DAEMON_INTERFACES_MAX, sizeof(*interfaces)));
	struct key_value *labels = NULL;
	struct health_report *reports = NULL;
	struct records records = {0};
	struct reconcile_check_defaults defaults = {daemon->config->health.interval_ms, daemon->config->health.timeout_ms,
						    daemon->config->health.rise, daemon->config->health.fall};
	struct reconcile_node self;
	struct reconcile_dns dns[16];
	struct reconcile_input input;
	size_t object_count, report_count = 0;
	const struct object *const *objects = catalogue_objects(daemon->catalogue, &object_count);
	struct error error = {0};

	if (health_snapshot(daemon->health, &reports, &report_count, &error) < 0)
		log_error("reading the health checks: %s", error.text);
	catalogue_each(daemon->catalogue, CATALOGUE_DRAINS, drain_read, &records);
	catalogue_each(daemon->catalogue, CATALOGUE_PINS, pin_read, &records);
	self = (struct reconcile_node){
		.name = daemon->config->node_name,
		.labels = node_labels(daemon, objects, object_count, &labels),
		.live = true,
	};
	input = (struct reconcile_input){
		.objects = objects,
		.object_count = object_count,
		.network = network_follow_get(daemon->follow),
		.interfaces = interfaces,
		.interface_count = interfaces_collect(daemon, interfaces),
		.node_name = daemon->config->node_name,
		.nodes = &self,
		.node_count = 1,
		.health = reports,
		.health_count = report_count,
		.check_defaults = &defaults,
		.drains = records.drains,
		.drain_count = records.drain_count,
		.pins = records.pins,
		.pin_count = records.pin_count,
		.ufrag_secrets = daemon->sessions->secrets.items,
		.ufrag_secret_count = daemon->sessions->secrets.count,
		.dns = dns,
		.dns_count = dns_link_addresses(daemon->config, dns, array_length(dns)),
		.dns_zone = daemon->config->dns.enabled ? daemon->config->dns.cluster_domain : NULL,
		.hash_seed = daemon->hash_seed,
		.now_ms = clock_now_ms(&clock_system),
		.warm_before_ms = daemon->warm_before_ms,
	};
	reconcile(&input, ret_result);
	records_done(&records);
	free(interfaces);
	free(reports);
	free(labels);
}

/*
 * The first time: what the tables say of the backends is what the health checks start with, so that a restart moves
 * nothing.
 */
static void health_adopt(struct daemon *daemon, const struct reconcile_result *result)
{
	struct health_restored *restored = NULL;
	struct error error = {0};
	size_t count = 0;

	for (size_t s = 0; s < result->service_count; s++) {
		const struct reconcile_service *service = &result->services[s];
		const struct lb_service_wanted *wanted = &result->wanted.services[service->wanted];

		for (size_t b = 0; b < service->backend_count; b++) {
			struct edge_backend_status status;

			if (!edge_program_backend_status(programmer_program(daemon->programmer), wanted,
							 &wanted->backends[b], &status) ||
			    (status.state != LB_BACKEND_UP && status.state != LB_BACKEND_DOWN))
				continue;
			restored = memory_array(restored, count + 1, sizeof(*restored));
			restored[count++] = (struct health_restored){
				.service = service->key,
				.address = wanted->backends[b].address,
				.port = wanted->backends[b].port,
				.state = status.state == LB_BACKEND_UP ? HEALTH_UP : HEALTH_DOWN,
			};
		}
	}
	if (count && health_restore(daemon->health, restored, count, &error) < 0)
		log_error("adopting the backends' health: %s", error.text);
	free(restored);
}

static void checks_set(struct daemon *daemon, const struct reconcile_result *result)
{
	struct error error = {0};

	if (health_set(daemon->health, result->checks, result->check_count, &error) < 0)
		log_error("setting the health checks: %s", error.text);
}

static void tables_apply(struct daemon *daemon)
{
	struct edge_changes changes = {0};
	struct error error = {0};
	int status = programmer_apply(daemon->programmer, &daemon->result.wanted, &changes, &error);

	daemon->apply_failed = status < 0;
	if (status < 0) {
		if (strcmp(daemon->apply_error, error.text) != 0)
			log_error("writing the tables: %s", error.text);
		snprintf(daemon->apply_error, sizeof(daemon->apply_error), "%s", error.text);
		return;
	}
	daemon->apply_error[0] = '\0';
	if (edge_changes_any(&changes)) {
		daemon->applies_total++;
		log_debug("tables: %u links, %u routes, %u neighbours, %u vips, %u services, %u backends, %u slots changed",
			  changes.links, changes.routes, changes.neighbours, changes.vips, changes.services,
			  changes.backends, changes.ring_slots);
	}
}

static void announcements_set(struct daemon *daemon)
{
	const struct reconcile_result *result = &daemon->result;
	struct announcement *wanted = memory_or_end(calloc(result->announcement_count + 1, sizeof(*wanted)));

	for (size_t i = 0; i < result->announcement_count; i++) {
		const struct reconcile_announcement *from = &result->announcements[i];

		wanted[i] = (struct announcement){.vip = from->vip, .ifindex = from->ifindex, .vlan_id = from->vlan};
		memcpy(wanted[i].mac, from->mac, sizeof(wanted[i].mac));
	}
	if (announce_set(daemon->announce, wanted, result->announcement_count) < 0)
		log_error("announcing virtual IPs: no memory");
	free(wanted);
}

static void alarm_note(struct daemon *daemon, const char *subject, const char *text)
{
	_cleanup_(freep) char *whole = NULL;

	if (asprintf(&whole, "%s: %s", subject, text) < 0)
		abort();
	for (size_t i = 0; i < daemon->alarm_count; i++) {
		if (strcmp(daemon->alarms[i].text, whole) == 0) {
			daemon->alarms[i].present = true;
			return;
		}
	}
	log_warning("%s", whole);
	daemon->alarms = memory_array(daemon->alarms, daemon->alarm_count + 1, sizeof(*daemon->alarms));
	daemon->alarms[daemon->alarm_count++] =
		(struct daemon_alarm){.text = steal(whole), .since_ms = clock_now_ms(&clock_system), .present = true};
}

/* A NIC that carries nothing, whatever else is well. A workload's veth goes down with the workload. */
static void link_alarm_note(struct daemon *daemon, const struct daemon_interface *interface)
{
	const struct network_link *link = network_link_find(network_follow_get(daemon->follow), interface->ifindex);
	char text[100];

	if (!link || interface->workload || (link->up && link->carrier))
		return;
	if (link->up)
		snprintf(text, sizeof(text), "The link is down: no cable, or the other end is off.");
	else
		snprintf(text, sizeof(text), "The interface is down; `ip link set dev %s up` takes it up.", interface->name);
	alarm_note(daemon, interface->name, text);
}

static void alarms_set(struct daemon *daemon)
{
	size_t kept = 0;

	for (size_t i = 0; i < daemon->alarm_count; i++)
		daemon->alarms[i].present = false;
	for (size_t i = 0; i < daemon->result.alarm_count; i++)
		alarm_note(daemon, daemon->result.alarms[i].subject, daemon->result.alarms[i].text);
	for (size_t i = 0; i < daemon->interface_count; i++) {
		if (!daemon->interfaces[i].attached)
			alarm_note(daemon, daemon->interfaces[i].name, daemon->interfaces[i].message);
		link_alarm_note(daemon, &daemon->interfaces[i]);
	}
	if (daemon->apply_failed)
		alarm_note(daemon, "Tables", daemon->apply_error);
	daemon_sessions_alarms(daemon->sessions, alarm_note);
	if (!dns_link_connected(daemon->dns))
		alarm_note(daemon, "DNS", "selvage-dns is not running: queries that packets' cache does not hold are not answered");
	if (daemon->probes_late)
		alarm_note(daemon, "Health checks",
			   "more of them wait for an answer than may at a time, so that changes are noticed late; check less "
			   "often, or remove backends that do not exist");
	for (size_t i = 0; i < daemon->alarm_count; i++) {
		if (daemon->alarms[i].present) {
			daemon->alarms[kept++] = daemon->alarms[i];
		} else {
			log_info("over: %s", daemon->alarms[i].text);
			free(daemon->alarms[i].text);
		}
	}
	daemon->alarm_count = kept;
}

/* Keeps the time of what has stayed as it was. */
static void ownerships_set(struct daemon *daemon)
{
	struct daemon_ownership *next = memory_array(NULL, daemon->result.vip_count, sizeof(*next));
	uint64_t now_ms = clock_now_ms(&clock_system);

	for (size_t i = 0; i < daemon->result.vip_count; i++) {
		const struct reconcile_vip *vip = &daemon->result.vips[i];

		next[i] = (struct daemon_ownership){vip->address, memory_or_end(strdup(vip->owner)), now_ms};
		for (size_t k = 0; k < daemon->ownership_count; k++) {
			if (address_equal(&daemon->ownerships[k].vip, &vip->address) &&
			    strcmp(daemon->ownerships[k].owner, vip->owner) == 0)
				next[i].since_ms = daemon->ownerships[k].since_ms;
		}
	}
	daemon_ownerships_free(daemon);
	daemon->ownerships = next;
	daemon->ownership_count = daemon->result.vip_count;
}

void daemon_ownerships_free(struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->ownership_count; i++)
		free(daemon->ownerships[i].owner);
	free(daemon->ownerships);
	daemon->ownerships = NULL;
	daemon->ownership_count = 0;
}

static bool service_exists(const struct daemon *daemon, const char *name)
{
	size_t count;
	const struct object *const *objects = catalogue_objects(daemon->catalogue, &count);

	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(objects[i]->meta.namespace_name);

		if (objects[i]->kind == OBJECT_SERVICE && strncmp(name, objects[i]->meta.namespace_name, length) == 0 &&
		    name[length] == '/' && strcmp(name + length + 1, objects[i]->meta.name) == 0)
			return true;
	}
	return false;
}

/* A drain goes with its service: one of the same name that comes later is another. */
static void drain_expire(void *context, const char *name, const char *value)
{
	struct daemon *daemon = context;
	char service[STORE_KEY_LENGTH_MAX], key[2 * STORE_KEY_LENGTH_MAX];
	const char *end = strchr(name, '/');

	end = end ? strchr(end + 1, '/') : NULL;
	if (!end)
		return;
	snprintf(service, sizeof(service), "%.*s", (int)(end - name), name);
	if (service_exists(daemon, service))
		return;
	snprintf(key, sizeof(key), CATALOGUE_DRAINS "%s", name);
	store_delete(daemon->store, key, NULL, NULL);
}

static void timer_set(struct daemon *daemon)
{
	uint64_t now_ms = clock_now_ms(&clock_system), wait_ms;
	struct timeval wait;

	/* -ENOSPC: rows come free as flows end; the same apply completes then */
	if (daemon->result.next_ms == 0 && !daemon->apply_failed) {
		evtimer_del(daemon->timer_event);
		return;
	}
	wait_ms = daemon->result.next_ms > now_ms ? daemon->result.next_ms - now_ms : 1000;
	wait = (struct timeval){.tv_sec = (time_t)(wait_ms / 1000), .tv_usec = (suseconds_t)(wait_ms % 1000 * 1000)};
	evtimer_add(daemon->timer_event, &wait);
}

static void dns_set(struct daemon *daemon)
{
	struct health_report *reports = NULL;
	struct dns_wanted_input input = {.assignments = &daemon->result.assignments};
	struct error error = {0};

	input.objects = catalogue_objects(daemon->catalogue, &input.object_count);
	if (health_snapshot(daemon->health, &reports, &input.health_count, &error) < 0)
		log_error("reading the health checks: %s", error.text);
	input.health = reports;
	dns_link_set(daemon->dns, &input);
	free(reports);
}

void daemon_reconcile(evutil_socket_t fd, short what, void *context)
{
	struct daemon *daemon = context;
	struct reconcile_result result;

	if (!catalogue_ready(daemon->catalogue) || !daemon->hash_seed_known)
		return;
	daemon_interfaces_find(daemon);
	daemon_sessions_secrets(daemon->sessions);
	reconcile_now(daemon, &result);
	if (!daemon->reconciled)
		health_adopt(daemon, &result);
	checks_set(daemon, &result);
	if (!daemon->reconciled) {
		/* once more, now that the health of what is there is known */
		reconcile_result_done(&result);
		daemon->warm_before_ms = clock_now_ms(&clock_system);
		reconcile_now(daemon, &result);
	}
	reconcile_result_done(&daemon->result);
	daemon->result = result;
	catalogue_release(daemon->catalogue);
	tables_apply(daemon);
	daemon_sessions_places(daemon->sessions);
	daemon_sessions_begin(daemon->sessions);
	dns_set(daemon);
	interfaces_attach(daemon);
	announcements_set(daemon);
	if (network_follow_want(daemon->follow, result.destinations, result.destination_count) < 0)
		log_error("keeping next hops resolved: no memory");
	daemon_assignments_store(daemon);
	catalogue_each(daemon->catalogue, CATALOGUE_DRAINS, drain_expire, daemon);
	ownerships_set(daemon);
	alarms_set(daemon);
	timer_set(daemon);
	daemon->reconciles_total++;
	daemon->reconciled = true;
}

/*
 * What nobody tells: that somebody took a program from an interface (tc knows no owner), that one which was in the way
 * has gone, that health checks are late.
 */
void daemon_inspect(evutil_socket_t fd, short what, void *context)
{
	struct daemon *daemon = context;
	uint64_t delayed = health_counters(daemon->health).probes_delayed_total;

	if (!daemon->reconciled)
		return;
	daemon->interfaces_changed = true;
	interfaces_attach(daemon);
	daemon->probes_late = delayed != daemon->probes_delayed;
	daemon->probes_delayed = delayed;
	daemon_sessions_inspect(daemon->sessions);
	alarms_set(daemon);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <event2/buffer.h>

#include "base/lib/verdict_text.h"
#include "ctrl/api/openmetrics.h"
#include "ctrl/daemon/sessions.h"
#include "dataplane/control_channel.h"

static void fastpath_metrics(const struct daemon *daemon, struct evbuffer *text)
{
	struct edge_totals totals;

	edge_program_totals(programmer_program(daemon->programmer), &totals);
	openmetrics_family(text, "selvage_fastpath_packets", "counter", "Packets by the function that decided and its verdict.");
	for (int function = 0; function < FUNCTION_COUNT; function++) {
		for (int verdict = 0; verdict < VERDICT_COUNT; verdict++)
			openmetrics_sample_count(text, "selvage_fastpath_packets_total", totals.verdicts[function][verdict],
						 "engine", "xdp", "function", function_name(function), "verdict",
						 verdict_name(verdict), NULL);
	}
	openmetrics_family(text, "selvage_fastpath_bytes", "counter", "Bytes of the frames that came in.");
	openmetrics_sample_count(text, "selvage_fastpath_bytes_total", totals.bytes_in, "engine", "xdp", NULL);
	openmetrics_family(text, "selvage_fastpath_drops", "counter", "Packets dropped, by reason.");
	for (int reason = DROP_NONE + 1; reason < DROP_COUNT; reason++)
		openmetrics_sample_count(text, "selvage_fastpath_drops_total", totals.drops[reason], "reason", drop_name(reason),
					 NULL);
	openmetrics_family(text, "selvage_fragments_released", "counter",
			   "Fragments that were held until their first one came, by what became of sending them.");
	openmetrics_sample_count(text, "selvage_fragments_released_total", daemon->fragments_sent, "result", "sent", NULL);
	openmetrics_sample_count(text, "selvage_fragments_released_total", daemon->fragments_failed, "result", "failed", NULL);
	if (!daemon->flows_known)
		return;
	openmetrics_family(text, "selvage_fastpath_flows", "gauge", "Flows recorded and alive.");
	openmetrics_sample_count(text, "selvage_fastpath_flows", daemon->flows, NULL);
}

/* What selvage-dpdk did with the packets of its NICs beside deciding. */
static void ports_metrics(const struct daemon *daemon, struct evbuffer *text)
{
	bool begun = false;

	for (size_t i = 0; i < daemon->interface_count; i++) {
		const struct daemon_interface *interface = &daemon->interfaces[i];
		struct channel_statistics port;

		if (interface->mode != PROGRAMMER_DPDK || !interface->ifindex ||
		    programmer_dpdk_statistics(daemon->programmer, interface->ifindex, &port) < 0)
			continue;
		if (!begun)
			openmetrics_family(text, "selvage_dpdk_packets", "counter",
					   "Packets of a NIC of DPDK, by what became of them.");
		begun = true;
		{
			const struct {
				const char *what;
				uint64_t count;
			} counts[] = {
				{"received", port.received},   {"receive_missed", port.missed},
				{"sent", port.sent},	       {"send_failed", port.send_failed},
				{"to_host", port.to_host},     {"to_host_failed", port.to_host_failed},
				{"from_host", port.from_host}, {"from_host_failed", port.from_host_failed},
				{"to_workload", port.to_workloads}, {"to_workload_failed", port.to_workloads_failed},
			};

			for (size_t c = 0; c < array_length(counts); c++)
				openmetrics_sample_count(text, "selvage_dpdk_packets_total", counts[c].count, "interface",
							 interface->name, "what", counts[c].what, NULL);
		}
	}
}

static void vip_metrics(const struct daemon *daemon, struct evbuffer *text)
{
	openmetrics_family(text, "selvage_vip_owner", "gauge", "1 for the node that owns the virtual IP.");
	for (size_t i = 0; i < daemon->result.vip_count; i++) {
		const struct reconcile_vip *vip = &daemon->result.vips[i];
		char address[ADDRESS_TEXT_SIZE];

		if (*vip->owner)
			openmetrics_sample_count(text, "selvage_vip_owner", 1, "vip", address_format(&vip->address, address),
						 "node", vip->owner, NULL);
	}
}

/* One sample for each backend of each port at each virtual IP. */
static void backend_family(const struct daemon *daemon, struct evbuffer *text, const char *sample,
			   uint64_t (*value)(const struct reconcile_backend *backend,
					     const struct edge_backend_status *status))
{
	const struct reconcile_result *result = &daemon->result;

	for (size_t i = 0; i < result->service_count; i++) {
		const struct reconcile_service *service = &result->services[i];
		const struct lb_service_wanted *wanted = &result->wanted.services[service->wanted];
		char address[ADDRESS_TEXT_SIZE];

		address_format(&wanted->address, address);
		for (size_t b = 0; b < service->backend_count; b++) {
			struct edge_backend_status status = {0};

			(void)edge_program_backend_status(programmer_program(daemon->programmer), wanted,
							  &wanted->backends[b], &status);
			openmetrics_sample_count(text, sample, value(&service->backends[b], &status), "service", service->key,
						 "vip", address, "backend", service->backends[b].name, NULL);
		}
	}
}

static uint64_t value_health(const struct reconcile_backend *backend, const struct edge_backend_status *status)
{
	return backend->state == LB_BACKEND_UP;
}

static uint64_t value_packets(const struct reconcile_backend *backend, const struct edge_backend_status *status)
{
	return status->count.packets;
}

static uint64_t value_answers(const struct reconcile_backend *backend, const struct edge_backend_status *status)
{
	return status->count.answers;
}

static uint64_t value_bytes(const struct reconcile_backend *backend, const struct edge_backend_status *status)
{
	return status->count.bytes;
}

static uint64_t value_new_flows(const struct reconcile_backend *backend, const struct edge_backend_status *status)
{
	return status->count.flows;
}

static uint64_t value_flows(const struct reconcile_backend *backend, const struct edge_backend_status *status)
{
	return status->flows;
}

static void backend_metrics(const struct daemon *daemon, struct evbuffer *text)
{
	openmetrics_family(text, "selvage_backend_health", "gauge", "1 for a backend that takes new flows.");
	backend_family(daemon, text, "selvage_backend_health", value_health);
	openmetrics_family(text, "selvage_backend_packets", "counter", "Packets sent to the backend.");
	backend_family(daemon, text, "selvage_backend_packets_total", value_packets);
	openmetrics_family(text, "selvage_backend_bytes", "counter", "Bytes of the frames sent to the backend.");
	backend_family(daemon, text, "selvage_backend_bytes_total", value_bytes);
	openmetrics_family(text, "selvage_backend_answers", "counter", "Packets of the backend translated back.");
	backend_family(daemon, text, "selvage_backend_answers_total", value_answers);
	openmetrics_family(text, "selvage_backend_flows_begun", "counter", "Flows that began on the backend.");
	backend_family(daemon, text, "selvage_backend_flows_begun_total", value_new_flows);
	openmetrics_family(text, "selvage_backend_flows", "gauge", "Flows of the backend alive at the last count.");
	backend_family(daemon, text, "selvage_backend_flows", value_flows);
}

void daemon_metrics(void *context, struct evbuffer *text)
{
	const struct daemon *daemon = context;
	struct health_counters checks = health_counters(daemon->health);
	const struct announce_counters *announced = announce_count(daemon->announce);

	openmetrics_family(text, "selvage_build", "info", "What this is.");
	openmetrics_sample_count(text, "selvage_build_info", 1, "version", SELVAGE_VERSION, "node",
				 daemon->config->node_name, NULL);
	fastpath_metrics(daemon, text);
	ports_metrics(daemon, text);
	vip_metrics(daemon, text);
	backend_metrics(daemon, text);
	daemon_sessions_metrics(daemon->sessions, text);
	openmetrics_family(text, "selvage_health_probes", "counter", "Health probes that ended.");
	openmetrics_sample_count(text, "selvage_health_probes_total", checks.probes_total, NULL);
	openmetrics_family(text, "selvage_health_probes_delayed", "counter",
			   "Health probes that had to wait for others, so that detection takes longer.");
	openmetrics_sample_count(text, "selvage_health_probes_delayed_total", checks.probes_delayed_total, NULL);
	openmetrics_family(text, "selvage_health_transitions", "counter", "Changes of a backend's health.");
	openmetrics_sample_count(text, "selvage_health_transitions_total", checks.transitions_total, NULL);
	openmetrics_family(text, "selvage_announcements", "counter", "Gratuitous ARP and unsolicited NA frames sent.");
	openmetrics_sample_count(text, "selvage_announcements_total", announced->sent, NULL);
	openmetrics_family(text, "selvage_reconciles", "counter", "Times that the wanted tables were computed.");
	openmetrics_sample_count(text, "selvage_reconciles_total", daemon->reconciles_total, NULL);
	openmetrics_family(text, "selvage_table_changes", "counter", "Times that the tables were changed.");
	openmetrics_sample_count(text, "selvage_table_changes_total", daemon->applies_total, NULL);
	openmetrics_family(text, "selvage_alarms", "gauge", "Alarms in force; `selvage status` tells them.");
	openmetrics_sample_count(text, "selvage_alarms", daemon->alarm_count, NULL);
}

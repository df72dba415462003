/* SPDX-License-Identifier: Apache-2.0 */
/* The packet program's counters as they are now, all at once, so that a reader can take differences. */
#include <stdio.h>

#include "base/lib/clock.h"
#include "base/lib/verdict_text.h"
#include "ctrl/daemon/daemon.h"

json_t *daemon_drop_json(enum drop_reason reason, uint64_t count)
{
	return json_pack("{s:s, s:I, s:s, s:s}", "reason", drop_name(reason), "count", (json_int_t)count, "sentence",
			 drop_sentence(reason), "advice", drop_advice(reason));
}

static json_t *backend_json(const struct reconcile_service *service, const struct lb_service_wanted *wanted,
			    const struct reconcile_backend *backend, const struct edge_backend_count *count)
{
	char vip[ADDRESS_TEXT_SIZE];

	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "service", service->key, "vip",
			 address_format(&wanted->address, vip), "backend", backend->name, "protocol",
			 protocol_name_text(service->port->protocol), "packets", (json_int_t)count->packets, "bytes",
			 (json_int_t)count->bytes, "answers", (json_int_t)count->answers, "answerBytes",
			 (json_int_t)count->answer_bytes, "newFlows", (json_int_t)count->flows);
}

static json_t *backends_json(const struct daemon *daemon)
{
	const struct reconcile_result *result = &daemon->result;
	json_t *list = json_array();

	for (size_t i = 0; i < result->service_count; i++) {
		const struct reconcile_service *service = &result->services[i];
		const struct lb_service_wanted *wanted = &result->wanted.services[service->wanted];

		for (size_t b = 0; b < service->backend_count; b++) {
			struct edge_backend_count count;

			if (edge_program_backend_count(programmer_program(daemon->programmer), wanted, &wanted->backends[b], &count))
				json_array_append_new(list, backend_json(service, wanted, &service->backends[b], &count));
		}
	}
	return list;
}

static json_t *verdicts_json(const struct edge_totals *totals)
{
	json_t *verdicts = json_object();

	for (int verdict = 0; verdict < VERDICT_COUNT; verdict++) {
		uint64_t sum = 0;

		for (int function = 0; function < FUNCTION_COUNT; function++)
			sum += totals->verdicts[function][verdict];
		json_object_set_new(verdicts, verdict_name((enum verdict)verdict), json_integer((json_int_t)sum));
	}
	return verdicts;
}

json_t *daemon_view_counters(void *context)
{
	const struct daemon *daemon = context;
	json_t *drops = json_array();
	uint64_t now_us = clock_us();
	struct edge_totals totals;

	edge_program_totals(programmer_program(daemon->programmer), &totals);
	for (int reason = DROP_NONE + 1; reason < DROP_COUNT; reason++)
		json_array_append_new(drops, daemon_drop_json((enum drop_reason)reason, totals.drops[reason]));
	return json_pack("{s:s, s:b, s:I, s:o, s:I, s:o, s:o}", "node", daemon->config->node_name, "ready",
			 daemon->reconciled && !daemon->apply_failed, "timeUs",
			 (json_int_t)now_us, "verdicts", verdicts_json(&totals), "bytes",
			 (json_int_t)totals.bytes_in, "backends", backends_json(daemon), "drops", drops);
}

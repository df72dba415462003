/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <time.h>

#include "base/lib/log.h"
#include "dataplane/dpdk.h"
#include "dataplane/table_list.h"
#include "dataplane/worker_clock.h"

_Static_assert(TABLE_COUNT == CHANNEL_TABLES_MAX, "a descriptor for each table");

void runtime_quiesce(struct runtime *runtime)
{
	rte_rcu_qsbr_synchronize(runtime->rcu, RTE_QSBR_THRID_INVALID);
}

struct port *runtime_port_find(struct runtime *runtime, uint32_t ifindex)
{
	for (uint32_t i = 0; i < runtime->port_count; i++) {
		if (runtime->ports[i].ifindex == ifindex)
			return &runtime->ports[i];
	}
	return NULL;
}

static void tables_free(struct runtime_tables *tables)
{
	if (!tables)
		return;
	tables_unmap(&tables->tables, tables->counter_sets);
	channel_fds_close(tables->fds, CHANNEL_TABLES_MAX);
	free(tables);
}

int runtime_tables_use(struct runtime *runtime, const struct channel_message *message, const int *fds, struct error *error)
{
	struct runtime_tables *next, *former = (struct runtime_tables *)(uintptr_t)runtime->tables;
	int code;

	if (message->counter_sets - message->counter_first < runtime->workers)
		return error_set(error, E2BIG, "%u workers; the tables have counters for %u", runtime->workers,
				 message->counter_sets - message->counter_first);
	next = calloc(1, sizeof(*next));
	if (!next)
		return error_set(error, ENOMEM, "no memory");
	code = tables_map(fds, message->counter_sets, &next->tables, error);
	if (code == 0 && next->tables.config->abi != EDGE_ABI) {
		code = error_set(error, EPROTO, "these tables are of format %u, not %u", next->tables.config->abi, EDGE_ABI);
		tables_unmap(&next->tables, message->counter_sets);
	}
	if (code < 0) {
		free(next);
		return code;
	}
	next->serial = former ? former->serial + 1 : 1;
	memcpy(next->fds, fds, sizeof(next->fds));
	next->counter_sets = message->counter_sets;
	next->counter_first = message->counter_first;
	next->epoch_shift = message->epoch_shift;
	next->tick_ns = message->tick_ns;
	next->epoch_offset = worker_clock_offset(message->tick_ns);
	/* The kernel's own count, should it have begun elsewhere; one epoch off is the moment between two. */
	if (worker_clock_epoch(next) - message->epoch + 1 > 2)
		next->epoch_offset += (message->epoch - worker_clock_epoch(next)) << message->epoch_shift;
	__atomic_store_n(&runtime->tables, next, __ATOMIC_RELEASE);
	runtime_quiesce(runtime);
	tables_free(former);
	log_info("tables taken over from selvaged");
	return 0;
}

void runtime_stop(struct runtime *runtime)
{
	uint64_t one = 1;

	store_once(runtime->stop, true);
	if (write(runtime->wake_fd, &one, sizeof(one)) < 0)
		log_warning("waking the workers: %s", strerror(errno));
	rte_eal_mp_wait_lcore();
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/engine.h"

bool engine_release(struct engine *engine, struct edge_released *ret_released)
{
	const struct edge_config *config = engine->tables.config;

	return edge_hold_next(&engine->tables, &engine->tables.counters[engine->counter_sets - 1], config->epoch_override - 1,
			      config->now_override - 1, ret_released);
}

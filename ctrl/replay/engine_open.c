/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/replay/engine_open.h"

#include <string.h>

#include "ctrl/replay/engine_xdp.h"

int engine_open(const char *name, struct engine **ret_engine, struct error *error)
{
	if (strcmp(name, "native") == 0) {
		*ret_engine = engine_native_new();
		return *ret_engine ? 0 : error_set(error, ENOMEM, "no memory");
	}
	if (strcmp(name, "xdp") == 0)
		return engine_xdp_new(ret_engine, error);
	if (strcmp(name, "dpdk") == 0)
		return engine_dpdk_new(ret_engine, error);
	return error_set(error, EINVAL, "there is no engine \"%s\"; write native, xdp or dpdk", name);
}

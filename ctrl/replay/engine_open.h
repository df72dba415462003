/* SPDX-License-Identifier: Apache-2.0 */
/* Engines by name: "native", "xdp", "dpdk". */
#pragma once

#include "dataplane/engine.h"

/* -EINVAL: there is no engine of this name. */
must_check int engine_open(const char *name, struct engine **ret_engine, struct error *error);

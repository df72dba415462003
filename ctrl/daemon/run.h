/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "ctrl/config.h"

/* Runs until SIGTERM, SIGINT or SIGHUP; leaves the fast path running. 0, or -errno when it could not start. */
must_check int daemon_run(const struct config *config, struct error *error);

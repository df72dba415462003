/* SPDX-License-Identifier: Apache-2.0 */
/* The loaded XDP program as an engine, by the kernel's BPF_PROG_TEST_RUN: needs the privileges to load programs. */
#pragma once

#include "dataplane/engine.h"

/*
 * Loads a program of its own, with tables of its own, attached to nothing. Frames have at most LOADER_FRAME_MAX bytes, as
 * the kernel's test run wants it; those without a whole Ethernet header never reach the kernel.
 */
must_check int engine_xdp_new(struct engine **ret_engine, struct error *error);

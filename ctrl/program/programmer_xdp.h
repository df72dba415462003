/* SPDX-License-Identifier: Apache-2.0 */
/* What another engine on the XDP engine's tables needs of it. Private to ctrl/program/. */
#pragma once

#include "ctrl/program/programmer.h"
#include "ebpf/loader.h"

/* Borrowed. `programmer` is programmer_xdp()'s, here and below. */
const struct loader *programmer_xdp_loader(const struct programmer *programmer);

/* `wait` is called with each grace period, after the kernel's: it returns when its packets, too, are done. */
void programmer_xdp_wait_also(struct programmer *programmer, void (*wait)(void *context), void *context);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the machine must have before DPDK is started, each lack in a sentence that says what to do: DPDK's own messages tell
 * where in its code it gave up. Reads /proc and /sys; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"

/* `root` is "" but in tests, where files stand in for the kernel's. */

/* -ENOMEM: fewer than `memory_mb` are free in huge pages. */
must_check int host_check_huge_pages(const char *root, uint32_t memory_mb, struct error *error);
/* -ENODEV, -EBUSY, -ENOTSUP, -EACCES: there is no such PCI device; the kernel's driver has it; no IOMMU; no permission. */
must_check int host_check_pci(const char *root, const char *address, struct error *error);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: an SQLite VFS over a disk whose power can be cut.
 *
 * Files live in their directory as ever, but beside them the VFS knows what a disk would hold: the bytes as of the last sync,
 * and the writes since then. After a chosen number of writes, cuts and syncs it writes what is left into another directory:
 * of the writes since the last sync each 512-byte sector is kept or lost at random, as disks may. Then the first life goes
 * on; its end is of no interest. Not for several threads; one disk at a time.
 */
#pragma once

#include <stdbool.h>

#define POWER_CUT_VFS "power-cut"

struct power_cut_options {
	unsigned long cut_after; /* operations */
	bool ignore_sync;	 /* a disk that lies */
	const char *target_directory; /* borrowed */
	void (*cut)(void *context);   /* at that moment */
	void *context;
};

/* Registers the VFS, with an empty disk. */
void power_cut_begin(const struct power_cut_options *options);
void power_cut_end(void);

unsigned long power_cut_operations(void);
unsigned long power_cut_bytes_written(void);
/* The nth write from now on and all after it fail for want of space; 0: there is space again. */
void power_cut_disk_full(int nth_write);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the table of virtual IPs: the difference between what is wanted and what packets see. The tables are the only record.
 * One thread.
 */
#pragma once

#include "base/lib/error.h"
#include "base/lib/row_table.h"
#include "vip/vip_wanted.h"

struct vip_program {
	struct row_table table;
};

/* Words stored. */
struct vip_changes {
	uint32_t vips;
	uint32_t directories;
};

/* Both are borrowed as long as `program` is used. Nothing is written. */
void vip_program_init(struct vip_program *program, struct vip_tables *tables, struct quiesce *quiesce);

/* Whether the virtual IPs can be put into the table at all. 0, -EINVAL, -E2BIG, -ENOMEM. */
must_check int vip_program_check(const struct vip_wanted *vips, size_t count, struct error *error);

/* After vip_program_check(). Adds to `changes`. 0, -ENOMEM, -ENOSPC. */
must_check int vip_program_apply(struct vip_program *program, const struct vip_wanted *vips, size_t count,
				 struct vip_changes *changes, struct error *error);

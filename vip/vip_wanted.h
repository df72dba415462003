/* SPDX-License-Identifier: Apache-2.0 */
/* The virtual IPs a node shall answer for, as reconcile says it. vip_program.h turns it into tables. */
#pragma once

#include "vip/vip_state.h"

struct vip_wanted {
	struct address address;
	bool owned;     /* this node answers for it; without it, it stays silent */
	uint64_t links; /* announce bits of the links on which it answers ARP and ND; without meaning when not owned */
};

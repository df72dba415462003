/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which node owns a virtual IP. Pure: every node that sees the same candidates comes to the same answer, without asking.
 *
 * Rendezvous hashing (Thaler and Ravishankar, 1998): each node has a score for each VIP, and the usable node with the
 * highest score owns it. So VIPs spread over the nodes; those of a lost node spread over the others; and the coming
 * and going of a node moves no VIP between two others.
 *
 * A node that comes back takes its VIPs back only when it has been usable for the hold-down time, so that one that
 * flaps does not take them along. The loss of an owner waits for nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/packet/address.h"

struct vip_candidate {
	const char *node;         /* its name, unique among the candidates; borrowed for the call */
	bool live;                /* heard of, by whatever tells membership */
	bool eligible;            /* may own this VIP: selected by the advertisement, link up, not drained, … */
	bool owner;               /* owns this VIP now, as far as known; several do for a moment after a partition heals */
	uint64_t usable_since_ms; /* when it last became live and eligible, on the clock of `now_ms` */
};

/* As a hold-down time: an owner keeps its VIP until it is lost, however long a better one has been back. */
#define VIP_HOLD_FOREVER UINT32_MAX

struct vip_rank_policy {
	uint32_t hold_down_ms;
	const char *pinned; /* the node that `vip move` named, while it is usable; NULL: none */
};

/*
 * Index of the node that should own `vip`, or -1 if none is live and eligible. Of several present owners the one with
 * the highest score counts as the owner. Nobody waits for the hold-down time while there is no usable owner.
 */
int vip_rank(const struct vip_candidate *candidates, size_t count, const struct address *vip,
	     const struct vip_rank_policy *policy, uint64_t now_ms);

/*
 * All candidates from the highest score to the lowest, usable or not, as indices: who would own `vip`, and who would
 * be next. Equal scores (1 in 2^64) are decided by name.
 */
void vip_rank_order(const struct vip_candidate *candidates, size_t count, const struct address *vip,
		    size_t ret_order[]);

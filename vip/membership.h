/* SPDX-License-Identifier: Apache-2.0 */
/* Solicited-node multicast groups that the kernel is a member of on our behalf; announce_send.h says why. */
#pragma once

#include "vip/announce.h"

struct membership {
	struct address group;
	uint32_t ifindex;
	int fd; /* the kernel leaves the group when it is closed; -1: could not be joined */
};

/* All zero is an empty set. */
struct membership_set {
	struct membership *members;
	size_t count;
};

/* Leaves all. */
void membership_set_done(struct membership_set *set);

/*
 * Makes the set that of the groups of the IPv6 addresses in `wanted`: joins what is new, leaves what nobody wants any more,
 * tries again what could not be joined. 0 or -ENOMEM (nothing changed).
 */
must_check int membership_set_update(struct membership_set *set, const struct announcement *wanted, size_t count);

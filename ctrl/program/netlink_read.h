/* SPDX-License-Identifier: Apache-2.0 */
/* From libnl's objects to struct network. No state, no sockets. */
#pragma once

#include <netlink/object.h>

#include "ctrl/program/network.h"

/*
 * Adds what the object tells: a link, an address (to its link, which must be there), a route, a neighbour. What network.h
 * leaves out is passed over. Links must come from a dump of all families: an event of one family tells a part, and libnl
 * calls a bridge's family AF_BRIDGE in either case. 0 or -ENOMEM.
 */
must_check int netlink_read_object(struct network *network, struct nl_object *object);

/* RTM_DELNEIGH. */
void netlink_forget_neighbour(struct network *network, struct nl_object *object);

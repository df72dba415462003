/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where clients ask: UDP, TCP (RFC 7766: pipelined, answered in whatever order) and TLS (RFC 7858).
 *
 * Addresses need not be there yet (IP_FREEBIND). One thread, the event loop's.
 */
#pragma once

#include "dns/resolver.h"

struct listeners;

struct listener_statistics {
	uint64_t connections, connections_total, connections_refused;
	uint64_t limited; /* queries above their client's limit: not answered, and their connection closed */
};

must_check int listeners_new(struct event_base *base, const struct dns_config *config, struct resolver *resolver,
			     struct listeners **ret_listeners, struct error *error);
/* Takes no further queries; those that came are still answered. */
void listeners_stop(struct listeners *listeners);
/* After resolver_free(), which ends all requests. */
void listeners_free(struct listeners *listeners);
struct listener_statistics listeners_measure(const struct listeners *listeners);

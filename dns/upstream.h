/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The servers that a zone is forwarded to: queries in by UDP on a loopback port, from libunbound; out by UDP, TCP or TLS to
 * whichever server answers soonest, by measure.
 *
 * A query goes to the best server. When its answer takes longer than that server's answers usually do, a second one is asked,
 * too ("hedging"), as long as such queries are few; when a server says nothing for long, or that it fails, the next is asked.
 * What comes from another address, with another id or another question is not heard. The same query asked twice is sent once.
 * docs/adr/0030 says why this is not left to libunbound.
 *
 * One thread, the event loop's.
 */
#pragma once

#include <jansson.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "dns/dns_config.h"

struct event_base;
struct ssl_ctx_st;
struct upstreams;

struct upstream_options {
	uint32_t hedge_delay_ms; /* 0: as measured */
	uint32_t hedge_percent;
	const char *authorities; /* NULL: the system's */
	uint64_t seed;
};

/* `forward` and `base` are borrowed. */
must_check int upstreams_new(struct event_base *base, const struct dns_forward *forward, const struct upstream_options *options,
			     struct upstreams **ret_upstreams, struct error *error);
void upstreams_free(struct upstreams *upstreams);

/* On 127.0.0.1, host order. */
uint16_t upstreams_port(const struct upstreams *upstreams);

/*
 * {"zone":".","queries":…,"joined":…,"failed":…,"servers":[{"server":"udp://10.0.0.2:53","state":"up"|"down","latencyUs":…,
 *  "queries":…,"answers":…,"failures":…,"timeouts":…,"hedges":…,"hedgesWon":…,"overTcp":…,"strange":…}]}
 */
json_t *upstreams_json(const struct upstreams *upstreams);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * selvaged's end of selvage-dns' control channel (dns/control.h): tells it names and policies whenever they differ from what it was
 * told, and hands on what clients of the API ask. It may come and go; what it is told first is everything.
 *
 * Private to ctrl/daemon/. One thread, the event loop's.
 */
#pragma once

#include "ctrl/api/api.h"
#include "ctrl/config.h"
#include "ctrl/program/dns_wanted.h"

struct dns_link;
struct evbuffer;

/* `config` is borrowed. NULL where the configuration has no key `dns`; all below take that. */
struct dns_link *dns_link_new(struct event_base *base, const struct config *config);
void dns_link_free(struct dns_link *link);

/* What there is now. The zone and the servers are the configuration's. */
void dns_link_set(struct dns_link *link, const struct dns_wanted_input *input);
/*
 * `message` ("op" and its arguments) for selvage-dns; the answer goes to the action. `fast_path`: DNS_RESULT_COUNT counts of packets' cache,
 * for "stats".
 */
void dns_link_ask(struct dns_link *link, const json_t *message, const uint64_t *fast_path, struct api_action *action);
/* The last statistics as OpenMetrics; they are fetched every few seconds. `fast_path`: DNS_RESULT_COUNT counts of packets' cache. */
void dns_link_metrics(const struct dns_link *link, const uint64_t *fast_path, struct evbuffer *text);
/* {"connected":true,"fastPath":…,"process":…}: queries answered by packets' cache, and by selvage-dns as of its last statistics. */
json_t *dns_link_status(const struct dns_link *link, const uint64_t *fast_path);
/* Whether it is connected; true without DNS, too. */
bool dns_link_connected(const struct dns_link *link);
/* Where DNS is answered: `ret_addresses` has room for `size`. How many. */
size_t dns_link_addresses(const struct config *config, struct reconcile_dns *ret_addresses, size_t size);

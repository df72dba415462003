/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of each server by measure, and which is the best. */
#include <arpa/inet.h>
#include <string.h>

#include "base/lib/log.h"
#include "dns/upstream_internal.h"

#define LATENCY_FIRST_US 50000u	 /* of a server not yet measured */
#define PATIENCE_MIN_US 300000u	 /* before an answer is given up, and another server asked whatever that costs */
#define PATIENCE_MAX_US 1500000u
#define HEDGE_MIN_US 10000u
#define HEDGE_MAX_US 400000u
#define DOWN_AFTER 3u		 /* silent or failing answers in a row */

void server_init(struct upstreams *upstreams, struct server *server, const struct dns_upstream *config)
{
	static const char *const schemes[] = {"udp", "tcp", "tls"};
	char endpoint[ENDPOINT_TEXT_SIZE];

	server->upstreams = upstreams;
	server->config = config;
	server->stream.server = server;
	TAILQ_INIT(&server->streaming);
	endpoint_format(&config->endpoint.address, config->endpoint.port, endpoint);
	snprintf(server->name, sizeof(server->name), "%s://%s", schemes[config->protocol], endpoint);
	if (address_is_ipv4(&config->endpoint.address)) {
		struct sockaddr_in *socket_address = (struct sockaddr_in *)&server->socket;

		socket_address->sin_family = AF_INET;
		socket_address->sin_addr.s_addr = address_ipv4(&config->endpoint.address);
		socket_address->sin_port = htons(config->endpoint.port);
		server->socket_length = sizeof(*socket_address);
	} else {
		struct sockaddr_in6 *socket_address = (struct sockaddr_in6 *)&server->socket;

		socket_address->sin6_family = AF_INET6;
		memcpy(&socket_address->sin6_addr, &config->endpoint.address, 16);
		socket_address->sin6_port = htons(config->endpoint.port);
		server->socket_length = sizeof(*socket_address);
	}
}

void server_heard(struct server *server, uint64_t took_us)
{
	if (!server->measured) {
		server->measured = true;
		server->latency_us = took_us;
		server->deviation_us = took_us / 2;
	} else {
		uint64_t differs = took_us > server->latency_us ? took_us - server->latency_us : server->latency_us - took_us;

		server->deviation_us = (3 * server->deviation_us + differs) / 4;
		server->latency_us = (7 * server->latency_us + took_us) / 8;
	}
	if (server->down)
		log_info("the DNS server %s answers again", server->name);
	server->silent = 0;
	server->down = false;
}

void server_failed(struct server *server, const char *why)
{
	if (++server->silent == DOWN_AFTER && !server->down) {
		server->down = true;
		log_warning("the DNS server %s is not used while it fails: %s", server->name, why);
	}
}

static uint64_t bounded(uint64_t value, uint64_t low, uint64_t high)
{
	return value < low ? low : value > high ? high : value;
}

uint64_t server_patience(const struct server *server)
{
	return bounded(server->measured ? 2 * (server->latency_us + 4 * server->deviation_us) : PATIENCE_MAX_US / 2, PATIENCE_MIN_US,
		       PATIENCE_MAX_US);
}

uint64_t server_hedge_delay(const struct server *server)
{
	const struct upstreams *upstreams = server->upstreams;

	if (upstreams->options.hedge_delay_ms)
		return upstreams->options.hedge_delay_ms * 1000ull;
	return bounded(server->measured ? server->latency_us + 3 * server->deviation_us : 2 * LATENCY_FIRST_US, HEDGE_MIN_US,
		       HEDGE_MAX_US);
}

static uint64_t server_score(const struct server *server)
{
	uint64_t score = server->measured ? server->latency_us + server->deviation_us : LATENCY_FIRST_US;

	/* one that is silent of late goes behind those that are not; one that is down behind all */
	return score + server->silent * 200000ull + (server->down ? 1000000000ull : 0);
}

struct server *server_choose(struct upstreams *upstreams, uint64_t *asked)
{
	struct server *best = NULL;

	for (int round = 0; round < 2 && !best; round++) {
		for (size_t i = 0; i < upstreams->server_count; i++) {
			struct server *server = &upstreams->servers[i];

			if (!(*asked & 1ull << i) && (!best || server_score(server) < server_score(best)))
				best = server;
		}
		if (!best)
			*asked = 0;
	}
	*asked |= 1ull << (best - upstreams->servers);
	return best;
}

json_t *server_json(const struct server *server)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "server", server->name, "state",
			 server->down ? "down" : "up", "latencyUs", (json_int_t)(server->measured ? server->latency_us : 0),
			 "queries", (json_int_t)server->queries, "answers", (json_int_t)server->answers, "failures",
			 (json_int_t)server->failures, "timeouts", (json_int_t)server->timeouts, "hedges",
			 (json_int_t)server->hedges, "hedgesWon", (json_int_t)server->hedges_won, "overTcp",
			 (json_int_t)server->over_tcp, "strange", (json_int_t)server->strange);
}

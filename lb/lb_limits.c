/* SPDX-License-Identifier: Apache-2.0 */
/* Rates in the units of buckets. */
#include "base/lib/address_text.h"
#include "base/packet/wire.h"
#include "lb/lb_internal.h"

#define GAIN_MAX (1ull << 31) /* times the longest age there is fits 64 bits */
#define MINUTE_MS 60000u

bool service_has_flow_limits(const struct lb_service_wanted *service)
{
	return service->client_flows.burst || service->all_flows.burst || service->flows_max || service->client_flows_max;
}

/* In the finest units that a bucket holds, so that slow rates are kept exactly. */
struct lb_rate lb_rate_of(const struct lb_rate_wanted *wanted)
{
	uint64_t cost, gain;

	if (wanted->burst == 0)
		return (struct lb_rate){0};
	cost = LB_BUCKET_CREDIT_MASK / wanted->burst;
	if (cost > GAIN_MAX * MINUTE_MS / wanted->per_minute)
		cost = GAIN_MAX * MINUTE_MS / wanted->per_minute;
	/* Rounded for the client: a bucket is never slower than was said. */
	gain = cost * wanted->per_minute / MINUTE_MS;
	cost = gain * MINUTE_MS / wanted->per_minute;
	return (struct lb_rate){
		.gain = (uint32_t)gain,
		.cost = (uint32_t)cost,
		.full = (uint32_t)(cost * wanted->burst),
	};
}

int lb_rate_check(const struct lb_service_wanted *service, const struct lb_rate_wanted *rate, struct error *error)
{
	if (rate->burst == 0)
		return 0;
	if (rate->per_minute == 0 || rate->per_minute > LB_RATE_MAX || rate->burst < lb_burst_least(rate->per_minute) ||
	    rate->burst > lb_burst_most(rate->per_minute))
		return error_set(error, EINVAL, "service %s: a limit of %u a minute with a burst of %u: the burst must be within %u to %u",
				 service->name, rate->per_minute, rate->burst, lb_burst_least(rate->per_minute),
				 lb_burst_most(rate->per_minute));
	return 0;
}

int limits_check(const struct lb_service_wanted *service, struct error *error)
{
	int result = lb_rate_check(service, &service->client_flows, error);

	if (result == 0)
		result = lb_rate_check(service, &service->client_packets, error);
	if (result == 0)
		result = lb_rate_check(service, &service->all_flows, error);
	if (result == 0 && service->quic_server_length &&
	    (service->quic_server_length > LB_QUIC_SERVER_ID_MAX || service->quic_config > LB_QUIC_CONFIG_MAX ||
	     service->protocol != PROTOCOL_UDP))
		result = error_set(error, EINVAL, "service %s: QUIC server ids of %u bytes under configuration %u", service->name,
				   service->quic_server_length, service->quic_config);
	if (result == 0 && service->limit_prefix > 128)
		result = error_set(error, EINVAL, "service %s: a client's prefix of %u bits", service->name, service->limit_prefix);
	return result;
}

/* The first `length` of 128 bits, in memory as on the wire. */
static struct address mask_of(uint8_t length)
{
	uint64_t high = length >= 64 ? UINT64_MAX : length ? UINT64_MAX << (64 - length) : 0;
	uint64_t low = length >= 128 ? UINT64_MAX : length > 64 ? UINT64_MAX << (128 - length) : 0;

	return (struct address){{__builtin_bswap64(high), __builtin_bswap64(low)}};
}

static void rate_write(struct lb_rate *rate, const struct lb_rate_wanted *wanted, struct plan *plan)
{
	struct lb_rate now = lb_rate_of(wanted);

	/* Packets between two of these stores may have a moment of a wrong rate. */
	table_put(rate->full, now.full, &plan->changes.services);
	table_put(rate->gain, now.gain, &plan->changes.services);
	table_put(rate->cost, now.cost, &plan->changes.services);
}

void limits_write(struct lb_program *program, uint16_t row, const struct lb_service_wanted *wanted, struct plan *plan)
{
	struct lb_limit *limit = &program->options.guards->limits[row];
	bool ipv4 = address_is_ipv4(&wanted->address);
	struct address mask = mask_of((uint8_t)((ipv4 ? 96 : 0) + wanted->limit_prefix));

	rate_write(&limit->rates[LB_LIMIT_CLIENT_FLOWS], &wanted->client_flows, plan);
	rate_write(&limit->rates[LB_LIMIT_CLIENT_PACKETS], &wanted->client_packets, plan);
	rate_write(&limit->rates[LB_LIMIT_ALL_FLOWS], &wanted->all_flows, plan);
	table_put(limit->quic_server_length, wanted->quic_server_length, &plan->changes.services);
	table_put(limit->flows_max, wanted->flows_max, &plan->changes.services);
	table_put(limit->client_flows_max, wanted->client_flows_max, &plan->changes.services);
	table_put(limit->mask.word[0], mask.word[0], &plan->changes.services);
	table_put(limit->mask.word[1], mask.word[1], &plan->changes.services);
}

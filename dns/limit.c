/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/limit.h"

#include <stdlib.h>
#include <sys/random.h>

#include "base/lib/address_text.h"
#include "base/lib/memory.h"
#include "base/packet/hash.h"

#define SETS 2048u /* a power of two */
#define WAYS 8u
#define MINUTE_NS 60000000000ull

/* A bucket as the time when it will be full again: what is missing is the time until then, at the rate. */
struct bucket {
	struct address client;
	uint64_t full_ns;
};

struct limit {
	uint64_t seed, cost_ns, depth_ns; /* of one query, of the whole bucket */
	struct client_bits bits;
	struct bucket buckets[SETS][WAYS];
};

struct limit *limit_new(const struct rate *rate, const struct client_bits *bits)
{
	struct limit *limit;

	if (!rate->burst)
		return NULL;
	limit = memory_or_end(calloc(1, sizeof(*limit)));
	limit->cost_ns = MINUTE_NS / rate->per_minute;
	limit->depth_ns = limit->cost_ns * rate->burst;
	limit->bits = *bits;
	/* a client shall not know whose bucket it shares a set with */
	if (getrandom(&limit->seed, sizeof(limit->seed), 0) != sizeof(limit->seed))
		limit->seed = (uint64_t)(uintptr_t)limit;
	return limit;
}

void limit_free(struct limit *limit)
{
	free(limit);
}

static struct address client_of(const struct limit *limit, const struct address *address)
{
	struct prefix prefix = {*address, address_is_ipv4(address) ? limit->bits.ipv4 : limit->bits.ipv6};
	struct address first, last;

	prefix_bounds(&prefix, &first, &last);
	return first;
}

/* The client's bucket, or the fullest of its set. */
static struct bucket *bucket_find(struct limit *limit, const struct address *client)
{
	uint64_t hash = hash_finish(hash_word(hash_word(limit->seed, client->word[0]), client->word[1]));
	struct bucket *set = limit->buckets[hash & (SETS - 1)], *fullest = set;

	for (struct bucket *bucket = set; bucket < set + WAYS; bucket++) {
		if (address_equal(&bucket->client, client))
			return bucket;
		if (bucket->full_ns < fullest->full_ns)
			fullest = bucket;
	}
	*fullest = (struct bucket){.client = *client};
	return fullest;
}

bool limit_take(struct limit *limit, const struct address *client, uint64_t now_us)
{
	uint64_t now_ns = now_us * 1000, full_ns;
	struct bucket *bucket;
	struct address prefix;

	if (!limit)
		return true;
	prefix = client_of(limit, client);
	bucket = bucket_find(limit, &prefix);
	full_ns = (bucket->full_ns > now_ns ? bucket->full_ns : now_ns) + limit->cost_ns;
	if (full_ns - now_ns > limit->depth_ns)
		return false;
	bucket->full_ns = full_ns;
	return true;
}

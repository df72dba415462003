/* SPDX-License-Identifier: Apache-2.0 */
/* Routes back to clients: which of them matter, and in which order. */
#include <string.h>

#include "base/lib/table_put.h"
#include "edge/edge_internal.h"

/* A route as bits of an address of either family; IPv4 lies in ::ffff:0:0/96. */
struct candidate {
	uint8_t network[16];
	uint32_t bits;
	bool ipv4;
	size_t place; /* in the input: of equal ones the first counts */
	const struct egress *egress;
	uint16_t mtu; /* the same for all that leave the same way */
};

static struct address mask_of(uint32_t bits)
{
	uint8_t bytes[16] = {0};
	struct address mask;

	memset(bytes, 0xff, bits / 8);
	if (bits % 8)
		bytes[bits / 8] = (uint8_t)(0xff00 >> bits % 8);
	memcpy(&mask, bytes, sizeof(mask));
	return mask;
}

static struct candidate candidate_from(const struct route_wanted *route, size_t place)
{
	bool ipv4 = prefix_family_ipv4(&route->prefix);
	uint32_t bits = route->prefix.length + (ipv4 ? 96u : 0u);
	struct address mask = mask_of(bits);
	struct address network = {{route->prefix.address.word[0] & mask.word[0],
				   route->prefix.address.word[1] & mask.word[1]}};
	uint16_t least = ipv4 ? LB_MTU_LEAST_IPV4 : LB_MTU_LEAST_IPV6;
	struct candidate candidate = {.bits = bits, .ipv4 = ipv4, .place = place, .egress = &route->egress};

	candidate.mtu = route->mtu == 0 ? LB_MTU_ANY : route->mtu < least ? least : route->mtu;

	memcpy(candidate.network, &network, sizeof(network));
	return candidate;
}

/* Family, then address, then length: each prefix comes right after those that cover it and what they cover before it. */
static int candidate_compare(const void *left, const void *right)
{
	const struct candidate *a = left, *b = right;
	int order = a->ipv4 - b->ipv4;

	if (order == 0)
		order = memcmp(a->network, b->network, sizeof(a->network));
	if (order == 0)
		order = (a->bits > b->bits) - (a->bits < b->bits);
	return order ? order : (a->place > b->place) - (a->place < b->place);
}

static int longest_first(const void *left, const void *right)
{
	const struct candidate *a = left, *b = right;

	if (a->bits != b->bits)
		return a->bits > b->bits ? -1 : 1;
	return candidate_compare(left, right);
}

static bool candidate_covers(const struct candidate *outer, const struct candidate *inner)
{
	struct address mask = mask_of(outer->bits), network, address;

	if (outer->ipv4 != inner->ipv4 || outer->bits > inner->bits)
		return false;
	memcpy(&network, outer->network, sizeof(network));
	memcpy(&address, inner->network, sizeof(address));
	return (address.word[0] & mask.word[0]) == network.word[0] && (address.word[1] & mask.word[1]) == network.word[1];
}

static bool egress_equal(const struct egress *a, const struct egress *b)
{
	return a->destination_mac == b->destination_mac && a->source_mac == b->source_mac && a->ifindex == b->ifindex &&
	       a->vlan == b->vlan && a->flags == b->flags;
}

/*
 * Moves the routes that matter to the front and returns how many. A route whose next covering one leaves the same way is
 * superfluous, and so is the second of two equal prefixes. At most 129 prefixes cover each other.
 */
static size_t routes_prune(struct candidate *routes, size_t count)
{
	struct candidate open[130];
	size_t depth = 0, kept = 0;

	for (size_t i = 0; i < count; i++) {
		struct candidate route = routes[i];
		bool matters;

		while (depth && !candidate_covers(&open[depth - 1], &route))
			depth--;
		matters = depth == 0 || (open[depth - 1].bits != route.bits &&
					 !egress_equal(open[depth - 1].egress, route.egress));
		if (!matters)
			continue;
		open[depth++] = route;
		routes[kept++] = route;
	}
	return kept;
}

/*
 * An IPv6 route over ::ffff:0:0/96 must not catch IPv4 addresses that have no route: a row that leads nowhere stops them.
 * It takes the place of an IPv4 default route. True when it is needed.
 */
static bool stop_needed(const struct candidate *routes, size_t count)
{
	struct candidate ipv4 = {.bits = 96, .network = {[10] = 0xff, [11] = 0xff}};
	bool covered = false;

	for (size_t i = 0; i < count; i++) {
		if (routes[i].ipv4 && routes[i].bits == 96)
			return false;
		covered = covered || candidate_covers(&routes[i], &ipv4);
	}
	return covered;
}

int routes_plan(const struct route_wanted *routes, size_t count, struct route_plan *ret_plan, struct error *error)
{
	static const struct egress nowhere = {0};
	_cleanup_(freep) struct candidate *candidates = calloc(count + 1, sizeof(*candidates));
	size_t kept;

	if (!candidates)
		return error_set(error, ENOMEM, "sorting %zu routes: no memory", count);
	for (size_t i = 0; i < count; i++)
		candidates[i] = candidate_from(&routes[i], i);
	if (count)
		qsort(candidates, count, sizeof(*candidates), candidate_compare);
	kept = routes_prune(candidates, count);
	if (stop_needed(candidates, kept))
		candidates[kept++] = (struct candidate){
			.bits = 96, .ipv4 = true, .network = {[10] = 0xff, [11] = 0xff}, .egress = &nowhere};
	if (kept > ROUTE_ROWS)
		return error_set(error, E2BIG, "of %zu routes %zu matter, and a node holds %u: let routers announce fewer",
				 count, kept, ROUTE_ROWS);
	if (kept)
		qsort(candidates, kept, sizeof(*candidates), longest_first);
	memset(ret_plan, 0, sizeof(*ret_plan));
	for (size_t i = 0; i < kept; i++) {
		ret_plan->rows[i].mask = mask_of(candidates[i].bits);
		memcpy(&ret_plan->rows[i].network, candidates[i].network, sizeof(struct address));
		ret_plan->rows[i].egress = *candidates[i].egress;
		ret_plan->rows[i].mtu = candidates[i].mtu;
	}
	ret_plan->count = (uint32_t)kept;
	return 0;
}

void routes_apply(struct route_table *table, const struct route_plan *plan, struct quiesce *quiesce, uint64_t *stamp,
		  struct edge_changes *changes)
{
	uint64_t buffer = table->control >> 32 & 1;

	if ((uint32_t)table->control == plan->count &&
	    memcmp(table->rows[buffer], plan->rows, plan->count * sizeof(plan->rows[0])) == 0)
		return;
	quiesce_need(quiesce, *stamp);
	memcpy(table->rows[!buffer], plan->rows, sizeof(plan->rows));
	table_publish();
	store_once(table->control, (uint64_t)!buffer << 32 | plan->count);
	*stamp = quiesce_retire(quiesce);
	changes->routes += plan->count + 1;
}

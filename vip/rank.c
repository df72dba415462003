/* SPDX-License-Identifier: Apache-2.0 */
#include "vip/rank.h"

#include <string.h>

/* The finalizer of splitmix64: every bit of the value moves every bit of the result. */
static uint64_t mix(uint64_t value)
{
	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
	value = (value ^ value >> 27) * 0x94d049bb133111ebu;
	return value ^ value >> 31;
}

/* FNV-1a; alone it spreads the last bytes badly, which mix() mends. */
static uint64_t name_hash(const char *name)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
	return mix(hash);
}

/* Part of the protocol between nodes: nodes of two versions must agree, so this never changes. */
static uint64_t score(const char *node, const struct address *vip)
{
	return mix(mix(name_hash(node) ^ vip->word[0]) ^ vip->word[1]);
}

static bool better(const struct vip_candidate *a, const struct vip_candidate *b, const struct address *vip)
{
	uint64_t score_a = score(a->node, vip), score_b = score(b->node, vip);

	return score_a != score_b ? score_a > score_b : strcmp(a->node, b->node) < 0;
}

static bool usable(const struct vip_candidate *candidate)
{
	return candidate->live && candidate->eligible;
}

static bool waited(const struct vip_candidate *candidate, uint32_t hold_down_ms, uint64_t now_ms)
{
	/* A clock that went back counts as no time. */
	return hold_down_ms != VIP_HOLD_FOREVER && now_ms >= candidate->usable_since_ms &&
	       now_ms - candidate->usable_since_ms >= hold_down_ms;
}

static int owner_best(const struct vip_candidate *candidates, size_t count, const struct address *vip)
{
	int best = -1;

	for (size_t i = 0; i < count; i++)
		if (candidates[i].owner && usable(&candidates[i]) &&
		    (best < 0 || better(&candidates[i], &candidates[best], vip)))
			best = (int)i;
	return best;
}

static int pinned_index(const struct vip_candidate *candidates, size_t count, const char *pinned)
{
	for (size_t i = 0; pinned && i < count; i++)
		if (usable(&candidates[i]) && strcmp(candidates[i].node, pinned) == 0)
			return (int)i;
	return -1;
}

int vip_rank(const struct vip_candidate *candidates, size_t count, const struct address *vip,
	     const struct vip_rank_policy *policy, uint64_t now_ms)
{
	int pinned = pinned_index(candidates, count, policy->pinned);
	int owner = owner_best(candidates, count, vip), best = owner;

	if (pinned >= 0)
		return pinned;
	for (size_t i = 0; i < count; i++) {
		if (!usable(&candidates[i]))
			continue;
		if (owner >= 0 && !waited(&candidates[i], policy->hold_down_ms, now_ms))
			continue;
		if (best < 0 || better(&candidates[i], &candidates[best], vip))
			best = (int)i;
	}
	return best;
}

void vip_rank_order(const struct vip_candidate *candidates, size_t count, const struct address *vip, size_t ret_order[])
{
	/* By insertion: a few hundred nodes at most, and seldom. */
	for (size_t i = 0; i < count; i++) {
		size_t place = i;

		for (; place > 0 && better(&candidates[i], &candidates[ret_order[place - 1]], vip); place--)
			ret_order[place] = ret_order[place - 1];
		ret_order[place] = i;
	}
}

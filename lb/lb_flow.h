/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Flows at packet time: the hash of a flow, the filter of flows that are recorded already, and the record itself.
 *
 * A flow is recorded by its first packet, as fresh, and established by what only a client can send that is there: another
 * packet (UDP), or what comes behind the backend's answer to a SYN (TCP). From then on it is looked at once an epoch; in
 * between, its packets cost one cache line (the filter) and no store, and their backend comes from the ring alone. Fresh flows
 * are not in the filter, so a flood of beginnings takes neither records nor marks from those who are established.
 */
#pragma once

#include "base/packet/hash.h"
#include "lb/lb_state.h"

/* Identity of a flow towards a service. Both directions compute it from the client's point of view. */
PACKET_INLINE uint64_t lb_flow_hash(uint64_t seed, const struct address *client, struct be16 client_port,
				    const struct address *vip, struct be16 vip_port, uint8_t protocol, bool ipv6)
{
	uint64_t ports = (uint64_t)client_port.raw | (uint64_t)vip_port.raw << 16 | (uint64_t)protocol << 32 |
			 (uint64_t)ipv6 << 40;
	uint64_t hash = hash_word(seed, ports);

	if (!ipv6)
		return hash_finish(hash_word(hash, (uint64_t)address_ipv4(client) << 32 | address_ipv4(vip)));
	hash = hash_word(hash_word(hash, client->word[0]), client->word[1]);
	return hash_finish(hash_word(hash_word(hash, vip->word[0]), vip->word[1]));
}

/*
 * Identity of a client towards a service, for session affinity. The service's row is not in it: rows differ from node to
 * node, and a client stays with its backend when another node takes the virtual IP over.
 */
PACKET_INLINE uint64_t lb_client_hash(uint64_t seed, const struct address *client, const struct lb_service *service)
{
	uint64_t port = service->port_first.raw | (uint64_t)service->protocol << 16 | 1ull << 32;
	uint64_t hash = hash_word(hash_word(hash_word(seed, port), client->word[0]), client->word[1]);

	return hash_finish(hash_word(hash_word(hash, service->address.word[0]), service->address.word[1]));
}

PACKET_INLINE uint64_t lb_filter_cell(uint64_t hash, uint32_t epoch)
{
	return (epoch & 0xf) << 12 | 0x800 | (hash & 0x7ff);
}

PACKET_INLINE uint32_t lb_filter_set(uint64_t hash)
{
	return (uint32_t)(hash >> 12) & ((1u << LB_FILTER_SET_BITS) - 1);
}

#define LB_FILTER_ONES 0x0001000100010001ull /* one in each 16-bit part of a word */

/* Not zero when one of the word's parts is. */
PACKET_INLINE uint64_t lb_filter_zero(uint64_t word)
{
	return (word - LB_FILTER_ONES) & ~word & LB_FILTER_ONES << 15;
}

/* Whether the flow was recorded in this epoch. */
PACKET_INLINE bool lb_filter_test(const struct lb_filter *filter, uint64_t hash, uint32_t epoch)
{
	const uint64_t *set = filter->sets[lb_filter_set(hash)];
	uint64_t cells = lb_filter_cell(hash, epoch) * LB_FILTER_ONES;

	return (lb_filter_zero(load_once(set[0]) ^ cells) | lb_filter_zero(load_once(set[1]) ^ cells)) != 0;
}

/* A one in each part that is no cell of this epoch: of another one, or empty. */
PACKET_INLINE uint64_t lb_filter_stale(uint64_t word, uint32_t epoch)
{
	uint64_t other = word >> 11 & 0x1f * LB_FILTER_ONES; /* epoch and the set bit, without a branch for each cell */

	other ^= ((epoch & 0xf) << 1 | 1) * LB_FILTER_ONES;
	return (other + 0x1f * LB_FILTER_ONES) >> 5 & LB_FILTER_ONES;
}

/*
 * Marks the flow as recorded; a cell of another epoch gives way first. A cell that another worker writes to the same word at
 * the same moment may be lost: one look more for its flow.
 */
PACKET_INLINE void lb_filter_mark(struct lb_filter *filter, uint64_t hash, uint32_t epoch)
{
	uint64_t *set = filter->sets[lb_filter_set(hash)];
	uint32_t which = (uint32_t)(hash >> 32) & 1;
	uint64_t word = load_once(set[which]), part = lb_filter_stale(word, epoch);

	if (unlikely(part == 0)) {
		which ^= 1;
		word = load_once(set[which]);
		part = lb_filter_stale(word, epoch);
	}
	if (unlikely(part == 0))
		part = 1ull << (hash >> 33 & 3) * 16;
	part &= -part;
	store_once(set[which], (word & ~(0xffff * part)) | lb_filter_cell(hash, epoch) * part);
}

PACKET_INLINE uint64_t *lb_flow_bucket(struct lb_flows *flows, uint64_t hash)
{
	return flows->words[hash & ((1u << LB_FLOW_BUCKET_BITS) - 1)];
}

/* What a look into a flow's bucket found. */
struct lb_flow_place {
	uint64_t *place;  /* the flow's word, or the one to give way */
	uint64_t word;    /* what was there */
	bool found;
	bool bucket_full; /* not found, and absence proves nothing: its word may have had to give way */
};

PACKET_INLINE struct lb_flow_place lb_flow_find(struct lb_flows *flows, uint64_t hash, uint8_t kind, uint32_t now_epoch)
{
	uint64_t *bucket = lb_flow_bucket(flows, hash);
	struct lb_flow_place result = {.bucket_full = true};
	uint32_t oldest = 0;
	uint32_t victim = 0;

#pragma GCC unroll 8
	for (uint32_t way = 0; way < LB_FLOW_WAYS; way++) {
		uint64_t word = load_once(bucket[way]);

		if ((word ^ hash) >> LB_FLOW_SIGNATURE_SHIFT == 0 &&
		    (word & (LB_FLOW_VALID | LB_FLOW_CLIENT)) == (kind | LB_FLOW_VALID)) {
			result.place = &bucket[way];
			result.word = word;
			result.found = true;
			result.bucket_full = false;
			return result;
		}
	}
#pragma GCC unroll 8
	for (uint32_t way = 0; way < LB_FLOW_WAYS; way++) {
		uint64_t word = load_once(bucket[way]);
		uint32_t age;

		if (word == 0) {
			age = 4 * (LB_FLOW_SEEN_MASK + 1);
			result.bucket_full = false;
		} else {
			/* fresh ones give way first, then one closed an epoch ago, and any that is open last; without branches */
			age = lb_flow_age_epochs(word, now_epoch) + 1 +
			      (uint32_t)(word & LB_FLOW_CLOSING) * (LB_FLOW_SEEN_MASK / LB_FLOW_CLOSING) +
			      (uint32_t)(word & LB_FLOW_FRESH) * (2 * (LB_FLOW_SEEN_MASK + 1) / LB_FLOW_FRESH);
		}
		/* of equal ones any: a flood that always hit the first would leave a fresh flow there no time */
		age = age << 3 | ((way ^ (uint32_t)(hash >> LB_FLOW_BUCKET_BITS)) & (LB_FLOW_WAYS - 1));
		if (age > oldest) {
			oldest = age;
			victim = way;
		}
	}
	result.place = &bucket[victim & (LB_FLOW_WAYS - 1)];
	result.word = load_once(*result.place);
	return result;
}

/* Whether a fresh flow may not be written here: its place is that of a flow that is established and alive. */
PACKET_INLINE bool lb_flow_occupied(const struct lb_flow_place *found, uint32_t now_epoch)
{
	return !found->found && found->word && !(found->word & (LB_FLOW_FRESH | LB_FLOW_CLOSING)) &&
	       lb_flow_age_epochs(found->word, now_epoch) < LB_FLOW_SILENT_EPOCHS;
}

/*
 * Writes a flow's word. A change gives way to another worker's (both saw the same packet's flow, and one may have seen its
 * end); a new flow's word is stored without asking: of two that meet in one place either may lose its record.
 */
PACKET_INLINE void lb_flow_put(const struct lb_flow_place *found, uint64_t word)
{
	if (!found->found)
		store_once(*found->place, word);
	else if (word != found->word)
		(void)__sync_val_compare_and_swap(found->place, found->word, word);
}

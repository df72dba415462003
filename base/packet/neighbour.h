/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Hardware addresses of clients on our own links. User space fills in what the kernel knows; the packet program adds
 * clients that began a flow and were not known, from that flow's first frame, so that their first answer finds its way.
 *
 * Buckets of four. `version` is odd while an entry is being written; a reader that sees it change looks no further.
 * The hardware address is one word, so a change of it is one store.
 */
#pragma once

#include "base/packet/address.h"
#include "base/packet/hash.h"

#define NEIGHBOUR_BUCKET_BITS 12u
#define NEIGHBOUR_WAYS 4u
#define NEIGHBOUR_MAC_MASK 0xffffffffffffull
#define NEIGHBOUR_SEEN_SHIFT 48 /* epoch of the last confirmation, above the address */

/* writers: ctrl, workers; readers: workers */
struct neighbour_entry {
	struct address address;
	uint64_t mac_seen; /* mac_word() | epoch << 48 */
	uint32_t ifindex; /* neighbour_link() */
	uint32_t version; /* 0: empty; odd: being written */
};
_Static_assert(sizeof(struct neighbour_entry) == 32, "two to a cache line");

struct neighbour_table {
	struct neighbour_entry entries[1u << NEIGHBOUR_BUCKET_BITS][NEIGHBOUR_WAYS];
};

/* What stands as `ifindex` below for a VLAN of an interface. */
PACKET_INLINE uint32_t neighbour_link(uint32_t ifindex, uint16_t vlan)
{
	return ifindex ^ (uint32_t)vlan << 20;
}

PACKET_INLINE uint32_t neighbour_bucket(const struct address *address, uint32_t ifindex)
{
	uint64_t hash = hash_finish(hash_word(hash_word(ifindex, address->word[0]), address->word[1]));

	return (uint32_t)hash & ((1u << NEIGHBOUR_BUCKET_BITS) - 1);
}

/* The hardware address as mac_word(), 0 when not known. */
PACKET_FUNCTION uint64_t neighbour_find(const struct neighbour_table *table, const struct address *address,
					uint32_t ifindex)
{
	const struct neighbour_entry *bucket;

	if (!table || !address)
		return 0;
	bucket = table->entries[neighbour_bucket(address, ifindex)];
#pragma GCC unroll 4
	for (uint32_t way = 0; way < NEIGHBOUR_WAYS; way++) {
		const struct neighbour_entry *entry = &bucket[way];
		uint32_t version = load_once(entry->version);
		uint64_t mac;

		if (version == 0 || version & 1)
			continue;
		if (!address_equal(&entry->address, address) || entry->ifindex != ifindex)
			continue;
		mac = load_once(entry->mac_seen) & NEIGHBOUR_MAC_MASK;
		if (load_once(entry->version) == version)
			return mac;
	}
	return 0;
}

/*
 * Adds or refreshes; `mac_seen` is neighbour_entry's. A full bucket loses its least recently confirmed entry. Returns
 * whether the address is there now.
 */
PACKET_FUNCTION bool neighbour_learn(struct neighbour_table *table, const struct address *address, uint32_t ifindex,
				     uint64_t mac_seen)
{
	uint16_t now_epoch = (uint16_t)(mac_seen >> NEIGHBOUR_SEEN_SHIFT);
	uint32_t victim = 0, victim_age = 0, version;
	struct neighbour_entry *bucket, *entry;

	if (!table || !address)
		return false;
	bucket = table->entries[neighbour_bucket(address, ifindex)];
#pragma GCC unroll 4
	for (uint32_t way = 0; way < NEIGHBOUR_WAYS; way++) {
		uint32_t age;

		entry = &bucket[way];
		if (entry->version != 0 && address_equal(&entry->address, address) && entry->ifindex == ifindex) {
			if (entry->mac_seen != mac_seen)
				store_once(entry->mac_seen, mac_seen);
			return true;
		}
		age = entry->version == 0 ? 0x10000 :
					    (uint16_t)(now_epoch - (uint16_t)(entry->mac_seen >> NEIGHBOUR_SEEN_SHIFT));
		if (age >= victim_age) {
			victim = way;
			victim_age = age;
		}
	}
	entry = &bucket[victim & (NEIGHBOUR_WAYS - 1)];
	version = load_once(entry->version);
	if (version & 1 || __sync_val_compare_and_swap(&entry->version, version, version + 1) != version)
		return false; /* another worker writes here; the client's next flow tries again */
	entry->address = *address;
	entry->ifindex = ifindex;
	store_once(entry->mac_seen, mac_seen);
	__sync_fetch_and_add(&entry->version, 1); /* a full barrier on every target */
	return true;
}

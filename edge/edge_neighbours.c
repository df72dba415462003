/* SPDX-License-Identifier: Apache-2.0 */
/* The neighbour table, which workers write too: entries change by the protocol of base/packet/neighbour.h. */
#include <string.h>

#include "base/lib/table_put.h"
#include "edge/edge_internal.h"

#define FRESHEN_EPOCHS 8u  /* wanted ones are confirmed again after a minute */
#define FORGET_EPOCHS 73u  /* learned ones are forgotten after ten */
#define AGE_FUTURE 0xff00u /* the age of what a worker with a clock ahead of ours has confirmed */

static struct directory_key neighbour_key(const struct address *address, uint32_t link)
{
	return (struct directory_key){{address->word[0], address->word[1], link}};
}

void neighbours_done(struct neighbour_book *book)
{
	free(book->wanted);
	free(book->macs);
	*book = (struct neighbour_book){.table = book->table};
}

/* The hardware address that is wanted, 0 for none. */
static uint64_t wanted_mac(const struct neighbour_book *book, const struct address *address, uint32_t link)
{
	struct directory_key key = neighbour_key(address, link);
	uint32_t place = directory_pairs_find(book->wanted, book->count, &key);

	return place ? book->macs[place - 1] : 0;
}

static uint64_t mac_seen(uint64_t mac, uint32_t epoch)
{
	return (mac & NEIGHBOUR_MAC_MASK) | (uint64_t)epoch << NEIGHBOUR_SEEN_SHIFT;
}

static uint32_t entry_age(const struct neighbour_entry *entry, uint32_t now_epoch)
{
	uint16_t age = (uint16_t)(now_epoch - (uint32_t)(entry->mac_seen >> NEIGHBOUR_SEEN_SHIFT));

	return age >= AGE_FUTURE ? 0 : age;
}

static bool entry_is(const struct neighbour_entry *entry, const struct address *address, uint32_t link)
{
	uint32_t version = load_once(entry->version);

	return version && !(version & 1) && entry->ifindex == link && address_equal(&entry->address, address);
}

/* Locks an entry as workers do. False: one of them is writing. */
static bool entry_lock(struct neighbour_entry *entry)
{
	uint32_t version = load_once(entry->version);

	return !(version & 1) && __sync_bool_compare_and_swap(&entry->version, version, version + 1);
}

static bool entry_write(struct neighbour_entry *entry, const struct address *address, uint32_t link, uint64_t seen)
{
	if (!entry_lock(entry))
		return false;
	entry->address = *address;
	entry->ifindex = link;
	store_once(entry->mac_seen, seen);
	__sync_fetch_and_add(&entry->version, 1);
	return true;
}

static bool entry_clear(struct neighbour_entry *entry)
{
	if (!entry_lock(entry))
		return false;
	entry->address = (struct address){{0, 0}};
	entry->ifindex = 0;
	store_once(entry->mac_seen, 0);
	table_publish();
	store_once(entry->version, 0);
	return true;
}

/* The place for a new entry: an empty one, or the longest unconfirmed of those that are not wanted; NULL for none. */
static struct neighbour_entry *entry_victim(const struct neighbour_book *book, struct neighbour_entry *bucket,
					    uint32_t now_epoch)
{
	struct neighbour_entry *victim = NULL;

	for (uint32_t way = 0; way < NEIGHBOUR_WAYS; way++) {
		struct neighbour_entry *entry = &bucket[way];

		if (load_once(entry->version) == 0)
			return entry;
		if (wanted_mac(book, &entry->address, entry->ifindex))
			continue;
		if (!victim || entry_age(entry, now_epoch) > entry_age(victim, now_epoch))
			victim = entry;
	}
	return victim;
}

/* Returns whether something was stored. Five wanted ones in one bucket: the last stays out, and workers learn it. */
static bool neighbour_ensure(struct neighbour_book *book, const struct directory_pair *wanted, uint32_t now_epoch)
{
	struct address address = {{wanted->key.word[0], wanted->key.word[1]}};
	uint32_t link = (uint32_t)wanted->key.word[2];
	struct neighbour_entry *bucket = book->table->entries[neighbour_bucket(&address, link)];
	uint64_t mac = book->macs[wanted->row - 1];
	struct neighbour_entry *victim;

	for (uint32_t way = 0; way < NEIGHBOUR_WAYS; way++) {
		struct neighbour_entry *entry = &bucket[way];

		if (!entry_is(entry, &address, link))
			continue;
		if ((load_once(entry->mac_seen) & NEIGHBOUR_MAC_MASK) == mac)
			return false;
		store_once(entry->mac_seen, mac_seen(mac, now_epoch));
		return true;
	}
	victim = entry_victim(book, bucket, now_epoch);
	return victim && entry_write(victim, &address, link, mac_seen(mac, now_epoch));
}

/* Fills `ret_book` with the neighbours, sorted; of two equal ones the last in the list counts. */
static int book_fill(const struct neighbour_wanted *neighbours, size_t count, struct neighbour_book *ret_book)
{
	struct neighbour_book book = {.table = ret_book->table};
	size_t used = 0, kept = 0;

	book.wanted = calloc(count + 1, sizeof(*book.wanted));
	book.macs = calloc(count + 1, sizeof(*book.macs));
	if (!book.wanted || !book.macs) {
		neighbours_done(&book);
		return -ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		uint32_t link = neighbour_link(neighbours[i].ifindex, neighbours[i].vlan);

		book.macs[i] = neighbours[i].mac & NEIGHBOUR_MAC_MASK;
		if (book.macs[i]) /* 0 is "not known" */
			book.wanted[used++] =
				(struct directory_pair){neighbour_key(&neighbours[i].address, link), (uint32_t)i + 1};
	}
	directory_pairs_sort(book.wanted, used);
	for (size_t i = 0; i < used; i++) {
		if (kept && memcmp(&book.wanted[kept - 1].key, &book.wanted[i].key, sizeof(struct directory_key)) == 0)
			kept--;
		book.wanted[kept++] = book.wanted[i];
	}
	book.count = kept;
	*ret_book = book;
	return 0;
}

int neighbours_apply(struct neighbour_book *book, const struct neighbour_wanted *neighbours, size_t count,
		     uint32_t now_epoch, struct edge_changes *changes, struct error *error)
{
	struct neighbour_book before = *book;

	if (book_fill(neighbours, count, book) < 0)
		return error_set(error, ENOMEM, "writing %zu neighbours: no memory", count);
	/*
	 * What is wanted no more is left to age: the kernel forgets neighbours that it has not used itself, and the packets' clients are
	 * such. A worker may have learned the same one from traffic just now.
	 */
	for (size_t i = 0; i < book->count; i++)
		changes->neighbours += neighbour_ensure(book, &book->wanted[i], now_epoch);
	neighbours_done(&before);
	return 0;
}

uint32_t neighbours_age(struct neighbour_book *book, uint32_t now_epoch)
{
	uint32_t removed = 0;

	for (uint32_t i = 0; i < (1u << NEIGHBOUR_BUCKET_BITS) * NEIGHBOUR_WAYS; i++) {
		struct neighbour_entry *entry = &book->table->entries[0][0] + i;
		uint64_t seen = load_once(entry->mac_seen);
		uint32_t age = entry_age(entry, now_epoch);

		if (load_once(entry->version) == 0 || age < FRESHEN_EPOCHS)
			continue;
		if (wanted_mac(book, &entry->address, entry->ifindex))
			(void)__sync_bool_compare_and_swap(&entry->mac_seen, seen,
							   mac_seen(seen & NEIGHBOUR_MAC_MASK, now_epoch));
		else if (age > FORGET_EPOCHS)
			removed += entry_clear(entry);
	}
	/* Workers may have pushed out some. */
	for (size_t i = 0; i < book->count; i++)
		(void)neighbour_ensure(book, &book->wanted[i], now_epoch);
	return removed;
}

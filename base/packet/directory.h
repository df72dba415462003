/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A read-mostly dictionary in plain memory: 24-byte key to row number. Built whole in user space into the buffer that is
 * not in use and switched by one 64-bit store, so that packets see the old dictionary or the new one, nothing between.
 *
 * Open addressing; the builder finds a seed with which no key lies more than DIRECTORY_PROBES places from its home, so a
 * miss costs at most that many compares. Row 0 means "none" in every table of the product.
 *
 *     control: 63            32 31             1  0
 *              [     seed      ][      0       ][buffer]
 */
#pragma once

#include "base/packet/hash.h"

#define DIRECTORY_PROBES 8u

struct directory_key {
	uint64_t word[3];
};

struct directory_entry {
	struct directory_key key;
	uint32_t row; /* 0: empty */
	uint32_t zero;
};
_Static_assert(sizeof(struct directory_entry) == 32, "two to a cache line");

/* `bits`: log2 of the places; user space fills at most an eighth of them. writer: ctrl, readers: workers */
#define DIRECTORY(bits)                                             \
	struct {                                                    \
		uint64_t control;                                   \
		uint64_t unused[7];                                 \
		struct directory_entry entries[2][1u << (bits)];    \
	}

PACKET_INLINE uint32_t directory_hash(const struct directory_key *key, uint64_t control)
{
	return (uint32_t)(hash_three(control >> 32, key->word) >> 32);
}

/* `entries` are the 2 << bits places of both buffers. Returns the row, 0 for none. */
PACKET_INLINE uint32_t directory_find(const struct directory_entry *entries, uint32_t bits, uint64_t control,
				      const struct directory_key *key)
{
	uint32_t mask = (1u << bits) - 1;
	uint32_t base = (uint32_t)(control & 1) << bits;
	uint32_t home = directory_hash(key, control);

	value_opaque(base); /* verifier: added, not or-ed, for Linux 6.1 keeps no bounds through a 32-bit "or" */
#pragma GCC unroll 8
	for (uint32_t probe = 0; probe < DIRECTORY_PROBES; probe++) {
		const struct directory_entry *entry = &entries[base + ((home + probe) & mask)];

		if (entry->row == 0)
			return 0;
		if (entry->key.word[0] == key->word[0] && entry->key.word[1] == key->word[1] &&
		    entry->key.word[2] == key->word[2])
			return entry->row;
	}
	return 0;
}

#define DIRECTORY_FIND(directory, bits, key) \
	directory_find(&(directory)->entries[0][0], bits, load_once((directory)->control), key)

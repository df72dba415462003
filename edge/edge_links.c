/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/lib/table_put.h"
#include "edge/edge_internal.h"

struct link_filler {
	struct row_filler filler; /* first */
	const struct link_wanted *links;
};

int links_check(const struct link_wanted *links, size_t count, struct error *error)
{
	_cleanup_(freep) struct directory_pair *pairs = NULL;

	if (count > LINK_ROWS - 1)
		return error_set(error, E2BIG, "%zu interfaces and VLANs: a node holds %u", count, LINK_ROWS - 1);
	pairs = calloc(count + 1, sizeof(*pairs));
	if (!pairs)
		return error_set(error, ENOMEM, "checking %zu interfaces: no memory", count);
	for (size_t i = 0; i < count; i++)
		pairs[i] = (struct directory_pair){link_key(links[i].ifindex, links[i].vlan), (uint32_t)i + 1};
	directory_pairs_sort(pairs, count);
	for (size_t i = 1; i < count; i++) {
		const struct link_wanted *link = &links[pairs[i].row - 1];

		if (memcmp(&pairs[i].key, &pairs[i - 1].key, sizeof(pairs[i].key)) == 0)
			return error_set(error, EINVAL, "interface %u with VLAN %u is there twice", link->ifindex, link->vlan);
	}
	return 0;
}

void links_init(struct row_table *table, struct link_table *links, struct quiesce *quiesce)
{
	*table = (struct row_table){
		.entries = &links->directory.entries[0][0],
		.control = &links->directory.control,
		.bits = LINK_DIRECTORY_BITS,
		.rows = links->rows,
		.row_bytes = sizeof(struct link_row),
		.row_count = LINK_ROWS,
		.quiesce = quiesce,
		.stamp = quiesce_retire(quiesce),
	};
}

static void link_fill(const struct row_filler *filler, size_t place, void *row, uint32_t *changes)
{
	const struct link_wanted *wanted = &((const struct link_filler *)(const void *)filler)->links[place];
	struct link_row *link = row;

	table_put(link->ifindex, wanted->ifindex, changes);
	table_put(link->vlan, wanted->vlan, changes);
	table_put(link->mac, wanted->mac, changes);
	table_put(link->announce, wanted->workload ? 0 : wanted->announce, changes);
	table_put(link->flags, (uint16_t)((wanted->workload ? LINK_WORKLOAD : 0) | (wanted->dns ? LINK_DNS : 0)), changes);
}

int links_apply(struct row_table *table, const struct link_wanted *links, size_t count, struct edge_changes *changes,
		struct error *error)
{
	_cleanup_(freep) struct directory_key *keys = calloc(count + 1, sizeof(*keys));
	const struct link_filler filler = {{link_fill}, links};
	int result = -ENOMEM;

	if (keys) {
		for (size_t i = 0; i < count; i++)
			keys[i] = link_key(links[i].ifindex, links[i].vlan);
		result = row_table_apply(table, keys, count, &filler.filler, &changes->links, &changes->directories);
	}
	if (result < 0)
		return error_set(error, -result, "writing %zu interfaces: %s", count,
				 result == -ENOMEM ? "no memory" : "no dictionary can be built");
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Whose tunnels end here. */
#include "base/lib/table_put.h"
#include "edge/edge_internal.h"

struct peer_filler {
	struct row_filler filler; /* first */
	const struct peer_wanted *peers;
};

int peers_check(const struct peer_wanted *peers, size_t count, struct error *error)
{
	_cleanup_(freep) struct directory_pair *pairs = NULL;

	if (count > LB_PEER_ROWS - 1)
		return error_set(error, E2BIG, "%zu addresses of nodes: a node holds %u", count, LB_PEER_ROWS - 1);
	pairs = calloc(count + 1, sizeof(*pairs));
	if (!pairs)
		return error_set(error, ENOMEM, "checking %zu addresses of nodes: no memory", count);
	for (size_t i = 0; i < count; i++)
		pairs[i] = (struct directory_pair){lb_peer_key(&peers[i].address), (uint32_t)i + 1};
	directory_pairs_sort(pairs, count);
	for (size_t i = 1; i < count; i++) {
		const struct address *address = &peers[pairs[i].row - 1].address;
		char text[ADDRESS_TEXT_SIZE];

		if (address_equal(address, &peers[pairs[i - 1].row - 1].address))
			return error_set(error, EINVAL, "the node address %s is there twice", address_format(address, text));
	}
	return 0;
}

void peers_init(struct row_table *table, struct lb_peers *peers, struct quiesce *quiesce)
{
	*table = (struct row_table){
		.entries = &peers->directory.entries[0][0],
		.control = &peers->directory.control,
		.bits = LB_PEER_DIRECTORY_BITS,
		.rows = peers->rows,
		.row_bytes = sizeof(struct lb_peer),
		.row_count = LB_PEER_ROWS,
		.quiesce = quiesce,
		.stamp = quiesce_retire(quiesce),
	};
}

static void peer_fill(const struct row_filler *filler, size_t place, void *row, uint32_t *changes)
{
	const struct peer_wanted *wanted = &((const struct peer_filler *)(const void *)filler)->peers[place];
	struct lb_peer *peer = row;

	table_put(peer->flags, wanted->own ? LB_PEER_SELF : LB_PEER_NODE, changes);
}

int peers_apply(struct row_table *table, const struct peer_wanted *peers, size_t count, struct edge_changes *changes,
		struct error *error)
{
	_cleanup_(freep) struct directory_key *keys = calloc(count + 1, sizeof(*keys));
	const struct peer_filler filler = {{peer_fill}, peers};
	int result = -ENOMEM;

	if (keys) {
		for (size_t i = 0; i < count; i++)
			keys[i] = lb_peer_key(&peers[i].address);
		result = row_table_apply(table, keys, count, &filler.filler, &changes->links, &changes->directories);
	}
	if (result < 0)
		return error_set(error, -result, "writing %zu addresses of nodes: %s", count,
				 result == -ENOMEM ? "no memory" : "no dictionary can be built");
	return 0;
}

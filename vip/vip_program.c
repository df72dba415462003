/* SPDX-License-Identifier: Apache-2.0 */
#include "vip/vip_program.h"

#include <string.h>

#include "base/lib/address_text.h"
#include "base/lib/table_put.h"

struct vip_filler {
	struct row_filler filler; /* first */
	const struct vip_wanted *vips;
};

static struct directory_key vip_wanted_key(const struct vip_wanted *vip)
{
	return vip_key(&vip->address, !address_is_ipv4(&vip->address));
}

void vip_program_init(struct vip_program *program, struct vip_tables *tables, struct quiesce *quiesce)
{
	*program = (struct vip_program){
		.table = {
			.entries = &tables->directory.entries[0][0],
			.control = &tables->directory.control,
			.bits = VIP_DIRECTORY_BITS,
			.rows = tables->rows,
			.row_bytes = sizeof(struct vip_row),
			.row_count = VIP_ROWS,
			.quiesce = quiesce,
			.stamp = quiesce_retire(quiesce),
		},
	};
}

int vip_program_check(const struct vip_wanted *vips, size_t count, struct error *error)
{
	_cleanup_(freep) struct directory_pair *pairs = NULL;
	char text[ADDRESS_TEXT_SIZE];

	if (count > VIP_ROWS - 1)
		return error_set(error, E2BIG, "%zu virtual IPs: a node holds %u", count, VIP_ROWS - 1);
	pairs = calloc(count + 1, sizeof(*pairs));
	if (!pairs)
		return error_set(error, ENOMEM, "checking %zu virtual IPs: no memory", count);
	for (size_t i = 0; i < count; i++) {
		if (address_is_zero(&vips[i].address))
			return error_set(error, EINVAL, "a virtual IP without an address");
		pairs[i] = (struct directory_pair){vip_wanted_key(&vips[i]), (uint32_t)i + 1};
	}
	directory_pairs_sort(pairs, count);
	for (size_t i = 1; i < count; i++) {
		if (memcmp(&pairs[i].key, &pairs[i - 1].key, sizeof(pairs[i].key)) == 0)
			return error_set(error, EINVAL, "virtual IP %s is there twice",
					 address_format(&vips[pairs[i].row - 1].address, text));
	}
	return 0;
}

/* Rows that exist change by single stores, each of them right with either value of the other. */
static void vip_fill(const struct row_filler *filler, size_t place, void *row, uint32_t *changes)
{
	const struct vip_wanted *wanted = &((const struct vip_filler *)(const void *)filler)->vips[place];
	struct vip_row *vip = row;

	table_put(vip->address.word[0], wanted->address.word[0], changes);
	table_put(vip->address.word[1], wanted->address.word[1], changes);
	table_put(vip->links, wanted->owned ? wanted->links : 0, changes);
	table_put(vip->flags, wanted->owned ? VIP_OWNED : 0, changes);
}

int vip_program_apply(struct vip_program *program, const struct vip_wanted *vips, size_t count,
		      struct vip_changes *changes, struct error *error)
{
	_cleanup_(freep) struct directory_key *keys = calloc(count + 1, sizeof(*keys));
	const struct vip_filler filler = {{vip_fill}, vips};
	int result;

	if (!keys)
		return error_set(error, ENOMEM, "writing %zu virtual IPs: no memory", count);
	for (size_t i = 0; i < count; i++)
		keys[i] = vip_wanted_key(&vips[i]);
	result = row_table_apply(&program->table, keys, count, &filler.filler, &changes->vips, &changes->directories);
	if (result < 0)
		return error_set(error, -result, "writing %zu virtual IPs: %s", count,
				 result == -ENOMEM ? "no memory" : "no dictionary can be built");
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/table_list.h"

#include <string.h>
#include <sys/mman.h>

#define TABLE(member) {#member, offsetof(struct edge_tables, member), sizeof(*((struct edge_tables *)NULL)->member)}

/* Another table of edge_state.h is another line here, at its place. */
static const struct {
	const char *name;
	size_t offset;
	size_t size;
} table_list[] = {
	TABLE(config), TABLE(links), TABLE(routes), TABLE(neighbours), TABLE(vips),
	TABLE(lb),     TABLE(rings), TABLE(flows),  TABLE(filter),     TABLE(fragments),
	TABLE(holding), TABLE(guards), TABLE(limiter), TABLE(rtc),     TABLE(sessions), TABLE(index),
	TABLE(dns),    TABLE(dns_buckets), TABLE(dns_blocks), TABLE(counters),
};
_Static_assert(array_length(table_list) == TABLE_COUNT, "every table, in its order");

/* How many of its structs lie in a table: `tables` has the DNS cache's sizes, which come before what they are of. */
static size_t table_rows(size_t index, const struct edge_tables *tables, uint32_t counter_sets)
{
	size_t offset = table_list[index].offset;

	if (offset == offsetof(struct edge_tables, counters))
		return counter_sets;
	if (offset == offsetof(struct edge_tables, dns_buckets))
		return tables->dns->bucket_mask + 1u;
	return offset == offsetof(struct edge_tables, dns_blocks) ? tables->dns->block_count : 1;
}

static size_t table_size(size_t index, const struct edge_tables *tables, uint32_t counter_sets)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = table_list[index].size * table_rows(index, tables, counter_sets);

	return (size + page - 1) / page * page;
}

static void *memory_map(int fd, size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

int tables_map(const int *fds, uint32_t counter_sets, struct edge_tables *ret_tables, struct error *error)
{
	struct edge_tables tables = {0};

	for (size_t i = 0; i < TABLE_COUNT; i++) {
		size_t size = table_size(i, &tables, counter_sets);
		void *memory = memory_map(fds ? fds[i] : -1, size);

		if (!memory) {
			int code = errno;

			tables_unmap(&tables, counter_sets);
			return error_set(error, code, "mapping %zu bytes of the table %s: %s", size, table_list[i].name,
					 strerror(code));
		}
		memcpy((char *)&tables + table_list[i].offset, &memory, sizeof(memory));
		if (!fds && memory == tables.dns) {
			uint32_t buckets;

			dns_sizes(DNS_NAMES_DEFAULT, &buckets, &tables.dns->block_count);
			tables.dns->bucket_mask = buckets - 1;
		}
	}
	*ret_tables = tables;
	return 0;
}

void tables_unmap(const struct edge_tables *tables, uint32_t counter_sets)
{
	/* backwards: what says how large another one is goes last */
	for (size_t i = TABLE_COUNT; i-- > 0;) {
		void *memory;

		memcpy(&memory, (const char *)tables + table_list[i].offset, sizeof(memory));
		if (memory)
			munmap(memory, table_size(i, tables, counter_sets));
	}
}

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
	TABLE(counters),
};
_Static_assert(array_length(table_list) == TABLE_COUNT, "every table, in its order");

size_t table_size(size_t index, uint32_t counter_sets)
{
	bool counters = table_list[index].offset == offsetof(struct edge_tables, counters);
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = table_list[index].size * (counters ? counter_sets : 1);

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
		void *memory = memory_map(fds ? fds[i] : -1, table_size(i, counter_sets));

		if (!memory) {
			int code = errno;

			tables_unmap(&tables, counter_sets);
			return error_set(error, code, "mapping %zu bytes of the table %s: %s", table_size(i, counter_sets),
					 table_list[i].name, strerror(code));
		}
		memcpy((char *)&tables + table_list[i].offset, &memory, sizeof(memory));
	}
	*ret_tables = tables;
	return 0;
}

void tables_unmap(const struct edge_tables *tables, uint32_t counter_sets)
{
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		void *memory;

		memcpy(&memory, (const char *)tables + table_list[i].offset, sizeof(memory));
		if (memory)
			munmap(memory, table_size(i, counter_sets));
	}
}

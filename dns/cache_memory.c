/* SPDX-License-Identifier: Apache-2.0 */
/* The tables as they lie pinned in a bpf file system. */
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dns/cache.h"

static size_t page_round(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

/* The pinned map's memory. */
static int pinned_map(const char *directory, const char *name, size_t size, void **ret_memory, struct error *error)
{
	_cleanup_(closep) int fd = -1;
	char path[512];
	union bpf_attr attribute;
	void *memory;

	memset(&attribute, 0, sizeof(attribute));
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	attribute.pathname = (uint64_t)(uintptr_t)path;
	fd = (int)syscall(SYS_bpf, BPF_OBJ_GET, &attribute, sizeof(attribute));
	if (fd < 0)
		return error_set(error, errno, "opening %s: %s", path, strerror(errno));
	memory = mmap(NULL, page_round(size), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return error_set(error, errno, "mapping %s: %s", path, strerror(errno));
	*ret_memory = memory;
	return 0;
}

static size_t buckets_bytes(const struct dns_memory *memory)
{
	return ((size_t)memory->tables->bucket_mask + 1) * sizeof(struct dns_bucket);
}

static size_t blocks_bytes(const struct dns_memory *memory)
{
	return (size_t)memory->tables->block_count * sizeof(struct dns_block);
}

int dns_memory_open(const char *directory, struct dns_memory *ret_memory, struct error *error)
{
	struct dns_memory memory = {0};
	void *tables = NULL, *buckets = NULL, *blocks = NULL;
	int result = pinned_map(directory, "edge_dns", sizeof(struct dns_tables), &tables, error);

	memory.tables = tables;
	if (result == 0 && memory.tables->block_count == 0)
		result = error_set(error, EAGAIN, "%s/edge_dns has not been set up yet", directory);
	if (result == 0)
		result = pinned_map(directory, "edge_dns_buckets", buckets_bytes(&memory), &buckets, error);
	memory.buckets = buckets;
	if (result == 0)
		result = pinned_map(directory, "edge_dns_blocks", blocks_bytes(&memory), &blocks, error);
	memory.blocks = blocks;
	if (result < 0)
		dns_memory_close(&memory);
	else
		*ret_memory = memory;
	return result;
}

void dns_memory_close(struct dns_memory *memory)
{
	if (memory->blocks)
		munmap(memory->blocks, page_round(blocks_bytes(memory)));
	if (memory->buckets)
		munmap(memory->buckets, page_round(buckets_bytes(memory)));
	if (memory->tables)
		munmap(memory->tables, page_round(sizeof(*memory->tables)));
	*memory = (struct dns_memory){0};
}

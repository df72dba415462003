/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs name a table by its map (edge_table()) and mean its memory. A lookup for each of ten tables and a check of each
 * result would cost more than what is then done with them, so every load of such a map's number is made a load of its
 * value's address before the kernel sees the program; the kernel checks accesses against the value's size all the same.
 */
#include <pthread.h>
#include <string.h>

#include "base/lib/cleanup.h"
#include "ebpf/loader_internal.h"

/* A table: an array of one value that user space maps. The counters have one for each processor and are looked up. */
static bool map_is_table(int fd)
{
	struct bpf_map_info info = {0};
	uint32_t length = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &length) == 0 && info.type == BPF_MAP_TYPE_ARRAY &&
	       info.max_entries == 1 && info.map_flags & BPF_F_MMAPABLE && strcmp(info.name, "edge_counters") != 0;
}

static int tables_address(struct bpf_program *program, struct bpf_prog_load_opts *options, long cookie)
{
	size_t count = bpf_program__insn_cnt(program);
	_cleanup_(freep) struct bpf_insn *code = calloc(count, sizeof(*code));

	(void)options;
	(void)cookie;
	if (!code)
		return -ENOMEM;
	memcpy(code, bpf_program__insns(program), count * sizeof(*code));
	for (size_t i = 0; i + 1 < count; i++) {
		if (code[i].code != (BPF_LD | BPF_IMM | BPF_DW))
			continue;
		if (code[i].src_reg == BPF_PSEUDO_MAP_FD && map_is_table(code[i].imm)) {
			code[i].src_reg = BPF_PSEUDO_MAP_VALUE;
			code[i + 1].imm = 0; /* the offset in it */
		}
		i++; /* its second half */
	}
	return bpf_program__set_insns(program, code, count);
}

static void handlers_register(void)
{
	LIBBPF_OPTS(libbpf_prog_handler_opts, options, .prog_prepare_load_fn = tables_address);

	/* these fail only without memory, and then loading does */
	(void)libbpf_register_prog_handler("xdp", BPF_PROG_TYPE_XDP, BPF_XDP, &options);
	(void)libbpf_register_prog_handler("tc", BPF_PROG_TYPE_SCHED_CLS, 0, &options);
}

void loader_address_tables(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, handlers_register);
}

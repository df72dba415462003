/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <time.h>

#include "ebpf/edge_tc.skel.h"
#include "ebpf/edge_xdp.skel.h"
#include "ebpf/loader_internal.h"

/* The last thing that libbpf warned of: its calls return no more than a number. */
static _Thread_local char libbpf_warning[256];

static int libbpf_print(enum libbpf_print_level level, const char *format, va_list arguments)
{
	if (level == LIBBPF_WARN)
		vsnprintf(libbpf_warning, sizeof(libbpf_warning), format, arguments);
	return 0;
}

int loader_fail(struct error *error, int code, const char *what)
{
	if (code < 0)
		code = -code;
	if (code == EPERM)
		return error_set(error, code, "%s: not permitted: this needs root, or the capabilities BPF, NET_ADMIN and PERFMON",
				 what);
	libbpf_warning[strcspn(libbpf_warning, "\n")] = 0;
	return error_set(error, code, "%s: %s%s%s", what, strerror(code), libbpf_warning[0] ? "; " : "", libbpf_warning);
}

/* The kernel's tick: the coarse clock advances by one, and says how long that is. */
static uint64_t tick_ns(void)
{
	struct timespec tick = {0};

	return clock_getres(CLOCK_MONOTONIC_COARSE, &tick) < 0 || tick.tv_nsec <= 0 ? 4000000 : (uint64_t)tick.tv_nsec;
}

/*
 * log2 of the kernel's ticks in an epoch, rounded to the nearest. HZ 100: 10.24 s, 250 and 1000: 8.192 s, 300: 6.83 s.
 */
void loader_epoch_length(uint32_t *ret_shift, uint32_t *ret_tick_ns)
{
	uint64_t ticks = EDGE_EPOCH_MS * 1000000ull / tick_ns();
	uint32_t shift = 0;

	/* 2^shift is nearest when ticks lies below 2^(shift + 1/2) */
	while ((2ull << (2 * shift)) < ticks * ticks)
		shift++;
	*ret_shift = shift;
	*ret_tick_ns = (uint32_t)tick_ns();
}

static bool map_is_internal(const struct bpf_map *map)
{
	return strchr(bpf_map__name(map), '.') != NULL;
}

static void pin_path(const struct loader *loader, const char *name, char path[static 2 * LOADER_PATH_SIZE])
{
	snprintf(path, 2 * LOADER_PATH_SIZE, "%s/%s", loader->directory, name);
}

/* Whether a pinned map is what this program wants; -ENOENT when there is none. */
static int pin_matches(const struct loader *loader, const struct bpf_map *map)
{
	_cleanup_(closep) int fd = -1;
	struct bpf_map_info info = {0};
	char path[2 * LOADER_PATH_SIZE];
	uint32_t length = sizeof(info);

	pin_path(loader, bpf_map__name(map), path);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT ? -ENOENT : -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &length) < 0)
		return -errno;
	return info.type == (uint32_t)bpf_map__type(map) && info.value_size == bpf_map__value_size(map) &&
	       info.max_entries == bpf_map__max_entries(map);
}

/* The number that the pinned tables carry; 0 when they were never written. */
static int pinned_abi(const struct loader *loader, uint32_t *ret_abi)
{
	_cleanup_(closep) int fd = -1;
	struct edge_config config;
	char path[2 * LOADER_PATH_SIZE];
	uint32_t zero = 0;

	pin_path(loader, "edge_config", path);
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_map_lookup_elem(fd, &zero, &config) < 0)
		return -errno;
	*ret_abi = config.abi;
	return 0;
}

/* The DNS cache's, whose number of rows is the operator's choice: with another one they are new and empty, the rest stays. */
static bool map_is_dns(const struct bpf_map *map)
{
	return strncmp(bpf_map__name(map), "edge_dns", strlen("edge_dns")) == 0;
}

/* What lies in the directory: all tables of our kind, or something to be replaced. */
static int found_look(struct loader *loader, struct error *error)
{
	bool any = false, missing = false, other = false;
	struct bpf_map *map;
	uint32_t abi = 0;

	bpf_object__for_each_map(map, loader->xdp->obj) {
		int matches = map_is_internal(map) ? 1 : pin_matches(loader, map);

		if (matches < 0 && matches != -ENOENT)
			return loader_fail(error, matches, "looking at the pinned tables");
		if (map_is_internal(map))
			continue;
		any |= matches != -ENOENT;
		missing |= matches == -ENOENT;
		if (map_is_dns(map))
			loader->dns_replaced |= matches == 0;
		else
			other |= matches == 0;
	}
	loader->found = LOADER_FRESH;
	if (!any)
		return 0;
	if (!other && pinned_abi(loader, &abi) == 0 && (abi == 0 || (abi == EDGE_ABI && !missing)))
		loader->found = abi == 0 ? LOADER_FRESH : LOADER_ADOPTED;
	else
		loader->found = LOADER_REPLACED;
	return 0;
}

static int pins_prepare(struct loader *loader, struct error *error)
{
	char path[2 * LOADER_PATH_SIZE];
	struct bpf_map *map;
	int code = found_look(loader, error);

	if (code)
		return code;
	bpf_object__for_each_map(map, loader->xdp->obj) {
		if (map_is_internal(map))
			continue;
		pin_path(loader, bpf_map__name(map), path);
		if ((loader->found == LOADER_REPLACED || (loader->dns_replaced && map_is_dns(map))) && unlink(path) < 0 &&
		    errno != ENOENT)
			return error_set(error, errno, "removing %s: %s", path, strerror(errno));
		code = bpf_map__set_pin_path(map, path);
		if (code)
			return loader_fail(error, code, "naming a pinned table");
	}
	return 0;
}

int loader_share_maps(const struct loader *loader, struct bpf_object *object, struct error *error)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object) {
		struct bpf_map *ours = map_is_internal(map) ?
					       NULL :
					       bpf_object__find_map_by_name(loader->xdp->obj, bpf_map__name(map));
		int code = ours ? bpf_map__reuse_fd(map, bpf_map__fd(ours)) : 0;

		if (code)
			return loader_fail(error, code, "sharing a table between programs");
	}
	return 0;
}

static uint32_t dns_names = DNS_NAMES_DEFAULT;

void loader_dns_names(uint32_t names)
{
	dns_names = names;
}

static int dns_size(const struct loader *loader)
{
	uint32_t buckets, blocks;
	int code;

	dns_sizes(dns_names, &buckets, &blocks);
	code = bpf_map__set_max_entries(loader->xdp->maps.edge_dns_buckets, buckets);
	return code ? code : bpf_map__set_max_entries(loader->xdp->maps.edge_dns_blocks, blocks);
}

/* The map of tc programs that edge_tc goes on in is that object's alone: pinned here, or made new where another one lies. */
static int tails_pin(const struct loader *loader, struct bpf_map *map)
{
	char path[2 * LOADER_PATH_SIZE];

	if (!loader->directory[0])
		return 0;
	pin_path(loader, bpf_map__name(map), path);
	if (pin_matches(loader, map) == 0 && unlink(path) < 0)
		return -errno;
	return bpf_map__set_pin_path(map, path);
}

/* One store each: programs that run already go on in the new one with their next packet. */
static int tails_fill(const struct loader *loader)
{
	uint32_t place = EDGE_TAIL_DNS;
	int xdp = bpf_program__fd(loader->xdp->progs.edge_xdp_dns), tc = bpf_program__fd(loader->tc->progs.edge_tc_dns);
	int code = bpf_map_update_elem(bpf_map__fd(loader->xdp->maps.edge_tails_xdp), &place, &xdp, BPF_ANY);

	return code ? code : bpf_map_update_elem(bpf_map__fd(loader->tc->maps.edge_tails_tc), &place, &tc, BPF_ANY);
}

static int objects_load(struct loader *loader, struct error *error)
{
	uint32_t shift, tick_ns, scale;
	int code;

	loader_epoch_length(&shift, &tick_ns);
	scale = (uint32_t)((tick_ns * 1024ull + 500000) / 1000000);

	libbpf_warning[0] = 0;
	loader->xdp = edge_xdp__open();
	loader->tc = edge_tc__open();
	if (!loader->xdp || !loader->tc)
		return loader_fail(error, errno, "reading the packet program");
	loader->xdp->rodata->edge_epoch_shift = shift;
	loader->tc->rodata->edge_epoch_shift = shift;
	loader->xdp->rodata->edge_tick_scale = scale;
	loader->tc->rodata->edge_tick_scale = scale;
	code = bpf_map__set_max_entries(loader->xdp->maps.edge_counters, loader->counter_sets);
	if (!code)
		code = dns_size(loader);
	if (!code && loader->directory[0]) {
		code = pins_prepare(loader, error);
		if (code)
			return code;
	}
	if (!code)
		code = edge_xdp__load(loader->xdp);
	if (code)
		return loader_fail(error, code, "loading the XDP program");
	code = loader_share_maps(loader, loader->tc->obj, error);
	if (code)
		return code;
	code = tails_pin(loader, loader->tc->maps.edge_tails_tc);
	if (!code)
		code = edge_tc__load(loader->tc);
	if (code)
		return loader_fail(error, code, "loading the tc programs");
	code = tails_fill(loader);
	if (code)
		return loader_fail(error, code, "joining the programs");
	loader->program_xdp = bpf_program__fd(loader->xdp->progs.edge_xdp);
	loader->program_tc = bpf_program__fd(loader->tc->progs.edge_tc);
	loader->program_deliver = bpf_program__fd(loader->tc->progs.edge_tc_deliver);
	loader->program_clock = bpf_program__fd(loader->tc->progs.edge_clock);
	loader->program_tick = bpf_program__fd(loader->tc->progs.edge_clock_tick);
	return 0;
}

/* Pins are for people with bpftool; what is attached holds its program itself. */
static int program_pin(const struct loader *loader, const char *name, int fd, struct error *error)
{
	char path[2 * LOADER_PATH_SIZE];

	pin_path(loader, name, path);
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set(error, errno, "removing %s: %s", path, strerror(errno));
	if (bpf_obj_pin(fd, path) < 0)
		return loader_fail(error, errno, path);
	return 0;
}

static int programs_pin(const struct loader *loader, struct error *error)
{
	int code = program_pin(loader, "edge_xdp", loader->program_xdp, error);

	if (!code)
		code = program_pin(loader, "edge_tc", loader->program_tc, error);
	if (!code)
		code = program_pin(loader, "edge_tc_deliver", loader->program_deliver, error);
	return code;
}

static void *table_map(const struct bpf_map *map, size_t *ret_size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (size_t)bpf_map__value_size(map) * bpf_map__max_entries(map);
	void *memory;

	size = (size + page - 1) / page * page;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
	*ret_size = size;
	return memory == MAP_FAILED ? NULL : memory;
}

static int tables_map(struct loader *loader, struct error *error)
{
	const struct bpf_map *maps[] = {
		loader->xdp->maps.edge_config, loader->xdp->maps.edge_links,	  loader->xdp->maps.edge_routes,
		loader->xdp->maps.edge_neighbours, loader->xdp->maps.edge_vips,	  loader->xdp->maps.edge_lb,
		loader->xdp->maps.edge_rings,  loader->xdp->maps.edge_flows,	  loader->xdp->maps.edge_filter,
		loader->xdp->maps.edge_fragments, loader->xdp->maps.edge_holding,  loader->xdp->maps.edge_guards,
		loader->xdp->maps.edge_limiter,	  loader->xdp->maps.edge_rtc,	  loader->xdp->maps.edge_sessions,
		loader->xdp->maps.edge_index,	  loader->xdp->maps.edge_dns,
		loader->xdp->maps.edge_dns_buckets, loader->xdp->maps.edge_dns_blocks,
		loader->xdp->maps.edge_counters,
	};
	void *memory[array_length(maps)];
	struct bpf_map_info info = {0};
	uint32_t length = sizeof(info);

	static_assert(array_length(maps) * sizeof(void *) == sizeof(struct edge_tables), "every table, in its order");
	static_assert(array_length(maps) == array_length(loader->sizes), "every table");
	for (size_t i = 0; i < array_length(maps); i++) {
		loader->table_fds[i] = bpf_map__fd(maps[i]);
		memory[i] = table_map(maps[i], &loader->sizes[i]);
		if (!memory[i]) {
			int code = errno;

			while (i-- > 0)
				munmap(memory[i], loader->sizes[i]);
			return loader_fail(error, code, "mapping the tables");
		}
	}
	memcpy(&loader->tables, memory, sizeof(loader->tables));
	loader->tables.dns->bucket_mask = bpf_map__max_entries(loader->xdp->maps.edge_dns_buckets) - 1;
	loader->tables.dns->block_count = bpf_map__max_entries(loader->xdp->maps.edge_dns_blocks);
	if (bpf_obj_get_info_by_fd(bpf_map__fd(loader->xdp->maps.edge_config), &info, &length) < 0)
		return loader_fail(error, errno, "asking for a table's number");
	loader->config_id = info.id;
	return 0;
}

static void tables_unmap(struct loader *loader)
{
	void *memory[array_length(loader->sizes)];

	memcpy(memory, &loader->tables, sizeof(loader->tables));
	for (size_t i = 0; i < array_length(memory); i++) {
		if (memory[i])
			munmap(memory[i], loader->sizes[i]);
	}
}

static int event_received(void *context, void *data, size_t size)
{
	struct loader *loader = context;
	const struct edge_event *event = data;

	if (loader->handler && size >= sizeof(*event) && size >= edge_event_size(event->captured))
		loader->handler(event, loader->handler_context);
	return 0;
}

static int events_open(struct loader *loader, struct error *error)
{
	loader->ring = ring_buffer__new(bpf_map__fd(loader->xdp->maps.edge_events), event_received, loader, NULL);
	return loader->ring ? 0 : loader_fail(error, errno, "opening the programs' events");
}

static int directory_set(struct loader *loader, const char *directory, struct error *error)
{
	struct statfs status;

	if (strlen(directory) >= sizeof(loader->directory))
		return error_set(error, ENAMETOOLONG, "the bpf directory's path is too long");
	strcpy(loader->directory, directory);
	if (statfs(directory, &status) < 0)
		return error_set(error, errno, "the bpf directory %s: %s", directory, strerror(errno));
	if ((unsigned long)status.f_type != BPF_FS_MAGIC)
		return error_set(error, ENOTSUP, "%s is not in a bpf file system", directory);
	return 0;
}

int loader_open(const char *directory, struct loader **ret_loader, struct error *error)
{
	_cleanup_(loader_closep) struct loader *loader = calloc(1, sizeof(*loader));
	int cpus = libbpf_num_possible_cpus();
	int code;

	if (!loader)
		return error_set(error, ENOMEM, "no memory");
	if (cpus < 0)
		return loader_fail(error, cpus, "counting processors");
	/* one more than processors: the daemon's own, for fragments that it sends */
	loader->counter_sets = (uint32_t)cpus + 1 + (directory ? LOADER_WORKER_SETS : 0);
	libbpf_set_print(libbpf_print);
	loader_address_tables();
	code = directory ? directory_set(loader, directory, error) : 0;
	if (!code)
		code = objects_load(loader, error);
	if (!code)
		code = tables_map(loader, error);
	if (!code)
		code = events_open(loader, error);
	if (!code && directory)
		code = programs_pin(loader, error);
	if (code)
		return code;
	loader->tables.config->abi = EDGE_ABI;
	*ret_loader = steal(loader);
	return 0;
}

void loader_close(struct loader *loader)
{
	if (!loader)
		return;
	ring_buffer__free(loader->ring);
	tables_unmap(loader);
	edge_tc__destroy(loader->tc);
	edge_xdp__destroy(loader->xdp);
	free(loader);
}

void loader_closep(struct loader **loader)
{
	loader_close(*loader);
}

enum loader_found loader_found(const struct loader *loader)
{
	return loader->found;
}

const struct edge_tables *loader_tables(const struct loader *loader)
{
	return &loader->tables;
}

uint32_t loader_counter_sets(const struct loader *loader)
{
	return loader->counter_sets;
}

int loader_table_fd(const struct loader *loader, size_t index)
{
	return loader->table_fds[index];
}

/* What a program of the loader says that it is. */
static uint32_t clock_ask(int program)
{
	uint8_t frame[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof(frame));

	/* Cannot fail once the program is loaded; 0 would be a time like any other. */
	if (bpf_prog_test_run_opts(program, &options) < 0)
		return 0;
	return options.retval;
}

uint32_t loader_epoch(const struct loader *loader)
{
	return clock_ask(loader->program_clock);
}

uint32_t loader_now_ms(const struct loader *loader)
{
	return clock_ask(loader->program_tick);
}

static int quiesce_by_map(int inner)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .inner_map_fd = (uint32_t)inner);
	_cleanup_(closep) int outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "edge_quiesce", 4, 4, 1, &options);
	uint32_t zero = 0;

	return outer < 0 ? outer : bpf_map_update_elem(outer, &zero, &inner, 0);
}

void loader_quiesce(const struct loader *loader)
{
	/* No packet takes that long; without memory for a map, waiting is all that is left. */
	if (quiesce_by_map(bpf_map__fd(loader->xdp->maps.edge_config)) < 0)
		usleep(100000);
}

int loader_events_fd(const struct loader *loader)
{
	return ring_buffer__epoll_fd(loader->ring);
}

int loader_events_consume(struct loader *loader, loader_event_handler *handler, void *context)
{
	int count;

	loader->handler = handler;
	loader->handler_context = context;
	count = ring_buffer__consume(loader->ring);
	loader->handler = NULL;
	return count;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "ebpf/loader_internal.h"

/* One place in the list of filters, so that a new program takes the old one's place in one step. */
#define TC_HANDLE 1u
#define TC_PRIORITY 0x5e1u

static const char *interface_name(uint32_t ifindex, char name[static IF_NAMESIZE])
{
	if (!if_indextoname(ifindex, name))
		snprintf(name, IF_NAMESIZE, "#%u", ifindex);
	return name;
}

static void link_path(const struct loader *loader, uint32_t ifindex, char path[static 2 * LOADER_PATH_SIZE])
{
	snprintf(path, 2 * LOADER_PATH_SIZE, "%s/link_xdp_%u", loader->directory, ifindex);
}

/* What a program is (`ret_info`), and whether it works on these tables. */
static int program_look(const struct loader *loader, int fd, struct bpf_prog_info *ret_info, bool *ret_tables)
{
	uint32_t maps[32] = {0}, length = sizeof(*ret_info);

	*ret_info = (struct bpf_prog_info){.nr_map_ids = array_length(maps), .map_ids = (uintptr_t)maps};
	if (bpf_obj_get_info_by_fd(fd, ret_info, &length) < 0)
		return -errno;
	*ret_tables = false;
	for (uint32_t i = 0; i < ret_info->nr_map_ids && i < array_length(maps); i++)
		*ret_tables |= maps[i] == loader->config_id;
	return 0;
}

/* Whether the program `id` is `fd`'s, on the same tables: then there is nothing to exchange. */
static bool program_is(const struct loader *loader, uint32_t id, int fd)
{
	_cleanup_(closep) int other = bpf_prog_get_fd_by_id(id);
	struct bpf_prog_info ours, theirs;
	bool our_tables = false, their_tables = false;

	if (other < 0 || program_look(loader, fd, &ours, &our_tables) < 0 ||
	    program_look(loader, other, &theirs, &their_tables) < 0)
		return false;
	return our_tables == their_tables && memcmp(ours.tag, theirs.tag, sizeof(ours.tag)) == 0;
}

static void program_name(uint32_t id, char name[static BPF_OBJ_NAME_LEN])
{
	_cleanup_(closep) int fd = bpf_prog_get_fd_by_id(id);
	struct bpf_prog_info info = {0};
	uint32_t length = sizeof(info);

	strcpy(name, "?");
	if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &length) == 0 && info.name[0])
		memcpy(name, info.name, BPF_OBJ_NAME_LEN);
}

/* --- tc --- */

static void tc_hook_fill(struct bpf_tc_hook *hook, uint32_t ifindex)
{
	memset(hook, 0, sizeof(*hook));
	hook->sz = sizeof(*hook);
	hook->ifindex = (int)ifindex;
	hook->attach_point = BPF_TC_INGRESS;
}

/* The program at our place, 0 for none. `ret_ours`: by its name one of ours. */
static uint32_t tc_program(uint32_t ifindex, bool *ret_ours)
{
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = TC_HANDLE, .priority = TC_PRIORITY);
	char name[BPF_OBJ_NAME_LEN];
	struct bpf_tc_hook hook;

	*ret_ours = false;
	tc_hook_fill(&hook, ifindex);
	if (bpf_tc_query(&hook, &options) < 0)
		return 0;
	program_name(options.prog_id, name);
	*ret_ours = strncmp(name, "edge_tc", strlen("edge_tc")) == 0;
	return options.prog_id;
}

static int tc_attach(const struct loader *loader, uint32_t ifindex, int fd, bool *ret_changed, struct error *error)
{
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = TC_HANDLE, .priority = TC_PRIORITY, .prog_fd = fd,
		    .flags = BPF_TC_F_REPLACE);
	char name[IF_NAMESIZE], other[BPF_OBJ_NAME_LEN];
	struct bpf_tc_hook hook;
	uint32_t program;
	bool ours;
	int code;

	tc_hook_fill(&hook, ifindex);
	code = bpf_tc_hook_create(&hook);
	if (code < 0 && code != -EEXIST)
		return error_set(error, -code, "tc on %s: %s", interface_name(ifindex, name), strerror(-code));
	program = tc_program(ifindex, &ours);
	if (program && !ours) {
		program_name(program, other);
		return error_set(error, EBUSY,
				 "tc on %s: another program, %s (%u), is at priority %u: remove it with `tc filter del`",
				 interface_name(ifindex, name), other, program, TC_PRIORITY);
	}
	if (program && program_is(loader, program, fd))
		return 0;
	code = bpf_tc_attach(&hook, &options);
	if (code < 0)
		return error_set(error, -code, "tc on %s: %s", interface_name(ifindex, name), strerror(-code));
	*ret_changed = true;
	return 0;
}

static int tc_detach(uint32_t ifindex, struct error *error)
{
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = TC_HANDLE, .priority = TC_PRIORITY);
	char name[IF_NAMESIZE];
	struct bpf_tc_hook hook;
	bool ours;
	int code;

	if (!tc_program(ifindex, &ours) || !ours)
		return 0;
	tc_hook_fill(&hook, ifindex);
	code = bpf_tc_detach(&hook, &options);
	if (code < 0 && code != -ENOENT && code != -ENODEV)
		return error_set(error, -code, "tc on %s: %s", interface_name(ifindex, name), strerror(-code));
	return 0;
}

/* --- XDP --- */

struct xdp_state {
	uint32_t program; /* 0: none */
	bool generic;
};

static int xdp_state(uint32_t ifindex, struct xdp_state *ret_state)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, options);
	int code = bpf_xdp_query((int)ifindex, 0, &options);

	if (code < 0)
		return code;
	ret_state->program = options.prog_id ? options.prog_id : options.drv_prog_id ? options.drv_prog_id : options.skb_prog_id;
	ret_state->generic = options.attach_mode == XDP_ATTACHED_SKB;
	return 0;
}

/* The pinned link of an interface, -ENOENT for none; one whose interface has gone is cleared away. */
static int xdp_link_find(const struct loader *loader, uint32_t ifindex, uint32_t *ret_program)
{
	char path[2 * LOADER_PATH_SIZE];
	struct bpf_link_info info = {0};
	uint32_t length = sizeof(info);
	int fd;

	link_path(loader, ifindex, path);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &length) == 0 && info.type == BPF_LINK_TYPE_XDP && info.xdp.ifindex == ifindex) {
		*ret_program = info.prog_id;
		return fd;
	}
	close(fd);
	unlink(path);
	return -ENOENT;
}

static int xdp_link_create(const struct loader *loader, uint32_t ifindex, bool generic)
{
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
	_cleanup_(closep) int fd = bpf_link_create(loader->program_xdp, (int)ifindex, BPF_XDP, &options);
	char path[2 * LOADER_PATH_SIZE];

	if (fd < 0)
		return fd;
	link_path(loader, ifindex, path);
	return bpf_obj_pin(fd, path) < 0 ? -errno : 0;
}

static int xdp_create(const struct loader *loader, uint32_t ifindex, enum loader_mode wanted,
		      struct loader_attachment *attachment, struct error *error)
{
	char name[IF_NAMESIZE], what[64];
	int code = 0;

	snprintf(what, sizeof(what), "XDP on %s", interface_name(ifindex, name));
	attachment->changed = true;
	attachment->mode = LOADER_XDP_NATIVE;
	if (wanted == LOADER_XDP_NATIVE) {
		code = xdp_link_create(loader, ifindex, false);
		if (code == 0)
			return 0;
		snprintf(attachment->note, sizeof(attachment->note), "the driver of %s does not take it: %s", name,
			 strerror(-code));
	}
	attachment->mode = LOADER_XDP_GENERIC;
	code = xdp_link_create(loader, ifindex, true);
	return code < 0 ? loader_fail(error, code, what) : 0;
}

/* The BPF link that holds an interface's XDP program; 0: none, or not to be told. */
static uint32_t xdp_link_id(uint32_t ifindex)
{
	uint32_t id = 0;

	while (bpf_link_get_next_id(id, &id) == 0) {
		_cleanup_(closep) int fd = bpf_link_get_fd_by_id(id);
		struct bpf_link_info info = {0};
		uint32_t length = sizeof(info);

		if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &length) == 0 && info.type == BPF_LINK_TYPE_XDP &&
		    info.xdp.ifindex == ifindex)
			return id;
	}
	return 0;
}

/* A program that a link holds cannot be taken off by ip(8). */
static int xdp_foreign(uint32_t ifindex, const struct xdp_state *state, struct error *error)
{
	char name[IF_NAMESIZE], other[BPF_OBJ_NAME_LEN];

	uint32_t link = xdp_link_id(ifindex);
	char advice[160];

	program_name(state->program, other);
	interface_name(ifindex, name);
	if (link)
		snprintf(advice, sizeof(advice), "end what holds it, remove its pin in a bpf file system, or `bpftool link detach id %u`", link);
	else
		snprintf(advice, sizeof(advice), "remove it with `ip link set dev %s xdp%s off`", name, state->generic ? "generic" : "");
	return error_set(error, EBUSY, "XDP on %s: another program, %s (%u), is attached%s: %s", name, other, state->program,
			 strcmp(other, "edge_xdp") == 0 ? ", of an instance with another run directory" : "", advice);
}

static int xdp_attach(const struct loader *loader, uint32_t ifindex, enum loader_mode wanted,
		      struct loader_attachment *attachment, struct error *error)
{
	struct xdp_state state = {0};
	uint32_t program = 0;
	char name[IF_NAMESIZE], what[64];
	_cleanup_(closep) int fd = -1;
	int code = xdp_state(ifindex, &state);

	snprintf(what, sizeof(what), "XDP on %s", interface_name(ifindex, name));
	if (code < 0)
		return loader_fail(error, code, what);
	fd = xdp_link_find(loader, ifindex, &program);
	if (fd < 0 && state.program)
		return xdp_foreign(ifindex, &state, error);
	if (fd >= 0 && wanted == LOADER_XDP_GENERIC && !state.generic) {
		code = loader_detach((struct loader *)loader, ifindex, error);
		if (code)
			return code;
		close(fd);
		fd = -1;
	}
	if (fd < 0)
		return xdp_create(loader, ifindex, wanted, attachment, error);
	attachment->mode = state.generic ? LOADER_XDP_GENERIC : LOADER_XDP_NATIVE;
	if (attachment->mode != wanted)
		snprintf(attachment->note, sizeof(attachment->note), "the driver of %s did not take it when it was attached", name);
	if (program_is(loader, program, loader->program_xdp))
		return 0;
	if (bpf_link_update(fd, loader->program_xdp, NULL) < 0)
		return loader_fail(error, errno, what);
	attachment->changed = true;
	return 0;
}

static int xdp_detach(const struct loader *loader, uint32_t ifindex, struct error *error)
{
	char path[2 * LOADER_PATH_SIZE], name[IF_NAMESIZE];
	uint32_t program;
	_cleanup_(closep) int fd = xdp_link_find(loader, ifindex, &program);

	if (fd < 0)
		return 0;
	if (bpf_link_detach(fd) < 0)
		return error_set(error, errno, "XDP on %s: %s", interface_name(ifindex, name), strerror(errno));
	link_path(loader, ifindex, path);
	unlink(path);
	return 0;
}

/* --- both --- */

const char *loader_mode_name(enum loader_mode mode)
{
	switch (mode) {
	case LOADER_XDP_NATIVE:
		return "xdp-native";
	case LOADER_XDP_GENERIC:
		return "xdp-generic";
	case LOADER_TC:
		return "tc";
	}
	return "?";
}

int loader_attach(struct loader *loader, uint32_t ifindex, enum loader_mode mode,
		  struct loader_attachment *ret_attachment, struct error *error)
{
	struct loader_attachment attachment = {.mode = mode};
	int code;

	if (!loader->directory[0])
		return error_set(error, EINVAL, "nothing can be attached without a directory for pins");
	if (mode == LOADER_TC) {
		code = xdp_detach(loader, ifindex, error);
		if (!code)
			code = tc_attach(loader, ifindex, loader->program_tc, &attachment.changed, error);
	} else {
		/* Delivery first: the XDP program relies on it. */
		code = tc_attach(loader, ifindex, loader->program_deliver, &attachment.changed, error);
		if (!code)
			code = xdp_attach(loader, ifindex, mode, &attachment, error);
	}
	if (!code)
		*ret_attachment = attachment;
	return code;
}

int loader_detach(struct loader *loader, uint32_t ifindex, struct error *error)
{
	int code;

	if (!loader->directory[0])
		return 0;
	code = xdp_detach(loader, ifindex, error);
	return code ? code : tc_detach(ifindex, error);
}

static size_t attached_add(uint32_t *ifindexes, size_t count, size_t size, uint32_t ifindex)
{
	for (size_t i = 0; i < count; i++) {
		if (ifindexes[i] == ifindex)
			return count;
	}
	if (count < size)
		ifindexes[count++] = ifindex;
	return count;
}

size_t loader_attached(struct loader *loader, uint32_t *ret_ifindexes, size_t size)
{
	struct if_nameindex *interfaces = if_nameindex();
	DIR *directory = loader->directory[0] ? opendir(loader->directory) : NULL;
	struct dirent *entry;
	size_t count = 0;

	while (directory && (entry = readdir(directory))) {
		uint32_t ifindex, program;
		int fd;

		if (sscanf(entry->d_name, "link_xdp_%u", &ifindex) != 1)
			continue;
		fd = xdp_link_find(loader, ifindex, &program);
		if (fd < 0)
			continue;
		close(fd);
		count = attached_add(ret_ifindexes, count, size, ifindex);
	}
	if (directory)
		closedir(directory);
	for (struct if_nameindex *i = interfaces; directory && i && i->if_index; i++) {
		bool ours;

		if (tc_program(i->if_index, &ours) && ours)
			count = attached_add(ret_ifindexes, count, size, i->if_index);
	}
	if (interfaces)
		if_freenameindex(interfaces);
	return count;
}

static int pins_remove(struct loader *loader, struct error *error)
{
	char path[2 * LOADER_PATH_SIZE];
	struct dirent *entry;
	DIR *directory = opendir(loader->directory);

	if (!directory)
		return error_set(error, errno, "%s: %s", loader->directory, strerror(errno));
	while ((entry = readdir(directory))) {
		if (strncmp(entry->d_name, "edge_", strlen("edge_")) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", loader->directory, entry->d_name);
		unlink(path);
	}
	closedir(directory);
	return 0;
}

int loader_remove(struct loader *loader, struct error *error)
{
	uint32_t ifindexes[1024];
	size_t count;

	if (!loader->directory[0])
		return 0;
	count = loader_attached(loader, ifindexes, array_length(ifindexes));
	for (size_t i = 0; i < count; i++) {
		int code = loader_detach(loader, ifindexes[i], error);

		if (code)
			return code;
	}
	return pins_remove(loader, error);
}

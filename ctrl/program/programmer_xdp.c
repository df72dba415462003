/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ctrl/program/programmer_xdp.h"

struct programmer_xdp {
	struct programmer programmer;
	struct edge_host host;
	struct loader *loader;
	void (*wait_also)(void *context); /* NULL: nobody else */
	void *wait_context;
};

static const struct programmer_xdp *programmer_xdp_of(const struct programmer *programmer)
{
	return (const struct programmer_xdp *)programmer;
}

static enum programmer_found xdp_found(const struct programmer *programmer)
{
	switch (loader_found(programmer_xdp_of(programmer)->loader)) {
	case LOADER_ADOPTED:
		return PROGRAMMER_ADOPTED;
	case LOADER_REPLACED:
		return PROGRAMMER_REPLACED;
	case LOADER_FRESH:
		break;
	}
	return PROGRAMMER_FRESH;
}

static uint32_t xdp_epoch(const struct programmer *programmer)
{
	return loader_epoch(programmer_xdp_of(programmer)->loader);
}

static uint32_t xdp_now_ms(const struct programmer *programmer)
{
	return loader_now_ms(programmer_xdp_of(programmer)->loader);
}

static uint32_t xdp_host_epoch(const struct edge_host *host)
{
	const struct programmer_xdp *self =
		(const void *)((const char *)host - offsetof(struct programmer_xdp, host));

	return loader_epoch(self->loader);
}

static uint32_t xdp_host_now_ms(const struct edge_host *host)
{
	const struct programmer_xdp *self =
		(const void *)((const char *)host - offsetof(struct programmer_xdp, host));

	return loader_now_ms(self->loader);
}

/*
 * A packet is one RCU read-side section, and this barrier is a grace period. A kernel with nohz_full processors refuses it;
 * loader_quiesce() asks for one through the maps then.
 */
static void xdp_quiesce(const struct edge_host *host)
{
	const struct programmer_xdp *self =
		(const void *)((const char *)host - offsetof(struct programmer_xdp, host));

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0)
		loader_quiesce(self->loader);
	if (self->wait_also)
		self->wait_also(self->wait_context);
}

static enum loader_mode mode_of(enum programmer_mode mode)
{
	return mode == PROGRAMMER_WORKLOAD      ? LOADER_TC :
	       mode == PROGRAMMER_XDP_GENERIC ? LOADER_XDP_GENERIC :
						  LOADER_XDP_NATIVE;
}

static void attach_one(struct loader *loader, const struct programmer_interface *interface,
		       struct programmer_attachment *ret_attachment)
{
	struct loader_attachment attachment = {.mode = mode_of(interface->mode)};
	struct error error = {0};

	memset(ret_attachment, 0, sizeof(*ret_attachment));
	ret_attachment->ifindex = interface->ifindex;
	ret_attachment->code = loader_attach(loader, interface->ifindex, attachment.mode, &attachment, &error);
	ret_attachment->mode = loader_mode_name(attachment.mode);
	ret_attachment->changed = attachment.changed;
	snprintf(ret_attachment->text, sizeof(ret_attachment->text), "%.255s",
		 ret_attachment->code ? error.text : attachment.note);
}

static bool interface_wanted(const struct programmer_interface *interfaces, size_t count, uint32_t ifindex)
{
	for (size_t i = 0; i < count; i++) {
		if (interfaces[i].ifindex == ifindex)
			return true;
	}
	return false;
}

static int xdp_attach(struct programmer *programmer, const struct programmer_interface *interfaces, size_t count,
		      struct programmer_attachment *ret_attachments, struct error *error)
{
	struct loader *loader = programmer_xdp_of(programmer)->loader;
	uint32_t present[1024];
	size_t present_count;
	int result = 0;

	for (size_t i = 0; i < count; i++)
		attach_one(loader, &interfaces[i], &ret_attachments[i]);
	present_count = loader_attached(loader, present, array_length(present));
	for (size_t i = 0; i < present_count; i++) {
		int code = interface_wanted(interfaces, count, present[i]) ? 0 : loader_detach(loader, present[i], error);

		if (code)
			result = code;
	}
	return result;
}

static int xdp_events_fd(const struct programmer *programmer)
{
	return loader_events_fd(programmer_xdp_of(programmer)->loader);
}

static int xdp_events_consume(struct programmer *programmer, programmer_event_handler *handler, void *context)
{
	return loader_events_consume(programmer_xdp_of(programmer)->loader, handler, context);
}

static int xdp_remove(struct programmer *programmer, struct error *error)
{
	return loader_remove(programmer_xdp_of(programmer)->loader, error);
}

static void xdp_close(struct programmer *programmer)
{
	struct programmer_xdp *self = (struct programmer_xdp *)programmer;

	edge_program_free(programmer->program);
	loader_close(self->loader);
	free(self);
}

static const struct programmer_operations xdp_operations = {
	.name = "xdp",
	.found = xdp_found,
	.epoch = xdp_epoch,
	.now_ms = xdp_now_ms,
	.attach = xdp_attach,
	.events_fd = xdp_events_fd,
	.events_consume = xdp_events_consume,
	.remove = xdp_remove,
	.close = xdp_close,
};

const struct loader *programmer_xdp_loader(const struct programmer *programmer)
{
	return programmer_xdp_of(programmer)->loader;
}

void programmer_xdp_wait_also(struct programmer *programmer, void (*wait)(void *context), void *context)
{
	struct programmer_xdp *self = (struct programmer_xdp *)programmer;

	self->wait_also = wait;
	self->wait_context = context;
}

void programmer_dns_names(uint32_t names)
{
	loader_dns_names(names);
}

int programmer_xdp(const char *directory, struct programmer **ret_programmer, struct error *error)
{
	_cleanup_(freep) struct programmer_xdp *self = calloc(1, sizeof(*self));
	_cleanup_(loader_closep) struct loader *loader = NULL;
	char place[LOADER_PATH_SIZE];
	int code;

	if (!self)
		return error_set(error, ENOMEM, "no memory");
	code = loader_mount(directory, place, error);
	if (!code)
		code = loader_open(place, &loader, error);
	if (code)
		return code;
	self->programmer.operations = &xdp_operations;
	self->host = (struct edge_host){.quiesce = xdp_quiesce, .epoch = xdp_host_epoch, .now_ms = xdp_host_now_ms};
	self->loader = loader;
	self->programmer.tables = loader_tables(loader);
	self->programmer.own_counters = &self->programmer.tables->counters[loader_counter_sets(loader) - LOADER_WORKER_SETS - 1];
	self->programmer.program =
		edge_program_new(self->programmer.tables, loader_counter_sets(loader), &self->host);
	if (!self->programmer.program)
		return error_set(error, ENOMEM, "no memory");
	steal(loader);
	*ret_programmer = &steal(self)->programmer;
	return 0;
}

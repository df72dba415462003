/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "ctrl/program/programmer.h"

struct programmer_fake {
	struct programmer programmer;
	struct edge_host host;
	struct edge_tables tables;
	uint32_t epoch;
};

static struct programmer_fake *programmer_fake_of(const struct programmer *programmer)
{
	return (struct programmer_fake *)programmer;
}

static enum programmer_found fake_found(const struct programmer *programmer)
{
	return PROGRAMMER_FRESH;
}

static uint32_t fake_epoch(const struct programmer *programmer)
{
	return programmer_fake_of(programmer)->epoch;
}

static uint32_t fake_host_epoch(const struct edge_host *host)
{
	return ((const struct programmer_fake *)((const char *)host - offsetof(struct programmer_fake, host)))->epoch;
}

static uint32_t fake_host_now_ms(const struct edge_host *host)
{
	return fake_host_epoch(host) * EDGE_EPOCH_MS;
}

static void fake_quiesce(const struct edge_host *host)
{
	/* No packet is ever in flight. */
}

static int fake_attach(struct programmer *programmer, const struct programmer_interface *interfaces, size_t count,
		       struct programmer_attachment *ret_attachments, struct error *error)
{
	for (size_t i = 0; i < count; i++)
		ret_attachments[i] = (struct programmer_attachment){.ifindex = interfaces[i].ifindex, .mode = "fake"};
	return 0;
}

static int fake_events_fd(const struct programmer *programmer)
{
	return -1;
}

static int fake_events_consume(struct programmer *programmer, programmer_event_handler *handler, void *context)
{
	return 0;
}

static int fake_remove(struct programmer *programmer, struct error *error)
{
	return 0;
}

static void tables_free(struct edge_tables *tables)
{
	free(tables->config);
	free(tables->links);
	free(tables->routes);
	free(tables->neighbours);
	free(tables->vips);
	free(tables->lb);
	free(tables->rings);
	free(tables->flows);
	free(tables->filter);
	free(tables->fragments);
	free(tables->holding);
	free(tables->guards);
	free(tables->limiter);
	free(tables->rtc);
	free(tables->sessions);
	free(tables->index);
	free(tables->counters);
}

static void fake_close(struct programmer *programmer)
{
	struct programmer_fake *self = programmer_fake_of(programmer);

	edge_program_free(programmer->program);
	tables_free(&self->tables);
	free(self);
}

static const struct programmer_operations fake_operations = {
	.name = "fake",
	.found = fake_found,
	.epoch = fake_epoch,
	.attach = fake_attach,
	.events_fd = fake_events_fd,
	.events_consume = fake_events_consume,
	.remove = fake_remove,
	.close = fake_close,
};

static void *table_new(size_t size)
{
	void *memory;

	size = (size + 63) / 64 * 64;
	memory = aligned_alloc(64, size);
	return memory ? memset(memory, 0, size) : NULL;
}

static bool tables_new(struct edge_tables *tables)
{
	*tables = (struct edge_tables){
		.config = table_new(sizeof(*tables->config)),
		.links = table_new(sizeof(*tables->links)),
		.routes = table_new(sizeof(*tables->routes)),
		.neighbours = table_new(sizeof(*tables->neighbours)),
		.vips = table_new(sizeof(*tables->vips)),
		.lb = table_new(sizeof(*tables->lb)),
		.rings = table_new(sizeof(*tables->rings)),
		.flows = table_new(sizeof(*tables->flows)),
		.filter = table_new(sizeof(*tables->filter)),
		.fragments = table_new(sizeof(*tables->fragments)),
		.holding = table_new(sizeof(*tables->holding)),
		.guards = table_new(sizeof(*tables->guards)),
		.limiter = table_new(sizeof(*tables->limiter)),
		.rtc = calloc(1, sizeof(*tables->rtc)), /* large and mostly zero: no memory is taken for that */
		.sessions = calloc(1, sizeof(*tables->sessions)),
		.index = calloc(1, sizeof(*tables->index)),
		.counters = table_new(sizeof(*tables->counters)),
	};
	return tables->config && tables->links && tables->routes && tables->neighbours && tables->vips && tables->lb &&
	       tables->rings && tables->flows && tables->filter && tables->fragments && tables->holding && tables->guards && tables->limiter &&
	       tables->rtc && tables->sessions && tables->index && tables->counters;
}

int programmer_fake(struct programmer **ret_programmer, struct error *error)
{
	struct programmer_fake *self = calloc(1, sizeof(*self));

	if (!self)
		return error_set(error, ENOMEM, "no memory");
	self->programmer.operations = &fake_operations;
	self->host = (struct edge_host){.quiesce = fake_quiesce, .epoch = fake_host_epoch, .now_ms = fake_host_now_ms};
	self->epoch = 1;
	if (tables_new(&self->tables)) {
		self->tables.config->abi = EDGE_ABI;
		self->programmer.tables = &self->tables;
		self->programmer.program = edge_program_new(&self->tables, 1, &self->host);
	}
	if (!self->programmer.program) {
		fake_close(&self->programmer);
		return error_set(error, ENOMEM, "no memory");
	}
	*ret_programmer = &self->programmer;
	return 0;
}

void programmer_fake_epoch_set(struct programmer *programmer, uint32_t epoch)
{
	programmer_fake_of(programmer)->epoch = epoch;
}

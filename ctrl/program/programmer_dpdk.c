/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XDP engine's tables, shared with a selvage-dpdk: it handles the packets of its own NICs, tc those of workloads' veths and
 * XDP those of other NICs, all by the same tables. This end of the control channel hands them over whenever a selvage-dpdk
 * appears, and waits for its workers besides the kernel when the tables change.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "base/lib/log.h"
#include "ctrl/program/programmer.h"
#include "ctrl/program/programmer_xdp.h"
#include "dataplane/control_channel.h"

#define RETRY_MS 50 /* until the next try to connect */
#define INTERFACES_MAX CHANNEL_PORTS_MAX

struct programmer_dpdk {
	struct programmer programmer; /* tables and program are the inner one's */
	struct programmer *inner;     /* owned */
	char *run_directory;
	struct channel *channel; /* NULL: nobody is there */
	int epoll_fd; /* the inner one's events, the channel, its events, and */
	int timer_fd; /* runs while there is none and one is wanted */
	uint32_t wanted[INTERFACES_MAX];
	size_t wanted_count;
};

static struct programmer_dpdk *programmer_dpdk_of(const struct programmer *programmer)
{
	return (struct programmer_dpdk *)programmer;
}

/* --- the channel --------------------------------------------------------------------------------------------------------- */

static void retry_set(struct programmer_dpdk *self, bool on)
{
	struct timespec time = {0, on ? RETRY_MS * 1000000 : 0};
	struct itimerspec timer = {.it_interval = time, .it_value = time};

	timerfd_settime(self->timer_fd, 0, &timer, NULL);
}

static void channel_lose(struct programmer_dpdk *self)
{
	if (!self->channel)
		return;
	/* The other end holds the events' socket, too: closing it here is not enough for epoll to forget it. */
	epoll_ctl(self->epoll_fd, EPOLL_CTL_DEL, channel_events_fd(self->channel), NULL);
	epoll_ctl(self->epoll_fd, EPOLL_CTL_DEL, channel_fd(self->channel), NULL);
	channel_close(self->channel);
	self->channel = NULL;
	retry_set(self, self->wanted_count > 0);
}

static int tables_hand(struct programmer_dpdk *self, struct error *error)
{
	const struct loader *loader = programmer_xdp_loader(self->inner);
	struct channel_tables tables = {
		.counter_sets = loader_counter_sets(loader),
		.counter_first = loader_counter_sets(loader) - LOADER_WORKER_SETS,
		.epoch = loader_epoch(loader),
	};

	loader_epoch_length(&tables.epoch_shift, &tables.tick_ns);
	for (size_t i = 0; i < CHANNEL_TABLES_MAX; i++)
		tables.fds[i] = loader_table_fd(loader, i);
	return channel_tables_hand(self->channel, &tables, error);
}

static int descriptor_watch(struct programmer_dpdk *self, int fd)
{
	struct epoll_event event = {.events = EPOLLIN};

	return fd < 0 || epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int channel_make(struct programmer_dpdk *self, struct error *error)
{
	int code;

	if (self->channel)
		return 0;
	code = channel_open(self->run_directory, &self->channel, error);
	if (code)
		return code;
	if (descriptor_watch(self, channel_fd(self->channel)) < 0 ||
	    descriptor_watch(self, channel_events_fd(self->channel)) < 0)
		code = error_set(error, errno, "watching the control channel: %s", strerror(errno));
	if (code == 0)
		code = tables_hand(self, error);
	if (code) {
		channel_lose(self);
		return code;
	}
	retry_set(self, false);
	log_info("selvage-dpdk: connected, %u workers; it has the tables", channel_workers(self->channel));
	return 0;
}

/* One that began anew knows nothing of what its predecessor was told. */
static void channel_retry(struct programmer_dpdk *self)
{
	struct error error = {0};

	if (channel_make(self, &error) < 0)
		return;
	for (size_t i = 0; i < self->wanted_count; i++) {
		if (channel_attach(self->channel, self->wanted[i], &error) < 0)
			log_warning("selvage-dpdk: %s", error.text);
	}
}

/* A worker that does not report in time is stuck on one packet or stopped; it is not waited for again until it is back. */
static void dpdk_wait(void *context)
{
	struct programmer_dpdk *self = context;
	struct error error = {0};

	if (self->channel && channel_quiesce(self->channel, &error) < 0) {
		log_error("%s; it is connected anew when it answers", error.text);
		channel_lose(self);
	}
}

/* --- operations ---------------------------------------------------------------------------------------------------------- */

static enum programmer_found dpdk_found(const struct programmer *programmer)
{
	return programmer_found(programmer_dpdk_of(programmer)->inner);
}

static uint32_t dpdk_epoch(const struct programmer *programmer)
{
	return programmer_epoch(programmer_dpdk_of(programmer)->inner);
}

static uint32_t dpdk_now_ms(const struct programmer *programmer)
{
	return programmer_now_ms(programmer_dpdk_of(programmer)->inner);
}

static bool wanted_has(const struct programmer_dpdk *self, uint32_t ifindex)
{
	for (size_t i = 0; i < self->wanted_count; i++) {
		if (self->wanted[i] == ifindex)
			return true;
	}
	return false;
}

static void port_attach(struct programmer_dpdk *self, uint32_t ifindex, struct programmer_attachment *ret_attachment)
{
	struct error error = {0};
	bool known = wanted_has(self, ifindex), connected = self->channel != NULL;
	int code;

	*ret_attachment = (struct programmer_attachment){.ifindex = ifindex, .mode = "dpdk"};
	if (!known && self->wanted_count == INTERFACES_MAX) {
		ret_attachment->code = error_set(&error, E2BIG, "more than %u interfaces of selvage-dpdk", INTERFACES_MAX);
	} else {
		if (!known)
			self->wanted[self->wanted_count++] = ifindex;
		code = channel_make(self, &error);
		if (code == 0)
			code = channel_attach(self->channel, ifindex, &error);
		if (code == -EPIPE || code == -ETIMEDOUT)
			channel_lose(self);
		ret_attachment->code = code;
		ret_attachment->changed = !known || !connected;
	}
	if (!self->channel)
		retry_set(self, true);
	snprintf(ret_attachment->text, sizeof(ret_attachment->text), "%.255s", error.text);
}

/* What is wanted no longer. */
static void ports_detach(struct programmer_dpdk *self, const struct programmer_interface *interfaces, size_t count)
{
	size_t kept = 0;

	for (size_t w = 0; w < self->wanted_count; w++) {
		struct error error = {0};
		bool wanted = false;

		for (size_t i = 0; i < count; i++)
			wanted |= interfaces[i].mode == PROGRAMMER_DPDK && interfaces[i].ifindex == self->wanted[w];
		if (wanted)
			self->wanted[kept++] = self->wanted[w];
		else if (self->channel && channel_detach(self->channel, self->wanted[w], &error) < 0)
			log_debug("selvage-dpdk: %s", error.text); /* the interface is gone, and its port with it */
	}
	self->wanted_count = kept;
}

static int dpdk_attach(struct programmer *programmer, const struct programmer_interface *interfaces, size_t count,
		       struct programmer_attachment *ret_attachments, struct error *error)
{
	struct programmer_dpdk *self = programmer_dpdk_of(programmer);
	struct programmer_interface *others = calloc(count + 1, sizeof(*others));
	struct programmer_attachment *attachments = calloc(count + 1, sizeof(*attachments));
	size_t other_count = 0;
	int code = -ENOMEM;

	if (others && attachments) {
		for (size_t i = 0; i < count; i++) {
			if (interfaces[i].mode != PROGRAMMER_DPDK)
				others[other_count++] = interfaces[i];
		}
		code = programmer_attach(self->inner, others, other_count, attachments, error);
		ports_detach(self, interfaces, count);
		other_count = 0;
		for (size_t i = 0; i < count; i++) {
			if (interfaces[i].mode != PROGRAMMER_DPDK)
				ret_attachments[i] = attachments[other_count++];
			else
				port_attach(self, interfaces[i].ifindex, &ret_attachments[i]);
		}
	} else {
		error_set(error, ENOMEM, "no memory");
	}
	free(others);
	free(attachments);
	return code;
}

static int dpdk_events_fd(const struct programmer *programmer)
{
	return programmer_dpdk_of(programmer)->epoll_fd;
}

static int dpdk_events_consume(struct programmer *programmer, programmer_event_handler *handler, void *context)
{
	struct programmer_dpdk *self = programmer_dpdk_of(programmer);
	int count = programmer_events_consume(self->inner, handler, context);
	struct epoll_event events[8];
	uint64_t expirations;
	int ready;

	if (self->channel)
		count += channel_events_consume(self->channel, handler, context);
	if (read(self->timer_fd, &expirations, sizeof(expirations)) == sizeof(expirations))
		channel_retry(self);
	ready = epoll_wait(self->epoll_fd, events, (int)array_length(events), 0);
	for (int i = 0; i < ready; i++) {
		if (!self->channel || !(events[i].events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)))
			continue;
		log_warning("selvage-dpdk is gone; its NICs stand still until it is back");
		channel_lose(self);
	}
	return count;
}

static int dpdk_remove(struct programmer *programmer, struct error *error)
{
	struct programmer_dpdk *self = programmer_dpdk_of(programmer);

	ports_detach(self, NULL, 0);
	return programmer_remove(self->inner, error);
}

static void dpdk_close(struct programmer *programmer)
{
	struct programmer_dpdk *self = programmer_dpdk_of(programmer);

	programmer_close(self->inner);
	channel_close(self->channel);
	if (self->epoll_fd >= 0)
		close(self->epoll_fd);
	if (self->timer_fd >= 0)
		close(self->timer_fd);
	free(self->run_directory);
	free(self);
}

static const struct programmer_operations dpdk_operations = {
	.name = "dpdk",
	.found = dpdk_found,
	.epoch = dpdk_epoch,
	.now_ms = dpdk_now_ms,
	.attach = dpdk_attach,
	.events_fd = dpdk_events_fd,
	.events_consume = dpdk_events_consume,
	.remove = dpdk_remove,
	.close = dpdk_close,
};

int programmer_dpdk(const char *bpffs_directory, const char *run_directory, struct programmer **ret_programmer,
		    struct error *error)
{
	struct programmer_dpdk *self = calloc(1, sizeof(*self));
	int code;

	if (!self)
		return error_set(error, ENOMEM, "no memory");
	self->programmer.operations = &dpdk_operations;
	self->run_directory = strdup(run_directory);
	self->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	self->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	code = programmer_xdp(bpffs_directory, &self->inner, error);
	if (code == 0 && (!self->run_directory || self->epoll_fd < 0 || self->timer_fd < 0 ||
			  descriptor_watch(self, self->timer_fd) < 0 ||
			  descriptor_watch(self, programmer_events_fd(self->inner)) < 0))
		code = error_set(error, errno ? errno : ENOMEM, "preparing for selvage-dpdk: %s", strerror(errno));
	if (code) {
		dpdk_close(&self->programmer);
		return code;
	}
	self->programmer.tables = self->inner->tables;
	self->programmer.program = self->inner->program;
	self->programmer.own_counters = self->inner->own_counters; /* what it sends leaves by the TAP that stands for the NIC */
	programmer_xdp_wait_also(self->inner, dpdk_wait, self);
	*ret_programmer = &self->programmer;
	return 0;
}

int programmer_dpdk_statistics(struct programmer *programmer, uint32_t ifindex, struct channel_statistics *ret_statistics)
{
	struct programmer_dpdk *self = programmer_dpdk_of(programmer);
	struct error error = {0};
	int code;

	if (programmer->operations != &dpdk_operations)
		return -ENOENT;
	if (!self->channel)
		return -ENOTCONN;
	code = channel_statistics_get(self->channel, ifindex, ret_statistics, &error);
	if (code == -EPIPE || code == -ETIMEDOUT)
		channel_lose(self);
	return code;
}

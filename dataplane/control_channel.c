/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/control_channel.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define EVENTS_AT_ONCE 512

struct channel {
	int fd, events_fd;
	uint32_t sequence;
	uint32_t workers;
};

/* --- messages ------------------------------------------------------------------------------------------------------------ */

static bool text_ends(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static int tables_check(const struct channel_message *message, size_t fd_count, struct error *error)
{
	if (message->abi != EDGE_ABI)
		return error_set(error, EPROTO, "tables of format %u; this selvage-dpdk reads %u", message->abi, EDGE_ABI);
	if (fd_count != CHANNEL_TABLES_MAX)
		return error_set(error, EINVAL, "%zu descriptors of tables, not %zu", fd_count, CHANNEL_TABLES_MAX);
	if (message->counter_sets > 65536 || message->counter_first >= message->counter_sets)
		return error_set(error, EINVAL, "counters %u of %u are not there", message->counter_first, message->counter_sets);
	if (message->tick_ns == 0 || message->tick_ns > 100000000 || message->epoch_shift > 31)
		return error_set(error, EINVAL, "an epoch of 2^%u ticks of %u ns makes no sense", message->epoch_shift,
				 message->tick_ns);
	return 0;
}

int channel_request_check(const void *bytes, size_t length, size_t fd_count, struct error *error)
{
	struct channel_message message;

	if (length != sizeof(message))
		return error_set(error, EPROTO, "a message of %zu bytes, not %zu", length, sizeof(message));
	memcpy(&message, bytes, sizeof(message));
	if (message.magic != CHANNEL_MAGIC)
		return error_set(error, EPROTO, "not a message of the control channel");
	if (message.version != CHANNEL_VERSION)
		return error_set(error, EPROTO, "version %u of the control channel; this selvage-dpdk speaks %u", message.version,
				 CHANNEL_VERSION);
	if (message.kind == 0 || message.kind >= CHANNEL_KIND_END)
		return error_set(error, EPROTO, "a request of kind %u is not known", message.kind);
	if (message.status != 0 || !text_ends(message.device, sizeof(message.device)) ||
	    !text_ends(message.text, sizeof(message.text)) || message.port_count > CHANNEL_PORTS_MAX)
		return error_set(error, EINVAL, "a malformed request of kind %u", message.kind);
	if (message.kind == CHANNEL_TABLES)
		return tables_check(&message, fd_count, error);
	if (fd_count)
		return error_set(error, EINVAL, "a request of kind %u with %zu descriptors, which wants none", message.kind, fd_count);
	switch (message.kind) {
	case CHANNEL_HELLO:
	case CHANNEL_TAKE_OVER:
		if (message.abi != EDGE_ABI)
			return error_set(error, EPROTO, "a peer whose tables are of format %u; this selvage-dpdk has %u",
					 message.abi, EDGE_ABI);
		return 0;
	case CHANNEL_ATTACH:
	case CHANNEL_DETACH:
	case CHANNEL_STATISTICS:
		return message.ifindex ? 0 : error_set(error, EINVAL, "a request of kind %u names no interface", message.kind);
	default:
		return 0;
	}
}

int channel_send(int fd, const struct channel_message *message, const int *fds, size_t fd_count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(CHANNEL_FDS_MAX * sizeof(int))];
	} control = {0};
	struct iovec vector = {(void *)(uintptr_t)message, sizeof(*message)};
	struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};

	if (fd_count) {
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
	}
	return sendmsg(fd, &header, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int channel_receive(int fd, struct channel_message *ret_message, size_t *ret_length, int ret_fds[static CHANNEL_FDS_MAX],
		    size_t *ret_fd_count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(CHANNEL_FDS_MAX * sizeof(int))];
	} control;
	struct iovec vector = {ret_message, sizeof(*ret_message)};
	struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes,
				.msg_controllen = sizeof(control.bytes)};
	ssize_t length;

	memset(ret_message, 0, sizeof(*ret_message));
	*ret_fd_count = 0;
	length = recvmsg(fd, &header, MSG_CMSG_CLOEXEC | MSG_TRUNC);
	if (length < 0)
		return -errno;
	for (struct cmsghdr *item = CMSG_FIRSTHDR(&header); item; item = CMSG_NXTHDR(&header, item)) {
		size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(ret_fds + *ret_fd_count, CMSG_DATA(item), count * sizeof(int));
		*ret_fd_count += count;
	}
	if (length == 0)
		return -EPIPE;
	*ret_length = (size_t)length;
	return 0;
}

void channel_fds_close(const int *fds, size_t fd_count)
{
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
}

/* --- selvaged's end ------------------------------------------------------------------------------------------------------ */

/* Sends a request and waits for its answer; an answer to an earlier request, which came too late for it, is passed over. */
static int channel_ask(struct channel *channel, struct channel_message *message, const int *fds, size_t fd_count,
		       int ret_fds[static CHANNEL_FDS_MAX], size_t *ret_fd_count, struct error *error)
{
	uint16_t kind = message->kind;
	size_t length = 0;
	int code;

	message->magic = CHANNEL_MAGIC;
	message->version = CHANNEL_VERSION;
	message->sequence = ++channel->sequence;
	code = channel_send(channel->fd, message, fds, fd_count);
	while (code == 0) {
		code = channel_receive(channel->fd, message, &length, ret_fds, ret_fd_count);
		if (code || (message->kind == kind && message->sequence == channel->sequence))
			break;
		channel_fds_close(ret_fds, *ret_fd_count);
	}
	if (code == -EAGAIN)
		return error_set(error, ETIMEDOUT, "selvage-dpdk did not answer within %d ms", CHANNEL_PATIENCE_MS);
	if (code)
		return error_set(error, EPIPE, "selvage-dpdk is gone: %s", strerror(-code));
	if (length == sizeof(*message) && message->magic == CHANNEL_MAGIC && message->status == 0)
		return 0;
	channel_fds_close(ret_fds, *ret_fd_count);
	*ret_fd_count = 0;
	if (length != sizeof(*message) || message->magic != CHANNEL_MAGIC || message->status > 0)
		return error_set(error, EPROTO, "selvage-dpdk gave an answer that makes no sense");
	return error_set(error, -message->status, "selvage-dpdk: %.*s", (int)sizeof(message->text), message->text);
}

/* For requests whose answer has no descriptors. */
static int channel_ask_plain(struct channel *channel, struct channel_message *message, const int *fds, size_t fd_count,
			     struct error *error)
{
	int ret_fds[CHANNEL_FDS_MAX];
	size_t ret_count = 0;
	int code = channel_ask(channel, message, fds, fd_count, ret_fds, &ret_count, error);

	channel_fds_close(ret_fds, ret_count);
	return code;
}

static int channel_connect(const char *run_directory, struct error *error)
{
	struct timeval patience = {CHANNEL_PATIENCE_MS / 1000, CHANNEL_PATIENCE_MS % 1000 * 1000};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_(closep) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int connected;

	if (fd < 0)
		return error_set(error, errno, "opening a socket: %s", strerror(errno));
	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/" CHANNEL_SOCKET, run_directory) >=
	    (int)sizeof(address.sun_path))
		return error_set(error, ENAMETOOLONG, "the run directory's path is too long for a socket in it");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
		return error_set(error, errno, "setting up a socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_set(error, errno,
				 errno == ENOENT || errno == ECONNREFUSED ?
					 "selvage-dpdk is not running: nobody answers at %s; start it with this run directory" :
					 "connecting to selvage-dpdk at %s failed",
				 address.sun_path);
	connected = fd;
	fd = -1;
	return connected;
}

int channel_open(const char *run_directory, struct channel **ret_channel, struct error *error)
{
	struct channel_message hello = {.kind = CHANNEL_HELLO, .abi = EDGE_ABI};
	int fds[CHANNEL_FDS_MAX];
	size_t fd_count = 0;
	struct channel *channel;
	int code, fd = channel_connect(run_directory, error);

	if (fd < 0)
		return fd;
	channel = calloc(1, sizeof(*channel));
	if (!channel) {
		close(fd);
		return error_set(error, ENOMEM, "no memory");
	}
	*channel = (struct channel){.fd = fd, .events_fd = -1};
	code = channel_ask(channel, &hello, NULL, 0, fds, &fd_count, error);
	if (code == 0 && fd_count != 1) {
		channel_fds_close(fds, fd_count);
		code = error_set(error, EPROTO, "selvage-dpdk's hello came with %zu descriptors, not one", fd_count);
	}
	if (code) {
		channel_close(channel);
		return code;
	}
	channel->events_fd = fds[0];
	channel->workers = hello.workers;
	*ret_channel = channel;
	return 0;
}

void channel_close(struct channel *channel)
{
	if (!channel)
		return;
	close(channel->fd);
	if (channel->events_fd >= 0)
		close(channel->events_fd);
	free(channel);
}

int channel_fd(const struct channel *channel)
{
	return channel->fd;
}

uint32_t channel_workers(const struct channel *channel)
{
	return channel->workers;
}

int channel_events_fd(const struct channel *channel)
{
	return channel->events_fd;
}

int channel_events_consume(struct channel *channel, void (*handler)(const struct edge_event *event, void *context),
			   void *context)
{
	/* One thread reads events, one at a time: they are too large for its stack. */
	static union {
		struct edge_event event;
		uint8_t room[sizeof(struct edge_event) + EDGE_EVENT_BYTES_MAX];
	} buffer;
	int count = 0;

	while (count < EVENTS_AT_ONCE) {
		ssize_t length = recv(channel->events_fd, &buffer, sizeof(buffer), MSG_DONTWAIT);

		if (length <= 0)
			break;
		if ((size_t)length >= sizeof(buffer.event) && buffer.event.captured <= EDGE_EVENT_BYTES_MAX &&
		    (size_t)length == edge_event_size(buffer.event.captured))
			handler(&buffer.event, context);
		count++;
	}
	return count;
}

int channel_tables_hand(struct channel *channel, const struct channel_tables *tables, struct error *error)
{
	struct channel_message message = {
		.kind = CHANNEL_TABLES,
		.abi = EDGE_ABI,
		.counter_sets = tables->counter_sets,
		.counter_first = tables->counter_first,
		.epoch_shift = tables->epoch_shift,
		.tick_ns = tables->tick_ns,
		.epoch = tables->epoch,
	};

	return channel_ask_plain(channel, &message, tables->fds, CHANNEL_TABLES_MAX, error);
}

int channel_quiesce(struct channel *channel, struct error *error)
{
	struct channel_message message = {.kind = CHANNEL_QUIESCE};

	return channel_ask_plain(channel, &message, NULL, 0, error);
}

int channel_attach(struct channel *channel, uint32_t ifindex, struct error *error)
{
	struct channel_message message = {.kind = CHANNEL_ATTACH, .ifindex = ifindex};

	return channel_ask_plain(channel, &message, NULL, 0, error);
}

int channel_detach(struct channel *channel, uint32_t ifindex, struct error *error)
{
	struct channel_message message = {.kind = CHANNEL_DETACH, .ifindex = ifindex};

	return channel_ask_plain(channel, &message, NULL, 0, error);
}

int channel_statistics_get(struct channel *channel, uint32_t ifindex, struct channel_statistics *ret_statistics,
			   struct error *error)
{
	struct channel_message message = {.kind = CHANNEL_STATISTICS, .ifindex = ifindex};
	int code = channel_ask_plain(channel, &message, NULL, 0, error);

	if (code == 0)
		*ret_statistics = message.statistics;
	return code;
}

int channel_take_over(const char *run_directory, struct channel_message *ret_message, int ret_fds[static CHANNEL_FDS_MAX],
		      size_t *ret_fd_count, struct error *error)
{
	struct channel channel = {.fd = channel_connect(run_directory, error), .events_fd = -1};
	int code;

	if (channel.fd < 0)
		return channel.fd;
	*ret_message = (struct channel_message){.kind = CHANNEL_TAKE_OVER, .abi = EDGE_ABI};
	code = channel_ask(&channel, ret_message, NULL, 0, ret_fds, ret_fd_count, error);
	close(channel.fd);
	return code;
}

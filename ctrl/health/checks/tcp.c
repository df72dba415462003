/* SPDX-License-Identifier: Apache-2.0 */
/* A connection that is accepted is a success; nothing is sent, and the connection is reset. */
#include <event2/event.h>
#include <string.h>

#include "ctrl/health/checks/probe.h"

struct tcp_probe {
	struct probe probe;
	struct event *writable;
	int fd;
};

static void tcp_stop(struct probe *probe)
{
	struct tcp_probe *tcp = (struct tcp_probe *)probe;

	if (tcp->writable)
		event_free(steal(tcp->writable));
	if (tcp->fd >= 0)
		close(tcp->fd);
	tcp->fd = -1;
}

static void tcp_decide(struct tcp_probe *tcp, int error)
{
	struct probe_result result = error ? probe_result(false, "tcp connect: %s", strerror(error))
					   : probe_result(true, "tcp: connected");

	probe_done(&tcp->probe, &result);
}

static void tcp_on_writable(evutil_socket_t fd, short events, void *context)
{
	socklen_t length = sizeof(int);
	int error = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		error = errno;
	tcp_decide(context, error);
}

static int tcp_connect(struct tcp_probe *tcp)
{
	struct sockaddr_storage address;
	socklen_t length;

	tcp->fd = probe_socket(&tcp->probe, SOCK_STREAM, &address, &length);
	if (tcp->fd < 0)
		return -tcp->fd;
	probe_reset_on_close(tcp->fd);
	if (connect(tcp->fd, (struct sockaddr *)&address, length) < 0 && errno != EINPROGRESS)
		return errno;
	tcp->writable = event_new(tcp->probe.target.base, tcp->fd, EV_WRITE, tcp_on_writable, tcp);
	if (!tcp->writable || event_add(tcp->writable, NULL) < 0)
		return ENOMEM;
	return 0;
}

static void tcp_start(struct probe *probe)
{
	struct tcp_probe *tcp = (struct tcp_probe *)probe;
	int error = tcp_connect(tcp);

	if (error)
		tcp_decide(tcp, error);
}

static void tcp_expire(struct probe *probe, struct probe_result *ret_result)
{
	tcp_stop(probe);
	*ret_result = probe_timeout(probe);
}

static struct probe *tcp_create(const struct probe_target *target)
{
	struct tcp_probe *tcp = calloc(1, sizeof(*tcp));

	if (!tcp)
		return NULL;
	tcp->probe = (struct probe){.kind = &probe_tcp, .target = *target};
	tcp->fd = -1;
	return &tcp->probe;
}

static void tcp_destroy(struct probe *probe)
{
	free(probe);
}

const struct probe_kind probe_tcp = {
	.create = tcp_create,
	.start = tcp_start,
	.expire = tcp_expire,
	.stop = tcp_stop,
	.destroy = tcp_destroy,
};

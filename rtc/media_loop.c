/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/media_loop.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/lib/address_text.h"
#include "base/lib/clock.h"
#include "rtc/media_peer.h"

#define BATCH 32
#define BATCHES 8 /* in a row, before others have their turn */

struct media_socket {
	struct media_socket_config config;
	int fd;
	bool ipv6;
	struct event *readable;
	uint64_t unsent, overflows;
	struct mmsghdr out[BATCH];
	struct iovec out_at[BATCH];
	struct sockaddr_storage out_to[BATCH];
	uint8_t out_bytes[BATCH][MEDIA_DATAGRAM_MAX];
	unsigned int out_count;
	struct mmsghdr in[BATCH];
	struct iovec in_at[BATCH];
	struct sockaddr_storage in_from[BATCH];
	uint8_t in_bytes[BATCH][MEDIA_DATAGRAM_MAX];
	char in_control[BATCH][CMSG_SPACE(sizeof(uint32_t))];
};

uint64_t media_now_us(void)
{
	return clock_us();
}

/* --- addresses ---------------------------------------------------------------------------------------------------------- */

static socklen_t sockaddr_of(const struct media_endpoint *endpoint, bool ipv6, struct sockaddr_storage *ret_address)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;

	memset(ret_address, 0, sizeof(*ret_address));
	if (!ipv6) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(endpoint->port);
		v4->sin_addr.s_addr = address_ipv4(&endpoint->address);
		return sizeof(*v4);
	}
	/* ::ffff:a.b.c.d is how both the kernel and struct address write IPv4. */
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(endpoint->port);
	memcpy(&v6->sin6_addr, &endpoint->address, sizeof(v6->sin6_addr));
	return sizeof(*v6);
}

static struct media_endpoint endpoint_of(const struct sockaddr_storage *address)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
	struct media_endpoint endpoint;

	if (address->ss_family == AF_INET) {
		endpoint = (struct media_endpoint){.address = address_from_ipv4(v4->sin_addr.s_addr), .port = ntohs(v4->sin_port)};
	} else {
		endpoint = (struct media_endpoint){.port = ntohs(v6->sin6_port)};
		memcpy(&endpoint.address, &v6->sin6_addr, sizeof(endpoint.address));
	}
	return endpoint;
}

int media_local_address(const struct media_endpoint *remote, struct address *ret_address)
{
	bool ipv6 = !address_is_ipv4(&remote->address);
	struct sockaddr_storage address;
	socklen_t length = sockaddr_of(remote, ipv6, &address);
	_cleanup_(closep) int fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, length) < 0)
		return -errno;
	length = sizeof(address);
	if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
		return -errno;
	*ret_address = endpoint_of(&address).address;
	return 0;
}

/* --- receiving ---------------------------------------------------------------------------------------------------------- */

static void overflow_note(struct media_socket *socket, struct msghdr *message)
{
	struct cmsghdr *control = CMSG_FIRSTHDR(message);
	uint32_t overflows;

	if (control && control->cmsg_level == SOL_SOCKET && control->cmsg_type == SO_RXQ_OVFL) {
		memcpy(&overflows, CMSG_DATA(control), sizeof(overflows));
		socket->overflows = overflows;
	}
}

static int batch_receive(struct media_socket *socket)
{
	int count;

	for (int i = 0; i < BATCH; i++) {
		socket->in_at[i] = (struct iovec){socket->in_bytes[i], MEDIA_DATAGRAM_MAX};
		socket->in[i].msg_hdr = (struct msghdr){
			.msg_name = &socket->in_from[i],
			.msg_namelen = sizeof(socket->in_from[i]),
			.msg_iov = &socket->in_at[i],
			.msg_iovlen = 1,
			.msg_control = socket->in_control[i],
			.msg_controllen = sizeof(socket->in_control[i]),
		};
	}
	count = recvmmsg(socket->fd, socket->in, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < count; i++) {
		struct msghdr *message = &socket->in[i].msg_hdr;
		struct media_endpoint from = endpoint_of(&socket->in_from[i]);

		overflow_note(socket, message);
		if (!(message->msg_flags & MSG_TRUNC))
			socket->config.receive(socket->config.context, media_now_us(), &from, socket->in_bytes[i],
					       socket->in[i].msg_len);
	}
	return count;
}

static void on_readable(evutil_socket_t fd, short events, void *context)
{
	struct media_socket *socket = context;

	for (int i = 0; i < BATCHES; i++) {
		int count = batch_receive(socket);

		media_socket_flush(socket);
		/* -1 may also be an ICMP error that came back: it is taken off the socket with that. */
		if (count < BATCH)
			return;
	}
}

/* --- sending ------------------------------------------------------------------------------------------------------------ */

void media_socket_flush(struct media_socket *socket)
{
	unsigned int done = 0;

	while (done < socket->out_count) {
		int sent = sendmmsg(socket->fd, socket->out + done, socket->out_count - done, MSG_DONTWAIT);

		/* The first of them failed: no room, no route, refused. Media do not wait. */
		if (sent <= 0) {
			socket->unsent++;
			sent = 1;
		}
		done += (unsigned int)sent;
	}
	socket->out_count = 0;
}

void media_socket_send(struct media_socket *socket, const struct media_endpoint *to, const uint8_t *bytes, size_t length)
{
	unsigned int at = socket->out_count;

	if (length == 0 || length > MEDIA_DATAGRAM_MAX || (!socket->ipv6 && !address_is_ipv4(&to->address))) {
		socket->unsent++;
		return;
	}
	memcpy(socket->out_bytes[at], bytes, length);
	socket->out_at[at] = (struct iovec){socket->out_bytes[at], length};
	socket->out[at].msg_hdr = (struct msghdr){
		.msg_name = &socket->out_to[at],
		.msg_namelen = sockaddr_of(to, socket->ipv6, &socket->out_to[at]),
		.msg_iov = &socket->out_at[at],
		.msg_iovlen = 1,
	};
	if (++socket->out_count == BATCH)
		media_socket_flush(socket);
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

static int socket_open(struct media_socket *media, struct error *error)
{
	const struct media_endpoint *local = &media->config.local;
	struct sockaddr_storage address;
	socklen_t length = sockaddr_of(local, media->ipv6, &address);
	int off = 0, on = 1, buffer = (int)media->config.buffer_bytes;
	char text[ENDPOINT_TEXT_SIZE];

	media->fd = socket(media->ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (media->fd < 0)
		return error_set(error, errno, "UDP socket: %s", strerror(errno));
	if (media->ipv6)
		(void)setsockopt(media->fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	(void)setsockopt(media->fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on));
	/* The forced form is for who may; the other is cut to net.core.rmem_max. */
	if (buffer && setsockopt(media->fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)) < 0)
		(void)setsockopt(media->fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
	if (buffer && setsockopt(media->fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)) < 0)
		(void)setsockopt(media->fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	if (bind(media->fd, (struct sockaddr *)&address, length) < 0)
		return error_set(error, errno, "UDP on %s: %s", endpoint_format(&local->address, local->port, text),
				 strerror(errno));
	length = sizeof(address);
	if (getsockname(media->fd, (struct sockaddr *)&address, &length) < 0)
		return error_set(error, errno, "UDP socket: %s", strerror(errno));
	media->config.local.port = endpoint_of(&address).port;
	return 0;
}

int media_socket_new(const struct media_socket_config *config, struct media_socket **ret_socket, struct error *error)
{
	struct media_socket *socket = calloc(1, sizeof(*socket));
	int result;

	if (!socket)
		return error_set(error, ENOMEM, "no memory");
	socket->config = *config;
	socket->ipv6 = !address_is_ipv4(&config->local.address);
	socket->fd = -1;
	result = socket_open(socket, error);
	if (result == 0) {
		socket->readable = event_new(config->base, socket->fd, EV_READ | EV_PERSIST, on_readable, socket);
		if (!socket->readable || event_add(socket->readable, NULL) < 0)
			result = error_set(error, ENOMEM, "no memory");
	}
	if (result < 0) {
		media_socket_free(socket);
		return result;
	}
	*ret_socket = socket;
	return 0;
}

void media_socket_free(struct media_socket *socket)
{
	if (!socket)
		return;
	if (socket->fd >= 0)
		media_socket_flush(socket);
	if (socket->readable)
		event_free(socket->readable);
	if (socket->fd >= 0)
		close(socket->fd);
	free(socket);
}

struct media_endpoint media_socket_local(const struct media_socket *socket)
{
	return socket->config.local;
}

uint64_t media_socket_unsent(const struct media_socket *socket)
{
	return socket->unsent;
}

uint64_t media_socket_overflows(const struct media_socket *socket)
{
	return socket->overflows;
}

/* --- timers ------------------------------------------------------------------------------------------------------------- */

static void timer_arm(struct media_timer *timer)
{
	uint64_t now_us = media_now_us(), wait_us = timer->due_us > now_us ? timer->due_us - now_us : 0;
	struct timeval wait = {.tv_sec = (time_t)(wait_us / 1000000), .tv_usec = (suseconds_t)(wait_us % 1000000)};

	timer->armed_us = timer->due_us;
	/* Only for want of memory; a call that never moves again would be worse. */
	if (evtimer_add(timer->event, &wait) < 0)
		abort();
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
	struct media_timer *timer = context;

	timer->armed_us = UINT64_MAX;
	if (timer->due_us == UINT64_MAX)
		return;
	/* It moved away meanwhile, or libevent's clock (one reading for a round) is ahead of ours. */
	if (timer->due_us > media_now_us()) {
		timer_arm(timer);
		return;
	}
	timer->due_us = UINT64_MAX;
	timer->fire(timer->context);
}

int media_timer_init(struct media_timer *timer, struct event_base *base, void (*fire)(void *context), void *context)
{
	*timer = (struct media_timer){.due_us = UINT64_MAX, .armed_us = UINT64_MAX, .fire = fire, .context = context};
	timer->event = evtimer_new(base, on_timer, timer);
	return timer->event ? 0 : -ENOMEM;
}

void media_timer_done(struct media_timer *timer)
{
	if (timer->event)
		event_free(steal(timer->event));
}

void media_timer_set(struct media_timer *timer, uint64_t due_us)
{
	timer->due_us = due_us;
	if (due_us < timer->armed_us)
		timer_arm(timer);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A datagram is sent; an answer is a success (if it begins as expected), an ICMP error a failure.
 *
 * Where no answer is asked for, silence passes only while no error is fresh. One error must count for longer than one
 * probe: Linux reports a neighbour that does not answer once in 3 s (the first time only when it has given up on the
 * entry), and sends "port unreachable" to one peer at most once a second, so that most probes of a dead backend are silent.
 * Hence the socket stays open while nobody answers (errors that come between probes reach it), and an error is
 * remembered.
 */
#include <event2/event.h>
#include <netinet/in.h>
#include <string.h>

#include "base/lib/clock.h"
#include "ctrl/health/checks/probe.h"

/* Three neighbour solicitations, one second apart (mcast_solicit, retrans_time), and some room. */
#define NEIGHBOUR_ERROR_MS 4000

struct udp_probe {
	struct probe probe;
	struct event *readable;
	int fd;
	int error; /* the last ICMP error; 0: none since an answer */
	uint64_t error_ms;
};

static void udp_close(struct udp_probe *udp)
{
	if (udp->fd >= 0)
		close(udp->fd);
	udp->fd = -1;
}

static void udp_stop(struct probe *probe)
{
	struct udp_probe *udp = (struct udp_probe *)probe;

	if (udp->readable)
		event_free(steal(udp->readable));
}

static struct probe_result udp_failure(int error)
{
	return error == ECONNREFUSED ? probe_result(false, "udp: ICMP port unreachable")
				     : probe_result(false, "udp: %s", strerror(error));
}

static void udp_decide_error(struct udp_probe *udp, int error)
{
	struct probe_result result = udp_failure(error);

	udp->error = error;
	udp->error_ms = clock_now_ms(&clock_system);
	udp_stop(&udp->probe);
	udp_close(udp);
	probe_done(&udp->probe, &result);
}

static void udp_decide_answer(struct udp_probe *udp, const uint8_t *answer, size_t length)
{
	const struct health_bytes *expect = &udp->probe.target.parameters->expect;
	bool expected = length >= expect->length && memcmp(answer, expect->data, expect->length) == 0;
	struct probe_result result = expected ? probe_result(true, "udp: answered")
					      : probe_result(false, "udp: unexpected answer of %zu bytes", length);

	udp->error = 0;
	udp_stop(&udp->probe);
	udp_close(udp);
	probe_done(&udp->probe, &result);
}

/* Length of an answer, or -errno; -EAGAIN: neither answer nor error. */
static ssize_t udp_receive(struct udp_probe *udp, uint8_t buffer[static HEALTH_BYTES_SIZE])
{
	struct msghdr error_message = {0};
	ssize_t length = recv(udp->fd, buffer, HEALTH_BYTES_SIZE, MSG_TRUNC);

	if (length >= 0)
		return length;
	length = -errno;
	/* The copies that IP_RECVERR keeps; left there, the socket would stay readable. */
	while (recvmsg(udp->fd, &error_message, MSG_ERRQUEUE) >= 0)
		;
	return length;
}

static void udp_on_readable(evutil_socket_t fd, short events, void *context)
{
	struct udp_probe *udp = context;
	uint8_t buffer[HEALTH_BYTES_SIZE];
	ssize_t length = udp_receive(udp, buffer);

	if (length >= 0)
		udp_decide_answer(udp, buffer, (size_t)length);
	else if (length != -EAGAIN && length != -EINTR)
		udp_decide_error(udp, (int)-length);
}

static int udp_open(struct udp_probe *udp)
{
	struct sockaddr_storage address;
	const int on = 1;
	socklen_t length;
	int result;

	udp->fd = probe_socket(&udp->probe, SOCK_DGRAM, &address, &length);
	if (udp->fd < 0)
		return -udp->fd;
	/* Without it only "port unreachable" is told, not "host unreachable". */
	if (address.ss_family == AF_INET)
		result = setsockopt(udp->fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
	else
		result = setsockopt(udp->fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
	if (result < 0 || connect(udp->fd, (struct sockaddr *)&address, length) < 0)
		return errno;
	return 0;
}

/* What came since the last probe: late answers are forgotten, a late error is returned. */
static int udp_drain(struct udp_probe *udp)
{
	uint8_t buffer[HEALTH_BYTES_SIZE];

	for (int i = 0; i < 64; i++) {
		ssize_t length = udp_receive(udp, buffer);

		if (length == -EAGAIN)
			return 0;
		if (length < 0 && length != -EINTR)
			return (int)-length;
		if (length >= 0)
			udp->error = 0;
	}
	return 0;
}

static int udp_send(struct udp_probe *udp)
{
	const struct health_bytes *bytes = &udp->probe.target.parameters->send;
	int error = udp->fd < 0 ? udp_open(udp) : udp_drain(udp);

	if (error)
		return error;
	udp->readable = event_new(udp->probe.target.base, udp->fd, EV_READ | EV_PERSIST, udp_on_readable, udp);
	if (!udp->readable || event_add(udp->readable, NULL) < 0)
		return ENOMEM;
	return send(udp->fd, bytes->data, bytes->length, 0) < 0 ? errno : 0;
}

static void udp_start(struct probe *probe)
{
	struct udp_probe *udp = (struct udp_probe *)probe;
	int error = udp_send(udp);

	if (error)
		udp_decide_error(udp, error);
}

static void udp_expire(struct probe *probe, struct probe_result *ret_result)
{
	struct udp_probe *udp = (struct udp_probe *)probe;
	const struct health_parameters *parameters = probe->target.parameters;
	uint64_t fresh_ms = NEIGHBOUR_ERROR_MS + parameters->timing.interval_ms;

	udp_stop(probe);
	if (parameters->answer_required || parameters->expect.length > 0)
		*ret_result = probe_timeout(probe);
	else if (udp->error && clock_now_ms(&clock_system) - udp->error_ms < fresh_ms)
		*ret_result = udp_failure(udp->error);
	else
		*ret_result = probe_result(true, "udp: no error");
}

static struct probe *udp_create(const struct probe_target *target)
{
	struct udp_probe *udp = calloc(1, sizeof(*udp));

	if (!udp)
		return NULL;
	udp->probe = (struct probe){.kind = &probe_udp, .target = *target};
	udp->fd = -1;
	return &udp->probe;
}

static void udp_destroy(struct probe *probe)
{
	udp_close((struct udp_probe *)probe);
	free(probe);
}

const struct probe_kind probe_udp = {
	.create = udp_create,
	.start = udp_start,
	.expire = udp_expire,
	.stop = udp_stop,
	.destroy = udp_destroy,
};

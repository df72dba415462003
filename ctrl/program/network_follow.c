/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/program/network_follow.h"

#include <errno.h>
#include <event2/event.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/lib/cleanup.h"
#include "base/lib/log.h"
#include "ctrl/program/netlink_read.h"
#include "ctrl/program/probe_schedule.h"

#define READ_INTERVAL_MS 10u       /* links, addresses and routes are read at most this often */
#define READ_RETRY_MS 100u         /* after a reading that failed */
#define READ_ATTEMPTS 5            /* a dump that was changed underway is begun again */
#define DISCARD_PORT 9
#define IPV6_SCOPE_LINK 0x20       /* in /proc/net/if_inet6 */
#ifndef IPV6_UNICAST_IF
#define IPV6_UNICAST_IF 76
#endif
#define EVENT_BUFFER_BYTES 1048576 /* of which the kernel grants what net.core.rmem_max allows */

struct network_follow {
	struct event_base *base;
	const struct clock *clock;
	network_follow_changed changed;
	void *context;
	struct nl_sock *events, *commands;
	struct event *events_ready, *timer;
	struct network network;  /* what the kernel said last */
	struct network reported; /* what it was when `changed` was called last */
	bool read_links, read_neighbours; /* what must be read anew; links stand for addresses and routes too */
	bool touched;                     /* `network` may differ from `reported` */
	uint64_t read_ms;                 /* of the last reading */
	struct address *destinations;
	size_t destination_count;
	struct probe_schedule schedule;
	struct network_follow_counters counters;
};

struct reading {
	struct network *network;
	int result;
};

static int nl_failed(struct error *error, int nl_code, const char *attempt)
{
	return error_set(error, EIO, "%s: %s", attempt, nl_geterror(nl_code));
}

static void object_add(struct nl_object *object, void *context)
{
	struct reading *reading = context;

	if (reading->result == 0)
		reading->result = netlink_read_object(reading->network, object);
}

/* A message that libnl cannot parse (a newer kernel's, another family's) is passed over: it tells nothing we know of. */
static int dump_message(struct nl_msg *message, void *context)
{
	(void)nl_msg_parse(message, object_add, context);
	return NL_OK;
}

static int dump_once(struct nl_sock *socket, int type, struct network *network)
{
	struct reading reading = {.network = network};
	/* RTM_GETLINK takes the longest of the headers; the others read its first byte, the family, only. */
	struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
	int result;

	nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, dump_message, &reading);
	result = nl_send_simple(socket, type, NLM_F_DUMP, &header, sizeof(header));
	if (result >= 0)
		result = nl_recvmsgs_default(socket);
	if (result < 0)
		return result;
	return reading.result < 0 ? -NLE_NOMEM : 0;
}

static void network_take(struct network *network, struct network *other)
{
	network_done(network);
	*network = *other;
	network_init(other);
}

/* Links with addresses, and routes; neighbours are kept. */
static int links_read(struct nl_sock *socket, struct network *network)
{
	static const int types[] = {RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE};
	struct network fresh = {0};
	int result = 0;

	for (size_t i = 0; i < array_length(types) && result == 0; i++)
		result = dump_once(socket, types[i], &fresh);
	if (result < 0) {
		network_done(&fresh);
		return result;
	}
	fresh.neighbours = steal(network->neighbours);
	fresh.neighbour_count = network->neighbour_count;
	fresh.neighbour_capacity = network->neighbour_capacity;
	network_take(network, &fresh);
	return 0;
}

static int neighbours_read(struct nl_sock *socket, struct network *network)
{
	struct network fresh = {0};
	int result = dump_once(socket, RTM_GETNEIGH, &fresh);

	if (result == 0) {
		free(network->neighbours);
		network->neighbours = steal(fresh.neighbours);
		network->neighbour_count = fresh.neighbour_count;
		network->neighbour_capacity = fresh.neighbour_capacity;
	}
	network_done(&fresh);
	return result;
}

static int read_settled(struct network_follow *follow, int (*read_part)(struct nl_sock *, struct network *))
{
	int result = -NLE_DUMP_INTR;

	for (int i = 0; i < READ_ATTEMPTS && result == -NLE_DUMP_INTR; i++)
		result = read_part(follow->commands, &follow->network);
	return result;
}

/* Reads anew what must be. What failed stays marked. */
static int network_read(struct network_follow *follow)
{
	int result = 0;

	if (follow->read_links) {
		follow->counters.reads++;
		follow->read_ms = clock_now_ms(follow->clock);
		result = read_settled(follow, links_read);
		follow->read_links = result < 0;
	}
	if (result == 0 && follow->read_neighbours) {
		result = read_settled(follow, neighbours_read);
		follow->read_neighbours = result < 0;
	}
	follow->touched = true;
	return result;
}

static int network_copy(struct network *to, const struct network *from)
{
	struct network copy = {0};
	int result = 0;

	for (size_t i = 0; i < from->link_count && result == 0; i++)
		result = network_add_link(&copy, &from->links[i]);
	for (size_t i = 0; i < from->route_count && result == 0; i++)
		result = network_add_route(&copy, &from->routes[i]);
	for (size_t i = 0; i < from->neighbour_count && result == 0; i++)
		result = network_add_neighbour(&copy, &from->neighbours[i]);
	if (result < 0)
		network_done(&copy);
	else
		network_take(to, &copy);
	return result;
}

/* Whether the interface has a link-local address that may be used: one that is not being looked for duplicates of (RFC 4862 section 5.4). */
static bool link_local_ready(uint32_t ifindex)
{
	_cleanup_(fclosep) FILE *file = fopen("/proc/net/if_inet6", "re");
	unsigned int number, length, scope, flags;
	bool ready = false;

	while (file && !ready && fscanf(file, "%*32s %x %x %x %x %*s", &number, &length, &scope, &flags) == 4)
		ready = number == ifindex && scope == IPV6_SCOPE_LINK && !(flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED));
	return ready;
}

/*
 * Makes the kernel solicit a neighbour by a packet for it, an empty datagram to the discard port (RFC 863). Asked by netlink, it
 * solicits from its link-local address alone, and silently not at all while that one is tentative: for a second or two after an
 * interface has come up, and a second longer until it tries again. For a packet it solicits from the packet's own address.
 */
static void neighbour_prod(const struct address *ip, uint32_t ifindex)
{
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(DISCARD_PORT), .sin6_scope_id = ifindex};
	_cleanup_(closep) int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint32_t by = htonl(ifindex);

	memcpy(&to.sin6_addr, ip, sizeof(to.sin6_addr));
	if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_IF, &by, sizeof(by)) < 0 ||
	    sendto(fd, "", 0, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to)) < 0)
		log_debug("probe an IPv6 neighbour by a packet: %s", strerror(errno));
}

int network_follow_probe(struct network_follow *follow, const struct address *ip, uint32_t ifindex, bool confirm)
{
	bool ipv4 = address_is_ipv4(ip);
	/*
	 * As `ip neigh replace … use` and `… nud probe` do. A known hardware address is asked directly (NUD_PROBE); if it
	 * is silent the neighbour fails after three tries, and the next probe asks everybody.
	 */
	struct ndmsg header = {.ndm_family = ipv4 ? AF_INET : AF_INET6,
			       .ndm_ifindex = (int)ifindex,
			       .ndm_state = confirm ? NUD_PROBE : NUD_NONE,
			       .ndm_flags = confirm ? 0 : NTF_USE};
	struct nl_msg *message = nlmsg_alloc_simple(RTM_NEWNEIGH, NLM_F_REPLACE | (confirm ? 0 : NLM_F_CREATE));
	int result;

	if (!message)
		return -ENOMEM;
	if (nlmsg_append(message, &header, sizeof(header), NLMSG_ALIGNTO) < 0 ||
	    nla_put(message, NDA_DST, ipv4 ? 4 : 16, (const uint8_t *)ip + (ipv4 ? 12 : 0)) < 0) {
		nlmsg_free(message);
		return -ENOMEM;
	}
	follow->counters.probes++;
	if (!ipv4 && !confirm && !link_local_ready(ifindex))
		neighbour_prod(ip, ifindex);
	result = nl_send_sync(follow->commands, message); /* frees the message; the kernel answers at once */
	return result < 0 ? -EIO : 0;
}

static void timer_set(struct network_follow *follow, uint64_t due_ms)
{
	uint64_t now_ms = clock_now_ms(follow->clock), wait_ms = due_ms > now_ms ? due_ms - now_ms : 0;
	struct timeval wait = {.tv_sec = (time_t)(wait_ms / 1000), .tv_usec = (suseconds_t)(wait_ms % 1000 * 1000)};

	if (due_ms == PROBE_NEVER)
		evtimer_del(follow->timer);
	else
		evtimer_add(follow->timer, &wait);
}

static void probes_send(struct network_follow *follow)
{
	uint64_t now_ms = clock_now_ms(follow->clock);
	struct probe probe;

	while (probe_schedule_next(&follow->schedule, &follow->network, now_ms, &probe)) {
		char text[ADDRESS_TEXT_SIZE];

		/* It may have gone since we last heard; the schedule tries again. */
		if (network_follow_probe(follow, &probe.ip, probe.ifindex, probe.confirm) < 0)
			log_debug("probe neighbour %s: the kernel refused", address_format(&probe.ip, text));
	}
}

/* Wants, probes, and the time of the next turn. */
static void schedule_update(struct network_follow *follow)
{
	uint64_t due_ms;

	if (probe_schedule_want(&follow->schedule, &follow->network, follow->destinations,
				follow->destination_count) < 0)
		log_error("follow the network: out of memory for the next hops that are kept resolved");
	probes_send(follow);
	due_ms = probe_schedule_due_ms(&follow->schedule, &follow->network, clock_now_ms(follow->clock));
	if (follow->read_links && follow->read_ms + READ_INTERVAL_MS < due_ms)
		due_ms = follow->read_ms + READ_INTERVAL_MS;
	timer_set(follow, due_ms);
}

static void change_report(struct network_follow *follow)
{
	if (!follow->touched || network_equal(&follow->network, &follow->reported))
		return;
	if (network_copy(&follow->reported, &follow->network) < 0)
		log_error("follow the network: out of memory for a copy; a later change may be reported twice");
	follow->counters.changes++;
	follow->changed(follow->context);
}

/* One turn: read what is due, report once, probe. */
static void turn(struct network_follow *follow)
{
	uint64_t now_ms = clock_now_ms(follow->clock);
	int result = 0;

	if (follow->read_neighbours || (follow->read_links && now_ms >= follow->read_ms + READ_INTERVAL_MS))
		result = network_read(follow);
	if (result < 0) {
		log_warning("read links, routes and neighbours: %s; trying again", nl_geterror(result));
		timer_set(follow, now_ms + READ_RETRY_MS);
		return;
	}
	change_report(follow);
	follow->touched = false;
	schedule_update(follow);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	turn(context);
}

static void neighbour_add(struct nl_object *object, void *context)
{
	struct network_follow *follow = context;

	if (netlink_read_object(&follow->network, object) < 0)
		follow->read_neighbours = true;
}

static void neighbour_remove(struct nl_object *object, void *context)
{
	struct network_follow *follow = context;

	netlink_forget_neighbour(&follow->network, object);
}

static int event_message(struct nl_msg *message, void *context)
{
	struct network_follow *follow = context;

	switch (nlmsg_hdr(message)->nlmsg_type) {
	case RTM_NEWNEIGH:
		(void)nl_msg_parse(message, neighbour_add, follow);
		break;
	case RTM_DELNEIGH:
		(void)nl_msg_parse(message, neighbour_remove, follow);
		break;
	default:
		follow->read_links = true;
	}
	follow->touched = true;
	return NL_OK;
}

static void on_events(evutil_socket_t fd, short what, void *context)
{
	struct network_follow *follow = context;
	int result;

	/* Until there is nothing left (-NLE_AGAIN): all of it is one change. */
	do {
		result = nl_recvmsgs_default(follow->events);
		if (result < 0 && result != -NLE_AGAIN && result != -NLE_INTR) {
			/* ENOBUFS, which libnl calls -NLE_NOMEM, or a message it could not make out. */
			follow->counters.overruns++;
			follow->read_links = true;
			follow->read_neighbours = true;
		}
	} while (result != -NLE_AGAIN && result != -NLE_BAD_SOCK);
	turn(follow);
}

static int events_open(struct network_follow *follow, struct error *error)
{
	static const int groups[] = {RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
				     RTNLGRP_IPV6_ROUTE, RTNLGRP_NEXTHOP,     RTNLGRP_NEIGH};
	int result;

	follow->events = nl_socket_alloc();
	if (!follow->events)
		return error_set(error, ENOMEM, "follow the network: out of memory");
	nl_socket_disable_seq_check(follow->events);
	nl_socket_modify_cb(follow->events, NL_CB_VALID, NL_CB_CUSTOM, event_message, follow);
	result = nl_connect(follow->events, NETLINK_ROUTE);
	if (result < 0)
		return nl_failed(error, result, "open a netlink socket");
	(void)nl_socket_set_buffer_size(follow->events, EVENT_BUFFER_BYTES, 0);
	(void)nl_socket_set_nonblocking(follow->events);
	for (size_t i = 0; i < array_length(groups); i++) {
		result = nl_socket_add_membership(follow->events, groups[i]);
		/* Kernels before 5.3 have no next hop objects, and no group for them. */
		if (result < 0 && groups[i] != RTNLGRP_NEXTHOP)
			return nl_failed(error, result, "subscribe to network changes");
	}
	return 0;
}

static int commands_open(struct network_follow *follow, struct error *error)
{
	int result;

	follow->commands = nl_socket_alloc();
	if (!follow->commands)
		return error_set(error, ENOMEM, "follow the network: out of memory");
	result = nl_connect(follow->commands, NETLINK_ROUTE);
	return result < 0 ? nl_failed(error, result, "open a netlink socket") : 0;
}

static int loop_join(struct network_follow *follow, struct error *error)
{
	follow->timer = evtimer_new(follow->base, on_timer, follow);
	follow->events_ready = event_new(follow->base, nl_socket_get_fd(follow->events), EV_READ | EV_PERSIST, on_events,
					 follow);
	if (!follow->timer || !follow->events_ready || event_add(follow->events_ready, NULL) < 0)
		return error_set(error, ENOMEM, "follow the network: out of memory");
	return 0;
}

/* Subscribed first and read afterwards, so that no change falls between. */
static int follow_start(struct network_follow *follow, struct error *error)
{
	int result = events_open(follow, error);

	if (result == 0)
		result = commands_open(follow, error);
	if (result < 0)
		return result;
	follow->read_links = true;
	follow->read_neighbours = true;
	result = network_read(follow);
	if (result < 0)
		return nl_failed(error, result, "read links, routes and neighbours");
	if (network_copy(&follow->reported, &follow->network) < 0)
		return error_set(error, ENOMEM, "follow the network: out of memory");
	follow->touched = false;
	return loop_join(follow, error);
}

int network_follow_new(struct event_base *base, const struct clock *clock, network_follow_changed changed, void *context,
		       struct network_follow **ret_follow, struct error *error)
{
	struct network_follow *follow = calloc(1, sizeof(*follow));
	int result;

	if (!follow)
		return error_set(error, ENOMEM, "follow the network: out of memory");
	follow->base = base;
	follow->clock = clock;
	follow->changed = changed;
	follow->context = context;
	result = follow_start(follow, error);
	if (result < 0) {
		network_follow_free(follow);
		return result;
	}
	*ret_follow = follow;
	return 0;
}

void network_follow_free(struct network_follow *follow)
{
	if (!follow)
		return;
	if (follow->events_ready)
		event_free(follow->events_ready);
	if (follow->timer)
		event_free(follow->timer);
	nl_socket_free(follow->events);
	nl_socket_free(follow->commands);
	network_done(&follow->network);
	network_done(&follow->reported);
	probe_schedule_done(&follow->schedule);
	free(follow->destinations);
	free(follow);
}

const struct network *network_follow_get(const struct network_follow *follow)
{
	return &follow->network;
}

const struct network_follow_counters *network_follow_count(const struct network_follow *follow)
{
	return &follow->counters;
}

int network_follow_want(struct network_follow *follow, const struct address *destinations, size_t count)
{
	struct address *copy = calloc(count ? count : 1, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	if (count)
		memcpy(copy, destinations, count * sizeof(*copy));
	free(follow->destinations);
	follow->destinations = copy;
	follow->destination_count = count;
	schedule_update(follow);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragments that the packet program held because they came before their first one: sent on by hand when that one came, or
 * given up after a second. What a sender may have held is bounded by the slots, and so is the work here.
 */
#include <net/ethernet.h>
#include <netpacket/packet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/lib/log.h"
#include "ctrl/daemon/daemon.h"
#include "edge/edge_hold.h"

#define LATE_INTERVAL_MS 250

static void frame_send(struct daemon *daemon, const struct edge_released *released)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET, .sll_ifindex = (int)released->decision.ifindex, .sll_halen = ETH_ALEN};

	memcpy(to.sll_addr, released->bytes, ETH_ALEN);
	memcpy(&to.sll_protocol, released->bytes + 12, sizeof(to.sll_protocol));
	if (sendto(daemon->fragment_fd, released->bytes, released->length, MSG_DONTWAIT, (const struct sockaddr *)&to,
		   sizeof(to)) == (ssize_t)released->length) {
		daemon->fragments_sent++;
		return;
	}
	daemon->fragments_failed++;
	log_debug("a held fragment could not be sent by interface %u: %s", released->decision.ifindex, strerror(errno));
}

void daemon_fragments_release(struct daemon *daemon)
{
	const struct timeval late = {.tv_usec = LATE_INTERVAL_MS * 1000};
	const struct edge_tables *tables = programmer_tables(daemon->programmer);
	struct edge_released released;

	if (daemon->fragment_fd < 0)
		return;
	while (edge_hold_next(tables, daemon->programmer->own_counters, programmer_epoch(daemon->programmer),
			      programmer_now_ms(daemon->programmer), &released)) {
		if (released.decision.verdict != VERDICT_DROP)
			frame_send(daemon, &released);
	}
	if (edge_hold_count(tables) && !evtimer_pending(daemon->fragment_event, NULL))
		evtimer_add(daemon->fragment_event, &late);
}

static void on_late(evutil_socket_t fd, short what, void *context)
{
	daemon_fragments_release(context);
}

int daemon_fragments_start(struct daemon *daemon, struct error *error)
{
	if (!daemon->programmer->own_counters) /* an engine that sends them itself */
		return 0;
	daemon->fragment_event = evtimer_new(daemon->base, on_late, daemon);
	/* protocol 0: it receives nothing */
	daemon->fragment_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (!daemon->fragment_event || daemon->fragment_fd < 0)
		return error_set(error, errno, "opening a packet socket for held fragments: %s", strerror(errno));
	daemon_fragments_release(daemon); /* of the daemon before */
	return 0;
}

void daemon_fragments_stop(struct daemon *daemon)
{
	if (daemon->fragment_event)
		event_free(daemon->fragment_event);
	if (daemon->fragment_fd >= 0)
		close(daemon->fragment_fd);
}

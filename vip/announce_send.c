/* SPDX-License-Identifier: Apache-2.0 */
#include "vip/announce_send.h"

#include <errno.h>
#include <event2/event.h>
#include <net/ethernet.h>
#include <netpacket/packet.h>
#include <string.h>
#include <sys/socket.h>

#include "base/lib/address_text.h"
#include "base/lib/log.h"
#include "base/packet/wire.h"
#include "vip/membership.h"

/* A thousand virtual IPs may arrive at once: the NIC's queue, and the neighbours, get them 64 a millisecond. */
#define BURST 64
#define BURST_PAUSE_MS 1

struct announce {
	const struct clock *clock;
	struct event *timer;
	int fd;
	struct announce_schedule schedule;
	struct membership_set memberships;
	struct announce_counters counters;
};

static void frame_send(struct announce *announce, const struct announcement *announcement, const uint8_t *frame,
		       size_t length)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET, .sll_ifindex = (int)announcement->ifindex, .sll_halen = ETH_ALEN};
	char text[ADDRESS_TEXT_SIZE];

	memcpy(to.sll_addr, frame, ETH_ALEN);
	memcpy(&to.sll_protocol, frame + 12, sizeof(to.sll_protocol));
	if (sendto(announce->fd, frame, length, 0, (const struct sockaddr *)&to, sizeof(to)) == (ssize_t)length) {
		announce->counters.sent++;
		return;
	}
	announce->counters.failed++;
	log_warning("announce %s on interface %u: %s", address_format(&announcement->vip, text), announcement->ifindex,
		    strerror(errno));
}

static void announcement_send(struct announce *announce, const struct announcement *announcement)
{
	static const uint16_t operations[] = {ARP_REQUEST, ARP_REPLY};
	uint8_t frame[ANNOUNCE_FRAME_SIZE];

	if (!address_is_ipv4(&announcement->vip)) {
		frame_send(announce, announcement, frame, announce_na_build(frame, announcement));
		return;
	}
	for (size_t i = 0; i < array_length(operations); i++)
		frame_send(announce, announcement, frame, announce_arp_build(frame, announcement, operations[i]));
}

static void timer_set(struct announce *announce, uint64_t now_ms, bool paused)
{
	uint64_t due_ms = announce_schedule_due_ms(&announce->schedule);
	uint64_t wait_ms = paused ? BURST_PAUSE_MS : due_ms > now_ms ? due_ms - now_ms : 0;
	struct timeval wait = {.tv_sec = (time_t)(wait_ms / 1000), .tv_usec = (suseconds_t)(wait_ms % 1000 * 1000)};

	if (due_ms == ANNOUNCE_NEVER)
		evtimer_del(announce->timer);
	else
		evtimer_add(announce->timer, &wait);
}

static void due_send(struct announce *announce)
{
	uint64_t now_ms = clock_now_ms(announce->clock);
	struct announcement announcement;
	int sent = 0;

	while (sent < BURST && announce_schedule_next(&announce->schedule, now_ms, &announcement)) {
		announcement_send(announce, &announcement);
		sent++;
	}
	timer_set(announce, now_ms, sent == BURST);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	due_send(context);
}

int announce_new(struct event_base *base, const struct clock *clock, uint32_t refresh_ms, struct announce **ret_announce,
		 struct error *error)
{
	struct announce *announce = calloc(1, sizeof(*announce));
	int code;

	if (!announce)
		return error_set(error, ENOMEM, "announce virtual IPs: out of memory");
	announce->clock = clock;
	announce->schedule.refresh_ms = refresh_ms;
	announce->timer = evtimer_new(base, on_timer, announce);
	/* Protocol 0: it sends, and receives nothing. */
	announce->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	code = announce->fd < 0 ? errno : ENOMEM;
	if (announce->fd < 0 || !announce->timer) {
		announce_free(announce);
		return error_set(error, code, "announce virtual IPs: open a packet socket: %s", strerror(code));
	}
	*ret_announce = announce;
	return 0;
}

void announce_free(struct announce *announce)
{
	if (!announce)
		return;
	if (announce->timer)
		event_free(announce->timer);
	closep(&announce->fd);
	announce_schedule_done(&announce->schedule);
	membership_set_done(&announce->memberships);
	free(announce);
}

int announce_set(struct announce *announce, const struct announcement *wanted, size_t count)
{
	int result = membership_set_update(&announce->memberships, wanted, count);

	if (result == 0)
		result = announce_schedule_set(&announce->schedule, wanted, count, clock_now_ms(announce->clock));
	if (result == 0)
		due_send(announce);
	return result;
}

const struct announce_counters *announce_count(const struct announce *announce)
{
	return &announce->counters;
}

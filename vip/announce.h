/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling the LAN that a virtual IP is here now: gratuitous ARP and unsolicited neighbour advertisements. Pure: builders of
 * the frames, and the schedule of when to send them; announce_send.h puts them on the wire.
 *
 * IPv4: as a request and as a reply each time, since switches and hosts differ in which of the two they heed (RFC 5227
 * section 3 names the request). At 0, 0.1, 1 and 3 seconds: hosts ignore a change that follows another within a second
 * (Linux: locktime), so the later ones are needed as much as the first.
 * IPv6: at 0, 1 and 3 seconds. RFC 4861 section 7.2.6: "MAY send up to MAX_NEIGHBOR_ADVERTISEMENT [3] unsolicited Neighbor
 * Advertisement messages", which "MUST be separated by at least RetransTimer [1] seconds".
 */
#pragma once

#include "base/lib/cleanup.h"
#include "base/packet/address.h"

#define ANNOUNCE_FRAME_SIZE 96 /* room for the longest frame */
#define ANNOUNCE_NEVER UINT64_MAX

/* A virtual IP on an interface. */
struct announcement {
	struct address vip;
	uint32_t ifindex; /* where the frames leave */
	uint8_t mac[6];   /* the answer to "who has `vip`" */
	/* Tag to put into the frames; 0 for none, also where `ifindex` is a VLAN link, whose frames the kernel tags. */
	uint16_t vlan_id;
};

/* Length in bytes. `vip` must be IPv4; `operation` is ARP_REQUEST or ARP_REPLY (base/packet/wire.h). */
size_t announce_arp_build(uint8_t frame[static ANNOUNCE_FRAME_SIZE], const struct announcement *announcement,
			  uint16_t operation);
/* `vip` must be IPv6. */
size_t announce_na_build(uint8_t frame[static ANNOUNCE_FRAME_SIZE], const struct announcement *announcement);

/* ff02::1:ffXX:XXXX (RFC 4291 section 2.7.1): where neighbours ask for `vip`. */
struct address announce_solicited_node(const struct address *vip);

struct announce_entry {
	struct announcement announcement;
	unsigned int sent; /* times */
	uint64_t due_ms;
};

/* All zero is an empty schedule without refresh. */
struct announce_schedule {
	struct announce_entry *entries;
	size_t count;
	uint32_t refresh_ms; /* after the first few announcements, again each so often; 0: not */
};

void announce_schedule_done(struct announce_schedule *schedule);

/*
 * Replaces the set of what is here. What is new, or has another MAC address, is announced from `now_ms` on; what stays goes
 * on as it was; what left is silent. To announce again (a link came back), leave it out once. 0 or -ENOMEM (nothing changed).
 */
must_check int announce_schedule_set(struct announce_schedule *schedule, const struct announcement *wanted, size_t count,
				     uint64_t now_ms);

/* The next announcement that is due, and counts it as sent. False when there is none. */
bool announce_schedule_next(struct announce_schedule *schedule, uint64_t now_ms, struct announcement *ret_announcement);

/* When announce_schedule_next() will have one; ANNOUNCE_NEVER. */
uint64_t announce_schedule_due_ms(const struct announce_schedule *schedule);

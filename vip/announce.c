/* SPDX-License-Identifier: Apache-2.0 */
#include "vip/announce.h"

#include <errno.h>
#include <string.h>

#include "base/packet/checksum.h"
#include "base/packet/wire.h"

#define ARP_HARDWARE_ETHERNET 1
#define ETHERNET_MIN_SIZE 60 /* without the frame check sequence */
#define ND_HOP_LIMIT 255     /* RFC 4861 section 7.1.2: anything else was forwarded, and is ignored */

static const uint32_t arp_waits_ms[] = {100, 900, 2000};
static const uint32_t na_waits_ms[] = {1000, 2000};

static uint8_t *put(uint8_t *at, const void *bytes, size_t length)
{
	memcpy(at, bytes, length);
	return at + length;
}

static uint8_t *ethernet_put(uint8_t *frame, const uint8_t destination[6], const struct announcement *announcement,
			     uint16_t ethertype)
{
	struct vlan_tag tag = {.control = be16_from(announcement->vlan_id), .ethertype = be16_from(ethertype)};
	struct ethernet_header header = {.ethertype =
						 be16_from(announcement->vlan_id ? ETHERTYPE_VLAN : ethertype)};

	memcpy(header.destination, destination, 6);
	memcpy(header.source, announcement->mac, 6);
	frame = put(frame, &header, sizeof(header));
	return announcement->vlan_id ? put(frame, &tag, sizeof(tag)) : frame;
}

size_t announce_arp_build(uint8_t frame[static ANNOUNCE_FRAME_SIZE], const struct announcement *announcement,
			  uint16_t operation)
{
	static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct be32 vip = {address_ipv4(&announcement->vip)};
	struct arp_packet arp = {.hardware_type = be16_from(ARP_HARDWARE_ETHERNET),
				 .protocol_type = be16_from(ETHERTYPE_IPV4),
				 .hardware_length = 6,
				 .protocol_length = 4,
				 .operation = be16_from(operation),
				 .sender_ip = vip,
				 .target_ip = vip};
	size_t length;

	memcpy(arp.sender_mac, announcement->mac, 6);
	/* RFC 5227 section 3 leaves a request's target zero; in a reply it is the receiver: everybody. */
	if (operation == ARP_REPLY)
		memcpy(arp.target_mac, everybody, 6);
	memset(frame, 0, ANNOUNCE_FRAME_SIZE);
	length = (size_t)(put(ethernet_put(frame, everybody, announcement, ETHERTYPE_ARP), &arp, sizeof(arp)) - frame);
	return length < ETHERNET_MIN_SIZE ? ETHERNET_MIN_SIZE : length;
}

struct na_packet {
	struct ipv6_header ip;
	struct nd_message message;
	struct nd_link_option option;
} PACKET_WIRE;

#define NA_PAYLOAD_SIZE (sizeof(struct nd_message) + sizeof(struct nd_link_option))

/* RFC 4443 section 2.3: over the pseudo-header (addresses, length, protocol) and the message. */
static uint16_t na_checksum(const struct na_packet *packet)
{
	uint64_t sum = BE16(NA_PAYLOAD_SIZE) + BE16(PROTOCOL_ICMPV6);
	uint16_t words[(sizeof(*packet) - offsetof(struct na_packet, ip.source)) / 2];

	memcpy(words, packet->ip.source, sizeof(words));
	for (size_t i = 0; i < array_length(words); i++)
		sum += words[i];
	return (uint16_t)~checksum_fold(sum);
}

size_t announce_na_build(uint8_t frame[static ANNOUNCE_FRAME_SIZE], const struct announcement *announcement)
{
	static const uint8_t all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
	static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};
	struct na_packet packet = {
		.ip = {.version_class_label = be32_from(6u << 28),
		       .payload_length = be16_from(NA_PAYLOAD_SIZE),
		       .next_header = PROTOCOL_ICMPV6,
		       .hop_limit = ND_HOP_LIMIT},
		.message = {.type = ICMPV6_NEIGHBOUR_ADVERTISEMENT, .flags = be32_from(ND_FLAG_OVERRIDE)},
		.option = {.type = ND_OPTION_TARGET_LINK_ADDRESS, .length = 1},
	};

	memcpy(packet.ip.source, &announcement->vip, 16);
	memcpy(packet.ip.destination, all_nodes, 16);
	memcpy(packet.message.target, &announcement->vip, 16);
	memcpy(packet.option.mac, announcement->mac, 6);
	packet.message.checksum = na_checksum(&packet);
	memset(frame, 0, ANNOUNCE_FRAME_SIZE);
	return (size_t)(put(ethernet_put(frame, all_nodes_mac, announcement, ETHERTYPE_IPV6), &packet, sizeof(packet)) -
			frame);
}

struct address announce_solicited_node(const struct address *vip)
{
	uint8_t group[16] = {0xff, 0x02, [11] = 1, [12] = 0xff};
	struct address address;

	memcpy(group + 13, (const uint8_t *)vip + 13, 3);
	memcpy(&address, group, sizeof(address));
	return address;
}

void announce_schedule_done(struct announce_schedule *schedule)
{
	free(schedule->entries);
	*schedule = (struct announce_schedule){.refresh_ms = schedule->refresh_ms};
}

static bool announcement_equal(const struct announcement *a, const struct announcement *b)
{
	return address_equal(&a->vip, &b->vip) && a->ifindex == b->ifindex && a->vlan_id == b->vlan_id &&
	       memcmp(a->mac, b->mac, sizeof(a->mac)) == 0;
}

static const struct announce_entry *entry_find(const struct announce_entry *entries, size_t count,
					       const struct announcement *announcement)
{
	for (size_t i = 0; i < count; i++)
		if (announcement_equal(&entries[i].announcement, announcement))
			return &entries[i];
	return NULL;
}

int announce_schedule_set(struct announce_schedule *schedule, const struct announcement *wanted, size_t count,
			  uint64_t now_ms)
{
	struct announce_entry *entries = calloc(count ? count : 1, sizeof(*entries));
	size_t entry_count = 0;

	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const struct announce_entry *former = entry_find(schedule->entries, schedule->count, &wanted[i]);

		if (entry_find(entries, entry_count, &wanted[i]))
			continue;
		entries[entry_count++] =
			former ? *former : (struct announce_entry){.announcement = wanted[i], .due_ms = now_ms};
	}
	free(schedule->entries);
	schedule->entries = entries;
	schedule->count = entry_count;
	return 0;
}

/* After `sent` announcements; ANNOUNCE_NEVER when they were enough. */
static uint64_t wait_ms(const struct announce_schedule *schedule, const struct announce_entry *entry)
{
	bool ipv4 = address_is_ipv4(&entry->announcement.vip);
	const uint32_t *waits_ms = ipv4 ? arp_waits_ms : na_waits_ms;
	size_t count = ipv4 ? array_length(arp_waits_ms) : array_length(na_waits_ms);

	if (entry->sent <= count)
		return waits_ms[entry->sent - 1];
	return schedule->refresh_ms ? schedule->refresh_ms : ANNOUNCE_NEVER;
}

bool announce_schedule_next(struct announce_schedule *schedule, uint64_t now_ms, struct announcement *ret_announcement)
{
	for (size_t i = 0; i < schedule->count; i++) {
		struct announce_entry *entry = &schedule->entries[i];
		uint64_t wait;

		if (entry->due_ms > now_ms)
			continue;
		entry->sent++;
		wait = wait_ms(schedule, entry);
		entry->due_ms = wait == ANNOUNCE_NEVER ? ANNOUNCE_NEVER : now_ms + wait;
		*ret_announcement = entry->announcement;
		return true;
	}
	return false;
}

uint64_t announce_schedule_due_ms(const struct announce_schedule *schedule)
{
	uint64_t earliest_ms = ANNOUNCE_NEVER;

	for (size_t i = 0; i < schedule->count; i++)
		if (schedule->entries[i].due_ms < earliest_ms)
			earliest_ms = schedule->entries[i].due_ms;
	return earliest_ms;
}

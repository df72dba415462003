/* SPDX-License-Identifier: Apache-2.0 */
#include "vip/membership.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <string.h>
#include <sys/socket.h>

#include "base/lib/address_text.h"
#include "base/lib/log.h"

/* A socket that does nothing but hold the membership, or -errno. */
static int group_join(const struct address *group, uint32_t ifindex)
{
	struct ipv6_mreq request = {.ipv6mr_interface = ifindex};
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), code;

	memcpy(&request.ipv6mr_multiaddr, group, sizeof(request.ipv6mr_multiaddr));
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &request, sizeof(request)) == 0)
		return fd;
	code = -errno;
	close(fd);
	return code;
}

/* As above, for the NIC's filter alone. */
static int filter_open(const struct address *group, uint32_t ifindex)
{
	struct packet_mreq request = {.mr_ifindex = (int)ifindex,
				      .mr_type = PACKET_MR_MULTICAST,
				      .mr_alen = 6,
				      .mr_address = {0x33, 0x33}};
	/* Protocol 0: it receives nothing. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), code;

	memcpy(request.mr_address + 2, (const uint8_t *)group + 12, 4); /* RFC 2464 section 7 */
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof(request)) == 0)
		return fd;
	code = -errno;
	close(fd);
	return code;
}

static int membership_open(const struct address *group, uint32_t ifindex)
{
	char text[ADDRESS_TEXT_SIZE];
	int fd = group_join(group, ifindex), filter;

	if (fd >= 0)
		return fd;
	filter = filter_open(group, ifindex);
	log_warning("join %s on interface %u: %s%s", address_format(group, text), ifindex, strerror(-fd),
		    filter >= 0 ? "; only the NIC's filter is open, a switch with MLD snooping will not know" : "");
	return filter >= 0 ? filter : -1;
}

static struct membership *member_find(struct membership *members, size_t count, const struct address *group,
				      uint32_t ifindex)
{
	for (size_t i = 0; i < count; i++)
		if (members[i].ifindex == ifindex && address_equal(&members[i].group, group))
			return &members[i];
	return NULL;
}

static void members_leave(struct membership *members, size_t count)
{
	for (size_t i = 0; i < count; i++)
		closep(&members[i].fd);
	free(members);
}

void membership_set_done(struct membership_set *set)
{
	members_leave(set->members, set->count);
	*set = (struct membership_set){0};
}

int membership_set_update(struct membership_set *set, const struct announcement *wanted, size_t count)
{
	struct membership *members = calloc(count ? count : 1, sizeof(*members));
	size_t member_count = 0;

	if (!members)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct address group = announce_solicited_node(&wanted[i].vip);
		struct membership *former;

		if (address_is_ipv4(&wanted[i].vip) ||
		    member_find(members, member_count, &group, wanted[i].ifindex))
			continue;
		members[member_count] = (struct membership){.group = group, .ifindex = wanted[i].ifindex, .fd = -1};
		former = member_find(set->members, set->count, &group, wanted[i].ifindex);
		if (former) {
			members[member_count].fd = former->fd;
			former->fd = -1;
		}
		member_count++;
	}
	members_leave(set->members, set->count);
	*set = (struct membership_set){.members = members, .count = member_count};
	for (size_t i = 0; i < member_count; i++)
		if (members[i].fd < 0)
			members[i].fd = membership_open(&members[i].group, members[i].ifindex);
	return 0;
}

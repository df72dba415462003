/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/socket.h>

#include "ctrl/api/api_internal.h"

static bool uid_allowed(const struct api *api, uid_t uid)
{
	for (size_t i = 0; i < api->options.allowed_uid_count; i++)
		if (api->allowed_uids[i] == uid)
			return true;
	return uid == 0;
}

static bool gid_allowed(const struct api *api, gid_t gid)
{
	for (size_t i = 0; i < api->options.allowed_gid_count; i++)
		if (api->allowed_gids[i] == gid)
			return true;
	return false;
}

/* The supplementary groups, which SO_PEERCRED does not tell. */
static bool peer_group_allowed(const struct api *api, int fd)
{
	gid_t groups[256];
	socklen_t length = sizeof(groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &length) < 0)
		return false;
	for (size_t i = 0; i < length / sizeof(groups[0]); i++)
		if (gid_allowed(api, groups[i]))
			return true;
	return false;
}

unsigned int peer_access(const struct api *api, int fd)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
		return ACCESS_NONE;
	if (uid_allowed(api, peer.uid) || gid_allowed(api, peer.gid) || peer_group_allowed(api, fd))
		return ACCESS_WRITE;
	return api->options.others_may_read ? ACCESS_READ : ACCESS_NONE;
}

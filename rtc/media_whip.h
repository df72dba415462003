/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's half of WHIP (RFC 9725): one session at an endpoint. Nothing blocks. One thread: the one that runs the event base.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "rtc/media_endpoint.h"

struct event_base;
struct media_whip;

#define MEDIA_WHIP_PATH_SIZE 1025
#define MEDIA_WHIP_HOST_SIZE 256

struct media_whip_config {
	struct event_base *base;
	struct media_endpoint endpoint; /* TCP */
	const char *host;               /* of the header Host; NULL or "": address and port. Borrowed, as the two below. */
	const char *path;               /* "/whip" */
	const char *token;              /* of "Authorization: Bearer"; NULL: none */
	uint32_t timeout_ms;            /* for each request */
	/* Not from within media_whip_new(). `body` is borrowed; `error` is NULL when all went well, and `body` is NULL otherwise. */
	void (*answered)(void *context, const char *body, size_t length, const char *error);
	void *context;
};

/* NULL: out of memory. */
struct media_whip *media_whip_new(const struct media_whip_config *config);
/* Forgets what is under way. NULL is fine. Not from within `answered`. */
void media_whip_free(struct media_whip *whip);

/* One at a time; each ends in `answered`. */
void media_whip_post(struct media_whip *whip, const char *offer);
/* An ICE restart; the session must be there. */
void media_whip_restart(struct media_whip *whip, const char *fragment);
/* Ends the session, if there is one. */
void media_whip_delete(struct media_whip *whip);

/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions as the API shows them (api.h, SESSION). Pure; one thread. */
#pragma once

#include <jansson.h>

#include "ctrl/session/book.h"
#include "ctrl/session/watch.h"

struct session_view {
	const struct rtc_session_info *info;  /* NULL: registered, and in no table */
	const struct session_entry *entry;    /* NULL: not registered */
	const char *namespace_name, *service; /* of the service */
	const char *vip;                      /* "192.0.2.10:3478"; NULL without `info` */
	const char *backend_state;            /* "up", "draining" …; NULL: not known */
	enum session_direction silent;        /* SESSION_DIRECTIONS: none */
	uint64_t now_unix_ms;
};

json_t *session_view_json(const struct session_view *view);

/* "@17": how a session is named that has no fragment to name it by. 0: it is none. */
uint32_t session_id_parse(const char *text);

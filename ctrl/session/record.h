/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A registered user fragment: whose sessions it is for and where they go, as a media server says it to the API and as it is kept in the
 * store under SESSION_RECORDS. Pure; one thread.
 */
#pragma once

#include <jansson.h>

#include "base/lib/address_text.h"
#include "base/lib/error.h"
#include "rtc/srtp_key.h"

#define SESSION_RECORDS "/selvage/sessions/" /* + NAMESPACE/SERVICE/UFRAG, in which "_" stands for "/" */

#define SESSION_AGENTS_MAX 2 /* one of each family */
#define SESSION_EXPIRY_DEFAULT_S 3600u
#define SESSION_EXPIRY_MAX_S (30u * 86400)

struct session_agent {
	struct address address;
	uint16_t port; /* host order */
};

/* Strings are the record's own; session_record_done() frees them. */
struct session_record {
	char *service; /* "namespace/name" */
	char *ufrag;
	struct session_agent agents[SESSION_AGENTS_MAX];
	size_t agent_count;
	char *restarts;      /* the fragment of the session that goes on with this one (an ICE restart), or NULL */
	char *password;      /* the agent's, that checks by the fragment are signed with, or NULL: not told */
	struct srtp_key srtp; /* the client's, that its media are verified with when its address changes; profile 0: not told */
	uint64_t expires_ms; /* Unix time; 0: never */
};

void session_record_done(struct session_record *record);

/*
 * What a media server sends: {"backend": "10.0.0.21:7000", "expiresInSeconds": 600, "restarts": "OLD", "password": "...",
 * "srtp": {"profile": "SRTP_AES128_CM_HMAC_SHA1_80", "key": "..."}}; "backends" takes one of each family; expiry 0: never. `service` and `ufrag` come from the path. 0, or -EINVAL with what is wrong.
 */
must_check int session_record_parse(const char *service, const char *ufrag, const json_t *body, uint64_t now_unix_ms,
				    struct session_record *ret_record, struct error *error);

/* "10.0.0.21:7000", or with a comma and one of the other family behind it. */
must_check int session_agents_parse(const char *text, struct session_agent ret_agents[static SESSION_AGENTS_MAX],
				    size_t *ret_count, struct error *error);

/* The store's key and value; to be freed by the caller. */
char *session_record_key(const char *service, const char *ufrag);
char *session_record_value(const struct session_record *record);
/* Back from the store; -EINVAL: damaged. */
must_check int session_record_read(const char *key, const char *value, struct session_record *ret_record, struct error *error);

/* A fragment in a path: "_" and "-" for "/" and "+", which have meanings there. In place. */
void session_ufrag_from_path(char *text);
void session_ufrag_to_path(char *text);

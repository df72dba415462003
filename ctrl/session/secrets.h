/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The site's secrets of encoded user fragments, as they are kept in the store: the present one and the one before it
 * (docs/wire/ufrag.md). Pure: randomness and time come in.
 */
#pragma once

#include "base/lib/cleanup.h"
#include "rtc/ufrag.h"

#define SESSION_SECRETS "/selvage/ufrag-secrets"
#define SESSION_SECRETS_MAX 2u

struct session_secrets {
	struct rtc_ufrag_secret items[SESSION_SECRETS_MAX]; /* the newest first */
	size_t count;
	uint64_t made_ms; /* Unix time of the newest */
};

/* "NUMBER KEY[,NUMBER KEY] UNIX-MS", keys in hexadecimal; to be freed by the caller. */
char *session_secrets_format(const struct session_secrets *secrets);
must_check int session_secrets_parse(const char *text, struct session_secrets *ret_secrets, struct error *error);

/* Whether the newest has been in use for `life_hours`; 0: never. A clock that was set back makes nothing due. */
bool session_secrets_due(const struct session_secrets *secrets, uint32_t life_hours, uint64_t now_unix_ms);

/* The next ones: `fresh` becomes the present secret, the one that was stays as the one before. Of none, the first. */
struct session_secrets session_secrets_rotate(const struct session_secrets *secrets, const struct siphash_key *fresh,
					      uint64_t now_unix_ms);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STUN Binding messages (RFC 8489) with what ICE adds to them (RFC 8445 section 16): read, verified, written. Foreign bytes are
 * read here; nothing in them is believed. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "rtc/media_endpoint.h"
#include "rtc/stun_wire.h"

#define MEDIA_STUN_TRANSACTION_SIZE 12
#define MEDIA_STUN_SIZE 1200 /* the longest that is read or written */

enum media_stun_type {
	MEDIA_STUN_REQUEST = STUN_BINDING_REQUEST,
	MEDIA_STUN_INDICATION = STUN_BINDING_INDICATION,
	MEDIA_STUN_SUCCESS = STUN_BINDING_SUCCESS,
	MEDIA_STUN_ERROR = STUN_BINDING_ERROR,
};

/* The role that the sender of a request claims (RFC 8445 section 7.1.3). */
enum media_stun_role { MEDIA_STUN_NO_ROLE, MEDIA_STUN_CONTROLLING, MEDIA_STUN_CONTROLLED };

#define MEDIA_STUN_UNKNOWN_MAX 8

struct media_stun {
	uint16_t type; /* one of media_stun_type */
	uint8_t transaction[MEDIA_STUN_TRANSACTION_SIZE];
	const char *username; /* into the bytes that were read, without a terminating zero; NULL: there is none */
	uint16_t username_length;
	bool use_candidate;
	bool has_mapped;
	enum media_stun_role role;
	uint64_t tie_breaker;
	uint32_t priority;
	struct media_endpoint mapped; /* XOR-MAPPED-ADDRESS */
	uint16_t error_code;          /* 300 to 699; 0: none */
	/* Attributes that must be understood, and are not (RFC 8489 section 6.3). */
	uint16_t unknown[MEDIA_STUN_UNKNOWN_MAX];
	uint8_t unknown_count;
	/* For media_stun_verify(): borrowed from the caller. */
	const uint8_t *bytes;
	uint16_t integrity_offset; /* of MESSAGE-INTEGRITY; 0: there is none */
	bool has_fingerprint;
};

/* Whether this is STUN, among what comes to a port of media (RFC 7983 section 7). */
bool media_stun_is(const uint8_t *bytes, size_t length);

/*
 * -EBADMSG: not a whole Binding message, or FINGERPRINT is wrong. What follows MESSAGE-INTEGRITY and is not FINGERPRINT is
 * ignored (RFC 8489 section 14.5). `ret_message` points into `bytes`.
 */
must_check int media_stun_parse(const uint8_t *bytes, size_t length, struct media_stun *ret_message);

/* Whether MESSAGE-INTEGRITY is there and made with this password (short-term credentials, RFC 8489 section 9.1). */
bool media_stun_verify(const struct media_stun *message, const char *password);

/* The same with any key; for long-term credentials that is MD5(username:realm:password). */
bool media_stun_verify_key(const struct media_stun *message, const void *key, size_t key_length);

/*
 * Writes type, transaction, username, priority, role, USE-CANDIDATE, XOR-MAPPED-ADDRESS, ERROR-CODE, UNKNOWN-ATTRIBUTES as
 * far as they are set, then MESSAGE-INTEGRITY with `password` (NULL: none) and FINGERPRINT. Returns the length; 0 when
 * `size` is too small.
 */
size_t media_stun_write(const struct media_stun *message, const char *password, uint8_t *buffer, size_t size);

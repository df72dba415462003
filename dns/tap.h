/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The query log: dnstap messages (CLIENT_QUERY and CLIENT_RESPONSE) in frame streams, to a file or to a unix socket that
 * somebody like fstrm_capture listens on. A reader that is too slow loses messages, queries lose nothing.
 *
 * One thread for all calls; libfstrm writes in one of its own.
 */
#pragma once

#include <jansson.h>

#include "dns/resolver.h"

struct tap;

struct tap *tap_new(const char *identity);
void tap_free(struct tap *tap);

/* A path of a socket, or of a file, which is made anew. What was open before is closed. */
must_check int tap_open(struct tap *tap, const char *path, struct error *error);
void tap_close(struct tap *tap);
/* For struct resolver_observer; the context is the tap. */
void tap_seen(void *context, const struct dns_request *request, const uint8_t *answer, size_t length);
json_t *tap_json(const struct tap *tap); /* {"path":…,"messages":…,"lost":…} or {"path":null,…} */
/*
 * One Dnstap message in protobuf's form; its length. `ret_bytes` has room for the wire messages and 512 bytes more. Pure; for tests.
 */
struct tap_message {
	const char *identity;
	const struct dns_request *request;
	bool response;
	const uint8_t *wire;
	size_t wire_length;
	uint64_t query_ns, response_ns; /* since 1970 */
};
size_t tap_write(const struct tap_message *message, uint8_t *ret_bytes);

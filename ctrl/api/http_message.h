/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an HTTP/1.1 request (RFC 9112), read strictly: what has two readings is refused, so that nobody can smuggle. Pure.
 * Not handled: chunked request bodies (411 tells the client to send a length), trailers, upgrades.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"

#define HTTP_SEGMENTS_MAX 12
#define HTTP_PAIRS_MAX 64

struct http_pair {
	const char *name, *value;
};

struct http_pairs {
	struct http_pair items[HTTP_PAIRS_MAX];
	size_t count;
};

struct http_request {
	const char *method;
	const char *path;                         /* as sent, without the query */
	const char *segments[HTTP_SEGMENTS_MAX];  /* of the path, decoded; none is empty or holds a slash or control character */
	size_t segment_count;
	struct http_pairs query;   /* decoded */
	struct http_pairs headers; /* names as sent; look them up in any case */
	bool old;                  /* HTTP/1.0 */
	bool keep_alive;
	bool expect_continue;
	size_t content_length; /* 0 when there is none */
	const char *body;      /* content_length bytes and a zero; NULL until it has come */
	char *memory;          /* behind all of the above */
	char *body_memory;
};

/*
 * `text` is everything up to and with the empty line. 0 and the request, or the status to answer with (400, 411, 413, 414, 431,
 * 501, 505) and a sentence.
 */
must_check int http_request_parse(const char *text, size_t length, size_t body_length_max, struct http_request **ret_request,
				  struct error *error);
void http_request_free(struct http_request *request);
void http_request_freep(struct http_request **request);

/* NULL when absent. */
const char *http_request_header(const struct http_request *request, const char *name);
const char *http_request_query(const struct http_request *request, const char *name);
/* "1", "true" and a name without value are true. */
bool http_request_flag(const struct http_request *request, const char *name);
/* Compares the media type without its parameters. */
bool http_request_content_is(const struct http_request *request, const char *media_type);

const char *http_status_text(int status); /* "Not Found" */

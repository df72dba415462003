/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the API share. Inside ctrl/api only. */
#pragma once

#include <sys/queue.h>

#include "ctrl/api/api.h"
#include "ctrl/api/http_server.h"
#include "ctrl/api/registry.h"

/* What a peer may do. */
enum access { ACCESS_NONE, ACCESS_READ, ACCESS_WRITE };

struct write_job;
struct trace_stream;
struct event_stream;

struct api {
	struct event_base *base;
	struct api_options options;
	char *socket_path;
	uid_t *allowed_uids;
	gid_t *allowed_gids;
	dev_t socket_device; /* of the socket that we made, so that only that one is removed */
	ino_t socket_inode;
	struct api_backend backend;
	struct http_server *control, *metrics;
	uint16_t metrics_port;
	size_t references; /* its owner's, and one for each call to the store or the daemon that is not completed */
	bool closed;       /* api_free() was called: the backend is not to be used any more */
	TAILQ_HEAD(write_jobs, write_job) writes; /* the first one is under way */
	LIST_HEAD(trace_streams, trace_stream) traces;
	LIST_HEAD(event_streams, event_stream) events;
	uint64_t requests_total, errors_total, writes_total;
};

struct api *api_get(struct api *api);
void api_put(struct api *api);

/* --- answers (reply.c) ------------------------------------------------------------------------------------------------- */

#define CONTENT_JSON "application/json"
#define CONTENT_OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* Takes over `json`. */
void reply_json(struct http_exchange *exchange, int status, json_t *json);
/* A Status object; `reason` NULL: the one that goes with the status. */
void reply_failure(struct http_exchange *exchange, int status, const char *reason, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* 405 with the methods that the path takes, "GET, HEAD" (RFC 9110 section 15.5.6: the answer MUST have an Allow header). */
void reply_not_allowed(struct http_exchange *exchange, const char *allow);
/* The same from -errno, with the error's text or what errno says. */
void reply_error(struct http_exchange *exchange, int error_status, const struct error *error);
/* 422 (400 when the text could not be read at all), with one cause for each. */
void reply_diagnostics(struct http_exchange *exchange, const struct diagnostics *diagnostics);
void reply_warnings_add(struct http_exchange *exchange, const struct diagnostics *diagnostics);
/* A new Status object of a failure. */
json_t *status_failure(int status, const char *reason, const char *message);
int status_of_errno(int error_status);

/* --- routes ------------------------------------------------------------------------------------------------------------ */

/* Where in the Kubernetes part of the tree a request goes. */
struct object_path {
	const struct object_kind_info *info;
	const char *namespace_name; /* NULL: all namespaces, or a kind without one */
	const char *name;           /* NULL: the collection */
};

/* False when the path names no kind that we have. */
bool object_path_parse(const struct http_request *request, struct object_path *ret_path);

/* /api, /apis, /version …; false when it is none of them. */
bool discovery_handle(struct api *api, struct http_exchange *exchange);
/* /selvage/v1/… */
void verbs_handle(struct api *api, struct http_exchange *exchange);
void objects_get(struct api *api, struct http_exchange *exchange, const struct object_path *path);
void objects_list(struct api *api, struct http_exchange *exchange, const struct object_path *path);
void objects_watch(struct api *api, struct http_exchange *exchange, const struct object_path *path);
void objects_write(struct api *api, struct http_exchange *exchange, const struct object_path *path);
/* 405 */
void objects_refuse(struct http_exchange *exchange, const struct object_path *path);
/* POST /selvage/v1/apply */
void objects_apply(struct api *api, struct http_exchange *exchange);
/* Work that waits for its turn is answered; for api_free(). */
void writes_cancel(struct api *api);

/* sessions.c */
void sessions_list_handle(struct api *api, struct http_exchange *exchange);
void sessions_events_handle(struct api *api, struct http_exchange *exchange);
void sessions_rotate_handle(struct api *api, struct http_exchange *exchange);
void service_sessions_handle(struct api *api, struct http_exchange *exchange);
void session_get_handle(struct api *api, struct http_exchange *exchange);
void session_put_handle(struct api *api, struct http_exchange *exchange);
void session_delete_handle(struct api *api, struct http_exchange *exchange);
void session_ufrags_handle(struct api *api, struct http_exchange *exchange);
struct api_action *api_action_new(struct api *api, struct http_exchange *exchange);

void trace_handle(struct api *api, struct http_exchange *exchange);
/* The metrics text with its end. */
struct evbuffer *metrics_text(struct api *api);
/* Requests of the metrics listener. */
void metrics_handle(void *context, struct http_exchange *exchange);
/* The status page; takes over `status`. */
struct evbuffer *status_page(json_t *status);

/* Peers of the control socket (peer.c). */
unsigned int peer_access(const struct api *api, int fd);

/* SPDX-License-Identifier: Apache-2.0 */
/* A plain, blocking HTTP/1.1 client over the control socket: one request a connection. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/lib/error.h"

struct client_request {
	const char *method, *path;
	const char *content_type; /* NULL without a body */
	const char *body;
	size_t body_length;
};

struct client;

/* Connects, sends and reads the answer's head. 0 or -errno with a sentence. */
int client_open(const char *socket_path, const struct client_request *request, struct client **ret_client, struct error *error);
void client_free(struct client *client);
void client_freep(struct client **client);

int client_status(const struct client *client);
/* The connection, to shut it down from a signal's handler. Borrowed. */
int client_fd(const struct client *client);
/* The rest of the body, with a zero behind it, to be freed by the caller. */
int client_read_all(struct client *client, char **ret_body, size_t *ret_length, struct error *error);
/* The next line without its end, borrowed until the next call; NULL in `ret_line` at the end. */
int client_read_line(struct client *client, char **ret_line, struct error *error);

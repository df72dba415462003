/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/cli/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/lib/cleanup.h"

#define HEAD_LINE_MAX 16384
#define BODY_MAX ((size_t)1 << 30)

struct client {
	FILE *stream;
	int status;
	bool chunked;
	bool has_length;
	size_t remaining; /* of the body, or of the chunk */
	bool ended;
	char *line;
	size_t line_capacity;
};

void client_free(struct client *client)
{
	if (!client)
		return;
	if (client->stream)
		fclose(client->stream);
	free(client->line);
	free(client);
}

void client_freep(struct client **client)
{
	client_free(*client);
}

int client_status(const struct client *client)
{
	return client->status;
}

int client_fd(const struct client *client)
{
	return fileno(client->stream);
}

static int connect_failed(const char *path, int code, struct error *error)
{
	if (code == ENOENT || code == ECONNREFUSED)
		return error_set(error, code, "%s: %s; is selvaged running?", path, strerror(code));
	if (code == EACCES || code == EPERM)
		return error_set(error, code, "%s: %s; run as root, or as a user that the daemon's configuration allows", path,
				 strerror(code));
	return error_set(error, code, "%s: %s", path, strerror(code));
}

static int socket_connect(const char *path, int *ret_fd, struct error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return connect_failed(path, ENAMETOOLONG, error);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return connect_failed(path, errno, error);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int code = errno;

		close(fd);
		return connect_failed(path, code, error);
	}
	*ret_fd = fd;
	return 0;
}

/* What was sent may be answered before all of it is read (403, 413), so a broken pipe is not the last word. */
static void all_send(int fd, const char *data, size_t length)
{
	while (length) {
		ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return;
		data += sent;
		length -= (size_t)sent;
	}
}

static int request_send(int fd, const struct client_request *request)
{
	_cleanup_(freep) char *head = NULL;
	int length = asprintf(&head, "%s %s HTTP/1.1\r\nHost: selvage\r\nConnection: close\r\nAccept: application/json\r\n",
			      request->method, request->path);

	if (length < 0)
		return -ENOMEM;
	all_send(fd, head, (size_t)length);
	if (request->body) {
		char fields[200];

		length = snprintf(fields, sizeof(fields), "Content-Type: %s\r\nContent-Length: %zu\r\n", request->content_type,
				  request->body_length);
		all_send(fd, fields, (size_t)length);
	}
	all_send(fd, "\r\n", 2);
	if (request->body)
		all_send(fd, request->body, request->body_length);
	return 0;
}

static int protocol_error(struct error *error)
{
	return error_set(error, EPROTO, "the answer is not HTTP, or ends too early");
}

/* One line of the head or of the chunk framing, without its end; false at the end or if it is too long. */
static bool frame_line(struct client *client)
{
	ssize_t length = getline(&client->line, &client->line_capacity, client->stream);

	if (length <= 0 || length > HEAD_LINE_MAX || client->line[length - 1] != '\n')
		return false;
	client->line[--length] = '\0';
	if (length && client->line[length - 1] == '\r')
		client->line[--length] = '\0';
	return true;
}

static void header_read(struct client *client, const char *line)
{
	const char *value = strchr(line, ':');

	if (!value)
		return;
	value += 1 + strspn(value + 1, " ");
	if (strncasecmp(line, "Content-Length:", 15) == 0) {
		client->has_length = true;
		client->remaining = strtoull(value, NULL, 10);
	} else if (strncasecmp(line, "Transfer-Encoding:", 18) == 0) {
		client->chunked = strcasecmp(value, "chunked") == 0;
	} else if (strncasecmp(line, "Warning:", 8) == 0) {
		const char *text = strchr(value, '"');

		fprintf(stderr, "selvage: warning: %.*s\n", (int)strcspn(text ? text + 1 : value, "\""), text ? text + 1 : value);
	}
}

static int head_read(struct client *client, struct error *error)
{
	do {
		if (!frame_line(client) || sscanf(client->line, "HTTP/1.%*d %d", &client->status) != 1)
			return protocol_error(error);
		while (frame_line(client) && *client->line)
			header_read(client, client->line);
		if (*client->line)
			return protocol_error(error);
	} while (client->status == 100);
	return 0;
}

int client_open(const char *socket_path, const struct client_request *request, struct client **ret_client, struct error *error)
{
	_cleanup_(client_freep) struct client *client = calloc(1, sizeof(*client));
	int fd = -1, status = socket_connect(socket_path, &fd, error);

	if (status < 0)
		return status;
	if (!client || !(client->stream = fdopen(fd, "r")))
		abort();
	status = request_send(fd, request);
	if (status == 0)
		status = head_read(client, error);
	if (status == 0)
		*ret_client = steal(client);
	return status;
}

/* How many bytes can be read now; 0 at the end. */
static int piece_begin(struct client *client, size_t *ret_length, struct error *error)
{
	if (client->chunked && !client->remaining && !client->ended) {
		char *end;

		if (!frame_line(client))
			return protocol_error(error);
		client->remaining = strtoull(client->line, &end, 16);
		if (end == client->line)
			return protocol_error(error);
		client->ended = client->remaining == 0;
	}
	*ret_length = client->chunked || client->has_length ? client->remaining : BODY_MAX;
	return 0;
}

static int piece_end(struct client *client, struct error *error)
{
	return client->chunked && !client->remaining && !frame_line(client) ? protocol_error(error) : 0;
}

int client_read_all(struct client *client, char **ret_body, size_t *ret_length, struct error *error)
{
	_cleanup_(freep) char *body = NULL;
	size_t used = 0;

	for (;;) {
		char buffer[65536];
		size_t piece = 0, got;
		int status = piece_begin(client, &piece, error);

		if (status < 0)
			return status;
		got = piece ? fread(buffer, 1, piece < sizeof(buffer) ? piece : sizeof(buffer), client->stream) : 0;
		if (piece && !got && (client->chunked || client->has_length))
			return protocol_error(error);
		body = realloc(body, used + got + 1);
		if (!body)
			abort();
		memcpy(body + used, buffer, got);
		used += got;
		body[used] = '\0';
		if (!got)
			break;
		client->remaining -= client->chunked || client->has_length ? got : 0;
		status = piece_end(client, error);
		if (status < 0)
			return status;
	}
	*ret_body = steal(body);
	*ret_length = used;
	return 0;
}

/* Streams come in chunks of whole lines, one each. */
int client_read_line(struct client *client, char **ret_line, struct error *error)
{
	size_t length = 0;
	int status = piece_begin(client, &length, error);

	if (status < 0)
		return status;
	*ret_line = NULL;
	if (!client->chunked || length > BODY_MAX)
		return protocol_error(error);
	if (!length)
		return 0;
	if (client->line_capacity < length + 1) {
		client->line_capacity = length + 1;
		client->line = realloc(client->line, client->line_capacity);
		if (!client->line)
			abort();
	}
	if (fread(client->line, 1, length, client->stream) != length || fgetc(client->stream) != '\r' ||
	    fgetc(client->stream) != '\n')
		return protocol_error(error);
	client->remaining = 0;
	client->line[length] = '\0';
	client->line[strcspn(client->line, "\n")] = '\0';
	*ret_line = client->line;
	return 0;
}

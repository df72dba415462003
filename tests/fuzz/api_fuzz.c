/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: any bytes on the control socket, from a client that may write and then closes its sending half. What comes
 * back is HTTP or nothing, the connection ends, and the server goes on. The store is a real one and keeps what inputs wrote.
 */
#include <assert.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/lib/cleanup.h"
#include "ctrl/api/api.h"
#include "ctrl/store/store_sqlite.h"

#define ROUNDS_MAX 100000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct event_base *base;
static struct api *api;
static char directory[] = "/dev/shm/selvage-fuzz-XXXXXX";
static struct sockaddr_un address = {.sun_family = AF_UNIX};

static json_t *view(void *context)
{
	(void)context;
	return json_pack("[{s:s}]", "a", "b");
}

static json_t *backends(void *context, const char *namespace_name, const char *service)
{
	(void)context, (void)namespace_name, (void)service;
	return NULL;
}

static void metrics(void *context, struct evbuffer *text)
{
	(void)context, (void)text;
}

static json_t *explain(void *context, const struct api_explain_question *question, struct error *error)
{
	unsigned int sum = 0;

	(void)context, (void)error;
	for (size_t i = 0; i < question->length; i++)
		sum += question->bytes[i];
	return json_pack("{s:i}", "sum", (int)sum);
}

static void drain(void *context, const struct api_backend_reference *backend, bool on, struct api_action *action)
{
	(void)context, (void)backend, (void)on;
	api_action_done(action, 0, NULL);
}

static void move(void *context, const struct address *vip, const char *node, struct api_action *action)
{
	(void)context, (void)vip, (void)node;
	api_action_done(action, -ENOENT, NULL);
}

/* In sun_path there is room for the directory and this name. */
static void server_start(void)
{
	struct api_options options = {.socket_path = address.sun_path, .socket_mode = 0600};
	struct store_sqlite_options store_options = {.clock = &clock_system};
	struct api_backend backend = {.status = view, .vips = view, .services = view, .backends = backends, .drops = view, .counters = view,
				      .metrics = metrics, .explain = explain, .backend_drain = drain, .vip_move = move};
	struct error error = {0};

	base = event_base_new();
	store_options.base = base;
	store_options.directory = mkdtemp(directory);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/api.sock", directory);
	if (store_sqlite_open(&store_options, &backend.store, &error) < 0 ||
	    api_new(base, &options, &backend, &api, &error) < 0) {
		fprintf(stderr, "%s\n", error.text);
		abort();
	}
}

/* Sends what can be sent without waiting; the rest of a larger input is left out. */
static int client_open(const uint8_t *data, size_t size)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	(void)!send(fd, data, size, MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char answer[4096], first[9] = "";
	size_t total = 0;
	int fd;

	if (!base)
		server_start();
	fd = client_open(data, size);
	for (int round = 0;; round++) {
		ssize_t got;

		assert(round < ROUNDS_MAX);
		event_base_loop(base, EVLOOP_NONBLOCK);
		got = recv(fd, answer, sizeof(answer), 0);
		if (got < 0 && errno == EAGAIN)
			continue;
		if (got <= 0)
			break;
		for (ssize_t i = 0; i < got && total + (size_t)i < 8; i++)
			first[total + (size_t)i] = answer[i];
		total += (size_t)got;
	}
	assert(total == 0 || strcmp(first, "HTTP/1.1") == 0);
	close(fd);
	event_base_loop(base, EVLOOP_NONBLOCK);
	return 0;
}

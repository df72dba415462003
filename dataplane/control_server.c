/* SPDX-License-Identifier: Apache-2.0 */
/* selvage-dpdk's end of the control channel. What a peer sends is checked whole before anything is done about it. */
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/lib/log.h"
#include "dataplane/dpdk.h"

#define CONNECTIONS_MAX 4u

struct connection {
	int fd; /* -1: free */
	bool greeted; /* said hello: it is the client */
};

struct control_server {
	struct runtime *runtime;
	int epoll_fd;
	struct connection listener;
	struct connection connections[CONNECTIONS_MAX];
	bool taken_over;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
};

static void connection_close(struct control_server *server, struct connection *connection)
{
	if (connection->fd < 0)
		return;
	if (connection->greeted)
		log_info("selvaged is gone; packets go on as they are");
	epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
	close(connection->fd);
	*connection = (struct connection){.fd = -1};
}

/* --- requests: each returns 0 or -errno with a sentence; descriptors that it keeps it takes out of `fds` ---------------------- */

static int hello(struct control_server *server, struct connection *connection, struct channel_message *answer,
		 struct error *error)
{
	struct edge_event stale;

	for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
		if (server->connections[i].greeted && &server->connections[i] != connection)
			return error_set(error, EBUSY, "another selvaged is connected");
	}
	while (recv(server->runtime->events[0], &stale, sizeof(stale), MSG_DONTWAIT) > 0)
		; /* meant for the one before */
	connection->greeted = true;
	answer->workers = server->runtime->workers;
	answer->pid = (uint32_t)getpid();
	log_info("selvaged is connected");
	return 0;
}

static int attach(struct runtime *runtime, uint32_t ifindex, bool wanted, struct channel_message *answer, struct error *error)
{
	struct port *port = runtime_port_find(runtime, ifindex);

	if (!port)
		return error_set(error, ENODEV, "it has no port for this interface; start it with --port NAME=DEVICE");
	if (wanted && !runtime->tables)
		return error_set(error, EAGAIN, "it was given no tables yet");
	if (port->attached != wanted) {
		store_once(port->attached, wanted);
		runtime_quiesce(runtime);
		log_info("%s: %s", port->name, wanted ? "packets go through the packet program" : "packets go to the host");
	}
	snprintf(answer->device, sizeof(answer->device), "%s", port->device);
	return 0;
}

static int statistics(struct runtime *runtime, uint32_t ifindex, struct channel_message *answer, struct error *error)
{
	const struct port *port = runtime_port_find(runtime, ifindex);

	if (!port)
		return error_set(error, ENODEV, "it has no port for this interface");
	snprintf(answer->device, sizeof(answer->device), "%s", port->device);
	port_statistics(runtime, port, &answer->statistics);
	return 0;
}

/* Lets go of everything: the workers end, ports close; TAPs and tables go to who asked. */
static int take_over(struct control_server *server, struct channel_message *answer, int *ret_fds, size_t *ret_fd_count)
{
	struct runtime *runtime = server->runtime;
	const struct runtime_tables *tables = runtime->tables;

	log_info("another selvage-dpdk takes over");
	runtime_stop(runtime);
	answer->port_count = runtime->port_count;
	if (tables) {
		answer->counter_sets = tables->counter_sets;
		answer->counter_first = tables->counter_first;
		answer->epoch_shift = tables->epoch_shift;
		answer->tick_ns = tables->tick_ns;
		memcpy(ret_fds, tables->fds, sizeof(tables->fds));
		*ret_fd_count = CHANNEL_TABLES_MAX;
	}
	for (uint32_t i = 0; i < runtime->port_count; i++) {
		struct port *port = &runtime->ports[i];

		if (!port_is_shared(port->device))
			port_close(port);
		answer->ports[i] = port->ifindex | (port->attached ? CHANNEL_PORT_ATTACHED : 0);
		ret_fds[(*ret_fd_count)++] = port->tap;
	}
	unlink(server->path);
	server->taken_over = true;
	return 0;
}

static void request_serve(struct control_server *server, struct connection *connection, const struct channel_message *request,
			  size_t length, int *fds, size_t *fd_count)
{
	struct channel_message answer = {.magic = CHANNEL_MAGIC, .version = CHANNEL_VERSION, .kind = request->kind,
					 .sequence = request->sequence, .abi = EDGE_ABI};
	struct runtime *runtime = server->runtime;
	int answer_fds[CHANNEL_FDS_MAX];
	size_t answer_fd_count = 0;
	struct error error = {0};
	int code = channel_request_check(request, length, *fd_count, &error);

	if (code == 0 && !connection->greeted && request->kind != CHANNEL_HELLO && request->kind != CHANNEL_TAKE_OVER)
		code = error_set(&error, EPROTO, "a request before hello");
	if (code == 0) {
		switch (request->kind) {
		case CHANNEL_HELLO:
			code = hello(server, connection, &answer, &error);
			answer_fds[0] = runtime->events[0];
			answer_fd_count = code == 0;
			break;
		case CHANNEL_TABLES:
			code = runtime_tables_use(runtime, request, fds, &error);
			if (code == 0)
				*fd_count = 0; /* kept */
			break;
		case CHANNEL_QUIESCE:
			runtime_quiesce(runtime);
			break;
		case CHANNEL_ATTACH:
		case CHANNEL_DETACH:
			code = attach(runtime, request->ifindex, request->kind == CHANNEL_ATTACH, &answer, &error);
			break;
		case CHANNEL_STATISTICS:
			code = statistics(runtime, request->ifindex, &answer, &error);
			break;
		case CHANNEL_TAKE_OVER:
			code = take_over(server, &answer, answer_fds, &answer_fd_count);
			break;
		default:
			code = error_set(&error, EPROTO, "a request of kind %u is not known", request->kind);
			break;
		}
	}
	answer.status = code;
	if (code < 0) {
		log_warning("a request on the control channel is refused: %s", error.text);
		snprintf(answer.text, sizeof(answer.text), "%.*s", (int)sizeof(answer.text) - 1, error.text);
	}
	if (channel_send(connection->fd, &answer, answer_fds, answer_fd_count) < 0)
		connection_close(server, connection);
}

/* --- connections --------------------------------------------------------------------------------------------------------- */

static void connection_serve(struct control_server *server, struct connection *connection)
{
	struct channel_message request;
	int fds[CHANNEL_FDS_MAX];
	size_t fd_count = 0, length = 0;
	int code = channel_receive(connection->fd, &request, &length, fds, &fd_count);

	if (code == -EAGAIN || code == -EINTR)
		return;
	if (code < 0)
		connection_close(server, connection);
	else
		request_serve(server, connection, &request, length, fds, &fd_count);
	channel_fds_close(fds, fd_count);
}

static void connection_accept(struct control_server *server)
{
	int fd = accept4(server->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	for (uint32_t i = 0; fd >= 0 && i < CONNECTIONS_MAX; i++) {
		struct connection *connection = &server->connections[i];
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};

		if (connection->fd >= 0)
			continue;
		if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
			break;
		*connection = (struct connection){.fd = fd};
		return;
	}
	if (fd >= 0)
		close(fd);
}

bool control_server_event(struct control_server *server, void *data)
{
	struct connection *connection = data;

	if (connection == &server->listener) {
		connection_accept(server);
		return true;
	}
	if (connection < server->connections || connection >= server->connections + CONNECTIONS_MAX)
		return false;
	if (connection->fd >= 0)
		connection_serve(server, connection);
	return true;
}

bool control_server_taken_over(const struct control_server *server)
{
	return server->taken_over;
}

static int listen_on(struct control_server *server, struct error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &server->listener};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return error_set(error, errno, "opening a socket: %s", strerror(errno));
	server->listener.fd = fd;
	memcpy(address.sun_path, server->path, sizeof(address.sun_path));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return error_set(error, EBUSY, "another selvage-dpdk serves %s; stop it, or take over with --take-over",
				 server->path);
	unlink(server->path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || chmod(server->path, 0600) < 0 || listen(fd, 4) < 0 ||
	    epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return error_set(error, errno, "listening at %s: %s", server->path, strerror(errno));
	return 0;
}

int control_server_new(struct runtime *runtime, const char *run_directory, int epoll_fd, struct control_server **ret_server,
		       struct error *error)
{
	struct control_server *server = calloc(1, sizeof(*server));
	int code;

	if (!server)
		return error_set(error, ENOMEM, "no memory");
	server->runtime = runtime;
	server->epoll_fd = epoll_fd;
	server->listener.fd = -1;
	for (uint32_t i = 0; i < CONNECTIONS_MAX; i++)
		server->connections[i].fd = -1;
	if (snprintf(server->path, sizeof(server->path), "%s/" CHANNEL_SOCKET, run_directory) >= (int)sizeof(server->path))
		code = error_set(error, ENAMETOOLONG, "the run directory's path is too long for a socket in it");
	else
		code = listen_on(server, error);
	if (code) {
		if (server->listener.fd >= 0)
			close(server->listener.fd);
		free(server);
		return code;
	}
	*ret_server = server;
	return 0;
}

void control_server_free(struct control_server *server)
{
	if (!server)
		return;
	for (uint32_t i = 0; i < CONNECTIONS_MAX; i++)
		connection_close(server, &server->connections[i]);
	if (!server->taken_over)
		unlink(server->path);
	close(server->listener.fd);
	free(server);
}

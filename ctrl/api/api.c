/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/api/api.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <grp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/lib/address_text.h"
#include "base/lib/log.h"
#include "ctrl/api/api_internal.h"

struct api *api_get(struct api *api)
{
	api->references++;
	return api;
}

void api_put(struct api *api)
{
	if (--api->references)
		return;
	free(api->socket_path);
	free(api->allowed_uids);
	free(api->allowed_gids);
	free(api);
}

/* --- requests of the control socket ------------------------------------------------------------------------------------ */

static void objects_handle(struct api *api, struct http_exchange *exchange, const struct object_path *path)
{
	const struct http_request *request = http_exchange_request(exchange);
	static const char *const writing[] = {"POST", "PUT", "PATCH", "DELETE"};

	if (strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0) {
		if (path->name)
			objects_get(api, exchange, path);
		else if (http_request_flag(request, "watch") && *request->method == 'G')
			objects_watch(api, exchange, path);
		else
			objects_list(api, exchange, path);
		return;
	}
	for (size_t i = 0; i < array_length(writing); i++) {
		if (strcmp(request->method, writing[i]) == 0) {
			objects_write(api, exchange, path);
			return;
		}
	}
	objects_refuse(exchange, path);
}

static void control_handle(void *context, struct http_exchange *exchange)
{
	const struct http_request *request = http_exchange_request(exchange);
	bool reading = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
	bool services = request->segment_count >= 2 && strcmp(request->segments[0], "v1") == 0 &&
			strcmp(request->segments[1], "services") == 0;
	bool ours = services || (request->segment_count >= 2 && strcmp(request->segments[0], "selvage") == 0 &&
		    strcmp(request->segments[1], "v1") == 0);
	struct api *api = context;
	struct object_path path;

	api->requests_total++;
	if (services)
		http_exchange_path_extend(exchange, "selvage"); /* what media servers are told to ask for */
	if (http_exchange_access(exchange) == ACCESS_NONE)
		reply_failure(exchange, 403, NULL, "this user may not use the control socket: run as root, or ask for an entry in "
			      "api.allowedUids or api.allowedGids of the daemon's configuration");
	else if (ours)
		verbs_handle(api, exchange);
	else if (!reading && http_exchange_access(exchange) < ACCESS_WRITE)
		reply_failure(exchange, 403, NULL, "this user may read only");
	else if (object_path_parse(request, &path))
		objects_handle(api, exchange, &path);
	else if (!discovery_handle(api, exchange))
		reply_failure(exchange, 404, NULL, "there is nothing at \"%.200s\"", request->path);
}

static unsigned int control_access(void *context, int fd)
{
	return peer_access(context, fd);
}

/* Errors that the HTTP server finds by itself look like all others. */
static void control_refuse(void *context, int status, const char *sentence, struct evbuffer *body, const char **ret_content_type)
{
	json_t *json = status_failure(status, NULL, sentence);
	_cleanup_(freep) char *text = json_dumps(json, JSON_COMPACT);
	struct api *api = context;

	api->errors_total++;
	*ret_content_type = CONTENT_JSON;
	evbuffer_add_printf(body, "%s\n", text ? text : "{}");
	json_decref(json);
}

static int steal_fd(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}

/* --- listening --------------------------------------------------------------------------------------------------------- */

/* A socket that a daemon left behind when it was killed is removed; one that somebody listens on is not. */
static int stale_socket_remove(const char *path, const struct sockaddr_un *address, struct error *error)
{
	struct stat info;
	int fd = -1, status;

	if (lstat(path, &info) < 0)
		return errno == ENOENT ? 0 : error_set(error, errno, "%s: %s", path, strerror(errno));
	if (!S_ISSOCK(info.st_mode))
		return error_set(error, EEXIST, "%s is there already and is not a socket", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set(error, errno, "make a socket: %s", strerror(errno));
	status = connect(fd, (const struct sockaddr *)address, sizeof(*address));
	close(fd);
	if (status == 0)
		return error_set(error, EADDRINUSE, "%s: another daemon is listening on it", path);
	return unlink(path) < 0 ? error_set(error, errno, "remove %s: %s", path, strerror(errno)) : 0;
}

static int socket_permissions_set(struct api *api, const char *path, struct error *error)
{
	struct stat info;

	if (api->options.allowed_gid_count && chown(path, (uid_t)-1, api->allowed_gids[0]) < 0)
		return error_set(error, errno, "give %s to the group %u: %s", path, api->allowed_gids[0], strerror(errno));
	if (chmod(path, api->options.socket_mode) < 0 || stat(path, &info) < 0)
		return error_set(error, errno, "set the mode of %s: %s", path, strerror(errno));
	api->socket_device = info.st_dev;
	api->socket_inode = info.st_ino;
	return 0;
}

static int control_socket_open(struct api *api, int *ret_fd, struct error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask;
	int status;

	if (fd < 0)
		return error_set(error, errno, "make a socket: %s", strerror(errno));
	if (strlen(api->socket_path) >= sizeof(address.sun_path))
		return error_set(error, ENAMETOOLONG, "%s: longer than the %zu bytes that a socket's path may have",
				 api->socket_path, sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, api->socket_path);
	status = stale_socket_remove(api->socket_path, &address, error);
	if (status < 0)
		return status;
	/* Nobody gets in before the mode is right. */
	mask = umask(0177);
	status = bind(fd, (struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (status < 0)
		return error_set(error, errno, "bind to %s: %s", api->socket_path, strerror(errno));
	status = socket_permissions_set(api, api->socket_path, error);
	if (status < 0) {
		unlink(api->socket_path);
		return status;
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* IPv4 gets a socket of its own family: a kernel may have no IPv6. */
static socklen_t metrics_sockaddr(const struct api_options *options, struct sockaddr_storage *address)
{
	struct sockaddr_in *ipv4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)address;

	*address = (struct sockaddr_storage){0};
	if (address_is_ipv4(&options->metrics_address)) {
		ipv4->sin_family = AF_INET;
		ipv4->sin_port = htons(options->metrics_port);
		ipv4->sin_addr.s_addr = address_ipv4(&options->metrics_address);
		return sizeof(*ipv4);
	}
	ipv6->sin6_family = AF_INET6;
	ipv6->sin6_port = htons(options->metrics_port);
	memcpy(&ipv6->sin6_addr, &options->metrics_address, sizeof(ipv6->sin6_addr));
	return sizeof(*ipv6);
}

static int metrics_socket_open(const struct api_options *options, int *ret_fd, uint16_t *ret_port, struct error *error)
{
	struct sockaddr_storage address;
	socklen_t length = metrics_sockaddr(options, &address);
	_cleanup_(closep) int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char text[ENDPOINT_TEXT_SIZE];
	int on = 1;

	endpoint_format(&options->metrics_address, options->metrics_port, text);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, length) < 0 || getsockname(fd, (struct sockaddr *)&address, &length) < 0)
		return error_set(error, errno, "metrics on %s: %s", text, strerror(errno));
	/* The port lies at the same place in both families. */
	*ret_port = ntohs(((struct sockaddr_in *)&address)->sin_port);
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int control_open(struct api *api, struct error *error)
{
	struct http_server_options options = http_server_defaults;
	int fd = -1, status = control_socket_open(api, &fd, error);

	if (status < 0)
		return status;
	options.access = control_access;
	options.handle = control_handle;
	options.refuse = control_refuse;
	options.context = api;
	api->control = http_server_new(api->base, fd, &options);
	return api->control ? 0 : error_set(error, EIO, "listen on %s: failed", api->socket_path);
}

static int metrics_open(struct api *api, struct error *error)
{
	struct http_server_options options = http_server_defaults;
	int fd = -1, status;

	if (!api->options.metrics_enabled)
		return 0;
	status = metrics_socket_open(&api->options, &fd, &api->metrics_port, error);
	if (status < 0)
		return status;
	options.handle = metrics_handle;
	options.context = api;
	options.connections_max = 64;
	options.body_length_max = 0;
	options.idle_ms = 30000;
	api->metrics = http_server_new(api->base, fd, &options);
	return api->metrics ? 0 : error_set(error, EIO, "listen for metrics: failed");
}

/* --- life -------------------------------------------------------------------------------------------------------------- */

static void *copy_of(const void *items, size_t count, size_t size)
{
	void *copy = calloc(count + 1, size);

	if (!copy)
		abort();
	if (count)
		memcpy(copy, items, count * size);
	return copy;
}

int api_new(struct event_base *base, const struct api_options *options, const struct api_backend *backend,
	    struct api **ret_api, struct error *error)
{
	struct api *api = calloc(1, sizeof(*api));
	int status;

	if (!api || !(api->socket_path = strdup(options->socket_path)))
		abort();
	api->base = base;
	api->options = *options;
	api->backend = *backend;
	api->references = 1;
	api->allowed_uids = copy_of(options->allowed_uids, options->allowed_uid_count, sizeof(uid_t));
	api->allowed_gids = copy_of(options->allowed_gids, options->allowed_gid_count, sizeof(gid_t));
	TAILQ_INIT(&api->writes);
	LIST_INIT(&api->traces);
	LIST_INIT(&api->events);
	status = control_open(api, error);
	if (status == 0)
		status = metrics_open(api, error);
	if (status < 0) {
		api_free(api);
		return status;
	}
	*ret_api = api;
	return 0;
}

/* Only if it is still the one that we made: a newer daemon may have taken the path over. */
static void own_socket_remove(const struct api *api)
{
	struct stat info;

	if (lstat(api->socket_path, &info) == 0 && info.st_dev == api->socket_device && info.st_ino == api->socket_inode)
		unlink(api->socket_path);
}

void api_free(struct api *api)
{
	if (!api)
		return;
	api->closed = true;
	if (api->control)
		own_socket_remove(api);
	http_server_free(api->control);
	http_server_free(api->metrics);
	writes_cancel(api);
	api_put(api);
}

uint16_t api_metrics_port(const struct api *api)
{
	return api->metrics_port;
}

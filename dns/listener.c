/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/listener.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/queue.h>

#include "base/lib/address_text.h"
#include "base/lib/bytes.h"
#include "base/lib/clock.h"
#include "base/lib/log.h"
#include "base/lib/memory.h"
#include "dns/limit.h"

#define CONNECTIONS_MAX 2048u
#define CONNECTIONS_CLIENT_MAX 256u /* of one address: others want some, too */
#define PIPELINED_MAX 128u	    /* queries of a connection that wait for their answers; more are read later */
#define IDLE_S 10		    /* RFC 7766 section 6.2.3 */
#define OUTPUT_MAX (1u << 20)	    /* bytes that a client has not fetched yet: no query of its is read above it, so 128 answers more at most */
#define OUTPUT_ALL_MAX (256u << 20) /* of all connections: above it one is read from only when it has fetched everything */
#define UDP_BATCH 64
#define UDP_BUFFER (4 << 20)

struct socket {
	struct listeners *listeners;
	struct dns_endpoint endpoint;
	int fd; /* UDP; -1 */
	struct event *event;
	struct evconnlistener *stream; /* TCP or TLS; NULL */
	bool tls;
};

struct connection {
	LIST_ENTRY(connection) all;
	struct listeners *listeners;
	struct bufferevent *events; /* NULL: closed, requests are still under way */
	struct address client, server;
	uint16_t client_port, server_port;
	bool tls, ended; /* the client sends no more */
	uint32_t waiting;
};

struct listeners {
	struct event_base *base;
	struct resolver *resolver;
	struct limit *limit;
	struct socket *sockets;
	size_t socket_count;
	SSL_CTX *tls;
	LIST_HEAD(, connection) connections;
	uint64_t output; /* bytes that connections have not fetched yet */
	struct listener_statistics statistics;
};

struct udp_request {
	struct dns_request request; /* first */
	struct socket *socket;
	struct sockaddr_storage from;
	socklen_t from_length;
};

struct stream_request {
	struct dns_request request; /* first */
	struct connection *connection;
};

static void address_of(const struct sockaddr_storage *socket_address, struct address *ret_address, uint16_t *ret_port)
{
	if (socket_address->ss_family == AF_INET) {
		const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)socket_address;

		*ret_address = address_from_ipv4(ipv4->sin_addr.s_addr);
		*ret_port = ntohs(ipv4->sin_port);
	} else {
		const struct sockaddr_in6 *ipv6 = (const struct sockaddr_in6 *)socket_address;

		memcpy(ret_address, &ipv6->sin6_addr, 16);
		*ret_port = ntohs(ipv6->sin6_port);
	}
}

static socklen_t socket_address_of(const struct dns_endpoint *endpoint, struct sockaddr_storage *ret_address)
{
	*ret_address = (struct sockaddr_storage){0};
	if (address_is_ipv4(&endpoint->address)) {
		struct sockaddr_in *ipv4 = (struct sockaddr_in *)ret_address;

		ipv4->sin_family = AF_INET;
		ipv4->sin_port = htons(endpoint->port);
		ipv4->sin_addr.s_addr = address_ipv4(&endpoint->address);
		return sizeof(*ipv4);
	}
	((struct sockaddr_in6 *)ret_address)->sin6_family = AF_INET6;
	((struct sockaddr_in6 *)ret_address)->sin6_port = htons(endpoint->port);
	memcpy(&((struct sockaddr_in6 *)ret_address)->sin6_addr, &endpoint->address, 16);
	return sizeof(struct sockaddr_in6);
}

/* Reads the query into the request and hands it on. */
static void request_take(struct listeners *listeners, struct dns_request *request, const uint8_t *bytes, size_t length)
{
	enum dns_query_verdict verdict;
	uint16_t rcode;

	request->received_us = clock_us();
	verdict = dns_query_read(bytes, length, &request->query, &rcode);
	if (request->query.question_length)
		memcpy(request->question, bytes + DNS_HEADER_SIZE, request->query.question_length);
	request->bytes = bytes;
	request->length = length;
	resolver_take(listeners->resolver, request, verdict, rcode);
}

static bool client_limited(struct listeners *listeners, const struct address *client)
{
	if (limit_take(listeners->limit, client, clock_us()))
		return false;
	listeners->statistics.limited++;
	return true;
}

/* --- UDP ---------------------------------------------------------------------------------------------------------------------- */

union control {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* The address that the query was sent to: the answer comes from there. */
static void server_read(struct msghdr *message, struct dns_request *request)
{
	for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
		if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO)
			request->server = address_from_ipv4(((struct in_pktinfo *)CMSG_DATA(part))->ipi_addr.s_addr);
		else if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO)
			memcpy(&request->server, &((struct in6_pktinfo *)CMSG_DATA(part))->ipi6_addr, 16);
	}
}

static void server_write(struct msghdr *message, union control *control, const struct dns_request *request)
{
	message->msg_control = control;
	if (address_is_ipv4(&request->server)) {
		struct in_pktinfo info = {.ipi_spec_dst.s_addr = address_ipv4(&request->server)};

		message->msg_controllen = CMSG_SPACE(sizeof(info));
		control->head = (struct cmsghdr){
			.cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO, .cmsg_len = CMSG_LEN(sizeof(info))};
		memcpy(CMSG_DATA(&control->head), &info, sizeof(info));
	} else {
		struct in6_pktinfo info = {0};

		memcpy(&info.ipi6_addr, &request->server, 16);
		message->msg_controllen = CMSG_SPACE(sizeof(info));
		control->head = (struct cmsghdr){
			.cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO, .cmsg_len = CMSG_LEN(sizeof(info))};
		memcpy(CMSG_DATA(&control->head), &info, sizeof(info));
	}
}

static void udp_done(struct dns_request *request, const uint8_t *answer, size_t length)
{
	struct udp_request *udp = (struct udp_request *)request;
	struct iovec part = {.iov_base = (void *)answer, .iov_len = length};
	struct msghdr message = {
		.msg_name = &udp->from, .msg_namelen = udp->from_length, .msg_iov = &part, .msg_iovlen = 1};
	union control control;

	memset(&control, 0, sizeof(control));
	if (length && udp->socket->fd >= 0) {
		server_write(&message, &control, request);
		if (sendmsg(udp->socket->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			log_debug("an answer could not be sent: %s", strerror(errno));
	}
	free(udp);
}

static void udp_readable(evutil_socket_t fd, short what, void *context)
{
	static uint8_t bytes[DNS_MESSAGE_MAX];
	struct socket *own = context;

	for (int i = 0; i < UDP_BATCH; i++) {
		struct udp_request *udp = memory_or_end(calloc(1, sizeof(*udp)));
		struct iovec part = {.iov_base = bytes, .iov_len = sizeof(bytes)};
		union control control;
		struct msghdr message = {.msg_name = &udp->from, .msg_namelen = sizeof(udp->from), .msg_iov = &part,
					 .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
		ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT);

		if (length < 0) {
			free(udp);
			return;
		}
		udp->socket = own;
		udp->from_length = message.msg_namelen;
		udp->request.transport = DNS_OVER_UDP;
		udp->request.done = udp_done;
		udp->request.server = own->endpoint.address;
		udp->request.server_port = own->endpoint.port;
		server_read(&message, &udp->request);
		address_of(&udp->from, &udp->request.client, &udp->request.client_port);
		/* an answer to port 0 reaches nobody */
		if (!udp->request.client_port || client_limited(own->listeners, &udp->request.client))
			free(udp);
		else
			request_take(own->listeners, &udp->request, bytes, (size_t)length);
	}
}

/* --- TCP and TLS ---------------------------------------------------------------------------------------------------------------- */

static void connection_free(struct connection *connection)
{
	LIST_REMOVE(connection, all);
	connection->listeners->statistics.connections--;
	free(connection);
}

static void connection_close(struct connection *connection)
{
	if (connection->events) {
		connection->listeners->output -= evbuffer_get_length(bufferevent_get_output(connection->events));
		bufferevent_free(connection->events);
	}
	connection->events = NULL;
	if (!connection->waiting)
		connection_free(connection);
}

static void output_changed(struct evbuffer *output, const struct evbuffer_cb_info *change, void *context)
{
	struct listeners *listeners = context;

	listeners->output += change->n_added;
	listeners->output -= change->n_deleted;
}

static void stream_done(struct dns_request *request, const uint8_t *answer, size_t length)
{
	struct stream_request *stream = (struct stream_request *)request;
	struct connection *connection = stream->connection;
	uint8_t head[2];

	free(stream);
	connection->waiting--;
	if (!connection->events) {
		if (!connection->waiting)
			connection_free(connection);
		return;
	}
	if (length) {
		bytes_put16(head, (uint16_t)length);
		bufferevent_write(connection->events, head, 2);
		bufferevent_write(connection->events, answer, length);
	}
	/* more may have come while there was no room for it */
	if (connection->waiting == PIPELINED_MAX - 1)
		bufferevent_trigger(connection->events, EV_READ, BEV_TRIG_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS);
}

static void query_take(struct connection *connection, const uint8_t *bytes, size_t length)
{
	struct stream_request *stream = memory_or_end(calloc(1, sizeof(*stream)));

	stream->connection = connection;
	stream->request.transport = connection->tls ? DNS_OVER_TLS : DNS_OVER_TCP;
	stream->request.done = stream_done;
	stream->request.client = connection->client;
	stream->request.client_port = connection->client_port;
	stream->request.server = connection->server;
	stream->request.server_port = connection->server_port;
	connection->waiting++;
	request_take(connection->listeners, &stream->request, bytes, length);
}

/* Whether a further query is taken: a client that does not fetch its answers waits (TCP makes it). */
static bool connection_has_room(const struct connection *connection)
{
	const struct listeners *listeners = connection->listeners;

	return connection->events && connection->waiting <= PIPELINED_MAX &&
	       evbuffer_get_length(bufferevent_get_output(connection->events)) <= (listeners->output > OUTPUT_ALL_MAX ? 0 : OUTPUT_MAX);
}

/* Something came, or answers went out. */
static void connection_turn(struct bufferevent *events, void *context)
{
	struct connection *connection = context;
	struct evbuffer *input = bufferevent_get_input(events);

	/* held, so that an answer at once cannot free it */
	connection->waiting++;
	while (connection_has_room(connection)) {
		uint8_t head[2], *bytes;
		size_t length;

		if (evbuffer_copyout(input, head, 2) != 2)
			break;
		length = bytes_get16(head);
		if (evbuffer_get_length(input) < 2 + length)
			break;
		evbuffer_drain(input, 2);
		bytes = memory_or_end(malloc(length + 1));
		evbuffer_remove(input, bytes, length);
		/* what is no query, or one too many, gets no answer, and whoever sends it no ear (RFC 7766 section 8 is silent on it) */
		if (length < DNS_HEADER_SIZE || bytes[2] & 0x80 || client_limited(connection->listeners, &connection->client))
			connection_close(connection);
		else
			query_take(connection, bytes, length);
		free(bytes);
	}
	connection->waiting--;
	if (!connection->events && !connection->waiting)
		connection_free(connection);
	/* the last answer is out: a client that sends no more has all that it asked for */
	else if (connection->events && connection->ended && !connection->waiting &&
		 !evbuffer_get_length(bufferevent_get_output(events)))
		connection_close(connection);
}

static void connection_event(struct bufferevent *events, short what, void *context)
{
	struct connection *connection = context;

	if (what & BEV_EVENT_CONNECTED)
		return;
	/* nothing came while it waits for answers, or fetches them: one that does not fetch ends by the other timeout */
	if (what & BEV_EVENT_TIMEOUT && what & BEV_EVENT_READING &&
	    (connection->waiting || evbuffer_get_length(bufferevent_get_output(events)))) {
		bufferevent_enable(events, EV_READ);
		return;
	}
	if (what & BEV_EVENT_EOF && !(what & BEV_EVENT_ERROR) && !connection->tls) {
		/* half closed: the client still reads */
		connection->ended = true;
		if (connection->waiting || evbuffer_get_length(bufferevent_get_output(events)))
			return;
	}
	connection_close(connection);
}

static uint32_t connections_of(const struct listeners *listeners, const struct address *client)
{
	const struct connection *connection;
	uint32_t count = 0;

	LIST_FOREACH(connection, &listeners->connections, all) {
		count += address_equal(&connection->client, client);
	}
	return count;
}

static struct bufferevent *connection_events(const struct listeners *listeners, int fd, bool tls)
{
	SSL *ssl;

	if (!tls)
		return bufferevent_socket_new(listeners->base, fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	ssl = SSL_new(listeners->tls);
	if (!ssl)
		return NULL;
	return bufferevent_openssl_socket_new(listeners->base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING,
					      BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
}

static void connection_accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int from_length,
				void *context)
{
	struct socket *own = context;
	struct listeners *listeners = own->listeners;
	struct timeval idle = {.tv_sec = IDLE_S};
	struct sockaddr_storage local = {0}, remote = {0};
	socklen_t local_length = sizeof(local);
	struct connection *connection;
	struct bufferevent *events;
	struct address client;
	uint16_t port;
	int one = 1;

	memcpy(&remote, from, (size_t)from_length < sizeof(remote) ? (size_t)from_length : sizeof(remote));
	address_of(&remote, &client, &port);
	if (listeners->statistics.connections >= CONNECTIONS_MAX || connections_of(listeners, &client) >= CONNECTIONS_CLIENT_MAX ||
	    !(events = connection_events(listeners, fd, own->tls))) {
		listeners->statistics.connections_refused++;
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	connection = memory_or_end(calloc(1, sizeof(*connection)));
	*connection = (struct connection){.listeners = listeners, .events = events, .client = client, .client_port = port,
					  .tls = own->tls};
	if (getsockname(fd, (struct sockaddr *)&local, &local_length) == 0)
		address_of(&local, &connection->server, &connection->server_port);
	LIST_INSERT_HEAD(&listeners->connections, connection, all);
	listeners->statistics.connections++;
	listeners->statistics.connections_total++;
	bufferevent_setcb(events, connection_turn, connection_turn, connection_event, connection);
	bufferevent_setwatermark(events, EV_READ, 0, 2 * DNS_MESSAGE_MAX);
	bufferevent_setwatermark(events, EV_WRITE, OUTPUT_MAX / 2, 0);
	evbuffer_add_cb(bufferevent_get_output(events), output_changed, listeners);
	bufferevent_set_timeouts(events, &idle, &idle);
	bufferevent_enable(events, EV_READ | EV_WRITE);
}

/* --- life ------------------------------------------------------------------------------------------------------------------------ */

static int socket_bind(const struct dns_endpoint *endpoint, int type, int *ret_fd, struct error *error)
{
	struct sockaddr_storage address;
	socklen_t length = socket_address_of(endpoint, &address);
	bool ipv4 = address.ss_family == AF_INET;
	char text[ENDPOINT_TEXT_SIZE];
	int one = 1, size = UDP_BUFFER, fd;

	fd = socket(address.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set(error, errno, "opening a socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one));
	if (!ipv4)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (type == SOCK_DGRAM) {
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
		setsockopt(fd, ipv4 ? IPPROTO_IP : IPPROTO_IPV6, ipv4 ? IP_PKTINFO : IPV6_RECVPKTINFO, &one, sizeof(one));
	}
	if (bind(fd, (struct sockaddr *)&address, length) < 0) {
		int code = errno;

		close(fd);
		return error_set(error, code, "listening on %s: %s", endpoint_format(&endpoint->address, endpoint->port, text),
				 strerror(code));
	}
	*ret_fd = fd;
	return 0;
}

static int stream_listen(struct listeners *listeners, struct socket *own, struct error *error)
{
	int fd, status = socket_bind(&own->endpoint, SOCK_STREAM, &fd, error);

	if (status < 0)
		return status;
	own->stream = evconnlistener_new(listeners->base, connection_accepted, own,
					 LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 512, fd);
	if (!own->stream) {
		close(fd);
		return error_set(error, EIO, "listening for connections failed");
	}
	return 0;
}

static int plain_listen(struct listeners *listeners, struct socket *own, struct error *error)
{
	int status = socket_bind(&own->endpoint, SOCK_DGRAM, &own->fd, error);

	if (status < 0)
		return status;
	own->event = event_new(listeners->base, own->fd, EV_READ | EV_PERSIST, udp_readable, own);
	event_add(own->event, NULL);
	return stream_listen(listeners, own, error);
}

static int tls_make(struct listeners *listeners, const struct dns_config *config, struct error *error)
{
	listeners->tls = SSL_CTX_new(TLS_server_method());
	if (!listeners->tls)
		return error_set(error, ENOMEM, "no memory for TLS");
	SSL_CTX_set_min_proto_version(listeners->tls, TLS1_2_VERSION);
	if (SSL_CTX_use_certificate_chain_file(listeners->tls, config->tls_certificate) != 1)
		return error_set(error, EINVAL, "reading the certificate %s failed", config->tls_certificate);
	if (SSL_CTX_use_PrivateKey_file(listeners->tls, config->tls_key, SSL_FILETYPE_PEM) != 1)
		return error_set(error, EINVAL, "reading the key %s failed, or it is not the certificate's", config->tls_key);
	return 0;
}

int listeners_new(struct event_base *base, const struct dns_config *config, struct resolver *resolver,
		  struct listeners **ret_listeners, struct error *error)
{
	struct listeners *listeners = memory_or_end(calloc(1, sizeof(*listeners)));
	size_t count = config->listen_count + config->tls_listen_count;
	int status = 0;

	listeners->base = base;
	listeners->resolver = resolver;
	listeners->limit = limit_new(&config->limit, &config->limit_bits);
	LIST_INIT(&listeners->connections);
	listeners->sockets = memory_or_end(calloc(count + 1, sizeof(*listeners->sockets)));
	if (config->tls_listen_count)
		status = tls_make(listeners, config, error);
	for (size_t i = 0; status == 0 && i < count; i++) {
		struct socket *own = &listeners->sockets[listeners->socket_count++];
		bool tls = i >= config->listen_count;

		*own = (struct socket){.listeners = listeners, .fd = -1, .tls = tls};
		own->endpoint = tls ? config->tls_listen[i - config->listen_count] : config->listen[i];
		status = tls ? stream_listen(listeners, own, error) : plain_listen(listeners, own, error);
	}
	if (status < 0) {
		listeners_free(listeners);
		return status;
	}
	*ret_listeners = listeners;
	return 0;
}

void listeners_stop(struct listeners *listeners)
{
	for (size_t i = 0; i < listeners->socket_count; i++) {
		struct socket *own = &listeners->sockets[i];

		if (own->event)
			event_free(own->event);
		own->event = NULL;
		if (own->stream)
			evconnlistener_free(own->stream);
		own->stream = NULL;
	}
}

void listeners_free(struct listeners *listeners)
{
	if (!listeners)
		return;
	listeners_stop(listeners);
	for (size_t i = 0; i < listeners->socket_count; i++)
		if (listeners->sockets[i].fd >= 0)
			close(listeners->sockets[i].fd);
	while (!LIST_EMPTY(&listeners->connections)) {
		struct connection *connection = LIST_FIRST(&listeners->connections);

		connection->waiting = 0;
		connection_close(connection);
	}
	SSL_CTX_free(listeners->tls);
	limit_free(listeners->limit);
	free(listeners->sockets);
	free(listeners);
}

struct listener_statistics listeners_measure(const struct listeners *listeners)
{
	return listeners->statistics;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The engine against real sockets on the loopback, servers and engine in one event loop. */
#include "ctrl/health/health.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/lib/address_text.h"

#define SERVICE "default/agents:media"

struct seen {
	char service[64], reason[HEALTH_REASON_SIZE];
	uint16_t port;
	enum health_state old_state, new_state;
};

struct world {
	struct event_base *base;
	struct health_engine *engine;
	struct seen seen[64];
	size_t seen_count;
	bool empty_the_set; /* in the next callback */
};

static struct world world;

static void on_transition(const struct health_transition *transition, void *context)
{
	struct seen *seen = &world.seen[world.seen_count++];

	assert_true(world.seen_count < array_length(world.seen));
	if (world.empty_the_set)
		assert_int_equal(health_set(world.engine, NULL, 0, NULL), 0);
	snprintf(seen->service, sizeof(seen->service), "%s", transition->service);
	snprintf(seen->reason, sizeof(seen->reason), "%s", transition->reason);
	seen->port = transition->port;
	seen->old_state = transition->old_state;
	seen->new_state = transition->new_state;
}

static void world_init(uint32_t probes_max)
{
	const struct health_options options = {.probes_max = probes_max, .seed = 1};

	world = (struct world){.base = event_base_new()};
	assert_int_equal(health_new(world.base, &options, on_transition, NULL, &world.engine, NULL), 0);
}

static int setup(void **state)
{
	world_init(0);
	return 0;
}

static int teardown(void **state)
{
	health_free(world.engine);
	event_base_free(world.base);
	return 0;
}

static void on_too_late(evutil_socket_t fd, short events, void *context)
{
	fail_msg("waited too long; %zu transitions, last: %s", world.seen_count,
		 world.seen_count ? world.seen[world.seen_count - 1].reason : "none");
}

/* Runs the loop until `condition`, which events make true. */
#define run_until(condition)                                                               \
	do {                                                                               \
		struct event *late = evtimer_new(world.base, on_too_late, NULL);           \
		evtimer_add(late, &(struct timeval){.tv_sec = 20});                        \
		while (!(condition))                                                       \
			event_base_loop(world.base, EVLOOP_ONCE);                          \
		event_free(late);                                                          \
	} while (0)

/* --- backends ------------------------------------------------------------------------------------------------------------ */

static struct address loopback(bool ipv6)
{
	struct address address;

	assert_int_equal(address_parse(ipv6 ? "::1" : "127.0.0.1", &address), 0);
	return address;
}

static int socket_bound(int family, int type, uint16_t *ret_port)
{
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr *address = family == AF_INET ? (struct sockaddr *)&ipv4 : (struct sockaddr *)&ipv6;
	socklen_t length = family == AF_INET ? sizeof(ipv4) : sizeof(ipv6);
	int fd = socket(family, type | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, address, length) < 0)
		return -1;
	assert_int_equal(getsockname(fd, address, &length), 0);
	*ret_port = ntohs(family == AF_INET ? ipv4.sin_port : ipv6.sin6_port);
	return fd;
}

static int tcp_listening(uint16_t *ret_port)
{
	int fd = socket_bound(AF_INET, SOCK_STREAM, ret_port);

	assert_int_equal(listen(fd, 64), 0);
	return fd;
}

static struct health_check check_of(enum health_check_type type, uint16_t port)
{
	struct health_check check = {
		.service = SERVICE, .address = loopback(false), .port = port, .parameters = health_parameters_default(type)};

	health_parameters_interval(&check.parameters, 20);
	check.parameters.timing.timeout_ms = 200;
	return check;
}

static void check_start(const struct health_check *check)
{
	struct error error = {0};

	if (health_set(world.engine, check, 1, &error) < 0)
		fail_msg("%s", error.text);
}

/* The first decision about one check, and its reason. */
static void expect_first(const struct health_check *check, enum health_state state, const char *reason)
{
	size_t before = world.seen_count;

	check_start(check);
	run_until(world.seen_count > before);
	assert_string_equal(world.seen[before].reason, reason);
	assert_int_equal(world.seen[before].new_state, state);
	assert_int_equal(health_lookup(world.engine, check->service, &check->address, check->port), state);
	assert_int_equal(health_set(world.engine, NULL, 0, NULL), 0);
}

static struct health_report report_only(void)
{
	struct health_report *reports, report;
	size_t count;

	assert_int_equal(health_snapshot(world.engine, &reports, &count, NULL), 0);
	assert_int_equal(count, 1);
	report = reports[0];
	free(reports);
	return report;
}

/* --- TCP ----------------------------------------------------------------------------------------------------------------- */

static void tcp_that_listens_is_up(void **state)
{
	uint16_t port;
	int fd = tcp_listening(&port);
	struct health_check check = check_of(HEALTH_CHECK_TCP, port);

	expect_first(&check, HEALTH_UP, "tcp: connected");
	close(fd);
}

static void tcp_that_refuses_is_down(void **state)
{
	uint16_t port;
	int fd = socket_bound(AF_INET, SOCK_STREAM, &port);
	struct health_check check = check_of(HEALTH_CHECK_TCP, port);

	expect_first(&check, HEALTH_DOWN, "tcp connect: Connection refused");
	close(fd);
}

static void tcp_that_hangs_is_down_after_the_timeout(void **state)
{
	uint16_t port;
	int fd = socket_bound(AF_INET, SOCK_STREAM, &port), fillers[4];
	struct health_check check = check_of(HEALTH_CHECK_TCP, port);
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	/* With its queue full, Linux lets further SYNs go unanswered. */
	assert_int_equal(listen(fd, 0), 0);
	for (size_t i = 0; i < array_length(fillers); i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(fillers[i], (struct sockaddr *)&address, sizeof(address));
	}
	expect_first(&check, HEALTH_DOWN, "tcp: timeout after 200 ms");
	for (size_t i = 0; i < array_length(fillers); i++)
		close(fillers[i]);
	close(fd);
}

static void tcp_over_ipv6(void **state)
{
	uint16_t port;
	int fd = socket_bound(AF_INET6, SOCK_STREAM, &port);
	struct health_check check;

	if (fd < 0)
		skip(); /* no IPv6 loopback here */
	assert_int_equal(listen(fd, 4), 0);
	check = check_of(HEALTH_CHECK_TCP, port);
	check.address = loopback(true);
	expect_first(&check, HEALTH_UP, "tcp: connected");
	close(fd);
}

static void a_backend_falls_and_rises_with_one_callback_each(void **state)
{
	uint16_t port;
	int fd = tcp_listening(&port);
	struct health_check check = check_of(HEALTH_CHECK_TCP, port);
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct health_report report;

	check_start(&check);
	run_until(report_only().probes_total >= 5);
	assert_int_equal(world.seen_count, 1);
	close(fd);
	run_until(world.seen_count == 2);
	assert_int_equal(world.seen[1].old_state, HEALTH_UP);
	assert_int_equal(world.seen[1].new_state, HEALTH_DOWN);
	report = report_only();
	assert_int_equal(report.consecutive, 3);
	assert_false(report.last_success);
	assert_string_equal(report.state_reason, "tcp connect: Connection refused");
	fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 64), 0);
	run_until(world.seen_count == 3);
	assert_int_equal(world.seen[2].new_state, HEALTH_UP);
	assert_int_equal(report_only().consecutive, 2);
	assert_int_equal(report_only().transitions_total, 3);
	close(fd);
}

/* --- HTTP ---------------------------------------------------------------------------------------------------------------- */

static void serve_ok(struct evhttp_request *request, void *context)
{
	struct evbuffer *body = evbuffer_new();

	evbuffer_add_printf(body, "host %s is ready",
			    evhttp_find_header(evhttp_request_get_input_headers(request), "Host"));
	evhttp_send_reply(request, 200, "OK", body);
	evbuffer_free(body);
}

static void serve_unavailable(struct evhttp_request *request, void *context)
{
	evhttp_send_reply(request, 503, "Service Unavailable", NULL);
}

static void serve_large(struct evhttp_request *request, void *context)
{
	struct evbuffer *body = evbuffer_new();

	evbuffer_add_printf(body, "early");
	for (int i = 0; i < 4 * HEALTH_BODY_LIMIT / 8; i++)
		evbuffer_add(body, "........", 8);
	evbuffer_add_printf(body, "late");
	evhttp_send_reply(request, 200, "OK", body);
	evbuffer_free(body);
}

static void serve_nothing(struct evhttp_request *request, void *context)
{
}

static struct evhttp *http_server(const char *address, uint16_t *ret_port)
{
	struct evhttp *server = evhttp_new(world.base);
	struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(server, address, 0);
	struct sockaddr_storage name;
	socklen_t length = sizeof(name);

	if (!bound) {
		evhttp_free(server);
		return NULL;
	}
	assert_int_equal(getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&name, &length), 0);
	*ret_port = ntohs(name.ss_family == AF_INET ? ((struct sockaddr_in *)&name)->sin_port
						    : ((struct sockaddr_in6 *)&name)->sin6_port);
	evhttp_set_cb(server, "/ok", serve_ok, NULL);
	evhttp_set_cb(server, "/unavailable", serve_unavailable, NULL);
	evhttp_set_cb(server, "/large", serve_large, NULL);
	evhttp_set_cb(server, "/nothing", serve_nothing, NULL);
	return server;
}

static struct health_check http_check(uint16_t port, const char *path, const char *body)
{
	struct health_check check = check_of(HEALTH_CHECK_HTTP, port);

	strcpy(check.parameters.path, path);
	strcpy(check.parameters.body, body);
	check.parameters.timing.timeout_ms = 1000;
	return check;
}

static void http_is_judged_by_status_and_text(void **state)
{
	static const struct {
		const char *path, *body, *reason;
		enum health_state state;
	} cases[] = {
		{"/ok", "", "http: status 200", HEALTH_UP},
		{"/unavailable", "", "http: status 503", HEALTH_DOWN},
		{"/missing", "", "http: status 404", HEALTH_DOWN},
		{"/ok", "is ready", "http: status 200, text found", HEALTH_UP},
		{"/ok", "is done", "http: status 200, but the text is not in the answer", HEALTH_DOWN},
		{"/unavailable", "is ready", "http: status 503", HEALTH_DOWN},
		{"/large", "", "http: status 200", HEALTH_UP},
		{"/large", "early", "http: status 200, text found", HEALTH_UP},
		{"/large", "late", "http: the text is not in the first 65536 bytes", HEALTH_DOWN},
	};
	uint16_t port;
	struct evhttp *server = http_server("127.0.0.1", &port);

	for (size_t i = 0; i < array_length(cases); i++) {
		struct health_check check = http_check(port, cases[i].path, cases[i].body);

		expect_first(&check, cases[i].state, cases[i].reason);
	}
	evhttp_free(server);
}

static void http_statuses_are_ranges(void **state)
{
	uint16_t port;
	struct evhttp *server = http_server("127.0.0.1", &port);
	struct health_check check = http_check(port, "/missing", "");

	check.parameters.status[1] = (struct health_status_range){404, 404};
	expect_first(&check, HEALTH_UP, "http: status 404");
	evhttp_free(server);
}

static void http_asks_for_the_given_host(void **state)
{
	uint16_t port;
	struct evhttp *server = http_server("127.0.0.1", &port);
	struct health_check check = http_check(port, "/ok", "host agent.example is");

	strcpy(check.parameters.host, "agent.example");
	expect_first(&check, HEALTH_UP, "http: status 200, text found");
	evhttp_free(server);
}

static void http_over_ipv6(void **state)
{
	uint16_t port;
	struct evhttp *server = http_server("::1", &port);
	struct health_check check;

	if (!server)
		skip(); /* no IPv6 loopback here */
	check = http_check(port, "/ok", "host [::1]:");
	check.address = loopback(true);
	expect_first(&check, HEALTH_UP, "http: status 200, text found");
	evhttp_free(server);
}

static void http_that_does_not_answer_times_out(void **state)
{
	uint16_t port;
	struct evhttp *server = http_server("127.0.0.1", &port);
	struct health_check check = http_check(port, "/nothing", "");

	check.parameters.timing.timeout_ms = 100;
	expect_first(&check, HEALTH_DOWN, "http: timeout after 100 ms");
	evhttp_free(server);
}

static void http_that_refuses_is_down(void **state)
{
	uint16_t port;
	int fd = socket_bound(AF_INET, SOCK_STREAM, &port);
	struct health_check check = http_check(port, "/", "");

	expect_first(&check, HEALTH_DOWN, "http connect: Connection refused");
	close(fd);
}

/* A connection that fails at once, before the event loop runs again. */
static void an_address_that_cannot_be_reached_is_down(void **state)
{
	struct health_check checks[] = {http_check(7, "/", ""), check_of(HEALTH_CHECK_TCP, 8), check_of(HEALTH_CHECK_UDP, 9)};
	/* The limited broadcast address: no privilege and no route changes what connect() says to it. */
	static const char *const reasons[] = {"http connect: Network is unreachable",
					      "tcp connect: Network is unreachable", "udp: Permission denied"};

	for (size_t i = 0; i < array_length(checks); i++) {
		assert_int_equal(address_parse("255.255.255.255", &checks[i].address), 0);
		check_start(&checks[i]);
		run_until(world.seen_count == i + 1);
		assert_int_equal(world.seen[i].new_state, HEALTH_DOWN);
		assert_string_equal(world.seen[i].reason, reasons[i]);
	}
}

/* Writes `text` once, or for ever, to whoever connects. */
struct talker {
	const char *text;
	bool endless, hangs_up;
	struct bufferevent *client;
};

static void talker_on_event(struct bufferevent *client, short events, void *context)
{
	struct talker *talker = context;

	bufferevent_free(client);
	talker->client = NULL;
}

static void talker_on_drained(struct bufferevent *client, void *context)
{
	struct talker *talker = context;
	char block[4096];

	memset(block, 'x', sizeof(block));
	if (talker->endless)
		bufferevent_write(client, block, sizeof(block));
	else if (talker->hangs_up)
		talker_on_event(client, 0, talker);
}

static void talker_on_connection(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int length,
				 void *context)
{
	struct talker *talker = context;

	if (talker->client)
		bufferevent_free(talker->client);
	talker->client = bufferevent_socket_new(world.base, fd, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(talker->client, NULL, talker_on_drained, talker_on_event, talker);
	bufferevent_enable(talker->client, EV_READ | EV_WRITE);
	bufferevent_write(talker->client, talker->text, strlen(talker->text));
}

#define NOT_HTTP "http: the answer is not HTTP, or its headers exceed 16384 bytes"

static void http_from_a_liar_is_down(void **state)
{
	static const struct {
		struct talker talker;
		const char *body, *reason;
		enum health_state state;
	} cases[] = {
		{{.text = "\x16\x03\x01 this is not HTTP\r\n\r\n"}, "", NOT_HTTP, HEALTH_DOWN},
		{{.text = "SSH-2.0-OpenSSH_9.2\r\n"}, "", NOT_HTTP, HEALTH_DOWN},
		{{.text = "HTTP/1.1 2", .hangs_up = true}, "",
		 "http: connection closed before the end of the answer", HEALTH_DOWN},
		{{.text = "HTTP/1.1 200 OK\r\nX: ", .endless = true}, "", NOT_HTTP, HEALTH_DOWN},
		{{.text = "HTTP/1.1 200 OK\r\n\r\n", .endless = true}, "", "http: status 200", HEALTH_UP},
		{{.text = "HTTP/1.1 200 OK\r\n\r\n", .endless = true}, "ready",
		 "http: the text is not in the first 65536 bytes", HEALTH_DOWN},
		{{.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\n", .endless = true}, "ready",
		 "http: the text is not in the first 65536 bytes", HEALTH_DOWN},
		{{.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n"}, "ready",
		 "http: status 200, text found", HEALTH_UP},
		{{.text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"}, "", "http: status 204", HEALTH_UP},
	};

	for (size_t i = 0; i < array_length(cases); i++) {
		struct talker talker = cases[i].talker;
		uint16_t port;
		int fd = tcp_listening(&port);
		struct evconnlistener *listener =
			evconnlistener_new(world.base, talker_on_connection, &talker, LEV_OPT_CLOSE_ON_FREE, 0, fd);
		struct health_check check = http_check(port, "/", cases[i].body);

		expect_first(&check, cases[i].state, cases[i].reason);
		if (talker.client)
			bufferevent_free(talker.client);
		evconnlistener_free(listener);
	}
}

/* --- UDP ----------------------------------------------------------------------------------------------------------------- */

static void udp_on_datagram(evutil_socket_t fd, short events, void *context)
{
	struct sockaddr_storage peer;
	socklen_t length = sizeof(peer);
	char buffer[512];
	ssize_t received = recvfrom(fd, buffer, sizeof(buffer), 0, (struct sockaddr *)&peer, &length);

	assert_true(received >= 0);
	assert_int_equal(sendto(fd, buffer, (size_t)received, 0, (struct sockaddr *)&peer, length), received);
}

static void udp_is_judged_by_its_answer(void **state)
{
	uint16_t port;
	int fd = socket_bound(AF_INET, SOCK_DGRAM, &port);
	struct event *echo = event_new(world.base, fd, EV_READ | EV_PERSIST, udp_on_datagram, NULL);
	struct health_check check = check_of(HEALTH_CHECK_UDP, port);

	event_add(echo, NULL);
	expect_first(&check, HEALTH_UP, "udp: answered");
	check.parameters.expect = (struct health_bytes){.length = 4, .data = "selv"};
	expect_first(&check, HEALTH_UP, "udp: answered");
	check.parameters.expect = (struct health_bytes){.length = 4, .data = "pong"};
	expect_first(&check, HEALTH_DOWN, "udp: unexpected answer of 8 bytes");
	event_free(echo);
	close(fd);
}

static void udp_silence_passes_unless_an_answer_is_asked_for(void **state)
{
	uint16_t port;
	int fd = socket_bound(AF_INET, SOCK_DGRAM, &port);
	struct health_check check = check_of(HEALTH_CHECK_UDP, port);

	expect_first(&check, HEALTH_UP, "udp: no error");
	check.parameters.answer_required = true;
	expect_first(&check, HEALTH_DOWN, "udp: timeout after 200 ms");
	check.parameters.answer_required = false;
	check.parameters.expect = (struct health_bytes){.length = 4, .data = "pong"};
	expect_first(&check, HEALTH_DOWN, "udp: timeout after 200 ms");
	close(fd);
}

static void udp_closed_ports(bool ipv6)
{
	uint16_t port;
	int fd = socket_bound(ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM, &port);
	struct health_check check;

	if (fd < 0)
		skip(); /* no IPv6 loopback here */
	check = check_of(HEALTH_CHECK_UDP, port);
	check.address = loopback(ipv6);
	close(fd);
	expect_first(&check, HEALTH_DOWN, "udp: ICMP port unreachable");
}

static void udp_closed_port_is_down(void **state)
{
	udp_closed_ports(false);
}

static void udp_over_ipv6(void **state)
{
	udp_closed_ports(true);
}

/* Most probes of a dead backend are silent (udp.c says why): after one error silence must take it down, not keep it up. */
static void udp_silence_after_an_error_is_no_success(void **state)
{
	uint16_t port;
	int fd = socket_bound(AF_INET, SOCK_DGRAM, &port);
	struct health_check check = check_of(HEALTH_CHECK_UDP, port);
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	check.parameters.timing.timeout_ms = 20;
	check_start(&check);
	run_until(world.seen_count == 1);
	assert_int_equal(world.seen[0].new_state, HEALTH_UP);
	close(fd);
	run_until(report_only().failures_total == 1);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	run_until(world.seen_count == 2);
	assert_int_equal(world.seen[1].new_state, HEALTH_DOWN);
	assert_string_equal(world.seen[1].reason, "udp: ICMP port unreachable");
	run_until(report_only().consecutive > 20);
	assert_int_equal(world.seen_count, 2);
	close(fd);
}

/* --- the set ------------------------------------------------------------------------------------------------------------- */

static void none_is_up_at_once(void **state)
{
	struct health_check check = check_of(HEALTH_CHECK_NONE, 9);

	check_start(&check);
	assert_int_equal(health_lookup(world.engine, SERVICE, &check.address, 9), HEALTH_UP);
	assert_int_equal(world.seen_count, 0);
	run_until(world.seen_count == 1);
	assert_int_equal(world.seen[0].new_state, HEALTH_UP);
	assert_string_equal(world.seen[0].reason, "not checked");
}

static void two_services_share_one_probe(void **state)
{
	uint16_t port;
	int fd = tcp_listening(&port);
	struct health_check checks[3] = {check_of(HEALTH_CHECK_TCP, port), check_of(HEALTH_CHECK_TCP, port),
					 check_of(HEALTH_CHECK_TCP, port)};

	checks[1].service = "default/other:media";
	assert_int_equal(health_set(world.engine, checks, 2, NULL), 0);
	assert_int_equal(health_counters(world.engine).checks, 2);
	assert_int_equal(health_counters(world.engine).probe_targets, 1);
	run_until(world.seen_count == 2);
	assert_int_equal(health_counters(world.engine).probes_total, 1);
	/* One that joins later knows at once what the others know; the port may be given or implied. */
	checks[2].service = "default/third:media";
	checks[2].parameters.port = port;
	assert_int_equal(health_set(world.engine, checks, 3, NULL), 0);
	assert_int_equal(health_counters(world.engine).probe_targets, 1);
	assert_int_equal(health_lookup(world.engine, checks[2].service, &checks[2].address, port), HEALTH_UP);
	run_until(world.seen_count == 3);
	assert_string_equal(world.seen[2].service, "default/third:media");
	checks[2].parameters.timing.fall = 9;
	assert_int_equal(health_set(world.engine, checks, 3, NULL), 0);
	assert_int_equal(health_counters(world.engine).probe_targets, 2);
	close(fd);
}

static void an_unchanged_set_changes_nothing(void **state)
{
	uint16_t port;
	int fd = tcp_listening(&port);
	struct health_check check = check_of(HEALTH_CHECK_TCP, port);
	uint64_t probes;

	check_start(&check);
	run_until(world.seen_count == 1);
	probes = report_only().probes_total;
	check_start(&check);
	assert_int_equal(report_only().probes_total, probes);
	assert_int_equal(report_only().state, HEALTH_UP);
	run_until(report_only().probes_total > probes + 3);
	assert_int_equal(world.seen_count, 1);
	close(fd);
}

static void new_parameters_keep_the_state_until_proved_wrong(void **state)
{
	uint16_t port, refusing;
	int fd = tcp_listening(&port), other = socket_bound(AF_INET, SOCK_STREAM, &refusing);
	struct health_check check = check_of(HEALTH_CHECK_TCP, port);

	check_start(&check);
	run_until(world.seen_count == 1);
	check.parameters.port = refusing;
	check_start(&check);
	assert_int_equal(report_only().state, HEALTH_UP);
	run_until(world.seen_count == 2);
	assert_int_equal(world.seen[1].new_state, HEALTH_DOWN);
	assert_int_equal(report_only().failures_total, 3);
	check.parameters.type = HEALTH_CHECK_NONE;
	check_start(&check);
	assert_int_equal(report_only().state, HEALTH_UP);
	run_until(world.seen_count == 3);
	close(other);
	close(fd);
}

static void restored_states_do_not_flap(void **state)
{
	uint16_t port, refusing;
	int fd = tcp_listening(&port), other = socket_bound(AF_INET, SOCK_STREAM, &refusing);
	struct health_check checks[2] = {check_of(HEALTH_CHECK_TCP, port), check_of(HEALTH_CHECK_TCP, refusing)};
	const struct health_restored restored[] = {
		{.service = SERVICE, .address = loopback(false), .port = refusing, .state = HEALTH_DOWN},
		{.service = SERVICE, .address = loopback(false), .port = port, .state = HEALTH_UP},
		{.service = "gone", .address = loopback(false), .port = 1, .state = HEALTH_UP},
	};

	assert_int_equal(health_restore(world.engine, restored, 3, NULL), 0);
	assert_int_equal(health_set(world.engine, checks, 2, NULL), 0);
	assert_int_equal(health_lookup(world.engine, SERVICE, &checks[0].address, port), HEALTH_UP);
	assert_int_equal(health_lookup(world.engine, SERVICE, &checks[0].address, refusing), HEALTH_DOWN);
	run_until(health_counters(world.engine).probes_total > 10);
	assert_int_equal(world.seen_count, 0);
	close(other);
	close(fd);
}

static void a_bad_set_changes_nothing(void **state)
{
	uint16_t port;
	int fd = tcp_listening(&port);
	struct health_check good = check_of(HEALTH_CHECK_TCP, port);
	struct health_check checks[2] = {check_of(HEALTH_CHECK_TCP, 1), check_of(HEALTH_CHECK_TCP, 1)};
	struct error error = {0};

	check_start(&good);
	checks[1].parameters.timing.rise = 0;
	assert_int_equal(health_set(world.engine, checks, 2, &error), -EINVAL);
	assert_string_equal(error.text, "service " SERVICE ", backend 127.0.0.1:1: health check: rise is 0; it must be 1 to 1000");
	checks[1].parameters.timing.rise = 5;
	assert_int_equal(health_set(world.engine, checks, 2, &error), -EINVAL);
	assert_string_equal(error.text, "service " SERVICE ", backend 127.0.0.1:1: two different health checks");
	assert_int_equal(report_only().port, port);
	close(fd);
}

static void the_callback_may_empty_the_set(void **state)
{
	uint16_t port;
	int fd = tcp_listening(&port);
	struct health_check check = check_of(HEALTH_CHECK_TCP, port);

	world.empty_the_set = true;
	check_start(&check);
	run_until(world.seen_count == 1);
	assert_string_equal(world.seen[0].service, SERVICE);
	assert_int_equal(health_counters(world.engine).probe_targets, 0);
	close(fd);
}

static void removal_during_a_probe_is_clean(void **state)
{
	uint16_t port;
	struct evhttp *server = http_server("127.0.0.1", &port);
	struct health_check check = http_check(port, "/nothing", "");

	check_start(&check);
	run_until(health_counters(world.engine).probes_in_flight == 1);
	assert_int_equal(health_set(world.engine, NULL, 0, NULL), 0);
	assert_int_equal(health_counters(world.engine).probes_in_flight, 0);
	event_base_loop(world.base, EVLOOP_NONBLOCK);
	assert_int_equal(world.seen_count, 0);
	evhttp_free(server);
}

static void probes_in_flight_are_bounded(void **state)
{
	struct health_check checks[20];
	uint16_t port;
	int fd = socket_bound(AF_INET, SOCK_DGRAM, &port);

	teardown(state);
	world_init(3);
	for (size_t i = 0; i < array_length(checks); i++) {
		checks[i] = check_of(HEALTH_CHECK_UDP, (uint16_t)(i + 1));
		checks[i].parameters.port = port;
		checks[i].parameters.send.data[0] = (uint8_t)i; /* a target of its own */
		checks[i].parameters.timing.timeout_ms = 10;
	}
	assert_int_equal(health_set(world.engine, checks, array_length(checks), NULL), 0);
	while (world.seen_count < array_length(checks)) {
		assert_true(health_counters(world.engine).probes_in_flight <= 3);
		event_base_loop(world.base, EVLOOP_ONCE);
	}
	assert_true(health_counters(world.engine).probes_delayed_total > 0);
	close(fd);
}

static void the_operator_overrides(void **state)
{
	uint16_t port;
	int fd = tcp_listening(&port);
	struct health_check check = check_of(HEALTH_CHECK_TCP, port);

	check_start(&check);
	run_until(world.seen_count == 1);
	assert_int_equal(health_force(world.engine, SERVICE, &check.address, port, HEALTH_FORCE_DOWN), 0);
	assert_int_equal(health_lookup(world.engine, SERVICE, &check.address, port), HEALTH_DOWN);
	run_until(world.seen_count == 2);
	assert_string_equal(world.seen[1].reason, "forced down by the operator");
	assert_int_equal(health_force(world.engine, SERVICE, &check.address, port, HEALTH_FORCE_NONE), 0);
	run_until(world.seen_count == 3);
	assert_int_equal(world.seen[2].new_state, HEALTH_UP);
	assert_int_equal(health_force(world.engine, "none", &check.address, port, HEALTH_FORCE_DOWN), -ENOENT);
	close(fd);
}

#define world_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		world_test(tcp_that_listens_is_up),
		world_test(tcp_that_refuses_is_down),
		world_test(tcp_that_hangs_is_down_after_the_timeout),
		world_test(tcp_over_ipv6),
		world_test(a_backend_falls_and_rises_with_one_callback_each),
		world_test(http_is_judged_by_status_and_text),
		world_test(http_statuses_are_ranges),
		world_test(http_asks_for_the_given_host),
		world_test(http_over_ipv6),
		world_test(http_that_does_not_answer_times_out),
		world_test(http_that_refuses_is_down),
		world_test(an_address_that_cannot_be_reached_is_down),
		world_test(http_from_a_liar_is_down),
		world_test(udp_is_judged_by_its_answer),
		world_test(udp_silence_passes_unless_an_answer_is_asked_for),
		world_test(udp_closed_port_is_down),
		world_test(udp_over_ipv6),
		world_test(udp_silence_after_an_error_is_no_success),
		world_test(none_is_up_at_once),
		world_test(two_services_share_one_probe),
		world_test(an_unchanged_set_changes_nothing),
		world_test(new_parameters_keep_the_state_until_proved_wrong),
		world_test(restored_states_do_not_flap),
		world_test(a_bad_set_changes_nothing),
		world_test(the_callback_may_empty_the_set),
		world_test(removal_during_a_probe_is_clean),
		world_test(probes_in_flight_are_bounded),
		world_test(the_operator_overrides),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

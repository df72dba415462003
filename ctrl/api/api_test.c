/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API over real sockets: a child process runs the event loop with a store and a backend that says what it was told; the
 * tests are its clients. The child must end cleanly, so the sanitizers' word about it counts.
 */
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "base/lib/cleanup.h"
#include "ctrl/api/api.h"
#include "ctrl/api/openmetrics.h"
#include "ctrl/store/store_sqlite.h"
#include "edge/edge_state.h"

#define POOL "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools"
#define SERVICES "/api/v1/namespaces/default/services"
#define WEB                                                                                                          \
	"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\",\"labels\":{\"app\":\"web\"}},"      \
	"\"spec\":{\"type\":\"LoadBalancer\",\"ports\":[{\"port\":80}]}}"

static char directory[] = "/tmp/selvage-api-XXXXXX";
static char socket_path[100];
static pid_t server;
static uint16_t metrics_port;

/* --- the daemon's side ------------------------------------------------------------------------------------------------- */

static struct event *trace_timer;

static int fake_check(void *context, const struct api_change *changes, size_t count, struct error *error)
{
	(void)context;
	for (size_t i = 0; i < count; i++)
		if (strcmp(changes[i].object->meta.name, "conflict") == 0 && !changes[i].deleted)
			return error_set(error, EEXIST, "the address belongs to default/web");
	return 0;
}

static json_t *fake_items(void *context)
{
	(void)context;
	return json_pack("[{s:s, s:s}]", "address", "192.0.2.10", "owner", "edge1");
}

static json_t *fake_status(void *context)
{
	(void)context;
	return json_pack("{s:s, s:s, s:[{s:s, s:s}], s:{s:i, s:i}}", "node", "<edge1>", "version", "0", "vips", "address", "192.0.2.10",
			 "owner", "edge1", "sessions", "live", 3, "used", 4);
}

static json_t *fake_backends(void *context, const char *namespace_name, const char *service)
{
	(void)context, (void)namespace_name;
	return service && strcmp(service, "web") != 0 ? NULL : json_array();
}

static void fake_metrics(void *context, struct evbuffer *text)
{
	(void)context;
	openmetrics_family(text, "selvage_fastpath_drops", "counter", "Packets \"dropped\"\nby reason.");
	openmetrics_sample_count(text, "selvage_fastpath_drops_total", 7, "reason", "a\"b\\c\nd", NULL);
}

static int fake_ready(void *context, struct error *error)
{
	(void)context;
	return error_set(error, EAGAIN, "no interface is up");
}

static json_t *fake_explain(void *context, const struct api_explain_question *question, struct error *error)
{
	(void)context;
	if (question->flow)
		return json_pack("{s:s, s:i}", "verdict", "tx", "port", question->flow->destination_port);
	if (question->length < 14) {
		error_set(error, EINVAL, "too short");
		return NULL;
	}
	return json_pack("{s:s, s:i}", "verdict", "pass", "length", (int)question->length);
}

static int fake_trace_set(void *context, const struct api_trace_filter *filter, struct error *error)
{
	struct timeval soon = {.tv_usec = 1000};

	(void)context, (void)error;
	if (filter->flags)
		event_add(trace_timer, &soon);
	else
		event_del(trace_timer);
	return 0;
}

static void fake_drain(void *context, const struct api_backend_reference *backend, bool drain, struct api_action *action)
{
	struct error error;

	(void)context, (void)drain;
	if (backend->port == 7000)
		api_action_done(action, 0, NULL);
	else
		api_action_done(action, error_set(&error, ENOENT, "no such backend"), &error);
}

static void fake_move(void *context, const struct address *vip, const char *node, struct api_action *action)
{
	(void)context, (void)vip, (void)node;
	api_action_done(action, 0, NULL);
}

static struct api *api;

static json_t *fake_sessions(void *context, const struct api_session_query *query, struct error *error)
{
	(void)context;
	if (query->service && strcmp(query->service, "media") != 0) {
		error_set(error, ENOENT, "services \"%s\" not found", query->service);
		return NULL;
	}
	return json_pack("{s:[], s:s*, s:s*, s:s*, s:i}", "items", "namespace", query->namespace_name, "service", query->service, "after",
			 query->after, "limit", (int)query->limit);
}

static json_t *fake_session(void *context, const char *namespace_name, const char *service, const char *name, struct error *error)
{
	(void)context, (void)error;
	return json_pack("{s:s*, s:s*, s:s}", "namespace", namespace_name, "service", service, "name", name);
}

static void fake_session_put(void *context, const char *namespace_name, const char *service, const char *ufrag, const json_t *body,
			     struct api_action *action)
{
	struct error error;

	(void)context, (void)body;
	api_session_event(api, json_pack("{s:s}", "type", "Test"));
	if (strcmp(namespace_name, "default") == 0 && strcmp(service, "media") == 0 && strcmp(ufrag, "ab_c-d") == 0)
		api_action_done(action, 0, NULL);
	else
		api_action_done(action, error_set(&error, EINVAL, "%s/%s/%s", namespace_name, service, ufrag), &error);
}

static void fake_session_remove(void *context, const char *namespace_name, const char *service, const char *name, struct api_action *action)
{
	struct error error;

	(void)context;
	api_action_done(action, error_set(&error, ENOENT, "%s %s %s", namespace_name ? namespace_name : "-", service ? service : "-", name),
			&error);
}

static json_t *fake_session_ufrags(void *context, const char *namespace_name, const char *service, const char *backend, uint32_t count,
				   struct error *error)
{
	(void)context, (void)error;
	return json_pack("{s:s, s:s*, s:s, s:i}", "namespace", namespace_name, "service", service, "backend", backend, "count", (int)count);
}

static void fake_session_rotate(void *context, struct api_action *action)
{
	(void)context;
	api_action_done(action, 0, NULL);
}

/* A UDP packet 10.0.0.1:5000 > 192.0.2.10:7000, dropped, and one that passed. */
static void trace_tick(evutil_socket_t fd, short what, void *context)
{
	static const uint8_t frame[42] = {[12] = 8, [14] = 0x45, [17] = 28, [22] = 64, 17, 0, 0, 10, 0, 0, 1, 192, 0, 2, 10, 0x13,
					  0x88, 0x1b, 0x58, 0, 8};
	struct edge_event event = {.ifindex = 1, .length = sizeof(frame), .captured = sizeof(frame)};
	struct timeval soon = {.tv_usec = 1000};
	struct api_trace_packet packet = {.event = &event, .interface = "eth0", .service = "default/web"};

	(void)fd, (void)what, (void)context;
	memcpy(event.bytes, frame, sizeof(frame));
	event_add(trace_timer, &soon);
	event.decision.verdict = VERDICT_PASS;
	api_trace_publish(api, &packet);
	event.decision.verdict = VERDICT_DROP;
	event.decision.function = FUNCTION_LB;
	event.decision.reason = DROP_service_no_backend;
	api_trace_publish(api, &packet);
}

static void stop(evutil_socket_t fd, short what, void *base)
{
	(void)fd, (void)what;
	event_base_loopbreak(base);
}

static int server_run(int port_pipe)
{
	struct event_base *base = event_base_new();
	struct event *signal_event = evsignal_new(base, SIGTERM, stop, base);
	struct store_sqlite_options store_options = {.directory = directory, .clock = &clock_system, .base = base,
						     .history_revisions = 20};
	struct api_options options = {.socket_path = socket_path, .socket_mode = 0666, .metrics_enabled = true};
	struct api_backend backend = {.check = fake_check, .status = fake_status, .vips = fake_items, .services = fake_items,
				      .backends = fake_backends, .drops = fake_items, .counters = fake_status, .metrics = fake_metrics,
				      .ready = fake_ready, .explain = fake_explain, .trace_set = fake_trace_set,
				      .backend_drain = fake_drain, .vip_move = fake_move, .sessions = fake_sessions,
				      .session = fake_session, .session_put = fake_session_put, .session_remove = fake_session_remove,
				      .session_ufrags = fake_session_ufrags, .session_rotate = fake_session_rotate};
	struct error error;
	uint16_t port;

	if (address_parse("127.0.0.1", &options.metrics_address) < 0 ||
	    store_sqlite_open(&store_options, &backend.store, &error) < 0 ||
	    api_new(base, &options, &backend, &api, &error) < 0) {
		fprintf(stderr, "%s\n", error.text);
		return 1;
	}
	trace_timer = evtimer_new(base, trace_tick, NULL);
	event_add(signal_event, NULL);
	port = api_metrics_port(api);
	if (write(port_pipe, &port, sizeof(port)) != sizeof(port))
		return 1;
	close(port_pipe);
	event_base_dispatch(base);
	api_free(api);
	store_free(backend.store);
	event_free(signal_event);
	event_free(trace_timer);
	event_base_free(base);
	return 0;
}

static int server_start(void **state)
{
	int pipes[2];

	(void)state;
	if (!mkdtemp(directory) || pipe(pipes) < 0)
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/api.sock", directory);
	server = fork();
	if (server == 0) {
		close(pipes[0]);
		exit(server_run(pipes[1])); /* with exit handlers, for the leak check */
	}
	close(pipes[1]);
	if (read(pipes[0], &metrics_port, sizeof(metrics_port)) != sizeof(metrics_port))
		return -1;
	close(pipes[0]);
	return 0;
}

static int server_stop(void **state)
{
	char command[200];
	int status = 0;

	(void)state;
	kill(server, SIGTERM);
	waitpid(server, &status, 0);
	if (access(socket_path, F_OK) == 0)
		status = 1; /* the socket stays behind */
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	return system(command) == 0 && status == 0 ? 0 : -1;
}

/* --- the client's side ------------------------------------------------------------------------------------------------- */

static int open_socket(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = 20};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, socket_path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void send_text(int fd, const char *text, size_t length)
{
	while (length) {
		ssize_t sent = send(fd, text, length, MSG_NOSIGNAL);

		if (sent <= 0)
			return;
		text += sent;
		length -= (size_t)sent;
	}
}

/* Everything until the other side closes. */
static char *receive_all(int fd)
{
	char *text = calloc(1, 1 << 20);
	size_t used = 0;
	ssize_t got;

	while (used < (1 << 20) - 1 && (got = recv(fd, text + used, (1 << 20) - 1 - used, 0)) > 0)
		used += (size_t)got;
	close(fd);
	return text;
}

/* What comes back for these bytes; the sending half is closed afterwards. */
static char *raw(const char *text, size_t length)
{
	int fd = open_socket();

	send_text(fd, text, length);
	shutdown(fd, SHUT_WR);
	return receive_all(fd);
}

static int status_of(const char *answer)
{
	int status = 0;

	return sscanf(answer, "HTTP/1.1 %d", &status) == 1 ? status : 0;
}

/* One request; the JSON of the answer in `ret_json` unless NULL. */
static int call_as(const char *method, const char *path, const char *type, const char *body, json_t **ret_json)
{
	_cleanup_(freep) char *request = NULL, *answer = NULL;
	int length = asprintf(&request,
			      "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
			      method, path, type, strlen(body), body);
	const char *content;

	answer = raw(request, (size_t)length);
	content = strstr(answer, "\r\n\r\n");
	if (ret_json)
		*ret_json = content ? json_loads(content + 4, 0, NULL) : NULL;
	return status_of(answer);
}

static int call(const char *method, const char *path, const char *body, json_t **ret_json)
{
	return call_as(method, path, "application/json", body, ret_json);
}

static const char *text_at(const json_t *json, const char *outer, const char *key)
{
	const char *text = json_string_value(json_object_get(outer ? json_object_get(json, outer) : json, key));

	return text ? text : "";
}

static void assert_alive(void)
{
	assert_int_equal(call("GET", "/version", "", NULL), 200);
}

static uint64_t revision_now(void)
{
	json_t *list;
	uint64_t revision;

	assert_int_equal(call("GET", "/api/v1/services", "", &list), 200);
	revision = strtoull(text_at(list, "metadata", "resourceVersion"), NULL, 10);
	json_decref(list);
	return revision;
}

/* --- objects ----------------------------------------------------------------------------------------------------------- */

static void test_object_lives(void **state)
{
	char body[500], uid[40], created[40], revision[24];
	json_t *json;

	(void)state;
	assert_int_equal(call("POST", SERVICES, WEB, &json), 201);
	snprintf(uid, sizeof(uid), "%s", text_at(json, "metadata", "uid"));
	snprintf(created, sizeof(created), "%s", text_at(json, "metadata", "creationTimestamp"));
	snprintf(revision, sizeof(revision), "%s", text_at(json, "metadata", "resourceVersion"));
	assert_int_equal(strlen(uid), 36);
	assert_string_equal(text_at(json, "metadata", "namespace"), "default");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "metadata"), "generation")), 1);
	json_decref(json);

	assert_int_equal(call("POST", SERVICES, WEB, &json), 409);
	assert_string_equal(text_at(json, NULL, "reason"), "AlreadyExists");
	json_decref(json);

	/* Labels are no change of what is wanted: the generation stays. */
	assert_int_equal(call_as("PATCH", SERVICES "/web", "application/merge-patch+json",
				 "{\"metadata\":{\"labels\":{\"tier\":\"a\"}}}", &json), 200);
	assert_string_equal(text_at(json, "metadata", "uid"), uid);
	assert_string_equal(text_at(json, "metadata", "creationTimestamp"), created);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "metadata"), "generation")), 1);
	json_decref(json);

	/* A replacement by someone who has read an older one. */
	snprintf(body, sizeof(body),
		 "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\",\"resourceVersion\":\"%s\"},"
		 "\"spec\":{\"ports\":[{\"port\":81}]}}", revision);
	assert_int_equal(call("PUT", SERVICES "/web", body, &json), 409);
	assert_string_equal(text_at(json, NULL, "reason"), "Conflict");
	json_decref(json);
	assert_int_equal(call("GET", "/api/v1/services?labelSelector=tier%3Da,app+in+(web)", "", &json), 200);
	assert_int_equal(json_array_size(json_object_get(json, "items")), 1);
	json_decref(json);
	assert_int_equal(call("GET", "/api/v1/services?labelSelector=!tier", "", &json), 200);
	assert_int_equal(json_array_size(json_object_get(json, "items")), 0);
	json_decref(json);

	assert_int_equal(call("DELETE", SERVICES "/web", "{\"preconditions\":{\"uid\":\"other\"}}", NULL), 409);
	assert_int_equal(call("DELETE", SERVICES "/web", "", &json), 200);
	assert_string_equal(text_at(json, NULL, "status"), "Success");
	json_decref(json);
	assert_int_equal(call("DELETE", SERVICES "/web", "", NULL), 404);
	assert_int_equal(call("GET", SERVICES "/web", "", NULL), 404);
}

static void test_bad_objects_change_nothing(void **state)
{
	uint64_t before = revision_now();
	json_t *json;

	(void)state;
	assert_int_equal(call("POST", SERVICES, "{", &json), 400);
	assert_string_equal(text_at(json, NULL, "kind"), "Status");
	json_decref(json);
	assert_int_equal(call("POST", SERVICES, "[]", NULL), 400);
	assert_int_equal(call("POST", SERVICES, "{\"metadata\":3}", NULL), 422);
	assert_int_equal(call("POST", SERVICES, "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\"},"
				       "\"spec\":{\"ports\":[{\"port\":\"x\"}]}}", NULL), 422);
	assert_int_equal(call("POST", POOL, WEB, NULL), 400);
	assert_int_equal(call("POST", "/api/v1/services", WEB, NULL), 405);
	assert_int_equal(call("PUT", SERVICES "/other", WEB, NULL), 404);
	assert_int_equal(call("DELETE", SERVICES, "", NULL), 405);
	assert_int_equal(call("DELETE", SERVICES "/web", "not JSON", NULL), 400);
	assert_int_equal(call("BREW", SERVICES, "", NULL), 405);
	assert_int_equal(call("GET", "/apis/none/v1/things", "", NULL), 404);
	assert_int_equal(call("GET", SERVICES "/a%2fb", "", NULL), 400);
	assert_int_equal(call("GET", SERVICES "/../../x", "", NULL), 400);
	assert_int_equal(call("GET", "/api/v1/services?labelSelector=a%20b%20c", "", NULL), 400);
	assert_int_equal(call_as("PATCH", SERVICES "/web", "text/plain", "x", NULL), 415);
	assert_int_equal(call_as("POST", SERVICES, "application/vnd.kubernetes.protobuf", "k8s", NULL), 415);
	assert_int_equal(revision_now(), before);
}

static void test_apply_is_all_or_nothing(void **state)
{
	static const char good[] = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 1}]}\n---\n"
				   "apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {ports: [{port: 2}]}\n";
	static const char conflict[] = "apiVersion: v1\nkind: Service\nmetadata: {name: c}\nspec: {ports: [{port: 1}]}\n---\n"
				       "apiVersion: v1\nkind: Service\nmetadata: {name: conflict}\nspec: {ports: [{port: 2}]}\n";
	json_t *json;

	(void)state;
	assert_int_equal(call("POST", "/selvage/v1/apply?dryRun=All", good, &json), 200);
	assert_string_equal(text_at(json_array_get(json_object_get(json, "items"), 0), NULL, "result"), "created");
	json_decref(json);
	assert_int_equal(call("GET", SERVICES "/a", "", NULL), 404);
	assert_int_equal(call("POST", "/selvage/v1/apply", good, NULL), 200);
	assert_int_equal(call("GET", SERVICES "/b", "", NULL), 200);
	assert_int_equal(call("POST", "/selvage/v1/apply", good, &json), 200);
	assert_string_equal(text_at(json_array_get(json_object_get(json, "items"), 1), NULL, "result"), "unchanged");
	json_decref(json);
	assert_int_equal(call("POST", "/selvage/v1/apply", conflict, &json), 409);
	assert_string_equal(text_at(json, NULL, "message"), "the address belongs to default/web");
	json_decref(json);
	assert_int_equal(call("GET", SERVICES "/c", "", NULL), 404);
	assert_int_equal(call("POST", "/selvage/v1/apply", "a: [", NULL), 422);
	assert_int_equal(call("POST", "/selvage/v1/apply", "", NULL), 422);
	call("DELETE", SERVICES "/a", "", NULL);
	call("DELETE", SERVICES "/b", "", NULL);
}

/* Several processes count a number up, each repeating after a conflict: no increment may be lost. */
static void test_concurrent_writers(void **state)
{
	enum { WRITERS = 4, ROUNDS = 8 };
	pid_t writers[WRITERS];
	json_t *json;

	(void)state;
	assert_int_equal(call("POST", SERVICES, WEB, NULL), 201);
	for (int w = 0; w < WRITERS; w++) {
		writers[w] = fork();
		for (int done = 0; writers[w] == 0 && done < ROUNDS;) {
			_cleanup_(freep) char *body = NULL;
			json_t *metadata, *labels;
			char number[16];

			call("GET", SERVICES "/web", "", &json);
			metadata = json_object_get(json, "metadata");
			labels = json_object_get(metadata, "labels");
			snprintf(number, sizeof(number), "%d", atoi(text_at(metadata, "labels", "count")) + 1);
			json_object_set_new(labels, "count", json_string(number));
			body = json_dumps(json, 0);
			done += call("PUT", SERVICES "/web", body, NULL) == 200;
			json_decref(json);
		}
		if (writers[w] == 0)
			_exit(0);
	}
	for (int w = 0; w < WRITERS; w++)
		waitpid(writers[w], NULL, 0);
	assert_int_equal(call("GET", SERVICES "/web", "", &json), 200);
	assert_int_equal(atoi(text_at(json_object_get(json, "metadata"), "labels", "count")), WRITERS * ROUNDS);
	json_decref(json);
	call("DELETE", SERVICES "/web", "", NULL);
}

/* --- watches ----------------------------------------------------------------------------------------------------------- */

static int stream_open(const char *path)
{
	char request[300];
	int fd = open_socket();
	int length = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);

	send_text(fd, request, (size_t)length);
	return fd;
}

/* Reads until the text has come; the stream stays open. */
static bool stream_expect(int fd, char *seen, size_t size, const char *text)
{
	size_t used = strlen(seen);

	while (!strstr(seen, text)) {
		ssize_t got = recv(fd, seen + used, size - used - 1, 0);

		if (got <= 0)
			return false;
		used += (size_t)got;
		seen[used] = '\0';
	}
	return true;
}

static void test_watch(void **state)
{
	char seen[65536] = "", path[200];
	uint64_t from = revision_now();
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "/api/v1/services?watch=1&labelSelector=app%%3Dweb&resourceVersion=%lu", (unsigned long)from);
	fd = stream_open(path);
	assert_true(stream_expect(fd, seen, sizeof(seen), "chunked"));
	call("POST", SERVICES, WEB, NULL);
	assert_true(stream_expect(fd, seen, sizeof(seen), "\"ADDED\""));
	call_as("PATCH", SERVICES "/web", "application/merge-patch+json", "{\"spec\":{\"ports\":[{\"port\":81}]}}", NULL);
	assert_true(stream_expect(fd, seen, sizeof(seen), "\"MODIFIED\""));
	/* It stops being selected: for this client it is gone. */
	call_as("PATCH", SERVICES "/web", "application/merge-patch+json", "{\"metadata\":{\"labels\":{\"app\":null}}}", NULL);
	assert_true(stream_expect(fd, seen, sizeof(seen), "\"DELETED\""));
	close(fd);
	call("DELETE", SERVICES "/web", "", NULL);
	assert_alive();
}

static void test_watch_of_compacted_history(void **state)
{
	char body[300], seen[65536] = "";
	int fd;

	(void)state;
	for (int i = 0; i < 60; i++) {
		snprintf(body, sizeof(body), "apiVersion: v1\nkind: Namespace\nmetadata: {name: n, labels: {a: x%d}}\n", i);
		assert_int_equal(call("POST", "/selvage/v1/apply", body, NULL), 200);
	}
	fd = stream_open("/api/v1/namespaces?watch=1&resourceVersion=1");
	assert_true(stream_expect(fd, seen, sizeof(seen), "\"code\":410"));
	assert_non_null(strstr(seen, "\"ERROR\""));
	close(fd);
	assert_int_equal(call("GET", "/api/v1/namespaces?watch=1&resourceVersion=x", "", NULL), 400);
}

/* Bytes behind the request of a stream must not keep the server from seeing that the client has closed. */
static void test_stream_ends_with_its_client(void **state)
{
	static const char request[] = "GET /api/v1/services?watch=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbodyand more";
	time_t begin = time(NULL);

	(void)state;
	free(raw(request, sizeof(request) - 1)); /* returns when the server closes, or after 20 s */
	assert_true(time(NULL) - begin < 15);
}

static void test_trace(void **state)
{
	char seen[65536] = "";
	int fd = stream_open("/selvage/v1/trace?count=2&filter=udp+and+dst+port+7000+and+drops");

	(void)state;
	assert_true(stream_expect(fd, seen, sizeof(seen), "\r\n0\r\n\r\n"));
	assert_non_null(strstr(seen, "service_no_backend"));
	assert_null(strstr(seen, "\"pass\""));
	close(fd);
	assert_int_equal(call("GET", "/selvage/v1/trace?filter=port", "", NULL), 400);
	assert_alive();
}

/* --- verbs and metrics ------------------------------------------------------------------------------------------------- */

static void test_verbs(void **state)
{
	json_t *json;

	(void)state;
	assert_int_equal(call("GET", "/selvage/v1/services/default/web/backends", "", NULL), 200);
	assert_int_equal(call("GET", "/selvage/v1/services/default/nope/backends", "", NULL), 404);
	assert_int_equal(call("POST", "/selvage/v1/services/default/web/backends/10.0.0.1:7000/drain", "", NULL), 200);
	assert_int_equal(call("POST", "/selvage/v1/services/default/web/backends/%5B2001:db8::1%5D:7000/undrain", "", NULL), 200);
	assert_int_equal(call("POST", "/selvage/v1/services/default/web/backends/10.0.0.1/drain", "", NULL), 404);
	assert_int_equal(call("POST", "/selvage/v1/services/default/web/backends/x/drain", "", NULL), 422);
	assert_int_equal(call("POST", "/selvage/v1/vips/192.0.2.10/move", "{\"node\":\"edge2\"}", NULL), 200);
	assert_int_equal(call("POST", "/selvage/v1/vips/192.0.2.10/move", "7", NULL), 422);
	assert_int_equal(call("GET", "/selvage/v1/vips/192.0.2.10/move", "", NULL), 405);
	assert_int_equal(call("GET", "/selvage/v1/counters", "", NULL), 200);
	assert_int_equal(call("GET", "/selvage/v1/nothing", "", NULL), 404);
	assert_int_equal(call("POST", "/selvage/v1/explain", "{\"packets\":[{\"bytes\":\"000102030405060708090a0b0c0d\"}]}", &json),
			 200);
	assert_string_equal(text_at(json_array_get(json_object_get(json, "results"), 0), NULL, "verdict"), "pass");
	json_decref(json);
	assert_int_equal(call("POST", "/selvage/v1/explain", "{\"packets\":[{\"bytes\":\"0\"}]}", NULL), 422);
	assert_int_equal(call("POST", "/selvage/v1/explain", "", NULL), 422);
	assert_int_equal(call("POST", "/selvage/v1/explain",
			      "{\"packets\":[{\"protocol\":\"udp\",\"source\":\"10.0.0.1:5000\",\"destination\":\"192.0.2.10:80\"}]}", &json),
			 200);
	assert_string_equal(text_at(json_array_get(json_object_get(json, "results"), 0), NULL, "verdict"), "tx");
	json_decref(json);
	assert_int_equal(call("POST", "/selvage/v1/explain",
			      "{\"packets\":[{\"protocol\":\"udp\",\"source\":\"10.0.0.1:5000\",\"destination\":\"[2001:db8::1]:80\"}]}", NULL),
			 422);
	assert_int_equal(call("POST", "/selvage/v1/explain",
			      "{\"packets\":[{\"protocol\":\"icmp\",\"source\":\"10.0.0.1:5000\",\"destination\":\"10.0.0.2\"}]}", NULL), 422);
	assert_int_equal(call("POST", "/selvage/v1/explain",
			      "{\"packets\":[{\"bytes\":\"000102030405060708090a0b0c0d\",\"length\":13}]}", NULL), 422);
	assert_int_equal(call("GET", "/apis/metallb.io/v1beta1", "", &json), 200);
	assert_string_equal(text_at(json, NULL, "kind"), "APIResourceList");
	json_decref(json);
}

static char *metrics_get(const char *path)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(metrics_port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char request[200];
	int length = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	send_text(fd, request, (size_t)length);
	return receive_all(fd);
}

static void test_metrics(void **state)
{
	_cleanup_(freep) char *text = metrics_get("/metrics"), *page = metrics_get("/"), *ready = metrics_get("/readyz");
	_cleanup_(freep) char *none = metrics_get("/selvage/v1/status");

	(void)state;
	assert_int_equal(status_of(text), 200);
	assert_non_null(strstr(text, "application/openmetrics-text"));
	assert_non_null(strstr(text, "# HELP selvage_fastpath_drops Packets \\\"dropped\\\"\\nby reason.\n"));
	assert_non_null(strstr(text, "selvage_fastpath_drops_total{reason=\"a\\\"b\\\\c\\nd\"} 7\n"));
	assert_string_equal(text + strlen(text) - 6, "# EOF\n");
	assert_int_equal(status_of(ready), 503);
	assert_non_null(strstr(ready, "no interface is up"));
	assert_int_equal(status_of(page), 200);
	assert_non_null(strstr(page, "&#60;edge1&#62;"));
	assert_non_null(strstr(page, "<h2>Sessions</h2>"));
	assert_null(strstr(page, "<edge1>"));
	assert_int_equal(status_of(none), 404);
}

/* --- what is not HTTP -------------------------------------------------------------------------------------------------- */

static void assert_refused(const char *text, size_t length, int status)
{
	_cleanup_(freep) char *answer = raw(text, length);

	if (status_of(answer) != status)
		fail_msg("\"%.60s\" got %d, not %d", text, status_of(answer), status);
}

static void test_garbage(void **state)
{
	static const struct {
		const char *text;
		int status;
	} cases[] = {
		{"\x16\x03\x01\x02 tls?\r\n\r\n", 400},
		{"GET\r\n\r\n", 400},
		{"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505},
		{"GET / HTTP/1.1\r\n\r\n", 400},
		{"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 411},
		{"GET / HT", 400},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf", 400},
	};
	_cleanup_(freep) char *long_head = malloc(40000);

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++)
		assert_refused(cases[i].text, strlen(cases[i].text), cases[i].status);
	memset(long_head, 'a', 40000);
	assert_refused(long_head, 40000, 431);
	assert_refused("GET / HTTP/1.1\r\nHost: \0\r\n\r\n", 27, 400);
	assert_alive();
}

/* A client that has closed its sending half is answered; one that has closed both harms nobody. */
static void test_closed_halfway(void **state)
{
	static const char request[] = "POST " SERVICES " HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{\"a\"";
	int fd = open_socket();

	(void)state;
	send_text(fd, request, sizeof(request) - 1);
	close(fd);
	for (int i = 0; i < 50; i++) {
		fd = stream_open("/api/v1/services?watch=1");
		close(fd);
		fd = stream_open("/selvage/v1/apply");
		close(fd);
	}
	assert_alive();
}

static void test_pipelined(void **state)
{
	static const char requests[] = "GET /version HTTP/1.1\r\nHost: x\r\n\r\nGET /api HTTP/1.1\r\nHost: x\r\n\r\n"
				       "GET " SERVICES " HTTP/1.1\r\nHost: x\r\n\r\n";
	_cleanup_(freep) char *answers = raw(requests, sizeof(requests) - 1);

	(void)state;
	assert_non_null(strstr(answers, "gitVersion"));
	assert_non_null(strstr(strstr(answers, "gitVersion"), "APIVersions"));
	assert_non_null(strstr(strstr(answers, "APIVersions"), "ServiceList"));
}

/* More idle connections than there may be, then one that asks once they are gone. */
static void test_too_many_connections(void **state)
{
	int fds[300];

	(void)state;
	for (size_t i = 0; i < array_length(fds); i++)
		fds[i] = open_socket();
	for (size_t i = 0; i < array_length(fds); i++)
		close(fds[i]);
	for (int tries = 0; tries < 100 && call("GET", "/version", "", NULL) != 200; tries++)
		poll(NULL, 0, 20);
	assert_alive();
}

static void test_other_users_are_refused(void **state)
{
	int status;
	pid_t child;

	(void)state;
	if (geteuid() != 0)
		skip();
	if (chmod(directory, 0755) < 0)
		fail();
	child = fork();
	if (child == 0) {
		json_t *json = NULL;

		if (setgid(65534) < 0 || setuid(65534) < 0)
			_exit(9);
		status = call("GET", "/selvage/v1/status", "", &json);
		status = status == 403 && strcmp(text_at(json, NULL, "reason"), "Forbidden") == 0 ? 0 : 1;
		_exit(status || call("POST", SERVICES, WEB, NULL) != 403);
	}
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(call("GET", SERVICES "/web", "", NULL), 404);
}

/* --- sessions ---------------------------------------------------------------------------------------------------------- */

/* The answer's text, or a failure's message. */
static void assert_answers(const char *method, const char *path, const char *body, int status, const char *expected)
{
	json_t *json;
	char *text;

	assert_int_equal(call(method, path, body, &json), status);
	text = json_dumps(json_object_get(json, "message") ? json_object_get(json, "message") : json, JSON_COMPACT | JSON_ENCODE_ANY);
	assert_string_equal(text, expected);
	free(text);
	json_decref(json);
}

static void test_sessions_are_asked_for(void **state)
{
	(void)state;
	assert_answers("GET", "/selvage/v1/sessions", "", 200, "{\"items\":[],\"limit\":1000}");
	assert_answers("GET", "/selvage/v1/sessions?limit=7&after=@17", "", 200, "{\"items\":[],\"after\":\"@17\",\"limit\":7}");
	assert_answers("GET", "/selvage/v1/services/media/sessions", "", 200,
		       "{\"items\":[],\"namespace\":\"default\",\"service\":\"media\",\"limit\":1000}");
	assert_answers("GET", "/selvage/v1/services/voice/media/sessions", "", 200,
		       "{\"items\":[],\"namespace\":\"voice\",\"service\":\"media\",\"limit\":1000}");
	assert_answers("GET", "/v1/services/other/sessions", "", 404, "\"services \\\"other\\\" not found\"");
	assert_answers("GET", "/v1/sessions", "", 404, "\"there is nothing at \\\"/v1/sessions\\\"\"");
	assert_int_equal(call("GET", "/v1/services/a/b/c/d/e/f/g/h/i/j", "", NULL), 404); /* as many parts as there may be */
	assert_answers("GET", "/selvage/v1/services/other/sessions", "", 404, "\"services \\\"other\\\" not found\"");
	assert_answers("GET", "/selvage/v1/sessions?limit=0", "", 400, "\"limit must be a number from 1 to 10000\"");
	assert_answers("GET", "/selvage/v1/sessions?limit=10001", "", 400, "\"limit must be a number from 1 to 10000\"");
	assert_answers("GET", "/selvage/v1/sessions?after=foo", "", 400,
		       "\"after must be a session's number, as \\\"next\\\" says it: @17, not \\\"foo\\\"\"");
	assert_int_equal(call("GET", "/selvage/v1/sessions?after=17", "", NULL), 400);
	assert_int_equal(call("GET", "/selvage/v1/sessions?after=", "", NULL), 400);
	assert_int_equal(call("GET", "/selvage/v1/sessions?after=@999999", "", NULL), 400);
	assert_answers("GET", "/selvage/v1/sessions/@17", "", 200, "{\"name\":\"@17\"}");
	assert_answers("GET", "/selvage/v1/services/media/sessions/abcd", "", 200,
		       "{\"namespace\":\"default\",\"service\":\"media\",\"name\":\"abcd\"}");
	assert_answers("GET", "/selvage/v1/services/voice/media/sessions/abcd", "", 200,
		       "{\"namespace\":\"voice\",\"service\":\"media\",\"name\":\"abcd\"}");
}

static void test_refused_methods_name_the_others(void **state)
{
	static const struct {
		const char *method, *path, *allow;
	} cases[] = {
		{"POST", "/selvage/v1/services/media/sessions/abcd", "PUT, DELETE, GET, HEAD"},
		{"DELETE", "/selvage/v1/status", "GET, HEAD"},
		{"GET", "/selvage/v1/vips/192.0.2.10/move", "POST"},
		{"DELETE", "/selvage/v1/services/media/sessions", "GET, HEAD"},
		{"DELETE", "/api/v1/namespaces/default/services", "GET, HEAD, POST"},
		{"POST", "/api/v1/namespaces/default/services/web", "GET, HEAD, PUT, PATCH, DELETE"},
		{"BREW", "/api/v1/services", "GET, HEAD"},
		{"PUT", "/apis", "GET, HEAD"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		char request[200], expected[100], *answer;
		int length = snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", cases[i].method,
				      cases[i].path);

		snprintf(expected, sizeof(expected), "\r\nAllow: %s\r\n", cases[i].allow);
		answer = raw(request, (size_t)length);
		assert_int_equal(status_of(answer), 405);
		if (!strstr(answer, expected))
			fail_msg("%s %s: %s", cases[i].method, cases[i].path, answer);
		free(answer);
	}
}

static void test_sessions_are_registered_and_removed(void **state)
{
	static const char body[] = "{\"backend\":\"10.0.0.21:7000\"}";

	(void)state;
	assert_int_equal(call("PUT", "/selvage/v1/services/media/sessions/ab_c-d", body, NULL), 200);
	assert_int_equal(call("PUT", "/selvage/v1/services/default/media/sessions/ab_c-d", body, NULL), 200);
	assert_answers("PUT", "/selvage/v1/services/voice/media/sessions/ab_c-d", body, 422, "\"voice/media/ab_c-d\"");
	assert_answers("PUT", "/selvage/v1/services/media/sessions/abcd", "{", 400,
		       "\"the body must be JSON: {\\\"backend\\\": \\\"ADDRESS:PORT\\\"}\"");
	assert_int_equal(call("PUT", "/selvage/v1/services/media/sessions/ab%2Fc", body, NULL), 400);
	assert_answers("DELETE", "/selvage/v1/sessions/@17", "", 404, "\"- - @17\"");
	assert_answers("DELETE", "/selvage/v1/services/media/sessions/abcd", "", 404, "\"default media abcd\"");
	assert_int_equal(call("POST", "/selvage/v1/services/media/sessions/abcd", body, NULL), 405);
	assert_int_equal(call("POST", "/selvage/v1/sessions/rotate", "", NULL), 200);
	assert_answers("POST", "/selvage/v1/sessions/ufrag", "{\"backend\":\"10.0.0.21:7000\",\"count\":20000}", 200,
		       "{\"namespace\":\"default\",\"backend\":\"10.0.0.21:7000\",\"count\":20000}");
	assert_int_equal(call("POST", "/selvage/v1/sessions/ufrag", "{\"backend\":\"10.0.0.21:7000\",\"count\":20001}", NULL), 422);
	assert_int_equal(call("POST", "/selvage/v1/sessions/ufrag", "{}", NULL), 422);
}

static void test_session_events_reach_who_follows(void **state)
{
	static const char request[] = "GET /selvage/v1/sessions/events HTTP/1.1\r\nHost: x\r\n\r\n";
	char seen[4096] = "";
	int fd = open_socket();

	(void)state;
	send_text(fd, request, strlen(request));
	assert_true(stream_expect(fd, seen, sizeof(seen), "{\"started\":true}"));
	assert_int_equal(call("PUT", "/selvage/v1/services/media/sessions/ab_c-d", "{}", NULL), 200);
	assert_true(stream_expect(fd, seen, sizeof(seen), "{\"type\":\"Test\"}"));
	close(fd);
	assert_int_equal(call("PUT", "/selvage/v1/services/media/sessions/ab_c-d", "{}", NULL), 200);
	assert_alive();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sessions_are_asked_for),
		cmocka_unit_test(test_sessions_are_registered_and_removed),
		cmocka_unit_test(test_refused_methods_name_the_others),
		cmocka_unit_test(test_session_events_reach_who_follows),
		cmocka_unit_test(test_object_lives),
		cmocka_unit_test(test_bad_objects_change_nothing),
		cmocka_unit_test(test_apply_is_all_or_nothing),
		cmocka_unit_test(test_concurrent_writers),
		cmocka_unit_test(test_watch),
		cmocka_unit_test(test_watch_of_compacted_history),
		cmocka_unit_test(test_stream_ends_with_its_client),
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_verbs),
		cmocka_unit_test(test_metrics),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_closed_halfway),
		cmocka_unit_test(test_pipelined),
		cmocka_unit_test(test_too_many_connections),
		cmocka_unit_test(test_other_users_are_refused),
	};

	return cmocka_run_group_tests(tests, server_start, server_stop);
}

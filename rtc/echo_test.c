/* SPDX-License-Identifier: Apache-2.0 */
/* The agent and the client of the media check, over real sockets; and what WHIP has to refuse. */
#include "rtc/echo.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <cmocka.h>

#include "base/lib/address_text.h"
#include "base/lib/log.h"
#include "rtc/echo_internal.h"
#include "rtc/media_call.h"
#include "rtc/media_loop.h"
#include "rtc/media_stamp.h"

#define LIMIT_SECONDS 20

struct house {
	struct event_base *base;
	struct echo *echo;
	struct media_identity *identity;
	struct event *limit;
};

static struct media_endpoint endpoint(const char *text)
{
	struct media_endpoint result;

	assert_int_equal(endpoint_parse(text, &result.address, &result.port), 0);
	return result;
}

static void on_limit(evutil_socket_t fd, short events, void *context)
{
	fail_msg("nothing happened for %d s", LIMIT_SECONDS);
}

static void house_open(struct house *house, struct echo_config *config, bool ipv6)
{
	static const struct timeval limit = {.tv_sec = LIMIT_SECONDS};
	struct error error = {0};

	*house = (struct house){.base = event_base_new()};
	house->limit = evtimer_new(house->base, on_limit, NULL);
	evtimer_add(house->limit, &limit);
	config->base = house->base;
	config->http = config->media = endpoint(ipv6 ? "[::1]:0" : "127.0.0.1:0");
	if (!config->sessions_max)
		config->sessions_max = 100;
	if (echo_new(config, &house->echo, &error) < 0)
		fail_msg("%s", error.text);
	assert_int_equal(media_identity_new(&house->identity, NULL), 0);
}

static void house_close(struct house *house)
{
	echo_free(house->echo);
	media_identity_free(house->identity);
	event_free(house->limit);
	event_base_free(house->base);
}

/* Runs until `done`. */
static void house_run(struct house *house, bool (*done)(void *context), void *context)
{
	while (!done(context))
		assert_int_equal(event_base_loop(house->base, EVLOOP_ONCE), 0);
}

/* --- calls -------------------------------------------------------------------------------------------------------------- */

struct caller {
	struct house *house;
	struct media_call *call;
	uint64_t frames, one_ways;
	enum media_state state;
	char why[300];
	bool ended;
	uint64_t wanted;
};

static void on_frame(void *context, uint32_t round_trip_us, bool one_way, uint32_t there_us, uint32_t back_us)
{
	struct caller *caller = context;

	caller->frames++;
	caller->one_ways += one_way;
	assert_true(!one_way || there_us + back_us == round_trip_us);
}

static void on_state(void *context, enum media_state state, const char *why)
{
	struct caller *caller = context;

	caller->state = state;
	snprintf(caller->why, sizeof(caller->why), "%s", why);
}

static void on_ended(void *context)
{
	((struct caller *)context)->ended = true;
}

static void caller_begin(struct caller *caller, struct house *house)
{
	struct media_call_config config = {
		.base = house->base,
		.identity = house->identity,
		.whip = echo_http(house->echo),
		.whip_path = "/whip",
		.timeout_ms = 15000,
		.clock = media_stamp_clock(),
		.frame = on_frame,
		.state = on_state,
		.ended = on_ended,
		.context = caller,
	};
	struct error error = {0};

	*caller = (struct caller){.house = house};
	if (media_call_new(&config, &caller->call, &error) < 0)
		fail_msg("%s", error.text);
}

static bool caller_has_frames(void *context)
{
	struct caller *caller = context;

	if (caller->state == MEDIA_FAILED)
		fail_msg("%s", caller->why);
	return caller->frames >= caller->wanted;
}

static bool caller_failed(void *context)
{
	return ((struct caller *)context)->state == MEDIA_FAILED;
}

static bool caller_ended(void *context)
{
	return ((struct caller *)context)->ended;
}

static void caller_wait(struct caller *caller, uint64_t frames)
{
	caller->wanted = caller->frames + frames;
	house_run(caller->house, caller_has_frames, caller);
}

static void caller_end(struct caller *caller)
{
	media_call_hang_up(caller->call);
	house_run(caller->house, caller_ended, caller);
	media_call_free(caller->call);
}

static void a_call_comes_back(void **state)
{
	for (int variant = 0; variant < 4; variant++) {
		struct echo_config config = {
			.full_ice = variant & 1,
			.dtls_active = variant & 2,
			.only = variant & 1 ? MEDIA_PROFILE_AES128_CM_SHA1_80 : MEDIA_PROFILE_NONE};
		struct media_call_result result;
		struct caller caller;
		struct house house;

		house_open(&house, &config, variant & 2);
		caller_begin(&caller, &house);
		caller_wait(&caller, 10);
		result = media_call_result(caller.call);
		assert_true(result.whip_us && result.connect_us >= result.path_us && result.first_us >= result.connect_us);
		assert_int_equal(result.peer.profile, variant & 1 ? MEDIA_PROFILE_AES128_CM_SHA1_80 : MEDIA_PROFILE_AEAD_AES_128_GCM);
		assert_int_equal(caller.one_ways, caller.frames);
		assert_int_equal(echo_counters(house.echo).connected, 1);
		caller_end(&caller);
		assert_int_equal(echo_counters(house.echo).sessions, 0);
		assert_int_equal(echo_counters(house.echo).connected, 0);
		assert_int_equal(echo_counters(house.echo).refused_total, 0);
		house_close(&house);
	}
}

static void restarts_and_moves_keep_a_call(void **state)
{
	for (int full = 0; full < 2; full++) {
		struct echo_config config = {.full_ice = full};
		struct caller caller;
		struct house house;
		struct error error;

		house_open(&house, &config, false);
		caller_begin(&caller, &house);
		caller_wait(&caller, 5);
		assert_int_equal(media_call_restart_ice(caller.call, &error), 0);
		caller_wait(&caller, 5);
		/* Another port: a restart tells the agent. */
		assert_int_equal(media_call_rebind(caller.call, &error), 0);
		assert_int_equal(media_call_restart_ice(caller.call, &error), 0);
		caller_wait(&caller, 20);
		assert_int_equal(echo_counters(house.echo).sessions_total, 1);
		assert_int_equal(media_call_result(caller.call).peer.lost, 0);
		caller_end(&caller);
		house_close(&house);
	}
}

/* A client whose address changed, and who does not know: frames get there, but nothing comes back until its next check. */
static void silence_is_a_gap(void **state)
{
	struct echo_config config = {0};
	struct caller caller;
	struct house house;
	struct error error;
	uint64_t sent;

	house_open(&house, &config, false);
	caller_begin(&caller, &house);
	caller_wait(&caller, 5);
	assert_int_equal(media_call_rebind(caller.call, &error), 0);
	sent = media_call_result(caller.call).sent;
	while (media_call_result(caller.call).sent < sent + 20)
		event_base_loop(house.base, EVLOOP_ONCE);
	assert_in_range(media_call_result(caller.call).longest_gap_us, 300000, 2000000);
	caller_end(&caller);
	house_close(&house);
}

static void many_calls_share_one_port(void **state)
{
	struct echo_config config = {0};
	struct caller callers[20];
	struct house house;

	house_open(&house, &config, false);
	for (size_t i = 0; i < array_length(callers); i++)
		caller_begin(&callers[i], &house);
	for (size_t i = 0; i < array_length(callers); i++)
		caller_wait(&callers[i], 5);
	assert_int_equal(echo_counters(house.echo).connected, 20);
	assert_int_equal(echo_counters(house.echo).strays_total, 0);
	for (size_t i = 0; i < array_length(callers); i++)
		caller_end(&callers[i]);
	assert_int_equal(echo_counters(house.echo).sessions, 0);
	house_close(&house);
}

static void enough_is_enough(void **state)
{
	struct echo_config config = {.sessions_max = 1};
	struct caller first, second;
	struct house house;

	house_open(&house, &config, false);
	caller_begin(&first, &house);
	caller_wait(&first, 1);
	caller_begin(&second, &house);
	house_run(&house, caller_failed, &second);
	assert_string_equal(second.why, "WHIP: HTTP status 503, there are 1 sessions already");
	caller_end(&second);
	caller_end(&first);
	house_close(&house);
}

/* --- fragments of others ------------------------------------------------------------------------------------------------ */

/* A selvaged that has one answer, and keeps what it was asked. */
struct selvaged {
	char path[64];
	struct evconnlistener *listener;
	const char *status, *answer; /* NULL: 200 OK */
	char asked[8][1024];
	size_t count, closed;
	int open; /* connections */
};

static void selvaged_on_written(struct bufferevent *stream, void *context)
{
	((struct selvaged *)context)->closed++;
	((struct selvaged *)context)->open--;
	bufferevent_free(stream);
}

static void selvaged_on_event(struct bufferevent *stream, short events, void *context)
{
	((struct selvaged *)context)->open--;
	bufferevent_free(stream);
}

static void selvaged_on_read(struct bufferevent *stream, void *context)
{
	struct selvaged *selvaged = context;
	size_t length = evbuffer_get_length(bufferevent_get_input(stream));
	char *text = selvaged->asked[selvaged->count];

	if (length == 0)
		return;
	assert_true(selvaged->count < 8 && length < sizeof(selvaged->asked[0]));
	evbuffer_remove(bufferevent_get_input(stream), text, length);
	text[length] = '\0';
	selvaged->count++;
	evbuffer_add_printf(bufferevent_get_output(stream), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s",
			    selvaged->status ? selvaged->status : "200 OK", strlen(selvaged->answer), selvaged->answer);
	bufferevent_setcb(stream, NULL, selvaged_on_written, selvaged_on_event, context);
}

static void selvaged_on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int length, void *context)
{
	struct bufferevent *stream = bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);

	((struct selvaged *)context)->open++;
	bufferevent_setcb(stream, selvaged_on_read, NULL, selvaged_on_event, context);
	bufferevent_enable(stream, EV_READ | EV_WRITE);
}

static void selvaged_listen(struct selvaged *selvaged, struct event_base *base)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(address.sun_path, selvaged->path);
	selvaged->listener = evconnlistener_new_bind(base, selvaged_on_accept, selvaged, LEV_OPT_CLOSE_ON_FREE, -1,
						     (struct sockaddr *)&address, sizeof(address));
	assert_non_null(selvaged->listener);
}

static void selvaged_name(struct selvaged *selvaged)
{
	snprintf(selvaged->path, sizeof(selvaged->path), "/tmp/selvage-echo-test.XXXXXX");
	assert_non_null(mkdtemp(selvaged->path));
	strcat(selvaged->path, "/s");
}

/* Before the house closes: the listener is of its event base. */
static void selvaged_forget(struct selvaged *selvaged)
{
	assert_int_equal(selvaged->open, 0);
	evconnlistener_free(selvaged->listener);
	unlink(selvaged->path);
	*strrchr(selvaged->path, '/') = '\0';
	rmdir(selvaged->path);
}

static bool selvaged_was_asked(void *context)
{
	return ((struct selvaged *)context)->count >= 1;
}

static void encoded_fragments_are_asked_for(void **state)
{
	struct selvaged selvaged = {.answer = "{\"ufrags\": [\"encodedA\", \"encodedB\"]}"};
	struct echo_config config = {.fragments_encoded = true, .service = "calls/media", .backend = "192.0.2.5:7000"};
	struct caller caller;
	struct house house;
	struct error error;

	selvaged_name(&selvaged);
	config.selvaged_socket = selvaged.path;
	/* It is not there yet: calls are refused, not lost. */
	house_open(&house, &config, false);
	caller_begin(&caller, &house);
	house_run(&house, caller_failed, &caller);
	assert_string_equal(caller.why, "WHIP: HTTP status 503, selvaged has given no user fragments yet");
	caller_end(&caller);
	selvaged_listen(&selvaged, house.base);
	house_run(&house, selvaged_was_asked, &selvaged);
	assert_non_null(strstr(selvaged.asked[0], "POST /selvage/v1/sessions/ufrag HTTP/1.1\r\n"));
	assert_non_null(strstr(selvaged.asked[0], "{\"backend\":\"192.0.2.5:7000\",\"namespace\":\"calls\",\"service\":\"media\","
						  "\"count\":200}"));
	do {
		event_base_loop(house.base, EVLOOP_ONCE);
		caller_begin(&caller, &house);
		while (caller.state != MEDIA_FAILED && caller.frames == 0)
			event_base_loop(house.base, EVLOOP_ONCE);
		if (caller.state == MEDIA_FAILED)
			caller_end(&caller);
	} while (caller.ended);
	caller_wait(&caller, 3);
	assert_int_equal(media_call_restart_ice(caller.call, &error), 0);
	caller_wait(&caller, 5);
	caller_end(&caller);
	while (selvaged.closed < selvaged.count)
		event_base_loop(house.base, EVLOOP_ONCE);
	selvaged_forget(&selvaged);
	house_close(&house);
}

static void random_fragments_are_registered(void **state)
{
	struct selvaged selvaged = {.answer = "{}"};
	struct echo_config config = {.fragments_registered = true, .service = "media", .backend = "192.0.2.5:7000"};
	char first[65], second[65], *restarts;
	struct caller caller;
	struct house house;

	selvaged_name(&selvaged);
	config.selvaged_socket = selvaged.path;
	house_open(&house, &config, false);
	selvaged_listen(&selvaged, house.base);
	caller_begin(&caller, &house);
	caller_wait(&caller, 3);
	assert_int_equal(selvaged.count, 1);
	assert_null(strstr(selvaged.asked[0], "restarts"));
	assert_non_null(strstr(selvaged.asked[0], "PUT /selvage/v1/services/media/sessions/"));
	assert_non_null(strstr(selvaged.asked[0], "{\"backend\":\"192.0.2.5:7000\",\"expiresInSeconds\":60,\"password\":\""));
	/* An ICE restart names the fragment before; only the last one is taken back, since both are one call. */
	assert_int_equal(media_call_restart_ice(caller.call, NULL), 0);
	caller_wait(&caller, 5);
	assert_int_equal(selvaged.count, 2);
	assert_int_equal(sscanf(strstr(selvaged.asked[0], "sessions/"), "sessions/%64s", first), 1);
	assert_int_equal(sscanf(strstr(selvaged.asked[1], "sessions/"), "sessions/%64s", second), 1);
	assert_string_not_equal(first, second);
	assert_null(strpbrk(first, "/+"));
	assert_non_null(restarts = strstr(selvaged.asked[1], "\"restarts\":\""));
	for (size_t i = 0; first[i]; i++)
		assert_int_equal(restarts[12 + i], first[i] == '_' ? '/' : first[i] == '-' ? '+' : first[i]);
	caller_end(&caller);
	while (selvaged.closed < 3)
		event_base_loop(house.base, EVLOOP_ONCE);
	assert_memory_equal(selvaged.asked[2], "DELETE ", 7);
	assert_non_null(strstr(selvaged.asked[2], second));
	selvaged_forget(&selvaged);
	house_close(&house);
}

/* What it encrypts with is told when the handshake is over; of profiles that nobody could verify nothing is. */
static void a_clients_key_is_registered(void **state)
{
	struct selvaged selvaged = {.answer = "{}"};
	struct echo_config config = {.fragments_registered = true, .service = "media", .backend = "192.0.2.5:7000", .only = MEDIA_PROFILE_AES128_CM_SHA1_80};
	struct caller caller;
	struct house house;
	const char *key;

	selvaged_name(&selvaged);
	config.selvaged_socket = selvaged.path;
	house_open(&house, &config, false);
	selvaged_listen(&selvaged, house.base);
	caller_begin(&caller, &house);
	caller_wait(&caller, 3);
	while (selvaged.closed < 2)
		event_base_loop(house.base, EVLOOP_ONCE);
	assert_null(strstr(selvaged.asked[0], "srtp"));
	assert_non_null(strstr(selvaged.asked[1], "\"password\":\""));
	assert_non_null(key = strstr(selvaged.asked[1], "\"srtp\":{\"profile\":\"SRTP_AES128_CM_HMAC_SHA1_80\",\"key\":\""));
	assert_int_equal(strcspn(strstr(key, "key") + 6, "\""), 40);
	/* an ICE restart keeps it */
	assert_int_equal(media_call_restart_ice(caller.call, NULL), 0);
	caller_wait(&caller, 5);
	assert_int_equal(selvaged.count, 3);
	assert_non_null(strstr(selvaged.asked[2], "\"restarts\":\""));
	assert_memory_equal(strstr(selvaged.asked[2], "\"srtp\""), key, 100);
	caller_end(&caller);
	while (selvaged.closed < 4)
		event_base_loop(house.base, EVLOOP_ONCE);
	selvaged_forget(&selvaged);
	house_close(&house);
}

static void on_registered(void *context, bool good)
{
	*(int *)context = good ? 1 : -1;
}

/* What ICE allows and a path does not. */
static void fragments_fit_into_paths(void **state)
{
	struct selvaged selvaged = {.answer = "{}"};
	struct echo_config config = {
		.base = event_base_new(), .fragments_registered = true, .service = "calls/media", .backend = "192.0.2.5:7000"};
	struct echo_fragments *fragments;
	struct srtp_key key;
	int registered = 0;

	/* RFC 3711 appendix B.3's */
	assert_int_equal(srtp_key_parse("SRTP_AES128_CM_HMAC_SHA1_80", "4fl6DT4Bi+DWT6MsBt5BOQ7Gda1Jiv7rtpYLOqvm", &key, NULL), 0);
	selvaged_name(&selvaged);
	config.selvaged_socket = selvaged.path;
	selvaged_listen(&selvaged, config.base);
	assert_int_equal(echo_fragments_new(&config, &fragments, NULL), 0);
	echo_fragments_begin(fragments,
			     &(struct echo_registration){.ufrag = "ab/c+d", .password = "passwordpasswordpassword", .previous = "/old+", .srtp = &key},
			     on_registered, &registered);
	while (!registered)
		event_base_loop(config.base, EVLOOP_ONCE);
	assert_int_equal(registered, 1);
	assert_non_null(strstr(selvaged.asked[0], "PUT /selvage/v1/services/calls/media/sessions/ab_c-d HTTP/1.1\r\n"));
	assert_non_null(strstr(selvaged.asked[0], "\"restarts\":\"/old+\",\"srtp\":{\"profile\":\"SRTP_AES128_CM_HMAC_SHA1_80\",\"key\":"
						  "\"4fl6DT4Bi+DWT6MsBt5BOQ7Gda1Jiv7rtpYLOqvm\"}}"));
	echo_fragments_free(fragments);
	selvaged_forget(&selvaged);
	event_base_free(config.base);
}

/* An answer whose fragment leads nowhere would be a call that never connects. */
static void what_selvaged_refuses_is_no_call(void **state)
{
	struct selvaged selvaged = {.status = "422 Unprocessable Content", .answer = "{\"message\":\"no such backend\"}"};
	struct echo_config config = {.fragments_registered = true, .service = "media", .backend = "192.0.2.5:7000"};
	struct caller caller;
	struct house house;

	selvaged_name(&selvaged);
	config.selvaged_socket = selvaged.path;
	house_open(&house, &config, false);
	/* Nobody is there. */
	caller_begin(&caller, &house);
	house_run(&house, caller_failed, &caller);
	assert_string_equal(caller.why, "WHIP: HTTP status 503, selvaged has not taken the user fragment");
	caller_end(&caller);
	selvaged_listen(&selvaged, house.base);
	caller_begin(&caller, &house);
	house_run(&house, caller_failed, &caller);
	assert_string_equal(caller.why, "WHIP: HTTP status 503, selvaged has not taken the user fragment");
	caller_end(&caller);
	/* A client that does not wait: nothing of it stays. */
	caller_begin(&caller, &house);
	while (echo_counters(house.echo).sessions == 0)
		event_base_loop(house.base, EVLOOP_ONCE);
	media_call_free(caller.call);
	while (echo_counters(house.echo).sessions || selvaged.closed < selvaged.count)
		event_base_loop(house.base, EVLOOP_ONCE);
	/* And one that waits when the agent ends. */
	caller_begin(&caller, &house);
	while (echo_counters(house.echo).sessions == 0)
		event_base_loop(house.base, EVLOOP_ONCE);
	media_call_free(caller.call);
	echo_free(steal(house.echo));
	while (selvaged.open)
		event_base_loop(house.base, EVLOOP_ONCE);
	selvaged_forget(&selvaged);
	house_close(&house);
}

static void fragments_of_a_file_are_used_in_turn(void **state)
{
	char path[] = "/tmp/selvage-echo-test.XXXXXX";
	_cleanup_(closep) int fd = mkstemp(path);
	struct echo_config config = {.fragment_file = path};
	struct caller caller;
	struct house house;

	assert_int_equal(write(fd, "firstone\nno\nsecondone\n", 22), 22);
	house_open(&house, &config, false);
	for (int i = 0; i < 3; i++) {
		caller_begin(&caller, &house);
		caller_wait(&caller, 2);
		caller_end(&caller);
	}
	assert_int_equal(echo_counters(house.echo).connected_total, 3);
	house_close(&house);
	unlink(path);
}

/* --- what WHIP has to refuse ---------------------------------------------------------------------------------------------- */

struct asking {
	struct bufferevent *stream;
	char answer[8192];
	bool over;
};

static void asking_on_event(struct bufferevent *stream, short events, void *context)
{
	struct asking *asking = context;
	struct evbuffer *input = bufferevent_get_input(stream);
	size_t length = evbuffer_get_length(input);

	if (events & BEV_EVENT_CONNECTED)
		return;
	assert_true(length < sizeof(asking->answer));
	evbuffer_remove(input, asking->answer, length);
	asking->answer[length] = '\0';
	asking->over = true;
}

static bool asking_over(void *context)
{
	return ((struct asking *)context)->over;
}

/* Sends bytes as they are, and reads until the other end closes. `half_closed`: nothing more will be sent. */
static void ask(struct house *house, const char *bytes, size_t length, bool half_closed, struct asking *asking)
{
	struct media_endpoint http = echo_http(house->echo);
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htobe16(http.port), .sin_addr.s_addr = address_ipv4(&http.address)};

	*asking = (struct asking){.stream = bufferevent_socket_new(house->base, -1, BEV_OPT_CLOSE_ON_FREE)};
	bufferevent_setcb(asking->stream, NULL, NULL, asking_on_event, asking);
	evbuffer_add(bufferevent_get_output(asking->stream), bytes, length);
	bufferevent_enable(asking->stream, EV_READ | EV_WRITE);
	assert_int_equal(bufferevent_socket_connect(asking->stream, (struct sockaddr *)&address, sizeof(address)), 0);
	if (half_closed) {
		while (evbuffer_get_length(bufferevent_get_output(asking->stream)))
			event_base_loop(house->base, EVLOOP_ONCE);
		shutdown(bufferevent_getfd(asking->stream), SHUT_WR);
	}
	house_run(house, asking_over, asking);
	bufferevent_free(asking->stream);
}

static void expect(struct house *house, const char *request, const char *status)
{
	struct asking asking;

	ask(house, request, strlen(request), false, &asking);
	if (strncmp(asking.answer, status, strlen(status)) != 0)
		fail_msg("%.60s…: %.200s", request, asking.answer);
}

#define CLOSE "Host: x\r\nConnection: close\r\n"

static void whip_refuses(void **state)
{
	struct echo_config config = {0};
	struct asking asking;
	struct house house;
	_cleanup_(freep) char *large = calloc(1, 200000);

	house_open(&house, &config, false);
	expect(&house, "POST /whip HTTP/1.1\r\n" CLOSE "Content-Type: text/plain\r\nContent-Length: 3\r\n\r\nv=0", "HTTP/1.1 415 ");
	expect(&house, "POST /whip HTTP/1.1\r\n" CLOSE "Content-Length: 3\r\n\r\nv=0", "HTTP/1.1 415 ");
	expect(&house, "POST /whip HTTP/1.1\r\n" CLOSE "Content-Type: application/sdp\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 400 ");
	expect(&house, "POST /whip HTTP/1.1\r\n" CLOSE "Content-Type: application/sdp\r\nContent-Length: 7\r\n\r\n\1\2\3\4\5\6\7",
	       "HTTP/1.1 400 ");
	expect(&house, "POST /whip HTTP/1.1\r\n" CLOSE "Content-Type: application/sdp; charset=utf-8\r\nContent-Length: 3\r\n\r\nv=0",
	       "HTTP/1.1 400 ");
	expect(&house, "GET /whip HTTP/1.1\r\n" CLOSE "\r\n", "HTTP/1.1 405 ");
	expect(&house, "PATCH /whip/nobody HTTP/1.1\r\n" CLOSE "Content-Length: 0\r\n\r\n", "HTTP/1.1 404 ");
	expect(&house, "DELETE /whip/nobody HTTP/1.1\r\n" CLOSE "\r\n", "HTTP/1.1 404 ");
	expect(&house, "GET /elsewhere HTTP/1.1\r\n" CLOSE "\r\n", "HTTP/1.1 404 ");
	expect(&house, "BREW /whip HTTP/1.1\r\n" CLOSE "\r\n", "HTTP/1.1 ");
	/* Larger than any SDP: by what it says, and by what comes. */
	sprintf(large, "POST /whip HTTP/1.1\r\n" CLOSE "Content-Type: application/sdp\r\nContent-Length: 100000\r\n\r\n");
	expect(&house, large, "HTTP/1.1 413 ");
	sprintf(large, "POST /whip HTTP/1.1\r\n" CLOSE "X: ");
	memset(large + strlen(large), 'x', 100000);
	ask(&house, large, strlen(large), false, &asking);
	assert_true(asking.answer[0] == '\0' || strncmp(asking.answer, "HTTP/1.1 4", 10) == 0);
	/* Half a request, and the end. */
	ask(&house, "POST /whip HTTP/1.1\r\nContent-Le", 31, true, &asking);
	ask(&house, "POST /whip HTTP/1.1\r\n" CLOSE "Content-Type: application/sdp\r\nContent-Length: 300\r\n\r\nv=0\r\n", 98, true,
	    &asking);
	assert_int_equal(echo_counters(house.echo).sessions_total, 0);
	/* And it is as well as before. */
	expect(&house, "OPTIONS /whip HTTP/1.1\r\n" CLOSE "Origin: http://y\r\n\r\n", "HTTP/1.1 204 ");
	ask(&house, "GET /sessions HTTP/1.1\r\n" CLOSE "\r\n", strlen("GET /sessions HTTP/1.1\r\n" CLOSE "\r\n"), false, &asking);
	assert_non_null(strstr(asking.answer, "\"sessions\":0,"));
	assert_non_null(strstr(asking.answer, "Access-Control-Allow-Origin: *\r\n"));
	house_close(&house);
}

/* What a session answers to PATCH: RFC 9725 section 4.3. */
static void whip_minds_preconditions(void **state)
{
	struct echo_config config = {0};
	struct media_peer *client;
	_cleanup_(freep) char *offer = NULL;
	char request[8192], place[64], type[] = "Content-Type: application/trickle-ice-sdpfrag\r\n";
	struct media_config peer = {.offerer = true};
	struct asking asking;
	struct house house;

	house_open(&house, &config, false);
	peer.identity = house.identity;
	assert_int_equal(media_peer_new(&peer, &client, NULL), 0);
	assert_int_equal(media_peer_offer(client, &offer, NULL), 0);
	snprintf(request, sizeof(request), "POST /whip HTTP/1.1\r\n" CLOSE "Content-Type: application/sdp\r\nContent-Length: %zu\r\n\r\n%s",
		 strlen(offer), offer);
	ask(&house, request, strlen(request), false, &asking);
	assert_memory_equal(asking.answer, "HTTP/1.1 201 ", 13);
	assert_non_null(strstr(asking.answer, "ETag: \"0\"\r\n"));
	assert_non_null(strstr(asking.answer, "a=ice-lite"));
	assert_non_null(strstr(asking.answer, "a=setup:passive"));
	assert_int_equal(sscanf(strstr(asking.answer, "Location: "), "Location: %63s", place), 1);
#define PATCH(headers, body, status)                                                                                             \
	do {                                                                                                                      \
		snprintf(request, sizeof(request), "PATCH %s HTTP/1.1\r\n" CLOSE "%sContent-Length: %zu\r\n\r\n%s", place, headers, \
			 strlen(body), body);                                                                                    \
		expect(&house, request, status);                                                                                 \
	} while (0)
	PATCH("Content-Type: application/sdp\r\n", "", "HTTP/1.1 415 ");
	PATCH(type, "", "HTTP/1.1 428 ");
	PATCH("Content-Type: application/trickle-ice-sdpfrag\r\nIf-Match: \"7\"\r\n", "", "HTTP/1.1 412 ");
	PATCH("Content-Type: application/trickle-ice-sdpfrag\r\nIf-Match: \"0\"\r\n", "a=ice-ufrag:other\r\n", "HTTP/1.1 412 ");
	PATCH("Content-Type: application/trickle-ice-sdpfrag\r\nIf-Match: \"0\"\r\n", "nonsense", "HTTP/1.1 400 ");
	PATCH("Content-Type: application/trickle-ice-sdpfrag\r\nIf-Match: \"0\"\r\n", "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n",
	      "HTTP/1.1 204 ");
	PATCH("Content-Type: application/trickle-ice-sdpfrag\r\nIf-Match: *\r\n", "a=ice-ufrag:fresh\r\n", "HTTP/1.1 400 ");
	PATCH("Content-Type: application/trickle-ice-sdpfrag\r\nIf-Match: *\r\n",
	      "a=ice-ufrag:fresh\r\na=ice-pwd:passwordpasswordpassword\r\n", "HTTP/1.1 200 ");
	PATCH("Content-Type: application/trickle-ice-sdpfrag\r\nIf-Match: \"0\"\r\n", "", "HTTP/1.1 412 ");
	snprintf(request, sizeof(request), "PUT %s HTTP/1.1\r\n" CLOSE "Content-Length: 0\r\n\r\n", place);
	expect(&house, request, "HTTP/1.1 405 ");
	snprintf(request, sizeof(request), "DELETE %s HTTP/1.1\r\n" CLOSE "\r\n", place);
	expect(&house, request, "HTTP/1.1 200 ");
	expect(&house, request, "HTTP/1.1 404 ");
	media_peer_free(client);
	house_close(&house);
}

/* Noise on the media port: counted, answered by nothing, and no call suffers. */
static void noise_is_not_answered(void **state)
{
	struct echo_config config = {0};
	struct media_socket_config from = {.local = endpoint("127.0.0.1:0")};
	struct media_endpoint media;
	struct media_socket *noise;
	struct caller caller;
	struct house house;
	uint8_t bytes[200];

	house_open(&house, &config, false);
	media = echo_media(house.echo);
	from.base = house.base;
	from.receive = NULL; /* an answer would be called */
	assert_int_equal(media_socket_new(&from, &noise, NULL), 0);
	caller_begin(&caller, &house);
	caller_wait(&caller, 2);
	for (int i = 0; i < 256; i++) {
		memset(bytes, i, sizeof(bytes));
		media_socket_send(noise, &media, bytes, (size_t)(i % 200) + 1);
		media_socket_flush(noise);
	}
	caller_wait(&caller, 10);
	assert_int_equal(media_call_result(caller.call).peer.lost, 0);
	assert_int_equal(echo_counters(house.echo).strays_total, 256);
	caller_end(&caller);
	media_socket_free(noise);
	house_close(&house);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_comes_back),
		cmocka_unit_test(restarts_and_moves_keep_a_call),
		cmocka_unit_test(silence_is_a_gap),
		cmocka_unit_test(many_calls_share_one_port),
		cmocka_unit_test(enough_is_enough),
		cmocka_unit_test(encoded_fragments_are_asked_for),
		cmocka_unit_test(random_fragments_are_registered),
		cmocka_unit_test(a_clients_key_is_registered),
		cmocka_unit_test(fragments_fit_into_paths),
		cmocka_unit_test(what_selvaged_refuses_is_no_call),
		cmocka_unit_test(fragments_of_a_file_are_used_in_turn),
		cmocka_unit_test(whip_refuses),
		cmocka_unit_test(whip_minds_preconditions),
		cmocka_unit_test(noise_is_not_answered),
	};

	log_init("echo_test", LOG_LEVEL_ERROR);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/media_call.h"

#include <stdio.h>
#include <string.h>

#include "rtc/media_loop.h"
#include "rtc/media_stamp.h"
#include "rtc/media_whip.h"

#define FRAME_US 20000u

struct media_call {
	struct media_call_config config;
	struct media_socket *socket;
	struct media_socket *old; /* after a change of address: freed when nothing of it is running */
	struct media_peer *peer;
	struct media_whip *whip;
	struct media_timer timer;  /* of the peer */
	struct media_timer metronome;
	uint64_t started_us, next_frame_us;
	uint32_t timestamp, number;
	bool silent, hanging_up, restarting;
	struct media_call_result result;
	uint64_t last_returned_us;
};

/* --- media ---------------------------------------------------------------------------------------------------------------- */

static uint32_t since(const struct media_call *call, uint64_t now_us)
{
	return now_us > call->started_us ? (uint32_t)(now_us - call->started_us) : 1;
}

static void settle(struct media_call *call)
{
	media_timer_set(&call->timer, media_peer_deadline(call->peer));
	media_socket_flush(call->socket);
}

static void on_timer(void *context)
{
	struct media_call *call = context;

	(void)media_peer_advance(call->peer, media_now_us());
	settle(call);
}

static void on_datagram(void *context, uint64_t now_us, const struct media_endpoint *from, uint8_t *bytes, size_t length)
{
	struct media_call *call = context;

	media_peer_receive(call->peer, now_us, from, bytes, length);
	settle(call);
}

static void on_send(void *context, const struct media_endpoint *to, const uint8_t *bytes, size_t length)
{
	media_socket_send(((struct media_call *)context)->socket, to, bytes, length);
}

static void frame_send(struct media_call *call, uint64_t now_us)
{
	struct media_stamp stamp = {.sent_us = now_us, .number = call->number};
	uint8_t payload[MEDIA_CALL_PAYLOAD] = {0};

	media_stamp_write(payload, &stamp);
	if (media_peer_send(call->peer, now_us, call->timestamp, call->number == 0, payload, sizeof(payload)) < 0)
		return;
	call->number++;
	call->result.sent++;
}

/* Frames that are late by more than a few are left out: a burst would measure itself. */
static void on_metronome(void *context)
{
	struct media_call *call = context;
	uint64_t now_us = media_now_us();
	struct sdp_codec codec = media_peer_codec(call->peer);

	if (call->silent)
		return;
	if (now_us > call->next_frame_us + 10 * FRAME_US)
		call->next_frame_us = now_us;
	while (call->next_frame_us <= now_us) {
		frame_send(call, now_us);
		call->timestamp += codec.clock_rate / (1000000 / FRAME_US);
		call->next_frame_us += FRAME_US;
	}
	media_socket_flush(call->socket);
	media_timer_set(&call->metronome, call->next_frame_us);
}

static void on_frame(void *context, const struct media_frame *frame, uint64_t now_us)
{
	struct media_call *call = context;
	struct media_call_result *result = &call->result;
	struct media_stamp stamp;
	uint32_t round_trip_us;
	bool one_way;

	if (!media_stamp_is(frame->payload, frame->payload_length))
		return;
	stamp = media_stamp_read(frame->payload);
	if (stamp.sent_us > now_us || now_us - stamp.sent_us > 60000000)
		return;
	round_trip_us = (uint32_t)(now_us - stamp.sent_us);
	if (!result->returned++)
		result->first_us = since(call, now_us);
	else if (now_us - call->last_returned_us > result->longest_gap_us)
		result->longest_gap_us = now_us - call->last_returned_us;
	call->last_returned_us = now_us;
	result->round_trips++;
	result->round_trips_sum_us += round_trip_us;
	if (result->round_trip_min_us == 0 || round_trip_us < result->round_trip_min_us)
		result->round_trip_min_us = round_trip_us;
	if (round_trip_us > result->round_trip_max_us)
		result->round_trip_max_us = round_trip_us;
	one_way = stamp.agent_clock == call->config.clock && stamp.agent_us >= stamp.sent_us && stamp.agent_us <= now_us;
	if (call->config.frame)
		call->config.frame(call->config.context, round_trip_us, one_way,
				   one_way ? (uint32_t)(stamp.agent_us - stamp.sent_us) : 0,
				   one_way ? (uint32_t)(now_us - stamp.agent_us) : 0);
}

static void on_state(void *context, enum media_state state, const char *why)
{
	struct media_call *call = context;
	uint64_t now_us = media_now_us();

	if (state == MEDIA_SECURING)
		call->result.path_us = since(call, now_us);
	if (state == MEDIA_CONNECTED) {
		call->result.connect_us = since(call, now_us);
		call->next_frame_us = now_us;
		media_timer_set(&call->metronome, now_us);
	}
	if (!call->hanging_up && call->config.state)
		call->config.state(call->config.context, state, why);
}

/* --- WHIP ----------------------------------------------------------------------------------------------------------------- */

static void call_fail(struct media_call *call, const char *why)
{
	char text[300];

	snprintf(text, sizeof(text), "WHIP: %.280s", why);
	if (!call->hanging_up && call->config.state)
		call->config.state(call->config.context, MEDIA_FAILED, text);
}

static void answer_take(struct media_call *call, const char *body, size_t length)
{
	struct error error = {0};
	int result;

	if (call->restarting) {
		call->restarting = false;
		result = media_peer_restart_accept(call->peer, body, length, &error);
	} else {
		call->result.whip_us = since(call, media_now_us());
		result = media_peer_accept(call->peer, body, length, &error);
	}
	if (result < 0) {
		call_fail(call, error.text);
		return;
	}
	if (call->config.media.port)
		media_peer_add_remote(call->peer, &call->config.media);
	media_timer_set(&call->timer, 0);
}

static void on_answered(void *context, const char *body, size_t length, const char *error)
{
	struct media_call *call = context;

	if (call->hanging_up) {
		media_peer_close(call->peer, media_now_us());
		media_socket_flush(call->socket);
		call->config.ended(call->config.context);
	} else if (error) {
		call_fail(call, error);
	} else {
		answer_take(call, body, length);
	}
}

static int offer_send(struct media_call *call, struct error *error)
{
	_cleanup_(freep) char *offer = NULL;
	int result = media_peer_offer(call->peer, &offer, error);

	if (result == 0)
		media_whip_post(call->whip, offer);
	return result;
}

/* --- life ----------------------------------------------------------------------------------------------------------------- */

/* From the address by which media are reached, or WHIP, if the answer is yet to say where media go. */
static int socket_new(struct media_call *call, struct media_socket **ret_socket, struct error *error)
{
	const struct media_call_config *config = &call->config;
	struct media_socket_config socket = {.base = config->base, .receive = on_datagram, .context = call};
	int result = media_local_address(config->media.port ? &config->media : &config->whip, &socket.local.address);

	if (result < 0)
		return error_set(error, -result, "no way to the agent: %s", strerror(-result));
	return media_socket_new(&socket, ret_socket, error);
}

static int call_prepare(struct media_call *call, struct error *error)
{
	const struct media_call_config *config = &call->config;
	struct media_whip_config whip = {
		.base = config->base, .endpoint = config->whip, .host = config->whip_host, .path = config->whip_path,
		.token = config->whip_token, .timeout_ms = config->timeout_ms, .answered = on_answered, .context = call};
	struct sdp_candidate candidate = {.foundation = "1", .type = "host", .priority = 126u << 24 | 65535u << 8 | 255u};
	struct media_config peer = {
		.identity = config->identity,
		.offerer = true,
		.only = config->only,
		.candidates = &candidate,
		.candidate_count = 1,
		.candidates_ignored = config->media.port != 0,
		.handlers = {.send = on_send, .state = on_state, .frame = on_frame, .context = call},
	};
	int result = socket_new(call, &call->socket, error);

	if (result < 0)
		return result;
	candidate.endpoint = media_socket_local(call->socket);
	result = media_peer_new(&peer, &call->peer, error);
	if (result < 0)
		return result;
	call->whip = media_whip_new(&whip);
	if (!call->whip || media_timer_init(&call->timer, config->base, on_timer, call) < 0 ||
	    media_timer_init(&call->metronome, config->base, on_metronome, call) < 0)
		return error_set(error, ENOMEM, "no memory");
	return offer_send(call, error);
}

int media_call_new(const struct media_call_config *config, struct media_call **ret_call, struct error *error)
{
	struct media_call *call = calloc(1, sizeof(*call));
	int result;

	if (!call)
		return error_set(error, ENOMEM, "no memory");
	call->config = *config;
	call->started_us = media_now_us();
	result = call_prepare(call, error);
	if (result < 0) {
		media_call_free(call);
		return result;
	}
	*ret_call = call;
	return 0;
}

void media_call_free(struct media_call *call)
{
	if (!call)
		return;
	/* What is on its way is lost, but the agent need not wait for its end of consent. */
	call->hanging_up = true;
	if (call->peer && call->socket)
		media_peer_close(call->peer, media_now_us());
	media_timer_done(&call->timer);
	media_timer_done(&call->metronome);
	media_whip_free(call->whip);
	media_peer_free(call->peer);
	media_socket_free(call->old);
	media_socket_free(call->socket);
	free(call);
}

void media_call_stop_sending(struct media_call *call)
{
	call->silent = true;
}

void media_call_hang_up(struct media_call *call)
{
	call->silent = true;
	call->hanging_up = true;
	/* DELETE first: after the goodbye on the media's way the agent may know no such session any more. */
	media_whip_delete(call->whip);
}

int media_call_rebind(struct media_call *call, struct error *error)
{
	struct media_socket *socket;
	int result = socket_new(call, &socket, error);

	if (result < 0)
		return result;
	media_socket_free(call->old);
	call->old = call->socket;
	call->socket = socket;
	return 0;
}

int media_call_restart_ice(struct media_call *call, struct error *error)
{
	_cleanup_(freep) char *fragment = NULL;
	int result = media_peer_restart_offer(call->peer, NULL, &fragment, error);

	if (result < 0)
		return result;
	call->restarting = true;
	media_whip_restart(call->whip, fragment);
	return 0;
}

struct media_call_result media_call_result(const struct media_call *call)
{
	struct media_call_result result = call->result;

	result.peer = media_peer_statistics(call->peer);
	result.unsent = media_socket_unsent(call->socket);
	return result;
}

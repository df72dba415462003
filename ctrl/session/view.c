/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/session/view.h"

#include <stdlib.h>
#include <string.h>

#include "ctrl/session/figures.h"

uint32_t session_id_parse(const char *text)
{
	unsigned long row = 0;
	char *end;

	if (*text != '@' || !text[1] || strspn(text + 1, "0123456789") != strlen(text + 1) || strlen(text) > 8)
		return 0;
	row = strtoul(text + 1, &end, 10);
	return row < RTC_SESSION_ROWS ? (uint32_t)row : 0;
}

static json_t *milliseconds(uint16_t value_ms)
{
	return value_ms == UINT16_MAX ? NULL : json_integer(value_ms);
}

/* json_object_set_new() takes no NULL. */
static void set(json_t *object, const char *key, json_t *value)
{
	if (value)
		json_object_set_new(object, key, value);
}

static json_t *stream_json(const struct rtc_session_info *info, enum session_direction direction)
{
	const struct rtc_stream_info *stream = direction == SESSION_UP ? &info->up : &info->down;
	json_t *json = json_pack("{s:I, s:I}", "packets", (json_int_t)stream->packets, "bytes", (json_int_t)stream->bytes);
	double mos = session_mos(info, direction, stream->expected, stream->lost);

	if (stream->silent_ms != UINT32_MAX)
		set(json, "silentMs", json_integer(stream->silent_ms));
	set(json, "longestPauseMs", milliseconds(stream->pause_ms));
	if (!stream->expected)
		return json;
	set(json, "ssrc", json_sprintf("%08x", stream->ssrc));
	set(json, "payloadType", json_integer(stream->payload_type));
	set(json, "expected", json_integer((json_int_t)stream->expected));
	set(json, "lost", json_integer((json_int_t)stream->lost));
	set(json, "lossRatio", json_real((double)stream->lost / (double)stream->expected));
	set(json, "gaps", json_integer(stream->gaps));
	if (stream->clock_khz) {
		set(json, "jitterMs", json_real(stream->jitter_us / 1000.0));
		set(json, "clockHz", json_integer(1000 * stream->clock_khz));
	}
	set(json, "mos", json_real(mos));
	return json;
}

static json_t *paths_json(const struct rtc_session_info *info)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < info->path_count; i++) {
		const struct rtc_path_info *path = &info->paths[i];
		char text[ENDPOINT_TEXT_SIZE];

		json_array_append_new(list, json_pack("{s:s, s:b, s:b, s:b, s:b, s:I}", "address",
						      endpoint_format(&path->address, path->port, text), "current", path->current,
						      "proven", (path->flags & RTC_PATH_PROVEN) != 0, "nominated",
						      (path->flags & RTC_PATH_NOMINATED) != 0, "healing",
						      (path->flags & RTC_PATH_HEALING) != 0, "silentMs", (json_int_t)path->silent_ms));
	}
	return list;
}

static void live_fill(const struct session_view *view, json_t *json)
{
	const struct rtc_session_info *info = view->info;
	double round_trip_ms = session_round_trip_ms(info);
	char text[ENDPOINT_TEXT_SIZE];

	set(json, "id", json_sprintf("@%u", info->row));
	set(json, "vip", json_string(view->vip));
	set(json, "agent", json_string(endpoint_format(&info->agent, info->agent_port, text)));
	if (!address_is_zero(&info->upstream))
		set(json, "upstream", json_string(endpoint_format(&info->upstream, info->upstream_port, text)));
	set(json, "ageSeconds", json_integer(info->age_ms / 1000));
	if (info->state != RTC_SESSION_LIVE)
		return;
	for (uint32_t i = 0; i < info->path_count; i++)
		if (info->paths[i].current)
			set(json, "client", json_string(endpoint_format(&info->paths[i].address, info->paths[i].port, text)));
	if (info->consent_ms != UINT32_MAX)
		set(json, "consentMs", json_integer(info->consent_ms));
	if (round_trip_ms >= 0)
		set(json, "roundTripMs", json_real(round_trip_ms));
	set(json, "roundTripClientMs", milliseconds(info->rtt_client_ms));
	set(json, "roundTripAgentMs", milliseconds(info->rtt_agent_ms));
	set(json, "moves", json_integer(info->moves));
	set(json, "healedPackets", json_integer(info->healed));
	set(json, "paths", paths_json(info));
	set(json, "up", stream_json(info, SESSION_UP));
	set(json, "down", stream_json(info, SESSION_DOWN));
	if (view->silent != SESSION_DIRECTIONS)
		set(json, "silent", json_string(session_direction_name(view->silent)));
}

static const char *state_of(const struct session_view *view)
{
	if (!view->info)
		return view->entry && view->entry->no_room ? "no-room" : "no-agent";
	if (view->info->state != RTC_SESSION_LIVE)
		return "waiting";
	return view->silent != SESSION_DIRECTIONS ? "one-way" : "live";
}

static void entry_fill(const struct session_view *view, json_t *json)
{
	const struct session_record *record = &view->entry->record;
	json_t *agents = json_array();
	char text[ENDPOINT_TEXT_SIZE];

	for (size_t i = 0; i < record->agent_count; i++)
		json_array_append_new(agents, json_string(endpoint_format(&record->agents[i].address, record->agents[i].port, text)));
	set(json, "ufrag", json_string(record->ufrag));
	set(json, "backends", agents);
	if (record->restarts)
		set(json, "restarts", json_string(record->restarts));
	set(json, "passwordKnown", json_boolean(record->password != NULL));
	set(json, "srtpKnown", json_boolean(record->srtp.profile != RTC_SRTP_NONE));
	if (record->expires_ms)
		set(json, "expiresInSeconds",
		    json_integer(record->expires_ms > view->now_unix_ms ? (json_int_t)((record->expires_ms - view->now_unix_ms) / 1000) : 0));
}

json_t *session_view_json(const struct session_view *view)
{
	json_t *json = json_pack("{s:s, s:s, s:s, s:b}", "namespace", view->namespace_name, "service", view->service, "state",
				 state_of(view), "registered", view->entry != NULL);

	if (view->entry)
		entry_fill(view, json);
	if (view->info)
		live_fill(view, json);
	if (view->backend_state)
		set(json, "backendState", json_string(view->backend_state));
	return json;
}

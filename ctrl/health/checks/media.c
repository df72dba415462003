/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole call: an offer by WHIP to the backend, ICE and DTLS to its media port, frames of audio until some are back, goodbye. Media go straight
 * to the backend's address and port, whatever candidates it announces: those are a virtual IP's.
 *
 * The goodbye belongs to the probe, so that the agent keeps no session of it. When only that is missing at the end of the time, the agent is well.
 */
#include <event2/event.h>
#include <string.h>

#include "ctrl/health/checks/probe.h"
#include "rtc/media_call.h"
#include "rtc/media_stamp.h"

struct media_probe {
	struct probe probe;
	struct media_identity *identity;
	struct media_call *call;
	struct event *next; /* goes on outside of the call's own functions */
	bool ended;
	bool failed;
	enum media_state state;
	char why[HEALTH_REASON_SIZE];
};

static void media_stop(struct probe *probe)
{
	struct media_probe *media = (struct media_probe *)probe;

	event_del(media->next);
	media_call_free(steal(media->call));
}

static void media_on_frame(void *context, uint32_t round_trip_us, bool one_way, uint32_t there_us, uint32_t back_us)
{
	struct media_probe *media = context;

	if (media_call_result(media->call).returned == HEALTH_MEDIA_FRAMES)
		event_active(media->next, EV_TIMEOUT, 0);
}

static void media_on_state(void *context, enum media_state state, const char *why)
{
	struct media_probe *media = context;

	media->state = state;
	if (state != MEDIA_FAILED && state != MEDIA_CLOSED)
		return;
	media->failed = true;
	snprintf(media->why, sizeof(media->why), "%.*s", HEALTH_REASON_SIZE - 10, why);
	event_active(media->next, EV_TIMEOUT, 0);
}

static void media_on_ended(void *context)
{
	struct media_probe *media = context;

	media->ended = true;
	event_active(media->next, EV_TIMEOUT, 0);
}

static struct probe_result media_success(const struct media_probe *media)
{
	struct media_call_result result = media_call_result(media->call);

	return probe_result(true, "media: connected in %.1f ms, round trip %.2f ms", result.connect_us / 1000.0,
			    result.round_trips ? (double)result.round_trips_sum_us / (double)result.round_trips / 1000.0 : 0.0);
}

static void media_on_next(evutil_socket_t fd, short events, void *context)
{
	struct media_probe *media = context;
	struct probe_result result;

	if (media->failed) {
		result = probe_result(false, "media: %.140s", media->why);
	} else if (!media->ended) {
		media_call_hang_up(media->call);
		return;
	} else {
		result = media_success(media);
	}
	probe_done(&media->probe, &result);
}

static void media_start(struct probe *probe)
{
	struct media_probe *media = (struct media_probe *)probe;
	const struct health_parameters *parameters = probe->target.parameters;
	struct media_call_config config = {
		.base = probe->target.base,
		.identity = media->identity,
		.whip = {.address = probe->target.address, .port = parameters->port},
		.whip_host = parameters->host,
		.whip_path = parameters->path,
		.media = {.address = probe->target.address, .port = parameters->media_port},
		/* The engine's timeout comes first. */
		.timeout_ms = parameters->timing.timeout_ms + 60000,
		.clock = media_stamp_clock(),
		.frame = media_on_frame,
		.state = media_on_state,
		.ended = media_on_ended,
		.context = media,
	};
	struct error error = {0};

	media->ended = media->failed = false;
	media->state = MEDIA_NEW;
	if (media_call_new(&config, &media->call, &error) < 0)
		media_on_state(media, MEDIA_FAILED, error.text);
}

/* How far it came. */
static struct probe_result media_timeout(const struct media_probe *media)
{
	uint32_t timeout_ms = media->probe.target.parameters->timing.timeout_ms;

	switch (media->state) {
	case MEDIA_NEW:
		return probe_result(false, "media: timeout after %u ms: no answer by WHIP", timeout_ms);
	case MEDIA_CHECKING:
		return probe_result(false, "media: timeout after %u ms: no answer by ICE", timeout_ms);
	case MEDIA_SECURING:
		return probe_result(false, "media: timeout after %u ms: DTLS comes to no end", timeout_ms);
	default:
		return probe_result(false, "media: timeout after %u ms: %llu of %d frames came back", timeout_ms,
				    (unsigned long long)media_call_result(media->call).returned, HEALTH_MEDIA_FRAMES);
	}
}

static void media_expire(struct probe *probe, struct probe_result *ret_result)
{
	struct media_probe *media = (struct media_probe *)probe;

	if (media->call && media_call_result(media->call).returned >= HEALTH_MEDIA_FRAMES)
		*ret_result = media_success(media);
	else
		*ret_result = media_timeout(media);
	media_stop(probe);
}

static void media_destroy(struct probe *probe)
{
	struct media_probe *media = (struct media_probe *)probe;

	media_identity_free(media->identity);
	if (media->next)
		event_free(media->next);
	free(media);
}

static struct probe *media_create(const struct probe_target *target)
{
	struct media_probe *media = calloc(1, sizeof(*media));

	if (!media)
		return NULL;
	media->probe = (struct probe){.kind = &probe_media, .target = *target};
	media->next = evtimer_new(target->base, media_on_next, media);
	if (!media->next || media_identity_new(&media->identity, NULL) < 0) {
		media_destroy(&media->probe);
		return NULL;
	}
	return &media->probe;
}

const struct probe_kind probe_media = {
	.create = media_create,
	.start = media_start,
	.expire = media_expire,
	.stop = media_stop,
	.destroy = media_destroy,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/health/parameters.h"

#include <math.h>
#include <string.h>

#include "ctrl/manifest/objects.h"

/* A day: longer ones are mistakes, and sums of them stay far from overflow. */
#define DURATION_MAX_MS 86400000u
#define COUNT_MAX 1000u

static const char default_datagram[] = "selvage\n";

static uint32_t fast_interval(uint32_t interval_ms)
{
	uint32_t quarter_ms = interval_ms / 4;

	if (quarter_ms >= 100)
		return quarter_ms;
	return interval_ms < 100 ? interval_ms : 100;
}

void health_parameters_interval(struct health_parameters *parameters, uint32_t interval_ms)
{
	parameters->timing.interval_ms = interval_ms;
	parameters->timing.fast_interval_ms = fast_interval(interval_ms);
	parameters->timing.down_interval_ms = interval_ms;
}

struct health_parameters health_parameters_default(enum health_check_type type)
{
	struct health_parameters parameters = {
		.type = type,
		.timing = {
			.timeout_ms = 500,
			.rise = 2,
			.fall = 3,
			/* Holds what falls more often than every 3.2 s for long; releases it 10 s × log2(5/2) after. */
			.damping = {.suppress = 5000, .reuse = 2000, .half_life_ms = 10000, .max_hold_ms = 60000},
		},
	};

	health_parameters_interval(&parameters, 1000);
	if (type == HEALTH_CHECK_HTTP) {
		strcpy(parameters.path, "/");
		parameters.status[0] = (struct health_status_range){200, 399};
	}
	if (type == HEALTH_CHECK_MEDIA)
		strcpy(parameters.path, "/whip");
	if (type == HEALTH_CHECK_UDP) {
		parameters.send.length = sizeof(default_datagram) - 1;
		memcpy(parameters.send.data, default_datagram, parameters.send.length);
	}
	return parameters;
}

static int text_copy(char *field, size_t size, const char *text, const char *name, struct error *error)
{
	if (!text || !*text)
		return 0;
	if (strlen(text) >= size)
		return error_set(error, EINVAL, "health check: %s is longer than %zu bytes", name, size - 1);
	strcpy(field, text);
	return 0;
}

static int bytes_copy(struct health_bytes *field, const char *text, const char *name, struct error *error)
{
	size_t length = text ? strlen(text) : 0;

	if (length == 0)
		return 0;
	if (length > sizeof(field->data))
		return error_set(error, EINVAL, "health check: %s is longer than %zu bytes", name, sizeof(field->data));
	*field = (struct health_bytes){.length = (uint32_t)length};
	memcpy(field->data, text, length);
	return 0;
}

static enum health_check_type type_of(enum service_check check)
{
	switch (check) {
	case SERVICE_CHECK_TCP:
		return HEALTH_CHECK_TCP;
	case SERVICE_CHECK_HTTP:
		return HEALTH_CHECK_HTTP;
	case SERVICE_CHECK_UDP:
		return HEALTH_CHECK_UDP;
	case SERVICE_CHECK_MEDIA:
		return HEALTH_CHECK_MEDIA;
	default:
		return HEALTH_CHECK_NONE;
	}
}

static int http_from_service(const struct service_health *service, struct health_parameters *parameters,
			     struct error *error)
{
	int result = text_copy(parameters->path, sizeof(parameters->path), service->path, "the path", error);

	if (result < 0)
		return result;
	if (service->expect_status_first)
		parameters->status[0] = (struct health_status_range){service->expect_status_first,
								      service->expect_status_last};
	return text_copy(parameters->host, sizeof(parameters->host), service->host, "the host", error);
}

static int media_from_service(const struct service_health *service, struct health_parameters *parameters, struct error *error)
{
	int result = text_copy(parameters->path, sizeof(parameters->path), service->path, "the path", error);

	return result < 0 ? result : text_copy(parameters->host, sizeof(parameters->host), service->host, "the host", error);
}

static int udp_from_service(const struct service_health *service, struct health_parameters *parameters,
			    struct error *error)
{
	int result = bytes_copy(&parameters->send, service->send, "what to send", error);

	if (result < 0)
		return result;
	return bytes_copy(&parameters->expect, service->expect, "what to expect", error);
}

int health_parameters_from_service(const struct service_health *service, struct health_parameters *ret_parameters,
				   struct error *error)
{
	struct health_parameters parameters = health_parameters_default(type_of(service->check));
	int result = 0;

	parameters.port = service->port;
	if (service->interval_ms)
		health_parameters_interval(&parameters, service->interval_ms);
	if (service->timeout_ms)
		parameters.timing.timeout_ms = service->timeout_ms;
	if (service->rise)
		parameters.timing.rise = service->rise;
	if (service->fall)
		parameters.timing.fall = service->fall;
	if (parameters.type == HEALTH_CHECK_HTTP)
		result = http_from_service(service, &parameters, error);
	else if (parameters.type == HEALTH_CHECK_MEDIA)
		result = media_from_service(service, &parameters, error);
	else if (parameters.type == HEALTH_CHECK_UDP)
		result = udp_from_service(service, &parameters, error);
	if (result < 0)
		return result;
	result = health_parameters_validate(&parameters, error);
	if (result < 0)
		return result;
	*ret_parameters = parameters;
	return 0;
}

static int duration_validate(const char *name, uint32_t value_ms, struct error *error)
{
	if (value_ms == 0 || value_ms > DURATION_MAX_MS)
		return error_set(error, EINVAL, "health check: the %s is %u ms; it must be 1 to %u ms", name, value_ms,
				 DURATION_MAX_MS);
	return 0;
}

static int count_validate(const char *name, uint32_t value, struct error *error)
{
	if (value == 0 || value > COUNT_MAX)
		return error_set(error, EINVAL, "health check: %s is %u; it must be 1 to %u", name, value, COUNT_MAX);
	return 0;
}

static int damping_validate(const struct health_damping *damping, struct error *error)
{
	int result;

	if (damping->suppress == 0)
		return 0;
	if (damping->suppress < HEALTH_FALL_PENALTY || damping->reuse == 0 || damping->reuse >= damping->suppress)
		return error_set(error, EINVAL, "health check: damping needs 0 < reuse < suppress, and suppress of at least %d",
				 HEALTH_FALL_PENALTY);
	result = duration_validate("damping half-life", damping->half_life_ms, error);
	if (result < 0)
		return result;
	result = duration_validate("damping hold time", damping->max_hold_ms, error);
	if (result < 0)
		return result;
	/* The hold time caps the penalty; a cap below `suppress` would switch damping off without a word. */
	if (damping->reuse * exp2((double)damping->max_hold_ms / damping->half_life_ms) < damping->suppress)
		return error_set(error, EINVAL, "health check: the damping hold time is too short to decay from %u to %u",
				 damping->suppress, damping->reuse);
	return 0;
}

static int timing_validate(const struct health_fsm_config *timing, struct error *error)
{
	int result = duration_validate("interval", timing->interval_ms, error);

	if (result == 0)
		result = duration_validate("fast interval", timing->fast_interval_ms, error);
	if (result == 0)
		result = duration_validate("down interval", timing->down_interval_ms, error);
	if (result == 0)
		result = duration_validate("timeout", timing->timeout_ms, error);
	if (result == 0)
		result = count_validate("rise", timing->rise, error);
	if (result == 0)
		result = count_validate("fall", timing->fall, error);
	if (result == 0)
		result = damping_validate(&timing->damping, error);
	return result;
}

/* What goes into the request line or a header may hold nothing that ends it. */
static bool text_is_visible(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || *text == 0x7f)
			return false;
	return true;
}

static int place_validate(const struct health_parameters *parameters, struct error *error)
{
	if (parameters->path[0] != '/' || !text_is_visible(parameters->path))
		return error_set(error, EINVAL,
				 "health check: the path must begin with / and have no spaces or control characters");
	if (!text_is_visible(parameters->host))
		return error_set(error, EINVAL, "health check: the host has spaces or control characters");
	return 0;
}

static int http_validate(const struct health_parameters *parameters, struct error *error)
{
	int result = place_validate(parameters, error);

	if (result < 0)
		return result;
	if (parameters->status[0].first == 0)
		return error_set(error, EINVAL, "health check: no status is accepted");
	for (int i = 0; i < HEALTH_STATUS_RANGES && parameters->status[i].first; i++) {
		const struct health_status_range *range = &parameters->status[i];

		if (range->first < 100 || range->last > 599 || range->first > range->last)
			return error_set(error, EINVAL,
					 "health check: status %u-%u is not a range within 100-599", range->first, range->last);
	}
	return 0;
}

static int udp_validate(const struct health_parameters *parameters, struct error *error)
{
	/* An empty datagram reads as end of file to a careless server, and as nothing to some firewalls. */
	if (parameters->send.length == 0)
		return error_set(error, EINVAL, "health check: nothing to send");
	if (parameters->send.length > HEALTH_BYTES_SIZE || parameters->expect.length > HEALTH_BYTES_SIZE)
		return error_set(error, EINVAL, "health check: what to send or expect is longer than %d bytes",
				 HEALTH_BYTES_SIZE);
	return 0;
}

int health_parameters_validate(const struct health_parameters *parameters, struct error *error)
{
	int result;

	if (parameters->type == HEALTH_CHECK_NONE)
		return 0;
	result = timing_validate(&parameters->timing, error);
	if (result < 0)
		return result;
	switch (parameters->type) {
	case HEALTH_CHECK_TCP:
		return 0;
	case HEALTH_CHECK_HTTP:
		return http_validate(parameters, error);
	case HEALTH_CHECK_UDP:
		return udp_validate(parameters, error);
	case HEALTH_CHECK_MEDIA:
		return place_validate(parameters, error);
	default:
		return error_set(error, EINVAL, "health check: unknown type %d", (int)parameters->type);
	}
}

#define COMPARE(x, y) ((x) < (y) ? -1 : (x) > (y))

static int bytes_compare(const struct health_bytes *a, const struct health_bytes *b)
{
	if (a->length != b->length)
		return COMPARE(a->length, b->length);
	return memcmp(a->data, b->data, a->length);
}

int health_parameters_compare(const struct health_parameters *a, const struct health_parameters *b)
{
	_Static_assert(sizeof(struct health_fsm_config) == 10 * sizeof(uint32_t), "no padding to compare");
	int order = COMPARE(a->type, b->type);

	if (!order)
		order = COMPARE(a->port, b->port);
	if (!order)
		order = COMPARE(a->media_port, b->media_port);
	if (!order)
		order = memcmp(&a->timing, &b->timing, sizeof(a->timing));
	if (!order)
		order = strcmp(a->path, b->path);
	if (!order)
		order = strcmp(a->host, b->host);
	if (!order)
		order = memcmp(a->status, b->status, sizeof(a->status));
	if (!order)
		order = strcmp(a->body, b->body);
	if (!order)
		order = bytes_compare(&a->send, &b->send);
	if (!order)
		order = bytes_compare(&a->expect, &b->expect);
	if (!order)
		order = COMPARE(a->answer_required, b->answer_required);
	return order;
}

const char *health_check_type_name(enum health_check_type type)
{
	static const char *const names[] = {
		[HEALTH_CHECK_NONE] = "none",
		[HEALTH_CHECK_TCP] = "tcp",
		[HEALTH_CHECK_HTTP] = "http",
		[HEALTH_CHECK_UDP] = "udp",
		[HEALTH_CHECK_MEDIA] = "media",
	};

	return names[type];
}

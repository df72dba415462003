/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a backend is checked. A plain value, to be copied; no pointers inside. Start from health_parameters_default() or
 * health_parameters_from_service(), change fields, and let health_set() validate. Pure; any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "ctrl/health/fsm.h"

struct service_health;

enum health_check_type {
	HEALTH_CHECK_NONE, /* always up */
	HEALTH_CHECK_TCP,  /* a connection is accepted */
	HEALTH_CHECK_HTTP, /* GET answers with a wanted status, and a wanted text if one is given */
	HEALTH_CHECK_UDP,  /* a datagram is answered, or at least not refused */
	HEALTH_CHECK_MEDIA, /* a call by WHIP brings frames of audio back */
};

#define HEALTH_PATH_SIZE 1025
#define HEALTH_HOST_SIZE 256
#define HEALTH_BODY_SIZE 128
#define HEALTH_BYTES_SIZE 512
#define HEALTH_STATUS_RANGES 8

struct health_status_range {
	uint16_t first, last; /* both included; first 0 ends the list */
};

struct health_bytes {
	uint32_t length;
	uint8_t data[HEALTH_BYTES_SIZE];
};

struct health_parameters {
	enum health_check_type type;
	uint16_t port; /* where to ask, host order; 0: the backend's own port */
	struct health_fsm_config timing;

	uint16_t media_port; /* MEDIA: where media go; 0: the backend's own port */

	/* HTTP; path and host also for MEDIA: of WHIP */
	char path[HEALTH_PATH_SIZE];
	char host[HEALTH_HOST_SIZE]; /* Host header; empty: address and port that are asked */
	struct health_status_range status[HEALTH_STATUS_RANGES];
	char body[HEALTH_BODY_SIZE]; /* must occur in the answer's first HEALTH_BODY_LIMIT bytes; empty: any body */

	/* UDP */
	struct health_bytes send;
	struct health_bytes expect; /* what the answer must begin with; empty: any answer will do */
	bool answer_required;       /* false: silence is fine while no ICMP error says otherwise (README.md) */
};

#define HEALTH_BODY_LIMIT 65536
#define HEALTH_MEDIA_FRAMES 5 /* of 20 ms that must come back */

/* Interval 1 s, timeout 500 ms, rise 2, fall 3, GET / and 200–399, POST /whip, damping on. */
struct health_parameters health_parameters_default(enum health_check_type type);

/* Sets the interval, and the fast and down intervals that go with it: a quarter (not below 100 ms), and the same. */
void health_parameters_interval(struct health_parameters *parameters, uint32_t interval_ms);

/* What a Service's annotations ask for. -EINVAL if a text is too long, or the values do not fit together. */
must_check int health_parameters_from_service(const struct service_health *service, struct health_parameters *ret_parameters,
					      struct error *error);

/* Whether the values fit together: -EINVAL and a sentence if not. */
must_check int health_parameters_validate(const struct health_parameters *parameters, struct error *error);

/* Negative, 0, positive; an order for searching. */
int health_parameters_compare(const struct health_parameters *a, const struct health_parameters *b);

/* "none", "tcp", "http", "udp", "media". */
const char *health_check_type_name(enum health_check_type type);

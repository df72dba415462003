/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a backend is checked. A plain value: copy it, no pointers inside. Unused fields are zero, so that equal
 * parameters are equal bytes; start from health_parameters_default().
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "ctrl/health/fsm.h"

enum health_check_type {
	HEALTH_CHECK_NONE, /* always up */
	HEALTH_CHECK_TCP,  /* a connection is accepted */
	HEALTH_CHECK_HTTP, /* GET answers with a wanted status, and a wanted text if one is given */
	HEALTH_CHECK_UDP,  /* a datagram is answered, or at least not refused */
};

#define HEALTH_PATH_SIZE 256
#define HEALTH_HOST_SIZE 256
#define HEALTH_TEXT_SIZE 128
#define HEALTH_STATUS_RANGES 8

struct health_status_range {
	uint16_t first, last; /* both included; first 0 ends the list */
};

struct health_bytes {
	uint32_t length;
	uint8_t data[HEALTH_TEXT_SIZE];
};

struct health_parameters {
	enum health_check_type type;
	uint16_t port; /* where to ask, host order; 0: the backend's own port */
	struct health_fsm_config timing;

	/* HTTP */
	char path[HEALTH_PATH_SIZE];
	char host[HEALTH_HOST_SIZE]; /* Host header; empty: address and port of the backend */
	struct health_status_range status[HEALTH_STATUS_RANGES];
	char body[HEALTH_TEXT_SIZE]; /* must occur in the answer's first HEALTH_BODY_LIMIT bytes; empty: any body */

	/* UDP */
	struct health_bytes send;
	struct health_bytes expect; /* must occur in the answer; empty: any answer will do */
	uint8_t answer_required;    /* 0: silence is fine as long as no ICMP error says otherwise (ctrl/health/README.md) */
};

#define HEALTH_BODY_LIMIT 65536

/* interval 1 s, fast 250 ms, timeout 500 ms, rise 2, fall 3, GET / and 200–399, damping on. */
struct health_parameters health_parameters_default(enum health_check_type type);

/*
 * Sets one parameter by its name in annotations, without the prefix `selvage.io/health-`: check, port, interval,
 * fast-interval, down-interval, timeout, rise, fall, damping, path, host, status, body, send, expect, answer.
 * Names and values: ctrl/health/README.md. -ENOENT for another name, -EINVAL for a bad value (nothing changes then).
 * `interval` moves the fast and down intervals along unless they were given; so any order of calls is right.
 */
must_check int health_parameters_set(struct health_parameters *parameters, const char *name, const char *value,
				     struct error *error);

/* Whether the values fit together: -EINVAL and a sentence if not. */
must_check int health_parameters_validate(const struct health_parameters *parameters, struct error *error);

/* Negative, 0, positive; an order for searching. */
int health_parameters_compare(const struct health_parameters *a, const struct health_parameters *b);

/* "none", "tcp", "http", "udp". */
const char *health_check_type_name(enum health_check_type type);

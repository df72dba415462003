/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One way of asking a backend: what tcp.c, http.c, udp.c and media.c offer to the engine. The engine owns the schedule, the
 * timeout and the counting; a probe owns its socket. One object lives as long as its backend is checked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/packet/address.h"
#include "ctrl/health/health.h"

struct event_base;

struct probe_result {
	bool success;
	char reason[HEALTH_REASON_SIZE];
};

/* Exactly once for each start that is not stopped before; may be called from inside the start. */
typedef void (*probe_callback)(const struct probe_result *result, void *context);

struct probe_target {
	struct event_base *base; /* this and `parameters` are borrowed and outlive the probe */
	struct address address;
	const struct health_parameters *parameters; /* with the port to ask */
	probe_callback done;
	void *context;
};

struct probe;

struct probe_kind {
	/* NULL when out of memory. */
	struct probe *(*create)(const struct probe_target *target);
	void (*start)(struct probe *probe);
	/* The time is up: stops, and says what silence means. `done` is not called. */
	void (*expire)(struct probe *probe, struct probe_result *ret_result);
	/* After `done`, or instead of it: lets go of what one question needs. Safe to call twice. */
	void (*stop)(struct probe *probe);
	void (*destroy)(struct probe *probe); /* stopped before */
};

extern const struct probe_kind probe_tcp, probe_http, probe_udp, probe_media;

/* What the kinds begin with. */
struct probe {
	const struct probe_kind *kind;
	struct probe_target target;
};

struct probe_result probe_result(bool success, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct probe_result probe_timeout(const struct probe *probe);
void probe_done(const struct probe *probe, const struct probe_result *result);

/* A non-blocking socket of the target's family, and the address to connect it to; -errno. */
must_check int probe_socket(const struct probe *probe, int type, struct sockaddr_storage *ret_address,
			    socklen_t *ret_length);

/* close() of a connected socket then sends a reset, so that frequent probes leave no TIME_WAIT behind. */
void probe_reset_on_close(int fd);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a peer lacks: sockets and timers, on libevent. One thread: the one that runs the event base. Times are those of
 * media_now_us().
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "rtc/media_endpoint.h"

struct event;
struct event_base;
struct media_socket;

/* CLOCK_MONOTONIC in microseconds. */
uint64_t media_now_us(void);

/* --- datagrams ---------------------------------------------------------------------------------------------------------- */

/* `bytes` may be written to. The socket must not be freed from within. */
typedef void (*media_datagram_callback)(void *context, uint64_t now_us, const struct media_endpoint *from, uint8_t *bytes,
					size_t length);

struct media_socket_config {
	struct event_base *base;
	struct media_endpoint local; /* :: is both families, 0.0.0.0 IPv4 alone; port 0: any */
	uint32_t buffer_bytes;       /* of the kernel, each direction; 0: its default */
	media_datagram_callback receive;
	void *context;
};

must_check int media_socket_new(const struct media_socket_config *config, struct media_socket **ret_socket, struct error *error);
void media_socket_free(struct media_socket *socket); /* NULL is fine; what is queued is sent */
/* Where it is bound, with the port that the kernel gave. */
struct media_endpoint media_socket_local(const struct media_socket *socket);
/* Queued until the present event has been handled; dropped (and counted) when the kernel has no room. */
void media_socket_send(struct media_socket *socket, const struct media_endpoint *to, const uint8_t *bytes, size_t length);
/* Sends what is queued, for who sends outside of `receive`. */
void media_socket_flush(struct media_socket *socket);
uint64_t media_socket_unsent(const struct media_socket *socket);
/* Datagrams that the kernel had no room for, in its own count (SO_RXQ_OVFL), and those that were received. */
uint64_t media_socket_overflows(const struct media_socket *socket);

/* The address from which `remote` is reached, by the kernel's routes; 0 or -errno. */
must_check int media_local_address(const struct media_endpoint *remote, struct address *ret_address);

/* --- timers ------------------------------------------------------------------------------------------------------------- */

/* A deadline that moves often: the event is touched only when it comes nearer. */
struct media_timer {
	struct event *event;
	uint64_t due_us, armed_us; /* UINT64_MAX: never */
	void (*fire)(void *context);
	void *context;
};

must_check int media_timer_init(struct media_timer *timer, struct event_base *base, void (*fire)(void *context), void *context);
void media_timer_done(struct media_timer *timer);
void media_timer_set(struct media_timer *timer, uint64_t due_us);

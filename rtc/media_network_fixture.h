/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Peers that talk in memory: a network with a clock of its own, that delays, loses, repeats and reorders datagrams. For tests.
 *
 * OpenSSL asks the system for the time of its retransmissions: programs with this fixture answer that call themselves.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "base/lib/address_text.h"
#include "rtc/media_peer.h"

#define NETWORK_MAX 8192
#define NETWORK_START_US 1000000000ull

struct network_datagram {
	uint64_t due_us;
	struct media_endpoint from, to;
	size_t length;
	uint8_t bytes[MEDIA_DATAGRAM_MAX];
};

struct network_peer {
	struct media_peer *peer;
	struct media_endpoint endpoint;
	struct network *network;
	uint64_t frames;
	uint32_t last_number; /* first four bytes of the last frame */
	bool echoes;
	uint32_t states; /* a bit for each that was entered */
	bool deaf;       /* what is for it vanishes */
};

struct network {
	uint64_t now_us, random;
	uint32_t delay_us;
	uint32_t lose_percent, repeat_percent, reorder_percent;
	struct network_datagram *queue[NETWORK_MAX];
	size_t count;
	struct network_peer peers[2];
	/* May change a datagram, or say false: it is lost. */
	bool (*meddle)(struct network *network, struct network_datagram *datagram);
	uint64_t sent;
};

extern uint64_t network_clock_us;

static inline uint32_t network_random(struct network *network, uint32_t below)
{
	network->random = network->random * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(network->random >> 33) % below;
}

static inline void network_queue(struct network *network, const struct network_datagram *datagram)
{
	struct network_datagram *copy = malloc(sizeof(*copy));

	assert(copy && network->count < NETWORK_MAX);
	*copy = *datagram;
	copy->due_us = network->now_us + network->delay_us;
	if (network_random(network, 100) < network->reorder_percent)
		copy->due_us += 50000;
	network->queue[network->count++] = copy;
}

static inline void network_on_send(void *context, const struct media_endpoint *to, const uint8_t *bytes, size_t length)
{
	struct network_peer *sender = context;
	struct network *network = sender->network;
	struct network_datagram datagram = {.from = sender->endpoint, .to = *to, .length = length};

	assert(length > 0 && length <= MEDIA_DATAGRAM_MAX);
	memcpy(datagram.bytes, bytes, length);
	network->sent++;
	if (network_random(network, 100) < network->lose_percent || (network->meddle && !network->meddle(network, &datagram)))
		return;
	network_queue(network, &datagram);
	if (network_random(network, 100) < network->repeat_percent)
		network_queue(network, &datagram);
}

static inline void network_on_state(void *context, enum media_state state, const char *why)
{
	struct network_peer *peer = context;

	peer->states |= 1u << state;
}

static inline void network_on_frame(void *context, const struct media_frame *frame, uint64_t now_us)
{
	struct network_peer *peer = context;

	peer->frames++;
	if (frame->payload_length >= 4)
		memcpy(&peer->last_number, frame->payload, 4);
	if (peer->echoes)
		(void)!media_peer_send_back(peer->peer, now_us, frame, frame->payload, frame->payload_length);
}

static inline struct media_handlers network_handlers(struct network_peer *peer)
{
	return (struct media_handlers){
		.send = network_on_send, .state = network_on_state, .frame = network_on_frame, .context = peer};
}

static inline void network_init(struct network *network, uint64_t seed)
{
	static const char *const addresses[] = {"192.0.2.1", "192.0.2.2"};

	memset(network, 0, sizeof(*network));
	network->now_us = network_clock_us = NETWORK_START_US;
	network->random = seed;
	network->delay_us = 10000;
	for (int i = 0; i < 2; i++) {
		network->peers[i].network = network;
		network->peers[i].endpoint.port = (uint16_t)(7000 + i);
		if (address_parse(addresses[i], &network->peers[i].endpoint.address) < 0)
			abort();
	}
}

static inline void network_done(struct network *network)
{
	for (size_t i = 0; i < network->count; i++)
		free(network->queue[i]);
	for (int i = 0; i < 2; i++)
		media_peer_free(network->peers[i].peer);
}

static inline void network_deliver(struct network *network, size_t index)
{
	struct network_datagram *datagram = network->queue[index];

	network->queue[index] = network->queue[--network->count];
	for (int i = 0; i < 2; i++) {
		struct network_peer *peer = &network->peers[i];

		if (media_endpoint_equal(&peer->endpoint, &datagram->to) && !peer->deaf && peer->peer)
			media_peer_receive(peer->peer, network->now_us, &datagram->from, datagram->bytes, datagram->length);
	}
	free(datagram);
}

/* The datagram that is due first: by time, then in the order of sending as far as the queue keeps it. */
static inline size_t network_first(const struct network *network)
{
	size_t first = 0;

	for (size_t i = 1; i < network->count; i++)
		if (network->queue[i]->due_us < network->queue[first]->due_us)
			first = i;
	return first;
}

/* Lets time go on to `until_us`, step by step from one event to the next. */
static inline void network_run(struct network *network, uint64_t until_us)
{
	for (;;) {
		uint64_t next_us = until_us;
		size_t first = network_first(network);

		for (int i = 0; i < 2; i++) {
			uint64_t due_us = network->peers[i].peer ? media_peer_advance(network->peers[i].peer, network->now_us) : UINT64_MAX;

			if (due_us < next_us)
				next_us = due_us;
		}
		if (network->count && network->queue[first = network_first(network)]->due_us <= next_us)
			next_us = network->queue[first]->due_us;
		if (next_us >= until_us) {
			network->now_us = network_clock_us = until_us;
			return;
		}
		if (next_us > network->now_us)
			network->now_us = network_clock_us = next_us;
		while (network->count && network->queue[first = network_first(network)]->due_us <= network->now_us)
			network_deliver(network, first);
	}
}

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A packet's bytes, and the only way to them. */
#pragma once

#include "base/packet/target.h"

/* A view. A host that makes room derives a new one: pointers taken before are void. */
struct packet {
	uint8_t *data;
	uint8_t *end;
	uint32_t beyond; /* bytes of the frame behind `end`, which the host cannot show: large segments in the stack */
};

/* The frame's length. */
PACKET_INLINE uint64_t packet_length(const struct packet *packet)
{
	return (uint64_t)(packet->end - packet->data) + packet->beyond;
}

/* Headers that start behind this offset are not looked for. verifier: variable offsets must be bounded. */
#define PACKET_OFFSET_MAX 1023u

/* The one bounds check: `length` bytes at `offset`, which is at most `most`, or NULL when the packet does not hold them all. */
PACKET_INLINE void *packet_bytes(const struct packet *packet, uint32_t offset, uint32_t length, const uint32_t most)
{
	uint8_t *header;

	if (!__builtin_constant_p(offset))
		value_opaque(offset);
	if (offset > most)
		return NULL;
	header = packet->data + offset;
	if (header + length > packet->end)
		header = NULL;
	value_opaque(header); /* verifier: the comparison is not repeated elsewhere in another form */
	return header;
}

/* The same for headers. */
PACKET_INLINE void *packet_header(const struct packet *packet, uint32_t offset, uint32_t length)
{
	return packet_bytes(packet, offset, length, PACKET_OFFSET_MAX);
}

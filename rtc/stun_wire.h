/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* STUN (RFC 8489) as it lies on the wire, and what is read of a message. */
#pragma once

#include "base/packet/byteorder.h"

#define STUN_MAGIC 0x2112a442u
#define STUN_HEADER_BYTES 20u
#define STUN_BYTES_MAX 768u      /* a longer message is not read */
#define STUN_ATTRIBUTES_MAX 32u  /* constant bound: verifier */

#define STUN_BINDING_REQUEST 0x0001
#define STUN_BINDING_INDICATION 0x0011
#define STUN_BINDING_SUCCESS 0x0101
#define STUN_BINDING_ERROR 0x0111

/* Attributes; those of 0x8000 and above may be left unread. */
#define STUN_USERNAME 0x0006
#define STUN_INTEGRITY 0x0008
#define STUN_ERROR_CODE 0x0009
#define STUN_UNKNOWN_ATTRIBUTES 0x000a
#define STUN_INTEGRITY_SHA256 0x001c
#define STUN_XOR_MAPPED_ADDRESS 0x0020
#define STUN_PRIORITY 0x0024      /* RFC 8445 section 16.1, like the other three of ICE */
#define STUN_USE_CANDIDATE 0x0025
#define STUN_FINGERPRINT 0x8028
#define STUN_CONTROLLED 0x8029
#define STUN_CONTROLLING 0x802a

/*
 * Those below 0x8000 must be understood (RFC 8489 section 6.3.1). Known here, a bit for each type: what RFC 8489 (section 18.3) and RFC 8445
 * (section 20.1) define, and 0, which is reserved and stands for none.
 */
#define STUN_REQUIRED_KNOWN                                                                                                          \
	(1ull << 0 | 1ull << 0x01 | 1ull << STUN_USERNAME | 1ull << STUN_INTEGRITY | 1ull << STUN_ERROR_CODE |                       \
	 1ull << STUN_UNKNOWN_ATTRIBUTES | 1ull << 0x14 | 1ull << 0x15 | 1ull << STUN_INTEGRITY_SHA256 | 1ull << 0x1d | 1ull << 0x1e | \
	 1ull << STUN_XOR_MAPPED_ADDRESS | 1ull << STUN_PRIORITY | 1ull << STUN_USE_CANDIDATE)

#define STUN_UNKNOWN_ATTRIBUTE 420u /* error code, RFC 8489 section 14.8 */

#define STUN_INTEGRITY_BYTES 24u /* MESSAGE-INTEGRITY, its head included */
#define STUN_FINGERPRINT_XOR 0x5354554eu /* RFC 8489 section 14.7 */

struct stun_header {
	struct be16 type;
	struct be16 length; /* of what follows */
	struct be32 magic;
	struct be32 id[3];
} PACKET_WIRE;
_Static_assert(sizeof(struct stun_header) == STUN_HEADER_BYTES, "wire");

struct stun_attribute {
	struct be16 type;
	struct be16 length; /* without itself, and without what fills up to four bytes */
} PACKET_WIRE;
_Static_assert(sizeof(struct stun_attribute) == 4, "wire");

/*
 * A message that a host has copied, so that it can be read at any place: where an attribute lies is known only when those before it
 * are read. What is behind `length` is of messages before. One for each worker. Media are copied as well, to be verified (rtc_srtp.h).
 */
#define STUN_MESSAGE_PLACES 2048u
#define STUN_COPY_MAX 1536u /* bytes that a host copies: of a longer datagram none */

struct stun_message {
	uint32_t length;
	uint32_t unused[15];
	uint8_t bytes[STUN_MESSAGE_PLACES + 64];
};

#define STUN_PLACE(at) ((at) & (STUN_MESSAGE_PLACES - 1)) /* verifier: bounds that it sees */

PACKET_INLINE uint16_t stun_half(const struct stun_message *message, uint32_t at)
{
	return __builtin_bswap16(unaligned(uint16_t, message->bytes + STUN_PLACE(at)));
}

/* As loaded. */
PACKET_INLINE uint32_t stun_word(const struct stun_message *message, uint32_t at)
{
	return unaligned(uint32_t, message->bytes + STUN_PLACE(at));
}

PACKET_INLINE uint64_t stun_words(const struct stun_message *message, uint32_t at)
{
	return unaligned(uint64_t, message->bytes + STUN_PLACE(at));
}

/* CRC-32 (ITU-T V.42) by bytes. */
static const uint32_t stun_crc_table[256] = {
	0x00000000, 0x77073096, 0xee0e612c, 0x990951ba, 0x076dc419, 0x706af48f, 0xe963a535, 0x9e6495a3,
	0x0edb8832, 0x79dcb8a4, 0xe0d5e91e, 0x97d2d988, 0x09b64c2b, 0x7eb17cbd, 0xe7b82d07, 0x90bf1d91,
	0x1db71064, 0x6ab020f2, 0xf3b97148, 0x84be41de, 0x1adad47d, 0x6ddde4eb, 0xf4d4b551, 0x83d385c7,
	0x136c9856, 0x646ba8c0, 0xfd62f97a, 0x8a65c9ec, 0x14015c4f, 0x63066cd9, 0xfa0f3d63, 0x8d080df5,
	0x3b6e20c8, 0x4c69105e, 0xd56041e4, 0xa2677172, 0x3c03e4d1, 0x4b04d447, 0xd20d85fd, 0xa50ab56b,
	0x35b5a8fa, 0x42b2986c, 0xdbbbc9d6, 0xacbcf940, 0x32d86ce3, 0x45df5c75, 0xdcd60dcf, 0xabd13d59,
	0x26d930ac, 0x51de003a, 0xc8d75180, 0xbfd06116, 0x21b4f4b5, 0x56b3c423, 0xcfba9599, 0xb8bda50f,
	0x2802b89e, 0x5f058808, 0xc60cd9b2, 0xb10be924, 0x2f6f7c87, 0x58684c11, 0xc1611dab, 0xb6662d3d,
	0x76dc4190, 0x01db7106, 0x98d220bc, 0xefd5102a, 0x71b18589, 0x06b6b51f, 0x9fbfe4a5, 0xe8b8d433,
	0x7807c9a2, 0x0f00f934, 0x9609a88e, 0xe10e9818, 0x7f6a0dbb, 0x086d3d2d, 0x91646c97, 0xe6635c01,
	0x6b6b51f4, 0x1c6c6162, 0x856530d8, 0xf262004e, 0x6c0695ed, 0x1b01a57b, 0x8208f4c1, 0xf50fc457,
	0x65b0d9c6, 0x12b7e950, 0x8bbeb8ea, 0xfcb9887c, 0x62dd1ddf, 0x15da2d49, 0x8cd37cf3, 0xfbd44c65,
	0x4db26158, 0x3ab551ce, 0xa3bc0074, 0xd4bb30e2, 0x4adfa541, 0x3dd895d7, 0xa4d1c46d, 0xd3d6f4fb,
	0x4369e96a, 0x346ed9fc, 0xad678846, 0xda60b8d0, 0x44042d73, 0x33031de5, 0xaa0a4c5f, 0xdd0d7cc9,
	0x5005713c, 0x270241aa, 0xbe0b1010, 0xc90c2086, 0x5768b525, 0x206f85b3, 0xb966d409, 0xce61e49f,
	0x5edef90e, 0x29d9c998, 0xb0d09822, 0xc7d7a8b4, 0x59b33d17, 0x2eb40d81, 0xb7bd5c3b, 0xc0ba6cad,
	0xedb88320, 0x9abfb3b6, 0x03b6e20c, 0x74b1d29a, 0xead54739, 0x9dd277af, 0x04db2615, 0x73dc1683,
	0xe3630b12, 0x94643b84, 0x0d6d6a3e, 0x7a6a5aa8, 0xe40ecf0b, 0x9309ff9d, 0x0a00ae27, 0x7d079eb1,
	0xf00f9344, 0x8708a3d2, 0x1e01f268, 0x6906c2fe, 0xf762575d, 0x806567cb, 0x196c3671, 0x6e6b06e7,
	0xfed41b76, 0x89d32be0, 0x10da7a5a, 0x67dd4acc, 0xf9b9df6f, 0x8ebeeff9, 0x17b7be43, 0x60b08ed5,
	0xd6d6a3e8, 0xa1d1937e, 0x38d8c2c4, 0x4fdff252, 0xd1bb67f1, 0xa6bc5767, 0x3fb506dd, 0x48b2364b,
	0xd80d2bda, 0xaf0a1b4c, 0x36034af6, 0x41047a60, 0xdf60efc3, 0xa867df55, 0x316e8eef, 0x4669be79,
	0xcb61b38c, 0xbc66831a, 0x256fd2a0, 0x5268e236, 0xcc0c7795, 0xbb0b4703, 0x220216b9, 0x5505262f,
	0xc5ba3bbe, 0xb2bd0b28, 0x2bb45a92, 0x5cb36a04, 0xc2d7ffa7, 0xb5d0cf31, 0x2cd99e8b, 0x5bdeae1d,
	0x9b64c2b0, 0xec63f226, 0x756aa39c, 0x026d930a, 0x9c0906a9, 0xeb0e363f, 0x72076785, 0x05005713,
	0x95bf4a82, 0xe2b87a14, 0x7bb12bae, 0x0cb61b38, 0x92d28e9b, 0xe5d5be0d, 0x7cdcefb7, 0x0bdbdf21,
	0x86d3d2d4, 0xf1d4e242, 0x68ddb3f8, 0x1fda836e, 0x81be16cd, 0xf6b9265b, 0x6fb077e1, 0x18b74777,
	0x88085ae6, 0xff0f6a70, 0x66063bca, 0x11010b5c, 0x8f659eff, 0xf862ae69, 0x616bffd3, 0x166ccf45,
	0xa00ae278, 0xd70dd2ee, 0x4e048354, 0x3903b3c2, 0xa7672661, 0xd06016f7, 0x4969474d, 0x3e6e77db,
	0xaed16a4a, 0xd9d65adc, 0x40df0b66, 0x37d83bf0, 0xa9bcae53, 0xdebb9ec5, 0x47b2cf7f, 0x30b5ffe9,
	0xbdbdf21c, 0xcabac28a, 0x53b39330, 0x24b4a3a6, 0xbad03605, 0xcdd70693, 0x54de5729, 0x23d967bf,
	0xb3667a2e, 0xc4614ab8, 0x5d681b02, 0x2a6f2b94, 0xb40bbe37, 0xc30c8ea1, 0x5a05df1b, 0x2d02ef8d,
};

PACKET_INLINE uint32_t stun_crc_word(uint32_t crc, uint32_t word)
{
	crc ^= word;
#pragma GCC unroll 4
	for (uint32_t byte = 0; byte < 4; byte++)
		crc = stun_crc_table[crc & 0xff] ^ crc >> 8;
	return crc;
}

/* Of the message's first `length` bytes, a multiple of four. */
PACKET_FUNCTION uint32_t stun_crc(const struct stun_message *message, uint32_t length)
{
	uint32_t crc = 0xffffffff;

	if (!message)
		return 0;
	for (uint32_t at = 0; at < STUN_BYTES_MAX; at += 4) {
		if (at >= length)
			break;
		crc = stun_crc_word(crc, stun_word(message, at));
	}
	return ~crc;
}

#define STUN_HAS_USERNAME 0x01
#define STUN_HAS_INTEGRITY 0x02
#define STUN_HAS_FINGERPRINT 0x04
#define STUN_NOMINATES 0x08 /* USE-CANDIDATE */

enum stun_fault {
	STUN_FINE,
	STUN_MALFORMED,
	STUN_FINGERPRINT_WRONG,
};

/* What was read of a message. */
struct stun {
	uint32_t id;              /* of its transaction id, never 0 */
	uint16_t type;
	uint16_t username_at;
	uint16_t username_length;
	uint8_t flags; /* STUN_* */
	uint8_t fault; /* enum stun_fault */
	uint16_t integrity_at; /* MESSAGE-INTEGRITY, from its head on; 0: none */
	uint16_t zero;
	uint64_t unknown; /* types of attributes that must be understood and are not: the last four, 16 bits each, the last one lowest */
};

/* 32 bits of a transaction id. Its sender chose all 96 at random (RFC 8489 section 5). */
PACKET_INLINE uint32_t stun_id(const struct stun_message *message)
{
	uint32_t id = stun_word(message, 8) ^ stun_word(message, 12) * 0x9e3779b1u ^ stun_word(message, 16) * 0x85ebca77u;

	return id ? id : 1;
}

/* Takes an attribute's type down if it must be understood and is not known. verifier: no branches, whose ways would multiply */
PACKET_INLINE uint64_t stun_unknown_add(uint64_t unknown, uint64_t type)
{
	uint64_t wanted = ((type - 0x8000) >> 63) & ~((type - 64) >> 63 & STUN_REQUIRED_KNOWN >> (type & 63));

	wanted = 0 - (wanted & 1);
	value_opaque(wanted);
	return (unknown << (16 & wanted)) | (type & wanted);
}

/*
 * Reads the attributes, up to FINGERPRINT, which MUST be the last; of what stands behind MESSAGE-INTEGRITY nothing else counts
 * (RFC 8489 sections 14.5 and 14.7).
 */
PACKET_FUNCTION uint32_t stun_read_attributes(const struct stun_message *message, struct stun *stun)
{
	uint32_t end, at = STUN_HEADER_BYTES;

	if (!message || !stun)
		return STUN_MALFORMED;
	end = message->length;
	for (uint32_t i = 0; i < STUN_ATTRIBUTES_MAX; i++) {
		uint32_t type, length, next, signed_;

		if (at == end)
			return STUN_FINE;
		if (at + 4 > end)
			return STUN_MALFORMED;
		type = stun_half(message, at);
		length = stun_half(message, at + 2);
		next = at + 4 + ((length + 3) & ~3u);
		if (next > end)
			return STUN_MALFORMED;
		if (type == STUN_FINGERPRINT) {
			if (length != 4 || next != end)
				return STUN_MALFORMED;
			stun->flags |= STUN_HAS_FINGERPRINT;
			if ((stun_crc(message, at) ^ STUN_FINGERPRINT_XOR) != __builtin_bswap32(stun_word(message, at + 4)))
				return STUN_FINGERPRINT_WRONG;
			return STUN_FINE;
		}
		signed_ = stun->flags & STUN_HAS_INTEGRITY; /* verifier: from memory, for what it knows goes twice through the loop */
		if (type == STUN_INTEGRITY || type == STUN_INTEGRITY_SHA256) {
			if (!signed_ && type == STUN_INTEGRITY && next - at == STUN_INTEGRITY_BYTES)
				stun->integrity_at = (uint16_t)at;
			stun->flags |= STUN_HAS_INTEGRITY;
		} else if (!signed_ && type == STUN_USERNAME) {
			stun->flags |= STUN_HAS_USERNAME;
			stun->username_at = (uint16_t)(at + 4);
			stun->username_length = (uint16_t)length;
		} else if (!signed_ && type == STUN_USE_CANDIDATE) {
			stun->flags |= STUN_NOMINATES;
		} else if (!signed_) {
			stun->unknown = stun_unknown_add(stun->unknown, type);
		}
		at = next;
	}
	return at == end ? STUN_FINE : STUN_MALFORMED;
}

/* Reads a message whose first bits say that it is one (RFC 7983), of message->length bytes. `stun` must be zero. */
PACKET_INLINE void stun_read(const struct stun_message *message, struct stun *stun)
{
	if (message->length < STUN_HEADER_BYTES || message->length > STUN_BYTES_MAX ||
	    stun_word(message, 4) != __builtin_bswap32(STUN_MAGIC) || message->length & 3 ||
	    stun_half(message, 2) != message->length - STUN_HEADER_BYTES) {
		stun->fault = STUN_MALFORMED;
		return;
	}
	stun->type = stun_half(message, 0);
	stun->id = stun_id(message);
	stun->fault = (uint8_t)stun_read_attributes(message, stun);
}

#define STUN_FRAGMENT_MAX 256u /* RFC 8445 section 5.3 */

/* Where the colon of a USERNAME stands (RFC 8445 section 7.2.2), 0: nowhere, or behind more than a user fragment has. */
PACKET_FUNCTION uint32_t stun_username_colon(const struct stun_message *message, uint32_t at, uint32_t length)
{
	if (!message)
		return 0;
	for (uint32_t i = 0; i <= STUN_FRAGMENT_MAX; i++) {
		if (i >= length)
			break;
		if (message->bytes[STUN_PLACE(at + i)] == ':')
			return at + i;
	}
	return 0;
}

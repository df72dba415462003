/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/packet/dns_frames.h"

#include <stdbool.h>
#include <string.h>

#include "base/lib/bytes.h"
#include "base/packet/checksum.h"
#include "base/packet/wire.h"
#include "dns/dns_wire.h"

#define NAMES 300u

static const uint16_t types[] = {1, 28, 16, 5, 65, 33, 6, 255, 1234};

/* The same for each number: one to eight labels, some of them as long as can be, below "test". */
static uint32_t name_write(uint32_t number, uint8_t *name)
{
	struct frames own = {.state = number * 2654435761u + 1};
	uint32_t labels = 1 + frames_random(&own, number % 8 ? 4 : 8), at = 0;

	for (uint32_t i = 0; i < labels; i++) {
		uint32_t length = 1 + frames_random(&own, number % 16 ? 12 : 63);

		if (at + length + 1 + 6 > 255)
			length = 255 - 6 - at - 1;
		if (length == 0 || length > 63)
			break;
		name[at++] = (uint8_t)length;
		for (uint32_t k = 0; k < length; k++)
			name[at++] = (uint8_t)("abcdefghijklmnopqrstuvwxyz0123456789-_"[frames_random(&own, 38)]);
	}
	memcpy(name + at, "\4test", 6);
	return at + 6;
}

uint32_t dns_frame_name(struct frames *frames, uint8_t name[static 255])
{
	return name_write(frames_random(frames, NAMES), name);
}

static void name_mix_case(struct frames *frames, uint8_t *name, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++) {
		if (name[i] >= 'a' && name[i] <= 'z' && frames_random(frames, 3) == 0)
			name[i] ^= 0x20;
	}
}

static uint16_t type_choose(struct frames *frames)
{
	return types[frames_random(frames, frames_random(frames, 3) ? 2 : sizeof(types) / sizeof(types[0]))];
}

/* An OPT record, mostly an honest one. */
static uint32_t opt_write(struct frames *frames, uint8_t *at)
{
	static const uint16_t sizes[] = {1232, 4096, 512, 1400, 0, 65535, 700};
	uint32_t data = frames_random(frames, 12) ? 0 : 4 + frames_random(frames, 20);

	at[0] = frames_random(frames, 40) == 0;
	bytes_put16(at + 1, DNS_TYPE_OPT);
	bytes_put16(at + 3, sizes[frames_random(frames, 7)]);
	at[5] = 0;
	at[6] = frames_random(frames, 30) == 0;
	bytes_put16(at + 7, frames_random(frames, 3) ? 0 : 0x8000);
	bytes_put16(at + 9, (uint16_t)data);
	memset(at + 11, 0, data);
	if (data)
		bytes_put16(at + 13, (uint16_t)(frames_random(frames, 8) ? data - 4 : data));
	return 11 + data;
}

static uint32_t message_write(struct frames *frames, uint8_t *message)
{
	bool edns = frames_random(frames, 3) != 0;
	uint32_t at = 12;

	bytes_put16(message, (uint16_t)frames_random(frames, 65536));
	bytes_put16(message + 2, 0x0100);
	if (frames_random(frames, 4) == 0)
		bytes_put16(message + 2, (uint16_t)(0x0100 ^ (1u << frames_random(frames, 16))));
	bytes_put16(message + 4, frames_random(frames, 50) ? 1 : (uint16_t)frames_random(frames, 3));
	bytes_put16(message + 6, frames_random(frames, 50) == 0);
	bytes_put16(message + 8, frames_random(frames, 50) == 0);
	bytes_put16(message + 10, frames_random(frames, 50) ? edns : (uint16_t)frames_random(frames, 3));
	at += dns_frame_name(frames, message + at);
	name_mix_case(frames, message + 12, at - 12);
	bytes_put16(message + at, type_choose(frames));
	bytes_put16(message + at + 2, frames_random(frames, 40) ? DNS_CLASS_IN : 3);
	at += 4;
	return edns ? at + opt_write(frames, message + at) : at;
}

static void checksums_write(uint8_t *frame, uint32_t l4, uint32_t length, bool ipv6, bool none)
{
	uint64_t sum = 0;

	if (!ipv6) {
		for (uint32_t at = 14; at < l4; at += 2)
			sum += bytes_get16(frame + at);
		bytes_put16(frame + 24, (uint16_t)~checksum_fold(sum));
	}
	if (none)
		return;
	sum = PROTOCOL_UDP + length - l4;
	for (uint32_t at = l4 - (ipv6 ? 32 : 8); at < length; at += 2)
		sum += (uint32_t)frame[at] << 8 | (at + 1 < length ? frame[at + 1] : 0);
	sum = (uint16_t)~checksum_fold(sum);
	bytes_put16(frame + l4 + 6, sum ? (uint16_t)sum : 0xffff);
}

uint32_t dns_frame_query(struct frames *frames, uint8_t frame[static FRAMES_LENGTH_MAX])
{
	bool ipv6 = frames_random(frames, 3) == 0;
	uint32_t l4 = ipv6 ? 54 : 34, length;

	memset(frame, 0, l4 + 8);
	memcpy(frame, "\xfe\0\0\0\0\1\2\0\0\0\0\5", 12);
	length = l4 + 8 + message_write(frames, frame + l4 + 8);
	if (ipv6) {
		bytes_put16(frame + 12, 0x86dd);
		frame[14] = 0x60;
		bytes_put16(frame + 18, (uint16_t)(length - l4));
		frame[20] = PROTOCOL_UDP;
		frame[21] = 64;
		memcpy(frame + 22, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\5", 16);
		frame[37] = (uint8_t)(5 + frames_random(frames, 3));
		memcpy(frame + 38, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0a", 16);
	} else {
		bytes_put16(frame + 12, 0x0800);
		frame[14] = 0x45;
		bytes_put16(frame + 16, (uint16_t)(length - 14));
		frame[22] = 64;
		frame[23] = PROTOCOL_UDP;
		memcpy(frame + 26, "\x0a\0\0\5\xa9\xfe\x14\x0a", 8);
		frame[29] = (uint8_t)(5 + frames_random(frames, 3));
	}
	bytes_put16(frame + l4, (uint16_t)(1024 + frames_random(frames, 60000)));
	bytes_put16(frame + l4 + 2, 53);
	bytes_put16(frame + l4 + 4, (uint16_t)(length - l4));
	checksums_write(frame, l4, length, ipv6, !ipv6 && frames_random(frames, 4) == 0);
	if (frames_random(frames, 8) == 0)
		frame[frames_random(frames, length)] ^= (uint8_t)(1u << frames_random(frames, 8));
	return frames_random(frames, 16) ? length : frames_random(frames, length + 1);
}

/* One record whose owner is the question's name. */
static uint32_t record_write(struct frames *frames, uint8_t *at, uint32_t owner, uint32_t type)
{
	uint32_t length = type == 1 ? 4 : type == 28 ? 16 : 1 + frames_random(frames, frames_random(frames, 4) ? 60 : 900);

	bytes_put16(at, (uint16_t)(0xc000 | owner));
	bytes_put16(at + 2, (uint16_t)type);
	bytes_put16(at + 4, DNS_CLASS_IN);
	bytes_put32(at + 6, 1 + frames_random(frames, 90));
	if (type == 5) { /* to another name of theirs, which ends in the question's own "test" or not */
		length = 4;
		memcpy(at + 12, "\1x\xc0\x0c", 4);
	} else if (type == 6) {
		length = 22;
		memcpy(at + 12, "\0\0", 2);
		for (uint32_t i = 0; i < 5; i++)
			bytes_put32(at + 14 + 4 * i, 60);
	} else {
		for (uint32_t i = 0; i < length; i++)
			at[12 + i] = (uint8_t)frames_random(frames, 256);
	}
	bytes_put16(at + 10, (uint16_t)length);
	return 12 + length;
}

uint32_t dns_frame_answer(struct frames *frames, uint8_t answer[static DNS_FRAMES_ANSWER_MAX])
{
	uint32_t at = 12, kind = frames_random(frames, 8), records = 1;
	uint16_t type = type_choose(frames);

	memset(answer, 0, 12);
	bytes_put16(answer + 2, kind == 0 ? 0x8183 : 0x8180);
	bytes_put16(answer + 4, 1);
	at += dns_frame_name(frames, answer + at);
	bytes_put16(answer + at, type);
	bytes_put16(answer + at + 2, DNS_CLASS_IN);
	at += 4;
	if (kind <= 1) { /* no such name, or no such record: the zone's SOA says for how long */
		bytes_put16(answer + 8, 1);
		return at + record_write(frames, answer + at, 12, 6);
	}
	/* Addresses would turn: each engine by a count of its own. */
	if (type != 1 && type != 28)
		records += frames_random(frames, 3) ? 0 : frames_random(frames, 12);
	for (uint32_t i = 0; i < records; i++) {
		if (at + 12 + 900 > DNS_FRAMES_ANSWER_MAX) {
			records = i;
			break;
		}
		at += record_write(frames, answer + at, 12, type);
	}
	bytes_put16(answer + 6, (uint16_t)records);
	return at;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: any datagrams for one end of a call, from where the other end is and from elsewhere. Each input is a list of (kind, length,
 * bytes). Some are sealed with the session's own keys or password first, so that what lies behind them (RTP, RTCP, STUN's attributes) is reached.
 */
#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/lib/bytes.h"
#include "rtc/media_ice.h"
#include "rtc/media_rtp.h"
#include "rtc/media_stun.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char password[] = "passwordpasswordpassword";

static void on_send(void *context, const struct media_endpoint *to, const uint8_t *bytes, size_t length)
{
	struct media_stun message;

	/* Whatever we are told, what we say is well formed. */
	assert(media_stun_parse(bytes, length, &message) == 0 && message.has_fingerprint);
	assert(media_stun_verify(&message, message.type == MEDIA_STUN_REQUEST ? "theirpasswordtheirpassword" : password));
}

/* Header and MESSAGE-INTEGRITY made right; the attributes between are the input's. */
static size_t stun_seal(uint8_t *bytes, size_t length)
{
	length = length < 20 ? 20 : length & ~(size_t)3;
	bytes[0] &= 1;
	bytes_put32(bytes + 4, STUN_MAGIC);
	bytes_put16(bytes + 2, (uint16_t)(length + 24 - 20));
	bytes_put32(bytes + length, 0x00080014);
	HMAC(EVP_sha1(), password, sizeof(password) - 1, bytes, length, bytes + length + 4, NULL);
	return length + 24;
}

static void rtp_check(const uint8_t *bytes, size_t length, struct media_receiver *receiver, uint64_t now_us)
{
	struct media_rtcp_report report;
	uint8_t buffer[MEDIA_RTCP_SIZE];
	const struct media_sender sender = {.ssrc = 7, .packets = 1};
	struct media_rtp rtp;

	if (media_rtcp_is(bytes, length)) {
		(void)!media_rtcp_take(bytes, length, 7, receiver, now_us, &report);
	} else if (media_rtp_parse(bytes, length, &rtp) == 0) {
		assert(rtp.payload >= bytes + 12 && rtp.payload + rtp.payload_length <= bytes + length);
		media_receiver_take(receiver, &rtp, now_us);
		assert(media_receiver_expected(receiver) >= 1);
	}
	length = media_rtcp_write(&sender, receiver, now_us, buffer);
	assert(length <= sizeof(buffer) && media_rtcp_take(buffer, length, 1, receiver, now_us, &report) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct media_ice_config config = {.send = on_send};
	struct media_receiver receiver = {.clock_rate = 48000};
	struct media_ice ice;
	uint64_t now_us = 1000000;

	if (size < 1)
		return 0;
	config.lite = data[0] & 1;
	config.controlling = !config.lite && data[0] & 2;
	media_ice_init(&ice, &config);
	media_ice_set_local(&ice, "ours", password);
	media_ice_set_remote(&ice, "their", "theirpasswordtheirpassword");
	data++, size--;
	while (size >= 3) {
		uint8_t kind = data[0];
		size_t length = data[1] | (size_t)(data[2] & 3) << 8;
		struct media_endpoint from = {.address = address_from_ipv4(kind >> 4), .port = (uint16_t)(1 + (data[2] >> 2))};
		uint8_t bytes[1024 + 64] = {0};

		data += 3, size -= 3;
		if (length > size)
			length = size;
		memcpy(bytes, data, length);
		data += length, size -= length;
		now_us += (uint64_t)(kind & 15) * 100000;
		if (kind & 8)
			rtp_check(bytes, length, &receiver, now_us);
		else
			media_ice_receive(&ice, now_us, &from, bytes, kind & 4 ? stun_seal(bytes, length) : length);
		(void)media_ice_advance(&ice, now_us);
		assert(ice.pair_count <= MEDIA_ICE_PAIRS);
	}
	return 0;
}

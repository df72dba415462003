/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/srtp_key.h"

#include <string.h>

static const char *const names[] = {
	[RTC_SRTP_AES128_CM_SHA1_80] = "SRTP_AES128_CM_HMAC_SHA1_80",
	[RTC_SRTP_AES128_CM_SHA1_32] = "SRTP_AES128_CM_HMAC_SHA1_32",
};

#define NAMES (sizeof(names) / sizeof(names[0]))

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const char *srtp_profile_name(enum rtc_srtp_profile profile)
{
	return profile < NAMES ? names[profile] : NULL;
}

/* How many bytes `text` is in base64; SIZE_MAX: it is none, or more than `size`. */
static size_t base64_read(const char *text, uint8_t *bytes, size_t size)
{
	size_t length = strlen(text), count = 0;
	uint32_t word = 0, bits = 0;

	for (size_t end = 0; length % 4 == 0 && end < 2 && length && text[length - 1] == '='; end++)
		length--;
	for (size_t i = 0; i < length; i++) {
		const char *digit = strchr(digits, text[i]);

		if (!digit)
			return SIZE_MAX;
		word = word << 6 | (uint32_t)(digit - digits);
		bits += 6;
		if (bits < 8)
			continue;
		bits -= 8;
		if (count == size)
			return SIZE_MAX;
		bytes[count++] = (uint8_t)(word >> bits);
	}
	return bits == 6 || word & ((1u << bits) - 1) ? SIZE_MAX : count;
}

int srtp_key_parse(const char *profile, const char *text, struct srtp_key *ret_key, struct error *error)
{
	uint8_t bytes[SRTP_KEY_BYTES + SRTP_SALT_BYTES + 1] = {0};
	struct srtp_key key = {0};
	size_t length;

	for (size_t i = 1; i < NAMES; i++)
		if (strcmp(profile, names[i]) == 0)
			key.profile = (enum rtc_srtp_profile)i;
	if (!key.profile)
		return error_set(error, EINVAL, "profile \"%.60s\" is not known; it is %s or %s", profile, names[1], names[2]);
	length = base64_read(text, bytes, sizeof(bytes));
	if (length != SRTP_KEY_BYTES + SRTP_SALT_BYTES && strlen(text) == SRTP_KEY_TEXT_SIZE - 1)
		return error_set(error, EINVAL, "the key is not base64 of a master key of %u bytes and a salt of %u", SRTP_KEY_BYTES, SRTP_SALT_BYTES);
	if (length != SRTP_KEY_BYTES + SRTP_SALT_BYTES)
		return error_set(error, EINVAL, "the key has %zu characters; %s has %u of base64: a master key of %u bytes and a salt of %u",
				 strlen(text), profile, SRTP_KEY_TEXT_SIZE - 1, SRTP_KEY_BYTES, SRTP_SALT_BYTES);
	memcpy(key.key, bytes, sizeof(key.key));
	memcpy(key.salt, bytes + sizeof(key.key), sizeof(key.salt));
	*ret_key = key;
	return 0;
}

const char *srtp_key_format(const struct srtp_key *key, char text[static SRTP_KEY_TEXT_SIZE])
{
	uint8_t bytes[SRTP_KEY_BYTES + SRTP_SALT_BYTES];

	memcpy(bytes, key->key, sizeof(key->key));
	memcpy(bytes + sizeof(key->key), key->salt, sizeof(key->salt));
	for (size_t i = 0; i < sizeof(bytes) / 3; i++) {
		uint32_t word = (uint32_t)bytes[3 * i] << 16 | (uint32_t)bytes[3 * i + 1] << 8 | bytes[3 * i + 2];

		for (size_t k = 0; k < 4; k++)
			text[4 * i + k] = digits[word >> (18 - 6 * k) & 63];
	}
	text[SRTP_KEY_TEXT_SIZE - 1] = '\0';
	return text;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/media_stun.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/lib/bytes.h"

#define INTEGRITY_SIZE 20
#define USERNAME_MAX 513 /* RFC 8489 section 14.3: less than 509 bytes; two fragments of 256 and a colon come to 513 */

/* Of whole words, as all that comes before a FINGERPRINT is. */
static uint32_t crc32_of(const uint8_t *bytes, size_t length)
{
	uint32_t crc = 0xffffffffu;

	for (size_t at = 0; at < length; at += sizeof(uint32_t)) {
		uint32_t word;

		memcpy(&word, bytes + at, sizeof(word));
		crc = stun_crc_word(crc, word);
	}
	return ~crc;
}

bool media_stun_is(const uint8_t *bytes, size_t length)
{
	return length >= STUN_HEADER_BYTES && bytes[0] < 4 && bytes_get32(bytes + 4) == STUN_MAGIC;
}

/* --- reading ------------------------------------------------------------------------------------------------------------ */

/* RFC 8489 section 14.2: port and address, xored with the cookie, and for IPv6 the transaction. */
static bool mapped_parse(const uint8_t *value, size_t length, const uint8_t *transaction, struct media_endpoint *ret_mapped)
{
	uint8_t mask[16], address[16];

	bytes_put32(mask, STUN_MAGIC);
	memcpy(mask + 4, transaction, MEDIA_STUN_TRANSACTION_SIZE);
	if (length == 8 && value[1] == 1) {
		uint32_t ipv4;

		for (int i = 0; i < 4; i++)
			address[i] = value[4 + i] ^ mask[i];
		memcpy(&ipv4, address, sizeof(ipv4));
		ret_mapped->address = address_from_ipv4(ipv4);
	} else if (length == 20 && value[1] == 2) {
		for (int i = 0; i < 16; i++)
			address[i] = value[4 + i] ^ mask[i];
		memcpy(&ret_mapped->address, address, sizeof(address));
	} else {
		return false;
	}
	ret_mapped->port = bytes_get16(value + 2) ^ (uint16_t)(STUN_MAGIC >> 16);
	return true;
}

static bool error_parse(const uint8_t *value, size_t length, uint16_t *ret_code)
{
	if (length < 4 || (value[2] & 7) < 3 || (value[2] & 7) > 6 || value[3] > 99)
		return false;
	*ret_code = (uint16_t)((value[2] & 7) * 100 + value[3]);
	return true;
}

static bool role_parse(struct media_stun *message, enum media_stun_role role, const uint8_t *value, size_t length)
{
	if (length != 8)
		return false;
	message->role = role;
	message->tie_breaker = bytes_get64(value);
	return true;
}

/* RFC 8489 section 14: of an attribute that comes twice, the first counts. */
static bool attribute_take(struct media_stun *message, uint16_t type, const uint8_t *value, size_t length)
{
	switch (type) {
	case STUN_USERNAME:
		if (message->username)
			return true;
		message->username = (const char *)value;
		message->username_length = (uint16_t)length;
		return length > 0 && length <= USERNAME_MAX;
	case STUN_PRIORITY:
		if (length != 4)
			return false;
		message->priority = bytes_get32(value);
		return true;
	case STUN_USE_CANDIDATE:
		message->use_candidate = true;
		return length == 0;
	case STUN_CONTROLLING:
		return role_parse(message, MEDIA_STUN_CONTROLLING, value, length);
	case STUN_CONTROLLED:
		return role_parse(message, MEDIA_STUN_CONTROLLED, value, length);
	case STUN_XOR_MAPPED_ADDRESS:
		if (message->has_mapped)
			return true;
		message->has_mapped = mapped_parse(value, length, message->transaction, &message->mapped);
		return message->has_mapped;
	case STUN_ERROR_CODE:
		return error_parse(value, length, &message->error_code);
	case STUN_UNKNOWN_ATTRIBUTES:
		return true;
	default:
		if (type < 0x8000 && message->unknown_count < MEDIA_STUN_UNKNOWN_MAX)
			message->unknown[message->unknown_count++] = type;
		return true;
	}
}

static bool fingerprint_is_right(const uint8_t *bytes, size_t offset, size_t length)
{
	return length == 4 && bytes_get32(bytes + offset + 4) == (crc32_of(bytes, offset) ^ STUN_FINGERPRINT_XOR);
}

static int attributes_parse(struct media_stun *message, size_t end)
{
	const uint8_t *bytes = message->bytes;
	size_t offset = STUN_HEADER_BYTES;

	while (offset < end) {
		uint16_t type = bytes_get16(bytes + offset);
		size_t length = bytes_get16(bytes + offset + 2);
		size_t next = offset + 4 + ((length + 3) & ~(size_t)3);

		if (next > end)
			return -EBADMSG;
		if (type == STUN_FINGERPRINT) {
			/* Section 14.7: the last one. */
			if (next != end || !fingerprint_is_right(bytes, offset, length))
				return -EBADMSG;
			message->has_fingerprint = true;
		} else if (message->integrity_offset) {
			/* Not protected: ignored. */
		} else if (type == STUN_INTEGRITY) {
			if (length != INTEGRITY_SIZE)
				return -EBADMSG;
			message->integrity_offset = (uint16_t)offset;
		} else if (!attribute_take(message, type, bytes + offset + 4, length)) {
			return -EBADMSG;
		}
		offset = next;
	}
	return 0;
}

static bool type_is_binding(uint16_t type)
{
	return type == MEDIA_STUN_REQUEST || type == MEDIA_STUN_INDICATION || type == MEDIA_STUN_SUCCESS ||
	       type == MEDIA_STUN_ERROR;
}

int media_stun_parse(const uint8_t *bytes, size_t length, struct media_stun *ret_message)
{
	struct media_stun message = {.bytes = bytes};
	int result;

	if (!media_stun_is(bytes, length) || length > MEDIA_STUN_SIZE || length % 4 ||
	    bytes_get16(bytes + 2) != length - STUN_HEADER_BYTES)
		return -EBADMSG;
	message.type = bytes_get16(bytes);
	if (!type_is_binding(message.type))
		return -EBADMSG;
	memcpy(message.transaction, bytes + 8, sizeof(message.transaction));
	result = attributes_parse(&message, length);
	if (result < 0)
		return result;
	*ret_message = message;
	return 0;
}

/* --- integrity ---------------------------------------------------------------------------------------------------------- */

/* RFC 8489 section 14.5: over all before it, with a length in the header as if the message ended behind it. */
static bool integrity_make(const uint8_t *bytes, size_t offset, const void *key, size_t key_length,
			   uint8_t ret_digest[static INTEGRITY_SIZE])
{
	uint8_t copy[MEDIA_STUN_SIZE];
	unsigned int digest_length = INTEGRITY_SIZE;

	memcpy(copy, bytes, offset);
	bytes_put16(copy + 2, (uint16_t)(offset + 4 + INTEGRITY_SIZE - STUN_HEADER_BYTES));
	return HMAC(EVP_sha1(), key, (int)key_length, copy, offset, ret_digest, &digest_length) != NULL;
}

bool media_stun_verify_key(const struct media_stun *message, const void *key, size_t key_length)
{
	uint8_t digest[INTEGRITY_SIZE];
	size_t offset = message->integrity_offset;

	return offset && integrity_make(message->bytes, offset, key, key_length, digest) &&
	       CRYPTO_memcmp(digest, message->bytes + offset + 4, sizeof(digest)) == 0;
}

bool media_stun_verify(const struct media_stun *message, const char *password)
{
	return media_stun_verify_key(message, password, strlen(password));
}

/* --- writing ------------------------------------------------------------------------------------------------------------ */

struct writer {
	uint8_t *bytes;
	size_t length, size;
	bool full;
};

/* Room for a value of an attribute, padded with zeros; NULL when the buffer is full. */
static uint8_t *attribute_add(struct writer *writer, uint16_t type, size_t length)
{
	size_t padded = (length + 3) & ~(size_t)3;
	uint8_t *at = writer->bytes + writer->length;

	if (writer->full || writer->size - writer->length < 4 + padded) {
		writer->full = true;
		return NULL;
	}
	bytes_put16(at, type);
	bytes_put16(at + 2, (uint16_t)length);
	memset(at + 4, 0, padded);
	writer->length += 4 + padded;
	bytes_put16(writer->bytes + 2, (uint16_t)(writer->length - STUN_HEADER_BYTES));
	return at + 4;
}

static void mapped_write(struct writer *writer, const struct media_stun *message)
{
	bool ipv4 = address_is_ipv4(&message->mapped.address);
	uint8_t *value = attribute_add(writer, STUN_XOR_MAPPED_ADDRESS, ipv4 ? 8 : 20);
	uint32_t address4 = address_ipv4(&message->mapped.address);
	uint8_t mask[16];

	if (!value)
		return;
	bytes_put32(mask, STUN_MAGIC);
	memcpy(mask + 4, message->transaction, MEDIA_STUN_TRANSACTION_SIZE);
	value[1] = ipv4 ? 1 : 2;
	bytes_put16(value + 2, message->mapped.port ^ (uint16_t)(STUN_MAGIC >> 16));
	if (ipv4)
		memcpy(value + 4, &address4, 4);
	else
		memcpy(value + 4, &message->mapped.address, 16);
	for (int i = 0; i < (ipv4 ? 4 : 16); i++)
		value[4 + i] ^= mask[i];
}

static void role_write(struct writer *writer, const struct media_stun *message)
{
	uint8_t *value;

	if (message->role == MEDIA_STUN_NO_ROLE)
		return;
	value = attribute_add(writer, message->role == MEDIA_STUN_CONTROLLING ? STUN_CONTROLLING : STUN_CONTROLLED,
			      8);
	if (value)
		bytes_put64(value, message->tie_breaker);
}

static void error_write(struct writer *writer, const struct media_stun *message)
{
	uint8_t *value = message->error_code ? attribute_add(writer, STUN_ERROR_CODE, 4) : NULL;

	if (value) {
		value[2] = (uint8_t)(message->error_code / 100);
		value[3] = (uint8_t)(message->error_code % 100);
	}
	value = message->unknown_count ? attribute_add(writer, STUN_UNKNOWN_ATTRIBUTES, 2u * message->unknown_count) : NULL;
	for (int i = 0; value && i < message->unknown_count; i++)
		bytes_put16(value + 2 * i, message->unknown[i]);
}

static void attributes_write(struct writer *writer, const struct media_stun *message)
{
	uint8_t *value;

	if (message->username && (value = attribute_add(writer, STUN_USERNAME, message->username_length)))
		memcpy(value, message->username, message->username_length);
	if (message->priority && (value = attribute_add(writer, STUN_PRIORITY, 4)))
		bytes_put32(value, message->priority);
	role_write(writer, message);
	if (message->use_candidate)
		(void)attribute_add(writer, STUN_USE_CANDIDATE, 0);
	if (message->has_mapped)
		mapped_write(writer, message);
	error_write(writer, message);
}

size_t media_stun_write(const struct media_stun *message, const char *password, uint8_t *buffer, size_t size)
{
	struct writer writer = {.bytes = buffer, .length = STUN_HEADER_BYTES, .size = size < MEDIA_STUN_SIZE ? size : MEDIA_STUN_SIZE};
	uint8_t digest[INTEGRITY_SIZE];
	uint8_t *value;

	if (size < STUN_HEADER_BYTES)
		return 0;
	bytes_put16(buffer, message->type);
	bytes_put16(buffer + 2, 0);
	bytes_put32(buffer + 4, STUN_MAGIC);
	memcpy(buffer + 8, message->transaction, MEDIA_STUN_TRANSACTION_SIZE);
	attributes_write(&writer, message);
	if (password) {
		size_t offset = writer.length;

		value = attribute_add(&writer, STUN_INTEGRITY, INTEGRITY_SIZE);
		if (!value || !integrity_make(buffer, offset, password, strlen(password), digest))
			return 0;
		memcpy(value, digest, sizeof(digest));
	}
	value = attribute_add(&writer, STUN_FINGERPRINT, 4);
	if (value)
		bytes_put32(value, crc32_of(buffer, writer.length - 8) ^ STUN_FINGERPRINT_XOR);
	return writer.full ? 0 : writer.length;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: any bytes as a DNS message. As a query they are answered within its limits; as an answer they are written anew,
 * which gives a whole message that stays the same when it is written once more; as a file of kept answers they are read or not.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/lib/bytes.h"
#include "dns/answers.h"
#include "dns/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t once[DNS_MESSAGE_MAX], again[DNS_MESSAGE_MAX], reply_bytes[DNS_MESSAGE_MAX + 2048];

static void reply_check(const struct dns_query *query, const uint8_t *data, const uint8_t *answer, size_t length)
{
	static const uint8_t cookie[24];
	struct dns_reply reply = {.flags = DNS_FLAG_RA, .limit = query->udp_size < DNS_UDP_SAFE ? query->udp_size : DNS_UDP_SAFE,
				  .question = data + DNS_HEADER_SIZE, .ede = DNS_EDE_STALE, .cookie = query->cookie_length ? cookie : NULL,
				  .cookie_length = 24, .keepalive_100ms = query->keepalive ? 100 : -1, .padding = query->padding ? 128 : 0,
				  .subnet = query->subnet_given, .rotate = 3, .age = 7};
	size_t written = dns_reply_write(query, &reply, answer, length, reply_bytes);

	assert(written >= DNS_HEADER_SIZE && written <= DNS_UDP_SAFE);
	assert(bytes_get16(reply_bytes) == query->id && reply_bytes[2] & 0x80);
	if (query->question_length) {
		assert(memcmp(reply_bytes + DNS_HEADER_SIZE, data + DNS_HEADER_SIZE, query->question_length) == 0);
		assert(dns_message_valid(reply_bytes, written));
	}
}

static void query_check(const uint8_t *data, size_t size)
{
	struct dns_query query;
	uint16_t rcode;
	enum dns_query_verdict verdict = dns_query_read(data, size, &query, &rcode);

	if (verdict == DNS_QUERY_DROP)
		return;
	assert(verdict == DNS_QUERY_TAKE ? rcode == 0 && query.question_length : true);
	reply_check(&query, data, NULL, 0);
	if (verdict == DNS_QUERY_TAKE) {
		struct dns_writer writer;

		dns_writer_start(&writer, once, sizeof(once), 0, 0, &query.name, query.type, query.class);
		for (uint8_t i = 0; i < 5; i++)
			dns_writer_add(&writer, DNS_ANSWER, &query.name, DNS_A, DNS_IN, i, (const uint8_t[]){192, 0, 2, i}, 4);
		reply_check(&query, data, once, dns_writer_end(&writer));
	}
}

static void answer_check(const uint8_t *data, size_t size)
{
	bool had, had_again;
	int length = dns_answer_rewrite(data, size, true, 86400, once, sizeof(once), &had), length_again;

	(void)dns_answer_ttl(data, size);
	(void)dns_question_matches(data, size, data, size);
	if (length < 0)
		return;
	assert(dns_message_valid(once, (size_t)length));
	length_again = dns_answer_rewrite(once, (size_t)length, true, 86400, again, sizeof(again), &had_again);
	assert(length_again == length && memcmp(once, again, (size_t)length) == 0 && had == had_again);
	length_again = dns_answer_rewrite(once, (size_t)length, false, 86400, again, sizeof(again), &had_again);
	assert(length_again >= DNS_HEADER_SIZE && dns_message_valid(again, (size_t)length_again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct answers *answers;

	if (size > 8192)
		return 0;
	query_check(data, size);
	answer_check(data, size);
	answers = answers_new(1 << 20);
	(void)answers_parse(answers, data, size, 1000, 1700000000000);
	answers_free(answers);
	return 0;
}

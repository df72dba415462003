/* SPDX-License-Identifier: Apache-2.0 */
/* Names, queries as they are read, answers as they are put together, cookies. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/lib/address_text.h"
#include "base/lib/bytes.h"
#include "dns/cookie.h"
#include "dns/message.h"

static struct dns_name name_of(const char *text)
{
	struct dns_name name;

	assert_int_equal(dns_name_parse(text, &name), 0);
	return name;
}

static void names_round_trip(void **state)
{
	static const char *const texts[] = {"example.com", ".", "a.b.c", "_sip._udp.example", "x\\032y.example", "\\000.example"};
	char text[DNS_NAME_TEXT_SIZE];

	for (size_t i = 0; i < array_length(texts); i++) {
		struct dns_name name = name_of(texts[i]);

		assert_string_equal(dns_name_format(&name, text), texts[i]);
	}
	assert_string_equal(dns_name_format(&(struct dns_name){.length = 1}, text), ".");
}

static void names_that_are_none_are_refused(void **state)
{
	static const char *const texts[] = {"", "..", "a..b", ".a", "\\300.a",
					    "0123456789012345678901234567890123456789012345678901234567890123.a"};
	struct dns_name name;
	char text[600] = "";

	for (size_t i = 0; i < array_length(texts); i++)
		assert_int_equal(dns_name_parse(texts[i], &name), -EINVAL);
	for (int i = 0; i < 127; i++)
		strcat(text, "a.");
	assert_int_equal(dns_name_parse(text, &name), 0);
	assert_int_equal(name.length, 255);
	strcat(text, "a.");
	assert_int_equal(dns_name_parse(text, &name), -EINVAL);
}

static void pointers_must_lead_backwards(void **state)
{
	static const uint8_t loop[] = {1, 'a', 0xc0, 0}, self[] = {0xc0, 0}, forward[] = {0xc0, 2, 1, 'a', 0};
	static const uint8_t good[] = {1, 'a', 0, 1, 'b', 0xc0, 0}, wide[] = {0x80, 0}, cut[] = {3, 'a', 'b'};
	struct dns_name name;
	size_t offset = 3;

	assert_int_equal(dns_name_read(good, sizeof(good), &offset, &name), 0);
	assert_int_equal(offset, sizeof(good));
	assert_int_equal(name.length, 5);
	offset = 0;
	assert_int_equal(dns_name_read(loop, sizeof(loop), &offset, &name), -EBADMSG);
	assert_int_equal(dns_name_read(self, sizeof(self), &offset, &name), -EBADMSG);
	assert_int_equal(dns_name_read(forward, sizeof(forward), &offset, &name), -EBADMSG);
	assert_int_equal(dns_name_read(wide, sizeof(wide), &offset, &name), -EBADMSG);
	assert_int_equal(dns_name_read(cut, sizeof(cut), &offset, &name), -EBADMSG);
}

static void addresses_and_their_names(void **state)
{
	static const char *const addresses[] = {"192.0.2.1", "2001:db8::1", "0.0.0.0", "255.255.255.255"};
	struct address address, back;
	struct dns_name name;
	char text[DNS_NAME_TEXT_SIZE];

	for (size_t i = 0; i < array_length(addresses); i++) {
		assert_int_equal(address_parse(addresses[i], &address), 0);
		dns_name_of_address(&address, &name);
		assert_true(dns_name_to_address(&name, &back));
		assert_true(address_equal(&address, &back));
	}
	assert_int_equal(address_parse("192.0.2.10", &address), 0);
	dns_name_of_address(&address, &name);
	assert_string_equal(dns_name_format(&name, text), "10.2.0.192.in-addr.arpa");
	name = name_of("256.2.0.192.in-addr.arpa");
	assert_false(dns_name_to_address(&name, &back));
	name = name_of("01.2.0.192.in-addr.arpa");
	assert_false(dns_name_to_address(&name, &back));
	name = name_of("2.0.192.in-addr.arpa");
	assert_false(dns_name_to_address(&name, &back));
}

/* A query from parts; returns its length. */
static size_t query_make(uint8_t *bytes, uint16_t flags, uint16_t type, const char *rest, size_t rest_length, uint16_t additional)
{
	static const uint8_t question[] = "\3wWw\7Example\3com";
	size_t length = DNS_HEADER_SIZE;

	memset(bytes, 0, DNS_HEADER_SIZE);
	bytes_put16(bytes, 0x1234);
	bytes_put16(bytes + 2, flags);
	bytes_put16(bytes + 4, 1);
	bytes_put16(bytes + 10, additional);
	memcpy(bytes + length, question, sizeof(question));
	length += sizeof(question);
	bytes_put16(bytes + length, type);
	bytes_put16(bytes + length + 2, DNS_IN);
	length += 4;
	memcpy(bytes + length, rest, rest_length);
	return length + rest_length;
}

struct query_case {
	uint16_t flags, type;
	const char *rest;
	size_t rest_length;
	uint16_t additional;
	enum dns_query_verdict verdict;
	uint16_t rcode;
};

#define REST(text) text, sizeof(text) - 1

static void queries_are_read_as_strictly_as_bind_reads_them(void **state)
{
	static const struct query_case cases[] = {
		{0x0100, DNS_A, REST(""), 0, DNS_QUERY_TAKE, 0},
		{0x8180, DNS_A, REST(""), 0, DNS_QUERY_DROP, DNS_FORMERR},	/* an answer */
		{0x2900, DNS_A, REST(""), 0, DNS_QUERY_REFUSE, DNS_NOTIMP},	/* UPDATE */
		{0x2000, DNS_A, REST(""), 0, DNS_QUERY_REFUSE, DNS_NOTIMP},	/* NOTIFY */
		{0x0100, DNS_A, REST("x"), 0, DNS_QUERY_REFUSE, DNS_FORMERR},	/* something behind it */
		{0x0100, DNS_A, REST(""), 1, DNS_QUERY_REFUSE, DNS_FORMERR},	/* a record that is not there */
		{0x0100, DNS_OPT, REST(""), 0, DNS_QUERY_REFUSE, DNS_FORMERR},
		{0x0100, DNS_AXFR, REST(""), 0, DNS_QUERY_REFUSE, DNS_REFUSED},
		{0x0100, DNS_MAILA, REST(""), 0, DNS_QUERY_REFUSE, DNS_NOTIMP},
		{0x0100, DNS_A, REST("\0\0\x29\x10\0\0\0\0\0\0\0"), 1, DNS_QUERY_TAKE, 0},
		{0x0100, DNS_A, REST("\0\0\x29\x10\0\0\1\0\0\0\0"), 1, DNS_QUERY_REFUSE, DNS_BADVERS},
		{0x0100, DNS_A, REST("\1a\0\0\x29\x10\0\0\0\0\0\0\0"), 1, DNS_QUERY_REFUSE, DNS_FORMERR}, /* OPT not the root's */
		{0x0100, DNS_A, REST("\0\0\x29\x10\0\0\0\0\0\0\0\0\0\x29\x10\0\0\0\0\0\0\0"), 2, DNS_QUERY_REFUSE, DNS_FORMERR},
		{0x0100, DNS_A, REST("\0\0\x29\x10\0\0\0\0\0\0\7\xff\xff\0\3abc"), 1, DNS_QUERY_TAKE, 0}, /* an unknown option */
		{0x0100, DNS_A, REST("\0\0\x29\x10\0\0\0\0\0\0\7\xff\xff\0\4abc"), 1, DNS_QUERY_REFUSE, DNS_FORMERR},
		{0x0100, DNS_A, REST("\0\0\x29\x10\0\0\0\0\0\0\7\0\xa\0\3abc"), 1, DNS_QUERY_REFUSE, DNS_FORMERR}, /* a cookie of 3 */
		{0x0100, DNS_A, REST("\0\0\x29\x10\0\0\0\0\0\0\xb\0\x8\0\7\0\1\x18\0\xa\1\2"), 1, DNS_QUERY_TAKE, 0},
		{0x0100, DNS_A, REST("\0\0\x29\x10\0\0\0\0\0\0\xb\0\x8\0\7\0\1\x14\0\xa\1\2"), 1, DNS_QUERY_REFUSE, DNS_FORMERR}, /* bits behind the prefix */
		{0x0100, DNS_A, REST("\0\0\xfa\0\xff\0\0\0\0\0\0"), 1, DNS_QUERY_REFUSE, DNS_NOTAUTH}, /* TSIG */
	};
	uint8_t bytes[512];

	for (size_t i = 0; i < array_length(cases); i++) {
		const struct query_case *each = &cases[i];
		size_t length = query_make(bytes, each->flags, each->type, each->rest, each->rest_length, each->additional);
		struct dns_query query;
		uint16_t rcode;

		if (dns_query_read(bytes, length, &query, &rcode) != each->verdict || rcode != each->rcode)
			fail_msg("case %zu: %u", i, rcode);
	}
}

static void short_and_odd_queries(void **state)
{
	uint8_t bytes[512];
	struct dns_query query;
	uint16_t rcode;
	size_t length = query_make(bytes, 0x0100, DNS_A, "", 0, 0);

	for (size_t i = 0; i < length; i++)
		assert_int_equal(dns_query_read(bytes, i, &query, &rcode), i < DNS_HEADER_SIZE ? DNS_QUERY_DROP : DNS_QUERY_REFUSE);
	bytes_put16(bytes + 4, 2);
	assert_int_equal(dns_query_read(bytes, length, &query, &rcode), DNS_QUERY_REFUSE);
	assert_int_equal(rcode, DNS_FORMERR);
	/* no question, but a cookie: RFC 7873 section 5.4 */
	memcpy(bytes + DNS_HEADER_SIZE, "\0\0\x29\x10\0\0\0\0\0\0\xc\0\xa\0\x8" "12345678", 23);
	bytes_put16(bytes + 4, 0);
	bytes_put16(bytes + 10, 1);
	assert_int_equal(dns_query_read(bytes, DNS_HEADER_SIZE + 23, &query, &rcode), DNS_QUERY_REFUSE);
	assert_int_equal(rcode, DNS_NOERROR);
	assert_int_equal(query.cookie_length, 8);
}

static size_t answer_make(uint8_t *bytes, size_t size)
{
	struct dns_name name = name_of("www.example.com"), alias = name_of("host.example.com");
	struct dns_writer writer;

	dns_writer_start(&writer, bytes, size, 0, 0x8180, &name, DNS_A, DNS_IN);
	dns_writer_add(&writer, DNS_ANSWER, &name, DNS_CNAME, DNS_IN, 300, alias.bytes, alias.length);
	for (uint8_t i = 1; i <= 3; i++)
		dns_writer_add(&writer, DNS_ANSWER, &alias, DNS_A, DNS_IN, 60, (const uint8_t[]){192, 0, 2, i}, 4);
	dns_writer_add(&writer, DNS_ANSWER, &alias, DNS_RRSIG, DNS_IN, 60, (const uint8_t *)"signature", 9);
	return dns_writer_end(&writer);
}

static void replies_carry_what_the_client_needs(void **state)
{
	uint8_t answer[512], plain[512], bytes[DNS_MESSAGE_MAX], packet[512];
	size_t length = answer_make(answer, sizeof(answer)), sent;
	struct dns_query query;
	struct dns_record record;
	struct dns_walk walk;
	bool had_dnssec;
	uint16_t rcode;
	int plain_length = dns_answer_rewrite(answer, length, false, 1000, plain, sizeof(plain), &had_dnssec);
	struct dns_reply reply = {.flags = DNS_FLAG_RA, .limit = 512, .question = packet + DNS_HEADER_SIZE, .ede = DNS_EDE_STALE,
				  .keepalive_100ms = -1, .age = 20, .rotate = 1};

	assert_true(had_dnssec);
	assert_true(dns_message_valid(answer, length));
	/* the alias is written once and pointed to: question, CNAME, three addresses of 16 bytes */
	assert_int_equal(plain_length, 12 + 17 + 4 + (2 + 10 + 7) + 3 * 16);
	query_make(packet, 0x0100, DNS_A, "\0\0\x29\x10\0\0\0\0\0\0\0", 11, 1);
	assert_int_equal(dns_query_read(packet, 12 + 17 + 4 + 11, &query, &rcode), DNS_QUERY_TAKE);
	sent = dns_reply_write(&query, &reply, plain, (size_t)plain_length, bytes);
	assert_int_equal(sent, (size_t)plain_length + 11 + 6);
	assert_memory_equal(bytes + 13, "wWw", 3); /* the client's case */
	assert_int_equal(bytes_get16(bytes), 0x1234);
	assert_int_equal(dns_walk_start(&walk, bytes, sent), 0);
	assert_int_equal(dns_walk_next(&walk, &record), 1);
	assert_int_equal(record.ttl, 280);
	assert_int_equal(dns_walk_next(&walk, &record), 1);
	assert_int_equal(record.ttl, 40);
	assert_int_equal(bytes[record.data_offset + 3], 2); /* rotated */
	reply.limit = 60;
	sent = dns_reply_write(&query, &reply, plain, (size_t)plain_length, bytes);
	assert_true(sent <= 60);
	assert_true(bytes_get16(bytes + 2) & DNS_FLAG_TC);
	assert_int_equal(bytes_get16(bytes + 6), 0);
	assert_int_equal(bytes_get16(bytes + 10), 1);
}

static void answers_last_as_their_records_say(void **state)
{
	struct dns_name name = name_of("www.example.com"), zone = name_of("example.com");
	uint8_t bytes[512], soa[22 + 40] = {0};
	struct dns_writer writer;

	assert_int_equal(dns_answer_ttl(bytes, answer_make(bytes, sizeof(bytes))), 60);
	/* the SOA's minimum, not its TTL: RFC 2308 section 5 */
	bytes_put32(soa + 18, 30);
	dns_writer_start(&writer, bytes, sizeof(bytes), 0, 0x8183, &name, DNS_A, DNS_IN);
	dns_writer_add(&writer, DNS_AUTHORITY, &zone, DNS_SOA, DNS_IN, 900, soa, 22);
	assert_int_equal(dns_answer_ttl(bytes, dns_writer_end(&writer)), 30);
	/* without one: not at all */
	dns_writer_start(&writer, bytes, sizeof(bytes), 0, 0x8183, &name, DNS_A, DNS_IN);
	assert_int_equal(dns_answer_ttl(bytes, dns_writer_end(&writer)), 0);
}

static void labels_that_differ_behind_a_zero_byte_are_not_pointed_to(void **state)
{
	struct dns_name one = name_of("a\\000b.example"), other = name_of("a\\000c.example"), read;
	uint8_t bytes[512];
	struct dns_writer writer;
	size_t offset, length;

	dns_writer_start(&writer, bytes, sizeof(bytes), 0, 0, &one, DNS_NS, DNS_IN);
	dns_writer_add(&writer, DNS_ANSWER, &one, DNS_NS, DNS_IN, 1, other.bytes, other.length);
	length = dns_writer_end(&writer);
	offset = 12 + one.length + 4 + 2 + 10;
	assert_int_equal(dns_name_read(bytes, length, &offset, &read), 0);
	assert_true(dns_name_equal(&read, &other));
}

/* RFC 9018 appendix A.1 and A.4. */
static void cookies_are_those_of_the_standard(void **state)
{
	static const struct cookie_secret secret = {{0xe5, 0xe9, 0x73, 0xe5, 0xa6, 0xb2, 0xa4, 0x3f, 0x48, 0xe7, 0xdc, 0x84, 0x9e, 0x37,
						     0xbf, 0xcf}};
	static const uint8_t client[] = {0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57};
	static const uint8_t wanted[] = {0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57, 1,    0,    0,	   0,
					 0x5c, 0xf7, 0x9f, 0x11, 0x1f, 0x81, 0x30, 0xc3, 0xee, 0xe2, 0x94, 0x80};
	struct address address;
	uint8_t cookie[24];

	assert_int_equal(address_parse("198.51.100.100", &address), 0);
	cookie_make(&secret, client, &address, 1559731985, cookie);
	assert_memory_equal(cookie, wanted, sizeof(wanted));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_round_trip),
		cmocka_unit_test(names_that_are_none_are_refused),
		cmocka_unit_test(pointers_must_lead_backwards),
		cmocka_unit_test(addresses_and_their_names),
		cmocka_unit_test(queries_are_read_as_strictly_as_bind_reads_them),
		cmocka_unit_test(short_and_odd_queries),
		cmocka_unit_test(replies_carry_what_the_client_needs),
		cmocka_unit_test(answers_last_as_their_records_say),
		cmocka_unit_test(labels_that_differ_behind_a_zero_byte_are_not_pointed_to),
		cmocka_unit_test(cookies_are_those_of_the_standard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/message.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/lib/bytes.h"
#include "base/lib/number.h"

#define OPTION_SUBNET 8
#define OPTION_COOKIE 10
#define OPTION_KEEPALIVE 11
#define OPTION_PADDING 12
#define OPTION_EDE 15
#define OPT_FIXED_SIZE 11 /* an OPT record without options */
#define EDNS_DO 0x8000
#define POINTER_REACH 0x3fff

/* --- names of types and codes -------------------------------------------------------------------------------------------- */

static const struct {
	uint16_t type;
	const char *name;
} type_names[] = {
	{DNS_A, "A"},	      {DNS_NS, "NS"},	    {DNS_CNAME, "CNAME"}, {DNS_SOA, "SOA"},	{DNS_PTR, "PTR"},
	{DNS_HINFO, "HINFO"}, {DNS_MX, "MX"},	    {DNS_TXT, "TXT"},	  {DNS_AAAA, "AAAA"},	{DNS_SRV, "SRV"},
	{35, "NAPTR"},	      {DNS_DNAME, "DNAME"}, {DNS_DS, "DS"},	  {DNS_RRSIG, "RRSIG"}, {DNS_NSEC, "NSEC"},
	{DNS_DNSKEY, "DNSKEY"}, {DNS_NSEC3, "NSEC3"}, {52, "TLSA"},	  {64, "SVCB"},		{DNS_HTTPS, "HTTPS"},
	{257, "CAA"},	      {DNS_ANY, "ANY"},
};

const char *dns_type_format(uint16_t type, char buffer[static 16])
{
	for (size_t i = 0; i < array_length(type_names); i++)
		if (type_names[i].type == type)
			return type_names[i].name;
	snprintf(buffer, 16, "TYPE%u", type);
	return buffer;
}

int dns_type_parse(const char *text, uint16_t *ret_type)
{
	uint32_t number;

	for (size_t i = 0; i < array_length(type_names); i++) {
		if (strcasecmp(type_names[i].name, text) == 0) {
			*ret_type = type_names[i].type;
			return 0;
		}
	}
	if (strncasecmp(text, "TYPE", 4) != 0 || !number_read(text + 4, 0, UINT16_MAX, &number))
		return -EINVAL;
	*ret_type = (uint16_t)number;
	return 0;
}

const char *dns_rcode_name(unsigned int rcode)
{
	static const char *const names[] = {"NOERROR", "FORMERR",  "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
					    "YXDOMAIN", "YXRRSET", "NXRRSET",  "NOTAUTH",  "NOTZONE"};

	if (rcode == DNS_BADVERS)
		return "BADVERS";
	return rcode < array_length(names) ? names[rcode] : "OTHER";
}

/* --- queries -------------------------------------------------------------------------------------------------------------- */

/* Reads a cookie, a subnet and what else the client's OPT record may say; others are ignored (RFC 6891 section 6.1.2). */
static bool option_read(struct dns_query *query, uint16_t code, const uint8_t *data, size_t length)
{
	if (code == OPTION_COOKIE) {
		/* RFC 7873 section 5.2.2: a length that no cookie has is a FORMERR */
		if (length != 8 && (length < 16 || length > 40))
			return false;
		if (!query->cookie_length) {
			query->cookie_length = (uint8_t)length;
			memcpy(query->cookie, data, length);
		}
	} else if (code == OPTION_SUBNET) {
		uint8_t bytes[16] = {0};
		size_t used = length - 4;
		bool ipv4;

		/* RFC 7871 section 7.1.2: scope 0, as many bytes as the prefix needs */
		if (length < 4)
			return false;
		ipv4 = bytes_get16(data) == 1;
		if (!ipv4 && bytes_get16(data) != 2)
			return data[2] == 0;
		if (data[2] > (ipv4 ? 32 : 128) || data[3] != 0 || used != (data[2] + 7u) / 8)
			return false;
		if (ipv4)
			bytes[10] = bytes[11] = 0xff;
		memcpy(bytes + (ipv4 ? 12 : 0), data + 4, used);
		if (data[2] % 8 && used && (data[3 + used] & (0xff >> data[2] % 8)))
			return false;
		query->subnet_given = true;
		query->subnet_length = data[2];
		memcpy(&query->subnet, bytes, sizeof(bytes));
	} else if (code == OPTION_KEEPALIVE) {
		query->keepalive = true;
	} else if (code == OPTION_PADDING) {
		query->padding = true;
	}
	return true;
}

static bool opt_read(struct dns_query *query, const uint8_t *message, const struct dns_record *record, uint16_t *ret_rcode)
{
	const uint8_t *data = message + record->data_offset;
	size_t left = record->data_length;

	if (query->edns || record->owner.length != 1)
		return false;
	query->edns = true;
	query->udp_size = record->class < DNS_UDP_PLAIN ? DNS_UDP_PLAIN : record->class;
	query->dnssec_ok = record->ttl & EDNS_DO;
	if (record->ttl >> 16 & 0xff) {
		/* what a later version's options mean is not known */
		*ret_rcode = DNS_BADVERS;
		return true;
	}
	while (left) {
		size_t length;

		if (left < 4)
			return false;
		length = bytes_get16(data + 2);
		if (length > left - 4 || !option_read(query, bytes_get16(data), data + 4, length))
			return false;
		data += 4 + length;
		left -= 4 + length;
	}
	return true;
}

/* The records behind the question: one OPT, perhaps a signature. */
static bool extras_read(struct dns_query *query, const uint8_t *bytes, size_t length, uint16_t *ret_rcode)
{
	struct dns_walk walk = {.message = bytes, .length = length, .offset = (size_t)DNS_HEADER_SIZE + query->question_length};
	struct dns_record record;
	int status;

	for (size_t i = 0; i < 3; i++)
		walk.left[i] = bytes_get16(bytes + 6 + 2 * i);
	while ((status = dns_walk_next(&walk, &record)) > 0) {
		if (record.section != DNS_ADDITIONAL)
			continue;
		if (record.type == DNS_OPT && !opt_read(query, bytes, &record, ret_rcode))
			return false;
		/* RFC 8945 section 5.2: no key is known here */
		if (record.type == DNS_TSIG || (record.type == DNS_SIG && record.owner.length == 1))
			*ret_rcode = DNS_NOTAUTH;
	}
	return status == 0 && walk.offset == length;
}

/* Types that are no questions for a resolver. */
static uint16_t type_refused(uint16_t type)
{
	switch (type) {
	case 0:
	case DNS_OPT:
	case DNS_TKEY:
	case DNS_TSIG:
		return DNS_FORMERR;
	case DNS_AXFR:
	case DNS_IXFR:
		return DNS_REFUSED;
	case DNS_MAILA:
	case DNS_MAILB:
		return DNS_NOTIMP;
	}
	return DNS_NOERROR;
}

static bool question_read(struct dns_query *query, const uint8_t *bytes, size_t length)
{
	size_t offset = DNS_HEADER_SIZE;

	if (dns_name_read(bytes, length, &offset, &query->name) < 0 || offset + 4 > length ||
	    offset != DNS_HEADER_SIZE + (size_t)query->name.length)
		return false;
	dns_name_lower(&query->name);
	query->type = bytes_get16(bytes + offset);
	query->class = bytes_get16(bytes + offset + 2);
	query->question_length = (uint16_t)(offset + 4 - DNS_HEADER_SIZE);
	return true;
}

enum dns_query_verdict dns_query_read(const uint8_t *bytes, size_t length, struct dns_query *ret_query, uint16_t *ret_rcode)
{
	struct dns_query *query = ret_query;
	uint16_t questions, rcode = DNS_NOERROR;

	*query = (struct dns_query){.udp_size = DNS_UDP_PLAIN};
	*ret_rcode = DNS_FORMERR;
	if (length < DNS_HEADER_SIZE)
		return DNS_QUERY_DROP;
	query->id = bytes_get16(bytes);
	query->flags = bytes_get16(bytes + 2);
	/* an answer to an answer is how loops begin */
	if (query->flags & DNS_FLAG_QR)
		return DNS_QUERY_DROP;
	questions = bytes_get16(bytes + 4);
	if (query->flags >> 11 & 15) {
		*ret_rcode = DNS_NOTIMP;
		if (questions == 1 && question_read(query, bytes, length) && !extras_read(query, bytes, length, &rcode))
			query->edns = false;
		return DNS_QUERY_REFUSE;
	}
	if (questions > 1 || (questions == 1 && !question_read(query, bytes, length)))
		return DNS_QUERY_REFUSE;
	if (!extras_read(query, bytes, length, &rcode))
		return DNS_QUERY_REFUSE;
	if (rcode == DNS_NOERROR && questions == 0) {
		/* RFC 7873 section 5.4: no question, but a cookie: asks for one */
		*ret_rcode = query->cookie_length ? DNS_NOERROR : DNS_FORMERR;
		return DNS_QUERY_REFUSE;
	}
	if (rcode == DNS_NOERROR)
		rcode = type_refused(query->type);
	*ret_rcode = rcode;
	return rcode == DNS_NOERROR ? DNS_QUERY_TAKE : DNS_QUERY_REFUSE;
}

/* --- walking ---------------------------------------------------------------------------------------------------------------- */

int dns_walk_start(struct dns_walk *walk, const uint8_t *message, size_t length)
{
	struct dns_name name;

	*walk = (struct dns_walk){.message = message, .length = length, .offset = DNS_HEADER_SIZE};
	if (length < DNS_HEADER_SIZE || bytes_get16(message + 4) != 1)
		return -EBADMSG;
	for (size_t i = 0; i < 3; i++)
		walk->left[i] = bytes_get16(message + 6 + 2 * i);
	if (dns_name_read(message, length, &walk->offset, &name) < 0 || walk->offset + 4 > length)
		return -EBADMSG;
	walk->offset += 4;
	return 0;
}

int dns_walk_next(struct dns_walk *walk, struct dns_record *ret_record)
{
	struct dns_record *record = ret_record;
	const uint8_t *fixed;

	for (record->section = DNS_ANSWER; record->section < DNS_ADDITIONAL && !walk->left[record->section];)
		record->section++;
	if (!walk->left[record->section])
		return 0;
	if (dns_name_read(walk->message, walk->length, &walk->offset, &record->owner) < 0 || walk->offset + 10 > walk->length)
		return -EBADMSG;
	fixed = walk->message + walk->offset;
	record->type = bytes_get16(fixed);
	record->class = bytes_get16(fixed + 2);
	record->ttl = bytes_get32(fixed + 4);
	record->ttl_offset = walk->offset + 4;
	record->data_length = bytes_get16(fixed + 8);
	record->data_offset = walk->offset + 10;
	if (record->data_offset + record->data_length > walk->length)
		return -EBADMSG;
	walk->offset = record->data_offset + record->data_length;
	walk->left[record->section]--;
	return 1;
}

/* Where names stand in the data of types whose names may come compressed (RFC 3597 section 4). */
struct data_form {
	uint16_t type;
	uint8_t before;	 /* bytes */
	uint8_t strings; /* character strings behind them */
	uint8_t names;
	bool compress; /* when written, too: RFC 1035's own */
	int8_t after;  /* bytes; -1: any */
};

static const struct data_form data_forms[] = {
	{DNS_NS, 0, 0, 1, true, 0},    {3, 0, 0, 1, true, 0},	      {4, 0, 0, 1, true, 0},
	{DNS_CNAME, 0, 0, 1, true, 0}, {DNS_SOA, 0, 0, 2, true, 20}, {7, 0, 0, 1, true, 0},
	{8, 0, 0, 1, true, 0},	       {9, 0, 0, 1, true, 0},	      {DNS_PTR, 0, 0, 1, true, 0},
	{14, 0, 0, 2, true, 0},	       {DNS_MX, 2, 0, 1, true, 0},   {17, 0, 0, 2, false, 0},
	{18, 2, 0, 1, false, 0},       {21, 2, 0, 1, false, 0},      {DNS_SIG, 18, 0, 1, false, -1},
	{26, 2, 0, 2, false, 0},       {30, 0, 0, 1, false, -1},     {DNS_SRV, 6, 0, 1, false, 0},
	{35, 4, 3, 1, false, 0},       {36, 2, 0, 1, false, 0},	      {DNS_DNAME, 0, 0, 1, false, 0},
};

static const struct data_form *form_find(uint16_t type)
{
	for (size_t i = 0; i < array_length(data_forms); i++)
		if (data_forms[i].type == type)
			return &data_forms[i];
	return NULL;
}

/* The length of what stands before the names; -1: it does not fit. */
static int form_prefix(const struct data_form *form, const uint8_t *data, size_t length)
{
	size_t at = form->before;

	for (unsigned int i = 0; i < form->strings; i++) {
		if (at >= length)
			return -1;
		at += 1u + data[at];
	}
	return at > length ? -1 : (int)at;
}

int dns_data_expand(const uint8_t *message, size_t length, const struct dns_record *record, uint8_t *ret_data, size_t size,
		    size_t *ret_length)
{
	const struct data_form *form = form_find(record->type);
	size_t end = record->data_offset + record->data_length, at = record->data_offset, used = 0;

	if (form) {
		int prefix = form_prefix(form, message + at, record->data_length);

		if (prefix < 0)
			return -EBADMSG;
		if ((size_t)prefix > size)
			return -EMSGSIZE;
		memcpy(ret_data, message + at, (size_t)prefix);
		used = (size_t)prefix;
		at += (size_t)prefix;
		for (unsigned int i = 0; i < form->names; i++) {
			struct dns_name name;

			/* a name may point anywhere before, but not reach beyond the record */
			if (dns_name_read(message, length, &at, &name) < 0 || at > end)
				return -EBADMSG;
			if (used + name.length > size)
				return -EMSGSIZE;
			memcpy(ret_data + used, name.bytes, name.length);
			used += name.length;
		}
		if (form->after >= 0 && end - at != (size_t)form->after)
			return -EBADMSG;
	}
	if ((record->type == DNS_A && end - at != 4) || (record->type == DNS_AAAA && end - at != 16))
		return -EBADMSG;
	if (used + (end - at) > size)
		return -EMSGSIZE;
	memcpy(ret_data + used, message + at, end - at);
	*ret_length = used + (end - at);
	return 0;
}

bool dns_message_valid(const uint8_t *message, size_t length)
{
	static uint8_t data[DNS_MESSAGE_MAX];
	struct dns_record record;
	struct dns_walk walk;
	size_t data_length;
	int status;

	if (length > DNS_MESSAGE_MAX || dns_walk_start(&walk, message, length) < 0)
		return false;
	while ((status = dns_walk_next(&walk, &record)) > 0)
		if (dns_data_expand(message, length, &record, data, sizeof(data), &data_length) < 0)
			return false;
	return status == 0 && walk.offset == length;
}

uint32_t dns_answer_ttl(const uint8_t *message, size_t length)
{
	uint32_t lowest = UINT32_MAX, negative = 0;
	bool authority_soa = false;
	struct dns_record record;
	struct dns_walk walk;

	if (dns_walk_start(&walk, message, length) < 0)
		return 0;
	while (dns_walk_next(&walk, &record) > 0) {
		uint32_t ttl = record.ttl & 0x80000000u ? 0 : record.ttl; /* RFC 2181 section 8 */

		if (record.type == DNS_OPT)
			continue;
		if (ttl < lowest)
			lowest = ttl;
		if (record.section == DNS_AUTHORITY && record.type == DNS_SOA && record.data_length >= 22) {
			uint32_t minimum = bytes_get32(message + record.data_offset + record.data_length - 4);

			authority_soa = true;
			negative = ttl < minimum ? ttl : minimum;
		}
	}
	if (authority_soa)
		return negative < lowest ? negative : lowest;
	/* without SOA a negative answer is not to be kept (RFC 2308 section 5) */
	return bytes_get16(message + 6) && lowest != UINT32_MAX ? lowest : 0;
}

/* --- writing ------------------------------------------------------------------------------------------------------------------ */

static bool bytes_equal_folded(const uint8_t *a, const uint8_t *b, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		uint8_t differ = a[i] ^ b[i], letter = a[i] | 0x20;

		if (differ && (differ != 0x20 || letter < 'a' || letter > 'z'))
			return false;
	}
	return true;
}

/* Whether the name at `offset` of the message so far is `suffix`, case aside. */
static bool name_at_equals(const struct dns_writer *writer, size_t offset, const uint8_t *suffix)
{
	const uint8_t *bytes = writer->bytes;

	for (;;) {
		uint8_t label = bytes[offset];

		if ((label & 0xc0) == 0xc0) {
			offset = (size_t)(label & 0x3f) << 8 | bytes[offset + 1];
			continue;
		}
		if (label != *suffix)
			return false;
		if (!label)
			return true;
		if (!bytes_equal_folded(bytes + offset + 1, suffix + 1, label))
			return false;
		offset += 1u + label;
		suffix += 1u + label;
	}
}

static bool bytes_put(struct dns_writer *writer, const uint8_t *bytes, size_t length)
{
	if (writer->full || writer->length + length > writer->size) {
		writer->full = true;
		return false;
	}
	memcpy(writer->bytes + writer->length, bytes, length);
	writer->length += length;
	return true;
}

static void name_put(struct dns_writer *writer, const uint8_t *name, bool compress)
{
	unsigned int known = writer->name_count;

	for (size_t at = 0; name[at]; at += 1u + name[at]) {
		for (unsigned int i = 0; compress && i < known; i++) {
			if (name_at_equals(writer, writer->names[i], name + at)) {
				uint8_t pointer[2] = {(uint8_t)(0xc0 | writer->names[i] >> 8), (uint8_t)writer->names[i]};

				bytes_put(writer, pointer, 2);
				return;
			}
		}
		if (writer->length <= POINTER_REACH && writer->name_count < DNS_COMPRESS_MAX)
			writer->names[writer->name_count++] = (uint16_t)writer->length;
		if (!bytes_put(writer, name + at, 1u + name[at]))
			return;
	}
	bytes_put(writer, (const uint8_t[]){0}, 1);
}

void dns_writer_start(struct dns_writer *writer, uint8_t *bytes, size_t size, uint16_t id, uint16_t flags,
		      const struct dns_name *name, uint16_t type, uint16_t class)
{
	uint8_t header[DNS_HEADER_SIZE] = {0}, tail[4];

	*writer = (struct dns_writer){.bytes = bytes, .size = size};
	bytes_put16(header, id);
	bytes_put16(header + 2, flags);
	bytes_put16(header + 4, 1);
	bytes_put16(tail, type);
	bytes_put16(tail + 2, class);
	bytes_put(writer, header, sizeof(header));
	name_put(writer, name->bytes, false);
	bytes_put(writer, tail, sizeof(tail));
}

static void data_put(struct dns_writer *writer, uint16_t type, const uint8_t *data, size_t length)
{
	const struct data_form *form = form_find(type);
	size_t at = 0;

	if (form && form->compress) {
		at = form->before;
		bytes_put(writer, data, at);
		for (unsigned int i = 0; i < form->names; i++) {
			name_put(writer, data + at, true);
			while (data[at])
				at += 1u + data[at];
			at++;
		}
	}
	bytes_put(writer, data + at, length - at);
}

void dns_writer_add(struct dns_writer *writer, enum dns_section section, const struct dns_name *owner, uint16_t type,
		    uint16_t class, uint32_t ttl, const uint8_t *data, size_t length)
{
	size_t before = writer->length, length_at;
	unsigned int names_before = writer->name_count;
	uint8_t fixed[10] = {0};

	bytes_put16(fixed, type);
	bytes_put16(fixed + 2, class);
	bytes_put32(fixed + 4, ttl);
	name_put(writer, owner->bytes, true);
	length_at = writer->length + 8;
	bytes_put(writer, fixed, sizeof(fixed));
	data_put(writer, type, data, length);
	if (writer->full) {
		writer->length = before;
		writer->name_count = names_before;
		return;
	}
	bytes_put16(writer->bytes + length_at, (uint16_t)(writer->length - length_at - 2));
	writer->counts[section]++;
}

size_t dns_writer_end(struct dns_writer *writer)
{
	for (size_t i = 0; i < 3; i++)
		bytes_put16(writer->bytes + 6 + 2 * i, writer->counts[i]);
	return writer->length;
}

static bool type_for_validators(uint16_t type)
{
	return type == DNS_RRSIG || type == DNS_NSEC || type == DNS_NSEC3;
}

int dns_answer_rewrite(const uint8_t *message, size_t length, bool dnssec, uint32_t ttl_max, uint8_t *ret_bytes, size_t size,
		       bool *ret_had_dnssec)
{
	static uint8_t data[DNS_MESSAGE_MAX];
	struct dns_record record;
	struct dns_writer writer;
	struct dns_name name;
	struct dns_walk walk;
	size_t offset = DNS_HEADER_SIZE, data_length;
	uint16_t asked;
	int status;

	*ret_had_dnssec = false;
	if (dns_walk_start(&walk, message, length) < 0 || dns_name_read(message, length, &offset, &name) < 0)
		return -EBADMSG;
	asked = bytes_get16(message + offset);
	dns_writer_start(&writer, ret_bytes, size, 0, bytes_get16(message + 2), &name, asked, bytes_get16(message + offset + 2));
	while ((status = dns_walk_next(&walk, &record)) > 0) {
		bool extra = type_for_validators(record.type) && (record.type != asked || record.section != DNS_ANSWER);
		uint32_t ttl = record.ttl & 0x80000000u ? 0 : record.ttl;

		if (record.type == DNS_OPT)
			continue;
		*ret_had_dnssec |= extra;
		if (extra && !dnssec)
			continue;
		if (dns_data_expand(message, length, &record, data, sizeof(data), &data_length) < 0)
			return -EBADMSG;
		dns_writer_add(&writer, record.section, &record.owner, record.type, record.class,
			       ttl < ttl_max ? ttl : ttl_max, data, data_length);
	}
	if (status < 0 || writer.full)
		return -EBADMSG;
	return (int)dns_writer_end(&writer);
}

/* --- replies ------------------------------------------------------------------------------------------------------------------ */

static size_t option_write(uint8_t *at, uint16_t code, const void *data, size_t length)
{
	bytes_put16(at, code);
	bytes_put16(at + 2, (uint16_t)length);
	memcpy(at + 4, data, length);
	return 4 + length;
}

static size_t subnet_write(uint8_t *at, const struct dns_query *query, uint8_t scope)
{
	bool ipv4 = address_is_ipv4(&query->subnet);
	size_t used = (query->subnet_length + 7u) / 8;
	uint8_t data[20] = {0, ipv4 ? 1 : 2, query->subnet_length, scope};

	memcpy(data + 4, (const uint8_t *)&query->subnet + (ipv4 ? 12 : 0), used);
	return option_write(at, OPTION_SUBNET, data, 4 + used);
}

/* The OPT record; `size_before` is what the message has without it, for padding. */
static size_t opt_write(uint8_t *at, const struct dns_query *query, const struct dns_reply *reply, size_t size_before)
{
	uint8_t *options = at + OPT_FIXED_SIZE;
	size_t used = 0;

	if (reply->cookie)
		used += option_write(options + used, OPTION_COOKIE, reply->cookie, reply->cookie_length);
	if (reply->subnet && query->subnet_given)
		used += subnet_write(options + used, query, reply->subnet_scope);
	if (reply->keepalive_100ms >= 0) {
		uint8_t value[2];

		bytes_put16(value, (uint16_t)reply->keepalive_100ms);
		used += option_write(options + used, OPTION_KEEPALIVE, value, 2);
	}
	if (reply->ede != DNS_EDE_NONE) {
		uint8_t value[2 + 128];
		size_t text = reply->ede_text ? strnlen(reply->ede_text, 128) : 0;

		bytes_put16(value, (uint16_t)reply->ede);
		memcpy(value + 2, reply->ede_text ? reply->ede_text : "", text);
		used += option_write(options + used, OPTION_EDE, value, 2 + text);
	}
	/* RFC 8467 section 4.1: to a multiple of 468 */
	if (reply->padding && query->padding) {
		static const uint8_t zeroes[512];
		size_t whole = size_before + OPT_FIXED_SIZE + used + 4;
		size_t more = (reply->padding - whole % reply->padding) % reply->padding;

		if (whole + more <= reply->limit)
			used += option_write(options + used, OPTION_PADDING, zeroes, more);
	}
	at[0] = 0;
	bytes_put16(at + 1, DNS_OPT);
	bytes_put16(at + 3, DNS_UDP_SAFE);
	at[5] = (uint8_t)(reply->rcode >> 4);
	at[6] = 0;
	bytes_put16(at + 7, query->dnssec_ok ? EDNS_DO : 0);
	bytes_put16(at + 9, (uint16_t)used);
	return OPT_FIXED_SIZE + used;
}

/* Addresses of one owner that stand in a row: the data of each moves `shift` places on. */
static void addresses_rotate(uint8_t *first, size_t step, size_t data_at, size_t data_length, unsigned int count,
			     unsigned int shift)
{
	uint8_t copy[64 * 16];

	if (count < 2 || count > 64)
		return;
	for (unsigned int i = 0; i < count; i++)
		memcpy(copy + i * data_length, first + i * step + data_at, data_length);
	for (unsigned int i = 0; i < count; i++)
		memcpy(first + i * step + data_at, copy + (i + shift) % count * data_length, data_length);
}

/* Ages TTLs, and rotates runs of addresses: records of one type and size whose owner is written alike. */
static void records_adjust(uint8_t *message, size_t length, const struct dns_reply *reply)
{
	struct dns_record record;
	struct dns_walk walk;
	size_t run_at = 0, run_step = 0, run_data = 0, start;
	unsigned int run = 0;
	uint16_t run_type = 0;

	if (dns_walk_start(&walk, message, length) < 0)
		return;
	for (;;) {
		size_t step;
		bool follows;
		int status;

		start = walk.offset;
		status = dns_walk_next(&walk, &record);
		step = walk.offset - start;
		follows = status > 0 && record.section == DNS_ANSWER && record.type == run_type && step == run_step &&
			  memcmp(message + run_at, message + start, record.data_offset - start) == 0;
		if (!follows && run)
			addresses_rotate(message + run_at, run_step, run_data - run_at, run_type == DNS_A ? 4 : 16, run,
					 reply->rotate % run);
		if (status <= 0)
			return;
		if (follows) {
			run++;
		} else if (record.section == DNS_ANSWER && (record.type == DNS_A || record.type == DNS_AAAA) &&
			   record.data_length == (record.type == DNS_A ? 4 : 16)) {
			run_at = start;
			run_step = step;
			run_data = record.data_offset;
			run_type = record.type;
			run = 1;
		} else {
			run = 0;
			run_type = 0;
		}
	}
}

static void ttls_adjust(uint8_t *message, size_t length, const struct dns_reply *reply)
{
	struct dns_record record;
	struct dns_walk walk;

	if (dns_walk_start(&walk, message, length) < 0)
		return;
	while (dns_walk_next(&walk, &record) > 0) {
		uint32_t ttl = record.ttl > reply->age ? record.ttl - reply->age : 0;

		bytes_put32(message + record.ttl_offset, reply->stale_ttl ? reply->stale_ttl : ttl);
	}
}

size_t dns_reply_write(const struct dns_query *query, const struct dns_reply *reply, const uint8_t *answer, size_t length,
		       uint8_t *ret_bytes)
{
	uint8_t opt[512 + 600];
	uint16_t flags = (uint16_t)(reply->flags | DNS_FLAG_QR | (reply->rcode & DNS_CODE_MASK));
	size_t head = DNS_HEADER_SIZE + (size_t)query->question_length, used = head, opt_length = 0;

	memset(ret_bytes, 0, DNS_HEADER_SIZE);
	if (answer && length >= head) {
		memcpy(ret_bytes, answer, length);
		used = length;
		if (reply->rotate)
			records_adjust(ret_bytes, used, reply);
		if (reply->age || reply->stale_ttl)
			ttls_adjust(ret_bytes, used, reply);
	}
	if (query->question_length)
		memcpy(ret_bytes + DNS_HEADER_SIZE, reply->question, query->question_length);
	if (query->edns)
		opt_length = opt_write(opt, query, reply, used);
	if (used + opt_length > reply->limit) {
		flags |= DNS_FLAG_TC;
		used = head;
		memset(ret_bytes + 6, 0, 6);
		if (query->edns)
			opt_length = opt_write(opt, query, reply, used);
	}
	bytes_put16(ret_bytes, query->id);
	bytes_put16(ret_bytes + 2, flags);
	bytes_put16(ret_bytes + 4, query->question_length ? 1 : 0);
	if (opt_length) {
		memcpy(ret_bytes + used, opt, opt_length);
		bytes_put16(ret_bytes + 10, (uint16_t)(bytes_get16(ret_bytes + 10) + 1));
	}
	return used + opt_length;
}

bool dns_question_matches(const uint8_t *query, size_t query_length, const uint8_t *answer, size_t answer_length)
{
	struct dns_name name;
	size_t end = DNS_HEADER_SIZE;

	if (query_length < DNS_HEADER_SIZE || answer_length < DNS_HEADER_SIZE || bytes_get16(answer + 4) != 1 ||
	    dns_name_read(query, query_length, &end, &name) < 0 || end + 4 > query_length || end + 4 > answer_length)
		return false;
	/* a question's name has nothing before it to point to; the bytes of lengths and numbers are no letters' pairs */
	return bytes_equal_folded(query + DNS_HEADER_SIZE, answer + DNS_HEADER_SIZE, end - DNS_HEADER_SIZE) &&
	       memcmp(query + end, answer + end, 4) == 0;
}

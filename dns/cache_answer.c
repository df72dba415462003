/* SPDX-License-Identifier: Apache-2.0 */
/* Answers as they came off the wire: whether one can be an entry, and where its TTLs are. Foreign bytes: nothing is believed. */
#include <string.h>

#include "dns/cache_internal.h"

/* --- names -------------------------------------------------------------------------------------------------------------- */

static bool name_is_whole(const uint8_t *name, size_t length)
{
	size_t at = 0;

	if (length == 0 || length > DNS_NAME_BYTES)
		return false;
	while (name[at]) {
		if (name[at] > 63)
			return false;
		at += name[at] + 1u;
		if (at >= length)
			return false;
	}
	return at + 1 == length;
}

bool name_words_from(const uint8_t *name, size_t length, struct name_words *ret_words)
{
	uint8_t padded[DNS_WORDS * 8] = {0};

	if (!name_is_whole(name, length))
		return false;
	memset(ret_words, 0, sizeof(*ret_words));
	memcpy(padded + sizeof(padded) - length, name, length);
	for (uint32_t i = 0; i < DNS_WORDS; i++) {
		memcpy(&ret_words->words[i], padded + sizeof(padded) - 8 * (i + 1), 8);
		ret_words->words[i] = dns_lower(ret_words->words[i]);
	}
	ret_words->length = (uint8_t)length;
	return true;
}

void name_words_to(const struct name_words *words, uint8_t name[static DNS_NAME_BYTES])
{
	uint8_t padded[DNS_WORDS * 8];

	for (uint32_t i = 0; i < DNS_WORDS; i++)
		memcpy(padded + sizeof(padded) - 8 * (i + 1), &words->words[i], 8);
	memcpy(name, padded + sizeof(padded) - words->length, words->length);
}

uint64_t name_words_hash(const struct name_words *words, uint64_t seed)
{
	uint64_t hash = seed;

	for (uint32_t i = 0; i < name_words_count(words->length); i++)
		hash = hash_word(hash, words->words[i]);
	return hash;
}

uint16_t bytes_sum(const uint8_t *bytes, size_t length, bool odd)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < length; i++)
		sum += (uint64_t)bytes[i] << ((i & 1) == odd ? 0 : 8);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* --- walking through a message ------------------------------------------------------------------------------------------ */

struct walk {
	const uint8_t *message;
	size_t length, at;
	uint8_t pointed[DNS_SIZE_MAX]; /* places that compressed names point to */
};

struct record {
	size_t start, ttl, data; /* places in the message */
	uint16_t type, class, data_length;
	uint32_t ttl_s;
};

static size_t walk_end(const struct record *record)
{
	return record->data + record->data_length;
}

static uint16_t read16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static uint32_t read32(const uint8_t *bytes)
{
	return (uint32_t)read16(bytes) << 16 | read16(bytes + 2);
}

static void write32(uint8_t *bytes, uint32_t value)
{
	for (int i = 3; i >= 0; i--, value >>= 8)
		bytes[i] = (uint8_t)value;
}

/* Where a pointer leads must be a name that lies before it: so it ends (RFC 1035 section 4.1.4, "a prior occurrence"). */
static bool pointed_name_is_whole(const struct walk *walk, size_t at)
{
	size_t total = 0, before = walk->length;

	for (;;) {
		uint8_t label;

		if (at >= walk->length)
			return false;
		label = walk->message[at];
		if (label >= 0xc0) {
			size_t to;

			if (at + 2 > walk->length)
				return false;
			to = read16(walk->message + at) & 0x3fffu;
			if (to < sizeof(struct dns_header) || to >= at || to >= before)
				return false;
			at = before = to;
			continue;
		}
		if (label > 63)
			return false;
		total += label + 1u;
		if (total > DNS_NAME_BYTES)
			return false;
		if (label == 0)
			return true;
		at += label + 1u;
	}
}

/* Over a name that may be compressed. */
static bool name_pass(struct walk *walk)
{
	size_t at = walk->at;

	if (!pointed_name_is_whole(walk, at))
		return false;
	while (walk->message[at] && walk->message[at] < 0xc0)
		at += walk->message[at] + 1u;
	if (walk->message[at] >= 0xc0) {
		size_t to = read16(walk->message + at) & 0x3fffu;

		if (to < sizeof(walk->pointed))
			walk->pointed[to] = 1;
		at++;
	}
	walk->at = at + 1;
	return true;
}

static bool record_read(struct walk *walk, struct record *ret_record)
{
	const uint8_t *fixed;

	ret_record->start = walk->at;
	if (!name_pass(walk) || walk->length - walk->at < DNS_RECORD_BYTES)
		return false;
	fixed = walk->message + walk->at;
	ret_record->type = read16(fixed);
	ret_record->class = read16(fixed + 2);
	ret_record->ttl = walk->at + 4;
	ret_record->ttl_s = read32(fixed + 4);
	ret_record->data_length = read16(fixed + 8);
	ret_record->data = walk->at + DNS_RECORD_BYTES;
	if (walk->length - ret_record->data < ret_record->data_length)
		return false;
	walk->at = ret_record->data + ret_record->data_length;
	/* RFC 2181 section 8: a TTL with its top bit set is one of zero */
	if (ret_record->ttl_s > INT32_MAX)
		ret_record->ttl_s = 0;
	return true;
}

/* A SOA record's last number; false when its data is none. */
static bool soa_minimum(const struct walk *walk, const struct record *soa, uint32_t *ret_minimum)
{
	struct walk data = {.message = walk->message, .length = soa->data + soa->data_length, .at = soa->data};

	if (!name_pass(&data) || !name_pass(&data) || data.length - data.at != 20)
		return false;
	*ret_minimum = read32(walk->message + data.at + 16);
	return true;
}

/* --- judging ------------------------------------------------------------------------------------------------------------ */

struct judge {
	struct walk walk;
	const struct dns_put *how;
	struct parsed_answer *parsed;
	size_t tail_start, tail_end;
	uint32_t least_ttl;
	bool soa, referral;
	struct record first; /* of a set that may rotate */
	uint32_t first_count;
	bool first_over;
	bool opt_seen;
};

static bool type_is_cached(uint16_t type)
{
	return type != 0 && type != DNS_TYPE_OPT && !(type >= DNS_TYPE_FIRST_META && type <= DNS_TYPE_LAST_META);
}

static enum dns_refusal question_judge(struct judge *judge)
{
	struct walk *walk = &judge->walk;
	struct dns_key *key = &judge->parsed->key;
	size_t start = walk->at, length;

	while (walk->at < walk->length && walk->message[walk->at] && walk->message[walk->at] <= 63)
		walk->at += walk->message[walk->at] + 1u;
	if (walk->at >= walk->length || walk->message[walk->at] || walk->at - start >= DNS_NAME_BYTES)
		return DNS_REFUSED_MALFORMED;
	length = ++walk->at - start;
	if (walk->length - walk->at < DNS_QUESTION_BYTES || !name_words_from(walk->message + start, length, &judge->parsed->name))
		return DNS_REFUSED_MALFORMED;
	name_words_to(&judge->parsed->name, key->name);
	key->name_length = (uint8_t)length;
	key->type = read16(walk->message + walk->at);
	if (read16(walk->message + walk->at + 2) != DNS_CLASS_IN || !type_is_cached(key->type))
		return DNS_REFUSED_QUESTION;
	walk->at += DNS_QUESTION_BYTES;
	return DNS_TAKEN;
}

static enum dns_refusal header_judge(struct judge *judge)
{
	uint16_t flags;

	if (judge->walk.length < sizeof(struct dns_header))
		return DNS_REFUSED_MALFORMED;
	flags = read16(judge->walk.message + 2);
	if (!(flags & DNS_FLAG_RESPONSE) || flags & DNS_OPCODE_MASK || read16(judge->walk.message + 4) != 1)
		return DNS_REFUSED_MALFORMED;
	if (flags & DNS_FLAG_TRUNCATED)
		return DNS_REFUSED_TRUNCATED;
	judge->parsed->rcode = flags & DNS_RCODE_MASK;
	if (judge->parsed->rcode != DNS_RCODE_NOERROR && judge->parsed->rcode != DNS_RCODE_NXDOMAIN &&
	    judge->parsed->rcode != DNS_RCODE_SERVFAIL)
		return DNS_REFUSED_CODE;
	judge->parsed->head.header_flags = (uint16_t)(DNS_FLAG_RESPONSE | (flags & DNS_FLAG_RECURSION_AVAILABLE) |
						      (judge->how->authoritative ? DNS_FLAG_AUTHORITATIVE : 0) |
						      judge->parsed->rcode);
	judge->walk.at = sizeof(struct dns_header);
	return DNS_TAKEN;
}

/* Addresses of the type that was asked for, one behind the other, that differ in nothing else. */
static void rotation_note(struct judge *judge, const struct record *record)
{
	uint16_t wanted = judge->parsed->key.type, length = wanted == DNS_TYPE_A ? 4 : 16;
	const struct record *first = &judge->first;
	size_t stride = record->data + length - record->start, last = judge->first_count - 1u;

	if ((wanted != DNS_TYPE_A && wanted != DNS_TYPE_AAAA) || judge->first_over)
		return;
	if (judge->first_count == 0) {
		if (record->type == wanted && record->data_length == length) {
			judge->first = *record;
			judge->first_count = 1;
		}
		return;
	}
	if (record->start == first->start + (last + 1) * stride && stride == first->data + length - first->start &&
	    record->type == wanted && record->data_length == length && record->ttl_s == first->ttl_s &&
	    memcmp(judge->walk.message + record->start, judge->walk.message + first->start, record->data - record->start) == 0)
		judge->first_count++;
	else
		judge->first_over = true;
}

static void rotation_settle(struct judge *judge)
{
	uint32_t length = judge->parsed->key.type == DNS_TYPE_A ? 4 : 16;
	size_t stride = judge->first.data + length - judge->first.start;
	size_t at = judge->first.data - judge->tail_start, end = at + (judge->first_count - 1) * stride + length;
	struct dns_entry *head = &judge->parsed->head;

	if (judge->first_count < 2 || judge->first_count > DNS_ROTATE_MAX || stride & 1 || end > dns_head_room(head->name_length))
		return;
	for (uint32_t i = 0; i < judge->first_count; i++) {
		for (uint32_t byte = 0; byte < length; byte++) {
			if (judge->walk.pointed[judge->first.data + i * stride + byte])
				return; /* names that begin within an address */
		}
	}
	head->rotate_at = (uint16_t)at;
	head->rotate_length = (uint16_t)stride;
	head->rotate_count = (uint8_t)judge->first_count;
}

static enum dns_refusal record_judge(struct judge *judge, const struct record *record, uint32_t section)
{
	struct parsed_answer *parsed = judge->parsed;
	uint32_t ttl = record->ttl_s, most = judge->how->ttl_max_s ? judge->how->ttl_max_s : DNS_TTL_WEEK, minimum;
	size_t at = record->ttl - judge->tail_start;

	if (record->type == DNS_TYPE_OPT) {
		if (section != 2 || judge->opt_seen || record->data - record->start != 1 + DNS_RECORD_BYTES)
			return DNS_REFUSED_MALFORMED;
		judge->opt_seen = true;
		/* the code's upper bits (RFC 6891 section 6.1.3) */
		return judge->walk.message[record->ttl] ? DNS_REFUSED_CODE : DNS_TAKEN;
	}
	/* What lies behind the OPT record would move, and TSIG and SIG(0) sign this message and no other. */
	if (judge->opt_seen || !type_is_cached(record->type) || record->class != DNS_CLASS_IN)
		return DNS_REFUSED_MALFORMED;
	if (parsed->head.ttls == DNS_TTLS_MAX || walk_end(record) - judge->tail_start > sizeof(parsed->tail))
		return DNS_REFUSED_LENGTH;
	if (section == 1 && record->type == DNS_TYPE_SOA) {
		if (!soa_minimum(&judge->walk, record, &minimum))
			return DNS_REFUSED_MALFORMED;
		judge->soa = true;
		if (ttl > minimum && !judge->how->fixed)
			ttl = minimum; /* RFC 2308 section 3 */
	}
	judge->referral |= section == 1 && record->type == DNS_TYPE_NS;
	if (section == 0)
		rotation_note(judge, record);
	if (judge->how->stale)
		ttl = judge->how->stale_ttl;
	else if (ttl > most)
		ttl = most;
	judge->least_ttl = ttl < judge->least_ttl ? ttl : judge->least_ttl;
	parsed->ttl_at[parsed->head.ttls++] = (uint16_t)at;
	parsed->head.ttls_odd = (uint8_t)(parsed->head.ttls_odd + ((at + parsed->key.name_length) & 1));
	judge->tail_end = walk_end(record);
	memcpy(parsed->tail + (record->start - judge->tail_start), judge->walk.message + record->start,
	       walk_end(record) - record->start);
	write32(parsed->tail + at, ttl);
	return DNS_TAKEN;
}

static enum dns_refusal sections_judge(struct judge *judge)
{
	uint16_t *kept[3] = {&judge->parsed->head.answers, &judge->parsed->head.authorities, &judge->parsed->head.additionals};

	judge->tail_start = judge->tail_end = judge->walk.at;
	for (uint32_t section = 0; section < 3; section++) {
		uint16_t count = read16(judge->walk.message + 6 + 2 * section);

		for (uint32_t i = 0; i < count; i++) {
			struct record record;
			enum dns_refusal refusal;

			if (!record_read(&judge->walk, &record))
				return DNS_REFUSED_MALFORMED;
			refusal = record_judge(judge, &record, section);
			if (refusal)
				return refusal;
			*kept[section] = (uint16_t)(*kept[section] + (record.type != DNS_TYPE_OPT));
		}
	}
	return judge->walk.at == judge->walk.length ? DNS_TAKEN : DNS_REFUSED_MALFORMED;
}

static enum dns_refusal life_judge(struct judge *judge)
{
	const struct dns_put *how = judge->how;
	struct parsed_answer *parsed = judge->parsed;

	if (parsed->rcode == DNS_RCODE_SERVFAIL) {
		parsed->life_s = how->life_s ? how->life_s : DNS_LIFE_FAILURE;
		if (parsed->life_s > DNS_LIFE_FAILURE_MAX)
			parsed->life_s = DNS_LIFE_FAILURE_MAX;
		if (judge->least_ttl < parsed->life_s)
			parsed->life_s = judge->least_ttl;
		return parsed->life_s ? DNS_TAKEN : DNS_REFUSED_LIFE;
	}
	if (parsed->head.answers == 0 && !judge->soa)
		return judge->referral && parsed->rcode == DNS_RCODE_NOERROR ? DNS_REFUSED_REFERRAL : DNS_REFUSED_LIFE;
	parsed->life_s = how->stale ? how->stale_ttl : how->life_s ? how->life_s : judge->least_ttl;
	/* TTLs that age must not pass zero */
	if (!how->fixed && !how->stale && parsed->life_s > judge->least_ttl)
		parsed->life_s = judge->least_ttl;
	if (parsed->life_s != DNS_FOREVER && parsed->life_s > 2 * DNS_TTL_WEEK)
		parsed->life_s = 2 * DNS_TTL_WEEK; /* milliseconds are counted in 32 bits */
	return parsed->life_s ? DNS_TAKEN : DNS_REFUSED_LIFE;
}

static void head_settle(struct judge *judge)
{
	const struct dns_put *how = judge->how;
	struct parsed_answer *parsed = judge->parsed;
	struct dns_entry *head = &parsed->head;
	int error = how->extended_error;

	/* "No such name" is said of the name, whatever type was asked for, unless the name is an alias of the missing one. */
	if (parsed->rcode == DNS_RCODE_NXDOMAIN && head->answers == 0)
		parsed->key.type = 0;
	if (how->stale && error < 0)
		error = parsed->rcode == DNS_RCODE_NXDOMAIN ? (int)DNS_ERROR_STALE_NXDOMAIN : (int)DNS_ERROR_STALE_ANSWER;
	parsed->key.dnssec_ok = how->dnssec_ok;
	parsed->key.checking_disabled = how->checking_disabled;
	head->type = parsed->key.type;
	head->flags = (uint8_t)((how->dnssec_ok ? DNS_ENTRY_DNSSEC : 0) | (how->checking_disabled ? DNS_ENTRY_UNCHECKED : 0) |
				(how->authentic ? DNS_ENTRY_AUTHENTIC : 0) | (how->fixed || how->stale ? DNS_ENTRY_FIXED : 0) |
				(how->stale ? DNS_ENTRY_STALE : 0) | (how->authoritative ? DNS_ENTRY_UNASKED : 0));
	head->extended_error = (uint16_t)(error + 1);
	head->tail_length = (uint16_t)(judge->tail_end - judge->tail_start);
	head->tail_sum = bytes_sum(parsed->tail, head->tail_length, head->name_length & 1);
}

enum dns_refusal answer_parse(const uint8_t *answer, size_t length, const struct dns_put *how, struct parsed_answer *ret_parsed)
{
	struct judge judge = {.walk = {.message = answer, .length = length}, .how = how, .parsed = ret_parsed,
			      .least_ttl = UINT32_MAX};
	enum dns_refusal refusal;

	memset(ret_parsed, 0, sizeof(*ret_parsed));
	refusal = header_judge(&judge);
	if (!refusal)
		refusal = question_judge(&judge);
	if (!refusal)
		refusal = sections_judge(&judge);
	if (refusal)
		return refusal;
	ret_parsed->head.name_length = ret_parsed->key.name_length;
	refusal = life_judge(&judge);
	if (refusal)
		return refusal;
	if (judge.tail_end > DNS_SIZE_MAX)
		return DNS_REFUSED_LENGTH;
	rotation_settle(&judge);
	head_settle(&judge);
	return DNS_TAKEN;
}

enum dns_refusal dns_answer_judge(const uint8_t *answer, size_t length, const struct dns_put *how, struct dns_key *ret_key)
{
	struct parsed_answer parsed;
	enum dns_refusal refusal = answer_parse(answer, length, how, &parsed);

	if (!refusal)
		*ret_key = parsed.key;
	return refusal;
}

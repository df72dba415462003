/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Answering a query from the cache. A host does, with the query's place in its scratch (dns_begin()):
 *
 *     dns_decide()     reads the query, finds an answer; changes nothing in the packet
 *     (host)           gives the frame dns_answer.frame_length bytes; cannot: the packet passes
 *     dns_plain_write()   puts the tail behind the question, with its TTLs as they are now, in turn; or of a long one, or a zone's,
 *     (host)           copies it, dns_long_write()
 *     dns_answer_whole()  says whether the entry was the same all the time; not: the packet passes as it came, dns_undo()
 *     dns_write()      OPT, headers: the frame turns around
 *
 * What cannot be answered exactly is the resolver process': it passes. ID and question stay as they came, so the query's
 * case comes back (0x20), and compressed names in the tail, which count from the message's beginning, are right.
 *
 * Hosts define dns_bucket_at() and dns_block_at().
 */
#pragma once

#include "base/packet/checksum.h"
#include "base/packet/flow.h"
#include "dns/dns_state.h"

struct dns_access; /* the host's */
PACKET_INLINE struct dns_bucket *dns_bucket_at(const struct dns_access *access, uint32_t index);
PACKET_INLINE struct dns_block *dns_block_at(const struct dns_access *access, uint32_t index);

#define DNS_FRAME_MAX 2047u /* of offsets in an answer; verifier: variable offsets must be bounded */
#define DNS_HOP_LIMIT 64u

/* What is sent. Of an entry, or of a zone that knows of no such name. */
struct dns_answer {
	struct dns_entry *entry; /* NULL: the zone's */
	const struct dns_zone *zone;
	uint32_t version; /* of either, when it was found */
	uint32_t age_s;
	uint32_t turn;        /* rotation: the record that comes first; 0: as they lie */
	uint32_t tail_at;     /* in the frame */
	uint32_t tail_length; /* 0: truncated */
	uint32_t frame_length;
	uint32_t tail_sum;
	uint16_t flags;
	uint16_t counts[3];
	uint16_t extended_error; /* as in struct dns_entry */
	uint16_t owner;          /* of a zone: where its name is in the message */
};

/* Changes that the UDP checksum follows: in the pseudo header, and in what lies behind. */
struct dns_exchange {
	uint64_t pseudo;
	uint64_t direct;
};

PACKET_INLINE void *dns_place(const struct packet *packet, uint32_t offset, uint32_t length)
{
	return packet_bytes(packet, offset, length, DNS_FRAME_MAX);
}

PACKET_INLINE void dns_begin(struct dns_scratch *scratch, const struct flow *flow, uint32_t now_ms)
{
	scratch->l3_offset = flow->l3_offset;
	scratch->l4_offset = flow->l4_offset;
	scratch->ipv6 = flow->network == FLOW_IPV6;
	scratch->now_ms = now_ms;
}

/* --- the query ---------------------------------------------------------------------------------------------------------- */

/*
 * The OPT record, if it is the only one and has no options: cookies (RFC 7873), client subnets (RFC 7871) and what else may be
 * there are the process'. So are versions above 0 (BADVERS, RFC 6891 section 6.1.3) and unknown flags.
 */
PACKET_INLINE bool dns_opt_read(const struct packet *packet, struct dns_scratch *scratch, uint32_t offset)
{
	const struct dns_opt *opt = packet_header(packet, offset, sizeof(*opt));
	uint32_t size;

	if (!opt || opt->name | opt->type[0] | (opt->type[1] ^ DNS_TYPE_OPT) | opt->extended_rcode | opt->version |
			    (opt->flags[0] & ~DNS_OPT_DO) | opt->flags[1] | opt->length[0] | opt->length[1])
		return false;
	size = (uint32_t)opt->size[0] << 8 | opt->size[1];
	/* RFC 6891 section 6.2.3: "Values lower than 512 MUST be treated as equal to 512." */
	scratch->size = (uint16_t)(size < DNS_SIZE_PLAIN ? DNS_SIZE_PLAIN : size > DNS_SIZE_MAX ? DNS_SIZE_MAX : size);
	scratch->client_size = (uint16_t)size;
	scratch->opt_flags = opt->flags[0];
	return true;
}

/*
 * Whether the query is one that entries answer. The name is not walked through: where it ends is told by the message's
 * length, and only a name that equals an entry's, byte by byte, is one.
 */
PACKET_INLINE bool dns_query_read(const struct packet *packet, struct dns_scratch *scratch)
{
	uint32_t l3 = scratch->l3_offset, l4 = scratch->l4_offset, start = l4 + (uint32_t)sizeof(struct udp_header);
	const struct udp_header *udp = packet_header(packet, l4, sizeof(*udp) + sizeof(struct dns_header));
	uint32_t payload, name_length, edns, flags;
	const uint8_t *question; /* at any place: names have any length */
	const struct dns_header *header;
	struct be16 type;

	if (!udp)
		return false;
	header = (const void *)(udp + 1);
	/* no IPv4 options, no IPv6 extension headers: they are not for the answer */
	if (l4 - l3 != (scratch->ipv6 ? sizeof(struct ipv6_header) : sizeof(struct ipv4_header)))
		return false;
	if (scratch->ipv6 && udp->checksum == 0)
		return false; /* RFC 8200 section 8.1 */
	/* by `raw`: a struct that is passed on is loaded byte by byte in BPF */
	payload = __builtin_bswap16(udp->length.raw) - (uint32_t)sizeof(*udp);
	flags = __builtin_bswap16(header->flags.raw);
	edns = __builtin_bswap16(header->additionals.raw);
	if (flags & ~(DNS_FLAG_RECURSION_DESIRED | DNS_FLAG_CHECKING_DISABLED | DNS_FLAG_AUTHENTIC) ||
	    header->questions.raw != BE16(1) || header->answers.raw | header->authorities.raw || edns > 1)
		return false;
	name_length = payload - (uint32_t)sizeof(*header) - DNS_QUESTION_BYTES;
	if (edns)
		name_length -= (uint32_t)sizeof(struct dns_opt);
	value_opaque(name_length);
	if (name_length - 1 >= DNS_NAME_BYTES)
		return false;
	scratch->size = DNS_SIZE_PLAIN;
	scratch->client_size = 0;
	scratch->opt_flags = 0;
	question = packet_header(packet, start + (uint32_t)sizeof(*header) + name_length, DNS_QUESTION_BYTES);
	if (!question || unaligned(const uint16_t, question + 2) != BE16(DNS_CLASS_IN))
		return false;
	type.raw = unaligned(const uint16_t, question);
	if (type.raw == 0)
		return false;
	scratch->type = be16_get(type);
	if (edns && !dns_opt_read(packet, scratch, start + payload - (uint32_t)sizeof(struct dns_opt)))
		return false;
	scratch->id = header->id;
	scratch->edns = (uint8_t)edns;
	scratch->query_flags = (uint16_t)flags;
	scratch->payload_length = (uint16_t)payload;
	scratch->name_offset = (uint16_t)(start + sizeof(*header));
	scratch->name_length = (uint16_t)name_length;
	return true;
}

/*
 * Puts the name's words into the scratch, from the root backwards, and returns its hash. verifier: the length is loaded
 * anew for each word, so that the ways out of the loop differ in nothing that is known.
 */
PACKET_INLINE uint64_t dns_name_read(const struct packet *packet, struct dns_scratch *scratch, uint64_t seed)
{
	uint64_t hash = seed;

	PACKET_UNROLL
	for (uint32_t i = 0; i < DNS_WORDS; i++) {
		uint32_t length = load_once(scratch->name_length);
		const uint8_t *place;
		uint64_t word;

		if (8 * i >= length)
			break;
		place = packet_header(packet, load_once(scratch->name_offset) + length - 8 * (i + 1), 8);
		if (!place)
			break;
		word = unaligned(uint64_t, place);
		if (dns_needs_lower(word)) /* most names have no capitals, or all of a client's have */
			word = dns_lower(word);
		value_opaque(word);
		if (length - 8 * i < 8) { /* the header's last bytes, in front of the name's first */
			word &= ~0ull << ((8 * i - length) * 8 & 63);
			value_opaque(word); /* a branch: the mask is not made for all the other words */
		}
		scratch->words[i] = word;
		hash = hash_word(hash, word);
	}
	return hash;
}

/* --- entries ------------------------------------------------------------------------------------------------------------ */

/* 1 + the place of the word with this signature; 0: none. */
PACKET_INLINE uint32_t dns_bucket_search(const struct dns_bucket *bucket, uint64_t signature)
{
	uint32_t found = 0;

#pragma GCC unroll 8
	for (uint32_t way = 0; way < DNS_WAYS; way++) {
		uint64_t word = load_once(bucket->words[way]);

		if (word >> DNS_BLOCK_BITS == signature)
			found = way + 1;
	}
	return found;
}

/* Words of the name that differ, of those that lie in the entry's second line. */
PACKET_INLINE uint64_t dns_name_differs_near(const struct dns_scratch *scratch, const struct dns_entry *entry)
{
	uint64_t differ = 0;

	PACKET_UNROLL
	for (uint32_t i = 0; i < DNS_WORDS_NEAR; i++) {
		if (8 * i >= load_once(scratch->name_length))
			break;
		differ |= entry->name[i] ^ scratch->words[i];
	}
	return differ;
}

/* Words of the name that differ: `first` to `last` of it, which lie backwards from `end`. */
PACKET_INLINE uint64_t dns_name_differs(const struct dns_scratch *scratch, const uint64_t *end, const uint32_t first,
					const uint32_t last)
{
	uint64_t differ = 0;

	PACKET_UNROLL
	for (uint32_t i = first; i < last; i++) {
		if (8 * i >= load_once(scratch->name_length))
			break;
		differ |= end[-(int)(i - first) - 1] ^ scratch->words[i];
	}
	return differ;
}

/*
 * The block that the bucket's hint leads to, if it is the first of an entry with this signature; NULL: look into the bucket. Only
 * whole entries have the key, and the version is read before it.
 */
PACKET_INLINE struct dns_block *dns_hint_follow(const struct dns_access *access, const struct dns_tables *tables,
						struct dns_scratch *scratch, uint32_t bucket, uint64_t signature,
						uint32_t *ret_version)
{
	struct dns_block *block = dns_block_at(access, bucket >> DNS_HINT_ROW_BITS);
	uint32_t hint = block ? load_once(block->hints[bucket & 255]) : 0;

	if (!hint)
		return NULL;
	scratch->block = dns_hint_place(tables, signature, hint);
	block = dns_block_at(access, scratch->block);
	if (!block)
		return NULL;
	*ret_version = load_once(block->version);
	return likely(load_once(block->entry.key) == dns_key_word(signature) && !(*ret_version & 1)) ? block : NULL;
}

/* The block that the bucket leads to. The bucket is read once more after the version: so it is this entry's, and not of what the
 * block became when the entry had gone. */
PACKET_INLINE struct dns_block *dns_bucket_follow(const struct dns_access *access, struct dns_scratch *scratch, uint32_t index,
						  uint64_t signature, uint64_t signature_all, uint32_t *ret_version)
{
	const struct dns_bucket *bucket = dns_bucket_at(access, index);
	struct dns_block *block;
	uint32_t place;
	uint64_t word;

	if (!bucket)
		return NULL;
	place = dns_bucket_search(bucket, signature);
	if (!place)
		place = dns_bucket_search(bucket, signature_all);
	if (!place)
		return NULL;
	place = (place - 1) & (DNS_WAYS - 1);
	word = load_once(bucket->words[place]);
	scratch->block = (uint32_t)word & ((1u << DNS_BLOCK_BITS) - 1);
	block = dns_block_at(access, scratch->block);
	if (!block)
		return NULL;
	*ret_version = load_once(block->version);
	return *ret_version & 1 || load_once(bucket->words[place]) != word ? NULL : block;
}

/* The entry for the query; NULL: there is none. `ret_version` is read before anything of the entry. */
PACKET_INLINE struct dns_entry *dns_entry_find(const struct dns_access *access, const struct dns_tables *tables,
					       struct dns_scratch *scratch, uint64_t hash, uint32_t *ret_version)
{
	uint32_t key = (scratch->opt_flags & DNS_OPT_DO ? DNS_ENTRY_DNSSEC : 0) |
		       (scratch->query_flags & DNS_FLAG_CHECKING_DISABLED ? DNS_ENTRY_UNCHECKED : 0);
	uint32_t bucket = dns_name_bucket(hash) & tables->bucket_mask;
	uint64_t signature = dns_signature(hash, scratch->type, key);
	struct dns_block *block = dns_hint_follow(access, tables, scratch, bucket, signature, ret_version);
	struct dns_entry *entry;

	scratch->result = DNS_RESULT_MISS;
	if (unlikely(!block))
		block = dns_bucket_follow(access, scratch, bucket, signature, dns_signature(hash, 0, key), ret_version);
	if (!block)
		return NULL;
	entry = &block->entry;
	if (entry->name_length != scratch->name_length || (entry->type && entry->type != scratch->type) ||
	    (entry->flags & (DNS_ENTRY_DNSSEC | DNS_ENTRY_UNCHECKED)) != key ||
	    dns_name_differs_near(scratch, entry))
		return NULL;
	if (unlikely(scratch->name_length > 8 * DNS_WORDS_NEAR) &&
	    dns_name_differs(scratch, (const uint64_t *)(block + 1), DNS_WORDS_NEAR, DNS_WORDS_HEAD))
		return NULL;
	if (unlikely(scratch->name_length > 8 * DNS_WORDS_HEAD)) {
		const struct dns_block *more = dns_block_at(access, entry->more);

		if (!more || dns_name_differs(scratch, (const uint64_t *)(more + 1), DNS_WORDS_HEAD, DNS_WORDS))
			return NULL;
	}
	return entry;
}

/*
 * Counts a hit, exactly up to 64: behind that a sixteenth of the queries, by an arbitrary number of theirs, count for sixteen,
 * so that processors do not fight for a line that all of them read. And once, near the end of the entry's life, says that
 * somebody asks for it.
 */
PACKET_INLINE void dns_entry_mark(struct dns_tables *tables, struct dns_entry *entry, uint32_t age_ms, uint32_t arbitrary,
				  uint32_t block)
{
	uint32_t hits = load_once(entry->hits);

	if (hits < 64)
		store_once(entry->hits, hits + 1);
	else if ((arbitrary & 15) == 0)
		store_once(entry->hits, hits + 16);
	if (likely(age_ms < entry->due_ms) || load_once(entry->due))
		return;
	store_once(entry->due, 1);
	store_once(tables->due[__sync_fetch_and_add(&tables->due_count, 1) & (DNS_DUE_PLACES - 1)], block);
}

PACKET_INLINE uint32_t dns_seconds(uint32_t age_ms)
{
	return (uint32_t)((uint64_t)age_ms * 274877907 >> 38); /* a thousandth, exact for all of 32 bits */
}

/* What goes with every answer: lengths, and whether it is too long for the client (TC, and nothing behind the question). */
PACKET_INLINE void dns_answer_fit(struct dns_scratch *scratch, struct dns_answer *answer)
{
	uint32_t head = (uint32_t)sizeof(struct dns_header) + scratch->name_length + DNS_QUESTION_BYTES;
	uint32_t opt = scratch->edns ? (uint32_t)sizeof(struct dns_opt) : 0;

	if (!scratch->edns)
		answer->extended_error = 0;
	if (answer->extended_error)
		opt += (uint32_t)sizeof(struct dns_extended_error);
	if (head + answer->tail_length + opt > scratch->size) {
		opt = scratch->edns ? (uint32_t)sizeof(struct dns_opt) : 0;
		answer->extended_error = 0;
		answer->flags |= DNS_FLAG_TRUNCATED;
		answer->flags &= (uint16_t)~DNS_FLAG_AUTHENTIC;
		answer->counts[0] = answer->counts[1] = answer->counts[2] = 0;
		answer->tail_length = 0;
		answer->tail_sum = 0;
		answer->age_s = 0;
		answer->turn = 0;
		scratch->result = DNS_RESULT_TRUNCATED;
	}
	answer->tail_at = (uint32_t)scratch->name_offset + scratch->name_length + DNS_QUESTION_BYTES;
	answer->frame_length = answer->tail_at + answer->tail_length + opt;
}

PACKET_INLINE uint16_t dns_flags_copied(const struct dns_scratch *scratch)
{
	return scratch->query_flags & (DNS_FLAG_RECURSION_DESIRED | DNS_FLAG_CHECKING_DISABLED);
}

PACKET_INLINE bool dns_entry_answer(struct dns_tables *tables, struct dns_scratch *scratch, struct dns_entry *entry,
				    struct dns_answer *answer)
{
	uint32_t age_ms = dns_age_ms(scratch->now_ms, entry->made_ms), life_ms = entry->life_ms;
	uint32_t flags = entry->flags, arbitrary;

	if (life_ms != DNS_FOREVER && age_ms >= life_ms) {
		scratch->result = DNS_RESULT_EXPIRED;
		return false;
	}
	/* Without RD only own zones are told of: others' use of the cache is nobody's business. */
	if (!(scratch->query_flags & DNS_FLAG_RECURSION_DESIRED) && !(flags & DNS_ENTRY_UNASKED)) {
		scratch->result = DNS_RESULT_UNUSUAL;
		return false;
	}
	answer->entry = entry;
	answer->zone = NULL;
	answer->owner = 0;
	answer->age_s = flags & DNS_ENTRY_FIXED ? 0 : dns_seconds(age_ms);
	answer->flags = entry->header_flags | dns_flags_copied(scratch);
	if (flags & DNS_ENTRY_AUTHENTIC &&
	    (scratch->query_flags & DNS_FLAG_AUTHENTIC || scratch->opt_flags & DNS_OPT_DO))
		answer->flags |= DNS_FLAG_AUTHENTIC;
	answer->counts[0] = entry->answers;
	answer->counts[1] = entry->authorities;
	answer->counts[2] = entry->additionals;
	answer->tail_length = entry->tail_length;
	answer->tail_sum = entry->tail_sum;
	answer->extended_error = entry->extended_error;
	/* Some clients' identifiers are always the same, and some ask by turns themselves: neither alone will do. */
	arbitrary = (scratch->id + ++scratch->turns) * 0x9e3779b1u;
	answer->turn = (arbitrary >> 16) * entry->rotate_count >> 16;
	if (flags & DNS_ENTRY_STALE)
		scratch->result = DNS_RESULT_STALE;
	else
		scratch->result = entry->answers ? DNS_RESULT_ANSWER : DNS_RESULT_NEGATIVE;
	dns_entry_mark(tables, entry, age_ms, arbitrary >> 12, scratch->block);
	dns_answer_fit(scratch, answer);
	return true;
}

/* --- zones -------------------------------------------------------------------------------------------------------------- */

/* The zone of `length` bytes that the name ends with; 0: none. */
PACKET_FUNCTION uint32_t dns_zone_match(const struct dns_tables *tables, struct dns_scratch *scratch, uint32_t length)
{
	uint32_t row;

	if (!tables || !scratch)
		return 0;
	row = load_once(tables->zone_by_length[length & 255]);
	PACKET_UNROLL
	for (uint32_t i = 0; i < DNS_ZONE_CHAIN; i++) {
		const struct dns_zone *zone = &tables->zones[row & (DNS_ZONES - 1)];
		uint64_t differ = 0;

		if (row == 0)
			return 0;
		scratch->zone_length = zone->name_length;
		PACKET_UNROLL
		for (uint32_t k = 0; k < DNS_WORDS; k++) {
			uint32_t of_zone = load_once(scratch->zone_length);
			uint64_t mask = ~0ull;

			if (8 * k >= of_zone)
				break;
			if (of_zone - 8 * k < 8)
				mask <<= (8 * k - of_zone) * 8 & 63;
			differ |= (zone->words[k] ^ scratch->words[k]) & mask;
		}
		if (!differ && load_once(scratch->zone_length) == length && load_once(zone->version))
			return row & (DNS_ZONES - 1);
		row = zone->next;
	}
	return 0;
}

/* The narrowest zone that the name is below, by its labels from the left; 0: none. */
PACKET_INLINE uint32_t dns_zone_find(const struct dns_tables *tables, const struct packet *packet, struct dns_scratch *scratch)
{
	uint32_t length = scratch->name_length, at = scratch->name_offset;

	PACKET_UNROLL
	for (uint32_t label = 0; label < DNS_ZONE_LABELS; label++) {
		const uint8_t *place = packet_header(packet, at, 1);
		uint32_t step;

		if (!place)
			return 0;
		step = *place;
		if (step - 1 > 62 || step + 1 >= length)
			return 0; /* the root, a pointer, or a name that ends elsewhere */
		at += step + 1;
		length -= step + 1;
		value_opaque(length);
		if (load_once(tables->zone_by_length[length & 255])) {
			uint32_t row = dns_zone_match(tables, scratch, length);

			if (row)
				return row;
		}
	}
	return 0;
}

PACKET_INLINE bool dns_name_exists(const struct dns_names *names, uint64_t hash)
{
	const uint64_t *one = names->words[dns_names_bucket(hash, 0)], *other = names->words[dns_names_bucket(hash, 1)];
	uint64_t word = dns_name_word(hash);
	bool found = false;

#pragma GCC unroll 8
	for (uint32_t way = 0; way < DNS_WAYS; way++)
		found |= load_once(one[way]) == word || load_once(other[way]) == word;
	return found;
}

/* No such name, where all are known: search lists ask for many (NAME.svc.cluster.local.NAMESPACE.svc.cluster.local). */
PACKET_INLINE bool dns_zone_answer(const struct dns_tables *tables, const struct packet *packet, struct dns_scratch *scratch,
				   uint64_t hash, struct dns_answer *answer)
{
	uint32_t row = dns_zone_find(tables, packet, scratch);
	const struct dns_zone *zone = &tables->zones[row & (DNS_ZONES - 1)];
	uint32_t sum;

	if (row == 0)
		return false;
	answer->version = load_once(zone->version);
	/* once more, now that its version is known: the row may have become another zone's */
	if (answer->version & 1 || dns_zone_match(tables, scratch, load_once(scratch->zone_length)) != row ||
	    dns_name_exists(&tables->names, hash))
		return false;
	answer->entry = NULL;
	answer->zone = zone;
	answer->age_s = 0;
	answer->turn = 0;
	answer->extended_error = 0;
	answer->flags = zone->header_flags | dns_flags_copied(scratch);
	answer->counts[0] = 0;
	answer->counts[1] = 1;
	answer->counts[2] = 0;
	answer->owner = (uint16_t)(0xc000u | (sizeof(struct dns_header) + scratch->name_length - zone->name_length + zone->owner_at));
	answer->tail_length = 2u + zone->tail_length;
	sum = checksum_fold((uint64_t)__builtin_bswap16(answer->owner) + zone->tail_sum);
	answer->tail_sum = scratch->name_length & 1 ? __builtin_bswap16((uint16_t)sum) : sum;
	scratch->result = DNS_RESULT_NO_NAME;
	dns_answer_fit(scratch, answer);
	return true;
}

/*
 * False: the packet passes, scratch->result says why, and nothing of `answer` may be read: what has no value yet costs nothing on the
 * many ways out, where zeros would be written at each of them.
 */
PACKET_INLINE bool dns_decide(const struct dns_access *access, struct dns_tables *tables, const struct packet *packet,
			      struct dns_scratch *scratch, struct dns_answer *answer)
{
	struct dns_entry *entry;
	uint32_t version = 0;
	uint64_t hash;

	scratch->result = DNS_RESULT_UNUSUAL;
	if (!dns_query_read(packet, scratch))
		return false;
	hash = dns_name_read(packet, scratch, tables->seed);
	entry = dns_entry_find(access, tables, scratch, hash, &version);
	if (!entry)
		return dns_zone_answer(tables, packet, scratch, hash, answer);
	answer->version = version;
	return dns_entry_answer(tables, scratch, entry, answer);
}

/* Whether what was copied is one answer, not the halves of two. */
PACKET_INLINE bool dns_answer_whole(const struct dns_answer *answer)
{
	const uint32_t *version = answer->entry ? &answer->entry->version : &answer->zone->version;

	return load_once(*version) == answer->version;
}

/* --- writing ------------------------------------------------------------------------------------------------------------ */

/* An OPT record at its place: with the size that the sender takes. */
PACKET_INLINE bool dns_opt_write(const struct packet *packet, uint32_t offset, uint32_t size, uint8_t flags)
{
	struct dns_opt *opt = dns_place(packet, offset, sizeof(*opt));

	if (!opt)
		return false;
	opt->name = 0;
	opt->type[0] = 0;
	opt->type[1] = DNS_TYPE_OPT;
	opt->size[0] = (uint8_t)(size >> 8);
	opt->size[1] = (uint8_t)size;
	opt->extended_rcode = 0;
	opt->version = 0;
	opt->flags[0] = flags;
	opt->flags[1] = 0;
	opt->length[0] = 0;
	opt->length[1] = 0;
	return true;
}

PACKET_INLINE bool dns_error_write(const struct packet *packet, uint32_t offset, uint32_t code)
{
	struct dns_extended_error *error = dns_place(packet, offset, sizeof(*error));
	uint8_t *length = dns_place(packet, offset - 1, 1); /* the low byte of the OPT record's */

	if (!error || !length)
		return false;
	*length = sizeof(*error);
	error->code[0] = 0;
	error->code[1] = DNS_OPTION_EXTENDED_ERROR;
	error->length[0] = 0;
	error->length[1] = 2;
	error->info[0] = (uint8_t)(code >> 8);
	error->info[1] = (uint8_t)code;
	return true;
}

/* The frame, which has its old length again, as it came: only the query's OPT record was written over. */
PACKET_INLINE void dns_undo(const struct packet *packet, const struct dns_scratch *scratch)
{
	if (scratch->edns)
		dns_opt_write(packet, (uint32_t)scratch->name_offset + scratch->name_length + DNS_QUESTION_BYTES,
			      scratch->client_size, scratch->opt_flags);
}

/* A sum of 16-bit words that begin at an even or odd place, as the packet's words are loaded. */
PACKET_INLINE uint64_t dns_sum(uint64_t sum, uint32_t odd)
{
	uint16_t folded = checksum_fold(sum);

	return odd & 1 ? folded : __builtin_bswap16(folded);
}

/* An OPT record's words: type 41, size, flags. Its name is the first byte, so all of them lie across. */
PACKET_INLINE uint64_t dns_opt_sum(uint32_t size, uint8_t flags)
{
	return (DNS_TYPE_OPT << 8) + (size >> 8) + ((size & 0xff) << 8) + flags;
}

PACKET_INLINE uint64_t dns_error_sum(uint32_t code)
{
	return (6u << 8) + (DNS_OPTION_EXTENDED_ERROR << 8) + (2u << 8) + (code >> 8) + ((code & 0xff) << 8);
}

PACKET_INLINE void dns_ttl_age(const struct packet *packet, uint32_t offset, uint32_t age_s)
{
	uint8_t *place = dns_place(packet, offset, 4);

	if (place)
		unaligned(uint32_t, place) = __builtin_bswap32(__builtin_bswap32(unaligned(uint32_t, place)) - age_s);
}

/* The same from the entry's first block: the packet's own bytes were only just written, and are slow to come back. */
PACKET_INLINE void dns_ttl_put(const struct packet *packet, const struct dns_entry *entry, uint32_t tail_at, uint32_t at,
			       uint32_t age_s)
{
	uint8_t *place = dns_place(packet, tail_at + at, 4);

	value_opaque(at);
	if (place && at <= DNS_BYTES_HEAD - 4)
		unaligned(uint32_t, place) = __builtin_bswap32(__builtin_bswap32(unaligned(uint32_t, &entry->bytes[at])) - age_s);
}

/*
 * Puts the addresses of a set of A or AAAA records, `length` bytes each, in another order: record `turn` first. All else of its
 * records is equal.
 */
PACKET_INLINE void dns_rotate(const struct packet *packet, const struct dns_entry *entry, uint32_t tail_at, uint32_t turn,
			      const uint32_t length)
{
	uint32_t stride = entry->rotate_length, from = entry->rotate_at + turn * stride, to = tail_at + entry->rotate_at;
	uint32_t whole = entry->rotate_count * stride, end = entry->rotate_at + whole;

	PACKET_UNROLL
	for (uint32_t i = 0; i < DNS_ROTATE_MAX; i++) {
		uint8_t *place = dns_place(packet, to, length);
		uint32_t wraps;

		value_opaque(from);
		if (i >= load_once(entry->rotate_count) || !place || from > DNS_BYTES_HEAD - length)
			break;
		unaligned(uint32_t, place) = unaligned(uint32_t, &entry->bytes[from]);
		if (length == 16) {
			unaligned(uint32_t, place + 4) = unaligned(uint32_t, &entry->bytes[from + 4]);
			unaligned(uint64_t, place + 8) = unaligned(uint64_t, &entry->bytes[from + 8]);
		}
		to += stride;
		from += stride;
		/* behind the last one, the first: without a branch. verifier: whose ways would multiply */
		wraps = (uint32_t)((int32_t)(end - 1 - from) >> 31);
		value_opaque(wraps);
		from -= whole & wraps;
	}
}

PACKET_INLINE void dns_turn(const struct packet *packet, const struct dns_entry *entry, uint32_t tail_at, uint32_t turn)
{
	if (turn && entry->type == DNS_TYPE_A)
		dns_rotate(packet, entry, tail_at, turn, 4);
	else if (turn)
		dns_rotate(packet, entry, tail_at, turn, 16);
}

/* A set's record up to the address, whose first four bytes are `first`: a pointer to the question's name, type, class, TTL, length. */
PACKET_INLINE bool dns_set_record_write(const struct packet *packet, uint32_t offset, uint32_t type, uint32_t ttl, uint32_t first)
{
	uint32_t wire = __builtin_bswap32(ttl), length = type == DNS_TYPE_A ? 4 : 16;
	uint8_t *place = dns_place(packet, offset, 16);

	if (!place)
		return false;
	unaligned(uint64_t, place) = (uint64_t)wire << 48 | (uint64_t)DNS_CLASS_IN << 40 | type << 24 | 0x0cc0u;
	unaligned(uint64_t, place + 8) = (uint64_t)first << 32 | length << 24 | wire >> 16;
	return true;
}

/* The tail of a set (DNS_ENTRY_SET): made anew, record `turn` first, which costs less than to copy it, age it and turn it. */
PACKET_INLINE bool dns_set_write(const struct packet *packet, const struct dns_entry *entry, uint32_t tail_at, uint32_t age_s,
				 uint32_t turn)
{
	uint32_t ttl = entry->set_ttl - age_s, from = turn;
	uint8_t *place;

	if (entry->type != DNS_TYPE_A) {
		place = dns_place(packet, tail_at, 28);
		if (!place || !dns_set_record_write(packet, tail_at, DNS_TYPE_AAAA, ttl, entry->set[0]))
			return false;
		unaligned(uint64_t, place + 16) = unaligned(uint64_t, &entry->set[1]);
		unaligned(uint32_t, place + 24) = entry->set[3];
		return true;
	}
	PACKET_UNROLL
	for (uint32_t i = 0; i < DNS_SET_MAX; i++) {
		uint32_t count = load_once(entry->answers), wraps;

		if (i >= count)
			break;
		if (!dns_set_record_write(packet, tail_at + 16 * i, DNS_TYPE_A, ttl, entry->set[from & (DNS_SET_MAX - 1)]))
			return false;
		from++;
		/* behind the last one, the first: without a branch. verifier: whose ways would multiply */
		wraps = (uint32_t)((int32_t)(count - 1 - from) >> 31);
		value_opaque(wraps);
		from &= ~wraps;
		value_opaque(from);
	}
	return true;
}

/* Whether the tail is one block's: what dns_plain_write() writes. */
PACKET_INLINE bool dns_entry_is_plain(const struct dns_entry *entry)
{
	return entry->tail_length <= dns_head_room(entry->name_length) && entry->tail_length >= 8 && entry->ttls <= DNS_TTLS_HEAD;
}

/*
 * The tail of a plain entry: copied by words, the last one over the one before, for loads that follow a string instruction wait
 * for it; aged by so many seconds, turned.
 */
PACKET_INLINE bool dns_plain_write(const struct packet *packet, const struct dns_entry *entry, uint32_t tail_at, uint32_t age_s,
				   uint32_t turn)
{
	uint32_t last = load_once(entry->tail_length) - 8u;
	uint8_t *place;

	PACKET_UNROLL
	for (uint32_t i = 0; i < DNS_BYTES_HEAD / 8; i++) {
		if (8 * i + 8 > load_once(entry->tail_length))
			break;
		place = dns_place(packet, tail_at + 8 * i, 8);
		if (!place)
			return false;
		unaligned(uint64_t, place) = unaligned(uint64_t, &entry->bytes[8 * i]);
	}
	place = dns_place(packet, tail_at + last, 8);
	value_opaque(last);
	if (!place || last > DNS_BYTES_HEAD - 8)
		return false;
	unaligned(uint64_t, place) = unaligned(uint64_t, &entry->bytes[last]);
	if (age_s) {
		PACKET_UNROLL
		for (uint32_t i = 0; i < DNS_TTLS_HEAD; i++) {
			if (i >= load_once(entry->ttls))
				break;
			dns_ttl_put(packet, entry, tail_at, load_once(entry->ttl_at[i]), age_s);
		}
	}
	dns_turn(packet, entry, tail_at, turn);
	return true;
}

/* Ages and turns the tail of an entry that is not plain, when the host has copied it. */
PACKET_INLINE void dns_long_write(const struct dns_access *access, const struct packet *packet, const struct dns_entry *entry,
				  uint32_t tail_at, uint32_t age_s)
{
	const struct dns_block *more;

	if (age_s == 0)
		return;
	PACKET_UNROLL
	for (uint32_t i = 0; i < DNS_TTLS_HEAD; i++) {
		if (i >= load_once(entry->ttls))
			break;
		dns_ttl_age(packet, tail_at + load_once(entry->ttl_at[i]), age_s);
	}
	if (load_once(entry->ttls) <= DNS_TTLS_HEAD)
		return;
	more = dns_block_at(access, entry->more);
	if (!more)
		return;
	PACKET_UNROLL
	for (uint32_t i = 0; i < DNS_TTLS_MORE; i++) {
		if (i + DNS_TTLS_HEAD >= load_once(entry->ttls))
			break;
		dns_ttl_age(packet, tail_at + load_once(more->more.ttl_at[i]), age_s);
	}
}

PACKET_INLINE uint64_t dns_exchange16(struct be16 *place, uint16_t value)
{
	struct be16 next = be16_from(value);
	uint64_t exchange = checksum_exchange16(place->raw, next.raw);

	*place = next;
	return exchange;
}

/* The message's header, and what all the changes are for the checksum. */
PACKET_INLINE struct dns_exchange dns_message_write(const struct packet *packet, const struct dns_scratch *scratch,
						    const struct dns_answer *answer)
{
	uint32_t l4 = scratch->l4_offset, opt_at = answer->tail_at + answer->tail_length;
	struct udp_header *udp = packet_header(packet, l4, sizeof(*udp) + sizeof(struct dns_header));
	struct dns_header *header = (void *)(udp + 1);
	struct dns_exchange exchange = {0};
	struct be16 port;

	if (!udp)
		return exchange;
	exchange.direct = dns_exchange16(&header->flags, answer->flags) + dns_exchange16(&header->answers, answer->counts[0]) +
			  dns_exchange16(&header->authorities, answer->counts[1]) +
			  dns_exchange16(&header->additionals, (uint16_t)(answer->counts[2] + scratch->edns)) + answer->tail_sum;
	if (answer->age_s) {
		const struct dns_entry *entry = answer->entry;
		uint32_t odd = entry->ttls_odd, even = entry->ttls - odd;
		const uint64_t nothing = 0xffffull << 32; /* a multiple of 65535, for what is taken away */

		exchange.direct += dns_sum(nothing - (uint64_t)answer->age_s * even, 0) + nothing - (uint64_t)answer->age_s * odd;
	}
	if (scratch->edns) {
		uint32_t place = scratch->name_length, code = answer->extended_error - 1u;
		uint64_t sum = dns_opt_sum(DNS_SIZE_MAX, scratch->opt_flags);

		exchange.direct += dns_sum(0xffffu - checksum_fold(dns_opt_sum(scratch->client_size, scratch->opt_flags)), place);
		dns_opt_write(packet, opt_at, DNS_SIZE_MAX, scratch->opt_flags);
		if (answer->extended_error) {
			dns_error_write(packet, opt_at + (uint32_t)sizeof(struct dns_opt), code);
			sum += dns_error_sum(code);
		}
		exchange.direct += dns_sum(sum, place + answer->tail_length);
	}
	port = udp->source_port;
	udp->source_port = udp->destination_port;
	udp->destination_port = port;
	exchange.pseudo = dns_exchange16(&udp->length, (uint16_t)(answer->frame_length - l4));
	exchange.direct += exchange.pseudo;
	return exchange;
}

PACKET_INLINE void dns_ipv4_write(const struct packet *packet, uint32_t l3, uint32_t length)
{
	struct ipv4_header *ipv4 = packet_header(packet, l3, sizeof(*ipv4));
	struct be32 address;
	uint64_t sum;

	if (!ipv4)
		return;
	address = ipv4->source;
	ipv4->source = ipv4->destination;
	ipv4->destination = address;
	ipv4->tos = 0;
	ipv4->total_length = be16_from((uint16_t)length);
	/* Not fragmented and not to be, so that its identification means nothing (RFC 6864 section 4.1). */
	ipv4->identification = (struct be16){0};
	ipv4->fragment = be16_from(IPV4_DONT_FRAGMENT);
	ipv4->ttl = DNS_HOP_LIMIT;
	sum = (uint64_t)ipv4->source.raw + ipv4->destination.raw + ipv4->total_length.raw + ipv4->fragment.raw +
	      BE16(0x4500) + BE16(DNS_HOP_LIMIT << 8 | PROTOCOL_UDP);
	ipv4->checksum = (uint16_t)~checksum_fold(sum);
}

PACKET_INLINE void dns_ipv6_write(const struct packet *packet, uint32_t l3, uint32_t length)
{
	struct ipv6_header *ipv6 = packet_header(packet, l3, sizeof(*ipv6));
	struct address source, destination;

	if (!ipv6)
		return;
	source = address_from_wire6(ipv6->source);
	destination = address_from_wire6(ipv6->destination);
	address_to_wire6(ipv6->source, &destination);
	address_to_wire6(ipv6->destination, &source);
	ipv6->version_class_label = be32_from(6u << 28);
	ipv6->payload_length = be16_from((uint16_t)(length - sizeof(*ipv6)));
	ipv6->hop_limit = DNS_HOP_LIMIT;
}

/*
 * Turns the frame around, when the tail is written. Returns the checksum's share, which the host applies: dns_checksum_write(), or
 * a helper where checksums are partial.
 */
PACKET_INLINE struct dns_exchange dns_write(const struct packet *packet, const struct dns_scratch *scratch,
					    const struct dns_answer *answer)
{
	struct ethernet_header *ethernet = packet_header(packet, 0, sizeof(*ethernet));
	uint32_t l3 = scratch->l3_offset;
	uint64_t mac;

	if (ethernet) {
		mac = mac_word(ethernet->destination);
		mac_store(ethernet->destination, mac_word(ethernet->source));
		mac_store(ethernet->source, mac);
	}
	if (scratch->ipv6)
		dns_ipv6_write(packet, l3, answer->frame_length - l3);
	else
		dns_ipv4_write(packet, l3, answer->frame_length - l3);
	return dns_message_write(packet, scratch, answer);
}

PACKET_INLINE void dns_checksum_write(const struct packet *packet, const struct dns_scratch *scratch,
				      const struct dns_exchange *exchange)
{
	struct udp_header *udp = packet_header(packet, scratch->l4_offset, sizeof(*udp));

	if (!udp || udp->checksum == 0) /* RFC 768: none was sent, none is sent back */
		return;
	udp->checksum = checksum_update(udp->checksum, exchange->pseudo + exchange->direct);
	if (udp->checksum == 0)
		udp->checksum = 0xffff;
}

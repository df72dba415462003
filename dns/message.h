/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS messages in user space: queries read as strictly as BIND reads them, answers taken apart and put together anew with
 * compression. What comes from the network is never trusted; nothing here allocates without bound. Pure; any thread.
 */
#pragma once

#include "base/packet/address.h"
#include "dns/name.h"

#define DNS_HEADER_SIZE 12
#define DNS_MESSAGE_MAX 65535
#define DNS_UDP_PLAIN 512 /* without EDNS (RFC 1035 section 4.2.1) */
#define DNS_UDP_SAFE 1232 /* what fits into every path's packets */

/* Flags of the header's second word. */
#define DNS_FLAG_QR 0x8000
#define DNS_FLAG_AA 0x0400
#define DNS_FLAG_TC 0x0200
#define DNS_FLAG_RD 0x0100
#define DNS_FLAG_RA 0x0080
#define DNS_FLAG_AD 0x0020
#define DNS_FLAG_CD 0x0010
#define DNS_CODE_MASK 0x000f

enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
	DNS_NOTAUTH = 9,
	DNS_BADVERS = 16,
};

enum dns_type {
	DNS_A = 1,
	DNS_NS = 2,
	DNS_CNAME = 5,
	DNS_SOA = 6,
	DNS_PTR = 12,
	DNS_HINFO = 13,
	DNS_MX = 15,
	DNS_TXT = 16,
	DNS_SIG = 24,
	DNS_AAAA = 28,
	DNS_SRV = 33,
	DNS_DNAME = 39,
	DNS_OPT = 41,
	DNS_DS = 43,
	DNS_RRSIG = 46,
	DNS_NSEC = 47,
	DNS_DNSKEY = 48,
	DNS_NSEC3 = 50,
	DNS_HTTPS = 65,
	DNS_TKEY = 249,
	DNS_TSIG = 250,
	DNS_IXFR = 251,
	DNS_AXFR = 252,
	DNS_MAILB = 253,
	DNS_MAILA = 254,
	DNS_ANY = 255,
};

enum dns_class { DNS_IN = 1, DNS_CH = 3, DNS_CLASS_ANY = 255 };

/* Extended DNS errors (RFC 8914) that we give. */
enum dns_ede {
	DNS_EDE_NONE = -1,
	DNS_EDE_OTHER = 0,
	DNS_EDE_STALE = 3,
	DNS_EDE_BOGUS = 6,
	DNS_EDE_CACHED_ERROR = 13,
	DNS_EDE_NOT_READY = 14,
	DNS_EDE_STALE_NXDOMAIN = 19,
	DNS_EDE_NO_AUTHORITY = 22,
	DNS_EDE_NETWORK = 23,
};

/* "AAAA", "TYPE65280". */
const char *dns_type_format(uint16_t type, char buffer[static 16]);
must_check int dns_type_parse(const char *text, uint16_t *ret_type);
const char *dns_rcode_name(unsigned int rcode); /* "NXDOMAIN"; "RCODE11" for unknown ones in a static buffer of their own */

/* --- a query ------------------------------------------------------------------------------------------------------------ */

struct dns_query {
	uint16_t id;
	uint16_t flags;
	struct dns_name name; /* lower case */
	uint16_t type, class;
	uint16_t question_length; /* bytes behind the header, as sent; 0: there was no question that could be read */
	bool edns;
	bool dnssec_ok;
	bool keepalive; /* RFC 7828 */
	bool padding;	/* RFC 7830 */
	uint16_t udp_size; /* what the client takes by UDP: at least 512 */
	uint8_t cookie_length; /* 0: none; 8: the client's alone; else with a server's, up to 40 */
	uint8_t cookie[40];
	bool subnet_given; /* client subnet (RFC 7871) */
	uint8_t subnet_length; /* bits; of an IPv4 address at most 32 */
	struct address subnet;
};

enum dns_query_verdict {
	DNS_QUERY_TAKE,	  /* to be answered */
	DNS_QUERY_REFUSE, /* with the rcode */
	DNS_QUERY_DROP,	  /* no answer at all: not a query, or too short to be answered */
};

/* `ret_query` holds what could be read, enough to answer a refusal. */
enum dns_query_verdict dns_query_read(const uint8_t *bytes, size_t length, struct dns_query *ret_query, uint16_t *ret_rcode);

/* --- an answer, taken apart ----------------------------------------------------------------------------------------------- */

enum dns_section { DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL };

/* A record as it stands in a message. */
struct dns_record {
	enum dns_section section;
	struct dns_name owner; /* case kept */
	uint16_t type, class;
	uint32_t ttl;
	size_t ttl_offset, data_offset; /* in the message */
	uint16_t data_length;		/* as it stands there, perhaps compressed */
};

struct dns_walk {
	const uint8_t *message;
	size_t length, offset;
	uint16_t left[3];
};

/* Starts behind the question. 0 or -EBADMSG: no header, or not one question. */
must_check int dns_walk_start(struct dns_walk *walk, const uint8_t *message, size_t length);
/* 1: a record; 0: that was the last; -EBADMSG. */
must_check int dns_walk_next(struct dns_walk *walk, struct dns_record *ret_record);

/* Whether all records can be read, and their data too, as far as its form is known; and nothing is behind them. */
bool dns_message_valid(const uint8_t *message, size_t length);

/* Whether the answer has the query's question, case aside, and no other. */
bool dns_question_matches(const uint8_t *query, size_t query_length, const uint8_t *answer, size_t answer_length);

/* How long an answer may be kept, in seconds: the lowest TTL of positive ones, RFC 2308's of negative ones; 0: not at all. */
uint32_t dns_answer_ttl(const uint8_t *message, size_t length);

/* --- an answer, put together ---------------------------------------------------------------------------------------------- */

#define DNS_COMPRESS_MAX 64

struct dns_writer {
	uint8_t *bytes;
	size_t size, length;
	bool full; /* something did not fit; the message is as before it */
	uint16_t counts[3];
	uint16_t names[DNS_COMPRESS_MAX]; /* offsets of names that may be pointed to */
	unsigned int name_count;
};

/* A header with the query's id, and its question (lower case). */
void dns_writer_start(struct dns_writer *writer, uint8_t *bytes, size_t size, uint16_t id, uint16_t flags,
		      const struct dns_name *name, uint16_t type, uint16_t class);
/* Data without compression. */
void dns_writer_add(struct dns_writer *writer, enum dns_section section, const struct dns_name *owner, uint16_t type,
		    uint16_t class, uint32_t ttl, const uint8_t *data, size_t length);
/* Sets the counts; returns the length. */
size_t dns_writer_end(struct dns_writer *writer);

/* Data of a record without compression: 0, -EBADMSG, or -EMSGSIZE. */
must_check int dns_data_expand(const uint8_t *message, size_t length, const struct dns_record *record, uint8_t *ret_data,
			       size_t size, size_t *ret_length);

/*
 * The same answer written anew: without the OPT record, and, unless `dnssec`, without what only validators want (RFC 4035
 * section 3.2.1) but was not asked for. TTLs are capped. Returns its length, or -EBADMSG. `ret_had_dnssec`: something was, or would
 * have been left out.
 */
must_check int dns_answer_rewrite(const uint8_t *message, size_t length, bool dnssec, uint32_t ttl_max, uint8_t *ret_bytes,
				  size_t size, bool *ret_had_dnssec);

/* What the answer to one client is made of. */
struct dns_reply {
	uint16_t flags; /* whole second word but rcode */
	uint16_t rcode; /* extended */
	size_t limit;	/* bytes that may be sent */
	const uint8_t *question; /* as the client wrote it */
	enum dns_ede ede;
	const char *ede_text;	    /* NULL: none */
	const uint8_t *cookie;	    /* client's and server's; NULL: none */
	size_t cookie_length;
	int keepalive_100ms;	    /* -1: none */
	size_t padding;		    /* to a multiple of so many bytes; 0: none */
	bool subnet;		    /* echo the client's subnet with scope 0, or as below */
	uint8_t subnet_scope;
	unsigned int rotate;	    /* addresses begin with another one */
	uint32_t age;		    /* seconds off every TTL */
	uint32_t stale_ttl;	    /* above 0: every TTL is this one */
};

/*
 * `answer` (made by a dns_writer or dns_answer_rewrite) for a client, in `ret_bytes` of DNS_MESSAGE_MAX. What does not fit is
 * left out with TC set: everything but the question. Without an answer (NULL): header and question alone. Returns the length.
 */
size_t dns_reply_write(const struct dns_query *query, const struct dns_reply *reply, const uint8_t *answer, size_t length,
		       uint8_t *ret_bytes);

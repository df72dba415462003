/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* DNS messages as they lie on the wire: header (RFC 1035 section 4.1.1), OPT record (RFC 6891 section 6.1.2). */
#pragma once

#include "base/packet/byteorder.h"
#include "base/packet/target.h"

#define DNS_PORT 53

struct dns_header {
	uint16_t id;
	struct be16 flags; /* DNS_FLAG_*, opcode, DNS_RCODE_* */
	struct be16 questions;
	struct be16 answers;
	struct be16 authorities;
	struct be16 additionals;
} PACKET_WIRE;
_Static_assert(sizeof(struct dns_header) == 12, "wire");

#define DNS_FLAG_RESPONSE 0x8000u
#define DNS_OPCODE_MASK 0x7800u
#define DNS_FLAG_AUTHORITATIVE 0x0400u
#define DNS_FLAG_TRUNCATED 0x0200u
#define DNS_FLAG_RECURSION_DESIRED 0x0100u
#define DNS_FLAG_RECURSION_AVAILABLE 0x0080u
#define DNS_FLAG_AUTHENTIC 0x0020u         /* RFC 6840 section 5.7, 5.8 */
#define DNS_FLAG_CHECKING_DISABLED 0x0010u /* RFC 4035 section 3.2.2 */
#define DNS_RCODE_MASK 0x000fu

#define DNS_RCODE_NOERROR 0u
#define DNS_RCODE_SERVFAIL 2u
#define DNS_RCODE_NXDOMAIN 3u

#define DNS_CLASS_IN 1u

#define DNS_TYPE_A 1u
#define DNS_TYPE_NS 2u
#define DNS_TYPE_CNAME 5u
#define DNS_TYPE_SOA 6u
#define DNS_TYPE_AAAA 28u
#define DNS_TYPE_DNAME 39u
#define DNS_TYPE_OPT 41u
#define DNS_TYPE_RRSIG 46u
#define DNS_TYPE_FIRST_META 128u /* to 255: questions, never records (RFC 6895 section 3.1): TKEY, TSIG, IXFR, AXFR, ANY */
#define DNS_TYPE_LAST_META 255u

#define DNS_NAME_BYTES 255u /* RFC 1035 section 3.1; with the root's empty label */
#define DNS_QUESTION_BYTES 4u /* type and class, behind the name */
#define DNS_RECORD_BYTES 10u  /* type, class, TTL and length, behind the name */

/* The OPT record with its root name, and no options. */
struct dns_opt {
	uint8_t name;
	uint8_t type[2];
	uint8_t size[2];
	uint8_t extended_rcode;
	uint8_t version;
	uint8_t flags[2]; /* DO is the top bit */
	uint8_t length[2];
} __attribute__((packed));
_Static_assert(sizeof(struct dns_opt) == 11, "wire");

#define DNS_OPT_DO 0x80u /* of flags[0] (RFC 3225) */

/* Extended DNS Error (RFC 8914): an option behind the OPT record. */
struct dns_extended_error {
	uint8_t code[2]; /* 15 */
	uint8_t length[2];
	uint8_t info[2];
} __attribute__((packed));
_Static_assert(sizeof(struct dns_extended_error) == 6, "wire");

#define DNS_OPTION_EXTENDED_ERROR 15u
#define DNS_ERROR_STALE_ANSWER 3u    /* RFC 8914 section 4.4 */
#define DNS_ERROR_STALE_NXDOMAIN 19u /* section 4.20 */

#define DNS_SIZE_PLAIN 512u /* without EDNS (RFC 1035 section 4.2.1) */
#define DNS_SIZE_MAX 1232u  /* what passes everywhere whole (RFC 9715 section 3.1) */

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Media sessions as packets see them: plain memory. A service of the balancer with LB_SERVICE_MEDIA is the port that clients send
 * to, its backends are the agents; see rtc/README.md.
 *
 *     STUN request ── USERNAME ──► fragment ─┐
 *     client's address and port ──► path ────┼── rtc_index ──► rtc_session ──► lb_backend
 *     agent's answer ──► agent's port and the address that it knows the client by ─┤
 *     media from nowhere ──► its SSRC ───────┘
 *
 * Row 0 of every table means "none". Times are the host's milliseconds (struct edge_clock): they wrap, and come in steps of
 * the kernel's tick.
 */
#pragma once

#include "base/packet/sha1.h"
#include "lb/lb_guard_state.h"
#include "rtc/stun_wire.h"
#include "rtc/ufrag_wire.h"

/* Sessions. 320 bytes each, with their share of the index 464, with room for passwords and keys 624. */
#define RTC_SESSION_BITS 17u
#define RTC_SESSION_ROWS (1u << RTC_SESSION_BITS)

#define RTC_CONSENT_MS 30000u /* RFC 7675 section 5.1 */
#define RTC_SILENT_MS 60u     /* three packets of audio: a path silent for longer may be dead */
#define RTC_PROOF_MS 10000u   /* a path that was believed without proof for so long is given up */

/* --- services ----------------------------------------------------------------------------------------------------------- */

#define RTC_DSCP_KEEP 0u

/* Beside lb_service, by the same row. writer: ctrl, readers: workers */
struct rtc_service {
	struct rtc_ufrag_keys keys;
	struct lb_rate packets; /* of one session in either direction, each */
	struct lb_rate answers; /* STUN answers to one prefix of clients (lb_limit.mask) */
	struct lb_rate answers_all; /* to all clients together: rtc_buckets.answers */
	uint8_t dscp_up;        /* towards agents: 1 + the code point, or RTC_DSCP_KEEP */
	uint8_t dscp_down;      /* towards clients */
	uint16_t unused;
	uint64_t zero[5];
};
_Static_assert(sizeof(struct rtc_service) == 128, "two cache lines");

/* --- sessions ----------------------------------------------------------------------------------------------------------- */

/* A client's address that a session is reached by. `version` is odd while it is being written, 0 when there is none. */
struct rtc_path {
	struct address address;
	uint32_t version;
	uint32_t seen_ms; /* when the last packet came by it; of one that the agent began and nobody answered, when that was */
	struct be16 port;
	uint8_t flags;    /* RTC_PATH_* */
	uint8_t run;      /* RTC_PATH_HEALING: packets in a row that fitted; of keyed sessions, since the way down's path spoke */
	uint32_t link;    /* neighbour_link() of where it came in, for nobody but people */
};
_Static_assert(sizeof(struct rtc_path) == 32, "two to a cache line");

#define RTC_PATHS 3u /* at once; the oldest that is not in use gives way */

#define RTC_PATH_SEEN 0x01     /* a packet came from there */
#define RTC_PATH_PROVEN 0x02   /* whoever is there had an answer to a check: the agent's to its own, or its own to the agent's */
#define RTC_PATH_NOMINATED 0x04 /* a check with USE-CANDIDATE was answered */
#define RTC_PATH_AGENTS 0x08   /* the agent began it: it knows this address as the client's too */
#define RTC_PATH_HEALING 0x10  /* known by nothing but media that fits */
#define RTC_PATH_LEFT 0x20     /* the way down led there, and then elsewhere */
#define RTC_PATH_GONE 0x40     /* and to a path that is proven: the client is elsewhere */

/* decision.heard, of a packet with ACTION_MEDIA_HEAL and afterwards */
#define RTC_HEARD_PATH 0x03     /* the path that it came by */
#define RTC_HEARD_PROVEN 0x04   /* which is proven */
#define RTC_HEARD_WRONG 0x10    /* its tag is wrong, and the path is proven: it goes on, and says nothing of the path */
#define RTC_HEARD_VERIFIED 0x08 /* what the packet says of the path is known */

enum rtc_session_state {
	RTC_SESSION_FREE,    /* in rtc_tables.free, or a worker is about to write it */
	RTC_SESSION_WAITING, /* registered; no client was seen */
	RTC_SESSION_LIVE,
	RTC_SESSION_ENDED,   /* packets let it be; user space gives the row back when nothing leads to it */
};

#define RTC_SESSION_REGISTERED 0x01 /* somebody told user space its fragment */
#define RTC_SESSION_BOUND 0x02      /* `upstream` is chosen, and stays */
#define RTC_SESSION_MOVED 0x04      /* the way down leads by a path that is not proven yet */
#define RTC_SESSION_BINDING 0x08    /* a worker chooses `upstream` */
#define RTC_SESSION_ROBBED 0x10     /* an address of its own leads to another session now, so it takes no shortcuts */
#define RTC_SESSION_SECRET 0x20     /* a password is known for one of its fragments: rtc_tables.secrets */
#define RTC_SESSION_KEYED 0x40      /* the key of the client's SRTP is known: rtc_tables.srtp */

/*
 * One direction, as measured: client to agent, or agent to client. Loss and jitter are of one stream of RTP at a time (RFC 3550
 * A.1, A.3, A.8): that of `ssrc`, until it was silent for two seconds. Writers are the workers that the direction's
 * packets come by, one in practice: where two meet, one may lose its count. Readers: ctrl
 */
struct rtc_stream {
	uint64_t packets;  /* all kinds */
	uint64_t bytes;    /* IP packets' lengths */
	uint32_t last_ms;  /* of any kind */
	uint32_t ssrc;     /* host order */
	uint32_t rtp_ms;   /* its last packet */
	uint32_t highest;  /* extended sequence number: cycles << 16 | number */
	uint32_t base;     /* extended sequence number of the first; 0 with `received` 0: none yet */
	uint32_t received; /* packets since `base` */
	uint32_t transit;  /* arrival - timestamp, in the timestamp's units; before the clock is known, the first timestamp */
	uint32_t jitter;   /* in sixteenths of the timestamp's units; before the clock is known, the first arrival */
	uint32_t lost_before;     /* of streams before this one, and of this one before it jumped */
	uint32_t expected_before; /* likewise: packets that there should have been */
	uint16_t gaps;     /* holes in the sequence */
	uint16_t pause_ms; /* the longest time between two packets of any kind; 65535: that or longer */
	uint8_t khz;       /* the timestamp's clock, as found from arrivals: 8, 16, 32, 48 or 90; 0: not known yet */
	uint8_t payload_type;
	uint16_t bad;      /* 1 + the sequence number to be seen next if the sender jumped (RFC 3550 A.1) */
};
_Static_assert(sizeof(struct rtc_stream) == 64, "one cache line");

/* A STUN request that waits for its answer. */
struct rtc_check {
	uint32_t id;    /* of its transaction id; 0: none */
	uint32_t at_ms; /* when it passed */
};

#define RTC_CHECKS_UP 3u
#define RTC_FRAGMENTS 2u /* of a session at once: the present one, and the one before an ICE restart */

/*
 * `state` is what claims a row: a worker takes it from rtc_tables.free and writes it while nothing leads to it; user space
 * clears it when nothing does any more. writers: workers, ctrl; readers: workers, ctrl
 */
struct rtc_session {
	/* The first line: all that a packet needs of a session whose client did not move. */
	struct rtc_path path; /* the first of them */
	struct address upstream;   /* the client's address as the agent knows it: the first that was seen, for the session's life */
	struct be16 upstream_port;
	struct be16 agent_port;
	uint16_t service;
	uint16_t backend;
	uint8_t state;       /* enum rtc_session_state */
	uint8_t current;     /* the path that packets to the client take */
	uint16_t flags;      /* RTC_SESSION_* */
	uint32_t consent_ms; /* the last check that was answered; of a session without one, when it began */
	/* Then a line for each direction. */
	struct rtc_stream up;
	struct rtc_stream down;
	/* Two more paths. */
	struct rtc_path others[RTC_PATHS - 1];
	/* What checks and limits need. */
	uint64_t fragments[RTC_FRAGMENTS]; /* rtc_fragment_hash(); the newest first; 0: none */
	struct rtc_check up_checks[RTC_CHECKS_UP]; /* the client's, waiting for the agent */
	struct rtc_check down_check;               /* the agent's, waiting for the client */
	uint32_t up_meta;      /* of up_checks, a byte each: path | 0x80 with USE-CANDIDATE */
	uint16_t rtt_agent_ms; /* smoothed: from a client's check to the agent's answer; 65535: not known */
	uint16_t rtt_client_ms; /* and from an agent's check to the client's answer */
	uint32_t begun_ms;
	uint16_t moves;        /* times that the way down changed */
	uint16_t healed;       /* packets that went up because they fitted; 65535: that or more */
};
_Static_assert(sizeof(struct rtc_session) == 320 && offsetof(struct rtc_session, up) == 64 &&
		       offsetof(struct rtc_session, others) == 192 && offsetof(struct rtc_session, fragments) == 256,
	       "five cache lines");

/*
 * Token buckets (lb_bucket_take()) of sessions, apart from them: only services with a limit touch these; and of STUN answers, by service
 * row.
 */
struct rtc_buckets {
	uint64_t up[RTC_SESSION_ROWS];
	uint64_t down[RTC_SESSION_ROWS];
	uint64_t answers[LB_SERVICE_ROWS];
};

/* --- the index ---------------------------------------------------------------------------------------------------------- */

/*
 * Buckets of eight words, one cache line; a word leads to a session, which is then asked whether it is the one meant. A word is
 * written by one store or compare-and-swap.
 *
 *     63            32 31       29 28   27 26       17 16      0
 *     [ signature 32 ][   kind 3  ][path 2][ 0, seen ][ row 17 ]
 *
 * The bucket is the hash's bottom, the signature its top. SSRC words give way to others; no other word gives way but to
 * user space, which removes those of sessions that ended.
 */
#define RTC_INDEX_BUCKET_BITS 18u
#define RTC_INDEX_WAYS 8u
#define RTC_INDEX_SIGNATURE_SHIFT 32
#define RTC_INDEX_KIND_SHIFT 29
#define RTC_INDEX_PATH_SHIFT 27
#define RTC_INDEX_ROW_MASK (RTC_SESSION_ROWS - 1)

enum rtc_index_kind {
	RTC_INDEX_NONE,
	RTC_INDEX_PATH,     /* service, client's address and port */
	RTC_INDEX_UPSTREAM, /* agent's and client's address and port; `path` RTC_PATHS: rtc_session.upstream, else that path */
	RTC_INDEX_FRAGMENT, /* service, user fragment */
	RTC_INDEX_SSRC,     /* service, SSRC of what the client sends */
};

/*
 * Beside them, small enough for a processor's cache, what leads most packets of calls to their rows at once (rtc_shortcut_fast.h): four
 * words to a set, which give way to each other.
 *
 *     31      19 18   17 16      0
 *     [ tag 13 ][ path 2 ][ row 17 ]
 *
 * The set and the tag come from the packet's addresses and ports as they are on the wire, and from edge_config.calls: with
 * another number of that, all are forgotten. `path` RTC_PATHS: from the agent.
 */
#define RTC_SHORTCUT_SET_BITS 17u
#define RTC_SHORTCUT_WAYS 4u
#define RTC_SHORTCUT_PATH_SHIFT 17
#define RTC_SHORTCUT_TAG_SHIFT 19

/* writers: workers, ctrl; readers: workers */
struct rtc_index {
	uint64_t words[1u << RTC_INDEX_BUCKET_BITS][RTC_INDEX_WAYS] __attribute__((aligned(64)));
	uint32_t shortcuts[1u << RTC_SHORTCUT_SET_BITS][RTC_SHORTCUT_WAYS] __attribute__((aligned(64)));
};

/*
 * Rows that may be taken: a ring that user space fills and workers empty by compare-and-swap on `head`. `used` in all is
 * RTC_SESSION_ROWS - 1 - (tail - head).
 */
struct rtc_free {
	uint32_t head; /* the next to be taken. writers: workers, ctrl */
	uint32_t tail; /* behind the last. writer: ctrl */
	uint32_t unused[14];
	uint32_t rows[RTC_SESSION_ROWS];
};

struct rtc_sessions {
	struct rtc_session rows[RTC_SESSION_ROWS] __attribute__((aligned(64)));
};

/* A fragment's password, as HMAC-SHA1 begins and ends with it (RFC 2104 section 4). writer: ctrl, readers: workers */
struct rtc_secret {
	uint64_t fragment; /* rtc_fragment_hash(); 0: none, or being written */
	uint32_t inner[SHA1_WORDS];
	uint32_t outer[SHA1_WORDS];
};
_Static_assert(sizeof(struct rtc_secret) == 48, "table row");

/* How a client's SRTP is authenticated; numbers are those of RFC 5764 section 4.1.2. */
enum rtc_srtp_profile {
	RTC_SRTP_NONE = 0,
	RTC_SRTP_AES128_CM_SHA1_80 = 1,
	RTC_SRTP_AES128_CM_SHA1_32 = 2,
};

#define RTC_SRTP_FIRST 0x01 /* it was told when its client had begun to talk: the session's first stream began with a rollover counter of 0 */

/*
 * What a client's SRTP is verified with (rtc_srtp.h): the session's authentication key, as HMAC-SHA1 begins and ends with it. writers: ctrl;
 * of `known` and `wrong` workers too; readers: workers
 */
struct rtc_srtp {
	uint64_t fragment; /* rtc_fragment_hash() of the one that it was told for; 0: none, or being written */
	uint64_t known;    /* rollover counter less cycles of rtc_stream.highest << 32 | rtc_srtp_mark() of that stream; 0: not known */
	uint32_t inner[SHA1_WORDS];
	uint32_t outer[SHA1_WORDS];
	uint32_t wrong;    /* tags: the time >> RTC_SRTP_WINDOW_SHIFT << 8 | how many in that */
	uint8_t profile;   /* enum rtc_srtp_profile */
	uint8_t flags;     /* RTC_SRTP_* */
	uint16_t zero;
};
_Static_assert(sizeof(struct rtc_srtp) == 64, "table row");

struct rtc_tables {
	uint64_t began; /* not 0: user space has filled `free` once */
	uint64_t unused[7];
	struct rtc_free free;
	struct rtc_service services[LB_SERVICE_ROWS];
	struct rtc_buckets buckets;
	struct rtc_secret secrets[RTC_SESSION_ROWS][RTC_FRAGMENTS]; /* only of sessions with RTC_SESSION_SECRET */
	struct rtc_srtp srtp[RTC_SESSION_ROWS] __attribute__((aligned(64))); /* only of those with RTC_SESSION_KEYED */
};

/* --- a worker's own ----------------------------------------------------------------------------------------------------- */

/* What is asked about sessions by the steps below: an address of the client's, and what the packet says. */
struct rtc_query {
	uint64_t path_hash;
	uint64_t fragment; /* rtc_fragment_hash() */
	struct address client;
	struct address agent;
	uint32_t now_ms;
	uint32_t ssrc;
	uint32_t link;
	struct be16 client_port;
	struct be16 agent_port;
	uint16_t service;
	uint16_t backend;
	uint16_t sequence;
	uint8_t flags; /* RTC_PATH_*, of a path that is made */
	uint8_t ipv6;
};
_Static_assert(sizeof(struct rtc_query) == 72, "no padding");

/* While a tag is verified. */
struct rtc_srtp_work {
	uint32_t middle[SHA1_WORDS]; /* the state behind the blocks that are the same whatever the rollover counter is */
	uint32_t tag[3];             /* as the packet has it, the first byte on top */
	uint32_t end;                /* bytes of the packet without it */
	uint32_t counter;            /* the rollover counter, the first of those that it may be */
	uint32_t guesses;            /* how many that are */
	uint32_t cycles;             /* of its extended sequence number */
	int32_t ahead;               /* of the stream's newest */
	uint32_t mark;               /* rtc_srtp_mark() */
	uint32_t wrong;              /* rtc_srtp.wrong, of this window */
};

/*
 * What a worker puts down while it handles a packet that learns or asks: more than the stack has room for in the kernel. `message`
 * is copied by the host.
 */
struct rtc_scratch {
	struct stun_message message;
	struct rtc_query query;
	struct rtc_ufrag_text text;
	struct rtc_ufrag_target target;
	struct stun stun;
	struct sha1 sha1;
	struct rtc_srtp_work srtp;
};

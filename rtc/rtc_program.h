/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes and reads media sessions in the tables of one running engine: what services want of them, sessions that somebody
 * registers, those that packets began, their end. The tables are the only record: rtc_program_adopt() after a restart finds
 * every session as it was.
 *
 * Part of edge_program.h, which calls new, adopt, apply and sweep; edge_program_rtc() gives it to whoever adds, removes and
 * lists. One thread owns a program; packets are handled meanwhile. Times are packets' milliseconds (edge_host.now_ms).
 */
#pragma once

#include "base/lib/error.h"
#include "base/lib/quiesce.h"
#include "lb/lb_wanted.h"
#include "rtc/rtc_state.h"
#include "rtc/srtp_key.h"
#include "rtc/ufrag.h"

struct rtc_program_options {
	struct rtc_tables *tables;
	struct rtc_sessions *sessions;
	struct rtc_index *index;
	const struct lb_tables *lb;
	struct quiesce *quiesce; /* borrowed */
};

struct rtc_program;

/* NULL: no memory. Includes rtc_program_adopt(). */
struct rtc_program *rtc_program_new(const struct rtc_program_options *options);
void rtc_program_free(struct rtc_program *program);

/* Reads the bookkeeping anew; tables that are all zero get their free rows. */
void rtc_program_adopt(struct rtc_program *program);

/* What a service wants (lb_service_wanted.media), beside its row. 0, -EINVAL. Words stored are added to `ret_changes`. */
must_check int rtc_service_check(const struct lb_service_wanted *service, struct error *error);
void rtc_program_service_write(struct rtc_program *program, uint16_t service_row, const struct lb_service_wanted *service,
			       uint32_t *ret_changes);
/* Clears what services that are none of media any more have left. */
void rtc_program_services_clean(struct rtc_program *program, uint32_t *ret_changes);

/*
 * Registers that sessions whose fragment is `ufrag` go to the backend `backend_row` at `agent_port` (host order; 0: the backend's
 * own port, which all backends have but those of services with any port). The row is lb_program's. If the fragment is registered
 * already for the same agent, nothing changes (0); for another one, the session that there is ends and a new one is made.
 * `ret_row`: the session's, of no meaning later than its end. -EINVAL: no fragment, no media service, no backend of it;
 * -ENOSPC: no rows.
 */
must_check int rtc_program_add(struct rtc_program *program, uint16_t service_row, const char *ufrag, uint16_t backend_row,
			       uint16_t agent_port, uint32_t now_ms, uint32_t *ret_row, struct error *error);

/* Another fragment for a session that there is: an ICE restart that somebody announces. -ENOENT, -EINVAL, -ENOSPC. */
must_check int rtc_program_restart(struct rtc_program *program, uint32_t row, const char *ufrag, struct error *error);

/*
 * Says the agent's ICE password for a fragment of the session: from now on checks by that fragment which are not signed with it are
 * dropped (RFC 8489 section 14.5). NULL: none is known any more. -ENOENT: no such session, or it has no such fragment.
 */
must_check int rtc_program_password(struct rtc_program *program, uint32_t row, const char *ufrag, const char *password);

/*
 * Says the key of the client's SRTP, for a fragment of the session: from now on media that come by another path than the one in use are
 * verified, and move the way down by that alone (rtc_srtp.h). A session has one key: that of its newest fragment that was told one. The
 * same key again changes nothing; NULL: of this fragment none is known any more. -ENOENT: no such session, or it has no such fragment.
 * It is to be told when the client's handshake is over: rollover counters are known from there on.
 */
must_check int rtc_program_srtp(struct rtc_program *program, uint32_t row, const char *ufrag, const struct srtp_key *key);

/* The session that a fragment leads to; 0: none. */
uint32_t rtc_program_find(const struct rtc_program *program, uint16_t service_row, const char *ufrag);

/* Ends a session; its packets are dropped from now on. False: there is none. The row is given back by the sweep. */
bool rtc_program_end(struct rtc_program *program, uint32_t row, uint32_t now_ms);

/* --- reading ------------------------------------------------------------------------------------------------------------ */

/* One direction, worked out. */
struct rtc_stream_info {
	uint64_t packets, bytes;
	uint32_t silent_ms;  /* since the last packet; UINT32_MAX: there was none */
	uint32_t ssrc;
	uint64_t expected;   /* RTP packets of the streams measured */
	uint64_t lost;       /* of them; late ones that came after all are not */
	uint32_t jitter_us;  /* RFC 3550 A.8, of the present stream; 0 while its clock is not known */
	uint8_t clock_khz;   /* 0: not known */
	uint8_t payload_type;
	uint16_t gaps, pause_ms; /* as in struct rtc_stream */
};

struct rtc_path_info {
	struct address address;
	uint16_t port;       /* host order */
	uint8_t flags;       /* RTC_PATH_* */
	uint32_t silent_ms;
	bool current;        /* the way down */
};

struct rtc_session_info {
	uint32_t row;
	enum rtc_session_state state; /* WAITING or LIVE */
	uint16_t flags;        /* RTC_SESSION_* */
	uint16_t service, backend;
	struct address agent, upstream; /* `upstream` zero: not bound yet */
	uint16_t agent_port, upstream_port;
	uint64_t fragments[RTC_FRAGMENTS]; /* their hashes: rtc_program_fragment() */
	uint32_t age_ms;       /* since it began or was registered */
	uint32_t consent_ms;   /* since the last check was answered; UINT32_MAX: none was yet */
	uint16_t rtt_client_ms, rtt_agent_ms; /* 65535: not known */
	uint16_t moves, healed;
	struct rtc_path_info paths[RTC_PATHS];
	uint32_t path_count;
	struct rtc_stream_info up, down;
};

/* What stands in rtc_session.fragments for a fragment of a service. */
uint64_t rtc_program_fragment(const struct rtc_program *program, uint16_t service_row, const char *ufrag);

/* A session as it is now; false: there is none in this row. Reads what packets write: figures may be of different moments. */
bool rtc_program_read(const struct rtc_program *program, uint32_t row, uint32_t now_ms, struct rtc_session_info *ret_info);

/*
 * The next session behind `row`, 0: there is none; begin with 0. A walk over all rows costs one look at each, about a millisecond
 * in all; it need not be of one moment.
 */
uint32_t rtc_program_next(const struct rtc_program *program, uint32_t row);

/* Rows in use, ending ones and those in a worker's hand too, and how many there are. */
struct rtc_usage {
	uint32_t used, limit;
};

struct rtc_usage rtc_program_usage(const struct rtc_program *program);

/* --- ending ------------------------------------------------------------------------------------------------------------- */

/* Why a session ended. */
enum rtc_end {
	RTC_END_CONSENT, /* no check was answered for RTC_CONSENT_MS */
	RTC_END_BACKEND, /* its backend is no more */
	RTC_END_SERVICE, /* its service is not, or is none of media any more */
	RTC_END_COMMAND, /* rtc_program_end() */
	RTC_ENDS
};

/* Told of each session right before it ends, with the figures it ends with. */
typedef void rtc_ended(void *context, const struct rtc_session_info *info, enum rtc_end why);
void rtc_program_on_end(struct rtc_program *program, rtc_ended *ended, void *context);

struct rtc_sweep_stats {
	bool complete;           /* this step ended a pass over all rows */
	uint32_t live, waiting;  /* of that pass, else of this step */
	uint32_t ended[RTC_ENDS]; /* since the last step */
};

/*
 * One sixteenth of a pass over all sessions: ends those whose time is over, and takes those that ended out of the index; rows are
 * given back a pass later. edge_program_sweep() does it. A registered session waits for its client as long as user space
 * lets it; one that lost consent waits again, for its fragment is still registered.
 */
#define RTC_SWEEP_STEPS 16u

/* What the last whole pass found of the calls of a backend of a media service. */
struct rtc_agent_calls {
	uint32_t live;
	bool known;   /* a whole pass has counted since the row came into use */
	bool drained; /* it takes no new calls, and a whole pass since then found none */
};

struct rtc_agent_calls rtc_program_agent_calls(const struct rtc_program *program, uint16_t backend_row);

void rtc_program_sweep(struct rtc_program *program, uint32_t now_ms, struct rtc_sweep_stats *ret_stats);

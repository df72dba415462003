/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Forwarding media: which session a packet is of, where it goes, what is learned from it. See rtc/README.md and
 * docs/adr/0021-sessions-in-the-fast-path.md.
 *
 * A host asks rtc_media_decide() of what ACTION_MEDIA_UP and _DOWN mark. What it leaves open (ACTION_STUN_UP, _DOWN, ACTION_MEDIA_HEAL) is
 * for rtc_learn_decide(), which may send it back.
 */
#pragma once

#include "lb/lb_fast.h"
#include "rtc/rtc_index.h"
#include "rtc/rtc_stream.h"

struct rtc_view {
	struct lb_view lb;
	struct rtc_tables *rtc;
	struct rtc_sessions *sessions;
	struct rtc_index *index;
	uint32_t calls; /* edge_config.calls */
};

PACKET_INLINE void rtc_drop(struct decision *decision, enum drop_reason reason)
{
	decision->function = FUNCTION_RTC;
	decision->verdict = VERDICT_DROP;
	decision->reason = (uint8_t)reason;
}

PACKET_INLINE bool rtc_session_lives(const struct rtc_session *session)
{
	return load_once(session->state) == RTC_SESSION_LIVE;
}

/* --- finding ------------------------------------------------------------------------------------------------------------ */

/* The word's low half of the session and path that the client's address and port are of, 0: none. */
PACKET_INLINE uint32_t rtc_path_find(const struct rtc_view *view, uint64_t hash, const struct address *address,
				     struct be16 port, uint16_t service)
{
	uint32_t low = rtc_index_look(view->index, hash, RTC_INDEX_PATH);
	struct rtc_session *session = rtc_session_at(view->sessions, rtc_index_row(low));

	if (low == 0 || !rtc_path_is(rtc_session_path(session, rtc_index_path(low)), address, port) ||
	    session->service != service || !rtc_session_lives(session))
		return 0;
	return low;
}

/* Likewise, of an agent's packet to an address by which it knows the client. */
PACKET_INLINE uint32_t rtc_upstream_find(const struct rtc_view *view, const struct flow *flow)
{
	uint64_t hash = rtc_upstream_hash(view->lb.lb->hash_seed, &flow->destination, flow->destination_port, &flow->source,
					  flow->source_port, flow->network == FLOW_IPV6);
	uint32_t low = rtc_index_look(view->index, hash, RTC_INDEX_UPSTREAM);
	struct rtc_session *session = rtc_session_at(view->sessions, rtc_index_row(low));
	const struct lb_backend *backend = &view->lb.lb->backends[session->backend & (LB_BACKEND_ROWS - 1)];

	if (low == 0 || !rtc_session_lives(session) || session->agent_port.raw != flow->source_port.raw ||
	    backend->service != session->service || load_once(backend->state) == LB_BACKEND_FREE ||
	    !address_equal(&backend->address, &flow->source))
		return 0;
	if (likely(rtc_index_path(low) == RTC_PATHS))
		return session->upstream_port.raw == flow->destination_port.raw &&
				       address_equal(&session->upstream, &flow->destination) ?
			       low :
			       0;
	return rtc_path_is(rtc_session_path(session, rtc_index_path(low)), &flow->destination, flow->destination_port) ? low : 0;
}

/* The session that a fragment leads to, 0: none. */
PACKET_FUNCTION uint32_t rtc_fragment_find(struct rtc_sessions *sessions, struct rtc_index *index, const struct rtc_query *query)
{
	const struct rtc_session *session;
	uint32_t row;

	if (!sessions || !index || !query)
		return 0;
	row = rtc_index_row(rtc_index_look(index, query->fragment, RTC_INDEX_FRAGMENT));
	session = rtc_session_at(sessions, row);
	if (row == 0 || (session->fragments[0] != query->fragment && session->fragments[1] != query->fragment) ||
	    session->service != query->service ||
	    (load_once(session->state) != RTC_SESSION_LIVE && load_once(session->state) != RTC_SESSION_WAITING))
		return 0;
	return row;
}

/* The row of the service's backend with this endpoint, 0: none. Backends without a port have any. */
PACKET_FUNCTION uint32_t rtc_agent_find(const struct lb_tables *lb, const struct address *address, uint32_t port_raw,
					uint32_t service)
{
	struct directory_key key;
	uint32_t row = 0;

	if (!lb || !address)
		return 0;
	for (uint32_t any = 0; any < 2 && row == 0; any++) {
		key = lb_key(LB_KEY_BACKEND, address, !address_is_ipv4(address), PROTOCOL_UDP,
			     (struct be16){any ? 0 : (uint16_t)port_raw});
		row = DIRECTORY_FIND(&lb->backends_by_endpoint, LB_REVERSE_DIRECTORY_BITS, &key);
		for (uint32_t i = 0; i < LB_SERVICES_PER_ENDPOINT && row; i++) {
			const struct lb_backend *backend = &lb->backends[row & (LB_BACKEND_ROWS - 1)];

			if (backend->service == service)
				return row;
			row = backend->next;
		}
		row = 0;
	}
	return 0;
}

/* --- paths -------------------------------------------------------------------------------------------------------------- */

/* How little a path is needed, 0: it stays. `healing`: it is for one that nothing but media speaks for. */
PACKET_INLINE uint32_t rtc_path_idle(const struct rtc_path *path, bool current, bool healing, uint32_t now_ms)
{
	uint32_t age = now_ms - path->seen_ms;

	if (path->version == 0)
		return UINT32_MAX;
	if (current)
		return 0;
	if (path->flags & RTC_PATH_HEALING)
		return 0x80000000u | age;
	if (healing && age < RTC_FIT_MS && !(path->flags & RTC_PATH_GONE))
		return 0;
	return (age >> 1 & 0x3fffffff) + 1;
}

/*
 * Gives the session the path that the query tells of, or renews it; the caller makes query->path_hash lead there. Returns its
 * number; RTC_PATHS: there is no place for it, or another worker is writing there. verifier: no word is put in these functions, for
 * stacks add up.
 */
PACKET_FUNCTION uint32_t rtc_path_add(struct rtc_sessions *sessions, uint32_t row, const struct rtc_query *query)
{
	uint32_t chosen = RTC_PATHS, chosen_idle = 0, version;
	struct rtc_session *session;
	struct rtc_path *path;

	if (!sessions || !query)
		return RTC_PATHS;
	session = rtc_session_at(sessions, row);
	for (uint32_t number = 0; number < RTC_PATHS; number++) {
		bool current = load_once(session->current) == number && load_once(session->state) == RTC_SESSION_LIVE;
		uint32_t idle;

		path = rtc_session_path(session, number);
		if (rtc_path_is(path, &query->client, query->client_port)) {
			uint8_t flags = path->flags;

			if (query->flags & RTC_PATH_SEEN)
				flags &= (uint8_t)~RTC_PATH_HEALING;
			store_once(path->flags, (uint8_t)(flags | query->flags));
			if (!current || query->flags & RTC_PATH_AGENTS)
				store_once(path->seen_ms, query->now_ms);
			return number;
		}
		idle = rtc_path_idle(path, current, query->flags & RTC_PATH_HEALING, query->now_ms);
		if (idle > chosen_idle) {
			chosen = number;
			chosen_idle = idle;
		}
	}
	if (chosen >= RTC_PATHS)
		return RTC_PATHS;
	path = rtc_session_path(session, chosen);
	version = load_once(path->version);
	if (version & 1 || __sync_val_compare_and_swap(&path->version, version, version + 1) != version)
		return RTC_PATHS;
	path->address = query->client;
	path->port = query->client_port;
	path->flags = query->flags;
	path->run = 0;
	path->link = query->link;
	path->seen_ms = query->now_ms;
	__sync_fetch_and_add(&path->version, 1); /* a full barrier on every target */
	return chosen;
}

/* rtc_index_put() of an address that leads to a session. */
PACKET_INLINE uint32_t rtc_way_put(struct rtc_sessions *sessions, struct rtc_index *index, uint64_t hash, uint32_t low)
{
	uint32_t put = rtc_index_put(index, hash, low);

	if (unlikely(put > 1))
		__sync_fetch_and_or(rtc_session_control(rtc_session_at(sessions, put >> 1)),
				    (uint32_t)RTC_SESSION_ROBBED << RTC_CONTROL_FLAGS_SHIFT);
	return put;
}

/* The same, with the word. */
PACKET_INLINE uint32_t rtc_path_open(struct rtc_sessions *sessions, struct rtc_index *index, uint32_t row,
				     const struct rtc_query *query)
{
	uint32_t number = rtc_path_add(sessions, row, query);

	if (number >= RTC_PATHS || !rtc_way_put(sessions, index, query->path_hash, rtc_index_low(RTC_INDEX_PATH, number, row)))
		return RTC_PATHS;
	return number;
}

/*
 * The way down leads by path `number` now, and did by `before`. A client that moves again and again leaves proven paths behind it;
 * the last one is what to go back to until the new one is proven, those before it, and then it too, may give way to the next.
 */
PACKET_INLINE void rtc_paths_leave(struct rtc_session *session, uint32_t before, uint32_t number, uint32_t proven)
{
	struct rtc_path *path;

	for (uint32_t i = 0; i < RTC_PATHS; i++) {
		path = rtc_session_path(session, i);
		if (i == number)
			store_once(path->flags, (uint8_t)(path->flags & ~(RTC_PATH_LEFT | RTC_PATH_GONE)));
		else if (i == before || path->flags & RTC_PATH_LEFT)
			store_once(path->flags, (uint8_t)(path->flags | RTC_PATH_LEFT | (proven ? RTC_PATH_GONE : 0)));
	}
}

/* Makes the way down lead by another path. `proven`: whoever is there had an answer. */
PACKET_FUNCTION uint32_t rtc_session_move(struct rtc_sessions *sessions, uint32_t row, uint32_t number, uint32_t proven,
					  uint32_t now_ms)
{
	uint32_t control, wanted, flags;
	struct rtc_session *session;

	if (!sessions)
		return 0;
	session = rtc_session_at(sessions, row);
	control = load_once(*rtc_session_control(session));
	flags = control >> RTC_CONTROL_FLAGS_SHIFT;
	flags = proven ? flags & ~(uint32_t)RTC_SESSION_MOVED : flags | RTC_SESSION_MOVED;
	wanted = (control & RTC_CONTROL_STATE) | (number & 3) << RTC_CONTROL_CURRENT_SHIFT | flags << RTC_CONTROL_FLAGS_SHIFT;
	if (wanted == control)
		return 0;
	/* Its last packet, which the direction's line knows of the current path. */
	if (number != session->current) {
		store_once(rtc_session_path(session, session->current)->seen_ms, load_once(session->up.last_ms));
		store_once(rtc_session_path(session, number)->seen_ms, now_ms);
		store_once(session->up.last_ms, now_ms); /* what moved it came by the new one */
	}
	if (__sync_val_compare_and_swap(rtc_session_control(session), control, wanted) != control)
		return 0;
	rtc_paths_leave(session, control >> RTC_CONTROL_CURRENT_SHIFT & 3, number & 3, proven);
	if (((control ^ wanted) & RTC_CONTROL_CURRENT) && session->moves != 0xffff)
		session->moves++;
	return 1;
}

#define RTC_HEALING_RUN 3u /* packets in a row that fit, before the way down follows them */

/* Of a session whose SRTP is verified (rtc_srtp.h): packets that are new, and how long the way down's path has been silent then. */
#define RTC_VERIFIED_RUN 2u
#define RTC_VERIFIED_SILENT_MS 30u

/* A packet came by path `number`: those before it are of no meaning any more if the way down's path spoke since, or in the same tick. */
PACKET_INLINE void rtc_run_begin(const struct rtc_session *session, struct rtc_path *path)
{
	if (load_once(session->up.last_ms) - path->seen_ms < 1u << 31)
		path->run = 0;
}

/*
 * A packet that the client made came by another path than the way down takes: does the way down follow? At once if the path is
 * proven and the one in use is not; else when two that are newer than all others came while the path in use was silent. Who copies
 * packets on the way has them there before the client's own for moments at most, for the client talks on.
 * verifier: `number_newer` is newer << 8 | number.
 */
PACKET_FUNCTION uint32_t rtc_path_verified(struct rtc_sessions *sessions, uint32_t row, uint32_t number_newer, uint32_t now_ms)
{
	uint32_t number = number_newer & 3, silent_ms, proven;
	struct rtc_session *session;
	struct rtc_path *path, *current;

	if (!sessions)
		return 0;
	session = rtc_session_at(sessions, row);
	path = rtc_session_path(session, number);
	current = rtc_session_path(session, session->current);
	if (path == current)
		return 0; /* another worker was faster */
	silent_ms = now_ms - load_once(session->up.last_ms);
	proven = (path->flags & RTC_PATH_PROVEN) != 0;
	rtc_run_begin(session, path);
	store_once(path->seen_ms, now_ms);
	if (number_newer >> 8 && path->run < RTC_VERIFIED_RUN)
		path->run++;
	if ((proven && (silent_ms >= RTC_SILENT_MS || !(current->flags & RTC_PATH_PROVEN))) ||
	    (path->run >= RTC_VERIFIED_RUN && silent_ms >= RTC_VERIFIED_SILENT_MS))
		return rtc_session_move(sessions, row, number, proven, now_ms);
	return 0;
}

/*
 * A packet came by another path than the way down takes: does the way down follow? A path that is proven takes over when the
 * current one is silent, and at once from one that is not proven. One that is not must show RTC_HEALING_RUN packets that fit as
 * well, and is left as soon as a proven one speaks: where SRTP is verified, by media that fit, for whatever else comes may be anybody's.
 * `fits`: the packet is the stream's next. verifier: `number_fits` is fits << 8 | number.
 */
PACKET_FUNCTION uint32_t rtc_path_speaks(struct rtc_sessions *sessions, uint32_t row, uint32_t number_fits, uint32_t now_ms)
{
	uint32_t number = number_fits & 3;
	struct rtc_session *session;
	struct rtc_path *path, *current;
	bool silent, keyed;

	if (!sessions)
		return 0;
	session = rtc_session_at(sessions, row);
	path = rtc_session_path(session, number);
	current = rtc_session_path(session, session->current);
	silent = now_ms - load_once(session->up.last_ms) >= RTC_SILENT_MS;
	keyed = session->flags & RTC_SESSION_KEYED;
	if (keyed)
		rtc_run_begin(session, path);
	store_once(path->seen_ms, now_ms);
	if (path->flags & RTC_PATH_PROVEN)
		return silent || (!(keyed && !(number_fits >> 8)) && !(current->flags & RTC_PATH_PROVEN)) ?
			       rtc_session_move(sessions, row, number, 1, now_ms) :
			       0;
	if (!(number_fits >> 8)) {
		if (!keyed)
			path->run = 0;
		return 0;
	}
	if (path->run < RTC_HEALING_RUN)
		path->run++;
	return path->run >= RTC_HEALING_RUN && silent ? rtc_session_move(sessions, row, number, 0, now_ms) : 0;
}

/* The session that media from an unknown address fits, and no other; 0: none. */
PACKET_FUNCTION uint32_t rtc_heal(struct rtc_sessions *sessions, struct rtc_index *index, const struct rtc_query *query, uint64_t seed)
{
	uint64_t hash, wanted, *bucket;
	uint32_t row = 0, fitting = 0;

	if (!sessions || !index || !query)
		return 0;
	hash = rtc_ssrc_hash(seed, query->service, query->ssrc);
	wanted = hash >> RTC_INDEX_SIGNATURE_SHIFT << (32 - RTC_INDEX_KIND_SHIFT) | RTC_INDEX_SSRC;
	bucket = rtc_index_bucket(index, hash);
	for (uint32_t way = 0; way < RTC_INDEX_WAYS; way++) {
		uint64_t word = load_once(bucket[way]);
		const struct rtc_session *session = rtc_session_at(sessions, rtc_index_row((uint32_t)word));

		if (word >> RTC_INDEX_KIND_SHIFT != wanted || session->service != query->service || !rtc_session_lives(session) ||
		    !rtc_stream_fits(&session->up, query->ssrc, query->sequence, query->now_ms))
			continue;
		row = rtc_index_row((uint32_t)word);
		fitting++;
	}
	return fitting == 1 ? row : 0;
}

/* --- sessions ----------------------------------------------------------------------------------------------------------- */

#define RTC_UPSTREAM_TRIES 4u

/*
 * Chooses the address by which the agent will know the client: the client's own. Where another session of the agent has that (a NAT
 * gave it to somebody else), the same address with a port that no client of a NAT has. Returns the hash that is to lead to it.
 */
PACKET_FUNCTION uint64_t rtc_session_choose(struct rtc_sessions *sessions, struct rtc_index *index, uint32_t row,
					    const struct rtc_query *query, uint64_t seed)
{
	struct rtc_session *session;
	struct be16 port;

	if (!sessions || !index || !query)
		return 0;
	session = rtc_session_at(sessions, row);
	port = query->client_port;
	for (uint32_t attempt = 0; attempt < RTC_UPSTREAM_TRIES; attempt++) {
		uint64_t hash = rtc_upstream_hash(seed, &query->client, port, &query->agent, query->agent_port, query->ipv6);
		uint32_t low = rtc_index_look(index, hash, RTC_INDEX_UPSTREAM);
		const struct rtc_session *other = rtc_session_at(sessions, rtc_index_row(low));

		if (low == 0 || rtc_index_row(low) == row || !rtc_session_lives(other) || rtc_index_path(low) != RTC_PATHS ||
		    !address_equal(&other->upstream, &query->client) || other->upstream_port.raw != port.raw) {
			session->upstream = query->client;
			session->upstream_port = port;
			return hash ? hash : 1;
		}
		port = be16_from((uint16_t)(1 + (hash >> 40 & 0x3ff))); /* below 1024 */
	}
	return 0;
}

/* So that only one worker chooses. 1: the session is bound, now or before. */
PACKET_INLINE uint32_t rtc_session_bind(struct rtc_sessions *sessions, struct rtc_index *index, uint32_t row,
					const struct rtc_query *query, uint64_t seed)
{
	uint32_t *place = rtc_session_control(rtc_session_at(sessions, row)), control = load_once(*place), flags;
	uint64_t hash;

	flags = control >> RTC_CONTROL_FLAGS_SHIFT;
	if (likely(flags & (RTC_SESSION_BOUND | RTC_SESSION_BINDING)))
		return flags & RTC_SESSION_BOUND;
	if (__sync_val_compare_and_swap(place, control, control | (uint32_t)RTC_SESSION_BINDING << RTC_CONTROL_FLAGS_SHIFT) != control)
		return 0;
	hash = rtc_session_choose(sessions, index, row, query, seed);
	if (hash && rtc_way_put(sessions, index, hash, rtc_index_low(RTC_INDEX_UPSTREAM, RTC_PATHS, row))) {
		/* both bits in one step: the one goes, the other comes */
		__sync_fetch_and_xor(place, (uint32_t)(RTC_SESSION_BOUND | RTC_SESSION_BINDING) << RTC_CONTROL_FLAGS_SHIFT);
		return 1;
	}
	__sync_fetch_and_xor(place, (uint32_t)RTC_SESSION_BINDING << RTC_CONTROL_FLAGS_SHIFT);
	return 0;
}

/* The first packet of a session that waits for its client, or of a new one: it lives from now on. */
PACKET_INLINE void rtc_session_wake(struct rtc_session *session, uint32_t now_ms)
{
	uint32_t control = load_once(*rtc_session_control(session));

	session->consent_ms = now_ms;
	session->begun_ms = now_ms;
	if ((control & RTC_CONTROL_STATE) == RTC_SESSION_WAITING)
		(void)__sync_val_compare_and_swap(rtc_session_control(session), control,
						  control + RTC_SESSION_LIVE - RTC_SESSION_WAITING);
}

/* Takes a row for a session that begins. 0: there is none, or others take them too fast. */
PACKET_FUNCTION uint32_t rtc_session_take(struct rtc_tables *rtc, struct rtc_sessions *sessions, const struct rtc_query *query)
{
	struct rtc_session *session;
	uint32_t row = 0;

	if (!rtc || !sessions || !query)
		return 0;
	for (uint32_t attempt = 0; attempt < 3 && row == 0; attempt++) {
		uint32_t head = load_once(rtc->free.head), taken;

		if (head == load_once(rtc->free.tail))
			return 0;
		taken = load_once(rtc->free.rows[head & (RTC_SESSION_ROWS - 1)]);
		if (__sync_val_compare_and_swap(&rtc->free.head, head, head + 1) == head)
			row = taken & (RTC_SESSION_ROWS - 1);
	}
	if (row == 0)
		return 0;
	session = rtc_session_at(sessions, row);
	/* user space has cleared it */
	session->service = query->service;
	session->backend = query->backend;
	session->agent_port = query->agent_port;
	session->fragments[0] = query->fragment;
	session->rtt_agent_ms = session->rtt_client_ms = 0xffff;
	session->begun_ms = session->consent_ms = query->now_ms;
	__sync_fetch_and_add(rtc_session_control(session), RTC_SESSION_LIVE); /* a full barrier on every target */
	return row;
}

/* The same, with the word of its fragment. */
PACKET_INLINE uint32_t rtc_session_begin(struct rtc_tables *rtc, struct rtc_sessions *sessions, struct rtc_index *index,
					 const struct rtc_query *query)
{
	uint32_t row = rtc_session_take(rtc, sessions, query);

	if (row == 0 || rtc_index_put(index, query->fragment, rtc_index_low(RTC_INDEX_FRAGMENT, 0, row)))
		return row;
	__sync_fetch_and_add(rtc_session_control(rtc_session_at(sessions, row)), RTC_SESSION_ENDED - RTC_SESSION_LIVE);
	return 0;
}

/* Another fragment of a session: an ICE restart. 1: it leads there now. */
PACKET_INLINE uint32_t rtc_session_restart(struct rtc_sessions *sessions, struct rtc_index *index, uint32_t row,
					     uint64_t fragment)
{
	struct rtc_session *session = rtc_session_at(sessions, row);

	store_once(session->fragments[1], session->fragments[0]);
	store_once(session->fragments[0], fragment);
	return rtc_index_put(index, fragment, rtc_index_low(RTC_INDEX_FRAGMENT, 0, row));
}

/* --- checks ------------------------------------------------------------------------------------------------------------- */

/* A client's check that came by path `number` and waits for the agent's answer. verifier: `id_now` is the transaction << 32 | now_ms. */
PACKET_FUNCTION uint32_t rtc_check_up(struct rtc_sessions *sessions, uint32_t row, uint32_t number_nominates, uint64_t id_now)
{
	uint32_t oldest = 0, oldest_age = 0, now_ms = (uint32_t)id_now, id = (uint32_t)(id_now >> 32);
	struct rtc_session *session;

	if (!sessions)
		return 0;
	session = rtc_session_at(sessions, row);
	for (uint32_t i = 0; i < RTC_CHECKS_UP; i++) {
		uint32_t age = session->up_checks[i].id ? now_ms - session->up_checks[i].at_ms + 1 : UINT32_MAX;

		if (session->up_checks[i].id == id)
			age = UINT32_MAX; /* sent again, maybe from elsewhere: the last place counts */
		if (age > oldest_age) {
			oldest = i;
			oldest_age = age;
		}
	}
	for (uint32_t i = 0; i < RTC_CHECKS_UP; i++) {
		if (i != oldest) {
			if (session->up_checks[i].id == id)
				store_once(session->up_checks[i].id, 0u);
			continue;
		}
		store_once(session->up_checks[i].at_ms, now_ms);
		store_once(session->up_meta, (session->up_meta & ~(0xffu << 8 * i)) | number_nominates << 8 * i);
		store_once(session->up_checks[i].id, id);
	}
	return 1;
}

PACKET_INLINE uint16_t rtc_rtt_smooth(uint16_t known, uint32_t now)
{
	if (now > 0xfffe)
		now = 0xfffe;
	return known == 0xffff ? (uint16_t)now : (uint16_t)((7u * known + now + 4) / 8);
}

/* Somebody at this path has an answer to a check. `nominated`: with USE-CANDIDATE. verifier: `number_nominated` is nominated << 8 | number. */
PACKET_FUNCTION uint32_t rtc_path_prove(struct rtc_sessions *sessions, uint32_t row, uint32_t number_nominated, uint32_t now_ms)
{
	uint32_t number = number_nominated & 3, nominated = number_nominated >> 8;
	struct rtc_path *path, *current;
	struct rtc_session *session;
	uint8_t flags;

	if (!sessions)
		return 0;
	session = rtc_session_at(sessions, row);
	path = rtc_session_path(session, number);
	current = rtc_session_path(session, session->current);
	flags = path->flags | RTC_PATH_PROVEN;
	flags &= (uint8_t)~RTC_PATH_HEALING;
	store_once(path->flags, (uint8_t)(flags | (nominated ? RTC_PATH_NOMINATED : 0)));
	store_once(session->consent_ms, now_ms);
	if (path == current)
		return session->flags & RTC_SESSION_MOVED ? rtc_session_move(sessions, row, number, 1, now_ms) : 0;
	/* RFC 8445 section 8.1.1: the pair that is nominated is used; one that is in use is left when it is silent */
	if (!(current->flags & RTC_PATH_PROVEN) ||
	    (nominated && (!(current->flags & RTC_PATH_NOMINATED) ||
			   now_ms - load_once(session->up.last_ms) >= RTC_SILENT_MS)))
		return rtc_session_move(sessions, row, number, 1, now_ms);
	return 0;
}

/* The path that the agent's answer belongs to, RTC_PATHS: not known. `success`: the agent took the check for true. */
PACKET_FUNCTION uint32_t rtc_check_answered(struct rtc_sessions *sessions, uint32_t row, uint32_t success, uint64_t id_now)
{
	uint32_t now_ms = (uint32_t)id_now, id = (uint32_t)(id_now >> 32), meta = RTC_PATHS, at_ms = 0;
	struct rtc_session *session;

	if (!sessions)
		return RTC_PATHS;
	session = rtc_session_at(sessions, row);
	for (uint32_t i = 0; i < RTC_CHECKS_UP; i++) {
		if (session->up_checks[i].id == id) {
			meta = session->up_meta >> 8 * i & 0xff;
			at_ms = session->up_checks[i].at_ms;
			if (success)
				store_once(session->up_checks[i].id, 0u);
		}
	}
	if (!success)
		return meta & 3;
	if (meta == RTC_PATHS) {
		/* A flood of checks has taken its place. The agent took it for true, whosesoever it was: consent (RFC 7675), and no more. */
		store_once(session->consent_ms, now_ms);
		return RTC_PATHS;
	}
	session->rtt_agent_ms = rtc_rtt_smooth(session->rtt_agent_ms, now_ms - at_ms);
	rtc_path_prove(sessions, row, (meta & 3) | (meta & 0x80 ? 0x100 : 0), now_ms);
	return meta & 3;
}

/* --- sending ------------------------------------------------------------------------------------------------------------ */

/* Whether a session has no credit for one more packet in this direction. */
PACKET_INLINE bool rtc_limit_refuses(const struct rtc_view *view, uint64_t *place, uint16_t service)
{
	const struct lb_rate *rate = &view->rtc->services[service & (LB_SERVICE_ROWS - 1)].packets;
	uint64_t word, next;

	if (likely(rate->cost == 0))
		return false;
	word = load_once(*place);
	next = word ? lb_bucket_take(word, rate, view->lb.now_ms) : lb_bucket_word(1, view->lb.now_ms, rate->full - rate->cost);
	if (next == 0)
		return true;
	store_once(*place, next);
	return false;
}

/*
 * To the agent. `as_seen`: from the address that it came from, because the agent asked there; else from the one that the agent
 * knows the client by.
 */
PACKET_INLINE void rtc_send_up(const struct rtc_view *view, const struct flow *flow, uint32_t row, bool as_seen,
			       uint32_t ifindex, struct decision *decision)
{
	const struct rtc_session *session = rtc_session_at(view->sessions, row);
	const struct lb_backend *backend = &view->lb.lb->backends[session->backend & (LB_BACKEND_ROWS - 1)];
	const struct lb_service *service = &view->lb.lb->services[session->service & (LB_SERVICE_ROWS - 1)];
	uint8_t dscp = view->rtc->services[session->service & (LB_SERVICE_ROWS - 1)].dscp_up;

	decision->backend = session->backend;
	decision->session = row;
	if (load_once(backend->state) == LB_BACKEND_FREE || backend->service != session->service) {
		rtc_drop(decision, DROP_service_no_backend);
		return;
	}
	if (lb_backend_refuses(backend, flow, decision)) {
		decision->function = FUNCTION_RTC;
		return;
	}
	lb_backend_send(backend, service, flow, (uint64_t)row << 20, ifindex, decision);
	decision->function = FUNCTION_RTC;
	if (unlikely(backend->tunnel))
		return;
	decision->port = session->agent_port;
	decision->dscp = dscp;
	decision->as_seen = as_seen;
	if (unlikely(dscp != RTC_DSCP_KEEP) ||
	    (!as_seen && unlikely(session->upstream_port.raw != flow->source_port.raw ||
				  !address_equal(&session->upstream, &flow->source))))
		decision->action = ACTION_MEDIA_UP;
}

/* To the client, by path `number` of the session. */
PACKET_INLINE void rtc_send_down(const struct rtc_view *view, const struct flow *flow, uint32_t row, uint32_t number,
				 uint32_t ifindex, struct decision *decision)
{
	struct rtc_session *session = rtc_session_at(view->sessions, row);
	const struct lb_service *service = &view->lb.lb->services[session->service & (LB_SERVICE_ROWS - 1)];
	uint8_t dscp = view->rtc->services[session->service & (LB_SERVICE_ROWS - 1)].dscp_down;
	const struct rtc_path *path = rtc_session_path(session, number);
	uint32_t version = load_once(path->version);
	struct address address = path->address;
	struct be16 port = path->port;

	decision->service = session->service;
	decision->backend = session->backend;
	decision->session = row;
	value_opaque(version);
	if (version == 0 || version & 1 || load_once(path->version) != version) {
		rtc_drop(decision, DROP_rtc_path_unknown);
		return;
	}
	decision->address = service->address;
	decision->port = service->port_first;
	lb_answer_send_to(&view->lb, flow, &address, ifindex, ACTION_NAT_REVERSE, decision);
	decision->function = FUNCTION_RTC;
	decision->dscp = dscp;
	if (decision->verdict == VERDICT_DROP)
		return;
	if (unlikely(dscp != RTC_DSCP_KEEP || port.raw != flow->destination_port.raw ||
		     !address_equal(&address, &flow->destination))) {
		decision->action = ACTION_MEDIA_DOWN;
		decision->address = address;
		decision->port = port;
	}
}

/* --- media, DTLS, RTCP -------------------------------------------------------------------------------------------------- */

PACKET_INLINE bool rtc_consent_lost(const struct rtc_session *session, uint32_t now_ms)
{
	uint32_t age = now_ms - load_once(session->consent_ms);

	return age > RTC_CONSENT_MS && !(age >> 31); /* a worker's clock may be a tick behind another's */
}

/* Whether packets of the service need not be limited, refused or marked. */
PACKET_INLINE bool rtc_service_is_plain(const struct lb_service *service, const struct rtc_service *media)
{
	return (service->flags & (LB_SERVICE_MEDIA | LB_SERVICE_SOURCES | LB_SERVICE_LIMIT_PACKETS)) == LB_SERVICE_MEDIA &&
	       media->packets.cost == 0 && (media->dscp_up | media->dscp_down) == RTC_DSCP_KEEP;
}

/* What comes by the same way is rtc_shortcut_decide()'s next time. `path` RTC_PATHS: from the agent. */
PACKET_INLINE void rtc_shortcut_note(const struct rtc_view *view, const struct flow *flow, const struct rtc_head *head, uint32_t path,
				     const struct decision *decision)
{
	uint32_t service = decision->service & (LB_SERVICE_ROWS - 1);

	if ((head->kind == RTC_KIND_RTP || head->kind == RTC_KIND_RTCP) && view->calls && flow->flags == 0 &&
	    decision->action == (path == RTC_PATHS ? ACTION_NAT_REVERSE : ACTION_NAT_FORWARD) &&
	    rtc_service_is_plain(&view->lb.lb->services[service], &view->rtc->services[service]))
		rtc_shortcut_put(view->index, rtc_shortcut_hash(view->lb.lb->hash_seed, view->calls, flow), path, decision->session,
				 view->lb.now_ms);
}

PACKET_INLINE bool rtc_media_fits(const struct rtc_view *view, const struct rtc_session *session, const struct rtc_head *head)
{
	return head->kind == RTC_KIND_RTP && rtc_stream_fits(&session->up, head->ssrc, head->sequence, view->lb.now_ms);
}

PACKET_INLINE void rtc_up_decide(const struct rtc_view *view, const struct flow *flow, const struct rtc_head *head,
				 uint32_t ifindex, struct decision *decision)
{
	const struct lb_service *service = &view->lb.lb->services[decision->service & (LB_SERVICE_ROWS - 1)];
	uint64_t hash = rtc_path_hash(view->lb.lb->hash_seed, &flow->source, flow->source_port, service);
	uint32_t low = rtc_path_find(view, hash, &flow->source, flow->source_port, decision->service), row;
	struct rtc_session *session;
	bool current;

	if (unlikely(low == 0)) {
		if (head->kind != RTC_KIND_RTP || decision->session) { /* which says that it was asked already */
			rtc_drop(decision, DROP_rtc_path_unknown);
		} else {
			decision->action = ACTION_MEDIA_HEAL;
			decision->flags |= DECISION_MORE;
		}
		return;
	}
	row = rtc_index_row(low);
	session = rtc_session_at(view->sessions, row);
	if (unlikely(rtc_consent_lost(session, view->lb.now_ms))) {
		rtc_drop(decision, DROP_rtc_consent_expired);
		return;
	}
	if (unlikely(rtc_index_path(low) != session->current) && session->flags & RTC_SESSION_KEYED && !decision->session &&
	    rtc_media_fits(view, session, head)) {
		decision->action = ACTION_MEDIA_HEAL;
		decision->flags |= DECISION_MORE;
		decision->session = row;
		decision->heard = (uint8_t)(rtc_index_path(low) |
					    (rtc_session_path(session, rtc_index_path(low))->flags & RTC_PATH_PROVEN ? RTC_HEARD_PROVEN : 0));
		return;
	}
	if (rtc_limit_refuses(view, &view->rtc->buckets.up[row & (RTC_SESSION_ROWS - 1)], session->service)) {
		rtc_drop(decision, DROP_limit_packets);
		return;
	}
	current = rtc_index_path(low) == session->current;
	if (unlikely(!current)) {
		uint32_t fits = !(decision->heard & RTC_HEARD_WRONG) && rtc_media_fits(view, session, head);

		if (!(decision->heard & RTC_HEARD_VERIFIED))
			current = rtc_path_speaks(view->sessions, row, rtc_index_path(low) | fits << 8, view->lb.now_ms);
		if (session->healed != 0xffff && rtc_session_path(session, rtc_index_path(low))->flags & RTC_PATH_HEALING)
			session->healed++;
	}
	if (unlikely(!(session->flags & RTC_SESSION_BOUND))) {
		rtc_drop(decision, DROP_rtc_path_unknown); /* no check came from there yet */
		return;
	}
	rtc_send_up(view, flow, row, false, ifindex, decision);
	if (decision->verdict == VERDICT_DROP)
		return;
	if (likely(current)) {
		if (unlikely(rtc_stream_count(&session->up, head, lb_length(flow), view->lb.now_ms)))
			rtc_index_put(view->index, rtc_ssrc_hash(view->lb.lb->hash_seed, session->service, head->ssrc),
				      rtc_index_low(RTC_INDEX_SSRC, 0, row));
		rtc_shortcut_note(view, flow, head, rtc_index_path(low), decision);
	} else {
		uint32_t last_ms = session->up.last_ms;

		/* it counts, but says nothing of the path that is in use */
		rtc_stream_count(&session->up, head, lb_length(flow), view->lb.now_ms);
		store_once(session->up.last_ms, last_ms);
	}
}

/* The path that packets to the client take now. */
PACKET_INLINE uint32_t rtc_down_path(const struct rtc_view *view, uint32_t row)
{
	struct rtc_session *session = rtc_session_at(view->sessions, row);
	uint32_t current = load_once(session->current) & 3;

	/* It was believed and never proven: back to one that is. */
	if (unlikely(session->flags & RTC_SESSION_MOVED) &&
	    view->lb.now_ms - rtc_session_path(session, current)->seen_ms > RTC_PROOF_MS) {
			for (uint32_t number = 0; number < RTC_PATHS; number++) {
			const struct rtc_path *path = rtc_session_path(session, number);

			if (path->version && (path->flags & (RTC_PATH_PROVEN | RTC_PATH_GONE)) == RTC_PATH_PROVEN) {
				rtc_session_move(view->sessions, row, number, 1, view->lb.now_ms);
				return number;
			}
		}
	}
	return current;
}

PACKET_INLINE void rtc_down_decide(const struct rtc_view *view, const struct flow *flow, const struct rtc_head *head,
				   uint32_t ifindex, struct decision *decision)
{
	uint32_t low = rtc_upstream_find(view, flow), row = rtc_index_row(low);
	struct rtc_session *session = rtc_session_at(view->sessions, row);

	decision->action = ACTION_NONE;
	if (low == 0) {
		decision->backend = 0; /* what else an agent sends passes */
		return;
	}
	if (unlikely(rtc_consent_lost(session, view->lb.now_ms))) {
		rtc_drop(decision, DROP_rtc_consent_expired);
		return;
	}
	if (rtc_limit_refuses(view, &view->rtc->buckets.down[row & (RTC_SESSION_ROWS - 1)], session->service)) {
		rtc_drop(decision, DROP_limit_packets);
		return;
	}
	rtc_send_down(view, flow, row, rtc_down_path(view, row), ifindex, decision);
	if (decision->verdict == VERDICT_DROP)
		return;
	rtc_stream_count(&session->down, head, lb_length(flow), view->lb.now_ms);
	if (likely(rtc_index_path(low) == RTC_PATHS))
		rtc_shortcut_note(view, flow, head, RTC_PATHS, decision);
}

/* ACTION_MEDIA_UP, ACTION_MEDIA_DOWN with DECISION_MORE: all but what rtc_learn_decide() is asked. */
PACKET_INLINE void rtc_media_decide(const struct rtc_view *view, const struct packet *packet, const struct flow *flow,
				    uint32_t ifindex, struct decision *decision)
{
	const struct udp_header *udp = packet_header(packet, flow->l4_offset, sizeof(*udp));
	bool up = decision->action == ACTION_MEDIA_UP;
	struct rtc_head head;

	if (!udp)
		return;
	head = rtc_head_read(packet, flow->l4_offset + (uint32_t)sizeof(*udp), be16_get(udp->length) - (uint32_t)sizeof(*udp));
	if (unlikely(head.kind == RTC_KIND_STUN)) {
		decision->action = up ? ACTION_STUN_UP : ACTION_STUN_DOWN;
		return;
	}
	decision->flags &= (uint8_t)~DECISION_MORE;
	if (up && head.kind == RTC_KIND_NONE)
		rtc_drop(decision, DROP_rtc_unknown_kind);
	else if (up)
		rtc_up_decide(view, flow, &head, ifindex, decision);
	else
		rtc_down_decide(view, flow, &head, ifindex, decision);
}

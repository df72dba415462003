/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * STUN at packet time: whose session a check is of, what it and its answer prove, and the answers of our own (RFC 8489, RFC 8445
 * section 7).
 *
 * The agent answers a check only if its integrity is true (RFC 8445 section 7.3, RFC 8489 section 9.1.3), so its answer is what proves
 * a path and keeps a session alive. Where the agent's password was registered, a check that is not signed with it is dropped here.
 */
#pragma once

#include "rtc/rtc_fast.h"
#include "rtc/rtc_integrity.h"
#include "rtc/rtc_srtp.h"

PACKET_INLINE void rtc_fragment_read(const struct rtc_view *view, struct rtc_scratch *scratch, uint32_t at, uint32_t length)
{
	scratch->query.fragment = rtc_fragment_hash(view->lb.lb->hash_seed, scratch->query.service, &scratch->message,
						    (uint64_t)length << 32 | at);
}

/* Where an encoded fragment leads: query->agent, agent_port and backend; or why it leads nowhere. */
PACKET_INLINE enum drop_reason rtc_fragment_decode(const struct rtc_view *view, struct rtc_scratch *scratch, uint32_t at,
						   uint32_t length)
{
	struct rtc_query *query = &scratch->query;
	const struct rtc_ufrag_keys *keys = &view->rtc->services[query->service & (LB_SERVICE_ROWS - 1)].keys;
	uint32_t groups = rtc_ufrag_groups(length);

	if (groups == 0)
		return DROP_rtc_fragment_unknown;
#pragma GCC unroll 5
	for (uint32_t i = 0; i < RTC_UFRAG_IPV6_GROUPS; i++)
		scratch->text.group[i] = stun_words(&scratch->message, at + 8 * i);
	if (!rtc_ufrag_decode(&scratch->text, groups, keys, &scratch->target))
		return DROP_rtc_fragment_unknown;
	query->agent = scratch->target.address;
	query->agent_port = scratch->target.port;
	query->backend = (uint16_t)rtc_agent_find(view->lb.lb, &query->agent, query->agent_port.raw, query->service);
	return query->backend ? DROP_NONE : DROP_rtc_agent_unknown;
}

/* A question about a client's address. */
PACKET_INLINE void rtc_query_begin(const struct rtc_view *view, struct rtc_query *query, const struct address *client,
				   struct be16 port, uint16_t service_row)
{
	const struct lb_service *service = &view->lb.lb->services[service_row & (LB_SERVICE_ROWS - 1)];

	*query = (struct rtc_query){
		.path_hash = rtc_path_hash(view->lb.lb->hash_seed, client, port, service),
		.client = *client,
		.client_port = port,
		.now_ms = view->lb.now_ms,
		.service = service_row,
		.ipv6 = service->ipv6,
	};
}

/* The session's agent, for rtc_session_bind(). */
PACKET_INLINE void rtc_query_agent(const struct rtc_view *view, uint32_t row, struct rtc_query *query)
{
	const struct rtc_session *session = rtc_session_at(view->sessions, row);

	query->agent = view->lb.lb->backends[session->backend & (LB_BACKEND_ROWS - 1)].address;
	query->agent_port = session->agent_port;
}

/*
 * A fragment that is not known: the session of this path goes on under it (an ICE restart), or one begins. `known`: the word of the
 * path. Returns the row, 0 with `ret_reason`.
 */
PACKET_INLINE uint32_t rtc_session_new(const struct rtc_view *view, uint32_t known, const struct rtc_query *query,
				       enum drop_reason *ret_reason)
{
	const struct lb_backend *backend = &view->lb.lb->backends[query->backend & (LB_BACKEND_ROWS - 1)];
	const struct rtc_session *session = rtc_session_at(view->sessions, rtc_index_row(known));
	uint32_t row;

	*ret_reason = DROP_rtc_sessions_full;
	if (known && session->backend == query->backend && session->agent_port.raw == query->agent_port.raw)
		return rtc_session_restart(view->sessions, view->index, rtc_index_row(known), query->fragment) ?
			       rtc_index_row(known) :
			       0;
	if (load_once(backend->state) == LB_BACKEND_DRAINING) {
		*ret_reason = DROP_rtc_agent_draining;
		return 0;
	}
	row = rtc_session_begin(view->rtc, view->sessions, view->index, query);
	return row;
}

/* Why a client may not open a path, by the guards of its service. */
PACKET_INLINE enum drop_reason rtc_guards_refuse(const struct rtc_view *view, const struct flow *flow, uint16_t service_row,
						 bool known)
{
	uint16_t flags = view->lb.lb->services[service_row & (LB_SERVICE_ROWS - 1)].flags;

	if (unlikely(flags & LB_SERVICE_SOURCES) && lb_source_refuses(view->lb.guards, service_row, &flow->source))
		return DROP_source_not_allowed;
	if (unlikely(flags & LB_SERVICE_LIMIT_FLOWS) && !known)
		return (enum drop_reason)lb_limits_refuse(view->lb.limiter, view->lb.guards, service_row, &flow->source,
							  (uint64_t)view->lb.epoch << 32 | view->lb.now_ms);
	return DROP_NONE;
}

/* A client's check. */
PACKET_INLINE void rtc_check_up_decide(const struct rtc_view *view, const struct packet *packet, struct rtc_scratch *scratch,
				       const struct flow *flow, uint32_t ifindex, struct decision *decision)
{
	const struct stun *stun = &scratch->stun;
	struct rtc_query *query = &scratch->query;
	uint32_t known, colon, length, row, number;
	struct rtc_session *session;
	enum drop_reason reason;

	rtc_query_begin(view, query, &flow->source, flow->source_port, decision->service);
	known = rtc_path_find(view, query->path_hash, &flow->source, flow->source_port, decision->service);
	colon = stun_username_colon(&scratch->message, stun->username_at, stun->username_length);
	length = colon - stun->username_at;
	reason = rtc_guards_refuse(view, flow, decision->service, known);
	if (reason) {
		rtc_drop(decision, reason);
		return;
	}
	if (colon == 0 || length == 0 || length > STUN_FRAGMENT_MAX) {
		rtc_drop(decision, DROP_rtc_fragment_unknown);
		return;
	}
	query->flags = RTC_PATH_SEEN;
	query->link = neighbour_link(ifindex, flow->vlan);
	rtc_fragment_read(view, scratch, stun->username_at, length);
	row = rtc_fragment_find(view->sessions, view->index, query);
	if (row == 0) {
		reason = rtc_fragment_decode(view, scratch, stun->username_at, length);
		if (!reason) {
			row = rtc_session_new(view, known, query, &reason);
			if (row && row != rtc_index_row(known))
				decision->flags |= DECISION_NEW_FLOW;
		}
		if (row == 0) {
			rtc_drop(decision, reason);
			return;
		}
	}
	session = rtc_session_at(view->sessions, row);
	if (unlikely(session->flags & RTC_SESSION_SECRET) && rtc_integrity_refuses(view->rtc, scratch, row, query->fragment)) {
		rtc_drop(decision, DROP_rtc_integrity);
		return;
	}
	number = rtc_path_open(view->sessions, view->index, row, query);
	if (load_once(session->state) == RTC_SESSION_WAITING && number < RTC_PATHS) {
		rtc_session_wake(session, view->lb.now_ms);
		decision->flags |= DECISION_NEW_FLOW;
	}
	rtc_query_agent(view, row, query);
	if (number >= RTC_PATHS || !rtc_session_bind(view->sessions, view->index, row, query, view->lb.lb->hash_seed)) {
		rtc_drop(decision, DROP_rtc_path_unknown); /* another worker was faster; the client asks again */
		return;
	}
	if (!known)
		lb_client_learn(&view->lb, packet, flow, ifindex);
	/* Before any path is proven the last one that asked is the best guess. */
	if (number != session->current && !(rtc_session_path(session, session->current)->flags & (RTC_PATH_PROVEN | RTC_PATH_SEEN)))
		rtc_session_move(view->sessions, row, number, 1, view->lb.now_ms);
	rtc_check_up(view->sessions, row, number | (stun->flags & STUN_NOMINATES ? 0x80 : 0),
		     (uint64_t)stun->id << 32 | view->lb.now_ms);
	rtc_send_up(view, flow, row, false, ifindex, decision);
	if (decision->verdict != VERDICT_DROP && decision->action == ACTION_ENCAPSULATE)
		store_once(session->consent_ms, view->lb.now_ms); /* its answer does not come by here */
}

/* A client's answer or indication. */
PACKET_INLINE void rtc_answer_up_decide(const struct rtc_view *view, const struct stun *stun, const struct flow *flow,
					uint32_t ifindex, struct decision *decision)
{
	const struct lb_service *service = &view->lb.lb->services[decision->service & (LB_SERVICE_ROWS - 1)];
	uint64_t hash = rtc_path_hash(view->lb.lb->hash_seed, &flow->source, flow->source_port, service);
	uint32_t low = rtc_path_find(view, hash, &flow->source, flow->source_port, decision->service), row = rtc_index_row(low);
	struct rtc_session *session = rtc_session_at(view->sessions, row);
	struct rtc_path *path = rtc_session_path(session, rtc_index_path(low));
	bool as_seen = path->flags & RTC_PATH_AGENTS;

	if (low == 0) {
		rtc_drop(decision, DROP_rtc_path_unknown);
		return;
	}
	if (stun->type == STUN_BINDING_SUCCESS && session->down_check.id == stun->id) {
		store_once(session->down_check.id, 0u);
		session->rtt_client_ms = rtc_rtt_smooth(session->rtt_client_ms, view->lb.now_ms - session->down_check.at_ms);
		store_once(path->flags, (uint8_t)(path->flags | RTC_PATH_SEEN));
		rtc_path_prove(view->sessions, row, rtc_index_path(low), view->lb.now_ms);
	} else if (rtc_consent_lost(session, view->lb.now_ms)) {
		rtc_drop(decision, DROP_rtc_consent_expired);
		return;
	}
	if (!as_seen && !(session->flags & RTC_SESSION_BOUND)) {
		rtc_drop(decision, DROP_rtc_path_unknown);
		return;
	}
	rtc_send_up(view, flow, row, as_seen, ifindex, decision);
}

/*
 * Agents may serve several services: which of them, that share the endpoint of backend row `place`, has a session by this fragment.
 * Returns the session; query->service, backend and fragment are of it. verifier: `place` is length << 48 | at << 32 | row.
 */
PACKET_FUNCTION uint32_t rtc_asked_find(const struct lb_tables *lb, struct rtc_sessions *sessions, struct rtc_index *index,
					struct rtc_scratch *scratch, uint64_t place)
{
	struct rtc_query *query;
	uint32_t row, session;

	if (!lb || !sessions || !index || !scratch)
		return 0;
	query = &scratch->query;
	row = (uint32_t)place;
	for (uint32_t i = 0; i < LB_SERVICES_PER_ENDPOINT; i++) {
		const struct lb_backend *backend = &lb->backends[row & (LB_BACKEND_ROWS - 1)];

		query->service = backend->service;
		query->backend = (uint16_t)row;
		query->fragment = rtc_fragment_hash(lb->hash_seed, backend->service, &scratch->message,
						    place >> 48 << 32 | (place >> 32 & 0xffff));
		session = rtc_fragment_find(sessions, index, query);
		if (session)
			return session;
		row = backend->next;
		if (row == 0)
			break;
	}
	return 0;
}

/*
 * Likewise, whose keys an encoded fragment was made with: 1, query->service, backend and fragment are of it. verifier: no function,
 * for Linux 6.1 rounds each stack frame up to 32 bytes, and the chain would have 544.
 */
PACKET_INLINE uint32_t rtc_asked_decode(const struct lb_tables *lb, const struct rtc_tables *rtc, struct rtc_scratch *scratch,
					uint64_t place)
{
	uint32_t row, groups, at;

	row = (uint32_t)place;
	at = (uint32_t)(place >> 32 & 0xffff);
	groups = rtc_ufrag_groups((uint32_t)(place >> 48));
#pragma GCC unroll 5
	for (uint32_t i = 0; i < RTC_UFRAG_IPV6_GROUPS; i++)
		scratch->text.group[i] = stun_words(&scratch->message, at + 8 * i);
	for (uint32_t i = 0; i < LB_SERVICES_PER_ENDPOINT && groups; i++) {
		const struct lb_backend *backend = &lb->backends[row & (LB_BACKEND_ROWS - 1)];
		const struct rtc_service *service = &rtc->services[backend->service & (LB_SERVICE_ROWS - 1)];

		if (rtc_ufrag_decode(&scratch->text, groups, &service->keys, &scratch->target) &&
		    address_equal(&scratch->target.address, &backend->address) &&
		    (backend->port.raw == 0 || backend->port.raw == scratch->target.port.raw)) {
			scratch->query.service = backend->service;
			scratch->query.backend = (uint16_t)row;
			scratch->query.fragment = rtc_fragment_hash(lb->hash_seed, backend->service, &scratch->message,
								    place >> 48 << 32 | at);
			return 1;
		}
		row = backend->next;
		if (row == 0)
			break;
	}
	return 0;
}

/*
 * The session whose agent checks an address that it was told of (its USERNAME is client:server, ours is the second half), with
 * the address as a path and an address that the agent knows; the word's low half as of RTC_INDEX_UPSTREAM. 0: none of ours.
 */
PACKET_INLINE uint32_t rtc_check_down_learn(const struct rtc_view *view, struct rtc_scratch *scratch, const struct flow *flow,
					    uint32_t backend_row)
{
	const struct stun *stun = &scratch->stun;
	struct rtc_query *query = &scratch->query;
	uint32_t colon = stun_username_colon(&scratch->message, stun->username_at, stun->username_length);
	uint32_t length = stun->username_at + stun->username_length - colon - 1, row, number, low;
	uint64_t place = (uint64_t)length << 48 | (uint64_t)(colon + 1) << 32 | backend_row;
	const struct lb_backend *backend;
	struct rtc_session *session;
	enum drop_reason reason;

	if (colon == 0 || length == 0 || length > STUN_FRAGMENT_MAX)
		return 0;
	row = rtc_asked_find(view->lb.lb, view->sessions, view->index, scratch, place);
	if (row == 0 && !rtc_asked_decode(view->lb.lb, view->rtc, scratch, place))
		return 0;
	backend = &view->lb.lb->backends[query->backend & (LB_BACKEND_ROWS - 1)];
	query->path_hash = rtc_path_hash(view->lb.lb->hash_seed, &flow->destination, flow->destination_port,
					 &view->lb.lb->services[query->service & (LB_SERVICE_ROWS - 1)]);
	query->client = flow->destination;
	query->client_port = flow->destination_port;
	query->agent = flow->source;
	query->agent_port = flow->source_port;
	query->now_ms = view->lb.now_ms;
	query->link = 0;
	query->flags = RTC_PATH_AGENTS;
	query->ipv6 = flow->network == FLOW_IPV6;
	if (row == 0 && (backend->port.raw || scratch->target.port.raw == flow->source_port.raw))
		row = rtc_session_new(view, 0, query, &reason);
	session = rtc_session_at(view->sessions, row);
	if (row == 0 || session->backend != query->backend || session->agent_port.raw != flow->source_port.raw)
		return 0;
	number = rtc_path_open(view->sessions, view->index, row, query);
	if (number >= RTC_PATHS)
		return 0;
	if (load_once(session->state) == RTC_SESSION_WAITING)
		rtc_session_wake(session, view->lb.now_ms);
	low = rtc_index_low(RTC_INDEX_UPSTREAM, number, row);
	return rtc_way_put(view->sessions, view->index,
			   rtc_upstream_hash(view->lb.lb->hash_seed, &flow->destination, flow->destination_port, &flow->source,
					     flow->source_port, flow->network == FLOW_IPV6),
			   low) ?
		       low :
		       0;
}

/* What an agent sends. */
PACKET_INLINE void rtc_stun_down_decide(const struct rtc_view *view, struct rtc_scratch *scratch, const struct flow *flow,
					uint32_t ifindex, struct decision *decision)
{
	const struct stun *stun = &scratch->stun;
	uint32_t low = rtc_upstream_find(view, flow), row = rtc_index_row(low), number;
	bool request = stun->type == STUN_BINDING_REQUEST;
	struct rtc_session *session;

	decision->action = ACTION_NONE;
	if (low == 0 && request && stun->flags & STUN_HAS_USERNAME && !stun->fault)
		low = rtc_check_down_learn(view, scratch, flow, decision->backend);
	if (low == 0) {
		decision->backend = 0;
		return;
	}
	row = rtc_index_row(low);
	session = rtc_session_at(view->sessions, row);
	number = rtc_index_path(low);
	/* A check of an address that the agent was told of goes to just there. */
	if (number >= RTC_PATHS || !request)
		number = session->current & 3;
	if (request) {
		store_once(session->down_check.at_ms, view->lb.now_ms);
		store_once(session->down_check.id, stun->id);
	} else if (stun->type == STUN_BINDING_SUCCESS || stun->type == STUN_BINDING_ERROR) {
		uint32_t asked = rtc_check_answered(view->sessions, row, stun->type == STUN_BINDING_SUCCESS,
						    (uint64_t)stun->id << 32 | view->lb.now_ms);

		if (asked < RTC_PATHS)
			number = asked;
	}
	rtc_send_down(view, flow, row, number, ifindex, decision);
}

/* --- a STUN server ------------------------------------------------------------------------------------------------------ */

/*
 * Takes one answer from the bucket of the client's address, or of its /64, and from that of all clients: DROP_NONE, or whose is empty.
 * So nobody who writes others' addresses as the source gets more out of here than that. verifier: `row_now` is row << 32 | now_ms.
 */
PACKET_FUNCTION uint32_t rtc_answers_refuse(struct lb_limiter *limiter, struct rtc_tables *rtc, const struct address *client,
					    uint64_t seed, uint64_t row_now)
{
	uint32_t row = (uint32_t)(row_now >> 32) & (LB_SERVICE_ROWS - 1), now_ms = (uint32_t)row_now;
	const struct lb_rate *rate;
	uint64_t hash;

	if (!limiter || !rtc || !client)
		return DROP_rtc_stun_limit;
	rate = &rtc->services[row].answers;
	hash = hash_word(hash_word(seed, (uint64_t)LB_LIMITS << 32 | row), rate->cost);
	hash = lb_bucket_hash(hash, client->word[0], address_is_ipv4(client) ? client->word[1] : 0);
	if (rate->cost &&
	    lb_bucket_charge(lb_bucket_place(limiter, hash, now_ms), hash >> LB_BUCKET_TAG_SHIFT, rate, now_ms) == LB_BUCKET_EMPTY)
		return DROP_rtc_stun_limit;
	rate = &rtc->services[row].answers_all;
	if (rate->cost && lb_bucket_charge(&rtc->buckets.answers[row], 1, rate, now_ms) == LB_BUCKET_EMPTY)
		return DROP_rtc_stun_limit_total;
	return DROP_NONE;
}

/* The STUN message of an answer, in words: the client's address and FINGERPRINT, or an error and the types of `unknown` attributes. */
PACKET_INLINE uint32_t rtc_answer_message_words(const struct flow *flow, uint64_t unknown)
{
	if (unknown)
		return STUN_HEADER_BYTES / 4 + 3 + (unknown >> 32 ? 2 : 1);
	return STUN_HEADER_BYTES / 4 + (flow->network == FLOW_IPV4 ? 3 : 6) + 2;
}

/* The answer's bytes from the network header on. */
PACKET_INLINE uint32_t rtc_answer_length(const struct flow *flow, uint64_t unknown)
{
	return (flow->network == FLOW_IPV4 ? (uint32_t)sizeof(struct ipv4_header) : (uint32_t)sizeof(struct ipv6_header)) +
	       (uint32_t)sizeof(struct udp_header) + 4 * rtc_answer_message_words(flow, unknown);
}

/* Of the frame; what is behind is taken away before room is made. */
PACKET_INLINE uint32_t rtc_answer_keep(const struct flow *flow, const struct decision *decision)
{
	return flow->l3_offset + rtc_answer_length(flow, decision->address.word[0]);
}

/*
 * A Binding request without USERNAME: whoever asks is told the address that it comes from, or (RFC 8489 section 6.3.1) that it asks
 * for what nobody knows here; decision->address.word[0] is stun->unknown.
 */
PACKET_INLINE void rtc_answer_decide(const struct rtc_view *view, const struct packet *packet, const struct stun *stun,
				     const struct flow *flow, uint32_t ifindex, struct decision *decision)
{
	uint32_t keep = flow->l3_offset + rtc_answer_length(flow, stun->unknown);
	uint64_t length = packet_length(packet);
	enum drop_reason reason;

	if (flow->flags & FLOW_UNWRAPPED) {
		rtc_drop(decision, DROP_rtc_stun_unsupported); /* the node that wrapped it could have answered */
		return;
	}
	reason = (enum drop_reason)rtc_answers_refuse(view->lb.limiter, view->rtc, &flow->source, view->lb.guards->seed,
						      (uint64_t)decision->service << 32 | view->lb.now_ms);
	if (reason) {
		rtc_drop(decision, reason);
		return;
	}
	decision->function = FUNCTION_RTC;
	decision->verdict = VERDICT_TX;
	decision->action = ACTION_STUN_ANSWER;
	decision->address.word[0] = stun->unknown;
	decision->ifindex = ifindex;
	decision->room = length < keep ? (int8_t)(keep - (uint32_t)length) : 0;
}

/*
 * ERROR-CODE without a phrase and UNKNOWN-ATTRIBUTES, from words[5] on; no FINGERPRINT: nobody's address shall be sent more than is
 * needed.
 */
PACKET_INLINE void rtc_answer_words_unknown(uint64_t unknown, uint32_t words[13])
{
	uint32_t types = unknown >> 48 ? 4 : unknown >> 32 ? 3 : unknown >> 16 ? 2 : 1;

	unknown <<= 16 * (4 - types);
	words[5] = __builtin_bswap32((uint32_t)STUN_ERROR_CODE << 16 | 4);
	words[6] = __builtin_bswap32(STUN_UNKNOWN_ATTRIBUTE / 100 << 8 | STUN_UNKNOWN_ATTRIBUTE % 100);
	words[7] = __builtin_bswap32((uint32_t)STUN_UNKNOWN_ATTRIBUTES << 16 | 2 * types);
	words[8] = __builtin_bswap32((uint32_t)(unknown >> 32));
	words[9] = __builtin_bswap32((uint32_t)unknown);
}

/* The words of the STUN message. */
PACKET_INLINE void rtc_answer_words(const struct flow *flow, uint64_t unknown, const uint32_t id[3], uint32_t words[13])
{
	uint32_t magic = __builtin_bswap32(STUN_MAGIC), count = rtc_answer_message_words(flow, unknown), crc = 0xffffffff;
	bool ipv4 = flow->network == FLOW_IPV4;

	words[0] = __builtin_bswap32((uint32_t)(unknown ? STUN_BINDING_ERROR : STUN_BINDING_SUCCESS) << 16 |
				     (4 * count - STUN_HEADER_BYTES));
	words[1] = magic;
	words[2] = id[0];
	words[3] = id[1];
	words[4] = id[2];
	if (unknown) {
		rtc_answer_words_unknown(unknown, words);
		return;
	}
	words[5] = __builtin_bswap32((uint32_t)STUN_XOR_MAPPED_ADDRESS << 16 | (ipv4 ? 8 : 20));
	words[6] = __builtin_bswap32((ipv4 ? 1u : 2u) << 16 | (be16_get(flow->source_port) ^ STUN_MAGIC >> 16));
	if (ipv4) {
		words[7] = address_ipv4(&flow->source) ^ magic;
	} else {
		words[7] = (uint32_t)flow->source.word[0] ^ magic;
		words[8] = (uint32_t)(flow->source.word[0] >> 32) ^ id[0];
		words[9] = (uint32_t)flow->source.word[1] ^ id[1];
		words[10] = (uint32_t)(flow->source.word[1] >> 32) ^ id[2];
	}
#pragma GCC unroll 11
	for (uint32_t i = 0; i < 11; i++) {
		if (i < (ipv4 ? 8 : 11))
			crc = stun_crc_word(crc, words[i]);
	}
	words[ipv4 ? 8 : 11] = __builtin_bswap32((uint32_t)STUN_FINGERPRINT << 16 | 4);
	words[ipv4 ? 9 : 12] = __builtin_bswap32(~crc ^ STUN_FINGERPRINT_XOR);
}

/* Writes the answer in the request's place: all of it anew but the VLAN tags. */
PACKET_INLINE void rtc_answer_write(const struct packet *packet, const struct flow *flow, const struct decision *decision)
{
	uint32_t room = (uint32_t)decision->room, l3 = flow->l3_offset, l4, words[13] = {0}, id[3], count;
	const struct ethernet_header *ethernet = packet_header(packet, room, sizeof(*ethernet));
	const struct stun_header *request =
		packet_header(packet, flow->l4_offset + room + (uint32_t)sizeof(struct udp_header), sizeof(*request));
	bool ipv4 = flow->network == FLOW_IPV4;
	uint64_t unknown = decision->address.word[0];
	uint32_t length = rtc_answer_length(flow, unknown);
	struct udp_header *udp;
	uint32_t *place;
	struct egress egress = {0};
	uint64_t sum;

	if (!ethernet || !request)
		return;
	egress.destination_mac = mac_word(ethernet->source);
	egress.source_mac = mac_word(ethernet->destination);
	id[0] = request->id[0].raw;
	id[1] = request->id[1].raw;
	id[2] = request->id[2].raw;
	count = rtc_answer_message_words(flow, unknown);
	rtc_answer_words(flow, unknown, id, words);
	if (!flow_link_write(packet, &egress, flow->tags, l3, ipv4 ? BE16(ETHERTYPE_IPV4) : BE16(ETHERTYPE_IPV6)))
		return;
	if (ipv4) {
		struct ipv4_header *header = packet_header(packet, l3, sizeof(*header));

		if (!header)
			return;
		*header = (struct ipv4_header){.version_ihl = 0x45, .total_length = be16_from((uint16_t)length),
					       .fragment = {BE16(IPV4_DONT_FRAGMENT)}, .ttl = 64, .protocol = PROTOCOL_UDP};
		header->source.raw = address_ipv4(&flow->destination);
		header->destination.raw = address_ipv4(&flow->source);
		sum = 0x45 + (uint64_t)be16_from((uint16_t)length).raw + BE16(IPV4_DONT_FRAGMENT) + (64 | PROTOCOL_UDP << 8) +
		      checksum_fold((uint64_t)header->source.raw + header->destination.raw);
		header->checksum = (uint16_t)~checksum_fold(sum);
		l4 = l3 + (uint32_t)sizeof(*header);
	} else {
		struct ipv6_header *header = packet_header(packet, l3, sizeof(*header));

		if (!header)
			return;
		header->version_class_label = be32_from(0x60000000);
		header->payload_length = be16_from((uint16_t)(length - sizeof(*header)));
		header->next_header = PROTOCOL_UDP;
		header->hop_limit = 64;
		address_to_wire6(header->source, &flow->destination);
		address_to_wire6(header->destination, &flow->source);
		l4 = l3 + (uint32_t)sizeof(*header);
	}
	length -= l4 - l3;
	udp = packet_header(packet, l4, sizeof(*udp));
	if (!udp)
		return;
	/* the mapped form's constant part is not in an IPv4 pseudo header */
	sum = ipv4 ? (uint64_t)address_ipv4(&flow->source) + address_ipv4(&flow->destination) :
		     checksum_address(&flow->source) + checksum_address(&flow->destination);
	sum += BE16(PROTOCOL_UDP) + 2ull * be16_from((uint16_t)length).raw;
	sum += (uint64_t)flow->source_port.raw + flow->destination_port.raw;
#pragma GCC unroll 13
	for (uint32_t i = 0; i < 13; i++)
		sum += words[i];
	udp->source_port = flow->destination_port;
	udp->destination_port = flow->source_port;
	udp->length = be16_from((uint16_t)length);
	udp->checksum = (uint16_t)~checksum_fold(sum);
	if (udp->checksum == 0)
		udp->checksum = 0xffff;
#pragma GCC unroll 13
	for (uint32_t i = 0; i < 13; i++) {
		place = packet_header(packet, l4 + (uint32_t)sizeof(*udp) + 4 * i, 4);
		if (i >= count || !place)
			break;
		unaligned(uint32_t, place) = words[i];
	}
}

/* --- a message ---------------------------------------------------------------------------------------------------------- */

/* What a client sends. */
PACKET_INLINE void rtc_stun_up_decide(const struct rtc_view *view, const struct packet *packet, struct rtc_scratch *scratch,
				      const struct flow *flow, uint32_t ifindex, struct decision *decision)
{
	const struct stun *stun = &scratch->stun;

	decision->action = ACTION_NONE;
	if (stun->fault)
		rtc_drop(decision, stun->fault == STUN_MALFORMED ? DROP_rtc_stun_malformed : DROP_rtc_stun_fingerprint);
	else if (stun->type == STUN_BINDING_REQUEST && stun->flags & STUN_HAS_USERNAME)
		rtc_check_up_decide(view, packet, scratch, flow, ifindex, decision);
	else if (stun->type == STUN_BINDING_REQUEST)
		rtc_answer_decide(view, packet, stun, flow, ifindex, decision);
	else if (stun->type == STUN_BINDING_SUCCESS || stun->type == STUN_BINDING_ERROR || stun->type == STUN_BINDING_INDICATION)
		rtc_answer_up_decide(view, stun, flow, ifindex, decision);
	else
		rtc_drop(decision, DROP_rtc_stun_unsupported);
}

/*
 * Media by another path than the one in use, of a session whose SRTP is verified; or from an address that no path is of: DECISION_MORE
 * and ACTION_MEDIA_UP when it may go on.
 */
PACKET_INLINE void rtc_heal_decide(const struct rtc_view *view, const struct packet *packet, struct rtc_scratch *scratch,
				   const struct flow *flow, uint32_t ifindex, struct decision *decision)
{
	struct rtc_head head = rtc_head_read(packet, flow->l4_offset + (uint32_t)sizeof(struct udp_header), sizeof(struct rtp_header));
	uint32_t row = decision->session, number = decision->heard & RTC_HEARD_PATH, verdict = RTC_SRTP_UNKNOWN;
	struct rtc_query *query = &scratch->query;
	struct rtc_session *session;
	bool known = row != 0;

	rtc_query_begin(view, query, &flow->source, flow->source_port, decision->service);
	query->ssrc = head.ssrc;
	query->sequence = head.sequence;
	query->link = neighbour_link(ifindex, flow->vlan);
	query->flags = RTC_PATH_HEALING;
	if (!known)
		row = rtc_heal(view->sessions, view->index, query, view->lb.lb->hash_seed);
	session = rtc_session_at(view->sessions, row);
	if (row && session->flags & RTC_SESSION_KEYED)
		verdict = rtc_srtp_judge(view->sessions, &view->rtc->srtp[row & (RTC_SESSION_ROWS - 1)], scratch, row);
	/* A key that was told wrong ends no call: whoever is at a proven path had an answer. */
	if (verdict == RTC_SRTP_WRONG && !(decision->heard & RTC_HEARD_PROVEN)) {
		decision->session = row;
		rtc_drop(decision, DROP_rtc_srtp_tag);
		return;
	}
	/* A copy of what the client sent by its own path opens none. */
	if (!known && (row == 0 || verdict == RTC_SRTP_OLD ||
		       (number = rtc_path_open(view->sessions, view->index, row, query)) >= RTC_PATHS)) {
		rtc_drop(decision, DROP_rtc_path_unknown);
		return;
	}
	if (verdict == RTC_SRTP_WRONG) {
		decision->heard = RTC_HEARD_WRONG;
	} else if (verdict != RTC_SRTP_UNKNOWN) {
		rtc_path_verified(view->sessions, row, number | (verdict == RTC_SRTP_NEWER ? 0x100 : 0), view->lb.now_ms);
		decision->heard = RTC_HEARD_VERIFIED;
	}
	decision->action = ACTION_MEDIA_UP;
	decision->flags |= DECISION_MORE;
	decision->session = row;
	if (!known && session->healed != 0xffff)
		session->healed++;
}

/* ACTION_STUN_UP, ACTION_STUN_DOWN and ACTION_MEDIA_HEAL, whose datagram the host has put into `scratch`; with DECISION_MORE. */
PACKET_INLINE void rtc_learn_decide(const struct rtc_view *view, const struct packet *packet, struct rtc_scratch *scratch,
				    const struct flow *flow, uint32_t ifindex, struct decision *decision)
{
	uint8_t action = decision->action;

	decision->flags &= (uint8_t)~DECISION_MORE;
	if (action == ACTION_MEDIA_HEAL) {
		rtc_heal_decide(view, packet, scratch, flow, ifindex, decision);
		return;
	}
	scratch->stun = (struct stun){0};
	stun_read(&scratch->message, &scratch->stun);
	if (action == ACTION_STUN_UP)
		rtc_stun_up_decide(view, packet, scratch, flow, ifindex, decision);
	else
		rtc_stun_down_decide(view, scratch, flow, ifindex, decision);
}

/* --- writing ------------------------------------------------------------------------------------------------------------ */

/* What new service bits (DSCP) add to the sum of the IPv4 header's words. */
PACKET_INLINE uint64_t rtc_write_dscp(const struct packet *packet, const struct flow *flow, uint32_t l3, uint8_t dscp)
{
	if (dscp == RTC_DSCP_KEEP)
		return 0;
	dscp--;
	if (flow->network == FLOW_IPV4) {
		struct ipv4_header *ipv4 = packet_header(packet, l3, sizeof(*ipv4));
		uint16_t old;

		if (!ipv4)
			return 0;
		old = (uint16_t)(ipv4->version_ihl | ipv4->tos << 8);
		ipv4->tos = (uint8_t)(dscp << 2 | (ipv4->tos & 3));
		return checksum_exchange16(old, (uint16_t)(ipv4->version_ihl | ipv4->tos << 8));
	} else {
		struct ipv6_header *ipv6 = packet_header(packet, l3, sizeof(*ipv6));

		if (ipv6)
			ipv6->version_class_label = be32_from((be32_get(ipv6->version_class_label) & 0xf03fffffu) | (uint32_t)dscp << 22);
		return 0;
	}
}

/*
 * ACTION_MEDIA_UP, ACTION_MEDIA_DOWN: both ends are rewritten. One end is written as NAT writes it, then the other one here. Returns
 * what the UDP header's checksum still needs.
 */
PACKET_INLINE struct lb_exchange rtc_media_write(const struct packet *packet, const struct flow *flow, const struct decision *decision,
						 struct rtc_sessions *sessions, const struct lb_service *service)
{
	const struct rtc_session *session = rtc_session_at(sessions, decision->session);
	bool up = decision->action == ACTION_MEDIA_UP;
	uint32_t l3 = (uint32_t)((int32_t)flow->l3_offset + decision->room);
	uint32_t l4 = (uint32_t)((int32_t)flow->l4_offset + decision->room);
	struct decision one = *decision;
	struct lb_exchange exchange = {0};
	uint64_t header, other = 0;
	struct be16 *ports, *port;
	struct address address;
	struct be16 number;

	/* The end that is not NAT's: up, the source; down, the destination. */
	if (up && decision->as_seen) {
		address = flow->source;
		number = flow->source_port;
	} else if (up) {
		address = session->upstream;
		number = session->upstream_port;
	} else {
		address = decision->address;
		number = decision->port;
		one.address = service->address;
		one.port = service->port_first;
	}
	one.action = up ? ACTION_NAT_FORWARD : ACTION_NAT_REVERSE;
	exchange = lb_write_network(packet, flow, &one);
	lb_write_transport(packet, flow, &one, &exchange);
	header = rtc_write_dscp(packet, flow, l3, decision->dscp);
	if (flow->network == FLOW_IPV4) {
		struct ipv4_header *ipv4 = packet_header(packet, l3, sizeof(*ipv4));
		uint32_t old, now = address_ipv4(&address);

		if (!ipv4)
			return exchange;
		old = up ? ipv4->source.raw : ipv4->destination.raw;
		other = (uint64_t)(uint32_t)~old + now;
		if (up)
			ipv4->source.raw = now;
		else
			ipv4->destination.raw = now;
		ipv4->checksum = checksum_update(ipv4->checksum, header + other);
	} else {
		struct ipv6_header *ipv6 = packet_header(packet, l3, sizeof(*ipv6));

		if (!ipv6)
			return exchange;
		other = checksum_exchange_address(up ? &flow->source : &flow->destination, &address);
		if (up)
			address_to_wire6(ipv6->source, &address);
		else
			address_to_wire6(ipv6->destination, &address);
	}
	exchange.pseudo += other;
	ports = packet_header(packet, l4, 4);
	if (!ports)
		return exchange;
	port = up ? &ports[0] : &ports[1];
	exchange.direct += checksum_exchange16(port->raw, number.raw);
	*port = number;
	return exchange;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/perf/bench_site.h"

#include <string.h>

#include "base/packet/checksum.h"
#include "base/packet/flow.h"
#include "edge/edge_fast.h"
#include "lb/lb_fast.h"
#include "rtc/rtc_program.h"

#define CLIENT_MAC 0x665544332202ull  /* the gateway of clients, and clients on the link */
#define NODE_MAC 0x010000000002ull    /* 02:00:00:00:00:01 */
#define BACKEND_MAC 0x150000000002ull
#define VIP_PORT 7000
#define GUE_VIP_PORT 7001
#define IPIP6_VIP_PORT 7002
#define CLIENT_PORT 40000
#define AGENT_PORT 7100
#define CALL_PORT 3478
#define MOVED_CALL_PORT 3479 /* whose packets are marked, so that both ends are written */

static struct address v4(uint32_t host_order)
{
	return address_from_ipv4(__builtin_bswap32(host_order));
}

static struct address v6(uint16_t net, uint32_t host)
{
	uint8_t bytes[16] = {0x20, 0x01, 0x0d, 0xb8, (uint8_t)(net >> 8), (uint8_t)net};
	struct address address;

	host = __builtin_bswap32(host);
	memcpy(bytes + 12, &host, 4);
	memcpy(&address, bytes, sizeof(address));
	return address;
}

#define BENCH_NOW_MS (BENCH_EPOCH * EDGE_EPOCH_MS)

#define VIP4 v4(0xc0000264)     /* 192.0.2.100 */
#define VIP6 v6(1, 0x100)
#define FAR_CLIENT4 0x0a000000u /* 10.0.0.0/8, behind the gateway */
#define FAR_CLIENT6 0x00010000u
#define NEAR_CLIENT4 0x64400000u /* 100.64.0.0/10, on the link */

static const struct egress client_egress = {CLIENT_MAC, NODE_MAC, BENCH_CLIENT_LINK, 0, EGRESS_RESOLVED};
static const struct egress near_egress = {0, NODE_MAC, BENCH_CLIENT_LINK, 0, EGRESS_ON_LINK};

/* --- tables --- */

struct site {
	struct link_wanted links[2];
	struct route_wanted routes[3];
	struct vip_wanted vips[2];
	struct lb_backend_wanted backends[2][BENCH_BACKENDS], gue[BENCH_BACKENDS], ipip6[BENCH_BACKENDS];
	struct lb_backend_wanted agents[BENCH_BACKENDS];
	struct lb_service_wanted services[8];
};

static void backends_fill(struct lb_backend_wanted *backends, bool ipv6)
{
	for (uint32_t i = 0; i < BENCH_BACKENDS; i++) {
		backends[i] = (struct lb_backend_wanted){
			.address = ipv6 ? v6(2, 0x21 + i) : v4(0xcb007115 + i), /* 203.0.113.21 and on */
			.port = VIP_PORT,
			.weight = LB_WEIGHT_UNIT,
			.weight_full = LB_WEIGHT_UNIT,
			.state = LB_BACKEND_UP,
			.egress = {BACKEND_MAC + ((uint64_t)i << 40), NODE_MAC, BENCH_BACKEND_LINK, 0, EGRESS_RESOLVED},
			.name = "bench",
		};
	}
}

static void services_fill(struct site *site)
{
	for (uint32_t i = 0; i < 4; i++) {
		bool ipv6 = i & 1;

		site->services[i] = (struct lb_service_wanted){
			.address = ipv6 ? VIP6 : VIP4,
			.port_first = VIP_PORT,
			.port_last = VIP_PORT,
			.protocol = i < 2 ? PROTOCOL_UDP : PROTOCOL_TCP,
			.affinity_epochs = 10,
			.udp_idle_epochs = 10,
			.backends = site->backends[ipv6],
			.backend_count = BENCH_BACKENDS,
			.name = "bench",
		};
	}
	/* UDP over IPv4 to backends behind tunnels. */
	for (uint32_t i = 0; i < BENCH_BACKENDS; i++) {
		site->gue[i] = site->ipip6[i] = site->backends[0][i];
		site->gue[i].mtu = site->ipip6[i].mtu = 1500;
		site->gue[i].tunnel = LB_TUNNEL_GUE;
		site->gue[i].tunnel_source = v4(0xcb007101);
		site->gue[i].tunnel_destination = site->gue[i].address;
		site->ipip6[i].tunnel = LB_TUNNEL_IPIP;
		site->ipip6[i].tunnel_source = v6(2, 1);
		site->ipip6[i].tunnel_destination = v6(2, 0x21 + i);
	}
	site->services[4] = site->services[5] = site->services[0];
	site->services[4].port_first = site->services[4].port_last = GUE_VIP_PORT;
	site->services[4].backends = site->gue;
	site->services[5].port_first = site->services[5].port_last = IPIP6_VIP_PORT;
	site->services[5].backends = site->ipip6;
	site->services[6] = site->services[7] = site->services[0];
	site->services[6].port_first = site->services[6].port_last = CALL_PORT;
	site->services[7].port_first = site->services[7].port_last = MOVED_CALL_PORT;
	site->services[6].media = site->services[7].media = true;
	site->services[6].media_wanted = (struct lb_media_wanted){.dscp_up = 255, .dscp_down = 255};
	site->services[7].media_wanted = (struct lb_media_wanted){.dscp_up = 46, .dscp_down = 46};
	/* of their own, or answers of the others would be asked of calls */
	for (uint32_t i = 0; i < BENCH_BACKENDS; i++) {
		site->agents[i] = site->backends[0][i];
		site->agents[i].port = AGENT_PORT;
	}
	site->services[6].backends = site->services[7].backends = site->agents;
}

static void quiesce_none(const struct edge_host *host)
{
	(void)host;
}

static uint32_t epoch_fixed(const struct edge_host *host)
{
	(void)host;
	return BENCH_EPOCH;
}

static uint32_t now_fixed(const struct edge_host *host)
{
	(void)host;
	return BENCH_NOW_MS;
}

int bench_site_apply(const struct edge_tables *tables, uint32_t counter_sets, struct error *error)
{
	static const struct edge_host host = {quiesce_none, epoch_fixed, now_fixed};
	_cleanup_(edge_program_freep) struct edge_program *program = edge_program_new(tables, counter_sets, &host);
	struct edge_changes changes;
	struct site site = {
		.links = {{.ifindex = BENCH_CLIENT_LINK, .mac = NODE_MAC, .announce = 1},
			  {.ifindex = BENCH_BACKEND_LINK, .mac = NODE_MAC, .announce = 2}},
		.vips = {{VIP4, true, 3}, {VIP6, true, 3}},
		.routes = {{{v4(NEAR_CLIENT4), 10}, near_egress},
			   {{v4(0), 0}, client_egress},
			   {{{{0, 0}}, 0}, client_egress}},
	};
	struct edge_wanted wanted = {.hash_seed = 0x5e17a9e, .links = site.links, .link_count = 2, .routes = site.routes,
				     .route_count = 3, .vips = site.vips, .vip_count = 2, .services = site.services,
				     .service_count = 8};

	if (!program)
		return error_set(error, ENOMEM, "no memory");
	backends_fill(site.backends[0], false);
	backends_fill(site.backends[1], true);
	services_fill(&site);
	store_once(tables->config->epoch_override, BENCH_EPOCH + 1);
	store_once(tables->config->now_override, BENCH_NOW_MS + 1);
	return edge_program_apply(program, &wanted, &changes, error);
}

/* As a client's check and the agent's answer to it would have. */
static bool session_make(const struct edge_tables *tables, uint32_t client, uint16_t service_row, uint16_t backend_row)
{
	const struct lb_service *service = &tables->lb->services[service_row];
	const struct lb_backend *backend = &tables->lb->backends[backend_row];
	struct rtc_query query = {
		.client = v4(FAR_CLIENT4 + client),
		.client_port = {bench_client_port(client)},
		.fragment = hash_finish(client + 1),
		.agent = backend->address,
		.agent_port = backend->port,
		.now_ms = BENCH_NOW_MS,
		.service = service_row,
		.backend = backend_row,
		.flags = RTC_PATH_SEEN | RTC_PATH_PROVEN,
	};
	struct stun_message message = {.bytes = "benc"};
	struct rtc_session *session;
	uint32_t row;

	if (client == BENCH_SESSIONS_MAX)
		query.fragment = rtc_fragment_hash(tables->lb->hash_seed, service_row, &message, 4ull << 32);
	query.path_hash = rtc_path_hash(tables->lb->hash_seed, &query.client, query.client_port, service);
	row = rtc_session_begin(tables->rtc, tables->sessions, tables->index, &query);
	if (row == 0 || rtc_path_open(tables->sessions, tables->index, row, &query) != 0 ||
	    !rtc_session_bind(tables->sessions, tables->index, row, &query, tables->lb->hash_seed))
		return false;
	session = &tables->sessions->rows[row];
	session->up.received = session->down.received = 1;
	session->up.ssrc = session->down.ssrc = 0x11223344;
	session->up.highest = session->up.base = session->down.highest = session->down.base = 0x10001;
	session->up.khz = session->down.khz = 48;
	return true;
}

int bench_sessions_make(const struct edge_tables *tables, uint32_t count, struct error *error)
{
	uint16_t services[2] = {0}, backends[2] = {0};

	memset(tables->sessions, 0, sizeof(*tables->sessions));
	memset(tables->index, 0, sizeof(*tables->index));
	tables->rtc->free.head = 0;
	for (uint16_t row = 1; row < LB_SERVICE_ROWS; row++) {
		if (tables->lb->services[row].flags & LB_SERVICE_MEDIA)
			services[be16_get(tables->lb->services[row].port_first) == MOVED_CALL_PORT] = row;
	}
	for (uint16_t row = 1; row < LB_BACKEND_ROWS; row++) {
		for (uint32_t i = 0; i < 2; i++) {
			if (tables->lb->backends[row].service == services[i] &&
			    tables->lb->backends[row].address.word[1] == v4(0xcb007115).word[1])
				backends[i] = row;
		}
	}
	if (!session_make(tables, BENCH_SESSIONS_MAX, services[1], backends[1]))
		return error_set(error, EINVAL, "no session could be made");
	for (uint32_t client = 0; client < count; client++) {
		if (!session_make(tables, client, services[0], backends[0]))
			return error_set(error, EINVAL, "session %u could not be made", client);
	}
	return 0;
}

void bench_frame_next(const struct bench_case *way, uint32_t *turn, uint32_t *random, uint8_t ret_frame[static 128])
{
	memcpy(ret_frame, way->frame, sizeof(way->frame));
	if (way->vary.flows) {
		uint32_t client = bench_client_next(&way->vary, turn, random);
		uint32_t address = __builtin_bswap32(way->vary.source_base + client);
		uint16_t port = bench_client_port(client);

		memcpy(ret_frame + BENCH_SOURCE_OFFSET + (way->vary.downward ? BENCH_DOWN_ADDRESS : 0), &address, sizeof(address));
		memcpy(ret_frame + BENCH_PORT_OFFSET + (way->vary.downward ? BENCH_DOWN_PORT : 0), &port, sizeof(port));
	}
}

void bench_flows_clear(const struct edge_tables *tables)
{
	memset(tables->flows, 0, sizeof(*tables->flows));
	memset(tables->filter, 0, sizeof(*tables->filter));
}

void bench_flows_establish(const struct edge_tables *tables)
{
	uint64_t *words = tables->flows->words[0];

	for (size_t i = 0; i < sizeof(*tables->flows) / sizeof(*words); i++)
		words[i] &= ~(uint64_t)LB_FLOW_FRESH;
}

uint32_t bench_flows_unmarked(const struct edge_tables *tables, const struct bench_case *udp_hit, uint32_t flows)
{
	uint32_t unmarked = 0;

	for (uint32_t client = 0; client < flows; client++) {
		struct address source = v4(udp_hit->vary.source_base + client), vip = VIP4;
		struct be16 port = {bench_client_port(client)};
		uint64_t hash = lb_flow_hash(tables->lb->hash_seed, &source, port, &vip, be16_from(VIP_PORT), PROTOCOL_UDP,
					     false);

		unmarked += !lb_filter_test(tables->filter, hash, BENCH_EPOCH);
	}
	return unmarked;
}

/* --- frames --- */

static void *frame_add(struct bench_case *bench, uint32_t length)
{
	void *part = bench->frame + bench->length;

	bench->length += length;
	return part;
}

static void frame_link(struct bench_case *bench, uint64_t destination, uint64_t source, uint16_t ethertype)
{
	struct ethernet_header *ethernet = frame_add(bench, sizeof(*ethernet));

	mac_store(ethernet->destination, destination);
	mac_store(ethernet->source, source);
	ethernet->ethertype = be16_from(ethertype);
}

static void frame_ip(struct bench_case *bench, uint8_t protocol, struct address source, struct address destination,
		     uint16_t payload)
{
	if (address_is_ipv4(&source)) {
		struct ipv4_header *ipv4 = frame_add(bench, sizeof(*ipv4));
		uint16_t words[sizeof(*ipv4) / 2];
		uint64_t sum = 0;

		ipv4->version_ihl = 0x45;
		ipv4->total_length = be16_from((uint16_t)(sizeof(*ipv4) + payload));
		ipv4->ttl = 64;
		ipv4->protocol = protocol;
		ipv4->source.raw = address_ipv4(&source);
		ipv4->destination.raw = address_ipv4(&destination);
		memcpy(words, ipv4, sizeof(words));
		for (size_t i = 0; i < array_length(words); i++)
			sum += words[i];
		ipv4->checksum = (uint16_t)~checksum_fold(sum);
	} else {
		struct ipv6_header *ipv6 = frame_add(bench, sizeof(*ipv6));

		ipv6->version_class_label = be32_from(0x60000000);
		ipv6->payload_length = be16_from(payload);
		ipv6->next_header = protocol;
		ipv6->hop_limit = protocol == PROTOCOL_ICMPV6 ? 255 : 64;
		memcpy(ipv6->source, &source, sizeof(source));
		memcpy(ipv6->destination, &destination, sizeof(destination));
	}
}

/* The checksum is any that is not zero: the program updates it and does not judge it. */
static void frame_udp(struct bench_case *bench, struct address source, uint16_t from, struct address destination,
		      uint16_t to)
{
	const uint16_t length = sizeof(struct udp_header) + 60;
	bool ipv4 = address_is_ipv4(&source);
	struct udp_header *udp;

	frame_link(bench, NODE_MAC, CLIENT_MAC, ipv4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
	frame_ip(bench, PROTOCOL_UDP, source, destination, length);
	udp = frame_add(bench, length);
	*udp = (struct udp_header){be16_from(from), be16_from(to), be16_from(length), 0x1234};
}

/* What the data of a call's datagram begins with. */
static void frame_media(struct bench_case *bench, struct address source, struct be16 from, struct address destination,
			struct be16 to)
{
	static const uint8_t rtp[12] = {0x80, 111, 0, 1, 0, 0, 3, 0xc0, 0x11, 0x22, 0x33, 0x44};
	uint8_t *data;

	frame_udp(bench, source, be16_get(from), destination, be16_get(to));
	data = bench->frame + bench->length - 60;
	memcpy(data, rtp, sizeof(rtp));
}

/* A call's check: USERNAME, something that a client says of itself, FINGERPRINT. */
static void frame_check(struct bench_case *bench, struct address source, struct be16 from, uint16_t to)
{
	static const uint8_t begin[52] = {0, 1, 0, 40, 0x21, 0x12, 0xa4, 0x42, [20] = 0, 6, 0, 9, 'b', 'e', 'n', 'c', ':', 'e', 'f', 'g', 'h',
					  [36] = 0x80, 0x22, 0, 12};
	struct stun_message message = {.length = 60};
	uint8_t *data;
	uint32_t crc;

	frame_udp(bench, source, be16_get(from), VIP4, to);
	data = bench->frame + bench->length - 60;
	memcpy(message.bytes, begin, sizeof(begin));
	crc = __builtin_bswap32(stun_crc(&message, sizeof(begin)) ^ STUN_FINGERPRINT_XOR);
	memcpy(data, begin, sizeof(begin));
	memcpy(data + sizeof(begin), (const uint8_t[]){0x80, 0x28, 0, 4}, 4);
	memcpy(data + sizeof(begin) + 4, &crc, sizeof(crc));
}

static void frame_tcp(struct bench_case *bench, uint8_t flags)
{
	struct tcp_header *tcp;

	frame_link(bench, NODE_MAC, CLIENT_MAC, ETHERTYPE_IPV4);
	frame_ip(bench, PROTOCOL_TCP, v4(FAR_CLIENT4 + 9), VIP4, sizeof(*tcp) + 48);
	tcp = frame_add(bench, sizeof(*tcp) + 48);
	*tcp = (struct tcp_header){.source_port = be16_from(CLIENT_PORT), .destination_port = be16_from(VIP_PORT),
				   .data_offset = 5 << 4, .flags = flags, .checksum = 0x1234};
}

static void frame_arp(struct bench_case *bench)
{
	struct arp_packet *arp;

	frame_link(bench, MAC_WORD_MASK, CLIENT_MAC, ETHERTYPE_ARP);
	arp = frame_add(bench, sizeof(*arp));
	arp->hardware_type = be16_from(1);
	arp->protocol_type = be16_from(ETHERTYPE_IPV4);
	arp->hardware_length = 6;
	arp->protocol_length = 4;
	arp->operation = be16_from(ARP_REQUEST);
	mac_store(arp->sender_mac, CLIENT_MAC);
	arp->sender_ip.raw = address_ipv4(&(struct address){{0, v4(NEAR_CLIENT4 + 1).word[1]}});
	arp->target_ip.raw = address_ipv4(&(struct address){{0, VIP4.word[1]}});
	bench->length = BENCH_FRAME_BYTES; /* padded, like every frame of the benchmark */
}

static void frame_ns(struct bench_case *bench)
{
	struct address source = v6(1, 0x101), target = VIP6, group = target;
	struct nd_link_option *option;
	struct nd_message *message;
	uint16_t words[(sizeof(*message) + sizeof(*option)) / 2];
	uint64_t sum;

	group.word[0] = 0x02ff;
	group.word[1] = (target.word[1] & 0xffffff0000000000ull) | 0xff01000000ull;
	frame_link(bench, 0x3333ull | 0xffull << 16 | (target.word[1] >> 40 << 24), CLIENT_MAC, ETHERTYPE_IPV6);
	frame_ip(bench, PROTOCOL_ICMPV6, source, group, sizeof(words));
	message = frame_add(bench, sizeof(*message));
	option = frame_add(bench, sizeof(*option));
	message->type = ICMPV6_NEIGHBOUR_SOLICITATION;
	memcpy(message->target, &target, sizeof(target));
	option->type = ND_OPTION_SOURCE_LINK_ADDRESS;
	option->length = 1;
	mac_store(option->mac, CLIENT_MAC);
	memcpy(words, message, sizeof(words));
	sum = checksum_address(&source) + checksum_address(&group) + __builtin_bswap16(sizeof(words)) +
	      __builtin_bswap16(PROTOCOL_ICMPV6);
	for (size_t i = 0; i < array_length(words); i++)
		sum += words[i];
	message->checksum = (uint16_t)~checksum_fold(sum);
	bench->length = BENCH_FRAME_BYTES;
}

/* Whom the ring gives the known flow to. */
static struct address backend_of_client(const struct edge_tables *tables)
{
	struct address client = v4(FAR_CLIENT4 + 9), vip = VIP4;
	uint64_t hash = lb_flow_hash(tables->lb->hash_seed, &client, be16_from(CLIENT_PORT), &vip, be16_from(VIP_PORT),
				     PROTOCOL_UDP, false);
	struct flow flow = {.destination = vip, .destination_port = be16_from(VIP_PORT), .network = FLOW_IPV4,
			    .protocol = PROTOCOL_UDP};
	uint32_t service = lb_service_find(tables->lb, &flow);

	return tables->lb->backends[lb_ring_ask(tables->rings, &tables->lb->services[service], hash) & LB_SLOT_BACKEND]
		.address;
}

void bench_cases_init(const struct edge_tables *tables, struct bench_case *cases)
{
	static const struct bench_config vary4 = {.sequential = 1, .source_base = FAR_CLIENT4};
	struct bench_config many = vary4, near = vary4;

	many.flows = near.flows = 1u << 20;
	near.source_base = NEAR_CLIENT4;
	memset(cases, 0, BENCH_WAYS * sizeof(*cases));
	cases[BENCH_ARP] = (struct bench_case){"arp", "ARP answer", VERDICT_TX, BENCH_CLIENT_LINK};
	cases[BENCH_NS] = (struct bench_case){"ns", "neighbour solicitation answer", VERDICT_TX, BENCH_CLIENT_LINK};
	cases[BENCH_UDP_HIT] = (struct bench_case){"udp_hit", "UDP, known flow", VERDICT_REDIRECT, BENCH_CLIENT_LINK, 65,
						   .vary = vary4};
	cases[BENCH_UDP_NEW] = (struct bench_case){"udp_new", "UDP, every packet a new flow", VERDICT_REDIRECT,
						   BENCH_CLIENT_LINK, 200, .new_flows = true, .vary = many};
	cases[BENCH_UDP_NEW_ON_LINK] =
		(struct bench_case){"udp_new_on_link", "the same, clients on the link", VERDICT_REDIRECT, BENCH_CLIENT_LINK,
				    .new_flows = true, .vary = near};
	cases[BENCH_UDP_EPOCH] = (struct bench_case){"udp_epoch", "UDP, known flow, first packet in an epoch",
						     VERDICT_REDIRECT, BENCH_CLIENT_LINK, .vary = {.new_epochs = 1}};
	cases[BENCH_TCP_SYN] = (struct bench_case){"tcp_syn", "TCP SYN, every one a new flow", VERDICT_REDIRECT,
						   BENCH_CLIENT_LINK, 200, .new_flows = true, .vary = many};
	cases[BENCH_TCP_HIT] = (struct bench_case){"tcp_hit", "TCP, known flow", VERDICT_REDIRECT, BENCH_CLIENT_LINK,
						   .vary = vary4};
	cases[BENCH_UDP6_HIT] = (struct bench_case){"udp6_hit", "UDP over IPv6, known flow", VERDICT_REDIRECT,
						    BENCH_CLIENT_LINK};
	cases[BENCH_UDP_GUE] = (struct bench_case){"udp_gue", "UDP, known flow, wrapped by GUE", VERDICT_REDIRECT, BENCH_CLIENT_LINK, 120};
	cases[BENCH_UDP_IPIP6] = (struct bench_case){"udp_ipip6", "UDP, known flow, wrapped in IPv6", VERDICT_REDIRECT,
						     BENCH_CLIENT_LINK, 120};
	cases[BENCH_REVERSE] = (struct bench_case){"reverse", "answer of a backend", VERDICT_REDIRECT, BENCH_BACKEND_LINK};
	cases[BENCH_NOT_OURS] = (struct bench_case){"not_ours", "UDP to another address: passes", VERDICT_PASS,
						    BENCH_CLIENT_LINK};
	cases[BENCH_MEDIA_UP] = (struct bench_case){"media_up", "RTP of a call to its agent", VERDICT_REDIRECT, BENCH_CLIENT_LINK, 65,
						    .vary = vary4};
	cases[BENCH_MEDIA_DOWN] = (struct bench_case){"media_down", "RTP of an agent to its client", VERDICT_REDIRECT,
						      BENCH_BACKEND_LINK, 65, .vary = {.sequential = 1, .source_base = FAR_CLIENT4, .downward = 1}};
	cases[BENCH_MEDIA_MOVED] = (struct bench_case){"media_marked", "RTP to an agent, both ends and DSCP written", VERDICT_REDIRECT,
						       BENCH_CLIENT_LINK};
	cases[BENCH_CHECK] = (struct bench_case){"check", "STUN check of a call", VERDICT_REDIRECT, BENCH_CLIENT_LINK};
	frame_arp(&cases[BENCH_ARP]);
	frame_ns(&cases[BENCH_NS]);
	frame_udp(&cases[BENCH_UDP_HIT], v4(FAR_CLIENT4 + 9), CLIENT_PORT, VIP4, VIP_PORT);
	frame_udp(&cases[BENCH_UDP_NEW], v4(FAR_CLIENT4), CLIENT_PORT, VIP4, VIP_PORT);
	frame_udp(&cases[BENCH_UDP_NEW_ON_LINK], v4(NEAR_CLIENT4), CLIENT_PORT, VIP4, VIP_PORT);
	frame_udp(&cases[BENCH_UDP_EPOCH], v4(FAR_CLIENT4), CLIENT_PORT, VIP4, VIP_PORT);
	frame_tcp(&cases[BENCH_TCP_SYN], TCP_SYN);
	frame_tcp(&cases[BENCH_TCP_HIT], TCP_ACK);
	frame_udp(&cases[BENCH_UDP6_HIT], v6(9, FAR_CLIENT6), CLIENT_PORT, VIP6, VIP_PORT);
	frame_udp(&cases[BENCH_UDP_GUE], v4(FAR_CLIENT4 + 9), CLIENT_PORT, VIP4, GUE_VIP_PORT);
	frame_udp(&cases[BENCH_UDP_IPIP6], v4(FAR_CLIENT4 + 9), CLIENT_PORT, VIP4, IPIP6_VIP_PORT);
	frame_udp(&cases[BENCH_REVERSE], backend_of_client(tables), VIP_PORT, v4(FAR_CLIENT4 + 9), CLIENT_PORT);
	frame_media(&cases[BENCH_MEDIA_UP], v4(FAR_CLIENT4), (struct be16){bench_client_port(0)}, VIP4, be16_from(CALL_PORT));
	frame_media(&cases[BENCH_MEDIA_DOWN], v4(0xcb007115), be16_from(AGENT_PORT), v4(FAR_CLIENT4), (struct be16){bench_client_port(0)});
	frame_media(&cases[BENCH_MEDIA_MOVED], v4(FAR_CLIENT4 + BENCH_SESSIONS_MAX), (struct be16){bench_client_port(BENCH_SESSIONS_MAX)}, VIP4,
		    be16_from(MOVED_CALL_PORT));
	frame_check(&cases[BENCH_CHECK], v4(FAR_CLIENT4 + BENCH_SESSIONS_MAX), (struct be16){bench_client_port(BENCH_SESSIONS_MAX)}, MOVED_CALL_PORT);
	frame_udp(&cases[BENCH_NOT_OURS], v4(FAR_CLIENT4 + 9), CLIENT_PORT, v4(0xc6336401), 53); /* 198.51.100.1 */
}

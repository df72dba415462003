/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of packets, step by step; the packets are those of edge_frame_write(). */
#include "edge/edge_explain.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "edge/edge_fixture.h"
#include "edge/edge_frame.h"
#include "edge/edge_fast.h"
#include "rtc/rtc_program.h"

#define NODE_MAC 0x010000000002ull
#define NIC 7u

/* A service of two backends at 192.0.2.1, a client network on the link, a host's default route. */
struct world {
	struct edge_fixture *fixture;
	struct lb_backend_wanted backends[2];
	struct lb_service_wanted service;
	struct vip_wanted vip;
	struct link_wanted link;
	struct route_wanted route;
	struct neighbour_wanted neighbour;
	struct edge_wanted wanted;
	char told[4096]; /* all steps, a line each */
	struct decision decision;
};

static void world_apply(struct world *world)
{
	struct edge_changes changes;
	struct error error = {0};

	if (edge_program_apply(world->fixture->program, &world->wanted, &changes, &error) < 0)
		fail_msg("%s", error.text);
}

static struct world *world_new(uint8_t protocol)
{
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	world->fixture = edge_fixture_new();
	for (uint8_t i = 0; i < 2; i++)
		world->backends[i] = (struct lb_backend_wanted){.address = ipv4(10, 0, 0, i + 1), .port = 8000, .weight = 100,
								.state = LB_BACKEND_UP, .egress = egress_number(20u + i), .name = "b"};
	world->service = (struct lb_service_wanted){.address = ipv4(192, 0, 2, 1), .port_first = 80, .port_last = 80,
						    .protocol = protocol, .udp_idle_epochs = 4, .affinity_epochs = 10,
						    .backends = world->backends, .backend_count = 2, .name = "web"};
	world->vip = (struct vip_wanted){world->service.address, true, 1};
	world->link = (struct link_wanted){.ifindex = NIC, .mac = NODE_MAC, .announce = 1};
	world->route = (struct route_wanted){{ipv4(203, 0, 113, 0), 24}, {.ifindex = NIC, .flags = EGRESS_ON_LINK, .source_mac = NODE_MAC}};
	world->neighbour = (struct neighbour_wanted){ipv4(203, 0, 113, 5), 0x050000000002ull, NIC, 0};
	world->wanted = (struct edge_wanted){.hash_seed = 7, .links = &world->link, .link_count = 1, .routes = &world->route,
					     .route_count = 1, .neighbours = &world->neighbour, .neighbour_count = 1,
					     .vips = &world->vip, .vip_count = 1, .services = &world->service, .service_count = 1};
	world_apply(world);
	return world;
}

static void world_free(struct world *world)
{
	edge_fixture_free(world->fixture);
	free(world);
}

static struct edge_frame request(const struct world *world)
{
	return (struct edge_frame){.source_mac = 0x050000000002ull, .destination_mac = NODE_MAC, .protocol = world->service.protocol,
				   .source = ipv4(203, 0, 113, 5), .destination = world->service.address, .source_port = 4000,
				   .destination_port = 80};
}

static const char *backend_called(void *context, uint16_t row)
{
	static char names[4][16];
	const struct world *world = context;
	struct edge_backend_status status;

	for (uint8_t i = 0; i < 2; i++) {
		if (edge_program_backend_status(world->fixture->program, &world->service, &world->backends[i], &status) &&
		    status.row == row) {
			snprintf(names[i], sizeof(names[i]), "b%u", i);
			return names[i];
		}
	}
	return NULL;
}

static const char *service_called(void *context, uint16_t row)
{
	(void)context;
	return row ? "default/web:80" : NULL;
}

static void explain_bytes(struct world *world, const uint8_t *bytes, size_t length, size_t wire_length)
{
	const struct edge_names names = {world, NULL, service_called, backend_called};
	struct edge_tables tables = memory_tables(world->fixture->memory);
	struct edge_explanation explanation;
	struct error error = {0};

	assert_int_equal(edge_explain(&tables, NIC, world->fixture->epoch, 0, bytes, length, wire_length, &names, &explanation, &error), 0);
	*world->told = '\0';
	for (size_t i = 0; i < explanation.step_count; i++) {
		strcat(world->told, explanation.steps[i]);
		strcat(world->told, "\n");
	}
	world->decision = explanation.decision;
	edge_explanation_done(&explanation);
}

static void explain(struct world *world, const struct edge_frame *frame)
{
	uint8_t bytes[EDGE_FRAME_SIZE];
	size_t length = edge_frame_write(frame, bytes);

	explain_bytes(world, bytes, length, length);
}

/* The packet is handled, and leaves its records behind. */
static void happen(struct world *world, const struct edge_frame *frame)
{
	struct edge_tables tables = memory_tables(world->fixture->memory);
	struct edge_ingress ingress = edge_ingress(tables.config, NIC, (struct edge_clock){world->fixture->epoch, 0});
	struct decision decision = {0};
	uint8_t bytes[EDGE_FRAME_SIZE];
	struct flow flow = {0};
	struct packet packet = {.data = bytes, .end = bytes + edge_frame_write(frame, bytes)};

	edge_decide(&tables, &packet, &ingress, &flow, &decision);
	world->decision = decision;
}

#define assert_told(world, text)                                         \
	do {                                                             \
		if (!strstr((world)->told, text))                        \
			fail_msg("\"%s\" is not told:\n%s", text, (world)->told); \
	} while (0)
#define assert_untold(world, text)                                       \
	do {                                                             \
		if (strstr((world)->told, text))                         \
			fail_msg("\"%s\" is told:\n%s", text, (world)->told); \
	} while (0)

/* Frames made for questions are such as the packet program takes. */
static void frames_are_right(void **state)
{
	static const uint8_t protocols[] = {PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMP};

	(void)state;
	for (size_t i = 0; i < 12; i++) {
		struct edge_frame frame = {.source_mac = 2, .destination_mac = NODE_MAC, .vlan = i & 1 ? 7 : 0, .protocol = protocols[i / 4],
					   .ipv6 = i & 2, .source = ipv4(203, 0, 113, 5), .destination = ipv4(192, 0, 2, 1),
					   .source_port = 4000, .destination_port = 80};
		uint8_t bytes[EDGE_FRAME_SIZE];
		struct flow flow = {0};
		struct packet packet;
		uint64_t sum = 0;

		if (frame.ipv6) {
			frame.source = (struct address){{0xb80d0120, 0x0500000000000000}};
			frame.destination = (struct address){{0xb80d0120, 0x0100000000000000}};
			if (frame.protocol == PROTOCOL_ICMP)
				frame.protocol = PROTOCOL_ICMPV6;
		}
		packet = (struct packet){.data = bytes, .end = bytes + edge_frame_write(&frame, bytes)};
		assert_int_equal(flow_parse(&packet, &flow), DROP_NONE);
		assert_int_equal(flow.l4_reason, DROP_NONE);
		assert_int_equal(flow.protocol, frame.protocol);
		assert_int_equal(flow.vlan, frame.vlan);
		assert_true(address_equal(&flow.source, &frame.source) && address_equal(&flow.destination, &frame.destination));
		/* RFC 1071: with the checksum the sum is all ones */
		for (uint32_t at = flow.l4_offset; at < packet_length(&packet); at += 2)
			sum += (uint64_t)(bytes[at] << 8 | bytes[at + 1]);
		if (frame.protocol != PROTOCOL_ICMP) {
			uint32_t addresses = frame.ipv6 ? 32 : 8;

			for (uint32_t at = flow.l4_offset - addresses; at < flow.l4_offset; at += 2)
				sum += (uint64_t)(bytes[at] << 8 | bytes[at + 1]);
			sum += frame.protocol + flow.l4_length;
		}
		assert_int_equal(checksum_fold(sum), 0xffff);
		if (!frame.ipv6) {
			sum = 0;
			for (uint32_t at = flow.l3_offset; at < flow.l4_offset; at += 2)
				sum += (uint64_t)(bytes[at] << 8 | bytes[at + 1]);
			assert_int_equal(checksum_fold(sum), 0xffff);
		}
	}
}

static void a_flow_begins_and_goes_on(void **state)
{
	struct world *world = world_new(PROTOCOL_UDP);
	struct edge_frame frame = request(world);

	(void)state;
	explain(world, &frame);
	assert_told(world, "UDP over IPv4 from 203.0.113.5 port 4000 to 192.0.2.1 port 80");
	assert_told(world, "for the service default/web:80");
	assert_told(world, "has slot ");
	assert_told(world, "No record of this flow exists: it begins now.");
	assert_told(world, "which takes new flows");
	assert_told(world, "Its destination becomes 10.0.0.");
	assert_int_equal(world->decision.verdict, VERDICT_REDIRECT);
	/* asking has left nothing behind */
	explain(world, &frame);
	assert_told(world, "No record of this flow exists");
	happen(world, &frame);
	explain(world, &frame);
	assert_told(world, "its client has not shown more than its beginning");
	happen(world, &frame);
	explain(world, &frame);
	assert_told(world, "The flow is recorded with the backend b");
	assert_told(world, "The record need not be looked at");
	world_free(world);
}

/* The chosen backend drains, dies, goes: the record decides, or why it does not. */
static void a_record_decides_or_is_void(void **state)
{
	struct world *world = world_new(PROTOCOL_UDP);
	struct edge_frame frame = request(world);
	uint8_t chosen;
	char text[100];

	(void)state;
	happen(world, &frame);
	chosen = address_equal(&world->decision.address, &world->backends[1].address);
	world->backends[chosen].state = LB_BACKEND_DRAINING;
	world_apply(world);
	explain(world, &frame);
	assert_told(world, "the slot had another backend before, so the flow's record is asked");
	assert_told(world, "The record decides: a flow stays with its backend, which is draining");
	snprintf(text, sizeof(text), "So it goes to the backend b%u", chosen);
	assert_told(world, text);
	world->backends[chosen].state = LB_BACKEND_DOWN;
	world_apply(world);
	explain(world, &frame);
	assert_told(world, "because its backend is down: the flow begins anew");
	snprintf(text, sizeof(text), "So it goes to the backend b%u, which takes new flows", !chosen);
	assert_told(world, text);
	world->backends[chosen].state = LB_BACKEND_UP;
	world_apply(world);
	world->fixture->epoch += 6;
	explain(world, &frame);
	assert_told(world, "silent for longer than the service's idle time");
	world_free(world);
}

static void affinity_is_told(void **state)
{
	struct world *world = world_new(PROTOCOL_TCP);
	struct edge_frame frame = request(world);

	(void)state;
	world->service.affinity = true;
	world_apply(world);
	happen(world, &frame);
	frame.source_port = 4001;
	explain(world, &frame);
	assert_told(world, "By the client's address it has slot ");
	assert_told(world, "By session affinity the client has the backend b");
	world_free(world);
}

static void drops_say_what_to_do(void **state)
{
	struct world *world = world_new(PROTOCOL_UDP);
	struct edge_frame frame = request(world);

	(void)state;
	frame.destination_port = 81;
	explain(world, &frame);
	assert_told(world, "It is dropped (vip_port_closed): The virtual IP has no service");
	assert_told(world, "What to do: If the port should be served, add it to the service");
	world->backends[0].state = world->backends[1].state = LB_BACKEND_DRAINING;
	world_apply(world);
	frame.destination_port = 80;
	explain(world, &frame);
	assert_told(world, "The service has no backend that takes new flows.");
	assert_told(world, "service_no_backend");
	assert_told(world, "What to do: `selvage service backends`");
	assert_untold(world, "So it goes");
	world_free(world);
}

static void answers_and_others_are_told(void **state)
{
	struct world *world = world_new(PROTOCOL_UDP);
	struct edge_frame frame = request(world), answer;

	(void)state;
	happen(world, &frame);
	answer = (struct edge_frame){.source_mac = 2, .destination_mac = NODE_MAC, .protocol = PROTOCOL_UDP,
				     .source = world->decision.address, .destination = frame.source, .source_port = 8000,
				     .destination_port = 4000};
	explain(world, &answer);
	assert_told(world, "It is an answer of the backend b");
	assert_told(world, "its source becomes 192.0.2.1:80");
	assert_told(world, "The client 203.0.113.5 is reached by an interface that is gone, on its link.");
	answer.destination_port = 4001;
	explain(world, &answer);
	assert_told(world, "203.0.113.5 is no virtual IP of this node.");
	assert_told(world, ":8000 is no backend with a flow to this address and port.");
	assert_int_equal(world->decision.verdict, VERDICT_PASS);
	/* an answer that cannot go on is one all the same */
	answer.destination_port = 4000;
	world->wanted.route_count = 0;
	world_apply(world);
	explain(world, &answer);
	assert_told(world, "It is an answer of the backend b");
	assert_told(world, "route_none");
	assert_untold(world, "It is for the service");
	world_free(world);
}

/* Captures keep less than there was: what was cut off is not missing. */
static void a_cut_frame_is_whole(void **state)
{
	struct world *world = world_new(PROTOCOL_UDP);
	struct edge_frame frame = request(world);
	uint8_t bytes[EDGE_FRAME_SIZE];
	size_t length = edge_frame_write(&frame, bytes);

	(void)state;
	explain_bytes(world, bytes, length - 4, length);
	assert_told(world, "of which the first 54 are known");
	assert_int_equal(world->decision.verdict, VERDICT_REDIRECT);
	explain_bytes(world, bytes, length - 4, length - 4);
	assert_told(world, "ipv4_length_lies");
	world_free(world);
}

/* A client's check in the frame of a request, with the user name "abcd:efgh"; returns how long the frame is. */
static size_t check_write(const struct edge_frame *frame, bool named, uint8_t *bytes)
{
	static const uint8_t message[] = {0, 1, 0, 16, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
					  0, 6, 0, 9, 'a', 'b', 'c', 'd', ':', 'e', 'f', 'g', 'h'};
	size_t length = named ? 36 : 20;

	edge_frame_write(frame, bytes);
	memset(bytes + 42, 0, 36);
	memcpy(bytes + 42, message, named ? sizeof(message) : 20);
	bytes[45] = (uint8_t)(length - 20);
	bytes[17] = (uint8_t)(28 + length);
	bytes[39] = (uint8_t)(8 + length);
	bytes[24] = bytes[25] = bytes[40] = bytes[41] = 0; /* no checksum is asked for */
	return 42 + length;
}

static void calls_go_by_their_session(void **state)
{
	struct world *world = world_new(PROTOCOL_UDP);
	struct edge_frame frame = request(world);
	uint8_t bytes[EDGE_FRAME_SIZE];
	struct edge_backend_status status;
	struct error error = {0};
	uint32_t session, service;
	char text[100];

	(void)state;
	world->service.media = true;
	world_apply(world);
	service = edge_program_service_row(world->fixture->program, &world->service);
	assert_true(edge_program_backend_status(world->fixture->program, &world->service, &world->backends[1], &status));
	explain_bytes(world, bytes, check_write(&frame, true, bytes), 78);
	assert_told(world, "for the service default/web:80, which carries calls");
	explain(world, &frame); /* what such a client sends else */
	assert_told(world, "It belongs to no session that is known");
	assert_told(world, "It is dropped (rtc_path_unknown)");
	explain_bytes(world, bytes, check_write(&frame, true, bytes), 78);
	assert_told(world, "It belongs to no session that is known");
	assert_told(world, "It is dropped (rtc_fragment_unknown)");
	assert_untold(world, "ring");
	assert_int_equal(rtc_program_add(edge_program_rtc(world->fixture->program), (uint16_t)service, "abcd", status.row, 0, 0, &session,
					 &error), 0);
	explain_bytes(world, bytes, check_write(&frame, true, bytes), 78);
	snprintf(text, sizeof(text), "It belongs to the session @%u, whose agent is the backend b1, which takes new flows", session);
	assert_told(world, text);
	assert_told(world, "Its destination becomes 10.0.0.2:8000");
	assert_untold(world, "ring");
	explain_bytes(world, bytes, check_write(&frame, false, bytes), 62);
	assert_told(world, "it is answered with the address that it came from");
	assert_untold(world, "no session");
	/* what the agent sends to somebody unknown */
	frame.source = world->backends[1].address;
	frame.source_port = 8000;
	frame.destination = ipv4(203, 0, 113, 5);
	frame.destination_port = 4000;
	explain(world, &frame);
	assert_told(world, "It comes from a backend of the service default/web:80, which carries calls, to nobody who has one there");
	assert_untold(world, "It is an answer of");
	world_free(world);
}

static void queries_are_the_caches_or_the_process(void **state)
{
	struct world *world = world_new(PROTOCOL_UDP);
	struct edge_frame frame = request(world);

	(void)state;
	world->service.dns = world->link.dns = true;
	world->service.backend_count = 0;
	world_apply(world);
	explain(world, &frame);
	assert_told(world, "It is for the DNS address 192.0.2.1:80.");
	assert_told(world, "What the cache can answer exactly is answered at once");
	assert_untold(world, "ring");
	assert_untold(world, "No function takes it");
	world->link.dns = false;
	world_apply(world);
	explain(world, &frame);
	assert_told(world, "dns_interface");
	world_free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_are_right),
		cmocka_unit_test(a_flow_begins_and_goes_on),
		cmocka_unit_test(a_record_decides_or_is_void),
		cmocka_unit_test(affinity_is_told),
		cmocka_unit_test(drops_say_what_to_do),
		cmocka_unit_test(answers_and_others_are_told),
		cmocka_unit_test(a_cut_frame_is_whole),
		cmocka_unit_test(calls_go_by_their_session),
		cmocka_unit_test(queries_are_the_caches_or_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

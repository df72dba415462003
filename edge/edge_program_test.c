/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/edge_program.h"

#include "edge/edge_small_fixture.h"
#include "rtc/rtc_program.h"

static void a_new_service_is_found_whole(void **state)
{
	struct edge_fixture *fixture = *state;
	struct edge_service_status status;
	struct small small;
	uint16_t row;

	small_init(&small, 5, PROTOCOL_TCP);
	apply(fixture, &small.wanted);
	row = service_row(fixture, &small.service);
	assert_int_not_equal(row, 0);
	assert_int_equal((uint32_t)fixture->memory->lb.services[row].ring, 16381);
	assert_int_equal(slots_count(fixture, &small.service, LB_SLOT_MOVED, LB_SLOT_MOVED), 0);
	for (size_t i = 0; i < 5; i++)
		assert_in_range(slots_count(fixture, &small.service, LB_SLOT_BACKEND, backend_row(fixture, &small, i)),
				3276, 3277);
	assert_true(edge_program_service_status(fixture->program, &small.service, &status));
	assert_int_equal(status.ring_slots, 16381);
	assert_non_null(vip_find(&fixture->memory->vips, &small.vip.address, false));
	assert_int_equal(vip_find(&fixture->memory->vips, &small.vip.address, false)->flags, VIP_OWNED);
}

static void policies_for_no_backend(void **state)
{
	struct edge_fixture *fixture = *state;
	struct small small;
	uint16_t draining;

	small_init(&small, 3, PROTOCOL_UDP);
	apply(fixture, &small.wanted);
	draining = backend_row(fixture, &small, 2);
	small.backends[0].state = LB_BACKEND_DOWN;
	small.backends[1].state = LB_BACKEND_DOWN;
	small.backends[2].state = LB_BACKEND_DRAINING;
	apply(fixture, &small.wanted);
	assert_true(fixture->memory->lb.services[1].ring == 0);
	small.service.no_backends = LB_NO_BACKENDS_ALL;
	apply(fixture, &small.wanted);
	assert_int_equal((uint32_t)fixture->memory->lb.services[1].ring, 16381);
	assert_int_equal(slots_count(fixture, &small.service, LB_SLOT_BACKEND, draining), 0);
	assert_int_equal(fixture->memory->lb.backends[backend_row(fixture, &small, 0)].state, LB_BACKEND_UP);
	/* Flows may be anywhere after a time without a ring. */
	assert_int_equal(slots_count(fixture, &small.service, LB_SLOT_MOVED, LB_SLOT_MOVED), 16381);
	small.backends[1].state = LB_BACKEND_UP;
	apply(fixture, &small.wanted);
	assert_int_equal(fixture->memory->lb.backends[backend_row(fixture, &small, 0)].state, LB_BACKEND_DOWN);
	assert_int_equal(slots_count(fixture, &small.service, LB_SLOT_BACKEND, backend_row(fixture, &small, 1)), 16381);
}

/* What packets remember of calls is as old as the last change: its number is another one after each, and 0 without calls. */
static void what_is_known_of_calls_is_forgotten_with_each_change(void **state)
{
	struct edge_fixture *fixture = *state;
	struct edge_config *config = &fixture->memory->config;
	uint32_t *shortcut = &fixture->memory->index.shortcuts[5][1], before;
	struct edge_tables tables = memory_tables(fixture->memory);
	struct small small;

	small_init(&small, 1, PROTOCOL_UDP);
	apply(fixture, &small.wanted);
	assert_int_equal(config->calls, 0);
	small.service.media = true;
	small.service.media_wanted = (struct lb_media_wanted){.dscp_up = 255, .dscp_down = 255};
	apply(fixture, &small.wanted);
	before = config->calls;
	assert_int_not_equal(before, 0);
	*shortcut = 1;
	apply(fixture, &small.wanted);
	assert_int_equal(config->calls, before);
	assert_int_equal(*shortcut, 1);
	small.backends[0].egress = egress_number(9);
	apply(fixture, &small.wanted);
	assert_int_not_equal(config->calls, 0);
	assert_int_not_equal(config->calls, before);
	assert_int_equal(*shortcut, 0);
	/* Another process may have been stopped between a change and its number. */
	before = config->calls;
	edge_program_free(fixture->program);
	fixture->program = edge_program_new(&tables, 2, &fixture->host);
	assert_non_null(fixture->program);
	apply(fixture, &small.wanted);
	assert_int_equal(config->calls, before + 1);
	small.service.media = false;
	apply(fixture, &small.wanted);
	assert_int_equal(config->calls, 0);
}

static void a_row_is_reused_only_when_nothing_names_it(void **state)
{
	struct edge_fixture *fixture = *state;
	uint64_t *word = &fixture->memory->flows.words[4711][3];
	struct edge_sweep_stats stats;
	struct small small;
	uint16_t gone;

	small_init(&small, 3, PROTOCOL_TCP);
	apply(fixture, &small.wanted);
	gone = backend_row(fixture, &small, 2);
	fixture->memory->counters[1].backends[gone].packets = 5;
	*word = lb_flow_word(4711, gone, fixture->epoch, LB_FLOW_TCP);
	small.service.backend_count = 2;
	apply(fixture, &small.wanted);
	assert_int_equal(fixture->memory->lb.backends[gone].state, LB_BACKEND_FREE);

	/* Another backend does not get the row, the same one has it back. */
	small.service.backend_count = 3;
	small.backends[2].port = 9000;
	apply(fixture, &small.wanted);
	assert_int_not_equal(backend_row(fixture, &small, 2), gone);
	small.backends[2].port = 8000;
	apply(fixture, &small.wanted);
	assert_int_equal(backend_row(fixture, &small, 2), gone);
	small.backends[2].port = 9000;
	apply(fixture, &small.wanted);
	stats = sweep_pass(fixture);
	assert_int_equal(stats.rows_released, 0); /* the word was seen in this epoch */
	fixture->epoch++;
	stats = sweep_pass(fixture);
	assert_int_equal(stats.removed, 1);
	assert_int_equal(stats.rows_released, 1);
	assert_true(*word == 0);
	assert_int_equal(fixture->memory->counters[1].backends[gone].packets, 0);
	small.backends[3] = small.backends[2];
	small.backends[3].port = 9001;
	small.service.backend_count = 4;
	apply(fixture, &small.wanted);
	assert_int_equal(backend_row(fixture, &small, 3), gone);
}

static void a_service_that_comes_back_does_not_find_its_old_rows(void **state)
{
	struct edge_fixture *fixture = *state;
	struct small small;
	uint16_t row;

	small_init(&small, 1, PROTOCOL_TCP);
	apply(fixture, &small.wanted);
	row = backend_row(fixture, &small, 0);
	small.wanted.service_count = 0;
	apply(fixture, &small.wanted);
	small.wanted.service_count = 1;
	apply(fixture, &small.wanted);
	assert_int_not_equal(backend_row(fixture, &small, 0), row);
	assert_int_equal(fixture->memory->lb.backends[row].service, 0);
}

static void expired_words_go_and_live_ones_stay(void **state)
{
	struct edge_fixture *fixture = *state;
	struct edge_backend_status status;
	struct edge_sweep_stats stats;
	uint16_t up, down, tcp;
	struct small small;
	uint64_t *words = fixture->memory->flows.words[9];

	small_init(&small, 3, PROTOCOL_UDP);
	apply(fixture, &small.wanted);
	up = backend_row(fixture, &small, 0);
	small.backends[1].state = LB_BACKEND_DOWN;
	apply(fixture, &small.wanted);
	down = backend_row(fixture, &small, 1);
	tcp = up;
	fixture->epoch = 5000;
	words[0] = lb_flow_word(1ull << 40, up, 5000 - 4, 0);                            /* idle, not too long */
	words[1] = lb_flow_word(2ull << 40, up, 5000 - 5, 0);                            /* idle too long */
	words[2] = lb_flow_word(3ull << 40, down, 5000 - 1, 0);                          /* UDP, its backend is dead */
	words[3] = lb_flow_word(4ull << 40, tcp, 5000 - 1055, LB_FLOW_TCP);              /* TCP just kept */
	words[4] = lb_flow_word(5ull << 40, tcp, 5000 - 1056, LB_FLOW_TCP);              /* TCP too old */
	words[5] = lb_flow_word(6ull << 40, tcp, 5000 - 9, LB_FLOW_TCP | LB_FLOW_CLOSING);
	words[6] = lb_flow_word(7ull << 40, up, 5000 + 2, 0);                            /* a worker's clock ahead */
	words[7] = lb_flow_word(8ull << 40, 77, 5000, 0);                                /* names no backend */
	stats = sweep_pass(fixture);
	assert_int_equal(stats.removed, 5);
	assert_int_equal(stats.flows, 3);
	assert_true(words[0] && words[3] && words[6]);
	assert_true(edge_program_backend_status(fixture->program, &small.service, &small.backends[0], &status));
	assert_true(status.flows_known && status.flows == 3 && !status.drained);
	assert_true(edge_program_backend_status(fixture->program, &small.service, &small.backends[1], &status));
	assert_true(status.drained);
	small.backends[0].state = LB_BACKEND_DRAINING;
	memset(words, 0, 64);
	apply(fixture, &small.wanted);
	assert_true(edge_program_backend_status(fixture->program, &small.service, &small.backends[0], &status));
	assert_false(status.drained); /* not before a pass of its own */
	sweep_pass(fixture);
	assert_true(edge_program_backend_status(fixture->program, &small.service, &small.backends[0], &status));
	assert_true(status.drained);
}

/* An agent is drained when its calls are over; those that wait for their client do not count. */
static void an_agent_is_drained_when_its_calls_are_over(void **state)
{
	struct edge_fixture *fixture = *state;
	struct rtc_session *session;
	struct rtc_session_info info;
	struct edge_backend_status status;
	struct edge_service_status totals;
	struct error error = {0};
	struct small small;
	uint32_t row;

	small_init(&small, 2, PROTOCOL_UDP);
	small.service.media = true;
	apply(fixture, &small.wanted);
	assert_int_equal(rtc_program_add(edge_program_rtc(fixture->program), service_row(fixture, &small.service), "abcd",
					 backend_row(fixture, &small, 0), 0, 0, &row, &error), 0);
	session = &fixture->memory->sessions.rows[row];
	sweep_pass(fixture);
	assert_true(edge_program_backend_status(fixture->program, &small.service, &small.backends[0], &status));
	assert_true(status.flows_known && status.flows == 0 && !status.drained);
	session->state = RTC_SESSION_LIVE;
	small.backends[0].state = LB_BACKEND_DRAINING;
	apply(fixture, &small.wanted);
	assert_true(edge_program_backend_status(fixture->program, &small.service, &small.backends[0], &status));
	assert_false(status.drained); /* not before a pass of its own */
	sweep_pass(fixture);
	assert_true(edge_program_backend_status(fixture->program, &small.service, &small.backends[0], &status));
	assert_true(status.flows == 1 && !status.drained);
	assert_true(edge_program_service_status(fixture->program, &small.service, &totals));
	assert_int_equal(totals.flows, 1);
	/* the time of its beginning is no consent; an answer's is */
	session->begun_ms = session->consent_ms = 1000;
	assert_true(rtc_program_read(edge_program_rtc(fixture->program), row, 3000, &info));
	assert_int_equal(info.consent_ms, UINT32_MAX);
	session->rtt_agent_ms = 0;
	assert_true(rtc_program_read(edge_program_rtc(fixture->program), row, 3000, &info));
	assert_int_equal(info.consent_ms, 2000);
	session->rtt_agent_ms = UINT16_MAX;
	session->consent_ms = 2500;
	assert_true(rtc_program_read(edge_program_rtc(fixture->program), row, 3000, &info));
	assert_int_equal(info.consent_ms, 500);
	rtc_program_end(edge_program_rtc(fixture->program), row, 0);
	sweep_pass(fixture);
	assert_true(edge_program_backend_status(fixture->program, &small.service, &small.backends[0], &status));
	assert_true(status.flows == 0 && status.drained);
	small.backends[0].state = LB_BACKEND_UP;
	apply(fixture, &small.wanted);
	assert_true(edge_program_backend_status(fixture->program, &small.service, &small.backends[0], &status));
	assert_false(status.drained);
}

static void what_cannot_be_is_refused_whole(void **state)
{
	struct edge_fixture *fixture = *state;
	struct lb_service_wanted services[12];
	struct vip_wanted vips[2];
	struct link_wanted links[2] = {{.ifindex = 3}, {.ifindex = 3}};
	struct edge_wanted wanted;
	struct small small;

	small_init(&small, 2, PROTOCOL_TCP);
	apply(fixture, &small.wanted);
	wanted = small.wanted;
	wanted.services = services;
	wanted.service_count = 2;
	services[0] = services[1] = small.service;
	services[1].name = "other";
	refused(fixture, &wanted, EINVAL, "services web and other have the same virtual IP");
	services[0].port_first = 70;
	services[0].port_last = 90;
	services[0].backend_count = 0;
	refused(fixture, &wanted, EINVAL, "port 80");
	services[0].backend_count = 1;
	refused(fixture, &wanted, EINVAL, "has a port, but the service has a range");
	for (uint16_t i = 0; i < 9; i++) {
		services[i] = small.service;
		services[i].port_first = (uint16_t)(100 * i + 100);
		services[i].port_last = (uint16_t)(100 * i + 150);
		services[i].backend_count = 0;
	}
	wanted.service_count = 9;
	refused(fixture, &wanted, E2BIG, "more than 8 port ranges");
	for (uint16_t i = 0; i < 5; i++) {
		services[i] = small.service;
		services[i].port_first = services[i].port_last = (uint16_t)(i + 1);
	}
	wanted.service_count = 5;
	refused(fixture, &wanted, E2BIG, "serves more than 4 services");
	wanted.service_count = 1;
	services[0] = small.service;
	services[0].protocol = 132;
	refused(fixture, &wanted, EINVAL, "neither TCP nor UDP");
	services[0] = small.service;
	small.backends[1] = small.backends[0];
	refused(fixture, &wanted, EINVAL, "10.0.0.1:8000 is there twice");
	small.backends[1].address = (struct address){{1, 2}};
	refused(fixture, &wanted, EINVAL, "address family");
	wanted.service_count = LB_SERVICE_ROWS;
	refused(fixture, &wanted, E2BIG, "2048 services");
	wanted.service_count = 0;
	vips[0] = vips[1] = small.vip;
	wanted.vips = vips;
	wanted.vip_count = 2;
	refused(fixture, &wanted, EINVAL, "virtual IP 192.0.2.1 is there twice");
	wanted.vip_count = 0;
	wanted.links = links;
	wanted.link_count = 2;
	refused(fixture, &wanted, EINVAL, "interface 3 with VLAN 0 is there twice");
}

static void port_ranges_and_shared_endpoints_are_chained(void **state)
{
	struct edge_fixture *fixture = *state;
	struct lb_service_wanted services[12];
	struct lb_backend_wanted backend;
	struct edge_wanted wanted;
	struct small small;
	struct flow flow = {.network = FLOW_IPV4, .protocol = PROTOCOL_UDP};

	small_init(&small, 1, PROTOCOL_UDP);
	backend = small.backends[0];
	backend.port = 0;
	for (uint16_t i = 0; i < 8; i++) {
		services[i] = small.service;
		services[i].port_first = (uint16_t)(100 * i + 100);
		services[i].port_last = (uint16_t)(100 * i + 150);
		services[i].backends = &backend;
		services[i].direct = i >= 4;
	}
	wanted = small.wanted;
	wanted.services = services;
	for (uint32_t mask = 1; mask < 256; mask = mask * 3 % 257 + 1) {
		struct lb_service_wanted some[8];
		size_t count = 0;

		for (uint32_t i = 0; i < 8; i++) {
			if (mask >> i & 1)
				some[count++] = services[i];
		}
		wanted.services = some;
		wanted.service_count = count;
		apply(fixture, &wanted);
		flow.destination = small.service.address;
		for (uint16_t i = 0; i < 8; i++) {
			uint32_t row;

			flow.destination_port = be16_from((uint16_t)(100 * i + 125));
			row = lb_service_find_range(&fixture->memory->lb, &flow);
			assert_int_equal(row != 0, mask >> i & 1);
			if (row)
				assert_int_equal(be16_get(fixture->memory->lb.services[row].port_first), 100 * i + 100);
			flow.destination_port = be16_from((uint16_t)(100 * i + 151));
			assert_int_equal(lb_service_find_range(&fixture->memory->lb, &flow), 0);
		}
		/* The reverse chain has each service without direct return once. */
		{
			struct directory_key key = lb_key(LB_KEY_BACKEND, &backend.address, false, PROTOCOL_UDP,
							  (struct be16){0});
			uint32_t row = DIRECTORY_FIND(&fixture->memory->lb.backends_by_endpoint,
						      LB_REVERSE_DIRECTORY_BITS, &key);
			uint32_t seen = 0;

			for (; row; row = fixture->memory->lb.backends[row].next) {
				uint16_t service = fixture->memory->lb.backends[row].service;

				seen |= 1u << (be16_get(fixture->memory->lb.services[service].port_first) / 100 - 1);
			}
			assert_int_equal(seen, mask & 0xf);
		}
	}
}

/* All rows in use, and then every one of them replaced by another. */
/*
 * The filter takes some new flows for recorded ones, more so the more flows there are; their requests go by the ring, with no
 * record made. Their answers must find the way back all the same, and make the record.
 */
static void an_answer_of_a_flow_without_record_is_translated(void **state)
{
	struct edge_fixture *fixture = *state;
	struct edge_memory *memory = fixture->memory;
	struct lb_view view = {.lb = &memory->lb, .rings = &memory->rings, .flows = &memory->flows, .filter = &memory->filter, .guards = &memory->guards, .limiter = &memory->limiter,
			       .routes = &memory->routes, .neighbours = &memory->neighbours, .epoch = fixture->epoch};
	uint32_t unrecorded = 0, lost = 0, count = 200000;
	struct small small;
	uint16_t service;

	small_init(&small, 3, PROTOCOL_UDP);
	apply(fixture, &small.wanted);
	service = service_row(fixture, &small.service);
	for (uint32_t i = 0; i < count; i++) {
		struct flow flow = {.source = ipv4(10, 1, (uint8_t)(i >> 8), (uint8_t)i), .destination = small.service.address,
				    .source_port = be16_from((uint16_t)(1024 + (i >> 16))), .destination_port = be16_from(80),
				    .network = FLOW_IPV4, .protocol = PROTOCOL_UDP, .hop_limit = 64};
		struct flow answer = flow;
		struct decision decision = {0};
		uint8_t end[64];
		struct packet nothing = {.data = end, .end = end};

		lb_forward_decide(&view, &nothing, &flow, service, 1, &decision);
		assert_int_equal(decision.action, ACTION_NAT_FORWARD);
		if (decision.flags & DECISION_NEW_FLOW) /* its second packet establishes it, and the filter vouches for it */
			lb_forward_decide(&view, &nothing, &flow, service, 1, &(struct decision){0});
		answer.source = decision.address;
		answer.source_port = decision.port;
		answer.destination = flow.source;
		answer.destination_port = flow.source_port;
		if (decision.flags & DECISION_NEW_FLOW)
			continue;
		unrecorded++;
		lost += lb_reverse_find(&view, &answer) != decision.backend;
		assert_int_equal(lb_answer_find(view.lb, view.flows, &answer,
						(uint64_t)decision.backend << 32 | view.epoch), LB_ANSWER_OURS);
		answer.destination_port = be16_from(9); /* nobody asked from here */
		assert_int_equal(lb_reverse_find(&view, &answer), 0);
	}
	assert_in_range(unrecorded, 1, count / 1000);
	assert_int_equal(lost, 0);
}

static void full_tables_can_be_replaced(void **state)
{
	static struct lb_service_wanted services[LB_SERVICE_ROWS];
	static struct lb_backend_wanted backends[LB_BACKEND_ROWS];
	static struct vip_wanted vips[VIP_ROWS];
	static struct link_wanted links[LINK_ROWS];
	struct edge_fixture *fixture = *state;
	struct edge_wanted wanted = {.hash_seed = 1, .services = services, .service_count = LB_SERVICE_ROWS - 1,
				     .vips = vips, .vip_count = VIP_ROWS - 1, .links = links, .link_count = LINK_ROWS - 1};
	struct edge_changes changes;
	struct error error = {0};

	for (uint32_t round = 0; round < 3; round++) {
		double start, built, same, pass;

		for (uint32_t i = 0; i < VIP_ROWS - 1; i++)
			vips[i] = (struct vip_wanted){ipv4(192, (uint8_t)round, (uint8_t)(i >> 8), (uint8_t)i), true, 1};
		for (uint32_t i = 0; i < LINK_ROWS - 1; i++)
			links[i] = (struct link_wanted){.ifindex = 1000 * round + i + 1, .mac = i, .announce = 1};
		for (uint32_t i = 0; i < 4 * (LB_SERVICE_ROWS - 1); i++)
			backends[i] = (struct lb_backend_wanted){
				.address = ipv4(10, (uint8_t)round, (uint8_t)(i >> 8), (uint8_t)i), .port = 80, .weight = 100,
				.state = LB_BACKEND_UP, .egress = egress_number(i)};
		for (uint32_t i = 0; i < LB_SERVICE_ROWS - 1; i++)
			services[i] = (struct lb_service_wanted){
				.address = ipv4(192, (uint8_t)round, (uint8_t)(i >> 8), (uint8_t)i), .port_first = 80,
				.port_last = 80, .protocol = PROTOCOL_TCP, .backends = &backends[4 * i],
				.backend_count = 4, .name = "many"};
		start = now_ms();
		if (edge_program_apply(fixture->program, &wanted, &changes, &error) < 0)
			fail_msg("%s", error.text);
		built = now_ms();
		assert_int_equal(edge_program_apply(fixture->program, &wanted, &changes, &error), 0);
		assert_false(edge_changes_any(&changes));
		same = now_ms();
		sweep_pass(fixture);
		pass = now_ms();
		print_message("2047 services, 8188 backends, 1023 VIPs: written in %.0f ms (%u waits so far), found equal in "
			      "%.1f ms, a sweep of empty flows takes %.1f ms\n",
			      built - start, fixture->waits, same - built, pass - same);
		for (uint32_t i = 0; i < LB_SERVICE_ROWS - 1; i++)
			assert_int_not_equal(service_row(fixture, &services[i]), 0);
		/* One backend more or less in a full arena. */
		backends[9].state = LB_BACKEND_DOWN;
		assert_int_equal(edge_program_apply(fixture->program, &wanted, &changes, &error), 0);
		assert_true(changes.ring_slots == 1021 && changes.directories == 0); /* so many give way */
	}
}

static void adoption_changes_nothing(void **state)
{
	struct edge_fixture *fixture = *state;
	struct edge_memory *copy = memory_new();
	struct edge_tables tables = memory_tables(copy);
	struct edge_changes changes;
	struct edge_program *program;
	struct error error = {0};
	struct small small;

	small_init(&small, 7, PROTOCOL_UDP);
	apply(fixture, &small.wanted);
	small.backends[2].state = LB_BACKEND_DOWN;
	small.service.backend_count = 6; /* one in quarantine */
	apply(fixture, &small.wanted);
	memcpy(copy, fixture->memory, sizeof(*copy));
	program = edge_program_new(&tables, 2, &fixture->host);
	assert_non_null(program);
	assert_int_equal(edge_program_apply(program, &small.wanted, &changes, &error), 0);
	assert_false(edge_changes_any(&changes));
	assert_memory_equal(copy, fixture->memory, sizeof(*copy));
	/* And it goes on: the row in quarantine is released, the rings are not overwritten. */
	for (uint32_t i = 0; i < 2 * EDGE_SWEEP_STEPS; i++) {
		struct edge_sweep_stats stats;

		edge_program_sweep(program, fixture->epoch, &stats);
		if (stats.complete && i < EDGE_SWEEP_STEPS)
			assert_int_equal(stats.rows_released, 1);
	}
	edge_program_free(program);
	free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_fixture(a_new_service_is_found_whole),
		with_fixture(policies_for_no_backend),
		with_fixture(what_is_known_of_calls_is_forgotten_with_each_change),
		with_fixture(a_row_is_reused_only_when_nothing_names_it),
		with_fixture(a_service_that_comes_back_does_not_find_its_old_rows),
		with_fixture(expired_words_go_and_live_ones_stay),
		with_fixture(an_agent_is_drained_when_its_calls_are_over),
		with_fixture(what_cannot_be_is_refused_whole),
		with_fixture(port_ranges_and_shared_endpoints_are_chained),
		with_fixture(an_answer_of_a_flow_without_record_is_translated),
		with_fixture(full_tables_can_be_replaced),
		with_fixture(adoption_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

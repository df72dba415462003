/* SPDX-License-Identifier: Apache-2.0 */
/* What guards services against clients, from what is wanted to what packets find, against naive models. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "edge/edge_fast.h"
#include "edge/edge_fixture.h"

#define PREFIXES_MAX 64u

struct guarded {
	struct lb_backend_wanted backend;
	struct lb_service_wanted services[3];
	struct vip_wanted vip;
	struct edge_wanted wanted;
	struct prefix allow[PREFIXES_MAX], deny[PREFIXES_MAX];
};

static uint64_t random_state = 0x5e17a9e;

static uint64_t random_word(void)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return hash_finish(random_state);
}

static void guarded_init(struct guarded *guarded, bool ipv6)
{
	struct address vip = ipv6 ? (struct address){{0x0100000001ull, 1}} : ipv4(192, 0, 2, 1);

	memset(guarded, 0, sizeof(*guarded));
	guarded->backend = (struct lb_backend_wanted){.address = ipv6 ? (struct address){{0x0100000001ull, 2}} : ipv4(10, 0, 0, 1),
						      .port = 8000, .weight = 100, .state = LB_BACKEND_UP,
						      .egress = egress_number(1), .name = "backend"};
	for (uint16_t i = 0; i < 3; i++)
		guarded->services[i] = (struct lb_service_wanted){
			.address = vip, .port_first = 80 + i, .port_last = 80 + i, .protocol = PROTOCOL_UDP,
			.udp_idle_epochs = 4, .backends = &guarded->backend, .backend_count = 1, .name = "web"};
	guarded->vip = (struct vip_wanted){vip, true, 1};
	guarded->wanted = (struct edge_wanted){.hash_seed = 7, .vips = &guarded->vip, .vip_count = 1,
					       .services = guarded->services, .service_count = 1};
}

/* What it changed; nothing once more. */
static struct edge_changes apply(struct edge_fixture *fixture, const struct guarded *guarded)
{
	struct edge_changes changes, again;
	struct error error = {0};

	if (edge_program_apply(fixture->program, &guarded->wanted, &changes, &error) < 0)
		fail_msg("%s", error.text);
	assert_int_equal(edge_program_apply(fixture->program, &guarded->wanted, &again, &error), 0);
	assert_false(edge_changes_any(&again));
	return changes;
}

static uint32_t row_of(struct edge_fixture *fixture, const struct lb_service_wanted *service)
{
	struct edge_service_status status;

	return edge_program_service_status(fixture->program, service, &status) ? status.row : 0;
}

static bool refuses(struct edge_fixture *fixture, const struct lb_service_wanted *service, const struct address *client)
{
	uint32_t row = row_of(fixture, service);

	assert_int_not_equal(row, 0);
	return fixture->memory->lb.services[row].flags & LB_SERVICE_SOURCES &&
	       lb_source_refuses(&fixture->memory->guards, row, client);
}

/* A longest match that looks at every prefix. */
static bool refused_by_model(const struct lb_service_wanted *service, const struct address *client)
{
	bool refused = service->allow_count != 0;
	int best = -1;

	for (size_t i = 0; i < service->allow_count; i++) {
		if (prefix_contains(&service->allow[i], client) && service->allow[i].length > best) {
			best = service->allow[i].length;
			refused = false;
		}
	}
	for (size_t i = 0; i < service->deny_count; i++) {
		if (prefix_contains(&service->deny[i], client) && service->deny[i].length >= best) {
			best = service->deny[i].length;
			refused = true;
		}
	}
	return refused;
}

/* From few bits that differ, so that prefixes are nested, equal and adjacent. */
static struct address random_address(bool ipv6)
{
	uint64_t bits = random_word();

	if (!ipv6)
		return ipv4((uint8_t)(bits & 3 ? 10 : bits >> 8), (uint8_t)(bits >> 16 & 0x81), (uint8_t)(bits >> 24 & 0xc3),
			    (uint8_t)(bits >> 32));
	return (struct address){{0x20 | (bits & 1) << 56 | (bits >> 8 & 0x8001) << 16, (bits >> 24 & 1) << 63 | (bits >> 32 & 0xff)}};
}

static size_t random_prefixes(struct prefix *prefixes, size_t count, bool ipv6)
{
	for (size_t i = 0; i < count; i++)
		prefixes[i] = (struct prefix){random_address(ipv6), (uint8_t)(random_word() % (ipv6 ? 129 : 33))};
	return count;
}

static void prefixes_are_matched_as_a_model_does(void **state)
{
	struct edge_fixture *fixture = *state;
	struct guarded guarded;
	uint32_t refusals = 0, asked = 0;

	for (uint32_t round = 0; round < 200; round++) {
		struct lb_service_wanted *service = &guarded.services[0];
		bool ipv6 = round & 1;

		guarded_init(&guarded, ipv6);
		service->allow = guarded.allow;
		service->deny = guarded.deny;
		service->allow_count = random_prefixes(guarded.allow, random_word() % PREFIXES_MAX, ipv6);
		service->deny_count = random_prefixes(guarded.deny, random_word() % PREFIXES_MAX, ipv6);
		apply(fixture, &guarded);
		for (uint32_t i = 0; i < 500; i++) {
			const struct prefix *near = i & 1 ? &guarded.allow[i % PREFIXES_MAX] : &guarded.deny[i % PREFIXES_MAX];
			struct address client = random_address(ipv6), first, last;

			/* half of them at the ends of a prefix, where bounds are */
			if (i % 4 > 1 && near->address.word[1]) {
				prefix_bounds(near, &first, &last);
				client = i & 4 ? first : last;
			}
			asked++;
			refusals += refused_by_model(service, &client);
			assert_int_equal(refuses(fixture, service, &client), refused_by_model(service, &client));
		}
	}
	assert_in_range(refusals, asked / 5, asked - asked / 5);
}

static void ports_of_a_service_share_their_list(void **state)
{
	struct edge_fixture *fixture = *state;
	struct address client = ipv4(10, 0, 0, 9);
	const struct lb_sources *sources = &fixture->memory->guards.sources;
	struct guarded guarded;
	uint64_t set;

	guarded_init(&guarded, false);
	guarded.deny[0] = (struct prefix){ipv4(10, 0, 0, 0), 24};
	for (uint32_t i = 0; i < 2; i++) {
		guarded.services[i].deny = guarded.deny;
		guarded.services[i].deny_count = 1;
	}
	guarded.wanted.service_count = 3;
	apply(fixture, &guarded);
	assert_true(refuses(fixture, &guarded.services[0], &client));
	assert_true(refuses(fixture, &guarded.services[1], &client));
	assert_false(refuses(fixture, &guarded.services[2], &client));
	set = sources->sets[sources->control][row_of(fixture, &guarded.services[0])];
	assert_int_equal(sources->sets[sources->control][row_of(fixture, &guarded.services[1])], set);
	assert_int_equal((uint32_t)set >> 1, 2);
}

/* What packets meet while they are waited for: the old list or the new one. */
static void list_is_old_or_new(struct edge_fixture *fixture)
{
	struct guarded *guarded = fixture->context;
	struct address always = ipv4(10, 0, 0, 9), never = ipv4(10, 0, 1, 9);

	assert_true(refuses(fixture, &guarded->services[0], &always));
	assert_false(refuses(fixture, &guarded->services[0], &never));
}

static void a_list_changes_by_one_store(void **state)
{
	struct edge_fixture *fixture = *state;
	struct address left = ipv4(10, 0, 2, 1), right = ipv4(10, 0, 4, 1);
	struct guarded guarded;

	guarded_init(&guarded, false);
	guarded.deny[0] = (struct prefix){ipv4(10, 0, 0, 0), 24};
	guarded.services[0].deny = guarded.deny;
	guarded.services[0].deny_count = 2;
	guarded.deny[1] = (struct prefix){ipv4(10, 0, 2, 0), 24};
	apply(fixture, &guarded);
	fixture->context = &guarded;
	fixture->on_wait = list_is_old_or_new;
	for (uint32_t round = 0; round < 8; round++) {
		guarded.deny[1] = (struct prefix){round & 1 ? left : right, 24};
		apply(fixture, &guarded);
		assert_int_equal(refuses(fixture, &guarded.services[0], &left), round & 1);
		assert_int_not_equal(refuses(fixture, &guarded.services[0], &right), round & 1);
	}
	assert_true(fixture->waits > 0);
	fixture->on_wait = NULL;
}

static void lists_come_and_go_with_their_services(void **state)
{
	struct edge_fixture *fixture = *state;
	struct address client = ipv4(10, 0, 0, 9);
	struct guarded guarded;
	uint32_t row;

	guarded_init(&guarded, false);
	guarded.deny[0] = (struct prefix){ipv4(10, 0, 0, 0), 24};
	guarded.services[0].deny = guarded.deny;
	guarded.services[0].deny_count = 1;
	apply(fixture, &guarded);
	assert_true(refuses(fixture, &guarded.services[0], &client));
	row = row_of(fixture, &guarded.services[0]);
	guarded.wanted.service_count = 0;
	apply(fixture, &guarded);
	/* Another one in its row has none of it. */
	guarded.services[0].deny_count = 0;
	guarded.services[0].port_first = guarded.services[0].port_last = 99;
	guarded.wanted.service_count = 1;
	apply(fixture, &guarded);
	assert_int_equal(row_of(fixture, &guarded.services[0]), row);
	assert_false(refuses(fixture, &guarded.services[0], &client));
	/* And one whose list goes serves everybody. */
	guarded.services[0].deny_count = 1;
	apply(fixture, &guarded);
	assert_true(refuses(fixture, &guarded.services[0], &client));
	guarded.services[0].deny_count = 0;
	apply(fixture, &guarded);
	assert_false(refuses(fixture, &guarded.services[0], &client));
}

static void lists_beyond_the_table_are_refused(void **state)
{
	struct edge_fixture *fixture = *state;
	uint32_t most = LB_SOURCE_BOUNDS / 2;
	struct prefix *prefixes = calloc(most + 1, sizeof(*prefixes));
	struct address last = ipv4(10, 0, 0, 0);
	struct edge_changes changes;
	struct guarded guarded;
	struct error error = {0};

	assert_non_null(prefixes);
	for (uint32_t i = 0; i <= most; i++)
		prefixes[i] = (struct prefix){ipv4(10, (uint8_t)(i >> 14), (uint8_t)(i >> 6), (uint8_t)(i << 2)), 32};
	last = prefixes[most - 1].address;
	guarded_init(&guarded, false);
	guarded.services[0].deny = prefixes;
	guarded.services[0].deny_count = most;
	apply(fixture, &guarded);
	assert_true(refuses(fixture, &guarded.services[0], &last));
	assert_true(refuses(fixture, &guarded.services[0], &prefixes[0].address));
	guarded.services[0].deny_count = most + 1;
	assert_int_equal(edge_program_apply(fixture->program, &guarded.wanted, &changes, &error), -E2BIG);
	assert_non_null(strstr(error.text, "service web: its source ranges do not fit"));
	assert_true(refuses(fixture, &guarded.services[0], &last));
	free(prefixes);
}

/* --- limits ------------------------------------------------------------------------------------------------------------ */

static bool limited(struct edge_fixture *fixture, uint32_t kind, uint32_t row, struct address client, uint32_t now_ms)
{
	return lb_limit_refuses(&fixture->memory->limiter, &fixture->memory->guards, (uint64_t)kind << 32 | row, &client, now_ms);
}

/* The naive bucket, in parts of a minute's event. */
struct model_bucket {
	uint64_t credit, full, rate;
	uint32_t last_ms;
};

static bool model_refuses(struct model_bucket *model, uint32_t now_ms)
{
	model->credit += (uint64_t)(now_ms - model->last_ms) * model->rate;
	if (model->credit > model->full)
		model->credit = model->full;
	model->last_ms = now_ms;
	if (model->credit < 60000)
		return true;
	model->credit -= 60000;
	return false;
}

static void rates_are_kept_as_a_model_does(void **state)
{
	static const struct lb_rate_wanted rates[] = {{60, 1}, {60, 5}, {6000, 100}, {600000, 100}, {7, 3}, {1, 10}, {600000000, 100000},
						       {10000000, 100000000}, {90, 900}};
	struct edge_fixture *fixture = *state;
	struct guarded guarded;

	for (size_t i = 0; i < array_length(rates); i++) {
		uint64_t tick_ms = rates[i].per_minute > 60000 ? 1 : 60000 / rates[i].per_minute / 3 + 1;
		struct model_bucket model = {.full = rates[i].burst * 60000ull, .credit = rates[i].burst * 60000ull,
					     .rate = rates[i].per_minute};
		uint32_t now_ms = 12345, passed = 0, expected = 0, row;

		guarded_init(&guarded, false);
		guarded.services[0].client_packets = rates[i];
		guarded.services[0].limit_prefix = 32;
		apply(fixture, &guarded);
		row = row_of(fixture, &guarded.services[0]);
		assert_true(fixture->memory->lb.services[row].flags & LB_SERVICE_LIMIT_PACKETS);
		model.last_ms = now_ms;
		for (uint32_t step = 0; step < 20000; step++) {
			now_ms += random_word() % 4 ? 0 : (uint32_t)(random_word() % (2 * tick_ms));
			passed += !limited(fixture, LB_LIMIT_CLIENT_PACKETS, row, ipv4(10, 0, 0, (uint8_t)i), now_ms);
			expected += !model_refuses(&model, now_ms);
		}
		/* Rounded in the client's favour, by less than a thousandth. */
		assert_in_range(passed, expected, expected + expected / 1000 + 1);
	}
}

static void a_client_is_its_prefix(void **state)
{
	struct edge_fixture *fixture = *state;
	struct guarded guarded;
	uint32_t first, second;

	guarded_init(&guarded, false);
	for (uint32_t i = 0; i < 2; i++) {
		guarded.services[i].client_flows = (struct lb_rate_wanted){60, 2};
		guarded.services[i].limit_prefix = 24;
	}
	guarded.wanted.service_count = 2;
	apply(fixture, &guarded);
	first = row_of(fixture, &guarded.services[0]);
	second = row_of(fixture, &guarded.services[1]);
	assert_false(limited(fixture, LB_LIMIT_CLIENT_FLOWS, first, ipv4(10, 0, 0, 1), 0));
	assert_false(limited(fixture, LB_LIMIT_CLIENT_FLOWS, first, ipv4(10, 0, 0, 255), 0));
	assert_true(limited(fixture, LB_LIMIT_CLIENT_FLOWS, first, ipv4(10, 0, 0, 2), 0));
	/* Another network, another port, another limit. */
	assert_false(limited(fixture, LB_LIMIT_CLIENT_FLOWS, first, ipv4(10, 0, 1, 1), 0));
	assert_false(limited(fixture, LB_LIMIT_CLIENT_FLOWS, second, ipv4(10, 0, 0, 1), 0));
	for (uint32_t i = 0; i < 100; i++)
		assert_false(limited(fixture, LB_LIMIT_CLIENT_PACKETS, first, ipv4(10, 0, 0, 1), 0));
	guarded.services[0].client_flows.burst = 3;
	apply(fixture, &guarded);
	assert_false(limited(fixture, LB_LIMIT_CLIENT_FLOWS, first, ipv4(10, 0, 0, 1), 0));
	guarded.services[0].client_flows.burst = 0;
	apply(fixture, &guarded);
	assert_false(fixture->memory->lb.services[first].flags & LB_SERVICE_LIMIT_FLOWS);
	assert_false(limited(fixture, LB_LIMIT_CLIENT_FLOWS, first, ipv4(10, 0, 0, 2), 0));
}

/* A crowd that the table cannot hold costs no other bucket that is in use. */
static void a_crowd_does_not_refill_a_bucket_in_use(void **state)
{
	struct edge_fixture *fixture = *state;
	struct address greedy = ipv4(10, 0, 0, 1);
	uint32_t row, passed = 0, refused = 0, now_ms = 0;
	struct guarded guarded;

	guarded_init(&guarded, false);
	guarded.services[0].client_flows = (struct lb_rate_wanted){60, 10};
	guarded.services[0].limit_prefix = 32;
	apply(fixture, &guarded);
	row = row_of(fixture, &guarded.services[0]);
	/* ten thousand clients a second for 100 seconds, four times what there is room for; it comes once a second */
	for (uint32_t i = 0; i < 1000000; i++) {
		now_ms = i / 10;
		refused += limited(fixture, LB_LIMIT_CLIENT_FLOWS, row, ipv4(11, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i),
				   now_ms);
		if (i % 2000 == 0)
			passed += !limited(fixture, LB_LIMIT_CLIENT_FLOWS, row, greedy, now_ms);
	}
	/* Shared tags refuse next to none of the crowd. */
	assert_in_range(refused, 0, 200);
	assert_in_range(passed, 100, 110);
}

static void limits_beyond_a_bucket_are_refused(void **state)
{
	static const struct lb_rate_wanted wrong[] = {{60, 601}, {60000000, 9999}, {0, 1}, {LB_RATE_MAX + 1, 100001}};
	struct edge_fixture *fixture = *state;
	struct edge_changes changes;
	struct guarded guarded;
	struct error error;

	for (size_t i = 0; i < array_length(wrong); i++) {
		guarded_init(&guarded, false);
		guarded.services[0].all_flows = wrong[i];
		error = (struct error){0};
		assert_int_equal(edge_program_apply(fixture->program, &guarded.wanted, &changes, &error), -EINVAL);
		assert_non_null(strstr(error.text, "service web: a limit of"));
	}
}

/* --- floods ------------------------------------------------------------------------------------------------------------ */

static struct lb_view view_of(struct edge_fixture *fixture)
{
	struct edge_memory *memory = fixture->memory;

	return (struct lb_view){.lb = &memory->lb, .rings = &memory->rings, .flows = &memory->flows, .filter = &memory->filter,
				.guards = &memory->guards, .limiter = &memory->limiter, .routes = &memory->routes,
				.neighbours = &memory->neighbours, .epoch = fixture->epoch};
}

static struct flow flow_from(const struct lb_service_wanted *service, uint32_t client, uint16_t port, uint8_t tcp_flags)
{
	return (struct flow){.source = address_from_ipv4(client), .destination = service->address, .source_port = be16_from(port),
			     .destination_port = be16_from(service->port_first), .network = FLOW_IPV4,
			     .protocol = service->protocol, .hop_limit = 64, .tcp_flags = tcp_flags};
}

static struct decision send(const struct lb_view *view, uint32_t row, const struct flow *flow)
{
	struct decision decision = {0};
	struct packet nothing = {0};

	lb_forward_decide(view, &nothing, flow, (uint16_t)row, 1, &decision);
	return decision;
}

static uint32_t answer(const struct lb_view *view, const struct lb_service_wanted *service, const struct flow *flow, uint8_t tcp_flags)
{
	struct flow back = *flow;

	back.source = service->backends->address;
	back.source_port = be16_from(service->backends->port);
	back.destination = flow->source;
	back.destination_port = flow->source_port;
	back.tcp_flags = tcp_flags;
	return lb_reverse_find(view, &back);
}

static uint64_t hash_of(const struct lb_view *view, const struct flow *flow)
{
	return lb_flow_hash(view->lb->hash_seed, &flow->source, flow->source_port, &flow->destination, flow->destination_port,
			    flow->protocol, false);
}

static uint64_t record_of(const struct lb_view *view, const struct flow *flow)
{
	struct lb_flow_place found = lb_flow_find(view->flows, hash_of(view, flow), 0, view->epoch);

	return found.found ? found.word : 0;
}

static bool vouched_for(const struct lb_view *view, const struct flow *flow)
{
	return lb_filter_test(view->filter, hash_of(view, flow), view->epoch);
}

static void a_flow_is_established_by_a_client_that_is_there(void **state)
{
	struct edge_fixture *fixture = *state;
	struct guarded guarded;
	struct lb_view view;
	struct flow flow;
	uint32_t row;

	guarded_init(&guarded, false);
	guarded.services[1].protocol = PROTOCOL_TCP;
	guarded.wanted.service_count = 2;
	apply(fixture, &guarded);
	view = view_of(fixture);
	/* UDP: by its second packet; an answer is none of the client's. */
	row = row_of(fixture, &guarded.services[0]);
	flow = flow_from(&guarded.services[0], 0x0a00000a, 1, 0);
	assert_true(send(&view, row, &flow).flags & DECISION_NEW_FLOW);
	assert_int_not_equal(answer(&view, &guarded.services[0], &flow, 0), 0);
	assert_true(record_of(&view, &flow) & LB_FLOW_FRESH);
	assert_false(vouched_for(&view, &flow));
	assert_false(send(&view, row, &flow).flags & DECISION_NEW_FLOW);
	assert_false(record_of(&view, &flow) & LB_FLOW_FRESH);
	assert_true(vouched_for(&view, &flow));
	/* TCP: by what comes behind the answer; no SYN, and no guess before there is one. */
	row = row_of(fixture, &guarded.services[1]);
	flow = flow_from(&guarded.services[1], 0x0a00000a, 2, TCP_SYN);
	assert_true(send(&view, row, &flow).flags & DECISION_NEW_FLOW);
	flow.tcp_flags = TCP_ACK;
	send(&view, row, &flow);
	assert_true(record_of(&view, &flow) & LB_FLOW_FRESH);
	assert_int_not_equal(answer(&view, &guarded.services[1], &flow, TCP_SYN | TCP_ACK), 0);
	assert_true(record_of(&view, &flow) & LB_FLOW_FRESH);
	flow.tcp_flags = TCP_SYN;
	send(&view, row, &flow);
	assert_true(record_of(&view, &flow) & LB_FLOW_FRESH);
	assert_false(vouched_for(&view, &flow));
	flow.tcp_flags = TCP_ACK;
	send(&view, row, &flow);
	assert_false(record_of(&view, &flow) & LB_FLOW_FRESH);
	assert_true(vouched_for(&view, &flow));
	/* Direct return: answers do not pass here. */
	guarded.services[1].direct = true;
	apply(fixture, &guarded);
	flow = flow_from(&guarded.services[1], 0x0a00000a, 3, TCP_SYN);
	send(&view, row, &flow);
	assert_true(record_of(&view, &flow) & LB_FLOW_FRESH);
	flow.tcp_flags = TCP_ACK;
	send(&view, row, &flow);
	assert_false(record_of(&view, &flow) & LB_FLOW_FRESH);
}

#define LIVE_FLOWS 20000u
#define FLOOD_PACKETS 6000000u /* three times what the table holds */

static void a_flood_takes_nothing_from_established_flows(void **state)
{
	struct edge_fixture *fixture = *state;
	uint32_t rows[2], lost = 0, unmarked = 0, again = 0, unrecorded = 0;
	struct guarded guarded;
	struct lb_view view;

	guarded_init(&guarded, false);
	guarded.services[1].protocol = PROTOCOL_TCP;
	guarded.services[0].affinity = true;
	guarded.services[0].affinity_epochs = 100;
	guarded.wanted.service_count = 2;
	apply(fixture, &guarded);
	view = view_of(fixture);
	for (uint32_t i = 0; i < 2; i++)
		rows[i] = row_of(fixture, &guarded.services[i]);
	for (uint32_t i = 0; i < LIVE_FLOWS; i++) {
		const struct lb_service_wanted *service = &guarded.services[i & 1];
		struct flow flow = flow_from(service, 0x0b000000 + i, 1000, TCP_SYN);

		send(&view, rows[i & 1], &flow);
		answer(&view, service, &flow, TCP_SYN | TCP_ACK);
		flow.tcp_flags = TCP_ACK;
		send(&view, rows[i & 1], &flow);
		/* not established yet: the filter took it for another */
		unrecorded += record_of(&view, &flow) == 0 || record_of(&view, &flow) & LB_FLOW_FRESH;
	}
	assert_in_range(unrecorded, 0, 5);
	for (uint32_t i = 0; i < FLOOD_PACKETS; i++) {
		struct flow flow = flow_from(&guarded.services[i & 1], (uint32_t)random_word(), (uint16_t)random_word(), TCP_SYN);

		send(&view, rows[i & 1], &flow);
	}
	for (uint32_t i = 0; i < LIVE_FLOWS; i++) {
		struct flow flow = flow_from(&guarded.services[i & 1], 0x0b000000 + i, 1000, TCP_ACK);
		uint64_t word = record_of(&view, &flow);

		lost += word == 0 || word & LB_FLOW_FRESH;
		unmarked += !vouched_for(&view, &flow);
		again += (send(&view, rows[i & 1], &flow).flags & DECISION_NEW_FLOW) != 0;
	}
	assert_int_equal(lost, unrecorded);
	assert_int_equal(unmarked, 0);
	assert_int_equal(again, 0);
}

static void fresh_flows_go_soon_and_silent_ones_give_way_to_them_at_last(void **state)
{
	struct edge_fixture *fixture = *state;
	struct edge_sweep_stats stats;
	struct guarded guarded;
	struct lb_view view;
	struct flow flow;
	uint64_t *bucket;
	uint32_t row;

	guarded_init(&guarded, false);
	guarded.services[0].udp_idle_epochs = 100;
	apply(fixture, &guarded);
	view = view_of(fixture);
	row = row_of(fixture, &guarded.services[0]);
	flow = flow_from(&guarded.services[0], 0x0a00000a, 1, 0);
	send(&view, row, &flow);
	fixture->epoch += 4;
	do
		edge_program_sweep(fixture->program, fixture->epoch, &stats);
	while (!stats.complete);
	assert_int_not_equal(record_of(&view, &flow), 0);
	fixture->epoch++;
	do
		edge_program_sweep(fixture->program, fixture->epoch, &stats);
	while (!stats.complete);
	assert_int_equal(record_of(&view, &flow), 0);
	/* In a full bucket a fresh one gives way before any that is established, however long that was silent. */
	bucket = lb_flow_bucket(view.flows, hash_of(&view, &flow));
	for (uint64_t fresh = 0; fresh < LB_FLOW_WAYS; fresh++) {
		for (uint64_t way = 0; way < LB_FLOW_WAYS; way++)
			bucket[way] = lb_flow_word(~hash_of(&view, &flow) ^ way << 60, 1,
						   way == fresh ? fixture->epoch : fixture->epoch - 5, way == fresh ? LB_FLOW_FRESH : 0);
		view.epoch = fixture->epoch;
		send(&view, row, &flow);
		assert_true(record_of(&view, &flow) & LB_FLOW_FRESH);
		assert_true(bucket[fresh] == record_of(&view, &flow));
	}
	/* A bucket of others that are established: no room for a fresh one, until they were silent for two minutes. */
	bucket = lb_flow_bucket(view.flows, hash_of(&view, &flow));
	for (uint64_t way = 0; way < LB_FLOW_WAYS; way++)
		bucket[way] = lb_flow_word(~hash_of(&view, &flow) ^ way << 60, 1, fixture->epoch, 0);
	view.epoch = fixture->epoch + LB_FLOW_SILENT_EPOCHS - 1;
	assert_int_equal(send(&view, row, &flow).action, ACTION_NAT_FORWARD);
	assert_int_equal(record_of(&view, &flow), 0);
	assert_true(vouched_for(&view, &flow)); /* so that its answers are known */
	assert_int_not_equal(answer(&view, &guarded.services[0], &flow, 0), 0);
	for (uint64_t way = 0; way < LB_FLOW_WAYS; way++)
		bucket[way] = lb_flow_word(~hash_of(&view, &flow) ^ way << 60, 1, fixture->epoch, 0);
	view.epoch++;
	send(&view, row, &flow);
	assert_true(record_of(&view, &flow) & LB_FLOW_FRESH);
}

static void recorded_flows_are_limited_while_somebody_counts(void **state)
{
	struct edge_fixture *fixture = *state;
	struct edge_sweep_stats stats;
	uint32_t row, began = 0, refused = 0;
	struct guarded guarded;
	struct lb_view view;

	guarded_init(&guarded, false);
	guarded.services[0].flows_max = 100;
	apply(fixture, &guarded);
	row = row_of(fixture, &guarded.services[0]);
	for (uint32_t pass = 0; pass < 3; pass++) {
		do
			edge_program_sweep(fixture->program, fixture->epoch, &stats);
		while (!stats.complete);
		view = view_of(fixture);
		for (uint16_t i = 0; i < 150; i++) {
			struct flow flow = flow_from(&guarded.services[0], 0x0c000000, (uint16_t)(1000 * pass + i), 0);
			struct decision decision = send(&view, row, &flow);

			began += (decision.flags & DECISION_NEW_FLOW) != 0;
			refused += decision.verdict == VERDICT_DROP && decision.reason == DROP_limit_flows;
		}
		assert_int_equal(began, 100);
		assert_int_equal(refused, 50 + 150 * pass);
	}
	/* Nobody sweeps: what was counted is not believed any more. */
	view.epoch = fixture->epoch + LB_LIMITER_SWEPT_EPOCHS + 1;
	assert_true(send(&view, row, &(struct flow){0}).verdict != VERDICT_DROP ||
		    send(&view, row, &(struct flow){0}).reason != DROP_limit_flows);
	/* They end, and there is room again. */
	fixture->epoch += 50;
	do
		edge_program_sweep(fixture->program, fixture->epoch, &stats);
	while (!stats.complete);
	assert_int_equal(fixture->memory->limiter.flows[row], 0);
}

/* Of calls it is sessions that are limited: whoever counts them, the sweep leaves that alone. */
static void live_calls_are_not_counted_by_the_sweep(void **state)
{
	struct edge_fixture *fixture = *state;
	struct edge_sweep_stats stats;
	struct guarded guarded;
	uint32_t row;

	guarded_init(&guarded, false);
	guarded.services[0].protocol = PROTOCOL_UDP;
	guarded.services[0].media = true;
	guarded.services[0].flows_max = 100;
	apply(fixture, &guarded);
	row = row_of(fixture, &guarded.services[0]);
	fixture->memory->limiter.flows[row] = 100;
	for (uint32_t pass = 0; pass < 2; pass++) {
		do
			edge_program_sweep(fixture->program, fixture->epoch, &stats);
		while (!stats.complete);
		assert_int_equal(fixture->memory->limiter.flows[row], 100);
	}
}

static void wanted_neighbours_are_told_of_in_moderation(void **state)
{
	struct edge_fixture *fixture = *state;
	struct edge_counters *counters = fixture->memory->counters;
	struct decision decision = {.flags = DECISION_EVENT, .ifindex = 3};
	uint32_t told = 0;

	/* One host, however many packets are for it; in each eighth of a second. */
	for (uint32_t i = 0; i < 1000; i++) {
		decision.address = ipv4(10, 0, 0, 1);
		told += edge_wanted_admit(counters, &decision, 5000 + i);
	}
	assert_in_range(told, 8, 9);
	assert_int_equal(counters->wanted_hidden, 0);
	/* A flood to hosts that are not there. */
	told = 0;
	for (uint32_t i = 0; i < 1000; i++) {
		decision.address = ipv4(10, 1, (uint8_t)(i >> 8), (uint8_t)i);
		told += edge_wanted_admit(counters, &decision, 100 * EDGE_TRACE_TICK_MS);
	}
	assert_int_equal(told, EDGE_WANTED_IN_TICK);
	assert_int_equal(counters->wanted_hidden, 1000 - EDGE_WANTED_IN_TICK);
	/* The next one has its turn soon, and held fragments always. */
	assert_true(edge_wanted_admit(counters, &decision, 101 * EDGE_TRACE_TICK_MS));
	decision.flags |= DECISION_FRAGMENT;
	for (uint32_t i = 0; i < 100; i++)
		assert_true(edge_wanted_admit(counters, &decision, 101 * EDGE_TRACE_TICK_MS));
}

/* --- connection ids ---------------------------------------------------------------------------------------------------- */

static bool quic_reaches(const struct lb_view *view, uint32_t row, const struct lb_service_wanted *service, uint16_t port,
			 uint64_t server, const struct lb_backend_wanted *backend)
{
	struct flow flow = flow_from(service, 0x0a00000a, port, 0);
	uint8_t bytes[8 + 32] = {[5] = 8 + 32, [8] = 0x40};
	struct packet packet = {.data = bytes, .end = bytes + sizeof(bytes)};
	struct decision decision = {0};

	memcpy(bytes + 10, &server, sizeof(server));
	lb_forward_decide(view, &packet, &flow, (uint16_t)row, 1, &decision);
	return address_equal(&decision.address, &backend->address);
}

static void a_connection_goes_to_the_server_that_it_names_while_that_lives(void **state)
{
	struct edge_fixture *fixture = *state;
	struct lb_backend_wanted backends[2];
	uint32_t row, elsewhere = 0;
	struct guarded guarded;
	struct lb_view view;

	guarded_init(&guarded, false);
	guarded.services[0].quic_server_length = 8;
	guarded.services[0].backends = backends;
	guarded.services[0].backend_count = 2;
	backends[0] = backends[1] = guarded.backend;
	backends[1].address = ipv4(10, 0, 0, 2);
	for (uint64_t i = 0; i < 2; i++) {
		backends[i].quic_named = true;
		backends[i].quic_server = 0x8000000000000001ull + i;
	}
	apply(fixture, &guarded);
	view = view_of(fixture);
	row = row_of(fixture, &guarded.services[0]);
	for (uint16_t port = 1; port < 100; port++) {
		assert_true(quic_reaches(&view, row, &guarded.services[0], port, backends[1].quic_server, &backends[1]));
		elsewhere += quic_reaches(&view, row, &guarded.services[0], port + 100, 7, &backends[0]);
	}
	assert_in_range(elsewhere, 20, 80);
	/* It drains: what is there stays. It dies: by the ring, to the other one. */
	backends[1].state = LB_BACKEND_DRAINING;
	apply(fixture, &guarded);
	assert_true(quic_reaches(&view, row, &guarded.services[0], 300, backends[1].quic_server, &backends[1]));
	backends[1].state = LB_BACKEND_DOWN;
	apply(fixture, &guarded);
	assert_true(quic_reaches(&view, row, &guarded.services[0], 300, backends[1].quic_server, &backends[0]));
	/* Its id is given to another, which is told apart by nothing else. */
	guarded.services[0].backend_count = 1;
	backends[0].quic_server = backends[1].quic_server;
	apply(fixture, &guarded);
	assert_true(quic_reaches(&view, row, &guarded.services[0], 301, backends[1].quic_server, &backends[0]));
}

static void two_servers_with_one_id_are_refused(void **state)
{
	struct edge_fixture *fixture = *state;
	struct lb_backend_wanted backends[2];
	struct edge_changes changes;
	struct guarded guarded;
	struct error error = {0};

	guarded_init(&guarded, false);
	backends[0] = backends[1] = guarded.backend;
	backends[1].address = ipv4(10, 0, 0, 2);
	backends[0].quic_named = backends[1].quic_named = true;
	backends[0].quic_server = 0x0101;
	backends[1].quic_server = 0x020101; /* the third byte is beyond the id */
	guarded.services[0].quic_server_length = 2;
	guarded.services[0].backends = backends;
	guarded.services[0].backend_count = 2;
	assert_int_equal(edge_program_apply(fixture->program, &guarded.wanted, &changes, &error), -EINVAL);
	assert_non_null(strstr(error.text, "one QUIC server id"));
	guarded.services[0].quic_server_length = 3;
	apply(fixture, &guarded);
}

static int setup(void **state)
{
	*state = edge_fixture_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	edge_fixture_free(*state);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(prefixes_are_matched_as_a_model_does),
		TEST(ports_of_a_service_share_their_list),
		TEST(a_list_changes_by_one_store),
		TEST(lists_come_and_go_with_their_services),
		TEST(lists_beyond_the_table_are_refused),
		TEST(rates_are_kept_as_a_model_does),
		TEST(a_client_is_its_prefix),
		TEST(a_crowd_does_not_refill_a_bucket_in_use),
		TEST(limits_beyond_a_bucket_are_refused),
		TEST(a_flow_is_established_by_a_client_that_is_there),
		TEST(a_flood_takes_nothing_from_established_flows),
		TEST(fresh_flows_go_soon_and_silent_ones_give_way_to_them_at_last),
		TEST(wanted_neighbours_are_told_of_in_moderation),
		TEST(recorded_flows_are_limited_while_somebody_counts),
		TEST(live_calls_are_not_counted_by_the_sweep),
		TEST(a_connection_goes_to_the_server_that_it_names_while_that_lives),
		TEST(two_servers_with_one_id_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

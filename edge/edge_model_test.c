/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random changes, one after the other, against a naive model: after each the tables hold what is wanted and nothing else, and
 * every flow that may stay with its backend has stayed, by the packet program's own code.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#include "base/packet/hash.h"
#include "edge/edge_fixture.h"
#include "lb/lb_fast.h"
#include "vip/vip_fast.h"

#define SERVICES 12u
#define BACKENDS 24u
#define FLOWS 3000u
#define STEPS 250u

static uint64_t random_state;

static uint32_t random_below(uint32_t limit)
{
	random_state += 0x9e3779b97f4a7c15ull;
	return (uint32_t)(hash_finish(random_state) >> 32) % limit;
}

/* What the operator may want of one service; backends are switched on and off. */
struct service_model {
	bool present;
	struct lb_service_wanted wanted;
	struct lb_backend_wanted backends[BACKENDS];
	bool backend_present[BACKENDS];
};

struct flow_model {
	uint64_t hash;
	uint32_t service;
	int backend;          /* -1: none */
	uint32_t quiet_epoch; /* sends nothing in this one: its service left, and its mark in the filter is still fresh */
};

struct model {
	struct edge_fixture *fixture;
	struct service_model services[SERVICES];
	struct flow_model flows[FLOWS];
	struct lb_service_wanted wanted_services[SERVICES];
	struct lb_backend_wanted wanted_backends[SERVICES][BACKENDS];
	struct edge_wanted wanted;
	uint32_t kept, moved, began;
	struct lb_backend rows_before[LB_BACKEND_ROWS];
};

static void model_init(struct model *model)
{
	for (uint32_t s = 0; s < SERVICES; s++) {
		struct service_model *service = &model->services[s];
		bool range = s % 4 == 3;

		service->present = true;
		service->wanted = (struct lb_service_wanted){
			.address = ipv4(192, 0, 2, (uint8_t)(s % 3)),
			.port_first = (uint16_t)(1000 * (s / 3 + 1)),
			.port_last = (uint16_t)(1000 * (s / 3 + 1) + (range ? 100 : 0)),
			.protocol = s % 2 ? PROTOCOL_UDP : PROTOCOL_TCP,
			.udp_idle_epochs = 10,
			.affinity_epochs = 20,
			.name = "service",
		};
		for (uint32_t b = 0; b < BACKENDS; b++)
			service->backend_present[b] = b < BACKENDS / 2;
		for (uint32_t b = 0; b < BACKENDS; b++)
			service->backends[b] = (struct lb_backend_wanted){
				/* four services share each pool */
				.address = ipv4(10, 0, (uint8_t)(s % 3), (uint8_t)b),
				.port = range ? 0 : 7000,
				.weight = LB_WEIGHT_UNIT,
				.state = LB_BACKEND_UP,
				.egress = egress_number(s * 100 + b),
			};
	}
	for (uint32_t f = 0; f < FLOWS; f++)
		model->flows[f] = (struct flow_model){
			.hash = hash_finish(hash_word(99, f)), .service = f % SERVICES, .backend = -1};
}

static void service_mutate(struct service_model *service)
{
	uint32_t b = random_below(BACKENDS);

	switch (random_below(12)) {
	case 0:
		service->present = !service->present || random_below(4);
		break;
	case 1:
		service->wanted.affinity = !service->wanted.affinity;
		break;
	case 2:
		service->wanted.direct = !service->wanted.direct;
		break;
	case 3:
		service->wanted.no_backends = random_below(2);
		break;
	case 4:
		service->backends[b].egress = egress_number(random_below(5000));
		break;
	case 5:
		service->backends[b].egress.flags ^= EGRESS_RESOLVED;
		break;
	case 6:
		service->backends[b].weight = (uint16_t)(random_below(4) * 100);
		break;
	case 7:
	case 8:
		service->backends[b].state = (enum lb_backend_state)(LB_BACKEND_UP + random_below(3));
		break;
	case 9:
		for (b = 0; b < BACKENDS; b++) /* all of them, at once */
			service->backends[b].state = random_below(3) ? LB_BACKEND_UP : LB_BACKEND_DOWN;
		break;
	default:
		service->backend_present[b] = !service->backend_present[b];
	}
}

static void wanted_build(struct model *model)
{
	size_t count = 0;

	for (uint32_t s = 0; s < SERVICES; s++) {
		struct service_model *service = &model->services[s];
		struct lb_service_wanted *wanted;
		size_t backends = 0;

		if (!service->present)
			continue;
		for (uint32_t b = 0; b < BACKENDS; b++) {
			if (service->backend_present[b])
				model->wanted_backends[s][backends++] = service->backends[b];
		}
		wanted = &model->wanted_services[count++];
		*wanted = service->wanted;
		wanted->backends = model->wanted_backends[s];
		wanted->backend_count = backends;
	}
	/* The order must not matter. */
	for (size_t i = count; i > 1; i--) {
		size_t j = random_below((uint32_t)i);
		struct lb_service_wanted swapped = model->wanted_services[j];

		model->wanted_services[j] = model->wanted_services[i - 1];
		model->wanted_services[i - 1] = swapped;
	}
	model->wanted = (struct edge_wanted){
		.hash_seed = 5, .services = model->wanted_services, .service_count = count};
}

static uint16_t service_row_of(struct model *model, uint32_t s)
{
	const struct lb_service_wanted *wanted = &model->services[s].wanted;
	struct flow flow = {.network = FLOW_IPV4, .destination = wanted->address, .protocol = wanted->protocol,
			    .destination_port = be16_from(wanted->port_last)};
	uint32_t row = lb_service_find(&model->fixture->memory->lb, &flow);

	return (uint16_t)(row ? row : lb_service_find_range(&model->fixture->memory->lb, &flow));
}

/* The row of a backend by the reverse dictionary, 0 for none. */
static uint16_t backend_row_of(struct model *model, uint32_t s, uint32_t b, uint16_t service_row)
{
	const struct lb_tables *lb = &model->fixture->memory->lb;
	const struct lb_backend_wanted *backend = &model->services[s].backends[b];
	struct directory_key key = lb_key(LB_KEY_BACKEND, &backend->address, false, model->services[s].wanted.protocol,
					  be16_from(backend->port));
	uint32_t row = DIRECTORY_FIND(&lb->backends_by_endpoint, LB_REVERSE_DIRECTORY_BITS, &key);

	for (uint32_t i = 0; row && i < LB_SERVICES_PER_ENDPOINT; i++, row = lb->backends[row].next) {
		if (lb->backends[row].service == service_row)
			return (uint16_t)row;
	}
	return 0;
}

static bool uses_all(const struct service_model *service)
{
	for (uint32_t b = 0; b < BACKENDS; b++) {
		if (service->backend_present[b] && service->backends[b].state == LB_BACKEND_UP)
			return false;
	}
	return service->wanted.no_backends == LB_NO_BACKENDS_ALL;
}

static enum lb_backend_state state_of(const struct service_model *service, uint32_t b)
{
	enum lb_backend_state state = service->backends[b].state;

	return state == LB_BACKEND_DOWN && uses_all(service) ? LB_BACKEND_UP : state;
}

static void ring_verify(struct model *model, uint32_t s, uint16_t row)
{
	const struct service_model *service = &model->services[s];
	const struct lb_tables *lb = &model->fixture->memory->lb;
	uint64_t ring = lb->services[row].ring;
	uint32_t shares[BACKENDS] = {0}, total = 0;

	for (uint32_t b = 0; b < BACKENDS; b++) {
		if (service->backend_present[b] && state_of(service, b) == LB_BACKEND_UP)
			total += service->backends[b].weight;
	}
	assert_int_equal(total != 0, (uint32_t)ring != 0);
	for (uint32_t i = 0; i < (uint32_t)ring; i++) {
		const struct lb_backend *backend =
			&lb->backends[model->fixture->memory->rings.slots[(ring >> 32) + i] & LB_SLOT_BACKEND];

		assert_int_equal(backend->service, row);
		shares[address_ipv4(&backend->address) >> 24]++;
	}
	for (uint32_t b = 0; b < BACKENDS && total; b++) {
		bool in = service->backend_present[b] && state_of(service, b) == LB_BACKEND_UP;
		double exact = in ? (double)(uint32_t)ring * service->backends[b].weight / total : 0;

		assert_true(shares[b] >= exact - 1.01 && shares[b] <= exact + 1.01);
	}
}

static uint32_t entries_used(const struct directory_entry *entries, uint32_t bits, uint64_t control)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i < 1u << bits; i++)
		used += entries[((control & 1) << bits) + i].row != 0;
	return used;
}

static void tables_verify(struct model *model)
{
	const struct lb_tables *lb = &model->fixture->memory->lb;
	bool ranges[3][2] = {{false}}, endpoints[3][2][2][BACKENDS] = {{{{false}}}};
	uint32_t keys = 0, reverse_keys = 0, live = 0, expected_live = 0;

	for (uint32_t s = 0; s < SERVICES; s++) {
		const struct service_model *service = &model->services[s];
		uint16_t row = service_row_of(model, s);
		bool range = s % 4 == 3;

		assert_int_equal(row != 0, service->present);
		if (!row)
			continue;
		keys += range ? !ranges[s % 3][s % 2] : 1;
		ranges[s % 3][s % 2] |= range;
		assert_int_equal(be16_get(lb->services[row].port_first), service->wanted.port_first);
		assert_int_equal(lb->services[row].flags & LB_SERVICE_AFFINITY, service->wanted.affinity);
		assert_int_equal(lb->services[row].flags & LB_SERVICE_DIRECT, service->wanted.direct ? LB_SERVICE_DIRECT : 0);
		ring_verify(model, s, row);
		for (uint32_t b = 0; b < BACKENDS; b++) {
			uint16_t backend = backend_row_of(model, s, b, row);

			expected_live += service->backend_present[b];
			assert_int_equal(backend != 0, service->backend_present[b] && !service->wanted.direct);
			if (!backend)
				continue;
			reverse_keys += !endpoints[s % 3][s % 2][range][b];
			endpoints[s % 3][s % 2][range][b] = true;
			assert_int_equal(lb->backends[backend].state, state_of(service, b));
			assert_memory_equal(&lb->backends[backend].egress, &service->backends[b].egress,
					    sizeof(struct egress));
		}
	}
	for (uint32_t row = 1; row < LB_BACKEND_ROWS; row++)
		live += lb->backends[row].state != LB_BACKEND_FREE;
	assert_int_equal(live, expected_live);
	assert_int_equal(entries_used(&lb->services_by_address.entries[0][0], LB_SERVICE_DIRECTORY_BITS,
				      lb->services_by_address.control), keys);
	assert_int_equal(entries_used(&lb->backends_by_endpoint.entries[0][0], LB_REVERSE_DIRECTORY_BITS,
				      lb->backends_by_endpoint.control), reverse_keys);
}

/* One packet of a flow that has begun already (TCP: no SYN), by the packet program's own steps. */
static uint16_t flow_packet(struct model *model, const struct flow_model *flow, uint16_t row, bool *ret_new)
{
	struct edge_memory *memory = model->fixture->memory;
	const struct lb_service *service = &memory->lb.services[row];
	bool affine = service->flags & LB_SERVICE_AFFINITY;
	uint64_t client_hash = affine ? hash_finish(hash_word(flow->hash, row)) : 0;
	uint16_t slot = lb_ring_ask(&memory->rings, service, affine ? client_hash : flow->hash);
	struct lb_question question = {.hash = flow->hash, .client_hash = client_hash, .epoch = model->fixture->epoch,
				       .service = row, .ring_slot = slot, .tcp = service->protocol == PROTOCOL_TCP};

	struct lb_view view = {.lb = &memory->lb, .flows = &memory->flows};
	struct lb_flow_place found;

	*ret_new = false;
	if (!(slot & LB_SLOT_MOVED) && lb_filter_test(&memory->filter, flow->hash, model->fixture->epoch))
		return slot & LB_SLOT_BACKEND;
	slot = (uint16_t)lb_flow_settle(&memory->lb, &memory->flows, &question);
	if (question.client)
		slot = (uint16_t)lb_flow_settle_client(&view, &question, slot);
	*ret_new = question.new_flow;
	if (!question.fresh) {
		lb_filter_mark(&memory->filter, flow->hash, model->fixture->epoch);
		return slot;
	}
	/* It is answered, and the client's next packet establishes it. */
	found = lb_flow_find(&memory->flows, flow->hash, 0, model->fixture->epoch);
	if (!found.found)
		return slot;
	lb_flow_put(&found, found.word | LB_FLOW_ANSWERED);
	question.fresh = question.client = 0;
	question.client_hash = client_hash;
	assert_int_equal(lb_flow_settle(&memory->lb, &memory->flows, &question), slot);
	assert_false(question.fresh);
	if (question.client)
		(void)lb_flow_settle_client(&view, &question, slot);
	return slot;
}

static void flow_step(struct model *model, struct flow_model *flow)
{
	const struct service_model *service = &model->services[flow->service];
	const struct lb_backend *backend;
	uint16_t row = service_row_of(model, flow->service), chosen;
	bool stays, began;
	int b;

	if (!row) {
		flow->backend = -1;
		flow->quiet_epoch = model->fixture->epoch;
	}
	if (flow->quiet_epoch == model->fixture->epoch)
		return;
	stays = flow->backend >= 0 && service->backend_present[flow->backend] &&
		(state_of(service, (uint32_t)flow->backend) != LB_BACKEND_DOWN || service->wanted.protocol == PROTOCOL_TCP);
	chosen = flow_packet(model, flow, row, &began);
	backend = &model->fixture->memory->lb.backends[chosen];
	b = chosen ? (int)(address_ipv4(&backend->address) >> 24) : -1;
	if (chosen)
		assert_int_equal(backend->service, row);
	if (stays) {
		if (b != flow->backend || began)
			fail_msg("epoch %u: flow %#llx of service %u (row %u, flags %x) left backend %d (state %u) for %d%s",
				 model->fixture->epoch, (unsigned long long)flow->hash, flow->service, row,
				 model->fixture->memory->lb.services[row].flags, flow->backend,
				 service->backends[flow->backend].state, b, began ? ", as a new flow" : "");
		model->kept++;
		return;
	}
	if (chosen) {
		assert_true(service->backend_present[b]);
		assert_int_equal(backend->state, LB_BACKEND_UP);
		model->moved += flow->backend >= 0;
		model->began++;
	}
	flow->backend = b;
}

/* No recorded flow names a row that has become another backend's. */
static void rows_verify_uninherited(struct model *model)
{
	const struct lb_tables *lb = &model->fixture->memory->lb;
	const uint64_t *words = &model->fixture->memory->flows.words[0][0];
	static bool fresh[LB_BACKEND_ROWS];
	bool any = false;

	for (uint32_t row = 1; row < LB_BACKEND_ROWS; row++) {
		const struct lb_backend *before = &model->rows_before[row], *now = &lb->backends[row];

		fresh[row] = now->state != LB_BACKEND_FREE &&
			     (before->service != now->service || !address_equal(&before->address, &now->address));
		any = any || fresh[row];
	}
	for (size_t i = 0; any && i < sizeof(struct lb_flows) / sizeof(*words); i++)
		assert_false(fresh[lb_flow_backend(words[i])]);
}

static void adoption_verify(struct model *model)
{
	struct edge_tables tables = memory_tables(model->fixture->memory);
	struct edge_memory *copy = memory_new();
	struct edge_changes changes;
	struct error error;

	assert_non_null(copy);
	memcpy(copy, model->fixture->memory, sizeof(*copy));
	edge_program_free(model->fixture->program);
	model->fixture->program = edge_program_new(&tables, 2, &model->fixture->host);
	assert_non_null(model->fixture->program);
	assert_int_equal(edge_program_apply(model->fixture->program, &model->wanted, &changes, &error), 0);
	assert_false(edge_changes_any(&changes));
	assert_memory_equal(copy, model->fixture->memory, sizeof(*copy));
	free(copy);
}

static void step(struct model *model)
{
	struct edge_sweep_stats stats;
	struct edge_changes changes;
	struct error error = {0};

	for (uint32_t i = random_below(4); i-- > 0;)
		service_mutate(&model->services[random_below(SERVICES)]);
	wanted_build(model);
	memcpy(model->rows_before, model->fixture->memory->lb.backends, sizeof(model->rows_before));
	if (edge_program_apply(model->fixture->program, &model->wanted, &changes, &error) < 0)
		fail_msg("%s", error.text);
	rows_verify_uninherited(model);
	assert_int_equal(edge_program_apply(model->fixture->program, &model->wanted, &changes, &error), 0);
	assert_false(edge_changes_any(&changes));
	tables_verify(model);
	for (uint32_t f = 0; f < FLOWS; f++)
		flow_step(model, &model->flows[f]);
	for (uint32_t i = random_below(3) ? random_below(5) : 40; i-- > 0;)
		edge_program_sweep(model->fixture->program, model->fixture->epoch, &stats);
	for (uint32_t f = 0; f < FLOWS; f++)
		flow_step(model, &model->flows[f]);
	model->fixture->epoch += random_below(2);
	if (random_below(20) == 0)
		adoption_verify(model);
}

static void random_changes_keep_every_flow_that_may_stay(void **state)
{
	const char *given = getenv("SELVAGE_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	struct model *model = calloc(1, sizeof(*model));

	assert_non_null(model);
	print_message("SELVAGE_TEST_SEED=%llu\n", (unsigned long long)seed);
	random_state = seed;
	model->fixture = edge_fixture_new();
	model_init(model);
	for (uint32_t i = 0; i < STEPS; i++)
		step(model);
	print_message("%u packets stayed, %u flows began anew, of them %u whose backend had left or died\n", model->kept,
		      model->began, model->moved);
	assert_true(model->kept > STEPS * FLOWS / 4);
	edge_fixture_free(model->fixture);
	free(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_changes_keep_every_flow_that_may_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

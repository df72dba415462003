/* SPDX-License-Identifier: Apache-2.0 */
/* The loaded programs: what they cost the verifier, and frames through them without a network. Skipped without privileges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/packet/wire.h"
#include "ebpf/edge_tc.skel.h"
#include "ebpf/edge_xdp.skel.h"
#include "ebpf/loader.h"

#define SKIPPED 77
#define LOG_SIZE (64u << 10)
#define INGRESS 4242u /* an interface that does not exist */

static unsigned long budget_of(const char *program)
{
	_cleanup_(fclosep) FILE *file = fopen(COMPLEXITY_FILE, "r");
	char line[256], name[64];
	unsigned long budget;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (line[0] != '#' && sscanf(line, "%63s %lu", name, &budget) == 2 && strcmp(name, program) == 0)
			return budget;
	}
	fail_msg("%s has no budget in %s", program, COMPLEXITY_FILE);
	return 0;
}

static void log_ask(struct bpf_object *object)
{
	struct bpf_program *program;
	struct bpf_map *map;

	bpf_object__for_each_program(program, object) {
		bpf_program__set_log_level(program, 4); /* statistics */
		assert_int_equal(bpf_program__set_log_buf(program, calloc(1, LOG_SIZE), LOG_SIZE), 0);
	}
	map = bpf_object__find_map_by_name(object, "edge_counters");
	if (map)
		assert_int_equal(bpf_map__set_max_entries(map, (uint32_t)libbpf_num_possible_cpus()), 0);
}

static void budgets_check(struct bpf_object *object)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, object) {
		const char *name = bpf_program__name(program), *text;
		unsigned long processed = 0, budget = budget_of(name);
		size_t size;
		char *log = (char *)bpf_program__log_buf(program, &size);

		text = strstr(log, "processed ");
		assert_non_null(text);
		assert_int_equal(sscanf(text, "processed %lu", &processed), 1);
		print_message("%s: %lu instructions verified, budget %lu\n", name, processed, budget);
		assert_true(processed <= budget + budget / 10);
		free(log);
	}
}

static void programs_keep_their_budget(void **state)
{
	struct edge_xdp *xdp = edge_xdp__open();
	struct edge_tc *tc = edge_tc__open();

	assert_non_null(xdp);
	assert_non_null(tc);
	log_ask(xdp->obj);
	log_ask(tc->obj);
	assert_int_equal(edge_xdp__load(xdp), 0);
	assert_int_equal(edge_tc__load(tc), 0);
	budgets_check(xdp->obj);
	budgets_check(tc->obj);
	edge_xdp__destroy(xdp);
	edge_tc__destroy(tc);
}

static int setup(void **state)
{
	return loader_open(NULL, (struct loader **)state, NULL);
}

static int teardown(void **state)
{
	loader_close(*state);
	return 0;
}

/* An ARP request for 10.0.0.50 by 10.0.0.1. */
static const uint8_t arp_request[42] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 1,
	0,    0,    0,	  0,	0,    0,    10, 0, 0, 50,
};

/* The least that answers: one link and one virtual IP, in the first places of their dictionaries. */
static void vip_put(const struct edge_tables *tables)
{
	struct address vip = address_from_ipv4(__builtin_bswap32(0x0a000032));
	struct directory_key key = vip_key(&vip, false);
	uint32_t home = directory_hash(&key, 0) & ((1u << VIP_DIRECTORY_BITS) - 1);

	tables->vips->rows[1] = (struct vip_row){.address = vip, .links = 1, .flags = VIP_OWNED};
	tables->vips->directory.entries[0][home] = (struct directory_entry){key, 1, 0};
	key = link_key(INGRESS, 0);
	home = directory_hash(&key, 0) & ((1u << LINK_DIRECTORY_BITS) - 1);
	tables->links->rows[1] = (struct link_row){.mac = 0x010000000002ull, .announce = 1, .ifindex = INGRESS};
	tables->links->directory.entries[0][home] = (struct directory_entry){key, 1, 0};
}

static void frame_is_run_as_from_any_interface(void **state)
{
	static struct loader_run run;
	static const uint8_t node_mac[6] = {2, 0, 0, 0, 0, 1};
	struct loader *loader = *state;
	struct error error = {0};

	vip_put(loader_tables(loader));
	assert_int_equal(loader_test_run(loader, arp_request, sizeof(arp_request), INGRESS, true, &run, &error), 0);
	assert_int_equal(run.verdict, VERDICT_TX);
	assert_int_equal(run.length, sizeof(arp_request));
	assert_memory_equal(run.bytes + 6, node_mac, sizeof(node_mac));
	assert_true(run.event_known);
	assert_int_equal(run.event.ifindex, INGRESS);
	assert_int_equal(run.event.decision.function, FUNCTION_VIP);
	assert_int_equal(run.event.decision.action, ACTION_ARP_REPLY);
	assert_memory_equal(run.event.bytes, arp_request, sizeof(arp_request));
	/* On another interface it is nobody's. */
	assert_int_equal(loader_test_run(loader, arp_request, sizeof(arp_request), INGRESS + 1, false, &run, &error), 0);
	assert_int_equal(run.verdict, VERDICT_PASS);
	assert_false(run.event_known);
}

static void frame_that_the_kernel_refuses_is_an_error(void **state)
{
	static struct loader_run run;
	static uint8_t frame[LOADER_FRAME_MAX + 1];
	struct error error = {0};

	assert_int_equal(loader_test_run(*state, frame, 13, INGRESS, false, &run, &error), -EINVAL);
	assert_non_null(strstr(error.text, "14"));
	assert_int_equal(loader_test_run(*state, frame, sizeof(frame), INGRESS, false, &run, &error), -EMSGSIZE);
	assert_int_equal(loader_test_run(*state, frame, LOADER_FRAME_MAX, INGRESS, false, &run, &error), 0);
}

static uint64_t hidden_sum(const struct loader *loader)
{
	uint64_t hidden = 0;

	for (uint32_t set = 0; set < loader_counter_sets(loader); set++)
		hidden += loader_tables(loader)->counters[set].trace_hidden;
	return hidden;
}

/* What is above the limit leaves no record, and is counted; the next tick has its own. */
static void trace_is_limited(void **state)
{
	static struct loader_run run;
	struct loader *loader = *state;
	struct edge_config *config = loader_tables(loader)->config;
	struct error error = {0};
	uint32_t recorded = 0, hidden = 0;

	config->trace_limit = 3;
	while (hidden == 0 || recorded < 7) {
		int code = loader_test_run(loader, arp_request, sizeof(arp_request), INGRESS, true, &run, &error);

		assert_true(code == 0 || code == -EIO);
		recorded += code == 0;
		hidden += code != 0;
		assert_true(recorded + hidden < 10000000);
	}
	assert_int_equal(hidden_sum(loader), hidden);
	assert_true(hidden > 0);
}

static void trace_takes_as_much_as_is_asked_for(void **state)
{
	static struct loader_run run;
	static uint8_t frame[3000] = {[12] = 0x88, [13] = 0xb5};
	const uint32_t asked[] = {0, 60, 256, 257, 1500, 2500, 3000, 65535}, given[] = {256, 60, 256, 257, 1500, 2500, 3000, 3000};
	struct loader *loader = *state;
	struct error error = {0};

	for (size_t i = 0; i < array_length(asked); i++) {
		loader_tables(loader)->config->trace_snaplen = asked[i];
		assert_int_equal(loader_test_run(loader, frame, sizeof(frame), INGRESS, true, &run, &error), 0);
		assert_int_equal(run.event.captured, given[i]);
		assert_int_equal(run.event.length, sizeof(frame));
	}
}

static void epoch_is_the_programs_own(void **state)
{
	static struct loader_run run;
	struct loader *loader = *state;
	uint32_t before, after;
	struct error error = {0};

	/* Whatever the tick is, an epoch is 8.192 s to the nearest power of two of them. */
	before = loader_epoch(loader);
	assert_int_equal(loader_test_run(loader, arp_request, sizeof(arp_request), INGRESS, false, &run, &error), 0);
	after = loader_epoch(loader);
	assert_true(after - before <= 1);
	assert_true(before != 0);
}

static void tick_is_the_kernels_in_milliseconds(void **state)
{
	struct timespec start, end;
	uint32_t first = loader_now_ms(*state), passed, elapsed_ms;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		passed = loader_now_ms(*state) - first;
		clock_gettime(CLOCK_MONOTONIC, &end);
		elapsed_ms = (uint32_t)((end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000);
	} while (elapsed_ms < 200);
	/* a tick of 10 ms at most at either end, and HZ 300 is slow by a tenth */
	assert_in_range(passed, 160, elapsed_ms + 20);
}

static void quiesce_returns(void **state)
{
	loader_quiesce(*state);
}

static void nothing_is_attached_without_pins(void **state)
{
	struct loader_attachment attachment;
	struct error error = {0};

	assert_int_equal(loader_attach(*state, 1, LOADER_XDP_GENERIC, &attachment, &error), -EINVAL);
	assert_non_null(strstr(error.text, "directory"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(programs_keep_their_budget),
		cmocka_unit_test_setup_teardown(frame_is_run_as_from_any_interface, setup, teardown),
		cmocka_unit_test_setup_teardown(frame_that_the_kernel_refuses_is_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(trace_is_limited, setup, teardown),
		cmocka_unit_test_setup_teardown(trace_takes_as_much_as_is_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(epoch_is_the_programs_own, setup, teardown),
		cmocka_unit_test_setup_teardown(tick_is_the_kernels_in_milliseconds, setup, teardown),
		cmocka_unit_test_setup_teardown(quiesce_returns, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_attached_without_pins, setup, teardown),
	};
	struct loader *loader = NULL;
	struct error error = {0};

	if (loader_open(NULL, &loader, &error) == -EPERM) {
		printf("SKIP: %s\n", error.text);
		return SKIPPED;
	}
	loader_close(loader);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

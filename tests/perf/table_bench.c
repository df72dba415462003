/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a change costs: tools/bench ring and apply. Lines of JSON on standard output.
 *
 *     ring   slots of the surviving backends that move when one of N leaves, beside Maglev as the paper prints it
 *     apply  1000 services of 8 backends each: from nothing, one backend more down, nothing changed; beside copying the
 *            bytes of the balancer's tables
 */
#include <string.h>
#include <sys/mman.h>

#include "base/packet/wire.h"
#include "edge/edge_fixture.h"
#include "lb/maglev.h"
#include "tests/perf/bench_result.h"

#define RING_SLOTS_MEASURED 65537u
#define RING_BACKENDS_MAX 400u
#define SERVICES 1000u
#define BACKENDS 8u

/* --- ring --- */

/* Eisenbud et al., NSDI 2016, section 3.4, pseudocode 1: no weights. */
static void paper_build(const struct maglev_backend *backends, uint32_t count, uint32_t size, uint16_t *ret_slots)
{
	uint32_t next[RING_BACKENDS_MAX] = {0}, filled = 0;

	memset(ret_slots, 0, size * sizeof(*ret_slots));
	while (filled < size) {
		for (uint32_t i = 0; i < count && filled < size; i++) {
			uint64_t offset = (uint32_t)backends[i].identity % size;
			uint64_t skip = (backends[i].identity >> 32) % (size - 1) + 1;
			uint32_t slot;

			do
				slot = (uint32_t)((offset + next[i]++ * skip) % size);
			while (ret_slots[slot]);
			ret_slots[slot] = backends[i].row;
			filled++;
		}
	}
}

static int ring_fill(bool paper, const struct maglev_backend *backends, uint32_t count, uint16_t *ret_slots)
{
	if (!paper)
		return maglev_build(backends, count, RING_SLOTS_MEASURED, ret_slots);
	paper_build(backends, count, RING_SLOTS_MEASURED, ret_slots);
	return 0;
}

/* One set of addresses: the share that moves when its first backend leaves, and how long the whole ring took to build. */
static int ring_round(bool paper, uint32_t count, uint32_t round, double *ret_moved, double *ret_us)
{
	static uint16_t before[RING_SLOTS_MEASURED], after[RING_SLOTS_MEASURED];
	struct maglev_backend backends[RING_BACKENDS_MAX];
	struct maglev_shift shift;
	double start;
	int code;

	for (uint32_t i = 0; i < count; i++)
		backends[i] = (struct maglev_backend){hash_finish(hash_word(round + 1, i)), 1, (uint16_t)(i + 1)};
	start = bench_now_ns();
	code = ring_fill(paper, backends, count, before);
	*ret_us = (bench_now_ns() - start) / 1000;
	if (code == 0)
		code = ring_fill(paper, backends + 1, count - 1, after);
	if (code)
		return code;
	shift = maglev_compare(before, after, RING_SLOTS_MEASURED, 1);
	*ret_moved = 100.0 * shift.moved / (shift.kept + shift.moved);
	return 0;
}

static int ring_measure(struct error *error)
{
	static const uint32_t counts[] = {10, 100, 400};

	for (size_t i = 0; i < array_length(counts); i++) {
		double moved[2][BENCH_ROUNDS], us[2][BENCH_ROUNDS], ours, papers;

		for (uint32_t round = 0; round < BENCH_ROUNDS; round++) {
			for (int paper = 0; paper < 2; paper++) {
				if (ring_round(paper, counts[i], round, &moved[paper][round], &us[paper][round]) < 0)
					return error_set(error, ENOMEM, "no memory");
			}
		}
		ours = bench_spread(moved[0]).median;
		papers = bench_spread(moved[1]).median;
		printf("{\"bench\":\"ring\",\"case\":\"leave_1_of_%u\",\"text\":\"1 of %u backends leaves, %u slots\","
		       "\"moved_percent\":%.3f,\"paper_moved_percent\":%.3f,\"ratio_to_paper\":%.2f,\"build_us\":%.0f,"
		       "\"paper_build_us\":%.0f,\"rounds\":%u}\n",
		       counts[i], counts[i], RING_SLOTS_MEASURED, ours, papers, ours / papers, bench_spread(us[0]).median,
		       bench_spread(us[1]).median, BENCH_ROUNDS);
	}
	return 0;
}

/* --- apply --- */

struct apply_site {
	struct lb_backend_wanted backends[SERVICES][BACKENDS];
	struct lb_service_wanted services[SERVICES];
	struct vip_wanted vips[SERVICES];
	struct edge_wanted wanted;
};

static void apply_site_fill(struct apply_site *site)
{
	for (uint32_t i = 0; i < SERVICES; i++) {
		site->vips[i] = (struct vip_wanted){ipv4(10, 1, (uint8_t)(i >> 8), (uint8_t)i), true, 1};
		site->services[i] = (struct lb_service_wanted){.address = site->vips[i].address, .port_first = 80,
							       .port_last = 80, .protocol = PROTOCOL_TCP,
							       .affinity_epochs = 10, .udp_idle_epochs = 10,
							       .backends = site->backends[i], .backend_count = BACKENDS,
							       .name = "bench"};
		for (uint32_t j = 0; j < BACKENDS; j++)
			site->backends[i][j] = (struct lb_backend_wanted){
				.address = ipv4(10, (uint8_t)(100 + j), (uint8_t)(i >> 8), (uint8_t)i), .port = 8080,
				.weight = LB_WEIGHT_UNIT, .weight_full = LB_WEIGHT_UNIT, .state = LB_BACKEND_UP,
				.egress = egress_number(3 + j), .name = "bench"};
	}
	site->wanted = (struct edge_wanted){.hash_seed = 7, .vips = site->vips, .vip_count = SERVICES,
					    .services = site->services, .service_count = SERVICES};
}

static double apply_ms(struct edge_fixture *fixture, const struct apply_site *site, bool change, struct error *error)
{
	struct edge_changes changes = {0};
	double start = bench_now_ns();
	int code = edge_program_apply(fixture->program, &site->wanted, &changes, error);

	if (code == 0 && edge_changes_any(&changes) != change)
		code = error_set(error, EINVAL, "apply found %s", change ? "nothing to change" : "something to change");
	return code ? -1 : (bench_now_ns() - start) / 1e6;
}

static double copy_ms(const struct edge_memory *memory)
{
	static struct lb_tables copy;
	double start = bench_now_ns();

	memcpy(&copy, &memory->lb, sizeof(copy));
	__asm__ volatile("" : : "r"(&copy) : "memory");
	return (bench_now_ns() - start) / 1e6;
}

enum apply_kind { APPLY_COPY, APPLY_ALL, APPLY_NOTHING, APPLY_ONE, APPLY_KINDS };

static int apply_round(struct apply_site *site, double *ret_ms, struct error *error)
{
	struct edge_fixture *fixture = edge_fixture_new();

	if (!fixture)
		return error_set(error, ENOMEM, "no memory");
	ret_ms[APPLY_ALL] = apply_ms(fixture, site, true, error);
	copy_ms(fixture->memory); /* its own pages come into being */
	ret_ms[APPLY_COPY] = copy_ms(fixture->memory);
	ret_ms[APPLY_NOTHING] = apply_ms(fixture, site, false, error);
	site->backends[SERVICES / 2][0].state = LB_BACKEND_DOWN;
	ret_ms[APPLY_ONE] = apply_ms(fixture, site, true, error);
	site->backends[SERVICES / 2][0].state = LB_BACKEND_UP;
	edge_fixture_free(fixture);
	return ret_ms[APPLY_ALL] < 0 || ret_ms[APPLY_NOTHING] < 0 || ret_ms[APPLY_ONE] < 0 ? -EINVAL : 0;
}

static int apply_measure(struct error *error)
{
	static const char *const texts[] = {"copying the balancer's tables", "1000 services of 8 backends, from nothing",
					    "the same again: nothing to change", "one backend down"};
	static const char *const names[] = {"copy", "all", "nothing", "one_backend"};
	static struct apply_site site;
	double values[APPLY_KINDS][BENCH_ROUNDS], copy;

	apply_site_fill(&site);
	for (uint32_t round = 0; round < BENCH_ROUNDS; round++) {
		double ms[APPLY_KINDS] = {0};
		int code = apply_round(&site, ms, error);

		if (code)
			return code;
		for (size_t kind = 0; kind < APPLY_KINDS; kind++)
			values[kind][round] = ms[kind];
	}
	copy = bench_spread(values[APPLY_COPY]).median;
	for (size_t kind = 0; kind < APPLY_KINDS; kind++) {
		double ms = bench_spread(values[kind]).median;

		printf("{\"bench\":\"apply\",\"case\":\"%s\",\"text\":\"%s\",\"ms\":%.2f,\"ratio_to_copy\":%.1f,\"rounds\":%u}\n",
		       names[kind], texts[kind], ms, ms / copy, BENCH_ROUNDS);
	}
	return 0;
}

int main(int count, char **arguments)
{
	struct error error = {0};

	bench_pin(1);
	for (int i = 1; i < count; i++) {
		int code = strcmp(arguments[i], "ring") == 0  ? ring_measure(&error) :
			   strcmp(arguments[i], "apply") == 0 ? apply_measure(&error) :
								error_set(&error, EINVAL, "no such benchmark");

		if (code)
			return fprintf(stderr, "table_bench: %s: %s\n", arguments[i], error.text), 1;
	}
	if (count < 2)
		return fprintf(stderr, "table_bench: name one of ring and apply\n"), 2;
	return 0;
}

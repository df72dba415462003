/* SPDX-License-Identifier: Apache-2.0 */
/* From prefixes to bounds: longest match worked out here, so that packets need none. */
#include <stdlib.h>
#include <string.h>

#include "lb/lb_internal.h"

/* One prefix as the numbers that it covers. */
struct span {
	struct lb_source_bound first, last;
	uint8_t length;
	bool deny;
};

static struct lb_source_bound number_of(const struct address *address)
{
	return (struct lb_source_bound){__builtin_bswap64(address->word[0]), __builtin_bswap64(address->word[1])};
}

static int number_compare(const struct lb_source_bound *a, const struct lb_source_bound *b)
{
	if (a->high != b->high)
		return a->high < b->high ? -1 : 1;
	return a->low == b->low ? 0 : a->low < b->low ? -1 : 1;
}

/* The outer one first; of two equal ones the denial last, which decides. */
static int span_compare(const void *left, const void *right)
{
	const struct span *a = left, *b = right;
	int order = number_compare(&a->first, &b->first);

	if (order == 0)
		order = a->length - b->length;
	return order ? order : a->deny - b->deny;
}

static size_t spans_add(struct span *spans, size_t count, const struct prefix *prefixes, size_t prefix_count, bool ipv4,
			bool deny)
{
	for (size_t i = 0; i < prefix_count; i++) {
		struct address first, last;

		if (prefix_family_ipv4(&prefixes[i]) != ipv4)
			continue;
		prefix_bounds(&prefixes[i], &first, &last);
		spans[count++] = (struct span){number_of(&first), number_of(&last), prefixes[i].length, deny};
	}
	return count;
}

/* The bounds of one service as they are cut. */
struct cutting {
	struct lb_source_bound *bounds;
	bool *refused; /* behind each */
	size_t count;
	bool before; /* refused below the first */
};

/* From `at` on, clients are refused or not; `at` never goes back. */
static void cut(struct cutting *cutting, const struct lb_source_bound *at, bool refused)
{
	if (cutting->count && number_compare(&cutting->bounds[cutting->count - 1], at) == 0)
		cutting->count--;
	if ((cutting->count ? cutting->refused[cutting->count - 1] : cutting->before) == refused)
		return;
	cutting->bounds[cutting->count] = *at;
	cutting->refused[cutting->count++] = refused;
}

/* Behind the end of the span on top of the stack, the one below it decides. */
static void cut_end(struct cutting *cutting, const struct span *ended, const struct span *below)
{
	struct lb_source_bound next = {ended->last.high + (ended->last.low == UINT64_MAX), ended->last.low + 1};

	if (next.high | next.low) /* not behind the last address there is */
		cut(cutting, &next, below ? below->deny : cutting->before);
}

/* Prefixes are nested or apart, so those that are open at any place are a stack. */
static void spans_cut(const struct span *spans, size_t count, struct cutting *cutting)
{
	const struct span *open[130]; /* each longer than the one below, or its denial */
	size_t depth = 0;

	for (size_t i = 0; i < count; i++) {
		while (depth && number_compare(&open[depth - 1]->last, &spans[i].first) < 0) {
			depth--;
			cut_end(cutting, open[depth], depth ? open[depth - 1] : NULL);
		}
		if (depth && open[depth - 1]->length == spans[i].length)
			depth--; /* the same prefix once more */
		open[depth++] = &spans[i];
		cut(cutting, &spans[i].first, spans[i].deny);
	}
	while (depth) {
		depth--;
		cut_end(cutting, open[depth], depth ? open[depth - 1] : NULL);
	}
}

static bool sources_same(const struct lb_service_wanted *a, const struct lb_service_wanted *b)
{
	return a->allow == b->allow && a->allow_count == b->allow_count && a->deny == b->deny &&
	       a->deny_count == b->deny_count && address_is_ipv4(&a->address) == address_is_ipv4(&b->address);
}

bool service_has_sources(const struct lb_service_wanted *service)
{
	return service->allow_count + service->deny_count != 0;
}

static int service_cut(const struct lb_service_wanted *service, struct source_sets *sets, uint64_t *ret_set,
		       struct error *error)
{
	size_t most = service->allow_count + service->deny_count, count = 0;
	_cleanup_(freep) struct span *spans = calloc(most + 1, sizeof(*spans));
	_cleanup_(freep) struct lb_source_bound *bounds = calloc(2 * most + 1, sizeof(*bounds));
	_cleanup_(freep) bool *refused = calloc(2 * most + 1, sizeof(*refused));
	struct cutting cutting = {.bounds = bounds, .refused = refused, .before = service->allow_count != 0};
	bool ipv4 = address_is_ipv4(&service->address);

	if (!spans || !bounds || !refused)
		return error_set(error, ENOMEM, "service %s: its source ranges: no memory", service->name);
	count = spans_add(spans, count, service->allow, service->allow_count, ipv4, false);
	count = spans_add(spans, count, service->deny, service->deny_count, ipv4, true);
	qsort(spans, count, sizeof(*spans), span_compare);
	spans_cut(spans, count, &cutting);
	if (cutting.count > LB_SOURCE_BOUNDS - sets->used)
		return error_set(error, E2BIG, "service %s: its source ranges do not fit beside those of the others: a node holds %u bounds, two for a prefix",
				 service->name, LB_SOURCE_BOUNDS);
	memcpy(&sets->bounds[sets->used], bounds, cutting.count * sizeof(*bounds));
	*ret_set = (uint64_t)sets->used << 32 | (uint64_t)cutting.count << 1 | cutting.before;
	sets->used += (uint32_t)cutting.count;
	return 0;
}

int sources_cut(const struct lb_service_wanted *services, size_t count, struct source_sets **ret_sets, struct error *error)
{
	_cleanup_(freep) struct source_sets *sets = NULL;
	const struct lb_service_wanted *last = NULL;
	size_t last_place = 0;

	for (size_t i = 0; i < count; i++) {
		int result;

		if (!service_has_sources(&services[i]))
			continue;
		if (!sets)
			sets = calloc(1, sizeof(*sets));
		if (!sets)
			return error_set(error, ENOMEM, "source ranges: no memory");
		/* The ports of one Service come one after the other and share its lists. */
		if (last && sources_same(last, &services[i])) {
			sets->sets[i] = sets->sets[last_place];
			continue;
		}
		result = service_cut(&services[i], sets, &sets->sets[i], error);
		if (result < 0)
			return result;
		last = &services[i];
		last_place = i;
	}
	*ret_sets = sets;
	sets = NULL;
	return 0;
}

static bool set_in_place(const struct lb_sources *table, uint16_t row, const struct source_sets *sets, size_t place)
{
	uint32_t buffer = (uint32_t)table->control & 1;
	uint64_t has = table->sets[buffer][row], wanted = sets->sets[place];
	uint32_t count = (uint32_t)wanted >> 1;

	return (uint32_t)has == (uint32_t)wanted &&
	       memcmp(&table->bounds[buffer][has >> 32], &sets->bounds[wanted >> 32],
		      count * sizeof(struct lb_source_bound)) == 0;
}

static bool sets_in_place(const struct lb_sources *table, const struct plan *plan, const struct source_sets *sets)
{
	for (size_t i = 0; i < plan->count; i++) {
		if (service_has_sources(&plan->services[i]) && !set_in_place(table, plan->service_rows[i], sets, i))
			return false;
	}
	return true;
}

int sources_publish(struct lb_program *program, struct plan *plan, struct error *error)
{
	struct lb_sources *table = &program->options.guards->sources;
	_cleanup_(freep) struct source_sets *sets = NULL;
	uint32_t spare = ((uint32_t)table->control & 1) ^ 1;
	int result = sources_cut(plan->services, plan->count, &sets, error);

	if (result < 0 || !sets || sets_in_place(table, plan, sets))
		return result;
	quiesce_need(program->options.quiesce, program->sources_stamp);
	memcpy(table->bounds[spare], sets->bounds, sets->used * sizeof(sets->bounds[0]));
	/* A service that leaves is found for a moment yet: by nobody any more. */
	for (uint32_t row = 1; row < LB_SERVICE_ROWS; row++)
		table->sets[spare][row] = program->services[row].used && !plan->service_stays[row];
	for (size_t i = 0; i < plan->count; i++)
		table->sets[spare][plan->service_rows[i]] = sets->sets[i];
	table_publish();
	store_once(table->control, (uint64_t)spare);
	program->sources_stamp = quiesce_retire(program->options.quiesce);
	plan->changes.services += sets->used + 1;
	return 0;
}

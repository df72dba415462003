/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/cli/rates.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/lib/cleanup.h"
#include "ctrl/cli/cli.h"

struct rates {
	json_t *seen; /* counters by name, as last seen */
	int64_t time_us; /* of the last look, 0 before the first */
};

/* A service's or backend's counters, and what their rates are called. */
static const struct {
	const char *count, *rate;
	double factor;
} measures[] = {
	{"packets", "packetsPerSecond", 1}, {"bytes", "bitsPerSecond", 8}, {"answers", "answersPerSecond", 1},
	{"answerBytes", "answerBitsPerSecond", 8}, {"newFlows", "newFlowsPerSecond", 1},
};

struct rates *rates_new(void)
{
	struct rates *rates = calloc(1, sizeof(*rates));

	if (!rates || !(rates->seen = json_object()))
		abort();
	return rates;
}

void rates_free(struct rates *rates)
{
	if (!rates)
		return;
	json_decref(rates->seen);
	free(rates);
}

void rates_freep(struct rates **rates)
{
	rates_free(*rates);
}

/* By how much the counter of this name has grown since it was last seen. */
static int64_t growth(struct rates *rates, const char *name, int64_t count)
{
	const json_t *before = json_object_get(rates->seen, name);
	int64_t grown = 0;

	if (before)
		grown = count >= json_integer_value(before) ? count - json_integer_value(before) : count;
	json_object_set_new(rates->seen, name, json_integer(count));
	return grown;
}

static void rate_add(json_t *object, const char *key, double rate)
{
	json_object_set_new(object, key, json_real(json_real_value(json_object_get(object, key)) + rate));
}

/* The service's place in the list, made when it is not there. Borrowed. */
static json_t *service_get(json_t *services, const char *name)
{
	json_t *service;
	size_t i;

	json_array_foreach(services, i, service)
		if (strcmp(json_text(service, "service"), name) == 0)
			return service;
	service = json_pack("{s:s, s:[]}", "service", name, "backends");
	json_array_append_new(services, service);
	return service;
}

static void backend_add(struct rates *rates, const json_t *row, double seconds, json_t *answer)
{
	json_t *service = service_get(json_object_get(answer, "services"), json_text(row, "service"));
	json_t *backend = json_pack("{s:s, s:s}", "backend", json_text(row, "backend"), "vip", json_text(row, "vip"));
	char name[600];

	for (size_t i = 0; i < array_length(measures); i++) {
		double rate;

		snprintf(name, sizeof(name), "%s %s %s %s", json_text(row, "service"), json_text(row, "vip"),
			 json_text(row, "backend"), measures[i].count);
		rate = (double)growth(rates, name, json_number(row, measures[i].count)) * measures[i].factor / seconds;
		rate_add(backend, measures[i].rate, rate);
		rate_add(service, measures[i].rate, rate);
		if (strcmp(measures[i].count, "newFlows") == 0)
			rate_add(answer, measures[i].rate, rate);
	}
	json_array_append_new(json_object_get(service, "backends"), backend);
}

static void drop_add(struct rates *rates, const json_t *row, double seconds, json_t *drops)
{
	char name[200];
	int64_t grown;
	json_t *drop;

	snprintf(name, sizeof(name), "drop %s", json_text(row, "reason"));
	grown = growth(rates, name, json_number(row, "count"));
	if (!grown)
		return;
	drop = json_copy((json_t *)row);
	json_object_set_new(drop, "new", json_integer(grown));
	json_object_set_new(drop, "perSecond", json_real((double)grown / seconds));
	json_array_append_new(drops, drop);
}

static void totals_add(struct rates *rates, const json_t *counters, double seconds, json_t *answer)
{
	const char *verdict;
	json_t *count;

	json_object_foreach(json_object_get(counters, "verdicts"), verdict, count) {
		char name[64];
		double rate;

		snprintf(name, sizeof(name), "verdict %s", verdict);
		rate = (double)growth(rates, name, json_integer_value(count)) / seconds;
		rate_add(answer, "packetsPerSecond", rate);
		if (strcmp(verdict, "pass") == 0)
			rate_add(answer, "passedPerSecond", rate);
		if (strcmp(verdict, "drop") == 0)
			rate_add(answer, "droppedPerSecond", rate);
	}
	rate_add(answer, "bitsPerSecond", (double)growth(rates, "bytes", json_number(counters, "bytes")) * 8 / seconds);
}

json_t *rates_look(struct rates *rates, const json_t *counters)
{
	int64_t time_us = json_number(counters, "timeUs"), before_us = rates->time_us;
	double seconds = time_us > before_us ? (double)(time_us - before_us) / 1e6 : 1;
	json_t *answer, *row;
	size_t i;

	if (!json_is_true(json_object_get(counters, "ready")))
		return NULL;
	answer = json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:[], s:[]}", "seconds", seconds, "packetsPerSecond", 0.0, "bitsPerSecond",
			   0.0, "passedPerSecond", 0.0, "droppedPerSecond", 0.0, "newFlowsPerSecond", 0.0, "services", "drops");
	totals_add(rates, counters, seconds, answer);
	json_array_foreach(json_object_get(counters, "backends"), i, row)
		backend_add(rates, row, seconds, answer);
	json_array_foreach(json_object_get(counters, "drops"), i, row)
		drop_add(rates, row, seconds, json_object_get(answer, "drops"));
	rates->time_us = time_us;
	/* the machine was started anew, or this is where it begins */
	if (before_us == 0 || time_us <= before_us) {
		json_decref(answer);
		return NULL;
	}
	return answer;
}

const char *rate_format(double rate, char buffer[static RATE_TEXT_SIZE])
{
	static const char multiples[] = " kMGTP";
	size_t multiple = 0;
	int decimals = 2;

	while (rate >= 999.5 && multiples[multiple + 1]) {
		rate /= 1000;
		multiple++;
	}
	if (rate >= 99.95 || (!multiple && rate == (double)(int)rate))
		decimals = 0;
	else if (rate >= 9.995)
		decimals = 1;
	snprintf(buffer, RATE_TEXT_SIZE, "%.*f%.*s", decimals, rate, multiple ? 1 : 0, multiples + multiple);
	return buffer;
}

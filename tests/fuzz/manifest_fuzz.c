/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: any bytes as a stream of manifests. They load whole or are refused with a sentence; what loads survives the
 * way through JSON, and gets addresses of which no two services have the same unless they share it.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ctrl/manifest/ipam.h"
#include "ctrl/manifest/manifest.h"
#include "ctrl/manifest/reflow.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses some of its own memory when certain texts end in a syntax error; what we allocate is still checked. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so\n";
}

static void diagnostics_check(const struct diagnostics *diagnostics)
{
	for (size_t i = 0; i < diagnostics->count; i++) {
		_cleanup_(freep) char *line = diagnostic_format(&diagnostics->items[i]);

		assert(strncmp(line, "fuzz.yaml:", 10) == 0 && !strpbrk(line, "\n\r\x1b"));
	}
}

static void json_check(const struct object *object)
{
	_cleanup_(freep) char *text = json_dumps(object->raw, JSON_COMPACT);
	json_t *json = json_loads(text, 0, NULL);
	struct diagnostics diagnostics;
	struct object *again;

	assert(json);
	diagnostics_init(&diagnostics);
	assert(object_from_json(json, &again, &diagnostics) == 0);
	assert(object_compare(object, again) == 0 && json_equal(again->raw, object->raw));
	object_free(again);
	diagnostics_done(&diagnostics);
	json_decref(json);
}

static void addresses_check(const struct object_list *objects)
{
	struct ipam_result result;

	ipam_assign((const struct object *const *)objects->items, objects->count, &result);
	for (size_t i = 0; i < result.count; i++) {
		const struct ipam_assignment *a = &result.items[i];

		assert(a->count > 0 || a->refusal);
		assert(a->count < 2 || address_is_ipv4(&a->addresses[0]) != address_is_ipv4(&a->addresses[1]));
		for (size_t j = 0; j < i && j < 50; j++)
			for (size_t k = 0; k < a->count; k++)
				for (size_t l = 0; l < result.items[j].count; l++)
					assert(!address_equal(&a->addresses[k], &result.items[j].addresses[l]) ||
					       *a->service->service.allow_shared_ip);
	}
	ipam_result_done(&result);
}

/* Cutting JSON into lines changes nothing of what is read. */
static void reflow_check(const char *text, size_t length, const struct object_list *objects)
{
	struct object_list again = {0};
	struct diagnostics diagnostics;
	struct reflow reflow;

	if (!reflow_json(text, length, 100000, &reflow))
		return;
	diagnostics_init(&diagnostics);
	assert(manifest_load(reflow.text, reflow.length, "fuzz.yaml", &again, &diagnostics) == 0);
	assert(again.count == objects->count);
	for (size_t i = 0; i < again.count; i++)
		assert(json_equal(again.items[i]->raw, objects->items[i]->raw));
	object_list_done(&again);
	diagnostics_done(&diagnostics);
	reflow_done(&reflow);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct object_list objects = {0};
	struct diagnostics diagnostics;
	int status;

	diagnostics_init(&diagnostics);
	status = manifest_load((const char *)data, size, "fuzz.yaml", &objects, &diagnostics);
	diagnostics_check(&diagnostics);
	assert(status == (diagnostics.error_count ? -EINVAL : 0));
	assert(status == 0 || objects.count == 0);
	for (size_t i = 0; i < objects.count; i++)
		json_check(objects.items[i]);
	addresses_check(&objects);
	if (status == 0)
		reflow_check((const char *)data, size, &objects);
	object_list_done(&objects);
	diagnostics_done(&diagnostics);
	return 0;
}

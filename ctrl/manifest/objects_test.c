/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/manifest/test_support.h"

static void kinds_are_found_by_type_path_and_word(void **state)
{
	for (size_t i = 0; i < OBJECT_KIND_COUNT; i++) {
		const struct object_kind_info *info = object_kind_info((enum object_kind)i);

		assert_int_equal(info->kind, i);
		assert_ptr_equal(object_kind_of_type(info->api_version, info->name), info);
		assert_ptr_equal(object_kind_of_path(info->group, info->version, info->plural), info);
	}
	assert_null(object_kind_of_type("v1", "EndpointSlice"));
	assert_null(object_kind_of_path("", "v1", "endpointslices"));
}

static void words_of_the_command_line(void **state)
{
	static const struct {
		const char *word;
		enum object_kind kind;
	} words[] = {
		{"svc", OBJECT_SERVICE}, {"Services", OBJECT_SERVICE}, {"service", OBJECT_SERVICE},
		{"ep", OBJECT_ENDPOINTS}, {"epslice", OBJECT_ENDPOINT_SLICE}, {"EndpointSlice", OBJECT_ENDPOINT_SLICE},
		{"no", OBJECT_NODE}, {"nodes", OBJECT_NODE}, {"nodes.selvage.io", OBJECT_REPLAY_NODE},
		{"ipaddresspool", OBJECT_ADDRESS_POOL}, {"ipaddresspools.metallb.io", OBJECT_ADDRESS_POOL},
		{"l2advertisements", OBJECT_L2_ADVERTISEMENT}, {"ns", OBJECT_NAMESPACE},
	};

	for (size_t i = 0; i < array_length(words); i++)
		assert_ptr_equal(object_kind_of_word(words[i].word), object_kind_info(words[i].kind));
	assert_null(object_kind_of_word("pods"));
	assert_null(object_kind_of_word(""));
	assert_null(object_kind_of_word("services.metallb.io"));
}

static void references_and_order(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load_clean(
		"{apiVersion: v1, kind: Namespace, metadata: {name: b}}\n---\n"
		"{apiVersion: v1, kind: Service, metadata: {name: a, namespace: b}, spec: {ports: [{port: 1}]}}\n---\n"
		"{apiVersion: v1, kind: Service, metadata: {name: b}, spec: {ports: [{port: 1}]}}\n");
	char text[OBJECT_REFERENCE_SIZE];

	assert_string_equal(object_reference(loaded.objects.items[0], text), "Namespace b");
	assert_string_equal(object_reference(loaded.objects.items[1], text), "Service b/a");
	assert_string_equal(object_reference(loaded.objects.items[2], text), "Service default/b");
	assert_true(object_compare(loaded.objects.items[0], loaded.objects.items[1]) < 0);
	assert_true(object_compare(loaded.objects.items[1], loaded.objects.items[2]) < 0);
	assert_int_equal(object_compare(loaded.objects.items[1], loaded.objects.items[1]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_are_found_by_type_path_and_word),
		cmocka_unit_test(words_of_the_command_line),
		cmocka_unit_test(references_and_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

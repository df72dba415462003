/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/manifest/selector.h"
#include "ctrl/manifest/test_support.h"

#define NODE "{apiVersion: v1, kind: Node, metadata: {name: n, labels: {rack: a, disk: ssd}}}\n---\n"

/* Whether the node above matches the selector, as an L2Advertisement would ask. */
static bool node_matches(const char *selector)
{
	char text[1024];
	struct loaded loaded;
	bool matches;

	snprintf(text, sizeof(text),
		 NODE "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: l}\n"
		      "spec: {nodeSelectors: [%s]}\n",
		 selector);
	loaded = load_clean(text);
	matches = label_selectors_match(&loaded.objects.items[1]->l2_advertisement.node_selectors,
					&loaded.objects.items[0]->meta.labels);
	loaded_done(&loaded);
	return matches;
}

static void labels(void **state)
{
	assert_true(node_matches("{}"));
	assert_false(node_matches(""));
	assert_true(node_matches("{matchLabels: {rack: a}}"));
	assert_true(node_matches("{matchLabels: {rack: a, disk: ssd}}"));
	assert_false(node_matches("{matchLabels: {rack: a, disk: hdd}}"));
	assert_false(node_matches("{matchLabels: {gpu: \"\"}}"));
	assert_true(node_matches("{matchLabels: {rack: b}}, {matchLabels: {rack: a}}"));
}

static void expressions(void **state)
{
	assert_true(node_matches("{matchExpressions: [{key: rack, operator: In, values: [b, a]}]}"));
	assert_false(node_matches("{matchExpressions: [{key: rack, operator: In, values: [b]}]}"));
	assert_false(node_matches("{matchExpressions: [{key: gpu, operator: In, values: [b]}]}"));
	assert_true(node_matches("{matchExpressions: [{key: rack, operator: NotIn, values: [b]}]}"));
	assert_false(node_matches("{matchExpressions: [{key: rack, operator: NotIn, values: [a]}]}"));
	assert_true(node_matches("{matchExpressions: [{key: gpu, operator: NotIn, values: [b]}]}"));
	assert_true(node_matches("{matchExpressions: [{key: rack, operator: Exists}]}"));
	assert_false(node_matches("{matchExpressions: [{key: gpu, operator: Exists}]}"));
	assert_true(node_matches("{matchExpressions: [{key: gpu, operator: DoesNotExist}]}"));
	assert_false(node_matches("{matchExpressions: [{key: rack, operator: DoesNotExist}]}"));
	/* labels and expressions must both hold */
	assert_false(node_matches("{matchLabels: {rack: a}, matchExpressions: [{key: disk, operator: DoesNotExist}]}"));
}

static void service_selectors_select_nothing_when_empty(void **state)
{
	struct key_value pair = {"app", "web"};
	struct key_values labels = {.items = &pair, .count = 1};

	assert_true(service_selector_matches(&labels, &labels));
	assert_false(service_selector_matches(&(struct key_values){0}, &labels));
	assert_false(service_selector_matches(&labels, &(struct key_values){0}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(labels),
		cmocka_unit_test(expressions),
		cmocka_unit_test(service_selectors_select_nothing_when_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

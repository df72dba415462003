/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/manifest/selector.h"

#include <string.h>

static bool pairs_match(const struct key_values *wanted, const struct key_values *labels)
{
	for (size_t i = 0; i < wanted->count; i++) {
		const char *value = key_values_get(labels, wanted->items[i].key);

		if (!value || strcmp(value, wanted->items[i].value) != 0)
			return false;
	}
	return true;
}

static bool expression_matches(const struct selector_expression *expression, const struct key_values *labels)
{
	const char *value = key_values_get(labels, expression->key);

	switch (expression->operator) {
	case SELECTOR_IN:
		return value && string_list_contains(&expression->values, value);
	case SELECTOR_NOT_IN:
		return !value || !string_list_contains(&expression->values, value);
	case SELECTOR_EXISTS:
		return value;
	case SELECTOR_DOES_NOT_EXIST:
		return !value;
	}
	return false;
}

bool label_selector_matches(const struct label_selector *selector, const struct key_values *labels)
{
	for (size_t i = 0; i < selector->expression_count; i++)
		if (!expression_matches(&selector->expressions[i], labels))
			return false;
	return pairs_match(&selector->match_labels, labels);
}

bool label_selectors_match(const struct label_selectors *selectors, const struct key_values *labels)
{
	for (size_t i = 0; i < selectors->count; i++)
		if (label_selector_matches(&selectors->items[i], labels))
			return true;
	return false;
}

bool service_selector_matches(const struct key_values *selector, const struct key_values *labels)
{
	return selector->count > 0 && pairs_match(selector, labels);
}

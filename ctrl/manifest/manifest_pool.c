/* SPDX-License-Identifier: Apache-2.0 */
/* metallb.io IPAddressPool and L2Advertisement, and the label selectors that they hold. */
#include <string.h>

#include "ctrl/manifest/manifest_kinds.h"

/* --- label selectors --------------------------------------------------------------------------------------------------- */

static void operator_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	static const char *const words[] = {
		[SELECTOR_IN] = "In",
		[SELECTOR_NOT_IN] = "NotIn",
		[SELECTOR_EXISTS] = "Exists",
		[SELECTOR_DOES_NOT_EXIST] = "DoesNotExist",
	};
	size_t index;

	if (node_choice(decoder, node, words, array_length(words), &index))
		*(enum selector_operator *)target = (enum selector_operator)index;
}

static const struct field expression_fields[] = {
	FIELD_REQUIRED("key", field_text, struct selector_expression, key),
	FIELD_REQUIRED("operator", operator_read, struct selector_expression, operator),
	FIELD("values", field_text_list, struct selector_expression, values),
};

static void expression_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct selector_expression *expression = target;
	const struct yaml_node *operator;
	bool wants_values;

	*expression = (struct selector_expression){.key = ""};
	fields_read(decoder, node, expression_fields, array_length(expression_fields), expression);
	if (*expression->key && label_check_key(expression->key))
		decoder_error(decoder, node, "the label's key \"%.80s\" %s", expression->key,
			      label_check_key(expression->key));
	operator = yaml_lookup(node, "operator");
	wants_values = expression->operator == SELECTOR_IN || expression->operator == SELECTOR_NOT_IN;
	if (operator && operator->kind == YAML_SCALAR && wants_values != (expression->values.count > 0))
		decoder_error(decoder, node, "the operator %.20s %s values", operator->text,
			      wants_values ? "needs" : "takes no");
}

static void expressions_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct label_selector *selector = target;

	list_read(decoder, node, sizeof(*selector->expressions), expression_read, &selector->expressions,
		  &selector->expression_count);
}

static const struct field selector_fields[] = {
	FIELD("matchLabels", field_text_map, struct label_selector, match_labels),
	FIELD_WHOLE("matchExpressions", expressions_read),
};

void label_selector_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	fields_read(decoder, node, selector_fields, array_length(selector_fields), target);
}

void label_selectors_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct label_selectors *selectors = target;

	list_read(decoder, node, sizeof(*selectors->items), label_selector_read, &selectors->items, &selectors->count);
}

/* --- IPAddressPool ----------------------------------------------------------------------------------------------------- */

/* "192.0.2.10-192.0.2.20"; spaces around the dash are allowed. */
static const char *range_parse(const char *text, size_t length, struct address_range *range)
{
	char copy[2 * ADDRESS_TEXT_SIZE], *dash, *end;

	if (length >= sizeof(copy))
		return "is not a range of addresses";
	memcpy(copy, text, length + 1);
	dash = strchr(copy, '-');
	end = dash;
	while (end > copy && end[-1] == ' ')
		end--;
	*end = '\0';
	dash += 1 + strspn(dash + 1, " ");
	if (address_parse(copy, &range->first) < 0 || address_parse(dash, &range->last) < 0)
		return "is not a range; write it as 192.0.2.10-192.0.2.20";
	if (address_is_ipv4(&range->first) != address_is_ipv4(&range->last))
		return "mixes IPv4 and IPv6; write a range for each";
	if (address_compare(&range->first, &range->last) > 0)
		return "is inverted: its first address comes after its last; swap them";
	return NULL;
}

/* First byte decides for all of them; a range that reaches over such a block touches its first or last address. */
static bool address_is_assignable(const struct address *address)
{
	const uint8_t *bytes = (const uint8_t *)address;

	if (address_is_ipv4(address))
		return bytes[12] != 0 && bytes[12] != 127 && bytes[12] < 224;
	return bytes[0] != 0xff && address->word[0] != 0 && !(bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80);
}

static void range_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct address_range *range = target;
	const char *text, *wrong = NULL;
	struct prefix prefix;

	if (!node_text(decoder, node, &text))
		return;
	if (strchr(text, '-'))
		wrong = range_parse(text, node->length, range);
	else if (!strchr(text, '/') || prefix_parse(text, &prefix) < 0)
		wrong = "is neither a network such as 192.0.2.0/24 nor a range such as 192.0.2.10-192.0.2.20; "
			"a single address is 192.0.2.10/32";
	else
		prefix_bounds(&prefix, &range->first, &range->last);
	if (!wrong && (!address_is_assignable(&range->first) || !address_is_assignable(&range->last)))
		wrong = "holds addresses that no host can have (unspecified, loopback, link-local or multicast)";
	if (!wrong)
		return;
	*range = (struct address_range){0};
	decoder_error(decoder, node, "\"%.100s\" %s", text, wrong);
}

static void ranges_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct address_pool *pool = target;

	list_read(decoder, node, sizeof(*pool->ranges), range_read, &pool->ranges, &pool->range_count);
	if (node->kind == YAML_SEQUENCE && (node->count == 0 || node->count > 1000))
		decoder_error(decoder, node, "must hold 1 to 1000 ranges, not %zu", node->count);
	for (size_t i = 0; i < pool->range_count && pool->range_count <= 1000; i++) {
		for (size_t j = 0; j < i; j++) {
			const struct address_range *a = &pool->ranges[i], *b = &pool->ranges[j];

			if (address_is_zero(&a->last) || address_compare(&a->first, &b->last) > 0 ||
			    address_compare(&b->first, &a->last) > 0)
				continue;
			decoder_error(decoder, node->items[i], "\"%.100s\" overlaps with \"%.100s\" of the same pool",
				      node->items[i]->text, node->items[j]->text);
			break;
		}
	}
}

static void priority_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	int64_t value;

	if (node_integer(decoder, node, 0, UINT32_MAX, &value))
		*(uint32_t *)target = (uint32_t)value;
}

static const struct field allocation_fields[] = {
	FIELD("priority", priority_read, struct address_pool, priority),
	FIELD("namespaces", field_text_list, struct address_pool, namespaces),
	FIELD("namespaceSelectors", label_selectors_read, struct address_pool, namespace_selectors),
	FIELD("serviceSelectors", label_selectors_read, struct address_pool, service_selectors),
};

static void allocation_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct address_pool *pool = target;

	pool->allocation_restricted = true;
	fields_read(decoder, node, allocation_fields, array_length(allocation_fields), pool);
}

static const struct field pool_spec_fields[] = {
	{.name = "addresses", .read = ranges_read, .required = true},
	FIELD("autoAssign", field_bool, struct address_pool, auto_assign),
	FIELD("avoidBuggyIPs", field_bool, struct address_pool, avoid_buggy_ips),
	FIELD_WHOLE("serviceAllocation", allocation_read),
};

static void pool_spec_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	fields_read(decoder, node, pool_spec_fields, array_length(pool_spec_fields), target);
}

static const struct field pool_fields[] = {
	FIELDS_OF_EVERY_KIND,
	{.name = "spec", .read = pool_spec_read, .required = true},
	FIELD_WHOLE("status", field_keep),
};

void address_pool_read(struct decoder *decoder, const struct yaml_node *node, struct object *object)
{
	object->address_pool = (struct address_pool){.auto_assign = true};
	fields_read(decoder, node, pool_fields, array_length(pool_fields), &object->address_pool);
	annotations_read(decoder, node, NULL, 0, NULL);
}

/* --- L2Advertisement --------------------------------------------------------------------------------------------------- */

static const struct field l2_spec_fields[] = {
	FIELD("ipAddressPools", field_text_list, struct l2_advertisement, pools),
	FIELD("ipAddressPoolSelectors", label_selectors_read, struct l2_advertisement, pool_selectors),
	FIELD("nodeSelectors", label_selectors_read, struct l2_advertisement, node_selectors),
	FIELD("interfaces", field_text_list, struct l2_advertisement, interfaces),
};

static void l2_spec_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	fields_read(decoder, node, l2_spec_fields, array_length(l2_spec_fields), target);
}

static const struct field l2_fields[] = {
	FIELDS_OF_EVERY_KIND,
	{.name = "spec", .read = l2_spec_read},
	FIELD_WHOLE("status", field_keep),
};

void l2_advertisement_read(struct decoder *decoder, const struct yaml_node *node, struct object *object)
{
	fields_read(decoder, node, l2_fields, array_length(l2_fields), &object->l2_advertisement);
	annotations_read(decoder, node, NULL, 0, NULL);
}

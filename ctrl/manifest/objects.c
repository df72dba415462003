/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/manifest/objects.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/lib/arena.h"

#define KIND(kind_, name_, group_, version_, plural_, singular_, short_, namespaced_)                              \
	[kind_] = {.kind = kind_, .name = name_, .api_version = group_ "/" version_, .group = group_,               \
		   .version = version_, .plural = plural_, .singular = singular_, .short_name = short_,             \
		   .namespaced = namespaced_}
#define CORE_KIND(kind_, name_, plural_, singular_, short_, namespaced_)                                            \
	[kind_] = {.kind = kind_, .name = name_, .api_version = "v1", .group = "", .version = "v1",                 \
		   .plural = plural_, .singular = singular_, .short_name = short_, .namespaced = namespaced_}

static const struct object_kind_info kinds[OBJECT_KIND_COUNT] = {
	CORE_KIND(OBJECT_NAMESPACE, "Namespace", "namespaces", "namespace", "ns", false),
	CORE_KIND(OBJECT_NODE, "Node", "nodes", "node", "no", false),
	CORE_KIND(OBJECT_SERVICE, "Service", "services", "service", "svc", true),
	CORE_KIND(OBJECT_ENDPOINTS, "Endpoints", "endpoints", "endpoints", "ep", true),
	KIND(OBJECT_ENDPOINT_SLICE, "EndpointSlice", "discovery.k8s.io", "v1", "endpointslices", "endpointslice",
	     "epslice", true),
	KIND(OBJECT_ADDRESS_POOL, "IPAddressPool", "metallb.io", "v1beta1", "ipaddresspools", "ipaddresspool",
	     "pool", true),
	KIND(OBJECT_L2_ADVERTISEMENT, "L2Advertisement", "metallb.io", "v1beta1", "l2advertisements",
	     "l2advertisement", "l2adv", true),
	KIND(OBJECT_REPLAY_NODE, "Node", "selvage.io", "v1alpha1", "nodes", "node", NULL, false),
	KIND(OBJECT_STEERING_POLICY, "SteeringPolicy", "selvage.io", "v1alpha1", "steeringpolicies", "steeringpolicy", "steer", true),
};

const struct object_kind_info *object_kind_info(enum object_kind kind)
{
	return &kinds[kind];
}

const struct object_kind_info *object_kind_of_type(const char *api_version, const char *name)
{
	for (size_t i = 0; i < array_length(kinds); i++)
		if (strcmp(kinds[i].api_version, api_version) == 0 && strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

const struct object_kind_info *object_kind_of_path(const char *group, const char *version, const char *plural)
{
	for (size_t i = 0; i < array_length(kinds); i++)
		if (strcmp(kinds[i].group, group) == 0 && strcmp(kinds[i].version, version) == 0 &&
		    strcmp(kinds[i].plural, plural) == 0)
			return &kinds[i];
	return NULL;
}

static bool word_is(const char *word, size_t length, const char *name)
{
	return name && strlen(name) == length && strncasecmp(word, name, length) == 0;
}

const struct object_kind_info *object_kind_of_word(const char *word)
{
	size_t length = strcspn(word, ".");
	const char *group = word[length] ? word + length + 1 : NULL;

	for (size_t i = 0; i < array_length(kinds); i++) {
		const struct object_kind_info *info = &kinds[i];

		if (group && strcasecmp(group, info->group) != 0)
			continue;
		if (word_is(word, length, info->plural) || word_is(word, length, info->singular) ||
		    word_is(word, length, info->short_name))
			return info;
	}
	return NULL;
}

const char *key_values_get(const struct key_values *values, const char *key)
{
	for (size_t i = 0; i < values->count; i++)
		if (strcmp(values->items[i].key, key) == 0)
			return values->items[i].value;
	return NULL;
}

bool string_list_contains(const struct string_list *list, const char *text)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i], text) == 0)
			return true;
	return false;
}

bool address_list_contains(const struct address_list *list, const struct address *address)
{
	for (size_t i = 0; i < list->count; i++)
		if (address_equal(&list->items[i], address))
			return true;
	return false;
}

const char *protocol_name_text(enum protocol_name protocol)
{
	return protocol == PROTOCOL_UDP ? "UDP" : "TCP";
}

void object_free(struct object *object)
{
	if (!object)
		return;
	json_decref(object->raw);
	arena_free(object->arena);
	free(object);
}

void object_freep(struct object **object)
{
	object_free(*object);
}

json_t *object_to_json(const struct object *object)
{
	return json_incref(object->raw);
}

int object_compare(const struct object *a, const struct object *b)
{
	int order = (a->kind > b->kind) - (a->kind < b->kind);

	if (!order)
		order = strcmp(a->meta.namespace_name, b->meta.namespace_name);
	return order ? order : strcmp(a->meta.name, b->meta.name);
}

const char *object_reference(const struct object *object, char buffer[static OBJECT_REFERENCE_SIZE])
{
	const struct object_meta *meta = &object->meta;

	snprintf(buffer, OBJECT_REFERENCE_SIZE, "%s %s%s%s", kinds[object->kind].name, meta->namespace_name,
		 *meta->namespace_name ? "/" : "", meta->name);
	return buffer;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What tells clients such as kubectl which kinds there are, and the reading of paths to objects. */
#include <string.h>

#include "ctrl/api/api_internal.h"

/* --- paths ------------------------------------------------------------------------------------------------------------- */

/* /api/v1/… or /apis/GROUP/VERSION/…, then [namespaces/NAMESPACE/]PLURAL[/NAME] */
bool object_path_parse(const struct http_request *request, struct object_path *ret_path)
{
	const char *const *part = request->segments;
	size_t count = request->segment_count, at;
	const char *group = "", *version;
	struct object_path path = {0};

	if (count >= 3 && strcmp(part[0], "api") == 0) {
		version = part[1];
		at = 2;
	} else if (count >= 4 && strcmp(part[0], "apis") == 0) {
		group = part[1];
		version = part[2];
		at = 3;
	} else {
		return false;
	}
	/* The kind Namespace has the same word: /api/v1/namespaces/NAME is such an object. */
	if (strcmp(part[at], "namespaces") == 0 && count >= at + 3) {
		path.namespace_name = part[at + 1];
		at += 2;
	}
	path.info = object_kind_of_path(group, version, part[at]);
	if (!path.info || path.info->namespaced < (path.namespace_name != NULL) || count > at + 2)
		return false;
	path.name = count == at + 2 ? part[at + 1] : NULL;
	/* An object of a namespaced kind has no name without its namespace. */
	if (path.name && path.info->namespaced && !path.namespace_name)
		return false;
	*ret_path = path;
	return true;
}

/* --- documents --------------------------------------------------------------------------------------------------------- */

static json_t *resource_json(const struct object_kind_info *info)
{
	json_t *verbs = json_pack("[s, s, s, s, s, s, s]", "create", "delete", "get", "list", "patch", "update", "watch");

	return json_pack("{s:s, s:s, s:b, s:s, s:o, s:o}", "name", info->plural, "singularName", info->singular, "namespaced",
			 info->namespaced, "kind", info->name, "verbs", verbs, "shortNames",
			 info->short_name ? json_pack("[s]", info->short_name) : json_array());
}

/* NULL when there is no such group and version. */
static json_t *resources_json(const char *group, const char *version)
{
	json_t *resources = json_array();
	const char *group_version = NULL;

	for (size_t i = 0; i < OBJECT_KIND_COUNT; i++) {
		const struct object_kind_info *info = object_kind_info((enum object_kind)i);

		if (strcmp(info->group, group) != 0 || strcmp(info->version, version) != 0)
			continue;
		group_version = info->api_version;
		json_array_append_new(resources, resource_json(info));
	}
	if (!group_version) {
		json_decref(resources);
		return NULL;
	}
	return json_pack("{s:s, s:s, s:s, s:o}", "kind", "APIResourceList", "apiVersion", "v1", "groupVersion", group_version,
			 "resources", resources);
}

static json_t *group_json(const struct object_kind_info *info)
{
	return json_pack("{s:s, s:[{s:s, s:s}], s:{s:s, s:s}}", "name", info->group, "versions", "groupVersion",
			 info->api_version, "version", info->version, "preferredVersion", "groupVersion", info->api_version,
			 "version", info->version);
}

/* The first kind of a group stands for it. */
static bool kind_leads_group(const struct object_kind_info *info)
{
	if (!*info->group)
		return false;
	for (int i = 0; i < (int)info->kind; i++)
		if (strcmp(object_kind_info((enum object_kind)i)->group, info->group) == 0)
			return false;
	return true;
}

/* With a name, the one group (NULL when there is none); else all. */
static json_t *groups_json(const char *name)
{
	json_t *groups = json_array();

	for (size_t i = 0; i < OBJECT_KIND_COUNT; i++) {
		const struct object_kind_info *info = object_kind_info((enum object_kind)i);
		json_t *group;

		if (!kind_leads_group(info) || (name && strcmp(info->group, name) != 0))
			continue;
		group = group_json(info);
		if (name) {
			json_decref(groups);
			json_object_set_new(group, "kind", json_string("APIGroup"));
			json_object_set_new(group, "apiVersion", json_string("v1"));
			return group;
		}
		json_array_append_new(groups, group);
	}
	if (!name)
		return json_pack("{s:s, s:s, s:o}", "kind", "APIGroupList", "apiVersion", "v1", "groups", groups);
	json_decref(groups);
	return NULL;
}

/* Numbers that clients compare with the Kubernetes versions they support; gitVersion says who we are. */
static json_t *version_json(void)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "major", "1", "minor", "20", "gitVersion", "v1.20.0+selvage-" SELVAGE_VERSION,
			 "platform", "linux", "selvageVersion", SELVAGE_VERSION);
}

bool discovery_handle(struct api *api, struct http_exchange *exchange)
{
	const struct http_request *request = http_exchange_request(exchange);
	const char *const *part = request->segments;
	size_t count = request->segment_count;
	json_t *json = NULL;

	(void)api;
	if (count == 1 && strcmp(part[0], "version") == 0)
		json = version_json();
	else if (count == 1 && strcmp(part[0], "api") == 0)
		json = json_pack("{s:s, s:s, s:[s]}", "kind", "APIVersions", "apiVersion", "v1", "versions", "v1");
	else if (count == 2 && strcmp(part[0], "api") == 0)
		json = resources_json("", part[1]);
	else if (count == 1 && strcmp(part[0], "apis") == 0)
		json = groups_json(NULL);
	else if (count == 2 && strcmp(part[0], "apis") == 0)
		json = groups_json(part[1]);
	else if (count == 3 && strcmp(part[0], "apis") == 0)
		json = resources_json(part[1], part[2]);
	if (!json)
		return false;
	if (strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0) {
		reply_json(exchange, 200, json);
	} else {
		json_decref(json);
		reply_not_allowed(exchange, "GET, HEAD");
	}
	return true;
}
